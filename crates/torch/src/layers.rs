//! The layers of a network as a user declares them, and the walk of shapes through them. Knows nothing of libtorch.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};

use crate::counts::{counted, thousands};

/// More weights than this is taken for a slip of the pen: 2 GB as 32-bit floats, and training needs three times as much.
const MOST_PARAMETERS: usize = 500_000_000;

/// What a layer does to each number of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Leaves it as it is.
    #[default]
    Linear,
    /// max(0, v).
    Relu,
    /// v where it is positive, else 0.01 v.
    LeakyRelu,
    /// Gaussian error linear unit, v Φ(v) (Hendrycks and Gimpel, 2016).
    Gelu,
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^-v).
    Sigmoid,
    /// Probabilities that sum to one; only on the last layer.
    Softmax,
}

impl Activation {
    /// Its name in YAML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Relu => "relu",
            Self::LeakyRelu => "leaky_relu",
            Self::Gelu => "gelu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Softmax => "softmax",
        }
    }

    /// Whether it never turns a larger number into a smaller one, so that it may follow a max-pool instead of going before it.
    pub fn is_monotonic(self) -> bool {
        !matches!(self, Self::Gelu | Self::Softmax)
    }
}

/// What happens at the edge of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The kernel stays inside: the image shrinks by `kernel - 1`.
    #[default]
    Valid,
    /// Zeros around it: with stride 1 the image keeps its size.
    Same,
}

/// Learned filters that slide over an image, or over the steps of a sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// How many filters: the channels of the output.
    #[schemars(range(min = 1, max = 65536))]
    pub filters: usize,
    /// Height and width of a filter; the steps that it sees of a sequence.
    #[schemars(range(min = 1, max = 1024))]
    pub kernel: usize,
    /// How far a filter moves from one place to the next.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub stride: usize,
    /// What happens at the edge.
    #[serde(default)]
    pub padding: Padding,
    /// Applied to the output.
    #[serde(default)]
    pub activation: Activation,
}

/// One number for each window of an image or a sequence, channel by channel. Written as the window's size, or with `stride`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pool {
    /// Height and width of the window.
    pub size: usize,
    /// How far the window moves.
    pub stride: usize,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PoolMap {
    /// Height and width of the window.
    #[schemars(range(min = 1, max = 1024))]
    size: usize,
    /// How far the window moves; its size, where not given.
    #[schemars(range(min = 1, max = 1024))]
    stride: Option<usize>,
}

/// Brings each channel to mean 0 and variance 1 over the batch, then scales and shifts it by learned amounts (Ioffe and
/// Szegedy, 2015); predictions use the running mean and variance of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchNorm {
    /// How much of the running mean and variance a batch leaves in place.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub momentum: f64,
    /// Added to the variance, so that nothing is divided by zero.
    #[schemars(range(min = 1e-12, max = 1.0))]
    pub epsilon: f64,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self {
            momentum: 0.9,
            epsilon: 1e-3,
        }
    }
}

/// Sets a random share of the numbers to zero while training (Srivastava and others, 2014). Written as the share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dropout {
    /// The share, from 0 to below 1.
    pub rate: f64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DropoutMap {
    /// The share of numbers set to zero.
    #[schemars(range(min = 0.0, max = 0.99))]
    rate: f64,
}

/// Every output is a weighted sum of all inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// How many outputs.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub units: usize,
    /// Applied to the output.
    #[serde(default)]
    pub activation: Activation,
}

/// A way around some layers: their output and their input are added up, so that the layers only learn what is to change
/// (He and others, 2016). Where shape or channels differ, the way around is a learned 1×1 convolution (a dense layer for plain
/// rows). Written as the list of layers, or with `activation`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Residual {
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// Applied to the sum.
    pub activation: Activation,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResidualMap {
    /// The layers, first to last.
    #[schemars(length(min = 1, max = 100))]
    layers: Vec<Layer>,
    /// Applied to the sum.
    #[serde(default)]
    activation: Activation,
}

/// A layer that goes through a sequence step by step and remembers.
///
/// Its dropout is that of Gal and Ghahramani (2016): what is dropped is drawn once a sequence, and the same numbers are dropped
/// at every step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recurrent {
    /// How many numbers it remembers, and gives.
    #[schemars(range(min = 1, max = 65536))]
    pub units: usize,
    /// Whether it gives what it remembers after every step, and not only after the last.
    #[serde(default)]
    pub return_sequences: bool,
    /// Share of a step's numbers that is set to zero while training.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
    /// Share of the remembered numbers that is set to zero on the way to the next step while training.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub recurrent_dropout: f64,
}

/// A learned row of numbers for each of so many things, which the input names by their numbers from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// How many things.
    pub count: usize,
    /// Numbers for each.
    pub size: usize,
}

/// A part of each row with layers of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    /// The shape of the part.
    pub input: Vec<usize>,
    /// Its layers.
    pub layers: Vec<Layer>,
}

/// What becomes of the outputs of branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// They stand beside each other.
    Concatenate,
    /// The sum of the products of two outputs.
    Dot,
}

/// Parts of each row go their own ways and are brought together (late fusion).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Branches {
    /// The parts, in the order of a row's numbers.
    pub branches: Vec<Branch>,
    /// How they come together.
    pub merge: Merge,
}

/// Matrix factorisation (Koren, Bell and Volinsky, 2009): of a user's and an item's number, the sum of a common level, their
/// two biases, and the product of their factors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Factorization {
    /// How many users.
    pub users: usize,
    /// How many items.
    pub items: usize,
    /// Factors of each.
    pub factors: usize,
    /// What the squares of a row's factors and biases add to its loss, times this.
    pub regularization: f64,
}

/// An image cut into a grid of tiles, each of which goes through the same layers; their outputs stand beside each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tiles {
    /// Tiles along each side.
    pub grid: usize,
    /// The layers of each tile.
    pub layers: Vec<Layer>,
}

/// The bottleneck of a variational autoencoder (Kingma and Welling, 2014): the input is a mean and a log-variance for each of so
/// many numbers; while training the numbers are drawn, else they are the means. The divergence from a standard normal
/// distribution is added to the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latent {
    /// How many numbers.
    pub size: usize,
}

/// A row of numbers as an image: height, then width, then channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Its shape.
    pub shape: Vec<usize>,
}

/// An image with each pixel repeated so often along both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Enlarge {
    /// How often.
    pub factor: usize,
}

