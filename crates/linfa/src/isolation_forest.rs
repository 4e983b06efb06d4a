//! `model.anomaly.isolation_forest`

use std::collections::BTreeSet;

use ndarray::{Array2, ArrayView1};
use polars::prelude::{Column as PolarsColumn, DataFrame};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, FitContext, Frame, Model, Predictor, Result, Schema, Shape, Stage, State,
    TensorData,
    anomaly::{self, Scale, default_contamination},
    features, register_kind,
};

use crate::{
    records::{Features, is_learned},
    steps::Steps,
};

const VERSION: u32 = 1;

/// Finds rows that are few and different: random cuts set them apart from the others after fewer steps.
///
/// Each tree takes a sample of the training rows and cuts it at a random value of a random column, again and again; the fewer cuts it
/// takes on average until a row is alone, the stranger it is (Liu, Ting, Zhou: "Isolation Forest", ICDM 2008). No target is
/// learned; no scaling is needed.
///
/// Adds `prediction` (true: anomalous) and `score`, the share of training rows that are less anomalous: 0.99 is stranger than 99 % of
/// them. All models of anomalies share this scale. All rows count the same, whatever a column with role `weight` holds. The same seed
/// gives the same forest. A missing value in a feature is an error.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct IsolationForest {
    /// The columns to look at: numbers, truth values, or arrays of numbers. Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The share of rows that are taken for anomalous: a row is where its score exceeds one minus this.
    #[serde(default = "default_contamination")]
    #[schemars(range(min = 0.0, max = 0.5))]
    contamination: f64,
    /// How many trees.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 100_000))]
    trees: usize,
    /// Training rows in each tree's sample, at most.
    #[serde(default = "sample_size")]
    #[schemars(range(min = 2, max = 1_000_000))]
    sample: usize,
    /// Decides samples and cuts; the pipeline's seed, where not given.
    seed: Option<u64>,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

fn hundred() -> usize {
    100
}

fn sample_size() -> usize {
    256
}

register_kind! {
    IsolationForest, "model.anomaly.isolation_forest", version: 1,
    example: "- model.anomaly.isolation_forest: {contamination: 0.02, trees: 200}",
}

impl Stage for IsolationForest {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        features::check(self.features.as_deref(), None, input, is_learned, cx);
        anomaly::with_outputs(input, Vec::new(), cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for IsolationForest {
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
        let (features, records) = Features::fit(&train.data, self.features(&train.schema))?;
        // Rows side by side: a tree walks along rows.
        let records = records.as_standard_layout().into_owned();
        let sample = self.sample.min(records.nrows());
        let seed = self.seed.unwrap_or(cx.seed);
        let steps = Steps::new(cx, self.trees, "trees");
        let trees = (0..self.trees)
            .into_par_iter()
            .map(|tree| {
                cx.cancellation.check()?;
                // A stream for each tree: the forest is the same on any number of threads.
                let mut generator = ChaCha8Rng::seed_from_u64(seed);
                generator.set_stream(tree as u64);
                let tree = Tree::grow(&records, sample, &mut generator);
                steps.add(1);
                Ok(tree)
            })
            .collect::<Result<Vec<_>>>()?;
        let forest = Forest {
            trees,
            sample,
            numbers: features.numbers(),
        };
        let scale = Scale::learn(forest.measures(&records))?;
        let learned = Learned {
            features,
            scale,
            contamination: self.contamination,
            sample,
        };
        Ok(forest.store(State::from_data(VERSION, &learned)?))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        let forest = Forest::read(state, learned.sample, learned.features.numbers())?;
        Ok(Box::new(IsolationPredictor { learned, forest }))
    }
}

/// The JSON part of the fitted state.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    #[serde(flatten)]
    features: Features,
    scale: Scale,
    contamination: f64,
    sample: usize,
}

struct IsolationPredictor {
    learned: Learned,
    forest: Forest,
}

impl Predictor for IsolationPredictor {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let records = self.learned.features.matrix(batch)?;
        let records = records.as_standard_layout().into_owned();
        let measures = self.forest.measures(&records);
        Ok(self
            .learned
            .scale
            .columns(&measures, self.learned.contamination))
    }
}

