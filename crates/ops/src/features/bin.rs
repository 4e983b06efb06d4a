//! `features.bin`.

mod check;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use indexmap::IndexMap;
use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    BinaryOperator, CheckContext, Column, Error, Estimator, Expression, FitContext, Frame,
    Function, Literal, Operation, ProgressEvent, Relational, Result, Schema, Shape, Stage, State,
    UnaryOperator, output_schema, register_kind,
};

use super::{answers, cart, numbers, placement, quantiles::quantile};
use crate::{
    columns::{self, Names},
    training,
};

const VERSION: u32 = 1;

/// Cut number columns into bins: ages into age bands.
///
/// The edges between the bins are learned from the training rows or given. A number beyond the first or last edge is in the end
/// bin, however far. Null and not-a-number become null; not-a-number in a training row is an error. Where many rows hold the same number, equal edges become one, so that
/// there are fewer bins than asked for.
///
/// Bins are numbered 0, 1, 2 from the least numbers on, or get labels such as `<= 18`, `(18, 65]` and `> 65`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Bin {
    /// The columns to learn edges for.
    columns: Option<Names>,
    /// The edges themselves, for columns that nothing is learned about: `{age: [18, 65]}` makes three bins.
    edges: Option<IndexMap<String, Vec<f64>>>,
    /// How edges are learned.
    #[serde(default)]
    method: Method,
    /// How many bins, at most.
    #[serde(default = "ten")]
    #[schemars(range(min = 2, max = 256))]
    bins: usize,
    /// For `tree`: no bin has fewer training rows.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1))]
    min_samples: usize,
    /// For `tree`: the column whose values should differ between the bins; default: the column with the role `target`.
    target: Option<String>,
    /// For `tree`: what the target is; default: amounts if it holds real numbers, else classes.
    task: Option<Task>,
    /// The bin of a number that is an edge.
    #[serde(default)]
    closed: Closed,
    /// What stands for a bin.
    #[serde(default, rename = "as")]
    form: Form,
    /// Keep the column and put the bin beside it, under its name with this at the end; default: in its place.
    suffix: Option<String>,
}

fn ten() -> usize {
    10
}

