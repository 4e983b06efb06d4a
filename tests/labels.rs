//! Below a classifier whose classes only the rows tell (whole numbers, text), its columns are as good as any other, and what the check
//! could not know is said by the run.

use crate::harness::Project;

/// 240 rows of two numbers; the label is 1 where their sum is large, and 2 in the rows from `third` on.
fn rows(third: usize) -> String {
    let row = |row: usize| {
        let (a, b) = (row * 37 % 100, row * 61 % 100);
        let label = match row >= third {
            true => 2,
            false => usize::from(a + b > 90),
        };
        let part = if row.is_multiple_of(3) || row >= third {
            "test"
        } else {
            "train"
        };
        let kind = if row.is_multiple_of(7) { "x" } else { "y" };
        format!("{row},{a},{b},{label},{part},{kind}\n")
    };
    let rows: String = (0..240).map(row).collect();
    format!("id,a,b,label,part,kind\n{rows}")
}

fn project(below: &str) -> Project {
    let spec = format!(
        "\
pipeline: labels
columns: {{id: {{role: id}}, label: {{role: target}}, part: {{role: ignore}}}}
stages:
  - source.csv: {{path: rows.csv}}
  - split.column: {{column: part}}
  - model.linfa.logistic_regression: {{features: [a, b]}}
{below}"
    );
    let project = Project::with(&spec);
    project.write("rows.csv", rows(240));
    project
}

const SINK: &str = "  - sink.csv: {path: out.csv}\n";

fn header(project: &Project) -> String {
    let written = project.read("out.csv");
    written.lines().next().expect("a header").to_owned()
}

#[test]
fn stages_below_pass_the_models_columns_on_and_read_them() {
    let below = "  \
  - clean.drop: {columns: a}
  - clean.rename: {columns: {b: size}}
  - features.one_hot: {columns: [kind]}
  - features.derive: {doubled: score * 2, either: probability_0 + probability_1}
  - clean.filter: {where: score > 0.5}
";
    let project = project(&format!("{below}{SINK}"));
    for _ in 0..2 {
        project.takt(["run", "pipeline.yaml"]).run().succeeded();
        assert_eq!(
            header(&project),
            "id,size,label,part,kind=x,kind=y,partition,prediction,score,probability_0,probability_1,doubled,either"
        );
        let written = project.read("out.csv");
        assert!(written.lines().count() > 50);
        for line in written.lines().skip(1) {
            let cells: Vec<f64> = line
                .split(',')
                .filter_map(|cell| cell.parse().ok())
                .collect();
            let [.., score, not, is, doubled, either] = cells[..] else {
                panic!("{line}")
            };
            assert!(score > 0.5 && score == is, "{line}");
            assert_eq!(doubled, 2.0 * score);
            assert_eq!(either, not + is);
        }
        // What is cached says the same.
        std::fs::remove_file(project.path("out.csv")).expect("removed");
    }
}

#[test]
fn a_name_that_the_model_does_not_make_is_refused_by_check_or_run() {
    for (below, ends_with, code, message) in [
        (
            "  - clean.select: {columns: [id, score, probability_7]}\n",
            1,
            "unknown-column",
            "`probability_7`",
        ),
        // No class makes a column of that name: the check knows that.
        (
            "  - features.derive: {z: scores + 1}\n",
            2,
            "unknown-column",
            "`scores`",
        ),
        (
            "  - evaluate.classification: {by: kinds}\n",
            2,
            "unknown-column",
            "`kinds`",
        ),
        (
            "  - features.derive: {z: score || 'x' + score}\n",
            1,
            "type-mismatch",
            "",
        ),
    ] {
        let project = project(&format!("{below}{SINK}"));
        let outcome = project.takt(["run", "pipeline.yaml"]).run();
        assert_eq!(outcome.code, ends_with, "{below}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(code) && outcome.stderr.contains(message),
            "{below}: {}",
            outcome.stderr
        );
        assert!(
            outcome.stderr.contains("pipeline.yaml:7:"),
            "{}",
            outcome.stderr
        );
        assert!(!project.path("out.csv").exists());
    }
}

#[test]
fn a_label_of_the_test_rows_alone_is_told() {
    let project = project("  - evaluate.classification: {}\n    id: quality\n");
    let outcome = project.takt(["run", "pipeline.yaml"]).run().succeeded();
    assert!(!outcome.stdout.contains("note:"), "{}", outcome.stdout);
    project.write("rows.csv", rows(230));
    let outcome = project.takt(["run", "pipeline.yaml"]).run().succeeded();
    let note = "the label `2` of 10 rows is in no training row: the model cannot say it";
    assert!(outcome.stdout.contains(note), "{}", outcome.stdout);
}

#[test]
fn a_baseline_does_not_learn_from_balanced_rows() {
    let metrics = |balance: &str| {
        let project = Project::with(&format!(
            "\
pipeline: rare
columns: {{id: {{role: id}}, label: {{role: target}}, part: {{role: ignore}}}}
stages:
  - source.csv: {{path: rows.csv}}
  - clean.filter: {{where: a + b > 60}}
  - split.column: {{column: part}}
{balance}  - model.linfa.logistic_regression: {{features: [a, b]}}
  - evaluate.classification: {{}}
"
        ));
        project.write("rows.csv", rows(240));
        project.run_pipeline(&[]).metrics("classification")["baseline_accuracy"]
    };
    let natural = metrics("");
    assert!(natural > 0.6, "{natural}");
    for balance in ["oversample", "undersample", "smote"] {
        let balanced = metrics(&format!("  - balance.{balance}: {{}}\n"));
        assert!(
            (balanced - natural).abs() < 1e-9,
            "{balance}: {balanced} and {natural}"
        );
    }
}
