//! `model.linfa.dbscan`

use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array2, Axis};
use polars::prelude::{Column as PolarsColumn, DataFrame, DataType};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, Model, Predictor, ProgressEvent, Result,
    Schema, Shape, Stage, State, TensorData, classifier, counted, features, register_kind,
};

use crate::{
    linear::{check_total, weight_of},
    neighbours::Neighbours,
    records::{Features, is_learned, matrix, row_weights, with_matrix},
    steps::Steps,
};

const VERSION: u32 = 1;
pub(crate) const CLUSTER: &str = "cluster";
pub(crate) const DISTANCE: &str = "distance";
/// The cluster of rows that are in none.
pub(crate) const NOISE: i64 = -1;
/// How many rows are looked at between two steps that are told.
const ROWS_BETWEEN_LOOKS: usize = 256;
/// Rows whose neighbourhood is looked at for advice.
const ADVICE_ROWS: usize = 1000;

/// Finds clusters of any form: rows that lie dense, each within reach of the next; what lies apart is noise.
///
/// A training row is a core row where at least `min_points` rows, itself among them, lie within `eps` of it. Core rows within `eps` of
/// each other are in one cluster (Ester, Kriegel, Sander and Xu: "A Density-Based Algorithm for Discovering Clusters", 1996). How many
/// clusters there are is found, not given. Give features a similar scale (`features.standardize`): distances are Euclidean and
/// treat them alike. No target is learned.
///
/// The core rows are kept. Every row, of training or new, belongs to the cluster of the nearest core row if that lies within `eps`, and
/// else to none: so a row gets the same cluster alone, in a batch and in training, which the method as published leaves to chance where
/// a row that is not core lies within reach of two clusters.
///
/// Adds `cluster`, a number from 0 for the cluster with the most training rows on, -1 for noise; and `distance`, that to the nearest
/// core row. Rows count by the column with role `weight` towards `min_points`, if there is one. A missing value is an error. The bundle
/// holds all core rows, so it grows with the training data, and so does the time to score a row, slowly.
///
/// Core rows and clusters are those of scikit-learn's `DBSCAN`. linfa-clustering 0.8.1 keeps no core rows to score with and knows no
/// weights; it took twice as long on 20,000 rows of 5 numbers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Dbscan {
    /// The columns to look at: numbers, truth values, or arrays of numbers. Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// How far a row reaches, in the features' unit.
    #[schemars(extend("exclusiveMinimum" = 0))]
    eps: f64,
    /// Rows within reach that make a row a core row, itself among them: the sum of their weights, where rows have weights.
    #[serde(default = "five")]
    #[schemars(range(min = 1))]
    min_points: usize,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

fn five() -> usize {
    5
}

register_kind! {
    Dbscan, "model.linfa.dbscan", version: 1,
    example: "- model.linfa.dbscan: {eps: 0.5, min_points: 10, features: [spent, visits]}",
}

/// What density models check, and the schema after them.
pub(crate) fn check(
    named: Option<&[String]>,
    inputs: &[Schema],
    cx: &mut CheckContext<'_>,
) -> Schema {
    let Some(input) = inputs.first() else {
        return Schema {
            incomplete: true,
            ..Schema::default()
        };
    };
    features::check(named, None, input, is_learned, cx);
    let added = vec![
        Column::new(CLUSTER, DataType::Int64),
        Column::new(DISTANCE, DataType::Float64),
    ];
    classifier::with_outputs(input, None, added, cx)
}

