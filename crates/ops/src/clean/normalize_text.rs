//! `clean.normalize_text`.

use std::sync::Arc;

use polars::prelude::{Expr, IntoColumn, StringChunked};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Local, Operation, ParamPath, Problem, Relational, Result, Schema, Shape, Stage,
    register_kind,
};
use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};

use super::texts;
use crate::columns::{self, Names};

/// Write text that means the same the same way: one Unicode form, one case, no accents, no control characters.
///
/// The steps that are asked for are taken in this order: control characters go, accents go, the case changes, and the text
/// is brought to the Unicode form (Unicode Standard Annex 15). Letters like `ø` and `ß` are letters of their own and have no
/// accent. Null stays null; white space stays, see `clean.trim`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NormalizeText {
    /// The columns; default: all text columns.
    columns: Option<Names>,
    /// The Unicode form.
    #[serde(default)]
    form: Form,
    /// What becomes of capital letters.
    #[serde(default)]
    case: Case,
    /// Take accents and other marks above, below and through letters off: `é` becomes `e`.
    #[serde(default)]
    strip_accents: bool,
    /// Take control characters out, and marks that nobody sees: zero-width spaces, byte order marks, soft hyphens. Tabs and
    /// line breaks stay.
    #[serde(default)]
    remove_control: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Form {
    /// Letters and their accents are one character where there is one; nothing looks different.
    #[default]
    Nfc,
    /// As `nfc`, and variants become the plain character: `ﬁ` becomes `fi`, `①` becomes `1`, full-width letters usual ones.
    Nfkc,
    /// As it is.
    Keep,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Case {
    /// They stay.
    #[default]
    Keep,
    /// Small letters.
    Lower,
    /// All become capital letters.
    Upper,
    /// Text that differs only in case becomes the same: as `lower`, but `ß` becomes `ss` and every sigma `σ`.
    Fold,
}

register_kind! {
    NormalizeText, "clean.normalize_text", version: 1,
    example: "- clean.normalize_text: {columns: [city], form: nfkc, case: fold, strip_accents: true}",
}

impl NormalizeText {
    fn does_something(&self) -> bool {
        self.form != Form::Keep
            || self.case != Case::Keep
            || self.strip_accents
            || self.remove_control
    }

    fn normalized(&self, text: &str) -> String {
        let visible = text
            .chars()
            .filter(|character| !(self.remove_control && is_control(*character)));
        let plain: String = match (self.strip_accents, self.form) {
            (false, _) => visible.collect(),
            (true, Form::Nfkc) => visible
                .nfkd()
                .filter(|mark| !is_accent(*mark))
                .nfc()
                .collect(),
            (true, _) => visible
                .nfd()
                .filter(|mark| !is_accent(*mark))
                .nfc()
                .collect(),
        };
        let cased = match self.case {
            Case::Keep => plain,
            Case::Lower => plain.to_lowercase(),
            Case::Upper => plain.to_uppercase(),
            Case::Fold => plain.chars().flat_map(folded).collect(),
        };
        match self.form {
            Form::Nfc => cased.nfc().collect(),
            Form::Nfkc => cased.nfkc().collect(),
            Form::Keep => cased,
        }
    }
}

fn is_control(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => false,
        // Soft hyphen, zero-width space, word joiner, byte order mark. Zero-width joiners shape letters and emoji: they stay.
        '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}' => true,
        other => other.is_control(),
    }
}

/// Marks that stand above, below or across a letter have these classes; vowel signs and voicing marks, without which a word
/// is another, have lower ones (Unicode Character Database, `Canonical_Combining_Class`).
fn is_accent(character: char) -> bool {
    matches!(canonical_combining_class(character), 1 | 200..=240)
}

/// Letters that differ only in case become the same: down, up and down again, as some letters meet only above.
fn folded(character: char) -> impl Iterator<Item = char> {
    character
        .to_lowercase()
        .flat_map(|lower| {
            // The dotless i is a letter of its own, whose capital is that of i.
            let upper: Vec<char> = if lower == 'ı' {
                vec![lower]
            } else {
                lower.to_uppercase().collect()
            };
            upper
        })
        .flat_map(char::to_lowercase)
}

