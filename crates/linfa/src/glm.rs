//! `model.linfa.glm`

use ndarray::{Array1, Array2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, FitContext, Frame, Model, Predictor, Problem, ProgressEvent, Result,
    Schema, Shape, Stage, State, classifier, counted, features, path, register_kind, type_name,
};

use crate::{
    linear::{self, Learned, Linear, Link, equations, exposures, weight_of},
    linear_regression::check,
    records::{Features, is_learned, row_weights, target_numbers},
};

const VERSION: u32 = 1;
const MOST_HALVINGS: usize = 40;

/// Learns counts, amounts and durations: a generalised linear model with a logarithmic link, so that features multiply.
///
/// The families are Poisson (counts: variance in proportion to the mean), Gamma (amounts above 0: deviation in proportion to the mean) and Tweedie
/// (amounts of which many are 0: variance as a power of the mean). It makes small half the mean deviance plus `penalty`/2 · sum of
/// squares of the coefficients, as scikit-learn does (Nelder and Wedderburn, 1972; Fisher scoring). The constant is not penalised. Give features a
/// similar scale (`features.standardize`) where there is a penalty.
///
/// Adds `prediction`, the expected value. With `exposure` that is in proportion to a column: defects for each board, claims for each
/// year of insurance. Rows count by the column with role `weight`, if there is one. A missing value is an error.
///
/// linfa 0.8.1 has Tweedie regression in linfa-linear without weights and exposure; the solver here is taktline's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Glm {
    /// The columns to learn from: numbers, truth values, or arrays of numbers, each number of which is a feature of its own.
    /// Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The column to predict: numbers. Default: the column with role `target`.
    target: Option<String>,
    /// How the target varies around its mean: `poisson`, `gamma` or `tweedie`.
    #[serde(default)]
    family: Family,
    /// For `tweedie`, the power of the mean that the variance is in proportion to: between 1 and 2 for amounts of which many are 0, above 2
    /// for amounts above 0 with a long tail. Default: 1.5.
    #[schemars(range(min = 1.0, max = 10.0))]
    power: Option<f64>,
    /// The column that the expected value is in proportion to: numbers above 0.
    exposure: Option<String>,
    /// Strength of the penalty on squares of coefficients; 0 for none.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    penalty: f64,
    /// Steps at most; there are rarely more than 20.
    #[serde(default = "steps")]
    #[schemars(range(min = 1, max = 100_000))]
    max_iterations: usize,
    /// Done when a step lowers what is made small by no more than this share.
    #[serde(default = "tolerance")]
    #[schemars(range(min = 1e-16, max = 1.0))]
    tolerance: f64,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

fn steps() -> usize {
    200
}
fn tolerance() -> f64 {
    1e-12
}

/// How a target varies around its mean.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Family {
    /// Counts.
    #[default]
    Poisson,
    /// Amounts above 0.
    Gamma,
    /// A power of the mean.
    Tweedie,
}

register_kind! {
    Glm, "model.linfa.glm", version: 1,
    example: "- model.linfa.glm: {family: poisson, target: skips}",
}

impl Glm {
    fn power(&self) -> f64 {
        match self.family {
            Family::Poisson => 1.0,
            Family::Gamma => 2.0,
            Family::Tweedie => self.power.unwrap_or(1.5),
        }
    }
}

