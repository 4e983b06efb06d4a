//! Rows of a frame as databases take them.

use std::collections::HashMap;

use polars::prelude::{AnyValue, DataFrame, DataType, Series};
use taktline_core::{Error, Result};

use super::{
    Value,
    cells::outgoing,
    table::Dialect,
    value::{date_text, time_text, timestamp_text},
};

/// The rows of a frame, column by column.
pub(super) struct Rows {
    pub(super) columns: Vec<Series>,
    pub(super) height: usize,
}

impl Rows {
    pub(super) fn of(frame: &DataFrame) -> Self {
        Self {
            columns: frame
                .columns()
                .iter()
                .map(|column| column.as_materialized_series().rechunk())
                .collect(),
            height: frame.height(),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name().as_str())
    }

    pub(super) fn columns(&self) -> Vec<(&str, &DataType)> {
        self.columns
            .iter()
            .map(|column| (column.name().as_str(), column.dtype()))
            .collect()
    }

    /// Two rows with the same key would overwrite each other, which of them depending on the database.
    pub(super) fn refuse_equal_keys(&self, key: &[String]) -> Result<()> {
        let columns: Vec<&Series> = self
            .columns
            .iter()
            .filter(|column| key.iter().any(|key| key == column.name().as_str()))
            .collect();
        let mut seen: HashMap<Vec<u8>, usize> = HashMap::with_capacity(self.height);
        for row in 0..self.height {
            let mut written = Vec::new();
            for column in &columns {
                let cell = column.get(row)?;
                if cell.is_null() {
                    return Err(Error::data(format!(
                        "row {}: `{}` has no value, and it is part of the key",
                        row + 1,
                        column.name()
                    )));
                }
                let value = outgoing(&cell).map_err(|reason| unfit(row, column.name(), &reason))?;
                copy_text(&value, &mut written)
                    .map_err(|reason| unfit(row, column.name(), &reason))?;
                written.push(b'\t');
            }
            if let Some(before) = seen.insert(written, row) {
                return Err(Error::data(format!(
                    "rows {} and {} have the same key ({}); keep one of them with `clean.drop_duplicates`",
                    before + 1,
                    row + 1,
                    key.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// A row in the text format of PostgreSQL's `COPY`.
    pub(super) fn write_copy_row(&self, row: usize, buffer: &mut Vec<u8>) -> Result<()> {
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                buffer.push(b'\t');
            }
            let cell = column.get(row)?;
            outgoing(&cell)
                .and_then(|value| copy_text(&value, buffer))
                .map_err(|reason| unfit(row, column.name(), &reason))?;
        }
        buffer.push(b'\n');
        Ok(())
    }
}

/// A cell that cannot be written; `row` counts from 0.
pub(super) fn unfit(row: usize, column: &str, reason: &str) -> Error {
    Error::data(format!(
        "row {}: `{column}` {reason}; nothing was written",
        row + 1
    ))
}

fn copy_text(value: &Value<'_>, buffer: &mut Vec<u8>) -> Result<(), String> {
    use std::io::Write as _;
    let too_far = || "is outside the years 1 to 9999".to_owned();
    // Writing to memory does not fail.
    let _ = match value {
        Value::Null => write!(buffer, "\\N"),
        Value::Bool(truth) => write!(buffer, "{}", if *truth { 't' } else { 'f' }),
        Value::Int(number) => write!(buffer, "{number}"),
        Value::UInt(number) => write!(buffer, "{number}"),
        Value::Float(number) if number.is_nan() => write!(buffer, "NaN"),
        Value::Float(number) if number.is_infinite() => {
            write!(buffer, "{}Infinity", if *number < 0.0 { "-" } else { "" })
        }
        Value::Float(number) => write!(buffer, "{number:e}"),
        Value::Decimal(digits) => write!(buffer, "{digits}"),
        Value::Text(text) => {
            if text.contains('\0') {
                return Err(
                    "holds the character of code 0, which PostgreSQL's text cannot".to_owned(),
                );
            }
            for byte in text.bytes() {
                match byte {
                    b'\\' => buffer.extend(b"\\\\"),
                    b'\n' => buffer.extend(b"\\n"),
                    b'\r' => buffer.extend(b"\\r"),
                    b'\t' => buffer.extend(b"\\t"),
                    byte => buffer.push(byte),
                }
            }
            Ok(())
        }
        Value::Bytes(bytes) => {
            buffer.extend(b"\\\\x");
            bytes
                .iter()
                .try_for_each(|byte| write!(buffer, "{byte:02x}"))
        }
        Value::Date(days) => write!(buffer, "{}", date_text(*days).ok_or_else(too_far)?),
        Value::Time(at) => write!(buffer, "{}", time_text(*at).ok_or("is no time of day")?),
        Value::Timestamp(at) => {
            // With the offset it means the same in columns with and without a zone.
            write!(buffer, "{}+00", timestamp_text(*at).ok_or_else(too_far)?)
        }
        Value::Duration(_) => return Err("holds a duration".to_owned()),
    };
    Ok(())
}

impl Rows {
    /// The cells of rows from `start` on, row by row: at most `most` rows, and not many megabytes.
    pub(super) fn run(&self, start: usize, most: usize) -> Result<(usize, Vec<AnyValue<'_>>)> {
        const BYTES: usize = 1 << 20;
        let mut cells = Vec::with_capacity(most * self.columns.len());
        let mut bytes = 0;
        let mut end = start;
        while end < self.height && end - start < most && bytes < BYTES {
            for column in &self.columns {
                let cell = column.get(end)?;
                bytes += match &cell {
                    AnyValue::String(text) => text.len(),
                    AnyValue::Binary(blob) => blob.len(),
                    _ => 8,
                };
                cells.push(cell);
            }
            end += 1;
        }
        Ok((end, cells))
    }
}

/// The value as MySQL or SQLite can hold it: times become text.
pub(super) fn storable(value: Value<'_>, dialect: Dialect) -> Result<Value<'_>, String> {
    let too_far = || "is outside the years 1 to 9999".to_owned();
    let text = |text: String| Ok(Value::Text(text.into()));
    match value {
        Value::Float(number) if number.is_nan() => {
            Err("holds NaN, which the database cannot; fill it above, or make it null".to_owned())
        }
        Value::Float(number) if number.is_infinite() && dialect == Dialect::MySql => {
            Err("holds an infinite number, which the database cannot".to_owned())
        }
        Value::UInt(number) if dialect == Dialect::Sqlite => Err(format!(
            "holds the whole number `{number}`, which is larger than SQLite's numbers"
        )),
        Value::Date(days) => text(date_text(days).ok_or_else(too_far)?),
        Value::Time(at) => text(time_text(at).ok_or("is no time of day")?),
        Value::Timestamp(at) => text(timestamp_text(at).ok_or_else(too_far)?),
        Value::Duration(_) => Err("holds a duration".to_owned()),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(value: Value<'_>) -> String {
        let mut buffer = Vec::new();
        copy_text(&value, &mut buffer).expect("can be written");
        String::from_utf8(buffer).expect("text")
    }

    #[test]
    fn text_for_copy_is_escaped() {
        assert_eq!(
            copied(Value::Text("a\tb\\N\nc\r".into())),
            "a\\tb\\\\N\\nc\\r"
        );
        assert_eq!(copied(Value::Null), "\\N");
        assert_eq!(copied(Value::Float(f64::NEG_INFINITY)), "-Infinity");
        assert_eq!(copied(Value::Float(1e300)), "1e300");
        assert_eq!(copied(Value::Bytes(vec![0, 255].into())), "\\\\x00ff");
        assert_eq!(copied(Value::Timestamp(0)), "1970-01-01 00:00:00.000000+00");
        assert!(copy_text(&Value::Text("a\0b".into()), &mut Vec::new()).is_err());
        assert!(copy_text(&Value::Timestamp(i64::MAX), &mut Vec::new()).is_err());
    }

    #[test]
    fn equal_keys_are_refused() {
        let frame = polars::df!("id" => [1_i64, 2, 1], "name" => ["a", "b", "c"]).expect("a frame");
        let rows = Rows::of(&frame);
        let error = rows
            .refuse_equal_keys(&["id".into()])
            .expect_err("twice")
            .to_string();
        assert!(
            error.starts_with("rows 1 and 3 have the same key (id)"),
            "{error}"
        );
        rows.refuse_equal_keys(&["id".into(), "name".into()])
            .expect("different");
        let frame = polars::df!("id" => [Some(1_i64), None]).expect("a frame");
        let error = Rows::of(&frame)
            .refuse_equal_keys(&["id".into()])
            .expect_err("null");
        assert!(
            error.to_string().starts_with("row 2: `id` has no value"),
            "{error}"
        );
    }
}
