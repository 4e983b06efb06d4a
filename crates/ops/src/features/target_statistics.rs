//! What a target looks like within each category: means that lean towards the mean of all rows where a category has few.

/// How far the mean of a category leans towards the mean of all rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Smoothing {
    /// As much as the category's rows are few and unlike each other: the empirical Bayes estimate of Micci-Barreca
    /// 2001, "A preprocessing scheme for high-cardinality categorical attributes", equations 3 and 5, as scikit-learn's
    /// `TargetEncoder` has it: weight `n v / (n v + s)`, where `n` is the number of rows of the category, `s` the
    /// variance within it and `v` that of all rows.
    Auto,
    /// As if this many rows more had the mean of all: the m-estimate, `(sum + m mean) / (n + m)`.
    Rows(f64),
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    rows: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, value: f64) {
        self.rows += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    fn mean(self) -> f64 {
        self.sum / self.rows
    }

    /// Divided by n.
    fn variance(self) -> f64 {
        (self.squares / self.rows - self.mean().powi(2)).max(0.0)
    }
}

/// The encoding of each category (their codes are below `categories`), and then the mean of all rows for any other value,
/// as learned from these rows: each has a category's code and a target.
pub(super) fn encodings(
    rows: impl Iterator<Item = (u32, f64)> + Clone,
    categories: usize,
    smoothing: Smoothing,
) -> Vec<f64> {
    let (mut count, mut sum) = (0.0_f64, 0.0_f64);
    for (_, target) in rows.clone() {
        count += 1.0;
        sum += target;
    }
    let mean = sum / count;
    // Around the mean, so that squares of a far-off target lose no digits.
    let (mut all, mut within) = (Sums::default(), vec![Sums::default(); categories]);
    for (code, target) in rows {
        all.add(target - mean);
        within[code as usize].add(target - mean);
    }
    let variance = all.variance();
    let encode = |category: &Sums| {
        if category.rows == 0.0 {
            return mean;
        }
        match smoothing {
            Smoothing::Rows(rows) => mean + category.sum / (category.rows + rows),
            Smoothing::Auto => {
                let between = variance * category.rows;
                let weight = between / (between + category.variance());
                // Both are 0 where the target never changes.
                if weight.is_nan() {
                    mean
                } else {
                    mean + weight * category.mean()
                }
            }
        }
    };
    within.iter().map(encode).chain([mean]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// a a a b b b b c c d
    const CITIES: [u32; 10] = [0, 0, 0, 1, 1, 1, 1, 2, 2, 3];
    const BINARY: [f64; 10] = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0];
    const PRICES: [f64; 10] = [3.0, 5.0, 4.0, 10.0, 12.0, 11.0, 9.0, 1.0, 2.0, 7.0];
    const FOLDS: [u32; 10] = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0];

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    fn all(targets: &[f64; 10], smoothing: Smoothing) -> Vec<f64> {
        encodings(CITIES.into_iter().zip(*targets), 4, smoothing)
    }

    fn out_of_fold(targets: &[f64; 10], smoothing: Smoothing) -> Vec<f64> {
        let tables: Vec<Vec<f64>> = (0..3)
            .map(|fold| {
                let others = (0..10).filter(move |row| FOLDS[*row] != fold);
                encodings(others.map(|row| (CITIES[row], targets[row])), 4, smoothing)
            })
            .collect();
        (0..10)
            .map(|row| tables[FOLDS[row] as usize][CITIES[row] as usize])
            .collect()
    }

    // All figures: scikit-learn 1.9.1, TargetEncoder, fitted on all rows or on the rows of the other folds.

    #[test]
    fn a_category_leans_by_its_size_and_spread() {
        close(
            &all(&BINARY, Smoothing::Auto),
            &[0.6285714285714286, 0.2894736842105263, 1.0, 0.0, 0.5],
        );
        close(
            &all(&PRICES, Smoothing::Auto),
            &[
                4.037394827048924,
                10.410729838007315,
                1.54324038122132,
                7.0,
                6.4,
            ],
        );
        close(
            &all(&BINARY, Smoothing::Rows(2.0)),
            &[0.6, 1.0 / 3.0, 0.75, 1.0 / 3.0, 0.5],
        );
        close(
            &all(&PRICES, Smoothing::Rows(5.0)),
            &[5.5, 8.222222222222221, 5.0, 6.5, 6.4],
        );
    }

    #[test]
    fn a_row_does_not_see_its_own_fold() {
        close(
            &out_of_fold(&BINARY, Smoothing::Auto),
            &[
                0.56,
                1.0,
                0.41860465116279066,
                0.56,
                0.3886255924170615,
                0.0,
                0.56,
                1.0,
                1.0,
                0.6666666666666666,
            ],
        );
        close(
            &out_of_fold(&BINARY, Smoothing::Rows(2.0)),
            &[
                0.5833333333333333,
                0.7857142857142857,
                0.39285714285714285,
                0.5833333333333333,
                0.42857142857142855,
                0.11428571428571428,
                0.5833333333333333,
                0.7142857142857143,
                0.5238095238095238,
                0.6666666666666666,
            ],
        );
        close(
            &out_of_fold(&PRICES, Smoothing::Auto),
            &[
                4.509295120061967,
                3.534196773460577,
                4.0980103168754605,
                11.460495739736638,
                9.93271926311574,
                10.197993894461405,
                11.460495739736638,
                2.0,
                1.0,
                5.833333333333333,
            ],
        );
    }

    #[test]
    fn a_far_off_target_loses_no_digits() {
        let far = PRICES.map(|price| price + 1e9);
        for (found, expected) in all(&far, Smoothing::Auto)
            .iter()
            .zip(all(&PRICES, Smoothing::Auto))
        {
            assert!((found - 1e9 - expected).abs() < 1e-5, "{found} {expected}");
        }
        assert_eq!(all(&[3.0; 10], Smoothing::Auto), [3.0; 5]);
    }
}
