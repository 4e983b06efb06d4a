//! Every type, there and back.

use polars::prelude::{DataFrame, DataType, TimeUnit, TimeZone};

use super::{
    read, reading_spec, row, run,
    servers::{mariadb, postgres},
};
use crate::harness::Project;

const UTC: fn() -> DataType = || DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC));
const NAIVE: DataType = DataType::Datetime(TimeUnit::Microseconds, None);

#[test]
fn every_type_of_postgres() {
    let database = postgres();
    database.sql(
        "create type mood as enum ('glad', 'sad');
         create domain percent as smallint check (value between 0 and 100);
         create table all_types (
            truth boolean, small smallint, whole integer, big bigint, part percent, single real, twice double precision,
            exact numeric(30, 10), anything numeric, words text, few varchar(9), padded char(3), feeling mood,
            document json, tree jsonb, id uuid, raw bytea, day date, hour time, naive timestamp, instant timestamptz);
         set timezone = 'America/New_York';
         insert into all_types values (
            true, -32768, 2147483647, 9223372036854775807, 99, 0.1, 1e300, 12345678901234567890.0123456789, 'NaN',
            E'tab\\tZoë 東京 🦀', '', 'a', 'sad', '{\"a\": [1, null]}', '{\"b\": \"ü\"}',
            '00010203-0405-0607-0809-0a0b0c0d0e0f', '\\x00ff', '0044-03-15 BC', '23:59:59.999999',
            '2024-03-31 02:30:00', '2024-11-03 01:30:00-04');
         insert into all_types (instant) values ('2024-11-03 01:30:00-05');",
    );
    let data = read(&database, "table: all_types");
    let types: Vec<DataType> = data.dtypes();
    use DataType::{Binary, Boolean, Date, Float32, Float64, Int16, Int32, Int64, String, Time};
    assert_eq!(
        types,
        [
            Boolean,
            Int16,
            Int32,
            Int64,
            Int16,
            Float32,
            Float64,
            Float64,
            Float64,
            String,
            String,
            String,
            String,
            String,
            String,
            String,
            Binary,
            Date,
            Time,
            NAIVE,
            UTC()
        ]
    );
    let first = row(&data, 0);
    assert_eq!(
        first[..7],
        [
            "true",
            "-32768",
            "2147483647",
            "9223372036854775807",
            "99",
            "0.1",
            "1e300"
        ]
    );
    assert_eq!(
        data.column("exact")
            .expect("there")
            .f64()
            .expect("f64")
            .get(0),
        Some(12345678901234567890.0123456789)
    );
    assert_eq!(
        first[8..17],
        [
            "NaN",
            "tab\tZoë 東京 🦀",
            "",
            "a  ",
            "sad",
            "{\"a\": [1, null]}",
            "{\"b\": \"ü\"}",
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "b\"\\x00\\xff\""
        ]
    );
    assert_eq!(
        first[17..],
        [
            "-0043-03-15",
            "23:59:59.999999",
            "2024-03-31 02:30:00",
            "2024-11-03 05:30:00 UTC"
        ]
    );
    let second = row(&data, 1);
    assert!(
        second[..20].iter().all(|value| value == "null"),
        "{second:?}"
    );
    assert_eq!(
        second[20], "2024-11-03 06:30:00 UTC",
        "the hour that comes twice"
    );
    let exact = read(
        &database,
        "query: 'select exact, big from all_types limit 1', schema: {exact: text, big: text}",
    );
    assert_eq!(
        row(&exact, 0),
        ["12345678901234567890.0123456789", "9223372036854775807"]
    );
}

