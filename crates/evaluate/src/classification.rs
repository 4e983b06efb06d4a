//! `evaluate.classification`

use std::{collections::BTreeSet, sync::Arc};

use polars::prelude::{DataFrame, DataType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Classes, Error, Evaluate, Evaluation, Frame, Label, PARTITION, Partition, Plot,
    Problem, Result, Role, Schema, Shape, Stage, Table, Training, counted, did_you_mean, path,
    register_kind, type_name,
};

use crate::{
    bootstrap::Bootstrap,
    further::Further,
    judged::{
        self, Lift, MetricList, Parts, amount, figure, numbers, pick, quoted, share, target_name,
    },
    metrics::{
        CalibrationBin, Confusion, Operation, Ranking, brier, calibration, calibration_error,
        log_loss, mean,
    },
    plots,
    slices::By,
};

/// Judges the predictions of the classifier above: metrics, confusion matrix, curves.
///
/// Of two classes it gives `average_precision`, `roc_auc`, `recall_at_1pct_false_alarms` (the rate is a param), `precision`,
/// `recall`, `f1`, `accuracy`, `balanced_accuracy`, `log_loss`, `brier`, `baseline_average_precision` (the share of positive rows: what
/// chance reaches) and `baseline_accuracy` (always saying the label that is most frequent in training, or, where the training rows were
/// balanced, in the validation rows or else the judged ones); with `cost` also `cost` (at the
/// threshold in use), `cost_at_0_5`, `cost_at_chosen_threshold` and `chosen_threshold`: the threshold at which mistakes
/// cost least on the validation rows, or the training rows where there are none. It is never chosen on the rows that are judged, where
/// another may cost less; costs are sums over the judged rows.
///
/// Of more classes it gives `accuracy`, `balanced_accuracy`, `f1_macro`, `f1_weighted`, `precision_macro`, `recall_macro`,
/// `roc_auc_macro` (the mean over the classes of `roc_auc`, each against all others by its own probability), `log_loss`,
/// `baseline_accuracy`. Where the labels are only known from the rows (whole numbers, text), a gate may name a metric of either list.
///
/// A table shows the lift over these baselines: 100 % is perfect, 0 % no better. With `calibration`, `calibration_error` is the mean distance of
/// predicted probability from observed share (of more classes: of the largest probability from the share predicted right).
///
/// With `by`, a table shows `average_precision`, `roc_auc`, `precision`, `recall`, `accuracy` and `log_loss` of each slice (of more
/// classes `accuracy`, `balanced_accuracy`, `f1_macro` and `log_loss`), and `worst_roc_auc` and so on are those of the worst slice. With
/// `bootstrap` every metric comes with an interval.
///
/// Rows count by the column with role `weight`. Precision is 0 where nothing is flagged. A metric without a value for the rows at hand
/// (recall without a positive row) is left out and listed in the table `undefined_metrics`; a gate on it fails.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Classification {
    /// The rows to judge: `test`, `validation` or `train`. Default: `test` below a split, else all rows.
    part: Option<Partition>,
    /// Of two classes, the one to look for; rows are then judged by its probability. Default: the one that the model's `score` is the
    /// probability of.
    positive: Option<Label>,
    /// Rows with a score at or above this are flagged: a probability, or `chosen` for the one at which mistakes
    /// cost least on other rows.
    #[serde(default)]
    threshold: Threshold,
    /// What mistakes cost, for two classes.
    cost: Option<Cost>,
    /// The share of negative rows that may be flagged, for `recall_at_…_false_alarms`.
    #[serde(default = "default_false_alarm_rate")]
    #[schemars(range(min = 0.0, max = 1.0))]
    false_alarm_rate: f64,
    /// Adds `calibration_error`, over ranges of the predicted probability.
    calibration: Option<Calibration>,
    /// Columns whose values part the rows into slices, each with its own figures.
    by: Option<By>,
    /// Intervals of the metrics, by drawing the judged rows again.
    bootstrap: Option<Bootstrap>,
}

/// How probabilities are held against what came.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Calibration {
    /// Into how many equally wide ranges.
    #[serde(default = "default_bins")]
    #[schemars(range(min = 2, max = 100))]
    bins: usize,
}

fn default_bins() -> usize {
    10
}

fn default_false_alarm_rate() -> f64 {
    0.01
}

/// When a row is flagged.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
enum Threshold {
    /// At this score.
    At(#[schemars(range(min = 0.0, max = 1.0))] f64),
    /// By a rule.
    Rule(ThresholdRule),
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ThresholdRule {
    /// Where mistakes cost least.
    Chosen,
}

impl Default for Threshold {
    fn default() -> Self {
        Self::At(0.5)
    }
}

/// What a mistake costs.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cost {
    /// A positive row that is not flagged.
    #[schemars(range(min = 0.0))]
    missed: f64,
    /// A negative row that is flagged.
    #[schemars(range(min = 0.0))]
    false_alarm: f64,
}

register_kind! {
    Classification, "evaluate.classification", version: 5,
    example: "- evaluate.classification: {cost: {missed: 50, false_alarm: 1}}",
}

const PREDICTION: &str = "prediction";
const SCORE: &str = "score";
const PROBABILITY: &str = "probability_";

const CALIBRATION_ERROR: &str = "calibration_error";

const BINARY_BY_SLICE: [&str; 6] = [
    "average_precision",
    "roc_auc",
    "precision",
    "recall",
    "accuracy",
    "log_loss",
];

const MULTICLASS_BY_SLICE: [&str; 4] = ["accuracy", "balanced_accuracy", "f1_macro", "log_loss"];

/// How many classes there are, as far as it is known before any row is read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Task {
    Binary,
    Multiclass,
    Unknown,
}

impl Stage for Classification {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return judged::no_input();
        };
        judged::check_model(input, PREDICTION, cx);
        judged::check_target(input, cx);
        if let Some(target) = target_name(input).and_then(|name| input.column(&name))
            && !Classes::can_hold(&target.dtype)
        {
            cx.report(Problem::error(
                "wrong-type",
                path![],
                format!(
                    "the target `{}` is {}, which holds no class labels",
                    target.name,
                    type_name(&target.dtype)
                ),
            )
            .help("numbers are judged by `evaluate.regression`; classes are text, truth values or whole numbers"));
        }
        Self::check_prediction(input, cx);
        judged::check_part(self.part, input, cx);
        self.check_costs(input, cx);
        if let (Some(positive), Some(labels)) = (&self.positive, known_labels(input))
            && !labels.contains(&positive.0)
        {
            cx.report(
                Problem::error(
                    "unknown-label",
                    path!["positive"],
                    format!("the target has no label `{positive}`"),
                )
                .help_if(did_you_mean(&positive.0, labels.iter().map(String::as_str)))
                .note(format!("its labels are {}", quoted(&labels))),
            );
        }
        self.further().check(input, cx);
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Evaluate(self)
    }
}

