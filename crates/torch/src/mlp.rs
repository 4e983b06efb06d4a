//! `model.torch.mlp`: a network of dense layers.

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, Model, ParamPath, Predictor, Problem, Result,
    Role, Schema, Shape, Stage, State, path, register_kind, type_name,
};

use crate::{
    arrays::Input,
    classifier::{self, Lesson, Settings, five, thirty_two},
    layers::{Activation, Dense, Dropout, Layer, walk},
    protocol::{Loss, Network, Optimizer},
};

const VERSION: u32 = 1;

/// A network of dense layers that classifies rows, trained by libtorch.
///
/// It learns from numeric columns, or from one array column (an image) taken as one row of numbers. Scale the numbers first
/// (`features.standardize`, `features.image`). A last layer with a unit for each class and softmax is added by itself. Weights
/// start as Glorot and Bengio (2010) draw them, biases at zero; rows are shuffled anew each epoch; a column with role `weight`
/// says how much each row counts. The same seed gives the same weights, to the bit, on one machine with one number of cores.
/// The target is classes; numbers (regression) are not learned yet.
///
/// Adds `prediction`, `probability_<class>` and, for two classes, `score`: the probability of the second one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mlp {
    /// Numeric columns to learn from, or one array column. Where not given: the only array column, else every numeric column
    /// with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The column to learn; the one with role `target`, where not given.
    target: Option<String>,
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
    /// How gradients become steps.
    #[serde(default)]
    optimizer: Optimizer,
    /// What training makes small.
    #[serde(default)]
    loss: Loss,
    /// How often training goes through all rows.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 100_000))]
    epochs: u64,
    /// Rows for each step.
    #[serde(default = "thirty_two")]
    #[schemars(range(min = 1, max = 1_000_000))]
    batch_size: usize,
    /// Decides first weights, order of rows and dropout; the pipeline's seed, where not given.
    seed: Option<u64>,
    /// Whether features may be personal data.
    #[serde(default)]
    allow_pii: bool,
}

fn three_of_128() -> Vec<usize> {
    vec![128, 128, 128]
}

fn relu() -> Activation {
    Activation::Relu
}

register_kind! {
    Mlp, "model.torch.mlp", version: 1,
    example: "- model.torch.mlp: {hidden: [128, 128, 128], epochs: 10}",
}

impl Mlp {
    fn is_target(&self, column: &Column) -> bool {
        self.target.as_ref() == Some(&column.name)
    }

    fn feature_columns<'a>(&'a self, input: &'a Schema) -> impl Iterator<Item = &'a Column> {
        input
            .with_role(Role::Feature)
            .filter(|column| !self.is_target(column))
    }

    /// The only array column, where features are not named and there is just one.
    fn default_array<'a>(&'a self, input: &'a Schema) -> Option<&'a Column> {
        let mut arrays = self
            .feature_columns(input)
            .filter(|column| column.array().is_some());
        arrays.next().filter(|_| arrays.next().is_none())
    }

    fn input(&self, input: &Schema) -> Input {
        let of_array = |column: &Column| {
            let (shape, _) = column.array()?;
            Some(Input::Array {
                column: column.name.clone(),
                shape,
            })
        };
        let array = match self.features.as_deref() {
            Some([only]) => input.column(only).and_then(of_array),
            Some(_) => None,
            None => self.default_array(input).and_then(of_array),
        };
        array.unwrap_or_else(|| {
            Input::Columns(match &self.features {
                Some(features) => input.expand(features.iter().map(String::as_str)),
                None => self
                    .feature_columns(input)
                    .filter(|column| column.is_numeric())
                    .map(|column| column.name.clone())
                    .collect(),
            })
        })
    }

    fn network(&self, row_length: usize, classes: usize) -> Network {
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
        layers.push(Layer::Dense(Dense {
            units: classes,
            activation: Activation::Softmax,
        }));
        Network {
            input: vec![row_length],
            layers,
        }
    }

