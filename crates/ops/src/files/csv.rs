//! Reading CSV: polars parses it; what polars would pass over in silence is looked for first.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    str::from_utf8,
    sync::Arc,
};

use polars::prelude::{
    DataType, LazyCsvReader, LazyFileListReader, LazyFrame, NullValues, PlRefPath, PlSmallStr,
    PolarsResult, ScanSources, Schema,
};
use taktline_core::{Error, Result, type_name};

use super::{
    FileProblem, RowFile, SAMPLE_ROWS, open_decompressed,
    records::{Records, unquoted},
};

/// Rows of one kind of structural problem that are named; the rest is counted.
const NAMED_ROWS: usize = 3;

/// How CSV is written.
#[derive(Debug, Clone)]
pub(crate) struct Dialect {
    /// Between fields.
    pub(crate) delimiter: u8,
    /// Whether the first line names the columns.
    pub(crate) has_header: bool,
    /// Texts that stand for null, besides an empty field.
    pub(crate) null_values: Vec<String>,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: b',',
            has_header: true,
            null_values: Vec::new(),
        }
    }
}

/// What the structure of a file tells, without types.
#[derive(Debug, Default)]
struct Outline {
    /// The columns' names; `column_1`, … without a header.
    names: Vec<String>,
    /// Records besides the header.
    rows: u64,
    /// Lines with another number of fields than the first, and that number.
    ragged: Vec<(u64, usize)>,
    /// How many such lines there are in all.
    ragged_count: u64,
    /// Where the first byte is that is not UTF-8: offset and line.
    not_utf8: Option<(u64, u64)>,
    /// The line of a quote that is never closed.
    open_quote: Option<u64>,
    /// Nothing at all is in the file.
    is_empty: bool,
    /// The header and the records that were looked at, where the look is limited: what types are told from.
    sample: Vec<u8>,
    /// Blank lines follow the last record.
    has_blank_end: bool,
}

/// Looks at the structure of the first `limit` records, or all.
fn outline(reader: impl Read, dialect: &Dialect, limit: Option<usize>) -> io::Result<Outline> {
    let mut records = Records::new(reader)?;
    let mut outline = Outline {
        is_empty: true,
        ..Outline::default()
    };
    // A blank line is no record where a record has several fields; at the end of a file it is only untidy.
    let mut blank = Vec::new();
    while let Some(record) = records.next()? {
        if let Err(error) = from_utf8(record.bytes) {
            let before = &record.bytes[..error.valid_up_to()];
            let lines_before = before.iter().filter(|byte| **byte == b'\n').count() as u64;
            outline.is_empty = false;
            outline.not_utf8 = Some((
                record.offset + before.len() as u64,
                record.line + lines_before,
            ));
            break;
        }
        if outline.is_empty {
            outline.is_empty = false;
            let first = record.fields(dialect.delimiter).map(unquoted);
            outline.names = if dialect.has_header {
                first.collect()
            } else {
                first
                    .enumerate()
                    .map(|(index, _)| format!("column_{}", index + 1))
                    .collect()
            };
            if dialect.has_header {
                outline.keep(record.bytes, limit);
                continue;
            }
        }
        if record.is_open {
            outline.open_quote = Some(record.line);
        }
        let width = outline.names.len();
        if width > 1 && record.is_blank() {
            blank.push(record.line);
            continue;
        }
        for line in blank.drain(..) {
            outline.note_ragged(line, 0);
        }
        let count = record.count_fields(dialect.delimiter);
        if count != width {
            outline.note_ragged(record.line, count);
        }
        outline.keep(record.bytes, limit);
        outline.rows += 1;
        if limit.is_some_and(|limit| outline.rows >= limit as u64) {
            break;
        }
    }
    outline.has_blank_end = !blank.is_empty();
    Ok(outline)
}

impl Outline {
    fn keep(&mut self, record: &[u8], limit: Option<usize>) {
        if limit.is_some() {
            self.sample.extend_from_slice(record);
            self.sample.push(b'\n');
        }
    }