#[test]
fn every_type_of_mariadb() {
    let database = mariadb();
    database.sql(
        "create table all_types (
            truth boolean, tiny tinyint, byte_ tinyint unsigned, small smallint unsigned, middle mediumint, whole int unsigned,
            big bigint, huge bigint unsigned, exact decimal(30, 10), single float, twice double, flags bit(10),
            words text character set utf8mb4, binary_words varchar(20) collate utf8mb4_bin, old varchar(9) character set latin1,
            feeling enum('glad', 'sad'), document json, raw varbinary(9), day date, span time(6), naive datetime(6),
            instant timestamp(6) null, year_ year)",
    );
    database.sql(
        "set time_zone = '-04:00';
         insert into all_types values (
            true, -128, 255, 65535, -8388608, 4294967295, -9223372036854775808, 18446744073709551615,
            12345678901234567890.0123456789, 0.1, 1e300, b'1000000001', 'tab\\tZoë 東京 🦀', 'Ä', 'é', 'sad', '{\"a\": 1}',
            x'00ff', '2024-02-29', '-25:00:00.5', '2024-03-31 02:30:00.25', '2024-11-03 01:30:00', 2024);
         insert into all_types (byte_) values (0);",
    );
    let data = read(&database, "table: all_types");
    use DataType::*;
    assert_eq!(
        data.dtypes(),
        [
            Boolean,
            Int8,
            UInt8,
            UInt16,
            Int32,
            UInt32,
            Int64,
            UInt64,
            Float64,
            Float32,
            Float64,
            UInt64,
            String,
            String,
            String,
            String,
            String,
            Binary,
            Date,
            Duration(TimeUnit::Microseconds),
            NAIVE,
            UTC(),
            UInt16
        ]
    );
    let first = row(&data, 0);
    assert_eq!(
        first[..8],
        [
            "true",
            "-128",
            "255",
            "65535",
            "-8388608",
            "4294967295",
            "-9223372036854775808",
            "18446744073709551615"
        ]
    );
    assert_eq!(
        first[9..18],
        [
            "0.1",
            "1e300",
            "513",
            "tab\tZoë 東京 🦀",
            "Ä",
            "é",
            "sad",
            "{\"a\": 1}",
            "b\"\\x00\\xff\""
        ]
    );
    assert_eq!(
        first[18..],
        [
            "2024-02-29",
            "-1d -1h -500ms",
            "2024-03-31 02:30:00.250",
            "2024-11-03 05:30:00 UTC",
            "2024"
        ]
    );
    let second = row(&data, 1);
    assert!(
        second
            .iter()
            .enumerate()
            .all(|(index, value)| (value == "null") != (index == 2)),
        "{second:?}"
    );
    database.sql("set sql_mode = ''; insert into all_types (byte_, day) values (1, '0000-00-00')");
    let project = Project::with(&reading_spec("table: all_types"));
    let outcome = run(&project, &database).ended_with(1);
    assert!(
        outcome
            .stderr
            .contains("row 3: `day` holds the date `0000-00-00`, which is no day"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn rows_go_there_and_come_back() {
    for database in [postgres(), mariadb()] {
        database.sql("create table wide (id int, words varchar(90), amount double precision, day date, at timestamp null)");
        database.sql("insert into wide values (1, 'tab\tback\\\\slash Zoë 東京 🦀', -0.1, '2024-02-29', '2024-03-31 02:30:00'), (2, '', 1e300, '1970-01-01', '1999-12-31 23:59:59'), (3, null, null, null, null)");
        let project = Project::with(
            "pipeline: there\nstages:\n  - source.sql: {url: \"${secret:DB}\", query: select * from wide order by id}\n  - sink.sql: {url: \"${secret:DB}\", table: copied}\n",
        );
        run(&project, &database).succeeded();
        let (before, after) = (
            read(&database, "query: select * from wide order by id"),
            read(&database, "query: select * from copied order by id"),
        );
        let values = |data: &DataFrame| (0..3).map(|index| row(data, index)).collect::<Vec<_>>();
        let plain: Vec<Vec<String>> = values(&before)
            .into_iter()
            .map(|row| {
                row.into_iter()
                    .map(|value| value.replace(" UTC", ""))
                    .collect()
            })
            .collect();
        assert_eq!(plain, values(&after));
    }
}

#[test]
fn a_value_without_an_equal_is_told_by_row_and_column() {
    let database = postgres();
    let project = Project::with(&reading_spec(
        "query: \"select 1 as id, timestamp '2024-01-01' as at union all select 2, 'infinity'\"",
    ));
    let outcome = run(&project, &database).ended_with(1);
    assert!(
        outcome
            .stderr
            .contains("row 2: `at` holds the timestamp `infinity`"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("pipeline.yaml:3:"),
        "it is located: {}",
        outcome.stderr
    );
}
