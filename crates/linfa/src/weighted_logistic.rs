//! L2-penalised logistic regression with class and row weights, two classes or many, behind linfa's traits.
//!
//! linfa-logistic 0.8 is not called because it knows neither row weights nor class weights, and because its L-BFGS needs
//! hundreds of passes over columns of different scale. The figures are the same: a test holds the two side by side.
//!
//! The loss is `Σ weight · -ln P(class | row) + penalty / 2 · ‖coefficients‖²`; intercepts are not penalised. It is scikit-learn's
//! with `C = 1 / penalty`. The solver is Newton's with step halving. While there are few parameters the Newton system is solved by
//! Cholesky factorisation (iteratively reweighted least squares: Hastie, Tibshirani, Friedman, The Elements of Statistical
//! Learning, 4.4.1); with many, by conjugate gradients on Hessian products (Lin, Weng, Keerthi, Trust Region Newton Method for
//! Large-Scale Logistic Regression, JMLR 9, 2008), so that no Hessian is stored.
//!
//! Sums over rows are cut into the same segments on every machine and added in their order: the result does not depend on how
//! many threads there are.

use std::ops::Range;

use linfa::{Dataset, DatasetBase, traits::Fit};
use ndarray::{
    Array1, Array2, ArrayView2, ArrayViewMut2, Axis, Ix1, ShapeBuilder, linalg::general_mat_mul, s,
};
use rayon::prelude::*;

/// Rows that are copied, centred and multiplied at a time: with 20 columns they stay in the second-level cache.
const BLOCK_ROWS: usize = 1024;
/// Sums over rows are cut into at most this many segments.
const SEGMENTS: usize = 64;
/// Up to this many parameters the Hessian is stored and factorised.
const DIRECT_PARAMETERS: usize = 256;
/// Rows for each parameter that a sample has, to begin with.
const SAMPLE_ROWS: usize = 200;
/// A sample takes every so manieth row: primes, so that rows in a rhythm (of classes in turn, of hours and weekdays) are all met.
const STRIDES: [usize; 12] = [11, 13, 17, 23, 31, 43, 61, 83, 113, 151, 211, 293];
const SUFFICIENT_DECREASE: f64 = 1e-4;
const MOST_HALVINGS: usize = 30;
/// Conjugate-gradient steps for one Newton step.
const MOST_PRODUCTS: usize = 200;

/// The training rows: features, the class number of each row and, if set, row weights.
pub(crate) type TrainingSet = Dataset<f64, usize, Ix1>;

/// How to fit.
pub(crate) struct WeightedLogistic<'a> {
    /// How many classes there are; class numbers are below it.
    pub(crate) classes: usize,
    /// The weight of each class.
    pub(crate) class_weights: Vec<f64>,
    /// Strength of the L2 penalty.
    pub(crate) penalty: f64,
    /// Newton steps at most.
    pub(crate) max_iterations: usize,
    /// Done when no component of the gradient of the mean loss, over features scaled to unit variance, exceeds this.
    pub(crate) tolerance: f64,
    /// Asked between passes over the rows; true ends the fit.
    pub(crate) is_cancelled: &'a (dyn Fn() -> bool + Sync),
    /// Called before each Newton step with its number, from 0, and the mean loss.
    pub(crate) on_step: &'a (dyn Fn(usize, f64) + Sync),
}

/// Why there is no fit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FitError {
    /// [`WeightedLogistic::is_cancelled`] said yes.
    #[error("interrupted")]
    Interrupted,
    /// All weights are zero.
    #[error("the weights of the training rows add up to zero")]
    NoWeight,
    /// The numbers are too large for the solver.
    #[error("the loss is not a finite number; scale the features with `features.standardize`")]
    NotFinite,
    /// linfa said no.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}

/// A fitted logistic regression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FittedLogistic {
    /// A row of coefficients for each class; of two classes, one row, for class 1.
    pub(crate) coefficients: Array2<f64>,
    /// An intercept for each row of coefficients.
    pub(crate) intercepts: Array1<f64>,
    /// Newton steps taken.
    pub(crate) iterations: usize,
    /// Whether the gradient got below the tolerance.
    pub(crate) converged: bool,
}

impl Fit<Array2<f64>, Array1<usize>, FitError> for WeightedLogistic<'_> {
    type Object = FittedLogistic;

    fn fit(
        &self,
        training: &DatasetBase<Array2<f64>, Array1<usize>>,
    ) -> Result<FittedLogistic, FitError> {
        let problem = Problem::new(self, training)?;
        let start = problem.first_parameters(self)?;
        let (parameters, iterations, converged) = problem.minimise(self, start, self.on_step)?;
        Ok(problem.in_original_units(&parameters, iterations, converged))
    }
}

