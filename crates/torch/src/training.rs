//! The training loop.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tch::{Reduction, TchError, Tensor};

use crate::{
    bridge::{keep_freed_memory, return_freed_memory, tensor_over},
    inference::in_chunks,
    network::Model,
    optimizer::{Descent, flat, restore},
    protocol::{Array, Arrays, Epoch, Event, Failure, Listener, Loss, Standing, Trained, Training},
};

/// Progress is shown no more often than this.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Held while libtorch's random generator is in use.
static DRAWING: Mutex<()> = Mutex::new(());

/// Rows with their labels, where libtorch can reach them.
struct Rows {
    inputs: Tensor,
    labels: Tensor,
    weights: Option<Tensor>,
    count: usize,
}

impl Rows {
    /// Over the arrays `<prefix>inputs`, `<prefix>labels` and, where they came, `<prefix>weights`.
    fn over(model: &Model, arrays: &Arrays<'_>, prefix: &str) -> Result<Self, Failure> {
        let inputs = arrays.f32(&format!("{prefix}inputs"))?;
        let labels = arrays.i64(&format!("{prefix}labels"))?;
        let count = labels.len();
        if inputs.len() != count * model.row_length() {
            let wanted = model.row_length();
            return Err(Failure::Failed(format!(
                "{count} labels, but {} numbers in rows of {wanted}",
                inputs.len()
            )));
        }
        let classes = model.classes() as i64;
        if let Some(label) = labels.iter().find(|label| !(0..classes).contains(*label)) {
            return Err(Failure::Failed(format!(
                "the label {label} is not one of {classes} classes"
            )));
        }
        let weights = match arrays.find(&format!("{prefix}weights")) {
            Some(array) => Some(Tensor::f_from_slice(arrays.f32(&array.name)?)?),
            None => None,
        };
        let inputs = model.arrange(&tensor_over(inputs, &model.input_shape(count))?)?;
        Ok(Self {
            inputs,
            labels: Tensor::f_from_slice(labels)?,
            weights,
            count,
        })
    }
}

/// A batch's loss: what is differentiated, and what is added up.
struct BatchLoss {
    mean: Tensor,
    weight: f64,
}

fn loss_of(
    loss: Loss,
    logits: &Tensor,
    labels: &Tensor,
    weights: Option<&Tensor>,
) -> Result<BatchLoss, TchError> {
    match loss {
        Loss::SparseCategoricalCrossentropy => {
            let crossentropy = |reduction| {
                logits.f_cross_entropy_loss(labels, None::<&Tensor>, reduction, -100, 0.0)
            };
            match weights {
                None => Ok(BatchLoss {
                    mean: crossentropy(Reduction::Mean)?,
                    weight: labels.size1()? as f64,
                }),
                Some(weights) => {
                    let weight = weights.f_sum(None)?;
                    let sum = crossentropy(Reduction::None)?.f_mul(weights)?.f_sum(None)?;
                    Ok(BatchLoss {
                        mean: sum.f_div(&weight)?,
                        weight: weight.f_double_value(&[])?,
                    })
                }
            }
        }
    }
}

fn count_right(logits: &Tensor, labels: &Tensor) -> Result<u64, TchError> {
    Ok(logits
        .f_argmax(1, false)?
        .f_eq_tensor(labels)?
        .f_sum(None)?
        .f_int64_value(&[])?
        .unsigned_abs())
}

/// The order of rows in an epoch: the same for the same seed, whatever happened before.
fn order(rows: usize, seed: u64, epoch: u64) -> Vec<i64> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(epoch + 1);
    let mut order: Vec<i64> = (0..rows as i64).collect();
    order.shuffle(&mut generator);
    order
}

/// Trains a network; the answer's arrays are its tensors by name.
///
/// Same request, arrays and machine, same answer to the bit, also when a cancelled training goes on from its checkpoint.
///
/// # Errors
/// What libtorch says; a loss that is not a number; [`Failure::Interrupted`] after the listener said so and was handed a
/// checkpoint.
pub fn train(
    request: &Training,
    arrays: &Arrays<'_>,
    listener: &dyn Listener,
) -> Result<(Trained, Vec<Array<'static>>), Failure> {
    keep_freed_memory();
    let answer = run(request, arrays, listener);
    return_freed_memory();
    answer
}

