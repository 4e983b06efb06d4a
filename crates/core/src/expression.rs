//! Expressions: what SQL in a spec becomes, and what an engine turns into its own.
//!
//! They mean the same on every engine:
//! - Arithmetic between whole numbers is done in `i64`, with any real number in `f64`; `/` always gives `f64`.
//! - A whole number that does not fit `i64` is an error, never a wrapped value. `x / 0` is infinite or not a number as in
//!   IEEE 754; `x % 0` is null for whole numbers and not a number for real ones.
//! - Null in, null out, except where a function says otherwise; `and` and `or` are three-valued.
//! - Not-a-number equals itself and is larger than every other number, as in PostgreSQL. `min` and `max` pass over it
//!   unless there is nothing else; `sum`, `avg`, `stddev` and `variance` give it back.
//! - `case`, `coalesce`, `nullif`, `least`, `greatest` and comparisons work on one common type: a constant takes the type
//!   of the columns beside it where it fits; different whole-number types meet in `i64`, whole and real in `f64`, a date
//!   and a datetime in datetime. Text and numbers never meet by themselves.
//! - `datetime - datetime` is a duration in microseconds; a day of an interval is 24 hours.

use std::collections::BTreeSet;

use polars::prelude::DataType;

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// No value.
    Null,
    /// Truth.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A real number.
    Float(f64),
    /// Text.
    Text(String),
    /// A point in time: microseconds since 1970-01-01 00:00, without a zone.
    Timestamp(i64),
    /// A day: days since 1970-01-01.
    Date(i32),
    /// A span of time in microseconds.
    Interval(i64),
}

/// An operator between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOperator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`: always a real number, also between whole numbers.
    Divide,
    /// `%`: takes the sign of the left side; null for a whole number by zero.
    Modulo,
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `and` (three-valued)
    And,
    /// `or` (three-valued)
    Or,
    /// `||`: text after text
    Concat,
}

/// An operator on one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOperator {
    /// `not`
    Not,
    /// `-`
    Negate,
    /// `is null`
    IsNull,
    /// `is not null`
    IsNotNull,
}

