//! Aggregates over windows that move: what comes in, what goes out, and what is left.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, VecDeque},
    ops::Range,
};

use super::ordered::Ordered;

/// What an aggregate remembers while its window moves.
pub(super) trait Sliding {
    type Output;
    /// The value at this position comes in.
    fn enter(&mut self, position: usize);
    /// The value at this position, the oldest, goes out.
    fn leave(&mut self, position: usize);
    /// Nothing is in any more. Called when a window shares nothing with the one before, so that rounding never outlives
    /// what caused it.
    fn clear(&mut self, held: Range<usize>);
    fn result(&self) -> Option<Self::Output>;
}

pub(super) fn slide<S: Sliding>(windows: &[Range<u32>], mut state: S) -> Vec<Option<S::Output>> {
    let (mut first, mut last) = (0, 0);
    windows
        .iter()
        .map(|window| {
            let (start, end) = (window.start as usize, window.end as usize);
            if start >= last {
                state.clear(first..last);
                (first, last) = (start, start);
            }
            while first < start {
                state.leave(first);
                first += 1;
            }
            while last < end {
                state.enter(last);
                last += 1;
            }
            state.result()
        })
        .collect()
}

pub(super) struct Counted<'v> {
    pub(super) known: &'v [bool],
    pub(super) count: i64,
}

impl Sliding for Counted<'_> {
    type Output = i64;
    fn enter(&mut self, position: usize) {
        self.count += i64::from(self.known[position]);
    }
    fn leave(&mut self, position: usize) {
        self.count -= i64::from(self.known[position]);
    }
    fn clear(&mut self, _: Range<usize>) {
        self.count = 0;
    }
    fn result(&self) -> Option<i64> {
        Some(self.count)
    }
}

pub(super) struct Distinct<'v> {
    pub(super) identities: &'v [Option<u32>],
    pub(super) counts: Vec<u32>,
    pub(super) distinct: i64,
}

impl Sliding for Distinct<'_> {
    type Output = i64;
    fn enter(&mut self, position: usize) {
        if let Some(identity) = self.identities[position] {
            let count = &mut self.counts[identity as usize];
            self.distinct += i64::from(*count == 0);
            *count += 1;
        }
    }
    fn leave(&mut self, position: usize) {
        if let Some(identity) = self.identities[position] {
            let count = &mut self.counts[identity as usize];
            *count -= 1;
            self.distinct -= i64::from(*count == 0);
        }
    }
    fn clear(&mut self, held: Range<usize>) {
        for position in held {
            self.leave(position);
        }
    }
    fn result(&self) -> Option<i64> {
        Some(self.distinct)
    }
}

pub(super) struct WholeSum<'v> {
    pub(super) values: &'v [Option<i64>],
    pub(super) sum: i128,
}

impl Sliding for WholeSum<'_> {
    type Output = i128;
    fn enter(&mut self, position: usize) {
        self.sum += i128::from(self.values[position].unwrap_or(0));
    }
    fn leave(&mut self, position: usize) {
        self.sum -= i128::from(self.values[position].unwrap_or(0));
    }
    fn clear(&mut self, _: Range<usize>) {
        self.sum = 0;
    }
    fn result(&self) -> Option<i128> {
        Some(self.sum)
    }
}

pub(super) enum RealValues {
    Dense(Vec<f64>),
    Sparse(Vec<Option<f64>>),
}

impl RealValues {
    #[inline]
    fn get(&self, position: usize) -> Option<f64> {
        match self {
            Self::Dense(values) => Some(values[position]),
            Self::Sparse(values) => values[position],
        }
    }
}

/// A sum that remembers what rounding took off it (Dekker, "A floating-point technique for extending the available
/// precision", 1971): with twice the digits, what leaves a window takes with it what it brought.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ExactSum {
    high: f64,
    low: f64,
}

