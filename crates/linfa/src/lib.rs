//! Classical models, on linfa where it serves: one kind a file.

use taktline_core::class_weight;

mod categories;
mod labels;
mod lambda_rank;
mod linear;
mod neighbours;
mod platt;
mod records;
mod series;
mod smo;
mod task;
#[cfg(test)]
mod testing;
mod tree;
mod weighted_logistic;

pub mod adaboost;
pub mod baseline;
pub mod boost;
pub mod calibrate;
pub mod dbscan;
pub mod decision_tree;
pub mod elastic_net;
pub mod ets;
pub mod ftrl;
pub mod gaussian_mixture;
pub mod glm;
pub mod isolation_forest;
pub mod k_means;
pub mod lagged;
pub mod linear_regression;
pub mod logistic_regression;
pub mod mstl;
pub mod naive_bayes;
pub mod optics;
pub mod pls;
pub mod random_forest;
pub mod robust_z;
pub mod seasonal_naive;
pub mod steps;
mod svm;
