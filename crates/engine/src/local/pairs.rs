//! Correlation and covariance over windows that move.

use std::ops::Range;

use taktline_core::PairAggregate;

use super::sliding::{ExactSum, Sliding, is_spoilt};

/// Sums of the pairs in a window, measured from a pair near those in it, so that squares stay small.
pub(super) struct Pairs<'v> {
    values: &'v [Option<(f64, f64)>],
    aggregate: PairAggregate,
    count: u64,
    /// Pairs with a value that is infinite or not a number: while there are any, so is the result.
    odd: u64,
    origin: (f64, f64),
    sums: Sums,
    /// The positions in the window.
    held: Range<usize>,
}

#[derive(Default, Clone, Copy)]
struct Sums {
    left: ExactSum,
    right: ExactSum,
    left_squares: ExactSum,
    right_squares: ExactSum,
    products: ExactSum,
}

impl<'v> Pairs<'v> {
    pub(super) fn new(values: &'v [Option<(f64, f64)>], aggregate: PairAggregate) -> Self {
        Self {
            values,
            aggregate,
            count: 0,
            odd: 0,
            origin: (0.0, 0.0),
            sums: Sums::default(),
            held: 0..0,
        }
    }

    /// Whether the pair that left took digits with it that those still there need.
    fn is_spoilt(&self, pair: (f64, f64)) -> bool {
        let (origin, sums) = (self.origin, &self.sums);
        let side = |left: f64, origin: f64, sum, squares| {
            is_spoilt(left - origin, origin, self.count, sum, Some(squares))
        };
        side(pair.0, origin.0, sums.left, sums.left_squares)
            || side(pair.1, origin.1, sums.right, sums.right_squares)
    }

    /// Starts again with what is in the window.
    fn restart(&mut self) {
        let values = self.values;
        let mut pairs = values[self.held.clone()]
            .iter()
            .flatten()
            .copied()
            .filter(|pair| is_finite(*pair))
            .peekable();
        self.origin = pairs.peek().copied().unwrap_or_default();
        self.sums = Sums::default();
        pairs.for_each(|pair| self.count(pair, 1.0));
    }

    fn count(&mut self, (left, right): (f64, f64), sign: f64) {
        let (left, right) = (left - self.origin.0, right - self.origin.1);
        let sums = &mut self.sums;
        sums.left.add(sign * left);
        sums.right.add(sign * right);
        sums.left_squares.add_product(left, left, sign);
        sums.right_squares.add_product(right, right, sign);
        sums.products.add_product(left, right, sign);
    }
}

fn is_finite((left, right): (f64, f64)) -> bool {
    left.is_finite() && right.is_finite()
}

impl Sliding for Pairs<'_> {
    type Output = f64;

    fn enter(&mut self, position: usize) {
        if self.held.is_empty() {
            self.held.start = position;
        }
        self.held.end = position + 1;
        let Some(pair) = self.values[position] else {
            return;
        };
        if !is_finite(pair) {
            self.odd += 1;
            return;
        }
        if self.count == 0 {
            self.origin = pair;
            self.sums = Sums::default();
        }
        self.count += 1;
        self.count(pair, 1.0);
    }

    fn leave(&mut self, position: usize) {
        self.held.start = position + 1;
        let Some(pair) = self.values[position] else {
            return;
        };
        if !is_finite(pair) {
            self.odd -= 1;
            return;
        }
        self.count -= 1;
        self.count(pair, -1.0);
        if self.is_spoilt(pair) {
            self.restart();
        }
    }

    fn clear(&mut self, _: Range<usize>) {
        (self.count, self.odd) = (0, 0);
        self.held = 0..0;
        self.sums = Sums::default();
    }

    fn result(&self) -> Option<f64> {
        if self.count + self.odd < 2 {
            return None;
        }
        if self.odd > 0 {
            return Some(f64::NAN);
        }
        let count = self.count as f64;
        let sums = &self.sums;
        let together = sums
            .products
            .times(count)
            .minus(sums.left.multiplied(sums.right))
            .value();
        if self.aggregate == PairAggregate::Covariance {
            return Some(together / count / (count - 1.0));
        }
        let spread = |squares: ExactSum, sum: ExactSum| {
            let squares = squares.times(count);
            let spread = squares.minus(sum.multiplied(sum)).value();
            // What is left of values that are all equal is rounding in the last of some 32 digits.
            (spread > 1e-26 * squares.value()).then_some(spread)
        };
        let left = spread(sums.left_squares, sums.left)?;
        let right = spread(sums.right_squares, sums.right)?;
        Some((together / (left.sqrt() * right.sqrt())).clamp(-1.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::sliding::slide;

    #[test]
    fn an_outlier_leaves_no_trace() {
        for place in [0, 2, 4] {
            let mut values: Vec<Option<(f64, f64)>> = [
                (1.0, 2.0),
                (2.0, 3.0),
                (4.0, 9.0),
                (5.0, 7.0),
                (8.0, 8.0),
                (9.0, 12.0),
            ]
            .map(Some)
            .to_vec();
            values.insert(place, Some((-1e17, 3e16)));
            let windows = |from: usize| -> Vec<Range<u32>> {
                (from..values.len() as u32 as usize)
                    .map(|end| (end as u32).saturating_sub(2).max(from as u32)..end as u32 + 1)
                    .collect()
            };
            for aggregate in [PairAggregate::Covariance, PairAggregate::Correlation] {
                let all = slide(&windows(0), Pairs::new(&values, aggregate));
                // As if the rows before the window after the outlier had never been.
                let late = slide(&windows(place + 1), Pairs::new(&values, aggregate));
                assert_eq!(all[place + 3..], late[2..], "{aggregate:?} at {place}");
            }
        }
    }
}
