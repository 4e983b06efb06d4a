//! Models that runs register, and pipelines that use them.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;

use crate::{
    daemon::json,
    data::Noise,
    harness::{Project, repository},
};

#[test]
fn a_pipeline_scores_with_the_model_in_production() {
    let project = Project::new();
    for name in ["fraud-detection.yaml", "fraud-scoring.yaml"] {
        let text = std::fs::read_to_string(repository().join("pipelines/finance").join(name))
            .expect("a pipeline");
        project.write(name, text);
    }
    // Here somebody decides what goes into production.
    project.edit("fraud-detection.yaml", "      promote: production\n", "");
    std::fs::create_dir(project.path("scores")).expect("a folder");
    let refused = project.takt(["check", "fraud-scoring.yaml"]).run();
    assert_eq!(refused.code, 2);
    assert!(
        refused
            .stderr
            .contains("no model `fraud-detection` is registered"),
        "{}",
        refused.stderr
    );
    let train = |seed: &str| {
        let arguments = [
            "run",
            "fraud-detection.yaml",
            "--param",
            "rows=30000",
            "--seed",
            seed,
        ];
        project.takt(arguments).run().succeeded();
    };
    train("1");
    train("2");
    let listed = json(&project, &["models", "list"], &[]);
    assert_eq!(
        (&listed[0]["version"], &listed[1]["version"]),
        (&2.into(), &1.into())
    );
    let refused = project.takt(["check", "fraud-scoring.yaml"]).run();
    assert!(
        refused.stderr.contains("called `production`"),
        "{}",
        refused.stderr
    );
    project
        .takt(["models", "promote", "fraud-detection", "1"])
        .run()
        .succeeded();
    let tested = project
        .takt(["test", "fraud-scoring.yaml"])
        .run()
        .succeeded();
    assert!(tested.stdout.contains("1 passed"), "{}", tested.stdout);
    let score = |hour: &str| {
        let hour = format!("hour={hour}");
        project
            .takt(["run", "fraud-scoring.yaml", "--param", &hour])
            .run()
            .succeeded();
    };
    score("first");
    project
        .takt([
            "models",
            "promote",
            "fraud-detection",
            "latest",
            "--because",
            "newer",
        ])
        .run()
        .succeeded();
    score("second");
    project
        .takt(["models", "rollback", "fraud-detection"])
        .run()
        .succeeded();
    score("third");
    let of = |hour: &str| project.read(&format!("scores/suspicious-{hour}.csv"));
    assert_ne!(
        of("first"),
        of("second"),
        "another version says something else"
    );
    assert_eq!(of("first"), of("third"));
    assert!(of("first").lines().count() > 5);
    // The registered model says what the bundle says.
    let listed = json(&project, &["models", "list"], &[]);
    let place = listed[1]["place"].as_str().expect("a folder").to_owned();
    project.write(
        "rows.yaml",
        "pipeline: rows\nstages:\n  - source.synthetic.payments: {rows: 20000, seed: 11}\n  - sink.parquet: {path: rows.parquet}\n",
    );
    project.takt(["run", "rows.yaml"]).run().succeeded();
    project
        .takt([
            "score",
            &place,
            "--input",
            "rows.parquet",
            "--output",
            "scored.csv",
        ])
        .run()
        .succeeded();
    let scored = project.read("scored.csv");
    let mut lines = scored.lines();
    let names: Vec<&str> = lines.next().expect("names").split(',').collect();
    let at = |name: &str| {
        names
            .iter()
            .position(|known| *known == name)
            .expect("a column")
    };
    let (id, chance) = (at("payment_id"), at("probability_true"));
    let by_bundle: BTreeMap<String, String> = lines
        .map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>())
        .filter(|cells| cells[chance].parse::<f64>().expect("a number") > 0.05)
        .map(|cells| (cells[id].clone(), cells[chance].clone()))
        .collect();
    let by_pipeline: BTreeMap<String, String> = of("first")
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>())
        .map(|cells| (cells[0].clone(), cells[4].clone()))
        .collect();
    assert_eq!(by_pipeline, by_bundle);
    let shown = project
        .takt(["models", "show", "fraud-detection@production"])
        .run()
        .succeeded()
        .stdout;
    assert!(shown.contains("rolled back from version 2"), "{shown}");
    let compared = project
        .takt(["models", "diff", "fraud-detection", "1", "2"])
        .run()
        .succeeded()
        .stdout;
    assert!(compared.contains("average_precision"), "{compared}");
}

