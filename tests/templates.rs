//! `takt init`: every template runs as it is.

use crate::harness::{Project, golden_settings};

fn made(template: &str) -> Project {
    let project = Project::new();
    let outcome = project
        .takt(["init", "project", "--template", template])
        .run()
        .succeeded();
    golden_settings()
        .bind(|| insta::assert_snapshot!(format!("init_{template}"), outcome.golden()));
    project
}

fn checks_and_runs(project: &Project, pipeline: &str) {
    let directory = project.path("project");
    project
        .takt_in(&directory, ["check", pipeline])
        .run()
        .succeeded();
    let outcome = project
        .takt_in(&directory, ["run", pipeline])
        .run()
        .succeeded();
    for line in ["gate ", "bundle ", "report ", "time "] {
        assert!(
            outcome.stdout.lines().any(|one| one.starts_with(line)),
            "no `{line}`:\n{}",
            outcome.stdout
        );
    }
}

#[test]
fn table() {
    checks_and_runs(&made("table"), "pipelines/classify.yaml");
}

#[test]
fn fraud() {
    checks_and_runs(&made("fraud"), "pipelines/fraud.yaml");
}

#[cfg(feature = "torch")]
#[test]
fn images() {
    let _turn = crate::digits::turn();
    checks_and_runs(&made("images"), "pipelines/inspect.yaml");
}

#[test]
fn an_existing_folder_is_left_alone() {
    let project = Project::new();
    project.write("project/notes.txt", "mine");
    let outcome = project.takt(["init", "project"]).run().ended_with(2);
    assert!(
        outcome.stderr.contains("exists already"),
        "{}",
        outcome.stderr
    );
    assert_eq!(
        project.files().into_iter().collect::<Vec<_>>(),
        ["project/notes.txt"]
    );
}

#[test]
fn json_says_what_was_made() {
    let project = Project::new();
    let arguments = ["init", "demo", "--format", "json"];
    let made = project.takt(arguments).run().succeeded().json();
    assert_eq!(made["pipeline"], "pipelines/classify.yaml");
    for file in made["files"].as_array().expect("files") {
        let path = project.path("demo").join(file.as_str().expect("a path"));
        assert!(path.exists(), "{}", path.display());
    }
    let refused = project.takt(arguments).run().ended_with(2).json();
    assert_eq!(
        refused["error"],
        "`demo` exists already; nothing was changed"
    );
}
