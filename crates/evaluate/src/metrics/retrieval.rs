//! Metrics of lists in order of a score: what was found among the first `k` of what was to be found.

/// How much a relevance is worth in [`ndcg_at`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gain {
    /// The relevance itself.
    Linear,
    /// `2^relevance - 1` (Burges and others, 2005): far more for the highest grades.
    Exponential,
}

impl Gain {
    fn of(self, relevance: f64) -> f64 {
        match self {
            Self::Linear => relevance,
            Self::Exponential => relevance.exp2() - 1.0,
        }
    }
}

/// The relevant ones among the first `k`, over `k`, also where the list is shorter.
pub fn precision_at(relevant: &[bool], k: usize) -> f64 {
    found_at(relevant, k) / k as f64
}

/// The share of all relevant ones that are among the first `k`; `None` where none is relevant.
pub fn recall_at(relevant: &[bool], k: usize) -> Option<f64> {
    let all = found_at(relevant, relevant.len());
    (all > 0.0).then(|| found_at(relevant, k) / all)
}

fn found_at(relevant: &[bool], k: usize) -> f64 {
    relevant
        .iter()
        .take(k)
        .filter(|relevant| **relevant)
        .count() as f64
}

/// The mean over the relevant ones, at most `k`, of the precision down to each that is among the first `k`; `None` where none is relevant.
pub fn average_precision_at(relevant: &[bool], k: usize) -> Option<f64> {
    let all = found_at(relevant, relevant.len());
    let mut found = 0.0;
    let mut sum = 0.0;
    for (place, relevant) in relevant.iter().take(k).enumerate() {
        if *relevant {
            found += 1.0;
            sum += found / (place + 1) as f64;
        }
    }
    (all > 0.0).then(|| sum / all.min(k as f64))
}

/// One over the place of the first relevant one, from 1; `None` where none is relevant.
pub fn reciprocal_rank(relevant: &[bool]) -> Option<f64> {
    let first = relevant.iter().position(|relevant| *relevant)?;
    Some(1.0 / (first + 1) as f64)
}

/// The gains of the first `k`, each divided by the logarithm of its place, over the most that any order reaches (Järvelin and
/// Kekäläinen, 2002); `None` where there is nothing to gain.
pub fn ndcg_at(relevances: &[f64], k: usize, gain: Gain) -> Option<f64> {
    let best = best_gain(relevances, k, gain);
    let sum: f64 = relevances
        .iter()
        .take(k)
        .enumerate()
        .map(|(place, relevance)| gain.of(*relevance) * discount(place))
        .sum();
    (best > 0.0).then(|| sum / best)
}

/// What a random order reaches of [`ndcg_at`] on average.
pub fn random_ndcg_at(relevances: &[f64], k: usize, gain: Gain) -> Option<f64> {
    let best = best_gain(relevances, k, gain);
    let count = relevances.len() as f64;
    let mean: f64 = relevances
        .iter()
        .map(|relevance| gain.of(*relevance))
        .sum::<f64>()
        / count;
    let discounts: f64 = (0..k.min(relevances.len())).map(discount).sum();
    (best > 0.0).then(|| mean * discounts / best)
}

fn best_gain(relevances: &[f64], k: usize, gain: Gain) -> f64 {
    let mut sorted = relevances.to_vec();
    sorted.sort_unstable_by(|one, other| other.total_cmp(one));
    sorted
        .iter()
        .take(k)
        .enumerate()
        .map(|(place, relevance)| gain.of(*relevance) * discount(place))
        .sum()
}

fn discount(place: usize) -> f64 {
    1.0 / (place as f64 + 2.0).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) {
        let found = found.expect("a value");
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} is not {expected}"
        );
    }

    #[test]
    fn as_scikit_learn() {
        // tests/peers/ranking.py; the relevances by falling score.
        let relevances = [2.0, 0.0, 0.0, 0.0, 3.0, 2.0, 1.0];
        for (k, linear, exponential) in [
            (3, 0.3800937667159343, 0.2886616792414194),
            (5, 0.5552109614229609, 0.5273698597295601),
            (7, 0.738916026365688, 0.6568990621245855),
        ] {
            close(ndcg_at(&relevances, k, Gain::Linear), linear);
            close(ndcg_at(&relevances, k, Gain::Exponential), exponential);
        }
        let relevant = relevances.map(|relevance| relevance > 0.0);
        close(average_precision_at(&relevant, 7), 0.6178571428571429);
    }

    #[test]
    fn by_hand() {
        let relevant = [false, true, false, true, true];
        assert_eq!(precision_at(&relevant, 2), 0.5);
        assert_eq!(precision_at(&relevant, 10), 0.3);
        close(recall_at(&relevant, 2), 1.0 / 3.0);
        close(
            average_precision_at(&relevant, 4),
            (1.0 / 2.0 + 2.0 / 4.0) / 3.0,
        );
        close(average_precision_at(&relevant, 2), (1.0 / 2.0) / 2.0);
        close(reciprocal_rank(&relevant), 0.5);
        let nothing = [false, false];
        assert_eq!(
            (recall_at(&nothing, 1), reciprocal_rank(&nothing)),
            (None, None)
        );
        assert_eq!(ndcg_at(&[0.0, 0.0], 2, Gain::Linear), None);
    }

    #[test]
    fn a_random_order_reaches_the_mean_over_all_orders() {
        let orders = [
            [3.0, 0.0, 1.0],
            [3.0, 1.0, 0.0],
            [0.0, 3.0, 1.0],
            [0.0, 1.0, 3.0],
            [1.0, 3.0, 0.0],
            [1.0, 0.0, 3.0],
        ];
        for gain in [Gain::Linear, Gain::Exponential] {
            let mean: f64 = orders
                .iter()
                .filter_map(|order| ndcg_at(order, 2, gain))
                .sum::<f64>()
                / 6.0;
            close(random_ndcg_at(&orders[0], 2, gain), mean);
        }
    }
}
