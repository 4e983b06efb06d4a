//! `split.time`.

use std::collections::BTreeSet;

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, Frame, Partition, Result, Schema, Shape, Split, Stage, path, register_kind,
};

use super::{Counts, Shares, labelled};
use crate::columns;

/// Put the latest rows aside for testing: learn from the past, judge by what came after.
///
/// The rows are ordered by time: the first are for training, then come those for validation, the last are for testing. Rows
/// of the very same time are never parted: the border moves on to the next time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Time {
    /// The share of the rows for testing.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    test: f64,
    /// The share of the rows for early stopping and the choice of thresholds, just before the test rows; default: none.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    validation: Option<f64>,
    /// The column that orders the rows in time; default: the column with the role `time`.
    over: Option<String>,
}

register_kind! {
    Time, "split.time", version: 1,
    example: "- split.time: {test: 0.2, validation: 0.1, over: at}",
}

impl Time {
    fn shares(&self) -> Shares {
        Shares::new(self.test, self.validation)
    }
}

impl Stage for Time {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        self.shares().check(cx);
        columns::time_column(self.over.as_deref(), input, path!["over"], cx);
        labelled(input, self.shares().parts(), cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Split(self)
    }
}

/// The first time of the part that begins at this place of the ordered times, or the next time where the place would part
/// rows of the same time. None where there is no later time.
fn border(ordered: &[i64], place: usize) -> Option<i64> {
    let before = ordered[place.checked_sub(1)?];
    let next = ordered.partition_point(|at| *at <= before);
    ordered.get(next).copied()
}

impl Split for Time {
    fn reads(&self, input: &Schema) -> BTreeSet<String> {
        columns::time_name(self.over.as_deref(), input)
            .into_iter()
            .collect()
    }

    fn assign(&self, frame: &Frame, _: u64) -> Result<Vec<Partition>> {
        let name = columns::time_name(self.over.as_deref(), &frame.schema)
            .ok_or_else(|| Error::data("no column orders the rows in time"))?;
        let column = frame.data.column(&name)?;
        if column.null_count() > 0 {
            let rows = match column.null_count() {
                1 => "a row, which then belongs".to_owned(),
                count => format!("{count} rows, which then belong"),
            };
            return Err(Error::data(format!(
                "`{name}` is null in {rows} to no time; drop them first with `clean.drop_nulls`"
            )));
        }
        let times = column.to_physical_repr().strict_cast(&DataType::Int64)?;
        let times: Vec<i64> = times.i64()?.iter().flatten().collect();
        let Counts { test, validation } = self.shares().of(times.len())?;
        let mut ordered = times.clone();
        ordered.sort_unstable();
        let too_few = || {
            Error::data(format!(
                "`{name}` has too few different times to split by: a border would part rows of the same time"
            ))
        };
        let tested_from = border(&ordered, times.len() - test).ok_or_else(too_few)?;
        let validated_from = match self.validation {
            None => tested_from,
            Some(_) => {
                let place = times.len() - test - validation;
                border(&ordered, place)
                    .filter(|from| *from < tested_from)
                    .ok_or_else(too_few)?
            }
        };
        Ok(times
            .into_iter()
            .map(|at| match at {
                at if at >= tested_from => Partition::Test,
                at if at >= validated_from => Partition::Validation,
                _ => Partition::Train,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use polars::{
        df,
        prelude::{Column, DataFrame, NamedFrom, Series, TimeUnit},
    };
    use taktline_core::Role;

    use super::{super::tests::sizes, *};
    use crate::columns::testing::{codes, frame, passes, schema, stage};

    fn steps(values: &[i64]) -> DataFrame {
        df!("step" => values).expect("a frame")
    }

    fn labels(params: &str, values: &[i64]) -> Result<Vec<Partition>> {
        stage::<Time>(params).assign(&frame(steps(values)), 7)
    }

    #[test]
    fn the_last_rows_in_time_are_for_testing() {
        use Partition::{Test, Train, Validation};
        let found =
            labels("{test: 0.4, validation: 0.2, over: step}", &[5, 1, 4, 2, 3]).expect("labels");
        assert_eq!(found, [Test, Train, Test, Train, Validation]);
    }

    #[test]
    fn equal_times_stay_together() {
        let found =
            labels("{test: 0.4, over: step}", &[1, 2, 3, 3, 3, 3, 3, 4, 5, 6]).expect("labels");
        // The border at the seventh row would part the threes: it moves on to 4.
        assert_eq!(sizes(&found), [7, 0, 3]);
        // Here it falls between two times and stays.
        let found =
            labels("{test: 0.4, over: step}", &[1, 1, 1, 1, 1, 1, 2, 2, 2, 2]).expect("labels");
        assert_eq!(sizes(&found), [6, 0, 4]);
    }

    #[test]
    fn says_when_it_cannot_part_the_rows() {
        let error = labels("{test: 0.2, over: step}", &[1, 1, 2, 2, 2, 2])
            .expect_err("the last times are equal");
        assert!(
            error
                .to_string()
                .starts_with("`step` has too few different times"),
            "{error}"
        );
        assert!(
            labels(
                "{test: 0.25, validation: 0.25, over: step}",
                &[1, 2, 2, 2, 2, 2, 3, 3]
            )
            .is_err()
        );
    }

    #[test]
    fn dates_are_times_and_null_is_none() {
        let days = Series::new("day".into(), [Some(3_i32), Some(1), None, Some(2)])
            .cast(&DataType::Date)
            .expect("dates");
        let with_null = DataFrame::new(4, vec![Column::from(days.clone())]).expect("a frame");
        let mut with_null = frame(with_null);
        with_null.schema.columns[0].role = Role::Time;
        let error = stage::<Time>("{test: 0.3}")
            .assign(&with_null, 7)
            .expect_err("a null time");
        assert!(
            error.to_string().starts_with("`day` is null in a row"),
            "{error}"
        );
        let whole = Frame {
            data: DataFrame::new(3, vec![Column::from(days.drop_nulls())]).expect("a frame"),
            ..with_null
        };
        let found = stage::<Time>("{test: 0.3}")
            .assign(&whole, 7)
            .expect("labels");
        assert_eq!(found, [Partition::Test, Partition::Train, Partition::Train]);
    }

    #[test]
    fn needs_a_time_column() {
        let input = schema([
            ("at", DataType::Datetime(TimeUnit::Microseconds, None)),
            ("amount", DataType::Float64),
        ]);
        assert_eq!(
            codes(&stage::<Time>("{test: 0.2}"), &input),
            ["no-time-column"]
        );
        assert_eq!(
            codes(&stage::<Time>("{test: 0.2, over: amount}"), &input),
            ["type-mismatch"]
        );
        assert_eq!(
            codes(
                &stage::<Time>("{test: 0.8, validation: 0.3, over: att}"),
                &input
            ),
            ["bad-shares", "unknown-column"]
        );
        passes(&stage::<Time>("{test: 0.2, over: at}"), &input);
    }
}