/// A function from values of a row to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `abs(number)`
    Abs,
    /// `ln(number)`: natural logarithm
    Ln,
    /// `log10(number)`
    Log10,
    /// `log2(number)`
    Log2,
    /// `exp(number)`
    Exp,
    /// `sqrt(number)`
    Sqrt,
    /// `power(base, exponent)`
    Power,
    /// `floor(number)`
    Floor,
    /// `ceil(number)`
    Ceil,
    /// `round(number[, digits])`: half away from zero
    Round,
    /// `sign(number)`: -1, 0 or 1
    Sign,
    /// `isnan(number)`: whether it is not a number; false for whole numbers
    IsNan,
    /// `sin(number)`, radians
    Sin,
    /// `cos(number)`, radians
    Cos,
    /// `tan(number)`, radians
    Tan,
    /// `asin(number)`: radians; not a number outside -1 to 1
    Asin,
    /// `acos(number)`: radians; not a number outside -1 to 1
    Acos,
    /// `atan(number)`: radians
    Atan,
    /// `atan2(y, x)`: the angle of a point, radians from -π to π
    Atan2,
    /// `trunc(number[, digits])`: towards zero
    Trunc,
    /// `least(…)`: the smallest, nulls passed over; not a number is the largest
    Least,
    /// `greatest(…)`: the largest, nulls passed over; not a number is the largest
    Greatest,
    /// `coalesce(…)`: the first that is not null
    Coalesce,
    /// `nullif(value, other)`: null where they are equal
    NullIf,
    /// `lower(text)`
    Lower,
    /// `upper(text)`
    Upper,
    /// `trim(text)`: without white space at both ends
    Trim,
    /// `ltrim(text)`: without white space at the start
    TrimStart,
    /// `rtrim(text)`: without white space at the end
    TrimEnd,
    /// `length(text)`: in characters
    Length,
    /// `substr(text, start[, length])`: start counts from 1
    Substr,
    /// `left(text, count)`: the first characters; with a negative count, all but the last ones
    Left,
    /// `right(text, count)`: the last characters; with a negative count, all but the first ones
    Right,
    /// `lpad(text, length[, fill])`: filled up at the start, cut at the end
    PadStart,
    /// `rpad(text, length[, fill])`: filled up at the end, cut at the end
    PadEnd,
    /// `strpos(text, part)`: where the part starts, from 1; 0 where it does not occur
    Position,
    /// `split_part(text, separator, number)`: counted from 1, or with a negative number from the end; empty beyond
    SplitPart,
    /// `replace(text, from, to)`: every occurrence, literally
    Replace,
    /// `starts_with(text, prefix)`
    StartsWith,
    /// `ends_with(text, suffix)`
    EndsWith,
    /// `contains(text, part)`: literally
    Contains,
    /// `regexp_like(text, pattern)`
    RegexpLike,
    /// `regexp_extract(text, pattern[, group])`: what first matches; null where nothing does
    RegexpExtract,
    /// `regexp_replace(text, pattern, replacement[, 'g'])`: the first match, or with `'g'` every one; `\1` is a group
    RegexpReplace,
    /// `extract(year from at)`
    Year,
    /// `extract(quarter from at)`
    Quarter,
    /// `extract(month from at)`
    Month,
    /// `extract(week from at)`: ISO week
    Week,
    /// `extract(day from at)`: of the month
    Day,
    /// `extract(doy from at)`: day of the year
    DayOfYear,
    /// `extract(dow from at)`: 0 = Sunday … 6 = Saturday, as PostgreSQL
    DayOfWeek,
    /// `extract(isodow from at)`: 1 = Monday … 7 = Sunday
    IsoDayOfWeek,
    /// `extract(hour from at)`
    Hour,
    /// `extract(minute from at)`
    Minute,
    /// `extract(second from at)`: whole seconds
    Second,
    /// `extract(epoch from at)`: seconds since 1970-01-01, a real number; of a duration, its seconds
    Epoch,
    /// `date_trunc('day', at)`: the unit is a literal text
    DateTrunc,
    /// `date_diff('day', start, end)`: how many starts of the unit lie between; the unit is a literal text
    DateDiff,
    /// `add_months(at, months)`: the same day of another month, or that month's last
    AddMonths,
    /// `to_date(text, format)`: the format is a literal text; what does not fit is an error
    ToDate,
    /// `try_to_date(text, format)`: null for what does not fit
    TryToDate,
    /// `to_timestamp(text, format)`: the format is a literal text; what does not fit is an error
    ToTimestamp,
    /// `try_to_timestamp(text, format)`: null for what does not fit
    TryToTimestamp,
    /// `strftime(at, format)`: as text; the format is a literal text
    Strftime,
}

/// A function from the values of many rows to a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregate {
    /// `count()` or `count(*)`: rows; `count(column)`: values that are not null
    Count,
    /// `count(distinct column)`
    CountDistinct,
    /// `sum(number)`: 0 of nothing
    Sum,
    /// `avg(number)`, also `mean`
    Mean,
    /// `min(value)`
    Min,
    /// `max(value)`
    Max,
    /// `stddev(number)`: of a sample (n - 1)
    StdDev,
    /// `variance(number)`: of a sample (n - 1)
    Variance,
    /// `median(number)`
    Median,
    /// `quantile(number, share)`: the share, from 0 to 1; between two values, on the line between them
    Quantile(f64),
    /// `mode(value)`: the most frequent; of several, the smallest
    Mode,
    /// `first(value)`: in row order
    First,
    /// `last(value)`: in row order
    Last,
    /// `any_value(value)`: the first in row order that is not null
    AnyValue,
}

/// A function from the pairs of values of many rows to a value; pairs with a null are passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairAggregate {
    /// `corr(number, number)`: Pearson's coefficient; null of fewer than two pairs, and where one side does not vary
    Correlation,
    /// `covar(number, number)`: of a sample (n - 1); null of fewer than two pairs
    Covariance,
}

