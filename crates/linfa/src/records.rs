//! Frames to linfa's records: one copy, column by column.

use ndarray::{Array1, Array2, ShapeBuilder};
use polars::prelude::{Column, DataFrame, DataType};
use rayon::prelude::*;
use taktline_core::{Error, Result, type_name};

/// What a frame is for; decides what a missing value's message says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Purpose {
    /// Training: how many rows have gaps.
    Fit,
    /// Prediction: which row has one.
    Predict,
}

/// Rows of a feature column that hold no finite number.
struct Gap<'a> {
    feature: &'a str,
    rows: usize,
    first: usize,
}

/// The features as an array (rows, features), each column contiguous.
///
/// # Errors
/// A feature that is not there or not a number, and values that are null, not a number or infinite: all such features in one message.
pub(crate) fn feature_matrix(
    frame: &DataFrame,
    features: &[String],
    purpose: Purpose,
) -> Result<Array2<f64>> {
    let rows = frame.height();
    let columns = features
        .iter()
        .map(|feature| numeric_column(frame, feature, purpose))
        .collect::<Result<Vec<_>>>()?;
    let mut values = vec![0.0; rows * features.len()];
    let gaps = values
        .par_chunks_mut(rows.max(1))
        .zip(columns.par_iter().zip(features))
        .map(|(values, (column, feature))| copy_column(column, feature, values))
        .collect::<Result<Vec<_>>>()?;
    let gaps: Vec<Gap<'_>> = gaps.into_iter().flatten().collect();
    if !gaps.is_empty() {
        return Err(describe(&gaps, rows, purpose));
    }
    Array2::from_shape_vec((rows, features.len()).f(), values)
        .map_err(|error| Error::Model(error.to_string()))
}

/// Row weights, as linfa takes them.
///
/// # Errors
/// A weight that is missing, negative or not finite.
pub(crate) fn row_weights(column: &Column) -> Result<Array1<f32>> {
    let mut weights = vec![0.0; column.len()];
    let gap = copy_column(column, column.name(), &mut weights)?;
    if gap.is_some() || weights.iter().any(|weight| *weight < 0.0) {
        return Err(Error::data(format!(
            "the weight `{}` is missing, infinite or negative in some training rows; a row counts 0 or more",
            column.name()
        )));
    }
    Ok(weights.into_iter().map(|weight| weight as f32).collect())
}

fn numeric_column<'a>(frame: &'a DataFrame, feature: &str, purpose: Purpose) -> Result<&'a Column> {
    let column = frame.column(feature).map_err(|_| {
        Error::data(match purpose {
            Purpose::Fit => format!("the training rows have no column `{feature}`"),
            Purpose::Predict => {
                format!("the input has no column `{feature}`, which the model learned from")
            }
        })
    })?;
    let dtype = column.dtype();
    if dtype.is_primitive_numeric() || *dtype == DataType::Boolean {
        Ok(column)
    } else {
        Err(Error::data(format!(
            "the feature `{feature}` is {}, not a number",
            type_name(dtype)
        )))
    }
}

fn copy_column<'a>(
    column: &Column,
    feature: &'a str,
    values: &mut [f64],
) -> Result<Option<Gap<'a>>> {
    let column = column.cast(&DataType::Float64)?;
    let numbers = column.f64()?;
    if numbers.null_count() == 0 {
        let mut start = 0;
        for chunk in numbers.downcast_iter() {
            values[start..start + chunk.len()].copy_from_slice(chunk.values());
            start += chunk.len();
        }
    } else {
        for (value, number) in values.iter_mut().zip(numbers.iter()) {
            *value = number.unwrap_or(f64::NAN);
        }
    }
    let first = values.iter().position(|value| !value.is_finite());
    Ok(first.map(|first| Gap {
        feature,
        rows: values.iter().filter(|value| !value.is_finite()).count(),
        first,
    }))
}

fn describe(gaps: &[Gap<'_>], rows: usize, purpose: Purpose) -> Error {
    let places: Vec<String> = gaps
        .iter()
        .map(|gap| match purpose {
            Purpose::Fit => format!("`{}` in {} of {rows} training rows", gap.feature, gap.rows),
            Purpose::Predict => format!("`{}` in row {}", gap.feature, gap.first + 1),
        })
        .collect();
    Error::data(format!(
        "the model needs a number, but there is a null, nan or infinity: {}; fill or drop such values above the model",
        places.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use polars::prelude::*;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn takes_numbers_of_any_type_and_truth_values() {
        let frame =
            df!("amount" => [1.5_f32, 2.5], "count" => [3_i64, 4], "night" => [true, false])
                .expect("a frame");
        let matrix = feature_matrix(&frame, &names(&["night", "amount", "count"]), Purpose::Fit)
            .expect("a matrix");
        assert_eq!(matrix, ndarray::array![[1.0, 1.5, 3.0], [0.0, 2.5, 4.0]]);
    }

    #[test]
    fn names_every_feature_with_gaps() {
        let frame = df!("amount" => [Some(1.5), None, None], "age" => [1.0, f64::NAN, 2.0], "size" => [1, 2, 3])
            .expect("a frame");
        let features = names(&["amount", "size", "age"]);
        let message = |purpose| {
            feature_matrix(&frame, &features, purpose)
                .expect_err("gaps")
                .to_string()
        };
        assert!(
            message(Purpose::Fit)
                .contains("`amount` in 2 of 3 training rows, `age` in 1 of 3 training rows")
        );
        assert!(message(Purpose::Predict).contains("`amount` in row 2, `age` in row 2"));
    }

    #[test]
    fn refuses_text_and_unknown_columns() {
        let frame = df!("channel" => ["web", "shop"]).expect("a frame");
        let error = feature_matrix(&frame, &names(&["channel"]), Purpose::Predict)
            .expect_err("text")
            .to_string();
        assert_eq!(error, "the feature `channel` is text, not a number");
        assert!(feature_matrix(&frame, &names(&["amount"]), Purpose::Predict).is_err());
    }

    #[test]
    fn refuses_negative_weights() {
        assert!(row_weights(&Column::new("weight".into(), [1.0, -1.0])).is_err());
        assert_eq!(
            row_weights(&Column::new("weight".into(), [1, 2])).expect("weights"),
            ndarray::array![1.0, 2.0]
        );
    }
}
