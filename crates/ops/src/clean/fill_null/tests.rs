use polars::{
    df,
    prelude::{DataFrame, NamedFrom, Series},
};

use super::*;
use crate::{
    columns::testing::{codes, passes, refuses, schema, stage, types},
    testing::{applied, fitted},
};

fn reals(frame: &DataFrame, name: &str) -> Vec<Option<f64>> {
    let column = frame.column(name).expect("the column");
    column.f64().expect("real numbers").iter().collect()
}

fn is_same(found: &DataFrame, expected: &DataFrame) {
    assert!(
        found.equals_missing(expected),
        "found {found}\nexpected {expected}"
    );
}

#[test]
fn fills_and_keeps_the_types() {
    let input = schema([
        ("count", DataType::Int16),
        ("share", DataType::Float32),
        ("kind", DataType::String),
    ]);
    let output = passes(
        &stage::<FillNull>("{columns: [count, share], value: 0}"),
        &input,
    );
    assert_eq!(types(&output), types(&input));
    let data = df!("kind" => [Some("a"), None], "n" => [None, Some(f64::NAN)]).expect("a frame");
    is_same(
        &applied(
            &stage::<FillNull>("{columns: kind, value: unknown}"),
            std::slice::from_ref(&data),
        )
        .expect("rows"),
        &df!("kind" => ["a", "unknown"], "n" => [None, Some(f64::NAN)]).expect("a frame"),
    );
    is_same(
        &applied(&stage::<FillNull>("{columns: n, value: 0}"), &[data]).expect("rows"),
        &df!("kind" => [Some("a"), None], "n" => [0.0, f64::NAN]).expect("a frame"),
    );
}

#[test]
fn refuses_constants_that_do_not_fit() {
    let input = schema([
        ("count", DataType::Int8),
        ("share", DataType::Float64),
        ("kind", DataType::String),
    ]);
    assert_eq!(
        refuses(
            &stage::<FillNull>("{columns: [count, share, kind], value: 0.5}"),
            &input
        ),
        [
            (
                "type-mismatch",
                "stage `this` cannot fill `count`: `0.5` is not a whole number (i8)".to_owned()
            ),
            (
                "type-mismatch",
                "stage `this` cannot fill `kind`: `0.5` is not text".to_owned()
            ),
        ]
    );
    assert_eq!(
        refuses(&stage::<FillNull>("{columns: count, value: 300}"), &input)[0].1,
        "stage `this` cannot fill `count`: `300` is out of the range of i8"
    );
    assert_eq!(
        codes(&stage::<FillNull>("{columns: kid, value: a}"), &input),
        ["unknown-column"]
    );
}

#[test]
fn refuses_params_that_do_not_go_together() {
    let input = schema([
        ("n", DataType::Int64),
        ("kind", DataType::String),
        ("day", DataType::Date),
    ]);
    for (params, expected) in [
        ("{columns: n}", vec!["missing-param"]),
        ("{columns: n, value: 1, with: mean}", vec!["unused-param"]),
        ("{columns: n, value: 1, by: kind}", vec!["unused-param"]),
        (
            "{columns: n, with: mode, over: day, limit: 2}",
            vec!["unused-param", "unused-param"],
        ),
        ("{columns: n, with: linear, limit: 2}", vec!["unused-param"]),
        (
            "{columns: [n, day], with: forward, by: n, over: day}",
            vec!["bad-value", "bad-value"],
        ),
        (
            "{columns: n, with: forward, over: kind}",
            vec!["type-mismatch"],
        ),
        (
            "{columns: [kind, day], with: mean}",
            vec!["type-mismatch", "type-mismatch"],
        ),
        (
            "{columns: partition, with: mean}",
            vec!["reserved-name", "unknown-column"],
        ),
    ] {
        assert_eq!(
            codes(&stage::<FillNull>(params), &input),
            expected,
            "{params}"
        );
    }
}

#[test]
fn only_what_looks_at_the_training_rows_is_fitted() {
    for (with, is_fitted) in [
        ("mean", true),
        ("median", true),
        ("mode", true),
        ("forward", false),
        ("backward", false),
        ("linear", false),
    ] {
        let fill: FillNull = stage(&format!("{{columns: a, with: {with}}}"));
        assert_eq!(fill.shape().is_fitted(), is_fitted, "{with}");
    }
}

