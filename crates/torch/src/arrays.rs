//! From columns of a frame to rows of 32-bit floats, as libtorch wants them.

use std::ops::Deref;

use polars::prelude::{
    Column, DataFrame, DataType, IntoColumn, NamedFrom, ReshapeDimension, Series,
};
use polars_arrow::array::{FixedSizeListArray, PrimitiveArray};
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column as SchemaColumn, Error, ParamPath, Problem, Result, Role, Schema,
    classifier::unknown_column, counted, path, type_name,
};

/// The one array column that a network reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The column that the spec names under `input`.
    pub(crate) named: Option<&'a str>,
    /// "image", "sequence".
    pub(crate) what: &'static str,
    /// Where such columns come from.
    pub(crate) source: &'static str,
}

impl Wanted<'_> {
    fn candidates<'a>(&self, input: &'a Schema, target: Option<&str>) -> Vec<&'a SchemaColumn> {
        input
            .with_role(Role::Feature)
            .filter(|column| column.array().is_some() && Some(column.name.as_str()) != target)
            .collect()
    }

    /// The column: what is named, or the only feature that holds arrays.
    pub(crate) fn find<'a>(
        &self,
        input: &'a Schema,
        target: Option<&str>,
    ) -> Option<&'a SchemaColumn> {
        match self.named {
            Some(name) => input.column(name),
            None => match self.candidates(input, target).as_slice() {
                [only] => Some(only),
                _ => None,
            },
        }
    }

    /// Where the spec says it.
    pub(crate) fn place(&self) -> ParamPath {
        match self.named {
            Some(_) => path!["input"],
            None => ParamPath::kind(),
        }
    }

    /// The column and the shape of its arrays, and every problem with them but their shape.
    pub(crate) fn check<'a>(
        &self,
        input: &'a Schema,
        target: Option<&str>,
        cx: &mut CheckContext<'_>,
    ) -> Option<(&'a SchemaColumn, Vec<usize>)> {
        let (what, place) = (self.what, self.place());
        let Some(column) = self.find(input, target) else {
            match self.named {
                Some(name) => cx.report(unknown_column(input, name, place)),
                None if input.incomplete => {}
                None => {
                    let found: Vec<String> = self
                        .candidates(input, target)
                        .iter()
                        .map(|column| format!("`{}`", column.name))
                        .collect();
                    let code = if what == "image" {
                        "no-image"
                    } else {
                        "no-array"
                    };
                    cx.report(match found.as_slice() {
                        [] => {
                            Problem::error(code, place, format!("no feature column holds {what}s"))
                                .help(self.source)
                        }
                        several => {
                            let message = format!("{} could all be the {what}", several.join(", "));
                            Problem::error(code, place, message)
                                .help("say which with `input: NAME`")
                        }
                    });
                }
            }
            return None;
        };
        let name = &column.name;
        let code = if what == "image" {
            "not-an-image"
        } else {
            "not-an-array"
        };
        let Some((shape, item)) = column.array() else {
            let message = format!(
                "`{name}` is {}, not {} {what}",
                type_name(&column.dtype),
                if what == "image" { "an" } else { "a" }
            );
            let other = self
                .candidates(input, target)
                .first()
                .map(|other| format!("did you mean `{}`?", other.name));
            cx.report(Problem::error(code, place, message).help_if(other));
            return None;
        };
        match item {
            DataType::Float32 | DataType::Float64 => {}
            DataType::UInt8 => cx.report(
                Problem::error(
                    "image-not-scaled",
                    place,
                    format!("`{name}` holds raw pixels from 0 to 255"),
                )
                .label(format!("it is {}", type_name(&column.dtype)))
                .help(format!(
                    "put `- features.image: {{column: {name}}}` above, which scales them to [0, 1]"
                )),
            ),
            other => cx.report(
                Problem::error(
                    code,
                    place,
                    format!(
                        "`{name}` holds {}, but a network needs 32-bit floats",
                        type_name(&other)
                    ),
                )
                .help("scale it to numbers in [0, 1] above the model"),
            ),
        }
        Some((column, shape))
    }
}

