//! `features.robust_scale`.

use std::collections::BTreeSet;

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    BinaryOperator, CheckContext, Estimator, Expression, FitContext, Frame, Operation, Problem,
    Result, Schema, Shape, Stage, State, output_schema, path, register_kind,
};

use super::{numbers, quantiles::quantile};
use crate::columns::{self, Names};

const VERSION: u32 = 1;

/// Bring number columns to median 0 and interquartile range 1, as learned from the training rows: outliers count little.
///
/// Each value loses the median and is divided by the distance between the two quantiles. A column whose quantiles are equal
/// only loses its median. Null stays null; columns become f64. NaN or infinity in a
/// training row is an error; later NaN stays. Quantiles lie between two values by linear interpolation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RobustScale {
    /// The columns; default: all features that are real numbers (f32, f64).
    columns: Option<Names>,
    /// The quantiles whose distance becomes 1, as shares.
    #[serde(default = "quartiles")]
    quantiles: [f64; 2],
}

fn quartiles() -> [f64; 2] {
    [0.25, 0.75]
}

register_kind! {
    RobustScale, "features.robust_scale", version: 1,
    example: "- features.robust_scale: {columns: [income], quantiles: [0.1, 0.9]}",
}

/// What was learned about a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Spread {
    column: String,
    median: f64,
    width: f64,
}

impl Spread {
    fn scaled(&self) -> (String, Expression) {
        let divisor = if self.width > 0.0 { self.width } else { 1.0 };
        let scaled = Expression::column(&self.column)
            .cast(DataType::Float64)
            .binary(BinaryOperator::Subtract, Expression::float(self.median))
            .binary(BinaryOperator::Divide, Expression::float(divisor));
        (self.column.clone(), scaled)
    }
}

fn operations(learned: &[Spread]) -> Vec<Operation> {
    vec![Operation::With(
        learned.iter().map(Spread::scaled).collect(),
    )]
}

impl Stage for RobustScale {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let [low, high] = self.quantiles;
        if !(0.0 <= low && low < high && high <= 1.0) {
            cx.report(
                Problem::error(
                    "bad-range",
                    path!["quantiles"],
                    format!("stage `{}` has quantiles from {low} to {high}", cx.stage),
                )
                .label("two shares between 0 and 1, the smaller first"),
            );
        }
        // The types do not depend on what will be learned.
        let learned: Vec<Spread> =
            numbers::check_scaled(self.columns.as_ref(), columns::input(inputs), cx)
                .into_iter()
                .map(|column| Spread {
                    column,
                    median: 0.0,
                    width: 1.0,
                })
                .collect();
        output_schema(&operations(&learned), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for RobustScale {
    fn fit_reads(&self, input: &Schema) -> BTreeSet<String> {
        numbers::reads(self.columns.as_ref(), input)
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let [low, high] = self.quantiles;
        let mut learned = Vec::new();
        for name in numbers::chosen(self.columns.as_ref(), &train.schema) {
            cx.cancellation.check()?;
            let mut values = numbers::training_values(&train.data, &name)?;
            values.sort_unstable_by(f64::total_cmp);
            if values.first() == values.last() {
                numbers::warn_constant(&name, values[0], cx);
            }
            learned.push(Spread {
                median: quantile(&values, 0.5),
                width: quantile(&values, high) - quantile(&values, low),
                column: name,
            });
        }
        State::from_data(VERSION, &learned)
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(columns::possible(
            operations(&state.data::<Vec<Spread>>(VERSION)?),
            columns::input(inputs),
        ))
    }
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;
    use crate::{
        columns::testing::{codes, frame, schema, stage},
        testing::fitted,
    };

    #[test]
    fn the_median_becomes_0_and_the_range_1() {
        let train = df!("a" => [Some(32_i64), Some(1), Some(4), Some(2), None, Some(8), Some(16), Some(1000)]).expect("a frame");
        let rows = df!("a" => [Some(8_i64), None, Some(1000), Some(-13)]).expect("a frame");
        // scikit-learn 1.9.1, RobustScaler: center 8, scale 21.
        let found = fitted(&stage::<RobustScale>("{columns: a}"), &train, &rows).expect("rows");
        let found: Vec<_> = found
            .column("a")
            .expect("a")
            .f64()
            .expect("numbers")
            .iter()
            .collect();
        assert_eq!(found[1], None);
        for (place, expected) in [(0, 0.0), (2, 47.23809523809524), (3, -1.0)] {
            assert!(
                (found[place].expect("a number") - expected).abs() < 1e-14,
                "{found:?}"
            );
        }
    }

    #[test]
    fn other_quantiles_and_none_at_all() {
        let learned = |params: &str, values: &[f64]| {
            let train = frame(df!("a" => values).expect("a frame"));
            let state = stage::<RobustScale>(params)
                .fit(&train, &mut FitContext::quiet(7))
                .expect("a state");
            state
                .data::<Vec<Spread>>(VERSION)
                .expect("what was learned")
                .remove(0)
        };
        // scikit-learn 1.9.1, RobustScaler(quantile_range=(10, 90)).
        let wide = learned(
            "{quantiles: [0.1, 0.9]}",
            &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 1000.0],
        );
        assert!((wide.width - 417.6).abs() < 1e-9, "{wide:?}");
        let same = learned("{}", &[3.0, 3.0, 3.0, 3.0, 9.0]);
        assert_eq!((same.median, same.width), (3.0, 0.0));
        let one = learned("{}", &[5.0]);
        assert_eq!((one.median, one.width), (5.0, 0.0));
        let train = df!("a" => [3.0, 3.0, 3.0, 9.0]).expect("a frame");
        let found = fitted(&stage::<RobustScale>("{}"), &train, &train).expect("rows");
        assert_eq!(
            found,
            df!("a" => [0.0, 0.0, 0.0, 6.0 / 1.5]).expect("a frame")
        );
    }

    #[test]
    fn refuses_quantiles_that_are_none_and_what_is_no_number() {
        let input = schema([("kind", DataType::String), ("a", DataType::Float64)]);
        for quantiles in ["[0.5, 0.5]", "[0.9, 0.1]", "[-0.1, 0.5]", "[0.5, .nan]"] {
            let params = format!("{{columns: a, quantiles: {quantiles}}}");
            assert_eq!(codes(&stage::<RobustScale>(&params), &input), ["bad-range"]);
        }
        assert_eq!(
            codes(&stage::<RobustScale>("{columns: kind}"), &input),
            ["type-mismatch"]
        );
        let infinite = df!("a" => [1.0, f64::NEG_INFINITY]).expect("a frame");
        let error = fitted(&stage::<RobustScale>("{}"), &infinite, &infinite)
            .expect_err("infinite")
            .to_string();
        assert!(error.contains("`a` is -inf in training row 2"), "{error}");
    }
}
