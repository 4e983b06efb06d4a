//! Joins of a table with a much larger one: rows of the larger that have no partner are left out first.

use polars::prelude::{DataType, Expr, LazyFrame};
use taktline_core::{Cardinality, Expression, JoinKind, Operation, Schema, Shape};

use super::Run;
use crate::sieve::{MOST_KEYS, Sieve};

/// How many times the rows of the left side the right side must have: else the join itself is as quick.
const LARGER: usize = 2;

/// Whether equal values have equal hashes wherever they come from; codes of categories, for one, do not.
fn is_hashed_by_value(dtype: &DataType) -> bool {
    dtype.is_integer()
        || matches!(
            dtype,
            DataType::String | DataType::Boolean | DataType::Date | DataType::Datetime(..)
        )
}

impl Run<'_> {
    /// Leaves out rows of the right side of the stage's join for which the left side has no key, where it is known that it pays:
    /// both sides come from files that tell how many rows they have, and of which some columns can be read alone.
    pub(super) fn sift_right(
        &mut self,
        index: usize,
        operations: &[Operation],
        frames: &mut [LazyFrame],
        schemas: &[Schema],
    ) {
        // How often a key comes is an error for some joins, and a full join shows rows without a partner.
        let Some(Operation::Join {
            right,
            on,
            kind: JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti,
            expect: Cardinality::ManyToMany,
            ..
        }) = operations.first()
        else {
            return;
        };
        let (Some(frame), [left, ..]) = (frames.get_mut(*right), schemas) else {
            return;
        };
        let plan = self.plan;
        let inputs = &plan.stages[index].inputs;
        let (left_keys, right_keys): (Vec<String>, Vec<String>) = on.iter().cloned().unzip();
        let types = left_keys
            .iter()
            .map(|key| Some(left.column(key)?.dtype.clone()).filter(is_hashed_by_value))
            .collect::<Option<Vec<_>>>();
        let found = self.origin(inputs[0], left_keys).zip(types);
        let larger = inputs
            .get(*right)
            .and_then(|input| self.origin(*input, Vec::new()));
        let (Some(((source, names), types)), Some((larger, _))) = (found, larger) else {
            return;
        };
        let (Some(rows), Some(of_right)) = (self.rows_told(source), self.rows_told(larger)) else {
            return;
        };
        if rows > MOST_KEYS || of_right < LARGER * rows {
            return;
        }
        self.queries.begin();
        let Ok(first) = self.frame(source) else {
            return;
        };
        let keys: Vec<Expr> = names
            .into_iter()
            .map(|name| Expr::Column(name.into()))
            .collect();
        // What is wrong with the source is told by the query itself.
        let Ok(Some(sieve)) = Sieve::of(first.select(keys)) else {
            return;
        };
        let right_keys = right_keys.into_iter().zip(types).collect();
        *frame = match self.scanned_alone(inputs[*right]) {
            Some(scan) => {
                self.tallies[larger].set_rows(of_right);
                scan.filter(sieve.condition(right_keys))
            }
            None => sieve.sift(frame.clone(), right_keys),
        };
    }

    /// The rows of a source that nothing counts or watches on their way to this join, so that the file itself may leave some out.
    fn scanned_alone(&self, index: usize) -> Option<LazyFrame> {
        let is_watched = self
            .extents
            .iter()
            .flatten()
            .any(|extent| extent.cut == index);
        match self.plan.stages[index].stage.shape() {
            Shape::Source(source) if self.readers[index] == 1 && !is_watched => {
                source.scan(&self.source_context()).ok()
            }
            _ => None,
        }
    }

    fn rows_told(&self, source: usize) -> Option<usize> {
        match self.plan.stages[source].stage.shape() {
            Shape::Source(source) => source.rows(&self.source_context()).ok().flatten(),
            _ => None,
        }
    }

    /// The source that these columns of the stage's rows come from, unchanged and at least once each, and what they are called there.
    fn origin(&self, index: usize, mut names: Vec<String>) -> Option<(usize, Vec<String>)> {
        let stage = &self.plan.stages[index];
        let operations = match stage.stage.shape() {
            Shape::Source(_) => return Some((index, names)),
            Shape::Relational(_) => self.planned_operations(index)?,
            Shape::Expect(_) | Shape::Split(_) => Vec::new(),
            _ => return None,
        };
        for operation in operations.iter().rev() {
            let is_made_here = match operation {
                Operation::Filter(_)
                | Operation::Distinct { .. }
                | Operation::Sort(_)
                | Operation::Sample { .. } => false,
                Operation::With(columns) => columns.iter().any(|(name, _)| names.contains(name)),
                Operation::Project(columns) => {
                    for name in &mut names {
                        let (_, value) = columns.iter().find(|(made, _)| made == name)?;
                        let Expression::Column(before) = value else {
                            return None;
                        };
                        name.clone_from(before);
                    }
                    false
                }
                Operation::Join { kind, columns, .. } => {
                    *kind == JoinKind::Full || columns.iter().any(|(_, name)| names.contains(name))
                }
                Operation::Mark { name, .. } => names.contains(name),
                _ => true,
            };
            if is_made_here {
                return None;
            }
        }
        self.origin(*stage.inputs.first()?, names)
    }
}
