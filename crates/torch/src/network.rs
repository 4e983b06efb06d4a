//! A declared network as libtorch tensors and calls.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use tch::{Device, Kind, TchError, Tensor};

use crate::{
    layers::{self, Activation, Layer, Merge, Padding, Parameter, Recurrent, Start, WayAround},
    protocol::{self, Array, Arrays, Failure, Network},
    reason::reason,
};

/// The stream of the seed's generator that first weights come from; epochs use 1, 2, ….
const FIRST_WEIGHTS: u64 = 0;

impl From<TchError> for Failure {
    fn from(error: TchError) -> Self {
        Self::Failed(format!("libtorch: {}", reason(&error.to_string())))
    }
}

/// What a batch goes through the layers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To learn from it; dropout draws from this seed.
    Learning {
        /// Another one for every batch.
        draw: u64,
    },
    /// To answer.
    Answering,
    /// To answer as a network that dropout draws: the same numbers are dropped of every row.
    Drawn {
        /// Another one for every network.
        draw: u64,
    },
}

/// What a batch becomes.
#[derive(Debug)]
pub(crate) struct Output {
    /// The last layer's output, before softmax and sigmoid: (rows, outputs), or (rows, steps, outputs).
    pub(crate) values: Tensor,
    /// Of a latent layer: each row's divergence from the standard normal distribution.
    pub(crate) divergence: Option<Tensor>,
    /// What each row adds to the loss besides its error, while learning.
    pub(crate) penalty: Option<Tensor>,
}

/// Batches on their way.
struct Passage {
    mode: Mode,
    /// Whether products are made in bfloat16.
    is_mixed: bool,
    divergence: Option<Tensor>,
    penalty: Option<Tensor>,
}

/// What happens to a batch, in order. Layers are lowered once, so that a batch only walks this list.
#[derive(Debug)]
enum Step {
    /// Into oneDNN's blocked layout, in which convolutions and poolings need no reordering between them.
    Block,
    /// Back to the plain layout.
    Unblock,
    /// Sequences (rows, steps, channels) as images of height 1: (rows, channels, 1, steps).
    ToImages,
    /// And back.
    ToSequences,
    /// Zeros around the image: left, right, top, bottom.
    Pad([i64; 4]),
    Conv {
        weight: Tensor,
        bias: Option<Tensor>,
        stride: [i64; 2],
        padding: [i64; 2],
    },
    MaxPool {
        size: [i64; 2],
        stride: [i64; 2],
    },
    AveragePool {
        size: [i64; 2],
        stride: [i64; 2],
    },
    GlobalAveragePool,
    GlobalMaxPool,
    BatchNorm {
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        momentum: f64,
        epsilon: f64,
    },
    Dropout {
        rate: f64,
        stream: u64,
    },
    Flatten,
    /// With so many zeros after each row; the weight has them too.
    Dense {
        weight: Tensor,
        bias: Option<Tensor>,
        zeros: i64,
    },
    Recurrent(Box<Memory>),
    Activate(Activation),
    Residual {
        steps: Vec<Step>,
        way_around: Vec<Step>,
    },
    Embed {
        weight: Tensor,
        is_single: bool,
    },
    Branches {
        branches: Vec<Part>,
        merge: Merge,
    },
    Factorize {
        users: Tensor,
        items: Tensor,
        user_bias: Tensor,
        item_bias: Tensor,
        level: Tensor,
        regularization: f64,
    },
    Tiles {
        grid: i64,
        steps: Vec<Step>,
    },
    Latent {
        size: i64,
        stream: u64,
    },
    /// A row as an image of these channels, height and width.
    Image([i64; 3]),
    Enlarge(i64),
}

/// A branch: its part of each row, and what happens to it.
#[derive(Debug)]
struct Part {
    start: i64,
    shape: Vec<usize>,
    steps: Vec<Step>,
}

/// A recurrent layer.
#[derive(Debug)]
struct Memory {
    cell: Cell,
    weight_input: Tensor,
    weight_recurrent: Tensor,
    bias_input: Tensor,
    bias_recurrent: Tensor,
    /// As declared.
    units: i64,
    /// With those that fill up a cache line.
    padded_units: i64,
    /// After each step's numbers.
    zeros: i64,
    returns_sequences: bool,
    dropout: f64,
    recurrent_dropout: f64,
    stream: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Lstm,
    Gru,
}

impl Cell {
    fn gates(self) -> i64 {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }
}

/// A row of a dense layer's input fills whole cache lines of this many numbers when predicting: the matrix product sums up
/// in another order where a row starts in the middle of one, and then a row's answer would depend on its place in the batch.
const CACHE_LINE: usize = 16;

/// What a network is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Its weights change, by gradient.
    Training,
    /// The same, with products in bfloat16.
    MixedTraining,
    /// As training, and its gradient by its input is part of the loss, so that each step must have a second derivative.
    Criticism,
    /// Its weights stay.
    Prediction,
}

/// A network's tensors: all trained numbers lie in one flat tensor and all running statistics in another, so that an
/// optimizer step is a few calls whatever the number of layers; each layer sees its part as a view.
#[derive(Debug)]
pub(crate) struct Model {
    network: Network,
    purpose: Purpose,
    parameters: Vec<Parameter>,
    /// Every trained number.
    pub(crate) trained: Tensor,
    /// Every running statistic.
    pub(crate) statistics: Tensor,
    leaves: Vec<Tensor>,
    steps: Vec<Step>,
    device: Device,
}

