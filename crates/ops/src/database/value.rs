//! A value between a database and a column.

use std::{borrow::Cow, fmt};

use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// A value as a database gave it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'r> {
    /// Nothing.
    Null,
    /// Truth.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that may be larger than an `i64`.
    UInt(u64),
    /// A real number.
    Float(f64),
    /// A decimal number, written out with all its digits.
    Decimal(Cow<'r, str>),
    /// Text.
    Text(Cow<'r, str>),
    /// Bytes.
    Bytes(Cow<'r, [u8]>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01 00:00; in UTC where it is an instant.
    Timestamp(i64),
    /// Microseconds.
    Duration(i64),
}

impl fmt::Display for Value<'_> {
    /// As error messages name it: `` the text `abc` ``.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("null"),
            Self::Bool(value) => write!(formatter, "`{value}`"),
            Self::Int(value) => write!(formatter, "the whole number `{value}`"),
            Self::UInt(value) => write!(formatter, "the whole number `{value}`"),
            Self::Float(value) => write!(formatter, "the number `{value}`"),
            Self::Decimal(value) => write!(formatter, "the number `{value}`"),
            Self::Text(value) => {
                let shown: String = value
                    .chars()
                    .take(40)
                    .flat_map(char::escape_debug)
                    .collect();
                let cut = if value.chars().nth(40).is_some() {
                    "…"
                } else {
                    ""
                };
                write!(formatter, "the text `{shown}{cut}`")
            }
            Self::Bytes(value) => write!(formatter, "{} bytes", value.len()),
            Self::Date(days) => write!(
                formatter,
                "the date `{}`",
                date_text(*days).unwrap_or_default()
            ),
            Self::Time(_) => formatter.write_str("a time of day"),
            Self::Timestamp(at) => {
                write!(
                    formatter,
                    "the datetime `{}`",
                    timestamp_text(*at).unwrap_or_default()
                )
            }
            Self::Duration(_) => formatter.write_str("a duration"),
        }
    }
}

/// Days from 1970-01-01.
pub(super) fn days(date: NaiveDate) -> i32 {
    // chrono's years fit: 365 × 262,143 days are fewer than 2³¹.
    date.signed_duration_since(NaiveDate::default()).num_days() as i32
}

/// `2024-01-31`; none outside the years 1 to 9999, which databases write in ways of their own.
pub(super) fn date_text(days: i32) -> Option<String> {
    let date = NaiveDate::default().checked_add_signed(chrono::TimeDelta::days(days.into()))?;
    in_common_years(date).then(|| date.format("%Y-%m-%d").to_string())
}

/// `2024-01-31 12:00:00.000000`; none outside the years 1 to 9999.
pub(super) fn timestamp_text(microseconds: i64) -> Option<String> {
    let at = DateTime::from_timestamp_micros(microseconds)?.naive_utc();
    in_common_years(at.date()).then(|| at.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

/// `12:00:00.000000`.
pub(super) fn time_text(microseconds: i64) -> Option<String> {
    let at = DateTime::from_timestamp_micros(microseconds)?.naive_utc();
    (at.date() == NaiveDate::default()).then(|| at.format("%H:%M:%S%.6f").to_string())
}

fn in_common_years(date: NaiveDate) -> bool {
    (1..=9999).contains(&chrono::Datelike::year(&date))
}

/// An ISO 8601 date.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(days)
}

/// An ISO 8601 datetime; one with an offset is taken to UTC, a date alone is its midnight.
pub(super) fn parse_timestamp(text: &str) -> Option<i64> {
    let text = text.trim_end();
    let naive = [
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M",
    ]
    .iter()
    .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let zoned = || {
        ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"]
            .iter()
            .find_map(|format| DateTime::parse_from_str(text, format).ok())
            .or_else(|| DateTime::parse_from_rfc3339(text).ok())
            .map(|at| at.naive_utc())
    };
    let midnight = || {
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()?
            .and_hms_opt(0, 0, 0)
    };
    naive
        .or_else(zoned)
        .or_else(midnight)
        .map(|at| at.and_utc().timestamp_micros())
}

/// An ISO 8601 time of day, in microseconds since midnight.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    let at = ["%H:%M:%S%.f", "%H:%M"]
        .iter()
        .find_map(|format| chrono::NaiveTime::parse_from_str(text, format).ok())?;
    at.signed_duration_since(chrono::NaiveTime::MIN)
        .num_microseconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(parse_date("1970-01-02"), Some(1));
        assert_eq!(parse_date("1969-12-31"), Some(-1));
        assert_eq!(parse_date("1970-13-02"), None);
        let noon = 43_200_000_000;
        for text in [
            "1970-01-01 12:00:00",
            "1970-01-01T12:00",
            "1970-01-01 12:00:00.000000",
            "1970-01-01T12:00:00Z",
            "1970-01-01 14:00:00+02:00",
            "1970-01-01 14:00:00+02",
        ] {
            assert_eq!(parse_timestamp(text), Some(noon), "{text}");
        }
        assert_eq!(parse_timestamp("1970-01-02"), Some(2 * noon));
        assert_eq!(parse_timestamp("noon"), None);
        assert_eq!(parse_time("12:00:00.5"), Some(noon + 500_000));
        assert_eq!(
            timestamp_text(noon + 1).as_deref(),
            Some("1970-01-01 12:00:00.000001")
        );
        assert_eq!(
            timestamp_text(-1).as_deref(),
            Some("1969-12-31 23:59:59.999999")
        );
        assert_eq!(time_text(noon).as_deref(), Some("12:00:00.000000"));
        assert_eq!(time_text(2 * noon), None);
        assert_eq!(date_text(i32::MAX), None);
        assert_eq!(timestamp_text(i64::MAX), None);
    }

    #[test]
    fn messages_name_values_in_one_line() {
        assert_eq!(Value::Text("a\nb".into()).to_string(), "the text `a\\nb`");
        assert_eq!(Value::Int(3).to_string(), "the whole number `3`");
        let long = "x".repeat(41);
        assert_eq!(
            Value::Text(long.into()).to_string(),
            format!("the text `{}…`", "x".repeat(40))
        );
    }
}
