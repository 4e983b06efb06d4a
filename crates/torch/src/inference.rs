//! Prediction with a trained network.

use std::thread;

use tch::{Kind, TchError, Tensor};

use crate::{
    bridge::{keep_freed_memory, tensor_over},
    layers::Activation,
    network::{Mode, Model, Output, device_of},
    protocol::{Array, Arrays, Draws, Failure, Load},
};

/// Rows that go through the network at once. The last chunk is filled up with zeros: libtorch picks its kernels by the size
/// of a batch, and a row must get the same answer, to the bit, whether it is scored alone or among thousands.
const CHUNK: usize = 32;

/// A thread is worth its start from so many chunks on.
const CHUNKS_FOR_A_THREAD: usize = 4;

/// A trained network: once for each thread, over the same memory.
#[derive(Debug)]
pub(crate) struct Answers {
    models: Vec<Model>,
    draws: Option<Draws>,
}

/// What a thread writes its answers to.
struct Slot<'a> {
    outputs: &'a mut [f64],
    divergences: &'a mut [f64],
}

impl Answers {
    /// From its tensors.
    pub(crate) fn load(request: &Load, arrays: &Arrays<'_>) -> Result<Self, Failure> {
        keep_freed_memory();
        let device = device_of(request.device)?;
        let model = Model::from_arrays(&request.network, arrays, device)?;
        let threads = match device.is_cuda() {
            true => 1,
            false => request.threads,
        };
        let others = (1..threads)
            .map(|_| model.share())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            models: std::iter::once(model).chain(others).collect(),
            draws: request.draws,
        })
    }

    /// What the network answers to each row of `inputs`.
    ///
    /// Each thread takes its own chunks and computes alone, so that the answer does not depend on the number of threads.
    pub(crate) fn predict(&mut self, arrays: &Arrays<'_>) -> Result<Vec<Array<'static>>, Failure> {
        let inputs = arrays.f32("inputs")?;
        let Some(first) = self.models.first() else {
            return Err(Failure::Failed("the model is empty".into()));
        };
        let (length, width) = (first.row_length(), first.outputs());
        if !inputs.len().is_multiple_of(length) {
            return Err(Failure::Failed(format!(
                "{} numbers do not make rows of {length}",
                inputs.len()
            )));
        }
        let rows = inputs.len() / length;
        let Some(draws) = self.draws else {
            let (outputs, divergences) = self.answer(inputs, Mode::Answering)?;
            let mut answers = vec![Array::f64("outputs", vec![rows, width], outputs)];
            if let Some(divergences) = divergences {
                answers.push(Array::f64("divergences", vec![rows], divergences));
            }
            return Ok(answers);
        };
        let mut outputs = Vec::with_capacity(draws.count as usize * rows * width);
        for network in 0..draws.count {
            let draw = draws.seed ^ (network + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            outputs.extend(self.answer(inputs, Mode::Drawn { draw })?.0);
        }
        let shape = vec![draws.count as usize, rows, width];
        Ok(vec![Array::f64("outputs", shape, outputs)])
    }

    /// Outputs, and divergences where there are some.
    fn answer(
        &mut self,
        inputs: &[f32],
        mode: Mode,
    ) -> Result<(Vec<f64>, Option<Vec<f64>>), Failure> {
        let (length, width) = (self.models[0].row_length(), self.models[0].outputs());
        let rows = inputs.len() / length;
        let chunks = rows.div_ceil(CHUNK);
        let workers = (chunks / CHUNKS_FOR_A_THREAD).clamp(1, self.models.len());
        let share = chunks.div_ceil(workers).max(1) * CHUNK;
        let (mut outputs, mut divergences) = (vec![0.0; rows * width], vec![0.0; rows]);
        let slots = outputs
            .chunks_mut((share * width).max(1))
            .zip(divergences.chunks_mut(share))
            .map(|(outputs, divergences)| Slot {
                outputs,
                divergences,
            });
        let work = self
            .models
            .iter_mut()
            .zip(inputs.chunks(share * length).zip(slots));
        if workers == 1 {
            for (model, (inputs, slot)) in work {
                respond(model, inputs, slot, mode)?;
            }
        } else {
            thread::scope(|scope| {
                let running: Vec<_> = work
                    .map(|(model, (inputs, slot))| {
                        scope.spawn(move || respond(model, inputs, slot, mode))
                    })
                    .collect();
                running.into_iter().try_for_each(|thread| {
                    thread.join().unwrap_or_else(|_| {
                        Err(Failure::Failed("a thread of the prediction failed".into()))
                    })
                })
            })?;
        }
        let diverges = self.models[0].is_variational();
        Ok((outputs, diverges.then_some(divergences)))
    }
}

/// Writes the answers to some rows.
fn respond(model: &mut Model, inputs: &[f32], slot: Slot<'_>, mode: Mode) -> Result<(), Failure> {
    tch::set_num_threads(1);
    let rows = inputs.len() / model.row_length();
    let inputs = tensor_over(inputs, &model.input_shape(rows))?.f_to_device(model.device())?;
    let inputs = model.arrange(&inputs)?;
    let (mut outputs, mut divergences) = (slot.outputs, slot.divergences);
    in_chunks(model, &inputs, rows, mode, |_, output| {
        let values = finished(model.last_activation(), &output.values)?;
        outputs = write(&values, std::mem::take(&mut outputs))?;
        if let Some(divergence) = output.divergence {
            divergences = write(&divergence, std::mem::take(&mut divergences))?;
        }
        Ok(())
    })
}

/// The last activation, where it was left out, in double precision.
fn finished(activation: Activation, values: &Tensor) -> Result<Tensor, TchError> {
    match activation {
        Activation::Softmax => values.f_softmax(-1, Kind::Double),
        Activation::Sigmoid => values.f_to_kind(Kind::Double)?.f_sigmoid(),
        _ => Ok(values.shallow_clone()),
    }
}

/// Writes a tensor's numbers to the beginning of `answers`; what is left over comes back.
fn write<'a>(values: &Tensor, answers: &'a mut [f64]) -> Result<&'a mut [f64], TchError> {
    let values = values
        .f_to_kind(Kind::Double)?
        .f_to_device(tch::Device::Cpu)?
        .f_contiguous()?;
    let (own, rest) = answers.split_at_mut(values.numel());
    let numbers = own.len();
    values.f_copy_data(own, numbers)?;
    Ok(rest)
}

/// Hands the output of all rows to `take`, chunk by chunk, with the index of the chunk's first row.
pub(crate) fn in_chunks(
    model: &Model,
    inputs: &Tensor,
    rows: usize,
    mode: Mode,
    mut take: impl FnMut(i64, Output) -> Result<(), TchError>,
) -> Result<(), Failure> {
    let _no_grad = tch::no_grad_guard();
    for start in (0..rows).step_by(CHUNK) {
        let length = CHUNK.min(rows - start);
        let own = inputs.f_narrow(0, start as i64, length as i64)?;
        let mut size = own.size();
        size[0] = (CHUNK - length) as i64;
        let zeros = Tensor::f_zeros(&size, (Kind::Float, own.device()))?;
        // Also a full chunk is copied: libtorch's own memory starts at a cache line, a frame's may not.
        let output = model.forward(Tensor::f_cat(&[own, zeros], 0)?, mode)?;
        let short = |tensor: Tensor| tensor.f_narrow(0, 0, length as i64);
        let output = Output {
            values: short(output.values)?,
            divergence: output.divergence.map(short).transpose()?,
            penalty: None,
        };
        take(start as i64, output)?;
    }
    Ok(())
}