/// The device that was asked for, as libtorch knows it.
pub(crate) fn device_of(device: protocol::Device) -> Result<Device, Failure> {
    let cards = tch::Cuda::device_count().max(0).unsigned_abs() as usize;
    match device {
        protocol::Device::Cpu => Ok(Device::Cpu),
        protocol::Device::Auto if cards > 0 && tch::Cuda::is_available() => Ok(Device::Cuda(0)),
        protocol::Device::Auto => Ok(Device::Cpu),
        protocol::Device::Cuda(index) if index < cards => Ok(Device::Cuda(index)),
        protocol::Device::Cuda(index) => Err(Failure::Failed(format!(
            "there is no graphics card `cuda:{index}`: libtorch finds {cards} here; say `device: auto`, or get libtorch for graphics cards with `scripts/setup.sh --gpu`"
        ))),
    }
}

impl Model {
    /// With first weights drawn from the seed, or those that came as `initial.<name>`.
    pub(crate) fn start(
        network: &Network,
        purpose: Purpose,
        seed: u64,
        arrays: &Arrays<'_>,
        device: Device,
    ) -> Result<Self, Failure> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(FIRST_WEIGHTS);
        let mut uniform = |length: usize, limit: f32| -> Vec<f32> {
            (0..length)
                .map(|_| generator.random_range(-limit..limit))
                .collect()
        };
        Self::build(network, purpose, device, |parameter| {
            let length = parameter.len();
            let drawn = match parameter.start {
                Start::Zeros => vec![0.0; length],
                Start::Ones => vec![1.0; length],
                Start::Small => uniform(length, 0.05),
                Start::Recurrent { units } => uniform(length, (units as f64).sqrt().recip() as f32),
                Start::Glorot { inputs, outputs } => uniform(
                    length,
                    (6.0 / (inputs as f64 + outputs as f64)).sqrt() as f32,
                ),
            };
            match arrays.find(&format!("initial.{}", parameter.name)) {
                Some(array) => Ok(arrays.f32(&array.name)?.to_vec()),
                None => Ok(drawn),
            }
        })
    }

    /// With the weights of a trained network, which stay as they are.
    pub(crate) fn from_arrays(
        network: &Network,
        arrays: &Arrays<'_>,
        device: Device,
    ) -> Result<Self, Failure> {
        Self::build(network, Purpose::Prediction, device, |parameter| {
            Ok(arrays.f32(&parameter.name)?.to_vec())
        })
    }

    fn build(
        network: &Network,
        purpose: Purpose,
        device: Device,
        mut numbers: impl FnMut(&Parameter) -> Result<Vec<f32>, Failure>,
    ) -> Result<Self, Failure> {
        let walk = layers::walk(&network.input, &network.layers);
        if let Some(fault) = walk.faults.first() {
            return Err(Failure::Failed(fault.message.clone()));
        }
        let parameters = layers::parameters(&network.input, &network.layers);
        let (mut trained, mut statistics) = (Vec::new(), Vec::new());
        for parameter in &parameters {
            let flat = if parameter.is_trained {
                &mut trained
            } else {
                &mut statistics
            };
            let numbers = numbers(parameter)?;
            if numbers.len() != parameter.len() {
                return Err(Failure::Failed(format!(
                    "the tensor `{}` has {} numbers, but the network needs {}",
                    parameter.name,
                    numbers.len(),
                    parameter.len()
                )));
            }
            flat.extend(numbers);
        }
        let (trained, statistics) = (
            Tensor::f_from_slice(&trained)?.f_to_device(device)?,
            Tensor::f_from_slice(&statistics)?.f_to_device(device)?,
        );
        Ok(Self::over(
            network.clone(),
            purpose,
            trained,
            statistics,
            device,
        )?)
    }

    /// Over flat tensors that hold its numbers.
    fn over(
        network: Network,
        purpose: Purpose,
        trained: Tensor,
        statistics: Tensor,
        device: Device,
    ) -> Result<Self, TchError> {
        let parameters = layers::parameters(&network.input, &network.layers);
        let (mut trained_offset, mut statistics_offset) = (0, 0);
        let mut views = Vec::with_capacity(parameters.len());
        for parameter in &parameters {
            let (flat, offset) = match parameter.is_trained {
                true => (&trained, &mut trained_offset),
                false => (&statistics, &mut statistics_offset),
            };
            let length = parameter.len() as i64;
            let shape: Vec<i64> = parameter.shape.iter().map(|side| *side as i64).collect();
            let view = flat
                .f_narrow(0, *offset, length)?
                .f_reshape(&shape)?
                .f_detach()?;
            // A leaf of its own for autograd, over the same memory as the flat tensor.
            views.push(
                view.f_set_requires_grad(parameter.is_trained && purpose != Purpose::Prediction)?,
            );
            *offset += length;
        }
        let leaves = parameters
            .iter()
            .zip(&views)
            .filter(|(parameter, _)| parameter.is_trained)
            .map(|(_, view)| view.shallow_clone())
            .collect();
        let mut lowering = Lowering {
            purpose,
            views: views.iter(),
            streams: 0,
        };
        let mut steps = lowering.steps(&network.input, &network.layers, true)?;
        if device == Device::Cpu && matches!(purpose, Purpose::Training | Purpose::Prediction) {
            block(&mut steps);
        }
        Ok(Self {
            network,
            purpose,
            parameters,
            trained,
            statistics,
            leaves,
            steps,
            device,
        })
    }

    /// The same network over the same memory, for another thread: its own leaves for autograd, its own handles.
    pub(crate) fn share(&self) -> Result<Self, TchError> {
        let (trained, statistics) = (
            self.trained.shallow_clone(),
            self.statistics.shallow_clone(),
        );
        Self::over(
            self.network.clone(),
            self.purpose,
            trained,
            statistics,
            self.device,
        )
    }

    /// Where it computes.
    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// How many numbers it gives a row.
    pub(crate) fn outputs(&self) -> usize {
        let walk = layers::walk(&self.network.input, &self.network.layers);
        walk.output().unwrap_or_default().iter().product()
    }

    /// Whether it draws numbers from a distribution, whose divergence it tells.
    pub(crate) fn is_variational(&self) -> bool {
        let mut layers = self.network.layers.iter();
        layers.any(|layer| matches!(layer, Layer::Latent(_)))
    }

    /// What the last layer does to its output, where that is left to whoever asks: logits are what a loss wants.
    pub(crate) fn last_activation(&self) -> Activation {
        match self.network.layers.last() {
            Some(Layer::Dense(dense)) if is_left_out(dense.activation) => dense.activation,
            _ => Activation::Linear,
        }
    }

    /// How many numbers one row becomes in all layers together.
    pub(crate) fn numbers_a_row(&self) -> usize {
        let shapes = layers::walk(&self.network.input, &self.network.layers).shapes;
        shapes
            .iter()
            .flatten()
            .map(|shape| shape.iter().product::<usize>())
            .sum()
    }

    /// How many numbers a row has.
    pub(crate) fn row_length(&self) -> usize {
        self.network.input.iter().product()
    }

    /// The shape of `rows` rows as they come: images are (rows, height, width, channels).
    pub(crate) fn input_shape(&self, rows: usize) -> Vec<i64> {
        std::iter::once(rows)
            .chain(self.network.input.iter().copied())
            .map(|side| side as i64)
            .collect()
    }

    /// Whether a row's answer in training depends on the other rows of its batch, as with batch norm.
    pub(crate) fn mixes_rows(&self) -> bool {
        self.parameters
            .iter()
            .any(|parameter| !parameter.is_trained)
    }

    /// The smallest batch it can learn from: a batch's variance needs two rows.
    pub(crate) fn smallest_batch(&self) -> usize {
        if self.mixes_rows() { 2 } else { 1 }
    }

    /// Rows as they come, in the layout that the layers want: images are (rows, channels, height, width).
    pub(crate) fn arrange(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        arranged(rows, &self.network.input)
    }

    /// What a batch in the layers' layout becomes.
    pub(crate) fn forward(&self, batch: Tensor, mode: Mode) -> Result<Output, TchError> {
        let mut passage = Passage {
            mode,
            is_mixed: self.purpose == Purpose::MixedTraining,
            divergence: None,
            penalty: None,
        };
        let values = passage.through(&self.steps, batch)?;
        Ok(Output {
            values,
            divergence: passage.divergence,
            penalty: passage.penalty,
        })
    }

    /// The gradient of a loss, flat, in the order of `trained`.
    pub(crate) fn gradient(&self, loss: &Tensor) -> Result<Tensor, TchError> {
        let gradients = Tensor::f_run_backward(&[loss], &self.leaves, false, false)?;
        let flat = gradients
            .iter()
            .map(|gradient| gradient.f_reshape([-1]))
            .collect::<Result<Vec<_>, _>>()?;
        Tensor::f_cat(&flat, 0)
    }

    /// All tensors by name.
    pub(crate) fn to_arrays(&self) -> Result<Vec<Array<'static>>, Failure> {
        let (trained, statistics) = (numbers(&self.trained)?, numbers(&self.statistics)?);
        let (mut trained, mut statistics) = (trained.as_slice(), statistics.as_slice());
        let mut arrays = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            let flat = if parameter.is_trained {
                &mut trained
            } else {
                &mut statistics
            };
            let (own, rest) = flat.split_at(parameter.len());
            *flat = rest;
            arrays.push(Array::f32(
                parameter.name.clone(),
                parameter.shape.clone(),
                own.to_vec(),
            ));
        }
        Ok(arrays)
    }
}

