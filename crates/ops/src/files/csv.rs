//! Reading CSV: polars parses it, after a look at its structure.

use std::{
    collections::BTreeSet,
    fs, io,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use encoding_rs::UTF_8;
use polars::prelude::{
    Column, DataFrame, DataType, Expr, IntoLazy, LazyCsvReader, LazyFileListReader, LazyFrame,
    NullValues, PlRefPath, PlSmallStr, PolarsError, PolarsResult, ScanSources, Schema,
};
use taktline_core::{thousands, type_name};

use super::{
    FileProblem, Inspected, RowFile,
    input::Place,
    outline::{Dialect, Keep, Outline, outline},
    problem::unreadable,
};
use crate::hashing::Hashing;

/// Columns and problems, from the header and a sample.
pub(super) fn inspect(file: &RowFile) -> (Option<Inspected>, Vec<FileProblem>) {
    let outline = match outline(&file.place, &file.dialect, Keep::Sample(file.sample_rows)) {
        Ok(outline) => outline,
        Err(error) => return (None, vec![unreadable(&error)]),
    };
    let mut problems = outline.problems(&file.dialect);
    if !problems.is_empty() {
        return (None, problems);
    }
    if outline.has_no_rows() {
        let schema = without_rows(file, &outline);
        return (
            Some(Inspected {
                without_values: schema.iter_names().map(ToString::to_string).collect(),
                schema,
                leading_zeros: Vec::new(),
                is_empty: true,
            }),
            outline.no_rows(&file.dialect).into_iter().collect(),
        );
    }
    let has_padded = may_hold_padded(&outline.sample);
    let sample = Sample::new(file, outline);
    let (schema, rows) = match sample.inferred() {
        Ok(inferred) => inferred,
        Err(error) => return (None, vec![refused(&error.to_string())]),
    };
    let leading_zeros = match has_padded {
        true => sample.leading_zeros(&schema).unwrap_or_default(),
        false => Vec::new(),
    };
    let without_values = match rows {
        Ok(rows) => empty_columns(&rows),
        Err(error) => {
            let message = error.to_string();
            problems.push(locate_in(file, &schema, &message).unwrap_or_else(|| refused(&message)));
            BTreeSet::new()
        }
    };
    let inspected = Inspected {
        schema,
        without_values,
        leading_zeros,
        is_empty: false,
    };
    (Some(inspected), problems)
}

/// Whether a zero stands before another digit where a field may begin; most samples hold none, and need no second reading.
fn may_hold_padded(sample: &[u8]) -> bool {
    sample
        .windows(3)
        .any(|three| !three[0].is_ascii_digit() && three[1] == b'0' && three[2].is_ascii_digit())
        || matches!(sample, [b'0', next, ..] if next.is_ascii_digit())
}

fn empty_columns(sample: &DataFrame) -> BTreeSet<String> {
    sample
        .columns()
        .iter()
        .filter(|column| column.null_count() == column.len())
        .map(|column| column.name().to_string())
        .collect()
}

/// Text, where no type is declared: there is nothing to tell it from.
fn without_rows(file: &RowFile, outline: &Outline) -> Schema {
    outline
        .names
        .iter()
        .map(|name| {
            let dtype = file.known_type(name).unwrap_or(&DataType::String);
            (name.as_str().into(), dtype.clone())
        })
        .collect()
}

/// Rows in which dates and times are looked for: polars tries every format it knows on every text, which would make
/// the whole sample the slowest part of a check.
const DATE_ROWS: usize = 100;

/// Rows from which types are told at first.
const FIRST_ROWS: usize = 100;

/// The first records of a file, in memory.
struct Sample<'f> {
    file: &'f RowFile,
    names: Vec<String>,
    has_lenient_numbers: bool,
    records: ScanSources,
}

impl<'f> Sample<'f> {
    fn new(file: &'f RowFile, outline: Outline) -> Self {
        Self {
            file,
            has_lenient_numbers: may_hold_lenient_numbers(&outline.sample, &file.dialect),
            names: outline.names,
            records: ScanSources::Buffers(vec![outline.sample.into()].into()),
        }
    }