impl Stage for Dbscan {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let output = check(self.features.as_deref(), inputs, cx);
        if let Some(input) = inputs.first() {
            classifier::check_weights(input, cx);
        }
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Dbscan {
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
        let records = records.as_standard_layout().into_owned();
        let tree = Neighbours::new(&records);
        let square = self.eps * self.eps;
        let needed = self.min_points as f64;
        // Each row is looked at once for how near others are, and each core row once more.
        let steps = Steps::new(cx, 2 * records.nrows(), "looks at rows");
        let is_core = (0..records.nrows())
            .into_par_iter()
            .map(|row| {
                cx.cancellation.check()?;
                if row.is_multiple_of(ROWS_BETWEEN_LOOKS) {
                    steps.add(ROWS_BETWEEN_LOOKS as u64);
                }
                let mut weight = 0.0;
                tree.within(&records.row(row).to_vec(), square, |other, _| {
                    weight += weight_of(weights.as_ref(), other);
                    weight < needed
                });
                Ok(weight >= needed)
            })
            .collect::<Result<Vec<bool>>>()?;
        let places: Vec<usize> = (0..records.nrows()).filter(|row| is_core[*row]).collect();
        if places.is_empty() {
            return Err(self.no_core(&tree, &records));
        }
        let cores = records.select(Axis(0), &places);
        let tree = Neighbours::new(&cores);
        let connected = connected(&tree, &cores, square, &steps, cx)?;
        let mut reached = Reached {
            tree,
            clusters: connected,
            square,
        };
        let of_rows: Vec<i64> = reached
            .assign(&records)
            .into_iter()
            .map(|(cluster, _)| cluster)
            .collect();
        reached.clusters = by_size(&of_rows, reached.clusters);
        tell(&of_rows, cx);
        let learned = Learned {
            features,
            eps: self.eps,
        };
        let state = with_matrix(State::from_data(VERSION, &learned)?, "cores", &cores);
        let clusters = TensorData::I64(reached.clusters);
        Ok(state.with_tensor("clusters", vec![cores.nrows()], clusters))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        let tensor = state.tensor("clusters")?;
        let clusters = match &tensor.data {
            TensorData::I64(clusters)
                if !clusters.is_empty() && clusters.iter().all(|cluster| *cluster >= 0) =>
            {
                clusters
            }
            _ => {
                return Err(Error::State(
                    "the clusters of the core rows are damaged".into(),
                ));
            }
        };
        let cores = matrix(state, "cores", [clusters.len(), learned.features.numbers()])?;
        let reached = Reached {
            tree: Neighbours::new(&cores),
            clusters: clusters.clone(),
            square: learned.eps * learned.eps,
        };
        Ok(Box::new(DbscanPredictor { learned, reached }))
    }
}

impl Dbscan {
    /// Says how far rows would have to reach.
    fn no_core(&self, tree: &Neighbours, records: &Array2<f64>) -> Error {
        let every = records.nrows().div_ceil(ADVICE_ROWS).max(1);
        let mut reaches: Vec<f64> = (0..records.nrows())
            .step_by(every)
            .filter_map(|row| tree.square_of_nearest(&records.row(row).to_vec(), self.min_points))
            .map(f64::sqrt)
            .collect();
        reaches.sort_unstable_by(f64::total_cmp);
        let advice = match reaches.get(reaches.len() / 2) {
            Some(middle) => format!(
                "half of the rows have {} within {middle:.3}; raise `eps`, or lower `min_points`",
                counted(self.min_points, "row")
            ),
            None => "lower `min_points`".to_owned(),
        };
        Error::data(format!(
            "no training row has {} within {} of it, so there are no clusters; {advice}",
            counted(self.min_points, "row"),
            self.eps
        ))
    }
}

/// The JSON part of the fitted state.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    #[serde(flatten)]
    features: Features,
    eps: f64,
}

struct DbscanPredictor {
    learned: Learned,
    reached: Reached,
}

impl Predictor for DbscanPredictor {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let records = self.learned.features.squared_matrix(batch)?;
        let records = records.as_standard_layout().into_owned();
        Ok(columns(self.reached.assign(&records)))
    }
}

/// The output columns.
pub(crate) fn columns(found: Vec<(i64, f64)>) -> Vec<PolarsColumn> {
    let (clusters, distances): (Vec<i64>, Vec<f64>) = found.into_iter().unzip();
    vec![
        PolarsColumn::new(CLUSTER.into(), clusters),
        PolarsColumn::new(DISTANCE.into(), distances),
    ]
}

/// The core rows, their clusters and how far they reach.
struct Reached {
    tree: Neighbours,
    clusters: Vec<i64>,
    square: f64,
}

impl Reached {
    /// The cluster of each row, and its distance to the nearest core row.
    fn assign(&self, records: &Array2<f64>) -> Vec<(i64, f64)> {
        (0..records.nrows())
            .into_par_iter()
            .map(|row| match self.tree.nearest(&records.row(row).to_vec()) {
                Some((core, square)) if square <= self.square => {
                    (self.clusters[core], square.sqrt())
                }
                Some((_, square)) => (NOISE, square.sqrt()),
                None => (NOISE, f64::INFINITY),
            })
            .collect()
    }
}

