//! Regular points in time: every 15 minutes, every day, every month of a calendar.

use std::{borrow::Cow, fmt};

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeZone, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::zones::{self, Ambiguous, Nonexistent};
use crate::features::Span;

const DAY: i64 = 24 * 3_600_000_000;

/// The distance of the points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) enum Every {
    /// So many microseconds, less than a day.
    Clock(i64),
    /// So many days.
    Days(u32),
    /// So many weeks, from Monday on.
    Weeks(u32),
    /// So many months.
    Months(u32),
}

impl TryFrom<String> for Every {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let unfit =
            || format!("`{text}` is no distance in time; write `15m`, `1h`, `1d`, `1mo` or `1y`");
        let months = |count: &str, months: u32| {
            let count: u32 = count.parse().map_err(|_| unfit())?;
            match count.checked_mul(months) {
                Some(months) if (1..=12_000).contains(&months) => Ok(Self::Months(months)),
                _ => Err(unfit()),
            }
        };
        if let Some(count) = text.strip_suffix("mo") {
            return months(count, 1);
        }
        if let Some(count) = text.strip_suffix('y') {
            return months(count, 12);
        }
        let length = Span::try_from(text.clone())
            .map_err(|_| unfit())?
            .microseconds();
        if length % DAY != 0 {
            return if DAY % length == 0 {
                Ok(Self::Clock(length))
            } else {
                Err(format!(
                    "`{text}` does not divide the day: each day starts anew; write `6h` or whole days"
                ))
            };
        }
        let days = u32::try_from(length / DAY)
            .ok()
            .filter(|days| *days <= 365_000)
            .ok_or_else(unfit)?;
        Ok(if days % 7 == 0 {
            Self::Weeks(days / 7)
        } else {
            Self::Days(days)
        })
    }
}

impl From<Every> for String {
    fn from(every: Every) -> Self {
        every.to_string()
    }
}

impl fmt::Display for Every {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock(length) if length % 3_600_000_000 == 0 => {
                write!(formatter, "{}h", length / 3_600_000_000)
            }
            Self::Clock(length) if length % 60_000_000 == 0 => {
                write!(formatter, "{}m", length / 60_000_000)
            }
            Self::Clock(length) if length % 1_000_000 == 0 => {
                write!(formatter, "{}s", length / 1_000_000)
            }
            Self::Clock(length) => write!(formatter, "{}ms", length / 1_000),
            Self::Days(days) => write!(formatter, "{days}d"),
            Self::Weeks(weeks) => write!(formatter, "{weeks}w"),
            Self::Months(months) => write!(formatter, "{months}mo"),
        }
    }
}

impl JsonSchema for Every {
    fn schema_name() -> Cow<'static, str> {
        "Every".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A distance in time: a whole number and `ms`, `s`, `m`, `h`, `d`, `w`, `mo` or `y`.",
            "pattern": r"^0*[1-9][0-9]*(ms|s|m|h|d|w|mo|y)$",
        })
    }
}

/// The points at such a distance on the calendar of a zone. All in microseconds since 1970-01-01 00:00 UTC.
pub(super) struct Grid<Z> {
    pub(super) every: Every,
    pub(super) zone: Z,
}

impl<Z: TimeZone> Grid<Z> {
    /// The last point at or before; none beyond the calendar.
    pub(super) fn floor(&self, at: i64) -> Option<i64> {
        let day = self.day(at)?;
        match self.every {
            Every::Clock(length) => {
                let midnight = self.midnight(day)?;
                Some(midnight + (at - midnight).div_euclid(length) * length)
            }
            Every::Days(days) => self.since(NaiveDate::default(), day, days.into()),
            Every::Weeks(weeks) => self.since(
                NaiveDate::from_ymd_opt(1970, 1, 5)?,
                day,
                7 * i64::from(weeks),
            ),
            Every::Months(months) => {
                let months = i64::from(months);
                let first = month_number(day).div_euclid(months) * months;
                let year = i32::try_from(first.div_euclid(12)).ok()?;
                let month = u32::try_from(first.rem_euclid(12)).ok()? + 1;
                self.midnight(NaiveDate::from_ymd_opt(year, month, 1)?)
            }
        }
    }

    /// The point after this one; none beyond the calendar.
    pub(super) fn next(&self, point: i64) -> Option<i64> {
        let day = self.day(point)?;
        match self.every {
            Every::Clock(length) => {
                let next = point.checked_add(length)?;
                // On a day on which clocks are set the last step may be a shorter one.
                let tomorrow = self.midnight(day.succ_opt()?)?;
                Some(next.min(tomorrow))
            }
            Every::Days(days) => {
                self.later(day, |day| day.checked_add_days(Days::new(days.into())))
            }
            Every::Weeks(weeks) => self.later(day, |day| {
                day.checked_add_days(Days::new(7 * u64::from(weeks)))
            }),
            Every::Months(months) => {
                self.later(day, |day| day.checked_add_months(Months::new(months)))
            }
        }
    }

    fn later(&self, day: NaiveDate, step: impl Fn(NaiveDate) -> Option<NaiveDate>) -> Option<i64> {
        self.midnight(step(day)?)
    }

