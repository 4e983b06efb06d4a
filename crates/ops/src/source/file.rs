//! `source.file`.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, Fingerprint, Problem, Result, Schema, Shape, Source, SourceContext, Stage,
    path, register_kind,
};

use super::declared::{Declared, FileParams};
use crate::files::{Dialect, Format};

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
    fn params(&self) -> Option<FileParams<'_>> {
        let format = Format::of(Path::new(&self.path))?;
        Some(FileParams {
            path: &self.path,
            format,
            dialect: Dialect::default(),
            declared: self.schema.as_ref(),
        })
    }

    fn known(&self) -> Result<FileParams<'_>> {
        self.params()
            .ok_or_else(|| Error::data(format!("`{}`: {}", self.path, unknown_format())))
    }
}

fn unknown_format() -> String {
    format!(
        "the name does not say the format; known: {}",
        Format::EXTENSIONS
    )
}

impl Stage for AnyFile {
    fn check(&self, _: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        match self.params() {
            Some(params) => params.check(cx),
            None => {
                cx.report(
                    Problem::error(
                        "unknown-format",
                        path!["path"],
                        format!("`{}` does not say its format by its name", self.path),
                    )
                    .label("unknown extension")
                    .help(format!(
                        "known: {}; for CSV of another name use `source.csv`",
                        Format::EXTENSIONS
                    )),
                );
                Schema {
                    incomplete: true,
                    ..Schema::default()
                }
            }
        }
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Source(self)
    }
}

impl Source for AnyFile {
    fn scan(&self, cx: &SourceContext<'_>) -> Result<polars::prelude::LazyFrame> {
        self.known()?.scan(cx)
    }

    fn fingerprint(&self, cx: &SourceContext<'_>) -> Result<Fingerprint> {
        Ok(self.known()?.fingerprint(cx))
    }

    fn explain(&self, error: Error, cx: &SourceContext<'_>) -> Error {
        match self.params() {
            Some(params) => params.explain(error, cx),
            None => error,
        }
    }
}
