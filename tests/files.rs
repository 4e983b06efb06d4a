//! Files of rows as sources and sinks, as a user meets them from one run to the next.

use crate::harness::Project;

#[test]
fn other_columns_than_in_the_last_run_are_told() {
    let project = Project::with(
        "pipeline: drift\nstages:\n  - source.csv: {path: 'data/*.csv'}\n    id: orders\n  - sink.csv: {path: out.csv}\n",
    );
    project.write("data/1.csv", "id,amount,channel\n1,2,x\n");
    project.run_pipeline(&[]);
    project.write("data/1.csv", "id,amount,country\n1,two,y\n");
    let plan = project.takt(["plan", "pipeline.yaml"]).run().succeeded();
    let told = "`amount` was i64, is text; new column `country`; column `channel` is gone";
    assert!(plan.stdout.contains(told), "{}", plan.stdout);
    let run = project.takt(["run", "pipeline.yaml"]).run().succeeded();
    assert!(run.stderr.contains(told), "{}", run.stderr);
    let again = project.takt(["run", "pipeline.yaml"]).run().succeeded();
    assert!(!again.stderr.contains("other columns"), "{}", again.stderr);
}

#[test]
fn a_column_that_is_gone_is_told_beside_what_misses_it() {
    let project = Project::with(
        "pipeline: drift\nstages:\n  - source.csv: {path: orders.csv}\n    id: orders\n  - clean.filter: {where: amount > 0}\n  - sink.csv: {path: out.csv}\n",
    );
    project.write("orders.csv", "id,amount\n1,2\n");
    project.run_pipeline(&[]);
    let told = "stage `orders` gives other columns than in the last run";
    // A name that the pipeline has wrong is no change of the data.
    project.edit("pipeline.yaml", "amount > 0", "amont > 0");
    let misspelt = project.takt(["check", "pipeline.yaml"]).run().ended_with(2);
    assert!(!misspelt.stderr.contains(told), "{}", misspelt.stderr);
    project.edit("pipeline.yaml", "amont > 0", "amount > 0");
    project.write("orders.csv", "id,amount_eur\n1,2\n");
    for command in ["check", "plan", "run"] {
        let refused = project.takt([command, "pipeline.yaml"]).run().ended_with(2);
        for part in [
            "error[unknown-column]",
            "warning[schema-drift]",
            told,
            "new column `amount_eur`; column `amount` is gone",
            "pipeline.yaml:3:5",
        ] {
            assert!(
                refused.stderr.contains(part),
                "{command}: {}",
                refused.stderr
            );
        }
    }
    let json = project.takt(["check", "pipeline.yaml", "--format", "json"]);
    let diagnostics = json.run().ended_with(2).json()[0]["diagnostics"].clone();
    assert_eq!(diagnostics[0]["code"], "schema-drift");
    assert_eq!(diagnostics[0]["severity"], "warning");
    project.write("orders.csv", "id,amount\n1,2\n");
    project.run_pipeline(&[]);
}

#[test]
fn a_sink_that_cannot_write_is_named_itself() {
    let project = Project::with(
        "pipeline: refused\nstages:\n  - source.csv: {path: rows.csv}\n    id: rows\n  - sink.csv: {path: rows.csv.d/out.csv}\n    id: written\n",
    );
    project.write("rows.csv", "a\n1\n");
    // A link to nowhere: a path that looks free when it is checked.
    std::os::unix::fs::symlink("/proc/nowhere", project.path("rows.csv.d")).expect("linked");
    let outcome = project.takt(["run", "pipeline.yaml"]).run();
    assert!(
        outcome.stderr.contains("stage `written`"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_file_that_moves_to_another_partition_is_new_data() {
    let project = Project::with(
        "pipeline: moved\nstages:\n  - source.csv: {path: rows.csv}\n  - sink.parquet: {path: lake, partition_by: [year]}\n",
    );
    project.write("rows.csv", "year,value\n2023,1\n2023,2\n");
    project.run_pipeline(&[]);
    project.write(
        "pipeline.yaml",
        "pipeline: moved\nstages:\n  - source.parquet: {path: lake}\n  - check.expect: [{column: year, between: [2000, 2023]}]\n",
    );
    project.run_pipeline(&[]);
    std::fs::rename(
        project.path("lake/year=2023"),
        project.path("lake/year=2024"),
    )
    .expect("moved");
    project.takt(["run", "pipeline.yaml"]).run().ended_with(3);
}

#[test]
fn a_pattern_may_begin_with_a_wildcard() {
    for pattern in ["g*.csv", "./g*.csv", "**/g*.csv", "*.csv"] {
        let project = Project::with(&format!(
            "pipeline: many\nstages:\n  - source.csv: {{path: \"{pattern}\"}}\n  - sink.ndjson: {{path: out.ndjson}}\n"
        ));
        project.write("g1.csv", "v\n1\n");
        project.write("g2.csv", "v\n2\n");
        project.takt(["run", "pipeline.yaml"]).run().succeeded();
        assert_eq!(project.read("out.ndjson").lines().count(), 2, "{pattern}");
    }
}