/// Rows of this shape in the layout that layers want.
fn arranged(rows: &Tensor, shape: &[usize]) -> Result<Tensor, TchError> {
    match shape {
        // With one channel both layouts are the same bytes.
        [height, width, 1] => rows.f_reshape([-1, 1, *height as i64, *width as i64]),
        [_, _, _] => rows.f_permute([0, 3, 1, 2])?.f_contiguous(),
        _ => Ok(rows.shallow_clone()),
    }
}

/// What dropout multiplies by: zeros for a random share of the numbers, and for the others what keeps their sum about the same.
/// The random numbers are our own: libtorch has one generator for the whole process, which parallel work would share.
fn mask(size: &[i64], rate: f64, draw: u64, stream: u64) -> Result<Tensor, TchError> {
    let mut generator = ChaCha8Rng::seed_from_u64(draw);
    generator.set_stream(stream);
    let threshold = (rate * f64::from(u32::MAX)) as u32;
    let kept = (1.0 / (1.0 - rate)) as f32;
    let numbers: Vec<f32> = (0..size.iter().product())
        .map(|_| {
            if generator.random::<u32>() < threshold {
                0.0
            } else {
                kept
            }
        })
        .collect();
    Tensor::f_from_slice(&numbers)?.f_reshape(size)
}

