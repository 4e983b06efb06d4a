//! `features.smiles`.

use std::{collections::BTreeSet, sync::Arc};

use polars::{
    lazy::dsl::{by_name, col},
    prelude::{
        Column as PolarsColumn, DataType, Field, Float32Type, IntoColumn, IntoSeries, NamedFrom,
        PolarsResult, Series, StructChunked, polars_bail,
    },
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Local, Operation, Problem, Relational, Result, Schema, Shape, Stage, path,
    register_kind,
};

use super::{
    arrays, circular,
    molecule::{self, Molecule},
    placement,
    scaffold::scaffold,
};
use crate::columns;

/// Describe molecules that are written as SMILES: counts, weight, rule-of-five figures, fingerprint, scaffold.
///
/// Each figure becomes a column named after both: `smiles_rings`, `smiles_weight`, `smiles_C`, `smiles_fingerprint`.
/// Hydrogens that the SMILES leaves out count as there; salts and mixtures count as a whole. Aromatic rings are found by
/// RDKit's model, however they are written; other ways to write a molecule (a nitro group with or without charges) stay
/// different. Null stays null in all columns. Wildcards (`*`) and reactions are no molecules.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Smiles {
    /// The text column with the SMILES.
    column: String,
    /// The figures; default: all of them.
    descriptors: Option<Vec<Descriptor>>,
    /// The elements whose atoms are counted, each in a column of its own.
    #[serde(default = "elements")]
    elements: Vec<String>,
    /// An extended-connectivity fingerprint (ECFP) as an array of `f32`: `{}` for radius 2 (ECFP4) and 2048 places.
    fingerprint: Option<Fingerprint>,
    /// Also the scaffold (Bemis and Murcko, 1996) as a canonical SMILES, `smiles_scaffold`: the rings, what links them, and what
    /// hangs on either by a double bond; empty without rings. Molecules with one scaffold are alike: `split.group` by it shows
    /// how well a model does on kinds of molecules that it never saw.
    #[serde(default)]
    scaffold: bool,
    /// What becomes of a text that is no SMILES.
    #[serde(default)]
    on_error: OnError,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Descriptor {
    /// Atoms that are no hydrogen.
    HeavyAtoms,
    /// Bonds between them.
    Bonds,
    /// Rings: the size of the smallest set of smallest rings.
    Rings,
    /// Atoms in aromatic rings.
    AromaticAtoms,
    /// In daltons, from standard atomic weights; an atom with an isotope label counts its mass number, but deuterium its mass.
    Weight,
    /// The sum of formal charges.
    Charge,
    /// Hydrogens on nitrogen and oxygen (Lipinski's rule: 5 at most).
    HydrogenDonors,
    /// Nitrogen and oxygen atoms (Lipinski's rule: 10 at most).
    HydrogenAcceptors,
    /// Single bonds outside rings that turn something, but for the C-N of amides (Veber's rule: 10 at most).
    RotatableBonds,
}

impl Descriptor {
    const ALL: [Self; 9] = [
        Self::HeavyAtoms,
        Self::Bonds,
        Self::Rings,
        Self::AromaticAtoms,
        Self::Weight,
        Self::Charge,
        Self::HydrogenDonors,
        Self::HydrogenAcceptors,
        Self::RotatableBonds,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::HeavyAtoms => "heavy_atoms",
            Self::Bonds => "bonds",
            Self::Rings => "rings",
            Self::AromaticAtoms => "aromatic_atoms",
            Self::Weight => "weight",
            Self::Charge => "charge",
            Self::HydrogenDonors => "hydrogen_donors",
            Self::HydrogenAcceptors => "hydrogen_acceptors",
            Self::RotatableBonds => "rotatable_bonds",
        }
    }

    /// The count; the weight is none.
    fn count(self, molecule: &Molecule) -> Option<i64> {
        let count = match self {
            Self::Weight => return None,
            Self::Charge => return Some(molecule.charge),
            Self::HeavyAtoms => molecule.atoms.len(),
            Self::Bonds => molecule.bonds.len(),
            Self::Rings => molecule.rings,
            Self::AromaticAtoms => molecule
                .atoms
                .iter()
                .filter(|atom| atom.is_aromatic)
                .count(),
            Self::HydrogenDonors => molecule.hydrogen_donors(),
            Self::HydrogenAcceptors => molecule.hydrogen_acceptors(),
            Self::RotatableBonds => molecule.rotatable_bonds(),
        };
        Some(count as i64)
    }
}

