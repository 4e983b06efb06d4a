//! What `takt` asks of the libtorch library and what it answers: plain data, sent as JSON beside named arrays.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};

use crate::layers::Layer;

/// A network: what goes in and what happens to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// The shape of one row: (height, width, channels), or (numbers).
    pub input: Vec<usize>,
    /// The layers; the last is dense with softmax, a unit for each class.
    pub layers: Vec<Layer>,
}

/// Which loss training makes small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The mean of -ln(probability of the true class), the target given as one label a row.
    #[default]
    SparseCategoricalCrossentropy,
}

/// Adam (Kingma and Ba, 2015, algorithm 1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Adam {
    /// The step size.
    #[schemars(range(min = 1e-12, max = 10.0))]
    pub learning_rate: f64,
    /// How much of the running mean of gradients stays.
    #[schemars(range(min = 0.0, max = 0.999_999))]
    pub beta_1: f64,
    /// How much of the running mean of squared gradients stays.
    #[schemars(range(min = 0.0, max = 0.999_999_9))]
    pub beta_2: f64,
    /// Added to the divisor.
    #[schemars(range(min = 1e-16, max = 1.0))]
    pub epsilon: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
        }
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamW {
    /// The step size.
    #[schemars(range(min = 1e-12, max = 10.0))]
    pub learning_rate: f64,
    /// How much of the running mean of gradients stays.
    #[schemars(range(min = 0.0, max = 0.999_999))]
    pub beta_1: f64,
    /// How much of the running mean of squared gradients stays.
    #[schemars(range(min = 0.0, max = 0.999_999_9))]
    pub beta_2: f64,
    /// Added to the divisor.
    #[schemars(range(min = 1e-16, max = 1.0))]
    pub epsilon: f64,
    /// Each step shrinks every weight by this share of the step size.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
            weight_decay: 0.004,
        }
    }
}

/// Stochastic gradient descent, with momentum where wanted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sgd {
    /// The step size.
    #[schemars(range(min = 1e-12, max = 100.0))]
    pub learning_rate: f64,
    /// How much of the last step is taken again.
    #[schemars(range(min = 0.0, max = 0.999_999))]
    pub momentum: f64,
    /// Looks ahead along the momentum (Nesterov, 1983).
    pub nesterov: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Self {
            learning_rate: 0.01,
            momentum: 0.0,
            nesterov: false,
        }
    }
}

/// How gradients become steps: a name (`adam`), or a map with settings (`adam: {learning_rate: 0.001}`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Adam.
    Adam(Adam),
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
    /// Stochastic gradient descent.
    Sgd(Sgd),
}

const OPTIMIZERS: [&str; 3] = ["adam", "adamw", "sgd"];

impl Default for Optimizer {
    fn default() -> Self {
        Self::Adam(Adam::default())
    }
}

impl<'de> Deserialize<'de> for Optimizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OptimizerVisitor;

        impl<'de> Visitor<'de> for OptimizerVisitor {
            type Value = Optimizer;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an optimizer: its name, or a map with its name as the one key")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Optimizer, E> {
                match name {
                    "adam" => Ok(Optimizer::Adam(Adam::default())),
                    "adamw" => Ok(Optimizer::AdamW(AdamW::default())),
                    "sgd" => Ok(Optimizer::Sgd(Sgd::default())),
                    unknown => Err(E::unknown_variant(unknown, &OPTIMIZERS)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Optimizer, A::Error> {
                let name: String = map
                    .next_key()?
                    .ok_or_else(|| A::Error::custom("an optimizer needs a name"))?;
                let optimizer = match name.as_str() {
                    "adam" => Optimizer::Adam(map.next_value()?),
                    "adamw" => Optimizer::AdamW(map.next_value()?),
                    "sgd" => Optimizer::Sgd(map.next_value()?),
                    unknown => return Err(A::Error::unknown_variant(unknown, &OPTIMIZERS)),
                };
                match map.next_key::<String>()? {
                    None => Ok(optimizer),
                    Some(second) => Err(A::Error::custom(format!(
                        "two optimizers: `{name}` and `{second}`"
                    ))),
                }
            }
        }

        deserializer.deserialize_any(OptimizerVisitor)
    }
}

