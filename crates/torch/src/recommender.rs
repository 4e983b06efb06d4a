//! `model.torch.recommender`: what users think of items, and which items to show them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polars::prelude::{
    Column as PolarsColumn, DataFrame, DataType, IntoColumn, IntoSeries, ListChunked, NamedFrom,
    Series,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, Model, ParamPath, Predictor, Problem, Result,
    Schema, Shape, Stage, State, TensorData,
    classifier::{self, PREDICTION, SCORE, target_name, unknown_column},
    path, register_kind, regressor, type_name,
};

use crate::{
    arrays::Input,
    bridge,
    layers::{Activation, Branch, Branches, Dense, Embedding, Factorization, Layer, Merge, walk},
    lesson::{self, Rows, Truth, check_library, row_weights, with_tensors},
    protocol::{Array, ClassLoss, Device, Epoch, Load, Loss, Network, NumberLoss, Numbers},
    runtime,
    settings::network_params,
};

const VERSION: u32 = 1;

/// The column with the items to show.
const RECOMMENDATIONS: &str = "recommendations";

/// The largest whole number up to which 32-bit floats hold every one.
const MOST: usize = 1 << 24;

network_params! { epochs: "crate::settings::twenty", batch_size: "crate::settings::two_hundred_fifty_six",
/// What users think of items, learned from what they said or did, by libtorch; and which items to show them.
///
/// A row is a user and an item. With `feedback: explicit` the target is a rating, and `prediction` is the rating to expect, never
/// outside those of the training rows. With `feedback: implicit` a training row says that the user took the item; for each, some
/// `negatives` are drawn from the items that the user did not take, and `score` is the probability of taking it.
///
/// `network: factorization` is matrix factorisation with biases (Koren, Bell and Volinsky, 2009). With `network: two_tower`
/// user and item go through dense layers of their own, together with their features, and the product of what those end in
/// counts (Yi and others, 2019): features also say something of users and items that are new. Users and items that training
/// did not see are known by the rest of the row alone: with factorisation by the other's bias and the mean.
///
/// With `top`, each row gets `recommendations`: the items with the highest values for its user, without those that the user had
/// in the training rows; the row's own item does not matter for it. The same seed gives the same weights, to the bit, on one machine
/// with one number of cores.
struct Recommender {
    /// The column that names the user: text or whole numbers.
    user: String,
    /// The column that names the item: text or whole numbers.
    item: String,
    /// The rating; the column with role `target`, where not given. Implicit feedback needs none.
    target: Option<String>,
    /// What the rows are: `explicit` ratings, or `implicit` signs of interest.
    #[serde(default)]
    feedback: Feedback,
    /// Of implicit feedback: rows whose target is below this are no sign of interest.
    relevant_from: Option<f64>,
    /// How users and items meet: `factorization` or `two_tower`.
    #[serde(default)]
    network: Meeting,
    /// Numbers that describe a user, and an item.
    #[serde(default = "thirty_two")]
    #[schemars(range(min = 1, max = 4096))]
    factors: usize,
    /// What the squares of factors and biases add to a row's loss, times this; of `factorization`.
    #[serde(default = "two_hundredths")]
    #[schemars(range(min = 0.0, max = 100.0))]
    regularization: f64,
    /// Columns of numbers about the user, for `two_tower`.
    #[serde(default)]
    user_features: Vec<String>,
    /// Columns of numbers about the item, for `two_tower`.
    #[serde(default)]
    item_features: Vec<String>,
    /// Units of the dense layers in each tower.
    #[serde(default = "one_of_64")]
    #[schemars(length(max = 20), inner(range(min = 1, max = 65536)))]
    hidden: Vec<usize>,
    /// Items drawn for each row of implicit feedback that its user did not take.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 1000))]
    negatives: usize,
    /// How many items to recommend to the user of each row; none, where not given.
    #[schemars(range(min = 1, max = 10_000))]
    top: Option<usize>,
}
}

/// What rows say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Feedback {
    /// How much the user liked the item.
    #[default]
    Explicit,
    /// That the user took the item.
    Implicit,
}

/// How users and items meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Meeting {
    /// The product of their factors, and biases.
    #[default]
    Factorization,
    /// The product of what their towers end in.
    TwoTower,
}

fn thirty_two() -> usize {
    32
}

