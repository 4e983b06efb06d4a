//! `sink.ipc`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::register_kind;

use super::sink_of_rows;
use crate::files::Format;

/// Write the rows to an Arrow IPC file, also called Feather.
///
/// The file appears at once, when all rows are in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ipc {
    /// The file; directories that are missing are made, a file that is there is replaced.
    #[schemars(length(min = 1))]
    path: String,
}

register_kind! { Ipc, "sink.ipc", version: 1, example: "- sink.ipc: {path: out/payments.arrow}" }

sink_of_rows!(Ipc, Format::Ipc);
