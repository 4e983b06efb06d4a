//! `model.linfa.optics`

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use ndarray::Array2;
use polars::prelude::{Column as PolarsColumn, DataFrame};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, FitContext, Frame, Model, Predictor, Problem, ProgressEvent, Result,
    Schema, Shape, Stage, State, TensorData, counted, features, path, register_kind,
};

use crate::{
    dbscan::{self, NOISE, by_size, columns, tell},
    neighbours::{Neighbours, square_distance},
    records::{Features, is_learned, matrix, numbers, with_matrix},
};

const VERSION: u32 = 1;
/// Rows between two looks at whether to go on.
const ROWS_BETWEEN_LOOKS: usize = 256;

/// Finds clusters of any form and of different densities: rows are put in an order in which clusters are valleys.
///
/// A row's core distance is that within which it has `min_points` rows, itself among them. Row after row the next is the one that is
/// reached by the shortest step from those before, a step being no shorter than the core distance it starts with (Ankerst, Breunig,
/// Kriegel and Sander: "OPTICS: Ordering Points To Identify the Clustering Structure", 1999). Clusters are where the step's length falls
/// and rises again by the share `xi`, each with rows that were reached from within (Schubert and Gertz, 2018); of clusters inside
/// each other the smallest count. For clusters of one density `dbscan` is simpler and faster. Give features a similar scale
/// (`features.standardize`): distances are Euclidean and treat them alike. No target is learned.
///
/// The training rows are kept with their clusters and core distances. Every row, of training or new, belongs to the cluster of the nearest
/// training row if that lies within that row's core distance, and else to none.
///
/// Adds `cluster`, a number from 0 for the cluster with the most training rows on, -1 for noise; and `distance`, that to the nearest
/// training row (0 for these themselves). Every row counts once. A missing value is an error. The time to learn grows with the square
/// of the rows, unless `max_eps` is small; the bundle holds all training rows.
///
/// Order and clusters are those of scikit-learn's `OPTICS`. linfa-clustering 0.8.1 makes an order but finds no clusters in it, and
/// took some fifty times as long on 4,000 rows of 5 numbers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Optics {
    /// The columns to look at: numbers, truth values, or arrays of numbers. Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// Rows that make a neighbourhood dense, the row itself among them.
    #[serde(default = "five")]
    #[schemars(range(min = 2))]
    min_points: usize,
    /// The share by which a step must be shorter than the one before for a cluster to begin, and longer for it to end.
    #[serde(default = "twentieth")]
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    xi: f64,
    /// Rows of a cluster, at least. Default: `min_points`.
    #[schemars(range(min = 2))]
    min_cluster_size: Option<usize>,
    /// The longest step, in the features' unit; rows that are farther from all others are noise. Default: no limit.
    #[schemars(extend("exclusiveMinimum" = 0))]
    max_eps: Option<f64>,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

fn five() -> usize {
    5
}
fn twentieth() -> f64 {
    0.05
}

register_kind! {
    Optics, "model.linfa.optics", version: 1,
    example: "- model.linfa.optics: {min_points: 10, min_cluster_size: 50, features: [spent, visits]}",
}

