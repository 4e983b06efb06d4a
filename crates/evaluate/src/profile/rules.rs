//! Expectations that hold for the rows that were looked at, with room for those to come.

use super::{ColumnProfile, shape::Shape};

/// What the expectations about a column are made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Evidence {
    #[default]
    None,
    Numbers {
        min: f64,
        max: f64,
        is_whole: bool,
        is_finite: bool,
        /// Whether the bounds are exact as `f64`.
        is_exact: bool,
    },
    Texts {
        /// All values, where they are few.
        values: Vec<String>,
        shape: Option<Shape>,
    },
    Times {
        is_in_order: bool,
    },
}

/// Fewer rows say little: what is unique or listed in them may be so by chance.
const TELLING_ROWS: usize = 20;
/// A value of a list occurs so often in the mean.
const TELLING_REPEATS: usize = 5;
/// The types that a rule can name.
const TYPES: [&str; 14] = [
    "bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64", "text", "date",
    "datetime",
];

/// A `check.expect` stage; empty where nothing can be said.
pub(super) fn yaml(rows: usize, columns: &[ColumnProfile]) -> String {
    let mut rules: Vec<String> = columns
        .iter()
        .filter_map(|column| rule(rows, column))
        .collect();
    if rows > 0 {
        let least = outward((rows as f64 / 2.0).max(1.0), false);
        rules.push(format!(
            "{{rows: {{min: {}}}}}",
            number(least.max(1.0).floor())
        ));
    }
    if rules.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = rules
        .into_iter()
        .map(|rule| format!("    - {rule}\n"))
        .collect();
    format!("- check.expect:\n{}", lines.concat())
}

fn rule(rows: usize, column: &ColumnProfile) -> Option<String> {
    let mut conditions = Vec::new();
    if TYPES.contains(&column.dtype.as_str()) {
        conditions.push(format!("type: {}", column.dtype));
    }
    if rows > 0 && column.nulls == 0 {
        conditions.push("not_null: true".to_owned());
    } else if column.count > 0 {
        let share = column.nulls as f64 / rows as f64;
        let most = outward(1.5 * share, true).min(1.0);
        conditions.push(format!("nulls: [null, {}]", number(most)));
    }
    let is_real = matches!(
        column.evidence,
        Evidence::Numbers {
            is_whole: false,
            ..
        }
    );
    let is_unique = !is_real && rows >= TELLING_ROWS && column.distinct == Some(rows);
    if is_unique {
        conditions.push("unique: true".to_owned());
    }
    match &column.evidence {
        Evidence::None => {}
        Evidence::Numbers {
            min,
            max,
            is_whole,
            is_finite,
            is_exact,
        } => {
            if !is_whole && *is_finite {
                conditions.push("finite: true".to_owned());
            }
            // A number that names the row goes on rising.
            if *is_exact && *is_finite && !(is_unique && *is_whole) {
                let (low, high) = bounds(*min, *max, *is_whole);
                conditions.push(format!("between: [{}, {}]", number(low), number(high)));
            }
        }
        Evidence::Texts { values, shape } => {
            let is_list = !values.is_empty()
                && rows >= TELLING_ROWS
                && values.len() * TELLING_REPEATS <= column.count;
            let telling = shape.as_ref().filter(|shape| shape.is_telling());
            if is_list {
                let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
                conditions.push(format!("in: [{}]", values.join(", ")));
            } else if let Some(shape) = telling.filter(|_| rows >= TELLING_ROWS) {
                conditions.push(format!("regex: {}", quoted(&shape.regex())));
            } else if let Some(texts) = &column.texts {
                let longest = outward(1.5 * texts.longest as f64, true).ceil();
                let least = texts.shortest.min(1);
                conditions.push(format!("length: [{least}, {}]", number(longest)));
            }
        }
        Evidence::Times { is_in_order } => {
            if *is_in_order
                && column
                    .distinct
                    .is_some_and(|distinct| distinct >= TELLING_ROWS)
            {
                conditions.push("order: {direction: increasing}".to_owned());
            }
        }
    }
    (!conditions.is_empty()).then(|| {
        format!(
            "{{column: {}, {}}}",
            name(&column.name),
            conditions.join(", ")
        )
    })
}

/// The range with a tenth of it more on both sides, in round numbers; what was never negative stays so, and shares stay shares.
fn bounds(min: f64, max: f64, is_whole: bool) -> (f64, f64) {
    if !is_whole && min >= 0.0 && max <= 1.0 {
        return (0.0, 1.0);
    }
    let room = if max > min {
        0.1 * (max - min)
    } else {
        (0.1 * min.abs()).max(1.0)
    };
    let mut low = outward(min - room, false);
    let mut high = outward(max + room, true);
    if is_whole {
        (low, high) = (low.floor(), high.ceil());
    }
    if min >= 0.0 {
        low = low.max(0.0);
    }
    if max <= 0.0 {
        high = high.min(0.0);
    }
    (low, high)
}

/// The nearest number of two digits that is not less, or not more.
fn outward(value: f64, up: bool) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 1 - value.abs().log10().floor() as i32;
    let scaled = value * 10_f64.powi(digits);
    let rounded = if up { scaled.ceil() } else { scaled.floor() };
    // A power with a negative exponent is not exact; dividing by one with a positive exponent is as near as can be.
    let round = if digits >= 0 {
        rounded / 10_f64.powi(digits)
    } else {
        rounded * 10_f64.powi(-digits)
    };
    if (up && round < value) || (!up && round > value) {
        value
    } else {
        round
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 1e15 || (value != 0.0 && value.abs() < 1e-5) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

/// The name as YAML, plain where it can be.
fn name(name: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let mut characters = name.chars();
    let is_plain = characters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|one| one.is_ascii_alphanumeric() || one == '_')
        && !WORDS.contains(&name.to_lowercase().as_str());
    if is_plain {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// The text as YAML, in quotes, which a text in JSON is; `${` would be put in for something else.
fn quoted(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        safe.push(character);
        if character == '$' && matches!(characters.peek(), Some('$' | '{')) {
            safe.push('$');
        }
    }
    serde_json::Value::from(safe).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_round_and_wide_enough() {
        assert_eq!(bounds(3.0, 987.0, true), (0.0, 1100.0));
        assert_eq!(bounds(-12.3, 45.6, false), (-19.0, 52.0));
        assert_eq!(bounds(0.02, 0.97, false), (0.0, 1.0));
        assert_eq!(bounds(5.0, 5.0, true), (4.0, 6.0));
        assert_eq!(bounds(-40.0, -3.0, true), (-44.0, 0.0));
        for (value, up) in [
            (123.4, true),
            (0.0123, true),
            (-7.77, true),
            (123.4, false),
            (-0.5, false),
        ] {
            let round = outward(value, up);
            assert!(
                if up { round >= value } else { round <= value },
                "{value}: {round}"
            );
        }
    }

    #[test]
    fn names_and_texts_are_yaml() {
        assert_eq!(name("amount_2"), "amount_2");
        assert_eq!(name("no"), "\"no\"");
        assert_eq!(name("net price: €"), "\"net price: €\"");
        assert_eq!(quoted("5\" ${x} $$ $"), "\"5\\\" $${x} $$$ $\"");
        assert_eq!(number(1e20), "1e20");
        assert_eq!(number(0.05), "0.05");
    }
}
