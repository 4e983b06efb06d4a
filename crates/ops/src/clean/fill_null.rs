//! `clean.fill_null`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Error, Expression, Function, Operation, Problem, Relational, Result,
    Schema, Shape, Stage, output_schema, path, register_kind,
};

use crate::columns::{self, Names, Scalar};

/// Put a constant in the place of null.
///
/// The constant must fit the type of every column that is named; the types stay. Not-a-number is not null.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FillNull {
    /// The columns to fill.
    columns: Names,
    /// What to put: a number, text, a date in quotes, true or false.
    value: Scalar,
}

register_kind! {
    FillNull, "clean.fill_null", version: 1,
    example: "- clean.fill_null: {columns: [channel], value: unknown}",
}

impl FillNull {
    fn filled(&self, column: &Column) -> Result<(String, Expression), String> {
        let constant =
            Expression::Literal(self.value.literal(&column.dtype)?).cast(column.dtype.clone());
        let filled = Expression::call(
            Function::Coalesce,
            vec![Expression::column(&column.name), constant],
        );
        // The common type of both is the column's own; saying so again costs nothing and holds on every engine.
        Ok((column.name.clone(), filled.cast(column.dtype.clone())))
    }
}

impl Stage for FillNull {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let path = path!["columns"];
        for (path, name) in self.columns.located(&path) {
            columns::is_allowed(name, path, cx);
        }
        let mut filled = Vec::new();
        for (_, column) in self.columns.find(input, &path, cx) {
            match self.filled(column) {
                Ok(one) => filled.push(one),
                Err(reason) => cx.report(
                    Problem::error(
                        "type-mismatch",
                        path!["value"],
                        format!(
                            "stage `{}` cannot fill `{}`: {reason}",
                            cx.stage, column.name
                        ),
                    )
                    .label(format!("does not fit `{}`", column.name)),
                ),
            }
        }
        output_schema(&[Operation::With(filled)], inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for FillNull {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let filled = self
            .columns
            .iter()
            // Scoring brings only the columns that the model needs.
            .filter_map(|name| input.column(name))
            .map(|column| self.filled(column).map_err(Error::Data))
            .collect::<Result<_>>()?;
        Ok(vec![Operation::With(filled)])
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataType;

    use super::*;
    use crate::columns::testing::{codes, passes, refuses, schema, stage, types};

    #[test]
    fn fills_and_keeps_the_types() {
        let input = schema([
            ("count", DataType::Int16),
            ("share", DataType::Float32),
            ("kind", DataType::String),
        ]);
        let output = passes(
            &stage::<FillNull>("{columns: [count, share], value: 0}"),
            &input,
        );
        assert_eq!(types(&output), types(&input));
        passes(
            &stage::<FillNull>("{columns: kind, value: unknown}"),
            &input,
        );
        let operations = stage::<FillNull>("{columns: kind, value: unknown}")
            .lower(&[input])
            .expect("operations");
        assert!(matches!(&operations[..], [Operation::With(columns)] if columns[0].0 == "kind"));
    }

    #[test]
    fn refuses_constants_that_do_not_fit() {
        let input = schema([
            ("count", DataType::Int8),
            ("share", DataType::Float64),
            ("kind", DataType::String),
        ]);
        assert_eq!(
            refuses(
                &stage::<FillNull>("{columns: [count, share, kind], value: 0.5}"),
                &input
            ),
            [
                (
                    "type-mismatch",
                    "stage `this` cannot fill `count`: `0.5` is not a whole number (i8)".to_owned()
                ),
                (
                    "type-mismatch",
                    "stage `this` cannot fill `kind`: `0.5` is not text".to_owned()
                ),
            ]
        );
        assert_eq!(
            refuses(&stage::<FillNull>("{columns: count, value: 300}"), &input)[0].1,
            "stage `this` cannot fill `count`: `300` is out of the range of i8"
        );
        assert_eq!(
            codes(&stage::<FillNull>("{columns: kid, value: a}"), &input),
            ["unknown-column"]
        );
    }
}
