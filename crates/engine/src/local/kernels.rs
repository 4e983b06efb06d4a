//! What polars does not do, or does with another meaning, value by value.
//!
//! All of these are elementwise for polars: filters and projections pass them on the way to the file.

use polars::{lazy::dsl::map_multiple, prelude::*};
use taktline_core::sql;

pub(super) fn field(
    dtype: DataType,
) -> impl Fn(&Schema, &[Field]) -> PolarsResult<Field> + Send + Sync + 'static {
    move |_, fields| {
        let name = fields
            .first()
            .map(|field| field.name().clone())
            .unwrap_or_default();
        Ok(Field::new(name, dtype.clone()))
    }
}

pub(super) fn failure(message: impl Into<String>) -> PolarsError {
    PolarsError::ComputeError(message.into().into())
}

/// A function of real numbers.
pub(super) fn real(operand: Expr, function: fn(f64) -> f64) -> Expr {
    map_multiple(
        move |columns: &mut [Column]| Ok(columns[0].f64()?.apply_values(function).into_column()),
        [operand],
        field(DataType::Float64),
    )
}

/// A function of whole numbers that cannot leave `i64`.
pub(super) fn whole(operand: Expr, function: fn(i64) -> i64) -> Expr {
    map_multiple(
        move |columns: &mut [Column]| Ok(columns[0].i64()?.apply_values(function).into_column()),
        [operand],
        field(DataType::Int64),
    )
}

/// The absolute value; `-9223372036854775808` has none in `i64`.
pub(super) fn absolute(operand: Expr) -> Expr {
    map_multiple(
        |columns: &mut [Column]| {
            let values = columns[0].i64()?;
            if values.iter().any(|value| value == Some(i64::MIN)) {
                return Err(failure(
                    "the absolute value of -9223372036854775808 does not fit a whole number of 64 bits",
                ));
            }
            Ok(values.apply_values(i64::abs).into_column())
        },
        [operand],
        field(DataType::Int64),
    )
}

/// Whole-number arithmetic that never wraps.
#[derive(Debug, Clone, Copy)]
pub(super) enum Checked {
    Add,
    Subtract,
    Multiply,
    /// With the sign of the left side; null by zero.
    Remainder,
}

/// One value for each row, or one for all of them.
enum Values<'a, T> {
    Each(&'a [T]),
    All(T),
}

impl<T: Copy> Values<'_, T> {
    #[inline]
    fn at(&self, row: usize) -> T {
        match self {
            Self::Each(values) => values[row],
            Self::All(value) => *value,
        }
    }
}

/// The number of rows that columns of one or of all rows stand for.
pub(super) fn rows<'a>(columns: impl IntoIterator<Item = &'a Column>) -> usize {
    columns
        .into_iter()
        .map(Column::len)
        .find(|rows| *rows != 1)
        .unwrap_or(1)
}

/// A literal comes as one row.
fn repeated(column: &Column, rows: usize) -> Series {
    if column.len() == rows {
        column.as_materialized_series().rechunk()
    } else {
        column.as_materialized_series().new_from_index(0, rows)
    }
}

/// Both sides added, subtracted or multiplied in `i64`; a result that does not fit is an error.
pub(super) fn integers(operation: Checked, left: Expr, right: Expr) -> Expr {
    map_multiple(
        move |columns: &mut [Column]| {
            let rows = rows(&*columns);
            let name = columns[0].name().clone();
            let (left, right) = (
                columns[0].i64()?.rechunk().into_owned(),
                columns[1].i64()?.rechunk().into_owned(),
            );
            let overflow = |(left, right): (i64, i64)| {
                let sign = match operation {
                    Checked::Add => "+",
                    Checked::Subtract => "-",
                    Checked::Multiply => "*",
                    Checked::Remainder => "%",
                };
                failure(format!(
                    "{left} {sign} {right} does not fit a whole number of 64 bits; `cast(… as double)` has room"
                ))
            };
            let compute: fn(i64, i64) -> (i64, bool) = match operation {
                Checked::Add => i64::overflowing_add,
                Checked::Subtract => i64::overflowing_sub,
                Checked::Multiply => i64::overflowing_mul,
                Checked::Remainder => {
                    let result: Int64Chunked = (0..rows)
                        .map(|row| {
                            let (left, right) = (value_at(&left, row)?, value_at(&right, row)?);
                            (right != 0).then(|| left.wrapping_rem(right))
                        })
                        .collect();
                    return Ok(result.with_name(name).into_column());
                }
            };
            let dense = |side: &Int64Chunked| side.null_count() == 0 && !side.is_empty();
            if rows > 0 && dense(&left) && dense(&right) {
                let (left, right) = (dense_values(&left, rows)?, dense_values(&right, rows)?);
                // One pass over both for each operation, so that the compiler can see which it is.
                let (values, overflowed) = match operation {
                    Checked::Add => dense_arithmetic(&left, &right, rows, i64::overflowing_add),
                    Checked::Subtract => {
                        dense_arithmetic(&left, &right, rows, i64::overflowing_sub)
                    }
                    _ => dense_arithmetic(&left, &right, rows, i64::overflowing_mul),
                };
                if overflowed {
                    let row = (0..rows)
                        .find(|row| compute(left.at(*row), right.at(*row)).1)
                        .unwrap_or(0);
                    return Err(overflow((left.at(row), right.at(row))));
                }
                return Ok(Int64Chunked::from_vec(name, values).into_column());
            }
            let result = (0..rows)
                .map(|row| match (value_at(&left, row), value_at(&right, row)) {
                    (Some(left), Some(right)) => match compute(left, right) {
                        (_, true) => Err(overflow((left, right))),
                        (value, false) => Ok(Some(value)),
                    },
                    _ => Ok(None),
                })
                .collect::<PolarsResult<Int64Chunked>>()?;
            Ok(result.with_name(name).into_column())
        },
        [left, right],
        field(DataType::Int64),
    )
}

