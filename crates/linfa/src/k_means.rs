//! `model.linfa.k_means`

use ndarray::{Array2, Axis};
use polars::prelude::{Column as PolarsColumn, DataFrame, DataType};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, Model, Predictor, Result, Schema, Shape, Stage,
    State, classifier, counted, features, register_kind,
};

use crate::{
    linear::{check_total, weight_of},
    records::{Features, Rows, is_learned, matrix, row_weights, with_matrix},
    steps::Steps,
};

const VERSION: u32 = 1;
const CLUSTER: &str = "cluster";
const DISTANCE: &str = "distance";
/// Parts of the rows that are summed side by side; fixed, so that threads do not change a bit.
const SEGMENTS: usize = 64;

/// Parts the rows into so many clusters, each around its mean.
///
/// The first means are drawn far apart (Arthur and Vassilvitskii: "k-means++", 2007), then rows go to the nearest mean and means to the middle
/// of their rows until nothing moves (Lloyd, 1982). Of several `attempts` the one with the least sum of squared distances is kept.
/// Give features a similar scale (`features.standardize`): distances treat them alike. No target is learned.
///
/// Adds `cluster`, a number from 0 for the largest cluster on, and `distance`, that to the cluster's mean. Rows count by the column with
/// role `weight`, if there is one. The same seed gives the same clusters on any number of cores. A missing value is an error.
///
/// linfa-clustering 0.8.1 knows no weights, and sums in an order of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KMeans {
    /// The columns to look at: numbers, truth values, or arrays of numbers. Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// How many clusters.
    #[schemars(range(min = 1, max = 10_000))]
    clusters: usize,
    /// How often to start anew.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 1000))]
    attempts: usize,
    /// Rounds of an attempt, at most.
    #[serde(default = "rounds")]
    #[schemars(range(min = 1, max = 1_000_000))]
    max_iterations: usize,
    /// An attempt is done when a round lowers the sum of squared distances by no more than this share.
    #[serde(default = "tolerance")]
    #[schemars(range(min = 0.0, max = 1.0))]
    tolerance: f64,
    /// Decides the first means; the pipeline's seed, where not given.
    seed: Option<u64>,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

fn three() -> usize {
    3
}
fn rounds() -> usize {
    300
}
fn tolerance() -> f64 {
    1e-6
}

register_kind! {
    KMeans, "model.linfa.k_means", version: 1,
    example: "- model.linfa.k_means: {clusters: 5, features: [spent, visits]}",
}

impl Stage for KMeans {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        features::check(self.features.as_deref(), None, input, is_learned, cx);
        classifier::check_weights(input, cx);
        let added = vec![
            Column::new(CLUSTER, DataType::Int64),
            Column::new(DISTANCE, DataType::Float64),
        ];
        classifier::with_outputs(input, None, added, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for KMeans {
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
        // Rows side by side: distances are of rows.
        let rows = Rows::of(&records);
        let weights: Vec<f64> = (0..rows.len())
            .map(|row| weight_of(weights.as_ref(), row))
            .collect();
        let mut best: Option<Means> = None;
        let lloyd = Lloyd {
            clusters: self.clusters,
            max_iterations: self.max_iterations,
            tolerance: self.tolerance,
        };
        let steps = Steps::new(cx, self.attempts * self.max_iterations, "iterations");
        for attempt in 0..self.attempts {
            let before = attempt * self.max_iterations;
            let mut generator = ChaCha8Rng::seed_from_u64(self.seed.unwrap_or(cx.seed));
            generator.set_stream(attempt as u64);
            let means = lloyd.attempt(&rows, &weights, &mut generator, cx, |done| {
                steps.reach(before + done);
            })?;
            if best
                .as_ref()
                .is_none_or(|best| means.inertia < best.inertia)
            {
                best = Some(means);
            }
            steps.reach(before + self.max_iterations);
        }
        let best = best.ok_or_else(|| Error::Model("there was no attempt".into()))?;
        let learned = Learned {
            features,
            inertia: best.inertia,
        };
        let state = State::from_data(VERSION, &learned)?;
        Ok(with_matrix(state, "means", &best.by_size()))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        let numbers = learned.features.numbers();
        let count = state.tensor("means")?.shape.first().copied().unwrap_or(0);
        if count == 0 {
            return Err(Error::State("there are no clusters".into()));
        }
        let means = matrix(state, "means", [count, numbers])?;
        Ok(Box::new(KMeansPredictor { learned, means }))
    }
}

/// The JSON part of the fitted state.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    #[serde(flatten)]
    features: Features,
    /// The weighted sum of squared distances of the training rows to their means.
    inertia: f64,
}

