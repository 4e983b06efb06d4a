//! JSON records as columns, strictly: a value that is not of its column's type is an error, never a null.

use std::{collections::BTreeSet, str::from_utf8};

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use indexmap::IndexMap;
use polars::prelude::{
    Column, DataFrame, DataType, IntoColumn, NamedFrom, ReshapeDimension, Schema, Series, TimeUnit,
};
use rayon::prelude::*;
use serde_json::{Map, Value};
use taktline_core::{Column as TypedColumn, Error, type_name};

use super::{FileProblem, Inspected, RowFile};

/// Records that one thread turns into columns at a time.
const CHUNK: usize = 8192;

/// Deeper objects than this are no rows of a table.
const DEEPEST: usize = 16;

/// How JSON becomes columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct JsonLayout {
    /// Where in a document the array of records is, as a JSON pointer (RFC 6901): `/data/items`.
    pub(crate) records: Option<String>,
    /// A nested object's fields become columns `outer_inner`.
    pub(crate) flatten: bool,
}

/// A record, and what messages call it: `line 3`, `record 3 (line 40)`.
pub(super) struct RawRecord<'a> {
    pub(super) name: Name,
    pub(super) bytes: &'a [u8],
}

/// What messages call a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name {
    /// A line of its own, from 1.
    Line(u64),
    /// Its number in the array, from 1, and the line that it starts on.
    Record(u64, u64),
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(line) => write!(formatter, "line {line}"),
            Self::Record(number, line) => write!(formatter, "record {number} (line {line})"),
        }
    }
}

/// What the records of a sample say about their fields.
#[derive(Debug, Default)]
pub(super) struct Fields {
    seen: IndexMap<String, Seen>,
    /// Records that were looked at.
    pub(super) rows: usize,
}

impl Fields {
    pub(super) fn add(
        &mut self,
        file: &RowFile,
        record: &RawRecord<'_>,
    ) -> Result<(), FileProblem> {
        self.rows += 1;
        for (key, value) in &object(file, record)? {
            match self.seen.get_mut(key) {
                Some(seen) => seen.add(value),
                None => {
                    let mut first = Seen::default();
                    first.add(value);
                    self.seen.insert(key.clone(), first);
                }
            }
        }
        Ok(())
    }

    /// Columns and problems.
    pub(super) fn inspected(mut self, file: &RowFile) -> (Option<Inspected>, Vec<FileProblem>) {
        if self.rows == 0 {
            let none = Inspected {
                schema: Schema::default(),
                without_values: BTreeSet::new(),
                leading_zeros: Vec::new(),
                is_empty: true,
            };
            let problem = FileProblem::new("empty-source", "has no rows").label("nothing to read");
            return (Some(none), vec![problem]);
        }
        if file.json.flatten {
            // An object that is null in some records is no column besides its fields.
            let names: Vec<String> = self.seen.keys().cloned().collect();
            self.seen.retain(|name, seen| {
                let inner = format!("{name}_");
                !(seen.kinds.is_empty() && names.iter().any(|other| other.starts_with(&inner)))
            });
        }
        let mut problems = Vec::new();
        let mut schema = Schema::default();
        let mut without_values = BTreeSet::new();
        for (name, seen) in &self.seen {
            if seen.kinds.is_empty() {
                without_values.insert(name.clone());
            }
            let dtype = match file.known_type(name) {
                Some(known) => Ok(known.clone()),
                None => seen.dtype(),
            };
            match dtype {
                Ok(dtype) => {
                    schema.insert(name.as_str().into(), dtype);
                }
                Err(reason) => problems.push(
                    FileProblem::new(
                        "unsupported-value",
                        format!("holds {reason} in field `{name}`"),
                    )
                    .label(format!("`{name}` has no column type"))
                    .help(if reason == NESTED {
                        "set `flatten: true`: its fields become columns"
                    } else {
                        "write plain values, or lists of numbers that all have the same length"
                    }),
                ),
            }
        }
        let inspected = problems.is_empty().then_some(Inspected {
            schema,
            without_values,
            leading_zeros: Vec::new(),
            is_empty: false,
        });
        (inspected, problems)
    }
}

const NESTED: &str = "a nested object";

