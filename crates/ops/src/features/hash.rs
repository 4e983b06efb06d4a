//! `features.hash`.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use polars::prelude::{
    Column as PolarsColumn, DataType, IntoColumn, NamedFrom, PolarsResult, ReshapeDimension, Series,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Operation, Problem, Relational, Result, Schema, Shape, Stage, path,
    register_kind,
};

use super::{
    categories,
    placement::{self, Made},
};
use crate::columns::{self, Names};

/// Spread the values of category columns over a fixed number of columns, without learning them: the hashing trick.
///
/// Each value of each column has its bucket, and counts there as 1 or -1; values that share a bucket share its weight
/// (Weinberger et al. 2009, "Feature hashing for large scale multitask learning"). Good where there are very many
/// categories, or new ones all the time. Null counts nowhere. The columns become f32.
///
/// The bucket comes from BLAKE3 in its key derivation mode, context `taktline features.hash 1`, over the column's name, a zero
/// byte and the value as text: its first eight bytes, little endian, without the highest bit, modulo the number of
/// buckets; the highest bit is the sign. It never changes within a version of this kind.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Hash {
    /// The category columns: text, whole numbers, true or false. All of them share the buckets.
    columns: Names,
    /// How many buckets. Fewer save memory, more keep values apart.
    #[schemars(range(min = 1, max = 65_536))]
    buckets: usize,
    /// Let half of the values count as -1, so that those that share a bucket cancel out on average.
    #[serde(default = "yes")]
    signed: bool,
    /// One column for each bucket (at most 1000), or a single array column.
    #[serde(default, rename = "as")]
    form: Form,
    /// The name of the array column; columns are `hash_0`, `hash_1`, …
    #[serde(default = "hash")]
    name: String,
    /// Keep the category columns.
    #[serde(default)]
    keep: bool,
}

fn yes() -> bool {
    true
}

fn hash() -> String {
    "hash".to_owned()
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Form {
    /// A column for each bucket.
    #[default]
    Columns,
    /// One column of arrays.
    Array,
}

register_kind! {
    Hash, "features.hash", version: 1,
    example: "- features.hash: {columns: [merchant, city], buckets: 64}",
}

/// More columns than this make every later stage slow.
const MAX_COLUMNS: usize = 1000;

/// Finds the buckets of the values of a column.
struct Buckets {
    /// Has read the column's name already.
    hasher: blake3::Hasher,
    count: u64,
    signed: bool,
}

impl Buckets {
    fn of_column(name: &str, count: usize, signed: bool) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("taktline features.hash 1");
        hasher.update(name.as_bytes()).update(&[0]);
        Self {
            hasher,
            count: count as u64,
            signed,
        }
    }

    /// The value's bucket, and what it counts there.
    fn find(&self, value: &str) -> (usize, f32) {
        let mut first = [0; 8];
        self.hasher
            .clone()
            .update(value.as_bytes())
            .finalize_xof()
            .fill(&mut first);
        let number = u64::from_le_bytes(first);
        let is_negative = self.signed && number >> 63 == 1;
        let bucket = (number & (u64::MAX >> 1)) % self.count;
        (bucket as usize, if is_negative { -1.0 } else { 1.0 })
    }
}

impl Hash {
    fn made(&self, sources: &[&Column]) -> Vec<Column> {
        let column = |name: String, dtype| placement::heir(name, dtype, sources.iter().copied());
        match self.form {
            Form::Array => {
                let dtype = DataType::Array(Box::new(DataType::Float32), self.buckets);
                vec![column(self.name.clone(), dtype)]
            }
            Form::Columns => (0..self.buckets)
                .map(|bucket| column(format!("{}_{bucket}", self.name), DataType::Float32))
                .collect(),
        }
    }

