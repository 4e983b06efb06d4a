//! Numbers in order, some coming and some going.

use std::cmp::Ordering;

/// Numbers in order, in runs of so many at most; not a number is the largest.
///
/// One comes or goes by moving the numbers of its run, whatever their number in all; up to the length of a run, that is what
/// a plain list costs, and nothing is quicker for so few.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    /// None is empty, but where it is the only one: most windows need no other, and its room is kept.
    runs: Vec<Vec<f64>>,
    len: usize,
}

const RUN: usize = 512;

impl Ordered {
    fn compare(one: f64, other: f64) -> Ordering {
        match (one.is_nan(), other.is_nan()) {
            (false, false) => one.partial_cmp(&other).unwrap_or(Ordering::Equal),
            (one, other) => one.cmp(&other),
        }
    }

    /// The run and the place in it of the first number that is not below this one.
    fn place(&self, value: f64) -> (usize, usize) {
        let below = |other: &f64| Self::compare(*other, value) == Ordering::Less;
        let run = self
            .runs
            .partition_point(|run| run.last().is_some_and(below));
        let within = |run: &Vec<f64>| run.partition_point(below);
        (run, self.runs.get(run).map_or(0, within))
    }

    pub(super) fn insert(&mut self, value: f64) {
        let (mut run, mut place) = self.place(value);
        if run == self.runs.len() {
            // Above all others: at the end of the last run.
            match self.runs.last() {
                Some(last) => (run, place) = (run - 1, last.len()),
                None => self.runs.push(Vec::new()),
            }
        }
        let numbers = &mut self.runs[run];
        numbers.insert(place, value);
        if numbers.len() > RUN {
            let upper = numbers.split_off(RUN / 2);
            self.runs.insert(run + 1, upper);
        }
        self.len += 1;
    }

    /// Takes one such number out, which must be there.
    pub(super) fn remove(&mut self, value: f64) {
        let (run, place) = self.place(value);
        self.runs[run].remove(place);
        if self.runs[run].is_empty() && self.runs.len() > 1 {
            self.runs.remove(run);
        }
        self.len -= 1;
    }

    pub(super) fn clear(&mut self) {
        self.runs.truncate(1);
        if let Some(run) = self.runs.first_mut() {
            run.clear();
        }
        self.len = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The number at this place in the order, from 0.
    pub(super) fn get(&self, mut place: usize) -> Option<f64> {
        for run in &self.runs {
            match run.get(place) {
                Some(number) => return Some(*number),
                None => place -= run.len(),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_sorted_list_whatever_comes_and_goes() {
        let mut state = 1_u64;
        let mut next = |below: u64| {
            // Knuth's MMIX constants.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        // Many that are equal, and few; growing beyond several runs, then shrinking to none.
        for kinds in [3, 1 << 20] {
            let (mut ordered, mut list) = (Ordered::default(), Vec::<f64>::new());
            for step in 0..12_000 {
                let grows = step < 6_000 || list.is_empty();
                if grows || next(3) == 0 {
                    let value = match next(kinds) {
                        0 => f64::NAN,
                        1 => f64::NEG_INFINITY,
                        value => value as f64 - 1e3,
                    };
                    let place = list
                        .partition_point(|other| Ordered::compare(*other, value) == Ordering::Less);
                    list.insert(place, value);
                    ordered.insert(value);
                } else {
                    let value = list.remove(next(list.len() as u64) as usize);
                    ordered.remove(value);
                }
                assert_eq!(ordered.len(), list.len());
                let place = next(list.len().max(1) as u64) as usize;
                let (found, expected) = (ordered.get(place), list.get(place).copied());
                assert!(
                    found.map(f64::to_bits) == expected.map(f64::to_bits),
                    "{found:?} in the place of {expected:?}"
                );
            }
            assert_eq!(ordered.get(list.len()), None);
            ordered.clear();
            assert_eq!((ordered.len(), ordered.get(0)), (0, None));
        }
    }

    #[test]
    fn no_number_moves_more_than_a_run() {
        let mut ordered = Ordered::default();
        for value in 0..100_000 {
            ordered.insert(f64::from(value * 7_919 % 100_003));
        }
        assert!(ordered.runs.iter().all(|run| run.len() <= RUN));
        assert!(ordered.runs.len() <= 2 * 100_000 / (RUN / 2));
    }
}
