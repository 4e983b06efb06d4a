//! What every network has in common on takt's side: the library must be there; training through it with progress, checkpoints
//! and cancellation; the trained network as a state, and back.

use std::borrow::Cow;

use polars::prelude::{DataFrame, DataType};
use taktline_core::{
    CheckContext, Error, FitContext, Frame, ParamPath, Problem, ProgressEvent, Result, Role, State,
    TensorData, counted, path,
};

use crate::{
    arrays::Input,
    bridge,
    layers::{Fault, Layer, Walk},
    protocol::{
        Array, Arrays, Contest, Course, Event, Failure, Learning, Listener, Load, Loading, Network,
        Numbers, Standing, Trained, Training,
    },
    runtime,
};

/// Raised when checkpoints change.
const CHECKPOINT_VERSION: u32 = 2;

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

/// A layer's fault as a problem of the stage, with the shapes up to it as evidence.
pub(crate) fn layer_problem(fault: &Fault, walk: &Walk, layers: &[Layer]) -> Problem {
    let mut place = path!["layers", fault.layer];
    let mut layer = layers.get(fault.layer);
    for index in &fault.inside {
        if let Some(Layer::Residual(residual)) = layer {
            place = place.join("residual").join(*index);
            layer = residual.layers.get(*index);
        }
    }
    if let (Some(key), Some(layer)) = (fault.key, layer) {
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
                    ("accuracy", result.accuracy),
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

pub(crate) fn with_tensors(state: State, arrays: &[Array<'_>]) -> State {
    arrays.iter().fold(state, |state, array| {
        let data = match &array.numbers {
            Numbers::F32(numbers) => TensorData::F32(numbers.to_vec()),
            Numbers::F64(numbers) => TensorData::F64(numbers.to_vec()),
            Numbers::I64(numbers) => TensorData::I64(numbers.to_vec()),
            Numbers::U8(numbers) => TensorData::U8(numbers.to_vec()),
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
                TensorData::U8(numbers) => Numbers::U8(Cow::Borrowed(numbers)),
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
fn resumption(
    cx: &FitContext<'_>,
    place: impl FnOnce(&Standing) -> String,
) -> Option<(Standing, State)> {
    let bytes = cx.checkpoints.load()?;
    let read = State::from_bytes(&bytes)
        .and_then(|state| Ok((state.data::<Standing>(CHECKPOINT_VERSION)?, state)));
    match read {
        Ok((standing, state)) => {
            cx.progress.event(ProgressEvent::Message(format!(
                "resumed from the checkpoint at {}",
                place(&standing)
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

/// How much each row counts, where a column says it.
pub(crate) fn row_weights(frame: &Frame) -> Result<Option<Vec<f32>>> {
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
        None if !weights.is_empty() && weights.iter().all(|weight| *weight == Some(0.0)) => Err(
            Error::data(format!("every row has the weight 0 (`{name}`)")),
        ),
        None => Ok(Some(weights.into_iter().flatten().collect())),
    }
}

/// What is true of rows, as a loss asks for it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Truth {
    /// The class of each row.
    Labels(Vec<i64>),
    /// So many numbers of each row.
    Targets { numbers: Vec<f32>, width: usize },
    /// The rows themselves.
    Itself,
}

/// Rows to learn from, or to look at after each epoch.
pub(crate) struct Rows<'a> {
    /// Row after row.
    pub(crate) inputs: &'a [f32],
    pub(crate) truth: &'a Truth,
    /// How much each row counts.
    pub(crate) weights: Option<&'a [f32]>,
}

impl<'a> Rows<'a> {
    fn arrays(&self, prefix: &str, row_length: usize) -> Vec<Array<'a>> {
        let named = |name: &str| format!("{prefix}{name}");
        let rows = self.inputs.len() / row_length.max(1);
        let mut arrays = vec![Array::f32(
            named("inputs"),
            vec![rows, row_length],
            self.inputs,
        )];
        match self.truth {
            Truth::Labels(labels) => arrays.push(Array::i64(named("labels"), labels.as_slice())),
            Truth::Targets { numbers, width } => arrays.push(Array::f32(
                named("targets"),
                vec![rows, *width],
                numbers.as_slice(),
            )),
            Truth::Itself => {}
        }
        if let Some(weights) = self.weights {
            arrays.push(Array::f32(named("weights"), vec![weights.len()], weights));
        }
        arrays
    }
}

/// Trains a network through the library. `initial` are tensors to start from, by their names in the network.
pub(crate) fn train(
    network: Network,
    course: Course,
    rows: &Rows<'_>,
    validation: Option<&Rows<'_>>,
    initial: &[(String, Vec<f32>)],
    cx: &FitContext<'_>,
) -> Result<(Network, Trained, Arrays<'static>)> {
    let row_length = network.input.iter().product();
    let mut arrays = rows.arrays("", row_length);
    if let Some(rows) = validation {
        arrays.extend(rows.arrays("validation_", row_length));
    }
    for (name, numbers) in initial {
        let name = format!("initial.{name}");
        arrays.push(Array::f32(name, vec![numbers.len()], numbers.as_slice()));
    }
    let epochs = course.epochs;
    let resumed = resumption(cx, |standing| match standing.epoch < epochs {
        true => format!(
            "epoch {} of {epochs}, after {}",
            standing.epoch + 1,
            counted(standing.batch, "batch")
        ),
        false => format!("the end of epoch {epochs}"),
    });
    if let Some((_, state)) = &resumed {
        arrays.extend(tensors(state));
    }
    let request = Training {
        network: network.clone(),
        course,
        resume: resumed.as_ref().map(|(standing, _)| standing.clone()),
    };
    let (trained, tensors) = learn(&Learning::Network(Box::new(request)), &arrays, cx)?;
    let passed = trained.history.len() as u64;
    if passed < epochs || trained.epoch < passed {
        cx.progress.event(ProgressEvent::Message(format!(
            "training ended after epoch {passed}; the weights are those after epoch {}",
            trained.epoch
        )));
    }
    Ok((network, trained, tensors))
}

fn learn(
    request: &Learning,
    arrays: &[Array<'_>],
    cx: &FitContext<'_>,
) -> Result<(Trained, Arrays<'static>)> {
    runtime::library()?
        .train(request, arrays, &Ear { cx })
        .map_err(|failure| match failure {
            Failure::Interrupted => Error::Interrupted,
            // The process is on its way out, and libtorch with it.
            Failure::Failed(_) if cx.cancellation.is_cancelled() => Error::Interrupted,
            Failure::Failed(message) => Error::Model(message),
        })
}

/// Lets two networks learn from each other; the answer are the rows that are wanted of each class, class after class.
pub(crate) fn contend(
    mut contest: Contest,
    rows: &[f32],
    labels: &[i64],
    cx: &FitContext<'_>,
) -> Result<Vec<f32>> {
    let width = rows.len().checked_div(labels.len()).unwrap_or_default();
    let mut arrays = vec![
        Array::f32("inputs", vec![labels.len(), width], rows),
        Array::i64("labels", labels),
    ];
    let steps = contest.steps;
    let resumed = resumption(cx, |standing| format!("step {} of {steps}", standing.steps));
    if let Some((standing, state)) = &resumed {
        contest.resume = Some(standing.clone());
        arrays.extend(tensors(state));
    }
    let (_, answers) = learn(&Learning::Contest(Box::new(contest)), &arrays, cx)?;
    match answers.find("rows").map(|array| &array.numbers) {
        Some(Numbers::F32(rows)) => Ok(rows.to_vec()),
        _ => Err(Error::Model("the libtorch library gave no rows".to_owned())),
    }
}

/// A trained network in the library.
pub(crate) fn open(request: &Load, state: &State) -> Result<bridge::Model> {
    load(&Loading::Network(request.clone()), state)
}

/// A network or a module in the library.
pub(crate) fn load(request: &Loading, state: &State) -> Result<bridge::Model> {
    runtime::library()?
        .load(request, &tensors(state))
        .map_err(|failure| match failure {
            Failure::Interrupted => Error::Interrupted,
            Failure::Failed(message) => Error::State(message),
        })
}

/// What a network answers to the rows of a batch, as arrays by name.
pub(crate) fn answers(
    model: &bridge::Model,
    input: &Input,
    batch: &DataFrame,
) -> Result<Arrays<'static>> {
    let inputs = input.rows(batch)?;
    let shape = vec![batch.height(), input.row_length()];
    predict(model, &[Array::f32("inputs", shape, &*inputs)])
}

/// What a model in the library answers to these arrays.
pub(crate) fn predict(model: &bridge::Model, inputs: &[Array<'_>]) -> Result<Arrays<'static>> {
    model.predict(inputs).map_err(|failure| match failure {
        Failure::Interrupted => Error::Interrupted,
        Failure::Failed(message) => Error::Model(message),
    })
}

/// The array of that name with so many numbers.
pub(crate) fn numbers<'a>(answer: &'a Arrays<'_>, name: &str, count: usize) -> Result<&'a [f64]> {
    match answer.find(name).map(|array| &array.numbers) {
        Some(Numbers::F64(numbers)) if numbers.len() == count => Ok(numbers),
        _ => Err(Error::Model(format!(
            "the libtorch library gave no `{name}` of {count} numbers"
        ))),
    }
}
