//! `balance.gan`: training rows of rare classes, made up by a generative adversarial network.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Estimator, FitContext, Frame, Operation, ParamPath, Problem, Result, Schema,
    Shape, Stage, State, path, register_kind,
};

use crate::{
    layers::{Activation, Conv, Dense, Enlarge, Image, Layer, Padding, walk},
    lesson::{self, check_library},
    protocol::{Adam, Contest, Device, Network, Optimizer},
    runtime,
    synthesis::{self, Asked, Material},
};

const VERSION: u32 = 1;
const NAME: &str = "balance.gan";

/// Make up training rows of the smaller classes by a generative adversarial network, trained by libtorch.
///
/// A generator makes rows of numbers drawn at random and a class; a critic learns to tell them from real rows, and the generator
/// learns to be taken for real (Goodfellow and others, 2014). They measure the Wasserstein distance between both, with a penalty
/// on the critic's gradient (Gulrajani and others, 2017), which trains steadily; the distance is the loss that is shown. Each
/// class is learned equally often, so that rare ones are learned too, helped by what all have in common. Rows are made up by the
/// running mean of the generator. Each class gets at least `ratio` times as many training rows as the largest has.
///
/// Numbers with common values or heavy tails are learned through their distribution (all classes counting the same), so that values
/// that many rows have come back as they are; others are scaled. Nothing beyond the smallest and largest value is made up; whole
/// numbers are rounded. Text, truth values and
/// whole numbers named in `categories` are drawn as categories, as in CTGAN (Xu and others, 2019). Arrays of real numbers are
/// made up too; where one image column (`features.image`) is the only feature, by convolutions.
///
/// New rows stand after all others, in the training part. A column with role `weight` has the mean weight of the class; columns
/// that are no features are null. Null and not-a-number in a feature are an error. Rows for validation and testing stay as they
/// are; scoring does not make anything up. Needs a `split.*` above. Whether it helps, the held-out rows tell: compare with
/// `balance.smote` and `class_weight`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Gan {
    /// The column whose classes are balanced; default: the column with the role `target`.
    target: Option<String>,
    /// How many rows a class has at least, as a share of the largest class.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    ratio: f64,
    /// Columns of whole numbers that are categories, not amounts.
    #[serde(default)]
    categories: Vec<String>,
    /// What the networks are made of.
    #[serde(default)]
    network: Form,
    /// Units of the generator's dense layers; the critic has the same.
    #[serde(default = "two_of_128")]
    #[schemars(length(min = 1, max = 20), inner(range(min = 1, max = 65536)))]
    hidden: Vec<usize>,
    /// Filters of the convolutions that make up images.
    #[serde(default = "thirty_two")]
    #[schemars(range(min = 1, max = 1024))]
    filters: usize,
    /// Numbers that are drawn for each row.
    #[serde(default = "thirty_two")]
    #[schemars(range(min = 1, max = 4096))]
    noise: usize,
    /// Steps of the generator.
    #[serde(default = "two_thousand")]
    #[schemars(range(min = 1, max = 10_000_000))]
    steps: u64,
    /// Steps of the critic for each of them.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    critic_steps: u64,
    /// What it costs that the critic's gradient is not of length 1.
    #[serde(default = "ten")]
    #[schemars(range(min = 0.0, max = 1e6))]
    gradient_penalty: f64,
    /// How both learn; the learning rate falls to nothing in the second half of the steps.
    #[serde(default = "gently")]
    optimizer: Optimizer,
    /// Rows for each step.
    #[serde(default = "hundred_twenty_eight")]
    #[schemars(range(min = 2, max = 100_000))]
    batch_size: usize,
    /// Where it computes: `auto` (a graphics card, where there is one), `cpu`, `cuda:0`.
    #[serde(default)]
    device: Device,
    /// Decides everything that is drawn; the pipeline's seed, where not given.
    seed: Option<u64>,
}

/// What the networks are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Form {
    /// Of convolutions, where one image column is the only feature and its height and width are multiples of 4; else of dense
    /// layers.
    #[default]
    Auto,
    /// Of dense layers.
    Dense,
    /// Of convolutions.
    Conv,
}

fn one() -> f64 {
    1.0
}

fn two_of_128() -> Vec<usize> {
    vec![128, 128]
}

fn thirty_two() -> usize {
    32
}

fn two_thousand() -> u64 {
    2000
}

fn three() -> u64 {
    3
}

fn ten() -> f64 {
    10.0
}

fn hundred_twenty_eight() -> usize {
    128
}

/// Momentum makes two networks that follow each other swing.
fn gently() -> Optimizer {
    Optimizer::Adam(Adam {
        learning_rate: 2e-3,
        beta_1: 0.5,
        beta_2: 0.9,
        ..Adam::default()
    })
}

register_kind! {
    Gan, "balance.gan", version: 1,
    example: "- balance.gan: {target: is_fraud, ratio: 0.1, steps: 300, seed: 7}",
}

/// How often an image's sides are halved.
const HALVINGS: usize = 4;

