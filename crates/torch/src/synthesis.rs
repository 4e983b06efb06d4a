//! What `balance.gan` and `balance.vae` have in common: training rows as numbers that a network learns, and back; made-up rows
//! behind the real ones.

use std::{collections::BTreeSet, sync::Arc};

use distrs::Normal;
use polars::prelude::{
    AllowedOptimizations, Column as PolarsColumn, DataFrame, DataType, IdxCa, IdxSize, IntoColumn,
    NamedFrom, PolarsError, ReshapeDimension, RoundMode, RoundSeries, Series,
};
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Classes, Column, Error, Frame, Local, Operation, PARTITION, ParamPath, Partition,
    Problem, Result, Role, Schema, State, TensorData, classifier, counted, path, type_name,
};

use crate::{arrays::Input, protocol::Categories};

/// A category more costs a number a row.
const MOST_CATEGORIES: usize = 1000;

/// A value that so many of the rows have is drawn as it is; between rarer ones values are drawn too.
const COMMON: f64 = 0.005;

/// Points of a distribution that are kept.
const MOST_POINTS: usize = 2000;

/// What a spec asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The column whose classes are balanced.
    pub(crate) target: Option<&'a str>,
    /// How many rows a class has at least, as a share of the largest class.
    pub(crate) ratio: f64,
    /// Columns of whole numbers that are categories.
    pub(crate) categories: &'a [String],
}

/// How the values of a column become numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Number,
    Category,
    Array,
}

impl Asked<'_> {
    fn target_column<'s>(&self, input: &'s Schema) -> Option<&'s Column> {
        match self.target {
            Some(name) => input.column(name),
            None => input.target(),
        }
    }

    fn features<'s>(&self, input: &'s Schema) -> Vec<&'s Column> {
        let target = self.target_column(input).map(|column| &column.name);
        input
            .with_role(Role::Feature)
            .filter(|column| Some(&column.name) != target)
            .collect()
    }

    fn form(&self, column: &Column) -> Option<Form> {
        if let Some((_, item)) = column.array() {
            return matches!(item, DataType::Float32 | DataType::Float64).then_some(Form::Array);
        }
        let is_named = self.categories.contains(&column.name);
        match &column.dtype {
            dtype if dtype.is_float() => Some(Form::Number),
            dtype if dtype.is_integer() && !is_named => Some(Form::Number),
            dtype if Classes::can_hold(dtype) => Some(Form::Category),
            _ => None,
        }
    }

    /// The array column, where it is the only feature.
    pub(crate) fn only_array(&self, input: &Schema) -> Option<Vec<usize>> {
        match self.features(input).as_slice() {
            [only] => only.array().map(|(shape, _)| shape),
            _ => None,
        }
    }

    /// Checks target, split and columns; the schema after it, which does not change.
    pub(crate) fn check(&self, input: &Schema, cx: &mut CheckContext<'_>) -> Schema {
        if !input.facts.partitions.contains(&Partition::Train) && !input.incomplete {
            let message = format!(
                "stage `{}` needs to know which rows are for training, and nothing above splits them",
                cx.stage
            );
            cx.report(
                Problem::error("no-split", ParamPath::kind(), message)
                    .label("only training rows are balanced")
                    .help("put a `split.*` stage above it"),
            );
        }
        classifier::check_target(input, self.target, Classes::can_hold, cx);
        for (index, name) in self.categories.iter().enumerate() {
            if input.column(name).is_none() {
                let place = path!["categories", index];
                cx.report(classifier::unknown_column(input, name, place));
            }
        }
        let features = self.features(input);
        let unfit: Vec<String> = features
            .iter()
            .filter(|column| self.form(column).is_none())
            .map(|column| format!("`{}` ({})", column.name, type_name(&column.dtype)))
            .collect();
        if !unfit.is_empty() {
            let message = format!(
                "stage `{}` cannot make up values of {}",
                cx.stage,
                unfit.join(", ")
            );
            cx.report(
                Problem::error("type-mismatch", ParamPath::kind(), message)
                    .label("makes up rows from numbers, categories and arrays of real numbers")
                    .help("give them the role `ignore`, or drop them above"),
            );
        } else if features.is_empty() && !input.incomplete {
            let message = format!("stage `{}` finds no feature to make up", cx.stage);
            cx.report(Problem::error("no-columns", ParamPath::kind(), message));
        }
        let mut output = input.clone();
        output.facts.is_balanced = true;
        output.facts.multiplied_by = Some(cx.stage.to_owned());
        output
    }

    /// The columns that are learned.
    pub(crate) fn reads(&self, input: &Schema) -> BTreeSet<String> {
        let target = self.target_column(input);
        let weights = input.with_role(Role::Weight);
        self.features(input)
            .into_iter()
            .chain(target)
            .chain(weights)
            .map(|column| column.name.clone())
            .collect()
    }
}

