//! `features.woe`.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use polars::prelude::{Column as PolarsColumn, DataType, Float64Chunked, IntoColumn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Classes, Column, Error, Estimator, FitContext, Frame, Label, Operation, Problem,
    ProgressEvent, Result, Schema, Shape, Stage, State, path, register_kind,
};

use super::{
    answers,
    categories::{self, Vocabulary},
    lookup::{self, Found, Lookup},
    placement::{self, Made},
};
use crate::{
    columns::{self, Names},
    training,
};

const VERSION: u32 = 1;

/// Put in the place of each category its weight of evidence for a two-class target, as score cards do.
///
/// The weight is ln(share of the goods / share of the bads): how much of all good training rows has the category, against how
/// much of all bad ones. A category above 0 speaks for a good row, one below 0 for a bad one; 0 says nothing. Null is a
/// category of its own, and weighs 0 where no training row holds null.
///
/// For numbers put `features.bin` above. The information value of each column is told when it is learned: below 0.02 it
/// hardly helps, above 0.5 it may know too much (Siddiqi 2006, "Credit Risk Scorecards"). Many rare categories would
/// give the answer of the training rows away: bin them, or use `features.target_encode`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Woe {
    /// The category columns: text, whole numbers (bins), true or false.
    columns: Names,
    /// The target, with two classes; default: the column with the role `target`.
    target: Option<String>,
    /// The class of bad rows; default: `true`, else `1`, else the last.
    bad: Option<Label>,
    /// How many rows are added to the goods and to the bads of each category, so that none is without.
    #[serde(default = "half_a_row")]
    #[schemars(range(min = 0, max = 1_000_000))]
    smoothing: f64,
    /// What becomes of a value that no training row has.
    #[serde(default)]
    unknown: Unknown,
    /// Keep the column and put the weight beside it, under its name with this at the end; default: in its place.
    suffix: Option<String>,
}

fn half_a_row() -> f64 {
    0.5
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Unknown {
    /// It weighs 0: it says nothing.
    #[default]
    Neutral,
    /// It becomes null.
    Null,
    /// It fails the run, naming column, value and row.
    Error,
}

register_kind! {
    Woe, "features.woe", version: 1,
    example: "- features.woe: {columns: [age_band, employment], target: defaulted}",
}

/// What was learned about a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Evidence {
    column: String,
    categories: Vec<String>,
    weights: Vec<f64>,
    null_weight: f64,
    information_value: f64,
}

/// How many good and bad rows a category has.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    goods: f64,
    bads: f64,
}

/// The weight of evidence of each category, and the information value of all (Kullback 1959; Siddiqi 2006).
///
/// With smoothing `a` and `k` categories the shares are (goods + a) / (all goods + a k), alike for the bads, so that they add
/// up to 1 and the information value is never negative.
fn weights(counts: &[Counts], smoothing: f64) -> (Vec<f64>, f64) {
    let added = smoothing * counts.len() as f64;
    let goods = counts.iter().map(|count| count.goods).sum::<f64>() + added;
    let bads = counts.iter().map(|count| count.bads).sum::<f64>() + added;
    let mut information = 0.0;
    let weights = counts
        .iter()
        .map(|count| {
            let good = (count.goods + smoothing) / goods;
            let bad = (count.bads + smoothing) / bads;
            let weight = (good / bad).ln();
            information += (good - bad) * weight;
            weight
        })
        .collect();
    (weights, information)
}

impl Woe {
    fn made(&self, source: &Column) -> Column {
        let name = placement::made(&source.name, self.suffix.as_deref());
        placement::heir(name, DataType::Float64, [source])
    }

    fn learned(
        &self,
        train: &Frame,
        name: &str,
        classes: &Classes,
        bad: usize,
    ) -> Result<Evidence> {
        let (categories, codes) = lookup::coded(&train.data, name)?;
        let has_null = codes.contains(&(categories.len() as u32));
        let mut counts = vec![Counts::default(); categories.len() + usize::from(has_null)];
        for (code, class) in codes.iter().zip(&classes.codes) {
            let count = &mut counts[*code as usize];
            if *class as usize == bad {
                count.bads += 1.0;
            } else {
                count.goods += 1.0;
            }
        }
        let (mut weights, information_value) = weights(&counts, self.smoothing);
        if let Some(place) = weights.iter().position(|weight| !weight.is_finite()) {
            let category = categories
                .get(place)
                .map_or_else(|| "null".to_owned(), |category| format!("`{category}`"));
            return Err(Error::data(format!(
                "the category {category} of `{name}` has {} good and {} bad training rows, which weighs without bound; give `smoothing` a value above 0",
                counts[place].goods, counts[place].bads
            )));
        }
        let null_weight = if has_null {
            weights.pop().unwrap_or_default()
        } else {
            0.0
        };
        Ok(Evidence {
            column: name.to_owned(),
            categories,
            weights,
            null_weight,
            information_value,
        })
    }