/// The records as a frame, in their order.
pub(super) fn read_records(
    file: &RowFile,
    schema: &Schema,
    records: &[RawRecord<'_>],
) -> Result<DataFrame, FileProblem> {
    let chunks: Vec<Result<DataFrame, FileProblem>> = records
        .par_chunks(CHUNK)
        .map(|chunk| read_chunk(file, schema, chunk))
        .collect();
    let mut frame = DataFrame::empty_with_schema(schema);
    for chunk in chunks {
        frame
            .vstack_mut_owned(chunk?)
            .map_err(|error| FileProblem::new("unreadable-file", error.to_string()))?;
    }
    Ok(frame)
}

fn read_chunk(
    file: &RowFile,
    schema: &Schema,
    records: &[RawRecord<'_>],
) -> Result<DataFrame, FileProblem> {
    let mut builders: IndexMap<&str, Builder> = IndexMap::new();
    for (name, dtype) in schema.iter() {
        let builder = Builder::new(dtype, records.len()).ok_or_else(|| {
            FileProblem::new(
                "unsupported-value",
                format!("cannot give column `{name}` as {}", type_name(dtype)),
            )
        })?;
        builders.insert(name.as_str(), builder);
    }
    for record in records {
        let object = object(file, record)?;
        // A field that is new and null says nothing.
        if let Some((unknown, _)) = object
            .iter()
            .find(|(key, value)| !builders.contains_key(key.as_str()) && !value.is_null())
        {
            return Err(FileProblem::new(
                "unknown-column",
                format!(
                    "{} has a field `{unknown}`, which the first {} rows do not have",
                    record.name, file.sample_rows
                ),
            ));
        }
        for (name, builder) in &mut builders {
            let value = object.get(*name).unwrap_or(&Value::Null);
            if !builder.push(value) {
                let wanted = schema.get(name).map(type_name).unwrap_or_default();
                return Err(FileProblem::new(
                    "bad-value",
                    format!(
                        "{}, field `{name}`: `{}` does not fit type {wanted}",
                        record.name,
                        short(value)
                    ),
                ));
            }
        }
    }
    let columns = builders
        .into_iter()
        .map(|(name, builder)| builder.finish(name))
        .collect::<Result<Vec<Column>, Error>>();
    columns
        .and_then(|columns| Ok(DataFrame::new(records.len(), columns)?))
        .map_err(|error| FileProblem::new("unreadable-file", format!("cannot be read: {error}")))
}

/// The record's fields.
fn object(file: &RowFile, record: &RawRecord<'_>) -> Result<Map<String, Value>, FileProblem> {
    let text = from_utf8(record.bytes).map_err(|error| {
        FileProblem::new(
            "not-utf8",
            format!(
                "is not UTF-8: {}, byte {} of it",
                record.name,
                error.valid_up_to()
            ),
        )
        .label("not UTF-8 text")
    })?;
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        // The parser counts lines of what it was given.
        let reason = reason.split(" at line ").next().unwrap_or_default();
        match record.name {
            Name::Line(line) => FileProblem::new(
                "bad-json",
                format!("line {line}, column {}: {reason}", error.column()),
            )
            .label("not a JSON object a line"),
            Name::Record(..) => FileProblem::new(
                "bad-json",
                format!("{} is no JSON object: {reason}", record.name),
            )
            .label("not an array of objects"),
        }
    })?;
    if !file.json.flatten || !object.values().any(Value::is_object) {
        return Ok(object);
    }
    let mut flat = Map::new();
    match flatten("", object, DEEPEST, &mut flat) {
        None => Ok(flat),
        Some(taken) => Err(FileProblem::new(
            "name-taken",
            format!(
                "{} has two fields that would both be `{taken}`",
                record.name
            ),
        )
        .label("two columns of one name")),
    }
}

/// Adds the fields, those of objects inside with both names; answers with a name that comes twice.
fn flatten(
    outer: &str,
    object: Map<String, Value>,
    depth: usize,
    flat: &mut Map<String, Value>,
) -> Option<String> {
    for (key, value) in object {
        let name = format!("{outer}{key}");
        match value {
            Value::Object(inner) if depth > 0 => {
                if let Some(taken) = flatten(&format!("{name}_"), inner, depth - 1, flat) {
                    return Some(taken);
                }
            }
            value => {
                if flat.contains_key(&name) {
                    return Some(name);
                }
                flat.insert(name, value);
            }
        }
    }
    None
}