/// One layer of a network: a map with the layer's name as its one key (`conv: {filters: 32, kernel: 3}`), or the bare name.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Learned filters that slide over the image or the sequence.
    Conv(Conv),
    /// The largest number of each window.
    MaxPool(Pool),
    /// The mean of each window.
    AveragePool(Pool),
    /// The mean of each channel over the whole image or sequence.
    GlobalAveragePool,
    /// The largest number of each channel over the whole image or sequence.
    GlobalMaxPool,
    /// Mean 0 and variance 1, then a learned scale and shift.
    BatchNorm(BatchNorm),
    /// Zeroes a random share while training.
    Dropout(Dropout),
    /// An image as one row of numbers: channel after channel, each of them row after row, as in PyTorch.
    Flatten,
    /// Every output is a weighted sum of all inputs; of a sequence, step by step.
    Dense(Dense),
    /// Layers with a way around them.
    Residual(Residual),
    /// Long short-term memory (Hochreiter and Schmidhuber, 1997).
    Lstm(Recurrent),
    /// Gated recurrent unit (Cho and others, 2014).
    Gru(Recurrent),
    /// Numbers for things; made by kinds, not written in YAML, as those below.
    Embedding(Embedding),
    /// Parts of a row, each with layers of its own.
    Branches(Branches),
    /// A user's and an item's factors and biases.
    Factorization(Factorization),
    /// Tiles of an image through the same layers.
    Tiles(Tiles),
    /// Numbers drawn from what the layers above say of their distribution.
    Latent(Latent),
    /// A row as an image.
    Image(Image),
    /// Each pixel several times.
    Enlarge(Enlarge),
}

/// What can be written in YAML.
const NAMES: [&str; 12] = [
    "conv",
    "max_pool",
    "average_pool",
    "global_average_pool",
    "global_max_pool",
    "batch_norm",
    "dropout",
    "flatten",
    "dense",
    "residual",
    "lstm",
    "gru",
];
const BARE: [&str; 4] = [
    "flatten",
    "global_average_pool",
    "global_max_pool",
    "batch_norm",
];

fn one() -> usize {
    1
}

/// The network of the digit-inspection job: three convolutions, two poolings, two dense layers; 93,322 weights for ten classes.
pub fn small_cnn(ending: Ending) -> Vec<Layer> {
    let conv = |filters| {
        Layer::Conv(Conv {
            filters,
            kernel: 3,
            stride: 1,
            padding: Padding::Valid,
            activation: Activation::Relu,
        })
    };
    let pool = || Layer::MaxPool(Pool { size: 2, stride: 2 });
    vec![
        conv(32),
        pool(),
        conv(64),
        pool(),
        conv(64),
        Layer::Flatten,
        Layer::Dense(Dense {
            units: 64,
            activation: Activation::Relu,
        }),
        ending.layer(),
    ]
}

impl Layer {
    /// Its name in YAML.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv(_) => "conv",
            Self::MaxPool(_) => "max_pool",
            Self::AveragePool(_) => "average_pool",
            Self::GlobalAveragePool => "global_average_pool",
            Self::BatchNorm(_) => "batch_norm",
            Self::Dropout(_) => "dropout",
            Self::Flatten => "flatten",
            Self::Dense(_) => "dense",
            Self::GlobalMaxPool => "global_max_pool",
            Self::Residual(_) => "residual",
            Self::Lstm(_) => "lstm",
            Self::Gru(_) => "gru",
            Self::Embedding(_) => "embedding",
            Self::Branches(_) => "branches",
            Self::Factorization(_) => "factorization",
            Self::Tiles(_) => "tiles",
            Self::Latent(_) => "latent",
            Self::Image(_) => "image",
            Self::Enlarge(_) => "enlarge",
        }
    }

    /// Its activation, for a layer that can have one.
    pub fn activation(&self) -> Option<Activation> {
        match self {
            Self::Conv(conv) => Some(conv.activation),
            Self::Dense(dense) => Some(dense.activation),
            Self::Residual(residual) => Some(residual.activation),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Layer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LayerVisitor;

        impl<'de> Visitor<'de> for LayerVisitor {
            type Value = Layer;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a layer: its name, or a map with its name as the one key")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Layer, E> {
                match name {
                    "flatten" => Ok(Layer::Flatten),
                    "global_average_pool" => Ok(Layer::GlobalAveragePool),
                    "global_max_pool" => Ok(Layer::GlobalMaxPool),
                    "batch_norm" => Ok(Layer::BatchNorm(BatchNorm::default())),
                    known if NAMES.contains(&known) => Err(E::custom(format!(
                        "the layer `{known}` needs settings: `{known}: …`"
                    ))),
                    unknown => Err(E::unknown_variant(unknown, &NAMES)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Layer, A::Error> {
                let name: String = map
                    .next_key()?
                    .ok_or_else(|| A::Error::custom("a layer needs a name"))?;
                let layer = match name.as_str() {
                    "conv" => Layer::Conv(map.next_value()?),
                    "max_pool" => Layer::MaxPool(map.next_value()?),
                    "average_pool" => Layer::AveragePool(map.next_value()?),
                    "batch_norm" => Layer::BatchNorm(map.next_value()?),
                    "dropout" => Layer::Dropout(map.next_value()?),
                    "dense" => Layer::Dense(map.next_value()?),
                    "flatten" => map.next_value::<Nothing>().map(|_| Layer::Flatten)?,
                    "global_average_pool" => map
                        .next_value::<Nothing>()
                        .map(|_| Layer::GlobalAveragePool)?,
                    "global_max_pool" => {
                        map.next_value::<Nothing>().map(|_| Layer::GlobalMaxPool)?
                    }
                    "residual" => Layer::Residual(map.next_value()?),
                    "lstm" => Layer::Lstm(map.next_value()?),
                    "gru" => Layer::Gru(map.next_value()?),
                    "embedding" => Layer::Embedding(map.next_value()?),
                    "branches" => Layer::Branches(map.next_value()?),
                    "factorization" => Layer::Factorization(map.next_value()?),
                    "tiles" => Layer::Tiles(map.next_value()?),
                    "latent" => Layer::Latent(map.next_value()?),
                    "image" => Layer::Image(map.next_value()?),
                    "enlarge" => Layer::Enlarge(map.next_value()?),
                    unknown => return Err(A::Error::unknown_variant(unknown, &NAMES)),
                };
                match map.next_key::<String>()? {
                    None => Ok(layer),
                    Some(second) => Err(A::Error::custom(format!(
                        "one layer, but two names: `{name}` and `{second}`; give each a list item of its own: `- {second}: …`"
                    ))),
                }
            }
        }

        deserializer.deserialize_any(LayerVisitor)
    }
}

/// An empty map, for what has no settings.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

impl JsonSchema for Layer {
    fn schema_name() -> Cow<'static, str> {
        "Layer".into()
    }

    // Not `oneOf`: with one object schema that has every layer as a property, a wrong key deep inside is reported there.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One layer of a network: a map with the layer's name as its one key, or the bare name.",
            "type": ["object", "string"],
            "if": {"type": "string"},
            "then": {"enum": BARE},
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
            "properties": {
                "conv": generator.subschema_for::<Conv>(),
                "max_pool": generator.subschema_for::<Pool>(),
                "average_pool": generator.subschema_for::<Pool>(),
                "global_average_pool": generator.subschema_for::<Nothing>(),
                "batch_norm": generator.subschema_for::<BatchNorm>(),
                "dropout": generator.subschema_for::<Dropout>(),
                "flatten": generator.subschema_for::<Nothing>(),
                "dense": generator.subschema_for::<Dense>(),
                "global_max_pool": generator.subschema_for::<Nothing>(),
                "residual": generator.subschema_for::<Residual>(),
                "lstm": generator.subschema_for::<Recurrent>(),
                "gru": generator.subschema_for::<Recurrent>(),
            },
        })
    }
}

