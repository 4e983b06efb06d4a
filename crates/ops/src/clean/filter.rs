//! `clean.filter`.

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Operation, Problem, Relational, Result, Schema, Shape, Stage, path,
    register_kind, sql, type_name,
};

use crate::columns;

/// Keep only rows for which a condition is true.
///
/// A condition that is null for a row, because it compares with null, is not true: the row goes. Not-a-number is larger than
/// every other number, as in `features.derive`: `amount > 0` keeps it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// The condition, in SQL: `amount > 0 and kind <> 'refund'`.
    #[schemars(length(min = 1))]
    r#where: String,
}

register_kind! {
    Filter, "clean.filter", version: 1,
    example: "- clean.filter: {where: amount > 0}",
}

impl Stage for Filter {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let path = path!["where"];
        if let Some(condition) = columns::row_expression(&self.r#where, input, &path, cx)
            && condition.dtype != DataType::Boolean
        {
            let found = type_name(&condition.dtype);
            cx.report(
                Problem::error(
                    "type-mismatch",
                    path,
                    format!(
                        "stage `{}` needs a condition, but this is {found}",
                        cx.stage
                    ),
                )
                .label("true or false for each row is needed")
                .help("compare it with something: `amount > 0`"),
            );
        }
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Filter {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let compiled = sql::compile(&self.r#where, columns::input(inputs));
        Ok(vec![Operation::Filter(
            columns::lowered(&self.r#where, compiled)?.expression,
        )])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::testing::{codes, passes, refuses, schema, stage};

    #[test]
    fn filters_by_a_condition() {
        let input = schema([("amount", DataType::Float64), ("kind", DataType::String)]);
        let stage: Filter = stage("{where: \"amount > 0 and kind <> 'refund'\"}");
        assert_eq!(passes(&stage, &input), input);
        let operations = stage.lower(&[input]).expect("operations");
        assert!(matches!(operations[..], [Operation::Filter(_)]));
        assert_eq!(
            operations[0].reads().into_iter().collect::<Vec<_>>(),
            ["amount", "kind"]
        );
    }

    #[test]
    fn refuses_what_is_no_condition() {
        let input = schema([("amount", DataType::Float64)]);
        assert_eq!(
            refuses(&stage::<Filter>("{where: amount + 1}"), &input),
            [(
                "type-mismatch",
                "stage `this` needs a condition, but this is f64".to_owned()
            )]
        );
        assert_eq!(
            refuses(&stage::<Filter>("{where: amout > 1}"), &input),
            [(
                "unknown-column",
                "stage `this` reads `amout`, which its input does not have".to_owned()
            )]
        );
        assert_eq!(
            codes(&stage::<Filter>("{where: sum(amount) > 1}"), &input),
            ["aggregate-not-allowed"]
        );
    }

    #[test]
    fn does_not_lower_on_a_frame_it_was_not_checked_for() {
        let error = stage::<Filter>("{where: amount > 1}")
            .lower(&[Schema::default()])
            .expect_err("no such column");
        assert!(
            error
                .to_string()
                .contains("the expression `amount > 1` does not fit its input"),
            "{error}"
        );
    }
}