fn run(
    request: &Training,
    arrays: &Arrays<'_>,
    listener: &dyn Listener,
) -> Result<(Trained, Vec<Array<'static>>), Failure> {
    tch::set_num_threads(i32::try_from(request.threads.max(1)).unwrap_or(i32::MAX));
    let mut model = Model::start(&request.network, request.seed)?;
    let rows = Rows::over(&model, arrays, "")?;
    let validation = match arrays.find("validation_inputs") {
        Some(_) => Some(Rows::over(&model, arrays, "validation_")?).filter(|rows| rows.count > 0),
        None => None,
    };
    if rows.count < model.smallest_batch() {
        return Err(Failure::Failed(format!(
            "{} rows are too few to learn from",
            rows.count
        )));
    }
    let mut descent = Descent::start(request.optimizer, &model.trained)?;
    let mut standing = Standing::default();
    if let Some(resume) = &request.resume {
        standing = resume.clone();
        restore(&mut model.trained, "trained", arrays)?;
        restore(&mut model.statistics, "statistics", arrays)?;
        descent.resume(arrays)?;
    }

    let batches = batches(rows.count, request.batch_size, model.smallest_batch());
    let total = request.epochs * batches;
    let mut shown = Instant::now();
    while standing.epoch < request.epochs {
        let order = Tensor::f_from_slice(&order(rows.count, request.seed, standing.epoch))?;
        while standing.batch < batches {
            if listener.is_cancelled() {
                listener.checkpoint(&standing, &checkpoint(&model, &descent)?)?;
                return Err(Failure::Interrupted);
            }
            let start = standing.batch as usize * request.batch_size;
            let length = request.batch_size.min(rows.count - start);
            let picked = order.f_narrow(0, start as i64, length as i64)?;
            learn(
                request,
                &mut model,
                &mut descent,
                &rows,
                &picked,
                &mut standing,
            )?;
            if shown.elapsed() >= SHOW_EVERY {
                shown = Instant::now();
                listener.event(Event::Step {
                    done: standing.epoch * batches + standing.batch,
                    total,
                });
            }
        }
        let (validation_loss, validation_accuracy) = match &validation {
            Some(rows) => validate(request.loss, &model, rows)
                .map(|(loss, accuracy)| (Some(loss), Some(accuracy)))?,
            None => (None, None),
        };
        let result = Epoch {
            loss: standing.loss / standing.weight.max(f64::MIN_POSITIVE),
            accuracy: standing.right as f64 / standing.rows.max(1) as f64,
            validation_loss,
            validation_accuracy,
        };
        let mut history = std::mem::take(&mut standing.history);
        history.push(result.clone());
        standing = Standing {
            epoch: standing.epoch + 1,
            steps: standing.steps,
            history,
            ..Standing::default()
        };
        listener.event(Event::Epoch {
            epoch: standing.epoch,
            epochs: request.epochs,
            result,
        });
        listener.checkpoint(&standing, &checkpoint(&model, &descent)?)?;
    }
    Ok((
        Trained {
            history: standing.history,
        },
        model.to_arrays()?,
    ))
}

/// Batches in an epoch; a last one that is too small to learn from is left out.
fn batches(rows: usize, batch_size: usize, smallest: usize) -> u64 {
    let left = rows % batch_size;
    (rows / batch_size) as u64 + u64::from(left >= smallest && left > 0)
}

fn learn(
    request: &Training,
    model: &mut Model,
    descent: &mut Descent,
    rows: &Rows,
    picked: &Tensor,
    standing: &mut Standing,
) -> Result<(), Failure> {
    let batch = rows.inputs.f_index_select(0, picked)?;
    let labels = rows.labels.f_index_select(0, picked)?;
    let weights = rows
        .weights
        .as_ref()
        .map(|weights| weights.f_index_select(0, picked))
        .transpose()?;
    let logits = if model.is_random() {
        // libtorch has one generator for the whole process. Each batch seeds its own draw, so that a resumed training drops
        // the same numbers.
        let _only_ours = DRAWING.lock();
        let draw = request.seed
            ^ standing
                .steps
                .wrapping_add(1)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        tch::manual_seed(draw.cast_signed());
        model.logits(batch, true)?
    } else {
        model.logits(batch, true)?
    };
    let BatchLoss { mean, weight } = loss_of(request.loss, &logits, &labels, weights.as_ref())?;
    standing.batch += 1;
    if weight <= 0.0 {
        return Ok(());
    }
    let value = mean.f_double_value(&[])?;
    if !value.is_finite() {
        return Err(Failure::Failed(format!(
            "the loss became {value} in batch {} of epoch {}; lower the optimizer's `learning_rate`, or scale the features",
            standing.batch,
            standing.epoch + 1
        )));
    }
    let gradient = model.gradient(&mean)?;
    standing.steps += 1;
    descent.step(&mut model.trained, gradient, standing.steps)?;
    standing.loss += value * weight;
    standing.weight += weight;
    standing.rows += labels.size1()?.unsigned_abs();
    standing.right += count_right(&logits, &labels)?;
    Ok(())
}

fn validate(loss: Loss, model: &Model, rows: &Rows) -> Result<(f64, f64), Failure> {
    let (mut sum, mut total, mut right) = (0.0, 0.0, 0);
    in_chunks(model, &rows.inputs, rows.count, |start, logits| {
        let length = logits.size()[0];
        let labels = rows.labels.f_narrow(0, start, length)?;
        let weights = rows
            .weights
            .as_ref()
            .map(|weights| weights.f_narrow(0, start, length))
            .transpose()?;
        let BatchLoss { mean, weight } = loss_of(loss, &logits, &labels, weights.as_ref())?;
        if weight > 0.0 {
            sum += mean.f_double_value(&[])? * weight;
            total += weight;
        }
        right += count_right(&logits, &labels)?;
        Ok(())
    })?;
    Ok((
        sum / f64::max(total, f64::MIN_POSITIVE),
        right as f64 / rows.count.max(1) as f64,
    ))
}

fn checkpoint(model: &Model, descent: &Descent) -> Result<Vec<Array<'static>>, Failure> {
    let mut arrays = descent.to_arrays()?;
    arrays.push(flat("trained", &model.trained)?);
    arrays.push(flat("statistics", &model.statistics)?);
    Ok(arrays)
}