    /// The columns' names and types, told from the sample where they are not declared, and its rows as these types: a type
    /// that is declared, or a number too large, may not fit.
    fn inferred(&self) -> PolarsResult<(Schema, PolarsResult<DataFrame>)> {
        let (mut schema, mut rows) = match self.told_from_first()? {
            Some((schema, rows)) => (schema, Ok(rows)),
            None => {
                let schema = self.told(self.file.sample_rows, false)?;
                let rows = self.rows(&schema);
                (schema, rows)
            }
        };
        if let Ok(known) = &rows
            && let Some(tried) = self.with_odd_numbers(&schema, known)
        {
            let parsed = self.rows(&tried);
            if parsed.is_ok() {
                (schema, rows) = (tried, parsed);
            }
        }
        if rows.as_ref().is_ok_and(|rows| !may_hold_dates(rows)) {
            return Ok((schema, rows));
        }
        let with_dates = self.told(DATE_ROWS, true)?;
        for (name, dtype) in with_dates.iter().filter(|(_, dtype)| dtype.is_temporal()) {
            if schema.get(name) != Some(&DataType::String) || self.file.known_type(name).is_some() {
                continue;
            }
            // A date in the first rows is one only if it is so in the whole sample.
            let mut tried = schema.clone();
            tried.with_column(name.clone(), dtype.clone());
            let parsed = self.rows(&tried);
            if parsed.is_ok() {
                (schema, rows) = (tried, parsed);
            }
        }
        Ok((schema, rows))
    }

    /// Columns told to be text that hold numbers alone, some of them written `nan` or `Infinity`, as numbers; none where there are none.
    fn with_odd_numbers(&self, schema: &Schema, rows: &DataFrame) -> Option<Schema> {
        let mut tried = schema.clone();
        for column in rows.columns() {
            let Ok(texts) = column.str() else { continue };
            let (mut is_number, mut is_odd) = (false, false);
            // What begins with a plus may be a telephone number.
            let are_numbers = texts.iter().flatten().all(|text| {
                let number = text.parse::<f64>().ok().filter(|_| !text.starts_with('+'));
                is_number |= number.is_some_and(f64::is_finite);
                is_odd |= number.is_some_and(|number| !number.is_finite());
                number.is_some()
            });
            let is_told = are_numbers && is_number && is_odd;
            if is_told && self.file.known_type(column.name()).is_none() {
                tried.with_column(column.name().clone(), DataType::Float64);
            }
        }
        (tried != *schema).then_some(tried)
    }

    /// The types of the first rows, where the whole sample agrees with them: telling types is slower than reading values by
    /// them. `None` where later rows may tell another type than these.
    fn told_from_first(&self) -> PolarsResult<Option<(Schema, DataFrame)>> {
        let schema = self.told(FIRST_ROWS, false)?;
        let agreed = self.rows(&schema).ok().filter(|rows| {
            !self.has_lenient_numbers && rows.columns().iter().all(tells_type_by_first_rows)
        });
        Ok(agreed.map(|rows| (schema, rows)))
    }

    /// The types that polars tells from so many rows.
    fn told(&self, rows: usize, look_for_dates: bool) -> PolarsResult<Schema> {
        let file = self.file;
        let known: Schema = file
            .declared
            .iter()
            .chain(&file.types)
            .map(|(name, dtype)| (name.as_str().into(), dtype.clone()))
            .collect();
        let mut reader = reader(file, self.records.clone())
            .with_try_parse_dates(look_for_dates)
            .with_infer_schema_length(Some(rows))
            .with_dtype_overwrite(Some(Arc::new(known)));
        if !file.dialect.has_header {
            reader = reader.with_column_names_overwrite(positional_names(file, &self.names).into());
        } else if file.dialect.has_quote_in(&self.names) {
            // polars leaves a quote that is written twice inside a name as it is, but not inside a value.
            let names: Vec<PlSmallStr> =
                self.names.iter().map(|name| name.as_str().into()).collect();
            reader = reader.with_column_names_overwrite(names.into());
        }
        reader.finish()?.collect_schema().map(Arc::unwrap_or_clone)
    }

