//! `model.linfa.ftrl`

use ndarray::{Array1, Array2};
use polars::prelude::{Column as PolarsColumn, DataFrame};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, FitContext, Frame, Label, Model, Predictor, ProgressEvent, Result, Schema,
    Shape, Stage, State, TensorData, classifier, features, register_kind,
};

use crate::{
    class_weight::ClassWeight,
    labels::{Classifier, Labels},
    linear::{check_total, weight_of},
    records::{Features, is_learned, numbers, row_weights},
};

const VERSION: u32 = 1;
/// Rows between two looks at whether to go on.
const ROWS_BETWEEN_LOOKS: usize = 4096;

/// Learns the probability of one of two classes row by row, in the order of the rows, as advertisers learn from clicks: follow the
/// regularised leader.
///
/// Every row moves the coefficients of its features that are not 0, each at a pace of its own, so that rare features are learned as fast
/// as frequent ones; `l1` leaves out those that say little. Meant for many rows of many features that are mostly 0
/// (`features.hash_text`, `features.hash`), and for what changes in time: late rows count most. McMahan et al.: "Ad Click Prediction: a
/// View from the Trenches" (2013), algorithm 1, with an intercept that is not penalised.
///
/// Adds the columns `prediction` (the likelier label, in the target's type), `score`, the probability of the positive class, and
/// `probability_<label>` for both. Rows count by the column with role `weight`, if there is one. Give features a similar scale. A missing
/// value in a feature is an error.
///
/// linfa-ftrl 0.8 is not called: it takes all rows as one step, has no intercept, and gives probabilities as 32-bit numbers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ftrl {
    /// The columns to learn from: numbers, truth values, or arrays of numbers, each number of which is a feature of its own.
    /// Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The column to predict, of two classes: text, whole numbers, true or false. Default: the column with role `target`.
    target: Option<String>,
    /// How much the rows of each class count: `none` (all the same), `balanced` (each class as much as any other), or a weight for
    /// each label, where labels that are not named count 1.
    #[serde(default)]
    class_weight: ClassWeight,
    /// The class whose probability is the `score`. Default: `true`, else `1`, else the last label.
    positive: Option<Label>,
    /// How large steps are.
    #[serde(default = "tenth")]
    #[schemars(range(min = 1e-9, max = 1000.0))]
    alpha: f64,
    /// How much smaller the first steps are.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    beta: f64,
    /// Strength of the penalty on absolute values of coefficients, which leaves features out.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    l1: f64,
    /// Strength of the penalty on squares of coefficients.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    l2: f64,
    /// Passes over the rows.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 100_000))]
    epochs: usize,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

fn tenth() -> f64 {
    0.1
}
fn one() -> f64 {
    1.0
}
fn once() -> usize {
    1
}

register_kind! {
    Ftrl, "model.linfa.ftrl", version: 1,
    example: "- model.linfa.ftrl: {alpha: 0.05, l1: 1, positive: clicked}",
}

impl Stage for Ftrl {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        Classifier {
            features: self.features.as_deref(),
            target: self.target.as_deref(),
            class_weight: &self.class_weight,
            positive: self.positive.as_ref(),
        }
        .check(inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Ftrl {
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
        let (labels, codes) =
            Labels::fit(train, self.target(&train.schema), self.positive.as_ref())?;
        let Some(positive) = labels.positive else {
            return Err(Error::data(format!(
                "the target `{}` has {} labels; this model learns two (`model.linfa.logistic_regression` learns more)",
                labels.target,
                labels.classes.len()
            )));
        };
        let weights = row_weights(train)?;
        check_total(weights.as_ref())?;
        let class_weights = self
            .class_weight
            .of_each(&labels.classes, &codes, weights.as_ref())?;
        let (features, records) = Features::fit_squared(&train.data, self.features(&train.schema))?;
        // Rows side by side: they are read one after the other.
        let records = records.as_standard_layout();
        let mut leader = Leader::new(self, records.ncols());
        for epoch in 1..=self.epochs {
            let mut losses = 0.0;
            for (row, record) in records.rows().into_iter().enumerate() {
                if row % ROWS_BETWEEN_LOOKS == 0 {
                    cx.cancellation.check()?;
                }
                let class = codes[row] as usize;
                let weight = class_weights[class] * weight_of(weights.as_ref(), row);
                losses += leader.learn(record.iter().copied(), class == positive, weight);
            }
            cx.progress.event(ProgressEvent::Epoch {
                epoch: epoch as u64,
                epochs: self.epochs as u64,
                loss: losses / records.nrows() as f64,
                figures: Vec::new(),
            });
        }
        let coefficients = leader.coefficients();
        if coefficients.iter().any(|value| !value.is_finite()) {
            return Err(Error::Model(
                "the coefficients grow beyond all numbers; scale the features (`features.standardize`), or lower `alpha`"
                    .into(),
            ));
        }
        let state = State::from_data(VERSION, &Learned { features, labels })?;
        Ok(state.with_tensor(
            "coefficients",
            vec![coefficients.len()],
            TensorData::F64(coefficients),
        ))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        learned.labels.check()?;
        if learned.labels.classes.len() != 2 || learned.labels.positive.is_none() {
            return Err(Error::State("there are not two classes".into()));
        }
        let shape = [learned.features.numbers() + 1];
        let coefficients = numbers(state.tensor("coefficients")?, &shape)?;
        Ok(Box::new(FtrlPredictor {
            learned,
            coefficients,
        }))
    }
}

/// What is kept of all rows so far: a sum of gradients and of their squares for each number, the intercept last.
struct Leader<'a> {
    params: &'a Ftrl,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl<'a> Leader<'a> {
    fn new(params: &'a Ftrl, numbers: usize) -> Self {
        Self {
            params,
            sums: vec![0.0; numbers + 1],
            squares: vec![0.0; numbers + 1],
        }
    }

