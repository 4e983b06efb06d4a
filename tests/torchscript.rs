//! Networks that were made elsewhere, and networks whose numbers another model learns from. The files and PyTorch's own figures
//! come from tests/peers/torchscript.py.

use std::os::unix::fs::symlink;

use polars::prelude::{ChunkCompareEq, DataFrame};
use serde_json::Value;

use crate::{
    bundle::{assert_same_outputs, read_table},
    digits::turn,
    harness::{Project, repository},
};

const DIGITS: &str = "\
pipeline: elsewhere
columns:
  label: {role: target}
stages:
  - source.idx: {images: datasets/mnist/digits-10k-images-idx3-ubyte.gz, labels: datasets/mnist/digits-10k-labels-idx1-ubyte.gz}
    id: digits
  - features.image: {column: image, scale: unit}
  - model.torch.script:
      file: models/digits.pt
      inputs: [{columns: [image], layout: channels_first}]
      output: {classes: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}
    id: classifier
";

fn project(spec: &str) -> Project {
    let project = Project::with(spec);
    for (link, target) in [
        ("datasets", "datasets"),
        ("models", "tests/data/torchscript"),
    ] {
        symlink(repository().join(target), project.path(link)).expect("a link");
    }
    project
}

fn golden() -> Value {
    let file = repository().join("tests/data/torchscript/golden.json");
    serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    let numbers = value.as_array().expect("a list").iter();
    numbers
        .map(|number| number.as_f64().expect("a number"))
        .collect()
}

fn floats(table: &DataFrame, name: &str) -> Vec<f64> {
    let column = table.column(name).expect("a column").f64().expect("f64");
    column.iter().map(|value| value.expect("a value")).collect()
}