fn two_hundredths() -> f64 {
    0.02
}

fn one_of_64() -> Vec<usize> {
    vec![64]
}

fn four() -> usize {
    4
}

register_kind! {
    Recommender, "model.torch.recommender", version: 1,
    example: "- model.torch.recommender: {user: user, item: film, target: rating, factors: 32, epochs: 20, top: 10}",
}

impl Recommender {
    /// The loss needs numbers of those columns.
    fn features_of<'a>(&'a self) -> impl Iterator<Item = (&'static str, usize, &'a String)> {
        let named = |param, names: &'a [String]| {
            names
                .iter()
                .enumerate()
                .map(move |(place, name)| (param, place, name))
        };
        named("user_features", &self.user_features)
            .chain(named("item_features", &self.item_features))
    }

    fn check_key(&self, param: &str, name: &str, input: &Schema, cx: &mut CheckContext<'_>) {
        match input.column(name) {
            None => cx.report(unknown_column(input, name, path![param])),
            Some(column) if can_name(&column.dtype) => {}
            Some(column) => {
                let message = format!(
                    "`{name}` is {}, which names no {param}s",
                    type_name(&column.dtype)
                );
                cx.report(
                    Problem::error("wrong-type", path![param], message)
                        .help("users and items are named by text or whole numbers"),
                );
            }
        }
    }

    /// Reports what this network or feedback does not use.
    fn check_unused(&self, cx: &mut CheckContext<'_>) {
        let is_factorization = self.network == Meeting::Factorization;
        let unused = [
            (
                "negatives",
                self.feedback == Feedback::Explicit && self.negatives != four(),
                "`feedback: implicit`",
            ),
            (
                "regularization",
                !is_factorization && self.regularization != two_hundredths(),
                "`network: factorization`",
            ),
            (
                "hidden",
                is_factorization && self.hidden != one_of_64(),
                "`network: two_tower`",
            ),
        ];
        for (param, _, place) in unused.into_iter().filter(|(_, is_unused, _)| *is_unused) {
            let message = format!("`{param}` is for {place}");
            cx.report(Problem::error("unused-param", path![param], message).help("leave it out"));
        }
    }

    fn network(&self, users: usize, items: usize) -> Network {
        let (of_users, of_items) = (self.user_features.len(), self.item_features.len());
        let layers = match self.network {
            Meeting::Factorization => vec![Layer::Factorization(Factorization {
                users,
                items,
                factors: self.factors,
                regularization: self.regularization,
            })],
            Meeting::TwoTower => vec![
                Layer::Branches(Branches {
                    branches: vec![self.tower(users, of_users), self.tower(items, of_items)],
                    merge: Merge::Dot,
                }),
                Layer::Dense(Dense {
                    units: 1,
                    activation: Activation::Linear,
                }),
            ],
        };
        let input = match self.network {
            Meeting::Factorization => vec![2],
            Meeting::TwoTower => vec![2 + of_users + of_items],
        };
        Network { input, layers }
    }

    fn tower(&self, count: usize, features: usize) -> Branch {
        let key = Branch {
            input: vec![1],
            layers: vec![Layer::Embedding(Embedding {
                count,
                size: self.factors,
            })],
        };
        let mut branches = vec![key];
        if features > 0 {
            branches.push(Branch {
                input: vec![features],
                layers: vec![Layer::Dense(Dense {
                    units: self.factors,
                    activation: Activation::Relu,
                })],
            });
        }
        let mut layers = vec![Layer::Branches(Branches {
            branches,
            merge: Merge::Concatenate,
        })];
        layers.extend(self.hidden.iter().map(|units| {
            Layer::Dense(Dense {
                units: *units,
                activation: Activation::Relu,
            })
        }));
        layers.push(Layer::Dense(Dense {
            units: self.factors,
            activation: Activation::Linear,
        }));
        Branch {
            input: vec![1 + features],
            layers,
        }
    }
}

fn can_name(dtype: &DataType) -> bool {
    dtype.is_integer()
        || matches!(
            dtype,
            DataType::String | DataType::Categorical(..) | DataType::Enum(..)
        )
}

