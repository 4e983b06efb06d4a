//! Directions of most variance, and rows seen along these or others: what principal and independent components share.

use std::{collections::BTreeSet, sync::Arc};

use linfa_linalg::eigh::{EigSort, Eigh};
use ndarray::{Array1, Array2, Axis, s};
use polars::prelude::{
    Column as PolarsColumn, DataType, IntoColumn, NamedFrom, PolarsResult, Series, polars_bail,
};
use taktline_core::{
    CheckContext, Column, Error, Operation, Result, Schema, State, TensorData, path,
};

use super::placement::{self, Made};
use crate::columns;

const WEIGHTS: &str = "weights";

/// Rows that are worked on at a time: so many fit into a core's cache.
const BLOCK: usize = 2048;

/// The columns as numbers; every value must be there. `what` is made of them, for the message.
pub(super) fn complete(data: &[PolarsColumn], what: &str) -> PolarsResult<Vec<Vec<f64>>> {
    data.iter()
        .map(|column| {
            let numbers = column.cast(&DataType::Float64)?;
            let mut values = Vec::with_capacity(numbers.len());
            for (row, value) in numbers.f64()?.iter().enumerate() {
                match value {
                    Some(value) if value.is_finite() => values.push(value),
                    other => {
                        let found = other.map_or_else(|| "null".to_owned(), |value| value.to_string());
                        polars_bail!(
                            ComputeError: "`{}` is {found} in row {}: {what} need every value; fill it with `clean.fill_null`, or drop such rows first",
                            column.name(), row + 1
                        );
                    }
                }
            }
            Ok(values)
        })
        .collect()
}

/// The state with the weights beside it: a tensor, columns by components.
pub(super) fn with_weights(state: State, weights: &Array2<f64>) -> State {
    let shape = vec![weights.nrows(), weights.ncols()];
    let numbers = TensorData::F64(weights.iter().copied().collect());
    state.with_tensor(WEIGHTS, shape, numbers)
}

/// The weights of a state, for components of these columns around these means.
pub(super) fn weights(state: &State, columns: &[String], means: &[f64]) -> Result<Array2<f64>> {
    let tensor = state.tensor(WEIGHTS)?;
    let (TensorData::F64(numbers), [rows, count]) = (&tensor.data, tensor.shape.as_slice()) else {
        return Err(Error::State(
            "its weights are not a matrix of 64-bit numbers".to_owned(),
        ));
    };
    Array2::from_shape_vec((*rows, *count), numbers.clone())
        .ok()
        .filter(|weights| [weights.nrows(), means.len()] == [columns.len(); 2])
        .ok_or_else(|| Error::State("its weights have another size than its columns".to_owned()))
}

fn made(names: Vec<String>, sources: &[&Column]) -> Vec<Column> {
    names
        .into_iter()
        .map(|name| placement::heir(name, DataType::Float64, sources.iter().copied()))
        .collect()
}

/// The schema with components of these names in the place of the columns that they are made of, or behind all where those are kept.
/// Reports names that are taken.
pub(super) fn with_components(
    names: Vec<String>,
    chosen: &[String],
    keep: bool,
    input: &Schema,
    cx: &mut CheckContext<'_>,
) -> Schema {
    for name in &names {
        if !columns::is_free(input, name, path!["name"], cx) {
            return input.clone();
        }
    }
    let sources: Vec<&Column> = chosen
        .iter()
        .filter_map(|name| input.column(name))
        .collect();
    let made = made(names, &sources);
    let mut output = input.clone();
    if keep || chosen.is_empty() {
        output.columns.extend(made);
        return output;
    }
    let first = output
        .columns
        .iter()
        .position(|column| chosen.contains(&column.name));
    output
        .columns
        .retain(|column| !chosen.contains(&column.name));
    let place = first.unwrap_or_default();
    output.columns.splice(place..place, made);
    output
}

/// What turns rows of the columns into rows of the components.
pub(super) struct Rotation {
    /// What is made, for messages.
    pub(super) what: &'static str,
    pub(super) means: Vec<f64>,
    pub(super) scales: Vec<f64>,
    /// Columns by components.
    pub(super) weights: Array2<f64>,
}

