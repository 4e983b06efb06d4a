//! `model.linfa.decision_tree`

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, FitContext, Frame, Label, Model, Predictor, Result, Schema, Shape, Stage, State,
    classifier, features, register_kind,
};

use crate::{
    class_weight::ClassWeight,
    random_forest::{Forest, Shares},
    records::{Features, Missing, is_learned},
    task::{self, Named, Task, Truth},
    tree::{self, Binned, Growth},
};

const VERSION: u32 = 1;

/// Learns classes or numbers by a tree of questions, each about one feature.
///
/// Each node asks the question that makes its two parts purest: the Gini criterion for classes, squared distances for numbers (Breiman
/// et al.: "Classification and Regression Trees", 1984). A leaf's answer is its training rows' share of each class, or their mean. No
/// scaling is needed, and a missing value is no error: each question learns on which side such rows belong.
///
/// Adds `prediction` and, for classes, `probability_<label>` and, of two, `score`. Rows count by the column with role `weight`. Trees
/// learn from histograms of at most 255 bins: linfa-trees 0.8.1 sorts all rows at every node and is several times slower than
/// scikit-learn.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DecisionTree {
    /// The columns to learn from: numbers, truth values, or arrays of numbers. Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The column to predict. Default: the column with role `target`.
    target: Option<String>,
    /// Whether the target is classes or numbers.
    #[serde(default)]
    task: Task,
    /// Of two classes, the one whose probability is the `score`. Default: `true`, else `1`, else the last label.
    positive: Option<Label>,
    /// How much the rows of each class count: `none`, `balanced`, or a weight for each label.
    #[serde(default)]
    class_weight: ClassWeight,
    /// Questions above a leaf, at most.
    #[serde(default = "six")]
    #[schemars(range(min = 1, max = 1000))]
    max_depth: usize,
    /// Leaves, at most; the best questions come first. Default: no limit.
    #[schemars(range(min = 2))]
    max_leaves: Option<usize>,
    /// Training rows in each leaf, at least.
    #[serde(default = "five")]
    #[schemars(range(min = 1))]
    min_samples_leaf: usize,
    /// What a question must lower the sum of squared distances by, at least.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    min_gain: f64,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

fn six() -> usize {
    6
}
fn five() -> usize {
    5
}

register_kind! {
    DecisionTree, "model.linfa.decision_tree", version: 1,
    example: "- model.linfa.decision_tree: {max_depth: 4, min_samples_leaf: 20}",
}

impl DecisionTree {
    fn named(&self) -> Named<'_> {
        Named {
            features: self.features.as_deref(),
            target: self.target.as_deref(),
            positive: self.positive.as_ref(),
            class_weight: Some(&self.class_weight),
            task: self.task,
        }
    }
}

