//! Networks: images from IDX files to a bundle. Without libtorch: how to get it.

use crate::{data, harness::Project};

/// Digits of a seven-segment display, and a small network.
pub(crate) const SPEC: &str = "\
pipeline: digits
columns:
  label: {role: target}
stages:
  - source.idx: {images: data/images.idx, labels: data/labels.idx}
    id: digits
  - features.image: {column: image, scale: unit}
  - split.stratified: {test: 0.2}
  - model.torch.cnn:
      layers:
        - conv: {filters: 8, kernel: 3, activation: relu}
        - max_pool: 2
        - conv: {filters: 16, kernel: 3, activation: relu}
        - max_pool: 2
        - flatten
        - dense: {units: 32, activation: relu}
        - dense: {units: 10, activation: softmax}
      optimizer: {adam: {learning_rate: 0.003}}
      epochs: 3
      batch_size: 16
    id: classifier
  - evaluate.classification: {}
    id: quality
  - deploy.bundle: {}
";

pub(crate) fn project(count: u32) -> Project {
    let project = Project::with(SPEC);
    data::write_digits(&project, count);
    project
}

/// Trainings take turns: each uses every core, and two at once wait for each other more than they work.
#[cfg(feature = "torch")]
pub(crate) fn turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    // A test that failed has poisoned it, which is no reason for the next to fail.
    TURN.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(not(feature = "torch"))]
#[test]
fn without_libtorch_check_says_how_to_get_it() {
    let outcome = project(40)
        .takt(["check", "pipeline.yaml"])
        .run()
        .ended_with(2);
    let errors: Vec<&str> = outcome
        .stderr
        .lines()
        .filter(|line| line.starts_with("error"))
        .collect();
    assert_eq!(errors.len(), 1, "{}", outcome.stderr);
    assert!(
        errors[0].starts_with("error[torch-missing]: torch stages cannot run here: "),
        "{}",
        outcome.stderr
    );
    let help = "= help: run `scripts/setup.sh` once to get libtorch";
    for part in ["--> pipeline.yaml:9:5", "- model.torch.cnn:", help] {
        assert!(
            outcome.stderr.contains(part),
            "no `{part}`:\n{}",
            outcome.stderr
        );
    }
}

#[cfg(feature = "torch")]
mod with_libtorch {
    use super::{SPEC, project, turn};
    use crate::{
        bundle::{
            Known, any_rows, assert_any_rows_score_as_in_the_run, assert_same_outputs, read_table,
            values,
        },
        data,
        harness::{Project, golden_settings, repository},
    };

    #[test]
    fn learns_and_says_how_it_goes() {
        let _turn = turn();
        let project = project(600);
        let outcome = project
            .takt(["run", "pipeline.yaml", "--format", "json"])
            .run()
            .succeeded();
        for epoch in 1..=3 {
            let line = format!("classifier: epoch {epoch}/3  loss ");
            assert!(
                outcome.stderr.contains(&line),
                "no `{line}`:\n{}",
                outcome.stderr
            );
        }
        let report = outcome.run_report();
        assert_eq!(
            (report.rows_out("digits"), report.rows_out("classifier")),
            (Some(600), Some(600))
        );
        let accuracy = report.metrics("quality")["accuracy"];
        assert!(accuracy > 0.9, "{accuracy}");
        assert!(
            project.run_pipeline(&[]).worked().is_empty(),
            "a second run trains again"
        );
    }

    #[test]
    fn scores_as_the_run_did_in_every_format() {
        let _turn = turn();
        let project = project(400);
        let sinks = "  - sink.parquet: {path: predictions.parquet}\n    from: classifier\n"
            .to_owned()
            + "  - sink.parquet: {path: rows.parquet}\n    from: digits\n"
            + "  - sink.ndjson: {path: rows.ndjson}\n    from: digits\n"
            + "  - sink.ipc: {path: rows.arrow}\n    from: digits\n";
        project.write(
            "pipeline.yaml",
            SPEC.replace("epochs: 3", "epochs: 1") + &sinks,
        );
        let bundle = project.run_pipeline(&[]).bundle();
        let run = read_table(&project.path("predictions.parquet"));
        assert_eq!(
            run.get_column_names()
                .iter()
                .filter(|name| name.starts_with("probability_"))
                .count(),
            10
        );
        for input in ["parquet", "ndjson", "arrow"] {
            for output in ["parquet", "ndjson", "arrow"] {
                let what = format!("{input} to {output}");
                let name = format!("scored-{input}.{output}");
                project
                    .score(&bundle, &format!("rows.{input}"), &name)
                    .succeeded();
                let scored = read_table(&project.path(&name));
                assert_eq!(values(&scored, "label"), values(&run, "label"), "{what}");
                assert_same_outputs(&run, &scored, &what);
            }
        }
    }

    #[test]
    fn a_row_scores_the_same_alone() {
        let _turn = turn();
        let project = project(50);
        let sinks = "  - sink.parquet: {path: predictions.parquet}\n    from: classifier\n  - sink.ndjson: {path: rows.ndjson}\n    from: digits\n";
        project.write(
            "pipeline.yaml",
            SPEC.replace("epochs: 3", "epochs: 1") + sinks,
        );
        let bundle = project.run_pipeline(&[]).bundle();
        let run = read_table(&project.path("predictions.parquet"));
        let rows = project.read("rows.ndjson");
        let lines: Vec<&str> = rows.lines().collect();
        for (first, count) in [(0, 1), (17, 1), (49, 1), (10, 7), (3, 33)] {
            let mut some = lines[first..first + count].join("\n");
            some.push('\n');
            project.write("some.ndjson", some);
            project
                .score(&bundle, "some.ndjson", "some.parquet")
                .succeeded();
            let scored = read_table(&project.path("some.parquet"));
            assert_same_outputs(
                &run.slice(first as i64, count),
                &scored,
                &format!("{count} rows from {first}"),
            );
        }
    }

