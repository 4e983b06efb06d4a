//! `features.interact`.

use std::collections::BTreeSet;

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    BinaryOperator, CheckContext, Classes, Column, Expression, Operation, ParamPath, Problem,
    Relational, Result, Schema, Shape, Stage, output_schema, path, register_kind,
};

use crate::columns;

/// Let columns work together: `area*rooms` is their product, `channel*weekday` says which channel met which weekday.
///
/// If all columns of an interaction are numbers, they are multiplied, as f64. Otherwise their values are joined as
/// text, `web*mon`, a category that can be encoded like any other. Null in any of them gives null. The columns
/// themselves stay.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Interact {
    /// The columns of each interaction: `[[area, rooms], [channel, weekday]]`.
    #[schemars(length(min = 1))]
    columns: Vec<Together>,
}

/// Columns that work together.
#[derive(Debug, Deserialize, JsonSchema)]
struct Together(#[schemars(length(min = 2, max = 10))] Vec<String>);

register_kind! {
    Interact, "features.interact", version: 1,
    example: "- features.interact: {columns: [[area, rooms], [channel, weekday]]}",
}

const SIGN: &str = "*";

impl Together {
    fn name(&self) -> String {
        self.0.join(SIGN)
    }

    /// What the columns make together; none where one of them is not there.
    fn expression(&self, input: &Schema) -> Option<Expression> {
        let columns: Vec<&Column> = self
            .0
            .iter()
            .map(|name| input.column(name))
            .collect::<Option<_>>()?;
        let value = |column: &Column, dtype| Expression::column(&column.name).cast(dtype);
        if columns
            .iter()
            .all(|column| column.dtype.is_primitive_numeric())
        {
            return columns
                .into_iter()
                .map(|column| value(column, DataType::Float64))
                .reduce(|left, right| left.binary(BinaryOperator::Multiply, right));
        }
        columns
            .into_iter()
            .map(|column| value(column, DataType::String))
            .reduce(|left, right| {
                left.binary(BinaryOperator::Concat, Expression::text(SIGN))
                    .binary(BinaryOperator::Concat, right)
            })
    }

    /// Whether the columns are there, each once, and can work together; what is wrong is reported.
    fn check(&self, index: usize, input: &Schema, cx: &mut CheckContext<'_>) -> bool {
        let path = |place: usize| path!["columns", index, place];
        let (mut seen, mut found, mut fits) = (BTreeSet::new(), Vec::new(), true);
        for (place, name) in self.0.iter().enumerate() {
            if !seen.insert(name) {
                let message = format!(
                    "stage `{}` names `{name}` twice in an interaction",
                    cx.stage
                );
                cx.report(
                    Problem::error("duplicate-name", path(place), message)
                        .label("named before")
                        .help("`features.polynomial` makes powers"),
                );
                fits = false;
            } else if let Some(column) = columns::find(input, name, path(place), cx) {
                found.push((path(place), column));
            } else {
                fits = false;
            }
        }
        let are_numbers = found
            .iter()
            .all(|(_, column)| column.dtype.is_primitive_numeric());
        for (path, column) in found {
            // Real numbers have no few values that could be categories.
            if !are_numbers && !Classes::can_hold(&column.dtype) {
                let needs = "categories (text, whole numbers, true or false), or numbers only";
                columns::report_type(column, needs, path, cx);
                fits = false;
            }
        }
        fits && self.is_free(path!["columns", index], input, cx)
    }

    fn is_free(&self, path: ParamPath, input: &Schema, cx: &mut CheckContext<'_>) -> bool {
        columns::is_free(input, &self.name(), path, cx)
    }
}

impl Interact {
    fn operations(&self, input: &Schema) -> Vec<Operation> {
        let made = self
            .columns
            .iter()
            // Scoring brings only the columns that the model needs.
            .filter_map(|together| Some((together.name(), together.expression(input)?)))
            .collect();
        vec![Operation::With(made)]
    }
}

impl Stage for Interact {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let mut names = BTreeSet::new();
        let mut made = Vec::new();
        for (index, together) in self.columns.iter().enumerate() {
            if !names.insert(together.name()) {
                let message = format!("stage `{}` makes `{}` twice", cx.stage, together.name());
                cx.report(
                    Problem::error("duplicate-name", path!["columns", index], message)
                        .label("named before"),
                );
            } else if together.check(index, input, cx) {
                made.extend(
                    together
                        .expression(input)
                        .map(|value| (together.name(), value)),
                );
            }
        }
        output_schema(&[Operation::With(made)], inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Interact {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(self.operations(columns::input(inputs)))
    }
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;
    use crate::{
        columns::testing::{codes, schema, stage, types},
        testing::applied,
    };

    #[test]
    fn numbers_are_multiplied_and_categories_joined() {
        let data = df!(
            "area" => [Some(2.5), None, Some(f64::NAN)],
            "rooms" => [2_i8, 3, 4],
            "shop" => [Some("Zürich"), Some("a"), None],
            "open" => [true, false, true],
        )
        .expect("a frame");
        let stage = stage::<Interact>("{columns: [[area, rooms], [shop, rooms, open]]}");
        let rows = applied(&stage, &[data]).expect("rows");
        let products: Vec<Option<f64>> = rows
            .column("area*rooms")
            .expect("made")
            .f64()
            .expect("numbers")
            .iter()
            .collect();
        assert_eq!(products[..2], [Some(5.0), None]);
        assert!(products[2].is_some_and(f64::is_nan));
        let joined: Vec<Option<&str>> = rows
            .column("shop*rooms*open")
            .expect("made")
            .str()
            .expect("text")
            .iter()
            .collect();
        assert_eq!(joined, [Some("Zürich*2*true"), Some("a*3*false"), None]);
    }

    #[test]
    fn makes_what_it_can_while_scoring() {
        let stage = stage::<Interact>("{columns: [[a, b], [b, c]]}");
        let input = schema([("b", DataType::Int64), ("c", DataType::Int64)]);
        let output = output_schema(
            &stage
                .lower(std::slice::from_ref(&input))
                .expect("operations"),
            &[input],
        );
        assert_eq!(types(&output)[2..], [("b*c", DataType::Float64)]);
    }

    #[test]
    fn refuses_what_does_not_go_together() {
        let input = schema([
            ("area", DataType::Float64),
            ("rooms", DataType::Int64),
            ("shop", DataType::String),
            ("rooms*shop", DataType::String),
        ]);
        assert_eq!(
            codes(
                &stage::<Interact>(
                    "{columns: [[area, shop], [area, area], [rooms, shop], [area, rom], [area, rooms], [area, rooms]]}"
                ),
                &input
            ),
            [
                "type-mismatch",
                "duplicate-name",
                "name-taken",
                "unknown-column",
                "duplicate-name"
            ]
        );
    }
}
