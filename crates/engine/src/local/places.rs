//! Rows that carry their place with them, so that joins on the way need not keep it.
//!
//! A join that keeps the order of its left side has to build its table from the right side, even where that has twenty million
//! rows and the left one million. Rows that all come together in memory at the end are numbered before instead, joined in
//! whatever order is quickest, and put into their order then: by the row of the left, and for each by the row of the right.

use std::ops::ControlFlow;

use polars::prelude::{
    Column as Values, DataFrame, IDX_DTYPE, IdxSize, LazyFrame, PolarsResult, SortMultipleOptions,
};
use taktline_core::{Cardinality, Column, Expression, JoinKind, Operation, Schema};

/// No name that a spec can write.
const PLACE: &str = "\u{1}place ";

/// The columns in which rows carry their place; the first counts most.
#[derive(Debug)]
pub(crate) struct Places(Vec<String>);

impl Places {
    /// The frame with its rows numbered.
    pub(crate) fn begin(frame: LazyFrame, mut schema: Schema) -> (LazyFrame, Schema, Self) {
        let mut places = Self(Vec::new());
        let frame = places.number(frame, &mut schema);
        (frame, schema, places)
    }

    fn number(&mut self, frame: LazyFrame, schema: &mut Schema) -> LazyFrame {
        let name = format!("{PLACE}{}", self.0.len());
        schema.columns.push(Column::new(&name, IDX_DTYPE));
        let frame = frame.with_row_index(&name, None);
        self.0.push(name);
        frame
    }

    /// The columns' names.
    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether rows in whatever order come out of these operations as they would in their own, but for the order.
    pub(crate) fn survive(operations: &[Operation]) -> bool {
        operations.iter().all(|operation| match operation {
            Operation::Project(_)
            | Operation::With(_)
            | Operation::Filter(_)
            | Operation::Mark { .. } => true,
            // Which rows of the left have the same key is told by their numbers, and a full join's last rows have none.
            Operation::Join { kind, expect, .. } => {
                *kind != JoinKind::Full
                    && !matches!(expect, Cardinality::OneToOne | Cardinality::OneToMany)
            }
            _ => false,
        })
    }

    /// The operations on these inputs with the places passed on, and those of joined rows put behind them.
    pub(crate) fn carried(
        &mut self,
        operations: &[Operation],
        inputs: &mut [LazyFrame],
        schemas: &mut [Schema],
    ) -> Vec<Operation> {
        let mut operations = operations.to_vec();
        for operation in &mut operations {
            match operation {
                Operation::Project(columns) => {
                    let pass = |name: &String| (name.clone(), Expression::column(name));
                    columns.extend(self.0.iter().map(pass));
                }
                Operation::Join {
                    right,
                    kind: JoinKind::Inner | JoinKind::Left,
                    columns,
                    ..
                } => {
                    // An input that is not there is refused where the join is made.
                    if let (Some(frame), Some(schema)) =
                        (inputs.get_mut(*right), schemas.get_mut(*right))
                    {
                        *frame = self.number(frame.clone(), schema);
                        columns.extend(self.0.last().map(|name| (name.clone(), name.clone())));
                    }
                }
                _ => {}
            }
        }
        operations
    }

    /// The rows in their order, without their places.
    pub(crate) fn restored(self, rows: &DataFrame) -> PolarsResult<DataFrame> {
        // Most joins find one partner a row; then the row of the left alone decides.
        let by = match self.0.split_first() {
            Some((first, _)) if all_differ(rows.column(first)?)? => vec![first.clone()],
            _ => self.0.clone(),
        };
        let options = SortMultipleOptions::default().with_nulls_last(true);
        Ok(rows.sort(by, options)?.drop_many(self.0))
    }
}

/// Whether these rows carry their place.
pub(super) fn are_carried(schema: &Schema) -> bool {
    schema.names().any(|name| name.starts_with(PLACE))
}

/// Whether no number comes twice.
fn all_differ(numbers: &Values) -> PolarsResult<bool> {
    let numbers = numbers.idx()?;
    let mut seen: Vec<u64> = Vec::new();
    let first_time = numbers.iter().flatten().try_for_each(|number: IdxSize| {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if word >= seen.len() {
            seen.resize(word + 1, 0);
        }
        if seen[word] & bit != 0 {
            return ControlFlow::Break(());
        }
        seen[word] |= bit;
        ControlFlow::Continue(())
    });
    Ok(numbers.null_count() == 0 && first_time.is_continue())
}

#[cfg(test)]
mod tests {
    use polars::{
        df,
        prelude::{Engine, IntoLazy},
    };
    use taktline_core::{output_schema, sql};

    use super::*;
    use crate::local;

    fn pairs(names: &[&str]) -> Vec<(String, String)> {
        names
            .iter()
            .map(|name| ((*name).to_owned(), (*name).to_owned()))
            .collect()
    }

