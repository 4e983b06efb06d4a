//! Relational operations and expressions as polars queries.

mod expression;
mod kernels;
mod operation;
mod window;

pub use expression::expression;
pub use operation::apply;
