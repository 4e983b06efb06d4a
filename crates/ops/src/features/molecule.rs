//! Molecules: what a SMILES says about the atoms that are no hydrogen.

use smiles_rs::{KekulizationError, Smiles, bond::Bond as Written};

/// More would exhaust the stack of a thread; proteins and polymers are better not written as SMILES.
const MOST_ATOMS: usize = 1000;

/// A molecule without its hydrogens, which are counted at the atoms that they hang on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Molecule {
    pub(super) atoms: Vec<Atom>,
    pub(super) bonds: Vec<Bond>,
    /// For each atom, its neighbours and the bonds to them.
    pub(super) neighbours: Vec<Vec<Neighbour>>,
    /// The size of the smallest set of smallest rings: bonds - atoms + parts (Fréchet's cyclomatic number).
    pub(super) rings: usize,
    /// Daltons.
    pub(super) weight: f64,
    /// The sum of formal charges.
    pub(super) charge: i64,
    /// All hydrogens, written or implied.
    pub(super) hydrogens: usize,
}

/// An atom that is no hydrogen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Atom {
    pub(super) symbol: &'static str,
    pub(super) number: u8,
    pub(super) charge: i8,
    /// The mass number, where the SMILES gives one; else 0.
    pub(super) isotope: u16,
    pub(super) hydrogens: u32,
    pub(super) is_aromatic: bool,
    pub(super) is_in_ring: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bond {
    pub(super) atoms: [usize; 2],
    pub(super) order: Order,
    pub(super) is_in_ring: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Single,
    Double,
    Triple,
    Quadruple,
    Aromatic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) atom: usize,
    pub(super) bond: usize,
}

impl Molecule {
    /// What a SMILES says (see [`read`]).
    #[cfg(test)]
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        read(text).map(|graph| Self::of(&graph))
    }

    /// The molecule of a graph. Aromaticity is perceived anew by RDKit's model, so that a ring written with alternating double
    /// bonds is the same as one in small letters.
    pub(super) fn of(graph: &Smiles) -> Self {
        let aromatic = graph.aromaticity_assignment();
        let rings = graph.ring_membership();
        let is_hydrogen = |node: usize| {
            graph.nodes()[node]
                .element()
                .is_some_and(|element| u8::from(element) == 1)
        };
        let mut places = vec![None; graph.nodes().len()];
        let mut atoms = Vec::new();
        let mut molecule = Self {
            atoms: Vec::new(),
            bonds: Vec::new(),
            neighbours: Vec::new(),
            rings: (graph.number_of_bonds() + graph.connected_components().number_of_components())
                .saturating_sub(graph.nodes().len()),
            weight: 0.0,
            charge: 0,
            hydrogens: 0,
        };
        for (node, atom) in graph.nodes().iter().enumerate() {
            let Some(element) = atom.element() else {
                continue;
            };
            let attached = usize::from(atom.hydrogen_count())
                + usize::from(graph.implicit_hydrogen_count(node));
            molecule.weight += match atom.isotope_mass_number() {
                Some(2) if is_hydrogen(node) => DEUTERIUM,
                Some(mass) => f64::from(mass),
                None => element.standard_atomic_weight(),
            };
            molecule.weight += attached as f64 * HYDROGEN;
            molecule.charge += i64::from(atom.charge_value());
            molecule.hydrogens += attached;
            if is_hydrogen(node) {
                molecule.hydrogens += 1;
                continue;
            }
            let written = graph
                .edges_for_node(node)
                .filter_map(|edge| edge.other(node))
                .filter(|other| is_hydrogen(*other))
                .count();
            places[node] = Some(atoms.len());
            atoms.push(Atom {
                symbol: element.symbol(),
                number: u8::from(element),
                charge: atom.charge_value(),
                isotope: atom.isotope_mass_number().unwrap_or_default(),
                hydrogens: (attached + written) as u32,
                is_aromatic: aromatic.contains_atom(node),
                is_in_ring: rings.contains_atom(node),
            });
        }
        molecule.neighbours = vec![Vec::new(); atoms.len()];
        molecule.atoms = atoms;
        for node in 0..graph.nodes().len() {
            for edge in graph.edges_for_node(node) {
                let Some(other) = edge.other(node).filter(|other| node < *other) else {
                    continue;
                };
                let (Some(one), Some(two)) = (places[node], places[other]) else {
                    continue;
                };
                let bond = molecule.bonds.len();
                molecule.neighbours[one].push(Neighbour { atom: two, bond });
                molecule.neighbours[two].push(Neighbour { atom: one, bond });
                molecule.bonds.push(Bond {
                    atoms: [one, two],
                    order: match edge.bond() {
                        _ if aromatic.contains_edge(node, other) => Order::Aromatic,
                        Written::Single | Written::Up | Written::Down => Order::Single,
                        Written::Double => Order::Double,
                        Written::Triple => Order::Triple,
                        Written::Quadruple => Order::Quadruple,
                    },
                    is_in_ring: rings.contains_edge(node, other),
                });
            }
        }
        molecule
    }

    /// How many atoms of this element there are, hydrogens too.
    pub(super) fn count(&self, symbol: &str) -> usize {
        match symbol {
            "H" => self.hydrogens,
            _ => self
                .atoms
                .iter()
                .filter(|atom| atom.symbol == symbol)
                .count(),
        }
    }

    /// Hydrogens on nitrogen and oxygen: "the sum of OHs and NHs" (Lipinski and others, Adv. Drug Deliv. Rev. 23, 1997).
    pub(super) fn hydrogen_donors(&self) -> usize {
        let hydrogens = |atom: &Atom| {
            if matches!(atom.number, 7 | 8) {
                atom.hydrogens as usize
            } else {
                0
            }
        };
        self.atoms.iter().map(hydrogens).sum()
    }

    /// Nitrogen and oxygen atoms: "the sum of Ns and Os" (Lipinski and others 1997).
    pub(super) fn hydrogen_acceptors(&self) -> usize {
        self.atoms
            .iter()
            .filter(|atom| matches!(atom.number, 7 | 8))
            .count()
    }

    /// Single bonds outside rings between two atoms that both have another neighbour, but for the C-N of amides (Veber and
    /// others, J. Med. Chem. 45, 2002) and bonds at triple bonds, which turn nothing.
    pub(super) fn rotatable_bonds(&self) -> usize {
        let turns = |bond: &&Bond| {
            bond.order == Order::Single
                && !bond.is_in_ring
                && bond.atoms.iter().all(|atom| {
                    self.neighbours[*atom].len() > 1
                        && self.orders(*atom).all(|(order, _)| order != Order::Triple)
                })
                && !self.is_amide(bond)
        };
        self.bonds.iter().filter(turns).count()
    }

    fn is_amide(&self, bond: &Bond) -> bool {
        let [one, two] = bond.atoms;
        let is_carbonyl = |atom: usize| {
            self.atoms[atom].number == 6
                && self
                    .orders(atom)
                    .any(|(order, other)| order == Order::Double && self.atoms[other].number == 8)
        };
        // The nitrogen of an aromatic ring gives its electrons to the ring, not to the carbonyl.
        let is_nitrogen =
            |atom: usize| self.atoms[atom].number == 7 && !self.atoms[atom].is_aromatic;
        (is_carbonyl(one) && is_nitrogen(two)) || (is_carbonyl(two) && is_nitrogen(one))
    }

    /// The bonds of an atom and the atoms at their other ends.
    fn orders(&self, atom: usize) -> impl Iterator<Item = (Order, usize)> {
        self.neighbours[atom]
            .iter()
            .map(|neighbour| (self.bonds[neighbour.bond].order, neighbour.atom))
    }
}

