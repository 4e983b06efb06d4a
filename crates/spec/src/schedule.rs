//! The `schedule:` of a spec: when a pipeline runs, what becomes of a run that is late, fails or overlaps, and whom to tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    str::FromStr,
};

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Year},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use taktline_core::{Location, closest, counted, did_you_mean};

use crate::{
    document::TimeSpan,
    report::Report,
    tree::{Node, NodeValue},
};

/// A number of bytes as people write it: `512MB`, `4GB`, `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let refused = || format!("`{text}` is no size; write `5GB`, `500MB` or `2GiB`");
        let unit_at = text
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(text.len());
        let number: f64 = text[..unit_at].parse().map_err(|_| refused())?;
        let unit = match text[unit_at..].trim().to_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kb" => 1e3,
            "m" | "mb" => 1e6,
            "g" | "gb" => 1e9,
            "t" | "tb" => 1e12,
            "kib" => 1024.0,
            "mib" => 1024.0 * 1024.0,
            "gib" => 1024.0 * 1024.0 * 1024.0,
            "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
            _ => return Err(refused()),
        };
        Ok(Self((number * unit) as u64))
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        format!("{}B", size.0)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number of bytes: `512MB`, `4GB` or `2GiB`.",
            "pattern": r"^[0-9]+(\.[0-9]+)? ?([KkMmGgTt]([Ii]?[Bb])?|[Bb])?$",
        })
    }
}

/// What happens when a run is due while the last one still works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The new run is left out.
    #[default]
    Skip,
    /// The new run waits until the last one is finished, its retries too.
    Queue,
    /// The last run is ended, the new one takes its place.
    CancelPrevious,
    /// Both work.
    Allow,
}

/// How often a failed run is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// At most this many times. A gate or an expectation that said no is not tried again.
    #[schemars(range(max = 100))]
    pub limit: u32,
    /// How long to wait before the first; twice as long before each next, give or take a fifth. 30s, where none is given.
    #[serde(default)]
    pub backoff: Option<TimeSpan>,
    /// Never wait longer than this. 1h, where none is given.
    #[serde(default)]
    pub longest: Option<TimeSpan>,
}

/// What a run takes of the machine that it works on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// Memory, held against what the worker may use (`takt worker --memory`).
    #[serde(default)]
    pub memory: Option<ByteSize>,
    /// Named resources and how much of each, held against what the worker offers (`takt worker --resource gpu=1`).
    #[serde(default)]
    pub resources: BTreeMap<String, u32>,
}

/// Other pipelines whose success starts this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum After {
    /// Any scheduled run of this pipeline.
    Pipeline(String),
    /// Runs of one schedule of a pipeline.
    Schedule(AfterSchedule),
}

/// Runs of one schedule of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AfterSchedule {
    /// The pipeline's name.
    pub pipeline: String,
    /// The schedule's id.
    pub schedule: String,
}

impl After {
    /// The pipeline, and the schedule where one is named.
    pub fn parts(&self) -> (&str, Option<&str>) {
        match self {
            Self::Pipeline(pipeline) => (pipeline, None),
            Self::Schedule(after) => (&after.pipeline, Some(&after.schedule)),
        }
    }
}

/// Files whose arrival starts a run each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileArrival {
    /// A path with `*`, `?` and `**`: `inbox/*.csv`.
    #[schemars(length(min = 1))]
    pub path: String,
    /// A file counts as arrived when it has not grown or changed for so long. 10s, where none is given.
    #[serde(default)]
    pub settled: Option<TimeSpan>,
}

/// Somebody to tell of a run's end: one of `webhook`, `email` and `command`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Notification {
    /// An address that takes a JSON document about the run by POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// A message by SMTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// A program and its arguments; it gets the same JSON on its standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub command: Option<Vec<String>>,
}

/// A message by SMTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// Who gets it.
    #[schemars(length(min = 1))]
    pub to: Vec<String>,
    /// Who sends it.
    pub from: String,
    /// The mail server: `smtp://host:25`, `smtps://user:${secret:MAIL_PASSWORD}@host`.
    pub server: String,
}

