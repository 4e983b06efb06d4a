//! What the estimators over number columns share: which columns, and their training values.

use std::collections::BTreeSet;

use polars::prelude::{DataFrame, DataType};
use taktline_core::{
    CheckContext, Error, FitContext, ParamPath, Problem, ProgressEvent, Result, Role, Schema,
    counted, path,
};

use crate::columns::{self, Names};

/// The columns that are named, or all features that are real numbers.
pub(super) fn chosen(named: Option<&Names>, input: &Schema) -> Vec<String> {
    match named {
        Some(names) => names.to_vec(),
        None => input
            .with_role(Role::Feature)
            .filter(|column| column.dtype.is_float())
            .map(|column| column.name.clone())
            .collect(),
    }
}

/// The chosen columns that exist and hold numbers; the others are reported.
pub(super) fn check(
    named: Option<&Names>,
    input: &Schema,
    cx: &mut CheckContext<'_>,
) -> Vec<String> {
    let Some(names) = named else {
        let chosen = chosen(None, input);
        if chosen.is_empty() && !input.incomplete {
            cx.report(
                Problem::error(
                    "no-columns",
                    ParamPath::kind(),
                    format!(
                        "stage `{}` finds no feature that is a real number",
                        cx.stage
                    ),
                )
                .help(
                    "name the columns with `columns`; whole numbers count only when they are named",
                ),
            );
        }
        return chosen;
    };
    names
        .find(input, &path!["columns"], cx)
        .into_iter()
        .filter_map(|(path, column)| {
            columns::is_number(column, path, cx).then(|| column.name.clone())
        })
        .collect()
}

/// The columns that a scaler takes; where none are named, warns of the whole numbers that keep their scale.
pub(super) fn check_scaled(
    named: Option<&Names>,
    input: &Schema,
    cx: &mut CheckContext<'_>,
) -> Vec<String> {
    let chosen = check(named, input, cx);
    if named.is_none() && !chosen.is_empty() {
        tell_left(input, cx);
    }
    chosen
}

fn tell_left(input: &Schema, cx: &mut CheckContext<'_>) {
    const SHOWN: usize = 5;
    let left: Vec<String> = input
        .with_role(Role::Feature)
        .filter(|column| column.dtype.is_integer() && column.categories.is_none())
        // The indicators that other stages make.
        .filter(|column| column.dtype != DataType::UInt8)
        .map(|column| format!("`{}`", column.name))
        .collect();
    if left.is_empty() {
        return;
    }
    let more = match left.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = left[..left.len().min(SHOWN)].join(", ");
    cx.report(
        Problem::warning(
            "whole-numbers-left",
            ParamPath::kind(),
            format!(
                "stage `{}` leaves {} at the old scale: {shown}{more}",
                cx.stage,
                counted(left.len(), "whole-number feature")
            ),
        )
        .label("scales real numbers where no columns are named")
        .help("name the columns with `columns`: these too, or only those that are wanted"),
    );
}

/// The chosen columns, as a set.
pub(super) fn reads(named: Option<&Names>, input: &Schema) -> BTreeSet<String> {
    chosen(named, input).into_iter().collect()
}

/// The training values of a column, without nulls, in row order.
///
/// # Errors
/// No value at all, or one that is infinite or not a number: it would make every value so.
pub(super) fn training_values(train: &DataFrame, name: &str) -> Result<Vec<f64>> {
    let column = train.column(name)?.cast(&DataType::Float64)?;
    let column = column.f64()?;
    let mut values = Vec::with_capacity(column.len() - column.null_count());
    for (row, value) in column.iter().enumerate() {
        let Some(value) = value else { continue };
        if !value.is_finite() {
            return Err(Error::data(format!(
                "`{name}` is {value} in training row {}: nothing can be learned from it; filter it out or put null in its place first",
                row + 1
            )));
        }
        values.push(value);
    }
    if values.is_empty() {
        return Err(Error::data(format!(
            "`{name}` has no value in the training rows to learn from"
        )));
    }
    Ok(values)
}

/// Tells the user that a column says nothing.
pub(super) fn warn_constant(name: &str, value: f64, cx: &FitContext<'_>) {
    cx.progress.event(ProgressEvent::Message(format!(
        "`{name}` is {value} in every training row, so that it tells the model nothing"
    )));
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;

    #[test]
    fn nulls_are_passed_over_and_other_odd_values_refused() {
        let train = df!("a" => [Some(1.0), None, Some(3.0)], "b" => [1.0, f64::NAN, 2.0], "c" => [None::<f64>, None, None])
            .expect("a frame");
        assert_eq!(training_values(&train, "a").expect("values"), [1.0, 3.0]);
        let error = training_values(&train, "b")
            .expect_err("not a number")
            .to_string();
        assert!(error.starts_with("`b` is NaN in training row 2"), "{error}");
        assert!(training_values(&train, "c").is_err());
    }
}
