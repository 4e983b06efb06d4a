//! How sure a decision is: a logistic function of it (Platt: "Probabilistic Outputs for Support Vector Machines", 1999), learned
//! as Lin, Lin and Weng ("A note on Platt's probabilistic outputs", Machine Learning 68, 2007) say.

use serde::{Deserialize, Serialize};

const MOST_STEPS: usize = 100;
const LEAST_STEP: f64 = 1e-10;
const ENOUGH: f64 = 1e-8;

/// The probability 1 / (1 + exp(slope · decision + constant)).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sigmoid {
    slope: f64,
    constant: f64,
}

impl Sigmoid {
    /// Learns from decisions on held-out rows whether a row is meant. Targets are drawn from 0 and 1 a little towards the middle, as if one
    /// more row of each kind had been seen, so that no decision is ever quite sure.
    pub(crate) fn learn(decisions: &[f64], is_meant: &[bool], weights: &[f64]) -> Self {
        let total = |side: bool| -> f64 {
            let rows = is_meant.iter().zip(weights);
            rows.filter(|(is_meant, _)| **is_meant == side)
                .map(|(_, weight)| weight)
                .sum()
        };
        let (meant, others) = (total(true), total(false));
        let (high, low) = ((meant + 1.0) / (meant + 2.0), 1.0 / (others + 2.0));
        let rows = || {
            let targets = is_meant
                .iter()
                .map(|is_meant| if *is_meant { high } else { low });
            decisions.iter().zip(targets).zip(weights)
        };
        let loss = |sigmoid: Self| -> f64 {
            rows()
                .map(|((decision, target), weight)| {
                    let exponent = sigmoid.slope * decision + sigmoid.constant;
                    let both = exponent.max(0.0) + (-exponent.abs()).exp().ln_1p();
                    weight * (both - (1.0 - target) * exponent)
                })
                .sum()
        };
        let mut sigmoid = Self {
            slope: 0.0,
            constant: ((others + 1.0) / (meant + 1.0)).ln(),
        };
        let mut least = loss(sigmoid);
        for _ in 0..MOST_STEPS {
            // The gradient, and the curvature with a little on the diagonal so that it can be inverted.
            let (mut first, mut second) = (0.0, 0.0);
            let (mut slopes, mut both, mut constants) = (1e-12, 0.0, 1e-12);
            for ((decision, target), weight) in rows() {
                let probability = sigmoid.at(*decision);
                let error = weight * (target - probability);
                let curvature = weight * probability * (1.0 - probability);
                first += decision * error;
                second += error;
                slopes += decision * decision * curvature;
                both += decision * curvature;
                constants += curvature;
            }
            if first.abs() < ENOUGH && second.abs() < ENOUGH {
                break;
            }
            let determinant = slopes * constants - both * both;
            let step = (
                -(constants * first - both * second) / determinant,
                -(slopes * second - both * first) / determinant,
            );
            let promise = first * step.0 + second * step.1;
            let mut length = 1.0;
            while length >= LEAST_STEP {
                let next = Self {
                    slope: sigmoid.slope + length * step.0,
                    constant: sigmoid.constant + length * step.1,
                };
                let next_loss = loss(next);
                if next_loss < least + 1e-4 * length * promise {
                    (sigmoid, least) = (next, next_loss);
                    break;
                }
                length /= 2.0;
            }
            if length < LEAST_STEP {
                break;
            }
        }
        sigmoid
    }

    /// The probability that a row of this decision is meant.
    pub(crate) fn at(self, decision: f64) -> f64 {
        let exponent = self.slope * decision + self.constant;
        if exponent >= 0.0 {
            let odds = (-exponent).exp();
            odds / (1.0 + odds)
        } else {
            1.0 / (1.0 + exponent.exp())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_decisions_get_their_shares() {
        // At 1, 30 of 40 rows are meant, at -1, 10 of 40: with targets 41/42 and 1/42 the shares are a little nearer to the middle.
        let decisions = [[1.0; 40], [-1.0; 40]].concat();
        let is_meant: Vec<bool> = (0..80)
            .map(|row| row < 30 || (40..50).contains(&row))
            .collect();
        let sigmoid = Sigmoid::learn(&decisions, &is_meant, &[1.0; 80]);
        let expected = (30.0 * 41.0 / 42.0 + 10.0 / 42.0) / 40.0;
        assert!((sigmoid.at(1.0) - expected).abs() < 1e-8);
        assert!((sigmoid.at(-1.0) - (1.0 - expected)).abs() < 1e-8);
        assert!(sigmoid.at(1e6) <= 1.0 && sigmoid.at(-1e6) >= 0.0);
    }

    #[test]
    fn a_weight_of_two_is_the_row_twice() {
        let twice = Sigmoid::learn(
            &[0.2, 0.2, -1.0, 3.0, -0.5],
            &[true, true, false, true, true],
            &[1.0; 5],
        );
        let weighed = Sigmoid::learn(
            &[0.2, -1.0, 3.0, -0.5],
            &[true, false, true, true],
            &[2.0, 1.0, 1.0, 1.0],
        );
        assert!((twice.at(0.7) - weighed.at(0.7)).abs() < 1e-9);
    }
}
