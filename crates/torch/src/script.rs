//! `model.torch.script`: a network that somebody brings as a TorchScript file.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use polars::prelude::{Column as PolarsColumn, DataFrame, DataType, IdxCa, IdxSize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, Label, Model, Predictor, Problem, Result, Role,
    Schema, Shape, Stage, State, TensorData,
    classifier::{self, PREDICTION, PROBABILITY, SCORE},
    counted, path, register_kind, type_name,
};

use crate::{
    arrays::{Input, Table, array_column, image_shape},
    bridge,
    labels::{Labels, can_label},
    layers::Activation,
    lesson::{self, check_library},
    protocol::{Argument, Array, Device, Loading, Script},
    runtime,
    supervised::class_columns,
};

const VERSION: u32 = 1;

/// The column with the numbers that a network makes a row into.
const CODE: &str = "code";

/// The tensor of the state that holds the file.
const FILE: &str = "file";

/// A network that you bring as a TorchScript file: a large pre-trained one, or one that was trained elsewhere. It serves as it is;
/// nothing is learned here.
///
/// PyTorch writes such a file by `torch.jit.save(torch.jit.trace(model.eval(), example), "model.pt")`, or from
/// `torch.jit.script(model.eval())`; Python is not needed to run it. The file becomes part of the bundle. It holds code that
/// libtorch runs: bring files only from people you trust.
///
/// Its `forward` is given one tensor for each of `inputs`, of `batch_size` rows; it gives one tensor with as many rows back, or a
/// tuple or list of tensors of which `result` says which one counts. Scale the columns as in the network's own training
/// (`features.image`, `features.standardize`). The pre-trained network's own numbers are the truth only for rows like those
/// it was trained on: evaluate it on yours.
///
/// With `output: {classes: [...]}` it adds `prediction`, `probability_<class>` and, where there are two classes, `score`; with
/// `output: number` the column `prediction`; with `output: {code: 512}` the column `code`, an array of so many numbers for a
/// model below to learn from. `score` is the probability of the positive class.
///
/// Batches are filled up to `batch_size`, so that a row's answer is the same, to the bit, whatever other rows stand beside it. A module
/// that computes over the rows of a batch itself (`x - x.mean(0)`) is refused: before it serves, it is tried on some rows, together and
/// each alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TorchScript {
    /// The TorchScript file.
    file: String,
    /// The arguments of `forward`, in order. Default: one, of every column with role `feature`.
    #[schemars(length(min = 1, max = 100))]
    inputs: Option<Vec<ScriptInput>>,
    /// What comes out.
    output: ScriptOutput,
    /// Of two classes, the one whose probability is the `score`. Default: `true`, else `1`, else the last label.
    positive: Option<Label>,
    /// What is done to the numbers that come out. Default: `softmax` for classes, else `linear`.
    activation: Option<Finish>,
    /// Which of the results counts, from 0, where `forward` gives a tuple or a list.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    result: usize,
    /// The column that it says, to be evaluated against; the one with role `target`, where there is one.
    target: Option<String>,
    /// Rows that go through it at once; 1 for a module that was traced for one row only.
    #[serde(default = "crate::settings::thirty_two")]
    #[schemars(range(min = 1, max = 100_000))]
    batch_size: usize,
    /// Where it computes: `auto` (a graphics card, where there is one), `cpu`, `cuda:0`.
    #[serde(default)]
    device: Device,
    /// Whether features may be personal data.
    #[serde(default)]
    allow_pii: bool,
}

/// An argument of `forward`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScriptInput {
    /// Its columns: numbers, which stand beside each other, or one column of arrays.
    #[schemars(length(min = 1))]
    columns: Vec<String>,
    /// The order of an array's sides.
    #[serde(default)]
    layout: Layout,
    /// The type of its numbers.
    #[serde(default, rename = "type")]
    item: Item,
}

/// The order of an array's sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Layout {
    /// Arrays of three sides are images, whose channels go first: channels × height × width, as PyTorch has them. All others are
    /// as they are.
    #[default]
    Auto,
    /// An image's channels go first; one of two sides has one channel.
    ChannelsFirst,
    /// As the column has them.
    AsItIs,
}

