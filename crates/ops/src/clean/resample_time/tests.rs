use polars::{
    df,
    prelude::{DataFrame, NamedFrom, Series},
};
use taktline_core::Partition;

use super::*;
use crate::{
    columns::testing::{codes, passes, schema, stage, types},
    testing::applied,
};

const HOUR: i64 = 3_600_000_000;

fn times(hours: &[i64], unit: TimeUnit) -> Series {
    let microseconds: Vec<i64> = hours.iter().map(|hour| hour * HOUR).collect();
    Series::new("".into(), microseconds)
        .cast(&DataType::Datetime(TimeUnit::Microseconds, None))
        .and_then(|times| times.cast(&DataType::Datetime(unit, None)))
        .expect("times")
}

fn days(days: &[i32]) -> Series {
    Series::new("".into(), days)
        .cast(&DataType::Date)
        .expect("days")
}

#[track_caller]
fn gives(params: &str, data: &DataFrame, expected: polars::prelude::PolarsResult<DataFrame>) {
    let found = applied(&stage::<ResampleTime>(params), std::slice::from_ref(data)).expect(params);
    let expected = expected.expect("a frame");
    assert!(
        found.equals_missing(&expected),
        "{params}\nfound {found}\nexpected {expected}"
    );
}

fn readings(unit: TimeUnit) -> DataFrame {
    // Out of order; group b begins later; one value is null in a slot with a row.
    df!(
        "sensor" => [Some("a"), Some("b"), Some("a"), Some("a"), None, Some("b")],
        "at" => times(&[5, 1, 1, 1, 2, 2], unit),
        "heat" => [Some(9.0), Some(0.5), Some(1.0), Some(3.0), Some(7.0), None],
    )
    .expect("a frame")
}

#[test]
fn one_row_for_each_slot_of_a_group() {
    for unit in [
        TimeUnit::Microseconds,
        TimeUnit::Milliseconds,
        TimeUnit::Nanoseconds,
    ] {
        let sensors = [
            Some("a"),
            Some("a"),
            Some("a"),
            Some("a"),
            Some("a"),
            Some("b"),
            Some("b"),
            None,
        ];
        let slots = times(&[1, 2, 3, 4, 5, 1, 2, 2], unit);
        gives(
            "{over: at, every: 1h, by: sensor, aggregate: {heat: avg(heat), n: count()}, fill_columns: {n: zero}, flag: made}",
            &readings(unit),
            df!(
                "sensor" => sensors,
                "at" => slots.clone(),
                "heat" => [Some(2.0), None, None, None, Some(9.0), Some(0.5), None, Some(7.0)],
                "n" => [2_i64, 0, 0, 0, 1, 1, 1, 1],
                "made" => [false, true, true, true, false, false, false, false],
            ),
        );
        gives(
            "{over: at, every: 1h, by: sensor, aggregate: {heat: avg(heat), n: count()}, fill: linear}",
            &readings(unit),
            df!(
                "sensor" => sensors,
                "at" => slots.clone(),
                "heat" => [Some(2.0), Some(3.75), Some(5.5), Some(7.25), Some(9.0), Some(0.5), None, Some(7.0)],
                "n" => [2.0, 1.75, 1.5, 1.25, 1.0, 1.0, 1.0, 1.0],
            ),
        );
        gives(
            "{over: at, every: 1h, by: sensor, aggregate: {heat: max(heat)}, fill: forward}",
            &readings(unit),
            df!(
                "sensor" => sensors,
                "at" => slots,
                "heat" => [Some(3.0), Some(3.0), Some(3.0), Some(3.0), Some(9.0), Some(0.5), None, Some(7.0)],
            ),
        );
    }
}

#[test]
fn gaps_are_filled_with_a_value() {
    let data = df!("at" => times(&[0, 49], TimeUnit::Microseconds), "kind" => ["x", "y"], "n" => [1_u8, 2])
        .expect("a frame");
    gives(
        "{over: at, every: 1d, aggregate: {kind: last(kind), n: max(n)}, fill: value, value: none, fill_columns: {n: zero}}",
        &data,
        df!("at" => times(&[0, 24, 48], TimeUnit::Microseconds), "kind" => ["x", "none", "y"], "n" => [1_u8, 0, 2]),
    );
}

