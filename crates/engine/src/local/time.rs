//! Functions of dates and times that polars does not have, or has with another meaning.

use chrono::{
    NaiveDateTime, NaiveTime,
    format::{Item, Parsed, StrftimeItems},
};
use polars::{
    lazy::dsl::{coalesce, map_multiple},
    prelude::*,
};

use super::kernels::{failure, field, rows};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

fn ticks_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Nanoseconds => 1_000_000_000,
        TimeUnit::Microseconds => 1_000_000,
        TimeUnit::Milliseconds => 1_000,
    }
}

/// The clock of the place, without the place.
fn local(expr: Expr, dtype: &DataType) -> (Expr, DataType) {
    match dtype {
        DataType::Datetime(unit, Some(_)) => (
            expr.dt()
                .replace_time_zone(None, lit("raise"), NonExistent::Raise),
            DataType::Datetime(*unit, None),
        ),
        _ => (expr, dtype.clone()),
    }
}

/// The same day and time of day so many months later; the last day of the month where it has no such day. A local time
/// that comes twice is the first of both, and one that the clocks skip is an hour later, as PostgreSQL has it.
pub(super) fn add_months(expr: Expr, dtype: &DataType, months: Expr) -> Expr {
    let (naive, naive_type) = local(expr, dtype);
    let ticks_per_day = match &naive_type {
        DataType::Datetime(unit, _) => DAY * ticks_per_second(*unit),
        _ => 1,
    };
    let result_type = naive_type.clone();
    let moved = map_multiple(
        move |columns: &mut [Column]| {
            let rows = rows(&*columns);
            let points = columns[0].to_physical_repr().cast(&DataType::Int64)?;
            let (points, months) = (points.i64()?, columns[1].i64()?);
            let at = |values: &Int64Chunked, row: usize| {
                values.get(if values.len() == 1 { 0 } else { row })
            };
            let result = (0..rows)
                .map(|row| match (at(points, row), at(months, row)) {
                    (Some(point), Some(months)) => moved(point, months, ticks_per_day)
                        .map(Some)
                        .ok_or_else(|| {
                            failure(format!("{months} months from here is beyond the calendar"))
                        }),
                    _ => Ok(None),
                })
                .collect::<PolarsResult<Int64Chunked>>()?;
            let result = result.with_name(columns[0].name().clone()).into_column();
            match &result_type {
                DataType::Date => result.strict_cast(&DataType::Int32)?.cast(&result_type),
                _ => result.cast(&result_type),
            }
        },
        [naive, months],
        field(naive_type),
    );
    let DataType::Datetime(_, Some(zone)) = dtype else {
        return moved;
    };
    let in_zone = |naive: Expr| {
        naive
            .dt()
            .replace_time_zone(Some(zone.clone()), lit("earliest"), NonExistent::Null)
    };
    let hour = lit(Scalar::new_duration(
        HOUR * 1_000_000,
        TimeUnit::Microseconds,
    ));
    let later = in_zone(moved.clone() + hour).cast(dtype.clone());
    coalesce(&[in_zone(moved), later])
}

fn moved(point: i64, months: i64, ticks_per_day: i64) -> Option<i64> {
    let (days, time) = (
        point.div_euclid(ticks_per_day),
        point.rem_euclid(ticks_per_day),
    );
    let (year, month, day) = civil(days);
    let months = (year * 12 + month - 1).checked_add(months)?;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    // Far enough for every unit, and no overflow on the way.
    if year.abs() > 300_000 {
        return None;
    }
    let first = days_from_civil(year, month, 1);
    let next = days_from_civil(year + month / 12, month % 12 + 1, 1);
    let day = day.min(next - first);
    (first + day - 1)
        .checked_mul(ticks_per_day)?
        .checked_add(time)
}

/// Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// How many starts of the unit lie between two points of one type.
pub(super) fn date_diff(unit: &str, start: Expr, end: Expr, dtype: &DataType) -> Expr {
    let count = |expr: Expr| number_of(unit, expr, dtype);
    count(end) - count(start)
}

