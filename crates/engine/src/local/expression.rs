//! Expressions → polars.
//!
//! Every part is brought to the type that [`data_type`](taktline_core::data_type) tells before polars sees it, so that
//! none of polars' own coercions take part.

use polars::{
    chunked_array::cast::CastOptions,
    lazy::dsl::{coalesce, concat_str, max_horizontal, min_horizontal},
    prelude::*,
};
use taktline_core::{
    Aggregate, BinaryOperator, Error, Expression, Function, Literal, Result, Schema, UnaryOperator,
    comparison_type, data_type_of,
};

use super::kernels;

/// The polars expression with the same value, of exactly the type that [`data_type`](taktline_core::data_type) tells.
///
/// # Errors
/// An expression that does not fit the schema.
pub fn expression(expression: &Expression, schema: &Schema) -> Result<Expr> {
    lower(expression, schema).map(|lowered| lowered.expr)
}

/// The column of that name; unlike [`col`](polars::prelude::col), never a pattern.
pub(super) fn column(name: &str) -> Expr {
    Expr::Column(name.into())
}

const DATETIME: DataType = DataType::Datetime(TimeUnit::Microseconds, None);
const DURATION: DataType = DataType::Duration(TimeUnit::Microseconds);
const I64_RANGE: Bounds = (i64::MIN as i128, i64::MAX as i128);

/// The least and the greatest value a whole number can have; where a result cannot leave `i64`, polars' own arithmetic,
/// which wraps, is safe and faster than a checked one.
type Bounds = (i128, i128);

struct Lowered {
    expr: Expr,
    dtype: DataType,
    /// Only for whole numbers.
    bounds: Bounds,
}

impl Lowered {
    fn new(expr: Expr, dtype: DataType) -> Self {
        let bounds = bounds_of(&dtype);
        Self {
            expr,
            dtype,
            bounds,
        }
    }
}

fn bounds_of(dtype: &DataType) -> Bounds {
    match dtype {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::UInt8 => (0, u8::MAX.into()),
        DataType::UInt16 => (0, u16::MAX.into()),
        DataType::UInt32 => (0, u32::MAX.into()),
        // A value beyond `i64` is an error where it is brought to `i64`.
        DataType::UInt64 => (0, i64::MAX.into()),
        _ => I64_RANGE,
    }
}

fn within(inner: Bounds, outer: Bounds) -> bool {
    inner.0 >= outer.0 && inner.1 <= outer.1
}

fn misfit(message: impl Into<String>) -> Error {
    Error::data(message)
}

fn lower(expression: &Expression, schema: &Schema) -> Result<Lowered> {
    if let Expression::Column(name) = expression {
        let found = schema
            .column(name)
            .ok_or_else(|| misfit(format!("there is no column `{name}`")))?;
        return Ok(Lowered::new(column(name), found.dtype.clone()));
    }
    let parts = expression
        .children()
        .into_iter()
        .map(|part| lower(part, schema))
        .collect::<Result<Vec<Lowered>>>()?;
    let types: Vec<DataType> = parts.iter().map(|part| part.dtype.clone()).collect();
    let dtype = data_type_of(expression, &types).map_err(misfit)?;
    let mut parts = parts.into_iter();
    let mut next = || {
        parts
            .next()
            .ok_or_else(|| misfit("an expression lacks a part"))
    };
    match expression {
        Expression::Column(_) => Err(misfit("a column has no parts")),
        Expression::Literal(literal) => {
            let bounds = match literal {
                Literal::Int(value) => (i128::from(*value), i128::from(*value)),
                _ => I64_RANGE,
            };
            Ok(Lowered {
                expr: constant(literal, &dtype)?,
                dtype,
                bounds,
            })
        }
        Expression::Unary(operator, _) => unary(*operator, next()?, dtype),
        Expression::Binary(operator, left, right) => {
            binary(*operator, (left, next()?), (right, next()?), dtype)
        }
        Expression::Call(function, arguments) => call(*function, arguments, parts.collect(), dtype),
        Expression::Aggregate(aggregate, _) => Ok(Lowered::new(
            aggregated(*aggregate, parts.next(), &dtype),
            dtype,
        )),
        Expression::Case {
            branches,
            otherwise,
        } => {
            let mut conditions = Vec::with_capacity(branches.len());
            for (_, value) in branches {
                let condition = next()?;
                conditions.push((
                    typed(condition, &DataType::Boolean),
                    brought(value, next()?, &dtype)?,
                ));
            }
            let mut result = brought(otherwise, next()?, &dtype)?;
            for (condition, value) in conditions.into_iter().rev() {
                result = when(condition).then(value).otherwise(result);
            }
            Ok(Lowered::new(result, dtype))
        }
        Expression::Cast { to, strict, .. } => {
            let operand = next()?;
            Ok(Lowered::new(
                cast(operand.expr, &operand.dtype, to, *strict),
                dtype,
            ))
        }
        Expression::In {
            operand,
            list,
            negated,
        } => {
            let found = one_of(operand, next()?, list)?;
            Ok(Lowered::new(
                if *negated { found.not() } else { found },
                dtype,
            ))
        }
        Expression::ScaleArray { factor, offset, .. } => Ok(Lowered::new(
            kernels::scale_array(next()?.expr, dtype.clone(), *factor, *offset),
            dtype,
        )),
    }
}

// ---- types

/// A constant of exactly this type.
fn constant(literal: &Literal, to: &DataType) -> Result<Expr> {
    let number = |scalar: Scalar| -> Result<Expr> {
        if scalar.dtype() == to {
            Ok(lit(scalar))
        } else {
            Ok(lit(scalar.cast_with_options(to, CastOptions::Strict)?))
        }
    };
    let in_time = |scalar: Scalar| {
        let from = scalar.dtype().clone();
        Ok(convert(lit(scalar), &from, to))
    };
    match literal {
        Literal::Null => Ok(lit(Scalar::null(to.clone()))),
        Literal::Bool(value) => Ok(lit(Scalar::from(*value))),
        Literal::Int(value) => number(Scalar::from(*value)),
        Literal::Float(value) => number(Scalar::from(*value)),
        Literal::Text(value) => Ok(lit(value.as_str())),
        Literal::Timestamp(value) => {
            in_time(Scalar::new_datetime(*value, TimeUnit::Microseconds, None))
        }
        Literal::Date(value) => in_time(Scalar::new_date(*value)),
        Literal::Interval(value) => in_time(Scalar::new_duration(*value, TimeUnit::Microseconds)),
    }
}

/// A part as a value of another type that it meets others in.
fn brought(expression: &Expression, lowered: Lowered, to: &DataType) -> Result<Expr> {
    match expression {
        Expression::Literal(literal) => constant(literal, to),
        _ => Ok(typed(lowered, to)),
    }
}

fn typed(lowered: Lowered, to: &DataType) -> Expr {
    convert(lowered.expr, &lowered.dtype, to)
}

/// Between types that meet without being asked to; what a `cast` in a spec means is [`cast`].
pub(super) fn convert(expr: Expr, from: &DataType, to: &DataType) -> Expr {
    match (from, to) {
        (from, to) if from == to => expr,
        (DataType::UInt64, DataType::Int64) => expr.strict_cast(to.clone()),
        (DataType::Datetime(_, None) | DataType::Date, DataType::Datetime(unit, Some(zone))) => {
            expr.cast(DataType::Datetime(*unit, None))
                .dt()
                .replace_time_zone(Some(zone.clone()), lit("raise"), NonExistent::Raise)
        }
        _ => expr.cast(to.clone()),
    }
}

