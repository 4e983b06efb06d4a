//! What every network that tells classes apart has in common: checks, training through the library, prediction.

use std::borrow::Cow;

use polars::prelude::{Column as PolarsColumn, DataFrame, DataType};
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, ParamPath, Predictor, Problem, ProgressEvent,
    Result, Role, Schema, State, TensorData,
    classifier::{PREDICTION, PROBABILITY, SCORE, with_predictions},
    counted, path,
};

use crate::{
    arrays::Input,
    bridge,
    labels::Labels,
    layers::{Fault, Layer, Walk},
    protocol::{
        Array, Arrays, Event, Failure, Listener, Load, Loss, Network, Numbers, Optimizer, Standing,
        Trained, Training,
    },
    runtime,
};

/// Raised when checkpoints change.
const CHECKPOINT_VERSION: u32 = 1;

/// How a network learns: the settings that all kinds share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) optimizer: Optimizer,
    pub(crate) loss: Loss,
    pub(crate) epochs: u64,
    pub(crate) batch_size: usize,
    pub(crate) seed: Option<u64>,
}

/// Default of `epochs`.
pub(crate) fn five() -> u64 {
    5
}

/// Default of `batch_size`.
pub(crate) fn thirty_two() -> usize {
    32
}

/// What is learned, as it is stored beside the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learned {
    target: String,
    labels: Labels,
    input: Input,
    network: Network,
    history: Vec<crate::protocol::Epoch>,
}

/// Reports that torch stages cannot run here, if they cannot.
pub(crate) fn check_library(cx: &mut CheckContext<'_>) {
    if let Some(why) = &cx.capabilities.torch_missing {
        let problem = Problem::error(
            "torch-missing",
            ParamPath::kind(),
            format!("torch stages cannot run here: {why}"),
        )
        .label("needs libtorch")
        .help(runtime::HOW_TO_GET);
        cx.report(problem);
    }
}

/// The input with the columns that predictions add.
pub(crate) fn output_schema(
    input: &Schema,
    target: Option<&Column>,
    cx: &mut CheckContext<'_>,
) -> Schema {
    with_predictions(input, target, predicted_type, false, cx)
}

fn predicted_type(target: &DataType) -> DataType {
    match target {
        DataType::Categorical(..) | DataType::Enum(..) => DataType::String,
        own => own.clone(),
    }
}

/// A layer's fault as a problem of the stage, with the shapes up to it as evidence.
pub(crate) fn layer_problem(fault: &Fault, walk: &Walk, layers: &[Layer]) -> Problem {
    let mut place = path!["layers", fault.layer];
    if let (Some(key), Some(layer)) = (fault.key, layers.get(fault.layer)) {
        place = place.join(layer.name()).join(key);
    }
    let mut problem =
        Problem::error(fault.code, place, fault.message.clone()).help(fault.help.clone());
    problem.label.clone_from(&fault.label);
    if fault.code == "layer-shape" {
        problem.notes = walk.steps(layers, fault.layer);
    }
    problem
}

/// Shows what the library reports, tells it to stop, keeps its checkpoints.
struct Ear<'a> {
    cx: &'a FitContext<'a>,
}

impl Listener for Ear<'_> {
    fn is_cancelled(&self) -> bool {
        self.cx.cancellation.is_cancelled()
    }

    fn event(&self, event: Event) {
        self.cx.progress.event(match event {
            Event::Step { done, total } => ProgressEvent::Step {
                done,
                total,
                unit: "batches",
            },
            Event::Epoch {
                epoch,
                epochs,
                result,
            } => ProgressEvent::Epoch {
                epoch,
                epochs,
                loss: result.loss,
                figures: [
                    ("accuracy", Some(result.accuracy)),
                    ("validation_loss", result.validation_loss),
                    ("validation_accuracy", result.validation_accuracy),
                ]
                .into_iter()
                .filter_map(|(name, value)| value.map(|value| (name.to_owned(), value)))
                .collect(),
            },
        });
    }

    fn checkpoint(&self, standing: &Standing, arrays: &[Array<'_>]) -> Result<(), Failure> {
        let bytes = checkpoint(standing, arrays).and_then(|state| state.to_bytes());
        bytes
            .and_then(|bytes| self.cx.checkpoints.save(&bytes))
            .map_err(|error| Failure::Failed(error.to_string()))
    }
}

