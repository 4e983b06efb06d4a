//! Values as people write them in YAML, as typed columns; and back as text.

use polars::{
    lazy::dsl::{col, lit},
    prelude::{AnyValue, DataType, IntoLazy, NamedFrom, NonExistent, Series, TimeUnit},
};
use serde_yaml::Value;
use taktline_core::{sql, type_name};
use taktline_spec::TimeSpan;

/// A value that does not fit its column: its row, and why.
#[derive(Debug, PartialEq)]
pub(crate) struct Misfit {
    pub(crate) row: usize,
    pub(crate) reason: String,
}

/// The column of that type with these values; what is missing is null.
pub(crate) fn column<'v>(
    name: &str,
    dtype: &DataType,
    cells: impl IntoIterator<Item = Option<&'v Value>>,
) -> Result<Series, Misfit> {
    let mut column = Series::new_empty(name.into(), dtype);
    for (row, cell) in cells.into_iter().enumerate() {
        let value = match cell {
            None | Some(Value::Null) => Ok(Series::full_null(name.into(), 1, dtype)),
            Some(cell) => value(cell, dtype),
        };
        value
            .and_then(|value| {
                column
                    .append_owned(value)
                    .map(|_| ())
                    .map_err(|error| error.to_string())
            })
            .map_err(|reason| Misfit { row, reason })?;
    }
    Ok(column)
}

/// One value, as a column of one row.
fn value(cell: &Value, dtype: &DataType) -> Result<Series, String> {
    let single = |series: Series| {
        series
            .strict_cast(dtype)
            .map_err(|_| format!("`{}` does not fit {}", written(cell), type_name(dtype)))
    };
    let misfit = || format!("`{}` is not {}", written(cell), in_words(dtype));
    match (cell, dtype) {
        (Value::Bool(value), DataType::Boolean) => single(series(*value)),
        (Value::Number(number), dtype) if dtype.is_integer() => {
            if let Some(whole) = number.as_i64() {
                return single(series(whole));
            }
            if let Some(whole) = number.as_u64() {
                return single(series(whole));
            }
            // `3.0` and `1e6` are whole numbers too, as far as a real number tells whole ones apart.
            match number.as_f64() {
                Some(real) if real.fract() == 0.0 && real.abs() <= 9_007_199_254_740_992.0 => {
                    single(series(real as i64))
                }
                _ => Err(misfit()),
            }
        }
        (Value::Number(number), dtype) if dtype.is_float() => {
            single(series(number.as_f64().ok_or_else(misfit)?))
        }
        (Value::Number(number), DataType::Decimal(..)) => single(series(number.to_string())),
        (Value::Number(_) | Value::Bool(_), DataType::String) => Err(format!(
            "`{}` is not text; write it in quotes",
            written(cell)
        )),
        (Value::String(text), dtype) => {
            let read = match dtype {
                DataType::String | DataType::Categorical(..) | DataType::Enum(..) => {
                    Some(series(text.as_str()))
                }
                DataType::Decimal(..) => Some(series(text.as_str())),
                DataType::Float32 | DataType::Float64 => not_finite(text).map(series),
                DataType::Date => sql::date(text).map(series),
                DataType::Datetime(_, None) => instant(sql::timestamp(text), None),
                DataType::Datetime(_, Some(zone)) => match with_offset(text) {
                    Some(micros) => instant(Some(micros), Some("UTC")),
                    None => {
                        let local = instant(sql::timestamp(text), None);
                        local.map(|local| in_zone(&local, zone)).transpose()?
                    }
                },
                DataType::Duration(_) => span(text).and_then(|micros| {
                    series(micros)
                        .cast(&DataType::Duration(TimeUnit::Microseconds))
                        .ok()
                }),
                DataType::Time => sql::timestamp(&format!("1970-01-01 {text}"))
                    .map(|micros| series(micros * 1000)),
                _ => None,
            };
            single(read.ok_or_else(misfit)?)
        }
        (Value::Number(_), DataType::Array(item, width)) => {
            let items = value(cell, item)?.new_from_index(0, *width);
            single(Series::new("".into(), [items]))
        }
        (Value::Sequence(items), DataType::List(inner) | DataType::Array(inner, _)) => {
            let items =
                column("", inner, items.iter().map(Some)).map_err(|misfit| misfit.reason)?;
            single(Series::new("".into(), [items]))
        }
        _ => Err(misfit()),
    }
}

fn series<T>(value: T) -> Series
where
    Series: NamedFrom<[T; 1], [T]>,
{
    Series::new("".into(), [value])
}

fn instant(micros: Option<i64>, zone: Option<&'static str>) -> Option<Series> {
    let zone = zone.and_then(|zone| polars::prelude::TimeZone::opt_try_new(Some(zone)).ok()?);
    series(micros?)
        .cast(&DataType::Datetime(TimeUnit::Microseconds, zone))
        .ok()
}

