//! Frames to linfa's records: one copy, column by column.

use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, ShapeBuilder};
use polars::prelude::{Column, DataFrame, DataType, Float64Chunked};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use taktline_core::{
    Column as SchemaColumn, Error, Frame, Result, Role, State, Tensor, TensorData, counted,
    type_name,
};

/// Whether a model learns from such a column: numbers, truth values, arrays of numbers.
pub(crate) fn is_learned(column: &SchemaColumn) -> bool {
    width(&column.dtype).is_some()
}

/// Numbers up to this size can be squared, and the squares of many be added up.
const GREATEST_SQUARED: f64 = 1e150;

/// The features that a model learned from, as they are kept in its fitted state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Features {
    /// The columns, in order.
    #[serde(rename = "features")]
    pub(crate) names: Vec<String>,
    /// How many numbers each feature gives, where some are arrays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    widths: Option<Vec<usize>>,
}

impl Features {
    /// The features and what the training rows hold of them: an array (rows, numbers), each column contiguous.
    ///
    /// # Errors
    /// As [`feature_matrix`], and training rows that there are none of.
    pub(crate) fn fit(train: &DataFrame, names: Vec<String>) -> Result<(Self, Array2<f64>)> {
        Self::fit_where(train, names, Missing::Refused)
    }

    /// As [`Self::fit`], for models that square what they learn from.
    ///
    /// # Errors
    /// As [`Self::fit`], and a number that is too large for that.
    pub(crate) fn fit_squared(
        train: &DataFrame,
        names: Vec<String>,
    ) -> Result<(Self, Array2<f64>)> {
        let (features, records) = Self::fit(train, names)?;
        match features.too_large(&records) {
            None => Ok((features, records)),
            Some((row, found)) => Err(Error::data(format!(
                "{found} in training row {}, and sums of such squares are beyond all numbers; scale or clip it above the model \
                 (`clean.clip_outliers`)",
                row + 1
            ))),
        }
    }

    /// As [`Self::fit`], for models that may allow missing values.
    pub(crate) fn fit_where(
        train: &DataFrame,
        names: Vec<String>,
        missing: Missing,
    ) -> Result<(Self, Array2<f64>)> {
        if train.height() == 0 {
            return Err(Error::data("there are no training rows to learn from"));
        }
        let (records, widths) = matrix_where(train, &names, Purpose::Fit, missing)?;
        let widths = widths.iter().any(|width| *width != 1).then_some(widths);
        Ok((Self { names, widths }, records))
    }

    /// What the rows to predict hold of the features: an array (rows, numbers).
    ///
    /// # Errors
    /// As [`feature_matrix`], and arrays of another length than those of training.
    pub(crate) fn matrix(&self, batch: &DataFrame) -> Result<Array2<f64>> {
        self.matrix_where(batch, Missing::Refused)
    }

    /// What `answer` makes of the rows to predict: an array (rows, `width`). It is given some of the rows at a time, with each column
    /// contiguous, and their part of the array.
    ///
    /// # Errors
    /// As [`Self::matrix`].
    pub(crate) fn answers(
        &self,
        batch: &DataFrame,
        width: usize,
        answer: impl Fn(ArrayView2<'_, f64>, ArrayViewMut2<'_, f64>) + Sync,
    ) -> Result<Array2<f64>> {
        let mut answers = Array2::zeros((batch.height(), width).f());
        let mut parts: Vec<_> = answers.axis_chunks_iter_mut(Axis(0), TURNED).collect();
        if let Some(columns) = self.plain(batch) {
            let columns = slices(&columns);
            let room = || vec![0.0; TURNED * columns.len()];
            let has_gap = AtomicBool::new(false);
            let of_part =
                |room: &mut Vec<f64>, (part, answers): (usize, &mut ArrayViewMut2<'_, f64>)| {
                    let (start, rows) = (part * TURNED, answers.nrows());
                    let room = &mut room[..rows * columns.len()];
                    let mut is_finite = true;
                    for (copy, column) in room.chunks_exact_mut(rows).zip(&columns) {
                        let column = &column[start..start + rows];
                        copy.copy_from_slice(column);
                        is_finite &= column.iter().all(|value| value.is_finite());
                    }
                    match ArrayView2::from_shape((rows, columns.len()).f(), room) {
                        Ok(records) if is_finite => answer(records, answers.view_mut()),
                        _ => has_gap.store(true, Ordering::Relaxed),
                    }
                };
            parts
                .par_iter_mut()
                .enumerate()
                .for_each_init(room, |room, part| of_part(room, part));
            if !has_gap.into_inner() {
                return Ok(answers);
            }
            parts = answers.axis_chunks_iter_mut(Axis(0), TURNED).collect();
        }
        let records = self.matrix(batch)?;
        records
            .axis_chunks_iter(Axis(0), TURNED)
            .into_par_iter()
            .zip(parts)
            .for_each(|(records, answers)| answer(records, answers));
        Ok(answers)
    }

