//! Counts rows and changed values while they go by inside a query.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use polars::{
    lazy::dsl::map_multiple,
    prelude::{
        AllowedOptimizations, ChunkCompareEq, Column, DataFrame, DataType, Expr, Field, IntoColumn,
        LazyFrame, PolarsResult, by_name, lit,
    },
};
use serde::{Deserialize, Serialize};
use taktline_core::{
    Column as SchemaColumn, Expression, JoinKind, Operation, Result, Schema, output_schema,
    schema_after,
};

use crate::local;

/// What became of the values of one column in one stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Cells whose value is another one than before, or null where it was not, or the other way round.
    pub changed: u64,
    /// Cells that are null and were not before.
    pub nulls_made: u64,
    /// Cells that were null and are not any more.
    pub nulls_filled: u64,
    /// Cells with a category that training did not see, which is taken for something else.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unseen: u64,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// Which query of a run is at work: what a stage counted in an earlier one does not add up with what it counts now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queries(Arc<AtomicU64>);

impl Queries {
    /// A query begins.
    pub(crate) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What went by at one stage.
#[derive(Debug)]
pub(crate) struct Tally {
    queries: Queries,
    counts: Mutex<Counts>,
}

/// Rows and changes with the query that counted them last; one may need fewer columns than another.
#[derive(Debug, Default)]
struct Counts {
    rows: Option<(u64, u64)>,
    changes: BTreeMap<String, (u64, Changes)>,
    unmatched: Option<(u64, u64)>,
    with_nulls: Option<BTreeSet<String>>,
}

impl Tally {
    pub(crate) fn new(queries: &Queries) -> Arc<Self> {
        Arc::new(Self {
            queries: queries.clone(),
            counts: Mutex::default(),
        })
    }

    /// Rows that came out of the stage, where they were counted.
    pub(crate) fn rows(&self) -> Option<u64> {
        self.look(|counts| counts.rows.map(|(_, rows)| rows))
    }

    pub(crate) fn set_rows(&self, rows: usize) {
        let query = self.query();
        self.look(|counts| counts.rows = Some((query, rows as u64)));
    }

    /// Rows without a partner that an inner join left out, where it was one.
    pub(crate) fn unmatched(&self) -> Option<u64> {
        self.look(|counts| counts.unmatched.map(|(_, rows)| rows))
    }

    /// What became of the columns that the stage replaces.
    pub(crate) fn changes(&self) -> BTreeMap<String, Changes> {
        self.look(|counts| {
            let changes = counts.changes.iter();
            changes
                .map(|(column, (_, changes))| (column.clone(), *changes))
                .collect()
        })
    }

    /// Which of the columns that went by hold nulls, if they were watched.
    pub(crate) fn with_nulls(&self) -> Option<BTreeSet<String>> {
        self.look(|counts| counts.with_nulls.clone())
    }

    fn query(&self) -> u64 {
        self.queries.0.load(Ordering::Relaxed)
    }

