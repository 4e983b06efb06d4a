//! `features.standardize`.

use std::collections::BTreeSet;

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    BinaryOperator, CheckContext, Estimator, Expression, FitContext, Frame, Operation, Result,
    Schema, Shape, Stage, State, output_schema, register_kind,
};

use super::numbers;
use crate::columns::{self, Names};

const VERSION: u32 = 1;

/// Bring number columns to mean 0 and standard deviation 1, as learned from the training rows.
///
/// Each value loses the mean and is divided by the standard deviation (of the rows at hand: divided by n). A column that is
/// the same in all training rows only loses its mean. Null stays null; columns become f64. NaN or infinity in a
/// training row is an error; later NaN stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Standardize {
    /// The columns; default: all features that are real numbers (f32, f64). Whole numbers count only when they are named.
    columns: Option<Names>,
}

register_kind! {
    Standardize, "features.standardize", version: 1,
    example: "- features.standardize: {columns: [log_amount, spent_24h]}",
}

/// What was learned about a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Moments {
    column: String,
    mean: f64,
    std: f64,
}

impl Moments {
    /// One pass in row order (Welford 1962, "Note on a method for calculating corrected sums of squares and products"): no
    /// large sums, and the same result to the bit whatever the threads.
    fn of(column: &str, values: &[f64]) -> Self {
        let (mut mean, mut squares) = (0.0_f64, 0.0_f64);
        for (index, value) in values.iter().enumerate() {
            let before = value - mean;
            mean += before / (index + 1) as f64;
            squares += before * (value - mean);
        }
        Self {
            column: column.to_owned(),
            mean,
            std: (squares / values.len() as f64).sqrt(),
        }
    }

    fn scaled(&self) -> (String, Expression) {
        // Written so that not-a-number and zero both fall back to 1.
        let divisor = if self.std > 0.0 { self.std } else { 1.0 };
        let scaled = Expression::column(&self.column)
            .cast(DataType::Float64)
            .binary(BinaryOperator::Subtract, Expression::float(self.mean))
            .binary(BinaryOperator::Divide, Expression::float(divisor));
        (self.column.clone(), scaled)
    }
}

fn operations(moments: &[Moments]) -> Vec<Operation> {
    vec![Operation::With(
        moments.iter().map(Moments::scaled).collect(),
    )]
}

impl Stage for Standardize {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        // The types do not depend on what will be learned.
        let moments: Vec<Moments> =
            numbers::check_scaled(self.columns.as_ref(), columns::input(inputs), cx)
                .into_iter()
                .map(|column| Moments {
                    column,
                    mean: 0.0,
                    std: 1.0,
                })
                .collect();
        output_schema(&operations(&moments), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for Standardize {
    fn fit_reads(&self, input: &Schema) -> BTreeSet<String> {
        numbers::reads(self.columns.as_ref(), input)
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let mut learned = Vec::new();
        for name in numbers::chosen(self.columns.as_ref(), &train.schema) {
            cx.cancellation.check()?;
            let moments = Moments::of(&name, &numbers::training_values(&train.data, &name)?);
            if moments.std == 0.0 {
                numbers::warn_constant(&name, moments.mean, cx);
            }
            learned.push(moments);
        }
        State::from_data(VERSION, &learned)
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(columns::possible(
            operations(&state.data::<Vec<Moments>>(VERSION)?),
            columns::input(inputs),
        ))
    }
}

#[cfg(test)]
mod tests {
    use polars::df;
    use taktline_core::{Column, Role};

    use super::*;
    use crate::columns::testing::{check, codes, frame, passes, refuses, schema, stage, types};

    fn fitted(params: &str, train: polars::prelude::DataFrame) -> Vec<Moments> {
        let state = stage::<Standardize>(params)
            .fit(&frame(train), &mut FitContext::quiet(7))
            .expect("a state");
        state.data(VERSION).expect("what was learned")
    }

    #[test]
    fn learns_mean_and_deviation() {
        let train = df!("a" => [1.0, 2.0, 3.0, 4.0], "n" => [2_i32, 4, 6, 8], "kind" => ["a", "b", "c", "d"]).expect("a frame");
        let learned = fitted("{columns: [a, n]}", train.clone());
        assert_eq!(learned[0].mean, 2.5);
        assert!((learned[0].std - 1.25_f64.sqrt()).abs() < 1e-15);
        assert_eq!(learned[1].mean, 5.0);
        assert!((learned[1].std - 5.0_f64.sqrt()).abs() < 1e-15);
        // Unless they are named, only real numbers are scaled.
        assert_eq!(
            fitted("{}", train)
                .iter()
                .map(|column| column.column.as_str())
                .collect::<Vec<_>>(),
            ["a"]
        );
    }

    #[test]
    fn far_from_zero_it_is_still_exact() {
        let values: Vec<f64> = [4.0, 7.0, 13.0, 16.0]
            .iter()
            .map(|value| value + 1e9)
            .collect();
        let moments = Moments::of("a", &values);
        assert_eq!(moments.mean, 1e9 + 10.0);
        assert!((moments.std - 22.5_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn a_constant_column_only_loses_its_mean() {
        let learned = fitted("{columns: a}", df!("a" => [3.0, 3.0]).expect("a frame"));
        let (_, expression) = learned[0].scaled();
        let Expression::Binary(BinaryOperator::Divide, _, divisor) = expression else {
            panic!("{expression:?}")
        };
        assert_eq!(*divisor, Expression::float(1.0));
    }

    #[test]
    fn keeps_roles_and_makes_f64() {
        let mut input = schema([
            ("a", DataType::Float32),
            ("label", DataType::Int64),
            ("w", DataType::Float64),
        ]);
        input.columns[2] = Column::new("w", DataType::Float64).with_role(Role::Weight);
        // That a whole number keeps its scale is told, unless it is an indicator, a category, or no feature.
        let (output, problems) = check(&stage::<Standardize>("{}"), &input);
        let told: Vec<&str> = problems
            .iter()
            .map(|problem| problem.message.as_str())
            .collect();
        assert_eq!(
            told,
            ["stage `this` leaves 1 whole-number feature at the old scale: `label`"]
        );
        let mut quiet = input.clone();
        quiet.columns[1].categories = Some(vec!["0".into(), "1".into()]);
        passes(&stage::<Standardize>("{}"), &quiet);
        quiet.columns[1] = Column::new("label", DataType::UInt8);
        passes(&stage::<Standardize>("{}"), &quiet);
        passes(&stage::<Standardize>("{columns: [a]}"), &input);
        assert_eq!(
            types(&output),
            [
                ("a", DataType::Float64),
                ("label", DataType::Int64),
                ("w", DataType::Float64)
            ]
        );
        let state = State::from_data(
            VERSION,
            &[Moments {
                column: "a".into(),
                mean: 1.0,
                std: 2.0,
            }],
        )
        .expect("a state");
        let operations = stage::<Standardize>("{}")
            .lower(&state, std::slice::from_ref(&input))
            .expect("operations");
        assert_eq!(output_schema(&operations, &[input]), output);
    }

    #[test]
    fn refuses_what_is_no_number() {
        let input = schema([("kind", DataType::String), ("n", DataType::Int64)]);
        assert_eq!(
            refuses(&stage::<Standardize>("{columns: [kind, m]}"), &input),
            [
                (
                    "unknown-column",
                    "stage `this` reads `m`, which its input does not have".to_owned()
                ),
                (
                    "type-mismatch",
                    "stage `this` needs numbers, but `kind` is text".to_owned()
                ),
            ]
        );
        assert_eq!(codes(&stage::<Standardize>("{}"), &input), ["no-columns"]);
    }
}
