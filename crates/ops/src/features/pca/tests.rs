use polars::{df, prelude::DataType};
use taktline_core::Role;

use super::*;
use crate::{
    columns::testing::{codes, frame, passes, schema, stage},
    testing::fitted,
};

fn points() -> DataFrame {
    df!(
        "id" => [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        "a" => [2.5, 0.5, 2.2, 1.9, 3.1, 2.3, 2.0, 1.0, 1.5, 1.1],
        "b" => [2.4, 0.7, 2.9, 2.2, 3.0, 2.7, 1.6, 1.1, 1.6, 0.9],
        "c" => [1.0, 3.0, 0.5, 2.0, 1.5, 2.2, 0.1, 4.0, 3.1, 2.7],
        "kind" => ["x"; 10],
    )
    .expect("a frame")
}

fn values(rows: &DataFrame, name: &str) -> Vec<f64> {
    let column = rows.column(name).expect(name);
    column.f64().expect("numbers").iter().flatten().collect()
}

fn close(found: &[f64], expected: &[f64]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }
}

// Figures: scikit-learn 1.9.1, PCA, signs turned so that the largest weight is positive.

#[test]
fn components_are_the_directions_of_most_variance() {
    let rows = fitted(&stage::<Pca>("{components: 2}"), &points(), &points()).expect("rows");
    let names: Vec<&str> = rows
        .columns()
        .iter()
        .map(|column| column.name().as_str())
        .collect();
    assert_eq!(names, ["id", "pca_1", "pca_2", "kind"]);
    close(
        &values(&rows, "pca_1"),
        &[-1.3087020051945113, 1.9157202090293572, -1.7825443555735843],
    );
    close(
        &values(&rows, "pca_2"),
        &[
            -0.05052251911387673,
            -0.6804511306154932,
            -0.2035241174912703,
        ],
    );
    let scaled = fitted(
        &stage::<Pca>("{components: 3, standardize: true, name: shape, keep: true}"),
        &points(),
        &points(),
    )
    .expect("rows");
    assert_eq!(scaled.width(), 8);
    close(
        &values(&scaled, "shape_1"),
        &[1.3772730489707135, -2.4107555591469296, 1.722537700263743],
    );
    close(
        &values(&scaled, "shape_2"),
        &[
            -0.19037914479342663,
            -0.463957369019674,
            -0.3767775680138351,
        ],
    );
    close(
        &values(&scaled, "shape_3"),
        &[
            0.18374009893905038,
            -0.20882884118135803,
            -0.575479753471738,
        ],
    );
}

#[test]
fn a_share_of_the_variance_decides_how_many() {
    let learned = |params: &str| {
        let pca = stage::<Pca>(params);
        let state = pca
            .fit(&frame(points()), &mut FitContext::quiet(7))
            .expect("a state");
        state.data::<Learned>(VERSION).expect("what was learned")
    };
    let all = learned("{variance: 1}");
    close(
        &all.shares,
        &[0.8116693608647717, 0.1727816192712223, 0.015549019864006095],
    );
    close(
        &all.variances,
        &[2.331024218919083, 0.49620961258925345, 0.04465505738055171],
    );
    assert_eq!(all.shares.len(), 3);
    assert_eq!(learned("{variance: 0.9}").shares.len(), 2);
    assert_eq!(learned("{variance: 0.8}").shares.len(), 1);
    let rows = fitted(&stage::<Pca>("{variance: 0.9}"), &points(), &points()).expect("rows");
    let names: Vec<&str> = rows
        .columns()
        .iter()
        .map(|column| column.name().as_str())
        .collect();
    assert_eq!(names, ["id", "pca=1", "pca=2", "kind"]);
}

