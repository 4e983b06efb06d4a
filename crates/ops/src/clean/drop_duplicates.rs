//! `clean.drop_duplicates`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Keep as KeptRow, Operation, ParamPath, Relational, Result, Role, Schema,
    Shape, Stage, path, register_kind,
};

use crate::columns::{self, Names};

/// Keep one row of those that are equal in the named columns.
///
/// Row order stays. Null is a value like any other here: two rows with null in a column are equal in it, as are two that are
/// not a number. To keep the latest row of each, sort by time above, `clean.sort: {by: at}`, and `keep: last`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DropDuplicates {
    /// The columns that make rows equal; default: all columns.
    on: Option<Names>,
    /// Which of several equal rows stays.
    #[serde(default)]
    keep: Keep,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Keep {
    /// The first in row order.
    #[default]
    First,
    /// The last in row order.
    Last,
    /// None: rows that occur more than once all go.
    None,
}

register_kind! {
    DropDuplicates, "clean.drop_duplicates", version: 1,
    example: "- clean.drop_duplicates: {on: [payment_id]}",
}

impl Stage for DropDuplicates {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        match &self.on {
            Some(on) => {
                for (path, column) in on.find(input, &path!["on"], cx) {
                    is_comparable(column, path, cx);
                }
            }
            None => {
                for column in declared(input) {
                    is_comparable(column, ParamPath::kind(), cx);
                }
            }
        }
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

/// The columns that come from the user's data: the partition label does not make two rows different.
fn declared(input: &Schema) -> impl Iterator<Item = &Column> {
    input
        .columns
        .iter()
        .filter(|column| column.role != Role::Internal)
}

fn is_comparable(column: &Column, path: ParamPath, cx: &mut CheckContext<'_>) {
    if column.dtype.is_nested() {
        columns::report_type(
            column,
            "columns of single values (name them with `on`)",
            path,
            cx,
        );
    }
}

impl Relational for DropDuplicates {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let on = match &self.on {
            Some(on) => on.to_vec(),
            None => declared(columns::input(inputs))
                .map(|column| column.name.clone())
                .collect(),
        };
        let keep = match self.keep {
            Keep::First => KeptRow::First,
            Keep::Last => KeptRow::Last,
            Keep::None => KeptRow::None,
        };
        Ok(vec![Operation::Distinct { on, keep }])
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataType;
    use taktline_core::PARTITION;

    use super::*;
    use crate::columns::testing::{codes, passes, refuses, schema, stage};

    #[test]
    fn compares_the_named_columns() {
        let input = schema([("id", DataType::Int64), ("amount", DataType::Float64)]);
        let stage: DropDuplicates = stage("{on: id, keep: last}");
        assert_eq!(passes(&stage, &input), input);
        let operations = stage.lower(&[input]).expect("operations");
        assert!(
            matches!(&operations[..], [Operation::Distinct { on, keep: KeptRow::Last }] if on == &["id"])
        );
    }

    #[test]
    fn all_columns_are_those_of_the_data() {
        let mut input = schema([("id", DataType::Int64), (PARTITION, DataType::String)]);
        input.columns[1].role = Role::Internal;
        let operations = stage::<DropDuplicates>("{}")
            .lower(&[input])
            .expect("operations");
        assert!(
            matches!(&operations[..], [Operation::Distinct { on, keep: KeptRow::First }] if on == &["id"])
        );
    }

    #[test]
    fn refuses_unknown_repeated_and_nested_columns() {
        let image = DataType::Array(Box::new(DataType::UInt8), 4);
        let input = schema([("id", DataType::Int64), ("image", image)]);
        assert_eq!(
            refuses(&stage::<DropDuplicates>("{on: [di, id, id]}"), &input),
            [
                (
                    "unknown-column",
                    "stage `this` reads `di`, which its input does not have".to_owned()
                ),
                ("duplicate-name", "stage `this` names `id` twice".to_owned()),
            ]
        );
        assert_eq!(
            codes(&stage::<DropDuplicates>("{}"), &input),
            ["type-mismatch"]
        );
    }
}