/// A circular fingerprint (Rogers and Hahn 2010).
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fingerprint {
    /// How far from each atom, in bonds: 2 is called ECFP4, 3 ECFP6.
    #[serde(default = "radius")]
    #[schemars(range(min = 0, max = 10))]
    radius: u32,
    /// How many places; neighbourhoods are put there by a hash.
    #[serde(default = "bits")]
    #[schemars(range(min = 8, max = 65_536))]
    bits: usize,
    /// How often a neighbourhood occurs, instead of 0 and 1.
    #[serde(default)]
    counts: bool,
}

fn radius() -> u32 {
    2
}

fn bits() -> usize {
    2048
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum OnError {
    /// It fails the run, naming row, text and place.
    #[default]
    Error,
    /// All its figures become null.
    Null,
}

fn elements() -> Vec<String> {
    ["C", "N", "O", "F", "P", "S", "Cl", "Br", "I"]
        .map(str::to_owned)
        .into()
}

register_kind! {
    Smiles, "features.smiles", version: 1,
    example: "- features.smiles: {column: smiles, elements: [C, N, O], fingerprint: {radius: 2, bits: 1024}, on_error: null}",
}

/// What is made of a column of SMILES.
#[derive(Debug, Clone)]
struct Making {
    column: String,
    descriptors: Vec<Descriptor>,
    elements: Vec<String>,
    fingerprint: Option<Fingerprint>,
    scaffold: bool,
    on_error: OnError,
}

/// A molecule, and its scaffold where one is wanted.
struct Read {
    molecule: Molecule,
    scaffold: String,
}

impl Smiles {
    fn making(&self) -> Making {
        Making {
            column: self.column.clone(),
            descriptors: self
                .descriptors
                .clone()
                .unwrap_or_else(|| Descriptor::ALL.into()),
            elements: self.elements.clone(),
            fingerprint: self.fingerprint,
            scaffold: self.scaffold,
            on_error: self.on_error,
        }
    }

    /// A molecule has no relational form.
    fn operation(&self, input: &Schema) -> Option<Operation> {
        let source = input.column(&self.column)?;
        let making = Arc::new(self.making());
        let mut schema = input.clone();
        for (name, dtype) in making.made() {
            schema.columns.push(placement::heir(name, dtype, [source]));
        }
        let column = self.column.clone();
        // No column of a user has such a name.
        let together = format!("{column}\0");
        Some(Operation::Local(Local {
            name: "describe molecules",
            reads: [column.clone()].into(),
            keeps_rows: true,
            schema,
            apply: Arc::new(move |frame| {
                let fields = making
                    .made()
                    .into_iter()
                    .map(|(name, dtype)| Field::new(name.into(), dtype))
                    .collect();
                let dtype = DataType::Struct(fields);
                let making = Arc::clone(&making);
                // One column of structures, so that each SMILES is read once.
                let described = col(column.as_str())
                    .apply(
                        move |column| making.describe(&column),
                        move |_, field| Ok(Field::new(field.name().clone(), dtype.clone())),
                    )
                    .alias(together.as_str());
                Ok(frame
                    .with_column(described)
                    .unnest(by_name([together.as_str()], true, false), None))
            }),
        }))
    }
}

impl Making {
    fn name(&self, figure: &str) -> String {
        format!("{}_{figure}", self.column)
    }

    /// The new columns, in order.
    fn made(&self) -> Vec<(String, DataType)> {
        let descriptors = self.descriptors.iter().map(|descriptor| {
            let dtype = match descriptor {
                Descriptor::Weight => DataType::Float64,
                _ => DataType::Int64,
            };
            (self.name(descriptor.name()), dtype)
        });
        let elements = self
            .elements
            .iter()
            .map(|symbol| (self.name(symbol), DataType::Int64));
        let fingerprint = self.fingerprint.map(|fingerprint| {
            let dtype = arrays::array_type(DataType::Float32, &[fingerprint.bits]);
            (self.name("fingerprint"), dtype)
        });
        let scaffold = self
            .scaffold
            .then(|| (self.name("scaffold"), DataType::String));
        descriptors
            .chain(elements)
            .chain(fingerprint)
            .chain(scaffold)
            .collect()
    }

    /// All figures of a column of SMILES, as structures.
    fn describe(&self, column: &PolarsColumn) -> PolarsResult<PolarsColumn> {
        let read = self.molecules(column)?;
        let molecules: Vec<Option<&Molecule>> = read
            .iter()
            .map(|read| read.as_ref().map(|read| &read.molecule))
            .collect();
        let mut fields: Vec<Series> = Vec::new();
        for descriptor in &self.descriptors {
            let name = self.name(descriptor.name()).into();
            fields.push(match descriptor {
                Descriptor::Weight => {
                    let weights: Vec<Option<f64>> = molecules
                        .iter()
                        .map(|molecule| Some((*molecule)?.weight))
                        .collect();
                    Series::new(name, weights)
                }
                counted => {
                    let counts: Vec<Option<i64>> = molecules
                        .iter()
                        .map(|molecule| counted.count((*molecule)?))
                        .collect();
                    Series::new(name, counts)
                }
            });
        }
        for symbol in &self.elements {
            let counts: Vec<Option<i64>> = molecules
                .iter()
                .map(|molecule| Some((*molecule)?.count(symbol) as i64))
                .collect();
            fields.push(Series::new(self.name(symbol).into(), counts));
        }
        if let Some(fingerprint) = self.fingerprint {
            fields.push(self.fingerprints(&molecules, fingerprint)?);
        }
        if self.scaffold {
            let scaffolds: Vec<Option<&str>> = read
                .iter()
                .map(|read| Some(read.as_ref()?.scaffold.as_str()))
                .collect();
            fields.push(Series::new(self.name("scaffold").into(), scaffolds));
        }
        let described =
            StructChunked::from_series(column.name().clone(), molecules.len(), fields.iter())?;
        Ok(described.into_series().into_column())
    }

    fn read(&self, text: &str) -> Result<Read, String> {
        let graph = molecule::read(text)?;
        Ok(Read {
            molecule: Molecule::of(&graph),
            scaffold: match self.scaffold {
                true => scaffold(&graph)?,
                false => String::new(),
            },
        })
    }

    fn molecules(&self, column: &PolarsColumn) -> PolarsResult<Vec<Option<Read>>> {
        let texts: Vec<Option<&str>> = column.str()?.iter().collect();
        let read: Vec<Option<Result<Read, String>>> = texts
            .par_iter()
            .map(|text| text.map(|text| self.read(text)))
            .collect();
        let mut molecules = Vec::with_capacity(read.len());
        for (row, (read, text)) in read.into_iter().zip(texts).enumerate() {
            molecules.push(match read {
                None => None,
                Some(Ok(molecule)) => Some(molecule),
                Some(Err(_)) if self.on_error == OnError::Null => None,
                Some(Err(reason)) => polars_bail!(
                    ComputeError: "`{}` holds `{}` in row {}, which is no SMILES: {reason}; `on_error: null` makes its figures null",
                    column.name(), text.unwrap_or_default(), row + 1
                ),
            });
        }
        Ok(molecules)
    }

    fn fingerprints(
        &self,
        molecules: &[Option<&Molecule>],
        fingerprint: Fingerprint,
    ) -> PolarsResult<Series> {
        let there: Vec<&Molecule> = molecules.iter().copied().flatten().collect();
        let mut numbers = vec![0.0_f32; there.len() * fingerprint.bits];
        numbers
            .par_chunks_mut(fingerprint.bits)
            .zip(&there)
            .for_each(|(places, molecule)| {
                circular::count(molecule, fingerprint.radius, places);
                if !fingerprint.counts {
                    places.iter_mut().for_each(|place| *place = place.min(1.0));
                }
            });
        let present: Vec<bool> = molecules.iter().map(Option::is_some).collect();
        let column = arrays::assemble::<Float32Type>(
            self.name("fingerprint").into(),
            &[fingerprint.bits],
            numbers,
            Some(&present),
            molecules.len(),
        )?;
        Ok(column.take_materialized_series())
    }
}

/// Whether the periodic table has this element.
fn is_element(symbol: &str) -> bool {
    let parsed: Result<smiles_rs::Smiles, _> = format!("[{symbol}]").parse();
    parsed.is_ok_and(|parsed| {
        let written = parsed.nodes().first().and_then(|atom| atom.element());
        written.is_some_and(|element| element.symbol() == symbol)
    })
}

impl Stage for Smiles {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let mut taken = BTreeSet::new();
        for (index, symbol) in self.elements.iter().enumerate() {
            let place = path!["elements", index];
            if !is_element(symbol) {
                cx.report(
                    Problem::error(
                        "unknown-element",
                        place,
                        format!("`{symbol}` is no element"),
                    )
                    .label("no such symbol")
                    .help("write symbols as the periodic table does: C, Cl, Na"),
                );
            } else if !taken.insert(symbol.as_str()) {
                cx.report(
                    Problem::error(
                        "duplicate-name",
                        place,
                        format!("the element `{symbol}` is named twice"),
                    )
                    .label("named before"),
                );
            }
        }
        for (index, descriptor) in self.descriptors.iter().flatten().enumerate() {
            if !taken.insert(descriptor.name()) {
                cx.report(
                    Problem::error(
                        "duplicate-name",
                        path!["descriptors", index],
                        format!("the figure `{}` is named twice", descriptor.name()),
                    )
                    .label("named before"),
                );
            }
        }
        let is_nothing = self.elements.is_empty()
            && self.fingerprint.is_none()
            && !self.scaffold
            && self.descriptors.as_ref().is_some_and(Vec::is_empty);
        if is_nothing {
            cx.report(
                Problem::error(
                    "no-columns",
                    path!["descriptors"],
                    format!("stage `{}` makes no figure", cx.stage),
                )
                .label("neither figures nor elements, no fingerprint, no scaffold"),
            );
        }
        let mut is_possible = !cx.failed();
        match columns::find(input, &self.column, path!["column"], cx) {
            Some(column) if column.dtype == DataType::String => {
                for (name, _) in self.making().made() {
                    is_possible &= columns::is_free(input, &name, path!["column"], cx);
                }
            }
            Some(column) => {
                columns::report_type(column, "text", path!["column"], cx);
                is_possible = false;
            }
            None => is_possible = false,
        }
        columns::promised(self.operation(input).filter(|_| is_possible), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Smiles {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        // Scoring brings only what the model needs: without the column there is nothing to do.
        Ok(self.operation(columns::input(inputs)).into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::DataFrame};

    use super::*;
    use crate::{
        columns::testing::{codes, passes, refuses, schema, stage},
        testing::{applied, run},
    };

    fn described(params: &str, texts: &[Option<&str>]) -> Result<DataFrame> {
        let frame = df!("smiles" => texts).expect("a frame");
        applied(&stage::<Smiles>(params), &[frame])
    }

    #[test]
    fn counts_of_known_molecules() {
        // Ethanol, benzene, aspirin, caffeine, sodium acetate, cubane, glycine as a zwitterion, heavy water, an alkyne. RDKit
        // 2026.9 answers the same; tests/peers/molecules.py.
        let molecules = [
            "CCO",
            "c1ccccc1",
            "CC(=O)Oc1ccccc1C(=O)O",
            "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
            "CC(=O)[O-].[Na+]",
            "C12C3C4C1C5C2C3C45",
            "[NH3+]CC(=O)[O-]",
            "[2H]O[2H]",
            "CCC#CCC",
        ];
        let texts: Vec<Option<&str>> = molecules.iter().copied().map(Some).collect();
        let rows = described("{column: smiles, elements: [C, H, N, O, Na]}", &texts).expect("rows");
        let column = |name: &str| -> Vec<i64> {
            let counts = rows.column(name).expect(name).i64().expect("counts");
            counts.into_no_null_iter().collect()
        };
        assert_eq!(column("smiles_heavy_atoms"), [3, 6, 13, 14, 5, 8, 5, 1, 6]);
        assert_eq!(column("smiles_bonds"), [2, 6, 13, 15, 3, 12, 4, 0, 5]);
        assert_eq!(column("smiles_rings"), [0, 1, 1, 2, 0, 5, 0, 0, 0]);
        assert_eq!(column("smiles_aromatic_atoms"), [0, 6, 6, 9, 0, 0, 0, 0, 0]);
        assert_eq!(column("smiles_charge"), [0; 9]);
        assert_eq!(
            column("smiles_hydrogen_donors"),
            [1, 0, 1, 0, 0, 0, 3, 2, 0]
        );
        assert_eq!(
            column("smiles_hydrogen_acceptors"),
            [1, 0, 4, 6, 2, 0, 3, 1, 0]
        );
        assert_eq!(
            column("smiles_rotatable_bonds"),
            [0, 0, 3, 0, 0, 0, 1, 0, 0]
        );
        assert_eq!(column("smiles_C"), [2, 6, 9, 8, 2, 8, 2, 0, 6]);
        assert_eq!(column("smiles_H"), [6, 6, 8, 10, 3, 8, 5, 2, 10]);
        assert_eq!(column("smiles_N"), [0, 0, 0, 4, 0, 0, 1, 0, 0]);
        assert_eq!(column("smiles_O"), [1, 0, 4, 2, 2, 0, 2, 1, 0]);
        assert_eq!(column("smiles_Na"), [0, 0, 0, 0, 1, 0, 0, 0, 0]);
        let weights = rows
            .column("smiles_weight")
            .expect("there")
            .f64()
            .expect("numbers");
        let expected = [
            46.07, 78.11, 180.16, 194.19, 82.03, 104.15, 75.07, 20.03, 82.15,
        ];
        for (found, expected) in weights.into_no_null_iter().zip(expected) {
            assert!((found - expected).abs() < 0.01, "{found}, not {expected}");
        }
    }

    #[test]
    fn amides_do_not_turn() {
        // N,N-diethylbenzamide: C-C(=O) of the ring, and N-C, C-C of neither end: 3; the amide bond itself does not.
        let rows = described(
            "{column: smiles, descriptors: [rotatable_bonds], elements: []}",
            &[
                Some("CCN(CC)C(=O)c1ccccc1"),
                Some("CCNCC"),
                Some("c1ccccc1-c1ccccc1"),
            ],
        )
        .expect("rows");
        let turning = rows
            .column("smiles_rotatable_bonds")
            .expect("there")
            .i64()
            .expect("counts");
        assert_eq!(turning.to_vec(), [Some(3), Some(2), Some(1)]);
    }

    #[test]
    fn a_fingerprint_of_bits_or_counts() {
        let params =
            "{column: smiles, descriptors: [], elements: [], fingerprint: {radius: 1, bits: 64";
        let texts = [Some("c1ccccc1"), None, Some("C")];
        let sum = |more: &str| {
            let rows = described(&format!("{params}{more}}}}}"), &texts).expect("rows");
            let column = rows.column("smiles_fingerprint").expect("there");
            assert_eq!(column.null_count(), 1);
            let leaf = column
                .drop_nulls()
                .as_materialized_series()
                .get_leaf_array();
            leaf.f32()
                .expect("numbers")
                .into_no_null_iter()
                .sum::<f32>()
        };
        assert_eq!(sum(""), 3.0);
        assert_eq!(sum(", counts: true"), 13.0);
    }

    #[test]
    fn a_text_that_is_no_smiles_is_named_or_null() {
        let texts = [Some("CCO"), None, Some("CC1CC"), Some("c1cccc1")];
        let error = described("{column: smiles}", &texts)
            .expect_err("open ring")
            .to_string();
        assert!(
            error.contains("`smiles` holds `CC1CC` in row 3, which is no SMILES: ring not closed at character 5"),
            "{error}"
        );
        for (text, reason) in [
            ("CC(", "branch not closed at character"),
            ("C[Xx]C", "at character"),
            (
                "c1cccc1",
                "its aromatic atoms cannot have alternating double bonds",
            ),
            ("C*", "wildcard atom not allowed at character 2"),
            (" ", "it is empty"),
            ("C\u{e9}", "at character 2"),
            (&"C".repeat(5000), "it has more than 1000 atoms"),
        ] {
            let error = described("{column: smiles}", &[Some(text)])
                .expect_err(text)
                .to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn errors_become_null_where_the_pipeline_says_so() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(
            directory.path().join("drugs.csv"),
            "smiles,target\nCCO,1\nC1C,0\n,1\n",
        )
        .expect("written");
        let pipeline = "pipeline: drugs\nstages:\n  - source.csv: {path: drugs.csv}\n  - features.smiles: {column: smiles, descriptors: [rings], elements: [], on_error: null, fingerprint: {bits: 8}}\n";
        let rows = run(pipeline, directory.path()).expect("rows");
        assert_eq!(
            rows.get_column_names(),
            ["smiles", "target", "smiles_rings", "smiles_fingerprint"]
        );
        let rings = rows
            .column("smiles_rings")
            .expect("there")
            .i64()
            .expect("counts");
        assert_eq!(rings.to_vec(), [Some(0), None, None]);
        assert_eq!(
            rows.column("smiles_fingerprint")
                .expect("there")
                .null_count(),
            2
        );
    }

    #[test]
    fn scaffolds_where_they_are_wanted() {
        let rows = described(
            "{column: smiles, descriptors: [], elements: [], scaffold: true}",
            &[Some("CC(=O)Oc1ccccc1C(=O)O"), None, Some("CCO")],
        )
        .expect("rows");
        assert_eq!(rows.get_column_names(), ["smiles", "smiles_scaffold"]);
        let scaffolds = rows.column("smiles_scaffold").expect("there");
        let scaffolds: Vec<_> = scaffolds.str().expect("texts").iter().collect();
        assert_eq!(scaffolds, [Some("c1ccccc1"), None, Some("")]);
    }

    #[test]
    fn large_molecules_and_empty_frames() {
        let chain = "C".repeat(1000);
        let ring = format!("C1{}1", "C".repeat(999));
        let rows = described(
            "{column: smiles, fingerprint: {}}",
            &[Some(&chain), Some(&ring)],
        )
        .expect("rows");
        let rings = rows
            .column("smiles_rings")
            .expect("there")
            .i64()
            .expect("counts");
        assert_eq!(rings.to_vec(), [Some(0), Some(1)]);
        let rows = described("{column: smiles, fingerprint: {bits: 8}}", &[]).expect("rows");
        assert_eq!((rows.height(), rows.width()), (0, 20));
    }

    #[test]
    fn lineage_is_the_columns_and_params_are_checked() {
        let mut input = schema([
            ("smiles", DataType::String),
            ("smiles_rings", DataType::Int64),
            ("n", DataType::Int64),
        ]);
        input.columns[0].from_pii.insert("smiles".into());
        let output = passes(
            &stage::<Smiles>("{column: smiles, descriptors: [weight], elements: []}"),
            &input,
        );
        assert!(output.columns[3].from_pii.contains("smiles"));
        assert_eq!(
            refuses(
                &stage::<Smiles>(
                    "{column: smiles, descriptors: [rings, bonds, bonds], elements: [C, c, Xx, C]}"
                ),
                &input
            )
            .into_iter()
            .map(|(code, _)| code)
            .collect::<Vec<_>>(),
            [
                "unknown-element",
                "unknown-element",
                "duplicate-name",
                "duplicate-name",
                "name-taken"
            ]
        );
        assert_eq!(
            codes(&stage::<Smiles>("{column: n}"), &input),
            ["type-mismatch"]
        );
        assert_eq!(
            codes(
                &stage::<Smiles>("{column: n, descriptors: [], elements: []}"),
                &input
            ),
            ["no-columns", "type-mismatch"]
        );
    }
}
