//! Ctrl-C: it ends within a second, and nothing that was finished is lost.
#![cfg(unix)]

use std::time::{Duration, Instant};

use crate::harness::{Outcome, Project, Running};

/// The promise is a second; the rest is for a machine that is busy with other tests.
const A_SECOND: Duration = Duration::from_millis(1_500);

fn interrupted(running: Running<'_>) -> Outcome {
    let pressed = Instant::now();
    running.interrupt();
    let outcome = running.finish().ended_with(130);
    let taken = pressed.elapsed();
    assert!(taken < A_SECOND, "took {taken:?} to stop");
    outcome
}

#[test]
fn during_a_query() {
    let project = Project::with(
        "\
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
  - sink.csv: {path: sorted.csv}
",
    );
    let mut running = project.takt(["run", "pipeline.yaml"]).start();
    // What comes next is the query over many rows.
    running.wait_for("sane: ");
    interrupted(running);
    assert!(!project.path("sorted.csv").exists());
    let plan = project.takt(["plan", "pipeline.yaml"]).run().succeeded();
    assert!(
        plan.stdout.contains("cached"),
        "what was finished is kept:\n{}",
        plan.stdout
    );
}

#[cfg(feature = "torch")]
mod during_training {
    use super::interrupted;
    use crate::{
        digits::{self, SPEC},
        harness::{Project, files_below, golden_settings},
    };

    const IMAGES: u32 = 400;

    fn project() -> Project {
        let project = digits::project(IMAGES);
        project.write("pipeline.yaml", SPEC.replace("epochs: 3", "epochs: 6"));
        project
    }

    #[test]
    fn the_next_run_goes_on_and_ends_in_the_same_bytes() {
        let _turn = digits::turn();
        let whole = project();
        let expected = whole.run_pipeline(&[]).bundle_files();

        let project = project();
        let mut running = project.takt(["run", "pipeline.yaml"]).start();
        running.wait_for("classifier: epoch 2/6");
        let outcome = interrupted(running);
        assert!(
            outcome.stderr.contains("interrupted in stage `classifier`"),
            "{}",
            outcome.stderr
        );
        let checkpoints = files_below(&project.path(".taktline/checkpoints"));
        assert_eq!(checkpoints.len(), 1, "{:?}", checkpoints.keys());
        let (name, _) = checkpoints.first_key_value().expect("one");
        assert!(
            outcome
                .stderr
                .contains(&format!(".taktline/checkpoints/{name}")),
            "{}",
            outcome.stderr
        );
        assert!(!project.path(".taktline/bundles").exists());

        let mut running = project
            .takt(["run", "pipeline.yaml", "--format", "json"])
            .start();
        running.wait_for("resum");
        let outcome = running.finish().succeeded();
        assert!(
            !outcome.stderr.contains("epoch 1/6"),
            "it began again:\n{}",
            outcome.stderr
        );
        assert!(outcome.stderr.contains("epoch 6/6"), "{}", outcome.stderr);
        assert!(
            outcome.run_report().bundle_files() == expected,
            "resumed training gives other bytes"
        );
        assert!(
            files_below(&project.path(".taktline/checkpoints")).is_empty(),
            "the checkpoint is not needed any more"
        );
    }

    #[test]
    fn it_says_how_to_go_on() {
        let _turn = digits::turn();
        let project = project();
        let mut running = project.takt(["run", "pipeline.yaml"]).start();
        running.wait_for("classifier: epoch 1/6");
        let outcome = interrupted(running);
        let said = outcome.golden();
        let (_, message) = said.split_once("error[interrupted]").expect("the message");
        let mut settings = golden_settings();
        settings.add_filter(r"checkpoints/[0-9a-f]{64}", "checkpoints/[key]");
        settings.bind(|| {
            insta::assert_snapshot!("interrupted", format!("error[interrupted]{message}"))
        });
    }

    #[test]
    fn a_damaged_checkpoint_is_not_trusted() {
        let _turn = digits::turn();
        let project = project();
        let mut running = project.takt(["run", "pipeline.yaml"]).start();
        running.wait_for("classifier: epoch 1/6");
        interrupted(running);
        let folder = project.path(".taktline/checkpoints");
        for (name, mut bytes) in files_below(&folder) {
            let middle = bytes.len() / 2;
            bytes.truncate(middle);
            std::fs::write(folder.join(name), bytes).expect("a damaged checkpoint");
        }
        let expected = self::project().run_pipeline(&[]).bundle_files();
        assert!(
            project.run_pipeline(&[]).bundle_files() == expected,
            "a damaged checkpoint changes the model"
        );
    }

    #[test]
    fn fresh_begins_again() {
        let _turn = digits::turn();
        let project = project();
        let mut running = project.takt(["run", "pipeline.yaml"]).start();
        running.wait_for("classifier: epoch 1/6");
        interrupted(running);
        let outcome = project
            .takt(["run", "pipeline.yaml", "--fresh"])
            .run()
            .succeeded();
        assert!(
            outcome.stderr.contains("epoch 1/6") && !outcome.stderr.contains("resum"),
            "{}",
            outcome.stderr
        );
    }

    #[test]
    fn in_the_midst_of_a_long_batch() {
        let _turn = digits::turn();
        let project = digits::project(1_000);
        // All rows are one batch, which takes longer than anyone waits: nothing looks whether to stop.
        let layers = "        - max_pool: 2
        - conv: {filters: 256, kernel: 3, activation: relu}
        - conv: {filters: 256, kernel: 3, activation: relu}
        - flatten
        - dense: {units: 10, activation: softmax}
      optimizer";
        let (before, rest) = SPEC.split_once("        - conv").expect("layers");
        let (_, after) = rest.split_once("      optimizer").expect("the optimizer");
        let spec = format!("{before}{layers}{after}").replace("batch_size: 16", "batch_size: 1000");
        project.write("pipeline.yaml", spec);
        let mut running = project.takt(["run", "pipeline.yaml"]).start();
        running.wait_for("classifier: epoch 1/3");
        interrupted(running);
        let checkpoints = files_below(&project.path(".taktline/checkpoints"));
        assert_eq!(
            checkpoints.len(),
            1,
            "the epoch that was finished is kept: {:?}",
            checkpoints.keys()
        );
    }
}
