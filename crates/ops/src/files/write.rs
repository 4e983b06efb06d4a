//! Writing rows while they go by: polars' streaming engine runs the query and never holds more than a few parts of it.
//! A file, a folder of partitions or an object appears when all of it is there.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use polars::{
    io::utils::file::Writable,
    lazy::dsl::{SpecialEq, col},
    prelude::{
        CsvWriterOptions, Engine, ExternalCompression, FileWriteFormat, IdxSize, IpcCompression,
        IpcWriterOptions, JsonFormat, JsonWriter, LazyFrame, NDJsonWriterOptions,
        ParquetCompression, ParquetWriteOptions, PartitionStrategy, PlRefPath, PolarsError,
        SerWriter, SerializeOptions, SinkDestination, SinkTarget, UnifiedSinkArgs,
    },
};
use taktline_core::{Error, Result};

use super::{
    FileProblem, Format,
    object::{self, Storage},
    problem::file_above,
};

/// Rows of a row group or record batch. A fixed number, so that a file does not depend on how the rows came; as many as
/// DuckDB writes by default. Several groups are under way at a time, so that a larger one would cost memory.
const GROUP_ROWS: usize = 122_880;

/// How rows are written.
#[derive(Debug, Clone)]
pub(crate) struct Writing {
    pub(crate) format: Format,
    /// How text is compressed.
    pub(crate) compression: ExternalCompression,
    /// How CSV is written.
    pub(crate) csv: SerializeOptions,
    /// Whether the first line of CSV names the columns.
    pub(crate) has_header: bool,
    pub(crate) parquet: ParquetCompression,
    pub(crate) ipc: Option<IpcCompression>,
    /// Columns that become folders; the path is a folder then.
    pub(crate) partition_by: Vec<String>,
}

impl Writing {
    /// As the format is usually written; a name that ends in `.gz` or `.zst` says that text is compressed.
    pub(crate) fn new(path: &str, format: Format) -> Self {
        let name = path.to_lowercase();
        let compression = if name.ends_with(".gz") {
            ExternalCompression::Gzip { level: None }
        } else if name.ends_with(".zst") {
            ExternalCompression::Zstd { level: None }
        } else {
            ExternalCompression::Uncompressed
        };
        Self {
            format,
            compression,
            csv: SerializeOptions::default(),
            has_header: true,
            parquet: ParquetCompression::default(),
            ipc: None,
            partition_by: Vec::new(),
        }
    }

    fn options(&self) -> FileWriteFormat {
        match self.format {
            Format::Parquet => FileWriteFormat::Parquet(Arc::new(ParquetWriteOptions {
                compression: self.parquet,
                row_group_size: Some(GROUP_ROWS),
                ..ParquetWriteOptions::default()
            })),
            Format::Ipc => FileWriteFormat::Ipc(IpcWriterOptions {
                compression: self.ipc,
                record_batch_size: Some(GROUP_ROWS),
                ..IpcWriterOptions::default()
            }),
            Format::Csv => FileWriteFormat::Csv(CsvWriterOptions {
                compression: self.compression,
                // The name is a temporary one.
                check_extension: false,
                include_header: self.has_header,
                batch_size: NonZeroUsize::new(1024).unwrap_or(NonZeroUsize::MIN),
                serialize_options: Arc::new(self.csv.clone()),
                ..CsvWriterOptions::default()
            }),
            Format::Ndjson | Format::Json => FileWriteFormat::NDJson(NDJsonWriterOptions {
                compression: self.compression,
                check_extension: false,
            }),
        }
    }

    /// Writes the rows of the query to a file, or to a folder of partitions, at once or not at all. Rows keep their order.
    ///
    /// # Errors
    /// The format cannot hold a column, the query fails, or the file cannot be written.
    pub(crate) fn write(&self, path: &Path, rows: LazyFrame) -> Result<()> {
        let mut rows = rows;
        let schema = rows.collect_schema()?;
        let columns = schema.iter().map(|(name, dtype)| (name.as_str(), dtype));
        if let Some(reason) = self.format.unwritable(columns).into_iter().next() {
            let message = format!("{reason}; {}", super::NESTED_FORMATS);
            return Err(FileProblem::new(
                "unwritable-column",
                format!("cannot be written: {message}"),
            )
            .into_error(path));
        }
        if !self.partition_by.is_empty() {
            return self.write_folder(path, rows);
        }
        let unfinished = Unfinished::begin(path)?;
        self.write_to(unfinished.temporary.as_file(), rows)
            .map_err(|error| told(error, path))?;
        unfinished.finish()
    }

