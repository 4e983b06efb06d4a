//! `model.torch.rnn`: a recurrent network that learns from sequences.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, FitContext, Frame, Label, Model, ParamPath, Predictor, Problem, Result,
    Schema, Shape, Stage, State, class_weight::ClassWeight, classifier::target_name, path,
    register_kind,
};

use crate::{
    arrays::{Input, Wanted},
    initial,
    layers::{Activation, Conv, Dense, Ending, Layer, Padding, Recurrent, walk},
    lesson::check_library,
    protocol::Network,
    settings::{AnyLoss, Task, network_params},
    supervised::{self, Asked, Interval, Lesson},
};

const VERSION: u32 = 2;

network_params! { epochs: "crate::settings::twenty", batch_size: "crate::settings::thirty_two",
/// A recurrent network that learns from sequences, trained by libtorch.
///
/// The input is an array column of shape steps × channels, such as `features.sequence`, `features.mel_spectrogram` and
/// `features.mfcc` make, or of plain steps. The network goes through a sequence step by step and remembers (long short-term
/// memory, Hochreiter and Schmidhuber, 1997; or gated recurrent units, Cho and others, 2014); what it remembers at the end
/// goes through dense layers. Where the target is a list of as many numbers as the sequence has steps, it says one after each
/// step, knowing the steps up to there (`list` says otherwise); a target that is a list of another length is said at the end.
/// Predictions are then lists too, and so are `lower` and `upper`; `evaluate.regression` judges them.
///
/// `dropout` and `recurrent_dropout` are those of Gal and Ghahramani (2016): one mask a sequence, the same at every step. With
/// `interval`, predictions of numbers are the mean over networks that dropout draws, and `lower` and `upper` enclose the true value
/// with that probability: they are as far away as the spread of those networks and the remaining noise say, times what was
/// needed on the validation rows (split conformal prediction, Vovk and others, 2005; without a validation part on the training
/// rows, which is too hopeful).
///
/// A column with role `weight` says how much each row counts. The same seed gives the same weights, to the bit, on one machine
/// with one number of cores.
///
/// Adds `prediction`; for numbers with an interval `lower` and `upper`; for classes `probability_<class>` and, for two, `score`: the
/// probability of the positive one.
struct Rnn {
    /// The sequence column; the only array column, where not given.
    input: Option<String>,
    /// The column to learn; the one with role `target`, where not given.
    target: Option<String>,
    /// What is learned: `classification`, `regression`. Default: what the target's type says; of whole numbers it must be said, unless
    /// their classes are known.
    #[serde(default)]
    task: Task,
    /// What remembers: `lstm` or `gru`.
    #[serde(default)]
    cell: Cell,
    /// Filters of a convolution over the steps before the first recurrent layer, five steps wide; none, where not given.
    #[schemars(range(min = 1, max = 65536))]
    filters: Option<usize>,
    /// Numbers that each recurrent layer remembers, first to last.
    #[serde(default = "one_of_64")]
    #[schemars(length(min = 1, max = 20), inner(range(min = 1, max = 65536)))]
    units: Vec<usize>,
    /// Share of each step's numbers that is set to zero while training: what is dropped is drawn once a sequence.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.95))]
    dropout: f64,
    /// The same for what is remembered from step to step.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.95))]
    recurrent_dropout: f64,
    /// Units of the dense layers after the last recurrent one.
    #[serde(default)]
    #[schemars(length(max = 20), inner(range(min = 1, max = 1_000_000)))]
    hidden: Vec<usize>,
    /// When the numbers of a list are said. Default: one after each step where there are as many, else all at the end.
    list: Option<Saying>,
    /// The share of true values that should lie between `lower` and `upper`; no interval, where not given.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    interval: Option<f64>,
    /// How many networks dropout draws for an interval.
    #[serde(default = "fifty")]
    #[schemars(range(min = 2, max = 10_000))]
    samples: u64,
    /// What training makes small. Default: `sparse_categorical_crossentropy` for classes, `mean_squared_error` for numbers.
    loss: Option<AnyLoss>,
    /// How much the rows of each class count: `none`, `balanced`, or a weight for each label.
    #[serde(default)]
    class_weight: ClassWeight,
    /// Of two classes, the one whose probability is the `score`. Default: `true`, else `1`, else the last label.
    positive: Option<Label>,
    /// A safetensors file with weights to start from: tensors named as this network's, such as those of another bundle
    /// (`0.lstm.weight_input`). The others are drawn.
    initial_weights: Option<String>,
}
}

