//! What follows from the order of the scores: one sort serves every curve, metric and threshold.

/// What a mistake costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Of a positive row that is not flagged.
    pub missed: f64,
    /// Of a negative row that is flagged.
    pub false_alarm: f64,
}

/// What happens when every row with a score at or above `threshold` is flagged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Operation {
    /// The lowest score that is flagged.
    pub threshold: f64,
    /// Weight of the positive rows that are flagged.
    pub true_positives: f64,
    /// Weight of the negative rows that are flagged.
    pub false_positives: f64,
}

/// Rows by falling score: an [`Operation`] for every threshold that makes a difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// One for each different score, from the highest; rows of equal score are flagged together or not at all.
    pub operations: Vec<Operation>,
    /// Weight of the positive rows.
    pub positives: f64,
    /// Weight of the negative rows.
    pub negatives: f64,
}

struct Row {
    score: f64,
    positive: f64,
    negative: f64,
}

impl Ranking {
    /// Sorts the rows. Scores are finite.
    pub fn of(scores: &[f64], truths: &[bool], weights: Option<&[f64]>) -> Self {
        let mut rows: Vec<Row> = scores
            .iter()
            .zip(truths)
            .enumerate()
            .map(|(row, (score, truth))| {
                let weight = weights.map_or(1.0, |weights| weights[row]);
                let (positive, negative) = if *truth { (weight, 0.0) } else { (0.0, weight) };
                // -0 and 0 are one score.
                Row {
                    score: score + 0.0,
                    positive,
                    negative,
                }
            })
            .collect();
        rows.sort_unstable_by(|left, right| right.score.total_cmp(&left.score));
        let mut operations: Vec<Operation> = Vec::new();
        let (mut positives, mut negatives) = (0.0, 0.0);
        for row in &rows {
            positives += row.positive;
            negatives += row.negative;
            let now = Operation {
                threshold: row.score,
                true_positives: positives,
                false_positives: negatives,
            };
            match operations.last_mut() {
                Some(last) if last.threshold == row.score => *last = now,
                _ => operations.push(now),
            }
        }
        Self {
            operations,
            positives,
            negatives,
        }
    }

    /// The chance that a positive row scores above a negative one, ties counting half: the area under the ROC curve.
    ///
    /// `None` unless there are rows of both classes.
    pub fn roc_auc(&self) -> Option<f64> {
        let area = self.positives * self.negatives;
        let mut last = (0.0, 0.0);
        let mut sum = 0.0;
        for operation in &self.operations {
            sum += (operation.false_positives - last.1) * (operation.true_positives + last.0) / 2.0;
            last = (operation.true_positives, operation.false_positives);
        }
        (area > 0.0).then(|| sum / area)
    }

    /// The mean of precision over the steps of recall, `Σ (R_n - R_{n-1}) P_n`, without interpolation.
    ///
    /// `None` unless there are positive rows.
    pub fn average_precision(&self) -> Option<f64> {
        let mut last = 0.0;
        let mut sum = 0.0;
        for operation in &self.operations {
            let gained = operation.true_positives - last;
            if gained > 0.0 {
                sum += gained * operation.true_positives
                    / (operation.true_positives + operation.false_positives);
                last = operation.true_positives;
            }
        }
        (self.positives > 0.0).then(|| sum / self.positives)
    }

    /// The threshold with the highest recall whose false alarms are at most this share of all negative rows.
    ///
    /// `None` unless there are rows of both classes.
    pub fn at_false_alarm_rate(&self, rate: f64) -> Option<Operation> {
        if self.positives <= 0.0 || self.negatives <= 0.0 {
            return None;
        }
        let allowed = self
            .operations
            .partition_point(|operation| operation.false_positives <= rate * self.negatives);
        Some(match allowed.checked_sub(1) {
            Some(last) => self.operations[last],
            None => self.flag_nothing(),
        })
    }

    /// What a threshold does to these rows.
    pub fn at(&self, threshold: f64) -> Operation {
        let flagged = self
            .operations
            .partition_point(|operation| operation.threshold >= threshold);
        match flagged.checked_sub(1) {
            Some(last) => Operation {
                threshold,
                ..self.operations[last]
            },
            None => Operation {
                threshold,
                true_positives: 0.0,
                false_positives: 0.0,
            },
        }
    }

    /// The cheapest threshold; it may flag nothing. Of equally cheap ones, the one nearest to where a true probability would be cheapest:
    /// the cost of a false alarm over that of both mistakes (Elkan: "The foundations of cost-sensitive learning", 2001).
    pub fn cheapest(&self, cost: Cost) -> Operation {
        let at_truth = cost.false_alarm / (cost.missed + cost.false_alarm);
        let distance = |operation: Operation| (operation.threshold - at_truth).abs();
        let mut best = self.flag_nothing();
        for operation in &self.operations {
            let (price, least) = (self.cost(*operation, cost), self.cost(best, cost));
            if price < least || (price == least && distance(*operation) < distance(best)) {
                best = *operation;
            }
        }
        best
    }

