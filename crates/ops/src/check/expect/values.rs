//! Conditions on single values of a column.

use std::{collections::BTreeSet, fmt};

use polars::prelude::{
    BooleanChunked, ChunkedArray, Column as PolarsColumn, DataType, NewChunkedArray,
    PolarsNumericType, StringChunked, StringNameSpaceImpl, TimeUnit,
};
use taktline_core::{CheckContext, Column, Error, Literal, ParamPath, Problem, Result, type_name};

use super::{
    finding::Bounded,
    params::{Bounds, ColumnRule},
};
use crate::columns::{self, Scalar};

/// One condition of a rule on each value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition<'a> {
    NotNull,
    Finite,
    Between(&'a Bounds<Scalar>),
    In(&'a [Scalar]),
    NotIn(&'a [Scalar]),
    Regex(&'a str),
    Length(&'a Bounds<u32>),
}

impl ColumnRule {
    /// The conditions on single values.
    pub(super) fn conditions(&self) -> Vec<Condition<'_>> {
        [
            self.not_null.then_some(Condition::NotNull),
            self.finite.then_some(Condition::Finite),
            self.between.as_ref().map(Condition::Between),
            self.r#in.as_deref().map(Condition::In),
            self.not_in.as_deref().map(Condition::NotIn),
            self.regex.as_deref().map(Condition::Regex),
            self.length.as_ref().map(Condition::Length),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl fmt::Display for Condition<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNull => formatter.write_str("is not null"),
            Self::Finite => formatter.write_str("is finite"),
            Self::Between(bounds) => Bounded(bounds).fmt(formatter),
            Self::In(values) => write!(formatter, "in ({})", listed(values)),
            Self::NotIn(values) => write!(formatter, "not in ({})", listed(values)),
            Self::Regex(pattern) => write!(formatter, "matches {pattern}"),
            Self::Length(bounds) => write!(formatter, "has a length {}", Bounded(bounds)),
        }
    }
}

fn listed(values: &[Scalar]) -> String {
    const SHOWN: usize = 6;
    let mut texts: Vec<String> = values.iter().take(SHOWN).map(ToString::to_string).collect();
    if values.len() > SHOWN {
        texts.push("…".to_owned());
    }
    texts.join(", ")
}

impl Condition<'_> {
    fn key(&self) -> &'static str {
        match self {
            Self::NotNull => "not_null",
            Self::Finite => "finite",
            Self::Between(_) => "between",
            Self::In(_) => "in",
            Self::NotIn(_) => "not_in",
            Self::Regex(_) => "regex",
            Self::Length(_) => "length",
        }
    }

    /// Reports a condition that values of this type can never be held against.
    pub(super) fn check(&self, column: &Column, at: &ParamPath, cx: &mut CheckContext<'_>) {
        let path = at.join(self.key());
        match self {
            Self::NotNull => {}
            Self::Finite => {
                columns::is_number(column, path, cx);
            }
            Self::Between(bounds) => check_bounds(bounds, column, path, cx),
            Self::In(values) | Self::NotIn(values) => {
                for (index, value) in values.iter().enumerate() {
                    report_unfit(value, column, false, path.join(index), cx);
                }
            }
            Self::Regex(pattern) => {
                if column.dtype != DataType::String {
                    columns::report_type(column, "text to match", path, cx);
                } else if let Err(error) =
                    matches(&StringChunked::from_slice("".into(), &[""]), pattern)
                {
                    let reason = error.to_string();
                    cx.report(
                        Problem::error(
                            "bad-regex",
                            path,
                            format!("stage `{}` has a bad regular expression", cx.stage),
                        )
                        .label("cannot be read")
                        .note(reason.lines().last().unwrap_or_default().trim().to_owned()),
                    );
                }
            }
            Self::Length(bounds) => {
                let fits = column.dtype == DataType::String;
                if !fits {
                    columns::report_type(column, "text to measure", path.clone(), cx);
                }
                check_order(&bounds.map(|bound| bound.map(f64::from)), path, cx);
            }
        }
    }

    /// For each row, whether it breaks the condition.
    pub(super) fn broken(&self, column: &PolarsColumn) -> Result<BooleanChunked> {
        match self {
            Self::NotNull => Ok(column.is_null()),
            Self::Finite => {
                let numbers = column.cast(&DataType::Float64)?;
                Ok(flags(numbers.f64()?, |value| !value.is_finite()))
            }
            Self::Between(bounds) => outside(column, bounds),
            Self::In(values) => among(column, values, false),
            Self::NotIn(values) => among(column, values, true),
            Self::Regex(pattern) => Ok(!&matches(column.str()?, pattern)?),
            Self::Length([low, high]) => {
                let is_outside = |text: &str| {
                    let length = text.chars().count();
                    low.is_some_and(|low| length < low as usize)
                        || high.is_some_and(|high| length > high as usize)
                };
                let flags = column.str()?.iter();
                Ok(BooleanChunked::from_iter_values(
                    "".into(),
                    flags.map(|text| text.is_some_and(is_outside)),
                ))
            }
        }
    }
}

/// Reports bounds that values of the column cannot be held against, and bounds that nothing is between.
pub(super) fn check_bounds(
    bounds: &Bounds<Scalar>,
    column: &Column,
    path: ParamPath,
    cx: &mut CheckContext<'_>,
) {
    if !column.dtype.is_primitive_numeric() && !columns::is_instant(&column.dtype) {
        columns::report_type(column, "numbers, dates or datetimes to bound", path, cx);
        return;
    }
    for (index, bound) in bounds.iter().enumerate() {
        if let Some(bound) = bound {
            report_unfit(bound, column, true, path.join(index), cx);
        }
    }
    let place = |bound: &Option<Scalar>| {
        let bound = bound.as_ref()?;
        bound.number().or_else(|| {
            let literal = bound.literal(&column.dtype).ok()?;
            instant(&literal, &column.dtype).map(|at| at as f64)
        })
    };
    let is_given = bounds.iter().any(Option::is_some);
    match [place(&bounds[0]), place(&bounds[1])] {
        // A bound that fits no type was reported already.
        [None, None] if is_given => {}
        places => check_order(&places, path, cx),
    }
}

/// Reports bounds that bound nothing, and bounds that nothing is between.
pub(super) fn check_order(bounds: &Bounds<f64>, path: ParamPath, cx: &mut CheckContext<'_>) {
    match bounds {
        [None, None] => cx.report(
            Problem::error(
                "empty-rule",
                path,
                format!("stage `{}` expects nothing here", cx.stage),
            )
            .label("give a least or a largest value, or both"),
        ),
        [Some(low), Some(high)] if low > high => {
            let message = format!("stage `{}` has the larger of two bounds first", cx.stage);
            cx.report(
                Problem::error("bad-range", path, message)
                    .label("nothing is between these")
                    .help("write the least value first"),
            );
        }
        _ => {}
    }
}

/// Reports a constant that is no value of the column's type. A real number may bound whole numbers.
fn report_unfit(
    value: &Scalar,
    column: &Column,
    is_bound: bool,
    path: ParamPath,
    cx: &mut CheckContext<'_>,
) {
    if is_bound && column.dtype.is_primitive_numeric() && value.number().is_some() {
        return;
    }
    if let Err(reason) = value.literal(&column.dtype) {
        let message = format!(
            "stage `{}` compares `{}` with what it cannot be: {reason}",
            cx.stage, column.name
        );
        let label = format!("`{}` is {}", column.name, type_name(&column.dtype));
        cx.report(Problem::error("type-mismatch", path, message).label(label));
    }
}

fn matches(texts: &StringChunked, pattern: &str) -> Result<BooleanChunked> {
    Ok(texts.contains(pattern, true)?)
}

/// For each value, whether it is so; null is not.
fn flags<T: PolarsNumericType>(
    values: &ChunkedArray<T>,
    is_so: impl Fn(T::Native) -> bool,
) -> BooleanChunked {
    BooleanChunked::from_iter_values(
        "".into(),
        values.iter().map(|value| value.is_some_and(&is_so)),
    )
}

/// For each value, whether it is out of bounds.
pub(super) fn outside(column: &PolarsColumn, bounds: &Bounds<Scalar>) -> Result<BooleanChunked> {
    let dtype = column.dtype();
    if columns::is_instant(dtype) {
        let bound = |bound: &Option<Scalar>| -> Result<Option<i64>> {
            let literal = bound
                .as_ref()
                .map(|bound| bound.literal(dtype))
                .transpose()
                .map_err(Error::Data)?;
            Ok(literal.and_then(|literal| instant(&literal, dtype)))
        };
        let (low, high) = (bound(&bounds[0])?, bound(&bounds[1])?);
        let values = column.to_physical_repr().cast(&DataType::Int64)?;
        return Ok(flags(values.i64()?, |value| {
            low.is_some_and(|low| value < low) || high.is_some_and(|high| value > high)
        }));
    }
    let low = bounds[0].as_ref().and_then(Scalar::number);
    let high = bounds[1].as_ref().and_then(Scalar::number);
    let values = column.cast(&DataType::Float64)?;
    // Not a number is in no range.
    Ok(flags(values.f64()?, |value| {
        value.is_nan()
            || low.is_some_and(|low| value < low)
            || high.is_some_and(|high| value > high)
    }))
}

/// A point in time as the column's type counts it.
fn instant(literal: &Literal, dtype: &DataType) -> Option<i64> {
    match (literal, dtype) {
        (Literal::Date(days), _) => Some(i64::from(*days)),
        (Literal::Timestamp(at), DataType::Datetime(TimeUnit::Milliseconds, _)) => {
            Some(at.div_euclid(1000))
        }
        (Literal::Timestamp(at), DataType::Datetime(TimeUnit::Nanoseconds, _)) => {
            Some(at.saturating_mul(1000))
        }
        (Literal::Timestamp(at), _) => Some(*at),
        _ => None,
    }
}

/// For each value, whether it is (or is not) one of these; null is neither.
fn among(column: &PolarsColumn, values: &[Scalar], wanted: bool) -> Result<BooleanChunked> {
    let dtype = column.dtype();
    let literals: Vec<Literal> = values
        .iter()
        .map(|value| value.literal(dtype))
        .collect::<Result<_, String>>()
        .map_err(Error::Data)?;
    if dtype.is_float() {
        let known: Vec<f64> = values.iter().filter_map(Scalar::number).collect();
        let numbers = column.cast(&DataType::Float64)?;
        return Ok(flags(numbers.f64()?, |value| {
            known.contains(&value) == wanted
        }));
    }
    let texts: BTreeSet<&str> = literals
        .iter()
        .filter_map(|literal| match literal {
            Literal::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    if dtype == &DataType::String {
        let flags = column
            .str()?
            .iter()
            .map(|value| value.is_some_and(|value| texts.contains(value) == wanted));
        return Ok(BooleanChunked::from_iter_values("".into(), flags));
    }
    let known: BTreeSet<i64> = literals
        .iter()
        .filter_map(|literal| match literal {
            Literal::Int(value) => Some(*value),
            Literal::Bool(value) => Some(i64::from(*value)),
            other => instant(other, dtype),
        })
        .collect();
    let numbers = column.to_physical_repr().cast(&DataType::Int64)?;
    Ok(flags(numbers.i64()?, |value| {
        known.contains(&value) == wanted
    }))
}
