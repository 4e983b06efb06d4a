//! Local times of a time zone, and the points in time that they mean.

use chrono::{DateTime, Duration, MappedLocalTime, NaiveDateTime, TimeZone, Utc};
use polars::prelude::TimeZone as ZoneName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{CheckContext, ParamPath, Problem};

/// What a local time means that comes twice: clocks were set back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ambiguous {
    /// The run fails, and says which value it was.
    #[default]
    Error,
    /// The first time that clocks showed it.
    Earliest,
    /// The last time that clocks showed it.
    Latest,
    /// Nothing is known: null.
    Null,
}

/// What a local time means that never came: clocks were set forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Nonexistent {
    /// The run fails, and says which value it was.
    #[default]
    Error,
    /// The moment at which clocks were set forward.
    Forward,
    /// Nothing is known: null.
    Null,
}

/// Why a local time is no point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clash {
    /// It came twice.
    Ambiguous,
    /// It never came.
    Nonexistent,
}

/// The zone of that name; an unknown one is reported.
pub(super) fn named(name: &str, path: ParamPath, cx: &mut CheckContext<'_>) -> Option<ZoneName> {
    let zone = zone(name);
    if zone.is_none() {
        let message = format!("stage `{}` does not know the time zone `{name}`", cx.stage);
        cx.report(
            Problem::error("unknown-zone", path, message)
                .label("no such zone")
                .help("use a name of the IANA database: `Europe/Berlin`, `Asia/Shanghai`, `UTC`"),
        );
    }
    zone
}

/// The zone of that name, if there is one.
pub(super) fn zone(name: &str) -> Option<ZoneName> {
    ZoneName::opt_try_new(Some(name))
        .ok()
        .flatten()
        .filter(|zone| zone.to_chrono().is_ok())
}

/// The point in time of a local time of the zone; none where the rules say so.
pub(super) fn instant(
    zone: &impl TimeZone,
    local: NaiveDateTime,
    ambiguous: Ambiguous,
    nonexistent: Nonexistent,
) -> Result<Option<DateTime<Utc>>, Clash> {
    match zone.from_local_datetime(&local) {
        MappedLocalTime::Single(at) => Ok(Some(at.to_utc())),
        MappedLocalTime::Ambiguous(one, other) => {
            let (one, other) = (one.to_utc(), other.to_utc());
            match ambiguous {
                Ambiguous::Earliest => Ok(Some(one.min(other))),
                Ambiguous::Latest => Ok(Some(one.max(other))),
                Ambiguous::Null => Ok(None),
                Ambiguous::Error => Err(Clash::Ambiguous),
            }
        }
        MappedLocalTime::None => match nonexistent {
            Nonexistent::Forward => after_gap(zone, local).map(Some).ok_or(Clash::Nonexistent),
            Nonexistent::Null => Ok(None),
            Nonexistent::Error => Err(Clash::Nonexistent),
        },
    }
}

/// The moment at which clocks were set forward over that local time.
fn after_gap(zone: &impl TimeZone, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    // The largest gap ever was a day: Samoa, at the end of 2011.
    let around = |hours| {
        zone.from_local_datetime(&local.checked_add_signed(Duration::hours(hours))?)
            .earliest()
            .map(|at| at.timestamp())
    };
    let (mut before, mut after) = (around(-26)?, around(26)?);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        let shown = zone.timestamp_opt(middle, 0).single()?.naive_local();
        if shown < local {
            before = middle;
        } else {
            after = middle;
        }
    }
    DateTime::from_timestamp(after, 0)
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    fn local(year: i32, month: u32, day: u32, hour: u32, minute: u32) -> NaiveDateTime {
        NaiveDate::from_ymd_opt(year, month, day)
            .and_then(|day| day.and_hms_opt(hour, minute, 0))
            .expect("a local time")
    }

    fn found(
        name: &str,
        local: NaiveDateTime,
        ambiguous: Ambiguous,
        nonexistent: Nonexistent,
    ) -> Result<Option<String>, Clash> {
        let zone = zone(name).expect("a zone").to_chrono().expect("its rules");
        instant(&zone, local, ambiguous, nonexistent)
            .map(|at| at.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string()))
    }

    #[test]
    fn a_time_that_came_twice() {
        let twice = local(2024, 10, 27, 2, 30);
        let with = |ambiguous| found("Europe/Berlin", twice, ambiguous, Nonexistent::Error);
        assert_eq!(
            with(Ambiguous::Earliest),
            Ok(Some("2024-10-27 00:30:00".into()))
        );
        assert_eq!(
            with(Ambiguous::Latest),
            Ok(Some("2024-10-27 01:30:00".into()))
        );
        assert_eq!(with(Ambiguous::Null), Ok(None));
        assert_eq!(with(Ambiguous::Error), Err(Clash::Ambiguous));
    }

    #[test]
    fn a_time_that_never_came() {
        let skipped = local(2024, 3, 31, 2, 30);
        let with = |rule| found("Europe/Berlin", skipped, Ambiguous::Error, rule);
        assert_eq!(
            with(Nonexistent::Forward),
            Ok(Some("2024-03-31 01:00:00".into()))
        );
        assert_eq!(with(Nonexistent::Null), Ok(None));
        assert_eq!(with(Nonexistent::Error), Err(Clash::Nonexistent));
        // Samoa went over the whole of 30 December 2011; midnight came after ten o'clock UTC.
        assert_eq!(
            found(
                "Pacific/Apia",
                local(2011, 12, 30, 12, 0),
                Ambiguous::Error,
                Nonexistent::Forward
            ),
            Ok(Some("2011-12-30 10:00:00".into()))
        );
    }

    #[test]
    fn zones_have_names() {
        assert!(zone("Asia/Shanghai").is_some());
        assert!(zone("Asia/Shangai").is_none());
        assert!(zone("").is_none());
    }
}
