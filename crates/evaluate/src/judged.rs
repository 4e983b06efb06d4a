//! What every evaluation does alike: the rows that it judges, their weights and numbers, and the lists of figures.

use std::collections::BTreeMap;

use polars::prelude::{Column as PolarsColumn, DataType};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, Evaluation, Frame, PARTITION, ParamPath, Partition, Problem, Result, Role,
    Schema, Table, Training,
    classifier::{PREDICTION, SCORE, unknown_column},
    path,
    regressor::{LOWER, UPPER},
    type_name,
};

use crate::{plots, slices};

/// The column of a model that finds clusters.
pub(crate) const CLUSTER: &str = "cluster";

/// What a schema is where the planner found no input, and said so.
pub(crate) fn no_input() -> Schema {
    Schema {
        incomplete: true,
        ..Schema::default()
    }
}

/// The column that is judged where none is named: the model's `score`, else its `prediction`. Columns of these names that came with the
/// rows are meant only where there is no model.
pub(crate) fn default_score(schema: &Schema) -> &'static str {
    let is_said = |name: &str| {
        let column = schema.column(name);
        column.is_some_and(|column| column.role == Role::Internal)
    };
    match schema.column(SCORE) {
        Some(_) if is_said(SCORE) || !is_said(PREDICTION) => SCORE,
        _ => PREDICTION,
    }
}

/// Whether the predictions come with an interval. Columns of its names that came with the rows are no interval of a model.
pub(crate) fn has_ends(schema: &Schema) -> bool {
    let role = |name: &str| schema.column(name).map(|column| column.role);
    let is_model = role(PREDICTION) == Some(Role::Internal);
    [LOWER, UPPER].into_iter().all(|name| match role(name) {
        Some(role) => role == Role::Internal || !is_model,
        None => false,
    })
}

/// The most features that a table and a picture of importance show.
const MOST_FEATURES: usize = 30;

/// Adds what there is to tell of how the model above learned: its learning curves, and how much each feature counted.
pub(crate) fn add_training(training: &Training, evaluation: &mut Evaluation) -> Result<()> {
    evaluation
        .plots
        .extend(plots::learning_curves(&training.history)?);
    let importance = &training.importance;
    if importance.iter().any(|(_, share)| *share > 0.0) {
        let shown = &importance[..importance.len().min(MOST_FEATURES)];
        let title = "Importance of the features (share of what the cuts gained in training)";
        evaluation.tables.push(Table {
            name: "importance".into(),
            title: match shown.len() < importance.len() {
                true => format!("{title}: the first {MOST_FEATURES} of {}", importance.len()),
                false => title.to_owned(),
            },
            columns: ["feature", "share"].map(str::to_owned).to_vec(),
            rows: shown
                .iter()
                .map(|(name, share)| vec![name.clone(), format!("{:.1} %", 100.0 * share)])
                .collect(),
        });
        evaluation
            .plots
            .push(plots::importance(shown, importance.len())?);
    }
    Ok(())
}

/// Reports that a column which a model adds is not there: no model stands above, or one that says something else.
pub(crate) fn check_model(input: &Schema, output: &str, cx: &mut CheckContext<'_>) {
    if input.may_have(output) {
        return;
    }
    let said: Vec<&str> = [PREDICTION, SCORE, CLUSTER]
        .into_iter()
        .filter(|name| {
            let column = input.column(name);
            column.is_some_and(|column| column.role == Role::Internal)
        })
        .collect();
    let (message, help) = match said.as_slice() {
        [] => (
            format!("no model stands above, so there is no `{output}` to judge"),
            "put a `model.…` stage above, or name one in `from`",
        ),
        said => (
            format!("the model above gives {}, but no `{output}`", quoted(said)),
            match said {
                [CLUSTER] => "clusters are judged by `evaluate.clustering`",
                [PREDICTION, SCORE] => "its findings are judged by `evaluate.anomaly`",
                _ => {
                    "classes are judged by `evaluate.classification`, numbers by `evaluate.regression`"
                }
            },
        ),
    };
    cx.report(Problem::error("no-model", path![], message).help(help));
}

/// Reports a part that no split above makes, and warns of rows that the model learned from.
pub(crate) fn check_part(part: Option<Partition>, input: &Schema, cx: &mut CheckContext<'_>) {
    let facts = &input.facts;
    let is_known = !input.incomplete || facts.lacks_classes_only;
    if part.is_none() && facts.partitions.is_empty() && is_known && !facts.learned_elsewhere {
        cx.report(
            Problem::warning(
                "no-split",
                path![],
                "the model is judged on the rows that it learned from",
            )
            .help("put a `split.…` stage above the model"),
        );
        return;
    }
    check_part_exists(part, input, cx);
}

