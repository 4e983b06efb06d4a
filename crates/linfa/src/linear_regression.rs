//! `model.linfa.linear_regression`

use ndarray::{Array1, s};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, FitContext, Frame, Model, Predictor, Result, Schema, Shape, Stage, State,
    classifier, features, register_kind, regressor,
};

use crate::{
    linear::{self, Equations, Learned, Linear, Link, equations, weight_of},
    records::{Features, is_learned, row_weights, target_numbers},
};

const VERSION: u32 = 1;

/// Learns a number as a weighted sum of the features: least squares.
///
/// Adds `prediction`. Rows count by the column with role `weight`, if there is one. Features that say the same share the weight
/// between them: of all solutions it is the one with the least coefficients, features taken at unit variance. A missing value is an
/// error, never a silent number.
///
/// The sums of the normal equations are made around the means, in parallel, by taktline itself; linfa-linear 0.8.1 knows no weights.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LinearRegression {
    /// The columns to learn from: numbers, truth values, or arrays of numbers, each number of which is a feature of its own.
    /// Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The column to predict: numbers. Default: the column with role `target`.
    target: Option<String>,
    /// Whether a constant is learned beside the weights.
    #[serde(default = "yes")]
    intercept: bool,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

fn yes() -> bool {
    true
}

register_kind! {
    LinearRegression, "model.linfa.linear_regression", version: 1,
    example: "- model.linfa.linear_regression: {features: [cement, water, age], target: strength}",
}

