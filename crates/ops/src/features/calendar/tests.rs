use polars::{
    df,
    prelude::{Column as PolarsColumn, DataFrame, IntoColumn, NamedFrom, Series, TimeUnit},
};
use taktline_core::Role;

use super::*;
use crate::{
    columns::testing::{codes, passes, refuses, schema, stage, types},
    testing::{applied, run},
};

fn datetime() -> DataType {
    DataType::Datetime(TimeUnit::Microseconds, None)
}

#[test]
fn parts_become_columns() {
    let mut input = schema([("at", datetime())]);
    input.columns[0].role = Role::Time;
    let output = passes(&stage::<Calendar>("{parts: [hour, is_weekend]}"), &input);
    assert_eq!(
        types(&output),
        [
            ("at", datetime()),
            ("at_hour", DataType::Int64),
            ("at_is_weekend", DataType::Boolean)
        ]
    );
    // The time itself is no feature, its parts are.
    assert_eq!(output.columns[1].role, Role::Feature);
}

#[test]
fn cyclic_parts_become_points_on_a_circle() {
    let input = schema([("at", datetime())]);
    let output = passes(
        &stage::<Calendar>("{column: at, parts: [hour, year], cyclic: true}"),
        &input,
    );
    let names: Vec<&str> = output.names().collect();
    assert_eq!(names, ["at", "at_hour_sin", "at_hour_cos", "at_year"]);
    assert_eq!(output.columns[1].dtype, DataType::Float64);
}

#[test]
fn refuses_what_the_column_does_not_have() {
    let input = schema([
        ("day", DataType::Date),
        ("day_month", DataType::Int64),
        ("kind", DataType::String),
    ]);
    assert_eq!(
        refuses(
            &stage::<Calendar>("{column: day, parts: [hour, month, year, year]}"),
            &input
        ),
        [
            (
                "type-mismatch",
                "stage `this` takes the hour of `day`, which is date".to_owned()
            ),
            (
                "name-taken",
                "stage `this` makes a column `day_month`, which its input already has".to_owned()
            ),
            (
                "duplicate-name",
                "stage `this` names the part `year` twice".to_owned()
            ),
        ]
    );
    assert_eq!(
        codes(&stage::<Calendar>("{column: kind, parts: [month]}"), &input),
        ["type-mismatch"]
    );
    assert_eq!(
        codes(&stage::<Calendar>("{column: dya, parts: [month]}"), &input),
        ["unknown-column"]
    );
    assert_eq!(
        codes(&stage::<Calendar>("{parts: [month]}"), &input),
        ["no-time-column"]
    );
    let steps = schema([("step", DataType::Int64)]);
    assert_eq!(
        codes(&stage::<Calendar>("{column: step, parts: [month]}"), &steps),
        ["type-mismatch"]
    );
}

fn instants(texts: &[Option<&str>]) -> PolarsColumn {
    let ticks: Vec<Option<i64>> = texts
        .iter()
        .map(|text| text.map(|text| taktline_core::sql::timestamp(text).expect(text)))
        .collect();
    Series::new("at".into(), ticks)
        .cast(&datetime())
        .expect("datetimes")
        .into_column()
}

fn part(params: &str, texts: &[Option<&str>], name: &str) -> Vec<Option<i64>> {
    let rows = DataFrame::new_infer_height(vec![instants(texts)]).expect("a frame");
    let found = applied(&stage::<Calendar>(params), &[rows]).expect(params);
    let found = found
        .column(name)
        .expect(name)
        .cast(&DataType::Int64)
        .expect("integers");
    found.i64().expect("integers").to_vec()
}

#[test]
fn parts_of_days_and_months() {
    let days = [
        Some("2024-02-28 10:30"),
        Some("2024-02-29 23:59:59"),
        Some("2024-03-01"),
        None,
        Some("1969-12-31"),
    ];
    let of = |name: &str| {
        part(
            &format!("{{column: at, parts: [{name}]}}"),
            &days,
            &format!("at_{name}"),
        )
    };
    assert_eq!(
        of("is_month_end"),
        [Some(0), Some(1), Some(0), None, Some(1)]
    );
    assert_eq!(
        of("is_month_start"),
        [Some(0), Some(0), Some(1), None, Some(0)]
    );
    assert_eq!(
        of("days_in_month"),
        [Some(29), Some(29), Some(31), None, Some(31)]
    );
    assert_eq!(
        of("day_of_year"),
        [Some(59), Some(60), Some(61), None, Some(365)]
    );
    // Wednesday, Thursday, Friday; the last was a Wednesday.
    assert_eq!(
        of("hour_of_week"),
        [Some(58), Some(95), Some(96), None, Some(48)]
    );
    assert_eq!(of("is_weekend"), [Some(0), Some(0), Some(0), None, Some(0)]);
    let friday = "{column: at, parts: [is_weekend], weekend: [friday]}";
    assert_eq!(
        part(friday, &days, "at_is_weekend"),
        [Some(0), Some(0), Some(1), None, Some(0)]
    );
}

