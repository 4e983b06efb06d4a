//! What `takt` asks of the libtorch library and what it answers: plain data, sent as JSON beside named arrays.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::layers::{Activation, Layer};

/// A network: what goes in and what happens to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// The shape of one row: (height, width, channels), (steps, channels), or (numbers).
    pub input: Vec<usize>,
    /// The layers.
    pub layers: Vec<Layer>,
}

/// The loss of a classifier: a name (`binary_crossentropy`), or a map with settings (`focal: {gamma: 2}`).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassLoss {
    /// -ln(probability of the true class).
    #[default]
    SparseCategoricalCrossentropy,
    /// The same for two classes and one output with `sigmoid`.
    BinaryCrossentropy,
    /// Cross-entropy that counts less what is classified well already.
    Focal(Focal),
}

/// -(1 - p)^gamma ln p, for the probability p of the true class (Lin and others, 2017).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Focal {
    /// How much less rows count that are classified well.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub gamma: f64,
}

impl Default for Focal {
    fn default() -> Self {
        Self { gamma: 2.0 }
    }
}

/// The loss of a regression: a name (`mean_squared_error`), or a map with settings (`huber: {delta: 1.0}`).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberLoss {
    /// The mean of the squared errors.
    #[default]
    MeanSquaredError,
    /// The mean of the absolute errors.
    MeanAbsoluteError,
    /// Squared where the error is small, absolute where it is large.
    Huber(Huber),
    /// The pinball loss: the prediction is a quantile.
    Quantile(Quantile),
}

/// e² / 2 for errors up to delta, else delta (|e| - delta / 2) (Huber, 1964).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Huber {
    /// Where small errors end; in standard deviations of the target, because that is what a network learns.
    #[schemars(range(min = 1e-6, max = 1e6))]
    pub delta: f64,
}

impl Default for Huber {
    fn default() -> Self {
        Self { delta: 1.0 }
    }
}

/// The pinball loss (Koenker and Bassett, 1978).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quantile {
    /// The share of true values that should lie below the prediction.
    #[schemars(range(min = 0.001, max = 0.999))]
    pub level: f64,
}

impl Default for Quantile {
    fn default() -> Self {
        Self { level: 0.5 }
    }
}

/// What training makes small.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Of a classifier: the truth is one label a row.
    Classes(ClassLoss),
    /// Of a regression: the truth is as many numbers a row as the network gives.
    Numbers(NumberLoss),
    /// Of an autoencoder: the truth is the row itself.
    Itself(NumberLoss),
    /// Of a variational autoencoder: the negative of the evidence lower bound, the row itself being normally distributed
    /// around what the decoder says (Kingma and Welling, 2014).
    Evidence {
        /// Standard deviation of a number around what the decoder says of it.
        deviation: f64,
        /// How much the divergence from the standard normal distribution counts (Higgins and others, 2017).
        beta: f64,
    },
    /// Of a network that says which of so many orders the tiles of its image were put in; the orders are drawn anew each time.
    Order(Orders),
}

/// Orders in which the tiles of an image are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Tiles along each side.
    pub grid: usize,
    /// How many orders there are.
    pub count: usize,
}

/// Reads and describes an enum whose variants are written by name, or as a map with the name as the one key.
macro_rules! by_name {
    ($type:ident, $what:literal, $about:literal, { $($name:literal => $variant:ident $(($settings:ty))?),+ $(,)? }) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct ByName;

                impl<'de> serde::de::Visitor<'de> for ByName {
                    type Value = $type;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str(concat!($what, ": its name, or a map with its name as the one key"))
                    }

                    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<$type, E> {
                        match name {
                            $($name => Ok($type::$variant $((<$settings>::default()))?),)+
                            unknown => Err(E::unknown_variant(unknown, &[$($name),+])),
                        }
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$type, A::Error> {
                        use serde::de::Error as _;

                        let name: String = map
                            .next_key()?
                            .ok_or_else(|| A::Error::custom(concat!($what, " needs a name")))?;
                        let found = match name.as_str() {
                            $($name => $crate::protocol::by_name!(@read map, $type, $variant $(, $settings)?),)+
                            unknown => return Err(A::Error::unknown_variant(unknown, &[$($name),+])),
                        };
                        match map.next_key::<String>()? {
                            None => Ok(found),
                            Some(second) => Err(A::Error::custom(format!(
                                "one name is wanted here, not two: `{name}` and `{second}`"
                            ))),
                        }
                    }
                }

                deserializer.deserialize_any(ByName)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "description": $about,
                    "type": ["object", "string"],
                    "if": {"type": "string"},
                    "then": {"enum": [$($name),+]},
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": false,
                    "properties": {
                        $($name: $crate::protocol::by_name!(@schema generator $(, $settings)?),)+
                    },
                })
            }
        }
    };
    (@read $map:ident, $type:ident, $variant:ident) => {{
        $map.next_value::<$crate::layers::Nothing>()?;
        $type::$variant
    }};
    (@read $map:ident, $type:ident, $variant:ident, $settings:ty) => {
        $type::$variant($map.next_value::<$settings>()?)
    };
    (@schema $generator:ident) => {
        $generator.subschema_for::<$crate::layers::Nothing>()
    };
    (@schema $generator:ident, $settings:ty) => {
        $generator.subschema_for::<$settings>()
    };
}
pub(crate) use by_name;