impl FittedLogistic {
    /// Fills in the probability of each class (columns) for each row.
    ///
    /// Every row is computed by the same operations in the same order whatever the other rows are: alone or in a batch, it gets the same bits.
    pub(crate) fn predict(
        &self,
        records: ArrayView2<'_, f64>,
        mut probabilities: ArrayViewMut2<'_, f64>,
    ) {
        let outputs = self.intercepts.len();
        // Class 0 of two has no row of its own: its linear predictor is 0.
        let first = probabilities.ncols() - outputs;
        for output in 0..outputs {
            let mut predictor = probabilities.column_mut(first + output);
            predictor.fill(self.intercepts[output]);
            for (feature, coefficient) in records
                .columns()
                .into_iter()
                .zip(self.coefficients.row(output))
            {
                predictor.zip_mut_with(&feature, |sum, value| *sum += coefficient * value);
            }
        }
        for mut row in probabilities.rows_mut() {
            if outputs == 1 {
                let positive = sigmoid(row[1]);
                row[1] = positive;
                row[0] = 1.0 - positive;
            } else {
                let largest = row.fold(f64::NEG_INFINITY, |largest, value| largest.max(*value));
                row.mapv_inplace(|value| (value - largest).exp());
                let total: f64 = row.iter().sum();
                row.mapv_inplace(|value| value / total);
            }
        }
    }

    /// How many classes there are.
    pub(crate) fn classes(&self) -> usize {
        self.intercepts.len().max(2)
    }
}

fn sigmoid(predictor: f64) -> f64 {
    if predictor >= 0.0 {
        1.0 / (1.0 + (-predictor).exp())
    } else {
        let odds = predictor.exp();
        odds / (1.0 + odds)
    }
}

/// The loss over the training rows, in centred and scaled features; the last "feature" is 1, for the intercept.
///
/// Centring and scaling change neither the loss nor the penalty (which is taken in the original units): they keep the Newton
/// system well conditioned when one column is a year and another a share.
struct Problem<'a> {
    records: ArrayView2<'a, f64>,
    targets: &'a Array1<usize>,
    weights: Option<&'a [f32]>,
    class_weights: &'a [f64],
    total_weight: f64,
    means: Array1<f64>,
    scales: Array1<f64>,
    /// Penalty of each coefficient in scaled units; 0 for the intercept.
    penalties: Array1<f64>,
    /// Linear predictors: 1 for two classes, else one for each class. Parameters are an array (outputs, features + 1).
    outputs: usize,
    segment_rows: usize,
    /// Every so manieth row counts; 1 for all.
    stride: usize,
}

/// The loss at some parameters and, where wanted, its derivatives.
struct Expansion {
    loss: f64,
    gradient: Array2<f64>,
    /// Over parameters in row-major order; empty unless wanted.
    hessian: Array2<f64>,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Wanted {
    Loss,
    Gradient,
    Hessian,
}

/// The buffers of one segment: a value for each row of a block.
struct Block {
    count: usize,
    /// Centred, scaled features and the 1 of the intercept.
    rows: Array2<f64>,
    /// Linear predictors, then probabilities.
    probabilities: Array2<f64>,
    /// What is summed up with the rows: residuals of the gradient, terms of a Hessian product.
    terms: Array2<f64>,
    /// Rows times a weight.
    weighted: Array2<f64>,
    weights: Vec<f64>,
    targets: Vec<usize>,
}

impl<'a> Problem<'a> {
    fn new(
        settings: &'a WeightedLogistic<'_>,
        training: &'a DatasetBase<Array2<f64>, Array1<usize>>,
    ) -> Result<Self, FitError> {
        let records = training.records().view();
        let (rows, features) = records.dim();
        let mut problem = Self {
            records,
            targets: training.targets(),
            weights: training.weights(),
            class_weights: &settings.class_weights,
            total_weight: 0.0,
            means: Array1::zeros(features),
            scales: Array1::ones(features),
            penalties: Array1::zeros(features + 1),
            outputs: if settings.classes == 2 {
                1
            } else {
                settings.classes
            },
            segment_rows: rows
                .div_ceil(SEGMENTS)
                .next_multiple_of(BLOCK_ROWS)
                .max(BLOCK_ROWS),
            stride: 1,
        };
        problem.total_weight = (0..rows).map(|row| problem.weight(row)).sum();
        if problem.total_weight <= 0.0 {
            return Err(FitError::NoWeight);
        }
        let moments: Vec<(f64, f64)> = (0..features)
            .into_par_iter()
            .map(|feature| {
                let values = records.column(feature);
                let mean = values.sum() / rows as f64;
                let variance =
                    values.fold(0.0, |sum, value| sum + (value - mean).powi(2)) / rows as f64;
                (mean, variance.sqrt())
            })
            .collect();
        for (feature, (mean, deviation)) in moments.into_iter().enumerate() {
            // A column that never changes says nothing; any scale will do.
            let scale = if deviation > 1e-12 * mean.abs() {
                deviation
            } else {
                mean.abs().max(1.0)
            };
            problem.means[feature] = mean;
            problem.scales[feature] = scale;
            problem.penalties[feature] = settings.penalty / (scale * scale);
        }
        Ok(problem)
    }

