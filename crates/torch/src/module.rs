//! Prediction with a TorchScript module.

use std::io::Cursor;

use tch::{CModule, Device, IValue, Kind, TchError, Tensor, jit};

use crate::{
    bridge::{keep_freed_memory, tensor_over},
    layers::Activation,
    network::device_of,
    protocol::{Argument, Array, Arrays, Failure, Script},
    reason::reason,
};

/// A module with what is known of its inputs and outputs.
#[derive(Debug)]
pub(crate) struct Module {
    module: CModule,
    script: Script,
    device: Device,
}

impl Module {
    /// From the bytes of its file.
    pub(crate) fn load(script: &Script, arrays: &Arrays<'_>) -> Result<Self, Failure> {
        keep_freed_memory();
        let device = device_of(script.device)?;
        // libtorch would watch the first calls and compile others for the later ones, with other last bits.
        jit::f_set_profiling_mode(false)?;
        jit::f_set_tensor_expr_fuser_enabled(false)?;
        let mut file = Cursor::new(arrays.u8("file")?);
        let mut module = CModule::load_data_on_device(&mut file, device)?;
        module.f_set_eval()?;
        Ok(Self {
            module,
            script: script.clone(),
            device,
        })
    }

    /// What the module answers to each row.
    ///
    /// Batches have one size, the last filled up with zeros: a row gets the same answer, to the bit, whatever stands around it.
    pub(crate) fn predict(&self, arrays: &Arrays<'_>) -> Result<Vec<Array<'static>>, Failure> {
        let script = &self.script;
        tch::set_num_threads(i32::try_from(script.threads).unwrap_or(i32::MAX));
        let mut rows = None;
        let mut inputs = Vec::with_capacity(script.inputs.len());
        for (index, argument) in script.inputs.iter().enumerate() {
            let numbers = arrays.f32(&format!("input_{index}"))?;
            let length: usize = argument.shape.iter().product();
            let count = numbers.len().checked_div(length).unwrap_or_default();
            if count * length != numbers.len() || rows.is_some_and(|rows| rows != count) {
                return Err(Failure::Failed(format!(
                    "{} numbers do not make rows of {length}",
                    numbers.len()
                )));
            }
            rows = Some(count);
            inputs.push((argument, length, numbers));
        }
        let rows = rows.unwrap_or_default();
        let mut outputs = Vec::with_capacity(rows * script.outputs);
        let _no_grad = tch::no_grad_guard();
        for start in (0..rows).step_by(script.batch_size) {
            let count = script.batch_size.min(rows - start);
            let batch = inputs
                .iter()
                .map(|(argument, length, numbers)| {
                    let own = &numbers[start * length..(start + count) * length];
                    self.batch(argument, own, count).map(IValue::Tensor)
                })
                .collect::<Result<Vec<_>, Failure>>()?;
            let answer = self.module.forward_is(&batch);
            let answer = self.result(answer.map_err(|error| self.refused(&error))?)?;
            outputs.extend(self.finished(&answer, count)?);
        }
        let shape = vec![rows, script.outputs];
        Ok(vec![Array::f64("outputs", shape, outputs)])
    }

    /// Why `forward` failed, with what it was given.
    fn refused(&self, error: &TchError) -> Failure {
        let rows = self.script.batch_size;
        let given = self.script.inputs.iter().map(|argument| {
            let mut shape = argument.shape.clone();
            if argument.channels_first {
                shape.rotate_right(1);
            }
            shape.insert(0, rows);
            let item = if argument.is_whole {
                "int64"
            } else {
                "float32"
            };
            format!("{item} {shape:?}")
        });
        let given = given.collect::<Vec<_>>().join(" and ");
        let why = reason(&error.to_string());
        let lower = why.to_lowercase();
        let others = ["double", "half", "bfloat16"];
        let help = match lower.contains("type") && others.iter().any(|other| lower.contains(other))
        {
            true => "; save it in single precision (`model.float()`)",
            false => "",
        };
        Failure::Failed(format!(
            "the module's `forward` failed, given {given}: {why}{help}"
        ))
    }

    /// Rows as the module's argument.
    fn batch(&self, argument: &Argument, rows: &[f32], count: usize) -> Result<Tensor, Failure> {
        let size = |rows: usize| -> Vec<i64> {
            let sides = std::iter::once(&rows).chain(&argument.shape);
            sides.map(|side| *side as i64).collect()
        };
        let zeros = Tensor::f_zeros(
            size(self.script.batch_size - count),
            (Kind::Float, Device::Cpu),
        )?;
        let mut batch = Tensor::f_cat(&[tensor_over(rows, &size(count))?, zeros], 0)?;
        if argument.channels_first {
            let last = argument.shape.len() as i64;
            let order: Vec<i64> = [0, last].into_iter().chain(1..last).collect();
            batch = batch.f_permute(&order)?.f_contiguous()?;
        }
        if argument.is_whole {
            batch = batch.f_round()?.f_to_kind(Kind::Int64)?;
        }
        Ok(batch.f_to_device(self.device)?)
    }

    /// The tensor that is wanted of what `forward` gave.
    fn result(&self, answer: IValue) -> Result<Tensor, Failure> {
        let wanted = self.script.result;
        let several = |values: Vec<IValue>| {
            let count = values.len();
            values.into_iter().nth(wanted).ok_or_else(|| {
                Failure::Failed(format!(
                    "the module gives {count} results, so that there is no result {wanted} (they are counted from 0)"
                ))
            })
        };
        let value = match answer {
            IValue::Tuple(values) | IValue::GenericList(values) => several(values)?,
            IValue::TensorList(tensors) => {
                several(tensors.into_iter().map(IValue::Tensor).collect())?
            }
            IValue::GenericDict(pairs) => {
                let names: Vec<String> = pairs
                    .iter()
                    .map(|(name, _)| match name {
                        IValue::String(name) => format!("`{name}`"),
                        other => format!("{other:?}"),
                    })
                    .collect();
                return Err(Failure::Failed(format!(
                    "the module gives a dictionary ({}); wrap it in one that gives a tensor or a tuple",
                    names.join(", ")
                )));
            }
            single if wanted == 0 => single,
            _ => {
                return Err(Failure::Failed(format!(
                    "the module gives one result, so that there is no result {wanted} (they are counted from 0)"
                )));
            }
        };
        match value {
            IValue::Tensor(tensor) => Ok(tensor),
            other => Err(Failure::Failed(format!(
                "the module gives {other:?}, not a tensor"
            ))),
        }
    }

    /// The first `count` rows of an answer, in double precision, with the last activation.
    fn finished(&self, answer: &Tensor, count: usize) -> Result<Vec<f64>, Failure> {
        let (size, batch) = (answer.size(), self.script.batch_size as i64);
        let outputs = self.script.outputs;
        // One number a row may come without a side of its own.
        let given: i64 = size.iter().skip(1).product();
        if size.first() != Some(&batch) || given != outputs as i64 {
            return Err(Failure::Failed(format!(
                "the module gives a tensor of shape {size:?} for {batch} rows, but {outputs} numbers of each row are declared, so that it should be [{batch}, {outputs}]"
            )));
        }
        let values = answer
            .f_reshape([batch, outputs as i64])?
            .f_narrow(0, 0, count as i64)?;
        let values = match self.script.activation {
            Activation::Softmax => values.f_softmax(-1, Kind::Double)?,
            Activation::Sigmoid => values.f_to_kind(Kind::Double)?.f_sigmoid()?,
            _ => values.f_to_kind(Kind::Double)?,
        };
        let values = values.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut numbers = vec![0.0; count * outputs];
        let length = numbers.len();
        values.f_copy_data(&mut numbers, length)?;
        Ok(numbers)
    }
}
