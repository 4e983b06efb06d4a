//! `check.expect`.

use std::{collections::BTreeSet, fmt};

use polars::prelude::{
    BooleanChunked, ChunkedArray, Column as PolarsColumn, DataFrame, DataType, NewChunkedArray,
    PolarsNumericType, StringChunked, StringNameSpaceImpl, TimeUnit, is_first_distinct,
};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Error, Expect as Expects, Expectation, Frame, Literal, Operation,
    ParamPath, Problem, Result, Role, Schema, Shape, Stage, path, register_kind, sql, type_name,
};

use crate::columns::{self, Scalar};

/// Look at the rows and end the run if they are not as expected.
///
/// A list of rules, each about a column, about all rows or about a condition in SQL. All rules are examined, and what they
/// find is told together, with some of the rows that break them. Rows pass through unchanged; null breaks no rule but
/// `not_null`. A broken rule ends the run with exit code 3, or, with `severity: warn`, is only told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("minItems" = 1))]
struct Expect(Vec<Rule>);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Rule {
    /// About the values of a column.
    Column(ColumnRule),
    /// About each row.
    Condition(ConditionRule),
    /// About how many rows there are.
    Rows(RowsRule),
}

/// What the values of a column must be; every condition that is given must hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ColumnRule {
    /// The column.
    column: String,
    /// No value is null.
    #[serde(default)]
    not_null: bool,
    /// No value occurs twice.
    #[serde(default)]
    unique: bool,
    /// No value is infinite or not a number.
    #[serde(default)]
    finite: bool,
    /// Least and largest value, both allowed; null for no bound: `[0, null]`.
    between: Option<[Option<Scalar>; 2]>,
    /// The only values allowed.
    #[schemars(length(min = 1))]
    r#in: Option<Vec<Scalar>>,
    /// A regular expression that is found in each text; `^` and `$` stand for its start and end.
    regex: Option<String>,
    /// The share of rows that may break it all the same.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    allow: f64,
    /// Whether a break ends the run.
    #[serde(default)]
    severity: RuleSeverity,
}

/// A condition that must hold for each row.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConditionRule {
    /// The condition, in SQL: `amount <= balance_before`.
    #[schemars(length(min = 1))]
    r#where: String,
    /// The share of rows that may break it all the same.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    allow: f64,
    /// Whether a break ends the run.
    #[serde(default)]
    severity: RuleSeverity,
}

/// How many rows there must be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RowsRule {
    /// The bounds.
    rows: RowBounds,
    /// Whether a break ends the run.
    #[serde(default)]
    severity: RuleSeverity,
}

/// Bounds on the number of rows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RowBounds {
    /// At least so many.
    min: Option<usize>,
    /// At most so many.
    max: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RuleSeverity {
    /// It is told, and the run goes on.
    Warn,
    /// It ends the run.
    #[default]
    Error,
}

register_kind! {
    Expect, "check.expect", version: 1,
    example: r#"- check.expect:
    - {column: amount, not_null: true, between: [0, 1e6]}
    - {column: payment_id, unique: true}
    - {column: channel, in: [web, shop], allow: 0.01, severity: warn}
    - {where: amount <= balance_before}
    - {rows: {min: 1000}}"#,
}

