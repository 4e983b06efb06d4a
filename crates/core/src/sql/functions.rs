//! The names that expressions may use: functions, aggregates and types.

use polars::prelude::{
    DataType, Int32Chunked, Int64Chunked, NewChunkedArray, StringChunked, StringNameSpaceImpl,
    TimeUnit, TimeZone,
};

use crate::{Aggregate, Function, PairAggregate};

/// What a name in front of parentheses stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Callable {
    Row(Function),
    Many(Aggregate),
    Pair(PairAggregate),
    /// Short for an expression that can be written with the others.
    Short(Short),
    /// Written with words instead of commas: `extract(hour from at)`.
    Syntax,
}

/// Functions that are short for an expression of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    Pi,
    Mod,
    Degrees,
    Radians,
    WidthBucket,
    Concat,
    DateAdd,
    DateSub,
    CountIf,
}

pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    pub(super) callable: Callable,
    pub(super) signature: &'static str,
    about: &'static str,
}

const fn row(
    name: &'static str,
    aliases: &'static [&'static str],
    function: Function,
    signature: &'static str,
    about: &'static str,
) -> Entry {
    Entry {
        name,
        aliases,
        callable: Callable::Row(function),
        signature,
        about,
    }
}

const fn many(
    name: &'static str,
    aliases: &'static [&'static str],
    aggregate: Aggregate,
    signature: &'static str,
    about: &'static str,
) -> Entry {
    Entry {
        name,
        aliases,
        callable: Callable::Many(aggregate),
        signature,
        about,
    }
}

const fn pair(
    name: &'static str,
    aliases: &'static [&'static str],
    aggregate: PairAggregate,
    signature: &'static str,
    about: &'static str,
) -> Entry {
    Entry {
        name,
        aliases,
        callable: Callable::Pair(aggregate),
        signature,
        about,
    }
}

const fn short(
    name: &'static str,
    aliases: &'static [&'static str],
    what: Short,
    signature: &'static str,
    about: &'static str,
) -> Entry {
    Entry {
        name,
        aliases,
        callable: Callable::Short(what),
        signature,
        about,
    }
}

const fn syntax(name: &'static str, signature: &'static str, about: &'static str) -> Entry {
    Entry {
        name,
        aliases: &[],
        callable: Callable::Syntax,
        signature,
        about,
    }
}

