//! What a source reads, again and again, and what becomes of it when something breaks.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    reading_spec, rows, run,
    servers::{Database, mariadb, postgres},
    takt,
};
use crate::harness::Project;

#[test]
fn a_source_cannot_write() {
    for database in [postgres(), mariadb()] {
        database.sql("create table log (id int)");
        let project = Project::with(&reading_spec(
            "query: 'insert into log values (1) returning id'",
        ));
        let outcome = run(&project, &database);
        assert_ne!(outcome.code, 0, "{}", outcome.stderr);
        assert_eq!(database.sql("select count(*) from log"), "0");
    }
}

#[test]
fn a_connection_lost_in_the_middle_leaves_nothing() {
    let slow = "query: 'select g as id, pg_sleep(0.002)::text as nothing from generate_series(1, 100000) g', batch_rows: 100";
    let database = postgres();
    for source in [
        slow.to_owned(),
        format!("{slow}, watermark: {{column: id}}"),
    ] {
        let project = Project::with(&reading_spec(&source));
        let url = database.url();
        let running = project
            .takt(["run", "pipeline.yaml"])
            .env("DB", &url)
            .start();
        let reading_backends = "from pg_stat_activity where application_name = 'takt' and state = 'active' and query like 'select g%' and datname = current_database()";
        database.wait_for(&format!("select count(*) {reading_backends}"), "1");
        database.sql(&format!(
            "select pg_terminate_backend(pid) {reading_backends}"
        ));
        let outcome = running.finish().ended_with(1);
        assert!(outcome.stderr.contains("was lost"), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("pipeline.yaml:3:"),
            "{}",
            outcome.stderr
        );
        let kept: Vec<String> = project
            .files()
            .into_iter()
            .filter(|name| {
                name.ends_with(".arrow")
                    || name.contains(".takt-")
                    || name.ends_with("progress.json")
            })
            .collect();
        assert!(kept.is_empty(), "{kept:?}");
    }
}

