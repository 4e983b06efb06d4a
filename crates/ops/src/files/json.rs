//! Reading a JSON document: an array of objects, at the top or further in.

use polars::prelude::{IntoLazy, LazyFrame, Schema};
use serde_json::value::RawValue;

use super::{
    FileProblem, Inspected, RowFile,
    json_columns::{Fields, Name, RawRecord, read_records},
    problem::unreadable,
};

/// Columns and problems, from the first records. The document is read whole: its end decides whether it is one.
pub(super) fn inspect(file: &RowFile) -> (Option<Inspected>, Vec<FileProblem>) {
    let content = match file.place.read() {
        Ok(content) => content,
        Err(error) => return (None, vec![unreadable(&error)]),
    };
    let records = match records(&content, file) {
        Ok(records) => records,
        Err(problem) => return (None, vec![problem]),
    };
    let mut fields = Fields::default();
    for record in records.iter().take(file.sample_rows) {
        if let Err(problem) = fields.add(file, record) {
            return (None, vec![problem]);
        }
    }
    fields.inspected(file)
}

/// The rows.
pub(super) fn scan(file: &RowFile, schema: &Schema) -> Result<LazyFrame, FileProblem> {
    let content = file.place.read().map_err(|error| unreadable(&error))?;
    let records = records(&content, file)?;
    Ok(read_records(file, schema, &records)?.lazy())
}

/// The records of the array that is meant, as they are written.
fn records<'c>(content: &'c [u8], file: &RowFile) -> Result<Vec<RawRecord<'c>>, FileProblem> {
    let text = std::str::from_utf8(content).map_err(|error| {
        let line = line_of(content, error.valid_up_to());
        FileProblem::new(
            "not-utf8",
            format!(
                "is not UTF-8: line {line}, byte {} of the file",
                error.valid_up_to()
            ),
        )
        .label("not UTF-8 text")
    })?;
    // A byte order mark is no JSON.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Err(FileProblem::new("empty-source", "is empty").label("nothing to read"));
    }
    let mut value: &RawValue = serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        let problem = FileProblem::new(
            "bad-json",
            format!("line {}, column {}: {reason}", error.line(), error.column()),
        )
        .label("not a JSON document");
        if reason.starts_with("trailing characters") {
            problem.help("an object a line is read by `source.ndjson`")
        } else {
            problem
        }
    })?;
    let pointer = file.json.records.as_deref().unwrap_or_default();
    let mut walked = String::new();
    for step in pointer.split('/').skip(1) {
        // As RFC 6901 writes `/` and `~`.
        let step = step.replace("~1", "/").replace("~0", "~");
        let inner: indexmap::IndexMap<String, &RawValue> = serde_json::from_str(value.get())
            .map_err(|_| {
                no_records(
                    pointer,
                    format!("has no object at `{walked}` (the start of `{pointer}`)"),
                )
            })?;
        let names = inner.keys().map(String::as_str);
        value = inner.get(&step).copied().ok_or_else(|| {
            no_records(pointer, format!("has no `{step}` at `{walked}`"))
                .help_if(taktline_core::did_you_mean(&step, names))
        })?;
        walked.push('/');
        walked.push_str(&step);
    }
    let items: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| {
        let place = if walked.is_empty() {
            "at the top".to_owned()
        } else {
            format!("at `{walked}`")
        };
        let arrays = arrays_in(value);
        let problem = no_records(pointer, format!("has no array of records {place}"));
        match arrays.as_slice() {
            [] => problem,
            names => problem.help(format!(
                "say where it is: `records: {walked}/{}`",
                names.join(&format!("` or `records: {walked}/"))
            )),
        }
    })?;
    let mut line = 1;
    let mut seen = 0;
    Ok(items
        .into_iter()
        .zip(1..)
        .map(|(item, number)| {
            let item = item.get();
            // The items are pieces of the text, in order.
            let start = (item.as_ptr() as usize).saturating_sub(content.as_ptr() as usize);
            line += count_lines(content.get(seen..start).unwrap_or_default());
            seen = start;
            RawRecord {
                name: Name::Record(number, line),
                bytes: item.as_bytes(),
            }
        })
        .collect())
}

fn no_records(pointer: &str, message: String) -> FileProblem {
    let problem = FileProblem::new("no-records", message).label("no array of objects here");
    if pointer.is_empty() {
        problem
    } else {
        problem.param("records")
    }
}

/// The names of an object's fields that are arrays.
fn arrays_in(value: &RawValue) -> Vec<String> {
    let fields: indexmap::IndexMap<String, &RawValue> =
        serde_json::from_str(value.get()).unwrap_or_default();
    fields
        .into_iter()
        .filter(|(_, value)| value.get().starts_with('['))
        .map(|(name, _)| name.replace('~', "~0").replace('/', "~1"))
        .collect()
}

fn line_of(content: &[u8], at: usize) -> u64 {
    1 + count_lines(&content[..at])
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}
