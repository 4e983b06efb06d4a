//! What all classifiers check alike: their target, the rows' weights, and the columns that they add.

use polars::prelude::DataType;

use crate::{
    CheckContext, Classes, Column, Error, Label, ParamPath, Problem, Result, Role, Schema, path,
    quoted, type_name, unknown_label,
};

/// The column of predicted labels.
pub const PREDICTION: &str = "prediction";
/// The column with the probability of the positive class, where there are two.
pub const SCORE: &str = "score";
/// The columns with the probability of a class begin with this; its label follows.
pub const PROBABILITY: &str = "probability_";

/// Finds the target column and reports what is wrong with it.
pub fn check_target<'a>(
    input: &'a Schema,
    named: Option<&str>,
    can_hold: impl Fn(&DataType) -> bool,
    cx: &mut CheckContext<'_>,
) -> Option<&'a Column> {
    let (column, place) = find_target(input, named, cx)?;
    if !can_hold(&column.dtype) {
        let message = format!(
            "the target `{}` is {}, which holds no class labels",
            column.name,
            type_name(&column.dtype)
        );
        cx.report(Problem::error("wrong-type", place, message).help(
            "a classifier learns text, whole numbers, true or false; cast the column above the model",
        ));
    }
    Some(column)
}

/// The target column and the place in the spec that says so; reports where there is none.
pub(crate) fn find_target<'a>(
    input: &'a Schema,
    named: Option<&str>,
    cx: &mut CheckContext<'_>,
) -> Option<(&'a Column, ParamPath)> {
    match named {
        Some(name) => {
            let column = input.column(name);
            if column.is_none() {
                cx.report(unknown_column(input, name, path!["target"]));
            }
            Some((column?, path!["target"]))
        }
        None => {
            let column = input.target();
            if column.is_none() && !input.incomplete {
                cx.report(no_target(input));
            }
            Some((column?, ParamPath::kind()))
        }
    }
}

fn no_target(input: &Schema) -> Problem {
    let targets: Vec<&Column> = input.with_role(Role::Target).collect();
    let message = match targets.as_slice() {
        [] => "no column has the role `target`, so there is nothing to learn".to_owned(),
        several => format!(
            "{} have the role `target`; a model learns one",
            quoted_columns(several)
        ),
    };
    Problem::error("no-target", ParamPath::kind(), message)
        .help("say `target: NAME`, or give one column `role: target` under `columns:`")
}

/// Reports a target of whole numbers, which may be classes or amounts, where nothing says what is to be learned.
pub fn report_unknown_task(target: &Column, cx: &mut CheckContext<'_>) {
    let message = format!(
        "the target `{}` is {}, which may be classes or amounts",
        target.name,
        type_name(&target.dtype)
    );
    cx.report(
        Problem::error("task-unknown", ParamPath::kind(), message)
            .help("say `task: classification` or `task: regression`"),
    );
}

/// The target's name: what is named, or the column with that role.
pub fn target_name(named: Option<&String>, input: &Schema) -> Option<String> {
    named
        .or_else(|| input.target().map(|column| &column.name))
        .cloned()
}

/// Reports more than one weight column, or one that is not a number.
pub fn check_weights(input: &Schema, cx: &mut CheckContext<'_>) {
    let weights: Vec<&Column> = input.with_role(Role::Weight).collect();
    if weights.len() > 1 {
        cx.report(
            Problem::error(
                "two-weights",
                ParamPath::kind(),
                format!(
                    "{} have the role `weight`; one can",
                    quoted_columns(&weights)
                ),
            )
            .help("give the others `role: ignore` under `columns:`"),
        );
    }
    for column in weights.iter().filter(|column| !column.is_numeric()) {
        cx.report(Problem::error(
            "not-numeric",
            ParamPath::kind(),
            format!(
                "the weight `{}` is {}, not a number",
                column.name,
                type_name(&column.dtype)
            ),
        ));
    }
}

/// The classes of a target, as far as they are known before any row is read.
pub fn known_classes(target: &Column) -> Option<Vec<String>> {
    match &target.dtype {
        DataType::Boolean => Some(vec!["false".into(), "true".into()]),
        _ => target.categories.clone(),
    }
}

