//! The type of an expression, the same on every engine. An engine's lowering casts where its own rules differ.

use std::ops::RangeInclusive;

use polars::prelude::{DataType, TimeUnit, TimeZone};

use crate::{
    Aggregate, BinaryOperator, Expression, Function, Literal, Schema, UnaryOperator, counted,
    type_name,
};

/// A datetime without a zone, as literals and `cast(… as timestamp)` give it.
const DATETIME: DataType = DataType::Datetime(TimeUnit::Microseconds, None);
/// A span of time.
const DURATION: DataType = DataType::Duration(TimeUnit::Microseconds);

/// The type of an expression's value over a frame of this schema.
///
/// # Errors
/// One line that says which part does not fit and why.
pub fn data_type(expression: &Expression, schema: &Schema) -> Result<DataType, String> {
    if let Expression::Column(name) = expression {
        let column = schema
            .column(name)
            .ok_or_else(|| format!("`{name}` is not a column here"))?;
        return Ok(column.dtype.clone());
    }
    let parts = expression
        .children()
        .into_iter()
        .map(|part| data_type(part, schema))
        .collect::<Result<Vec<_>, _>>()?;
    type_of_parts(expression, &parts).map_err(|mismatch| mismatch.message)
}

/// The type of an expression whose direct parts have these types, in the order of [`Expression::children`]; for an engine
/// that lowers from the leaves up.
///
/// # Errors
/// One line that says which part does not fit and why.
pub fn data_type_of(expression: &Expression, parts: &[DataType]) -> Result<DataType, String> {
    type_of_parts(expression, parts).map_err(|mismatch| mismatch.message)
}

