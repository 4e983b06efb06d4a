//! PostgreSQL's types: names, and values in the binary format.
//!
//! The formats are those of the types' `*send` functions in PostgreSQL's `src/backend/utils/adt`.

use polars::prelude::{DataType, TimeUnit, TimeZone};
use sqlx::{
    Column as _, Row, TypeInfo, ValueRef,
    postgres::{PgColumn, PgRow, PgTypeInfo, PgTypeKind},
};

use super::{
    Value,
    connection::{Cells, Described, Readable, Wire as AnyWire},
};

/// How a column's values come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::database) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Char,
    Float4,
    Float8,
    Numeric,
    Text,
    Jsonb,
    Uuid,
    Bytes,
    Date,
    Time,
    Timestamp,
}

/// Days and microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL's time begins.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

pub(super) fn described(columns: &[PgColumn]) -> Vec<Described> {
    columns
        .iter()
        .map(|column| Described {
            name: column.name().to_owned(),
            database_type: column.type_info().name().to_lowercase(),
            readable: readable(column.name(), column.type_info()),
        })
        .collect()
}

fn readable(column: &str, info: &PgTypeInfo) -> Readable {
    let cast = |example: &str| {
        Readable::No(format!(
            "change it in the query: `{}`",
            example.replace('#', column)
        ))
    };
    let (dtype, wire) = match info.kind() {
        PgTypeKind::Array(_) => {
            return cast("array_to_string(#, ',') as #` or `#[1] as #");
        }
        PgTypeKind::Enum(_) => (DataType::String, Wire::Text),
        PgTypeKind::Domain(inner) => return readable(column, inner),
        PgTypeKind::Composite(_) => return cast("(#).field_name"),
        PgTypeKind::Range(_) => return cast("lower(#) as #_from, upper(#) as #_to"),
        PgTypeKind::Simple | PgTypeKind::Pseudo => match info.name() {
            "BOOL" => (DataType::Boolean, Wire::Bool),
            "INT2" => (DataType::Int16, Wire::Int2),
            "INT4" => (DataType::Int32, Wire::Int4),
            "INT8" => (DataType::Int64, Wire::Int8),
            "OID" => (DataType::UInt32, Wire::Oid),
            "\"CHAR\"" => (DataType::Int8, Wire::Char),
            "FLOAT4" => (DataType::Float32, Wire::Float4),
            "FLOAT8" => (DataType::Float64, Wire::Float8),
            "NUMERIC" => (DataType::Float64, Wire::Numeric),
            "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "JSON" | "XML" | "xml"
            | "citext" => (DataType::String, Wire::Text),
            "JSONB" => (DataType::String, Wire::Jsonb),
            "UUID" => (DataType::String, Wire::Uuid),
            "BYTEA" => (DataType::Binary, Wire::Bytes),
            "DATE" => (DataType::Date, Wire::Date),
            "TIME" => (DataType::Time, Wire::Time),
            "TIMESTAMP" => (
                DataType::Datetime(TimeUnit::Microseconds, None),
                Wire::Timestamp,
            ),
            "TIMESTAMPTZ" => (
                DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)),
                Wire::Timestamp,
            ),
            "INTERVAL" => return cast("extract(epoch from #) as #"),
            "MONEY" => return cast("#::numeric"),
            _ => return cast("#::text"),
        },
    };
    Readable::As(dtype, AnyWire::Postgres(wire))
}

impl Cells for PgRow {
    fn value(&self, index: usize, wire: AnyWire) -> Result<Value<'_>, String> {
        let raw = self.try_get_raw(index).map_err(|error| error.to_string())?;
        let AnyWire::Postgres(wire) = wire else {
            return Err("comes in a format that is not PostgreSQL's".to_owned());
        };
        if raw.is_null() {
            return Ok(Value::Null);
        }
        let bytes = raw.as_bytes().map_err(|error| error.to_string())?;
        value(wire, bytes)
    }
}

fn value(wire: Wire, bytes: &[u8]) -> Result<Value<'_>, String> {
    Ok(match wire {
        Wire::Bool => Value::Bool(fixed::<1>(bytes)? != [0]),
        Wire::Int2 => Value::Int(i16::from_be_bytes(fixed(bytes)?).into()),
        Wire::Int4 => Value::Int(i32::from_be_bytes(fixed(bytes)?).into()),
        Wire::Int8 => Value::Int(i64::from_be_bytes(fixed(bytes)?)),
        Wire::Oid => Value::UInt(u32::from_be_bytes(fixed(bytes)?).into()),
        Wire::Char => Value::Int(i8::from_be_bytes(fixed(bytes)?).into()),
        Wire::Float4 => Value::Float(f32::from_be_bytes(fixed(bytes)?).into()),
        Wire::Float8 => Value::Float(f64::from_be_bytes(fixed(bytes)?)),
        Wire::Numeric => numeric(bytes)?,
        Wire::Text => text(bytes)?,
        // The first byte is the format's version.
        Wire::Jsonb => text(bytes.get(1..).unwrap_or_default())?,
        Wire::Uuid => {
            let digits = u128::from_be_bytes(fixed(bytes)?);
            let hex = format!("{digits:032x}");
            Value::Text(
                [
                    &hex[..8],
                    &hex[8..12],
                    &hex[12..16],
                    &hex[16..20],
                    &hex[20..],
                ]
                .join("-")
                .into(),
            )
        }
        Wire::Bytes => Value::Bytes(bytes.into()),
        Wire::Date => {
            let days = i32::from_be_bytes(fixed(bytes)?);
            if days == i32::MAX || days == i32::MIN {
                return Err(endless("date"));
            }
            Value::Date(days.saturating_add(EPOCH_DAYS))
        }
        Wire::Time => Value::Time(i64::from_be_bytes(fixed(bytes)?)),
        Wire::Timestamp => {
            let microseconds = i64::from_be_bytes(fixed(bytes)?);
            if microseconds == i64::MAX || microseconds == i64::MIN {
                return Err(endless("timestamp"));
            }
            let at = microseconds.checked_add(EPOCH_MICROSECONDS);
            Value::Timestamp(at.ok_or("holds a timestamp that is too far away")?)
        }
    })
}