fn is_text(dtype: &DataType) -> bool {
    matches!(
        dtype,
        DataType::String | DataType::Categorical(..) | DataType::Enum(..)
    )
}

/// What `cast` and `try_cast` mean.
fn cast(expr: Expr, from: &DataType, to: &DataType, strict: bool) -> Expr {
    use DataType::{Boolean, Date, Datetime, String};
    let plain = |expr: Expr, to: &DataType| {
        if strict {
            expr.strict_cast(to.clone())
        } else {
            expr.cast(to.clone())
        }
    };
    match (from, to) {
        (from, to) if from == to => expr,
        (from, to) if is_text(from) && *from != String => {
            cast(expr.cast(String), &String, to, strict)
        }
        (String, Boolean) => kernels::text_to_bool(expr, strict),
        (String, Date | Datetime(..)) => kernels::text_to_time(expr, to.clone(), strict),
        (Datetime(_, Some(_)), Datetime(unit, None)) => expr
            .dt()
            .replace_time_zone(None, lit("raise"), NonExistent::Raise)
            .cast(Datetime(*unit, None)),
        (Datetime(_, Some(_)), Date) => expr
            .dt()
            .replace_time_zone(None, lit("raise"), NonExistent::Raise)
            .cast(Date),
        (Datetime(_, Some(here)), Datetime(unit, Some(there))) if here != there => expr
            .dt()
            .convert_time_zone(there.clone())
            .cast(Datetime(*unit, Some(there.clone()))),
        (Date | Datetime(_, None), Datetime(_, Some(_))) => convert(expr, from, to),
        _ => plain(expr, to),
    }
}

// ---- operators

fn unary(operator: UnaryOperator, operand: Lowered, dtype: DataType) -> Result<Lowered> {
    Ok(match operator {
        UnaryOperator::Not => Lowered::new(typed(operand, &DataType::Boolean).not(), dtype),
        UnaryOperator::IsNull => Lowered::new(operand.expr.is_null(), dtype),
        UnaryOperator::IsNotNull => Lowered::new(operand.expr.is_not_null(), dtype),
        UnaryOperator::Negate => match dtype {
            DataType::Int64 => {
                let zero = Lowered {
                    expr: lit(Scalar::from(0_i64)),
                    dtype: DataType::Int64,
                    bounds: (0, 0),
                };
                integers(BinaryOperator::Subtract, zero, operand)
            }
            DataType::Float64 => {
                Lowered::new(kernels::real(typed(operand, &dtype), |value| -value), dtype)
            }
            DataType::Duration(_) => {
                let zero = lit(Scalar::new_duration(0, TimeUnit::Microseconds));
                Lowered::new(zero - typed(operand, &dtype), dtype)
            }
            _ => Lowered::new(operand.expr, dtype),
        },
    })
}

fn binary(
    operator: BinaryOperator,
    left: (&Expression, Lowered),
    right: (&Expression, Lowered),
    dtype: DataType,
) -> Result<Lowered> {
    use BinaryOperator as Op;
    let ((left_expression, left), (right_expression, right)) = (left, right);
    let expr = match operator {
        Op::And => typed(left, &DataType::Boolean).and(typed(right, &DataType::Boolean)),
        Op::Or => typed(left, &DataType::Boolean).or(typed(right, &DataType::Boolean)),
        Op::Concat => concat_str(
            [
                typed(left, &DataType::String),
                typed(right, &DataType::String),
            ],
            "",
            false,
        ),
        Op::Equal
        | Op::NotEqual
        | Op::Less
        | Op::LessOrEqual
        | Op::Greater
        | Op::GreaterOrEqual => {
            let common = comparison_type(
                (left_expression, &left.dtype),
                (right_expression, &right.dtype),
            )
            .map_err(|clash| misfit(clash.message))?;
            let left = brought(left_expression, left, &common)?;
            let right = brought(right_expression, right, &common)?;
            match operator {
                Op::Equal => left.eq(right),
                Op::NotEqual => left.neq(right),
                Op::Less => left.lt(right),
                Op::LessOrEqual => left.lt_eq(right),
                Op::Greater => left.gt(right),
                _ => left.gt_eq(right),
            }
        }
        Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Modulo => {
            return arithmetic(
                operator,
                (left_expression, left),
                (right_expression, right),
                dtype,
            );
        }
    };
    Ok(Lowered::new(expr, dtype))
}

fn arithmetic(
    operator: BinaryOperator,
    left: (&Expression, Lowered),
    right: (&Expression, Lowered),
    dtype: DataType,
) -> Result<Lowered> {
    use BinaryOperator as Op;
    let is_duration = |lowered: &Lowered| matches!(lowered.dtype, DataType::Duration(_));
    let ((left_expression, left), (right_expression, right)) = (left, right);
    let expr = match &dtype {
        DataType::Null => lit(NULL),
        DataType::Int64 => return Ok(integers(operator, left, right)),
        DataType::Float64 if is_duration(&left) => {
            let microseconds = |lowered| {
                typed(lowered, &DURATION)
                    .cast(DataType::Int64)
                    .cast(DataType::Float64)
            };
            kernels::quotient(microseconds(left), microseconds(right))
        }
        DataType::Float64 => {
            let left = brought(left_expression, left, &dtype)?;
            let right = brought(right_expression, right, &dtype)?;
            match operator {
                Op::Add => left + right,
                Op::Subtract => left - right,
                Op::Multiply => left * right,
                Op::Divide => kernels::quotient(left, right),
                // polars' own takes the sign of the right side.
                _ => kernels::remainder(left, right),
            }
        }
        DataType::Duration(_) if operator == Op::Multiply => {
            let (duration, times) = if is_duration(&left) {
                (left, right)
            } else {
                (right, left)
            };
            let microseconds = Lowered::new(
                typed(duration, &DURATION).cast(DataType::Int64),
                DataType::Int64,
            );
            let product = if times.dtype.is_integer() {
                integers(Op::Multiply, microseconds, times).expr
            } else {
                let product =
                    microseconds.expr.cast(DataType::Float64) * typed(times, &DataType::Float64);
                product
                    .round(0, RoundMode::HalfAwayFromZero)
                    .strict_cast(DataType::Int64)
            };
            product.cast(DURATION)
        }
        DataType::Duration(_) => {
            let to = if is_duration(&left) {
                DURATION
            } else {
                let zone = |dtype: &DataType| match dtype {
                    DataType::Datetime(_, zone) => zone.clone(),
                    _ => None,
                };
                DataType::Datetime(TimeUnit::Microseconds, zone(&left.dtype))
            };
            let (left, right) = (typed(left, &to), typed(right, &to));
            if operator == Op::Add {
                left + right
            } else {
                left - right
            }
        }
        DataType::Datetime(unit, _) => {
            let span = DataType::Duration(*unit);
            if is_duration(&left) {
                typed(right, &dtype) + typed(left, &span)
            } else {
                let (point, span) = (typed(left, &dtype), typed(right, &span));
                if operator == Op::Add {
                    point + span
                } else {
                    point - span
                }
            }
        }
        other => return Err(misfit(format!("arithmetic cannot give {other}"))),
    };
    Ok(Lowered::new(expr, dtype))
}

