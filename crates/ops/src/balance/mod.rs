//! `balance.*`: training rows of each class in numbers that a model learns from. Other rows are left as they are.

mod neighbours;
mod oversample;
mod smote;
mod undersample;

use std::{collections::BTreeSet, sync::Arc};

use polars::prelude::{
    AllowedOptimizations, BooleanChunked, DataFrame, IdxCa, IdxSize, PolarsError,
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use taktline_core::{
    CheckContext, Classes, Local, Operation, PARTITION, Partition, Problem, Result, Schema, path,
};

use crate::{columns, training};

/// The rows of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Class {
    label: String,
    /// Its training rows, by their number in the frame.
    rows: Vec<usize>,
}

/// The classes of the training rows, in class order.
fn training_classes(data: &DataFrame, target: &str) -> Result<Vec<Class>> {
    let is_training = is_training(data)?;
    let classes = Classes::of(&data.column(target)?.filter(&is_training)?, None)?;
    let mut found: Vec<Class> = classes
        .labels
        .into_iter()
        .map(|label| Class {
            label,
            rows: Vec::new(),
        })
        .collect();
    let rows = is_training
        .iter()
        .enumerate()
        .filter(|(_, is_training)| *is_training == Some(true));
    for ((row, _), code) in rows.zip(classes.codes) {
        found[code as usize].rows.push(row);
    }
    Ok(found)
}

fn is_training(data: &DataFrame) -> Result<BooleanChunked> {
    let parts = data.column(PARTITION)?.str()?;
    Ok(parts
        .iter()
        .map(|part| Some(part == Some(Partition::Train.label())))
        .collect())
}

/// How many rows each class lacks until it has that share of the rows of the largest.
fn lacking(classes: &[Class], ratio: f64) -> Vec<usize> {
    let largest = classes
        .iter()
        .map(|class| class.rows.len())
        .max()
        .unwrap_or_default();
    let wanted = (ratio * largest as f64).round() as usize;
    classes
        .iter()
        .map(|class| wanted.saturating_sub(class.rows.len()))
        .collect()
}