/// Reports a part that no split above makes.
pub(crate) fn check_part_exists(
    part: Option<Partition>,
    input: &Schema,
    cx: &mut CheckContext<'_>,
) {
    let parts = &input.facts.partitions;
    match part {
        Some(part) if parts.is_empty() && !input.incomplete => cx.report(
            Problem::error(
                "unknown-part",
                path!["part"],
                format!(
                    "no split stands above, so there are no {} rows",
                    part.label()
                ),
            )
            .help("put a `split.…` stage above the model"),
        ),
        _ => {
            let part = part.unwrap_or(Partition::Test);
            if !parts.is_empty() && !parts.contains(&part) {
                let made: Vec<&str> = parts.iter().map(|part| part.label()).collect();
                cx.report(
                    Problem::error(
                        "unknown-part",
                        path!["part"],
                        format!("the split above makes no {} rows", part.label()),
                    )
                    .note(format!("it makes {}", quoted(&made))),
                );
            }
        }
    }
}

/// Reports that no column is the target; what it must hold is the kind's own affair.
pub(crate) fn check_target(input: &Schema, cx: &mut CheckContext<'_>) {
    let target = target_name(input).and_then(|name| input.column(&name).map(|_| ()));
    if target.is_none() && !input.incomplete {
        cx.report(
            Problem::error(
                "no-target",
                path![],
                "no column has the role `target`, so there is no truth to compare with",
            )
            .help("give one column `role: target` under `columns:`"),
        );
    }
}

/// Reports a target that is not a number.
pub(crate) fn check_number_target(input: &Schema, cx: &mut CheckContext<'_>) {
    check_target(input, cx);
    let target = target_name(input).and_then(|name| input.column(&name));
    if let Some(target) = target.filter(|target| !target.dtype.is_primitive_numeric()) {
        cx.report(
            Problem::error(
                "wrong-type",
                path![],
                format!(
                    "the target `{}` is {}, not a number",
                    target.name,
                    type_name(&target.dtype)
                ),
            )
            .help("classes are judged by `evaluate.classification`"),
        );
    }
}

/// Reports a named column that is not there or does not hold numbers.
pub(crate) fn check_numbers(
    input: &Schema,
    name: &str,
    place: ParamPath,
    cx: &mut CheckContext<'_>,
) {
    match input.column(name) {
        None if !input.may_have(name) => cx.report(unknown_column(input, name, place)),
        Some(column) if !column.is_numeric() => cx.report(Problem::error(
            "not-numeric",
            place,
            format!("`{name}` is {}, not a number", type_name(&column.dtype)),
        )),
        _ => {}
    }
}

/// Reports an output of the model above that holds no numbers: the labels of a classifier.
pub(crate) fn check_numbers_of_model(input: &Schema, name: &str, cx: &mut CheckContext<'_>) {
    if let Some(column) = input.column(name).filter(|column| !column.is_numeric()) {
        let message = format!(
            "`{name}` of the model above is {}, not a number",
            type_name(&column.dtype)
        );
        cx.report(Problem::error("not-numeric", path![], message).help(
            "name a column of numbers: `score: probability_…`, or put a model of numbers above",
        ));
    }
}

/// Reports a named column that is not there.
pub(crate) fn check_column(
    input: &Schema,
    name: &str,
    place: ParamPath,
    cx: &mut CheckContext<'_>,
) {
    if !input.may_have(name) {
        cx.report(unknown_column(input, name, place));
    }
}

/// Reports a number outside a range whose ends do not belong to it, which a schema cannot say of a value that `takt` fills in.
pub(crate) fn check_between(
    name: &str,
    value: f64,
    (least, most): (f64, f64),
    place: ParamPath,
    cx: &mut CheckContext<'_>,
) {
    if !(value > least && value < most) {
        cx.report(Problem::error(
            "out-of-range",
            place,
            format!("`{name}` is {value}; it lies between {least} and {most}, both left out"),
        ));
    }
}

/// A column, or a list of columns.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Names {
    /// A column.
    One(String),
    /// Columns.
    Many(#[schemars(length(min = 1))] Vec<String>),
}

impl Names {
    pub(crate) fn list(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }

    /// Reports those that are not there.
    pub(crate) fn check(&self, param: &str, input: &Schema, cx: &mut CheckContext<'_>) {
        for (index, name) in self.list().iter().enumerate() {
            let place = match self {
                Self::One(_) => path![param],
                Self::Many(_) => path![param, index],
            };
            check_column(input, name, place, cx);
        }
    }

    /// The rows of each different value of these columns, among `rows` and in their order, by value.
    pub(crate) fn groups(
        &self,
        frame: &Frame,
        rows: &[usize],
    ) -> Result<Vec<(String, Vec<usize>)>> {
        let columns = self
            .list()
            .iter()
            .map(|name| slices::texts(frame.data.column(name)?))
            .collect::<Result<Vec<_>>>()?;
        let mut groups: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
        for row in rows {
            let key = columns.iter().map(|column| column[*row].as_str()).collect();
            groups.entry(key).or_default().push(*row);
        }
        Ok(groups
            .into_iter()
            .map(|(key, rows)| (key.join(" · "), rows))
            .collect())
    }
}

/// Rows by their part, as numbers from 0.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// What the judged rows are called: `test`, `all`.
    pub(crate) name: &'static str,
    /// The rows to judge; at least one.
    pub(crate) judged: Vec<usize>,
    /// The rows that the model learned from, where a split labels them; not empty.
    pub(crate) train: Option<Vec<usize>>,
    /// The rows that settings were chosen on.
    pub(crate) validation: Vec<usize>,
    /// Whether the judged rows are those that the model learned from.
    pub(crate) judges_train: bool,
    /// Whether the training rows were balanced.
    is_balanced: bool,
}

impl Parts {
    /// Picks the rows of that part (`test` where none is named); without a split, all rows.
    ///
    /// # Errors
    /// No rows to judge.
    pub(crate) fn of(frame: &Frame, part: Option<Partition>) -> Result<Self> {
        let wanted = part.unwrap_or(Partition::Test);
        let Ok(partition) = frame.data.column(PARTITION) else {
            if part.is_some() {
                return Err(Error::data(format!(
                    "no split stands above, so there are no {} rows",
                    wanted.label()
                )));
            }
            return Self {
                name: "all",
                judged: (0..frame.data.height()).collect(),
                // A frame without a split has no training part of its own: every row was learned from.
                train: None,
                validation: Vec::new(),
                judges_train: true,
                is_balanced: false,
            }
            .with_rows();
        };
        let labels = partition.cast(&DataType::String)?;
        let labels = labels.str()?;
        let rows_of = |part: Partition| -> Vec<usize> {
            let is_part = |label: Option<&str>| label == Some(part.label());
            let rows = labels.iter().enumerate();
            rows.filter(|(_, label)| is_part(*label))
                .map(|(row, _)| row)
                .collect()
        };
        Self {
            name: wanted.label(),
            judged: rows_of(wanted),
            train: Some(rows_of(Partition::Train)).filter(|rows| !rows.is_empty()),
            validation: rows_of(Partition::Validation),
            judges_train: wanted == Partition::Train,
            is_balanced: frame.schema.facts.is_balanced,
        }
        .with_rows()
    }

    fn with_rows(self) -> Result<Self> {
        match self.judged.is_empty() {
            true => Err(Error::data(format!(
                "there are no {} rows to judge",
                self.name
            ))),
            false => Ok(self),
        }
    }

    /// The rows that settings are chosen on where there are none of validation: those of training, or the judged ones where no
    /// split tells them apart.
    pub(crate) fn learned(&self) -> &[usize] {
        self.train.as_deref().unwrap_or(&self.judged)
    }

    /// The rows that a baseline learns from: those of training, but where these were balanced, and do not tell how frequent
    /// classes are, those of validation or else the judged ones.
    pub(crate) fn baseline(&self) -> &[usize] {
        match self.is_balanced {
            false => self.learned(),
            true if self.validation.is_empty() => &self.judged,
            true => &self.validation,
        }
    }

    /// The training rows, where they are others than the judged ones.
    pub(crate) fn beside(&self) -> Option<&[usize]> {
        self.train.as_deref().filter(|_| !self.judges_train)
    }

    /// An evaluation of these rows, empty so far.
    pub(crate) fn evaluation(&self) -> Evaluation {
        Evaluation {
            rows: self.judged.len(),
            part: self.name.into(),
            ..Evaluation::default()
        }
    }
}