/// Whole-number arithmetic that is checked only where a result could leave `i64`.
fn integers(operator: BinaryOperator, left: Lowered, right: Lowered) -> Lowered {
    use BinaryOperator as Op;
    let (low, high) = (left.bounds, right.bounds);
    let extremes = |values: [i128; 4]| {
        values
            .into_iter()
            .fold((i128::MAX, i128::MIN), |(least, most), value| {
                (least.min(value), most.max(value))
            })
    };
    let bounds = match operator {
        Op::Add => (low.0 + high.0, low.1 + high.1),
        Op::Subtract => (low.0 - high.1, low.1 - high.0),
        Op::Multiply => extremes([
            low.0 * high.0,
            low.0 * high.1,
            low.1 * high.0,
            low.1 * high.1,
        ]),
        // The result is no farther from 0 than either side.
        _ => {
            let reach = low
                .0
                .abs()
                .max(low.1.abs())
                .min(high.0.abs().max(high.1.abs()));
            (-reach, reach)
        }
    };
    let (left, right) = (
        typed(left, &DataType::Int64),
        typed(right, &DataType::Int64),
    );
    let safe = within(bounds, I64_RANGE);
    let expr = match operator {
        Op::Add if safe => left + right,
        Op::Subtract if safe => left - right,
        Op::Multiply if safe => left * right,
        Op::Add => kernels::integers(kernels::Checked::Add, left, right),
        Op::Subtract => kernels::integers(kernels::Checked::Subtract, left, right),
        Op::Multiply => kernels::integers(kernels::Checked::Multiply, left, right),
        _ => kernels::integers(kernels::Checked::Remainder, left, right),
    };
    let bounds = if safe { bounds } else { I64_RANGE };
    Lowered {
        expr,
        dtype: DataType::Int64,
        bounds,
    }
}

fn one_of(expression: &Expression, operand: Lowered, list: &[Literal]) -> Result<Expr> {
    let constants: Vec<Expression> = list
        .iter()
        .filter(|literal| **literal != Literal::Null)
        .cloned()
        .map(Expression::Literal)
        .collect();
    let types = constants
        .iter()
        .map(|constant| data_type_of(constant, &[]).map_err(misfit))
        .collect::<Result<Vec<DataType>>>()?;
    let mut common = operand.dtype.clone();
    for (constant, dtype) in constants.iter().zip(&types) {
        let meeting = comparison_type((expression, &common), (constant, dtype))
            .map_err(|clash| misfit(clash.message))?;
        common = meeting;
    }
    let mut values = Series::new_empty("".into(), &common);
    for constant in &constants {
        let Expression::Literal(literal) = constant else {
            continue;
        };
        values.append(&value(literal, &common)?)?;
    }
    let values = Expr::Literal(LiteralValue::Series(SpecialEq::new(values))).implode(true);
    let found = typed(operand, &common).is_in(values, false);
    // `1 in (2, null)` is not known: the null might be 1.
    Ok(if list.contains(&Literal::Null) {
        found.or(lit(Scalar::null(DataType::Boolean)))
    } else {
        found
    })
}

/// One constant as a series.
fn value(literal: &Literal, to: &DataType) -> Result<Series> {
    let frame = DataFrame::empty()
        .lazy()
        .select([constant(literal, to)?.alias("value")])
        .collect()?;
    Ok(frame.column("value")?.as_materialized_series().clone())
}

// ---- functions

fn call(
    function: Function,
    arguments: &[Expression],
    parts: Vec<Lowered>,
    dtype: DataType,
) -> Result<Lowered> {
    use Function as F;
    let lacking = || misfit("a function lacks an argument");
    let is_bounded = |bounds: Bounds| within((-bounds.1, -bounds.0), I64_RANGE);
    if matches!(function, F::Least | F::Greatest | F::Coalesce | F::NullIf) {
        return several(function, arguments, parts, dtype);
    }
    let mut parts = parts.into_iter();
    let operand = parts.next().ok_or_else(lacking)?;
    let (operand_type, bounds) = (operand.dtype.clone(), operand.bounds);
    if operand_type == DataType::Null && !matches!(function, F::DateTrunc) {
        return Ok(Lowered::new(lit(Scalar::null(dtype.clone())), dtype));
    }
    let text = |lowered: Option<Lowered>| -> Result<Expr> {
        Ok(typed(lowered.ok_or_else(lacking)?, &DataType::String))
    };
    let whole = dtype == DataType::Int64;
    let expr = match function {
        F::Abs if whole && is_bounded(bounds) => typed(operand, &dtype).abs(),
        F::Abs if whole => kernels::absolute(typed(operand, &dtype)),
        F::Abs => typed(operand, &dtype).abs(),
        F::Floor | F::Ceil | F::Round if whole => typed(operand, &dtype),
        F::Floor => typed(operand, &dtype).floor(),
        F::Ceil => typed(operand, &dtype).ceil(),
        F::Round => {
            let digits = match arguments.get(1) {
                Some(Expression::Literal(Literal::Int(digits))) => {
                    u32::try_from(*digits).unwrap_or(0)
                }
                _ => 0,
            };
            typed(operand, &dtype).round(digits, RoundMode::HalfAwayFromZero)
        }
        F::Sign if whole => kernels::whole(typed(operand, &dtype), i64::signum),
        F::Sign => kernels::real(typed(operand, &dtype), |value| {
            if value > 0.0 {
                1.0
            } else if value < 0.0 {
                -1.0
            } else {
                // Not a number stays so; both zeros give 0.
                value.abs()
            }
        }),
        // polars divides two natural logarithms: `log10(1000)` would not be 3.
        F::Ln => kernels::real(typed(operand, &dtype), f64::ln),
        F::Log10 => kernels::real(typed(operand, &dtype), f64::log10),
        F::Log2 => kernels::real(typed(operand, &dtype), f64::log2),
        F::Exp => typed(operand, &dtype).exp(),
        F::Sqrt => typed(operand, &dtype).sqrt(),
        F::Sin => typed(operand, &dtype).sin(),
        F::Cos => typed(operand, &dtype).cos(),
        F::Power => kernels::power(
            typed(operand, &dtype),
            typed(parts.next().ok_or_else(lacking)?, &dtype),
        ),
        F::IsNan if operand_type.is_float() => operand.expr.is_nan(),
        F::IsNan => {
            let known = lit(Scalar::from(false));
            when(operand.expr.is_null())
                .then(lit(Scalar::null(DataType::Boolean)))
                .otherwise(known)
        }
        F::Lower => text(Some(operand))?.str().to_lowercase(),
        F::Upper => text(Some(operand))?.str().to_uppercase(),
        F::Trim => text(Some(operand))?.str().strip_chars(lit(NULL)),
        F::Length => text(Some(operand))?.str().len_chars().cast(dtype.clone()),
        F::Substr => {
            let subject = text(Some(operand))?;
            let start = parts.next().ok_or_else(lacking)?;
            substring(subject, start, parts.next())
        }
        F::Replace => {
            let subject = text(Some(operand))?;
            let (from, to) = (text(parts.next())?, text(parts.next())?);
            kernels::replace(subject, from, to)
        }
        F::StartsWith => text(Some(operand))?.str().starts_with(text(parts.next())?),
        F::EndsWith => text(Some(operand))?.str().ends_with(text(parts.next())?),
        F::Contains => text(Some(operand))?
            .str()
            .contains_literal(text(parts.next())?),
        F::RegexpLike => text(Some(operand))?
            .str()
            .contains(text(parts.next())?, true),
        F::Year => operand.expr.dt().year().cast(dtype.clone()),
        F::Quarter => operand.expr.dt().quarter().cast(dtype.clone()),
        F::Month => operand.expr.dt().month().cast(dtype.clone()),
        F::Week => operand.expr.dt().week().cast(dtype.clone()),
        F::Day => operand.expr.dt().day().cast(dtype.clone()),
        F::DayOfYear => operand.expr.dt().ordinal_day().cast(dtype.clone()),
        F::IsoDayOfWeek => operand.expr.dt().weekday().cast(dtype.clone()),
        // polars counts Monday = 1 … Sunday = 7.
        F::DayOfWeek => operand.expr.dt().weekday().cast(dtype.clone()) % lit(Scalar::from(7_i64)),
        F::Hour => clock(operand).dt().hour().cast(dtype.clone()),
        F::Minute => clock(operand).dt().minute().cast(dtype.clone()),
        F::Second => clock(operand).dt().second().cast(dtype.clone()),
        F::Epoch => {
            let (ticks, per_second) = match &operand_type {
                DataType::Date => (operand.expr.cast(DATETIME), 1e6),
                DataType::Datetime(unit, _) | DataType::Duration(unit) => {
                    (operand.expr, ticks_per_second(*unit))
                }
                _ => (operand.expr, 1.0),
            };
            kernels::quotient(
                ticks.cast(DataType::Int64).cast(DataType::Float64),
                lit(Scalar::from(per_second)),
            )
        }
        F::DateTrunc => {
            let Some(Expression::Literal(Literal::Text(unit))) = arguments.first() else {
                return Err(misfit("the unit of `date_trunc` must be a constant text"));
            };
            let every = match unit.to_lowercase().as_str() {
                "year" => "1y",
                "quarter" => "1q",
                "month" => "1mo",
                "week" => "1w",
                "day" => "1d",
                "hour" => "1h",
                "minute" => "1m",
                _ => "1s",
            };
            if dtype == DataType::Null {
                lit(NULL)
            } else {
                typed(parts.next().ok_or_else(lacking)?, &dtype)
                    .dt()
                    .truncate(lit(every))
            }
        }
        F::Least | F::Greatest | F::Coalesce | F::NullIf => return Err(lacking()),
    };
    let mut lowered = Lowered::new(expr, dtype);
    lowered.bounds = match function {
        F::Hour
        | F::Minute
        | F::Second
        | F::Month
        | F::Quarter
        | F::Week
        | F::Day
        | F::DayOfWeek
        | F::IsoDayOfWeek => (0, 60),
        F::DayOfYear => (0, 366),
        F::Year => (i32::MIN.into(), i32::MAX.into()),
        F::Length => (0, u32::MAX.into()),
        F::Sign => (-1, 1),
        F::Abs if whole => (0, I64_RANGE.1.min(bounds.0.abs().max(bounds.1.abs()))),
        F::Floor | F::Ceil | F::Round if whole => bounds,
        _ => lowered.bounds,
    };
    Ok(lowered)
}

