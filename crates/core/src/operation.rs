//! The few relational operations that cleaning and feature stages lower to; an engine turns them into its own.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    fmt,
    sync::Arc,
};

use polars::prelude::{DataType, LazyFrame};

use crate::{Column, Expression, Result, Role, Schema, typing::data_type};

/// Which of several equal rows stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The first in row order.
    First,
    /// The last in row order.
    Last,
    /// None of them.
    None,
}

/// How two frames are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Rows with a partner.
    Inner,
    /// All rows of the left; nulls where there is no partner.
    Left,
    /// All rows of both.
    Full,
    /// Rows of the left with a partner, without the partner's columns.
    Semi,
    /// Rows of the left without a partner.
    Anti,
}

/// How many partners a row may have in a join; what breaks it is an error that names the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cardinality {
    /// Each key at most once on either side.
    OneToOne,
    /// Each key at most once on the left.
    OneToMany,
    /// Each key at most once on the right.
    ManyToOne,
    /// Any number.
    #[default]
    ManyToMany,
}

/// Which neighbour an as-of join takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOfDirection {
    /// The last at or before.
    Backward,
    /// The first at or after.
    Forward,
    /// The nearest.
    Nearest,
}

/// A sort key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// The column.
    pub column: String,
    /// Largest first.
    pub descending: bool,
    /// Nulls before all values, whatever the direction; else after them.
    pub nulls_first: bool,
}

/// Which rows a window function looks at, besides the row itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowFrame {
    /// The row and the `n - 1` rows before it, in the order of the `over` column.
    Rows(usize),
    /// Rows with `at - duration < t <= at`, the row itself included; microseconds. For a whole-number `over` column, its own unit.
    Span(i64),
    /// All rows of the group up to and with this one.
    Growing,
    /// The `n` rows before the row, without it.
    RowsBefore(usize),
    /// Rows with `at - duration <= t < at`, so that neither the row itself nor another of its time is seen; units as in `Span`.
    SpanBefore(i64),
    /// All rows of the group with an earlier time.
    GrowingBefore,
    /// The row and the `n - 1` rows after it, in the order of the `over` column.
    RowsFrom(usize),
}

/// A closure for the local engine only, for what has no relational form.
#[derive(Clone)]
pub struct Local {
    /// What it does, for `takt plan`.
    pub name: &'static str,
    /// Columns it reads.
    pub reads: BTreeSet<String>,
    /// Whether each row stays, in its place. It then changes only columns that it reads, and passes on columns that it does
    /// not know: the engine sends what columns were before along with them, to tell what a stage changed.
    pub keeps_rows: bool,
    /// The schema after it.
    pub schema: Schema,
    /// The work: lazy in, lazy out.
    pub apply: Arc<dyn Fn(LazyFrame) -> Result<LazyFrame> + Send + Sync>,
}

impl fmt::Debug for Local {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Local")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A relational operation on the frame so far.
///
/// A stage with several inputs starts from its first; `Join` and `Union` name others by their index among the stage's inputs.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Only these columns, in this order.
    Project(Vec<(String, Expression)>),
    /// These columns besides the others; a name that exists is replaced. All read the frame as it was before.
    With(Vec<(String, Expression)>),
    /// Only rows for which this is true (null is not).
    Filter(Expression),
    /// One row for each different value of these columns (of all, where empty), in row order.
    Distinct {
        /// The columns; empty means all.
        on: Vec<String>,
        /// Which row stays.
        keep: Keep,
    },
    /// Joined with another input on equal keys; null equals nothing. Keys of the right are read as the types of the left.
    Join {
        /// The right side: an index among the stage's inputs.
        right: usize,
        /// Left and right key columns.
        on: Vec<(String, String)>,
        /// How.
        kind: JoinKind,
        /// Columns of the right and the names they get; none for semi and anti joins.
        columns: Vec<(String, String)>,
        /// How many partners a row may have.
        expect: Cardinality,
    },
    /// Each row joined with its neighbour in time of another input; rows without a time have none.
    AsOfJoin {
        /// The right side: an index among the stage's inputs.
        right: usize,
        /// Left and right time columns.
        on: (String, String),
        /// Left and right columns that must be equal; null equals nothing.
        by: Vec<(String, String)>,
        /// Which neighbour.
        direction: AsOfDirection,
        /// Whether a neighbour of the very same time counts.
        allow_equal: bool,
        /// No farther than this, in microseconds; for whole-number times, in their own unit.
        tolerance: Option<i64>,
        /// Columns of the right and the names they get; its time among them, if it is wanted.
        columns: Vec<(String, String)>,
    },
    /// A truth column: whether another input has a row with these keys; rows stay. Null equals nothing.
    Mark {
        /// The right side: an index among the stage's inputs.
        right: usize,
        /// Left and right key columns.
        on: Vec<(String, String)>,
        /// The new column.
        name: String,
    },
    /// Each row with the row of the same number of another input; different numbers of rows are an error.
    Beside {
        /// The right side: an index among the stage's inputs.
        right: usize,
        /// Columns of the right and the names they get.
        columns: Vec<(String, String)>,
    },
    /// One row a group, in order of first appearance: the keys and these aggregates.
    Aggregate {
        /// The keys.
        by: Vec<String>,
        /// Output name and aggregate expression.
        aggregates: Vec<(String, Expression)>,
    },
    /// New columns, each an aggregate over a window of rows of the same group; rows stay in their place.
    Window {
        /// The groups; empty means one.
        by: Vec<String>,
        /// The order inside a group: a time or whole-number column.
        over: String,
        /// Which rows.
        frame: WindowFrame,
        /// Output name and aggregate expression.
        aggregates: Vec<(String, Expression)>,
    },
    /// Sorted; equal rows keep their order.
    Sort(Vec<SortKey>),
    /// The rows of all inputs, one after the other, columns matched by name; null where an input lacks a column of the first.
    Union {
        /// Indices among the stage's inputs.
        others: Vec<usize>,
    },
    /// A random sample of rows, in row order.
    Sample {
        /// The share of rows to keep, 0 to 1.
        fraction: f64,
        /// The seed.
        seed: u64,
    },
    /// Something only the local engine can do.
    Local(Local),
}