/// The type of an argument's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Item {
    /// 32-bit floats.
    #[default]
    Float32,
    /// 64-bit integers, such as the numbers of words; rounded.
    Int64,
}

/// What comes out of the network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ScriptOutput {
    /// A number for each of these classes, in the network's order. With `activation: sigmoid` it is one number, for the second of
    /// two classes.
    Classes(#[schemars(length(min = 2, max = 100_000))] Vec<Label>),
    /// One number.
    Number,
    /// So many numbers, to learn from.
    Code(#[schemars(range(min = 1, max = 1_000_000))] usize),
}

/// What is done to the numbers that come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Finish {
    /// Nothing; of classes, they are probabilities already.
    Linear,
    /// Probabilities that sum to one.
    Softmax,
    /// 1 / (1 + e^-v), each for itself.
    Sigmoid,
}

register_kind! {
    TorchScript, "model.torch.script", version: 1,
    example: "- model.torch.script: {file: models/parts.pt, inputs: [{columns: [image]}], output: {classes: [good, bent, cracked]}}",
}

/// What a file is, by its first bytes and its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    TorchScript,
    /// What `torch.save` writes: Python objects.
    Pickle,
    Other,
}

/// As much of the end of a file as holds a zip archive's directory.
const DIRECTORY: u64 = 4 << 20;

fn content(path: &Path) -> io::Result<Content> {
    let mut file = File::open(path)?;
    let mut beginning = Vec::new();
    file.by_ref().take(4).read_to_end(&mut beginning)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(DIRECTORY)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let has = |name: &str| {
        end.windows(name.len())
            .any(|window| window == name.as_bytes())
    };
    Ok(match beginning.as_slice() {
        b"PK\x03\x04" if has("constants.pkl") => Content::TorchScript,
        b"PK\x03\x04" if has("data.pkl") => Content::Pickle,
        // Before PyTorch 1.6 `torch.save` wrote a bare pickle.
        [0x80, ..] => Content::Pickle,
        _ => Content::Other,
    })
}

/// What is wrong with a file that is no TorchScript, and how to mend it.
fn unfit(file: &str, content: Content) -> Option<(String, &'static str)> {
    const HOW: &str = "write one with `torch.jit.save(torch.jit.trace(model.eval(), example), \"model.pt\")` in PyTorch";
    match content {
        Content::TorchScript => None,
        Content::Pickle => Some((
            format!(
                "`{file}` is what `torch.save` writes (weights or Python objects), not TorchScript"
            ),
            HOW,
        )),
        Content::Other => Some((format!("`{file}` is no TorchScript file"), HOW)),
    }
}

/// What serves, as it is stored beside the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learned {
    inputs: Vec<Input>,
    script: Script,
    answer: Answer,
    /// Of two classes, the place of the one that `score` is the probability of. None also in states of before there was a choice:
    /// then it is the second.
    #[serde(default)]
    positive: Option<usize>,
}

/// What becomes of the numbers that come out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Classes(Labels),
    Number,
    Code(usize),
}