/// Rows of which `x` tells a lot and `noise` nothing, most of them of one class.
fn customers(count: u64) -> String {
    let mut noise = Noise(7);
    let mut draw = || noise.below(1 << 24) as f64 / (1 << 24) as f64;
    let mut text = "id,x,noise,left\n".to_owned();
    for id in 0..count {
        let (x, noise) = (draw(), draw());
        let left = x + 0.6 * draw() > 1.15;
        writeln!(text, "{id},{x:.4},{noise:.4},{left}").expect("a string");
    }
    text
}

/// Learns from one column, below features that look at the rows before and a stage that makes up training rows.
fn churn(feature: &str, deploy: &str) -> String {
    format!(
        "pipeline: churn
columns:
  id: {{role: id}}
  left: {{role: target}}
stages:
  - source.csv: {{path: rows.csv}}
    id: rows
  - features.derive: {{twice: {feature} * 2}}
  - features.lag: {{over: id, columns: [twice]}}
    id: before
  - features.derive: {{change: 'coalesce(twice - twice_lag_1, 0)'}}
    id: changes
  - split.random: {{test: 0.3}}
    id: parts
  - balance.oversample: {{}}
  - features.standardize: {{columns: [twice]}}
  - model.linfa.logistic_regression: {{features: [twice, change]}}
    id: model
  - features.derive: {{alarm: probability_true > 0.3}}
    id: alarm
  - evaluate.classification: {{}}
    id: quality
  - deploy.bundle: {deploy}
"
    )
}

const BEAT: &str = "{require: {roc_auc: ['>= 0.5', '>= production - 0.01']}, promote: production}";

fn outcome(project: &Project, code: i32) -> Value {
    let outcome = project
        .takt(["run", "pipeline.yaml", "--format", "json"])
        .run();
    assert_eq!(outcome.code, code, "{}{}", outcome.stdout, outcome.stderr);
    serde_json::from_str(&outcome.stdout).expect("JSON")
}

fn in_production(project: &Project) -> i64 {
    let listed = json(project, &["models", "list"], &[]);
    let models = listed.as_array().expect("a list").iter();
    let named: Vec<i64> = models
        .filter(|model| model["aliases"] == serde_json::json!(["production"]))
        .map(|model| model["version"].as_i64().expect("a number"))
        .collect();
    assert_eq!(named.len(), 1, "{listed}");
    named[0]
}

