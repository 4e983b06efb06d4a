//! `check.expect` in whole runs: rows set aside, findings kept, other stages looked up.

use std::{fs::File, path::Path};

use polars::prelude::{DataFrame, ParquetReader, SerReader};

use crate::harness::{Outcome, Project};

const ROWS: &str = "id,account,amount\n1,a,5\n2,b,-1\n3,,7\n4,x,-2\n";

fn project(rules: &str) -> Project {
    let project = Project::with(&format!(
        "pipeline: payments
columns:
  account: {{role: pii}}
stages:
  - source.csv: {{path: payments.csv}}
    id: payments
  - check.expect:
{rules}"
    ));
    project.write("payments.csv", ROWS);
    project
}

fn rows(path: &Path) -> DataFrame {
    ParquetReader::new(File::open(path).expect("a file"))
        .finish()
        .expect("rows")
}

fn quarantine(project: &Project, outcome: &Outcome) -> DataFrame {
    let report = outcome.json();
    assert_eq!(report["quarantined"][0][0], "expect", "{report}");
    let path = report["quarantined"][0][1]["path"]
        .as_str()
        .expect("a path");
    let rows = rows(&project.path(path));
    assert_eq!(report["quarantined"][0][1]["rows"], rows.height());
    rows
}

fn texts(rows: &DataFrame, name: &str) -> Vec<Option<String>> {
    let column = rows.column(name).expect("there");
    let column = column.str().expect("text");
    column.iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn a_failed_run_sets_the_rows_aside() {
    let project = project(
        "      - {column: amount, between: [0, null]}\n      - {column: account, not_null: true}\n",
    );
    let outcome = project
        .takt(["run", "pipeline.yaml", "--format", "json"])
        .run()
        .ended_with(3);
    let rows = quarantine(&project, &outcome);
    let names: Vec<&str> = rows
        .get_column_names()
        .into_iter()
        .map(|name| name.as_str())
        .collect();
    assert_eq!(names, ["row", "rule", "id", "account", "amount"]);
    let numbers: Vec<u64> = rows
        .column("row")
        .expect("there")
        .u64()
        .expect("numbers")
        .iter()
        .flatten()
        .collect();
    assert_eq!(numbers, [2, 3, 4]);
    let rule = |text: &str| Some(text.to_owned());
    assert_eq!(
        texts(&rows, "rule"),
        [
            rule("amount >= 0"),
            rule("account is not null"),
            rule("amount >= 0")
        ]
    );
    // Personal data is not copied.
    assert_eq!(
        texts(&rows, "account"),
        [rule("hidden"), None, rule("hidden")]
    );
    let diagnostic = &outcome.json()["diagnostics"][0];
    let note = diagnostic["notes"][0].as_str().expect("a note");
    assert!(
        note.starts_with("the rows are in ") && note.ends_with("/quarantine-expect.parquet"),
        "{note}"
    );
}

#[test]
fn a_run_with_warnings_sets_the_rows_aside_once() {
    let project = project(
        "      - {column: amount, between: [0, null], severity: warn}\n      - {column: amount, mean: [100, null], severity: warn}\n",
    );
    let run = || {
        project
            .takt(["run", "pipeline.yaml", "--format", "json"])
            .run()
            .succeeded()
    };
    let first = run();
    assert_eq!(quarantine(&project, &first).height(), 2);
    let findings = first.json()["expectations"][0][1].clone();
    assert_eq!(
        (&findings[1]["about_all"], &findings[1]["examples"][0]),
        (&true.into(), &"it is 2.25".into())
    );
    let second = run();
    assert_eq!(second.run_report().outcomes()[1].1, "cached");
    assert_eq!(second.json()["quarantined"], first.json()["quarantined"]);
    assert_eq!(second.json()["expectations"], first.json()["expectations"]);
    // Without the rows, what was found is only half of it.
    let path = first.json()["quarantined"][0][1]["path"]
        .as_str()
        .expect("a path")
        .to_owned();
    std::fs::remove_file(project.path(&path)).expect("removed");
    let third = run();
    assert_eq!(third.run_report().outcomes()[1].1, "ran");
    assert_eq!(quarantine(&project, &third).height(), 2);
    let text = project
        .takt(["run", "pipeline.yaml", "--fresh"])
        .run()
        .succeeded();
    assert!(
        text.stderr
            .contains("`amount >= 0` does not hold for 2 of 4 rows"),
        "{}",
        text.stderr
    );
    assert!(
        text.stderr
            .contains("`mean of amount >= 100` does not hold (it is 2.25)"),
        "{}",
        text.stderr
    );
    assert!(
        text.stdout.contains("quarantine-expect.parquet (expect)"),
        "{}",
        text.stdout
    );
}

#[test]
fn freshness_is_looked_at_in_every_run() {
    let project = Project::with(
        "pipeline: events
stages:
  - source.csv: {path: events.csv}
  - check.expect:
      - {column: at, fresh: {within: 1d}, severity: warn}
    id: now
  - check.expect:
      - {column: at, fresh: {within: 1d, as_of: '2024-01-02 06:00:00'}}
    id: then
",
    );
    project.write(
        "events.csv",
        "n,at\n1,2024-01-01 12:00:00\n2,2024-01-01 09:00:00\n",
    );
    let outcomes = || project.run_pipeline(&[]).outcomes();
    let of = |outcomes: &[(String, String)], id: &str| {
        outcomes
            .iter()
            .find(|(known, _)| known == id)
            .expect("the stage")
            .1
            .clone()
    };
    let first = outcomes();
    assert_eq!(
        (of(&first, "now"), of(&first, "then")),
        ("ran".into(), "ran".into())
    );
    let second = outcomes();
    assert_eq!(
        (of(&second, "now"), of(&second, "then")),
        ("ran".into(), "cached".into())
    );
    let plan = project.takt(["plan", "pipeline.yaml"]).run().succeeded();
    assert!(
        plan.stdout.contains("it compares with the time of the run"),
        "{}",
        plan.stdout
    );
}

#[test]
fn values_are_looked_up_in_another_stage() {
    let project = Project::with(
        "pipeline: payments
stages:
  - source.csv: {path: payments.csv}
    id: payments
  - source.csv: {path: accounts.csv}
    id: accounts
  - check.expect:
      - {column: account, references: {stage: accounts, column: id}}
    from: [payments, accounts]
  - sink.csv: {path: out.csv}
",
    );
    project.write("payments.csv", ROWS);
    project.write("accounts.csv", "id,name\na,Ada\nb,Bo\nx,Xi\n");
    project.takt(["run", "pipeline.yaml"]).run().succeeded();
    assert_eq!(project.read("out.csv").lines().count(), 5);
    project.write("accounts.csv", "id,name\na,Ada\nb,Bo\n");
    let outcome = project.takt(["run", "pipeline.yaml"]).run().ended_with(3);
    assert!(
        outcome
            .stderr
            .contains("`account in accounts.id` does not hold for 1 of 4 rows (row 4: x)"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_bundle_begins_above_an_expectation_that_looks_values_up() {
    let project = Project::with(
        "pipeline: parts
columns:
  part: {role: id}
  kind: {role: ignore}
  is_bad: {role: target}
stages:
  - source.csv: {path: parts.csv}
    id: parts
  - features.derive: {squared: width * width}
  - source.csv: {path: kinds.csv}
    id: kinds
  - check.expect:
      - {column: kind, references: {stage: kinds, column: kind}}
    from: [derive, kinds]
  - split.random: {test: 0.25}
  - model.linfa.logistic_regression: {}
  - deploy.bundle: {}
",
    );
    let mut parts = String::from("part,kind,width,is_bad\n");
    for part in 0..120 {
        let width = f64::from(part * 37 % 100) / 10.0;
        let is_bad = width > 5.0;
        parts.push_str(&format!("{part},k{},{width},{is_bad}\n", part % 3));
    }
    project.write("parts.csv", parts);
    project.write("kinds.csv", "kind\nk0\nk1\nk2\n");
    let bundle = project.run_pipeline(&[]).bundle();
    project.write("new.csv", "width\n9.5\n0.5\n");
    project.score(&bundle, "new.csv", "scored.csv").succeeded();
    let scored = project.read("scored.csv");
    let predictions: Vec<bool> = scored
        .lines()
        .skip(1)
        .map(|line| line.contains("true"))
        .collect();
    assert_eq!(predictions, [true, false], "{scored}");
}

#[test]
fn a_warning_beside_an_error_is_told_too() {
    let project = Project::with(
        "\
pipeline: both
stages:
  - source.csv: {path: rows.csv}
  - check.expect:
      - {column: v, between: [0, 10], severity: warn}
      - {column: id, unique: true}
",
    );
    project.write("rows.csv", "id,v\n1,5\n1,50\n");
    let outcome = project.takt(["run", "pipeline.yaml"]).run();
    assert_eq!(outcome.code, 3);
    assert!(
        outcome
            .stderr
            .contains("no more than a warning: `v between"),
        "{}",
        outcome.stderr
    );
}
