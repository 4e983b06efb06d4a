//! `sink.parquet`.

use polars::prelude::ParquetCompression;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::register_kind;

use super::file::{SinkParams, sink_of_rows};
use crate::files::{Format, Storage, Writing};

/// Write the rows to a Parquet file, or to a folder of partitions.
///
/// The file, or the whole folder, appears at once, when all rows are in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Parquet {
    /// The file, with `partition_by` the folder; directories that are missing are made, what is there is replaced.
    ///
    /// Or an object: `s3://bucket/payments.parquet`, `gs://…`, `az://…`.
    #[schemars(length(min = 1))]
    path: String,
    /// How its columns are compressed.
    #[serde(default)]
    compression: Compression,
    /// Columns whose values become folders, `year=2024/month=1/…`, in this order, and are not written inside. The rows of one folder
    /// keep their order; a missing value's folder is `__HIVE_DEFAULT_PARTITION__`. A folder that holds anything but partitions is
    /// not replaced.
    #[serde(default)]
    partition_by: Vec<String>,
    /// Where the object store is and who asks, for what the environment does not say.
    storage: Option<Storage>,
}

/// How a Parquet file's columns are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Compression {
    /// Zstandard: small and fast.
    #[default]
    Zstd,
    /// Snappy: fast, and read by every tool.
    Snappy,
    /// gzip: read by every tool.
    Gzip,
    /// LZ4: fastest.
    Lz4,
    /// Brotli: smallest.
    Brotli,
    /// As they are.
    None,
}

register_kind! {
    Parquet, "sink.parquet", version: 1,
    example: "- sink.parquet: {path: out/payments.parquet}",
}

impl Parquet {
    fn params(&self) -> SinkParams<'_> {
        SinkParams {
            path: &self.path,
            writing: Writing {
                parquet: match self.compression {
                    Compression::Zstd => ParquetCompression::Zstd(None),
                    Compression::Snappy => ParquetCompression::Snappy,
                    Compression::Gzip => ParquetCompression::Gzip(None),
                    Compression::Lz4 => ParquetCompression::Lz4Raw,
                    Compression::Brotli => ParquetCompression::Brotli(None),
                    Compression::None => ParquetCompression::Uncompressed,
                },
                partition_by: self.partition_by.clone(),
                ..Writing::new(&self.path, Format::Parquet)
            },
            storage: self.storage.as_ref(),
        }
    }
}

sink_of_rows!(Parquet);