by_name! { ClassLoss, "a loss", "What training makes small: a name, or a map with the name as its one key and settings as value.", {
    "sparse_categorical_crossentropy" => SparseCategoricalCrossentropy,
    "binary_crossentropy" => BinaryCrossentropy,
    "focal" => Focal(Focal),
} }

by_name! { NumberLoss, "a loss", "What training makes small: a name, or a map with the name as its one key and settings as value.", {
    "mean_squared_error" => MeanSquaredError,
    "mean_absolute_error" => MeanAbsoluteError,
    "huber" => Huber(Huber),
    "quantile" => Quantile(Quantile),
} }

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

impl Default for Optimizer {
    fn default() -> Self {
        Self::Adam(Adam::default())
    }
}

#[cfg(feature = "libtorch")]
impl Optimizer {
    /// With this share of its learning rate.
    pub(crate) fn slowed(mut self, share: f64) -> Self {
        match &mut self {
            Self::Adam(adam) => adam.learning_rate *= share,
            Self::AdamW(adam) => adam.learning_rate *= share,
            Self::Sgd(sgd) => sgd.learning_rate *= share,
        }
        self
    }
}

by_name! { Optimizer, "an optimizer", "How gradients become steps: a name, or a map with the name as its one key and settings as value.", {
    "adam" => Adam(Adam),
    "adamw" => AdamW(AdamW),
    "sgd" => Sgd(Sgd),
} }

/// How the learning rate changes over the epochs: a name (`cosine`), or a map with settings (`step: {every: 10, factor: 0.5}`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine down.
    Cosine(Cosine),
    /// Down every few epochs.
    Step(StepDecay),
    /// Down after every epoch.
    Exponential(Exponential),
    /// Down when the loss does not fall any more.
    Plateau(Plateau),
}

by_name! { Schedule, "a schedule", "How the learning rate changes over the epochs: a name, or a map with the name as its one key and settings as value.", {
    "cosine" => Cosine(Cosine),
    "step" => Step(StepDecay),
    "exponential" => Exponential(Exponential),
    "plateau" => Plateau(Plateau),
} }

/// From the whole rate to a floor, along half a cosine over all batches (Loshchilov and Hutter, 2017, without restarts).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cosine {
    /// The share of the learning rate at the end.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub floor: f64,
}

/// Times a factor every few epochs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StepDecay {
    /// Epochs from one step to the next.
    #[schemars(range(min = 1, max = 100_000))]
    pub every: u64,
    /// What the rate is multiplied by.
    #[schemars(range(min = 1e-6, max = 1.0))]
    pub factor: f64,
}

impl Default for StepDecay {
    fn default() -> Self {
        Self {
            every: 10,
            factor: 0.1,
        }
    }
}

/// Times a factor after every epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Exponential {
    /// What the rate is multiplied by.
    #[schemars(range(min = 1e-6, max = 1.0))]
    pub factor: f64,
}

impl Default for Exponential {
    fn default() -> Self {
        Self { factor: 0.95 }
    }
}

/// Times a factor when the loss (of the validation part, where there is one) has not fallen for some epochs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Plateau {
    /// What the rate is multiplied by.
    #[schemars(range(min = 1e-6, max = 1.0))]
    pub factor: f64,
    /// Epochs without a lower loss before that.
    #[schemars(range(min = 1, max = 100_000))]
    pub patience: u64,
}

impl Default for Plateau {
    fn default() -> Self {
        Self {
            factor: 0.1,
            patience: 3,
        }
    }
}

/// Ends training when the loss (of the validation part, where there is one) has not fallen for some epochs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyStopping {
    /// Epochs without a lower loss before it ends.
    #[schemars(range(min = 1, max = 100_000))]
    pub patience: u64,
    /// By how much the loss must fall to count as lower.
    #[schemars(range(min = 0.0))]
    pub min_delta: f64,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self {
            patience: 5,
            min_delta: 0.0,
        }
    }
}

