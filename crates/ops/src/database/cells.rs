//! Cells of a frame on their way out.

use polars::prelude::{AnyValue, TimeUnit};

use super::Value;

/// A cell as a value for a database; a datetime with a zone is taken to UTC.
///
/// # Errors
/// What no database here can hold.
pub(super) fn outgoing<'c>(cell: &'c AnyValue<'c>) -> Result<Value<'c>, String> {
    Ok(match cell {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(truth) => Value::Bool(*truth),
        AnyValue::Int8(number) => Value::Int((*number).into()),
        AnyValue::Int16(number) => Value::Int((*number).into()),
        AnyValue::Int32(number) => Value::Int((*number).into()),
        AnyValue::Int64(number) => Value::Int(*number),
        AnyValue::UInt8(number) => Value::Int((*number).into()),
        AnyValue::UInt16(number) => Value::Int((*number).into()),
        AnyValue::UInt32(number) => Value::Int((*number).into()),
        AnyValue::UInt64(number) => match i64::try_from(*number) {
            Ok(number) => Value::Int(number),
            Err(_) => Value::UInt(*number),
        },
        // The shortest digits that mean the same in 32 bits are not those of the 64-bit number.
        AnyValue::Float32(number) => match number.to_string().parse() {
            Ok(number) => Value::Float(number),
            Err(_) => Value::Float((*number).into()),
        },
        AnyValue::Float64(number) => Value::Float(*number),
        AnyValue::String(text) => Value::Text((*text).into()),
        AnyValue::StringOwned(text) => Value::Text(text.as_str().into()),
        AnyValue::Binary(bytes) => Value::Bytes((*bytes).into()),
        AnyValue::BinaryOwned(bytes) => Value::Bytes(bytes.as_slice().into()),
        AnyValue::Date(days) => Value::Date(*days),
        AnyValue::Time(nanoseconds) => {
            Value::Time(microseconds(*nanoseconds, TimeUnit::Nanoseconds)?)
        }
        AnyValue::Datetime(at, unit, _) | AnyValue::DatetimeOwned(at, unit, _) => {
            Value::Timestamp(microseconds(*at, *unit)?)
        }
        AnyValue::Decimal(digits, _, scale) => Value::Decimal(decimal(*digits, *scale).into()),
        other => match other.get_str() {
            Some(text) => Value::Text(text.into()),
            None => return Err("holds a value that is no single one".to_owned()),
        },
    })
}

fn microseconds(at: i64, unit: TimeUnit) -> Result<i64, String> {
    match unit {
        TimeUnit::Microseconds => Ok(at),
        TimeUnit::Milliseconds => at
            .checked_mul(1000)
            .ok_or_else(|| "holds a datetime that is too far away".to_owned()),
        TimeUnit::Nanoseconds if at % 1000 == 0 => Ok(at / 1000),
        TimeUnit::Nanoseconds => Err(
            "holds a part of a microsecond, which databases do not keep; cast it with `clean.cast` to `datetime`"
                .to_owned(),
        ),
    }
}

fn decimal(digits: i128, scale: usize) -> String {
    if scale == 0 {
        return digits.to_string();
    }
    let sign = if digits < 0 { "-" } else { "" };
    let written = format!("{:0width$}", digits.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = written.split_at(written.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_keep_what_they_are() {
        let value = |cell: AnyValue<'static>| outgoing(&cell).map(|value| format!("{value:?}"));
        assert_eq!(
            value(AnyValue::UInt64(u64::MAX)),
            Ok(format!("UInt({})", u64::MAX))
        );
        assert_eq!(value(AnyValue::Float32(0.1)), Ok("Float(0.1)".to_owned()));
        assert_eq!(
            value(AnyValue::Float32(f32::NAN)),
            Ok("Float(NaN)".to_owned())
        );
        assert_eq!(
            value(AnyValue::Datetime(5, TimeUnit::Milliseconds, None)),
            Ok("Timestamp(5000)".to_owned())
        );
        assert!(value(AnyValue::Datetime(5, TimeUnit::Nanoseconds, None)).is_err());
    }

    #[test]
    fn decimals_are_written_out() {
        assert_eq!(decimal(1234, 2), "12.34");
        assert_eq!(decimal(-5, 3), "-0.005");
        assert_eq!(decimal(7, 0), "7");
    }
}