    fn rows(&self, schema: &Schema) -> PolarsResult<DataFrame> {
        let file = self.file;
        let rows = with_schema(file, self.records.clone(), schema)
            .finish()?
            .collect()?;
        for (index, column) in rows.columns().iter().enumerate() {
            if holds_infinity(column) {
                let places = std::slice::from_ref(&file.place);
                let value = overflow(file, places, index, column.dtype());
                value.map_or(Ok(()), |value| {
                    Err(too_large(&value, column.name(), column.dtype(), index))
                })?;
            }
        }
        Ok(rows)
    }

    /// Columns that are told to be whole numbers though a value begins with a zero, as names of things do; with that value.
    fn leading_zeros(&self, schema: &Schema) -> PolarsResult<Vec<(String, String)>> {
        let told: Vec<&PlSmallStr> = schema
            .iter()
            .filter(|(name, dtype)| dtype.is_integer() && self.file.known_type(name).is_none())
            .map(|(name, _)| name)
            .collect();
        if told.is_empty() {
            return Ok(Vec::new());
        }
        let mut as_text = schema.clone();
        for name in &told {
            as_text.with_column((*name).clone(), DataType::String);
        }
        let columns: Vec<Expr> = told
            .iter()
            .map(|name| Expr::Column((*name).clone()))
            .collect();
        let rows = with_schema(self.file, self.records.clone(), &as_text)
            .finish()?
            .select(columns)
            .collect()?;
        let mut found = Vec::new();
        for column in rows.columns() {
            let is_padded = |text: &&str| {
                let digits = text.strip_prefix('0').unwrap_or_default();
                !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
            };
            if let Some(text) = column.str()?.iter().flatten().find(is_padded) {
                found.push((column.name().to_string(), text.to_owned()));
            }
        }
        Ok(found)
    }
}

/// Whether a field may begin with a plus or a blank, or be an empty quoted one: polars reads that as a number or null, but tells
/// that it is text.
fn may_hold_lenient_numbers(sample: &[u8], dialect: &Dialect) -> bool {
    let is_edge = |byte: u8| matches!(byte, b'\n' | b'"') || byte == dialect.delimiter;
    sample
        .windows(2)
        .any(|two| two == b"\"\"" || (is_edge(two[0]) && matches!(two[1], b'+' | b' ' | b'\t')))
}

/// Whether the first rows tell the type of the column if all values can be read by it: a column without values among them
/// could be anything, and words for infinity and "not a number" are read as numbers though some of them tell that they are text.
fn tells_type_by_first_rows(column: &Column) -> bool {
    let first = column.head(Some(FIRST_ROWS));
    if first.null_count() == first.len() {
        return false;
    }
    !holds_real(column, |value| !value.is_finite())
}

/// Whether one of the texts that would be looked at begins as every date and time does that polars knows: with a digit, which a
/// quote may stand before.
fn may_hold_dates(rows: &DataFrame) -> bool {
    let begins_as_date = |text: &str| {
        let text = text.trim_start_matches(['\'', '"']);
        text.starts_with(|first: char| first.is_ascii_digit())
    };
    rows.columns().iter().any(|column| {
        let texts = column.head(Some(DATE_ROWS));
        texts
            .str()
            .is_ok_and(|texts| texts.iter().flatten().any(begins_as_date))
    })
}

/// Without a header and without `names`, declared columns name the file's columns in order, where there are as many.
fn positional_names(file: &RowFile, names: &[String]) -> Vec<PlSmallStr> {
    if file.dialect.names.is_empty() && file.declared.len() == names.len() {
        file.declared
            .keys()
            .map(|name| name.as_str().into())
            .collect()
    } else {
        names.iter().map(|name| name.as_str().into()).collect()
    }
}

