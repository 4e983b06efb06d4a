//! Models of groups from file to bundle: what a run says of a row, scoring says of it again.

use std::fs::{self, File};

use polars::prelude::{CsvReader, DataFrame, SerReader};

use crate::{harness::Project, tumours::tumours};

const SPEC: &str = "\
pipeline: groups
columns:
  diagnosis: {role: target}
stages:
  - source.csv: {path: data/tumours.csv}
    id: tumours
  - clean.select: {columns: [mean_radius, mean_texture, mean_smoothness, mean_symmetry, diagnosis]}
  - split.random: {test: 0.25}
  - features.standardize: {columns: [mean_radius, mean_texture, mean_smoothness, mean_symmetry]}
  - features.ica: {components: 3}
  - MODEL
    id: groups
  - evaluate.clustering: {part: test}
    id: quality
  - deploy.bundle: {}
  - sink.csv: {path: found.csv}
    from: groups
";

fn rows(project: &Project, file: &str) -> DataFrame {
    let file = File::open(project.path(file)).expect("a file");
    CsvReader::new(file).finish().expect("a frame")
}

#[test]
fn a_row_has_the_same_group_in_a_run_and_in_scoring() {
    // By chance the agreement is 0 and the silhouette below 0. The held-out rows of `optics` are nearly all noise here: what it finds
    // is judged in tests/models.rs.
    for (model, (metric, least), added) in [
        (
            "model.linfa.k_means: {clusters: 3}",
            ("adjusted_rand", 0.3),
            &["cluster", "distance"][..],
        ),
        (
            "model.linfa.gaussian_mixture: {clusters: 2, contamination: 0.02}",
            ("adjusted_rand", 0.45),
            &["cluster", "probability_0", "probability_1", "score"],
        ),
        (
            "model.linfa.dbscan: {eps: 0.7, min_points: 5}",
            ("silhouette", 0.25),
            &["cluster", "distance"],
        ),
        (
            "model.linfa.optics: {min_points: 10, min_cluster_size: 15, xi: 0.03}",
            ("clusters", 1.0),
            &["cluster", "distance"],
        ),
    ] {
        let project = Project::with(&SPEC.replace("MODEL", model));
        project.write("data/tumours.csv", tumours());
        let report = project.run_pipeline(&[]);
        let metrics = report.metrics("quality");
        assert!(metrics[metric] >= least, "{model}: {metrics:?}");
        project
            .score(&report.bundle(), "data/tumours.csv", "scored.csv")
            .succeeded();
        let (found, scored) = (rows(&project, "found.csv"), rows(&project, "scored.csv"));
        assert_eq!(scored.height(), 569);
        let html = fs::read_to_string(report.report()).expect("a report");
        assert_eq!(
            html.contains("Learning curve: bic"),
            model.contains("mixture")
        );
        for name in added {
            let column = |frame: &DataFrame| frame.column(name).expect("an output").clone();
            assert_eq!(column(&found), column(&scored), "{model}: {name}");
        }
    }
}