struct KMeansPredictor {
    learned: Learned,
    means: Array2<f64>,
}

impl Predictor for KMeansPredictor {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let rows = self.learned.features.squared_rows(batch)?;
        let nearest = Nearest::of(&self.means);
        let (clusters, distances): (Vec<i64>, Vec<f64>) = (0..rows.len())
            .into_par_iter()
            .with_min_len(FEW_ROWS)
            .map(|row| {
                let (cluster, square) = nearest.to(rows.row(row));
                (cluster as i64, square.sqrt())
            })
            .unzip();
        Ok(vec![
            PolarsColumn::new(CLUSTER.into(), clusters),
            PolarsColumn::new(DISTANCE.into(), distances),
        ])
    }
}

/// Rows that one thread looks at, at least.
const FEW_ROWS: usize = 4096;

/// Means whose distances to a row are found at once.
const LANES: usize = 8;

/// Finds the nearest of some means.
pub(crate) struct Nearest {
    /// `LANES` means a group, number by number; infinity fills up the last.
    groups: Vec<Vec<[f64; LANES]>>,
}

impl Nearest {
    pub(crate) fn of(means: &Array2<f64>) -> Self {
        let group = |first: usize| {
            let lane = |number: usize, lane: usize| {
                means
                    .get([first + lane, number])
                    .copied()
                    .unwrap_or(f64::INFINITY)
            };
            (0..means.ncols())
                .map(|number| std::array::from_fn(|place| lane(number, place)))
                .collect()
        };
        Self {
            groups: (0..means.nrows()).step_by(LANES).map(group).collect(),
        }
    }

    /// The nearest mean, the first of equally near ones, and its squared distance.
    pub(crate) fn to(&self, row: &[f64]) -> (usize, f64) {
        let mut best = (0, f64::INFINITY);
        for (place, group) in self.groups.iter().enumerate() {
            let mut squares = [0.0; LANES];
            for (value, means) in row.iter().zip(group) {
                for (square, mean) in squares.iter_mut().zip(means) {
                    *square += (value - mean) * (value - mean);
                }
            }
            for (lane, square) in squares.into_iter().enumerate() {
                if square < best.1 {
                    best = (place * LANES + lane, square);
                }
            }
        }
        best
    }
}

fn square_distance(left: &[f64], right: &[f64]) -> f64 {
    let squares = left
        .iter()
        .zip(right)
        .map(|(left, right)| (left - right) * (left - right));
    squares.sum()
}

fn set_row(means: &mut Array2<f64>, cluster: usize, numbers: &[f64]) {
    for (mean, number) in means.row_mut(cluster).iter_mut().zip(numbers) {
        *mean = *number;
    }
}

/// What an attempt came to.
pub(crate) struct Means {
    pub(crate) means: Array2<f64>,
    /// Weight of each cluster's rows.
    sizes: Vec<f64>,
    inertia: f64,
}

impl Means {
    /// The means, that of the largest cluster first.
    fn by_size(&self) -> Array2<f64> {
        let mut order: Vec<usize> = (0..self.sizes.len()).collect();
        order.sort_by(|left, right| self.sizes[*right].total_cmp(&self.sizes[*left]));
        self.means.select(Axis(0), &order)
    }
}

/// The sums of one round.
struct Round {
    sums: Array2<f64>,
    sizes: Vec<f64>,
    inertia: f64,
    /// The row that is farthest from its mean, and how far.
    farthest: (usize, f64),
}

/// How one attempt goes.
pub(crate) struct Lloyd {
    pub(crate) clusters: usize,
    pub(crate) max_iterations: usize,
    pub(crate) tolerance: f64,
}

