//! Metrics of predicted numbers. A weight counts a row that often; a metric without a value for the rows at hand is `None`.

use super::{mean, total};

/// True and predicted numbers, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Errors<'a> {
    /// What was true.
    pub truths: &'a [f64],
    /// What was said.
    pub predictions: &'a [f64],
    /// How much each row counts; 1 where there is none.
    pub weights: Option<&'a [f64]>,
}

/// Whose deviance to take: half the log-likelihood ratio to a perfect prediction, times the dispersion (McCullagh and Nelder, 1989).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Family {
    /// Counts: the variance grows as the mean. Truths are 0 or more, predictions above 0.
    Poisson,
    /// Amounts above 0: the variance grows as the square of the mean.
    Gamma,
    /// The variance grows as this power of the mean, between 1 and 2: amounts with a heap at 0. Truths are 0 or more, predictions above 0.
    Tweedie(f64),
}

impl Errors<'_> {
    fn mean_of(&self, error: impl Fn(f64, f64) -> f64) -> Option<f64> {
        mean(self.truths.len(), self.weights, |row| {
            error(self.truths[row], self.predictions[row])
        })
    }

    /// The root of the mean squared error, in the target's unit.
    pub fn rmse(&self) -> Option<f64> {
        Some(self.mse()?.sqrt())
    }

    fn mse(&self) -> Option<f64> {
        self.mean_of(|truth, prediction| (truth - prediction).powi(2))
    }

    /// The mean size of the errors, in the target's unit.
    pub fn mae(&self) -> Option<f64> {
        self.mean_of(|truth, prediction| (truth - prediction).abs())
    }

    /// The mean of prediction minus truth, in the target's unit: above 0 where too much is predicted.
    pub fn bias(&self) -> Option<f64> {
        self.mean_of(|truth, prediction| prediction - truth)
    }

    /// The median size of the errors, in the target's unit.
    pub fn median_absolute_error(&self) -> Option<f64> {
        let errors = self.truths.iter().zip(self.predictions);
        let errors: Vec<f64> = errors
            .map(|(truth, prediction)| (truth - prediction).abs())
            .collect();
        weighted_quantile(&errors, self.weights, 0.5)
    }

    /// The share of the truths' variance that the predictions explain; `None` where the truths are all alike.
    pub fn r2(&self) -> Option<f64> {
        let centre = mean(self.truths.len(), self.weights, |row| self.truths[row])?;
        let variance = self.mean_of(|truth, _| (truth - centre).powi(2))?;
        (variance > 0.0)
            .then(|| Some(1.0 - self.mse()? / variance))
            .flatten()
    }

    /// The mean size of the errors as shares of the truths; `None` where a truth is 0.
    pub fn mape(&self) -> Option<f64> {
        if self.truths.contains(&0.0) {
            return None;
        }
        self.mean_of(|truth, prediction| ((truth - prediction) / truth).abs())
    }

    /// The sum of the errors' sizes over the sum of the truths' sizes; `None` where all truths are 0.
    pub fn wape(&self) -> Option<f64> {
        let size = self.mean_of(|truth, _| truth.abs())?;
        (size > 0.0).then(|| Some(self.mae()? / size)).flatten()
    }

    /// The mean deviance of that family; `None` where a truth or a prediction lies outside of what the family knows.
    pub fn mean_deviance(&self, family: Family) -> Option<f64> {
        let rows = || self.truths.iter().zip(self.predictions);
        let is_known = |(truth, prediction): (&f64, &f64)| {
            *prediction > 0.0 && (*truth > 0.0 || (*truth == 0.0 && family != Family::Gamma))
        };
        rows()
            .all(is_known)
            .then(|| self.mean_of(|truth, prediction| deviance(family, truth, prediction)))
            .flatten()
    }

    /// The share of the deviance from the truths' mean that the predictions explain; `None` where there is none to explain.
    pub fn d2(&self, family: Family) -> Option<f64> {
        let centre = mean(self.truths.len(), self.weights, |row| self.truths[row])?;
        let constant = vec![centre; self.truths.len()];
        let null = Errors {
            predictions: &constant,
            ..*self
        };
        let null = null.mean_deviance(family)?;
        (null > 0.0)
            .then(|| Some(1.0 - self.mean_deviance(family)? / null))
            .flatten()
    }

    /// The mean pinball loss of a predicted quantile (Koenker and Bassett, 1978), in the target's unit: a truth above the prediction
    /// costs `quantile` a unit, one below costs `1 - quantile`.
    pub fn pinball_loss(&self, quantile: f64) -> Option<f64> {
        self.mean_of(|truth, prediction| {
            let error = truth - prediction;
            (quantile * error).max((quantile - 1.0) * error)
        })
    }
}