/// When the pipeline runs: one of `cron`, `after` and `on_file` says it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleEntry {
    /// Names the schedule.
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_-]*$"), length(max = 64))]
    pub id: String,
    /// Minute, hour, day of the month, month, day of the week: `0 2 * * *` is 02:00 every day. A sixth field before them counts
    /// seconds. Names (`MON`, `JAN`), `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`, `L` (last), `W` (nearest weekday) and
    /// `#` (nth weekday) are understood. A fixed time that a change to summer time skips comes at the first moment after; one that is
    /// doubled comes once, at the first. What repeats (`*/10 * * * *`) comes as often as the clock shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Runs when another pipeline succeeded, and stands for the same time; one that comes while the last still works waits in line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    /// Runs once for each file that arrives; `${schedule.file}` is the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_file: Option<FileArrival>,
    /// The time zone of `cron`, by its IANA name. UTC, where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Not before this date (`2026-12-01`) or time (`2026-12-01T06:00`), in the schedule's zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Not at this date or time, and not later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Params for the runs of this schedule; they may hold `${schedule.time}`, `${schedule.date}` and `${schedule.file}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, ScheduleParam>,
    /// A run that was missed by no more than this is made up for; without it, one that was missed by more than a minute is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<TimeSpan>,
    /// What happens when a run is due while the last one still works.
    #[serde(default)]
    pub overlap: Overlap,
    /// At most so many runs of the pipeline at once, of whatever schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
    /// Runs of a higher priority are taken first. 0, where none is given.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// What a run takes of the machine that it works on.
    #[serde(default)]
    pub needs: Needs,
    /// How often a failed run is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// A run that takes longer is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TimeSpan>,
    /// Whom to tell when a run failed and is not tried again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<Notification>,
    /// Whom to tell when a run succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_success: Vec<Notification>,
}

/// The value of a param.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ScheduleParam {
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
}

impl ScheduleParam {
    /// As `--param` takes it.
    pub fn text(&self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(value) => value.clone(),
        }
    }
}

/// What a run stands for: the values of `${schedule.time}`, `${schedule.date}` and `${schedule.file}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// RFC 3339, in the schedule's zone.
    pub time: String,
    /// Year, month and day in that zone.
    pub date: String,
    /// The file that arrived.
    pub file: Option<String>,
}

impl Occurrence {
    /// Of this time, with the date of its own offset.
    pub fn at<Zone: TimeZone>(time: &DateTime<Zone>) -> Self
    where
        Zone::Offset: std::fmt::Display,
    {
        Self {
            time: time.to_rfc3339_opts(SecondsFormat::Secs, true),
            date: time.format("%Y-%m-%d").to_string(),
            file: None,
        }
    }

    /// Now, in UTC: what a run stands for that a person started.
    pub fn now() -> Self {
        Self::at(&Utc::now())
    }

    /// The value of `schedule.…`; none where there is no such name.
    pub(crate) fn value(&self, name: &str) -> Option<Option<&str>> {
        match name {
            "time" => Some(Some(&self.time)),
            "date" => Some(Some(&self.date)),
            "file" => Some(self.file.as_deref()),
            _ => None,
        }
    }

    /// A text with `${schedule.…}` put in; what has no value stays as it is.
    pub fn fill(&self, text: &str) -> String {
        ["time", "date", "file"]
            .into_iter()
            .fold(text.to_owned(), |text, name| {
                match self.value(name).flatten() {
                    Some(value) => text.replace(&format!("${{schedule.{name}}}"), value),
                    None => text,
                }
            })
    }
}

/// When a cron expression is due, in its zone and between its bounds.
#[derive(Debug, Clone)]
pub struct Timetable {
    cron: Cron,
    zone: Tz,
    /// Milliseconds since 1970, UTC.
    start: Option<i64>,
    end: Option<i64>,
}

