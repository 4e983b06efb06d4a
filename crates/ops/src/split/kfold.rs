//! `split.kfold`.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, Frame, Partition, Problem, Result, Schema, Shape, Split, Stage, counted,
    path, register_kind,
};

use super::{generator, groups, labelled, parts, shuffled};
use crate::columns::{self, Names};

/// Put one of several folds aside for testing, so that runs with other folds together test every row once: cross-validation.
///
/// The rows are dealt out to the folds at random, so that these differ by one row at most. `fold` says which one is the
/// test part; the same seed gives the same folds whatever `fold` is. With `stratify` every fold has the classes alike,
/// as far as whole rows allow; with `group` no group is in two folds. Null is a class and a group of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KFold {
    /// How many folds.
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 1000))]
    folds: usize,
    /// Which fold is for testing, from 1 on.
    #[serde(default = "first")]
    #[schemars(range(min = 1, max = 1000))]
    fold: usize,
    /// Use the next fold (after the last, the first) for early stopping and the choice of thresholds.
    #[serde(default)]
    validation: bool,
    /// The columns whose values are the classes that every fold should have alike.
    stratify: Option<Names>,
    /// The columns that say which group a row belongs to: no customer, patient or machine is in two folds.
    group: Option<Names>,
    /// Another seed gives other folds; default: the pipeline's seed.
    seed: Option<u64>,
}

fn five() -> usize {
    5
}

fn first() -> usize {
    1
}

register_kind! {
    KFold, "split.kfold", version: 1,
    example: "- split.kfold: {folds: 5, fold: 1, stratify: is_fraud, seed: 7}",
}

impl KFold {
    fn part(&self, fold: usize) -> Partition {
        let tested = self.fold.saturating_sub(1);
        if fold == tested {
            Partition::Test
        } else if self.validation && fold == (tested + 1) % self.folds {
            Partition::Validation
        } else {
            Partition::Train
        }
    }

    /// The fold of each row.
    fn assigned(&self, frame: &Frame, seed: u64) -> Result<Vec<usize>> {
        let rows = frame.data.height();
        let mut generator = generator(self.seed.unwrap_or(seed));
        let classes = match &self.stratify {
            Some(by) => groups(&frame.data, &by.to_vec())?,
            None => vec![(0..rows).collect()],
        };
        let Some(by) = &self.group else {
            // One class after the other, each going on at the fold where the last one ended: so folds stay even.
            let order = classes
                .into_iter()
                .flat_map(|class| shuffled(class, &mut generator));
            let mut folds = vec![0; rows];
            for (place, row) in order.enumerate() {
                folds[row] = place % self.folds;
            }
            return Ok(folds);
        };
        let units = groups(&frame.data, &by.to_vec())?;
        if units.len() < self.folds {
            return Err(Error::data(format!(
                "{} cannot make {} folds without dividing one",
                counted(units.len(), "group"),
                self.folds
            )));
        }
        let mut class_of = vec![0; rows];
        for (class, members) in classes.iter().enumerate() {
            for row in members {
                class_of[*row] = class;
            }
        }
        let sizes: Vec<f64> = classes.iter().map(|class| class.len() as f64).collect();
        Ok(dealt(
            shuffled(units, &mut generator),
            self.folds,
            &class_of,
            &sizes,
        ))
    }
}

