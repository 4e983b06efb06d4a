//! `model.linfa.gaussian_mixture`

use ndarray::{Array1, Array2, ArrayView1, Axis, linalg::general_mat_mul, s};
use polars::prelude::{Column as PolarsColumn, DataFrame, DataType};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, Model, Predictor, ProgressEvent, Result, Round,
    Schema, Shape, Stage, State, TensorData,
    anomaly::Scale,
    classifier::{self, PREDICTION, PROBABILITY, SCORE},
    counted, features, register_kind,
};

use crate::{
    k_means::{Lloyd, Nearest},
    linear::{check_total, weight_of},
    records::{Features, Rows, is_learned, matrix, numbers, row_weights, with_matrix},
    steps::Steps,
};

const VERSION: u32 = 1;
const CLUSTER: &str = "cluster";
const LOG_LIKELIHOOD: &str = "log_likelihood";
/// Parts of the rows that are summed side by side; fixed, so that threads do not change a bit.
const SEGMENTS: usize = 64;
/// Numbers that all parts' sums may hold together.
const MOST_SUMS: usize = 1 << 26;
/// Rows that are multiplied at a time.
const BLOCK_ROWS: usize = 1024;

/// Takes the rows for draws from several normal distributions, each with a centre, a shape and a share of its own.
///
/// Centres, covariances and shares are those under which the training rows are likeliest, found by expectation maximisation (Dempster,
/// Laird and Rubin, 1977) from clusters of `k_means`; of several `attempts` the likeliest is kept. Unlike `k_means` it finds clusters
/// that are long, slanted or of different widths, and says how sure it is. Scaling changes little with `covariance: full`. No
/// target is learned.
///
/// Adds `cluster`, a number from 0 for the distribution with the greatest share on; `probability_0`, `probability_1` and so on, how likely the
/// row is from each; and `log_likelihood`, the logarithm of the density at the row. With `contamination` it also finds anomalies, rows
/// where the density is low: it adds `prediction` (true: anomalous) and `score`, the share of training rows that are less anomalous, as
/// all models of anomalies do, for `evaluate.anomaly`.
///
/// The Bayesian information criterion, by which numbers of clusters may be compared (lower is better), is told after training, kept in
/// the state as `bic`, and drawn round by round in the report of the evaluation below. Rows count by the column with role `weight`, if there is one. The same seed gives the same mixture on any number
/// of cores. A missing value is an error.
///
/// The figures are those of scikit-learn's `GaussianMixture`. linfa-clustering 0.8.1 knows neither weights nor diagonal covariances,
/// and took ten times as long on 40,000 rows of 10 numbers in 8 clusters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GaussianMixture {
    /// The columns to look at: numbers, truth values, or arrays of numbers. Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// How many normal distributions.
    #[schemars(range(min = 1, max = 1000))]
    clusters: usize,
    /// Which shapes they may have.
    #[serde(default)]
    covariance: Covariance,
    /// How often to start anew.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    attempts: usize,
    /// Rounds of an attempt, at most.
    #[serde(default = "rounds")]
    #[schemars(range(min = 1, max = 1_000_000))]
    max_iterations: usize,
    /// An attempt is done when a round raises the mean log-likelihood of a row by less than this.
    #[serde(default = "thousandth")]
    #[schemars(range(min = 0.0, max = 1.0))]
    tolerance: f64,
    /// Added to each variance, in the square of the features' unit, so that no distribution shrinks to a point or a line.
    #[serde(default = "millionth")]
    #[schemars(range(min = 0.0))]
    reg_covariance: f64,
    /// The share of rows that are taken for anomalous: a row is where its score exceeds one minus this. Default: no anomalies are
    /// looked for.
    #[schemars(range(min = 0.0, max = 0.5))]
    contamination: Option<f64>,
    /// Decides the first clusters; the pipeline's seed, where not given.
    seed: Option<u64>,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

/// Which shapes normal distributions may have.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Covariance {
    /// Each its own covariances: ellipsoids that lie in any direction.
    #[default]
    Full,
    /// Each its own variances: ellipsoids along the axes. For many features, or few rows.
    Diagonal,
}

fn one() -> usize {
    1
}
fn rounds() -> usize {
    100
}
fn thousandth() -> f64 {
    1e-3
}
fn millionth() -> f64 {
    1e-6
}