/// Why the parts of an expression do not fit together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mismatch {
    /// `type-mismatch`, `wrong-arguments` or `bad-expression`.
    pub(crate) code: &'static str,
    /// The part that is wrong, as an index into [`Expression::children`]; the whole, where it is none in particular.
    pub(crate) part: Option<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Mismatch {
    fn types(part: impl Into<Option<usize>>, message: impl Into<String>) -> Self {
        Self {
            code: "type-mismatch",
            part: part.into(),
            message: message.into(),
            help: None,
        }
    }

    fn arguments(part: impl Into<Option<usize>>, message: impl Into<String>) -> Self {
        Self {
            code: "wrong-arguments",
            part: part.into(),
            message: message.into(),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn help_if(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// The type of an expression whose direct parts have these types, in the order of [`Expression::children`].
pub(crate) fn type_of_parts(
    expression: &Expression,
    parts: &[DataType],
) -> Result<DataType, Mismatch> {
    match expression {
        // A column has no parts: `data_type` looks it up.
        Expression::Column(name) => Err(Mismatch::types(
            None,
            format!("the type of `{name}` is not known"),
        )),
        Expression::Literal(literal) => Ok(literal_type(literal)),
        Expression::Unary(operator, _) => unary(*operator, &parts[0]),
        Expression::Binary(operator, left, right) => {
            binary(*operator, (left, &parts[0]), (right, &parts[1]))
        }
        Expression::Call(function, arguments) => call(*function, arguments, parts),
        Expression::Aggregate(aggregate, _) => aggregate_type(*aggregate, parts.first()),
        Expression::AggregatePair(aggregate, ..) => {
            let what = format!("`{}`", crate::sql::pair_aggregate_name(*aggregate));
            expect_number(0, &parts[0], &what)?;
            expect_number(1, &parts[1], &what)?;
            Ok(DataType::Float64)
        }
        Expression::Case {
            branches,
            otherwise,
        } => {
            for (index, _) in branches.iter().enumerate() {
                expect_bool(2 * index, &parts[2 * index], "`when`")?;
            }
            let values: Vec<(&Expression, &DataType)> = branches
                .iter()
                .enumerate()
                .map(|(index, (_, value))| (value, &parts[2 * index + 1]))
                .chain([(&**otherwise, &parts[2 * branches.len()])])
                .collect();
            common_type(&values).map_err(|clash| {
                let part = if clash.part == branches.len() {
                    2 * branches.len()
                } else {
                    2 * clash.part + 1
                };
                Mismatch::types(
                    part,
                    format!(
                        "the values of a `case` must have one type: {}",
                        clash.message
                    ),
                )
            })
        }
        Expression::Cast { to, .. } => castable(&parts[0], to),
        Expression::In { operand, list, .. } => {
            let constants: Vec<Expression> =
                list.iter().cloned().map(Expression::Literal).collect();
            for constant in &constants {
                let Expression::Literal(literal) = constant else {
                    continue;
                };
                comparison_type((operand, &parts[0]), (constant, &literal_type(literal))).map_err(
                    |clash| {
                        Mismatch::types(
                            0,
                            format!("`in` compares values of one type: {}", clash.message),
                        )
                        .help_if(clash.help)
                    },
                )?;
            }
            Ok(DataType::Boolean)
        }
        Expression::ScaleArray { .. } => scaled(&parts[0]).ok_or_else(|| {
            Mismatch::types(
                0,
                format!(
                    "only an array column of numbers can be scaled, not {}",
                    type_name(&parts[0])
                ),
            )
        }),
    }
}

/// The type of a constant.
pub(crate) fn literal_type(literal: &Literal) -> DataType {
    match literal {
        Literal::Null => DataType::Null,
        Literal::Bool(_) => DataType::Boolean,
        Literal::Int(_) => DataType::Int64,
        Literal::Float(_) => DataType::Float64,
        Literal::Text(_) => DataType::String,
        Literal::Timestamp(_) => DATETIME,
        Literal::Date(_) => DataType::Date,
        Literal::Interval(_) => DURATION,
    }
}

/// Whether values of this type are text, however they are stored.
fn is_text(dtype: &DataType) -> bool {
    matches!(
        dtype,
        DataType::String | DataType::Categorical(..) | DataType::Enum(..)
    )
}

fn is_number(dtype: &DataType) -> bool {
    dtype.is_primitive_numeric()
}

/// What to write so that a value of this type counts as a number.
fn number_advice(dtype: &DataType) -> Option<String> {
    match dtype {
        DataType::Boolean => Some("a truth value counts as 0 or 1 after `cast(… as int)`".into()),
        DataType::Duration(_) => {
            Some("`extract(epoch from …)` gives the seconds of a duration".into())
        }
        DataType::Date | DataType::Datetime(..) => {
            Some("`extract(epoch from …)` gives seconds since 1970".into())
        }
        dtype if is_text(dtype) => {
            Some("text that holds numbers can be read with `cast(… as double)`".into())
        }
        _ => None,
    }
}

fn expect_number(part: usize, dtype: &DataType, what: &str) -> Result<(), Mismatch> {
    if is_number(dtype) || *dtype == DataType::Null {
        return Ok(());
    }
    Err(Mismatch::types(
        part,
        format!("{what} needs a number, not {}", type_name(dtype)),
    )
    .help_if(number_advice(dtype)))
}

fn expect_bool(part: usize, dtype: &DataType, what: &str) -> Result<(), Mismatch> {
    if matches!(dtype, DataType::Boolean | DataType::Null) {
        return Ok(());
    }
    let mismatch = Mismatch::types(
        part,
        format!("{what} needs a truth value, not {}", type_name(dtype)),
    );
    Err(if is_number(dtype) {
        mismatch.help("compare it: `… <> 0`")
    } else {
        mismatch
    })
}

fn expect_text(part: usize, dtype: &DataType, what: &str) -> Result<(), Mismatch> {
    if is_text(dtype) || *dtype == DataType::Null {
        return Ok(());
    }
    Err(
        Mismatch::types(part, format!("{what} needs text, not {}", type_name(dtype)))
            .help("`cast(… as text)` makes text of it"),
    )
}

/// `i64` or `f64`, as arithmetic is done.
fn arithmetic_type(dtype: &DataType) -> DataType {
    match dtype {
        DataType::Null => DataType::Null,
        dtype if dtype.is_integer() => DataType::Int64,
        _ => DataType::Float64,
    }
}

fn unary(operator: UnaryOperator, part: &DataType) -> Result<DataType, Mismatch> {
    match operator {
        UnaryOperator::Not => expect_bool(0, part, "`not`").map(|()| DataType::Boolean),
        UnaryOperator::IsNull | UnaryOperator::IsNotNull => Ok(DataType::Boolean),
        UnaryOperator::Negate if matches!(part, DataType::Duration(_)) => Ok(DURATION),
        UnaryOperator::Negate => expect_number(0, part, "`-`").map(|()| arithmetic_type(part)),
    }
}

fn symbol(operator: BinaryOperator) -> &'static str {
    match operator {
        BinaryOperator::Add => "+",
        BinaryOperator::Subtract => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::Divide => "/",
        BinaryOperator::Modulo => "%",
        BinaryOperator::Equal => "=",
        BinaryOperator::NotEqual => "<>",
        BinaryOperator::Less => "<",
        BinaryOperator::LessOrEqual => "<=",
        BinaryOperator::Greater => ">",
        BinaryOperator::GreaterOrEqual => ">=",
        BinaryOperator::And => "and",
        BinaryOperator::Or => "or",
        BinaryOperator::Concat => "||",
    }
}

fn binary(
    operator: BinaryOperator,
    left: (&Expression, &DataType),
    right: (&Expression, &DataType),
) -> Result<DataType, Mismatch> {
    use BinaryOperator as Op;
    let what = format!("`{}`", symbol(operator));
    match operator {
        Op::And | Op::Or => {
            expect_bool(0, left.1, &what)?;
            expect_bool(1, right.1, &what)?;
            Ok(DataType::Boolean)
        }
        Op::Concat => {
            if *left.1 == DataType::Boolean && *right.1 == DataType::Boolean {
                return Err(Mismatch::types(
                    None,
                    "`||` puts text after text, and both sides are truth values",
                )
                .help("one or the other is written `or`"));
            }
            expect_text(0, left.1, &what)?;
            expect_text(1, right.1, &what)?;
            Ok(DataType::String)
        }
        Op::Equal
        | Op::NotEqual
        | Op::Less
        | Op::LessOrEqual
        | Op::Greater
        | Op::GreaterOrEqual => {
            let common = comparison_type(left, right).map_err(|clash| {
                Mismatch::types(
                    None,
                    format!("{what} compares values of one type: {}", clash.message),
                )
                .help_if(clash.help)
            })?;
            let ordered = !matches!(operator, Op::Equal | Op::NotEqual);
            if common.is_nested() && ordered {
                return Err(Mismatch::types(
                    None,
                    format!(
                        "{what} needs an order, which {} does not have",
                        type_name(&common)
                    ),
                ));
            }
            Ok(DataType::Boolean)
        }
        Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Modulo => {
            if let Some(dtype) = temporal(operator, left.1, right.1) {
                return Ok(dtype);
            }
            if operator == Op::Add && is_text(left.1) && is_text(right.1) {
                return Err(
                    Mismatch::types(None, "`+` adds numbers, and both sides are text")
                        .help("`||` puts text after text"),
                );
            }
            if left.1.is_temporal() || right.1.is_temporal() {
                let found = format!(
                    "{what} has no meaning between {} and {}",
                    type_name(left.1),
                    type_name(right.1)
                );
                let is_duration = |dtype: &DataType| matches!(dtype, DataType::Duration(_));
                return Err(Mismatch::types(None, found).help(
                    if is_duration(left.1) || is_duration(right.1) {
                        "`extract(epoch from …)` gives the seconds of a duration"
                    } else {
                        "a point in time moves by an interval: `at + interval '1 hour'`"
                    },
                ));
            }
            expect_number(0, left.1, &what)?;
            expect_number(1, right.1, &what)?;
            Ok(match (arithmetic_type(left.1), arithmetic_type(right.1)) {
                (DataType::Null, DataType::Null) => DataType::Null,
                _ if operator == Op::Divide => DataType::Float64,
                (DataType::Float64, _) | (_, DataType::Float64) => DataType::Float64,
                _ => DataType::Int64,
            })
        }
    }
}

/// Arithmetic with points and spans of time.
fn temporal(operator: BinaryOperator, left: &DataType, right: &DataType) -> Option<DataType> {
    use BinaryOperator as Op;
    use DataType::{Date, Datetime, Duration};
    // Nothing of the interval may be lost in a datetime that counts coarser.
    let moved = |point: &DataType, by: TimeUnit| match point {
        Datetime(unit, zone) => Datetime(finer(*unit, by), zone.clone()),
        _ => Datetime(finer(TimeUnit::Microseconds, by), None),
    };
    match (operator, left, right) {
        (Op::Subtract, Datetime(_, zone), Datetime(_, other)) if zone == other => Some(DURATION),
        (Op::Subtract, Date, Date | Datetime(_, None))
        | (Op::Subtract, Datetime(_, None), Date) => Some(DURATION),
        (Op::Add | Op::Subtract, Date | Datetime(..), Duration(by)) => Some(moved(left, *by)),
        (Op::Add, Duration(by), Date | Datetime(..)) => Some(moved(right, *by)),
        (Op::Add | Op::Subtract, Duration(_), Duration(_)) => Some(DURATION),
        (Op::Divide, Duration(_), Duration(_)) => Some(DataType::Float64),
        (Op::Multiply, Duration(_), times) | (Op::Multiply, times, Duration(_))
            if is_number(times) =>
        {
            Some(DURATION)
        }
        _ => None,
    }
}

/// Two values that do not share a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeClash {
    /// Which of the values does not fit those before it.
    pub part: usize,
    /// One line: what was found.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// The one type that these values are brought to by `case`, `coalesce`, `nullif`, `least` and `greatest`.
///
/// Constants take the type of the columns beside them where they fit it.
///
/// # Errors
/// The first value that shares no type with those before it.
pub fn common_type(values: &[(&Expression, &DataType)]) -> Result<DataType, TypeClash> {
    let is_constant = |expression: &Expression| matches!(expression, Expression::Literal(_));
    let mut common = DataType::Null;
    // Columns decide first, so that a constant can adapt wherever it stands.
    for constants in [false, true] {
        for (part, (expression, dtype)) in values.iter().enumerate() {
            if is_constant(expression) != constants {
                continue;
            }
            let literal = match expression {
                Expression::Literal(literal) => Some(literal),
                _ => None,
            };
            common = meet(&common, dtype, literal).ok_or_else(|| clash(part, &common, dtype))?;
        }
    }
    Ok(common)
}

/// The one type that both sides of a comparison are brought to.
///
/// # Errors
/// When they share none.
pub fn comparison_type(
    left: (&Expression, &DataType),
    right: (&Expression, &DataType),
) -> Result<DataType, TypeClash> {
    // A fraction must not be rounded to the `f32` of a column before it is compared.
    let widens = |constant: &Expression, beside: &DataType| {
        matches!(constant, Expression::Literal(Literal::Float(_))) && *beside == DataType::Float32
    };
    if widens(left.0, right.1) || widens(right.0, left.1) {
        return Ok(DataType::Float64);
    }
    common_type(&[left, right])
}

fn clash(part: usize, common: &DataType, dtype: &DataType) -> TypeClash {
    let help = match (common, dtype) {
        (text, time) | (time, text) if is_text(text) && matches!(time, DataType::Datetime(..)) => {
            Some("write a point in time as `timestamp '2024-01-31 12:00:00'`".to_owned())
        }
        (text, time) | (time, text) if is_text(text) && *time == DataType::Date => {
            Some("write a day as `date '2024-01-31'`".to_owned())
        }
        (text, time) | (time, text) if is_text(text) && matches!(time, DataType::Duration(_)) => {
            Some("write a span of time as `interval '24 hours'`".to_owned())
        }
        (text, number) | (number, text) if is_text(text) && is_number(number) => {
            Some("`cast(… as double)` reads a number from text, `cast(… as text)` makes text of a number".to_owned())
        }
        (truth, number) | (number, truth) if *truth == DataType::Boolean && is_number(number) => {
            Some("a truth value counts as 0 or 1 after `cast(… as int)`".to_owned())
        }
        (DataType::Datetime(_, left), DataType::Datetime(_, right)) if left != right => {
            Some("bring both to one time zone: `cast(… as timestamp)` gives the local time without a zone".to_owned())
        }
        _ => None,
    };
    TypeClash {
        part,
        message: format!("found {} and {}", type_name(common), type_name(dtype)),
        help,
    }
}

/// The type in which two values meet; `literal` is the second value, where it is a constant.
fn meet(left: &DataType, right: &DataType, literal: Option<&Literal>) -> Option<DataType> {
    use DataType::{Date, Datetime, Duration, Float32, Float64, Int64, Null, String};
    if left == right || *right == Null {
        return Some(left.clone());
    }
    if *left == Null {
        return Some(right.clone());
    }
    if is_text(left) && is_text(right) {
        return Some(String);
    }
    if is_number(left) && is_number(right) {
        return Some(match literal {
            Some(Literal::Int(value)) if left.is_integer() && fits(*value, left) => left.clone(),
            Some(Literal::Int(_) | Literal::Float(_)) if *left == Float32 => Float32,
            _ if left.is_integer() && right.is_integer() => Int64,
            _ => Float64,
        });
    }
    match (left, right) {
        (Datetime(unit, zone), Datetime(other, other_zone)) => {
            // A constant has no zone of its own: it is read as local time.
            let constant = literal.is_some() && other_zone.is_none();
            (zone == other_zone || constant).then(|| Datetime(finer(*unit, *other), zone.clone()))
        }
        (Datetime(unit, None), Date) | (Date, Datetime(unit, None)) => Some(Datetime(*unit, None)),
        (Datetime(unit, zone), Date) if literal.is_some() => Some(Datetime(*unit, zone.clone())),
        (Duration(unit), Duration(other)) => Some(Duration(finer(*unit, *other))),
        _ => None,
    }
}

fn finer(left: TimeUnit, right: TimeUnit) -> TimeUnit {
    match (left, right) {
        (TimeUnit::Nanoseconds, _) | (_, TimeUnit::Nanoseconds) => TimeUnit::Nanoseconds,
        (TimeUnit::Microseconds, _) | (_, TimeUnit::Microseconds) => TimeUnit::Microseconds,
        _ => TimeUnit::Milliseconds,
    }
}

/// Whether a whole number fits a whole-number type.
fn fits(value: i64, dtype: &DataType) -> bool {
    match dtype {
        DataType::Int8 => i8::try_from(value).is_ok(),
        DataType::Int16 => i16::try_from(value).is_ok(),
        DataType::Int32 => i32::try_from(value).is_ok(),
        DataType::Int64 => true,
        DataType::UInt8 => u8::try_from(value).is_ok(),
        DataType::UInt16 => u16::try_from(value).is_ok(),
        DataType::UInt32 => u32::try_from(value).is_ok(),
        DataType::UInt64 => u64::try_from(value).is_ok(),
        _ => false,
    }
}

/// How many arguments a function takes.
pub(crate) fn arity(function: Function) -> RangeInclusive<usize> {
    use Function as F;
    match function {
        F::Least | F::Greatest | F::Coalesce => 1..=usize::MAX,
        F::Round | F::Trunc => 1..=2,
        F::Substr | F::PadStart | F::PadEnd | F::RegexpExtract => 2..=3,
        F::Replace | F::SplitPart | F::DateDiff => 3..=3,
        F::RegexpReplace => 3..=4,
        F::Power
        | F::Atan2
        | F::NullIf
        | F::StartsWith
        | F::EndsWith
        | F::Contains
        | F::Left
        | F::Right
        | F::Position
        | F::RegexpLike
        | F::DateTrunc
        | F::AddMonths
        | F::ToDate
        | F::TryToDate
        | F::ToTimestamp
        | F::TryToTimestamp
        | F::Strftime => 2..=2,
        _ => 1..=1,
    }
}

/// The words that `date_trunc` and `date_diff` know.
pub(crate) const TRUNCATION_UNITS: [&str; 8] = [
    "year", "quarter", "month", "week", "day", "hour", "minute", "second",
];

fn call(
    function: Function,
    arguments: &[Expression],
    parts: &[DataType],
) -> Result<DataType, Mismatch> {
    use Function as F;
    let name = crate::sql::function_name(function);
    let what = format!("`{name}`");
    let expected = arity(function);
    if !expected.contains(&arguments.len()) {
        return Err(
            Mismatch::arguments(None, wrong_count(name, &expected, arguments.len())).help_if(
                crate::sql::signature_of(name).map(|signature| format!("written `{signature}`")),
            ),
        );
    }
    match function {
        F::Abs | F::Floor | F::Ceil | F::Sign => {
            expect_number(0, &parts[0], &what).map(|()| arithmetic_type(&parts[0]))
        }
        F::Ln
        | F::Log10
        | F::Log2
        | F::Exp
        | F::Sqrt
        | F::Sin
        | F::Cos
        | F::Tan
        | F::Asin
        | F::Acos
        | F::Atan => expect_number(0, &parts[0], &what).map(|()| DataType::Float64),
        F::IsNan => expect_number(0, &parts[0], &what).map(|()| DataType::Boolean),
        F::Power | F::Atan2 => {
            expect_number(0, &parts[0], &what)?;
            expect_number(1, &parts[1], &what)?;
            Ok(DataType::Float64)
        }
        F::Round | F::Trunc => {
            expect_number(0, &parts[0], &what)?;
            let is_small =
                |digits: &Expression| matches!(digits, Expression::Literal(Literal::Int(0..=15)));
            if !arguments.get(1).is_none_or(is_small) {
                return Err(Mismatch::arguments(
                    1,
                    format!("the digits of {what} must be a constant from 0 to 15"),
                ));
            }
            Ok(arithmetic_type(&parts[0]))
        }
        F::Least | F::Greatest | F::Coalesce | F::NullIf => {
            let values: Vec<(&Expression, &DataType)> = arguments.iter().zip(parts).collect();
            let common = if function == F::NullIf {
                comparison_type(values[0], values[1])
                    // What is not null is the first value: it keeps its type.
                    .map(|_| parts[0].clone())
            } else {
                common_type(&values)
            }
            .map_err(|clash| {
                Mismatch::types(
                    clash.part,
                    format!("{what} needs values of one type: {}", clash.message),
                )
                .help_if(clash.help)
            })?;
            if common.is_nested() && matches!(function, F::Least | F::Greatest) {
                return Err(Mismatch::types(
                    None,
                    format!(
                        "{what} needs an order, which {} does not have",
                        type_name(&common)
                    ),
                ));
            }
            Ok(common)
        }
        F::Lower | F::Upper | F::Trim | F::TrimStart | F::TrimEnd => {
            expect_text(0, &parts[0], &what).map(|()| DataType::String)
        }
        F::Length => expect_text(0, &parts[0], &what).map(|()| DataType::Int64),
        F::Substr | F::Left | F::Right => {
            expect_text(0, &parts[0], &what)?;
            for (index, dtype) in parts.iter().enumerate().skip(1) {
                expect_count(index, dtype, &what)?;
            }
            Ok(DataType::String)
        }
        F::PadStart | F::PadEnd => {
            expect_text(0, &parts[0], &what)?;
            expect_count(1, &parts[1], &what)?;
            if let Some(fill) = parts.get(2) {
                expect_text(2, fill, &what)?;
            }
            Ok(DataType::String)
        }
        F::SplitPart => {
            expect_text(0, &parts[0], &what)?;
            expect_text(1, &parts[1], &what)?;
            expect_count(2, &parts[2], &what)?;
            match arguments[2] {
                Expression::Literal(Literal::Int(0)) => Err(Mismatch::arguments(
                    2,
                    "the parts of `split_part` count from 1, or with a negative number from the end",
                )),
                _ => Ok(DataType::String),
            }
        }
        F::Position => {
            expect_text(0, &parts[0], &what)?;
            expect_text(1, &parts[1], &what).map(|()| DataType::Int64)
        }
        F::Replace => {
            for (index, dtype) in parts.iter().enumerate() {
                expect_text(index, dtype, &what)?;
            }
            Ok(DataType::String)
        }
        F::StartsWith | F::EndsWith | F::Contains => {
            expect_text(0, &parts[0], &what)?;
            expect_text(1, &parts[1], &what)?;
            Ok(DataType::Boolean)
        }
        F::RegexpLike => {
            expect_text(0, &parts[0], &what)?;
            expect_pattern(arguments, &what).map(|_| DataType::Boolean)
        }
        F::RegexpExtract => {
            expect_text(0, &parts[0], &what)?;
            let pattern = expect_pattern(arguments, &what)?;
            let groups = crate::sql::pattern_groups(pattern);
            match arguments.get(2) {
                None => Ok(DataType::String),
                Some(Expression::Literal(Literal::Int(group)))
                    if usize::try_from(*group).is_ok_and(|group| group <= groups) =>
                {
                    Ok(DataType::String)
                }
                Some(_) => Err(Mismatch::arguments(
                    2,
                    match groups {
                        0 => {
                            "the pattern has no group in brackets, so that the group can only be 0"
                                .to_owned()
                        }
                        groups => format!(
                            "the group must be a constant from 0, the whole match, to {groups}"
                        ),
                    },
                )),
            }
        }
        F::RegexpReplace => {
            expect_text(0, &parts[0], &what)?;
            expect_pattern(arguments, &what)?;
            if !matches!(arguments[2], Expression::Literal(Literal::Text(_))) {
                return Err(Mismatch::arguments(
                    2,
                    "the replacement of `regexp_replace` must be a constant text",
                )
                .help("a group of the pattern is written `\\1`"));
            }
            match arguments.get(3) {
                None => Ok(DataType::String),
                Some(Expression::Literal(Literal::Text(flag))) if flag == "g" => {
                    Ok(DataType::String)
                }
                Some(_) => Err(Mismatch::arguments(
                    3,
                    "the only flag of `regexp_replace` is `'g'`: every match",
                )
                .help("`(?i)` at the start of the pattern passes over the case of letters")),
            }
        }
        F::Year
        | F::Quarter
        | F::Month
        | F::Week
        | F::Day
        | F::DayOfYear
        | F::DayOfWeek
        | F::IsoDayOfWeek => match &parts[0] {
            DataType::Date | DataType::Datetime(..) | DataType::Null => Ok(DataType::Int64),
            other => Err(not_a_time(&what, other)),
        },
        F::Hour | F::Minute | F::Second => match &parts[0] {
            DataType::Date | DataType::Datetime(..) | DataType::Time | DataType::Null => {
                Ok(DataType::Int64)
            }
            other => Err(not_a_time(&what, other)),
        },
        F::Epoch => match &parts[0] {
            DataType::Date | DataType::Datetime(..) | DataType::Duration(_) | DataType::Null => {
                Ok(DataType::Float64)
            }
            other => Err(not_a_time(&what, other)),
        },
        F::DateTrunc => {
            expect_unit(arguments, "date_trunc('day', at)", &what)?;
            match &parts[1] {
                DataType::Date => Ok(DATETIME),
                DataType::Datetime(..) | DataType::Null => Ok(parts[1].clone()),
                other => Err(not_a_time_at(1, &what, other)),
            }
        }
        F::DateDiff => {
            expect_unit(arguments, "date_diff('day', start, end)", &what)?;
            for part in [1, 2] {
                if !is_point(&parts[part]) {
                    return Err(not_a_time_at(part, &what, &parts[part]));
                }
            }
            comparison_type((&arguments[1], &parts[1]), (&arguments[2], &parts[2]))
                .map(|_| DataType::Int64)
                .map_err(|clash| {
                    Mismatch::types(
                        None,
                        format!("{what} needs values of one type: {}", clash.message),
                    )
                    .help_if(clash.help)
                })
        }
        F::AddMonths => {
            expect_count(1, &parts[1], &what)?;
            if is_point(&parts[0]) {
                Ok(parts[0].clone())
            } else {
                Err(not_a_time(&what, &parts[0]))
            }
        }
        F::ToDate | F::TryToDate | F::ToTimestamp | F::TryToTimestamp => {
            expect_text(0, &parts[0], &what)?;
            expect_format(arguments, &DATETIME_UTC, &what)?;
            Ok(match function {
                F::ToDate | F::TryToDate => DataType::Date,
                _ => DATETIME,
            })
        }
        F::Strftime => {
            if !is_point(&parts[0]) {
                return Err(not_a_time(&what, &parts[0]));
            }
            expect_format(arguments, &parts[0], &what).map(|()| DataType::String)
        }
    }
}

/// The longest zone-aware type of time: every part of a format has a meaning for it.
const DATETIME_UTC: DataType = DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC));

/// Whether values are points in time, or unknown.
fn is_point(dtype: &DataType) -> bool {
    matches!(
        dtype,
        DataType::Date | DataType::Datetime(..) | DataType::Null
    )
}

fn expect_count(part: usize, dtype: &DataType, what: &str) -> Result<(), Mismatch> {
    if dtype.is_integer() || *dtype == DataType::Null {
        return Ok(());
    }
    Err(Mismatch::types(
        part,
        format!("{what} counts in whole numbers, not {}", type_name(dtype)),
    ))
}

/// The second argument as a regular expression.
fn expect_pattern<'a>(arguments: &'a [Expression], what: &str) -> Result<&'a str, Mismatch> {
    let Expression::Literal(Literal::Text(pattern)) = &arguments[1] else {
        return Err(Mismatch::arguments(
            1,
            format!("the pattern of {what} must be a constant text"),
        ));
    };
    match crate::sql::pattern_problem(pattern) {
        None => Ok(pattern),
        Some(reason) => Err(Mismatch::arguments(
            1,
            format!("this is not a regular expression: {reason}"),
        )),
    }
}