impl<'de> Deserialize<'de> for Pool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Size(usize),
            Map(PoolMap),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Size(size) => Self { size, stride: size },
            Written::Map(PoolMap { size, stride }) => Self {
                size,
                stride: stride.unwrap_or(size),
            },
        })
    }
}

impl JsonSchema for Pool {
    fn schema_name() -> Cow<'static, str> {
        "Pool".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        number_or_map::<PoolMap>(
            generator,
            "One number for each window of an image: the window's size, or a map with `size` and `stride`.",
            json_schema!({"type": ["integer", "object"], "minimum": 1, "maximum": 1024}),
        )
    }
}

impl<'de> Deserialize<'de> for Dropout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Rate(f64),
            Map(DropoutMap),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Rate(rate) | Written::Map(DropoutMap { rate }) => Self { rate },
        })
    }
}

impl JsonSchema for Dropout {
    fn schema_name() -> Cow<'static, str> {
        "Dropout".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        number_or_map::<DropoutMap>(
            generator,
            "Sets a random share of the numbers to zero while training: the share.",
            json_schema!({"type": ["number", "object"], "minimum": 0.0, "maximum": 0.99}),
        )
    }
}

impl<'de> Deserialize<'de> for Residual {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Layers(Vec<Layer>),
            Map(ResidualMap),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Layers(layers) => Self {
                layers,
                activation: Activation::default(),
            },
            Written::Map(ResidualMap { layers, activation }) => Self { layers, activation },
        })
    }
}

impl JsonSchema for Residual {
    fn schema_name() -> Cow<'static, str> {
        "Residual".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let layer = generator.subschema_for::<Layer>();
        number_or_map::<ResidualMap>(
            generator,
            "Layers with a way around them: the list of layers, or a map with `layers` and `activation`.",
            json_schema!({"type": ["array", "object"], "items": layer, "minItems": 1, "maxItems": 100}),
        )
    }
}

/// A schema for what is written as a bare number or as a map: the number's bounds and the map's keys in one schema, because
/// bounds only speak about numbers and keys only about maps.
fn number_or_map<T: JsonSchema>(
    generator: &mut SchemaGenerator,
    about: &str,
    mut number: Schema,
) -> Schema {
    let map = T::json_schema(generator);
    for key in ["properties", "required", "additionalProperties"] {
        if let Some(value) = map.get(key) {
            number.insert(key.to_owned(), value.clone());
        }
    }
    number.insert("description".to_owned(), about.into());
    number
}

/// How a weight starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Uniform in ±√(6 / (inputs + outputs)) (Glorot and Bengio, 2010).
    Glorot {
        /// How many numbers one output is made of.
        inputs: usize,
        /// How many outputs one number goes into.
        outputs: usize,
    },
    /// All zeros.
    Zeros,
    /// All ones.
    Ones,
    /// Uniform in ±0.05.
    Small,
    /// Uniform in ±1/√units, as PyTorch starts recurrent layers, biases too, and the dense layers after them. Glorot's limits with ones
    /// for the forget gate (Jozefowicz and others, 2015) left the benchmark's sequences at a larger error after four epochs (0.297 in place
    /// of 0.261, the mean of three seeds), and Glorot's limits in the dense layer alone, too (0.287 in place of 0.269, of six); a week of
    /// bakeries (tests/peers/networks_quality.py) at 38.7 in place of 38.6.
    Recurrent {
        /// What a recurrent layer remembers, or what a dense one gets.
        units: usize,
    },
}

/// A tensor that a layer keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The layer's index, its name and the tensor's: `0.conv.weight`; inside other layers `3.residual.0.conv.weight`.
    pub name: String,
    /// The index of the outermost layer.
    pub layer: usize,
    /// Its shape, as libtorch wants it: a convolution's weight is (filters, channels, kernel, kernel), a dense layer's (units, inputs).
    pub shape: Vec<usize>,
    /// How it starts.
    pub start: Start,
    /// Whether training changes it by gradient; else it is a running statistic.
    pub is_trained: bool,
}

impl Parameter {
    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.shape
            .iter()
            .fold(1, |product, side| product.saturating_mul(*side))
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is wrong with a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The layer's index; the number of layers means "after the last".
    pub layer: usize,
    /// The way from there to a layer inside it: indices of layers within `residual`.
    pub inside: Vec<usize>,
    /// The setting at fault, inside the layer.
    pub key: Option<&'static str>,
    /// A stable short name.
    pub code: &'static str,
    /// One line.
    pub message: String,
    /// Said at the caret.
    pub label: Option<String>,
    /// What to do.
    pub help: String,
}

/// The shapes between the layers, and everything wrong with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// The input's shape and the shape after each layer; `None` where a layer above did not fit.
    pub shapes: Vec<Option<Vec<usize>>>,
    /// What is wrong, in layer order.
    pub faults: Vec<Fault>,
}

