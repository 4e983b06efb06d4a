//! Prediction with a trained network.

use tch::{Kind, TchError, Tensor};

use crate::{
    bridge::{keep_freed_memory, tensor_over},
    network::Model,
    protocol::{Array, Arrays, Failure, Load},
};

/// Rows that go through the network at once. The last chunk is filled up with zeros: libtorch picks its kernels by the size
/// of a batch, and a row must get the same answer, to the bit, whether it is scored alone or among thousands.
const CHUNK: usize = 32;

/// A trained network that classifies.
#[derive(Debug)]
pub(crate) struct Classifier {
    model: Model,
    threads: i32,
}

impl Classifier {
    /// From its tensors.
    pub(crate) fn load(request: &Load, arrays: &Arrays<'_>) -> Result<Self, Failure> {
        keep_freed_memory();
        let threads = i32::try_from(request.threads.max(1)).unwrap_or(i32::MAX);
        Ok(Self { model: Model::from_arrays(&request.network, arrays)?, threads })
    }

    /// The probability of each class for each row of `inputs`.
    pub(crate) fn predict(&self, arrays: &Arrays<'_>) -> Result<Array<'static>, Failure> {
        tch::set_num_threads(self.threads);
        let inputs = arrays.f32("inputs")?;
        let length = self.model.row_length();
        if !inputs.len().is_multiple_of(length) {
            return Err(Failure::Failed(format!("{} numbers do not make rows of {length}", inputs.len())));
        }
        let (rows, classes) = (inputs.len() / length, self.model.classes());
        let inputs = self.model.arrange(&tensor_over(inputs, &self.model.input_shape(rows))?)?;
        let mut probabilities = vec![0.0; rows * classes];
        let mut rest = probabilities.as_mut_slice();
        in_chunks(&self.model, &inputs, rows, |_, logits| {
            let softmax = logits.f_softmax(1, Kind::Double)?.f_contiguous()?;
            let (chunk, after) = std::mem::take(&mut rest).split_at_mut(softmax.numel());
            let numbers = chunk.len();
            softmax.f_copy_data(chunk, numbers)?;
            rest = after;
            Ok(())
        })?;
        Ok(Array::f64("probabilities", vec![rows, classes], probabilities))
    }
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
        let mut batch = inputs.f_narrow(0, start as i64, length as i64)?;
        if length < CHUNK {
            let mut size = batch.size();
            size[0] = (CHUNK - length) as i64;
            let zeros = Tensor::f_zeros(&size, (Kind::Float, batch.device()))?;
            batch = Tensor::f_cat(&[batch, zeros], 0)?;
        }
        let logits = model.logits(batch, false)?;
        take(start as i64, logits.f_narrow(0, 0, length as i64)?)?;
    }
    Ok(())
}
