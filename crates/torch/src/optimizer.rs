//! Optimizers over one flat tensor of all weights. Their state is plain tensors, so that a checkpoint holds it exactly.

use tch::{TchError, Tensor};

use crate::{
    network::numbers,
    protocol::{Adam, Array, Arrays, Failure, Optimizer},
};

/// An optimizer with its state.
#[derive(Debug)]
pub(crate) struct Descent {
    optimizer: Optimizer,
    /// Adam's two moments; the velocity of gradient descent with momentum.
    state: Vec<(&'static str, Tensor)>,
}

impl Descent {
    /// For weights of this form, at the start.
    pub(crate) fn start(optimizer: Optimizer, weights: &Tensor) -> Result<Self, TchError> {
        let names: &[&str] = match optimizer {
            Optimizer::Adam(_) | Optimizer::AdamW(_) => &["first_moment", "second_moment"],
            Optimizer::Sgd(sgd) if sgd.momentum > 0.0 => &["velocity"],
            Optimizer::Sgd(_) => &[],
        };
        let state = names
            .iter()
            .map(|name| Ok((*name, weights.f_zeros_like()?)))
            .collect::<Result<_, TchError>>()?;
        Ok(Self { optimizer, state })
    }

    /// Takes the state of a checkpoint.
    pub(crate) fn resume(&mut self, arrays: &Arrays<'_>) -> Result<(), Failure> {
        for (name, tensor) in &mut self.state {
            restore(tensor, name, arrays)?;
        }
        Ok(())
    }

    /// The state, for a checkpoint.
    pub(crate) fn to_arrays(&self) -> Result<Vec<Array<'static>>, Failure> {
        self.state
            .iter()
            .map(|(name, tensor)| flat(name, tensor))
            .collect()
    }

    /// Step number `count` (from 1) down the gradient, which is used up, with this share of the learning rate.
    pub(crate) fn step(
        &mut self,
        weights: &mut Tensor,
        mut gradient: Tensor,
        count: u64,
        share: f64,
    ) -> Result<(), TchError> {
        match (self.optimizer.slowed(share), self.state.as_mut_slice()) {
            (Optimizer::Adam(adam), [(_, first), (_, second)]) => {
                adam_step(&adam, weights, gradient, first, second, count)
            }
            (Optimizer::AdamW(adam_w), [(_, first), (_, second)]) => {
                let _ = weights.f_mul_scalar_(1.0 - adam_w.learning_rate * adam_w.weight_decay)?;
                let adam = Adam {
                    learning_rate: adam_w.learning_rate,
                    beta_1: adam_w.beta_1,
                    beta_2: adam_w.beta_2,
                    epsilon: adam_w.epsilon,
                };
                adam_step(&adam, weights, gradient, first, second, count)
            }
            (Optimizer::Sgd(sgd), [(_, velocity)]) => {
                let _ = velocity.f_mul_scalar_(sgd.momentum)?;
                let _ = velocity.f_add_(&gradient)?;
                let mut step = if sgd.nesterov {
                    gradient.f_add_(&velocity.f_mul_scalar(sgd.momentum)?)?
                } else {
                    velocity.f_mul_scalar(1.0)?
                };
                let _ = step.f_mul_scalar_(-sgd.learning_rate)?;
                weights.f_add_(&step).map(drop)
            }
            (Optimizer::Sgd(sgd), _) => {
                let _ = gradient.f_mul_scalar_(-sgd.learning_rate)?;
                weights.f_add_(&gradient).map(drop)
            }
            (Optimizer::Adam(_) | Optimizer::AdamW(_), _) => Ok(()),
        }
    }
}

/// One step of Adam. With m and v the running means, m̂ = m / (1 - β₁ᵗ) and v̂ = v / (1 - β₂ᵗ):
/// weights -= rate · m̂ / (√v̂ + ε), written so that it is seven passes over the weights.
fn adam_step(
    adam: &Adam,
    weights: &mut Tensor,
    mut gradient: Tensor,
    first: &mut Tensor,
    second: &mut Tensor,
    count: u64,
) -> Result<(), TchError> {
    let exponent = count as f64;
    let correction = (1.0 - adam.beta_2.powf(exponent)).sqrt();
    let rate = adam.learning_rate / (1.0 - adam.beta_1.powf(exponent));
    let _ = first.f_lerp_(&gradient, 1.0 - adam.beta_1)?;
    let square = gradient.f_square_()?;
    let _ = second.f_lerp_(&square, 1.0 - adam.beta_2)?;
    let mut divisor = second.f_sqrt()?;
    let _ = divisor.f_mul_scalar_(-1.0 / (correction * rate))?;
    let divisor = divisor.f_add_scalar_(-adam.epsilon / rate)?;
    weights.f_addcdiv_(first, &divisor).map(drop)
}

/// A flat tensor as an array of a checkpoint.
pub(crate) fn flat(name: &str, tensor: &Tensor) -> Result<Array<'static>, Failure> {
    let numbers = numbers(tensor)?;
    Ok(Array::f32(name, vec![numbers.len()], numbers))
}

/// A flat tensor back from a checkpoint.
pub(crate) fn restore(tensor: &mut Tensor, name: &str, arrays: &Arrays<'_>) -> Result<(), Failure> {
    let numbers = arrays.f32(name)?;
    let device = tensor.device();
    if numbers.len() != tensor.numel() {
        return Err(Failure::Failed(format!(
            "the checkpoint's `{name}` belongs to another network"
        )));
    }
    tensor.f_copy_(&Tensor::f_from_slice(numbers)?.f_to_device(device)?)?;
    Ok(())
}