fn checkpoint(standing: &Standing, arrays: &[Array<'_>]) -> Result<State> {
    Ok(with_tensors(
        State::from_data(CHECKPOINT_VERSION, standing)?,
        arrays,
    ))
}

fn with_tensors(state: State, arrays: &[Array<'_>]) -> State {
    arrays.iter().fold(state, |state, array| {
        let data = match &array.numbers {
            Numbers::F32(numbers) => TensorData::F32(numbers.to_vec()),
            Numbers::F64(numbers) => TensorData::F64(numbers.to_vec()),
            Numbers::I64(numbers) => TensorData::I64(numbers.to_vec()),
        };
        state.with_tensor(array.name.clone(), array.shape.clone(), data)
    })
}

/// The tensors of a state, lent.
fn tensors(state: &State) -> Vec<Array<'_>> {
    state
        .tensors
        .iter()
        .map(|(name, tensor)| {
            let numbers = match &tensor.data {
                TensorData::F32(numbers) => Numbers::F32(Cow::Borrowed(numbers)),
                TensorData::F64(numbers) => Numbers::F64(Cow::Borrowed(numbers)),
                TensorData::I64(numbers) => Numbers::I64(Cow::Borrowed(numbers)),
            };
            Array {
                name: name.clone(),
                shape: tensor.shape.clone(),
                numbers,
            }
        })
        .collect()
}

/// Where an earlier run of the same training stopped, if it left a checkpoint that can be read.
fn resumption(cx: &FitContext<'_>, epochs: u64) -> Option<(Standing, State)> {
    let bytes = cx.checkpoints.load()?;
    let read = State::from_bytes(&bytes)
        .and_then(|state| Ok((state.data::<Standing>(CHECKPOINT_VERSION)?, state)));
    match read {
        Ok((standing, state)) => {
            let place = match standing.epoch < epochs {
                true => format!(
                    "epoch {} of {epochs}, after {}",
                    standing.epoch + 1,
                    counted(standing.batch, "batch")
                ),
                false => format!("the end of epoch {epochs}"),
            };
            cx.progress.event(ProgressEvent::Message(format!(
                "resumed from the checkpoint at {place}"
            )));
            Some((standing, state))
        }
        Err(error) => {
            let message = format!("the checkpoint cannot be used ({error}); training starts again");
            cx.progress.event(ProgressEvent::Message(message));
            None
        }
    }
}

fn row_weights(frame: &Frame) -> Result<Option<Vec<f32>>> {
    let Some(column) = frame.schema.with_role(Role::Weight).next() else {
        return Ok(None);
    };
    let name = &column.name;
    let weights = frame.data.column(name)?.strict_cast(&DataType::Float32)?;
    let weights: Vec<Option<f32>> = weights.f32()?.iter().collect();
    match weights
        .iter()
        .position(|weight| !weight.is_some_and(|weight| weight.is_finite() && weight >= 0.0))
    {
        Some(row) => Err(Error::data(format!(
            "the weight `{name}` is not a number from 0 up in row {}",
            row + 1
        ))),
        None => Ok(Some(weights.into_iter().flatten().collect())),
    }
}

/// A classification to learn.
pub(crate) struct Lesson {
    /// Version of the kind.
    pub(crate) version: u32,
    /// What the network reads.
    pub(crate) input: Input,
    /// The column it learns to say.
    pub(crate) target: String,
    /// How it learns.
    pub(crate) settings: Settings,
}

/// Trains the network for so many classes.
pub(crate) fn fit(
    lesson: Lesson,
    network: impl FnOnce(usize) -> Network,
    train: &Frame,
    validation: Option<&Frame>,
    cx: &mut FitContext<'_>,
) -> Result<State> {
    let Lesson {
        version,
        input,
        target,
        settings,
    } = lesson;
    let library = runtime::library()?;
    let target_column = train.data.column(&target)?;
    let categories = train
        .schema
        .column(&target)
        .and_then(|column| column.categories.as_deref());
    let labels = Labels::learn(target_column, categories)?;
    let network = network(labels.len());
    let faults = crate::layers::classifies(&network.layers, Some((labels.len(), String::new())));
    if let Some(fault) = faults.first() {
        return Err(Error::data(format!("{}; {}", fault.message, fault.help)));
    }

    let inputs = input.rows(&train.data)?;
    let indices = labels.indices(target_column)?;
    let weights = row_weights(train)?;
    let row_length = input.row_length();
    let mut arrays = vec![
        Array::f32("inputs", vec![indices.len(), row_length], &*inputs),
        Array::i64("labels", &*indices),
    ];
    if let Some(weights) = &weights {
        arrays.push(Array::f32(
            "weights",
            vec![weights.len()],
            weights.as_slice(),
        ));
    }
    let held_out = match validation.filter(|frame| frame.data.height() > 0) {
        Some(frame) => {
            let indices = labels.indices(frame.data.column(&target)?)?;
            Some((input.rows(&frame.data)?, indices, row_weights(frame)?))
        }
        None => None,
    };
    if let Some((inputs, indices, weights)) = &held_out {
        arrays.push(Array::f32(
            "validation_inputs",
            vec![indices.len(), row_length],
            &**inputs,
        ));
        arrays.push(Array::i64("validation_labels", indices.as_slice()));
        if let Some(weights) = weights {
            arrays.push(Array::f32(
                "validation_weights",
                vec![weights.len()],
                weights.as_slice(),
            ));
        }
    }
    let resumed = resumption(cx, settings.epochs);
    if let Some((_, state)) = &resumed {
        arrays.extend(tensors(state));
    }

    let request = Training {
        network,
        loss: settings.loss,
        optimizer: settings.optimizer,
        epochs: settings.epochs,
        batch_size: settings.batch_size,
        seed: settings.seed.unwrap_or(cx.seed),
        threads: runtime::threads(),
        resume: resumed.as_ref().map(|(standing, _)| standing.clone()),
    };
    let (Trained { history }, tensors) =
        library
            .train(&request, &arrays, &Ear { cx })
            .map_err(|failure| match failure {
                Failure::Interrupted => Error::Interrupted,
                // The process is on its way out, and libtorch with it.
                Failure::Failed(_) if cx.cancellation.is_cancelled() => Error::Interrupted,
                Failure::Failed(message) => Error::Model(message),
            })?;
    let learned = Learned {
        target,
        labels,
        input,
        network: request.network,
        history,
    };
    Ok(with_tensors(
        State::from_data(version, &learned)?,
        &tensors.0,
    ))
}

/// A network in the library that predicts labels.
struct Classifier {
    learned: Learned,
    model: bridge::Model,
}

/// What predicts with the state that [`fit`] made.
pub(crate) fn load(version: u32, state: &State) -> Result<Box<dyn Predictor>> {
    let learned: Learned = state.data(version)?;
    let request = Load {
        network: learned.network.clone(),
        threads: runtime::threads(),
    };
    let model = runtime::library()?
        .load(&request, &tensors(state))
        .map_err(|failure| match failure {
            Failure::Interrupted => Error::Interrupted,
            Failure::Failed(message) => Error::State(message),
        })?;
    Ok(Box::new(Classifier { learned, model }))
}

impl Predictor for Classifier {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let inputs = self.learned.input.rows(batch)?;
        let rows = batch.height();
        let shape = vec![rows, self.learned.input.row_length()];
        let answer = self
            .model
            .predict(&[Array::f32("inputs", shape, &*inputs)])
            .map_err(|failure| Error::Model(format!("{failure:?}")))?;
        let probabilities = probabilities(&answer, rows, self.learned.labels.len())?;
        columns(&self.learned.labels, probabilities)
    }
}