/// A file whose whole structure was looked at: polars fills a short row with nulls.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    path: PlRefPath,
    /// Where the records came from.
    origin: Place,
    /// How many rows to read, where blank lines follow: polars reads one as a row of nulls.
    rows: Option<usize>,
    /// Lines above the header.
    skipped: usize,
}

impl Ready {
    /// Whether both can be read by one scan, in this order.
    pub(super) fn goes_with(&self, next: &Self) -> bool {
        self.rows.is_none() && next.rows.is_none() && self.skipped == next.skipped
    }
}

/// Looks at the whole file's structure; `None` where there are no rows.
pub(super) fn ready(file: &RowFile) -> Result<Option<Ready>, FileProblem> {
    let (path, whole) = match &file.place {
        Place::File(path) if file.dialect.encoding == UTF_8 => {
            let whole = looked_at(file, Keep::Nothing)?;
            if whole.has_inner_comments {
                (copied(file)?, None)
            } else {
                (path.clone(), Some(whole))
            }
        }
        _ => (copied(file)?, None),
    };
    if whole.as_ref().is_some_and(Outline::has_no_rows) {
        return Ok(None);
    }
    let rows = whole
        .as_ref()
        .filter(|whole| whole.has_blank_end)
        .and_then(|whole| usize::try_from(whole.rows).ok());
    let skipped = whole.map_or(0, |whole| {
        usize::try_from(whole.lines_before).unwrap_or(usize::MAX)
    });
    Ok(Some(Ready {
        path: PlRefPath::new(path.to_string_lossy().as_ref()),
        origin: file.place.clone(),
        rows,
        skipped,
    }))
}

/// The rows of files that go with each other; they are written as `file` is.
pub(super) fn scan(
    file: &RowFile,
    ready: &[Ready],
    schema: &Schema,
) -> Result<LazyFrame, FileProblem> {
    let Some(first) = ready.first() else {
        return Ok(DataFrame::empty_with_schema(schema).lazy());
    };
    let paths: Vec<PlRefPath> = ready.iter().map(|ready| ready.path.clone()).collect();
    with_schema(file, ScanSources::Paths(paths.into()), schema)
        .with_n_rows(first.rows)
        .with_skip_lines(first.skipped)
        // A copy without rows is an empty file to polars, which it refuses.
        .with_raise_if_empty(false)
        .finish()
        .map(|rows| {
            let places = ready.iter().map(|ready| ready.origin.clone()).collect();
            without_overflow(rows, file, places, schema)
        })
        .map_err(|error| refused(&error.to_string()))
}

/// The rows, which fail where a real number is too large for its type: polars reads `1e400` as infinity.
///
/// A value that is infinite is looked up in the files, once a column: `inf` is what it says.
fn without_overflow(
    rows: LazyFrame,
    file: &RowFile,
    places: Vec<Place>,
    schema: &Schema,
) -> LazyFrame {
    let looked_in = Arc::new((file.clone(), places));
    let checked: Vec<Expr> = schema
        .iter()
        .enumerate()
        .filter(|(_, (_, dtype))| dtype.is_float())
        .map(|(index, (name, dtype))| {
            let (looked_in, name, dtype) = (Arc::clone(&looked_in), name.clone(), dtype.clone());
            let found = OnceLock::new();
            Expr::Column(name.clone()).map(
                move |column| {
                    if !holds_infinity(&column) {
                        return Ok(column);
                    }
                    let (file, places) = &*looked_in;
                    match found.get_or_init(|| overflow(file, places, index, &dtype)) {
                        Some(value) => Err(too_large(value, &name, &dtype, index)),
                        None => Ok(column),
                    }
                },
                |_, field| Ok(field.clone()),
            )
        })
        .collect();
    match checked.is_empty() {
        true => rows,
        false => rows.with_columns(checked),
    }
}

/// As polars says it of what is no number at all.
fn too_large(value: &str, name: &str, dtype: &DataType, index: usize) -> PolarsError {
    PolarsError::ComputeError(
        format!(
            "could not parse `{value}` as dtype `{dtype}` at column '{name}' (column number {})",
            index + 1
        )
        .into(),
    )
}