/// Every function, in the order of the documentation.
pub(super) static FUNCTIONS: &[Entry] = &[
    row("abs", &[], Function::Abs, "abs(number)", "without its sign"),
    row(
        "ln",
        &[],
        Function::Ln,
        "ln(number)",
        "natural logarithm; -inf of 0, not a number below",
    ),
    row(
        "log10",
        &["log"],
        Function::Log10,
        "log10(number)",
        "logarithm to base 10",
    ),
    row(
        "log2",
        &[],
        Function::Log2,
        "log2(number)",
        "logarithm to base 2",
    ),
    row(
        "exp",
        &[],
        Function::Exp,
        "exp(number)",
        "e to the power of the number",
    ),
    row(
        "sqrt",
        &[],
        Function::Sqrt,
        "sqrt(number)",
        "square root; not a number below 0",
    ),
    row(
        "power",
        &["pow"],
        Function::Power,
        "power(base, exponent)",
        "a real number, also of whole ones",
    ),
    row(
        "floor",
        &[],
        Function::Floor,
        "floor(number)",
        "the next whole number below",
    ),
    row(
        "ceil",
        &["ceiling"],
        Function::Ceil,
        "ceil(number)",
        "the next whole number above",
    ),
    row(
        "round",
        &[],
        Function::Round,
        "round(number[, digits])",
        "half away from zero; digits is a constant from 0 to 15",
    ),
    row(
        "trunc",
        &["truncate"],
        Function::Trunc,
        "trunc(number[, digits])",
        "towards zero; digits is a constant from 0 to 15",
    ),
    short(
        "mod",
        &[],
        Short::Mod,
        "mod(number, divisor)",
        "the remainder, as `number % divisor`: it has the sign of the number",
    ),
    row("sign", &[], Function::Sign, "sign(number)", "-1, 0 or 1"),
    row(
        "isnan",
        &[],
        Function::IsNan,
        "isnan(number)",
        "whether it is not a number; false for whole numbers",
    ),
    row("sin", &[], Function::Sin, "sin(number)", "sine of radians"),
    row(
        "cos",
        &[],
        Function::Cos,
        "cos(number)",
        "cosine of radians",
    ),
    row(
        "tan",
        &[],
        Function::Tan,
        "tan(number)",
        "tangent of radians",
    ),
    row(
        "asin",
        &[],
        Function::Asin,
        "asin(number)",
        "the angle of a sine, in radians; not a number outside -1 to 1",
    ),
    row(
        "acos",
        &[],
        Function::Acos,
        "acos(number)",
        "the angle of a cosine, in radians; not a number outside -1 to 1",
    ),
    row(
        "atan",
        &[],
        Function::Atan,
        "atan(number)",
        "the angle of a tangent, in radians",
    ),
    row(
        "atan2",
        &[],
        Function::Atan2,
        "atan2(y, x)",
        "the angle of the point, in radians from -π to π",
    ),
    short("pi", &[], Short::Pi, "pi()", "3.14159…"),
    short(
        "degrees",
        &[],
        Short::Degrees,
        "degrees(number)",
        "radians as degrees",
    ),
    short(
        "radians",
        &[],
        Short::Radians,
        "radians(number)",
        "degrees as radians",
    ),
    short(
        "width_bucket",
        &[],
        Short::WidthBucket,
        "width_bucket(number, low, high, count)",
        "which of so many equal parts between two constants, from 1; 0 below, count + 1 from `high` on and for not a number",
    ),
    row(
        "least",
        &[],
        Function::Least,
        "least(value, …)",
        "the smallest; nulls are passed over, not a number is the largest",
    ),
    row(
        "greatest",
        &[],
        Function::Greatest,
        "greatest(value, …)",
        "the largest; nulls are passed over, not a number is the largest",
    ),
    row(
        "coalesce",
        &["ifnull"],
        Function::Coalesce,
        "coalesce(value, …)",
        "the first that is not null",
    ),
    row(
        "nullif",
        &[],
        Function::NullIf,
        "nullif(value, other)",
        "null where the two are equal",
    ),
    row(
        "lower",
        &[],
        Function::Lower,
        "lower(text)",
        "in small letters",
    ),
    row(
        "upper",
        &[],
        Function::Upper,
        "upper(text)",
        "in capital letters",
    ),
    row(
        "trim",
        &["btrim"],
        Function::Trim,
        "trim(text)",
        "without white space at both ends",
    ),
    row(
        "ltrim",
        &[],
        Function::TrimStart,
        "ltrim(text)",
        "without white space at the start",
    ),
    row(
        "rtrim",
        &[],
        Function::TrimEnd,
        "rtrim(text)",
        "without white space at the end",
    ),
    row(
        "length",
        &["char_length", "character_length"],
        Function::Length,
        "length(text)",
        "how many characters",
    ),
    row(
        "substr",
        &["substring"],
        Function::Substr,
        "substr(text, start[, length])",
        "a part; start counts from 1",
    ),
    row(
        "left",
        &[],
        Function::Left,
        "left(text, count)",
        "the first characters; with a negative count, all but the last ones",
    ),
    row(
        "right",
        &[],
        Function::Right,
        "right(text, count)",
        "the last characters; with a negative count, all but the first ones",
    ),
    row(
        "lpad",
        &[],
        Function::PadStart,
        "lpad(text, length[, fill])",
        "filled up at the start, by blanks unless told; what is longer is cut at the end",
    ),
    row(
        "rpad",
        &[],
        Function::PadEnd,
        "rpad(text, length[, fill])",
        "filled up at the end, by blanks unless told; what is longer is cut there",
    ),
    row(
        "strpos",
        &["instr"],
        Function::Position,
        "strpos(text, part)",
        "where the part starts, from 1, and 0 where it does not occur; also written `position(part in text)`",
    ),
    row(
        "split_part",
        &[],
        Function::SplitPart,
        "split_part(text, separator, number)",
        "the part of that number, from 1, or with a negative one from the end; empty where there are fewer",
    ),
    short(
        "concat",
        &[],
        Short::Concat,
        "concat(value, …)",
        "one text of all of them; nulls are passed over",
    ),
    row(
        "replace",
        &[],
        Function::Replace,
        "replace(text, from, to)",
        "with every occurrence replaced, literally",
    ),
    row(
        "starts_with",
        &[],
        Function::StartsWith,
        "starts_with(text, prefix)",
        "whether it starts so",
    ),
    row(
        "ends_with",
        &[],
        Function::EndsWith,
        "ends_with(text, suffix)",
        "whether it ends so",
    ),
    row(
        "contains",
        &[],
        Function::Contains,
        "contains(text, part)",
        "whether the part occurs, literally",
    ),
    row(
        "regexp_like",
        &[],
        Function::RegexpLike,
        "regexp_like(text, pattern)",
        "whether the pattern, a constant regular expression, matches somewhere",
    ),
    row(
        "regexp_extract",
        &["regexp_substr"],
        Function::RegexpExtract,
        "regexp_extract(text, pattern[, group])",
        "what the constant pattern, or a group in brackets of it, first matches; null where nothing does",
    ),
    row(
        "regexp_replace",
        &[],
        Function::RegexpReplace,
        "regexp_replace(text, pattern, replacement[, 'g'])",
        "with the first match replaced, or with 'g' every one; `\\1` in the replacement is the first group",
    ),
    syntax(
        "extract",
        "extract(part from at)",
        "year, quarter, month, week (ISO), day, doy, dow (0 = Sunday), isodow (1 = Monday), hour, minute, second (whole), or epoch (seconds since 1970; of a duration, its seconds)",
    ),
    row(
        "date_trunc",
        &[],
        Function::DateTrunc,
        "date_trunc('unit', at)",
        "the start of its year, quarter, month, week (Monday), day, hour, minute or second",
    ),
    row(
        "date_diff",
        &["datediff"],
        Function::DateDiff,
        "date_diff('unit', start, end)",
        "how many starts of a year, quarter, month, week (Monday), day, hour, minute or second lie between; negative backwards",
    ),
    short(
        "date_add",
        &[],
        Short::DateAdd,
        "date_add(at, interval)",
        "later by the interval, as `at + interval '1 month'`",
    ),
    short(
        "date_sub",
        &[],
        Short::DateSub,
        "date_sub(at, interval)",
        "earlier by the interval, as `at - interval '1 month'`",
    ),
    row(
        "add_months",
        &[],
        Function::AddMonths,
        "add_months(at, months)",
        "the same day so many months later; the last of the month where it has no such day",
    ),
    row(
        "to_date",
        &[],
        Function::ToDate,
        "to_date(text, format)",
        "a date in a constant format, `'%d.%m.%Y'`; what does not fit is an error, with try_to_date null",
    ),
    row(
        "try_to_date",
        &[],
        Function::TryToDate,
        "try_to_date(text, format)",
        "as to_date, and null for what does not fit",
    ),
    row(
        "to_timestamp",
        &["strptime"],
        Function::ToTimestamp,
        "to_timestamp(text, format)",
        "a point in time in a constant format, `'%d.%m.%Y %H:%M'`; with an offset (%z) in UTC; what does not fit is an error, with try_to_timestamp null",
    ),
    row(
        "try_to_timestamp",
        &["try_strptime"],
        Function::TryToTimestamp,
        "try_to_timestamp(text, format)",
        "as to_timestamp, and null for what does not fit",
    ),
    row(
        "strftime",
        &[],
        Function::Strftime,
        "strftime(at, format)",
        "as text in a constant format, `'%Y-%m'`",
    ),
    syntax(
        "cast",
        "cast(value as type)",
        "as bool, int (i64), i8 … i64, u8 … u64, float (f64), f32, text, date or timestamp; what does not fit is an error, with try_cast null",
    ),
    many(
        "count",
        &[],
        Aggregate::Count,
        "count([distinct ][value])",
        "rows; of a value, those where it is not null; distinct, how many different",
    ),
    short(
        "count_if",
        &["countif"],
        Short::CountIf,
        "count_if(condition)",
        "rows for which the condition is true",
    ),
    many("sum", &[], Aggregate::Sum, "sum(number)", "0 of nothing"),
    many(
        "avg",
        &["mean"],
        Aggregate::Mean,
        "avg(number)",
        "arithmetic mean",
    ),
    many("min", &[], Aggregate::Min, "min(value)", "the smallest"),
    many("max", &[], Aggregate::Max, "max(value)", "the largest"),
    many(
        "stddev",
        &["stddev_samp"],
        Aggregate::StdDev,
        "stddev(number)",
        "standard deviation of a sample (n - 1); null of one row",
    ),
    many(
        "variance",
        &["var_samp"],
        Aggregate::Variance,
        "variance(number)",
        "variance of a sample (n - 1); null of one row",
    ),
    many(
        "median",
        &[],
        Aggregate::Median,
        "median(number)",
        "the middle; the mean of the two middle ones",
    ),
    many(
        "quantile",
        &["percentile", "quantile_cont"],
        Aggregate::Quantile(0.5),
        "quantile(number, share)",
        "the value below which a constant share of the values lies, from 0 to 1: `quantile(amount, 0.95)`; between two values, on the line between them",
    ),
    many(
        "mode",
        &[],
        Aggregate::Mode,
        "mode(value)",
        "the most frequent; of several, the smallest",
    ),
    pair(
        "corr",
        &[],
        PairAggregate::Correlation,
        "corr(number, number)",
        "Pearson's correlation of pairs without null; null of one pair, or where one side does not vary",
    ),
    pair(
        "covar",
        &["covar_samp"],
        PairAggregate::Covariance,
        "covar(number, number)",
        "covariance of pairs without null, of a sample (n - 1)",
    ),
    many(
        "any_value",
        &[],
        Aggregate::AnyValue,
        "any_value(value)",
        "the first in row order that is not null",
    ),
    many(
        "first",
        &[],
        Aggregate::First,
        "first(value)",
        "in row order, null or not",
    ),
    many(
        "last",
        &[],
        Aggregate::Last,
        "last(value)",
        "in row order, null or not",
    ),
];

