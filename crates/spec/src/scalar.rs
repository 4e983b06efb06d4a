//! Plain scalars under the YAML 1.2 core schema, and where the characters of a scalar's text are in the file.

use std::ops::Range;

use crate::tree::NodeValue;

/// A plain (unquoted) scalar's value under the YAML 1.2 core schema: `yes` and `no` are text, `1e6` is a real number.
///
/// Source: YAML 1.2.2, section 10.3.2. Whole numbers beyond 64 bits become real numbers.
pub(crate) fn plain_value(text: &str) -> NodeValue {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return NodeValue::Null,
        "true" | "True" | "TRUE" => return NodeValue::Bool(true),
        "false" | "False" | "FALSE" => return NodeValue::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return NodeValue::Float(f64::NAN),
        _ => {}
    }
    // Most scalars are words: only these can begin a number.
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return NodeValue::Text(text.to_owned());
    }
    whole_number(text)
        .or_else(|| real_number(text))
        .unwrap_or_else(|| NodeValue::Text(text.to_owned()))
}

fn whole_number(text: &str) -> Option<NodeValue> {
    let radix = |digits: &str, radix: u32| {
        (!digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix)))
            .then(|| i128::from_str_radix(digits, radix).ok())
            .flatten()
    };
    let value = if let Some(digits) = text.strip_prefix("0x") {
        radix(digits, 16)?
    } else if let Some(digits) = text.strip_prefix("0o") {
        radix(digits, 8)?
    } else {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        text.parse().ok()?
    };
    (i128::from(i64::MIN)..=i128::from(u64::MAX))
        .contains(&value)
        .then_some(NodeValue::Int(value))
}

fn real_number(text: &str) -> Option<NodeValue> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Some(NodeValue::Float(if text.starts_with('-') {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        }));
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let mut digits = 0;
    let mut points = 0;
    for character in mantissa.bytes() {
        match character {
            b'0'..=b'9' => digits += 1,
            b'.' => points += 1,
            _ => return None,
        }
    }
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && exponent.bytes().all(|digit| digit.is_ascii_digit())
    });
    if digits == 0 || points > 1 || !exponent_fits {
        return None;
    }
    text.parse().ok().map(NodeValue::Float)
}

/// The bytes of the file that hold these bytes of a scalar's text.
///
/// `written` is the scalar as it stands in the file, quotes and block header included, and starts at `start`. Line
/// folding and indentation only change white space, so the n-th other character of the text is the n-th one written.
/// `None` where that does not hold (an alias).
pub(crate) fn file_range(
    written: &str,
    start: usize,
    text: &str,
    range: Range<usize>,
) -> Option<Range<usize>> {
    let before = text.get(..range.start)?;
    let inside = text.get(range)?;
    let skipped = before
        .chars()
        .filter(|character| !character.is_whitespace())
        .count();
    let wanted = inside
        .chars()
        .filter(|character| !character.is_whitespace())
        .count();
    let mut characters =
        written_characters(written).filter(|(character, _)| !character.is_whitespace());
    if wanted == 0 {
        let at = characters
            .nth(skipped)
            .map_or(written.len(), |(_, bytes)| bytes.start);
        return Some(start + at..start + at);
    }
    let mut shown = inside
        .chars()
        .filter(|character| !character.is_whitespace());
    let mut found: Option<Range<usize>> = None;
    for (character, bytes) in characters.skip(skipped).take(wanted) {
        if shown.next() != Some(character) {
            return None;
        }
        found = Some(found.map_or(bytes.start, |found| found.start)..bytes.end);
    }
    // Fewer characters than wanted: the text is not what is written here.
    if shown.next().is_some() {
        return None;
    }
    found.map(|found| start + found.start..start + found.end)
}

/// The characters of a scalar with the bytes that write each of them.
fn written_characters(written: &str) -> Box<dyn Iterator<Item = (char, Range<usize>)> + '_> {
    let plain = |from: usize| {
        written[from..]
            .char_indices()
            .map(move |(at, character)| (character, from + at..from + at + character.len_utf8()))
    };
    match written.chars().next() {
        Some('\'') => Box::new(SingleQuoted { written, at: 1 }),
        Some('"') => Box::new(DoubleQuoted { written, at: 1 }),
        // The header of a block scalar (`|-`, `>2 # comment`) is its first line.
        Some('|' | '>') => Box::new(plain(
            written.find('\n').map_or(written.len(), |end| end + 1),
        )),
        _ => Box::new(plain(0)),
    }
}

