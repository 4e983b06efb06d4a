//! The fraud pipeline as it is shipped, on fewer payments.

use std::{collections::BTreeSet, fs, path::PathBuf};

use polars::prelude::{DataFrame, IdxCa, NamedFrom};
use proptest::strategy::{Just, Strategy};

use crate::{
    bundle::{
        FORMATS, Known, assert_any_rows_score_as_in_the_run, read_table, values, write_table,
    },
    harness::{Project, repository},
};

const ROWS: &str = "rows=20000";

fn project() -> Project {
    let shipped = repository().join("pipelines/finance/fraud-detection.yaml");
    Project::with(&fs::read_to_string(shipped).expect("the pipeline"))
}

#[test]
fn runs_end_to_end() {
    let project = project();
    let outcome = project
        .takt(["run", "pipeline.yaml", "--param", ROWS])
        .run();
    // Few frauds are in so few payments; whether they reach the gate is not the question here.
    assert!(matches!(outcome.code, 0 | 3), "{}", outcome.stderr);
    let line = |start: &str| {
        let starts = |line: &&str| line.split_whitespace().next() == Some(start);
        outcome
            .stdout
            .lines()
            .find(starts)
            .unwrap_or_else(|| panic!("no line `{start}`:\n{}", outcome.stdout))
    };
    assert!(line("payments").contains("20,000"), "{}", outcome.stdout);
    for stage in ["classifier", "quality", "bundle"] {
        assert!(
            line(stage).contains(" s"),
            "the time of `{stage}`:\n{}",
            outcome.stdout
        );
    }
    let metrics = [
        "average_precision",
        "roc_auc",
        "recall_at_1pct_false_alarms",
        "cost",
        "baseline_average_precision",
    ];
    for metric in metrics {
        let value: f64 = line(metric)
            .split_whitespace()
            .nth(1)
            .and_then(|value| value.parse().ok())
            .expect("a value");
        assert!(value >= 0.0, "{metric}: {value}");
    }
    assert!(
        line("truth").contains("prediction"),
        "a confusion matrix:\n{}",
        outcome.stdout
    );
    assert!(
        line("gate").contains("average_precision >= "),
        "{}",
        outcome.stdout
    );
    let report = outcome
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("report  "))
        .expect("a report");
    let html = project.read(report);
    for part in ["average_precision", "roc_auc", "cost", "<svg", "20,000"] {
        assert!(html.contains(part), "the report does not show `{part}`");
    }
}

#[test]
fn a_file_gives_the_same_as_the_generator() {
    let project = project();
    let generated = project
        .takt(["run", "pipeline.yaml", "--param", ROWS, "--format", "json"])
        .run()
        .run_report();
    project.write(
        "export.yaml",
        concat!(
            "pipeline: export\n",
            "stages:\n",
            "  - source.synthetic.payments: {rows: 20000}\n",
            "    id: payments\n",
            "  - sink.csv: {path: payments.csv}\n    from: payments\n",
            "  - sink.parquet: {path: payments.parquet}\n    from: payments\n",
            "  - sink.ndjson: {path: payments.ndjson}\n    from: payments\n",
            "  - sink.ipc: {path: payments.arrow}\n    from: payments\n",
        ),
    );
    project.takt(["run", "export.yaml"]).run().succeeded();
    for file in [
        "payments.csv",
        "payments.parquet",
        "payments.ndjson",
        "payments.arrow",
    ] {
        let input = format!("input={file}");
        let report = project
            .takt([
                "run",
                "pipeline.yaml",
                "--param",
                &input,
                "--format",
                "json",
            ])
            .run()
            .run_report();
        assert_eq!(report.rows_out("payments"), Some(20_000), "{file}");
        assert_eq!(
            report.metrics("quality"),
            generated.metrics("quality"),
            "{file}"
        );
    }
}

#[test]
fn another_number_of_rows_runs_everything() {
    let project = project();
    let run = |rows: &str| {
        let outcome = project
            .takt(["run", "pipeline.yaml", "--param", rows, "--format", "json"])
            .run();
        assert!(matches!(outcome.code, 0 | 3), "{}", outcome.stderr);
        outcome.run_report()
    };
    run("rows=4000");
    let plan = project
        .takt(["plan", "pipeline.yaml", "--param", "rows=5000"])
        .run()
        .succeeded();
    assert!(
        plan.stdout.contains("`rows` changed 4000 → 5000"),
        "{}",
        plan.stdout
    );
    let report = run("rows=5000");
    assert!(
        report
            .outcomes()
            .iter()
            .all(|(_, outcome)| outcome != "cached"),
        "{:?}",
        report.outcomes()
    );
    assert!(
        run("rows=5000")
            .worked()
            .iter()
            .all(|stage| stage == "bundle"),
        "a gate that is not kept is asked again"
    );
}

