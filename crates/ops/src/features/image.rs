//! `features.image`.

use std::sync::Arc;

use polars::prelude::{DataType, Float32Type, PolarsResult, UInt8Type};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Expression, Local, Operation, Problem, Relational, Result, Schema, Shape,
    Stage, output_schema, path, register_kind,
};

use super::{
    arrays,
    pixel_scale::Scale,
    reshaping::{Crop, Reshaping, Resize, Size, Wanted},
};
use crate::columns;

/// Turn an image's bytes into real numbers that a network can learn from.
///
/// The raw column holds bytes, 0 to 255, as an array of height × width × channels; the scaled one holds 32-bit real numbers.
/// First colour turns grey, then the image is resized, then its middle cut out, then the numbers are scaled; each only
/// where a param says so, but for the scale. The new size is known before the run. Null stays null.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Image {
    /// The image column.
    #[serde(default = "image_column")]
    column: String,
    /// Turn three channels of colour into one: 0.2126 red + 0.7152 green + 0.0722 blue (ITU-R BT.709).
    #[serde(default)]
    grey: bool,
    /// The size that images get.
    resize: Option<Resize>,
    /// The size of the middle part that stays, after resizing; the rest is cut off. Of an odd margin the larger part is
    /// cut off at the end.
    crop: Option<Crop>,
    /// The range of the numbers: `unit` for 0 to 1, `none` for 0 to 255, or mean and standard deviation of the pixels.
    #[serde(default)]
    scale: Scale,
}

fn image_column() -> String {
    "image".to_owned()
}

register_kind! {
    Image, "features.image", version: 1,
    example: "- features.image: {column: image, resize: {height: 64, width: 64}, scale: unit}",
}

impl Image {
    fn wanted(&self) -> Wanted {
        Wanted {
            grey: self.grey,
            resize: self.resize,
            crop: self.crop,
        }
    }

    fn operations(&self, input: &Schema, reshaping: Option<Reshaping>) -> Vec<Operation> {
        let mut operations = Vec::new();
        let mut schema = input.clone();
        if let Some(reshaping) = reshaping {
            let shape = reshaping.new.shape();
            operations.push(self.local(
                "resize, crop, turn grey",
                &mut schema,
                arrays::array_type(DataType::UInt8, &shape),
                move |column| {
                    arrays::map_arrays::<UInt8Type, UInt8Type>(column, &shape, |old, new| {
                        reshaping.apply(old, new)
                    })
                },
            ));
        }
        if !self.scale.differs_by_channel() {
            let (factor, offset) = self.scale.factor_and_offset(0);
            let operand = Box::new(Expression::column(&self.column));
            operations.push(Operation::With(vec![(
                self.column.clone(),
                Expression::ScaleArray {
                    operand,
                    factor,
                    offset,
                },
            )]));
            return operations;
        }
        let shape = schema
            .column(&self.column)
            .and_then(Column::array)
            .map(|(shape, _)| shape)
            .unwrap_or_default();
        let channels = shape.last().copied().unwrap_or(1);
        let scales: Vec<(f32, f32)> = (0..channels)
            .map(|channel| {
                let (factor, offset) = self.scale.factor_and_offset(channel);
                (factor as f32, offset as f32)
            })
            .collect();
        operations.push(self.local(
            "scale each channel",
            &mut schema,
            arrays::array_type(DataType::Float32, &shape),
            move |column| {
                arrays::map_arrays::<UInt8Type, Float32Type>(column, &shape, |old, new| {
                    for ((new, old), (factor, offset)) in
                        new.iter_mut().zip(old).zip(scales.iter().cycle())
                    {
                        *new = f32::from(*old) * factor + offset;
                    }
                    Ok(())
                })
            },
        ));
        operations
    }

    /// Work on whole images has no relational form: an engine knows arrays as columns of numbers.
    fn local(
        &self,
        name: &'static str,
        schema: &mut Schema,
        dtype: DataType,
        make: impl Fn(&polars::prelude::Column) -> PolarsResult<polars::prelude::Column>
        + Send
        + Sync
        + 'static,
    ) -> Operation {
        if let Some(column) = schema.column_mut(&self.column) {
            column.dtype = dtype.clone();
        }
        let column = self.column.clone();
        let make = Arc::new(make);
        Operation::Local(Local {
            name,
            reads: [column.clone()].into(),
            keeps_rows: true,
            schema: schema.clone(),
            apply: Arc::new(move |frame| {
                let make = Arc::clone(&make);
                Ok(arrays::with_made(
                    frame,
                    &column,
                    &column,
                    dtype.clone(),
                    move |column| make(column),
                ))
            }),
        })
    }
}

