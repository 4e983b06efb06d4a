//! Prediction with a trained network.

use std::thread;

use tch::{Kind, TchError, Tensor};

use crate::{
    bridge::{keep_freed_memory, tensor_over},
    network::{Mode, Model},
    protocol::{Array, Arrays, Failure, Load},
};

/// Rows that go through the network at once. The last chunk is filled up with zeros: libtorch picks its kernels by the size
/// of a batch, and a row must get the same answer, to the bit, whether it is scored alone or among thousands.
const CHUNK: usize = 32;

/// A thread is worth its start from so many chunks on.
const CHUNKS_FOR_A_THREAD: usize = 4;

/// A trained network that classifies: once for each thread, over the same memory.
#[derive(Debug)]
pub(crate) struct Classifier {
    models: Vec<Model>,
}

impl Classifier {
    /// From its tensors.
    pub(crate) fn load(request: &Load, arrays: &Arrays<'_>) -> Result<Self, Failure> {
        keep_freed_memory();
        let model = Model::from_arrays(&request.network, arrays)?;
        let others = (1..request.threads)
            .map(|_| model.share())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            models: std::iter::once(model).chain(others).collect(),
        })
    }

    /// The probability of each class for each row of `inputs`.
    ///
    /// Each thread takes its own chunks and computes alone, so that the answer does not depend on the number of threads.
    pub(crate) fn predict(&mut self, arrays: &Arrays<'_>) -> Result<Array<'static>, Failure> {
        let inputs = arrays.f32("inputs")?;
        let Some(first) = self.models.first() else {
            return Err(Failure::Failed("the model is empty".into()));
        };
        let (length, classes) = (first.row_length(), first.classes());
        if !inputs.len().is_multiple_of(length) {
            return Err(Failure::Failed(format!(
                "{} numbers do not make rows of {length}",
                inputs.len()
            )));
        }
        let rows = inputs.len() / length;
        let chunks = rows.div_ceil(CHUNK);
        let workers = (chunks / CHUNKS_FOR_A_THREAD).clamp(1, self.models.len());
        let share = chunks.div_ceil(workers).max(1) * CHUNK;
        let mut probabilities = vec![0.0; rows * classes];
        let parts = inputs
            .chunks(share * length)
            .zip(probabilities.chunks_mut(share * classes));
        let work = self.models.iter_mut().zip(parts);
        if workers == 1 {
            for (model, (inputs, answers)) in work {
                classify(model, inputs, answers)?;
            }
        } else {
            thread::scope(|scope| {
                let running: Vec<_> = work
                    .map(|(model, (inputs, answers))| {
                        scope.spawn(move || classify(model, inputs, answers))
                    })
                    .collect();
                running.into_iter().try_for_each(|thread| {
                    thread.join().unwrap_or_else(|_| {
                        Err(Failure::Failed("a thread of the prediction failed".into()))
                    })
                })
            })?;
        }
        Ok(Array::f64(
            "probabilities",
            vec![rows, classes],
            probabilities,
        ))
    }
}

/// Writes the probabilities of the classes of each row.
fn classify(model: &mut Model, inputs: &[f32], answers: &mut [f64]) -> Result<(), Failure> {
    tch::set_num_threads(1);
    let rows = inputs.len() / model.row_length();
    let inputs = model.arrange(&tensor_over(inputs, &model.input_shape(rows))?)?;
    let mut rest = answers;
    in_chunks(model, &inputs, rows, |_, logits| {
        let softmax = logits.f_softmax(1, Kind::Double)?.f_contiguous()?;
        let (chunk, after) = std::mem::take(&mut rest).split_at_mut(softmax.numel());
        let numbers = chunk.len();
        softmax.f_copy_data(chunk, numbers)?;
        rest = after;
        Ok(())
    })
}

/// Hands the logits of all rows to `take`, chunk by chunk, with the index of the chunk's first row.
pub(crate) fn in_chunks(
    model: &Model,
    inputs: &Tensor,
    rows: usize,
    mut take: impl FnMut(i64, Tensor) -> Result<(), TchError>,
) -> Result<(), Failure> {
    let _no_grad = tch::no_grad_guard();
    for start in (0..rows).step_by(CHUNK) {
        let length = CHUNK.min(rows - start);
        let own = inputs.f_narrow(0, start as i64, length as i64)?;
        let mut size = own.size();
        size[0] = (CHUNK - length) as i64;
        let zeros = Tensor::f_zeros(&size, (Kind::Float, own.device()))?;
        // Also a full chunk is copied: libtorch's own memory starts at a cache line, a frame's may not.
        let logits = model.logits(Tensor::f_cat(&[own, zeros], 0)?, Mode::Answering)?;
        take(start as i64, logits.f_narrow(0, 0, length as i64)?)?;
    }
    Ok(())
}
