//! Array columns made row by row: from other arrays, or from texts.

use polars::{
    lazy::dsl::col,
    prelude::{
        ChunkedArray, Column as PolarsColumn, DataType, Field, IdxCa, IdxSize, IntoColumn,
        IntoSeries, LazyFrame, PlSmallStr, PolarsNumericType, PolarsResult, ReshapeDimension,
        Series, polars_bail,
    },
};
use rayon::prelude::*;
use taktline_core::Schema;

use super::placement;

/// The type of arrays of this shape.
pub(super) fn array_type(item: DataType, shape: &[usize]) -> DataType {
    shape
        .iter()
        .rev()
        .fold(item, |inner, size| DataType::Array(Box::new(inner), *size))
}

/// The schema with an array column that is made of another; lineage stays. None where there is no such column.
pub(super) fn with_array(input: &Schema, from: &str, to: &str, dtype: &DataType) -> Option<Schema> {
    let made = placement::heir(to, dtype.clone(), [input.column(from)?]);
    let mut schema = input.clone();
    schema.set(made);
    Some(schema)
}

/// The frame with a column that `make` gives for `from`; it takes the place of a column of its name.
pub(super) fn with_made(
    frame: LazyFrame,
    from: &str,
    to: &str,
    dtype: DataType,
    make: impl Fn(&PolarsColumn) -> PolarsResult<PolarsColumn> + Send + Sync + 'static,
) -> LazyFrame {
    let made = col(from)
        // `apply`, not `map`: it sees the whole column, so that row numbers are the frame's.
        .apply(
            move |column| make(&column),
            move |_, field| Ok(Field::new(field.name().clone(), dtype.clone())),
        )
        .alias(to);
    frame.with_column(made)
}

/// A new array for each row of an array column, of `shape`; null stays null. `work` gets the numbers of the old array and
/// fills those of the new one, which are zero before.
///
/// # Errors
/// A missing number inside an array, and what `work` says of a row; both name column and row.
pub(super) fn map_arrays<I, O>(
    column: &PolarsColumn,
    shape: &[usize],
    work: impl Fn(&[I::Native], &mut [O::Native]) -> Result<(), String> + Sync,
) -> PolarsResult<PolarsColumn>
where
    I: PolarsNumericType,
    O: PolarsNumericType,
{
    let old_width: usize = taktline_core::Column::new("", column.dtype().clone())
        .array()
        .map_or(1, |(old, _)| old.iter().product());
    let present = presence(column);
    let kept = match present {
        Some(_) => column.drop_nulls(),
        None => column.clone(),
    };
    let numbers = kept
        .as_materialized_series()
        .rechunk()
        .get_leaf_array()
        .rechunk()
        .cast(&I::get_static_dtype())?;
    let numbers: &ChunkedArray<I> = numbers.as_ref().as_ref();
    if let Some(gap) = first_null(numbers) {
        polars_bail!(
            ComputeError: "`{}` lacks a number in row {}",
            column.name(), row_number(present.as_deref(), gap / old_width.max(1))
        );
    }
    let numbers = numbers.cont_slice()?;
    let width: usize = shape.iter().product();
    let mut made = vec![O::Native::default(); kept.len() * width];
    let failed = made
        .par_chunks_mut(width.max(1))
        .zip(numbers.par_chunks(old_width.max(1)))
        .enumerate()
        .filter_map(|(row, (new, old))| Some((row, work(old, new).err()?)))
        .min_by_key(|(row, _)| *row);
    refuse(column, present.as_deref(), failed)?;
    assemble::<O>(
        column.name().clone(),
        shape,
        made,
        present.as_deref(),
        column.len(),
    )
}

/// An array of `width` numbers for each row of a text column; null stays null. `work` fills the numbers, which are zero
/// before.
///
/// # Errors
/// The column holds no text.
pub(super) fn map_texts<O: PolarsNumericType>(
    column: &PolarsColumn,
    width: usize,
    work: impl Fn(&str, &mut [O::Native]) + Sync,
) -> PolarsResult<PolarsColumn> {
    let present = presence(column);
    let texts: Vec<&str> = column.str()?.iter().flatten().collect();
    let mut made = vec![O::Native::default(); texts.len() * width];
    made.par_chunks_mut(width.max(1))
        .zip(&texts)
        .for_each(|(row, text)| work(text, row));
    assemble::<O>(
        column.name().clone(),
        &[width],
        made,
        present.as_deref(),
        column.len(),
    )
}

/// Which rows hold something; none where all do.
fn presence(column: &PolarsColumn) -> Option<Vec<bool>> {
    (column.null_count() > 0).then(|| {
        column
            .is_not_null()
            .iter()
            .map(|is_present| is_present == Some(true))
            .collect()
    })
}

fn first_null<T: PolarsNumericType>(numbers: &ChunkedArray<T>) -> Option<usize> {
    if numbers.null_count() == 0 {
        return None;
    }
    numbers.iter().position(|number| number.is_none())
}

