use polars::{
    df,
    prelude::{DataFrame, IntoLazy},
};
use taktline_core::Role;

use super::*;
use crate::{
    columns::testing::{codes, frame, passes, refuses, schema, stage, types},
    testing::fitted,
};

const VALUES: [f64; 15] = [
    3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0, 5.0, 8.0, 9.0, 7.0, 9.0,
];

fn learned(params: &str, train: DataFrame) -> Vec<f64> {
    let state = stage::<Bin>(params)
        .fit(&frame(train), &mut FitContext::quiet(7))
        .expect("a state");
    state
        .data::<Vec<Edges>>(VERSION)
        .expect("what was learned")
        .remove(0)
        .edges
}

fn numbers_of(rows: &DataFrame, name: &str) -> Vec<Option<i64>> {
    rows.column(name)
        .expect(name)
        .i64()
        .expect("whole numbers")
        .iter()
        .collect()
}

fn texts_of(rows: &DataFrame, name: &str) -> Vec<Option<String>> {
    let column = rows.column(name).expect(name).str().expect("text");
    column.iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn quantiles_and_widths_are_those_of_pandas() {
    let train = df!("a" => VALUES).expect("a frame");
    // pandas 3.1.1: qcut(…, 4) and cut(…, 4).
    assert_eq!(
        learned("{columns: a, bins: 4}", train.clone()),
        [3.0, 5.0, 7.5]
    );
    assert_eq!(
        learned("{columns: a, bins: 4, method: width}", train.clone()),
        [3.0, 5.0, 7.0]
    );
    let rows = fitted(&stage::<Bin>("{columns: a, bins: 4}"), &train, &train).expect("rows");
    let bins = [0, 0, 1, 0, 1, 3, 0, 2, 1, 0, 1, 3, 3, 2, 3];
    assert_eq!(numbers_of(&rows, "a"), bins.map(Some));
    // Four zeros make the lower quartiles equal: qcut(…, duplicates="drop").
    let ties = df!("a" => [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0]).expect("a frame");
    assert_eq!(learned("{columns: a, bins: 4}", ties), [1.5]);
}

#[test]
fn numbers_beyond_the_edges_are_in_the_end_bins_and_nothing_stays_nothing() {
    let train = df!("a" => VALUES).expect("a frame");
    let rows = df!("a" => [Some(f64::NEG_INFINITY), Some(-5.0), Some(3.0), Some(3.1), Some(1e9), Some(f64::INFINITY), None, Some(f64::NAN)])
        .expect("a frame");
    let found = fitted(
        &stage::<Bin>("{columns: a, bins: 4, suffix: _bin}"),
        &train,
        &rows,
    )
    .expect("rows");
    assert_eq!(
        numbers_of(&found, "a_bin"),
        [
            Some(0),
            Some(0),
            Some(0),
            Some(1),
            Some(3),
            Some(3),
            None,
            None
        ]
    );
    let labels = fitted(
        &stage::<Bin>("{columns: a, bins: 4, as: label}"),
        &train,
        &rows,
    )
    .expect("rows");
    let expected = ["<= 3", "<= 3", "<= 3", "(3, 5]", "> 7.5", "> 7.5"];
    let found = texts_of(&labels, "a");
    assert_eq!(found[..6], expected.map(|text| Some(text.to_owned())));
    assert_eq!(found[6..], [None, None]);
}

#[test]
fn a_tree_cuts_where_the_target_changes() {
    let train = df!(
        "age" => [Some(20_i64), Some(25), None, Some(30), Some(40), Some(50), Some(60)],
        "bad" => [0, 0, 1, 0, 1, 1, 1],
        "cost" => [1.0, 1.0, 9.0, 1.0, 5.0, 5.0, 7.0],
        "kind" => ["a", "a", "z", "b", "b", "c", "c"],
    )
    .expect("a frame");
    let tree = "columns: age, method: tree, min_samples: 1";
    assert_eq!(
        learned(&format!("{{{tree}, target: bad}}"), train.clone()),
        [35.0]
    );
    assert_eq!(
        learned(&format!("{{{tree}, target: cost}}"), train.clone()),
        [35.0, 55.0]
    );
    assert_eq!(
        learned(&format!("{{{tree}, target: kind}}"), train.clone()),
        [27.5, 45.0]
    );
    assert_eq!(
        learned(&format!("{{{tree}, target: cost, bins: 2}}"), train.clone()),
        [35.0]
    );
    // No bin may have fewer than 20 rows, by default.
    let rows = fitted(
        &stage::<Bin>("{columns: age, method: tree, target: bad}"),
        &train,
        &train,
    )
    .expect("rows");
    let ages = numbers_of(&rows, "age");
    assert_eq!((ages[0], ages[2], ages[6]), (Some(0), None, Some(0)));
}

#[test]
fn given_edges_need_no_training() {
    let given = stage::<Bin>("{edges: {age: [18, 65], n: [0]}, as: label, closed: left}");
    assert!(matches!(given.shape(), Shape::Relational(_)));
    let data = df!("age" => [17_i32, 18, 64, 65], "n" => [Some(-0.5), Some(0.0), None, Some(1.0)])
        .expect("a frame");
    let input = Schema::from_polars(data.schema());
    assert_eq!(
        types(&passes(&given, &input)),
        [("age", DataType::String), ("n", DataType::String)]
    );
    let operations = Relational::lower(&given, std::slice::from_ref(&input)).expect("operations");
    let rows = taktline_engine::local::apply(&operations, &[data.lazy()], &[input])
        .expect("a query")
        .collect()
        .expect("rows");
    assert_eq!(
        rows,
        df!("age" => ["< 18", "[18, 65)", "[18, 65)", ">= 65"], "n" => [Some("< 0"), Some(">= 0"), None, Some(">= 0")]).expect("a frame")
    );
}

#[test]
fn one_value_is_one_bin_and_no_rows_are_fine() {
    let train = df!("a" => [Some(2.0), None, Some(2.0)]).expect("a frame");
    for params in ["{columns: a}", "{columns: a, method: width}"] {
        let rows = fitted(&stage::<Bin>(params), &train, &train).expect("rows");
        assert_eq!(numbers_of(&rows, "a"), [Some(0), None, Some(0)]);
    }
    let rows = fitted(
        &stage::<Bin>("{columns: a, as: label}"),
        &train,
        &train.head(Some(0)),
    )
    .expect("rows");
    assert_eq!(rows.height(), 0);
    let nothing = df!("a" => [None::<f64>, None]).expect("a frame");
    assert!(fitted(&stage::<Bin>("{columns: a}"), &nothing, &train).is_err());
}

#[test]
fn many_bins_make_no_deep_expression() {
    let train = df!("a" => (0..10_000).map(f64::from).collect::<Vec<_>>()).expect("a frame");
    let rows = fitted(&stage::<Bin>("{columns: a, bins: 256}"), &train, &train).expect("rows");
    let bins = numbers_of(&rows, "a");
    assert_eq!((bins[0], bins[9_999]), (Some(0), Some(255)));
    assert!(bins.windows(2).all(|pair| pair[0] <= pair[1]));
    let labels = fitted(
        &stage::<Bin>("{columns: a, bins: 256, as: label}"),
        &train,
        &train,
    )
    .expect("rows");
    assert_eq!(texts_of(&labels, "a")[0].as_deref(), Some("<= 39.05859375"));
}

#[test]
fn refuses_what_makes_no_bins() {
    let mut input = schema([
        ("age", DataType::Float64),
        ("kind", DataType::String),
        ("on", DataType::Date),
    ]);
    assert_eq!(codes(&stage::<Bin>("{}"), &input), ["no-columns"]);
    assert_eq!(
        codes(&stage::<Bin>("{columns: age, edges: {age: [1]}}"), &input),
        ["unused-param"]
    );
    assert_eq!(
        codes(&stage::<Bin>("{columns: [age, kind, aeg]}"), &input),
        ["unknown-column", "type-mismatch"]
    );
    assert_eq!(
        refuses(
            &stage::<Bin>("{edges: {age: [2, 1, .inf], kind: [1]}}"),
            &input
        ),
        [
            (
                "bad-edges",
                "stage `this` has the edge 1 after 2".to_owned()
            ),
            ("bad-edges", "stage `this` has the edge inf".to_owned()),
            (
                "type-mismatch",
                "stage `this` needs numbers, but `kind` is text".to_owned()
            ),
        ]
    );
    assert_eq!(
        codes(&stage::<Bin>("{edges: {age: []}}"), &input),
        ["bad-edges"]
    );
    assert_eq!(
        codes(&stage::<Bin>("{columns: age, method: tree}"), &input),
        ["no-target"]
    );
    assert_eq!(
        codes(
            &stage::<Bin>("{columns: age, method: tree, target: on}"),
            &input
        ),
        ["type-mismatch"]
    );
    input.columns[0].role = Role::Target;
    assert_eq!(
        codes(&stage::<Bin>("{columns: age, method: tree}"), &input),
        ["target-leak"]
    );
}