struct SingleQuoted<'a> {
    written: &'a str,
    at: usize,
}

impl Iterator for SingleQuoted<'_> {
    type Item = (char, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.written.get(self.at..)?;
        let start = self.at;
        if rest.starts_with("''") {
            self.at += 2;
            return Some(('\'', start..self.at));
        }
        let character = rest.chars().next().filter(|character| *character != '\'')?;
        self.at += character.len_utf8();
        Some((character, start..self.at))
    }
}

struct DoubleQuoted<'a> {
    written: &'a str,
    at: usize,
}

impl Iterator for DoubleQuoted<'_> {
    type Item = (char, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let rest = self.written.get(start..)?;
        let mut characters = rest.chars();
        let first = characters.next().filter(|character| *character != '"')?;
        self.at += first.len_utf8();
        if first != '\\' {
            return Some((first, start..self.at));
        }
        let escape = characters.next()?;
        self.at += escape.len_utf8();
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let character = if digits > 0 {
            let code = self.written.get(self.at..self.at + digits)?;
            self.at += digits;
            char::from_u32(u32::from_str_radix(code, 16).ok()?)?
        } else {
            match escape {
                '0' => '\0',
                'a' => '\u{7}',
                'b' => '\u{8}',
                // White space in the text, and an escaped line break, which is nothing: both are passed over.
                't' | 'n' | 'v' | 'f' | 'r' | 'N' | '_' | 'L' | 'P' | '\n' | '\r' | '\t' => ' ',
                'e' => '\u{1b}',
                other => other,
            }
        };
        Some((character, start..self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_schema() {
        let cases = [
            ("yes", NodeValue::Text("yes".into())),
            ("True", NodeValue::Bool(true)),
            ("~", NodeValue::Null),
            ("12", NodeValue::Int(12)),
            ("-12", NodeValue::Int(-12)),
            ("+12", NodeValue::Int(12)),
            ("0x1F", NodeValue::Int(31)),
            ("0o17", NodeValue::Int(15)),
            ("012", NodeValue::Int(12)),
            ("18446744073709551615", NodeValue::Int(i128::from(u64::MAX))),
            (
                "18446744073709551616",
                NodeValue::Float(18_446_744_073_709_551_616.0),
            ),
            ("1e6", NodeValue::Float(1e6)),
            ("1.5", NodeValue::Float(1.5)),
            (".5", NodeValue::Float(0.5)),
            ("5.", NodeValue::Float(5.0)),
            ("-.inf", NodeValue::Float(f64::NEG_INFINITY)),
            ("1.2.3", NodeValue::Text("1.2.3".into())),
            ("1_000", NodeValue::Text("1_000".into())),
            ("e5", NodeValue::Text("e5".into())),
            ("0x", NodeValue::Text("0x".into())),
            ("2024-01-01", NodeValue::Text("2024-01-01".into())),
            ("-", NodeValue::Text("-".into())),
            ("inf", NodeValue::Text("inf".into())),
        ];
        for (text, value) in cases {
            assert_eq!(plain_value(text), value, "{text}");
        }
        assert!(matches!(plain_value(".nan"), NodeValue::Float(value) if value.is_nan()));
    }

    #[test]
    fn finds_words_in_the_file() {
        fn find<'a>(written: &'a str, text: &str, word: &str) -> Option<&'a str> {
            let at = text.find(word).expect("in the text");
            file_range(written, 100, text, at..at + word.len())
                .map(|range| &written[range.start - 100..range.end - 100])
        }
        assert_eq!(
            find("ln(amout + 1)", "ln(amout + 1)", "amout"),
            Some("amout")
        );
        assert_eq!(
            find("\"ln(amout + 1)\"", "ln(amout + 1)", "amout"),
            Some("amout")
        );
        assert_eq!(
            find("'a = ''b'' or amout'", "a = 'b' or amout", "amout"),
            Some("amout")
        );
        assert_eq!(
            find(
                r#""a = \"b\"\t\u00fc or amout""#,
                "a = \"b\"\tü or amout",
                "amout"
            ),
            Some("amout")
        );
        assert_eq!(
            find(
                "> # a > b\n    one\n    amout > two\n",
                "one amout > two\n",
                "amout > two"
            ),
            Some("amout > two")
        );
        assert_eq!(
            find("|-\n    one\n\n    amout", "one\n\namout", "amout"),
            Some("amout")
        );
        assert_eq!(find("one\n   amout", "one amout", "amout"), Some("amout"));
        assert_eq!(find("*alias", "something else", "else"), None);
    }
}
