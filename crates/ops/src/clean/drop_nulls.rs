//! `clean.drop_nulls`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    BinaryOperator, CheckContext, Expression, Operation, Relational, Result, Role, Schema, Shape,
    Stage, UnaryOperator, path, register_kind,
};

use crate::columns::{self, Names};

/// Keep only rows without null in the named columns.
///
/// Not-a-number is not null: it is a value, and stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DropNulls {
    /// The columns to look at; default: all columns.
    columns: Option<Names>,
}

register_kind! {
    DropNulls, "clean.drop_nulls", version: 1,
    example: "- clean.drop_nulls: {columns: [amount]}",
}

impl Stage for DropNulls {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        if let Some(names) = &self.columns {
            names.find(input, &path!["columns"], cx);
        }
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for DropNulls {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let names = match &self.columns {
            Some(names) => names.to_vec(),
            None => columns::input(inputs)
                .columns
                .iter()
                .filter(|column| column.role != Role::Internal)
                .map(|column| column.name.clone())
                .collect(),
        };
        let condition = names
            .into_iter()
            .map(|name| Expression::column(name).unary(UnaryOperator::IsNotNull))
            .reduce(|all, one| all.binary(BinaryOperator::And, one));
        Ok(condition.map(Operation::Filter).into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataType;

    use super::*;
    use crate::columns::testing::{passes, refuses, schema, stage};

    fn reads(stage: &DropNulls, input: &Schema) -> Vec<String> {
        let operations = stage
            .lower(std::slice::from_ref(input))
            .expect("operations");
        assert!(matches!(operations[..], [Operation::Filter(_)]));
        operations[0].reads().into_iter().collect()
    }

    #[test]
    fn looks_at_the_named_columns_or_all() {
        let input = schema([("amount", DataType::Float64), ("kind", DataType::String)]);
        let named: DropNulls = stage("{columns: amount}");
        assert_eq!(passes(&named, &input), input);
        assert_eq!(reads(&named, &input), ["amount"]);
        assert_eq!(reads(&stage("{}"), &input), ["amount", "kind"]);
        assert!(
            stage::<DropNulls>("{}")
                .lower(&[Schema::default()])
                .expect("operations")
                .is_empty()
        );
    }

    #[test]
    fn says_which_column_it_meant() {
        let input = schema([("amount", DataType::Float64)]);
        let problems = refuses(&stage::<DropNulls>("{columns: [amout]}"), &input);
        assert_eq!(
            problems,
            [(
                "unknown-column",
                "stage `this` reads `amout`, which its input does not have".to_owned()
            )]
        );
    }
}
