//! The least value of a function of one number.

/// 1 / golden ratio squared.
const GOLDEN: f64 = 0.381_966_011_250_105_1;

/// Where a function with one valley is least, by Brent's method (Brent 1973, "Algorithms for minimization without
/// derivatives", chapter 5): parabolas where they fit, golden section where not.
///
/// The search begins between `from` and `to` and moves on downhill where the valley lies outside, so that these need not
/// enclose it. Infinite values are hills.
pub(super) fn least(function: impl Fn(f64) -> f64, from: f64, to: f64) -> f64 {
    let (low, middle, high) = bracket(&function, from, to);
    minimum(&function, low, middle, high)
}

/// Three places, of which the middle one is the lowest.
fn bracket(function: &impl Fn(f64) -> f64, from: f64, to: f64) -> (f64, f64, f64) {
    let (mut behind, mut here) = (from, to);
    let (mut height, mut here_height) = (function(behind), function(here));
    if here_height > height {
        (behind, here) = (here, behind);
        (height, here_height) = (here_height, height);
    }
    let mut ahead = here + (here - behind) * 1.618_034;
    let mut ahead_height = function(ahead);
    for _ in 0..100 {
        // Also ends at not a number, and where a flat stretch lies between two hills.
        if !(ahead_height < here_height || (ahead_height == here_height && height == here_height)) {
            break;
        }
        (behind, height) = (here, here_height);
        (here, here_height) = (ahead, ahead_height);
        ahead = here + (here - behind) * 1.618_034;
        ahead_height = function(ahead);
    }
    (behind.min(ahead), here, behind.max(ahead))
}

fn minimum(function: &impl Fn(f64) -> f64, mut low: f64, start: f64, mut high: f64) -> f64 {
    // The square root of the machine's precision: nearer places have heights that cannot be told apart.
    const TOLERANCE: f64 = 1.48e-8;
    let (mut best, mut second, mut third) = (start, start, start);
    let mut best_height = function(best);
    let (mut second_height, mut third_height) = (best_height, best_height);
    let (mut step, mut step_before) = (0.0_f64, 0.0_f64);
    for _ in 0..500 {
        let middle = 0.5 * (low + high);
        let least_step = TOLERANCE * best.abs() + 1e-11;
        if (best - middle).abs() <= 2.0 * least_step - 0.5 * (high - low) {
            break;
        }
        // The parabola through the three best places.
        let r = (best - second) * (best_height - third_height);
        let q = (best - third) * (best_height - second_height);
        let (mut p, mut q) = ((best - third) * q - (best - second) * r, 2.0 * (q - r));
        if q > 0.0 {
            p = -p;
        }
        q = q.abs();
        let fits = step_before.abs() > least_step
            && p.abs() < (0.5 * q * step_before).abs()
            && p > q * (low - best)
            && p < q * (high - best);
        if fits {
            step_before = step;
            step = p / q;
            let next = best + step;
            if next - low < 2.0 * least_step || high - next < 2.0 * least_step {
                step = least_step.copysign(middle - best);
            }
        } else {
            step_before = if best >= middle {
                low - best
            } else {
                high - best
            };
            step = GOLDEN * step_before;
        }
        let next = best
            + if step.abs() >= least_step {
                step
            } else {
                least_step.copysign(step)
            };
        let height = function(next);
        if height <= best_height {
            if next >= best {
                low = best;
            } else {
                high = best;
            }
            (third, third_height) = (second, second_height);
            (second, second_height) = (best, best_height);
            (best, best_height) = (next, height);
        } else {
            if next < best {
                low = next;
            } else {
                high = next;
            }
            if height <= second_height || second == best {
                (third, third_height) = (second, second_height);
                (second, second_height) = (next, height);
            } else if height <= third_height || third == best || third == second {
                (third, third_height) = (next, height);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_valleys_inside_and_outside_of_the_start() {
        for valley in [-300.0, -2.0, -0.1, 0.0, 1.0, 1.999, 2.0, 77.0] {
            let found = least(|x| (x - valley).powi(2), -2.0, 2.0);
            assert!(
                (found - valley).abs() < 1e-6 * (1.0 + f64::abs(valley)),
                "{found} {valley}"
            );
        }
        // scipy 1.17.1, optimize.brent(lambda x: exp(x) - 3 x): ln 3.
        assert!((least(|x| x.exp() - 3.0 * x, -2.0, 2.0) - 3.0_f64.ln()).abs() < 1e-7);
        assert!((least(f64::abs, -2.0, 1.0)).abs() < 1e-7);
    }

    #[test]
    fn hills_without_top_and_flat_land_come_to_an_end() {
        let walled = |x: f64| {
            if x > 1.5 {
                f64::INFINITY
            } else {
                (x + 1.0).powi(2)
            }
        };
        assert!((least(walled, -2.0, 2.0) + 1.0).abs() < 1e-7);
        assert!(least(|_| 0.0, -2.0, 2.0).is_finite());
        least(|_| f64::NAN, -2.0, 2.0);
    }
}
