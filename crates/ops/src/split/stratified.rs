//! `split.stratified`.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, Frame, ParamPath, Partition, Problem, Result, Role, Schema, Shape, Split,
    Stage, path, register_kind,
};

use super::{Counts, Shares, generator, groups, labelled, shuffled};
use crate::columns::{self, Names};

/// Put a random share of the rows of each class aside for testing, so that all parts hold the classes alike.
///
/// Every class gets its share, to the nearest row; one with at least two rows is in the training and in the test part, one
/// with at least three also in the validation part. A class with a single row goes to training.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Stratified {
    /// The share of the rows for testing.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    test: f64,
    /// The share of the rows for early stopping and the choice of thresholds; default: none.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    validation: Option<f64>,
    /// The columns whose values are the classes; default: the target.
    by: Option<Names>,
    /// Another seed gives another split; default: the pipeline's seed.
    seed: Option<u64>,
}

register_kind! {
    Stratified, "split.stratified", version: 1,
    example: "- split.stratified: {test: 0.25, by: is_fraud, seed: 7}",
}

impl Stratified {
    fn shares(&self) -> Shares {
        Shares::new(self.test, self.validation)
    }

    fn by(&self, input: &Schema) -> Vec<String> {
        match &self.by {
            Some(by) => by.to_vec(),
            None => input
                .target()
                .map(|column| column.name.clone())
                .into_iter()
                .collect(),
        }
    }

    fn check_strata(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        let strata = match &self.by {
            Some(by) => by.find(input, &path!["by"], cx),
            None => match input.target() {
                Some(target) => vec![(ParamPath::kind(), target)],
                None => {
                    let found = columns::declared_with(input, Role::Target, "target");
                    cx.report(
                        Problem::error(
                            "no-target",
                            ParamPath::kind(),
                            format!("stage `{}` does not know whose classes to keep: {found}", cx.stage),
                        )
                        .help("declare a target under `columns:` as `{role: target}`, or name a column with `by`"),
                    );
                    Vec::new()
                }
            },
        };
        for (path, column) in strata {
            if column.dtype.is_nested() || column.dtype.is_float() {
                let needs = "classes (for real numbers use `split.random` or `split.time`)";
                columns::report_type(column, needs, path, cx);
            }
        }
    }
}

/// How many rows of each class go into each part.
///
/// All classes together get the share of all rows: each gets its share rounded down, and those that lost most by it one more
/// (Hamilton's method of the largest remainder). Then each part gets at least one row of each class that has enough.
fn allot(sizes: &[usize], shares: Shares, counts: Counts) -> Vec<Counts> {
    let parts = if shares.validation.is_some() { 3 } else { 2 };
    let test = by_largest_remainder(sizes, shares.test, counts.test);
    let validation = by_largest_remainder(
        sizes,
        shares.validation.unwrap_or_default(),
        counts.validation,
    );
    sizes
        .iter()
        .zip(test.into_iter().zip(validation))
        .map(|(&size, (test, validation))| {
            if size < 2 {
                return Counts {
                    test: 0,
                    validation: 0,
                };
            }
            let least = usize::from(size >= parts);
            // What others must keep: a row for training, and one for validation where there is such a part.
            let mut validation = if parts == 3 { validation.max(least) } else { 0 };
            let test = test.max(1).min(size - 1 - least.min(validation));
            validation = validation.min(size - 1 - test);
            Counts { test, validation }
        })
        .collect()
}

fn by_largest_remainder(sizes: &[usize], share: f64, total: usize) -> Vec<usize> {
    let exact: Vec<f64> = sizes.iter().map(|size| *size as f64 * share).collect();
    let mut counts: Vec<usize> = exact.iter().map(|count| count.floor() as usize).collect();
    let missing = total.saturating_sub(counts.iter().sum());
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by(|&left, &right| {
        (exact[right].fract())
            .total_cmp(&exact[left].fract())
            .then(left.cmp(&right))
    });
    for stratum in order.into_iter().take(missing) {
        counts[stratum] += 1;
    }
    counts
}

impl Stage for Stratified {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        self.shares().check(cx);
        self.check_strata(input, cx);
        labelled(input, self.shares().parts(), cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Split(self)
    }
}

impl Split for Stratified {
    fn reads(&self, input: &Schema) -> BTreeSet<String> {
        self.by(input).into_iter().collect()
    }

