//! `features.ica`.

mod fixed_point;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use ndarray::Array2;
use polars::prelude::DataFrame;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, Estimator, FitContext, Frame, Operation, Problem, ProgressEvent, Result,
    Schema, Shape, Stage, State, counted, path, register_kind,
};

use self::fixed_point::{Contrast, FixedPoint};
use super::{
    numbers,
    rotation::{
        Rotation, complete, components, means_and_covariance, turn, weights, with_components,
        with_weights,
    },
};
use crate::columns::{self, Names};

const VERSION: u32 = 1;
const WHAT: &str = "independent components";
/// A direction with a smaller share of the variance than this is rounding.
const LEAST_SHARE: f64 = 1e-14;

/// Replace number columns by the signals that they are mixtures of: independent components.
///
/// Where sensors hear several machines at once, each in another mixture, the components are the machines. They are the directions
/// in which the training rows are as far from normally distributed as can be, each of variance 1 and uncorrelated with the others,
/// found by fixed-point iteration (Hyvärinen: "Fast and Robust Fixed-Point Algorithms for Independent Component Analysis", 1999: FastICA,
/// all components at once). With fewer components than columns the rows are first brought to as many principal components.
///
/// The components `ica_1`, `ica_2`, … come by how far they are from normal, the farthest first; the sign of each is such that the
/// largest of its weights is positive. Normally distributed signals cannot be told apart. Scaling the columns changes nothing but signs, as
/// long as there are as many components as columns. Every value must be there: null, not-a-number and infinite values are an
/// error that names column and row. The same seed gives the same components on any number of cores.
///
/// The components are those of scikit-learn's `FastICA`, but for order and sign; where there are several sets of such directions, the
/// seed decides which is found. linfa-ica 0.8.1 uses one core and took three times as long on 100,000 rows of 10 columns.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ica {
    /// The columns; default: all features that are real numbers (f32, f64).
    columns: Option<Names>,
    /// How many components. Default: as many as columns.
    #[schemars(range(min = 1, max = 10_000))]
    components: Option<usize>,
    /// How distance from normality is measured.
    #[serde(default)]
    contrast: Contrast,
    /// Rounds, at most.
    #[serde(default = "rounds")]
    #[schemars(range(min = 1, max = 1_000_000))]
    max_iterations: usize,
    /// Done when a round turns no direction by more than this (1 less the cosine of the angle).
    #[serde(default = "tolerance")]
    #[schemars(range(min = 1e-15, max = 1.0))]
    tolerance: f64,
    /// The first part of the components' names.
    #[serde(default = "ica")]
    name: String,
    /// Keep the columns that the components are made of.
    #[serde(default)]
    keep: bool,
    /// Decides the first directions; the pipeline's seed, where not given.
    seed: Option<u64>,
}

fn rounds() -> usize {
    200
}
fn tolerance() -> f64 {
    1e-4
}
fn ica() -> String {
    "ica".to_owned()
}

register_kind! {
    Ica, "features.ica", version: 1,
    example: "- features.ica: {columns: [mean_radius, mean_texture, mean_smoothness], components: 2}",
}

/// What was learned; the weights are a tensor, columns by components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learned {
    columns: Vec<String>,
    means: Vec<f64>,
    /// How far each component is from normal: the difference of the mean of log cosh.
    distances: Vec<f64>,
    converged: bool,
}

impl Ica {
    fn component_name(&self, index: usize) -> String {
        format!("{}_{}", self.name, index + 1)
    }

