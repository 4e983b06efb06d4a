//! What all models that read tables check alike: the columns that they learn from.

use crate::{CheckContext, Column, PARTITION, Problem, Role, Schema, classifier, path, type_name};

/// The names of the columns to learn from: those that the spec names, or every column with role `feature` that `accepts` takes;
/// never the target.
pub fn names(
    named: Option<&[String]>,
    target: Option<&str>,
    input: &Schema,
    accepts: impl Fn(&Column) -> bool,
) -> Vec<String> {
    match named {
        Some(features) => input.expand(features.iter().map(String::as_str)),
        None => with_role(input, target)
            .filter(|column| accepts(column))
            .map(|column| column.name.clone())
            .collect(),
    }
}

/// Reports named features that are unknown, named twice, the target, or not numbers, and, where none are named, columns with role
/// `feature` that `accepts` does not take.
pub fn check(
    named: Option<&[String]>,
    target: Option<&str>,
    input: &Schema,
    accepts: impl Fn(&Column) -> bool,
    cx: &mut CheckContext<'_>,
) {
    let Some(features) = named else {
        let others: Vec<String> = with_role(input, target)
            .filter(|column| !accepts(column))
            .map(|column| format!("`{}` ({})", column.name, type_name(&column.dtype)))
            .collect();
        if !others.is_empty() {
            cx.report(
                Problem::error("not-numeric", path![], format!("not numbers, so no features: {}", others.join(", ")))
                    .label("learns from every column with role `feature`")
                    .help(
                        "encode them (`features.one_hot`), give them another role (`id`, `ignore`) under `columns:`, or list `features:`",
                    ),
            );
        } else if with_role(input, target).next().is_none() && !input.incomplete {
            cx.report(Problem::error(
                "no-features",
                path![],
                "no column has the role `feature`",
            ));
        }
        return;
    };
    for (index, name) in features.iter().enumerate() {
        let place = path!["features", index];
        if features[..index].contains(name) {
            cx.report(Problem::error(
                "duplicate",
                place,
                format!("the feature `{name}` is named twice"),
            ));
            continue;
        }
        match input.column(name) {
            None => cx.report(classifier::unknown_column(input, name, place)),
            Some(column) if Some(column.name.as_str()) == target => cx.report(Problem::error(
                "target-leak",
                place,
                format!("`{name}` is the target, not a feature"),
            )),
            Some(column) if !accepts(column) => cx.report(
                Problem::error(
                    "not-numeric",
                    place,
                    format!(
                        "the feature `{name}` is {}, not a number",
                        type_name(&column.dtype)
                    ),
                )
                .help("encode it above the model (`features.one_hot`)"),
            ),
            Some(_) => {}
        }
    }
}

fn with_role<'a>(input: &'a Schema, target: Option<&'a str>) -> impl Iterator<Item = &'a Column> {
    input
        .with_role(Role::Feature)
        .filter(move |column| column.name != PARTITION && Some(column.name.as_str()) != target)
}