    fn check_features(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        let not_a_number = |column: &Column, place: ParamPath| {
            let name = &column.name;
            match column.array() {
                Some((_, DataType::UInt8)) => Problem::error(
                    "image-not-scaled",
                    place,
                    format!("`{name}` holds raw pixels from 0 to 255"),
                )
                .help(format!(
                    "put `- features.image: {{column: {name}}}` above, which scales them to [0, 1]"
                )),
                _ => {
                    let message = format!(
                        "the feature `{name}` is {}, not a number",
                        type_name(&column.dtype)
                    );
                    Problem::error("not-numeric", place, message)
                        .help("encode it above the model (`features.one_hot`)")
                }
            }
        };
        let is_float_array = |column: &Column| {
            matches!(
                column.array(),
                Some((_, DataType::Float32 | DataType::Float64))
            )
        };
        let Some(features) = &self.features else {
            if let Some(array) = self.default_array(input) {
                if !is_float_array(array) {
                    cx.report(not_a_number(array, ParamPath::kind()));
                }
                return;
            }
            let others: Vec<String> = self
                .feature_columns(input)
                .filter(|column| !column.is_numeric())
                .map(|column| format!("`{}` ({})", column.name, type_name(&column.dtype)))
                .collect();
            if !others.is_empty() {
                let message = format!("not numbers, so no features: {}", others.join(", "));
                cx.report(
                    Problem::error("not-numeric", ParamPath::kind(), message)
                        .label("learns from every column with role `feature`")
                        .help("encode them (`features.one_hot`), give them another role (`id`, `ignore`) under `columns:`, or list `features:`"),
                );
            } else if !input.incomplete && self.input(input).row_length() == 0 {
                cx.report(Problem::error(
                    "no-features",
                    ParamPath::kind(),
                    "no column has the role `feature`",
                ));
            }
            return;
        };
        for (index, name) in features.iter().enumerate() {
            let place = path!["features", index];
            if features[..index].contains(name) {
                cx.report(Problem::error(
                    "duplicate",
                    place,
                    format!("the feature `{name}` is named twice"),
                ));
                continue;
            }
            match input.column(name) {
                None => cx.report(classifier::unknown_column(input, name, place)),
                Some(column)
                    if column.is_numeric() || (features.len() == 1 && is_float_array(column)) => {}
                Some(column) if is_float_array(column) => {
                    let message = format!("`{name}` is an array, which must be the only feature");
                    cx.report(
                        Problem::error("not-numeric", place, message)
                            .help("leave the other features out"),
                    );
                }
                Some(column) => cx.report(not_a_number(column, place)),
            }
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
        classifier::check_library(cx);
        self.check_features(input, cx);
        let target = classifier::check_target(input, self.target.as_ref(), cx);
        classifier::check_weights(input, cx);
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
            Some(self.input(input).row_length()).filter(|length| *length > 0)
        {
            let classes = target
                .and_then(classifier::known_classes)
                .map_or(2, |classes| classes.len());
            let network = self.network(length, classes);
            for fault in walk(&network.input, &network.layers).faults {
                cx.report(
                    Problem::error(fault.code, path!["hidden"], fault.message)
                        .help("use fewer units"),
                );
            }
        }
        classifier::output_schema(input, target)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Mlp {
    fn features(&self, input: &Schema) -> Vec<String> {
        match self.input(input) {
            Input::Array { column, .. } => vec![column],
            Input::Columns(columns) => columns,
        }
    }

    fn target(&self, input: &Schema) -> Option<String> {
        self.target
            .clone()
            .or_else(|| input.target().map(|column| column.name.clone()))
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
        let target = Model::target(self, &train.schema)
            .ok_or_else(|| Error::data("the training rows have no target column"))?;
        let input = self.input(&train.schema);
        let length = input.row_length();
        if length == 0 {
            return Err(Error::data("the training rows have no feature"));
        }
        let settings = Settings {
            optimizer: self.optimizer,
            loss: self.loss,
            epochs: self.epochs,
            batch_size: self.batch_size,
            seed: self.seed,
        };
        let network = |classes| self.network(length, classes);
        let lesson = Lesson {
            version: VERSION,
            input,
            target,
            settings,
        };
        classifier::fit(lesson, network, train, validation, cx)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        classifier::load(VERSION, state)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use taktline_core::{Capabilities, serde_yaml};

    use super::*;

    fn check(yaml: &str, input: &Schema) -> Vec<Problem> {
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
        stage.check(std::slice::from_ref(input), &mut cx);
        cx.problems
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
            Column::new("path", DataType::String),
            Column::new("label", DataType::String).with_role(Role::Target),
        ]);
        assert_eq!(codes(&check("{}", &input)), ["torch-missing"]);
        let stage: Mlp = serde_yaml::from_str("{dropout: 0.5}").expect("params");
        assert_eq!(stage.features(&input), ["image"]);
        let network = stage.network(784, 10);
        assert_eq!(network.layers.len(), 7);
        assert_eq!(
            walk(&network.input, &network.layers).output(),
            Some(&[10][..])
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
