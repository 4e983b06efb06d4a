//! Networks that say a row again from fewer numbers: how well they manage tells how usual the row is.

use polars::prelude::{Column as PolarsColumn, DataFrame, DataType};
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, Predictor, Result, Schema, State,
    anomaly::{self, Scale},
};

use crate::{
    arrays::{Input, array_column},
    bridge,
    lesson::{self, Rows, Truth, row_weights, with_tensors},
    protocol::{Device, Epoch, Load, Loss, Network},
    runtime,
    settings::Settings,
};

/// The column with the numbers that a row was made into.
const CODE: &str = "code";

/// What is learned, as it is stored beside the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learned {
    input: Input,
    network: Network,
    loss: Loss,
    /// How many of the first layers make the code, and how many numbers it has; where it is wanted.
    code: Option<(usize, usize)>,
    device: Device,
    scale: Scale,
    contamination: f64,
    history: Vec<Epoch>,
    epoch: u64,
}

/// Rows to learn.
pub(crate) struct Lesson {
    /// Version of the kind.
    pub(crate) version: u32,
    pub(crate) input: Input,
    pub(crate) network: Network,
    pub(crate) loss: Loss,
    /// As in the state.
    pub(crate) code: Option<(usize, usize)>,
    pub(crate) settings: Settings,
    pub(crate) contamination: f64,
}

/// The input with the columns that are added. `code` is how many numbers a code has, where it is wanted.
pub(crate) fn output_schema(
    input: &Schema,
    code: Option<usize>,
    cx: &mut CheckContext<'_>,
) -> Schema {
    let code =
        code.map(|length| Column::new(CODE, DataType::Array(Box::new(DataType::Float64), length)));
    anomaly::with_outputs(input, code.into_iter().collect(), cx)
}

/// Trains the network, and measures how well it says the training rows.
pub(crate) fn fit(
    lesson: Lesson,
    train: &Frame,
    validation: Option<&Frame>,
    cx: &FitContext<'_>,
) -> Result<State> {
    let Lesson {
        version,
        input,
        network,
        loss,
        code,
        settings,
        contamination,
    } = lesson;
    if train.data.height() == 0 {
        return Err(Error::data("there are no training rows to learn from"));
    }
    let inputs = input.rows(&train.data)?;
    let weights = row_weights(train)?;
    let rows = Rows {
        inputs: &inputs,
        truth: &Truth::Itself,
        weights: weights.as_deref(),
    };
    let held_out = validation
        .filter(|frame| frame.data.height() > 0)
        .map(|frame| Ok::<_, Error>((input.rows(&frame.data)?, row_weights(frame)?)))
        .transpose()?;
    let held_out = held_out.as_ref().map(|(inputs, weights)| Rows {
        inputs,
        truth: &Truth::Itself,
        weights: weights.as_deref(),
    });
    let course = settings.course(loss, None, cx.seed, runtime::threads());
    let device = course.device;
    let (network, trained, tensors) =
        lesson::train(network, course, &rows, held_out.as_ref(), &[], cx)?;
    let mut learned = Learned {
        input,
        network,
        loss,
        code,
        device,
        scale: Scale::learn(vec![0.0])?,
        contamination,
        history: trained.history,
        epoch: trained.epoch,
    };
    let bare = with_tensors(State::from_data(version, &learned)?, &tensors.0);
    let model = lesson::open(&learned.load(), &bare)?;
    learned.scale = Scale::learn(learned.measures(&model, &train.data)?)?;
    Ok(with_tensors(
        State::from_data(version, &learned)?,
        &tensors.0,
    ))
}

impl Learned {
    fn load(&self) -> Load {
        Load {
            network: self.network.clone(),
            threads: runtime::threads(),
            device: self.device,
            draws: None,
        }
    }

    /// How badly each row is said: the mean of the squared errors, or the negative of the evidence lower bound at the mean code.
    fn measures(&self, model: &bridge::Model, batch: &DataFrame) -> Result<Vec<f64>> {
        let inputs = self.input.rows(batch)?;
        let answers = lesson::answers(model, &self.input, batch)?;
        let outputs = lesson::numbers(&answers, "outputs", inputs.len())?;
        let length = self.input.row_length().max(1);
        let squares = outputs
            .chunks_exact(length)
            .zip(inputs.chunks_exact(length))
            .map(|(output, input)| {
                let errors = output.iter().zip(input);
                errors
                    .map(|(output, input)| (output - f64::from(*input)).powi(2))
                    .sum::<f64>()
            });
        match self.loss {
            Loss::Evidence { deviation, .. } => {
                let divergences = lesson::numbers(&answers, "divergences", batch.height())?;
                Ok(squares
                    .zip(divergences)
                    .map(|(squares, divergence)| {
                        squares / (2.0 * deviation * deviation) + divergence
                    })
                    .collect())
            }
            _ => Ok(squares.map(|squares| squares / length as f64).collect()),
        }
    }
}

struct Reconstructor {
    learned: Learned,
    model: bridge::Model,
    /// What makes the code, and how many numbers it has.
    encoder: Option<(bridge::Model, usize)>,
}

/// What predicts with the state that [`fit`] made.
pub(crate) fn load(version: u32, state: &State) -> Result<Box<dyn Predictor>> {
    let learned: Learned = state.data(version)?;
    let model = lesson::open(&learned.load(), state)?;
    let encoder = learned
        .code
        .map(|(layers, length)| {
            let mut load = learned.load();
            load.network.layers.truncate(layers);
            Ok::<_, Error>((lesson::open(&load, state)?, length))
        })
        .transpose()?;
    Ok(Box::new(Reconstructor {
        learned,
        model,
        encoder,
    }))
}

impl Predictor for Reconstructor {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let measures = self.learned.measures(&self.model, batch)?;
        let mut columns = self
            .learned
            .scale
            .columns(&measures, self.learned.contamination);
        if let Some((encoder, length)) = &self.encoder {
            let rows = batch.height();
            let answers = lesson::answers(encoder, &self.learned.input, batch)?;
            let code = lesson::numbers(&answers, "outputs", rows * length)?;
            columns.push(array_column(CODE, code, *length)?);
        }
        Ok(columns)
    }
}
