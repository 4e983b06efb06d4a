//! `split.group`.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, Frame, Partition, Result, Schema, Shape, Split, Stage, counted, path,
    register_kind,
};

use super::{Shares, generator, groups, labelled, shuffled};
use crate::columns::{self, Names};

/// Put whole groups of rows aside for testing: no customer, patient or machine is in two parts.
///
/// Groups are taken in random order until a part holds its share of the rows, as nearly as whole groups allow. Rows without a
/// group (null) are one group together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Group {
    /// The columns that say which group a row belongs to.
    by: Names,
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
    Group, "split.group", version: 1,
    example: "- split.group: {by: patient, test: 0.2, seed: 7}",
}

impl Group {
    fn shares(&self) -> Shares {
        Shares::new(self.test, self.validation)
    }
}

/// Takes groups for a part that wants so many rows, and leaves at least so many groups: those taken, and the rest.
///
/// A group is taken where it brings the part nearer to what it wants. Where all are too large, it is the smallest.
fn take(
    waiting: Vec<Vec<usize>>,
    wanted: usize,
    leave: usize,
) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
    let spare = waiting.len().saturating_sub(leave);
    let (mut taken, mut rest) = (Vec::new(), Vec::new());
    let mut rows = 0_usize;
    for group in waiting {
        let with = rows + group.len();
        if taken.len() < spare && rows < wanted && with.abs_diff(wanted) < rows.abs_diff(wanted) {
            rows = with;
            taken.push(group);
        } else {
            rest.push(group);
        }
    }
    if taken.is_empty()
        && spare > 0
        && let Some(smallest) = (0..rest.len()).min_by_key(|&place| rest[place].len())
    {
        taken.push(rest.remove(smallest));
    }
    (taken, rest)
}

impl Stage for Group {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        self.shares().check(cx);
        for (path, column) in self.by.find(input, &path!["by"], cx) {
            if column.dtype.is_nested() || column.dtype.is_float() {
                columns::report_type(
                    column,
                    "columns of text, whole numbers, dates or truth values to group by",
                    path,
                    cx,
                );
            }
        }
        labelled(input, self.shares().parts(), cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Split(self)
    }
}

impl Split for Group {
    fn reads(&self, _: &Schema) -> BTreeSet<String> {
        self.by.iter().map(str::to_owned).collect()
    }

    fn assign(&self, frame: &Frame, seed: u64) -> Result<Vec<Partition>> {
        let rows = frame.data.height();
        let groups = groups(&frame.data, &self.by.to_vec())?;
        let parts = self.shares().parts().len();
        if groups.len() < parts {
            return Err(Error::data(format!(
                "{} cannot be split into {parts} parts without dividing one",
                counted(groups.len(), "group")
            )));
        }
        let wanted = |share: f64| (share * rows as f64).round() as usize;
        let waiting = shuffled(groups, &mut generator(self.seed.unwrap_or(seed)));
        let (tested, waiting) = take(waiting, wanted(self.test), parts - 1);
        let validated = self
            .validation
            .map(|share| take(waiting, wanted(share), 1).0)
            .unwrap_or_default();
        let mut labels = vec![Partition::Train; rows];
        for (taken, part) in [
            (tested, Partition::Test),
            (validated, Partition::Validation),
        ] {
            for row in taken.into_iter().flatten() {
                labels[row] = part;
            }
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::DataType};

    use super::{super::tests::sizes, *};
    use crate::columns::testing::{codes, frame, passes, schema, stage};

    /// Groups of these sizes, their rows taking turns.
    fn patients(sizes: &[usize]) -> Vec<i64> {
        let most = sizes.iter().max().copied().unwrap_or_default();
        (0..most)
            .flat_map(|turn| {
                sizes
                    .iter()
                    .zip(0_i64..)
                    .filter(move |(size, _)| turn < **size)
                    .map(|(_, id)| id)
            })
            .collect()
    }

    fn labels(params: &str, ids: &[i64], seed: u64) -> Result<Vec<Partition>> {
        stage::<Group>(params).assign(&frame(df!("patient" => ids).expect("a frame")), seed)
    }

    #[test]
    fn no_group_is_in_two_parts() {
        let ids = patients(&[3; 100]);
        let found = labels("{by: patient, test: 0.2, validation: 0.1}", &ids, 7).expect("labels");
        assert_eq!(sizes(&found), [210, 30, 60]);
        for (row, id) in ids.iter().enumerate() {
            let first = ids.iter().position(|other| other == id).expect("itself");
            assert_eq!(found[row], found[first]);
        }
        assert_eq!(
            found,
            labels("{by: patient, test: 0.2, validation: 0.1}", &ids, 7).expect("labels")
        );
        assert_ne!(
            found,
            labels("{by: patient, test: 0.2, validation: 0.1}", &ids, 8).expect("labels")
        );
    }

    #[test]
    fn uneven_groups_come_as_near_as_they_can() {
        for seed in 0..20 {
            // A group of 60 rows never goes into a test part of 10.
            let found = labels(
                "{by: patient, test: 0.1}",
                &patients(&[60, 10, 10, 10, 10]),
                seed,
            )
            .expect("labels");
            assert_eq!(sizes(&found), [90, 0, 10]);
            // Two groups of a half each: one is the test part.
            let found =
                labels("{by: patient, test: 0.1}", &patients(&[5, 5]), seed).expect("labels");
            assert_eq!(sizes(&found), [5, 0, 5]);
        }
    }

    #[test]
    fn every_part_has_a_group() {
        for seed in 0..20 {
            let found = labels(
                "{by: patient, test: 0.9, validation: 0.05}",
                &patients(&[1, 1, 1]),
                seed,
            )
            .expect("labels");
            assert_eq!(sizes(&found), [1, 1, 1]);
        }
        let error = labels("{by: patient, test: 0.2}", &[1, 1, 1], 7)
            .expect_err("one group")
            .to_string();
        assert_eq!(
            error,
            "1 group cannot be split into 2 parts without dividing one"
        );
    }

    #[test]
    fn refuses_unknown_and_unfit_columns() {
        let input = schema([("patient", DataType::Int64), ("dose", DataType::Float64)]);
        passes(&stage::<Group>("{by: patient, test: 0.2}"), &input);
        assert_eq!(
            codes(&stage::<Group>("{by: [patien, dose], test: 0.2}"), &input),
            ["unknown-column", "type-mismatch"]
        );
    }
}
