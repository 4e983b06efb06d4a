//! `takt test`: the tests that pipelines hold.

use std::{fs, path::PathBuf};

use crate::{
    data,
    harness::{Project, golden_settings, repository},
};

const SPEC: &str = "\
pipeline: payments
columns:
  is_fraud: {role: target}
stages:
  - source.csv: {path: data/payments.csv}
    id: payments
  - clean.drop_duplicates: {on: [payment_id]}
  - clean.fill_null: {columns: discount, value: 0}
  - check.expect:
      - {column: amount, between: [0, 1000]}
    id: sane
  - features.derive: {paid: amount - discount, logs: ln(amount)}
  - split.random: {test: 0.5}
  - features.standardize: {columns: [paid]}
    id: scaled
  - features.one_hot: {columns: [channel]}
  - model.linfa.logistic_regression: {features: [paid, \"channel=*\"]}
    id: classifier
  - evaluate.classification: {}
    id: quality
  - sink.csv: {path: out/scored.csv}
tests:
";

fn project(tests: &str) -> Project {
    let project = Project::with(&format!("{SPEC}{tests}"));
    data::copy(&project, "tests/data", "data");
    project
}

/// Every pipeline of the repository.
fn shipped() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![repository().join("pipelines")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_shipped_pipeline_passes_its_tests() {
    let project = Project::new();
    let files = shipped();
    assert!(files.len() >= 3, "{files:?}");
    // Networks can be checked only where they can be run.
    let has_torch = cfg!(feature = "torch");
    let files: Vec<&PathBuf> = files
        .iter()
        .filter(|file| {
            let text = fs::read_to_string(file).expect("the pipeline");
            // What scores with a registered model needs one: tests/registry.rs trains it.
            (has_torch || !text.contains("model.torch.")) && !text.contains("model.registered:")
        })
        .collect();
    let mut arguments = vec!["test", "--format", "json"];
    arguments.extend(files.iter().map(|file| file.to_str().expect("UTF-8")));
    // From the repository, where the data sets are; a test leaves nothing behind there.
    let outcome = project.takt_in(repository(), arguments).run().succeeded();
    let report = outcome.json();
    for file in report["files"].as_array().expect("files") {
        let tests = file["tests"].as_array().expect("tests");
        assert!(
            tests.len() >= 2,
            "{} has {} tests",
            file["file"],
            tests.len()
        );
    }
    assert_eq!(report["failed"], 0);
}

#[test]
fn what_is_as_expected_passes() {
    let project = project(
        "  - name: rows, frame and condition
    given:
      payments:
        - {payment_id: 1, amount: 2.0, discount: ~}
        - {payment_id: 1, amount: 3.0}
        - {payment_id: 2, amount: 4.0, discount: 1.0, at: 2024-03-01 10:00}
    stage: derive
    expect:
      rows: 2
      frame: [{payment_id: 1, paid: 2.0, logs: 0.693147, at: ~}, {payment_id: 2, paid: 3.0, at: 2024-03-01 10:00:00, logs: 1.386294}]
      condition: paid <= amount
  - name: what is fitted learns from the training rows that are given
    given:
      random: [{paid: 0.0, partition: train}, {paid: 2.0, partition: train}, {paid: 5.0, partition: test}]
    stage: scaled
    expect: {frame: [{paid: -1.0}, {paid: 1.0}, {paid: 4.0}]}
  - name: rows without a partition are training rows
    given: {random: [{paid: 0.0}, {paid: 2.0}]}
    stage: scaled
    expect: {frame: [{paid: -1.0, partition: train}, {paid: 1.0, partition: train}]}
  - name: columns that training names
    given: {scaled: [{channel: web}, {channel: shop}, {channel: web}]}
    stage: one_hot
    expect: {frame: [{\"channel=shop\": 0, \"channel=web\": 1}, {\"channel=shop\": 1, \"channel=web\": 0}, {\"channel=shop\": 0, \"channel=web\": 1}]}
  - name: a model learns too
    given:
      scaled:
        - {paid: -1.0, channel: web, is_fraud: false}
        - {paid: -0.9, channel: shop, is_fraud: false}
        - {paid: 0.9, channel: web, is_fraud: true}
        - {paid: 1.0, channel: shop, is_fraud: true}
    stage: classifier
    expect: {rows: 4, condition: prediction = is_fraud}
  - name: an amount beyond reason stops the run
    given: {payments: [{payment_id: 1, amount: 5000.0}]}
    stage: derive
    expect: {refused: does not hold for 1 of 1 row}
  - name: a source without given rows is read
    given: {}
    stage: payments
    expect: {rows: 12}
",
    );
    let before = project.files();
    let outcome = project.takt(["test", "pipeline.yaml"]).run().succeeded();
    assert!(
        outcome.stdout.contains("7 tests: 7 passed, 0 failed"),
        "{}",
        outcome.stdout
    );
    assert_eq!(project.files(), before, "a test leaves nothing behind");
}

const FAILING: &str = "  - name: too few rows
    given: {payments: [{payment_id: 1}, {payment_id: 1}]}
    stage: drop_duplicates
    expect: {rows: 2}
  - name: other cells, a row too many and one too few
    given: {payments: [{payment_id: 1, amount: 1.0}, {payment_id: 2, amount: 2.0}, {payment_id: 3, amount: 3.0}]}
    stage: drop_duplicates
    expect: {frame: [{payment_id: 1, amount: 1.0}, {payment_id: 2, amount: 2.5}, {payment_id: 4, amount: ~}]}
  - name: no rows at all
    given: {sane: [{payment_id: 1, amount: 1.0, discount: 0.5}]}
    stage: derive
    expect: {frame: []}
  - name: a condition
    given: {sane: [{amount: 1.0, discount: 0.5}, {amount: 1.0, discount: 2.0}, {amount: 1.0}]}
    stage: derive
    expect: {condition: paid > 0}
  - name: it goes through
    given: {payments: [{amount: 1.0}]}
    stage: sane
    expect: {refused: does not hold}
  - name: it fails for another reason
    given: {payments: [{amount: -1.0}]}
    stage: sane
    expect: {refused: no such file}
  - name: it fails
    given: {payments: [{amount: -1.0}]}
    stage: derive
    expect: {rows: 1}
  - name: a value that does not fit
    given: {payments: [{payment_id: 1, amount: 1.0}, {payment_id: 2, amount: cheap}]}
    stage: derive
    expect: {rows: 2}
  - name: columns that training did not make
    given: {scaled: [{channel: web}]}
    stage: one_hot
    expect: {frame: [{\"channel=post\": 1}]}
  - name: nothing wrong with this one
    given: {payments: [{payment_id: 1}]}
    stage: drop_duplicates
    expect: {rows: 1}
";

#[test]
fn what_is_not_as_expected_is_told() {
    let project = project(FAILING);
    let outcome = project.takt(["test", "pipeline.yaml"]).run().ended_with(1);
    golden_settings().bind(|| insta::assert_snapshot!("failed_tests", outcome.golden()));
}

#[test]
fn json_tells_the_same() {
    let project = project(FAILING);
    let arguments = ["test", "pipeline.yaml", "--format", "json"];
    let report = project.takt(arguments).run().ended_with(1).json();
    assert_eq!(
        (&report["status"], &report["passed"], &report["failed"]),
        (&"failed".into(), &1.into(), &9.into())
    );
    let tests = &report["files"][0]["tests"];
    assert_eq!(tests[0]["findings"][0]["finding"], "rows");
    assert_eq!(tests[0]["location"]["line"], 23);
    let difference = &tests[1]["findings"][0];
    assert_eq!(difference["lines"][0]["what"], "changed");
    assert_eq!(difference["lines"][0]["differing"][0], 1);
    assert_eq!(tests[3]["findings"][0]["violations"], 2);
    assert_eq!(tests[7]["findings"][0]["diagnostic"]["code"], "bad-test");
}

#[test]
fn tests_are_chosen_by_name() {
    let project = project(FAILING);
    let chosen = |name: &str| {
        project
            .takt(["test", "pipeline.yaml", "--filter", name])
            .run()
    };
    let outcome = chosen("Nothing WRONG").succeeded();
    assert!(
        outcome.stdout.contains("1 test: 1 passed, 0 failed"),
        "{}",
        outcome.stdout
    );
    let none = chosen("no such test").ended_with(2);
    assert!(
        none.stderr.contains("no test's name holds"),
        "{}",
        none.stderr
    );
}

#[test]
fn a_file_that_is_refused_does_not_hide_the_tests_of_others() {
    let project = project(FAILING);
    project.write("broken.yaml", "pipeline: broken\nstages: []\n");
    project.write(
        "untested.yaml",
        "pipeline: untested\nstages:\n  - source.csv: {path: data/parts.csv}\n",
    );
    let outcome = project
        .takt(["test", "broken.yaml", "untested.yaml", "pipeline.yaml"])
        .run()
        .ended_with(2);
    for told in [
        "broken.yaml: refused",
        "no tests",
        "10 tests: 1 passed, 9 failed",
    ] {
        assert!(outcome.stdout.contains(told), "{}", outcome.stdout);
    }
}