impl Stage for NormalizeText {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        texts::check(self.columns.as_ref(), input, cx);
        if !self.does_something() {
            let message = format!("stage `{}` changes nothing", cx.stage);
            cx.report(
                Problem::error("missing-param", ParamPath::kind(), message)
                    .help("say `form`, `case`, `strip_accents` or `remove_control`"),
            );
        }
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for NormalizeText {
    /// Not relational: SQL knows neither Unicode forms nor case folding.
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let names: Vec<String> = texts::chosen(self.columns.as_ref(), input)
            .into_iter()
            .map(|column| column.name.clone())
            .collect();
        let rules = Arc::new(Self {
            columns: None,
            ..*self
        });
        Ok(vec![Operation::Local(Local {
            name: "normalize text",
            reads: names.iter().cloned().collect(),
            keeps_rows: true,
            schema: input.clone(),
            apply: Arc::new(move |frame| {
                let normalized: Vec<Expr> = names
                    .iter()
                    .map(|name| {
                        let rules = Arc::clone(&rules);
                        Expr::Column(name.as_str().into()).map(
                            move |column| {
                                let texts: StringChunked = column
                                    .str()?
                                    .iter()
                                    .map(|text| text.map(|text| rules.normalized(text)))
                                    .collect();
                                Ok(texts.with_name(column.name().clone()).into_column())
                            },
                            |_, field| Ok(field.clone()),
                        )
                    })
                    .collect();
                Ok(frame.with_columns(normalized))
            }),
        })])
    }
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::DataType};

    use super::*;
    use crate::{
        columns::testing::{codes, schema, stage},
        testing::applied,
    };

    #[track_caller]
    fn gives(params: &str, pairs: &[(&str, &str)]) {
        let rules: NormalizeText = stage(params);
        for (text, expected) in pairs {
            assert_eq!(rules.normalized(text), *expected, "{params}: {text}");
        }
    }

    #[test]
    fn forms() {
        gives(
            "{}",
            &[("e\u{301}", "é"), ("ﬁ", "ﬁ"), ("\u{212b}", "Å"), ("", "")],
        );
        gives(
            "{form: nfkc}",
            &[
                ("ﬁ①", "fi1"),
                ("Ｔａｋｔ", "Takt"),
                ("ｶﾞ", "ガ"),
                ("x\u{a0}y", "x y"),
            ],
        );
        gives("{form: keep, case: lower}", &[("E\u{301}", "e\u{301}")]);
    }

    #[test]
    fn cases() {
        gives("{case: lower}", &[("ÄΣ", "äς"), ("Straße", "straße")]);
        gives("{case: upper}", &[("straße", "STRASSE")]);
        gives(
            "{case: fold}",
            &[
                ("STRASSE", "strasse"),
                ("Straße", "strasse"),
                ("STRAẞE", "strasse"),
                ("ΟΔΟΣ", "οδοσ"),
                ("οδος", "οδοσ"),
                ("ı", "ı"),
                ("I", "i"),
            ],
        );
    }

    #[test]
    fn accents_and_marks_that_belong_to_the_letter() {
        gives(
            "{strip_accents: true}",
            &[
                ("Çà Ệ ñ", "Ca E n"),
                ("Łódź ø", "Łodz ø"),
                ("が", "が"),
                ("हिन्दी", "हिन्दी"),
                ("한국", "한국"),
                ("ﬁ", "ﬁ"),
            ],
        );
        gives("{strip_accents: true, form: nfkc}", &[("ﬁancé", "fiance")]);
    }

    #[test]
    fn control_characters() {
        gives(
            "{remove_control: true}",
            &[
                ("\u{feff}a\u{0}b\tc\nd\u{200b}\u{85}", "ab\tc\nd"),
                ("👩\u{200d}🔬", "👩\u{200d}🔬"),
            ],
        );
        gives("{}", &[("a\u{0}", "a\u{0}")]);
    }

    #[test]
    fn columns_change_in_place() {
        let data =
            df!("a" => [Some("É"), None], "n" => [1_i64, 2], "b" => ["É", "x"]).expect("a frame");
        let fold: NormalizeText = stage("{columns: a, case: lower}");
        assert_eq!(
            applied(&fold, std::slice::from_ref(&data)).expect("rows"),
            df!("a" => [Some("é"), None], "n" => [1_i64, 2], "b" => ["É", "x"]).expect("a frame")
        );
        let all: NormalizeText = stage("{strip_accents: true}");
        let empty = applied(&all, &[data.slice(0, 0)]).expect("rows");
        assert_eq!(empty.height(), 0);
    }

    #[test]
    fn refuses_to_do_nothing() {
        let input = schema([("a", DataType::String)]);
        assert_eq!(
            codes(&stage::<NormalizeText>("{form: keep}"), &input),
            ["missing-param"]
        );
        assert_eq!(
            codes(&stage::<NormalizeText>("{columns: b}"), &input),
            ["unknown-column"]
        );
    }
}
