//! Classical models, on linfa where it serves: one kind a file.

mod class_weight;
mod labels;
mod linear;
mod platt;
mod records;
mod series;
mod smo;
#[cfg(test)]
mod testing;
mod weighted_logistic;

pub mod elastic_net;
pub mod ets;
pub mod ftrl;
pub mod glm;
pub mod isolation_forest;
pub mod linear_regression;
pub mod logistic_regression;
pub mod mstl;
pub mod naive_bayes;
pub mod pls;
pub mod robust_z;
pub mod seasonal_naive;
pub mod svm;