/// Which epoch's weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Those at the end.
    Last,
    /// Those after the epoch with the lowest loss (of the validation part, where there is one).
    Best,
}

/// Images are changed a little each time they are learned from, so that the network does not learn them by heart. What is drawn
/// is drawn anew for each image and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Half of the images are mirrored.
    pub flip: Option<Flip>,
    /// Turned by up to so many degrees to either side.
    #[schemars(range(min = 0.0, max = 180.0))]
    pub rotate: f64,
    /// Moved by up to this share of height and width.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub shift: f64,
    /// A window of at least this share of height and width is cut out at a random place and enlarged to the whole; 1 cuts nothing.
    #[schemars(range(min = 0.1, max = 1.0))]
    pub crop: Option<f64>,
    /// Standard deviation of the normal noise that is added to each number.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub noise: f64,
}

/// How images are mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    /// Left and right change places.
    Horizontal,
    /// Top and bottom change places.
    Vertical,
    /// Either, each for itself.
    Both,
}

/// In which numbers a network learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision throughout.
    #[default]
    Single,
    /// Products of dense, convolutional and recurrent layers in bfloat16, everything else in single precision. Faster where the
    /// hardware multiplies such numbers: graphics cards from compute capability 8 on, processors with AMX.
    Mixed,
}

/// Where a network computes: `auto`, `cpu`, or `cuda:0` for the first graphics card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// On the first graphics card, where there is one that libtorch can use; else on the processor.
    #[default]
    Auto,
    /// On the processor.
    Cpu,
    /// On this graphics card.
    Cuda(usize),
}

impl std::fmt::Display for Device {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(index) => write!(formatter, "cuda:{index}"),
        }
    }
}

impl Serialize for Device {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| {
                    D::Error::custom(format!("`{other}` is no device: `auto`, `cpu`, `cuda:0`"))
                }),
        }
    }
}

impl JsonSchema for Device {
    fn schema_name() -> Cow<'static, str> {
        "Device".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where a network computes: `auto` (a graphics card, where there is one), `cpu`, or `cuda:0`, `cuda:1`, ….",
            "type": "string",
            "pattern": "^(auto|cpu|cuda(:[0-9]{1,3})?)$",
        })
    }
}

/// How a training goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// What is made small.
    pub loss: Loss,
    /// How.
    pub optimizer: Optimizer,
    /// How the learning rate changes.
    pub schedule: Option<Schedule>,
    /// Epochs over which the learning rate rises from nothing.
    pub warmup: f64,
    /// When to end before the last epoch.
    pub early_stopping: Option<EarlyStopping>,
    /// Which epoch's weights are kept.
    pub keep: Keep,
    /// Gradients longer than this are shortened to it (Pascanu and others, 2013).
    pub clip_norm: Option<f64>,
    /// What is done to images before they are learned from.
    pub augment: Option<Augmentation>,
    /// Passes over the rows.
    pub epochs: u64,
    /// Rows in a batch.
    pub batch_size: usize,
    /// Decides the first weights, the order of rows and what dropout drops.
    pub seed: u64,
    /// Threads of libtorch; part of what decides the result to the bit.
    pub threads: usize,
    /// Where it is computed.
    pub device: Device,
    /// In which numbers.
    #[serde(default)]
    pub precision: Precision,
}

/// Training asked for. Beside it go the arrays `inputs` (f32, rows × input); what is true of each row, which is `labels` (i64) for
/// classes and `targets` (f32, rows × outputs) for numbers; perhaps `weights` (f32, one a row); the same with `validation_`
/// before their names; tensors that the network starts from, named as its own with `initial.` before it; and on resuming the
/// arrays of the checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The network.
    pub network: Network,
    /// How it learns.
    pub course: Course,
    /// Where an interrupted training stood.
    pub resume: Option<Standing>,
}

/// Two networks that learn from each other: a generator makes up rows, a critic tells them from real ones (Goodfellow and others,
/// 2014), in the form of Gulrajani and others (2017). Beside it go the arrays `inputs` (f32, rows × width) and `labels` (i64, the
/// class of each row). The answer is the array `rows` (f32, made-up rows × width), class after class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contest {
    /// From numbers drawn from the standard normal distribution and the class, one number for each class, to a row.
    pub generator: Network,
    /// From a row and its class to one number, which is high for real rows.
    pub critic: Network,
    /// How many numbers the generator draws.
    pub noise: usize,
    /// Numbers of a row that are the probabilities of categories.
    pub categories: Vec<Categories>,
    /// Steps of the generator.
    pub steps: u64,
    /// Steps of the critic for each of them.
    pub critic_steps: u64,
    /// What it costs that the critic's gradient is not of length 1.
    pub penalty: f64,
    /// How both learn.
    pub optimizer: Optimizer,
    /// Rows for each step.
    pub batch_size: usize,
    /// How many rows are to be made up of each class.
    pub wanted: Vec<usize>,
    /// Decides everything that is drawn.
    pub seed: u64,
    /// Threads of libtorch.
    pub threads: usize,
    /// Where it is computed.
    pub device: Device,
    /// Where an interrupted training stood.
    pub resume: Option<Standing>,
}