impl Walk {
    /// A line for each layer up to `layer`: `conv → [26, 26, 32]`.
    pub fn steps(&self, layers: &[Layer], layer: usize) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(Some(input)) = self.shapes.first() {
            lines.push(format!("the input is {input:?}"));
        }
        let shown = layers
            .iter()
            .zip(self.shapes.iter().skip(1))
            .enumerate()
            .take(layer);
        for (index, (layer, shape)) in shown {
            if let Some(shape) = shape {
                lines.push(format!("after {}: {shape:?}", named(index, layer)));
            }
        }
        lines
    }

    /// The shape after the last layer, if every layer fits.
    pub fn output(&self) -> Option<&[usize]> {
        self.shapes.last().and_then(Option::as_deref)
    }
}

/// As people count and name them: `layer 3 (max_pool)`.
fn named(index: usize, layer: &Layer) -> String {
    format!("layer {} ({})", index + 1, layer.name())
}

/// Walks a row's shape through the layers: `[28, 28, 1]` → `[26, 26, 32]` → …
///
/// An image is (height, width, channels), a sequence (steps, channels); after `flatten` a row is one list of numbers. Every
/// fault is found, not only the first.
pub fn walk(input: &[usize], layers: &[Layer]) -> Walk {
    let mut walk = walk_within(input, layers, true);
    let parameters = parameters_along(layers, &walk.shapes);
    let count: usize = parameters
        .iter()
        .map(Parameter::len)
        .fold(0, usize::saturating_add);
    if count > MOST_PARAMETERS {
        let largest = parameters.iter().max_by_key(|parameter| parameter.len());
        let layer = largest.map_or(0, |parameter| parameter.layer);
        let weights = largest.map_or(0, Parameter::len);
        walk.faults.push(Fault {
            layer,
            inside: Vec::new(),
            key: None,
            code: "network-too-large",
            message: format!(
                "the network has {} weights; at most {} are allowed",
                thousands(count as u64),
                thousands(MOST_PARAMETERS as u64)
            ),
            label: layers.get(layer).map(|of| {
                format!(
                    "{} has {} of them",
                    named(layer, of),
                    thousands(weights as u64)
                )
            }),
            help: "pool before `flatten`, or use fewer filters and units".into(),
        });
    }
    walk
}

/// `is_whole` says that the last of these layers is the last of the network.
fn walk_within(input: &[usize], layers: &[Layer], is_whole: bool) -> Walk {
    let mut shape = Some(input.to_vec());
    let mut shapes = vec![shape.clone()];
    let mut faults = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let is_last = is_whole && index + 1 == layers.len();
        if layer.activation() == Some(Activation::Softmax) && !is_last {
            faults.push(Fault {
                layer: index,
                inside: Vec::new(),
                key: Some("activation"),
                code: "softmax-not-last",
                message: "`softmax` gives the probabilities of the classes, so it belongs on the last layer".into(),
                label: Some(format!("{} of {}", named(index, layer), layers.len())),
                help: "use `relu` here".into(),
            });
        }
        let within = match (layer, &shape) {
            (Layer::Residual(residual), Some(before)) => {
                walk_within(before, &residual.layers, false).faults
            }
            _ => Vec::new(),
        };
        let is_broken = !within.is_empty();
        faults.extend(within.into_iter().map(|fault| Fault {
            layer: index,
            inside: std::iter::once(fault.layer).chain(fault.inside).collect(),
            message: match fault.code {
                "layer-shape" => format!("inside {}, {}", named(index, layer), fault.message),
                _ => fault.message,
            },
            ..fault
        }));
        shape = shape
            .filter(|_| !is_broken)
            .and_then(|before| match after(&before, layer) {
                Ok(after) => Some(after),
                Err((key, label, help)) => {
                    faults.push(Fault {
                        layer: index,
                        inside: Vec::new(),
                        key,
                        code: "layer-shape",
                        message: format!(
                            "{} does not fit its input of shape {before:?}",
                            named(index, layer)
                        ),
                        label: Some(label),
                        help,
                    });
                    None
                }
            });
        shapes.push(shape.clone());
    }
    Walk { shapes, faults }
}

/// How a network ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In the probability of each of so many classes.
    Classes(usize),
    /// In the probability of the second of two classes.
    Binary,
    /// In so many numbers.
    Numbers(usize),
}

impl Ending {
    /// The last layer of a network that ends so.
    pub fn layer(self) -> Layer {
        let (units, activation) = match self {
            Self::Classes(classes) => (classes, Activation::Softmax),
            Self::Binary => (1, Activation::Sigmoid),
            Self::Numbers(numbers) => (numbers, Activation::Linear),
        };
        Layer::Dense(Dense { units, activation })
    }

    /// The same as YAML.
    fn written(self) -> String {
        match self {
            Self::Classes(classes) => format!("- dense: {{units: {classes}, activation: softmax}}"),
            Self::Binary => "- dense: {units: 1, activation: sigmoid}".to_owned(),
            Self::Numbers(numbers) => format!("- dense: {{units: {numbers}}}"),
        }
    }
}

