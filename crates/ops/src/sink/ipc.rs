//! `sink.ipc`.

use polars::prelude::IpcCompression;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::register_kind;

use super::file::{SinkParams, sink_of_rows};
use crate::files::{Format, Storage, Writing};

/// Write the rows to an Arrow IPC file, also called Feather.
///
/// The file appears at once, when all rows are in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ipc {
    /// The file; directories that are missing are made, a file that is there is replaced.
    ///
    /// Or an object: `s3://bucket/payments.arrow`, `gs://…`, `az://…`.
    #[schemars(length(min = 1))]
    path: String,
    /// How its columns are compressed. What is not compressed can be read without copying.
    #[serde(default)]
    compression: Compression,
    /// Where the object store is and who asks, for what the environment does not say.
    storage: Option<Storage>,
}

/// How an Arrow file's columns are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Compression {
    /// As they are.
    #[default]
    None,
    /// LZ4: fast.
    Lz4,
    /// Zstandard: small.
    Zstd,
}

register_kind! { Ipc, "sink.ipc", version: 1, example: "- sink.ipc: {path: out/payments.arrow}" }

impl Ipc {
    fn params(&self) -> SinkParams<'_> {
        SinkParams {
            path: &self.path,
            writing: Writing {
                ipc: match self.compression {
                    Compression::None => None,
                    Compression::Lz4 => Some(IpcCompression::LZ4),
                    Compression::Zstd => Some(IpcCompression::ZSTD(Default::default())),
                },
                ..Writing::new(&self.path, Format::Ipc)
            },
            storage: self.storage.as_ref(),
        }
    }
}

sink_of_rows!(Ipc);
