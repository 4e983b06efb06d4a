//! `sink.csv`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::register_kind;

use super::sink_of_rows;
use crate::files::Format;

/// Write the rows to a CSV file.
///
/// The file appears at once, when all rows are in it. A name that ends in `.gz` is compressed. Array columns do not fit CSV.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Csv {
    /// The file; directories that are missing are made, a file that is there is replaced.
    #[schemars(length(min = 1))]
    path: String,
}

register_kind! { Csv, "sink.csv", version: 1, example: "- sink.csv: {path: out/payments.csv}" }

sink_of_rows!(Csv, Format::Csv);