fn twenty() -> usize {
    20
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Method {
    /// As many rows in each bin: edges at quantiles.
    #[default]
    Quantile,
    /// As wide a range in each bin.
    Width,
    /// Where the target differs most: the cuts of a decision tree (CART).
    Tree,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Task {
    /// Amounts.
    Regression,
    /// Classes.
    Classes,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Closed {
    /// The one below: `(18, 65]`.
    #[default]
    Right,
    /// The one above: `[18, 65)`.
    Left,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Form {
    /// Its number, from 0.
    #[default]
    Number,
    /// Its range as text.
    Label,
}

register_kind! {
    Bin, "features.bin", version: 1,
    example: "- features.bin: {columns: [income], method: quantile, bins: 5, suffix: _band}",
}

/// The edges of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Edges {
    column: String,
    edges: Vec<f64>,
}

impl Bin {
    /// The columns to learn about.
    fn columns(&self) -> Vec<String> {
        self.columns.as_ref().map(Names::to_vec).unwrap_or_default()
    }

    fn given(&self) -> Vec<Edges> {
        self.edges
            .iter()
            .flatten()
            .map(|(column, edges)| Edges {
                column: column.clone(),
                edges: edges.clone(),
            })
            .collect()
    }

    /// Whether a number lies above the edge.
    fn is_above(&self, value: &Expression, edge: f64) -> Expression {
        let operator = match self.closed {
            Closed::Right => BinaryOperator::Greater,
            Closed::Left => BinaryOperator::GreaterOrEqual,
        };
        value.clone().binary(operator, Expression::float(edge))
    }

    fn labels(&self, edges: &[f64]) -> Vec<String> {
        let (Some(first), Some(last)) = (edges.first(), edges.last()) else {
            return vec!["all".to_owned()];
        };
        let between = edges.windows(2).map(|pair| match self.closed {
            Closed::Right => format!("({}, {}]", pair[0], pair[1]),
            Closed::Left => format!("[{}, {})", pair[0], pair[1]),
        });
        let (below, above) = match self.closed {
            Closed::Right => ("<=", ">"),
            Closed::Left => ("<", ">="),
        };
        std::iter::once(format!("{below} {first}"))
            .chain(between)
            .chain([format!("{above} {last}")])
            .collect()
    }

    fn binned(&self, column: &Column, edges: &[f64]) -> Expression {
        let value = Expression::column(&column.name).cast(DataType::Float64);
        let present = Expression::column(&column.name).unary(UnaryOperator::IsNotNull);
        let mut branches = Vec::new();
        if column.dtype.is_float() {
            // Not a number is larger than all others and would be in the last bin.
            let is_nan = Expression::call(Function::IsNan, vec![Expression::column(&column.name)]);
            branches.push((is_nan, Expression::Literal(Literal::Null)));
        }
        match self.form {
            // Counting the edges below costs less than one branch for each bin.
            Form::Number => {
                let number = sum(edges
                    .iter()
                    .map(|edge| self.is_above(&value, *edge).cast(DataType::Int64))
                    .collect());
                branches.push((present, number.unwrap_or_else(|| Expression::int(0))));
            }
            Form::Label => {
                let labels = self.labels(edges);
                // From the top, so that the first edge that a number lies above tells its bin.
                for (edge, label) in edges.iter().zip(&labels[1..]).rev() {
                    branches.push((
                        self.is_above(&value, *edge),
                        Expression::text(label.as_str()),
                    ));
                }
                branches.push((present, Expression::text(labels[0].as_str())));
            }
        }
        Expression::Case {
            branches,
            otherwise: Box::new(Expression::Literal(Literal::Null)),
        }
    }

    fn operations(&self, learned: &[Edges], input: &Schema) -> Vec<Operation> {
        let made = learned
            .iter()
            // Scoring brings only the columns that the model needs.
            .filter_map(|learned| Some((input.column(&learned.column)?, &learned.edges)))
            .map(|(column, edges)| {
                (
                    placement::made(&column.name, self.suffix.as_deref()),
                    self.binned(column, edges),
                )
            })
            .collect();
        vec![Operation::With(made)]
    }

    fn task(&self, target: &Column) -> Task {
        self.task.unwrap_or(if target.dtype.is_float() {
            Task::Regression
        } else {
            Task::Classes
        })
    }

    /// The edges between bins, from the training values without nulls and, for a tree, the target beside each.
    fn learned(&self, mut values: Vec<f64>, answers: &[Vec<f64>]) -> Vec<f64> {
        if self.method == Method::Tree {
            return cart::cuts(&values, answers, self.bins, self.min_samples);
        }
        values.sort_unstable_by(f64::total_cmp);
        let (Some(&least), Some(&most)) = (values.first(), values.last()) else {
            return Vec::new();
        };
        let shares = (1..self.bins).map(|bin| bin as f64 / self.bins as f64);
        let mut edges: Vec<f64> = match self.method {
            Method::Quantile | Method::Tree => {
                shares.map(|share| quantile(&values, share)).collect()
            }
            Method::Width => shares.map(|share| least + share * (most - least)).collect(),
        };
        // As pandas and scikit-learn do: an edge at an end would make a bin of no width.
        edges.retain(|edge| least < *edge && *edge < most);
        edges.dedup();
        edges
    }
}

/// A sum whose depth is small, however many there are.
fn sum(mut parts: Vec<Expression>) -> Option<Expression> {
    while parts.len() > 1 {
        let mut rest = parts.into_iter();
        let mut halved = Vec::new();
        while let Some(left) = rest.next() {
            halved.push(match rest.next() {
                Some(right) => left.binary(BinaryOperator::Add, right),
                None => left,
            });
        }
        parts = halved;
    }
    parts.pop()
}

impl Stage for Bin {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        self.check_method(input, cx);
        // The type does not depend on the edges.
        let expected: Vec<Edges> = self
            .check_columns(input, cx)
            .into_iter()
            .filter(|(path, name)| {
                placement::is_possible(name, self.suffix.as_deref(), input, path.clone(), cx)
            })
            .map(|(_, column)| Edges {
                column,
                edges: vec![0.0],
            })
            .collect();
        output_schema(&self.operations(&expected, input), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        // Given edges need no training rows, and may stand above a split.
        if self.edges.is_some() {
            Shape::Relational(self)
        } else {
            Shape::Estimator(self)
        }
    }
}

impl Relational for Bin {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(self.operations(&self.given(), columns::input(inputs)))
    }
}

impl Estimator for Bin {
    fn fit_reads(&self, input: &Schema) -> BTreeSet<String> {
        let target = match self.method {
            Method::Tree => training::target_name(self.target.as_deref(), input),
            Method::Quantile | Method::Width => None,
        };
        self.columns().into_iter().chain(target).collect()
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let answers = match self.method {
            Method::Tree => self.answers(train)?,
            Method::Quantile | Method::Width => Vec::new(),
        };
        let mut learned = Vec::new();
        for name in self.columns() {
            cx.cancellation.check()?;
            let values = numbers::training_values(&train.data, &name)?;
            let is_present = train.data.column(&name)?.is_not_null();
            // The target beside each value that is there.
            let beside: Vec<Vec<f64>> = answers
                .iter()
                .map(|answer| {
                    let rows = answer.iter().zip(is_present.iter());
                    rows.filter(|(_, present)| *present == Some(true))
                        .map(|(value, _)| *value)
                        .collect()
                })
                .collect();
            let edges = self.learned(values, &beside);
            if edges.is_empty() {
                let why = match self.method {
                    Method::Tree => "no cut tells more about the target",
                    Method::Quantile | Method::Width => "too few of its values differ",
                };
                cx.progress.event(ProgressEvent::Message(format!(
                    "`{name}` becomes a single bin: {why}"
                )));
            }
            learned.push(Edges {
                column: name,
                edges,
            });
        }
        State::from_data(VERSION, &learned)
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let learned: Vec<Edges> = state.data(VERSION)?;
        Ok(self.operations(&learned, columns::input(inputs)))
    }
}

impl Bin {
    /// The target as numbers: amounts, or for each class whether a row has it.
    fn answers(&self, train: &Frame) -> Result<Vec<Vec<f64>>> {
        let name = answers::target(self.target.as_deref(), train)?;
        let target = train
            .schema
            .column(&name)
            .ok_or_else(|| Error::data(format!("there is no column `{name}`")))?;
        if self.task(target) == Task::Regression {
            return Ok(vec![answers::amounts(train, &name)?]);
        }
        let classes = answers::classes(train, &name)?;
        if classes.labels.len() > 100 {
            return Err(Error::data(format!(
                "the target `{name}` has {} classes; say `task: regression` if these are amounts",
                classes.labels.len()
            )));
        }
        Ok((0..classes.labels.len())
            .map(|place| answers::indicator(&classes, place))
            .collect())
    }
}
