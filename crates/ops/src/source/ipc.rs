//! `source.ipc`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::register_kind;

use super::declared::{FileParams, source_of_rows};
use crate::files::{Dialect, Format};

/// Read an Arrow IPC file, also called Feather.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ipc {
    /// The file.
    #[schemars(length(min = 1))]
    path: String,
}

register_kind! { Ipc, "source.ipc", version: 1, example: "- source.ipc: {path: data/payments.arrow}" }

impl Ipc {
    fn params(&self) -> FileParams<'_> {
        FileParams {
            key: "path",
            path: &self.path,
            format: Format::Ipc,
            dialect: Dialect::default(),
            declared: None,
        }
    }
}

source_of_rows!(Ipc);
