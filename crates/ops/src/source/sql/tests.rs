use std::{fs, path::Path};

use polars::prelude::{AnyValue, DataFrame, DataType, TimeUnit};
use taktline_core::{STORE, Severity};

use super::*;
use crate::{
    columns::testing::{in_check, stage, told},
    database::testing::execute,
    testing::run,
};

fn shop(sql: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    execute(&directory.path().join("shop.db"), sql);
    directory
}

fn pipeline(params: &str) -> String {
    format!("pipeline: shop\nstages:\n  - source.sql: {{url: sqlite:shop.db, {params}}}\n")
}

fn read(directory: &Path, params: &str) -> Result<DataFrame, String> {
    run(&pipeline(params), directory)
}

fn checked(params: &str, directory: &Path) -> (Schema, Vec<Problem>) {
    let source: Sql = stage(params);
    in_check(directory, |cx| source.check(&[], cx))
}

fn refused(params: &str, directory: &Path) -> Vec<(&'static str, String)> {
    let (_, problems) = checked(&format!("{{url: sqlite:shop.db, {params}}}"), directory);
    told(problems)
}

fn integers(data: &DataFrame, name: &str) -> Vec<Option<i64>> {
    data.column(name)
        .expect("there")
        .i64()
        .expect("numbers")
        .iter()
        .collect()
}

const PAYMENTS: &str = "
    create table payments (id integer primary key, amount decimal(10, 2), paid boolean, name varchar(20),
        day date, at datetime, photo blob, updated_at timestamp);
    insert into payments values
        (1, 12.5, 1, 'Zoë 東京', '2024-02-29', '2024-02-29 23:59:59.5', x'00ff', '2024-01-01 00:00:00'),
        (2, 3, 0, '', '1969-12-31', '1969-12-31T00:00:00Z', x'', '2024-01-02 00:00:00'),
        (3, null, null, null, null, null, null, '2024-01-03 00:00:00');";

#[test]
fn every_type_of_sqlite() {
    let directory = shop(PAYMENTS);
    let data = read(directory.path(), "table: payments").expect("reads");
    let types: Vec<DataType> = data.dtypes();
    let at = DataType::Datetime(TimeUnit::Microseconds, None);
    assert_eq!(
        types,
        [
            DataType::Int64,
            DataType::Float64,
            DataType::Boolean,
            DataType::String,
            DataType::Date,
            at.clone(),
            DataType::Binary,
            at,
        ]
    );
    let row = |row: usize| -> Vec<AnyValue<'_>> {
        data.columns()
            .iter()
            .map(|column| column.get(row).expect("a row"))
            .collect()
    };
    assert_eq!(
        row(0)[..6],
        [
            AnyValue::Int64(1),
            AnyValue::Float64(12.5),
            AnyValue::Boolean(true),
            AnyValue::String("Zoë 東京"),
            AnyValue::Date(19_782),
            AnyValue::Datetime(1_709_251_199_500_000, TimeUnit::Microseconds, None),
        ]
    );
    assert_eq!(row(0)[6], AnyValue::Binary(&[0, 255]));
    assert_eq!(
        row(1)[..6],
        [
            AnyValue::Int64(2),
            AnyValue::Float64(3.0),
            AnyValue::Boolean(false),
            AnyValue::String(""),
            AnyValue::Date(-1),
            AnyValue::Datetime(-86_400_000_000, TimeUnit::Microseconds, None),
        ]
    );
    assert!(row(2)[1..7].iter().all(AnyValue::is_null));
}

#[test]
fn expressions_are_told_by_their_values() {
    let directory = shop(PAYMENTS);
    let data = read(
        directory.path(),
        "query: \"select count(*) as n, sum(amount) as total, max(name) as last from payments;\"",
    )
    .expect("reads");
    assert_eq!(
        data.dtypes(),
        [DataType::Int64, DataType::Float64, DataType::String]
    );
    let empty = "query: select amount * 2 as twice from payments where id > 9";
    assert_eq!(
        refused(empty, directory.path()),
        [(
            "unknown-type",
            "the type of `twice` cannot be told: SQLite declares none, and its values do not agree on one".to_owned()
        )]
    );
    let data = read(
        directory.path(),
        &format!("{empty}, schema: {{twice: f64}}"),
    )
    .expect("declared");
    assert_eq!((data.height(), data.dtypes()), (0, vec![DataType::Float64]));
}