impl Stage for LinearRegression {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        check(self.features.as_deref(), self.target.as_deref(), inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

/// What every linear model of numbers checks.
pub(crate) fn check(
    named: Option<&[String]>,
    target: Option<&str>,
    inputs: &[Schema],
    cx: &mut CheckContext<'_>,
) -> Schema {
    let Some(input) = inputs.first() else {
        return Schema {
            incomplete: true,
            ..Schema::default()
        };
    };
    let target = regressor::check_target(input, target, cx);
    let name = target.map(|target| target.name.as_str());
    features::check(named, name, input, is_learned, cx);
    classifier::check_weights(input, cx);
    regressor::with_predictions(input, target, &[], cx)
}

impl Model for LinearRegression {
    fn features(&self, input: &Schema) -> Vec<String> {
        let target = self.target(input);
        features::names(
            self.features.as_deref(),
            target.as_deref(),
            input,
            is_learned,
        )
    }

    fn target(&self, input: &Schema) -> Option<String> {
        classifier::target_name(self.target.as_ref(), input)
    }

    fn allow_pii(&self) -> bool {
        self.allow_pii
    }

    fn fit(
        &self,
        train: &Frame,
        _validation: Option<&Frame>,
        _cx: &mut FitContext<'_>,
    ) -> Result<State> {
        let sums = Sums::of(
            train,
            self.features(&train.schema),
            self.target(&train.schema),
            self.intercept,
        )?;
        let coefficients = linear::solve(&sums.gram, &sums.cross)?;
        sums.into_linear(coefficients).store(VERSION)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        Ok(Box::new(Linear::read(VERSION, state)?))
    }
}

/// What least squares, penalised or not, needs to know of the training rows.
pub(crate) struct Sums {
    features: Features,
    target: String,
    means: Vec<f64>,
    target_mean: f64,
    /// How much all rows count together.
    pub(crate) weight: f64,
    /// Sums of products of the centred features.
    pub(crate) gram: ndarray::Array2<f64>,
    /// Sums of products of the centred features and the centred target.
    pub(crate) cross: Array1<f64>,
}

impl Sums {
    pub(crate) fn of(
        train: &Frame,
        names: Vec<String>,
        target: Option<String>,
        intercept: bool,
    ) -> Result<Self> {
        let (target, values) = target_numbers(train, target)?;
        let weights = row_weights(train)?;
        linear::check_total(weights.as_ref())?;
        let (features, records) = Features::fit_squared(&train.data, names)?;
        let (means, target_mean) = if intercept {
            (
                linear::means(&records, weights.as_ref()),
                linear::mean(values.view(), weights.as_ref()),
            )
        } else {
            (vec![0.0; records.ncols()], 0.0)
        };
        let Equations { gram, cross } = equations(&records, &means, |row| {
            (weight_of(weights.as_ref(), row), values[row] - target_mean)
        });
        let numbers = means.len();
        Ok(Self {
            features,
            target,
            means,
            target_mean,
            weight: weights
                .as_ref()
                .map_or(records.nrows() as f64, linear::total),
            gram: gram.slice(s![..numbers, ..numbers]).to_owned(),
            cross: cross.slice(s![..numbers]).to_owned(),
        })
    }

    /// The model with these coefficients; its constant puts the means of the training rows on the plane.
    pub(crate) fn into_linear(self, coefficients: Array1<f64>) -> Linear {
        let at_means: f64 = self
            .means
            .iter()
            .zip(&coefficients)
            .map(|(mean, coefficient)| mean * coefficient)
            .sum();
        Linear {
            learned: Learned {
                features: self.features,
                target: self.target,
                link: Link::Identity,
                exposure: None,
            },
            coefficients,
            intercept: self.target_mean - at_means,
        }
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::serde_yaml;

    use super::*;
    use crate::linear::testing::{close, frame, learned, tumours};

    fn model(params: &str) -> LinearRegression {
        serde_yaml::from_str(params).expect("params")
    }

    #[test]
    fn finds_what_scikit_learn_finds() {
        let found = learned(&model("{}"), &tumours(false)).expect("a model");
        close(
            &found,
            &[
                1.13233605,
                0.197748445,
                -0.417008999,
                2.84476875,
                8.80583128,
            ],
            1e-8,
        );
        let found = learned(&model("{}"), &tumours(true)).expect("a model");
        close(
            &found,
            &[1.18756318, 0.181884053, -0.447771423, 2.7734943, 8.8059084],
            1e-8,
        );
    }

    #[test]
    fn a_plane_is_found_and_predicted() {
        let data = df!("width" => [1.0, 2.0, 3.0, 4.0], "height" => [1, 0, 2, 1], "price" => [8.0, 7.0, 15.0, 14.0])
            .expect("a frame");
        let train = frame(data, "price");
        let found = learned(&model("{}"), &train).expect("a model");
        close(&found, &[2.0, 3.0, 3.0], 1e-9);
        let state = model("{}")
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("a state");
        let rows = df!("height" => [10, 0], "width" => [0.0, 0.0]).expect("a frame");
        let columns = model("{}")
            .load(&state)
            .expect("a model")
            .predict(&rows)
            .expect("numbers");
        let values: Vec<f64> = columns[0].f64().expect("f64").iter().flatten().collect();
        close(&values, &[33.0, 3.0], 1e-9);
    }

    #[test]
    fn features_that_say_the_same_share_the_weight() {
        let data = df!("width" => [1.0, 2.0, 3.0], "again" => [2.0, 4.0, 6.0], "none" => [5.0; 3], "price" => [2.0, 4.0, 6.0])
            .expect("a frame");
        let found = learned(&model("{}"), &frame(data, "price")).expect("a model");
        close(&found, &[1.0, 0.5, 0.0, 0.0], 1e-9);
    }

    #[test]
    fn without_an_intercept_the_plane_goes_through_zero() {
        let data = df!("width" => [1.0, 2.0], "price" => [3.0, 5.0]).expect("a frame");
        let found = learned(&model("{intercept: false}"), &frame(data, "price")).expect("a model");
        close(&found, &[2.6, 0.0], 1e-12);
    }

    #[test]
    fn what_cannot_be_learned_is_refused() {
        let null = df!("width" => [1.0, 2.0], "price" => [Some(3.0), None]).expect("a frame");
        let error = learned(&model("{}"), &frame(null, "price"))
            .expect_err("null")
            .to_string();
        assert!(
            error.contains("the target `price` is null in 1 of 2 training rows"),
            "{error}"
        );
        let none = df!("width" => [0.0; 0], "price" => [0.0; 0]).expect("a frame");
        assert!(learned(&model("{}"), &frame(none, "price")).is_err());
    }

    #[test]
    fn a_row_gets_the_same_bits_alone_and_in_a_batch() {
        let train = tumours(false);
        let state = model("{}")
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("a state");
        let predictor = model("{}").load(&state).expect("a model");
        let all = predictor.predict(&train.data).expect("numbers");
        for row in [0, 17, 568] {
            let alone = predictor
                .predict(&train.data.slice(row as i64, 1))
                .expect("a number");
            let value = |column: &polars::prelude::Column, row| {
                column.f64().expect("f64").get(row).map(f64::to_bits)
            };
            assert_eq!(value(&alone[0], 0), value(&all[0], row));
        }
    }

    #[test]
    fn what_cannot_be_squared_is_refused() {
        let model = model("{}");
        crate::testing::refuses_what_cannot_be_squared(
            &model,
            &tumours(false),
            "mean_texture",
            false,
        );
    }
}
