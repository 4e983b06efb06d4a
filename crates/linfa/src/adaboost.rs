//! `model.linfa.adaboost`

use ndarray::{Array2, Axis};
use polars::prelude::{Column as PolarsColumn, DataFrame};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, FitContext, Frame, Label, Model, Predictor, ProgressEvent, Result, Round,
    Schema, Shape, Stage, State, TensorData, classifier, counted, features, register_kind,
};

use crate::{
    class_weight::ClassWeight,
    labels::{Classifier, Labels},
    linear::{check_total, weight_of},
    random_forest::importance,
    records::{Features, Missing, Rows, is_learned, numbers, row_weights},
    tree::{self, Binned, Goals, Growth, Tree, Walk},
};

const VERSION: u32 = 1;
/// A share of nothing counts as this, so that it has a logarithm.
const LEAST_SHARE: f64 = f64::EPSILON;

/// Learns classes by many shallow trees, each of which looks most at the rows that those before it got wrong.
///
/// With `algorithm: samme` each tree has a vote, the weightier the fewer rows it gets wrong, and rows that it gets wrong count more
/// for the next (Freund and Schapire, 1997; for more than two classes Zhu, Zou, Rosset and Hastie: "Multi-class AdaBoost", 2009). With
/// `samme_r` each tree says how likely each class is and the logarithms are added up (algorithm 4 in the preprint of that paper), which
/// often takes fewer rounds and gives probabilities that differ from row to row. Either way the probabilities are a logistic
/// function of the votes: they put rows in order, but are no frequencies; put `model.calibrate` around where these are needed. No
/// scaling is needed, and a missing value is no error: each cut learns on which side such rows belong. Where no cut tells the classes
/// apart, each row gets the classes' shares.
///
/// Adds `prediction`, `probability_<label>` and, of two classes, `score`. Rows count by the column with role `weight`. The features'
/// shares in what the cuts gained are kept in the state, and shown by an evaluation below. The same data gives the same trees on any
/// number of cores.
///
/// `samme` is scikit-learn's `AdaBoostClassifier`. Trees learn from histograms (see `model.boost.trees`): those of linfa-trees 0.8.1 are
/// several times slower than scikit-learn's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AdaBoost {
    /// The columns to learn from: numbers, truth values, or arrays of numbers. Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The column to predict. Default: the column with role `target`.
    target: Option<String>,
    /// Of two classes, the one whose probability is the `score`. Default: `true`, else `1`, else the last label.
    positive: Option<Label>,
    /// How much the rows of each class count at first: `none`, `balanced`, or a weight for each label.
    #[serde(default)]
    class_weight: ClassWeight,
    /// What trees say, and how it is added up.
    #[serde(default)]
    algorithm: Algorithm,
    /// How many trees, at most: learning ends early where a tree gets no row wrong, or no more right than chance.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 100_000))]
    rounds: usize,
    /// How much each tree's vote counts; a lower rate takes more rounds.
    #[serde(default = "whole")]
    #[schemars(range(min = 1e-6, max = 10.0))]
    learning_rate: f64,
    /// Cuts above a leaf of a tree, at most.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    max_depth: usize,
    /// Training rows in each leaf, at least.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    min_samples_leaf: usize,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

/// What trees say, and how it is added up.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Algorithm {
    /// A class each, by weighted vote.
    #[default]
    Samme,
    /// How likely each class is, by the sum of logarithms.
    SammeR,
}

fn fifty() -> usize {
    50
}
fn one() -> usize {
    1
}
fn whole() -> f64 {
    1.0
}

register_kind! {
    AdaBoost, "model.linfa.adaboost", version: 2,
    example: "- model.linfa.adaboost: {rounds: 100, max_depth: 2, class_weight: balanced}",
}

