//! What linear models of numbers have in common: the sums that their solvers need, and prediction.

use linfa_linalg::eigh::Eigh;
use ndarray::{Array1, Array2, ArrayView1, Axis, linalg::general_mat_mul, s};
use polars::prelude::{Column as PolarsColumn, DataFrame};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use taktline_core::{Error, Predictor, Result, State, TensorData, classifier::PREDICTION};

use crate::{
    records::{Features, matrix, numbers, with_matrix},
    weighted_logistic::solve_by_cholesky,
};

const BLOCK_ROWS: usize = 1024;
/// Parts of the rows that are summed side by side; fixed, so that threads do not change a bit.
const SEGMENTS: usize = 64;
/// Numbers that all parts' sums may hold together.
const MOST_SUMS: usize = 1 << 26;

/// The weighted sums of the normal equations. The design is the centred records with a column of ones behind them.
pub(crate) struct Equations {
    /// Designᵀ · weights · design, (numbers + 1) squared.
    pub(crate) gram: Array2<f64>,
    /// Designᵀ · weights · right side.
    pub(crate) cross: Array1<f64>,
}

/// Sums over all rows; `row` tells the weight, 0 or more, and the right side of each.
pub(crate) fn equations(
    records: &Array2<f64>,
    centre: &[f64],
    row: impl Fn(usize) -> (f64, f64) + Sync,
) -> Equations {
    let rows = records.nrows();
    let width = records.ncols() + 1;
    let segments = (MOST_SUMS / (width * width)).clamp(1, SEGMENTS);
    let length = rows.div_ceil(segments).max(1);
    let parts: Vec<Equations> = (0..rows)
        .step_by(length)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|first| {
            let mut sums = Equations {
                gram: Array2::zeros((width, width)),
                cross: Array1::zeros(width),
            };
            let end = (first + length).min(rows);
            let mut design = Array2::zeros((BLOCK_ROWS, width));
            let mut right = Array1::zeros(BLOCK_ROWS);
            for start in (first..end).step_by(BLOCK_ROWS) {
                let count = BLOCK_ROWS.min(end - start);
                for place in 0..count {
                    let (weight, value) = row(start + place);
                    let root = weight.sqrt();
                    design[[place, width - 1]] = root;
                    right[place] = root * value;
                }
                for (number, middle) in centre.iter().enumerate() {
                    let column = records.slice(s![start..start + count, number]);
                    for (place, value) in column.iter().enumerate() {
                        design[[place, number]] = (value - middle) * design[[place, width - 1]];
                    }
                }
                let block = design.slice(s![..count, ..]);
                general_mat_mul(1.0, &block.t(), &block, 1.0, &mut sums.gram);
                sums.cross += &block.t().dot(&right.slice(s![..count]));
            }
            sums
        })
        .collect();
    let mut total = Equations {
        gram: Array2::zeros((width, width)),
        cross: Array1::zeros(width),
    };
    for part in parts {
        total.gram += &part.gram;
        total.cross += &part.cross;
    }
    total
}

/// The weighted mean of each number.
pub(crate) fn means(records: &Array2<f64>, weights: Option<&Array1<f32>>) -> Vec<f64> {
    let columns: Vec<ArrayView1<'_, f64>> = records.columns().into_iter().collect();
    columns
        .into_par_iter()
        .map(|column| mean(column, weights))
        .collect()
}

/// The weighted mean; 0 where no row counts.
pub(crate) fn mean(values: ArrayView1<'_, f64>, weights: Option<&Array1<f32>>) -> f64 {
    let (sum, count) = match weights {
        None => (values.sum(), values.len() as f64),
        Some(weights) => (
            values
                .iter()
                .zip(weights)
                .map(|(value, weight)| value * f64::from(*weight))
                .sum(),
            total(weights),
        ),
    };
    if count > 0.0 { sum / count } else { 0.0 }
}

/// How much all rows count together.
pub(crate) fn total(weights: &Array1<f32>) -> f64 {
    weights.iter().map(|weight| f64::from(*weight)).sum()
}

/// How much each row counts.
pub(crate) fn weight_of(weights: Option<&Array1<f32>>, row: usize) -> f64 {
    weights.map_or(1.0, |weights| f64::from(weights[row]))
}

/// Refuses training rows of which none counts.
pub(crate) fn check_total(weights: Option<&Array1<f32>>) -> Result<()> {
    match weights {
        Some(weights) if total(weights) <= 0.0 => {
            Err(Error::data("every training row has the weight 0"))
        }
        _ => Ok(()),
    }
}

