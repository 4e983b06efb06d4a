//! Rows that networks make up: training sees them, evaluation and scoring do not.

use crate::{
    bundle::{assert_same_outputs, read_table},
    digits::turn,
    harness::Project,
    tumours::tumours,
};

const SPEC: &str = "\
pipeline: balanced
columns:
  diagnosis: {role: target}
stages:
  - source.csv: {path: data/tumours.csv}
    id: tumours
  - clean.select: {columns: [mean_radius, mean_texture, worst_area, diagnosis]}
    id: chosen
  - split.stratified: {test: 0.25}
    id: parts
  - BALANCE
    id: balanced
  - features.standardize: {columns: [mean_radius, mean_texture, worst_area]}
  - model.linfa.logistic_regression: {positive: M}
    id: classifier
  - evaluate.classification: {positive: M}
    id: quality
  - deploy.bundle: {}
  - sink.parquet: {path: told.parquet}
    from: classifier
  - sink.parquet: {path: rows.parquet}
    from: chosen
";

#[test]
fn made_up_rows_are_for_training_alone() {
    let _turn = turn();
    for balance in [
        "balance.gan: {steps: 60, hidden: [16], batch_size: 32}",
        "balance.vae: {epochs: 20, hidden: [16], bottleneck: 2}",
    ] {
        let project = Project::with(&SPEC.replace("BALANCE", balance));
        project.write("data/tumours.csv", tumours());
        let report = project.run_pipeline(&[]);
        // 212 of the 569 are malignant, three quarters of both are for training: 268 benign and 159 malignant.
        assert_eq!(report.rows_out("parts"), Some(569), "{balance}");
        assert_eq!(
            report.rows_out("balanced"),
            Some(569 + 268 - 159),
            "{balance}"
        );
        let area = report.metrics("quality")["roc_auc"];
        assert!(area > 0.9, "{balance}: {area}");
        let bundle = report.bundle();
        project
            .score(&bundle, "rows.parquet", "scored.parquet")
            .succeeded();
        let told = read_table(&project.path("told.parquet")).head(Some(569));
        let scored = read_table(&project.path("scored.parquet"));
        assert_same_outputs(&told, &scored, balance);
        let again = project.run_pipeline(&[]).worked();
        let learns = |stage: &String| matches!(stage.as_str(), "balanced" | "classifier");
        assert!(!again.iter().any(learns), "{balance}: {again:?}");
    }
}

/// 5,000 milling jobs of which 2.7 % fail: what made-up failures are worth to a logistic regression of the plain measurements.
#[test]
fn made_up_failures_find_real_ones() {
    let _turn = turn();
    let balanced_accuracy = |balance: &str| {
        let spec = format!(
            "\
pipeline: rare
columns:
  machine_failure: {{role: target}}
stages:
  - source.synthetic.milling: {{rows: 5000, seed: 7}}
  - clean.select: {{columns: [air_temperature, process_temperature, rotational_speed, torque, tool_wear, machine_failure]}}
  - split.stratified: {{test: 0.3}}
{balance}  - features.standardize: {{columns: [air_temperature, process_temperature, rotational_speed, torque, tool_wear]}}
  - model.linfa.logistic_regression: {{}}
    id: failures
  - evaluate.classification: {{}}
    id: quality
"
        );
        let project = Project::with(&spec);
        project.run_pipeline(&[]).metrics("quality")["balanced_accuracy"]
    };
    let plain = balanced_accuracy("");
    for balance in [
        "  - balance.gan: {ratio: 0.3, steps: 600}\n",
        "  - balance.vae: {ratio: 0.3, epochs: 60}\n",
    ] {
        let balanced = balanced_accuracy(balance);
        assert!(
            balanced > plain + 0.08,
            "{balance}: {balanced} in place of {plain}"
        );
    }
}
