//! Rows that carry their place with them, so that joins on the way need not keep it.
//!
//! A join that keeps the order of its left side has to build its table from the right side, even where that has twenty million
//! rows and the left one million. Rows that all come together in memory at the end are numbered before instead, joined in
//! whatever order is quickest, and put into their order then: by the row of the left, and for each by the row of the right.

use polars::prelude::{DataFrame, IDX_DTYPE, IdxCa, IdxSize, LazyFrame, PolarsResult};
use rayon::prelude::*;
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
        let places = self
            .0
            .iter()
            .map(|name| {
                let numbers = rows.column(name)?.idx()?;
                let last = |number: Option<IdxSize>| number.map_or(NOWHERE, u64::from);
                Ok(numbers.iter().map(last).collect())
            })
            .collect::<PolarsResult<Vec<Vec<u64>>>>()?;
        let order = IdxCa::from_vec("".into(), order(&places, rows.height()));
        rows.drop_many(self.0).take(&order)
    }
}

/// The place of a row without a partner: behind all others.
const NOWHERE: u64 = u64::MAX;

/// Which row comes first, which second: by the first column of places and, where that says the same, by those behind it.
///
/// The first column numbers the rows of a table, and few of them come twice: counted instead of compared, a million rows are in order
/// in a few hundredths of a second.
fn order(places: &[Vec<u64>], rows: usize) -> Vec<IdxSize> {
    let compare = |left: &IdxSize, right: &IdxSize| {
        let (left, right) = (*left as usize, *right as usize);
        let places = places.iter();
        places
            .clone()
            .map(|places| places[left])
            .cmp(places.map(|places| places[right]))
    };
    let Some(first) = places.first() else {
        return (0..rows as IdxSize).collect();
    };
    let greatest = first.iter().copied().max().unwrap_or_default();
    if greatest > 16 * rows as u64 {
        let mut order: Vec<IdxSize> = (0..rows as IdxSize).collect();
        order.par_sort_by(compare);
        return order;
    }
    // Where the rows of each number begin; behind the last, how many rows there are.
    let mut starts = vec![0; greatest as usize + 2];
    for number in first {
        starts[*number as usize + 1] += 1;
    }
    for number in 1..starts.len() {
        starts[number] += starts[number - 1];
    }
    let mut free = starts.clone();
    let mut order = vec![0; rows];
    for (number, row) in first.iter().zip(0..) {
        let place: &mut usize = &mut free[*number as usize];
        order[*place] = row;
        *place += 1;
    }
    for ends in starts.windows(2) {
        if ends[1] - ends[0] > 1 {
            order[ends[0]..ends[1]].sort_by(compare);
        }
    }
    order
}

/// Whether these rows carry their place.
pub(super) fn are_carried(schema: &Schema) -> bool {
    schema.names().any(|name| name.starts_with(PLACE))
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
    fn rows_are_ordered_by_the_first_place_and_then_by_those_behind() {
        let by_comparison = |places: &[Vec<u64>]| {
            let mut order: Vec<IdxSize> = (0..places[0].len() as IdxSize).collect();
            order.sort_by_key(|row| {
                let row = *row as usize;
                places.iter().map(|places| places[row]).collect::<Vec<_>>()
            });
            order
        };
        let scattered = |rows: u64, step: u64, range: u64| -> Vec<u64> {
            (0..rows).map(|row| row * step % range).collect()
        };
        // Counted: some numbers twice, some never, the second column with partners and without.
        let mut partners = scattered(500, 331, 1_009);
        partners
            .iter_mut()
            .step_by(7)
            .for_each(|place| *place = NOWHERE);
        let counted = [scattered(500, 17, 400), partners];
        assert_eq!(order(&counted, 500), by_comparison(&counted));
        // Compared: numbers of a far larger table, and rows that have none.
        let few = [scattered(50, 7_919, 1_000_003)];
        assert_eq!(order(&few, 50), by_comparison(&few));
        let missing = [vec![3, NOWHERE, 1], vec![0, 0, 0]];
        assert_eq!(order(&missing, 3), [2, 0, 1]);
        assert_eq!(order(&[vec![]], 0), [0; 0]);
    }
}
