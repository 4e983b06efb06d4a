//! Filling nulls with what stands around them in a group.

use std::sync::Arc;

use polars::{
    lazy::dsl::apply_multiple,
    prelude::{
        ChunkedArray, Column as PolarsColumn, DataType, Expr, Field, Float64Chunked, IdxCa,
        IdxSize, IntoColumn, PolarsResult,
    },
};
use taktline_core::{Column, Local, Operation, Schema};

use super::groups::rows_of;

/// Where a filled value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// The last value before.
    Forward,
    /// The first value after.
    Backward,
    /// The line between both.
    Between,
}

/// Which nulls are filled, and from where.
pub(super) struct OrderedFill {
    pub(super) by: Vec<String>,
    pub(super) over: Option<String>,
    /// The columns to fill, with their types afterwards.
    pub(super) columns: Vec<Column>,
    pub(super) direction: Direction,
    /// The most nulls in a row.
    pub(super) limit: Option<u32>,
}

impl OrderedFill {
    /// The operation. Not relational: no aggregate over a window finds the nearest value that is not null.
    pub(super) fn operation(self, input: &Schema) -> Operation {
        let mut schema = input.clone();
        for column in &self.columns {
            schema.set(column.clone());
        }
        let keys: Vec<String> = self.by.iter().chain(&self.over).cloned().collect();
        let reads = keys
            .iter()
            .cloned()
            .chain(self.columns.iter().map(|column| column.name.clone()))
            .collect();
        Operation::Local(Local {
            name: "fill nulls from the rows around",
            reads,
            keeps_rows: true,
            schema,
            apply: Arc::new(move |frame| {
                let filled: Vec<Expr> = self
                    .columns
                    .iter()
                    .map(|column| self.expression(column, &keys))
                    .collect();
                Ok(frame.with_columns(filled))
            }),
        })
    }

    fn expression(&self, column: &Column, keys: &[String]) -> Expr {
        let exactly = |name: &String| Expr::Column(name.as_str().into());
        let inputs: Vec<Expr> = keys.iter().chain([&column.name]).map(exactly).collect();
        let output = Field::new(column.name.as_str().into(), column.dtype.clone());
        let (key_count, has_time) = (self.by.len(), self.over.is_some());
        let (direction, limit) = (self.direction, self.limit);
        let to = column.dtype.clone();
        apply_multiple(
            move |columns: &mut [PolarsColumn]| {
                let Some((values, keys)) = columns.split_last() else {
                    return Ok(PolarsColumn::default());
                };
                let (by, over) = keys.split_at(key_count);
                let order = Order::of(by, over.first().filter(|_| has_time), values.len())?;
                match direction {
                    Direction::Between => order.interpolated(values, &to),
                    _ => order.carried(values, direction, limit),
                }
            },
            inputs,
            move |_, _| Ok(output.clone()),
            false,
        )
        .alias(column.name.as_str())
    }
}

/// The rows of each group in order, with their places in it.
struct Order {
    groups: Vec<Vec<IdxSize>>,
    /// When each row is, where a column says so.
    times: Option<Vec<Option<i64>>>,
}

impl Order {
    fn of(by: &[PolarsColumn], over: Option<&PolarsColumn>, height: usize) -> PolarsResult<Self> {
        let mut groups = rows_of(by, height)?;
        let Some(over) = over else {
            return Ok(Self {
                groups,
                times: None,
            });
        };
        let ticks = over.to_physical_repr().strict_cast(&DataType::Int64)?;
        let times: Vec<Option<i64>> = ticks.i64()?.iter().collect();
        for group in &mut groups {
            group.retain(|row| times[*row as usize].is_some());
            // Stable: rows of the same time keep their order.
            group.sort_by_key(|row| times[*row as usize]);
        }
        Ok(Self {
            groups,
            times: Some(times),
        })
    }

    /// The values with nulls replaced by the nearest in one direction.
    fn carried(
        &self,
        values: &PolarsColumn,
        direction: Direction,
        limit: Option<u32>,
    ) -> PolarsResult<PolarsColumn> {
        let is_null = values.is_null();
        let mut sources: Vec<IdxSize> = (0..values.len() as IdxSize).collect();
        let limit = limit.unwrap_or(u32::MAX);
        let mut carry = |rows: &mut dyn Iterator<Item = IdxSize>| {
            let mut last: Option<(IdxSize, u32)> = None;
            for row in rows {
                if is_null.get(row as usize) != Some(true) {
                    last = Some((row, 0));
                } else if let Some((source, filled)) = &mut last
                    && *filled < limit
                {
                    *filled += 1;
                    sources[row as usize] = *source;
                }
            }
        };
        for group in &self.groups {
            match direction {
                Direction::Backward => carry(&mut group.iter().rev().copied()),
                _ => carry(&mut group.iter().copied()),
            }
        }
        let sources: IdxCa = ChunkedArray::from_vec("".into(), sources);
        values.take(&sources)
    }

    /// The values with nulls replaced by what lies on the line between their neighbours.
    fn interpolated(&self, values: &PolarsColumn, to: &DataType) -> PolarsResult<PolarsColumn> {
        let numbers = values.cast(&DataType::Float64)?;
        let mut numbers: Vec<Option<f64>> = numbers.f64()?.iter().collect();
        for group in &self.groups {
            let place = |index: usize| match &self.times {
                None => index as f64,
                // Only differences count; against the first, they are small.
                Some(times) => {
                    let of = |index: usize| times[group[index] as usize].unwrap_or_default();
                    i128::from(of(index)).saturating_sub(i128::from(of(0))) as f64
                }
            };
            let mut last: Option<(usize, f64)> = None;
            for index in 0..group.len() {
                let Some(value) = numbers[group[index] as usize] else {
                    continue;
                };
                if let Some((before, start)) = last {
                    let width = place(index) - place(before);
                    for between in before + 1..index {
                        // Of neighbours at the very same time the earlier row counts.
                        let share = if width > 0.0 {
                            (place(between) - place(before)) / width
                        } else {
                            0.0
                        };
                        numbers[group[between] as usize] =
                            Some(start * (1.0 - share) + value * share);
                    }
                }
                last = Some((index, value));
            }
        }
        let filled: Float64Chunked = numbers.into_iter().collect();
        filled
            .with_name(values.name().clone())
            .into_column()
            .cast(to)
    }
}
