use polars::{df, prelude::DataFrame};

use super::*;
use crate::{
    columns::testing::{codes, frame, schema, stage},
    testing::fitted,
};

fn learned(params: &str, values: &[f64]) -> Bounds {
    let train = frame(df!("a" => values).expect("a frame"));
    let state = stage::<ClipOutliers>(params)
        .fit(&train, &mut FitContext::quiet(7))
        .expect("a state");
    state
        .data::<Learned<Bounds>>(VERSION)
        .expect("bounds")
        .columns[0]
        .overall
}

fn is_same(found: &DataFrame, expected: &DataFrame) {
    assert!(
        found.equals_missing(expected),
        "found {found}\nexpected {expected}"
    );
}

#[test]
fn bounds_are_where_the_method_says() {
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 100.0];
    // numpy.quantile(values, [0.25, 0.75]) = [2.75, 6.25]
    assert_eq!(
        learned("{}", &values),
        Bounds {
            low: -2.5,
            high: 11.5
        }
    );
    assert_eq!(
        learned("{k: 0}", &values),
        Bounds {
            low: 2.75,
            high: 6.25
        }
    );
    let bounds = learned("{method: quantile, low: 0.1, high: 0.5}", &values);
    assert!(
        (bounds.low - 1.7).abs() < 1e-12 && bounds.high == 4.5,
        "{bounds:?}"
    );
    // Mean 4, deviation 2.
    let bounds = learned(
        "{method: z_score}",
        &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0],
    );
    assert_eq!(
        bounds,
        Bounds {
            low: -1.0,
            high: 11.0
        }
    );
    // Infinite and missing values teach nothing.
    assert_eq!(
        learned(
            "{}",
            &[f64::INFINITY, 1.0, 3.0, f64::NAN, f64::NEG_INFINITY]
        ),
        learned("{}", &[1.0, 3.0])
    );
    assert_eq!(
        learned("{}", &[5.0]),
        Bounds {
            low: 5.0,
            high: 5.0
        }
    );
}

#[test]
fn outliers_are_clipped_made_null_or_dropped() {
    let train = df!("a" => [1.0, 2.0, 3.0], "n" => [1_u8, 2, 3]).expect("a frame");
    // Quartiles 1.5 and 2.5: bounds 0 and 4.
    let rows = df!(
        "a" => [Some(-1.0), Some(0.0), Some(4.0), Some(9.0), None, Some(f64::NAN), Some(f64::INFINITY)],
        "n" => [Some(1_u8), Some(4), Some(5), Some(0), Some(200), None, Some(1)],
    )
    .expect("a frame");
    let found = |params: &str| fitted(&stage::<ClipOutliers>(params), &train, &rows).expect("rows");
    is_same(
        &found("{columns: [a, n]}"),
        &df!(
            "a" => [Some(0.0), Some(0.0), Some(4.0), Some(4.0), None, Some(f64::NAN), Some(4.0)],
            "n" => [Some(1_u8), Some(4), Some(4), Some(0), Some(4), None, Some(1)],
        )
        .expect("a frame"),
    );
    is_same(
        &found("{action: 'null'}"),
        &df!(
            "a" => [None, Some(0.0), Some(4.0), None, None, Some(f64::NAN), None],
            "n" => [Some(1_u8), Some(4), Some(5), Some(0), Some(200), None, Some(1)],
        )
        .expect("a frame"),
    );
    is_same(
        &found("{columns: [a, n], action: drop}"),
        &df!("a" => [Some(0.0), Some(f64::NAN)], "n" => [Some(4_u8), None]).expect("a frame"),
    );
    let empty = fitted(
        &stage::<ClipOutliers>("{action: drop}"),
        &train,
        &rows.slice(0, 0),
    );
    assert_eq!(empty.expect("rows").height(), 0);
}