impl Stage for Glm {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        if self.power.is_some() && self.family != Family::Tweedie {
            cx.report(
                Problem::error(
                    "unused-param",
                    path!["power"],
                    "`power` is for the family `tweedie`",
                )
                .help("say `family: tweedie`, or leave `power` out"),
            );
        }
        if let (Some(name), Some(input)) = (&self.exposure, inputs.first()) {
            match input.column(name) {
                None => cx.report(classifier::unknown_column(input, name, path!["exposure"])),
                Some(column) if !column.is_numeric() => cx.report(Problem::error(
                    "not-numeric",
                    path!["exposure"],
                    format!(
                        "the exposure `{name}` is {}, not a number",
                        type_name(&column.dtype)
                    ),
                )),
                Some(_)
                    if classifier::target_name(self.target.as_ref(), input).as_ref()
                        == Some(name) =>
                {
                    cx.report(Problem::error(
                        "duplicate-column",
                        path!["exposure"],
                        format!("the exposure `{name}` is the target itself"),
                    ));
                }
                Some(_) => {}
            }
        }
        check(self.features.as_deref(), self.target.as_deref(), inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Glm {
    /// The columns whose weights are learned.
    fn weighted(&self, input: &Schema) -> Vec<String> {
        let target = self.target(input);
        let mut names = features::names(
            self.features.as_deref(),
            target.as_deref(),
            input,
            is_learned,
        );
        if self.features.is_none() {
            names.retain(|name| Some(name) != self.exposure.as_ref());
        }
        names
    }
}

impl Model for Glm {
    fn features(&self, input: &Schema) -> Vec<String> {
        let mut names = self.weighted(input);
        names.extend(self.exposure.clone().filter(|name| !names.contains(name)));
        names
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
        let (target, values) = target_numbers(train, self.target(&train.schema))?;
        self.check_values(&target, &values)?;
        let weights = row_weights(train)?;
        linear::check_total(weights.as_ref())?;
        let (features, records) = Features::fit_squared(&train.data, self.weighted(&train.schema))?;
        let offsets = match &self.exposure {
            Some(name) => Array1::from_vec(exposures(&train.data, name)?).mapv(f64::ln),
            None => Array1::zeros(records.nrows()),
        };
        let rows = Rows {
            means: linear::means(&records, weights.as_ref()),
            records,
            values,
            offsets,
            total: weights
                .as_ref()
                .map_or(train.data.height() as f64, linear::total),
            weights,
            power: self.power(),
            penalty: self.penalty,
        };
        let (coefficients, constant) = self.descend(&rows, cx)?;
        let at_means = coefficients.dot(&Array1::from_vec(rows.means));
        let linear = Linear {
            learned: Learned {
                features,
                target,
                link: Link::Log,
                exposure: self.exposure.clone(),
            },
            coefficients,
            intercept: constant - at_means,
        };
        linear.store(VERSION)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        Ok(Box::new(Linear::read(VERSION, state)?))
    }
}

/// The training rows.
struct Rows {
    records: Array2<f64>,
    means: Vec<f64>,
    values: Array1<f64>,
    /// The logarithm of each row's exposure.
    offsets: Array1<f64>,
    weights: Option<Array1<f32>>,
    /// How much all rows count together.
    total: f64,
    power: f64,
    penalty: f64,
}

impl Rows {
    /// The logarithm of each row's expected value; `constant` is that at the means.
    fn predictors(&self, coefficients: &Array1<f64>, constant: f64) -> Array1<f64> {
        let mut sums = &self.offsets + constant;
        for ((column, coefficient), mean) in self
            .records
            .columns()
            .into_iter()
            .zip(coefficients)
            .zip(&self.means)
        {
            sums.zip_mut_with(&column, |sum, value| *sum += coefficient * (value - mean));
        }
        sums
    }

    /// Half the mean deviance, less what does not depend on the prediction, and the penalty.
    fn loss(&self, predictors: &Array1<f64>, coefficients: &Array1<f64>) -> f64 {
        let power = self.power;
        let half_deviance = |value: f64, predictor: f64| {
            if power == 1.0 {
                predictor.exp() - value * predictor
            } else if power == 2.0 {
                value * (-predictor).exp() + predictor
            } else {
                ((2.0 - power) * predictor).exp() / (2.0 - power)
                    - value * ((1.0 - power) * predictor).exp() / (1.0 - power)
            }
        };
        let sum: f64 = self
            .values
            .iter()
            .zip(predictors)
            .enumerate()
            .map(|(row, (value, predictor))| {
                weight_of(self.weights.as_ref(), row) * half_deviance(*value, *predictor)
            })
            .sum();
        sum / self.total + 0.5 * self.penalty * coefficients.dot(coefficients)
    }
}

impl Glm {
    fn check_values(&self, target: &str, values: &Array1<f64>) -> Result<()> {
        let takes_zero = self.power() < 2.0;
        let fits = |value: &f64| *value > 0.0 || (takes_zero && *value == 0.0);
        if let Some(row) = values.iter().position(|value| !fits(value)) {
            return Err(Error::data(format!(
                "the target `{target}` is {} in training row {}; this family is for numbers {}",
                values[row],
                row + 1,
                if takes_zero { "from 0 up" } else { "above 0" }
            )));
        }
        if values.iter().all(|value| *value == 0.0) {
            return Err(Error::data(format!(
                "the target `{target}` is 0 in all training rows, so there is nothing to learn"
            )));
        }
        Ok(())
    }

    /// Fisher scoring with halved steps where a whole one leads upwards.
    fn descend(&self, rows: &Rows, cx: &FitContext<'_>) -> Result<(Array1<f64>, f64)> {
        let numbers = rows.means.len();
        let mut coefficients = Array1::<f64>::zeros(numbers);
        // The best constant alone, where there is no exposure, and a good start where there is.
        let per_exposure = &rows.values / &rows.offsets.mapv(f64::exp);
        let mean = linear::mean(per_exposure.view(), rows.weights.as_ref());
        let mut constant = mean.max(f64::MIN_POSITIVE).ln();
        let mut predictors = rows.predictors(&coefficients, constant);
        let mut loss = rows.loss(&predictors, &coefficients);
        for round in 1..=self.max_iterations {
            cx.cancellation.check()?;
            let mut sums = equations(&rows.records, &rows.means, |row| {
                let predictor = predictors[row];
                let weight =
                    weight_of(rows.weights.as_ref(), row) * ((2.0 - rows.power) * predictor).exp();
                (weight, rows.values[row] * (-predictor).exp() - 1.0)
            });
            sums.gram /= rows.total;
            sums.cross /= rows.total;
            for place in 0..numbers {
                sums.gram[[place, place]] += rows.penalty;
                sums.cross[place] -= rows.penalty * coefficients[place];
            }
            let step = linear::solve(&sums.gram, &sums.cross)?;
            let mut share = 1.0;
            let mut improved = None;
            for _ in 0..MOST_HALVINGS {
                let next = &coefficients + &(&step.slice(ndarray::s![..numbers]) * share);
                let next_constant = constant + share * step[numbers];
                let next_predictors = rows.predictors(&next, next_constant);
                let next_loss = rows.loss(&next_predictors, &next);
                if next_loss < loss {
                    improved = Some((next, next_constant, next_predictors, next_loss));
                    break;
                }
                share *= 0.5;
            }
            let Some((next, next_constant, next_predictors, next_loss)) = improved else {
                return Ok((coefficients, constant));
            };
            let gain = loss - next_loss;
            (coefficients, constant, predictors, loss) =
                (next, next_constant, next_predictors, next_loss);
            if gain <= self.tolerance * loss.abs().max(1e-300) {
                return Ok((coefficients, constant));
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
        Ok((coefficients, constant))
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::serde_yaml;

    use super::*;
    use crate::linear::testing::{close, frame, learned, tumours};

    fn model(params: &str) -> Glm {
        serde_yaml::from_str(params).expect("params")
    }

    #[test]
    fn finds_what_scikit_learn_finds() {
        let cases: [(&str, bool, [f64; 5]); 5] = [
            (
                "poisson",
                false,
                [
                    0.128327387,
                    0.0310800909,
                    -0.050897499,
                    0.266066849,
                    2.11849523,
                ],
            ),
            (
                "tweedie",
                false,
                [
                    0.117678181,
                    0.0119226185,
                    -0.0462245141,
                    0.305376323,
                    2.11011008,
                ],
            ),
            (
                "gamma",
                false,
                [
                    0.10706291,
                    -0.000269913524,
                    -0.0344139554,
                    0.321293243,
                    2.10516743,
                ],
            ),
            (
                "tweedie, power: 3",
                false,
                [
                    0.084345221,
                    0.0182583155,
                    0.00498916899,
                    0.181189715,
                    2.08572038,
                ],
            ),
            (
                "poisson",
                true,
                [
                    0.134335158,
                    0.0287775288,
                    -0.0510562429,
                    0.261032956,
                    2.12022561,
                ],
            ),
        ];
        for (family, weighted, wanted) in cases {
            let params = format!("{{family: {family}, penalty: 0.1}}");
            let found = learned(&model(&params), &tumours(weighted)).expect("a model");
            close(&found, &wanted, 2e-6);
        }
    }

    #[test]
    fn rates_of_two_groups_are_learned_as_they_are() {
        // Twelve faults on four boards of one machine, six on six of the other: rates of 3 and 1.
        let data = df!("second" => [0, 0, 1, 1], "boards" => [1.0, 3.0, 2.0, 4.0], "faults" => [5, 7, 1, 5]).expect("a frame");
        let found = learned(&model("{exposure: boards}"), &frame(data, "faults")).expect("a model");
        close(&found, &[(1.0_f64 / 3.0).ln(), 3.0_f64.ln()], 1e-7);
    }

    #[test]
    fn the_exposure_multiplies_the_prediction() {
        let data = df!("second" => [0, 0, 1, 1], "boards" => [1.0, 3.0, 2.0, 4.0], "faults" => [5, 7, 1, 5]).expect("a frame");
        let train = frame(data, "faults");
        let model = model("{exposure: boards}");
        assert_eq!(model.features(&train.schema), ["second", "boards"]);
        let state = model
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("a state");
        let rows = df!("second" => [0, 1], "boards" => [10.0, 100.0]).expect("a frame");
        let columns = model
            .load(&state)
            .expect("a model")
            .predict(&rows)
            .expect("numbers");
        let values: Vec<f64> = columns[0].f64().expect("f64").iter().flatten().collect();
        close(&values, &[30.0, 100.0], 1e-7);
        let none = df!("second" => [0], "boards" => [0.0]).expect("a frame");
        let error = model
            .load(&state)
            .expect("a model")
            .predict(&none)
            .expect_err("no boards")
            .to_string();
        assert!(
            error.contains("`boards` is not a number above 0 in row 1"),
            "{error}"
        );
    }

    #[test]
    fn values_outside_the_family_are_refused() {
        let data = df!("width" => [1.0, 2.0, 3.0], "price" => [2.0, 0.0, 6.0]).expect("a frame");
        let train = frame(data, "price");
        let error = learned(&model("{family: gamma}"), &train)
            .expect_err("zero")
            .to_string();
        assert!(
            error.contains("`price` is 0 in training row 2; this family is for numbers above 0"),
            "{error}"
        );
        assert!(learned(&model("{}"), &train).is_ok());
    }

    #[test]
    fn a_power_without_its_family_and_an_exposure_of_text_are_reported() {
        let data = df!("width" => [1.0], "shop" => ["a"], "price" => [2.0]).expect("a frame");
        let train = frame(data, "price");
        let capabilities = taktline_core::Capabilities::default();
        let mut cx = CheckContext {
            stage: "glm",
            seed: 7,
            directory: std::path::Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        model("{power: 1.5, exposure: shop, features: [width]}").check(&[train.schema], &mut cx);
        let codes: Vec<&str> = cx.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["unused-param", "not-numeric"]);
    }

    #[test]
    fn what_cannot_be_squared_is_refused() {
        let model = model("{family: poisson}");
        crate::testing::refuses_what_cannot_be_squared(
            &model,
            &tumours(false),
            "mean_texture",
            false,
        );
    }
}