impl Lloyd {
    /// Clusters of which none is empty; `on_round` is told the number of each round, from 1.
    ///
    /// # Errors
    /// Fewer different rows than clusters, and an interruption.
    pub(crate) fn attempt(
        &self,
        rows: &Rows,
        weights: &[f64],
        generator: &mut ChaCha8Rng,
        cx: &FitContext<'_>,
        on_round: impl Fn(usize),
    ) -> Result<Means> {
        let mut means = first_means(rows, weights, self.clusters, generator)?;
        let mut before = f64::INFINITY;
        for round in 1..=self.max_iterations {
            cx.cancellation.check()?;
            on_round(round);
            let found = full_round(rows, weights, &mut means);
            move_means(&mut means, &found);
            let gain = before - found.inertia;
            before = found.inertia;
            if gain <= self.tolerance * found.inertia {
                break;
            }
        }
        let last = full_round(rows, weights, &mut means);
        Ok(Means {
            means,
            sizes: last.sizes,
            inertia: last.inertia,
        })
    }
}

/// Moves each mean to the middle of its rows.
fn move_means(means: &mut Array2<f64>, round: &Round) {
    for (cluster, size) in round.sizes.iter().enumerate() {
        if *size > 0.0 {
            let middle = &round.sums.row(cluster) / *size;
            means.row_mut(cluster).assign(&middle);
        }
    }
}

/// A round after which no cluster is empty: one without rows starts anew where the fit is worst, one after the other, so that no
/// two begin in the same place. There is such a place: first means are different rows, so that there are as many of these as clusters.
fn full_round(rows: &Rows, weights: &[f64], means: &mut Array2<f64>) -> Round {
    let mut found = round(rows, weights, means);
    while let Some(empty) = found.sizes.iter().position(|size| *size <= 0.0)
        && found.farthest.1 > 0.0
    {
        set_row(means, empty, rows.row(found.farthest.0));
        found = round(rows, weights, means);
    }
    found
}

/// Assigns every row to its mean and adds up.
fn round(rows: &Rows, weights: &[f64], means: &Array2<f64>) -> Round {
    let nearest = Nearest::of(means);
    let count = rows.len();
    let empty = || Round {
        sums: Array2::zeros(means.dim()),
        sizes: vec![0.0; means.nrows()],
        inertia: 0.0,
        farthest: (0, -1.0),
    };
    let length = count.div_ceil(SEGMENTS).max(1);
    let parts: Vec<Round> = (0..count)
        .step_by(length)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|first| {
            let mut part = empty();
            let of_part = weights.iter().enumerate().skip(first).take(length);
            for (row, weight) in of_part {
                let numbers = rows.row(row);
                let (cluster, square) = nearest.to(numbers);
                for (sum, number) in part.sums.row_mut(cluster).iter_mut().zip(numbers) {
                    *sum += weight * number;
                }
                part.sizes[cluster] += weight;
                part.inertia += weight * square;
                if square > part.farthest.1 && *weight > 0.0 {
                    part.farthest = (row, square);
                }
            }
            part
        })
        .collect();
    parts.into_iter().fold(empty(), |mut all, part| {
        all.sums += &part.sums;
        for (size, more) in all.sizes.iter_mut().zip(part.sizes) {
            *size += more;
        }
        all.inertia += part.inertia;
        if part.farthest.1 > all.farthest.1 {
            all.farthest = part.farthest;
        }
        all
    })
}