/// How the values of a column become numbers, and back.
#[derive(Debug)]
enum Translation {
    /// To mean 0 and deviation 1.
    Line(Line),
    /// Through their distribution to the standard normal one.
    Number(Distribution),
    /// A number for each category; rows that have them.
    Category(Vec<usize>),
    /// From [low, high] to [-1, 1].
    Array {
        shape: Vec<usize>,
        low: f32,
        high: f32,
    },
}

impl Translation {
    fn width(&self) -> usize {
        match self {
            Self::Line(_) | Self::Number(_) => 1,
            Self::Category(rows) => rows.len(),
            Self::Array { shape, .. } => shape.iter().product(),
        }
    }
}

/// Training rows as numbers.
#[derive(Debug)]
pub(crate) struct Material {
    columns: Vec<(String, Translation)>,
    /// Rows × width.
    pub(crate) rows: Vec<f32>,
    pub(crate) width: usize,
    /// The class of each row.
    pub(crate) labels: Vec<i64>,
    /// How many rows each class lacks.
    pub(crate) wanted: Vec<usize>,
    names: Vec<String>,
    target: String,
    weights: Option<(String, Vec<f64>)>,
}

impl Asked<'_> {
    /// The training rows as numbers.
    ///
    /// # Errors
    /// Null and not-a-number in a feature, rows without a class, columns with too many categories.
    pub(crate) fn material(&self, train: &Frame) -> Result<Material> {
        let schema = &train.schema;
        let target = self
            .target_column(schema)
            .ok_or_else(|| Error::data("there is no target whose classes could be balanced"))?;
        let of_target = train.data.column(&target.name)?;
        if of_target.null_count() > 0 {
            return Err(Error::data(format!(
                "`{}` has no label in {} of {}",
                target.name,
                of_target.null_count(),
                counted(of_target.len(), "row")
            )));
        }
        let classes = Classes::of(of_target, None)?;
        let mut counts = vec![0_usize; classes.labels.len()];
        for code in &classes.codes {
            counts[*code as usize] += 1;
        }
        let largest = counts.iter().max().copied().unwrap_or_default();
        let least = (self.ratio * largest as f64).round() as usize;
        let shares: Vec<f64> = classes
            .codes
            .iter()
            .map(|code| 1.0 / (counts[*code as usize] * counts.len()) as f64)
            .collect();
        let mut columns = Vec::new();
        let mut parts: Vec<Vec<f32>> = Vec::new();
        for feature in self.features(schema) {
            let column = train.data.column(&feature.name)?;
            let form = self
                .form(feature)
                .ok_or_else(|| Error::data(format!("`{}` is not made of numbers", feature.name)))?;
            let (translation, numbers) = translated(column, form, &shares)?;
            columns.push((feature.name.clone(), translation));
            parts.push(numbers);
        }
        let widths: Vec<usize> = columns.iter().map(|(_, of)| of.width()).collect();
        let width = widths.iter().sum();
        let height = train.data.height();
        let mut rows = Vec::with_capacity(height * width);
        for row in 0..height {
            for (part, width) in parts.iter().zip(&widths) {
                rows.extend_from_slice(&part[row * width..(row + 1) * width]);
            }
        }
        let weights = match schema.with_role(Role::Weight).next() {
            None => None,
            Some(column) => {
                let weights = train
                    .data
                    .column(&column.name)?
                    .strict_cast(&DataType::Float64)?;
                let mut sums = vec![0.0; counts.len()];
                for (weight, code) in weights.f64()?.iter().zip(&classes.codes) {
                    sums[*code as usize] += weight.unwrap_or_default();
                }
                let means = sums.iter().zip(&counts);
                let means = means.map(|(sum, count)| sum / (*count).max(1) as f64);
                Some((column.name.clone(), means.collect()))
            }
        };
        Ok(Material {
            columns,
            rows,
            width,
            labels: classes.codes.iter().map(|code| i64::from(*code)).collect(),
            wanted: counts
                .iter()
                .map(|count| least.saturating_sub(*count))
                .collect(),
            names: classes.labels,
            target: target.name.clone(),
            weights,
        })
    }
}

