use taktline_core::{Operation, sql};

use super::*;
use crate::local::apply;

fn windowed(
    frame: &DataFrame,
    by: &[&str],
    over: &str,
    bounds: WindowFrame,
    aggregates: &[(&str, &str)],
) -> DataFrame {
    let schema = FrameSchema::from_polars(frame.schema());
    let compiled: Vec<(String, Expression)> = aggregates
        .iter()
        .map(|(name, text)| {
            (
                (*name).to_owned(),
                sql::compile_aggregate(text, &schema)
                    .expect(text)
                    .expression,
            )
        })
        .collect();
    let operation = Operation::Window {
        by: by.iter().map(|key| (*key).to_owned()).collect(),
        over: over.to_owned(),
        frame: bounds,
        aggregates: compiled,
    };
    let expected = taktline_core::output_schema(
        std::slice::from_ref(&operation),
        std::slice::from_ref(&schema),
    );
    let mut query = apply(&[operation], &[frame.clone().lazy()], &[schema]).expect("lowers");
    assert_eq!(
        *query.collect_schema().expect("a schema"),
        expected.to_polars()
    );
    let result = query.collect().expect("runs");
    assert_eq!(**result.schema(), expected.to_polars());
    result
}

fn reals_of(frame: &DataFrame, name: &str) -> Vec<Option<f64>> {
    frame
        .column(name)
        .expect(name)
        .f64()
        .expect("reals")
        .to_vec()
}

fn integers_of(frame: &DataFrame, name: &str) -> Vec<Option<i64>> {
    frame
        .column(name)
        .expect(name)
        .i64()
        .expect("integers")
        .to_vec()
}

#[test]
fn a_span_holds_its_end_and_all_of_one_time() {
    let frame = df!(
        "card" => ["a", "b", "a", "a", "a", "b"],
        "hour" => [1_i64, 1, 1, 4, 5, 2],
        "amount" => [1.0, 10.0, 2.0, 4.0, 8.0, 20.0],
    )
    .expect("a frame");
    let aggregates = [
        ("spent", "sum(amount)"),
        ("payments", "count()"),
        ("mean", "avg(amount)"),
        ("largest", "max(amount)"),
        ("spread", "max(amount) - min(amount)"),
        ("amount", "last(amount)"),
    ];
    let result = windowed(&frame, &["card"], "hour", WindowFrame::Span(4), &aggregates);
    // (hour - 4, hour]: at hour 5 the payments of hour 1 are gone.
    assert_eq!(
        reals_of(&result, "spent"),
        [3.0, 10.0, 3.0, 7.0, 12.0, 30.0].map(Some)
    );
    assert_eq!(
        integers_of(&result, "payments"),
        [2, 1, 2, 3, 2, 2].map(Some)
    );
    assert_eq!(
        reals_of(&result, "mean"),
        [1.5, 10.0, 1.5, 7.0 / 3.0, 6.0, 15.0].map(Some)
    );
    assert_eq!(
        reals_of(&result, "largest"),
        [2.0, 10.0, 2.0, 4.0, 8.0, 20.0].map(Some)
    );
    assert_eq!(
        reals_of(&result, "spread"),
        [1.0, 0.0, 1.0, 3.0, 4.0, 10.0].map(Some)
    );
    // Its name was taken: the column is replaced, in its place.
    assert_eq!(
        reals_of(&result, "amount"),
        [2.0, 10.0, 2.0, 4.0, 8.0, 20.0].map(Some)
    );
    assert_eq!(
        result.get_column_names(),
        [
            "card", "hour", "amount", "spent", "payments", "mean", "largest", "spread"
        ]
    );
}

#[test]
fn rows_and_growing_windows_follow_time_not_place() {
    let frame = df!("at" => [3_i64, 1, 2, 2], "value" => [30_i32, 10, 20, 21]).expect("a frame");
    let result = windowed(
        &frame,
        &[],
        "at",
        WindowFrame::Rows(2),
        &[("sum", "sum(value)"), ("first", "first(value)")],
    );
    assert_eq!(integers_of(&result, "sum"), [51, 10, 30, 41].map(Some));
    assert_eq!(
        result
            .column("first")
            .expect("first")
            .i32()
            .expect("integers")
            .to_vec(),
        [21, 10, 10, 20].map(Some)
    );
    let result = windowed(
        &frame,
        &[],
        "at",
        WindowFrame::Growing,
        &[("sum", "sum(value)")],
    );
    assert_eq!(integers_of(&result, "sum"), [81, 10, 30, 51].map(Some));
}