/// The input with the columns that predictions add; reports those whose names are taken.
///
/// `prediction` is the type of the predicted labels; `is_binary` says that there are two classes, even where the schema does not.
pub fn with_predictions(
    input: &Schema,
    target: Option<&Column>,
    prediction: impl FnOnce(&DataType) -> DataType,
    is_binary: bool,
    cx: &mut CheckContext<'_>,
) -> Schema {
    let classes = target.and_then(known_classes);
    let is_binary = is_binary || classes.as_ref().is_some_and(|classes| classes.len() == 2);
    let mut added = Vec::new();
    if let Some(target) = target {
        let mut column = Column::new(PREDICTION, prediction(&target.dtype));
        column.categories.clone_from(&target.categories);
        added.push(column);
    }
    if is_binary {
        added.push(Column::new(SCORE, DataType::Float64));
    }
    for class in classes.iter().flatten() {
        added.push(Column::new(
            format!("{PROBABILITY}{class}"),
            DataType::Float64,
        ));
    }
    let is_open = classes.is_none();
    report_taken(input, target, &added, is_open, cx);
    let mut output = with_columns(input, target, added);
    // Only the rows tell the labels of a text or number column.
    output.incomplete |= is_open;
    output.facts.lacks_classes_only = is_open && !input.incomplete;
    output.facts.classes = classes;
    output
}

/// The input with the columns that a model adds which tells no classes; reports those whose names are taken.
pub fn with_outputs(
    input: &Schema,
    target: Option<&Column>,
    added: Vec<Column>,
    cx: &mut CheckContext<'_>,
) -> Schema {
    report_taken(input, target, &added, false, cx);
    with_columns(input, target, added)
}

fn with_columns(input: &Schema, target: Option<&Column>, added: Vec<Column>) -> Schema {
    let mut output = input.clone();
    for column in added {
        output.set(column.with_role(Role::Internal));
    }
    output.facts.model_target = target.map(|target| target.name.clone());
    output.facts.learned_elsewhere = false;
    output.facts.classes = None;
    output
}

fn report_taken(
    input: &Schema,
    target: Option<&Column>,
    added: &[Column],
    is_open: bool,
    cx: &mut CheckContext<'_>,
) {
    let is_added = |column: &&Column| added.iter().any(|other| other.name == column.name);
    let (taken, others): (Vec<&Column>, Vec<&Column>) = input.columns.iter().partition(is_added);
    let is_earlier = input.facts.model_target.is_some();
    let help = |columns: &[&Column]| match columns {
        _ if is_earlier && columns.iter().all(|column| column.role == Role::Internal) => {
            "a model above made them: let this one read the stage that that one reads, with `from:`"
                .to_owned()
        }
        [first, ..] => format!(
            "give it another name above: `- clean.rename: {{columns: {{{0}: own_{0}}}}}`",
            first.name
        ),
        [] => String::new(),
    };
    if !taken.is_empty() {
        let message = format!(
            "the model `{}` adds {}, which its input already has",
            cx.stage,
            quoted_columns(&taken)
        );
        cx.report(
            Problem::error("name-taken", ParamPath::kind(), message)
                .label("what it holds would be lost")
                .help(help(&taken)),
        );
    }
    let possible: Vec<&Column> = others
        .into_iter()
        .filter(|column| is_open && is_of_classes(&column.name))
        .collect();
    if let (Some(target), false) = (target, possible.is_empty()) {
        let message = format!(
            "the model `{}` may add {}, which its input already has",
            cx.stage,
            quoted_columns(&possible)
        );
        cx.report(
            Problem::warning("name-taken", ParamPath::kind(), message)
                .label(format!("the rows tell the classes of `{}`", target.name))
                .help(help(&possible)),
        );
    }
}

/// Of two classes, the place of the one that `score` is the probability of.
///
/// # Errors
/// A positive label that is none of two.
pub fn positive_class(positive: Option<&Label>, classes: &[String]) -> Result<Option<usize>> {
    let name = match positive {
        Some(label) if classes.len() == 2 && classes.contains(&label.0) => Some(label.0.as_str()),
        Some(label) => {
            return Err(Error::data(format!(
                "`positive: {label}` needs a target of two labels of which it is one; the training rows have {}",
                quoted(classes)
            )));
        }
        None if classes.len() == 2 => Classes::positive(classes),
        None => None,
    };
    Ok(name.and_then(|name| classes.iter().position(|class| class == name)))
}

/// Reports a positive label that the target does not have, or that is one of more than two.
pub fn check_positive(
    positive: Option<&Label>,
    classes: Option<&[String]>,
    cx: &mut CheckContext<'_>,
) {
    let (Some(positive), Some(classes)) = (positive, classes) else {
        return;
    };
    if !classes.contains(&positive.0) {
        cx.report(unknown_label(positive, classes, path!["positive"]));
    }
    if classes.len() > 2 {
        cx.report(
            Problem::error(
                "not-binary",
                path!["positive"],
                format!("the target has {} classes", classes.len()),
            )
            .help("`positive` is for two classes; leave it out"),
        );
    }
}