fn deviance(family: Family, truth: f64, prediction: f64) -> f64 {
    let log_ratio = |truth: f64| {
        if truth == 0.0 {
            0.0
        } else {
            truth * (truth / prediction).ln()
        }
    };
    match family {
        Family::Poisson => 2.0 * (log_ratio(truth) - truth + prediction),
        Family::Gamma => 2.0 * ((prediction / truth).ln() + truth / prediction - 1.0),
        Family::Tweedie(power) => {
            let (one, two) = (1.0 - power, 2.0 - power);
            2.0 * (truth.powf(two) / (one * two) - truth * prediction.powf(one) / one
                + prediction.powf(two) / two)
        }
    }
}

/// What a predicted interval reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coverage {
    /// The share of truths inside, ends counted.
    pub coverage: f64,
    /// The mean of upper minus lower end, in the target's unit.
    pub mean_width: f64,
}

/// How often the truth lies in the interval, and how wide that is; `None` of no rows.
pub fn coverage(
    truths: &[f64],
    lower: &[f64],
    upper: &[f64],
    weights: Option<&[f64]>,
) -> Option<Coverage> {
    Some(Coverage {
        coverage: mean(truths.len(), weights, |row| {
            f64::from(u8::from(
                lower[row] <= truths[row] && truths[row] <= upper[row],
            ))
        })?,
        mean_width: mean(truths.len(), weights, |row| upper[row] - lower[row])?,
    })
}

