//! `clean.rename`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Expression, Operation, ParamStep, Problem, Relational, Result, Schema, Shape,
    Stage, output_schema, path, register_kind,
};

use crate::columns;

/// Give columns other names.
///
/// All names change at once, so that two columns can swap theirs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rename {
    /// Old name to new name: `{amt: amount}`.
    #[schemars(extend("minProperties" = 1))]
    columns: IndexMap<String, String>,
}

register_kind! {
    Rename, "clean.rename", version: 1,
    example: "- clean.rename: {columns: {amt: amount, dt: at}}",
}

impl Rename {
    fn operations(&self, input: &Schema) -> Vec<Operation> {
        let columns = input
            .names()
            .map(|name| {
                let new = self.columns.get(name).map_or(name, String::as_str);
                (new.to_owned(), Expression::column(name))
            })
            .collect();
        vec![Operation::Project(columns)]
    }
}

impl Stage for Rename {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let mut givers: BTreeMap<&str, &str> = BTreeMap::new();
        for (old, new) in &self.columns {
            let key = path!["columns", ParamStep::KeyOf(old.clone())];
            if columns::is_allowed(old, key.clone(), cx) {
                columns::find(input, old, key, cx);
            }
            let value = path!["columns", old];
            if !columns::is_allowed(new, value.clone(), cx) {
                continue;
            }
            if let Some(other) = givers.insert(new, old) {
                cx.report(
                    Problem::error(
                        "name-taken",
                        value,
                        format!(
                            "stage `{}` gives `{other}` and `{old}` the same name `{new}`",
                            cx.stage
                        ),
                    )
                    .label("given before"),
                );
            } else if !self.columns.contains_key(new) {
                columns::is_free(input, new, value, cx);
            }
        }
        output_schema(&self.operations(input), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Rename {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(self.operations(columns::input(inputs)))
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataType;
    use taktline_core::Role;

    use super::*;
    use crate::columns::testing::{codes, passes, refuses, schema, stage, types};

    #[test]
    fn names_change_at_once_and_roles_stay() {
        let mut input = schema([("a", DataType::Int64), ("b", DataType::String)]);
        input.columns[0].role = Role::Target;
        let output = passes(&stage::<Rename>("{columns: {a: b, b: a}}"), &input);
        assert_eq!(
            types(&output),
            [("b", DataType::Int64), ("a", DataType::String)]
        );
        assert_eq!(output.columns[0].role, Role::Target);
    }

    #[test]
    fn refuses_names_that_would_clash() {
        let input = schema([
            ("a", DataType::Int64),
            ("b", DataType::String),
            ("c", DataType::Date),
        ]);
        assert_eq!(
            refuses(&stage::<Rename>("{columns: {a: c}}"), &input),
            [(
                "name-taken",
                "stage `this` makes a column `c`, which its input already has".to_owned()
            )]
        );
        assert_eq!(
            refuses(&stage::<Rename>("{columns: {a: d, b: d}}"), &input),
            [(
                "name-taken",
                "stage `this` gives `a` and `b` the same name `d`".to_owned()
            )]
        );
        assert_eq!(
            codes(
                &stage::<Rename>("{columns: {a: partition, b: '', z: q}}"),
                &input
            ),
            ["reserved-name", "bad-name", "unknown-column"]
        );
        let open = schema([("kind=*", DataType::UInt8)]);
        assert_eq!(
            codes(&stage::<Rename>("{columns: {'kind=*': card}}"), &open),
            ["open-column"]
        );
    }
}