/// The numbers of a column, row after row, and how they become values again.
fn translated(
    column: &PolarsColumn,
    form: Form,
    shares: &[f64],
) -> Result<(Translation, Vec<f32>)> {
    let name = column.name();
    if column.null_count() > 0 {
        return Err(Error::data(format!(
            "the feature `{name}` is null in {} of {}; fill them above (`clean.fill_null`)",
            column.null_count(),
            counted(column.len(), "row")
        )));
    }
    match form {
        Form::Number => {
            let floats = column.strict_cast(&DataType::Float64)?;
            let values: Vec<f64> = floats.f64()?.iter().flatten().collect();
            if let Some(row) = values.iter().position(|value| !value.is_finite()) {
                return Err(Error::data(format!(
                    "the feature `{name}` is {} in row {} of the training part",
                    values[row],
                    row + 1
                )));
            }
            if let Some(line) = Line::of(&values, shares) {
                let numbers = values.iter().map(|value| line.to_standard(*value) as f32);
                let numbers = numbers.collect();
                return Ok((Translation::Line(line), numbers));
            }
            let distribution = Distribution::of(&values, shares);
            let numbers = values
                .iter()
                .map(|value| distribution.to_normal(*value) as f32)
                .collect();
            Ok((Translation::Number(distribution), numbers))
        }
        Form::Category => {
            let classes = Classes::of(column, None)?;
            let count = classes.labels.len();
            if count > MOST_CATEGORIES {
                return Err(Error::data(format!(
                    "the feature `{name}` has {}; more than {MOST_CATEGORIES} are not made up",
                    counted(count, "different value")
                )));
            }
            let mut examples = vec![0; count];
            let mut numbers = vec![0.0; column.len() * count];
            for (row, code) in classes.codes.iter().enumerate().rev() {
                examples[*code as usize] = row;
                numbers[row * count + *code as usize] = 1.0;
            }
            Ok((Translation::Category(examples), numbers))
        }
        Form::Array => {
            let own = Column::new(name.as_str(), column.dtype().clone());
            let shape = own.array().map(|(shape, _)| shape).unwrap_or_default();
            let input = Input::Array {
                column: name.to_string(),
                shape: shape.clone(),
            };
            let frame = DataFrame::new(column.len(), vec![column.clone()])?;
            let own = input.rows(&frame)?;
            let low = own.iter().copied().fold(f32::INFINITY, f32::min);
            let high = own.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let half = ((high - low) / 2.0).max(f32::MIN_POSITIVE);
            let numbers = own
                .iter()
                .map(|number| (number - low) / half - 1.0)
                .collect();
            Ok((Translation::Array { shape, low, high }, numbers))
        }
    }
}

/// A deviation that is never nothing, and the ends that values keep to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    mean: f64,
    deviation: f64,
    least: f64,
    most: f64,
}

/// Heavier tails than this (the kurtosis; a normal distribution has 3) would be cut, or be most of what is learned.
const HEAVY: f64 = 6.0;

impl Line {
    /// Of values that count so much each; none where some of them are common or far away from the others.
    fn of(values: &[f64], shares: &[f64]) -> Option<Self> {
        let mean: f64 = values
            .iter()
            .zip(shares)
            .map(|(value, share)| value * share)
            .sum();
        let moment = |power: i32| -> f64 {
            let own = values.iter().zip(shares);
            own.map(|(value, share)| (value - mean).powi(power) * share)
                .sum()
        };
        let variance = moment(2);
        let is_heavy = variance <= 0.0 || moment(4) > HEAVY * variance * variance;
        let mut sorted: Vec<(f64, f64)> =
            values.iter().copied().zip(shares.iter().copied()).collect();
        sorted.sort_by(|left, right| left.0.total_cmp(&right.0));
        let has_common = sorted
            .chunk_by(|left, right| left.0 == right.0)
            .any(|block| {
                block.len() > 1 && block.iter().map(|(_, share)| share).sum::<f64>() >= COMMON
            });
        let (least, most) = (sorted.first()?.0, sorted.last()?.0);
        (!is_heavy && !has_common).then(|| Self {
            mean,
            deviation: variance.sqrt(),
            least,
            most,
        })
    }