    #[test]
    fn any_pictures_in_any_order_score_as_in_the_run() {
        let _turn = turn();
        let shipped = repository().join("pipelines/manufacturing/digit-inspection.yaml");
        let project = Project::with(&std::fs::read_to_string(shipped).expect("the pipeline"));
        data::write_digits(&project, 150);
        for (from, to) in [
            (
                "datasets/mnist/digits-10k-images-idx3-ubyte.gz",
                "data/images.idx",
            ),
            (
                "datasets/mnist/digits-10k-labels-idx1-ubyte.gz",
                "data/labels.idx",
            ),
            // How well it reads is not the question here.
            ("epochs: 5", "epochs: 1"),
            (">= 0.96", ">= 0"),
            (
                "\ntests:",
                "  - sink.parquet: {path: predictions.parquet}\n    from: classifier\n  - sink.parquet: {path: rows.parquet}\n    from: digits\n\ntests:",
            ),
        ] {
            project.edit("pipeline.yaml", from, to);
        }
        let bundle = project.run_pipeline(&[]).bundle();
        let known = Known {
            project: &project,
            bundle: &bundle,
            source: &read_table(&project.path("rows.parquet")),
            run: &read_table(&project.path("predictions.parquet")),
            passed: "label",
        };
        let formats = &["parquet", "ndjson", "arrow"];
        assert_any_rows_score_as_in_the_run(&known, formats, 8, any_rows(150, 70));
    }

    #[test]
    fn images_that_do_not_fit_are_refused() {
        let _turn = turn();
        let project = project(40);
        project.write("pipeline.yaml", SPEC.replace("epochs: 3", "epochs: 1"));
        let bundle = project.run_pipeline(&[]).bundle();
        let refused = |name: &str, input: &str, output: &str| {
            let outcome = project.score(&bundle, input, output).ended_with(1);
            golden_settings().bind(|| insta::assert_snapshot!(name, outcome.golden()));
        };
        let row = |side: usize| {
            let line = vec!["[7]"; side].join(",");
            format!(
                "{{\"image\": [{}]}}\n",
                vec![format!("[{line}]"); side].join(",")
            )
        };
        project.write("small.ndjson", row(8));
        refused("image_of_another_size", "small.ndjson", "scored.parquet");
        project.write("good.ndjson", row(28));
        project
            .score(&bundle, "good.ndjson", "scored.parquet")
            .succeeded();
        refused("images_do_not_go_into_csv", "good.ndjson", "scored.csv");
        project.write("large.ndjson", row(28).replacen("[7]", "[700]", 1));
        refused(
            "image_with_a_value_too_large",
            "large.ndjson",
            "large.parquet",
        );
    }

    #[test]
    fn two_runs_give_the_same_bytes_and_another_seed_others() {
        let _turn = turn();
        let bundles: Vec<_> = [&[][..], &["--fresh"], &["--seed", "8"]]
            .into_iter()
            .map(|more| project(200).run_pipeline(more).bundle_files())
            .collect();
        assert!(bundles[0] == bundles[1], "two runs of the same differ");
        assert!(bundles[0] != bundles[2], "another seed makes no difference");
    }

    #[test]
    fn one_flipped_byte_of_the_weights_is_refused() {
        let _turn = turn();
        let project = project(40);
        project.write(
            "pipeline.yaml",
            SPEC.replace("epochs: 3", "epochs: 1")
                + "  - sink.parquet: {path: rows.parquet}\n    from: digits\n",
        );
        let bundle = project.run_pipeline(&[]).bundle();
        let weights = bundle.join("states/classifier.safetensors");
        let bytes = std::fs::read(&weights).expect("weights");
        for offset in [0, 8, 100, bytes.len() / 2, bytes.len() - 1] {
            let mut flipped = bytes.clone();
            flipped[offset] ^= 0x01;
            std::fs::write(&weights, flipped).expect("damaged weights");
            let outcome = project
                .score(&bundle, "rows.parquet", "scored.parquet")
                .ended_with(1);
            assert!(
                outcome.stderr.contains("is not a sound bundle"),
                "{}",
                outcome.stderr
            );
        }
    }

    #[test]
    fn the_dense_network_takes_the_same_images() {
        let _turn = turn();
        let project = Project::with(
            "\
pipeline: digits
columns:
  label: {role: target}
stages:
  - source.idx: {images: data/images.idx, labels: data/labels.idx}
    id: digits
  - features.image: {column: image, scale: unit}
  - split.stratified: {test: 0.2}
  - model.torch.mlp: {hidden: [32, 32, 32], epochs: 6, batch_size: 16}
    id: classifier
  - evaluate.classification: {}
    id: quality
  - deploy.bundle: {require: {accuracy: \">= 0.7\"}}
",
        );
        data::write_digits(&project, 600);
        project.run_pipeline(&[]).bundle_files();
    }
}