/// The functions that expressions may call: name, signature, what it does.
pub fn functions() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    FUNCTIONS
        .iter()
        .map(|entry| (entry.name, entry.signature, entry.about))
}

/// The function of that name.
pub(super) fn entry(name: &str) -> Option<&'static Entry> {
    let name = name.to_lowercase();
    FUNCTIONS
        .iter()
        .find(|entry| entry.name == name || entry.aliases.contains(&name.as_str()))
}

/// How the function of that name is written.
pub(crate) fn signature_of(name: &str) -> Option<&'static str> {
    entry(name).map(|entry| entry.signature)
}

/// The name of a function, as users write it.
pub(crate) fn function_name(function: Function) -> &'static str {
    FUNCTIONS
        .iter()
        .find(|entry| entry.callable == Callable::Row(function))
        // The parts of a date have no name of their own.
        .map_or("extract", |entry| entry.name)
}

/// The name of an aggregate, as users write it.
pub(crate) fn aggregate_name(aggregate: Aggregate) -> &'static str {
    if matches!(aggregate, Aggregate::Quantile(_)) {
        return "quantile";
    }
    FUNCTIONS
        .iter()
        .find(|entry| entry.callable == Callable::Many(aggregate))
        .map_or("count(distinct …)", |entry| entry.name)
}

