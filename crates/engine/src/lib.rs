//! The local engine: runs checked plans, caches what they made, writes and opens bundles.
//!
//! The stages between two barriers become one lazy polars query. A barrier is a split, a fit, a model, an expectation, an
//! evaluation, a sink, a bundle, or a stage with two readers. What a barrier makes is kept under the hash of everything it
//! depends on; see [`explain`].

mod bundle;
mod cases;
mod cells;
mod difference;
mod explain;
mod fingerprint;
mod gc;
mod key;
mod lease;
pub mod local;
mod quarantine;
mod record;
mod registered;
mod run;
mod sieve;
mod store;
mod streaming;
mod summary;
mod tally;

pub use bundle::{Bundle, BundleError, InputColumn, Manifest};
pub use cases::{Finding, TestResult, test};
pub use difference::{Difference, DifferentRow};
pub use explain::{Explanation, Status, explain, schema_drift};
pub use gc::{CollectOptions, Collected, Collection, Removed, collect};
pub use quarantine::Quarantine;
pub use run::{
    Failure, FailureKind, Observer, RunOptions, Unobserved, frame, output_folders, rows_after, run,
};
pub use store::{Store, write_atomically};
pub use summary::{Champion, ColumnChanges, GateResult, RunSummary, StageOutcome, StageSummary};
pub use tally::Changes;
