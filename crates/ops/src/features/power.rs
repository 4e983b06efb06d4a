//! `features.power`.

use std::collections::BTreeSet;

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    BinaryOperator, CheckContext, Error, Estimator, Expression, FitContext, Frame, Function,
    Operation, Result, Schema, Shape, Stage, State, output_schema, register_kind,
};

use super::{
    numbers, placement,
    yeo_johnson::{self, transformed},
};
use crate::columns::{self, Names};

const VERSION: u32 = 1;

/// Bend skewed number columns so that they look more like a normal distribution.
///
/// The transform of Yeo and Johnson (2000), "A new family of power transformations to improve normality or symmetry",
/// takes any number, also negative ones; its exponent is the most likely one for the training rows. Null stays null;
/// columns become f64. NaN or infinity in a training row is an error; later NaN stays. A column that is the same in all training rows is not bent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Power {
    /// The columns; default: all features that are real numbers (f32, f64).
    columns: Option<Names>,
    /// Bring the result to mean 0 and standard deviation 1.
    #[serde(default = "yes")]
    standardize: bool,
    /// Keep the column and put the result beside it, under its name with this at the end; default: in its place.
    suffix: Option<String>,
}

fn yes() -> bool {
    true
}

register_kind! {
    Power, "features.power", version: 1,
    example: "- features.power: {columns: [income, distance]}",
}

/// What was learned about a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Bend {
    column: String,
    lambda: f64,
    mean: f64,
    std: f64,
}

/// `((base ^ exponent) - 1) / exponent`, and the logarithm where the exponent is 0.
fn bent(base: Expression, exponent: f64) -> Expression {
    if exponent == 0.0 {
        return Expression::call(Function::Ln, vec![base]);
    }
    Expression::call(Function::Power, vec![base, Expression::float(exponent)])
        .binary(BinaryOperator::Subtract, Expression::float(1.0))
        .binary(BinaryOperator::Divide, Expression::float(exponent))
}

impl Bend {
    fn expression(&self) -> Expression {
        let value = Expression::column(&self.column).cast(DataType::Float64);
        let one = || Expression::float(1.0);
        let zero = || Expression::float(0.0);
        let above = bent(
            value.clone().binary(BinaryOperator::Add, one()),
            self.lambda,
        );
        let below = bent(
            one().binary(BinaryOperator::Subtract, value.clone()),
            2.0 - self.lambda,
        );
        let below = zero().binary(BinaryOperator::Subtract, below);
        Expression::Case {
            branches: vec![
                (value.clone().binary(BinaryOperator::Less, zero()), below),
                (
                    value.clone().binary(BinaryOperator::GreaterOrEqual, zero()),
                    above,
                ),
            ],
            // Null.
            otherwise: Box::new(value),
        }
        .binary(BinaryOperator::Subtract, Expression::float(self.mean))
        .binary(BinaryOperator::Divide, Expression::float(self.std))
    }
}

