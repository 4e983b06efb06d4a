//! What a run tells of itself: the document that `takt run --format json` prints, in the tables' words.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a stage did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageFigures {
    /// Its id.
    pub stage: String,
    /// Its kind.
    pub kind: String,
    /// `ran`, `cached`, `fused`, `not_needed`.
    pub outcome: String,
    /// Rows that went in, where they were counted.
    pub rows_in: Option<i64>,
    /// Rows that came out, where they were counted.
    pub rows_out: Option<i64>,
    /// Rows that did not come out.
    pub rows_dropped: Option<i64>,
    /// Seconds it took.
    pub seconds: f64,
}

/// A metric of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The evaluation's stage.
    pub stage: String,
    /// The part of the rows that it was measured on.
    pub part: String,
    /// Its name.
    pub name: String,
    /// Its value; none where it is not a number.
    pub value: Option<f64>,
}

impl Metric {
    /// Whether it was measured on rows that were not learned from.
    pub fn is_held_out(&self) -> bool {
        self.part != "train"
    }

    /// `quality.accuracy`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.stage, self.name)
    }
}

/// Something that a run left behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// The stage that made it; empty for the run's own.
    pub stage: String,
    /// `output`, `quarantine`, `bundle`, `report`.
    pub what: String,
    /// A path, or a place in words.
    pub place: String,
}

/// An alias that a new version is to have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// The alias.
    pub alias: String,
    /// Whether the new version was compared with the one of that name: it may then take no other's place.
    pub compared: bool,
    /// The version that it was compared with; none where no version was called so.
    pub over: Option<i64>,
}

/// What a run tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The seed it ran with.
    pub seed: Option<i64>,
    /// The content of its sources: stage to hash.
    pub sources: Vec<(String, String)>,
    /// Stage by stage.
    pub stages: Vec<StageFigures>,
    /// What its evaluations measured.
    pub metrics: Vec<Metric>,
    /// What it left behind.
    pub artifacts: Vec<Artifact>,
    /// The bundle that it wrote.
    pub bundle: Option<String>,
    /// Which name the bundle's version is to have.
    pub promote: Option<Promotion>,
    /// Its HTML report.
    pub report: Option<String>,
    /// Why it did not come to its end, or which gate said no.
    pub reason: Option<String>,
}

