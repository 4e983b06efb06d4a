//! Files of rows: CSV, Parquet, newline-delimited JSON and Arrow IPC, read and written by their extension.
//!
//! Reading never guesses in silence: a value that does not fit its column's type, a row with too few fields or a byte that
//! is not UTF-8 is an error that names the line. Writing is all or nothing: a temporary name, then a rename.

mod csv;
mod input;
mod ndjson;
mod problem;
mod records;
mod stored;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use indexmap::IndexMap;
use polars::prelude::{
    CsvWriter, DataFrame, DataType, IpcWriter, JsonFormat, JsonWriter, LazyFrame, ParquetWriter,
    PolarsError, SerWriter,
};
use taktline_core::{Error, Result, Schema, type_name};

pub(crate) use csv::Dialect;
pub(crate) use input::{open_decompressed, read_decompressed};
pub(crate) use problem::{FileProblem, missing_directory, missing_file};

/// Rows that are looked at to tell the types of a text file's columns.
pub(crate) const SAMPLE_ROWS: usize = 10_000;

/// A format of files of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated text with a header, perhaps compressed with gzip.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// A JSON object a line.
    Ndjson,
    /// Apache Arrow's file format, also called Feather.
    Ipc,
}

impl Format {
    /// The extensions that [`Format::of`] knows, for messages.
    pub const EXTENSIONS: &'static str =
        "`.csv`, `.csv.gz`, `.parquet`, `.ndjson`, `.jsonl`, `.arrow`, `.ipc`, `.feather`";

    /// The format that a file's name says.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&[".csv", ".csv.gz"]) {
            Some(Self::Csv)
        } else if ends(&[".parquet"]) {
            Some(Self::Parquet)
        } else if ends(&[".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz"]) {
            Some(Self::Ndjson)
        } else if ends(&[".arrow", ".ipc", ".feather"]) {
            Some(Self::Ipc)
        } else {
            None
        }
    }

    /// The format that a file's name says.
    ///
    /// # Errors
    /// The name has none of [`Format::EXTENSIONS`].
    pub fn required(path: &Path) -> Result<Self> {
        Self::of(path).ok_or_else(|| Error::Format {
            path: path.to_owned(),
            message: format!(
                "the name does not say the format; known: {}",
                Self::EXTENSIONS
            ),
        })
    }

    /// Why a frame with these columns cannot be written in this format, column by column.
    pub(crate) fn unwritable<'c>(
        self,
        columns: impl IntoIterator<Item = (&'c str, &'c DataType)>,
    ) -> Vec<String> {
        if self != Self::Csv {
            return Vec::new();
        }
        columns
            .into_iter()
            .filter(|(_, dtype)| dtype.is_nested() || **dtype == DataType::Binary)
            .map(|(name, dtype)| format!("CSV cannot hold column `{name}` ({})", type_name(dtype)))
            .collect()
    }
}

/// What to write instead of CSV.
pub(crate) const NESTED_FORMATS: &str =
    "write Parquet, NDJSON or Arrow IPC instead, or drop the column";

/// A file of rows, and how to read it.
#[derive(Debug, Clone)]
pub(crate) struct RowFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) format: Format,
    /// How CSV is written in it.
    pub(crate) dialect: Dialect,
    /// The types that its columns must have; others are found out.
    pub(crate) declared: IndexMap<String, DataType>,
    /// Whether a declared column that the file does not have is an error.
    pub(crate) all_declared: bool,
}

impl RowFile {
    /// Everything that can be told from the header and a sample: the columns, if they can be told, and every problem.
    pub(crate) fn inspect(&self) -> (Option<polars::prelude::Schema>, Vec<FileProblem>) {
        if let Some(problem) = missing_file(&self.path) {
            return (None, vec![problem]);
        }
        let (schema, mut problems) = match self.format {
            Format::Csv => csv::inspect(self),
            Format::Ndjson => ndjson::inspect(self),
            Format::Parquet | Format::Ipc => stored::inspect(self),
        };
        if let (Some(schema), true) = (&schema, self.all_declared) {
            for name in self.declared.keys().filter(|name| !schema.contains(name)) {
                problems.push(
                    FileProblem::new(
                        "unknown-column",
                        format!("has no column `{name}`, which `schema` declares"),
                    )
                    .column(name)
                    .label("not in the file")
                    .help_if(taktline_core::did_you_mean(
                        name,
                        schema.iter_names().map(|name| name.as_str()),
                    )),
                );
            }
        }
        (schema, problems)
    }

    /// The rows, lazily; the whole file's structure is checked first where the format does not guarantee it.
    ///
    /// # Errors
    /// The first problem of the file.
    pub(crate) fn scan(&self) -> Result<LazyFrame> {
        let (schema, problems) = self.inspect();
        if let Some(problem) = problems.into_iter().next() {
            return Err(problem.into_error(&self.path));
        }
        let Some(schema) = schema else {
            return Err(Error::Format {
                path: self.path.clone(),
                message: "the columns cannot be told".into(),
            });
        };
        match self.format {
            Format::Csv => csv::scan(self, schema),
            Format::Ndjson => ndjson::scan(self, &schema),
            Format::Parquet | Format::Ipc => stored::scan(self),
        }
    }