impl Stage for Optics {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        if !(self.xi > 0.0 && self.xi < 1.0) {
            cx.report(Problem::error(
                "out-of-range",
                path!["xi"],
                format!("a share of {} does not lie between 0 and 1", self.xi),
            ));
        }
        dbscan::check(self.features.as_deref(), inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Optics {
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
        let (features, records) = Features::fit_squared(&train.data, self.features(&train.schema))?;
        // Rows side by side: distances are of rows.
        let records = records.as_standard_layout().into_owned();
        if records.nrows() < self.min_points {
            return Err(Error::data(format!(
                "{} cannot make a neighbourhood of {}; lower `min_points`",
                counted(records.nrows(), "training row"),
                counted(self.min_points, "row")
            )));
        }
        let order = self.order(&records, cx)?;
        let found = order.clusters(
            self.xi,
            self.min_points,
            self.min_cluster_size.unwrap_or(self.min_points),
        );
        let clusters = by_size(&found, found.clone());
        tell(&clusters, cx);
        // A row without enough others in reach takes in none but its equals.
        let reaches = order
            .cores
            .iter()
            .map(|reach| if reach.is_finite() { *reach } else { 0.0 })
            .collect();
        let learned = Learned { features };
        let rows = records.nrows();
        let state = with_matrix(State::from_data(VERSION, &learned)?, "rows", &records);
        Ok(state
            .with_tensor("clusters", vec![rows], TensorData::I64(clusters))
            .with_tensor("reaches", vec![rows], TensorData::F64(reaches)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        let tensor = state.tensor("clusters")?;
        let clusters = match &tensor.data {
            TensorData::I64(clusters)
                if !clusters.is_empty() && clusters.iter().all(|cluster| *cluster >= NOISE) =>
            {
                clusters.clone()
            }
            _ => {
                return Err(Error::State(
                    "the clusters of the training rows are damaged".into(),
                ));
            }
        };
        let rows = matrix(state, "rows", [clusters.len(), learned.features.numbers()])?;
        let reaches = numbers(state.tensor("reaches")?, &[clusters.len()])?;
        Ok(Box::new(OpticsPredictor {
            learned,
            tree: Neighbours::new(&rows),
            clusters,
            reaches,
        }))
    }
}

/// The JSON part of the fitted state.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    #[serde(flatten)]
    features: Features,
}

struct OpticsPredictor {
    learned: Learned,
    tree: Neighbours,
    clusters: Vec<i64>,
    /// How far each training row takes in others.
    reaches: Vec<f64>,
}

impl Predictor for OpticsPredictor {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let records = self.learned.features.squared_matrix(batch)?;
        let records = records.as_standard_layout().into_owned();
        let found = (0..records.nrows())
            .into_par_iter()
            .map(|row| match self.tree.nearest(&records.row(row).to_vec()) {
                Some((nearest, square)) => {
                    let distance = square.sqrt();
                    let is_reached = distance <= self.reaches[nearest];
                    let cluster = if is_reached {
                        self.clusters[nearest]
                    } else {
                        NOISE
                    };
                    (cluster, distance)
                }
                None => (NOISE, f64::INFINITY),
            })
            .collect();
        Ok(columns(found))
    }
}

/// A row that is waiting, and the length of the shortest step to it; of equally short ones the first row comes first.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Waiting {
    step: f64,
    row: usize,
}

impl Eq for Waiting {}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.step
            .total_cmp(&other.step)
            .then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The rows in the order in which they are reached.
#[derive(Debug)]
struct Order {
    rows: Vec<usize>,
    /// For each row the length of the step to it; infinite where it was reached from none.
    steps: Vec<f64>,
    /// For each row the one that it was reached from.
    sources: Vec<Option<usize>>,
    /// For each row its core distance; infinite where that exceeds the longest step.
    cores: Vec<f64>,
}

