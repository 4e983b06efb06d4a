//! As-of joins → polars. Its own works too; but it is compiled for every pair of key types, which takes as long as the
//! rest of polars-ops together.

use polars::{
    lazy::dsl::{concat_lf_diagonal, when},
    prelude::*,
};
use taktline_core::{AsOfDirection, Result, Schema as FrameSchema};

use super::{
    expression::column,
    joins::{Pairs, right_side},
    operation::ROW,
    window::{Order, ticks},
};

pub(super) struct AsOf<'a> {
    pub(super) on: &'a (String, String),
    pub(super) by: Pairs<'a>,
    pub(super) columns: Pairs<'a>,
    pub(super) direction: AsOfDirection,
    pub(super) allow_equal: bool,
    pub(super) tolerance: Option<i64>,
}

/// True in the rows of the left side, null in those of the right; no name that a spec can write.
const LEFT: &str = "\u{1}left";

/// Both sides become one frame, left rows first, in which every left row looks for its neighbour among the right ones.
pub(super) fn as_of(
    left: LazyFrame,
    right: (LazyFrame, &FrameSchema),
    schema: &FrameSchema,
    join: &AsOf<'_>,
) -> Result<LazyFrame> {
    let on: Vec<(String, String)> = join.by.iter().chain([join.on]).cloned().collect();
    let dtype = schema
        .column(&join.on.0)
        .map_or(DataType::Int64, |column| column.dtype.clone());
    let known = on
        .iter()
        .map(|(left, _)| column(left).is_not_null())
        .reduce(Expr::and)
        .unwrap_or_else(|| lit(true));
    // A row whose key or time is missing has no neighbour and is none: it gets no time.
    let time = when(known)
        .then(ticks(column(&join.on.0), &dtype))
        .otherwise(lit(NULL));
    let right = right_side(right, schema, &on, join.columns, false)?;
    let left = left.with_columns([lit(true).alias(LEFT)]);
    let search = Search {
        by: join.by.iter().map(|(left, _)| left.clone()).collect(),
        columns: join.columns.iter().map(|(_, name)| name.clone()).collect(),
        direction: join.direction,
        allow_equal: join.allow_equal,
        tolerance: join.tolerance.map(|tolerance| match dtype {
            DataType::Datetime(TimeUnit::Nanoseconds, _) => tolerance.saturating_mul(1000),
            _ => tolerance,
        }),
    };
    let both = concat_lf_diagonal([left, right], UnionArgs::default())?
        .with_columns([time.alias(ROW)])
        .map(
            move |rows| search.run(rows),
            AllowedOptimizations::empty(),
            Some(std::sync::Arc::new(|input: &Schema| {
                let mut output = input.clone();
                output.shift_remove(LEFT);
                output.shift_remove(ROW);
                Ok(std::sync::Arc::new(output))
            })),
            Some("as-of join"),
        );
    Ok(both)
}

struct Search {
    by: Vec<String>,
    /// The right side's columns.
    columns: Vec<String>,
    direction: AsOfDirection,
    allow_equal: bool,
    tolerance: Option<i64>,
}

/// Rows of one group and time: the right side's first and last, if any.
struct Moment {
    time: i64,
    right: Option<(IdxSize, IdxSize)>,
    left: std::ops::Range<usize>,
}

impl Search {
    fn run(&self, rows: DataFrame) -> PolarsResult<DataFrame> {
        let height = rows.column(LEFT)?.len() - rows.column(LEFT)?.null_count();
        let keys: Vec<Series> = self
            .by
            .iter()
            .map(|name| Ok(rows.column(name)?.as_materialized_series().rechunk()))
            .collect::<PolarsResult<_>>()?;
        let times = rows.column(ROW)?.as_materialized_series().rechunk();
        let order = Order::of(&keys, times.i64()?)?;
        let neighbours: IdxCa = self.neighbours(&order, height).into_iter().collect();
        let mut joined = rows.slice(0, height).drop_many([LEFT, ROW]);
        for name in &self.columns {
            let found = rows.column(name)?.take(&neighbours)?;
            joined.with_column(found)?;
        }
        Ok(joined)
    }

    /// For each left row the row of its neighbour.
    fn neighbours(&self, order: &Order, height: usize) -> Vec<Option<IdxSize>> {
        let mut neighbours = vec![None; height];
        let mut moments: Vec<Moment> = Vec::new();
        let mut lefts: Vec<IdxSize> = Vec::new();
        let mut start = 0;
        for &end in &order.ends {
            moments.clear();
            lefts.clear();
            for (&row, &time) in order.rows[start..end].iter().zip(&order.times[start..end]) {
                if moments.last().is_none_or(|moment| moment.time != time) {
                    moments.push(Moment {
                        time,
                        right: None,
                        left: lefts.len()..lefts.len(),
                    });
                }
                let Some(moment) = moments.last_mut() else {
                    continue;
                };
                if (row as usize) < height {
                    lefts.push(row);
                    moment.left.end += 1;
                } else {
                    let first = moment.right.map_or(row, |(first, _)| first);
                    moment.right = Some((first, row));
                }
            }
            self.search(&moments, &lefts, &mut neighbours);
            start = end;
        }
        neighbours
    }

    fn search(&self, moments: &[Moment], lefts: &[IdxSize], neighbours: &mut [Option<IdxSize>]) {
        // The nearest moments with right rows on either side, this one included where it counts.
        let mut following: Vec<Option<usize>> = vec![None; moments.len()];
        let mut next = None;
        for (place, moment) in moments.iter().enumerate().rev() {
            let here = moment.right.map(|_| place);
            following[place] = here.filter(|_| self.allow_equal).or(next);
            next = here.or(next);
        }
        let mut previous = None;
        for (place, moment) in moments.iter().enumerate() {
            let here = moment.right.map(|_| place);
            let before = here.filter(|_| self.allow_equal).or(previous);
            previous = here.or(previous);
            if moment.left.is_empty() {
                continue;
            }
            let distance = |other: &usize| moments[*other].time.abs_diff(moment.time);
            let is_near = |other: &usize| {
                self.tolerance
                    .is_none_or(|tolerance| distance(other) <= tolerance.unsigned_abs())
            };
            let before = before.filter(is_near);
            let after = following[place].filter(is_near);
            let first = |place: usize| moments[place].right.map(|(first, _)| first);
            let last = |place: usize| moments[place].right.map(|(_, last)| last);
            let neighbour = match self.direction {
                AsOfDirection::Backward => before.and_then(last),
                AsOfDirection::Forward => after.and_then(first),
                // Of two at the same distance the later one.
                AsOfDirection::Nearest => match (before, after) {
                    (Some(before), Some(after)) if distance(&before) < distance(&after) => {
                        last(before)
                    }
                    (before, after) => after.or(before).and_then(last),
                },
            };
            for row in &lefts[moment.left.clone()] {
                neighbours[*row as usize] = neighbour;
            }
        }
    }
}
