//! The words that every other crate of taktline speaks: schemas with column roles, expressions and
//! relational operations, stage kinds and their registry, fitted state, diagnostics.
//!
//! This crate does no I/O and knows no engine, no libtorch and no YAML positions.

pub mod anomaly;
pub mod class_weight;
pub mod classifier;
mod context;
mod counts;
mod diagnostic;
mod error;
mod evaluation;
mod expression;
pub mod features;
mod kind;
mod label;
mod nested;
mod operation;
pub mod regressor;
mod requirement;
mod schema;
pub mod sql;
mod stage;
mod state;
mod suggest;
mod typing;

pub use context::{
    Cancellation, Capabilities, CheckContext, Checkpoints, FitContext, NoCheckpoints, Progress,
    ProgressEvent, STORE, Silent, SourceContext,
};
pub use counts::{counted, thousands};
pub use diagnostic::{Diagnostic, Location, ParamPath, ParamStep, Problem, Severity};
pub use error::{Error, Result};
pub use evaluation::{Evaluation, Intervals, Plot, Table};
pub use expression::{
    Aggregate, BinaryOperator, Expression, Function, Literal, PairAggregate, UnaryOperator,
};
pub use kind::{Kind, Registry};
pub use label::{Classes, Label, quoted, unknown_label};
pub use nested::{NESTED, Nested, NestedState};
pub use operation::{
    AsOfDirection, Cardinality, JoinKind, Keep, Local, Operation, SortKey, WindowFrame,
    output_schema, schema_after,
};
pub use requirement::{Bound, Comparison, Requirement};
pub use schema::{Column, Facts, PARTITION, Partition, Role, Schema, type_name};
pub use stage::{
    Deploy, Estimator, Evaluate, Expect, Expectation, Fingerprint, Frame, Model, Output, Predictor,
    Relational, Shape, Sink, Source, Split, Stage,
};
pub use state::{Round, State, Tensor, TensorData, Training, read_tensors};
pub use suggest::{closest, did_you_mean};
pub use typing::{TypeClash, common_type, comparison_type, data_type, data_type_of};

// Used by `register_kind!` in other crates.
#[doc(hidden)]
pub use {inventory, schemars, serde_yaml};