fn value_at<T: PolarsNumericType>(values: &ChunkedArray<T>, row: usize) -> Option<T::Native> {
    values.get(if values.len() == 1 { 0 } else { row })
}

fn dense_values<T: PolarsNumericType>(
    values: &ChunkedArray<T>,
    rows: usize,
) -> PolarsResult<Values<'_, T::Native>> {
    let values = values.cont_slice()?;
    Ok(if values.len() == rows {
        Values::Each(values)
    } else {
        Values::All(values[0])
    })
}

#[inline]
fn dense_arithmetic(
    left: &Values<'_, i64>,
    right: &Values<'_, i64>,
    rows: usize,
    compute: impl Fn(i64, i64) -> (i64, bool),
) -> (Vec<i64>, bool) {
    let mut overflowed = false;
    let values = (0..rows)
        .map(|row| {
            let (value, overflow) = compute(left.at(row), right.at(row));
            overflowed |= overflow;
            value
        })
        .collect();
    (values, overflowed)
}

/// One real number divided by another. polars multiplies by the reciprocal where one side is a single value, which gives
/// other bits, also to a row that is scored alone.
pub(super) fn quotient(left: Expr, right: Expr) -> Expr {
    reals(left, right, |left, right| left / right)
}

/// The remainder of real numbers, with the sign of the left side.
pub(super) fn remainder(left: Expr, right: Expr) -> Expr {
    reals(left, right, |left, right| left % right)
}

/// One real number to the power of another; polars takes other ways for a single exponent.
pub(super) fn power(base: Expr, exponent: Expr) -> Expr {
    reals(base, exponent, f64::powf)
}

/// The angle of the point `(x, y)`.
pub(super) fn atan2(y: Expr, x: Expr) -> Expr {
    reals(y, x, f64::atan2)
}

fn reals(
    left: Expr,
    right: Expr,
    compute: impl Fn(f64, f64) -> f64 + Copy + Send + Sync + 'static,
) -> Expr {
    map_multiple(
        move |columns: &mut [Column]| {
            let rows = rows(&*columns);
            let name = columns[0].name().clone();
            let (left, right) = (columns[0].f64()?.rechunk(), columns[1].f64()?.rechunk());
            if rows > 0 && left.null_count() == 0 && right.null_count() == 0 {
                let (left, right) = (dense_values(&left, rows)?, dense_values(&right, rows)?);
                // Written out, so that the compiler works on several values at once.
                let values: Vec<f64> = match (left, right) {
                    (Values::Each(left), Values::Each(right)) => left
                        .iter()
                        .zip(right)
                        .map(|(left, right)| compute(*left, *right))
                        .collect(),
                    (Values::Each(left), Values::All(right)) => {
                        left.iter().map(|left| compute(*left, right)).collect()
                    }
                    (Values::All(left), Values::Each(right)) => {
                        right.iter().map(|right| compute(left, *right)).collect()
                    }
                    (Values::All(left), Values::All(right)) => vec![compute(left, right); rows],
                };
                return Ok(Float64Chunked::from_vec(name, values).into_column());
            }
            let result: Float64Chunked = (0..rows)
                .map(|row| Some(compute(value_at(&left, row)?, value_at(&right, row)?)))
                .collect();
            Ok(result.with_name(name).into_column())
        },
        [left, right],
        field(DataType::Float64),
    )
}