impl Stage for Recommender {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        check_library(cx);
        self.check_key("user", &self.user, input, cx);
        self.check_key("item", &self.item, input, cx);
        if self.user == self.item {
            let message = format!("`{}` cannot name both user and item", self.item);
            cx.report(Problem::error("duplicate-column", path!["item"], message));
        }
        self.check_unused(cx);
        self.settings().check_with(input, cx);
        for (param, place, name) in self.features_of() {
            match input.column(name) {
                None => cx.report(unknown_column(input, name, path![param, place])),
                Some(column) if column.is_numeric() => {}
                Some(column) => {
                    let message = format!(
                        "the feature `{name}` is {}, not a number",
                        type_name(&column.dtype)
                    );
                    cx.report(
                        Problem::error("not-numeric", path![param, place], message)
                            .help("encode it above the model (`features.one_hot`)"),
                    );
                }
            }
            if self.network == Meeting::Factorization {
                cx.report(
                    Problem::error(
                        "without-effect",
                        path![param],
                        "matrix factorisation knows users and items by their names alone",
                    )
                    .help("write `network: two_tower`"),
                );
                break;
            }
        }
        classifier::check_weights(input, cx);
        let needs_target = self.feedback == Feedback::Explicit || self.relevant_from.is_some();
        let target = match needs_target {
            true => regressor::check_target(input, self.target.as_deref(), cx),
            false => None,
        };
        if self.feedback == Feedback::Explicit && self.relevant_from.is_some() {
            cx.report(
                Problem::error(
                    "without-effect",
                    path!["relevant_from"],
                    "explicit feedback is learned as it is",
                )
                .help("write `feedback: implicit`, or leave it out"),
            );
        }
        for fault in walk(&self.network(2, 2).input, &self.network(2, 2).layers).faults {
            cx.report(
                Problem::error(fault.code, ParamPath::kind(), fault.message).help(fault.help),
            );
        }
        let mut added = vec![Column::new(
            match self.feedback {
                Feedback::Explicit => PREDICTION,
                Feedback::Implicit => SCORE,
            },
            DataType::Float64,
        )];
        if self.top.is_some() {
            let item = input
                .column(&self.item)
                .map_or(DataType::String, |column| kept_type(&column.dtype));
            added.push(Column::new(RECOMMENDATIONS, DataType::List(Box::new(item))));
        }
        classifier::with_outputs(input, target, added, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

/// The type that item names come back as.
fn kept_type(dtype: &DataType) -> DataType {
    match dtype.is_integer() {
        true => DataType::Int64,
        false => DataType::String,
    }
}

/// The names of users or items, in order; place 0 of the network is for those that are none of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Known {
    column: String,
    names: Vec<String>,
    /// Columns of numbers about them.
    features: Vec<String>,
}

impl Known {
    fn learn(frame: &DataFrame, column: &str, features: &[String]) -> Result<Self> {
        let names: BTreeSet<String> = names(frame, column)?.into_iter().collect();
        if names.len() >= MOST {
            return Err(Error::data(format!(
                "`{column}` names {} things; at most {MOST} can be learned",
                names.len()
            )));
        }
        Ok(Self {
            column: column.to_owned(),
            names: names.into_iter().collect(),
            features: features.to_vec(),
        })
    }

    fn index(&self) -> HashMap<&str, usize> {
        self.names.iter().map(String::as_str).zip(1..).collect()
    }

    /// The place of the thing of each row.
    fn places(&self, frame: &DataFrame) -> Result<Vec<usize>> {
        let index = self.index();
        Ok(names(frame, &self.column)?
            .iter()
            .map(|name| index.get(name.as_str()).copied().unwrap_or(0))
            .collect())
    }

    /// Numbers about the thing of each row, row after row.
    fn numbers(&self, frame: &DataFrame) -> Result<Vec<f32>> {
        match self.features.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(Input::Columns(self.features.clone()).rows(frame)?.to_vec()),
        }
    }
}

fn names(frame: &DataFrame, column: &str) -> Result<Vec<String>> {
    let column = frame.column(column)?;
    if column.null_count() > 0 {
        return Err(Error::data(format!(
            "`{}` is null in {} of {} rows; leave such rows out above the model (`clean.drop_nulls`)",
            column.name(),
            column.null_count(),
            column.len()
        )));
    }
    let texts = column.cast(&DataType::String)?;
    Ok(texts.str()?.iter().flatten().map(str::to_owned).collect())
}

