//! Two networks that learn from each other, and the rows that the generator makes up in the end.
//!
//! Wasserstein distance with gradient penalty (Gulrajani and others, 2017): the critic's score of real rows minus that of made-up
//! ones comes to measure how far apart their distributions are, and goes down smoothly as the generator learns. Categories are
//! drawn by Gumbel softmax (Jang and others, 2017), as in CTGAN (Xu and others, 2019); each class is drawn equally often, so that
//! rare ones are learned too. The generator that makes up rows is the running mean of the one that learns (Yazıcı and others, 2019).

use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, TchError, Tensor};

use crate::{
    bridge::tensor_over,
    counts::counted,
    network::{Mode, Model, Purpose, device_of, noise, numbers},
    optimizer::{Descent, flat, restore},
    protocol::{Array, Arrays, Contest, Epoch, Event, Failure, Listener, Standing, Trained},
    training::{LARGE_BATCH, SHOW_EVERY},
};

/// The distance is told so often in the course of a training.
const ROUNDS: u64 = 20;

/// How sharply categories are drawn while training.
const TEMPERATURE: f64 = 0.2;

/// How much of the mean generator a step leaves in place.
const MEMORY: f64 = 0.999;

/// Rows that are made up at once.
const CHUNK: usize = 256;

/// Streams of a draw's generator of random numbers.
const OF_ROWS: u64 = 0;
const OF_NOISE: u64 = 1;
const OF_CATEGORIES: u64 = 2;
const OF_MIXING: u64 = 3;

/// Runs a contest; see [`Contest`].
pub(crate) fn run(
    contest: &Contest,
    arrays: &Arrays<'_>,
    listener: &dyn Listener,
) -> Result<(Trained, Vec<Array<'static>>), Failure> {
    let device = device_of(contest.device)?;
    let start = |network, purpose, salt: u64| {
        let none = Arrays::default();
        Model::start(network, purpose, contest.seed ^ salt, &none, device)
    };
    let generator = start(&contest.generator, Purpose::Training, 0)?;
    let critic = start(&contest.critic, Purpose::Criticism, 0x5851_F42D_4C95_7F2D)?;
    let numbers = generator.numbers_a_row() + critic.numbers_a_row();
    let is_large = numbers.saturating_mul(contest.batch_size) >= LARGE_BATCH;
    let threads = if is_large { contest.threads } else { 1 };
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
    let average = generator.trained.f_zeros_like()?;
    let mut contenders = Contenders {
        contest,
        rows: Rows::over(contest, arrays, device)?,
        generator_descent: Descent::start(contest.optimizer, &generator.trained)?,
        critic_descent: Descent::start(contest.optimizer, &critic.trained)?,
        generator,
        critic,
        average,
        device,
    };
    contenders.average.f_copy_(&contenders.generator.trained)?;
    let mut standing = Standing::default();
    if let Some(resume) = &contest.resume {
        standing = resume.clone();
        contenders.resume(arrays)?;
    }
    let round = contest.steps.div_ceil(ROUNDS).max(1);
    let mut shown = Instant::now();
    while standing.steps < contest.steps {
        if listener.is_cancelled() {
            listener.checkpoint(&standing, &contenders.checkpoint()?)?;
            return Err(Failure::Interrupted);
        }
        standing.loss += contenders.step(standing.steps)?;
        standing.rows += 1;
        standing.steps += 1;
        if standing.steps.is_multiple_of(round) || standing.steps == contest.steps {
            let result = Epoch {
                loss: standing.loss / standing.rows as f64,
                accuracy: None,
                validation_loss: None,
                validation_accuracy: None,
            };
            standing.epoch += 1;
            (standing.loss, standing.rows) = (0.0, 0);
            standing.history.push(result.clone());
            listener.checkpoint(&standing, &contenders.checkpoint()?)?;
            listener.event(Event::Epoch {
                epoch: standing.epoch,
                epochs: contest.steps.div_ceil(round),
                result,
            });
        }
        if shown.elapsed() >= SHOW_EVERY {
            shown = Instant::now();
            listener.event(Event::Step {
                done: standing.steps,
                total: contest.steps,
            });
        }
    }
    let rows = contenders.make_up(listener)?;
    let trained = Trained {
        epoch: standing.epoch,
        history: standing.history,
    };
    Ok((trained, vec![rows]))
}

