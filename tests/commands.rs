//! What every command keeps to: streams, exit codes, formats.

use std::process::Command;

use crate::{
    data,
    harness::{Project, golden_settings},
};

/// A pipeline with a branch, a barrier and no model: quick to plan and run.
const BRANCHES: &str = "\
pipeline: payments
about: Two branches and their meeting
columns:
  payment_id: {role: id}
  is_fraud: {role: target}
stages:
  - source.csv: {path: data/payments.csv}
    id: payments
  - clean.drop_duplicates: {on: [payment_id]}
  - features.derive: {log_amount: ln(amount + 1)}
  - sink.parquet: {path: out/all.parquet}
    id: all
  - clean.filter: {where: amount > 100}
    id: large
    from: derive
  - sink.csv: {path: out/large.csv}
    id: listed
";

fn branches() -> Project {
    let project = Project::with(BRANCHES);
    data::copy(&project, "tests/data", "data");
    project
}

#[test]
fn version() {
    let outcome = Project::new().takt(["--version"]).run().succeeded();
    assert_eq!(
        outcome.stdout,
        format!("takt {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn help_names_every_command() {
    let outcome = Project::new().takt(["--help"]).run().succeeded();
    for command in [
        "check",
        "plan",
        "run",
        "score",
        "profile",
        "stages",
        "schema",
        "init",
        "completions",
    ] {
        assert!(
            outcome.stdout.contains(&format!("  {command} ")),
            "{}",
            outcome.stdout
        );
    }
}

#[test]
fn bad_usage() {
    let project = branches();
    for arguments in [
        vec!["frobnicate"],
        vec!["run"],
        vec!["run", "pipeline.yaml", "--param", "rows"],
        vec!["run", "pipeline.yaml", "--seed", "many"],
        vec!["plan", "pipeline.yaml", "--graph", "svg"],
        vec!["score", "bundle"],
        vec!["init", "project", "--template", "poem"],
        vec!["stages", "clean", "extra"],
    ] {
        let outcome = project.takt(&arguments).run().ended_with(2);
        assert!(
            outcome.stdout.is_empty() && outcome.stderr.starts_with("error: "),
            "{arguments:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn a_directory_that_is_not_there() {
    let project = Project::new();
    let outcome = project
        .takt_in(&project.path("nowhere"), ["check", "pipeline.yaml"])
        .run()
        .ended_with(2);
    assert!(
        outcome.stdout.is_empty() && outcome.stderr.contains("nowhere"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn check_says_ok() {
    let outcome = branches()
        .takt(["check", "pipeline.yaml"])
        .run()
        .succeeded();
    assert_eq!(
        outcome.golden(),
        "exit code 0\n\n--- stdout\npipeline.yaml: ok (6 stages)\n"
    );
}

#[test]
fn plan_before_and_after_a_run() {
    let project = branches();
    let before = project.takt(["plan", "pipeline.yaml"]).run().succeeded();
    golden_settings().bind(|| insta::assert_snapshot!("plan_before_a_run", before.golden()));
    assert!(
        !project.path(".taktline/runs").exists() && !project.path("out").exists(),
        "a plan runs nothing"
    );
    project.takt(["run", "pipeline.yaml"]).run().succeeded();
    let after = project.takt(["plan", "pipeline.yaml"]).run().succeeded();
    golden_settings().bind(|| insta::assert_snapshot!("plan_after_a_run", after.golden()));
}

#[test]
fn run_writes_both_branches() {
    let project = branches();
    let outcome = project.takt(["run", "pipeline.yaml"]).run().succeeded();
    golden_settings().bind(|| insta::assert_snapshot!("run_of_branches", outcome.golden()));
    assert_eq!(
        project.read("out/large.csv").lines().count(),
        5,
        "a heading and four payments"
    );
}

#[test]
fn graphs() {
    let project = branches();
    for language in ["mermaid", "dot"] {
        let outcome = project
            .takt(["plan", "pipeline.yaml", "--graph", language])
            .run()
            .succeeded();
        golden_settings()
            .bind(|| insta::assert_snapshot!(format!("graph_{language}"), outcome.golden()));
    }
}

#[test]
fn json_of_every_command() {
    let project = branches();
    let json = |arguments: &[&str]| {
        project
            .takt(arguments.iter().chain(&["--format", "json"]))
            .run()
            .succeeded()
            .json()
    };
    assert_eq!(json(&["check", "pipeline.yaml"])[0]["ok"], true);
    let plan = json(&["plan", "pipeline.yaml"]);
    assert_eq!(plan["stages"][2]["id"], "derive");
    let columns = plan["stages"][2]["schema"].as_array().expect("a schema");
    let log_amount = columns
        .iter()
        .find(|column| column["name"] == "log_amount")
        .expect("the new column");
    assert_eq!(
        (&log_amount["type"], &log_amount["role"]),
        (&"f64".into(), &"feature".into())
    );
    assert_eq!(plan["stages"][5]["status"], "run");
    let run = json(&["run", "pipeline.yaml"]);
    assert_eq!(run["passed"], true);
    assert_eq!(run["outputs"].as_array().map(Vec::len), Some(2));
    assert!(
        json(&["stages"])
            .as_array()
            .is_some_and(|kinds| kinds.len() > 20)
    );
    assert_eq!(json(&["stages", "clean.filter"])["kind"], "clean.filter");
    assert!(json(&["schema"])["properties"]["stages"].is_object());
}

#[test]
fn json_of_what_fails() {
    let project = branches();
    project.edit("pipeline.yaml", "amount > 100", "amuont > 100");
    for command in ["check", "plan", "run"] {
        let outcome = project
            .takt([command, "pipeline.yaml", "--format", "json"])
            .run()
            .ended_with(2);
        let report = outcome.json();
        assert!(
            report.to_string().contains("unknown-column"),
            "`takt {command}`: {report}"
        );
    }
}

#[test]
fn colour_only_where_it_is_asked_for() {
    let project = branches();
    let plain = project.takt(["plan", "pipeline.yaml"]).run().succeeded();
    assert!(!plain.stdout.contains('\u{1b}'));
    let coloured = project
        .takt(["plan", "pipeline.yaml", "--color", "always"])
        .run()
        .succeeded();
    assert!(coloured.stdout.contains('\u{1b}'));
}

#[test]
fn completions() {
    for (shell, mark) in [
        ("bash", "complete -F _takt"),
        ("zsh", "#compdef takt"),
        ("fish", "complete -c takt"),
    ] {
        let outcome = Project::new()
            .takt(["completions", shell])
            .run()
            .succeeded();
        assert!(
            outcome.stdout.contains(mark) && outcome.stdout.contains("completions"),
            "{shell}: {}",
            outcome.stdout
        );
    }
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_quiet() {
    for arguments in [
        "stages",
        "schema",
        "stages --format json",
        "completions bash",
    ] {
        let command = format!("{} {arguments} | head -n 1", env!("CARGO_BIN_EXE_takt"));
        let output = Command::new("bash")
            .args(["-c", &format!("set -o pipefail; {command}")])
            .output()
            .expect("a shell");
        assert!(
            output.status.success(),
            "`{arguments}`: {:?}",
            output.status
        );
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "`{arguments}`");
        assert_eq!(
            output.stdout.iter().filter(|byte| **byte == b'\n').count(),
            1
        );
    }
}

#[test]
fn names_with_spaces_and_accents() {
    let project = branches();
    project.write(
        "données de mars/prüfung.yaml",
        project
            .read("pipeline.yaml")
            .replace("data/payments", "données de mars/zahlungen"),
    );
    project.write(
        "données de mars/zahlungen.csv",
        project.read("data/payments.csv"),
    );
    project
        .takt(["run", "données de mars/prüfung.yaml"])
        .run()
        .succeeded();
}