fn holds_infinity(column: &Column) -> bool {
    holds_real(column, f64::is_infinite)
}

fn holds_real(column: &Column, is_such: fn(f64) -> bool) -> bool {
    let series = column.as_materialized_series();
    let of_double = series.f64().is_ok_and(|values| {
        let mut parts = values.downcast_iter();
        parts.any(|part| part.values().iter().copied().any(is_such))
    });
    of_double
        || series.f32().is_ok_and(|values| {
            let mut parts = values.downcast_iter();
            parts.any(|part| part.values().iter().any(|value| is_such((*value).into())))
        })
}

/// The first field of this column, as written, that is a number beyond all of its type.
fn overflow(file: &RowFile, places: &[Place], index: usize, dtype: &DataType) -> Option<String> {
    places.iter().find_map(|place| {
        let mut records = file.dialect.records(place).ok()?;
        if file.dialect.has_header {
            records.next().ok()?;
        }
        while let Some(record) = records.next().ok()? {
            let field = record.fields(file.dialect.delimiter).nth(index);
            if let Some(field) = field.filter(|field| is_overflow(file, field, dtype)) {
                return Some(String::from_utf8_lossy(field).into_owned());
            }
        }
        None
    })
}

fn is_overflow(file: &RowFile, field: &[u8], dtype: &DataType) -> bool {
    let text = file.dialect.text(field);
    let text = match file.dialect.decimal_comma {
        true => text.replace(',', "."),
        false => text,
    };
    // `inf` and `infinity` have no digits.
    text.bytes().any(|byte| byte.is_ascii_digit())
        && match dtype {
            DataType::Float32 => text.trim().parse().is_ok_and(f32::is_infinite),
            _ => text.trim().parse().is_ok_and(f64::is_infinite),
        }
}

fn looked_at(file: &RowFile, keep: Keep<'_>) -> Result<Outline, FileProblem> {
    let whole = outline(&file.place, &file.dialect, keep).map_err(|error| unreadable(&error))?;
    match whole.problems(&file.dialect).into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(whole),
    }
}