/// Standard normal numbers.
pub(crate) fn noise(size: &[i64], draw: u64, stream: u64) -> Result<Tensor, TchError> {
    let mut generator = ChaCha8Rng::seed_from_u64(draw);
    generator.set_stream(stream);
    let numbers: Vec<f32> = (0..size.iter().product::<i64>())
        .map(|_| generator.sample(StandardNormal))
        .collect();
    Tensor::f_from_slice(&numbers)?.f_reshape(size)
}

/// The numbers of a flat tensor.
pub(crate) fn numbers(flat: &Tensor) -> Result<Vec<f32>, TchError> {
    let mut numbers = vec![0.0; flat.numel()];
    let length = numbers.len();
    flat.f_to_device(Device::Cpu)?
        .f_copy_data(&mut numbers, length)?;
    Ok(numbers)
}

impl Passage {
    fn through(&mut self, steps: &[Step], batch: Tensor) -> Result<Tensor, TchError> {
        steps
            .iter()
            .try_fold(batch, |batch, step| self.apply(step, batch))
    }

    /// A product of a batch with weights. In mixed precision its factors are rounded to bfloat16, which has the range of single
    /// precision and needs no scaling of the loss (Kalamkar and others, 2019); what comes out, weights and gradients are single.
    fn product(
        &self,
        batch: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        multiply: impl Fn(&Tensor, &Tensor, Option<&Tensor>) -> Result<Tensor, TchError>,
    ) -> Result<Tensor, TchError> {
        if !self.is_mixed {
            return multiply(batch, weight, bias);
        }
        let rounded = |tensor: &Tensor| tensor.f_to_kind(Kind::BFloat16);
        let bias = bias.map(rounded).transpose()?;
        multiply(&rounded(batch)?, &rounded(weight)?, bias.as_ref())?.f_to_kind(Kind::Float)
    }

    /// A mask for rows of a batch, or for all of them alike; none where nothing is dropped.
    fn dropped(&self, size: &[i64], rate: f64, stream: u64) -> Result<Option<Tensor>, TchError> {
        let draw = match self.mode {
            Mode::Answering => return Ok(None),
            _ if rate == 0.0 => return Ok(None),
            Mode::Learning { draw } | Mode::Drawn { draw } => draw,
        };
        let mut size = size.to_vec();
        if let (Mode::Drawn { .. }, Some(rows)) = (self.mode, size.first_mut()) {
            *rows = 1;
        }
        mask(&size, rate, draw, stream).map(Some)
    }

