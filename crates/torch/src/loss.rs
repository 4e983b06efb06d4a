//! Losses: how far a network's output is from the truth.

use tch::{Device, Kind, Reduction, TchError, Tensor};

use crate::{
    network::Output,
    protocol::{Arrays, ClassLoss, Failure, Loss, NumberLoss},
};

/// What is true of rows.
#[derive(Debug)]
pub(crate) enum Truth {
    /// The class of each row.
    Labels(Tensor),
    /// Numbers of each row: (rows, outputs).
    Numbers(Tensor),
    /// Nothing but the rows themselves.
    Itself,
}

impl Truth {
    /// Over the arrays `<prefix>labels` or `<prefix>targets`, whichever the loss asks for.
    pub(crate) fn over(
        loss: Loss,
        outputs: usize,
        rows: usize,
        arrays: &Arrays<'_>,
        prefix: &str,
    ) -> Result<Self, Failure> {
        match loss {
            Loss::Classes(of_classes) => {
                let labels = arrays.i64(&format!("{prefix}labels"))?;
                let classes = match of_classes {
                    ClassLoss::BinaryCrossentropy => 2,
                    _ => outputs as i64,
                };
                if let Some(label) = labels.iter().find(|label| !(0..classes).contains(*label)) {
                    return Err(Failure::Failed(format!(
                        "the label {label} is not one of {classes} classes"
                    )));
                }
                of_rows(labels.len(), rows, "labels")?;
                Ok(Self::Labels(Tensor::f_from_slice(labels)?))
            }
            Loss::Numbers(_) => {
                let targets = arrays.f32(&format!("{prefix}targets"))?;
                of_rows(targets.len(), rows * outputs, "targets")?;
                let targets = Tensor::f_from_slice(targets)?;
                Ok(Self::Numbers(targets.f_reshape([-1, outputs as i64])?))
            }
            Loss::Itself(_) | Loss::Evidence { .. } | Loss::Order(_) => Ok(Self::Itself),
        }
    }

    /// The same truth made from each tensor.
    pub(crate) fn map(
        &self,
        from: impl FnOnce(&Tensor) -> Result<Tensor, TchError>,
    ) -> Result<Self, TchError> {
        Ok(match self {
            Self::Labels(labels) => Self::Labels(from(labels)?),
            Self::Numbers(numbers) => Self::Numbers(from(numbers)?),
            Self::Itself => Self::Itself,
        })
    }

    pub(crate) fn to_device(&self, device: Device) -> Result<Self, TchError> {
        self.map(|tensor| tensor.f_to_device(device))
    }

    /// Another handle of the same.
    pub(crate) fn share(&self) -> Self {
        match self {
            Self::Labels(labels) => Self::Labels(labels.shallow_clone()),
            Self::Numbers(numbers) => Self::Numbers(numbers.shallow_clone()),
            Self::Itself => Self::Itself,
        }
    }

    /// Whether it is classes.
    pub(crate) fn is_classes(&self) -> bool {
        matches!(self, Self::Labels(_))
    }
}

fn of_rows(found: usize, wanted: usize, what: &str) -> Result<(), Failure> {
    match found == wanted {
        true => Ok(()),
        false => Err(Failure::Failed(format!(
            "{found} {what} came, but {wanted} are needed"
        ))),
    }
}

