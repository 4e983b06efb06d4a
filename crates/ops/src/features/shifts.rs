//! What `features.lag`, `features.lead` and `features.diff` share: distances in rows, and values at a distance.

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    Aggregate, BinaryOperator, CheckContext, Column, Expression, Literal, Operation, ParamPath,
    Problem, Schema, WindowFrame, output_schema, path,
};

use super::rolling::check_groups;
use crate::columns::{self, Names};

/// Distances in rows.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Steps {
    /// One distance.
    One(#[schemars(range(min = 1, max = 100_000))] u32),
    /// Several distances.
    Many(#[schemars(length(min = 1), inner(range(min = 1, max = 100_000)))] Vec<u32>),
}

pub(super) fn one_step() -> Steps {
    Steps::One(1)
}

impl Steps {
    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(steps) => std::slice::from_ref(steps),
            Self::Many(steps) => steps,
        }
    }
}

/// New columns and what is in them.
pub(super) type Made = Vec<(String, Expression)>;

/// Values at a distance, for each of some columns.
pub(super) struct Shift<'a> {
    pub(super) by: Option<&'a Names>,
    pub(super) over: Option<&'a str>,
    pub(super) columns: &'a Names,
    pub(super) steps: &'a Steps,
    /// New columns of a column at a distance.
    pub(super) made: &'a dyn Fn(&str, u32) -> Made,
    /// The window of a distance.
    pub(super) frame: fn(usize) -> WindowFrame,
}

impl Shift<'_> {
    pub(super) fn operations(&self, over: &str) -> Vec<Operation> {
        let by = self.by.map(Names::to_vec).unwrap_or_default();
        self.steps
            .as_slice()
            .iter()
            .map(|steps| Operation::Window {
                by: by.clone(),
                over: over.to_owned(),
                frame: (self.frame)(*steps as usize + 1),
                aggregates: self
                    .columns
                    .iter()
                    .flat_map(|column| (self.made)(column, *steps))
                    .collect(),
            })
            .collect()
    }

    /// The operations for a frame that may have fewer columns than the one that was checked.
    pub(super) fn lowered(&self, input: &Schema) -> Vec<Operation> {
        columns::time_name(self.over, input)
            .map(|over| columns::possible(self.operations(&over), input))
            .unwrap_or_default()
    }

    /// The schema after it; `fits` says whether a column has values of a fit type, and reports it else.
    pub(super) fn check(
        &self,
        inputs: &[Schema],
        fits: impl Fn(&Column, ParamPath, &mut CheckContext<'_>) -> bool,
        cx: &mut CheckContext<'_>,
    ) -> Schema {
        let input = columns::input(inputs);
        check_groups(self.by, input, cx);
        let over = columns::time_column(self.over, input, path!["over"], cx);
        for (path, column) in self.columns.find(input, &path!["columns"], cx) {
            if !fits(column, path.clone(), cx) {
                continue;
            }
            for steps in self.steps.as_slice() {
                for (name, _) in (self.made)(&column.name, *steps) {
                    columns::is_free(input, &name, path.clone(), cx);
                }
            }
        }
        let steps = self.steps.as_slice();
        for (index, distance) in steps.iter().enumerate() {
            if steps[..index].contains(distance) {
                let message = format!("stage `{}` names {distance} steps twice", cx.stage);
                cx.report(
                    Problem::error("duplicate-name", path!["steps", index], message)
                        .label("named before"),
                );
            }
        }
        let over = over.map(|column| column.name.as_str()).unwrap_or_default();
        output_schema(&self.operations(over), inputs)
    }
}

/// Whether a column holds single values.
pub(super) fn is_single(column: &Column, path: ParamPath, cx: &mut CheckContext<'_>) -> bool {
    let fits = !matches!(column.dtype, DataType::Array(..) | DataType::List(_));
    if !fits {
        columns::report_type(column, "columns of single values", path, cx);
    }
    fits
}

/// The first or last value of the window.
pub(super) fn end_of_window(end: Aggregate, column: &str) -> Expression {
    Expression::Aggregate(end, Some(Box::new(Expression::column(column))))
}

/// The value, where the window is full; null where the group has no row at that distance.
pub(super) fn where_full(steps: u32, value: Expression) -> Expression {
    let is_full = Expression::Aggregate(Aggregate::Count, None)
        .binary(BinaryOperator::Equal, Expression::int(i64::from(steps) + 1));
    Expression::Case {
        branches: vec![(is_full, value)],
        otherwise: Box::new(Expression::Literal(Literal::Null)),
    }
}
