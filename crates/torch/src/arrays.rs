//! From columns of a frame to rows of 32-bit floats, as libtorch wants them.

use std::ops::Deref;

use polars::prelude::{Column, DataFrame, DataType};
use polars_arrow::array::{FixedSizeListArray, PrimitiveArray};
use serde::{Deserialize, Serialize};
use taktline_core::{Error, Result, type_name};

/// What a network reads of each row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Input {
    /// An array column, each row of this shape.
    Array { column: String, shape: Vec<usize> },
    /// Numeric columns, in this order.
    Columns(Vec<String>),
}

impl Input {
    /// How many numbers a row has.
    pub(crate) fn row_length(&self) -> usize {
        match self {
            Self::Array { shape, .. } => shape.iter().product(),
            Self::Columns(columns) => columns.len(),
        }
    }

    /// All rows of a frame, row after row. Every number is there and finite.
    pub(crate) fn rows(&self, frame: &DataFrame) -> Result<Rows> {
        let rows = match self {
            Self::Array { column, shape } => array_rows(frame.column(column)?, shape)?,
            Self::Columns(columns) => column_rows(frame, columns)?,
        };
        // Outside the normal case nothing is looked up: one pass that the compiler turns into wide instructions.
        if !rows
            .iter()
            .fold(true, |finite, number| finite & number.is_finite())
        {
            let place = rows
                .iter()
                .position(|number| !number.is_finite())
                .unwrap_or_default();
            let (row, item) = (
                place / self.row_length().max(1),
                place % self.row_length().max(1),
            );
            let column = match self {
                Self::Array { column, .. } => column,
                Self::Columns(columns) => &columns[item],
            };
            return Err(Error::data(format!(
                "`{column}` is {} in row {}; a network needs numbers",
                rows[place],
                row + 1
            )));
        }
        Ok(rows)
    }
}

/// Numbers in the frame's own memory, or made from it.
#[derive(Debug)]
pub(crate) enum Rows {
    /// Shared with the frame.
    Shared(PrimitiveArray<f32>),
    /// Put together from columns, or converted.
    Made(Vec<f32>),
}

impl Deref for Rows {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Shared(array) => array.values(),
            Self::Made(numbers) => numbers,
        }
    }
}

fn array_rows(column: &Column, shape: &[usize]) -> Result<Rows> {
    let described = taktline_core::Column::new(column.name().as_str(), column.dtype().clone());
    let item = match described.array() {
        Some((own, item)) if own == shape => item,
        _ => {
            let wanted = shape
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            return Err(Error::data(format!(
                "`{}` is {}, but the network was made for array[{wanted}]",
                column.name(),
                type_name(column.dtype())
            )));
        }
    };
    let wanted = shape.iter().rev().fold(DataType::Float32, |item, side| {
        DataType::Array(Box::new(item), *side)
    });
    let floats = match item {
        DataType::Float32 => column.clone(),
        DataType::Float64 => column.cast(&wanted)?,
        other => {
            return Err(Error::data(format!(
                "`{}` holds {} numbers; scale them to f32 with `features.image` first",
                column.name(),
                type_name(&other)
            )));
        }
    };
    let series = floats.as_materialized_series().rechunk();
    let Some(mut level) = series
        .array()?
        .downcast_iter()
        .next()
        .map(|chunk| chunk.clone().boxed())
    else {
        return Ok(Rows::Made(Vec::new()));
    };
    let rows = level.len();
    loop {
        if let Some(validity) = level
            .validity()
            .filter(|validity| validity.unset_bits() > 0)
        {
            let place = validity
                .iter()
                .position(|is_set| !is_set)
                .unwrap_or_default();
            let row = place / (level.len() / rows.max(1)).max(1);
            return Err(Error::data(format!(
                "`{}` is null in row {}",
                column.name(),
                row + 1
            )));
        }
        let inner = match level.as_any().downcast_ref::<FixedSizeListArray>() {
            Some(list) => list.values().clone(),
            None => break,
        };
        level = inner;
    }
    match level.as_any().downcast_ref::<PrimitiveArray<f32>>() {
        Some(numbers) => Ok(Rows::Shared(numbers.clone())),
        None => Err(Error::data(format!(
            "`{}` does not hold 32-bit floats",
            column.name()
        ))),
    }
}

