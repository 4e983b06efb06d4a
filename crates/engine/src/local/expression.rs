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
    Aggregate, BinaryOperator, Error, Expression, Function, Literal, PairAggregate, Result, Schema,
    UnaryOperator, comparison_type, data_type_of,
};

use super::{kernels, text as texts, time};

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
        Expression::AggregatePair(aggregate, ..) => {
            let (left, right) = (next()?, next()?);
            let expr = pair_aggregated(*aggregate, typed(left, &dtype), typed(right, &dtype));
            Ok(Lowered::new(expr, dtype))
        }
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
        (DataType::Float64, DataType::Float32) => kernels::narrowed(expr, strict),
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
    let number = |lowered: Option<Lowered>| -> Result<Expr> {
        Ok(typed(lowered.ok_or_else(lacking)?, &DataType::Int64))
    };
    let whole = dtype == DataType::Int64;
    let expr = match function {
        F::Abs if whole && is_bounded(bounds) => typed(operand, &dtype).abs(),
        F::Abs if whole => kernels::absolute(typed(operand, &dtype)),
        F::Abs => typed(operand, &dtype).abs(),
        F::Floor | F::Ceil | F::Round | F::Trunc if whole => typed(operand, &dtype),
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
        F::Trunc => {
            let factor = match arguments.get(1) {
                Some(Expression::Literal(Literal::Int(digits))) => 10_f64.powi(*digits as i32),
                _ => 1.0,
            };
            truncated(typed(operand, &dtype), factor)
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
        F::Tan => kernels::real(typed(operand, &dtype), f64::tan),
        F::Asin => kernels::real(typed(operand, &dtype), f64::asin),
        F::Acos => kernels::real(typed(operand, &dtype), f64::acos),
        F::Atan => kernels::real(typed(operand, &dtype), f64::atan),
        F::Atan2 => kernels::atan2(
            typed(operand, &dtype),
            typed(parts.next().ok_or_else(lacking)?, &dtype),
        ),
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
        F::TrimStart => text(Some(operand))?.str().strip_chars_start(lit(NULL)),
        F::TrimEnd => text(Some(operand))?.str().strip_chars_end(lit(NULL)),
        F::Left => texts::left(text(Some(operand))?, number(parts.next())?),
        F::Right => texts::right(text(Some(operand))?, number(parts.next())?),
        F::PadStart | F::PadEnd => {
            let subject = text(Some(operand))?;
            let length = number(parts.next())?;
            let fill = match parts.next() {
                Some(fill) => text(Some(fill))?,
                None => lit(" "),
            };
            texts::pad(subject, length, fill, function == F::PadStart)
        }
        F::Position => texts::position(text(Some(operand))?, text(parts.next())?),
        F::SplitPart => {
            let subject = text(Some(operand))?;
            let separator = text(parts.next())?;
            texts::split_part(subject, separator, number(parts.next())?)
        }
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
        F::RegexpExtract => {
            let group = match arguments.get(2) {
                Some(Expression::Literal(Literal::Int(group))) => {
                    usize::try_from(*group).unwrap_or(0)
                }
                _ => 0,
            };
            text(Some(operand))?
                .str()
                .extract(text(parts.next())?, group)
        }
        F::RegexpReplace => {
            let [
                _,
                Expression::Literal(Literal::Text(pattern)),
                Expression::Literal(Literal::Text(by)),
                flags @ ..,
            ] = arguments
            else {
                return Err(misfit("`regexp_replace` takes constant texts"));
            };
            // In brackets, so that polars never takes the pattern for plain text, whose replacement it reads otherwise.
            let pattern = lit(format!("(?:{pattern})"));
            let by = lit(texts::replacement(by));
            let subject = text(Some(operand))?.str();
            if flags.is_empty() {
                subject.replace(pattern, by, false)
            } else {
                subject.replace_all(pattern, by, false)
            }
        }
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
        F::DateDiff => {
            let [Expression::Literal(Literal::Text(unit)), start, end] = arguments else {
                return Err(misfit(
                    "`date_diff` takes a constant unit, a start and an end",
                ));
            };
            let (first, last) = (
                parts.next().ok_or_else(lacking)?,
                parts.next().ok_or_else(lacking)?,
            );
            let common = comparison_type((start, &first.dtype), (end, &last.dtype))
                .map_err(|clash| misfit(clash.message))?;
            if common == DataType::Null {
                lit(Scalar::null(dtype.clone()))
            } else {
                time::date_diff(
                    &unit.to_lowercase(),
                    brought(start, first, &common)?,
                    brought(end, last, &common)?,
                    &common,
                )
            }
        }
        F::AddMonths => time::add_months(operand.expr, &operand_type, number(parts.next())?),
        F::ToDate | F::TryToDate | F::ToTimestamp | F::TryToTimestamp => {
            let strict = matches!(function, F::ToDate | F::ToTimestamp);
            time::from_format(text(Some(operand))?, format_of(arguments)?, &dtype, strict)
        }
        F::Strftime => operand.expr.dt().to_string(format_of(arguments)?),
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
        F::Length | F::Position => (0, u32::MAX.into()),
        F::Sign => (-1, 1),
        F::Abs if whole => (0, I64_RANGE.1.min(bounds.0.abs().max(bounds.1.abs()))),
        F::Floor | F::Ceil | F::Round | F::Trunc if whole => bounds,
        _ => lowered.bounds,
    };
    Ok(lowered)
}

