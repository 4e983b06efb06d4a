//! Rows for the slots of a time grid that have none.

use polars::prelude::{
    BooleanChunked, Column as PolarsColumn, DataFrame, DataType, Float64Chunked, IdxCa, IdxSize,
    Int64Chunked, IntoColumn, NewChunkedArray, PlSmallStr, PolarsResult, Scalar,
    Schema as PolarsSchema, TimeUnit, polars_bail,
};
use taktline_core::Literal;

use super::groups::rows_of;

/// No result of this many rows was meant.
const MOST_ROWS: usize = 100_000_000;

/// What a column holds in a gap.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Gap {
    /// Nothing.
    Null,
    /// The last value before.
    Forward,
    /// What lies in equal steps between the values around.
    Linear,
    /// This.
    Constant(Literal),
}

/// How gaps become rows.
#[derive(Clone)]
pub(super) struct Gaps {
    pub(super) by: Vec<String>,
    pub(super) over: String,
    /// The other columns, and what they hold in gaps.
    pub(super) filled: Vec<(String, Gap)>,
    /// The columns afterwards; one that is none of these says which rows are gaps.
    pub(super) output: PolarsSchema,
}

/// The rows afterwards.
struct Slots {
    /// The rows before that they come from; none for gaps.
    sources: Vec<Option<IdxSize>>,
    /// A row before of the same group.
    members: Vec<IdxSize>,
    times: Vec<i64>,
    /// Where each group begins.
    starts: Vec<usize>,
}

impl Gaps {
    /// The rows with those for the gaps; `next` is the slot after a slot. There is one row for a group and slot.
    pub(super) fn made(
        &self,
        data: &DataFrame,
        next: impl Fn(i64) -> Option<i64>,
    ) -> PolarsResult<DataFrame> {
        let slots = self.slots(data, next)?;
        let height = slots.sources.len();
        let members = IdxCa::from_vec("".into(), slots.members.clone());
        let mut columns = Vec::with_capacity(self.output.len());
        for (name, dtype) in self.output.iter() {
            let column = if *name == self.over.as_str() {
                let times = Int64Chunked::from_vec(name.clone(), slots.times.clone());
                as_times(&times.into_column(), dtype)?
            } else if self.by.iter().any(|key| name == key.as_str()) {
                data.column(name)?.take(&members)?
            } else if let Some((_, gap)) = self
                .filled
                .iter()
                .find(|(filled, _)| name == filled.as_str())
            {
                slots.filled(data.column(name)?, gap, dtype)?
            } else {
                let is_gap = slots.sources.iter().map(Option::is_none);
                BooleanChunked::from_iter_values(name.clone(), is_gap).into_column()
            };
            columns.push(column);
        }
        DataFrame::new(height, columns)
    }

    fn slots(&self, data: &DataFrame, next: impl Fn(i64) -> Option<i64>) -> PolarsResult<Slots> {
        let keys: Vec<PolarsColumn> = self
            .by
            .iter()
            .map(|name| data.column(name).cloned())
            .collect::<PolarsResult<_>>()?;
        let times = data
            .column(&self.over)?
            .to_physical_repr()
            .cast(&DataType::Int64)?;
        let times: Vec<i64> = times.i64()?.iter().map(Option::unwrap_or_default).collect();
        let mut slots = Slots {
            sources: Vec::with_capacity(data.height()),
            members: Vec::with_capacity(data.height()),
            times: Vec::with_capacity(data.height()),
            starts: Vec::new(),
        };
        for mut rows in rows_of(&keys, data.height())? {
            rows.sort_unstable_by_key(|row| times[*row as usize]);
            slots.starts.push(slots.times.len());
            self.refuse_too_many(slots.times.len(), &rows, &times, &next)?;
            let mut at = times[rows[0] as usize];
            for row in &rows {
                let time = times[*row as usize];
                while at < time {
                    slots.push(None, rows[0], at);
                    let Some(later) = next(at) else { break };
                    at = later;
                }
                slots.push(Some(*row), rows[0], time);
                at = next(time).unwrap_or(i64::MAX);
            }
        }
        Ok(slots)
    }