/// An image whose sides can be halved twice: height, width, channels.
fn image(shape: &[usize]) -> Option<[usize; 3]> {
    let [height, width, channels] = match shape {
        [height, width] => [*height, *width, 1],
        [height, width, channels] => [*height, *width, *channels],
        _ => return None,
    };
    let fits = |side: usize| side >= 2 * HALVINGS && side.is_multiple_of(HALVINGS);
    (fits(height) && fits(width)).then_some([height, width, channels])
}

fn dense(units: usize, activation: Activation) -> Layer {
    Layer::Dense(Dense { units, activation })
}

fn conv(filters: usize, stride: usize, activation: Activation) -> Layer {
    Layer::Conv(Conv {
        filters,
        kernel: 3,
        stride,
        padding: Padding::Same,
        activation,
    })
}

impl Gan {
    fn asked(&self) -> Asked<'_> {
        Asked {
            target: self.target.as_deref(),
            ratio: self.ratio,
            categories: &self.categories,
        }
    }

    /// The images that are made up by convolutions; none, where dense layers make up rows.
    fn images(&self, input: &Schema) -> Option<[usize; 3]> {
        match self.network {
            Form::Dense => None,
            Form::Auto | Form::Conv => {
                let only = self.asked().only_array(input);
                only.and_then(|shape| image(&shape))
            }
        }
    }

    /// Generator and critic of rows of so many numbers and so many classes.
    fn networks(
        &self,
        width: usize,
        classes: usize,
        images: Option<[usize; 3]>,
    ) -> (Network, Network) {
        let drawn = vec![self.noise + classes];
        if let Some([height, width, channels]) = images {
            let small = vec![height / HALVINGS, width / HALVINGS, 2 * self.filters];
            let generator = Network {
                input: drawn,
                layers: vec![
                    dense(small.iter().product(), Activation::Relu),
                    Layer::Image(Image { shape: small }),
                    Layer::Enlarge(Enlarge { factor: 2 }),
                    conv(2 * self.filters, 1, Activation::Relu),
                    Layer::Enlarge(Enlarge { factor: 2 }),
                    conv(self.filters, 1, Activation::Relu),
                    conv(channels, 1, Activation::Tanh),
                ],
            };
            let critic = Network {
                input: vec![height, width, channels + classes],
                layers: vec![
                    conv(self.filters, 2, Activation::LeakyRelu),
                    conv(2 * self.filters, 2, Activation::LeakyRelu),
                    Layer::Flatten,
                    dense(1, Activation::Linear),
                ],
            };
            return (generator, critic);
        }
        let all = |activation, outputs| {
            let hidden = self.hidden.iter().map(|units| dense(*units, activation));
            hidden
                .chain([dense(outputs, Activation::Linear)])
                .collect::<Vec<_>>()
        };
        let generator = Network {
            input: drawn,
            layers: all(Activation::Relu, width),
        };
        let critic = Network {
            input: vec![width + classes],
            layers: all(Activation::LeakyRelu, 1),
        };
        (generator, critic)
    }

    fn contest(&self, material: &Material, images: Option<[usize; 3]>, seed: u64) -> Contest {
        let (generator, critic) = self.networks(material.width, material.wanted.len(), images);
        Contest {
            generator,
            critic,
            noise: self.noise,
            categories: material.categories(),
            steps: self.steps,
            critic_steps: self.critic_steps,
            penalty: self.gradient_penalty,
            optimizer: self.optimizer,
            batch_size: self.batch_size,
            wanted: material.wanted.clone(),
            seed: self.seed.unwrap_or(seed),
            threads: runtime::threads(),
            device: self.device,
            resume: None,
        }
    }
}

impl Stage for Gan {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        check_library(cx);
        if self.network == Form::Conv && self.images(input).is_none() && !input.incomplete {
            let message = match self.asked().only_array(input) {
                Some(shape) => format!("images of {shape:?} cannot be halved twice"),
                None => "the only feature is not an image".to_owned(),
            };
            cx.report(
                Problem::error("not-an-image", path!["network"], message).help(
                    "resize the images to multiples of 4 (`features.image`), or say `network: dense`",
                ),
            );
        }
        // As wide as a row of two classes: only the rows tell the categories.
        for network in {
            let (generator, critic) = self.networks(1, 2, self.images(input));
            [generator, critic]
        } {
            for fault in walk(&network.input, &network.layers).faults {
                cx.report(
                    Problem::error(fault.code, ParamPath::kind(), fault.message)
                        .help("use fewer units or filters"),
                );
            }
        }
        self.asked().check(input, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for Gan {
    fn fit_reads(&self, input: &Schema) -> BTreeSet<String> {
        self.asked().reads(input)
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let material = self.asked().material(train)?;
        if material.wanted.iter().all(|count| *count == 0) {
            return material.state(VERSION, &[]);
        }
        let contest = self.contest(&material, self.images(&train.schema), cx.seed);
        let made_up = lesson::contend(contest, &material.rows, &material.labels, cx)?;
        material.state(VERSION, &made_up)
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = inputs.first().cloned().unwrap_or_default();
        synthesis::operations(NAME, VERSION, state, &input)
    }

    fn keeps_rows(&self) -> bool {
        false
    }

    fn is_training_only(&self) -> bool {
        true
    }
}