/// Microseconds of `2024-01-31 12:30:00Z`, `…+02:00`; `None` where the text ends with no offset.
fn with_offset(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(utc) = text.strip_suffix('Z') {
        return sql::timestamp(utc);
    }
    let sign_at = text.len().checked_sub("+00:00".len())?;
    let (local, offset) = (text.get(..sign_at)?, text.get(sign_at..)?);
    let sign = match offset.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some(sql::timestamp(local)? - sign * (hours * 60 + minutes) * 60_000_000)
}

/// A time of the clock in a zone; one that the clock skips or shows twice is refused.
fn in_zone(local: &Series, zone: &polars::prelude::TimeZone) -> Result<Series, String> {
    let name = "at";
    let local = local.clone().with_name(name.into());
    let placed = local
        .into_frame()
        .lazy()
        .select([col(name).dt().replace_time_zone(
            Some(zone.clone()),
            lit("raise"),
            NonExistent::Raise,
        )]);
    let placed = placed.collect().map_err(|_| {
        format!("the clocks of {zone} do not show this time, or show it twice; give its offset (`+02:00`)")
    })?;
    let column = placed.column(name).map_err(|error| error.to_string())?;
    Ok(column.as_materialized_series().clone())
}

fn span(text: &str) -> Option<i64> {
    let (sign, length) = match text.strip_prefix('-') {
        Some(length) => (-1, length),
        None => (1, text),
    };
    let span = TimeSpan::try_from(length.to_owned()).ok()?;
    Some(sign * i64::try_from(span.0.as_micros()).ok()?)
}

fn not_finite(text: &str) -> Option<f64> {
    match text.to_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn written(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.clone(),
        Value::Sequence(_) => "[…]".to_owned(),
        Value::Mapping(_) => "{…}".to_owned(),
        other => serde_yaml::to_string(other)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default(),
    }
}

fn in_words(dtype: &DataType) -> String {
    let example = match dtype {
        DataType::Date => "`2024-01-31`",
        DataType::Datetime(_, None) => "`2024-01-31 12:30:00`",
        DataType::Datetime(..) => "`2024-01-31 12:30:00+01:00`",
        DataType::Duration(_) => "`90s`, `24h`",
        DataType::Time => "`12:30:00`",
        _ => return type_name(dtype),
    };
    format!("{} ({example})", type_name(dtype))
}

/// How far off a real number may be: this share of what is expected …
pub(crate) const RELATIVE_TOLERANCE: f64 = 1e-5;
/// … or this much; both as pandas' `assert_frame_equal` has them.
pub(crate) const ABSOLUTE_TOLERANCE: f64 = 1e-8;

/// Whether a value is the one expected: null equals null and not-a-number itself, real numbers within the tolerance.
pub(crate) fn is_same(found: &AnyValue<'_>, expected: &AnyValue<'_>) -> bool {
    let real = |value: &AnyValue<'_>| match value {
        AnyValue::Float32(value) => Some(f64::from(*value)),
        AnyValue::Float64(value) => Some(*value),
        _ => None,
    };
    if let (Some(found), Some(expected)) = (real(found), real(expected)) {
        let allowed = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * expected.abs();
        return found == expected
            || (found.is_nan() && expected.is_nan())
            // Everything is near to infinity.
            || (expected.is_finite() && (found - expected).abs() <= allowed);
    }
    match (items(found), items(expected)) {
        (Some(found), Some(expected)) => {
            found.len() == expected.len()
                && found
                    .iter()
                    .zip(expected.iter())
                    .all(|(found, expected)| is_same(&found, &expected))
        }
        _ => found.eq_missing(expected, true),
    }
}

fn items<'a>(value: &'a AnyValue<'_>) -> Option<&'a Series> {
    match value {
        AnyValue::List(items) | AnyValue::Array(items, _) => Some(items),
        _ => None,
    }
}

/// A value as text: every digit of a number, so that two that differ never look alike.
pub(crate) fn text(value: &AnyValue<'_>) -> String {
    match value {
        AnyValue::Null => "null".to_owned(),
        AnyValue::Float32(value) => format!("{value:?}"),
        AnyValue::Float64(value) => format!("{value:?}"),
        AnyValue::String(text) => quoted(text),
        AnyValue::StringOwned(text) => quoted(text),
        other => match items(other) {
            Some(items) => {
                let items: Vec<String> = items.iter().map(|item| self::text(&item)).collect();
                format!("[{}]", items.join(", "))
            }
            None => other.to_string(),
        },
    }
}