fn probabilities<'a>(answer: &'a Arrays<'_>, rows: usize, classes: usize) -> Result<&'a [f64]> {
    match answer.find("probabilities").map(|array| &array.numbers) {
        Some(Numbers::F64(numbers)) if numbers.len() == rows * classes => Ok(numbers),
        _ => Err(Error::Model(format!(
            "the libtorch library gave no probabilities for {}",
            counted(rows, "row")
        ))),
    }
}

/// The output columns of `probabilities` (rows × classes).
fn columns(labels: &Labels, probabilities: &[f64]) -> Result<Vec<PolarsColumn>> {
    let classes = labels.len();
    let rows = probabilities.chunks_exact(classes);
    let likeliest: Vec<usize> = rows
        .clone()
        .map(|row| {
            (1..classes).fold(
                0,
                |best, class| if row[class] > row[best] { class } else { best },
            )
        })
        .collect();
    let of_class = |class: usize| -> Vec<f64> { rows.clone().map(|row| row[class]).collect() };
    let mut columns = vec![labels.column(PREDICTION, &likeliest)?];
    if classes == 2 {
        columns.push(PolarsColumn::new(SCORE.into(), of_class(1)));
    }
    for (class, name) in labels.names().iter().enumerate() {
        columns.push(PolarsColumn::new(
            format!("{PROBABILITY}{name}").into(),
            of_class(class),
        ));
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_classes_get_a_score() {
        let found = columns(&Labels::Booleans, &[0.9, 0.1, 0.2, 0.8]).expect("columns");
        let names: Vec<&str> = found.iter().map(|column| column.name().as_str()).collect();
        assert_eq!(
            names,
            [
                "prediction",
                "score",
                "probability_false",
                "probability_true"
            ]
        );
        assert_eq!(
            found[0]
                .bool()
                .expect("bool")
                .iter()
                .flatten()
                .collect::<Vec<_>>(),
            [false, true]
        );
        assert_eq!(
            found[1]
                .f64()
                .expect("f64")
                .iter()
                .flatten()
                .collect::<Vec<_>>(),
            [0.1, 0.8]
        );
    }

    #[test]
    fn a_tie_goes_to_the_first_class() {
        let labels = Labels::Texts(vec!["a".into(), "b".into(), "c".into()]);
        let found = columns(&labels, &[0.25, 0.5, 0.25, 0.4, 0.2, 0.4]).expect("columns");
        assert_eq!(found.len(), 4);
        assert_eq!(
            found[0]
                .str()
                .expect("text")
                .iter()
                .flatten()
                .collect::<Vec<_>>(),
            ["b", "a"]
        );
    }
}
