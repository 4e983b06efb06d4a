//! The training loop.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread::{Scope, scope},
    time::{Duration, Instant},
};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tch::{Reduction, TchError, Tensor};

use crate::{
    bridge::{keep_freed_memory, return_freed_memory, tensor_over},
    counts::counted,
    inference::in_chunks,
    network::{Mode, Model},
    optimizer::{Descent, flat, restore},
    protocol::{Array, Arrays, Epoch, Event, Failure, Listener, Loss, Standing, Trained, Training},
};

/// Progress is shown no more often than this.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// A part of a batch has no fewer rows: below, a thread costs more than it brings.
const SMALLEST_PART: usize = 8;

/// libtorch's own threads are worth their meetings from so many numbers in all layers of a batch on.
const LARGE_BATCH: usize = 1 << 20;

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

    /// The same rows, for another thread.
    fn share(&self) -> Self {
        Self {
            inputs: self.inputs.shallow_clone(),
            labels: self.labels.shallow_clone(),
            weights: self.weights.as_ref().map(Tensor::shallow_clone),
            count: self.count,
        }
    }

    /// These rows, copied out.
    fn pick(&self, rows: &Tensor) -> Result<Self, TchError> {
        let pick = |tensor: &Tensor| tensor.f_index_select(0, rows);
        let labels = pick(&self.labels)?;
        Ok(Self {
            inputs: pick(&self.inputs)?,
            weights: self.weights.as_ref().map(pick).transpose()?,
            count: labels.size1()?.unsigned_abs() as usize,
            labels,
        })
    }
}

/// The loss, summed over rows with their weights.
fn loss_of(
    loss: Loss,
    logits: &Tensor,
    labels: &Tensor,
    weights: Option<&Tensor>,
) -> Result<Tensor, TchError> {
    match loss {
        Loss::SparseCategoricalCrossentropy => {
            let crossentropy = |reduction| {
                logits.f_cross_entropy_loss(labels, None::<&Tensor>, reduction, -100, 0.0)
            };
            match weights {
                None => crossentropy(Reduction::Sum),
                Some(weights) => crossentropy(Reduction::None)?.f_mul(weights)?.f_sum(None),
            }
        }
    }
}

