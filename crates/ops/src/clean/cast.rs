//! `clean.cast`.

use indexmap::IndexMap;
use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Expression, Operation, Problem, Relational, Result, Schema, Shape, Stage,
    output_schema, path, register_kind, type_name,
};

use crate::{column_type::ColumnType, columns};

/// Change the types of columns.
///
/// Text becomes a number, date or datetime where it reads as one; numbers become other numbers where they fit. Text with space
/// around it reads as no number: `clean.trim` takes it away.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cast {
    /// The new type of each column: `{amount: f64, at: datetime}`.
    #[schemars(extend("minProperties" = 1))]
    columns: IndexMap<String, ColumnType>,
    /// What becomes of a value that does not fit its new type.
    #[serde(default)]
    on_error: OnError,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum OnError {
    /// The run fails, and says which value it was.
    #[default]
    Error,
    /// The value becomes null.
    Null,
}

register_kind! {
    Cast, "clean.cast", version: 1,
    example: "- clean.cast: {columns: {amount: f64, at: datetime}}",
}

impl Cast {
    fn operations(&self, input: &Schema) -> Vec<Operation> {
        let columns = self
            .columns
            .iter()
            .filter(|(name, to)| {
                input
                    .column(name)
                    .is_some_and(|column| column.dtype != to.data_type())
            })
            .map(|(name, to)| {
                let cast = Expression::Cast {
                    operand: Box::new(Expression::column(name)),
                    to: to.data_type(),
                    strict: self.on_error == OnError::Error,
                };
                (name.clone(), cast)
            })
            .collect();
        vec![Operation::With(columns)]
    }
}

impl Stage for Cast {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        for (name, to) in &self.columns {
            let key = path!["columns", taktline_core::ParamStep::KeyOf(name.clone())];
            if !columns::is_allowed(name, key.clone(), cx) {
                continue;
            }
            let Some(column) = columns::find(input, name, key, cx) else {
                continue;
            };
            if !can_become(&column.dtype, &to.data_type()) {
                cx.report(
                    Problem::error(
                        "type-mismatch",
                        path!["columns", name],
                        format!(
                            "stage `{}` cannot turn `{name}` from {} into {}",
                            cx.stage,
                            type_name(&column.dtype),
                            type_name(&to.data_type())
                        ),
                    )
                    .label(format!("`{name}` is {}", type_name(&column.dtype))),
                );
            }
        }
        output_schema(&self.operations(input), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

/// Whether some values of the one type have a meaning in the other.
fn can_become(from: &DataType, to: &DataType) -> bool {
    let is_number = |dtype: &DataType| dtype.is_primitive_numeric();
    match (from, to) {
        (from, to) if from == to => true,
        (DataType::Null, _) => true,
        (from, _) if from.is_nested() => false,
        (DataType::Binary, DataType::String) => true,
        (DataType::Binary, _) => false,
        (_, DataType::String) => true,
        // `true` and `false` have too many spellings in text to guess: `features.derive` says which.
        (DataType::String, DataType::Boolean) => false,
        (DataType::String, _) => true,
        (from, to) if columns::is_instant(to) => columns::is_instant(from),
        (DataType::Boolean, to) => is_number(to),
        (from, DataType::Boolean) => is_number(from),
        (from, to) => is_number(from) && is_number(to),
    }
}

impl Relational for Cast {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(self.operations(columns::input(inputs)))
    }
}

#[cfg(test)]
mod tests {
    use taktline_core::Role;

    use super::*;
    use crate::columns::testing::{codes, passes, refuses, schema, stage, types};

    #[test]
    fn changes_types_and_keeps_roles() {
        let mut input = schema([
            ("amount", DataType::String),
            ("label", DataType::Int64),
            ("kind", DataType::String),
        ]);
        input.columns[1].role = Role::Target;
        let stage: Cast = stage("{columns: {amount: f64, label: i32}}");
        let output = passes(&stage, &input);
        assert_eq!(
            types(&output),
            [
                ("amount", DataType::Float64),
                ("label", DataType::Int32),
                ("kind", DataType::String)
            ]
        );
        assert_eq!(output.columns[1].role, Role::Target);
    }

    #[test]
    fn a_column_that_has_the_type_is_left_alone() {
        let input = schema([("amount", DataType::Float64)]);
        let operations = stage::<Cast>("{columns: {amount: f64}}")
            .lower(&[input])
            .expect("operations");
        assert!(matches!(&operations[..], [Operation::With(columns)] if columns.is_empty()));
    }

    #[test]
    fn null_for_what_does_not_fit_only_when_asked() {
        let input = schema([("amount", DataType::String)]);
        for (params, is_strict) in [
            ("{columns: {amount: f64}}", true),
            ("{columns: {amount: f64}, on_error: 'null'}", false),
        ] {
            let operations = stage::<Cast>(params)
                .lower(std::slice::from_ref(&input))
                .expect("operations");
            let [Operation::With(columns)] = &operations[..] else {
                panic!("{operations:?}")
            };
            assert!(matches!(columns[0].1, Expression::Cast { strict, .. } if strict == is_strict));
        }
    }

    #[test]
    fn refuses_what_has_no_meaning() {
        let image = DataType::Array(Box::new(DataType::UInt8), 4);
        let input = schema([
            ("image", image),
            ("share", DataType::Float64),
            ("at", DataType::Date),
        ]);
        assert_eq!(
            refuses(
                &stage::<Cast>("{columns: {image: f32, share: date, att: datetime}}"),
                &input
            ),
            [
                (
                    "type-mismatch",
                    "stage `this` cannot turn `image` from array[4] of u8 into f32".to_owned()
                ),
                (
                    "type-mismatch",
                    "stage `this` cannot turn `share` from f64 into date".to_owned()
                ),
                (
                    "unknown-column",
                    "stage `this` reads `att`, which its input does not have".to_owned()
                ),
            ]
        );
        assert_eq!(
            codes(&stage::<Cast>("{columns: {partition: i64}}"), &input),
            ["reserved-name"]
        );
    }
}