    /// The same over a sample: every so manieth row, the penalties as much smaller as the rows are fewer.
    fn sample(&self, stride: usize) -> Self {
        let rows = self.records.nrows().div_ceil(stride);
        Self {
            records: self.records,
            targets: self.targets,
            weights: self.weights,
            class_weights: self.class_weights,
            total_weight: (0..rows).map(|row| self.weight(row * stride)).sum(),
            means: self.means.clone(),
            scales: self.scales.clone(),
            penalties: &self.penalties / stride as f64,
            outputs: self.outputs,
            segment_rows: rows
                .div_ceil(SEGMENTS)
                .next_multiple_of(BLOCK_ROWS)
                .max(BLOCK_ROWS),
            stride,
        }
    }

    /// Where to begin: near the end, where rows are so many that the best parameters of a sample cost next to nothing.
    fn first_parameters(&self, settings: &WeightedLogistic<'_>) -> Result<Array2<f64>, FitError> {
        let zeros = Array2::zeros((self.outputs, self.width()));
        let most = self.records.nrows() / (SAMPLE_ROWS * self.width()).max(SAMPLE_ROWS * 32);
        let Some(stride) = STRIDES.into_iter().rfind(|stride| *stride <= most) else {
            return Ok(zeros);
        };
        let sample = self.sample(stride);
        if sample.total_weight <= 0.0 {
            return Ok(zeros);
        }
        let (parameters, ..) = sample.minimise(settings, zeros.clone(), |_, _| {})?;
        // A sample may happen to be told apart perfectly, and its parameters know no bounds.
        let of_nothing = self.total_weight * (self.outputs.max(2) as f64).ln();
        let is_better = self.expand(&parameters, Wanted::Loss).loss < of_nothing;
        Ok(if is_better { parameters } else { zeros })
    }

    fn weight(&self, row: usize) -> f64 {
        let row_weight = self.weights.map_or(1.0, |weights| f64::from(weights[row]));
        row_weight * self.class_weights[self.targets[row]]
    }

    /// Parameters of one linear predictor: the coefficients and the intercept.
    fn width(&self) -> usize {
        self.penalties.len()
    }

    /// The parameters, the steps taken and whether the gradient vanished.
    fn minimise(
        &self,
        settings: &WeightedLogistic<'_>,
        start: Array2<f64>,
        on_step: impl Fn(usize, f64),
    ) -> Result<(Array2<f64>, usize, bool), FitError> {
        let mut parameters = start;
        let wanted = if parameters.len() <= DIRECT_PARAMETERS {
            Wanted::Hessian
        } else {
            Wanted::Gradient
        };
        let mut here = self.expand(&parameters, wanted);
        let mut steps = 0;
        loop {
            if (settings.is_cancelled)() {
                return Err(FitError::Interrupted);
            }
            if !here.loss.is_finite() {
                return Err(FitError::NotFinite);
            }
            let steepest = here
                .gradient
                .fold(0.0_f64, |largest, value| largest.max(value.abs()))
                / self.total_weight;
            if steepest <= settings.tolerance {
                return Ok((parameters, steps, true));
            }
            if steps == settings.max_iterations {
                return Ok((parameters, steps, false));
            }
            on_step(steps, here.loss / self.total_weight);
            let direction = match wanted {
                Wanted::Hessian => {
                    if here.hessian.is_empty() {
                        here = self.expand(&parameters, wanted);
                    }
                    self.newton_direction(std::mem::take(&mut here.hessian), &here.gradient)
                }
                _ => self.conjugate_direction(&parameters, &here.gradient, settings)?,
            };
            // Near the end a Newton step squares the gradient: a Hessian, the dearest part of a pass, would be made for nothing.
            let wanted = match steepest * steepest <= settings.tolerance {
                true => Wanted::Gradient,
                false => wanted,
            };
            let Some((next, expansion)) = self.line_search(&parameters, &here, &direction, wanted)
            else {
                // No step along the direction lowers the loss: rounding has the last word.
                return Ok((parameters, steps, false));
            };
            (parameters, here) = (next, expansion);
            steps += 1;
        }
    }

    fn line_search(
        &self,
        parameters: &Array2<f64>,
        here: &Expansion,
        direction: &Array2<f64>,
        wanted: Wanted,
    ) -> Option<(Array2<f64>, Expansion)> {
        let slope = dot(&here.gradient, direction);
        // Differences below this are rounding, not progress.
        let noise = 1e-13 * here.loss.abs();
        let mut length = 1.0;
        for _ in 0..MOST_HALVINGS {
            let next = parameters + &(direction * length);
            // The full step is nearly always taken, so it is worth its derivatives at once.
            let expansion = self.expand(&next, if length == 1.0 { wanted } else { Wanted::Loss });
            if expansion.loss <= here.loss + SUFFICIENT_DECREASE * length * slope + noise {
                let expansion = if length == 1.0 {
                    expansion
                } else {
                    self.expand(&next, wanted)
                };
                return Some((next, expansion));
            }
            length /= 2.0;
        }
        None
    }

