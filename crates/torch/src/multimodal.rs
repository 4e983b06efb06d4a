//! `model.torch.multimodal`: pictures, sound, text and tables learned from together.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, FitContext, Frame, Label, Model, ParamPath, Predictor, Problem, Result,
    Schema, Shape, Stage, State, class_weight::ClassWeight, classifier::target_name, counted, path,
    register_kind,
};

use crate::{
    arrays::{Input, Part, Table},
    initial,
    layers::{
        Activation, Branch, Branches, Conv, Dense, Dropout, Ending, Fault, Layer, Merge, Padding,
        Pool, Recurrent, walk,
    },
    lesson::{check_library, layer_problem},
    protocol::{Augmentation, Network},
    settings::{AnyLoss, Task, network_params},
    supervised::{self, Asked, Lesson},
};

const VERSION: u32 = 1;

network_params! { epochs: "crate::settings::twenty", batch_size: "crate::settings::thirty_two",
/// A network that learns from pictures, sound, text and tables together, trained by libtorch.
///
/// Each branch reads one column of arrays, or several columns of numbers, and goes its own way through its layers; what the
/// branches end in stands beside each other and goes through `hidden` layers (late fusion; Ngiam and others, 2011). A branch
/// without `layers` gets some by what it reads: a picture (height × width × channels) two convolutions with pooling and the mean
/// of each channel; a sequence (steps × channels, such as `features.mel_spectrogram` makes) a recurrent layer; numbers (also
/// those of `features.tf_idf`) a dense layer. Scale the numbers first. Text comes in as numbers: `features.tf_idf` or
/// `features.hash_text`.
///
/// For classes the network ends in a unit for each with softmax; for numbers in one unit, and it learns them in standard
/// deviations from their mean. A column with role `weight` says how much each row counts. The same seed gives the same weights,
/// to the bit, on one machine with one number of cores.
///
/// Adds `prediction`, and for classes `probability_<class>` and, for two, `score`: the probability of the positive one.
struct Multimodal {
    /// What is read, each with its own way.
    #[schemars(length(min = 1, max = 32))]
    branches: Vec<Modality>,
    /// The column to learn; the one with role `target`, where not given.
    target: Option<String>,
    /// What is learned: `classification`, `regression`. Default: what the target's type says; of whole numbers it must be said, unless
    /// their classes are known.
    #[serde(default)]
    task: Task,
    /// Units of the dense layers where the branches have come together.
    #[serde(default = "one_of_64")]
    #[schemars(length(max = 20), inner(range(min = 1, max = 1_000_000)))]
    hidden: Vec<usize>,
    /// Share of what the branches end in that is set to zero while training.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.95))]
    dropout: f64,
    /// What training makes small. Default: `sparse_categorical_crossentropy` for classes, `mean_squared_error` for numbers.
    loss: Option<AnyLoss>,
    /// How much the rows of each class count: `none`, `balanced`, or a weight for each label.
    #[serde(default)]
    class_weight: ClassWeight,
    /// Of two classes, the one whose probability is the `score`. Default: `true`, else `1`, else the last label.
    positive: Option<Label>,
    /// A safetensors file with weights to start from: tensors named as this network's, such as those of another bundle
    /// (`0.branches.0.0.conv.weight`). The others are drawn.
    initial_weights: Option<String>,
}
}

/// What one branch reads, and its way.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Modality {
    /// A column of arrays, or a list of columns of numbers.
    input: Columns,
    /// The layers, first to last; by what is read, where not given.
    #[schemars(length(min = 1, max = 100))]
    layers: Option<Vec<Layer>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Columns {
    One(String),
    Several(Vec<String>),
}

impl Columns {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

fn one_of_64() -> Vec<usize> {
    vec![64]
}

register_kind! {
    Multimodal, "model.torch.multimodal", version: 1,
    example: "\
- model.torch.multimodal:
    branches:
      - input: photo
      - input: sound
        layers: [{gru: {units: 32, recurrent_dropout: 0.2}}]
      - input: [temperature, speed]
    hidden: [64]
    epochs: 20
",
}

/// Layers for rows of this shape, which end in a list of numbers.
fn usual_layers(shape: &[usize]) -> Vec<Layer> {
    let conv = |filters| {
        Layer::Conv(Conv {
            filters,
            kernel: 3,
            stride: 1,
            padding: Padding::Same,
            activation: Activation::Relu,
        })
    };
    let pool = || Layer::MaxPool(Pool { size: 2, stride: 2 });
    match shape {
        [height, width, _] if *height >= 4 && *width >= 4 => {
            vec![conv(16), pool(), conv(32), pool(), Layer::GlobalAveragePool]
        }
        [_, _, _] => vec![conv(32), Layer::GlobalAveragePool],
        [_, _] => vec![Layer::Gru(Recurrent {
            units: 32,
            return_sequences: false,
            dropout: 0.0,
            recurrent_dropout: 0.0,
        })],
        _ => vec![Layer::Dense(Dense {
            units: 32,
            activation: Activation::Relu,
        })],
    }
}

impl Modality {
    fn input(&self, schema: &Schema) -> Input {
        let table = Table {
            named: Some(self.input.names()),
            target: None,
        };
        table.input(schema)
    }

