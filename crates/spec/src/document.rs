//! The shape of a pipeline document, apart from what its stages' kinds say.

use std::{collections::BTreeMap, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use taktline_core::Role;

use crate::schedule::ScheduleEntry;

/// The seed of a pipeline that names none.
pub const DEFAULT_SEED: u64 = 7;

/// A pipeline: where data comes from, what is done with it, what learns from it, how good it must be, where it goes and when.
// Never read as a whole: it gives the JSON Schema, and the tree is walked so that every message has its place.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the struct exists for its JSON Schema")]
pub(crate) struct Document {
    /// The pipeline's name: lower-case words joined by `-` or `_`.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9]*([-_][a-z0-9]+)*$"), length(max = 64))]
    pub(crate) pipeline: String,
    /// One line: what it is for.
    #[serde(default)]
    pub(crate) about: Option<String>,
    /// The seed of everything random that has no seed of its own. 7, where none is given; `--seed` overrides it.
    #[serde(default)]
    pub(crate) seed: Option<u64>,
    /// Values that `${name}` puts in and `--param name=value` overrides.
    #[serde(default)]
    pub(crate) params: Option<BTreeMap<String, ParamDeclaration>>,
    /// What columns are for, by name, wherever the column appears.
    #[serde(default)]
    pub(crate) columns: Option<BTreeMap<String, ColumnDeclaration>>,
    /// What is done, in order. A stage reads the stage above, unless `from` names others.
    #[schemars(length(min = 1))]
    pub(crate) stages: Vec<StageEntry>,
    /// When the pipeline runs.
    #[serde(default)]
    pub(crate) schedule: Option<Vec<ScheduleEntry>>,
    /// What must come out of a stage, given small frames.
    #[serde(default)]
    pub(crate) tests: Option<Vec<TestCase>>,
}

/// Stands where a stage stands; stages are checked by their kind.
#[derive(Debug)]
pub(crate) struct StageEntry;

impl JsonSchema for StageEntry {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Stage".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

/// A value that a pipeline takes from outside: its default, or its default with words about it.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the enum exists for its JSON Schema")]
pub(crate) enum ParamDeclaration {
    /// True or false.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
    /// A default with words about it.
    Declared(DeclaredParam),
}

/// A value that a pipeline takes from outside.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the struct exists for its JSON Schema")]
pub(crate) struct DeclaredParam {
    /// Its value where `--param` gives none. Without a default, `--param` must give one.
    #[serde(default)]
    pub(crate) default: Option<ParamValue>,
    /// What it is.
    #[serde(default)]
    pub(crate) about: Option<String>,
    /// Its type; the default's, where none is given.
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<ParamTypeName>,
}

/// A scalar.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the enum exists for its JSON Schema")]
pub(crate) enum ParamValue {
    /// True or false.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
}

/// The type of a param.
#[derive(Debug, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "the enum exists for its JSON Schema")]
pub(crate) enum ParamTypeName {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
}

/// What a column is for.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ColumnDeclaration {
    /// What the column is for.
    pub(crate) role: Role,
}

/// A span of time as people write it: `500ms`, `30s`, `5m`, `2h`, `1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(pub Duration);

impl TryFrom<String> for TimeSpan {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let refused =
            || format!("`{text}` is not a span of time; write `500ms`, `30s`, `5m`, `2h` or `1d`");
        let unit_at = text
            .find(|character: char| !character.is_ascii_digit())
            .ok_or_else(refused)?;
        let count: u64 = text[..unit_at].parse().map_err(|_| refused())?;
        let milliseconds: u64 = match &text[unit_at..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(refused()),
        };
        count
            .checked_mul(milliseconds)
            .map(|total| Self(Duration::from_millis(total)))
            .ok_or_else(refused)
    }
}

impl From<TimeSpan> for String {
    fn from(span: TimeSpan) -> Self {
        let milliseconds = span.0.as_millis();
        let units = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
        ];
        match units
            .iter()
            .find(|(length, _)| milliseconds > 0 && milliseconds.is_multiple_of(*length))
        {
            Some((length, unit)) => format!("{}{unit}", milliseconds / length),
            None => format!("{milliseconds}ms"),
        }
    }
}

impl JsonSchema for TimeSpan {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeSpan".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A span of time: `500ms`, `30s`, `5m`, `2h` or `1d`.",
            "pattern": "^[0-9]{1,12}(ms|s|m|h|d)$",
        })
    }
}

/// A row of a test's frame.
// As YAML, not JSON, which has no not-a-number and no infinity.
pub type Row = BTreeMap<String, serde_yaml::Value>;

/// What must come out of a stage, given small frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestCase {
    /// What is tested, as a sentence.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The rows of stages, by their id, instead of what those stages would give. A column that a row leaves out is null; the
    /// `partition` that a split adds is `train`. One number fills an array: `image: 255`. A source that no rows are given for is
    /// read as in a run.
    #[schemars(with = "BTreeMap<String, Vec<BTreeMap<String, serde_json::Value>>>")]
    pub given: BTreeMap<String, Vec<Row>>,
    /// The id of the stage whose frame is looked at. What it and the stages between have to learn, they learn from the given rows.
    pub stage: String,
    /// What its frame must be.
    pub expect: TestExpectation,
}

/// What a test expects.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct TestExpectation {
    /// This many rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// These rows, in this order. Columns that none of them names are not looked at; one that a row leaves out must be null.
    /// A real number may be off by a hundred-thousandth of itself, or by 1e-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<BTreeMap<String, serde_json::Value>>>")]
    pub frame: Option<Vec<Row>>,
    /// An SQL condition that every row meets; null does not meet it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// An error whose message holds this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        let span = |text: &str| TimeSpan::try_from(text.to_owned());
        assert_eq!(span("90s").map(|span| span.0.as_secs()), Ok(90));
        assert_eq!(span("2h").map(String::from), Ok("2h".into()));
        assert_eq!(span("90s").map(String::from), Ok("90s".into()));
        for wrong in ["", "5", "h", "5 h", "1w", "-1s", "99999999999999999999d"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