    fn operations(&self, input: &Schema) -> Vec<Operation> {
        // Scoring brings all of them or, where the model needs none of the buckets, none.
        let sources: Vec<&Column> = self
            .columns
            .iter()
            .filter_map(|name| input.column(name))
            .collect();
        if sources.len() < self.columns.iter().count() {
            return Vec::new();
        }
        let (buckets, signed, form) = (self.buckets, self.signed, self.form);
        let made = Made {
            name: "hash categories",
            reads: sources.iter().map(|column| column.name.clone()).collect(),
            columns: self.made(&sources),
            by_place: false,
            input,
        };
        let hashers: Arc<[Buckets]> = sources
            .iter()
            .map(|column| Buckets::of_column(&column.name, buckets, signed))
            .collect();
        let operation = made.by(move |columns| hashed(columns, &hashers, buckets, form));
        if self.keep {
            vec![operation]
        } else {
            let dropped: BTreeSet<&str> = self.columns.iter().collect();
            placement::instead(vec![operation], &dropped, input)
        }
    }
}

fn hashed(
    columns: &[PolarsColumn],
    hashers: &[Buckets],
    buckets: usize,
    form: Form,
) -> PolarsResult<Vec<PolarsColumn>> {
    let rows = columns.first().map_or(0, PolarsColumn::len);
    let mut counts = vec![0.0_f32; rows * buckets];
    // An array keeps a row's numbers together, columns keep a bucket's.
    let place = |row: usize, bucket: usize| match form {
        Form::Array => row * buckets + bucket,
        Form::Columns => bucket * rows + row,
    };
    for (column, hasher) in columns.iter().zip(hashers) {
        let texts = column.cast(&DataType::String)?;
        let mut known: HashMap<&str, (usize, f32)> = HashMap::new();
        for (row, text) in texts.str()?.iter().enumerate() {
            let Some(text) = text else { continue };
            let (bucket, count) = *known.entry(text).or_insert_with(|| hasher.find(text));
            counts[place(row, bucket)] += count;
        }
    }
    match form {
        Form::Array => {
            let shape = [rows, buckets].map(|size| ReshapeDimension::new(size as i64));
            let array = Series::new("".into(), counts).reshape_array(&shape)?;
            Ok(vec![array.into_column()])
        }
        Form::Columns => Ok((0..buckets)
            .map(|bucket| {
                let counts = &counts[bucket * rows..(bucket + 1) * rows];
                Series::new("".into(), counts).into_column()
            })
            .collect()),
    }
}

impl Stage for Hash {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let sources = categories::check(&self.columns, input, cx);
        if self.form == Form::Columns && self.buckets > MAX_COLUMNS {
            cx.report(
                Problem::error(
                    "too-many-columns",
                    path!["buckets"],
                    format!(
                        "stage `{}` would make {} columns, more than {MAX_COLUMNS}",
                        cx.stage, self.buckets
                    ),
                )
                .help("with `as: array` they are one column"),
            );
            return input.clone();
        }
        let sources: Vec<&Column> = sources.into_iter().map(|(_, column)| column).collect();
        for made in self.made(&sources) {
            // A name that the spec does not hold is told at the kind, once.
            let path = match self.form {
                Form::Array => path!["name"],
                Form::Columns => path![],
            };
            if !columns::is_free(input, &made.name, path, cx) {
                return input.clone();
            }
        }
        if sources.len() < self.columns.iter().count() {
            let mut output = input.clone();
            output.columns.extend(self.made(&sources));
            return output;
        }
        taktline_core::output_schema(&self.operations(input), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Hash {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(self.operations(columns::input(inputs)))
    }
}

#[cfg(test)]
mod tests {
    use polars::df;
    use taktline_core::Role;

    use super::*;
    use crate::{
        columns::testing::{codes, passes, schema, stage},
        testing::applied,
    };

