//! The text columns that a stage works on, for kinds that change text in place.

use taktline_core::{
    CheckContext, Column, Expression, Operation, ParamPath, Problem, Role, Schema, path,
};

use crate::columns::{self, Names};
use polars::prelude::DataType;

/// The columns that are named and there, or all text columns of the user's data.
pub(super) fn chosen<'s>(named: Option<&Names>, input: &'s Schema) -> Vec<&'s Column> {
    match named {
        // Scoring brings only the columns that the model needs.
        Some(names) => names.iter().filter_map(|name| input.column(name)).collect(),
        None => input
            .columns
            .iter()
            .filter(|column| column.dtype == DataType::String && column.role != Role::Internal)
            .collect(),
    }
}

/// Reports columns that do not exist or hold no text, and a frame without text.
pub(super) fn check(named: Option<&Names>, input: &Schema, cx: &mut CheckContext<'_>) {
    let Some(names) = named else {
        if chosen(None, input).is_empty() && !input.incomplete {
            let message = format!("stage `{}` finds no text column", cx.stage);
            cx.report(
                Problem::error("no-columns", ParamPath::kind(), message)
                    .help("`clean.cast` makes text of other columns"),
            );
        }
        return;
    };
    for (path, name) in names.located(&path!["columns"]) {
        columns::is_allowed(name, path, cx);
    }
    for (path, column) in names.find(input, &path!["columns"], cx) {
        if column.dtype != DataType::String {
            columns::report_type(column, "text", path, cx);
        }
    }
}

/// The operation that changes each of these columns in place; what is no text stays.
pub(super) fn changed(
    chosen: &[&Column],
    change: impl Fn(Expression) -> Expression,
) -> Vec<Operation> {
    let made: Vec<(String, Expression)> = chosen
        .iter()
        .filter(|column| column.dtype == DataType::String)
        .map(|column| {
            (
                column.name.clone(),
                change(Expression::column(&column.name)),
            )
        })
        .collect();
    if made.is_empty() {
        return Vec::new();
    }
    vec![Operation::With(made)]
}