/// Whole groups dealt out to folds: the largest first, each to the fold where the shares of the classes in all folds
/// stay most alike; of equally good folds the one with fewest rows, then the first.
fn dealt(
    mut units: Vec<Vec<usize>>,
    folds: usize,
    class_of: &[usize],
    sizes: &[f64],
) -> Vec<usize> {
    // Stable: groups of one size stay in random order.
    units.sort_by_key(|unit| std::cmp::Reverse(unit.len()));
    let mut shares = vec![vec![0.0_f64; sizes.len()]; folds];
    let mut rows = vec![0_usize; folds];
    let mut fold_of = vec![0; class_of.len()];
    for unit in units {
        let mut added = vec![0.0; sizes.len()];
        for row in &unit {
            let class = class_of[*row];
            added[class] += 1.0 / sizes[class];
        }
        // The sum of squared shares is least where they are alike; only this fold's change.
        let cost = |fold: usize| -> f64 {
            let pairs = shares[fold].iter().zip(&added);
            pairs
                .map(|(share, added)| added * (2.0 * share + added))
                .sum()
        };
        let costs: Vec<f64> = (0..folds).map(cost).collect();
        let best = (0..folds)
            .reduce(|best, next| {
                let is_better = costs[next]
                    .total_cmp(&costs[best])
                    .then(rows[next].cmp(&rows[best]))
                    .is_lt();
                if is_better { next } else { best }
            })
            .unwrap_or_default();
        for (share, added) in shares[best].iter_mut().zip(&added) {
            *share += added;
        }
        rows[best] += unit.len();
        for row in unit {
            fold_of[row] = best;
        }
    }
    fold_of
}

impl Stage for KFold {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        if self.fold > self.folds {
            cx.report(
                Problem::error(
                    "out-of-range",
                    path!["fold"],
                    format!(
                        "stage `{}` tests fold {} of {}",
                        cx.stage, self.fold, self.folds
                    ),
                )
                .label(format!("1 to {}", self.folds)),
            );
        }
        if self.validation && self.folds < 3 {
            cx.report(
                Problem::error(
                    "bad-shares",
                    path!["validation"],
                    format!("stage `{}` leaves no rows to learn from", cx.stage),
                )
                .label("one fold is for testing and the other for validation")
                .help("say `folds: 3` or more"),
            );
        }
        for (key, names) in [("stratify", &self.stratify), ("group", &self.group)] {
            let Some(names) = names else { continue };
            for (path, column) in names.find(input, &path![key], cx) {
                if column.dtype.is_nested() || column.dtype.is_float() {
                    let needs = "columns of text, whole numbers, dates or truth values";
                    columns::report_type(column, needs, path, cx);
                }
            }
        }
        labelled(input, parts(self.validation), cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Split(self)
    }
}

impl Split for KFold {
    fn reads(&self, _: &Schema) -> BTreeSet<String> {
        [&self.stratify, &self.group]
            .into_iter()
            .flatten()
            .flat_map(Names::iter)
            .map(str::to_owned)
            .collect()
    }

