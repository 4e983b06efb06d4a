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

/// Learned filters that slide over the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// How many filters: the channels of the output.
    #[schemars(range(min = 1, max = 65536))]
    pub filters: usize,
    /// Height and width of a filter.
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

/// One number for each window of an image, channel by channel. Written as the window's size, or with `stride`.
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

/// One layer of a network: a map with the layer's name as its one key (`conv: {filters: 32, kernel: 3}`), or the bare name.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Learned filters that slide over the image.
    Conv(Conv),
    /// The largest number of each window.
    MaxPool(Pool),
    /// The mean of each window.
    AveragePool(Pool),
    /// The mean of each channel over the whole image.
    GlobalAveragePool,
    /// Mean 0 and variance 1, then a learned scale and shift.
    BatchNorm(BatchNorm),
    /// Zeroes a random share while training.
    Dropout(Dropout),
    /// An image as one row of numbers: height, then width, then channels.
    Flatten,
    /// Every output is a weighted sum of all inputs.
    Dense(Dense),
}

const NAMES: [&str; 8] = [
    "conv",
    "max_pool",
    "average_pool",
    "global_average_pool",
    "batch_norm",
    "dropout",
    "flatten",
    "dense",
];
const BARE: [&str; 3] = ["flatten", "global_average_pool", "batch_norm"];

fn one() -> usize {
    1
}

