//! `takt profile`: of files and of stages, as text, data and page.

use std::{fmt::Write as _, process::Command};

use serde_json::Value;

use crate::{
    data,
    harness::{Project, golden_settings},
};

/// Payments with a stage that leaves some out.
const PIPELINE: &str = "\
pipeline: payments
columns:
  payment_id: {role: id}
  account: {role: pii}
  is_fraud: {role: target}
stages:
  - source.csv: {path: data/payments.csv}
    id: payments
  - clean.filter: {where: amount > 100}
    id: large
  - sink.csv: {path: out/large.csv}
";

fn project() -> Project {
    let project = Project::with(PIPELINE);
    data::copy(&project, "tests/data", "data");
    project
}

fn column<'p>(profile: &'p Value, name: &str) -> &'p Value {
    let columns = profile["columns"].as_array().expect("columns");
    columns
        .iter()
        .find(|column| column["name"] == name)
        .unwrap_or_else(|| panic!("`{name}` in {profile}"))
}

#[test]
fn profile_of_a_file() {
    let outcome = project()
        .takt(["profile", "data/payments.csv"])
        .run()
        .succeeded();
    golden_settings().bind(|| insta::assert_snapshot!("profile_of_a_file", outcome.golden()));
    let table = project()
        .takt(["profile", "data/payments.csv", "--format", "table"])
        .run()
        .succeeded();
    assert_eq!(table.stdout, outcome.stdout);
}

#[test]
fn figures_as_data() {
    let project = Project::new();
    project.write(
        "rows.csv",
        "x,y,kind,at\n1,2,a,2024-01-01\n2,4,b,2024-01-02\n3,6,a,2024-01-03\n,8,b,2024-01-09\n1,2,a,2024-01-01\n",
    );
    let profile = project
        .takt(["profile", "rows.csv", "--format", "json"])
        .run()
        .succeeded()
        .json();
    assert_eq!(
        (&profile["rows"], &profile["duplicate_rows"]),
        (&5.into(), &1.into())
    );
    let x = column(&profile, "x");
    assert_eq!(
        (&x["type"], &x["nulls"], &x["distinct"]),
        (&"i64".into(), &1.into(), &3.into())
    );
    assert_eq!(x["numbers"]["mean"], 1.75);
    assert_eq!(x["numbers"]["quantiles"]["median"], 1.5);
    assert_eq!(x["frequent"][0]["value"], "1");
    let times = &column(&profile, "at")["times"];
    assert_eq!(
        (&times["first"], &times["last"]),
        (&"2024-01-01".into(), &"2024-01-09".into())
    );
    assert_eq!(times["gaps"][0]["seconds"], 6.0 * 86_400.0);
    let pair = &profile["correlations"][0];
    assert_eq!((&pair["left"], &pair["right"]), (&"x".into(), &"y".into()));
    assert!((pair["pearson"].as_f64().expect("a number") - 1.0).abs() < 1e-12);
    assert_eq!(pair["rows"], 4);
}

#[test]
fn rows_after_a_stage() {
    let project = project();
    let rows = |target: &str| {
        let profile = project
            .takt(["profile", target, "--format", "json"])
            .run()
            .succeeded()
            .json();
        assert_eq!(column(&profile, "account")["is_private"], true);
        assert_eq!(column(&profile, "is_fraud")["role"], "target");
        profile["rows"].as_u64().expect("a number")
    };
    assert_eq!(rows("pipeline.yaml"), 12);
    let large = rows("pipeline.yaml:large");
    assert!(large > 0 && large < 12, "{large}");
    assert_eq!(rows("pipeline.yaml:csv"), large);
    assert!(!project.path("out").exists(), "no sink writes");
}

#[test]
fn personal_data_is_not_shown() {
    let project = project();
    let accounts: Vec<String> = project
        .read("data/payments.csv")
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(2).map(str::to_owned))
        .filter(|account| !account.is_empty())
        .collect();
    assert!(!accounts.is_empty());
    for format in ["text", "json", "html"] {
        let outcome = project
            .takt(["profile", "pipeline.yaml", "--format", format])
            .run()
            .succeeded();
        for account in &accounts {
            assert!(!outcome.stdout.contains(account), "`{account}` in {format}");
        }
    }
}

