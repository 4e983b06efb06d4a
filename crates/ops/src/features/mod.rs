//! `features.*`: columns that a model can learn from.

mod calendar;
mod categories;
mod derive;
mod image;
mod lag;
mod min_max;
mod numbers;
mod one_hot;
mod ordinal;
mod rolling;
mod span;
mod standardize;
