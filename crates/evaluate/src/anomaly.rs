//! `evaluate.anomaly`

use std::collections::BTreeSet;

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Classes, Error, Evaluate, Evaluation, Frame, Label, PARTITION, Partition,
    Problem, Result, Role, Schema, Shape, Stage, Table, Training,
    classifier::{PREDICTION, SCORE},
    path, register_kind, type_name,
};

use crate::{
    bootstrap::Bootstrap,
    further::Further,
    judged::{self, Lift, MetricList, Parts, amount, pick, quoted, share, target_name},
    metrics::{Ranking, mean},
    plots,
    slices::By,
};

/// Judges the scores of the anomaly model above: how many rows it flags and, where labels are known, how well.
///
/// It always gives `flagged_share`, the share of rows that the model calls anomalous. Where a column of labels has the role `target`
/// also `average_precision` and `roc_auc` of the scores; `precision`, `recall`, `f1` and `false_alarm_rate` (the share of ordinary rows
/// that are flagged) at the model's own threshold; `r_precision`, the share of anomalous rows among as many highest scores as there
/// are anomalous rows; and `baseline_average_precision`, the share of anomalous rows, which chance reaches. With `k` also
/// `precision_at_…` and `recall_at_…` of the so many highest scores: what people see who look at the first 100. Of rows with one
/// score, those that fit into the first `k` count as the mean of all.
///
/// With `by`, a table shows `flagged_share` of each slice and, where labels are known, `average_precision`, `roc_auc`, `precision` and
/// `recall`; `worst_roc_auc` and so on are those of the worst slice. With `bootstrap` every metric comes with an interval. Rows count
/// by the column with role `weight`. A metric without a value for the rows at hand is left out and listed in the table
/// `undefined_metrics`; a gate on it fails.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Anomaly {
    /// The rows to judge: `test`, `validation` or `train`. Default: `test` below a split, else all rows.
    part: Option<Partition>,
    /// The label of anomalous rows. Default, of two labels: `true`, else `1`, else the last.
    positive: Option<Label>,
    /// How many of the highest scores to look at: a number, or several.
    k: Option<Counts>,
    /// Columns whose values part the rows into slices, each with its own figures.
    by: Option<By>,
    /// Intervals of the metrics, by drawing the judged rows again.
    bootstrap: Option<Bootstrap>,
}

/// How many rows from the top: a number, or several.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Counts {
    /// A number of rows.
    One(#[schemars(range(min = 1))] usize),
    /// Several.
    Many(#[schemars(length(min = 1))] Vec<usize>),
}

impl Counts {
    pub(crate) fn list(&self) -> &[usize] {
        match self {
            Self::One(count) => std::slice::from_ref(count),
            Self::Many(counts) => counts,
        }
    }

    /// Reports none and doubles.
    pub(crate) fn check(&self, cx: &mut CheckContext<'_>) {
        for (index, count) in self.list().iter().enumerate() {
            let place = match self {
                Self::One(_) => path!["k"],
                Self::Many(_) => path!["k", index],
            };
            if *count == 0 {
                let message = "the first 0 rows are none; look at 1 or more";
                cx.report(Problem::error("out-of-range", place, message));
            } else if self.list()[..index].contains(count) {
                let message = format!("`k` names {count} twice");
                cx.report(Problem::error("duplicate", place, message));
            }
        }
    }
}

register_kind! {
    Anomaly, "evaluate.anomaly", version: 1,
    example: "- evaluate.anomaly: {k: [50, 200]}",
}

const LABELLED: [&str; 7] = [
    "average_precision",
    "roc_auc",
    "precision",
    "recall",
    "f1",
    "false_alarm_rate",
    "r_precision",
];
const BASELINE: &str = "baseline_average_precision";
const FLAGGED: &str = "flagged_share";

impl Stage for Anomaly {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return judged::no_input();
        };
        judged::check_model(input, SCORE, cx);
        Self::check_prediction(input, cx);
        judged::check_part_exists(self.part, input, cx);
        let target = target_name(input).and_then(|name| input.column(&name));
        match target {
            Some(target) if !Classes::can_hold(&target.dtype) => cx.report(Problem::error(
                "wrong-type",
                path![],
                format!(
                    "the target `{}` is {}, which holds no labels",
                    target.name,
                    type_name(&target.dtype)
                ),
            )),
            None if !input.incomplete => {
                for (param, given) in [
                    ("positive", self.positive.is_some()),
                    ("k", self.k.is_some()),
                ] {
                    if given {
                        cx.report(
                            Problem::error(
                                "no-target",
                                path![param],
                                format!(
                                    "`{param}` needs labels, and no column has the role `target`"
                                ),
                            )
                            .help("give one column `role: target` under `columns:`"),
                        );
                    }
                }
            }
            _ => {}
        }
        if let Some(counts) = &self.k {
            counts.check(cx);
        }
        self.further().check(input, cx);
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Evaluate(self)
    }
}

