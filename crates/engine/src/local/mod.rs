//! Relational operations and expressions as polars queries.

mod as_of;
mod beside;
mod expression;
mod joins;
mod kernels;
mod operation;
mod ordered;
mod pairs;
mod places;
mod sliding;
mod text;
mod time;
mod window;

pub use expression::expression;
pub use operation::apply;
pub(crate) use places::Places;
