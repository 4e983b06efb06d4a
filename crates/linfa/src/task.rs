//! Models that tell classes apart and learn numbers: which of both a target asks for, and what becomes of it.

use ndarray::Array2;
use polars::prelude::{Column as PolarsColumn, DataType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Classes, Column, Error, Frame, Label, Problem, Result, Schema, classifier,
    classifier::PREDICTION, features, path, regressor,
};

use crate::{
    class_weight::ClassWeight,
    labels::Labels,
    records::{is_learned, target_numbers},
};

/// What is learned: classes or numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Task {
    /// Classes where the target is text, true or false; numbers where it is real numbers. Whole numbers could be either: say which.
    #[default]
    Auto,
    /// Classes.
    Classification,
    /// Numbers.
    Regression,
}

impl Task {
    /// The task for a target of this type; none where it must be said.
    pub(crate) fn of(self, dtype: &DataType) -> Option<Self> {
        match self {
            Self::Auto if dtype.is_float() => Some(Self::Regression),
            Self::Auto if dtype.is_integer() => None,
            Self::Auto => Some(Self::Classification),
            said => Some(said),
        }
    }
}

/// The columns that a spec names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) features: Option<&'a [String]>,
    pub(crate) target: Option<&'a str>,
    pub(crate) positive: Option<&'a Label>,
    /// None where the model has no such param.
    pub(crate) class_weight: Option<&'a ClassWeight>,
    pub(crate) task: Task,
}

/// Checks what such a model needs; answers with the columns that it adds.
pub(crate) fn check(named: Named<'_>, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
    check_with(named, is_learned, &[], inputs, cx)
}

/// As [`check`], for a model that learns from the columns that `accepts` takes, and of numbers has `others` for outputs too.
pub(crate) fn check_with(
    named: Named<'_>,
    accepts: impl Fn(&Column) -> bool,
    others: &[&str],
    inputs: &[Schema],
    cx: &mut CheckContext<'_>,
) -> Schema {
    let Some(input) = inputs.first() else {
        return Schema {
            incomplete: true,
            ..Schema::default()
        };
    };
    let column = named
        .target
        .map_or_else(|| input.target(), |name| input.column(name));
    let task = column.map_or(Some(Task::Classification), |column| {
        named.task.of(&column.dtype)
    });
    let target: Option<&Column> = match task {
        Some(Task::Regression) => regressor::check_target(input, named.target, cx),
        _ => classifier::check_target(input, named.target, Classes::can_hold, cx),
    };
    let name = target.map(|target| target.name.as_str());
    features::check(named.features, name, input, accepts, cx);
    classifier::check_weights(input, cx);
    if let (None, Some(target)) = (task, target) {
        classifier::report_unknown_task(target, cx);
    }
    match task {
        Some(Task::Regression) => {
            if named.positive.is_some() {
                cx.report(Problem::error(
                    "not-binary",
                    path!["positive"],
                    "`positive` is for classes, and numbers are learned here",
                ));
            }
            if named
                .class_weight
                .is_some_and(|weight| *weight != ClassWeight::default())
            {
                cx.report(
                    Problem::error(
                        "unused-param",
                        path!["class_weight"],
                        "`class_weight` is for classes, and numbers are learned here",
                    )
                    .help(
                        "leave it out; a column with role `weight` says how much each row counts",
                    ),
                );
            }
            regressor::with_predictions(input, target, others, cx)
        }
        _ => {
            let classes = target.and_then(classifier::known_classes);
            classifier::check_positive(named.positive, classes.as_deref(), cx);
            if let Some(weight) = named.class_weight {
                weight.check(classes.as_deref(), cx);
            }
            classifier::with_predictions(
                input,
                target,
                DataType::clone,
                named.positive.is_some(),
                cx,
            )
        }
    }
}

/// A target as it is kept in a fitted state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// Classes.
    Classes(Labels),
    /// The column of numbers.
    Numbers(String),
}

/// The target of the training rows.
pub(crate) struct Truth {
    pub(crate) target: Target,
    /// Of classes, that of each row.
    pub(crate) codes: Vec<u32>,
    /// Of numbers, that of each row.
    pub(crate) values: Vec<f64>,
}

impl Truth {
    pub(crate) fn of(named: Named<'_>, target: Option<String>, train: &Frame) -> Result<Self> {
        let dtype = match &target {
            Some(name) => train.data.column(name)?.dtype().clone(),
            None => return Err(Error::data("no column has the role `target`")),
        };
        match named.task.of(&dtype) {
            Some(Task::Regression) => {
                let (name, values) = target_numbers(train, target)?;
                Ok(Self {
                    target: Target::Numbers(name),
                    codes: Vec::new(),
                    values: values.to_vec(),
                })
            }
            Some(_) => {
                let (labels, codes) = Labels::fit(train, target, named.positive)?;
                Ok(Self {
                    target: Target::Classes(labels),
                    codes,
                    values: Vec::new(),
                })
            }
            None => Err(Error::data(
                "whole numbers may be classes or amounts; say `task: classification` or `task: regression`",
            )),
        }
    }
}

impl Target {
    /// How many classes there are; none for numbers.
    pub(crate) fn classes(&self) -> Option<usize> {
        match self {
            Self::Classes(labels) => Some(labels.classes.len()),
            Self::Numbers(_) => None,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Classes(labels) => labels.check(),
            Self::Numbers(_) => Ok(()),
        }
    }

    /// The output columns: of classes for probabilities (rows × classes), of numbers for the one column.
    pub(crate) fn columns(&self, found: &Array2<f64>) -> Result<Vec<PolarsColumn>> {
        match self {
            Self::Classes(labels) => labels.columns(found),
            Self::Numbers(_) => Ok(vec![PolarsColumn::new(
                PREDICTION.into(),
                found.column(0).to_vec(),
            )]),
        }
    }
}
