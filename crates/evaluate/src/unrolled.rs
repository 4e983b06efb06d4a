//! Answers that are lists, one for each row: every number of them is judged by itself.

use polars::prelude::{
    Column as PolarsColumn, DataType, ExplodeOptions, IdxCa, IdxSize, NamedFrom,
};
use taktline_core::{
    Error, Frame, Result, Schema,
    classifier::PREDICTION,
    regressor::{LOWER, UPPER},
};

use crate::judged::target_name;

/// The column that says which row a number comes from: numbers of one row are no independent observations.
pub(crate) const ROW: &str = "row of the list";

/// How many numbers the lists have, where target and prediction both are lists.
pub(crate) fn width(schema: &Schema) -> Option<usize> {
    let length = |name: &str| match &schema.column(name)?.dtype {
        DataType::Array(item, length) if item.is_primitive_numeric() => Some(*length),
        _ => None,
    };
    let target = length(&target_name(schema)?)?;
    (length(PREDICTION) == Some(target)).then_some(target)
}

/// A row for each number, those of a row one after the other; none where the answers are no lists.
pub(crate) fn unrolled(frame: &Frame) -> Result<Option<Frame>> {
    let Some(width) = width(&frame.schema) else {
        return Ok(None);
    };
    let mut schema = frame.schema.clone();
    let rows = frame.data.height();
    let each: Vec<IdxSize> = (0..rows * width)
        .map(|at| (at / width) as IdxSize)
        .collect();
    let mut data = frame.data.take(&IdxCa::new("".into(), &each))?;
    data.with_column(PolarsColumn::new(ROW.into(), each))?;
    let target = target_name(&frame.schema).unwrap_or_default();
    for name in [target.as_str(), PREDICTION, LOWER, UPPER] {
        let Ok(lists) = frame.data.column(name) else {
            continue;
        };
        if let Some(row) = lists
            .is_null()
            .iter()
            .position(|is_null| is_null == Some(true))
        {
            return Err(Error::data(format!(
                "`{name}` holds no list in row {}",
                row + 1
            )));
        }
        let numbers = lists.explode(ExplodeOptions {
            empty_as_null: true,
            keep_nulls: true,
        })?;
        data.with_column(numbers.cast(&DataType::Float64)?)?;
        if let Some(column) = schema.column_mut(name) {
            column.dtype = DataType::Float64;
        }
    }
    Ok(Some(Frame { data, schema }))
}
