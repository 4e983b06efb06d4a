//! Which queries may run in parts, without all rows in memory, and still give the same bytes each time.
//!
//! polars' streaming engine hands parts of the rows to whatever thread is free. Row order is kept where the query asks for
//! it, but a sum of real numbers is put together in whatever order its parts become ready, and its last digits with it.

use polars::{
    lazy::prelude::PlanCallback,
    prelude::{DataFrame, Engine, LazyFrame, PolarsResult},
};
use taktline_core::{Aggregate, Expression, JoinKind, Operation, Schema, data_type, output_schema};

/// Whether these operations give the same rows in the same order, to the last digit, however the rows are divided.
pub(crate) fn are_steady(operations: &[Operation], schemas: &[Schema]) -> bool {
    let mut schemas = schemas.to_vec();
    operations.iter().all(|operation| {
        let steady = is_steady(operation, schemas.first());
        let after = output_schema(std::slice::from_ref(operation), &schemas);
        if let Some(first) = schemas.first_mut() {
            *first = after;
        }
        steady
    })
}

fn is_steady(operation: &Operation, schema: Option<&Schema>) -> bool {
    match operation {
        Operation::Project(_)
        | Operation::With(_)
        | Operation::Filter(_)
        | Operation::Distinct { .. }
        | Operation::Mark { .. }
        | Operation::Sort(_)
        | Operation::Union { .. }
        | Operation::Sample { .. } => true,
        // Rows of the right alone come in whatever order their parts of the table are looked through.
        Operation::Join { kind, .. } => *kind != JoinKind::Full,
        Operation::Aggregate { aggregates, .. } => {
            schema.is_some_and(|schema| aggregates.iter().all(|(_, value)| is_exact(value, schema)))
        }
        // The others look at all rows at once, and closures may do anything.
        _ => false,
    }
}

/// Whether an aggregate is the same in whatever order its rows come.
fn is_exact(value: &Expression, schema: &Schema) -> bool {
    match value {
        Expression::Aggregate(
            Aggregate::Count | Aggregate::CountDistinct | Aggregate::Min | Aggregate::Max,
            _,
        ) => true,
        Expression::Aggregate(Aggregate::Sum, Some(argument)) => {
            data_type(argument, schema).is_ok_and(|dtype| dtype.is_integer() || dtype.is_bool())
        }
        Expression::Aggregate(..) => false,
        Expression::Column(_) | Expression::Literal(_) => true,
        Expression::Unary(_, operand) | Expression::Cast { operand, .. } => {
            is_exact(operand, schema)
        }
        Expression::Binary(_, left, right) => is_exact(left, schema) && is_exact(right, schema),
        Expression::Call(_, arguments) => arguments.iter().all(|one| is_exact(one, schema)),
        _ => false,
    }
}

/// The query with every part of it run where it stands.
///
/// polars makes equal parts of a query one, and takes closures for equal that have the same name: two stages of a kind with
/// different params would give the same rows, and one of two counters would never count. What several stages read is made
/// once by the engine itself.
pub(crate) fn unshared(frame: LazyFrame) -> LazyFrame {
    frame.with_comm_subplan_elim(false)
}

/// Runs the query with all its rows in memory, for its errors.
pub(crate) fn make(frame: LazyFrame) -> PolarsResult<()> {
    unshared(frame).collect().map(|_| ())
}

/// Runs the query in parts and puts its rows together.
pub(crate) fn gather(frame: LazyFrame) -> PolarsResult<DataFrame> {
    unshared(frame)
        .collect_with_engine(Engine::Streaming)
        .map(|rows| rows.unwrap_single())
}

/// Runs the query and keeps nothing of what comes out, for its errors.
pub(crate) fn drain(frame: LazyFrame) -> PolarsResult<()> {
    each(frame, |_| Ok(false))
}

/// Runs the query and looks at its rows part by part, in any order, until `look` says that it has seen enough.
pub(crate) fn each(
    frame: LazyFrame,
    look: impl Fn(DataFrame) -> PolarsResult<bool> + Send + Sync + 'static,
) -> PolarsResult<()> {
    unshared(frame)
        .sink_batches(PlanCallback::new(look), false, None)?
        .collect_with_engine(Engine::Streaming)
        .map(|_| ())
}
