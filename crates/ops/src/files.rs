//! Files of rows: CSV, Parquet, JSON and Arrow IPC, read and written by their extension.
//!
//! Reading never guesses in silence: a value that does not fit its column's type, a row with too few fields or a byte that
//! is not text is an error that names the line. Writing is all or nothing: a temporary name, then a rename.

mod csv;
mod encoding;
mod input;
mod json;
mod json_columns;
mod ndjson;
mod object;
mod outline;
mod pattern;
mod problem;
mod records;
mod set;
mod stored;
mod write;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use indexmap::IndexMap;
use polars::prelude::{DataFrame, DataType, IntoLazy, LazyFrame, Schema as PolarsSchema};
use taktline_core::{Error, Result, Schema, type_name};

pub(crate) use encoding::encoding;
pub(crate) use input::{Place, open_decompressed, read_decompressed};
pub(crate) use json_columns::JsonLayout;
pub(crate) use object::{Storage, find, scheme, unknown_scheme, unwritable_address};
pub(crate) use outline::Dialect;
pub(crate) use pattern::{Pattern, files_below};
pub(crate) use problem::{
    FileProblem, file_above, missing_directory, missing_file, unwritable_path,
};
pub(crate) use records::Lines;
pub(crate) use set::{FileSet, NewColumns};
pub(crate) use stored::Partitions;
pub(crate) use write::{Writing, foreign};
pub use write::{discard_unfinished, write_atomically};

/// Rows that are looked at to tell the types of a text file's columns.
pub(crate) const SAMPLE_ROWS: usize = 10_000;

/// A format of files of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated text with a header, perhaps compressed with gzip or zstd.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// A JSON object a line, perhaps compressed.
    Ndjson,
    /// A JSON array of objects, perhaps compressed.
    Json,
    /// Apache Arrow's file format, also called Feather.
    Ipc,
}

impl Format {
    /// The extensions that [`Format::of`] knows, for messages.
    pub const EXTENSIONS: &'static str = "`.csv`, `.parquet`, `.ndjson`, `.jsonl`, `.json`, `.arrow`, `.ipc`, `.feather`; text also with `.gz` or `.zst`";

    /// The format that a file's name says.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let text = name
            .strip_suffix(".gz")
            .or_else(|| name.strip_suffix(".zst"));
        let text_format = |name: &str| match name.rsplit_once('.')?.1 {
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "json" => Some(Self::Json),
            _ => None,
        };
        match text {
            Some(text) => text_format(text),
            None => text_format(&name).or_else(|| match name.rsplit_once('.')?.1 {
                "parquet" => Some(Self::Parquet),
                "arrow" | "ipc" | "feather" => Some(Self::Ipc),
                _ => None,
            }),
        }
    }

    /// The format that a file's name says.
    ///
    /// # Errors
    /// The name has none of [`Format::EXTENSIONS`].
    pub fn required(path: &Path) -> Result<Self> {
        Self::of(path).ok_or_else(|| {
            Error::data(format!(
                "`{}` does not say its format by its name; known: {}",
                path.display(),
                Self::EXTENSIONS
            ))
        })
    }

    /// What the names of files of this format in a folder end with.
    pub(crate) fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Csv => &[".csv", ".csv.gz", ".csv.zst"],
            Self::Parquet => &[".parquet"],
            Self::Ndjson => &[
                ".ndjson",
                ".jsonl",
                ".ndjson.gz",
                ".jsonl.gz",
                ".ndjson.zst",
                ".jsonl.zst",
            ],
            Self::Json => &[".json", ".json.gz", ".json.zst"],
            Self::Ipc => &[".arrow", ".ipc", ".feather"],
        }
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
            .filter(|(_, dtype)| {
                let is_plain = !dtype.is_nested() && !matches!(dtype, DataType::Duration(_));
                !is_plain || **dtype == DataType::Binary
            })
            .map(|(name, dtype)| {
                let seconds = match dtype {
                    DataType::Duration(_) => {
                        format!("; `extract(epoch from {name})` makes seconds of it")
                    }
                    _ => String::new(),
                };
                format!(
                    "CSV cannot hold column `{name}` ({}){seconds}",
                    type_name(dtype)
                )
            })
            .collect()
    }

    /// Whether NaN and infinity can be written: JSON has no word for them.
    pub(crate) fn holds_not_finite(self) -> bool {
        !matches!(self, Self::Json | Self::Ndjson)
    }
}

/// What to write instead of CSV.
pub(crate) const NESTED_FORMATS: &str =
    "write Parquet, NDJSON or Arrow IPC instead, or drop the column";

