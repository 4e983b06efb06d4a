//! What is kept for the next run: by whom it is shared, what becomes of it when it is damaged, and how it goes.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::{
    harness::{Project, files_below},
    tumours,
};

/// The stages that keep a result of their own.
const KEPT: [&str; 5] = ["sane", "standardize", "classifier", "quality", "bundle"];

fn planned(project: &Project) -> Vec<(String, String, String)> {
    let plan = project
        .takt(["plan", "pipeline.yaml", "--format", "json"])
        .run()
        .succeeded()
        .json();
    let text = |stage: &Value, key: &str| stage[key].as_str().expect("text").to_owned();
    plan["stages"]
        .as_array()
        .expect("stages")
        .iter()
        .map(|stage| {
            (
                text(stage, "id"),
                text(stage, "status"),
                text(stage, "reason"),
            )
        })
        .collect()
}

fn reason(project: &Project, stage: &str) -> String {
    let planned = planned(project);
    let found = planned.into_iter().find(|(id, ..)| id == stage);
    found.expect("the stage").2
}

fn cached(project: &Project) -> Vec<String> {
    planned(project)
        .into_iter()
        .filter(|(_, status, _)| status == "cached")
        .map(|(id, ..)| id)
        .collect()
}

fn entries(project: &Project) -> Vec<PathBuf> {
    let root = project.path(".taktline/cache");
    files_below(&root)
        .into_keys()
        .map(|name| root.join(name))
        .collect()
}

/// As if nothing had been used for so long.
fn age(project: &Project, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 86_400);
    let root = project.path(".taktline");
    for name in files_below(&root).into_keys() {
        let file = fs::File::options().write(true).open(root.join(name));
        file.and_then(|file| file.set_modified(then))
            .expect("an earlier time");
    }
}

#[test]
fn a_comment_runs_nothing_again() {
    let project = tumours::project();
    project.run_pipeline(&[]);
    project.edit("pipeline.yaml", "stages:\n", "# Nothing new.\nstages:\n");
    assert_eq!(cached(&project), KEPT);
    assert!(project.run_pipeline(&[]).worked().is_empty());
}

#[test]
fn a_late_param_runs_only_what_follows() {
    let project = tumours::project();
    project.run_pipeline(&[]);
    project.edit("pipeline.yaml", "missed: 50", "missed: 60");
    assert_eq!(cached(&project), ["sane", "standardize", "classifier"]);
    assert_eq!(reason(&project, "quality"), "`cost.missed` changed 50 → 60");
    assert_eq!(
        reason(&project, "bundle"),
        "`quality` above: `cost.missed` changed 50 → 60"
    );
    let worked = project.run_pipeline(&[]).worked();
    assert!(worked.contains(&"quality".to_owned()), "{worked:?}");
    for kept in ["sane", "standardize", "classifier"] {
        assert!(!worked.contains(&kept.to_owned()), "{worked:?}");
    }
}

/// A role may decide what a stage without params for it does, even where the column is gone further down.
#[test]
fn another_role_runs_what_goes_by_it_again() {
    let project = Project::new();
    project.write("trades.csv", "opened,closed\n1,9\n");
    project.write("quotes.csv", "at,price\n1,10\n8,80\n");
    project.write(
        "pipeline.yaml",
        "\
pipeline: trades
columns: {opened: {role: time}}
stages:
  - source.csv: {path: quotes.csv, schema: {at: i64, price: i64}}
    id: quotes
  - source.csv: {path: trades.csv, schema: {opened: i64, closed: i64}}
    id: trades
  - features.join_asof: {right_on: at, select: [price]}
    from: [trades, quotes]
  - clean.select: {columns: [price]}
  - check.expect:
      - {column: price, between: [0, 50]}
  - sink.sql: {url: 'sqlite:prices.db', table: prices}
",
    );
    project.run_pipeline(&[]);
    project.edit("pipeline.yaml", "between: [0, 50]", "between: [0, 90]");
    project.run_pipeline(&[]);
    assert_eq!(cached(&project), ["expect"]);
    project.edit("pipeline.yaml", "opened: {role", "closed: {role");
    assert!(cached(&project).is_empty());
    assert!(reason(&project, "join_asof").contains("the role of"));
    assert!(
        project
            .run_pipeline(&[])
            .worked()
            .contains(&"expect".to_owned())
    );
    project.edit("pipeline.yaml", "between: [0, 90]", "between: [0, 50]");
    project.takt(["run", "pipeline.yaml"]).run().ended_with(3);
}

