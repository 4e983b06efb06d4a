//! `model.torch.mlp`: a network of dense layers.

use taktline_core::{
    CheckContext, Error, FitContext, Frame, Label, Model, Predictor, Problem, Result, Schema,
    Shape, Stage, State, class_weight::ClassWeight, classifier::target_name, path, register_kind,
};

use crate::{
    arrays::Table,
    initial,
    layers::{Activation, Dense, Dropout, Ending, Layer, walk},
    lesson::check_library,
    protocol::Network,
    settings::{AnyLoss, Task, network_params},
    supervised::{self, Asked, Lesson},
};

const VERSION: u32 = 2;

network_params! { epochs: "crate::settings::five", batch_size: "crate::settings::thirty_two",
/// A network of dense layers that learns classes or numbers, trained by libtorch.
///
/// It learns from numbers and from arrays of numbers (an image, a spectrum), each number of which is an input of its own. Scale
/// them first (`features.standardize`, `features.image`). A last layer is added by itself: for classes a unit for each with softmax,
/// for numbers one unit; the network learns numbers in standard deviations from their mean. Weights
/// start as Glorot and Bengio (2010) draw them, biases at zero; rows are shuffled anew each epoch; a column with role `weight`
/// says how much each row counts. With a validation part, its loss is shown after each epoch, and decides about early stopping, the
/// best epoch and plateaus. The same seed gives the same weights, to the bit, on one machine with one number of cores.
///
/// Adds `prediction`, and for classes `probability_<class>` and, for two, `score`: the probability of the positive one.
struct Mlp {
    /// The columns to learn from: numbers, truth values, or arrays of numbers. Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The column to learn; the one with role `target`, where not given.
    target: Option<String>,
    /// What is learned: `classification`, `regression`. Default: what the target's type says; of whole numbers it must be said, unless
    /// their classes are known.
    #[serde(default)]
    task: Task,
    /// Units of each hidden layer, first to last.
    #[serde(default = "three_of_128")]
    #[schemars(length(max = 100), inner(range(min = 1, max = 1_000_000)))]
    hidden: Vec<usize>,
    /// Activation of the hidden layers.
    #[serde(default = "relu")]
    activation: Activation,
    /// Share of each hidden layer's outputs that is set to zero while training.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.99))]
    dropout: f64,
    /// What training makes small. Default: `sparse_categorical_crossentropy` for classes, `mean_squared_error` for numbers.
    loss: Option<AnyLoss>,
    /// How much the rows of each class count: `none`, `balanced`, or a weight for each label.
    #[serde(default)]
    class_weight: ClassWeight,
    /// Of two classes, the one whose probability is the `score`. Default: `true`, else `1`, else the last label.
    positive: Option<Label>,
    /// A safetensors file with weights to start from: tensors named as this network's, such as those of another bundle
    /// (`0.dense.weight`). The others are drawn.
    initial_weights: Option<String>,
}
}

fn three_of_128() -> Vec<usize> {
    vec![128, 128, 128]
}

fn relu() -> Activation {
    Activation::Relu
}

register_kind! {
    Mlp, "model.torch.mlp", version: 2,
    example: "- model.torch.mlp: {hidden: [128, 128, 128], epochs: 10}",
}

impl Mlp {
    fn table(&self) -> Table<'_> {
        Table {
            named: self.features.as_deref(),
            target: self.target.as_deref(),
        }
    }

    fn network(&self, row_length: usize, ending: Ending) -> Network {
        let mut layers = Vec::new();
        for units in &self.hidden {
            layers.push(Layer::Dense(Dense {
                units: *units,
                activation: self.activation,
            }));
            if self.dropout > 0.0 {
                layers.push(Layer::Dropout(Dropout { rate: self.dropout }));
            }
        }
        layers.push(ending.layer());
        Network {
            input: vec![row_length],
            layers,
        }
    }

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
}