fn short(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What a field's values in the sample are.
#[derive(Debug, Default)]
struct Seen {
    kinds: BTreeSet<Shape>,
}

/// What a value is.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Bool,
    Int,
    Float,
    Date,
    Datetime,
    Text,
    /// Lists inside lists, regular: the lengths from outside in, and whether all numbers are whole.
    Array(Vec<usize>, bool),
    Object,
    Irregular,
}

impl Seen {
    fn add(&mut self, value: &Value) {
        if let Some(shape) = shape(value) {
            self.kinds.insert(shape);
        }
    }

    fn dtype(&self) -> Result<DataType, &'static str> {
        let kinds: Vec<&Shape> = self.kinds.iter().collect();
        Ok(match kinds[..] {
            // As in CSV, a column without any value is text.
            [] | [Shape::Text] => DataType::String,
            [Shape::Bool] => DataType::Boolean,
            [Shape::Int] => DataType::Int64,
            [Shape::Float] | [Shape::Int, Shape::Float] => DataType::Float64,
            [Shape::Date] => DataType::Date,
            [Shape::Datetime] | [Shape::Date, Shape::Datetime] => {
                DataType::Datetime(TimeUnit::Microseconds, None)
            }
            [Shape::Date | Shape::Datetime, Shape::Text]
            | [Shape::Date, Shape::Datetime, Shape::Text] => DataType::String,
            [Shape::Array(shape, is_whole)] => array_type(shape, *is_whole),
            [Shape::Array(shape, false), Shape::Array(other, true)] if shape == other => {
                array_type(shape, false)
            }
            _ if self.kinds.contains(&Shape::Object) => return Err(NESTED),
            _ if kinds
                .iter()
                .any(|kind| matches!(kind, Shape::Array(..) | Shape::Irregular)) =>
            {
                return Err("lists of different lengths or types");
            }
            _ => return Err("values of different types"),
        })
    }
}

fn array_type(shape: &[usize], is_whole: bool) -> DataType {
    let item = if is_whole {
        DataType::Int64
    } else {
        DataType::Float64
    };
    shape.iter().rev().fold(item, |inner, width| {
        DataType::Array(Box::new(inner), *width)
    })
}

fn shape(value: &Value) -> Option<Shape> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => Shape::Bool,
        Value::Number(number) if number.is_f64() => Shape::Float,
        Value::Number(_) => Shape::Int,
        Value::String(text) if date(text).is_some() => Shape::Date,
        Value::String(text) if timestamp(text).is_some() => Shape::Datetime,
        Value::String(_) => Shape::Text,
        Value::Object(_) => Shape::Object,
        Value::Array(items) => {
            let mut lengths = vec![items.len()];
            let mut shapes = items.iter().map(shape);
            let Some(Some(first)) = shapes.next() else {
                return Some(Shape::Irregular);
            };
            let mut is_whole = match first {
                Shape::Int => true,
                Shape::Float => false,
                Shape::Array(inner, is_whole) => {
                    lengths.extend(inner);
                    is_whole
                }
                _ => return Some(Shape::Irregular),
            };
            for item in shapes {
                is_whole &= match item {
                    Some(Shape::Int) if lengths.len() == 1 => true,
                    Some(Shape::Float) if lengths.len() == 1 => false,
                    Some(Shape::Array(inner, is_whole)) if inner == lengths[1..] => is_whole,
                    _ => return Some(Shape::Irregular),
                };
            }
            Shape::Array(lengths, is_whole)
        }
    })
}

/// Values of one column.
enum Builder {
    Bool(Vec<Option<bool>>),
    Int {
        values: Vec<Option<i64>>,
        dtype: DataType,
        bounds: (i64, i64),
    },
    Float {
        values: Vec<Option<f64>>,
        dtype: DataType,
    },
    Text(Vec<Option<String>>),
    Date(Vec<Option<i32>>),
    Datetime {
        values: Vec<Option<i64>>,
        dtype: DataType,
    },
    Array {
        items: Box<Builder>,
        shape: Vec<usize>,
        rows: usize,
    },
}

