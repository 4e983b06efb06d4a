//! The stage kinds: none is lost at link time, and each explains itself.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Project, golden_settings};

fn kinds() -> Vec<Value> {
    let report = Project::new()
        .takt(["stages", "--format", "json"])
        .run()
        .succeeded()
        .json();
    report.as_array().expect("a list of kinds").clone()
}

fn text<'a>(kind: &'a Value, key: &str) -> &'a str {
    kind[key].as_str().expect("text")
}

#[test]
fn no_kind_is_lost_at_link_time() {
    let names: Vec<String> = kinds()
        .iter()
        .map(|kind| text(kind, "kind").to_owned())
        .collect();
    golden_settings().bind(|| insta::assert_snapshot!("catalogue", names.join("\n")));
}

#[test]
fn the_text_lists_the_same_kinds() {
    let outcome = Project::new().takt(["stages"]).run().succeeded();
    let listed: BTreeSet<&str> = outcome
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let kinds = kinds();
    for kind in &kinds {
        assert!(
            listed.contains(text(kind, "kind")),
            "`{}` is not listed",
            text(kind, "kind")
        );
    }
    assert!(
        outcome.stdout.contains(&format!("{} kinds", kinds.len())),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome
            .stdout
            .lines()
            .all(|line| line.chars().count() <= 100),
        "{}",
        outcome.stdout
    );
}

#[test]
fn every_kind_explains_itself() {
    let project = Project::new();
    for kind in kinds() {
        let name = text(&kind, "kind");
        let about = text(&kind, "about");
        assert!(
            about.ends_with('.') && !about.contains('\n'),
            "`{name}` has no one-line sentence: {about}"
        );
        let outcome = project.takt(["stages", name]).run().succeeded();
        assert!(outcome.stdout.starts_with(name), "{}", outcome.stdout);
        assert!(
            outcome
                .stdout
                .contains(text(&kind, "example").lines().next().expect("an example")),
            "{}",
            outcome.stdout
        );
        assert_eq!(outcome.stderr, "");
    }
}

#[test]
fn every_param_has_words_about_it() {
    for kind in kinds() {
        let name = text(&kind, "kind");
        for (param, schema) in kind["params"]["properties"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let pointer = schema["$ref"]
                .as_str()
                .and_then(|path| path.strip_prefix('#'));
            let referred = pointer.and_then(|pointer| kind["params"].pointer(pointer));
            let words = [Some(schema), referred]
                .into_iter()
                .flatten()
                .find_map(|schema| schema["description"].as_str());
            assert!(
                words.is_some_and(|words| !words.is_empty()),
                "`{param}` of `{name}` has no description"
            );
        }
    }
}

#[test]
fn every_example_fits_its_schema() {
    let document = Project::new().takt(["schema"]).run().succeeded().json();
    let document = jsonschema::validator_for(&document).expect("a schema");
    for kind in kinds() {
        let name = text(&kind, "kind");
        let stages: Value = serde_yaml::from_str(text(&kind, "example")).expect("YAML");
        let [stage] = stages.as_array().expect("a list of stages").as_slice() else {
            panic!("the example of `{name}` is not one stage");
        };
        let params = stage
            .get(name)
            .unwrap_or_else(|| panic!("the example of `{name}` is of another kind"));
        let own = jsonschema::validator_for(&kind["params"]).expect("a schema");
        // `kind:` without params is a kind with none.
        let params = if params.is_null() {
            json!({})
        } else {
            params.clone()
        };
        if let Err(error) = own.validate(&params) {
            panic!("the example of `{name}` does not fit its params: {error}");
        }
        let errors: Vec<String> = document
            .iter_errors(&json!({"pipeline": "example", "stages": [stage]}))
            .map(|error| error.to_string())
            .collect();
        assert!(
            errors.is_empty(),
            "the example of `{name}` does not fit `takt schema`: {errors:?}"
        );
    }
}

#[test]
fn a_family_lists_its_kinds() {
    let outcome = Project::new().takt(["stages", "clean"]).run().succeeded();
    assert!(
        outcome.stdout.contains("clean.drop_nulls") && !outcome.stdout.contains("split."),
        "{}",
        outcome.stdout
    );
}

#[test]
fn an_unknown_kind_gets_a_suggestion() {
    let outcome = Project::new()
        .takt(["stages", "clean.drop_nul"])
        .run()
        .ended_with(2);
    golden_settings().bind(|| insta::assert_snapshot!("unknown_kind", outcome.golden()));
}

#[test]
fn one_kind_as_text() {
    let outcome = Project::new()
        .takt(["stages", "features.rolling"])
        .run()
        .succeeded();
    golden_settings().bind(|| insta::assert_snapshot!("rolling", outcome.golden()));
}
