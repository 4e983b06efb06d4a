//! `clean.fill_null`.

use std::collections::BTreeSet;

use polars::prelude::{Column as PolarsColumn, DataType, TimeUnit};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Error, Estimator, Expression, FitContext, Frame, Function, Operation,
    PARTITION, ParamPath, Problem, Relational, Result, Schema, Shape, Stage, State, output_schema,
    path, register_kind,
};

use super::{
    groups,
    learned::{Constant, Learned, Values, with_values},
    ordered_fill::{Direction, OrderedFill},
};
use crate::{
    columns::{self, Names, Scalar},
    features::{check_groups, quantile},
};

const VERSION: u32 = 1;

/// Put a value in the place of null: a constant, what the training rows say, or the neighbours' values.
///
/// A constant must fit the type of every column that is named; the types stay. Not-a-number is not null.
///
/// `with: mean`, `median` and `mode` are learned from the training rows, for each group of `by`, and put into all rows; a
/// group that training did not see, or that has no value there, gets the value of all training rows. A column without any
/// value in the training rows is an error. With `mean`, `median` and `linear` whole numbers become f64, as what is put
/// there need not be whole; everything else keeps its type. Of equally frequent values `mode` takes the smallest.
///
/// `with: forward`, `backward` and `linear` take the nearest values of the same group before, after, or on both sides, in
/// row order or in the order of `over`. `linear` goes in equal steps from row to row or, with `over`, evenly in time, and
/// never beyond the first and the last value. A row without a time is neither filled nor looked at. These three need the
/// rows around: a single row that is scored keeps its nulls, and only rows that are scored together fill each other.
/// `backward` and `linear` look ahead: below a split they take no values of another part, above it they would.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FillNull {
    /// The columns to fill.
    columns: Names,
    /// What to put: a number, text, a date in quotes, true or false.
    value: Option<Scalar>,
    /// What to put instead of a constant.
    with: Option<With>,
    /// The columns that make rows belong together; default: all rows belong together.
    by: Option<Names>,
    /// The column that orders the rows in time, for `forward`, `backward` and `linear`; default: row order.
    over: Option<String>,
    /// The most nulls in a row to fill with `forward` and `backward`; default: all.
    #[schemars(range(min = 1))]
    limit: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum With {
    /// The mean of the training rows.
    Mean,
    /// The median of the training rows.
    Median,
    /// The most frequent value of the training rows.
    Mode,
    /// The last value before.
    Forward,
    /// The first value after.
    Backward,
    /// On the line between the values before and after.
    Linear,
}

impl With {
    fn is_learned(self) -> bool {
        matches!(self, Self::Mean | Self::Median | Self::Mode)
    }

    /// Whether what is put there lies between values.
    fn is_between(self) -> bool {
        matches!(self, Self::Mean | Self::Median | Self::Linear)
    }

    fn direction(self) -> Option<Direction> {
        match self {
            Self::Forward => Some(Direction::Forward),
            Self::Backward => Some(Direction::Backward),
            Self::Linear => Some(Direction::Between),
            Self::Mean | Self::Median | Self::Mode => None,
        }
    }
}

register_kind! {
    FillNull, "clean.fill_null", version: 2,
    example: "- clean.fill_null: {columns: [channel], value: unknown}",
}

impl FillNull {
    fn by(&self) -> Vec<String> {
        self.by.as_ref().map(Names::to_vec).unwrap_or_default()
    }

    fn with_constant(value: &Scalar, column: &Column) -> Result<(String, Expression), String> {
        let constant =
            Expression::Literal(value.literal(&column.dtype)?).cast(column.dtype.clone());
        let filled = Expression::call(
            Function::Coalesce,
            vec![Expression::column(&column.name), constant],
        );
        // The common type of both is the column's own; saying so again costs nothing and holds on every engine.
        Ok((column.name.clone(), filled.cast(column.dtype.clone())))
    }

    /// The column after it, filled with this value of the row.
    fn with_learned(with: With, column: &Column, value: Expression) -> (String, Expression) {
        let to = filled_type(with, column);
        let own = Expression::column(&column.name);
        let own = if with.is_between() {
            own.cast(DataType::Float64)
        } else {
            own
        };
        let filled = Expression::call(Function::Coalesce, vec![own, value]).cast(to);
        (column.name.clone(), filled)
    }

