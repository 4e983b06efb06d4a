//! The local engine: runs checked plans, caches what they made, writes and opens bundles.
//!
//! The stages between two barriers become one lazy polars query. A barrier is a split, a fit, a model, an expectation, an
//! evaluation, a sink, a bundle, or a stage with two readers. What a barrier makes is kept under the hash of everything it
//! depends on; see [`explain`].

mod bundle;
mod explain;
mod key;
pub mod local;
mod record;
mod run;
mod store;
mod summary;

pub use bundle::{Bundle, BundleError, InputColumn, Manifest};
pub use explain::{Explanation, Status, explain};
pub use run::{Failure, FailureKind, Observer, RunOptions, Unobserved, frame, run};
pub use store::{Store, write_atomically};
pub use summary::{GateResult, RunSummary, StageOutcome, StageSummary};