impl Builder {
    /// An empty column of that type; `None` for a type that JSON cannot give.
    fn new(dtype: &DataType, rows: usize) -> Option<Self> {
        let bounds = match dtype {
            DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
            DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
            DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
            DataType::UInt8 => (0, u8::MAX.into()),
            DataType::UInt16 => (0, u16::MAX.into()),
            DataType::UInt32 => (0, u32::MAX.into()),
            DataType::UInt64 => (0, i64::MAX),
            _ => (i64::MIN, i64::MAX),
        };
        Some(match dtype {
            DataType::Boolean => Self::Bool(Vec::with_capacity(rows)),
            dtype if dtype.is_integer() => Self::Int {
                values: Vec::with_capacity(rows),
                dtype: dtype.clone(),
                bounds,
            },
            DataType::Float32 | DataType::Float64 => Self::Float {
                values: Vec::with_capacity(rows),
                dtype: dtype.clone(),
            },
            DataType::String => Self::Text(Vec::with_capacity(rows)),
            DataType::Date => Self::Date(Vec::with_capacity(rows)),
            DataType::Datetime(..) => Self::Datetime {
                values: Vec::with_capacity(rows),
                dtype: dtype.clone(),
            },
            DataType::Array(..) => {
                let (shape, item) = TypedColumn::new("", dtype.clone()).array()?;
                let items = Self::new(&item, rows * shape.iter().product::<usize>())?;
                Self::Array {
                    items: Box::new(items),
                    shape,
                    rows: 0,
                }
            }
            _ => return None,
        })
    }

    /// Adds a value; `false` if it does not fit.
    fn push(&mut self, value: &Value) -> bool {
        fn add<T>(values: &mut Vec<Option<T>>, value: &Value, parsed: Option<T>) -> bool {
            let fits = value.is_null() || parsed.is_some();
            values.push(parsed);
            fits
        }
        match self {
            Self::Bool(values) => add(values, value, value.as_bool()),
            Self::Int {
                values,
                bounds: (least, most),
                ..
            } => add(
                values,
                value,
                value
                    .as_i64()
                    .filter(|number| (*least..=*most).contains(number)),
            ),
            Self::Float { values, .. } => add(values, value, value.as_f64()),
            Self::Text(values) => add(values, value, value.as_str().map(str::to_owned)),
            Self::Date(values) => add(values, value, value.as_str().and_then(date)),
            Self::Datetime { values, .. } => add(values, value, value.as_str().and_then(timestamp)),
            Self::Array { items, shape, rows } => {
                *rows += 1;
                push_items(items, shape, value)
            }
        }
    }

    fn finish(self, name: &str) -> Result<Column, Error> {
        let name = name.into();
        let series = match self {
            Self::Bool(values) => Series::new(name, values),
            Self::Int { values, dtype, .. } => Series::new(name, values).strict_cast(&dtype)?,
            Self::Float { values, dtype } => Series::new(name, values).cast(&dtype)?,
            Self::Text(values) => Series::new(name, values),
            Self::Date(values) => Series::new(name, values).cast(&DataType::Date)?,
            Self::Datetime { values, dtype } => {
                let zone = match &dtype {
                    DataType::Datetime(_, zone) => zone.clone(),
                    _ => None,
                };
                Series::new(name, values)
                    .cast(&DataType::Datetime(TimeUnit::Microseconds, zone))?
                    .cast(&dtype)?
            }
            Self::Array { items, shape, rows } => {
                let mut dimensions = vec![ReshapeDimension::new(rows as i64)];
                dimensions.extend(
                    shape
                        .iter()
                        .map(|width| ReshapeDimension::new(*width as i64)),
                );
                items
                    .finish(&name)?
                    .as_materialized_series()
                    .reshape_array(&dimensions)?
            }
        };
        Ok(series.into_column())
    }
}

/// Adds the numbers of nested lists that have exactly this shape.
fn push_items(items: &mut Builder, shape: &[usize], value: &Value) -> bool {
    match (shape, value) {
        ([], Value::Null) => false,
        ([], value) => items.push(value),
        ([length, inner @ ..], Value::Array(values)) => {
            values.len() == *length && values.iter().all(|value| push_items(items, inner, value))
        }
        _ => false,
    }
}

/// Days since 1970-01-01.
fn date(text: &str) -> Option<i32> {
    if text.len() != "2024-01-31".len() {
        return None;
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// Microseconds since 1970-01-01 00:00.
fn timestamp(text: &str) -> Option<i64> {
    if !text.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    if let Some(days) = date(text) {
        return Some(i64::from(days) * 86_400_000_000);
    }
    [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
    ]
    .iter()
    .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
    .map(|at| at.and_utc().timestamp_micros())
    .or_else(|| {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|at| at.timestamp_micros())
    })
}
