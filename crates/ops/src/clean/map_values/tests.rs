use polars::{
    df,
    prelude::{DataFrame, NamedFrom, Series, TimeUnit},
};

use super::*;
use crate::{
    columns::testing::{codes, refuses, schema, stage},
    testing::{applied, run},
};

#[track_caller]
fn gives(
    params: &str,
    data: polars::prelude::PolarsResult<DataFrame>,
    expected: polars::prelude::PolarsResult<DataFrame>,
) {
    let found = applied(&stage::<MapValues>(params), &[data.expect("a frame")]).expect(params);
    let expected = expected.expect("a frame");
    assert!(
        found.equals_missing(&expected),
        "{params}\nfound {found}\nexpected {expected}"
    );
}

#[test]
fn values_become_others_and_take_their_type() {
    let channels = || df!("c" => [Some("web"), None, Some("shöp")], "x" => [1_i64, 2, 3]);
    gives(
        "{columns: {c: {web: online, shöp: store}}}",
        channels(),
        df!("c" => [Some("online"), None, Some("store")], "x" => [1_i64, 2, 3]),
    );
    gives(
        "{columns: {c: {web: 1, shöp: 2.5}, x: {'1': true, '2': false, '3': null}}}",
        channels(),
        df!("c" => [Some(1.0), None, Some(2.5)], "x" => [Some(true), Some(false), None]),
    );
    // What is swapped is not mapped twice.
    gives(
        "{columns: {x: {'1': 2, '2': 1}}, unknown: keep}",
        channels(),
        df!("c" => [Some("web"), None, Some("shöp")], "x" => [2_i64, 1, 3]),
    );
    gives(
        "{columns: {c: {web: 7}}, unknown: 'null'}",
        channels(),
        df!("c" => [Some(7_i64), None, None], "x" => [1_i64, 2, 3]),
    );
    gives(
        "{columns: {c: {web: online}}, default: other}",
        channels(),
        df!("c" => [Some("online"), None, Some("other")], "x" => [1_i64, 2, 3]),
    );
    gives(
        "{columns: {c: {web: null}}, unknown: keep}",
        channels(),
        df!("c" => [None, None, Some("shöp")], "x" => [1_i64, 2, 3]),
    );
}

#[test]
fn every_type_has_keys() {
    let day = Series::new("".into(), [Some(19_723), Some(0)])
        .cast(&DataType::Date)
        .expect("days");
    gives(
        "{columns: {day: {'2024-01-01': holiday}, share: {'0.5': half}, truth: {'true': 'yes'}, small: {'200': big}}, unknown: 'null'}",
        df!("day" => day, "share" => [0.5, f64::NAN], "truth" => [true, false], "small" => [200_u8, 1]),
        df!(
            "day" => [Some("holiday"), None],
            "share" => [Some("half"), None],
            "truth" => [Some("yes"), None],
            "small" => [Some("big"), None],
        ),
    );
}

#[test]
fn keeping_keeps_the_type() {
    gives(
        "{columns: {n: {'1': 100}, t: {a: b}}, unknown: keep}",
        df!("n" => [1_i16, 7], "t" => ["a", "z"]),
        df!("n" => [100_i16, 7], "t" => ["b", "z"]),
    );
}

#[test]
fn an_unknown_value_is_named_with_its_row() {
    let data = df!("c" => [Some("web"), None, Some("fax")], "n" => [1_i64, 1, 1]).expect("a frame");
    let map: MapValues = stage("{columns: {n: {'1': one}, c: {web: online}}}");
    let error = applied(&map, std::slice::from_ref(&data))
        .expect_err("unknown")
        .to_string();
    assert!(
        error.contains("`c` holds `fax` in row 3, which is in no table"),
        "{error}"
    );
    let known = applied(&map, &[data.slice(0, 2)]).expect("rows");
    assert_eq!(
        known,
        df!("c" => [Some("online"), None], "n" => ["one", "one"]).expect("a frame")
    );
    assert_eq!(
        applied(&map, &[data.slice(0, 0)]).expect("rows").height(),
        0
    );
}

#[test]
fn keys_of_a_spec_need_no_quotes() {
    let folder = std::env::temp_dir().join(format!("takt-map-values-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("rows.csv"), "n,truth\n1,true\n2,false\n").expect("a file");
    let found = run(
        "pipeline: map\nstages:\n  - source.csv: {path: rows.csv}\n  - clean.map_values: {columns: {n: {1: one, 2: two}, truth: {true: 1, false: 0}}}\n",
        &folder,
    );
    std::fs::remove_dir_all(&folder).expect("removed");
    assert_eq!(
        found.expect("rows"),
        df!("n" => ["one", "two"], "truth" => [1_i64, 0]).expect("a frame")
    );
}

#[test]
fn refuses_tables_that_do_not_fit() {
    let input = schema([
        ("n", DataType::Int64),
        ("c", DataType::String),
        ("at", DataType::Datetime(TimeUnit::Microseconds, None)),
        ("list", DataType::List(Box::new(DataType::Int64))),
    ]);
    for (params, expected) in [
        ("{columns: {n: {one: 1}}}", vec!["type-mismatch"]),
        ("{columns: {c: {a: 1, b: two}}}", vec!["type-mismatch"]),
        (
            "{columns: {c: {a: 1}}, unknown: keep}",
            vec!["type-mismatch"],
        ),
        ("{columns: {c: {a: x}}, default: 1}", vec!["type-mismatch"]),
        ("{columns: {n: {'1': 2, '01': 3}}}", vec!["type-mismatch"]),
        ("{columns: {c: {}}}", vec!["bad-value"]),
        (
            "{columns: {list: {a: 1}, d: {a: 1}, partition: {a: 1}}}",
            vec!["type-mismatch", "unknown-column", "reserved-name"],
        ),
        (
            "{columns: {c: {a: b}}, default: c, unknown: keep}",
            vec!["unused-param"],
        ),
    ] {
        assert_eq!(
            codes(&stage::<MapValues>(params), &input),
            expected,
            "{params}"
        );
    }
    assert_eq!(
        refuses(
            &stage::<MapValues>("{columns: {c: {a: 1, b: two}}}"),
            &input
        )[0]
        .1,
        "stage `this` cannot map the values of `c`: `two` is not i64 like the values before"
    );
}
