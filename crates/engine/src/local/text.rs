//! Functions of text that polars does not have, or has with another meaning. Positions and lengths count characters.

use polars::{lazy::dsl::map_multiple, prelude::*};

use super::kernels::{failure, field, rows};

/// The longest text that padding makes.
const LONGEST: i64 = 1_000_000;

/// One value for each row, or one for all of them.
fn text(values: &StringChunked, row: usize) -> Option<&str> {
    values.get(if values.len() == 1 { 0 } else { row })
}

fn number(values: &Int64Chunked, row: usize) -> Option<i64> {
    values.get(if values.len() == 1 { 0 } else { row })
}

/// Where the character of that number starts, in bytes; the end, where there are fewer.
fn offset(text: &str, characters: usize) -> usize {
    text.char_indices()
        .nth(characters)
        .map_or(text.len(), |(offset, _)| offset)
}

fn whole(count: i64) -> usize {
    usize::try_from(count).unwrap_or(0)
}

/// How many characters are left when so many are taken off; none below 0.
fn without(text: &str, count: i64) -> usize {
    let taken = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    text.chars().count().saturating_sub(taken)
}

/// The first characters; with a negative count, all but the last ones.
pub(super) fn left(subject: Expr, count: Expr) -> Expr {
    cut(subject, count, |text, count| {
        let kept = if count < 0 {
            without(text, count)
        } else {
            whole(count)
        };
        &text[..offset(text, kept)]
    })
}

/// The last characters; with a negative count, all but the first ones.
pub(super) fn right(subject: Expr, count: Expr) -> Expr {
    cut(subject, count, |text, count| {
        let skipped = if count < 0 {
            usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX)
        } else {
            without(text, count)
        };
        &text[offset(text, skipped)..]
    })
}

fn cut(subject: Expr, count: Expr, part: fn(&str, i64) -> &str) -> Expr {
    map_multiple(
        move |columns: &mut [Column]| {
            let (subject, count) = (columns[0].str()?, columns[1].i64()?);
            let result: StringChunked = (0..rows(&*columns))
                .map(|row| Some(part(text(subject, row)?, number(count, row)?)))
                .collect();
            Ok(result.with_name(columns[0].name().clone()).into_column())
        },
        [subject, count],
        field(DataType::String),
    )
}

/// Filled up to a length, at the start or at the end; what is longer is cut at the end.
pub(super) fn pad(subject: Expr, length: Expr, fill: Expr, at_start: bool) -> Expr {
    map_multiple(
        move |columns: &mut [Column]| {
            let (subject, length, fill) = (columns[0].str()?, columns[1].i64()?, columns[2].str()?);
            let result = (0..rows(&*columns))
                .map(|row| {
                    let parts = (text(subject, row), number(length, row), text(fill, row));
                    let (Some(subject), Some(length), Some(fill)) = parts else {
                        return Ok(None);
                    };
                    if length > LONGEST {
                        return Err(failure(format!(
                            "a text of {length} characters is longer than {LONGEST}"
                        )));
                    }
                    Ok(Some(padded(subject, whole(length), fill, at_start)))
                })
                .collect::<PolarsResult<StringChunked>>()?;
            Ok(result.with_name(columns[0].name().clone()).into_column())
        },
        [subject, length, fill],
        field(DataType::String),
    )
}

fn padded(text: &str, length: usize, fill: &str, at_start: bool) -> String {
    let missing = length.saturating_sub(text.chars().count());
    if missing == 0 || fill.is_empty() {
        return text[..offset(text, length)].to_owned();
    }
    let filling: String = fill.chars().cycle().take(missing).collect();
    if at_start {
        filling + text
    } else {
        text.to_owned() + &filling
    }
}

/// Where a part starts, from 1; 0 where it does not occur.
pub(super) fn position(subject: Expr, part: Expr) -> Expr {
    map_multiple(
        |columns: &mut [Column]| {
            let (subject, part) = (columns[0].str()?, columns[1].str()?);
            let result: Int64Chunked = (0..rows(&*columns))
                .map(|row| {
                    let (subject, part) = (text(subject, row)?, text(part, row)?);
                    Some(match subject.find(part) {
                        Some(offset) => subject[..offset].chars().count() as i64 + 1,
                        None => 0,
                    })
                })
                .collect();
            Ok(result.with_name(columns[0].name().clone()).into_column())
        },
        [subject, part],
        field(DataType::Int64),
    )
}

/// The part of that number between separators, from 1, or from -1 backwards; empty where there is none.
pub(super) fn split_part(subject: Expr, separator: Expr, number_of: Expr) -> Expr {
    map_multiple(
        |columns: &mut [Column]| {
            let (subject, separator, wanted) =
                (columns[0].str()?, columns[1].str()?, columns[2].i64()?);
            let result = (0..rows(&*columns))
                .map(|row| {
                    let parts = (
                        text(subject, row),
                        text(separator, row),
                        number(wanted, row),
                    );
                    let (Some(subject), Some(separator), Some(wanted)) = parts else {
                        return Ok(None);
                    };
                    if wanted == 0 {
                        return Err(failure(
                            "the parts of `split_part` count from 1, or with a negative number from the end",
                        ));
                    }
                    Ok(Some(nth_part(subject, separator, wanted)))
                })
                .collect::<PolarsResult<StringChunked>>()?;
            Ok(result.with_name(columns[0].name().clone()).into_column())
        },
        [subject, separator, number_of],
        field(DataType::String),
    )
}

fn nth_part<'t>(text: &'t str, separator: &str, wanted: i64) -> &'t str {
    let place = usize::try_from(wanted.unsigned_abs() - 1).unwrap_or(usize::MAX);
    // An empty separator occurs nowhere: the text is one part.
    if separator.is_empty() {
        return if place == 0 { text } else { "" };
    }
    let part = if wanted > 0 {
        text.split(separator).nth(place)
    } else {
        text.rsplit(separator).nth(place)
    };
    part.unwrap_or("")
}

/// PostgreSQL's replacement (`\1`, `\&`, `\\`) as the engine's regular expressions read it.
pub(super) fn replacement(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '$' => result.push_str("$$"),
            '\\' => match characters.next() {
                Some('&') => result.push_str("${0}"),
                Some(digit) if digit.is_ascii_digit() => {
                    result.push_str(&format!("${{{digit}}}"));
                }
                Some(other) => result.push(other),
                None => result.push('\\'),
            },
            other => result.push(other),
        }
    }
    result
}
