//! Rows beside other rows: values that occur twice, that another stage does not have, that are out of order.

use polars::{
    lazy::dsl::{col, cols, lit},
    prelude::{
        DataFrame, Expr, IntoLazy, IntoSeries, JoinArgs, JoinType, LazyFrame, StructChunked,
        UniqueKeepStrategy, is_first_distinct,
    },
};
use taktline_core::{
    CheckContext, Column, Error, Expectation, Expression, Frame, ParamPath, Problem, Result,
    Schema, comparison_type, did_you_mean, type_name,
};

use super::{
    finding::{Told, example, is_private},
    params::{Direction, KeyRule, Order, Reference},
};
use crate::columns;

/// The number of each row. The key columns are renamed, so that no name can be taken.
const ROW: &str = "row";
const PREVIOUS: &str = "previous";

fn key(index: usize) -> String {
    format!("key{index}")
}

/// Rows whose values in these columns occurred in a row above; rows with a null among them do not count.
pub(super) fn repeated(data: &DataFrame, names: &[&str]) -> Result<Vec<usize>> {
    let columns = data.select(names.iter().copied())?;
    let first = match columns.columns() {
        [only] => is_first_distinct(only.as_materialized_series())?,
        several => is_first_distinct(
            &StructChunked::from_columns("".into(), data.height(), several)?.into_series(),
        )?,
    };
    let nulls: Vec<_> = columns
        .columns()
        .iter()
        .filter(|column| column.null_count() > 0)
        .map(|column| column.is_null())
        .collect();
    Ok(first
        .iter()
        .enumerate()
        .filter(|(row, first)| {
            *first == Some(false) && nulls.iter().all(|nulls| nulls.get(*row) != Some(true))
        })
        .map(|(row, _)| row)
        .collect())
}

/// Rows whose value is on the wrong side of the one before it, in their group; nulls are passed over.
pub(super) fn out_of_order(data: &DataFrame, name: &str, order: &Order) -> Result<Vec<usize>> {
    let by: Vec<&str> = order.by.iter().flat_map(columns::Names::iter).collect();
    let mut wanted = vec![col(name).alias(key(0))];
    wanted.extend(
        by.iter()
            .enumerate()
            .map(|(index, name)| col(*name).alias(key(index + 1))),
    );
    let groups: Vec<Expr> = (0..by.len()).map(|index| col(key(index + 1))).collect();
    let mut previous = col(key(0)).shift(lit(1));
    if !groups.is_empty() {
        previous = previous.over(groups)?;
    }
    let (value, before) = (col(key(0)), col(PREVIOUS));
    let is_wrong = match (order.direction, order.strict) {
        (Direction::Increasing, false) => value.lt(before),
        (Direction::Increasing, true) => value.lt_eq(before),
        (Direction::Decreasing, false) => value.gt(before),
        (Direction::Decreasing, true) => value.gt_eq(before),
    };
    rows_of(
        data.clone()
            .lazy()
            .select(wanted)
            .with_row_index(ROW, None)
            .filter(col(key(0)).is_not_null())
            .with_columns([previous.alias(PREVIOUS)])
            .filter(is_wrong),
    )
}

/// Rows whose values in these columns are in no row of the other columns; rows with a null among them do not count.
fn unmatched(
    data: &DataFrame,
    names: &[&str],
    other: &DataFrame,
    other_names: &[&str],
) -> Result<Vec<usize>> {
    let mut here = Vec::new();
    let mut there = Vec::new();
    for (index, (name, other_name)) in names.iter().zip(other_names).enumerate() {
        let one = Expression::column(*name);
        let dtypes = (
            data.column(name)?.dtype(),
            other.column(other_name)?.dtype(),
        );
        let common = comparison_type((&one, dtypes.0), (&one, dtypes.1)).map_err(|_| {
            Error::data(format!(
                "`{name}` ({}) cannot be looked up in `{other_name}` ({})",
                type_name(dtypes.0),
                type_name(dtypes.1)
            ))
        })?;
        here.push(col(*name).strict_cast(common.clone()).alias(key(index)));
        there.push(col(*other_name).strict_cast(common).alias(key(index)));
    }
    let keys: Vec<String> = (0..names.len()).map(key).collect();
    let on: Vec<Expr> = keys.iter().map(col).collect();
    let there = other
        .clone()
        .lazy()
        .select(there)
        .unique(None, UniqueKeepStrategy::Any);
    rows_of(
        data.clone()
            .lazy()
            .select(here)
            .with_row_index(ROW, None)
            .drop_nulls(Some(cols(keys)))
            .join(there, on.clone(), on, JoinArgs::new(JoinType::Anti)),
    )
}

fn rows_of(frame: LazyFrame) -> Result<Vec<usize>> {
    let rows = frame.select([col(ROW)]).collect()?;
    let mut rows: Vec<usize> = rows
        .column(ROW)?
        .idx()?
        .iter()
        .flatten()
        .map(|row| row as usize)
        .collect();
    rows.sort_unstable();
    Ok(rows)
}

impl Order {
    pub(super) fn check(
        &self,
        column: &Column,
        input: &Schema,
        at: &ParamPath,
        cx: &mut CheckContext<'_>,
    ) {
        let path = at.join("order");
        is_single(column, path.clone(), cx);
        if let Some(by) = &self.by {
            for (path, column) in by.find(input, &path.join("by"), cx) {
                is_single(column, path, cx);
            }
        }
    }

    pub(super) fn rule(&self, name: &str) -> String {
        let direction = match self.direction {
            Direction::Increasing => "increasing",
            Direction::Decreasing => "decreasing",
        };
        let strictly = if self.strict { "strictly " } else { "" };
        let by = match &self.by {
            Some(by) => format!(" by {}", by.to_vec().join(", ")),
            None => String::new(),
        };
        format!("{name} is {strictly}{direction}{by}")
    }
}