    #[test]
    fn buckets_never_change() {
        // The `blake3` package 1.0.11 of Python, `blake3(b"city\0Paris", derive_key_context="taktline features.hash 1")`, and
        // so on.
        let city = Buckets::of_column("city", 16, true);
        let shop = Buckets::of_column("shop", 16, true);
        assert_eq!(city.find("Paris"), (6, -1.0));
        assert_eq!(city.find("Zürich"), (3, -1.0));
        assert_eq!(shop.find("Paris"), (9, 1.0));
        assert_eq!(shop.find(""), (0, 1.0));
        assert_eq!(Buckets::of_column("shop", 16, false).find("7"), (4, 1.0));
    }

    #[test]
    fn values_count_in_their_buckets_and_null_nowhere() {
        let data = df!("n" => [1, 2, 3], "city" => [Some("Paris"), None, Some("Zürich")], "shop" => [Some(7_i64), None, Some(7)])
            .expect("a frame");
        let rows = applied(
            &stage::<Hash>("{columns: [city, shop], buckets: 16, signed: false}"),
            std::slice::from_ref(&data),
        )
        .expect("rows");
        assert_eq!(rows.width(), 17);
        let sum = |row: usize| -> f32 {
            (0..16)
                .map(|bucket| {
                    let column = rows.column(&format!("hash_{bucket}")).expect("a bucket");
                    column.f32().expect("numbers").get(row).expect("a number")
                })
                .sum()
        };
        assert_eq!([sum(0), sum(1), sum(2)], [2.0, 0.0, 2.0]);
        let arrays = applied(
            &stage::<Hash>("{columns: [city, shop], buckets: 16, signed: false, as: array, name: places, keep: true}"),
            &[data],
        )
        .expect("rows");
        assert_eq!(arrays.width(), 4);
        let array = arrays
            .column("places")
            .expect("the arrays")
            .array()
            .expect("arrays")
            .clone();
        let first = array.get_as_series(0).expect("a row");
        for (bucket, count) in first.f32().expect("numbers").iter().enumerate() {
            let column = rows.column(&format!("hash_{bucket}")).expect("a bucket");
            assert_eq!(column.f32().expect("numbers").get(0), count);
        }
    }

    #[test]
    fn no_rows_make_no_rows() {
        let data = df!("city" => Vec::<&str>::new()).expect("a frame");
        for form in ["columns", "array"] {
            let stage = stage::<Hash>(&format!("{{columns: city, buckets: 4, as: {form}}}"));
            assert_eq!(
                applied(&stage, std::slice::from_ref(&data))
                    .expect("rows")
                    .height(),
                0
            );
        }
    }

    #[test]
    fn personal_data_stays_known_and_a_missing_column_is_fine_in_scoring() {
        let mut input = schema([("card", DataType::String), ("n", DataType::Int64)]);
        input.columns[0] = input.columns[0].clone().with_role(Role::Pii);
        let stage = stage::<Hash>("{columns: card, buckets: 2}");
        let output = passes(&stage, &input);
        assert_eq!(
            output.names().collect::<Vec<_>>(),
            ["hash_0", "hash_1", "n"]
        );
        assert!(output.columns[0].from_pii.contains("card"));
        assert!(
            stage
                .lower(&[schema([("n", DataType::Int64)])])
                .expect("operations")
                .is_empty()
        );
    }

    #[test]
    fn refuses_amounts_and_too_many_columns() {
        let input = schema([
            ("price", DataType::Float64),
            ("hash_1", DataType::Int64),
            ("city", DataType::String),
        ]);
        assert_eq!(
            codes(&stage::<Hash>("{columns: [price], buckets: 1}"), &input),
            ["type-mismatch"]
        );
        assert_eq!(
            codes(&stage::<Hash>("{columns: city, buckets: 4}"), &input),
            ["name-taken"]
        );
        assert_eq!(
            codes(&stage::<Hash>("{columns: city, buckets: 1001}"), &input),
            ["too-many-columns"]
        );
        passes(
            &stage::<Hash>("{columns: city, buckets: 1001, as: array}"),
            &input,
        );
    }
}
