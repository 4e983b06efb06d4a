//! The JSON Schema that editors read, and the shipped pipelines under it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::harness::{Project, repository};

fn schema() -> Value {
    Project::new().takt(["schema"]).run().succeeded().json()
}

fn shipped_pipelines() -> Vec<PathBuf> {
    fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                visit(&path, found);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    visit(&repository().join("pipelines"), &mut found);
    found.sort();
    assert!(found.len() >= 3, "{found:?}");
    found
}

#[test]
fn is_a_schema() {
    let schema = schema();
    if let Err(error) = jsonschema::meta::validate(&schema) {
        panic!("{error}");
    }
    assert!(
        schema["$schema"]
            .as_str()
            .is_some_and(|dialect| dialect.contains("2020-12"))
    );
}

#[test]
fn the_file_in_the_repository_is_up_to_date() {
    let kept = fs::read_to_string(repository().join("taktline.schema.json"))
        .expect("`taktline.schema.json`");
    let now = Project::new().takt(["schema"]).run().succeeded().stdout;
    assert!(kept == now, "run `takt schema > taktline.schema.json`");
}

#[test]
fn refuses_what_check_refuses() {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let document = |stage: Value| json!({"pipeline": "payments", "stages": [stage]});
    assert!(validator.is_valid(&document(
        json!({"clean.filter": {"where": "amount > 0"}, "id": "positive", "cache": false})
    )));
    assert!(
        validator.is_valid(&document(
            json!({"source.synthetic.payments": {"rows": "${rows}"}})
        )),
        "a param's place"
    );
    for choice in [json!("null"), Value::Null] {
        let stages = [
            json!({"clean.cast": {"columns": {"amount": "f64"}, "on_error": choice}}),
            json!({"clean.clip_outliers": {"columns": "amount", "action": choice}}),
            json!({"features.ordinal": {"columns": ["channel"], "unknown": choice}}),
            json!({"features.smiles": {"column": "drug", "on_error": choice}}),
        ];
        for stage in stages {
            assert!(
                validator.is_valid(&document(stage.clone())),
                "{stage} is refused"
            );
        }
    }
    for wrong in [
        json!({"clean.filtr": {"where": "amount > 0"}}),
        json!({"clean.filter": {"were": "amount > 0"}}),
        json!({"clean.filter": {"where": "amount > 0"}, "form": "payments"}),
        json!({"clean.filter": {"where": "amount > 0"}, "clean.drop_nulls": {}}),
        json!({"id": "nothing"}),
    ] {
        assert!(
            !validator.is_valid(&document(wrong.clone())),
            "{wrong} is accepted"
        );
    }
    assert!(!validator.is_valid(&json!({"pipeline": "payments", "stages": []})));
    assert!(!validator.is_valid(&json!({"pipeline": "payments", "stage": []})));
}

#[test]
fn shipped_pipelines_fit_it_and_name_it() {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for path in shipped_pipelines() {
        let text = fs::read_to_string(&path).expect("a pipeline");
        let first = text.lines().next().unwrap_or_default();
        let named = first
            .strip_prefix("# yaml-language-server: $schema=")
            .expect("a line for editors");
        let named = path
            .parent()
            .expect("a folder")
            .join(named)
            .canonicalize()
            .expect("the schema's file");
        assert_eq!(
            named,
            repository()
                .join("taktline.schema.json")
                .canonicalize()
                .expect("the schema")
        );
        let document: Value = serde_yaml::from_str(&text).expect("YAML");
        let errors: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

#[test]
fn shipped_pipelines_pass_check() {
    let project = Project::new();
    for path in shipped_pipelines() {
        let text = fs::read_to_string(&path).expect("a pipeline");
        let needs_torch = text.contains("model.torch.");
        // Only where a model is registered: tests/schedules.rs registers one.
        if text.contains("model.registered:") {
            continue;
        }
        let outcome = project
            .takt_in(
                repository(),
                ["check", path.to_str().expect("a path in UTF-8")],
            )
            .run();
        if cfg!(feature = "torch") || !needs_torch {
            assert!(outcome.succeeded().stdout.contains(": ok ("));
        } else {
            outcome.ended_with(2);
        }
    }
}