    /// What an error of a query over this file's rows means: the line and column of a value that does not parse.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match (self.format, &error) {
            (Format::Csv, Error::Polars(polars)) => match csv::locate(self, &polars.to_string()) {
                Some(problem) => problem.into_error(&self.path),
                None => error,
            },
            _ => error,
        }
    }
}

fn row_file(path: &Path, known: Option<&Schema>) -> Result<RowFile> {
    let columns = known
        .map(|schema| schema.columns.as_slice())
        .unwrap_or_default();
    Ok(RowFile {
        path: path.to_owned(),
        format: Format::required(path)?,
        dialect: Dialect::default(),
        declared: columns
            .iter()
            .map(|column| (column.name.clone(), column.dtype.clone()))
            .collect(),
        all_declared: false,
    })
}

/// The rows of a file, lazily; the format comes from the extension.
///
/// `known` gives the types of columns that are known (a bundle's input schema); those that the file does not have are
/// passed over, other columns' types are told from the file. Parquet and Arrow IPC files keep the types they hold. A value
/// of a CSV file that does not fit its column becomes an error only when the frame is collected; [`explain_error`] then
/// says where it is.
///
/// # Errors
/// The file is missing, has an unknown extension, is empty or damaged.
pub fn scan_file(path: &Path, known: Option<&Schema>) -> Result<LazyFrame> {
    row_file(path, known)?.scan()
}

/// Says more about an error of a query over [`scan_file`]'s frame, where it can: the line and column of a value that does not parse.
pub fn explain_error(path: &Path, known: Option<&Schema>, error: Error) -> Error {
    match row_file(path, known) {
        Ok(file) => file.explain(error),
        Err(_) => error,
    }
}

/// All rows of a file; the format comes from the extension. `known` as for [`scan_file`].
///
/// # Errors
/// The file is missing, has an unknown extension, is empty or damaged, or a value does not fit its column.
pub fn read_file(path: &Path, known: Option<&Schema>) -> Result<DataFrame> {
    let file = row_file(path, known)?;
    file.scan()?
        .collect()
        .map_err(|error| file.explain(error.into()))
}

/// Writes the rows to a file, at once or not at all; the format comes from the extension (`.csv.gz` is compressed).
///
/// # Errors
/// The extension is unknown, the format cannot hold a column, or the file cannot be written.
pub fn write_file(path: &Path, rows: DataFrame) -> Result<()> {
    write_as(path, rows, Format::required(path)?)
}

/// Writes the rows to a file of that format, at once or not at all; a name that ends in `.gz` is compressed, where the format is text.
///
/// # Errors
/// The format cannot hold a column, or the file cannot be written.
pub(crate) fn write_as(path: &Path, mut rows: DataFrame, format: Format) -> Result<()> {
    let columns = rows
        .columns()
        .iter()
        .map(|column| (column.name().as_str(), column.dtype()));
    if let Some(reason) = format.unwritable(columns).into_iter().next() {
        return Err(Error::Format {
            path: path.to_owned(),
            message: format!("{reason}; {NESTED_FORMATS}"),
        });
    }
    let is_gzip = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    write_atomically(path, |file| {
        let written = match format {
            Format::Parquet => ParquetWriter::new(file).finish(&mut rows).map(|_| ()),
            Format::Ipc => IpcWriter::new(file).finish(&mut rows),
            Format::Csv | Format::Ndjson if is_gzip => {
                let mut encoder = GzEncoder::new(file, Compression::default());
                write_text(&mut rows, &mut encoder, format)
                    .and_then(|()| encoder.finish().map(|_| ()).map_err(PolarsError::from))
            }
            Format::Csv | Format::Ndjson => write_text(&mut rows, file, format),
        };
        written.map_err(|error| match error {
            // What polars says of a full disk names no file.
            PolarsError::IO { error, .. } => {
                Error::writing(path, std::io::Error::new(error.kind(), error.to_string()))
            }
            other => Error::Polars(other),
        })
    })
}

fn write_text(
    rows: &mut DataFrame,
    writer: &mut impl Write,
    format: Format,
) -> Result<(), PolarsError> {
    match format {
        Format::Ndjson => JsonWriter::new(writer)
            .with_json_format(JsonFormat::JsonLines)
            .finish(rows),
        _ => CsvWriter::new(writer).finish(rows),
    }
}

/// Writes a file at once or not at all: under a temporary name in the same directory, then renamed.
///
/// Missing directories are made. Whatever goes wrong, `path` holds either what it held before or all of the new content.
///
/// # Errors
/// Those of `write`; the file cannot be made, written or renamed; `path` is a directory or a device.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> Result<()>,
) -> Result<()> {
    let failed = |error| Error::writing(path, error);
    // A link stays a link: what it points to is replaced.
    let target = if path.is_symlink() {
        fs::canonicalize(path).map_err(failed)?
    } else {
        path.to_owned()
    };
    if target.exists() && !target.is_file() {
        return Err(Error::writing(
            path,
            std::io::Error::other("not a regular file"),
        ));
    }
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&directory).map_err(failed)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".takt-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any other new file: what the user's mask leaves.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut temporary = builder.tempfile_in(&directory).map_err(failed)?;
    {
        let mut writer = BufWriter::with_capacity(1 << 16, temporary.as_file_mut());
        write(&mut writer)?;
        writer.flush().map_err(failed)?;
    }
    temporary.as_file().sync_all().map_err(failed)?;
    temporary
        .persist(&target)
        .map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests;
