//! Metrics of predictions. Rows may carry weights; ties and zero divisions are handled as scikit-learn does, and a metric that has
//! no value for the rows at hand is `None`, never not-a-number.

mod clusters;
mod confusion;
mod errors;
mod probability;
mod ranking;
mod retrieval;
mod survival;

pub use clusters::{
    Points, adjusted_rand, calinski_harabasz, davies_bouldin, normalized_mutual_information,
    silhouettes,
};
pub use confusion::{ClassFigures, Confusion};
pub use errors::{Coverage, Errors, Family, coverage, weighted_quantile};
pub use probability::{CalibrationBin, brier, calibration, calibration_error, log_loss};
pub use ranking::{Cost, Operation, Ranking};
pub use retrieval::{
    Gain, average_precision_at, ndcg_at, precision_at, random_ndcg_at, recall_at, reciprocal_rank,
};
pub use survival::{Concordance, kaplan_meier};

/// The weight of all rows.
fn total(rows: usize, weights: Option<&[f64]>) -> f64 {
    weights.map_or(rows as f64, |weights| weights.iter().sum())
}

/// The weighted mean of a value of each row; `None` where the rows have no weight.
pub(crate) fn mean(
    rows: usize,
    weights: Option<&[f64]>,
    value: impl Fn(usize) -> f64,
) -> Option<f64> {
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let total: f64 = (0..rows).map(weight).sum();
    (total > 0.0).then(|| (0..rows).map(|row| weight(row) * value(row)).sum::<f64>() / total)
}
