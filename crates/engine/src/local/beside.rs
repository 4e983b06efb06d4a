//! Rows of two frames beside each other, first to first, second to second.

use polars::{
    lazy::dsl::concat_lf_horizontal,
    prelude::{
        AllowedOptimizations, ChunkAgg, DataFrame, HConcatOptions, IdxSize, LazyFrame, PolarsError,
        PolarsResult, by_name, len,
    },
};
use taktline_core::{Result, Schema as FrameSchema};

use super::expression::column;

/// How many rows each side has, beside every one of its rows; no names that a spec can write.
const COUNTS: [&str; 2] = ["\u{1}rows-left", "\u{1}rows-right"];

/// The left side's columns and these of the right, under the names they get.
///
/// # Errors
/// When run: sides with different numbers of rows.
pub(super) fn beside(
    left: LazyFrame,
    right: (LazyFrame, &FrameSchema),
    schema: &FrameSchema,
    columns: &[(String, String)],
) -> Result<LazyFrame> {
    let (frame, right_schema) = right;
    let wanted: Vec<_> = columns
        .iter()
        .map(|(name, wanted)| column(name).alias(wanted.as_str()))
        .chain([len().alias(COUNTS[1])])
        .collect();
    let left = left.with_columns([len().alias(COUNTS[0])]);
    let options = HConcatOptions {
        parallel: true,
        // polars would not say how many rows there are.
        strict: false,
        broadcast_unit_length: false,
    };
    let both = concat_lf_horizontal([left, frame.select(wanted)], options)?;
    let names = [
        stage(schema, "the first input"),
        stage(right_schema, "the other"),
    ];
    let checked = both.map(
        move |data| {
            same_height(&data, &names)?;
            Ok(data)
        },
        // A side that nothing below reads is counted all the same.
        AllowedOptimizations::empty(),
        None,
        Some("compare the numbers of rows"),
    );
    Ok(checked.drop(by_name(COUNTS, true, false)))
}

fn stage(schema: &FrameSchema, otherwise: &str) -> String {
    match schema.facts.stage.as_str() {
        "" => otherwise.to_owned(),
        id => format!("`{id}`"),
    }
}

fn same_height(data: &DataFrame, names: &[String; 2]) -> PolarsResult<()> {
    // The shorter side is filled up with nulls.
    let rows =
        |name: &str| -> PolarsResult<IdxSize> { Ok(data.column(name)?.idx()?.max().unwrap_or(0)) };
    let [left, right] = [rows(COUNTS[0])?, rows(COUNTS[1])?];
    if left == right {
        return Ok(());
    }
    Err(PolarsError::ShapeMismatch(
        format!(
            "{} has {left} rows and {} has {right}: rows can stand beside each other only where there are as many",
            names[0], names[1]
        )
        .into(),
    ))
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::IntoLazy};
    use taktline_core::Operation;

    use super::*;

    fn applied(left: DataFrame, right: DataFrame) -> PolarsResult<DataFrame> {
        let schemas = [&left, &right].map(|frame| FrameSchema::from_polars(frame.schema()));
        let operation = Operation::Beside {
            right: 1,
            columns: vec![("y".into(), "z".into())],
        };
        let expected =
            taktline_core::output_schema(std::slice::from_ref(&operation), &schemas).to_polars();
        let mut query = crate::local::apply(&[operation], &[left.lazy(), right.lazy()], &schemas)
            .expect("lowers");
        assert_eq!(*query.collect_schema().expect("a schema"), expected);
        query.collect()
    }

    #[test]
    fn rows_stand_beside_each_other() {
        let left = df!("x" => [1_i64, 2]).expect("a frame");
        let right = df!("w" => [0.5, 0.6], "y" => ["a", "b"]).expect("a frame");
        assert_eq!(
            applied(left.clone(), right.clone()).expect("rows"),
            df!("x" => [1_i64, 2], "z" => ["a", "b"]).expect("a frame")
        );
        let nothing = applied(left.slice(0, 0), right.slice(0, 0)).expect("no rows");
        assert_eq!((nothing.height(), nothing.width()), (0, 2));
    }

    #[test]
    fn different_numbers_of_rows_are_an_error() {
        let left = df!("x" => [1_i64, 2]).expect("a frame");
        let right = df!("w" => [0.5, 0.6], "y" => ["a", "b"]).expect("a frame");
        for (left, right, expected) in [
            (
                left.slice(0, 1),
                right.clone(),
                "the first input has 1 rows and the other has 2",
            ),
            (
                left.clone(),
                right.slice(0, 0),
                "the first input has 2 rows and the other has 0",
            ),
            (
                left.slice(0, 0),
                right.slice(0, 1),
                "the first input has 0 rows and the other has 1",
            ),
        ] {
            let error = applied(left, right).expect_err("different").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