/// A value computed from a row's columns, or, where it holds an [`Aggregate`], from many rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// The value of a column.
    Column(String),
    /// A constant.
    Literal(Literal),
    /// An operator on one value.
    Unary(UnaryOperator, Box<Expression>),
    /// An operator between two values.
    Binary(BinaryOperator, Box<Expression>, Box<Expression>),
    /// A function of values of the row.
    Call(Function, Vec<Expression>),
    /// A function of many rows; no argument only for `count()`.
    Aggregate(Aggregate, Option<Box<Expression>>),
    /// A function of the pairs of values of many rows.
    AggregatePair(PairAggregate, Box<Expression>, Box<Expression>),
    /// `case when … then … else … end`
    Case {
        /// Condition and value, in order.
        branches: Vec<(Expression, Expression)>,
        /// The value when no condition holds.
        otherwise: Box<Expression>,
    },
    /// `cast(value as type)`: a value that does not fit is an error; with `try_cast`, null. A real number loses its fraction
    /// on the way to a whole one.
    Cast {
        /// The value.
        operand: Box<Expression>,
        /// The new type.
        to: DataType,
        /// Error (true) or null (false) for a value that does not fit.
        strict: bool,
    },
    /// `value in (…)`
    In {
        /// The value.
        operand: Box<Expression>,
        /// Constants of the same type.
        list: Vec<Literal>,
        /// `not in`
        negated: bool,
    },
    /// Every item of an array column, cast to `f32`, times `factor` plus `offset`: pixels to [0, 1].
    ScaleArray {
        /// The array column.
        operand: Box<Expression>,
        /// Multiplies each item.
        factor: f64,
        /// Added after.
        offset: f64,
    },
}

impl Expression {
    /// A column.
    pub fn column(name: impl Into<String>) -> Self {
        Self::Column(name.into())
    }

    /// A real constant.
    pub fn float(value: f64) -> Self {
        Self::Literal(Literal::Float(value))
    }

    /// A whole constant.
    pub fn int(value: i64) -> Self {
        Self::Literal(Literal::Int(value))
    }

    /// A text constant.
    pub fn text(value: impl Into<String>) -> Self {
        Self::Literal(Literal::Text(value.into()))
    }

    /// This, an operator, that.
    pub fn binary(self, operator: BinaryOperator, right: Self) -> Self {
        Self::Binary(operator, Box::new(self), Box::new(right))
    }

    /// An operator on this.
    pub fn unary(self, operator: UnaryOperator) -> Self {
        Self::Unary(operator, Box::new(self))
    }

    /// This as another type; a value that does not fit is an error.
    pub fn cast(self, to: DataType) -> Self {
        Self::Cast {
            operand: Box::new(self),
            to,
            strict: true,
        }
    }

    /// A function of these.
    pub fn call(function: Function, arguments: Vec<Self>) -> Self {
        Self::Call(function, arguments)
    }

    /// The direct parts of this expression.
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Column(_) | Self::Literal(_) => Vec::new(),
            Self::Unary(_, operand)
            | Self::Cast { operand, .. }
            | Self::In { operand, .. }
            | Self::ScaleArray { operand, .. } => vec![operand],
            Self::Binary(_, left, right) | Self::AggregatePair(_, left, right) => vec![left, right],
            Self::Call(_, arguments) => arguments.iter().collect(),
            Self::Aggregate(_, argument) => argument.iter().map(|argument| &**argument).collect(),
            Self::Case {
                branches,
                otherwise,
            } => branches
                .iter()
                .flat_map(|(condition, value)| [condition, value])
                .chain(std::iter::once(&**otherwise))
                .collect(),
        }
    }

    /// The columns it reads.
    pub fn columns(&self) -> BTreeSet<String> {
        let mut columns = BTreeSet::new();
        self.visit(&mut |expression| {
            if let Self::Column(name) = expression {
                columns.insert(name.clone());
            }
        });
        columns
    }

    /// Whether it needs many rows for a value.
    pub fn has_aggregate(&self) -> bool {
        let mut found = false;
        self.visit(&mut |expression| {
            found |= matches!(expression, Self::Aggregate(..) | Self::AggregatePair(..));
        });
        found
    }

    /// Whether a value that it cannot convert becomes null, as with `try_cast`.
    pub fn may_lose_values(&self) -> bool {
        let mut found = false;
        self.visit(&mut |expression| {
            found |= matches!(
                expression,
                Self::Cast { strict: false, .. }
                    | Self::Call(Function::TryToDate | Function::TryToTimestamp, _)
            );
        });
        found
    }

    fn visit(&self, look: &mut dyn FnMut(&Self)) {
        look(self);
        for child in self.children() {
            child.visit(look);
        }
    }
}