register_kind! {
    GaussianMixture, "model.linfa.gaussian_mixture", version: 1,
    example: "- model.linfa.gaussian_mixture: {clusters: 3, features: [spent, visits], attempts: 5}",
}

impl Stage for GaussianMixture {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        features::check(self.features.as_deref(), None, input, is_learned, cx);
        classifier::check_weights(input, cx);
        let real = |name: String| Column::new(name, DataType::Float64);
        let mut added = vec![Column::new(CLUSTER, DataType::Int64)];
        added.extend((0..self.clusters).map(|cluster| real(format!("{PROBABILITY}{cluster}"))));
        added.push(real(LOG_LIKELIHOOD.into()));
        if self.contamination.is_some() {
            added.push(Column::new(PREDICTION, DataType::Boolean));
            added.push(real(SCORE.into()));
        }
        classifier::with_outputs(input, None, added, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for GaussianMixture {
    fn features(&self, input: &Schema) -> Vec<String> {
        features::names(self.features.as_deref(), None, input, is_learned)
    }

    fn target(&self, _: &Schema) -> Option<String> {
        None
    }

    fn allow_pii(&self) -> bool {
        self.allow_pii
    }

    fn fit(
        &self,
        train: &Frame,
        _validation: Option<&Frame>,
        cx: &mut FitContext<'_>,
    ) -> Result<State> {
        let weights = row_weights(train)?;
        check_total(weights.as_ref())?;
        let (features, records) = Features::fit_squared(&train.data, self.features(&train.schema))?;
        // Rows side by side: densities are of rows.
        let rows = Rows::of(&records);
        let records = records.as_standard_layout().into_owned();
        let weights: Vec<f64> = (0..records.nrows())
            .map(|row| weight_of(weights.as_ref(), row))
            .collect();
        let mut best: Option<Attempt> = None;
        let steps = Steps::new(cx, self.attempts * self.max_iterations, "iterations");
        for attempt in 0..self.attempts {
            let before = attempt * self.max_iterations;
            let mut generator = ChaCha8Rng::seed_from_u64(self.seed.unwrap_or(cx.seed));
            generator.set_stream(attempt as u64);
            let found = self.attempt(&records, &rows, &weights, &mut generator, cx, |done| {
                steps.reach(before + done);
            })?;
            if best
                .as_ref()
                .is_none_or(|best| found.likelihood() > best.likelihood())
            {
                best = Some(found);
            }
            steps.reach(before + self.max_iterations);
        }
        let best = best.ok_or_else(|| Error::Model("there was no attempt".into()))?;
        if !best.converged {
            cx.progress.event(ProgressEvent::Message(format!(
                "`{}` had not converged after {}; raise `max_iterations`",
                cx.stage,
                counted(self.max_iterations, "iteration")
            )));
        }
        let mixture = best.mixture.by_share();
        let densities = mixture.densities(&records);
        let rows: f64 = weights.iter().sum();
        let log_likelihood: f64 = densities
            .iter()
            .zip(&weights)
            .map(|(density, weight)| density * weight)
            .sum();
        let free = self.free_numbers(records.ncols()) as f64;
        let bic = free * rows.ln() - 2.0 * log_likelihood;
        let aic = 2.0 * free - 2.0 * log_likelihood;
        cx.progress.event(ProgressEvent::Message(format!(
            "`{}` has a Bayesian information criterion of {bic:.1} with {}; lower is better",
            cx.stage,
            counted(self.clusters, "cluster")
        )));
        let scale = match self.contamination {
            None => None,
            Some(contamination) => Some(Threshold {
                scale: Scale::learn(densities.iter().map(|density| -density).collect())?,
                contamination,
            }),
        };
        let learned = Learned {
            features,
            covariance: self.covariance,
            log_likelihood: log_likelihood / rows,
            bic,
            aic,
            converged: best.converged,
            history: best
                .likelihoods
                .iter()
                .map(|likelihood| {
                    let bic = free * rows.ln() - 2.0 * rows * likelihood;
                    Round::from([
                        ("log_likelihood".to_owned(), *likelihood),
                        ("bic".to_owned(), bic),
                    ])
                })
                .collect(),
            anomalies: scale,
        };
        Ok(mixture.store(State::from_data(VERSION, &learned)?))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        let mixture = Mixture::read(state, learned.features.numbers(), learned.covariance)?;
        Ok(Box::new(MixturePredictor { learned, mixture }))
    }
}

/// The JSON part of the fitted state.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    #[serde(flatten)]
    features: Features,
    covariance: Covariance,
    /// The mean of the training rows.
    log_likelihood: f64,
    /// The Bayesian information criterion (Schwarz, 1978).
    bic: f64,
    /// Akaike's information criterion.
    aic: f64,
    converged: bool,
    /// What each round of the attempt that was kept came to: the mean log-likelihood, and the Bayesian information criterion.
    history: Vec<Round>,
    anomalies: Option<Threshold>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Threshold {
    scale: Scale,
    contamination: f64,
}

struct MixturePredictor {
    learned: Learned,
    mixture: Mixture,
}

impl Predictor for MixturePredictor {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let records = self.learned.features.squared_matrix(batch)?;
        let records = records.as_standard_layout().into_owned();
        let count = self.mixture.count();
        let mut shares = Array2::zeros((records.nrows(), count));
        let (clusters, densities): (Vec<i64>, Vec<f64>) = shares
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .zip(records.axis_iter(Axis(0)))
            .map(|(mut shares, row)| {
                let density = match shares.as_slice_mut() {
                    Some(shares) => self.mixture.shares(row, shares),
                    // Rows of a fresh array are contiguous.
                    None => f64::NAN,
                };
                let likeliest = (0..count).fold(0, |best, cluster| {
                    if shares[cluster] > shares[best] {
                        cluster
                    } else {
                        best
                    }
                });
                (likeliest as i64, density)
            })
            .unzip();
        // Where variances are tiny, a row is soon beyond all densities that a number can hold.
        if let Some(row) = densities.iter().position(|density| !density.is_finite()) {
            return Err(Error::data(format!(
                "the features of row {} are too far outside of those of training to be weighed",
                row + 1
            )));
        }
        let mut columns = vec![PolarsColumn::new(CLUSTER.into(), clusters)];
        for (cluster, column) in shares.columns().into_iter().enumerate() {
            let name = format!("{PROBABILITY}{cluster}");
            columns.push(PolarsColumn::new(name.into(), column.to_vec()));
        }
        let measures: Vec<f64> = densities.iter().map(|density| -density).collect();
        columns.push(PolarsColumn::new(LOG_LIKELIHOOD.into(), densities));
        if let Some(anomalies) = &self.learned.anomalies {
            columns.extend(anomalies.scale.columns(&measures, anomalies.contamination));
        }
        Ok(columns)
    }
}

/// What an attempt came to.
struct Attempt {
    mixture: Mixture,
    /// The mean log-likelihood of a row in each round.
    likelihoods: Vec<f64>,
    converged: bool,
}

impl Attempt {
    fn likelihood(&self) -> f64 {
        self.likelihoods
            .last()
            .copied()
            .unwrap_or(f64::NEG_INFINITY)
    }
}

/// A normal distribution.
#[derive(Debug, Clone, PartialEq)]
struct Normal {
    /// Its part of the mixture.
    share: f64,
    mean: Vec<f64>,
    whitening: Whitening,
    /// The logarithm of its share times its density at the mean.
    peak: f64,
}

/// What turns a row's distance from the mean into one in standard deviations: the inverse of the covariance's Cholesky factor.
#[derive(Debug, Clone, PartialEq)]
enum Whitening {
    /// Column by column, each from the diagonal down.
    Full(Vec<f64>),
    /// Its diagonal.
    Diagonal(Vec<f64>),
}

impl Normal {
    /// # Errors
    /// A covariance in which some direction has no variance.
    fn new(
        share: f64,
        mean: Vec<f64>,
        covariance: &Array2<f64>,
        shape: Covariance,
    ) -> Result<Self> {
        let flat = || {
            Error::data(
                "a cluster has no variance in some direction; raise `reg_covariance`, ask for fewer clusters, or use `covariance: diagonal`",
            )
        };
        let whitening = match shape {
            Covariance::Full => Whitening::Full(inverse_cholesky(covariance).ok_or_else(flat)?),
            Covariance::Diagonal => {
                let inverse = |variance: &f64| {
                    (*variance > 0.0 && variance.is_finite()).then(|| variance.sqrt().recip())
                };
                let inverses: Option<Vec<f64>> = covariance.iter().map(inverse).collect();
                Whitening::Diagonal(inverses.ok_or_else(flat)?)
            }
        };
        Ok(Self::of(share, mean, whitening))
    }

