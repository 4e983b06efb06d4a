//! A declared network as libtorch tensors and calls.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{TchError, Tensor};

use crate::{
    layers::{self, Activation, Layer, Padding, Parameter, Start},
    protocol::{Array, Arrays, Failure, Network},
};

/// The stream of the seed's generator that first weights come from; epochs use 1, 2, ….
const FIRST_WEIGHTS: u64 = 0;

impl From<TchError> for Failure {
    fn from(error: TchError) -> Self {
        // libtorch appends a C++ stack trace to its messages; the first line says it.
        let text = error.to_string();
        let line = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("Internal torch error: ");
        Self::Failed(format!("libtorch: {}", line.trim()))
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
}

/// What happens to a batch, in order. Layers are lowered once, so that a batch only walks this list.
#[derive(Debug)]
enum Step {
    /// Into oneDNN's blocked layout, in which convolutions and poolings need no reordering between them.
    Block,
    /// Back to the plain layout.
    Unblock,
    /// Zeros around the image: left, right, top, bottom.
    Pad([i64; 4]),
    Conv {
        weight: Tensor,
        bias: Tensor,
        stride: i64,
        padding: [i64; 2],
    },
    MaxPool {
        size: i64,
        stride: i64,
    },
    AveragePool {
        size: i64,
        stride: i64,
    },
    GlobalAveragePool,
    BatchNorm {
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        momentum: f64,
        epsilon: f64,
    },
    Dropout(f64),
    Flatten,
    /// With so many zeros after each row; the weight has them too.
    Dense {
        weight: Tensor,
        bias: Tensor,
        zeros: i64,
    },
    Activate(Activation),
}

/// A row of a dense layer's input fills whole cache lines of this many numbers when predicting: the matrix product sums up
/// in another order where a row starts in the middle of one, and then a row's answer would depend on its place in the batch.
const CACHE_LINE: usize = 16;

/// What a network is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Its weights change, by gradient.
    Training,
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
}