/// Solves a symmetric system without negative directions; of several solutions the shortest, once every unknown is scaled to the same
/// size. Unknowns that no equation speaks of are 0.
pub(crate) fn solve(matrix: &Array2<f64>, right: &Array1<f64>) -> Result<Array1<f64>> {
    let scales: Vec<f64> = matrix
        .diag()
        .iter()
        .map(|value| {
            if *value > 0.0 {
                value.sqrt().recip()
            } else {
                0.0
            }
        })
        .collect();
    let mut scaled = matrix.clone();
    for ((row, column), value) in scaled.indexed_iter_mut() {
        *value *= scales[row] * scales[column];
        if row == column && scales[row] == 0.0 {
            *value = 1.0;
        }
    }
    let wanted: Vec<f64> = right
        .iter()
        .zip(&scales)
        .map(|(value, scale)| value * scale)
        .collect();
    let solution = match solve_by_cholesky(scaled.clone(), &wanted) {
        Some(solution) => Array1::from_vec(solution),
        None => {
            let (values, vectors) = scaled.eigh().map_err(|error| {
                Error::Model(format!("the equations cannot be solved: {error}"))
            })?;
            let largest = values.iter().copied().fold(0.0, f64::max);
            let least = largest * f64::EPSILON * values.len() as f64 * 16.0;
            let mut along = vectors.t().dot(&Array1::from_vec(wanted));
            for (part, value) in along.iter_mut().zip(&values) {
                *part = if *value > least { *part / value } else { 0.0 };
            }
            vectors.dot(&along)
        }
    };
    Ok(solution * Array1::from_vec(scales))
}

/// How the sum of a linear model becomes its prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Link {
    /// It is the prediction.
    Identity,
    /// It is the prediction's logarithm.
    Log,
}

/// A fitted linear model.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) learned: Learned,
    pub(crate) coefficients: Array1<f64>,
    pub(crate) intercept: f64,
}

/// The JSON part of its state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Learned {
    #[serde(flatten)]
    pub(crate) features: Features,
    pub(crate) target: String,
    pub(crate) link: Link,
    /// A column that the prediction is in proportion to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exposure: Option<String>,
}

impl Linear {
    pub(crate) fn store(&self, version: u32) -> Result<State> {
        let state = State::from_data(version, &self.learned)?;
        let coefficients = self.coefficients.view().insert_axis(Axis(0)).to_owned();
        Ok(
            with_matrix(state, "coefficients", &coefficients).with_tensor(
                "intercept",
                vec![1],
                TensorData::F64(vec![self.intercept]),
            ),
        )
    }

    pub(crate) fn read(version: u32, state: &State) -> Result<Self> {
        let learned: Learned = state.data(version)?;
        let shape = [1, learned.features.numbers()];
        let coefficients = matrix(state, "coefficients", shape)?.row(0).to_owned();
        let intercept = numbers(state.tensor("intercept")?, &[1])?;
        Ok(Self {
            learned,
            coefficients,
            intercept: intercept[0],
        })
    }

    /// The weighted sum for each row, added up feature by feature, so that a row gets the same bits alone and among others.
    pub(crate) fn sums(&self, records: &Array2<f64>) -> Array1<f64> {
        let mut sums = Array1::from_elem(records.nrows(), self.intercept);
        for (column, coefficient) in records.columns().into_iter().zip(&self.coefficients) {
            sums.scaled_add(*coefficient, &column);
        }
        sums
    }
}

impl Predictor for Linear {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let records = self.learned.features.matrix(batch)?;
        let mut predictions = self.sums(&records);
        if self.learned.link == Link::Log {
            predictions.mapv_inplace(f64::exp);
        }
        if let Some(name) = &self.learned.exposure {
            for (prediction, exposure) in predictions.iter_mut().zip(exposures(batch, name)?) {
                *prediction *= exposure;
            }
        }
        if let Some(row) = predictions.iter().position(|value| !value.is_finite()) {
            return Err(Error::data(format!(
                "row {}: the prediction of `{}` is beyond what a number can hold",
                row + 1,
                self.learned.target
            )));
        }
        Ok(vec![PolarsColumn::new(
            PREDICTION.into(),
            predictions.to_vec(),
        )])
    }
}