impl TorchScript {
    /// Every column that may be meant: with its place in the spec.
    fn table(input: Option<&ScriptInput>) -> Table<'_> {
        Table {
            named: input.map(|input| input.columns.as_slice()),
            target: None,
        }
    }

    /// What each argument reads of a row.
    fn reads(&self, input: &Schema) -> Vec<Input> {
        match &self.inputs {
            Some(inputs) => inputs
                .iter()
                .map(|own| Self::table(Some(own)).input(input))
                .collect(),
            None => vec![self.whole(input).input(input)],
        }
    }

    /// Every feature but the target.
    fn whole(&self, input: &Schema) -> Table<'_> {
        let named = self.target.as_deref();
        Table {
            named: None,
            target: named.filter(|name| input.column(name).is_some()),
        }
    }

    fn argument(&self, index: usize, input: &Input) -> Argument {
        let own = self.inputs.as_ref().and_then(|inputs| inputs.get(index));
        let layout = own.map_or(Layout::Auto, |own| own.layout);
        let shape = match input {
            Input::Array { shape, .. } => shape.clone(),
            other => vec![other.row_length()],
        };
        let image = match layout {
            Layout::ChannelsFirst => image_shape(&shape),
            Layout::Auto => image_shape(&shape).filter(|image| *image == shape),
            Layout::AsItIs => None,
        };
        Argument {
            channels_first: image.is_some(),
            shape: image.unwrap_or(shape),
            is_whole: own.is_some_and(|own| own.item == Item::Int64),
        }
    }

    fn activation(&self) -> Activation {
        match (self.activation, &self.output) {
            (Some(Finish::Softmax), _) | (None, ScriptOutput::Classes(_)) => Activation::Softmax,
            (Some(Finish::Sigmoid), _) => Activation::Sigmoid,
            (Some(Finish::Linear) | None, _) => Activation::Linear,
        }
    }

    /// Numbers of each row that come out of the module.
    fn outputs(&self) -> usize {
        match (&self.output, self.activation()) {
            (ScriptOutput::Classes(_), Activation::Sigmoid) | (ScriptOutput::Number, _) => 1,
            (ScriptOutput::Classes(classes), _) => classes.len(),
            (ScriptOutput::Code(length), _) => *length,
        }
    }

    fn target_column<'a>(&self, input: &'a Schema) -> Option<&'a Column> {
        match &self.target {
            Some(name) => input.column(name),
            None => input.target(),
        }
    }

    fn classes(&self) -> Option<Vec<String>> {
        match &self.output {
            ScriptOutput::Classes(classes) => {
                Some(classes.iter().map(|class| class.0.clone()).collect())
            }
            _ => None,
        }
    }

    fn check_file(&self, cx: &mut CheckContext<'_>) {
        let file = &self.file;
        let place = path!["file"];
        match content(&cx.resolve(file)) {
            Ok(content) => {
                if let Some((message, help)) = unfit(file, content) {
                    cx.report(Problem::error("not-torchscript", place, message).help(help));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let message = format!("there is no file `{file}`");
                cx.report(
                    Problem::error("missing-file", place, message)
                        .help("paths start from the pipeline's project folder"),
                );
            }
            Err(error) => {
                let message = format!("`{file}` cannot be read: {error}");
                cx.report(Problem::error("unreadable-file", place, message));
            }
        }
    }

    fn check_inputs(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        let Some(inputs) = &self.inputs else {
            self.whole(input).check(input, cx);
            return;
        };
        for (index, own) in inputs.iter().enumerate() {
            let known = cx.problems.len();
            Self::table(Some(own)).check(input, cx);
            let place = path!["inputs", index];
            for problem in &mut cx.problems[known..] {
                // The table says `features.2`; here it is `inputs.1.columns.2`.
                problem.path = match problem.path.0.split_first() {
                    Some((_, item)) => item
                        .iter()
                        .cloned()
                        .fold(place.join("columns"), |path, step| path.join(step)),
                    None => place.join("columns"),
                };
            }
            let read = Self::table(Some(own)).input(input);
            match &read {
                Input::Mixed(parts) => {
                    let array = parts.iter().find(|part| !part.shape.is_empty());
                    let message = format!(
                        "`{}` holds arrays, which stand alone in an argument",
                        array.map_or("", |part| &part.column)
                    );
                    cx.report(
                        Problem::error("arrays-beside-numbers", place.join("columns"), message)
                            .help("give each its own item under `inputs`"),
                    );
                }
                Input::Array { column, shape }
                    if own.layout == Layout::ChannelsFirst && image_shape(shape).is_none() =>
                {
                    let message = format!(
                        "`{column}` has shape {shape:?}, but an image is height, width, channels"
                    );
                    cx.report(Problem::error(
                        "not-an-image",
                        place.join("layout"),
                        message,
                    ));
                }
                Input::Columns(columns) if own.layout == Layout::ChannelsFirst => {
                    let message = format!("`{}` is no image", columns.join("`, `"));
                    cx.report(Problem::error(
                        "not-an-image",
                        place.join("layout"),
                        message,
                    ));
                }
                _ => {}
            }
        }
    }

    fn check_output(&self, target: Option<&Column>, cx: &mut CheckContext<'_>) {
        let Some(classes) = self.classes() else {
            if self.positive.is_some() {
                let message = "`positive` is for classes, and the module says none";
                cx.report(
                    Problem::error("not-binary", path!["positive"], message)
                        .help("say `output: {classes: [...]}`, or leave `positive` out"),
                );
            }
            if self.activation() == Activation::Softmax {
                let message = "`softmax` is for the probabilities of classes, and there are none";
                cx.report(
                    Problem::error("softmax-without-classes", path!["activation"], message)
                        .help("say `output: {classes: [...]}`, or leave `activation` out"),
                );
            }
            return;
        };
        let place = path!["output", "classes"];
        for (index, class) in classes.iter().enumerate() {
            if classes[..index].contains(class) {
                let message = format!("the class `{class}` is named twice");
                cx.report(Problem::error("duplicate", place.join(index), message));
            }
        }
        classifier::check_positive(self.positive.as_ref(), Some(&classes), cx);
        if self.activation() == Activation::Sigmoid && classes.len() != 2 {
            let message = format!(
                "`sigmoid` tells two classes apart, and there are {}",
                classes.len()
            );
            cx.report(
                Problem::error("class-count", path!["activation"], message)
                    .help("use `softmax`, or `linear` for what are probabilities already"),
            );
        }
        let Some(target) = target else { return };
        if !can_label(&target.dtype) {
            let message = format!(
                "the target `{}` is {}, which holds no class labels",
                target.name,
                type_name(&target.dtype)
            );
            cx.report(Problem::error("wrong-type", place, message));
        } else if let Err(message) = Labels::declared(&classes, Some(&target.dtype)) {
            let message = format!("the target `{}` is {message}", target.name);
            cx.report(Problem::error("wrong-type", place, message).help(
                "list the labels as the target has them, in the order of the network's outputs",
            ));
        }
    }

    fn output_schema(&self, input: &Schema, cx: &mut CheckContext<'_>) -> Schema {
        let target = self.target_column(input);
        let float = |name: &str| Column::new(name, DataType::Float64);
        let added = match &self.output {
            ScriptOutput::Number => vec![float(PREDICTION)],
            ScriptOutput::Code(length) => {
                let dtype = DataType::Array(Box::new(DataType::Float64), *length);
                vec![Column::new(CODE, dtype)]
            }
            ScriptOutput::Classes(classes) => {
                let dtype = target.map_or(DataType::String, |target| match &target.dtype {
                    DataType::Categorical(..) | DataType::Enum(..) => DataType::String,
                    own => own.clone(),
                });
                let prediction = Column::new(PREDICTION, dtype);
                let score = (classes.len() == 2).then(|| float(SCORE));
                let each = classes
                    .iter()
                    .map(|class| float(&format!("{PROBABILITY}{class}")));
                std::iter::once(prediction)
                    .chain(score)
                    .chain(each)
                    .collect()
            }
        };
        let mut output = classifier::with_outputs(input, target, added, cx);
        output.facts.learned_elsewhere = true;
        // A code is made to be learned from.
        if let ScriptOutput::Code(_) = self.output
            && let Some(code) = output.columns.iter_mut().find(|column| column.name == CODE)
        {
            code.role = Role::Feature;
            output.facts = input.facts.clone();
        }
        if let Some(classes) = self.classes() {
            output.facts.classes = Some(classes);
        }
        output
    }
}