/// A column of arrays of so many numbers each, from the numbers of all rows.
pub(crate) fn array_column(name: &str, numbers: &[f64], length: usize) -> Result<Column> {
    let rows = numbers.len().checked_div(length).unwrap_or_default();
    let shape = [rows, length].map(|side| ReshapeDimension::new(side as i64));
    let series = Series::new(name.into(), numbers);
    Ok(series.reshape_array(&shape)?.into_column())
}

/// An image's height, width and channels; two sides mean one channel.
pub(crate) fn image_shape(shape: &[usize]) -> Option<Vec<usize>> {
    match shape {
        [height, width] => Some(vec![*height, *width, 1]),
        [_, _, _] => Some(shape.to_vec()),
        _ => None,
    }
}

/// The columns of a table that a network learns from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    /// Those that the spec names; else every feature that holds numbers.
    pub(crate) named: Option<&'a [String]>,
    /// The column that is learned, which is none of them.
    pub(crate) target: Option<&'a str>,
}

/// Whether a network takes this column as it is: numbers, truth values, arrays of real numbers.
fn is_learned(column: &SchemaColumn) -> bool {
    match column.array() {
        Some((_, item)) => matches!(item, DataType::Float32 | DataType::Float64),
        None => column.is_numeric(),
    }
}

impl Table<'_> {
    fn feature_columns<'a>(&'a self, input: &'a Schema) -> impl Iterator<Item = &'a SchemaColumn> {
        input
            .with_role(Role::Feature)
            .filter(|column| self.target != Some(column.name.as_str()))
    }

    /// What the network reads of each row.
    pub(crate) fn input(&self, input: &Schema) -> Input {
        let part = |column: &SchemaColumn| Part {
            column: column.name.clone(),
            shape: column.array().map(|(shape, _)| shape).unwrap_or_default(),
        };
        Input::of(match self.named {
            Some(features) => input
                .expand(features.iter().map(String::as_str))
                .into_iter()
                .map(|name| match input.column(&name) {
                    Some(column) => Part {
                        column: name,
                        ..part(column)
                    },
                    None => Part {
                        column: name,
                        shape: Vec::new(),
                    },
                })
                .collect(),
            None => self
                .feature_columns(input)
                .filter(|column| is_learned(column))
                .map(part)
                .collect(),
        })
    }

    /// Reports what cannot be learned from.
    pub(crate) fn check(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        let not_a_number = |column: &SchemaColumn, place: ParamPath| {
            let name = &column.name;
            match column.array() {
                Some((_, DataType::UInt8)) => Problem::error(
                    "image-not-scaled",
                    place,
                    format!("`{name}` holds raw pixels from 0 to 255"),
                )
                .help(format!(
                    "put `- features.image: {{column: {name}}}` above, which scales them to [0, 1]"
                )),
                _ => {
                    let message = format!(
                        "the feature `{name}` is {}, not a number",
                        type_name(&column.dtype)
                    );
                    Problem::error("not-numeric", place, message)
                        .help("encode it above the model (`features.one_hot`)")
                }
            }
        };
        let Some(features) = self.named else {
            let (arrays, others): (Vec<&SchemaColumn>, Vec<&SchemaColumn>) = self
                .feature_columns(input)
                .filter(|column| !is_learned(column))
                .partition(|column| column.array().is_some());
            for array in &arrays {
                cx.report(not_a_number(array, ParamPath::kind()));
            }
            if !others.is_empty() {
                let others: Vec<String> = others
                    .iter()
                    .map(|column| format!("`{}` ({})", column.name, type_name(&column.dtype)))
                    .collect();
                let message = format!("not numbers, so no features: {}", others.join(", "));
                cx.report(
                    Problem::error("not-numeric", ParamPath::kind(), message)
                        .label("learns from every column with role `feature`")
                        .help("encode them (`features.one_hot`), give them another role (`id`, `ignore`) under `columns:`, or list `features:`"),
                );
            } else if arrays.is_empty() && !input.incomplete && self.input(input).row_length() == 0
            {
                cx.report(Problem::error(
                    "no-features",
                    ParamPath::kind(),
                    "no column has the role `feature`",
                ));
            }
            return;
        };
        for (index, name) in features.iter().enumerate() {
            let place = path!["features", index];
            if features[..index].contains(name) {
                cx.report(Problem::error(
                    "duplicate",
                    place,
                    format!("the feature `{name}` is named twice"),
                ));
                continue;
            }
            match input.column(name) {
                None => cx.report(unknown_column(input, name, place)),
                Some(column) if is_learned(column) => {}
                Some(column) => cx.report(not_a_number(column, place)),
            }
        }
    }
}