fn ticks_per_second(unit: TimeUnit) -> f64 {
    match unit {
        TimeUnit::Nanoseconds => 1e9,
        TimeUnit::Microseconds => 1e6,
        TimeUnit::Milliseconds => 1e3,
    }
}

/// A date has no hours: it is its midnight.
fn clock(operand: Lowered) -> Expr {
    if operand.dtype == DataType::Date {
        operand.expr.cast(DATETIME)
    } else {
        operand.expr
    }
}

/// Functions whose arguments meet in one type.
fn several(
    function: Function,
    arguments: &[Expression],
    parts: Vec<Lowered>,
    dtype: DataType,
) -> Result<Lowered> {
    if function == Function::NullIf {
        let mut parts = parts.into_iter();
        let (Some(value), Some(other), [value_expression, other_expression]) =
            (parts.next(), parts.next(), arguments)
        else {
            return Err(misfit("`nullif` takes 2 arguments"));
        };
        let common = comparison_type(
            (value_expression, &value.dtype),
            (other_expression, &other.dtype),
        )
        .map_err(|clash| misfit(clash.message))?;
        let kept = value.expr.clone();
        let equal = brought(value_expression, value, &common)?.eq(brought(
            other_expression,
            other,
            &common,
        )?);
        return Ok(Lowered::new(
            when(equal)
                .then(lit(Scalar::null(dtype.clone())))
                .otherwise(kept),
            dtype,
        ));
    }
    let bounds = parts
        .iter()
        .map(|part| part.bounds)
        .reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))
        .filter(|_| dtype == DataType::Int64);
    let exprs = arguments
        .iter()
        .zip(parts)
        .map(|(argument, part)| brought(argument, part, &dtype))
        .collect::<Result<Vec<Expr>>>()?;
    let expr = match (function, exprs.as_slice()) {
        (_, [only]) => only.clone(),
        (Function::Coalesce, _) => coalesce(&exprs),
        // polars passes over not-a-number here, which must be the largest, and does not order text.
        (_, _)
            if dtype.is_float()
                || !dtype.to_physical().is_primitive_numeric()
                || is_text(&dtype) =>
        {
            kernels::extreme(exprs, function == Function::Greatest, dtype.clone())
        }
        (Function::Greatest, _) => max_horizontal(&exprs)?,
        _ => min_horizontal(&exprs)?,
    };
    let mut lowered = Lowered::new(expr, dtype);
    if let Some(bounds) = bounds {
        lowered.bounds = bounds;
    }
    Ok(lowered)
}

/// PostgreSQL's `substr`: positions count from 1, and those below 1 use up length without giving a character.
fn substring(subject: Expr, start: Lowered, length: Option<Lowered>) -> Expr {
    let zero = || lit(Scalar::from(0_i64));
    let start = typed(start, &DataType::Int64) - lit(Scalar::from(1_i64));
    let offset = when(start.clone().lt(zero()))
        .then(zero())
        .otherwise(start.clone());
    match length {
        None => subject
            .str()
            .slice(offset, lit(Scalar::null(DataType::UInt64))),
        Some(length) => {
            let remaining = start + typed(length, &DataType::Int64) - offset.clone();
            let remaining = when(remaining.clone().lt(zero()))
                .then(zero())
                .otherwise(remaining);
            let is_unknown = remaining.clone().is_null();
            // polars reads a null length as "to the end".
            when(is_unknown)
                .then(lit(Scalar::null(DataType::String)))
                .otherwise(
                    subject
                        .str()
                        .slice(offset, remaining.cast(DataType::UInt64)),
                )
        }
    }
}

// ---- aggregates

fn aggregated(aggregate: Aggregate, argument: Option<Lowered>, dtype: &DataType) -> Expr {
    let Some(argument) = argument else {
        return len().cast(DataType::Int64);
    };
    match aggregate {
        Aggregate::Count => argument.expr.count().cast(DataType::Int64),
        Aggregate::CountDistinct => {
            let null = argument
                .expr
                .clone()
                .null_count()
                .gt(lit(Scalar::from(0_u32)));
            argument.expr.n_unique().cast(DataType::Int64) - null.cast(DataType::Int64)
        }
        Aggregate::Sum if *dtype == DataType::Int64 => {
            // Sums of values this small cannot leave `i64`: a frame has fewer than 2^32 rows.
            let small = within(argument.bounds, (i32::MIN.into(), i32::MAX.into()));
            let values = typed(argument, dtype);
            if small {
                values.sum()
            } else {
                kernels::checked_sum(values.clone().sum(), values.cast(DataType::Float64).sum())
            }
        }
        Aggregate::Sum => typed(argument, dtype).sum(),
        Aggregate::Mean => typed(argument, &DataType::Float64).mean(),
        Aggregate::StdDev => typed(argument, &DataType::Float64).std(1),
        Aggregate::Variance => typed(argument, &DataType::Float64).var(1),
        Aggregate::Median => typed(argument, &DataType::Float64).median(),
        Aggregate::Min => typed(argument, dtype).min(),
        Aggregate::Max => typed(argument, dtype).max(),
        Aggregate::First => argument.expr.first(),
        Aggregate::Last => argument.expr.last(),
    }
}