    fn note_ragged(&mut self, line: u64, fields: usize) {
        self.ragged_count += 1;
        if self.ragged.len() < NAMED_ROWS {
            self.ragged.push((line, fields));
        }
    }

    fn problems(&self, dialect: &Dialect) -> Vec<FileProblem> {
        let mut problems = Vec::new();
        if let Some((offset, line)) = self.not_utf8 {
            problems.push(
                FileProblem::new(
                    "not-utf8",
                    format!("is not UTF-8: line {line}, byte {offset} of the file"),
                )
                .label("not UTF-8 text")
                .help("save it as UTF-8, for example with `iconv -f LATIN1 -t UTF-8`"),
            );
            return problems;
        }
        if self.is_empty {
            problems.push(
                FileProblem::new("empty-source", "is empty (0 bytes)").label("nothing to read"),
            );
            return problems;
        }
        let mut seen = BTreeSet::new();
        let mut told = BTreeSet::new();
        for (index, name) in self.names.iter().enumerate() {
            if name.is_empty() {
                problems.push(
                    FileProblem::new(
                        "bad-header",
                        format!("has no name for column {} in its header", index + 1),
                    )
                    .label("a column without a name")
                    .help("name it, or set `has_header: false` if the first line is data"),
                );
            } else if !seen.insert(name) && told.insert(name) {
                problems.push(
                    FileProblem::new(
                        "duplicate-column",
                        format!("names the column `{name}` twice in its header"),
                    )
                    .label("two columns of one name")
                    .help("rename one of them in the file"),
                );
            }
        }
        if let Some(line) = self.open_quote {
            problems.push(
                FileProblem::new(
                    "open-quote",
                    format!("has a quote in the record on line {line} that is never closed"),
                )
                .label("a quote without its partner"),
            );
        }
        if self.rows == 0 && self.ragged_count == 0 {
            let about = if dialect.has_header {
                "has a header but no rows"
            } else {
                "has no rows"
            };
            problems.push(FileProblem::new("empty-source", about).label("nothing to read"));
        }
        if let Some((line, fields)) = self.ragged.first() {
            let than = if dialect.has_header {
                "the header"
            } else {
                "line 1"
            };
            let mut problem = FileProblem::new(
                "ragged-csv",
                format!(
                    "is ragged: line {line} has {} where {than} has {}",
                    counted(*fields),
                    self.names.len()
                ),
            )
            .label("rows of different length");
            if self.ragged_count > 1 {
                let lines: Vec<String> = self
                    .ragged
                    .iter()
                    .map(|(line, _)| line.to_string())
                    .collect();
                let dots = if self.ragged_count > self.ragged.len() as u64 {
                    ", …"
                } else {
                    ""
                };
                problem = problem.note(format!(
                    "{} such lines: {}{dots}",
                    self.ragged_count,
                    lines.join(", ")
                ));
            }
            if self.names.len() == 1 {
                problem = problem.help("if fields are not separated by `,`, set `delimiter`");
            }
            problems.push(problem);
        }
        problems
    }
}

fn counted(fields: usize) -> String {
    match fields {
        0 => "nothing".into(),
        1 => "1 field".into(),
        count => format!("{count} fields"),
    }
}

/// Columns and problems, from the header and a sample.
pub(super) fn inspect(file: &RowFile) -> (Option<Schema>, Vec<FileProblem>) {
    let outline = match open_decompressed(&file.path)
        .and_then(|reader| outline(reader, &file.dialect, Some(SAMPLE_ROWS)))
    {
        Ok(outline) => outline,
        Err(error) => return (None, vec![unreadable(&error)]),
    };
    let mut problems = outline.problems(&file.dialect);
    if !problems.is_empty() {
        return (None, problems);
    }
    let schema = match infer(file, &outline) {
        Ok(schema) => schema,
        Err(error) => {
            return (
                None,
                vec![FileProblem::new(
                    "unreadable-file",
                    first_line(&error.to_string()),
                )],
            );
        }
    };
    // A type that is declared, or a whole number too large, may not fit what the sample holds.
    let sample = with_schema(file, in_memory(outline.sample), &schema).finish();
    if let Err(error) = sample.and_then(LazyFrame::collect) {
        let message = error.to_string();
        problems.push(
            locate_in(file, &schema, &message)
                .unwrap_or_else(|| FileProblem::new("unreadable-file", first_line(&message))),
        );
    }
    (Some(schema), problems)
}

