//! The training loop.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread::{Scope, scope},
    time::{Duration, Instant},
};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tch::{TchError, Tensor};

use crate::{
    augmentation::augmented,
    bridge::{keep_freed_memory, return_freed_memory, tensor_over},
    contest,
    counts::counted,
    inference::in_chunks,
    loss::{Truth, count_right, loss_of},
    network::{Mode, Model, Purpose, device_of},
    optimizer::{Descent, flat, restore},
    protocol::{
        Array, Arrays, Course, Epoch, Event, Failure, Keep, Learning, Listener, Loss, Precision,
        Schedule, Standing, Trained, Training,
    },
    puzzle::Puzzle,
};

/// Progress is shown no more often than this.
pub(crate) const SHOW_EVERY: Duration = Duration::from_millis(100);

/// A part of a batch has no fewer rows: below, a thread costs more than it brings.
const SMALLEST_PART: usize = 8;

/// libtorch's own threads are worth their meetings from so many numbers in all layers of a batch on.
pub(crate) const LARGE_BATCH: usize = 1 << 20;

/// Rows with what is true of them, where libtorch can reach them.
struct Rows {
    inputs: Tensor,
    truth: Truth,
    weights: Option<Tensor>,
    count: usize,
}

impl Rows {
    /// Over the arrays `<prefix>inputs`, `<prefix>labels` or `<prefix>targets` and, where they came, `<prefix>weights`.
    fn over(model: &Model, loss: Loss, arrays: &Arrays<'_>, prefix: &str) -> Result<Self, Failure> {
        let inputs = arrays.f32(&format!("{prefix}inputs"))?;
        let length = model.row_length();
        let count = inputs.len() / length.max(1);
        if inputs.len() != count * length {
            return Err(Failure::Failed(format!(
                "{} numbers do not make rows of {length}",
                inputs.len()
            )));
        }
        let device = model.device();
        let truth = Truth::over(loss, model.outputs(), count, arrays, prefix)?.to_device(device)?;
        let weights = match arrays.find(&format!("{prefix}weights")) {
            Some(array) => {
                Some(Tensor::f_from_slice(arrays.f32(&array.name)?)?.f_to_device(device)?)
            }
            None => None,
        };
        let inputs = tensor_over(inputs, &model.input_shape(count))?.f_to_device(device)?;
        Ok(Self {
            inputs: model.arrange(&inputs)?,
            truth,
            weights,
            count,
        })
    }

    /// The same rows, for another thread.
    fn share(&self) -> Self {
        Self {
            inputs: self.inputs.shallow_clone(),
            truth: self.truth.share(),
            weights: self.weights.as_ref().map(Tensor::shallow_clone),
            count: self.count,
        }
    }

    /// These rows, copied out.
    fn pick(&self, rows: &Tensor) -> Result<Self, TchError> {
        let pick = |tensor: &Tensor| tensor.f_index_select(0, rows);
        Ok(Self {
            inputs: pick(&self.inputs)?,
            truth: self.truth.map(pick)?,
            weights: self.weights.as_ref().map(pick).transpose()?,
            count: rows.size1()?.unsigned_abs() as usize,
        })
    }
}