/// The name of an aggregate of pairs, as users write it.
pub(crate) fn pair_aggregate_name(aggregate: PairAggregate) -> &'static str {
    FUNCTIONS
        .iter()
        .find(|entry| entry.callable == Callable::Pair(aggregate))
        .map_or("corr", |entry| entry.name)
}

/// Why a text is not a regular expression, if it is none.
pub(crate) fn pattern_problem(pattern: &str) -> Option<String> {
    let probe = StringChunked::from_slice("probe".into(), &[""]);
    let problem = probe.contains(pattern, true).err()?.to_string();
    // The engine draws a picture over several lines; the last one says it in words.
    let reason = problem.lines().last().unwrap_or(&problem);
    Some(reason.trim().trim_start_matches("error: ").to_owned())
}

/// How many groups in brackets a regular expression has.
pub(crate) fn pattern_groups(pattern: &str) -> usize {
    let (mut groups, mut class_depth) = (0, 0_usize);
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match character {
            '\\' => {
                rest.next();
            }
            '[' => class_depth += 1,
            ']' => class_depth = class_depth.saturating_sub(1),
            '(' if class_depth == 0 => {
                // `(?:…)` and `(?i)` remember nothing; `(?P<name>…)` and `(?<name>…)` do.
                let inner = rest.as_str();
                groups += usize::from(
                    !inner.starts_with('?') || inner.starts_with("?P<") || inner.starts_with("?<"),
                );
            }
            _ => {}
        }
    }
    groups
}