/// Numbers of a row that are the probabilities of categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Categories {
    /// The first of them.
    pub start: usize,
    /// How many.
    pub count: usize,
}

/// What can be learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Learning {
    /// A network that learns from rows.
    Network(Box<Training>),
    /// Two that learn from each other.
    Contest(Box<Contest>),
}

/// Where a training stands: everything but the arrays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// The epoch with the lowest loss so far, from 1.
    pub best_epoch: u64,
    /// That loss.
    pub best_loss: f64,
    /// Epochs since the loss fell, for stopping early.
    pub waited: u64,
    /// Epochs since the loss fell or the rate was lowered, for a plateau.
    pub stalled: u64,
    /// What plateaus have made of the learning rate.
    pub rate: f64,
    /// Whether it ended before the last epoch.
    pub is_over: bool,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            epoch: 0,
            batch: 0,
            steps: 0,
            loss: 0.0,
            weight: 0.0,
            rows: 0,
            right: 0,
            history: Vec::new(),
            best_epoch: 0,
            best_loss: f64::MAX,
            waited: 0,
            stalled: 0,
            rate: 1.0,
            is_over: false,
        }
    }
}

/// What an epoch came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Mean loss over the training rows, each at its turn.
    pub loss: f64,
    /// Share of training rows classified rightly, each at its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
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
    /// The epoch whose weights these are, from 1.
    pub epoch: u64,
}

/// A trained network to load, its tensors beside it by name.
///
/// The answer to a prediction with it are arrays for the array `inputs` (f32, rows × input): `outputs` (f64, rows × outputs;
/// probabilities, where the last activation is softmax), and `divergences` (f64, one a row), where the network has a latent layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The network.
    pub network: Network,
    /// Threads of libtorch.
    pub threads: usize,
    /// Where it is computed.
    pub device: Device,
    /// Networks that are drawn from the trained one by dropout, each of which answers (Gal and Ghahramani, 2016): `outputs` is then
    /// draws × rows × outputs.
    pub draws: Option<Draws>,
}

/// A TorchScript module to load, its file beside it as the array `file` (u8).
///
/// A prediction gives the module's `forward` the arrays `input_0`, `input_1`, … (f32, rows × …); the answer is the array
/// `outputs` (f64, rows × outputs).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// The arguments of `forward`, in order.
    pub inputs: Vec<Argument>,
    /// Which of the results, where `forward` gives several.
    pub result: usize,
    /// Numbers of each row that come out.
    pub outputs: usize,
    /// What is done to them.
    pub activation: Activation,
    /// Rows that go through it at once.
    pub batch_size: usize,
    /// Threads of libtorch.
    pub threads: usize,
    /// Where it is computed.
    pub device: Device,
}

/// An argument of a module's `forward`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// The shape of a row as it comes.
    pub shape: Vec<usize>,
    /// Whether the last side, an image's channels, goes before the others.
    pub channels_first: bool,
    /// Whether it is to be whole numbers.
    pub is_whole: bool,
}

/// What can be loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loading {
    /// A trained network.
    Network(Load),
    /// A TorchScript module.
    Script(Script),
}

/// Networks drawn by dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draws {
    /// How many.
    pub count: u64,
    /// Decides them.
    pub seed: u64,
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
    /// Bytes.
    U8(Cow<'a, [u8]>),
}

impl Numbers<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::F64(numbers) => numbers.len(),
            Self::I64(numbers) => numbers.len(),
            Self::U8(numbers) => numbers.len(),
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
            Self::U8(numbers) => Numbers::U8(Cow::Owned(numbers.into_owned())),
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

    /// The bytes of that name.
    pub fn u8(&self, name: &str) -> Result<&[u8], String> {
        match self.find(name).map(|array| &array.numbers) {
            Some(Numbers::U8(bytes)) => Ok(bytes),
            Some(_) => Err(format!("the array `{name}` does not hold bytes")),
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
                .contains("not two")
        );
        let json = serde_json::to_string(&Optimizer::AdamW(AdamW::default())).expect("JSON");
        assert!(matches!(
            serde_json::from_str(&json).expect("back"),
            Optimizer::AdamW(_)
        ));
    }
}
