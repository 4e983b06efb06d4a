//! `sink.parquet`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::register_kind;

use super::sink_of_rows;
use crate::files::Format;

/// Write the rows to a Parquet file.
///
/// The file appears at once, when all rows are in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Parquet {
    /// The file; directories that are missing are made, a file that is there is replaced.
    #[schemars(length(min = 1))]
    path: String,
}

register_kind! { Parquet, "sink.parquet", version: 1, example: "- sink.parquet: {path: out/payments.parquet}" }

sink_of_rows!(Parquet, Format::Parquet);