    fn coefficient(&self, number: usize) -> f64 {
        let is_intercept = number + 1 == self.sums.len();
        let (l1, l2) = match is_intercept {
            true => (0.0, 0.0),
            false => (self.params.l1, self.params.l2),
        };
        let sum = self.sums[number];
        if sum.abs() <= l1 {
            return 0.0;
        }
        let pace = (self.params.beta + self.squares[number].sqrt()) / self.params.alpha + l2;
        (sum.signum() * l1 - sum) / pace
    }

    fn coefficients(&self) -> Vec<f64> {
        (0..self.sums.len())
            .map(|number| self.coefficient(number))
            .collect()
    }

    /// Learns a row; answers its loss before that, times its weight.
    fn learn(&mut self, row: impl Iterator<Item = f64>, is_positive: bool, weight: f64) -> f64 {
        let there: Vec<(usize, f64, f64)> = row
            .chain(std::iter::once(1.0))
            .enumerate()
            .filter(|(_, value)| *value != 0.0)
            .map(|(number, value)| (number, value, self.coefficient(number)))
            .collect();
        let predictor: f64 = there
            .iter()
            .map(|(_, value, coefficient)| value * coefficient)
            .sum();
        let error = probability(predictor) - f64::from(is_positive);
        for (number, value, coefficient) in there {
            let gradient = weight * error * value;
            let squares = self.squares[number];
            let next = squares + gradient * gradient;
            self.sums[number] +=
                gradient - (next.sqrt() - squares.sqrt()) / self.params.alpha * coefficient;
            self.squares[number] = next;
        }
        let surprise = if is_positive { -predictor } else { predictor };
        weight * (surprise.max(0.0) + (-surprise.abs()).exp().ln_1p())
    }
}

fn probability(predictor: f64) -> f64 {
    if predictor >= 0.0 {
        1.0 / (1.0 + (-predictor).exp())
    } else {
        let odds = predictor.exp();
        odds / (1.0 + odds)
    }
}

/// The JSON part of the fitted state.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    #[serde(flatten)]
    features: Features,
    #[serde(flatten)]
    labels: Labels,
}

struct FtrlPredictor {
    learned: Learned,
    /// The intercept last.
    coefficients: Vec<f64>,
}

impl Predictor for FtrlPredictor {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let records = self.learned.features.matrix(batch)?;
        let intercept = self.coefficients[records.ncols()];
        let mut predictors = Array1::from_elem(records.nrows(), intercept);
        for (column, coefficient) in records.columns().into_iter().zip(&self.coefficients) {
            predictors.scaled_add(*coefficient, &column);
        }
        if let Some(row) = predictors.iter().position(|value| value.is_nan()) {
            return Err(Error::data(format!(
                "the features of row {} are too far outside of those of training to be weighed",
                row + 1
            )));
        }
        let positive = self.learned.labels.positive.unwrap_or(1);
        let probabilities = Array2::from_shape_fn((records.nrows(), 2), |(row, class)| {
            let sign = if class == positive { 1.0 } else { -1.0 };
            probability(sign * predictors[row])
        });
        self.learned.labels.columns(&probabilities)
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{ChunkCompareEq, DataType, df};
    use taktline_core::{Cancellation, Column, NoCheckpoints, Role, Silent};

    use super::*;
    use crate::testing::*;

    const FEATURES: [&str; 5] = [
        "mean_texture",
        "mean_smoothness",
        "mean_symmetry",
        "worst_texture",
        "mean_compactness",
    ];