/// A sum of whole numbers, held against the same sum of real ones: polars' sum wraps, and a wrapped one is 2^64 away.
pub(super) fn checked_sum(sum: Expr, approximate: Expr) -> Expr {
    map_multiple(
        |columns: &mut [Column]| {
            let (sums, approximations) = (columns[0].i64()?, columns[1].f64()?);
            let wrapped = sums
                .iter()
                .zip(approximations.iter())
                .any(|pair| matches!(pair, (Some(sum), Some(real)) if (real - sum as f64).abs() > 4.6e18));
            if wrapped {
                return Err(failure(
                    "a sum does not fit a whole number of 64 bits; `sum(cast(… as double))` has room",
                ));
            }
            Ok(columns[0].clone())
        },
        [sum, approximate],
        field(DataType::Int64),
    )
}

/// Real numbers of half the size; one that has no room there does not become infinite, but null, or an error.
pub(super) fn narrowed(operand: Expr, strict: bool) -> Expr {
    map_multiple(
        move |columns: &mut [Column]| {
            let numbers = columns[0].f64()?;
            let narrow = |number: f64| -> PolarsResult<Option<f32>> {
                let narrowed = number as f32;
                match narrowed.is_infinite() && number.is_finite() {
                    true if strict => Err(unreadable(&format!("{number:e}"), "an f32")),
                    true => Ok(None),
                    false => Ok(Some(narrowed)),
                }
            };
            let result: Float32Chunked = numbers
                .iter()
                .map(|number| number.map_or(Ok(None), narrow))
                .collect::<PolarsResult<_>>()?;
            Ok(result.with_name(numbers.name().clone()).into_column())
        },
        [operand],
        field(DataType::Float32),
    )
}

/// `true`, `t`, `yes`, `1` and their opposites, in any case.
pub(super) fn text_to_bool(operand: Expr, strict: bool) -> Expr {
    map_multiple(
        move |columns: &mut [Column]| {
            let text = columns[0].str()?;
            let result = text
                .iter()
                .map(|text| {
                    let Some(text) = text else { return Ok(None) };
                    match text.trim().to_ascii_lowercase().as_str() {
                        "true" | "t" | "yes" | "1" => Ok(Some(true)),
                        "false" | "f" | "no" | "0" => Ok(Some(false)),
                        _ if strict => Err(unreadable(text, "a truth value")),
                        _ => Ok(None),
                    }
                })
                .collect::<PolarsResult<BooleanChunked>>()?;
            Ok(result.with_name(text.name().clone()).into_column())
        },
        [operand],
        field(DataType::Boolean),
    )
}

fn unreadable(text: &str, what: &str) -> PolarsError {
    failure(format!(
        "`{text}` is not {what}; `try_cast` makes null of it"
    ))
}

/// Days and points in time as ISO 8601 writes them.
pub(super) fn text_to_time(operand: Expr, to: DataType, strict: bool) -> Expr {
    let naive = match &to {
        DataType::Date => DataType::Date,
        _ => DataType::Datetime(TimeUnit::Microseconds, None),
    };
    let is_date = naive == DataType::Date;
    // A time with an offset is brought to UTC, which a zone of the target would then read as local time.
    let allows_offset = !matches!(to, DataType::Datetime(_, Some(_)));
    let parsed = map_multiple(
        move |columns: &mut [Column]| {
            let text = columns[0].str()?;
            let name = text.name().clone();
            if is_date {
                let days = text
                    .iter()
                    .map(|text| parsed(text, sql::date, strict, "a date like 2024-01-31"))
                    .collect::<PolarsResult<Int32Chunked>>()?;
                return Ok(days.with_name(name).into_date().into_column());
            }
            let microseconds = text
                .iter()
                .map(|text| {
                    parsed(
                        text,
                        |text| point_in_time(text, allows_offset),
                        strict,
                        "a timestamp like 2024-01-31 12:00:00",
                    )
                })
                .collect::<PolarsResult<Int64Chunked>>()?;
            Ok(microseconds
                .with_name(name)
                .into_datetime(TimeUnit::Microseconds, None)
                .into_column())
        },
        [operand],
        field(naive.clone()),
    );
    super::expression::convert(parsed, &naive, &to)
}

fn parsed<T>(
    text: Option<&str>,
    read: impl Fn(&str) -> Option<T>,
    strict: bool,
    what: &str,
) -> PolarsResult<Option<T>> {
    match text.map(|text| (text, read(text))) {
        None => Ok(None),
        Some((text, None)) if strict => Err(unreadable(text, what)),
        Some((_, value)) => Ok(value),
    }
}