/// What is learned, as it is stored beside the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learned {
    feedback: Feedback,
    users: Known,
    items: Known,
    /// Whether item names are whole numbers.
    items_are_numbers: bool,
    /// Of ratings: their mean, their standard deviation, the lowest and the highest.
    center: f64,
    scale: f64,
    lowest: f64,
    highest: f64,
    top: Option<usize>,
    network: Network,
    device: Device,
    history: Vec<Epoch>,
    epoch: u64,
}

/// Users and items that go together, with numbers about them.
struct Pairs {
    users: Vec<usize>,
    items: Vec<usize>,
    user_numbers: Vec<f32>,
    item_numbers: Vec<f32>,
}

impl Pairs {
    fn of(users: &Known, items: &Known, frame: &DataFrame) -> Result<Self> {
        Ok(Self {
            users: users.places(frame)?,
            items: items.places(frame)?,
            user_numbers: users.numbers(frame)?,
            item_numbers: items.numbers(frame)?,
        })
    }

    fn user_row(&self, row: usize) -> &[f32] {
        let width = self.user_numbers.len() / self.users.len().max(1);
        &self.user_numbers[row * width..(row + 1) * width]
    }

    fn item_row(&self, row: usize) -> &[f32] {
        let width = self.item_numbers.len() / self.items.len().max(1);
        &self.item_numbers[row * width..(row + 1) * width]
    }

    /// As the network reads them.
    fn inputs(&self) -> Vec<f32> {
        (0..self.users.len())
            .flat_map(|row| {
                let user = std::iter::once(self.users[row] as f32)
                    .chain(self.user_row(row).iter().copied());
                let item = std::iter::once(self.items[row] as f32)
                    .chain(self.item_row(row).iter().copied());
                user.chain(item)
            })
            .collect()
    }
}

/// The numbers about each item, as its first row has them; zeros for the unknown one.
fn item_table(items: &Known, pairs: &Pairs) -> Vec<f32> {
    let width = items.features.len();
    let mut table = vec![0.0; (items.names.len() + 1) * width];
    let mut seen = vec![false; items.names.len() + 1];
    for (row, item) in pairs.items.iter().enumerate() {
        if !std::mem::replace(&mut seen[*item], true) {
            table[item * width..(item + 1) * width].copy_from_slice(pairs.item_row(row));
        }
    }
    table
}

/// Rows of implicit feedback with items that were not taken among them, here or in `others`, and which is which.
fn with_negatives(
    pairs: &Pairs,
    others: &Pairs,
    table: &[f32],
    items: usize,
    each: usize,
    seed: u64,
) -> (Pairs, Vec<i64>, Vec<usize>) {
    let mut taken: BTreeSet<(usize, usize)> = BTreeSet::new();
    for pairs in [pairs, others] {
        taken.extend(pairs.users.iter().copied().zip(pairs.items.iter().copied()));
    }
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let width = table.len() / (items + 1).max(1);
    let mut all = Pairs {
        users: Vec::new(),
        items: Vec::new(),
        user_numbers: Vec::new(),
        item_numbers: Vec::new(),
    };
    let (mut labels, mut rows) = (Vec::new(), Vec::new());
    let mut add = |row: usize, item: usize, numbers: &[f32], label: i64| {
        all.users.push(pairs.users[row]);
        all.items.push(item);
        all.user_numbers.extend(pairs.user_row(row));
        all.item_numbers.extend(numbers);
        labels.push(label);
        rows.push(row);
    };
    for row in 0..pairs.users.len() {
        add(row, pairs.items[row], pairs.item_row(row), 1);
        for _ in 0..each {
            // A user who took nearly everything has few items left to draw: then one of those taken is not drawn at all.
            let drawn = (0..20)
                .map(|_| generator.random_range(1..=items as u64) as usize)
                .find(|item| !taken.contains(&(pairs.users[row], *item)));
            if let Some(item) = drawn {
                add(row, item, &table[item * width..(item + 1) * width], 0);
            }
        }
    }
    (all, labels, rows)
}

impl Model for Recommender {
    fn features(&self, _: &Schema) -> Vec<String> {
        [&self.user, &self.item]
            .into_iter()
            .chain(&self.user_features)
            .chain(&self.item_features)
            .cloned()
            .collect()
    }

    fn target(&self, input: &Schema) -> Option<String> {
        match self.feedback {
            Feedback::Implicit if self.relevant_from.is_none() => None,
            _ => target_name(self.target.as_ref(), input),
        }
    }