    fn to_standard(self, value: f64) -> f64 {
        (value - self.mean) / self.deviation
    }

    fn value_at(self, number: f64) -> f64 {
        (number * self.deviation + self.mean).clamp(self.least, self.most)
    }
}

/// How the values of a column are distributed: points (value, share of rows below), both rising.
#[derive(Debug, Clone, PartialEq)]
struct Distribution(Vec<(f64, f64)>);

impl Distribution {
    /// Of values that count so much each; the shares sum up to 1.
    fn of(values: &[f64], shares: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|left, right| values[*left].total_cmp(&values[*right]));
        let mut blocks: Vec<(f64, f64)> = Vec::new();
        for row in order {
            match blocks.last_mut() {
                Some((value, share)) if *value == values[row] => *share += shares[row],
                _ => blocks.push((values[row], shares[row])),
            }
        }
        let every = blocks.len().div_ceil(MOST_POINTS).max(1);
        let last = blocks.len().saturating_sub(1);
        let mut points = Vec::new();
        let mut below = 0.0;
        for (index, (value, share)) in blocks.into_iter().enumerate() {
            if share >= COMMON {
                points.extend([(value, below), (value, below + share)]);
            } else if index.is_multiple_of(every) || index == last {
                points.push((value, below + share / 2.0));
            }
            below += share;
        }
        Self(points)
    }

    /// The value's place in the standard normal distribution.
    fn to_normal(&self, value: f64) -> f64 {
        let points = &self.0;
        let above = points.partition_point(|(point, _)| *point < value);
        let beyond = points.partition_point(|(point, _)| *point <= value);
        let share = if beyond > above {
            // The middle of the block.
            f64::midpoint(points[above].1, points[beyond - 1].1)
        } else {
            between(points, above, value, |(value, share)| (value, share))
        };
        Normal::ppf(share.clamp(1e-4, 1.0 - 1e-4), 0.0, 1.0)
    }

    /// The value at that place.
    fn value_at(&self, number: f64) -> f64 {
        let share = Normal::cdf(number, 0.0, 1.0);
        let above = self.0.partition_point(|(_, point)| *point < share);
        between(&self.0, above, share, |(value, share)| (share, value))
    }
}

/// On the line between the points before and at `above`; beyond the ends, what the end has.
fn between(
    points: &[(f64, f64)],
    above: usize,
    at: f64,
    turned: impl Fn((f64, f64)) -> (f64, f64),
) -> f64 {
    let end = |point: Option<&(f64, f64)>| point.map_or(0.0, |point| turned(*point).1);
    match (
        above.checked_sub(1).map(|below| points[below]),
        points.get(above),
    ) {
        (None, _) => end(points.first()),
        (_, None) => end(points.last()),
        (Some(left), Some(right)) => {
            let ((from, low), (to, high)) = (turned(left), turned(*right));
            if to > from {
                low + (high - low) * (at - from) / (to - from)
            } else {
                low
            }
        }
    }
}

/// How a column of made-up rows is kept: values, or rows of the training part that have them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    Numbers,
    Rows,
    Arrays(Vec<usize>),
}

/// What is learned: the rows that were made up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learned {
    columns: Vec<(String, Kept)>,
    rows: usize,
}

impl Material {
    /// Numbers of a row that are the probabilities of categories.
    pub(crate) fn categories(&self) -> Vec<Categories> {
        let mut start = 0;
        let mut found = Vec::new();
        for (_, translation) in &self.columns {
            let count = translation.width();
            if let Translation::Category(_) = translation {
                found.push(Categories { start, count });
            }
            start += count;
        }
        found
    }

    /// The class as a user calls it.
    pub(crate) fn class(&self, index: usize) -> &str {
        self.names.get(index).map_or("", String::as_str)
    }

