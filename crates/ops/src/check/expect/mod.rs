//! `check.expect`.

mod column;
mod figures;
mod finding;
mod keys;
mod params;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;

use polars::prelude::{DataFrame, DataType};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Expect as Expects, Expectation, Frame, Operation, ParamPath, Problem, Result,
    Schema, Shape, Stage, counted, path, register_kind, sql, type_name,
};

use crate::columns;
use finding::{Told, told_of_all};
use params::{ColumnRule, ConditionRule, KeyRule, Reference, RowsRule, Rule};

/// Look at the rows and end the run if they are not as expected.
///
/// A list of rules: about a column, about several columns together, about a condition in SQL, or about the number of rows.
/// All rules are examined, and what they find is told together, with some of the rows that break them. Rows pass through
/// unchanged. Null breaks no rule about single values but `not_null`, and a figure of no values at all (their mean, their
/// largest) is not bounded. A broken rule ends the run with exit code 3, or, with `severity: warn`, is only told.
///
/// All rows that break a rule about rows go to `.taktline/runs/RUN/quarantine-STAGE.parquet`, also when the run ends there:
/// a line for each row and rule, with the row's number and the rule in front. Personal data is shown neither there nor in
/// messages. Values of other stages are looked up (`references`) where these are further inputs: `from: [payments, accounts]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("minItems" = 1))]
struct Expect(Vec<Rule>);

register_kind! {
    Expect, "check.expect", version: 2,
    example: r#"- check.expect:
    - {column: amount, type: f64, not_null: true, between: [0, 1e6]}
    - {column: payment_id, unique: true}
    - {column: channel, in: [web, shop], allow: 0.01, severity: warn}
    - {column: at, order: {direction: increasing}, fresh: {within: 24h, as_of: '2024-02-01'}}
    - {column: amount, mean: [50, 500], quantile: {at: 0.99, between: [null, 1e4]}}
    - {columns: [account, at], unique: true}
    - {where: amount <= balance_before}
    - {rows: {min: 1000}}"#,
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

    fn examine(&self, index: usize, data: &DataFrame) -> Result<Expectation> {
        let holds = data.column(&condition_column(index))?;
        // As in a SQL check constraint, a condition that is null because it compares with null is not broken.
        let broken = holds
            .bool()?
            .iter()
            .enumerate()
            .filter(|(_, holds)| *holds == Some(false))
            .map(|(row, _)| row)
            .collect();
        let told = Told::new(self.r#where.clone(), self.allow, self.severity);
        Ok(told.found(data.height(), broken, |row| format!("row {}", row + 1)))
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
            (Some(min), Some(max)) => format!("from {min} to {}", counted(max, "row")),
            (Some(min), None) => format!("at least {}", counted(min, "row")),
            (None, Some(max)) => format!("at most {}", counted(max, "row")),
            (None, None) => "any number of rows".to_owned(),
        };
        let evidence = is_broken.then(|| format!("there are {rows}"));
        told_of_all(rule, self.severity, rows, is_broken, evidence)
    }
}

impl Stage for Expect {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        for (index, rule) in self.0.iter().enumerate() {
            let at = path![index];
            match rule {
                Rule::Column(rule) => rule.check(&at, inputs, cx),
                Rule::Key(rule) => rule.check(&at, inputs, cx),
                Rule::Condition(rule) => rule.check(&at, input, cx),
                Rule::Rows(rule) => rule.check(&at, cx),
            }
        }
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Expect(self)
    }

    /// The rows to look at, and a further input for each stage that values are looked up in.
    fn arity(&self) -> std::ops::RangeInclusive<usize> {
        let others: BTreeSet<&str> = self
            .0
            .iter()
            .filter_map(Rule::reference)
            .map(|reference| reference.stage.as_str())
            .collect();
        1..=1 + others.len()
    }
}

impl Rule {
    fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Column(ColumnRule { references, .. }) | Self::Key(KeyRule { references, .. }) => {
                references.as_ref()
            }
            Self::Condition(_) | Self::Rows(_) => None,
        }
    }
}

impl Expects for Expect {
    fn reads(&self, input: &Schema) -> BTreeSet<String> {
        let mut columns = BTreeSet::new();
        for rule in &self.0 {
            match rule {
                Rule::Column(rule) => columns.extend(rule.reads()),
                Rule::Key(rule) => columns.extend(rule.columns.iter().cloned()),
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

    fn looks_at_clock(&self) -> bool {
        self.0.iter().any(|rule| match rule {
            Rule::Column(rule) => rule
                .fresh
                .as_ref()
                .is_some_and(|fresh| fresh.as_of.is_none()),
            _ => false,
        })
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

    fn examine(&self, frame: &Frame, others: &[Frame]) -> Result<Vec<Expectation>> {
        let mut found = Vec::new();
        for (index, rule) in self.0.iter().enumerate() {
            match rule {
                Rule::Column(rule) => found.extend(rule.examine(frame, others)?),
                Rule::Key(rule) => found.extend(rule.examine(frame, others)?),
                Rule::Condition(rule) => found.push(rule.examine(index, &frame.data)?),
                Rule::Rows(rule) => found.push(rule.examine(frame.data.height())),
            }
        }
        Ok(found)
    }
}