impl Stage for AdaBoost {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        Classifier {
            features: self.features.as_deref(),
            target: self.target.as_deref(),
            class_weight: &self.class_weight,
            positive: self.positive.as_ref(),
        }
        .check(inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for AdaBoost {
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
        let (labels, codes) =
            Labels::fit(train, self.target(&train.schema), self.positive.as_ref())?;
        let of_rows = row_weights(train)?;
        check_total(of_rows.as_ref())?;
        let of_classes = self
            .class_weight
            .of_each(&labels.classes, &codes, of_rows.as_ref())?;
        let (features, records) =
            Features::fit_where(&train.data, self.features(&train.schema), Missing::Allowed)?;
        let weights: Vec<f64> = codes
            .iter()
            .enumerate()
            .map(|(row, code)| weight_of(of_rows.as_ref(), row) * of_classes[*code as usize])
            .collect();
        if weights.iter().sum::<f64>() <= 0.0 {
            return Err(Error::data("every training row has the weight 0"));
        }
        let booster = Booster {
            settings: self,
            binned: Binned::new(&records),
            // Rows side by side: a tree walks along rows.
            records: Rows::of(&records),
            classes: labels.classes.len(),
            codes,
            cx,
        };
        let boosted = booster.boost(weights)?;
        cx.progress.event(ProgressEvent::Message(format!(
            "`{}` keeps {}",
            cx.stage,
            counted(boosted.trees.len(), "tree")
        )));
        let learned = Learned {
            importance: importance(&features, &boosted.gains, cx),
            features,
            labels,
            algorithm: self.algorithm,
            history: boosted
                .errors
                .iter()
                .map(|error| Round::from([("error".to_owned(), *error)]))
                .collect(),
        };
        let state = tree::store(&boosted.trees, State::from_data(VERSION, &learned)?);
        let votes = TensorData::F64(boosted.votes);
        Ok(state.with_tensor("votes", vec![boosted.trees.len()], votes))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        learned.labels.check()?;
        let classes = learned.labels.classes.len();
        let outputs = if classes == 2 { 1 } else { classes };
        let trees = tree::read(state, learned.features.numbers(), outputs)?;
        let votes = numbers(state.tensor("votes")?, &[trees.len()])?;
        if trees.is_empty() || classes < 2 {
            return Err(Error::State("there are no trees or classes".into()));
        }
        Ok(Box::new(AdaBoostPredictor {
            learned,
            trees: trees.iter().map(Walk::of).collect(),
            votes,
        }))
    }
}

/// The JSON part of the fitted state.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    #[serde(flatten)]
    features: Features,
    #[serde(flatten)]
    labels: Labels,
    algorithm: Algorithm,
    /// The share of each feature in what the cuts gained, greatest first.
    importance: Vec<(String, f64)>,
    /// What each round came to: the share of the weight that its tree gets wrong.
    history: Vec<Round>,
}

struct AdaBoostPredictor {
    learned: Learned,
    trees: Vec<Walk>,
    /// How much each tree's vote counts.
    votes: Vec<f64>,
}

impl Predictor for AdaBoostPredictor {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let records = self.learned.features.rows_where(batch, Missing::Allowed)?;
        let classes = self.learned.labels.classes.len();
        let total: f64 = self.votes.iter().sum();
        // A vote would be sure of the most frequent class, and nothing speaks for it but its share.
        let uncut = match self.trees.as_slice() {
            [tree] if tree.is_uncut() => Some(tree),
            _ => None,
        };
        let mut found = Array2::<f64>::zeros((records.len(), classes));
        found
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .enumerate()
            .for_each(|(row, mut answer)| {
                let mut shares = vec![0.0; classes];
                if let Some(tree) = uncut {
                    spread(tree.leaf(records.row(row)), &mut shares);
                    for (found, share) in answer.iter_mut().zip(&shares) {
                        *found = *share;
                    }
                    return;
                }
                for (tree, vote) in self.trees.iter().zip(&self.votes) {
                    spread(tree.leaf(records.row(row)), &mut shares);
                    say(self.learned.algorithm, &mut shares);
                    for (sum, said) in answer.iter_mut().zip(&shares) {
                        *sum += vote * said;
                    }
                }
                // Equation 15 of the paper, of the votes' mean as in scikit-learn.
                answer /= total * (classes as f64 - 1.0);
                let greatest = answer.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                answer.mapv_inplace(|decision| (decision - greatest).exp());
                let sum = answer.sum();
                answer /= sum;
            });
        self.learned.labels.columns(&found)
    }
}

/// The share of each class in a leaf, which keeps only that of the second of two.
fn spread(leaf: &[f64], shares: &mut [f64]) {
    match (leaf, &mut *shares) {
        ([second], [of_first, of_second]) => {
            *of_second = second.clamp(0.0, 1.0);
            *of_first = 1.0 - *of_second;
        }
        _ => {
            for (share, value) in shares.iter_mut().zip(leaf) {
                *share = value.clamp(0.0, 1.0);
            }
        }
    }
}