/// The second argument as a format of dates and times.
fn expect_format(arguments: &[Expression], dtype: &DataType, what: &str) -> Result<(), Mismatch> {
    let help = "written like `'%Y-%m-%d %H:%M:%S'`; `%d/%m/%Y` reads 31/01/2024";
    let Expression::Literal(Literal::Text(format)) = &arguments[1] else {
        return Err(Mismatch::arguments(
            1,
            format!("the format of {what} must be a constant text"),
        )
        .help(help));
    };
    if crate::sql::is_time_format(format, dtype) {
        Ok(())
    } else {
        Err(Mismatch::arguments(
            1,
            match dtype {
                DataType::Date => format!("`{format}` is not a format of a date"),
                DataType::Datetime(_, None) => {
                    format!("`{format}` is not a format of a datetime without a zone")
                }
                _ => format!("`{format}` is not a format of dates and times"),
            },
        )
        .help(help))
    }
}

/// The first argument as a unit of time; `example` shows how the function is written.
fn expect_unit(arguments: &[Expression], example: &str, what: &str) -> Result<(), Mismatch> {
    let known = |unit: &str| TRUNCATION_UNITS.contains(&unit.to_lowercase().as_str());
    match &arguments[0] {
        Expression::Literal(Literal::Text(unit)) if known(unit) => Ok(()),
        Expression::Literal(Literal::Text(unit)) => Err(Mismatch::arguments(
            0,
            format!("{what} does not know the unit `{unit}`"),
        )
        .help_if(crate::did_you_mean(unit, TRUNCATION_UNITS))),
        _ => Err(
            Mismatch::arguments(0, format!("the unit of {what} must be a constant text"))
                .help(format!("written `{example}`")),
        ),
    }
}