fn column_rows(frame: &DataFrame, names: &[String]) -> Result<Rows> {
    let mut numbers = vec![0.0_f32; frame.height() * names.len()];
    for (index, name) in names.iter().enumerate() {
        let column = frame.column(name)?;
        if column.null_count() > 0 {
            let first = column
                .is_null()
                .iter()
                .position(|is_null| is_null == Some(true))
                .unwrap_or_default();
            return Err(Error::data(format!(
                "`{name}` is null in {} of {} rows, first in row {}; fill it with `clean.fill_nulls`, or drop the rows",
                column.null_count(),
                column.len(),
                first + 1
            )));
        }
        let floats = column.strict_cast(&DataType::Float32)?;
        let places = numbers.iter_mut().skip(index).step_by(names.len());
        for (place, number) in places.zip(floats.f32()?.iter().flatten()) {
            *place = number;
        }
    }
    Ok(Rows::Made(numbers))
}

#[cfg(test)]
mod tests {
    use polars::prelude::{IntoColumn, NamedFrom, ReshapeDimension, Series};

    use super::*;

    pub(crate) fn images(numbers: Vec<f32>, height: usize, width: usize) -> DataFrame {
        let rows = numbers.len() / (height * width);
        let flat = Series::new("image".into(), numbers);
        let dimensions: Vec<_> = [rows, height, width, 1]
            .iter()
            .map(|side| ReshapeDimension::new(*side as i64))
            .collect();
        let column = flat
            .reshape_array(&dimensions)
            .expect("shape")
            .into_column();
        DataFrame::new(rows, vec![column]).expect("frame")
    }

    fn input() -> Input {
        Input::Array {
            column: "image".into(),
            shape: vec![2, 2, 1],
        }
    }

    #[test]
    fn images_are_shared_with_the_frame() {
        let frame = images((0_u8..12).map(f32::from).collect(), 2, 2);
        let rows = input().rows(&frame).expect("rows");
        assert!(matches!(rows, Rows::Shared(_)));
        assert_eq!(rows.len(), 12);
        assert_eq!(rows[5], 5.0);
        let last = input().rows(&frame.slice(2, 1)).expect("rows");
        assert_eq!(&*last, &[8.0, 9.0, 10.0, 11.0]);
    }

    #[test]
    fn chunks_are_joined() {
        let frame = images(vec![0.0; 4], 2, 2);
        let both = frame.vstack(&images(vec![1.0; 4], 2, 2)).expect("stacked");
        assert_eq!(
            &*input().rows(&both).expect("rows"),
            &[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
        );
    }

    #[test]
    fn names_the_row_of_a_number_that_is_none() {
        let mut numbers = vec![0.0; 12];
        numbers[9] = f32::NAN;
        let error = input()
            .rows(&images(numbers, 2, 2))
            .expect_err("NaN")
            .to_string();
        assert!(error.contains("`image` is NaN in row 3"), "{error}");
    }

    #[test]
    fn columns_become_rows() {
        let frame = DataFrame::new(
            2,
            vec![
                Column::new("amount".into(), [1.5, 2.5]),
                Column::new("is_new".into(), [true, false]),
            ],
        )
        .expect("frame");
        let input = Input::Columns(vec!["is_new".into(), "amount".into()]);
        assert_eq!(&*input.rows(&frame).expect("rows"), &[1.0, 1.5, 0.0, 2.5]);
        let missing = DataFrame::new(2, vec![Column::new("amount".into(), [Some(1.0), None])])
            .expect("frame");
        let error = Input::Columns(vec!["amount".into()])
            .rows(&missing)
            .expect_err("null")
            .to_string();
        assert!(
            error.contains("null in 1 of 2 rows, first in row 2"),
            "{error}"
        );
    }
}
