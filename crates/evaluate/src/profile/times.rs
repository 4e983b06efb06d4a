//! Columns of dates and times.

use polars::prelude::{Column as PolarsColumn, DataType, NamedFrom, Series, TimeUnit};
use serde::Serialize;
use taktline_core::Result;

use super::{Histogram, Looked, most_frequent, rules::Evidence};

/// Range and gaps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Times {
    /// The first point in time.
    pub first: String,
    /// The last.
    pub last: String,
    /// The usual time from one value to the next different one: the median, in seconds; none where there is one value only.
    pub step_seconds: Option<f64>,
    /// Whether every step is the usual one.
    pub is_regular: bool,
    /// Whether the rows are in order of time.
    pub is_in_order: bool,
    /// The longest times without a value, longest first, where they are longer than the usual step.
    pub gaps: Vec<Gap>,
}

/// A time without a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gap {
    /// The value before.
    pub after: String,
    /// The value behind.
    pub before: String,
    /// From one to the other.
    pub seconds: f64,
}

/// The most gaps that are shown.
const GAPS: usize = 3;
const BINS: i64 = 30;

pub(super) fn look(column: &PolarsColumn, looked: &mut Looked) -> Result<()> {
    let physical = column.to_physical_repr().cast(&DataType::Int64)?;
    let mut times: Vec<i64> = physical.i64()?.iter().flatten().collect();
    let is_in_order = times.is_sorted();
    times.sort_unstable();
    let text = |at: i64| -> String {
        Series::new("".into(), [at])
            .cast(&physical_type(column.dtype()))
            .and_then(|at| at.cast(column.dtype()))
            .ok()
            .and_then(|at| Some(at.get(0).ok()?.str_value().into_owned()))
            .unwrap_or_default()
    };
    let counted: Vec<(i64, usize)> = times
        .chunk_by(|one, other| one == other)
        .map(|run| (run[0], run.len()))
        .collect();
    let profile = &mut looked.profile;
    profile.distinct = Some(counted.len());
    let (Some(first), Some(last)) = (times.first().copied(), times.last().copied()) else {
        return Ok(());
    };
    let per_second = ticks_per_second(column.dtype());
    let mut steps: Vec<(i64, i64)> = counted
        .windows(2)
        .map(|pair| (pair[1].0.saturating_sub(pair[0].0), pair[0].0))
        .collect();
    let median = (!steps.is_empty()).then(|| {
        let middle = steps.len() / 2;
        steps.select_nth_unstable(middle).1.0
    });
    let is_regular = median.is_some_and(|median| steps.iter().all(|(step, _)| *step == median));
    // Longest first, earlier ones first among equals.
    steps.sort_unstable_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    let gaps = steps
        .iter()
        .take(GAPS)
        .filter(|(step, _)| median.is_some_and(|median| *step > median))
        .map(|(step, after)| Gap {
            after: text(*after),
            before: text(after + step),
            seconds: *step as f64 / per_second,
        })
        .collect();
    profile.times = Some(Times {
        first: text(first),
        last: text(last),
        step_seconds: median.map(|median| median as f64 / per_second),
        is_regular,
        is_in_order,
        gaps,
    });
    profile.histogram = Some(histogram(&times, first, last, &text));
    profile.frequent = most_frequent(counted, |at| text(*at));
    profile.evidence = Evidence::Times { is_in_order };
    Ok(())
}

/// The whole numbers that the type is kept as.
fn physical_type(dtype: &DataType) -> DataType {
    match dtype {
        DataType::Date => DataType::Int32,
        _ => DataType::Int64,
    }
}

fn ticks_per_second(dtype: &DataType) -> f64 {
    match dtype {
        DataType::Date => 1.0 / 86_400.0,
        DataType::Datetime(TimeUnit::Milliseconds, _) => 1e3,
        DataType::Datetime(TimeUnit::Nanoseconds, _) => 1e9,
        _ => 1e6,
    }
}

fn histogram(times: &[i64], first: i64, last: i64, text: &dyn Fn(i64) -> String) -> Histogram {
    let span = i128::from(last) - i128::from(first) + 1;
    let bins = span.min(i128::from(BINS));
    let edge = |bin: i128| (i128::from(first) + span * bin / bins) as i64;
    let mut counts = vec![0; bins as usize];
    for time in times {
        let bin = (i128::from(*time) - i128::from(first)) * bins / span;
        counts[bin as usize] += 1;
    }
    Histogram {
        edges: (0..bins)
            .map(|bin| text(edge(bin)))
            .chain([text(last)])
            .collect(),
        counts,
        below: 0,
        above: 0,
    }
}