    fn assign(&self, frame: &Frame, seed: u64) -> Result<Vec<Partition>> {
        let by = self.by(&frame.schema);
        if by.is_empty() {
            return Err(Error::data("no column says which class a row is of"));
        }
        let rows = frame.data.height();
        let counts = self.shares().of(rows)?;
        let strata = groups(&frame.data, &by)?;
        let sizes: Vec<usize> = strata.iter().map(Vec::len).collect();
        let mut generator = generator(self.seed.unwrap_or(seed));
        let mut labels = vec![Partition::Train; rows];
        for (stratum, Counts { test, validation }) in
            strata.into_iter().zip(allot(&sizes, self.shares(), counts))
        {
            let order = shuffled(stratum, &mut generator);
            for (place, row) in order.into_iter().take(test + validation).enumerate() {
                labels[row] = if place < test {
                    Partition::Test
                } else {
                    Partition::Validation
                };
            }
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::DataType};

    use super::{super::tests::sizes, *};
    use crate::columns::testing::{codes, frame, passes, refuses, schema, stage};

    fn classes(counts: &[(&str, usize)]) -> Frame {
        let labels: Vec<String> = counts
            .iter()
            .flat_map(|(label, count)| std::iter::repeat_n((*label).to_owned(), *count))
            .collect();
        let mut frame = frame(df!("label" => labels).expect("a frame"));
        frame.schema.columns[0].role = Role::Target;
        frame
    }

    #[test]
    fn every_class_gets_its_share() {
        let frame = classes(&[("a", 80), ("b", 15), ("c", 5)]);
        let labels = stage::<Stratified>("{test: 0.2}")
            .assign(&frame, 7)
            .expect("labels");
        assert_eq!(sizes(&labels[..80]), [64, 0, 16]);
        assert_eq!(sizes(&labels[80..95]), [12, 0, 3]);
        assert_eq!(sizes(&labels[95..]), [4, 0, 1]);
        assert_eq!(
            labels,
            stage::<Stratified>("{test: 0.2}")
                .assign(&frame, 7)
                .expect("labels")
        );
        assert_ne!(
            labels,
            stage::<Stratified>("{test: 0.2}")
                .assign(&frame, 8)
                .expect("labels")
        );
    }

    #[test]
    fn shares_are_exact_over_all_classes() {
        // A quarter of 7, 7 and 6 rows: 1.75, 1.75 and 1.5, together 5.
        let labels = stage::<Stratified>("{test: 0.25}")
            .assign(&classes(&[("a", 7), ("b", 7), ("c", 6)]), 7);
        let labels = labels.expect("labels");
        assert_eq!(sizes(&labels), [15, 0, 5]);
        assert_eq!(sizes(&labels[14..]), [5, 0, 1]);
    }

    #[test]
    fn rare_classes_are_in_every_part_that_they_can_fill() {
        let frame = classes(&[("common", 994), ("three", 3), ("two", 2), ("one", 1)]);
        let labels = stage::<Stratified>("{test: 0.1, validation: 0.1}")
            .assign(&frame, 7)
            .expect("labels");
        assert_eq!(sizes(&labels[994..997]), [1, 1, 1]);
        assert_eq!(sizes(&labels[997..999]), [1, 0, 1]);
        assert_eq!(sizes(&labels[999..]), [1, 0, 0]);
        let labels = stage::<Stratified>("{test: 0.9}")
            .assign(&frame, 7)
            .expect("labels");
        assert_eq!(sizes(&labels[997..999]), [1, 0, 1]);
    }

    #[test]
    fn allots_never_more_than_there_is() {
        for size in 0..40 {
            for (test, validation) in [(0.01, 0.01), (0.1, 0.8), (0.8, 0.1), (0.45, 0.45)] {
                let shares = Shares::new(test, Some(validation));
                let whole = |share: f64| (share * size as f64).round() as usize;
                let counts = Counts {
                    test: whole(test),
                    validation: whole(validation),
                };
                let Counts { test, validation } = allot(&[size], shares, counts)[0];
                assert!(test + validation < size.max(1), "{size}");
                assert_eq!(test >= 1, size >= 2, "{size}");
                assert_eq!(validation >= 1, size >= 3, "{size}");
            }
        }
    }

    #[test]
    fn several_columns_make_the_classes() {
        let data =
            df!("a" => ["x", "x", "y", "y", "x", "x", "y", "y"], "b" => [1, 2, 1, 2, 1, 2, 1, 2])
                .expect("a frame");
        let labels = stage::<Stratified>("{test: 0.5, by: [a, b]}")
            .assign(&frame(data), 7)
            .expect("labels");
        for first in 0..4 {
            assert_ne!(labels[first], labels[first + 4]);
        }
    }

    #[test]
    fn needs_classes() {
        let input = schema([("price", DataType::Float64), ("label", DataType::String)]);
        assert_eq!(
            refuses(&stage::<Stratified>("{test: 0.2}"), &input),
            [(
                "no-target",
                "stage `this` does not know whose classes to keep: no column has the role `target`"
                    .to_owned()
            )]
        );
        assert_eq!(
            codes(
                &stage::<Stratified>("{test: 0.2, by: [price, lable]}"),
                &input
            ),
            ["unknown-column", "type-mismatch"]
        );
        passes(&stage::<Stratified>("{test: 0.2, by: label}"), &input);
    }
}
