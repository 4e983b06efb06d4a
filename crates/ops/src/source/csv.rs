//! `source.csv`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, Fingerprint, Problem, Result, Schema, Shape, Source, SourceContext, Stage,
    path, register_kind,
};

use super::declared::{Declared, FileParams};
use crate::files::{Dialect, Format};

/// Read a CSV file.
///
/// Types are told from the first 10,000 rows: whole numbers, real numbers, `true` and `false`, dates and datetimes, else
/// text. A value further down that is not of its column's type stops the run, and so does a row that is too short or too
/// long; nothing becomes null that is not empty in the file. A file compressed with gzip is read as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Csv {
    /// The file.
    #[schemars(length(min = 1))]
    path: String,
    /// The character between fields.
    #[serde(default = "comma")]
    delimiter: char,
    /// Whether the first line names the columns. Without it they are `column_1`, `column_2`, …, or, where `schema` declares
    /// as many columns as the file has, named by it in order.
    #[serde(default = "yes")]
    has_header: bool,
    /// Texts that stand for a missing value, besides an empty field: `[NA, "?"]`.
    #[serde(default)]
    null_values: Vec<String>,
    /// The types of columns, by name; those not named are told from the rows.
    schema: Option<Declared>,
}

fn comma() -> char {
    ','
}

fn yes() -> bool {
    true
}

register_kind! {
    Csv, "source.csv", version: 1,
    example: "- source.csv: {path: data/payments.csv, schema: {account: text}}",
}

impl Csv {
    fn params(&self) -> FileParams<'_> {
        FileParams {
            key: "path",
            path: &self.path,
            format: Format::Csv,
            dialect: Dialect {
                delimiter: u8::try_from(self.delimiter).unwrap_or(b','),
                has_header: self.has_header,
                null_values: self.null_values.clone(),
            },
            declared: self.schema.as_ref(),
        }
    }
}

impl Stage for Csv {
    fn check(&self, _: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
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
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        }
        self.params().check(cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Source(self)
    }
}

impl Source for Csv {
    fn scan(&self, cx: &SourceContext<'_>) -> Result<polars::prelude::LazyFrame> {
        self.params().scan(cx)
    }

    fn fingerprint(&self, cx: &SourceContext<'_>) -> Result<Fingerprint> {
        Ok(self.params().fingerprint(cx))
    }

    fn explain(&self, error: Error, cx: &SourceContext<'_>) -> Error {
        self.params().explain(error, cx)
    }
}
