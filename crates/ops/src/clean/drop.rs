//! `clean.drop`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Expression, Operation, Relational, Result, Schema, Shape, Stage, output_schema,
    path, register_kind,
};

use crate::columns::{self, Names};

/// Leave out the named columns.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Drop {
    /// The columns to leave out.
    columns: Names,
}

register_kind! {
    Drop, "clean.drop", version: 1,
    example: "- clean.drop: {columns: [comment]}",
}

impl Drop {
    fn operations(&self, input: &Schema) -> Vec<Operation> {
        let dropped = input.expand(self.columns.iter());
        let kept = input
            .names()
            .filter(|name| dropped.iter().all(|dropped| dropped != *name))
            .map(|name| (name.to_owned(), Expression::column(name)))
            .collect();
        vec![Operation::Project(kept)]
    }
}

impl Stage for Drop {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let path = path!["columns"];
        for (path, name) in self.columns.located(&path) {
            columns::is_allowed(name, path, cx);
        }
        self.columns.find_with_open(input, &path, cx);
        output_schema(&self.operations(input), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Drop {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(self.operations(columns::input(inputs)))
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataType;
    use taktline_core::PARTITION;

    use super::*;
    use crate::columns::testing::{codes, passes, refuses, schema, stage, types};

    #[test]
    fn leaves_out_the_named_columns() {
        let input = schema([
            ("a", DataType::Int64),
            ("b", DataType::String),
            ("c", DataType::Date),
        ]);
        assert_eq!(
            types(&passes(&stage::<Drop>("{columns: b}"), &input)),
            [("a", DataType::Int64), ("c", DataType::Date)]
        );
    }

    #[test]
    fn leaves_out_all_columns_that_an_encoder_made() {
        let stage = stage::<Drop>("{columns: ['kind=*']}");
        let before = schema([("kind=*", DataType::UInt8), ("a", DataType::Int64)]);
        assert_eq!(types(&passes(&stage, &before)), [("a", DataType::Int64)]);
        let after = schema([
            ("kind=card", DataType::UInt8),
            ("kind=cash", DataType::UInt8),
            ("a", DataType::Int64),
        ]);
        let kept = output_schema(&stage.operations(&after), std::slice::from_ref(&after));
        assert_eq!(types(&kept), [("a", DataType::Int64)]);
    }

    #[test]
    fn refuses_unknown_columns_and_the_label_of_the_split() {
        let input = schema([("a", DataType::Int64), (PARTITION, DataType::String)]);
        assert_eq!(
            refuses(&stage::<Drop>("{columns: [comment]}"), &input),
            [(
                "unknown-column",
                "stage `this` reads `comment`, which its input does not have".to_owned()
            )]
        );
        assert_eq!(
            codes(&stage::<Drop>("{columns: [partition]}"), &input),
            ["reserved-name"]
        );
    }
}
