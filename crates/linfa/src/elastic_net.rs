//! `model.linfa.elastic_net`

use ndarray::Array1;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, FitContext, Frame, Model, Predictor, ProgressEvent, Result, Schema, Shape, Stage,
    State, classifier, counted, features, register_kind,
};

use crate::{
    linear::Linear,
    linear_regression::{Sums, check},
    records::is_learned,
};

const VERSION: u32 = 1;

/// Learns a number as a weighted sum of the features whose weights are kept small: ridge, lasso, and what lies between.
///
/// It makes small 1/2 · mean squared error + `penalty` · (`l1_share` · sum of the coefficients' sizes + (1 − `l1_share`)/2 · sum of their
/// squares), as scikit-learn's elastic net does (Zou and Hastie, 2005). With `l1_share: 1` it is the lasso, which sets weights of useless features
/// to zero; with 0 ridge regression. The constant is not penalised. Give features a similar scale (`features.standardize`): the
/// penalty treats them alike.
///
/// Adds `prediction`. Rows count by the column with role `weight`, if there is one. A missing value is an error.
///
/// Coordinates descend over the features' covariance, so that a step costs nothing for each row: linfa-elasticnet 0.8.1 goes through all
/// rows for each, and knows no weights.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ElasticNet {
    /// The columns to learn from: numbers, truth values, or arrays of numbers, each number of which is a feature of its own.
    /// Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The column to predict: numbers. Default: the column with role `target`.
    target: Option<String>,
    /// Strength of the penalty; 0 for none.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    penalty: f64,
    /// How much of the penalty is on sizes, the rest on squares: 1 is the lasso, 0 ridge regression.
    #[serde(default = "half")]
    #[schemars(range(min = 0.0, max = 1.0))]
    l1_share: f64,
    /// Rounds over all features at most.
    #[serde(default = "rounds")]
    #[schemars(range(min = 1, max = 10_000_000))]
    max_iterations: usize,
    /// Done when no coefficient moves by more than this share of the largest, features taken at unit variance.
    #[serde(default = "tolerance")]
    #[schemars(range(min = 1e-15, max = 1.0))]
    tolerance: f64,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

fn one() -> f64 {
    1.0
}
fn half() -> f64 {
    0.5
}
fn rounds() -> usize {
    10_000
}
fn tolerance() -> f64 {
    1e-8
}

register_kind! {
    ElasticNet, "model.linfa.elastic_net", version: 1,
    example: "- model.linfa.elastic_net: {penalty: 0.1, l1_share: 1}",
}

impl Stage for ElasticNet {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        check(self.features.as_deref(), self.target.as_deref(), inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for ElasticNet {
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
        cx: &mut FitContext<'_>,
    ) -> Result<State> {
        let sums = Sums::of(
            train,
            self.features(&train.schema),
            self.target(&train.schema),
            true,
        )?;
        let coefficients = self.descend(&sums, cx)?;
        sums.into_linear(coefficients).store(VERSION)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        Ok(Box::new(Linear::read(VERSION, state)?))
    }
}

impl ElasticNet {
    /// Coordinate descent with the covariance (Friedman, Hastie, Tibshirani, 2010, section 2.2).
    fn descend(&self, sums: &Sums, cx: &FitContext<'_>) -> Result<Array1<f64>> {
        let covariance = &sums.gram / sums.weight;
        let wanted = &sums.cross / sums.weight;
        let (sizes, squares) = (
            self.penalty * self.l1_share,
            self.penalty * (1.0 - self.l1_share),
        );
        let deviations: Vec<f64> = covariance.diag().iter().map(|value| value.sqrt()).collect();
        let mut coefficients = Array1::<f64>::zeros(wanted.len());
        // What the coefficients explain of each feature's covariance with the target.
        let mut explained = Array1::<f64>::zeros(wanted.len());
        for round in 1..=self.max_iterations {
            cx.cancellation.check()?;
            let (mut moved, mut largest) = (0.0_f64, 0.0_f64);
            for place in 0..coefficients.len() {
                let own = covariance[[place, place]];
                if own == 0.0 {
                    continue;
                }
                let before = coefficients[place];
                let left = wanted[place] - explained[place] + own * before;
                let now = left.signum() * (left.abs() - sizes).max(0.0) / (own + squares);
                if now != before {
                    explained.scaled_add(now - before, &covariance.column(place));
                    coefficients[place] = now;
                    moved = moved.max((now - before).abs() * deviations[place]);
                }
                largest = largest.max(now.abs() * deviations[place]);
            }
            if moved <= self.tolerance * largest {
                return Ok(coefficients);
            }
            cx.progress.event(ProgressEvent::Step {
                done: round as u64,
                total: self.max_iterations as u64,
                unit: "iterations",
            });
        }
        cx.progress.event(ProgressEvent::Message(format!(
            "`{}` had not converged after {}; scale the features (`features.standardize`), or raise `penalty` or `max_iterations`",
            cx.stage, counted(self.max_iterations, "iteration")
        )));
        Ok(coefficients)
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::serde_yaml;

    use super::*;
    use crate::linear::testing::{close, frame, learned, tumours};

    fn model(params: &str) -> ElasticNet {
        serde_yaml::from_str(params).expect("params")
    }

    #[test]
    fn finds_what_scikit_learn_finds() {
        let cases: [(&str, bool, [f64; 5]); 4] = [
            (
                "0",
                false,
                [0.948102579, 0.277928996, 0.006580671, 1.7877569, 8.80583128],
            ),
            (
                "0.5",
                false,
                [0.871246866, 0.0447285116, 0.0, 2.04723994, 8.80583128],
            ),
            ("1", false, [0.74159661, 0.0, 0.0, 2.3675315, 8.80583128]),
            (
                "0.5",
                true,
                [0.905594015, 0.0106556122, 0.0, 1.96496898, 8.7947876],
            ),
        ];
        for (share, weighted, wanted) in cases {
            let params = format!("{{penalty: 0.5, l1_share: {share}, tolerance: 1e-12}}");
            let found = learned(&model(&params), &tumours(weighted)).expect("a model");
            close(&found, &wanted, 1e-7);
        }
    }

    #[test]
    fn the_lasso_of_one_feature_is_known() {
        // Variance 2/3, covariance 4/3: the coefficient is (4/3 - 0.5) / (2/3), the constant the mean less it times 2.
        let data = df!("width" => [1.0, 2.0, 3.0], "price" => [2.0, 4.0, 6.0]).expect("a frame");
        let found = learned(&model("{penalty: 0.5, l1_share: 1}"), &frame(data, "price"));
        close(&found.expect("a model"), &[1.25, 1.5], 1e-12);
    }

    #[test]
    fn too_strong_a_penalty_leaves_the_mean() {
        let data = df!("width" => [1.0, 2.0, 3.0], "price" => [2.0, 4.0, 6.0]).expect("a frame");
        let found = learned(&model("{penalty: 5, l1_share: 1}"), &frame(data, "price"));
        close(&found.expect("a model"), &[0.0, 4.0], 1e-12);
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
