//! A small decision tree over one column: where to cut numbers so that the target differs most between the pieces.

/// Where to cut, in ascending order: halfway between two values of the training rows.
///
/// CART (Breiman et al. 1984), grown best first: again and again the cut that lowers the impurity of all rows most,
/// until there are `pieces` pieces or no cut leaves `least_rows` rows on either side. `answers` are the target as
/// numbers: amounts, or for each class 1 where a row has it and 0 where not. The impurity is the variance of an amount,
/// and for classes twice that is Gini's.
pub(super) fn cuts(
    values: &[f64],
    answers: &[Vec<f64>],
    pieces: usize,
    least_rows: usize,
) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|left, right| values[*left].total_cmp(&values[*right]));
    let values: Vec<f64> = order.iter().map(|row| values[*row]).collect();
    let answers: Vec<Vec<f64>> = answers
        .iter()
        .map(|answer| {
            let mean = answer.iter().sum::<f64>() / answer.len() as f64;
            // Around the mean, so that sums lose no digits.
            order.iter().map(|row| answer[*row] - mean).collect()
        })
        .collect();
    let column = Column {
        values: &values,
        answers: &answers,
        least_rows: least_rows.max(1),
    };
    let mut open: Vec<(usize, usize, Option<Cut>)> =
        vec![(0, values.len(), column.best(0, values.len()))];
    let mut places = Vec::new();
    while open.len() < pieces {
        let gain = |piece: &(usize, usize, Option<Cut>)| piece.2.map_or(0.0, |cut| cut.gain);
        // Of equally good cuts the first.
        let best = (0..open.len())
            .rev()
            .max_by(|left, right| gain(&open[*left]).total_cmp(&gain(&open[*right])));
        let Some((index, (from, to, cut))) = best
            .and_then(|index| Some((index, open.get(index)?)))
            .and_then(|(index, (from, to, cut))| Some((index, (*from, *to, (*cut)?))))
        else {
            break;
        };
        places.push(cut.at);
        open[index] = (from, cut.at, column.best(from, cut.at));
        open.insert(index + 1, (cut.at, to, column.best(cut.at, to)));
    }
    places.sort_unstable();
    places
        .into_iter()
        .map(|at| halfway(values[at - 1], values[at]))
        .collect()
}

/// A number that is not below the first and below the second.
fn halfway(low: f64, high: f64) -> f64 {
    let middle = low + (high - low) / 2.0;
    if middle < high { middle.max(low) } else { low }
}

#[derive(Clone, Copy)]
struct Cut {
    /// The first row of the right side.
    at: usize,
    /// By how much it lowers the sum of squares.
    gain: f64,
}

struct Column<'a> {
    values: &'a [f64],
    answers: &'a [Vec<f64>],
    least_rows: usize,
}

