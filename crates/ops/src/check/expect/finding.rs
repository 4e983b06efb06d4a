//! How what a rule found is told.

use std::fmt;

use polars::prelude::DataFrame;
use taktline_core::{Expectation, Role, Schema};

use super::params::{Bounds, RuleSeverity};

/// The most rows that a finding shows.
const EXAMPLES: usize = 5;

/// A rule about rows, as it is told, with what decides whether a break ends the run.
pub(super) struct Told {
    rule: String,
    allow: f64,
    severity: RuleSeverity,
}

impl Told {
    pub(super) fn new(rule: String, allow: f64, severity: RuleSeverity) -> Self {
        let rule = if allow > 0.0 {
            format!("{rule} (in all but {} of the rows)", percent(allow))
        } else {
            rule
        };
        Self {
            rule,
            allow,
            severity,
        }
    }

    /// What came of it: of so many rows these break it.
    pub(super) fn found(
        self,
        rows: usize,
        broken: Vec<usize>,
        example: impl Fn(usize) -> String,
    ) -> Expectation {
        let too_many = broken.len() as f64 > self.allow * rows as f64;
        Expectation {
            rule: self.rule,
            violations: broken.len(),
            rows,
            examples: broken
                .iter()
                .take(EXAMPLES)
                .map(|row| example(*row))
                .collect(),
            is_error: self.severity == RuleSeverity::Error && too_many,
            about_all: false,
            violating: broken,
        }
    }
}

/// What came of a rule about all rows together.
pub(super) fn told_of_all(
    rule: String,
    severity: RuleSeverity,
    rows: usize,
    is_broken: bool,
    evidence: Option<String>,
) -> Expectation {
    Expectation {
        rule,
        violations: usize::from(is_broken),
        rows,
        examples: evidence.into_iter().collect(),
        is_error: is_broken && severity == RuleSeverity::Error,
        about_all: true,
        violating: Vec::new(),
    }
}

/// A share as people read it, with two more digits than a percent has but without the zeros that they bring.
pub(super) fn percent(share: f64) -> String {
    let percent = format!("{:.4}", share * 100.0);
    format!("{} %", percent.trim_end_matches('0').trim_end_matches('.'))
}

/// Bounds in words: `between 0 and 5`, `>= 0`.
pub(super) struct Bounded<'a, T>(pub(super) &'a Bounds<T>);

impl<T: fmt::Display> fmt::Display for Bounded<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            [Some(low), Some(high)] => write!(formatter, "between {low} and {high}"),
            [Some(low), None] => write!(formatter, ">= {low}"),
            [None, Some(high)] => write!(formatter, "<= {high}"),
            [None, None] => formatter.write_str("anything"),
        }
    }
}

/// A row that breaks a rule about these columns. Personal data is not shown: findings are kept and printed.
pub(super) fn example(data: &DataFrame, columns: &[&str], is_private: bool, row: usize) -> String {
    let values: Option<Vec<String>> = columns
        .iter()
        .map(|name| {
            let value = data.column(name).ok()?.get(row).ok()?;
            Some(value.str_value().into_owned())
        })
        .collect();
    match values {
        Some(values) if !is_private => format!("row {}: {}", row + 1, values.join(", ")),
        _ => format!("row {}", row + 1),
    }
}

/// Whether the column holds personal data, or values made of it.
pub(super) fn is_private(schema: &Schema, name: &str) -> bool {
    schema
        .column(name)
        .is_none_or(|column| column.role == Role::Pii || !column.from_pii.is_empty())
}
