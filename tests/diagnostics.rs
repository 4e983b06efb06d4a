//! Bad specs, one mistake each, and what `takt` says of them.
//!
//! A spec is `tests/diagnostics/NAME.yaml`, its golden file `tests/diagnostics/NAME.snap`. It is held against `takt check`,
//! unless its first line says `# takt run`, or gives more arguments.

use std::{collections::BTreeSet, fs};

use crate::{
    data,
    harness::{Outcome, Project, golden_settings, repository},
};

/// A project with the specs' data.
fn project() -> Project {
    let project = Project::new();
    data::copy(&project, "tests/data", "data");
    data::write_few_images(&project);
    project.write(
        "data/latin1.csv",
        b"part_id,material\n1,steel\n2,ma\xdfholz\n",
    );
    project.write(
        "data/text-far-down.csv",
        data::csv_with_late_row("12001,wide"),
    );
    project.write(
        "data/ragged-far-down.csv",
        data::csv_with_late_row("12001,2.5,steel"),
    );
    project
}

fn assert_golden(name: &str, outcome: &Outcome) {
    let mut settings = golden_settings();
    settings.set_snapshot_path("diagnostics");
    settings.bind(|| insta::assert_snapshot!(name, outcome.golden()));
}

fn golden(name: &str) {
    let project = project();
    let file = format!("{name}.yaml");
    let spec =
        fs::read_to_string(repository().join("tests/diagnostics").join(&file)).expect("the spec");
    let command = spec
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# takt "))
        .unwrap_or("check");
    let mut arguments: Vec<&str> = command.split_whitespace().collect();
    arguments.insert(1, &file);
    project.write(&file, &spec);
    let outcome = project.takt(arguments).run();
    assert!((1..=3).contains(&outcome.code), "`{name}` is accepted");
    assert_golden(name, &outcome);
}

macro_rules! golden {
    (#[$when:meta] $names:ident: $($name:ident)*) => {
        const $names: &[&str] = &[$(stringify!($name)),*];
        $(#[$when] #[test] fn $name() { golden(stringify!($name)); })*
    };
}

golden! {
    #[cfg(test)]
    SPECS:
    unknown_kind
    unknown_param
    unknown_column
    unknown_column_in_sql
    wrong_type
    out_of_range
    not_one_of
    missing_param
    params_not_a_map
    missing_from
    cycle
    duplicate_id
    invalid_id
    two_kinds
    stage_without_kind
    stage_not_a_map
    unknown_stage_key
    too_many_inputs
    source_with_input
    first_stage_reads_nothing
    undefined_name
    unset_env
    unset_secret
    unterminated_substitution
    param_of_wrong_type_in_place
    param_unknown
    param_of_wrong_type
    tab_indentation
    duplicate_key
    duplicate_param_key
    alias_bomb
    unknown_alias
    unclosed_bracket
    bad_indentation
    two_documents
    empty_file
    only_comments
    not_a_map
    no_stages
    stages_missing
    stages_not_a_list
    no_name
    bad_name
    unknown_top_level_key
    unknown_role
    unused_column_role
    bad_seed
    schedule_unknown_key
    schedule_bad_span
    schedule_bad_cron
    schedule_bad_zone
    schedule_two_triggers
    schedule_bad_bounds
    schedule_unknown_param
    schedule_two_targets
    tests_unknown_stage
    tests_that_cannot_be
    sql_syntax
    sql_unbalanced_parenthesis
    sql_unknown_function
    sql_wrong_arguments
    sql_type_mismatch
    sql_aggregate_in_row
    sql_row_in_aggregate
    sql_subquery
    sql_condition_not_true_or_false
    name_taken
    number_instead_of_sql
    sql_comma_in_flow_map
    reserved_name
    rolling_over_text
    rolling_bad_window
    numbers_needed
    fitted_above_split
    split_twice
    shares_over_one
    split_without_target
    target_leak
    target_leak_derived
    target_leak_rolling
    model_output_taken
    model_output_taken_at_run
    pii_feature
    pii_derived
    two_targets
    no_target
    text_feature
    text_feature_by_default
    evaluate_without_model
    deploy_without_model
    require_without_evaluation
    unknown_metric
    bound_by_metric
    bad_require_bound
    two_models
    missing_file
    file_is_a_directory
    unknown_format
    empty_csv
    header_only_csv
    header_only_csv_allowed
    ragged_csv
    ragged_csv_far_down
    duplicate_header_csv
    not_utf8_csv
    unparsable_value_far_down
    declared_schema_column_missing
    declared_schema_unknown_type
    not_parquet
    broken_ndjson
    unreadable_image
    no_images
    idx_truncated
    idx_truncated_gzip
    idx_wrong_magic
    idx_labels_as_images
    idx_count_mismatch
    sink_into_missing_parent
    sink_images_to_csv
    sink_duration_to_csv
    expectation_broken
    expectation_without_rule
    expectation_wrong_type
    expectation_bad_bounds
    expectation_bad_reference
    expectation_unknown_condition
    expectation_of_figures_broken
    one_class_only
    null_in_feature
    several_mistakes
    several_columns
    no_cascade
}

golden! {
    // Without libtorch these say first that it is missing.
    #[cfg(feature = "torch")]
    NETWORKS:
    conv_larger_than_input
    initial_weights_no_weights
    pool_larger_than_input
    class_count
    dense_before_flatten
    softmax_not_last
    unknown_layer
    unknown_layer_param
    unknown_activation
    batch_norm_of_one_row
    two_layers_in_one
    unknown_optimizer
    zero_epochs
    unscaled_image
    network_without_image
}

#[test]
fn every_spec_is_tested() {
    let folder = repository().join("tests/diagnostics");
    let found: BTreeSet<String> = fs::read_dir(folder)
        .expect("the folder")
        .flatten()
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .strip_suffix(".yaml")
                .map(str::to_owned)
        })
        .collect();
    let tested: BTreeSet<String> = SPECS
        .iter()
        .chain(NETWORKS)
        .map(ToString::to_string)
        .collect();
    assert_eq!(found, tested);
}