    /// Told from the first slot's length, before any row is made.
    fn refuse_too_many(
        &self,
        made: usize,
        rows: &[IdxSize],
        times: &[i64],
        next: impl Fn(i64) -> Option<i64>,
    ) -> PolarsResult<()> {
        let [first, last] = [rows[0], rows[rows.len() - 1]].map(|row| times[row as usize]);
        let step = next(first).map_or(1, |second| second.saturating_sub(first).max(1));
        let expected = i128::from(last.saturating_sub(first) / step) + made as i128;
        if expected > MOST_ROWS as i128 {
            polars_bail!(
                ComputeError: "the slots of `{}` would make more than {MOST_ROWS} rows; is one of its times far away from the others, or `every` too short?",
                self.over
            );
        }
        Ok(())
    }
}

impl Slots {
    fn push(&mut self, source: Option<IdxSize>, member: IdxSize, time: i64) {
        self.sources.push(source);
        self.members.push(member);
        self.times.push(time);
    }

    /// The places of each group.
    fn groups(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let ends = self
            .starts
            .iter()
            .skip(1)
            .copied()
            .chain([self.sources.len()]);
        self.starts
            .iter()
            .copied()
            .zip(ends)
            .map(|(start, end)| start..end)
    }

    fn filled(
        &self,
        before: &PolarsColumn,
        gap: &Gap,
        to: &DataType,
    ) -> PolarsResult<PolarsColumn> {
        let taken = |sources: &[Option<IdxSize>]| {
            let sources: IdxCa = sources.iter().copied().collect();
            before.take(&sources)
        };
        match gap {
            Gap::Null => taken(&self.sources),
            Gap::Forward => {
                let is_null = before.is_null();
                let mut sources = self.sources.clone();
                for group in self.groups() {
                    let mut last = None;
                    for source in &mut sources[group] {
                        match *source {
                            Some(row) if is_null.get(row as usize) == Some(true) => {}
                            Some(row) => last = Some(row),
                            None => *source = last,
                        }
                    }
                }
                taken(&sources)
            }
            Gap::Linear => self.linear(&taken(&self.sources)?, to),
            Gap::Constant(constant) => {
                let value = PolarsColumn::new_scalar("".into(), scalar(constant), 1).cast(to)?;
                let is_source: BooleanChunked = self
                    .sources
                    .iter()
                    .map(|source| Some(source.is_some()))
                    .collect();
                taken(&self.sources)?.zip_with(&is_source, &value)
            }
        }
    }

    fn linear(&self, values: &PolarsColumn, to: &DataType) -> PolarsResult<PolarsColumn> {
        let numbers = values.cast(&DataType::Float64)?;
        let mut numbers: Vec<Option<f64>> = numbers.f64()?.iter().collect();
        for group in self.groups() {
            let mut last: Option<(usize, f64)> = None;
            for place in group {
                let Some(value) = numbers[place] else {
                    continue;
                };
                if let Some((before, start)) = last {
                    let width = (place - before) as f64;
                    let between = numbers.iter_mut().enumerate().take(place).skip(before + 1);
                    for (slot, number) in between {
                        // A slot with rows whose aggregate is null is no gap.
                        if self.sources[slot].is_none() {
                            let share = (slot - before) as f64 / width;
                            *number = Some(start * (1.0 - share) + value * share);
                        }
                    }
                }
                last = Some((place, value));
            }
        }
        let filled: Float64Chunked = numbers.into_iter().collect();
        filled
            .with_name(values.name().clone())
            .into_column()
            .cast(to)
    }
}

/// Times as polars stores them, as times again.
pub(super) fn as_times(ticks: &PolarsColumn, dtype: &DataType) -> PolarsResult<PolarsColumn> {
    match dtype {
        DataType::Date => ticks.strict_cast(&DataType::Int32)?.cast(dtype),
        _ => ticks.cast(dtype),
    }
}

fn scalar(constant: &Literal) -> Scalar {
    match constant {
        Literal::Null => Scalar::null(DataType::Null),
        Literal::Bool(value) => Scalar::from(*value),
        Literal::Int(value) => Scalar::from(*value),
        Literal::Float(value) => Scalar::from(*value),
        Literal::Text(value) => Scalar::from(PlSmallStr::from(value.as_str())),
        Literal::Timestamp(value) => Scalar::new_datetime(*value, TimeUnit::Microseconds, None),
        Literal::Date(value) => Scalar::new_date(*value),
        Literal::Interval(value) => Scalar::new_duration(*value, TimeUnit::Microseconds),
    }
}