#[test]
fn a_value_that_does_not_fit_is_told_by_row_and_column() {
    let directory = shop(
        "create table parts (id integer, width real); insert into parts values (1, 0.5), (2, 'wide'), (3, 1.5);",
    );
    let error = read(directory.path(), "table: parts").expect_err("text in a number's place");
    assert!(
        error.contains("row 2: `width` holds the text `wide`, which is not a number; SQLite keeps"),
        "{error}"
    );
    let data = read(
        directory.path(),
        "table: parts, schema: {width: text, id: u8}",
    )
    .expect("as text");
    assert_eq!(data.dtypes(), [DataType::UInt8, DataType::String]);
    assert_eq!(
        data.column("width")
            .expect("there")
            .str()
            .expect("text")
            .get(2),
        Some("1.5")
    );
    execute(
        &directory.path().join("shop.db"),
        "update parts set width = 1, id = 300 where id = 2",
    );
    let error = read(directory.path(), "table: parts, schema: {id: u8}").expect_err("too large");
    assert!(
        error.contains("row 2: `id` holds the whole number `300`, which is out of the range of u8"),
        "{error}"
    );
}

#[test]
fn batches_of_any_size_give_the_same_rows() {
    let directory = shop(
        "create table n (i integer); insert into n with recursive c(i) as (select 1 union all select i + 1 from c where i < 1000) select i from c;",
    );
    let whole = read(directory.path(), "table: n").expect("reads");
    assert_eq!(whole.height(), 1000);
    for size in [1, 7, 999, 1000] {
        let data = read(directory.path(), &format!("table: n, batch_rows: {size}")).expect("reads");
        assert!(data.equals(&whole), "{size}");
    }
}

#[test]
fn the_same_rows_have_the_same_fingerprint() {
    let directory = shop(PAYMENTS);
    let file = directory.path().join("shop.db");
    let source: Sql = stage("{url: sqlite:shop.db, table: payments}");
    let cx = SourceContext {
        seed: 0,
        directory: directory.path(),
        run_key: None,
    };
    let before = source.fingerprint(&cx).expect("a fingerprint");
    assert_eq!(before, source.fingerprint(&cx).expect("again"));
    execute(&file, "update payments set name = 'Zoe' where id = 1");
    let changed = source.fingerprint(&cx).expect("changed");
    assert_ne!(before, changed);
    // What the run scans is what it took the fingerprint of, whatever happens meanwhile.
    execute(&file, "delete from payments");
    let rows = source.scan(&cx).expect("rows").collect().expect("rows");
    assert_eq!(rows.height(), 3);
    assert_eq!(source.files(&cx).expect("a file"), [file]);
}

fn ids(directory: &Path, params: &str) -> Vec<Option<i64>> {
    integers(&read(directory, params).expect("reads"), "id")
}

#[test]
fn only_what_is_new_is_read() {
    let directory = shop(PAYMENTS);
    let file = directory.path().join("shop.db");
    let watched = "table: payments, watermark: {column: updated_at}";
    assert_eq!(ids(directory.path(), watched), [Some(1), Some(2), Some(3)]);
    // A row that is gone stays, one that changed comes again, an old one is not seen, a new one is.
    execute(
        &file,
        "delete from payments where id = 1;
         update payments set amount = 4, updated_at = '2024-01-04 00:00:00' where id = 2;
         insert into payments (id, updated_at) values (4, '2023-12-31 00:00:00'), (5, '2024-01-05 00:00:00');",
    );
    let after = [Some(1), Some(2), Some(3), Some(2), Some(5)];
    assert_eq!(ids(directory.path(), watched), after);
    assert_eq!(ids(directory.path(), watched), after, "nothing new");
    // Another watermark, query or type starts anew, and leaves the first as it was.
    assert_eq!(
        ids(directory.path(), "table: payments, watermark: {column: id}"),
        [Some(2), Some(3), Some(4), Some(5)]
    );
    assert_eq!(ids(directory.path(), watched), after);
    let source: Sql = stage(&format!("{{url: sqlite:shop.db, {watched}}}"));
    let cx = SourceContext {
        seed: 0,
        directory: directory.path(),
        run_key: None,
    };
    source.forget(&cx).expect("forgets");
    assert_eq!(
        ids(directory.path(), watched),
        [Some(2), Some(3), Some(4), Some(5)]
    );
}

