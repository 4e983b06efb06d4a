//! How far predicted probabilities can be taken at their word.

use super::mean;

/// The mean of `-ln P(true class)`, with probabilities kept away from 0 by the machine epsilon; `None` of no rows.
pub fn log_loss(of_truth: &[f64], weights: Option<&[f64]>) -> Option<f64> {
    mean(of_truth.len(), weights, |row| {
        -of_truth[row].clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
    })
}

/// The mean square of predicted probability minus truth (0 or 1); `None` of no rows.
pub fn brier(scores: &[f64], truths: &[bool], weights: Option<&[f64]>) -> Option<f64> {
    mean(scores.len(), weights, |row| {
        (scores[row] - f64::from(u8::from(truths[row]))).powi(2)
    })
}

/// Rows whose scores lie in one range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationBin {
    /// Weight of the rows.
    pub weight: f64,
    /// The mean score.
    pub predicted: f64,
    /// The share of positive rows.
    pub observed: f64,
}

/// Mean score against share of positives in equally wide ranges of the score from 0 to 1; empty ranges are left out.
pub fn calibration(
    scores: &[f64],
    truths: &[bool],
    weights: Option<&[f64]>,
    bins: usize,
) -> Vec<CalibrationBin> {
    let bins = bins.max(1);
    let mut sums = vec![(0.0, 0.0, 0.0); bins];
    for (row, score) in scores.iter().enumerate() {
        let weight = weights.map_or(1.0, |weights| weights[row]);
        let bin = ((score * bins as f64) as usize).min(bins - 1);
        let (rows, predicted, observed) = &mut sums[bin];
        *rows += weight;
        *predicted += weight * score;
        *observed += weight * f64::from(u8::from(truths[row]));
    }
    sums.into_iter()
        .filter(|(weight, ..)| *weight > 0.0)
        .map(|(weight, predicted, observed)| CalibrationBin {
            weight,
            predicted: predicted / weight,
            observed: observed / weight,
        })
        .collect()
}

/// The mean distance of what was predicted from what was observed, over ranges by their rows: the expected calibration error
/// (Naeini, Cooper and Hauskrecht, 2015). `None` of no rows.
pub fn calibration_error(bins: &[CalibrationBin]) -> Option<f64> {
    let weights: Vec<f64> = bins.iter().map(|bin| bin.weight).collect();
    mean(bins.len(), Some(&weights), |bin| {
        (bins[bin].predicted - bins[bin].observed).abs()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let loss = log_loss(&[0.5, 0.25], None).expect("rows");
        assert!((loss - (2.0_f64.ln() + 4.0_f64.ln()) / 2.0).abs() < 1e-15);
        assert_eq!(
            brier(&[1.0, 0.5], &[false, true], None),
            Some((1.0 + 0.25) / 2.0)
        );
        assert_eq!(
            brier(&[1.0, 0.5], &[false, true], Some(&[0.0, 2.0])),
            Some(0.25)
        );
    }

    #[test]
    fn a_sure_mistake_is_dear_but_finite() {
        let loss = log_loss(&[0.0], None).expect("a row");
        assert!((loss - 36.04365338911715).abs() < 1e-9);
        assert_eq!(log_loss(&[], None), None);
    }

    #[test]
    fn calibration_error_weighs_ranges_by_their_rows() {
        // Three rows at 0.15 of which one is positive, one row at 1 that is: (3 × |0.15 - 1/3| + 0) / 4.
        let bins = calibration(
            &[0.15, 0.15, 0.15, 1.0],
            &[false, true, false, true],
            None,
            10,
        );
        let error = calibration_error(&bins).expect("rows");
        assert!((error - 3.0 * (1.0 / 3.0 - 0.15) / 4.0).abs() < 1e-15);
        assert_eq!(calibration_error(&[]), None);
    }

    #[test]
    fn calibration_leaves_empty_ranges_out() {
        let bins = calibration(
            &[0.05, 0.15, 0.12, 1.0],
            &[false, true, false, true],
            None,
            10,
        );
        assert_eq!(bins.len(), 3);
        assert_eq!((bins[1].weight, bins[1].observed), (2.0, 0.5));
        assert_eq!(
            bins[2],
            CalibrationBin {
                weight: 1.0,
                predicted: 1.0,
                observed: 1.0
            }
        );
    }
}
