//! `source.ndjson`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::register_kind;

use super::declared::{Declared, FileParams, source_of_rows};
use crate::files::{Dialect, Format};

/// Read newline-delimited JSON: an object a line.
///
/// Types are told from the first 10,000 lines; text that is always a date or datetime (ISO 8601) becomes one. Lists of
/// numbers that all have the same lengths become arrays. A value or a field further down that does not fit stops the run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ndjson {
    /// The file.
    #[schemars(length(min = 1))]
    path: String,
    /// The types of fields, by name; those not named are told from the lines.
    schema: Option<Declared>,
}

register_kind! { Ndjson, "source.ndjson", version: 1, example: "- source.ndjson: {path: data/payments.ndjson}" }

impl Ndjson {
    fn params(&self) -> FileParams<'_> {
        FileParams {
            key: "path",
            path: &self.path,
            format: Format::Ndjson,
            dialect: Dialect::default(),
            declared: self.schema.as_ref(),
        }
    }
}

source_of_rows!(Ndjson);
