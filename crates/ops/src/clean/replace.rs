//! `clean.replace`.

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Expression, Function, Operation, Problem, Relational, Result, Schema,
    Shape, Stage, data_type, output_schema, path, register_kind,
};

use super::texts;
use crate::columns::{self, Names};

/// Replace parts of text.
///
/// Every occurrence of `pattern` is replaced, from left to right. With `regex: true` the pattern is a regular expression
/// (`(?i)` at its start passes over the case of letters), and in `with` `\1` stands for what its first group in brackets
/// found, `\&` for the whole match and `\\` for a backslash. Null stays null. For whole values, use `clean.map_values`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Replace {
    /// The text columns.
    columns: Names,
    /// What to look for.
    #[schemars(length(min = 1))]
    pattern: String,
    /// What to put in its place; default: nothing.
    #[serde(default)]
    with: String,
    /// The pattern is a regular expression.
    #[serde(default)]
    regex: bool,
}

register_kind! {
    Replace, "clean.replace", version: 1,
    example: r"- clean.replace: {columns: phone, pattern: '^00(\d+)', with: '+\1', regex: true}",
}

impl Replace {
    fn operations(&self, input: &Schema) -> Vec<Operation> {
        texts::changed(&texts::chosen(Some(&self.columns), input), |text| {
            let mut arguments = vec![
                text,
                Expression::text(&self.pattern),
                Expression::text(&self.with),
            ];
            if self.regex {
                arguments.push(Expression::text("g"));
                Expression::call(Function::RegexpReplace, arguments)
            } else {
                Expression::call(Function::Replace, arguments)
            }
        })
    }

    /// The groups that `with` names.
    fn groups(&self) -> Vec<i64> {
        let mut groups = Vec::new();
        let mut letters = self.with.chars();
        while let Some(letter) = letters.next() {
            if letter == '\\'
                && let Some(digit) = letters.next().and_then(|next| next.to_digit(10))
            {
                groups.push(digit.into());
            }
        }
        groups
    }

    fn check_pattern(&self, cx: &mut CheckContext<'_>) {
        if self.pattern.is_empty() {
            let message = format!("stage `{}` has nothing to look for", cx.stage);
            cx.report(
                Problem::error("bad-value", path!["pattern"], message).label("this is empty"),
            );
            return;
        }
        if !self.regex {
            return;
        }
        // The engine's own rules say whether a pattern and a group are any.
        let probe = Schema::new(vec![Column::new("text", DataType::String)]);
        let of = |function, more: Option<Expression>| {
            let arguments = [Expression::column("text"), Expression::text(&self.pattern)];
            let call = Expression::call(function, arguments.into_iter().chain(more).collect());
            data_type(&call, &probe)
        };
        if let Err(reason) = of(Function::RegexpLike, None) {
            cx.report(
                Problem::error(
                    "bad-regex",
                    path!["pattern"],
                    format!(
                        "stage `{}` has a pattern that is no regular expression",
                        cx.stage
                    ),
                )
                .label("not understood")
                .note(reason)
                .help("for plain text leave `regex` out"),
            );
            return;
        }
        for group in self.groups() {
            if of(Function::RegexpExtract, Some(Expression::int(group))).is_err() {
                cx.report(
                    Problem::error(
                        "bad-regex",
                        path!["with"],
                        format!(
                            "stage `{}` puts in group {group}, which its pattern does not have",
                            cx.stage
                        ),
                    )
                    .label(format!("`\\{group}`"))
                    .help("groups are what the pattern has in brackets, counted from 1"),
                );
            }
        }
    }
}

impl Stage for Replace {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        texts::check(Some(&self.columns), input, cx);
        self.check_pattern(cx);
        if cx.failed() {
            return input.clone();
        }
        output_schema(&self.operations(input), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Replace {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(self.operations(columns::input(inputs)))
    }
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;
    use crate::{
        columns::testing::{codes, schema, stage},
        testing::applied,
    };

    #[track_caller]
    fn gives(params: &str, text: &str, expected: &str) {
        let data = df!("a" => [Some(text), None], "b" => ["a.b", "$1"]).expect("a frame");
        let found = applied(&stage::<Replace>(params), &[data]).expect(params);
        assert_eq!(
            found,
            df!("a" => [Some(expected), None], "b" => ["a.b", "$1"]).expect("a frame"),
            "{params}"
        );
    }

    #[test]
    fn plain_text_is_taken_literally() {
        gives("{columns: a, pattern: '.', with: ','}", "1.2.3", "1,2,3");
        gives("{columns: a, pattern: '.'}", "1.2.3", "123");
        gives(r"{columns: a, pattern: x, with: '\1$0'}", "axa", r"a\1$0a");
        gives("{columns: a, pattern: ü, with: ue}", "Grüße", "Grueße");
    }

    #[test]
    fn patterns_find_and_groups_come_back() {
        gives(
            r"{columns: a, pattern: '(\d+)\.(\d+)', with: '\2.\1', regex: true}",
            "12.5 and 3.75",
            "5.12 and 75.3",
        );
        gives(
            "{columns: a, pattern: '(?i)ab+', with: '[\\&]', regex: true}",
            "xABBy",
            "x[ABB]y",
        );
        gives(
            "{columns: a, pattern: '^', with: '$1', regex: true}",
            "x",
            "$1x",
        );
        gives(
            "{columns: a, pattern: 'a|b', with: '', regex: true}",
            "abc",
            "c",
        );
    }

    #[test]
    fn refuses_patterns_that_are_none() {
        let input = schema([("a", DataType::String), ("n", DataType::Int64)]);
        for (params, expected) in [
            ("{columns: a, pattern: '('}", vec![]),
            ("{columns: a, pattern: '(', regex: true}", vec!["bad-regex"]),
            (
                r"{columns: a, pattern: '(a)', with: '\2', regex: true}",
                vec!["bad-regex"],
            ),
            (
                r"{columns: a, pattern: '(a)', with: '\\2', regex: true}",
                vec![],
            ),
            ("{columns: a, pattern: ''}", vec!["bad-value"]),
            ("{columns: n, pattern: x}", vec!["type-mismatch"]),
        ] {
            assert_eq!(
                codes(&stage::<Replace>(params), &input),
                expected,
                "{params}"
            );
        }
    }
}
