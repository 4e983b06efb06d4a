//! The fraud pipeline as it is shipped, on fewer payments.

use std::fs;

use crate::harness::{Project, repository};

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
