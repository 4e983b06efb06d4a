//! `source.ndjson`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::register_kind;

use super::declared::{Declared, FileParams, Undeclared, source_of_rows};
use crate::files::{Format, JsonLayout, Storage};

/// Read newline-delimited JSON: an object a line.
///
/// Types are told from the first 10,000 records; text that is always a date or datetime (ISO 8601) becomes one. Lists of
/// numbers that all have the same lengths become arrays. A field that is not there is null. A value or a field further down that
/// does not fit stops the run. A file compressed with gzip or zstd is read as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ndjson {
    /// The file, or several with wildcards.
    ///
    /// `data/2024-*.ndjson` or `data/**/*.ndjson` are read in the order of their names. In an object store: `s3://bucket/data.ndjson`,
    /// `gs://…`, `az://…`.
    #[schemars(length(min = 1))]
    path: String,
    /// Whether the fields of a nested object become columns: `city` in `address` is `address_city`. Without it, nested objects
    /// stop the run.
    #[serde(default)]
    flatten: bool,
    /// The types of fields, by name; those not named are told from the records.
    schema: Option<Declared>,
    /// What becomes of columns that `schema` does not name.
    #[serde(default)]
    undeclared: Undeclared,
    /// The name of a column to make with the name of the file that a row comes from.
    #[schemars(length(min = 1))]
    file_column: Option<String>,
    /// Whether a delivery without rows is taken as it is. Without it, a source that has no rows stops the run. Its columns
    /// are then those that `schema` names.
    #[serde(default)]
    allow_empty: bool,
    /// Where the object store is and who asks, for what the environment does not say.
    storage: Option<Storage>,
}

register_kind! {
    Ndjson, "source.ndjson", version: 1,
    example: "- source.ndjson: {path: data/payments.ndjson}",
}

impl Ndjson {
    fn params(&self) -> FileParams<'_> {
        FileParams {
            json: JsonLayout {
                records: None,
                flatten: self.flatten,
            },
            declared: self.schema.as_ref(),
            undeclared: self.undeclared,
            file_column: self.file_column.as_deref(),
            allow_empty: self.allow_empty,
            storage: self.storage.as_ref(),
            ..FileParams::new(&self.path, Format::Ndjson)
        }
    }
}

source_of_rows!(Ndjson);
