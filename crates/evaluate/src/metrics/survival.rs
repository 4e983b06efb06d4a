//! Metrics of risks for events in time, some of which are not seen.

/// How pairs of rows stand whose order in time is known, by weight.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Concordance {
    /// The row with the earlier event has the higher risk.
    pub concordant: f64,
    /// Both have the same risk.
    pub tied: f64,
    /// All pairs whose order is known.
    pub comparable: f64,
}

impl Concordance {
    /// Counts pairs (Harrell and others, 1982): a pair's order is known where the earlier time is that of an event; at one time an
    /// event comes before an unseen one. A pair weighs the product of its rows' weights.
    ///
    /// Takes time by n log n. Times and risks are numbers.
    pub fn of(times: &[f64], events: &[bool], risks: &[f64], weights: Option<&[f64]>) -> Self {
        let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
        let mut ranks: Vec<f64> = risks.iter().map(|risk| risk + 0.0).collect();
        ranks.sort_unstable_by(f64::total_cmp);
        ranks.dedup();
        let rank = |row: usize| ranks.partition_point(|risk| *risk < risks[row]);
        let mut order: Vec<usize> = (0..times.len()).collect();
        // The latest first; at one time the unseen ones, which outlast the events there.
        order.sort_by(|one, other| {
            times[*other]
                .total_cmp(&times[*one])
                .then(events[*one].cmp(&events[*other]))
                .then(one.cmp(other))
        });
        let mut found = Self::default();
        let mut later = Sums::of(ranks.len());
        for group in order
            .chunk_by(|one, other| times[*one] == times[*other] && events[*one] == events[*other])
        {
            if events[group[0]] {
                for row in group {
                    let rank = rank(*row);
                    let (below, up_to) = (later.below(rank), later.below(rank + 1));
                    found.concordant += weight(*row) * below;
                    found.tied += weight(*row) * (up_to - below);
                    found.comparable += weight(*row) * later.below(ranks.len());
                }
            }
            for row in group {
                later.add(rank(*row), weight(*row));
            }
        }
        found
    }

    /// The chance that of a pair the row with the earlier event has the higher risk, equal risks counting half; `None` of no pairs.
    pub fn index(&self) -> Option<f64> {
        (self.comparable > 0.0).then(|| (self.concordant + self.tied / 2.0) / self.comparable)
    }
}

/// Sums over ranges of places that change (Fenwick, 1994).
struct Sums(Vec<f64>);

impl Sums {
    fn of(places: usize) -> Self {
        Self(vec![0.0; places + 1])
    }

    fn add(&mut self, place: usize, weight: f64) {
        let mut node = place + 1;
        while node < self.0.len() {
            self.0[node] += weight;
            node += node & node.wrapping_neg();
        }
    }

    /// The sum over the places below that one.
    fn below(&self, place: usize) -> f64 {
        let (mut node, mut sum) = (place, 0.0);
        while node > 0 {
            sum += self.0[node];
            node &= node - 1;
        }
        sum
    }
}

/// The share that has had no event up to each time at which there is one (Kaplan and Meier, 1958), by time.
pub fn kaplan_meier(times: &[f64], events: &[bool], weights: Option<&[f64]>) -> Vec<(f64, f64)> {
    let weight = |row: &usize| weights.map_or(1.0, |weights| weights[*row]);
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by(|one, other| times[*one].total_cmp(&times[*other]).then(one.cmp(other)));
    let mut at_risk: f64 = order.iter().map(weight).sum();
    let mut share = 1.0;
    let mut curve = Vec::new();
    for group in order.chunk_by(|one, other| times[*one] == times[*other]) {
        let gone: f64 = group.iter().filter(|row| events[**row]).map(weight).sum();
        if gone > 0.0 && at_risk > 0.0 {
            share *= (1.0 - gone / at_risk).max(0.0);
            curve.push((times[group[0]], share));
        }
        at_risk -= group.iter().map(weight).sum::<f64>();
    }
    curve
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of tests/peers/survival.py: 300 of them, with ties in time and in risk.
    fn rows() -> (Vec<f64>, Vec<bool>, Vec<f64>) {
        let mut state = 12345_u64;
        let mut draw = || {
            state = (state * 1_103_515_245 + 12345) % (1 << 31);
            state >> 12
        };
        let mut rows = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..300 {
            let risk = (draw() % 20) as f64;
            rows.0
                .push((1 + (draw() % 60) / (1 + risk as u64 / 5)) as f64);
            rows.1.push(draw() % 3 > 0);
            rows.2.push(risk);
        }
        rows
    }

    #[test]
    fn as_lifelines() {
        let (times, events, risks) = rows();
        let found = Concordance::of(&times, &events, &risks, None);
        let index = found.index().expect("pairs");
        assert!((index - 0.6964481756538585).abs() < 1e-12, "{index}");
        let curve = kaplan_meier(&times, &events, None);
        let at = |time: f64| {
            curve
                .iter()
                .rev()
                .find(|point| point.0 <= time)
                .expect("a point")
                .1
        };
        assert!((at(10.0) - 0.689151534438271).abs() < 1e-12, "{}", at(10.0));
        assert!(
            (at(30.0) - 0.29455048109850995).abs() < 1e-12,
            "{}",
            at(30.0)
        );
    }

    #[test]
    fn every_pair_by_hand() {
        let (times, events, risks) = rows();
        let weights: Vec<f64> = (0..300).map(|row| f64::from(row % 4)).collect();
        let mut expected = Concordance::default();
        for one in 0..300 {
            for other in 0..300 {
                let is_earlier =
                    times[one] < times[other] || (times[one] == times[other] && !events[other]);
                if one != other && events[one] && is_earlier {
                    let weight = weights[one] * weights[other];
                    expected.comparable += weight;
                    if risks[one] > risks[other] {
                        expected.concordant += weight;
                    } else if risks[one] == risks[other] {
                        expected.tied += weight;
                    }
                }
            }
        }
        assert_eq!(
            Concordance::of(&times, &events, &risks, Some(&weights)),
            expected
        );
        assert!(expected.tied > 0.0 && expected.concordant < expected.comparable);
    }

    #[test]
    fn nothing_to_compare() {
        let found = Concordance::of(&[1.0, 2.0], &[false, false], &[1.0, 2.0], None);
        assert_eq!(found.index(), None);
        assert_eq!(Concordance::of(&[], &[], &[], None).index(), None);
        let found = Concordance::of(&[1.0, 2.0], &[true, false], &[2.0, 1.0], None);
        assert_eq!(found.index(), Some(1.0));
    }

    #[test]
    fn survival_by_hand() {
        // At 1 one of 4 goes, at 2 one is lost sight of, at 3 one of 2 goes, at 4 the last.
        let curve = kaplan_meier(&[1.0, 2.0, 3.0, 4.0], &[true, false, true, true], None);
        assert_eq!(curve, [(1.0, 0.75), (3.0, 0.375), (4.0, 0.0)]);
    }
}