#[test]
fn groups_have_bounds_of_their_own() {
    let train = df!(
        "g" => ["a", "a", "a", "b", "b", "b", "c"],
        "x" => [1.0, 2.0, 3.0, 101.0, 102.0, 103.0, 7.0],
    )
    .expect("a frame");
    let rows = df!("g" => [Some("a"), Some("b"), Some("c"), Some("new"), None], "x" => [1e3; 5])
        .expect("a frame");
    let clipped = |params: &str| -> Vec<f64> {
        let found = fitted(&stage::<ClipOutliers>(params), &train, &rows).expect("rows");
        let column = found
            .column("x")
            .expect("x")
            .f64()
            .expect("numbers")
            .clone();
        column.iter().flatten().collect()
    };
    // All rows: quartiles 2.5 and 101.5, so that the upper bound is 250.
    assert_eq!(
        clipped("{by: g, min_rows: 2}"),
        [4.0, 104.0, 250.0, 250.0, 250.0]
    );
    assert_eq!(
        clipped("{by: g, min_rows: 1}"),
        [4.0, 104.0, 7.0, 250.0, 250.0]
    );
    assert_eq!(clipped("{by: g}"), [250.0; 5]);
    let dropped: ClipOutliers = stage("{by: g, min_rows: 2, action: drop}");
    let found = fitted(&dropped, &train, &train).expect("rows");
    is_same(&found, &train);
    assert_eq!(fitted(&dropped, &train, &rows).expect("rows").height(), 0);
}

#[test]
fn whole_numbers_stay_exact() {
    let large = i64::MAX - 1;
    let train = df!("n" => [1_i64, 2, 3]).expect("a frame");
    let rows = df!("n" => [large, 2, -large]).expect("a frame");
    let found = fitted(
        &stage::<ClipOutliers>("{columns: n, method: z_score, limit: 0.5}"),
        &train,
        &rows,
    );
    // Bounds 1.59 and 2.41.
    is_same(
        &found.expect("rows"),
        &df!("n" => [2_i64, 2, 2]).expect("a frame"),
    );
    let wide = fitted(
        &stage::<ClipOutliers>("{columns: n, k: 1.0e+300}"),
        &train,
        &rows,
    );
    is_same(&wide.expect("rows"), &rows);
}

#[test]
fn nothing_to_learn_from_is_an_error() {
    for values in [vec![None, None], vec![Some(f64::NAN)], vec![]] {
        let train = df!("x" => values).expect("a frame");
        let error = fitted(&stage::<ClipOutliers>("{}"), &train, &train)
            .expect_err("nothing to learn")
            .to_string();
        assert_eq!(error, "`x` has no value in the training rows to learn from");
    }
}

#[test]
fn refuses_what_does_not_go_together() {
    let input = schema([("a", DataType::Float64), ("kind", DataType::String)]);
    for (params, expected) in [
        ("{k: 2, limit: 3}", vec!["unused-param"]),
        ("{method: quantile, low: 0.9, high: 0.1}", vec!["bad-range"]),
        ("{method: quantile, k: 1}", vec!["unused-param"]),
        ("{k: -1}", vec!["bad-range"]),
        ("{method: z_score, limit: .inf}", vec!["bad-range"]),
        (
            "{columns: [kind, b]}",
            vec!["unknown-column", "type-mismatch"],
        ),
        ("{columns: a, by: a}", vec!["type-mismatch", "bad-value"]),
    ] {
        assert_eq!(
            codes(&stage::<ClipOutliers>(params), &input),
            expected,
            "{params}"
        );
    }
    let none = schema([("kind", DataType::String)]);
    assert_eq!(codes(&stage::<ClipOutliers>("{}"), &none), ["no-columns"]);
}

#[test]
fn whole_numbers_beyond_exact_bounds_are_refused() {
    let clip = stage::<ClipOutliers>("{columns: v, method: quantile, low: 0.0, high: 1.0}");
    for (largest, fits) in [((1_i64 << 53) - 1, true), ((1 << 53) + 1, false)] {
        let data = df!("v" => [largest, 1, 5]).expect("a frame");
        let train = Frame {
            schema: Schema::from_polars(data.schema()),
            data,
        };
        let learned = clip.fit(&train, &mut FitContext::quiet(7));
        assert_eq!(learned.is_ok(), fits, "{largest}");
    }
}
