//! `clean.union`.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Expression, Function, Literal, Operation, ParamPath, Problem, Relational,
    Result, Schema, Shape, Stage, output_schema, path, register_kind, type_name,
};

use crate::columns;

/// Put the rows of several inputs below each other.
///
/// The inputs are named by `from`: their rows come in that order. Columns are matched by name, wherever they stand; the
/// result has them in the order in which they first appear. A column must have the same type in all inputs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Union {
    /// What to do about a column that an input lacks.
    #[serde(default)]
    missing: Missing,
    /// The name of a new column that says which input a row comes from, by the id of its stage; default: none.
    source: Option<String>,
    /// What `source` says instead of the ids, for each input.
    labels: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Missing {
    /// The check refuses it.
    #[default]
    Error,
    /// The rows of that input have null in it.
    Null,
}

register_kind! {
    Union, "clean.union", version: 1,
    example: "- clean.union: {missing: null, source: region}\n  from: [north, south]",
}

/// How an input is called in messages: by its stage, or its number.
pub(super) fn called(inputs: &[Schema], index: usize) -> String {
    match inputs.get(index).map(|input| input.facts.stage.as_str()) {
        Some("") | None => format!("input {}", index + 1),
        Some(id) => format!("`{id}`"),
    }
}

impl Union {
    fn label(&self, inputs: &[Schema], index: usize) -> Expression {
        let id = inputs[index].facts.stage.as_str();
        let label = self
            .labels
            .as_ref()
            .and_then(|labels| labels.get(index))
            .map(String::as_str);
        Expression::text(match label {
            Some(label) => label.to_owned(),
            None if id.is_empty() => (index + 1).to_string(),
            None => id.to_owned(),
        })
    }

    /// Columns that the first input lacks, as the first of the others that has them.
    fn further(inputs: &[Schema]) -> Vec<&Column> {
        let mut further: Vec<&Column> = Vec::new();
        let Some((first, others)) = inputs.split_first() else {
            return further;
        };
        for column in others.iter().flat_map(|input| &input.columns) {
            let is_known = first.column(&column.name).is_some()
                || further.iter().any(|known| known.name == column.name);
            if !is_known {
                further.push(column);
            }
        }
        further
    }

    fn operations(&self, inputs: &[Schema]) -> Vec<Operation> {
        let mut added: Vec<(String, Expression)> = Self::further(inputs)
            .into_iter()
            .map(|column| {
                let null = Expression::Literal(Literal::Null).cast(column.dtype.clone());
                (column.name.clone(), null)
            })
            .collect();
        let Some(source) = self.source.as_ref().filter(|_| !inputs.is_empty()) else {
            let others = Operation::Union {
                others: (1..inputs.len()).collect(),
            };
            return vec![Operation::With(added), others];
        };
        added.push((source.clone(), self.label(inputs, 0)));
        let mut operations = vec![Operation::With(added)];
        for index in 1..inputs.len() {
            // The rows that have just come have no label yet.
            let labelled = Expression::call(
                Function::Coalesce,
                vec![Expression::column(source), self.label(inputs, index)],
            );
            operations.extend([
                Operation::Union {
                    others: vec![index],
                },
                Operation::With(vec![(source.clone(), labelled)]),
            ]);
        }
        operations
    }

    fn check_source(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) {
        let Some(source) = &self.source else {
            if self.labels.is_some() {
                super::groups::report_unused("labels", "there is no `source` column", cx);
            }
            return;
        };
        let taken = inputs.iter().find(|input| input.column(source).is_some());
        columns::is_free(
            taken.unwrap_or(&Schema::default()),
            source,
            path!["source"],
            cx,
        );
        if let Some(labels) = self
            .labels
            .as_ref()
            .filter(|labels| labels.len() != inputs.len())
        {
            let message = format!(
                "stage `{}` has {} labels for {} inputs",
                cx.stage,
                labels.len(),
                inputs.len()
            );
            cx.report(
                Problem::error("wrong-count", path!["labels"], message)
                    .label("one label for each input, in the order of `from`"),
            );
        }
    }

    fn check_types(inputs: &[Schema], cx: &mut CheckContext<'_>) {
        let mut known: Vec<(&Column, usize)> = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            for column in &input.columns {
                match known.iter().find(|(first, _)| first.name == column.name) {
                    None => known.push((column, index)),
                    Some((first, _)) if first.dtype == column.dtype => {}
                    Some((first, place)) => {
                        let message = format!(
                            "stage `{}` cannot put `{}` of {} ({}) below that of {} ({})",
                            cx.stage,
                            column.name,
                            called(inputs, index),
                            type_name(&column.dtype),
                            called(inputs, *place),
                            type_name(&first.dtype),
                        );
                        cx.report(
                            Problem::error("type-mismatch", ParamPath::kind(), message)
                                .label(format!("`{}` has two types", column.name))
                                .help("`clean.cast` above one of them makes them alike"),
                        );
                    }
                }
            }
        }
    }

    fn check_missing(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) {
        if self.missing == Missing::Null || inputs.iter().any(|input| input.incomplete) {
            return;
        }
        let all: Vec<&Column> = inputs
            .first()
            .map(|first| first.columns.iter().collect::<Vec<_>>())
            .unwrap_or_default()
            .into_iter()
            .chain(Self::further(inputs))
            .collect();
        for (index, input) in inputs.iter().enumerate() {
            let missing: Vec<String> = all
                .iter()
                .filter(|column| input.column(&column.name).is_none())
                .map(|column| format!("`{}`", column.name))
                .collect();
            if !missing.is_empty() {
                let message = format!(
                    "stage `{}` finds no {} in {}",
                    cx.stage,
                    missing.join(", "),
                    called(inputs, index)
                );
                cx.report(
                    Problem::error("missing-column", ParamPath::kind(), message)
                        .label("other inputs have it")
                        .help("say `missing: null` for null in its rows, or choose the columns above with `clean.select`"),
                );
            }
        }
    }
}

impl Stage for Union {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let is_split = |input: &Schema| !input.facts.partitions.is_empty();
        if inputs.iter().any(is_split) && !inputs.iter().all(is_split) {
            let message = format!(
                "stage `{}` joins rows that are split with rows that are not",
                cx.stage
            );
            cx.report(
                Problem::error("already-split", ParamPath::kind(), message)
                    .label("there is a split above one of its inputs")
                    .help("put the split below"),
            );
        }
        self.check_source(inputs, cx);
        Self::check_types(inputs, cx);
        self.check_missing(inputs, cx);
        let mut output = output_schema(&self.operations(inputs), inputs);
        for column in Self::further(inputs) {
            if let Some(made) = output.column_mut(&column.name) {
                made.role = column.role;
                made.categories = None;
            }
        }
        output.incomplete |= inputs.iter().any(|input| input.incomplete);
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=64
    }
}

impl Relational for Union {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(self.operations(inputs))
    }
}

#[cfg(test)]
mod tests;