impl Operation {
    /// Whether each row stays, in its place.
    pub fn keeps_rows(&self) -> bool {
        match self {
            Self::Project(_)
            | Self::With(_)
            | Self::Window { .. }
            | Self::AsOfJoin { .. }
            | Self::Mark { .. }
            | Self::Beside { .. } => true,
            Self::Local(local) => local.keeps_rows,
            _ => false,
        }
    }

    /// The columns of the frame so far that it reads, where it does not pass them through untouched.
    pub fn reads(&self) -> BTreeSet<String> {
        let of = |columns: &[(String, Expression)]| {
            columns
                .iter()
                .flat_map(|(_, expression)| expression.columns())
                .collect::<BTreeSet<_>>()
        };
        match self {
            Self::Project(columns) | Self::With(columns) => of(columns),
            Self::Filter(condition) => condition.columns(),
            Self::Distinct { on, .. } => on.iter().cloned().collect(),
            Self::Join { on, .. } | Self::Mark { on, .. } => {
                on.iter().map(|(left, _)| left.clone()).collect()
            }
            Self::AsOfJoin { on, by, .. } => by
                .iter()
                .map(|(left, _)| left)
                .chain([&on.0])
                .cloned()
                .collect(),
            Self::Aggregate { by, aggregates } => {
                by.iter().cloned().chain(of(aggregates)).collect()
            }
            Self::Window {
                by,
                over,
                aggregates,
                ..
            } => by
                .iter()
                .chain([over])
                .cloned()
                .chain(of(aggregates))
                .collect(),
            Self::Sort(keys) => keys.iter().map(|key| key.column.clone()).collect(),
            Self::Union { .. } | Self::Sample { .. } | Self::Beside { .. } => BTreeSet::new(),
            Self::Local(local) => local.reads.clone(),
        }
    }
}

/// The schema after these operations on these inputs: names, types, roles and lineage.
///
/// An expression whose type cannot be told (a stage above was wrong) leaves its column out and marks the schema incomplete.
pub fn output_schema(operations: &[Operation], inputs: &[Schema]) -> Schema {
    // A projection makes every column anew: what it reads is not copied first.
    let (mut schema, rest) = match (operations, inputs) {
        ([Operation::Project(columns), rest @ ..], [input, ..]) => {
            (projected(columns, input), rest)
        }
        _ => (inputs.first().cloned().unwrap_or_default(), operations),
    };
    for operation in rest {
        schema = schema_after(operation, schema, inputs);
    }
    schema
}