#[test]
fn forward_passes_over_nulls() {
    let data =
        df!("day" => days(&[0, 1, 3]), "x" => [Some(1.0), None, Some(4.0)]).expect("a frame");
    gives(
        "{over: day, every: 1d, aggregate: {x: sum(x) / count(x)}, fill: 'null'}",
        &data.slice(0, 1),
        df!("day" => days(&[0]), "x" => [1.0]),
    );
    gives(
        "{over: day, every: 1d, aggregate: {x: max(x)}, fill: forward}",
        &data,
        df!("day" => days(&[0, 1, 2, 3]), "x" => [Some(1.0), None, Some(1.0), Some(4.0)]),
    );
    gives(
        "{over: day, every: 1d, aggregate: {x: max(x)}, fill: linear}",
        &data,
        df!("day" => days(&[0, 1, 2, 3]), "x" => [Some(1.0), None, Some(3.0), Some(4.0)]),
    );
}

#[test]
fn weeks_and_months_of_dates() {
    // Thursday 1970-01-01, Sunday 1970-01-04, Tuesday 1970-01-20.
    let data = df!("day" => days(&[0, 3, 19]), "x" => [1_i64, 2, 4]).expect("a frame");
    gives(
        "{over: day, every: 1w, aggregate: {x: sum(x)}, fill: zero}",
        &data,
        df!("day" => days(&[-3, 4, 11, 18]), "x" => [3_i64, 0, 0, 4]),
    );
    let data = df!("day" => days(&[-1, 59]), "x" => [1_i64, 2]).expect("a frame");
    gives(
        "{over: day, every: 1mo, aggregate: {x: sum(x)}}",
        &data,
        df!("day" => days(&[-31, 0, 31, 59]), "x" => [Some(1_i64), None, None, Some(2)]),
    );
}

#[test]
fn days_of_a_zone_have_23_or_25_hours() {
    // In UTC: 23:30 on 30 March 2024, 22:30 on 31 March and on 2 April; in Berlin 00:30 on the 31st, the 1st and the 3rd.
    let zone = zones::zone("Europe/Berlin");
    let base = 474_000;
    let at = |hours: &[f64]| {
        let microseconds: Vec<i64> = hours
            .iter()
            .map(|hour| base * HOUR + (hour * HOUR as f64) as i64)
            .collect();
        Series::new("".into(), microseconds)
            .cast(&DataType::Datetime(TimeUnit::Microseconds, zone.clone()))
            .expect("times")
    };
    // 474,000 hours after 1970 began 2024-01-28 at 00:00; 30 March is 62 days later.
    let day = |days: f64, hours: f64| days * 24.0 + hours;
    let data =
        df!("at" => at(&[day(62.0, 23.5), day(63.0, 22.5), day(65.0, 22.5)]), "x" => [1_i64, 2, 4])
            .expect("a frame");
    gives(
        "{over: at, every: 1d, aggregate: {x: sum(x)}, fill: zero}",
        &data,
        df!(
            "at" => at(&[day(62.0, 23.0), day(63.0, 22.0), day(64.0, 22.0), day(65.0, 22.0)]),
            "x" => [1_i64, 2, 0, 4],
        ),
    );
}

#[test]
fn no_rows_and_one_row() {
    let resample = "{over: at, every: 15m, by: sensor, aggregate: {n: count()}, flag: made}";
    let data = readings(TimeUnit::Microseconds);
    let empty = applied(&stage::<ResampleTime>(resample), &[data.slice(0, 0)]).expect("rows");
    assert_eq!((empty.height(), empty.width()), (0, 4));
    gives(
        resample,
        &data.slice(0, 1),
        df!("sensor" => ["a"], "at" => times(&[5], TimeUnit::Microseconds), "n" => [1_i64], "made" => [false]),
    );
}