/// Everything that is judged, row by row.
struct Rows {
    scores: Vec<f64>,
    flagged: Vec<bool>,
    truths: Option<Vec<bool>>,
    weights: Option<Vec<f64>>,
}

impl Rows {
    fn ranking(&self, chosen: &[usize]) -> Option<Ranking> {
        let truths = pick(self.truths.as_ref()?, chosen);
        let weights = self.weights.as_ref().map(|weights| pick(weights, chosen));
        Some(Ranking::of(
            &pick(&self.scores, chosen),
            &truths,
            weights.as_deref(),
        ))
    }

    /// The weight of the rows that are true in `which`.
    fn weight(&self, chosen: &[usize], which: impl Fn(usize) -> bool) -> f64 {
        let weight = |row: usize| self.weights.as_ref().map_or(1.0, |weights| weights[row]);
        chosen
            .iter()
            .copied()
            .filter(|row| which(*row))
            .map(weight)
            .sum()
    }

    fn measure(&self, chosen: &[usize], counts: &[usize]) -> MetricList {
        let mut list = MetricList::default();
        if let (Some(ranking), Some(truths)) = (self.ranking(chosen), &self.truths) {
            let flagged = self.weight(chosen, |row| self.flagged[row]);
            let found = self.weight(chosen, |row| self.flagged[row] && truths[row]);
            let false_alarms = flagged - found;
            let no_anomaly = "there is no anomalous row";
            let one_class = "the rows are all of one class";
            let share = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
            let r_precision = share(
                at_top(&ranking, ranking.positives).unwrap_or(0.0),
                ranking.positives,
            );
            let values = [
                (ranking.average_precision(), no_anomaly),
                (ranking.roc_auc(), one_class),
                // As scikit-learn: nothing flagged, nothing right.
                (Some(share(found, flagged).unwrap_or(0.0)), ""),
                (share(found, ranking.positives), no_anomaly),
                (
                    (ranking.positives > 0.0).then(|| 2.0 * found / (flagged + ranking.positives)),
                    no_anomaly,
                ),
                (
                    share(false_alarms, ranking.negatives),
                    "there is no ordinary row",
                ),
                (r_precision, no_anomaly),
            ];
            for (name, (value, why)) in LABELLED.into_iter().zip(values) {
                list.add(name, value, why);
            }
            for count in counts {
                let found = at_top(&ranking, *count as f64);
                let few = "there are fewer rows";
                list.add(
                    &format!("precision_at_{count}"),
                    found.map(|found| found / *count as f64),
                    few,
                );
                let recall = found.and_then(|found| share(found, ranking.positives));
                let why = if found.is_none() { few } else { no_anomaly };
                list.add(&format!("recall_at_{count}"), recall, why);
            }
            let prevalence = share(ranking.positives, ranking.positives + ranking.negatives);
            list.add(BASELINE, prevalence, "the rows have no weight");
        }
        let flags: Vec<f64> = chosen
            .iter()
            .map(|row| f64::from(u8::from(self.flagged[*row])))
            .collect();
        let weights = self.weights.as_ref().map(|weights| pick(weights, chosen));
        let share = mean(flags.len(), weights.as_deref(), |row| flags[row]);
        list.add(FLAGGED, share, "the rows have no weight");
        list
    }
}

/// The anomalous weight among the so much weight of highest scores; of rows with one score, their mean. `None` of fewer rows.
fn at_top(ranking: &Ranking, count: f64) -> Option<f64> {
    let (mut found, mut seen) = (0.0, 0.0);
    for operation in &ranking.operations {
        let all = operation.true_positives + operation.false_positives;
        if all >= count {
            let share = if all > seen {
                (count - seen) / (all - seen)
            } else {
                0.0
            };
            return Some(found + share * (operation.true_positives - found));
        }
        (found, seen) = (operation.true_positives, all);
    }
    None
}