/// The real rows.
struct Rows {
    inputs: Tensor,
    width: usize,
    /// By class.
    of_class: Vec<Vec<i64>>,
}

impl Rows {
    fn over(contest: &Contest, arrays: &Arrays<'_>, device: Device) -> Result<Self, Failure> {
        let (inputs, labels) = (arrays.f32("inputs")?, arrays.i64("labels")?);
        let width = inputs.len().checked_div(labels.len()).unwrap_or_default();
        let mut of_class = vec![Vec::new(); contest.wanted.len()];
        for (row, label) in (0..).zip(labels) {
            let class = usize::try_from(*label)
                .ok()
                .and_then(|label| of_class.get_mut(label))
                .ok_or_else(|| {
                    format!(
                        "the label {label} is not one of {} classes",
                        contest.wanted.len()
                    )
                })?;
            class.push(row);
        }
        if let Some(class) = of_class.iter().position(Vec::is_empty) {
            return Err(Failure::Failed(format!("class {class} has no rows")));
        }
        let shape = [labels.len() as i64, width as i64];
        Ok(Self {
            inputs: tensor_over(inputs, &shape)?.f_to_device(device)?,
            width,
            of_class,
        })
    }
}

struct Contenders<'a> {
    contest: &'a Contest,
    rows: Rows,
    generator: Model,
    critic: Model,
    generator_descent: Descent,
    critic_descent: Descent,
    /// The running mean of the generator's weights.
    average: Tensor,
    device: Device,
}

