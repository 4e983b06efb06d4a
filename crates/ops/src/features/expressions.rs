//! Named SQL expressions in params: `{spent: sum(amount), payments: count()}`.

use std::borrow::Cow;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use taktline_core::{CheckContext, ParamPath, ParamStep, Problem};

use crate::columns::Scalar;

/// New columns by name, each an expression in SQL; a bare number or truth value is a constant.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Expressions(IndexMap<String, Option<Scalar>>);

impl Expressions {
    /// Names and texts, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, String)> {
        self.0
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), text(value.as_ref()?))))
    }

    /// As [`Expressions::iter`], without those that cannot be expressions, which are reported: in `{a: round(b, 2)}` YAML
    /// ends the value at the comma, and `2)` is the next name.
    pub(super) fn checked(
        &self,
        path: &ParamPath,
        cx: &mut CheckContext<'_>,
    ) -> Vec<(&str, String)> {
        let mut found = Vec::with_capacity(self.0.len());
        let mut entries = self.0.iter().peekable();
        while let Some((name, value)) = entries.next() {
            let Some(value) = value else {
                cx.report(
                    Problem::error(
                        "no-expression",
                        path.join(ParamStep::KeyOf(name.clone())),
                        format!("stage `{}` has no expression for `{name}`", cx.stage),
                    )
                    .label("a name, and nothing after it")
                    .help("an expression with a comma is written in quotes inside `{…}`"),
                );
                continue;
            };
            let mut whole = text(value);
            let mut is_cut = false;
            while open_brackets(&whole) > 0
                && let Some((rest, None)) = entries.peek()
            {
                is_cut = true;
                whole = format!("{whole}, {rest}");
                entries.next();
            }
            if is_cut {
                cx.report(
                    Problem::error(
                        "cut-expression",
                        path.join(name),
                        format!(
                            "stage `{}` has only the first part of the expression for `{name}`: inside `{{…}}` a comma ends the value",
                            cx.stage
                        ),
                    )
                    .label("YAML reads up to the comma")
                    .help(format!("write it in quotes: `{name}: \"{whole}\"`")),
                );
            } else {
                found.push((name.as_str(), whole));
            }
        }
        found
    }
}

fn text(value: &Scalar) -> String {
    match value {
        // `1.0` stays a real number.
        Scalar::Float(value) => format!("{value:?}"),
        other => other.to_string(),
    }
}

fn open_brackets(text: &str) -> i64 {
    text.chars().fold(0, |open, character| match character {
        '(' => open + 1,
        ')' => open - 1,
        _ => open,
    })
}

impl JsonSchema for Expressions {
    fn schema_name() -> Cow<'static, str> {
        "Expressions".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Null is let through: the check knows what made it.
        json_schema!({
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
        })
    }
}

#[cfg(test)]
mod tests {
    use taktline_core::path;

    use super::*;
    use crate::columns::testing::in_check;

    fn checked(yaml: &str) -> (Vec<(String, String)>, Vec<Problem>) {
        let expressions: Expressions = taktline_core::serde_yaml::from_str(yaml).expect("a map");
        in_check(std::path::Path::new("."), |cx| {
            let found = expressions.checked(&path!["aggregate"], cx);
            found
                .into_iter()
                .map(|(name, text)| (name.to_owned(), text))
                .collect()
        })
    }

    #[test]
    fn constants_need_no_quotes() {
        let (found, problems) = checked("{a: 1, b: 1.0, c: true, d: x + 1, e: 1e300}");
        let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["1", "1.0", "true", "x + 1", "1e300"]);
        assert!(problems.is_empty());
    }

    #[test]
    fn a_comma_that_cut_an_expression_is_told() {
        let (found, problems) = checked("{a: greatest(x, y, abs(z)), b: x + 1, c: }");
        assert_eq!(found, [("b".to_owned(), "x + 1".to_owned())]);
        let codes: Vec<_> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["cut-expression", "no-expression"]);
        assert_eq!(problems[0].path, path!["aggregate", "a"]);
        assert_eq!(
            problems[0].help,
            ["write it in quotes: `a: \"greatest(x, y, abs(z))\"`"]
        );
        assert_eq!(
            problems[1].path,
            path!["aggregate", ParamStep::KeyOf("c".into())]
        );
    }
}