/// The network of the digit-inspection job: three convolutions, two poolings, two dense layers; 93,322 weights for ten classes.
pub fn small_cnn(classes: usize) -> Vec<Layer> {
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
        Layer::Dense(Dense {
            units: classes,
            activation: Activation::Softmax,
        }),
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
        }
    }

    /// Its activation, for a layer that can have one.
    pub fn activation(&self) -> Option<Activation> {
        match self {
            Self::Conv(conv) => Some(conv.activation),
            Self::Dense(dense) => Some(dense.activation),
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

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

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
}

/// A tensor that a layer keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The layer's index, its name and the tensor's: `0.conv.weight`.
    pub name: String,
    /// The layer's index.
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
/// An image is (height, width, channels); after `flatten` a row is one list of numbers. Every fault is found, not only the first.
pub fn walk(input: &[usize], layers: &[Layer]) -> Walk {
    let mut shape = Some(input.to_vec());
    let mut shapes = vec![shape.clone()];
    let mut faults = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let is_last = index + 1 == layers.len();
        if layer.activation() == Some(Activation::Softmax) && !is_last {
            faults.push(Fault {
                layer: index,
                key: Some("activation"),
                code: "softmax-not-last",
                message: "`softmax` gives the probabilities of the classes, so it belongs on the last layer".into(),
                label: Some(format!("{} of {}", named(index, layer), layers.len())),
                help: "use `relu` here".into(),
            });
        }
        shape = shape.and_then(|before| match after(&before, layer) {
            Ok(after) => Some(after),
            Err((key, label, help)) => {
                faults.push(Fault {
                    layer: index,
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
    let count: usize = parameters_along(layers, &shapes)
        .iter()
        .map(Parameter::len)
        .fold(0, usize::saturating_add);
    if count > MOST_PARAMETERS {
        let largest = parameters_along(layers, &shapes)
            .into_iter()
            .max_by_key(Parameter::len);
        let layer = largest.as_ref().map_or(0, |parameter| parameter.layer);
        let weights = largest.map_or(0, |parameter| parameter.len());
        faults.push(Fault {
            layer,
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
    Walk { shapes, faults }
}

/// That the network ends in one probability a class.
///
/// `classes` is their number, where it is known before training, and what is known about it ("the labels file has 10 classes").
pub fn classifies(layers: &[Layer], classes: Option<(usize, String)>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let last = layers.len().saturating_sub(1);
    match layers.last() {
        Some(Layer::Dense(dense)) => {
            if dense.activation != Activation::Softmax {
                faults.push(Fault {
                    layer: last,
                    key: Some("activation"),
                    code: "softmax-not-last",
                    message: "the last layer must give the probabilities of the classes".into(),
                    label: Some(format!("its activation is `{}`", dense.activation.name())),
                    help: "write `activation: softmax` on the last `dense` layer".into(),
                });
            }
            if dense.units < 2 {
                faults.push(Fault {
                    layer: last,
                    key: Some("units"),
                    code: "class-count",
                    message: "the last layer needs a unit for each class, two at least".into(),
                    label: None,
                    help: "for a yes/no target use `units: 2`".into(),
                });
            } else if let Some((classes, evidence)) = classes.filter(|(classes, _)| *classes != dense.units) {
                faults.push(Fault {
                    layer: last,
                    key: Some("units"),
                    code: "class-count",
                    message: format!("the last layer has {}, but the target has {}", counted(dense.units, "unit"), counted(classes, "class")),
                    label: Some(evidence),
                    help: format!("write `units: {classes}`"),
                });
            }
        }
        Some(other) => faults.push(Fault {
            layer: last,
            key: None,
            code: "softmax-not-last",
            message: format!("a classifier ends with a `dense` layer with `softmax`, not with `{}`", other.name()),
            label: Some("the last layer".into()),
            help: match classes {
                Some((classes, _)) => format!("add `- dense: {{units: {classes}, activation: softmax}}` below it"),
                None => "add a `dense` layer with a unit for each class and `activation: softmax` below it".into(),
            },
        }),
        None => {}
    }
    faults
}

type Misfit = (Option<&'static str>, String, String);

fn after(shape: &[usize], layer: &Layer) -> Result<Vec<usize>, Misfit> {
    let image = |wanted: &str| match shape {
        [height, width, channels] => Ok((*height, *width, *channels)),
        _ => Err((
            None,
            "it works on images: height, width, channels".to_owned(),
            format!("put `{wanted}` above `flatten`"),
        )),
    };
    match layer {
        Layer::Conv(conv) => {
            let (height, width, _) = image("conv")?;
            match conv.padding {
                Padding::Same => Ok(vec![
                    height.div_ceil(conv.stride),
                    width.div_ceil(conv.stride),
                    conv.filters,
                ]),
                Padding::Valid => {
                    let side = |length| slide(length, conv.kernel, conv.stride);
                    match (side(height), side(width)) {
                        (Some(height), Some(width)) => Ok(vec![height, width, conv.filters]),
                        _ => Err((
                            Some("kernel"),
                            format!(
                                "a {0}×{0} kernel is larger than the {height}×{width} image",
                                conv.kernel
                            ),
                            "use a smaller kernel, `padding: same`, or fewer poolings above".into(),
                        )),
                    }
                }
            }
        }
        Layer::MaxPool(pool) | Layer::AveragePool(pool) => {
            let (height, width, channels) = image(layer.name())?;
            let side = |length| slide(length, pool.size, pool.stride);
            match (side(height), side(width)) {
                (Some(height), Some(width)) => Ok(vec![height, width, channels]),
                _ => Err((
                    Some("size"),
                    format!(
                        "a {0}×{0} window is larger than the {height}×{width} image",
                        pool.size
                    ),
                    "leave this pooling out, or use a smaller window".into(),
                )),
            }
        }
        Layer::GlobalAveragePool => {
            image("global_average_pool").map(|(_, _, channels)| vec![channels])
        }
        Layer::BatchNorm(_) | Layer::Dropout(_) => Ok(shape.to_vec()),
        Layer::Flatten => Ok(vec![
            shape
                .iter()
                .fold(1, |product, side| product.saturating_mul(*side)),
        ]),
        Layer::Dense(dense) => match shape {
            [_] => Ok(vec![dense.units]),
            _ => Err((
                None,
                "it needs one row of numbers, not an image".into(),
                "put `- flatten` or `- global_average_pool` above the first `dense`".into(),
            )),
        },
    }
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
    parameters_along(layers, &walk(input, layers).shapes)
}

fn parameters_along(layers: &[Layer], shapes: &[Option<Vec<usize>>]) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for (index, (layer, shape)) in layers.iter().zip(shapes).enumerate() {
        let Some(shape) = shape else { break };
        let channels = shape.last().copied().unwrap_or_default();
        let mut add = |tensor: &str, shape: Vec<usize>, start: Start, is_trained: bool| {
            let name = format!("{index}.{}.{tensor}", layer.name());
            parameters.push(Parameter {
                name,
                layer: index,
                shape,
                start,
                is_trained,
            });
        };
        match layer {
            Layer::Conv(conv) => {
                let window = conv.kernel * conv.kernel;
                let start = Start::Glorot {
                    inputs: window.saturating_mul(channels),
                    outputs: window.saturating_mul(conv.filters),
                };
                add(
                    "weight",
                    vec![conv.filters, channels, conv.kernel, conv.kernel],
                    start,
                    true,
                );
                add("bias", vec![conv.filters], Start::Zeros, true);
            }
            Layer::Dense(dense) => {
                let start = Start::Glorot {
                    inputs: channels,
                    outputs: dense.units,
                };
                add("weight", vec![dense.units, channels], start, true);
                add("bias", vec![dense.units], Start::Zeros, true);
            }
            Layer::BatchNorm(_) => {
                add("weight", vec![channels], Start::Ones, true);
                add("bias", vec![channels], Start::Zeros, true);
                add("running_mean", vec![channels], Start::Zeros, false);
                add("running_variance", vec![channels], Start::Ones, false);
            }
            _ => {}
        }
    }
    parameters
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
        let walk = walk(&[28, 28, 1], &small_cnn(10));
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
        let count: usize = parameters(&[28, 28, 1], &small_cnn(10))
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
        let found: Vec<&str> = classifies(&network, Some((10, "seen".into())))
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
}