#[test]
fn a_read_that_is_killed_is_made_again_whole() {
    let database = postgres();
    database.sql("create table events (id bigint, at timestamptz); insert into events select g, to_timestamp(g) from generate_series(1, 500) g");
    let project = Project::with(&reading_spec("table: events, watermark: {column: at}"));
    run(&project, &database).succeeded();
    assert_eq!(rows(&project).height(), 500);
    // The view reads slowly from here on; the run that reads the new rows is killed.
    database.sql("insert into events select g, to_timestamp(g) from generate_series(501, 1000) g;
        alter table events rename to all_events;
        create view events as select id, case when pg_sleep(0.005) is null then at else at end as at from all_events");
    let url = database.url();
    let mut takt = Command::new(env!("CARGO_BIN_EXE_takt"))
        .args([
            "-C",
            project.path(".").to_str().expect("UTF-8"),
            "run",
            "pipeline.yaml",
        ])
        .env("DB", &url)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("`takt` starts");
    let reading_backends = "from pg_stat_activity where application_name = 'takt' and state = 'active' and query like '%takt_rows%' and pid <> pg_backend_pid() and datname = current_database()";
    database.wait_for(&format!("select count(*) {reading_backends}"), "1");
    takt.kill().expect("killed");
    takt.wait().expect("gone");
    database.sql("drop view events; alter table all_events rename to events");
    run(&project, &database).succeeded();
    let data = rows(&project);
    assert_eq!(data.height(), 1000);
    assert_eq!(
        data.column("id")
            .expect("there")
            .as_materialized_series()
            .n_unique()
            .expect("counted"),
        1000
    );
    let rubbish: Vec<String> = project
        .files()
        .into_iter()
        .filter(|name| name.contains(".takt-"))
        .collect();
    assert!(rubbish.is_empty(), "{rubbish:?}");
}

#[test]
fn a_value_that_does_not_fit_ends_the_reading_at_once() {
    let project = Project::with(&reading_spec(
        "query: \"select case g when 1000 then 'infinity' else timestamp '2024-01-01' end as at from generate_series(1, 50000000) g\"",
    ));
    let began = Instant::now();
    let outcome = run(&project, &postgres()).ended_with(1);
    assert!(
        outcome.stderr.contains("row 1000: `at`"),
        "{}",
        outcome.stderr
    );
    let taken = began.elapsed();
    assert!(taken < Duration::from_secs(20), "took {taken:?}");
}

#[test]
fn an_interrupted_read_ends_and_leaves_nothing() {
    let database = postgres();
    let project = Project::with(&reading_spec(
        "query: 'select g as id, pg_sleep(0.002)::text as nothing from generate_series(1, 100000) g'",
    ));
    let running = project
        .takt(["run", "pipeline.yaml"])
        .env("DB", &database.url())
        .start();
    database.wait_for(
        "select count(*) from pg_stat_activity where application_name = 'takt' and state = 'active' and query like 'select g%' and datname = current_database()",
        "1",
    );
    running.interrupt();
    running.finish().ended_with(130);
    assert!(!project.path("rows.arrow").exists());
    // What it has left half-written goes with the next read.
    project.edit("pipeline.yaml", "100000", "3");
    run(&project, &database).succeeded();
    assert_eq!(rows(&project).height(), 3);
}

/// Counts the rows, and says how many stages worked.
fn incremental(database: &Database, tick: &str) {
    let source = "table: events, watermark: {column: at}";
    let spec = format!(
        "{}  - check.expect:\n      - {{column: id, not_null: true}}\n    from: rows\n    id: sane\n",
        reading_spec(source)
    );
    let project = Project::with(&spec);
    let count = |expected: usize, worked: bool, more: &[&str]| {
        let arguments: Vec<&str> = ["run", "pipeline.yaml", "--format", "json"]
            .iter()
            .chain(more)
            .copied()
            .collect();
        let report = takt(&project, database, &arguments)
            .succeeded()
            .run_report();
        assert_eq!(rows(&project).height(), expected);
        assert_eq!(
            report.worked().contains(&"sane".to_owned()),
            worked,
            "{:?}",
            report.outcomes()
        );
    };
    let insert =
        |id: i32, at: &str| database.sql(&format!("insert into events values ({id}, '{at}')"));
    database.sql(&format!("create table events (id int, at {tick})"));
    insert(1, "2024-03-31 01:59:59.999999");
    insert(2, "2024-03-31 03:00:00");
    count(2, true, &[]);
    count(2, false, &[]);
    insert(3, "2024-03-31 03:00:00.000001");
    database.sql("delete from events where id = 1");
    count(3, true, &[]);
    count(3, false, &[]);
    // Not later than the newest: not seen until everything is read again.
    insert(4, "2024-03-31 03:00:00");
    count(3, false, &[]);
    count(3, true, &["--fresh"]);
    count(3, false, &[]);
    assert_eq!(database.sql("select count(*) from events"), "3");
}

#[test]
fn postgres_gives_only_what_is_new() {
    incremental(&postgres(), "timestamptz");
    incremental(&postgres(), "timestamp");
}

#[test]
fn mariadb_gives_only_what_is_new() {
    incremental(&mariadb(), "datetime(6)");
    incremental(&mariadb(), "timestamp(6)");
}

#[test]
fn a_million_rows_go_through_little_memory() {
    const ROWS: usize = 1_000_000;
    let database = postgres();
    database.sql(&format!(
        "create table many as select g as id, g / 7.0::double precision as amount, md5(g::text) as a, md5((g + 1)::text) as b, md5((g + 2)::text) as c, md5((g + 3)::text) as d from generate_series(1, {ROWS}) g"
    ));
    let project = Project::with(&reading_spec("table: many, batch_rows: 10000"));
    // Telling what a run would do fetches the rows, and does nothing else with them.
    let mut takt = Command::new(env!("CARGO_BIN_EXE_takt"))
        .args(["-C", project.path(".").to_str().expect("UTF-8")])
        .args(["plan", "pipeline.yaml"])
        .env("DB", database.url())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`takt` starts");
    // Memory that is not a file's: the fetched rows are 150 megabytes.
    let mut most = 0;
    let status = loop {
        if let Some(status) = takt.try_wait().expect("a process") {
            break status;
        }
        most = most.max(own_memory(takt.id()));
        thread::sleep(Duration::from_millis(5));
    };
    let mut said = String::new();
    let mut stderr = takt.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut said).expect("text");
    assert!(status.success(), "{said}");
    let fetched: usize = crate::harness::files_below(&project.path(".taktline/fetched"))
        .keys()
        .filter(|name| name.ends_with(".arrow"))
        .map(|name| {
            let path = project.path(".taktline/fetched").join(name);
            fs::metadata(path).expect("a file").len() as usize
        })
        .sum();
    assert!(fetched > 100 << 20, "{} MB were fetched", fetched >> 20);
    if cfg!(target_os = "linux") {
        assert!(most > 0 && most < 50 << 20, "{} MB", most >> 20);
    }
}

/// Bytes of memory of a process that no file stands behind.
fn own_memory(process: u32) -> usize {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"));
    status
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
            line.split_whitespace().nth(1)?.parse::<usize>().ok()
        })
        .map_or(0, |kilobytes| kilobytes << 10)
}
