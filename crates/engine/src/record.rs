//! What each stage of a plan depends on: its content key, and a readable record to explain a changed key.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use taktline_core::{Error, Fingerprint, Result, Shape, SourceContext, type_name};
use taktline_spec::{Plan, PlannedStage};

use crate::{
    key::{Key, sorted},
    store::Store,
};

/// Raised when the engine itself would make something else of the same stages.
const ENGINE_VERSION: u32 = 1;

/// What one stage depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StageRecord {
    pub(crate) kind: String,
    pub(crate) version: u32,
    /// As written after substitution; secrets by name only.
    pub(crate) params: Value,
    /// Ids of the stages it reads.
    pub(crate) inputs: Vec<String>,
    /// The seed, where it matters.
    pub(crate) seed: Option<u64>,
    /// File name to content hash, for sources.
    pub(crate) files: BTreeMap<String, String>,
    /// Name, type and role of the columns it may look at, where roles matter.
    pub(crate) columns: Vec<(String, String, String)>,
    pub(crate) key: Key,
}

/// What a plan's stages depend on, by stage id.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct PlanRecord {
    pub(crate) stages: BTreeMap<String, StageRecord>,
}

/// What goes into a key.
#[derive(Serialize)]
struct Ingredients<'a> {
    engine: u32,
    kind: &'a str,
    version: u32,
    params: &'a Value,
    inputs: Vec<Key>,
    seed: Option<u64>,
    files: Vec<&'a String>,
    columns: &'a [(String, String, String)],
    volatile: Option<String>,
}

/// The record of every stage, in plan order.
pub(crate) fn records(plan: &Plan, store: &Store, directory: &Path) -> Result<Vec<StageRecord>> {
    let mut records: Vec<StageRecord> = Vec::with_capacity(plan.stages.len());
    for stage in &plan.stages {
        let record = record(plan, stage, &records, store, directory)?;
        records.push(record);
    }
    Ok(records)
}

fn record(
    plan: &Plan,
    stage: &PlannedStage,
    above: &[StageRecord],
    store: &Store,
    directory: &Path,
) -> Result<StageRecord> {
    let shape = stage.stage.shape();
    let mut files = BTreeMap::new();
    let mut volatile = None;
    let mut takes_seed = !matches!(
        shape,
        Shape::Relational(_) | Shape::Expect(_) | Shape::Sink(_) | Shape::Deploy(_)
    );
    if let Shape::Source(source) = &shape {
        match source.fingerprint(&SourceContext {
            seed: plan.seed,
            directory,
            run_key: None,
        })? {
            Fingerprint::Files(paths) => {
                takes_seed = false;
                for path in paths {
                    let hash = store.fingerprint(&path)?;
                    // A secret may be part of a path.
                    files.insert(plan.redact(&path.display().to_string()), hash);
                }
            }
            Fingerprint::Params => {}
            Fingerprint::Content(content) => {
                takes_seed = false;
                files.insert(stage.id.clone(), content);
            }
            Fingerprint::Volatile => volatile = Some(crate::run::run_id()),
        }
    }
    let looks_at_roles = matches!(
        shape,
        Shape::Split(_)
            | Shape::Estimator(_)
            | Shape::Model(_)
            | Shape::Evaluate(_)
            | Shape::Deploy(_)
    );
    let columns = match stage.inputs.first() {
        Some(input) if looks_at_roles => plan.stages[*input]
            .schema
            .columns
            .iter()
            .map(|column| {
                (
                    column.name.clone(),
                    type_name(&column.dtype),
                    format!("{:?}", column.role),
                )
            })
            .collect(),
        _ => Vec::new(),
    };
    let params = sorted(
        serde_json::to_value(&stage.params).map_err(|error| Error::State(error.to_string()))?,
    );
    let seed = takes_seed.then_some(plan.seed);
    let key = Key::of(&Ingredients {
        engine: ENGINE_VERSION,
        kind: stage.kind.name,
        version: stage.kind.version,
        params: &params,
        inputs: stage.inputs.iter().map(|input| above[*input].key).collect(),
        seed,
        files: files.values().collect(),
        columns: &columns,
        volatile,
    })?;
    Ok(StageRecord {
        kind: stage.kind.name.to_owned(),
        version: stage.kind.version,
        params,
        inputs: stage
            .inputs
            .iter()
            .map(|input| plan.stages[*input].id.clone())
            .collect(),
        seed,
        files,
        columns,
        key,
    })
}
