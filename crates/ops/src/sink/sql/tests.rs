use std::path::Path;

use polars::{df, prelude::*};

use super::*;
use crate::{
    columns::testing::{frame, in_check, stage, told},
    database::testing::{execute, texts},
};

struct Shop(tempfile::TempDir);

impl Shop {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn file(&self) -> std::path::PathBuf {
        self.0.path().join("shop.db")
    }

    fn write(&self, params: &str, data: DataFrame, run_key: &str) -> Result<String> {
        let sink: super::Sql = stage(&format!("{{url: sqlite:shop.db, {params}}}"));
        let cx = SourceContext {
            seed: 0,
            directory: self.0.path(),
            run_key: Some(run_key),
        };
        match sink.write(&frame(data), &cx)? {
            Output::Place(place) => Ok(place),
            other => panic!("{other:?}"),
        }
    }

    fn ids(&self) -> Vec<String> {
        texts(
            &self.file(),
            "select cast(id as text) from scores order by rowid",
        )
        .into_iter()
        .map(Option::unwrap_or_default)
        .collect()
    }

    fn deliveries(&self) -> usize {
        texts(&self.file(), "select run_key from takt_deliveries").len()
    }
}

fn rows(ids: &[i64]) -> DataFrame {
    let scores: Vec<f64> = ids.iter().map(|id| *id as f64 / 2.0).collect();
    df!("id" => ids, "score" => scores).expect("a frame")
}

fn problems(params: &str, directory: &Path, data: &DataFrame) -> Vec<(&'static str, String)> {
    let sink: super::Sql = stage(params);
    let input = taktline_core::Schema::from_polars(data.schema());
    told(in_check(directory, |cx| sink.check(&[input], cx)).1)
}

#[test]
fn rows_are_appended_once_for_each_run() {
    let shop = Shop::new();
    let said = shop
        .write("table: scores", rows(&[1, 2]), "monday")
        .expect("written");
    assert_eq!(said, "table `scores` in sqlite:shop.db: 2 rows, appended");
    let said = shop
        .write("table: scores", rows(&[1, 2]), "monday")
        .expect("said");
    assert!(
        said.contains("nothing written, the rows of this run are already there"),
        "{said}"
    );
    assert_eq!(shop.ids(), ["1", "2"]);
    shop.write("table: scores", rows(&[3]), "tuesday")
        .expect("written");
    assert_eq!(shop.ids(), ["1", "2", "3"]);
    assert_eq!(shop.deliveries(), 2);
}

#[test]
fn replacing_takes_the_others_away_and_can_go_back() {
    let shop = Shop::new();
    let replace = "table: scores, mode: replace";
    shop.write(replace, rows(&[1, 2]), "a").expect("written");
    shop.write(replace, rows(&[3]), "b").expect("written");
    assert_eq!(shop.ids(), ["3"]);
    shop.write(replace, rows(&[1, 2]), "a").expect("written");
    assert_eq!(shop.ids(), ["1", "2"]);
    let said = shop.write(replace, rows(&[1, 2]), "a").expect("written");
    assert!(!said.contains("nothing written"), "{said}");
    assert_eq!(shop.ids(), ["1", "2"]);
    assert_eq!(shop.deliveries(), 1);
}

#[test]
fn upsert_overwrites_rows_with_the_same_key() {
    let shop = Shop::new();
    let upsert = "table: scores, mode: upsert, key: id";
    shop.write(upsert, rows(&[1, 2]), "a").expect("written");
    let newer = df!("id" => [2_i64, 3], "score" => [20.0, 30.0]).expect("a frame");
    let said = shop.write(upsert, newer, "b").expect("written");
    assert!(said.ends_with("2 rows, inserted or updated"), "{said}");
    assert_eq!(
        texts(
            &shop.file(),
            "select id || ' ' || score from scores order by id"
        ),
        [
            Some("1 0.5".to_owned()),
            Some("2 20.0".to_owned()),
            Some("3 30.0".to_owned())
        ]
    );
    let twice = shop
        .write(upsert, rows(&[5, 6, 5]), "c")
        .expect_err("equal keys")
        .to_string();
    assert!(
        twice.contains("rows 1 and 3 have the same key (id)"),
        "{twice}"
    );
}

#[test]
fn a_table_that_was_dropped_is_written_again() {
    let shop = Shop::new();
    shop.write("table: scores", rows(&[1]), "a")
        .expect("written");
    execute(&shop.file(), "drop table scores");
    shop.write("table: scores", rows(&[1]), "a")
        .expect("written");
    assert_eq!(shop.ids(), ["1"]);
}

#[test]
fn a_refused_row_leaves_nothing() {
    let shop = Shop::new();
    execute(
        &shop.file(),
        "create table scores (id integer primary key, score real check (score < 100))",
    );
    let ids: Vec<i64> = (0..2500).collect();
    let mut data = rows(&ids);
    data = data
        .lazy()
        .with_column(
            when(col("id").eq(lit(1700)))
                .then(lit(500.0))
                .otherwise(col("id") * lit(0.0))
                .alias("score"),
        )
        .collect()
        .expect("a frame");
    let error = shop
        .write("table: scores", data, "a")
        .expect_err("refused")
        .to_string();
    assert_eq!(
        error,
        "the table `scores` refuses row 1701: CHECK constraint failed: score < 100; nothing was written"
    );
    assert!(shop.ids().is_empty());
    assert!(
        texts(
            &shop.file(),
            "select name from sqlite_schema where name = 'takt_deliveries'"
        )
        .is_empty(),
        "the record goes with the rows"
    );
}