    /// What the mistakes cost in all.
    pub fn cost(&self, operation: Operation, cost: Cost) -> f64 {
        cost.missed * (self.positives - operation.true_positives)
            + cost.false_alarm * operation.false_positives
    }

    fn flag_nothing(&self) -> Operation {
        let above_all = self
            .operations
            .first()
            .map_or(1.0, |highest| highest.threshold.next_up());
        Operation {
            threshold: above_all,
            true_positives: 0.0,
            false_positives: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: Option<f64>, right: f64) {
        let left = left.expect("a figure");
        assert!((left - right).abs() < 1e-12, "{left} is not {right}");
    }

    /// The rows of tests/peers/metrics.py, case "ties": three scores are shared by rows of both classes.
    fn ties() -> ([f64; 10], [bool; 10]) {
        let scores = [0.9, 0.8, 0.8, 0.8, 0.6, 0.5, 0.5, 0.3, 0.2, 0.2];
        (
            scores,
            [
                true, true, false, true, false, true, false, false, false, true,
            ],
        )
    }

    #[test]
    fn perfect_and_worst_order() {
        let scores = [0.1, 0.2, 0.8, 0.9];
        let perfect = Ranking::of(&scores, &[false, false, true, true], None);
        close(perfect.roc_auc(), 1.0);
        close(perfect.average_precision(), 1.0);
        let worst = Ranking::of(&scores, &[true, true, false, false], None);
        close(worst.roc_auc(), 0.0);
        // Positives come third and fourth: (1/3 + 2/4) / 2.
        close(worst.average_precision(), (1.0 / 3.0 + 2.0 / 4.0) / 2.0);
    }

    #[test]
    fn one_score_for_all_is_no_better_than_chance() {
        let flat = Ranking::of(&[0.3; 5], &[true, false, false, false, true], None);
        close(flat.roc_auc(), 0.5);
        close(flat.average_precision(), 0.4);
        assert_eq!(flat.operations.len(), 1);
    }

    #[test]
    fn ties_as_scikit_learn() {
        let (scores, truths) = ties();
        let ranking = Ranking::of(&scores, &truths, None);
        close(ranking.roc_auc(), 0.68);
        close(ranking.average_precision(), 0.7142857142857143);
        let weights: Vec<f64> = (0..10).map(|row| 1.0 + f64::from(row % 3)).collect();
        let weighted = Ranking::of(&scores, &truths, Some(&weights));
        close(weighted.roc_auc(), 0.653409090909091);
        close(weighted.average_precision(), 0.5938403701561596);
    }

    #[test]
    fn recall_at_a_false_alarm_rate_takes_what_is_allowed() {
        let (scores, truths) = ties();
        let ranking = Ranking::of(&scores, &truths, None);
        // 5 negatives: up to 20 % is one false alarm, which three of five positives come before or with.
        let at = |rate| ranking.at_false_alarm_rate(rate).expect("both classes");
        assert_eq!((at(0.2).threshold, at(0.2).true_positives), (0.8, 3.0));
        assert_eq!((at(0.1).threshold, at(0.1).true_positives), (0.9, 1.0));
        assert_eq!(at(1.0).true_positives, 5.0);
        // Where even the highest score is a false alarm, nothing is flagged.
        let hopeless = Ranking::of(&[0.9, 0.1], &[false, true], None);
        assert_eq!(
            hopeless
                .at_false_alarm_rate(0.1)
                .expect("both classes")
                .true_positives,
            0.0
        );
    }

    #[test]
    fn cheapest_threshold_by_hand() {
        let ranking = Ranking::of(&[0.9, 0.7, 0.4, 0.1], &[true, false, true, false], None);
        let cost = |missed, false_alarm| Cost {
            missed,
            false_alarm,
        };
        // A miss is dear: one false alarm to find both.
        assert_eq!(ranking.cheapest(cost(10.0, 1.0)).threshold, 0.4);
        // An alarm is dear: only the sure one.
        assert_eq!(ranking.cheapest(cost(1.0, 10.0)).threshold, 0.9);
        // A miss costs nothing: flag nothing.
        let nothing = ranking.cheapest(cost(0.0, 1.0));
        assert_eq!(
            (
                nothing.true_positives,
                ranking.at(nothing.threshold).false_positives
            ),
            (0.0, 0.0)
        );
        assert_eq!(ranking.cost(ranking.at(0.5), cost(10.0, 1.0)), 11.0);
    }

    #[test]
    fn one_class_alone_has_no_curve() {
        let negatives = Ranking::of(&[0.1, 0.2], &[false, false], None);
        assert_eq!(
            (negatives.roc_auc(), negatives.average_precision()),
            (None, None)
        );
        assert_eq!(negatives.at_false_alarm_rate(0.1), None);
        assert_eq!(Ranking::of(&[], &[], None).roc_auc(), None);
    }
}