/// The likeliest class, the first of equally likely ones.
fn likeliest(shares: &[f64]) -> usize {
    (0..shares.len()).fold(0, |best, class| {
        if shares[class] > shares[best] {
            class
        } else {
            best
        }
    })
}

/// What a tree says of each class, all of it adding up to 0.
fn say(algorithm: Algorithm, shares: &mut [f64]) {
    let others = shares.len() as f64 - 1.0;
    match algorithm {
        Algorithm::Samme => {
            let meant = likeliest(shares);
            shares.fill(-1.0 / others);
            shares[meant] = 1.0;
        }
        Algorithm::SammeR => {
            for share in shares.iter_mut() {
                *share = share.max(LEAST_SHARE).ln();
            }
            let mean = shares.iter().sum::<f64>() / shares.len() as f64;
            for share in shares.iter_mut() {
                *share = others * (*share - mean);
            }
        }
    }
}

struct Booster<'a> {
    settings: &'a AdaBoost,
    binned: Binned,
    records: Rows,
    classes: usize,
    codes: Vec<u32>,
    cx: &'a FitContext<'a>,
}

/// What boosting came to.
#[derive(Default)]
struct Boosted {
    trees: Vec<Tree>,
    votes: Vec<f64>,
    /// What the cuts of each number gained, by the trees' votes.
    gains: Vec<f64>,
    /// The share of the weight that each tree gets wrong.
    errors: Vec<f64>,
}

