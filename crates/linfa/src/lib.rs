//! Classical models, on linfa where it serves: one kind a file.

mod class_weight;
mod labels;
mod records;
mod series;
mod weighted_logistic;

pub mod ets;
pub mod isolation_forest;
pub mod logistic_regression;
pub mod mstl;
pub mod robust_z;
pub mod seasonal_naive;