#[test]
fn rows_without_a_slot_are_named() {
    let partly = Series::new("".into(), [Some(1), None])
        .cast(&DataType::Date)
        .expect("days");
    let data = df!("day" => partly, "x" => [1.0, 2.0]).expect("a frame");
    let resample: ResampleTime = stage("{over: day, every: 1d, aggregate: {n: count()}}");
    let error = applied(&resample, &[data]).expect_err("a null").to_string();
    assert!(error.contains("`day` is null in row 2"), "{error}");
    let far = df!("at" => times(&[0, 24 * 365 * 5_000], TimeUnit::Microseconds)).expect("a frame");
    let resample: ResampleTime = stage("{over: at, every: 1s, aggregate: {n: count()}}");
    let error = applied(&resample, &[far])
        .expect_err("too many")
        .to_string();
    assert!(
        error.contains("would make more than 100000000 rows"),
        "{error}"
    );
}

#[test]
fn tells_the_types_and_keeps_the_role_of_time() {
    let mut input = schema([
        ("at", DataType::Date),
        ("g", DataType::String),
        ("n", DataType::Int32),
    ]);
    input.columns[0].role = taktline_core::Role::Time;
    let output = passes(
        &stage::<ResampleTime>(
            "{every: 1mo, by: g, aggregate: {n: sum(n), m: max(n)}, fill_columns: {n: linear}, flag: made}",
        ),
        &input,
    );
    assert_eq!(
        types(&output),
        [
            ("g", DataType::String),
            ("at", DataType::Date),
            ("n", DataType::Float64),
            ("m", DataType::Int32),
            ("made", DataType::Boolean),
        ]
    );
    assert_eq!(output.columns[1].role, taktline_core::Role::Time);
}

#[test]
fn refuses_what_does_not_fit() {
    let mut input = schema([
        ("day", DataType::Date),
        ("step", DataType::Int64),
        ("g", DataType::String),
        ("n", DataType::Int64),
    ]);
    for (params, expected) in [
        (
            "{every: 1d, aggregate: {n: count()}}",
            vec!["no-time-column"],
        ),
        (
            "{over: step, every: 1d, aggregate: {n: count()}}",
            vec!["type-mismatch"],
        ),
        (
            "{over: day, every: 1h, aggregate: {n: count()}}",
            vec!["type-mismatch"],
        ),
        (
            "{over: day, every: 1d, by: [day, h], aggregate: {n: count()}}",
            vec!["unknown-column", "bad-value"],
        ),
        (
            "{over: day, every: 1d, by: g, aggregate: {g: count(), day: count()}}",
            vec!["name-taken", "name-taken"],
        ),
        (
            "{over: day, every: 1d, aggregate: {k: max(g)}, fill: linear}",
            vec!["type-mismatch"],
        ),
        (
            "{over: day, every: 1d, aggregate: {k: max(g)}, fill: value, value: 1}",
            vec!["type-mismatch"],
        ),
        (
            "{over: day, every: 1d, aggregate: {k: max(g)}, fill: value}",
            vec!["missing-param"],
        ),
        (
            "{over: day, every: 1d, aggregate: {k: max(g)}, value: 1}",
            vec!["unused-param"],
        ),
        (
            "{over: day, every: 1d, aggregate: {k: count()}, fill_columns: {j: zero}}",
            vec!["unknown-column"],
        ),
        (
            "{over: day, every: 1d, aggregate: {k: count()}, flag: k}",
            vec!["name-taken"],
        ),
    ] {
        assert_eq!(
            codes(&stage::<ResampleTime>(params), &input),
            expected,
            "{params}"
        );
    }
    input.facts.partitions = vec![Partition::Train, Partition::Test];
    assert_eq!(
        codes(
            &stage::<ResampleTime>("{over: day, every: 1d, aggregate: {k: count()}}"),
            &input
        ),
        ["already-split"]
    );
}