/// Rows drawn with chances in proportion to their squared distance from those drawn before, no two alike.
///
/// # Errors
/// Fewer rows than clusters, or fewer different ones.
fn first_means(
    rows: &Rows,
    weights: &[f64],
    clusters: usize,
    generator: &mut ChaCha8Rng,
) -> Result<Array2<f64>> {
    if rows.len() < clusters {
        return Err(Error::data(format!(
            "{} cannot make {}",
            counted(rows.len(), "training row"),
            counted(clusters, "cluster")
        )));
    }
    let mut chances = weights.to_vec();
    let mut squares = vec![f64::INFINITY; rows.len()];
    let mut means = Array2::zeros((clusters, rows.width()));
    for cluster in 0..clusters {
        let total: f64 = chances.iter().sum();
        if total <= 0.0 && cluster == 1 {
            return Err(Error::data(format!(
                "all training rows that count are alike in these features, which cannot make {}; ask for 1, or look at more features",
                counted(clusters, "cluster"),
            )));
        }
        if total <= 0.0 {
            return Err(Error::data(format!(
                "the {} hold only {} in these features, which cannot make {}; ask for at most {cluster}, or look at more features",
                counted(rows.len(), "training row"),
                counted(cluster, "different row"),
                counted(clusters, "cluster"),
            )));
        }
        let mut wanted = generator.random::<f64>() * total;
        let mut chosen = 0;
        let possible = chances.iter().enumerate();
        for (row, chance) in possible.filter(|(_, chance)| **chance > 0.0) {
            chosen = row;
            wanted -= chance;
            if wanted < 0.0 {
                break;
            }
        }
        set_row(&mut means, cluster, rows.row(chosen));
        squares
            .par_iter_mut()
            .zip(chances.par_iter_mut())
            .enumerate()
            .for_each(|(row, (square, chance))| {
                *square = square.min(square_distance(rows.row(row), rows.row(chosen)));
                *chance = weights[row] * *square;
            });
    }
    Ok(means)
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::Role;

    use super::*;
    use crate::testing::{
        CELL_FEATURES, cells, check, params, predict, refusal, same_on_any_threads, with_roles,
    };

    /// Three heaps of 50, 30 and 20 rows.
    fn heaps() -> DataFrame {
        let place = |row: i32| match row {
            0..50 => (0.0, 0.0),
            50..80 => (10.0, 0.0),
            _ => (0.0, 10.0),
        };
        let noise = |row: i32| f64::from((row * 37) % 11) / 11.0 - 0.5;
        let across: Vec<f64> = (0..100).map(|row| place(row).0 + noise(row)).collect();
        let along: Vec<f64> = (0..100).map(|row| place(row).1 + noise(row + 5)).collect();
        df!("across" => across, "along" => along).expect("a frame")
    }

    fn clusters(outputs: &[PolarsColumn]) -> Vec<i64> {
        outputs[0].i64().expect("i64").iter().flatten().collect()
    }

    #[test]
    fn heaps_are_found_and_numbered_by_size() {
        let train = with_roles(heaps(), &[]);
        let model: KMeans = params("{clusters: 3, seed: 5}");
        let outputs = predict(&model, &train, &train.data).expect("outputs");
        let wanted: Vec<i64> = (0..100)
            .map(|row| match row {
                0..50 => 0,
                50..80 => 1,
                _ => 2,
            })
            .collect();
        assert_eq!(clusters(&outputs), wanted);
        let distances: Vec<f64> = outputs[1].f64().expect("f64").iter().flatten().collect();
        assert!(distances.iter().all(|distance| *distance < 1.0));
    }

    #[test]
    fn the_mean_and_the_inertia_are_those_of_the_definition() {
        let data = df!("size" => [1.0, 2.0, 6.0], "times" => [1, 1, 2]).expect("a frame");
        let train = with_roles(data, &[("times", Role::Weight)]);
        let model: KMeans = params("{clusters: 1}");
        let state = model
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("a state");
        let learned: Learned = state.data(VERSION).expect("data");
        // Mean 15/4; squares 7.5625, 3.0625 and twice 5.0625.
        assert!(
            (learned.inertia - 20.75).abs() < 1e-12,
            "{}",
            learned.inertia
        );
        let rows = df!("size" => [3.75, 5.75]).expect("a frame");
        let outputs = predict(&model, &train, &rows).expect("outputs");
        let distances: Vec<f64> = outputs[1].f64().expect("f64").iter().flatten().collect();
        assert!(distances[0] < 1e-12 && (distances[1] - 2.0).abs() < 1e-12);
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let train = with_roles(heaps(), &[]);
        let model: KMeans = params("{clusters: 7, seed: 2}");
        same_on_any_threads(&model, &train);
    }

    /// tests/peers/clustering.py: the inertia of scikit-learn's best of 50 attempts, without weights and with.
    #[test]
    fn clusters_are_as_tight_as_those_of_scikit_learn() {
        let cases = [
            (2, 1984.097326, 3882.500986),
            (3, 1505.76724, 2941.294674),
            (5, 1156.127714, 2232.638465),
            (8, 888.3849042, 1737.249514),
        ];
        for (clusters, plain, weighted) in cases {
            for (inertia, is_weighted) in [(plain, false), (weighted, true)] {
                let model: KMeans = params(&format!(
                    "{{features: {CELL_FEATURES:?}, clusters: {clusters}, attempts: 20}}"
                ));
                let state = model
                    .fit(&cells(is_weighted), None, &mut FitContext::quiet(1))
                    .expect("a state");
                let learned: Learned = state.data(VERSION).expect("data");
                let ratio = learned.inertia / inertia;
                assert!((ratio - 1.0).abs() < 0.01, "{clusters} clusters: {ratio}");
            }
        }
    }

    #[test]
    fn fewer_different_rows_than_clusters_are_refused() {
        let data = df!("size" => [1.0, 5.0, 1.0, 5.0, 5.0, 9.0], "times" => [1, 1, 1, 1, 1, 0])
            .expect("a frame");
        let train = with_roles(data.clone(), &[("times", Role::Ignore)]);
        let three: KMeans = params("{clusters: 3}");
        let outputs = predict(&three, &train, &train.data).expect("outputs");
        assert_eq!(clusters(&outputs), [1, 0, 1, 0, 0, 2]);
        // The row that counts nothing makes no cluster.
        let train = with_roles(data, &[("times", Role::Weight)]);
        let message = refusal(&three, &train);
        assert!(
            message.contains("hold only 2 different rows") && message.contains("at most 2"),
            "{message}"
        );
    }

    #[test]
    fn an_empty_cluster_starts_anew_each_in_its_own_place() {
        let records = ndarray::array![[0.0], [0.1], [10.0], [10.1], [20.0]];
        let weights = [1.0; 5];
        // Three of the four means are the same: two of them get no row.
        let mut means = ndarray::array![[0.0], [0.0], [0.0], [10.0]];
        let found = full_round(&Rows::of(&records), &weights, &mut means);
        assert!(
            found.sizes.iter().all(|size| *size > 0.0),
            "{:?}",
            found.sizes
        );
        assert_eq!(means.column(0).to_vec(), [0.0, 20.0, 0.1, 10.0]);
    }

    #[test]
    fn as_many_clusters_as_rows_leave_no_distance_and_more_are_refused() {
        let train = with_roles(df!("size" => [1.0, 5.0, 9.0]).expect("a frame"), &[]);
        let model: KMeans = params("{clusters: 3}");
        let outputs = predict(&model, &train, &train.data).expect("outputs");
        assert!(
            outputs[1]
                .f64()
                .expect("f64")
                .iter()
                .flatten()
                .all(|distance| distance == 0.0)
        );
        let alike = with_roles(df!("size" => [7.0, 7.0]).expect("a frame"), &[]);
        let message = refusal(&params::<KMeans>("{clusters: 2}"), &alike);
        assert!(
            message.contains("are alike in these features") && message.contains("ask for 1,"),
            "{message}"
        );
        let model: KMeans = params("{clusters: 4}");
        assert!(refusal(&model, &train).contains("3 training rows cannot make 4 clusters"));
        let (output, problems) = check(&model, &train.schema);
        assert!(problems.is_empty());
        let names: Vec<&str> = output.names().collect();
        assert_eq!(names, ["size", "cluster", "distance"]);
    }

    #[test]
    fn what_cannot_be_squared_is_refused() {
        let features = format!("{CELL_FEATURES:?}");
        let model: KMeans = params(&format!("{{features: {features}, clusters: 3}}"));
        crate::testing::refuses_what_cannot_be_squared(
            &model,
            &cells(false),
            CELL_FEATURES[0],
            true,
        );
    }
}