fn endless(kind: &str) -> String {
    format!(
        "holds the {kind} `infinity`, which is no point in time here; choose one in the query, as with `nullif`"
    )
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    bytes
        .try_into()
        .map_err(|_| format!("comes with {} bytes where {N} are due", bytes.len()))
}

fn text(bytes: &[u8]) -> Result<Value<'_>, String> {
    std::str::from_utf8(bytes)
        .map(|text| Value::Text(text.into()))
        .map_err(|_| "holds text that is not UTF-8".to_owned())
}

/// A `numeric`: digits to the base 10,000, the first worth 10,000 to the power of `weight`.
fn numeric(bytes: &[u8]) -> Result<Value<'_>, String> {
    let [d0, d1, w0, w1, s0, s1, c0, c1, digits @ ..] = bytes else {
        return Err("holds a number in an unknown format".to_owned());
    };
    let count = usize::from(u16::from_be_bytes([*d0, *d1]));
    let weight = i32::from(i16::from_be_bytes([*w0, *w1]));
    let scale = usize::from(u16::from_be_bytes([*c0, *c1]));
    let digit = |place: i32| -> u16 {
        usize::try_from(weight - place)
            .ok()
            .filter(|index| *index < count)
            .and_then(|index| digits.get(2 * index..2 * index + 2))
            .map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
    };
    let mut written = String::with_capacity(4 * count + 8);
    match u16::from_be_bytes([*s0, *s1]) {
        0x0000 => {}
        0x4000 => written.push('-'),
        0xc000 => return Ok(Value::Float(f64::NAN)),
        0xd000 => return Ok(Value::Float(f64::INFINITY)),
        0xf000 => return Ok(Value::Float(f64::NEG_INFINITY)),
        _ => return Err("holds a number in an unknown format".to_owned()),
    }
    written.push_str(&digit(weight.max(0)).to_string());
    for place in (0..weight.max(0)).rev() {
        written.push_str(&format!("{:04}", digit(place)));
    }
    if scale > 0 {
        written.push('.');
        let end = written.len() + scale;
        let mut place = -1;
        while written.len() < end {
            written.push_str(&format!("{:04}", digit(place)));
            place -= 1;
        }
        written.truncate(end);
    }
    Ok(Value::Decimal(written.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> String {
        let mut bytes = (digits.len() as u16).to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(scale.to_be_bytes());
        bytes.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
        match numeric(&bytes).expect("a number") {
            Value::Decimal(written) => written.into_owned(),
            other => other.to_string(),
        }
    }

    #[test]
    fn numbers_keep_every_digit() {
        assert_eq!(number(0, 0, 0, &[]), "0");
        assert_eq!(number(0, 0, 2, &[]), "0.00");
        assert_eq!(number(0, 0, 2, &[12, 3400]), "12.34");
        assert_eq!(number(0, 0x4000, 1, &[0, 5000]), "-0.5");
        assert_eq!(number(-1, 0, 1, &[5000]), "0.5");
        assert_eq!(number(-3, 0, 10, &[700]), "0.0000000007");
        assert_eq!(number(1, 0, 0, &[1]), "10000");
        assert_eq!(number(2, 0, 4, &[12, 3, 4, 5678]), "1200030004.5678");
        assert_eq!(number(0, 0xc000, 0, &[]), "the number `NaN`");
        assert_eq!(number(0, 0xf000, 0, &[]), "the number `-inf`");
    }

    #[test]
    fn times_begin_in_2000() {
        assert_eq!(
            value(Wire::Date, &(-EPOCH_DAYS).to_be_bytes()),
            Ok(Value::Date(0))
        );
        assert_eq!(
            value(Wire::Timestamp, &1_i64.to_be_bytes()),
            Ok(Value::Timestamp(EPOCH_MICROSECONDS + 1))
        );
        assert!(value(Wire::Timestamp, &i64::MAX.to_be_bytes()).is_err());
        assert!(value(Wire::Date, &i32::MIN.to_be_bytes()).is_err());
        assert!(value(Wire::Int4, &[0]).is_err());
    }

    #[test]
    fn uuids_have_four_hyphens() {
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(
            value(Wire::Uuid, &bytes),
            Ok(Value::Text("00010203-0405-0607-0809-0a0b0c0d0e0f".into()))
        );
    }
}