    fn learned(
        &self,
        names: Vec<String>,
        train: &DataFrame,
        cx: &FitContext<'_>,
    ) -> Result<(Learned, Array2<f64>)> {
        let rows = train.height();
        if rows < 2 {
            return Err(Error::data(format!(
                "there is nothing that varies in {}",
                counted(rows, "training row")
            )));
        }
        let data = names
            .iter()
            .map(|name| Ok(train.column(name)?.clone()))
            .collect::<Result<Vec<_>>>()?;
        let columns = complete(&data, WHAT)?;
        let (means, covariance) = means_and_covariance(&columns);
        // Each direction is divided by its deviation in a moment: the divisor of the whole sample is the one that makes that 1.
        let spread = covariance * ((rows - 1) as f64 / rows as f64);
        let total = spread.diag().sum();
        if total <= 0.0 || !total.is_finite() {
            let why = if total <= 0.0 {
                "no column varies"
            } else {
                "the values are too large"
            };
            return Err(Error::data(format!("there are no {WHAT}: {why}")));
        }
        let (variances, directions) = components(&spread)?;
        let count = self.components.unwrap_or(names.len()).min(names.len());
        let varied = variances
            .iter()
            .filter(|variance| **variance > LEAST_SHARE * total)
            .count();
        if varied < count {
            return Err(Error::data(format!(
                "the columns hold only {} that vary by themselves, which cannot make {}; say `components: {varied}`, or leave out \
                 columns that follow from others",
                counted(varied, "direction"),
                counted(count, "component"),
            )));
        }
        let mut whitening = directions.slice_move(ndarray::s![.., ..count]);
        for (mut direction, variance) in whitening.columns_mut().into_iter().zip(&variances) {
            direction.mapv_inplace(|weight| weight / variance.sqrt());
        }
        let rotation = Rotation {
            what: WHAT,
            means: means.clone(),
            scales: vec![1.0; names.len()],
            weights: whitening,
        };
        let whitened = rotation.all(&columns);
        let found = FixedPoint {
            contrast: self.contrast,
            max_iterations: self.max_iterations,
            tolerance: self.tolerance,
            seed: self.seed.unwrap_or(cx.seed),
        }
        .find(&whitened, cx)?;
        let mut weights = rotation.weights.dot(&found.turns.t());
        turn(&mut weights);
        let learned = Learned {
            columns: names,
            means,
            distances: found.distances,
            converged: found.converged,
        };
        Ok((learned, weights))
    }
}

impl Stage for Ica {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let chosen = numbers::check(self.columns.as_ref(), input, cx);
        if let Some(count) = self.components
            && count > chosen.len()
            && !chosen.is_empty()
        {
            cx.report(
                Problem::error(
                    "too-many-components",
                    path!["components"],
                    format!(
                        "stage `{}` cannot make {count} components of {}",
                        cx.stage,
                        counted(chosen.len(), "column")
                    ),
                )
                .label(format!("at most {}", chosen.len())),
            );
        }
        let count = self.components.unwrap_or(chosen.len()).min(chosen.len());
        let names: Vec<String> = (0..count).map(|index| self.component_name(index)).collect();
        with_components(names, &chosen, self.keep, input, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for Ica {
    fn fit_reads(&self, input: &Schema) -> BTreeSet<String> {
        numbers::reads(self.columns.as_ref(), input)
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let names = numbers::chosen(self.columns.as_ref(), &train.schema);
        let (learned, weights) = self.learned(names, &train.data, cx)?;
        if !learned.converged {
            cx.progress.event(ProgressEvent::Message(format!(
                "`{}` had not converged after {}; raise `max_iterations`, or ask for fewer `components`: signals that are nearly normal \
                 have no direction",
                cx.stage,
                counted(self.max_iterations, "iteration")
            )));
        }
        Ok(with_weights(State::from_data(VERSION, &learned)?, &weights))
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let learned: Learned = state.data(VERSION)?;
        let weights = weights(state, &learned.columns, &learned.means)?;
        let rotation = Rotation {
            what: WHAT,
            scales: vec![1.0; learned.means.len()],
            means: learned.means,
            weights,
        };
        let name = |index| self.component_name(index);
        Ok(rotation.operations(learned.columns, name, self.keep, columns::input(inputs)))
    }
}