#[test]
fn a_zone_has_its_own_clock_and_calendar() {
    // Around the night of 2024-03-31, when Berlin's clocks went from 2 to 3.
    let instants = [
        Some("2024-03-31 00:30"),
        Some("2024-03-31 01:30"),
        Some("2024-03-30 23:30"),
        None,
    ];
    let of = |name: &str| {
        let params = format!("{{column: at, parts: [{name}], zone: Europe/Berlin}}");
        part(&params, &instants, &format!("at_{name}"))
    };
    assert_eq!(of("hour"), [Some(1), Some(3), Some(0), None]);
    assert_eq!(of("day"), [Some(31), Some(31), Some(31), None]);
    assert_eq!(of("is_weekend"), [Some(1), Some(1), Some(1), None]);
    let zoned = DataType::Datetime(
        TimeUnit::Milliseconds,
        TimeZone::opt_try_new(Some("Asia/Shanghai")).expect("a zone"),
    );
    let rows = DataFrame::new_infer_height(vec![
        Series::new("at".into(), [0_i64])
            .cast(&zoned)
            .expect("a time")
            .into_column(),
    ])
    .expect("a frame");
    for (params, hour) in [
        ("{column: at, parts: [hour]}", 8_i64),
        ("{column: at, parts: [hour], zone: UTC}", 0),
        ("{column: at, parts: [hour], zone: America/New_York}", 19),
    ] {
        let found = applied(&stage::<Calendar>(params), std::slice::from_ref(&rows)).expect(params);
        assert_eq!(
            found
                .column("at_hour")
                .expect("hour")
                .i64()
                .expect("integers")
                .get(0),
            Some(hour),
            "{params}"
        );
    }
}

#[test]
fn holidays_are_listed() {
    let days = [
        Some("2024-12-25 08:00"),
        Some("2024-12-24 23:30"),
        Some("2024-12-28"),
        None,
    ];
    let params = "{column: at, parts: [is_holiday, is_workday], holidays: ['2024-12-25']}";
    assert_eq!(
        part(params, &days, "at_is_holiday"),
        [Some(1), Some(0), Some(0), None]
    );
    assert_eq!(
        part(params, &days, "at_is_workday"),
        [Some(0), Some(1), Some(0), None]
    );
    // In Berlin it was Christmas already.
    let params = "{column: at, parts: [is_holiday], holidays: ['2024-12-25'], zone: Europe/Berlin}";
    assert_eq!(
        part(params, &days, "at_is_holiday"),
        [Some(1), Some(1), Some(0), None]
    );
    let days = [Some("2024-12-24"), Some("2024-12-28")];
    let params = "{column: at, parts: [is_workday]}";
    assert_eq!(part(params, &days, "at_is_workday"), [Some(1), Some(0)]);
}

#[test]
fn holidays_are_read_from_a_second_input() {
    let sales = DataFrame::new_infer_height(vec![instants(&[
        Some("2024-12-25 08:00"),
        Some("2024-12-24"),
        None,
    ])])
    .expect("a frame");
    let dates = Series::new("day".into(), [Some(20_082_i32), Some(20_082), None])
        .cast(&DataType::Date)
        .expect("dates");
    let holidays = DataFrame::new_infer_height(vec![dates.into_column()]).expect("a frame");
    let calendar: Calendar =
        stage("{column: at, parts: [is_holiday, is_workday], holidays: {column: day}}");
    for (holidays, expected) in [
        (holidays.clone(), [Some(true), Some(false), None]),
        (holidays.slice(0, 0), [Some(false), Some(false), None]),
    ] {
        let found = applied(&calendar, &[sales.clone(), holidays]).expect("rows");
        let of = |name: &str| {
            found
                .column(name)
                .expect(name)
                .bool()
                .expect("truths")
                .iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(of("at_is_holiday"), expected);
        assert_eq!(
            of("at_is_workday"),
            expected.map(|holiday| holiday.map(|holiday| !holiday))
        );
        assert_eq!(
            found.get_column_names(),
            ["at", "at_is_holiday", "at_is_workday"]
        );
    }
    assert_eq!(
        applied(&calendar, &[sales.slice(0, 0), holidays])
            .expect("rows")
            .height(),
        0
    );
}

#[test]
fn holidays_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(
        folder.path().join("sales.csv"),
        "at,units\n2024-12-25,5\n2024-12-27,7\n",
    )
    .expect("a file");
    std::fs::write(
        folder.path().join("holidays.csv"),
        "day,name\n2024-12-25,Christmas\n",
    )
    .expect("a file");
    let yaml = "pipeline: sales\nstages:\n  - source.csv: {path: holidays.csv, schema: {day: date, name: text}}\n    id: holidays\n  - source.csv: {path: sales.csv, schema: {at: date, units: i64}}\n    id: sales\n  - features.calendar: {column: at, parts: [is_holiday], holidays: {column: day}}\n    from: [sales, holidays]\n";
    let rows = run(yaml, folder.path()).expect("rows");
    let expected = df!("at_is_holiday" => [true, false]).expect("a frame");
    assert!(
        rows.column("at_is_holiday")
            .expect("a column")
            .equals(expected.column("at_is_holiday").expect("a column"))
    );
}

#[test]
fn refuses_params_that_do_not_fit() {
    let input = schema([("at", datetime()), ("day", DataType::Date)]);
    for (params, expected) in [
        (
            "{column: at, parts: [hour], zone: Moon/Base}",
            vec!["unknown-zone"],
        ),
        (
            "{column: day, parts: [month], zone: UTC}",
            vec!["type-mismatch"],
        ),
        (
            "{column: day, parts: [hour_of_week]}",
            vec!["type-mismatch"],
        ),
        ("{column: at, parts: [is_holiday]}", vec!["missing-param"]),
        (
            "{column: at, parts: [month], holidays: ['2024-01-01']}",
            vec!["unused-param"],
        ),
        (
            "{column: at, parts: [is_holiday], holidays: ['2024-02-30']}",
            vec!["bad-date"],
        ),
        (
            "{column: at, parts: [is_holiday], holidays: {column: day}}",
            vec!["missing-input"],
        ),
        (
            "{column: at, parts: [is_weekend], weekend: [friday, friday]}",
            vec!["duplicate-name"],
        ),
    ] {
        assert_eq!(
            codes(&stage::<Calendar>(params), &input),
            expected,
            "{params}"
        );
    }
}