/// What the rows weigh together: their number, where they are not weighted.
fn weight_of(weights: Option<&Tensor>, count: usize) -> Result<f64, TchError> {
    match weights {
        Some(weights) => weights.f_sum(None)?.f_double_value(&[]),
        None => Ok(count as f64),
    }
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

/// What every thread of a training needs besides model and rows.
#[derive(Debug, Clone)]
struct Lesson {
    course: Course,
    puzzle: Option<Puzzle>,
}

impl Lesson {
    fn learn(&self, model: &Model, rows: &Rows, part: &Part) -> Result<Learned, TchError> {
        let mut own = rows.pick(&part.rows)?;
        if let Some(augmentation) = &self.course.augment {
            own.inputs = augmented(own.inputs, augmentation, part.draw)?;
        }
        if let Some(puzzle) = &self.puzzle {
            (own.inputs, own.truth) = puzzle.set(&own.inputs, part.draw)?;
        }
        let inputs = own.inputs.shallow_clone();
        let output = model.forward(own.inputs, Mode::Learning { draw: part.draw })?;
        let weights = own.weights.as_ref();
        let sum = loss_of(self.course.loss, &output, &own.truth, &inputs, weights)?;
        let gradient = model.gradient(&sum.f_div_scalar(part.weight)?)?;
        Ok(Learned {
            gradient,
            loss: sum.f_double_value(&[])?,
            right: count_right(&output.values, &own.truth)?,
        })
    }
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
        lesson: &'scope Lesson,
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
                        if outbox.send(lesson.learn(&model, &rows, &part)).is_err() {
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
        lesson: &Lesson,
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
        let mut sum = lesson.learn(model, rows, &part(0)?)?;
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

/// Trains; the answer's arrays are the network's tensors by name, or the rows that a generator made up.
///
/// Same request, arrays and machine, same answer to the bit, also when a cancelled training goes on from its checkpoint.
///
/// # Errors
/// What libtorch says; a loss that is not a number; [`Failure::Interrupted`] after the listener said so and was handed a
/// checkpoint.
pub fn train(
    request: &Learning,
    arrays: &Arrays<'_>,
    listener: &dyn Listener,
) -> Result<(Trained, Vec<Array<'static>>), Failure> {
    keep_freed_memory();
    let answer = match request {
        Learning::Network(training) => run(training, arrays, listener),
        Learning::Contest(contest) => contest::run(contest, arrays, listener),
    };
    return_freed_memory();
    answer
}

fn run(
    request: &Training,
    arrays: &Arrays<'_>,
    listener: &dyn Listener,
) -> Result<(Trained, Vec<Array<'static>>), Failure> {
    let course = &request.course;
    let device = device_of(course.device)?;
    let mut model = Model::start(
        &request.network,
        match course.precision {
            Precision::Single => Purpose::Training,
            Precision::Mixed => Purpose::MixedTraining,
        },
        course.seed,
        arrays,
        device,
    )?;
    let rows = Rows::over(&model, course.loss, arrays, "")?;
    let validation = match arrays.find("validation_inputs") {
        Some(_) => Some(Rows::over(&model, course.loss, arrays, "validation_")?)
            .filter(|rows| rows.count > 0),
        None => None,
    };
    if rows.count < model.smallest_batch() {
        return Err(Failure::Failed(format!(
            "nothing can be learned from {}",
            counted(rows.count, "row")
        )));
    }
    let mut descent = Descent::start(course.optimizer, &model.trained)?;
    let mut standing = Standing::default();
    let mut best = None;
    if let Some(resume) = &request.resume {
        standing = resume.clone();
        restore(&mut model.trained, "trained", arrays)?;
        restore(&mut model.statistics, "statistics", arrays)?;
        descent.resume(arrays)?;
        if arrays.find("best_trained").is_some() {
            let mut kept = Weights::of(&model)?;
            restore(&mut kept.trained, "best_trained", arrays)?;
            restore(&mut kept.statistics, "best_statistics", arrays)?;
            best = Some(kept);
        }
    }
    // A batch whose rows must be seen together stays whole, and libtorch's threads share its layers.
    let parts = match model.mixes_rows() || device.is_cuda() {
        true => 1,
        false => course
            .threads
            .clamp(1, (course.batch_size / SMALLEST_PART).max(1)),
    };
    let numbers = model.numbers_a_row().saturating_mul(course.batch_size);
    let threads = if parts > 1 || numbers < LARGE_BATCH {
        1
    } else {
        course.threads.max(1)
    };
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    let lesson = Lesson {
        course: course.clone(),
        puzzle: match course.loss {
            Loss::Order(orders) => Some(Puzzle::new(orders)),
            _ => None,
        },
    };
    let (standing, best) = scope(|scope| {
        let team = Team::start(scope, parts, &lesson, &model, &rows)?;
        let mut epochs = Epochs {
            lesson: &lesson,
            listener,
            team,
            rows: &rows,
            validation: validation.as_ref(),
            model: &mut model,
            descent: &mut descent,
            best,
            shown: Instant::now(),
        };
        while standing.epoch < course.epochs && !standing.is_over {
            standing = epochs.pass(standing)?;
        }
        Ok::<_, Failure>((standing, epochs.best))
    })?;
    let mut epoch = standing.epoch;
    if let Some(best) = best {
        epoch = standing.best_epoch;
        model.trained.f_copy_(&best.trained)?;
        model.statistics.f_copy_(&best.statistics)?;
    }
    let history = standing.history;
    Ok((Trained { history, epoch }, model.to_arrays()?))
}

/// A network's numbers as they once were.
struct Weights {
    trained: Tensor,
    statistics: Tensor,
}

impl Weights {
    fn of(model: &Model) -> Result<Self, TchError> {
        Ok(Self {
            trained: copied(&model.trained)?,
            statistics: copied(&model.statistics)?,
        })
    }
}

fn copied(tensor: &Tensor) -> Result<Tensor, TchError> {
    let mut copy = tensor.f_zeros_like()?;
    copy.f_copy_(tensor)?;
    Ok(copy)
}

/// Batches in an epoch; a last one that is too small to learn from is left out.
fn batches(rows: usize, batch_size: usize, smallest: usize) -> u64 {
    let left = rows % batch_size;
    (rows / batch_size) as u64 + u64::from(left >= smallest && left > 0)
}

/// The share of the learning rate for the next step; `share` is the part of the epoch that is done by then.
fn rate(course: &Course, standing: &Standing, share: f64) -> f64 {
    let at = standing.epoch as f64 + share;
    let warming = match course.warmup {
        warmup if warmup > at => at / warmup,
        _ => 1.0,
    };
    let planned = match course.schedule {
        None => 1.0,
        Some(Schedule::Cosine(cosine)) => {
            let turn = std::f64::consts::PI * at / course.epochs as f64;
            cosine.floor + (1.0 - cosine.floor) * (1.0 + turn.cos()) / 2.0
        }
        Some(Schedule::Step(step)) => step.factor.powf((standing.epoch / step.every) as f64),
        Some(Schedule::Exponential(exponential)) => exponential.factor.powf(standing.epoch as f64),
        Some(Schedule::Plateau(_)) => standing.rate,
    };
    warming * planned
}

/// What passes over the rows need.
struct Epochs<'a> {
    lesson: &'a Lesson,
    listener: &'a dyn Listener,
    team: Team,
    rows: &'a Rows,
    validation: Option<&'a Rows>,
    model: &'a mut Model,
    descent: &'a mut Descent,
    best: Option<Weights>,
    shown: Instant,
}

impl Epochs<'_> {
    /// The rest of the epoch that training stands in.
    fn pass(&mut self, mut standing: Standing) -> Result<Standing, Failure> {
        let Course {
            epochs,
            batch_size,
            seed,
            ..
        } = self.lesson.course;
        let batches = batches(self.rows.count, batch_size, self.model.smallest_batch());
        let order = Tensor::f_from_slice(&order(self.rows.count, seed, standing.epoch))?
            .f_to_device(self.model.device())?;
        while standing.batch < batches {
            if self.listener.is_cancelled() {
                self.listener.checkpoint(&standing, &self.checkpoint()?)?;
                return Err(Failure::Interrupted);
            }
            let start = standing.batch as usize * batch_size;
            let length = batch_size.min(self.rows.count - start);
            let share = (standing.batch as f64 + 0.5) / batches as f64;
            self.step(
                &order.f_narrow(0, start as i64, length as i64)?,
                rate(&self.lesson.course, &standing, share),
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
        let accuracy = |right: u64, rows: u64| {
            (self.rows.truth.is_classes() || self.lesson.puzzle.is_some())
                .then(|| right as f64 / rows.max(1) as f64)
        };
        let result = Epoch {
            loss: standing.loss / standing.weight.max(f64::MIN_POSITIVE),
            accuracy: accuracy(standing.right, standing.rows),
            validation_loss: validated.map(|(loss, _)| loss),
            validation_accuracy: validated
                .zip(self.validation)
                .and_then(|((_, right), rows)| accuracy(right, rows.count as u64)),
        };
        standing.history.push(result.clone());
        self.judge(&result, &mut standing)?;
        let standing = Standing {
            epoch: standing.epoch + 1,
            batch: 0,
            loss: 0.0,
            weight: 0.0,
            rows: 0,
            right: 0,
            ..standing
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

    /// What the end of an epoch means for the best weights, the learning rate, and going on.
    fn judge(&mut self, result: &Epoch, standing: &mut Standing) -> Result<(), Failure> {
        let course = &self.lesson.course;
        let loss = result.validation_loss.unwrap_or(result.loss);
        let margin = course.early_stopping.map_or(0.0, |early| early.min_delta);
        let is_lower = loss < standing.best_loss - margin;
        standing.waited = if is_lower { 0 } else { standing.waited + 1 };
        standing.stalled = if is_lower { 0 } else { standing.stalled + 1 };
        if loss < standing.best_loss {
            standing.best_loss = loss;
            standing.best_epoch = standing.epoch + 1;
            if course.keep == Keep::Best {
                self.best = Some(Weights::of(self.model)?);
            }
        }
        if let Some(Schedule::Plateau(plateau)) = course.schedule
            && standing.stalled >= plateau.patience
        {
            standing.rate *= plateau.factor;
            standing.stalled = 0;
        }
        standing.is_over = course
            .early_stopping
            .is_some_and(|early| standing.waited >= early.patience);
        Ok(())
    }

    /// One batch, one step of the optimizer with this share of the learning rate.
    fn step(&mut self, batch: &Tensor, rate: f64, standing: &mut Standing) -> Result<(), Failure> {
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
        let course = &self.lesson.course;
        // Each batch its own draw, so that a resumed training drops the same numbers.
        let draw = course.seed ^ (standing.steps + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut learned =
            self.team
                .learn(self.lesson, self.model, self.rows, batch, weight, draw)?;
        if !learned.loss.is_finite() {
            return Err(Failure::Failed(format!(
                "the loss became {} in batch {} of epoch {}; lower the optimizer's `learning_rate`, or scale the features",
                learned.loss,
                standing.batch,
                standing.epoch + 1
            )));
        }
        if let Some(longest) = course.clip_norm {
            let length = learned.gradient.f_norm()?.f_double_value(&[])?;
            if length > longest {
                let _ = learned.gradient.f_mul_scalar_(longest / length)?;
            }
        }
        standing.steps += 1;
        self.descent.step(
            &mut self.model.trained,
            learned.gradient,
            standing.steps,
            rate,
        )?;
        standing.loss += learned.loss;
        standing.weight += weight;
        standing.rows += count;
        standing.right += learned.right;
        Ok(())
    }

    /// Mean loss, and how many are classified rightly, of rows that are not learned from.
    fn validate(&self, rows: &Rows) -> Result<(f64, u64), Failure> {
        let (mut sum, mut right) = (0.0, 0);
        let (inputs, truth) = match &self.lesson.puzzle {
            Some(puzzle) => puzzle.set(&rows.inputs, self.lesson.course.seed)?,
            None => (rows.inputs.shallow_clone(), rows.truth.share()),
        };
        in_chunks(
            self.model,
            &inputs,
            rows.count,
            Mode::Answering,
            |start, output| {
                let length = output.values.size()[0];
                let narrow = |tensor: &Tensor| tensor.f_narrow(0, start, length);
                let truth = truth.map(narrow)?;
                let weights = rows.weights.as_ref().map(narrow).transpose()?;
                let loss = loss_of(
                    self.lesson.course.loss,
                    &output,
                    &truth,
                    &narrow(&inputs)?,
                    weights.as_ref(),
                )?;
                sum += loss.f_double_value(&[])?;
                right += count_right(&output.values, &truth)?;
                Ok(())
            },
        )?;
        let weight = weight_of(rows.weights.as_ref(), rows.count)?;
        Ok((sum / weight.max(f64::MIN_POSITIVE), right))
    }

    fn checkpoint(&self) -> Result<Vec<Array<'static>>, Failure> {
        let mut arrays = self.descent.to_arrays()?;
        arrays.push(flat("trained", &self.model.trained)?);
        arrays.push(flat("statistics", &self.model.statistics)?);
        if let Some(best) = &self.best {
            arrays.push(flat("best_trained", &best.trained)?);
            arrays.push(flat("best_statistics", &best.statistics)?);
        }
        Ok(arrays)
    }
}