impl Classification {
    fn further(&self) -> Further<'_> {
        Further {
            bootstrap: self.bootstrap.as_ref(),
            by: self.by.as_ref(),
            param: "by",
        }
    }

    fn bins(&self) -> usize {
        self.calibration
            .map_or_else(default_bins, |calibration| calibration.bins)
    }

    /// Reports a model that says something else than classes.
    fn check_prediction(input: &Schema, cx: &mut CheckContext<'_>) {
        let target = target_name(input).and_then(|name| input.column(&name));
        if let (Some(prediction), Some(target)) = (input.column(PREDICTION), target)
            && Classes::can_hold(&target.dtype)
            && !says_labels(&prediction.dtype, &target.dtype)
        {
            let message = format!(
                "`{PREDICTION}` is {}, and the target `{}` is {}: the model above says no classes",
                type_name(&prediction.dtype),
                target.name,
                type_name(&target.dtype)
            );
            let help = match prediction.dtype {
                DataType::Boolean => "anomalies are judged by `evaluate.anomaly`",
                _ => {
                    "numbers are judged by `evaluate.regression`; a model of either task takes `task: classification`"
                }
            };
            cx.report(Problem::error("type-mismatch", path![], message).help(help));
        }
    }

    fn check_costs(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        if self.threshold == Threshold::Rule(ThresholdRule::Chosen) && self.cost.is_none() {
            cx.report(
                Problem::error(
                    "missing-param",
                    path!["threshold"],
                    "`threshold: chosen` needs to know what mistakes cost",
                )
                .help("say `cost: {missed: …, false_alarm: …}`"),
            );
        }
        let Some(labels) = known_labels(input).filter(|labels| labels.len() > 2) else {
            return;
        };
        for param in self.for_two_classes() {
            cx.report(Problem::error(
                "not-binary",
                path![param],
                format!(
                    "`{param}` is for two classes; the target has {}",
                    labels.len()
                ),
            ));
        }
    }

    /// The given params that only two classes have a use for.
    fn for_two_classes(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("cost", self.cost.is_some()),
            ("positive", self.positive.is_some()),
            ("threshold", self.threshold != Threshold::default()),
        ];
        given
            .into_iter()
            .filter(|(_, is_given)| *is_given)
            .map(|(param, _)| param)
    }

    fn task(&self, input: &Schema) -> Task {
        match known_labels(input).map(|labels| labels.len()) {
            Some(0..=2) => Task::Binary,
            Some(_) => Task::Multiclass,
            None if self.positive.is_some()
                || self.cost.is_some()
                || input.column(SCORE).is_some() =>
            {
                Task::Binary
            }
            None => Task::Unknown,
        }
    }

    fn recall_at_false_alarms(&self) -> String {
        // Six digits say `0.1` for a rate of 0.001, where floating point would say 0.10000000000000001.
        let percent = (self.false_alarm_rate * 100.0 * 1e6).round() / 1e6;
        format!("recall_at_{percent}pct_false_alarms")
    }
}

impl Evaluate for Classification {
    fn metrics(&self, input: &Schema) -> Vec<String> {
        let mut binary = vec![
            "average_precision".to_owned(),
            "roc_auc".into(),
            self.recall_at_false_alarms(),
        ];
        binary.extend(
            [
                "precision",
                "recall",
                "f1",
                "accuracy",
                "balanced_accuracy",
                "log_loss",
                "brier",
            ]
            .map(str::to_owned),
        );
        if self.cost.is_some() {
            binary.extend(COST_METRICS.map(str::to_owned));
        }
        binary.extend(["baseline_average_precision", "baseline_accuracy"].map(str::to_owned));
        let mut multiclass = MULTICLASS_METRICS.map(str::to_owned).to_vec();
        let by_slice = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            self.further().worst(&names)
        };
        for (names, worst) in [
            (&mut binary, by_slice(&BINARY_BY_SLICE)),
            (&mut multiclass, by_slice(&MULTICLASS_BY_SLICE)),
        ] {
            names.extend(self.calibration.map(|_| CALIBRATION_ERROR.to_owned()));
            names.extend(worst);
        }
        match self.task(input) {
            Task::Binary => binary,
            Task::Multiclass => multiclass,
            Task::Unknown => {
                let more = multiclass
                    .into_iter()
                    .filter(|name| !binary.contains(name))
                    .collect::<Vec<_>>();
                binary.into_iter().chain(more).collect()
            }
        }
    }

    fn reads(&self, input: &Schema) -> BTreeSet<String> {
        let weights = input
            .with_role(Role::Weight)
            .map(|column| column.name.clone());
        let outputs = input.names().filter(|name| {
            [PREDICTION, SCORE, PARTITION].contains(name) || name.starts_with(PROBABILITY)
        });
        outputs
            .map(str::to_owned)
            .chain(weights)
            .chain(target_name(input))
            .chain(self.further().reads())
            .collect()
    }

    fn add_training(&self, training: &Training, evaluation: &mut Evaluation) -> Result<()> {
        judged::add_training(training, evaluation)
    }

    fn evaluate(&self, frame: &Frame, seed: u64) -> Result<Evaluation> {
        let rows = Rows::read(frame, self)?;
        // A check may not know the classes.
        if let (None, Some(param)) = (&rows.positive, self.for_two_classes().next()) {
            return Err(Error::data(format!(
                "`{param}` is for two classes, and the target has others"
            )));
        }
        let parts = Parts::of(frame, self.part)?;
        let judged = rows.select(&parts.judged);
        let baseline = rows.select(parts.baseline()).constant();

        let mut evaluation = parts.evaluation();
        evaluation.notes = judged.unlearned(&frame.data);
        evaluation.positive = judged
            .positive
            .and_then(|class| judged.labels.get(class as usize).cloned());
        let judge = match &rows.positive {
            Some(_) if parts.validation.is_empty() => {
                Judge::Binary(self.choose_thresholds(&rows.select(parts.learned())))
            }
            Some(_) => Judge::Binary(self.choose_thresholds(&rows.select(&parts.validation))),
            None => Judge::Multiclass,
        };
        if let Judge::Binary(Thresholds { in_use, .. }) = judge
            && in_use != 0.5
        {
            evaluation.notes.push(format!(
                "rows are judged as if flagged from a score of {} on; `prediction` of the model, and of a bundle with it, still turns at 0.5",
                figure(in_use)
            ));
        }
        let figures = judge.measure(self, &judged, &baseline);
        evaluation.tables = figures.tables(&judged);
        let lifts = judged::lift_table("what needs no model", &figures.lifts(&judged, &baseline));
        evaluation.tables.extend(lifts);
        evaluation.plots = figures.plots(&judged)?;
        let by_slice: Vec<String> = match judge {
            Judge::Binary(_) => BINARY_BY_SLICE.map(str::to_owned).to_vec(),
            Judge::Multiclass => MULTICLASS_BY_SLICE.map(str::to_owned).to_vec(),
        };
        let measure = |chosen: &[usize]| {
            let figures = judge.measure(self, &rows.select(chosen), &baseline);
            MetricList {
                defined: figures.metrics,
                undefined: figures.undefined,
            }
        };
        self.further()
            .complete(&mut evaluation, frame, &parts, &by_slice, seed, &measure)?;
        if let Some(train) = parts.beside() {
            let on_train = judge.measure(self, &rows.select(train), &baseline).metrics;
            // Sums over another number of rows are no comparison.
            evaluation.train_metrics = on_train
                .into_iter()
                .filter(|(name, _)| !COST_METRICS.contains(&name.as_str()))
                .collect();
        }
        Ok(evaluation)
    }
}

/// What mistakes cost: at the threshold in use, at others, and one of these.
const COST_METRICS: [&str; 4] = [
    "cost",
    "cost_at_0_5",
    "cost_at_chosen_threshold",
    "chosen_threshold",
];

const MULTICLASS_METRICS: [&str; 9] = [
    "accuracy",
    "balanced_accuracy",
    "f1_macro",
    "f1_weighted",
    "precision_macro",
    "recall_macro",
    "roc_auc_macro",
    "log_loss",
    "baseline_accuracy",
];