/// The value with that share of the weight at or below it; where the weight parts exactly there, the middle between it and the next,
/// so that the median of an even number of rows is the usual one. `None` of no rows.
pub fn weighted_quantile(values: &[f64], weights: Option<&[f64]>, at: f64) -> Option<f64> {
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let mut order: Vec<usize> = (0..values.len()).filter(|row| weight(*row) > 0.0).collect();
    order.sort_unstable_by(|one, other| values[*one].total_cmp(&values[*other]));
    let wanted = at * total(values.len(), weights);
    let mut below = 0.0;
    for (place, row) in order.iter().enumerate() {
        below += weight(*row);
        if below > wanted {
            return Some(values[*row]);
        }
        if below == wanted {
            let next = order.get(place + 1).unwrap_or(row);
            return Some((values[*row] + values[*next]) / 2.0);
        }
    }
    order.last().map(|row| values[*row])
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

    // tests/peers/regression.py, "regression".
    const TRUTHS: [f64; 8] = [3.0, 0.5, 2.0, 7.0, 4.25, 1.0, 0.75, 12.0];
    const PREDICTIONS: [f64; 8] = [2.5, 0.75, 2.0, 8.0, 3.0, 1.5, 1.0, 9.0];
    const WEIGHTS: [f64; 8] = [1.0, 2.0, 1.0, 0.5, 3.0, 1.0, 0.0, 2.0];

    fn errors(weights: Option<&[f64]>) -> Errors<'_> {
        Errors {
            truths: &TRUTHS,
            predictions: &PREDICTIONS,
            weights,
        }
    }

    #[test]
    fn by_hand() {
        let errors = Errors {
            truths: &[1.0, 2.0, 3.0, 4.0],
            predictions: &[2.0, 2.0, 1.0, 4.0],
            weights: None,
        };
        close(errors.rmse(), (5.0_f64 / 4.0).sqrt());
        close(errors.mae(), 0.75);
        close(errors.bias(), -0.25);
        close(errors.median_absolute_error(), 0.5);
        close(errors.r2(), 1.0 - 5.0 / 5.0);
        close(errors.mape(), (1.0 + 2.0 / 3.0) / 4.0);
        close(errors.wape(), 0.3);
        close(errors.pinball_loss(0.9), (0.1 + 0.9 * 2.0) / 4.0);
    }

    #[test]
    fn as_scikit_learn() {
        let plain = errors(None);
        close(plain.rmse(), 1.2342761036332186);
        close(plain.mae(), 0.84375);
        close(plain.median_absolute_error(), 0.5);
        close(plain.r2(), 0.8887938408896493);
        close(plain.mape(), 0.2733718487394958);
        close(plain.pinball_loss(0.8), 0.525);
        close(plain.mean_deviance(Family::Poisson), 0.24269350639260245);
        close(plain.mean_deviance(Family::Gamma), 0.08054167277800356);
        close(
            plain.mean_deviance(Family::Tweedie(1.5)),
            0.12451769945020619,
        );
        close(plain.d2(Family::Poisson), 0.9246980750527591);
        close(plain.d2(Family::Gamma), 0.9198114602598025);
        close(plain.d2(Family::Tweedie(1.5)), 0.9280118452637246);
        let weighted = errors(Some(&WEIGHTS));
        close(weighted.rmse(), 1.5059406173077154);
        close(weighted.mae(), 1.119047619047619);
        close(weighted.median_absolute_error(), 1.0);
        close(weighted.r2(), 0.8587319243604005);
        close(weighted.mape(), 0.29718554088301985);
        close(weighted.pinball_loss(0.8), 0.8095238095238095);
        close(weighted.mean_deviance(Family::Poisson), 0.35503898490327546);
        close(weighted.d2(Family::Tweedie(1.5)), 0.9008816219896015);
    }

    #[test]
    fn what_has_no_value_is_none() {
        let zero = Errors {
            truths: &[0.0, 0.0],
            predictions: &[1.0, 2.0],
            weights: None,
        };
        assert_eq!((zero.r2(), zero.mape(), zero.wape()), (None, None, None));
        assert_eq!(zero.mean_deviance(Family::Gamma), None);
        close(zero.mean_deviance(Family::Poisson), 3.0);
        let below = Errors {
            predictions: &[1.0, -1.0],
            ..zero
        };
        assert_eq!(below.mean_deviance(Family::Poisson), None);
        let nothing = Errors {
            truths: &[],
            predictions: &[],
            weights: None,
        };
        assert_eq!(
            (nothing.rmse(), nothing.median_absolute_error()),
            (None, None)
        );
    }

    #[test]
    fn intervals_hold_their_ends() {
        let found = coverage(
            &[1.0, 2.0, 3.0, 4.0],
            &[1.0, 0.0, 3.5, 0.0],
            &[2.0, 2.0, 4.5, 3.0],
            Some(&[1.0, 1.0, 2.0, 0.0]),
        )
        .expect("rows");
        assert_eq!(found.coverage, 0.5);
        assert_eq!(found.mean_width, (1.0 + 2.0 + 2.0) / 4.0);
    }

    #[test]
    fn quantiles_count_weights_as_copies() {
        let values = [4.0, 1.0, 3.0];
        let copies = [4.0, 1.0, 1.0, 1.0, 3.0];
        for at in [0.1, 0.25, 0.5, 0.6, 0.75, 0.9] {
            assert_eq!(
                weighted_quantile(&values, Some(&[1.0, 3.0, 1.0]), at),
                weighted_quantile(&copies, None, at)
            );
        }
        assert_eq!(weighted_quantile(&[1.0, 3.0], None, 0.5), Some(2.0));
    }
}