#[test]
fn what_sqlite_cannot_hold_is_told_and_leaves_no_file() {
    let shop = Shop::new();
    let error = shop
        .write(
            "table: scores",
            df!("id" => [1.0, f64::NAN]).expect("a frame"),
            "a",
        )
        .expect_err("not a number")
        .to_string();
    assert!(error.starts_with("row 2: `id` holds NaN"), "{error}");
    assert!(!shop.file().exists());
    let error = shop
        .write(
            "table: scores",
            df!("id" => [u64::MAX]).expect("a frame"),
            "a",
        )
        .expect_err("too large")
        .to_string();
    assert!(error.contains("larger than SQLite's numbers"), "{error}");
}

#[test]
fn every_type_comes_back() {
    let shop = Shop::new();
    let instant = DataType::Datetime(TimeUnit::Microseconds, None);
    let data = df!(
        "id" => [1_i64, 2],
        "flag" => [Some(true), None],
        "small" => [Some(-3_i8), None],
        "real" => [Some(0.1_f32), None],
        "text" => [Some("a'b\"c\n東京"), None],
        "bytes" => [Some([0_u8, 255].as_slice()), None],
        "day" => [Some(19_782_i32), None],
        "at" => [Some(1_709_251_199_500_000_i64), None],
    )
    .expect("a frame")
    .lazy()
    .with_columns([
        col("day").cast(DataType::Date),
        col("at").cast(instant.clone()),
    ])
    .collect()
    .expect("a frame");
    shop.write("table: scores", data.clone(), "a")
        .expect("written");
    let back = crate::testing::run(
        "pipeline: back\nstages:\n  - source.sql: {url: sqlite:shop.db, table: scores}\n",
        shop.0.path(),
    )
    .expect("reads");
    // Whole numbers come back as wide, reals as long as SQLite keeps them.
    let expected = data
        .lazy()
        .with_columns([
            col("small").cast(DataType::Int64),
            lit(Series::new("real".into(), [Some(0.1), None])),
        ])
        .collect()
        .expect("a frame");
    assert!(back.equals_missing(&expected), "{back}\n{expected}");
}

#[test]
fn an_empty_frame_makes_the_table() {
    let shop = Shop::new();
    let said = shop
        .write("table: scores", rows(&[]), "a")
        .expect("written");
    assert!(said.contains("0 rows"), "{said}");
    assert!(shop.ids().is_empty());
}

#[test]
fn check_tells_every_difference_to_the_table() {
    let shop = Shop::new();
    execute(
        &shop.file(),
        "create table scores (id integer not null, score text, made_at datetime not null, note text default 'x')",
    );
    let data = df!("id" => [1_i64], "score" => [0.5], "scor" => [0.5]).expect("a frame");
    let params = "{url: sqlite:shop.db, table: scores, mode: upsert, key: id}";
    assert_eq!(
        problems(params, shop.0.path(), &data),
        [
            ("type-mismatch", "stage `this`: the table `scores` has `score` as `text`, the rows have it as f64".to_owned()),
            ("unknown-column", "stage `this`: the table `scores` has no column `scor`".to_owned()),
            ("missing-column", "stage `this`: the table `scores` needs a value for `made_at`, which the rows do not have".to_owned()),
            ("no-key", "stage `this`: the table `scores` has no unique key over \"id\", so its rows cannot be told apart by it".to_owned()),
        ]
    );
    let error = shop
        .write("table: scores", data, "a")
        .expect_err("does not fit")
        .to_string();
    assert!(
        error.contains("has `score` as `text`") && error.contains("no column `scor`"),
        "{error}"
    );
}

#[test]
fn check_refuses_params_that_do_not_go_together() {
    let directory = Path::new(".");
    let data = rows(&[1]);
    let codes = |params: &str| -> Vec<&'static str> {
        problems(params, directory, &data)
            .into_iter()
            .map(|(code, _)| code)
            .collect()
    };
    assert_eq!(
        codes("{url: sqlite:none.db, table: scores, mode: upsert}"),
        ["no-key"]
    );
    assert_eq!(
        codes("{url: sqlite:none.db, table: scores, key: id}"),
        ["unused-param"]
    );
    assert_eq!(
        codes("{url: sqlite:none.db, table: scores, mode: upsert, key: [id, idd]}"),
        ["unknown-column"]
    );
    assert_eq!(codes("{url: nowhere, table: scores}"), ["bad-url"]);
    assert!(codes("{url: sqlite:none.db, table: scores}").is_empty());
    assert!(!directory.join("none.db").exists());
    let listed = df!("id" => [Series::new("".into(), [1_i64])]).expect("a frame");
    assert_eq!(
        problems("{url: sqlite:none.db, table: scores}", directory, &listed)[0].0,
        "unwritable-column"
    );
    // The run comes later: the database may be back then.
    let unreachable = problems(
        "{url: \"postgresql://ana:hunter2@127.0.0.1:1/shop\", table: scores}",
        directory,
        &data,
    );
    assert_eq!(unreachable[0].0, "database-unreachable");
}
