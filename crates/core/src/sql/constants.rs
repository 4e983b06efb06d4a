//! Constants that say more than their text: patterns, days, points and spans of time.

use crate::Function;

/// What a `like` pattern asks, in the cheapest way that asks the same.
pub(super) fn like_function(
    pattern: &str,
    escape: Option<char>,
    ignore_case: bool,
) -> (Function, String) {
    #[derive(PartialEq)]
    enum Piece {
        Literal(char),
        One,
        Any,
    }
    let mut pieces = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        pieces.push(match character {
            character if Some(character) == escape => {
                Piece::Literal(characters.next().unwrap_or(character))
            }
            '%' => Piece::Any,
            '_' => Piece::One,
            character => Piece::Literal(character),
        });
    }
    let literal = |pieces: &[Piece]| -> Option<String> {
        pieces
            .iter()
            .map(|piece| {
                if let Piece::Literal(character) = piece {
                    Some(*character)
                } else {
                    None
                }
            })
            .collect()
    };
    if !ignore_case {
        let simple = match pieces.as_slice() {
            [Piece::Any, inner @ .., Piece::Any] => {
                literal(inner).map(|text| (Function::Contains, text))
            }
            [inner @ .., Piece::Any] => literal(inner).map(|text| (Function::StartsWith, text)),
            [Piece::Any, inner @ ..] => literal(inner).map(|text| (Function::EndsWith, text)),
            _ => None,
        };
        if let Some(simple) = simple {
            return simple;
        }
    }
    let mut regex = String::from(if ignore_case { "(?is)^" } else { "(?s)^" });
    for piece in &pieces {
        match piece {
            Piece::Any => regex.push_str(".*"),
            Piece::One => regex.push('.'),
            Piece::Literal(character) => {
                if !character.is_alphanumeric()
                    && !character.is_whitespace()
                    && character.is_ascii()
                    && *character != '_'
                {
                    regex.push('\\');
                }
                regex.push(*character);
            }
        }
    }
    regex.push('$');
    (Function::RegexpLike, regex)
}

/// Days since 1970-01-01 of `2024-01-31`; `None` where the text is no such day.
pub fn date(text: &str) -> Option<i32> {
    let mut fields = text.trim().split('-');
    let (year, month, day) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() || year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    let digits = |field: &str| -> Option<i32> {
        field
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| field.parse().ok())?
    };
    let (year, month, day) = (digits(year)?, digits(month)?, digits(day)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil: the year starts in March, so that
    // the leap day is its last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Microseconds since 1970-01-01 00:00 of `2024-01-31 12:30:00.5`; the time may be left out, as may its seconds. `None`
/// where the text is no such point in time.
pub fn timestamp(text: &str) -> Option<i64> {
    let text = text.trim();
    let (day, time) = match text.split_once(['T', ' ']) {
        Some((day, time)) => (day, time.trim()),
        None => (text, "00:00"),
    };
    let (clock, fraction) = match time.split_once('.') {
        Some((clock, fraction)) => (clock, fraction),
        None => (time, ""),
    };
    let mut fields = clock.split(':');
    let (hour, minute) = (fields.next()?, fields.next()?);
    let second = fields.next();
    if fields.next().is_some() || (second.is_none() && !fraction.is_empty()) || fraction.len() > 6 {
        return None;
    }
    let field = |text: &str, limit: i64| -> Option<i64> {
        let valid = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        valid
            .then(|| text.parse().ok())?
            .filter(|value| *value < limit)
    };
    let seconds = i64::from(date(day)?) * 86_400
        + field(hour, 24)? * 3600
        + field(minute, 60)? * 60
        + field(second.unwrap_or("00"), 60)?;
    let microseconds: i64 = if fraction.is_empty() && !time.ends_with('.') {
        0
    } else if !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{fraction:0<6}").parse().ok()?
    } else {
        return None;
    };
    Some(seconds * 1_000_000 + microseconds)
}

/// A span of time as SQL writes it: months differ in length, so that they stand apart from the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) months: i64,
    pub(super) microseconds: i64,
}

/// `24 hours`, `1 hour 30 minutes`, `90m`, `1 month 3 days`; `1 day 12:00` is not among them. `None` where the text is no
/// such span.
pub(super) fn interval(text: &str) -> Option<Interval> {
    let mut rest = text.trim();
    let (mut months, mut microseconds) = (0.0_f64, 0.0_f64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|character: char| {
            !character.is_ascii_digit() && !matches!(character, '.' | '-' | '+')
        })?;
        let amount: f64 = rest[..end].parse().ok()?;
        rest = rest[end..].trim_start();
        let end = rest
            .find(|character: char| !character.is_alphabetic())
            .unwrap_or(rest.len());
        let unit = rest[..end].to_lowercase();
        match unit.as_str() {
            "mon" | "mons" | "month" | "months" => months += amount,
            "quarter" | "quarters" => months += 3.0 * amount,
            "y" | "year" | "years" => months += 12.0 * amount,
            unit => microseconds += amount * length_of(unit)?,
        }
        rest = rest[end..].trim_start_matches([' ', ',']);
    }
    // Beyond 2^53 a real number no longer tells microseconds apart: about 285 years.
    let fits = microseconds.abs() < 9.0e15 && months.abs() < 1e6 && months.fract() == 0.0;
    fits.then(|| Interval {
        months: months as i64,
        microseconds: microseconds.round() as i64,
    })
}

/// The microseconds of a unit of fixed length.
fn length_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "us" | "microsecond" | "microseconds" => 1.0,
        "ms" | "millisecond" | "milliseconds" => 1e3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1e6,
        "m" | "min" | "mins" | "minute" | "minutes" => 6e7,
        "h" | "hour" | "hours" => 3.6e9,
        "d" | "day" | "days" => 8.64e10,
        "w" | "week" | "weeks" => 6.048e11,
        _ => return None,
    })
}
