//! The turn that makes whitened rows independent.

use linfa_linalg::eigh::Eigh;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{Error, FitContext, ProgressEvent, Result};

/// Parts of the rows that are summed side by side; fixed, so that threads do not change a bit.
const SEGMENTS: usize = 64;
/// Rows that are worked on at a time: so many fit into a core's cache.
const BLOCK: usize = 1024;
/// The mean of log cosh of a normal variable with mean 0 and variance 1.
const NORMAL: f64 = 0.374_567_207_491_438_2;

/// How distance from normality is measured.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Contrast {
    /// By log cosh: good for most signals.
    #[default]
    Logcosh,
    /// By exp(-x²/2): for signals with long tails, or with outliers.
    Exp,
    /// By the fourth moment: fast, but swayed by outliers.
    Cube,
}

impl Contrast {
    /// The derivative of the measure, and its own derivative.
    fn slopes(self, value: f64) -> (f64, f64) {
        match self {
            Self::Logcosh => {
                let tanh = tanh(value);
                (tanh, 1.0 - tanh * tanh)
            }
            Self::Exp => {
                let square = value * value;
                let bell = (-square / 2.0).exp();
                (value * bell, (1.0 - square) * bell)
            }
            Self::Cube => (value * value * value, 3.0 * value * value),
        }
    }
}

/// By one exponential function: twice as fast as the standard library's, and as near as its error matters in a mean.
fn tanh(value: f64) -> f64 {
    let fallen = (-2.0 * value.abs()).exp();
    ((1.0 - fallen) / (1.0 + fallen)).copysign(value)
}

/// How the turn is looked for.
pub(super) struct FixedPoint {
    pub(super) contrast: Contrast,
    pub(super) max_iterations: usize,
    pub(super) tolerance: f64,
    pub(super) seed: u64,
}

/// What was found.
pub(super) struct Found {
    /// The directions, one a row, the one farthest from normal first.
    pub(super) turns: Array2<f64>,
    /// How far each is from normal.
    pub(super) distances: Vec<f64>,
    pub(super) converged: bool,
}

impl FixedPoint {
    /// Rows by whitened columns.
    pub(super) fn find(&self, rows: &Array2<f64>, cx: &FitContext<'_>) -> Result<Found> {
        let width = rows.ncols();
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        let first = Array2::from_shape_simple_fn((width, width), || {
            let drawn: f64 = StandardNormal.sample(&mut generator);
            drawn
        });
        let mut turns = uncorrelated(&first)?;
        let mut converged = false;
        for iteration in 0..self.max_iterations {
            cx.cancellation.check()?;
            let next = uncorrelated(&self.step(rows, &turns))?;
            // The cosine between the old and the new direction is 1 or -1 where it stands.
            let turned = (0..width)
                .map(|place| (next.row(place).dot(&turns.row(place)).abs() - 1.0).abs())
                .fold(0.0, f64::max);
            turns = next;
            cx.progress.event(ProgressEvent::Step {
                done: iteration as u64 + 1,
                total: self.max_iterations as u64,
                unit: "iterations",
            });
            if turned < self.tolerance {
                converged = true;
                break;
            }
        }
        let distances: Vec<f64> = sum_of_parts(rows, |block| {
            let sources = block.dot(&turns.t());
            // ln cosh, without overflow.
            let log_cosh = |value: f64| {
                let size = value.abs();
                size + (-2.0 * size).exp().ln_1p() - std::f64::consts::LN_2
            };
            sources
                .mapv(log_cosh)
                .sum_axis(Axis(0))
                .insert_axis(Axis(0))
        })
        .iter()
        .map(|sum| (sum / rows.nrows() as f64 - NORMAL).abs())
        .collect();
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by(|left, right| distances[*right].total_cmp(&distances[*left]));
        Ok(Found {
            turns: turns.select(Axis(0), &order),
            distances: order.iter().map(|place| distances[*place]).collect(),
            converged,
        })
    }

    /// Newton's step of each direction, before they are made uncorrelated.
    fn step(&self, rows: &Array2<f64>, turns: &Array2<f64>) -> Array2<f64> {
        let width = rows.ncols();
        // The last column holds the sums of the second slopes.
        let sums = sum_of_parts(rows, |block| {
            let mut sources = block.dot(&turns.t());
            let mut seconds = Array1::<f64>::zeros(width);
            for mut source in sources.rows_mut() {
                for (value, second) in source.iter_mut().zip(&mut seconds) {
                    let (slope, more) = self.contrast.slopes(*value);
                    *value = slope;
                    *second += more;
                }
            }
            let mut sums = Array2::zeros((width, width + 1));
            sums.slice_mut(s![.., ..width])
                .assign(&sources.t().dot(&block));
            sums.column_mut(width).assign(&seconds);
            sums
        }) / rows.nrows() as f64;
        let mut next = sums.slice(s![.., ..width]).to_owned();
        for (place, mut direction) in next.rows_mut().into_iter().enumerate() {
            direction.scaled_add(-sums[[place, width]], &turns.row(place));
        }
        next
    }
}

/// Adds up what blocks of rows give, in an order that threads do not change.
fn sum_of_parts(
    rows: &Array2<f64>,
    of_block: impl Fn(ArrayView2<'_, f64>) -> Array2<f64> + Sync,
) -> Array2<f64> {
    let count = rows.nrows();
    let length = count.div_ceil(SEGMENTS).max(1);
    let parts: Vec<Array2<f64>> = (0..count)
        .step_by(length)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|from| {
            let to = (from + length).min(count);
            let blocks = (from..to).step_by(BLOCK).map(|start| {
                let end = (start + BLOCK).min(to);
                of_block(rows.slice(s![start..end, ..]))
            });
            blocks.reduce(|sum, more| sum + more).unwrap_or_default()
        })
        .collect();
    parts
        .into_iter()
        .reduce(|sum, more| sum + more)
        .unwrap_or_default()
}

/// The nearest directions that are at right angles: (W Wᵀ)^(-1/2) W.
fn uncorrelated(directions: &Array2<f64>) -> Result<Array2<f64>> {
    let product = directions.dot(&directions.t());
    let (values, vectors) = product.eigh().map_err(|error| {
        Error::Model(format!(
            "the directions cannot be made uncorrelated: {error}"
        ))
    })?;
    // Directions that fell together have no square root to divide by; the least number keeps the rest alive.
    let scaled = &vectors * &values.mapv(|value| value.max(f64::MIN_POSITIVE).sqrt().recip());
    let turned = scaled.dot(&vectors.t()).dot(directions);
    if turned.iter().all(|value| value.is_finite()) {
        Ok(turned)
    } else {
        Err(Error::data(
            "the directions of the components fell together; ask for fewer `components`",
        ))
    }
}