/// "`round` takes 1 to 2 arguments, not 3".
pub(crate) fn wrong_count(name: &str, expected: &RangeInclusive<usize>, found: usize) -> String {
    let expected = match (*expected.start(), *expected.end()) {
        (0, 0) => "no argument".to_owned(),
        (least, most) if least == most => counted(least, "argument"),
        (least, usize::MAX) => format!("at least {}", counted(least, "argument")),
        (least, most) => format!("{least} to {most} arguments"),
    };
    format!("`{name}` takes {expected}, not {found}")
}

fn not_a_time(what: &str, found: &DataType) -> Mismatch {
    not_a_time_at(0, what, found)
}

fn not_a_time_at(part: usize, what: &str, found: &DataType) -> Mismatch {
    let mismatch = Mismatch::types(
        part,
        format!("{what} needs a date or datetime, not {}", type_name(found)),
    );
    match found {
        found if is_text(found) => {
            mismatch.help("`cast(… as timestamp)` reads a point in time from text")
        }
        DataType::Duration(_) => {
            mismatch.help("`extract(epoch from …)` gives the seconds of a duration")
        }
        _ => mismatch,
    }
}

fn aggregate_type(aggregate: Aggregate, part: Option<&DataType>) -> Result<DataType, Mismatch> {
    let name = crate::sql::aggregate_name(aggregate);
    let what = format!("`{name}`");
    let Some(part) = part else {
        return match aggregate {
            Aggregate::Count => Ok(DataType::Int64),
            _ => Err(Mismatch::arguments(None, wrong_count(name, &(1..=1), 0))),
        };
    };
    match aggregate {
        Aggregate::Count => Ok(DataType::Int64),
        Aggregate::CountDistinct if part.is_nested() => Err(Mismatch::types(
            0,
            format!("{what} cannot compare values of {}", type_name(part)),
        )),
        Aggregate::CountDistinct => Ok(DataType::Int64),
        Aggregate::Sum if matches!(part, DataType::Duration(_)) => Ok(DURATION),
        Aggregate::Sum => {
            expect_number(0, part, &what)?;
            Ok(if *part == DataType::Null {
                DataType::Int64
            } else {
                arithmetic_type(part)
            })
        }
        Aggregate::Mean
        | Aggregate::StdDev
        | Aggregate::Variance
        | Aggregate::Median
        | Aggregate::Quantile(_) => expect_number(0, part, &what).map(|()| DataType::Float64),
        Aggregate::Min | Aggregate::Max | Aggregate::Mode if part.is_nested() => {
            Err(Mismatch::types(
                0,
                format!(
                    "{what} needs an order, which {} does not have",
                    type_name(part)
                ),
            ))
        }
        Aggregate::Min | Aggregate::Max | Aggregate::Mode if is_text(part) => Ok(DataType::String),
        Aggregate::Min
        | Aggregate::Max
        | Aggregate::Mode
        | Aggregate::First
        | Aggregate::Last
        | Aggregate::AnyValue => Ok(part.clone()),
    }
}