/// Reads a SMILES (OpenSMILES 1.0).
///
/// # Errors
/// One line that says what is wrong, and where.
pub(super) fn read(text: &str) -> Result<Smiles, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".into());
    }
    // A bracket atom is the longest that an atom takes; nothing real comes near.
    if text.len() > 32 * MOST_ATOMS {
        return Err(format!("it is longer than {} characters", 32 * MOST_ATOMS));
    }
    let graph: Smiles = text
        .parse()
        .map_err(|error: smiles_rs::SmilesErrorWithSpan| {
            let before = text
                .get(..error.start())
                .map_or(error.start(), |before| before.chars().count());
            format!(
                "{} at character {}",
                lower_first(&error.smiles_error().to_string()),
                before + 1
            )
        })?;
    if graph.nodes().len() > MOST_ATOMS {
        return Err(format!("it has more than {MOST_ATOMS} atoms"));
    }
    // Rings like that of cyanuric acid (`O=c1[nH]c(=O)[nH]c(=O)[nH]1`) are right without any double bond inside: they
    // have no atom that needs one.
    let is_aromatic = graph.nodes().iter().any(|atom| atom.aromatic());
    if is_aromatic
        && let Err(KekulizationError::NoPerfectMatching {
            candidate_atom_count: 1..,
        }) = graph.kekulize()
    {
        return Err("its aromatic atoms cannot have alternating double bonds".into());
    }
    Ok(graph)
}

/// The standard atomic weight of hydrogen, in daltons.
const HYDROGEN: f64 = 1.008;
/// The mass of deuterium, the only isotope that is often written, in daltons (AME 2020).
const DEUTERIUM: f64 = 2.014_102;

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}