    /// The features as 64-bit numbers, where each is a column of numbers without nulls.
    fn plain(&self, batch: &DataFrame) -> Option<Vec<Float64Chunked>> {
        let plain = |name: &String| {
            let column = batch.column(name).ok()?;
            if column.null_count() > 0 || !column.dtype().is_primitive_numeric() {
                return None;
            }
            let numbers = column.cast(&DataType::Float64).ok()?;
            Some(numbers.f64().ok()?.rechunk().into_owned())
        };
        match self.widths {
            None if !self.names.is_empty() => self.names.iter().map(plain).collect(),
            _ => None,
        }
    }

    /// As [`Self::matrix`], row after row, for models that square a row's distances from those of training.
    ///
    /// # Errors
    /// As [`Self::matrix`], and a number that is too large for that.
    pub(crate) fn squared_rows(&self, batch: &DataFrame) -> Result<Rows> {
        if let Some(columns) = self.plain(batch)
            && let Some(rows) = Rows::up_to(GREATEST_SQUARED, &slices(&columns))
        {
            return Ok(rows);
        }
        Ok(Rows::of(&self.squared_matrix(batch)?))
    }

    /// As [`Self::matrix`], for models that square a row's distances from those of training.
    ///
    /// # Errors
    /// As [`Self::matrix`], and a number that is too large for that.
    pub(crate) fn squared_matrix(&self, batch: &DataFrame) -> Result<Array2<f64>> {
        let records = self.matrix(batch)?;
        match self.too_large(&records) {
            None => Ok(records),
            Some((row, found)) => Err(Error::data(format!(
                "the features of row {} are too far outside of those of training to be weighed: {found}",
                row + 1
            ))),
        }
    }

    /// The row of a number that is too large to be squared, and what is found there.
    fn too_large(&self, records: &Array2<f64>) -> Option<(usize, String)> {
        let columns = records.columns().into_iter().enumerate();
        let first = columns.filter_map(|(number, column)| {
            let row = column
                .iter()
                .position(|value| value.abs() > GREATEST_SQUARED)?;
            Some((row, number))
        });
        first.min().map(|(row, number)| {
            let (name, value) = (self.name_of(number), records[[row, number]]);
            (row, format!("`{name}` holds {value:e}"))
        })
    }

    /// As [`Self::matrix`], for models that may allow missing values.
    pub(crate) fn matrix_where(&self, batch: &DataFrame, missing: Missing) -> Result<Array2<f64>> {
        let (records, found) = matrix_where(batch, &self.names, Purpose::Predict, missing)?;
        for (place, (feature, found)) in self.names.iter().zip(found).enumerate() {
            let known = self.width(place);
            if known != found {
                return Err(Error::data(format!(
                    "the feature `{feature}` gives {found} numbers a row, but the model learned from {known}"
                )));
            }
        }
        Ok(records)
    }

    /// As [`Self::matrix_where`], row after row.
    pub(crate) fn rows_where(&self, batch: &DataFrame, missing: Missing) -> Result<Rows> {
        if missing == Missing::Allowed
            && let Some(columns) = self.plain(batch)
        {
            return Ok(Rows::turned(&slices(&columns)));
        }
        Ok(Rows::of(&self.matrix_where(batch, missing)?))
    }

    /// How many numbers a row gives.
    pub(crate) fn numbers(&self) -> usize {
        match &self.widths {
            Some(widths) => widths.iter().sum(),
            None => self.names.len(),
        }
    }

