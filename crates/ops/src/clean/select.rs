//! `clean.select`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Expression, Operation, Relational, Result, Role, Schema, Shape, Stage,
    output_schema, path, register_kind,
};

use crate::columns::{self, Names};

/// Keep only the named columns, in that order.
///
/// Columns that takt itself made, such as the partition label of `split.*`, stay as well.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Select {
    /// The columns to keep.
    columns: Names,
}

register_kind! {
    Select, "clean.select", version: 1,
    example: "- clean.select: {columns: [at, amount, is_fraud]}",
}

impl Select {
    fn operations(&self, input: &Schema) -> Vec<Operation> {
        let internal = input
            .with_role(Role::Internal)
            .map(|column| column.name.as_str());
        let mut kept: Vec<(String, Expression)> = Vec::new();
        for name in input.expand(self.columns.iter().chain(internal)) {
            if input.column(&name).is_some() {
                kept.push((name.clone(), Expression::column(name)));
            }
        }
        vec![Operation::Project(kept)]
    }
}

impl Stage for Select {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let known = self
            .columns
            .find_with_open(input, &path!["columns"], cx)
            .len();
        let mut output = output_schema(&self.operations(input), inputs);
        output.incomplete |= known < self.columns.iter().count();
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Select {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(self.operations(columns::input(inputs)))
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataType;
    use taktline_core::PARTITION;

    use super::*;
    use crate::columns::testing::{check, passes, schema, stage, types};

    #[test]
    fn keeps_the_named_columns_in_their_order_and_the_label() {
        let mut input = schema([
            ("a", DataType::Int64),
            ("b", DataType::String),
            ("c", DataType::Date),
            (PARTITION, DataType::String),
        ]);
        input.columns[3].role = Role::Internal;
        let output = passes(&stage::<Select>("{columns: [c, a]}"), &input);
        assert_eq!(
            types(&output),
            [
                ("c", DataType::Date),
                ("a", DataType::Int64),
                (PARTITION, DataType::String)
            ]
        );
        assert_eq!(output.columns[2].role, Role::Internal);
    }

    #[test]
    fn keeps_all_columns_that_an_encoder_made() {
        let stage = stage::<Select>("{columns: [a, 'kind=*']}");
        let before = schema([("kind=*", DataType::UInt8), ("a", DataType::Int64)]);
        assert_eq!(
            types(&passes(&stage, &before)),
            [("a", DataType::Int64), ("kind=*", DataType::UInt8)]
        );
        let after = schema([
            ("kind=card", DataType::UInt8),
            ("kind=cash", DataType::UInt8),
            ("a", DataType::Int64),
            ("b", DataType::Int64),
        ]);
        let kept = output_schema(&stage.operations(&after), std::slice::from_ref(&after));
        assert_eq!(
            kept.names().collect::<Vec<_>>(),
            ["a", "kind=card", "kind=cash"]
        );
    }

    #[test]
    fn an_unknown_column_leaves_the_schema_incomplete() {
        let input = schema([("amount", DataType::Float64)]);
        let (output, problems) = check(&stage::<Select>("{columns: [amount, kind]}"), &input);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].code, "unknown-column");
        assert_eq!(problems[0].path, path!["columns", 1]);
        assert!(output.incomplete);
    }
}
