//! Terms of texts: what `features.tf_idf` and `features.hash_text` count.
//!
//! Definitions as in scikit-learn 1.x (`sklearn.feature_extraction.text`).

use std::collections::BTreeSet;

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{CheckContext, Problem, Schema, path};

use crate::columns;

/// What the terms are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    /// Words: runs of two or more letters, digits and underscores.
    #[default]
    Word,
    /// Characters, across words; several blanks count as one.
    Char,
    /// Characters inside words, each word with a blank before and behind it.
    CharInWord,
}

/// How many units follow each other in a term: from and to.
pub(super) type Lengths = [usize; 2];

pub(super) fn one_unit() -> Lengths {
    [1, 1]
}

pub(super) fn yes() -> bool {
    true
}

/// Whether the column holds text and the new one, where it has a name of its own, has a free one; problems are reported.
pub(super) fn is_text(
    column: &str,
    into: Option<&str>,
    input: &Schema,
    cx: &mut CheckContext<'_>,
) -> bool {
    let mut is_possible = match columns::find(input, column, path!["column"], cx) {
        Some(found) if found.dtype == DataType::String => true,
        Some(found) => {
            columns::report_type(found, "text", path!["column"], cx);
            false
        }
        None => false,
    };
    if let Some(into) = into.filter(|into| *into != column) {
        is_possible &= columns::is_free(input, into, path!["into"], cx);
    } else {
        is_possible &= columns::is_allowed(column, path!["column"], cx);
    }
    is_possible
}

/// How a vector's length is brought to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Norm {
    /// The squares add up to 1.
    #[default]
    L2,
    /// The absolute values add up to 1.
    L1,
    /// Not at all.
    None,
}

impl Norm {
    /// Scales the numbers at these places, which are all that are not 0; all zeros stay.
    pub(super) fn apply(self, numbers: &mut [f32], places: &[usize]) {
        let values = places.iter().map(|place| f64::from(numbers[*place]));
        let length = match self {
            Self::None => return,
            Self::L1 => values.map(f64::abs).sum::<f64>(),
            Self::L2 => values.map(|value| value * value).sum::<f64>().sqrt(),
        };
        if length > 0.0 {
            for place in places {
                numbers[*place] = (f64::from(numbers[*place]) / length) as f32;
            }
        }
    }
}

/// Cuts texts into terms.
#[derive(Debug, Clone)]
pub(super) struct Tokenizer {
    pub(super) unit: Unit,
    pub(super) lengths: Lengths,
    pub(super) lowercase: bool,
    pub(super) stop_words: BTreeSet<String>,
}

impl Tokenizer {
    /// Reports params that do not fit together.
    pub(super) fn check(&self, cx: &mut CheckContext<'_>) {
        let [from, to] = self.lengths;
        if from == 0 || to < from {
            cx.report(
                Problem::error(
                    "out-of-range",
                    path!["ngrams"],
                    format!("terms cannot have from {from} to {to} units"),
                )
                .label("least and most, each 1 or more"),
            );
        }
        if !self.stop_words.is_empty() && self.unit != Unit::Word {
            cx.report(
                Problem::error(
                    "unused-param",
                    path!["stop_words"],
                    "stop words are left out of words, but the terms are made of characters",
                )
                .label("needs `unit: word`"),
            );
        }
        if self.lowercase
            && let Some(word) = self
                .stop_words
                .iter()
                .find(|word| word.to_lowercase() != **word)
        {
            cx.report(
                Problem::warning(
                    "unused-param",
                    path!["stop_words"],
                    format!("the stop word `{word}` never occurs: texts are in lower case"),
                )
                .help("write stop words in lower case"),
            );
        }
    }

    /// Hands every term of the text to `take`, as often as it occurs.
    pub(super) fn terms(&self, text: &str, take: &mut impl FnMut(&str)) {
        let lower;
        let text = match self.lowercase {
            true => {
                lower = text.to_lowercase();
                &lower
            }
            false => text,
        };
        match self.unit {
            Unit::Word => self.words(text, take),
            Unit::Char => self.characters(&with_single_blanks(text), take),
            Unit::CharInWord => {
                for word in text.split_whitespace() {
                    self.inside(&format!(" {word} "), take);
                }
            }
        }
    }

