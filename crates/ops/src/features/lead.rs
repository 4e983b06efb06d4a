//! `features.lead`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    Aggregate, CheckContext, Operation, Relational, Result, Schema, Shape, Stage, WindowFrame,
    register_kind,
};

use super::shifts::{Made, Shift, Steps, end_of_window, is_single, one_step, where_full};
use crate::columns::{self, Names};

/// Put values of later rows beside each row, to learn to foretell them: tomorrow's demand.
///
/// The value of `demand` one row later in the same group becomes `demand_lead_1`; it is null where there is no such row: drop
/// these rows before a model learns from them. Rows stay in their place, and rows of one time follow each other in row order.
///
/// What comes later is not known yet when a row happens, so it can be a target but never a feature: the new columns, and
/// whatever is computed from them, are kept from models. Give one its role under `columns:`, `demand_lead_1: {role: target}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lead {
    /// The columns that make rows belong together: `store`; default: all rows belong together.
    by: Option<Names>,
    /// The column that orders the rows in time; default: the column with the role `time`.
    over: Option<String>,
    /// The columns whose later values are wanted.
    columns: Names,
    /// How many rows later: a number or several.
    #[serde(default = "one_step")]
    steps: Steps,
}

register_kind! {
    Lead, "features.lead", version: 1,
    example: "- features.lead: {by: store, over: day, columns: demand}",
}

/// The value that many rows later is the last of a window of one row more, where the window is full.
fn made(column: &str, steps: u32) -> Made {
    let later = end_of_window(Aggregate::Last, column);
    vec![(format!("{column}_lead_{steps}"), where_full(steps, later))]
}

impl Lead {
    fn shift(&self) -> Shift<'_> {
        Shift {
            by: self.by.as_ref(),
            over: self.over.as_deref(),
            columns: &self.columns,
            steps: &self.steps,
            made: &made,
            frame: WindowFrame::RowsFrom,
        }
    }
}

impl Stage for Lead {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        self.shift().check(inputs, is_single, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Lead {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(self.shift().lowered(columns::input(inputs)))
    }
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::DataType};
    use taktline_core::Role;

    use super::*;
    use crate::{
        columns::testing::{codes, passes, schema, stage},
        testing::applied,
    };

    #[test]
    fn later_values_come_beside_earlier_ones() {
        let rows = df!(
            "store" => ["a", "b", "a", "a", "b"],
            "day" => [Some(3_i64), Some(1), Some(1), Some(2), None],
            "demand" => [Some(30.0), Some(100.0), Some(10.0), None, Some(200.0)],
        )
        .expect("a frame");
        let lead: Lead = stage("{by: store, over: day, columns: [demand], steps: [1, 2]}");
        let found = applied(&lead, std::slice::from_ref(&rows)).expect("rows");
        let of = |name: &str| {
            found
                .column(name)
                .expect(name)
                .f64()
                .expect("reals")
                .to_vec()
        };
        assert_eq!(of("demand_lead_1"), [None, None, None, Some(30.0), None]);
        assert_eq!(of("demand_lead_2"), [None, None, Some(30.0), None, None]);
        assert_eq!(
            applied(&lead, &[rows.slice(0, 0)]).expect("rows").height(),
            0
        );
    }

    #[test]
    fn what_comes_later_is_never_a_feature() {
        let input = schema([("day", DataType::Date), ("demand", DataType::Float64)]);
        let output = passes(&stage::<Lead>("{over: day, columns: demand}"), &input);
        let made = output.column("demand_lead_1").expect("the new column");
        assert_eq!(
            (made.role, made.dtype.clone()),
            (Role::Ignore, DataType::Float64)
        );
        // So that what is derived from it cannot be one either.
        assert!(made.from_target.contains("demand_lead_1"));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let input = schema([
            ("day", DataType::Date),
            ("image", DataType::Array(Box::new(DataType::UInt8), 4)),
            ("day_lead_1", DataType::Date),
        ]);
        assert_eq!(
            codes(
                &stage::<Lead>("{over: day, columns: [image, day, dya], steps: [1, 1]}"),
                &input
            ),
            [
                "unknown-column",
                "type-mismatch",
                "name-taken",
                "name-taken",
                "duplicate-name"
            ]
        );
    }
}
