//! `split.column`.

use std::collections::{BTreeSet, HashMap};

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Classes, Error, Frame, Label, Partition, Problem, Result, Role, Schema, Shape,
    Split, Stage, path, register_kind,
};

use super::{labelled, parts};
use crate::columns;

/// Take the split from a column that already says which part a row is in.
///
/// Every row must hold one of the values that are named; the column itself stays, but is no feature unless `columns:` gives it that
/// role.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ByColumn {
    /// The column that says it: text, whole numbers, true or false.
    column: String,
    /// The values of training rows.
    #[serde(default = "train")]
    train: Values,
    /// The values of validation rows; default: there are none.
    validation: Option<Values>,
    /// The values of test rows.
    #[serde(default = "test")]
    test: Values,
}

/// A value, or a list of values.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
enum Values {
    /// A value.
    One(Label),
    /// Values.
    Many(#[schemars(length(min = 1))] Vec<Label>),
}

impl Values {
    fn as_slice(&self) -> &[Label] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

fn train() -> Values {
    Values::One(Label("train".to_owned()))
}

fn test() -> Values {
    Values::One(Label("test".to_owned()))
}

register_kind! {
    ByColumn, "split.column", version: 1,
    example: "- split.column: {column: fold, train: [1, 2, 3], validation: 4, test: 5}",
}

impl ByColumn {
    /// Each value with its part and the param that names it.
    fn values(&self) -> impl Iterator<Item = (&str, Partition)> {
        [
            (Some(&self.train), Partition::Train),
            (self.validation.as_ref(), Partition::Validation),
            (Some(&self.test), Partition::Test),
        ]
        .into_iter()
        .flat_map(|(values, part)| {
            values
                .into_iter()
                .flat_map(Values::as_slice)
                .map(move |value| (value.0.as_str(), part))
        })
    }
}

impl Stage for ByColumn {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        if let Some(column) = columns::find(input, &self.column, path!["column"], cx)
            && !Classes::can_hold(&column.dtype)
        {
            columns::report_type(
                column,
                "a column of text, whole numbers, true or false",
                path!["column"],
                cx,
            );
        }
        let mut seen: HashMap<&str, Partition> = HashMap::new();
        for (value, part) in self.values() {
            if let Some(other) = seen.insert(value, part) {
                cx.report(
                    Problem::error(
                        "duplicate-name",
                        path![part.label()],
                        format!(
                            "stage `{}` puts the value `{value}` into a part twice",
                            cx.stage
                        ),
                    )
                    .label(format!("it is in `{}` already", other.label())),
                );
            }
        }
        let mut output = labelled(input, parts(self.validation.is_some()), cx);
        // What tells training rows from test rows is nothing to learn from, unless `columns:` says that it is.
        if let Some(column) = output.column_mut(&self.column)
            && column.role == Role::Feature
        {
            column.role = Role::Ignore;
        }
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Split(self)
    }
}

impl Split for ByColumn {
    fn reads(&self, _: &Schema) -> BTreeSet<String> {
        BTreeSet::from([self.column.clone()])
    }

    fn assign(&self, frame: &Frame, _: u64) -> Result<Vec<Partition>> {
        let known: HashMap<&str, Partition> = self.values().collect();
        let texts = frame.data.column(&self.column)?.cast(&DataType::String)?;
        let mut labels = Vec::with_capacity(texts.len());
        for (row, text) in texts.str()?.iter().enumerate() {
            let part = text.and_then(|text| known.get(text)).ok_or_else(|| {
                let found = text.map_or_else(|| "null".to_owned(), |text| format!("`{text}`"));
                Error::data(format!(
                    "`{}` is {found} in row {}, which is in no part; `train`, `validation` and `test` name the values of each",
                    self.column,
                    row + 1
                ))
            })?;
            labels.push(*part);
        }
        for part in parts(self.validation.is_some()) {
            if !labels.contains(&part) {
                return Err(Error::data(format!(
                    "no row is in the {} part: `{}` never holds its values",
                    part.label(),
                    self.column
                )));
            }
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;
    use crate::columns::testing::{codes, frame, passes, schema, stage};

    #[test]
    fn values_are_parts() {
        use Partition::{Test, Train, Validation};
        let data = frame(
            df!("fold" => [5_i32, 1, 4, 2], "set" => ["test", "train", "train", "test"])
                .expect("a frame"),
        );
        let folds = stage::<ByColumn>("{column: fold, train: [1, 2, 3], validation: 4, test: 5}");
        assert_eq!(
            folds.assign(&data, 7).expect("labels"),
            [Test, Train, Validation, Train]
        );
        let named = stage::<ByColumn>("{column: set}")
            .assign(&data, 7)
            .expect("labels");
        assert_eq!(named, [Test, Train, Train, Test]);
    }

    #[test]
    fn a_row_in_no_part_is_named() {
        let error = |values: [Option<&str>; 3]| {
            let data = frame(df!("set" => values).expect("a frame"));
            stage::<ByColumn>("{column: set}")
                .assign(&data, 7)
                .expect_err("a row in no part")
                .to_string()
        };
        assert!(
            error([Some("train"), Some("test"), Some("dev")])
                .starts_with("`set` is `dev` in row 3, which is in no part")
        );
        assert!(error([Some("train"), None, Some("test")]).starts_with("`set` is null in row 2"));
        assert_eq!(
            error([Some("train"); 3]),
            "no row is in the test part: `set` never holds its values"
        );
    }

    #[test]
    fn checks_column_and_values() {
        let input = schema([("fold", DataType::Int64), ("share", DataType::Float64)]);
        let output = passes(
            &stage::<ByColumn>("{column: fold, train: 1, test: 2}"),
            &input,
        );
        assert_eq!(output.facts.partitions, [Partition::Train, Partition::Test]);
        assert_eq!(
            output.column("fold").map(|column| column.role),
            Some(Role::Ignore)
        );
        assert_eq!(
            codes(
                &stage::<ByColumn>("{column: share, train: 1, test: [2, 1]}"),
                &input
            ),
            ["type-mismatch", "duplicate-name"]
        );
        assert_eq!(
            codes(&stage::<ByColumn>("{column: flod}"), &input),
            ["unknown-column"]
        );
    }
}
