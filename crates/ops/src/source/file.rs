//! `source.file`.

use polars::prelude::LazyFrame;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, Fingerprint, Result, Schema, Shape, Source, SourceContext, Stage,
    register_kind,
};

use super::declared::{Declared, FileParams, UnknownFormat};

/// Read a file of rows in the format that its name says.
///
/// `.csv`, `.csv.gz`, `.parquet`, `.ndjson`, `.jsonl`, `.arrow`, `.ipc` and `.feather`, each read as by its own kind with
/// its defaults; so that a pipeline can take any of them from a parameter: `path: "${input}"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AnyFile {
    /// The file.
    #[schemars(length(min = 1))]
    path: String,
    /// The types of columns, by name; those not named are told from the file.
    schema: Option<Declared>,
}

register_kind! { AnyFile, "source.file", version: 1, example: "- source.file: {path: data/payments.parquet}" }

impl AnyFile {
    fn params(&self) -> Result<FileParams<'_>, UnknownFormat<'_>> {
        FileParams::by_name("path", &self.path, self.schema.as_ref())
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
        Ok(self.params()?.fingerprint(cx))
    }

    fn explain(&self, error: Error, cx: &SourceContext<'_>) -> Error {
        match self.params() {
            Ok(params) => params.explain(error, cx),
            Err(_) => error,
        }
    }
}