    /// The feature that gives the number in that place of a row.
    pub(crate) fn name_of(&self, number: usize) -> &str {
        let mut end = 0;
        let name = self.names.iter().enumerate().find(|(place, _)| {
            end += self.width(*place);
            number < end
        });
        name.map_or("", |(_, name)| name)
    }

    fn width(&self, place: usize) -> usize {
        self.widths
            .as_ref()
            .and_then(|widths| widths.get(place).copied())
            .unwrap_or(1)
    }
}

fn slices(columns: &[Float64Chunked]) -> Vec<&[f64]> {
    // Such are made of one piece without nulls.
    columns
        .iter()
        .map(|column| column.cont_slice().unwrap_or_default())
        .collect()
}

/// Rows that are turned from columns at a time: so many of a few dozen columns fit into a core's cache.
const TURNED: usize = 512;

/// Numbers row after row, for what walks along rows.
pub(crate) struct Rows {
    numbers: Vec<f64>,
    width: usize,
    count: usize,
}

impl Rows {
    /// Those of records.
    pub(crate) fn of(records: &Array2<f64>) -> Self {
        let columns: Vec<_> = records.columns().into_iter().collect();
        let columns: Option<Vec<&[f64]>> = columns.iter().map(|column| column.to_slice()).collect();
        match columns {
            Some(columns) => Self::turned(&columns),
            // Row after row already.
            None => Self {
                numbers: records.iter().copied().collect(),
                width: records.ncols(),
                count: records.nrows(),
            },
        }
    }

    fn turned(columns: &[&[f64]]) -> Self {
        Self::tested(columns, |_| true).0
    }

    /// None, where a number is larger than that, or none.
    fn up_to(largest: f64, columns: &[&[f64]]) -> Option<Self> {
        let (rows, is_within) = Self::tested(columns, |value| value.abs() <= largest);
        is_within.then_some(rows)
    }

    /// Rows of these columns, and whether all numbers are as wanted.
    fn tested(columns: &[&[f64]], is_wanted: impl Fn(f64) -> bool + Sync) -> (Self, bool) {
        let (count, width) = (
            columns.first().map_or(0, |column| column.len()),
            columns.len(),
        );
        let mut numbers = vec![0.0; count * width];
        let all_wanted = numbers
            .par_chunks_mut((TURNED * width).max(1))
            .enumerate()
            .map(|(block, turned)| {
                let start = block * TURNED;
                let mut all_wanted = true;
                for (number, column) in columns.iter().enumerate() {
                    let column = &column[start..count.min(start + TURNED)];
                    for (place, value) in turned.iter_mut().skip(number).step_by(width).zip(column)
                    {
                        *place = *value;
                    }
                    all_wanted &= column.iter().all(|value| is_wanted(*value));
                }
                all_wanted
            })
            .reduce(|| true, |one, other| one && other);
        let rows = Self {
            numbers,
            width,
            count,
        };
        (rows, all_wanted)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Numbers of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn row(&self, row: usize) -> &[f64] {
        &self.numbers[row * self.width..(row + 1) * self.width]
    }
}

/// A tensor of finite f64 numbers of this shape.
pub(crate) fn numbers(tensor: &Tensor, shape: &[usize]) -> Result<Vec<f64>> {
    match &tensor.data {
        TensorData::F64(values)
            if tensor.shape == shape && values.iter().all(|value| value.is_finite()) =>
        {
            Ok(values.clone())
        }
        _ => Err(Error::State(format!(
            "a tensor should hold finite f64 numbers of shape {shape:?}"
        ))),
    }
}

/// The state's tensor of that name as an array of finite numbers of this shape.
pub(crate) fn matrix(state: &State, name: &str, shape: [usize; 2]) -> Result<Array2<f64>> {
    Array2::from_shape_vec(shape, numbers(state.tensor(name)?, &shape)?)
        .map_err(|error| Error::State(error.to_string()))
}

/// The state with such a tensor, row by row.
pub(crate) fn with_matrix(state: State, name: &str, matrix: &Array2<f64>) -> State {
    let shape = vec![matrix.nrows(), matrix.ncols()];
    state.with_tensor(
        name,
        shape,
        TensorData::F64(matrix.iter().copied().collect()),
    )
}

/// What a frame is for; decides what a missing value's message says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Purpose {
    /// Training: how many rows have gaps.
    Fit,
    /// Prediction: which row has one.
    Predict,
}

