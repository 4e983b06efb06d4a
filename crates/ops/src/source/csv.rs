//! `source.csv`.

use encoding_rs::{Encoding, UTF_8};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, Fingerprint, ParamPath, Problem, Result, Schema, Shape, Source,
    SourceContext, Stage, path, register_kind,
};

use super::declared::{Declared, FileParams, Undeclared};
use crate::files::{Dialect, Format, Lines, Storage, encoding};

/// Read CSV files.
///
/// Types are told from the first 10,000 rows (of several files, from the first rows of each): whole numbers, real numbers, `true`
/// and `false`, dates and datetimes, else text. A value further down that is not of its column's type stops the run where a stage
/// reads the column, and so does, whatever is read, a row that is too short or too long, a byte that is no text, or a file whose
/// columns differ from the others'; nothing becomes null that is not empty in the file. A file compressed with gzip or zstd is read as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Csv {
    /// The file, or several with wildcards.
    ///
    /// `data/2024-*.csv` or `data/**/*.csv` are read in the order of their names. In an object store: `s3://bucket/data.csv`,
    /// `gs://…`, `az://…`.
    #[schemars(length(min = 1))]
    path: String,
    /// The character between fields.
    #[serde(default = "comma")]
    delimiter: char,
    /// The character around fields that hold delimiters or line ends, written twice inside; `null` where it has no such meaning.
    #[serde(default = "double_quote")]
    quote: Option<char>,
    /// What a line begins with that is no row: `"#"`.
    #[schemars(length(min = 1))]
    comment: Option<String>,
    /// Lines at the start of the file to pass over, whatever is in them.
    #[serde(default)]
    #[schemars(range(max = 1_000_000))]
    skip_rows: u64,
    /// Whether the first line names the columns. Without it they are `column_1`, `column_2`, …, named by `names`, or, where `schema`
    /// declares as many columns as the file has, named by it in order.
    #[serde(default = "yes")]
    has_header: bool,
    /// The columns' names, for files without a header.
    #[schemars(length(min = 1))]
    names: Option<Vec<String>>,
    /// Texts that stand for a missing value, besides an empty field: `[NA, "?"]`.
    #[serde(default)]
    null_values: Vec<String>,
    /// The sign between a number's whole part and its fraction: `.` or `,`.
    #[serde(default)]
    decimal: Decimal,
    /// How characters are coded, by its name: `utf-8`, `windows-1252` (also called `latin-1`), `utf-16`, `gbk`, `shift_jis`, … A byte order
    /// mark in the file says more.
    #[serde(default = "utf_8")]
    #[schemars(length(min = 1))]
    encoding: String,
    /// The types of columns, by name; those not named are told from the rows.
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
    /// that `schema` does not name are then text.
    #[serde(default)]
    allow_empty: bool,
    /// Where the object store is and who asks, for what the environment does not say.
    storage: Option<Storage>,
}

/// The sign before a number's fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
enum Decimal {
    /// 1234.5
    #[default]
    #[serde(rename = ".")]
    Point,
    /// 1234,5
    #[serde(rename = ",")]
    Comma,
}

fn comma() -> char {
    ','
}

fn double_quote() -> Option<char> {
    Some('"')
}

fn yes() -> bool {
    true
}

fn utf_8() -> String {
    "utf-8".into()
}

register_kind! {
    Csv, "source.csv", version: 1,
    example: "- source.csv: {path: data/payments.csv, schema: {account: text}}",
}

impl Csv {
    fn encoding(&self) -> Option<&'static Encoding> {
        encoding(&self.encoding)
    }

    fn params(&self) -> FileParams<'_> {
        let ascii = |character: char| u8::try_from(character).ok();
        FileParams {
            dialect: Dialect {
                delimiter: ascii(self.delimiter).unwrap_or(b','),
                has_header: self.has_header,
                names: self.names.clone().unwrap_or_default(),
                null_values: self.null_values.clone(),
                encoding: self.encoding().unwrap_or(UTF_8),
                decimal_comma: self.decimal == Decimal::Comma,
                lines: Lines {
                    quote: self.quote.and_then(ascii),
                    comment: self.comment.clone().map(String::into_bytes),
                    skip: self.skip_rows,
                },
            },
            declared: self.schema.as_ref(),
            undeclared: self.undeclared,
            file_column: self.file_column.as_deref(),
            fill_missing: self.fill_missing,
            allow_empty: self.allow_empty,
            storage: self.storage.as_ref(),
            ..FileParams::new(&self.path, Format::Csv)
        }
    }

    /// What is wrong with how the file is said to be written.
    fn check_dialect(&self, cx: &mut CheckContext<'_>) {
        let mut refuse = |code, place: ParamPath, message: String, label: &str| {
            cx.report(Problem::error(code, place, message).label(label));
        };
        if !self.delimiter.is_ascii() || matches!(self.delimiter, '"' | '\n' | '\r') {
            refuse(
                "bad-delimiter",
                path!["delimiter"],
                format!(
                    "`{}` cannot separate fields",
                    self.delimiter.escape_default()
                ),
                "needs one ASCII character that is no quote and no line end",
            );
        }
        if let Some(quote) = self.quote
            && (!quote.is_ascii()
                || quote == self.delimiter
                || quote.is_ascii_alphanumeric()
                || matches!(quote, '\n' | '\r'))
        {
            refuse(
                "bad-quote",
                path!["quote"],
                format!("`{}` cannot be the quote", quote.escape_default()),
                "needs one ASCII sign that is no delimiter and no line end",
            );
        }
        if self.decimal == Decimal::Comma && self.delimiter == ',' {
            refuse(
                "bad-decimal",
                path!["decimal"],
                "the comma cannot stand inside numbers and between fields".into(),
                "`delimiter` is the comma, too",
            );
        }
        if self.encoding().is_none() {
            refuse(
                "unknown-encoding",
                path!["encoding"],
                format!("`{}` is no encoding that is known", self.encoding),
                "such as `utf-8`, `windows-1252`, `utf-16`, `gbk`, `shift_jis`",
            );
        }
        if self.has_header && self.names.is_some() {
            refuse(
                "unused-param",
                path!["names"],
                "the header names the columns".into(),
                "only with `has_header: false`; else use `clean.rename`",
            );
        }
        for (index, name) in self.names.iter().flatten().enumerate() {
            let before = self.names.iter().flatten().take(index);
            if before.into_iter().any(|other| other == name) {
                refuse(
                    "duplicate-column",
                    path!["names", index],
                    format!("`{name}` is named twice"),
                    "two columns of one name",
                );
            }
        }
    }
}

impl Stage for Csv {
    fn check(&self, _: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        self.check_dialect(cx);
        if cx.failed() {
            // The file would only be misread.
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
        self.params().fingerprint(cx)
    }

    fn explain(&self, error: Error, cx: &SourceContext<'_>) -> Error {
        self.params().explain(error, cx)
    }
}