/// Everything that is judged, row by row.
#[derive(Debug, Clone)]
struct Rows {
    labels: Vec<String>,
    /// The class number of the positive label, of two classes.
    positive: Option<u32>,
    truths: Vec<u32>,
    predictions: Vec<u32>,
    /// Of two classes, the probability of the positive one.
    scores: Option<Vec<f64>>,
    /// The probability that the model gave to the true class.
    of_truth: Option<Vec<f64>>,
    /// Of more classes, the largest probability of each row.
    confidences: Option<Vec<f64>>,
    /// Of more classes, the probabilities of each for all rows of the frame, however few of them stand here.
    probabilities: Option<Arc<Vec<Option<Vec<f64>>>>>,
    /// Which rows of the frame these are.
    places: Vec<usize>,
    weights: Option<Vec<f64>>,
}

/// What needs no model: the same answer for every row.
#[derive(Debug)]
struct Constant {
    /// The most frequent class.
    majority: usize,
    /// The share of each class.
    shares: Vec<f64>,
}

impl Rows {
    fn read(frame: &Frame, settings: &Classification) -> Result<Self> {
        let data = &frame.data;
        let name = target_name(&frame.schema)
            .ok_or_else(|| Error::data("no column has the role `target`"))?;
        let target = data.column(&name)?;
        let prediction = data.column(PREDICTION).map_err(|_| {
            Error::data("no model stands above, so there is no `prediction` to judge")
        })?;
        if !says_labels(prediction.dtype(), target.dtype()) {
            return Err(Error::data(format!(
                "`{PREDICTION}` is {} and the target `{name}` is {}, so the model above says no classes",
                type_name(prediction.dtype()),
                type_name(target.dtype())
            )));
        }
        // Both at once, so that a label has the same number in both.
        let mut both = target.clone();
        both.append(&prediction.cast(target.dtype())?)?;
        let known = known_labels(&frame.schema);
        if target.null_count() > 0 {
            // The message counts rows, which stand twice below.
            Classes::of(target, None)?;
        }
        let Classes { labels, mut codes } = Classes::of(&both, known.as_deref())?;
        // A class that no row has is still a class.
        let labels = match known {
            Some(known) if labels.iter().all(|label| known.contains(label)) => {
                let place = |label: &String| {
                    known.iter().position(|other| other == label).unwrap_or(0) as u32
                };
                let places: Vec<u32> = labels.iter().map(place).collect();
                codes
                    .iter_mut()
                    .for_each(|code| *code = places[*code as usize]);
                known
            }
            _ => labels,
        };
        let predictions = codes.split_off(target.len());
        let truths = codes;
        if let Some(known) = &frame.schema.facts.classes {
            let has_known = |code: &u32| known.contains(&labels[*code as usize]);
            if !truths.is_empty() && !truths.iter().any(has_known) {
                let found = Classes::of(target, None)?.labels;
                return Err(Error::data(format!(
                    "the model above says {}, and `{name}` holds none of these, but {}",
                    quoted(known),
                    quoted(&found)
                )));
            }
        }

        let weights = judged::weights(frame)?;
        let positive = if labels.len() <= 2 {
            settings.find_positive(data, &labels)?
        } else {
            None
        };
        if labels.len() > 2
            && let Some(positive) = &settings.positive
        {
            return Err(Error::data(format!(
                "`positive: {positive}` is for two classes; the rows have {}: {}",
                labels.len(),
                quoted(&labels)
            )));
        }
        let scores = positive
            .and_then(|positive| {
                let probability = format!("{PROBABILITY}{}", labels[positive as usize]);
                let of_label = data.column(&probability);
                of_label.or_else(|_| data.column(SCORE)).ok()
            })
            .map(numbers)
            .transpose()?;
        let probabilities = probabilities(data, &labels)?;
        let confidences = match (positive, &probabilities) {
            (None, Some(columns)) => Some(largest(columns, truths.len())),
            _ => None,
        };
        let of_truth = match (positive, &scores) {
            (Some(positive), Some(scores)) => {
                let of_truth = |(score, truth): (&f64, &u32)| {
                    if *truth == positive {
                        *score
                    } else {
                        1.0 - score
                    }
                };
                Some(scores.iter().zip(&truths).map(of_truth).collect())
            }
            _ => probabilities
                .as_ref()
                .map(|columns| probabilities_of_truth(columns, &truths)),
        };
        let probabilities = probabilities.filter(|_| positive.is_none()).map(Arc::new);
        Ok(Self {
            places: (0..truths.len()).collect(),
            labels,
            positive,
            truths,
            predictions,
            scores,
            of_truth,
            confidences,
            probabilities,
            weights,
        })
    }

    fn len(&self) -> usize {
        self.truths.len()
    }

    /// Which labels of these rows the model cannot say, having met them in no training row.
    fn unlearned(&self, data: &DataFrame) -> Vec<String> {
        let is_learned = |label: &String| data.column(&format!("{PROBABILITY}{label}")).is_ok();
        if !self.labels.iter().any(is_learned) {
            return Vec::new();
        }
        let unlearned = self.labels.iter().zip(0..).filter_map(|(label, code)| {
            let rows = self.truths.iter().filter(|truth| **truth == code).count();
            (rows > 0 && !is_learned(label)).then(|| {
                format!(
                    "the label `{label}` of {} is in no training row: the model cannot say it",
                    counted(rows, "row")
                )
            })
        });
        unlearned.collect()
    }

    fn select(&self, rows: &[usize]) -> Self {
        Self {
            labels: self.labels.clone(),
            positive: self.positive,
            truths: pick(&self.truths, rows),
            predictions: pick(&self.predictions, rows),
            scores: self.scores.as_ref().map(|scores| pick(scores, rows)),
            of_truth: self.of_truth.as_ref().map(|of_truth| pick(of_truth, rows)),
            confidences: self.confidences.as_ref().map(|values| pick(values, rows)),
            probabilities: self.probabilities.clone(),
            places: pick(&self.places, rows),
            weights: self.weights.as_ref().map(|weights| pick(weights, rows)),
        }
    }

    /// The most frequent class (of equally frequent ones, the first) and the classes' shares.
    fn constant(&self) -> Constant {
        let confusion = Confusion::of(
            &self.truths,
            &self.truths,
            self.weights.as_deref(),
            self.labels.len(),
        );
        let majority = (0..self.labels.len()).fold(0, |best, class| {
            if confusion.support(class) > confusion.support(best) {
                class
            } else {
                best
            }
        });
        let total = confusion.total();
        let share = |class| {
            if total > 0.0 {
                confusion.support(class) / total
            } else {
                0.0
            }
        };
        Constant {
            majority,
            shares: (0..self.labels.len()).map(share).collect(),
        }
    }

    /// Predicted probability against observed share: of the positive class, or of the class predicted.
    fn calibration(&self, bins: usize) -> Option<Vec<CalibrationBin>> {
        let weights = self.weights.as_deref();
        if let Some(scores) = &self.scores {
            return Some(calibration(scores, &self.is_positive(), weights, bins));
        }
        let right: Vec<bool> = self
            .truths
            .iter()
            .zip(&self.predictions)
            .map(|(truth, prediction)| truth == prediction)
            .collect();
        let confidences = self.confidences.as_ref()?;
        Some(calibration(confidences, &right, weights, bins))
    }

    fn is_positive(&self) -> Vec<bool> {
        self.truths
            .iter()
            .map(|truth| Some(*truth) == self.positive)
            .collect()
    }

    /// Of more classes, the rows by the probability of one of them, against all others; `None` where the model gives no probabilities,
    /// or where no row is of that class or all are.
    fn ranking_of(&self, class: usize) -> Option<Ranking> {
        let column = self.probabilities.as_ref()?.get(class)?;
        let is_class = |truth: &u32| *truth as usize == class;
        let truths: Vec<bool> = self.truths.iter().map(is_class).collect();
        if !truths.contains(&true) {
            return None;
        }
        let scores = match column {
            Some(column) => pick(column, &self.places),
            // A class that was in no training row is never said: no row is likelier to be of it than another.
            None => vec![0.0; self.len()],
        };
        let ranking = Ranking::of(&scores, &truths, self.weights.as_deref());
        (ranking.positives > 0.0 && ranking.negatives > 0.0).then_some(ranking)
    }