/// What remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Cell {
    /// Long short-term memory.
    #[default]
    Lstm,
    /// Gated recurrent units.
    Gru,
}

/// When the numbers of a list are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Saying {
    /// One after each step, from the steps up to there.
    EachStep,
    /// All from the whole sequence.
    AtEnd,
}

fn one_of_64() -> Vec<usize> {
    vec![64]
}

fn fifty() -> u64 {
    50
}

register_kind! {
    Rnn, "model.torch.rnn", version: 2,
    example: "\
- model.torch.rnn:
    input: history
    units: [32]
    dropout: 0.2
    recurrent_dropout: 0.2
    interval: 0.9
    epochs: 20
",
}

/// Steps and channels; plain steps have one channel.
fn sequence_shape(shape: &[usize]) -> Option<Vec<usize>> {
    match shape {
        [steps] => Some(vec![*steps, 1]),
        [_, _] => Some(shape.to_vec()),
        _ => None,
    }
}

impl Rnn {
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            named: self.input.as_deref(),
            what: "sequence",
            source: "make one with `features.sequence`, `features.mfcc` or `features.mel_spectrogram`, or say `input: NAME`",
        }
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            target: self.target.as_ref(),
            task: self.task,
            loss: self.loss,
            class_weight: &self.class_weight,
            positive: self.positive.as_ref(),
            has_interval: self.interval.is_some(),
        }
    }

    fn layers(&self, steps: usize, ending: Ending) -> Vec<Layer> {
        let is_stepwise = self.list != Some(Saying::AtEnd)
            && matches!(ending, Ending::Numbers(numbers) if numbers == steps && steps > 1);
        let mut layers = Vec::new();
        if let Some(filters) = self.filters {
            layers.push(Layer::Conv(Conv {
                filters,
                kernel: 5,
                stride: 1,
                padding: Padding::Same,
                activation: Activation::Relu,
            }));
        }
        for (place, units) in (1..).zip(&self.units) {
            let recurrent = Recurrent {
                units: *units,
                return_sequences: is_stepwise || place < self.units.len(),
                dropout: self.dropout,
                recurrent_dropout: self.recurrent_dropout,
            };
            layers.push(match self.cell {
                Cell::Lstm => Layer::Lstm(recurrent),
                Cell::Gru => Layer::Gru(recurrent),
            });
        }
        for units in &self.hidden {
            layers.push(Layer::Dense(Dense {
                units: *units,
                activation: Activation::Relu,
            }));
        }
        layers.push(match is_stepwise {
            true => Ending::Numbers(1).layer(),
            false => ending.layer(),
        });
        layers
    }
}