/// A file of rows, and how to read it.
#[derive(Debug, Clone)]
pub(crate) struct RowFile {
    /// Where it is.
    pub(crate) place: Place,
    /// What messages call it.
    pub(crate) shown: String,
    /// What is in it.
    pub(crate) format: Format,
    /// How CSV is written in it.
    pub(crate) dialect: Dialect,
    /// How JSON becomes columns.
    pub(crate) json: JsonLayout,
    /// The types that its columns must have; others are found out.
    pub(crate) declared: IndexMap<String, DataType>,
    /// Whether a declared column that the file does not have is an error.
    pub(crate) all_declared: bool,
    /// Types that are known from elsewhere (from other files).
    pub(crate) types: IndexMap<String, DataType>,
    /// Whether a file without rows is one like others.
    pub(crate) may_be_empty: bool,
    /// Rows that types are told from.
    pub(crate) sample_rows: usize,
    /// Where copies are kept that polars reads instead; without such a place all is held in memory.
    pub(crate) fetched: Option<PathBuf>,
}

/// What a file's header and sample tell.
#[derive(Debug, Clone)]
pub(crate) struct Inspected {
    /// The columns, in the file's order.
    schema: PolarsSchema,
    /// Columns without any value in the sample: their types are only guessed.
    without_values: BTreeSet<String>,
    /// Columns told to be whole numbers though a value has a zero in front, and that value.
    leading_zeros: Vec<(String, String)>,
    /// There are no rows.
    is_empty: bool,
}

impl RowFile {
    /// A local file in its format's usual dialect.
    pub(crate) fn new(path: PathBuf, format: Format, fetched: Option<PathBuf>) -> Self {
        Self {
            shown: path.display().to_string(),
            place: Place::File(path),
            format,
            dialect: Dialect::default(),
            json: JsonLayout::default(),
            declared: IndexMap::new(),
            all_declared: false,
            types: IndexMap::new(),
            may_be_empty: false,
            sample_rows: SAMPLE_ROWS,
            fetched,
        }
    }

    /// The folder for copies.
    fn copies(&self) -> PathBuf {
        self.fetched
            .clone()
            .unwrap_or_else(|| std::env::temp_dir().join("takt-fetched"))
    }

    fn known_type(&self, name: &str) -> Option<&DataType> {
        self.declared.get(name).or_else(|| self.types.get(name))
    }

    /// What can be told from the header and a sample: the columns, if they can be told, and every problem.
    fn inspect(&self) -> (Option<Inspected>, Vec<FileProblem>) {
        if let Place::File(path) = &self.place
            && let Some(problem) = missing_file(path)
        {
            return (None, vec![problem]);
        }
        match self.format {
            Format::Csv => csv::inspect(self),
            Format::Ndjson => ndjson::inspect(self),
            Format::Json => json::inspect(self),
            Format::Parquet | Format::Ipc => stored::inspect(self),
        }
    }
}

fn by_name(path: &Path, known: Option<&Schema>) -> Result<FileSet> {
    let columns = known
        .map(|schema| schema.columns.as_slice())
        .unwrap_or_default();
    Ok(FileSet::one(RowFile {
        declared: columns
            .iter()
            .map(|column| (column.name.clone(), column.dtype.clone()))
            .collect(),
        // An empty batch is scored too: there is nothing to say about no rows.
        may_be_empty: known.is_some(),
        ..RowFile::new(path.to_owned(), Format::required(path)?, None)
    }))
}

/// The rows of a file, lazily; the format comes from the extension.
///
/// `known` gives the types of columns that are known (a bundle's input schema); those that the file does not have are
/// passed over, other columns' types are told from the file, and a file without rows is no error. Parquet and Arrow IPC
/// files keep the types they hold. A value of a CSV file that does not fit its column becomes an error only when the frame
/// is collected; [`explain_error`] then says where it is.
///
/// # Errors
/// The file is missing, has an unknown extension, is empty or damaged.
pub fn scan_file(path: &Path, known: Option<&Schema>) -> Result<LazyFrame> {
    by_name(path, known)?
        .scan()
        .map_err(|problem| problem.into_error(path))
}

/// Says more about an error of a query over [`scan_file`]'s frame, where it can: the line and column of a value that does not parse.
pub fn explain_error(path: &Path, known: Option<&Schema>, error: Error) -> Error {
    match by_name(path, known)
        .ok()
        .and_then(|file| file.explain(&error))
    {
        Some(problem) => problem.into_error(path),
        None => error,
    }
}

/// All rows of a file; the format comes from the extension. `known` as for [`scan_file`].
///
/// # Errors
/// The file is missing, has an unknown extension, is empty or damaged, or a value does not fit its column.
pub fn read_file(path: &Path, known: Option<&Schema>) -> Result<DataFrame> {
    scan_file(path, known)?
        .collect()
        .map_err(|error| explain_error(path, known, error.into()))
}

/// Writes the rows to a file, at once or not at all; the format comes from the extension (`.csv.gz` is compressed).
///
/// # Errors
/// The extension is unknown, the format cannot hold a column, or the file cannot be written.
pub fn write_file(path: &Path, rows: DataFrame) -> Result<()> {
    let format = Format::required(path)?;
    Writing::new(&path.to_string_lossy(), format).write(path, rows.lazy())
}

#[cfg(test)]
mod tests;
