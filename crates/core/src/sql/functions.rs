//! The names that expressions may use: functions, aggregates and types.

use polars::prelude::{DataType, NewChunkedArray, StringChunked, StringNameSpaceImpl, TimeUnit};

use crate::{Aggregate, Function};

/// What a name in front of parentheses stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Callable {
    Row(Function),
    Many(Aggregate),
    /// Written with words instead of commas: `extract(hour from at)`.
    Syntax,
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
    FUNCTIONS
        .iter()
        .find(|entry| entry.callable == Callable::Many(aggregate))
        .map_or("count(distinct …)", |entry| entry.name)
}

/// Why a text is not a regular expression, if it is none.
pub(crate) fn pattern_problem(pattern: &str) -> Option<String> {
    let probe = StringChunked::from_slice("probe".into(), &[""]);
    let problem = probe.contains(pattern, true).err()?.to_string();
    // The engine draws a picture over several lines; the last one says it in words.
    let reason = problem.lines().last().unwrap_or(&problem);
    Some(reason.trim().trim_start_matches("error: ").to_owned())
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
