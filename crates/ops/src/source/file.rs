//! `source.file`.

use polars::prelude::LazyFrame;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, Fingerprint, Result, Schema, Shape, Source, SourceContext, Stage,
    register_kind,
};

use super::declared::{Declared, FileParams, Undeclared, UnknownFormat};
use crate::files::Storage;

/// Read files of rows in the format that their name says.
///
/// `.csv`, `.parquet`, `.ndjson`, `.jsonl`, `.json`, `.arrow`, `.ipc` and `.feather`, text also with `.gz` or `.zst`, each read as by
/// its own kind with its defaults; so that a pipeline can take any of them from a parameter: `path: "${input}"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AnyFile {
    /// The file, or several with wildcards.
    ///
    /// `data/2024-*.csv` or `data/**/*.csv` are read in the order of their names. In an object store: `s3://bucket/data.csv`,
    /// `gs://…`, `az://…`.
    #[schemars(length(min = 1))]
    path: String,
    /// The types of columns, by name; those not named are told from the file.
    schema: Option<Declared>,
    /// What becomes of columns that `schema` does not name.
    #[serde(default)]
    undeclared: Undeclared,
    /// The name of a column to make with the name of the file that a row comes from.
    #[schemars(length(min = 1))]
    file_column: Option<String>,
    /// Whether a column that some of several files lack is null there. Without it, files of different columns stop the run.
    #[serde(default)]
    fill_missing: bool,
    /// Whether a delivery without rows is taken as it is. Without it, a source that has no rows stops the run. Columns
    /// of text files are then those that `schema` names; others of CSV files are text.
    #[serde(default)]
    allow_empty: bool,
    /// Where the object store is and who asks, for what the environment does not say.
    storage: Option<Storage>,
}

register_kind! { AnyFile, "source.file", version: 1, example: "- source.file: {path: data/payments.parquet}" }

impl AnyFile {
    fn params(&self) -> Result<FileParams<'_>, UnknownFormat<'_>> {
        let named = FileParams::by_name("path", &self.path, self.schema.as_ref())?;
        Ok(FileParams {
            undeclared: self.undeclared,
            file_column: self.file_column.as_deref(),
            fill_missing: self.fill_missing,
            allow_empty: self.allow_empty,
            storage: self.storage.as_ref(),
            ..named
        })
    }
}

impl Stage for AnyFile {
    fn check(&self, _: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        match self.params() {
            Ok(params) => params.check(cx),
            Err(unknown) => unknown.report(cx),
        }
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Source(self)
    }
}

impl Source for AnyFile {
    fn scan(&self, cx: &SourceContext<'_>) -> Result<LazyFrame> {
        self.params()?.scan(cx)
    }

    fn fingerprint(&self, cx: &SourceContext<'_>) -> Result<Fingerprint> {
        self.params()?.fingerprint(cx)
    }

    fn rows(&self, cx: &SourceContext<'_>) -> Result<Option<usize>> {
        self.params()?.rows(cx)
    }

    fn explain(&self, error: Error, cx: &SourceContext<'_>) -> Error {
        match self.params() {
            Ok(params) => params.explain(error, cx),
            Err(_) => error,
        }
    }
}