/// What a network reads of each row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Input {
    /// An array column, each row of this shape.
    Array { column: String, shape: Vec<usize> },
    /// Numeric columns, in this order.
    Columns(Vec<String>),
    /// Numeric and array columns, in this order; the numbers of an array stand beside each other.
    Mixed(Vec<Part>),
}

/// A column that gives a part of each row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) column: String,
    /// Of its arrays; empty for plain numbers.
    pub(crate) shape: Vec<usize>,
}

impl Part {
    /// How many numbers of a row it gives.
    fn width(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The number of a column of numbers, as it is there.
fn own_number(frame: &DataFrame, column: &str, row: usize) -> Option<f64> {
    let column = frame.column(column).ok()?;
    if !column.dtype().is_primitive_numeric() {
        return None;
    }
    column.get(row).ok()?.extract::<f64>()
}

impl Input {
    /// What these columns give of each row.
    pub(crate) fn of(parts: Vec<Part>) -> Self {
        match <[Part; 1]>::try_from(parts) {
            Ok([Part { column, shape }]) if !shape.is_empty() => Self::Array { column, shape },
            Ok([Part { column, .. }]) => Self::Columns(vec![column]),
            Err(parts) if parts.iter().all(|part| part.shape.is_empty()) => {
                Self::Columns(parts.into_iter().map(|part| part.column).collect())
            }
            Err(parts) => Self::Mixed(parts),
        }
    }

    /// What each column gives.
    pub(crate) fn parts(self) -> Vec<Part> {
        match self {
            Self::Array { column, shape } => vec![Part { column, shape }],
            Self::Columns(columns) => columns
                .into_iter()
                .map(|column| Part {
                    column,
                    shape: Vec::new(),
                })
                .collect(),
            Self::Mixed(parts) => parts,
        }
    }

    /// The columns, in order.
    pub(crate) fn columns(&self) -> Vec<String> {
        match self {
            Self::Array { column, .. } => vec![column.clone()],
            Self::Columns(columns) => columns.clone(),
            Self::Mixed(parts) => parts.iter().map(|part| part.column.clone()).collect(),
        }
    }

    /// How many numbers a row has.
    pub(crate) fn row_length(&self) -> usize {
        match self {
            Self::Array { shape, .. } => shape.iter().product(),
            Self::Columns(columns) => columns.len(),
            Self::Mixed(parts) => parts.iter().map(Part::width).sum(),
        }
    }

    /// The column that gives this number of a row.
    fn column_of(&self, item: usize) -> &str {
        match self {
            Self::Array { column, .. } => column,
            Self::Columns(columns) => &columns[item],
            Self::Mixed(parts) => {
                let mut end = 0;
                let part = parts.iter().find(|part| {
                    end += part.width();
                    item < end
                });
                part.map_or("", |part| &part.column)
            }
        }
    }

    /// All rows of a frame, row after row. Every number is there and finite.
    pub(crate) fn rows(&self, frame: &DataFrame) -> Result<Rows> {
        let rows = match self {
            Self::Array { column, shape } => array_rows(frame.column(column)?, shape)?,
            Self::Columns(columns) => column_rows(frame, columns)?,
            Self::Mixed(parts) => mixed_rows(frame, parts, self.row_length())?,
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
            let column = self.column_of(item);
            let single = "; a network needs numbers that single precision can hold";
            return Err(Error::data(match own_number(frame, column, row) {
                Some(number) if number.is_finite() => format!(
                    "`{column}` is {number:e} in row {}{single} (up to 3e38)",
                    row + 1
                ),
                _ => format!(
                    "`{column}` is {} in row {}; a network needs numbers",
                    rows[place],
                    row + 1
                ),
            }));
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
        put_numbers(frame.column(name)?, &mut numbers, index, names.len())?;
    }
    Ok(Rows::Made(numbers))
}

fn mixed_rows(frame: &DataFrame, parts: &[Part], row_length: usize) -> Result<Rows> {
    let mut numbers = vec![0.0_f32; frame.height() * row_length];
    let mut start = 0;
    for part in parts {
        let column = frame.column(&part.column)?;
        let width = part.width();
        if part.shape.is_empty() {
            put_numbers(column, &mut numbers, start, row_length)?;
        } else if width > 0 {
            let rows = array_rows(column, &part.shape)?;
            for (row, given) in numbers
                .chunks_exact_mut(row_length)
                .zip(rows.chunks_exact(width))
            {
                row[start..start + width].copy_from_slice(given);
            }
        }
        start += width;
    }
    Ok(Rows::Made(numbers))
}

/// Puts a column's numbers into the rows, each at `start` in its row.
fn put_numbers(column: &Column, rows: &mut [f32], start: usize, row_length: usize) -> Result<()> {
    if column.null_count() > 0 {
        let first = column
            .is_null()
            .iter()
            .position(|is_null| is_null == Some(true))
            .unwrap_or_default();
        return Err(Error::data(format!(
            "`{}` is null in {} of {}, first in row {}; fill it with `clean.fill_null`, or drop the rows",
            column.name(),
            column.null_count(),
            counted(column.len(), "row"),
            first + 1
        )));
    }
    let floats = column.strict_cast(&DataType::Float32)?;
    let places = rows.iter_mut().skip(start).step_by(row_length);
    for (place, number) in places.zip(floats.f32()?.iter().flatten()) {
        *place = number;
    }
    Ok(())
}

#[cfg(test)]
mod tests {

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

    #[test]
    fn arrays_and_numbers_stand_beside_each_other() {
        let part = |column: &str, shape: &[usize]| Part {
            column: column.into(),
            shape: shape.to_vec(),
        };
        let mut frame = images((0_u8..8).map(f32::from).collect(), 2, 2);
        frame
            .with_column(Column::new("amount".into(), [10_i64, 20]))
            .expect("a column");
        frame
            .with_column(Column::new("weight".into(), [0.5, f64::NAN]))
            .expect("a column");
        let image = part("image", &[2, 2, 1]);
        let input = Input::of(vec![part("amount", &[]), image.clone()]);
        assert_eq!(input.row_length(), 5);
        assert_eq!(
            &*input.rows(&frame).expect("rows"),
            &[10.0, 0.0, 1.0, 2.0, 3.0, 20.0, 4.0, 5.0, 6.0, 7.0]
        );
        let none = frame.head(Some(0));
        assert!(input.rows(&none).expect("no rows").is_empty());
        let odd = Input::of(vec![
            image.clone(),
            part("weight", &[]),
            part("amount", &[]),
        ]);
        let error = odd.rows(&frame).expect_err("NaN").to_string();
        assert!(error.contains("`weight` is NaN in row 2"), "{error}");
        assert!(matches!(Input::of(vec![image]), Input::Array { .. }));
        let numbers = Input::of(vec![part("amount", &[]), part("weight", &[])]);
        assert!(matches!(numbers, Input::Columns(_)));
    }
}