    /// The branch over what it reads.
    fn branch(&self, schema: &Schema) -> Branch {
        let shape = match self.input(schema) {
            Input::Array { shape, .. } => shape,
            other => vec![other.row_length()],
        };
        Branch {
            layers: self.layers.clone().unwrap_or_else(|| usual_layers(&shape)),
            input: shape,
        }
    }
}

impl Multimodal {
    fn asked(&self) -> Asked<'_> {
        Asked {
            target: self.target.as_ref(),
            task: self.task,
            loss: self.loss,
            class_weight: &self.class_weight,
            positive: self.positive.as_ref(),
            has_interval: false,
        }
    }

    fn input(&self, schema: &Schema) -> Input {
        let parts: Vec<Part> = self
            .branches
            .iter()
            .flat_map(|branch| branch.input(schema).parts())
            .collect();
        Input::of(parts)
    }

    fn network(&self, schema: &Schema, ending: Ending) -> Network {
        let branches: Vec<Branch> = self
            .branches
            .iter()
            .map(|branch| branch.branch(schema))
            .collect();
        let length = branches
            .iter()
            .map(|branch| branch.input.iter().product::<usize>())
            .sum();
        let mut layers = vec![Layer::Branches(Branches {
            branches,
            merge: Merge::Concatenate,
        })];
        if self.dropout > 0.0 {
            layers.push(Layer::Dropout(Dropout { rate: self.dropout }));
        }
        layers.extend(self.hidden.iter().map(|units| {
            Layer::Dense(Dense {
                units: *units,
                activation: Activation::Relu,
            })
        }));
        layers.push(ending.layer());
        Network {
            input: vec![length],
            layers,
        }
    }

    fn check_branch(&self, index: usize, schema: &Schema, cx: &mut CheckContext<'_>) {
        let modality = &self.branches[index];
        let table = Table {
            named: Some(modality.input.names()),
            target: self.target.as_deref(),
        };
        let mut problems = Vec::new();
        std::mem::swap(&mut problems, &mut cx.problems);
        table.check(schema, cx);
        std::mem::swap(&mut problems, &mut cx.problems);
        let has_failed = !problems.is_empty();
        for mut problem in problems {
            problem.path = path!["branches", index, "input"];
            cx.report(problem);
        }
        if has_failed {
            return;
        }
        let branch = modality.branch(schema);
        let walked = walk(&branch.input, &branch.layers);
        let place = |fault: &Fault, problem: Problem| Problem {
            path: match modality.layers {
                Some(_) => path!["branches", index].join("layers").join(fault.layer),
                None => path!["branches", index],
            },
            ..problem
        };
        for fault in &walked.faults {
            cx.report(place(fault, layer_problem(fault, &walked, &branch.layers)));
        }
        if let Some(shape) = walked.output().filter(|shape| shape.len() != 1) {
            let message = format!(
                "the branch ends in {shape:?}, but branches come together as lists of numbers"
            );
            cx.report(
                Problem::error("layer-shape", path!["branches", index], message).help(
                    "end its layers with `flatten`, `global_average_pool` or a recurrent layer",
                ),
            );
        }
    }
}

impl Stage for Multimodal {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        check_library(cx);
        let mut seen: Vec<&String> = Vec::new();
        for (index, branch) in self.branches.iter().enumerate() {
            self.check_branch(index, input, cx);
            // The branch itself reports what it reads twice.
            let others = seen.len();
            for name in branch.input.names() {
                if seen[..others].contains(&name) {
                    cx.report(Problem::error(
                        "duplicate",
                        path!["branches", index, "input"],
                        format!("`{name}` is read twice"),
                    ));
                }
                seen.push(name);
            }
        }
        let subject = self.asked().check(input, cx);
        self.settings().check_with(input, cx);
        initial::check(self.initial_weights.as_deref(), cx);
        if !cx.failed() {
            let network = self.network(input, subject.likely_ending());
            for fault in walk(&network.input, &network.layers).faults {
                cx.report(
                    Problem::error(fault.code, ParamPath::kind(), fault.message).help(fault.help),
                );
            }
        }
        subject.output(input, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Multimodal {
    fn features(&self, input: &Schema) -> Vec<String> {
        self.input(input).columns()
    }

    fn target(&self, input: &Schema) -> Option<String> {
        target_name(self.target.as_ref(), input)
    }

    fn allow_pii(&self) -> bool {
        self.allow_pii
    }

    fn files(&self) -> Vec<String> {
        self.initial_weights.iter().cloned().collect()
    }

    fn fit(
        &self,
        train: &Frame,
        validation: Option<&Frame>,
        cx: &mut FitContext<'_>,
    ) -> Result<State> {
        let target = Model::target(self, &train.schema)
            .ok_or_else(|| Error::data("the training rows have no target column"))?;
        let input = self.input(&train.schema);
        if input.row_length() == 0 {
            return Err(Error::data(format!(
                "the {} read nothing",
                counted(self.branches.len(), "branch")
            )));
        }
        let lesson = Lesson {
            version: VERSION,
            input,
            target,
            asked: self.asked(),
            settings: self.settings(),
            augment: None::<Augmentation>,
            initial: self.initial_weights.as_deref(),
            interval: None,
        };
        let network = |ending| self.network(&train.schema, ending);
        supervised::fit(lesson, network, train, validation, cx)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        supervised::load(VERSION, state)
    }
}