#[test]
fn a_page_for_a_browser() {
    let project = project();
    let outcome = project
        .takt([
            "profile",
            "data/payments.csv",
            "--output",
            "profiles/payments.html",
        ])
        .run()
        .succeeded();
    assert!(outcome.stdout.is_empty() && outcome.stderr.contains("12 rows profiled"));
    let page = project.read("profiles/payments.html");
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    for needed in [
        "<svg class=\"histogram\"",
        "prefers-color-scheme: dark",
        "check.expect",
        "amount",
    ] {
        assert!(page.contains(needed), "{needed}");
    }
    for foreign in ["<script", "http:", "https:", "<link", "@import"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let printed = project
        .takt(["profile", "data/payments.csv", "--format", "html"])
        .run()
        .succeeded();
    assert_eq!(printed.stdout.trim_end(), page.trim_end());
    project
        .takt(["profile", "data/payments.csv", "--output", "payments.json"])
        .run()
        .succeeded();
    let profile: Value = serde_json::from_str(&project.read("payments.json")).expect("JSON");
    assert_eq!(profile["rows"], 12);
    project
        .takt([
            "profile",
            "data/payments.csv",
            "--output",
            "payments.txt",
            "--color",
            "always",
        ])
        .run()
        .succeeded();
    assert!(!project.read("payments.txt").contains('\u{1b}'));
}

#[test]
fn the_expectations_that_it_suggests_hold() {
    let project = Project::new();
    let mut rows = String::from("id,code,kind,share,amount,note,at,\"odd: ${name}, €\"\n");
    for row in 0..60 {
        let kind = ["web", "shop", "no", "a $${x} \"quoted\""][row % 4].replace('"', "\"\"");
        let amount = if row % 9 == 0 {
            String::new()
        } else {
            format!("{}", row as f64 * 12.5 - 100.0)
        };
        writeln!(
            rows,
            "{},K-{:03}.x,\"{kind}\",{},{amount},{},2024-03-{:02} 08:00:00,{}",
            row + 1,
            row,
            row as f64 / 100.0,
            "ü ".repeat(row + 1).trim_end(),
            row / 2 + 1,
            row % 2 == 0
        )
        .expect("a string takes all");
    }
    project.write("rows.csv", rows);
    let profile = project
        .takt(["profile", "rows.csv", "--format", "json"])
        .run()
        .succeeded()
        .json();
    let expectations = profile["expectations"].as_str().expect("text");
    for needed in [
        "unique: true",
        "regex: ",
        "in: [",
        "between: [",
        "nulls: [",
        "length: [",
        "order: ",
        "rows: ",
    ] {
        assert!(expectations.contains(needed), "{needed} in {expectations}");
    }
    let stages: String = expectations
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect();
    project.write(
        "pipeline.yaml",
        format!("pipeline: rows\nstages:\n  - source.csv: {{path: rows.csv}}\n{stages}"),
    );
    project.takt(["run", "pipeline.yaml"]).run().succeeded();
}

#[test]
fn what_cannot_be_profiled() {
    let project = project();
    let missing = project
        .takt(["profile", "data/nothing.csv"])
        .run()
        .ended_with(1);
    assert!(
        missing.stdout.is_empty() && missing.stderr.contains("nothing.csv"),
        "{}",
        missing.stderr
    );
    let unknown = project
        .takt(["profile", "data/nothing.xlsx"])
        .run()
        .ended_with(1);
    assert!(
        unknown.stderr.contains("known: `.csv`"),
        "{}",
        unknown.stderr
    );
    let stage = project
        .takt(["profile", "pipeline.yaml:lage"])
        .run()
        .ended_with(2);
    assert!(
        stage.stderr.contains("has no stage `lage`")
            && stage.stderr.contains("did you mean `large`"),
        "{}",
        stage.stderr
    );
    project.edit("pipeline.yaml", "amount > 100", "amout > 100");
    let broken = project
        .takt(["profile", "pipeline.yaml", "--format", "json"])
        .run()
        .ended_with(2);
    assert_eq!(broken.json()["status"], "failed");
    assert!(
        broken.stderr.contains("unknown-column"),
        "{}",
        broken.stderr
    );
    let elsewhere = project
        .takt(["stages", "--format", "html"])
        .run()
        .ended_with(2);
    assert!(elsewhere.stdout.is_empty() && elsewhere.stderr.contains("`takt profile` only"));
}

#[test]
fn files_without_rows() {
    let project = project();
    for name in ["header-only.csv", "empty.csv"] {
        let outcome = project.takt(["profile", &format!("data/{name}")]).run();
        assert!(matches!(outcome.code, 0 | 1), "{name}: {}", outcome.stderr);
    }
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_quiet() {
    let project = project();
    for format in ["text", "json", "html"] {
        let command = format!(
            "{} -C '{}' profile data/payments.csv --format {format} | head -n 1",
            env!("CARGO_BIN_EXE_takt"),
            project.path("").display()
        );
        let output = Command::new("bash")
            .args(["-c", &format!("set -o pipefail; {command}")])
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{format}: {:?}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{format}");
    }
}