/// Rows in which dates and times are looked for: polars tries every format it knows on every text, which would make
/// the whole sample the slowest part of a check.
const DATE_ROWS: usize = 100;

/// The columns' names and types, told from the sample where they are not declared.
fn infer(file: &RowFile, outline: &Outline) -> PolarsResult<Schema> {
    let mut schema = infer_from(file, outline, SAMPLE_ROWS, false)?;
    if !schema.iter_values().any(|dtype| *dtype == DataType::String) {
        return Ok(schema);
    }
    let with_dates = infer_from(file, outline, DATE_ROWS, true)?;
    for (name, dtype) in with_dates.iter().filter(|(_, dtype)| dtype.is_temporal()) {
        if schema.get(name) != Some(&DataType::String) || file.declared.contains_key(name.as_str())
        {
            continue;
        }
        // A date in the first rows is one only if it is so in the whole sample.
        let mut tried = schema.clone();
        tried.with_column(name.clone(), dtype.clone());
        let parsed = with_schema(file, in_memory(outline.sample.clone()), &tried)
            .finish()
            .and_then(LazyFrame::collect);
        if parsed.is_ok() {
            schema = tried;
        }
    }
    Ok(schema)
}

fn infer_from(
    file: &RowFile,
    outline: &Outline,
    rows: usize,
    look_for_dates: bool,
) -> PolarsResult<Schema> {
    let declared: Schema = file
        .declared
        .iter()
        .map(|(name, dtype)| (name.as_str().into(), dtype.clone()))
        .collect();
    let mut reader = reader(file, in_memory(outline.sample.clone()))
        .with_try_parse_dates(look_for_dates)
        .with_infer_schema_length(Some(rows))
        .with_dtype_overwrite(Some(Arc::new(declared)));
    if !file.dialect.has_header {
        reader = reader.with_column_names_overwrite(positional_names(file, &outline.names).into());
    }
    reader.finish()?.collect_schema().map(Arc::unwrap_or_clone)
}

/// Without a header, declared columns name the file's columns in order, where there are as many.
fn positional_names(file: &RowFile, names: &[String]) -> Vec<PlSmallStr> {
    if file.declared.len() == names.len() {
        file.declared
            .keys()
            .map(|name| name.as_str().into())
            .collect()
    } else {
        names.iter().map(|name| name.as_str().into()).collect()
    }
}

/// The rows, after a look at the whole file's structure: polars fills a short row with nulls.
pub(super) fn scan(file: &RowFile, schema: Schema) -> Result<LazyFrame> {
    let reader =
        open_decompressed(&file.path).map_err(|error| Error::reading(&file.path, error))?;
    let whole =
        outline(reader, &file.dialect, None).map_err(|error| Error::reading(&file.path, error))?;
    if let Some(problem) = whole.problems(&file.dialect).into_iter().next() {
        return Err(problem.into_error(&file.path));
    }
    let path = PlRefPath::new(file.path.to_string_lossy().as_ref());
    let reader = with_schema(file, ScanSources::Paths(vec![path].into()), &schema);
    // polars reads a blank line as a row of nulls.
    let rows = usize::try_from(whole.rows)
        .ok()
        .filter(|_| whole.has_blank_end);
    Ok(reader.with_n_rows(rows).finish()?)
}

fn in_memory(bytes: Vec<u8>) -> ScanSources {
    ScanSources::Buffers(vec![bytes.into()].into())
}