#[test]
fn nulls_of_every_kind() {
    let frame = df!(
        "card" => [Some("a"), None, Some("a"), None, Some("a")],
        "at" => [Some(1_i64), Some(1), None, Some(2), Some(2)],
        "amount" => [Some(1.0), Some(5.0), Some(9.0), None, None],
        "text" => [Some("b"), Some("x"), Some("y"), None, Some("a")],
    )
    .expect("a frame");
    let aggregates = [
        ("rows", "count()"),
        ("known", "count(amount)"),
        ("sum", "sum(amount)"),
        ("mean", "avg(amount)"),
        ("first", "min(text)"),
    ];
    let result = windowed(&frame, &["card"], "at", WindowFrame::Span(10), &aggregates);
    // Null is a group like others; a row without a time is in no window and has none.
    assert_eq!(
        integers_of(&result, "rows"),
        [Some(1), Some(1), None, Some(2), Some(2)]
    );
    assert_eq!(
        integers_of(&result, "known"),
        [Some(1), Some(1), None, Some(1), Some(1)]
    );
    assert_eq!(
        reals_of(&result, "sum"),
        [Some(1.0), Some(5.0), None, Some(5.0), Some(1.0)]
    );
    let text: Vec<Option<&str>> = result
        .column("first")
        .expect("first")
        .str()
        .expect("text")
        .iter()
        .collect();
    assert_eq!(text, [Some("b"), Some("x"), None, Some("x"), Some("a")]);
    // A window without a value: its sum is 0, its mean unknown.
    let result = windowed(
        &frame.slice(3, 1),
        &["card"],
        "at",
        WindowFrame::Span(10),
        &aggregates,
    );
    assert_eq!(
        (reals_of(&result, "sum"), reals_of(&result, "mean")),
        (vec![Some(0.0)], vec![None])
    );
    let result = windowed(
        &frame.slice(0, 0),
        &["card"],
        "at",
        WindowFrame::Span(10),
        &aggregates,
    );
    assert_eq!(result.height(), 0);
}

#[test]
fn what_is_no_number_leaves_with_its_row() {
    let frame = df!(
        "at" => [1_i64, 2, 3, 4, 5, 6, 7],
        "value" => [1.0, f64::NAN, 2.0, f64::INFINITY, 3.0, 1e300, 4.0],
    )
    .expect("a frame");
    let aggregates = [
        ("sum", "sum(value)"),
        ("max", "max(value)"),
        ("min", "min(value)"),
        ("spread", "stddev(value)"),
    ];
    let result = windowed(&frame, &[], "at", WindowFrame::Rows(2), &aggregates);
    let sums = reals_of(&result, "sum");
    assert!(sums[1].is_some_and(f64::is_nan) && sums[2].is_some_and(f64::is_nan));
    assert_eq!(sums[3], Some(f64::INFINITY));
    assert_eq!(sums[5..], [Some(1e300), Some(1e300)]);
    assert_eq!(
        reals_of(&result, "max")[..4],
        [1.0, 1.0, 2.0, f64::INFINITY].map(Some)
    );
    assert_eq!(
        reals_of(&result, "min")[..4],
        [1.0, 1.0, 2.0, 2.0].map(Some)
    );
    assert_eq!(reals_of(&result, "spread")[0], None);
    // Nothing of 1e300 stays behind.
    let frame = df!("at" => [1_i64, 2, 3, 4], "value" => [0.1, 1e300, 0.2, 0.3]).expect("a frame");
    let result = windowed(
        &frame,
        &[],
        "at",
        WindowFrame::Rows(2),
        &[("sum", "sum(value)")],
    );
    assert_eq!(reals_of(&result, "sum")[3], Some(0.5));
    let only = df!("at" => [1_i64], "value" => [f64::NAN]).expect("a frame");
    let result = windowed(
        &only,
        &[],
        "at",
        WindowFrame::Growing,
        &[("max", "max(value)")],
    );
    assert!(reals_of(&result, "max")[0].is_some_and(f64::is_nan));
}

