//! `clean.trim`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Expression, Function, Operation, Relational, Result, Schema, Shape, Stage,
    output_schema, register_kind,
};

use super::texts;
use crate::columns::{self, Names};

/// Take white space off the ends of text.
///
/// White space is what Unicode calls so: spaces, the no-break space among them, tabs and line breaks. Null stays null.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Trim {
    /// The columns; default: all text columns.
    columns: Option<Names>,
    /// Which end.
    #[serde(default)]
    side: Side,
    /// Make one space of all white space inside the text.
    #[serde(default)]
    collapse: bool,
    /// Make null of text that has nothing left.
    #[serde(default)]
    empty_to_null: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Side {
    /// Both ends.
    #[default]
    Both,
    /// Only the start.
    Start,
    /// Only the end.
    End,
}

register_kind! {
    Trim, "clean.trim", version: 1,
    example: "- clean.trim: {columns: [name, city], collapse: true}",
}

impl Trim {
    fn operations(&self, input: &Schema) -> Vec<Operation> {
        texts::changed(&texts::chosen(self.columns.as_ref(), input), |text| {
            let function = match self.side {
                Side::Both => Function::Trim,
                Side::Start => Function::TrimStart,
                Side::End => Function::TrimEnd,
            };
            let mut text = text;
            if self.collapse {
                let pattern = [r"\s+", " ", "g"].map(Expression::text);
                let arguments = std::iter::once(text).chain(pattern).collect();
                text = Expression::call(Function::RegexpReplace, arguments);
            }
            text = Expression::call(function, vec![text]);
            if self.empty_to_null {
                text = Expression::call(Function::NullIf, vec![text, Expression::text("")]);
            }
            text
        })
    }
}

impl Stage for Trim {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        texts::check(self.columns.as_ref(), input, cx);
        output_schema(&self.operations(input), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Trim {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(self.operations(columns::input(inputs)))
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
    fn gives(params: &str, expected: [Option<&str>; 5]) {
        let data = df!(
            "name" => [Some("  Ada  Byron\t"), None, Some("\u{a0}Zoë\u{2003}\n x"), Some(" \t"), Some("")],
            "n" => [1_i64, 2, 3, 4, 5],
        )
        .expect("a frame");
        let found = applied(&stage::<Trim>(params), &[data]).expect("rows");
        let name = found.column("name").expect("the column");
        let found: Vec<Option<&str>> = name.str().expect("text").iter().collect();
        assert_eq!(found, expected, "{params}");
    }

    #[test]
    fn takes_white_space_off() {
        gives(
            "{}",
            [
                Some("Ada  Byron"),
                None,
                Some("Zoë\u{2003}\n x"),
                Some(""),
                Some(""),
            ],
        );
        gives(
            "{columns: name, side: start}",
            [
                Some("Ada  Byron\t"),
                None,
                Some("Zoë\u{2003}\n x"),
                Some(""),
                Some(""),
            ],
        );
        gives(
            "{columns: name, side: end}",
            [
                Some("  Ada  Byron"),
                None,
                Some("\u{a0}Zoë\u{2003}\n x"),
                Some(""),
                Some(""),
            ],
        );
        gives(
            "{collapse: true, empty_to_null: true}",
            [Some("Ada Byron"), None, Some("Zoë x"), None, None],
        );
    }

    #[test]
    fn empty_frames_stay_empty() {
        let data = df!("name" => Vec::<&str>::new()).expect("a frame");
        let found = applied(&stage::<Trim>("{collapse: true}"), &[data]).expect("rows");
        assert_eq!(found.height(), 0);
    }

    #[test]
    fn refuses_what_is_no_text() {
        let input = schema([("n", DataType::Int64)]);
        assert_eq!(codes(&stage::<Trim>("{}"), &input), ["no-columns"]);
        assert_eq!(
            codes(&stage::<Trim>("{columns: [n, m, partition]}"), &input),
            [
                "reserved-name",
                "unknown-column",
                "unknown-column",
                "type-mismatch"
            ]
        );
    }
}