#[cfg(test)]
mod tests {
    use taktline_core::{Column as SchemaColumn, Schema as FrameSchema, data_type, sql};

    use super::*;

    fn payments() -> DataFrame {
        let datetime = |unit| {
            Series::new("".into(), [Some(1_700_000_000_123_456_i64), None, Some(-1)])
                .cast(&DataType::Datetime(TimeUnit::Microseconds, None))
                .expect("datetimes")
                .cast(&DataType::Datetime(unit, None))
                .expect("unit")
        };
        let named = |series: Series, name: &str| series.with_name(name.into()).into_column();
        let integers = Series::new("".into(), [Some(7_i64), None, Some(100)]);
        let mut columns = vec![
            named(
                Series::new("".into(), [Some(2.5_f64), None, Some(f64::NAN)]),
                "real",
            ),
            named(
                Series::new("".into(), [Some(-2.5_f32), None, Some(0.1)]),
                "real32",
            ),
            named(
                Series::new("".into(), [Some(true), None, Some(false)]),
                "truth",
            ),
            named(
                Series::new("".into(), [Some("Größe"), None, Some("")]),
                "text",
            ),
            named(datetime(TimeUnit::Microseconds), "at"),
            named(datetime(TimeUnit::Milliseconds), "at_ms"),
            named(datetime(TimeUnit::Nanoseconds), "at_ns"),
            named(
                datetime(TimeUnit::Microseconds)
                    .cast(&DataType::Date)
                    .expect("dates"),
                "day",
            ),
            named(
                Series::new("".into(), [Some(90_000_000_i64), None, Some(-1)])
                    .cast(&DataType::Duration(TimeUnit::Microseconds))
                    .expect("durations"),
                "span",
            ),
            named(
                Series::new("".into(), [Some("b"), None, Some("a")])
                    .cast(&DataType::from_categories(Categories::global()))
                    .expect("categories"),
                "category",
            ),
        ];
        for (name, dtype) in [
            ("i8", DataType::Int8),
            ("i16", DataType::Int16),
            ("i32", DataType::Int32),
            ("i64", DataType::Int64),
            ("u8", DataType::UInt8),
            ("u16", DataType::UInt16),
            ("u32", DataType::UInt32),
            ("u64", DataType::UInt64),
        ] {
            columns.push(named(integers.cast(&dtype).expect("integers"), name));
        }
        let frame = DataFrame::new_infer_height(columns).expect("a frame");
        frame
            .lazy()
            .with_columns([column("at")
                .dt()
                .replace_time_zone(
                    TimeZone::opt_try_new(Some("Asia/Shanghai")).expect("zone"),
                    lit("raise"),
                    NonExistent::Raise,
                )
                .alias("at_zone")])
            .collect()
            .expect("a zone")
    }

    fn schema(frame: &DataFrame) -> FrameSchema {
        FrameSchema::from_polars(frame.schema())
    }

    fn evaluated(frame: &DataFrame, text: &str) -> Series {
        let compiled = sql::compile(text, &schema(frame))
            .unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
        let lowered = expression(&compiled.expression, &schema(frame)).expect(text);
        // Beside a column, so that a constant is repeated.
        let first = column(frame.columns()[0].name());
        let result = frame
            .clone()
            .lazy()
            .select([first.alias("first"), lowered.alias("result")])
            .collect()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        let result = result
            .column("result")
            .expect("result")
            .as_materialized_series()
            .clone();
        assert_eq!(*result.dtype(), compiled.dtype, "{text}");
        result
    }

    #[track_caller]
    fn gives<T>(text: &str, expected: [T; 3])
    where
        Series: NamedFrom<Vec<T>, [T]>,
        [T]: 'static,
        T: Clone + 'static,
    {
        let expected = Series::new("result".into(), expected.to_vec());
        let found = evaluated(&payments(), text);
        let expected = expected.cast(found.dtype()).expect("type");
        assert!(
            found.equals_missing(&expected),
            "{text}\nfound {found}\nexpected {expected}"
        );
    }