impl Optics {
    fn order(&self, records: &Array2<f64>, cx: &FitContext<'_>) -> Result<Order> {
        let count = records.nrows();
        let longest = self.max_eps.unwrap_or(f64::INFINITY);
        let tree = Neighbours::new(records);
        let cores = (0..count)
            .into_par_iter()
            .map(|row| {
                cx.cancellation.check()?;
                let square = tree.square_of_nearest(&records.row(row).to_vec(), self.min_points);
                let distance = square.map_or(f64::INFINITY, f64::sqrt);
                Ok(if distance <= longest {
                    distance
                } else {
                    f64::INFINITY
                })
            })
            .collect::<Result<Vec<f64>>>()?;
        let mut order = Order {
            rows: Vec::with_capacity(count),
            steps: vec![f64::INFINITY; count],
            sources: vec![None; count],
            cores,
        };
        let mut is_done = vec![false; count];
        let mut left: Vec<usize> = (0..count).collect();
        let mut waiting: BinaryHeap<Reverse<Waiting>> = (0..count)
            .map(|row| {
                Reverse(Waiting {
                    step: f64::INFINITY,
                    row,
                })
            })
            .collect();
        while let Some(Reverse(next)) = waiting.pop() {
            // An entry that a shorter step made stale.
            if is_done[next.row] || next.step > order.steps[next.row] {
                continue;
            }
            let done = order.rows.len();
            if done.is_multiple_of(ROWS_BETWEEN_LOOKS) {
                cx.cancellation.check()?;
                cx.progress.event(ProgressEvent::Step {
                    done: done as u64,
                    total: count as u64,
                    unit: "rows",
                });
                left.retain(|row| !is_done[*row]);
            }
            is_done[next.row] = true;
            order.rows.push(next.row);
            let core = order.cores[next.row];
            if core.is_infinite() {
                continue;
            }
            let here = records.row(next.row).to_vec();
            let mut reach = |row: usize, square: f64| {
                let step = square.sqrt().max(core);
                if !is_done[row] && step < order.steps[row] {
                    order.steps[row] = step;
                    order.sources[row] = Some(next.row);
                    waiting.push(Reverse(Waiting { step, row }));
                }
                true
            };
            if longest.is_finite() {
                tree.within(&here, longest * longest, reach);
            } else {
                let width = records.ncols();
                let all = records.as_slice().unwrap_or(&[]);
                for row in &left {
                    let other = &all[row * width..(row + 1) * width];
                    reach(*row, square_distance(other, &here));
                }
            }
        }
        Ok(order)
    }
}

/// A run of steps that get shorter, by enough to begin a cluster.
#[derive(Debug, Clone, Copy)]
struct Descent {
    start: usize,
    end: usize,
    /// The longest step since its end.
    longest_since: f64,
}

impl Order {
    /// The cluster of each row, -1 for none.
    fn clusters(&self, xi: f64, min_points: usize, least: usize) -> Vec<i64> {
        let mut clusters = vec![NOISE; self.rows.len()];
        let mut name = 0;
        // Smaller clusters come before those around them.
        for (from, to) in self.valleys(xi, min_points, least) {
            let rows = &self.rows[from..=to];
            if rows.iter().all(|row| clusters[*row] == NOISE) {
                for row in rows {
                    clusters[*row] = name;
                }
                name += 1;
            }
        }
        clusters
    }

    /// From where to where in the order clusters reach: section 4.3 of the paper.
    fn valleys(&self, xi: f64, min_points: usize, least: usize) -> Vec<(usize, usize)> {
        let kept = 1.0 - xi;
        // Behind the last row the way leads out of every cluster.
        let mut steps: Vec<f64> = self.rows.iter().map(|row| self.steps[*row]).collect();
        steps.push(f64::INFINITY);
        let change: Vec<f64> = steps.windows(2).map(|pair| pair[0] / pair[1]).collect();
        let is_steep_up = |place: usize| change[place] <= kept;
        let is_steep_down = |place: usize| change[place] >= 1.0 / kept;
        let goes_up = |place: usize| change[place] < 1.0;
        let goes_down = |place: usize| change[place] > 1.0;
        // A slope goes on past places that are not steep, as long as these are few and none goes the other way.
        let end_of_slope =
            |from: usize, is_steep: &dyn Fn(usize) -> bool, turns: &dyn Fn(usize) -> bool| {
                let (mut end, mut flat) = (from, 0);
                for place in from..change.len() {
                    if is_steep(place) {
                        (end, flat) = (place, 0);
                    } else if turns(place) {
                        break;
                    } else {
                        flat += 1;
                        if flat > min_points {
                            break;
                        }
                    }
                }
                end
            };
        let mut descents: Vec<Descent> = Vec::new();
        let mut found = Vec::new();
        let (mut next, mut longest) = (0, 0.0_f64);
        for place in 0..change.len() {
            if place < next || !(is_steep_up(place) || is_steep_down(place)) {
                continue;
            }
            longest = steps[next..=place].iter().copied().fold(longest, f64::max);
            // A step that is as long as the one before a descent leads out of its valley.
            descents
                .retain(|descent| longest <= steps[descent.start] * kept && longest.is_finite());
            for descent in &mut descents {
                descent.longest_since = descent.longest_since.max(longest);
            }
            if is_steep_down(place) {
                let end = end_of_slope(place, &is_steep_down, &goes_up);
                descents.push(Descent {
                    start: place,
                    end,
                    longest_since: 0.0,
                });
                next = end + 1;
            } else {
                let end = end_of_slope(place, &is_steep_up, &goes_down);
                let valleys = descents
                    .iter()
                    .filter_map(|descent| self.valley(&steps, *descent, (place, end), kept))
                    .filter(|(from, to)| to - from + 1 >= least);
                let mut valleys: Vec<(usize, usize)> = valleys.collect();
                valleys.reverse();
                found.extend(valleys);
                next = end + 1;
            }
            longest = steps[next];
        }
        found
    }