    fn apply(&mut self, step: &Step, batch: Tensor) -> Result<Tensor, TchError> {
        match step {
            Step::Block => batch.f_to_mkldnn(None),
            Step::Unblock => batch.f_to_dense(None, false),
            Step::ToImages => batch.f_transpose(1, 2)?.f_unsqueeze(2),
            Step::ToSequences => batch.f_squeeze_dim(2)?.f_transpose(1, 2)?.f_contiguous(),
            Step::Pad(zeros) => batch.f_constant_pad_nd(zeros),
            Step::Conv {
                weight,
                bias,
                stride,
                padding,
            } => self.product(&batch, weight, bias.as_ref(), |batch, weight, bias| {
                batch.f_conv2d(weight, bias, stride, padding, [1, 1], 1)
            }),
            Step::MaxPool { size, stride } => {
                batch.f_max_pool2d(size, stride, [0, 0], [1, 1], false)
            }
            Step::AveragePool { size, stride } => {
                batch.f_avg_pool2d(size, stride, [0, 0], false, true, None)
            }
            Step::GlobalAveragePool => batch.f_mean_dim(&[2_i64, 3][..], false, None),
            Step::GlobalMaxPool => batch.f_amax([2_i64, 3], false),
            Step::BatchNorm {
                weight,
                bias,
                mean,
                variance,
                momentum,
                epsilon,
            } => batch.f_batch_norm(
                Some(weight),
                Some(bias),
                Some(mean),
                Some(variance),
                matches!(self.mode, Mode::Learning { .. }),
                1.0 - momentum,
                *epsilon,
                false,
            ),
            Step::Dropout { rate, stream } => match self.dropped(&batch.size(), *rate, *stream)? {
                Some(mask) => batch.f_mul(&mask.f_to_device(batch.device())?),
                None => Ok(batch),
            },
            Step::Flatten => batch.f_flatten(1, -1),
            Step::Dense {
                weight,
                bias,
                zeros,
            } => self.product(
                &padded(batch, *zeros)?,
                weight,
                bias.as_ref(),
                |batch, weight, bias| batch.f_linear(weight, bias),
            ),
            Step::Recurrent(memory) => self.remember(memory, batch),
            Step::Activate(activation) => activate(*activation, batch),
            Step::Residual { steps, way_around } => {
                let around = self.through(way_around, batch.shallow_clone())?;
                self.through(steps, batch)?.f_add(&around)
            }
            Step::Embed { weight, is_single } => {
                let indices = batch.f_to_kind(Kind::Int64)?;
                let indices = match is_single {
                    true => indices.f_squeeze_dim(1)?,
                    false => indices,
                };
                Tensor::f_embedding(weight, &indices, -1, false, false)
            }
            Step::Branches { branches, merge } => {
                let outputs = branches
                    .iter()
                    .map(|part| {
                        let length: usize = part.shape.iter().product();
                        let mut size = vec![-1];
                        size.extend(part.shape.iter().map(|side| *side as i64));
                        let own = batch
                            .f_narrow(1, part.start, length as i64)?
                            .f_contiguous()?
                            .f_reshape(&size)?;
                        self.through(&part.steps, arranged(&own, &part.shape)?)
                    })
                    .collect::<Result<Vec<_>, TchError>>()?;
                match (merge, outputs.as_slice()) {
                    (Merge::Dot, [left, right]) => {
                        left.f_mul(right)?.f_sum_dim_intlist(1, true, None)
                    }
                    _ => Tensor::f_cat(&outputs, 1),
                }
            }
            Step::Factorize {
                users,
                items,
                user_bias,
                item_bias,
                level,
                regularization,
            } => {
                let indices = batch.f_to_kind(Kind::Int64)?;
                let (user, item) = (indices.f_select(1, 0)?, indices.f_select(1, 1)?);
                let of = |table: &Tensor, indices: &Tensor| {
                    Tensor::f_embedding(table, indices, -1, false, false)
                };
                let (user_factors, item_factors) = (of(users, &user)?, of(items, &item)?);
                let (user_bias, item_bias) = (of(user_bias, &user)?, of(item_bias, &item)?);
                if matches!(self.mode, Mode::Learning { .. }) && *regularization > 0.0 {
                    let parts = [&user_factors, &item_factors, &user_bias, &item_bias];
                    self.penalty = Some(
                        Tensor::f_cat(&parts, 1)?
                            .f_square()?
                            .f_sum_dim_intlist(1, false, None)?
                            .f_mul_scalar(*regularization)?,
                    );
                }
                user_factors
                    .f_mul(&item_factors)?
                    .f_sum_dim_intlist(1, true, None)?
                    .f_add(&user_bias)?
                    .f_add(&item_bias)?
                    .f_add(level)
            }
            Step::Tiles { grid, steps } => {
                let size = batch.size();
                let (channels, height, width) = (size[1], size[2] / grid, size[3] / grid);
                let tiles = batch
                    .f_reshape([-1, channels, *grid, height, *grid, width])?
                    .f_permute([0, 2, 4, 1, 3, 5])?
                    .f_reshape([-1, channels, height, width])?;
                self.through(steps, tiles.f_contiguous()?)?
                    .f_reshape([size[0], -1])
            }
            Step::Latent { size, stream } => {
                let (mean, log_variance) = (
                    batch.f_narrow(1, 0, *size)?,
                    batch.f_narrow(1, *size, *size)?,
                );
                // -(1 + ln σ² - μ² - σ²) / 2, summed over the numbers.
                let divergence = mean
                    .f_square()?
                    .f_add(&log_variance.f_exp()?)?
                    .f_sub(&log_variance)?
                    .f_sub_scalar(1.0)?
                    .f_sum_dim_intlist(1, false, None)?
                    .f_mul_scalar(0.5)?;
                self.divergence = Some(divergence);
                let draw = match self.mode {
                    Mode::Answering => return Ok(mean),
                    Mode::Learning { draw } | Mode::Drawn { draw } => draw,
                };
                let mut drawn = mean.size();
                if let Mode::Drawn { .. } = self.mode {
                    drawn[0] = 1;
                }
                let noise = noise(&drawn, draw, *stream)?.f_to_device(batch.device())?;
                mean.f_add(&log_variance.f_mul_scalar(0.5)?.f_exp()?.f_mul(&noise)?)
            }
            Step::Image([channels, height, width]) => batch
                .f_reshape([-1, *height, *width, *channels])?
                .f_permute([0, 3, 1, 2])?
                .f_contiguous(),
            Step::Enlarge(factor) => {
                let size = batch.size();
                batch.f_upsample_nearest2d([size[2] * factor, size[3] * factor], None, None)
            }
        }
    }