/// For each core row the first one that it is connected with.
fn connected(
    tree: &Neighbours,
    cores: &Array2<f64>,
    square: f64,
    steps: &Steps<'_>,
    cx: &FitContext<'_>,
) -> Result<Vec<i64>> {
    // A forest in which every core row points to one before it, or to itself. Threads may link in any order: which rows are
    // connected, and which of them is the first, does not depend on it.
    let above: Vec<AtomicUsize> = (0..cores.nrows()).map(AtomicUsize::new).collect();
    (0..cores.nrows()).into_par_iter().try_for_each(|row| {
        cx.cancellation.check()?;
        if row.is_multiple_of(ROWS_BETWEEN_LOOKS) {
            steps.add(ROWS_BETWEEN_LOOKS as u64);
        }
        tree.within(&cores.row(row).to_vec(), square, |other, _| {
            if other < row {
                unite(&above, row, other);
            }
            true
        });
        Ok::<(), Error>(())
    })?;
    Ok((0..cores.nrows())
        .map(|row| first(&above, row) as i64)
        .collect())
}

/// The first of the rows that this one is known to be connected with.
fn first(above: &[AtomicUsize], mut row: usize) -> usize {
    loop {
        let next = above[row].load(Ordering::Relaxed);
        if next == row {
            return row;
        }
        let beyond = above[next].load(Ordering::Relaxed);
        // Shortens the way for those who come after; where another thread was faster, it did the same or better.
        let _ = above[row].compare_exchange(next, beyond, Ordering::Relaxed, Ordering::Relaxed);
        row = next;
    }
}

fn unite(above: &[AtomicUsize], left: usize, right: usize) {
    loop {
        let (left, right) = (first(above, left), first(above, right));
        let (low, high) = (left.min(right), left.max(right));
        if low == high
            || above[high]
                .compare_exchange(high, low, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            return;
        }
    }
}

/// The clusters, numbered from that with the most rows on; of equally large ones that whose name is less comes first.
pub(crate) fn by_size(of_rows: &[i64], clusters: Vec<i64>) -> Vec<i64> {
    let mut names: Vec<i64> = clusters
        .iter()
        .copied()
        .filter(|name| *name != NOISE)
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut sizes = vec![0_usize; names.len()];
    for name in of_rows {
        if let Ok(place) = names.binary_search(name) {
            sizes[place] += 1;
        }
    }
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|left, right| sizes[*right].cmp(&sizes[*left]));
    let mut numbers = vec![NOISE; names.len()];
    for (number, place) in order.into_iter().enumerate() {
        numbers[place] = number as i64;
    }
    clusters
        .into_iter()
        .map(|name| {
            names
                .binary_search(&name)
                .map_or(NOISE, |place| numbers[place])
        })
        .collect()
}