impl Anomaly {
    fn further(&self) -> Further<'_> {
        Further {
            bootstrap: self.bootstrap.as_ref(),
            by: self.by.as_ref(),
            param: "by",
        }
    }

    fn counts(&self) -> &[usize] {
        self.k.as_ref().map_or(&[], Counts::list)
    }

    fn by_slice(schema: &Schema) -> Vec<String> {
        let mut names = vec![FLAGGED];
        if target_name(schema).is_some() {
            names.extend(&LABELLED[..4]);
        }
        names.into_iter().map(str::to_owned).collect()
    }

    /// Reports a model that finds no anomalies.
    fn check_prediction(input: &Schema, cx: &mut CheckContext<'_>) {
        if let Some(prediction) = input.column(PREDICTION)
            && prediction.dtype != DataType::Boolean
            && input.may_have(SCORE)
        {
            let message = format!(
                "`{PREDICTION}` is {}, so the model above finds no anomalies",
                type_name(&prediction.dtype)
            );
            cx.report(Problem::error("type-mismatch", path![], message).help(
                "put one of `model.anomaly.…` there; classes are judged by `evaluate.classification`",
            ));
        }
    }

    fn read(&self, frame: &Frame) -> Result<Rows> {
        let data = &frame.data;
        let no_model = || Error::data("no model stands above, so there is no `score` to judge");
        let flagged = data.column(PREDICTION).map_err(|_| no_model())?;
        if *flagged.dtype() != DataType::Boolean {
            return Err(Error::data(format!(
                "`{PREDICTION}` is {}, so the model above finds no anomalies; put one of `model.anomaly.…` there",
                type_name(flagged.dtype())
            )));
        }
        let truths = match target_name(&frame.schema) {
            Some(name) => Some(self.truths(data.column(&name)?)?),
            None => None,
        };
        Ok(Rows {
            scores: judged::numbers(data.column(SCORE).map_err(|_| no_model())?)?,
            flagged: flagged
                .bool()?
                .iter()
                .map(|flag| flag == Some(true))
                .collect(),
            truths,
            weights: judged::weights(frame)?,
        })
    }

    fn truths(&self, target: &polars::prelude::Column) -> Result<Vec<bool>> {
        let known = match target.dtype() {
            DataType::Boolean => Some(["false".to_owned(), "true".to_owned()]),
            _ => None,
        };
        let Classes { labels, codes } =
            Classes::of(target, known.as_ref().map(|known| known.as_slice()))?;
        let positive = match &self.positive {
            // The rows at hand may hold no anomaly.
            Some(positive) => positive.0.as_str(),
            None if *target.dtype() == DataType::Boolean => "true",
            None if labels.len() > 2 => {
                return Err(Error::data(format!(
                    "`{}` has {} labels, {}; say which is that of anomalous rows with `positive`",
                    target.name(),
                    labels.len(),
                    quoted(&labels)
                )));
            }
            None => Classes::positive(&labels).unwrap_or_default(),
        };
        Ok(codes
            .iter()
            .map(|code| labels[*code as usize] == positive)
            .collect())
    }

    /// That no row has the label of anomalies, which may be so, and may be a slip.
    fn note_of(&self, target: &polars::prelude::Column) -> Result<Option<String>> {
        let Some(positive) = &self.positive else {
            return Ok(None);
        };
        let Classes { labels, .. } = Classes::of(target, None)?;
        Ok((!labels.contains(&positive.0)).then(|| {
            format!(
                "no row has the label `{positive}`: those of `{}` are {}",
                target.name(),
                quoted(&labels)
            )
        }))
    }
}

