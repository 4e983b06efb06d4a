//! `model.torch.autoencoder`: a network that learns to say rows again from fewer numbers.

use taktline_core::{
    CheckContext, Error, FitContext, Frame, Model, Predictor, Problem, Result, Schema, Shape,
    Stage, State, anomaly::default_contamination, path, register_kind,
};

use crate::{
    arrays::Table,
    layers::{Activation, Dense, Dropout, Layer, walk},
    lesson::check_library,
    protocol::{Loss, Network, NumberLoss},
    reconstruction::{self, Lesson},
    settings::network_params,
};

const VERSION: u32 = 1;

network_params! { epochs: "crate::settings::twenty", batch_size: "crate::settings::thirty_two",
/// A network that learns to say rows again from fewer numbers, trained by libtorch: what it says badly is unusual.
///
/// Dense layers make a row into a short code, and others, the same in reverse order, make the code into a row again (Rumelhart,
/// Hinton and Williams, 1986; for anomalies Hawkins and others, 2002). It learns from numbers and from arrays of numbers
/// (pictures, spectra); scale them first (`features.standardize`, `features.image`), because every number counts as much as
/// any other. There is no target; a column with role `weight` says how much each row counts. Learn from ordinary rows where
/// they are known: what it sees often it says well.
///
/// Adds `score`, the share of training rows that it says better (0.99: worse than 99 % of them), `prediction`, which is true
/// above `1 - contamination`, and with `code: true` the column `code`: an array of the `bottleneck` numbers. The same seed
/// gives the same weights, to the bit, on one machine with one number of cores.
struct Autoencoder {
    /// The columns to learn from: numbers, truth values, or arrays of numbers. Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// Units of each layer on the way to the code; the way back has the same in reverse order.
    #[serde(default = "one_of_64")]
    #[schemars(length(max = 100), inner(range(min = 1, max = 1_000_000)))]
    hidden: Vec<usize>,
    /// Numbers of the code.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 1_000_000))]
    bottleneck: usize,
    /// Activation of the layers, but for the code and the last.
    #[serde(default = "relu")]
    activation: Activation,
    /// Share of a row's numbers that is set to zero before it is made into a code, and is to be said again nonetheless (a denoising
    /// autoencoder; Vincent and others, 2008).
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.95))]
    dropout: f64,
    /// What training makes small.
    #[serde(default)]
    loss: NumberLoss,
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

register_kind! {
    Autoencoder, "model.torch.autoencoder", version: 1,
    example: "- model.torch.autoencoder: {hidden: [64, 16], bottleneck: 4, epochs: 50, contamination: 0.02}",
}

impl Autoencoder {
    fn table(&self) -> Table<'_> {
        Table {
            named: self.features.as_deref(),
            target: None,
        }
    }

    /// The layers of rows of so many numbers, and how many of them make the code.
    fn layers(&self, numbers: usize) -> (Vec<Layer>, usize) {
        let dense = |units, activation| Layer::Dense(Dense { units, activation });
        let mut layers = Vec::new();
        if self.dropout > 0.0 {
            layers.push(Layer::Dropout(Dropout { rate: self.dropout }));
        }
        layers.extend(
            self.hidden
                .iter()
                .map(|units| dense(*units, self.activation)),
        );
        layers.push(dense(self.bottleneck, Activation::Linear));
        let code = layers.len();
        layers.extend(
            self.hidden
                .iter()
                .rev()
                .map(|units| dense(*units, self.activation)),
        );
        layers.push(dense(numbers, Activation::Linear));
        (layers, code)
    }
}

impl Stage for Autoencoder {
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
        }
        if numbers > 0 {
            if self.bottleneck >= numbers && self.dropout == 0.0 {
                let message = format!(
                    "a code of {} numbers can hold a row of {numbers} as it is, so that nothing is learned",
                    self.bottleneck
                );
                cx.report(
                    Problem::warning("bottleneck-too-wide", path!["bottleneck"], message)
                        .help("write a smaller `bottleneck`"),
                );
            }
            for fault in walk(&[numbers], &self.layers(numbers).0).faults {
                if fault.code != "softmax-not-last" {
                    cx.report(
                        Problem::error(fault.code, path!["hidden"], fault.message)
                            .help("use fewer units"),
                    );
                }
            }
        }
        reconstruction::output_schema(input, self.code.then_some(self.bottleneck), cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Autoencoder {
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
            loss: Loss::Itself(self.loss),
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
