//! What all models of numbers check alike: their target and the columns that they add.

use polars::prelude::DataType;

use crate::{
    CheckContext, Column, Problem, Schema,
    classifier::{self, PREDICTION},
    type_name,
};

/// The lower end of the interval that should hold the true value.
pub const LOWER: &str = "lower";
/// The upper end of the interval that should hold the true value.
pub const UPPER: &str = "upper";

/// Finds the target column and reports what is wrong with it: a model of numbers learns whole or real numbers.
pub fn check_target<'a>(
    input: &'a Schema,
    named: Option<&str>,
    cx: &mut CheckContext<'_>,
) -> Option<&'a Column> {
    let (column, place) = classifier::find_target(input, named, cx)?;
    if !can_hold(&column.dtype) {
        let message = format!(
            "the target `{}` is {}, not a number",
            column.name,
            type_name(&column.dtype)
        );
        cx.report(Problem::error("wrong-type", place, message).help(
            "a regression learns numbers; cast the column above the model, or use a classifier for classes",
        ));
    }
    Some(column)
}

/// Whether a column of this type holds numbers to learn.
pub fn can_hold(dtype: &DataType) -> bool {
    dtype.is_primitive_numeric()
}

/// The input with the columns of f64 that predictions add, `prediction` first; reports those whose names are taken.
///
/// `others` are further outputs: [`LOWER`] and [`UPPER`].
pub fn with_predictions(
    input: &Schema,
    target: Option<&Column>,
    others: &[&str],
    cx: &mut CheckContext<'_>,
) -> Schema {
    let added = std::iter::once(PREDICTION)
        .chain(others.iter().copied())
        .map(|name| Column::new(name, DataType::Float64))
        .collect();
    classifier::with_outputs(input, target, added, cx)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Capabilities, Role};

    #[test]
    fn a_number_is_learned_and_text_is_refused() {
        let capabilities = Capabilities::default();
        let mut cx = CheckContext {
            stage: "strength",
            seed: 7,
            directory: Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        let input = Schema::new(vec![
            Column::new("strength", DataType::Int64).with_role(Role::Target),
            Column::new("lower", DataType::Float64),
            Column::new("grade", DataType::String),
        ]);
        let target = check_target(&input, None, &mut cx);
        let output = with_predictions(&input, target, &[LOWER, UPPER], &mut cx);
        let names: Vec<&str> = output.names().collect();
        assert_eq!(names, ["strength", "lower", "grade", "prediction", "upper"]);
        assert_eq!(output.facts.model_target.as_deref(), Some("strength"));
        assert_eq!(cx.problems.len(), 1, "{:#?}", cx.problems);
        assert_eq!(cx.problems[0].code, "name-taken");
        assert!(check_target(&input, Some("grade"), &mut cx).is_some());
        assert_eq!(
            cx.problems[1].message,
            "the target `grade` is text, not a number"
        );
    }
}
