//! Runs stages in unit tests the way a user's run would: the spec's check, the local engine, real rows.

use std::path::Path;

use polars::prelude::{DataFrame, IntoLazy};
use taktline_core::{
    Capabilities, Diagnostic, Estimator, FitContext, Frame, Registry, Relational, Result, Schema,
    Stage,
};

use crate::columns::testing::check_all;

/// The rows after the last stage of this pipeline; relative paths start from `directory`.
///
/// # Errors
/// Every message of the check, or the message of the stage that failed.
pub(crate) fn run(yaml: &str, directory: &Path) -> Result<DataFrame, String> {
    let registry = Registry::collect()?;
    let options = taktline_spec::Options {
        params: Vec::new(),
        seed: None,
        directory,
        capabilities: Capabilities::default(),
        environment: &|_| None,
        occurrence: taktline_spec::Occurrence::now(),
        registry: &registry,
    };
    let source = taktline_spec::SourceText::new("pipeline.yaml", yaml);
    let checked = taktline_spec::check(source, &options);
    let Some(plan) = checked.plan else {
        let messages: Vec<String> = checked
            .diagnostics
            .into_iter()
            .map(|problem| format!("{}: {}", problem.code, problem.message))
            .collect();
        return Err(messages.join("\n"));
    };
    taktline_engine::frame(&plan, directory).map_err(|error| error.to_string())
}

/// What the check says of these stages, a YAML list, above which nothing stands.
pub(crate) fn diagnostics(stages: &str) -> Vec<Diagnostic> {
    let registry = Registry::collect().expect("no kind twice");
    let options = taktline_spec::Options {
        params: Vec::new(),
        seed: None,
        directory: Path::new("."),
        capabilities: Capabilities::default(),
        environment: &|_| None,
        occurrence: taktline_spec::Occurrence::now(),
        registry: &registry,
    };
    let yaml = format!("pipeline: example\nstages:\n{}\n", stages.trim_end());
    taktline_spec::check(
        taktline_spec::SourceText::new("pipeline.yaml", yaml),
        &options,
    )
    .diagnostics
}

/// The rows of a stateless stage over these inputs; its check must find nothing.
///
/// # Errors
/// The message of the stage that failed.
pub(crate) fn applied<S: Stage + Relational>(stage: &S, inputs: &[DataFrame]) -> Result<DataFrame> {
    let schemas = schemas(inputs);
    let expected = checked(stage, &schemas);
    let operations = stage.lower(&schemas)?;
    let rows = collected(&operations, inputs, &schemas)?;
    assert_schema(&expected, &rows);
    Ok(rows)
}

/// The rows of an estimator that learned from `train`, over `rows`; its check must find nothing.
///
/// # Errors
/// The message of the stage that failed.
pub(crate) fn fitted<S: Stage + Estimator>(
    stage: &S,
    train: &DataFrame,
    rows: &DataFrame,
) -> Result<DataFrame> {
    let schemas = schemas(std::slice::from_ref(train));
    let expected = checked(stage, &schemas);
    let frame = Frame {
        data: train.clone(),
        schema: schemas[0].clone(),
    };
    let state = stage.fit(&frame, &mut FitContext::quiet(7))?;
    // As it would be read back from a bundle.
    let state = taktline_core::State::from_bytes(&state.to_bytes()?)?;
    let operations = stage.lower(&state, &schemas)?;
    let rows = collected(&operations, std::slice::from_ref(rows), &schemas)?;
    assert_schema(&expected, &rows);
    Ok(rows)
}

fn schemas(inputs: &[DataFrame]) -> Vec<Schema> {
    inputs
        .iter()
        .map(|input| Schema::from_polars(input.schema()))
        .collect()
}

fn checked(stage: &dyn Stage, schemas: &[Schema]) -> Schema {
    let (output, problems) = check_all(stage, schemas);
    assert!(problems.is_empty(), "{problems:#?}");
    output
}

fn collected(
    operations: &[taktline_core::Operation],
    inputs: &[DataFrame],
    schemas: &[Schema],
) -> Result<DataFrame> {
    let frames: Vec<_> = inputs.iter().map(|input| input.clone().lazy()).collect();
    Ok(taktline_engine::local::apply(operations, &frames, schemas)?.collect()?)
}

/// What the check promised is what came out, names, types and order.
fn assert_schema(expected: &Schema, rows: &DataFrame) {
    if expected.incomplete || expected.columns.iter().any(taktline_core::Column::is_open) {
        return;
    }
    let expected: Vec<_> = expected
        .columns
        .iter()
        .map(|column| (column.name.clone(), column.dtype.clone()))
        .collect();
    let found: Vec<_> = rows
        .columns()
        .iter()
        .map(|column| (column.name().to_string(), column.dtype().clone()))
        .collect();
    assert_eq!(expected, found, "the check promised another schema");
}

#[test]
fn null_is_a_choice_with_quotes_and_without() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(
        directory.path().join("parts.csv"),
        "made,kind,size,bad\n2024-01-02,a,1,true\n2024-01-03,b,2,false\nsoon,a,900,true\n2024-01-04,b,2,false\n2024-01-05,a,1,false\n",
    )
    .expect("written");
    let stages = [
        "clean.cast: {columns: {made: date}, on_error: NULL}",
        "clean.parse_dates: {columns: made, to: date, on_error: NULL}",
        "clean.map_values: {columns: {kind: {a: c}}, unknown: NULL}",
        "clean.clip_outliers: {columns: size, action: NULL}",
        "features.ordinal: {columns: [kind], unknown: NULL}",
        "features.woe: {columns: kind, target: bad, unknown: NULL}",
        "split.random: {test: 0.2}\n  - features.target_encode: {columns: kind, target: bad, unknown: NULL}",
        "features.smiles: {column: kind, on_error: NULL}",
    ];
    for stage in stages {
        let [bare, quoted] = ["null", "'null'"].map(|null| {
            let stage = stage.replace("NULL", null);
            let yaml = format!(
                "pipeline: parts\nstages:\n  - source.csv: {{path: parts.csv}}\n  - {stage}\n"
            );
            run(&yaml, directory.path()).expect(&stage)
        });
        assert!(bare.equals_missing(&quoted), "{stage}");
    }
}
