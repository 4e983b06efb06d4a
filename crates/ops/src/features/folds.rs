//! Parting the training rows into folds, the same way while learning and while applying.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How the training rows were parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Folds {
    /// How many folds.
    pub(super) count: usize,
    /// How many training rows.
    pub(super) rows: usize,
    /// The seed of their order.
    pub(super) seed: u64,
}

impl Folds {
    /// The fold of each training row, in row order: the rows are dealt out in a random order, so that folds differ by one
    /// row at most.
    pub(super) fn of_rows(self) -> Vec<u32> {
        let mut order: Vec<usize> = (0..self.rows).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        let mut folds = vec![0; self.rows];
        for (row, fold) in order.into_iter().zip((0..self.count as u32).cycle()) {
            folds[row] = fold;
        }
        folds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_are_even_and_repeatable() {
        let folds = Folds {
            count: 3,
            rows: 11,
            seed: 7,
        };
        let found = folds.of_rows();
        let size = |fold: u32| found.iter().filter(|other| **other == fold).count();
        assert_eq!([size(0), size(1), size(2)], [4, 4, 3]);
        assert_eq!(found, folds.of_rows());
        assert_ne!(found, Folds { seed: 8, ..folds }.of_rows());
        assert_eq!(Folds { rows: 0, ..folds }.of_rows(), Vec::<u32>::new());
    }
}