/// The type after scaling: the same shape, of `f32`.
fn scaled(dtype: &DataType) -> Option<DataType> {
    match dtype {
        DataType::Array(inner, width) => {
            let inner = if is_number(inner) {
                DataType::Float32
            } else {
                scaled(inner)?
            };
            Some(DataType::Array(Box::new(inner), *width))
        }
        _ => None,
    }
}

/// Whether a value of one type can be cast to another, and to which exactly.
fn castable(from: &DataType, to: &DataType) -> Result<DataType, Mismatch> {
    use DataType::{Array, Boolean, Date, Datetime, Duration, Null, Time};
    let is_point = |dtype: &DataType| matches!(dtype, Date | Datetime(..));
    let simple = |dtype: &DataType| is_number(dtype) || *dtype == Boolean;
    let possible = match (from, to) {
        (from, to) if from == to || *from == Null => true,
        (from, to) if simple(from) && (simple(to) || is_text(to)) => true,
        (from, to) if is_text(from) && (simple(to) || is_text(to) || is_point(to)) => true,
        (from, to) if is_point(from) && is_point(to) => true,
        (Date | Datetime(..) | Time, to) if is_text(to) => true,
        (Datetime(..), Time) => true,
        (Duration(_), Duration(_)) => true,
        (Array(from, width), Array(to, new_width)) => {
            width == new_width && castable(from, to).is_ok()
        }
        _ => false,
    };
    if possible {
        return Ok(to.clone());
    }
    let mismatch = Mismatch::types(
        0,
        format!("{} cannot be cast to {}", type_name(from), type_name(to)),
    );
    Err(if is_number(from) && is_point(to) {
        mismatch.help(
            "say what the number counts: `timestamp '1970-01-01' + seconds * interval '1 second'`",
        )
    } else if is_number(to) && from.is_temporal() {
        mismatch.help("`extract(epoch from …)` gives seconds")
    } else {
        mismatch
    })
}
