//! Directions of most variance, and rows seen along these or others: what principal and independent components share.

use std::{collections::BTreeSet, ops::Deref, sync::Arc};

use linfa_linalg::eigh::{EigSort, Eigh};
use ndarray::{Array1, Array2, Axis, linalg::general_mat_mul};
use polars::prelude::{
    Column as PolarsColumn, DataType, Float64Chunked, IntoColumn, NamedFrom, PolarsResult, Series,
    polars_bail,
};
use rayon::prelude::*;
use taktline_core::{
    CheckContext, Column, Error, Operation, Result, Schema, State, TensorData, path,
};

use super::placement::{self, Made};
use crate::columns;

const WEIGHTS: &str = "weights";

/// Rows that are worked on at a time: so many fit into a core's cache.
const BLOCK: usize = 2048;
/// Parts that are summed side by side; fixed, so that threads do not change a bit.
const SEGMENTS: usize = 64;

/// A column of numbers that are all there and finite, as it lies in the frame's memory where that is possible.
pub(super) struct Numbers(Float64Chunked);

impl Deref for Numbers {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        // Such are made of one piece without nulls.
        self.0.cont_slice().unwrap_or_default()
    }
}

/// The columns as numbers; every value must be there. `what` is made of them, for the message.
pub(super) fn complete(data: &[PolarsColumn], what: &str) -> PolarsResult<Vec<Numbers>> {
    let numbers = |column: &PolarsColumn| {
        let numbers = column
            .cast(&DataType::Float64)?
            .take_materialized_series()
            .rechunk();
        let numbers = numbers.f64()?;
        if let Ok(values) = numbers.cont_slice()
            && values.iter().all(|value| value.is_finite())
        {
            return Ok(Numbers(numbers.clone()));
        }
        let odd = numbers
            .iter()
            .position(|value| !value.is_some_and(f64::is_finite));
        let row = odd.unwrap_or_default();
        let found = numbers
            .get(row)
            .map_or_else(|| "null".to_owned(), |value| value.to_string());
        polars_bail!(
            ComputeError: "`{}` is {found} in row {}: {what} need every value; fill it with `clean.fill_null`, or drop such rows first",
            column.name(), row + 1
        );
    };
    // Of several columns with gaps the first is named, whoever finds its own first.
    let columns: Vec<PolarsResult<Numbers>> = data.par_iter().map(numbers).collect();
    columns.into_iter().collect()
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

    /// All rows: components by rows.
    fn rotated(&self, columns: &[Numbers]) -> Vec<Array2<f64>> {
        blocks(columns.first().map_or(0, |values| values.len()))
            .into_par_iter()
            .map(|(from, to)| {
                let mut block = centred(columns, &self.means, from, to);
                let scaled = self.scales.iter().enumerate();
                for (place, scale) in scaled.filter(|(_, scale)| **scale != 1.0) {
                    block.row_mut(place).mapv_inplace(|value| value / scale);
                }
                self.weights.t().dot(&block)
            })
            .collect()
    }

    /// All rows: rows by components.
    pub(super) fn all(&self, columns: &[Numbers]) -> Array2<f64> {
        let rows = columns.first().map_or(0, |values| values.len());
        let mut found = Array2::zeros((rows, self.weights.ncols()));
        for (block, rotated) in found
            .axis_chunks_iter_mut(Axis(0), BLOCK)
            .zip(self.rotated(columns))
        {
            let mut block = block;
            block.assign(&rotated.t());
        }
        found
    }

    pub(super) fn apply(&self, data: &[PolarsColumn]) -> PolarsResult<Vec<PolarsColumn>> {
        let columns = complete(data, self.what)?;
        let rows = columns.first().map_or(0, |values| values.len());
        let rotated = self.rotated(&columns);
        let component = |place: usize| {
            let mut component = Vec::<f64>::with_capacity(rows);
            for block in &rotated {
                component.extend(block.row(place).iter());
            }
            Series::new("".into(), component).into_column()
        };
        Ok((0..self.weights.ncols())
            .into_par_iter()
            .map(component)
            .collect())
    }
}

/// Rows `from` to `to`, around the mean: columns by rows, as they lie in memory.
fn centred(columns: &[Numbers], means: &[f64], from: usize, to: usize) -> Array2<f64> {
    let mut block = Array2::zeros((columns.len(), to - from));
    for ((mut centred, column), mean) in block.rows_mut().into_iter().zip(columns).zip(means) {
        for (centred, value) in centred.iter_mut().zip(&column[from..to]) {
            *centred = value - mean;
        }
    }
    block
}

/// Where the blocks of so many rows begin and end.
fn blocks(rows: usize) -> Vec<(usize, usize)> {
    (0..rows)
        .step_by(BLOCK)
        .map(|from| (from, rows.min(from + BLOCK)))
        .collect()
}

/// The mean of each column, and how they vary together, divided by n - 1.
///
/// One pass sums distances from the means of the first rows, and their products. Their own mean is then taken off; it is no larger than the
/// deviation times the root of the number of blocks, since the first block's rows are among those that vary. Each segment's blocks are
/// summed in row order, and then the segments.
pub(super) fn means_and_covariance(columns: &[Numbers]) -> (Vec<f64>, Array2<f64>) {
    let (rows, width) = (
        columns.first().map_or(0, |values| values.len()),
        columns.len(),
    );
    let blocks = blocks(rows);
    let first = |values: &Numbers| mean(&values[..rows.min(BLOCK)]);
    let origin: Vec<f64> = columns.iter().map(first).collect();
    let sums: Vec<(Array1<f64>, Array2<f64>)> = blocks
        .par_chunks(blocks.len().div_ceil(SEGMENTS).max(1))
        .map(|blocks| {
            let (mut sums, mut products) = (Array1::zeros(width), Array2::zeros((width, width)));
            for (from, to) in blocks {
                let block = centred(columns, &origin, *from, *to);
                sums += &block.sum_axis(Axis(1));
                general_mat_mul(1.0, &block, &block.t(), 1.0, &mut products);
            }
            (sums, products)
        })
        .collect();
    let (mut off, mut products) = (Array1::zeros(width), Array2::zeros((width, width)));
    for (more, more_products) in &sums {
        off += more;
        products += more_products;
    }
    off /= rows as f64;
    let column = off.view().insert_axis(Axis(1));
    let covariance = (products - column.dot(&column.t()) * rows as f64) / (rows - 1) as f64;
    let means = origin.iter().zip(&off).map(|(origin, off)| origin + off);
    (means.collect(), covariance)
}

fn mean(values: &[f64]) -> f64 {
    let rough = values.iter().sum::<f64>() / values.len() as f64;
    // A second pass takes back what the first lost by rounding.
    rough + values.iter().map(|value| value - rough).sum::<f64>() / values.len() as f64
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
