use polars::{df, prelude::DataFrame};

use super::*;
use crate::{
    columns::testing::{codes, frame, schema, stage},
    testing::fitted,
};

fn loans() -> DataFrame {
    df!(
        "kind" => ["a", "a", "a", "a", "a", "b", "b", "b", "b", "c"],
        "bad" => [1, 0, 0, 0, 0, 1, 1, 0, 1, 0],
    )
    .expect("a frame")
}

fn close(found: Vec<Option<f64>>, expected: &[Option<f64>]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.into_iter().zip(expected) {
        match (found, expected) {
            (Some(found), Some(expected)) => {
                assert!((found - expected).abs() < 1e-12, "{found} {expected}")
            }
            (found, expected) => assert_eq!(found, *expected),
        }
    }
}

fn weighed(params: &str, train: &DataFrame, rows: &DataFrame) -> Vec<Option<f64>> {
    let rows = fitted(&stage::<Woe>(params), train, rows).expect("rows");
    rows.column("kind")
        .expect("the column")
        .f64()
        .expect("numbers")
        .iter()
        .collect()
}

#[test]
fn weighs_goods_against_bads() {
    let rows = df!("kind" => [Some("a"), Some("b"), Some("c"), Some("new"), None], "bad" => [0; 5])
        .expect("a frame");
    // NumPy: ln(((goods + a) / (6 + 3 a)) / ((bads + a) / (4 + 3 a))) with a = 0.5 and 1.
    let half = [0.7884573603642703, -1.157452788691043, 0.7884573603642703].map(Some);
    let one = [0.6649763035932491, -0.9444616088408514, 0.44183275227903923].map(Some);
    let rest = [Some(0.0), Some(0.0)];
    close(
        weighed("{columns: kind, target: bad}", &loans(), &rows),
        &[&half[..], &rest].concat(),
    );
    close(
        weighed(
            "{columns: kind, target: bad, smoothing: 1, unknown: null}",
            &loans(),
            &rows,
        ),
        &[&one[..], &[None, Some(0.0)]].concat(),
    );
    // The other class as the bad one turns all signs.
    let turned = half.map(|weight| weight.map(|weight| -weight));
    close(
        weighed("{columns: kind, target: bad, bad: 0}", &loans(), &rows),
        &[&turned[..], &rest].concat(),
    );
}

#[test]
fn the_information_value_is_kept() {
    let state = stage::<Woe>("{columns: kind, target: bad}")
        .fit(&frame(loans()), &mut FitContext::quiet(7))
        .expect("a state");
    let learned: Vec<Evidence> = state.data(VERSION).expect("what was learned");
    assert!((learned[0].information_value - 0.8491244286786821).abs() < 1e-12);
}

#[test]
fn null_is_a_category_where_training_has_it() {
    let train =
        df!("kind" => [Some("a"), None, Some("a"), None], "bad" => [true, false, false, false])
            .expect("a frame");
    // a: 1 good, 1 bad; null: 2 goods, 0 bads.
    let a = ((1.5_f64 / 4.0) / (1.5 / 2.0)).ln();
    let null = ((2.5_f64 / 4.0) / (0.5 / 2.0)).ln();
    close(
        weighed("{columns: kind, target: bad}", &train, &train),
        &[Some(a), Some(null), Some(a), Some(null)],
    );
}

#[test]
fn says_what_cannot_be_weighed() {
    let error = |params: &str, train: &DataFrame| {
        fitted(&stage::<Woe>(params), train, train)
            .expect_err("refused")
            .to_string()
    };
    assert!(
        error("{columns: kind, target: bad, smoothing: 0}", &loans())
            .contains("the category `c` of `kind` has 1 good and 0 bad training rows")
    );
    let same = df!("kind" => ["a", "b"], "bad" => [1, 1]).expect("a frame");
    assert!(error("{columns: kind, target: bad}", &same).contains("is `1` in all training rows"));
    let three = df!("kind" => ["a", "b", "c"], "bad" => ["x", "y", "z"]).expect("a frame");
    assert!(error("{columns: kind, target: bad}", &three).contains("has 3 classes"));
    assert!(
        fitted(
            &stage::<Woe>("{columns: kind, target: bad, unknown: error}"),
            &loans(),
            &df!("kind" => ["a", "q"], "bad" => [0, 0]).expect("a frame")
        )
        .expect_err("unseen")
        .to_string()
        .contains("`kind` holds `q` in row 2")
    );
}

#[test]
fn refuses_amounts_and_the_target_itself() {
    let input = schema([("age", DataType::Float64), ("bad", DataType::Boolean)]);
    assert_eq!(
        codes(&stage::<Woe>("{columns: [age, bad], target: bad}"), &input),
        ["type-mismatch", "target-leak"]
    );
    assert_eq!(
        codes(&stage::<Woe>("{columns: bad}"), &input),
        ["no-target"]
    );
    assert_eq!(
        codes(&stage::<Woe>("{columns: bad, target: age}"), &input),
        ["type-mismatch"]
    );
}