#[test]
fn sums_of_whole_numbers_never_wrap() {
    let frame = df!("at" => [1_i64, 2], "value" => [i64::MAX, 1]).expect("a frame");
    let schema = FrameSchema::from_polars(frame.schema());
    let sum = sql::compile_aggregate("sum(value)", &schema)
        .expect("sum")
        .expression;
    let query = |bounds| {
        let operation = Operation::Window {
            by: Vec::new(),
            over: "at".into(),
            frame: bounds,
            aggregates: vec![("sum".into(), sum.clone())],
        };
        apply(
            &[operation],
            &[frame.clone().lazy()],
            std::slice::from_ref(&schema),
        )
        .expect("lowers")
        .collect()
    };
    assert!(query(WindowFrame::Growing).is_err());
    assert!(query(WindowFrame::Rows(1)).is_ok());
}

#[test]
fn every_unit_of_time() {
    let hour = 3_600_000_000_i64;
    let ticks = Series::new("at".into(), [0, 23 * hour, 24 * hour, 48 * hour]);
    let at = ticks
        .cast(&DataType::Datetime(TimeUnit::Microseconds, None))
        .expect("datetimes");
    for dtype in [
        DataType::Datetime(TimeUnit::Milliseconds, None),
        DataType::Datetime(TimeUnit::Microseconds, None),
        DataType::Datetime(TimeUnit::Nanoseconds, None),
    ] {
        let frame = DataFrame::new_infer_height(vec![at.cast(&dtype).expect("unit").into_column()])
            .expect("a frame");
        let result = windowed(
            &frame,
            &[],
            "at",
            WindowFrame::Span(24 * hour),
            &[("rows", "count()")],
        );
        assert_eq!(
            integers_of(&result, "rows"),
            [1, 2, 2, 1].map(Some),
            "{dtype}"
        );
    }
    let days = at.cast(&DataType::Date).expect("dates");
    let frame = DataFrame::new_infer_height(vec![days.into_column()]).expect("a frame");
    let result = windowed(
        &frame,
        &[],
        "at",
        WindowFrame::Span(48 * hour),
        &[("rows", "count()")],
    );
    assert_eq!(integers_of(&result, "rows"), [2, 2, 3, 2].map(Some));
    for dtype in [DataType::Int8, DataType::UInt64, DataType::Int32] {
        let steps = Series::new("at".into(), [1_i64, 2, 3])
            .cast(&dtype)
            .expect("integers");
        let frame = DataFrame::new_infer_height(vec![steps.into_column()]).expect("a frame");
        let result = windowed(
            &frame,
            &[],
            "at",
            WindowFrame::Span(2),
            &[("rows", "count()")],
        );
        assert_eq!(integers_of(&result, "rows"), [1, 2, 2].map(Some), "{dtype}");
    }
}