/// The loss, summed over rows with their weights. `inputs` are the rows themselves.
pub(crate) fn loss_of(
    loss: Loss,
    output: &Output,
    truth: &Truth,
    inputs: &Tensor,
    weights: Option<&Tensor>,
) -> Result<Tensor, TchError> {
    let values = &output.values;
    let own = || inputs.f_reshape([values.size()[0], -1]);
    let each = match (loss, truth) {
        (Loss::Classes(of_classes), Truth::Labels(labels)) => match of_classes {
            ClassLoss::SparseCategoricalCrossentropy => {
                return crossentropy(values, labels, weights);
            }
            ClassLoss::BinaryCrossentropy => values
                .f_squeeze_dim(1)?
                .f_binary_cross_entropy_with_logits(
                    &labels.f_to_kind(Kind::Float)?,
                    None::<&Tensor>,
                    None::<&Tensor>,
                    Reduction::None,
                )?,
            ClassLoss::Focal(focal) => {
                let log = values
                    .f_log_softmax(1, None::<Kind>)?
                    .f_gather(1, &labels.f_unsqueeze(1)?, false)?
                    .f_squeeze_dim(1)?;
                // 1 - p, from ln p without cancellation.
                let missed = log.f_expm1()?.f_neg()?;
                missed
                    .f_clamp_min(0.0)?
                    .f_pow_tensor_scalar(focal.gamma)?
                    .f_mul(&log)?
                    .f_neg()?
            }
        },
        (Loss::Order(_), Truth::Labels(labels)) => return crossentropy(values, labels, weights),
        (Loss::Numbers(of_numbers), Truth::Numbers(numbers)) => {
            errors(of_numbers, &values.f_reshape(numbers.size())?, numbers)?
        }
        (Loss::Itself(of_numbers), _) => errors(of_numbers, values, &own()?)?,
        (Loss::Evidence { deviation, beta }, _) => {
            // -ln of the normal density, summed over the numbers, without its constant.
            let surprise = values
                .f_sub(&own()?)?
                .f_square()?
                .f_sum_dim_intlist(1, false, None)?
                .f_mul_scalar(0.5 / (deviation * deviation))?;
            match &output.divergence {
                Some(divergence) => surprise.f_add(&divergence.f_mul_scalar(beta)?)?,
                None => surprise,
            }
        }
        _ => {
            return Err(TchError::Torch(
                "the truth does not go with the loss".into(),
            ));
        }
    };
    let each = match &output.penalty {
        Some(penalty) => each.f_add(penalty)?,
        None => each,
    };
    match weights {
        None => each.f_sum(None),
        Some(weights) => each.f_mul(weights)?.f_sum(None),
    }
}

fn crossentropy(
    logits: &Tensor,
    labels: &Tensor,
    weights: Option<&Tensor>,
) -> Result<Tensor, TchError> {
    let crossentropy =
        |reduction| logits.f_cross_entropy_loss(labels, None::<&Tensor>, reduction, -100, 0.0);
    match weights {
        None => crossentropy(Reduction::Sum),
        Some(weights) => crossentropy(Reduction::None)?.f_mul(weights)?.f_sum(None),
    }
}

/// The error of each row, as the mean over its numbers.
fn errors(loss: NumberLoss, values: &Tensor, truth: &Tensor) -> Result<Tensor, TchError> {
    let each = match loss {
        NumberLoss::MeanSquaredError => values.f_sub(truth)?.f_square()?,
        NumberLoss::MeanAbsoluteError => values.f_sub(truth)?.f_abs()?,
        NumberLoss::Huber(huber) => values.f_huber_loss(truth, Reduction::None, huber.delta)?,
        NumberLoss::Quantile(quantile) => {
            let short = truth.f_sub(values)?;
            short
                .f_mul_scalar(quantile.level)?
                .f_maximum(&short.f_mul_scalar(quantile.level - 1.0)?)?
        }
    };
    each.f_mean_dim(1, false, None)
}

/// How many rows get their own class; none where there are no classes.
pub(crate) fn count_right(logits: &Tensor, truth: &Truth) -> Result<u64, TchError> {
    let Truth::Labels(labels) = truth else {
        return Ok(0);
    };
    let found = match logits.size()[1] {
        1 => logits.f_squeeze_dim(1)?.f_gt(0.0)?.f_to_kind(Kind::Int64)?,
        _ => logits.f_argmax(1, false)?,
    };
    Ok(found
        .f_eq_tensor(labels)?
        .f_sum(None)?
        .f_int64_value(&[])?
        .unsigned_abs())
}