    /// `-H⁻¹ g` by Cholesky factorisation.
    fn newton_direction(&self, mut hessian: Array2<f64>, gradient: &Array2<f64>) -> Array2<f64> {
        let width = self.width();
        if self.outputs > 1 {
            // Adding the same number to a coefficient of every class changes no probability: along that direction the Hessian
            // is singular (or nearly, with a small penalty). The gradient has no part in it, so this term changes no step.
            for feature in 0..width {
                let place = |output: usize| output * width + feature;
                let trace: f64 = (0..self.outputs)
                    .map(|output| hessian[[place(output), place(output)]])
                    .sum();
                for left in 0..self.outputs {
                    for right in 0..self.outputs {
                        hessian[[place(left), place(right)]] += trace / self.outputs as f64;
                    }
                }
            }
        }
        let negative: Vec<f64> = gradient.iter().map(|value| -value).collect();
        let largest = hessian
            .diag()
            .fold(f64::MIN_POSITIVE, |largest, value| largest.max(*value));
        let mut damping = 0.0;
        loop {
            let mut damped = hessian.clone();
            damped.diag_mut().mapv_inplace(|value| value + damping);
            if let Some(solution) = solve_by_cholesky(damped, &negative) {
                return Array2::from_shape_fn(gradient.dim(), |(output, feature)| {
                    solution[output * width + feature]
                });
            }
            // Columns that repeat each other, and no penalty: the smallest damping that makes the system solvable.
            damping = if damping == 0.0 {
                1e-12 * largest
            } else {
                damping * 10.0
            };
            if damping > 1e6 * largest {
                return gradient / -largest;
            }
        }
    }

    /// `-H⁻¹ g`, as near as this step needs it, by preconditioned conjugate gradients.
    fn conjugate_direction(
        &self,
        parameters: &Array2<f64>,
        gradient: &Array2<f64>,
        settings: &WeightedLogistic<'_>,
    ) -> Result<Array2<f64>, FitError> {
        // The Hessian's diagonal where all classes are equally likely; features have unit variance.
        let share = 1.0 / self.outputs.max(2) as f64;
        let diagonal = self
            .penalties
            .mapv(|penalty| penalty + self.total_weight * share * (1.0 - share));
        let norm = dot(gradient, gradient).sqrt();
        // Loose far away, tight near the end (Nocedal and Wright, Numerical Optimization, 7.1).
        let enough = norm * (norm / self.total_weight).sqrt().min(0.1);
        let mut direction = Array2::<f64>::zeros(gradient.dim());
        let mut residual = -gradient;
        let mut conditioned = &residual / &diagonal;
        let mut search = conditioned.clone();
        let mut product_of_residuals = dot(&residual, &conditioned);
        for _ in 0..MOST_PRODUCTS {
            if (settings.is_cancelled)() {
                return Err(FitError::Interrupted);
            }
            let product = self.hessian_product(parameters, &search);
            let curvature = dot(&search, &product);
            if curvature <= f64::MIN_POSITIVE {
                break;
            }
            let length = product_of_residuals / curvature;
            direction.scaled_add(length, &search);
            residual.scaled_add(-length, &product);
            if dot(&residual, &residual).sqrt() <= enough {
                break;
            }
            conditioned = &residual / &diagonal;
            let next = dot(&residual, &conditioned);
            search = &conditioned + &(&search * (next / product_of_residuals));
            product_of_residuals = next;
        }
        if direction.iter().all(|value| *value == 0.0) {
            // No curvature at all: the scaled steepest descent is all that is left.
            direction = search;
        }
        if self.outputs > 1 {
            // Adding the same number to a coefficient of every class changes no probability; rounding must not drift that way.
            let drift = direction.sum_axis(Axis(0)) / self.outputs as f64;
            direction -= &drift;
        }
        Ok(direction)
    }

    fn expand(&self, parameters: &Array2<f64>, wanted: Wanted) -> Expansion {
        let width = self.width();
        let count = if wanted == Wanted::Hessian {
            parameters.len()
        } else {
            0
        };
        let empty = || Expansion {
            loss: 0.0,
            gradient: Array2::zeros(parameters.dim()),
            hessian: Array2::zeros((count, count)),
        };
        let work = |block: &mut Block, partial: &mut Expansion| {
            partial.loss += block.predict(parameters);
            if wanted >= Wanted::Gradient {
                block.residuals();
                block.add_terms(&mut partial.gradient);
            }
            if wanted == Wanted::Hessian {
                for left in 0..self.outputs {
                    for right in left..self.outputs {
                        let corner = s![
                            left * width..(left + 1) * width,
                            right * width..(right + 1) * width
                        ];
                        block.add_curvature(left, right, &mut partial.hessian.slice_mut(corner));
                    }
                }
            }
        };
        let mut total = self.sum_segments(empty, work, |total, partial| {
            total.loss += partial.loss;
            total.gradient += &partial.gradient;
            total.hessian += &partial.hessian;
        });
        for ((output, feature), parameter) in parameters.indexed_iter() {
            let penalty = self.penalties[feature];
            total.loss += 0.5 * penalty * parameter * parameter;
            total.gradient[[output, feature]] += penalty * parameter;
            if count > 0 {
                total.hessian[[output * width + feature, output * width + feature]] += penalty;
            }
        }
        for row in 0..count {
            for column in 0..row {
                total.hessian[[row, column]] = total.hessian[[column, row]];
            }
        }
        total
    }