/// A node: a cut, or a leaf.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    /// The place of the number that is cut; none in a leaf.
    number: Option<usize>,
    /// Rows below it go to the first child.
    cut: f64,
    /// The first child; the second is the next node.
    child: usize,
    /// Cuts from the root to here, and in a leaf what the rows left in it would still take.
    path: f64,
}

/// A tree, the root first.
#[derive(Debug, Clone, PartialEq)]
struct Tree(Vec<Node>);

impl Tree {
    /// Cuts a sample until each row is alone or as many cuts are made as a balanced tree would need.
    fn grow(records: &Array2<f64>, sample: usize, generator: &mut ChaCha8Rng) -> Self {
        let deepest = (sample as f64).log2().ceil() as usize;
        let rows = choose(records.nrows(), sample, generator);
        let leaf = |rows: &[usize], depth: usize| Node {
            number: None,
            cut: 0.0,
            child: 0,
            path: depth as f64 + expected_path(rows.len()),
        };
        let mut nodes = vec![leaf(&rows, 0)];
        let mut open = vec![(0, rows, 0)];
        while let Some((place, rows, depth)) = open.pop() {
            let Some((number, low, high)) = (depth < deepest)
                .then(|| cuttable(records, &rows, generator))
                .flatten()
            else {
                continue;
            };
            let cut = low + (high - low) * generator.random::<f64>();
            // Rounding may give `low` itself, which would set no row apart.
            let cut = if cut > low { cut } else { high };
            let (below, above): (Vec<usize>, Vec<usize>) =
                rows.iter().partition(|row| records[[**row, number]] < cut);
            let child = nodes.len();
            nodes[place] = Node {
                number: Some(number),
                cut,
                child,
                path: depth as f64,
            };
            nodes.push(leaf(&below, depth + 1));
            nodes.push(leaf(&above, depth + 1));
            open.push((child, below, depth + 1));
            open.push((child + 1, above, depth + 1));
        }
        Self(nodes)
    }

    fn path(&self, row: ArrayView1<'_, f64>) -> f64 {
        let mut node = &self.0[0];
        while let Some(number) = node.number {
            node = &self.0[node.child + usize::from(row[number] >= node.cut)];
        }
        node.path
    }
}

/// So many of the rows, each at most once.
fn choose(rows: usize, sample: usize, generator: &mut ChaCha8Rng) -> Vec<usize> {
    if sample >= rows {
        return (0..rows).collect();
    }
    // Floyd's method: as many draws as rows wanted.
    let mut chosen = BTreeSet::new();
    for last in rows - sample..rows {
        let row = generator.random_range(0..=last);
        if !chosen.insert(row) {
            chosen.insert(last);
        }
    }
    chosen.into_iter().collect()
}

/// A number that is not the same in all these rows, chosen at random, with its least and greatest value.
fn cuttable(
    records: &Array2<f64>,
    rows: &[usize],
    generator: &mut ChaCha8Rng,
) -> Option<(usize, f64, f64)> {
    if rows.len() < 2 {
        return None;
    }
    let bounds = |number: usize| {
        rows.iter().fold(
            (f64::INFINITY, f64::NEG_INFINITY),
            |(low, high): (f64, f64), row| {
                let value = records[[*row, number]];
                (low.min(value), high.max(value))
            },
        )
    };
    // Mostly the first one tried can be cut; only where it cannot are the others looked at.
    let mut numbers: Vec<usize> = (0..records.ncols()).collect();
    while !numbers.is_empty() {
        let number = numbers.swap_remove(generator.random_range(0..numbers.len()));
        let (low, high) = bounds(number);
        if low < high {
            return Some((number, low, high));
        }
    }
    None
}

