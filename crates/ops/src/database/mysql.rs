//! The types of MySQL and MariaDB: names, and values in the binary protocol.
//!
//! The formats are those of "Binary Protocol Resultset Row" in MySQL's client/server protocol.

use chrono::NaiveDate;
use polars::prelude::{DataType, TimeUnit, TimeZone};
use sqlx::{
    Column as _, Decode, MySql, Row, Type, TypeInfo,
    mysql::{MySqlColumn, MySqlRow, MySqlTypeInfo},
};

use super::{
    Value,
    connection::{Cells, Described, Readable, Wire as AnyWire},
    value::days,
};

/// How a column's values come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::database) enum Wire {
    Bool,
    Int,
    UInt,
    Float,
    Double,
    Decimal,
    Bit,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
}

pub(super) fn described(columns: &[MySqlColumn]) -> Vec<Described> {
    columns
        .iter()
        .map(|column| Described {
            name: column.name().to_owned(),
            database_type: column.type_info().name().to_lowercase(),
            readable: readable(column.name(), column.type_info()),
        })
        .collect()
}

fn readable(column: &str, info: &MySqlTypeInfo) -> Readable {
    // The flag for bytes is also on text with a binary collation (JSON in MariaDB); only the collation tells.
    let is_text = <str as Type<MySql>>::compatible(info);
    let (dtype, wire) = match info.name() {
        "BOOLEAN" => (DataType::Boolean, Wire::Bool),
        "TINYINT" => (DataType::Int8, Wire::Int),
        "SMALLINT" => (DataType::Int16, Wire::Int),
        "MEDIUMINT" | "INT" => (DataType::Int32, Wire::Int),
        "BIGINT" => (DataType::Int64, Wire::Int),
        "TINYINT UNSIGNED" => (DataType::UInt8, Wire::UInt),
        "SMALLINT UNSIGNED" | "YEAR" => (DataType::UInt16, Wire::UInt),
        "MEDIUMINT UNSIGNED" | "INT UNSIGNED" => (DataType::UInt32, Wire::UInt),
        "BIGINT UNSIGNED" => (DataType::UInt64, Wire::UInt),
        "FLOAT" => (DataType::Float32, Wire::Float),
        "DOUBLE" => (DataType::Float64, Wire::Double),
        "DECIMAL" => (DataType::Float64, Wire::Decimal),
        "BIT" => (DataType::UInt64, Wire::Bit),
        "DATE" => (DataType::Date, Wire::Date),
        "TIME" => (DataType::Duration(TimeUnit::Microseconds), Wire::Time),
        "DATETIME" => (
            DataType::Datetime(TimeUnit::Microseconds, None),
            Wire::Timestamp,
        ),
        "TIMESTAMP" => (
            DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)),
            Wire::Timestamp,
        ),
        "ENUM" | "SET" | "JSON" | "NULL" => (DataType::String, Wire::Text),
        "GEOMETRY" => {
            return Readable::No(format!(
                "change it in the query: `ST_AsText({column}) as {column}`"
            ));
        }
        _ if is_text => (DataType::String, Wire::Text),
        _ => (DataType::Binary, Wire::Bytes),
    };
    Readable::As(dtype, AnyWire::MySql(wire))
}

impl Cells for MySqlRow {
    fn value(&self, index: usize, wire: AnyWire) -> Result<Value<'_>, String> {
        let raw = self.try_get_raw(index).map_err(|error| error.to_string())?;
        let AnyWire::MySql(wire) = wire else {
            return Err("comes in a format that is not MySQL's".to_owned());
        };
        // Not `is_null`, which also says so of the date `0000-00-00`.
        match <&[u8] as Decode<MySql>>::decode(raw) {
            Ok(bytes) => value(wire, bytes),
            Err(_) => Ok(Value::Null),
        }
    }
}

fn value(wire: Wire, bytes: &[u8]) -> Result<Value<'_>, String> {
    Ok(match wire {
        Wire::Bool => Value::Int(signed(bytes)?),
        Wire::Int => Value::Int(signed(bytes)?),
        Wire::UInt => Value::UInt(unsigned(bytes.iter().rev())?),
        Wire::Bit => Value::UInt(unsigned(bytes.iter())?),
        Wire::Float => Value::Float(f32::from_le_bytes(fixed(bytes)?).into()),
        Wire::Double => Value::Float(f64::from_le_bytes(fixed(bytes)?)),
        Wire::Decimal => Value::Decimal(utf8(bytes)?.into()),
        Wire::Text => Value::Text(utf8(bytes)?.into()),
        Wire::Bytes => Value::Bytes(bytes.into()),
        Wire::Date => Value::Date(days(date(bytes)?)),
        Wire::Timestamp => Value::Timestamp(timestamp(bytes)?),
        Wire::Time => Value::Duration(duration(bytes)?),
    })
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "holds text that is not UTF-8".to_owned())
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    bytes
        .try_into()
        .map_err(|_| format!("comes with {} bytes where {N} are due", bytes.len()))
}