impl Stage for DecisionTree {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        task::check(self.named(), inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for DecisionTree {
    fn features(&self, input: &Schema) -> Vec<String> {
        let target = self.target(input);
        features::names(
            self.features.as_deref(),
            target.as_deref(),
            input,
            is_learned,
        )
    }

    fn target(&self, input: &Schema) -> Option<String> {
        classifier::target_name(self.target.as_ref(), input)
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
        let truth = Truth::of(self.named(), self.target(&train.schema), train)?;
        let shares = Shares::of(&truth, &self.class_weight, train)?;
        let (features, records) =
            Features::fit_where(&train.data, self.features(&train.schema), Missing::Allowed)?;
        let binned = Binned::new(&records);
        let numbers: Vec<usize> = (0..binned.numbers()).collect();
        let growth = Growth {
            max_depth: self.max_depth,
            max_leaves: self.max_leaves.unwrap_or(usize::MAX),
            min_samples_leaf: self.min_samples_leaf,
            min_weight_leaf: 0.0,
            min_gain: self.min_gain,
            l2: 0.0,
            max_features: numbers.len(),
            numbers: &numbers,
            monotone: &[],
            in_parallel: true,
            cancellation: cx.cancellation,
        };
        // Every node looks at all features: nothing is left to chance.
        let mut generator = ChaCha8Rng::seed_from_u64(cx.seed);
        let rows = (0..binned.rows() as u32).collect();
        let grown = tree::grow(&binned, &shares.goals(), rows, growth, &mut generator)?;
        Forest::new(features, truth.target, vec![grown], cx).store(VERSION)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        Ok(Box::new(Forest::read(VERSION, state)?))
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::{Cancellation, Error, Role};

    use super::*;
    use crate::testing::{
        close, codes, graded, numbers_of, params, predict, roc_auc, root_mean_square, rounded,
        same_on_any_threads, shipped, thirds, tumours, values, with_column, with_roles,
    };

    /// Leaves of the tree that it learns, of rows of so many numbers.
    fn leaves(model: &DecisionTree, train: &Frame, numbers: usize, outputs: usize) -> usize {
        let state = model.fit(train, None, &mut FitContext::quiet(1));
        let trees = tree::read(&state.expect("a state"), numbers, outputs).expect("trees");
        trees[0].leaves()
    }

    /// tests/peers/tree_models.py: of weighted rows the leaves, the share of the last class on five rows and its sum over all, and
    /// the share of the rows to judge that is told right.
    #[test]
    fn shares_are_those_of_scikit_learn() {
        struct Peer {
            params: &'static str,
            numbers: usize,
            outputs: usize,
            leaves: usize,
            shares: [f64; 6],
            right: f64,
        }
        let peers = [
            Peer {
                params: "target: diagnosis, features: [mean_radius, mean_texture, mean_smoothness, mean_concave_points, worst_texture], \
                         max_depth: 4, min_samples_leaf: 20",
                numbers: 5,
                outputs: 1,
                leaves: 6,
                shares: [1.0, 0.384615385, 0.0, 0.0, 0.0759493671, 135.191761],
                right: 0.884_210_526,
            },
            Peer {
                params: "target: grade, task: classification, features: [mean_texture, mean_smoothness, mean_concave_points, worst_texture], \
                         max_depth: 6, min_samples_leaf: 10",
                numbers: 4,
                outputs: 3,
                leaves: 24,
                shares: [0.678571429, 1.0, 0.0, 0.0, 0.0, 113.112076],
                right: 0.715_789_474,
            },
        ];
        let (train, test) = (rounded(graded(false)), rounded(graded(true)));
        let train = with_roles(train, &[("count", Role::Weight)]);
        for peer in peers {
            let model: DecisionTree = params(&format!("{{{}}}", peer.params));
            assert_eq!(
                leaves(&model, &train, peer.numbers, peer.outputs),
                peer.leaves
            );
            let outputs = predict(&model, &train, &train.data).expect("outputs");
            let last = outputs.last().expect("a column").name().to_string();
            // Rows 1, 4, 58, 301 and 568 of all.
            let found = numbers_of(&outputs, &last);
            close(
                &[0, 2, 38, 200, 378].map(|row| found[row]),
                &peer.shares[..5],
                1e-8,
            );
            close(&[found.iter().sum::<f64>()], &peer.shares[5..], 1e-8);
            let outputs = predict(&model, &train, &test).expect("outputs");
            let target = model.target(&train.schema).expect("a target");
            let (found, truth) = (&outputs[0], test.column(&target).expect("a column"));
            let right = (0..test.height())
                .filter(|row| found.get(*row).expect("a row") == truth.get(*row).expect("a row"))
                .count();
            let share = right as f64 / test.height() as f64;
            // Between two values that the node has, cuts lie halfway; bins know those of all rows.
            assert!((share - peer.right).abs() < 0.011, "{share}");
        }
    }

    /// tests/peers/tree_models.py: where several cuts gain the same, the seed decides in scikit-learn; its trees have a ROC AUC of 0.9610
    /// to 0.9665.
    #[test]
    fn tells_tumours_apart_as_scikit_learn_does() {
        let (train, test) = thirds(&tumours());
        let train = with_roles(train, &[("diagnosis", Role::Target)]);
        let model: DecisionTree = params("{max_depth: 4, min_samples_leaf: 10}");
        let outputs = predict(&model, &train, &test).expect("outputs");
        let labels = test.column("diagnosis").expect("a column");
        let labels = labels.str().expect("text");
        let truth: Vec<bool> = labels.iter().map(|label| label == Some("M")).collect();
        let area = roc_auc(&numbers_of(&outputs, "score"), &truth);
        assert!(area > 0.955, "{area}");
    }

    /// tests/peers/tree_models.py: the leaves, what is said of five mixes and the sum over all that were learned from, and by how much
    /// the strength of the others is missed.
    #[test]
    fn means_are_those_of_scikit_learn() {
        struct Peer {
            params: &'static str,
            weighted: bool,
            leaves: usize,
            means: [f64; 6],
            away: f64,
        }
        let few = "{max_depth: 4, min_samples_leaf: 10}";
        let many = "{max_depth: 6, min_samples_leaf: 5}";
        let peers = [
            Peer {
                params: few,
                weighted: false,
                leaves: 16,
                means: [
                    61.52,
                    36.08294479,
                    36.08294479,
                    46.20530435,
                    30.04964912,
                    24549.09,
                ],
                away: 9.791766,
            },
            Peer {
                params: few,
                weighted: true,
                leaves: 16,
                means: [
                    61.5725,
                    36.01507463,
                    36.01507463,
                    46.28006993,
                    30.11286667,
                    24499.04297,
                ],
                away: 9.787402,
            },
            Peer {
                params: many,
                weighted: false,
                leaves: 46,
                means: [
                    60.20222222,
                    37.84770833,
                    47.20083333,
                    39.74870968,
                    32.62941176,
                    24549.09,
                ],
                away: 8.597783,
            },
            Peer {
                params: many,
                weighted: true,
                leaves: 47,
                means: [
                    60.35636364,
                    37.97730435,
                    47.04193548,
                    39.81551948,
                    32.82304348,
                    24510.11558,
                ],
                away: 8.555254,
            },
        ];
        let all = shipped("manufacturing/concrete.csv");
        let counts = (0..all.height())
            .map(|row| 1.0 + (row % 3) as f64)
            .collect();
        let (train, test) = thirds(&with_column(all, "count", counts));
        for peer in peers {
            let role = if peer.weighted {
                Role::Weight
            } else {
                Role::Ignore
            };
            let train = with_roles(
                train.clone(),
                &[("compressive_strength", Role::Target), ("count", role)],
            );
            let model: DecisionTree = params(peer.params);
            assert_eq!(leaves(&model, &train, 8, 1), peer.leaves);
            let outputs = predict(&model, &train, &train.data).expect("outputs");
            // Rows 1, 4, 58, 301 and 1028 of all.
            let found = numbers_of(&outputs, "prediction");
            close(
                &[0, 2, 38, 200, 685].map(|row| found[row]),
                &peer.means[..5],
                1e-8,
            );
            close(&[found.iter().sum::<f64>()], &peer.means[5..], 1e-8);
            let outputs = predict(&model, &train, &test).expect("outputs");
            let away = root_mean_square(
                &numbers_of(&outputs, "prediction"),
                &values(&test, "compressive_strength"),
            );
            // Some mixes lie between two values that a node has, where bins cut elsewhere.
            assert!((away / peer.away - 1.0).abs() < 0.01, "{away}");
        }
    }

    #[test]
    fn numbers_have_no_weights_of_classes() {
        let data = df!("size" => [1.0, 2.0], "price" => [1.5, 2.5]).expect("a frame");
        let train = with_roles(data, &[("price", Role::Target)]);
        let model: DecisionTree = params("{class_weight: balanced}");
        assert_eq!(codes(&model, &train.schema), ["unused-param"]);
    }

    #[test]
    fn shares_of_a_leaf_are_its_answer() {
        let data =
            df!("size" => [1.0, 1.0, 1.0, 1.0, 2.0, 2.0], "kind" => ["a", "a", "a", "b", "b", "b"])
                .expect("a frame");
        let train = with_roles(data, &[("kind", Role::Target)]);
        let model: DecisionTree = params("{min_samples_leaf: 1}");
        let rows = df!("size" => [0.0, 5.0]).expect("a frame");
        let outputs = predict(&model, &train, &rows).expect("outputs");
        close(&numbers_of(&outputs, "probability_a"), &[0.75, 0.0], 1e-12);
        close(&numbers_of(&outputs, "score"), &[0.25, 1.0], 1e-12);
        let model: DecisionTree = params("{min_samples_leaf: 1, class_weight: {b: 3}}");
        let outputs = predict(&model, &train, &rows).expect("outputs");
        close(&numbers_of(&outputs, "probability_a"), &[0.5, 0.0], 1e-12);
    }

    #[test]
    fn three_classes_and_a_depth_of_one() {
        let data = df!("size" => [1, 2, 3, 4, 5, 6], "kind" => ["a", "a", "b", "b", "c", "c"])
            .expect("a frame");
        let train = with_roles(data, &[("kind", Role::Target)]);
        let rows = df!("size" => [1, 6]).expect("a frame");
        let model: DecisionTree = params("{min_samples_leaf: 1}");
        let outputs = predict(&model, &train, &rows).expect("outputs");
        close(&numbers_of(&outputs, "probability_c"), &[0.0, 1.0], 1e-12);
        let model: DecisionTree = params("{min_samples_leaf: 1, max_depth: 1}");
        let outputs = predict(&model, &train, &rows).expect("outputs");
        close(&numbers_of(&outputs, "probability_b"), &[0.0, 0.5], 1e-12);
    }

    #[test]
    fn it_ends_when_asked_and_threads_do_not_change_a_bit() {
        let train = with_roles(tumours(), &[("diagnosis", Role::Target)]);
        let model: DecisionTree = params("{min_samples_leaf: 1}");
        same_on_any_threads(&model, &train);
        let cancellation = Cancellation::default();
        cancellation.cancel();
        let mut cx = FitContext {
            cancellation: &cancellation,
            ..FitContext::quiet(1)
        };
        let fitted = model.fit(&train, None, &mut cx);
        assert!(matches!(fitted, Err(Error::Interrupted)));
    }

    #[test]
    fn means_of_leaves_are_weighted() {
        let data =
            df!("size" => [1.0, 1.0, 2.0], "price" => [10.0, 40.0, 7.0], "times" => [2, 1, 1])
                .expect("a frame");
        let train = with_roles(data, &[("price", Role::Target), ("times", Role::Weight)]);
        let rows = df!("size" => [1.0, 2.0]).expect("a frame");
        let model: DecisionTree = params("{min_samples_leaf: 1}");
        let outputs = predict(&model, &train, &rows).expect("outputs");
        close(&numbers_of(&outputs, "prediction"), &[20.0, 7.0], 1e-12);
    }
}