/// The mean depth at which a search in a binary tree of so many rows ends without finding: c(n) of the paper.
fn expected_path(rows: usize) -> f64 {
    const EULER: f64 = 0.577_215_664_901_532_9;
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        rows => {
            let others = rows as f64 - 1.0;
            2.0 * (others.ln() + EULER) - 2.0 * others / rows as f64
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Forest {
    trees: Vec<Tree>,
    /// Rows in each tree's sample.
    sample: usize,
    /// Numbers that a row gives.
    numbers: usize,
}

impl Forest {
    /// The anomaly score of the paper, 2^(-E(h)/c(n)), of each row; the records' rows are contiguous.
    fn measures(&self, records: &Array2<f64>) -> Vec<f64> {
        let normal = expected_path(self.sample).max(f64::MIN_POSITIVE);
        (0..records.nrows())
            .into_par_iter()
            .map(|row| {
                let row = records.row(row);
                let total: f64 = self.trees.iter().map(|tree| tree.path(row)).sum();
                (-(total / self.trees.len() as f64) / normal).exp2()
            })
            .collect()
    }

    fn store(&self, state: State) -> State {
        let nodes = || self.trees.iter().flat_map(|tree| &tree.0);
        let whole = |of: &dyn Fn(&Node) -> i64| TensorData::I64(nodes().map(of).collect());
        let real = |of: &dyn Fn(&Node) -> f64| TensorData::F64(nodes().map(of).collect());
        let count = vec![nodes().count()];
        let sizes = self.trees.iter().map(|tree| tree.0.len() as i64).collect();
        state
            .with_tensor("sizes", vec![self.trees.len()], TensorData::I64(sizes))
            .with_tensor(
                "numbers",
                count.clone(),
                whole(&|node| node.number.map_or(-1, |number| number as i64)),
            )
            .with_tensor("cuts", count.clone(), real(&|node| node.cut))
            .with_tensor("children", count.clone(), whole(&|node| node.child as i64))
            .with_tensor("paths", count, real(&|node| node.path))
    }

    fn read(state: &State, sample: usize, numbers: usize) -> Result<Self> {
        let damaged =
            || Error::State("the trees of an isolation forest do not fit together".into());
        let whole = |name: &str| match &state.tensor(name)?.data {
            TensorData::I64(values) => Ok(values),
            _ => Err(damaged()),
        };
        let real = |name: &str| match &state.tensor(name)?.data {
            TensorData::F64(values) => Ok(values),
            _ => Err(damaged()),
        };
        let (sizes, places, children) = (whole("sizes")?, whole("numbers")?, whole("children")?);
        let (cuts, paths) = (real("cuts")?, real("paths")?);
        let count = places.len();
        let total: i64 = sizes.iter().sum();
        if sizes.is_empty()
            || sizes.iter().any(|size| *size < 1)
            || total != count as i64
            || [children.len(), cuts.len(), paths.len()] != [count; 3]
        {
            return Err(damaged());
        }
        let mut start = 0;
        let mut trees = Vec::with_capacity(sizes.len());
        for size in sizes {
            let end = start + *size as usize;
            let mut nodes = Vec::with_capacity(end - start);
            for place in start..end {
                let number = usize::try_from(places[place]).ok();
                let child = usize::try_from(children[place]).map_err(|_| damaged())?;
                // Children come after their parent, so that every walk ends.
                let fits = number.is_none_or(|number| {
                    number < numbers && child > place - start && child + 1 < end - start
                });
                if !fits {
                    return Err(damaged());
                }
                nodes.push(Node {
                    number,
                    cut: cuts[place],
                    child,
                    path: paths[place],
                });
            }
            trees.push(Tree(nodes));
            start = end;
        }
        Ok(Self {
            trees,
            sample,
            numbers,
        })
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{CsvReader, SerReader, df};
    use taktline_core::serde_yaml;

    use super::*;

    fn model(params: &str) -> IsolationForest {
        serde_yaml::from_str(params).expect("params")
    }

    fn frame(data: DataFrame) -> Frame {
        let schema = Schema::from_polars(data.schema());
        Frame { data, schema }
    }

    /// Rows on a ring, and one in its middle.
    fn ring() -> DataFrame {
        let angles: Vec<f64> = (0..400).map(|row| f64::from(row) * 0.1).collect();
        let mut across: Vec<f64> = angles.iter().map(|angle| 5.0 * angle.cos()).collect();
        let mut along: Vec<f64> = angles.iter().map(|angle| 5.0 * angle.sin()).collect();
        across.push(30.0);
        along.push(-30.0);
        df!("across" => across, "along" => along).expect("a frame")
    }

    #[test]
    fn a_row_far_from_all_others_is_the_strangest() {
        let model = model("{contamination: 0.005, seed: 3}");
        let train = frame(ring());
        let state = model
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("a forest");
        let state = State::from_bytes(&state.to_bytes().expect("bytes")).expect("a state");
        let outputs = model
            .load(&state)
            .expect("a predictor")
            .predict(&train.data)
            .expect("scores");
        let scores: Vec<f64> = outputs[1].f64().expect("f64").iter().flatten().collect();
        let strangest = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        assert_eq!(strangest, Some(400));
        let flagged = outputs[0].bool().expect("bool");
        assert_eq!(flagged.get(400), Some(true));
        assert!(flagged.sum().expect("rows") <= 3);
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
        let train = frame(ring());
        let bytes = |params: &str| {
            let state = model(params)
                .fit(&train, None, &mut FitContext::quiet(1))
                .expect("a forest");
            state.to_bytes().expect("bytes")
        };
        assert_eq!(bytes("{seed: 3}"), bytes("{seed: 3}"));
        assert_ne!(bytes("{seed: 3}"), bytes("{seed: 4}"));
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        crate::testing::same_on_any_threads(&model("{trees: 20}"), &frame(ring()));
    }

    #[test]
    fn the_expected_path_is_that_of_the_paper() {
        assert_eq!(expected_path(1), 0.0);
        assert_eq!(expected_path(2), 1.0);
        // 2 (ln 255 + 0.5772156649) - 2 * 255 / 256.
        assert!((expected_path(256) - 10.244_770_920_116_851).abs() < 1e-9);
    }

    #[test]
    fn a_forest_of_equal_rows_finds_nothing_strange() {
        let train = frame(df!("across" => [2.0; 50]).expect("a frame"));
        let model = model("{trees: 10}");
        let state = model
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("a forest");
        let outputs = model
            .load(&state)
            .expect("a predictor")
            .predict(&train.data)
            .expect("scores");
        assert!(
            outputs[1]
                .f64()
                .expect("f64")
                .iter()
                .flatten()
                .all(|score| score == 0.5)
        );
    }

    #[test]
    fn a_damaged_state_is_refused() {
        let train = frame(ring());
        let model = model("{trees: 2}");
        let mut state = model
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("a forest");
        let children = state.tensors.get_mut("children").expect("a tensor");
        if let TensorData::I64(values) = &mut children.data {
            values[0] = 0;
        }
        assert!(model.load(&state).is_err());
    }

    /// tests/peers/isolation_forest.py: scikit-learn's forest of 200 trees reaches a ROC AUC of 0.768 to 0.790 with
    /// seeds 0 to 4, malignant tumours taken for the anomalous ones.
    #[test]
    fn tells_tumours_apart_as_scikit_learn_does() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../datasets/medical/wdbc.csv"
        );
        let file = std::fs::File::open(path).expect("the data set");
        let all = CsvReader::new(file).finish().expect("a frame");
        let is_malignant: Vec<bool> = all
            .column("diagnosis")
            .expect("a column")
            .str()
            .expect("text")
            .iter()
            .map(|label| label == Some("M"))
            .collect();
        let train = frame(all.drop("diagnosis").expect("a frame"));
        let area = |seed: u64| {
            let model = model(&format!("{{trees: 200, seed: {seed}}}"));
            let state = model
                .fit(&train, None, &mut FitContext::quiet(1))
                .expect("a forest");
            let outputs = model
                .load(&state)
                .expect("a predictor")
                .predict(&train.data)
                .expect("scores");
            let scores: Vec<f64> = outputs[1].f64().expect("f64").iter().flatten().collect();
            let of = |malignant: bool| {
                let rows = scores.iter().zip(&is_malignant);
                rows.filter(move |(_, is)| **is == malignant)
                    .map(|(score, _)| *score)
            };
            let right: f64 = of(true)
                .flat_map(|high| of(false).map(move |low| (high, low)))
                .map(|(high, low)| match high.total_cmp(&low) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                })
                .sum();
            right / (of(true).count() * of(false).count()) as f64
        };
        let areas: Vec<f64> = (0..5).map(area).collect();
        let mean = areas.iter().sum::<f64>() / 5.0;
        assert!((mean - 0.7823).abs() < 0.02, "{areas:?}");
    }
}