/// In quotes where the text could be taken for something else.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
        && text.trim() == text
        && !text.contains(char::is_control)
        && !matches!(text, "null" | "true" | "false")
        && text.parse::<f64>().is_err();
    if plain {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, dtype: &DataType) -> Result<String, String> {
        let cell: Value = serde_yaml::from_str(text).expect("YAML");
        let column = column("a", dtype, [Some(&cell)]).map_err(|misfit| misfit.reason)?;
        assert_eq!((column.len(), column.dtype()), (1, dtype));
        Ok(self::text(&column.get(0).expect("a value")))
    }

    #[test]
    fn values_take_their_columns_types() {
        let micros = TimeUnit::Microseconds;
        let zone = polars::prelude::TimeZone::opt_try_new(Some("Europe/Berlin")).expect("a zone");
        let berlin = DataType::Datetime(micros, zone);
        let list = DataType::List(Box::new(DataType::Int64));
        let array = DataType::Array(Box::new(DataType::UInt8), 2);
        let picture = DataType::Array(Box::new(array.clone()), 2);
        for (text, dtype, expected) in [
            ("3", DataType::Int8, "3"),
            ("3.0", DataType::UInt32, "3"),
            (
                "18446744073709551615",
                DataType::UInt64,
                "18446744073709551615",
            ),
            ("3", DataType::Float64, "3.0"),
            (".nan", DataType::Float64, "NaN"),
            ("-Infinity", DataType::Float32, "-inf"),
            ("true", DataType::Boolean, "true"),
            ("größe", DataType::String, "größe"),
            ("'12'", DataType::String, "\"12\""),
            ("''", DataType::String, "\"\""),
            ("2024-02-29", DataType::Date, "2024-02-29"),
            (
                "2024-01-31",
                DataType::Datetime(micros, None),
                "2024-01-31 00:00:00",
            ),
            ("~", DataType::Date, "null"),
            ("[1, ~, 3]", list, "[1, null, 3]"),
            ("[1, 255]", array, "[1, 255]"),
            ("7", picture, "[[7, 7], [7, 7]]"),
            (
                "2024-07-01 12:00:00",
                berlin.clone(),
                "2024-07-01 12:00:00 CEST",
            ),
            ("2024-07-01T10:00:00Z", berlin, "2024-07-01 12:00:00 CEST"),
        ] {
            assert_eq!(read(text, &dtype).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let zone = polars::prelude::TimeZone::opt_try_new(Some("Europe/Berlin")).expect("a zone");
        let berlin = DataType::Datetime(TimeUnit::Microseconds, zone);
        for (text, dtype, expected) in [
            ("300", DataType::Int8, "`300` does not fit i8"),
            ("-1", DataType::UInt8, "`-1` does not fit u8"),
            ("1.5", DataType::Int64, "`1.5` is not i64"),
            ("abc", DataType::Float64, "`abc` is not f64"),
            (
                "12",
                DataType::String,
                "`12` is not text; write it in quotes",
            ),
            ("1", DataType::Boolean, "`1` is not bool"),
            (
                "2023-02-29",
                DataType::Date,
                "`2023-02-29` is not date (`2024-01-31`)",
            ),
            (
                "[300]",
                DataType::List(Box::new(DataType::UInt8)),
                "`300` does not fit u8",
            ),
            (
                "[1]",
                DataType::Array(Box::new(DataType::UInt8), 2),
                "`[…]` does not fit array[2] of u8",
            ),
            // The hour that the clocks skip.
            (
                "2024-03-31 02:30:00",
                berlin,
                "the clocks of Europe/Berlin do not show this time, or show it twice; give its offset (`+02:00`)",
            ),
        ] {
            assert_eq!(
                read(text, &dtype).as_ref().map_err(String::as_str),
                Err(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn real_numbers_are_held_within_the_tolerance() {
        let float = |value: f64| AnyValue::Float64(value);
        assert!(is_same(&float(1.0 / 3.0), &float(0.333_333)));
        assert!(!is_same(&float(1.0 / 3.0), &float(0.333)));
        assert!(is_same(&float(f64::NAN), &float(f64::NAN)));
        assert!(is_same(&float(f64::INFINITY), &float(f64::INFINITY)));
        assert!(!is_same(&float(f64::INFINITY), &float(f64::NEG_INFINITY)));
        assert!(!is_same(&float(f64::INFINITY), &float(1.0)));
        assert!(
            !is_same(&float(1.0), &float(f64::INFINITY)),
            "an infinite tolerance"
        );
        assert!(is_same(&AnyValue::Null, &AnyValue::Null));
        assert!(!is_same(&AnyValue::Null, &float(0.0)));
        assert!(!is_same(
            &AnyValue::Int64(100_001),
            &AnyValue::Int64(100_000)
        ));
    }
}
