//! `features.lag`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    Aggregate, CheckContext, Operation, Relational, Result, Schema, Shape, Stage, WindowFrame,
    register_kind,
};

use super::shifts::{Made, Shift, Steps, end_of_window, is_single, one_step, where_full};
use crate::columns::{self, Names};

/// Put values of earlier rows beside each row: yesterday's demand.
///
/// The value of `amount` one row earlier in the same group becomes `amount_lag_1`; it is null where there is no such row.
/// Rows stay in their place, and rows of one time follow each other in row order. Steps count rows, not time: where days are
/// missing, one step is more than a day.
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
    /// Whether the target's earlier values are known by the time that a row is to be predicted, as last week's sales are when next
    /// week's are asked for. Only then may a model learn from them: else they count as computed from the target, which is refused.
    /// Take no step shorter than the time ahead of which you predict. Rows to score need the earlier rows before them, with
    /// the target where it is known and null where it is not.
    #[serde(default)]
    target_known: bool,
}

register_kind! {
    Lag, "features.lag", version: 1,
    example: "- features.lag: {by: store, over: day, columns: demand, steps: [1, 7]}",
}

/// The value that many rows earlier is the first of a window of one row more, where the window is full.
fn made(column: &str, steps: u32) -> Made {
    let earlier = end_of_window(Aggregate::First, column);
    vec![(format!("{column}_lag_{steps}"), where_full(steps, earlier))]
}

impl Lag {
    fn shift(&self) -> Shift<'_> {
        Shift {
            by: self.by.as_ref(),
            over: self.over.as_deref(),
            columns: &self.columns,
            steps: &self.steps,
            made: &made,
            frame: WindowFrame::Rows,
        }
    }
}

impl Stage for Lag {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let mut output = self.shift().check(inputs, is_single, cx);
        if self.target_known {
            let input = columns::input(inputs);
            for column in &mut output.columns {
                if input.column(&column.name).is_none() {
                    column.from_target.clear();
                }
            }
        }
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Lag {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(self.shift().lowered(columns::input(inputs)))
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataType;

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
    fn a_target_that_is_known_by_then_may_be_learned_from() {
        let mut input = demand();
        input.columns[2] = input.columns[2]
            .clone()
            .with_role(taktline_core::Role::Target);
        let lag = "{over: day, columns: demand, steps: 7, target_known: true}";
        let output = passes(&stage::<Lag>(lag), &input);
        let lineage = |name: &str| output.column(name).map(|column| column.from_target.len());
        assert_eq!(lineage("demand_lag_7"), Some(0));
        assert_eq!(lineage("demand"), Some(1));
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
