//! Spans of time as a spec writes them: `30m`, `24h`, `7d`.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A span of time in whole microseconds, more than none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Span {
    length: i64,
    /// The unit that it was written in.
    unit: (&'static str, i64),
}

/// Units and their microseconds, the largest first.
const UNITS: [(&str, i64); 6] = [
    ("w", 7 * 24 * 3_600_000_000),
    ("d", 24 * 3_600_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
];

impl Span {
    /// Its length in microseconds.
    pub(crate) fn microseconds(self) -> i64 {
        self.length
    }

    /// As it was written: `24h` and not `1d`.
    pub(crate) fn written(self) -> String {
        let (unit, length) = self.unit;
        format!("{}{unit}", self.length / length)
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(text.len());
        let (count, unit) = text.split_at(digits);
        let unit = UNITS.into_iter().find(|(name, _)| *name == unit);
        let unfit = || format!("`{text}` is not a span of time; write `30m`, `24h` or `7d`");
        let count: i64 = count.parse().map_err(|_| unfit())?;
        let unit = unit.ok_or_else(unfit)?;
        let length = count
            .checked_mul(unit.1)
            .ok_or_else(|| format!("`{text}` is too long"))?;
        if length == 0 {
            Err(format!("`{text}` is no time at all"))
        } else {
            Ok(Self { length, unit })
        }
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, length)| self.length % length == 0) {
            Some((unit, length)) => write!(formatter, "{}{unit}", self.length / length),
            None => write!(formatter, "{}us", self.length),
        }
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A span of time: a whole number and `ms`, `s`, `m`, `h`, `d` or `w`.",
            "pattern": r"^0*[1-9][0-9]*(ms|s|m|h|d|w)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_spans_and_writes_them_short() {
        let read = |text: &str| Span::try_from(text.to_owned());
        assert_eq!(read("24h").expect("a day").microseconds(), 86_400_000_000);
        assert_eq!(read("24h").expect("a day").to_string(), "1d");
        assert_eq!(read("024h").expect("a day").written(), "24h");
        assert_eq!(read("90m").expect("a span").to_string(), "90m");
        assert_eq!(read("5ms").expect("a span").microseconds(), 5_000);
        for wrong in [
            "",
            "h",
            "24",
            "24 h",
            "-1h",
            "0h",
            "1.5h",
            "1y",
            "99999999999999999w",
            "1é",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