/// How much each row counts, by the column with role `weight`.
///
/// # Errors
/// A negative weight, or none.
pub(crate) fn weights(frame: &Frame) -> Result<Option<Vec<f64>>> {
    let weights = frame.schema.with_role(Role::Weight).next();
    let weights = weights
        .map(|column| numbers(frame.data.column(&column.name)?))
        .transpose()?;
    if weights.iter().flatten().any(|weight| *weight < 0.0) {
        return Err(Error::data(
            "a row has a negative weight; a row counts 0 or more",
        ));
    }
    Ok(weights)
}

/// The values of a column of finite numbers.
///
/// # Errors
/// A row without one.
pub(crate) fn numbers(column: &PolarsColumn) -> Result<Vec<f64>> {
    let values = numbers_or_none(column)?;
    check_finite(column.name(), 0..values.len(), &values)?;
    Ok(values)
}

/// The values of a column of numbers, not-a-number where there is none.
pub(crate) fn numbers_or_none(column: &PolarsColumn) -> Result<Vec<f64>> {
    let numbers = column.cast(&DataType::Float64)?;
    Ok(numbers
        .f64()?
        .iter()
        .map(|value| value.unwrap_or(f64::NAN))
        .collect())
}

/// Refuses rows without a finite number.
pub(crate) fn check_finite(
    name: &str,
    rows: impl IntoIterator<Item = usize>,
    values: &[f64],
) -> Result<()> {
    match rows.into_iter().find(|row| !values[*row].is_finite()) {
        None => Ok(()),
        Some(row) => Err(Error::data(format!(
            "`{name}` holds no finite number in row {}",
            row + 1
        ))),
    }
}

/// The target of the model above, or the only column with role `target`.
pub(crate) fn target_name(schema: &Schema) -> Option<String> {
    schema
        .facts
        .model_target
        .clone()
        .or_else(|| schema.target().map(|column| column.name.clone()))
}

/// Metrics, and those that have no value for the rows at hand.
#[derive(Debug, Default)]
pub(crate) struct MetricList {
    pub(crate) defined: Vec<(String, f64)>,
    /// Metrics without a value, and why.
    pub(crate) undefined: Vec<(String, &'static str)>,
}

impl MetricList {
    /// Adds a metric; a value that is no finite number counts as none.
    pub(crate) fn add(&mut self, name: &str, value: Option<f64>, why_not: &'static str) {
        match value.filter(|value| value.is_finite()) {
            Some(value) => self.defined.push((name.to_owned(), value)),
            None => self.undefined.push((name.to_owned(), why_not)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.defined
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| *value)
    }
}

/// Metrics without a value, and why; no table where every metric has one.
pub(crate) fn undefined_table(undefined: &[(String, &'static str)]) -> Option<Table> {
    (!undefined.is_empty()).then(|| Table {
        name: "undefined_metrics".into(),
        title: "Metrics without a value for these rows".into(),
        columns: vec!["metric".into(), "why".into()],
        rows: undefined
            .iter()
            .map(|(name, why)| vec![name.clone(), (*why).to_owned()])
            .collect(),
    })
}

/// How far the model is ahead of what needs no model.
pub(crate) struct Lift {
    pub(crate) metric: String,
    pub(crate) model: f64,
    pub(crate) baseline: f64,
    /// What a perfect model reaches.
    pub(crate) best: f64,
}

impl Lift {
    /// The share of the baseline's distance from the best value that the model covers: 1 is perfect, 0 no better than the
    /// baseline, below 0 worse. `None` where the baseline itself is perfect, or so but for rounding.
    pub(crate) fn skill(&self) -> Option<f64> {
        let distance = self.best - self.baseline;
        let is_apart = distance.abs() > 1e-12 * self.best.abs().max(1.0);
        // No better is 0, not -0.
        is_apart.then(|| (self.model - self.baseline) / distance + 0.0)
    }
}

/// The table of lifts over a baseline; `how` says in a few words what the baseline does.
pub(crate) fn lift_table(how: &str, lifts: &[Lift]) -> Option<Table> {
    (!lifts.is_empty()).then(|| Table {
        name: "baseline".into(),
        title: format!("Lift over the baseline ({how})"),
        columns: ["metric", "model", "baseline", "lift"]
            .map(str::to_owned)
            .to_vec(),
        rows: lifts
            .iter()
            .map(|lift| {
                let skill = lift
                    .skill()
                    .map_or("–".to_owned(), |skill| format!("{:.1} %", 100.0 * skill));
                vec![
                    lift.metric.clone(),
                    figure(lift.model),
                    figure(lift.baseline),
                    skill,
                ]
            })
            .collect(),
    })
}

pub(crate) fn quoted(names: &[impl AsRef<str>]) -> String {
    names
        .iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect::<Vec<_>>()
        .join(", ")
}

pub(crate) fn share(value: f64) -> String {
    format!("{value:.4}")
}

/// A figure of any size: as the report shows metrics.
pub(crate) fn figure(value: f64) -> String {
    crate::report::figure(value)
}

pub(crate) fn figure_or_none(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), figure)
}

/// A count, or a sum of weights: with thousands set apart, without decimals where there are none.
pub(crate) fn amount(value: f64) -> String {
    crate::plots::grouped(value)
}

/// These rows of a list.
pub(crate) fn pick<T: Copy>(values: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().map(|row| values[*row]).collect()
}

#[cfg(test)]
pub(crate) mod testing {
    //! What the kinds' tests share.