/// Whether a text is a format that values of this type can be written in, such as `%Y-%m-%d`.
pub(crate) fn is_time_format(format: &str, dtype: &DataType) -> bool {
    let date = || Int32Chunked::from_slice("probe".into(), &[0]).into_date();
    let point = |zone| {
        Int64Chunked::from_slice("probe".into(), &[0])
            .into_datetime(TimeUnit::Microseconds, zone)
            .to_string(format)
            .is_ok()
    };
    // Without a sign it would be the same text for every row: `YYYY-MM-DD` is meant for other tools.
    format.contains('%')
        && match dtype {
            DataType::Date => date().to_string(format).is_ok(),
            DataType::Datetime(_, None) => point(None),
            _ => point(Some(TimeZone::UTC)),
        }
}

/// The types that `cast` takes, by their first name.
pub(super) static TYPE_NAMES: &[(&[&str], DataType)] = &[
    (&["bool", "boolean"], DataType::Boolean),
    (
        &["int", "integer", "bigint", "i64", "int8"],
        DataType::Int64,
    ),
    (&["i32", "int4"], DataType::Int32),
    (&["smallint", "i16", "int2"], DataType::Int16),
    (&["tinyint", "i8"], DataType::Int8),
    (&["u8"], DataType::UInt8),
    (&["u16"], DataType::UInt16),
    (&["u32"], DataType::UInt32),
    (&["u64"], DataType::UInt64),
    (
        &["float", "double", "double precision", "f64", "float8"],
        DataType::Float64,
    ),
    (&["real", "f32", "float4"], DataType::Float32),
    (&["text", "string", "varchar", "char"], DataType::String),
    (&["date"], DataType::Date),
    (
        &["timestamp", "datetime", "timestamp without time zone"],
        DataType::Datetime(TimeUnit::Microseconds, None),
    ),
];

/// The type of that name, as `cast` takes it: `int`, `f32`, `text`, `timestamp`.
pub fn type_named(name: &str) -> Option<DataType> {
    let name = name.trim().to_lowercase();
    TYPE_NAMES
        .iter()
        .find(|(names, _)| names.contains(&name.as_str()))
        .map(|(_, dtype)| dtype.clone())
}
