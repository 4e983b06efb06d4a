//! The target as numbers, for estimators that learn from it.

use std::collections::BTreeSet;

use polars::prelude::DataType;
use taktline_core::{
    CheckContext, Classes, Column, Error, Frame, Label, ParamPath, Problem, Result, Schema,
};

use crate::{columns::Names, training};

/// The amounts in the target column, in row order.
///
/// # Errors
/// A row without one, and one that is infinite or not a number.
pub(super) fn amounts(train: &Frame, name: &str) -> Result<Vec<f64>> {
    let column = train.data.column(name)?.cast(&DataType::Float64)?;
    column
        .f64()?
        .iter()
        .enumerate()
        .map(|(row, value)| match value {
            Some(value) if value.is_finite() => Ok(value),
            other => {
                let found = other.map_or_else(|| "null".to_owned(), |value| value.to_string());
                Err(Error::data(format!(
                    "the target `{name}` is {found} in training row {}; drop such rows first with `clean.filter`",
                    row + 1
                )))
            }
        })
        .collect()
}

/// The classes in the target column.
///
/// # Errors
/// Rows without a class.
pub(super) fn classes(train: &Frame, name: &str) -> Result<Classes> {
    let known = train
        .schema
        .column(name)
        .and_then(|column| column.categories.as_deref());
    Classes::of(train.data.column(name)?, known)
}

/// 1 for each row of that class, 0 for the others.
pub(super) fn indicator(classes: &Classes, place: usize) -> Vec<f64> {
    classes
        .codes
        .iter()
        .map(|code| f64::from(u8::from(*code as usize == place)))
        .collect()
}

/// The place of the class that is looked for, of two: the one that is named, else `true`, else `1`, else the last.
///
/// # Errors
/// Other than two classes in the training rows, and a name that is none of them; `more` says what to do with more.
pub(super) fn positive(
    classes: &Classes,
    named: Option<&Label>,
    target: &str,
    more: &str,
) -> Result<usize> {
    let labels = &classes.labels;
    match labels.len() {
        0 => return Err(Error::data("there are no training rows to learn from")),
        1 => {
            return Err(Error::data(format!(
                "the target `{target}` is `{}` in all training rows, so that there is nothing to learn",
                labels[0]
            )));
        }
        2 => {}
        count => {
            return Err(Error::data(format!(
                "the target `{target}` has {count} classes in the training rows, where two are needed; {more}"
            )));
        }
    }
    let wanted = match named {
        Some(label) => Some(label.0.as_str()),
        None => Classes::positive(labels),
    };
    labels
        .iter()
        .position(|label| Some(label.as_str()) == wanted)
        .ok_or_else(|| {
            Error::data(format!(
                "the target `{target}` is never `{}` in the training rows: its classes are `{}` and `{}`",
                wanted.unwrap_or_default(),
                labels[0],
                labels[1]
            ))
        })
}

/// The target of a checked stage.
pub(super) fn target(named: Option<&str>, train: &Frame) -> Result<String> {
    training::target_name(named, &train.schema)
        .ok_or_else(|| Error::data("no column has the role `target`"))
}

/// The columns and the target.
pub(super) fn reads(columns: &Names, target: Option<String>) -> BTreeSet<String> {
    columns.iter().map(str::to_owned).chain(target).collect()
}

/// Whether the column is the target itself, which says nothing about itself; reports it.
pub(super) fn is_the_target(
    column: &Column,
    target: Option<&str>,
    path: &ParamPath,
    input: &Schema,
    cx: &mut CheckContext<'_>,
) -> bool {
    let is_target = training::target_name(target, input).as_deref() == Some(column.name.as_str());
    if is_target {
        cx.report(
            Problem::error(
                "target-leak",
                path.clone(),
                format!(
                    "stage `{}` would make a feature of its target `{}`",
                    cx.stage, column.name
                ),
            )
            .label("this is the target"),
        );
    }
    is_target
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;
    use crate::columns::testing::frame;

    #[test]
    fn amounts_are_finite_numbers() {
        let train = frame(
            df!("n" => [1_i32, 2], "x" => [Some(0.5), None], "y" => [1.0, f64::INFINITY])
                .expect("a frame"),
        );
        assert_eq!(amounts(&train, "n").expect("numbers"), [1.0, 2.0]);
        let error = |name: &str| amounts(&train, name).expect_err("refused").to_string();
        assert!(error("x").starts_with("the target `x` is null in training row 2"));
        assert!(error("y").starts_with("the target `y` is inf in training row 2"));
    }

    #[test]
    fn one_of_two_classes_is_looked_for() {
        let train = frame(
            df!("bad" => [true, false, true], "kind" => ["a", "b", "c"], "one" => [1, 1, 1])
                .expect("a frame"),
        );
        let found = |name: &str, label: Option<&str>| {
            let classes = classes(&train, name).expect("classes");
            let label = label.map(|label| Label(label.to_owned()));
            positive(&classes, label.as_ref(), name, "do something else")
                .map_err(|error| error.to_string())
        };
        assert_eq!(found("bad", None), Ok(1));
        assert_eq!(found("bad", Some("false")), Ok(0));
        assert_eq!(
            found("bad", Some("yes")),
            Err("the target `bad` is never `yes` in the training rows: its classes are `false` and `true`".to_owned())
        );
        assert_eq!(
            found("kind", None),
            Err("the target `kind` has 3 classes in the training rows, where two are needed; do something else".to_owned())
        );
        assert!(
            found("one", None)
                .expect_err("one class")
                .contains("is `1` in all training rows")
        );
        assert_eq!(
            indicator(&classes(&train, "bad").expect("classes"), 1),
            [1.0, 0.0, 1.0]
        );
    }
}