    fn allow_pii(&self) -> bool {
        self.allow_pii
    }

    fn fit(
        &self,
        train: &Frame,
        validation: Option<&Frame>,
        cx: &mut FitContext<'_>,
    ) -> Result<State> {
        let target = Model::target(self, &train.schema);
        let train = self.signs(train, target.as_deref())?;
        if train.data.height() == 0 {
            return Err(Error::data("there are no training rows to learn from"));
        }
        let users = Known::learn(&train.data, &self.user, &self.user_features)?;
        let items = Known::learn(&train.data, &self.item, &self.item_features)?;
        let pairs = Pairs::of(&users, &items, &train.data)?;
        let table = item_table(&items, &pairs);
        let network = self.network(users.names.len() + 1, items.names.len() + 1);
        let mut learned = Learned {
            feedback: self.feedback,
            items_are_numbers: train.data.column(&self.item)?.dtype().is_integer(),
            users,
            items,
            center: 0.0,
            scale: 1.0,
            lowest: 0.0,
            highest: 1.0,
            top: self.top,
            network: network.clone(),
            device: self.device,
            history: Vec::new(),
            epoch: 0,
        };
        if let (Feedback::Explicit, Some(target)) = (self.feedback, &target) {
            learned.learn_scale(&ratings(&train.data, target)?);
        }
        let examples = |frame: &Frame, seed: u64| -> Result<(Vec<f32>, Truth, Option<Vec<f32>>)> {
            let own = Pairs::of(&learned.users, &learned.items, &frame.data)?;
            let weights = row_weights(frame)?;
            match (self.feedback, &target) {
                (Feedback::Explicit, Some(target)) => {
                    let numbers = ratings(&frame.data, target)?
                        .iter()
                        .map(|rating| ((rating - learned.center) / learned.scale) as f32)
                        .collect();
                    Ok((own.inputs(), Truth::Targets { numbers, width: 1 }, weights))
                }
                _ => {
                    let count = learned.items.names.len();
                    let (all, labels, rows) =
                        with_negatives(&own, &pairs, &table, count, self.negatives, seed);
                    let weights =
                        weights.map(|weights| rows.iter().map(|row| weights[*row]).collect());
                    Ok((all.inputs(), Truth::Labels(labels), weights))
                }
            }
        };
        let seed = self.seed.unwrap_or(cx.seed);
        let (inputs, truth, weights) = examples(&train, seed)?;
        let held_out = validation
            .filter(|frame| frame.data.height() > 0)
            .map(|frame| examples(&self.signs(frame, target.as_deref())?, seed ^ 1))
            .transpose()?;
        let held_out = held_out.as_ref().map(|(inputs, truth, weights)| Rows {
            inputs,
            truth,
            weights: weights.as_deref(),
        });
        let rows = Rows {
            inputs: &inputs,
            truth: &truth,
            weights: weights.as_deref(),
        };
        let loss = match self.feedback {
            Feedback::Explicit => Loss::Numbers(NumberLoss::MeanSquaredError),
            Feedback::Implicit => Loss::Classes(ClassLoss::BinaryCrossentropy),
        };
        let course = self
            .settings()
            .course(loss, None, cx.seed, runtime::threads());
        let (_, trained, mut tensors) =
            lesson::train(network, course, &rows, held_out.as_ref(), &[], cx)?;
        for tensor in &mut tensors.0 {
            forget_unknown(tensor);
        }
        learned.history = trained.history;
        learned.epoch = trained.epoch;
        let mut state = with_tensors(State::from_data(VERSION, &learned)?, &tensors.0);
        if self.top.is_some() {
            let (starts, seen) = seen(&pairs, learned.users.names.len());
            state = state
                .with_tensor("seen.starts", vec![starts.len()], TensorData::I64(starts))
                .with_tensor("seen.items", vec![seen.len()], TensorData::I64(seen));
            let width = learned.items.features.len();
            if let Some(items) = table.len().checked_div(width) {
                let shape = vec![items, width];
                state = state.with_tensor("item_features", shape, TensorData::F32(table));
            }
        }
        Ok(state)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        let request = Load {
            network: learned.network.clone(),
            threads: runtime::threads(),
            device: learned.device,
            draws: None,
        };
        let model = lesson::open(&request, state)?;
        let shelf = learned
            .top
            .map(|top| Shelf::of(top, &learned, state))
            .transpose()?;
        Ok(Box::new(Recommends {
            learned,
            model,
            shelf,
        }))
    }
}