/// The exposure of each row: finite numbers above 0.
pub(crate) fn exposures(frame: &DataFrame, name: &str) -> Result<Vec<f64>> {
    let column = frame
        .column(name)
        .map_err(|_| {
            Error::data(format!(
                "there is no column `{name}`, which tells the exposure"
            ))
        })?
        .strict_cast(&polars::prelude::DataType::Float64)?;
    column
        .f64()?
        .iter()
        .enumerate()
        .map(|(row, value)| {
            value
                .filter(|value| value.is_finite() && *value > 0.0)
                .ok_or_else(|| {
                    Error::data(format!(
                        "the exposure `{name}` is not a number above 0 in row {}",
                        row + 1
                    ))
                })
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod testing {
    use polars::prelude::{CsvReader, DataFrame, SerReader};
    use taktline_core::{FitContext, Frame, Model, Role, Schema};

    use super::*;

    const FEATURES: [&str; 4] = [
        "mean_texture",
        "mean_smoothness",
        "mean_symmetry",
        "worst_concavity",
    ];

    /// The standardised features, target and weights of tests/peers/linear_models.py.
    pub(crate) fn tumours(weighted: bool) -> Frame {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../datasets/medical/wdbc.csv"
        );
        let file = std::fs::File::open(path).expect("the data set");
        let all = CsvReader::new(file).finish().expect("a frame");
        let values = |name: &str| -> Vec<f64> {
            let column = all.column(name).expect("a column").f64().expect("f64");
            column.iter().flatten().collect()
        };
        let mut columns: Vec<PolarsColumn> = FEATURES
            .iter()
            .map(|name| {
                let values = values(name);
                let count = values.len() as f64;
                let mean = values.iter().sum::<f64>() / count;
                let squares = values
                    .iter()
                    .map(|value| (value - mean).powi(2))
                    .sum::<f64>();
                let deviation = (squares / count).sqrt();
                let scaled: Vec<f64> = values
                    .iter()
                    .map(|value| (value - mean) / deviation)
                    .collect();
                PolarsColumn::new((*name).into(), scaled)
            })
            .collect();
        let areas: Vec<f64> = values("worst_area")
            .iter()
            .map(|area| area / 100.0)
            .collect();
        let weights: Vec<f64> = (0..areas.len()).map(|row| 1.0 + (row % 3) as f64).collect();
        columns.push(PolarsColumn::new("area".into(), areas));
        columns.push(PolarsColumn::new("weight".into(), weights));
        let mut frame = frame(
            DataFrame::new(all.height(), columns).expect("a frame"),
            "area",
        );
        let weight = frame.schema.column_mut("weight").expect("a column");
        weight.role = if weighted { Role::Weight } else { Role::Ignore };
        frame
    }

    pub(crate) fn frame(data: DataFrame, target: &str) -> Frame {
        let mut schema = Schema::from_polars(data.schema());
        let column = schema.column_mut(target).expect("a column");
        *column = column.clone().with_role(Role::Target);
        Frame { data, schema }
    }

    /// The coefficients and the intercept behind them.
    pub(crate) fn learned(model: &dyn Model, train: &Frame) -> Result<Vec<f64>> {
        let state = model.fit(train, None, &mut FitContext::quiet(1))?;
        let linear = Linear::read(1, &State::from_bytes(&state.to_bytes()?)?)?;
        Ok([linear.coefficients.to_vec(), vec![linear.intercept]].concat())
    }

    pub(crate) fn close(found: &[f64], wanted: &[f64], tolerance: f64) {
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(
                (found - wanted).abs() <= tolerance * wanted.abs().max(1.0),
                "{found} is not {wanted}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_definition() {
        let records = ndarray::array![[1.0, 2.0], [3.0, 5.0], [4.0, 4.0]];
        // Whole roots, so that the sums are exact.
        let weights = [1.0, 4.0, 0.25];
        let right = [1.0, -1.0, 3.0];
        let sums = equations(&records, &[1.0, 2.0], |row| (weights[row], right[row]));
        // Centred rows: (0, 0), (2, 3), (3, 2).
        assert_eq!(
            sums.gram,
            ndarray::array![[18.25, 25.5, 8.75], [25.5, 37.0, 12.5], [8.75, 12.5, 5.25]]
        );
        assert_eq!(sums.cross, ndarray::array![-5.75, -10.5, -2.25]);
    }

    #[test]
    fn an_unknown_that_appears_twice_is_shared() {
        let matrix = ndarray::array![[4.0, 4.0, 0.0], [4.0, 4.0, 0.0], [0.0, 0.0, 0.0]];
        let solution = solve(&matrix, &ndarray::array![8.0, 8.0, 0.0]).expect("a solution");
        for (found, wanted) in solution.iter().zip([1.0, 1.0, 0.0]) {
            assert!((found - wanted).abs() < 1e-9, "{solution}");
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let records = Array2::from_shape_fn((5000, 3), |(row, column)| {
            ((row * 31 + column * 17) % 101) as f64 / 7.0
        });
        let sums = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("a pool");
            pool.install(|| equations(&records, &[0.1, 0.2, 0.3], |row| (1.0, row as f64)).gram)
        };
        assert_eq!(sums(1), sums(4));
    }
}