/// Pipelines of the same stages share what these learned, but not their bundles.
#[test]
fn a_renamed_pipeline_has_a_bundle_of_its_own() {
    let project = tumours::project();
    project.run_pipeline(&[]);
    let names = || -> Vec<String> {
        let folder = fs::read_dir(project.path(".taktline/bundles")).expect("bundles");
        let mut names: Vec<String> = folder
            .map(|entry| {
                entry
                    .expect("a folder")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    };
    let before = names();
    assert_eq!(before.len(), 1);
    let renamed = format!("pipeline: {}", before[0]);
    project.edit("pipeline.yaml", &renamed, "pipeline: another");
    project.run_pipeline(&[]);
    assert_eq!(names().len(), 2, "{:?}", names());
    assert!(names().contains(&"another".to_owned()));
}

#[test]
fn other_data_runs_everything() {
    let project = tumours::project();
    project.run_pipeline(&[]);
    let data = project.read("data/tumours.csv");
    let without_last = data.trim_end().rsplit_once('\n').expect("lines").0;
    project.write("data/tumours.csv", format!("{without_last}\n"));
    assert!(cached(&project).is_empty());
    assert_eq!(
        reason(&project, "tumours"),
        "the content of `data/tumours.csv` changed"
    );
    let report = project.run_pipeline(&[]);
    assert!(
        report
            .outcomes()
            .iter()
            .all(|(_, outcome)| outcome != "cached")
    );
    assert_eq!(report.rows_out("tumours"), Some(568));
}

#[test]
fn other_data_of_the_same_size_and_time_is_other_data() {
    let project = Project::with(
        "\
pipeline: same
stages:
  - source.csv: {path: rows.csv}
  - split.random: {test: 0.5, seed: 1}
  - features.standardize: {columns: [v]}
  - sink.csv: {path: out.csv}
",
    );
    let then = SystemTime::now() - Duration::from_secs(86_400);
    let write = |rows: &str| {
        project.write("rows.csv", rows);
        let file = fs::File::options()
            .write(true)
            .open(project.path("rows.csv"));
        let file = file.expect("opened");
        file.set_modified(then).expect("an earlier time");
        project.takt(["run", "pipeline.yaml"]).run().succeeded();
        project.read("out.csv")
    };
    let first = write("v\n1.5\n2.5\n3.5\n4.5\n");
    let second = write("v\n9.5\n2.5\n8.5\n4.5\n");
    assert_ne!(first, second);
    assert_eq!(write("v\n1.5\n2.5\n3.5\n4.5\n"), first);
}

#[test]
fn damage_anywhere_in_the_cache_changes_no_result() {
    let project = tumours::project();
    let first = project.run_pipeline(&[]);
    let (metrics, bundle) = (first.metrics("quality"), first.bundle_files());
    let entries = entries(&project);
    assert!(entries.len() >= KEPT.len(), "{entries:?}");
    // Bits at the beginning, in the middle, at the end, and half of it gone.
    for damage in 0..4 {
        for entry in &entries {
            let mut bytes = fs::read(entry).expect("an entry");
            let last = bytes.len() - 1;
            match damage {
                0 => bytes[0] ^= 1,
                1 => bytes[last / 2] ^= 0x80,
                2 => bytes[last] ^= 4,
                _ => bytes.truncate(last / 2),
            }
            fs::write(entry, bytes).expect("damaged");
        }
        assert!(cached(&project).is_empty(), "damage {damage}");
        assert_eq!(
            reason(&project, "classifier"),
            "its result in the cache is damaged"
        );
        let again = project.run_pipeline(&[]);
        assert_eq!(again.metrics("quality"), metrics, "damage {damage}");
        assert_eq!(again.bundle_files(), bundle, "damage {damage}");
        assert_eq!(cached(&project), KEPT, "the cache is whole again");
    }
}

#[test]
fn two_runs_at_once_share_the_cache() {
    let alone = tumours::project();
    let expected = alone.run_pipeline(&[]);
    let project = tumours::project();
    let start = || {
        project
            .takt(["run", "pipeline.yaml", "--format", "json"])
            .start()
    };
    let both = [start(), start()].map(|run| run.finish().succeeded().run_report());
    for report in &both {
        assert_eq!(report.metrics("quality"), expected.metrics("quality"));
        assert_eq!(report.bundle_files(), expected.bundle_files());
    }
    assert_eq!(cached(&project), KEPT);
    assert!(project.run_pipeline(&[]).worked().is_empty());
    let leases = files_below(&project.path(".taktline/leases"));
    assert!(leases.is_empty(), "{leases:?}");
}

#[test]
fn gc_removes_what_is_old_and_plan_says_so() {
    let project = tumours::project();
    let first = project.run_pipeline(&[]);
    age(&project, 40);
    let gc = |more: &[&str]| {
        let arguments = ["gc", "--format", "json"].iter().chain(more);
        project.takt(arguments).run().succeeded().json()
    };
    let kinds = |report: &Value| -> Vec<String> {
        let mut kinds: Vec<String> = report["removed"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["what"].as_str().expect("text").to_owned())
            .collect();
        kinds.dedup();
        kinds
    };
    let before = project.files();
    let dry = gc(&["--dry-run"]);
    assert_eq!(kinds(&dry), ["cache_entry"], "the newest run stays");
    let without_locks = |files: std::collections::BTreeSet<String>| -> Vec<String> {
        files
            .into_iter()
            .filter(|name| !name.ends_with("/lock"))
            .collect()
    };
    assert_eq!(without_locks(project.files()), without_locks(before));
    let done = gc(&[]);
    assert_eq!(done["removed"], dry["removed"]);
    assert!(entries(&project).is_empty());
    let told = reason(&project, "classifier");
    assert!(
        told.starts_with("its result was removed by `takt gc` on 20"),
        "{told}"
    );
    let second = project.run_pipeline(&[]);
    assert_eq!(second.bundle_files(), first.bundle_files());
    assert_eq!(cached(&project), KEPT);
    // What was just used is young; the run before is not the newest any more.
    assert_eq!(kinds(&gc(&[])), ["run"]);
    assert!(kinds(&gc(&["--keep-runs", "1"])).is_empty());
    let report = gc(&["--max-size", "0", "--keep-runs", "0", "--keep-bundles", "0"]);
    assert_eq!(kinds(&report), ["cache_entry", "run", "bundle"]);
}

#[test]
fn gc_says_what_and_how_much() {
    let project = tumours::project();
    let nothing = project.takt(["gc"]).run().succeeded();
    assert_eq!(nothing.stdout, "removed nothing\nkept 0 B\n");
    project.run_pipeline(&[]);
    let outcome = project.takt(["gc", "--max-size", "0B"]).run().succeeded();
    assert!(
        outcome.stdout.contains("used least recently"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stdout.contains("removed 6 cache entries ("),
        "{}",
        outcome.stdout
    );
    for wrong in [["--max-size", "many"], ["--max-age", "1 month"]] {
        project
            .takt(["gc"].iter().chain(&wrong))
            .run()
            .ended_with(2);
    }
}

/// Rows that take longer than a test has, below a stage that keeps a result.
const LARGE: &str = "\
pipeline: large
stages:
  - source.synthetic.payments: {rows: 100}
    id: few
  - check.expect:
      - {column: amount, not_null: true}
    id: sane
  - source.synthetic.payments: {rows: 30000000}
    id: many
  - clean.sort: {by: amount}
  - sink.csv: {path: out/sorted.csv}
";

#[cfg(unix)]
#[test]
fn gc_leaves_what_a_run_at_work_uses() {
    let project = Project::with(LARGE);
    project.write("out/keep.txt", "");
    let mut running = project.takt(["run", "pipeline.yaml"]).start();
    running.wait_for("sane: ");
    let everything = [
        "gc",
        "--max-size",
        "0",
        "--max-age",
        "0s",
        "--format",
        "json",
    ];
    let report = project.takt(everything).run().succeeded().json();
    assert_eq!(report["running"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        report["removed"].as_array().map(Vec::len),
        Some(0),
        "{report}"
    );
    running.interrupt();
    running.finish().ended_with(130);
    assert_eq!(
        files_below(&project.path("out"))
            .into_keys()
            .collect::<Vec<_>>(),
        ["keep.txt"],
        "nothing half-written stays"
    );
    // The process is gone, and its lease with it.
    let report = project.takt(everything).run().succeeded().json();
    assert_eq!(report["running"].as_array().map(Vec::len), Some(0));
    assert_eq!(
        report["removed"].as_array().map(Vec::len),
        Some(1),
        "{report}"
    );
}
