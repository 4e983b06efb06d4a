//! `split.random`.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Frame, Partition, Result, Schema, Shape, Split, Stage, register_kind,
};

use super::{Counts, Shares, generator, labelled, shuffled};
use crate::columns;

/// Put a random share of the rows aside for testing.
///
/// The shares are exact, to the nearest row. Where rows are not independent, because they follow each other in time or
/// belong to the same customer, use `split.time` or `split.group`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Random {
    /// The share of the rows for testing.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    test: f64,
    /// The share of the rows for early stopping and the choice of thresholds; default: none.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    validation: Option<f64>,
    /// Another seed gives another split; default: the pipeline's seed.
    seed: Option<u64>,
}

register_kind! {
    Random, "split.random", version: 1,
    example: "- split.random: {test: 0.2, validation: 0.1, seed: 7}",
}

impl Random {
    fn shares(&self) -> Shares {
        Shares::new(self.test, self.validation)
    }
}

impl Stage for Random {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        self.shares().check(cx);
        labelled(columns::input(inputs), self.shares().parts(), cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Split(self)
    }
}

impl Split for Random {
    fn reads(&self, _: &Schema) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn assign(&self, frame: &Frame, seed: u64) -> Result<Vec<Partition>> {
        let rows = frame.data.height();
        let Counts { test, validation } = self.shares().of(rows)?;
        let mut labels = vec![Partition::Train; rows];
        let order = shuffled(
            (0..rows).collect(),
            &mut generator(self.seed.unwrap_or(seed)),
        );
        for (place, row) in order.into_iter().take(test + validation).enumerate() {
            labels[row] = if place < test {
                Partition::Test
            } else {
                Partition::Validation
            };
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use polars::{
        df,
        prelude::{DataFrame, DataType},
    };
    use taktline_core::{PARTITION, Role};

    use super::{super::tests::sizes, *};
    use crate::columns::testing::{codes, frame, passes, refuses, schema, stage};

    fn rows(count: i64) -> DataFrame {
        df!("n" => (0..count).collect::<Vec<_>>()).expect("a frame")
    }

    #[test]
    fn shares_are_exact_and_the_seed_decides() {
        let labels = |params: &str, seed| {
            stage::<Random>(params)
                .assign(&frame(rows(1000)), seed)
                .expect("labels")
        };
        let first = labels("{test: 0.2, validation: 0.1}", 7);
        assert_eq!(sizes(&first), [700, 100, 200]);
        assert_eq!(first, labels("{test: 0.2, validation: 0.1}", 7));
        assert_ne!(first, labels("{test: 0.2, validation: 0.1}", 8));
        // The stage's own seed wins.
        assert_eq!(
            labels("{test: 0.2, seed: 3}", 7),
            labels("{test: 0.2, seed: 3}", 8)
        );
        // Both ends of the file are in both parts.
        assert!(first[..500].contains(&Partition::Test) && first[500..].contains(&Partition::Test));
    }

    #[test]
    fn too_few_rows_are_an_error() {
        let error = stage::<Random>("{test: 0.1}")
            .assign(&frame(rows(3)), 7)
            .expect_err("too few")
            .to_string();
        assert_eq!(
            error,
            "3 rows cannot be split: the test part would get none"
        );
    }

    #[test]
    fn adds_the_label() {
        let output = passes(
            &stage::<Random>("{test: 0.2, validation: 0.1}"),
            &schema([("n", DataType::Int64)]),
        );
        let label = output.column(PARTITION).expect("the label");
        assert_eq!(
            (label.role, &label.dtype),
            (Role::Internal, &DataType::String)
        );
        assert_eq!(
            output.facts.partitions,
            [Partition::Train, Partition::Validation, Partition::Test]
        );
    }

    #[test]
    fn refuses_shares_that_leave_nothing_and_a_second_split() {
        let input = schema([("n", DataType::Int64)]);
        assert_eq!(
            refuses(&stage::<Random>("{test: 0.5, validation: 0.5}"), &input),
            [(
                "bad-shares",
                "stage `this` leaves no rows to learn from".to_owned()
            )]
        );
        let split = passes(&stage::<Random>("{test: 0.2}"), &input);
        assert_eq!(
            codes(&stage::<Random>("{test: 0.2}"), &split),
            ["already-split"]
        );
        let taken = schema([(PARTITION, DataType::String)]);
        assert_eq!(
            codes(&stage::<Random>("{test: 0.2}"), &taken),
            ["reserved-name"]
        );
    }
}
