//! `balance.smote`.

mod features;
mod new_rows;
#[cfg(test)]
mod tests;

use polars::prelude::DataFrame;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Classes, Column, Error, Operation, PARTITION, Problem, Relational, Result, Role,
    Schema, Shape, Stage, path, register_kind,
};

use self::{features::Features, new_rows::NewRows};
use super::{check, generator, lacking, operations, training_classes};
use crate::{
    columns::{self, Names},
    training,
};

/// Make up training rows of the smaller classes: each lies between a row and one of its neighbours.
///
/// SMOTE (Chawla et al. 2002): for each new row a row of the class, one of its nearest neighbours in the class, and a
/// place between both are chosen at random. Near is measured over all features, numbers divided by their standard
/// deviation; of text and other categories the new row gets what most of the neighbours have, of equally frequent ones
/// the nearest's (SMOTE-NC). A whole number is rounded. Each class gets at least `ratio` times as many training rows as
/// the largest has.
///
/// New rows stand after all others, in the training part. They have the weight of the row that they start from; columns
/// that are no features (id, time, personal data, ignored ones) are null unless `copy` names them. Null and
/// not-a-number in a feature are an error. Rows for validation and testing stay as they are; scoring does not make
/// anything up. Needs a `split.*` above.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Smote {
    /// The column whose classes are balanced; default: the column with the role `target`.
    target: Option<String>,
    /// How many rows a class has at least, as a share of the largest class.
    #[serde(default = "as_many")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    ratio: f64,
    /// How many neighbours to choose from; a class with fewer rows takes all of them.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 1000))]
    neighbours: usize,
    /// Columns of whole numbers that are categories, not amounts.
    categories: Option<Names>,
    /// Columns that a new row takes over from the row it starts from, whatever its neighbours have.
    copy: Option<Names>,
    /// Another seed makes other rows.
    #[serde(default)]
    seed: u64,
}

fn as_many() -> f64 {
    1.0
}

fn five() -> usize {
    5
}

register_kind! {
    Smote, "balance.smote", version: 1,
    example: "- balance.smote: {target: is_fraud, ratio: 0.5, neighbours: 5, seed: 7}",
}

/// Where a new row's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Between those of the row it starts from and a neighbour.
    Between,
    /// What most neighbours have.
    Vote,
    /// The row it starts from.
    Copied,
    /// Nowhere: null.
    Nothing,
    /// A feature that has no place between others.
    Unsupported,
}

fn names(names: Option<&Names>) -> impl Iterator<Item = &str> {
    names.into_iter().flat_map(Names::iter)
}

impl Smote {
    fn origin(&self, column: &Column, target: &str) -> Origin {
        let is_named = |list: &Option<Names>| names(list.as_ref()).any(|name| name == column.name);
        if column.name == target || column.name == PARTITION || is_named(&self.copy) {
            return Origin::Copied;
        }
        match column.role {
            Role::Weight => Origin::Copied,
            Role::Feature if Classes::can_hold(&column.dtype) => {
                if column.dtype.is_primitive_numeric() && !is_named(&self.categories) {
                    Origin::Between
                } else {
                    Origin::Vote
                }
            }
            Role::Feature if column.dtype.is_float() => Origin::Between,
            Role::Feature => Origin::Unsupported,
            _ => Origin::Nothing,
        }
    }