impl JsonSchema for Optimizer {
    fn schema_name() -> Cow<'static, str> {
        "Optimizer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How gradients become steps: a name, or a map with the name as its one key and settings as value.",
            "type": ["object", "string"],
            "if": {"type": "string"},
            "then": {"enum": OPTIMIZERS},
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
            "properties": {
                "adam": generator.subschema_for::<Adam>(),
                "adamw": generator.subschema_for::<AdamW>(),
                "sgd": generator.subschema_for::<Sgd>(),
            },
        })
    }
}

/// Training asked for. Beside it go the arrays `inputs` (f32, rows × input), `labels` (i64), perhaps `weights` (f32, one a
/// row), `validation_inputs`, `validation_labels`, and on resuming the arrays of the checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The network.
    pub network: Network,
    /// What is made small.
    pub loss: Loss,
    /// How.
    pub optimizer: Optimizer,
    /// Passes over the rows.
    pub epochs: u64,
    /// Rows in a batch.
    pub batch_size: usize,
    /// Decides the first weights, the order of rows and what dropout drops.
    pub seed: u64,
    /// Threads of libtorch; part of what decides the result to the bit.
    pub threads: usize,
    /// Where an interrupted training stood.
    pub resume: Option<Standing>,
}

/// Where a training stands: everything but the arrays.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Standing {
    /// The epoch under way, from 0; the number of epochs, when done.
    pub epoch: u64,
    /// Batches of that epoch that are done.
    pub batch: u64,
    /// Optimizer steps taken in all.
    pub steps: u64,
    /// Loss summed over the rows of this epoch so far.
    pub loss: f64,
    /// Weight summed over the rows of this epoch so far (their number, where they are not weighted).
    pub weight: f64,
    /// Rows of this epoch so far.
    pub rows: u64,
    /// Rows of this epoch that were classified rightly so far.
    pub right: u64,
    /// What the finished epochs came to.
    pub history: Vec<Epoch>,
}

/// What an epoch came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Mean loss over the training rows, each at its turn.
    pub loss: f64,
    /// Share of training rows classified rightly, each at its turn.
    pub accuracy: f64,
    /// Mean loss over the validation rows after the epoch.
    pub validation_loss: Option<f64>,
    /// Share of validation rows classified rightly after the epoch.
    pub validation_accuracy: Option<f64>,
}

/// Something worth showing while training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Batches moved on.
    Step {
        /// Batches done in all epochs.
        done: u64,
        /// Batches of all epochs.
        total: u64,
    },
    /// An epoch ended.
    Epoch {
        /// Which one, from 1.
        epoch: u64,
        /// Of how many.
        epochs: u64,
        /// What it came to.
        result: Epoch,
    },
}

/// The answer to a training; beside it go the network's tensors by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// What each epoch came to.
    pub history: Vec<Epoch>,
}

/// A trained network to load, its tensors beside it by name. The answer to a prediction with it is the array `probabilities`
/// (f64, rows × classes) for the array `inputs` (f32, rows × input).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The network.
    pub network: Network,
    /// Threads of libtorch.
    pub threads: usize,
}

/// The numbers of an array that is handed over: lent where they are large, owned where they were just made.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers<'a> {
    /// 32-bit floats.
    F32(Cow<'a, [f32]>),
    /// 64-bit floats.
    F64(Cow<'a, [f64]>),
    /// 64-bit integers.
    I64(Cow<'a, [i64]>),
}

impl Numbers<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::F64(numbers) => numbers.len(),
            Self::I64(numbers) => numbers.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same numbers, owned.
    pub fn into_owned(self) -> Numbers<'static> {
        match self {
            Self::F32(numbers) => Numbers::F32(Cow::Owned(numbers.into_owned())),
            Self::F64(numbers) => Numbers::F64(Cow::Owned(numbers.into_owned())),
            Self::I64(numbers) => Numbers::I64(Cow::Owned(numbers.into_owned())),
        }
    }
}

