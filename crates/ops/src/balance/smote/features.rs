//! What makes rows near to each other.

use polars::prelude::{DataFrame, DataType};
use taktline_core::{Classes, Error, Result, counted};

use super::super::{indices, is_training, neighbours::Points};

/// The features of the training rows.
pub(super) struct Features {
    /// The numbers of each column, of all rows of the frame.
    pub(super) numbers: Vec<Vec<f64>>,
    /// The standard deviation of each over the training rows.
    scales: Vec<f64>,
    /// The names of category columns.
    votes: Vec<String>,
}

impl Features {
    /// # Errors
    /// A training row without a value.
    pub(super) fn of(data: &DataFrame, between: &[String], votes: &[String]) -> Result<Self> {
        let is_training = is_training(data)?;
        let missing = |name: &str, found: &str, rows: usize| {
            Error::data(format!(
                "`{name}` is {found} in {}, so that nothing is known to be near such a row; fill it above, with `clean.fill_null`, or drop such rows",
                counted(rows, "training row")
            ))
        };
        for name in between.iter().chain(votes) {
            let nulls = data.column(name)?.filter(&is_training)?.null_count();
            if nulls > 0 {
                return Err(missing(name, "null", nulls));
            }
        }
        let (mut numbers, mut scales) = (Vec::new(), Vec::new());
        for name in between {
            let column = data.column(name)?.cast(&DataType::Float64)?;
            // Rows of other parts are never looked at.
            let values: Vec<f64> = column
                .f64()?
                .iter()
                .map(Option::unwrap_or_default)
                .collect();
            let trained: Vec<f64> = values
                .iter()
                .zip(is_training.iter())
                .filter(|(_, is_training)| *is_training == Some(true))
                .map(|(value, _)| *value)
                .collect();
            let odd = trained.iter().filter(|value| !value.is_finite()).count();
            if odd > 0 {
                return Err(missing(name, "infinite or not a number", odd));
            }
            let std = deviation(&trained);
            scales.push(if std > 0.0 { std } else { 1.0 });
            numbers.push(values);
        }
        Ok(Self {
            numbers,
            scales,
            votes: votes.to_vec(),
        })
    }

    /// The rows of a class as points that can be told near from far.
    pub(super) fn points(&self, data: &DataFrame, rows: &[usize]) -> Result<Points> {
        let width = self.numbers.len();
        let mut numbers = vec![0.0; rows.len() * width];
        let mut deviations = Vec::with_capacity(width);
        for (axis, (column, scale)) in self.numbers.iter().zip(&self.scales).enumerate() {
            let scaled: Vec<f64> = rows.iter().map(|row| column[*row] / scale).collect();
            for (point, number) in scaled.iter().enumerate() {
                numbers[point * width + axis] = *number;
            }
            deviations.push(deviation(&scaled));
        }
        let kinds = self.votes.len();
        let mut codes = vec![0; rows.len() * kinds];
        for (kind, name) in self.votes.iter().enumerate() {
            let classes = Classes::of(&data.column(name)?.take(&indices(rows))?, None)?;
            for (point, code) in classes.codes.into_iter().enumerate() {
                codes[point * kinds + kind] = code;
            }
        }
        // The median of the standard deviations of the class, as the paper has it.
        deviations.sort_by(f64::total_cmp);
        let penalty = match deviations.len() {
            0 => 1.0,
            count => (deviations[(count - 1) / 2] + deviations[count / 2]) / 2.0,
        };
        Ok(Points {
            numbers,
            width,
            codes,
            kinds,
            penalty: penalty * penalty,
            count: rows.len(),
        })
    }
}

/// Divided by n.
fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / count)
        .sqrt()
}