/// What a value that is null or not a number means to a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Missing {
    /// It is an error.
    Refused,
    /// It is given as not a number; infinity is a number.
    Allowed,
}

/// Rows of a feature column that hold no finite number.
struct Gap<'a> {
    feature: &'a str,
    rows: usize,
    first: usize,
    /// Some of them hold a number that is not finite.
    has_odd: bool,
}

/// How many numbers a row of such a column gives: 1, or as many as its arrays hold; none where it holds no numbers.
pub(crate) fn width(dtype: &DataType) -> Option<usize> {
    match dtype {
        DataType::Boolean => Some(1),
        DataType::Array(inner, size) => Some(size * width(inner)?),
        other => other.is_primitive_numeric().then_some(1),
    }
}

/// The features as an array (rows, numbers), each column contiguous, and how many numbers each feature gives.
///
/// # Errors
/// A feature that is not there or holds no numbers, and values that are null, not a number or infinite: all such features in one message.
#[cfg(test)]
pub(crate) fn feature_matrix(
    frame: &DataFrame,
    features: &[String],
    purpose: Purpose,
) -> Result<(Array2<f64>, Vec<usize>)> {
    matrix_where(frame, features, purpose, Missing::Refused)
}

fn matrix_where(
    frame: &DataFrame,
    features: &[String],
    purpose: Purpose,
    missing: Missing,
) -> Result<(Array2<f64>, Vec<usize>)> {
    let rows = frame.height();
    let columns = features
        .iter()
        .map(|feature| numeric_column(frame, feature, purpose))
        .collect::<Result<Vec<_>>>()?;
    let widths: Vec<usize> = columns.iter().map(|(_, width)| *width).collect();
    let total: usize = widths.iter().sum();
    let mut values = vec![0.0; rows * total];
    let mut rest = values.as_mut_slice();
    let mut parts = Vec::with_capacity(columns.len());
    for width in &widths {
        let (part, behind) = rest.split_at_mut(rows * width);
        parts.push(part);
        rest = behind;
    }
    let gaps = parts
        .into_par_iter()
        .zip(columns.par_iter().zip(features))
        .map(|(part, ((column, _), feature))| match column.dtype() {
            DataType::Array(..) => copy_arrays(column, feature, part),
            _ => copy_column(column, feature, part),
        })
        .collect::<Result<Vec<_>>>()?;
    let gaps: Vec<Gap<'_>> = gaps.into_iter().flatten().collect();
    if missing == Missing::Refused && !gaps.is_empty() {
        return Err(describe(&gaps, rows, purpose));
    }
    let matrix = Array2::from_shape_vec((rows, total).f(), values)
        .map_err(|error| Error::Model(error.to_string()))?;
    Ok((matrix, widths))
}

/// The weights of the training rows, as linfa takes them, where a column has the role `weight`.
///
/// # Errors
/// A weight that is missing, negative or not finite, and weights that are all 0.
pub(crate) fn row_weights(train: &Frame) -> Result<Option<Array1<f32>>> {
    let weights = any_weights(train)?;
    let is_nothing = |weights: &Array1<f32>| weights.iter().all(|weight| *weight == 0.0);
    match weights {
        Some(weights) if !weights.is_empty() && is_nothing(&weights) => {
            Err(Error::data("every training row has the weight 0"))
        }
        weights => Ok(weights),
    }
}

/// As [`row_weights`], of rows of which none may count.
///
/// # Errors
/// A weight that is missing, negative or not finite.
pub(crate) fn any_weights(frame: &Frame) -> Result<Option<Array1<f32>>> {
    frame
        .schema
        .with_role(Role::Weight)
        .next()
        .map(|column| weights_of(frame.data.column(&column.name)?))
        .transpose()
}