#[test]
fn windows_of_one_order_are_computed_together() {
    let frame = df!(
        "card" => ["a", "b", "a", "a", "a"],
        "at" => [1_i64, 1, 2, 2, 5],
        "amount" => [1.0, 10.0, 2.0, 4.0, 8.0],
    )
    .expect("a frame");
    let schema = FrameSchema::from_polars(frame.schema());
    let of = |by: &str, bounds: WindowFrame, name: &str, text: &str| Operation::Window {
        by: vec![by.to_owned()],
        over: "at".into(),
        frame: bounds,
        aggregates: vec![(
            name.to_owned(),
            sql::compile_aggregate(text, &schema)
                .expect(text)
                .expression,
        )],
    };
    let operations = [
        of("card", WindowFrame::Span(4), "near", "sum(amount)"),
        of("card", WindowFrame::Rows(2), "two", "sum(amount) / count()"),
        of("card", WindowFrame::Growing, "all", "sum(amount)"),
        of("at", WindowFrame::Growing, "other", "sum(amount)"),
    ];
    assert_eq!(in_common(&operations), 3);
    assert_eq!(in_common(&operations[3..]), 1);
    // What another one makes is not there yet; it may have the name of a column that was.
    let replaced = [
        of("card", WindowFrame::Growing, "amount", "max(amount)"),
        operations[0].clone(),
    ];
    assert_eq!(in_common(&replaced), 1);
    let together = apply(
        &operations,
        &[frame.clone().lazy()],
        std::slice::from_ref(&schema),
    )
    .expect("lowers")
    .collect()
    .expect("runs");
    let mut apart = frame.clone();
    for operation in operations {
        let schema = FrameSchema::from_polars(apart.schema());
        apart = apply(&[operation], &[apart.lazy()], &[schema])
            .expect("lowers")
            .collect()
            .expect("runs");
    }
    assert!(together.equals(&apart), "{together} {apart}");
    assert_eq!(
        reals_of(&together, "near"),
        [1.0, 10.0, 7.0, 7.0, 14.0].map(Some)
    );
    assert_eq!(
        reals_of(&together, "two"),
        [1.0, 10.0, 1.5, 3.0, 6.0].map(Some)
    );
}

