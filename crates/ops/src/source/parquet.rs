//! `source.parquet`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::register_kind;

use super::declared::{FileParams, source_of_rows};
use crate::files::{Dialect, Format};

/// Read a Parquet file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Parquet {
    /// The file.
    #[schemars(length(min = 1))]
    path: String,
}

register_kind! { Parquet, "source.parquet", version: 1, example: "- source.parquet: {path: data/payments.parquet}" }

impl Parquet {
    fn params(&self) -> FileParams<'_> {
        FileParams {
            key: "path",
            path: &self.path,
            format: Format::Parquet,
            dialect: Dialect::default(),
            declared: None,
        }
    }
}

source_of_rows!(Parquet);