    /// The rows of a class.
    pub(crate) fn of_class(&self, class: usize) -> Vec<f32> {
        let own = (0..)
            .zip(&self.labels)
            .filter(|(_, label)| **label == class as i64);
        own.flat_map(|(row, _): (usize, _)| &self.rows[row * self.width..(row + 1) * self.width])
            .copied()
            .collect()
    }

    /// The state that appends these made-up rows, class after class.
    pub(crate) fn state(&self, version: u32, made_up: &[f32]) -> Result<State> {
        let rows: usize = self.wanted.iter().sum();
        if made_up.len() != rows * self.width {
            return Err(Error::Model(format!(
                "{} numbers came for {} of {}",
                made_up.len(),
                counted(rows, "made-up row"),
                self.width
            )));
        }
        let classes = || {
            let each = self.wanted.iter().enumerate();
            each.flat_map(|(class, count)| std::iter::repeat_n(class, *count))
        };
        let mut columns = Vec::new();
        let mut tensors = Vec::new();
        let mut keep = |name: &str, kept: Kept, shape: Vec<usize>, data: TensorData| {
            columns.push((name.to_owned(), kept));
            tensors.push((name.to_owned(), shape, data));
        };
        let mut start = 0;
        for (name, translation) in &self.columns {
            let width = translation.width();
            let own = || {
                let rows = made_up.chunks_exact(self.width.max(1));
                rows.map(move |row| &row[start..start + width])
            };
            match translation {
                Translation::Line(line) => {
                    let values = own().map(|row| line.value_at(f64::from(row[0]))).collect();
                    keep(name, Kept::Numbers, vec![rows], TensorData::F64(values));
                }
                Translation::Number(distribution) => {
                    let values = own()
                        .map(|row| distribution.value_at(f64::from(row[0])))
                        .collect();
                    keep(name, Kept::Numbers, vec![rows], TensorData::F64(values));
                }
                Translation::Category(examples) => {
                    let likeliest = |row: &[f32]| {
                        (1..width).fold(
                            0,
                            |best, place| {
                                if row[place] > row[best] { place } else { best }
                            },
                        )
                    };
                    let examples = own().map(|row| examples[likeliest(row)] as i64).collect();
                    keep(name, Kept::Rows, vec![rows], TensorData::I64(examples));
                }
                Translation::Array { shape, low, high } => {
                    let half = (high - low) / 2.0;
                    let values = own()
                        .flatten()
                        .map(|number| (low + (number + 1.0) * half).clamp(*low, *high))
                        .collect();
                    let kept = Kept::Arrays(shape.clone());
                    keep(name, kept, vec![rows, width], TensorData::F32(values));
                }
            }
            start += width;
        }
        let first_of = |class: usize| {
            let mut labels = self.labels.iter();
            labels
                .position(|label| *label == class as i64)
                .unwrap_or_default() as i64
        };
        let firsts: Vec<i64> = (0..self.wanted.len()).map(first_of).collect();
        let examples = classes().map(|class| firsts[class]).collect();
        keep(
            &self.target,
            Kept::Rows,
            vec![rows],
            TensorData::I64(examples),
        );
        if let Some((name, means)) = &self.weights {
            let weights = classes().map(|class| means[class]).collect();
            keep(name, Kept::Numbers, vec![rows], TensorData::F64(weights));
        }
        let state = State::from_data(version, &Learned { columns, rows })?;
        Ok(tensors
            .into_iter()
            .fold(state, |state, (name, shape, data)| {
                state.with_tensor(name, shape, data)
            }))
    }
}

/// The operation that appends the rows of a state; none for a frame without parts, which holds rows to score.
pub(crate) fn operations(
    name: &'static str,
    version: u32,
    state: &State,
    input: &Schema,
) -> Result<Vec<Operation>> {
    let learned: Learned = state.data(version)?;
    if input.column(PARTITION).is_none() || learned.rows == 0 {
        return Ok(Vec::new());
    }
    let reads = std::iter::once(PARTITION)
        .chain(learned.columns.iter().map(|(name, _)| name.as_str()))
        .map(str::to_owned)
        .collect();
    let state = Arc::new(state.clone());
    let learned = Arc::new(learned);
    Ok(vec![Operation::Local(Local {
        name,
        reads,
        keeps_rows: false,
        schema: input.clone(),
        apply: Arc::new(move |frame| {
            let (state, learned) = (Arc::clone(&state), Arc::clone(&learned));
            let append = move |data: DataFrame| {
                appended(&data, &learned, &state)
                    .map_err(|error| PolarsError::ComputeError(error.to_string().into()))
            };
            // All columns must be there, and no filter may move above it: the rows are counted.
            Ok(frame.map(append, AllowedOptimizations::empty(), None, Some(name)))
        }),
    })])
}

