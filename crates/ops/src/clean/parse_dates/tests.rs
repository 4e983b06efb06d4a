use polars::{df, prelude::DataFrame};

use super::*;
use crate::{
    columns::testing::{codes, passes, schema, stage, types},
    testing::applied,
};

fn texts(values: &[Option<&str>]) -> DataFrame {
    df!("at" => values).expect("a frame")
}

/// The column as text, as polars shows it.
fn parsed(params: &str, data: &DataFrame) -> Result<Vec<Option<String>>> {
    let found = applied(&stage::<ParseDates>(params), std::slice::from_ref(data))?;
    let column = found.column("at").expect("the column");
    let shown = match column.dtype() {
        DataType::Date => column.cast(&DataType::String)?,
        _ => column
            .as_materialized_series()
            .datetime()?
            .to_string("%Y-%m-%d %H:%M:%S%.f%z")
            .or_else(|_| {
                column
                    .as_materialized_series()
                    .datetime()?
                    .to_string("%Y-%m-%d %H:%M:%S%.f")
            })?
            .into_column(),
    };
    Ok(shown
        .str()?
        .iter()
        .map(|text| text.map(str::to_owned))
        .collect())
}

#[track_caller]
fn gives(params: &str, values: &[Option<&str>], expected: &[Option<&str>]) {
    let found = parsed(params, &texts(values)).expect(params);
    let found: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
    assert_eq!(found, expected, "{params}");
}

#[track_caller]
fn fails(params: &str, values: &[Option<&str>]) -> String {
    parsed(params, &texts(values))
        .expect_err(params)
        .to_string()
}

#[test]
fn reads_iso_forms_and_brings_offsets_to_utc() {
    gives(
        "{columns: at}",
        &[
            Some("2024-02-29"),
            None,
            Some(" 2024-02-29T12:30 "),
            Some("2024-02-29 12:30:15.25"),
            Some("2024-02-29T12:30:15Z"),
            Some("2024-02-29T12:30:15+05:30"),
            Some("2024-02-29 00:30-0100"),
        ],
        &[
            Some("2024-02-29 00:00:00"),
            None,
            Some("2024-02-29 12:30:00"),
            Some("2024-02-29 12:30:15.250"),
            Some("2024-02-29 12:30:15"),
            Some("2024-02-29 07:00:15"),
            Some("2024-02-29 01:30:00"),
        ],
    );
    gives(
        "{columns: at, to: date}",
        &[Some("2024-02-29 23:59"), None],
        &[Some("2024-02-29"), None],
    );
    gives("{columns: at}", &[], &[]);
    gives("{columns: at}", &[None, None], &[None, None]);
}

#[test]
fn the_first_format_that_fits_counts() {
    gives(
        "{columns: at, to: date, formats: ['%d/%m/%Y', '%m/%d/%Y', '%d %B %Y']}",
        &[Some("03/04/2024"), Some("12/31/2024"), Some("1 May 2024")],
        &[Some("2024-04-03"), Some("2024-12-31"), Some("2024-05-01")],
    );
    gives(
        "{columns: at, formats: ['%Y%m%d %H', '%s']}",
        &[Some("20240131 15"), Some("86399")],
        &[Some("2024-01-31 15:00:00"), Some("1970-01-01 23:59:59")],
    );
}

#[test]
fn a_value_that_does_not_fit_is_named_with_its_row() {
    let values = [Some("2024-01-31"), None, Some("2024-02-30")];
    assert!(fails("{columns: at}", &values).contains(
        "`at` holds `2024-02-30` in row 3, which does not read as a date or time of ISO 8601"
    ));
    assert!(
        fails("{columns: at, formats: '%d.%m.%Y'}", &values)
            .contains("`at` holds `2024-01-31` in row 1, which does not read as `%d.%m.%Y`")
    );
    gives(
        "{columns: at, to: date, on_error: 'null'}",
        &values,
        &[Some("2024-01-31"), None, None],
    );
    assert!(fails("{columns: at}", &[Some("")]).contains("in row 1"));
}

#[test]
fn local_times_of_a_zone() {
    gives(
        "{columns: at, zone: Europe/Berlin}",
        &[
            Some("2024-07-01 12:00"),
            Some("2024-01-01 12:00"),
            Some("2024-01-01T12:00:00Z"),
        ],
        &[
            Some("2024-07-01 12:00:00+0200"),
            Some("2024-01-01 12:00:00+0100"),
            Some("2024-01-01 13:00:00+0100"),
        ],
    );
    gives(
        "{columns: at, zone: Europe/Berlin, to_zone: Asia/Shanghai}",
        &[Some("2024-07-01 12:00")],
        &[Some("2024-07-01 18:00:00+0800")],
    );
    gives(
        "{columns: at, zone: Europe/Berlin, to_zone: Asia/Shanghai, to: date}",
        &[Some("2024-07-01 23:00")],
        &[Some("2024-07-02")],
    );
}

#[test]
fn days_on_which_clocks_are_set() {
    let twice = [Some("2024-10-27 02:30"), Some("2024-10-27 03:00")];
    let skipped = [Some("2024-03-31 02:30"), Some("2024-03-31 03:00")];
    let berlin = |rules: &str| format!("{{columns: at, zone: Europe/Berlin{rules}}}");
    let error = fails(&berlin(""), &twice);
    assert!(
        error.contains("`at` holds `2024-10-27 02:30` in row 1, which came twice in Europe/Berlin"),
        "{error}"
    );
    let error = fails(&berlin(""), &skipped);
    assert!(
        error.contains("in row 1, which never came in Europe/Berlin"),
        "{error}"
    );
    let after = Some("2024-10-27 03:00:00+0100");
    for (rule, expected) in [
        ("earliest", Some("2024-10-27 02:30:00+0200")),
        ("latest", Some("2024-10-27 02:30:00+0100")),
        ("'null'", None),
    ] {
        gives(
            &berlin(&format!(", ambiguous: {rule}")),
            &twice,
            &[expected, after],
        );
    }
    let after = Some("2024-03-31 03:00:00+0200");
    gives(&berlin(", nonexistent: forward"), &skipped, &[after, after]);
    gives(&berlin(", nonexistent: 'null'"), &skipped, &[None, after]);
    gives(&berlin(", on_error: 'null'"), &skipped, &[None, after]);
}