    fn hessian_product(&self, parameters: &Array2<f64>, search: &Array2<f64>) -> Array2<f64> {
        let mut product = self.sum_segments(
            || Array2::zeros(parameters.dim()),
            |block, partial| {
                block.predict(parameters);
                block.curvature_along(search);
                block.add_terms(partial);
            },
            |total, partial| *total += &partial,
        );
        product += &(search * &self.penalties);
        product
    }

    /// Runs `work` over the blocks of every segment and adds the segments' results in their order.
    fn sum_segments<T: Send>(
        &self,
        empty: impl Fn() -> T + Sync,
        work: impl Fn(&mut Block, &mut T) + Sync,
        add: impl Fn(&mut T, T),
    ) -> T {
        let rows = self.records.nrows().div_ceil(self.stride);
        let segments: Vec<T> = (0..rows.div_ceil(self.segment_rows))
            .into_par_iter()
            .map(|segment| {
                let mut block = Block::new(self.width(), self.outputs);
                let mut partial = empty();
                let end = rows.min((segment + 1) * self.segment_rows);
                let mut start = segment * self.segment_rows;
                while start < end {
                    let stop = end.min(start + BLOCK_ROWS);
                    self.read(start..stop, &mut block);
                    work(&mut block, &mut partial);
                    start = stop;
                }
                partial
            })
            .collect();
        segments.into_iter().fold(empty(), |mut total, partial| {
            add(&mut total, partial);
            total
        })
    }

    fn read(&self, range: Range<usize>, block: &mut Block) {
        block.count = range.len();
        let rows = range.start * self.stride..(range.end * self.stride).min(self.records.nrows());
        for (feature, values) in self
            .records
            .slice(s![rows;self.stride, ..])
            .columns()
            .into_iter()
            .enumerate()
        {
            let (mean, factor) = (self.means[feature], 1.0 / self.scales[feature]);
            block
                .rows
                .slice_mut(s![..block.count, feature])
                .zip_mut_with(&values, |scaled, value| *scaled = (value - mean) * factor);
        }
        block.weights.clear();
        block
            .weights
            .extend(range.clone().map(|row| self.weight(row * self.stride)));
        block.targets.clear();
        block.targets.extend(range.map(|row| self.targets[row]));
    }

    fn in_original_units(
        &self,
        parameters: &Array2<f64>,
        iterations: usize,
        converged: bool,
    ) -> FittedLogistic {
        let features = self.width() - 1;
        let coefficients = &parameters.slice(s![.., ..features]) / &self.scales;
        let intercepts = &parameters.column(features) - &coefficients.dot(&self.means);
        FittedLogistic {
            coefficients,
            intercepts,
            iterations,
            converged,
        }
    }
}

impl Block {
    fn new(width: usize, outputs: usize) -> Self {
        let mut rows = Array2::zeros((BLOCK_ROWS, width).f());
        rows.column_mut(width - 1).fill(1.0);
        Self {
            count: 0,
            rows,
            probabilities: Array2::zeros((BLOCK_ROWS, outputs).f()),
            terms: Array2::zeros((BLOCK_ROWS, outputs).f()),
            weighted: Array2::zeros((BLOCK_ROWS, width).f()),
            weights: Vec::with_capacity(BLOCK_ROWS),
            targets: Vec::with_capacity(BLOCK_ROWS),
        }
    }

    /// Fills in the probabilities; answers with the weighted loss.
    fn predict(&mut self, parameters: &Array2<f64>) -> f64 {
        let rows = self.rows.slice(s![..self.count, ..]);
        let mut predictors = self.probabilities.slice_mut(s![..self.count, ..]);
        general_mat_mul(1.0, &rows, &parameters.t(), 0.0, &mut predictors);
        let mut loss = 0.0;
        for ((mut predictor, weight), target) in predictors
            .rows_mut()
            .into_iter()
            .zip(&self.weights)
            .zip(&self.targets)
        {
            if predictor.len() == 1 {
                let value = predictor[0];
                let small = (-value.abs()).exp();
                let wrong = if *target == 1 { -value } else { value };
                loss += weight * (wrong.max(0.0) + small.ln_1p());
                predictor[0] = if value >= 0.0 {
                    1.0 / (1.0 + small)
                } else {
                    small / (1.0 + small)
                };
            } else {
                let largest =
                    predictor.fold(f64::NEG_INFINITY, |largest, value| largest.max(*value));
                let of_target = predictor[*target] - largest;
                predictor.mapv_inplace(|value| (value - largest).exp());
                let total: f64 = predictor.iter().sum();
                loss += weight * (total.ln() - of_target);
                predictor.mapv_inplace(|value| value / total);
            }
        }
        loss
    }

