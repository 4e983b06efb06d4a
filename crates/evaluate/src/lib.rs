//! Metrics, curves, plots and reports: how good a model is, in figures that gates, people and scripts can read.

pub mod anomaly;
mod backtest;
mod bootstrap;
pub mod classification;
pub mod clustering;
pub mod forecast;
mod further;
mod judged;
mod lists;
pub mod metrics;
mod plots;
pub mod profile;
pub mod ranking;
pub mod recommendations;
pub mod regression;
mod report;
mod slices;
pub mod survival;
mod unrolled;

pub use plots::plot_png;
pub use report::{metric_about, report_html};