impl Power {
    fn learned(&self, name: String, values: &[f64], cx: &FitContext<'_>) -> Result<Bend> {
        if values.iter().all(|value| *value == values[0]) {
            numbers::warn_constant(&name, values[0], cx);
            let mean = if self.standardize { values[0] } else { 0.0 };
            return Ok(Bend {
                column: name,
                lambda: 1.0,
                mean,
                std: 1.0,
            });
        }
        let lambda = yeo_johnson::most_likely(values);
        let bent: Vec<f64> = values
            .iter()
            .map(|value| transformed(*value, lambda))
            .collect();
        let count = bent.len() as f64;
        let mean = bent.iter().sum::<f64>() / count;
        let std = (bent.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        // Far from 0 the values may differ only in digits that the power loses.
        if !std.is_finite() || std <= 1e-9 * mean.abs() {
            return Err(Error::data(format!(
                "the values of `{name}` lie too far from 0 for their spread to be bent; bring them near 0 first, with `features.standardize`"
            )));
        }
        Ok(Bend {
            column: name,
            lambda,
            mean: if self.standardize { mean } else { 0.0 },
            std: if self.standardize { std } else { 1.0 },
        })
    }

    fn operations(&self, learned: &[Bend]) -> Vec<Operation> {
        let made = learned
            .iter()
            .map(|bend| {
                (
                    placement::made(&bend.column, self.suffix.as_deref()),
                    bend.expression(),
                )
            })
            .collect();
        vec![Operation::With(made)]
    }
}

impl Stage for Power {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let chosen = numbers::check(self.columns.as_ref(), input, cx);
        // The types do not depend on what will be learned.
        let learned: Vec<Bend> = placement::possible(
            chosen,
            self.columns.as_ref(),
            self.suffix.as_deref(),
            input,
            cx,
        )
        .into_iter()
        .map(|column| Bend {
            column,
            lambda: 1.0,
            mean: 0.0,
            std: 1.0,
        })
        .collect();
        output_schema(&self.operations(&learned), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for Power {
    fn fit_reads(&self, input: &Schema) -> BTreeSet<String> {
        numbers::reads(self.columns.as_ref(), input)
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let mut learned = Vec::new();
        for name in numbers::chosen(self.columns.as_ref(), &train.schema) {
            cx.cancellation.check()?;
            let values = numbers::training_values(&train.data, &name)?;
            learned.push(self.learned(name, &values, cx)?);
        }
        State::from_data(VERSION, &learned)
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(columns::possible(
            self.operations(&state.data::<Vec<Bend>>(VERSION)?),
            columns::input(inputs),
        ))
    }
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::DataFrame};

    use super::*;
    use crate::{
        columns::testing::{codes, schema, stage},
        testing::fitted,
    };

    const MIXED: [f64; 10] = [-5.0, -3.0, -1.5, -1.0, -0.2, 0.0, 0.4, 1.0, 2.5, 9.0];

    fn numbers_of(rows: &DataFrame, name: &str) -> Vec<Option<f64>> {
        rows.column(name)
            .expect(name)
            .f64()
            .expect("numbers")
            .iter()
            .collect()
    }

    #[test]
    fn bends_and_standardizes() {
        let train = df!("a" => MIXED).expect("a frame");
        // scikit-learn 1.9.1, PowerTransformer.
        let expected = [
            -1.9747457607758505,
            -1.032734392962178,
            -0.4022738849881859,
            -0.2112604140044365,
            0.06765596134676066,
            0.13094605977857424,
            0.2488164039432673,
            0.41015656241361215,
            0.7664057617377069,
            1.9970337035107295,
        ];
        let rows = fitted(&stage::<Power>("{}"), &train, &train).expect("rows");
        for (found, expected) in numbers_of(&rows, "a").into_iter().zip(expected) {
            assert!(
                (found.expect("a number") - expected).abs() < 1e-6,
                "{found:?} {expected}"
            );
        }
        let rows = fitted(
            &stage::<Power>("{standardize: false, suffix: _bent}"),
            &train,
            &train,
        )
        .expect("rows");
        assert_eq!(numbers_of(&rows, "a"), MIXED.map(Some));
        let bent = numbers_of(&rows, "a_bent");
        assert!(
            (bent[0].expect("a number") - -6.821398406348435).abs() < 1e-6,
            "{bent:?}"
        );
        assert!(
            (bent[9].expect("a number") - 6.045199565675011).abs() < 1e-6,
            "{bent:?}"
        );
    }

    #[test]
    fn null_and_not_a_number_stay_and_infinities_keep_their_sign() {
        let train = df!("a" => MIXED.map(Some)).expect("a frame");
        let rows = df!("a" => [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)])
            .expect("a frame");
        let found = numbers_of(
            &fitted(&stage::<Power>("{}"), &train, &rows).expect("rows"),
            "a",
        );
        assert_eq!(found[0], None);
        assert!(found[1].is_some_and(f64::is_nan));
        assert_eq!(found[2..], [Some(f64::INFINITY), Some(f64::NEG_INFINITY)]);
        let error = fitted(&stage::<Power>("{}"), &rows, &train)
            .expect_err("not a number")
            .to_string();
        assert!(error.contains("`a` is NaN in training row 2"), "{error}");
    }

    #[test]
    fn a_column_of_one_value_is_not_bent() {
        let train = df!("a" => [3.0, 3.0]).expect("a frame");
        let rows = df!("a" => [3.0, 5.0]).expect("a frame");
        let found = fitted(&stage::<Power>("{}"), &train, &rows).expect("rows");
        assert_eq!(numbers_of(&found, "a"), [Some(0.0), Some(2.0)]);
        let found = fitted(&stage::<Power>("{standardize: false}"), &train, &rows).expect("rows");
        assert_eq!(numbers_of(&found, "a"), [Some(3.0), Some(5.0)]);
    }

    #[test]
    fn values_too_far_from_0_are_refused_with_a_way_out() {
        let years = df!("year" => [2003.0, 1950.0, 1997.0, 2000.0, 2009.0]).expect("a frame");
        let error = fitted(&stage::<Power>("{}"), &years, &years)
            .expect_err("104th powers")
            .to_string();
        assert!(
            error.contains("the values of `year` lie too far from 0"),
            "{error}"
        );
        let near = df!("year" => [3.0, -50.0, -3.0, 0.0, 9.0]).expect("a frame");
        let rows = fitted(&stage::<Power>("{}"), &near, &near).expect("rows");
        let sum: f64 = numbers_of(&rows, "year").into_iter().flatten().sum();
        assert!(sum.abs() < 1e-12);
    }

    #[test]
    fn refuses_what_is_no_number_and_names_that_are_taken() {
        let input = schema([
            ("kind", DataType::String),
            ("a", DataType::Float64),
            ("a_n", DataType::Float64),
        ]);
        assert_eq!(
            codes(&stage::<Power>("{columns: kind}"), &input),
            ["type-mismatch"]
        );
        assert_eq!(
            codes(&stage::<Power>("{columns: a, suffix: _n}"), &input),
            ["name-taken"]
        );
        assert_eq!(
            codes(&stage::<Power>("{suffix: _n}"), &input),
            ["name-taken"]
        );
    }
}
