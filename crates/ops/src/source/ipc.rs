//! `source.ipc`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::register_kind;

use super::declared::{FileParams, source_of_rows};
use crate::files::{Format, Storage};

/// Read Arrow IPC files, also called Feather.
///
/// Only the columns that the stages below need are read, in an object store too. Folders of partitions
/// (`data/year=2024/month=01/…`) give a column each. Several files must have the same columns, of the same types.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ipc {
    /// The file, a folder with such files in it, or several with wildcards.
    ///
    /// `data/2024-*.arrow` or `data/**/*.arrow` are read in the order of their names. In an object store: `s3://bucket/data.arrow`,
    /// a folder `s3://bucket/data/`, `gs://…`, `az://…`.
    #[schemars(length(min = 1))]
    path: String,
    /// The name of a column to make with the name of the file that a row comes from.
    #[schemars(length(min = 1))]
    file_column: Option<String>,
    /// Whether a column that some of several files lack is null there. Without it, files of different columns stop the run.
    #[serde(default)]
    fill_missing: bool,
    /// Whether folders such as `year=2024` give columns: whole numbers, dates or text, told from all values (numbers with a zero in
    /// front, such as `007`, are text; `01` is a month). Default: if the path is a folder or has wildcards.
    partitions: Option<bool>,
    /// Whether a delivery without rows is taken as it is. Without it, a source that has no rows stops the run.
    #[serde(default)]
    allow_empty: bool,
    /// Where the object store is and who asks, for what the environment does not say.
    storage: Option<Storage>,
}

register_kind! { Ipc, "source.ipc", version: 1, example: "- source.ipc: {path: data/payments.arrow}" }

impl Ipc {
    fn params(&self) -> FileParams<'_> {
        FileParams {
            file_column: self.file_column.as_deref(),
            fill_missing: self.fill_missing,
            partitions: self.partitions,
            allow_empty: self.allow_empty,
            storage: self.storage.as_ref(),
            ..FileParams::new(&self.path, Format::Ipc)
        }
    }
}

source_of_rows!(Ipc);