/// The schema after one operation on rows of this schema; `inputs` are the stage's, for an operation that has a second one.
pub fn schema_after(operation: &Operation, mut schema: Schema, inputs: &[Schema]) -> Schema {
    match operation {
        Operation::Project(columns) => projected(columns, &schema),
        Operation::With(columns) => {
            // All of them read what was there before.
            let added: Vec<Option<Column>> = columns
                .iter()
                .map(|(name, expression)| computed(name, expression, &schema))
                .collect();
            for column in added {
                add(&mut schema, column);
            }
            schema
        }
        Operation::Filter(_)
        | Operation::Distinct { .. }
        | Operation::Sort(_)
        | Operation::Sample { .. } => schema,
        Operation::Join {
            right,
            kind,
            columns,
            ..
        } => {
            if !matches!(kind, JoinKind::Semi | JoinKind::Anti) {
                append_right(&mut schema, inputs.get(*right), columns);
            }
            schema
        }
        Operation::AsOfJoin {
            right, on, columns, ..
        } => {
            append_right(&mut schema, inputs.get(*right), columns);
            // The frame goes on being ordered by its own time.
            for (_, name) in columns.iter().filter(|(column, _)| *column == on.1) {
                if let Some(column) = schema.column_mut(name)
                    && column.role == Role::Time
                {
                    column.role = Role::Ignore;
                }
            }
            schema
        }
        Operation::Beside { right, columns } => {
            append_right(&mut schema, inputs.get(*right), columns);
            schema
        }
        Operation::Mark { name, .. } => {
            schema.set(Column::new(name, DataType::Boolean));
            schema
        }
        Operation::Aggregate { by, aggregates } => {
            let mut next = Schema {
                columns: Vec::new(),
                facts: schema.facts.clone(),
                incomplete: schema.incomplete,
            };
            for key in by {
                add(&mut next, schema.column(key).cloned());
            }
            for (name, expression) in aggregates {
                add(&mut next, computed(name, expression, &schema));
            }
            next
        }
        Operation::Window {
            aggregates, frame, ..
        } => {
            let before = schema.clone();
            for (name, expression) in aggregates {
                let mut column = computed(name, expression, &before);
                // What comes later is not known when the row happens: it, and what is computed from it, is no feature.
                if let (WindowFrame::RowsFrom(_), Some(column)) = (frame, &mut column) {
                    column.role = Role::Ignore;
                    column.from_target.insert(name.clone());
                }
                add(&mut schema, column);
            }
            schema
        }
        Operation::Union { others } => {
            // A column is a target's or personal data's heir if it is so in any input.
            for other in others.iter().filter_map(|index| inputs.get(*index)) {
                for column in &other.columns {
                    if let Some(existing) = schema.column_mut(&column.name) {
                        existing
                            .from_target
                            .extend(column.from_target.iter().cloned());
                        existing.from_pii.extend(column.from_pii.iter().cloned());
                    }
                }
            }
            schema
        }
        Operation::Local(local) => Schema {
            facts: schema.facts,
            ..local.schema.clone()
        },
    }
}

/// Only these columns; those that are passed on are looked up by their names once for all, since a frame may have hundreds.
fn projected(columns: &[(String, Expression)], schema: &Schema) -> Schema {
    let mut known: HashMap<&str, &Column> = HashMap::with_capacity(schema.columns.len());
    for column in &schema.columns {
        known.entry(&column.name).or_insert(column);
    }
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(columns.len());
    let mut next: Vec<Column> = Vec::with_capacity(columns.len());
    let mut incomplete = schema.incomplete;
    for (name, expression) in columns {
        let passed_on = match expression {
            Expression::Column(source) => known.get(source.as_str()),
            _ => None,
        };
        let column = match passed_on {
            Some(column) => Some(column.named(name)),
            None => computed(name, expression, schema),
        };
        let Some(column) = column else {
            incomplete = true;
            continue;
        };
        match places.entry(name) {
            Entry::Vacant(free) => {
                free.insert(next.len());
                next.push(column);
            }
            Entry::Occupied(taken) => next[*taken.get()] = column,
        }
    }
    Schema {
        columns: next,
        facts: schema.facts.clone(),
        incomplete,
    }
}

fn add(schema: &mut Schema, column: Option<Column>) {
    match column {
        Some(column) => schema.set(column),
        None => schema.incomplete = true,
    }
}

fn append_right(schema: &mut Schema, right: Option<&Schema>, columns: &[(String, String)]) {
    for (name, wanted) in columns {
        match right.and_then(|right| right.column(name)) {
            Some(column) => schema.set(column.named(wanted)),
            None => schema.incomplete = true,
        }
    }
}

/// The column that an expression makes: a plain column keeps its role; anything computed is a feature with its sources' lineage.
fn computed(name: &str, expression: &Expression, schema: &Schema) -> Option<Column> {
    if let Expression::Column(source) = expression {
        return Some(schema.column(source)?.named(name));
    }
    let mut column = Column::new(name, data_type(expression, schema).ok()?);
    let read = expression.columns();
    // `amount: coalesce(amount, 0)` keeps what `amount` is for.
    if read.contains(name)
        && let Some(replaced) = schema.column(name)
    {
        column.role = replaced.role;
    }
    for source in read.iter().filter_map(|source| schema.column(source)) {
        column
            .from_target
            .extend(source.from_target.iter().cloned());
        column.from_pii.extend(source.from_pii.iter().cloned());
        if source.role == Role::Internal && column.role == Role::Feature {
            column.role = Role::Internal;
        }
    }
    Some(column)
}
