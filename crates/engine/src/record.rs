//! What each stage of a plan depends on: its content key, and a readable record to explain a changed key.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use taktline_core::{Error, Fingerprint, Result, Schema, Shape, SourceContext, type_name};
use taktline_spec::{Plan, PlannedStage};
use taktline_store::{new_run_id, now};

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
    /// Name, type and role of the columns it may look at.
    pub(crate) columns: Vec<(String, String, String)>,
    /// Name and type of the columns that a source gives: what a change of its content means to those who read it.
    #[serde(default)]
    pub(crate) gives: Vec<(String, String)>,
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
    /// The kinds of the models inside the params, and their versions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nested: Vec<(&'a str, u32)>,
    params: &'a Value,
    inputs: Vec<Key>,
    seed: Option<u64>,
    files: Vec<&'a String>,
    /// What the files are called, where that may say something: in folders of classes or partitions.
    names: Vec<String>,
    columns: &'a [(String, String, String)],
    volatile: Option<String>,
}

/// A source whose content is not known, and why.
#[derive(Debug)]
pub(crate) struct Unrecorded {
    /// The source, where it is one that is to blame.
    pub(crate) stage: Option<usize>,
    pub(crate) error: Error,
}

impl From<Error> for Unrecorded {
    fn from(error: Error) -> Self {
        Self { stage: None, error }
    }
}

impl From<Unrecorded> for Error {
    fn from(unrecorded: Unrecorded) -> Self {
        unrecorded.error
    }
}

/// The record of every stage, in plan order; if `anew`, whatever is known of files is found out again.
pub(crate) fn records(
    plan: &Plan,
    store: &Store,
    directory: &Path,
    anew: bool,
) -> Result<Vec<StageRecord>, Unrecorded> {
    let mut fingerprints = Vec::with_capacity(plan.stages.len());
    let cx = SourceContext {
        seed: plan.seed,
        directory,
        run_key: None,
    };
    for (index, stage) in plan.stages.iter().enumerate() {
        let unrecorded = |error| Unrecorded {
            stage: Some(index),
            error,
        };
        fingerprints.push(match stage.stage.shape() {
            Shape::Source(source) => Some(source.fingerprint(&cx).map_err(unrecorded)?),
            Shape::Model(model) => {
                let files = model.files();
                let files = files
                    .iter()
                    .map(|file| cx.resolve(file))
                    .collect::<Vec<_>>();
                (!files.is_empty()).then_some(Fingerprint::Files(files))
            }
            _ => None,
        });
    }
    let files: BTreeSet<&PathBuf> = fingerprints
        .iter()
        .filter_map(|fingerprint| match fingerprint {
            Some(Fingerprint::Files(paths)) => Some(paths),
            _ => None,
        })
        .flatten()
        .collect();
    let files: Vec<PathBuf> = files.into_iter().cloned().collect();
    let hashes = store.fingerprints(&files, anew)?;
    let mut records: Vec<StageRecord> = Vec::with_capacity(plan.stages.len());
    for (stage, fingerprint) in plan.stages.iter().zip(fingerprints) {
        let record = record(plan, stage, &records, fingerprint, &hashes)?;
        records.push(record);
    }
    Ok(records)
}

/// Records under which nothing is kept anywhere, for a run whose results are not to be found again.
pub(crate) fn unrecorded(plan: &Plan) -> Result<Vec<StageRecord>> {
    plan.stages
        .iter()
        .map(|stage| {
            Ok(StageRecord {
                kind: stage.kind.name.to_owned(),
                version: stage.kind.version,
                params: Value::Null,
                inputs: Vec::new(),
                seed: None,
                files: BTreeMap::new(),
                columns: Vec::new(),
                gives: Vec::new(),
                key: Key::of(&stage.id)?,
            })
        })
        .collect()
}