fn signed(bytes: &[u8]) -> Result<i64, String> {
    Ok(match bytes.len() {
        1 => i8::from_le_bytes(fixed(bytes)?).into(),
        2 => i16::from_le_bytes(fixed(bytes)?).into(),
        4 => i32::from_le_bytes(fixed(bytes)?).into(),
        _ => i64::from_le_bytes(fixed(bytes)?),
    })
}

/// From the most significant byte on.
fn unsigned<'b>(bytes: impl ExactSizeIterator<Item = &'b u8>) -> Result<u64, String> {
    if bytes.len() > 8 {
        return Err("comes with more than 8 bytes".to_owned());
    }
    Ok(bytes.fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}

/// A length byte, then year, month and day; nothing after the length byte is the date of zeros.
fn date(bytes: &[u8]) -> Result<NaiveDate, String> {
    let (year, month, day) = match bytes {
        [_, low, high, month, day, ..] => (u16::from_le_bytes([*low, *high]), *month, *day),
        _ => (0, 0, 0),
    };
    NaiveDate::from_ymd_opt(year.into(), month.into(), day.into()).ok_or_else(|| {
        format!(
            "holds the date `{year:04}-{month:02}-{day:02}`, which is no day; make it null in the query: `nullif(…, '0000-00-00')`"
        )
    })
}

fn timestamp(bytes: &[u8]) -> Result<i64, String> {
    let day = date(bytes)?;
    let (hour, minute, second) = match bytes {
        [_, _, _, _, _, hour, minute, second, ..] => (*hour, *minute, *second),
        _ => (0, 0, 0),
    };
    let microsecond = match bytes {
        [_, _, _, _, _, _, _, _, rest @ ..] if rest.len() == 4 => u32::from_le_bytes(fixed(rest)?),
        _ => 0,
    };
    day.and_hms_micro_opt(hour.into(), minute.into(), second.into(), microsecond)
        .map(|at| at.and_utc().timestamp_micros())
        .ok_or_else(|| "holds a time that is on no clock".to_owned())
}

/// A length byte, a sign, days, hours, minutes, seconds, and microseconds where there are some.
fn duration(bytes: &[u8]) -> Result<i64, String> {
    let [
        _,
        is_negative,
        d0,
        d1,
        d2,
        d3,
        hours,
        minutes,
        seconds,
        rest @ ..,
    ] = bytes
    else {
        return Ok(0);
    };
    let days = i64::from(u32::from_le_bytes([*d0, *d1, *d2, *d3]));
    let whole =
        ((days * 24 + i64::from(*hours)) * 60 + i64::from(*minutes)) * 60 + i64::from(*seconds);
    let fraction = match rest.len() {
        4 => i64::from(u32::from_le_bytes(fixed(rest)?)),
        _ => 0,
    };
    let microseconds = whole * 1_000_000 + fraction;
    Ok(if *is_negative == 1 {
        -microseconds
    } else {
        microseconds
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_width() {
        assert_eq!(value(Wire::Int, &[0xff]), Ok(Value::Int(-1)));
        assert_eq!(
            value(Wire::Int, &[0xfe, 0xff, 0xff, 0xff]),
            Ok(Value::Int(-2))
        );
        assert_eq!(value(Wire::UInt, &[0xff; 8]), Ok(Value::UInt(u64::MAX)));
        assert_eq!(value(Wire::UInt, &[1, 2]), Ok(Value::UInt(513)));
        assert_eq!(value(Wire::Bit, &[1, 2]), Ok(Value::UInt(258)));
        assert!(value(Wire::Double, &[1, 2]).is_err());
    }

    #[test]
    fn times_of_every_length() {
        assert_eq!(
            value(Wire::Date, &[4, 0xb2, 0x07, 1, 2]),
            Ok(Value::Date(1))
        );
        assert_eq!(
            value(Wire::Timestamp, &[4, 0xb2, 0x07, 1, 2]),
            Ok(Value::Timestamp(86_400_000_000))
        );
        assert_eq!(
            value(
                Wire::Timestamp,
                &[11, 0xb2, 0x07, 1, 1, 0, 0, 1, 5, 0, 0, 0]
            ),
            Ok(Value::Timestamp(1_000_005))
        );
        let zero = value(Wire::Date, &[0]).expect_err("no day");
        assert!(zero.starts_with("holds the date `0000-00-00`"), "{zero}");
        assert_eq!(value(Wire::Time, &[0]), Ok(Value::Duration(0)));
        assert_eq!(
            value(Wire::Time, &[8, 1, 1, 0, 0, 0, 1, 0, 0]),
            Ok(Value::Duration(-25 * 3_600_000_000))
        );
    }
}
