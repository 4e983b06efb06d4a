//! What a sink writes, once and whole.

use super::{
    read, run,
    servers::{Database, mariadb, postgres},
    takt, write, writing_spec,
};
use crate::harness::{Outcome, Project};

/// Append and upsert, once for a run, and replace.
fn deliveries(database: &Database) {
    let project = Project::new();
    let ids = || {
        database
            .sql("select id from scores order by id")
            .replace('\n', " ")
    };
    let nothing_written = |outcome: &Outcome| outcome.stdout.contains("nothing written");
    let first = write(&project, database, "1 2 3", "", &[]).succeeded();
    assert!(
        first.stdout.contains("3 rows, appended"),
        "{}",
        first.stdout
    );
    assert!(nothing_written(
        &write(&project, database, "1 2 3", "", &[]).succeeded()
    ));
    assert_eq!(ids(), "1 2 3");
    write(&project, database, "4", "", &[]).succeeded();
    assert_eq!(ids(), "1 2 3 4");
    // Under a key that the user gives, other rows are the same delivery.
    write(&project, database, "5", "", &["--run-key", "monday"]).succeeded();
    assert!(nothing_written(
        &write(&project, database, "6", "", &["--run-key", "monday"]).succeeded()
    ));
    write(&project, database, "6", "", &["--run-key", "tuesday"]).succeeded();
    assert_eq!(ids(), "1 2 3 4 5 6");

    let replace = ", mode: replace";
    write(&project, database, "7", replace, &[]).succeeded();
    assert_eq!(ids(), "7");
    write(&project, database, "8 9", replace, &[]).succeeded();
    write(&project, database, "7", replace, &[]).succeeded();
    assert_eq!(ids(), "7", "an earlier state can come back");
    database.sql("delete from scores");
    write(&project, database, "7", replace, &[]).succeeded();
    assert_eq!(ids(), "7", "what somebody else took away is there again");
    assert_eq!(database.sql("select count(*) from takt_deliveries"), "1");

    database.sql("drop table scores");
    let upsert = ", mode: upsert, key: [id]";
    write(&project, database, "1 2", upsert, &[]).succeeded();
    database.sql("update scores set score = 0");
    write(&project, database, "2 3", upsert, &[]).succeeded();
    assert_eq!(
        database.sql("select id, score from scores order by id"),
        "1\t0\n2\t2.5\n3\t3.5"
    );
    assert!(nothing_written(
        &write(&project, database, "2 3", upsert, &[]).succeeded()
    ));
}

#[test]
fn postgres_gets_each_delivery_once() {
    deliveries(&postgres());
}

#[test]
fn mariadb_gets_each_delivery_once() {
    deliveries(&mariadb());
}

#[test]
fn two_sinks_of_a_run_do_not_take_each_other_for_done() {
    let database = postgres();
    let project = Project::with(
        "pipeline: twice\nstages:\n  - source.csv: {path: rows.csv}\n    id: rows\n  - sink.sql: {url: \"${secret:DB}\", table: scores}\n  - clean.filter: {where: id > 1}\n    from: rows\n  - sink.sql: {url: \"${secret:DB}\", table: scores}\n",
    );
    project.write("rows.csv", "id,score\n1,0.5\n2,1.5\n");
    for _ in 0..2 {
        takt(
            &project,
            &database,
            &["run", "pipeline.yaml", "--run-key", "monday"],
        )
        .succeeded();
        assert_eq!(database.sql("select count(*) from scores"), "3");
    }
}

#[test]
fn names_may_be_anything() {
    let database = postgres();
    database.sql("create schema \"Sales\"");
    let project = Project::with(
        "\
pipeline: names
stages:
  - source.csv: {path: rows.csv}
  - sink.sql: {url: \"${secret:DB}\", table: Sales.order items, mode: upsert, key: Größe}
",
    );
    project.write("rows.csv", "Größe,select,a'b,`c`\n1,x,2,3\n2,y,4,5\n");
    run(&project, &database).succeeded();
    let rows =
        "select \"Größe\", \"select\", \"a'b\", \"`c`\" from \"Sales\".\"order items\" order by 1";
    assert_eq!(database.sql(rows), "1\tx\t2\t3\n2\ty\t4\t5");
    assert_eq!(
        database.sql("select table_name from \"Sales\".takt_deliveries"),
        "order items"
    );
    let back = read(
        &database,
        "table: Sales.order items, watermark: {column: Größe}",
    );
    let names: Vec<&str> = back
        .get_column_names()
        .into_iter()
        .map(|name| name.as_str())
        .collect();
    assert_eq!(names, ["Größe", "select", "a'b", "`c`"]);
}

#[test]
fn a_row_that_is_refused_takes_all_with_it() {
    for database in [postgres(), mariadb()] {
        database.sql("create table scores (id bigint primary key, score double precision check (score < 1000))");
        let project = Project::new();
        let many: Vec<String> = (0..3000)
            .map(|id| {
                if id == 1999 {
                    5000
                } else {
                    id % 900 + id * 1000
                }
                .to_string()
            })
            .collect();
        let (spec, _) = writing_spec("", "");
        let csv: Vec<String> = many
            .iter()
            .enumerate()
            .map(|(index, id)| format!("{id},{}", if index == 2500 { "5000.5" } else { "0.5" }))
            .collect();
        project.write("pipeline.yaml", spec);
        project.write("rows.csv", format!("id,score\n{}\n", csv.join("\n")));
        let outcome = run(&project, &database).ended_with(1);
        assert!(
            outcome.stderr.contains("refuses row 2501:"),
            "{}",
            outcome.stderr
        );
        assert!(
            outcome.stderr.contains("nothing was written"),
            "{}",
            outcome.stderr
        );
        assert_eq!(database.sql("select count(*) from scores"), "0");
        project.edit("rows.csv", "5000.5", "0.5");
        run(&project, &database).succeeded();
        assert_eq!(database.sql("select count(*) from scores"), "3000");
    }
}

#[test]
fn a_file_of_sqlite_is_source_and_sink() {
    let project = Project::with(
        "pipeline: file\nstages:\n  - source.csv: {path: rows.csv}\n  - sink.sql: {url: \"sqlite:out/shop.db\", table: scores}\n",
    );
    project.write(
        "rows.csv",
        "id,score,at\n1,0.5,2024-02-29 12:00:00\n2,,2024-03-01 00:00:00\n",
    );
    let outcome = project.takt(["run", "pipeline.yaml"]).run().succeeded();
    assert!(
        outcome
            .stdout
            .contains("table `scores` in sqlite:out/shop.db: 2 rows, appended"),
        "{}",
        outcome.stdout
    );
    project.write(
        "back.yaml",
        "pipeline: back\nstages:\n  - source.sql: {url: \"sqlite:out/shop.db\", table: scores}\n  - sink.table: {rows: 1}\n",
    );
    let outcome = project.takt(["run", "back.yaml"]).run().succeeded();
    let shown = "\
 id  score  at
i64    f64  datetime
  1    0.5  2024-02-29 12:00:00
1 of 2 rows";
    assert!(outcome.stdout.contains(shown), "{}", outcome.stdout);
    // No sink replaces the file that a source reads.
    project.write(
        "back.yaml",
        "pipeline: back\nstages:\n  - source.sql: {url: \"sqlite:out/shop.db\", table: scores}\n  - sink.csv: {path: out/shop.db}\n",
    );
    let outcome = project.takt(["check", "back.yaml"]).run().ended_with(2);
    assert!(outcome.stderr.contains("file-taken"), "{}", outcome.stderr);
}
