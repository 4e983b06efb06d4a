//! `split.*`: which rows are learned from, and which only judge.

mod column;
mod group;
mod kfold;
mod random;
mod stratified;
mod time;

use polars::prelude::{DataFrame, DataType, GroupsIndicator};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use taktline_core::{
    CheckContext, Column, Error, PARTITION, ParamPath, Partition, Problem, Result, Role, Schema,
    counted, path,
};

/// The shares of the rows that go into the test and the validation part.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shares {
    test: f64,
    validation: Option<f64>,
}

/// How many rows, or groups of rows, each part gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    test: usize,
    validation: usize,
}

impl Shares {
    fn new(test: f64, validation: Option<f64>) -> Self {
        Self { test, validation }
    }

    /// Reports shares that leave nothing to learn from. Each share by itself is held against the params' schema.
    fn check(self, cx: &mut CheckContext<'_>) {
        let Some(validation) = self.validation else {
            return;
        };
        let together = self.test + validation;
        if together >= 1.0 {
            cx.report(
                Problem::error(
                    "bad-shares",
                    path!["validation"],
                    format!("stage `{}` leaves no rows to learn from", cx.stage),
                )
                .label(format!(
                    "with `test: {}` this takes {together} of the rows",
                    self.test
                ))
                .help("test and validation together must be less than 1"),
            );
        }
    }

    /// The parts that there will be.
    fn parts(self) -> Vec<Partition> {
        parts(self.validation.is_some())
    }

    /// How many of these rows each part gets, to the nearest row.
    ///
    /// # Errors
    /// A part that would get none.
    fn of(self, rows: usize) -> Result<Counts> {
        let share = |share: f64| (share * rows as f64).round() as usize;
        let counts = Counts {
            test: share(self.test),
            validation: self.validation.map(share).unwrap_or_default(),
        };
        let none = |part: Partition| {
            Error::data(format!(
                "{} cannot be split: the {} part would get none",
                counted(rows, "row"),
                part.label()
            ))
        };
        if counts.test == 0 {
            return Err(none(Partition::Test));
        }
        if self.validation.is_some() && counts.validation == 0 {
            return Err(none(Partition::Validation));
        }
        if counts.test + counts.validation >= rows {
            return Err(none(Partition::Train));
        }
        Ok(counts)
    }
}

fn parts(has_validation: bool) -> Vec<Partition> {
    let mut parts = vec![Partition::Train, Partition::Test];
    if has_validation {
        parts.insert(1, Partition::Validation);
    }
    parts
}

/// The schema after a split into these parts; a second split, and a column in the way, are reported.
fn labelled(input: &Schema, parts: Vec<Partition>, cx: &mut CheckContext<'_>) -> Schema {
    if !input.facts.partitions.is_empty() {
        cx.report(
            Problem::error(
                "already-split",
                ParamPath::kind(),
                format!("stage `{}` splits rows that are split already", cx.stage),
            )
            .label("there is a split above")
            .help("keep one split; `validation: 0.1` in it gives a third part"),
        );
    } else if input.column(PARTITION).is_some() {
        cx.report(
            Problem::error(
                "reserved-name",
                ParamPath::kind(),
                format!("stage `{}` labels the rows in `{PARTITION}`, which its input already has", cx.stage),
            )
            .label(format!("makes the column `{PARTITION}`"))
            .help(format!("rename or drop `{PARTITION}` above; `split.column` can take its values as the parts")),
        );
    }
    let mut output = input.clone();
    output.set(Column::new(PARTITION, DataType::String).with_role(Role::Internal));
    output.facts.partitions = parts;
    output
}

/// A generator whose stream depends on nothing but the seed.
fn generator(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// These in a random order: with a good generator each order is as likely.
fn shuffled<T>(mut items: Vec<T>, generator: &mut ChaCha8Rng) -> Vec<T> {
    items.shuffle(generator);
    items
}

/// The rows of each different value of these columns, in order of first appearance; null is a value.
fn groups(data: &DataFrame, by: &[String]) -> Result<Vec<Vec<usize>>> {
    let groups = data.group_by_stable(by)?.into_groups();
    Ok(groups
        .iter()
        .map(|group| match group {
            GroupsIndicator::Idx((_, rows)) => rows.iter().map(|row| *row as usize).collect(),
            GroupsIndicator::Slice([first, length]) => {
                (first as usize..(first + length) as usize).collect()
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;

    /// How many rows have each label: train, validation, test.
    pub(super) fn sizes(labels: &[Partition]) -> [usize; 3] {
        [Partition::Train, Partition::Validation, Partition::Test]
            .map(|part| labels.iter().filter(|label| **label == part).count())
    }

    #[test]
    fn shares_become_whole_rows() {
        assert_eq!(
            Shares::new(0.25, None).of(10).expect("counts"),
            Counts {
                test: 3,
                validation: 0
            }
        );
        assert_eq!(
            Shares::new(0.2, Some(0.1)).of(10_000).expect("counts"),
            Counts {
                test: 2000,
                validation: 1000
            }
        );
        let error = |shares: Shares, rows| shares.of(rows).expect_err("too few").to_string();
        assert_eq!(
            error(Shares::new(0.1, None), 4),
            "4 rows cannot be split: the test part would get none"
        );
        assert_eq!(
            error(Shares::new(0.5, Some(0.1)), 4),
            "4 rows cannot be split: the validation part would get none"
        );
        assert_eq!(
            error(Shares::new(0.9, None), 1),
            "1 row cannot be split: the train part would get none"
        );
        assert!(Shares::new(0.2, None).of(0).is_err());
    }

    #[test]
    fn groups_come_in_order_of_first_appearance() {
        let data = df!("a" => [Some("y"), Some("x"), None, Some("y")], "b" => [1, 1, 1, 2])
            .expect("a frame");
        assert_eq!(
            groups(&data, &["a".into()]).expect("groups"),
            [vec![0, 3], vec![1], vec![2]]
        );
        assert_eq!(
            groups(&data, &["a".into(), "b".into()])
                .expect("groups")
                .len(),
            4
        );
        assert_eq!(
            groups(&data, &["b".into()]).expect("groups"),
            [vec![0, 1, 2], vec![3]]
        );
    }
}