impl Column<'_> {
    /// The best cut of these rows; none where no cut is better than none.
    fn best(&self, from: usize, to: usize) -> Option<Cut> {
        let rows = to - from;
        let totals: Vec<f64> = self
            .answers
            .iter()
            .map(|answer| answer[from..to].iter().sum())
            .collect();
        let squares: f64 = self
            .answers
            .iter()
            .flat_map(|answer| &answer[from..to])
            .map(|value| value * value)
            .sum();
        let whole = totals.iter().map(|total| total * total).sum::<f64>() / rows as f64;
        // Less than rounding would make of nothing.
        let mut best = Cut {
            at: 0,
            gain: 1e-12 * squares,
        };
        let mut lefts = vec![0.0; totals.len()];
        for at in from + 1..to {
            for (left, answer) in lefts.iter_mut().zip(self.answers) {
                *left += answer[at - 1];
            }
            let (left_rows, right_rows) = (at - from, to - at);
            if left_rows < self.least_rows
                || right_rows < self.least_rows
                || self.values[at - 1] == self.values[at]
            {
                continue;
            }
            let sides: f64 = lefts
                .iter()
                .zip(&totals)
                .map(|(left, total)| {
                    left * left / left_rows as f64 + (total - left).powi(2) / right_rows as f64
                })
                .sum();
            if sides - whole > best.gain {
                best = Cut {
                    at,
                    gain: sides - whole,
                };
            }
        }
        (best.at > 0).then_some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGES: [f64; 60] = [
        52.0, 62.3, 55.4, 51.8, 44.3, 58.0, 45.1, 73.3, 77.7, 41.8, 67.1, 50.8, 53.2, 75.4, 22.4,
        23.4, 19.3, 69.6, 66.2, 71.9, 78.7, 67.5, 46.6, 66.4, 25.3, 57.7, 26.9, 76.6, 50.4, 43.7,
        34.4, 66.0, 46.3, 53.2, 19.2, 56.3, 55.9, 56.2, 76.5, 60.3, 40.3, 45.1, 61.3, 21.7, 59.3,
        59.6, 31.0, 26.0, 37.6, 40.6, 53.4, 45.2, 79.3, 24.3, 31.0, 28.0, 58.5, 33.7, 46.9, 33.2,
    ];
    const DEAD: [u8; 60] = [
        1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 1, 1, 0,
        0, 1, 0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
    ];
    const COSTS: [f64; 60] = [
        37.31, 26.16, 23.47, 36.46, 39.92, 26.28, 40.2, 25.91, 23.1, 38.91, 22.98, 38.92, 37.56,
        19.82, 10.53, 8.79, 5.11, 26.39, 22.28, 25.16, 27.19, 25.39, 43.42, 21.3, 11.21, 22.95,
        7.39, 23.26, 39.07, 40.17, 36.5, 27.7, 41.4, 35.39, 14.46, 30.69, 28.54, 24.46, 21.79,
        28.16, 38.79, 43.67, 25.62, 12.93, 26.07, 27.12, 40.03, 15.36, 40.38, 41.21, 45.65, 35.96,
        21.19, 12.91, 36.48, 15.83, 23.76, 37.76, 45.77, 44.44,
    ];
    const GRADES: &str = "bcccbcbccbccccaaacbcccbcacabcbacbcacbcccbbcacbaabbcbcabacaba";

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    // All cuts: scikit-learn 1.9.1, DecisionTreeClassifier and DecisionTreeRegressor with max_leaf_nodes and
    // min_samples_leaf=5 (which keep cuts in 32 bits).

    #[test]
    fn cuts_where_two_classes_differ() {
        let dead = vec![DEAD.map(f64::from).to_vec()];
        close(&cuts(&AGES, &dead, 4, 5), &[36.0, 44.0, 61.8]);
    }

    #[test]
    fn cuts_where_amounts_differ() {
        close(&cuts(&AGES, &[COSTS.to_vec()], 3, 5), &[29.5, 54.4]);
        let far = COSTS.map(|cost| cost + 1e8);
        close(&cuts(&AGES, &[far.to_vec()], 3, 5), &[29.5, 54.4]);
    }

    #[test]
    fn cuts_where_several_classes_differ() {
        let indicators: Vec<Vec<f64>> = ['a', 'b', 'c']
            .iter()
            .map(|class| {
                GRADES
                    .chars()
                    .map(|grade| f64::from(u8::from(grade == *class)))
                    .collect()
            })
            .collect();
        close(&cuts(&AGES, &indicators, 3, 5), &[36.0, 48.65]);
    }

    #[test]
    fn stops_where_nothing_is_gained() {
        assert!(cuts(&[1.0, 2.0, 3.0], &[vec![5.0; 3]], 9, 1).is_empty());
        assert!(cuts(&[1.0, 1.0, 1.0], &[vec![0.0, 1.0, 0.0]], 9, 1).is_empty());
        assert!(cuts(&[1.0, 2.0], &[vec![0.0, 1.0]], 9, 2).is_empty());
        assert!(cuts(&[], &[vec![]], 9, 1).is_empty());
        assert_eq!(cuts(&[2.0, 1.0], &[vec![0.0, 1.0]], 9, 1), [1.5]);
        assert_eq!(halfway(1.0, 1.0 + f64::EPSILON), 1.0);
        assert_eq!(halfway(-f64::MAX, f64::MAX), -f64::MAX);
    }
}