impl Booster<'_> {
    fn boost(&self, mut weights: Vec<f64>) -> Result<Boosted> {
        let mut boosted = Boosted {
            gains: vec![0.0; self.binned.numbers()],
            ..Boosted::default()
        };
        let others = self.classes as f64 - 1.0;
        for round in 0..self.settings.rounds {
            self.cx.cancellation.check()?;
            let total: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= total);
            let (tree, gains) = self.tree(&weights)?;
            let walk = Walk::of(&tree);
            let said: Vec<Vec<f64>> = (0..self.binned.rows())
                .into_par_iter()
                .map(|row| {
                    let mut shares = vec![0.0; self.classes];
                    spread(walk.leaf(self.records.row(row)), &mut shares);
                    shares
                })
                .collect();
            let is_wrong = |row: usize| likeliest(&said[row]) != self.codes[row] as usize;
            let error: f64 = (0..weights.len())
                .filter(|row| is_wrong(*row))
                .map(|row| weights[row])
                .sum();
            self.cx.progress.event(ProgressEvent::Step {
                done: round as u64 + 1,
                total: self.settings.rounds as u64,
                unit: "rounds",
            });
            // The first tree is kept even where it is no better than chance: there has to be an answer.
            let is_chance =
                self.settings.algorithm == Algorithm::Samme && error >= 1.0 - 1.0 / (others + 1.0);
            if is_chance && !boosted.trees.is_empty() {
                break;
            }
            // Other weights of the classes make no cut either.
            let is_uncut = walk.is_uncut() && boosted.trees.is_empty();
            let vote = match self.settings.algorithm {
                Algorithm::SammeR => 1.0,
                Algorithm::Samme if error <= 0.0 || is_chance => 1.0,
                Algorithm::Samme => {
                    self.settings.learning_rate * (((1.0 - error) / error).ln() + others.ln())
                }
            };
            boosted.trees.push(tree);
            boosted.votes.push(vote);
            boosted.errors.push(error);
            let gained: f64 = gains.iter().sum();
            if gained > 0.0 {
                for (sum, gain) in boosted.gains.iter_mut().zip(&gains) {
                    *sum += vote * gain / gained;
                }
            }
            if error <= 0.0 || is_chance || is_uncut {
                break;
            }
            for (row, weight) in weights.iter_mut().enumerate() {
                match self.settings.algorithm {
                    Algorithm::Samme if is_wrong(row) => *weight *= vote.exp(),
                    Algorithm::Samme => {}
                    Algorithm::SammeR => {
                        // The code of the paper: 1 for the row's class, -1/(K-1) for each other.
                        let class = self.codes[row] as usize;
                        let product: f64 = said[row]
                            .iter()
                            .enumerate()
                            .map(|(other, share)| {
                                let code = if other == class { 1.0 } else { -1.0 / others };
                                code * share.max(LEAST_SHARE).ln()
                            })
                            .sum();
                        let step = self.settings.learning_rate * others / (others + 1.0);
                        *weight *= (-step * product).exp();
                    }
                }
            }
            let total: f64 = weights.iter().sum();
            if total <= 0.0 || !total.is_finite() {
                break;
            }
        }
        Ok(boosted)
    }

    /// A tree of rows that count by these weights, and what the cuts of each number gained.
    fn tree(&self, weights: &[f64]) -> Result<(Tree, Vec<f64>)> {
        let outputs = if self.classes == 2 { 1 } else { self.classes };
        let mut sums = vec![0.0; weights.len() * outputs];
        for (row, (weight, code)) in weights.iter().zip(&self.codes).enumerate() {
            match self.classes {
                2 => sums[row] = weight * f64::from(*code),
                _ => sums[row * outputs + *code as usize] = *weight,
            }
        }
        let goals = Goals {
            sums: &sums,
            weights,
            outputs,
        };
        let numbers: Vec<usize> = (0..self.binned.numbers()).collect();
        let growth = Growth {
            max_depth: self.settings.max_depth,
            max_leaves: usize::MAX,
            min_samples_leaf: self.settings.min_samples_leaf,
            min_weight_leaf: 0.0,
            min_gain: 0.0,
            l2: 0.0,
            max_features: numbers.len(),
            numbers: &numbers,
            monotone: &[],
            in_parallel: true,
            cancellation: self.cx.cancellation,
        };
        // Every node looks at all features: nothing is left to chance.
        let mut generator = ChaCha8Rng::seed_from_u64(self.cx.seed);
        let rows = (0..self.binned.rows() as u32).collect();
        let grown = tree::grow(&self.binned, &goals, rows, growth, &mut generator)?;
        let gains = grown.gains.clone();
        Ok((grown.tree, gains))
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::Role;

    use super::*;
    use crate::testing::{
        check, close, graded, numbers_of, params, predict, refusal, roc_auc, rounded,
        same_on_any_threads, tumours, with_roles,
    };

    #[test]
    fn votes_are_those_of_the_definition() {
        // The best stump gets one row of five wrong: a vote of ln 4. That row then counts as much as the other four together.
        let data =
            df!("size" => [1, 2, 3, 4, 5], "kind" => ["a", "a", "b", "b", "a"]).expect("a frame");
        let train = with_roles(data, &[("kind", Role::Target)]);
        let model: AdaBoost = params("{rounds: 2}");
        let state = model
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("a state");
        let votes = numbers(state.tensor("votes").expect("a tensor"), &[2]).expect("votes");
        // The second stump sets the fifth row apart and gets two of the others wrong, a quarter of the weight.
        close(&votes, &[4.0_f64.ln(), 3.0_f64.ln()], 1e-12);
        let outputs =
            predict(&params::<AdaBoost>("{rounds: 1}"), &train, &train.data).expect("outputs");
        // One vote: 1 for the class, -1 for the other.
        let sure = 1.0 / (1.0 + (-2.0_f64).exp());
        let unsure = 1.0 - sure;
        close(
            &numbers_of(&outputs, "probability_a"),
            &[sure, sure, unsure, unsure, unsure],
            1e-12,
        );
    }

    #[test]
    fn a_perfect_tree_ends_it() {
        let data = df!("size" => [1, 2, 3, 4], "kind" => ["a", "a", "b", "b"]).expect("a frame");
        let train = with_roles(data, &[("kind", Role::Target)]);
        for algorithm in ["samme", "samme_r"] {
            let model: AdaBoost = params(&format!("{{algorithm: {algorithm}}}"));
            let state = model
                .fit(&train, None, &mut FitContext::quiet(1))
                .expect("a state");
            assert_eq!(tree::read(&state, 1, 1).expect("trees").len(), 1);
            let outputs = predict(&model, &train, &train.data).expect("outputs");
            let found: Vec<Option<&str>> = outputs[0].str().expect("text").iter().collect();
            assert_eq!(found, [Some("a"), Some("a"), Some("b"), Some("b")]);
        }
    }

    /// tests/peers/tree_models.py: the first votes, the probability of the last class on five rows, and the share of the rows to
    /// judge that is told right.
    #[test]
    fn trees_and_votes_are_those_of_scikit_learn() {
        struct Peer {
            target: &'static str,
            depth: usize,
            votes: [f64; 6],
            probabilities: [f64; 5],
            right: f64,
        }
        let peers = [
            Peer {
                target: "diagnosis",
                depth: 1,
                votes: [
                    1.72750932,
                    1.22440474,
                    1.07310415,
                    0.801255785,
                    0.603190007,
                    0.650031132,
                ],
                probabilities: [
                    0.660851371,
                    0.667000743,
                    0.184226296,
                    0.268544058,
                    0.285395978,
                ],
                right: 0.947_368_421,
            },
            Peer {
                target: "diagnosis",
                depth: 2,
                votes: [
                    1.89800401,
                    1.39171266,
                    1.01953247,
                    1.03540324,
                    0.913760503,
                    0.716178792,
                ],
                probabilities: [
                    0.657371388,
                    0.684466431,
                    0.172051414,
                    0.204866889,
                    0.243491815,
                ],
                right: 0.931_578_947,
            },
            Peer {
                target: "grade",
                depth: 1,
                votes: [
                    0.707322735,
                    0.75081551,
                    0.489884132,
                    0.545971859,
                    0.518262478,
                    0.305795103,
                ],
                probabilities: [
                    0.355391102,
                    0.396783401,
                    0.268276844,
                    0.318414627,
                    0.268276844,
                ],
                right: 0.663_157_895,
            },
            Peer {
                target: "grade",
                depth: 2,
                votes: [
                    0.933034541,
                    0.741548285,
                    0.854041866,
                    0.482923384,
                    0.487142473,
                    0.604488839,
                ],
                probabilities: [
                    0.388065383,
                    0.446081041,
                    0.260799223,
                    0.308676497,
                    0.268181759,
                ],
                right: 0.684_210_526,
            },
        ];
        let (train, test) = (rounded(graded(false)), rounded(graded(true)));
        let train = with_roles(train, &[("count", Role::Weight)]);
        for peer in peers {
            let first = if peer.target == "grade" {
                ""
            } else {
                "mean_radius, "
            };
            let model: AdaBoost = params(&format!(
                "{{target: {}, features: [{first}mean_texture, mean_smoothness, mean_concave_points, worst_texture], \
                 rounds: 30, learning_rate: 0.7, max_depth: {}}}",
                peer.target, peer.depth
            ));
            let state = model
                .fit(&train, None, &mut FitContext::quiet(1))
                .expect("a state");
            let votes = numbers(state.tensor("votes").expect("a tensor"), &[30]).expect("votes");
            close(&votes[..6], &peer.votes, 1e-7);
            let outputs = predict(&model, &train, &train.data).expect("outputs");
            let last = outputs.last().expect("a column").name().to_string();
            // Rows 1, 4, 58, 301 and 568 of all.
            let found = numbers_of(&outputs, &last);
            close(
                &[0, 2, 38, 200, 378].map(|row| found[row]),
                &peer.probabilities,
                1e-7,
            );
            let outputs = predict(&model, &train, &test).expect("outputs");
            let (found, truth) = (&outputs[0], test.column(peer.target).expect("a column"));
            let right = (0..test.height())
                .filter(|row| found.get(*row).expect("a row") == truth.get(*row).expect("a row"))
                .count();
            let share = right as f64 / test.height() as f64;
            // Between two values that the node has, cuts lie halfway; bins know those of all rows.
            assert!((share - peer.right).abs() < 0.011, "{share}");
        }
    }

    /// tests/peers/tree_models.py: scikit-learn's 100 stumps have a ROC AUC of 0.9946.
    #[test]
    fn tells_tumours_apart_as_scikit_learn_does() {
        let train = with_roles(
            graded(false)
                .drop("grade")
                .and_then(|data| data.drop("count"))
                .expect("a frame"),
            &[("diagnosis", Role::Target)],
        );
        let test = graded(true);
        let truth: Vec<bool> = test
            .column("diagnosis")
            .expect("a column")
            .str()
            .expect("text")
            .iter()
            .map(|label| label == Some("M"))
            .collect();
        for algorithm in ["samme", "samme_r"] {
            let model: AdaBoost = params(&format!("{{algorithm: {algorithm}, rounds: 100}}"));
            let outputs = predict(&model, &train, &test).expect("outputs");
            let area = roc_auc(&numbers_of(&outputs, "score"), &truth);
            assert!(area > 0.988, "{algorithm}: {area}");
        }
    }

    #[test]
    fn three_classes_weights_and_missing_values() {
        let data = df!(
            "size" => [Some(1.0), Some(1.2), Some(5.0), Some(5.5), None, None, Some(5.1)],
            "kind" => ["small", "small", "big", "big", "none", "none", "small"],
            "times" => [1, 1, 1, 1, 1, 1, 0],
        )
        .expect("a frame");
        let train = with_roles(data, &[("kind", Role::Target), ("times", Role::Weight)]);
        for algorithm in ["samme", "samme_r"] {
            let model: AdaBoost = params(&format!("{{algorithm: {algorithm}, max_depth: 2}}"));
            let rows = df!("size" => [Some(1.1), Some(5.1), None]).expect("a frame");
            let outputs = predict(&model, &train, &rows).expect("outputs");
            let found: Vec<Option<&str>> = outputs[0].str().expect("text").iter().collect();
            assert_eq!(found, [Some("small"), Some("big"), Some("none")]);
            let sums: Vec<f64> = (0..3)
                .map(|row| {
                    let columns = ["big", "none", "small"];
                    columns
                        .iter()
                        .map(|class| numbers_of(&outputs, &format!("probability_{class}"))[row])
                        .sum()
                })
                .collect();
            close(&sums, &[1.0; 3], 1e-12);
        }
    }

    /// tests/peers/tree_models.py: scikit-learn refuses to learn from as many rows of each class, and of three to one it is as sure
    /// (0.88 in every row) as of the best stump.
    #[test]
    fn without_a_cut_there_are_the_shares_of_the_classes() {
        for algorithm in ["samme", "samme_r"] {
            for (kinds, share) in [(["a", "b", "a", "b"], 0.5), (["a", "b", "a", "a"], 0.25)] {
                let data = df!("size" => [2.0; 4], "kind" => kinds).expect("a frame");
                let train = with_roles(data, &[("kind", Role::Target)]);
                let model: AdaBoost = params(&format!("{{algorithm: {algorithm}}}"));
                let rows = df!("size" => [2.0, 9.0]).expect("a frame");
                let outputs = predict(&model, &train, &rows).expect("outputs");
                close(&numbers_of(&outputs, "probability_b"), &[share; 2], 1e-12);
                close(&numbers_of(&outputs, "score"), &[share; 2], 1e-12);
            }
            let data = df!("size" => [2.0; 4], "kind" => ["a", "b", "c", "c"]).expect("a frame");
            let train = with_roles(data, &[("kind", Role::Target)]);
            let model: AdaBoost = params(&format!("{{algorithm: {algorithm}}}"));
            let outputs = predict(&model, &train, &train.data).expect("outputs");
            close(&numbers_of(&outputs, "probability_c"), &[0.5; 4], 1e-12);
        }
    }

    #[test]
    fn class_weights_count_from_the_start() {
        // Without weights nothing is better than saying `a`; with them `b` wins.
        let data = df!("size" => [1, 1, 1, 1], "kind" => ["a", "a", "a", "b"]).expect("a frame");
        let train = with_roles(data, &[("kind", Role::Target)]);
        let of = |params_of: &str| {
            let outputs =
                predict(&params::<AdaBoost>(params_of), &train, &train.data).expect("outputs");
            outputs[0].str().expect("text").get(0).map(str::to_owned)
        };
        assert_eq!(of("{}").as_deref(), Some("a"));
        assert_eq!(of("{class_weight: {b: 9}}").as_deref(), Some("b"));
        let message = refusal(&params::<AdaBoost>("{class_weight: {a: 0, b: 0}}"), &train);
        assert!(message.contains("weight 0"), "{message}");
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let train = with_roles(tumours(), &[("diagnosis", Role::Target)]);
        same_on_any_threads(
            &params::<AdaBoost>("{rounds: 10, algorithm: samme_r}"),
            &train,
        );
        let (output, problems) = check(&params::<AdaBoost>("{positive: M}"), &train.schema);
        assert!(problems.is_empty() && output.column("score").is_some());
    }
}