    fn write_to(&self, file: &File, rows: LazyFrame) -> Result<(), PolarsError> {
        if self.format == Format::Json {
            return self.write_document(file, rows);
        }
        // Not by its name: a query that fails goes on for a moment, and would make a file anew that is gone by then.
        let file = Writable::Local(file.try_clone()?);
        let target = SinkTarget::Dyn(SpecialEq::new(Arc::new(Mutex::new(Some(file)))));
        self.sink(rows, SinkDestination::File { target })
    }

    fn sink(&self, rows: LazyFrame, destination: SinkDestination) -> Result<(), PolarsError> {
        rows.sink(
            destination,
            self.options(),
            UnifiedSinkArgs {
                maintain_order: true,
                ..UnifiedSinkArgs::default()
            },
        )
        .and_then(|query| query.collect_with_engine(Engine::Streaming))
        .map(|_| ())
    }

    /// An array of objects; a document has no parts that could go by.
    fn write_document(&self, file: &File, rows: LazyFrame) -> Result<(), PolarsError> {
        let mut rows = rows.collect()?;
        let mut write = |writer: &mut dyn Write| {
            JsonWriter::new(writer)
                .with_json_format(JsonFormat::Json)
                .finish(&mut rows)
        };
        match self.compression {
            ExternalCompression::Uncompressed => {
                let mut writer = BufWriter::new(file);
                write(&mut writer)?;
                writer.flush()?;
                Ok(())
            }
            ExternalCompression::Gzip { .. } => {
                let mut encoder =
                    flate2::write::GzEncoder::new(BufWriter::new(file), Default::default());
                write(&mut encoder)?;
                encoder.finish()?.flush()?;
                Ok(())
            }
            ExternalCompression::Zstd { level } => {
                use polars::io::utils::{compression::CompressedWriter, file::WritableTrait};
                let file = Writable::Local(file.try_clone()?);
                let mut encoder = CompressedWriter::zstd(file, level)?;
                write(&mut encoder)?;
                encoder.close()?;
                Ok(())
            }
        }
    }

    /// Writes the rows as an object of a store, by way of a file here.
    ///
    /// # Errors
    /// As [`Writing::write`]; the store refuses the object or does not answer.
    pub(crate) fn write_object(
        &self,
        url: &str,
        storage: Option<&Storage>,
        rows: LazyFrame,
    ) -> Result<(), FileProblem> {
        let failed = |error: std::io::Error| {
            FileProblem::new("unwritable-file", format!("cannot be written: {error}"))
        };
        let temporary = tempfile::NamedTempFile::with_prefix(".takt-").map_err(failed)?;
        self.write_to(temporary.as_file(), rows).map_err(|error| {
            FileProblem::new("unwritable-file", format!("cannot be written: {error}"))
        })?;
        object::upload(url, storage, File::open(temporary.path()).map_err(failed)?)
    }