fn appended(data: &DataFrame, learned: &Learned, state: &State) -> Result<DataFrame> {
    let parts = data.column(PARTITION)?.str()?;
    let training: Vec<IdxSize> = (0..)
        .zip(parts.iter())
        .filter(|(_, part)| *part == Some(Partition::Train.label()))
        .map(|(row, _)| row)
        .collect();
    let columns = data
        .columns()
        .iter()
        .map(|column| {
            let name = column.name();
            if name == PARTITION {
                let labels = vec![Partition::Train.label(); learned.rows];
                return Ok(PolarsColumn::new(name.clone(), labels));
            }
            let kept = learned.columns.iter().find(|(known, _)| known == name);
            let Some((_, kept)) = kept else {
                return Ok(PolarsColumn::full_null(
                    name.clone(),
                    learned.rows,
                    column.dtype(),
                ));
            };
            made_up(column, kept, &state.tensor(name)?.data, &training)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(data.vstack(&DataFrame::new(learned.rows, columns)?)?)
}

/// A column of made-up rows, like the real rows' column.
fn made_up(
    real: &PolarsColumn,
    kept: &Kept,
    data: &TensorData,
    training: &[IdxSize],
) -> Result<PolarsColumn> {
    let name = real.name().clone();
    match (kept, data) {
        (Kept::Numbers, TensorData::F64(values)) => {
            let series = Series::new(name, values.as_slice());
            let series = match real.dtype().is_integer() {
                true => series.round(0, RoundMode::HalfToEven)?,
                false => series,
            };
            Ok(series.strict_cast(real.dtype())?.into_column())
        }
        (Kept::Rows, TensorData::I64(rows)) => {
            let places = rows
                .iter()
                .map(|row| training.get(*row as usize).copied())
                .collect::<Option<Vec<IdxSize>>>()
                .ok_or_else(|| Error::data("the training rows are not those that were learned"))?;
            Ok(real.take(&IdxCa::from_vec(name, places))?)
        }
        (Kept::Arrays(shape), TensorData::F32(values)) => {
            let length: usize = shape.iter().product();
            let sides = std::iter::once(values.len().checked_div(length).unwrap_or_default());
            let sides: Vec<ReshapeDimension> = sides
                .chain(shape.iter().copied())
                .map(|side| ReshapeDimension::new(side as i64))
                .collect();
            let series = Series::new(name, values.as_slice()).reshape_array(&sides)?;
            Ok(series.cast(real.dtype())?.into_column())
        }
        _ => Err(Error::State(format!("`{name}` is of another form"))),
    }
}

#[cfg(test)]
mod tests {
    use polars::df;
    use taktline_core::Column;

    use super::*;

    #[test]
    fn values_come_back_from_the_normal_distribution() {
        let values: Vec<f64> = (0..1000).map(|value| f64::from(value).powi(2)).collect();
        let shares = vec![1e-3; 1000];
        let distribution = Distribution::of(&values, &shares);
        assert!(distribution.to_normal(values[500]).abs() < 0.01);
        for value in [0.0, 400.0, 250_000.0, 998_001.0] {
            let back = distribution.value_at(distribution.to_normal(value));
            assert!(
                (back - value).abs() < 1e-6 * value.max(1.0),
                "{value}: {back}"
            );
        }
        // Nothing lies outside of what was seen.
        assert_eq!(distribution.value_at(-9.0), 0.0);
        assert_eq!(distribution.value_at(9.0), 998_001.0);
    }

    #[test]
    fn common_values_are_drawn_as_they_are() {
        let values = [0.0, 0.0, 0.0, 1.0, 1.0, 5.0];
        let distribution = Distribution::of(&values, &[1.0 / 6.0; 6]);
        for number in [-3.0, -0.5, -0.01, 0.2, 0.5, 1.5, 3.0] {
            let value = distribution.value_at(number);
            assert!([0.0, 1.0, 5.0].contains(&value), "{number}: {value}");
        }
        // Half of all are 0.
        assert_eq!(distribution.value_at(-0.01), 0.0);
        assert_eq!(distribution.value_at(0.01), 1.0);
    }

    #[test]
    fn plain_numbers_are_only_scaled() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        let line = Line::of(&values, &vec![1e-3; 1000]).expect("plain");
        assert!((line.to_standard(499.5)).abs() < 1e-12);
        assert!((line.value_at(line.to_standard(10.0)) - 10.0).abs() < 1e-9);
        assert_eq!(line.value_at(99.0), 999.0);
        let common: Vec<f64> = (0..1000).map(|row| f64::from(row % 10)).collect();
        assert_eq!(Line::of(&common, &vec![1e-3; 1000]), None);
        let heavy: Vec<f64> = (0..1000).map(|row| f64::from(row).powi(9)).collect();
        assert_eq!(Line::of(&heavy, &vec![1e-3; 1000]), None);
    }

    fn frame() -> (DataFrame, Schema) {
        let data = df!(
            "id" => ["a", "b", "c", "d", "e"],
            "amount" => [10_i64, 20, 30, 40, 50],
            "channel" => ["web", "shop", "web", "shop", "web"],
            "is_fraud" => [false, false, false, true, true],
            PARTITION => ["train", "train", "test", "train", "train"],
        )
        .expect("a frame");
        let mut schema = Schema::from_polars(data.schema());
        for column in &mut schema.columns {
            let role = match column.name.as_str() {
                "id" => Role::Id,
                "is_fraud" => Role::Target,
                PARTITION => Role::Internal,
                _ => Role::Feature,
            };
            *column = Column::new(column.name.clone(), column.dtype.clone()).with_role(role);
        }
        (data, schema)
    }

    #[test]
    fn made_up_rows_stand_behind_the_real_ones() {
        let (data, schema) = frame();
        let parts = data.column(PARTITION).expect("parts").str().expect("text");
        let mask = parts
            .iter()
            .map(|part| Some(part == Some("train")))
            .collect();
        let train = Frame {
            data: data.filter(&mask).expect("rows").drop_many(["id"]),
            schema: schema.clone(),
        };
        let asked = Asked {
            target: None,
            ratio: 1.0,
            categories: &[],
        };
        let mut material = asked.material(&train).expect("material");
        assert_eq!(material.width, 3);
        assert_eq!(material.wanted, [0, 0]);
        assert_eq!(material.categories(), [Categories { start: 1, count: 2 }]);
        assert_eq!(material.of_class(1).len(), 6);
        material.wanted = vec![0, 2];
        // The largest amount from the web, the smallest from the shop; "shop" comes before "web".
        let state = material
            .state(1, &[9.0, 0.1, 0.9, -9.0, 0.8, 0.2])
            .expect("state");
        let operations = operations("balance.gan", 1, &state, &schema).expect("operations");
        let [Operation::Local(local)] = operations.as_slice() else {
            panic!("{operations:?}");
        };
        let after = (local.apply)(polars::prelude::IntoLazy::lazy(data.clone()))
            .and_then(|frame| Ok(frame.collect()?))
            .expect("rows");
        assert_eq!(after.head(Some(5)), data);
        let expected = df!(
            "id" => [None::<&str>, None],
            "amount" => [50_i64, 10],
            "channel" => ["web", "shop"],
            "is_fraud" => [true, true],
            PARTITION => ["train", "train"],
        )
        .expect("a frame");
        assert!(after.tail(Some(2)).equals_missing(&expected), "{after}");
    }

    #[test]
    fn nulls_are_refused() {
        let (mut data, schema) = frame();
        data.with_column(PolarsColumn::new(
            "amount".into(),
            [Some(1_i64), None, None, Some(2), Some(3)],
        ))
        .expect("a column");
        let asked = Asked {
            target: None,
            ratio: 1.0,
            categories: &[],
        };
        let error = asked
            .material(&Frame { data, schema })
            .expect_err("null")
            .to_string();
        assert!(error.contains("`amount` is null in 2 of 5 rows"), "{error}");
    }
}