/// What the rows weigh together: their number, where they are not weighted.
fn weight_of(weights: Option<&Tensor>, count: usize) -> Result<f64, TchError> {
    match weights {
        Some(weights) => weights.f_sum(None)?.f_double_value(&[]),
        None => Ok(count as f64),
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

/// A part of a batch, for one thread.
struct Part {
    rows: Tensor,
    /// What the whole batch weighs.
    weight: f64,
    /// Decides what dropout drops.
    draw: u64,
}

/// What a part of a batch came to.
struct Learned {
    /// Of the loss divided by the whole batch's weight; the parts' gradients add up to the batch's.
    gradient: Tensor,
    /// Summed over the part's rows.
    loss: f64,
    right: u64,
}

fn learn(loss: Loss, model: &Model, rows: &Rows, part: &Part) -> Result<Learned, TchError> {
    let own = rows.pick(&part.rows)?;
    let logits = model.logits(own.inputs, Mode::Learning { draw: part.draw })?;
    let sum = loss_of(loss, &logits, &own.labels, own.weights.as_ref())?;
    let gradient = model.gradient(&sum.f_div_scalar(part.weight)?)?;
    Ok(Learned {
        gradient,
        loss: sum.f_double_value(&[])?,
        right: count_right(&logits, &own.labels)?,
    })
}

/// A thread of a [`Team`]: where it takes parts from, and where its answers come.
type Mate = (Sender<Part>, Receiver<Result<Learned, TchError>>);

/// Threads that learn from parts of each batch.
///
/// They meet once a batch, where libtorch's own threads would meet at every layer: that is faster, and on a machine that
/// has other work to do it is faster many times over, because each meeting waits for the slowest.
struct Team {
    others: Vec<Mate>,
}

impl Team {
    fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        size: usize,
        loss: Loss,
        model: &Model,
        rows: &Rows,
    ) -> Result<Self, TchError> {
        let others = (1..size)
            .map(|_| {
                let (model, rows) = (model.share()?, rows.share());
                let (parts, inbox) = channel::<Part>();
                let (outbox, answers) = channel();
                scope.spawn(move || {
                    tch::set_num_threads(1);
                    for part in inbox {
                        if outbox.send(learn(loss, &model, &rows, &part)).is_err() {
                            break;
                        }
                    }
                });
                Ok((parts, answers))
            })
            .collect::<Result<_, TchError>>()?;
        Ok(Self { others })
    }

    /// Learns from a batch: each thread from its part, the parts summed up in order.
    fn learn(
        &self,
        loss: Loss,
        model: &Model,
        rows: &Rows,
        batch: &Tensor,
        weight: f64,
        draw: u64,
    ) -> Result<Learned, Failure> {
        let length = batch.size1()?;
        let parts = (length as usize / SMALLEST_PART).clamp(1, self.others.len() + 1) as i64;
        let part = |index: i64| {
            let (start, end) = (index * length / parts, (index + 1) * length / parts);
            let draw = draw.wrapping_add(index.unsigned_abs().wrapping_mul(0xD1B5_4A32_D192_ED03));
            Ok::<_, TchError>(Part {
                rows: batch.f_narrow(0, start, end - start)?,
                weight,
                draw,
            })
        };
        let gone = || Failure::Failed("a thread of the training failed".into());
        let busy = &self.others[..parts as usize - 1];
        for (index, (inbox, _)) in (1..).zip(busy) {
            inbox.send(part(index)?).map_err(|_| gone())?;
        }
        let mut sum = learn(loss, model, rows, &part(0)?)?;
        for (_, answers) in busy {
            let learned = answers.recv().map_err(|_| gone())??;
            let _ = sum.gradient.f_add_(&learned.gradient)?;
            sum.loss += learned.loss;
            sum.right += learned.right;
        }
        Ok(sum)
    }
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
    let mut model = Model::start(&request.network, request.seed)?;
    let rows = Rows::over(&model, arrays, "")?;
    let validation = match arrays.find("validation_inputs") {
        Some(_) => Some(Rows::over(&model, arrays, "validation_")?).filter(|rows| rows.count > 0),
        None => None,
    };
    if rows.count < model.smallest_batch() {
        return Err(Failure::Failed(format!(
            "nothing can be learned from {}",
            counted(rows.count, "row")
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
    // A batch whose rows must be seen together stays whole, and libtorch's threads share its layers.
    let parts = match model.mixes_rows() {
        true => 1,
        false => request
            .threads
            .clamp(1, (request.batch_size / SMALLEST_PART).max(1)),
    };
    let numbers = model.numbers_a_row().saturating_mul(request.batch_size);
    let threads = if parts > 1 || numbers < LARGE_BATCH {
        1
    } else {
        request.threads.max(1)
    };
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    let standing = scope(|scope| {
        let team = Team::start(scope, parts, request.loss, &model, &rows)?;
        let mut epochs = Epochs {
            request,
            listener,
            team,
            rows: &rows,
            validation: validation.as_ref(),
            model: &mut model,
            descent: &mut descent,
            shown: Instant::now(),
        };
        while standing.epoch < request.epochs {
            standing = epochs.pass(standing)?;
        }
        Ok::<_, Failure>(standing)
    })?;
    let history = standing.history;
    Ok((Trained { history }, model.to_arrays()?))
}

/// Batches in an epoch; a last one that is too small to learn from is left out.
fn batches(rows: usize, batch_size: usize, smallest: usize) -> u64 {
    let left = rows % batch_size;
    (rows / batch_size) as u64 + u64::from(left >= smallest && left > 0)
}

/// What passes over the rows need.
struct Epochs<'a> {
    request: &'a Training,
    listener: &'a dyn Listener,
    team: Team,
    rows: &'a Rows,
    validation: Option<&'a Rows>,
    model: &'a mut Model,
    descent: &'a mut Descent,
    shown: Instant,
}

impl Epochs<'_> {
    /// The rest of the epoch that training stands in.
    fn pass(&mut self, mut standing: Standing) -> Result<Standing, Failure> {
        let Training {
            epochs,
            batch_size,
            seed,
            ..
        } = *self.request;
        let batches = batches(self.rows.count, batch_size, self.model.smallest_batch());
        let order = Tensor::f_from_slice(&order(self.rows.count, seed, standing.epoch))?;
        while standing.batch < batches {
            if self.listener.is_cancelled() {
                self.listener.checkpoint(&standing, &self.checkpoint()?)?;
                return Err(Failure::Interrupted);
            }
            let start = standing.batch as usize * batch_size;
            let length = batch_size.min(self.rows.count - start);
            self.step(
                &order.f_narrow(0, start as i64, length as i64)?,
                &mut standing,
            )?;
            if self.shown.elapsed() >= SHOW_EVERY {
                self.shown = Instant::now();
                self.listener.event(Event::Step {
                    done: standing.epoch * batches + standing.batch,
                    total: epochs * batches,
                });
            }
        }
        let validated = self
            .validation
            .map(|rows| self.validate(rows))
            .transpose()?;
        let result = Epoch {
            loss: standing.loss / standing.weight.max(f64::MIN_POSITIVE),
            accuracy: standing.right as f64 / standing.rows.max(1) as f64,
            validation_loss: validated.map(|(loss, _)| loss),
            validation_accuracy: validated.map(|(_, accuracy)| accuracy),
        };
        standing.history.push(result.clone());
        let standing = Standing {
            epoch: standing.epoch + 1,
            steps: standing.steps,
            history: standing.history,
            ..Standing::default()
        };
        // Kept before it is announced: whoever reads of it may stop the run.
        self.listener.checkpoint(&standing, &self.checkpoint()?)?;
        self.listener.event(Event::Epoch {
            epoch: standing.epoch,
            epochs,
            result,
        });
        Ok(standing)
    }

    /// One batch, one step of the optimizer.
    fn step(&mut self, batch: &Tensor, standing: &mut Standing) -> Result<(), Failure> {
        let count = batch.size1()?.unsigned_abs();
        let weights = self.rows.weights.as_ref();
        let weights = weights
            .map(|weights| weights.f_index_select(0, batch))
            .transpose()?;
        let weight = weight_of(weights.as_ref(), count as usize)?;
        standing.batch += 1;
        if weight <= 0.0 {
            return Ok(());
        }
        // Each batch its own draw, so that a resumed training drops the same numbers.
        let draw = self.request.seed ^ (standing.steps + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let loss = self.request.loss;
        let learned = self
            .team
            .learn(loss, self.model, self.rows, batch, weight, draw)?;
        if !learned.loss.is_finite() {
            return Err(Failure::Failed(format!(
                "the loss became {} in batch {} of epoch {}; lower the optimizer's `learning_rate`, or scale the features",
                learned.loss,
                standing.batch,
                standing.epoch + 1
            )));
        }
        standing.steps += 1;
        self.descent
            .step(&mut self.model.trained, learned.gradient, standing.steps)?;
        standing.loss += learned.loss;
        standing.weight += weight;
        standing.rows += count;
        standing.right += learned.right;
        Ok(())
    }

    /// Mean loss and accuracy on rows that are not learned from.
    fn validate(&self, rows: &Rows) -> Result<(f64, f64), Failure> {
        let (mut sum, mut right) = (0.0, 0);
        in_chunks(self.model, &rows.inputs, rows.count, |start, logits| {
            let length = logits.size()[0];
            let labels = rows.labels.f_narrow(0, start, length)?;
            let weights = rows.weights.as_ref();
            let weights = weights
                .map(|weights| weights.f_narrow(0, start, length))
                .transpose()?;
            let loss = loss_of(self.request.loss, &logits, &labels, weights.as_ref())?;
            sum += loss.f_double_value(&[])?;
            right += count_right(&logits, &labels)?;
            Ok(())
        })?;
        let weight = weight_of(rows.weights.as_ref(), rows.count)?;
        Ok((
            sum / weight.max(f64::MIN_POSITIVE),
            right as f64 / rows.count.max(1) as f64,
        ))
    }

    fn checkpoint(&self) -> Result<Vec<Array<'static>>, Failure> {
        let mut arrays = self.descent.to_arrays()?;
        arrays.push(flat("trained", &self.model.trained)?);
        arrays.push(flat("statistics", &self.model.statistics)?);
        Ok(arrays)
    }
}