fn reader(file: &RowFile, sources: ScanSources) -> LazyCsvReader {
    let null_values = &file.dialect.null_values;
    let nulls = (!null_values.is_empty()).then(|| {
        NullValues::AllColumns(
            null_values
                .iter()
                .map(|text| text.as_str().into())
                .collect(),
        )
    });
    LazyCsvReader::new_with_sources(sources)
        .with_glob(false)
        .with_separator(file.dialect.delimiter)
        .with_has_header(file.dialect.has_header)
        .with_null_values(nulls)
        .with_try_parse_dates(true)
}

fn with_schema(file: &RowFile, sources: ScanSources, schema: &Schema) -> LazyCsvReader {
    reader(file, sources).with_schema(Some(Arc::new(schema.clone())))
}

/// Where the value is that polars could not parse, by a second look at the file.
pub(super) fn locate(file: &RowFile, message: &str) -> Option<FileProblem> {
    let outline = outline(
        open_decompressed(&file.path).ok()?,
        &file.dialect,
        Some(SAMPLE_ROWS),
    )
    .ok()?;
    locate_in(file, &infer(file, &outline).ok()?, message)
}

fn locate_in(file: &RowFile, schema: &Schema, message: &str) -> Option<FileProblem> {
    let (value, index) = unparsed(message)?;
    let (name, dtype) = schema.get_at_index(index)?;
    let (line, row) = find_value(file, index, value).ok()??;
    let text = unquoted(value.as_bytes());
    let wanted = type_name(dtype);
    let mut problem = FileProblem::new(
        "bad-value",
        format!(
            "line {line} (row {row}), column `{name}`: `{text}` is not {}",
            with_article(dtype)
        ),
    )
    .label(format!("`{text}` is not {}", with_article(dtype)));
    problem = match file.declared.get(name.as_str()) {
        Some(_) => problem.column(name.as_str()),
        None => problem
            .note(format!("`{name}` is {wanted} because the first {} rows are", grouped(SAMPLE_ROWS)))
            .help(format!("declare `schema: {{{name}: text}}`, or add it to `null_values` if it stands for a missing value")),
    };
    Some(problem)
}

fn with_article(dtype: &DataType) -> String {
    let name = type_name(dtype);
    match name.starts_with(['a', 'e', 'i', 'o']) {
        true => format!("an {name}"),
        false => format!("a {name}"),
    }
}

/// The raw field and its column's place, out of polars' message.
fn unparsed(message: &str) -> Option<(&str, usize)> {
    const BEFORE: &str = "could not parse `";
    const BETWEEN: &str = "` as dtype `";
    const NUMBER: &str = "(column number ";
    let rest = &message[message.find(BEFORE)? + BEFORE.len()..];
    let value = &rest[..rest.find(BETWEEN)?];
    let rest = &rest[rest.find(NUMBER)? + NUMBER.len()..];
    let number: usize = rest[..rest.find(')')?].parse().ok()?;
    Some((value, number.checked_sub(1)?))
}

/// The first line and row (from 1, without the header) whose field at `index` is exactly this.
fn find_value(file: &RowFile, index: usize, value: &str) -> io::Result<Option<(u64, u64)>> {
    let mut records = Records::new(open_decompressed(&file.path)?)?;
    let mut row = u64::from(!file.dialect.has_header);
    while let Some(record) = records.next()? {
        let is_header = row == 0;
        if !is_header && record.fields(file.dialect.delimiter).nth(index) == Some(value.as_bytes())
        {
            return Ok(Some((record.line, row)));
        }
        row += 1;
    }
    Ok(None)
}

fn unreadable(error: &io::Error) -> FileProblem {
    FileProblem::new("unreadable-file", format!("cannot be read: {error}")).label("cannot be read")
}

/// polars explains at length, over many lines; the first says what happened.
fn first_line(message: &str) -> String {
    format!(
        "cannot be read: {}",
        message.lines().next().unwrap_or_default()
    )
}

/// 10000 as `10,000`.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