impl Timetable {
    /// Reads what an entry says; none where it has no `cron`.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub fn of(entry: &ScheduleEntry) -> Result<Option<Self>, (&'static str, String)> {
        let zone = match &entry.timezone {
            Some(name) => zone(name).map_err(|why| ("timezone", why))?,
            None => Tz::UTC,
        };
        let bound = |key: &'static str, text: &Option<String>| {
            text.as_deref()
                .map(|text| moment(text, zone).map_err(|why| (key, why)))
                .transpose()
        };
        let (start, end) = (bound("start", &entry.start)?, bound("end", &entry.end)?);
        if let (Some(start), Some(end)) = (start, end)
            && end <= start
        {
            return Err(("end", "`end` is not after `start`".to_owned()));
        }
        let Some(cron) = &entry.cron else {
            return Ok(None);
        };
        let table = Self {
            cron: cron_of(cron).map_err(|why| ("cron", why))?,
            zone,
            start,
            end,
        };
        if table
            .next_after(table.start.unwrap_or(0).max(0) - 1)
            .is_none()
        {
            let why = match table.end {
                Some(_) => format!("`{cron}` is never due between `start` and `end`"),
                None => format!("`{cron}` is never due"),
            };
            return Err(("cron", why));
        }
        Ok(Some(table))
    }

    /// The first time after this one; milliseconds since 1970, UTC.
    pub fn next_after(&self, after: i64) -> Option<i64> {
        let after = match self.start {
            Some(start) => after.max(start - 1),
            None => after,
        };
        // Croner looks at whole seconds; a time within a second counts as that second.
        let from = DateTime::from_timestamp(after.div_euclid(1000), 0)?.with_timezone(&self.zone);
        let next = self.cron.find_next_occurrence(&from, false).ok()?;
        let next = next.timestamp_millis();
        (self.end.is_none_or(|end| next < end)).then_some(next)
    }

    /// The times after `after`, up to and with `until`; at most so many.
    pub fn between(&self, after: i64, until: i64, most: usize) -> Vec<i64> {
        std::iter::successors(self.next_after(after), |last| self.next_after(*last))
            .take_while(|time| *time <= until)
            .take(most)
            .collect()
    }

    /// What the run of this time stands for.
    pub fn occurrence(&self, time: i64) -> Occurrence {
        let time = DateTime::from_timestamp_millis(time).unwrap_or_default();
        Occurrence::at(&time.with_timezone(&self.zone))
    }
}

fn cron_of(text: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().year(Year::Disallowed).build();
    let fields = text.split_whitespace().count();
    let nickname = text.trim().starts_with('@');
    if !nickname && !(5..=6).contains(&fields) {
        return Err(format!(
            "`{text}` has {}; a cron expression has five (minute, hour, day, month, weekday), or six with seconds before them",
            counted(fields, "field")
        ));
    }
    const NICKNAMES: [&str; 7] = [
        "@yearly",
        "@annually",
        "@monthly",
        "@weekly",
        "@daily",
        "@midnight",
        "@hourly",
    ];
    if nickname && !NICKNAMES.contains(&text.trim().to_lowercase().as_str()) {
        let help = closest(text.trim(), NICKNAMES).map_or_else(
            || format!("known: {}", NICKNAMES.join(", ")),
            |name| format!("did you mean `{name}`?"),
        );
        return Err(format!("`{text}` is no cron expression; {help}"));
    }
    parser.parse(text).map_err(|error| {
        let why = match error {
            croner::errors::CronError::InvalidPattern(why)
            | croner::errors::CronError::IllegalCharacters(why)
            | croner::errors::CronError::ComponentError(why) => why,
            other => other.to_string(),
        };
        let why = why.trim_end_matches('.');
        let mut letters = why.chars();
        let first = letters
            .next()
            .map(|letter| letter.to_lowercase().to_string());
        format!(
            "`{text}` is no cron expression: {}{}",
            first.unwrap_or_default(),
            letters.as_str()
        )
    })
}

fn zone(name: &str) -> Result<Tz, String> {
    Tz::from_str(name).map_err(|_| {
        let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let help = closest(name, known.clone()).map_or_else(
            || {
                // A city without its continent.
                let ending = format!("/{}", name.to_lowercase().replace(' ', "_"));
                known
                    .into_iter()
                    .find(|zone| zone.to_lowercase().ends_with(&ending))
                    .map_or_else(
                        || "write an IANA name, such as `Asia/Shanghai`".to_owned(),
                        |zone| format!("did you mean `{zone}`?"),
                    )
            },
            |zone| format!("did you mean `{zone}`?"),
        );
        format!("there is no time zone `{name}`; {help}")
    })
}