fn record(
    plan: &Plan,
    stage: &PlannedStage,
    above: &[StageRecord],
    fingerprint: Option<Fingerprint>,
    hashes: &BTreeMap<PathBuf, String>,
) -> Result<StageRecord> {
    let shape = stage.stage.shape();
    let mut files = BTreeMap::new();
    let mut names = Vec::new();
    let mut volatile = None;
    let mut takes_seed = !matches!(
        shape,
        Shape::Relational(_) | Shape::Expect(_) | Shape::Sink(_) | Shape::Deploy(_)
    );
    match fingerprint {
        Some(Fingerprint::Files(paths)) => {
            takes_seed &= matches!(shape, Shape::Model(_));
            for path in paths {
                let hash = hashes.get(&path).cloned().unwrap_or_default();
                // A secret may be part of a path.
                files.insert(plan.redact(&path.display().to_string()), hash);
            }
            names = telling_names(&files);
        }
        Some(Fingerprint::Content(content)) => {
            takes_seed = false;
            files.insert(stage.id.clone(), content);
        }
        Some(Fingerprint::Volatile) => volatile = Some(new_run_id(now())),
        Some(Fingerprint::Params) | None => {}
    }
    // A kind may look at any role: the time column that a join goes by where none is named, the target to balance.
    let columns = stage
        .inputs
        .iter()
        .flat_map(|input| &plan.stages[*input].schema.columns)
        .map(|column| {
            (
                column.name.clone(),
                type_name(&column.dtype),
                format!("{:?}", column.role),
            )
        })
        .collect::<Vec<_>>();
    let params = sorted(
        serde_json::to_value(&stage.params).map_err(|error| Error::State(error.to_string()))?,
    );
    let seed = takes_seed.then_some(plan.seed);
    let key = Key::of(&Ingredients {
        engine: ENGINE_VERSION,
        kind: stage.kind.name,
        version: stage.kind.version,
        nested: stage
            .stage
            .nested()
            .into_iter()
            .map(|nested| (nested.kind().name, nested.kind().version))
            .collect(),
        params: &params,
        inputs: stage.inputs.iter().map(|input| above[*input].key).collect(),
        seed,
        files: files.values().collect(),
        names,
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
        gives: match shape {
            Shape::Source(_) => given(&stage.schema),
            _ => Vec::new(),
        },
        key,
    })
}

/// Name and type of the columns that a source gives.
pub(crate) fn given(schema: &Schema) -> Vec<(String, String)> {
    schema
        .columns
        .iter()
        .map(|column| (column.name.clone(), type_name(&column.dtype)))
        .collect()
}

/// The files' names below the folder that they have in common, so that a project may be moved; folders of partitions
/// (`year=2024`) say something wherever they are.
fn telling_names(files: &BTreeMap<String, String>) -> Vec<String> {
    let names: Vec<Vec<&str>> = files.keys().map(|name| name.split('/').collect()).collect();
    let Some(first) = names.first() else {
        return Vec::new();
    };
    let common = first
        .iter()
        .enumerate()
        .take_while(|(at, folder)| {
            !folder.contains('=')
                && names
                    .iter()
                    .all(|name| name.len() > at + 1 && name[*at] == **folder)
        })
        .count();
    names.iter().map(|name| name[common..].join("/")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_from_the_folder_in_common() {
        let told = |names: &[&str]| {
            telling_names(
                &names
                    .iter()
                    .map(|name| (name.to_string(), String::new()))
                    .collect(),
            )
        };
        assert_eq!(told(&["/home/a/x.csv"]), ["x.csv"]);
        assert_eq!(
            told(&["/home/a/d/x.csv", "/home/a/e/x.csv"]),
            ["d/x.csv", "e/x.csv"]
        );
        assert_eq!(told(&["/home/a/x", "/home/a/x/y"]), ["x", "x/y"]);
        assert_eq!(told(&["/home/a/year=1/x"]), ["year=1/x"]);
        assert!(told(&[]).is_empty());
    }
}