impl Recommender {
    /// The rows that say something: of implicit feedback those that are relevant.
    fn signs(&self, frame: &Frame, target: Option<&str>) -> Result<Frame> {
        let (Feedback::Implicit, Some(least), Some(target)) =
            (self.feedback, self.relevant_from, target)
        else {
            return Ok(frame.clone());
        };
        let column = frame.data.column(target)?.cast(&DataType::Float64)?;
        let is_relevant: polars::prelude::BooleanChunked = column
            .f64()?
            .iter()
            .map(|value| value.is_some_and(|value| value >= least))
            .collect();
        Ok(Frame {
            data: frame.data.filter(&is_relevant)?,
            schema: frame.schema.clone(),
        })
    }
}

impl Learned {
    fn learn_scale(&mut self, ratings: &[f64]) {
        let count = ratings.len().max(1) as f64;
        self.center = ratings.iter().sum::<f64>() / count;
        let squares: f64 = ratings
            .iter()
            .map(|rating| (rating - self.center).powi(2))
            .sum();
        let deviation = (squares / count).sqrt();
        self.scale = if deviation > 0.0 { deviation } else { 1.0 };
        self.lowest = ratings.iter().copied().fold(f64::INFINITY, f64::min);
        self.highest = ratings.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    }

    /// What the network's answer means.
    fn value(&self, output: f64) -> f64 {
        match self.feedback {
            Feedback::Explicit => {
                (output * self.scale + self.center).clamp(self.lowest, self.highest)
            }
            Feedback::Implicit => 1.0 / (1.0 + (-output).exp()),
        }
    }
}

fn ratings(frame: &DataFrame, target: &str) -> Result<Vec<f64>> {
    let column = frame.column(target)?.strict_cast(&DataType::Float64)?;
    let ratings: Vec<f64> = column
        .f64()?
        .iter()
        .map(|rating| rating.unwrap_or(f64::NAN))
        .collect();
    match ratings.iter().position(|rating| !rating.is_finite()) {
        None => Ok(ratings),
        Some(row) => Err(Error::data(format!(
            "the target `{target}` is null, nan or infinite in row {}; leave such rows out above the model (`clean.filter`)",
            row + 1
        ))),
    }
}

/// The first row of factors and biases is for what was never seen: nothing is known of it.
fn forget_unknown(tensor: &mut Array<'static>) {
    let is_table = [
        ".users",
        ".items",
        ".user_bias",
        ".item_bias",
        ".embedding.weight",
    ]
    .iter()
    .any(|end| tensor.name.ends_with(end));
    if let (true, Numbers::F32(numbers), [_, width]) =
        (is_table, &mut tensor.numbers, tensor.shape.as_slice())
    {
        numbers.to_mut()[..*width].fill(0.0);
    }
}

/// The items that each user had: where a user's begin, and all of them, sorted for each.
fn seen(pairs: &Pairs, users: usize) -> (Vec<i64>, Vec<i64>) {
    let mut by_user: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (user, item) in pairs.users.iter().zip(&pairs.items) {
        by_user.entry(*user).or_default().insert(*item);
    }
    let (mut starts, mut items) = (vec![0], Vec::new());
    for user in 0..=users {
        items.extend(
            by_user
                .get(&user)
                .into_iter()
                .flatten()
                .map(|item| *item as i64),
        );
        starts.push(items.len() as i64);
    }
    (starts, items)
}

/// What can be recommended.
struct Shelf {
    top: usize,
    starts: Vec<i64>,
    seen: Vec<i64>,
    /// Numbers about each item, the unknown one first.
    features: Vec<f32>,
}