    fn ordered(&self, direction: Direction, input: &Schema) -> Vec<Operation> {
        let columns: Vec<Column> = self
            .columns
            .iter()
            // Scoring brings only the columns that the model needs.
            .filter_map(|name| input.column(name))
            .map(|column| Column {
                dtype: self
                    .with
                    .map_or_else(|| column.dtype.clone(), |with| filled_type(with, column)),
                ..column.clone()
            })
            .collect();
        if columns.is_empty() {
            return Vec::new();
        }
        let mut by = self.by();
        // A later value must not come out of the rows that are to judge by.
        let looks_ahead = !matches!(direction, Direction::Forward);
        if looks_ahead
            && input.column(PARTITION).is_some()
            && by.iter().all(|name| name != PARTITION)
        {
            by.push(PARTITION.to_owned());
        }
        let fill = OrderedFill {
            by,
            over: self.over.clone(),
            columns,
            direction,
            limit: self.limit,
        };
        vec![fill.operation(input)]
    }

    fn check_params(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        match (&self.value, self.with) {
            (None, None) => cx.report(
                Problem::error(
                    "missing-param",
                    ParamPath::kind(),
                    format!(
                        "stage `{}` does not say what to put in the place of null",
                        cx.stage
                    ),
                )
                .label("needs `value` or `with`")
                .help("write `value: 0` or `with: median`"),
            ),
            (Some(_), Some(_)) => groups::report_unused("with", "`value` says it already", cx),
            _ => {}
        }
        let is_ordered = self.with.is_some_and(|with| !with.is_learned());
        if self.by.is_some() && self.with.is_none() {
            groups::report_unused("by", "a constant is the same in all groups", cx);
        }
        if self.over.is_some() && !is_ordered {
            let label = "only `forward`, `backward` and `linear` look at the order of rows";
            groups::report_unused("over", label, cx);
        }
        if self.limit.is_some() && !matches!(self.with, Some(With::Forward | With::Backward)) {
            groups::report_unused("limit", "only `forward` and `backward` count nulls", cx);
        }
        check_groups(self.by.as_ref(), input, cx);
        if let Some(over) = &self.over
            && let Some(column) = columns::find(input, over, path!["over"], cx)
        {
            columns::is_time(column, path!["over"], cx);
        }
        let orders = |name: &str| {
            self.over.as_deref() == Some(name)
                || self.by.iter().flat_map(Names::iter).any(|key| key == name)
        };
        for (path, name) in self.columns.located(&path!["columns"]) {
            if columns::is_allowed(name, path.clone(), cx) && orders(name) {
                let message = format!(
                    "stage `{}` cannot fill `{name}` and go by it at once",
                    cx.stage
                );
                cx.report(
                    Problem::error("bad-value", path, message)
                        .label("also named by `by` or `over`")
                        .help("fill it in a stage of its own above"),
                );
            }
        }
    }
}

/// The type of a column after it.
fn filled_type(with: With, column: &Column) -> DataType {
    if with.is_between() && column.dtype.is_integer() {
        DataType::Float64
    } else {
        column.dtype.clone()
    }
}

/// Whether such a value can be learned or found for the column; another type is reported.
fn fits(with: With, column: &Column, path: ParamPath, cx: &mut CheckContext<'_>) -> bool {
    match with {
        With::Forward | With::Backward => true,
        With::Mean | With::Median | With::Linear => columns::is_number(column, path, cx),
        With::Mode => {
            let fits = matches!(
                column.dtype,
                DataType::Boolean
                    | DataType::String
                    | DataType::Date
                    | DataType::Datetime(TimeUnit::Microseconds | TimeUnit::Milliseconds, None)
            ) || column.dtype.is_primitive_numeric();
            if !fits {
                let needs = "text, numbers, truth values, dates or datetimes without a zone";
                columns::report_type(column, needs, path, cx);
            }
            fits
        }
    }
}

impl Stage for FillNull {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        self.check_params(input, cx);
        let mut filled = Vec::new();
        for (path, column) in self.columns.find(input, &path!["columns"], cx) {
            match (&self.value, self.with) {
                (Some(value), _) => match Self::with_constant(value, column) {
                    Ok(one) => filled.push(one),
                    Err(reason) => cx.report(
                        Problem::error(
                            "type-mismatch",
                            path!["value"],
                            format!(
                                "stage `{}` cannot fill `{}`: {reason}",
                                cx.stage, column.name
                            ),
                        )
                        .label(format!("does not fit `{}`", column.name)),
                    ),
                },
                (None, Some(with)) if fits(with, column, path, cx) => {
                    let same = Expression::column(&column.name).cast(filled_type(with, column));
                    filled.push((column.name.clone(), same));
                }
                (None, _) => {}
            }
        }
        output_schema(&[Operation::With(filled)], inputs)
    }

    fn fills(&self) -> BTreeSet<String> {
        self.columns.iter().map(str::to_owned).collect()
    }

    fn shape(&self) -> Shape<'_> {
        match self.with {
            Some(with) if with.is_learned() => Shape::Estimator(self),
            _ => Shape::Relational(self),
        }
    }
}