impl RunReport {
    /// Reads what `takt run --format json` printed; what is not there is left out.
    pub fn read(printed: &Value) -> Self {
        let text =
            |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let count = |value: &Value, key: &str| value.get(key).and_then(Value::as_i64);
        let items = |key: &str| {
            printed
                .get(key)
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default()
        };
        let pairs = |key: &str| -> Vec<(String, &Value)> {
            items(key)
                .iter()
                .filter_map(|pair| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?)))
                .collect()
        };
        let stages = items("stages")
            .iter()
            .map(|stage| StageFigures {
                stage: text(stage, "id").unwrap_or_default(),
                kind: text(stage, "kind").unwrap_or_default(),
                outcome: match stage.get("outcome") {
                    Some(Value::String(outcome)) => outcome.clone(),
                    Some(Value::Object(outcome)) => {
                        outcome.keys().next().cloned().unwrap_or_default()
                    }
                    _ => String::new(),
                },
                rows_in: count(stage, "rows_in"),
                rows_out: count(stage, "rows_out"),
                rows_dropped: count(stage, "rows_dropped"),
                seconds: stage
                    .get("seconds")
                    .and_then(Value::as_f64)
                    .unwrap_or_default(),
            })
            .collect();
        let mut metrics = Vec::new();
        for (stage, evaluation) in pairs("evaluations") {
            let part = text(evaluation, "part").unwrap_or_default();
            for (key, part) in [("metrics", part.as_str()), ("train_metrics", "train")] {
                for metric in evaluation
                    .get(key)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                {
                    let Some(name) = metric.get(0).and_then(Value::as_str) else {
                        continue;
                    };
                    metrics.push(Metric {
                        stage: stage.clone(),
                        part: part.to_owned(),
                        name: name.to_owned(),
                        value: metric.get(1).and_then(Value::as_f64),
                    });
                }
            }
        }
        let mut artifacts = Vec::new();
        for (stage, output) in pairs("outputs") {
            // A path or a place; a table for the terminal is nothing that stays.
            let place = ["path", "place"].iter().find_map(|key| text(output, key));
            artifacts.extend(place.map(|place| Artifact {
                stage,
                what: "output".to_owned(),
                place,
            }));
        }
        for (stage, quarantine) in pairs("quarantined") {
            artifacts.extend(text(quarantine, "path").map(|place| Artifact {
                stage,
                what: "quarantine".to_owned(),
                place,
            }));
        }
        for what in ["bundle", "report"] {
            artifacts.extend(text(printed, what).map(|place| Artifact {
                stage: String::new(),
                what: what.to_owned(),
                place,
            }));
        }
        let refused = items("gates")
            .iter()
            .find(|gate| gate.get("passed") == Some(&Value::Bool(false)));
        let refused = refused.map(|gate| {
            let champion = gate.get("champion").map(|champion| {
                let of = |key: &str| champion.get(key).unwrap_or(&Value::Null);
                format!("; version {} reaches {}", of("version"), of("value"))
            });
            format!(
                "the gate `{} {}` is not kept ({}{})",
                text(gate, "metric").unwrap_or_default(),
                text(gate, "bound").unwrap_or_default(),
                gate.get("value").unwrap_or(&Value::Null),
                champion.unwrap_or_default()
            )
        });
        let failed = items("diagnostics")
            .iter()
            .find(|one| text(one, "severity").as_deref() == Some("error"))
            .and_then(|one| text(one, "message"));
        Self {
            seed: count(printed, "seed"),
            sources: pairs("sources")
                .into_iter()
                .filter_map(|(stage, hash)| Some((stage, hash.as_str()?.to_owned())))
                .collect(),
            stages,
            metrics,
            artifacts,
            bundle: text(printed, "bundle"),
            promote: printed
                .get("promote")
                .and_then(|promote| Promotion::deserialize(promote).ok()),
            report: text(printed, "report"),
            reason: failed.or(refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_run_printed() {
        let report = RunReport::read(&json!({
            "status": "finished", "passed": false, "seed": 7, "report": "r.html", "bundle": null,
            "stages": [
                {"id": "rows", "kind": "source.csv", "outcome": {"fused": {"into": "model"}}, "rows_in": null, "rows_out": 10, "rows_dropped": null, "seconds": 0.0},
                {"id": "model", "kind": "model.x", "outcome": "ran", "rows_in": 10, "rows_out": 10, "rows_dropped": 0, "seconds": 1.5},
            ],
            "evaluations": [["quality", {"part": "test", "metrics": [["accuracy", 0.5], ["lift", null]], "train_metrics": [["accuracy", 0.9]]}]],
            "gates": [{"metric": "accuracy", "bound": ">= 0.6", "value": 0.5, "passed": false}],
            "outputs": [["scores", {"path": "out.csv"}], ["shown", {"text": "a table"}]],
        }));
        assert_eq!(report.seed, Some(7));
        assert_eq!(report.stages[0].outcome, "fused");
        assert_eq!(report.stages[1].rows_in, Some(10));
        let metrics: Vec<_> = report
            .metrics
            .iter()
            .map(|metric| (metric.part.as_str(), metric.name.as_str(), metric.value))
            .collect();
        assert_eq!(
            metrics,
            [
                ("test", "accuracy", Some(0.5)),
                ("test", "lift", None),
                ("train", "accuracy", Some(0.9))
            ]
        );
        let places: Vec<_> = report
            .artifacts
            .iter()
            .map(|artifact| artifact.place.as_str())
            .collect();
        assert_eq!(places, ["out.csv", "r.html"]);
        assert_eq!(
            report.reason.as_deref(),
            Some("the gate `accuracy >= 0.6` is not kept (0.5)")
        );
    }

    #[test]
    fn why_a_run_failed() {
        let report = RunReport::read(&json!({
            "status": "failed",
            "diagnostics": [{"severity": "warning", "message": "w"}, {"severity": "error", "message": "no such file"}],
        }));
        assert_eq!(report.reason.as_deref(), Some("no such file"));
        assert_eq!(RunReport::read(&Value::Null), RunReport::default());
    }
}
