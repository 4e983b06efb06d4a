//! Metrics of classifiers. Rows may carry weights; ties and zero divisions are handled as scikit-learn does, and a metric that has
//! no value for the rows at hand is `None`, never not-a-number.

mod confusion;
mod probability;
mod ranking;

pub use confusion::{ClassFigures, Confusion};
pub use probability::{CalibrationBin, brier, calibration, log_loss};
pub use ranking::{Cost, Operation, Ranking};