    /// The mean of the areas under the ROC curves of the classes, each against all others.
    fn roc_auc_macro(&self) -> Option<f64> {
        let areas: Vec<f64> = (0..self.labels.len())
            .filter_map(|class| self.ranking_of(class)?.roc_auc())
            .collect();
        mean(areas.len(), None, |class| areas[class])
    }

    fn ranking(&self) -> Option<Ranking> {
        Some(Ranking::of(
            self.scores.as_ref()?,
            &self.is_positive(),
            self.weights.as_deref(),
        ))
    }
}

impl Classification {
    /// The class number of the label to look for. The model's score says which it is: it is that label's probability.
    fn find_positive(&self, data: &DataFrame, labels: &[String]) -> Result<Option<u32>> {
        let score = data.column(SCORE).ok().map(numbers).transpose()?;
        let is_score = |label: &&String| {
            let probability = data
                .column(&format!("{PROBABILITY}{label}"))
                .ok()
                .and_then(|column| numbers(column).ok());
            probability.is_some() && probability == score
        };
        let of_score: Vec<&str> = labels.iter().filter(is_score).map(String::as_str).collect();
        let name = match (&self.positive, of_score.as_slice()) {
            (Some(wanted), _) if !labels.contains(&wanted.0) => {
                return Err(Error::data(format!(
                    "no row has the label `{wanted}`; the labels are {}",
                    quoted(labels)
                )));
            }
            (Some(wanted), _) => Some(wanted.0.as_str()),
            (None, [learned]) => Some(*learned),
            (None, _) => Classes::positive(labels),
        };
        Ok(name
            .and_then(|name| labels.iter().position(|label| label == name))
            .map(|place| place as u32))
    }

    fn choose_thresholds(&self, rows: &Rows) -> Thresholds {
        let chosen = match (&self.cost, rows.ranking()) {
            (Some(cost), Some(ranking)) => Some(ranking.cheapest(cost.per_mistake()).threshold),
            _ => None,
        };
        let in_use = match self.threshold {
            Threshold::At(threshold) => threshold,
            Threshold::Rule(ThresholdRule::Chosen) => chosen.unwrap_or(0.5),
        };
        Thresholds { in_use, chosen }
    }
}