/// Whether a model may add a column of that name once the rows have told its classes.
pub(crate) fn is_of_classes(name: &str) -> bool {
    name == SCORE || name.starts_with(PROBABILITY)
}

/// "reads `imgae`, which its input does not have".
pub fn unknown_column(input: &Schema, name: &str, place: ParamPath) -> Problem {
    Problem::error(
        "unknown-column",
        place,
        format!("there is no column `{name}` in the rows that it reads"),
    )
    .of_column(name)
    .help_if(input.suggestion(name))
}

fn quoted_columns(columns: &[&Column]) -> String {
    columns
        .iter()
        .map(|column| format!("`{}`", column.name))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Capabilities, Severity};

    fn predicted(input: &Schema) -> (Schema, Vec<Problem>) {
        let capabilities = Capabilities::default();
        let mut cx = CheckContext {
            stage: "classifier",
            seed: 7,
            directory: Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        let output = with_predictions(input, input.target(), DataType::clone, false, &mut cx);
        (output, cx.problems)
    }

    fn input(target: Column, others: &[&str]) -> Schema {
        let mut columns = vec![target.with_role(Role::Target)];
        columns.extend(
            others
                .iter()
                .map(|name| Column::new(*name, DataType::Float64)),
        );
        Schema::new(columns)
    }

    #[test]
    fn names_that_predictions_take_are_errors() {
        let (output, problems) = predicted(&input(
            Column::new("prediction", DataType::Boolean),
            &["amount", "score", "probability_web"],
        ));
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert_eq!(
            (problems[0].code, problems[0].severity),
            ("name-taken", Severity::Error)
        );
        assert!(
            problems[0].message.contains("`prediction`, `score`,"),
            "{}",
            problems[0].message
        );
        assert!(problems[0].help[0].contains("{prediction: own_prediction}"));
        assert!(!output.incomplete);
        let names: Vec<&str> = output.names().collect();
        assert_eq!(
            names,
            [
                "prediction",
                "amount",
                "score",
                "probability_web",
                "probability_false",
                "probability_true"
            ]
        );
        assert_eq!(output.facts.model_target.as_deref(), Some("prediction"));
        let (_, problems) = predicted(&input(Column::new("fraud", DataType::Boolean), &["amount"]));
        assert!(problems.is_empty(), "{problems:#?}");
    }

    #[test]
    fn names_that_predictions_may_take_are_warned_of() {
        let (output, problems) = predicted(&input(
            Column::new("kind", DataType::String),
            &["score", "probability_web", "amount"],
        ));
        assert!(output.incomplete);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert_eq!(problems[0].severity, Severity::Warning);
        assert!(
            problems[0].message.contains("`score`, `probability_web`,"),
            "{}",
            problems[0].message
        );
    }

    #[test]
    fn a_second_model_reads_the_stage_above_the_first() {
        let (first, problems) = predicted(&input(Column::new("fraud", DataType::Boolean), &["a"]));
        assert!(problems.is_empty(), "{problems:#?}");
        let (_, problems) = predicted(&first);
        assert!(
            problems[0].message.contains("`probability_true`"),
            "{problems:#?}"
        );
        assert!(problems[0].help[0].contains("`from:`"));
    }

    #[test]
    fn the_positive_class_is_said_or_the_usual_one() {
        let of = |positive: Option<&str>, classes: &[&str]| {
            let positive = positive.map(|label| Label(label.to_owned()));
            let classes: Vec<String> = classes.iter().map(|class| (*class).to_owned()).collect();
            positive_class(positive.as_ref(), &classes)
        };
        assert_eq!(of(None, &["false", "true"]).expect("two"), Some(1));
        assert_eq!(of(None, &["1", "2"]).expect("two"), Some(0));
        assert_eq!(of(None, &["bad", "good"]).expect("two"), Some(1));
        assert_eq!(of(Some("bad"), &["bad", "good"]).expect("two"), Some(0));
        assert_eq!(of(None, &["a", "b", "c"]).expect("three"), None);
        for (positive, classes) in [("a", &["a", "b", "c"][..]), ("c", &["a", "b"])] {
            let error = of(Some(positive), classes).expect_err("none of two");
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("`positive: {positive}` needs")),
                "{error}"
            );
        }
    }
}