/// One condition of a rule about a column.
#[derive(Debug, Clone, Copy)]
enum Condition<'a> {
    NotNull,
    Unique,
    Finite,
    Between(&'a [Option<Scalar>; 2]),
    In(&'a [Scalar]),
    Regex(&'a str),
}

impl ColumnRule {
    fn conditions(&self) -> Vec<Condition<'_>> {
        [
            self.not_null.then_some(Condition::NotNull),
            self.unique.then_some(Condition::Unique),
            self.finite.then_some(Condition::Finite),
            self.between.as_ref().map(Condition::Between),
            self.r#in.as_deref().map(Condition::In),
            self.regex.as_deref().map(Condition::Regex),
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
            Self::Unique => formatter.write_str("is unique"),
            Self::Finite => formatter.write_str("is finite"),
            Self::Between([Some(low), Some(high)]) => write!(formatter, "between {low} and {high}"),
            Self::Between([Some(low), None]) => write!(formatter, ">= {low}"),
            Self::Between([None, Some(high)]) => write!(formatter, "<= {high}"),
            Self::Between([None, None]) => formatter.write_str("is anything"),
            Self::In(values) => {
                let values: Vec<String> = values.iter().take(6).map(ToString::to_string).collect();
                let more = if values.len() == 6 { ", …" } else { "" };
                write!(formatter, "in ({}{more})", values.join(", "))
            }
            Self::Regex(pattern) => write!(formatter, "matches {pattern}"),
        }
    }
}

impl Condition<'_> {
    fn key(&self) -> &'static str {
        match self {
            Self::NotNull => "not_null",
            Self::Unique => "unique",
            Self::Finite => "finite",
            Self::Between(_) => "between",
            Self::In(_) => "in",
            Self::Regex(_) => "regex",
        }
    }

    /// Reports a condition that values of this type can never be held against.
    fn check(&self, column: &Column, at: &ParamPath, cx: &mut CheckContext<'_>) {
        let path = at.join(self.key());
        match self {
            Self::NotNull => {}
            Self::Unique => {
                if column.dtype.is_nested() {
                    columns::report_type(column, "single values to compare", path, cx);
                }
            }
            Self::Finite => {
                columns::is_number(column, path, cx);
            }
            Self::Between(bounds) => {
                if !column.dtype.is_primitive_numeric() && !columns::is_instant(&column.dtype) {
                    columns::report_type(column, "numbers, dates or datetimes to bound", path, cx);
                    return;
                }
                for (index, bound) in bounds.iter().enumerate() {
                    if let Some(bound) = bound {
                        report_unfit(bound, column, true, path.join(index), cx);
                    }
                }
                if let [Some(low), Some(high)] = bounds
                    && let (Some(low), Some(high)) = (low.number(), high.number())
                    && low > high
                {
                    let message = format!(
                        "stage `{}` expects a value between {low} and {high}",
                        cx.stage
                    );
                    cx.report(Problem::error("bad-range", path, message).label("no number is"));
                }
            }
            Self::In(values) => {
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
        }
    }

    /// For each row, whether it breaks the condition.
    fn broken(&self, column: &PolarsColumn) -> Result<BooleanChunked> {
        match self {
            Self::NotNull => Ok(column.is_null()),
            Self::Unique => {
                Ok(&!&is_first_distinct(column.as_materialized_series())? & &column.is_not_null())
            }
            Self::Finite => {
                let numbers = column.cast(&DataType::Float64)?;
                Ok(flags(numbers.f64()?, |value| !value.is_finite()))
            }
            Self::Between(bounds) => outside(column, bounds),
            Self::In(values) => not_among(column, values),
            Self::Regex(pattern) => Ok(!&matches(column.str()?, pattern)?),
        }
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

fn outside(column: &PolarsColumn, bounds: &[Option<Scalar>; 2]) -> Result<BooleanChunked> {
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

fn not_among(column: &PolarsColumn, values: &[Scalar]) -> Result<BooleanChunked> {
    let dtype = column.dtype();
    let literals: Vec<Literal> = values
        .iter()
        .map(|value| value.literal(dtype))
        .collect::<Result<_, String>>()
        .map_err(Error::Data)?;
    if dtype.is_float() {
        let allowed: Vec<f64> = values.iter().filter_map(Scalar::number).collect();
        let numbers = column.cast(&DataType::Float64)?;
        return Ok(flags(numbers.f64()?, |value| !allowed.contains(&value)));
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
            .map(|value| value.is_some_and(|value| !texts.contains(value)));
        return Ok(BooleanChunked::from_iter_values("".into(), flags));
    }
    let allowed: BTreeSet<i64> = literals
        .iter()
        .filter_map(|literal| match literal {
            Literal::Int(value) => Some(*value),
            Literal::Bool(value) => Some(i64::from(*value)),
            other => instant(other, dtype),
        })
        .collect();
    let numbers = column.to_physical_repr().cast(&DataType::Int64)?;
    Ok(flags(numbers.i64()?, |value| !allowed.contains(&value)))
}

/// The most rows that a finding shows.
const EXAMPLES: usize = 5;

/// A rule, as it is told, with what decides whether a break ends the run.
struct Told {
    rule: String,
    allow: f64,
    severity: RuleSeverity,
}

impl Told {
    fn new(rule: String, allow: f64, severity: RuleSeverity) -> Self {
        let rule = if allow > 0.0 {
            format!("{rule} (in all but {} of the rows)", share(allow))
        } else {
            rule
        };
        Self {
            rule,
            allow,
            severity,
        }
    }

    fn found(self, broken: &BooleanChunked, example: impl Fn(usize) -> String) -> Expectation {
        let rows = broken.len();
        let violations = broken.sum().unwrap_or_default() as usize;
        let examples = broken
            .iter()
            .enumerate()
            .filter(|(_, is_broken)| *is_broken == Some(true))
            .take(EXAMPLES)
            .map(|(row, _)| example(row))
            .collect();
        let too_many = violations as f64 > self.allow * rows as f64;
        Expectation {
            rule: self.rule,
            violations,
            rows,
            examples,
            is_error: self.severity == RuleSeverity::Error && too_many,
            violating: broken
                .iter()
                .enumerate()
                .filter(|(_, is_broken)| *is_broken == Some(true))
                .map(|(row, _)| row)
                .collect(),
        }
    }
}

fn share(share: f64) -> String {
    // Two more digits than a percent has, without the zeros that they bring.
    let percent = format!("{:.4}", share * 100.0);
    format!("{} %", percent.trim_end_matches('0').trim_end_matches('.'))
}

/// A row that breaks a rule about a column. Personal data is not shown: findings are kept and printed.
fn example(column: &PolarsColumn, is_private: bool, row: usize) -> String {
    match column.get(row) {
        Ok(value) if !is_private => format!("row {}: {}", row + 1, value.str_value()),
        _ => format!("row {}", row + 1),
    }
}

fn is_private(schema: &Schema, name: &str) -> bool {
    schema
        .column(name)
        .is_none_or(|column| column.role == Role::Pii || !column.from_pii.is_empty())
}

/// The column that holds, for the rule at this place, whether its condition is true.
fn condition_column(index: usize) -> String {
    format!("check.expect[{index}]")
}

impl ConditionRule {
    fn check(&self, at: &ParamPath, input: &Schema, cx: &mut CheckContext<'_>) {
        let path = at.join("where");
        if let Some(condition) = columns::row_expression(&self.r#where, input, &path, cx)
            && condition.dtype != DataType::Boolean
        {
            let found = type_name(&condition.dtype);
            let message = format!(
                "stage `{}` needs a condition, but this is {found}",
                cx.stage
            );
            cx.report(
                Problem::error("type-mismatch", path, message)
                    .label("true or false for each row is needed")
                    .help("compare it with something: `amount > 0`"),
            );
        }
    }
}

impl RowsRule {
    fn check(&self, at: &ParamPath, cx: &mut CheckContext<'_>) {
        match (self.rows.min, self.rows.max) {
            (None, None) => cx.report(
                Problem::error(
                    "empty-rule",
                    at.join("rows"),
                    format!("stage `{}` expects nothing here", cx.stage),
                )
                .label("give `min`, `max` or both"),
            ),
            (Some(min), Some(max)) if min > max => {
                let message = format!(
                    "stage `{}` expects at least {min} and at most {max} rows",
                    cx.stage
                );
                cx.report(
                    Problem::error("bad-range", at.join("rows"), message)
                        .label("no number is both"),
                );
            }
            _ => {}
        }
    }

    fn examine(&self, rows: usize) -> Expectation {
        let is_broken = self.rows.min.is_some_and(|min| rows < min)
            || self.rows.max.is_some_and(|max| rows > max);
        let rule = match (self.rows.min, self.rows.max) {
            (Some(min), Some(max)) => format!("from {min} to {max} rows"),
            (Some(min), None) => format!("at least {min} rows"),
            (None, Some(max)) => format!("at most {max} rows"),
            (None, None) => "any number of rows".to_owned(),
        };
        Expectation {
            rule,
            violations: usize::from(is_broken),
            rows,
            examples: if is_broken {
                vec![format!("there are {rows}")]
            } else {
                Vec::new()
            },
            is_error: is_broken && self.severity == RuleSeverity::Error,
            violating: Vec::new(),
        }
    }
}

impl ColumnRule {
    fn check(&self, at: &ParamPath, input: &Schema, cx: &mut CheckContext<'_>) {
        let conditions = self.conditions();
        if conditions.is_empty() {
            cx.report(
                Problem::error(
                    "empty-rule",
                    at.clone(),
                    format!("stage `{}` expects nothing here", cx.stage),
                )
                .label(format!("what must `{}` be?", self.column))
                .help("give `not_null`, `unique`, `finite`, `between`, `in` or `regex`"),
            );
        }
        if let Some(column) = columns::find(input, &self.column, at.join("column"), cx) {
            for condition in conditions {
                condition.check(column, at, cx);
            }
        }
    }

    fn examine(&self, frame: &Frame) -> Result<Vec<Expectation>> {
        let column = frame.data.column(&self.column)?;
        let is_private = is_private(&frame.schema, &self.column);
        self.conditions()
            .into_iter()
            .map(|condition| {
                let broken = condition.broken(column)?;
                let told = Told::new(
                    format!("{} {condition}", self.column),
                    self.allow,
                    self.severity,
                );
                Ok(told.found(&broken, |row| example(column, is_private, row)))
            })
            .collect()
    }
}

impl ConditionRule {
    fn examine(&self, index: usize, data: &DataFrame) -> Result<Expectation> {
        let holds = data.column(&condition_column(index))?;
        let holds = holds.bool()?;
        // As in a SQL check constraint, a condition that is null because it compares with null is not broken.
        let broken = BooleanChunked::from_iter_values(
            "".into(),
            holds.iter().map(|holds| holds == Some(false)),
        );
        let told = Told::new(self.r#where.clone(), self.allow, self.severity);
        Ok(told.found(&broken, |row| format!("row {}", row + 1)))
    }
}

impl Stage for Expect {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        for (index, rule) in self.0.iter().enumerate() {
            let at = path![index];
            match rule {
                Rule::Column(rule) => rule.check(&at, input, cx),
                Rule::Condition(rule) => rule.check(&at, input, cx),
                Rule::Rows(rule) => rule.check(&at, cx),
            }
        }
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Expect(self)
    }
}

impl Expects for Expect {
    fn reads(&self, input: &Schema) -> BTreeSet<String> {
        let mut columns = BTreeSet::new();
        for rule in &self.0 {
            match rule {
                Rule::Column(rule) => {
                    columns.insert(rule.column.clone());
                }
                Rule::Condition(rule) => {
                    if let Ok(compiled) = sql::compile(&rule.r#where, input) {
                        columns.extend(compiled.expression.columns());
                    }
                }
                Rule::Rows(_) => {}
            }
        }
        columns
    }

    fn prepare(&self, input: &Schema) -> Result<Vec<Operation>> {
        let mut conditions = Vec::new();
        for (index, rule) in self.0.iter().enumerate() {
            if let Rule::Condition(rule) = rule {
                let compiled = columns::lowered(&rule.r#where, sql::compile(&rule.r#where, input))?;
                conditions.push((condition_column(index), compiled.expression));
            }
        }
        Ok(if conditions.is_empty() {
            Vec::new()
        } else {
            vec![Operation::With(conditions)]
        })
    }

    fn examine(&self, frame: &Frame, _: &[Frame]) -> Result<Vec<Expectation>> {
        let mut found = Vec::new();
        for (index, rule) in self.0.iter().enumerate() {
            match rule {
                Rule::Column(rule) => found.extend(rule.examine(frame)?),
                Rule::Condition(rule) => found.push(rule.examine(index, &frame.data)?),
                Rule::Rows(rule) => found.push(rule.examine(frame.data.height())),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use polars::{
        df,
        prelude::{NamedFrom, Series},
    };

    use super::*;
    use crate::columns::testing::{check, codes, frame, passes, refuses, schema, stage};

    fn examine(rules: &str, data: DataFrame) -> Vec<Expectation> {
        stage::<Expect>(rules)
            .examine(&frame(data), &[])
            .expect("findings")
    }

    fn broken(rules: &str, data: DataFrame) -> (usize, Vec<String>) {
        let found = examine(rules, data);
        assert_eq!(found.len(), 1, "{found:?}");
        (found[0].violations, found[0].examples.clone())
    }

    #[test]
    fn counts_the_rows_that_break_each_condition() {
        let amounts = || {
            df!("amount" => [Some(5.0), None, Some(-1.0), Some(f64::NAN), Some(5.0), Some(f64::INFINITY)]).expect("a frame")
        };
        assert_eq!(broken("[{column: amount, not_null: true}]", amounts()).0, 1);
        assert_eq!(
            broken("[{column: amount, unique: true}]", amounts()),
            (1, vec!["row 5: 5.0".to_owned()])
        );
        assert_eq!(broken("[{column: amount, finite: true}]", amounts()).0, 2);
        assert_eq!(
            broken("[{column: amount, between: [0, 1e6]}]", amounts()),
            (
                3,
                vec![
                    "row 3: -1.0".to_owned(),
                    "row 4: NaN".to_owned(),
                    "row 6: inf".to_owned()
                ]
            )
        );
        assert_eq!(
            broken("[{column: amount, between: [null, 5]}]", amounts()).0,
            2
        );
        assert_eq!(broken("[{column: amount, in: [5, -1]}]", amounts()).0, 2);
    }

    #[test]
    fn text_whole_numbers_truth_and_dates() {
        let data = || {
            let days = Series::new("day".into(), [0_i32, 1, 2])
                .cast(&DataType::Date)
                .expect("dates");
            let mut data = df!("kind" => [Some("A-1"), None, Some("B-x")], "n" => [1_u8, 2, 3], "ok" => [true, false, true])
                .expect("a frame");
            data.with_column(days.into()).expect("one more column");
            data
        };
        assert_eq!(
            broken("[{column: kind, regex: '^[A-Z]-[0-9]$'}]", data()),
            (1, vec!["row 3: B-x".to_owned()])
        );
        assert_eq!(broken("[{column: kind, in: [A-1]}]", data()).0, 1);
        assert_eq!(broken("[{column: n, in: [1, 2]}]", data()).0, 1);
        assert_eq!(broken("[{column: n, between: [1.5, 2.5]}]", data()).0, 2);
        assert_eq!(broken("[{column: ok, in: [true]}]", data()).0, 1);
        assert_eq!(
            broken("[{column: day, between: ['1970-01-02', null]}]", data()).0,
            1
        );
        assert_eq!(broken("[{column: day, in: ['1970-01-01']}]", data()).0, 2);
    }

    #[test]
    fn times_are_compared_in_their_own_unit() {
        for unit in [
            TimeUnit::Milliseconds,
            TimeUnit::Microseconds,
            TimeUnit::Nanoseconds,
        ] {
            let at = Series::new("at".into(), [0_i64, 3_600_000, 7_200_000])
                .cast(&DataType::Datetime(TimeUnit::Milliseconds, None))
                .and_then(|at| at.cast(&DataType::Datetime(unit, None)))
                .expect("times");
            let data = DataFrame::new(3, vec![at.into()]).expect("a frame");
            assert_eq!(
                broken(
                    "[{column: at, between: ['1970-01-01 01:00:00', null]}]",
                    data
                )
                .0,
                1
            );
        }
    }

    #[test]
    fn a_share_may_break_a_rule_and_a_warning_ends_nothing() {
        let data = || df!("amount" => [1.0, -1.0, 2.0, 3.0]).expect("a frame");
        let is_error = |rule: &str| examine(rule, data())[0].is_error;
        assert!(is_error("[{column: amount, between: [0, null]}]"));
        assert!(!is_error(
            "[{column: amount, between: [0, null], allow: 0.25}]"
        ));
        assert!(is_error(
            "[{column: amount, between: [0, null], allow: 0.2}]"
        ));
        assert!(!is_error(
            "[{column: amount, between: [0, null], severity: warn}]"
        ));
        assert!(!is_error("[{column: amount, between: [-1, null]}]"));
        assert_eq!(
            examine(
                "[{column: amount, between: [0, null], allow: 0.025}]",
                data()
            )[0]
            .rule,
            "amount >= 0 (in all but 2.5 % of the rows)"
        );
    }

    #[test]
    fn bounds_the_number_of_rows() {
        let data = || df!("n" => [1, 2, 3]).expect("a frame");
        let found = examine(
            "[{rows: {min: 5}}, {rows: {max: 5}}, {rows: {min: 3, max: 3}}]",
            data(),
        );
        assert_eq!(
            found.iter().map(|rule| rule.is_error).collect::<Vec<_>>(),
            [true, false, false]
        );
        assert_eq!(found[0].rule, "at least 5 rows");
        assert_eq!(found[0].examples, ["there are 3"]);
    }

    #[test]
    fn a_condition_is_looked_at_where_the_engine_computed_it() {
        let rules: Expect = stage("[{rows: {min: 1}}, {where: amount > 0}]");
        let input = schema([("amount", DataType::Float64)]);
        passes(&rules, &input);
        let operations = rules.prepare(&input).expect("operations");
        assert!(
            matches!(&operations[..], [Operation::With(columns)] if columns[0].0 == "check.expect[1]")
        );
        assert_eq!(
            rules.reads(&input).into_iter().collect::<Vec<_>>(),
            ["amount"]
        );
        let data = df!("amount" => [Some(1.0), Some(-1.0), None], "check.expect[1]" => [Some(true), Some(false), None])
            .expect("a frame");
        let found = rules.examine(&frame(data), &[]).expect("findings");
        assert_eq!(
            (found[1].violations, &found[1].examples[..]),
            (1, &["row 2".to_owned()][..])
        );
        assert_eq!(found[1].rule, "amount > 0");
    }

    #[test]
    fn personal_data_is_not_shown() {
        let mut frame = frame(df!("card" => ["1234", "1234"]).expect("a frame"));
        frame.schema.columns[0] = frame.schema.columns[0].clone().with_role(Role::Pii);
        let found = stage::<Expect>("[{column: card, unique: true}]")
            .examine(&frame, &[])
            .expect("findings");
        assert_eq!(found[0].examples, ["row 2"]);
    }

    #[test]
    fn every_rule_is_checked() {
        let input = schema([
            ("amount", DataType::Float64),
            ("kind", DataType::String),
            ("n", DataType::Int64),
        ]);
        assert_eq!(
            codes(
                &stage::<Expect>(
                    "[{column: amount}, {column: amout, unique: true}, {column: kind, between: [0, 1], finite: true}, \
                     {column: n, between: [2, 1]}, {column: n, in: [a]}, {column: amount, regex: a}, \
                     {column: kind, regex: '('}, {rows: {}}, {rows: {min: 2, max: 1}}, {where: amount + 1}]"
                ),
                &input
            ),
            [
                "empty-rule",
                "unknown-column",
                "type-mismatch",
                "type-mismatch",
                "bad-range",
                "type-mismatch",
                "type-mismatch",
                "bad-regex",
                "empty-rule",
                "bad-range",
                "type-mismatch",
            ]
        );
        let (_, problems) = check(&stage::<Expect>("[{column: n, in: [1, a]}]"), &input);
        assert_eq!(problems[0].path, path![0, "in", 1]);
        assert_eq!(
            refuses(&stage::<Expect>("[{column: n, in: [0.5]}]"), &input)[0].1,
            "stage `this` compares `n` with what it cannot be: `0.5` is not a whole number (i64)"
        );
    }
}