    /// A sequence (rows, steps, channels) through a recurrent layer.
    fn remember(&self, memory: &Memory, batch: Tensor) -> Result<Tensor, TchError> {
        let device = batch.device();
        let size = batch.size();
        let (rows, steps) = (size[0], size[1]);
        // Both masks are drawn once a sequence and hold for all of its steps.
        let of_input = self.dropped(&[rows, 1, size[2]], memory.dropout, memory.stream)?;
        let of_memory = self.dropped(
            &[rows, memory.units],
            memory.recurrent_dropout,
            memory.stream + 1,
        )?;
        let batch = match of_input {
            Some(mask) => batch.f_mul(&mask.f_to_device(device)?)?,
            None => batch,
        };
        let batch = padded(batch, memory.zeros)?;
        let units = memory.padded_units;
        let kind = match self.is_mixed {
            true => Kind::BFloat16,
            false => Kind::Float,
        };
        let batch = batch.f_to_kind(kind)?;
        let memory = &memory.of_kind(kind)?;
        let nothing = || Tensor::f_zeros([1, rows, units], (kind, device));
        let weights = [
            &memory.weight_input,
            &memory.weight_recurrent,
            &memory.bias_input,
            &memory.bias_recurrent,
        ];
        let output = match (of_memory, memory.cell) {
            (None, Cell::Lstm) => {
                let (hidden, kept) = (nothing()?, nothing()?);
                batch
                    .f_lstm(
                        &[&hidden, &kept],
                        &weights,
                        true,
                        1,
                        0.0,
                        false,
                        false,
                        true,
                    )?
                    .0
            }
            (None, Cell::Gru) => {
                batch
                    .f_gru(&nothing()?, &weights, true, 1, 0.0, false, false, true)?
                    .0
            }
            (Some(mask), cell) => {
                let mask =
                    padded(mask.f_to_device(device)?, units - memory.units)?.f_to_kind(kind)?;
                memory.step_by_step(cell, &batch, steps, &mask)?
            }
        };
        let output = output
            .f_narrow(2, 0, memory.units)?
            .f_to_kind(Kind::Float)?;
        match memory.returns_sequences {
            true => output.f_contiguous(),
            false => output.f_select(1, steps - 1)?.f_contiguous(),
        }
    }
}

impl Memory {
    /// With weights of that kind; gradients find their way back.
    fn of_kind(&self, kind: Kind) -> Result<Self, TchError> {
        Ok(Self {
            weight_input: self.weight_input.f_to_kind(kind)?,
            weight_recurrent: self.weight_recurrent.f_to_kind(kind)?,
            bias_input: self.bias_input.f_to_kind(kind)?,
            bias_recurrent: self.bias_recurrent.f_to_kind(kind)?,
            ..*self
        })
    }

    /// As libtorch's own layers compute it, but with dropout between the steps, which those do not have.
    fn step_by_step(
        &self,
        cell: Cell,
        batch: &Tensor,
        steps: i64,
        mask: &Tensor,
    ) -> Result<Tensor, TchError> {
        let units = self.padded_units;
        let inputs = batch.f_linear(&self.weight_input, Some(&self.bias_input))?;
        let rows = batch.size()[0];
        let mut hidden = Tensor::f_zeros([rows, units], (batch.kind(), batch.device()))?;
        let mut kept = hidden.shallow_clone();
        let mut outputs = Vec::with_capacity(steps.max(0).unsigned_abs() as usize);
        for step in 0..steps {
            let input = inputs.f_select(1, step)?;
            let recurrent = hidden
                .f_mul(mask)?
                .f_linear(&self.weight_recurrent, Some(&self.bias_recurrent))?;
            let part = |of: &Tensor, gate: i64| of.f_narrow(1, gate * units, units);
            match cell {
                Cell::Lstm => {
                    let gates = input.f_add(&recurrent)?;
                    let (take, forget, give) = (
                        part(&gates, 0)?.f_sigmoid()?,
                        part(&gates, 1)?.f_sigmoid()?,
                        part(&gates, 3)?.f_sigmoid()?,
                    );
                    let new = part(&gates, 2)?.f_tanh()?;
                    kept = forget.f_mul(&kept)?.f_add(&take.f_mul(&new)?)?;
                    hidden = give.f_mul(&kept.f_tanh()?)?;
                }
                Cell::Gru => {
                    let gate =
                        |of: i64| part(&input, of)?.f_add(&part(&recurrent, of)?)?.f_sigmoid();
                    let (reset, update) = (gate(0)?, gate(1)?);
                    let new = part(&input, 2)?
                        .f_add(&reset.f_mul(&part(&recurrent, 2)?)?)?
                        .f_tanh()?;
                    hidden = new.f_add(&update.f_mul(&hidden.f_sub(&new)?)?)?;
                }
            }
            outputs.push(hidden.shallow_clone());
        }
        Tensor::f_stack(&outputs, 1)
    }
}

/// With so many zeros after the last side.
fn padded(batch: Tensor, zeros: i64) -> Result<Tensor, TchError> {
    match zeros {
        0 => Ok(batch),
        zeros => batch.f_constant_pad_nd([0, zeros]),
    }
}

fn activate(activation: Activation, batch: Tensor) -> Result<Tensor, TchError> {
    match activation {
        Activation::Linear => Ok(batch),
        Activation::Softmax => batch.f_softmax(-1, None::<Kind>),
        Activation::Relu => batch.f_relu(),
        Activation::LeakyRelu => batch.f_leaky_relu(),
        Activation::Gelu => batch.f_gelu("none"),
        Activation::Tanh => batch.f_tanh(),
        Activation::Sigmoid => batch.f_sigmoid(),
    }
}

/// Whether a last layer's activation is left to whoever asks for the network's answer.
fn is_left_out(activation: Activation) -> bool {
    matches!(activation, Activation::Softmax | Activation::Sigmoid)
}

impl Step {
    /// Whether oneDNN's blocked layout knows the step, forwards and backwards.
    fn can_be_blocked(&self) -> bool {
        matches!(
            self,
            Self::Conv { .. } | Self::MaxPool { .. } | Self::Activate(Activation::Relu)
        )
    }
}