impl ExactSum {
    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        let sum = self.high + value;
        let back = sum - self.high;
        let error = (self.high - (sum - back)) + (value - back);
        let low = self.low + error;
        self.high = sum + low;
        self.low = low - (self.high - sum);
    }

    #[inline]
    pub(super) fn value(self) -> f64 {
        self.high + self.low
    }

    /// Adds the square of `value`, or takes it off again.
    #[inline]
    fn add_square(&mut self, value: f64, sign: f64) {
        self.add_product(value, value, sign);
    }

    /// Adds a product, or takes it off again.
    #[inline]
    pub(super) fn add_product(&mut self, left: f64, right: f64, sign: f64) {
        let (product, error) = product(left, right);
        self.add(sign * product);
        self.add(sign * error);
    }

    /// This times `factor`, without loss.
    pub(super) fn times(self, factor: f64) -> Self {
        let (high, error) = product(self.high, factor);
        let mut result = Self { high, low: 0.0 };
        result.add(error);
        result.add(self.low * factor);
        result
    }

    fn squared(self) -> Self {
        self.multiplied(self)
    }

    /// This times another, but for what is smaller than the last digit of both.
    pub(super) fn multiplied(self, other: Self) -> Self {
        let (high, error) = product(self.high, other.high);
        let mut result = Self { high, low: 0.0 };
        result.add(error);
        result.add(self.high * other.low + self.low * other.high);
        result
    }

    /// Takes another off.
    pub(super) fn minus(mut self, other: Self) -> Self {
        self.add(-other.high);
        self.add(-other.low);
        self
    }
}

/// A product and what rounding took off it (Dekker 1971, with Veltkamp's splitting): a fused multiply-add would do the same
/// in one step, but is a slow call where the processor that we build for lacks it.
#[inline]
fn product(left: f64, right: f64) -> (f64, f64) {
    const SPLIT: f64 = 134_217_729.0; // 2^27 + 1
    let halves = |value: f64| {
        let scaled = SPLIT * value;
        let high = scaled - (scaled - value);
        (high, value - high)
    };
    let result = left * right;
    let ((left_high, left_low), (right_high, right_low)) = (halves(left), halves(right));
    let error = ((left_high * right_high - result) + left_high * right_low + left_low * right_high)
        + left_low * right_low;
    // Where splitting overflows there is no error to tell.
    (result, if error.is_finite() { error } else { 0.0 })
}