fn weights_of(column: &Column) -> Result<Array1<f32>> {
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

/// The numbers to learn: the training rows' target.
///
/// # Errors
/// No target, one that holds no numbers, and a value that is null or not finite.
pub(crate) fn target_numbers(
    train: &Frame,
    target: Option<String>,
) -> Result<(String, Array1<f64>)> {
    let target = target.ok_or_else(|| Error::data("no column has the role `target`"))?;
    let column = train.data.column(&target)?;
    if !column.dtype().is_primitive_numeric() {
        return Err(Error::data(format!(
            "the target `{target}` is {}, not a number",
            type_name(column.dtype())
        )));
    }
    let mut values = vec![0.0; column.len()];
    if let Some(gap) = copy_column(column, &target, &mut values)? {
        return Err(Error::data(format!(
            "the target `{target}` is {} in {} of {}; leave such rows out above the model (`clean.filter`)",
            if gap.has_odd {
                "null, nan or infinite"
            } else {
                "null"
            },
            gap.rows,
            counted(column.len(), "training row")
        )));
    }
    Ok((target, Array1::from_vec(values)))
}

fn numeric_column<'a>(
    frame: &'a DataFrame,
    feature: &str,
    purpose: Purpose,
) -> Result<(&'a Column, usize)> {
    let column = frame.column(feature).map_err(|_| {
        Error::data(match purpose {
            Purpose::Fit => format!("the training rows have no column `{feature}`"),
            Purpose::Predict => {
                format!("the input has no column `{feature}`, which the model learned from")
            }
        })
    })?;
    match width(column.dtype()) {
        Some(width) => Ok((column, width)),
        None => Err(Error::data(format!(
            "the feature `{feature}` is {}, not a number",
            type_name(column.dtype())
        ))),
    }
}

/// Row by row in the arrays, column by column in `values`.
fn copy_arrays<'a>(
    column: &Column,
    feature: &'a str,
    values: &mut [f64],
) -> Result<Option<Gap<'a>>> {
    let rows = column.len();
    let width = values.len() / rows.max(1);
    let numbers = column
        .as_materialized_series()
        .rechunk()
        .get_leaf_array()
        .cast(&DataType::Float64)?;
    let numbers = numbers.f64()?;
    let mut is_gap: Vec<bool> = column
        .is_null()
        .iter()
        .map(|is_null| is_null == Some(true))
        .collect();
    let mut has_odd = false;
    for (place, number) in numbers.iter().enumerate() {
        let (row, item) = (place / width.max(1), place % width.max(1));
        has_odd |= number.is_some_and(|number| !number.is_finite());
        let number = number.unwrap_or(f64::NAN);
        is_gap[row] |= !number.is_finite();
        values[item * rows + row] = number;
    }
    let first = is_gap.iter().position(|is_gap| *is_gap);
    Ok(first.map(|first| Gap {
        feature,
        rows: is_gap.iter().filter(|is_gap| **is_gap).count(),
        first,
        has_odd,
    }))
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
        has_odd: numbers.iter().flatten().any(|value| !value.is_finite()),
    }))
}