impl Rotation {
    /// The operations that make components of these columns, each with the name that `name` gives its place.
    pub(super) fn operations(
        self,
        reads: Vec<String>,
        name: impl Fn(usize) -> String,
        keep: bool,
        input: &Schema,
    ) -> Vec<Operation> {
        let sources: Vec<&Column> = reads.iter().filter_map(|name| input.column(name)).collect();
        // Scoring brings all columns or, where the model needs no component, maybe not.
        if sources.len() < reads.len() {
            return Vec::new();
        }
        let names = (0..self.weights.ncols()).map(name).collect();
        let made = Made {
            name: self.what,
            reads: reads.clone(),
            columns: made(names, &sources),
            // An error names the row, which is the frame's only where it sees the whole column.
            by_place: true,
            input,
        };
        let rotation = Arc::new(self);
        // A product of matrices: as expressions it would have a term for each column and component.
        let operation = made.by(move |columns| rotation.apply(columns));
        if keep {
            return vec![operation];
        }
        let dropped: BTreeSet<&str> = reads.iter().map(String::as_str).collect();
        placement::instead(vec![operation], &dropped, input)
    }

    /// Rows `from` to `to`, around the mean and scaled: rows by columns.
    fn centred(
        columns: &[Vec<f64>],
        means: &[f64],
        scales: &[f64],
        from: usize,
        to: usize,
    ) -> Array2<f64> {
        Array2::from_shape_fn((to - from, columns.len()), |(row, column)| {
            (columns[column][from + row] - means[column]) / scales[column]
        })
    }

    /// All rows: rows by components.
    pub(super) fn all(&self, columns: &[Vec<f64>]) -> Array2<f64> {
        let rows = columns.first().map_or(0, Vec::len);
        let mut found = Array2::zeros((rows, self.weights.ncols()));
        for from in (0..rows).step_by(BLOCK) {
            let to = rows.min(from + BLOCK);
            let block = Self::centred(columns, &self.means, &self.scales, from, to);
            found
                .slice_mut(s![from..to, ..])
                .assign(&block.dot(&self.weights));
        }
        found
    }

    pub(super) fn apply(&self, data: &[PolarsColumn]) -> PolarsResult<Vec<PolarsColumn>> {
        let columns = complete(data, self.what)?;
        let rows = columns.first().map_or(0, Vec::len);
        let mut components = vec![Vec::<f64>::with_capacity(rows); self.weights.ncols()];
        for from in (0..rows).step_by(BLOCK) {
            let to = rows.min(from + BLOCK);
            let block = Self::centred(&columns, &self.means, &self.scales, from, to);
            let rotated = block.dot(&self.weights);
            for (component, column) in components.iter_mut().zip(rotated.axis_iter(Axis(1))) {
                component.extend(column.iter());
            }
        }
        Ok(components
            .into_iter()
            .map(|component| Series::new("".into(), component).into_column())
            .collect())
    }
}

pub(super) fn mean(values: &[f64]) -> f64 {
    let rough = values.iter().sum::<f64>() / values.len() as f64;
    // A second pass takes back what the first lost by rounding.
    rough + values.iter().map(|value| value - rough).sum::<f64>() / values.len() as f64
}

/// Divided by n - 1, summed block by block in row order.
pub(super) fn covariance(columns: &[Vec<f64>], means: &[f64], scales: &[f64]) -> Array2<f64> {
    let (rows, width) = (columns.first().map_or(0, Vec::len), columns.len());
    let mut sums = Array2::zeros((width, width));
    for from in (0..rows).step_by(BLOCK) {
        let block = Rotation::centred(columns, means, scales, from, rows.min(from + BLOCK));
        sums += &block.t().dot(&block);
    }
    sums / (rows - 1) as f64
}

/// The variances and the directions of the components, the largest first.
pub(super) fn components(covariance: &Array2<f64>) -> Result<(Array1<f64>, Array2<f64>)> {
    let (variances, mut directions) = covariance
        .eigh()
        .map_err(|error| {
            Error::data(format!(
                "the columns' covariance has no eigenvectors: {error}"
            ))
        })?
        .sort_eig_desc();
    turn(&mut directions);
    // Rounding makes a variance of nothing slightly negative.
    Ok((variances.mapv(|variance| variance.max(0.0)), directions))
}

/// Turns each column so that the largest of its numbers is positive.
pub(super) fn turn(directions: &mut Array2<f64>) {
    for mut direction in directions.columns_mut() {
        let largest = direction.iter().copied().reduce(|largest, weight| {
            if weight.abs() > largest.abs() + 1e-12 {
                weight
            } else {
                largest
            }
        });
        if largest.is_some_and(|weight| weight < 0.0) {
            direction.mapv_inplace(|weight| -weight);
        }
    }
}
