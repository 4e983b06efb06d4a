//! `balance.undersample`.

use polars::prelude::BooleanChunked;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Operation, Relational, Result, Schema, Shape, Stage, register_kind,
};

use super::{check, draws, generator, operations, training_classes};
use crate::columns;

/// Leave out training rows of the larger classes, so that a model does not see little else.
///
/// Each class keeps at most as many training rows as the smallest has, divided by `ratio`; which ones is decided at
/// random. The rows stay in their order. Rows for validation and testing stay as they are; scoring does not leave
/// anything out. Needs a `split.*` above.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Undersample {
    /// The column whose classes are balanced; default: the column with the role `target`.
    target: Option<String>,
    /// How many rows the smallest class has, as a share of those that a larger one keeps.
    #[serde(default = "as_many")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    ratio: f64,
    /// Another seed chooses other rows.
    #[serde(default)]
    seed: u64,
}

fn as_many() -> f64 {
    1.0
}

register_kind! {
    Undersample, "balance.undersample", version: 1,
    example: "- balance.undersample: {target: is_fraud, ratio: 0.1, seed: 7}",
}

impl Stage for Undersample {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        check(
            self.target.as_deref(),
            self.ratio,
            columns::input(inputs),
            cx,
        )
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Undersample {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let (ratio, seed) = (self.ratio, self.seed);
        let input = columns::input(inputs);
        Ok(operations(
            "leave out rows of large classes",
            self.target.as_deref(),
            input,
            move |data, target| {
                let classes = training_classes(data, target)?;
                let smallest = classes
                    .iter()
                    .map(|class| class.rows.len())
                    .min()
                    .unwrap_or_default();
                let wanted = (smallest as f64 / ratio).round() as usize;
                let mut generator = generator(seed);
                let mut is_kept = vec![true; data.height()];
                for class in classes.iter().filter(|class| class.rows.len() > wanted) {
                    for row in &class.rows {
                        is_kept[*row] = false;
                    }
                    for place in draws(class.rows.len(), wanted, &mut generator) {
                        is_kept[class.rows[place]] = true;
                    }
                }
                let is_kept: BooleanChunked = is_kept.into_iter().map(Some).collect();
                Ok(data.filter(&is_kept)?)
            },
        ))
    }

    fn is_training_only(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use polars::{df, prelude::DataFrame};
    use taktline_core::PARTITION;

    use super::{
        super::testing::{balanced, divided},
        *,
    };
    use crate::{columns::testing::stage, testing::run};

    /// 60 rows of a and 6 of b for training, 6 of a for testing.
    fn rows() -> DataFrame {
        let label = |row: i32| if row % 12 == 11 { "b" } else { "a" };
        let part = |row: i32| if row % 12 == 5 { "test" } else { "train" };
        df!(
            "id" => (0..72).collect::<Vec<i32>>(),
            "label" => (0..72).map(label).collect::<Vec<_>>(),
            PARTITION => (0..72).map(part).collect::<Vec<_>>(),
        )
        .expect("a frame")
    }

    fn kept(params: &str) -> (Vec<i32>, [usize; 3]) {
        let data = rows();
        let found = balanced(
            &stage::<Undersample>(params),
            &data,
            &divided(&data, "label"),
        )
        .expect("rows");
        let ids: Vec<i32> = found
            .column("id")
            .expect("ids")
            .i32()
            .expect("numbers")
            .iter()
            .flatten()
            .collect();
        let tested = ids.iter().filter(|id| *id % 12 == 5).count();
        let bs = ids.iter().filter(|id| *id % 12 == 11).count();
        let sizes = [ids.len() - tested - bs, bs, tested];
        (ids, sizes)
    }

    #[test]
    fn large_classes_lose_rows_and_the_order_stays() {
        let (ids, sizes) = kept("{seed: 3}");
        assert_eq!(sizes, [6, 6, 6]);
        assert!(ids.is_sorted());
        assert_eq!(kept("{ratio: 0.2}").1, [30, 6, 6]);
        assert_eq!(kept("{ratio: 0.01}").1, [60, 6, 6]);
        assert_eq!(kept("{seed: 3}").0, ids);
        assert_ne!(kept("{seed: 4}").0, ids);
    }

    #[test]
    fn a_stage_below_sees_only_the_rows_that_are_left() {
        let directory = tempfile::tempdir().expect("a folder");
        let mut text = "n,label,part\n".to_owned();
        for row in 0..40 {
            // The large class lies at 100, the small one at 0; test rows are far away.
            let (n, label, part) = match row % 10 {
                0 => (0, "b", "train"),
                9 => (1_000_000, "a", "test"),
                _ => (100, "a", "train"),
            };
            text.push_str(&format!("{n}.0,{label},{part}\n"));
        }
        fs::write(directory.path().join("rows.csv"), text).expect("a file");
        let yaml = "pipeline: test\ncolumns:\n  label: {role: target}\nstages:\n  - source.csv: {path: rows.csv}\n  - split.column: {column: part}\n  - balance.undersample: {}\n  - features.min_max: {columns: n}\n";
        let found = run(yaml, directory.path()).expect("rows");
        assert_eq!(found.height(), 4 + 4 + 4);
        let scaled: Vec<f64> = found
            .column("n")
            .expect("n")
            .f64()
            .expect("numbers")
            .iter()
            .flatten()
            .collect();
        assert_eq!(scaled.iter().filter(|value| **value == 1.0).count(), 4);
        assert_eq!(scaled.iter().filter(|value| **value == 0.0).count(), 4);
        let unsplit = yaml.replace("  - split.column: {column: part}\n", "");
        let error = run(&unsplit, directory.path()).expect_err("no split");
        assert!(error.contains("no-split"), "{error}");
    }

    #[test]
    fn one_class_and_no_rows_stay_as_they_are() {
        let one = df!("label" => [true, true], PARTITION => ["train", "test"]).expect("a frame");
        for data in [one.clone(), one.head(Some(0))] {
            let found = balanced(&stage::<Undersample>("{}"), &data, &divided(&data, "label"))
                .expect("rows");
            assert_eq!(found, data);
        }
    }
}
