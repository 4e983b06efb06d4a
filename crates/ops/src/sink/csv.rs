//! `sink.csv`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Frame, Output, Problem, Result, Schema, Shape, Sink, SourceContext, Stage, path,
    register_kind,
};

use super::file::{SinkParams, TextCompression};
use crate::files::{Format, Storage, Writing};

/// Write the rows to a CSV file.
///
/// The file appears at once, when all rows are in it. Fields that hold the delimiter, a quote or a line end are quoted. Array columns
/// do not fit CSV.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Csv {
    /// The file; directories that are missing are made, a file that is there is replaced.
    ///
    /// Or an object: `s3://bucket/payments.csv`, `gs://…`, `az://…`.
    #[schemars(length(min = 1))]
    path: String,
    /// The character between fields.
    #[serde(default = "comma")]
    delimiter: char,
    /// Whether the first line names the columns.
    #[serde(default = "yes")]
    header: bool,
    /// The text of a missing value; default: an empty field.
    #[serde(default)]
    null_value: String,
    /// How the text is compressed; default: as the name's end says, `.gz`, `.zst` or none.
    compression: Option<TextCompression>,
    /// Where the object store is and who asks, for what the environment does not say.
    storage: Option<Storage>,
}

fn comma() -> char {
    ','
}

fn yes() -> bool {
    true
}

register_kind! { Csv, "sink.csv", version: 1, example: "- sink.csv: {path: out/payments.csv}" }

impl Csv {
    fn params(&self) -> SinkParams<'_> {
        let mut writing = Writing::new(&self.path, Format::Csv);
        writing.csv.separator = u8::try_from(self.delimiter).unwrap_or(b',');
        writing.csv.null = self.null_value.as_str().into();
        writing.has_header = self.header;
        TextCompression::apply(self.compression, &mut writing);
        SinkParams {
            path: &self.path,
            writing,
            storage: self.storage.as_ref(),
        }
    }
}

impl Stage for Csv {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        if !self.delimiter.is_ascii() || matches!(self.delimiter, '"' | '\n' | '\r') {
            cx.report(
                Problem::error(
                    "bad-delimiter",
                    path!["delimiter"],
                    format!(
                        "`{}` cannot separate fields",
                        self.delimiter.escape_default()
                    ),
                )
                .label("needs one ASCII character that is no quote and no line end"),
            );
        }
        if self.null_value.contains([self.delimiter, '"', '\n', '\r']) {
            cx.report(
                Problem::error(
                    "bad-null-value",
                    path!["null_value"],
                    format!(
                        "`{}` cannot stand in a field unquoted",
                        self.null_value.escape_default()
                    ),
                )
                .label("holds a delimiter, a quote or a line end"),
            );
        }
        self.params().check(inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Sink(self)
    }
}

impl Sink for Csv {
    fn target(&self, cx: &SourceContext<'_>) -> Option<std::path::PathBuf> {
        self.params().target(cx)
    }

    fn stream(
        &self,
        rows: polars::prelude::LazyFrame,
        cx: &SourceContext<'_>,
    ) -> Option<Result<Output>> {
        Some(self.params().stream(rows, cx))
    }

    fn write(&self, frame: &Frame, cx: &SourceContext<'_>) -> Result<Output> {
        self.params().write(frame, cx)
    }
}
