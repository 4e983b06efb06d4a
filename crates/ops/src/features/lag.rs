//! `features.lag`.

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    Aggregate, BinaryOperator, CheckContext, Expression, Literal, Operation, Problem, Relational,
    Result, Schema, Shape, Stage, WindowFrame, output_schema, path, register_kind,
};

use super::rolling::check_groups;
use crate::columns::{self, Names};

/// Put values of earlier rows beside each row: yesterday's demand.
///
/// The value of `amount` one row earlier in the same group becomes `amount_lag_1`; it is null where there is no such row.
/// Rows stay in their place.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lag {
    /// The columns that make rows belong together: `store`; default: all rows belong together.
    by: Option<Names>,
    /// The column that orders the rows in time; default: the column with the role `time`.
    over: Option<String>,
    /// The columns whose earlier values are wanted.
    columns: Names,
    /// How many rows earlier: a number or several.
    #[serde(default = "one_step")]
    steps: Steps,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
enum Steps {
    /// One distance.
    One(#[schemars(range(min = 1, max = 100_000))] u32),
    /// Several distances.
    Many(#[schemars(length(min = 1), inner(range(min = 1, max = 100_000)))] Vec<u32>),
}

fn one_step() -> Steps {
    Steps::One(1)
}

impl Steps {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(steps) => std::slice::from_ref(steps),
            Self::Many(steps) => steps,
        }
    }
}

register_kind! {
    Lag, "features.lag", version: 1,
    example: "- features.lag: {by: store, over: day, columns: demand, steps: [1, 7]}",
}

fn made(column: &str, steps: u32) -> String {
    format!("{column}_lag_{steps}")
}

impl Lag {
    /// The value that many rows earlier is the first of a window of one row more, where the window is full.
    fn operations(&self, over: &str) -> Vec<Operation> {
        let by = self.by.as_ref().map(Names::to_vec).unwrap_or_default();
        self.steps
            .as_slice()
            .iter()
            .map(|steps| {
                let rows = steps.saturating_add(1);
                let is_full = Expression::Aggregate(Aggregate::Count, None)
                    .binary(BinaryOperator::Equal, Expression::int(rows.into()));
                let aggregates = self
                    .columns
                    .iter()
                    .map(|column| {
                        let first = Expression::Aggregate(
                            Aggregate::First,
                            Some(Box::new(Expression::column(column))),
                        );
                        let earlier = Expression::Case {
                            branches: vec![(is_full.clone(), first)],
                            otherwise: Box::new(Expression::Literal(Literal::Null)),
                        };
                        (made(column, *steps), earlier)
                    })
                    .collect();
                Operation::Window {
                    by: by.clone(),
                    over: over.to_owned(),
                    frame: WindowFrame::Rows(rows as usize),
                    aggregates,
                }
            })
            .collect()
    }
}

impl Stage for Lag {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        check_groups(self.by.as_ref(), input, cx);
        let over = columns::time_column(self.over.as_deref(), input, path!["over"], cx);
        for (path, column) in self.columns.find(input, &path!["columns"], cx) {
            if matches!(column.dtype, DataType::Array(..) | DataType::List(_)) {
                columns::report_type(column, "columns of single values", path, cx);
                continue;
            }
            for steps in self.steps.as_slice() {
                columns::is_free(input, &made(&column.name, *steps), path.clone(), cx);
            }
        }
        for (index, steps) in self.steps.as_slice().iter().enumerate() {
            if self.steps.as_slice()[..index].contains(steps) {
                let message = format!("stage `{}` names {steps} steps twice", cx.stage);
                cx.report(
                    Problem::error("duplicate-name", path!["steps", index], message)
                        .label("named before"),
                );
            }
        }
        output_schema(
            &self.operations(over.map(|column| column.name.as_str()).unwrap_or_default()),
            inputs,
        )
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Lag {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let over = columns::time_name(self.over.as_deref(), input);
        Ok(over
            .map(|over| columns::possible(self.operations(&over), input))
            .unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::testing::{codes, passes, schema, stage, types};

    fn demand() -> Schema {
        schema([
            ("day", DataType::Date),
            ("store", DataType::String),
            ("demand", DataType::Float64),
        ])
    }

    #[test]
    fn earlier_values_keep_their_type() {
        let lag: Lag = stage("{by: store, over: day, columns: [demand, store], steps: [1, 7]}");
        assert_eq!(
            types(&passes(&lag, &demand()))[3..],
            [
                ("demand_lag_1", DataType::Float64),
                ("store_lag_1", DataType::String),
                ("demand_lag_7", DataType::Float64),
                ("store_lag_7", DataType::String),
            ]
        );
        let operations = lag.lower(&[demand()]).expect("operations");
        assert!(matches!(
            &operations[1],
            Operation::Window {
                frame: WindowFrame::Rows(8),
                ..
            }
        ));
    }

    #[test]
    fn the_target_leaks_through_nobody() {
        // The target's earlier values are computed from the target: the planner sees it in the lineage.
        let mut input = demand();
        input.columns[2] = input.columns[2]
            .clone()
            .with_role(taktline_core::Role::Target);
        let output = passes(&stage::<Lag>("{over: day, columns: demand}"), &input);
        assert!(
            output
                .column("demand_lag_1")
                .is_some_and(|column| column.from_target.contains("demand"))
        );
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let mut input = demand();
        input.columns.push(taktline_core::Column::new(
            "demand_lag_1",
            DataType::Float64,
        ));
        assert_eq!(
            codes(
                &stage::<Lag>("{by: stor, over: demand, columns: [demand, dmand], steps: [1, 1]}"),
                &input
            ),
            [
                "unknown-column",
                "type-mismatch",
                "unknown-column",
                "name-taken",
                "name-taken",
                "duplicate-name"
            ]
        );
    }
}