#[test]
fn counts_since_1970() {
    let data = df!("at" => [Some(1_700_000_000_i64), None, Some(-1)]).expect("a frame");
    let found = |params: &str| parsed(params, &data).expect(params);
    assert_eq!(
        found("{columns: at, unit: s}"),
        [
            Some("2023-11-14 22:13:20".to_owned()),
            None,
            Some("1969-12-31 23:59:59".to_owned())
        ]
    );
    assert_eq!(
        found("{columns: at, unit: ms, to: date}"),
        [
            Some("1970-01-20".to_owned()),
            None,
            Some("1969-12-31".to_owned())
        ]
    );
    assert_eq!(
        found("{columns: at, unit: s, to_zone: Asia/Kolkata}")[0].as_deref(),
        Some("2023-11-15 03:43:20+0530")
    );
    let far = df!("at" => [i64::MAX]).expect("a frame");
    let error = parsed("{columns: at, unit: s}", &far)
        .expect_err("too far")
        .to_string();
    assert!(
        error.contains("`at` holds 9223372036854775807 in row 1"),
        "{error}"
    );
}

#[test]
fn an_offset_is_needed_where_only_the_result_has_a_zone() {
    gives(
        "{columns: at, to_zone: Asia/Kolkata}",
        &[Some("2024-01-01T00:00:00Z")],
        &[Some("2024-01-01 05:30:00+0530")],
    );
    let error = fails(
        "{columns: at, to_zone: Asia/Kolkata}",
        &[Some("2024-01-01")],
    );
    assert!(
        error.contains("has no offset from UTC; `zone` says where it is local time"),
        "{error}"
    );
}

#[test]
fn what_its_source_has_read_already_gets_a_zone() {
    let data = df!("at" => [Some(1_711_852_200_000_i64), None, Some(0)]).expect("a frame");
    let read = |dtype: DataType| {
        let at = data
            .column("at")
            .expect("times")
            .cast(&dtype)
            .expect("times");
        df!("at" => at.as_materialized_series().clone()).expect("a frame")
    };
    // 02:30 on the day on which clocks went from two to three.
    let times = read(DataType::Datetime(TimeUnit::Milliseconds, None));
    assert_eq!(
        parsed(
            "{columns: at, zone: Europe/Berlin, nonexistent: forward}",
            &times
        )
        .expect("rows"),
        [
            Some("2024-03-31 03:00:00+0200".to_owned()),
            None,
            Some("1970-01-01 00:00:00+0100".to_owned())
        ]
    );
    let error = parsed("{columns: at, zone: Europe/Berlin}", &times).expect_err("skipped");
    assert!(
        error
            .to_string()
            .contains("`at` holds `2024-03-31 02:30:00` in row 1, which never came"),
        "{error}"
    );
    let days = read(DataType::Datetime(TimeUnit::Milliseconds, None))
        .column("at")
        .expect("times")
        .cast(&DataType::Date)
        .expect("days");
    let days = df!("at" => days.as_materialized_series().clone()).expect("a frame");
    assert_eq!(
        parsed("{columns: at, zone: Asia/Kolkata}", &days).expect("rows")[0].as_deref(),
        Some("2024-03-31 00:00:00+0530")
    );
}

#[test]
fn keeps_roles_and_tells_the_types() {
    let mut input = schema([("at", DataType::String), ("n", DataType::Int64)]);
    input.columns[0].role = taktline_core::Role::Time;
    let output = passes(
        &stage::<ParseDates>("{columns: at, zone: Asia/Shanghai}"),
        &input,
    );
    let zone = zones::zone("Asia/Shanghai");
    assert_eq!(
        types(&output)[0],
        ("at", DataType::Datetime(TimeUnit::Microseconds, zone))
    );
    assert_eq!(output.columns[0].role, taktline_core::Role::Time);
}

#[test]
fn refuses_what_cannot_be_read() {
    let input = schema([
        ("at", DataType::String),
        ("n", DataType::Int64),
        ("x", DataType::Float64),
        ("day", DataType::Date),
    ]);
    for (params, expected) in [
        (
            "{columns: [at, n, x]}",
            vec!["missing-param", "type-mismatch"],
        ),
        ("{columns: [at, n], unit: s}", vec!["type-mismatch"]),
        (
            "{columns: at, formats: ['%Y-%m', '%H:%M', '%Q', '%Y-%m-%d %Z']}",
            vec!["bad-format"; 4],
        ),
        (
            "{columns: at, zone: Europe/Berlim, to_zone: X}",
            vec!["unknown-zone", "unknown-zone"],
        ),
        (
            "{columns: n, unit: s, formats: '%Y', zone: UTC}",
            vec!["bad-format", "unused-param", "unused-param"],
        ),
        (
            "{columns: at, ambiguous: latest, nonexistent: forward}",
            vec!["unused-param", "unused-param"],
        ),
        ("{columns: att}", vec!["unknown-column"]),
        ("{columns: day, formats: '%d.%m.%Y'}", vec!["type-mismatch"]),
        ("{columns: day, unit: s}", vec!["type-mismatch"]),
    ] {
        assert_eq!(
            codes(&stage::<ParseDates>(params), &input),
            expected,
            "{params}"
        );
    }
}
