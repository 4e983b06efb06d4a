//! `sink.ndjson`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::register_kind;

use super::file::{SinkParams, TextCompression, sink_of_rows};
use crate::files::{Format, Storage, Writing};

/// Write the rows as newline-delimited JSON: an object a line.
///
/// The file appears at once, when all rows are in it. JSON has no word for NaN and infinity: they are written as null, and
/// the run's summary counts them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ndjson {
    /// The file; directories that are missing are made, a file that is there is replaced.
    ///
    /// Or an object: `s3://bucket/payments.ndjson`, `gs://…`, `az://…`.
    #[schemars(length(min = 1))]
    path: String,
    /// How the text is compressed; default: as the name's end says, `.gz`, `.zst` or none.
    compression: Option<TextCompression>,
    /// Where the object store is and who asks, for what the environment does not say.
    storage: Option<Storage>,
}

register_kind! { Ndjson, "sink.ndjson", version: 1, example: "- sink.ndjson: {path: out/payments.ndjson}" }

impl Ndjson {
    fn params(&self) -> SinkParams<'_> {
        let mut writing = Writing::new(&self.path, Format::Ndjson);
        TextCompression::apply(self.compression, &mut writing);
        SinkParams {
            path: &self.path,
            writing,
            storage: self.storage.as_ref(),
        }
    }
}

sink_of_rows!(Ndjson);
