//! What the engine lends a stage while it checks, reads or learns.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{Error, Problem, Result};

/// What this build of takt can do.
#[derive(Debug, Clone, Default)]
pub struct Capabilities {
    /// Why torch stages cannot run here, and how to get them; `None` when they can.
    pub torch_missing: Option<String>,
}

/// Collects every problem of a stage; a check never stops at the first.
#[derive(Debug)]
pub struct CheckContext<'a> {
    /// The stage's id, for messages.
    pub stage: &'a str,
    /// The pipeline's seed, for kinds without a seed of their own.
    pub seed: u64,
    /// The directory that relative paths start from.
    pub directory: &'a Path,
    /// What this build can do.
    pub capabilities: &'a Capabilities,
    /// What was found.
    pub problems: Vec<Problem>,
}

impl CheckContext<'_> {
    /// Notes a problem.
    pub fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A path of the spec, from the directory that relative paths start from.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// Whether an error (not just a warning) was found.
    pub fn failed(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity == crate::Severity::Error)
    }
}

/// The folder in a project's directory where taktline keeps its own files.
pub const STORE: &str = ".taktline";

/// Lent to a source while it opens its data, and to a sink while it writes.
#[derive(Debug, Clone)]
pub struct SourceContext<'a> {
    /// The pipeline's seed, for generators without a seed of their own.
    pub seed: u64,
    /// The directory that relative paths start from.
    pub directory: &'a Path,
    /// Names what a sink writes: the same in a repeated run of the same work, so that rows are appended at most once. The
    /// run key that the user or a schedule gave, else the content key of the stage. `None` while no run is going on.
    pub run_key: Option<&'a str>,
}

impl SourceContext<'_> {
    /// Where sources keep rows that they fetched (from a database, an object store) for the engine to scan, by their own
    /// content hashes; may be emptied at any time between runs.
    pub fn fetched(&self) -> PathBuf {
        self.directory.join(STORE).join("fetched")
    }

    /// A path of the spec, from the directory that relative paths start from.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }
}

/// Set once, when the user wants the run to end.
#[derive(Debug, Default)]
pub struct Cancellation(AtomicBool);

impl Cancellation {
    /// Asks everything that looks to end.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the user asked to end.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// [`Error::Interrupted`] if the user asked to end.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    }
}

/// Something worth showing while a stage works.
#[derive(Debug, Clone, PartialEq)]
pub enum ProgressEvent {
    /// Work of a known size moved on.
    Step {
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
        /// What a step is: `batches`, `rows`.
        unit: &'static str,
    },
    /// A pass over the training data ended.
    Epoch {
        /// Which one, from 1.
        epoch: u64,
        /// Of how many.
        epochs: u64,
        /// Mean training loss in this epoch.
        loss: f64,
        /// Named figures of this epoch (accuracy).
        figures: Vec<(String, f64)>,
    },
    /// A sentence for the user ("resumed from epoch 3 of 5").
    Message(String),
}

/// Where progress goes.
pub trait Progress: Send + Sync {
    /// Shows an event.
    fn event(&self, event: ProgressEvent);
}

/// Shows nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: ProgressEvent) {}
}

/// Where a long training keeps what it has done, so that an interrupted one goes on instead of starting again.
pub trait Checkpoints: Send + Sync {
    /// The last checkpoint of the very same training (same data, params and seed), if any.
    fn load(&self) -> Option<Vec<u8>>;
    /// Keeps this checkpoint instead of the last one, at once or not at all.
    fn save(&self, bytes: &[u8]) -> Result<()>;
}

/// Keeps nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {
    fn load(&self) -> Option<Vec<u8>> {
        None
    }
    fn save(&self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// Lent to an estimator or model while it learns.
#[derive(Clone, Copy)]
pub struct FitContext<'a> {
    /// The stage's id, for messages.
    pub stage: &'a str,
    /// The seed: same seed, data and params give the same state, to the bit.
    pub seed: u64,
    /// Where progress goes.
    pub progress: &'a dyn Progress,
    /// Look at it between batches.
    pub cancellation: &'a Cancellation,
    /// Where a long training keeps what it has done.
    pub checkpoints: &'a dyn Checkpoints,
    /// The directory that relative paths start from.
    pub directory: &'a Path,
}

impl FitContext<'_> {
    /// A context without progress, cancellation or checkpoints: for tests and small work.
    pub fn quiet(seed: u64) -> FitContext<'static> {
        static NEVER: Cancellation = Cancellation(AtomicBool::new(false));
        FitContext {
            stage: "stage",
            seed,
            progress: &Silent,
            cancellation: &NEVER,
            checkpoints: &NoCheckpoints,
            directory: Path::new("."),
        }
    }

    /// A path of the spec, from the directory that relative paths start from.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }
}
