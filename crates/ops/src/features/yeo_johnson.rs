//! The transform of Yeo and Johnson 2000, "A new family of power transformations to improve normality or symmetry".

use super::brent;

/// The value, bent by this exponent.
pub(super) fn transformed(value: f64, lambda: f64) -> f64 {
    if value >= 0.0 {
        power(value.ln_1p(), lambda)
    } else {
        -power((-value).ln_1p(), 2.0 - lambda)
    }
}

/// The exponent that makes these values most likely, were they normal once bent; they must not all be equal.
pub(super) fn most_likely(values: &[f64]) -> f64 {
    let logarithms = Logarithms::of(values);
    // The same start as in scipy and scikit-learn. There is one valley: Marchand et al. 2022, "SecureFedYJ", prove it convex.
    let lambda = brent::least(|lambda| logarithms.unlikelihood(lambda), -2.0, 2.0);
    // So near to a logarithm the power would only lose digits.
    match lambda {
        lambda if lambda.abs() < 1e-8 => 0.0,
        lambda if (2.0 - lambda).abs() < 1e-8 => 2.0,
        lambda => lambda,
    }
}

/// What the likelihood of an exponent is computed from: ln(1 + |value|), with the value's sign.
struct Logarithms {
    signed: Vec<f64>,
    sum: f64,
    has_positive: bool,
    has_negative: bool,
}

impl Logarithms {
    fn of(values: &[f64]) -> Self {
        let signed: Vec<f64> = values
            .iter()
            .map(|value| value.signum() * value.abs().ln_1p())
            .collect();
        Self {
            sum: signed.iter().sum(),
            has_positive: values.iter().any(|value| *value > 0.0),
            has_negative: values.iter().any(|value| *value < 0.0),
            signed,
        }
    }

    /// The negative logarithm of the likelihood, but for a constant: equation 3.1 of the paper, maximised over mean and
    /// variance.
    fn unlikelihood(&self, lambda: f64) -> f64 {
        0.5 * self.signed.len() as f64 * self.log_variance(lambda) - (lambda - 1.0) * self.sum
    }

    /// The logarithm of the variance of the bent values.
    ///
    /// Where all values have one sign, a common factor is taken out of the powers: far from 0 they would overflow, or
    /// differ only in digits that are lost.
    fn log_variance(&self, lambda: f64) -> f64 {
        if self.has_positive && self.has_negative {
            let bent = self.signed.iter().map(|logarithm| match *logarithm {
                above if above >= 0.0 => power(above, lambda),
                below => -power(-below, 2.0 - lambda),
            });
            return variance(bent.collect()).ln();
        }
        let exponent = if self.has_negative {
            2.0 - lambda
        } else {
            lambda
        };
        let middle = self.sum.abs() / self.signed.len() as f64;
        let scaled = self
            .signed
            .iter()
            .map(|logarithm| power(logarithm.abs() - middle, exponent));
        variance(scaled.collect()).ln() + 2.0 * exponent * middle
    }
}

/// `(e ^ (exponent logarithm) - 1) / exponent`, and the logarithm itself where the exponent is 0.
fn power(logarithm: f64, exponent: f64) -> f64 {
    if exponent == 0.0 {
        logarithm
    } else {
        (exponent * logarithm).exp_m1() / exponent
    }
}

fn variance(values: Vec<f64>) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / count
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [f64; 10] = [0.1, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0];

    // Exponents: scipy 1.17.1, stats.yeojohnson; scikit-learn 1.9.1 has the same.

    #[test]
    fn the_most_likely_exponent() {
        assert!((most_likely(&SIZES) - -0.11236404000021473).abs() < 1e-6);
        let negative = SIZES.map(|value| -value);
        assert!((most_likely(&negative) - 2.1123640579325347).abs() < 1e-6);
        let mixed = [-5.0, -3.0, -1.5, -1.0, -0.2, 0.0, 0.4, 1.0, 2.5, 9.0];
        assert!((most_likely(&mixed) - 0.7366521756230441).abs() < 1e-6);
    }

    #[test]
    fn values_far_from_0_lose_no_digits() {
        // The least of the same function in decimals of 200 digits.
        let found = most_likely(&[2003.0, 1950.0, 1997.0, 2000.0, 2009.0]);
        assert!((found - 104.0312886).abs() < 1e-3, "{found}");
    }

    #[test]
    fn bends_as_the_paper_has_it() {
        assert_eq!(transformed(3.0, 1.0), 3.0);
        assert_eq!(transformed(-3.0, 1.0), -3.0);
        assert!((transformed(3.0, 0.0) - 4.0_f64.ln()).abs() < 1e-15);
        assert!((transformed(-3.0, 2.0) + 4.0_f64.ln()).abs() < 1e-15);
        assert!((transformed(3.0, 2.0) - 7.5).abs() < 1e-12);
        assert!((transformed(-3.0, 0.0) + 7.5).abs() < 1e-12);
        assert!((transformed(13.0, -0.11236404000021473) - 2.28374218647035).abs() < 1e-12);
    }
}