    /// Terms of the gradient: weight × (probability - truth).
    fn residuals(&mut self) {
        let single = self.terms.ncols() == 1;
        for (output, (mut terms, probabilities)) in self
            .terms
            .columns_mut()
            .into_iter()
            .zip(self.probabilities.columns())
            .enumerate()
        {
            let class = if single { 1 } else { output };
            for (row, (weight, target)) in self.weights.iter().zip(&self.targets).enumerate() {
                let truth = f64::from(u8::from(*target == class));
                terms[row] = weight * (probabilities[row] - truth);
            }
        }
    }

    /// Terms of the Hessian times `search`.
    fn curvature_along(&mut self, search: &Array2<f64>) {
        let rows = self.rows.slice(s![..self.count, ..]);
        let mut along = self.terms.slice_mut(s![..self.count, ..]);
        general_mat_mul(1.0, &rows, &search.t(), 0.0, &mut along);
        for ((mut along, probabilities), weight) in along
            .rows_mut()
            .into_iter()
            .zip(self.probabilities.rows())
            .zip(&self.weights)
        {
            if along.len() == 1 {
                along[0] *= weight * probabilities[0] * (1.0 - probabilities[0]);
            } else {
                let mean = along.dot(&probabilities);
                along.zip_mut_with(&probabilities, |along, probability| {
                    *along = weight * probability * (*along - mean)
                });
            }
        }
    }

    /// Adds `termsᵀ · rows`.
    fn add_terms(&self, sum: &mut Array2<f64>) {
        let rows = self.rows.slice(s![..self.count, ..]);
        general_mat_mul(
            1.0,
            &self.terms.slice(s![..self.count, ..]).t(),
            &rows,
            1.0,
            sum,
        );
    }