impl Model {
    /// With first weights drawn from the seed.
    pub(crate) fn start(network: &Network, seed: u64) -> Result<Self, Failure> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(FIRST_WEIGHTS);
        Self::build(network, Purpose::Training, |parameter| {
            let length = parameter.len();
            Ok(match parameter.start {
                Start::Zeros => vec![0.0; length],
                Start::Ones => vec![1.0; length],
                Start::Glorot { inputs, outputs } => {
                    let limit = (6.0 / (inputs as f64 + outputs as f64)).sqrt() as f32;
                    (0..length)
                        .map(|_| generator.random_range(-limit..limit))
                        .collect()
                }
            })
        })
    }

    /// With the weights of a trained network, which stay as they are.
    pub(crate) fn from_arrays(network: &Network, arrays: &Arrays<'_>) -> Result<Self, Failure> {
        Self::build(network, Purpose::Prediction, |parameter| {
            let name = &parameter.name;
            let numbers = arrays.f32(name)?;
            if numbers.len() != parameter.len() {
                return Err(Failure::Failed(format!(
                    "the tensor `{name}` has {} numbers, but the network needs {}",
                    numbers.len(),
                    parameter.len()
                )));
            }
            Ok(numbers.to_vec())
        })
    }

    fn build(
        network: &Network,
        purpose: Purpose,
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
            flat.extend(numbers(parameter)?);
        }
        let (trained, statistics) = (
            Tensor::f_from_slice(&trained)?,
            Tensor::f_from_slice(&statistics)?,
        );
        Ok(Self::over(network.clone(), purpose, trained, statistics)?)
    }

    /// Over flat tensors that hold its numbers.
    fn over(
        network: Network,
        purpose: Purpose,
        trained: Tensor,
        statistics: Tensor,
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
                view.f_set_requires_grad(parameter.is_trained && purpose == Purpose::Training)?,
            );
            *offset += length;
        }
        let leaves = parameters
            .iter()
            .zip(&views)
            .filter(|(parameter, _)| parameter.is_trained)
            .map(|(_, view)| view.shallow_clone())
            .collect();
        let steps = steps(&network, purpose, &parameters, &views)?;
        Ok(Self {
            network,
            purpose,
            parameters,
            trained,
            statistics,
            leaves,
            steps,
        })
    }

    /// The same network over the same memory, for another thread: its own leaves for autograd, its own handles.
    pub(crate) fn share(&self) -> Result<Self, TchError> {
        let (trained, statistics) = (
            self.trained.shallow_clone(),
            self.statistics.shallow_clone(),
        );
        Self::over(self.network.clone(), self.purpose, trained, statistics)
    }

    /// How many classes it tells apart.
    pub(crate) fn classes(&self) -> usize {
        match self.network.layers.last() {
            Some(Layer::Dense(dense)) => dense.units,
            _ => 0,
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
        self.steps
            .iter()
            .any(|step| matches!(step, Step::BatchNorm { .. }))
    }

    /// The smallest batch it can learn from: a batch's variance needs two rows.
    pub(crate) fn smallest_batch(&self) -> usize {
        if self.mixes_rows() { 2 } else { 1 }
    }

    /// Rows as they come, in the layout that the layers want: images are (rows, channels, height, width).
    pub(crate) fn arrange(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        match self.network.input.as_slice() {
            // With one channel both layouts are the same bytes.
            [height, width, 1] => rows.f_reshape([-1, 1, *height as i64, *width as i64]),
            [_, _, _] => rows.f_permute([0, 3, 1, 2])?.f_contiguous(),
            _ => Ok(rows.shallow_clone()),
        }
    }

    /// The logits, before softmax, of a batch in the layers' layout.
    pub(crate) fn logits(&self, batch: Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let mut steps = self.steps.iter().enumerate();
        steps.try_fold(batch, |batch, (index, step)| {
            step.apply(batch, mode, index as u64)
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

/// Zeroes a random share of the numbers and scales up the others, so that their sum stays about the same. The random numbers
/// are our own: libtorch has one generator for the whole process, which parallel work would share.
fn drop_out(batch: &Tensor, rate: f64, draw: u64, index: u64) -> Result<Tensor, TchError> {
    let mut generator = ChaCha8Rng::seed_from_u64(draw);
    generator.set_stream(index);
    let threshold = (rate * f64::from(u32::MAX)) as u32;
    let kept = (1.0 / (1.0 - rate)) as f32;
    let mask: Vec<f32> = (0..batch.numel())
        .map(|_| {
            if generator.random::<u32>() < threshold {
                0.0
            } else {
                kept
            }
        })
        .collect();
    batch.f_mul(&Tensor::f_from_slice(&mask)?.f_reshape(batch.size())?)
}

/// The numbers of a flat tensor.
pub(crate) fn numbers(flat: &Tensor) -> Result<Vec<f32>, TchError> {
    let mut numbers = vec![0.0; flat.numel()];
    let length = numbers.len();
    flat.f_copy_data(&mut numbers, length)?;
    Ok(numbers)
}

impl Step {
    fn apply(&self, batch: Tensor, mode: Mode, index: u64) -> Result<Tensor, TchError> {
        match self {
            Self::Block => batch.f_to_mkldnn(None),
            Self::Unblock => batch.f_to_dense(None, false),
            Self::Pad(zeros) => batch.f_constant_pad_nd(zeros),
            Self::Conv {
                weight,
                bias,
                stride,
                padding,
            } => batch.f_conv2d(weight, Some(bias), [*stride, *stride], padding, [1, 1], 1),
            Self::MaxPool { size, stride } => {
                batch.f_max_pool2d([*size, *size], [*stride, *stride], [0, 0], [1, 1], false)
            }
            Self::AveragePool { size, stride } => batch.f_avg_pool2d(
                [*size, *size],
                [*stride, *stride],
                [0, 0],
                false,
                true,
                None,
            ),
            Self::GlobalAveragePool => batch.f_mean_dim(&[2_i64, 3][..], false, None),
            Self::BatchNorm {
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
                mode != Mode::Answering,
                1.0 - momentum,
                *epsilon,
                false,
            ),
            Self::Dropout(rate) => match mode {
                Mode::Learning { draw } => drop_out(&batch, *rate, draw, index),
                Mode::Answering => Ok(batch),
            },
            Self::Flatten => batch.f_flatten(1, -1),
            Self::Dense {
                weight,
                bias,
                zeros: 0,
            } => batch.f_linear(weight, Some(bias)),
            Self::Dense {
                weight,
                bias,
                zeros,
            } => batch
                .f_constant_pad_nd([0, *zeros])?
                .f_linear(weight, Some(bias)),
            Self::Activate(activation) => match activation {
                Activation::Linear | Activation::Softmax => Ok(batch),
                Activation::Relu => batch.f_relu(),
                Activation::LeakyRelu => batch.f_leaky_relu(),
                Activation::Gelu => batch.f_gelu("none"),
                Activation::Tanh => batch.f_tanh(),
                Activation::Sigmoid => batch.f_sigmoid(),
            },
        }
    }

    /// Whether oneDNN's blocked layout knows the step, forwards and backwards.
    fn can_be_blocked(&self) -> bool {
        matches!(
            self,
            Self::Conv { .. } | Self::MaxPool { .. } | Self::Activate(Activation::Relu)
        )
    }
}

fn steps(
    network: &Network,
    purpose: Purpose,
    parameters: &[Parameter],
    views: &[Tensor],
) -> Result<Vec<Step>, TchError> {
    let shapes = layers::walk(&network.input, &network.layers).shapes;
    let mut steps = Vec::new();
    for (index, layer) in network.layers.iter().enumerate() {
        let mut own = parameters
            .iter()
            .zip(views)
            .filter(|(parameter, _)| parameter.layer == index)
            .map(|(_, view)| view.shallow_clone());
        let mut tensor = || own.next().unwrap_or_default();
        match layer {
            Layer::Conv(conv) => {
                let stride = conv.stride as i64;
                let mut padding = [0, 0];
                if let (Padding::Same, Some([height, width, _])) =
                    (conv.padding, shapes[index].as_deref())
                {
                    let (top, bottom) = layers::same_padding(*height, conv.kernel, conv.stride);
                    let (left, right) = layers::same_padding(*width, conv.kernel, conv.stride);
                    if top == bottom && left == right {
                        padding = [top as i64, left as i64];
                    } else {
                        steps.push(Step::Pad([
                            left as i64,
                            right as i64,
                            top as i64,
                            bottom as i64,
                        ]));
                    }
                }
                let (weight, bias) = (tensor(), tensor());
                steps.push(Step::Conv {
                    weight,
                    bias,
                    stride,
                    padding,
                });
            }
            Layer::MaxPool(pool) => {
                let pooling = Step::MaxPool {
                    size: pool.size as i64,
                    stride: pool.stride as i64,
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
            Layer::AveragePool(pool) => {
                steps.push(Step::AveragePool {
                    size: pool.size as i64,
                    stride: pool.stride as i64,
                });
            }
            Layer::GlobalAveragePool => steps.push(Step::GlobalAveragePool),
            Layer::BatchNorm(norm) => {
                let (weight, bias, mean, variance) = (tensor(), tensor(), tensor(), tensor());
                let (momentum, epsilon) = (norm.momentum, norm.epsilon);
                steps.push(Step::BatchNorm {
                    weight,
                    bias,
                    mean,
                    variance,
                    momentum,
                    epsilon,
                });
            }
            Layer::Dropout(dropout) => steps.push(Step::Dropout(dropout.rate)),
            Layer::Flatten => steps.push(Step::Flatten),
            Layer::Dense(_) => {
                let (mut weight, bias) = (tensor(), tensor());
                let mut zeros = 0;
                if let (Purpose::Prediction, Some([inputs])) = (purpose, shapes[index].as_deref()) {
                    zeros = (inputs.next_multiple_of(CACHE_LINE) - inputs) as i64;
                    weight = weight.f_constant_pad_nd([0, zeros])?;
                }
                steps.push(Step::Dense {
                    weight,
                    bias,
                    zeros,
                });
            }
        }
        match layer.activation() {
            None | Some(Activation::Linear | Activation::Softmax) => {}
            Some(activation) => steps.push(Step::Activate(activation)),
        }
    }
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
    Ok(steps)
}