impl Stage for TorchScript {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        check_library(cx);
        self.check_file(cx);
        if let Some(name) = &self.target
            && input.column(name).is_none()
        {
            cx.report(classifier::unknown_column(input, name, path!["target"]));
        }
        self.check_inputs(input, cx);
        self.check_output(self.target_column(input), cx);
        self.output_schema(input, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for TorchScript {
    fn features(&self, input: &Schema) -> Vec<String> {
        let mut columns = Vec::new();
        for column in self.reads(input).iter().flat_map(Input::columns) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    fn target(&self, input: &Schema) -> Option<String> {
        match self.output {
            ScriptOutput::Code(_) => None,
            _ => self.target_column(input).map(|column| column.name.clone()),
        }
    }

    fn allow_pii(&self) -> bool {
        self.allow_pii
    }

    fn files(&self) -> Vec<String> {
        vec![self.file.clone()]
    }

    /// Nothing is learned; the module is tried on some rows.
    fn fit(&self, train: &Frame, _: Option<&Frame>, cx: &mut FitContext<'_>) -> Result<State> {
        let path = cx.resolve(&self.file);
        let unreadable = |error: io::Error| Error::data(format!("`{}` {error}", self.file));
        if let Some((message, help)) = unfit(&self.file, content(&path).map_err(unreadable)?) {
            return Err(Error::data(format!("{message}; {help}")));
        }
        let bytes = std::fs::read(&path).map_err(unreadable)?;
        let inputs = self.reads(&train.schema);
        let script = Script {
            inputs: inputs
                .iter()
                .enumerate()
                .map(|(index, input)| self.argument(index, input))
                .collect(),
            result: self.result,
            outputs: self.outputs(),
            activation: self.activation(),
            batch_size: self.batch_size,
            threads: runtime::threads(),
            device: self.device,
        };
        let mut positive = None;
        let answer = match &self.output {
            ScriptOutput::Number => Answer::Number,
            ScriptOutput::Code(length) => Answer::Code(*length),
            ScriptOutput::Classes(_) => {
                let target = self.target_column(&train.schema);
                let dtype = target.map(|target| &target.dtype);
                let classes = self.classes().unwrap_or_default();
                positive = classifier::positive_class(self.positive.as_ref(), &classes)?;
                Answer::Classes(Labels::declared(&classes, dtype).map_err(Error::data)?)
            }
        };
        let learned = Learned {
            inputs,
            script,
            answer,
            positive,
        };
        let length = bytes.len();
        let state = State::from_data(VERSION, &learned)?.with_tensor(
            FILE,
            vec![length],
            TensorData::U8(bytes),
        );
        cx.cancellation.check()?;
        let served = Served::open(learned, &state).map_err(|error| match error {
            Error::State(why) => Error::data(format!("`{}` cannot be loaded: {why}", self.file)),
            other => other,
        })?;
        served.predict(&train.data.head(Some(self.batch_size)))?;
        served.try_alone(&self.file, &train.data, cx)?;
        Ok(state)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        Ok(Box::new(Served::open(state.data(VERSION)?, state)?))
    }
}

/// Rows that a module is tried on at most, together and each alone.
const MOST_TRIED: usize = 8;

/// A row alone takes as long as a whole batch: of large batches fewer are tried than would answer so many rows.
const MOST_ANSWERED: usize = 1024;

/// How much of the largest answer is nothing: kernels may add in another order at another place of a batch.
const NEGLIGIBLE: f64 = 1e-5;

/// Where two answers to the same rows differ first: the row, and which of its `width` numbers.
fn first_difference(one: &[f64], other: &[f64], width: usize) -> Option<(usize, usize)> {
    let mut largest = vec![0.0_f64; width];
    for row in one.chunks_exact(width).chain(other.chunks_exact(width)) {
        for (largest, number) in largest.iter_mut().zip(row) {
            *largest = largest.max(number.abs());
        }
    }
    let differs = |(place, (one, other)): (usize, (&f64, &f64))| {
        (one - other).abs() > NEGLIGIBLE * largest[place % width]
    };
    let place = one.iter().zip(other).enumerate().position(differs)?;
    Some((place / width, place % width))
}

struct Served {
    learned: Learned,
    model: bridge::Model,
}

impl Served {
    fn open(learned: Learned, state: &State) -> Result<Self> {
        let mut script = learned.script.clone();
        script.threads = runtime::threads();
        if let Answer::Classes(labels) = &learned.answer {
            labels.check(learned.positive)?;
        }
        let model = lesson::load(&Loading::Script(script), state)?;
        Ok(Self { learned, model })
    }

    /// The module's numbers for each row, all of them finite.
    fn outputs(&self, batch: &DataFrame) -> Result<Vec<f64>> {
        let Learned { inputs, script, .. } = &self.learned;
        let rows = batch.height();
        let numbers = inputs
            .iter()
            .map(|input| Ok((input.rows(batch)?, input.row_length())))
            .collect::<Result<Vec<_>>>()?;
        let arrays: Vec<Array<'_>> = numbers
            .iter()
            .enumerate()
            .map(|(index, (numbers, length))| {
                Array::f32(format!("input_{index}"), vec![rows, *length], &**numbers)
            })
            .collect();
        let answers = lesson::predict(&self.model, &arrays)?;
        let outputs = lesson::numbers(&answers, "outputs", rows * script.outputs)?;
        if let Some(row) = outputs
            .iter()
            .position(|output| !output.is_finite())
            .map(|place| place / script.outputs.max(1))
        {
            return Err(Error::Model(format!(
                "the module's answer to row {} is no number (nan or infinite)",
                row + 1
            )));
        }
        Ok(outputs.to_vec())
    }

    /// Refuses a module whose answer to a row depends on the rows beside it: rows that lie far apart are answered together and each
    /// alone.
    fn try_alone(&self, file: &str, data: &DataFrame, cx: &FitContext<'_>) -> Result<()> {
        let Learned { script, .. } = &self.learned;
        let width = script.outputs.max(1);
        let height = data.height();
        let count = (MOST_ANSWERED / script.batch_size.max(1)).clamp(2, MOST_TRIED);
        let count = count.min(height);
        let rows: Vec<usize> = (0..count).map(|place| place * height / count).collect();
        let places = rows.iter().map(|row| *row as IdxSize).collect();
        let tried = data.take(&IdxCa::from_vec("row".into(), places))?;
        let together = self.outputs(&tried)?;
        let each_alone = || -> Result<Vec<f64>> {
            let mut answers = Vec::with_capacity(together.len());
            for place in 0..count {
                cx.cancellation.check()?;
                answers.extend(self.outputs(&tried.slice(place as i64, 1))?);
            }
            Ok(answers)
        };
        let alone = each_alone()?;
        let Some(found) = first_difference(&together, &alone, width) else {
            return Ok(());
        };
        // Where chance decides, that is what is wrong.
        let again = each_alone()?;
        let varies = first_difference(&again, &alone, width);
        let (place, number) = varies.unwrap_or(found);
        // As many digits as a module computes with.
        let told = |answers: &[f64]| answers[place * width + number] as f32;
        let (own, row) = (told(&alone), rows[place] + 1);
        let what = match &self.learned.answer {
            Answer::Classes(labels) => {
                let class = if width == 1 { 1 } else { number };
                let names = labels.names();
                let class = names.get(class).map_or("", String::as_str);
                format!(" for the class `{class}`")
            }
            Answer::Code(_) if width > 1 => format!(" as number {} of the code", number + 1),
            _ => String::new(),
        };
        let problem = if varies.is_some() {
            let message = format!(
                "the module in `{file}` says {own}{what} of row {row} and, asked again, {}",
                told(&again)
            );
            Problem::error("answer-varies", path!["file"], message).help(
                "save it after `model.eval()`; its `forward` must draw nothing at random (dropout), and remember nothing of earlier calls",
            )
        } else {
            let message = format!(
                "the module in `{file}` says {own}{what} of row {row} alone, and {} beside {}: its answer depends on the other rows of a batch",
                told(&together),
                counted(count - 1, "other")
            );
            Problem::error("answer-depends-on-batch", path!["file"], message).help(
                "leave out of its `forward` what is computed over the rows of a batch, such as `x.mean(0)`; or give it one row at a time: `batch_size: 1`",
            )
        };
        Err(Error::Problem(Box::new(problem)))
    }

    /// Refuses numbers that are declared as probabilities and are none.
    fn probabilities(&self, outputs: &[f64]) -> Result<()> {
        let classes = self.learned.script.outputs;
        if self.learned.script.activation != Activation::Linear {
            return Ok(());
        }
        let is_wrong = |row: &[f64]| {
            let sum: f64 = row.iter().sum();
            !row.iter().all(|value| (-1e-6..=1.0 + 1e-6).contains(value))
                || (sum - 1.0).abs() > 1e-3
        };
        match outputs.chunks_exact(classes).find(|row| is_wrong(row)) {
            None => Ok(()),
            Some(row) => Err(Error::Model(format!(
                "the module gives {row:?} for a row, which are no probabilities that sum to 1; say `activation: softmax`"
            ))),
        }
    }
}

impl Predictor for Served {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let Learned {
            script,
            answer,
            positive,
            ..
        } = &self.learned;
        let outputs = self.outputs(batch)?;
        match answer {
            Answer::Classes(labels) if script.outputs == 1 => {
                let both: Vec<f64> = outputs
                    .iter()
                    .flat_map(|second| [1.0 - second, *second])
                    .collect();
                class_columns(labels, *positive, &both)
            }
            Answer::Classes(labels) => {
                self.probabilities(&outputs)?;
                class_columns(labels, *positive, &outputs)
            }
            Answer::Number => Ok(vec![PolarsColumn::new(PREDICTION.into(), outputs)]),
            Answer::Code(length) => Ok(vec![array_column(CODE, &outputs, *length)?]),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use taktline_core::Capabilities;

    use super::*;

    #[test]
    fn answers_that_differ_are_found() {
        let same = [0.5, -2e6, 0.25, 1e6];
        assert_eq!(first_difference(&same, &same, 2), None);
        // The last bits of what a column of answers holds.
        assert_eq!(
            first_difference(&same, &[0.500_001, -2e6, 0.25, 1e6 + 1.0], 2),
            None
        );
        assert_eq!(
            first_difference(&same, &[0.5, -2e6, 0.25, 1e6 + 40.0], 2),
            Some((1, 1))
        );
        assert_eq!(
            first_difference(&same, &[0.6, -2e6, 0.2, 0.0], 2),
            Some((0, 0))
        );
        assert_eq!(
            first_difference(&[1.0, 2.0, 3.0], &[1.0, 2.0, 0.0], 1),
            Some((2, 0))
        );
        assert_eq!(first_difference(&[], &[], 1), None);
        assert_eq!(first_difference(&[0.0], &[0.0], 1), None);
    }

    #[test]
    fn a_state_from_before_there_was_a_choice_is_read() {
        let learned = Learned {
            inputs: vec![Input::Columns(vec!["x".into()])],
            script: Script {
                inputs: Vec::new(),
                result: 0,
                outputs: 2,
                activation: Activation::Softmax,
                batch_size: 32,
                threads: 1,
                device: Device::default(),
            },
            answer: Answer::Classes(Labels::Booleans),
            positive: None,
        };
        let mut state = State::from_data(VERSION, &learned).expect("state");
        let data = state.data.as_object_mut().expect("a map");
        assert!(data.remove("positive").is_some());
        assert_eq!(state.data::<Learned>(VERSION).expect("read"), learned);
    }

    #[test]
    fn the_positive_class_is_one_of_two() {
        let of = |output: serde_json::Value| {
            let params = json!({"file": "a.pt", "output": output, "positive": "bad"});
            let stage: TorchScript = serde_json::from_value(params).expect("params");
            let capabilities = Capabilities::default();
            let mut cx = CheckContext {
                stage: "script",
                seed: 7,
                directory: Path::new("."),
                capabilities: &capabilities,
                problems: Vec::new(),
            };
            stage.check_output(None, &mut cx);
            let problems = cx.problems.into_iter();
            let told = problems.map(|problem| (problem.code, problem.path));
            told.collect::<Vec<_>>()
        };
        assert_eq!(of(json!({"classes": ["bad", "good"]})), []);
        let place = || path!["positive"];
        assert_eq!(
            of(json!({"classes": [false, true]})),
            [("unknown-label", place())]
        );
        for output in [
            json!({"classes": ["bad", "bent", "good"]}),
            json!("number"),
            json!({"code": 3}),
        ] {
            assert_eq!(of(output), [("not-binary", place())]);
        }
    }

    #[test]
    fn files_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let told = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            content(&path).expect("readable")
        };
        assert_eq!(
            told("a.pt", b"PK\x03\x04...archive/constants.pkl..."),
            Content::TorchScript
        );
        assert_eq!(
            told("b.pt", b"PK\x03\x04...archive/data.pkl..."),
            Content::Pickle
        );
        assert_eq!(told("c.pt", b"\x80\x02}q"), Content::Pickle);
        assert_eq!(told("d.onnx", b"\x08\x07\x12"), Content::Other);
        assert_eq!(told("e.pt", b""), Content::Other);
        assert!(unfit("a.pt", Content::TorchScript).is_none());
    }
}
