//! Classical models, on linfa where it serves: one kind a file.

mod class_weight;
mod labels;
mod records;
mod weighted_logistic;

pub mod isolation_forest;
pub mod logistic_regression;
pub mod robust_z;