    fn assign(&self, frame: &Frame, seed: u64) -> Result<Vec<Partition>> {
        let rows = frame.data.height();
        if rows < self.folds {
            return Err(Error::data(format!(
                "{} cannot make {} folds",
                counted(rows, "row"),
                self.folds
            )));
        }
        let folds = self.assigned(frame, seed)?;
        let labels: Vec<Partition> = folds.into_iter().map(|fold| self.part(fold)).collect();
        for part in parts(self.validation) {
            if !labels.contains(&part) {
                return Err(Error::data(format!(
                    "the groups are too uneven for {} folds: the {} part would get none",
                    self.folds,
                    part.label()
                )));
            }
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::DataType};
    use taktline_core::PARTITION;

    use super::{super::tests::sizes, *};
    use crate::columns::testing::{codes, frame, passes, schema, stage};

    /// 103 rows: every fifth is of the rare class, and belongs to one of 13 customers.
    fn rows() -> Frame {
        frame(
            df!(
                "rare" => (0..103).map(|row| row % 5 == 0).collect::<Vec<_>>(),
                "customer" => (0..103).map(|row| (row * row) % 13).collect::<Vec<i32>>(),
            )
            .expect("a frame"),
        )
    }

    fn folds(params: &str) -> Vec<Vec<Partition>> {
        (1..=5)
            .map(|fold| {
                let params = format!("{{fold: {fold}, seed: 3, {params}}}");
                stage::<KFold>(&params).assign(&rows(), 7).expect("labels")
            })
            .collect()
    }

    #[test]
    fn every_row_is_tested_once() {
        for params in [
            "",
            "stratify: rare",
            "group: customer",
            "stratify: rare, group: customer",
        ] {
            let folds = folds(params);
            for row in 0..103 {
                let tested = folds
                    .iter()
                    .filter(|labels| labels[row] == Partition::Test)
                    .count();
                assert_eq!(tested, 1, "{params}");
            }
        }
        for labels in folds("stratify: rare") {
            let [train, none, test] = sizes(&labels);
            assert!(none == 0 && (test == 20 || test == 21) && train + test == 103);
            let rare = (0..103)
                .filter(|row| row % 5 == 0 && labels[*row] == Partition::Test)
                .count();
            assert!(rare == 4 || rare == 5, "{rare}");
        }
    }

    #[test]
    fn the_next_fold_validates() {
        let folds = folds("validation: true");
        for fold in 0..5 {
            for (here, next) in folds[fold].iter().zip(&folds[(fold + 1) % 5]) {
                assert_eq!(*here == Partition::Validation, *next == Partition::Test);
            }
        }
    }

    #[test]
    fn no_group_is_in_two_folds_and_classes_stay_alike() {
        let data = rows();
        let customers = data
            .data
            .column("customer")
            .expect("customers")
            .i32()
            .expect("numbers")
            .clone();
        for params in ["group: customer", "stratify: rare, group: customer"] {
            for labels in folds(params) {
                for row in 0..103 {
                    let first = (0..103)
                        .find(|other| customers.get(*other) == customers.get(row))
                        .expect("itself");
                    assert_eq!(labels[row], labels[first]);
                }
                let [_, _, test] = sizes(&labels);
                assert!((8..=32).contains(&test), "{params} {test}");
            }
        }
        // Ten groups of four: half of them all of one class.
        let even = frame(
            df!("class" => (0..40).map(|row| row < 20).collect::<Vec<_>>(), "unit" => (0..40).map(|row| row / 4).collect::<Vec<i32>>())
                .expect("a frame"),
        );
        let labels = stage::<KFold>("{group: unit, stratify: class, fold: 2}")
            .assign(&even, 7)
            .expect("labels");
        let tested: Vec<usize> = (0..40)
            .filter(|row| labels[*row] == Partition::Test)
            .collect();
        assert_eq!(tested.len(), 8);
        assert_eq!(tested.iter().filter(|row| **row < 20).count(), 4);
    }

    #[test]
    fn the_seed_decides() {
        let labels = |params: &str, seed| {
            stage::<KFold>(params)
                .assign(&rows(), seed)
                .expect("labels")
        };
        assert_eq!(labels("{}", 7), labels("{}", 7));
        assert_ne!(labels("{}", 7), labels("{}", 8));
        assert_eq!(labels("{seed: 1}", 7), labels("{seed: 1}", 8));
    }

    #[test]
    fn too_few_rows_or_groups_are_an_error() {
        let few = frame(df!("g" => [1, 1, 1, 2]).expect("a frame"));
        let error = |params: &str| {
            stage::<KFold>(params)
                .assign(&few, 7)
                .expect_err("too few")
                .to_string()
        };
        assert_eq!(error("{}"), "4 rows cannot make 5 folds");
        assert_eq!(
            error("{folds: 3, group: g}"),
            "2 groups cannot make 3 folds without dividing one"
        );
        assert!(
            stage::<KFold>("{folds: 4, fold: 4}")
                .assign(&few, 7)
                .is_ok()
        );
    }

    #[test]
    fn refuses_folds_that_are_not_there() {
        let input = schema([("price", DataType::Float64), ("label", DataType::String)]);
        assert_eq!(
            codes(
                &stage::<KFold>(
                    "{folds: 2, fold: 3, validation: true, stratify: price, group: lable}"
                ),
                &input
            ),
            [
                "out-of-range",
                "bad-shares",
                "type-mismatch",
                "unknown-column"
            ]
        );
        let output = passes(
            &stage::<KFold>("{validation: true, stratify: label}"),
            &input,
        );
        assert!(output.column(PARTITION).is_some());
        assert_eq!(output.facts.partitions.len(), 3);
    }
}