    /// All expressions over all columns and pairs of columns, with what their types say.
    #[test]
    fn types_are_what_polars_yields() {
        let frame = payments();
        let schema = schema(&frame);
        let columns: Vec<Expression> = schema.names().map(Expression::column).collect();
        let constants = [
            Expression::Literal(Literal::Null),
            Expression::int(2),
            Expression::int(-1_000_000),
            Expression::float(0.5),
            Expression::text("2024-01-31"),
            Expression::Literal(Literal::Bool(true)),
            Expression::Literal(Literal::Timestamp(1_000_000)),
            Expression::Literal(Literal::Date(3)),
            Expression::Literal(Literal::Interval(5_000_000)),
        ];
        let operands: Vec<Expression> = columns.iter().chain(&constants).cloned().collect();
        use BinaryOperator as Op;
        use Function as F;
        let mut cases: Vec<Expression> = Vec::new();
        for operand in &operands {
            for operator in [
                UnaryOperator::Not,
                UnaryOperator::Negate,
                UnaryOperator::IsNull,
                UnaryOperator::IsNotNull,
            ] {
                cases.push(operand.clone().unary(operator));
            }
            for function in [
                F::Abs,
                F::Ln,
                F::Log10,
                F::Log2,
                F::Exp,
                F::Sqrt,
                F::Floor,
                F::Ceil,
                F::Round,
                F::Sign,
                F::IsNan,
                F::Sin,
                F::Cos,
                F::Lower,
                F::Upper,
                F::Trim,
                F::Length,
                F::Year,
                F::Quarter,
                F::Month,
                F::Week,
                F::Day,
                F::DayOfYear,
                F::DayOfWeek,
                F::IsoDayOfWeek,
                F::Hour,
                F::Minute,
                F::Second,
                F::Epoch,
            ] {
                cases.push(Expression::call(function, vec![operand.clone()]));
            }
            for unit in [
                "year", "quarter", "month", "week", "day", "hour", "minute", "second",
            ] {
                cases.push(Expression::call(
                    F::DateTrunc,
                    vec![Expression::text(unit), operand.clone()],
                ));
            }
            cases.push(Expression::call(
                F::Round,
                vec![operand.clone(), Expression::int(2)],
            ));
            cases.push(Expression::call(
                F::Substr,
                vec![operand.clone(), Expression::int(2), Expression::int(1)],
            ));
            cases.push(Expression::call(
                F::RegexpLike,
                vec![operand.clone(), Expression::text("^.r")],
            ));
            cases.push(Expression::call(
                F::Replace,
                vec![operand.clone(), Expression::text("r"), operand.clone()],
            ));
            for to in [
                DataType::Boolean,
                DataType::Int8,
                DataType::Int64,
                DataType::UInt64,
                DataType::Float32,
                DataType::Float64,
                DataType::String,
                DataType::Date,
                DATETIME,
                DataType::Datetime(TimeUnit::Nanoseconds, None),
                DURATION,
            ] {
                cases.push(Expression::Cast {
                    operand: Box::new(operand.clone()),
                    to,
                    strict: false,
                });
            }
            for literal in [
                Literal::Int(7),
                Literal::Float(2.5),
                Literal::Text("b".into()),
                Literal::Timestamp(-1),
                Literal::Date(-1),
                Literal::Bool(true),
            ] {
                cases.push(Expression::In {
                    operand: Box::new(operand.clone()),
                    list: vec![literal, Literal::Null],
                    negated: true,
                });
            }
            for right in &operands {
                for operator in [
                    Op::Add,
                    Op::Subtract,
                    Op::Multiply,
                    Op::Divide,
                    Op::Modulo,
                    Op::Equal,
                    Op::NotEqual,
                    Op::Less,
                    Op::LessOrEqual,
                    Op::Greater,
                    Op::GreaterOrEqual,
                    Op::And,
                    Op::Or,
                    Op::Concat,
                ] {
                    cases.push(operand.clone().binary(operator, right.clone()));
                }
                for function in [
                    F::Least,
                    F::Greatest,
                    F::Coalesce,
                    F::NullIf,
                    F::Power,
                    F::StartsWith,
                    F::EndsWith,
                    F::Contains,
                ] {
                    cases.push(Expression::call(
                        function,
                        vec![operand.clone(), right.clone()],
                    ));
                }
                cases.push(Expression::Case {
                    branches: vec![(Expression::column("truth"), operand.clone())],
                    otherwise: Box::new(right.clone()),
                });
            }
        }
        let typed: Vec<(Expression, DataType)> = cases
            .into_iter()
            .filter_map(|case| data_type(&case, &schema).ok().map(|dtype| (case, dtype)))
            .collect();
        assert!(
            typed.len() > 4_000,
            "only {} of the expressions have a type",
            typed.len()
        );
        for chunk in typed.chunks(500) {
            let lowered: Vec<Expr> = chunk
                .iter()
                .enumerate()
                .map(|(index, (case, _))| {
                    expression(case, &schema)
                        .expect("lowers")
                        .alias(index.to_string())
                })
                .collect();
            let kept = || std::iter::once(column("i64").alias("kept"));
            // The last row's not-a-number times an interval is an error, as it should be.
            for rows in [frame.slice(0, 2), frame.slice(1, 1), frame.slice(0, 0)] {
                let query = rows
                    .clone()
                    .lazy()
                    .select(kept().chain(lowered.clone()).collect::<Vec<_>>());
                let planned = query.clone().collect_schema().expect("a schema");
                let result = query.collect().unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(result.height(), rows.height());
                for (index, (case, dtype)) in chunk.iter().enumerate() {
                    assert_eq!(
                        planned.get(&index.to_string()),
                        Some(dtype),
                        "planned: {case:?}"
                    );
                    assert_eq!(
                        result.column(&index.to_string()).expect("a column").dtype(),
                        dtype,
                        "found: {case:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn aggregate_types_are_what_polars_yields() {
        let frame = payments();
        let schema = schema(&frame);
        let mut cases = vec![Expression::Aggregate(Aggregate::Count, None)];
        for name in schema.names() {
            for aggregate in [
                Aggregate::Count,
                Aggregate::CountDistinct,
                Aggregate::Sum,
                Aggregate::Mean,
                Aggregate::Min,
                Aggregate::Max,
                Aggregate::StdDev,
                Aggregate::Variance,
                Aggregate::Median,
                Aggregate::First,
                Aggregate::Last,
            ] {
                cases.push(Expression::Aggregate(
                    aggregate,
                    Some(Box::new(Expression::column(name))),
                ));
            }
        }
        let typed: Vec<(Expression, DataType)> = cases
            .into_iter()
            .filter_map(|case| data_type(&case, &schema).ok().map(|dtype| (case, dtype)))
            .collect();
        assert!(typed.len() > 100);
        let lowered: Vec<Expr> = typed
            .iter()
            .enumerate()
            .map(|(index, (case, _))| {
                expression(case, &schema)
                    .expect("lowers")
                    .alias(index.to_string())
            })
            .collect();
        for rows in [frame.clone(), frame.slice(1, 1), frame.slice(0, 0)] {
            let over_all = rows
                .clone()
                .lazy()
                .select(lowered.clone())
                .collect()
                .expect("over all");
            let grouped = rows
                .lazy()
                .group_by_stable([column("truth").alias("key")])
                .agg(lowered.clone());
            let grouped = grouped.collect().expect("grouped");
            for (index, (case, dtype)) in typed.iter().enumerate() {
                assert_eq!(
                    over_all
                        .column(&index.to_string())
                        .expect("a column")
                        .dtype(),
                    dtype,
                    "{case:?}"
                );
                assert_eq!(
                    grouped
                        .column(&index.to_string())
                        .expect("a column")
                        .dtype(),
                    dtype,
                    "{case:?}"
                );
            }
        }
    }

    #[test]
    fn arithmetic() {
        gives("i8 + 1", [Some(8_i64), None, Some(101)]);
        gives("u8 - 200", [Some(-193_i64), None, Some(-100)]);
        gives("i64 * i64", [Some(49_i64), None, Some(10_000)]);
        gives("i64 / 2", [Some(3.5), None, Some(50.0)]);
        gives("i64 / 0", [Some(f64::INFINITY), None, Some(f64::INFINITY)]);
        gives("-i64 % 3", [Some(-1_i64), None, Some(-1)]);
        gives("i64 % -3", [Some(1_i64), None, Some(1)]);
        gives("i64 % 0", [None::<i64>, None, None]);
        gives("-real % 2", [Some(-0.5), None, Some(f64::NAN)]);
        gives("real * 2", [Some(5.0), None, Some(f64::NAN)]);
        gives("real32 * 1", [Some(-2.5), None, Some(f64::from(0.1_f32))]);
        gives("1 + 2 * 3 - -4", [11_i64, 11, 11]);
        gives("abs(-i64)", [Some(7_i64), None, Some(100)]);
        gives("-real", [Some(-2.5), None, Some(f64::NAN)]);
        gives("3 / 10", [0.3; 3]);
    }

    /// A row scored by itself must give what it gave among others, to the bit.
    #[test]
    fn one_row_alone_gives_the_same() {
        let values: Vec<f64> = (1..200).map(|value| f64::from(value) * 0.37).collect();
        let frame = df!("a" => &values, "b" => values.iter().rev().copied().collect::<Vec<_>>())
            .expect("a frame");
        for text in [
            "a / b",
            "a / 10",
            "3 / a",
            "power(a, b)",
            "power(a, 0.5)",
            "a % b",
            "ln(a) * b - a / 7",
            "exp(a / b)",
            "sin(a)",
        ] {
            let together = evaluated(&frame, text);
            for row in 0..frame.height() {
                let alone = evaluated(&frame.slice(row as i64, 1), text);
                assert!(
                    alone.equals(&together.slice(row as i64, 1)),
                    "{text}, row {row}"
                );
            }
        }
    }

    #[test]
    fn whole_numbers_never_wrap() {
        let frame =
            df!("big" => [i64::MAX, 1], "small" => [i64::MIN, 1], "unsigned" => [u64::MAX, 1])
                .expect("a frame");
        for text in [
            "big + 1",
            "small - 1",
            "big * 2",
            "-small",
            "abs(small)",
            "big + big",
            "unsigned + 1",
            "big * -2 + 1",
        ] {
            let compiled = sql::compile(text, &schema(&frame)).expect(text);
            let lowered = expression(&compiled.expression, &schema(&frame)).expect(text);
            let result = frame
                .clone()
                .lazy()
                .select([lowered.alias("result")])
                .collect();
            assert!(result.is_err(), "{text}: {result:?}");
        }
        let sum = sql::compile_aggregate("sum(big)", &schema(&frame)).expect("sum");
        let lowered = expression(&sum.expression, &schema(&frame))
            .expect("sum")
            .alias("sum");
        assert!(
            frame
                .clone()
                .lazy()
                .select([lowered.clone()])
                .collect()
                .is_err()
        );
        assert!(
            frame
                .clone()
                .lazy()
                .group_by([lit(1).alias("one")])
                .agg([lowered])
                .collect()
                .is_err()
        );
        let fine = evaluated(&frame, "big - 1 + 1");
        assert_eq!(fine.i64().expect("integers").get(0), Some(i64::MAX));
        // A null hides whatever lies beneath it.
        let frame =
            df!("a" => [Some(i64::MAX), Some(1)], "b" => [None, Some(1_i64)]).expect("a frame");
        assert_eq!(
            evaluated(&frame, "a + b").i64().expect("integers").to_vec(),
            [None, Some(2)]
        );
    }

    #[test]
    fn comparisons_and_truth() {
        gives("real > 1", [Some(true), None, Some(true)]);
        gives("real = real", [Some(true), None, Some(true)]);
        gives("real32 = 0.1", [Some(false), None, Some(false)]);
        gives("u8 > -1", [Some(true), None, Some(true)]);
        gives("u64 = 100.0", [Some(false), None, Some(true)]);
        gives("i8 < 1000", [Some(true), None, Some(true)]);
        gives("truth and null", [None, None, Some(false)]);
        gives("truth or null", [Some(true), None, None]);
        gives("not truth", [Some(false), None, Some(true)]);
        gives("truth is true", [true, false, false]);
        gives("truth is not false", [true, true, false]);
        gives("real is null", [false, true, false]);
        gives("i64 between 7 and 50", [Some(true), None, Some(false)]);
        gives("i64 not in (7, 8)", [Some(false), None, Some(true)]);
        gives("i64 in (7, null)", [Some(true), None, None]);
        gives("i64 in (7.5, 100)", [Some(false), None, Some(true)]);
        gives("text in ('', 'x')", [Some(false), None, Some(true)]);
        gives("category = 'b'", [Some(true), None, Some(false)]);
        gives("category in ('a')", [Some(false), None, Some(true)]);
        gives(
            "at < timestamp '2000-01-01'",
            [Some(false), None, Some(true)],
        );
        gives(
            "at_zone > timestamp '2023-11-15 06:13:20'",
            [Some(false), None, Some(false)],
        );
        gives(
            "at_zone > timestamp '2023-11-14 22:13:20'",
            [Some(true), None, Some(false)],
        );
        gives("at = at_ns", [Some(true), None, Some(true)]);
        gives("day = date '2023-11-14'", [Some(true), None, Some(false)]);
        gives("day <= at", [Some(true), None, Some(true)]);
    }

    #[test]
    fn functions_of_numbers() {
        gives("ln(real)", [Some(2.5_f64.ln()), None, Some(f64::NAN)]);
        gives("log10(i64 * 10)", [Some(70.0_f64.log10()), None, Some(3.0)]);
        gives("log2(8)", [3.0, 3.0, 3.0]);
        gives("ln(0)", [f64::NEG_INFINITY; 3]);
        gives("sqrt(-1)", [f64::NAN; 3]);
        gives("power(i8, 2)", [Some(49.0), None, Some(10_000.0)]);
        gives("round(real)", [Some(3.0), None, Some(f64::NAN)]);
        gives("round(-real)", [Some(-3.0), None, Some(f64::NAN)]);
        gives("round(1.25, 1)", [1.3; 3]);
        gives("floor(-real)", [Some(-3.0), None, Some(f64::NAN)]);
        gives("ceil(real)", [Some(3.0), None, Some(f64::NAN)]);
        gives("ceil(i8)", [Some(7_i64), None, Some(100)]);
        gives("sign(-real)", [Some(-1.0), None, Some(f64::NAN)]);
        gives("sign(i64 - 7)", [Some(0_i64), None, Some(1)]);
        gives("isnan(real)", [Some(false), None, Some(true)]);
        gives("isnan(i64)", [Some(false), None, Some(false)]);
        gives("cos(0)", [1.0; 3]);
    }

    #[test]
    fn functions_that_pick() {
        gives("greatest(real, 3)", [Some(3.0), Some(3.0), Some(f64::NAN)]);
        gives("least(real, 3)", [Some(2.5), Some(3.0), Some(3.0)]);
        gives("greatest(i8, u8, 50)", [Some(50_i64), Some(50), Some(100)]);
        gives("least(text, 'M')", [Some("Größe"), Some("M"), Some("")]);
        gives(
            "greatest(truth, false)",
            [Some(true), Some(false), Some(false)],
        );
        gives(
            "greatest(at, timestamp '1970-01-01')",
            [Some(1_700_000_000_123_456_i64), Some(0), Some(0)],
        );
        gives(
            "coalesce(real, i64, 1)",
            [Some(2.5), Some(1.0), Some(f64::NAN)],
        );
        gives("coalesce(u8, 0)", [7_u8, 0, 100]);
        gives("nullif(i64, 7)", [None, None, Some(100_i64)]);
        gives(
            "case when truth then 'yes' when truth is null then 'unknown' else text end",
            ["yes", "unknown", ""],
        );
        gives("case i8 when 7 then 1.5 end", [Some(1.5), None, None]);
    }

    #[test]
    fn functions_of_text() {
        gives("lower(text)", [Some("größe"), None, Some("")]);
        gives("upper(text)", [Some("GRÖSSE"), None, Some("")]);
        gives("length(text)", [Some(5_i64), None, Some(0)]);
        gives("trim('  a b ')", ["a b"; 3]);
        gives("substr(text, 2, 3)", [Some("röß"), None, Some("")]);
        gives("substr(text, 0, 2)", [Some("G"), None, Some("")]);
        gives("substr(text, 4)", [Some("ße"), None, Some("")]);
        gives("substr(text, i64 - 5)", [Some("röße"), None, Some("")]);
        gives("replace(text, 'ö', 'oe')", [Some("Groeße"), None, Some("")]);
        gives("replace('aa', '', 'x')", ["aa"; 3]);
        gives("text || '!' ", [Some("Größe!"), None, Some("!")]);
        gives("starts_with(text, 'Gr')", [Some(true), None, Some(false)]);
        gives("contains(text, '.')", [Some(false), None, Some(false)]);
        gives("regexp_like(text, '^.r')", [Some(true), None, Some(false)]);
        gives("text like 'G_ö%'", [Some(true), None, Some(false)]);
        gives("text ilike 'GRÖ%'", [Some(true), None, Some(false)]);
        gives("text like ''", [Some(false), None, Some(true)]);
        gives("category || text", [Some("bGröße"), None, Some("a")]);
    }

    #[test]
    fn functions_of_time() {
        // 2023-11-14 22:13:20.123456 was a Tuesday; 1969-12-31 23:59:59.999999 a Wednesday.
        gives("extract(year from at)", [Some(2023_i64), None, Some(1969)]);
        gives("extract(quarter from day)", [Some(4_i64), None, Some(4)]);
        gives("extract(week from at)", [Some(46_i64), None, Some(1)]);
        gives("extract(doy from at)", [Some(318_i64), None, Some(365)]);
        gives("extract(dow from at)", [Some(2_i64), None, Some(3)]);
        gives("extract(dow from date '2023-11-12')", [0_i64; 3]);
        gives("extract(isodow from date '2023-11-12')", [7_i64; 3]);
        gives("extract(hour from at)", [Some(22_i64), None, Some(23)]);
        gives("extract(hour from at_zone)", [Some(22_i64), None, Some(23)]);
        gives("extract(hour from day)", [Some(0_i64), None, Some(0)]);
        gives("extract(second from at)", [Some(20_i64), None, Some(59)]);
        gives(
            "extract(epoch from at)",
            [Some(1_700_000_000.123_456), None, Some(-0.000_001)],
        );
        gives(
            "extract(epoch from at_zone)",
            [Some(1_699_971_200.123_456), None, Some(-28_800.000_001)],
        );
        gives(
            "extract(epoch from day)",
            [Some(1_699_920_000.0), None, Some(-86_400.0)],
        );
        gives(
            "extract(epoch from span)",
            [Some(90.0), None, Some(-0.000_001)],
        );
        gives(
            "extract(epoch from at - day)",
            [Some(80_000.123_456), None, Some(86_399.999_999)],
        );
        gives(
            "date_trunc('hour', at)",
            [Some(1_699_999_200_000_000_i64), None, Some(-3_600_000_000)],
        );
        gives(
            "date_trunc('week', day)",
            [
                Some(1_699_833_600_000_000_i64),
                None,
                Some(-259_200_000_000),
            ],
        );
        gives(
            "at + interval '1 second'",
            [Some(1_700_000_001_123_456_i64), None, Some(999_999)],
        );
        gives(
            "at_ms + interval '1 microsecond'",
            [Some(1_700_000_000_123_001_i64), None, Some(-999)],
        );
        gives(
            "timestamp '1970-01-01' + i64 * interval '1 hour'",
            [Some(25_200_000_000_i64), None, Some(360_000_000_000)],
        );
        gives(
            "span / interval '1 minute'",
            [Some(1.5), None, Some(-1.0 / 60e6)],
        );
        gives("span * 0.5", [Some(45_000_000_i64), None, Some(-1)]);
        gives("-span", [Some(-90_000_000_i64), None, Some(1)]);
    }

    #[test]
    fn casts() {
        gives("cast(real32 as int)", [Some(-2_i64), None, Some(0)]);
        gives("try_cast(real as int)", [Some(2_i64), None, None]);
        gives("try_cast(text as double)", [None::<f64>, None, None]);
        gives("cast('1.5' as double)", [1.5; 3]);
        gives("try_cast(i64 - 50 as u8)", [None, None, Some(50_u8)]);
        gives("cast(truth as int)", [Some(1_i64), None, Some(0)]);
        gives("cast(i64 as bool)", [Some(true), None, Some(true)]);
        gives("cast('Yes' as bool)", [true; 3]);
        gives("try_cast(text as bool)", [None::<bool>, None, None]);
        gives("cast(i64 as text)", [Some("7"), None, Some("100")]);
        gives("cast(truth as text)", [Some("true"), None, Some("false")]);
        gives("cast('1970-01-02' as date)", [1_i32; 3]);
        gives("try_cast(text as timestamp)", [None::<i64>, None, None]);
        gives(
            "cast('1970-01-01T00:00:01Z' as timestamp)",
            [1_000_000_i64; 3],
        );
        gives(
            "cast('1970-01-01 02:00:00.123456789+02:00' as timestamp)",
            [123_456_i64; 3],
        );
        gives("cast(at as date)", [Some(19_675_i32), None, Some(-1)]);
        gives(
            "cast(at_zone as timestamp)",
            [Some(1_700_000_000_123_456_i64), None, Some(-1)],
        );
        let frame = payments();
        for text in [
            "cast(text as int)",
            "cast(text as bool)",
            "cast(text as date)",
            "cast(real as int)",
            "cast(i64 + 200 as u8)",
        ] {
            let compiled = sql::compile(text, &schema(&frame)).expect(text);
            let lowered = expression(&compiled.expression, &schema(&frame)).expect(text);
            assert!(
                frame
                    .clone()
                    .lazy()
                    .select([lowered.alias("result")])
                    .collect()
                    .is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn aggregates() {
        let frame = df!(
            "real" => [Some(1.0), None, Some(4.0), Some(7.0)],
            "whole" => [Some(1_i32), Some(1), None, Some(i32::MAX)],
            "text" => [Some("b"), None, Some("a"), Some("b")],
        )
        .expect("a frame");
        let one = |text: &str| -> AnyValue<'static> {
            let compiled = sql::compile_aggregate(text, &schema(&frame)).expect(text);
            let lowered = expression(&compiled.expression, &schema(&frame)).expect(text);
            let result = frame
                .clone()
                .lazy()
                .select([lowered.alias("result")])
                .collect()
                .expect(text);
            result
                .column("result")
                .expect("result")
                .get(0)
                .expect("one")
                .into_static()
        };
        assert_eq!(one("count()"), AnyValue::Int64(4));
        assert_eq!(one("count(real)"), AnyValue::Int64(3));
        assert_eq!(one("count(distinct text)"), AnyValue::Int64(2));
        assert_eq!(one("sum(whole)"), AnyValue::Int64(i64::from(i32::MAX) + 2));
        assert_eq!(one("avg(real)"), AnyValue::Float64(4.0));
        assert_eq!(one("variance(real)"), AnyValue::Float64(9.0));
        assert_eq!(one("stddev(real)"), AnyValue::Float64(3.0));
        assert_eq!(one("median(real)"), AnyValue::Float64(4.0));
        assert_eq!(one("max(real) - min(real)"), AnyValue::Float64(6.0));
        assert_eq!(one("min(text)"), AnyValue::StringOwned("a".into()));
        assert_eq!(one("last(text)"), AnyValue::StringOwned("b".into()));
        assert_eq!(one("count() filter (where text = 'b')"), AnyValue::Int64(2));
        assert_eq!(
            one("sum(real) filter (where text = 'z')"),
            AnyValue::Float64(0.0)
        );
        assert_eq!(one("avg(real) filter (where text = 'z')"), AnyValue::Null);
    }

    #[test]
    fn arrays_are_scaled() {
        let bytes = Series::new("".into(), (0..=255_u8).chain([255; 32]).collect::<Vec<_>>());
        let images = bytes
            .reshape_array(&[3, 12, 8, 1].map(ReshapeDimension::new_dimension))
            .expect("images")
            .with_name("image".into());
        let absent = Series::full_null("image".into(), 1, images.dtype());
        let mut with_null = images.clone();
        with_null.append(&absent).expect("same type");
        let scale = Expression::ScaleArray {
            operand: Box::new(Expression::column("image")),
            factor: 1.0 / 255.0,
            offset: 0.0,
        };
        for images in [
            images.clone(),
            with_null,
            images.slice(1, 2),
            images.slice(0, 0),
        ] {
            let frame =
                DataFrame::new_infer_height(vec![images.clone().into_column()]).expect("a frame");
            let schema = FrameSchema::new(vec![SchemaColumn::new("image", images.dtype().clone())]);
            let dtype = data_type(&scale, &schema).expect("a type");
            let lowered = expression(&scale, &schema).expect("lowers");
            let result = frame
                .lazy()
                .select([lowered.alias("image")])
                .collect()
                .expect("scales");
            let scaled = result
                .column("image")
                .expect("image")
                .as_materialized_series()
                .clone();
            assert_eq!(*scaled.dtype(), dtype);
            assert_eq!(scaled.null_count(), images.null_count());
            let before = images
                .drop_nulls()
                .array()
                .expect("arrays")
                .get_leaf_array();
            let after = scaled
                .drop_nulls()
                .array()
                .expect("arrays")
                .get_leaf_array();
            let expected: Vec<Option<f32>> = before
                .u8()
                .expect("bytes")
                .iter()
                .map(|byte| byte.map(|byte| f32::from(byte) / 255.0))
                .collect();
            assert_eq!(after.f32().expect("reals").to_vec(), expected);
        }
    }

    #[test]
    fn names_are_never_patterns() {
        let frame = df!("^a.*$" => [1_i64], "abc" => [2_i64], "*" => [3_i64]).expect("a frame");
        assert_eq!(
            evaluated(&frame, "\"^a.*$\" + \"*\"")
                .i64()
                .expect("integers")
                .get(0),
            Some(4)
        );
    }
}