    fn join(right: usize, kind: JoinKind, columns: &[&str]) -> Operation {
        Operation::Join {
            right,
            on: pairs(&["key"]),
            kind,
            columns: pairs(columns),
            expect: Cardinality::ManyToMany,
        }
    }

    /// More rows than one part of a query holds; several partners for a key, none for some, and null keys.
    fn inputs() -> Vec<DataFrame> {
        let key = |row: i64, step: i64| {
            let key = row * step % 1_009;
            (key % 17 != 0).then_some(key)
        };
        let left: Vec<Option<i64>> = (0..150_000).map(|row| key(row, 7)).collect();
        let right: Vec<Option<i64>> = (0..2_000).map(|row| key(row, 11)).collect();
        let other: Vec<Option<i64>> = (0..600).map(|row| key(row, 5)).collect();
        vec![
            df!("id" => (0..150_000_i64).collect::<Vec<_>>(), "key" => left).expect("a frame"),
            df!("key" => right, "price" => (0..2_000_i64).rev().collect::<Vec<_>>())
                .expect("a frame"),
            df!("key" => other, "shelf" => (0..600_i64).collect::<Vec<_>>()).expect("a frame"),
        ]
    }

    #[test]
    fn rows_come_back_into_the_order_of_joins_that_keep_it() {
        let inputs = inputs();
        let schemas: Vec<Schema> = inputs
            .iter()
            .map(|input| Schema::from_polars(input.schema()))
            .collect();
        let frames: Vec<LazyFrame> = inputs.iter().map(|input| input.clone().lazy()).collect();
        for (first, second) in [
            (JoinKind::Left, JoinKind::Left),
            (JoinKind::Inner, JoinKind::Left),
            (JoinKind::Left, JoinKind::Inner),
            (JoinKind::Semi, JoinKind::Inner),
            (JoinKind::Left, JoinKind::Anti),
        ] {
            let columns = |kind, column| match kind {
                JoinKind::Semi | JoinKind::Anti => Vec::new(),
                _ => vec![column],
            };
            let mut operations = vec![
                join(1, first, &columns(first, "price")),
                join(2, second, &columns(second, "shelf")),
            ];
            let known = output_schema(&operations, &schemas);
            let condition = sql::compile("id % 3 <> 1", &known).expect("a condition");
            operations.push(Operation::Filter(condition.expression));
            let chosen: Vec<&str> = known.names().filter(|name| *name != "key").collect();
            let chosen = chosen
                .iter()
                .map(|name| ((*name).to_owned(), Expression::column(*name)))
                .collect();
            operations.push(Operation::Project(chosen));
            let expected = local::apply(&operations, &frames, &schemas)
                .expect("lowers")
                .collect()
                .expect("runs");

            assert!(Places::survive(&operations));
            let mut frames = frames.clone();
            let mut schemas = schemas.clone();
            let (frame, schema, mut places) = Places::begin(frames[0].clone(), schemas[0].clone());
            (frames[0], schemas[0]) = (frame, schema);
            let carried = places.carried(&operations, &mut frames, &mut schemas);
            let rows = local::apply(&carried, &frames, &schemas)
                .expect("lowers")
                .collect_with_engine(Engine::Streaming)
                .expect("runs")
                .unwrap_single();
            let restored = places.restored(&rows).expect("sorts");
            assert!(
                restored.equals_missing(&expected),
                "{first:?}, {second:?}: {restored} in the place of {expected}"
            );
        }
    }

    #[test]
    fn what_looks_at_the_order_ends_it() {
        let once = |expect| Operation::Join {
            right: 1,
            on: pairs(&["key"]),
            kind: JoinKind::Left,
            columns: Vec::new(),
            expect,
        };
        assert!(Places::survive(&[once(Cardinality::ManyToOne)]));
        for operation in [
            once(Cardinality::OneToOne),
            once(Cardinality::OneToMany),
            join(1, JoinKind::Full, &[]),
            Operation::Sort(Vec::new()),
            Operation::Sample {
                fraction: 0.5,
                seed: 1,
            },
            Operation::Distinct {
                on: Vec::new(),
                keep: taktline_core::Keep::First,
            },
        ] {
            assert!(
                !Places::survive(std::slice::from_ref(&operation)),
                "{operation:?}"
            );
        }
    }

    #[test]
    fn numbers_that_come_twice_are_seen() {
        let of = |numbers: Vec<Option<IdxSize>>| {
            all_differ(&Values::new("place".into(), numbers)).expect("numbers")
        };
        assert!(of(vec![Some(700), Some(0), Some(63), Some(64)]));
        assert!(!of(vec![Some(700), Some(64), Some(700)]));
        assert!(!of(vec![Some(1), None]));
    }
}