/// `takt check` of a file that the test made; its golden file has the test's name.
fn check_golden(name: &str, content: &[u8]) {
    let project = project();
    let file = format!("{name}.yaml");
    project.write(&file, content);
    assert_golden(name, &project.takt(["check", &file]).run().ended_with(2));
}

#[test]
fn nesting_of_ten_thousand_lists() {
    let deep = format!(
        "pipeline: deep\nstages: {}{}\n",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    check_golden("nesting_of_ten_thousand_lists", deep.as_bytes());
}

#[test]
fn nesting_of_ten_thousand_maps() {
    let flow = format!("{}{}", "{a: ".repeat(10_000), "}".repeat(10_000));
    check_golden(
        "nesting_of_ten_thousand_maps",
        format!("pipeline: deep\nstages: {flow}\n").as_bytes(),
    );
}

#[test]
fn nesting_in_sql() {
    let expression = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
    let spec = format!(
        "pipeline: deep\nstages:\n  - source.csv: {{path: data/payments.csv}}\n  - clean.filter: {{where: \"{expression} > 0\"}}\n"
    );
    let project = project();
    project.write("spec.yaml", spec);
    let outcome = project
        .takt(["check", "spec.yaml", "--format", "json"])
        .run()
        .ended_with(2);
    let diagnostics = &outcome.json()[0]["diagnostics"];
    assert_eq!(
        diagnostics.as_array().map(Vec::len),
        Some(1),
        "{diagnostics}"
    );
}

#[test]
fn file_of_a_gigabyte() {
    let project = project();
    let file = fs::File::create(project.path("file_of_a_gigabyte.yaml")).expect("a file");
    file.set_len(1 << 30).expect("a sparse file");
    assert_golden(
        "file_of_a_gigabyte",
        &project
            .takt(["check", "file_of_a_gigabyte.yaml"])
            .run()
            .ended_with(2),
    );
}

#[test]
fn yaml_not_utf8() {
    check_golden(
        "yaml_not_utf8",
        b"pipeline: payments\nabout: Z\xfcge\nstages:\n  - source.csv: {path: data/payments.csv}\n",
    );
}

#[test]
fn control_characters() {
    check_golden(
        "control_characters",
        b"pipeline: pay\x00ments\nstages: []\n",
    );
}

#[test]
fn directory_instead_of_file() {
    let project = project();
    assert_golden(
        "directory_instead_of_file",
        &project.takt(["check", "data"]).run().ended_with(2),
    );
}

#[test]
fn file_that_does_not_exist() {
    let project = project();
    assert_golden(
        "file_that_does_not_exist",
        &project.takt(["check", "payments.yml"]).run().ended_with(2),
    );
}

#[test]
fn several_files_at_once() {
    let project = project();
    project.write(
        "good.yaml",
        "pipeline: payments\nstages:\n  - source.csv: {path: data/payments.csv}\n",
    );
    project.write(
        "bad.yaml",
        "pipeline: payments\nstages:\n  - source.csv: {pth: data/payments.csv}\n",
    );
    assert_golden(
        "several_files_at_once",
        &project
            .takt(["check", "good.yaml", "bad.yaml", "none.yaml"])
            .run()
            .ended_with(2),
    );
}

#[test]
fn environment_of_the_wrong_type() {
    let project = project();
    project.write(
        "spec.yaml",
        "pipeline: payments\nstages:\n  - source.synthetic.payments: {rows: \"${env:ROWS}\"}\n",
    );
    let outcome = project
        .takt(["check", "spec.yaml"])
        .env("ROWS", "many")
        .run()
        .ended_with(2);
    assert_golden("environment_of_the_wrong_type", &outcome);
    project
        .takt(["check", "spec.yaml"])
        .env("ROWS", "100")
        .run()
        .succeeded();
}

#[test]
fn a_secret_is_never_shown() {
    const SECRET: &str = "swordfish-4711";
    let project = project();
    project.write(
        "spec.yaml",
        concat!(
            "pipeline: payments\n",
            "params: {folder: {default: \"${secret:TOKEN}\"}}\n",
            "stages:\n",
            "  - source.csv: {path: \"data/${secret:TOKEN}.csv\"}\n",
            "    id: payments\n",
            "  - source.synthetic.payments: {rows: \"${secret:TOKEN}\", file: \"${folder}\"}\n",
            "    id: more\n",
            "  - clean.filter: {where: \"amount > '${secret:TOKEN}'\"}\n",
            "    from: payments\n",
        ),
    );
    for format in ["text", "json"] {
        for command in ["check", "plan", "run"] {
            let outcome = project
                .takt([command, "spec.yaml", "--format", format])
                .env("TOKEN", SECRET)
                .run();
            assert_ne!(outcome.code, 0);
            assert!(
                !outcome.stdout.contains(SECRET) && !outcome.stderr.contains(SECRET),
                "{}",
                outcome.stderr
            );
        }
    }
    // Where it is used well, it is in nothing that is kept.
    project.write("data/swordfish-4711/parts.csv", "part_id,width\n1,2.5\n");
    project.write("good.yaml", "pipeline: parts\nstages:\n  - source.csv: {path: \"data/${secret:TOKEN}/parts.csv\"}\n  - sink.csv: {path: out.csv}\n");
    let outcome = project
        .takt(["run", "good.yaml"])
        .env("TOKEN", SECRET)
        .run()
        .succeeded();
    assert!(
        !outcome.stdout.contains(SECRET) && !outcome.stderr.contains(SECRET),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    let kept = crate::harness::files_below(&project.path(".taktline"));
    for (name, bytes) in kept {
        assert!(
            !String::from_utf8_lossy(&bytes).contains(SECRET),
            "`{name}` holds the secret"
        );
    }
}

#[test]
fn json_says_the_same_as_data() {
    let project = project();
    let file = "several_mistakes.yaml";
    project.write(
        file,
        fs::read(repository().join("tests/diagnostics").join(file)).expect("the spec"),
    );
    let report = project
        .takt(["check", file, "--format", "json"])
        .run()
        .ended_with(2)
        .json();
    let report = &report[0];
    assert_eq!(report["ok"], false);
    assert_eq!(report["file"], file);
    let diagnostics = report["diagnostics"].as_array().expect("diagnostics");
    assert_eq!(diagnostics.len(), 4, "{diagnostics:?}");
    let text = project.read(file);
    for diagnostic in diagnostics {
        let location = &diagnostic["location"];
        let line = location["line"].as_u64().expect("a line") as usize;
        let column = location["column"].as_u64().expect("a column") as usize;
        let span = location["span"]["start"].as_u64().expect("a start") as usize;
        let before = &text[..span];
        assert_eq!(line, 1 + before.matches('\n').count(), "{diagnostic}");
        assert_eq!(
            column,
            1 + before
                .chars()
                .rev()
                .take_while(|character| *character != '\n')
                .count(),
            "{diagnostic}"
        );
    }
}