#[test]
fn another_column_in_the_table_starts_anew() {
    let directory = shop(PAYMENTS);
    let watched = "table: payments, watermark: {column: id}";
    assert_eq!(ids(directory.path(), watched).len(), 3);
    execute(
        &directory.path().join("shop.db"),
        "delete from payments where id = 1; alter table payments add column note text",
    );
    let data = read(directory.path(), watched).expect("reads");
    assert_eq!((data.height(), data.width()), (2, 9));
}

#[test]
fn an_empty_table_is_watched_too() {
    let directory = shop("create table log (id integer, line text)");
    let watched = "table: log, watermark: {column: id}";
    assert!(ids(directory.path(), watched).is_empty());
    assert!(ids(directory.path(), watched).is_empty());
    execute(
        &directory.path().join("shop.db"),
        "insert into log values (1, 'a'), (2, 'b')",
    );
    assert_eq!(ids(directory.path(), watched), [Some(1), Some(2)]);
}

#[test]
fn a_row_without_a_watermark_is_refused() {
    let directory =
        shop("create table log (id integer, line text); insert into log values (1, 'a')");
    let watched = "table: log, watermark: {column: id}";
    assert_eq!(ids(directory.path(), watched), [Some(1)]);
    execute(
        &directory.path().join("shop.db"),
        "insert into log values (2, 'b'), (null, 'c')",
    );
    let error = read(directory.path(), watched).expect_err("a null");
    assert!(
        error.contains("row 2: `id` has no value, and reads are ordered by it"),
        "{error}"
    );
    execute(
        &directory.path().join("shop.db"),
        "update log set id = 3 where id is null",
    );
    assert_eq!(
        ids(directory.path(), watched),
        [Some(1), Some(2), Some(3)],
        "nothing was lost by the error"
    );
}

#[test]
fn a_read_that_was_killed_before_it_was_noted_is_made_again() {
    let directory = shop("create table log (id integer); insert into log values (1), (2)");
    let watched = "table: log, watermark: {column: id}";
    ids(directory.path(), watched);
    let fetched = directory.path().join(STORE).join("fetched");
    let folder = fs::read_dir(&fetched)
        .expect("a folder")
        .flatten()
        .next()
        .expect("a request")
        .path();
    let progress = folder.join("progress.json");
    let noted = fs::read(&progress).expect("noted");
    execute(
        &directory.path().join("shop.db"),
        "insert into log values (3)",
    );
    assert_eq!(ids(directory.path(), watched).len(), 3);
    // The part of the second read is there, and nothing says so.
    fs::write(&progress, noted).expect("as before");
    execute(
        &directory.path().join("shop.db"),
        "insert into log values (4)",
    );
    assert_eq!(
        ids(directory.path(), watched),
        [Some(1), Some(2), Some(3), Some(4)]
    );
}

#[test]
fn check_tells_what_is_wrong_with_the_query() {
    let directory = shop(PAYMENTS);
    let refused = |params: &str| refused(params, directory.path());
    assert_eq!(
        refused("table: payment"),
        [(
            "unknown-table",
            "there is no table `payment` in `sqlite:shop.db`".to_owned()
        )]
    );
    assert_eq!(refused("query: selec 1")[0].0, "bad-query");
    assert_eq!(refused("query: delete from payments")[0].0, "bad-query");
    assert_eq!(
        refused("query: select nme from payments"),
        [("unknown-column", "there is no column `nme`".to_owned())]
    );
    assert_eq!(
        refused("query: 'select id, amount as id from payments'"),
        [(
            "duplicate-name",
            "the query gives two columns `id`".to_owned()
        )]
    );
    assert_eq!(
        refused("table: payments, schema: {amout: f64, fee: f64}")
            .iter()
            .map(|(code, _)| *code)
            .collect::<Vec<_>>(),
        ["unknown-column", "unknown-column"]
    );
    assert_eq!(
        refused("table: payments, watermark: {column: name}")[0].0,
        "type-mismatch"
    );
    assert_eq!(
        refused("table: payments, watermark: {column: updatedat}")[0].0,
        "unknown-column"
    );
    assert_eq!(
        refused("table: payments, query: select 1")[0].1,
        "stage `this` reads either a `table` or a `query`, and has both"
    );
    assert_eq!(
        refused("batch_rows: 5")[0].1,
        "stage `this` reads either a `table` or a `query`, and has none"
    );
}

