//! `model.torch.cnn`: a convolutional network that learns from images.

use taktline_core::{
    CheckContext, FitContext, Frame, Label, Model, ParamPath, Predictor, Problem, Result, Schema,
    Shape, Stage, State, class_weight::ClassWeight, classifier::target_name, path, register_kind,
};

use crate::{
    arrays::{Input, Wanted, image_shape},
    initial,
    layers::{Ending, Layer, ends, parameters, small_cnn, walk},
    lesson::{check_library, layer_problem},
    protocol::{Augmentation, Network},
    settings::{AnyLoss, Task, network_params},
    supervised::{self, Asked, Lesson, Subject},
};

const VERSION: u32 = 2;

network_params! { epochs: "crate::settings::five", batch_size: "crate::settings::thirty_two",
/// A convolutional network that learns from images, declared layer by layer and trained by libtorch.
///
/// The input is an array column of shape height × width × channels whose numbers are scaled (`features.image`). For classes the
/// last layer is `dense` with a unit for each class and `softmax`; for numbers it is `dense` with one unit, and the network
/// learns them in standard deviations from their mean. Weights start as Glorot and Bengio (2010) draw them, biases at
/// zero; rows are shuffled anew each epoch; a column with role `weight` says how much each row counts. With a validation
/// part, its loss and accuracy are shown after each epoch, and decide about early stopping, the best epoch and plateaus. The same
/// seed gives the same weights, to the bit, on one machine with one number of cores.
///
/// Adds `prediction`, and for classes `probability_<class>` and, for two, `score`: the probability of the positive one.
struct Cnn {
    /// The image column; the only array column, where not given.
    input: Option<String>,
    /// The column to learn; the one with role `target`, where not given.
    target: Option<String>,
    /// What is learned: `classification`, `regression`. Default: what the target's type says; of whole numbers it must be said, unless
    /// their classes are known.
    #[serde(default)]
    task: Task,
    /// The layers, first to last. Where not given: conv 32, pool, conv 64, pool, conv 64, dense 64, and dense with a unit for
    /// each class.
    #[schemars(length(min = 1, max = 1000))]
    layers: Option<Vec<Layer>>,
    /// What training makes small. Default: `sparse_categorical_crossentropy` for classes, `mean_squared_error` for numbers.
    loss: Option<AnyLoss>,
    /// How much the rows of each class count: `none`, `balanced`, or a weight for each label.
    #[serde(default)]
    class_weight: ClassWeight,
    /// Of two classes, the one whose probability is the `score`. Default: `true`, else `1`, else the last label.
    positive: Option<Label>,
    /// How images are changed each time they are learned from; not at all, where not given.
    augment: Option<Augmentation>,
    /// A safetensors file with weights to start from: tensors named as this network's (`0.conv.weight`), such as those of a bundle
    /// with `model.torch.jigsaw` or another `model.torch.cnn`. The others are drawn.
    initial_weights: Option<String>,
}
}

register_kind! {
    Cnn, "model.torch.cnn", version: 2,
    example: "\
- model.torch.cnn:
    layers:
      - conv: {filters: 32, kernel: 3, activation: relu}
      - max_pool: 2
      - flatten
      - dense: {units: 10, activation: softmax}
    optimizer: {adam: {learning_rate: 0.001}}
    epochs: 5
",
}

