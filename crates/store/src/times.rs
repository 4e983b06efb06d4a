//! Times in JSON: RFC 3339 in UTC, for people and programs alike.

use chrono::{DateTime, SecondsFormat};
use serde::Serializer;

pub(crate) fn text(milliseconds: i64) -> String {
    DateTime::from_timestamp_millis(milliseconds)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(crate) fn time<S: Serializer>(milliseconds: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*milliseconds))
}

pub(crate) fn maybe_time<S: Serializer>(
    milliseconds: &Option<i64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match milliseconds {
        Some(milliseconds) => serializer.serialize_some(&text(*milliseconds)),
        None => serializer.serialize_none(),
    }
}