impl Relational for FillNull {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        if let Some(direction) = self.with.and_then(With::direction) {
            return Ok(self.ordered(direction, input));
        }
        let Some(value) = &self.value else {
            return Err(Error::data("neither `value` nor `with` is given"));
        };
        let filled = self
            .columns
            .iter()
            // Scoring brings only the columns that the model needs.
            .filter_map(|name| input.column(name))
            .map(|column| Self::with_constant(value, column).map_err(Error::Data))
            .collect::<Result<_>>()?;
        Ok(vec![Operation::With(filled)])
    }
}

impl Estimator for FillNull {
    fn fit_reads(&self, _: &Schema) -> BTreeSet<String> {
        self.columns
            .iter()
            .map(str::to_owned)
            .chain(self.by())
            .collect()
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        cx.cancellation.check()?;
        let learned =
            Learned::of(
                &train.data,
                &self.by(),
                &self.columns.to_vec(),
                |column| match self.with {
                    Some(With::Mode) => most_frequent(column),
                    Some(With::Median) => Ok(median(finite(column)?).map(Constant::Float)),
                    _ => Ok(mean(&finite(column)?).map(Constant::Float)),
                },
            )?;
        State::from_data(VERSION, &learned)
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let Learned { groups, columns } = state.data::<Learned<Constant>>(VERSION)?;
        let with = self.with.unwrap_or(With::Mean);
        let mut values = Vec::new();
        let mut filled = Vec::new();
        for learned in columns {
            // Scoring brings only the columns that the model needs.
            let Some(column) = input.column(&learned.column) else {
                continue;
            };
            let value = Values {
                name: learned.column,
                overall: learned.overall,
                by_group: learned.by_group,
            };
            filled.push(Self::with_learned(with, column, value.expression()));
            values.push(value);
        }
        with_values(
            &values,
            &groups,
            &self.by(),
            vec![Operation::With(filled)],
            input,
        )
    }
}

/// The numbers of a column, without nulls, in row order.
fn finite(column: &PolarsColumn) -> Result<Vec<f64>> {
    let numbers = column.cast(&DataType::Float64)?;
    let numbers: Vec<f64> = numbers.f64()?.iter().flatten().collect();
    match numbers.iter().find(|number| !number.is_finite()) {
        None => Ok(numbers),
        Some(odd) => Err(Error::data(format!(
            "`{}` is {odd} in a training row: nothing can be learned from that; filter it out or put null in its place first",
            column.name()
        ))),
    }
}

/// One pass in row order, without a large sum (Welford 1962).
fn mean(numbers: &[f64]) -> Option<f64> {
    let mut mean = 0.0;
    for (index, number) in numbers.iter().enumerate() {
        mean += (number - mean) / (index + 1) as f64;
    }
    (!numbers.is_empty()).then_some(mean)
}

fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_unstable_by(f64::total_cmp);
    (!numbers.is_empty()).then(|| quantile(&numbers, 0.5))
}

/// The value that most rows have; of several, the smallest.
fn most_frequent(column: &PolarsColumn) -> Result<Option<Constant>> {
    let present = column.drop_nulls();
    let whole = |dtype: &DataType| -> Result<Vec<i64>> {
        let whole = present.strict_cast(dtype)?.strict_cast(&DataType::Int64)?;
        Ok(whole.i64()?.iter().flatten().collect())
    };
    Ok(match column.dtype() {
        DataType::String => longest_run(
            present.str()?.iter().flatten().collect(),
            |one: &&str, other: &&str| one.cmp(other),
        )
        .map(|text| Constant::Text(text.to_owned())),
        DataType::Boolean => {
            longest_run(present.bool()?.iter().flatten().collect(), bool::cmp).map(Constant::Bool)
        }
        DataType::Date => longest_run(whole(&DataType::Int32)?, i64::cmp)
            .and_then(|days| i32::try_from(days).ok())
            .map(Constant::Date),
        DataType::Datetime(..) => {
            let microseconds = DataType::Datetime(TimeUnit::Microseconds, None);
            longest_run(whole(&microseconds)?, i64::cmp).map(Constant::Timestamp)
        }
        dtype if dtype.is_float() => {
            longest_run(finite(&present)?, f64::total_cmp).map(Constant::Float)
        }
        _ => longest_run(whole(&DataType::Int64)?, i64::cmp).map(Constant::Int),
    })
}

fn longest_run<T: Copy + PartialEq>(
    mut values: Vec<T>,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> Option<T> {
    values.sort_unstable_by(order);
    let mut best: Option<(usize, T)> = None;
    for run in values.chunk_by(|one, other| one == other) {
        if best.is_none_or(|(length, _)| run.len() > length) {
            best = Some((run.len(), run[0]));
        }
    }
    best.map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