/// Whether the column's values can be compared; lists and arrays are reported.
pub(super) fn is_single(column: &Column, path: ParamPath, cx: &mut CheckContext<'_>) -> bool {
    let fits = !column.dtype.is_nested();
    if !fits {
        columns::report_type(column, "single values to compare", path, cx);
    }
    fits
}

impl Reference {
    pub(super) fn check(
        &self,
        columns: &[&Column],
        inputs: &[Schema],
        at: &ParamPath,
        cx: &mut CheckContext<'_>,
    ) {
        let path = at.join("references");
        let Some(other) = inputs.iter().find(|input| input.facts.stage == self.stage) else {
            let known: Vec<&str> = inputs
                .iter()
                .map(|input| input.facts.stage.as_str())
                .collect();
            let help = match taktline_core::closest(&self.stage, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "name it as a further input: `from: [{}, {}]`",
                    known.join(", "),
                    self.stage
                ),
            };
            cx.report(
                Problem::error(
                    "unknown-stage",
                    path.join("stage"),
                    format!(
                        "stage `{}` looks values up in `{}`, which is not one of its inputs",
                        cx.stage, self.stage
                    ),
                )
                .label("not an input")
                .help(help),
            );
            return;
        };
        let names = self.column.to_vec();
        if names.len() != columns.len() {
            cx.report(
                Problem::error(
                    "wrong-count",
                    path.join("column"),
                    format!(
                        "stage `{}` looks up the values of {} columns in {}",
                        cx.stage,
                        columns.len(),
                        names.len()
                    ),
                )
                .label("as many columns are needed, in the same order"),
            );
            return;
        }
        for ((path, name), column) in self.column.located(&path.join("column")).zip(columns) {
            let Some(there) = other.column(name) else {
                if !other.incomplete {
                    cx.report(
                        Problem::error(
                            "unknown-reference",
                            path,
                            format!(
                                "stage `{}` looks values up in `{name}` of `{}`, which does not have it",
                                cx.stage, self.stage
                            ),
                        )
                        .label("no such column")
                        .help_if(did_you_mean(name, other.names())),
                    );
                }
                continue;
            };
            let one = Expression::column(name);
            if is_single(there, path.clone(), cx)
                && comparison_type((&one, &column.dtype), (&one, &there.dtype)).is_err()
            {
                let found = type_name(&there.dtype);
                cx.report(
                    Problem::error(
                        "type-mismatch",
                        path,
                        format!(
                            "stage `{}` looks up `{}` ({}) in `{name}` of `{}`, which is {found}",
                            cx.stage,
                            column.name,
                            type_name(&column.dtype),
                            self.stage
                        ),
                    )
                    .label(format!("this is {found}"))
                    .help("give both one type with `clean.cast` above"),
                );
            }
        }
    }

    pub(super) fn rule(&self, names: &[&str]) -> String {
        format!(
            "{} in {}.{}",
            names.join(", "),
            self.stage,
            self.column.to_vec().join(", ")
        )
    }

    /// Rows whose values are not there.
    pub(super) fn broken(
        &self,
        names: &[&str],
        frame: &Frame,
        others: &[Frame],
    ) -> Result<Vec<usize>> {
        let other = others
            .iter()
            .chain([frame])
            .find(|other| other.schema.facts.stage == self.stage)
            .ok_or_else(|| {
                Error::data(format!("`{}` is not an input of this stage", self.stage))
            })?;
        let there: Vec<&str> = self.column.iter().collect();
        unmatched(&frame.data, names, &other.data, &there)
    }
}

impl KeyRule {
    fn names(&self) -> Vec<&str> {
        self.columns.iter().map(String::as_str).collect()
    }

    pub(super) fn check(&self, at: &ParamPath, inputs: &[Schema], cx: &mut CheckContext<'_>) {
        if !self.unique && self.references.is_none() {
            cx.report(
                Problem::error(
                    "empty-rule",
                    at.clone(),
                    format!("stage `{}` expects nothing here", cx.stage),
                )
                .label("what must these columns be?")
                .help("give `unique` or `references`"),
            );
        }
        let names = columns::Names::Many(self.columns.clone());
        let found = names.find(columns::input(inputs), &at.join("columns"), cx);
        let single = found
            .iter()
            .filter(|(path, column)| is_single(column, path.clone(), cx))
            .count();
        if let Some(reference) = &self.references
            && single == self.columns.len()
        {
            let found: Vec<&Column> = found.into_iter().map(|(_, column)| column).collect();
            reference.check(&found, inputs, at, cx);
        }
    }

    pub(super) fn examine(&self, frame: &Frame, others: &[Frame]) -> Result<Vec<Expectation>> {
        let names = self.names();
        let rows = frame.data.height();
        let is_private = names.iter().any(|name| is_private(&frame.schema, name));
        let show = |row| example(&frame.data, &names, is_private, row);
        let mut found = Vec::new();
        if self.unique {
            let verb = if names.len() == 1 {
                "is"
            } else {
                "are together"
            };
            let rule = format!("{} {verb} unique", names.join(", "));
            let broken = repeated(&frame.data, &names)?;
            found.push(Told::new(rule, self.allow, self.severity).found(rows, broken, show));
        }
        if let Some(reference) = &self.references {
            let broken = reference.broken(&names, frame, others)?;
            let told = Told::new(reference.rule(&names), self.allow, self.severity);
            found.push(told.found(rows, broken, show));
        }
        Ok(found)
    }
}
