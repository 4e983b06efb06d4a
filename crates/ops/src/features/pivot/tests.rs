use polars::{
    df,
    prelude::{DataFrame, DataType},
};

use super::*;
use crate::{
    columns::testing::{check, codes, passes, schema, stage},
    testing::{applied, fitted},
};

fn payments() -> DataFrame {
    df!(
        "customer" => [Some("b"), Some("a"), Some("b"), None, Some("b"), Some("a")],
        "channel" => [Some("web"), Some("shöp"), Some("web"), Some("web"), Some("phone"), None],
        "amount" => [Some(1.0), Some(2.0), None, Some(8.0), Some(f64::NAN), Some(32.0)],
    )
    .expect("a frame")
}

fn pivoted(params: &str, rows: &DataFrame) -> Result<DataFrame> {
    applied(&stage::<Pivot>(params), std::slice::from_ref(rows))
}

#[test]
fn values_become_columns() {
    let found = pivoted(
            "{by: customer, column: channel, values: [web, shöp], unknown: ignore, aggregate: {spent: sum(amount), n: count(), most: max(amount), share: count(amount) / count()}}",
            &payments(),
        )
        .expect("rows");
    let expected = df!(
        "customer" => [Some("b"), Some("a"), None],
        "spent=web" => [1.0, 0.0, 8.0],
        "spent=shöp" => [0.0, 2.0, 0.0],
        "n=web" => [2_i64, 0, 1],
        "n=shöp" => [0_i64, 1, 0],
        "most=web" => [Some(1.0), None, Some(8.0)],
        "most=shöp" => [None, Some(2.0), None],
        "share=web" => [0.5, f64::NAN, 1.0],
        "share=shöp" => [f64::NAN, 1.0, f64::NAN],
    )
    .expect("a frame");
    assert!(found.equals_missing(&expected), "{found}");
}

#[test]
fn other_values_are_never_lost_silently() {
    let params = |unknown: &str| {
        format!(
            "{{column: channel, values: [web, shöp], unknown: {unknown}, aggregate: {{n: count()}}}}"
        )
    };
    let found = pivoted(&params("other"), &payments()).expect("rows");
    let expected =
        df!("n=web" => [3_i64], "n=shöp" => [1_i64], "n=other" => [2_i64]).expect("a frame");
    assert!(found.equals(&expected), "{found}");
    let error = pivoted(&params("error"), &payments())
        .expect_err("phone")
        .to_string();
    assert!(
        error.contains("`channel` holds `phone` in row 5"),
        "{error}"
    );
    // Null is no value.
    let known = payments().slice(0, 4);
    assert_eq!(pivoted(&params("error"), &known).expect("rows").height(), 1);
}

#[test]
fn one_row_fills_a_cell() {
    let rows = df!("id" => [1_i64, 1, 2], "year" => [2023_i32, 2024, 2024], "price" => [Some("low"), Some("high"), None])
            .expect("a frame");
    let found = pivoted(
        "{by: id, column: year, values: [2023, 2024], aggregate: {price: any_value(price)}}",
        &rows,
    )
    .expect("rows");
    let expected = df!("id" => [1_i64, 2], "price=2023" => [Some("low"), None], "price=2024" => [Some("high"), None])
            .expect("a frame");
    assert!(found.equals_missing(&expected), "{found}");
    assert_eq!(
        pivoted(
            "{by: id, column: year, values: [2023], aggregate: {n: count()}}",
            &rows.slice(0, 0)
        )
        .expect("rows")
        .height(),
        0
    );
}

#[test]
fn values_are_learned_where_they_are_not_told() {
    let pivot = |params: &str| {
        let all = format!("{{by: customer, column: channel, aggregate: {{n: count()}}{params}}}");
        stage::<Pivot>(&all)
    };
    let train = payments().slice(0, 4);
    let found = fitted(&pivot(", unknown: other"), &train, &payments()).expect("rows");
    let expected = df!(
        "customer" => [Some("b"), Some("a"), None],
        "n=shöp" => [0_i64, 1, 0],
        "n=web" => [2_i64, 0, 1],
        "n=other" => [1_i64, 1, 0],
    )
    .expect("a frame");
    assert!(found.equals_missing(&expected), "{found}");
    let message = |params: &str, rows: &DataFrame| {
        fitted(&pivot(params), &train, rows)
            .expect_err("refused")
            .to_string()
    };
    let error = message("", &payments());
    assert!(error.contains("`channel` holds `phone`"), "{error}");
    let error = message(", max_values: 1", &train);
    assert!(
        error.contains("`channel` has 2 values in the training rows, more than `max_values: 1`"),
        "{error}"
    );
    let output = passes(&pivot(""), &Schema::from_polars(train.schema()));
    assert!(output.columns[1].is_open() && output.columns[1].dtype == DataType::Int64);
    assert!(!Estimator::keeps_rows(&pivot("")));
}

#[test]
fn refuses_what_does_not_fit() {
    let input = schema([
        ("customer", DataType::String),
        ("n=web", DataType::Int64),
        ("channel", DataType::String),
        ("year", DataType::Int32),
        ("amount", DataType::Float64),
    ]);
    for (params, expected) in [
        (
            "{by: customr, column: chanel, values: [web], aggregate: {n: count()}}",
            vec!["unknown-column", "unknown-column"],
        ),
        (
            "{by: \"n=web\", column: channel, values: [web, web], aggregate: {n: count()}}",
            vec!["duplicate-name"],
        ),
        (
            "{by: \"n=web\", column: channel, values: [web], aggregate: {n: count()}}",
            vec!["name-taken"],
        ),
        (
            "{column: amount, values: [1], aggregate: {n: count()}}",
            vec!["type-mismatch"],
        ),
        (
            "{column: year, values: [2023, soon], aggregate: {n: count()}}",
            vec!["type-mismatch"],
        ),
        (
            "{column: channel, values: [web], aggregate: {a: first(amount), b: amount, c: \"last(year) + 1\"}}",
            vec![
                "aggregate-not-allowed",
                "bad-expression",
                "aggregate-not-allowed",
            ],
        ),
        (
            "{column: channel, values: [other], unknown: other, aggregate: {n: count()}}",
            vec!["name-taken"],
        ),
    ] {
        assert_eq!(codes(&stage::<Pivot>(params), &input), expected, "{params}");
    }
    let (output, _) = check(
        &stage::<Pivot>("{by: customer, column: chanel, values: [web], aggregate: {n: count()}}"),
        &input,
    );
    assert!(output.incomplete);
}