impl Stage for Image {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let Some(column) = columns::find(input, &self.column, path!["column"], cx) else {
            self.scale.check(None, cx);
            return input.clone();
        };
        match column.array() {
            Some((_, DataType::UInt8)) => {}
            Some((_, DataType::Float32)) => {
                cx.report(
                    Problem::error(
                        "type-mismatch",
                        path!["column"],
                        format!(
                            "stage `{}` scales `{}`, which is scaled already",
                            cx.stage, self.column
                        ),
                    )
                    .label("holds 32-bit real numbers"),
                );
                return input.clone();
            }
            _ => {
                columns::report_type(column, "images of bytes", path!["column"], cx);
                return input.clone();
            }
        }
        let mut reshaping = None;
        if self.wanted().is_any() || self.scale.differs_by_channel() {
            let Some(size) = Size::of(column) else {
                columns::report_type(
                    column,
                    "images of height, width and channels",
                    path!["column"],
                    cx,
                );
                return input.clone();
            };
            if self.wanted().is_any() {
                reshaping = Reshaping::of(&self.column, self.wanted(), size, |place, message| {
                    cx.report(Problem::error("image-size", place, message));
                });
            }
            let channels = if self.grey { 1 } else { size.channels };
            self.scale.check(Some(channels as usize), cx);
        } else {
            self.scale.check(None, cx);
        }
        output_schema(&self.operations(input, reshaping), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Image {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        // Scoring brings only what the model needs.
        let Some(column) = input.column(&self.column) else {
            return Ok(Vec::new());
        };
        let reshaping = match self.wanted().is_any() {
            true => Size::of(column)
                .and_then(|size| Reshaping::of(&self.column, self.wanted(), size, |_, _| {})),
            false => None,
        };
        Ok(self.operations(input, reshaping))
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataFrame;

    use super::*;
    use crate::{
        columns::testing::{codes, passes, refuses, schema, stage},
        testing::applied,
    };

    fn array(item: DataType) -> DataType {
        let row = DataType::Array(Box::new(DataType::Array(Box::new(item), 1)), 28);
        DataType::Array(Box::new(row), 28)
    }

    #[test]
    fn bytes_become_real_numbers_in_the_same_shape() {
        let input = schema([("image", array(DataType::UInt8))]);
        assert_eq!(
            passes(&stage::<Image>("{}"), &input).columns[0].dtype,
            array(DataType::Float32)
        );
    }

    #[test]
    fn scales_are_what_they_say() {
        let scaled = |params: &str, byte: f64| {
            let (factor, offset) = stage::<Image>(params).scale.factor_and_offset(0);
            byte * factor + offset
        };
        assert!((scaled("{scale: unit}", 255.0) - 1.0).abs() < 1e-12);
        assert!((scaled("{scale: none}", 255.0) - 255.0).abs() < 1e-12);
        // A pixel at the mean becomes 0, one a standard deviation above it becomes 1.
        assert!(scaled("{scale: {mean: 0.4, std: 0.2}}", 0.4 * 255.0).abs() < 1e-12);
        assert!((scaled("{scale: {mean: 0.4, std: 0.2}}", 0.6 * 255.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn refuses_what_is_no_raw_image() {
        let input = schema([
            ("image", array(DataType::Float32)),
            ("kind", DataType::String),
        ]);
        assert_eq!(codes(&stage::<Image>("{}"), &input), ["type-mismatch"]);
        assert_eq!(
            codes(&stage::<Image>("{column: kind}"), &input),
            ["type-mismatch"]
        );
        assert_eq!(
            codes(&stage::<Image>("{column: picture}"), &input),
            ["unknown-column"]
        );
    }

    /// Images of 2 × 4 pixels with three channels: the first counts up, the second is null.
    fn pictures() -> DataFrame {
        let pixels: Vec<u8> = (0..24).map(|byte| byte * 10).collect();
        let images = arrays::assemble::<UInt8Type>(
            "image".into(),
            &[2, 4, 3],
            pixels,
            Some(&[true, false]),
            2,
        )
        .expect("images");
        DataFrame::new(2, vec![images]).expect("a frame")
    }

    fn numbers(params: &str) -> Vec<f32> {
        let rows = applied(&stage::<Image>(params), &[pictures()]).expect("rows");
        let column = rows.column("image").expect("there");
        assert_eq!(column.null_count(), 1);
        let leaf = column
            .drop_nulls()
            .as_materialized_series()
            .get_leaf_array();
        leaf.f32().expect("numbers").into_no_null_iter().collect()
    }

    #[test]
    fn the_middle_is_cut_out() {
        assert_eq!(
            numbers("{crop: {width: 2, height: 1}, scale: none}"),
            [30.0, 40.0, 50.0, 60.0, 70.0, 80.0]
        );
    }

    #[test]
    fn colour_turns_grey_by_luma() {
        let grey = numbers("{grey: true, crop: {width: 1, height: 1}, scale: none}");
        // Of red 30, green 40, blue 50: 0.2126 · 30 + 0.7152 · 40 + 0.0722 · 50 = 38.6.
        assert!((grey[0] - 38.6).abs() <= 1.0, "{grey:?}");
        assert_eq!(grey.len(), 1);
    }

    #[test]
    fn resizing_averages_and_keeps_proportions() {
        let input = schema([("image", arrays::array_type(DataType::UInt8, &[2, 4, 3]))]);
        let shape = |params: &str| {
            let output = passes(&stage::<Image>(params), &input);
            output.columns[0].array().expect("an array").0
        };
        assert_eq!(shape("{resize: {width: 2}}"), [1, 2, 3]);
        assert_eq!(shape("{resize: {height: 3}, grey: true}"), [3, 6, 1]);
        assert_eq!(
            shape("{resize: {width: 8, height: 8}, crop: {width: 5, height: 3}}"),
            [3, 5, 3]
        );
        // The nearest pixel of the upper left quarter; a triangle over all of them.
        assert_eq!(
            numbers("{resize: {width: 4, height: 2, filter: nearest}, scale: none}").len(),
            24
        );
        let mean = numbers("{resize: {width: 1, height: 1}, scale: none}");
        for (channel, value) in mean.iter().enumerate() {
            // The mean of each channel, by symmetry of the ramp.
            let expected = 105.0 + 10.0 * channel as f32;
            assert!((value - expected).abs() <= 1.0, "{mean:?}");
        }
    }

    #[test]
    fn each_channel_has_its_own_scale() {
        let scaled = numbers(
            "{crop: {width: 1, height: 1}, scale: {mean: [0.1, 0.2, 0.0], std: [0.5, 0.25, 1.0]}}",
        );
        let expected = [
            (30.0 / 255.0 - 0.1) / 0.5,
            (40.0 / 255.0 - 0.2) / 0.25,
            50.0 / 255.0,
        ];
        for (value, expected) in scaled.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{scaled:?}");
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let input = schema([
            ("image", arrays::array_type(DataType::UInt8, &[2, 4, 1])),
            ("row", arrays::array_type(DataType::UInt8, &[8])),
        ]);
        assert_eq!(
            refuses(
                &stage::<Image>("{grey: true, crop: {width: 5, height: 2}, resize: {height: 2}}"),
                &input
            ),
            [
                ("image-size", "`image` is grey already".to_owned()),
                (
                    "image-size",
                    "the images have a width of 4, so that 5 cannot be cut out of it".to_owned()
                ),
            ]
        );
        assert_eq!(
            codes(&stage::<Image>("{resize: {}}"), &input),
            ["image-size"]
        );
        assert_eq!(
            codes(&stage::<Image>("{resize: {height: 8192}}"), &input),
            ["image-size"]
        );
        assert_eq!(
            codes(
                &stage::<Image>("{column: row, crop: {width: 1, height: 1}}"),
                &input
            ),
            ["type-mismatch"]
        );
        assert_eq!(
            codes(&stage::<Image>("{scale: {mean: [0.5, 2], std: 0}}"), &input),
            ["out-of-range", "wrong-length", "out-of-range"]
        );
    }
}
