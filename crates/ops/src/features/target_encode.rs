//! `features.target_encode`.

mod encoder;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Classes, Column, Error, Estimator, FitContext, Frame, Label, Operation,
    PARTITION, Problem, Result, Schema, Shape, Stage, State, TensorData, counted, path,
    register_kind,
};

use self::encoder::{Encoder, Tables};
use super::{
    answers,
    categories::{self, Vocabulary},
    folds::Folds,
    lookup::{self, Lookup},
    placement::{self, Made},
    target_statistics::{self, encodings},
};
use crate::{
    columns::{self, Names},
    training,
};

const VERSION: u32 = 1;

/// Put in the place of each category the mean of the target in the training rows that have it.
///
/// The mean of a category with few rows leans towards the mean of all rows (Micci-Barreca 2001). Training rows never see
/// their own answer: they are parted into folds at random, and each gets the means of the other folds; validation, test and
/// scored rows get those of all training rows. Null is a category of its own. Needs a `split.*` above.
///
/// A target of two classes counts as 1 and 0, so that the mean is the share of the positive class. With more classes
/// `city` becomes a column for each, `city=cheap`: the share of that class among the rows of the city.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TargetEncode {
    /// The category columns: text, whole numbers, true or false.
    columns: Names,
    /// The target; default: the column with the role `target`.
    target: Option<String>,
    /// What the target is; default: `regression` for real numbers, `multiclass` where the source tells more than two classes,
    /// else `binary`.
    task: Option<Task>,
    /// The class that counts as 1 in a target of two classes; default: `true`, else `1`, else the last.
    positive: Option<Label>,
    /// How far categories lean towards the mean of all rows: `auto`, by their number of rows and their spread, or a
    /// number of rows that are thought to have that mean.
    #[serde(default)]
    smooth: Smooth,
    /// Into how many folds the training rows are parted.
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 100))]
    folds: usize,
    /// What becomes of a value that no training row has.
    #[serde(default)]
    unknown: Unknown,
    /// Keep the column and put the mean beside it, under its name with this at the end; default: in its place.
    suffix: Option<String>,
    /// Another seed gives other folds; default: the pipeline's seed.
    seed: Option<u64>,
}