impl Stage for Rnn {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        check_library(cx);
        let sequence = self.wanted().check(input, self.target.as_deref(), cx);
        let shape = sequence.and_then(|(column, shape)| {
            let found = sequence_shape(&shape);
            if found.is_none() {
                let message = format!(
                    "`{}` has shape {shape:?}, but a sequence is steps, or steps and channels",
                    column.name
                );
                cx.report(
                    Problem::error("not-a-sequence", self.wanted().place(), message)
                        .help("for images use `model.torch.cnn`"),
                );
            }
            found
        });
        let subject = self.asked().check(input, cx);
        self.settings().check_with(input, cx);
        initial::check(self.initial_weights.as_deref(), cx);
        if self.interval.is_none() && self.samples != fifty() {
            let message = "`samples` draw an interval, and none is asked for";
            cx.report(
                Problem::error("unused-param", path!["samples"], message)
                    .help("say how much it should hold (`interval: 0.9`), or leave `samples` out"),
            );
        }
        if self.interval.is_some() && self.dropout == 0.0 && self.recurrent_dropout == 0.0 {
            cx.report(
                Problem::error(
                    "interval-without-dropout",
                    path!["interval"],
                    "an interval comes from networks that dropout draws, and nothing is dropped here",
                )
                .help("write `dropout: 0.2` and `recurrent_dropout: 0.2`"),
            );
        }
        if let (Some(shape), Some(Saying::EachStep)) = (&shape, self.list) {
            let numbers = match subject.ending {
                Some((Ending::Numbers(numbers), _)) => numbers,
                _ => 1,
            };
            if numbers != shape[0] {
                let message = format!(
                    "`each_step` says as many numbers as a sequence has steps ({}), and the target has {numbers}",
                    shape[0]
                );
                cx.report(
                    Problem::error("wrong-length", path!["list"], message)
                        .help("leave `list` out: the numbers are then said at the end"),
                );
            }
        }
        if let Some(shape) = shape {
            let layers = self.layers(shape[0], subject.likely_ending());
            for fault in walk(&shape, &layers).faults {
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

impl Model for Rnn {
    fn features(&self, input: &Schema) -> Vec<String> {
        self.wanted()
            .find(input, self.target.as_deref())
            .map(|column| column.name.clone())
            .into_iter()
            .collect()
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
        let missing = |what| Error::data(format!("the training rows have no {what}"));
        let target = Model::target(self, &train.schema).ok_or_else(|| missing("target column"))?;
        let column = self
            .wanted()
            .find(&train.schema, Some(&target))
            .ok_or_else(|| missing("sequence column"))?;
        let (own, _) = column.array().ok_or_else(|| missing("sequence column"))?;
        let shape =
            sequence_shape(&own).ok_or_else(|| missing("sequence of steps and channels"))?;
        let input = Input::Array {
            column: column.name.clone(),
            shape: own,
        };
        let network = |ending| Network {
            layers: self.layers(shape[0], ending),
            input: shape,
        };
        let lesson = Lesson {
            version: VERSION,
            input,
            target,
            asked: self.asked(),
            settings: self.settings(),
            augment: None,
            initial: self.initial_weights.as_deref(),
            interval: self.interval.map(|level| Interval {
                draws: self.samples,
                level,
            }),
        };
        supervised::fit(lesson, network, train, validation, cx)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        supervised::load(VERSION, state)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use polars::prelude::DataType;
    use taktline_core::{Capabilities, Column, Role, serde_yaml};

    use super::*;

    fn codes(yaml: &str, target: Column) -> Vec<&'static str> {
        let steps = DataType::Array(Box::new(DataType::Float32), 8);
        let input = Schema::new(vec![
            Column::new("history", steps),
            target.with_role(Role::Target),
        ]);
        let stage: Rnn = serde_yaml::from_str(yaml).expect("params");
        let capabilities = Capabilities::default();
        let mut cx = CheckContext {
            stage: "network",
            seed: 7,
            directory: Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        stage.check(&[input], &mut cx);
        cx.problems.iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn an_interval_may_be_right_until_the_task_is_said() {
        let of = |more: &str, target: Column| {
            codes(&format!("{{interval: 0.9, dropout: 0.2{more}}}"), target)
        };
        let whole = || Column::new("count", DataType::Int64);
        assert_eq!(of("", whole()), ["task-unknown"]);
        assert!(of(", task: regression", whole()).is_empty());
        assert_eq!(of(", task: classification", whole()), ["unused-param"]);
        assert_eq!(of(", loss: huber", whole()), ["loss-of-other-task"]);
        assert_eq!(of(", loss: focal", whole()), ["unused-param"]);
        let known = || whole().with_categories(vec!["0".into(), "1".into(), "2".into()]);
        assert_eq!(of("", known()), ["unused-param"]);
        assert!(of("", Column::new("price", DataType::Float64)).is_empty());
    }
}
