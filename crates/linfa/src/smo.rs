//! Support vector machines' quadratic programme, solved by sequential minimal optimisation.
//!
//! linfa-svm 0.8 is not called: it takes no row weights, and its solver was nine times slower than LIBSVM's on 5,000 rows of 20
//! numbers. The choice of the pair that changes is LIBSVM's, by second-order information (Fan, Chen, Lin: "Working Set Selection
//! Using Second Order Information for Training Support Vector Machines", JMLR 6, 2005).

use std::{collections::VecDeque, rc::Rc};

use ndarray::{Array1, Array2, ArrayView1};
use serde::{Deserialize, Serialize};

/// Numbers of kernel rows that are kept: 256 MB.
const CACHED_NUMBERS: usize = 32 << 20;
/// A curvature that is not above 0 counts as this.
const LEAST_CURVATURE: f64 = 1e-12;
/// Steps between two looks at whether to go on.
const STEPS_BETWEEN_LOOKS: usize = 256;

/// How alike two rows are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kernel {
    /// Their product.
    Linear,
    /// exp(-gamma · distance²).
    Rbf { gamma: f64 },
    /// (gamma · product + constant)^degree.
    Polynomial {
        gamma: f64,
        constant: f64,
        degree: i32,
    },
}

impl Kernel {
    /// The kernel of a row with each of `rows`, given their squared lengths. A row's figures depend on no other row.
    pub(crate) fn with_all(
        self,
        rows: &Array2<f64>,
        squares: &Array1<f64>,
        row: ArrayView1<'_, f64>,
    ) -> Array1<f64> {
        let mut products = rows.dot(&row);
        match self {
            Self::Linear => {}
            Self::Rbf { gamma } => {
                let square = row.dot(&row);
                products.zip_mut_with(squares, |product, other| {
                    *product = (-gamma * (square + other - 2.0 * *product).max(0.0)).exp();
                });
            }
            Self::Polynomial {
                gamma,
                constant,
                degree,
            } => products.mapv_inplace(|product| (gamma * product + constant).powi(degree)),
        }
        products
    }
}

/// The squared length of each row.
pub(crate) fn squares(rows: &Array2<f64>) -> Array1<f64> {
    rows.rows().into_iter().map(|row| row.dot(&row)).collect()
}

/// The kernel of training rows with all others, row by row, the last ones kept.
pub(crate) struct KernelRows<'a> {
    kernel: Kernel,
    rows: &'a Array2<f64>,
    squares: Array1<f64>,
    kept: Vec<Option<Rc<Array1<f64>>>>,
    order: VecDeque<usize>,
}

impl<'a> KernelRows<'a> {
    /// `rows` are contiguous.
    pub(crate) fn new(kernel: Kernel, rows: &'a Array2<f64>) -> Self {
        Self {
            kernel,
            squares: squares(rows),
            kept: vec![None; rows.nrows()],
            order: VecDeque::new(),
            rows,
        }
    }

    fn row(&mut self, row: usize) -> Rc<Array1<f64>> {
        if let Some(kept) = &self.kept[row] {
            return Rc::clone(kept);
        }
        if (self.order.len() + 1) * self.rows.nrows() > CACHED_NUMBERS
            && self.order.len() > 2
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept[oldest] = None;
        }
        let values = Rc::new(
            self.kernel
                .with_all(self.rows, &self.squares, self.rows.row(row)),
        );
        self.kept[row] = Some(Rc::clone(&values));
        self.order.push_back(row);
        values
    }

    fn diagonal(&self, row: usize) -> f64 {
        let square = self.squares[row];
        match self.kernel {
            Kernel::Linear => square,
            Kernel::Rbf { .. } => 1.0,
            Kernel::Polynomial {
                gamma,
                constant,
                degree,
            } => (gamma * square + constant).powi(degree),
        }
    }
}

/// Make ½ αᵀQα + pᵀα small with 0 ≤ α ≤ bounds and Σ sign·α as at the start; Q is sign·signᵀ times the kernel.
pub(crate) struct Programme {
    /// The training row of each variable.
    pub(crate) rows: Vec<usize>,
    /// 1 or -1.
    pub(crate) signs: Vec<f64>,
    /// p.
    pub(crate) linear: Vec<f64>,
    pub(crate) bounds: Vec<f64>,
    /// α to begin with.
    pub(crate) start: Vec<f64>,
}

/// A solution: the function Σ coefficient · kernel - offset.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Solution {
    /// sign·α of each training row.
    pub(crate) coefficients: Array1<f64>,
    pub(crate) offset: f64,
    pub(crate) converged: bool,
}