    /// Writes a folder with a folder for each value of the first column, in it one for each of the second, … .
    fn write_folder(&self, path: &Path, rows: LazyFrame) -> Result<()> {
        let failed = |error| Error::writing(path, error);
        if let Some(problem) = foreign(path) {
            return Err(problem.into_error(path));
        }
        if let Some(problem) = file_above(path) {
            return Err(problem.into_error(path));
        }
        let above = match path.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            _ => Path::new("."),
        };
        fs::create_dir_all(above).map_err(failed)?;
        let mut builder = tempfile::Builder::new();
        let prefix = unfinished_prefix();
        builder.prefix(&prefix).suffix(UNFINISHED);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any other new folder: what the user's mask leaves.
            builder.permissions(fs::Permissions::from_mode(0o777));
        }
        let temporary = builder.tempdir_in(above).map_err(failed)?;
        let new = temporary.path().join("new");
        fs::create_dir(&new).map_err(failed)?;
        let keys = self.partition_by.iter().map(|name| col(name.as_str()));
        let destination = SinkDestination::Partitioned {
            base_path: PlRefPath::new(new.to_string_lossy().as_ref()),
            file_path_provider: None,
            partition_strategy: PartitionStrategy::Keyed {
                keys: keys.collect(),
                include_keys: false,
                keys_pre_grouped: false,
            },
            max_rows_per_file: IdxSize::MAX,
            approximate_bytes_per_file: u64::MAX,
        };
        self.sink(rows, destination)
            .map_err(|error| told(error, path))?;
        // Two renames are as near to one as a file system has for folders; the old one comes back if the second fails.
        let old = temporary.path().join("old");
        let had_one = path.exists();
        if had_one {
            fs::rename(path, &old).map_err(failed)?;
        }
        if let Err(error) = fs::rename(&new, path) {
            if had_one {
                fs::rename(&old, path).map_err(failed)?;
            }
            return Err(failed(error));
        }
        Ok(())
    }
}

/// Why a folder must not be replaced: it holds what no sink has written.
pub(crate) fn foreign(path: &Path) -> Option<FileProblem> {
    if path.is_file() {
        return Some(
            FileProblem::new("bad-path", "is a file, and `partition_by` writes a folder")
                .label("needs a folder's name"),
        );
    }
    let entries = fs::read_dir(path).ok()?;
    let other = entries.flatten().find(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        !(name.contains('=') && entry.path().is_dir())
    })?;
    Some(
        FileProblem::new(
            "bad-path",
            format!(
                "holds `{}`, which is no partition and would be lost: the folder is replaced as a whole",
                other.file_name().to_string_lossy()
            ),
        )
        .label("other things are in here")
        .help("name a folder of its own"),
    )
}

/// `ENOSPC`.
const NO_SPACE: i32 = 28;

fn told(error: PolarsError, path: &Path) -> Error {
    match error {
        // What polars says of a full disk names no file.
        PolarsError::IO { error, .. } if error.raw_os_error() == Some(NO_SPACE) => {
            Error::writing(path, std::io::Error::new(error.kind(), error.to_string()))
        }
        other => Error::Polars(other),
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
    let mut unfinished = Unfinished::begin(path)?;
    {
        let file = unfinished.temporary.as_file_mut();
        let mut writer = BufWriter::with_capacity(1 << 16, file);
        write(&mut writer)?;
        writer
            .flush()
            .map_err(|error| Error::writing(path, error))?;
    }
    unfinished.finish()
}

/// How the names of files and folders end that are not finished.
const UNFINISHED: &str = ".part";

/// How the names of those begin that this process has not finished.
fn unfinished_prefix() -> String {
    format!(".takt-{}-", std::process::id())
}

/// Removes what this process has begun to write in a folder and not finished: for a process that leaves at once, without
/// destructors.
pub fn discard_unfinished(folder: &Path) {
    let prefix = unfinished_prefix();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&prefix) && name.ends_with(UNFINISHED) {
            // What is a file is no folder, and the other way round.
            let _ = fs::remove_file(entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A file under a temporary name, in the directory where it will be; gone unless it is finished.
struct Unfinished {
    temporary: tempfile::NamedTempFile,
    /// What it will be; where a link leads.
    target: PathBuf,
    /// What the user calls it.
    named: PathBuf,
}

impl Unfinished {
    fn begin(path: &Path) -> Result<Self> {
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
        if let Some(problem) = file_above(&target) {
            return Err(problem.into_error(path));
        }
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&directory).map_err(failed)?;
        let mut builder = tempfile::Builder::new();
        let prefix = unfinished_prefix();
        builder.prefix(&prefix).suffix(UNFINISHED);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any other new file: what the user's mask leaves.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        Ok(Self {
            temporary: builder.tempfile_in(&directory).map_err(failed)?,
            target,
            named: path.to_owned(),
        })
    }

    /// Puts it in its place.
    fn finish(self) -> Result<()> {
        let failed = |error| Error::writing(&self.named, error);
        self.temporary.as_file().sync_all().map_err(failed)?;
        self.temporary
            .persist(&self.target)
            .map_err(|error| failed(error.error))?;
        Ok(())
    }
}