/// That a network ends as it should. `output` is the shape after its last layer, where it is known; the ending comes with what is
/// known about it (\"`label` has 10 classes\"), and is none where only the rows tell how many classes there are.
pub fn ends(
    layers: &[Layer],
    output: Option<&[usize]>,
    ending: Option<(Ending, String)>,
) -> Vec<Fault> {
    let Some(last) = layers.last() else {
        return Vec::new();
    };
    let fault = |key, code, message: String, label: Option<String>, help: String| Fault {
        layer: layers.len() - 1,
        inside: Vec::new(),
        key,
        code,
        message,
        label,
        help,
    };
    let is_numbers = matches!(ending, Some((Ending::Numbers(_), _)));
    let Layer::Dense(dense) = last else {
        let (what, code) = match is_numbers {
            true => (
                "a network that learns numbers ends with a `dense` layer",
                "numbers-not-last",
            ),
            false => (
                "a classifier ends with a `dense` layer with `softmax`",
                "softmax-not-last",
            ),
        };
        let help = match &ending {
            Some((ending, _)) => format!("add `{}` below it", ending.written()),
            None => {
                "add a `dense` layer with a unit for each class and `activation: softmax` below it"
                    .into()
            }
        };
        let message = format!("{what}, not with `{}`", last.name());
        return vec![fault(
            None,
            code,
            message,
            Some("the last layer".into()),
            help,
        )];
    };
    let mut faults = Vec::new();
    let found = dense.activation;
    let label = Some(format!("its activation is `{}`", found.name()));
    match &ending {
        Some((Ending::Numbers(_), _)) if is_bounded(found) => faults.push(fault(
            Some("activation"),
            "numbers-not-last",
            "the last layer must be able to give any number".into(),
            label,
            "leave `activation` of the last `dense` layer out".into(),
        )),
        Some((Ending::Binary, _)) if found != Activation::Sigmoid => faults.push(fault(
            Some("activation"),
            "softmax-not-last",
            "with `binary_crossentropy` the last layer gives the probability of the second class"
                .into(),
            label,
            "write `units: 1, activation: sigmoid` on the last `dense` layer".into(),
        )),
        None | Some((Ending::Classes(_), _)) if found != Activation::Softmax => faults.push(fault(
            Some("activation"),
            "softmax-not-last",
            "the last layer must give the probabilities of the classes".into(),
            label,
            "write `activation: softmax` on the last `dense` layer".into(),
        )),
        _ => {}
    }
    let given = output.map_or(dense.units, product);
    match ending {
        None | Some((Ending::Classes(_), _)) if dense.units < 2 => faults.push(fault(
            Some("units"),
            "class-count",
            "the last layer needs a unit for each class, two at least".into(),
            None,
            "for a yes/no target use `units: 2`".into(),
        )),
        Some((Ending::Classes(classes), evidence)) if classes != dense.units => faults.push(fault(
            Some("units"),
            "class-count",
            format!(
                "the last layer has {}, but the target has {}",
                counted(dense.units, "unit"),
                counted(classes, "class")
            ),
            Some(evidence),
            format!("write `units: {classes}`"),
        )),
        Some((Ending::Binary, evidence)) if dense.units != 1 => faults.push(fault(
            Some("units"),
            "class-count",
            format!(
                "the last layer has {}, but one probability is wanted",
                counted(dense.units, "unit")
            ),
            Some(evidence),
            "write `units: 1`".into(),
        )),
        Some((Ending::Numbers(numbers), evidence)) if numbers != given => faults.push(fault(
            Some("units"),
            "number-count",
            format!(
                "the network gives {}, but the target has {}",
                counted(given, "number"),
                counted(numbers, "number")
            ),
            Some(evidence),
            match output {
                Some([steps, _]) if numbers.is_multiple_of(*steps) => {
                    format!(
                        "write `units: {}`: each of the {steps} steps gives so many",
                        numbers / steps
                    )
                }
                _ => format!("write `units: {numbers}`"),
            },
        )),
        _ => {}
    }
    faults
}

/// Whether an activation gives numbers of a range only.
fn is_bounded(activation: Activation) -> bool {
    matches!(
        activation,
        Activation::Softmax | Activation::Sigmoid | Activation::Tanh | Activation::Relu
    )
}

type Misfit = (Option<&'static str>, String, String);

/// What an image or a sequence is made of: its sides, without the channels, and the channels.
fn places<'a>(shape: &'a [usize], wanted: &str) -> Result<(&'a [usize], usize), Misfit> {
    match shape {
        [sides @ .., channels] if (1..=2).contains(&sides.len()) => Ok((sides, *channels)),
        _ => Err((
            None,
            "it works on images (height, width, channels) and sequences (steps, channels)"
                .to_owned(),
            format!("put `{wanted}` above `flatten`"),
        )),
    }
}

/// "28×28 image", "40-step sequence".
fn described(sides: &[usize]) -> String {
    match sides {
        [height, width] => format!("{height}×{width} image"),
        [steps] => format!("{steps}-step sequence"),
        _ => format!("{sides:?}"),
    }
}

/// "3×3 kernel", "kernel of 3".
fn sized(size: usize, sides: &[usize], what: &str) -> String {
    match sides.len() {
        2 => format!("{size}×{size} {what}"),
        _ => format!("{what} of {size}"),
    }
}

fn windows(
    shape: &[usize],
    layer: &Layer,
    (size, stride): (usize, usize),
) -> Result<(Vec<usize>, usize), Misfit> {
    let (key, what, help) = match layer {
        Layer::Conv(_) => (
            "kernel",
            "kernel",
            "use a smaller kernel, `padding: same`, or fewer poolings above",
        ),
        _ => (
            "size",
            "window",
            "leave this pooling out, or use a smaller window",
        ),
    };
    let (sides, channels) = places(shape, layer.name())?;
    let after: Option<Vec<usize>> = sides
        .iter()
        .map(|length| slide(*length, size, stride))
        .collect();
    match after {
        Some(after) => Ok((after, channels)),
        None => Err((
            Some(key),
            format!(
                "a {} is larger than the {}",
                sized(size, sides, what),
                described(sides)
            ),
            help.into(),
        )),
    }
}