/// The errors of a check, without where they are.
fn refused(project: &Project) -> Vec<String> {
    let outcome = project.takt(["check", "pipeline.yaml"]).run().ended_with(2);
    let errors = outcome.stderr.lines();
    errors
        .filter(|line| line.starts_with("error"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_traced_network_says_what_it_says_in_pytorch() {
    let _turn = turn();
    let rest = "  - evaluate.classification: {}\n  - {sink.parquet: {path: told.parquet}, from: classifier}\n";
    let project = project(&format!("{DIGITS}{rest}"));
    // It has learned from none of these rows.
    let outcome = project.takt(["check", "pipeline.yaml"]).run().succeeded();
    assert!(!outcome.stderr.contains("no-split"), "{}", outcome.stderr);
    project.run_pipeline(&[]);
    let told = read_table(&project.path("told.parquet"));
    assert_eq!(told.height(), 10_000);
    let golden = golden();
    let classes: Vec<Vec<f64>> = (0..10)
        .map(|class| floats(&told, &format!("probability_{class}")))
        .collect();
    for (row, peer) in (8000..).zip(golden["probabilities"].as_array().expect("a list")) {
        for (class, peer) in classes.iter().zip(numbers(peer)) {
            assert!(
                (class[row] - peer).abs() < 2e-6,
                "row {row}: {} {peer}",
                class[row]
            );
        }
    }
    // The label's own type: they can be compared.
    let column = |name: &str| told.column(name).expect("a column").tail(Some(2000));
    assert_eq!(column("label").dtype(), column("prediction").dtype());
    let right = column("label")
        .as_materialized_series()
        .equal_missing(column("prediction").as_materialized_series())
        .expect("comparable");
    let accuracy = f64::from(right.sum().unwrap_or_default()) / 2000.0;
    assert_eq!(Some(accuracy), golden["accuracy"].as_f64());
}

#[test]
fn what_a_network_sees_is_learned_from_and_scored_in_one_bundle() {
    let _turn = turn();
    let spec = DIGITS
        .replace(
            "output: {classes: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}",
            "output: {code: 10}",
        )
        .replace("id: classifier", "id: seen")
        .replace(
            "  - model.torch.script",
            "  - split.stratified: {test: 0.9}\n  - model.torch.script",
        )
        + "  - model.torch.mlp: {features: [code], hidden: [32], epochs: 20}\n    id: classifier\n\
           \x20 - evaluate.classification: {}\n    id: quality\n  - deploy.bundle: {}\n\
           \x20 - sink.parquet: {path: told.parquet}\n    from: classifier\n\
           \x20 - sink.parquet: {path: rows.parquet}\n    from: digits\n";
    let project = project(&spec);
    let report = project.run_pipeline(&[]);
    let accuracy = report.metrics("quality")["accuracy"];
    assert!(accuracy > 0.95, "{accuracy}");
    // The rows to score hold pictures: both networks are in the bundle.
    let bundle = report.bundle();
    project
        .score(&bundle, "rows.parquet", "scored.parquet")
        .succeeded();
    let told = read_table(&project.path("told.parquet"));
    let scored = read_table(&project.path("scored.parquet"));
    assert_same_outputs(&told, &scored, "pictures");
    assert!(scored.column("code").is_err());
}

#[test]
fn a_scripted_network_takes_several_arguments_and_gives_a_tuple() {
    let spec = "\
pipeline: ratios
stages:
  - source.csv: {path: rows.csv}
  - model.torch.script:
      file: models/ratio.pt
      inputs:
        - {columns: [item], type: int64}
        - {columns: [first, second]}
      output: number
      batch_size: 2
  - sink.parquet: {path: told.parquet}
";
    let project = project(spec);
    project.write("rows.csv", "item,first,second\n0,1,3\n3,2,2.5\n4,8,1\n");
    project.run_pipeline(&[]);
    let told = floats(&read_table(&project.path("told.parquet")), "prediction");
    for (own, peer) in told.iter().zip(numbers(&golden()["ratios"])) {
        assert!((own - peer).abs() < 1e-6, "{own} {peer}");
    }
    project.edit(
        "pipeline.yaml",
        "output: number",
        "output: number\n      result: 1",
    );
    project.run_pipeline(&[]);
    let told = floats(&read_table(&project.path("told.parquet")), "prediction");
    assert_eq!(told, [2.0, 2.25, 4.5]);

    project.edit("pipeline.yaml", "result: 1", "result: 2");
    let outcome = project.takt(["run", "pipeline.yaml"]).run().ended_with(1);
    let message = "the module gives 2 results, so that there is no result 2";
    assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
}

#[test]
fn what_does_not_fit_is_refused() {
    let _turn = turn();
    let project = project(DIGITS);
    project.edit("pipeline.yaml", "models/digits.pt", "models/weights.pt");
    let errors = refused(&project);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("is what `torch.save` writes"),
        "{errors:?}"
    );

    project.edit("pipeline.yaml", "models/weights.pt", "models/digit.pt");
    let errors = refused(&project);
    assert!(
        errors[0].contains("there is no file `models/digit.pt`"),
        "{errors:?}"
    );

    project.edit("pipeline.yaml", "models/digit.pt", "models/digits.pt");
    project.edit("pipeline.yaml", "[image]", "[picture]");
    let errors = refused(&project);
    assert!(errors[0].contains("picture"), "{errors:?}");

    project.edit("pipeline.yaml", "[picture]", "[image]");
    project.edit(
        "pipeline.yaml",
        "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]",
        "[0, 1, 2]",
    );
    let outcome = project.takt(["run", "pipeline.yaml"]).run().ended_with(1);
    let message = "the module gives a tensor of shape [32, 10] for 32 rows, but 3 numbers of each row are declared";
    assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
}

const PAIRS: &str = "\
pipeline: pairs
stages:
  - source.csv: {path: rows.csv}
  - model.torch.script:
      file: models/mean.pt
      inputs: [{columns: [first, second]}]
      output: number
  - sink.parquet: {path: told.parquet}
";

#[test]
fn a_module_whose_answers_depend_on_other_rows_is_refused() {
    let project = project(PAIRS);
    project.write("rows.csv", "first,second\n1,3\n2,2.5\n8,1\n");
    let outcome = project.takt(["run", "pipeline.yaml"]).run().ended_with(1);
    for text in [
        "answer-depends-on-batch",
        "of row 1 alone, and",
        "beside 2 others",
        "`batch_size: 1`",
        "pipeline.yaml:5:",
    ] {
        assert!(outcome.stderr.contains(text), "{text}: {}", outcome.stderr);
    }
    assert!(!project.path("told.parquet").exists());
    // One row at a time has no others.
    project.edit(
        "pipeline.yaml",
        "output: number",
        "output: number\n      batch_size: 1",
    );
    project.run_pipeline(&[]);
    let told = floats(&read_table(&project.path("told.parquet")), "prediction");
    assert_eq!(told, [0.0, 0.0, 0.0]);
}

#[test]
fn what_a_module_fails_of_is_told() {
    let project = project(PAIRS);
    project.write("rows.csv", "first,second\n1,3\n2,2.5\n8,1\n");
    for (from, to, why) in [
        (
            "mean.pt",
            "raises.pt",
            "given float32 [32, 2]: ValueError: boom",
        ),
        (
            "raises.pt",
            "double.pt",
            "got Float and Double; save it in single precision (`model.float()`)",
        ),
        ("[first, second]", "[first]", "given float32 [32, 1]: "),
    ] {
        project.edit("pipeline.yaml", from, to);
        let outcome = project.takt(["run", "pipeline.yaml"]).run().ended_with(1);
        assert!(outcome.stderr.contains(why), "{why}: {}", outcome.stderr);
        assert!(
            !outcome.stderr.contains("TorchScript interpreter"),
            "{}",
            outcome.stderr
        );
    }
}
