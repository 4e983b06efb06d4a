//! `model.torch.vae`: a variational autoencoder.

use taktline_core::{
    CheckContext, Error, FitContext, Frame, Model, Predictor, Problem, Result, Schema, Shape,
    Stage, State, anomaly::default_contamination, path, register_kind,
};

use crate::{
    arrays::Table,
    layers::{Activation, Dense, Latent, Layer, walk},
    lesson::check_library,
    protocol::{Loss, Network},
    reconstruction::{self, Lesson},
    settings::network_params,
};

const VERSION: u32 = 1;

network_params! { epochs: "crate::settings::twenty", batch_size: "crate::settings::thirty_two",
/// A variational autoencoder, trained by libtorch: it learns how rows are distributed, and says how likely a row is.
///
/// Dense layers make a row into the mean and the variance of each number of a code; a code is drawn from them, and others make it
/// into a row again. Training makes the negative of the evidence lower bound small: half the squared errors over the square
/// of `deviation`, and `beta` times the divergence of the code from a standard normal distribution (Kingma and Welling,
/// 2014; Higgins and others, 2017). It learns from numbers and from arrays of numbers; scale them first
/// (`features.standardize`, `features.image`), because every number counts as much as any other. There is no target; a column
/// with role `weight` says how much each row counts.
///
/// Adds `score`, the share of training rows with a higher bound (0.99: less likely than 99 % of them) at the mean of the code and with the
/// whole divergence, whatever `beta` is;
/// `prediction`, which is true above `1 - contamination`, and with `code: true` the column `code`: the means, an array of
/// the `bottleneck` numbers. The same seed gives the same weights, to the bit, on one machine with
/// one number of cores.
struct Vae {
    /// The columns to learn from: numbers, truth values, or arrays of numbers. Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// Units of each layer on the way to the code; the way back has the same in reverse order.
    #[serde(default = "one_of_64")]
    #[schemars(length(max = 100), inner(range(min = 1, max = 1_000_000)))]
    hidden: Vec<usize>,
    /// Numbers of the code.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 100_000))]
    bottleneck: usize,
    /// Activation of the layers, but for the code and the last.
    #[serde(default = "relu")]
    activation: Activation,
    /// How far a number usually lies from what the decoder says of it: its standard deviation.
    #[serde(default = "half")]
    #[schemars(range(min = 1e-3, max = 1e3))]
    deviation: f64,
    /// How much the divergence of the code counts.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0, max = 1e3))]
    beta: f64,
    /// The share of rows that is taken for anomalous.
    #[serde(default = "default_contamination")]
    #[schemars(range(min = 0.0, max = 0.5))]
    contamination: f64,
    /// Whether to add the column `code`.
    #[serde(default)]
    code: bool,
}
}

fn one_of_64() -> Vec<usize> {
    vec![64]
}

fn eight() -> usize {
    8
}

fn relu() -> Activation {
    Activation::Relu
}

fn half() -> f64 {
    0.5
}

fn one() -> f64 {
    1.0
}

register_kind! {
    Vae, "model.torch.vae", version: 1,
    example: "- model.torch.vae: {hidden: [64, 32], bottleneck: 4, epochs: 50, contamination: 0.02}",
}

/// The layers of a variational autoencoder of rows of so many numbers, and how many of them make the code.
pub(crate) fn layers(
    numbers: usize,
    hidden: &[usize],
    bottleneck: usize,
    activation: Activation,
) -> (Vec<Layer>, usize) {
    let dense = |units, activation| Layer::Dense(Dense { units, activation });
    let mut layers: Vec<Layer> = hidden
        .iter()
        .map(|units| dense(*units, activation))
        .collect();
    layers.push(dense(2 * bottleneck, Activation::Linear));
    layers.push(Layer::Latent(Latent { size: bottleneck }));
    let code = layers.len();
    layers.extend(hidden.iter().rev().map(|units| dense(*units, activation)));
    layers.push(dense(numbers, Activation::Linear));
    (layers, code)
}

impl Vae {
    fn table(&self) -> Table<'_> {
        Table {
            named: self.features.as_deref(),
            target: None,
        }
    }

    fn layers(&self, numbers: usize) -> (Vec<Layer>, usize) {
        layers(numbers, &self.hidden, self.bottleneck, self.activation)
    }
}

impl Stage for Vae {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        check_library(cx);
        self.table().check(input, cx);
        self.settings().check_with(input, cx);
        let numbers = self.table().input(input).row_length();
        if self.activation == Activation::Softmax {
            cx.report(
                Problem::error(
                    "softmax-not-last",
                    path!["activation"],
                    "`softmax` is for the probabilities of classes, and there are none",
                )
                .help("use `relu`"),
            );
        } else if numbers > 0 {
            for fault in walk(&[numbers], &self.layers(numbers).0).faults {
                cx.report(
                    Problem::error(fault.code, path!["hidden"], fault.message)
                        .help("use fewer units"),
                );
            }
        }
        reconstruction::output_schema(input, self.code.then_some(self.bottleneck), cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Vae {
    fn features(&self, input: &Schema) -> Vec<String> {
        self.table().input(input).columns()
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
        validation: Option<&Frame>,
        cx: &mut FitContext<'_>,
    ) -> Result<State> {
        let input = self.table().input(&train.schema);
        let numbers = input.row_length();
        if numbers == 0 {
            return Err(Error::data("the training rows have no feature"));
        }
        let (layers, code) = self.layers(numbers);
        let lesson = Lesson {
            version: VERSION,
            input,
            network: Network {
                input: vec![numbers],
                layers,
            },
            loss: Loss::Evidence {
                deviation: self.deviation,
                beta: self.beta,
            },
            code: self.code.then_some((code, self.bottleneck)),
            settings: self.settings(),
            contamination: self.contamination,
        };
        reconstruction::fit(lesson, train, validation, cx)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        reconstruction::load(VERSION, state)
    }
}
