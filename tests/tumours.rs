//! A table from file to bundle: what is cached, what runs again and why, and what a gate does.

use std::fs;

use crate::harness::{Project, RunReport, repository};

const SPEC: &str = "\
pipeline: tumours
columns:
  diagnosis: {role: target}
stages:
  - source.csv: {path: data/tumours.csv}
    id: tumours
  - clean.drop_duplicates: {}
  - check.expect:
      - {column: mean_radius, between: [0, 100]}
    id: sane
  - features.derive: {texture_to_radius: mean_texture / mean_radius}
  - split.stratified: {test: 0.25}
  - features.standardize: {columns: [mean_radius, texture_to_radius, worst_area]}
  - model.linfa.logistic_regression:
      features: [mean_radius, texture_to_radius, worst_area]
      positive: M
      penalty: 1
    id: classifier
  - evaluate.classification: {positive: M, cost: {missed: 50, false_alarm: 1}}
    id: quality
  - deploy.bundle: {require: {roc_auc: \">= 0.9\"}}
";

/// The stages that have a result of their own, in order.
const BARRIERS: [&str; 6] = [
    "sane",
    "stratified",
    "standardize",
    "classifier",
    "quality",
    "bundle",
];

pub(crate) fn project() -> Project {
    let project = Project::with(SPEC);
    project.write("data/tumours.csv", tumours());
    project
}

/// The Wisconsin breast cancer data, as `takt init` gives it.
pub(crate) fn tumours() -> Vec<u8> {
    fs::read(repository().join("datasets/medical/wdbc.csv")).expect("the data")
}

/// Status and reason of a stage in `takt plan`.
fn planned(project: &Project, stage: &str) -> (String, String) {
    let plan = project
        .takt(["plan", "pipeline.yaml", "--format", "json"])
        .run()
        .succeeded()
        .json();
    let stages = plan["stages"].as_array().expect("stages");
    let stage = stages
        .iter()
        .find(|one| one["id"] == stage)
        .expect("the stage");
    let text = |key: &str| stage[key].as_str().expect("text").to_owned();
    (text("status"), text("reason"))
}

fn worked_nothing(report: &RunReport) {
    assert!(report.worked().is_empty(), "{:?}", report.outcomes());
}

#[test]
fn runs_end_to_end() {
    let project = project();
    let report = project.run_pipeline(&[]);
    assert_eq!(report.rows_out("tumours"), Some(569));
    assert_eq!(report.rows_out("stratified"), Some(569));
    let metrics = report.metrics("quality");
    assert!(
        metrics["roc_auc"] > 0.95 && metrics["accuracy"] > 0.85,
        "{metrics:?}"
    );
    let html = fs::read_to_string(report.report()).expect("a report");
    assert!(
        html.starts_with("<!doctype html>") && html.contains("<svg") && html.contains("roc_auc")
    );
    assert!(!html.contains("<script"), "a report needs no scripts");
    report.bundle_files();
}

#[test]
fn a_second_run_makes_nothing_again() {
    let project = project();
    let first = project.run_pipeline(&[]);
    let second = project.run_pipeline(&[]);
    worked_nothing(&second);
    assert_eq!(second.metrics("quality"), first.metrics("quality"));
    assert_eq!(second.bundle(), first.bundle());
    for (stage, outcome) in second.outcomes() {
        assert_eq!(
            outcome == "cached",
            BARRIERS.contains(&stage.as_str()) && stage != "stratified",
            "`{stage}` {outcome}"
        );
    }
    let text = project.takt(["run", "pipeline.yaml"]).run().succeeded();
    for stage in ["sane", "standardize", "classifier", "quality", "bundle"] {
        let line = text
            .stdout
            .lines()
            .find(|line| line.starts_with(stage))
            .expect("the stage's line");
        assert!(line.ends_with("cached"), "{line}");
    }
}

#[test]
fn comments_and_key_order_change_nothing() {
    let project = project();
    project.run_pipeline(&[]);
    project.edit(
        "pipeline.yaml",
        "stages:",
        "# How we tell them apart.\nstages:",
    );
    project.edit(
        "pipeline.yaml",
        "{missed: 50, false_alarm: 1}",
        "{ false_alarm: 1,  missed: 50 }",
    );
    project.edit("pipeline.yaml", "      penalty: 1\n", "");
    project.edit(
        "pipeline.yaml",
        "      features: [mean",
        "      penalty: 1\n      features: [mean",
    );
    assert_eq!(planned(&project, "classifier").0, "cached");
    worked_nothing(&project.run_pipeline(&[]));
}

#[test]
fn a_late_change_runs_only_what_follows() {
    let project = project();
    let first = project.run_pipeline(&[]);
    project.edit("pipeline.yaml", "missed: 50", "missed: 80");
    assert_eq!(planned(&project, "classifier").0, "cached");
    assert_eq!(
        planned(&project, "quality"),
        ("run".into(), "`cost.missed` changed 50 → 80".into())
    );
    let (status, reason) = planned(&project, "bundle");
    assert!(
        status == "run" && reason.contains("`quality` above: `cost.missed` changed 50 → 80"),
        "{reason}"
    );
    let second = project.run_pipeline(&[]);
    let worked = second.worked();
    assert!(
        worked.contains(&"quality".to_owned()) && worked.contains(&"bundle".to_owned()),
        "{worked:?}"
    );
    let cached = |stage: &str| {
        second
            .outcomes()
            .contains(&(stage.to_owned(), "cached".to_owned()))
    };
    assert!(
        cached("standardize") && cached("classifier"),
        "{:?}",
        second.outcomes()
    );
    assert_eq!(
        second.metrics("quality")["roc_auc"],
        first.metrics("quality")["roc_auc"]
    );
}

#[test]
fn a_change_in_the_middle_says_where_it_was() {
    let project = project();
    project.run_pipeline(&[]);
    project.edit("pipeline.yaml", "penalty: 1", "penalty: 2.5");
    assert_eq!(planned(&project, "standardize").0, "cached");
    assert_eq!(
        planned(&project, "classifier"),
        ("run".into(), "`penalty` changed 1 → 2.5".into())
    );
    project.edit("pipeline.yaml", "test: 0.25", "test: 0.3");
    assert_eq!(
        planned(&project, "stratified").1,
        "`test` changed 0.25 → 0.3"
    );
    assert_eq!(
        planned(&project, "standardize"),
        (
            "run".into(),
            "`stratified` above: `test` changed 0.25 → 0.3".into()
        )
    );
    let worked = project.run_pipeline(&[]).worked();
    assert!(
        ["stratified", "standardize", "classifier"]
            .iter()
            .all(|stage| worked.iter().any(|one| one == stage)),
        "{worked:?}"
    );
}

#[test]
fn another_seed_runs_what_is_random() {
    let project = project();
    project.run_pipeline(&[]);
    let report = project.run_pipeline(&["--seed", "8"]);
    let cached: Vec<String> = report
        .outcomes()
        .into_iter()
        .filter(|(_, outcome)| outcome == "cached")
        .map(|(stage, _)| stage)
        .collect();
    assert_eq!(cached, ["sane"], "only what comes before the split stays");
}

#[test]
fn other_data_runs_everything() {
    let project = project();
    let first = project.run_pipeline(&[]);
    let mut rows = tumours();
    rows.truncate(rows.len() - 1);
    let last_line = rows
        .iter()
        .rposition(|byte| *byte == b'\n')
        .expect("many lines");
    rows.truncate(last_line + 1);
    project.write("data/tumours.csv", rows);
    let (_, reason) = planned(&project, "tumours");
    assert!(
        reason.starts_with("the content of `") && reason.contains("tumours.csv` changed"),
        "{reason}"
    );
    let second = project.run_pipeline(&[]);
    assert_eq!(second.rows_out("tumours"), Some(568));
    assert!(
        second
            .outcomes()
            .iter()
            .all(|(_, outcome)| outcome != "cached"),
        "{:?}",
        second.outcomes()
    );
    assert_ne!(second.bundle(), first.bundle());
}

#[test]
fn the_same_data_under_another_name_changes_nothing() {
    let project = project();
    project.run_pipeline(&[]);
    // The same bytes, written anew.
    project.write("data/tumours.csv", tumours());
    worked_nothing(&project.run_pipeline(&[]));
}

#[test]
fn fresh_makes_everything_again() {
    let project = project();
    let first = project.run_pipeline(&[]);
    let second = project.run_pipeline(&["--fresh"]);
    assert!(
        second
            .outcomes()
            .iter()
            .all(|(_, outcome)| outcome != "cached"),
        "{:?}",
        second.outcomes()
    );
    assert_eq!(second.bundle_files(), first.bundle_files());
}

#[test]
fn a_damaged_cache_is_made_again() {
    let project = project();
    let first = project.run_pipeline(&[]);
    let cache = project.path(".taktline/cache");
    for (name, mut bytes) in crate::harness::files_below(&cache) {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(cache.join(name), bytes).expect("damaged");
    }
    let second = project.run_pipeline(&[]);
    assert_eq!(second.metrics("quality"), first.metrics("quality"));
    assert_eq!(second.bundle_files(), first.bundle_files());
}

#[test]
fn a_gate_that_is_not_kept_writes_no_bundle() {
    let project = project();
    project.edit("pipeline.yaml", ">= 0.9", "> 1.0");
    for expected in ["ran", "cached"] {
        let outcome = project.takt(["run", "pipeline.yaml"]).run().ended_with(3);
        assert!(
            outcome
                .stdout
                .contains("gate    roc_auc > 1: not kept (0.9"),
            "{}",
            outcome.stdout
        );
        assert!(
            outcome.stdout.contains("no bundle: a gate is not kept"),
            "{}",
            outcome.stdout
        );
        assert!(outcome.stdout.contains("report  "), "{}", outcome.stdout);
        assert!(
            !project.path(".taktline/bundles").exists(),
            "a bundle is there after {expected}"
        );
    }
    // A bundle of an earlier run stays, and is not taken for this run's.
    project.edit("pipeline.yaml", "> 1.0", ">= 0.9");
    let bundle = project.run_pipeline(&[]).bundle();
    project.edit("pipeline.yaml", ">= 0.9", "> 1.0");
    let outcome = project
        .takt(["run", "pipeline.yaml", "--format", "json"])
        .run()
        .ended_with(3);
    assert!(outcome.json()["bundle"].is_null() && outcome.json()["passed"] == false);
    assert!(bundle.is_dir());
}

#[test]
fn an_expectation_that_does_not_hold_stops_the_run() {
    let project = project();
    project.edit("pipeline.yaml", "between: [0, 100]", "between: [0, 20]");
    let outcome = project.takt(["run", "pipeline.yaml"]).run().ended_with(3);
    assert!(
        outcome
            .stderr
            .contains("error[expectation-broken]: stage `sane`"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("of 569 rows"), "{}", outcome.stderr);
    assert!(!project.path(".taktline/bundles").exists());
    let left = project.files();
    let runs: Vec<&String> = left
        .iter()
        .filter(|file| file.starts_with(".taktline/runs"))
        .collect();
    // The rows that broke it, and nothing else.
    assert!(
        matches!(runs[..], [file] if file.ends_with("quarantine-sane.parquet")),
        "{runs:?}"
    );
    // Fixed, it goes on.
    project.edit("pipeline.yaml", "between: [0, 20]", "between: [0, 30]");
    project.run_pipeline(&[]);
}

#[test]
fn a_failed_run_keeps_what_was_finished() {
    let project = project();
    // No probability is more than 1, which only predicting finds out.
    let broken = SPEC.replace(
        "  - deploy.bundle",
        "  - check.expect: [{column: score, between: [2, 3]}]\n    id: certain\n  - deploy.bundle",
    );
    project.write("pipeline.yaml", &broken);
    project.takt(["run", "pipeline.yaml"]).run().ended_with(3);
    project.write("pipeline.yaml", SPEC);
    let report = project.run_pipeline(&[]);
    let cached = |stage: &str| {
        report
            .outcomes()
            .contains(&(stage.to_owned(), "cached".to_owned()))
    };
    assert!(
        cached("sane") && cached("standardize") && cached("classifier"),
        "{:?}",
        report.outcomes()
    );
}

#[test]
fn pictures_are_written_in_the_formats_that_are_asked_for() {
    let project = project();
    let asked: [(&[&str], &[&str]); 3] = [
        (&[], &["svg"]),
        (&["--plots", "png"], &["png"]),
        (&["--plots", "both"], &["png", "svg"]),
    ];
    for (arguments, endings) in asked {
        let report = project.run_pipeline(arguments).report();
        let folder = report.parent().expect("the run's folder");
        for ending in ["png", "svg"] {
            let picture = folder.join(format!("quality-roc.{ending}"));
            let bytes = fs::read(&picture).ok();
            assert_eq!(bytes.is_some(), endings.contains(&ending), "{picture:?}");
            let start: &[u8] = if ending == "png" {
                b"\x89PNG\r\n"
            } else {
                b"<svg "
            };
            assert!(
                bytes.is_none_or(|bytes| bytes.starts_with(start)),
                "{picture:?}"
            );
        }
        // The report itself always shows them.
        assert!(fs::read_to_string(report).is_ok_and(|page| page.contains("<svg")));
    }
}

#[test]
fn what_the_check_and_the_model_say_is_kept_with_the_run() {
    let project = project();
    project.edit(
        "pipeline.yaml",
        "      penalty: 1\n",
        "      penalty: 0\n      max_iterations: 1\n",
    );
    project.edit("pipeline.yaml", "  - split.stratified: {test: 0.25}\n", "");
    let kept = |run: &str| {
        let report = project.takt(["run", "pipeline.yaml", "--format", "json"]);
        let report = report.run().succeeded().json();
        let said = report["messages"].as_array().expect("messages").clone();
        let said: Vec<String> = said.iter().map(ToString::to_string).collect();
        let said = said.join("\n");
        assert!(
            said.contains("had not converged after 1 iteration"),
            "{run}: {said}"
        );
        assert!(said.contains("\"classifier\""), "{run}: {said}");
        let warned = report["warnings"][0]["message"]
            .as_str()
            .expect("a warning");
        let page = project.read(report["report"].as_str().expect("a report"));
        let file = report["report"]
            .as_str()
            .expect("a report")
            .replace("report.html", "run.json");
        for part in [
            "had not converged after 1 iteration",
            "<h3>Messages",
            "warning: ",
        ] {
            assert!(page.contains(part), "{run}: {part} {page}");
        }
        assert!(project.read(&file).contains(warned), "{run}");
    };
    kept("the run that learned");
    kept("the next, for which what was learned is kept");
}
