//! Texts as local times and points in time.

use chrono::{
    DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc,
    format::{Item, Parsed, StrftimeItems},
};

use super::super::zones::{self, Ambiguous, Clash, Nonexistent};

/// The forms of ISO 8601 that are read without being asked to; `%#z` reads `Z`, `+01`, `+0100` and `+01:00`.
pub(super) const ISO: [&str; 9] = [
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M%#z",
    "%Y-%m-%d %H:%M%#z",
];

/// What a text says.
pub(super) enum Reading {
    /// A local time, of a zone that it does not name.
    Local(NaiveDateTime),
    /// A point in time.
    Instant(DateTime<Utc>),
}

/// The text in that format, as a whole.
fn read(text: &str, format: &[Item<'static>]) -> Option<Reading> {
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text, format.iter()).ok()?;
    if parsed.hour_mod_12().is_some() && parsed.minute().is_none() {
        parsed.set_minute(0).ok()?;
    }
    if parsed.timestamp().is_some() {
        return parsed
            .to_datetime_with_timezone(&Utc)
            .ok()
            .map(Reading::Instant);
    }
    let day = parsed.to_naive_date().ok()?;
    let time = if parsed.hour_mod_12().is_some() {
        parsed.to_naive_time().ok()?
    } else {
        NaiveTime::MIN
    };
    let local = day.and_time(time);
    match parsed.offset() {
        None => Some(Reading::Local(local)),
        Some(offset) => local
            .checked_sub_signed(chrono::Duration::seconds(offset.into()))
            .map(|utc| Reading::Instant(utc.and_utc())),
    }
}

/// A format that is understood.
///
/// # Errors
/// One line that says why it is none.
pub(super) fn understood(format: &str) -> Result<Vec<Item<'static>>, &'static str> {
    let items = StrftimeItems::new(format)
        .parse_to_owned()
        .map_err(|_| "this is no format of strftime")?;
    if format.contains("%Z") {
        return Err(
            "names of zones like `CET` mean different zones: say `zone`, or read offsets with `%z`",
        );
    }
    // What is written in the format must tell the day when it is read again. `%#z` can be read only.
    let written = StrftimeItems::new(&format.replace("%#z", "%z"))
        .parse_to_owned()
        .map_err(|_| "this is no format of strftime")?;
    let sample = DateTime::from_timestamp(1_710_000_000, 0).unwrap_or_default();
    let text = sample.format_with_items(written.iter()).to_string();
    let day = |reading| match reading {
        Reading::Local(local) => local.date(),
        Reading::Instant(at) => at.date_naive(),
    };
    match read(&text, &items).map(day) {
        Some(day) if day == sample.date_naive() => Ok(items),
        _ => Err("this does not tell the day"),
    }
}

/// How values are read, ready for the rows.
pub(super) struct Reader<Z> {
    pub(super) formats: Vec<Vec<Item<'static>>>,
    /// How formats are written in messages.
    pub(super) expected: String,
    pub(super) zone: Option<Z>,
    pub(super) zone_name: String,
    pub(super) to_zone: Option<Z>,
    pub(super) ambiguous: Ambiguous,
    pub(super) nonexistent: Nonexistent,
}

/// Why a value does not fit.
pub(super) type Misfit = String;

impl<Z: TimeZone> Reader<Z> {
    /// The point in time that a text means, or without zones its local time as if it were UTC.
    pub(super) fn text(&self, text: &str) -> Result<Option<DateTime<Utc>>, Misfit> {
        let trimmed = text.trim();
        let reading = self
            .formats
            .iter()
            .find_map(|format| read(trimmed, format))
            .ok_or_else(|| format!("does not read as {}", self.expected))?;
        self.meant(reading)
    }

    pub(super) fn meant(&self, reading: Reading) -> Result<Option<DateTime<Utc>>, Misfit> {
        match (reading, &self.zone) {
            (Reading::Instant(at), _) => Ok(Some(at)),
            (Reading::Local(local), Some(zone)) => {
                zones::instant(zone, local, self.ambiguous, self.nonexistent).map_err(|clash| {
                    match clash {
                        Clash::Ambiguous => format!(
                            "came twice in {}, as clocks were set back; `ambiguous: earliest` or `latest` chooses",
                            self.zone_name
                        ),
                        Clash::Nonexistent => format!(
                            "never came in {}, as clocks were set forward; `nonexistent: forward` takes the moment after",
                            self.zone_name
                        ),
                    }
                })
            }
            (Reading::Local(_), None) if self.to_zone.is_some() => {
                Err("has no offset from UTC; `zone` says where it is local time".to_owned())
            }
            (Reading::Local(local), None) => Ok(Some(local.and_utc())),
        }
    }

    /// Days since 1970-01-01 on the calendar of the zone.
    pub(super) fn day(&self, at: DateTime<Utc>) -> i32 {
        let day = match self.to_zone.as_ref().or(self.zone.as_ref()) {
            Some(zone) => at.with_timezone(zone).date_naive(),
            None => at.date_naive(),
        };
        day.num_days_from_ce() - NaiveDate::default().num_days_from_ce()
    }
}
