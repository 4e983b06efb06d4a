//! What a run did, as data: for the terminal, the report, scripts.

use std::path::PathBuf;

use serde::Serialize;
use taktline_core::{Diagnostic, Evaluation, Expectation, Output};
use taktline_store::Promotion;

use crate::{quarantine::Quarantine, tally::Changes};

/// How a stage's result came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageOutcome {
    /// It worked in this run.
    Ran,
    /// Its result was kept from an earlier run with the same inputs.
    Cached,
    /// It was part of the query that this later stage ran; its time is counted there.
    Fused {
        /// The id of the stage that ran the query.
        into: String,
    },
    /// Nothing that had to run needed it.
    NotNeeded,
    /// The run ended with it.
    Failed,
    /// The run ended before anything needed it.
    NotReached,
}

/// What a stage did to the values of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnChanges {
    /// The column.
    pub column: String,
    /// What became of its cells.
    #[serde(flatten)]
    pub changes: Changes,
}

/// What one stage did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageSummary {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// How its result came about.
    pub outcome: StageOutcome,
    /// Rows that went in, where they were counted.
    pub rows_in: Option<u64>,
    /// Rows that came out, where they were counted.
    pub rows_out: Option<u64>,
    /// Rows that went in and did not come out, where the stage passes rows on.
    pub rows_dropped: Option<u64>,
    /// Rows that came out and did not go in, where the stage passes rows on: those that balance the classes, further partners of a join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_added: Option<u64>,
    /// Values that a cleaning stage changed, by column in the order of their names; columns with none are left out, and so are
    /// those that nothing below the stage needed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ColumnChanges>,
    /// Seconds it took, without the stages whose query it did not run.
    pub seconds: f64,
}

/// A bound of `require` and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateResult {
    /// The metric.
    pub metric: String,
    /// Its bound, as written.
    pub bound: String,
    /// What was measured; none where no evaluation above the gate gave the metric a value.
    pub value: Option<f64>,
    /// Whether the bound is kept.
    pub passed: bool,
    /// What the registered version reaches that the bound names; none where it names none, or none is called so yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub champion: Option<Champion>,
    /// Why there was nothing to compare with, or no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A registered version of the model, judged on the rows of this run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Champion {
    /// Its number.
    pub version: i64,
    /// What it reaches.
    pub value: f64,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary {
    /// The pipeline.
    pub pipeline: String,
    /// The run's id.
    pub run: String,
    /// The seed.
    pub seed: u64,
    /// What the sources hold, as a hash, by stage id: the same hash, the same rows.
    pub sources: Vec<(String, String)>,
    /// Stage by stage, in plan order.
    pub stages: Vec<StageSummary>,
    /// What the evaluations found, by stage id.
    pub evaluations: Vec<(String, Evaluation)>,
    /// What stages said while they learned, in this run or in the one whose result was kept, by stage id.
    pub messages: Vec<(String, String)>,
    /// What the expectations found, by stage id.
    pub expectations: Vec<(String, Vec<Expectation>)>,
    /// Where the rows are that broke a rule, by stage id.
    pub quarantined: Vec<(String, Quarantine)>,
    /// The gates.
    pub gates: Vec<GateResult>,
    /// What is wrong with the pipeline and came out only when all was done: a gate on a metric that nothing measured. The run has
    /// failed then, whatever the other gates say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// What sinks wrote, by stage id.
    pub outputs: Vec<(String, Output)>,
    /// The bundle, if one was written (or is there unchanged).
    pub bundle: Option<PathBuf>,
    /// Which name the bundle's version is to have in the registry.
    pub promote: Option<Promotion>,
    /// Seconds in all.
    pub seconds: f64,
}

impl RunSummary {
    /// Whether every gate is kept.
    pub fn passed(&self) -> bool {
        self.gates.iter().all(|gate| gate.passed)
    }
}