    /// The cluster between a descent and an ascent, where there is one.
    fn valley(
        &self,
        steps: &[f64],
        descent: Descent,
        ascent: (usize, usize),
        kept: f64,
    ) -> Option<(usize, usize)> {
        let behind = steps[ascent.1 + 1];
        if behind * kept < descent.longest_since {
            return None;
        }
        let (mut from, mut to) = (descent.start, ascent.1);
        let before = steps[descent.start];
        // Both ends should be about as high.
        if before * kept >= behind {
            while from < descent.end && steps[from + 1] > behind {
                from += 1;
            }
        } else if behind * kept >= before {
            while to > ascent.0 && steps[to - 1] > before {
                to -= 1;
            }
        }
        // The last row must have been reached from within, or lie lower than the first.
        while from < to && steps[from] <= steps[to] {
            let source = self.sources[self.rows[to]];
            if source.is_some_and(|source| self.rows[from..to].contains(&source)) {
                break;
            }
            to -= 1;
        }
        (from < to && from <= descent.end && to >= ascent.0).then_some((from, to))
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;

    use super::*;
    use crate::testing::{
        CELL_FEATURES, cells, codes, params, predict, refusal, same_on_any_threads, with_roles,
    };

    fn found(outputs: &[PolarsColumn]) -> Vec<i64> {
        outputs[0].i64().expect("i64").iter().flatten().collect()
    }

    fn order(model: &Optics) -> Order {
        let train = cells(false);
        let names = model.features(&train.schema);
        let (_, records) = Features::fit(&train.data, names).expect("records");
        let records = records.as_standard_layout().into_owned();
        model
            .order(&records, &FitContext::quiet(1))
            .expect("an order")
    }

    /// tests/peers/clustering.py
    #[test]
    fn order_and_clusters_are_those_of_scikit_learn() {
        struct Case {
            params: &'static str,
            starts: [usize; 10],
            checksum: usize,
            steps: f64,
            sources: usize,
            /// Rows of each cluster, and the sum of their places.
            clusters: &'static [(usize, usize)],
        }
        let cases = [
            Case {
                params: "min_points: 10, xi: 0.03, min_cluster_size: 20",
                starts: [0, 22, 77, 45, 20, 81, 221, 255, 121, 138],
                checksum: 823_433,
                steps: 455.058_747_387_549_15,
                sources: 46_160_840,
                clusters: &[(33, 9683)],
            },
            Case {
                params: "min_points: 5, min_cluster_size: 8, max_eps: 1",
                starts: [0, 1, 46, 74, 125, 463, 67, 211, 224, 548],
                checksum: 364_958,
                steps: 315.946_974_443_483_1,
                sources: 44_132_676,
                clusters: &[(17, 5130), (11, 2174), (9, 2448), (8, 2010)],
            },
        ];
        for case in cases {
            let model: Optics =
                params(&format!("{{features: {CELL_FEATURES:?}, {}}}", case.params));
            let order = order(&model);
            assert_eq!(order.rows[..10], case.starts);
            let checksum: usize = order
                .rows
                .iter()
                .enumerate()
                .map(|(place, row)| place * row)
                .sum();
            assert_eq!(checksum % 1_000_003, case.checksum);
            let steps: f64 = order.steps.iter().filter(|step| step.is_finite()).sum();
            assert!((steps - case.steps).abs() < 1e-6, "{steps}");
            // scikit-learn's source of none is -1.
            let sources = order.sources.iter().enumerate();
            let sources: i64 = sources
                .map(|(row, source)| source.map_or(-1, |source| source as i64) * row as i64)
                .sum();
            assert_eq!(sources, case.sources as i64);
            let train = cells(false);
            let labels = found(&predict(&model, &train, &train.data).expect("outputs"));
            for (name, (size, sum)) in case.clusters.iter().enumerate() {
                let rows: Vec<usize> = (0..labels.len())
                    .filter(|row| labels[*row] == name as i64)
                    .collect();
                assert_eq!((rows.len(), rows.iter().sum::<usize>()), (*size, *sum));
            }
            let most = labels.iter().max().expect("rows");
            assert_eq!(*most as usize + 1, case.clusters.len());
        }
    }

    /// A dense heap, and a loose one.
    fn heaps() -> DataFrame {
        let mut sizes: Vec<f64> = (0..40).map(|row| f64::from(row) * 0.01).collect();
        sizes.extend((0..40).map(|row| 100.0 + f64::from(row)));
        df!("size" => sizes).expect("a frame")
    }

    #[test]
    fn heaps_of_different_density_are_found_and_new_rows_join_by_the_density_there() {
        let train = with_roles(heaps(), &[]);
        let model: Optics = params("{min_points: 5, min_cluster_size: 20}");
        let outputs = predict(&model, &train, &train.data).expect("outputs");
        let labels = found(&outputs);
        assert_eq!(labels.iter().max(), Some(&1), "{labels:?}");
        assert!(
            labels[1..39]
                .iter()
                .all(|label| *label == labels[1] && *label != NOISE),
            "{labels:?}"
        );
        assert!(
            labels[41..79]
                .iter()
                .all(|label| *label == labels[41] && *label != NOISE),
            "{labels:?}"
        );
        assert_ne!(labels[1], labels[41]);
        // One unit from the dense heap is far, from the loose one it is near.
        let rows = df!("size" => [-1.0, 0.205, 120.4, 99.0]).expect("a frame");
        let outputs = predict(&model, &train, &rows).expect("outputs");
        assert_eq!(found(&outputs)[..3], [NOISE, labels[20], labels[60]]);
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let model: Optics = params(&format!("{{features: {CELL_FEATURES:?}, max_eps: 1.5}}"));
        same_on_any_threads(&model, &cells(false));
    }

    #[test]
    fn too_few_rows_and_bad_shares_are_refused() {
        let train = with_roles(df!("size" => [1.0, 2.0]).expect("a frame"), &[]);
        let message = refusal(&params::<Optics>("{}"), &train);
        assert!(message.contains("lower `min_points`"), "{message}");
        assert_eq!(
            codes(
                &params::<Optics>("{xi: 1, features: [siez]}"),
                &train.schema
            ),
            ["out-of-range", "unknown-column"]
        );
    }

    #[test]
    fn what_cannot_be_squared_is_refused() {
        let features = format!("{CELL_FEATURES:?}");
        let model: Optics = params(&format!("{{features: {features}, min_points: 10}}"));
        crate::testing::refuses_what_cannot_be_squared(
            &model,
            &cells(false),
            CELL_FEATURES[0],
            true,
        );
    }
}