/// A draw of its own for every step of either network.
fn draw_of(seed: u64, step: u64) -> u64 {
    seed ^ (step + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn random(draw: u64, stream: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(draw);
    generator.set_stream(stream);
    generator
}

impl Contenders<'_> {
    /// One step of the generator after those of the critic; the distance that the critic sees.
    fn step(&mut self, step: u64) -> Result<f64, Failure> {
        let each = self.contest.critic_steps;
        // The learning rate falls to nothing in the second half, so that the two come to rest.
        let share = (2.0 - 2.0 * step as f64 / self.contest.steps as f64).min(1.0);
        let mut distance = 0.0;
        for turn in 0..each {
            let draw = draw_of(self.contest.seed, step * (each + 1) + turn);
            distance = self.criticise(draw, step * each + turn + 1, share)?;
        }
        let draw = draw_of(self.contest.seed, step * (each + 1) + each);
        let (_, classes) = self.drawn(draw);
        let classes = self.indicators(&classes)?;
        let rows = self.made_up(&classes, draw, Mode::Learning { draw })?;
        let loss = self.score(&rows, &classes)?.f_mean(Kind::Float)?.f_neg()?;
        let gradient = self.generator.gradient(&loss)?;
        self.generator_descent
            .step(&mut self.generator.trained, gradient, step + 1, share)?;
        // The mean starts where learning does, and soon forgets that.
        let memory = MEMORY.min((1.0 + step as f64) / (10.0 + step as f64));
        let _ = self
            .average
            .f_lerp_(&self.generator.trained, 1.0 - memory)?;
        Ok(distance)
    }

    /// One step of the critic.
    fn criticise(&mut self, draw: u64, count: u64, share: f64) -> Result<f64, Failure> {
        let (rows, classes) = self.drawn(draw);
        let classes = self.indicators(&classes)?;
        let rows = Tensor::f_from_slice(&rows)?.f_to_device(self.device)?;
        let real = self.rows.inputs.f_index_select(0, &rows)?;
        let made_up = {
            let _no_grad = tch::no_grad_guard();
            self.made_up(&classes, draw, Mode::Learning { draw })?
        };
        let mut random = random(draw, OF_MIXING);
        let shares: Vec<f32> = (0..self.contest.batch_size)
            .map(|_| random.random())
            .collect();
        let shares = Tensor::f_from_slice(&shares)?
            .f_reshape([-1, 1])?
            .f_to_device(self.device)?;
        let between = made_up
            .f_lerp_tensor(&real, &shares)?
            .f_detach()?
            .f_set_requires_grad(true)?;
        let score = self.score(&between, &classes)?.f_sum(Kind::Float)?;
        let slopes = Tensor::f_run_backward(&[score], &[&between], true, true)?;
        let slope = slopes.first().ok_or_else(|| "no gradient".to_owned())?;
        // The root of nothing has no derivative.
        let length = slope
            .f_reshape([self.contest.batch_size as i64, -1])?
            .f_square()?
            .f_sum_dim_intlist(1, false, None)?
            .f_add_scalar(1e-12)?
            .f_sqrt()?;
        let penalty = length
            .f_sub_scalar(1.0)?
            .f_square()?
            .f_mean(Kind::Float)?
            .f_mul_scalar(self.contest.penalty)?;
        let of_real = self.score(&real, &classes)?.f_mean(Kind::Float)?;
        let of_made_up = self.score(&made_up, &classes)?.f_mean(Kind::Float)?;
        let distance = of_real.f_sub(&of_made_up)?;
        let loss = penalty.f_sub(&distance)?;
        let value = distance.f_double_value(&[])?;
        if !value.is_finite() {
            return Err(Failure::Failed(format!(
                "the critic's distance became {value} after {}; lower the optimizer's `learning_rate`",
                counted(count, "step")
            )));
        }
        let gradient = self.critic.gradient(&loss)?;
        self.critic_descent
            .step(&mut self.critic.trained, gradient, count, share)?;
        Ok(value)
    }

    /// Rows of a batch, and their classes: each class is as likely as any other.
    fn drawn(&self, draw: u64) -> (Vec<i64>, Vec<usize>) {
        let mut random = random(draw, OF_ROWS);
        (0..self.contest.batch_size)
            .map(|_| {
                let class = random.random_range(0..self.rows.of_class.len());
                let rows = &self.rows.of_class[class];
                (rows[random.random_range(0..rows.len())], class)
            })
            .unzip()
    }

    /// A number for each class, 1 for a row's own.
    fn indicators(&self, classes: &[usize]) -> Result<Tensor, TchError> {
        let count = self.contest.wanted.len();
        let mut indicators = vec![0.0_f32; classes.len() * count];
        for (row, class) in classes.iter().enumerate() {
            indicators[row * count + class] = 1.0;
        }
        Tensor::f_from_slice(&indicators)?
            .f_reshape([-1, count as i64])?
            .f_to_device(self.device)
    }

    /// Rows that the generator makes up.
    fn made_up(&self, classes: &Tensor, draw: u64, mode: Mode) -> Result<Tensor, TchError> {
        let rows = classes.size()[0];
        let size = [rows, self.contest.noise as i64];
        let drawn = noise(&size, draw, OF_NOISE)?.f_to_device(self.device)?;
        let values = self
            .generator
            .forward(Tensor::f_cat(&[&drawn, classes], 1)?, mode)?
            .values;
        if values.dim() == 4 {
            // Images as rows have their channels last.
            return values
                .f_permute([0, 2, 3, 1])?
                .f_contiguous()?
                .f_reshape([rows, -1]);
        }
        if self.contest.categories.is_empty() {
            return Ok(values);
        }
        let mut random = random(draw, OF_CATEGORIES);
        let mut parts = Vec::new();
        let mut end = 0_i64;
        for categories in &self.contest.categories {
            let (start, count) = (categories.start as i64, categories.count as i64);
            parts.push(values.f_narrow(1, end, start - end)?);
            end = start + count;
            let gumbel: Vec<f32> = (0..rows * count)
                .map(|_| {
                    let share: f64 = random.random_range(f64::MIN_POSITIVE..1.0);
                    (-(-share.ln()).ln()) as f32
                })
                .collect();
            let gumbel = Tensor::f_from_slice(&gumbel)?
                .f_reshape([rows, count])?
                .f_to_device(self.device)?;
            let likely = values.f_narrow(1, start, count)?.f_add(&gumbel)?;
            parts.push(
                likely
                    .f_div_scalar(TEMPERATURE)?
                    .f_softmax(1, None::<Kind>)?,
            );
        }
        parts.push(values.f_narrow(1, end, values.size()[1] - end)?);
        Tensor::f_cat(&parts, 1)
    }

    /// What the critic thinks of rows.
    fn score(&self, rows: &Tensor, classes: &Tensor) -> Result<Tensor, TchError> {
        let count = classes.size()[1];
        let batch = match self.contest.critic.input[..] {
            [height, width, _] => {
                let (height, width) = (height as i64, width as i64);
                let channels = self.rows.width as i64 / (height * width);
                let images = rows
                    .f_reshape([-1, height, width, channels])?
                    .f_permute([0, 3, 1, 2])?;
                let planes = classes
                    .f_reshape([-1, count, 1, 1])?
                    .f_expand([-1, -1, height, width], false)?;
                Tensor::f_cat(&[images, planes], 1)?
            }
            _ => Tensor::f_cat(&[rows, classes], 1)?,
        };
        // What is drawn in learning is dropout, and the critic has none.
        Ok(self.critic.forward(batch, Mode::Answering)?.values)
    }

    /// The rows that are wanted, class after class, by the mean generator.
    fn make_up(&mut self, listener: &dyn Listener) -> Result<Array<'static>, Failure> {
        let _no_grad = tch::no_grad_guard();
        self.generator.trained.f_copy_(&self.average)?;
        let mut rows = Vec::new();
        let mut chunk = 0;
        for (class, wanted) in self.contest.wanted.iter().enumerate() {
            for start in (0..*wanted).step_by(CHUNK) {
                if listener.is_cancelled() {
                    return Err(Failure::Interrupted);
                }
                let count = CHUNK.min(wanted - start);
                let classes = self.indicators(&vec![class; count])?;
                let draw = draw_of(!self.contest.seed, chunk);
                let made_up = self.made_up(&classes, draw, Mode::Answering)?;
                rows.extend(numbers(&made_up.f_contiguous()?)?);
                chunk += 1;
            }
        }
        let width = self.rows.width;
        let count = rows.len().checked_div(width).unwrap_or_default();
        Ok(Array::f32("rows", vec![count, width], rows))
    }

    fn checkpoint(&self) -> Result<Vec<Array<'static>>, Failure> {
        let mut arrays = vec![
            flat("generator", &self.generator.trained)?,
            flat("critic", &self.critic.trained)?,
            flat("average", &self.average)?,
        ];
        for (of, descent) in [
            ("generator", &self.generator_descent),
            ("critic", &self.critic_descent),
        ] {
            for array in descent.to_arrays()? {
                arrays.push(Array {
                    name: format!("{of}.{}", array.name),
                    ..array
                });
            }
        }
        Ok(arrays)
    }

    fn resume(&mut self, arrays: &Arrays<'_>) -> Result<(), Failure> {
        restore(&mut self.generator.trained, "generator", arrays)?;
        restore(&mut self.critic.trained, "critic", arrays)?;
        restore(&mut self.average, "average", arrays)?;
        let of = |prefix: &str| {
            let own = arrays.0.iter().filter_map(|array| {
                let name = array.name.strip_prefix(prefix)?.to_owned();
                Some(Array {
                    name,
                    ..array.clone()
                })
            });
            Arrays(own.collect())
        };
        self.generator_descent.resume(&of("generator."))?;
        self.critic_descent.resume(&of("critic."))
    }
}
