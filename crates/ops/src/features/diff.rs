//! `features.diff`.

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    Aggregate, BinaryOperator, CheckContext, Column, Operation, ParamPath, Problem, Relational,
    Result, Schema, Shape, Stage, WindowFrame, path, register_kind,
};

use super::shifts::{Made, Shift, Steps, end_of_window, one_step, where_full};
use crate::columns::{self, Names};

/// Measure how far each row is from an earlier one of its group: the change since yesterday.
///
/// With `measure: difference` the value less the one a row earlier becomes `amount_diff_1`; with `ratio` that difference, as a
/// share of the earlier value, becomes `amount_change_1`: 0.25 for 25 percent more. Both are null where there is no such row or
/// a value is missing. From 0, a share is infinite, or not a number where nothing changed. The difference of dates and times
/// is a duration. Rows stay in their place, and rows of one time follow each other in row order.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Diff {
    /// The columns that make rows belong together: `store`; default: all rows belong together.
    by: Option<Names>,
    /// The column that orders the rows in time; default: the column with the role `time`.
    over: Option<String>,
    /// The columns whose change is wanted: numbers, and for differences dates and times.
    columns: Names,
    /// How many rows earlier: a number or several.
    #[serde(default = "one_step")]
    steps: Steps,
    /// What to measure: one or both.
    #[serde(default = "difference")]
    measure: Measures,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Measure {
    /// The value less the earlier one.
    Difference,
    /// The difference as a share of the earlier value.
    Ratio,
}

#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Measures {
    /// One.
    One(Measure),
    /// Several.
    Many(#[schemars(length(min = 1))] Vec<Measure>),
}

fn difference() -> Measures {
    Measures::One(Measure::Difference)
}

register_kind! {
    Diff, "features.diff", version: 1,
    example: "- features.diff: {by: store, over: day, columns: demand, steps: [1, 7], measure: [difference, ratio]}",
}

impl Diff {
    fn measures(&self) -> &[Measure] {
        match &self.measure {
            Measures::One(measure) => std::slice::from_ref(measure),
            Measures::Many(measures) => measures,
        }
    }

    /// This row's value is the last of the window, the earlier one the first.
    fn made(&self, column: &str, steps: u32) -> Made {
        let earlier = || end_of_window(Aggregate::First, column);
        let difference =
            || end_of_window(Aggregate::Last, column).binary(BinaryOperator::Subtract, earlier());
        self.measures()
            .iter()
            .map(|measure| match measure {
                Measure::Difference => (
                    format!("{column}_diff_{steps}"),
                    where_full(steps, difference()),
                ),
                Measure::Ratio => (
                    format!("{column}_change_{steps}"),
                    where_full(
                        steps,
                        difference().binary(BinaryOperator::Divide, earlier()),
                    ),
                ),
            })
            .collect()
    }

    fn shifted<T>(&self, work: impl FnOnce(Shift<'_>) -> T) -> T {
        let made = |column: &str, steps| self.made(column, steps);
        work(Shift {
            by: self.by.as_ref(),
            over: self.over.as_deref(),
            columns: &self.columns,
            steps: &self.steps,
            made: &made,
            frame: WindowFrame::Rows,
        })
    }

    fn fits(&self, column: &Column, path: ParamPath, cx: &mut CheckContext<'_>) -> bool {
        let has_ratio = self.measures().contains(&Measure::Ratio);
        let is_number = column.dtype.is_primitive_numeric();
        let is_time =
            columns::is_instant(&column.dtype) || matches!(column.dtype, DataType::Duration(_));
        if is_number || (is_time && !has_ratio) {
            return true;
        }
        let needs = if has_ratio {
            "numbers to tell a share of"
        } else {
            "numbers, dates or times"
        };
        columns::report_type(column, needs, path, cx);
        false
    }
}

impl Stage for Diff {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let measures = self.measures();
        for (index, measure) in measures.iter().enumerate() {
            if measures[..index].contains(measure) {
                let message = format!("stage `{}` names a measure twice", cx.stage);
                cx.report(
                    Problem::error("duplicate-name", path!["measure", index], message)
                        .label("named before"),
                );
            }
        }
        let fits = |column: &Column, path, cx: &mut CheckContext<'_>| self.fits(column, path, cx);
        self.shifted(|shift| shift.check(inputs, fits, cx))
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Diff {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(self.shifted(|shift| shift.lowered(columns::input(inputs))))
    }
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::TimeUnit};

    use super::*;
    use crate::{
        columns::testing::{codes, passes, schema, stage, types},
        testing::applied,
    };

    #[test]
    fn changes_follow_time_within_the_group() {
        let rows = df!(
            "store" => ["a", "b", "a", "a", "a", "a"],
            "day" => [Some(2_i64), Some(9), Some(1), Some(3), Some(4), None],
            "demand" => [Some(15_i32), Some(7), Some(10), None, Some(0), Some(1)],
            "price" => [0.0, 1.0, 4.0, f64::INFINITY, 5.0, 1.0],
        )
        .expect("a frame");
        let diff: Diff =
            stage("{by: store, over: day, columns: [demand, price], measure: [difference, ratio]}");
        let found = applied(&diff, std::slice::from_ref(&rows)).expect("rows");
        let whole = found.column("demand_diff_1").expect("differences");
        assert_eq!(
            whole.i64().expect("integers").to_vec(),
            [Some(5), None, None, None, None, None]
        );
        let of = |name: &str| {
            found
                .column(name)
                .expect(name)
                .f64()
                .expect("reals")
                .to_vec()
        };
        assert_eq!(
            of("demand_change_1"),
            [Some(0.5), None, None, None, None, None]
        );
        assert_eq!(
            of("price_diff_1"),
            [
                Some(-4.0),
                None,
                None,
                Some(f64::INFINITY),
                Some(f64::NEG_INFINITY),
                None
            ]
        );
        let changes = of("price_change_1");
        assert_eq!(changes[..4], [Some(-1.0), None, None, Some(f64::INFINITY)]);
        assert!(changes[4].is_some_and(f64::is_nan));
        let far: Diff = stage("{by: store, over: day, columns: demand, steps: [3]}");
        let found = applied(&far, &[rows]).expect("rows");
        let whole = found.column("demand_diff_3").expect("differences");
        assert_eq!(
            whole.i64().expect("integers").to_vec(),
            [None, None, None, None, Some(-10), None]
        );
    }

    #[test]
    fn times_differ_by_durations() {
        let at = DataType::Datetime(TimeUnit::Milliseconds, None);
        let input = schema([("at", at), ("day", DataType::Date)]);
        let output = passes(&stage::<Diff>("{over: at, columns: [at, day]}"), &input);
        let duration = DataType::Duration(TimeUnit::Microseconds);
        assert_eq!(
            types(&output)[2..],
            [("at_diff_1", duration.clone()), ("day_diff_1", duration)]
        );
    }

    #[test]
    fn refuses_what_has_no_difference() {
        let input = schema([
            ("day", DataType::Date),
            ("kind", DataType::String),
            ("day_diff_1", DataType::Int64),
        ]);
        assert_eq!(
            codes(&stage::<Diff>("{over: day, columns: [kind, day]}"), &input),
            ["type-mismatch", "name-taken"]
        );
        assert_eq!(
            codes(
                &stage::<Diff>("{over: day, columns: day, measure: [ratio, ratio]}"),
                &input
            ),
            ["duplicate-name", "type-mismatch"]
        );
    }
}