fn five() -> usize {
    5
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Task {
    /// Amounts.
    Regression,
    /// Two classes.
    Binary,
    /// More classes than two.
    Multiclass,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
enum Smooth {
    /// By rule.
    Named(NamedSmooth),
    /// By this many rows.
    Rows(#[schemars(range(min = 0, max = 1_000_000_000))] f64),
}

impl Default for Smooth {
    fn default() -> Self {
        Self::Named(NamedSmooth::Auto)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum NamedSmooth {
    /// By the number of rows of a category and the spread within it.
    Auto,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Unknown {
    /// It becomes the mean of all training rows.
    #[default]
    Mean,
    /// It becomes null.
    Null,
    /// It fails the run, naming column, value and row.
    Error,
}

register_kind! {
    TargetEncode, "features.target_encode", version: 1,
    example: "- features.target_encode: {columns: [merchant], target: is_fraud, smooth: 20}",
}

/// What was learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learned {
    /// The classes that have a column each; empty for the other tasks.
    labels: Vec<String>,
    folds: Folds,
    columns: Vec<Vocabulary>,
}

fn tensor(index: usize) -> String {
    format!("encodings_{index}")
}

impl TargetEncode {
    fn task(&self, target: &Column) -> Task {
        self.task.unwrap_or_else(|| {
            let known = target.categories.as_ref().map_or(0, Vec::len);
            if target.dtype.is_float() {
                Task::Regression
            } else if known > 2 {
                Task::Multiclass
            } else {
                Task::Binary
            }
        })
    }

    fn smoothing(&self) -> target_statistics::Smoothing {
        match self.smooth {
            Smooth::Named(NamedSmooth::Auto) => target_statistics::Smoothing::Auto,
            Smooth::Rows(rows) => target_statistics::Smoothing::Rows(rows),
        }
    }

    /// The columns that are made of a column: one, or one for each of these classes.
    ///
    /// They are computed from the target, but no row's from its own: that is what the folds are for. So they do not carry
    /// the target on, and a model may learn from them.
    fn made(&self, source: &Column, labels: Option<&[String]>) -> Vec<Column> {
        let name = placement::made(&source.name, self.suffix.as_deref());
        let column = |name: String| placement::heir(name, DataType::Float64, [source]);
        match labels {
            None => vec![column(name)],
            Some(labels) => labels
                .iter()
                .map(|label| column(format!("{name}={label}")))
                .collect(),
        }
    }

    /// The target as numbers: the labels of those that have a column each, and the numbers of every column.
    fn answers(&self, train: &Frame, name: &str) -> Result<(Vec<String>, Vec<Vec<f64>>)> {
        let target = train
            .schema
            .column(name)
            .ok_or_else(|| Error::data(format!("there is no column `{name}`")))?;
        match self.task(target) {
            Task::Regression => Ok((Vec::new(), vec![answers::amounts(train, name)?])),
            Task::Binary => {
                let classes = answers::classes(train, name)?;
                let more = "say `task: multiclass` or `task: regression`";
                let place = answers::positive(&classes, self.positive.as_ref(), name, more)?;
                Ok((Vec::new(), vec![answers::indicator(&classes, place)]))
            }
            Task::Multiclass => {
                let classes = answers::classes(train, name)?;
                // Columns for the classes that the source told were promised before training.
                let labels = target
                    .categories
                    .clone()
                    .unwrap_or_else(|| classes.labels.clone());
                let numbers = labels
                    .iter()
                    .map(
                        |label| match classes.labels.iter().position(|known| known == label) {
                            Some(place) => answers::indicator(&classes, place),
                            None => vec![0.0; classes.codes.len()],
                        },
                    )
                    .collect();
                Ok((labels, numbers))
            }
        }
    }

    fn check_target<'s>(&self, input: &'s Schema, cx: &mut CheckContext<'_>) -> Option<&'s Column> {
        let (path, target) = training::target(self.target.as_deref(), input, cx)?;
        match self.task(target) {
            Task::Regression => {
                columns::is_number(target, path, cx);
            }
            Task::Binary | Task::Multiclass => {
                if !Classes::can_hold(&target.dtype) {
                    let needs = "a target of classes (text, whole numbers, true or false)";
                    columns::report_type(target, needs, path, cx);
                }
            }
        }
        if self.positive.is_some() && self.task(target) != Task::Binary {
            cx.report(
                Problem::error(
                    "unused-param",
                    path!["positive"],
                    format!(
                        "stage `{}` has no positive class: its target is not one of two classes",
                        cx.stage
                    ),
                )
                .help("leave it out, or say `task: binary`"),
            );
        }
        Some(target)
    }

    fn encode(
        &self,
        learned: &Learned,
        index: usize,
        state: &State,
        input: &Schema,
    ) -> Result<Option<Operation>> {
        let vocabulary = &learned.columns[index];
        let Some(source) = input
            .names()
            .find(|name| *name == vocabulary.column)
            .and_then(|name| input.column(name))
        else {
            return Ok(None);
        };
        let TensorData::F64(numbers) = &state.tensor(&tensor(index))?.data else {
            return Err(Error::State(format!(
                "`{}` is not of 64-bit numbers",
                tensor(index)
            )));
        };
        let is_multiclass = !learned.labels.is_empty();
        let columns = self.made(source, is_multiclass.then_some(learned.labels.as_slice()));
        let tables = Tables {
            outputs: columns.len(),
            categories: vocabulary.categories.len() + 1,
            numbers: numbers.clone(),
        };
        if numbers.len() != (learned.folds.count + 1) * tables.outputs * (tables.categories + 1) {
            return Err(Error::State(format!(
                "`{}` has another size than what was learned",
                tensor(index)
            )));
        }
        // Only a frame with parts holds training rows that must not see their own answer.
        let parts = input.names().any(|name| name == PARTITION);
        let mut reads = vec![vocabulary.column.clone()];
        reads.extend(parts.then(|| PARTITION.to_owned()));
        let made = Made {
            name: "encode by the target, out of fold",
            reads,
            columns,
            by_place: parts,
            input,
        };
        let encoder = Arc::new(Encoder {
            lookup: Lookup::new(vocabulary.categories.clone()),
            tables,
            folds: parts.then(|| learned.folds.of_rows()),
            unseen_is_null: self.unknown != Unknown::Mean,
        });
        Ok(Some(made.by(move |columns| encoder.encode(columns))))
    }
}

impl Stage for TargetEncode {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        training::needs_split(input, "training rows must not see their own answer", cx);
        if let Some(balance) = &input.facts.multiplied_by {
            let message = format!(
                "stage `{}` would show training rows their own answer: `{balance}` above makes copies of them, which are in other folds",
                cx.stage
            );
            cx.report(
                Problem::error("target-leak", taktline_core::ParamPath::kind(), message)
                    .help(format!("move it above `{balance}`")),
            );
        }
        let target = self.check_target(input, cx);
        if let Smooth::Rows(rows) = self.smooth
            && !(rows.is_finite() && rows >= 0.0)
        {
            let message = format!("stage `{}` cannot smooth by {rows} rows", cx.stage);
            cx.report(Problem::error("out-of-range", path!["smooth"], message));
        }
        // One column stands for all classes where only training knows them.
        let labels = target
            .filter(|target| self.task(target) == Task::Multiclass)
            .map(|target| {
                target
                    .categories
                    .clone()
                    .unwrap_or_else(|| vec!["*".to_owned()])
            });
        let mut output = input.clone();
        for (path, column) in categories::check(&self.columns, input, cx) {
            if answers::is_the_target(column, self.target.as_deref(), &path, input, cx) {
                continue;
            }
            let made = self.made(column, labels.as_deref());
            let is_possible = match labels {
                None => {
                    placement::is_possible(&column.name, self.suffix.as_deref(), input, path, cx)
                }
                Some(_) => made
                    .iter()
                    .all(|made| columns::is_free(input, &made.name, path.clone(), cx)),
            };
            if is_possible {
                output = self.placed(column, made, output);
            }
        }
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl TargetEncode {
    /// The schema with what is made of the column: several columns in its place, unless it stays.
    fn placed(&self, source: &Column, made: Vec<Column>, mut schema: Schema) -> Schema {
        let keeps_source =
            self.suffix.is_some() || made.iter().any(|made| made.name == source.name);
        let place = schema
            .columns
            .iter()
            .position(|column| column.name == source.name);
        if let Some(place) = place.filter(|_| !keeps_source) {
            schema.columns.splice(place..=place, made);
        } else {
            made.into_iter().for_each(|made| schema.set(made));
        }
        schema
    }
}

impl Estimator for TargetEncode {
    fn fit_reads(&self, input: &Schema) -> BTreeSet<String> {
        answers::reads(
            &self.columns,
            training::target_name(self.target.as_deref(), input),
        )
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let rows = train.data.height();
        if rows < 2 {
            return Err(Error::data(format!(
                "each training row needs the answers of others, and there is {} in all",
                counted(rows, "row")
            )));
        }
        let target = answers::target(self.target.as_deref(), train)?;
        let (labels, answers) = self.answers(train, &target)?;
        let folds = Folds {
            count: self.folds.min(rows),
            rows,
            seed: self.seed.unwrap_or(cx.seed),
        };
        let fold_of = folds.of_rows();
        let mut columns = Vec::new();
        let mut tensors = Vec::new();
        for name in self.columns.iter() {
            let (categories, codes) = lookup::coded(&train.data, name)?;
            // Null is the last.
            let count = categories.len() + 1;
            let mut numbers = Vec::new();
            for held_out in std::iter::once(None).chain((0..folds.count as u32).map(Some)) {
                cx.cancellation.check()?;
                for answer in &answers {
                    let rows = (0..rows)
                        .filter(|row| Some(fold_of[*row]) != held_out)
                        .map(|row| (codes[row], answer[row]));
                    numbers.extend(encodings(rows, count, self.smoothing()));
                }
            }
            let shape = vec![folds.count + 1, answers.len(), count + 1];
            tensors.push((shape, numbers));
            columns.push(Vocabulary {
                column: name.to_owned(),
                categories,
            });
        }
        let learned = Learned {
            labels,
            folds,
            columns,
        };
        let state = State::from_data(VERSION, &learned)?;
        Ok(tensors
            .into_iter()
            .enumerate()
            .fold(state, |state, (index, (shape, numbers))| {
                state.with_tensor(tensor(index), shape, TensorData::F64(numbers))
            }))
    }

    fn seen(&self, state: &State) -> Result<Vec<(String, Vec<String>)>> {
        categories::seen(self.unknown == Unknown::Error, || {
            Ok(state.data::<Learned>(VERSION)?.columns)
        })
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let learned: Learned = state.data(VERSION)?;
        let mut operations = Vec::new();
        if self.unknown == Unknown::Error {
            let vocabularies = categories::present(learned.columns.clone(), input);
            operations.push(categories::refuse_unseen(&vocabularies, input));
        }
        let mut schema = input.clone();
        for index in 0..learned.columns.len() {
            let Some(operation) = self.encode(&learned, index, state, &schema)? else {
                continue;
            };
            let source = learned.columns[index].column.as_str();
            let mut made = vec![operation];
            if !learned.labels.is_empty() && self.suffix.is_none() {
                made = placement::instead(made, &BTreeSet::from([source]), &schema);
            }
            schema = taktline_core::output_schema(&made, &[schema]);
            operations.extend(made);
        }
        Ok(operations)
    }
}