/// Every aggregate against a second way of computing it: the rows of each window, one by one, through polars.
#[test]
fn agrees_with_each_window_by_itself() {
    let mut state = 7_u64;
    let mut next = |limit: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let height = 300;
    let mut column_of = |limit: u64, null: u64| -> Vec<Option<i64>> {
        (0..height)
            .map(|_| (next(100) >= null).then(|| next(limit) as i64))
            .collect()
    };
    let (card, kind, at, whole, real) = (
        column_of(5, 5),
        column_of(2, 0),
        column_of(40, 5),
        column_of(9, 20),
        column_of(1000, 10),
    );
    let frame = df!(
            "card" => card.iter().map(|card| card.map(|card| format!("card {card}"))).collect::<Vec<_>>(),
            "kind" => &kind,
            "at" => &at,
            "whole" => &whole,
            "real" => real.iter().map(|value| value.map(|value| value as f64 / 7.0)).collect::<Vec<_>>(),
            "text" => whole.iter().map(|value| value.map(|value| format!("t{value}"))).collect::<Vec<_>>(),
            "truth" => whole.iter().map(|value| value.map(|value| value > 4)).collect::<Vec<_>>(),
        )
        .expect("a frame");
    let schema = FrameSchema::from_polars(frame.schema());
    let texts = [
        "count()",
        "count(real)",
        "count(distinct text)",
        "count(distinct whole)",
        "sum(real)",
        "sum(whole)",
        "avg(real)",
        "avg(whole)",
        "min(real)",
        "max(real)",
        "min(whole)",
        "max(whole)",
        "min(text)",
        "max(text)",
        "min(truth)",
        "max(truth)",
        "stddev(real)",
        "variance(whole)",
        "median(real)",
        "quantile(real, 0.95)",
        "quantile(whole, 0)",
        "mode(text)",
        "mode(whole)",
        "mode(truth)",
        "any_value(text)",
        "any_value(real) filter (where truth)",
        "corr(real, whole)",
        "corr(whole, whole)",
        "covar(real, whole) filter (where kind = 1)",
        "first(text)",
        "last(real)",
        "sum(real) / count()",
        "count() filter (where truth)",
    ];
    let named: Vec<(&str, &str)> = texts.iter().map(|text| (*text, *text)).collect();
    let values: Vec<Expr> = texts
        .iter()
        .map(|text| {
            let compiled = sql::compile_aggregate(text, &schema).expect(text);
            expression(&compiled.expression, &schema)
                .expect(text)
                .alias(*text)
        })
        .collect();
    for (by, bounds) in [
        (vec!["card"], WindowFrame::Span(6)),
        (vec!["card", "kind"], WindowFrame::Span(100)),
        (vec![], WindowFrame::Span(1)),
        (vec!["card"], WindowFrame::Rows(3)),
        (vec!["kind"], WindowFrame::Growing),
        (vec!["card"], WindowFrame::RowsBefore(3)),
        (vec!["card"], WindowFrame::SpanBefore(6)),
        (vec!["kind"], WindowFrame::GrowingBefore),
        (vec!["card"], WindowFrame::RowsFrom(4)),
    ] {
        let result = windowed(&frame, &by, "at", bounds.clone(), &named);
        for row in 0..height {
            let Some(time) = at[row] else {
                assert!(
                    result
                        .column("count()")
                        .expect("count")
                        .get(row)
                        .expect("a value")
                        .is_null()
                );
                continue;
            };
            let same = |other: usize| {
                by.iter().all(|key| match *key {
                    "card" => card[row] == card[other],
                    _ => kind[row] == kind[other],
                })
            };
            let mut members: Vec<(i64, usize)> = (0..height)
                .filter(|other| same(*other))
                .filter_map(|other| Some((at[other]?, other)))
                .collect();
            members.sort_unstable();
            let place = members
                .iter()
                .position(|member| *member == (time, row))
                .expect("itself");
            let members: Vec<IdxSize> = match bounds {
                WindowFrame::Span(span) => members
                    .iter()
                    .filter(|(other, _)| *other > time - span && *other <= time)
                    .map(|(_, row)| *row as IdxSize)
                    .collect(),
                WindowFrame::Rows(size) => members[(place + 1).saturating_sub(size)..=place]
                    .iter()
                    .map(|(_, row)| *row as IdxSize)
                    .collect(),
                WindowFrame::Growing => members[..=place]
                    .iter()
                    .map(|(_, row)| *row as IdxSize)
                    .collect(),
                WindowFrame::RowsBefore(size) => members[place.saturating_sub(size)..place]
                    .iter()
                    .map(|(_, row)| *row as IdxSize)
                    .collect(),
                WindowFrame::RowsFrom(size) => members[place..members.len().min(place + size)]
                    .iter()
                    .map(|(_, row)| *row as IdxSize)
                    .collect(),
                WindowFrame::SpanBefore(span) => members
                    .iter()
                    .filter(|(other, _)| *other >= time - span && *other < time)
                    .map(|(_, row)| *row as IdxSize)
                    .collect(),
                WindowFrame::GrowingBefore => members
                    .iter()
                    .filter(|(other, _)| *other < time)
                    .map(|(_, row)| *row as IdxSize)
                    .collect(),
            };
            let members = IdxCa::from_vec("".into(), members);
            let window = frame.take(&members).expect("rows");
            let expected = window
                .lazy()
                .select(values.clone())
                .collect()
                .expect("aggregates");
            for text in texts {
                let found = result.column(text).expect(text).get(row).expect("a value");
                let expected = expected.column(text).expect(text).get(0).expect("a value");
                match (&found, &expected) {
                    (AnyValue::Float64(found), AnyValue::Float64(expected)) => {
                        // 0 / 0 of an empty window.
                        if found.is_nan() && expected.is_nan() {
                            continue;
                        }
                        assert!(
                            (found - expected).abs() <= 1e-12 * expected.abs().max(1.0),
                            "{text} at {row}: {found} {expected}"
                        );
                    }
                    _ => assert_eq!(found, expected, "{text} at {row}, {bounds:?}"),
                }
            }
        }
    }
}

#[test]
fn only_what_is_needed_is_read() {
    let frame = df!("card" => ["a"], "at" => [1_i64], "amount" => [1.0], "unused" => [1.0])
        .expect("a frame");
    let schema = FrameSchema::from_polars(frame.schema());
    let count = sql::compile_aggregate("sum(amount)", &schema)
        .expect("sum")
        .expression;
    let operation = Operation::Window {
        by: vec!["card".into()],
        over: "at".into(),
        frame: WindowFrame::Span(1),
        aggregates: vec![("spent".into(), count)],
    };
    let query = apply(&[operation], &[frame.lazy()], &[schema])
        .expect("lowers")
        .select([column("spent")]);
    let plan = query.describe_optimized_plan().expect("a plan");
    assert!(
        plan.contains("PROJECT 3/4") || plan.contains("3/4 COLUMNS"),
        "{plan}"
    );
}