impl Evaluate for Anomaly {
    fn metrics(&self, input: &Schema) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        if target_name(input).is_some() {
            names.extend(LABELLED.map(str::to_owned));
            for count in self.counts() {
                names.extend(["precision", "recall"].map(|name| format!("{name}_at_{count}")));
            }
            names.push(BASELINE.to_owned());
        }
        names.push(FLAGGED.to_owned());
        names.extend(self.further().worst(&Self::by_slice(input)));
        names
    }

    fn reads(&self, input: &Schema) -> BTreeSet<String> {
        let weights = input
            .with_role(Role::Weight)
            .map(|column| column.name.clone());
        let outputs = input
            .names()
            .filter(|name| [PREDICTION, SCORE, PARTITION].contains(name));
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
        let parts = Parts::of(frame, self.part)?;
        let rows = self.read(frame)?;
        let measure = |chosen: &[usize]| rows.measure(chosen, self.counts());

        let mut evaluation = parts.evaluation();
        if let Some(name) = target_name(&frame.schema) {
            evaluation
                .notes
                .extend(self.note_of(frame.data.column(&name)?)?);
        }
        let judged = &parts.judged;
        // The model flags from some score on; the lowest flagged score shows where.
        let threshold = judged
            .iter()
            .filter(|row| rows.flagged[**row])
            .map(|row| rows.scores[*row])
            .reduce(f64::min);
        if let (Some(ranking), Some(truths)) = (rows.ranking(judged), &rows.truths) {
            let lifts: Vec<Lift> = [
                (
                    "average_precision",
                    ranking.average_precision(),
                    ranking.positives / (ranking.positives + ranking.negatives),
                ),
                ("roc_auc", ranking.roc_auc(), 0.5),
            ]
            .into_iter()
            .filter_map(|(name, model, baseline)| {
                Some(Lift {
                    metric: name.to_owned(),
                    model: model?,
                    baseline,
                    best: 1.0,
                })
            })
            .collect();
            evaluation
                .tables
                .extend(judged::lift_table("scores by chance", &lifts));
            evaluation.tables.push(top_table(&ranking));
            let at = threshold.unwrap_or_else(|| {
                let highest = ranking.operations.first();
                highest.map_or(1.0, |highest| highest.threshold.next_up())
            });
            if let Some(average) = ranking.average_precision() {
                evaluation
                    .plots
                    .push(plots::precision_recall(&ranking, average, at)?);
            }
            if let Some(area) = ranking.roc_auc() {
                evaluation.plots.push(plots::roc(&ranking, area, at)?);
            }
            let (anomalous, ordinary): (Vec<usize>, Vec<usize>) =
                judged.iter().partition(|row| truths[**row]);
            evaluation.plots.push(plots::scores(
                &pick(&rows.scores, &ordinary),
                Some(&pick(&rows.scores, &anomalous)),
                threshold,
            )?);
        } else {
            let scores = pick(&rows.scores, judged);
            evaluation
                .plots
                .push(plots::scores(&scores, None, threshold)?);
        }
        let by_slice = Self::by_slice(&frame.schema);
        self.further()
            .complete(&mut evaluation, frame, &parts, &by_slice, seed, &measure)?;
        if let Some(train) = parts.beside() {
            evaluation.train_metrics = measure(train).defined;
        }
        Ok(evaluation)
    }
}

