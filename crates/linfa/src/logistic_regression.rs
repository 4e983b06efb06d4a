//! `model.linfa.logistic_regression`

use linfa::traits::Fit;
use ndarray::{Array1, Axis};
use polars::prelude::{Column as PolarsColumn, DataFrame};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, FitContext, Frame, Label, Model, Predictor, ProgressEvent, Result, Schema,
    Shape, Stage, State, TensorData, classifier, counted, features, register_kind,
};

use crate::{
    class_weight::ClassWeight,
    labels::{Classifier, Labels},
    records::{Features, is_learned, matrix, numbers, row_weights, with_matrix},
    weighted_logistic::{FitError, FittedLogistic, TrainingSet, WeightedLogistic},
};

const VERSION: u32 = 1;

/// Learns the probability of each class as a logistic function of a weighted sum of the features; two classes or more.
///
/// Adds the columns `prediction` (the likeliest label, in the target's type), `probability_<label>` for each class and, for two
/// classes, `score`: the probability of the positive one. Rows count by the column with role `weight`, if there is one.
/// The loss is scikit-learn's with `C = 1 / penalty`; the intercept is not penalised. Give features a similar scale
/// (`features.standardize`): the penalty treats them alike. A missing value in a feature is an error, never a silent number.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogisticRegression {
    /// The columns to learn from: numbers, truth values, or arrays of numbers, each number of which is a feature of its own.
    /// Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The column to predict: text, whole numbers, true or false. Default: the column with role `target`.
    target: Option<String>,
    /// How much the rows of each class count: `none` (all the same), `balanced` (each class as much as any other), or a weight for
    /// each label, where labels that are not named count 1.
    #[serde(default)]
    class_weight: ClassWeight,
    /// Of two classes, the one whose probability is the `score`. Default: `true`, else `1`, else the last label.
    positive: Option<Label>,
    /// Strength of the L2 penalty on coefficients; 0 for none.
    #[serde(default = "default_penalty")]
    #[schemars(range(min = 0.0))]
    penalty: f64,
    /// Newton steps at most; there are rarely more than 10.
    #[serde(default = "default_max_iterations")]
    #[schemars(range(min = 1, max = 100_000))]
    max_iterations: usize,
    /// Done when no component of the gradient of the mean loss exceeds this (features taken at unit variance).
    #[serde(default = "default_tolerance")]
    #[schemars(range(min = 1e-15, max = 1.0))]
    tolerance: f64,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

fn default_penalty() -> f64 {
    1.0
}
fn default_max_iterations() -> usize {
    100
}
fn default_tolerance() -> f64 {
    1e-6
}

register_kind! {
    LogisticRegression, "model.linfa.logistic_regression", version: 1,
    example: "- model.linfa.logistic_regression: {class_weight: balanced, penalty: 0.1}",
}

impl Stage for LogisticRegression {
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

impl Model for LogisticRegression {
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
        let weights = row_weights(train)?;
        let mut class_weights =
            self.class_weight
                .of_each(&labels.classes, &codes, weights.as_ref())?;
        let (features, records) = Features::fit_squared(&train.data, self.features(&train.schema))?;

        // The solver's class 1 of two is the positive one.
        let swapped = labels.positive == Some(0);
        if swapped {
            class_weights.swap(0, 1);
        }
        let targets = codes
            .iter()
            .map(|code| {
                if swapped {
                    1 - *code as usize
                } else {
                    *code as usize
                }
            })
            .collect();
        let mut training: TrainingSet = TrainingSet::new(records, targets);
        if let Some(weights) = weights {
            training = training.with_weights(weights);
        }
        let fitted = WeightedLogistic {
            classes: labels.classes.len(),
            class_weights,
            penalty: self.penalty,
            max_iterations: self.max_iterations,
            tolerance: self.tolerance,
            is_cancelled: &|| cx.cancellation.is_cancelled(),
            on_step: &|step, _| {
                cx.progress.event(ProgressEvent::Step {
                    done: step as u64,
                    total: self.max_iterations as u64,
                    unit: "iterations",
                });
            },
        }
        .fit(&training)
        .map_err(|error| match error {
            FitError::Interrupted => Error::Interrupted,
            other => Error::Model(other.to_string()),
        })?;
        if !fitted.converged {
            cx.progress.event(ProgressEvent::Message(format!(
                "`{}` had not converged after {}; scale the features (`features.standardize`), or raise `penalty` or `max_iterations`",
                cx.stage,
                counted(fitted.iterations, "iteration")
            )));
        }
        let learned = Learned {
            features,
            labels,
            iterations: fitted.iterations,
            converged: fitted.converged,
        };
        let state = State::from_data(VERSION, &learned)?;
        Ok(
            with_matrix(state, "coefficients", &fitted.coefficients).with_tensor(
                "intercepts",
                vec![fitted.intercepts.len()],
                TensorData::F64(fitted.intercepts.to_vec()),
            ),
        )
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        let outputs = match learned.labels.classes.len() {
            2 => 1,
            classes => classes,
        };
        let coefficients = matrix(state, "coefficients", [outputs, learned.features.numbers()])?;
        let intercepts = Array1::from_vec(numbers(state.tensor("intercepts")?, &[outputs])?);
        learned.labels.check()?;
        let fitted = FittedLogistic {
            coefficients,
            intercepts,
            iterations: learned.iterations,
            converged: learned.converged,
        };
        Ok(Box::new(LogisticPredictor { learned, fitted }))
    }
}