#[test]
fn a_new_model_must_keep_up_with_the_one_in_production() {
    let project = Project::with(&churn("x", BEAT));
    project.write("rows.csv", customers(600));
    // The first has nobody to beat.
    let first = outcome(&project, 0);
    let gate = &first["gates"][1];
    assert_eq!(gate["bound"], ">= production - 0.01");
    assert_eq!(gate["note"], "no version is called `production` yet");
    assert_eq!(in_production(&project), 1);

    // Other rows, and a model that knows nothing: the one in production is judged on these rows, and stays.
    project.write("rows.csv", customers(900));
    project.write("pipeline.yaml", churn("noise", &BEAT.replace("0.5", "0")));
    let refused = outcome(&project, 3);
    let gate = &refused["gates"][1];
    assert_eq!(
        (&gate["passed"], &gate["champion"]["version"]),
        (&false.into(), &1.into())
    );
    assert!(refused["bundle"].is_null() && refused["promote"].is_null());
    assert_eq!(in_production(&project), 1);
    let reached = gate["champion"]["value"].as_f64().expect("a number");
    assert!(reached > 0.9, "{gate}");
    // Judged as a pipeline judges it that scores these rows with it.
    project.write(
        "judge.yaml",
        "pipeline: judge
columns:
  id: {role: id}
  left: {role: target}
stages:
  - source.csv: {path: rows.csv}
    id: rows
  - split.random: {test: 0.3}
    id: parts
  - model.registered: {name: churn, version: production}
    id: model
  - evaluate.classification: {}
    id: quality
",
    );
    let judged = json(&project, &["run", "judge.yaml"], &[]);
    let metrics = judged["evaluations"][0][1]["metrics"].as_array();
    let metric = |name: &str| {
        let mut metrics = metrics.expect("metrics").iter();
        let found = metrics.find(|metric| metric[0] == name);
        found.expect("the metric")[1].as_f64().expect("a number")
    };
    assert_eq!(metric("roc_auc"), reached);
    let text = project.takt(["run", "pipeline.yaml"]).run();
    assert_eq!(text.code, 3);
    let said = format!("version 1 reaches {reached:.4} on the same rows");
    assert!(text.stdout.contains(&said), "{said}:\n{}", text.stdout);

    // As good as it: promoted, and a rollback finds the way back.
    project.write("pipeline.yaml", churn("x", BEAT));
    let second = outcome(&project, 0);
    assert_eq!(second["gates"][1]["champion"]["value"], reached);
    assert_eq!(second["promote"]["alias"], "production");
    assert_eq!(in_production(&project), 2);
    // The same again changes nothing: it is compared with itself.
    let again = outcome(&project, 0);
    assert_eq!(again["gates"][1]["champion"]["version"], 2);
    let stages = again["stages"].as_array().expect("stages");
    let ran = stages.iter().filter(|stage| stage["outcome"] == "ran");
    assert_eq!(ran.count(), 0, "{again}");
    assert_eq!(
        again["gates"][1]["champion"]["value"],
        again["gates"][1]["value"]
    );
    let shown = project
        .takt(["models", "show", "churn@production"])
        .run()
        .succeeded();
    assert_eq!(
        shown.stdout.matches("kept its gates").count(),
        2,
        "{}",
        shown.stdout
    );
    // Not to a version whose files are gone, though: the alias stays where it is.
    let listed = json(&project, &["models", "list"], &[]);
    let first = listed.as_array().expect("versions");
    let first = first.iter().find(|model| model["version"] == 1);
    let place = first.and_then(|model| model["place"].as_str());
    let place = project.path(place.expect("a folder"));
    let aside = place.with_extension("aside");
    std::fs::rename(&place, &aside).expect("renamed");
    let refused = project.takt(["models", "rollback", "churn"]).run();
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("is not there any more"),
        "{}",
        refused.stderr
    );
    assert_eq!(in_production(&project), 2);
    std::fs::rename(&aside, &place).expect("renamed back");
    project
        .takt(["models", "rollback", "churn"])
        .run()
        .succeeded();
    assert_eq!(in_production(&project), 1);
    // Tonight's run makes the same model: it does not undo what somebody decided.
    let again = outcome(&project, 0);
    let why = again["not_promoted"].as_str().expect("why not");
    assert!(why.contains("takt models promote churn 2"), "{why}");
    assert_eq!(in_production(&project), 1);

    // Neither version is in the way of housekeeping, and both stay: the one in production, and the one that a rollback leads to.
    project.write(
        "pipeline.yaml",
        churn("x", "{}").replace("test: 0.3", "test: 0.35"),
    );
    outcome(&project, 0);
    let gc = json(&project, &["gc", "--keep-bundles", "1"], &[]);
    assert_eq!(gc["removed"].as_array().map(Vec::len), Some(0), "{gc}");
    let listed = json(&project, &["models", "list"], &[]);
    let newest = listed[0]["place"].as_str().expect("a folder").to_owned();
    std::fs::remove_dir_all(project.path(&newest)).expect("removed");
    let gone = project.takt(["models", "promote", "churn", "3"]).run();
    assert_eq!(gone.code, 1);
    assert!(
        gone.stderr.contains("is not there any more"),
        "{}",
        gone.stderr
    );
}