/// Says how many clusters there are, and how much is noise.
pub(crate) fn tell(of_rows: &[i64], cx: &FitContext<'_>) {
    let noise = of_rows.iter().filter(|cluster| **cluster == NOISE).count();
    let mut names: Vec<i64> = of_rows.to_vec();
    names.sort_unstable();
    names.dedup();
    let clusters = names.iter().filter(|name| **name != NOISE).count();
    cx.progress.event(ProgressEvent::Message(format!(
        "`{}` found {}; {noise} of {} are noise",
        cx.stage,
        counted(clusters, "cluster"),
        counted(of_rows.len(), "training row")
    )));
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::Role;

    use super::*;
    use crate::testing::{
        CELL_FEATURES, cells, check as checked, numbers_of, params, predict, refusal,
        same_on_any_threads, with_roles,
    };

    fn clusters(outputs: &[PolarsColumn]) -> Vec<i64> {
        outputs[0].i64().expect("i64").iter().flatten().collect()
    }

    /// Rows on two rings, one inside the other, and one far away.
    fn rings() -> DataFrame {
        let angle = |row: i32| f64::from(row) * std::f64::consts::TAU / 50.0;
        let radius = |row: i32| if row < 50 { 5.0 } else { 1.0 };
        let mut across: Vec<f64> = (0..80).map(|row| radius(row) * angle(row).cos()).collect();
        let mut along: Vec<f64> = (0..80).map(|row| radius(row) * angle(row).sin()).collect();
        across.push(20.0);
        along.push(0.0);
        df!("across" => across, "along" => along).expect("a frame")
    }

    #[test]
    fn rings_are_found_and_new_rows_are_in_the_nearest_within_reach() {
        let train = with_roles(rings(), &[]);
        let model: Dbscan = params("{eps: 0.7, min_points: 3}");
        let outputs = predict(&model, &train, &train.data).expect("outputs");
        let expected: Vec<i64> = (0..81)
            .map(|row| match row {
                0..50 => 0,
                50..80 => 1,
                _ => NOISE,
            })
            .collect();
        assert_eq!(clusters(&outputs), expected);
        let rows = df!("across" => [5.6, 5.8, 1.0, 0.0], "along" => [0.0, 0.0, 0.1, 0.2])
            .expect("a frame");
        let outputs = predict(&model, &train, &rows).expect("outputs");
        // The last is 0.8 from the inner ring.
        assert_eq!(clusters(&outputs), [0, NOISE, 1, NOISE]);
        let distances = numbers_of(&outputs, DISTANCE);
        assert!((distances[1] - 0.8).abs() < 1e-12, "{distances:?}");
    }

    #[test]
    fn weights_make_core_rows() {
        let data = df!("size" => [0.0, 1.0, 10.0, 11.0], "times" => [1, 1, 3, 2]).expect("a frame");
        let train = with_roles(data.clone(), &[("times", Role::Weight)]);
        let model: Dbscan = params("{eps: 1, min_points: 5}");
        let outputs = predict(&model, &train, &train.data).expect("outputs");
        assert_eq!(clusters(&outputs), [NOISE, NOISE, 0, 0]);
        let train = with_roles(data, &[("times", Role::Ignore)]);
        let message = refusal(&model, &train);
        assert!(message.contains("lower `min_points`"), "{message}");
        let message = refusal(&params::<Dbscan>("{eps: 0.5, min_points: 2}"), &train);
        assert!(
            message.contains("half of the rows have 2 rows within 1.000"),
            "{message}"
        );
    }

    /// tests/peers/clustering.py: `eps`, `min_points`, then of scikit-learn's core rows those in each cluster, and all.
    #[test]
    fn core_rows_are_those_of_scikit_learn() {
        let cases: [(f64, usize, bool, &[usize], usize); 4] = [
            (0.8, 5, false, &[364, 2, 1, 1], 368),
            (0.6, 4, false, &[199, 4, 4, 2, 1, 1, 1, 1], 213),
            (1.0, 10, false, &[391], 391),
            (0.8, 10, true, &[], 361),
        ];
        for (eps, least, weighted, sizes, cores) in cases {
            let train = cells(weighted);
            let model: Dbscan = params(&format!(
                "{{features: {CELL_FEATURES:?}, eps: {eps}, min_points: {least}}}"
            ));
            let state = model
                .fit(&train, None, &mut FitContext::quiet(1))
                .expect("a state");
            let TensorData::I64(found) = &state.tensor("clusters").expect("a tensor").data else {
                panic!("no whole numbers");
            };
            assert_eq!(found.len(), cores);
            if !sizes.is_empty() {
                let mut counts: Vec<usize> = (0..sizes.len() as i64)
                    .map(|name| found.iter().filter(|cluster| **cluster == name).count())
                    .collect();
                counts.sort_unstable_by(|left, right| right.cmp(left));
                assert_eq!(counts, sizes);
            }
        }
        // Rows that are not core are noise where scikit-learn says so: 109 of 569.
        let train = cells(false);
        let model: Dbscan = params(&format!("{{features: {CELL_FEATURES:?}, eps: 0.8}}"));
        let outputs = predict(&model, &train, &train.data).expect("outputs");
        let noise = clusters(&outputs)
            .iter()
            .filter(|cluster| **cluster == NOISE)
            .count();
        assert_eq!(noise, 109);
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let model: Dbscan = params(&format!(
            "{{features: {CELL_FEATURES:?}, eps: 0.6, min_points: 4}}"
        ));
        same_on_any_threads(&model, &cells(false));
    }

    #[test]
    fn a_damaged_state_is_refused_and_columns_are_known_before() {
        let train = with_roles(rings(), &[]);
        let model: Dbscan = params("{eps: 0.7, min_points: 3}");
        let mut state = model
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("a state");
        assert!(model.load(&state).is_ok());
        state.tensors.get_mut("clusters").expect("a tensor").data = TensorData::I64(vec![]);
        assert!(model.load(&state).is_err());
        let (output, problems) = checked(&model, &train.schema);
        assert!(problems.is_empty());
        let names: Vec<&str> = output.names().collect();
        assert_eq!(names, ["across", "along", CLUSTER, DISTANCE]);
    }

    #[test]
    fn what_cannot_be_squared_is_refused() {
        let features = format!("{CELL_FEATURES:?}");
        let model: Dbscan = params(&format!("{{features: {features}, eps: 1, min_points: 10}}"));
        crate::testing::refuses_what_cannot_be_squared(
            &model,
            &cells(false),
            CELL_FEATURES[0],
            true,
        );
    }
}
