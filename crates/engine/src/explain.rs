//! Why a stage will run, or need not: what `takt plan` says.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use taktline_core::{Diagnostic, Result, Severity, Shape};
use taktline_spec::{Plan, SourceColumns};

use crate::{
    record::{PlanRecord, StageRecord, given, records},
    store::{Condition, Payload, Store},
};

/// What will become of a stage in the next run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its result is kept from an earlier run.
    Cached,
    /// It will work.
    Run,
    /// It is part of a later barrier's query, and works if that does.
    Lazy,
}

/// A stage of the plan, explained.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Ids of the stages it reads.
    pub inputs: Vec<String>,
    /// Whether a query ends here.
    pub barrier: bool,
    /// What will become of it.
    pub status: Status,
    /// Why.
    pub reason: String,
}

/// Explains every stage, in plan order, against what the store holds and what the last run was made of.
///
/// # Errors
/// A source's files cannot be read.
pub fn explain(plan: &Plan, store: &Store, directory: &Path) -> Result<Vec<Explanation>> {
    let records = records(plan, store, directory, false)?;
    let last: Option<PlanRecord> = store.last_record(&plan.pipeline);
    let collected = store.collected();
    let readers = crate::run::readers(plan);
    let changes: Vec<Option<String>> = plan
        .stages
        .iter()
        .zip(&records)
        .map(|(stage, record)| {
            change(
                record,
                last.as_ref().and_then(|last| last.stages.get(&stage.id)),
            )
        })
        .collect();
    Ok(plan
        .stages
        .iter()
        .enumerate()
        .map(|(index, stage)| {
            let record = &records[index];
            let shape = stage.stage.shape();
            let barrier =
                readers[index] > 1 || !matches!(shape, Shape::Source(_) | Shape::Relational(_));
            let payload = match shape {
                Shape::Estimator(_) | Shape::Model(_) => Some(Payload::State),
                Shape::Evaluate(_) | Shape::Expect(_) | Shape::Deploy(_) => Some(Payload::Findings),
                Shape::Split(_) => Some(Payload::Frame),
                _ => None,
            };
            let looks_at_clock = matches!(shape, Shape::Expect(expect) if expect.looks_at_clock());
            let payload = payload.filter(|_| stage.cache && !looks_at_clock);
            let condition = payload.map(|payload| store.condition(record.key, payload));
            let kept = condition == Some(Condition::Whole);
            let (status, reason) = if kept {
                (
                    Status::Cached,
                    "same stages, data and seed as an earlier run".to_owned(),
                )
            } else {
                let reason = changes[index].clone().unwrap_or_else(|| {
                    changed_above(plan, &changes, index).unwrap_or_else(|| match shape {
                        Shape::Sink(_) => "a sink always writes".to_owned(),
                        _ if !stage.cache => "`cache: false`".to_owned(),
                        _ if looks_at_clock => "it compares with the time of the run".to_owned(),
                        _ if condition == Some(Condition::Damaged) => {
                            "its result in the cache is damaged".to_owned()
                        }
                        _ if collected.contains_key(&record.key.to_string()) => format!(
                            "its result was removed by `takt gc` on {}",
                            collected[&record.key.to_string()]
                        ),
                        Shape::Source(_) | Shape::Relational(_) | Shape::Split(_) => {
                            "unchanged; made again if a stage below needs its rows".to_owned()
                        }
                        _ => "its result is not in the cache (the last run did not come so far)"
                            .to_owned(),
                    })
                });
                let lazy = matches!(
                    shape,
                    Shape::Source(_) | Shape::Relational(_) | Shape::Split(_)
                );
                (if lazy { Status::Lazy } else { Status::Run }, reason)
            };
            Explanation {
                id: stage.id.clone(),
                kind: stage.kind.name.to_owned(),
                inputs: record.inputs.clone(),
                barrier,
                status,
                reason,
            }
        })
        .collect())
}

/// The nearest stage above that changed by itself.
fn changed_above(plan: &Plan, changes: &[Option<String>], index: usize) -> Option<String> {
    plan.stages[index]
        .inputs
        .iter()
        .find_map(|input| match &changes[*input] {
            Some(change) => Some(format!("`{}` above: {change}", plan.stages[*input].id)),
            None => changed_above(plan, changes, *input),
        })
}

/// What is different in the stage itself since the last run; `None` when nothing is.
fn change(now: &StageRecord, before: Option<&StageRecord>) -> Option<String> {
    let Some(before) = before else {
        return Some("not run before".to_owned());
    };
    if now.kind != before.kind {
        return Some(format!("its kind changed from `{}`", before.kind));
    }
    if now.version != before.version {
        return Some(format!("this takt has a newer `{}`", now.kind));
    }
    let mut params = Vec::new();
    differences("", &before.params, &now.params, &mut params);
    if !params.is_empty() {
        return Some(params.join(", "));
    }
    if now.inputs != before.inputs {
        return Some(format!(
            "reads {} instead of {}",
            quoted(&now.inputs),
            quoted(&before.inputs)
        ));
    }
    if let (Some(now), Some(before)) = (now.seed, before.seed)
        && now != before
    {
        return Some(format!("the seed changed {before} → {now}"));
    }
    if now.files != before.files {
        let changed: Vec<String> = now
            .files
            .iter()
            .filter(|(name, hash)| before.files.get(*name) != Some(hash))
            .map(|(name, _)| name.clone())
            .collect();
        let what = if changed.is_empty() {
            "files are gone".to_owned()
        } else {
            format!("the content of {} changed", quoted(&changed))
        };
        return Some(match drift(now, before) {
            Some(drift) => format!("{what}: {drift}"),
            None => what,
        });
    }
    let roles: Vec<String> = now
        .columns
        .iter()
        .filter(|column| {
            before
                .columns
                .iter()
                .any(|earlier| earlier.0 == column.0 && earlier.2 != column.2)
        })
        .map(|column| column.0.clone())
        .collect();
    (!roles.is_empty()).then(|| format!("the role of {} changed", quoted(&roles)))
}