/// A generator whose stream depends on nothing but the seed.
fn generator(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// So many draws from `size` things: all of them in turn, as often as that goes, and then some of them at random. So none is
/// drawn more than once more often than another.
fn draws(size: usize, count: usize, generator: &mut ChaCha8Rng) -> Vec<usize> {
    let mut left: Vec<usize> = (0..size).collect();
    left.shuffle(generator);
    left.truncate(count.checked_rem(size).unwrap_or_default());
    left.sort_unstable();
    let rounds = count.checked_div(size).unwrap_or_default();
    (0..rounds).flat_map(|_| 0..size).chain(left).collect()
}

/// These rows of the frame, in this order.
fn taken(data: &DataFrame, rows: &[usize]) -> Result<DataFrame> {
    Ok(data.take(&indices(rows))?)
}

fn indices(rows: &[usize]) -> IdxCa {
    rows.iter().map(|row| Some(*row as IdxSize)).collect()
}

/// The schema, which does not change; reports a missing split, a target that has no classes and a ratio that is none.
fn check(target: Option<&str>, ratio: f64, input: &Schema, cx: &mut CheckContext<'_>) -> Schema {
    training::needs_split(input, "only training rows are balanced", cx);
    if let Some((path, column)) = training::target(target, input, cx)
        && !Classes::can_hold(&column.dtype)
    {
        let needs = "a target of classes (text, whole numbers, true or false)";
        columns::report_type(column, needs, path, cx);
    }
    if !(ratio > 0.0 && ratio <= 1.0) {
        cx.report(
            Problem::error(
                "out-of-range",
                path!["ratio"],
                format!("stage `{}` has the ratio {ratio}", cx.stage),
            )
            .label("above 0, at most 1"),
        );
    }
    let mut output = input.clone();
    output.facts.is_balanced = true;
    output
}

/// The operation; none for a frame without parts, which holds rows to score.
///
/// Which rows are drawn depends on all of them, so that this has no relational form.
fn operations(
    name: &'static str,
    target: Option<&str>,
    input: &Schema,
    work: impl Fn(&DataFrame, &str) -> Result<DataFrame> + Send + Sync + 'static,
) -> Vec<Operation> {
    let has = |name: &str| input.names().any(|known| known == name);
    let Some(target) =
        training::target_name(target, input).filter(|target| has(target) && has(PARTITION))
    else {
        return Vec::new();
    };
    let reads = BTreeSet::from([target.clone(), PARTITION.to_owned()]);
    let work = Arc::new(move |data: &DataFrame| work(data, &target));
    vec![Operation::Local(Local {
        name,
        reads,
        keeps_rows: false,
        schema: input.clone(),
        apply: Arc::new(move |frame| {
            let work = Arc::clone(&work);
            let balance = move |data: DataFrame| {
                work(&data).map_err(|error| PolarsError::ComputeError(error.to_string().into()))
            };
            // All columns must be there, and no filter may move above it: it would change which rows are drawn.
            Ok(frame.map(balance, AllowedOptimizations::empty(), None, Some(name)))
        }),
    })]
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;

    #[test]
    fn only_training_rows_count() {
        let data = df!("label" => [Some("b"), Some("a"), None, Some("b")], PARTITION => ["train", "train", "test", "train"])
            .expect("a frame");
        let classes = training_classes(&data, "label").expect("classes");
        let found: Vec<(&str, &[usize])> = classes
            .iter()
            .map(|class| (class.label.as_str(), class.rows.as_slice()))
            .collect();
        assert_eq!(found, [("a", &[1][..]), ("b", &[0, 3])]);
        assert_eq!(lacking(&classes, 1.0), [1, 0]);
        assert_eq!(lacking(&classes, 0.5), [0, 0]);
        let unlabelled =
            df!("label" => [Some("b"), None], PARTITION => ["train", "train"]).expect("a frame");
        let error = training_classes(&unlabelled, "label")
            .expect_err("no label")
            .to_string();
        assert!(
            error.starts_with("`label` has no label in 1 of 2 rows; leave"),
            "{error}"
        );
    }

    #[test]
    fn draws_are_even() {
        let found = draws(3, 8, &mut generator(7));
        assert_eq!(found.len(), 8);
        assert_eq!(found[..6], [0, 1, 2, 0, 1, 2]);
        assert_ne!(found[6], found[7]);
        assert_eq!(draws(3, 8, &mut generator(7)), found);
        assert_eq!(draws(0, 5, &mut generator(7)), Vec::<usize>::new());
        assert_eq!(draws(5, 0, &mut generator(7)), Vec::<usize>::new());
    }
}

/// What the kinds' tests start with.
#[cfg(test)]
mod testing {
    use polars::prelude::{DataFrame, IntoLazy};
    use taktline_core::{Partition, Relational, Result, Role, Schema};

    /// The schema of a frame that was split, with this target.
    pub(super) fn divided(data: &DataFrame, target: &str) -> Schema {
        let mut schema = Schema::from_polars(data.schema());
        schema.facts.partitions = vec![Partition::Train, Partition::Test];
        for column in &mut schema.columns {
            if column.name == target {
                *column = column.clone().with_role(Role::Target);
            } else if column.name == taktline_core::PARTITION {
                column.role = Role::Internal;
            }
        }
        schema
    }

    /// The rows after the stage.
    pub(super) fn balanced(
        stage: &impl Relational,
        data: &DataFrame,
        schema: &Schema,
    ) -> Result<DataFrame> {
        let schemas = std::slice::from_ref(schema);
        let operations = stage.lower(schemas)?;
        Ok(
            taktline_engine::local::apply(&operations, &[data.clone().lazy()], schemas)?
                .collect()?,
        )
    }
}
