//! The params of `check.expect`: what a rule looks like in a spec.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    column_type::ColumnType,
    columns::{Names, Scalar},
    features::Span,
};

/// Least and largest, both allowed; null for no bound.
pub(super) type Bounds<T> = [Option<T>; 2];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are few rules, and most are about a column"
)]
pub(super) enum Rule {
    /// About the values of a column.
    Column(ColumnRule),
    /// About the values of several columns together.
    Key(KeyRule),
    /// About each row.
    Condition(ConditionRule),
    /// About how many rows there are.
    Rows(RowsRule),
}

/// What the values of a column must be; every condition that is given must hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnRule {
    /// The column.
    pub(super) column: String,
    /// The type that it must have. `takt check` says so already.
    pub(super) r#type: Option<ColumnType>,
    /// No value is null.
    #[serde(default)]
    pub(super) not_null: bool,
    /// No value occurs twice; the first of equal rows does not break it.
    #[serde(default)]
    pub(super) unique: bool,
    /// No value is infinite or not a number.
    #[serde(default)]
    pub(super) finite: bool,
    /// Least and largest value, both allowed; null for no bound: `[0, null]`. Not a number is in no range.
    pub(super) between: Option<Bounds<Scalar>>,
    /// The only values allowed.
    #[schemars(length(min = 1))]
    pub(super) r#in: Option<Vec<Scalar>>,
    /// Values that are not allowed.
    #[schemars(length(min = 1))]
    pub(super) not_in: Option<Vec<Scalar>>,
    /// A regular expression that is found in each text; `^` and `$` stand for its start and end.
    pub(super) regex: Option<String>,
    /// Least and largest length of each text, in characters.
    pub(super) length: Option<Bounds<u32>>,
    /// Values go up or down from row to row; nulls are passed over.
    pub(super) order: Option<Order>,
    /// Each value occurs in a column of another stage, or of this stage's own rows (a foreign key).
    pub(super) references: Option<Reference>,
    /// Bounds of the share of nulls: `[null, 0.05]` for at most 5 %.
    pub(super) nulls: Option<Bounds<f64>>,
    /// Bounds of the number of different values, nulls left out.
    pub(super) distinct: Option<Bounds<u64>>,
    /// Bounds of the mean.
    pub(super) mean: Option<Bounds<f64>>,
    /// Bounds of the standard deviation, of a sample (n - 1).
    pub(super) stddev: Option<Bounds<f64>>,
    /// Bounds of the sum.
    pub(super) sum: Option<Bounds<f64>>,
    /// Bounds of the least value; not a number is passed over.
    pub(super) min: Option<Bounds<Scalar>>,
    /// Bounds of the largest value; not a number is passed over.
    pub(super) max: Option<Bounds<Scalar>>,
    /// Bounds of a quantile.
    pub(super) quantile: Option<Quantile>,
    /// The newest value is new enough. No value at all is not.
    pub(super) fresh: Option<Fresh>,
    /// The share of rows that may break a condition about rows all the same.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub(super) allow: f64,
    /// Whether a break ends the run.
    #[serde(default)]
    pub(super) severity: RuleSeverity,
}

/// In which order the values of a column are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// Up or down.
    pub(super) direction: Direction,
    /// Equal values do not follow each other either.
    #[serde(default)]
    pub(super) strict: bool,
    /// Columns whose groups are looked at apart.
    pub(super) by: Option<Names>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direction {
    /// No value is less than the one before.
    Increasing,
    /// No value is more than the one before.
    Decreasing,
}

/// Where values must occur.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reference {
    /// The id of the stage, one of those under `from`.
    pub(super) stage: String,
    /// Its column; for several `columns`, as many in the same order.
    pub(super) column: Names,
}

/// Bounds of a quantile.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Quantile {
    /// Which: 0.5 is the median. Between two values it is interpolated linearly; not a number is passed over.
    #[schemars(range(min = 0, max = 1))]
    pub(super) at: f64,
    /// Least and largest, both allowed; null for no bound.
    pub(super) between: Bounds<f64>,
}

/// How new the newest value must be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fresh {
    /// How old the newest value may be: a whole number and `ms`, `s`, `m`, `h`, `d` or `w`. A time without a zone is taken as
    /// UTC, a day as its first moment.
    pub(super) within: Span,
    /// The time to compare with, such as `2024-01-31 06:00:00`; the time of the run by default, so that the rule is examined in every run.
    pub(super) as_of: Option<String>,
}

/// What the values of several columns together must be; rows with a null among them break nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRule {
    /// The columns.
    #[schemars(length(min = 1))]
    pub(super) columns: Vec<String>,
    /// No combination occurs twice; the first of equal rows does not break it.
    #[serde(default)]
    pub(super) unique: bool,
    /// Each combination occurs in columns of another stage, or of this stage's own rows (a foreign key).
    pub(super) references: Option<Reference>,
    /// The share of rows that may break it all the same.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub(super) allow: f64,
    /// Whether a break ends the run.
    #[serde(default)]
    pub(super) severity: RuleSeverity,
}

/// A condition that must hold for each row.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConditionRule {
    /// The condition, in SQL: `amount <= balance_before`.
    #[schemars(length(min = 1))]
    pub(super) r#where: String,
    /// The share of rows that may break it all the same.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub(super) allow: f64,
    /// Whether a break ends the run.
    #[serde(default)]
    pub(super) severity: RuleSeverity,
}

/// How many rows there must be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RowsRule {
    /// The bounds.
    pub(super) rows: RowBounds,
    /// Whether a break ends the run.
    #[serde(default)]
    pub(super) severity: RuleSeverity,
}

/// Bounds on the number of rows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RowBounds {
    /// At least so many.
    pub(super) min: Option<usize>,
    /// At most so many.
    pub(super) max: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RuleSeverity {
    /// It is told, and the run goes on.
    Warn,
    /// It ends the run.
    #[default]
    Error,
}