fn after(shape: &[usize], layer: &Layer) -> Result<Vec<usize>, Misfit> {
    let ours = |message: &str| (None, message.to_owned(), String::new());
    match layer {
        Layer::Conv(conv) => {
            let mut sides = match conv.padding {
                Padding::Same => places(shape, "conv")?
                    .0
                    .iter()
                    .map(|length| length.div_ceil(conv.stride))
                    .collect(),
                Padding::Valid => windows(shape, layer, (conv.kernel, conv.stride))?.0,
            };
            sides.push(conv.filters);
            Ok(sides)
        }
        Layer::MaxPool(pool) | Layer::AveragePool(pool) => {
            let (mut sides, channels) = windows(shape, layer, (pool.size, pool.stride))?;
            sides.push(channels);
            Ok(sides)
        }
        Layer::GlobalAveragePool | Layer::GlobalMaxPool => {
            places(shape, layer.name()).map(|(_, channels)| vec![channels])
        }
        Layer::BatchNorm(_) | Layer::Dropout(_) => Ok(shape.to_vec()),
        Layer::Flatten => Ok(vec![product(shape)]),
        Layer::Dense(dense) => match shape {
            [_] => Ok(vec![dense.units]),
            [steps, _] => Ok(vec![*steps, dense.units]),
            _ => Err((
                None,
                "it needs one row of numbers, not an image".into(),
                "put `- flatten` or `- global_average_pool` above the first `dense`".into(),
            )),
        },
        Layer::Residual(residual) => {
            let within = walk_within(shape, &residual.layers, false);
            let output = within.output().unwrap_or_default().to_vec();
            match way_around(shape, &output) {
                Some(_) => Ok(output),
                None => Err((
                    None,
                    format!("its layers give {output:?}, which {shape:?} cannot be added to"),
                    "layers inside `residual` keep the sides of the image, or divide both by the same stride: use `padding: same`"
                        .into(),
                )),
            }
        }
        Layer::Lstm(recurrent) | Layer::Gru(recurrent) => match shape {
            [steps, _] if recurrent.return_sequences => Ok(vec![*steps, recurrent.units]),
            [_, _] => Ok(vec![recurrent.units]),
            _ => Err((
                None,
                "it goes through sequences: steps, channels".into(),
                match shape.len() {
                    1 => "the layer above gives one row; a recurrent layer above it needs `return_sequences: true`".into(),
                    _ => format!("put `{}` where a row is a sequence", layer.name()),
                },
            )),
        },
        Layer::Embedding(embedding) => match shape {
            [1] => Ok(vec![embedding.size]),
            [count] => Ok(vec![*count, embedding.size]),
            _ => Err(ours("it needs a list of numbers")),
        },
        Layer::Branches(Branches { branches, merge }) => {
            let lengths: Option<Vec<usize>> = branches
                .iter()
                .map(|branch| match walk_within(&branch.input, &branch.layers, false).output() {
                    Some([length]) => Some(*length),
                    _ => None,
                })
                .collect();
            let given: usize = branches.iter().map(|branch| product(&branch.input)).sum();
            match (lengths.as_deref(), merge) {
                _ if shape != [given] => Err(ours("its parts are not the row")),
                (Some(lengths), Merge::Concatenate) => Ok(vec![lengths.iter().sum()]),
                (Some([left, right]), Merge::Dot) if left == right => Ok(vec![1]),
                _ => Err(ours("its branches do not end in rows that go together")),
            }
        }
        Layer::Factorization(_) => match shape {
            [2] => Ok(vec![1]),
            _ => Err(ours("it needs a user and an item")),
        },
        Layer::Tiles(tiles) => {
            let within = tile(shape, tiles.grid)
                .map(|tile| walk_within(&tile, &tiles.layers, false));
            match within.as_ref().and_then(Walk::output) {
                Some([features]) => Ok(vec![tiles.grid * tiles.grid * features]),
                _ => Err(ours("its layers do not fit the tiles")),
            }
        }
        Layer::Latent(latent) => match shape {
            [length] if *length == 2 * latent.size => Ok(vec![latent.size]),
            _ => Err(ours("it needs a mean and a log-variance a number")),
        },
        Layer::Image(image) => match shape {
            [length] if image.shape.len() == 3 && *length == product(&image.shape) => {
                Ok(image.shape.clone())
            }
            _ => Err(ours("it needs a row of as many numbers as the image has")),
        },
        Layer::Enlarge(enlarge) => match shape {
            [height, width, channels] => {
                Ok(vec![height * enlarge.factor, width * enlarge.factor, *channels])
            }
            _ => Err(ours("it needs an image")),
        },
    }
}

fn product(shape: &[usize]) -> usize {
    shape
        .iter()
        .fold(1, |product, side| product.saturating_mul(*side))
}

/// The shape of a tile of an image, where the grid divides it.
pub fn tile(shape: &[usize], grid: usize) -> Option<Vec<usize>> {
    match shape {
        [height, width, channels]
            if grid > 0 && height.is_multiple_of(grid) && width.is_multiple_of(grid) =>
        {
            Some(vec![height / grid, width / grid, *channels])
        }
        _ => None,
    }
}

/// How the input of a residual block becomes of the shape of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayAround {
    /// It is.
    Identity,
    /// By learned weights: a 1×1 convolution that moves by this stride, or a dense layer.
    Projection {
        /// How far it moves.
        stride: usize,
    },
}

/// How `before` becomes of the shape `after`; none where it cannot.
pub fn way_around(before: &[usize], after: &[usize]) -> Option<WayAround> {
    if before == after {
        return Some(WayAround::Identity);
    }
    let ([sides @ .., _], [sides_after @ .., _]) = (before, after) else {
        return None;
    };
    if sides.len() != sides_after.len() {
        return None;
    }
    let longest = sides.iter().max().copied().unwrap_or(1);
    (1..=longest)
        .find(|stride| {
            sides
                .iter()
                .zip(sides_after)
                .all(|(before, after)| before.div_ceil(*stride) == *after)
        })
        .map(|stride| WayAround::Projection { stride })
}

/// How many places a window of `size` has on `length` numbers.
fn slide(length: usize, size: usize, stride: usize) -> Option<usize> {
    length.checked_sub(size).map(|room| room / stride + 1)
}

/// The zeros before and after `length` numbers that `padding: same` adds, the odd one after, as TensorFlow does it.
pub fn same_padding(length: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let places = length.div_ceil(stride);
    let total = ((places - 1) * stride + kernel).saturating_sub(length);
    (total / 2, total - total / 2)
}

/// The tensors of a network that fits, in layer order.
pub fn parameters(input: &[usize], layers: &[Layer]) -> Vec<Parameter> {
    parameters_along(layers, &walk_within(input, layers, true).shapes)
}

fn parameters_along(layers: &[Layer], shapes: &[Option<Vec<usize>>]) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for (index, (layer, shape)) in layers.iter().zip(shapes).enumerate() {
        let Some(shape) = shape else { break };
        parameters_of(
            layer,
            shape,
            &format!("{index}.{}", layer.name()),
            index,
            &mut parameters,
        );
        let is_after_memory = layers[..index]
            .iter()
            .any(|layer| matches!(layer, Layer::Lstm(_) | Layer::Gru(_)));
        if let (Layer::Dense(_), true) = (layer, is_after_memory) {
            let units = shape.last().copied().unwrap_or_default();
            let own = parameters.iter_mut().filter(|one| one.layer == index);
            own.for_each(|one| one.start = Start::Recurrent { units });
        }
    }
    parameters
}

