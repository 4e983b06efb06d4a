//! What all texts of a column look like.

/// A kind of character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Digit,
    Upper,
    Lower,
    /// This very character.
    Literal(char),
}

impl Class {
    fn of(character: char) -> Self {
        match character {
            '0'..='9' => Self::Digit,
            'A'..='Z' => Self::Upper,
            'a'..='z' => Self::Lower,
            other => Self::Literal(other),
        }
    }
}

/// Runs of characters of a kind, the same in all texts but for their lengths: `C123`, `K7` are an upper-case letter and one
/// to three digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape(Vec<(Class, usize, usize)>);

/// Longer shapes are nothing to read.
const LONGEST: usize = 12;

impl Shape {
    /// The shape that all texts have, if there is one.
    pub(super) fn of<'t>(mut texts: impl Iterator<Item = &'t str>) -> Option<Self> {
        let mut common = Self::single(texts.next()?)?;
        for text in texts {
            let runs = Self::single(text)?.0;
            let fits = runs.len() == common.0.len()
                && runs
                    .iter()
                    .zip(&common.0)
                    .all(|(one, other)| one.0 == other.0);
            if !fits {
                return None;
            }
            for (known, (_, length, _)) in common.0.iter_mut().zip(runs) {
                known.1 = known.1.min(length);
                known.2 = known.2.max(length);
            }
        }
        Some(common)
    }

    fn single(text: &str) -> Option<Self> {
        let mut runs: Vec<(Class, usize, usize)> = Vec::new();
        for character in text.chars() {
            let class = Class::of(character);
            match runs.last_mut() {
                Some((last, least, most)) if *last == class => {
                    *least += 1;
                    *most += 1;
                }
                _ => runs.push((class, 1, 1)),
            }
            if runs.len() > LONGEST {
                return None;
            }
        }
        (!runs.is_empty()).then_some(Self(runs))
    }

    /// Whether it says more than that there are letters: a shape of one word is no shape.
    pub(super) fn is_telling(&self) -> bool {
        self.0
            .iter()
            .any(|(class, ..)| matches!(class, Class::Digit))
    }

    /// As a regular expression for the whole text.
    pub(super) fn regex(&self) -> String {
        let runs: String = self
            .0
            .iter()
            .map(|(class, least, most)| {
                let class = match class {
                    Class::Digit => "[0-9]".to_owned(),
                    Class::Upper => "[A-Z]".to_owned(),
                    Class::Lower => "[a-z]".to_owned(),
                    Class::Literal(literal) => escaped(*literal),
                };
                let times = match (least, most) {
                    (1, 1) => String::new(),
                    (least, most) if least == most => format!("{{{least}}}"),
                    (least, most) => format!("{{{least},{most}}}"),
                };
                class + &times
            })
            .collect();
        format!("^{runs}$")
    }
}

fn escaped(literal: char) -> String {
    if r"\.+*?()|[]{}^$#&-~".contains(literal) {
        format!("\\{literal}")
    } else {
        literal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(texts: &[&str]) -> Option<String> {
        Shape::of(texts.iter().copied()).map(|shape| shape.regex())
    }

    #[test]
    fn texts_of_one_shape_have_a_pattern() {
        assert_eq!(regex(&["C123", "K7"]).as_deref(), Some("^[A-Z][0-9]{1,3}$"));
        assert_eq!(
            regex(&["2024-01-31", "1999-12-01"]).as_deref(),
            Some(r"^[0-9]{4}\-[0-9]{2}\-[0-9]{2}$")
        );
        assert_eq!(
            regex(&["a.b", "abc.d"]).as_deref(),
            Some(r"^[a-z]{1,3}\.[a-z]$")
        );
        assert_eq!(regex(&["A1", "a1"]), None);
        assert_eq!(regex(&["A1", ""]), None);
        assert_eq!(regex(&[]), None);
        assert!(
            !Shape::of(["red", "blue"].into_iter())
                .expect("words")
                .is_telling()
        );
        assert!(
            Shape::of(["r2", "b3"].into_iter())
                .expect("codes")
                .is_telling()
        );
    }
}