/// How the columns that a source gives differ from those that the last run saw; `None` where they do not.
pub(crate) fn drift(now: &StageRecord, before: &StageRecord) -> Option<String> {
    drifted(&now.kind, &now.gives, before)
}

/// What is told of a pipeline that cannot run, for each source whose columns are not those that the last run saw.
///
/// A column that a stage below does not find may be gone from the data rather than misspelt in the pipeline.
pub fn schema_drift(sources: &[SourceColumns], store: &Store) -> Vec<Diagnostic> {
    let Some(last) = sources
        .first()
        .and_then(|source| store.last_record::<PlanRecord>(&source.pipeline))
    else {
        return Vec::new();
    };
    let told = |source: &SourceColumns| {
        let before = last.stages.get(&source.stage)?;
        let drift = drifted(source.kind.name, &given(&source.schema), before)?;
        let message = format!(
            "stage `{}` gives other columns than in the last run: {drift}",
            source.stage
        );
        Some(Diagnostic {
            severity: Severity::Warning,
            location: Some(source.location.clone()),
            ..Diagnostic::error("schema-drift", message)
        })
    };
    sources.iter().filter_map(told).collect()
}

fn drifted(kind: &str, gives: &[(String, String)], before: &StageRecord) -> Option<String> {
    // Another source says nothing of this one; a record of an older takt knows no columns.
    if kind != before.kind || before.gives.is_empty() {
        return None;
    }
    let find = |columns: &[(String, String)], name: &String| {
        columns
            .iter()
            .find(|column| column.0 == *name)
            .map(|column| column.1.clone())
    };
    let mut told = Vec::new();
    for (name, dtype) in gives {
        match find(&before.gives, name) {
            None => told.push(format!("new column `{name}`")),
            Some(earlier) if earlier != *dtype => {
                told.push(format!("`{name}` was {earlier}, is {dtype}"));
            }
            Some(_) => {}
        }
    }
    for (name, _) in &before.gives {
        if find(gives, name).is_none() {
            told.push(format!("column `{name}` is gone"));
        }
    }
    (!told.is_empty()).then(|| told.join("; "))
}

fn quoted(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// `threshold` changed 0.5 → 0.6, for every leaf that differs.
fn differences(path: &str, before: &Value, now: &Value, found: &mut Vec<String>) {
    let join = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            for (key, value) in now {
                match before.get(key) {
                    Some(earlier) => differences(&join(key), earlier, value, found),
                    None => found.push(format!("`{}` is new", join(key))),
                }
            }
            found.extend(
                before
                    .keys()
                    .filter(|key| !now.contains_key(*key))
                    .map(|key| format!("`{}` is gone", join(key))),
            );
        }
        (Value::Array(before), Value::Array(now)) if before.len() == now.len() => {
            for (index, (before, now)) in before.iter().zip(now).enumerate() {
                differences(&join(&index.to_string()), before, now, found);
            }
        }
        _ if before != now => {
            let name = if path.is_empty() {
                "its params".to_owned()
            } else {
                format!("`{path}`")
            };
            found.push(format!("{name} changed {} → {}", short(before), short(now)));
        }
        _ => {}
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 40 {
        text
    } else {
        format!("{}…", text.chars().take(40).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_which_param_changed() {
        let mut found = Vec::new();
        differences(
            "",
            &json!({"threshold": 0.5, "gone": 1, "layers": [{"dense": 3}]}),
            &json!({"threshold": 0.6, "fresh": 1, "layers": [{"dense": 4}]}),
            &mut found,
        );
        assert_eq!(
            found,
            [
                "`threshold` changed 0.5 → 0.6",
                "`fresh` is new",
                "`layers.0.dense` changed 3 → 4",
                "`gone` is gone"
            ]
        );
    }

    #[test]
    fn says_how_the_columns_of_a_source_changed() {
        let record = |gives: &[(&str, &str)]| StageRecord {
            kind: "source.csv".into(),
            version: 1,
            params: json!({}),
            inputs: Vec::new(),
            seed: None,
            files: [("f.csv".to_owned(), format!("{gives:?}"))].into(),
            columns: Vec::new(),
            gives: gives
                .iter()
                .map(|(name, dtype)| (name.to_string(), dtype.to_string()))
                .collect(),
            key: crate::key::Key::of(&gives.len()).expect("a key"),
        };
        let before = record(&[("y", "f64"), ("z", "i64"), ("same", "date")]);
        let now = record(&[("x", "bool"), ("z", "text"), ("same", "date")]);
        assert_eq!(
            change(&now, Some(&before)).as_deref(),
            Some(
                "the content of `f.csv` changed: new column `x`; `z` was i64, is text; column `y` is gone"
            )
        );
        assert_eq!(drift(&now, &now), None);
        assert_eq!(drift(&now, &record(&[])), None);
    }
}