/// The JSON part of the fitted state.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    #[serde(flatten)]
    features: Features,
    #[serde(flatten)]
    labels: Labels,
    iterations: usize,
    converged: bool,
}

struct LogisticPredictor {
    learned: Learned,
    fitted: FittedLogistic,
}

impl Predictor for LogisticPredictor {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let classes = self.fitted.classes();
        let mut probabilities =
            self.learned
                .features
                .answers(batch, classes, |records, answers| {
                    self.fitted.predict(records, answers);
                })?;
        if self.learned.labels.positive == Some(0) {
            probabilities.invert_axis(Axis(1));
        }
        self.learned.labels.columns(&probabilities)
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Mutex};

    use polars::prelude::{
        ChunkAgg, ChunkCompareEq, ChunkVar, CsvReader, DataType, IntoColumn, NamedFrom,
        ReshapeDimension, SerReader, Series, df,
    };
    use taktline_core::{
        Cancellation, Capabilities, Column, NoCheckpoints, PARTITION, Problem, Progress, Registry,
        Role, Severity, serde_yaml,
    };

    use super::*;

    const CELLS: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../datasets/medical/wdbc.csv"
    );
    const FEATURES: [&str; 5] = [
        "mean_radius",
        "mean_texture",
        "mean_smoothness",
        "mean_symmetry",
        "worst_area",
    ];

    fn model(params: &str) -> LogisticRegression {
        serde_yaml::from_str(params).expect("params")
    }

    fn frame(data: DataFrame, roles: &[(&str, Role)]) -> Frame {
        let mut schema = Schema::from_polars(data.schema());
        for (name, role) in roles {
            let column = schema.column_mut(name).expect("a column");
            *column = column.clone().with_role(*role);
        }
        Frame { data, schema }
    }

    fn fit(model: &LogisticRegression, train: &Frame) -> Result<Box<dyn Predictor>> {
        let state = model.fit(train, None, &mut FitContext::quiet(1))?;
        // What run, score and serve see has been through a file.
        model.load(&State::from_bytes(&state.to_bytes()?)?)
    }

    fn named<'a>(columns: &'a [PolarsColumn], name: &str) -> &'a PolarsColumn {
        columns
            .iter()
            .find(|column| column.name() == name)
            .expect("an output column")
    }

    fn numbers_of(columns: &[PolarsColumn], name: &str) -> Vec<f64> {
        named(columns, name)
            .f64()
            .expect("f64")
            .iter()
            .map(|value| value.expect("a number"))
            .collect()
    }

    /// The features of tests/peers/logistic_regression.py, standardised as there, with its targets and weights.
    fn cells() -> Frame {
        let file = std::fs::File::open(CELLS).expect("the data set");
        let all = CsvReader::new(file).finish().expect("a frame");
        let mut data = all.select(FEATURES).expect("the features");
        for name in FEATURES {
            let values = data
                .column(name)
                .expect("a feature")
                .f64()
                .expect("f64")
                .clone();
            let (mean, deviation) = (values.mean().expect("rows"), values.std(0).expect("rows"));
            let scaled: Vec<f64> = values
                .iter()
                .flatten()
                .map(|value| (value - mean) / deviation)
                .collect();
            data.with_column(PolarsColumn::new(name.into(), scaled))
                .expect("a column");
        }
        let third = |value: f64| {
            if value < 0.03 {
                0_i32
            } else if value < 0.1 {
                1
            } else {
                2
            }
        };
        let concavity = all
            .column("mean_concavity")
            .expect("a column")
            .f64()
            .expect("f64");
        let thirds: Vec<i32> = concavity.iter().flatten().map(third).collect();
        let weights: Vec<f64> = (0..all.height())
            .map(|row| 1.0 + (row % 3) as f64)
            .collect();
        data.with_column(all.column("diagnosis").expect("a column").clone())
            .expect("a column");
        data.with_column(PolarsColumn::new("third".into(), thirds))
            .expect("a column");
        data.with_column(PolarsColumn::new("weight".into(), weights))
            .expect("a column");
        frame(
            data,
            &[
                ("diagnosis", Role::Ignore),
                ("third", Role::Ignore),
                ("weight", Role::Ignore),
            ],
        )
    }

    fn close(left: &[f64], right: &[f64]) {
        assert_eq!(left.len(), right.len());
        for (left, right) in left.iter().zip(right) {
            assert!((left - right).abs() < 2e-6, "{left} is not {right}");
        }
    }

    fn coefficients(state: &State) -> Vec<f64> {
        let values = |name: &str| match &state.tensor(name).expect("a tensor").data {
            TensorData::F64(values) => values.clone(),
            _ => panic!("f64"),
        };
        let (coefficients, intercepts) = (values("coefficients"), values("intercepts"));
        let width = coefficients.len() / intercepts.len();
        intercepts
            .iter()
            .enumerate()
            .flat_map(|(row, intercept)| {
                [&coefficients[row * width..(row + 1) * width], &[*intercept]].concat()
            })
            .collect()
    }

    #[test]
    fn finds_what_scikit_learn_finds() {
        let with_target = |name: &str, weighted: bool| {
            let mut cells = cells();
            let roles = [
                (name, Role::Target),
                ("weight", if weighted { Role::Weight } else { Role::Ignore }),
            ];
            for (name, role) in roles {
                let column = cells.schema.column_mut(name).expect("a column");
                *column = column.clone().with_role(role);
            }
            cells
        };
        let cases: [(&str, Frame, &[f64]); 4] = [
            (
                "{tolerance: 1e-12}",
                with_target("diagnosis", false),
                &[
                    1.1896024, 1.3178028, 1.2508531, 0.6510752, 4.4232260, -0.2410027,
                ],
            ),
            (
                "{tolerance: 1e-12, class_weight: balanced, penalty: 2}",
                with_target("diagnosis", false),
                &[
                    1.4744612, 1.2094744, 1.1355986, 0.6027498, 3.3244445, 0.0473727,
                ],
            ),
            (
                "{tolerance: 1e-12, class_weight: {M: 3}}",
                with_target("diagnosis", true),
                &[
                    0.2831527, 1.5787595, 1.4448593, 0.9103976, 6.9629083, 1.1069389,
                ],
            ),
            (
                "{tolerance: 1e-12}",
                with_target("third", false),
                &[
                    -0.6450439, -0.2683456, -0.8348892, -0.3635657, -1.4117496, -1.0183095,
                    0.0069360, -0.2217202, -0.0128623, -0.1432069, 0.1225855, 0.8810346, 0.6381079,
                    0.4900658, 0.8477515, 0.5067726, 1.2891641, 0.1372749,
                ],
            ),
        ];
        for (params, train, expected) in &cases {
            let state = model(params)
                .fit(train, None, &mut FitContext::quiet(1))
                .expect("a fit");
            close(&coefficients(&state), expected);
        }
        let [(params, train, _), .., (three_params, three, _)] = &cases;
        let rows = |frame: &Frame| {
            let rows = [0, 100, 500].map(|row| frame.data.slice(row, 1));
            rows[0]
                .vstack(&rows[1])
                .expect("rows")
                .vstack(&rows[2])
                .expect("rows")
        };
        let outputs = fit(&model(params), train)
            .expect("a fit")
            .predict(&rows(train))
            .expect("predictions");
        close(
            &numbers_of(&outputs, "score"),
            &[0.9999748, 0.7145023, 0.2649882],
        );
        close(
            &numbers_of(&outputs, "probability_B"),
            &[0.0000252, 0.2854977, 0.7350118],
        );
        let labels: Vec<&str> = named(&outputs, "prediction")
            .str()
            .expect("text")
            .iter()
            .flatten()
            .collect();
        assert_eq!(labels, ["M", "M", "B"]);
        let outputs = fit(&model(three_params), three)
            .expect("a fit")
            .predict(&rows(three))
            .expect("predictions");
        close(
            &numbers_of(&outputs, "probability_1"),
            &[0.0266305, 0.5412817, 0.7023578],
        );
        let labels: Vec<i32> = named(&outputs, "prediction")
            .i32()
            .expect("i32")
            .iter()
            .flatten()
            .collect();
        assert_eq!(labels, [2, 1, 1]);
        assert!(outputs.iter().all(|column| column.name() != "score"));
    }

    #[test]
    fn the_state_is_the_same_to_the_byte_and_predicts_the_same_after_loading() {
        let mut cells = cells();
        *cells.schema.column_mut("diagnosis").expect("a column") =
            Column::new("diagnosis", DataType::String).with_role(Role::Target);
        let model = model("{class_weight: balanced}");
        let state = || {
            model
                .fit(&cells, None, &mut FitContext::quiet(1))
                .expect("a fit")
        };
        let (first, second) = (state(), state());
        assert_eq!(
            first.to_bytes().expect("bytes"),
            second.to_bytes().expect("bytes")
        );
        let before = model
            .load(&first)
            .expect("a model")
            .predict(&cells.data)
            .expect("predictions");
        let loaded = State::from_bytes(&first.to_bytes().expect("bytes")).expect("a state");
        let after = model
            .load(&loaded)
            .expect("a model")
            .predict(&cells.data)
            .expect("predictions");
        assert_eq!(before, after);
        let right = named(&after, "prediction")
            .equal_missing(cells.data.column("diagnosis").expect("truth"));
        assert!(right.expect("a mask").sum().expect("rows") > 540);
    }

    #[test]
    fn truth_values_and_numbers_come_back_in_their_type() {
        let data = df!(
            "amount" => [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "fraud" => [false, false, true, false, true, true],
            "grade" => [1_u8, 1, 2, 1, 2, 2],
        )
        .expect("a frame");
        let train = frame(
            data.clone(),
            &[("fraud", Role::Target), ("grade", Role::Ignore)],
        );
        let outputs = fit(&model("{}"), &train)
            .expect("a fit")
            .predict(&data)
            .expect("predictions");
        assert_eq!(named(&outputs, "prediction").dtype(), &DataType::Boolean);
        assert_eq!(
            numbers_of(&outputs, "score"),
            numbers_of(&outputs, "probability_true")
        );
        let train = frame(
            data.clone(),
            &[("grade", Role::Target), ("fraud", Role::Ignore)],
        );
        let outputs = fit(&model("{}"), &train)
            .expect("a fit")
            .predict(&data)
            .expect("predictions");
        assert_eq!(named(&outputs, "prediction").dtype(), &DataType::UInt8);
        assert_eq!(
            numbers_of(&outputs, "score"),
            numbers_of(&outputs, "probability_1")
        );
        let high = fit(&model("{positive: 2}"), &train)
            .expect("a fit")
            .predict(&data)
            .expect("predictions");
        assert_eq!(
            numbers_of(&high, "score"),
            numbers_of(&high, "probability_2")
        );
        close(
            &numbers_of(&high, "probability_1"),
            &numbers_of(&outputs, "probability_1"),
        );
        assert_eq!(named(&high, "prediction"), named(&outputs, "prediction"));
        let nothing = fit(&model("{}"), &train)
            .expect("a fit")
            .predict(&data.head(Some(0)))
            .expect("no rows");
        assert!(nothing.iter().all(|column| column.is_empty()));
    }

    #[test]
    fn refuses_rows_that_it_cannot_learn_from() {
        let data = df!(
            "amount" => [Some(1.0), None, Some(3.0)],
            "fraud" => [Some(false), Some(true), Some(false)],
            "same" => ["yes", "yes", "yes"],
            "holes" => [Some(1), Some(0), None],
        )
        .expect("a frame");
        let message = |params: &str, target: &str| {
            let others = ["fraud", "same", "holes"].map(|name| {
                (
                    name,
                    if name == target {
                        Role::Target
                    } else {
                        Role::Ignore
                    },
                )
            });
            match fit(&model(params), &frame(data.clone(), &others)) {
                Ok(_) => panic!("it learned from that"),
                Err(error) => error.to_string(),
            }
        };
        assert!(message("{}", "fraud").contains("`amount` in 1 of 3 training rows"));
        assert_eq!(
            message("{}", "same"),
            "in 3 training rows there is only the label `yes` of the target `same`; a classifier needs two or more labels"
        );
        assert_eq!(
            message("{}", "holes"),
            "`holes` has no label in 1 of 3 rows; leave such rows out above (`clean.drop_nulls: {columns: [holes]}`)"
        );
        assert!(message("{class_weight: {maybe: 2}}", "fraud").contains("names the label `maybe`"));
        assert!(message("{positive: maybe}", "fraud").contains("`positive: maybe`"));
    }

    #[test]
    fn says_when_it_has_not_converged() {
        #[derive(Default)]
        struct Heard(Mutex<Vec<String>>);
        impl Progress for Heard {
            fn event(&self, event: ProgressEvent) {
                if let ProgressEvent::Message(message) = event {
                    self.0.lock().expect("a lock").push(message);
                }
            }
        }
        let mut cells = cells();
        *cells.schema.column_mut("diagnosis").expect("a column") =
            Column::new("diagnosis", DataType::String).with_role(Role::Target);
        let heard = Heard::default();
        let cancellation = Cancellation::default();
        let mut cx = FitContext {
            stage: "classifier",
            seed: 1,
            progress: &heard,
            cancellation: &cancellation,
            checkpoints: &NoCheckpoints,
            directory: std::path::Path::new("."),
        };
        model("{max_iterations: 2}")
            .fit(&cells, None, &mut cx)
            .expect("a fit, if a poor one");
        let messages = heard.0.lock().expect("a lock").clone();
        assert!(
            messages[0].starts_with("`classifier` had not converged after 2 iterations"),
            "{messages:?}"
        );
        cancellation.cancel();
        assert!(matches!(
            model("{}").fit(&cells, None, &mut cx),
            Err(Error::Interrupted)
        ));
    }

    fn check(params: &str, input: &Schema) -> (Schema, Vec<Problem>) {
        let capabilities = Capabilities::default();
        let mut cx = CheckContext {
            stage: "classifier",
            seed: 1,
            directory: Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        let output = model(params).check(std::slice::from_ref(input), &mut cx);
        (output, cx.problems)
    }

    fn payments() -> Schema {
        Schema::new(vec![
            Column::new("amount", DataType::Float64),
            Column::new("night", DataType::Boolean),
            Column::new("channel", DataType::String),
            Column::new("card", DataType::String).with_role(Role::Pii),
            Column::new(PARTITION, DataType::String).with_role(Role::Internal),
            Column::new("is_fraud", DataType::Boolean).with_role(Role::Target),
        ])
    }

    #[test]
    fn check_knows_the_outputs() {
        let mut input = payments();
        input.column_mut("channel").expect("a column").role = Role::Ignore;
        let (output, problems) = check("{}", &input);
        assert!(problems.is_empty(), "{problems:?}");
        let added: Vec<&str> = output.names().skip(input.columns.len()).collect();
        assert_eq!(
            added,
            [
                "prediction",
                "score",
                "probability_false",
                "probability_true"
            ]
        );
        assert_eq!(output.facts.model_target.as_deref(), Some("is_fraud"));
        assert_eq!(model("{}").features(&input), ["amount", "night"]);
        assert!(!output.incomplete && output.with_role(Role::Internal).count() == 5);
        // Only rows can tell how many labels a number column has.
        input.column_mut("is_fraud").expect("a column").dtype = DataType::Int64;
        assert!(check("{}", &input).0.incomplete);
    }

    #[test]
    fn check_finds_every_problem() {
        let codes = |params: &str, input: &Schema| -> Vec<&'static str> {
            let (_, problems) = check(params, input);
            assert!(
                problems
                    .iter()
                    .all(|problem| problem.severity == Severity::Error)
            );
            problems.iter().map(|problem| problem.code).collect()
        };
        let input = payments();
        assert_eq!(codes("{}", &input), ["not-numeric"]);
        assert_eq!(
            codes(
                "{features: [amout, channel, amount, amount, is_fraud], positive: maybe, class_weight: {yes: 2, true: -1}}",
                &input
            ),
            [
                "unknown-column",
                "not-numeric",
                "duplicate",
                "target-leak",
                "out-of-range",
                "unknown-label",
                "unknown-label"
            ]
        );
        assert_eq!(
            codes("{target: amount, features: [night]}", &input),
            ["wrong-type"]
        );
        assert_eq!(
            codes("{target: is_frod, features: [night]}", &input),
            ["unknown-column"]
        );
        let (_, problems) = check("{features: [amout]}", &input);
        assert_eq!(problems[0].help, ["did you mean `amount` (f64)?"]);
        let mut without = input.clone();
        without.columns.retain(|column| column.role != Role::Target);
        assert_eq!(codes("{features: [amount]}", &without), ["no-target"]);
        let mut three = input.clone();
        *three.column_mut("is_fraud").expect("a column") =
            Column::new("is_fraud", DataType::String)
                .with_role(Role::Target)
                .with_categories(["a", "b", "c"].map(str::to_owned).to_vec());
        assert_eq!(
            codes("{features: [amount], positive: a}", &three),
            ["not-binary"]
        );
    }

    /// The columns of these names as one array column `terms`.
    fn with_array(frame: &Frame, names: &[&str]) -> Frame {
        let rows = frame.data.height();
        let columns: Vec<Vec<f64>> = names
            .iter()
            .map(|name| {
                let column = frame.data.column(name).expect("a column");
                column.f64().expect("f64").iter().flatten().collect()
            })
            .collect();
        let numbers: Vec<f64> = (0..rows)
            .flat_map(|row| columns.iter().map(move |column| column[row]))
            .collect();
        let sides = [rows, names.len()].map(|side| ReshapeDimension::new(side as i64));
        let terms = Series::new("terms".into(), numbers)
            .reshape_array(&sides)
            .expect("arrays")
            .into_column();
        let mut data = frame.data.drop_many(names.iter().copied());
        data.with_column(terms).expect("a column");
        let mut schema = Schema::from_polars(data.schema());
        for column in &mut schema.columns {
            if let Some(known) = frame.schema.column(&column.name) {
                *column = known.clone();
            }
        }
        Frame { data, schema }
    }

    #[test]
    fn an_array_is_as_good_as_its_numbers() {
        let model = model("{target: diagnosis}");
        let plain = cells();
        let packed = with_array(&plain, &["mean_texture", "mean_symmetry"]);
        assert_eq!(
            model.features(&packed.schema),
            ["mean_radius", "mean_smoothness", "worst_area", "terms"]
        );
        let score = |frame: &Frame| {
            let predicted = fit(&model, frame).expect("a model").predict(&frame.data);
            numbers_of(&predicted.expect("predictions"), "score")
        };
        close(&score(&packed), &score(&plain));
        // A model of two numbers takes no row of three.
        let wider = with_array(&plain, &["mean_texture", "mean_symmetry", "mean_radius"]);
        let mut rows = packed.data.clone();
        rows.with_column(wider.data.column("terms").expect("there").clone())
            .expect("a column");
        let error = fit(&model, &packed)
            .expect("a model")
            .predict(&rows)
            .expect_err("wider");
        assert_eq!(
            error.to_string(),
            "the feature `terms` gives 3 numbers a row, but the model learned from 2"
        );
    }

    #[test]
    fn the_example_is_a_stage() {
        let registry = Registry::collect().expect("no kind twice");
        let kind = registry
            .get("model.linfa.logistic_regression")
            .expect("registered");
        let stages: Vec<serde_yaml::Mapping> = serde_yaml::from_str(kind.example).expect("YAML");
        assert!((kind.parse)(&stages[0][kind.name]).is_ok());
        assert!(
            kind.about()
                .starts_with("Learns the probability of each class")
        );
        let schema = serde_json::to_value((kind.params)()).expect("JSON");
        assert_eq!(schema["properties"]["penalty"]["minimum"], 0.0);
    }

    #[test]
    fn what_cannot_be_squared_is_refused() {
        let train =
            crate::testing::with_roles(crate::testing::tumours(), &[("diagnosis", Role::Target)]);
        let model = model("{features: [mean_texture, mean_symmetry]}");
        crate::testing::refuses_what_cannot_be_squared(&model, &train, "mean_texture", false);
    }
}