/// Whether a value that left, as far from the origin as `left`, took digits with it that the `count` values still there need.
#[inline]
pub(super) fn is_spoilt(
    left: f64,
    origin: f64,
    count: u64,
    sum: ExactSum,
    squares: Option<ExactSum>,
) -> bool {
    const HUGE: f64 = 1e145;
    // Under a square of more than 10^12 times the others', too few of the digits of these were kept.
    const DIGITS: f64 = 1e-12;
    // Values that are much further from the origin than from each other lose digits on the way.
    const AWAY: f64 = 1e-6;
    let sum = sum.value();
    let squares = squares.map(ExactSum::value);
    if left.abs() > HUGE || origin.abs() > HUGE {
        return !sum.is_finite() || squares.is_some_and(|squares| !squares.is_finite());
    }
    squares.is_some_and(|squares| {
        let spread = squares * count as f64 - sum * sum;
        squares < left * left * DIGITS || spread < sum * sum * AWAY
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Sum,
    Mean,
    Variance,
    StdDev,
}

/// Sums of values and of squares. Infinite values and those that are no number are counted apart: nothing would be left
/// of a sum once they had been in it.
pub(super) struct Moments {
    values: RealValues,
    moment: Moment,
    count: u64,
    not_a_number: u64,
    above: u64,
    below: u64,
    /// A finite value near those in the window: spread is measured from it, so that squares stay small.
    origin: f64,
    sum: ExactSum,
    squares: ExactSum,
    /// The positions in the window.
    held: Range<usize>,
}

impl Moments {
    pub(super) fn new(values: RealValues, moment: Moment) -> Self {
        Self {
            values,
            moment,
            count: 0,
            not_a_number: 0,
            above: 0,
            below: 0,
            origin: 0.0,
            sum: ExactSum::default(),
            squares: ExactSum::default(),
            held: 0..0,
        }
    }

    /// Finite values in the window.
    fn finite(&self) -> u64 {
        self.count - self.not_a_number - self.above - self.below
    }

    fn is_spread(&self) -> bool {
        matches!(self.moment, Moment::Variance | Moment::StdDev)
    }

    #[inline]
    fn add(&mut self, value: f64) {
        let value = value - self.origin;
        self.sum.add(value);
        if self.is_spread() {
            self.squares.add_square(value, 1.0);
        }
    }

    fn finite_values(&self) -> impl Iterator<Item = f64> + '_ {
        let values = self.held.clone().filter_map(|at| self.values.get(at));
        values.filter(|value| value.is_finite())
    }

    /// Starts again with what is in the window. As rare as values far from all others, or windows far from where they began.
    fn restart(&mut self) {
        let Some(first) = self.finite_values().next() else {
            return;
        };
        self.origin = if self.is_spread() { first } else { 0.0 };
        self.sum = ExactSum::default();
        self.squares = ExactSum::default();
        for at in self.held.clone() {
            if let Some(value) = self.values.get(at).filter(|value| value.is_finite()) {
                self.add(value);
            }
        }
    }

    /// The sum of values that are all finite; where it is beyond all numbers, at least its sign.
    fn total(&self) -> f64 {
        let sum = self.sum.value();
        if sum.is_nan() {
            return self.finite_values().sum();
        }
        sum
    }

    #[inline]
    fn apart(&mut self, value: f64) -> &mut u64 {
        if value.is_nan() {
            &mut self.not_a_number
        } else if value > 0.0 {
            &mut self.above
        } else {
            &mut self.below
        }
    }
}

impl Sliding for Moments {
    type Output = f64;

    #[inline]
    fn enter(&mut self, position: usize) {
        if self.held.is_empty() {
            self.held.start = position;
        }
        self.held.end = position + 1;
        let Some(value) = self.values.get(position) else {
            return;
        };
        if self.finite() == 0 && value.is_finite() {
            self.origin = if self.is_spread() { value } else { 0.0 };
            self.sum = ExactSum::default();
            self.squares = ExactSum::default();
        }
        self.count += 1;
        if !value.is_finite() {
            *self.apart(value) += 1;
            return;
        }
        self.add(value);
    }

    #[inline]
    fn leave(&mut self, position: usize) {
        self.held.start = position + 1;
        let Some(value) = self.values.get(position) else {
            return;
        };
        self.count -= 1;
        if !value.is_finite() {
            *self.apart(value) -= 1;
            return;
        }
        if self.finite() == 0 {
            self.sum = ExactSum::default();
            return;
        }
        let value = value - self.origin;
        self.sum.add(-value);
        if self.is_spread() {
            self.squares.add_square(value, -1.0);
        }
        let squares = self.is_spread().then_some(self.squares);
        if is_spoilt(value, self.origin, self.finite(), self.sum, squares) {
            self.restart();
        }
    }

    fn clear(&mut self, _: Range<usize>) {
        (self.count, self.not_a_number, self.above, self.below) = (0, 0, 0, 0);
        self.origin = 0.0;
        self.sum = ExactSum::default();
        self.squares = ExactSum::default();
        self.held = 0..0;
    }

    fn result(&self) -> Option<f64> {
        let count = self.count as f64;
        let sum = match (self.not_a_number, self.above, self.below) {
            (0, 0, 0) => self.total(),
            (0, _, 0) => f64::INFINITY,
            (0, 0, _) => f64::NEG_INFINITY,
            _ => f64::NAN,
        };
        match self.moment {
            Moment::Sum => Some(sum),
            Moment::Mean => (self.count > 0).then(|| sum / count),
            Moment::Variance | Moment::StdDev => {
                if self.count < 2 {
                    return None;
                }
                if self.finite() < self.count {
                    return Some(f64::NAN);
                }
                if !self.squares.value().is_finite() {
                    return Some(f64::INFINITY);
                }
                let spread = self.squares.times(count).minus(self.sum.squared());
                let variance = (spread.value() / count / (count - 1.0)).max(0.0);
                Some(if self.moment == Moment::StdDev {
                    variance.sqrt()
                } else {
                    variance
                })
            }
        }
    }
}

/// The values of the window in order; not a number is the largest.
pub(super) struct Sorted {
    values: RealValues,
    sorted: Ordered,
    /// Where in the order the result lies, from 0 to 1.
    share: f64,
}

impl Sorted {
    pub(super) fn new(values: RealValues, share: f64) -> Self {
        Self {
            values,
            sorted: Ordered::default(),
            share,
        }
    }
}

impl Sliding for Sorted {
    type Output = f64;
    fn enter(&mut self, position: usize) {
        if let Some(value) = self.values.get(position) {
            self.sorted.insert(value);
        }
    }
    fn leave(&mut self, position: usize) {
        if let Some(value) = self.values.get(position) {
            self.sorted.remove(value);
        }
    }
    fn clear(&mut self, _: Range<usize>) {
        self.sorted.clear();
    }
    fn result(&self) -> Option<f64> {
        let last = self.sorted.len().checked_sub(1)?;
        let place = self.share * last as f64;
        let lower = place.floor() as usize;
        let (low, high) = (
            self.sorted.get(lower)?,
            self.sorted.get((lower + 1).min(last))?,
        );
        let beyond = place - lower as f64;
        Some(if beyond == 0.0 {
            low
        } else if beyond == 0.5 {
            (low + high) / 2.0
        } else {
            low + (high - low) * beyond
        })
    }
}

/// How often each value stands in the window, by its rank, the most frequent last.
pub(super) struct Frequent {
    ranks: Vec<Option<u32>>,
    counts: Vec<u32>,
    /// A position that holds the value of each rank.
    example: Vec<u32>,
    order: BTreeSet<(u32, Reverse<u32>)>,
}

impl Frequent {
    pub(super) fn new(ranks: Vec<Option<u32>>) -> Self {
        let distinct = ranks
            .iter()
            .flatten()
            .max()
            .map_or(0, |most| *most as usize + 1);
        let mut example = vec![0; distinct];
        for (position, rank) in ranks.iter().enumerate() {
            if let Some(rank) = rank {
                example[*rank as usize] = position as u32;
            }
        }
        Self {
            ranks,
            counts: vec![0; distinct],
            example,
            order: BTreeSet::new(),
        }
    }

    fn count(&mut self, position: usize, change: impl Fn(u32) -> u32) {
        let Some(rank) = self.ranks[position] else {
            return;
        };
        let before = self.counts[rank as usize];
        let after = change(before);
        self.counts[rank as usize] = after;
        self.order.remove(&(before, Reverse(rank)));
        if after > 0 {
            self.order.insert((after, Reverse(rank)));
        }
    }
}

impl Sliding for Frequent {
    type Output = u32;
    fn enter(&mut self, position: usize) {
        self.count(position, |count| count + 1);
    }
    fn leave(&mut self, position: usize) {
        self.count(position, |count| count - 1);
    }
    fn clear(&mut self, held: Range<usize>) {
        for position in held {
            self.leave(position);
        }
    }
    fn result(&self) -> Option<u32> {
        self.order
            .last()
            .map(|(_, Reverse(rank))| self.example[*rank as usize])
    }
}

/// The positions that can still become the best of a window, best first (a monotone queue).
pub(super) struct Extreme<'v, T, B> {
    pub(super) values: &'v [Option<T>],
    /// Whether the first is at least as good as the second.
    pub(super) better: B,
    pub(super) best: VecDeque<u32>,
}

