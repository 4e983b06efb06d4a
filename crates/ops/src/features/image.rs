//! `features.image`.

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Expression, Operation, Problem, Relational, Result, Schema, Shape, Stage,
    output_schema, path, register_kind,
};

use crate::columns;

/// Turn an image's bytes into real numbers that a network can learn from.
///
/// The raw column holds bytes, 0 to 255; the scaled one holds 32-bit real numbers in the same shape.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Image {
    /// The image column.
    #[serde(default = "image_column")]
    column: String,
    /// The range of the numbers: `unit` for 0 to 1, `none` for 0 to 255, or mean and standard deviation of the pixels.
    #[serde(default)]
    scale: Scale,
}

fn image_column() -> String {
    "image".to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
enum Scale {
    /// A named range.
    Named(NamedScale),
    /// Around 0, by what is known about the pixels.
    Standard(StandardScale),
}

impl Default for Scale {
    fn default() -> Self {
        Self::Named(NamedScale::Unit)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum NamedScale {
    /// 0 to 1.
    Unit,
    /// 0 to 255, as they are.
    None,
}

/// Pixels of a known mean and standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StandardScale {
    /// The pixels' mean, where black is 0 and white is 1; it becomes 0.
    #[schemars(range(min = 0, max = 1))]
    mean: f64,
    /// The pixels' standard deviation, where black is 0 and white is 1; it becomes 1.
    #[schemars(extend("exclusiveMinimum" = 0))]
    std: f64,
}

impl Scale {
    /// What each byte is multiplied by, and what is added then.
    fn factor_and_offset(self) -> (f64, f64) {
        match self {
            Self::Named(NamedScale::Unit) => (1.0 / 255.0, 0.0),
            Self::Named(NamedScale::None) => (1.0, 0.0),
            Self::Standard(StandardScale { mean, std }) => (1.0 / (255.0 * std), -mean / std),
        }
    }
}

register_kind! {
    Image, "features.image", version: 1,
    example: "- features.image: {column: image, scale: unit}",
}

impl Image {
    fn operations(&self) -> Vec<Operation> {
        let (factor, offset) = self.scale.factor_and_offset();
        let operand = Box::new(Expression::column(&self.column));
        vec![Operation::With(vec![(
            self.column.clone(),
            Expression::ScaleArray {
                operand,
                factor,
                offset,
            },
        )])]
    }
}

impl Stage for Image {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let Some(column) = columns::find(input, &self.column, path!["column"], cx) else {
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
        output_schema(&self.operations(), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Image {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(columns::possible(self.operations(), columns::input(inputs)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::testing::{codes, passes, schema, stage};

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
            let (factor, offset) = stage::<Image>(params).scale.factor_and_offset();
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
}