/// The second argument, a format of dates and times.
fn format_of(arguments: &[Expression]) -> Result<&str> {
    match arguments.get(1) {
        Some(Expression::Literal(Literal::Text(format))) => Ok(format),
        _ => Err(misfit("a format must be a constant text")),
    }
}

/// Towards zero, with as many digits as the factor has zeros.
fn truncated(operand: Expr, factor: f64) -> Expr {
    let whole = |operand| kernels::real(operand, f64::trunc);
    if factor == 1.0 {
        return whole(operand);
    }
    let factor = || lit(Scalar::from(factor));
    let cut = kernels::quotient(whole(operand.clone() * factor()), factor());
    // Beyond 2^53 there are no digits to cut, and the product may be infinite.
    let digits = operand.clone().abs() * factor();
    when(digits.lt(lit(Scalar::from(9.0e15))))
        .then(cut)
        .otherwise(operand)
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
        Aggregate::Quantile(share) => typed(argument, &DataType::Float64)
            .quantile(lit(Scalar::from(share)), QuantileMethod::Linear),
        Aggregate::Mode | Aggregate::AnyValue if *dtype == DataType::Null => argument.expr.first(),
        Aggregate::Mode => typed(argument, dtype).drop_nulls().mode(false).min(),
        Aggregate::AnyValue => argument.expr.drop_nulls().first(),
        Aggregate::Min => typed(argument, dtype).min(),
        Aggregate::Max => typed(argument, dtype).max(),
        Aggregate::First => argument.expr.first(),
        Aggregate::Last => argument.expr.last(),
    }
}

/// In two passes, the means first, so that numbers far from 0 lose no digits.
fn pair_aggregated(aggregate: PairAggregate, left: Expr, right: Expr) -> Expr {
    let unknown = || lit(Scalar::null(DataType::Float64));
    let known = |value: &Expr, other: &Expr| {
        when(other.clone().is_null())
            .then(unknown())
            .otherwise(value.clone())
    };
    let (left, right) = (known(&left, &right), known(&right, &left));
    let pairs = left.clone().count().cast(DataType::Float64);
    let from_mean = |value: Expr| value.clone() - value.mean();
    let (left, right) = (from_mean(left), from_mean(right));
    let together = (left.clone() * right.clone()).sum();
    let enough = pairs.clone().gt_eq(lit(Scalar::from(2.0)));
    match aggregate {
        PairAggregate::Covariance => when(enough)
            .then(kernels::quotient(together, pairs - lit(Scalar::from(1.0))))
            .otherwise(unknown()),
        PairAggregate::Correlation => {
            let spread = |value: Expr| (value.clone() * value).sum();
            let (left, right) = (spread(left), spread(right));
            let varies = |spread: &Expr| spread.clone().gt(lit(Scalar::from(0.0)));
            let coefficient =
                kernels::quotient(together, left.clone().sqrt() * right.clone().sqrt());
            when(enough.and(varies(&left)).and(varies(&right)))
                // Rounding must not lead beyond a perfect correlation.
                .then(kernels::real(coefficient, |value| value.clamp(-1.0, 1.0)))
                .otherwise(unknown())
        }
    }
}

#[cfg(test)]
mod tests;
