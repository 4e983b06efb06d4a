//! `features.min_max`.

use std::collections::BTreeSet;

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    BinaryOperator, CheckContext, Estimator, Expression, FitContext, Frame, Operation, Problem,
    Result, Schema, Shape, Stage, State, output_schema, path, register_kind,
};

use super::numbers;
use crate::columns::{self, Names};

const VERSION: u32 = 1;

/// Bring number columns into a range, from the least and largest value of the training rows.
///
/// A later value outside of what training saw falls outside of the range too, unless `clip` says otherwise. A column that is
/// the same in all training rows becomes the lower end of the range. Null stays null; columns become f64. NaN or infinity in a
/// training row is an error; later NaN stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MinMax {
    /// The columns; default: all features that are real numbers (f32, f64).
    columns: Option<Names>,
    /// The ends of the range.
    #[serde(default = "unit_range")]
    range: [f64; 2],
    /// Put a value outside of the range at its nearer end.
    #[serde(default)]
    clip: bool,
}

fn unit_range() -> [f64; 2] {
    [0.0, 1.0]
}

register_kind! {
    MinMax, "features.min_max", version: 1,
    example: "- features.min_max: {columns: [pressure, temperature], range: [0, 1], clip: true}",
}

/// What was learned about a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Bounds {
    column: String,
    min: f64,
    max: f64,
}

impl Bounds {
    fn of(column: &str, values: &[f64]) -> Self {
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self {
            column: column.to_owned(),
            min,
            max,
        }
    }
}

impl MinMax {
    fn scaled(&self, bounds: &Bounds) -> (String, Expression) {
        let [low, high] = self.range;
        let width = bounds.max - bounds.min;
        let factor = if width > 0.0 {
            (high - low) / width
        } else {
            1.0
        };
        let scaled = Expression::column(&bounds.column)
            .cast(DataType::Float64)
            .binary(BinaryOperator::Subtract, Expression::float(bounds.min))
            .binary(BinaryOperator::Multiply, Expression::float(factor))
            .binary(BinaryOperator::Add, Expression::float(low));
        let scaled = if self.clip {
            clipped(scaled, low, high)
        } else {
            scaled
        };
        (bounds.column.clone(), scaled)
    }

    fn operations(&self, learned: &[Bounds]) -> Vec<Operation> {
        vec![Operation::With(
            learned.iter().map(|bounds| self.scaled(bounds)).collect(),
        )]
    }
}

/// `least` and `greatest` pass over null, which would make a number of it.
fn clipped(value: Expression, low: f64, high: f64) -> Expression {
    let below = value
        .clone()
        .binary(BinaryOperator::Less, Expression::float(low));
    // Not-a-number, which is larger than infinity, stays what it is.
    let above = value
        .clone()
        .binary(BinaryOperator::Greater, Expression::float(high))
        .binary(
            BinaryOperator::And,
            value.clone().binary(
                BinaryOperator::LessOrEqual,
                Expression::float(f64::INFINITY),
            ),
        );
    Expression::Case {
        branches: vec![
            (below, Expression::float(low)),
            (above, Expression::float(high)),
        ],
        otherwise: Box::new(value),
    }
}

impl Stage for MinMax {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let [low, high] = self.range;
        if low.partial_cmp(&high) != Some(std::cmp::Ordering::Less)
            || !low.is_finite()
            || !high.is_finite()
        {
            cx.report(
                Problem::error(
                    "bad-range",
                    path!["range"],
                    format!("stage `{}` has a range from {low} to {high}", cx.stage),
                )
                .label("the first must be less than the second"),
            );
        }
        // The types do not depend on what will be learned.
        let learned: Vec<Bounds> =
            numbers::check_scaled(self.columns.as_ref(), columns::input(inputs), cx)
                .into_iter()
                .map(|column| Bounds {
                    column,
                    min: 0.0,
                    max: 1.0,
                })
                .collect();
        output_schema(&self.operations(&learned), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for MinMax {
    fn fit_reads(&self, input: &Schema) -> BTreeSet<String> {
        numbers::reads(self.columns.as_ref(), input)
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let mut learned = Vec::new();
        for name in numbers::chosen(self.columns.as_ref(), &train.schema) {
            cx.cancellation.check()?;
            let bounds = Bounds::of(&name, &numbers::training_values(&train.data, &name)?);
            if bounds.min == bounds.max {
                numbers::warn_constant(&name, bounds.min, cx);
            }
            learned.push(bounds);
        }
        State::from_data(VERSION, &learned)
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(columns::possible(
            self.operations(&state.data::<Vec<Bounds>>(VERSION)?),
            columns::input(inputs),
        ))
    }
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;
    use crate::columns::testing::{codes, frame, passes, schema, stage, types};
    use crate::testing::fitted;

    #[test]
    fn learns_the_ends() {
        let train = frame(df!("a" => [Some(3.0), None, Some(-1.0)]).expect("a frame"));
        let state = stage::<MinMax>("{columns: a}")
            .fit(&train, &mut FitContext::quiet(7))
            .expect("a state");
        let learned: Vec<Bounds> = state.data(VERSION).expect("what was learned");
        assert_eq!(
            learned,
            [Bounds {
                column: "a".into(),
                min: -1.0,
                max: 3.0
            }]
        );
    }

    #[test]
    fn scales_by_the_width_and_not_by_zero() {
        let factor = |min: f64, max: f64| {
            let stage: MinMax = stage("{columns: a, range: [-1, 1]}");
            let (_, expression) = stage.scaled(&Bounds {
                column: "a".into(),
                min,
                max,
            });
            let Expression::Binary(BinaryOperator::Add, product, low) = expression else {
                panic!("{expression:?}")
            };
            assert_eq!(*low, Expression::float(-1.0));
            let Expression::Binary(BinaryOperator::Multiply, _, factor) = *product else {
                panic!("{product:?}")
            };
            *factor
        };
        assert_eq!(factor(0.0, 4.0), Expression::float(0.5));
        assert_eq!(factor(4.0, 4.0), Expression::float(1.0));
    }

    #[test]
    fn clips_numbers_and_not_what_is_none() {
        let train = df!("n" => [1.0, 2.0, 3.0]).expect("a frame");
        let rows =
            df!("n" => [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 9.0, 2.0]).expect("a frame");
        let found =
            fitted(&stage::<MinMax>("{columns: n, clip: true}"), &train, &rows).expect("rows");
        let expected = df!("n" => [f64::NAN, 1.0, 0.0, 1.0, 0.5]).expect("a frame");
        assert!(found.equals_missing(&expected), "{found}");
    }

    #[test]
    fn makes_f64_also_when_clipped() {
        let input = schema([("n", DataType::Int64), ("kind", DataType::String)]);
        let output = passes(&stage::<MinMax>("{columns: n, clip: true}"), &input);
        assert_eq!(
            types(&output),
            [("n", DataType::Float64), ("kind", DataType::String)]
        );
    }

    #[test]
    fn refuses_a_range_that_is_none() {
        let input = schema([("n", DataType::Int64)]);
        assert_eq!(
            codes(&stage::<MinMax>("{columns: n, range: [1, 1]}"), &input),
            ["bad-range"]
        );
        assert_eq!(
            codes(&stage::<MinMax>("{columns: n, range: [2, 1]}"), &input),
            ["bad-range"]
        );
        assert_eq!(
            codes(&stage::<MinMax>("{columns: m}"), &input),
            ["unknown-column"]
        );
    }
}