/// A date or time in a zone, or with an offset of its own; milliseconds since 1970, UTC.
fn moment(text: &str, zone: Tz) -> Result<i64, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp_millis());
    }
    let naive = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()
        .and_then(|date| date.and_hms_opt(0, 0, 0));
    let naive = [
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%d %H:%M:%S",
    ]
    .into_iter()
    .fold(naive, |found, format| {
        found.or_else(|| NaiveDateTime::parse_from_str(text, format).ok())
    });
    let naive = naive
        .ok_or_else(|| format!("`{text}` is no time; write `2026-12-01` or `2026-12-01T06:00`"))?;
    // A time that the zone skips is the first moment after.
    let found = (0..=180).find_map(|minutes| {
        let later = naive + chrono::TimeDelta::minutes(minutes);
        zone.from_local_datetime(&later).earliest()
    });
    found
        .map(|time| time.timestamp_millis())
        .ok_or_else(|| format!("`{text}` does not exist in `{zone}`"))
}

/// A moment as a command takes it: a date or time in UTC, or with an offset.
///
/// # Errors
/// It is none.
pub fn parse_moment(text: &str) -> Result<i64, String> {
    moment(text, Tz::UTC)
}

/// A schedule, where it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedSchedule {
    /// What it says.
    pub entry: ScheduleEntry,
    /// Where its id is.
    pub location: Location,
    /// Where `after` is, if it has one.
    pub after: Option<Location>,
}

/// Reports what is wrong with the entries beyond their shape.
pub(crate) fn check(list: Option<&Node>, params: &BTreeSet<&str>, report: &mut Report<'_>) {
    for node in list.map(Node::items).unwrap_or_default() {
        let triggers: Vec<&str> = ["cron", "after", "on_file"]
            .into_iter()
            .filter(|key| node.get(key).is_some())
            .collect();
        match triggers.as_slice() {
            [] => {
                let span = report.underline(node, None);
                report
                    .error(
                        span,
                        "missing-key",
                        "the schedule does not say when it is due",
                    )
                    .help
                    .push(
                        "give it `cron: \"0 2 * * *\"`, `after: PIPELINE` or `on_file: {path: …}`"
                            .to_owned(),
                    );
            }
            [_] => {}
            [first, second, ..] => {
                let span = key_span(node, second, report);
                report.error(
                    span,
                    "invalid-params",
                    format!("a schedule has either `{first}` or `{second}`, not both"),
                );
            }
        }
        if let Some(value) = node.get("params") {
            for (name, value) in value.entries() {
                let text = value.text().unwrap_or_default();
                for reference in text.split("${").skip(1) {
                    let reference = reference.split('}').next().unwrap_or_default();
                    if TOLD.contains(&reference) {
                        continue;
                    }
                    let message = format!("a schedule's params cannot hold `${{{reference}}}`");
                    let help = closest(reference, TOLD).map_or_else(
                        || "they hold what the schedule tells: `${schedule.time}`, `${schedule.date}`, `${schedule.file}`".to_owned(),
                        |near| format!("did you mean `${{{near}}}`?"),
                    );
                    report
                        .error(value.span.clone(), "undefined-param", message)
                        .help
                        .push(help);
                }
                if !params.contains(name.text.as_str()) {
                    let help = did_you_mean(&name.text, params.iter().copied())
                        .unwrap_or_else(|| "the pipeline declares no params".into());
                    report
                        .error(
                            name.span.clone(),
                            "undefined-param",
                            format!(
                                "the schedule sets `{}`, which is no param of the pipeline",
                                name.text
                            ),
                        )
                        .help
                        .push(help);
                }
            }
        }
        // A value that could not be put in was reported, and says nothing.
        if node.has_unresolved() {
            continue;
        }
        let text = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
        let on_file = node.get("on_file").is_some();
        // What is wrong elsewhere in the entry is no reason to pass over its times.
        let entry = ScheduleEntry {
            cron: text("cron"),
            timezone: text("timezone"),
            start: text("start"),
            end: text("end"),
            ..ScheduleEntry::default()
        };
        if let Err((key, why)) = Timetable::of(&entry) {
            let span = match node.entry(key) {
                Some((_, value)) => report.underline(value, None),
                None => report.underline(node, None),
            };
            let code = match key {
                "cron" => "invalid-cron",
                "timezone" => "unknown-timezone",
                _ => "invalid-time",
            };
            // What to do about it stands after a semicolon.
            let (message, help) = match why.split_once("; ") {
                Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
                None => (why, None),
            };
            report.error(span, code, message).help.extend(help);
        }
        let without_cron = node.get("cron").is_none();
        for key in ["timezone", "start", "end", "catch_up"] {
            if without_cron && node.get(key).is_some() && (key != "timezone" || !on_file) {
                let span = key_span(node, key, report);
                report.error(
                    span,
                    "invalid-params",
                    format!("`{key}` says something of `cron`, which the schedule does not have"),
                );
            }
        }
    }
}