impl Programme {
    /// Steps until no pair breaks the conditions of the optimum by more than `tolerance`. `None` where `is_cancelled` said yes.
    pub(crate) fn solve(
        &self,
        kernels: &mut KernelRows<'_>,
        tolerance: f64,
        most_steps: usize,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Option<Solution> {
        let size = self.rows.len();
        let mut alphas = self.start.clone();
        let diagonal: Vec<f64> = self.rows.iter().map(|row| kernels.diagonal(*row)).collect();
        let mut gradient = self.linear.clone();
        for variable in (0..size).filter(|variable| self.start[*variable] != 0.0) {
            let kernel = kernels.row(self.rows[variable]);
            let step = self.signs[variable] * alphas[variable];
            for (other, slope) in gradient.iter_mut().enumerate() {
                *slope += self.signs[other] * kernel[self.rows[other]] * step;
            }
        }
        let mut converged = false;
        for step in 0..most_steps {
            if step % STEPS_BETWEEN_LOOKS == 0 && is_cancelled() {
                return None;
            }
            let Some((first, second)) =
                self.worst_pair(&alphas, &gradient, &diagonal, kernels, tolerance)
            else {
                converged = true;
                break;
            };
            let (of_first, of_second) = (
                kernels.row(self.rows[first]),
                kernels.row(self.rows[second]),
            );
            let before = (alphas[first], alphas[second]);
            let curvature = (diagonal[first] + diagonal[second]
                - 2.0 * of_first[self.rows[second]])
                .max(LEAST_CURVATURE);
            let (up, low) = self.step(&alphas, &gradient, first, second, curvature);
            alphas[first] = up;
            alphas[second] = low;
            let changes = (
                (up - before.0) * self.signs[first],
                (low - before.1) * self.signs[second],
            );
            for (variable, slope) in gradient.iter_mut().enumerate() {
                let row = self.rows[variable];
                *slope +=
                    self.signs[variable] * (of_first[row] * changes.0 + of_second[row] * changes.1);
            }
        }
        let mut coefficients = Array1::zeros(kernels.rows.nrows());
        for variable in 0..size {
            coefficients[self.rows[variable]] += self.signs[variable] * alphas[variable];
        }
        Some(Solution {
            coefficients,
            offset: self.offset(&alphas, &gradient),
            converged,
        })
    }

    /// Whether sign·α can grow.
    fn can_grow(&self, alphas: &[f64], variable: usize) -> bool {
        if self.signs[variable] > 0.0 {
            alphas[variable] < self.bounds[variable]
        } else {
            alphas[variable] > 0.0
        }
    }

    /// Whether sign·α can shrink.
    fn can_shrink(&self, alphas: &[f64], variable: usize) -> bool {
        if self.signs[variable] > 0.0 {
            alphas[variable] > 0.0
        } else {
            alphas[variable] < self.bounds[variable]
        }
    }

    fn worst_pair(
        &self,
        alphas: &[f64],
        gradient: &[f64],
        diagonal: &[f64],
        kernels: &mut KernelRows<'_>,
        tolerance: f64,
    ) -> Option<(usize, usize)> {
        let mut first = None;
        let mut greatest = f64::NEG_INFINITY;
        for (variable, slope) in gradient.iter().enumerate() {
            let gain = -self.signs[variable] * slope;
            if gain > greatest && self.can_grow(alphas, variable) {
                (first, greatest) = (Some(variable), gain);
            }
        }
        let first = first?;
        let kernel = kernels.row(self.rows[first]);
        let mut second = None;
        let (mut widest, mut best) = (f64::NEG_INFINITY, 0.0);
        for (variable, slope) in gradient.iter().enumerate() {
            if !self.can_shrink(alphas, variable) {
                continue;
            }
            let gap = greatest + self.signs[variable] * slope;
            widest = widest.max(gap);
            if gap > 0.0 {
                let curvature = (diagonal[first] + diagonal[variable]
                    - 2.0 * kernel[self.rows[variable]])
                    .max(LEAST_CURVATURE);
                let gain = gap * gap / curvature;
                if gain > best {
                    (second, best) = (Some(variable), gain);
                }
            }
        }
        (widest >= tolerance).then_some((first, second?))
    }

    /// The pair's new values: the best ones within the bounds that keep Σ sign·α.
    fn step(
        &self,
        alphas: &[f64],
        gradient: &[f64],
        first: usize,
        second: usize,
        curvature: f64,
    ) -> (f64, f64) {
        let (mut up, mut low) = (alphas[first], alphas[second]);
        let (most_up, most_low) = (self.bounds[first], self.bounds[second]);
        if self.signs[first] != self.signs[second] {
            let change = (-gradient[first] - gradient[second]) / curvature;
            let difference = up - low;
            up += change;
            low += change;
            if difference > 0.0 && low < 0.0 {
                (up, low) = (difference, 0.0);
            } else if difference <= 0.0 && up < 0.0 {
                (up, low) = (0.0, -difference);
            }
            if difference > most_up - most_low && up > most_up {
                (up, low) = (most_up, most_up - difference);
            } else if difference <= most_up - most_low && low > most_low {
                (up, low) = (most_low + difference, most_low);
            }
        } else {
            let change = (gradient[first] - gradient[second]) / curvature;
            let sum = up + low;
            up -= change;
            low += change;
            if sum > most_up && up > most_up {
                (up, low) = (most_up, sum - most_up);
            } else if sum <= most_up && low < 0.0 {
                (up, low) = (sum, 0.0);
            }
            if sum > most_low && low > most_low {
                (up, low) = (sum - most_low, most_low);
            } else if sum <= most_low && up < 0.0 {
                (up, low) = (0.0, sum);
            }
        }
        (up, low)
    }

    /// The mean over variables strictly within their bounds; where there are none, the middle of what the others allow.
    fn offset(&self, alphas: &[f64], gradient: &[f64]) -> f64 {
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        let (mut sum, mut free) = (0.0, 0_usize);
        for (variable, slope) in gradient.iter().enumerate() {
            let value = self.signs[variable] * slope;
            match (
                self.can_grow(alphas, variable),
                self.can_shrink(alphas, variable),
            ) {
                (true, true) => {
                    sum += value;
                    free += 1;
                }
                (true, false) => high = high.min(value),
                (false, true) => low = low.max(value),
                (false, false) => {}
            }
        }
        match (free, low.is_finite(), high.is_finite()) {
            (0, true, true) => f64::midpoint(low, high),
            (0, true, false) => low,
            (0, false, true) => high,
            (0, false, false) => 0.0,
            _ => sum / free as f64,
        }
    }
}