    /// Adds the Hessian between two outputs' parameters.
    fn add_curvature(&mut self, left: usize, right: usize, sum: &mut ArrayViewMut2<'_, f64>) {
        let other = f64::from(u8::from(left == right));
        let curvature: Vec<f64> = (0..self.count)
            .map(|row| {
                let (left, right) = (
                    self.probabilities[[row, left]],
                    self.probabilities[[row, right]],
                );
                self.weights[row] * left * (other - right)
            })
            .collect();
        for (mut weighted, values) in self
            .weighted
            .columns_mut()
            .into_iter()
            .zip(self.rows.columns())
        {
            for ((weighted, value), curvature) in weighted.iter_mut().zip(values).zip(&curvature) {
                *weighted = value * curvature;
            }
        }
        let rows = self.rows.slice(s![..self.count, ..]);
        general_mat_mul(
            1.0,
            &self.weighted.slice(s![..self.count, ..]).t(),
            &rows,
            1.0,
            sum,
        );
    }
}

fn dot(left: &Array2<f64>, right: &Array2<f64>) -> f64 {
    left.iter()
        .zip(right)
        .map(|(left, right)| left * right)
        .sum()
}

/// Solves a symmetric positive definite system; `None` if it is not (or is so only by rounding).
pub(crate) fn solve_by_cholesky(mut matrix: Array2<f64>, right: &[f64]) -> Option<Vec<f64>> {
    let size = right.len();
    // The lower triangle becomes L of L Lᵀ.
    for column in 0..size {
        let before = matrix[[column, column]];
        let pivot = before
            - (0..column)
                .map(|k| matrix[[column, k]].powi(2))
                .sum::<f64>();
        // Not a number must fail too, so the question is what is good enough.
        let is_positive = pivot > 1e-13 * before;
        if !is_positive {
            return None;
        }
        let root = pivot.sqrt();
        matrix[[column, column]] = root;
        for row in column + 1..size {
            let known: f64 = matrix
                .slice(s![row, ..column])
                .iter()
                .zip(matrix.slice(s![column, ..column]))
                .map(|(left, right)| left * right)
                .sum();
            matrix[[row, column]] = (matrix[[row, column]] - known) / root;
        }
    }
    let mut solution = right.to_vec();
    for row in 0..size {
        let known: f64 = (0..row).map(|k| matrix[[row, k]] * solution[k]).sum();
        solution[row] = (solution[row] - known) / matrix[[row, row]];
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size)
            .map(|k| matrix[[k, row]] * solution[k])
            .sum();
        solution[row] = (solution[row] - known) / matrix[[row, row]];
    }
    solution
        .iter()
        .all(|value| value.is_finite())
        .then_some(solution)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn settings(classes: usize) -> WeightedLogistic<'static> {
        WeightedLogistic {
            classes,
            class_weights: vec![1.0; classes],
            penalty: 1.0,
            max_iterations: 100,
            tolerance: 1e-10,
            is_cancelled: &|| false,
            on_step: &|_, _| {},
        }
    }

    /// Rows of three overlapping clouds, without a random generator: a low-discrepancy sequence.
    fn clouds(rows: usize, classes: usize, features: usize) -> TrainingSet {
        let fraction =
            |row: usize, feature: usize| ((row + 1) as f64 * (feature as f64 + 2.0).sqrt()).fract();
        let targets = Array1::from_shape_fn(rows, |row| row % classes);
        let records = Array2::from_shape_fn((rows, features).f(), |(row, feature)| {
            let shift = if feature % classes == row % classes {
                0.4
            } else {
                0.0
            };
            (fraction(row, feature) + shift) * 10.0_f64.powi(feature as i32 % 4)
        });
        Dataset::new(records, targets)
    }

    fn predicted(fitted: &FittedLogistic, records: &Array2<f64>) -> Array2<f64> {
        let mut probabilities = Array2::zeros((records.nrows(), fitted.classes()));
        fitted.predict(records.view(), probabilities.view_mut());
        probabilities
    }

    #[test]
    fn without_features_it_learns_the_odds() {
        // 3 of 4 rows are of class 1, and the intercept is not penalised: ln(3 / 1).
        let training = Dataset::new(Array2::zeros((4, 0)), array![1, 1, 0, 1]);
        let fitted = settings(2).fit(&training).expect("a fit");
        assert!(fitted.converged);
        assert!((fitted.intercepts[0] - 3.0_f64.ln()).abs() < 1e-9);
        // With three classes, probabilities are the shares.
        let training = Dataset::new(Array2::zeros((6, 0)), array![0, 1, 1, 2, 2, 2]);
        let fitted = settings(3).fit(&training).expect("a fit");
        let probabilities = predicted(&fitted, &Array2::zeros((1, 0)));
        for (probability, share) in probabilities.iter().zip([1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0]) {
            assert!((probability - share).abs() < 1e-9);
        }
    }

    #[test]
    fn a_binary_feature_learns_the_log_odds_ratio() {
        // Odds 1 / 3 where the feature is 0 and 3 / 1 where it is 1; nearly no penalty.
        let records = array![[0.0], [0.0], [0.0], [0.0], [1.0], [1.0], [1.0], [1.0]];
        let training = Dataset::new(records, array![0, 0, 0, 1, 1, 1, 1, 0]);
        let fitted = WeightedLogistic {
            penalty: 1e-9,
            ..settings(2)
        }
        .fit(&training)
        .expect("a fit");
        assert!((fitted.intercepts[0] + 3.0_f64.ln()).abs() < 1e-6);
        assert!((fitted.coefficients[[0, 0]] - 9.0_f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn weight_two_is_the_row_twice() {
        for classes in [2, 3] {
            let once = clouds(90, classes, 4);
            let weights = Array1::from_shape_fn(90, |row| 1.0 + (row % 2) as f32);
            let rows: Vec<usize> = (0..90).flat_map(|row| vec![row; 1 + row % 2]).collect();
            let twice = Dataset::new(
                once.records().select(Axis(0), &rows),
                once.targets().select(Axis(0), &rows),
            );
            let weighted = settings(classes)
                .fit(&once.with_weights(weights))
                .expect("a fit");
            let repeated = settings(classes).fit(&twice).expect("a fit");
            assert!(
                (&weighted.coefficients - &repeated.coefficients)
                    .iter()
                    .all(|gap| gap.abs() < 1e-7)
            );
            assert!(
                (&weighted.intercepts - &repeated.intercepts)
                    .iter()
                    .all(|gap| gap.abs() < 1e-7)
            );
        }
    }

    #[test]
    fn agrees_with_linfa_logistic() {
        let training = clouds(300, 2, 3);
        // Standardised, so that linfa's L-BFGS converges too.
        let records = training.records();
        let means = records.mean_axis(Axis(0)).expect("rows");
        let scaled = (records - &means) / records.std_axis(Axis(0), 0.0);
        let training = Dataset::new(scaled, training.targets().clone());
        let ours = settings(2).fit(&training).expect("a fit");
        let theirs = linfa_logistic::LogisticRegression::default()
            .alpha(1.0)
            .gradient_tolerance(1e-7)
            .max_iterations(1000)
            .fit(&training)
            .expect("their fit");
        // Equally frequent classes: linfa takes the class of the first row as the positive one.
        let sign = if theirs.labels().pos.class == 1 {
            1.0
        } else {
            -1.0
        };
        for (ours, theirs) in ours.coefficients.iter().zip(theirs.params()) {
            assert!((ours - sign * theirs).abs() < 1e-5, "{ours} and {theirs}");
        }
        assert!((ours.intercepts[0] - sign * theirs.intercept()).abs() < 1e-5);
    }

    #[test]
    fn agrees_with_linfa_logistic_on_many_classes() {
        let training = clouds(300, 3, 3);
        let records = training.records();
        let means = records.mean_axis(Axis(0)).expect("rows");
        let scaled = (records - &means) / records.std_axis(Axis(0), 0.0);
        let training = Dataset::new(scaled, training.targets().clone());
        let ours = settings(3).fit(&training).expect("a fit");
        let theirs = linfa_logistic::MultiLogisticRegression::default()
            .alpha(1.0)
            .gradient_tolerance(1e-7)
            .max_iterations(1000)
            .fit(&training)
            .expect("their fit");
        let gaps = &predicted(&ours, training.records())
            - &theirs.predict_probabilities(training.records());
        assert!(gaps.iter().all(|gap| gap.abs() < 1e-5));
    }

    #[test]
    fn conjugate_gradients_and_cholesky_find_the_same() {
        for classes in [2, 3] {
            let training = clouds(400, classes, 6);
            let settings = settings(classes);
            let problem = Problem::new(&settings, &training).expect("a problem");
            let zeros = Array2::zeros((problem.outputs, problem.width()));
            let (direct, _, converged) = problem
                .minimise(&settings, zeros, |_, _| {})
                .expect("a minimum");
            assert!(converged);
            let mut parameters = Array2::zeros(direct.dim());
            for _ in 0..30 {
                let here = problem.expand(&parameters, Wanted::Gradient);
                let direction = problem
                    .conjugate_direction(&parameters, &here.gradient, &settings)
                    .expect("a direction");
                match problem.line_search(&parameters, &here, &direction, Wanted::Gradient) {
                    Some((next, _)) => parameters = next,
                    None => break,
                }
            }
            assert!(
                (&parameters - &direct).iter().all(|gap| gap.abs() < 1e-5),
                "{parameters} and {direct}"
            );
        }
    }

    #[test]
    fn a_start_from_a_sample_ends_in_the_same_place() {
        let training = clouds(100_000, 3, 4);
        let settings = settings(3);
        let problem = Problem::new(&settings, &training).expect("a problem");
        let zeros = Array2::zeros((problem.outputs, problem.width()));
        let steps = |start: &Array2<f64>| {
            let found = problem.minimise(&settings, start.clone(), |_, _| {});
            found.expect("a minimum")
        };
        let (from_nothing, many, _) = steps(&zeros);
        let start = problem.first_parameters(&settings).expect("a start");
        assert_ne!(start, zeros, "so many rows are worth a sample");
        let (from_sample, few, converged) = steps(&start);
        assert!(converged && few < many, "{few} and {many} steps");
        assert!(
            (&from_sample - &from_nothing)
                .iter()
                .all(|gap| gap.abs() < 1e-4),
            "{from_sample} and {from_nothing}"
        );
    }

    #[test]
    fn columns_of_any_scale_and_columns_that_say_nothing_are_no_trouble() {
        // A year, a tiny share, a constant, and a copy of the year.
        let records = Array2::from_shape_fn((200, 4), |(row, feature)| match feature {
            0 | 3 => 2000.0 + (row % 25) as f64,
            1 => 1e-7 * (row % 7) as f64,
            _ => 5.0,
        });
        let targets = Array1::from_shape_fn(200, |row| usize::from((row % 25) + (row % 7) > 14));
        for penalty in [0.0, 1e-6, 1.0] {
            let training = Dataset::new(records.clone(), targets.clone());
            let fitted = WeightedLogistic {
                penalty,
                tolerance: 1e-8,
                ..settings(2)
            }
            .fit(&training)
            .expect("a fit");
            assert!(fitted.coefficients.iter().all(|value| value.is_finite()));
            if penalty == 1.0 {
                assert!(fitted.converged);
                assert!((fitted.coefficients[[0, 0]] - fitted.coefficients[[0, 3]]).abs() < 1e-9);
                assert!(fitted.coefficients[[0, 2]].abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_row_gets_the_same_bits_alone_and_in_a_batch() {
        let training = clouds(3000, 3, 5);
        let fitted = settings(3).fit(&training).expect("a fit");
        let all = predicted(&fitted, training.records());
        for row in [0, 1, 1023, 1024, 2999] {
            let alone = predicted(
                &fitted,
                &training.records().slice(s![row..=row, ..]).to_owned(),
            );
            assert_eq!(alone.row(0), all.row(row));
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let training = clouds(5000, 2, 5);
        let with_threads = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("a pool");
            pool.install(|| settings(2).fit(&training).expect("a fit"))
        };
        assert_eq!(with_threads(1), with_threads(4));
    }

    #[test]
    fn ends_when_asked() {
        let interrupted = WeightedLogistic {
            is_cancelled: &|| true,
            ..settings(2)
        }
        .fit(&clouds(20, 2, 2));
        assert!(matches!(interrupted, Err(FitError::Interrupted)));
        let weightless = clouds(20, 2, 2).with_weights(Array1::zeros(20));
        assert!(matches!(
            settings(2).fit(&weightless),
            Err(FitError::NoWeight)
        ));
    }
}