    fn learned(model: &Ftrl, train: &Frame) -> Vec<f64> {
        let state = model
            .fit(train, None, &mut FitContext::quiet(1))
            .expect("a fit");
        match &state.tensor("coefficients").expect("a tensor").data {
            TensorData::F64(values) => values.clone(),
            _ => panic!("f64"),
        }
    }

    #[test]
    fn learns_as_the_paper_says() {
        // tests/peers/ftrl.py
        let cases: [(&str, [f64; 6]); 2] = [
            (
                "alpha: 0.1",
                [
                    0.4177046325,
                    0.3528572233,
                    0.2621464788,
                    0.5396587502,
                    0.9841845691,
                    -0.5094256271,
                ],
            ),
            (
                "alpha: 0.5, l1: 2, l2: 0.5, epochs: 3",
                [
                    0.1174549696,
                    0.0899385808,
                    0.0,
                    0.9069991347,
                    1.912913297,
                    -1.219637727,
                ],
            ),
        ];
        let train = with_roles(standardised(tumours(), &FEATURES), &[]);
        for (more, expected) in cases {
            let model: Ftrl = params(&format!(
                "{{target: diagnosis, positive: M, features: {FEATURES:?}, {more}}}"
            ));
            close(&learned(&model, &train), &expected, 1e-8);
            let outputs = predict(&model, &train, &train.data).expect("predictions");
            let right = named(&outputs, "prediction")
                .equal_missing(train.data.column("diagnosis").expect("truth"))
                .expect("a mask");
            assert!(right.sum().expect("rows") > 450);
        }
    }

    /// tests/peers/ftrl.py: the best of scikit-learn's logistic regressions has a log loss of 0.0868 on every third tumour, and of 0.5081 on
    /// every third credit. The classes' shares have 0.677 and 0.616, scikit-learn's stochastic gradients 0.560 and 2.170.
    #[test]
    fn comes_near_to_logistic_regression() {
        for (data, target, positive, theirs) in [
            (tumours(), "diagnosis", "M", 0.0868),
            (credits(), "creditability", "bad", 0.5081),
        ] {
            let (train, test) = thirds(&at_one_scale(data));
            let train = with_roles(train, &[(target, Role::Target)]);
            for epochs in [1, 5] {
                let model: Ftrl = params(&format!("{{positive: {positive}, epochs: {epochs}}}"));
                let outputs = foretold(&model, &train, &test);
                let (_, loss) = right_and_loss(&outputs, &texts(&test, target));
                assert!(loss < theirs + 0.02, "{target}, {epochs}: {loss}");
            }
        }
    }

    #[test]
    fn one_row_by_hand() {
        // The probability is 0.5 at first, the gradient -0.5 · 2 and -0.5: the sums, with pace (1 + 1) / 0.1 + 3 and (1 + 0.5) / 0.1.
        let data = df!("size" => [2.0, 0.0], "rare" => [0.0, 0.0], "yes" => [true, false], "count" => [1.0, 0.0])
            .expect("a frame");
        let train = with_roles(data, &[("yes", Role::Target), ("count", Role::Weight)]);
        let model: Ftrl = params("{alpha: 0.1, l1: 0.25, l2: 3}");
        let expected = [0.75 / 23.0, 0.0, 0.5 / 15.0];
        close(&learned(&model, &train), &expected, 1e-15);
    }

    #[test]
    fn refuses_three_classes_and_ends_when_asked() {
        let data = df!("size" => [1.0, 2.0, 3.0], "kind" => ["a", "b", "c"]).expect("a frame");
        let train = with_roles(data, &[("kind", Role::Target)]);
        let model: Ftrl = params("{}");
        assert!(
            refusal(&model, &train).starts_with("the target `kind` has 3 labels"),
            "{}",
            refusal(&model, &train)
        );
        let cancellation = Cancellation::default();
        cancellation.cancel();
        let mut cx = FitContext {
            stage: "ftrl",
            seed: 1,
            progress: &Silent,
            cancellation: &cancellation,
            checkpoints: &NoCheckpoints,
            directory: std::path::Path::new("."),
        };
        let train = with_roles(tumours(), &[]);
        let model: Ftrl = params("{target: diagnosis, features: [mean_texture]}");
        assert!(matches!(
            model.fit(&train, None, &mut cx),
            Err(Error::Interrupted)
        ));
    }

    #[test]
    fn check_finds_every_problem() {
        let input = Schema::new(vec![
            Column::new("size", DataType::Float64),
            Column::new("clicked", DataType::Boolean).with_role(Role::Target),
        ]);
        let model: Ftrl = params("{features: [siez], positive: maybe, class_weight: {yes: 2}}");
        assert_eq!(
            codes(&model, &input),
            ["unknown-column", "unknown-label", "unknown-label"]
        );
    }
}