/// The tensors of layers inside a layer.
fn parameters_inside(
    shape: &[usize],
    layers: &[Layer],
    path: &str,
    outermost: usize,
    parameters: &mut Vec<Parameter>,
) {
    let shapes = walk_within(shape, layers, false).shapes;
    for (index, (layer, shape)) in layers.iter().zip(&shapes).enumerate() {
        let Some(shape) = shape else { break };
        let path = format!("{path}.{index}.{}", layer.name());
        parameters_of(layer, shape, &path, outermost, parameters);
    }
}

fn parameters_of(
    layer: &Layer,
    shape: &[usize],
    path: &str,
    outermost: usize,
    parameters: &mut Vec<Parameter>,
) {
    let channels = shape.last().copied().unwrap_or_default();
    let mut add = |tensor: &str, shape: Vec<usize>, start: Start| {
        parameters.push(Parameter {
            name: format!("{path}.{tensor}"),
            layer: outermost,
            shape,
            start,
            is_trained: !tensor.starts_with("running_"),
        });
    };
    match layer {
        Layer::Conv(conv) => {
            let kernel = match shape.len() {
                3 => [conv.kernel, conv.kernel],
                _ => [1, conv.kernel],
            };
            let window = product(&kernel);
            let start = Start::Glorot {
                inputs: window.saturating_mul(channels),
                outputs: window.saturating_mul(conv.filters),
            };
            let [height, width] = kernel;
            add("weight", vec![conv.filters, channels, height, width], start);
            add("bias", vec![conv.filters], Start::Zeros);
        }
        Layer::Dense(dense) => {
            let start = Start::Glorot {
                inputs: channels,
                outputs: dense.units,
            };
            add("weight", vec![dense.units, channels], start);
            add("bias", vec![dense.units], Start::Zeros);
        }
        Layer::BatchNorm(_) => {
            add("weight", vec![channels], Start::Ones);
            add("bias", vec![channels], Start::Zeros);
            add("running_mean", vec![channels], Start::Zeros);
            add("running_variance", vec![channels], Start::Ones);
        }
        Layer::Lstm(recurrent) | Layer::Gru(recurrent) => {
            let units = recurrent.units;
            let gates = match layer {
                Layer::Lstm(_) => 4 * units,
                _ => 3 * units,
            };
            let start = Start::Recurrent { units };
            add("weight_input", vec![gates, channels], start);
            add("weight_recurrent", vec![gates, units], start);
            add("bias_input", vec![gates], start);
            add("bias_recurrent", vec![gates], start);
        }
        Layer::Residual(residual) => {
            parameters_inside(shape, &residual.layers, path, outermost, parameters);
            let output = walk_within(shape, &residual.layers, false);
            let output = output.output().unwrap_or_default();
            if let Some(WayAround::Projection { .. }) = way_around(shape, output) {
                let outputs = output.last().copied().unwrap_or_default();
                let mut weight = vec![outputs, channels];
                if shape.len() > 1 {
                    weight.extend([1, 1]);
                }
                let start = Start::Glorot {
                    inputs: channels,
                    outputs,
                };
                parameters.push(Parameter {
                    name: format!("{path}.projection.weight"),
                    layer: outermost,
                    shape: weight,
                    start,
                    is_trained: true,
                });
            }
        }
        Layer::Embedding(embedding) => {
            add(
                "weight",
                vec![embedding.count, embedding.size],
                Start::Small,
            );
        }
        Layer::Branches(Branches { branches, .. }) => {
            for (index, branch) in branches.iter().enumerate() {
                let path = format!("{path}.{index}");
                parameters_inside(&branch.input, &branch.layers, &path, outermost, parameters);
            }
        }
        Layer::Factorization(of) => {
            add("users", vec![of.users, of.factors], Start::Small);
            add("items", vec![of.items, of.factors], Start::Small);
            add("user_bias", vec![of.users, 1], Start::Zeros);
            add("item_bias", vec![of.items, 1], Start::Zeros);
            add("level", vec![1], Start::Zeros);
        }
        Layer::Tiles(tiles) => {
            let tile = tile(shape, tiles.grid).unwrap_or_default();
            parameters_inside(&tile, &tiles.layers, path, outermost, parameters);
        }
        Layer::MaxPool(_)
        | Layer::AveragePool(_)
        | Layer::GlobalAveragePool
        | Layer::GlobalMaxPool
        | Layer::Dropout(_)
        | Layer::Flatten
        | Layer::Latent(_)
        | Layer::Image(_)
        | Layer::Enlarge(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(yaml: &str) -> Vec<Layer> {
        taktline_core::serde_yaml::from_str(yaml).expect("layers")
    }

    #[test]
    fn reads_every_way_to_write_a_layer() {
        let read = layers(
            "[{conv: {filters: 32, kernel: 3, activation: relu}}, {max_pool: 2}, {average_pool: {size: 3, stride: 1}}, \
             batch_norm, {batch_norm: {momentum: 0.99}}, {dropout: 0.25}, {dropout: {rate: 0.5}}, flatten, \
             {dense: {units: 10, activation: softmax}}]",
        );
        assert_eq!(read.len(), 9);
        assert_eq!(read[1], Layer::MaxPool(Pool { size: 2, stride: 2 }));
        assert_eq!(read[2], Layer::AveragePool(Pool { size: 3, stride: 1 }));
        assert_eq!(
            read[4],
            Layer::BatchNorm(BatchNorm {
                momentum: 0.99,
                epsilon: 1e-3
            })
        );
        assert_eq!(read[5], Layer::Dropout(Dropout { rate: 0.25 }));
        let json = serde_json::to_string(&read).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Vec<Layer>>(&json).expect("back"),
            read
        );
    }

    #[test]
    fn refuses_what_is_no_layer() {
        let error = |yaml: &str| {
            taktline_core::serde_yaml::from_str::<Layer>(yaml)
                .expect_err("no layer")
                .to_string()
        };
        assert!(error("convolution").contains("unknown variant"));
        assert!(error("conv").contains("needs settings"));
        assert!(error("{flatten: {}, dense: {units: 3}}").contains("two names"));
        assert!(error("{conv: {filters: 3, kernel: 3, colour: red}}").contains("colour"));
    }

    #[test]
    fn walks_the_digit_network() {
        let walk = walk(&[28, 28, 1], &small_cnn(Ending::Classes(10)));
        assert!(walk.faults.is_empty(), "{:?}", walk.faults);
        let shapes: Vec<Vec<usize>> = walk.shapes.into_iter().flatten().collect();
        assert_eq!(
            shapes,
            [
                vec![28, 28, 1],
                vec![26, 26, 32],
                vec![13, 13, 32],
                vec![11, 11, 64],
                vec![5, 5, 64],
                vec![3, 3, 64],
                vec![576],
                vec![64],
                vec![10]
            ]
        );
        let count: usize = parameters(&[28, 28, 1], &small_cnn(Ending::Classes(10)))
            .iter()
            .map(Parameter::len)
            .sum();
        assert_eq!(count, 320 + 18_496 + 36_928 + 36_928 + 650);
    }

    #[test]
    fn finds_every_fault() {
        let network = layers(
            "[{conv: {filters: 8, kernel: 3, activation: softmax}}, {max_pool: 9}, {conv: {filters: 8, kernel: 5}}, \
             flatten, {dense: {units: 9}}]",
        );
        let walk = walk(&[28, 28, 1], &network);
        let found: Vec<(usize, &str)> = walk
            .faults
            .iter()
            .map(|fault| (fault.layer, fault.code))
            .collect();
        assert_eq!(found, [(0, "softmax-not-last"), (2, "layer-shape")]);
        assert_eq!(
            walk.faults[1].label.as_deref(),
            Some("a 5×5 kernel is larger than the 2×2 image")
        );
        assert_eq!(walk.steps(&network, 2).len(), 3);
        let found: Vec<&str> = ends(&network, None, Some((Ending::Classes(10), "seen".into())))
            .iter()
            .map(|fault| fault.code)
            .collect();
        assert_eq!(found, ["softmax-not-last", "class-count"]);
    }

    #[test]
    fn wants_flatten_between_image_and_dense() {
        let faults = walk(
            &[8, 8, 3],
            &layers("[{dense: {units: 4}}, {conv: {filters: 4, kernel: 3}}]"),
        )
        .faults;
        assert_eq!(faults.len(), 1);
        assert!(faults[0].help.contains("flatten"));
        let faults = walk(
            &[8, 8, 3],
            &layers("[flatten, {conv: {filters: 4, kernel: 3}}]"),
        )
        .faults;
        assert!(faults[0].help.contains("above `flatten`"));
    }

    #[test]
    fn pads_like_tensorflow() {
        assert_eq!(same_padding(28, 3, 1), (1, 1));
        assert_eq!(same_padding(28, 3, 2), (0, 1));
        assert_eq!(same_padding(28, 4, 1), (1, 2));
        assert_eq!(same_padding(5, 1, 2), (0, 0));
        let network = layers("[{conv: {filters: 4, kernel: 3, stride: 2, padding: same}}]");
        assert_eq!(
            walk(&[28, 27, 1], &network).output(),
            Some(&[14, 14, 4][..])
        );
    }

    #[test]
    fn refuses_a_network_that_cannot_fit_in_memory() {
        let faults = walk(
            &[1000, 1000, 3],
            &layers("[flatten, {dense: {units: 1000000}}]"),
        )
        .faults;
        assert_eq!(faults[0].code, "network-too-large");
    }

    #[test]
    fn sequences_are_convolved_pooled_and_remembered() {
        let network = layers(
            "[{conv: {filters: 8, kernel: 5, padding: same}}, {max_pool: 2}, {lstm: {units: 6, return_sequences: true}}, \
             {gru: {units: 4}}, {dense: {units: 1}}]",
        );
        let walk = walk(&[40, 3], &network);
        assert!(walk.faults.is_empty(), "{:?}", walk.faults);
        let shapes: Vec<Vec<usize>> = walk.shapes.into_iter().flatten().collect();
        assert_eq!(
            shapes,
            [
                vec![40, 3],
                vec![40, 8],
                vec![20, 8],
                vec![20, 6],
                vec![4],
                vec![1]
            ]
        );
        let found = parameters(&[40, 3], &network);
        assert_eq!(found[0].shape, [8, 3, 1, 5]);
        let count: usize = found.iter().map(Parameter::len).sum();
        assert_eq!(
            count,
            (8 * 15 + 8) + 4 * 6 * (8 + 6 + 2) + 3 * 4 * (6 + 4 + 2) + 5
        );
        let faults =
            super::walk(&[40, 3], &layers("[{lstm: {units: 6}}, {gru: {units: 4}}]")).faults;
        assert!(faults[0].help.contains("return_sequences"), "{faults:?}");
        let faults = super::walk(&[4, 3], &layers("[{conv: {filters: 8, kernel: 5}}]")).faults;
        assert_eq!(
            faults[0].label.as_deref(),
            Some("a kernel of 5 is larger than the 4-step sequence")
        );
    }

    #[test]
    fn residual_blocks_go_around_their_layers() {
        let network = layers(
            "[{residual: [{conv: {filters: 3, kernel: 3, padding: same}}]}, \
             {residual: {layers: [{conv: {filters: 8, kernel: 3, stride: 2, padding: same}}, batch_norm], activation: relu}}]",
        );
        let walk = walk(&[9, 9, 3], &network);
        assert!(walk.faults.is_empty(), "{:?}", walk.faults);
        assert_eq!(walk.output(), Some(&[5, 5, 8][..]));
        let names: Vec<String> = parameters(&[9, 9, 3], &network)
            .into_iter()
            .map(|parameter| parameter.name)
            .collect();
        assert_eq!(
            names,
            [
                "0.residual.0.conv.weight",
                "0.residual.0.conv.bias",
                "1.residual.0.conv.weight",
                "1.residual.0.conv.bias",
                "1.residual.1.batch_norm.weight",
                "1.residual.1.batch_norm.bias",
                "1.residual.1.batch_norm.running_mean",
                "1.residual.1.batch_norm.running_variance",
                "1.residual.projection.weight",
            ]
        );
        let faults = super::walk(
            &[9, 9, 3],
            &layers("[{residual: [{max_pool: 2}, {conv: {filters: 3, kernel: 9}}]}, {residual: [{conv: {filters: 3, kernel: 3}}]}]"),
        )
        .faults;
        assert_eq!(faults[0].inside, [1]);
        assert!(
            faults[0]
                .message
                .contains("inside layer 1 (residual), layer 2 (conv)"),
            "{faults:?}"
        );
        let faults = super::walk(
            &[9, 9, 3],
            &layers("[{residual: [{conv: {filters: 3, kernel: 3}}]}]"),
        )
        .faults;
        assert!(faults[0].help.contains("padding: same"), "{faults:?}");
    }
}
