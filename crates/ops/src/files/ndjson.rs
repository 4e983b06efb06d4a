//! Reading newline-delimited JSON: an object a line.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read},
};

use polars::prelude::{
    DataFrame, IntoLazy, IpcWriter, LazyFrame, PlRefPath, PolarsError, ScanSources, Schema,
    SerWriter, UnifiedScanArgs,
};

use super::{
    FileProblem, Inspected, RowFile,
    json_columns::{Fields, Name, RawRecord, read_records},
    problem::unreadable,
};

/// Text that is turned into columns at a time.
const BLOCK: usize = 1 << 25;
/// Rows of this many bytes stay in memory; more go to a file that is then scanned.
const IN_MEMORY: usize = 1 << 28;

/// Columns and problems, from a sample of lines.
pub(super) fn inspect(file: &RowFile) -> (Option<Inspected>, Vec<FileProblem>) {
    let mut reader = match file.place.open() {
        Ok(reader) => BufReader::new(reader),
        Err(error) => return (None, vec![unreadable(&error)]),
    };
    let mut fields = Fields::default();
    let mut line = Vec::new();
    let mut number = 0;
    while fields.rows < file.sample_rows {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => number += 1,
            Err(error) => return (None, vec![unreadable(&error)]),
        }
        let bytes = line.trim_ascii();
        if bytes.is_empty() {
            continue;
        }
        let record = RawRecord {
            name: Name::Line(number),
            bytes,
        };
        if let Err(problem) = fields.add(file, &record) {
            return (None, vec![problem]);
        }
    }
    fields.inspected(file)
}

/// The rows. All are read, as JSON has no columns to leave out; many are put into an Arrow file, which is scanned.
pub(super) fn scan(file: &RowFile, schema: &Schema) -> Result<LazyFrame, FileProblem> {
    let in_memory = match file.fetched {
        Some(_) => IN_MEMORY,
        None => usize::MAX,
    };
    scan_within(file, schema, BLOCK, in_memory)
}

/// [`scan`], reading so many bytes at a time and keeping so many in memory.
pub(super) fn scan_within(
    file: &RowFile,
    schema: &Schema,
    block: usize,
    in_memory: usize,
) -> Result<LazyFrame, FileProblem> {
    let failed = |error: PolarsError| FileProblem::new("unreadable-file", error.to_string());
    let mut lines = Lines::new(
        file.place.open().map_err(|error| unreadable(&error))?,
        block,
    );
    let mut frame = DataFrame::empty_with_schema(schema);
    while frame.estimated_size() <= in_memory {
        match lines.next(file, schema)? {
            Some(rows) => {
                frame.vstack_mut_owned(rows).map_err(failed)?;
            }
            None => return Ok(frame.lazy()),
        }
    }
    let mut parts = vec![kept(file, &mut frame)?];
    drop(frame);
    while let Some(mut rows) = lines.next(file, schema)? {
        parts.push(kept(file, &mut rows)?);
    }
    let arguments = UnifiedScanArgs {
        glob: false,
        ..Default::default()
    };
    LazyFrame::scan_ipc_sources(
        ScanSources::Paths(parts.into()),
        Default::default(),
        arguments,
    )
    .map_err(failed)
}

/// Puts the rows into an Arrow file, named by what is in it.
fn kept(file: &RowFile, rows: &mut DataFrame) -> Result<PlRefPath, FileProblem> {
    let folder = file.copies();
    let unwritable = |error: io::Error| {
        FileProblem::new(
            "unwritable-copy",
            format!("cannot be copied into `{}`: {error}", folder.display()),
        )
    };
    fs::create_dir_all(&folder).map_err(unwritable)?;
    let mut temporary = tempfile::Builder::new()
        .prefix(".takt-")
        .tempfile_in(&folder)
        .map_err(unwritable)?;
    IpcWriter::new(temporary.as_file_mut())
        .finish(rows)
        .map_err(|error| unwritable(io::Error::other(error.to_string())))?;
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_mmap_rayon(temporary.path())
        .map_err(unwritable)?;
    let name = format!("{}.arrow", &hasher.finalize().to_hex()[..32]);
    let path = folder.join(name);
    temporary
        .persist(&path)
        .map_err(|error| unwritable(error.error))?;
    Ok(PlRefPath::new(path.to_string_lossy().as_ref()))
}

/// Whole lines of a stream, many at a time.
struct Lines {
    reader: Box<dyn Read>,
    block: usize,
    buffer: Vec<u8>,
    number: u64,
    is_at_end: bool,
}

impl Lines {
    fn new(reader: Box<dyn Read>, block: usize) -> Self {
        Self {
            reader,
            block,
            buffer: Vec::new(),
            number: 0,
            is_at_end: false,
        }
    }

    /// The rows of the next lines; `None` after the last.
    fn next(&mut self, file: &RowFile, schema: &Schema) -> Result<Option<DataFrame>, FileProblem> {
        let end = loop {
            if self.is_at_end {
                break self.buffer.len();
            }
            let read = (&mut self.reader)
                .take(self.block as u64)
                .read_to_end(&mut self.buffer)
                .map_err(|error| unreadable(&error))?;
            self.is_at_end = read == 0;
            if let Some(last) = self.buffer.iter().rposition(|byte| *byte == b'\n') {
                break last + 1;
            }
        };
        if end == 0 {
            return Ok(None);
        }
        let before = self.number;
        let mut count = 0;
        let records: Vec<RawRecord<'_>> = self.buffer[..end]
            .split_inclusive(|byte| *byte == b'\n')
            .filter_map(|line| {
                count += 1;
                let bytes = line.trim_ascii();
                (!bytes.is_empty()).then_some(RawRecord {
                    name: Name::Line(before + count),
                    bytes,
                })
            })
            .collect();
        let rows = read_records(file, schema, &records)?;
        self.number += count;
        self.buffer.drain(..end);
        Ok(Some(rows))
    }
}