/// The number of the year, month, … that holds the point, from some beginning.
fn number_of(unit: &str, expr: Expr, dtype: &DataType) -> Expr {
    let whole = |expr: Expr| expr.cast(DataType::Int64);
    let constant = |value: i64| lit(Scalar::from(value));
    let (clock, _) = local(expr.clone(), dtype);
    let year = || whole(clock.clone().dt().year());
    let day = || whole(clock.clone().cast(DataType::Date).cast(DataType::Int32));
    match unit {
        "year" => year(),
        "quarter" => year() * constant(4) + whole(clock.clone().dt().quarter()),
        "month" => year() * constant(12) + whole(clock.clone().dt().month()),
        // 1970-01-01 was a Thursday.
        "week" => (day() + constant(3)).floor_div(constant(7)),
        "day" => day(),
        _ => {
            let seconds = match unit {
                "hour" => HOUR,
                "minute" => 60,
                _ => 1,
            };
            let DataType::Datetime(time_unit, zone) = dtype else {
                return day() * constant(DAY / seconds);
            };
            // An hour of the place may start at half past one elsewhere; what passed is told by the instants.
            let instant = match (zone, unit) {
                (Some(_), "hour") => expr.dt().truncate(lit("1h")),
                (Some(_), _) => expr,
                (None, _) => clock,
            };
            whole(instant).floor_div(constant(seconds * ticks_per_second(*time_unit)))
        }
    }
}

/// Text in a format of chrono's `strftime` as a date or a datetime without a zone.
///
/// # Errors
/// None here: a format that is none was refused before; it then reads nothing.
pub(super) fn from_format(operand: Expr, format: &str, to: &DataType, strict: bool) -> Expr {
    let items = StrftimeItems::new(format)
        .parse_to_owned()
        .unwrap_or_default();
    let format = format.to_owned();
    let is_date = *to == DataType::Date;
    map_multiple(
        move |columns: &mut [Column]| {
            let texts = columns[0].str()?;
            let name = texts.name().clone();
            let microseconds = texts
                .iter()
                .map(|text| match text.map(|text| (text, read(text, &items))) {
                    None => Ok(None),
                    Some((text, None)) if strict => Err(failure(format!(
                        "`{text}` is not written like `{format}`; `{}` makes null of it",
                        if is_date {
                            "try_to_date"
                        } else {
                            "try_to_timestamp"
                        }
                    ))),
                    Some((_, value)) => Ok(value),
                })
                .collect::<PolarsResult<Int64Chunked>>()?;
            let points = microseconds
                .with_name(name)
                .into_datetime(TimeUnit::Microseconds, None);
            if is_date {
                return Ok(points.into_series().cast(&DataType::Date)?.into_column());
            }
            Ok(points.into_column())
        },
        [operand],
        field(to.clone()),
    )
}

/// Microseconds since 1970, an offset brought to UTC; what the format does not tell of a day is its start.
fn read(text: &str, items: &[Item<'_>]) -> Option<i64> {
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text.trim(), items.iter()).ok()?;
    let offset = i64::from(parsed.offset().unwrap_or(0));
    let point = match parsed.to_naive_datetime_with_offset(offset as i32) {
        Ok(point) => point,
        Err(_) => {
            if parsed.day().is_none() && parsed.ordinal().is_none() && parsed.isoweek().is_none() {
                parsed.set_day(1).ok()?;
            }
            if parsed.hour_mod_12().is_some() && parsed.minute().is_none() {
                parsed.set_minute(0).ok()?;
            }
            let time = match parsed.hour_mod_12() {
                Some(_) => parsed.to_naive_time().ok()?,
                None => NaiveTime::MIN,
            };
            NaiveDateTime::new(parsed.to_naive_date().ok()?, time)
        }
    };
    Some(point.and_utc().timestamp_micros() - offset * 1_000_000)
}