#[test]
fn whitened_components_have_variance_1() {
    let rows = fitted(
        &stage::<Pca>("{components: 3, whiten: true}"),
        &points(),
        &points(),
    )
    .expect("rows");
    for name in ["pca_1", "pca_2", "pca_3"] {
        let values = values(&rows, name);
        assert!(
            (values.iter().map(|value| value * value).sum::<f64>() / 9.0 - 1.0).abs() < 1e-9,
            "{name}"
        );
    }
    // b is a: the second component is nothing.
    let same = df!("a" => [1.0, 2.0, 4.0], "b" => [1.0, 2.0, 4.0]).expect("a frame");
    assert!(fitted(&stage::<Pca>("{components: 1, whiten: true}"), &same, &same).is_ok());
    let error = fitted(&stage::<Pca>("{components: 2, whiten: true}"), &same, &same)
        .expect_err("nothing")
        .to_string();
    assert!(error.contains("ask for fewer than 2 components"), "{error}");
}

#[test]
fn works_for_one_column_one_row_and_many_blocks() {
    let train = df!("a" => [1.0, 3.0]).expect("a frame");
    let one = df!("a" => [7.0]).expect("a frame");
    let rows = fitted(&stage::<Pca>("{components: 1}"), &train, &one).expect("rows");
    assert_eq!(values(&rows, "pca_1"), [5.0]);
    let rows = fitted(
        &stage::<Pca>("{components: 1}"),
        &train,
        &train.head(Some(0)),
    )
    .expect("rows");
    assert_eq!(rows.height(), 0);
    let many: Vec<f64> = (0..5000).map(f64::from).collect();
    let many = df!("a" => &many, "b" => many.iter().map(|value| -value).collect::<Vec<_>>())
        .expect("a frame");
    let rows = fitted(
        &stage::<Pca>("{components: 2, columns: [a, b]}"),
        &many,
        &many,
    )
    .expect("rows");
    let first = values(&rows, "pca_1");
    assert_eq!(first.len(), 5000);
    assert!((first[0].abs() - 2499.5 * 2.0_f64.sqrt()).abs() < 1e-6);
    assert!(
        values(&rows, "pca_2")
            .iter()
            .all(|value| value.abs() < 1e-6)
    );
}

#[test]
fn a_missing_value_is_named() {
    let holes =
        df!("a" => [Some(1.0), Some(2.0), None], "b" => [1.0, f64::NAN, 2.0]).expect("a frame");
    let whole = df!("a" => [1.0, 2.0, 4.0], "b" => [1.0, 5.0, 2.0]).expect("a frame");
    let error = |train: &DataFrame, rows: &DataFrame| {
        fitted(&stage::<Pca>("{components: 1}"), train, rows)
            .expect_err("a hole")
            .to_string()
    };
    assert!(
        error(&holes, &whole)
            .contains("`a` is null in row 3: principal components need every value")
    );
    assert!(error(&whole, &holes).contains("`a` is null in row 3"));
    assert!(error(&whole, &holes.head(Some(2))).contains("`b` is NaN in row 2"));
    assert!(error(&whole.head(Some(1)), &whole).contains("nothing that varies in 1 training row"));
    let same = df!("a" => [2.0, 2.0], "b" => [3.0, 3.0]).expect("a frame");
    assert!(error(&same, &same).contains("no column varies"));
}

#[test]
fn refuses_what_it_cannot_make() {
    let mut input = schema([
        ("a", DataType::Float64),
        ("b", DataType::Float64),
        ("pca_2", DataType::Int64),
        ("kind", DataType::String),
    ]);
    assert_eq!(codes(&stage::<Pca>("{}"), &input), ["no-components"]);
    assert_eq!(
        codes(&stage::<Pca>("{components: 1, variance: 0.5}"), &input),
        ["unused-param"]
    );
    assert_eq!(
        codes(&stage::<Pca>("{components: 3, name: p}"), &input),
        ["too-many-components"]
    );
    assert_eq!(
        codes(&stage::<Pca>("{components: 2}"), &input),
        ["name-taken"]
    );
    assert_eq!(
        codes(&stage::<Pca>("{columns: [a, kind], components: 1}"), &input),
        ["type-mismatch"]
    );
    input.columns[0] = input.columns[0].clone().with_role(Role::Pii);
    let output = passes(&stage::<Pca>("{columns: [a, b], variance: 0.9}"), &input);
    assert_eq!(output.columns[0].name, "pca=*");
    assert!(output.columns[0].from_pii.contains("a"));
}