/// Puts the convolutions at the beginning into oneDNN's blocked layout.
fn block(steps: &mut Vec<Step>) {
    let blocked = steps
        .iter()
        .take_while(|step| step.can_be_blocked())
        .count();
    if tch::utils::has_mkldnn()
        && steps[..blocked]
            .iter()
            .any(|step| matches!(step, Step::Conv { .. }))
    {
        steps.insert(blocked, Step::Unblock);
        steps.insert(0, Step::Block);
    }
}

/// From layers to steps.
struct Lowering<'a> {
    purpose: Purpose,
    /// The network's tensors, in the order of [`layers::parameters`].
    views: std::slice::Iter<'a, Tensor>,
    /// Streams of random numbers that are given away.
    streams: u64,
}

/// What a batch of sequences lies like; images and plain rows have one way only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Plain,
    AsImages,
}

/// How convolutions and poolings see `length`: both sides of images, the steps of sequences.
fn both(length: usize, shape: &[usize]) -> [i64; 2] {
    match shape.len() {
        3 => [length as i64, length as i64],
        _ => [1, length as i64],
    }
}

impl Lowering<'_> {
    fn tensor(&mut self) -> Tensor {
        self.views
            .next()
            .map(Tensor::shallow_clone)
            .unwrap_or_default()
    }

    fn stream(&mut self) -> u64 {
        self.streams += 2;
        self.streams
    }

    fn zeros_after(&self, length: usize) -> i64 {
        match self.purpose {
            Purpose::Prediction => (length.next_multiple_of(CACHE_LINE) - length) as i64,
            Purpose::Training | Purpose::MixedTraining | Purpose::Criticism => 0,
        }
    }

    /// The steps of layers that see rows of this shape. `is_whole` says that they end the network.
    fn steps(
        &mut self,
        input: &[usize],
        layers: &[Layer],
        is_whole: bool,
    ) -> Result<Vec<Step>, TchError> {
        let shapes = layers::walk(input, layers).shapes;
        let mut steps = Vec::new();
        let mut layout = Layout::Plain;
        for (index, (layer, shape)) in layers.iter().zip(&shapes).enumerate() {
            let shape = shape.as_deref().unwrap_or_default();
            // Of sequences, windows and channels are those of an image of height 1.
            let wanted = match layer {
                Layer::Conv(_)
                | Layer::MaxPool(_)
                | Layer::AveragePool(_)
                | Layer::GlobalAveragePool
                | Layer::GlobalMaxPool
                | Layer::BatchNorm(_)
                    if shape.len() == 2 =>
                {
                    Layout::AsImages
                }
                Layer::Dropout(_) => layout,
                _ => Layout::Plain,
            };
            match (layout, wanted) {
                (Layout::Plain, Layout::AsImages) => steps.push(Step::ToImages),
                (Layout::AsImages, Layout::Plain) => steps.push(Step::ToSequences),
                _ => {}
            }
            layout = match layer {
                // One row of channels.
                Layer::GlobalAveragePool | Layer::GlobalMaxPool => Layout::Plain,
                _ => wanted,
            };
            self.lower(layer, shape, &mut steps)?;
            let is_last = is_whole && index + 1 == layers.len();
            match layer.activation() {
                None | Some(Activation::Linear) => {}
                Some(activation) if is_last && is_left_out(activation) => {}
                Some(activation) => steps.push(Step::Activate(activation)),
            }
        }
        if layout == Layout::AsImages {
            steps.push(Step::ToSequences);
        }
        Ok(steps)
    }

    fn lower(
        &mut self,
        layer: &Layer,
        shape: &[usize],
        steps: &mut Vec<Step>,
    ) -> Result<(), TchError> {
        match layer {
            Layer::Conv(conv) => {
                let mut padding = [0, 0];
                if let (Padding::Same, [sides @ .., _]) = (conv.padding, shape) {
                    let around = |length: &usize| {
                        let (before, after) =
                            layers::same_padding(*length, conv.kernel, conv.stride);
                        (before as i64, after as i64)
                    };
                    let (top, bottom) = match sides {
                        [height, _] => around(height),
                        _ => (0, 0),
                    };
                    let (left, right) = sides.last().map_or((0, 0), around);
                    if top == bottom && left == right {
                        padding = [top, left];
                    } else {
                        steps.push(Step::Pad([left, right, top, bottom]));
                    }
                }
                steps.push(Step::Conv {
                    weight: self.tensor(),
                    bias: Some(self.tensor()),
                    stride: both(conv.stride, shape),
                    padding,
                });
            }
            Layer::MaxPool(pool) => {
                let pooling = Step::MaxPool {
                    size: both(pool.size, shape),
                    stride: both(pool.stride, shape),
                };
                // The largest of the activated is the activated largest, so the activation can wait for the smaller image.
                match steps.last() {
                    Some(Step::Activate(activation)) if activation.is_monotonic() => {
                        let last = steps.len() - 1;
                        steps.insert(last, pooling);
                    }
                    _ => steps.push(pooling),
                }
            }
            Layer::AveragePool(pool) => steps.push(Step::AveragePool {
                size: both(pool.size, shape),
                stride: both(pool.stride, shape),
            }),
            Layer::GlobalAveragePool => steps.push(Step::GlobalAveragePool),
            Layer::GlobalMaxPool => steps.push(Step::GlobalMaxPool),
            Layer::BatchNorm(norm) => steps.push(Step::BatchNorm {
                weight: self.tensor(),
                bias: self.tensor(),
                mean: self.tensor(),
                variance: self.tensor(),
                momentum: norm.momentum,
                epsilon: norm.epsilon,
            }),
            Layer::Dropout(dropout) => steps.push(Step::Dropout {
                rate: dropout.rate,
                stream: self.stream(),
            }),
            Layer::Flatten => steps.push(Step::Flatten),
            Layer::Dense(_) => {
                let zeros = self.zeros_after(shape.last().copied().unwrap_or_default());
                steps.push(Step::Dense {
                    weight: padded(self.tensor(), zeros)?,
                    bias: Some(self.tensor()),
                    zeros,
                });
            }
            Layer::Lstm(recurrent) => {
                let memory = self.memory(Cell::Lstm, recurrent, shape)?;
                steps.push(Step::Recurrent(Box::new(memory)));
            }
            Layer::Gru(recurrent) => {
                let memory = self.memory(Cell::Gru, recurrent, shape)?;
                steps.push(Step::Recurrent(Box::new(memory)));
            }
            Layer::Residual(residual) => {
                let inner = self.steps(shape, &residual.layers, false)?;
                let output = layers::walk(shape, &residual.layers);
                let way = layers::way_around(shape, output.output().unwrap_or_default());
                let way_around = match way {
                    Some(WayAround::Projection { stride }) => self.projection(shape, stride)?,
                    _ => Vec::new(),
                };
                steps.push(Step::Residual {
                    steps: inner,
                    way_around,
                });
            }
            Layer::Embedding(_) => steps.push(Step::Embed {
                weight: self.tensor(),
                is_single: shape == [1],
            }),
            Layer::Branches(of) => {
                let mut start = 0;
                let mut branches = Vec::with_capacity(of.branches.len());
                for branch in &of.branches {
                    branches.push(Part {
                        start,
                        shape: branch.input.clone(),
                        steps: self.steps(&branch.input, &branch.layers, false)?,
                    });
                    start += branch.input.iter().product::<usize>() as i64;
                }
                steps.push(Step::Branches {
                    branches,
                    merge: of.merge,
                });
            }
            Layer::Factorization(of) => steps.push(Step::Factorize {
                users: self.tensor(),
                items: self.tensor(),
                user_bias: self.tensor(),
                item_bias: self.tensor(),
                level: self.tensor(),
                regularization: of.regularization,
            }),
            Layer::Tiles(tiles) => {
                let tile = layers::tile(shape, tiles.grid).unwrap_or_default();
                steps.push(Step::Tiles {
                    grid: tiles.grid as i64,
                    steps: self.steps(&tile, &tiles.layers, false)?,
                });
            }
            Layer::Latent(latent) => steps.push(Step::Latent {
                size: latent.size as i64,
                stream: self.stream(),
            }),
            Layer::Image(image) => {
                if let [height, width, channels] = image.shape[..] {
                    let sides = [channels, height, width].map(|side| side as i64);
                    steps.push(Step::Image(sides));
                }
            }
            Layer::Enlarge(enlarge) => steps.push(Step::Enlarge(enlarge.factor as i64)),
        }
        Ok(())
    }

    /// The way around a residual block whose output has another shape.
    fn projection(&mut self, shape: &[usize], stride: usize) -> Result<Vec<Step>, TchError> {
        let weight = self.tensor();
        if shape.len() == 1 {
            let zeros = self.zeros_after(shape.last().copied().unwrap_or_default());
            return Ok(vec![Step::Dense {
                weight: padded(weight, zeros)?,
                bias: None,
                zeros,
            }]);
        }
        let conv = Step::Conv {
            weight,
            bias: None,
            stride: both(stride, shape),
            padding: [0, 0],
        };
        Ok(match shape.len() {
            2 => vec![Step::ToImages, conv, Step::ToSequences],
            _ => vec![conv],
        })
    }

    /// A recurrent layer; for predictions with units that stay zero, so that a row of numbers fills whole cache lines.
    fn memory(
        &mut self,
        cell: Cell,
        recurrent: &Recurrent,
        shape: &[usize],
    ) -> Result<Memory, TchError> {
        let units = recurrent.units as i64;
        let more = self.zeros_after(recurrent.units);
        let zeros = self.zeros_after(shape.last().copied().unwrap_or_default());
        // Each gate has its own rows in the weights.
        let by_gate = |tensor: Tensor, columns: i64| -> Result<Tensor, TchError> {
            if more == 0 && columns == 0 {
                return Ok(tensor);
            }
            let width: i64 = tensor.size().iter().skip(1).product();
            tensor
                .f_reshape([cell.gates(), units, width])?
                .f_constant_pad_nd([0, columns, 0, more])?
                .f_reshape([cell.gates() * (units + more), width + columns])
        };
        let row = |tensor: Tensor| by_gate(tensor, 0)?.f_reshape([-1]);
        Ok(Memory {
            cell,
            weight_input: by_gate(self.tensor(), zeros)?,
            weight_recurrent: by_gate(self.tensor(), more)?,
            bias_input: row(self.tensor())?,
            bias_recurrent: row(self.tensor())?,
            units,
            padded_units: units + more,
            zeros,
            returns_sequences: recurrent.return_sequences,
            dropout: recurrent.dropout,
            recurrent_dropout: recurrent.recurrent_dropout,
            stream: self.stream(),
        })
    }
}