#[test]
fn what_a_comparison_does_not_say_is_told() {
    let project = Project::with(&churn("x", BEAT));
    project.write("rows.csv", customers(400));
    outcome(&project, 0);
    // A split at random over other rows holds out what the version in production learned from.
    let checked = project.takt(["check", "pipeline.yaml"]).run().succeeded();
    assert!(
        checked
            .stderr
            .contains("may have learned from rows that `parts` holds out"),
        "{}",
        checked.stderr
    );
    // A typo is no open gate.
    let typo = BEAT.replace(">= production", ">= prodction");
    project.write("pipeline.yaml", churn("x", &typo));
    let refused = project.takt(["check", "pipeline.yaml"]).run();
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("did you mean `production`"),
        "{}",
        refused.stderr
    );
    project.write(
        "pipeline.yaml",
        churn("twice", &typo.replace(", promote: production", ""))
            .replace("{twice: twice * 2}", "{twice: x * 3}"),
    );
    let failed = outcome(&project, 1);
    let told = failed["diagnostics"][0].to_string();
    assert!(
        told.contains("called `prodction`") && told.contains("`production`"),
        "{told}"
    );
    // Rows that the model itself chooses are others for another model.
    let choosing = churn("noise", &BEAT.replace("0.5", "0")).replace(
        "  - features.derive: {alarm: probability_true > 0.3}\n",
        "  - clean.filter: {where: score > 0.3}\n",
    );
    project.write("pipeline.yaml", choosing);
    let text = project.takt(["run", "pipeline.yaml"]).run();
    assert!(
        text.stdout.contains("drops rows by what the model says")
            && !text.stdout.contains("same rows"),
        "{}{}",
        text.stdout,
        text.stderr
    );
}

#[test]
fn a_champion_that_cannot_be_judged_is_told_and_nothing_is_promoted() {
    let project = Project::with(&churn("x", BEAT));
    project.write("rows.csv", customers(300));
    outcome(&project, 0);
    // The model in production reads a column that the rows do not have any more.
    let renamed = customers(300).replacen("x,noise", "y,noise", 1);
    project.write("rows.csv", renamed);
    project.write("pipeline.yaml", churn("y", BEAT));
    let failed = outcome(&project, 1);
    let message = failed["diagnostics"][0]["message"].as_str().expect("why");
    assert!(
        message.contains("version 1 of the model (`production`) cannot be judged on these rows")
            && message.contains("the column `x` (f64) is missing"),
        "{message}"
    );
    assert_eq!(in_production(&project), 1);
    // Nor where something learned stands between: it would have to learn again.
    project.write("rows.csv", customers(300));
    let between = churn("x", BEAT).replace(
        "  - features.derive: {alarm: probability_true > 0.3}\n",
        "  - features.standardize: {columns: [noise]}\n",
    );
    project.write("pipeline.yaml", between.replace("test: 0.3", "test: 0.4"));
    let failed = outcome(&project, 1);
    let message = failed["diagnostics"][0]["message"].as_str().expect("why");
    assert!(
        message.contains("`alarm` stands between the model and `quality`"),
        "{message}"
    );

    for (deploy, why) in [
        ("{promote: latest}", "`latest` means a version already"),
        ("{promote: v3}", "`v3` means a version already"),
        ("{require: {roc_auc: '>= production-0.01'}}", "production-0"),
        (
            "{require: {roc_auc: ['> 0.5', 'production']}}",
            "production",
        ),
    ] {
        project.write("pipeline.yaml", churn("y", deploy));
        let refused = project.takt(["check", "pipeline.yaml"]).run();
        assert_eq!(refused.code, 2, "{deploy}");
        assert!(refused.stderr.contains(why), "{deploy}: {}", refused.stderr);
    }
    let unknown = project.takt(["models", "rollback", "chrun"]).run();
    assert!(
        unknown.stderr.contains("no model `chrun` is registered"),
        "{}",
        unknown.stderr
    );
}
