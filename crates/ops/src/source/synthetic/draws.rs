//! Random draws from one seeded stream.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// A stream of random draws; the same seed gives the same draws everywhere.
pub(super) struct Draws(pub(super) ChaCha8Rng);

impl Draws {
    /// The stream of that number: streams of one seed have nothing to do with each other.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        Self(random)
    }

    /// From a normal distribution with mean 0 and standard deviation 1.
    pub(super) fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// From a uniform distribution.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    /// Whether something of that probability happens.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// A whole number below `count`, which is at least 1.
    pub(super) fn below(&mut self, count: usize) -> usize {
        self.0.random_range(0..count.max(1))
    }

    /// A place in the list, as often as its share says; shares add up to 1.
    pub(super) fn choose(&mut self, shares: &[f64]) -> usize {
        let mut rest = self.0.random::<f64>();
        for (index, share) in shares.iter().enumerate() {
            rest -= share;
            if rest < 0.0 {
                return index;
            }
        }
        shares.len().saturating_sub(1)
    }
}

/// A random walk that is drawn back to 0, so that its standard deviation stays what it should be however long it goes on:
/// an Ornstein–Uhlenbeck process in equal steps.
pub(super) struct Walk {
    at: f64,
    keeps: f64,
    step: f64,
}

impl Walk {
    /// A walk of that standard deviation that forgets where it was after about `memory` steps.
    pub(super) fn new(deviation: f64, memory: f64, draws: &mut Draws) -> Self {
        let keeps = (-1.0 / memory).exp();
        Self {
            at: deviation * draws.normal(),
            keeps,
            step: deviation * (1.0 - keeps * keeps).sqrt(),
        }
    }

    /// Where the walk is after its next step.
    pub(super) fn next(&mut self, draws: &mut Draws) -> f64 {
        self.at = self.keeps * self.at + self.step * draws.normal();
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_keeps_its_standard_deviation_and_remembers_its_last_step() {
        let mut draws = Draws::new(1, 0);
        let mut walk = Walk::new(2.0, 20.0, &mut draws);
        let path: Vec<f64> = (0..200_000).map(|_| walk.next(&mut draws)).collect();
        let variance = path.iter().map(|at| at * at).sum::<f64>() / path.len() as f64;
        assert!((variance.sqrt() - 2.0).abs() < 0.1, "{variance}");
        let products: f64 = path.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let correlation = products / path.len() as f64 / variance;
        assert!(
            (correlation - (-1.0_f64 / 20.0).exp()).abs() < 0.01,
            "{correlation}"
        );
    }

    #[test]
    fn streams_of_one_seed_differ_and_come_again() {
        let first = |seed, stream| Draws::new(seed, stream).normal();
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(1, 3));
        assert_ne!(first(1, 2), first(2, 2));
    }
}