/// Microseconds since 1970, with an offset brought to UTC where one is allowed.
fn point_in_time(text: &str, allows_offset: bool) -> Option<i64> {
    let text = text.trim();
    let (text, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(text) => (text, Some(0)),
        None => match text
            .len()
            .checked_sub(6)
            .and_then(|index| text.split_at_checked(index))
        {
            Some((clock, zone)) if clock.contains(':') && zone.starts_with(['+', '-']) => {
                let (hours, minutes) = zone[1..].split_once(':')?;
                let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
                (
                    clock,
                    Some(if zone.starts_with('-') {
                        -minutes
                    } else {
                        minutes
                    }),
                )
            }
            _ => (text, None),
        },
    };
    if offset.is_some() && !allows_offset {
        return None;
    }
    // Some writers give nanoseconds; what is below a microsecond is dropped.
    let text = match text.rsplit_once('.') {
        Some((_, fraction))
            if fraction.len() > 6
                && fraction.len() <= 9
                && fraction.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            &text[..text.len() - (fraction.len() - 6)]
        }
        _ => text,
    };
    Some(sql::timestamp(text)? - offset.unwrap_or(0) * 60_000_000)
}

/// Every occurrence replaced, literally; an empty text to look for occurs nowhere.
pub(super) fn replace(subject: Expr, from: Expr, to: Expr) -> Expr {
    map_multiple(
        |columns: &mut [Column]| {
            let rows = rows(&*columns);
            let (subject, from, to) = (columns[0].str()?, columns[1].str()?, columns[2].str()?);
            fn at(values: &StringChunked, row: usize) -> Option<&str> {
                values.get(if values.len() == 1 { 0 } else { row })
            }
            let result: StringChunked = (0..rows)
                .map(|row| {
                    let (subject, from, to) = (at(subject, row)?, at(from, row)?, at(to, row)?);
                    Some(if from.is_empty() {
                        subject.to_owned()
                    } else {
                        subject.replace(from, to)
                    })
                })
                .collect();
            Ok(result.with_name(columns[0].name().clone()).into_column())
        },
        [subject, from, to],
        field(DataType::String),
    )
}

/// The largest or smallest of several columns; nulls passed over, not a number the largest.
pub(super) fn extreme(operands: Vec<Expr>, greatest: bool, dtype: DataType) -> Expr {
    map_multiple(
        move |columns: &mut [Column]| {
            let rows = rows(&*columns);
            let mut best = repeated(&columns[0], rows);
            for column in &columns[1..] {
                let other = repeated(column, rows);
                let better = if greatest {
                    best.gt_eq(&other)?
                } else {
                    best.lt_eq(&other)?
                };
                best = best.zip_with(&(better | other.is_null()), &other)?;
            }
            Ok(best.with_name(columns[0].name().clone()).into_column())
        },
        operands,
        field(dtype),
    )
}

/// Every item of an array times `factor` plus `offset`, as `f32`; computed in `f64`, so that 255 / 255 is 1.
pub(super) fn scale_array(operand: Expr, dtype: DataType, factor: f64, offset: f64) -> Expr {
    let result = dtype.clone();
    map_multiple(
        move |columns: &mut [Column]| {
            let name = columns[0].name().clone();
            let arrays = columns[0].as_materialized_series();
            if arrays.is_empty() {
                return Ok(Series::new_empty(name, &result).into_column());
            }
            let mut shape = vec![ReshapeDimension::new_dimension(arrays.len() as u64)];
            let mut inner = &result;
            while let DataType::Array(item, width) = inner {
                shape.push(ReshapeDimension::new_dimension(*width as u64));
                inner = item;
            }
            let items = arrays.get_leaf_array().rechunk();
            let scaled = match items.dtype() {
                DataType::UInt8 => {
                    // A byte has 256 values: computed once each.
                    let table: Vec<f32> = (0..=u8::MAX)
                        .map(|byte| (f64::from(byte) * factor + offset) as f32)
                        .collect();
                    let bytes = items.u8()?;
                    if bytes.null_count() == 0 {
                        let scaled: Vec<f32> = bytes
                            .cont_slice()?
                            .iter()
                            .map(|byte| table[usize::from(*byte)])
                            .collect();
                        Float32Chunked::from_vec(name.clone(), scaled).into_series()
                    } else {
                        let scaled: Float32Chunked = bytes
                            .iter()
                            .map(|byte| byte.map(|byte| table[usize::from(byte)]))
                            .collect();
                        scaled.with_name(name.clone()).into_series()
                    }
                }
                _ => {
                    let items = items.strict_cast(&DataType::Float64)?;
                    items
                        .f64()?
                        .apply_values(|item| item * factor + offset)
                        .into_series()
                        .cast(&DataType::Float32)?
                }
            };
            let scaled = scaled.reshape_array(&shape)?.with_name(name.clone());
            let scaled = if arrays.null_count() == 0 {
                scaled
            } else {
                let nulls = Series::full_null(name, arrays.len(), &result);
                scaled.zip_with(&arrays.is_not_null(), &nulls)?
            };
            Ok(scaled.into_column())
        },
        [operand],
        field(dtype),
    )
}