    fn check_columns(&self, target: &str, input: &Schema, cx: &mut CheckContext<'_>) {
        for (path, column) in self
            .categories
            .iter()
            .flat_map(|names| names.find(input, &path!["categories"], cx))
            .collect::<Vec<_>>()
        {
            if !Classes::can_hold(&column.dtype) {
                columns::report_type(
                    column,
                    "categories (text, whole numbers, true or false)",
                    path,
                    cx,
                );
            }
        }
        if let Some(copy) = &self.copy {
            copy.find(input, &path!["copy"], cx);
        }
        let origins = || {
            input
                .columns
                .iter()
                .map(|column| (column, self.origin(column, target)))
        };
        let unsupported: Vec<String> = origins()
            .filter(|(_, origin)| *origin == Origin::Unsupported)
            .map(|(column, _)| {
                format!(
                    "`{}` ({})",
                    column.name,
                    taktline_core::type_name(&column.dtype)
                )
            })
            .collect();
        if !unsupported.is_empty() {
            cx.report(
                Problem::error(
                    "type-mismatch",
                    path![],
                    format!(
                        "stage `{}` cannot make up values of {}",
                        cx.stage,
                        unsupported.join(", ")
                    ),
                )
                .label("makes up rows from numbers and categories")
                .help("name them in `copy`, give them the role `ignore`, or drop them above"),
            );
        } else if !input.incomplete
            && !origins().any(|(_, origin)| matches!(origin, Origin::Between | Origin::Vote))
        {
            cx.report(Problem::error(
                "no-columns",
                path![],
                format!(
                    "stage `{}` finds no feature that tells which rows are near each other",
                    cx.stage
                ),
            ));
        }
    }
}

impl Stage for Smote {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let mut output = check(self.target.as_deref(), self.ratio, input, cx);
        output.facts.multiplied_by = Some(cx.stage.to_owned());
        if let Some(target) = training::target_name(self.target.as_deref(), input) {
            self.check_columns(&target, input, cx);
        }
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Smote {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let target = training::target_name(self.target.as_deref(), input).unwrap_or_default();
        let origins: Vec<(String, Origin)> = input
            .columns
            .iter()
            .map(|column| (column.name.clone(), self.origin(column, &target)))
            .collect();
        let (ratio, neighbours, seed) = (self.ratio, self.neighbours, self.seed);
        Ok(operations(
            "make up rows of small classes",
            self.target.as_deref(),
            input,
            move |data, target| {
                let classes = training_classes(data, target)?;
                let lacking = lacking(&classes, ratio);
                if lacking.iter().all(|count| *count == 0) {
                    return Ok(data.clone());
                }
                let of = |wanted: Origin| -> Vec<String> {
                    origins
                        .iter()
                        .filter(|(_, origin)| *origin == wanted)
                        .map(|(name, _)| name.clone())
                        .collect()
                };
                let (between, votes) = (of(Origin::Between), of(Origin::Vote));
                let features = Features::of(data, &between, &votes)?;
                let mut random = generator(seed);
                let mut made = NewRows {
                    votes: vec![Vec::new(); votes.len()],
                    ..NewRows::default()
                };
                for (class, count) in classes.iter().zip(lacking).filter(|(_, count)| *count > 0) {
                    if class.rows.len() < 2 {
                        return Err(Error::data(format!(
                            "the class `{}` of `{target}` has a single training row, which has no neighbour; use `balance.oversample`",
                            class.label
                        )));
                    }
                    let points = features.points(data, &class.rows)?;
                    made.add(
                        class,
                        count,
                        neighbours.min(class.rows.len() - 1),
                        &points,
                        &mut random,
                    );
                }
                let columns = data
                    .columns()
                    .iter()
                    .map(|column| {
                        let name = column.name().as_str();
                        let place = |list: &[String]| list.iter().position(|other| other == name);
                        let origin = origins
                            .iter()
                            .find(|(known, _)| known == name)
                            .map_or(Origin::Nothing, |(_, origin)| *origin);
                        let numbers = place(&between).map(|place| &features.numbers[place]);
                        let votes = place(&votes).map(|place| &made.votes[place]);
                        made.column(column, origin, numbers, votes)
                    })
                    .collect::<Result<Vec<_>>>()?;
                Ok(data.vstack(&DataFrame::new(made.starts.len(), columns)?)?)
            },
        ))
    }

    fn is_training_only(&self) -> bool {
        true
    }
}