impl Cnn {
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            named: self.input.as_deref(),
            what: "image",
            source: "read images with `source.images` or `source.idx`, or say `input: NAME`",
        }
    }

    /// The shape of the image, and every problem with it.
    fn check_image(&self, input: &Schema, cx: &mut CheckContext<'_>) -> Option<Vec<usize>> {
        let (column, own) = self.wanted().check(input, self.target.as_deref(), cx)?;
        let shape = image_shape(&own);
        if shape.is_none() {
            let message = format!(
                "`{}` has shape {own:?}, but an image is height, width, channels",
                column.name
            );
            cx.report(
                Problem::error("not-an-image", self.wanted().place(), message)
                    .help("for plain rows use `model.torch.mlp`, for sequences `model.torch.rnn`"),
            );
        }
        shape
    }

    /// The layers that are written, or those that end so.
    fn layers(&self, ending: Ending) -> Vec<Layer> {
        self.layers.clone().unwrap_or_else(|| small_cnn(ending))
    }

    /// Nobody wrote these layers, so that no setting of theirs can be changed: only the image can be wrong for them.
    fn check_default_layers(
        &self,
        shape: Option<&[usize]>,
        subject: &Subject<'_>,
        cx: &mut CheckContext<'_>,
    ) {
        let Some(shape) = shape else { return };
        let layers = self.layers(subject.likely_ending());
        let walk = walk(shape, &layers);
        for fault in &walk.faults {
            let mut problem = Problem::error(fault.code, ParamPath::kind(), fault.message.clone())
                .label("these layers are the default")
                .help("write `layers` that suit images of this size");
            problem.notes = walk.steps(&layers, fault.layer);
            cx.report(problem);
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

impl Stage for Cnn {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        check_library(cx);
        let shape = self.check_image(input, cx);
        let subject = self.asked().check(input, cx);
        self.settings().check_with(input, cx);
        initial::check(self.initial_weights.as_deref(), cx);
        match &self.layers {
            Some(layers) => {
                // Without an image the settings of layers can still be wrong; shapes cannot.
                let walk = walk(shape.as_deref().unwrap_or_default(), layers);
                for fault in walk
                    .faults
                    .iter()
                    .filter(|fault| shape.is_some() || fault.code == "softmax-not-last")
                {
                    cx.report(layer_problem(fault, &walk, layers));
                }
                for fault in ends(layers, walk.output(), subject.ending.clone()) {
                    cx.report(layer_problem(&fault, &walk, layers));
                }
                // Running statistics are what is kept of batches.
                let own = parameters(shape.as_deref().unwrap_or_default(), layers);
                if self.batch_size == 1 && own.iter().any(|parameter| !parameter.is_trained) {
                    cx.report(
                        Problem::error(
                            "batch-too-small",
                            path!["batch_size"],
                            "`batch_norm` needs the variance of a batch, and one row has none",
                        )
                        .help("use a `batch_size` of 8 or more, or leave `batch_norm` out"),
                    );
                }
            }
            None => self.check_default_layers(shape.as_deref(), &subject, cx),
        }
        subject.output(input, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Cnn {
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
        let missing =
            |what| taktline_core::Error::data(format!("the training rows have no {what}"));
        let image = self
            .wanted()
            .find(&train.schema, self.target.as_deref())
            .ok_or_else(|| missing("image column"))?;
        let target = Model::target(self, &train.schema).ok_or_else(|| missing("target column"))?;
        let (own, _) = image.array().ok_or_else(|| missing("image column"))?;
        let shape = image_shape(&own).ok_or_else(|| missing("image of height, width, channels"))?;
        let input = Input::Array {
            column: image.name.clone(),
            shape: own,
        };
        let network = |ending| Network {
            input: shape,
            layers: self.layers(ending),
        };
        let lesson = Lesson {
            version: VERSION,
            input,
            target,
            asked: self.asked(),
            settings: self.settings(),
            augment: self.augment,
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
    use taktline_core::{Capabilities, Column, Role, Severity, path, serde_yaml};

    use super::*;

    fn schema(item: DataType, sides: &[usize]) -> Schema {
        let image = sides
            .iter()
            .rev()
            .fold(item, |item, side| DataType::Array(Box::new(item), *side));
        let classes = (0..10).map(|digit| digit.to_string()).collect();
        Schema::new(vec![
            Column::new("image", image),
            Column::new("label", DataType::Int64)
                .with_role(Role::Target)
                .with_categories(classes),
        ])
    }

    fn check(yaml: &str, input: Schema) -> (Schema, Vec<Problem>) {
        let stage: Cnn = serde_yaml::from_str(yaml).expect("params");
        let capabilities = Capabilities::default();
        let mut cx = CheckContext {
            stage: "classifier",
            seed: 7,
            directory: Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        let output = stage.check(&[input], &mut cx);
        (output, cx.problems)
    }

    #[test]
    fn the_documents_network_fits() {
        let (output, problems) = check("{}", schema(DataType::Float32, &[28, 28, 1]));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(output.columns.len(), 2 + 1 + 10);
        assert!(
            output
                .column("probability_9")
                .is_some_and(|column| column.role == Role::Internal)
        );
    }

    #[test]
    fn the_default_network_has_a_unit_for_each_class() {
        let mut input = schema(DataType::Float32, &[28, 28, 1]);
        input.columns[1].categories = Some(vec!["a".into(), "b".into(), "c".into()]);
        let (output, problems) = check("{}", input.clone());
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(output.columns.len(), 2 + 1 + 3);
        let stage: Cnn = serde_yaml::from_str("{}").expect("params");
        let ending = Ending::Classes(3);
        assert!(ends(&stage.layers(ending), None, Some((ending, String::new()))).is_empty());
        // Known only when the rows are read; that whole numbers are classes has to be said.
        input.columns[1].categories = None;
        assert!(check("{task: classification}", input.clone()).1.is_empty());
        let loss = "{loss: sparse_categorical_crossentropy}";
        assert!(check(loss, input.clone()).1.is_empty());
        let (_, problems) = check("{}", input);
        assert_eq!(problems[0].code, "task-unknown");
    }

    #[test]
    fn an_image_too_small_for_the_default_network() {
        let (_, problems) = check("{}", schema(DataType::Float32, &[8, 8, 1]));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(
            (problems[0].code, &problems[0].path),
            ("layer-shape", &ParamPath::kind())
        );
        assert_eq!(
            problems[0].message,
            "layer 4 (max_pool) does not fit its input of shape [1, 1, 64]"
        );
        assert_eq!(
            problems[0].help,
            ["write `layers` that suit images of this size"]
        );
    }

    #[test]
    fn a_kernel_too_large_is_found_with_the_shapes_on_the_way() {
        let yaml = "layers: [{conv: {filters: 8, kernel: 3}}, {max_pool: 2}, {conv: {filters: 8, kernel: 15}}, flatten, \
                    {dense: {units: 10, activation: softmax}}]";
        let (_, problems) = check(yaml, schema(DataType::Float32, &[28, 28, 1]));
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].code, "layer-shape");
        assert_eq!(problems[0].path, path!["layers", 2_usize, "conv", "kernel"]);
        assert_eq!(problems[0].notes.len(), 3);
    }

    #[test]
    fn every_problem_is_found_at_once() {
        let yaml = "{layers: [{conv: {filters: 8, kernel: 3}}, {dense: {units: 9, activation: relu}}], target: labell}";
        let (_, problems) = check(yaml, schema(DataType::UInt8, &[28, 28, 1]));
        let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(
            codes,
            [
                "image-not-scaled",
                "unknown-column",
                "layer-shape",
                "softmax-not-last"
            ]
        );
        let (_, problems) = check(
            "layers: [flatten, {dense: {units: 9, activation: softmax}}]",
            schema(DataType::Float32, &[4, 4]),
        );
        assert_eq!(problems[0].code, "class-count");
        assert_eq!(problems[0].help, ["write `units: 10`"]);
    }

    #[test]
    fn says_which_column_is_no_image() {
        let (_, problems) = check("input: label", schema(DataType::Float32, &[28, 28, 1]));
        assert_eq!(problems[0].code, "not-an-image");
        assert_eq!(problems[0].help, ["did you mean `image`?"]);
        let (_, problems) = check(
            "{}",
            Schema::new(vec![
                Column::new("label", DataType::Date).with_role(Role::Target),
            ]),
        );
        let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["no-image", "wrong-type"]);
        assert!(
            problems
                .iter()
                .all(|problem| problem.severity == Severity::Error)
        );
    }

    #[test]
    fn the_example_is_a_stage() {
        let kind = taktline_core::Registry::collect()
            .expect("registry")
            .get("model.torch.cnn")
            .expect("registered");
        let list: serde_yaml::Value = serde_yaml::from_str(kind.example).expect("YAML");
        (kind.parse)(&list[0]["model.torch.cnn"]).expect("a stage");
        assert!(kind.about().starts_with("A convolutional network"));
    }
}
