//! Metrics, curves, plots and reports: how good a model is, in figures that gates, people and scripts can read.

pub mod classification;
pub mod metrics;
mod plots;
pub mod profile;
mod report;

pub use report::{metric_about, report_html};