fn describe(gaps: &[Gap<'_>], rows: usize, purpose: Purpose) -> Error {
    let places: Vec<String> = gaps
        .iter()
        .map(|gap| match purpose {
            Purpose::Fit => format!(
                "`{}` in {} of {}",
                gap.feature,
                gap.rows,
                counted(rows, "training row")
            ),
            Purpose::Predict => format!("`{}` in row {}", gap.feature, gap.first + 1),
        })
        .collect();
    let advice = match gaps.iter().find(|gap| gap.has_odd) {
        None => {
            "fill them above the model (`clean.fill_null`), or drop such rows (`clean.drop_nulls`)"
                .to_owned()
        }
        Some(Gap { feature, .. }) => format!(
            "make nan and infinity null above the model (`features.derive: {{{feature}: case when isnan({feature}) or abs({feature}) > 1e308 \
             then null else {feature} end}}`) and fill nulls (`clean.fill_null`), or leave such rows out (`clean.filter`)"
        ),
    };
    let found = if gaps.iter().any(|gap| gap.has_odd) {
        "null, nan or infinity"
    } else {
        "null"
    };
    Error::data(format!(
        "the model needs a number, but there is {found}: {}; {advice}",
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
        let (matrix, _) =
            feature_matrix(&frame, &names(&["night", "amount", "count"]), Purpose::Fit)
                .expect("a matrix");
        assert_eq!(matrix, ndarray::array![[1.0, 1.5, 3.0], [0.0, 2.5, 4.0]]);
    }

    /// Arrays of two numbers; where a row is none, its numbers are left out.
    fn pairs(name: &str, numbers: &[f32], rows: &[Option<u32>]) -> Column {
        let sides = [numbers.len() / 2, 2].map(|side| ReshapeDimension::new(side as i64));
        let arrays = Series::new(name.into(), numbers)
            .reshape_array(&sides)
            .expect("arrays");
        let places: IdxCa = rows.iter().copied().collect();
        arrays.take(&places).expect("rows").into_column()
    }

    #[test]
    fn arrays_give_as_many_numbers_as_they_hold() {
        let terms = pairs("terms", &[1.0, 2.0, 3.0, 4.0], &[Some(0), Some(1)]);
        let frame = df!("amount" => [0.5, 1.5], "last" => [7_i64, 8])
            .expect("a frame")
            .hstack(&[terms])
            .expect("columns");
        let features = names(&["amount", "terms", "last"]);
        let (matrix, widths) = feature_matrix(&frame, &features, Purpose::Fit).expect("a matrix");
        assert_eq!(widths, [1, 2, 1]);
        assert_eq!(
            matrix,
            ndarray::array![[0.5, 1.0, 2.0, 7.0], [1.5, 3.0, 4.0, 8.0]]
        );
        let none = frame.head(Some(0));
        let (matrix, _) = feature_matrix(&none, &features, Purpose::Predict).expect("no rows");
        assert_eq!(matrix.dim(), (0, 4));
    }

    #[test]
    fn a_gap_in_an_array_is_named() {
        let terms = pairs(
            "terms",
            &[1.0, 2.0, f32::NAN, 4.0],
            &[Some(0), None, Some(1)],
        );
        let frame = DataFrame::new(3, vec![terms]).expect("a frame");
        let error = feature_matrix(&frame, &names(&["terms"]), Purpose::Fit)
            .expect_err("gaps")
            .to_string();
        assert!(error.contains("`terms` in 2 of 3 training rows"), "{error}");
        let error = feature_matrix(&frame, &names(&["terms"]), Purpose::Predict)
            .expect_err("gaps")
            .to_string();
        assert!(error.contains("`terms` in row 2"), "{error}");
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
            message(Purpose::Fit).contains("{age: case when isnan(age) or"),
            "{}",
            message(Purpose::Fit)
        );
        let nulls = feature_matrix(&frame, &names(&["amount"]), Purpose::Fit)
            .expect_err("nulls")
            .to_string();
        assert_eq!(
            nulls,
            "the model needs a number, but there is null: `amount` in 2 of 3 training rows; fill them above the model \
             (`clean.fill_null`), or drop such rows (`clean.drop_nulls`)"
        );
        assert!(
            message(Purpose::Fit)
                .contains("`amount` in 2 of 3 training rows, `age` in 1 of 3 training rows")
        );
        assert!(message(Purpose::Predict).contains("`amount` in row 2, `age` in row 2"));
    }

    #[test]
    fn what_cannot_be_squared_is_named() {
        let frame =
            df!("size" => [1.0, 1e150, 2e150], "age" => [3.0, -1e300, 4.0], "last" => [5, 6, 7])
                .expect("a frame");
        let (features, _) = Features::fit(&frame, names(&["size", "age", "last"])).expect("finite");
        let error = Features::fit_squared(&frame, features.names.clone())
            .expect_err("a number too large")
            .to_string();
        assert_eq!(
            error,
            "`age` holds -1e300 in training row 2, and sums of such squares are beyond all numbers; scale or clip it above the model \
             (`clean.clip_outliers`)"
        );
        let error = features
            .squared_matrix(&frame.slice(2, 1))
            .expect_err("a number too large")
            .to_string();
        assert_eq!(
            error,
            "the features of row 1 are too far outside of those of training to be weighed: `size` holds 2e150"
        );
        assert!(features.squared_matrix(&frame.head(Some(1))).is_ok());
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
        assert!(weights_of(&Column::new("weight".into(), [1.0, -1.0])).is_err());
        assert_eq!(
            weights_of(&Column::new("weight".into(), [1, 2])).expect("weights"),
            ndarray::array![1.0, 2.0]
        );
    }
}
