use polars::{
    df,
    prelude::{DataFrame, DataType},
};

use super::*;
use crate::{
    balance::{
        neighbours::Tree,
        testing::{balanced, divided},
    },
    columns::testing::{codes, passes, refuses, stage},
};

/// Eight rows of a, four of b and one of b for testing; `shop` and `code` tell categories.
fn rows() -> DataFrame {
    let part = |row: i32| if row == 12 { "test" } else { "train" };
    df!(
        "id" => (0..13).collect::<Vec<i32>>(),
        "x" => [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 100.0, 101.0, 102.0, 103.0, 9.0],
        "n" => [0_i64, 1, 0, 1, 0, 1, 0, 1, 10, 20, 30, 40, 5],
        "shop" => ["p", "p", "q", "q", "p", "q", "p", "q", "r", "r", "s", "r", "z"],
        "code" => [1_u8, 1, 1, 1, 1, 1, 1, 1, 7, 7, 7, 9, 3],
        "w" => [1.0_f32, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "label" => ["a", "a", "a", "a", "a", "a", "a", "a", "b", "b", "b", "b", "b"],
        PARTITION => (0..13).map(part).collect::<Vec<_>>(),
    )
    .expect("a frame")
}

fn input() -> Schema {
    let mut schema = divided(&rows(), "label");
    for (name, role) in [("id", Role::Id), ("w", Role::Weight)] {
        schema.column_mut(name).expect(name).role = role;
    }
    schema
}

fn numbers(rows: &DataFrame, name: &str) -> Vec<Option<f64>> {
    let column = rows
        .column(name)
        .expect(name)
        .cast(&DataType::Float64)
        .expect("numbers");
    column.f64().expect("numbers").iter().collect()
}

fn texts(rows: &DataFrame, name: &str) -> Vec<String> {
    let column = rows.column(name).expect(name).str().expect("text");
    column.iter().flatten().map(str::to_owned).collect()
}

#[test]
fn new_rows_lie_between_a_row_and_a_neighbour() {
    let stage = stage::<Smote>("{categories: code, seed: 3}");
    passes(&stage, &input());
    let found = balanced(&stage, &rows(), &input()).expect("rows");
    assert_eq!(found.height(), 13 + 4);
    assert_eq!(found.head(Some(13)), rows());
    let new = found.slice(13, 4);
    assert_eq!(new.column("id").expect("ids").null_count(), 4);
    assert_eq!(texts(&new, "label"), ["b"; 4]);
    assert_eq!(texts(&new, PARTITION), ["train"; 4]);
    // Three of the neighbours of each row have, of its others, r and 7; each starts one row.
    assert_eq!(texts(&new, "shop"), ["r"; 4]);
    assert_eq!(numbers(&new, "code"), [Some(7.0); 4]);
    assert_eq!(numbers(&new, "w"), [2.0, 3.0, 4.0, 5.0].map(Some));
    let (xs, ns) = (numbers(&new, "x"), numbers(&new, "n"));
    for (row, (x, n)) in xs.into_iter().zip(ns).enumerate() {
        let (x, n) = (x.expect("a number"), n.expect("a number"));
        assert!((100.0..=103.0).contains(&x), "{x}");
        // x and n lie on one line: n is 10 (x - 99), rounded.
        assert_eq!(n, (10.0 * (x - 99.0)).round());
        assert_ne!(x, 100.0 + row as f64);
    }
    assert_eq!(new.column("n").expect("n").dtype(), &DataType::Int64);
}

#[test]
fn the_seed_decides_and_copies_are_copies() {
    let made = |params: &str| {
        balanced(&stage::<Smote>(params), &rows(), &input())
            .expect("rows")
            .slice(13, 4)
    };
    assert_eq!(
        numbers(&made("{seed: 1}"), "x"),
        numbers(&made("{seed: 1}"), "x")
    );
    assert_ne!(
        numbers(&made("{seed: 1}"), "x"),
        numbers(&made("{seed: 2}"), "x")
    );
    let copied = made("{copy: [id, shop]}");
    assert_eq!(numbers(&copied, "id"), [8.0, 9.0, 10.0, 11.0].map(Some));
    assert_eq!(texts(&copied, "shop"), ["r", "r", "s", "r"]);
    let one = balanced(&stage::<Smote>("{ratio: 0.625}"), &rows(), &input()).expect("rows");
    assert_eq!(one.height(), 14);
}

#[test]
fn the_nearest_neighbours_are_those_in_units_of_the_deviation() {
    // In raw numbers row 1 is nearer to row 0 than row 2 is; by deviations it is farther.
    let data = df!(
        "x" => [0.0, 5.0, 0.0, 50.0, 0.0, 1.0, 0.0, 1.0],
        "y" => [0.0, 0.0, 20.0, 900.0, 0.0, 1000.0, 0.0, 1000.0],
        "label" => [true, true, true, true, false, false, false, false],
        PARTITION => ["train"; 8],
    )
    .expect("a frame");
    let features = Features::of(&data, &["x".into(), "y".into()], &[]).expect("features");
    let points = features.points(&data, &[0, 1, 2, 3]).expect("points");
    // scikit-learn 1.9.1: NearestNeighbors on the columns divided by numpy.std over all eight rows.
    let tree = Tree::new(&points);
    assert_eq!(tree.nearest(0, 2), [2, 1]);
    assert_eq!(tree.nearest(1, 2), [0, 2]);
    assert_eq!(tree.nearest(2, 2), [0, 1]);
    assert_eq!(tree.nearest(3, 2), [1, 2]);
}

#[test]
fn categories_alone_are_enough() {
    let data = df!(
        "a" => ["p", "p", "q", "x", "x", "x", "x", "x"],
        "b" => [true, true, false, true, true, true, true, true],
        "label" => [1, 1, 1, 0, 0, 0, 0, 0],
        PARTITION => ["train"; 8],
    )
    .expect("a frame");
    let found = balanced(
        &stage::<Smote>("{neighbours: 2}"),
        &data,
        &divided(&data, "label"),
    )
    .expect("rows");
    assert_eq!(found.height(), 10);
}

#[test]
fn missing_values_and_single_rows_are_told() {
    let error = |data: &DataFrame| {
        balanced(&stage::<Smote>("{}"), data, &divided(data, "label"))
            .expect_err("refused")
            .to_string()
    };
    let holes = df!("x" => [Some(1.0), None, Some(2.0), Some(1.0)], "label" => ["a", "a", "b", "a"], PARTITION => ["train", "train", "train", "train"])
        .expect("a frame");
    assert!(
        error(&holes).contains("`x` is null in 1 training row, "),
        "{}",
        error(&holes)
    );
    let odd = df!("x" => [f64::NAN, f64::INFINITY, 2.0, 1.0], "label" => ["a", "a", "b", "a"], PARTITION => ["train"; 4]).expect("a frame");
    assert!(error(&odd).contains("`x` is infinite or not a number in 2 training rows"));
    let single = df!("x" => [1.0, 3.0, 2.0, 1.0], "label" => ["a", "a", "b", "a"], PARTITION => ["train"; 4]).expect("a frame");
    assert!(error(&single).contains("the class `b` of `label` has a single training row"));
    // Rows of other parts may lack what they like.
    let tested = df!("x" => [Some(1.0), None, Some(2.0), Some(1.0), Some(3.0), Some(4.0)], "label" => ["a", "a", "b", "a", "b", "a"], PARTITION => ["train", "test", "train", "train", "train", "train"])
        .expect("a frame");
    let found = balanced(&stage::<Smote>("{}"), &tested, &divided(&tested, "label")).expect("rows");
    assert_eq!(found.height(), 7);
    let nothing = tested.head(Some(0));
    assert_eq!(
        balanced(&stage::<Smote>("{}"), &nothing, &divided(&nothing, "label")).expect("rows"),
        nothing
    );
}

#[test]
fn refuses_features_without_a_between() {
    let mut schema = input();
    schema.columns.push(Column::new("on", DataType::Date));
    assert_eq!(
        refuses(&stage::<Smote>("{}"), &schema),
        [(
            "type-mismatch",
            "stage `this` cannot make up values of `on` (date)".to_owned()
        )]
    );
    passes(&stage::<Smote>("{copy: on}"), &schema);
    assert_eq!(
        codes(
            &stage::<Smote>("{copy: [on, of], categories: [x]}"),
            &schema
        ),
        ["type-mismatch", "unknown-column"]
    );
    schema.facts.partitions.clear();
    assert_eq!(codes(&stage::<Smote>("{copy: on}"), &schema), ["no-split"]);
    let bare = divided(
        &df!("label" => ["a"], PARTITION => ["train"]).expect("a frame"),
        "label",
    );
    assert_eq!(codes(&stage::<Smote>("{}"), &bare), ["no-columns"]);
}