impl Stage for Mlp {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        check_library(cx);
        self.table().check(input, cx);
        let subject = self.asked().check(input, cx);
        self.settings().check_with(input, cx);
        initial::check(self.initial_weights.as_deref(), cx);
        if self.activation == Activation::Softmax {
            cx.report(
                Problem::error(
                    "softmax-not-last",
                    path!["activation"],
                    "`softmax` gives the probabilities of the classes, so it belongs on the last layer",
                )
                .help("use `relu`; the last layer has softmax by itself"),
            );
        } else if let Some(length) =
            Some(self.table().input(input).row_length()).filter(|length| *length > 0)
        {
            let network = self.network(length, subject.likely_ending());
            for fault in walk(&network.input, &network.layers).faults {
                cx.report(
                    Problem::error(fault.code, path!["hidden"], fault.message)
                        .help("use fewer units"),
                );
            }
        }
        subject.output(input, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Mlp {
    fn features(&self, input: &Schema) -> Vec<String> {
        self.table().input(input).columns()
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
        let input = self.table().input(&train.schema);
        let length = input.row_length();
        if length == 0 {
            return Err(Error::data("the training rows have no feature"));
        }
        let network = |ending| self.network(length, ending);
        let lesson = Lesson {
            version: VERSION,
            input,
            target,
            asked: self.asked(),
            settings: self.settings(),
            augment: None,
            initial: self.initial_weights.as_deref(),
            interval: None,
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

    fn check(yaml: &str, input: &Schema) -> Vec<Problem> {
        checked(yaml, input).1
    }

    fn checked(yaml: &str, input: &Schema) -> (Schema, Vec<Problem>) {
        let stage: Mlp = serde_yaml::from_str(yaml).expect("params");
        let capabilities = Capabilities {
            torch_missing: Some("no library".into()),
        };
        let mut cx = CheckContext {
            stage: "classifier",
            seed: 7,
            directory: Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        let output = stage.check(std::slice::from_ref(input), &mut cx);
        (output, cx.problems)
    }

    fn columns() -> Schema {
        Schema::new(vec![
            Column::new("amount", DataType::Float64),
            Column::new("count", DataType::Int32),
            Column::new("channel", DataType::String),
            Column::new("card", DataType::String).with_role(Role::Id),
            Column::new("is_fraud", DataType::Boolean).with_role(Role::Target),
        ])
    }

    fn codes(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn a_missing_library_is_one_problem_among_others() {
        let problems = check("{}", &columns());
        assert_eq!(codes(&problems), ["torch-missing", "not-numeric"]);
        assert!(problems[0].message.contains("no library"));
        assert!(problems[0].help[0].contains("scripts/setup.sh"));
        assert!(problems[1].message.contains("`channel` (text)"));
    }

    #[test]
    fn named_features_are_checked_one_by_one() {
        let problems = check(
            "{features: [amount, amuont, channel, amount], activation: softmax}",
            &columns(),
        );
        assert_eq!(
            codes(&problems),
            [
                "torch-missing",
                "unknown-column",
                "not-numeric",
                "duplicate",
                "softmax-not-last"
            ]
        );
        assert_eq!(problems[1].path, path!["features", 1_usize]);
    }

    fn telling(target: Column) -> Schema {
        Schema::new(vec![
            Column::new("amount", DataType::Float64),
            target.with_role(Role::Target),
        ])
    }

    #[test]
    fn the_positive_class_is_one_of_two() {
        let of = |positive: &str, target: Column| {
            let params = format!("{{task: classification, positive: {positive}}}");
            let mut problems = check(&params, &telling(target));
            problems.remove(0);
            problems
        };
        let text = || Column::new("kind", DataType::String);
        let named = |names: &[&str]| {
            text().with_categories(names.iter().map(|name| (*name).to_owned()).collect())
        };
        assert!(of("false", Column::new("is_fraud", DataType::Boolean)).is_empty());
        assert!(of("b", named(&["a", "b"])).is_empty());
        assert!(of("b", text()).is_empty());
        let unknown = of("fals", Column::new("is_fraud", DataType::Boolean));
        assert_eq!(codes(&unknown), ["unknown-label"]);
        assert_eq!(unknown[0].path, path!["positive"]);
        assert_eq!(unknown[0].help, ["did you mean `false`?"]);
        assert_eq!(codes(&of("b", named(&["a", "b", "c"]))), ["not-binary"]);
        let numbers = telling(Column::new("price", DataType::Float64));
        let problems = check("{positive: 1}", &numbers);
        assert_eq!(codes(&problems), ["torch-missing", "not-binary"]);
        assert_eq!(problems[1].path, path!["positive"]);
    }

    #[test]
    fn a_positive_class_says_that_there_are_two() {
        let input = telling(Column::new("kind", DataType::String));
        let has_score = |yaml: &str| checked(yaml, &input).0.column("score").is_some();
        assert!(has_score("{positive: web}"));
        assert!(!has_score("{}"));
    }

    #[test]
    fn an_image_is_one_row_of_numbers() {
        let image = [28, 28, 1]
            .iter()
            .rev()
            .fold(DataType::Float32, |item, side| {
                DataType::Array(Box::new(item), *side)
            });
        let input = Schema::new(vec![
            Column::new("image", image),
            Column::new("path", DataType::String).with_role(Role::Id),
            Column::new("label", DataType::String).with_role(Role::Target),
        ]);
        assert_eq!(codes(&check("{}", &input)), ["torch-missing"]);
        let stage: Mlp = serde_yaml::from_str("{dropout: 0.5}").expect("params");
        assert_eq!(stage.features(&input), ["image"]);
        let network = stage.network(784, Ending::Classes(10));
        assert_eq!(network.layers.len(), 7);
        assert_eq!(
            walk(&network.input, &network.layers).output(),
            Some(&[10][..])
        );
    }

    #[test]
    fn arrays_and_numbers_are_learned_together() {
        let array = |item| DataType::Array(Box::new(item), 4);
        let input = Schema::new(vec![
            Column::new("spectrum", array(DataType::Float32)),
            Column::new("load", DataType::Float64),
            Column::new("is_new", DataType::Boolean),
            Column::new("label", DataType::Boolean).with_role(Role::Target),
        ]);
        assert_eq!(codes(&check("{}", &input)), ["torch-missing"]);
        let stage: Mlp = serde_yaml::from_str("{}").expect("params");
        assert_eq!(stage.features(&input), ["spectrum", "load", "is_new"]);
        assert_eq!(stage.table().input(&input).row_length(), 6);
        let stage: Mlp = serde_yaml::from_str("{features: [load, spectrum]}").expect("params");
        assert_eq!(stage.features(&input), ["load", "spectrum"]);
        // What cannot be learned is never passed over.
        let mut input = input;
        input
            .columns
            .push(Column::new("pixels", array(DataType::UInt8)));
        input.columns.push(Column::new("kind", DataType::String));
        input.columns.push(Column::new("score", DataType::Float64));
        assert_eq!(
            codes(&check("{}", &input)),
            [
                "torch-missing",
                "image-not-scaled",
                "not-numeric",
                "name-taken"
            ]
        );
    }

    #[test]
    fn the_example_is_a_stage() {
        let kind = taktline_core::Registry::collect()
            .expect("registry")
            .get("model.torch.mlp")
            .expect("registered");
        let list: serde_yaml::Value = serde_yaml::from_str(kind.example).expect("YAML");
        (kind.parse)(&list[0]["model.torch.mlp"]).expect("a stage");
    }
}
