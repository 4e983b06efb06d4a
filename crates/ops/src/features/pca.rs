//! `features.pca`.

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

use super::{
    numbers,
    rotation::{
        Rotation, complete, components, means_and_covariance, weights, with_components,
        with_weights,
    },
};
use crate::columns::{self, Names};

const VERSION: u32 = 1;

/// Replace number columns by fewer that hold most of their variance: principal components.
///
/// The components `pca_1`, `pca_2`, … are the directions in which the training rows vary most, in that order; each is
/// uncorrelated with the others. Its sign is such that the largest of its weights is positive. Every value must be
/// there: null, not-a-number and infinite values are an error that names column and row.
///
/// Columns of different units should be brought to one scale first: `standardize` does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pca {
    /// The columns; default: all features that are real numbers (f32, f64).
    columns: Option<Names>,
    /// How many components.
    #[schemars(range(min = 1, max = 10_000))]
    components: Option<usize>,
    /// As many components as hold this share of the variance. As only training knows how many these are, they are called
    /// `pca=1`, `pca=2`, …, and `pca=*` stands for all.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    variance: Option<f64>,
    /// Divide each column by its standard deviation first, so that all weigh the same.
    #[serde(default)]
    standardize: bool,
    /// Divide each component by its standard deviation.
    #[serde(default)]
    whiten: bool,
    /// The first part of the components' names.
    #[serde(default = "pca")]
    name: String,
    /// Keep the columns that the components are made of.
    #[serde(default)]
    keep: bool,
}

fn pca() -> String {
    "pca".to_owned()
}

register_kind! {
    Pca, "features.pca", version: 1,
    example: "- features.pca: {columns: [mean_radius, mean_perimeter, mean_area], components: 2, standardize: true}",
}

/// What was learned; the weights are a tensor, columns by components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learned {
    columns: Vec<String>,
    means: Vec<f64>,
    scales: Vec<f64>,
    /// The variance that each component holds, and its share of all.
    variances: Vec<f64>,
    shares: Vec<f64>,
}

const WHAT: &str = "principal components";

impl Pca {
    /// How many components hold the share of the variance that is asked for.
    fn count(&self, shares: &[f64]) -> usize {
        let wanted = match (self.components, self.variance) {
            (Some(count), _) => return count.min(shares.len()),
            (None, share) => share.unwrap_or(1.0),
        };
        let mut held = 0.0;
        for (index, share) in shares.iter().enumerate() {
            held += share;
            // Shares add up to 1 only as far as rounding lets them.
            if held >= wanted - 1e-12 {
                return index + 1;
            }
        }
        shares.len()
    }

    fn component_name(&self, index: usize) -> String {
        match self.components {
            Some(_) => format!("{}_{}", self.name, index + 1),
            None => format!("{}={}", self.name, index + 1),
        }
    }

    fn learned(&self, names: Vec<String>, train: &DataFrame) -> Result<(Learned, Array2<f64>)> {
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
        let (means, mut spread) = means_and_covariance(&columns);
        let scales: Vec<f64> = if self.standardize {
            let unbiased = (rows - 1) as f64 / rows as f64;
            let scale = |variance: &f64| match (variance * unbiased).sqrt() {
                std if std > 0.0 => std,
                _ => 1.0,
            };
            spread.diag().iter().map(scale).collect()
        } else {
            vec![1.0; columns.len()]
        };
        for ((row, column), covariance) in spread.indexed_iter_mut() {
            *covariance /= scales[row] * scales[column];
        }
        let total = spread.diag().sum();
        if total <= 0.0 || !total.is_finite() {
            let why = if total <= 0.0 {
                "no column varies"
            } else {
                "the values are too large"
            };
            return Err(Error::data(format!(
                "there are no principal components: {why}"
            )));
        }
        let (variances, directions) = components(&spread)?;
        let shares: Vec<f64> = variances.iter().map(|variance| variance / total).collect();
        let count = self.count(&shares);
        let mut weights = directions.slice_move(ndarray::s![.., ..count]);
        if self.whiten {
            for (mut direction, variance) in weights.columns_mut().into_iter().zip(&variances) {
                if *variance <= 1e-14 * total {
                    return Err(Error::data(format!(
                        "a component holds no variance, so that it cannot be whitened; ask for fewer than {count} components"
                    )));
                }
                direction.mapv_inplace(|weight| weight / variance.sqrt());
            }
        }
        let learned = Learned {
            columns: names,
            means,
            scales,
            variances: variances.iter().take(count).copied().collect(),
            shares: shares[..count].to_vec(),
        };
        Ok((learned, weights))
    }

    fn check_size(&self, columns: usize, cx: &mut CheckContext<'_>) {
        match (self.components, self.variance) {
            (None, None) => cx.report(
                Problem::error(
                    "no-components",
                    path![],
                    format!("stage `{}` does not know how many components to make", cx.stage),
                )
                .help("say `components: 2`, or `variance: 0.95` for as many as hold that share of the variance"),
            ),
            (Some(_), Some(_)) => cx.report(
                Problem::error(
                    "unused-param",
                    path!["variance"],
                    format!("stage `{}` is told both how many components to make and what share of the variance", cx.stage),
                )
                .label("not both"),
            ),
            (Some(count), None) if count > columns && columns > 0 => cx.report(
                Problem::error(
                    "too-many-components",
                    path!["components"],
                    format!("stage `{}` cannot make {count} components of {columns} columns", cx.stage),
                )
                .label(format!("at most {columns}")),
            ),
            _ => {}
        }
    }
}

impl Stage for Pca {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let chosen = numbers::check(self.columns.as_ref(), input, cx);
        self.check_size(chosen.len(), cx);
        let names: Vec<String> = match self.components {
            Some(count) => (0..count.min(chosen.len()))
                .map(|index| self.component_name(index))
                .collect(),
            None => vec![format!("{}=*", self.name)],
        };
        with_components(names, &chosen, self.keep, input, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for Pca {
    fn fit_reads(&self, input: &Schema) -> BTreeSet<String> {
        numbers::reads(self.columns.as_ref(), input)
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let names = numbers::chosen(self.columns.as_ref(), &train.schema);
        let (learned, weights) = self.learned(names, &train.data)?;
        cx.progress.event(ProgressEvent::Message(format!(
            "{} of {} components hold {:.1} % of the variance",
            learned.shares.len(),
            learned.columns.len(),
            100.0 * learned.shares.iter().sum::<f64>()
        )));
        Ok(with_weights(State::from_data(VERSION, &learned)?, &weights))
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let learned: Learned = state.data(VERSION)?;
        let weights = weights(state, &learned.columns, &learned.means)?;
        let rotation = Rotation {
            what: WHAT,
            scales: learned.scales,
            means: learned.means,
            weights,
        };
        let name = |index| self.component_name(index);
        Ok(rotation.operations(learned.columns, name, self.keep, columns::input(inputs)))
    }
}