#[test]
fn a_file_that_lacks_a_column_is_refused_before_the_run() {
    let project = project();
    project.write(
        "few.csv",
        "payment_id,at,amount\n1,2024-03-01 09:15:00,12.5\n",
    );
    let outcome = project
        .takt(["check", "pipeline.yaml", "--param", "input=few.csv"])
        .run()
        .ended_with(2);
    for column in ["type", "account", "balance_before"] {
        assert!(
            outcome.stderr.contains(&format!("reads `{column}`")),
            "{}",
            outcome.stderr
        );
    }
}

/// The shipped pipeline trained on a few payments: the project, the bundle, the payments and what was predicted for them.
fn trained() -> (Project, PathBuf, DataFrame, DataFrame) {
    let project = project();
    // Enough frauds to learn from; whether they reach the gate is not the question here.
    for (from, to) in [
        ("{rows: \"${rows}\"", "{fraud_rate: 0.02, rows: \"${rows}\""),
        (">= 0.7", ">= 0"),
        (
            "\nschedule:",
            "  - sink.parquet: {path: predictions.parquet}\n    from: classifier\n  - sink.parquet: {path: rows.parquet}\n    from: payments\n\nschedule:",
        ),
    ] {
        project.edit("pipeline.yaml", from, to);
    }
    let bundle = project.run_pipeline(&["--param", "rows=2000"]).bundle();
    let source = read_table(&project.path("rows.parquet"));
    let run = read_table(&project.path("predictions.parquet"));
    assert_eq!(
        values(&source, "payment_id"),
        values(&run, "payment_id"),
        "no payment is dropped or moved"
    );
    (project, bundle, source, run)
}

/// What the pipeline's windows group payments by.
struct Groups([Vec<String>; 3]);

impl Groups {
    fn of(payments: &DataFrame) -> Self {
        let amounts = payments.column("amount").expect("amounts");
        let cents = amounts.f64().expect("numbers").iter().map(|amount| {
            let cents = (amount.expect("an amount") * 100.0).round();
            format!("{cents}")
        });
        Self([
            values(payments, "account"),
            values(payments, "counterparty"),
            cents.collect(),
        ])
    }

    /// Whether a window over the payments of one of these groups may hold this one.
    fn may_meet(&self, row: u32, groups: &[BTreeSet<&str>; 3]) -> bool {
        let pairs = self.0.iter().zip(groups);
        pairs
            .into_iter()
            .any(|(names, group)| group.contains(names[row as usize].as_str()))
    }

    fn holding(&self, rows: &[u32]) -> [BTreeSet<&str>; 3] {
        [0, 1, 2].map(|kind| {
            let names = rows.iter().map(|row| self.0[kind][*row as usize].as_str());
            names.collect()
        })
    }
}

/// Features of a payment look at the payments of its account, of its counterparty and of its amount, and at nothing of those
/// that windows have made; so a payment that is scored among all of these scores as it did among all others.
#[test]
fn any_payments_among_those_they_depend_on_score_as_in_the_run() {
    let (project, bundle, source, run) = trained();
    let times: BTreeSet<(String, String)> = values(&source, "account")
        .into_iter()
        .zip(values(&source, "at"))
        .collect();
    assert_eq!(
        times.len(),
        source.height(),
        "payments of one account at one time would come in the order of rows"
    );
    let groups = Groups::of(&source);
    let everyone: Vec<u32> = (0..source.height() as u32).collect();
    let rows = (Just(everyone).prop_shuffle(), 1_usize..30).prop_map(|(shuffled, count)| {
        let asked: BTreeSet<u32> = shuffled[..count].iter().copied().collect();
        let needed = groups.holding(&shuffled[..count]);
        let given: Vec<u32> = shuffled
            .into_iter()
            .rev()
            .filter(|row| groups.may_meet(*row, &needed))
            .collect();
        let places =
            (0..given.len() as u32).filter(|place| asked.contains(&given[*place as usize]));
        let places = places.collect();
        (given, places)
    });
    let known = Known {
        project: &project,
        bundle: &bundle,
        source: &source,
        run: &run,
        passed: "payment_id",
    };
    assert_any_rows_score_as_in_the_run(&known, &FORMATS, 12, rows);
}

/// What the test above holds equal is not equal anyway.
#[test]
fn a_payment_without_its_history_scores_otherwise() {
    let (project, bundle, source, run) = trained();
    let late: Vec<u32> = (source.height() as u32 - 20..source.height() as u32).collect();
    let late = IdxCa::new("row".into(), late);
    let mut rows = source.take(&late).expect("rows");
    write_table(&project.path("late.parquet"), &mut rows);
    project
        .score(&bundle, "late.parquet", "scored.parquet")
        .succeeded();
    let scored = values(&read_table(&project.path("scored.parquet")), "score");
    let expected = values(&run.take(&late).expect("rows"), "score");
    assert!(scored != expected, "no window has any influence");
}