    fn encode(&self, learned: Evidence, input: &Schema) -> Option<Operation> {
        let source = input.column(&learned.column)?;
        let made = Made {
            name: "weights of evidence",
            reads: vec![learned.column],
            columns: vec![self.made(source)],
            by_place: false,
            input,
        };
        let lookup = Arc::new(Lookup::new(learned.categories));
        let weights: Arc<[f64]> = learned.weights.into();
        let null = learned.null_weight;
        let unseen = match self.unknown {
            Unknown::Neutral => Some(0.0),
            Unknown::Null | Unknown::Error => None,
        };
        Some(made.by(move |columns: &[PolarsColumn]| {
            let weighed: Float64Chunked = lookup
                .find(&columns[0])?
                .into_iter()
                .map(|found| match found {
                    Found::Null => Some(null),
                    Found::Known(place) => Some(weights[place as usize]),
                    Found::Unseen => unseen,
                })
                .collect();
            Ok(vec![
                weighed.with_name(columns[0].name().clone()).into_column(),
            ])
        }))
    }
}

impl Stage for Woe {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        if let Some((path, target)) = training::target(self.target.as_deref(), input, cx) {
            if !Classes::can_hold(&target.dtype) {
                columns::report_type(
                    target,
                    "a target of two classes (text, whole numbers, true or false)",
                    path,
                    cx,
                );
            } else if let Some(known) = target.categories.as_ref().filter(|known| known.len() > 2) {
                cx.report(
                    Problem::error(
                        "many-classes",
                        path,
                        format!("stage `{}` needs a target of two classes, but `{}` has {}", cx.stage, target.name, known.len()),
                    )
                    .help("make it true or false above, with `features.derive`, or use `features.target_encode`"),
                );
            }
        }
        if !self.smoothing.is_finite() || self.smoothing < 0.0 {
            cx.report(Problem::error(
                "out-of-range",
                path!["smoothing"],
                format!("stage `{}` cannot add {} rows", cx.stage, self.smoothing),
            ));
        }
        let mut output = input.clone();
        for (path, column) in categories::check(&self.columns, input, cx) {
            if !answers::is_the_target(column, self.target.as_deref(), &path, input, cx)
                && placement::is_possible(&column.name, self.suffix.as_deref(), input, path, cx)
            {
                output.set(self.made(column));
            }
        }
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

fn vocabularies(learned: &[Evidence]) -> Vec<Vocabulary> {
    learned
        .iter()
        .map(|evidence| Vocabulary {
            column: evidence.column.clone(),
            categories: evidence.categories.clone(),
        })
        .collect()
}

impl Estimator for Woe {
    fn fit_reads(&self, input: &Schema) -> BTreeSet<String> {
        answers::reads(
            &self.columns,
            training::target_name(self.target.as_deref(), input),
        )
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let target = answers::target(self.target.as_deref(), train)?;
        let classes = answers::classes(train, &target)?;
        let bad = answers::positive(
            &classes,
            self.bad.as_ref(),
            &target,
            "make it true or false above, with `features.derive`",
        )?;
        let mut learned = Vec::new();
        for name in self.columns.iter() {
            cx.cancellation.check()?;
            let evidence = self.learned(train, name, &classes, bad)?;
            cx.progress.event(ProgressEvent::Message(format!(
                "`{name}` has an information value of {:.3}",
                evidence.information_value
            )));
            learned.push(evidence);
        }
        State::from_data(VERSION, &learned)
    }

    fn seen(&self, state: &State) -> Result<Vec<(String, Vec<String>)>> {
        categories::seen(self.unknown == Unknown::Error, || {
            Ok(vocabularies(&state.data::<Vec<Evidence>>(VERSION)?))
        })
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let learned: Vec<Evidence> = state.data(VERSION)?;
        let mut operations = Vec::new();
        if self.unknown == Unknown::Error {
            operations.push(categories::refuse_unseen(
                &categories::present(vocabularies(&learned), input),
                input,
            ));
        }
        operations.extend(placement::one_after_the_other(
            learned,
            input,
            |learned, input| Ok(self.encode(learned, input)),
        )?);
        Ok(operations)
    }
}