    fn of(share: f64, mean: Vec<f64>, whitening: Whitening) -> Self {
        let size = mean.len();
        // Of the inverse factor: half the logarithm of the precision's determinant.
        let half_determinant: f64 = match &whitening {
            Whitening::Diagonal(diagonal) => diagonal.iter().map(|value| value.ln()).sum(),
            Whitening::Full(columns) => {
                let mut at = 0;
                let mut sum = 0.0;
                for column in 0..size {
                    sum += columns[at].ln();
                    at += size - column;
                }
                sum
            }
        };
        let peak =
            share.ln() + half_determinant - size as f64 / 2.0 * (2.0 * std::f64::consts::PI).ln();
        Self {
            share,
            mean,
            whitening,
            peak,
        }
    }

    /// The logarithm of share times density; `spare` holds as many numbers as a row.
    fn log_density(&self, row: ArrayView1<'_, f64>, spare: &mut [f64]) -> f64 {
        match &self.whitening {
            Whitening::Diagonal(inverses) => {
                let mut square = 0.0;
                for ((value, mean), inverse) in row.iter().zip(&self.mean).zip(inverses) {
                    let deviation = (value - mean) * inverse;
                    square += deviation * deviation;
                }
                self.peak - square / 2.0
            }
            Whitening::Full(columns) => {
                spare.fill(0.0);
                let mut rest = columns.as_slice();
                // Column by column: so the sums of all rows of the factor grow side by side.
                for (place, (value, mean)) in row.iter().zip(&self.mean).enumerate() {
                    let (column, behind) = rest.split_at(spare.len() - place);
                    let deviation = value - mean;
                    for (sum, factor) in spare[place..].iter_mut().zip(column) {
                        *sum += factor * deviation;
                    }
                    rest = behind;
                }
                self.peak - spare.iter().map(|sum| sum * sum).sum::<f64>() / 2.0
            }
        }
    }
}

/// The inverse of the Cholesky factor, column by column from the diagonal down; none where the matrix is not positive definite.
fn inverse_cholesky(matrix: &Array2<f64>) -> Option<Vec<f64>> {
    let size = matrix.nrows();
    let mut factor = Array2::<f64>::zeros((size, size));
    for row in 0..size {
        for column in 0..=row {
            let products: f64 = (0..column)
                .map(|place| factor[[row, place]] * factor[[column, place]])
                .sum();
            let rest = matrix[[row, column]] - products;
            if row > column {
                factor[[row, column]] = rest / factor[[column, column]];
            } else if rest > 0.0 && rest.is_finite() {
                factor[[row, row]] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    let mut inverse = Vec::with_capacity(size * (size + 1) / 2);
    for column in 0..size {
        let start = inverse.len();
        for row in column..size {
            let known: f64 = (column..row)
                .map(|place| factor[[row, place]] * inverse[start + place - column])
                .sum();
            let right = if row == column { 1.0 } else { 0.0 };
            inverse.push((right - known) / factor[[row, row]]);
        }
    }
    inverse
        .iter()
        .all(|value| value.is_finite())
        .then_some(inverse)
}

#[derive(Debug, Clone, PartialEq)]
struct Mixture(Vec<Normal>);

impl Mixture {
    fn count(&self) -> usize {
        self.0.len()
    }

    /// That of the greatest share first.
    fn by_share(mut self) -> Self {
        self.0
            .sort_by(|left, right| right.share.total_cmp(&left.share));
        self
    }

    /// Fills in how likely the row is from each distribution; answers with the logarithm of the density at the row.
    fn shares(&self, row: ArrayView1<'_, f64>, shares: &mut [f64]) -> f64 {
        let mut spare = vec![0.0; row.len()];
        for (share, normal) in shares.iter_mut().zip(&self.0) {
            *share = normal.log_density(row, &mut spare);
        }
        let greatest = shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if !greatest.is_finite() {
            // So far away that no density is a number above 0: nothing is known but the shares.
            for (share, normal) in shares.iter_mut().zip(&self.0) {
                *share = normal.share;
            }
            return greatest;
        }
        let mut total = 0.0;
        for share in shares.iter_mut() {
            *share = (*share - greatest).exp();
            total += *share;
        }
        for share in shares.iter_mut() {
            *share /= total;
        }
        greatest + total.ln()
    }

    /// The logarithm of the density at each row.
    fn densities(&self, records: &Array2<f64>) -> Vec<f64> {
        (0..records.nrows())
            .into_par_iter()
            .map_init(
                || vec![0.0; self.count()],
                |shares, row| self.shares(records.row(row), shares),
            )
            .collect()
    }

    fn store(&self, state: State) -> State {
        let width = self.0.first().map_or(0, |normal| normal.mean.len());
        let means = Array2::from_shape_fn((self.count(), width), |(cluster, place)| {
            self.0[cluster].mean[place]
        });
        let whitening = |cluster: usize| match &self.0[cluster].whitening {
            Whitening::Full(values) | Whitening::Diagonal(values) => values,
        };
        let size = if self.count() > 0 {
            whitening(0).len()
        } else {
            0
        };
        let factors = Array2::from_shape_fn((self.count(), size), |(cluster, place)| {
            whitening(cluster)[place]
        });
        let shares = self.0.iter().map(|normal| normal.share).collect();
        let state = with_matrix(with_matrix(state, "means", &means), "whitening", &factors);
        state.with_tensor("shares", vec![self.count()], TensorData::F64(shares))
    }

    fn read(state: &State, width: usize, covariance: Covariance) -> Result<Self> {
        let damaged = || Error::State("the normal distributions do not fit together".into());
        let tensor = state.tensor("shares")?;
        let shares = numbers(tensor, &[tensor.shape.first().copied().unwrap_or(0)])?;
        let size = match covariance {
            Covariance::Full => width * (width + 1) / 2,
            Covariance::Diagonal => width,
        };
        let means = matrix(state, "means", [shares.len(), width])?;
        let factors = matrix(state, "whitening", [shares.len(), size])?;
        if shares.is_empty() || shares.iter().any(|share| *share < 0.0) {
            return Err(damaged());
        }
        let normals = shares.iter().enumerate().map(|(cluster, share)| {
            let values = factors.row(cluster).to_vec();
            let whitening = match covariance {
                Covariance::Full => Whitening::Full(values),
                Covariance::Diagonal => Whitening::Diagonal(values),
            };
            let normal = Normal::of(*share, means.row(cluster).to_vec(), whitening);
            // A share of nothing has a peak of minus infinity.
            (!normal.peak.is_nan())
                .then_some(normal)
                .ok_or_else(damaged)
        });
        Ok(Self(normals.collect::<Result<_>>()?))
    }
}

impl GaussianMixture {
    /// Numbers of the mixture that the rows decide.
    fn free_numbers(&self, width: usize) -> usize {
        let shape = match self.covariance {
            Covariance::Full => width * (width + 1) / 2,
            Covariance::Diagonal => width,
        };
        self.clusters * (width + shape) + self.clusters - 1
    }

    fn attempt(
        &self,
        records: &Array2<f64>,
        rows: &Rows,
        weights: &[f64],
        generator: &mut ChaCha8Rng,
        cx: &FitContext<'_>,
        on_round: impl Fn(usize),
    ) -> Result<Attempt> {
        let first = Lloyd {
            clusters: self.clusters,
            max_iterations: 300,
            tolerance: 1e-4,
        }
        .attempt(rows, weights, generator, cx, |_| {})?;
        let nearest = Nearest::of(&first.means);
        let mut shares = Array2::zeros((records.nrows(), self.clusters));
        shares
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .enumerate()
            .for_each(|(row, mut shares)| {
                shares[nearest.to(rows.row(row)).0] = weights[row];
            });
        let mut mixture = self.likeliest(records, &shares)?;
        let mut likelihoods: Vec<f64> = Vec::new();
        let mut converged = false;
        for round in 1..=self.max_iterations {
            cx.cancellation.check()?;
            on_round(round);
            let likelihood = expect(&mixture, records, weights, &mut shares);
            let gain = likelihoods.last().map(|last| likelihood - last);
            likelihoods.push(likelihood);
            mixture = self.likeliest(records, &shares)?;
            if gain.is_some_and(|gain| gain.abs() < self.tolerance) {
                converged = true;
                break;
            }
        }
        Ok(Attempt {
            mixture,
            likelihoods,
            converged,
        })
    }

    /// The mixture under which rows are likeliest that belong to the distributions by these weights (rows × distributions).
    fn likeliest(&self, records: &Array2<f64>, shares: &Array2<f64>) -> Result<Mixture> {
        let (rows, width) = records.dim();
        let count = shares.ncols();
        let of_shape = match self.covariance {
            Covariance::Full => width * width,
            Covariance::Diagonal => width,
        };
        let segments = (MOST_SUMS / (count * of_shape.max(1))).clamp(1, SEGMENTS);
        let length = rows.div_ceil(segments).max(1);
        let parts = || {
            (0..rows)
                .step_by(length)
                .collect::<Vec<_>>()
                .into_par_iter()
        };
        let sums: Vec<(Array1<f64>, Array2<f64>)> = parts()
            .map(|first| {
                let end = (first + length).min(rows);
                let shares = shares.slice(s![first..end, ..]);
                let records = records.slice(s![first..end, ..]);
                (shares.sum_axis(Axis(0)), shares.t().dot(&records))
            })
            .collect();
        let mut sizes = Array1::<f64>::zeros(count);
        let mut means = Array2::<f64>::zeros((count, width));
        for (size, sum) in &sums {
            sizes += size;
            means += sum;
        }
        for (mut mean, size) in means.rows_mut().into_iter().zip(&sizes) {
            mean /= size.max(f64::MIN_POSITIVE);
        }
        let scatters: Vec<Vec<Array2<f64>>> = parts()
            .map(|first| {
                let end = (first + length).min(rows);
                (0..count)
                    .map(|cluster| match self.covariance {
                        Covariance::Full => {
                            scatter(records, shares, means.row(cluster), cluster, first..end)
                        }
                        Covariance::Diagonal => {
                            variances(records, shares, means.row(cluster), cluster, first..end)
                        }
                    })
                    .collect()
            })
            .collect();
        let total = sizes.sum();
        let normals = (0..count).map(|cluster| {
            let mut covariance = scatters[0][cluster].clone();
            for part in &scatters[1..] {
                covariance += &part[cluster];
            }
            covariance /= sizes[cluster].max(f64::MIN_POSITIVE);
            match self.covariance {
                Covariance::Full => covariance
                    .diag_mut()
                    .mapv_inplace(|variance| variance + self.reg_covariance),
                Covariance::Diagonal => {
                    covariance.mapv_inplace(|variance| variance + self.reg_covariance)
                }
            }
            Normal::new(
                sizes[cluster] / total,
                means.row(cluster).to_vec(),
                &covariance,
                self.covariance,
            )
        });
        Ok(Mixture(normals.collect::<Result<_>>()?))
    }
}

/// Fills in each row's weight times how likely it is from each distribution; answers with the mean log-likelihood.
fn expect(
    mixture: &Mixture,
    records: &Array2<f64>,
    weights: &[f64],
    shares: &mut Array2<f64>,
) -> f64 {
    let likelihoods: Vec<f64> = shares
        .axis_iter_mut(Axis(0))
        .into_par_iter()
        .enumerate()
        .map(|(row, mut shares)| {
            let likelihood = match shares.as_slice_mut() {
                Some(shares) => mixture.shares(records.row(row), shares),
                None => f64::NAN,
            };
            shares *= weights[row];
            weights[row] * likelihood
        })
        .collect();
    likelihoods.iter().sum::<f64>() / weights.iter().sum::<f64>()
}

/// The weighted sum of the products of deviations from the mean.
fn scatter(
    records: &Array2<f64>,
    shares: &Array2<f64>,
    mean: ArrayView1<'_, f64>,
    cluster: usize,
    rows: std::ops::Range<usize>,
) -> Array2<f64> {
    let width = records.ncols();
    let mut sums = Array2::zeros((width, width));
    let mut deviations = Array2::zeros((BLOCK_ROWS, width));
    for start in rows.clone().step_by(BLOCK_ROWS) {
        let count = BLOCK_ROWS.min(rows.end - start);
        for place in 0..count {
            let root = shares[[start + place, cluster]].sqrt();
            let mut deviation = deviations.row_mut(place);
            for ((deviation, value), mean) in deviation
                .iter_mut()
                .zip(records.row(start + place))
                .zip(mean)
            {
                *deviation = root * (value - mean);
            }
        }
        let block = deviations.slice(s![..count, ..]);
        general_mat_mul(1.0, &block.t(), &block, 1.0, &mut sums);
    }
    sums
}

/// The weighted sums of squared deviations from the mean, as one row.
fn variances(
    records: &Array2<f64>,
    shares: &Array2<f64>,
    mean: ArrayView1<'_, f64>,
    cluster: usize,
    rows: std::ops::Range<usize>,
) -> Array2<f64> {
    let mut sums = Array2::zeros((1, records.ncols()));
    for row in rows {
        let share = shares[[row, cluster]];
        for ((sum, value), mean) in sums.iter_mut().zip(records.row(row)).zip(mean) {
            *sum += share * (value - mean) * (value - mean);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::Role;

    use super::*;
    use crate::testing::{
        CELL_FEATURES, cells, check, close, numbers_of, params, predict, refusal,
        same_on_any_threads, with_roles,
    };

    #[test]
    fn one_distribution_is_mean_and_covariance() {
        let data =
            df!("size" => [1.0, 3.0, 5.0], "weight" => [2.0, 0.0, 1.0], "times" => [1, 1, 2])
                .expect("a frame");
        let train = with_roles(data, &[("times", Role::Weight)]);
        let model: GaussianMixture = params("{clusters: 1, reg_covariance: 0}");
        let rows = df!("size" => [3.5], "weight" => [1.0]).expect("a frame");
        let outputs = predict(&model, &train, &rows).expect("outputs");
        // Means 3.5 and 1; variances 2.75 and 0.5, covariance -0.5: a determinant of 1.125.
        let peak = -(2.0 * std::f64::consts::PI).ln() - 1.125_f64.ln() / 2.0;
        close(&numbers_of(&outputs, LOG_LIKELIHOOD), &[peak], 1e-9);
        close(&numbers_of(&outputs, "probability_0"), &[1.0], 0.0);
        let model: GaussianMixture =
            params("{clusters: 1, reg_covariance: 0, covariance: diagonal}");
        let outputs = predict(&model, &train, &rows).expect("outputs");
        let peak = -(2.0 * std::f64::consts::PI).ln() - 1.375_f64.ln() / 2.0;
        close(&numbers_of(&outputs, LOG_LIKELIHOOD), &[peak], 1e-9);
    }

    /// What scikit-learn finds (tests/peers/clustering.py): its figures, then of rows 0, 19, 100, 300 and 568 the probability of
    /// the distribution with the greatest share, and the density.
    struct Peer {
        params: &'static str,
        likelihood_bic_aic: [f64; 3],
        shares: &'static [f64],
        first_mean: [f64; 5],
        probabilities: [f64; 5],
        densities: [f64; 5],
    }

    #[test]
    fn mixtures_are_those_of_scikit_learn() {
        let peers = [
            Peer {
                params: "clusters: 2",
                likelihood_bic_aic: [-5.363389475, 6363.636321, 6185.537223],
                shares: &[0.6143772459, 0.3856227541],
                first_mean: [
                    -0.4060177113,
                    -0.228693589,
                    -0.3053153785,
                    -0.3489110945,
                    -0.3856349298,
                ],
                probabilities: [
                    8.536653211e-13,
                    0.9758716026,
                    0.4348279205,
                    0.5212750454,
                    0.1556072952,
                ],
                densities: [
                    -10.99720442,
                    -3.169923771,
                    -5.308767159,
                    -5.307633512,
                    -9.904389026,
                ],
            },
            Peer {
                params: "clusters: 3, covariance: diagonal",
                likelihood_bic_aic: [-6.253334826, 7319.299206, 7180.295032],
                shares: &[0.4213526663, 0.3201486032, 0.2584987305],
                first_mean: [
                    -0.7481691215,
                    -0.3333662517,
                    -0.3782268327,
                    -0.7496378359,
                    -0.5481115667,
                ],
                probabilities: [
                    1.024699239e-13,
                    0.9953764874,
                    2.569196753e-07,
                    0.001203692481,
                    0.000152994295,
                ],
                densities: [
                    -14.68548972,
                    -3.980254047,
                    -5.013180018,
                    -6.014365032,
                    -12.29335439,
                ],
            },
        ];
        for peer in peers {
            let train = cells(false);
            let model: GaussianMixture = params(&format!(
                "{{features: {CELL_FEATURES:?}, {}, attempts: 5, tolerance: 1e-9, max_iterations: 10000}}",
                peer.params
            ));
            let state = model
                .fit(&train, None, &mut FitContext::quiet(1))
                .expect("a state");
            let learned: Learned = state.data(VERSION).expect("data");
            assert!(learned.converged);
            let figures = [learned.log_likelihood, learned.bic, learned.aic];
            close(&figures, &peer.likelihood_bic_aic, 1e-5);
            let predictor = model.load(&state).expect("a predictor");
            let outputs = predictor.predict(&train.data).expect("outputs");
            let at = |name: &str| {
                let all = numbers_of(&outputs, name);
                [0, 19, 100, 300, 568].map(|row| all[row])
            };
            let mixture = Mixture::read(&state, 5, learned.covariance).expect("a mixture");
            let shares: Vec<f64> = mixture.0.iter().map(|normal| normal.share).collect();
            close(&shares, peer.shares, 1e-3);
            close(&mixture.0[0].mean, &peer.first_mean, 1e-3);
            close(&at("probability_0"), &peer.probabilities, 2e-3);
            close(&at(LOG_LIKELIHOOD), &peer.densities, 1e-3);
        }
    }

    #[test]
    fn rows_of_low_density_are_anomalies_where_these_are_looked_for() {
        let mut sizes: Vec<f64> = (0..200).map(|row| f64::from(row % 20)).collect();
        sizes.push(90.0);
        let train = with_roles(df!("size" => sizes).expect("a frame"), &[]);
        let model: GaussianMixture = params("{clusters: 1, contamination: 0.01}");
        let outputs = predict(&model, &train, &train.data).expect("outputs");
        let scores = numbers_of(&outputs, SCORE);
        assert!(scores[..200].iter().all(|score| *score < scores[200]));
        let flagged = outputs[3].bool().expect("bool");
        assert_eq!(flagged.get(200), Some(true));
        let (output, problems) = check(&model, &train.schema);
        assert!(problems.is_empty());
        let names: Vec<&str> = output.names().skip(1).collect();
        let made: Vec<&str> = outputs
            .iter()
            .map(|column| column.name().as_str())
            .collect();
        assert_eq!(names, made);
        // As far as numbers can be squared.
        let rows = df!("size" => [1e149, -1e150]).expect("a frame");
        let outputs = predict(&model, &train, &rows).expect("outputs");
        close(&numbers_of(&outputs, SCORE), &[1.0, 1.0], 0.0);
        close(&numbers_of(&outputs, "probability_0"), &[1.0, 1.0], 0.0);
    }

    #[test]
    fn a_flat_cluster_and_too_few_different_rows_are_refused() {
        let data = df!("size" => [1.0, 2.0, 3.0], "same" => [4.0, 4.0, 4.0]).expect("a frame");
        let train = with_roles(data, &[]);
        let message = refusal(
            &params::<GaussianMixture>("{clusters: 1, reg_covariance: 0}"),
            &train,
        );
        assert!(message.contains("raise `reg_covariance`"), "{message}");
        let message = refusal(&params::<GaussianMixture>("{clusters: 4}"), &train);
        assert_eq!(message, "3 training rows cannot make 4 clusters");
        let twice = with_roles(df!("size" => [1.0, 1.0, 2.0]).expect("a frame"), &[]);
        let message = refusal(&params::<GaussianMixture>("{clusters: 3}"), &twice);
        assert!(message.contains("2 different rows"), "{message}");
        let alone = with_roles(df!("size" => [7.0]).expect("a frame"), &[]);
        let message = refusal(&params::<GaussianMixture>("{clusters: 2}"), &alone);
        assert_eq!(message, "1 training row cannot make 2 clusters");
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let model: GaussianMixture =
            params(&format!("{{features: {CELL_FEATURES:?}, clusters: 3}}"));
        same_on_any_threads(&model, &cells(true));
    }

    #[test]
    fn what_cannot_be_squared_is_refused() {
        let features = format!("{CELL_FEATURES:?}");
        let model: GaussianMixture = params(&format!("{{features: {features}, clusters: 2}}"));
        crate::testing::refuses_what_cannot_be_squared(
            &model,
            &cells(false),
            CELL_FEATURES[0],
            true,
        );
    }
}