impl Shelf {
    fn of(top: usize, learned: &Learned, state: &State) -> Result<Self> {
        let whole = |name: &str| match &state.tensor(name)?.data {
            TensorData::I64(numbers) => Ok(numbers.clone()),
            _ => Err(Error::State(format!("`{name}` should hold whole numbers"))),
        };
        let (starts, seen) = (whole("seen.starts")?, whole("seen.items")?);
        let is_sound = starts.len() == learned.users.names.len() + 2
            && starts.is_sorted()
            && starts.first() == Some(&0)
            && starts.last() == Some(&(seen.len() as i64));
        if !is_sound {
            return Err(Error::State(
                "the items that users had do not fit the users".into(),
            ));
        }
        let features = match learned.items.features.is_empty() {
            true => Vec::new(),
            false => match &state.tensor("item_features")?.data {
                TensorData::F32(numbers) => numbers.clone(),
                _ => return Err(Error::State("`item_features` should hold numbers".into())),
            },
        };
        Ok(Self {
            top,
            starts,
            seen,
            features,
        })
    }

    fn seen_by(&self, user: usize) -> &[i64] {
        let at = |place: usize| usize::try_from(self.starts[place]).unwrap_or_default();
        &self.seen[at(user)..at(user + 1)]
    }
}

struct Recommends {
    learned: Learned,
    model: bridge::Model,
    shelf: Option<Shelf>,
}

impl Recommends {
    /// The network's answer to each row of inputs.
    fn outputs(&self, inputs: &[f32], rows: usize) -> Result<Vec<f64>> {
        let shape = vec![rows, inputs.len() / rows.max(1)];
        let answers = self
            .model
            .predict(&[Array::f32("inputs", shape, inputs)])
            .map_err(|failure| Error::Model(format!("{failure:?}")))?;
        Ok(lesson::numbers(&answers, "outputs", rows)?.to_vec())
    }

    /// The items to show a user with these numbers about them, best first.
    fn best(&self, shelf: &Shelf, user: usize, numbers: &[f32]) -> Result<Vec<usize>> {
        let items = self.learned.items.names.len();
        let width = self.learned.items.features.len();
        let pairs = Pairs {
            users: vec![user; items],
            items: (1..=items).collect(),
            user_numbers: numbers.repeat(items),
            item_numbers: shelf.features.get(width..).unwrap_or_default().to_vec(),
        };
        let outputs = self.outputs(&pairs.inputs(), items)?;
        let seen = shelf.seen_by(user);
        let mut order: Vec<usize> = (1..=items)
            .filter(|item| seen.binary_search(&(*item as i64)).is_err())
            .collect();
        order.sort_by(|one, two| outputs[two - 1].total_cmp(&outputs[one - 1]));
        order.truncate(shelf.top);
        Ok(order)
    }

    fn recommendations(&self, shelf: &Shelf, pairs: &Pairs) -> Result<PolarsColumn> {
        let mut known: HashMap<(usize, Vec<u32>), Series> = HashMap::new();
        let mut lists = Vec::with_capacity(pairs.users.len());
        for (row, user) in pairs.users.iter().enumerate() {
            let numbers = pairs.user_row(row);
            let key = (
                *user,
                numbers.iter().map(|number| number.to_bits()).collect(),
            );
            if !known.contains_key(&key) {
                let names: Vec<&str> = self
                    .best(shelf, *user, numbers)?
                    .into_iter()
                    .map(|item| self.learned.items.names[item - 1].as_str())
                    .collect();
                let list = Series::new("".into(), names);
                let list = match self.learned.items_are_numbers {
                    true => list.strict_cast(&DataType::Int64)?,
                    false => list,
                };
                known.insert(key.clone(), list);
            }
            lists.push(known[&key].clone());
        }
        let item = match self.learned.items_are_numbers {
            true => DataType::Int64,
            false => DataType::String,
        };
        let lists: ListChunked = lists.into_iter().map(Some).collect();
        let column = lists.into_series().with_name(RECOMMENDATIONS.into());
        Ok(column.cast(&DataType::List(Box::new(item)))?.into_column())
    }
}

impl Predictor for Recommends {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let learned = &self.learned;
        let pairs = Pairs::of(&learned.users, &learned.items, batch)?;
        let values: Vec<f64> = self
            .outputs(&pairs.inputs(), batch.height())?
            .into_iter()
            .map(|output| learned.value(output))
            .collect();
        let name = match learned.feedback {
            Feedback::Explicit => PREDICTION,
            Feedback::Implicit => SCORE,
        };
        let mut columns = vec![PolarsColumn::new(name.into(), values)];
        if let Some(shelf) = &self.shelf {
            columns.push(self.recommendations(shelf, &pairs)?);
        }
        Ok(columns)
    }
}
