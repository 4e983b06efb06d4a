//! What all models of anomalies have in common: one scale for their scores, one rule for the threshold, the columns that they add.

use polars::prelude::{Column as PolarsColumn, DataType};
use serde::{Deserialize, Serialize};

use crate::{
    CheckContext, Column, Error, Result, Schema,
    classifier::{self, PREDICTION, SCORE},
};

/// Quantiles that are kept of the training rows' scores.
const KNOTS: usize = 1001;

/// How a model's own measure of strangeness becomes a score that is comparable between models: the share of training rows that
/// are less anomalous, so that 0.99 means stranger than 99 % of them.
///
/// Between kept quantiles it is linear. Beyond the strangest training row it goes on rising towards 1, so that no two different
/// measures share a score there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Quantiles of the training rows' measures, from least to greatest, at equal steps.
    knots: Vec<f64>,
    /// Training rows.
    rows: usize,
}

impl Scale {
    /// The scale of these measures of the training rows; greater is stranger.
    ///
    /// # Errors
    /// No rows, and a measure that is not finite.
    pub fn learn(mut measures: Vec<f64>) -> Result<Self> {
        if measures.is_empty() {
            return Err(Error::data("there are no training rows to learn from"));
        }
        if measures.iter().any(|measure| !measure.is_finite()) {
            return Err(Error::Model(
                "the score of a training row is not a finite number".into(),
            ));
        }
        measures.sort_unstable_by(f64::total_cmp);
        let rows = measures.len();
        let count = KNOTS.min(rows);
        let knots = (0..count)
            .map(|knot| match count {
                1 => measures[0],
                _ => {
                    let place = knot as f64 * (rows - 1) as f64 / (count - 1) as f64;
                    let (low, share) = (place.floor() as usize, place.fract());
                    let high = (low + 1).min(rows - 1);
                    measures[low] + (measures[high] - measures[low]) * share
                }
            })
            .collect();
        Ok(Self { knots, rows })
    }

    /// The score of a measure, above 0 and at most 1.
    pub fn score(&self, measure: f64) -> f64 {
        let (Some(least), Some(greatest)) = (self.knots.first(), self.knots.last()) else {
            return f64::NAN;
        };
        // The training rows fill the scores from 1/(rows + 1) to rows/(rows + 1); what lies beyond gets the rest.
        let end = 1.0 / (self.rows as f64 + 1.0);
        let spread = (greatest - least).max(f64::MIN_POSITIVE);
        if measure > *greatest {
            return 1.0 - end * spread / (spread + (measure - greatest));
        }
        if measure < *least {
            return end * spread / (spread + (least - measure));
        }
        // Where several knots are equal the middle of them counts.
        let below = self.knots.partition_point(|knot| *knot < measure);
        let up_to = self.knots.partition_point(|knot| *knot <= measure);
        let place = if up_to > below {
            (below + up_to - 1) as f64 / 2.0
        } else {
            let (low, high) = (self.knots[below - 1], self.knots[below]);
            (below - 1) as f64 + (measure - low) / (high - low)
        };
        let steps = (self.knots.len() - 1).max(1) as f64;
        let place = if self.knots.len() == 1 { 0.5 } else { place };
        end + (1.0 - 2.0 * end) * place / steps
    }

    /// The output columns for measures: `score`, and `prediction`, which is true above `1 - contamination`.
    pub fn columns(&self, measures: &[f64], contamination: f64) -> Vec<PolarsColumn> {
        let scores: Vec<f64> = measures
            .iter()
            .map(|measure| self.score(*measure))
            .collect();
        let is_anomalous: Vec<bool> = scores
            .iter()
            .map(|score| *score > 1.0 - contamination)
            .collect();
        vec![
            PolarsColumn::new(PREDICTION.into(), is_anomalous),
            PolarsColumn::new(SCORE.into(), scores),
        ]
    }
}

/// Default of `contamination`.
pub fn default_contamination() -> f64 {
    0.01
}

/// The input with the columns that a model of anomalies adds, `prediction` and `score` first; reports those whose names are taken.
pub fn with_outputs(input: &Schema, others: Vec<Column>, cx: &mut CheckContext<'_>) -> Schema {
    let mut added = vec![
        Column::new(PREDICTION, DataType::Boolean),
        Column::new(SCORE, DataType::Float64),
    ];
    added.extend(others);
    classifier::with_outputs(input, None, added, cx)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_the_share_of_training_rows_that_are_less_strange() {
        let scale = Scale::learn((0..1000).rev().map(f64::from).collect()).expect("a scale");
        assert!((scale.score(500.0) - 0.5).abs() < 2e-3);
        assert!((scale.score(990.0) - 0.99).abs() < 2e-3);
        assert!(scale.score(-1.0) < scale.score(0.0) && scale.score(-1.0) > 0.0);
    }

    #[test]
    fn strangeness_beyond_all_training_rows_still_differs() {
        let scale = Scale::learn(vec![1.0, 2.0, 4.0]).expect("a scale");
        let scores = [1.0, 2.0, 4.0, 5.0, 1e9].map(|measure| scale.score(measure));
        assert!(
            scores.is_sorted_by(|left, right| left < right),
            "{scores:?}"
        );
        assert_eq!(scores[0], 0.25);
        assert_eq!(scores[2], 0.75);
        assert!(scores[4] < 1.0);
    }

    #[test]
    fn equal_measures_share_the_middle() {
        let scale = Scale::learn(vec![3.0, 3.0, 3.0]).expect("a scale");
        assert_eq!(scale.score(3.0), 0.5);
        assert!(scale.score(4.0) > 0.7 && scale.score(2.0) < 0.3);
        let one = Scale::learn(vec![3.0]).expect("a scale");
        assert_eq!(one.score(3.0), 0.5);
    }

    #[test]
    fn the_threshold_flags_the_declared_share() {
        let measures: Vec<f64> = (0..2000).map(f64::from).collect();
        let scale = Scale::learn(measures.clone()).expect("a scale");
        let columns = scale.columns(&measures, 0.05);
        let flagged = columns[0].bool().expect("bool").sum().expect("rows");
        assert!((99..=101).contains(&flagged), "{flagged}");
    }

    #[test]
    fn refuses_measures_that_are_no_numbers() {
        assert!(Scale::learn(vec![]).is_err());
        assert!(Scale::learn(vec![1.0, f64::NAN]).is_err());
    }
}
