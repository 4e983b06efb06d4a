use polars::{
    df,
    prelude::{CsvReader, DataType, IdxCa, SerReader},
};
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

// Figures: scikit-learn 1.9.1, PCA, signs turned so that the largest weight is positive; tests/peers/pca.py.

/// The tumours to learn from, and every third of them, whose components are made.
fn cells() -> (DataFrame, DataFrame) {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../datasets/medical/wdbc.csv"
    );
    let file = std::fs::File::open(path).expect("the data set");
    let cells = CsvReader::new(file).finish().expect("a frame");
    let part = |is_test: bool| {
        let rows: Vec<u32> = (0..cells.height() as u32)
            .filter(|row| row.is_multiple_of(3) == is_test)
            .collect();
        cells.take(&IdxCa::from_vec("".into(), rows)).expect("rows")
    };
    (part(false), part(true))
}

#[test]
fn tumours_have_the_components_that_others_gave() {
    const COLUMNS: &str = "columns: [mean_radius, mean_texture, mean_concavity, mean_symmetry, worst_smoothness, texture_error]";
    struct Peer {
        params: &'static str,
        /// Of each component rows 0, 19, 100, 150 and 189.
        components: &'static [[f64; 5]],
    }
    let peers = [
        Peer {
            params: "components: 2",
            components: &[
                [
                    -5.895056531832,
                    2.331891790847,
                    2.30987059517,
                    0.9288809423262,
                    11.96630819552,
                ],
                [
                    7.794989381503,
                    -0.482629915377,
                    5.027133867318,
                    -2.967115017575,
                    0.9211372281963,
                ],
            ],
        },
        Peer {
            params: "components: 3, standardize: true",
            components: &[
                [
                    2.797421138809,
                    0.9833985750168,
                    1.867676954374,
                    -1.396061930696,
                    5.183087371448,
                ],
                [
                    -2.886942981685,
                    -0.06200783909598,
                    -0.6389694229209,
                    1.675058456053,
                    0.4909817869278,
                ],
                [
                    -0.5251330055585,
                    -0.1240660302092,
                    1.013809518061,
                    1.00024114719,
                    0.1669034940173,
                ],
            ],
        },
        Peer {
            params: "components: 3, standardize: true, whiten: true",
            components: &[
                [
                    1.837844417022,
                    0.6460713246669,
                    1.227022851789,
                    -0.9171821108916,
                    3.405174879248,
                ],
                [
                    -2.524214714265,
                    -0.05421690031249,
                    -0.5586864823915,
                    1.464596713149,
                    0.4292926666241,
                ],
                [
                    -0.4947029000219,
                    -0.1168767232093,
                    0.9550618668903,
                    0.9422797481754,
                    0.1572318662895,
                ],
            ],
        },
    ];
    let (train, test) = cells();
    for peer in peers {
        let pca = stage::<Pca>(&format!("{{{COLUMNS}, {}}}", peer.params));
        let rows = fitted(&pca, &train, &test).expect("rows");
        for (place, wanted) in peer.components.iter().enumerate() {
            let found = values(&rows, &format!("pca_{}", place + 1));
            close(&[0, 19, 100, 150, 189].map(|row| found[row]), wanted);
        }
    }
    let pca = stage::<Pca>(&format!("{{{COLUMNS}, variance: 0.9, standardize: true}}"));
    let state = pca.fit(&frame(train), &mut FitContext::quiet(7));
    let state = state.expect("a state");
    let learned: Learned = state.data(VERSION).expect("what was learned");
    assert_eq!(learned.shares.len(), 5);
    close(
        &learned.shares,
        &[
            0.3851230899679,
            0.2174328529966,
            0.1873057275146,
            0.1036154755883,
            0.07033627276337,
        ],
    );
    close(
        &learned.variances,
        &[
            2.316851604727,
            1.308048433106,
            1.126807471874,
            0.6233375436186,
            0.4231340853543,
        ],
    );
}

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