/// An array that is handed over.
#[derive(Debug, Clone, PartialEq)]
pub struct Array<'a> {
    /// What it holds.
    pub name: String,
    /// Its shape, rows first.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub numbers: Numbers<'a>,
}

impl<'a> Array<'a> {
    /// An array of 32-bit floats.
    pub fn f32(
        name: impl Into<String>,
        shape: Vec<usize>,
        numbers: impl Into<Cow<'a, [f32]>>,
    ) -> Self {
        Self {
            name: name.into(),
            shape,
            numbers: Numbers::F32(numbers.into()),
        }
    }

    /// An array of 64-bit floats.
    pub fn f64(
        name: impl Into<String>,
        shape: Vec<usize>,
        numbers: impl Into<Cow<'a, [f64]>>,
    ) -> Self {
        Self {
            name: name.into(),
            shape,
            numbers: Numbers::F64(numbers.into()),
        }
    }

    /// A list of 64-bit integers.
    pub fn i64(name: impl Into<String>, numbers: impl Into<Cow<'a, [i64]>>) -> Self {
        let numbers = numbers.into();
        Self {
            name: name.into(),
            shape: vec![numbers.len()],
            numbers: Numbers::I64(numbers),
        }
    }
}

/// Named arrays that came in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Arrays<'a>(pub Vec<Array<'a>>);

impl<'a> Arrays<'a> {
    /// The array of that name, if it came.
    pub fn find(&self, name: &str) -> Option<&Array<'a>> {
        self.0.iter().find(|array| array.name == name)
    }

    /// The 32-bit floats of that name.
    pub fn f32(&self, name: &str) -> Result<&[f32], String> {
        match self.find(name).map(|array| &array.numbers) {
            Some(Numbers::F32(numbers)) => Ok(numbers),
            Some(_) => Err(format!("the array `{name}` does not hold 32-bit floats")),
            None => Err(format!("the array `{name}` is missing")),
        }
    }

    /// The 64-bit integers of that name.
    pub fn i64(&self, name: &str) -> Result<&[i64], String> {
        match self.find(name).map(|array| &array.numbers) {
            Some(Numbers::I64(numbers)) => Ok(numbers),
            Some(_) => Err(format!("the array `{name}` does not hold 64-bit integers")),
            None => Err(format!("the array `{name}` is missing")),
        }
    }
}

/// Why the library gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It was asked to stop, and has handed over a checkpoint.
    Interrupted,
    /// It could not; one line that says why.
    Failed(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

/// Who listens while a training runs.
pub trait Listener {
    /// Whether the training should stop; asked before every batch.
    fn is_cancelled(&self) -> bool;
    /// Shows an event.
    fn event(&self, event: Event);
    /// Keeps a checkpoint: from it and the same data, training goes on to the same weights, to the bit.
    fn checkpoint(&self, standing: &Standing, arrays: &[Array<'_>]) -> Result<(), Failure>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_optimizer_by_name_or_with_settings() {
        let read = |yaml: &str| taktline_core::serde_yaml::from_str::<Optimizer>(yaml);
        assert_eq!(read("adam").expect("name"), Optimizer::default());
        let sgd = Sgd {
            learning_rate: 0.1,
            momentum: 0.9,
            nesterov: false,
        };
        assert_eq!(
            read("sgd: {learning_rate: 0.1, momentum: 0.9}").expect("map"),
            Optimizer::Sgd(sgd)
        );
        assert!(
            read("rmsprop")
                .expect_err("unknown")
                .to_string()
                .contains("adamw")
        );
        assert!(
            read("{adam: {}, sgd: {}}")
                .expect_err("two")
                .to_string()
                .contains("two optimizers")
        );
        let json = serde_json::to_string(&Optimizer::AdamW(AdamW::default())).expect("JSON");
        assert!(matches!(
            serde_json::from_str(&json).expect("back"),
            Optimizer::AdamW(_)
        ));
    }
}