fn key_span(node: &Node, key: &str, report: &Report<'_>) -> Range<usize> {
    match node.entry(key) {
        Some((key, _)) => key.span.clone(),
        None => report.underline(node, None),
    }
}

/// What a schedule tells its runs.
const TOLD: [&str; 3] = ["schedule.time", "schedule.date", "schedule.file"];

/// The keys whose values are filled in when a run is made, or when somebody is told: not when the spec is read.
pub(crate) const LATER: [&str; 3] = ["params", "on_failure", "on_success"];

/// Puts `${…}` into the entries, and only looks at what is filled in later.
pub(crate) fn apply(list: &mut Node, mut put: impl FnMut(&mut Node)) {
    let NodeValue::Sequence(entries) = &mut list.value else {
        return put(list);
    };
    for entry in entries {
        let NodeValue::Mapping(keys) = &mut entry.value else {
            put(entry);
            continue;
        };
        for (key, value) in keys {
            match key.text.as_str() {
                // [`check`] looks at these.
                "params" => {}
                later if LATER.contains(&later) => put(&mut value.clone()),
                _ => put(value),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(cron: &str, zone: &str) -> ScheduleEntry {
        serde_yaml::from_str(&format!("{{id: s, cron: \"{cron}\", timezone: {zone}}}"))
            .expect("an entry")
    }

    fn times(entry: &ScheduleEntry, from: &str, until: &str) -> Vec<String> {
        let table = Timetable::of(entry).expect("right").expect("has cron");
        let moment = |text: &str| parse_moment(text).expect("a time");
        table
            .between(moment(from) - 1, moment(until), 100)
            .into_iter()
            .map(|time| table.occurrence(time).time)
            .collect()
    }

    #[test]
    fn a_fixed_time_that_summer_time_skips_comes_right_after() {
        // Berlin, 29 March 2026: 02:00 to 03:00 does not exist.
        let got = times(
            &entry("30 2 * * *", "Europe/Berlin"),
            "2026-03-28T12:00",
            "2026-03-30T12:00",
        );
        assert_eq!(
            got,
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
        );
    }

    #[test]
    fn a_fixed_time_that_winter_time_doubles_comes_once() {
        // Berlin, 25 October 2026: 02:00 to 03:00 comes twice.
        let got = times(
            &entry("30 2 * * *", "Europe/Berlin"),
            "2026-10-24T12:00",
            "2026-10-26T12:00",
        );
        assert_eq!(
            got,
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
        );
    }

    #[test]
    fn what_repeats_follows_the_clock() {
        let spring = times(
            &entry("*/30 * * * *", "Europe/Berlin"),
            "2026-03-29T00:30",
            "2026-03-29T01:30",
        );
        assert_eq!(
            spring,
            [
                "2026-03-29T01:30:00+01:00",
                "2026-03-29T03:00:00+02:00",
                "2026-03-29T03:30:00+02:00"
            ]
        );
        let autumn = times(
            &entry("*/30 * * * *", "Europe/Berlin"),
            "2026-10-25T00:00",
            "2026-10-25T01:30",
        );
        assert_eq!(
            autumn,
            [
                "2026-10-25T02:00:00+02:00",
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T02:30:00+01:00"
            ]
        );
    }

    #[test]
    fn zones_with_half_hours_and_without_summer_time() {
        // Lord Howe Island moves by half an hour: on 4 October 2026, 02:00 to 02:30 does not exist.
        let got = times(
            &entry("15 2 * * *", "Australia/Lord_Howe"),
            "2026-10-03T00:00",
            "2026-10-04T23:00",
        );
        assert_eq!(got[0], "2026-10-04T02:30:00+11:00");
        let got = times(
            &entry("0 2 * * *", "Asia/Shanghai"),
            "2026-11-27T00:00",
            "2026-11-28T00:00",
        );
        assert_eq!(got, ["2026-11-28T02:00:00+08:00"]);
    }

    #[test]
    fn seconds_nicknames_names_and_last_days() {
        assert_eq!(
            times(
                &entry("*/20 * * * * *", "UTC"),
                "2026-01-01T00:00",
                "2026-01-01T00:00:59"
            )
            .len(),
            3
        );
        assert_eq!(
            times(
                &entry("@daily", "UTC"),
                "2026-01-01T00:00",
                "2026-01-03T00:00"
            )
            .len(),
            3
        );
        assert_eq!(
            times(
                &entry("0 6 * * MON-FRI", "UTC"),
                "2026-11-28T00:00",
                "2026-11-30T23:00"
            ),
            ["2026-11-30T06:00:00Z"]
        );
        assert_eq!(
            times(
                &entry("0 0 L FEB *", "UTC"),
                "2028-01-01T00:00",
                "2028-12-31T00:00"
            ),
            ["2028-02-29T00:00:00Z"]
        );
    }

    #[test]
    fn start_and_end_bound_a_schedule() {
        let mut entry = entry("0 12 * * *", "Europe/Berlin");
        entry.start = Some("2026-12-24".into());
        entry.end = Some("2026-12-26T12:00".into());
        assert_eq!(
            times(&entry, "2026-01-01T00:00", "2027-01-01T00:00"),
            ["2026-12-24T12:00:00+01:00", "2026-12-25T12:00:00+01:00"]
        );
        entry.end = Some("2026-12-24T06:00".into());
        assert!(
            Timetable::of(&entry)
                .is_err_and(|(key, why)| key == "cron" && why.contains("never due between"))
        );
        entry.end = Some("2026-12-23".into());
        assert!(Timetable::of(&entry).is_err_and(|(key, _)| key == "end"));
    }

    #[test]
    fn wrong_ones_are_refused_in_words() {
        let refused =
            |cron: &str, zone: &str| Timetable::of(&entry(cron, zone)).expect_err("wrong");
        let (key, why) = refused("61 * * * *", "UTC");
        assert_eq!(key, "cron");
        assert!(
            why.starts_with("`61 * * * *` is no cron expression: "),
            "{why}"
        );
        assert!(refused("0 2 * *", "UTC").1.contains("has 4 fields"));
        assert!(
            refused("@dayly", "UTC")
                .1
                .contains("did you mean `@daily`?")
        );
        assert!(refused("0 0 31 2 *", "UTC").1.contains("never due"));
        assert!(
            refused("0 2 * * *", "Asia/Shangai")
                .1
                .contains("did you mean `Asia/Shanghai`?")
        );
        assert!(
            refused("0 2 * * *", "Shanghai")
                .1
                .contains("did you mean `Asia/Shanghai`?")
        );
    }

    #[test]
    fn sizes_as_people_write_them() {
        let size = |text: &str| ByteSize::try_from(text.to_owned()).map(|size| size.0);
        assert_eq!(size("5GB"), Ok(5_000_000_000));
        assert_eq!(size("1.5 KiB"), Ok(1536));
        assert_eq!(size("0"), Ok(0));
        for wrong in ["", "GB", "5 apples", "-1GB", "1e3"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_occurrence_fills_in_texts() {
        let occurrence = Occurrence {
            file: Some("in/a.csv".into()),
            ..times_of("2026-11-28T02:00:00+08:00")
        };
        assert_eq!(
            occurrence.fill("d=${schedule.date} f=${schedule.file} t=${schedule.time}"),
            "d=2026-11-28 f=in/a.csv t=2026-11-28T02:00:00+08:00"
        );
        assert_eq!(
            times_of("2026-11-28T02:00:00Z").fill("${schedule.file}"),
            "${schedule.file}"
        );
    }

    fn times_of(text: &str) -> Occurrence {
        Occurrence::at(&DateTime::parse_from_rfc3339(text).expect("a time"))
    }
}
