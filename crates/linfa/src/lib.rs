//! Classical models on linfa: one kind a file.

mod records;
mod weighted_logistic;

pub mod logistic_regression;