impl Cost {
    fn per_mistake(self) -> crate::metrics::Cost {
        crate::metrics::Cost {
            missed: self.missed,
            false_alarm: self.false_alarm,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Thresholds {
    in_use: f64,
    chosen: Option<f64>,
}

/// How rows are judged: the same way for the judged part and, beside it, the training part.
enum Judge {
    Binary(Thresholds),
    Multiclass,
}

struct Figures {
    metrics: Vec<(String, f64)>,
    /// Metrics without a value, and why.
    undefined: Vec<(String, &'static str)>,
    confusion: Confusion,
    ranking: Option<Ranking>,
    /// Thresholds worth knowing, with what they do.
    operations: Vec<(String, Operation, Option<f64>)>,
    thresholds: Option<Thresholds>,
    bins: Option<Vec<CalibrationBin>>,
}

impl Judge {
    fn measure(&self, settings: &Classification, rows: &Rows, baseline: &Constant) -> Figures {
        match self {
            Self::Binary(thresholds) => measure_binary(settings, *thresholds, rows, baseline),
            Self::Multiclass => measure_multiclass(settings, rows, baseline),
        }
    }
}

fn measure_binary(
    settings: &Classification,
    thresholds: Thresholds,
    rows: &Rows,
    baseline: &Constant,
) -> Figures {
    let weights = rows.weights.as_deref();
    let positive = rows.positive.unwrap_or(0);
    let negative = if positive == 0 { 1 } else { 0 };
    let classes = rows.labels.len().max(2);
    let predictions: Vec<u32> = match &rows.scores {
        Some(scores) => scores
            .iter()
            .map(|score| {
                if *score >= thresholds.in_use {
                    positive
                } else {
                    negative
                }
            })
            .collect(),
        None => rows.predictions.clone(),
    };
    let confusion = Confusion::of(&rows.truths, &predictions, weights, classes);
    let found = confusion.figures(positive as usize);
    let ranking = rows.ranking();
    let truths = rows.is_positive();
    let total = confusion.total();
    let has_positives = found.support > 0.0;
    let has_both = has_positives && found.support < total;
    let limit = ranking
        .as_ref()
        .and_then(|ranking| ranking.at_false_alarm_rate(settings.false_alarm_rate));

    let no_score = "the model gives no score";
    let no_positive = "there is no positive row";
    let why = |missing: &'static str| if ranking.is_none() { no_score } else { missing };
    let one_class = "the rows are all of one class";
    let mut list = MetricList::default();
    list.add(
        "average_precision",
        ranking.as_ref().and_then(Ranking::average_precision),
        why(no_positive),
    );
    list.add(
        "roc_auc",
        ranking.as_ref().and_then(Ranking::roc_auc),
        why(one_class),
    );
    let recall_at = limit.map(|limit| limit.true_positives / found.support);
    list.add(
        &settings.recall_at_false_alarms(),
        recall_at,
        why(one_class),
    );
    list.add("precision", Some(found.precision), "");
    list.add("recall", has_positives.then_some(found.recall), no_positive);
    list.add("f1", has_positives.then_some(found.f1), no_positive);
    list.add("accuracy", confusion.accuracy(), "the rows have no weight");
    list.add(
        "balanced_accuracy",
        has_both.then(|| confusion.balanced_accuracy()).flatten(),
        one_class,
    );
    list.add(
        "log_loss",
        rows.of_truth
            .as_ref()
            .and_then(|of_truth| log_loss(of_truth, weights)),
        no_score,
    );
    list.add(
        "brier",
        rows.scores
            .as_ref()
            .and_then(|scores| brier(scores, &truths, weights)),
        no_score,
    );

    let mut operations = Vec::new();
    if let Some(ranking) = &ranking {
        let price = |operation: Operation| {
            settings
                .cost
                .map(|cost| ranking.cost(operation, cost.per_mistake()))
        };
        let mut operate = |name: String, operation: Operation| {
            operations.push((name, operation, price(operation)));
            price(operation)
        };
        let in_use = operate("in use".into(), ranking.at(thresholds.in_use));
        let at_half = operate("0.5".into(), ranking.at(0.5));
        let at_chosen = thresholds
            .chosen
            .and_then(|chosen| operate("chosen".into(), ranking.at(chosen)));
        if let Some(limit) = limit {
            let percent = (settings.false_alarm_rate * 1e8).round() / 1e6;
            operate(format!("{percent} % false alarms"), limit);
        }
        if settings.cost.is_some() {
            list.add("cost", in_use, no_score);
            list.add("cost_at_0_5", at_half, no_score);
            list.add("cost_at_chosen_threshold", at_chosen, no_score);
            list.add("chosen_threshold", thresholds.chosen, no_score);
        }
    } else if settings.cost.is_some() {
        let missed = found.support - confusion.cell(positive as usize, positive as usize);
        let false_alarms = confusion.cell(negative as usize, positive as usize);
        list.add(
            "cost",
            settings
                .cost
                .map(|cost| cost.missed * missed + cost.false_alarm * false_alarms),
            "",
        );
        for name in &COST_METRICS[1..] {
            list.add(name, None, no_score);
        }
    }
    list.add(
        "baseline_average_precision",
        has_positives.then(|| found.support / total),
        no_positive,
    );
    list.add(
        "baseline_accuracy",
        (total > 0.0).then(|| confusion.support(baseline.majority) / total),
        "the rows have no weight",
    );
    let bins = rows.calibration(settings.bins());
    if settings.calibration.is_some() {
        let error = bins.as_deref().and_then(calibration_error);
        list.add(CALIBRATION_ERROR, error, no_score);
    }
    let MetricList {
        defined: metrics,
        undefined,
    } = list;
    let thresholds = ranking.is_some().then_some(thresholds);
    Figures {
        metrics,
        undefined,
        confusion,
        ranking,
        operations,
        thresholds,
        bins,
    }
}

fn measure_multiclass(settings: &Classification, rows: &Rows, baseline: &Constant) -> Figures {
    let weights = rows.weights.as_deref();
    let confusion = Confusion::of(&rows.truths, &rows.predictions, weights, rows.labels.len());
    let total = confusion.total();
    let mut list = MetricList::default();
    let loss = rows
        .of_truth
        .as_ref()
        .and_then(|of_truth| log_loss(of_truth, weights));
    let values = [
        confusion.accuracy(),
        confusion.balanced_accuracy(),
        confusion.macro_mean(|figures| figures.f1),
        confusion.weighted_mean(|figures| figures.f1),
        confusion.macro_mean(|figures| figures.precision),
        confusion.macro_mean(|figures| figures.recall),
        rows.roc_auc_macro(),
        loss,
        (total > 0.0).then(|| confusion.support(baseline.majority) / total),
    ];
    for (name, value) in MULTICLASS_METRICS.into_iter().zip(values) {
        let why = match name {
            "log_loss" | "roc_auc_macro" if rows.of_truth.is_none() => {
                "the model gives no probabilities"
            }
            "roc_auc_macro" => "the rows are all of one class",
            _ => "the rows have no weight",
        };
        list.add(name, value, why);
    }
    let bins = rows.calibration(settings.bins());
    if settings.calibration.is_some() {
        let error = bins.as_deref().and_then(calibration_error);
        list.add(CALIBRATION_ERROR, error, "the model gives no probabilities");
    }
    let MetricList {
        defined: metrics,
        undefined,
    } = list;
    Figures {
        metrics,
        undefined,
        confusion,
        ranking: None,
        operations: Vec::new(),
        thresholds: None,
        bins,
    }
}

impl Figures {
    fn tables(&self, rows: &Rows) -> Vec<Table> {
        let mut tables = vec![self.confusion_table(rows), self.class_table(rows)];
        if let Some(ranking) = &self.ranking {
            tables.push(self.operation_table(ranking));
        }
        tables.extend(
            self.bins
                .as_deref()
                .map(|bins| calibration_table(bins, rows)),
        );
        tables
    }

    fn lifts(&self, rows: &Rows, baseline: &Constant) -> Vec<Lift> {
        let weights = rows.weights.as_deref();
        let found = |name: &str| {
            let mut metrics = self.metrics.iter();
            metrics
                .find(|(known, _)| known == name)
                .map(|(_, value)| *value)
        };
        let of_truth: Vec<f64> = rows
            .truths
            .iter()
            .map(|truth| baseline.shares[*truth as usize])
            .collect();
        let share = rows.positive.map(|class| baseline.shares[class as usize]);
        let constant = share.map(|share| vec![share; rows.len()]);
        let candidates = [
            (
                "average_precision",
                found("baseline_average_precision"),
                1.0,
            ),
            ("roc_auc", Some(0.5), 1.0),
            ("roc_auc_macro", Some(0.5), 1.0),
            ("accuracy", found("baseline_accuracy"), 1.0),
            ("log_loss", log_loss(&of_truth, weights), 0.0),
            (
                "brier",
                constant.and_then(|scores| brier(&scores, &rows.is_positive(), weights)),
                0.0,
            ),
        ];
        let lift = |(name, baseline, best): (&str, Option<f64>, f64)| {
            Some(Lift {
                metric: name.to_owned(),
                model: found(name)?,
                baseline: baseline?,
                best,
            })
        };
        candidates.into_iter().filter_map(lift).collect()
    }

    fn confusion_table(&self, rows: &Rows) -> Table {
        let classes = self.confusion.classes().min(rows.labels.len());
        let columns = std::iter::once("truth \\ prediction".to_owned())
            .chain(rows.labels.iter().cloned())
            .collect();
        let line = |truth: usize| {
            let cells =
                (0..classes).map(|prediction| amount(self.confusion.cell(truth, prediction)));
            std::iter::once(rows.labels[truth].clone())
                .chain(cells)
                .collect()
        };
        Table {
            name: "confusion_matrix".into(),
            title: "Confusion matrix".into(),
            columns,
            rows: (0..classes).map(line).collect(),
        }
    }

    fn class_table(&self, rows: &Rows) -> Table {
        let line = |(class, label): (usize, &String)| {
            let figures = self.confusion.figures(class);
            vec![
                label.clone(),
                amount(figures.support),
                share(figures.precision),
                share(figures.recall),
                share(figures.f1),
            ]
        };
        Table {
            name: "per_class".into(),
            title: "Figures by class".into(),
            columns: ["class", "rows", "precision", "recall", "f1"]
                .map(str::to_owned)
                .to_vec(),
            rows: rows.labels.iter().enumerate().map(line).collect(),
        }
    }

    fn operation_table(&self, ranking: &Ranking) -> Table {
        let with_cost = self.operations.iter().any(|(_, _, cost)| cost.is_some());
        let mut columns = ["threshold", "score", "precision", "recall", "false alarms"]
            .map(str::to_owned)
            .to_vec();
        columns.extend(with_cost.then(|| "cost".to_owned()));
        let ratio = |part: f64, whole: f64| {
            if whole > 0.0 {
                share(part / whole)
            } else {
                "–".to_owned()
            }
        };
        let line = |(name, operation, cost): &(String, Operation, Option<f64>)| {
            let flagged = operation.true_positives + operation.false_positives;
            let mut cells = vec![
                name.clone(),
                share(operation.threshold),
                ratio(operation.true_positives, flagged),
                ratio(operation.true_positives, ranking.positives),
                ratio(operation.false_positives, ranking.negatives),
            ];
            cells.extend(cost.map(amount));
            cells
        };
        Table {
            name: "thresholds".into(),
            title: "Thresholds".into(),
            columns,
            rows: self.operations.iter().map(line).collect(),
        }
    }

    fn plots(&self, rows: &Rows) -> Result<Vec<Plot>> {
        let mut plots = Vec::new();
        if let (Some(ranking), Some(thresholds)) = (&self.ranking, self.thresholds) {
            if let Some(average) = ranking.average_precision() {
                plots.push(plots::precision_recall(
                    ranking,
                    average,
                    thresholds.in_use,
                )?);
            }
            if let Some(area) = ranking.roc_auc() {
                plots.push(plots::roc(ranking, area, thresholds.in_use)?);
            }
        }
        plots.extend(self.curves_by_class(rows)?);
        plots.push(plots::confusion(&self.confusion, &rows.labels)?);
        if rows.scores.is_none() && rows.labels.len() > 2 {
            plots.push(plots::per_class(&self.confusion, &rows.labels)?);
        }
        if let Some(bins) = &self.bins {
            let axes = match rows.scores {
                Some(_) => ("predicted probability", "share that is positive"),
                None => ("largest probability", "share predicted right"),
            };
            plots.push(plots::calibration(bins, calibration_error(bins), axes)?);
        }
        Ok(plots)
    }

    /// Of more than two classes, the curves of each against all others; of very many classes, those of the most frequent ones.
    fn curves_by_class(&self, rows: &Rows) -> Result<Vec<Plot>> {
        let count = rows.labels.len();
        if rows.positive.is_some() || count <= 2 {
            return Ok(Vec::new());
        }
        let supports: Vec<f64> = (0..count)
            .map(|class| self.confusion.support(class))
            .collect();
        let mut classes: Vec<usize> = (0..count).collect();
        // Stable: of equally frequent classes the first.
        classes.sort_by(|one, other| supports[*other].total_cmp(&supports[*one]));
        let mut shown: Vec<(usize, Ranking)> = classes
            .into_iter()
            .filter_map(|class| Some((class, rows.ranking_of(class)?)))
            .take(plots::MOST_CURVES)
            .collect();
        if shown.is_empty() {
            return Ok(Vec::new());
        }
        shown.sort_by_key(|(class, _)| *class);
        let curves: Vec<(&str, Ranking)> = shown
            .into_iter()
            .map(|(class, ranking)| (rows.labels[class].as_str(), ranking))
            .collect();
        let mut metrics = self.metrics.iter();
        let mean = metrics.find(|(name, _)| name == "roc_auc_macro");
        Ok(vec![
            plots::precision_recall_by_class(&curves, count)?,
            plots::roc_by_class(&curves, count, mean.map(|(_, value)| *value))?,
        ])
    }
}

/// Predicted probability against observed share, range by range.
fn calibration_table(bins: &[CalibrationBin], rows: &Rows) -> Table {
    let observed = if rows.scores.is_some() {
        "share positive"
    } else {
        "share right"
    };
    let error = calibration_error(bins).map_or(String::new(), |error| {
        format!(" (expected calibration error {})", judged::figure(error))
    });
    Table {
        name: "calibration".into(),
        title: format!("Calibration{error}"),
        columns: ["predicted", "rows", observed].map(str::to_owned).to_vec(),
        rows: bins
            .iter()
            .map(|bin| {
                vec![
                    share(bin.predicted),
                    amount(bin.weight),
                    share(bin.observed),
                ]
            })
            .collect(),
    }
}

/// The probabilities of each class, none for a class that the model has never seen; `None` where the model gives none at all.
fn probabilities(data: &DataFrame, labels: &[String]) -> Result<Option<Vec<Option<Vec<f64>>>>> {
    let columns = labels
        .iter()
        .map(|label| {
            data.column(&format!("{PROBABILITY}{label}"))
                .ok()
                .map(numbers)
                .transpose()
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(columns.iter().any(Option::is_some).then_some(columns))
}

/// The probability that each row's true class got; of a label that the model has never seen, none at all.
fn probabilities_of_truth(columns: &[Option<Vec<f64>>], truths: &[u32]) -> Vec<f64> {
    let of_truth = |(row, truth): (usize, &u32)| {
        columns[*truth as usize]
            .as_ref()
            .map_or(0.0, |column| column[row])
    };
    truths.iter().enumerate().map(of_truth).collect()
}

/// The largest probability of each row.
fn largest(columns: &[Option<Vec<f64>>], rows: usize) -> Vec<f64> {
    let of_row = |row: usize| {
        let values = columns.iter().flatten().map(|column| column[row]);
        values.fold(0.0, f64::max)
    };
    (0..rows).map(of_row).collect()
}

/// The labels, where they are known before any row is read.
/// Whether predictions of that type can be labels of a target of the other: an amount is no class, though a number may be one.
fn says_labels(prediction: &DataType, target: &DataType) -> bool {
    let is_text = |dtype: &DataType| !dtype.is_primitive_numeric() && *dtype != DataType::Boolean;
    !prediction.is_float() && is_text(prediction) == is_text(target)
}

fn known_labels(schema: &Schema) -> Option<Vec<String>> {
    if let Some(classes) = &schema.facts.classes {
        return Some(classes.clone());
    }
    let target = schema.column(&target_name(schema)?)?;
    match target.dtype {
        DataType::Boolean => Some(vec!["false".into(), "true".into()]),
        _ => target.categories.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use polars::prelude::df;
    use taktline_core::{Capabilities, Column, Registry, Severity, serde_yaml};

    use super::*;
    use crate::judged::testing;

    fn stage(params: &str) -> Classification {
        serde_yaml::from_str(params).expect("params")
    }

    fn frame(data: DataFrame, target: &str) -> Frame {
        let mut schema = Schema::from_polars(data.schema());
        for column in &mut schema.columns {
            let role = match column.name.as_str() {
                name if name == target => Role::Target,
                "weight" => Role::Weight,
                _ => Role::Internal,
            };
            *column = column.clone().with_role(role);
        }
        schema.facts.model_target = Some(target.to_owned());
        Frame { data, schema }
    }

    fn close(evaluation: &Evaluation, name: &str, expected: f64) {
        let found = evaluation.metric(name).expect("the metric");
        assert!(
            (found - expected).abs() < 1e-9,
            "{name}: {found} is not {expected}"
        );
    }

    /// The rows of tests/peers/metrics.py, case "many rows": 5,000 scores on a grid of 1/64, and truths.
    fn many_rows() -> (Vec<f64>, Vec<bool>) {
        let mut state = 12345_u64;
        let mut draw = || {
            state = (state * 1_103_515_245 + 12345) % (1 << 31);
            state >> 12
        };
        (0..5000)
            .map(|_| {
                let score = (draw() % 65) as f64 / 64.0;
                (score, ((draw() % 1000) as f64) < 300.0 * score * score)
            })
            .unzip()
    }

    fn payments(partition: impl Fn(usize) -> &'static str) -> Frame {
        let (scores, truths) = many_rows();
        let predictions: Vec<bool> = scores.iter().map(|score| *score >= 0.5).collect();
        let others: Vec<f64> = scores.iter().map(|score| 1.0 - score).collect();
        let parts: Vec<&str> = (0..scores.len()).map(partition).collect();
        let data = df!(
            "is_fraud" => truths,
            "prediction" => predictions,
            "score" => scores.clone(),
            "probability_true" => scores,
            "probability_false" => others,
            PARTITION => parts,
        );
        frame(data.expect("a frame"), "is_fraud")
    }

    #[test]
    fn binary_figures_as_scikit_learn() {
        let evaluation = stage("{false_alarm_rate: 0.05}")
            .evaluate(&payments(|_| "test"), 1)
            .expect("an evaluation");
        assert_eq!((evaluation.rows, evaluation.part.as_str()), (5000, "test"));
        for (name, expected) in [
            ("average_precision", 0.26099620784652217),
            ("roc_auc", 0.790860372321295),
            ("recall_at_5pct_false_alarms", 0.21135029354207435),
            ("precision", 0.17969059896866324),
            ("recall", 0.8864970645792564),
            ("f1", 0.29881266490765174),
            ("balanced_accuracy", 0.7129076991419339),
            ("log_loss", 1.1278637795648037),
            ("brier", 0.28022919921875),
            ("baseline_average_precision", 0.1022),
            ("baseline_accuracy", 0.8978),
        ] {
            close(&evaluation, name, expected);
        }
        let plots: Vec<&str> = evaluation
            .plots
            .iter()
            .map(|plot| plot.name.as_str())
            .collect();
        assert_eq!(
            plots,
            ["precision_recall", "roc", "confusion", "calibration"]
        );
        assert!(evaluation.train_metrics.is_empty());
    }

    #[test]
    fn produces_what_it_announced() {
        let stage = stage("{cost: {missed: 50, false_alarm: 1}, false_alarm_rate: 0.001}");
        let frame = payments(|row| if row % 4 == 0 { "test" } else { "train" });
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        let produced: Vec<&String> = evaluation.metrics.iter().map(|(name, _)| name).collect();
        assert_eq!(
            produced,
            stage.metrics(&frame.schema).iter().collect::<Vec<_>>()
        );
        assert!(produced.contains(&&"recall_at_0.1pct_false_alarms".to_owned()));
        assert_eq!(evaluation.rows, 1250);
        assert!(
            evaluation
                .train_metrics
                .iter()
                .all(|(name, _)| !COST_METRICS.contains(&name.as_str()))
        );
        assert_eq!(evaluation.train_metrics.len() + 4, evaluation.metrics.len());
        let json = serde_json::to_string(&evaluation).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Evaluation>(&json).expect("an evaluation"),
            evaluation
        );
    }

    #[test]
    fn the_cheapest_threshold_is_chosen_on_other_rows() {
        // Alone, the test rows would choose 0.2; the validation rows say 0.6.
        let data = df!(
            "is_fraud" => [true, false, true, false, true, false],
            "prediction" => [true, false, true, true, true, true],
            "score" => [0.2, 0.1, 0.6, 0.5, 0.9, 0.8],
            "probability_true" => [0.2, 0.1, 0.6, 0.5, 0.9, 0.8],
            "probability_false" => [0.8, 0.9, 0.4, 0.5, 0.1, 0.2],
            PARTITION => ["test", "test", "validation", "validation", "train", "train"],
        );
        let frame = frame(data.expect("a frame"), "is_fraud");
        let stage = stage("{cost: {missed: 10, false_alarm: 1}, threshold: chosen}");
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        close(&evaluation, "chosen_threshold", 0.6);
        close(&evaluation, "cost_at_chosen_threshold", 10.0);
        close(&evaluation, "cost", 10.0);
        close(&evaluation, "recall", 0.0);
    }

    #[test]
    fn finds_the_positive_class_from_the_score() {
        let data = df!(
            "diagnosis" => ["B", "B", "M", "M"],
            "prediction" => ["B", "B", "B", "M"],
            "score" => [0.9, 0.8, 0.6, 0.1],
            "probability_B" => [0.9, 0.8, 0.6, 0.1],
            "probability_M" => [0.1, 0.2, 0.4, 0.9],
        );
        let frame = frame(data.expect("a frame"), "diagnosis");
        let evaluation = stage("{}").evaluate(&frame, 1).expect("an evaluation");
        assert_eq!(evaluation.part, "all");
        close(&evaluation, "precision", 2.0 / 3.0);
        close(&evaluation, "roc_auc", 1.0);
        assert_eq!(evaluation.positive.as_deref(), Some("B"));
        // Another one may be looked for, and is judged by its own probability.
        let evaluation = stage("{positive: M}")
            .evaluate(&frame, 1)
            .expect("an evaluation");
        assert_eq!(evaluation.positive.as_deref(), Some("M"));
        close(&evaluation, "precision", 1.0);
        close(&evaluation, "recall", 0.5);
        close(&evaluation, "roc_auc", 1.0);
        let error = stage("{positive: X}")
            .evaluate(&frame, 1)
            .expect_err("there is no X")
            .to_string();
        assert!(error.contains("no row has the label `X`"), "{error}");
    }

    #[test]
    fn amounts_are_no_classes() {
        let data = df!(
            "count" => [1_i64, 2, 2],
            "prediction" => [1.4, 1.6, 2.1],
        );
        let frame = frame(data.expect("a frame"), "count");
        let error = stage("{}")
            .evaluate(&frame, 1)
            .expect_err("a model of amounts")
            .to_string();
        assert_eq!(
            error,
            "`prediction` is f64 and the target `count` is i64, so the model above says no classes"
        );
    }

    #[test]
    fn many_classes() {
        let data = df!(
            "digit" => [0_u8, 0, 1, 1, 2, 2],
            "prediction" => [0_u8, 1, 1, 1, 2, 0],
            "probability_0" => [0.5, 0.2, 0.25, 0.1, 0.1, 0.5],
            "probability_1" => [0.25, 0.5, 0.5, 0.8, 0.1, 0.25],
            "probability_2" => [0.25, 0.3, 0.25, 0.1, 0.8, 0.25],
            "weight" => [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
            PARTITION => ["test"; 6],
        );
        let frame = frame(data.expect("a frame"), "digit");
        let evaluation = stage("{}").evaluate(&frame, 1).expect("an evaluation");
        close(&evaluation, "accuracy", 0.8);
        close(&evaluation, "balanced_accuracy", (0.5 + 1.0 + 1.0) / 3.0);
        let loss = [0.5_f64, 0.2, 0.5, 0.8, 0.8]
            .iter()
            .map(|probability| -probability.ln())
            .sum::<f64>()
            / 5.0;
        close(&evaluation, "log_loss", loss);
        // Pairs in the right order: of 0 five of six (0.2 lies below the 0.25 of a 1), of 1 five and a tie of six, of 2 all four. The last
        // row counts nothing.
        close(
            &evaluation,
            "roc_auc_macro",
            (5.0 / 6.0 + 5.5 / 6.0 + 1.0) / 3.0,
        );
        close(&evaluation, "baseline_accuracy", 0.4);
        assert_eq!(evaluation.tables[0].rows[0], ["0", "1", "1", "0"]);
        let plots: Vec<&str> = evaluation
            .plots
            .iter()
            .map(|plot| plot.name.as_str())
            .collect();
        assert_eq!(
            plots,
            [
                "precision_recall",
                "roc",
                "confusion",
                "per_class",
                "calibration"
            ]
        );
        assert_eq!(evaluation.plots[1].title, "ROC by class");
        assert!(evaluation.plots[1].svg.contains("mean area 0.917"));
        assert!(stage("{positive: 1}").evaluate(&frame, 1).is_err());
    }

    #[test]
    fn classes_that_do_not_occur_or_were_never_learned_have_no_say_in_the_area() {
        let data = df!(
            "kind" => ["a", "a", "b", "b", "d"],
            "prediction" => ["a", "b", "b", "b", "a"],
            "probability_a" => [0.75, 0.5, 0.25, 0.125, 0.75],
            "probability_b" => [0.125, 0.25, 0.5, 0.75, 0.125],
            "probability_c" => [0.125, 0.25, 0.25, 0.125, 0.125],
        );
        let mut frame = frame(data.expect("a frame"), "kind");
        frame.schema.facts.classes = Some(["a", "b", "c", "d"].map(str::to_owned).to_vec());
        let evaluation = stage("{}").evaluate(&frame, 1).expect("an evaluation");
        // a: 0.75 lies above two and ties with d, 0.5 above two: 4.5 of 6. b: all six. c: no row. d: the model cannot say it, so that its
        // row ties with all others.
        close(&evaluation, "roc_auc_macro", (4.5 / 6.0 + 1.0 + 0.5) / 3.0);
        let roc = &evaluation.plots[1];
        assert_eq!(roc.title, "ROC by class: the 3 of 4 that occur");

        let without = df!("kind" => ["a", "b", "c"], "prediction" => ["a", "b", "b"]);
        let without = self::frame(without.expect("a frame"), "kind");
        let evaluation = stage("{}").evaluate(&without, 1).expect("an evaluation");
        assert_eq!(evaluation.metric("roc_auc_macro"), None);
        assert_eq!(evaluation.plots[0].name, "confusion");
        let why = testing::table(&evaluation, "undefined_metrics");
        assert!(why.rows.contains(&vec![
            "roc_auc_macro".to_owned(),
            "the model gives no probabilities".to_owned()
        ]));
    }

    #[test]
    fn of_many_classes_the_most_frequent_have_curves() {
        // Class n has n + 1 rows, of thirteen.
        let truths: Vec<String> = (0..13)
            .flat_map(|class| vec![format!("c{class:02}"); class + 1])
            .collect();
        let mut data = df!("kind" => &truths, "prediction" => &truths).expect("a frame");
        for class in 0..13 {
            let label = format!("c{class:02}");
            let sure: Vec<f64> = truths
                .iter()
                .map(|truth| f64::from(u8::from(*truth == label)))
                .collect();
            let name = format!("probability_{label}");
            data.with_column(polars::prelude::Column::new(name.into(), sure))
                .expect("a column");
        }
        let evaluation = stage("{}")
            .evaluate(&frame(data, "kind"), 1)
            .expect("an evaluation");
        close(&evaluation, "roc_auc_macro", 1.0);
        let curves = &evaluation.plots[..2];
        for plot in curves {
            assert!(
                plot.title.ends_with(": the 10 most frequent of 13"),
                "{}",
                plot.title
            );
            assert!(plot.svg.contains("c03") && !plot.svg.contains("c02"));
        }
    }

    #[test]
    fn slices_intervals_and_calibration() {
        let whole = payments(|_| "test");
        let regions: Vec<&str> = (0..5000)
            .map(|row| if row % 5 == 0 { "south" } else { "north" })
            .collect();
        let mut data = whole.data.clone();
        data.with_column(polars::prelude::Column::new("region".into(), &regions))
            .expect("a column");
        let frame = frame(data, "is_fraud");
        let stage = stage("{by: region, bootstrap: {samples: 100}, calibration: {bins: 10}}");
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        testing::announced(&stage, &frame, &evaluation);
        // tests/peers/metrics.py, case "many rows".
        close(&evaluation, CALIBRATION_ERROR, 0.39569375);
        let title = &testing::table(&evaluation, "calibration").title;
        assert!(title.ends_with("error 0.3957)"), "{title}");

        // A slice has the figures of its rows alone.
        let alone = |region: &str| {
            let rows: Vec<u32> = (0..5000_u32)
                .filter(|row| regions[*row as usize] == region)
                .collect();
            let rows = polars::prelude::IdxCa::from_vec("rows".into(), rows);
            let data = whole.data.take(&rows).expect("rows");
            let evaluation = self::stage("{}").evaluate(&self::frame(data, "is_fraud"), 1);
            evaluation.expect("an evaluation")
        };
        let [north, south] = ["north", "south"].map(alone);
        let of_both = |name| [&north, &south].map(|part| part.metric(name).expect("a metric"));
        let [one, other] = of_both("roc_auc");
        close(&evaluation, "worst_roc_auc", one.min(other));
        let [one, other] = of_both("log_loss");
        close(&evaluation, "worst_log_loss", one.max(other));
        let slices = testing::table(&evaluation, "by_region");
        assert_eq!(slices.rows[0][..2], ["north", "4,000"]);
        assert_eq!(slices.rows[1][3], share(of_both("roc_auc")[1]));

        // The standard error of an area (Hanley and McNeil, 1982) is 0.011 here, so that 95 % are within about 0.022.
        let intervals = evaluation.intervals.as_ref().expect("intervals");
        let (low, high) = intervals.of("roc_auc").expect("an interval");
        assert!(
            low > 0.75 && low < 0.785 && high > 0.797 && high < 0.83,
            "{low} {high}"
        );
    }

    #[test]
    fn lift_over_what_needs_no_model() {
        let evaluation = stage("{}")
            .evaluate(&payments(|_| "test"), 1)
            .expect("an evaluation");
        let table = testing::table(&evaluation, "baseline");
        // tests/peers/metrics.py, case "many rows".
        assert_eq!(table.rows[1], ["roc_auc", "0.7909", "0.5000", "58.2 %"]);
        assert_eq!(table.rows[3][..3], ["log_loss", "1.1279", "0.3299"]);
        assert_eq!(table.rows[4][..3], ["brier", "0.2802", "0.0918"]);
        assert!(table.rows[4][3].starts_with('-'));
    }

    #[test]
    fn metrics_without_a_value_are_listed_not_made_up() {
        let data = df!(
            "is_fraud" => [false, false],
            "prediction" => [false, true],
            "score" => [0.1, 0.7],
            PARTITION => ["test", "test"],
        );
        let frame = frame(data.expect("a frame"), "is_fraud");
        let evaluation = stage("{}").evaluate(&frame, 1).expect("an evaluation");
        assert_eq!(evaluation.metric("recall"), None);
        assert!(
            evaluation
                .metrics
                .iter()
                .all(|(_, value)| value.is_finite())
        );
        close(&evaluation, "accuracy", 0.5);
        let table = evaluation
            .tables
            .iter()
            .find(|table| table.name == "undefined_metrics")
            .expect("a table");
        assert!(table.rows.contains(&vec![
            "recall".to_owned(),
            "there is no positive row".to_owned()
        ]));
        assert!(stage("{part: train}").evaluate(&frame, 1).is_err());
    }

    fn check(params: &str, input: &Schema) -> Vec<Problem> {
        let capabilities = Capabilities::default();
        let mut cx = CheckContext {
            stage: "classification",
            seed: 1,
            directory: Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        stage(params).check(std::slice::from_ref(input), &mut cx);
        cx.problems
    }

    #[test]
    fn check_finds_every_problem() {
        let mut schema = payments(|_| "test").schema;
        schema.facts.partitions = vec![Partition::Train, Partition::Test];
        let codes = |params: &str, input: &Schema| {
            check(params, input)
                .iter()
                .map(|problem| problem.code)
                .collect::<Vec<_>>()
        };
        assert!(codes("{}", &schema).is_empty());
        assert_eq!(
            codes(
                "{part: validation, threshold: chosen, positive: maybe}",
                &schema
            ),
            ["unknown-part", "missing-param", "unknown-label"]
        );
        let mut many = schema.clone();
        many.facts.classes = Some(["a", "b", "c"].map(str::to_owned).to_vec());
        assert_eq!(
            codes("{cost: {missed: 1, false_alarm: 1}, positive: a}", &many),
            ["not-binary", "not-binary"]
        );
        let bare = Schema::new(vec![Column::new("amount", DataType::Float64)]);
        let problems = check("{}", &bare);
        assert_eq!(
            problems
                .iter()
                .map(|problem| problem.code)
                .collect::<Vec<_>>(),
            ["no-model", "no-target", "no-split"]
        );
        assert_eq!(problems[2].severity, Severity::Warning);
    }

    #[test]
    fn announces_both_lists_where_only_rows_know_the_labels() {
        let mut schema = Schema::new(vec![
            Column::new("label", DataType::Int64).with_role(Role::Target),
            Column::new(PREDICTION, DataType::Int64).with_role(Role::Internal),
        ]);
        schema.facts.model_target = Some("label".into());
        let metrics = stage("{}").metrics(&schema);
        assert!(
            metrics.contains(&"average_precision".to_owned())
                && metrics.contains(&"f1_macro".to_owned())
        );
        assert_eq!(metrics.iter().collect::<BTreeSet<_>>().len(), metrics.len());
        assert!(
            !stage("{positive: 1}")
                .metrics(&schema)
                .contains(&"f1_macro".to_owned())
        );
    }

    #[test]
    fn the_example_is_a_stage() {
        let registry = Registry::collect().expect("no kind twice");
        let kind = registry.get("evaluate.classification").expect("registered");
        let stages: Vec<serde_yaml::Mapping> = serde_yaml::from_str(kind.example).expect("YAML");
        assert!((kind.parse)(&stages[0][kind.name]).is_ok());
        assert!(kind.about().starts_with("Judges the predictions"));
    }
}