    fn look<T>(&self, look: impl FnOnce(&mut Counts) -> T) -> T {
        look(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add_rows(&self, rows: u64) {
        let query = self.query();
        self.look(|counts| add(&mut counts.rows, query, rows));
    }

    fn add_changes(&self, column: &str, changes: Changes) {
        let query = self.query();
        self.look(|counts| {
            let known = counts.changes.entry(column.to_owned()).or_default();
            if known.0 != query {
                *known = (query, Changes::default());
            }
            known.1.changed += changes.changed;
            known.1.nulls_made += changes.nulls_made;
            known.1.nulls_filled += changes.nulls_filled;
            known.1.unseen += changes.unseen;
        });
    }

    /// Counts the rows that go by, without reading columns that nothing else needs.
    ///
    /// No filter below moves above it, so that the count is of this stage and not of a later one.
    pub(crate) fn count_rows(self: &Arc<Self>, frame: LazyFrame) -> LazyFrame {
        let tally = Arc::clone(self);
        frame.map(
            move |data| {
                tally.add_rows(data.height() as u64);
                Ok(data)
            },
            PASSES,
            None,
            Some("count rows"),
        )
    }

    /// The rows of the left side that found a partner; the others are counted. How many rows come out of an inner join does not tell
    /// how many were lost, where others have several partners.
    ///
    /// `first` is the join, and the frames and schemas its inputs.
    pub(crate) fn count_unmatched(
        self: &Arc<Self>,
        first: &Operation,
        frames: &[LazyFrame],
        schemas: &[Schema],
    ) -> Result<LazyFrame> {
        let (mut join, mut frames, mut schemas) =
            (first.clone(), frames.to_vec(), schemas.to_vec());
        let mark = before("join");
        if let Operation::Join {
            right,
            kind,
            columns,
            ..
        } = &mut join
            && let (Some(frame), Some(schema)) = (frames.get_mut(*right), schemas.get_mut(*right))
        {
            *kind = JoinKind::Left;
            columns.push((mark.clone(), mark.clone()));
            *frame = frame.clone().with_columns([lit(true).alias(&mark)]);
            schema
                .columns
                .push(SchemaColumn::new(&mark, DataType::Boolean));
        }
        let joined = local::apply(&[join], &frames, &schemas)?;
        let tally = Arc::clone(self);
        let found = map_multiple(
            move |columns| {
                let found = columns[0].is_not_null();
                let lost = found.len() - found.num_trues();
                let query = tally.query();
                tally.look(|counts| add(&mut counts.unmatched, query, lost as u64));
                Ok(found.into_column())
            },
            [column(&mark)],
            |_, fields| Ok(Field::new(fields[0].name().clone(), DataType::Boolean)),
        );
        Ok(joined.filter(found).drop(by_name([mark], true, false)))
    }

    /// Notes which of the columns that go by hold nulls.
    pub(crate) fn watch_nulls(self: &Arc<Self>, frame: LazyFrame) -> LazyFrame {
        let tally = Arc::clone(self);
        frame.map(
            move |data| {
                let found = nulls_in(&data);
                tally.look(|counts| counts.with_nulls.get_or_insert_default().extend(found));
                Ok(data)
            },
            PASSES,
            None,
            Some("watch nulls"),
        )
    }

    /// Counts the values of these columns that are none of the categories seen in training.
    pub(crate) fn count_unseen(
        self: &Arc<Self>,
        frame: LazyFrame,
        seen: Vec<(String, Vec<String>)>,
    ) -> LazyFrame {
        if seen.is_empty() {
            return frame;
        }
        let counted: Vec<Expr> = seen
            .into_iter()
            .map(|(name, categories)| {
                let categories: HashSet<String> = categories.into_iter().collect();
                self.watching(&name, Vec::new(), move |columns| {
                    let unseen = unseen(&columns[0], &categories)?;
                    Ok((unseen > 0).then(|| Changes {
                        unseen,
                        ..Changes::default()
                    }))
                })
            })
            .collect();
        // The rows must be those of this stage: see `count_rows`.
        frame
            .with_columns(counted)
            .map(Ok, PASSES, None, Some("count unseen"))
    }

    /// Counts the numbers that are NaN or infinite: they go no further, into a place that has no word for them.
    pub(crate) fn count_not_finite(
        self: &Arc<Self>,
        frame: LazyFrame,
        schema: &Schema,
    ) -> LazyFrame {
        let floats = schema.columns.iter().filter(|held| held.dtype.is_float());
        let counted: Vec<Expr> = floats
            .map(|held| {
                self.watching(&held.name, Vec::new(), |columns| {
                    let numbers = columns[0].as_materialized_series();
                    let finite = numbers.is_finite()?;
                    let lost = finite.iter().flatten().filter(|is| !is).count();
                    Ok(lost_to_null(lost as u64))
                })
            })
            .collect();
        match counted.as_slice() {
            [] => frame,
            _ => frame.with_columns(counted),
        }
    }

    /// The operations on the frames as [`local::apply`] does them, with every value counted that they change in columns
    /// which they replace.
    ///
    /// The counting is part of the query: it costs a comparison of each such column, and nothing where later stages do not
    /// need the column. Operations that the engine cannot look into are not counted.
    pub(crate) fn count_changes(
        self: &Arc<Self>,
        operations: &[Operation],
        frames: &[LazyFrame],
        schemas: &[Schema],
    ) -> Result<LazyFrame> {
        let replaced = replaced(operations, schemas);
        let compared = replaced.iter().map(|name| self.compared(name)).collect();
        self.watched(&replaced, compared, operations, frames, schemas)
    }

    /// The operations on the frames as [`local::apply`] does them, with every null counted that they make of values: in the
    /// columns that a feature stage computes, where nothing that they are computed from is null.
    ///
    /// Only of expressions that `may_lose` values, and of operations that have no relational form.
    pub(crate) fn count_nulls_made(
        self: &Arc<Self>,
        may_lose: fn(&Expression) -> bool,
        operations: &[Operation],
        frames: &[LazyFrame],
        schemas: &[Schema],
    ) -> Result<LazyFrame> {
        let computed = computed(may_lose, operations, schemas);
        let sources: BTreeSet<String> = computed.values().flatten().cloned().collect();
        let compared = computed
            .iter()
            .map(|(name, sources)| self.held_against(name, sources))
            .collect();
        let sources: Vec<String> = sources.into_iter().collect();
        self.watched(&sources, compared, operations, frames, schemas)
    }

    /// The operations on the frames, with columns that are compared with what `kept` ones were before.
    fn watched(
        self: &Arc<Self>,
        kept: &[String],
        compared: Vec<Expr>,
        operations: &[Operation],
        frames: &[LazyFrame],
        schemas: &[Schema],
    ) -> Result<LazyFrame> {
        let before = match kept {
            [] => None,
            kept => with_before(kept, operations, frames, schemas)?,
        };
        let Some(frame) = before else {
            return local::apply(operations, frames, schemas);
        };
        let names: Vec<Expr> = output_schema(operations, schemas)
            .names()
            .map(column)
            .collect();
        // The rows must be those of this stage: see `count_rows`.
        Ok(self.count_rows(frame.with_columns(compared).select(names)))
    }

    /// The column as it is, compared with what it was.
    fn compared(self: &Arc<Self>, name: &str) -> Expr {
        self.watching(name, vec![column(&before(name))], |columns| {
            changes(&columns[1], &columns[0]).map(Some)
        })
    }

    /// The column as it is, with nulls counted where none of its sources was null.
    fn held_against(self: &Arc<Self>, name: &str, sources: &BTreeSet<String>) -> Expr {
        let sources = sources.iter().map(|source| column(&before(source)));
        self.watching(name, sources.collect(), |columns| {
            Ok(lost_to_null(nulls_made(&columns[0], &columns[1..])))
        })
    }

    /// The column as it is, with what `count` finds of it and of the others beside it.
    fn watching(
        self: &Arc<Self>,
        name: &str,
        beside: Vec<Expr>,
        count: impl Fn(&[Column]) -> PolarsResult<Option<Changes>> + Send + Sync + 'static,
    ) -> Expr {
        let (tally, of) = (Arc::clone(self), name.to_owned());
        map_multiple(
            move |columns| {
                if let Some(changes) = count(columns)? {
                    tally.add_changes(&of, changes);
                }
                Ok(std::mem::take(&mut columns[0]))
            },
            std::iter::once(column(name))
                .chain(beside)
                .collect::<Vec<_>>(),
            |_, fields| Ok(fields[0].clone()),
        )
        .alias(name)
    }
}

/// So many values that became null, where there are any.
fn lost_to_null(count: u64) -> Option<Changes> {
    (count > 0).then(|| Changes {
        changed: count,
        nulls_made: count,
        ..Changes::default()
    })
}

/// Rows in which the column is null and no source is.
fn nulls_made(column: &Column, sources: &[Column]) -> u64 {
    if column.null_count() == 0 {
        return 0;
    }
    let made = sources.iter().fold(column.is_null(), |made, source| {
        &made & &source.is_not_null()
    });
    made.num_trues() as u64
}

/// Values that are none of these categories; null is none.
fn unseen(column: &Column, categories: &HashSet<String>) -> PolarsResult<u64> {
    let texts = column.cast(&DataType::String)?;
    let (mut last, mut is_last_unseen, mut count) = (None, false, 0);
    for text in texts.str()?.iter().flatten() {
        // Neighbours are often equal.
        if last != Some(text) {
            is_last_unseen = !categories.contains(text);
            last = Some(text);
        }
        count += u64::from(is_last_unseen);
    }
    Ok(count)
}

/// More rows of a query; those of an earlier one do not count.
fn add(known: &mut Option<(u64, u64)>, query: u64, rows: u64) {
    let before = known.filter(|(counted, _)| *counted == query);
    *known = Some((query, before.map_or(0, |(_, rows)| rows) + rows));
}

/// Columns that nothing else needs are not read on its account, rows may come in parts, and no condition moves across it.
pub(crate) const PASSES: AllowedOptimizations =
    AllowedOptimizations::PROJECTION_PUSHDOWN.union(AllowedOptimizations::STREAMING);

/// Unlike `col`, never a pattern.
fn column(name: &str) -> Expr {
    Expr::Column(name.into())
}

/// What a column was before a stage; no name that a spec can write.
fn before(name: &str) -> String {
    format!("\u{1}before {name}")
}

/// The frame after the operations with what the replaced columns were before; `None` where that got lost on the way.
fn with_before(
    replaced: &[String],
    operations: &[Operation],
    frames: &[LazyFrame],
    schemas: &[Schema],
) -> Result<Option<LazyFrame>> {
    let (Some(first), Some(input)) = (frames.first(), schemas.first()) else {
        return Ok(None);
    };
    let kept = |name: &String| column(name).alias(before(name));
    let mut frames = frames.to_vec();
    frames[0] = first
        .clone()
        .with_columns(replaced.iter().map(kept).collect::<Vec<_>>());
    let kept: Vec<SchemaColumn> = replaced
        .iter()
        .filter_map(|name| {
            Some(SchemaColumn::new(
                before(name),
                input.column(name)?.dtype.clone(),
            ))
        })
        .collect();
    let mut schemas = schemas.to_vec();
    for operation in operations {
        let mut operation = operation.clone();
        let after = output_schema(std::slice::from_ref(&operation), &schemas);
        schemas[0].columns.extend(kept.iter().cloned());
        if let Operation::Project(columns) = &mut operation {
            let pass = |name: &String| (before(name), Expression::column(before(name)));
            columns.extend(replaced.iter().map(pass));
        }
        frames[0] = local::apply(&[operation], &frames, &schemas)?;
        schemas[0] = after;
    }
    let mut frame = frames.swap_remove(0);
    let there = frame.collect_schema()?;
    let is_whole = replaced.iter().all(|name| there.contains(&before(name)));
    Ok(is_whole.then_some(frame))
}

/// The columns that the operations give new values, in order; none where the operations cannot be looked into.
fn replaced(operations: &[Operation], schemas: &[Schema]) -> Vec<String> {
    let Some(input) = schemas.first() else {
        return Vec::new();
    };
    let mut made = BTreeSet::new();
    for operation in operations {
        match operation {
            Operation::With(columns) | Operation::Project(columns) => made.extend(
                columns
                    .iter()
                    // A column under another name is no changed value.
                    .filter(|(_, value)| !matches!(value, Expression::Column(_)))
                    .map(|(name, _)| name.as_str()),
            ),
            Operation::Window { aggregates, .. } => {
                made.extend(aggregates.iter().map(|(name, _)| name.as_str()));
            }
            // It changes no column that it does not read, and passes on those that it does not know.
            Operation::Local(local) if local.keeps_rows => {
                made.extend(local.reads.iter().map(String::as_str));
            }
            Operation::Filter(_) | Operation::Sort(_) => {}
            _ => return Vec::new(),
        }
    }
    let output = output_schema(operations, schemas);
    input
        .names()
        .filter(|name| made.contains(name) && output.column(name).is_some())
        .map(str::to_owned)
        .collect()
}

/// The columns that the operations compute in a way that may lose values, and the columns of the input that each is computed
/// from; none where the operations cannot be looked into.
fn computed(
    may_lose: fn(&Expression) -> bool,
    operations: &[Operation],
    schemas: &[Schema],
) -> BTreeMap<String, BTreeSet<String>> {
    let Some(input) = schemas.first() else {
        return BTreeMap::new();
    };
    // What each column is computed from so far, where it is not what it was before, and whether it may have lost values.
    let mut made: BTreeMap<String, (BTreeSet<String>, bool)> = BTreeMap::new();
    let mut schema = input.clone();
    for operation in operations {
        let origins = |reads: &BTreeSet<String>| -> BTreeSet<String> {
            let origin = |read: &String| match made.get(read) {
                Some((origins, _)) => origins.clone(),
                None => [read.clone()].into(),
            };
            reads.iter().flat_map(origin).collect()
        };
        let lost = |reads: &BTreeSet<String>| {
            let lost = |read: &String| made.get(read).is_some_and(|(_, lost)| *lost);
            reads.iter().any(lost)
        };
        let after = schema_after(operation, schema.clone(), schemas);
        let new: Vec<(String, (BTreeSet<String>, bool))> = match operation {
            Operation::With(columns) | Operation::Project(columns) => columns
                .iter()
                .map(|(name, value)| {
                    let reads = value.columns();
                    let is_passed_on = matches!(value, Expression::Column(_));
                    let lost = lost(&reads) || (!is_passed_on && may_lose(value));
                    (name.clone(), (origins(&reads), lost))
                })
                .collect(),
            Operation::Local(local) if local.keeps_rows => {
                let is_new = |name: &&str| schema.column(name).is_none();
                let origins = origins(&local.reads);
                let names = after.names().filter(is_new);
                names
                    .map(|name| (name.to_owned(), (origins.clone(), true)))
                    .collect()
            }
            _ => return BTreeMap::new(),
        };
        made.extend(new);
        schema = after;
    }
    let is_there = |name: &String| input.names().any(|known| known == name);
    made.into_iter()
        .filter(|(_, (origins, lost))| {
            // A constant has no source.
            *lost && !origins.is_empty() && origins.iter().all(is_there)
        })
        .filter(|(name, _)| schema.names().any(|known| known == name))
        .map(|(name, (origins, _))| (name, origins))
        .collect()
}

/// What is different between two columns, row by row.
fn changes(before: &Column, after: &Column) -> PolarsResult<Changes> {
    let (before, after) = (
        before.as_materialized_series(),
        after.as_materialized_series(),
    );
    let (mut nulls_made, mut nulls_filled) = (0, 0);
    if before.null_count() > 0 || after.null_count() > 0 {
        let made = &after.is_null() & &before.is_not_null();
        let filled = &before.is_null() & &after.is_not_null();
        (nulls_made, nulls_filled) = (made.num_trues() as u64, filled.num_trues() as u64);
    }
    let numbers = |dtype: &DataType| dtype.is_primitive_numeric();
    let comparable =
        before.dtype() == after.dtype() || (numbers(before.dtype()) && numbers(after.dtype()));
    // Text that became a number is the same value, written otherwise.
    let changed = if comparable {
        after.not_equal_missing(before)?.num_trues() as u64
    } else {
        nulls_made + nulls_filled
    };
    Ok(Changes {
        changed,
        nulls_made,
        nulls_filled,
        unseen: 0,
    })
}

pub(crate) fn nulls_in(data: &DataFrame) -> BTreeSet<String> {
    data.columns()
        .iter()
        .filter(|column| column.null_count() > 0)
        .map(|column| column.name().to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::IntoLazy};

    use super::*;

    fn counted(operations: &[Operation], data: DataFrame) -> (DataFrame, Arc<Tally>) {
        let queries = Queries::default();
        let tally = Tally::new(&queries);
        let schema = Schema::from_polars(data.schema());
        let frame = tally
            .count_changes(operations, &[data.lazy()], std::slice::from_ref(&schema))
            .expect("lowers");
        // Twice, as two barriers below one stage do.
        for _ in 0..2 {
            queries.begin();
            frame.clone().collect().expect("runs");
        }
        queries.begin();
        (frame.collect().expect("runs"), tally)
    }

    fn sql(text: &str, data: &DataFrame) -> Expression {
        let schema = Schema::from_polars(data.schema());
        taktline_core::sql::compile(text, &schema)
            .expect(text)
            .expression
    }

    #[test]
    fn changed_cells_are_counted_once() {
        let data = df!(
            "a" => [Some(1.0), None, Some(f64::NAN), Some(4.0)],
            "b" => [Some("x"), Some("y"), None, Some("x")],
            "c" => [1_i64, 2, 3, 4],
        )
        .expect("a frame");
        let operations = [
            Operation::With(vec![
                ("a".into(), sql("coalesce(a, 0)", &data)),
                ("b".into(), sql("nullif(b, 'x')", &data)),
            ]),
            Operation::With(vec![("a".into(), sql("least(a, 3)", &data))]),
        ];
        let (after, tally) = counted(&operations, data.clone());
        assert_eq!(after.get_column_names(), ["a", "b", "c"]);
        let changes = tally.changes();
        // Null → 0, NaN → 3, 4 → 3.
        assert_eq!(
            changes["a"],
            Changes {
                changed: 3,
                nulls_made: 0,
                nulls_filled: 1,
                unseen: 0,
            }
        );
        assert_eq!(
            changes["b"],
            Changes {
                changed: 2,
                nulls_made: 2,
                nulls_filled: 0,
                unseen: 0,
            }
        );
        assert_eq!((changes.len(), tally.rows()), (2, Some(4)));
        // What is counted changes nothing.
        let schema = Schema::from_polars(data.schema());
        let plain = local::apply(&operations, &[data.lazy()], &[schema])
            .expect("lowers")
            .collect()
            .expect("runs");
        assert!(plain.equals_missing(&after));
    }

    #[test]
    fn values_that_become_null_are_counted_in_new_columns_too() {
        let data = df!(
            "a" => [Some("1"), Some("x"), None, Some("4")],
            "b" => [Some(1_i64), Some(2), Some(3), None],
        )
        .expect("a frame");
        let number = Expression::Cast {
            operand: Box::new(Expression::column("a")),
            to: DataType::Int64,
            strict: false,
        };
        let sum = Expression::column("number")
            .binary(taktline_core::BinaryOperator::Add, Expression::column("b"));
        let operations = [
            Operation::With(vec![
                ("number".into(), number),
                ("none".into(), sql("nullif(b, 2)", &data)),
            ]),
            Operation::With(vec![("sum".into(), sum)]),
            Operation::Project(
                ["number", "sum", "none"]
                    .map(|name| (name.to_owned(), Expression::column(name)))
                    .into(),
            ),
        ];
        let schema = Schema::from_polars(data.schema());
        let counted = |may_lose: fn(&Expression) -> bool| {
            let queries = Queries::default();
            let tally = Tally::new(&queries);
            let schemas = std::slice::from_ref(&schema);
            let frames = [data.clone().lazy()];
            let frame = tally
                .count_nulls_made(may_lose, &operations, &frames, schemas)
                .expect("lowers");
            queries.begin();
            let after = frame.collect().expect("runs");
            let made: Vec<(String, u64)> = tally
                .changes()
                .into_iter()
                .map(|(name, changes)| (name, changes.nulls_made))
                .collect();
            (after, made)
        };
        let (after, made) = counted(Expression::may_lose_values);
        assert_eq!(after.get_column_names(), ["number", "sum", "none"]);
        // Only `x` is a value that is lost; a null that comes from a null is none, and `nullif` is asked to make one.
        let made: Vec<(&str, u64)> = made.iter().map(|(name, nulls)| (&**name, *nulls)).collect();
        assert_eq!(made, [("number", 1), ("sum", 1)]);
        let (_, made) = counted(|_| true);
        let made: Vec<(&str, u64)> = made.iter().map(|(name, nulls)| (&**name, *nulls)).collect();
        assert_eq!(made, [("none", 1), ("number", 1), ("sum", 1)]);
    }

    #[test]
    fn new_and_renamed_columns_are_no_changes() {
        let data = df!("a" => [1_i64, 2], "b" => [3_i64, 4]).expect("a frame");
        let operations = [
            Operation::With(vec![("c".into(), sql("a + b", &data))]),
            Operation::Project(vec![
                ("a".into(), Expression::column("b")),
                ("b".into(), Expression::column("a")),
            ]),
        ];
        let (after, tally) = counted(&operations, data);
        assert_eq!(after.get_column_names(), ["a", "b"]);
        assert!(tally.changes().is_empty());
    }

    #[test]
    fn a_cast_is_told_by_its_nulls_and_its_rounding() {
        let data = df!("a" => ["1", "x"], "b" => [1.0, 1.5]).expect("a frame");
        let cast = |name: &str| Expression::Cast {
            operand: Box::new(Expression::column(name)),
            to: DataType::Int64,
            strict: false,
        };
        let operations = [Operation::With(vec![
            ("a".into(), cast("a")),
            ("b".into(), cast("b")),
        ])];
        let (_, tally) = counted(&operations, data);
        let changes = tally.changes();
        assert_eq!((changes["a"].changed, changes["a"].nulls_made), (1, 1));
        assert_eq!(changes["b"].changed, 1);
    }

    #[test]
    fn empty_frames_count_nothing() {
        let data = df!("a" => Vec::<i64>::new()).expect("a frame");
        let operations = [Operation::With(vec![("a".into(), sql("a + 1", &data))])];
        let (after, tally) = counted(&operations, data);
        assert_eq!((after.height(), tally.rows()), (0, Some(0)));
        assert_eq!(
            tally.changes().get("a").copied().unwrap_or_default(),
            Changes::default()
        );
    }

    #[test]
    fn equal_queries_are_counted_apart() {
        let queries = Queries::default();
        let (one, other) = (Tally::new(&queries), Tally::new(&queries));
        let data = df!("a" => [1_i64, 2, 3]).expect("a frame").lazy();
        let filtered = || data.clone().filter(column("a").gt(polars::prelude::lit(1)));
        queries.begin();
        let frames = [one.count_rows(filtered()), other.count_rows(filtered())];
        let all = polars::prelude::concat(frames, polars::prelude::UnionArgs::default());
        let all = all
            .and_then(|all| crate::streaming::unshared(all).collect())
            .expect("runs");
        assert_eq!(
            (all.height(), one.rows(), other.rows()),
            (4, Some(2), Some(2))
        );
        // The same with closures that do different things.
        let add = |number: i64| {
            filtered().map(
                move |data| {
                    let column = data.column("a")?.as_materialized_series() + number;
                    polars::prelude::DataFrame::new(data.height(), vec![column.into()])
                },
                PASSES,
                None,
                Some("add"),
            )
        };
        let all =
            polars::prelude::concat([add(10), add(20)], polars::prelude::UnionArgs::default());
        let all = all
            .and_then(|all| crate::streaming::unshared(all).collect())
            .expect("runs");
        let found: Vec<Option<i64>> = all
            .column("a")
            .and_then(|a| Ok(a.i64()?.iter().collect()))
            .expect("numbers");
        assert_eq!(found, [12, 13, 22, 23].map(Some));
    }
}