/// The number, from 1, of the row that is the `place`-th of those that hold something.
fn row_number(present: Option<&[bool]>, place: usize) -> usize {
    match present {
        None => place + 1,
        Some(present) => {
            let mut rows = present
                .iter()
                .enumerate()
                .filter(|(_, is_present)| **is_present);
            rows.nth(place).map_or(place, |(row, _)| row) + 1
        }
    }
}

fn refuse(
    column: &PolarsColumn,
    present: Option<&[bool]>,
    failed: Option<(usize, String)>,
) -> PolarsResult<()> {
    let Some((place, reason)) = failed else {
        return Ok(());
    };
    polars_bail!(
        ComputeError: "`{}` in row {}: {reason}",
        column.name(), row_number(present, place)
    )
}

/// An array column of the numbers of the rows that are present.
pub(super) fn assemble<T: PolarsNumericType>(
    name: PlSmallStr,
    shape: &[usize],
    numbers: Vec<T::Native>,
    present: Option<&[bool]>,
    rows: usize,
) -> PolarsResult<PolarsColumn> {
    let dtype = array_type(T::get_static_dtype(), shape);
    let filled = present.map_or(rows, |present| present.iter().filter(|is| **is).count());
    if filled == 0 {
        return Ok(Series::full_null(name, rows, &dtype).into_column());
    }
    let dimensions: Vec<ReshapeDimension> = std::iter::once(&filled)
        .chain(shape)
        .map(|size| ReshapeDimension::new(*size as i64))
        .collect();
    let arrays = ChunkedArray::<T>::from_vec(name, numbers)
        .into_series()
        .reshape_array(&dimensions)?;
    let Some(present) = present else {
        return Ok(arrays.into_column());
    };
    let mut next: IdxSize = 0;
    let places: IdxCa = present
        .iter()
        .map(|is_present| {
            let place = is_present.then_some(next);
            next += IdxSize::from(*is_present);
            place
        })
        .collect();
    Ok(arrays.take(&places)?.into_column())
}

#[cfg(test)]
mod tests {
    use polars::prelude::{Float32Type, UInt8Type};

    use super::*;

    fn pairs(numbers: &[f32], present: Option<&[bool]>, rows: usize) -> PolarsColumn {
        assemble::<Float32Type>("a".into(), &[2], numbers.to_vec(), present, rows).expect("arrays")
    }

    #[test]
    fn null_rows_stay_null_in_their_place() {
        let column = pairs(&[1.0, 2.0, 3.0, 4.0], Some(&[false, true, false, true]), 4);
        let sums = map_arrays::<Float32Type, UInt8Type>(&column, &[1, 1], |old, new| {
            new[0] = (old[0] + old[1]) as u8;
            Ok(())
        })
        .expect("sums");
        assert_eq!(sums.dtype(), &array_type(DataType::UInt8, &[1, 1]));
        let expected = assemble::<UInt8Type>(
            "a".into(),
            &[1, 1],
            vec![3, 7],
            Some(&[false, true, false, true]),
            4,
        )
        .expect("arrays");
        assert!(sums.equals_missing(&expected), "{sums:?}");
        assert_eq!(sums.null_count(), 2);
    }

    #[test]
    fn empty_and_all_null_columns_keep_their_type() {
        for (present, rows) in [(None, 0), (Some(&[false, false][..]), 2)] {
            let column = pairs(&[], present, rows);
            let made = map_arrays::<Float32Type, Float32Type>(&column, &[3], |_, _| Ok(()))
                .expect("nothing to do");
            assert_eq!(made.len(), rows);
            assert_eq!(made.null_count(), rows);
            assert_eq!(made.dtype(), &array_type(DataType::Float32, &[3]));
        }
    }

    #[test]
    fn the_first_row_that_fails_is_named_by_its_place_in_the_frame() {
        let column = pairs(
            &[1.0, 2.0, -1.0, 4.0, -2.0, 0.0],
            Some(&[true, false, true, true]),
            4,
        );
        let error =
            map_arrays::<Float32Type, Float32Type>(&column, &[1], |old, _| match old[0] < 0.0 {
                true => Err(format!("{} is negative", old[0])),
                false => Ok(()),
            })
            .expect_err("negative numbers")
            .to_string();
        assert!(error.contains("`a` in row 3: -1 is negative"), "{error}");
    }

    #[test]
    fn a_slice_of_a_column_is_read_from_its_own_start() {
        let column = pairs(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], None, 3).slice(1, 2);
        let made = map_arrays::<Float32Type, Float32Type>(&column, &[1], |old, new| {
            new[0] = old[0];
            Ok(())
        })
        .expect("numbers");
        let leaf = made.as_materialized_series().get_leaf_array();
        assert_eq!(
            leaf.f32().expect("numbers").to_vec(),
            [Some(3.0), Some(5.0)]
        );
    }
}