#[test]
fn learns_from_the_training_rows() {
    let train = df!("a" => [Some(1.0), None, Some(3.0), Some(11.0)], "n" => [Some(1_i32), Some(2), None, Some(2)])
        .expect("a frame");
    let rows = df!("a" => [None, Some(100.0)], "n" => [None, Some(7_i32)]).expect("a frame");
    let filled = |with: &str| {
        let fill: FillNull = stage(&format!("{{columns: [a, n], with: {with}}}"));
        fitted(&fill, &train, &rows).expect("rows")
    };
    let found = filled("mean");
    assert_eq!(reals(&found, "a"), [Some(5.0), Some(100.0)]);
    assert_eq!(reals(&found, "n"), [Some(5.0 / 3.0), Some(7.0)]);
    let found = filled("median");
    assert_eq!(reals(&found, "a"), [Some(3.0), Some(100.0)]);
    assert_eq!(reals(&found, "n"), [Some(2.0), Some(7.0)]);
    // Of equally frequent values the smallest; whole numbers stay what they are.
    is_same(
        &filled("mode"),
        &df!("a" => [1.0, 100.0], "n" => [2_i32, 7]).expect("a frame"),
    );
}

#[test]
fn groups_have_their_own_values_and_others_the_overall_one() {
    let train = df!(
        "shop" => [Some("ä"), Some("ä"), Some("b"), None, Some("c")],
        "day" => [1_i64, 1, 2, 2, 2],
        "x" => [Some(1.0), Some(3.0), Some(10.0), Some(20.0), None],
    )
    .expect("a frame");
    let rows = df!(
        "shop" => [Some("b"), Some("ä"), None, Some("c"), Some("new"), Some("ä")],
        "day" => [2_i64, 1, 2, 2, 1, 2],
        "x" => [None::<f64>, None, None, None, None, None],
    )
    .expect("a frame");
    let found = fitted(
        &stage::<FillNull>("{columns: x, with: mean, by: shop}"),
        &train,
        &rows,
    );
    assert_eq!(
        reals(&found.expect("rows"), "x"),
        [10.0, 2.0, 20.0, 8.5, 8.5, 2.0].map(Some)
    );
    let by_both: FillNull = stage("{columns: x, with: median, by: [shop, day]}");
    let found = fitted(&by_both, &train, &rows).expect("rows");
    assert_eq!(
        reals(&found, "x"),
        [10.0, 2.0, 20.0, 6.5, 6.5, 6.5].map(Some)
    );
    let empty = fitted(&by_both, &train, &rows.slice(0, 0)).expect("rows");
    assert_eq!(empty.height(), 0);
}

#[test]
fn every_type_has_a_mode() {
    let day = |days: &[Option<i32>]| {
        Series::new("".into(), days)
            .cast(&DataType::Date)
            .expect("days")
    };
    let train = df!(
        "g" => ["x", "x", "x", "y"],
        "kind" => [Some("b"), Some("a"), Some("b"), Some("z")],
        "truth" => [Some(true), None, Some(true), Some(false)],
        "day" => day(&[Some(19_000), Some(19_001), Some(19_000), Some(-1)]),
        "small" => [Some(2_u8), Some(2), Some(1), Some(255)],
        "share" => [Some(0.5_f32), Some(0.5), None, Some(0.25)],
    )
    .expect("a frame");
    let rows = df!(
        "g" => ["y", "x"],
        "kind" => [None::<&str>, None],
        "truth" => [None::<bool>, None],
        "day" => day(&[None, None]),
        "small" => [None::<u8>, None],
        "share" => [None::<f32>, None],
    )
    .expect("a frame");
    let fill: FillNull = stage("{columns: [kind, truth, day, small, share], with: mode, by: g}");
    is_same(
        &fitted(&fill, &train, &rows).expect("rows"),
        &df!(
            "g" => ["y", "x"],
            "kind" => ["z", "b"],
            "truth" => [false, true],
            "day" => day(&[Some(-1), Some(19_000)]),
            "small" => [255_u8, 2],
            "share" => [0.25_f32, 0.5],
        )
        .expect("a frame"),
    );
}

#[test]
fn nothing_to_learn_from_is_an_error() {
    let learn = |train: DataFrame| {
        fitted(
            &stage::<FillNull>("{columns: x, with: mean}"),
            &train,
            &train,
        )
        .expect_err("nothing to learn")
        .to_string()
    };
    assert_eq!(
        learn(df!("x" => [None::<f64>, None]).expect("a frame")),
        "`x` has no value in the training rows to learn from"
    );
    let error = learn(df!("x" => [1.0, f64::NAN]).expect("a frame"));
    assert!(error.starts_with("`x` is NaN in a training row"), "{error}");
    let error = learn(df!("x" => [1.0, f64::INFINITY]).expect("a frame"));
    assert!(error.starts_with("`x` is inf in a training row"), "{error}");
}