impl<T: Copy, B: Fn(T, T) -> bool> Sliding for Extreme<'_, T, B> {
    type Output = u32;
    fn enter(&mut self, position: usize) {
        let Some(value) = self.values[position] else {
            return;
        };
        while let Some(last) = self
            .best
            .back()
            .and_then(|last| self.values[*last as usize])
        {
            if !(self.better)(value, last) {
                break;
            }
            self.best.pop_back();
        }
        self.best.push_back(position as u32);
    }
    fn leave(&mut self, position: usize) {
        if self.best.front() == Some(&(position as u32)) {
            self.best.pop_front();
        }
    }
    fn clear(&mut self, _: Range<usize>) {
        self.best.clear();
    }
    fn result(&self) -> Option<u32> {
        self.best.front().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The deviation in each window of that many values, by the definition.
    fn deviations(values: &[f64], width: usize) -> (Vec<Option<f64>>, Vec<Option<f64>>) {
        let windows: Vec<Range<u32>> = (1..=values.len())
            .map(|end| end.saturating_sub(width) as u32..end as u32)
            .collect();
        let defined = |window: &Range<u32>| {
            let held = &values[window.start as usize..window.end as usize];
            let count = held.len() as f64;
            let mean = held.iter().sum::<f64>() / count;
            let spread: f64 = held.iter().map(|value| (value - mean).powi(2)).sum();
            (held.len() > 1).then(|| (spread / (count - 1.0)).sqrt())
        };
        let moments = Moments::new(RealValues::Dense(values.to_vec()), Moment::StdDev);
        (
            slide(&windows, moments),
            windows.iter().map(defined).collect(),
        )
    }

    #[test]
    fn an_outlier_leaves_no_trace() {
        let tail = [1.0, 2.0, 4.0, 8.5, 3.0, 3.0, 3.0, 7.0];
        for outlier in [1e6, -1e12, 1e17, -1e40] {
            for place in [0, 2, 5] {
                let mut values = tail.to_vec();
                values.insert(place, outlier);
                for width in [2, 3, 5] {
                    let (found, defined) = deviations(&values, width);
                    for (found, defined) in found.iter().zip(&defined) {
                        let (found, defined) = (found.unwrap_or(-1.0), defined.unwrap_or(-1.0));
                        assert!(
                            (found - defined).abs() <= 1e-9 * defined.abs(),
                            "{values:?} over {width}: {found} for {defined}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn values_that_drift_away_keep_their_digits() {
        let values: Vec<f64> = (0..5_000)
            .map(|row| f64::from(row) * 1e6 + f64::from(row * row % 7) * 0.125)
            .collect();
        let (found, defined) = deviations(&values, 4);
        for (found, defined) in found.iter().zip(&defined).skip(1) {
            let (found, defined) = (found.expect("a number"), defined.expect("a number"));
            assert!(
                (found / defined - 1.0).abs() < 1e-12,
                "{found} for {defined}"
            );
        }
    }

    #[test]
    fn sums_beyond_all_numbers_end_with_their_window() {
        let values = [1.5e308, 1.5e308, 1.0, 2.0, 4.0];
        let windows = [0..1, 0..2, 1..3, 2..4, 3..5];
        let of = |moment| {
            let values = RealValues::Dense(values.to_vec());
            slide(&windows, Moments::new(values, moment))
        };
        assert_eq!(
            of(Moment::Sum),
            [1.5e308, f64::INFINITY, 1.5e308, 3.0, 6.0].map(Some)
        );
        assert_eq!(
            of(Moment::Variance)[1..],
            [0.0, f64::INFINITY, 0.5, 2.0].map(Some)
        );
        // A gap: nothing of the first window, nor of what lies between, is in the second.
        let apart = [0..2, 3..4, 3..5];
        let values = RealValues::Dense(values.to_vec());
        let found = slide(&apart, Moments::new(values, Moment::Variance));
        assert_eq!(found, [Some(0.0), None, Some(2.0)]);
    }
}