    use std::path::Path;

    use polars::prelude::DataFrame;
    use taktline_core::{Capabilities, Registry, Stage, serde_yaml};

    use super::*;

    /// A frame whose columns have these roles; all others are features.
    pub(crate) fn frame(data: DataFrame, roles: &[(&str, Role)]) -> Frame {
        let mut schema = Schema::from_polars(data.schema());
        for (name, role) in roles {
            let column = schema.column_mut(name).expect("a column to give a role");
            *column = column.clone().with_role(*role);
        }
        // An interval comes with the prediction.
        if roles.contains(&(PREDICTION, Role::Internal)) {
            for name in [LOWER, UPPER] {
                if let Some(column) = schema.column_mut(name) {
                    *column = column.clone().with_role(Role::Internal);
                }
            }
        }
        schema.facts.model_target = schema.target().map(|target| target.name.clone());
        Frame { data, schema }
    }

    pub(crate) fn check(stage: &dyn Stage, input: &Schema) -> Vec<Problem> {
        let capabilities = Capabilities::default();
        let mut cx = CheckContext {
            stage: "quality",
            seed: 1,
            directory: Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        stage.check(std::slice::from_ref(input), &mut cx);
        cx.problems
    }

    pub(crate) fn codes(stage: &dyn Stage, input: &Schema) -> Vec<&'static str> {
        let problems = check(stage, input);
        problems.iter().map(|problem| problem.code).collect()
    }

    pub(crate) fn close(evaluation: &Evaluation, name: &str, expected: f64) {
        let found = evaluation
            .metric(name)
            .unwrap_or_else(|| panic!("no metric `{name}`: {:?}", evaluation.metrics));
        assert!(
            (found - expected).abs() < 1e-9,
            "{name}: {found} is not {expected}"
        );
    }

    pub(crate) fn table<'a>(evaluation: &'a Evaluation, name: &str) -> &'a Table {
        let mut tables = evaluation.tables.iter();
        tables
            .find(|table| table.name == name)
            .unwrap_or_else(|| panic!("no table `{name}`"))
    }

    /// The kind's example parses, and its docs begin so.
    pub(crate) fn example_is_a_stage(name: &str, about: &str) {
        let registry = Registry::collect().expect("no kind twice");
        let kind = registry.get(name).expect("registered");
        let stages: Vec<serde_yaml::Mapping> = serde_yaml::from_str(kind.example).expect("YAML");
        assert!((kind.parse)(&stages[0][kind.name]).is_ok());
        assert!(kind.about().starts_with(about), "{}", kind.about());
    }

    /// What the evaluation produced is what it announced, in that order.
    pub(crate) fn announced(
        evaluate: &dyn taktline_core::Evaluate,
        frame: &Frame,
        evaluation: &Evaluation,
    ) {
        let produced: Vec<&String> = evaluation.metrics.iter().map(|(name, _)| name).collect();
        let announced = evaluate.metrics(&frame.schema);
        assert_eq!(produced, announced.iter().collect::<Vec<_>>());
        let json = serde_json::to_string(evaluation).expect("JSON");
        let read: Evaluation = serde_json::from_str(&json).expect("an evaluation");
        assert_eq!(&read, evaluation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lift_is_the_share_of_the_way_to_the_best() {
        let lift = |model, baseline, best| {
            Lift {
                metric: "any".into(),
                model,
                baseline,
                best,
            }
            .skill()
        };
        assert_eq!(lift(0.75, 0.5, 1.0), Some(0.5));
        assert_eq!(lift(3.0, 4.0, 0.0), Some(0.25));
        assert_eq!(lift(5.0, 4.0, 0.0), Some(-0.25));
        assert_eq!(lift(1.0, 1.0, 1.0), None);
    }
}