    fn since(&self, start: NaiveDate, day: NaiveDate, length: i64) -> Option<i64> {
        let past = (day - start).num_days().rem_euclid(length);
        self.midnight(day.checked_sub_days(Days::new(past.unsigned_abs()))?)
    }

    /// The day of the zone's calendar.
    fn day(&self, at: i64) -> Option<NaiveDate> {
        let at: DateTime<Utc> = DateTime::from_timestamp_micros(at)?;
        Some(at.with_timezone(&self.zone).date_naive())
    }

    /// When the day begins; where clocks are set at midnight, with the first moment of the day.
    fn midnight(&self, day: NaiveDate) -> Option<i64> {
        let local = day.and_time(NaiveTime::MIN);
        let start = zones::instant(&self.zone, local, Ambiguous::Earliest, Nonexistent::Forward);
        Some(start.ok()??.timestamp_micros())
    }
}

fn month_number(day: NaiveDate) -> i64 {
    i64::from(day.year()) * 12 + i64::from(day.month0())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(text: &str) -> Every {
        Every::try_from(text.to_owned()).expect(text)
    }

    fn micros(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text)
            .expect(text)
            .timestamp_micros()
    }

    fn shown(at: i64) -> String {
        DateTime::from_timestamp_micros(at)
            .expect("a time")
            .format("%Y-%m-%dT%H:%MZ")
            .to_string()
    }

    /// The points from the one before `from` to `to`.
    fn points(distance: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
        let grid = Grid {
            every: every(distance),
            zone: zones::zone(zone)
                .expect("a zone")
                .to_chrono()
                .expect("its rules"),
        };
        let mut at = grid.floor(micros(from)).expect("a point");
        let mut found = Vec::new();
        while at <= micros(to) {
            assert_eq!(grid.floor(at), Some(at), "a point is its own");
            found.push(shown(at));
            at = grid.next(at).expect("a point");
        }
        found
    }

    #[test]
    fn distances_are_read_and_written() {
        for (text, expected) in [
            ("15m", Every::Clock(900_000_000)),
            ("24h", Every::Days(1)),
            ("1d", Every::Days(1)),
            ("14d", Every::Weeks(2)),
            ("1w", Every::Weeks(1)),
            ("1mo", Every::Months(1)),
            ("2y", Every::Months(24)),
        ] {
            assert_eq!(every(text), expected);
            assert_eq!(every(&expected.to_string()), expected);
        }
        for wrong in [
            "",
            "1",
            "0d",
            "7h",
            "36h",
            "mo",
            "0mo",
            "-1d",
            "1 d",
            "99999999y",
        ] {
            assert!(Every::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn points_on_the_calendar() {
        assert_eq!(
            points("6h", "UTC", "2024-02-29T23:59:00Z", "2024-03-01T06:00:00Z"),
            [
                "2024-02-29T18:00Z",
                "2024-03-01T00:00Z",
                "2024-03-01T06:00Z"
            ]
        );
        assert_eq!(
            points("1w", "UTC", "1969-12-31T12:00:00Z", "1970-01-06T00:00:00Z"),
            ["1969-12-29T00:00Z", "1970-01-05T00:00Z"]
        );
        assert_eq!(
            points("3mo", "UTC", "2023-12-31T12:00:00Z", "2024-04-02T00:00:00Z"),
            [
                "2023-10-01T00:00Z",
                "2024-01-01T00:00Z",
                "2024-04-01T00:00Z"
            ]
        );
    }

    #[test]
    fn days_on_which_clocks_are_set() {
        // 23 hours, then 24.
        assert_eq!(
            points(
                "1d",
                "Europe/Berlin",
                "2024-03-31T12:00:00Z",
                "2024-04-01T23:00:00Z"
            ),
            [
                "2024-03-30T23:00Z",
                "2024-03-31T22:00Z",
                "2024-04-01T22:00Z"
            ]
        );
        // Steps are of real time and begin anew each day: the last of a day with 25 hours has one.
        assert_eq!(
            points(
                "12h",
                "Europe/Berlin",
                "2024-10-27T00:00:00Z",
                "2024-10-28T00:00:00Z"
            ),
            [
                "2024-10-26T22:00Z",
                "2024-10-27T10:00Z",
                "2024-10-27T22:00Z",
                "2024-10-27T23:00Z"
            ]
        );
        assert_eq!(
            points(
                "1h",
                "Asia/Kolkata",
                "2024-01-01T00:00:00Z",
                "2024-01-01T01:00:00Z"
            ),
            ["2023-12-31T23:30Z", "2024-01-01T00:30Z"]
        );
        // Clocks went from midnight to one; the day began at one.
        assert_eq!(
            points(
                "1d",
                "America/Sao_Paulo",
                "2018-11-04T12:00:00Z",
                "2018-11-05T02:00:00Z"
            ),
            ["2018-11-04T03:00Z", "2018-11-05T02:00Z"]
        );
        // Samoa had no 30 December 2011.
        assert_eq!(
            points(
                "1d",
                "Pacific/Apia",
                "2011-12-29T12:00:00Z",
                "2011-12-31T10:00:00Z"
            ),
            [
                "2011-12-29T10:00Z",
                "2011-12-30T10:00Z",
                "2011-12-31T10:00Z"
            ]
        );
    }
}
