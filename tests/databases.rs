//! Databases, against real servers: PostgreSQL, MariaDB, and files of SQLite.
#![cfg(unix)]

mod reading;
pub(crate) mod servers;
mod types;
mod writing;

use std::fs;

use polars::prelude::{AnyValue, DataFrame, IpcReader, SerReader};

use self::servers::{Database, PASSWORD, mariadb, postgres};
use crate::harness::{Outcome, Project, golden_settings};

/// Reads the database and writes the rows to `rows.arrow`.
fn reading_spec(source: &str) -> String {
    format!(
        "pipeline: reading\nstages:\n  - source.sql: {{url: \"${{secret:DB}}\", {source}}}\n    id: rows\n  - sink.ipc: {{path: rows.arrow}}\n"
    )
}

/// Makes rows of the columns `id` and `score`, and writes them into the table `scores`.
fn writing_spec(ids: &str, sink: &str) -> (String, String) {
    let spec = format!(
        "pipeline: writing\nstages:\n  - source.csv: {{path: rows.csv}}\n  - sink.sql: {{url: \"${{secret:DB}}\", table: scores{sink}}}\n"
    );
    let rows: Vec<String> = ids
        .split_whitespace()
        .map(|id| format!("{id},{id}.5"))
        .collect();
    (spec, format!("id,score\n{}\n", rows.join("\n")))
}

fn takt(project: &Project, database: &Database, arguments: &[&str]) -> Outcome {
    let outcome = project.takt(arguments).env("DB", &database.url()).run();
    for text in [&outcome.stdout, &outcome.stderr] {
        assert!(!text.contains("hunter2"), "the password is shown:\n{text}");
    }
    for (name, bytes) in crate::harness::files_below(&project.path(".")) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("hunter2"), "the password is in `{name}`");
    }
    outcome
}

fn run(project: &Project, database: &Database) -> Outcome {
    takt(project, database, &["run", "pipeline.yaml"])
}

fn rows(project: &Project) -> DataFrame {
    let file = fs::File::open(project.path("rows.arrow")).expect("rows were written");
    IpcReader::new(file).finish().expect("readable rows")
}

fn read(database: &Database, source: &str) -> DataFrame {
    let project = Project::with(&reading_spec(source));
    run(&project, database).succeeded();
    rows(&project)
}

/// The row as text, `null` where nothing is.
fn row(data: &DataFrame, index: usize) -> Vec<String> {
    let text = |value: AnyValue<'_>| match &value {
        AnyValue::Float32(number) => format!("{number:?}"),
        AnyValue::Float64(number) => format!("{number:?}"),
        other => other
            .get_str()
            .map_or_else(|| other.to_string(), str::to_owned),
    };
    data.columns()
        .iter()
        .map(|column| text(column.get(index).expect("a row")))
        .collect()
}

fn write(project: &Project, database: &Database, ids: &str, sink: &str, more: &[&str]) -> Outcome {
    let (spec, rows) = writing_spec(ids, sink);
    project.write("pipeline.yaml", spec);
    project.write("rows.csv", rows);
    let arguments: Vec<&str> = ["run", "pipeline.yaml"]
        .iter()
        .chain(more)
        .copied()
        .collect();
    takt(project, database, &arguments)
}

#[test]
fn what_cannot_be_read_is_refused_by_check() {
    let database = postgres();
    database
        .sql("create table odd (id int, tags text[], span interval, at timestamptz, name text)");
    let project = Project::with(&reading_spec(
        "table: odd, schema: {name: f64}, watermark: {column: id}",
    ));
    let outcome = takt(&project, &database, &["check", "pipeline.yaml"]).ended_with(2);
    golden_settings()
        .bind(|| insta::assert_snapshot!("databases_unreadable_types", outcome.golden()));
}

#[test]
fn a_wrong_password_is_told_without_it() {
    for database in [postgres(), mariadb()] {
        let project = Project::with(&reading_spec("table: t, schema: {id: i64}"));
        let url = database.url_of("takt", "wrong-hunter3");
        let outcome = project
            .takt(["check", "pipeline.yaml"])
            .env("DB", &url)
            .run()
            .ended_with(2);
        assert!(
            outcome.stderr.contains("error[login-refused]"),
            "{}",
            outcome.stderr
        );
        assert!(!outcome.stderr.contains("hunter"), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("pipeline.yaml:3:23"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn a_missing_table_and_a_wrong_query_are_located() {
    for (database, name) in [(postgres(), "postgres"), (mariadb(), "mariadb")] {
        database.sql("create table payments (id int, amount int)");
        for (source, golden) in [
            ("table: payment", "missing_table"),
            ("query: 'select id, amout from payments'", "unknown_column"),
            ("query: 'selec id from payments'", "bad_query"),
        ] {
            let project = Project::with(&reading_spec(source));
            let outcome = takt(&project, &database, &["check", "pipeline.yaml"]).ended_with(2);
            golden_settings().bind(|| {
                insta::with_settings!({filters => vec![(r"127\.0\.0\.1:\d+/test_\d+", "[database]"), (r"test_\d+\.", "[database].")]}, {
                    insta::assert_snapshot!(format!("databases_{golden}_{name}"), outcome.golden());
                });
            });
        }
    }
}

#[test]
fn a_wrong_word_in_a_long_query_is_underlined() {
    let database = postgres();
    database.sql("create table payments (id int, amount int)");
    let project = Project::with(
        "\
pipeline: reading
params: {least: 10}
stages:
  - source.sql:
      url: ${secret:DB}
      query: |
        select id, amount      -- größer als ${least}
        from payments
        where amount > ${least} and paidd
",
    );
    let outcome = takt(&project, &database, &["check", "pipeline.yaml"]).ended_with(2);
    golden_settings().bind(|| insta::assert_snapshot!("databases_long_query", outcome.golden()));
}

#[test]
fn check_tells_how_the_table_differs() {
    for (database, name) in [(postgres(), "postgres"), (mariadb(), "mariadb")] {
        database.sql("create table scores (id text, made_at date not null, scores int)");
        let (spec, rows) = writing_spec("1 2", ", mode: upsert, key: id");
        let project = Project::with(&spec);
        project.write("rows.csv", rows);
        let outcome = takt(&project, &database, &["check", "pipeline.yaml"]).ended_with(2);
        golden_settings().bind(|| {
            insta::assert_snapshot!(format!("databases_other_table_{name}"), outcome.golden())
        });
    }
}

#[test]
fn check_and_plan_go_on_where_nobody_answers() {
    let project = Project::with(&reading_spec("table: t, schema: {id: i64}"));
    let url = format!("postgresql://takt:{PASSWORD}@127.0.0.1:1/shop");
    let checked = project
        .takt(["check", "pipeline.yaml"])
        .env("DB", &url)
        .run()
        .ended_with(0);
    golden_settings()
        .bind(|| insta::assert_snapshot!("databases_unreachable_declared", checked.golden()));
    let ran = project
        .takt(["run", "pipeline.yaml"])
        .env("DB", &url)
        .run()
        .ended_with(1);
    assert!(
        ran.stderr
            .contains("cannot reach `postgresql://127.0.0.1:1/shop`"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("pipeline.yaml:3:"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
}