/// What people find who look at the highest scores first.
fn top_table(ranking: &Ranking) -> Table {
    let counts = [
        10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0,
    ];
    let line = |count: f64| {
        let found = at_top(ranking, count)?;
        let recall = (ranking.positives > 0.0).then(|| share(found / ranking.positives));
        Some(vec![
            amount(count),
            amount(found),
            share(found / count),
            recall.unwrap_or_else(|| "–".into()),
        ])
    };
    Table {
        name: "top_k".into(),
        title: "The highest scores".into(),
        columns: ["rows", "anomalous", "precision", "recall"]
            .map(str::to_owned)
            .to_vec(),
        rows: counts.into_iter().map_while(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::serde_yaml;

    use super::*;
    use crate::judged::testing::{self, announced, close, codes, table};

    fn stage(params: &str) -> Anomaly {
        serde_yaml::from_str(params).expect("params")
    }

    /// Ten rows by falling score; anomalous are the 1st, 3rd and 6th, flagged the first four. Two rows share the score 0.5.
    fn sensors() -> Frame {
        let scores = [0.99, 0.9, 0.8, 0.7, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1];
        let data = df!(
            SCORE => scores,
            PREDICTION => scores.map(|score| score > 0.6),
            "fault" => [1_i64, 0, 1, 0, 0, 1, 0, 0, 0, 0],
            "line" => ["a", "a", "a", "a", "a", "b", "b", "b", "b", "b"],
        );
        testing::frame(
            data.expect("a frame"),
            &[
                ("fault", Role::Target),
                (SCORE, Role::Internal),
                (PREDICTION, Role::Internal),
            ],
        )
    }

    #[test]
    fn figures_by_hand() {
        let stage = stage("{k: [1, 5], by: line}");
        let frame = sensors();
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        announced(&stage, &frame, &evaluation);
        close(
            &evaluation,
            "average_precision",
            (1.0 + 2.0 / 3.0 + 3.0 / 6.0) / 3.0,
        );
        // Of 21 pairs, the ordinary row at 0.9 is above two, that at 0.7 above one, that at 0.5 beside one.
        close(&evaluation, "roc_auc", (21.0 - 2.0 - 1.0 - 0.5) / 21.0);
        close(&evaluation, "precision", 0.5);
        close(&evaluation, "recall", 2.0 / 3.0);
        close(&evaluation, "f1", 4.0 / 7.0);
        close(&evaluation, "false_alarm_rate", 2.0 / 7.0);
        close(&evaluation, "r_precision", 2.0 / 3.0);
        close(&evaluation, "precision_at_1", 1.0);
        close(&evaluation, "recall_at_1", 1.0 / 3.0);
        // The fifth row is one of two with one score, of which one is anomalous.
        close(&evaluation, "precision_at_5", 2.5 / 5.0);
        close(&evaluation, "recall_at_5", 2.5 / 3.0);
        close(&evaluation, BASELINE, 0.3);
        close(&evaluation, FLAGGED, 0.4);
        close(&evaluation, "worst_recall", 0.0);
        close(&evaluation, "worst_roc_auc", 5.0 / 6.0);
        assert_eq!(
            table(&evaluation, "top_k").rows,
            [["10", "3", "0.3000", "1.0000"]]
        );
        let plots: Vec<&str> = evaluation
            .plots
            .iter()
            .map(|plot| plot.name.as_str())
            .collect();
        assert_eq!(plots, ["precision_recall", "roc", "scores"]);
    }

    #[test]
    fn without_labels_only_what_is_flagged() {
        let Frame { data, .. } = sensors();
        let frame = testing::frame(
            data.drop("fault").expect("the other columns"),
            &[(SCORE, Role::Internal), (PREDICTION, Role::Internal)],
        );
        let stage = stage("{}");
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        announced(&stage, &frame, &evaluation);
        assert_eq!(evaluation.metrics, [(FLAGGED.to_owned(), 0.4)]);
        assert_eq!(
            codes(&super::tests::stage("{k: 5}"), &frame.schema),
            ["no-target"]
        );
    }

    #[test]
    fn labels_of_several_kinds_of_faults_need_a_name() {
        let mut frame = sensors();
        let faults = [
            "worn", "none", "broken", "none", "none", "worn", "none", "none", "none", "none",
        ];
        frame
            .data
            .with_column(polars::prelude::Column::new("fault".into(), faults))
            .expect("a column");
        let error = stage("{}")
            .evaluate(&frame, 1)
            .expect_err("three labels")
            .to_string();
        assert_eq!(
            error,
            "`fault` has 3 labels, `broken`, `none`, `worn`; say which is that of anomalous rows with `positive`"
        );
        let evaluation = stage("{positive: worn}")
            .evaluate(&frame, 1)
            .expect("an evaluation");
        close(&evaluation, "recall", 0.5);
    }

    #[test]
    fn a_part_without_anomalies_has_no_recall() {
        let mut frame = sensors();
        frame
            .data
            .with_column(polars::prelude::Column::new("fault".into(), [false; 10]))
            .expect("a column");
        let evaluation = stage("{}").evaluate(&frame, 1).expect("an evaluation");
        assert_eq!(evaluation.metric("recall"), None);
        close(&evaluation, "precision", 0.0);
        close(&evaluation, "false_alarm_rate", 0.4);
        assert_eq!(table(&evaluation, "undefined_metrics").rows.len(), 5);
    }

    #[test]
    fn check_finds_every_problem() {
        let schema = sensors().schema;
        assert!(codes(&stage("{k: 5}"), &schema).is_empty());
        assert_eq!(
            codes(&stage("{part: test, k: [0, 5, 5], by: lines}"), &schema),
            [
                "unknown-part",
                "out-of-range",
                "duplicate",
                "unknown-column"
            ]
        );
        let data = df!("fault" => [0.5]).expect("a frame");
        let bare = testing::frame(data, &[("fault", Role::Target)]).schema;
        assert_eq!(codes(&stage("{}"), &bare), ["no-model", "wrong-type"]);
    }

    #[test]
    fn the_example_is_a_stage() {
        testing::example_is_a_stage("evaluate.anomaly", "Judges the scores");
    }
}
