//! Columns of numbers.

use polars::prelude::{Column as PolarsColumn, DataType};
use serde::Serialize;
use taktline_core::Result;

use super::{
    Histogram, Looked, association::Comparable, format::figure, most_frequent, rules::Evidence,
};

/// Figures of the finite values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Numbers {
    /// The least.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation, of a sample (n - 1); none of a single value.
    pub standard_deviation: Option<f64>,
    /// Quantiles.
    pub quantiles: Quantiles,
    /// Values that are 0.
    pub zeros: usize,
    /// Values below 0.
    pub negative: usize,
    /// Infinite values, which the other figures leave out.
    pub infinite: usize,
    /// Values that are not a number, which the other figures leave out.
    pub not_a_number: usize,
}

/// Quantiles, interpolated linearly between the two nearest values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// 1 %
    pub p01: f64,
    /// 5 %
    pub p05: f64,
    /// 25 %
    pub p25: f64,
    /// 50 %
    pub median: f64,
    /// 75 %
    pub p75: f64,
    /// 95 %
    pub p95: f64,
    /// 99 %
    pub p99: f64,
}

/// Whole numbers above this are not exact as `f64`.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Different whole numbers that get a bin each.
const FEW: f64 = 30.0;

pub(super) fn look(column: &PolarsColumn, looked: &mut Looked) -> Result<()> {
    let is_whole = column.dtype().is_integer();
    let cast = column.cast(&DataType::Float64)?;
    let values = cast.f64()?;
    let (mut infinite, mut not_a_number) = (0, 0);
    let mut kinds_of_infinite = [false; 2];
    let mut by_row = Vec::with_capacity(values.len());
    let mut sorted: Vec<(f64, u32)> = Vec::with_capacity(values.len());
    for (row, value) in (0_u32..).zip(values.iter()) {
        match value {
            Some(value) if value.is_finite() => {
                by_row.push(value);
                // Without it 0 and -0 would be two values.
                sorted.push((value + 0.0, row));
            }
            Some(value) if value.is_nan() => {
                not_a_number += 1;
                by_row.push(f64::NAN);
            }
            Some(value) => {
                infinite += 1;
                kinds_of_infinite[usize::from(value > 0.0)] = true;
                by_row.push(f64::NAN);
            }
            None => by_row.push(f64::NAN),
        }
    }
    sorted.sort_unstable_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    let runs = runs(&sorted);
    let others = kinds_of_infinite.into_iter().filter(|there| *there).count()
        + usize::from(not_a_number > 0);
    let is_exact = sorted
        .first()
        .zip(sorted.last())
        .is_none_or(|(first, last)| first.0 > -EXACT && last.0 < EXACT);
    let profile = &mut looked.profile;
    profile.distinct = Some(if is_whole && !is_exact {
        column.as_materialized_series().n_unique()? - usize::from(profile.nulls > 0)
    } else {
        runs.len() + others
    });
    if let (Some((min, _)), Some((max, _))) = (sorted.first(), sorted.last()) {
        let count = sorted.len() as f64;
        let mean = sorted.iter().map(|(value, _)| value).sum::<f64>() / count;
        let squares: f64 = sorted.iter().map(|(value, _)| (value - mean).powi(2)).sum();
        let at = |share: f64| quantile(&sorted, share);
        let quantiles = Quantiles {
            p01: at(0.01),
            p05: at(0.05),
            p25: at(0.25),
            median: at(0.5),
            p75: at(0.75),
            p95: at(0.95),
            p99: at(0.99),
        };
        profile.numbers = Some(Numbers {
            min: *min,
            max: *max,
            mean,
            standard_deviation: (sorted.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
            quantiles,
            zeros: sorted.iter().filter(|(value, _)| *value == 0.0).count(),
            negative: sorted.iter().filter(|(value, _)| *value < 0.0).count(),
            infinite,
            not_a_number,
        });
        profile.histogram = Some(histogram(&sorted, &quantiles, is_whole));
        if is_exact {
            let counted = runs
                .iter()
                .map(|(value, count)| (Ordered(*value), *count))
                .collect();
            profile.frequent = most_frequent(counted, |value| value.0.to_string());
        }
        profile.evidence = Evidence::Numbers {
            min: *min,
            max: *max,
            is_whole,
            is_finite: infinite + not_a_number == 0,
            is_exact,
        };
    }
    looked.comparable = Comparable::Numbers {
        values: by_row,
        order: sorted.into_iter().map(|(_, row)| row).collect(),
    };
    Ok(())
}

/// Numbers in their order.
#[derive(PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Each different value and how often it occurs.
fn runs(sorted: &[(f64, u32)]) -> Vec<(f64, usize)> {
    sorted
        .chunk_by(|one, other| one.0 == other.0)
        .map(|run| (run[0].0, run.len()))
        .collect()
}

/// Definition 7 of R. Hyndman, Y. Fan: "Sample quantiles in statistical packages", The American Statistician 50, 1996.
fn quantile(sorted: &[(f64, u32)], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let low = sorted[below].0;
    match sorted.get(below + 1) {
        Some((high, _)) => low + (place - below as f64) * (high - low),
        None => low,
    }
}

/// Bins by the rule of Freedman and Diaconis, between 8 and 40 of them; where a few values lie farther from the others than
/// these from each other, they are only counted.
fn histogram(sorted: &[(f64, u32)], quantiles: &Quantiles, is_whole: bool) -> Histogram {
    let (min, max) = (sorted[0].0, sorted[sorted.len() - 1].0);
    let body = quantiles.p99 - quantiles.p01;
    let low = if body > 0.0 && quantiles.p01 - min > 2.0 * body {
        quantiles.p01
    } else {
        min
    };
    let high = if body > 0.0 && max - quantiles.p99 > 2.0 * body {
        quantiles.p99
    } else {
        max
    };
    let (low, width, bins) = if is_whole && high.floor() - low.ceil() < FEW {
        (low.ceil(), 1.0, (high.floor() - low.ceil()) as usize + 1)
    } else if high > low {
        let spread = quantiles.p75 - quantiles.p25;
        let ideal = 2.0 * spread / (sorted.len() as f64).cbrt();
        let bins = if ideal > 0.0 {
            ((high - low) / ideal).ceil().clamp(8.0, 40.0)
        } else {
            20.0
        };
        (low, (high - low) / bins, bins as usize)
    } else {
        (low, 1.0, 1)
    };
    let is_single = is_whole && width == 1.0;
    let mut histogram = Histogram {
        edges: (0..=bins)
            .map(|bin| figure(low + bin as f64 * width))
            .collect(),
        counts: vec![0; bins],
        below: 0,
        above: 0,
    };
    let end = if is_single {
        low + bins as f64 - 1.0
    } else {
        high
    };
    for (value, _) in sorted {
        if *value < low {
            histogram.below += 1;
        } else if *value > end {
            histogram.above += 1;
        } else {
            let bin = ((value - low) / width) as usize;
            histogram.counts[bin.min(bins - 1)] += 1;
        }
    }
    histogram
}
