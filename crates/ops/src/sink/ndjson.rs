//! `sink.ndjson`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::register_kind;

use super::sink_of_rows;
use crate::files::Format;

/// Write the rows as newline-delimited JSON: an object a line.
///
/// The file appears at once, when all rows are in it. A name that ends in `.gz` is compressed.
/// JSON has no word for NaN and infinity: they are written as null.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ndjson {
    /// The file; directories that are missing are made, a file that is there is replaced.
    #[schemars(length(min = 1))]
    path: String,
}

register_kind! { Ndjson, "sink.ndjson", version: 1, example: "- sink.ndjson: {path: out/payments.ndjson}" }

sink_of_rows!(Ndjson, Format::Ndjson);