/// The path of the same records in UTF-8, without comments, as polars reads them fastest; kept by its content's name.
fn copied(file: &RowFile) -> Result<PathBuf, FileProblem> {
    let folder = file.copies();
    let failed = |error: io::Error| {
        FileProblem::new(
            "unwritable-copy",
            format!("cannot be copied into `{}`: {error}", folder.display()),
        )
    };
    // What an object holds is known before it is fetched.
    let known = match &file.place {
        Place::Object(object) => {
            let identity = format!(
                "{} {} {} {:?}",
                object.url, object.size, object.tag, file.dialect
            );
            Some(folder.join(copy_name(&blake3::hash(identity.as_bytes()))))
        }
        Place::File(_) => None,
    };
    if let Some(path) = known.as_ref().filter(|path| path.is_file()) {
        return Ok(path.clone());
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    let temporary = tempfile::Builder::new()
        .prefix(".takt-")
        .tempfile_in(&folder)
        .map_err(failed)?;
    let mut writer = Hashing::new(temporary.as_file());
    looked_at(file, Keep::Copy(&mut writer))?;
    let (_, hash) = writer.finish().map_err(failed)?;
    let path = known.unwrap_or_else(|| folder.join(copy_name(&hash)));
    temporary
        .persist(&path)
        .map_err(|error| failed(error.error))?;
    Ok(path)
}

fn copy_name(hash: &blake3::Hash) -> String {
    format!("{}.csv", &hash.to_hex()[..32])
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
        .with_quote_char(file.dialect.lines.quote)
        .with_decimal_comma(file.dialect.decimal_comma)
        .with_has_header(file.dialect.has_header)
        .with_null_values(nulls)
        .with_try_parse_dates(true)
}

fn with_schema(file: &RowFile, sources: ScanSources, schema: &Schema) -> LazyCsvReader {
    reader(file, sources).with_schema(Some(Arc::new(schema.clone())))
}

/// Where the value is that polars could not parse, by a second look at the file.
pub(super) fn locate(file: &RowFile, message: &str) -> Option<FileProblem> {
    let outline = outline(&file.place, &file.dialect, Keep::Sample(file.sample_rows)).ok()?;
    let (schema, _) = Sample::new(file, outline).inferred().ok()?;
    locate_in(file, &schema, message)
}

fn locate_in(file: &RowFile, schema: &Schema, message: &str) -> Option<FileProblem> {
    let (value, name) = unparsed(message)?;
    let (index, name, dtype) = schema.get_full(name)?;
    let (line, row) = find_value(file, index, value).ok()??;
    let text = file.dialect.text(value.as_bytes());
    if dtype.is_float() && is_overflow(file, value.as_bytes(), dtype) {
        let (limit, wider) = match dtype {
            DataType::Float32 => ("3.4e38", "declare it as `f64`, "),
            _ => ("1.8e308", ""),
        };
        let problem = FileProblem::new(
            "bad-value",
            format!(
                "line {line} (row {row}), column `{name}`: `{text}` is beyond the numbers of {}, which end at {limit}",
                with_article(dtype)
            ),
        )
        .label(format!("`{text}` is too large"))
        .help(format!("{wider}declare `schema: {{{name}: text}}`, or add it to `null_values` if it stands for a missing value"));
        return Some(match file.declared.contains_key(name.as_str()) {
            true => problem.column(name.as_str()),
            false => problem,
        });
    }
    let problem = FileProblem::new(
        "bad-value",
        format!(
            "line {line} (row {row}), column `{name}`: `{text}` is not {}",
            with_article(dtype)
        ),
    )
    .label(format!("`{text}` is not {}", with_article(dtype)));
    Some(match file.declared.get(name.as_str()) {
        Some(_) => problem.column(name.as_str()),
        None if dtype.is_integer() && is_whole(&text) => problem
            .note(format!("`{name}` holds whole numbers, and this one has no room in 64 bits"))
            .help(format!("declare `schema: {{{name}: text}}` where it names something, `u64` up to 18446744073709551615, or `f64` where its last digits do not matter")),
        None if text.trim().parse::<f64>().is_ok() => problem
            .note(format!("`{name}` is {} because the first {} rows are", type_name(dtype), thousands(file.sample_rows as u64)))
            .help(format!("declare `schema: {{{name}: f64}}`")),
        None => problem
            .note(format!("`{name}` is {} because the first {} rows are", type_name(dtype), thousands(file.sample_rows as u64)))
            .help(format!("declare `schema: {{{name}: text}}`, or add it to `null_values` if it stands for a missing value")),
    })
}

fn is_whole(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn with_article(dtype: &DataType) -> String {
    let name = type_name(dtype);
    // As it is spoken: an f64, an i64, a u8.
    match name.starts_with(['a', 'e', 'f', 'i', 'o']) {
        true => format!("an {name}"),
        false => format!("a {name}"),
    }
}

/// The raw field and its column's name, out of polars' message.
fn unparsed(message: &str) -> Option<(&str, &str)> {
    const BEFORE: &str = "could not parse `";
    const BETWEEN: &str = "` as dtype `";
    const NAME: &str = "` at column '";
    const NUMBER: &str = "' (column number ";
    let rest = &message[message.find(BEFORE)? + BEFORE.len()..];
    let value = &rest[..rest.find(BETWEEN)?];
    let rest = &rest[rest.find(NAME)? + NAME.len()..];
    Some((value, &rest[..rest.find(NUMBER)?]))
}

/// The first line and row (from 1, without the header) whose field at `index` is exactly this.
fn find_value(file: &RowFile, index: usize, value: &str) -> io::Result<Option<(u64, u64)>> {
    let mut records = file.dialect.records(&file.place)?;
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

/// polars explains at length, over many lines; the first says what happened.
fn refused(message: &str) -> FileProblem {
    FileProblem::new(
        "unreadable-file",
        format!(
            "cannot be read: {}",
            message.lines().next().unwrap_or_default()
        ),
    )
    .label("cannot be read")
}