#[test]
fn check_suggests_the_table_and_leaves_the_file_alone() {
    let directory = shop(PAYMENTS);
    let (_, problems) = checked("{url: sqlite:shop.db, table: payment}", directory.path());
    assert_eq!(problems[0].help, ["did you mean `payments`?"]);
    assert_eq!(problems[0].path, path!["table"]);
    let (schema, problems) = checked(
        "{url: sqlite:none.db, table: payments, schema: {id: i64}}",
        directory.path(),
    );
    assert_eq!(problems[0].code, "missing-file");
    assert!(schema.incomplete && schema.column("id").is_some());
    assert!(!directory.path().join("none.db").exists());
    let (_, problems) = checked(
        "{url: \"postgres://ana:hunter2@host:port/shop\", table: t}",
        directory.path(),
    );
    assert!(!format!("{problems:?}").contains("hunter2"));
    assert_eq!(problems[0].path, path!["url"]);
}

#[test]
fn a_file_with_a_write_ahead_log_is_read() {
    let directory = shop(&format!("pragma journal_mode = wal; {PAYMENTS}"));
    let data = read(directory.path(), "table: payments").expect("reads");
    assert_eq!(data.height(), 3);
}

#[test]
fn a_source_only_reads() {
    let directory = shop(PAYMENTS);
    let file = directory.path().join("shop.db");
    let before = fs::read(&file).expect("bytes");
    for query in [
        "insert into payments (id) values (9) returning id",
        "update payments set id = id + 10 returning id",
    ] {
        assert!(
            read(directory.path(), &format!("query: {query}")).is_err(),
            "{query}"
        );
    }
    assert_eq!(fs::read(&file).expect("bytes"), before);
}

#[test]
fn a_table_that_changed_since_it_was_checked_is_told() {
    let directory = shop(PAYMENTS);
    let file = directory.path().join("shop.db");
    let cx = SourceContext {
        seed: 0,
        directory: directory.path(),
        run_key: None,
    };
    let scanned = |change: &str| {
        let source: Sql = stage("{url: sqlite:shop.db, table: payments}");
        let (schema, _) = in_check(directory.path(), |cx| source.check(&[], cx));
        execute(&file, change);
        let rows = source.scan(&cx).and_then(|rows| Ok(rows.collect()?));
        rows.map(|rows| assert_eq!(*rows.schema().as_ref(), schema.to_polars()))
    };
    scanned("alter table payments add column note text").expect("another column is left out");
    let error = scanned("alter table payments drop column paid").expect_err("gone");
    assert_eq!(
        error.to_string(),
        "`paid` was bool when the pipeline was checked, and is gone now; check again"
    );
}

#[test]
fn without_the_database_declared_columns_are_checked() {
    // Nobody listens on the port of `tcpmux`.
    let url = "postgresql://ana:hunter2@127.0.0.1:1/shop";
    let (schema, problems) = checked(
        &format!("{{url: \"{url}\", table: t, schema: {{id: i64, at: datetime}}}}"),
        Path::new("."),
    );
    assert_eq!(schema.names().collect::<Vec<_>>(), ["id", "at"]);
    assert!(!schema.incomplete);
    assert_eq!(
        (problems.len(), problems[0].severity),
        (1, Severity::Warning)
    );
    assert_eq!(problems[0].code, "database-unreachable");
    let (schema, problems) = checked(&format!("{{url: \"{url}\", table: t}}"), Path::new("."));
    assert!(schema.incomplete);
    assert_eq!((problems.len(), problems[0].severity), (1, Severity::Error));
    assert_eq!(problems[0].path, path!["url"]);
    assert!(
        problems[0]
            .help
            .iter()
            .any(|help| help.contains("`schema`"))
    );
    assert!(!format!("{problems:?}").contains("hunter2"));
}
