//! What every command keeps to: streams, exit codes, formats.

use std::{fmt::Write as _, process::Command};

use serde_json::Value;

use crate::{
    data::{self, Noise},
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

/// A classifier of five classes, whose names only the rows tell: the check lets any metric pass. Below it go further stages.
fn surfaces(below: &str) -> Project {
    let project = Project::with(&format!(
        "\
pipeline: surfaces
columns:
  id: {{role: id}}
  kind: {{role: target}}
stages:
  - source.csv: {{path: rows.csv}}
    id: rows
  - split.random: {{test: 0.3}}
    id: parts
  - balance.oversample: {{}}
    id: balanced
  - model.linfa.logistic_regression: {{features: [x, y]}}
    id: classifier
  - evaluate.classification: {{}}
    id: quality
{below}"
    ));
    let kinds = [
        "scratch_on_the_left",
        "scratch_on_the_right",
        "good",
        "good",
        "dent",
        "stain_of_oil",
    ];
    let mut noise = Noise(11);
    let mut text = "id,x,y,kind\n".to_owned();
    for id in 0..400 {
        let kind = noise.below(6);
        let mut near = |middle: u64| (100 * middle + noise.below(140)) as f64 / 100.0;
        let (x, y) = (near(kind), near(kind % 2));
        writeln!(text, "{id},{x},{y},{}", kinds[kind as usize]).expect("a string");
    }
    project.write("rows.csv", text);
    project
}

/// The folder of the only run in a project.
fn run_folder(project: &Project) -> String {
    let reports: Vec<String> = project
        .files()
        .into_iter()
        .filter(|file| file.ends_with("/report.html"))
        .collect();
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports[0].replace("/report.html", "")
}

#[test]
fn a_gate_on_what_was_not_measured_is_not_kept() {
    let deploy = "  - deploy.bundle: {require: {recall: [\">= 0.5\", \"> 0.1\"], accuracy: \">= 0.2\"}}\n    id: bundle\n";
    let project = surfaces(deploy);
    let outcome = project.takt(["run", "pipeline.yaml"]).run().ended_with(1);
    for told in [
        "\nf1_macro ",
        "\ngate    recall >= 0.5: not kept (not measured; did you mean `recall_macro`?)\n",
        "\ngate    recall > 0.1: not kept (not measured; did you mean `recall_macro`?)\n",
        "\ngate    accuracy >= 0.2: kept (0.",
        "\nno bundle: a gate is not kept\n",
        "\nreport  .taktline/runs/",
    ] {
        assert!(
            outcome.stdout.contains(told),
            "`{told}`:\n{}",
            outcome.stdout
        );
    }
    for told in [
        "error[metric-not-measured]: stage `bundle`: `require` names `recall`, which was not measured",
        "pipeline.yaml:16:31",
        "measured: `accuracy`, `balanced_accuracy`, `f1_macro`",
        "did you mean `recall_macro`?",
    ] {
        let times = outcome.stderr.matches(told).count();
        assert_eq!(times, 1, "`{told}`:\n{}", outcome.stderr);
    }
    let folder = run_folder(&project);
    let page = project.read(&format!("{folder}/report.html"));
    assert!(page.contains("which was not measured") && page.contains("not kept"));
    let kept: Value =
        serde_json::from_str(&project.read(&format!("{folder}/run.json"))).expect("JSON");
    assert_eq!(kept["status"], "finished");
    let bundles = |file: &String| file.starts_with(".taktline/bundles");
    assert!(!project.files().iter().any(bundles), "no bundle");

    // Scripts and the run store hear the same.
    let arguments = ["run", "pipeline.yaml", "--format", "json"];
    let report = project.takt(arguments).run().ended_with(1).json();
    assert_eq!(report["passed"], false);
    assert_eq!(report["gates"][0]["value"], Value::Null);
    assert_eq!(report["gates"][2]["passed"], true);
    assert_eq!(report["diagnostics"][0]["code"], "metric-not-measured");
    assert_eq!(report["bundle"], Value::Null);
    let shown = ["runs", "show", "latest", "--format", "json"];
    let shown = project.takt(shown).run().succeeded().json();
    assert_eq!(shown["state"], "failed");
    let why = shown["reason"].as_str().expect("why");
    assert!(why.contains("`recall`, which was not measured"), "{why}");
    assert!(
        shown["metrics"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    );
}

#[test]
fn what_evaluations_found_outlives_a_later_failure() {
    let second = "  - clean.filter: {where: x > 1000}
    id: far
  - evaluate.classification: {}
    id: second
  - sink.csv: {path: out.csv}
    from: classifier
    id: out
";
    let project = surfaces(second);
    let outcome = project.takt(["run", "pipeline.yaml"]).run().ended_with(1);
    let found = outcome
        .stdout
        .find("\nquality on ")
        .expect("the evaluation");
    let (stages, found) = outcome.stdout.split_at(found);
    assert!(found.contains("\nf1_macro ") && found.contains("\nreport  .taktline/runs/"));
    let how = |stage: &str| {
        let mut lines = stages.lines();
        let line = lines.find(|line| line.split_whitespace().next() == Some(stage));
        line.expect("a stage").to_owned()
    };
    assert!(how("second").ends_with("  failed"), "{stages}");
    assert!(how("out").ends_with("  not reached"), "{stages}");
    assert!(
        outcome
            .stderr
            .contains("stage `second`: there are no test rows to judge"),
        "{}",
        outcome.stderr
    );
    let folder = run_folder(&project);
    let page = project.read(&format!("{folder}/report.html"));
    for told in [
        "<h1>surfaces (failed)</h1>",
        "This run failed: stage `second`: there are no test rows to judge",
        "<h2>quality</h2>",
    ] {
        assert!(page.contains(told), "{told}");
    }
    let kept: Value =
        serde_json::from_str(&project.read(&format!("{folder}/run.json"))).expect("JSON");
    assert_eq!(kept["status"], "failed");
    assert_eq!(kept["evaluations"][0][0], "quality");
    let shown = ["runs", "show", "latest", "--format", "json"];
    let shown = project.takt(shown).run().succeeded().json();
    assert_eq!(shown["state"], "failed");
    assert_eq!(shown["metrics"][0]["stage"], "quality");

    // A broken rule is no other matter, but for its exit code.
    let rule = "  - check.expect: [{column: x, between: [0, 1]}]\n    id: rule\n";
    let arguments = ["run", "pipeline.yaml", "--format", "json"];
    let report = surfaces(rule).takt(arguments).run().ended_with(3).json();
    assert_eq!(
        (&report["status"], &report["passed"]),
        (&"failed".into(), &false.into())
    );
    assert_eq!(report["evaluations"][0][0], "quality");
    assert_eq!(report["diagnostics"][0]["code"], "expectation-broken");
    assert_eq!(report["quarantined"][0][0], "rule");

    // Where nothing was found yet, nothing is printed, and no folder made.
    let early = surfaces("");
    early.edit(
        "pipeline.yaml",
        "  - split.random",
        "  - check.expect: [{column: x, between: [0, 1]}]\n  - split.random",
    );
    let outcome = early.takt(["run", "pipeline.yaml"]).run().ended_with(3);
    assert_eq!(outcome.stdout, "");
    let in_folder = |file: &String| file.ends_with("/report.html");
    assert!(!early.files().iter().any(in_folder));
}

#[test]
fn rows_that_are_added_are_told() {
    let project = surfaces("");
    let arguments = ["run", "pipeline.yaml", "--format", "json"];
    let report = project.takt(arguments).run().succeeded().json();
    let balanced = &report["stages"][2];
    let of = |key: &str| balanced[key].as_u64().expect("a number");
    let added = of("rows_out") - of("rows_in");
    assert!(added > 0 && of("rows_added") == added, "{balanced}");
    assert_eq!(report["stages"][1]["rows_added"], Value::Null);
    let outcome = project
        .takt(["run", "pipeline.yaml", "--fresh"])
        .run()
        .succeeded();
    assert!(
        outcome.stdout.contains(&format!("  +{added} rows  ")),
        "{}",
        outcome.stdout
    );
}

/// What a command shows on a terminal of so many columns, both streams together.
#[cfg(target_os = "linux")]
fn on_terminal(project: &Project, columns: usize, arguments: &str) -> String {
    let command = format!(
        "stty cols {columns} rows 40; {} -C {} --color never {arguments}",
        env!("CARGO_BIN_EXE_takt"),
        project.path("").display()
    );
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env_clear()
        .env("HOME", project.path(""))
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(std::process::Stdio::null())
        .output()
        .expect("`script` of util-linux");
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{shown}");
    shown.replace('\r', "")
}

#[cfg(target_os = "linux")]
#[test]
fn tables_keep_to_a_narrow_terminal() {
    let project = surfaces("");
    project.edit(
        "pipeline.yaml",
        "  - balance.oversample: {}\n    id: balanced\n",
        "",
    );
    let results = |columns: usize| {
        let shown = on_terminal(&project, columns, "run pipeline.yaml --fresh");
        let start = shown.find("\nstage ").expect("the table of stages");
        shown[start + 1..].to_owned()
    };
    let wide = results(120);
    assert!(
        wide.lines()
            .next()
            .is_some_and(|line| line.contains("  changed  ")),
        "{wide}"
    );
    assert!(wide.contains("  scratch_on_the_left  "), "{wide}");
    let narrow = results(60);
    let heading = narrow.lines().next().expect("a heading");
    let names: Vec<&str> = heading
        .split("  ")
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(
        names,
        ["stage", "rows in", "rows out", "time", "how"],
        "{narrow}"
    );
    assert!(narrow.contains("…"), "labels are cut: {narrow}");
    let long = narrow.lines().find(|line| line.chars().count() > 60);
    assert_eq!(long, None, "{narrow}");
    // Where labels can be cut no more, the report has the table.
    let tiny = results(40);
    assert!(
        tiny.contains("Confusion matrix (6 columns): in the report"),
        "{tiny}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn params_are_blocks_on_a_narrow_terminal() {
    let project = Project::new();
    let shown = on_terminal(&project, 80, "stages model.boost.trees");
    let lines: Vec<&str> = shown.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with("rounds: whole number"));
    let at = at.unwrap_or_else(|| panic!("{shown}"));
    assert!(lines[at].contains(", default "), "{}", lines[at]);
    assert!(lines[at + 1].starts_with("    "), "{}", lines[at + 1]);
    let long = lines.iter().find(|line| line.chars().count() > 80);
    assert_eq!(long, None);
    assert!(on_terminal(&project, 120, "stages model.boost.trees").contains("\nparam "));
}