#[test]
fn neighbours_fill_in_row_order_within_groups() {
    let data = df!(
        "g" => ["a", "b", "a", "a", "b", "a", "a"],
        "x" => [None, Some(1.0), Some(2.0), None, None, None, Some(8.0)],
        "t" => [Some("p"), None, None, Some("q"), Some("r"), None, None],
    )
    .expect("a frame");
    let filled = |params: &str| {
        applied(&stage::<FillNull>(params), std::slice::from_ref(&data)).expect("rows")
    };
    let found = filled("{columns: [x, t], with: forward, by: g}");
    assert_eq!(
        reals(&found, "x"),
        [
            None,
            Some(1.0),
            Some(2.0),
            Some(2.0),
            Some(1.0),
            Some(2.0),
            Some(8.0)
        ]
    );
    is_same(
        &found.select(["t"]).expect("a column"),
        &df!("t" => [Some("p"), None, Some("p"), Some("q"), Some("r"), Some("q"), Some("q")])
            .expect("a frame"),
    );
    assert_eq!(
        reals(&filled("{columns: x, with: backward, by: g}"), "x"),
        [
            Some(2.0),
            Some(1.0),
            Some(2.0),
            Some(8.0),
            None,
            Some(8.0),
            Some(8.0)
        ]
    );
    assert_eq!(
        reals(&filled("{columns: x, with: forward, by: g, limit: 1}"), "x"),
        [
            None,
            Some(1.0),
            Some(2.0),
            Some(2.0),
            Some(1.0),
            None,
            Some(8.0)
        ]
    );
    assert_eq!(
        reals(&filled("{columns: x, with: linear, by: g}"), "x"),
        [
            None,
            Some(1.0),
            Some(2.0),
            Some(4.0),
            None,
            Some(6.0),
            Some(8.0)
        ]
    );
    // One group of all rows.
    assert_eq!(
        reals(&filled("{columns: x, with: forward}"), "x"),
        [
            None,
            Some(1.0),
            Some(2.0),
            Some(2.0),
            Some(2.0),
            Some(2.0),
            Some(8.0)
        ]
    );
}

#[test]
fn time_orders_the_rows_and_weighs_the_line() {
    // Out of order, a row without a time, two rows of one time.
    let data = df!(
        "at" => [Some(40_i64), Some(10), None, Some(20), Some(10), Some(50)],
        "n" => [Some(7_i64), Some(1), None, None, None, None],
    )
    .expect("a frame");
    let filled = |with: &str| {
        let fill: FillNull = stage(&format!("{{columns: n, with: {with}, over: at}}"));
        applied(&fill, std::slice::from_ref(&data)).expect("rows")
    };
    assert_eq!(
        reals(&filled("linear"), "n"),
        [Some(7.0), Some(1.0), None, Some(3.0), Some(1.0), None]
    );
    is_same(
        &filled("backward").select(["n"]).expect("a column"),
        &df!("n" => [Some(7_i64), Some(1), None, Some(7), Some(7), None]).expect("a frame"),
    );
    is_same(
        &filled("forward").select(["n"]).expect("a column"),
        &df!("n" => [Some(7_i64), Some(1), None, Some(1), Some(1), Some(7)]).expect("a frame"),
    );
}

#[test]
fn one_row_no_rows_and_no_values() {
    for with in ["forward", "backward", "linear"] {
        let fill: FillNull = stage(&format!("{{columns: x, with: {with}, by: g}}"));
        let nothing = df!("g" => ["a", "a"], "x" => [None::<f64>, None]).expect("a frame");
        for rows in [nothing.clone(), nothing.slice(0, 1), nothing.slice(0, 0)] {
            is_same(
                &applied(&fill, std::slice::from_ref(&rows)).expect("rows"),
                &rows,
            );
        }
    }
}

#[test]
fn below_a_split_no_value_comes_from_a_later_part() {
    let rows = df!(
        "partition" => ["train", "train", "test", "test"],
        "x" => [Some(1.0), None, None, Some(4.0)],
    )
    .expect("a frame");
    let filled = |with: &str| {
        let fill: FillNull = stage(&format!("{{columns: x, with: {with}}}"));
        reals(
            &applied(&fill, std::slice::from_ref(&rows)).expect("rows"),
            "x",
        )
    };
    assert_eq!(filled("backward"), [Some(1.0), None, Some(4.0), Some(4.0)]);
    assert_eq!(filled("linear"), [Some(1.0), None, None, Some(4.0)]);
    // The past may be known.
    assert_eq!(
        filled("forward"),
        [Some(1.0), Some(1.0), Some(1.0), Some(4.0)]
    );
}