    fn words(&self, text: &str, take: &mut impl FnMut(&str)) {
        let words: Vec<&str> = text
            .split(|character: char| !(character.is_alphanumeric() || character == '_'))
            .filter(|word| word.chars().nth(1).is_some() && !self.stop_words.contains(*word))
            .collect();
        for length in self.lengths[0]..=self.lengths[1].min(words.len()) {
            for term in words.windows(length) {
                match term {
                    [word] => take(word),
                    several => take(&several.join(" ")),
                }
            }
        }
    }

    fn characters(&self, text: &str, take: &mut impl FnMut(&str)) {
        let starts = starts(text);
        for length in self.lengths[0]..=self.lengths[1].min(starts.len() - 1) {
            for place in 0..starts.len() - length {
                take(&text[starts[place]..starts[place + length]]);
            }
        }
    }

    /// A word shorter than a term is one term, once.
    fn inside(&self, word: &str, take: &mut impl FnMut(&str)) {
        let starts = starts(word);
        let count = starts.len() - 1;
        for length in self.lengths[0]..=self.lengths[1] {
            if length >= count {
                take(word);
                return;
            }
            for place in 0..=count - length {
                take(&word[starts[place]..starts[place + length]]);
            }
        }
    }
}

/// Where each character starts, and where the text ends.
fn starts(text: &str) -> Vec<usize> {
    text.char_indices()
        .map(|(start, _)| start)
        .chain([text.len()])
        .collect()
}

/// Two or more blanks become one space; a single blank stays what it is.
fn with_single_blanks(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if !character.is_whitespace() || !characters.peek().is_some_and(|next| next.is_whitespace())
        {
            result.push(character);
            continue;
        }
        while characters.next_if(|next| next.is_whitespace()).is_some() {}
        result.push(' ');
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(unit: Unit, lengths: Lengths, text: &str) -> Vec<String> {
        let tokenizer = Tokenizer {
            unit,
            lengths,
            lowercase: true,
            stop_words: ["the".to_owned()].into(),
        };
        let mut found = Vec::new();
        tokenizer.terms(text, &mut |term| found.push(term.to_owned()));
        found
    }

    // Each list is what `CountVectorizer(...).build_analyzer()` of scikit-learn 1.9 answers.
    #[test]
    fn words_are_two_characters_or_more() {
        assert_eq!(
            terms(Unit::Word, [1, 2], "The cat's x_1 Straße — I ÉTÉ 42!"),
            [
                "cat",
                "x_1",
                "straße",
                "été",
                "42",
                "cat x_1",
                "x_1 straße",
                "straße été",
                "été 42"
            ]
        );
        assert!(terms(Unit::Word, [1, 1], "").is_empty());
        assert!(terms(Unit::Word, [2, 3], "alone").is_empty());
    }

    #[test]
    fn characters_run_across_words() {
        assert_eq!(
            terms(Unit::Char, [2, 3], "a  b\tc"),
            ["a ", " b", "b\t", "\tc", "a b", " b\t", "b\tc"]
        );
        assert_eq!(terms(Unit::Char, [1, 5], "né"), ["n", "é", "né"]);
        assert!(terms(Unit::Char, [1, 2], "").is_empty());
    }

    #[test]
    fn characters_inside_words_are_padded() {
        assert_eq!(
            terms(Unit::CharInWord, [2, 4], "a bc"),
            [" a", "a ", " a ", " b", "bc", "c ", " bc", "bc ", " bc "]
        );
        assert_eq!(terms(Unit::CharInWord, [4, 5], "a"), [" a "]);
    }

    #[test]
    fn vectors_get_length_one() {
        let mut numbers = [3.0, 0.0, -4.0];
        Norm::L2.apply(&mut numbers, &[0, 2]);
        assert_eq!(numbers, [0.6, 0.0, -0.8]);
        let mut numbers = [3.0, 0.0, -1.0];
        Norm::L1.apply(&mut numbers, &[0, 2]);
        assert_eq!(numbers, [0.75, 0.0, -0.25]);
        let mut zeros = [0.0; 2];
        Norm::L2.apply(&mut zeros, &[]);
        assert_eq!(zeros, [0.0; 2]);
    }
}
