//! `features.frequency`.

use std::{collections::BTreeSet, sync::Arc};

use polars::prelude::{Column as PolarsColumn, DataType, Float64Chunked, Int64Chunked, IntoColumn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Estimator, FitContext, Frame, Operation, Result, Schema, Shape, Stage,
    State, register_kind,
};

use super::{
    categories,
    lookup::{Found, Lookup},
    placement::{self, Made},
};
use crate::columns::{self, Names};

const VERSION: u32 = 1;

/// Put in the place of each category how frequent it is in the training rows.
///
/// A value that no training row has becomes 0. Null stays null and is not counted: shares are those among the rows that hold
/// a value. Categories that are equally frequent become the same number.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Frequency {
    /// The category columns: text, whole numbers, true or false.
    columns: Names,
    /// What to count by.
    #[serde(default, rename = "as")]
    measure: Measure,
    /// Keep the column and put the frequency beside it, under its name with this at the end; default: in its place.
    suffix: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Measure {
    /// The share of the training rows, 0 to 1.
    #[default]
    Share,
    /// The number of training rows.
    Count,
}

register_kind! {
    Frequency, "features.frequency", version: 1,
    example: "- features.frequency: {columns: [merchant], suffix: _share}",
}

/// What was learned about a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counts {
    column: String,
    categories: Vec<String>,
    counts: Vec<i64>,
}

impl Frequency {
    fn made(&self, source: &Column) -> Column {
        let dtype = match self.measure {
            Measure::Share => DataType::Float64,
            Measure::Count => DataType::Int64,
        };
        let name = placement::made(&source.name, self.suffix.as_deref());
        placement::heir(name, dtype, [source])
    }

    fn encode(&self, learned: Counts, input: &Schema) -> Option<Operation> {
        let source = input.column(&learned.column)?;
        let made = Made {
            name: "frequencies of categories",
            reads: vec![learned.column],
            columns: vec![self.made(source)],
            by_place: false,
            input,
        };
        let lookup = Arc::new(Lookup::new(learned.categories));
        let counts: Arc<[i64]> = learned.counts.into();
        let rows = counts.iter().sum::<i64>() as f64;
        let measure = self.measure;
        Some(made.by(move |columns: &[PolarsColumn]| {
            let name = columns[0].name().clone();
            let found = lookup.find(&columns[0])?;
            let counted = found.into_iter().map(|found| match found {
                Found::Null => None,
                Found::Known(place) => Some(counts[place as usize]),
                Found::Unseen => Some(0),
            });
            let column = match measure {
                Measure::Count => counted
                    .collect::<Int64Chunked>()
                    .with_name(name)
                    .into_column(),
                Measure::Share => counted
                    .map(|count| count.map(|count| count as f64 / rows))
                    .collect::<Float64Chunked>()
                    .with_name(name)
                    .into_column(),
            };
            Ok(vec![column])
        }))
    }
}

impl Stage for Frequency {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let mut output = input.clone();
        for (path, column) in categories::check(&self.columns, input, cx) {
            if placement::is_possible(&column.name, self.suffix.as_deref(), input, path, cx) {
                output.set(self.made(column));
            }
        }
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for Frequency {
    fn fit_reads(&self, _: &Schema) -> BTreeSet<String> {
        self.columns.iter().map(str::to_owned).collect()
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let mut learned = Vec::new();
        for name in self.columns.iter() {
            cx.cancellation.check()?;
            let (categories, counts) = categories::counted(&train.data, name)?
                .into_iter()
                .map(|(category, count)| (category, count as i64))
                .unzip();
            learned.push(Counts {
                column: name.to_owned(),
                categories,
                counts,
            });
        }
        State::from_data(VERSION, &learned)
    }

    fn seen(&self, state: &State) -> Result<Vec<(String, Vec<String>)>> {
        let learned = state.data::<Vec<Counts>>(VERSION)?;
        Ok(learned
            .into_iter()
            .map(|counts| (counts.column, counts.categories))
            .collect())
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        placement::one_after_the_other(
            state.data::<Vec<Counts>>(VERSION)?,
            columns::input(inputs),
            |learned, input| Ok(self.encode(learned, input)),
        )
    }
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;
    use crate::{
        columns::testing::{codes, schema, stage},
        testing::fitted,
    };

    #[test]
    fn shares_and_counts_of_the_training_rows() {
        let train = df!("shop" => [Some("a"), Some("ü"), None, Some("a"), Some("a")], "n" => [7_i32, 7, 8, 9, 9])
            .expect("a frame");
        let rows =
            df!("shop" => [Some("ü"), Some("a"), None, Some("new")], "n" => [9_i32, 8, 1, 7])
                .expect("a frame");
        let found =
            fitted(&stage::<Frequency>("{columns: [shop, n]}"), &train, &rows).expect("rows");
        let expected =
            df!("shop" => [Some(0.25), Some(0.75), None, Some(0.0)], "n" => [0.4, 0.2, 0.0, 0.4])
                .expect("a frame");
        assert!(found.equals_missing(&expected), "{found}");
        let stage = stage::<Frequency>("{columns: shop, as: count, suffix: _rows}");
        let found = fitted(&stage, &train, &rows).expect("rows");
        let counts = found
            .column("shop_rows")
            .expect("the counts")
            .i64()
            .expect("whole numbers");
        assert_eq!(
            counts.iter().collect::<Vec<_>>(),
            [Some(1), Some(3), None, Some(0)]
        );
        assert_eq!(
            found.column("shop").expect("itself"),
            rows.column("shop").expect("itself")
        );
    }

    #[test]
    fn no_rows_are_fine_to_encode_but_not_to_learn_from() {
        let train = df!("on" => [true, false, true]).expect("a frame");
        let found = fitted(
            &stage::<Frequency>("{columns: on}"),
            &train,
            &train.head(Some(0)),
        )
        .expect("rows");
        assert_eq!(found.height(), 0);
        let error = fitted(
            &stage::<Frequency>("{columns: on}"),
            &train.head(Some(0)),
            &train,
        )
        .expect_err("nothing to learn from")
        .to_string();
        assert!(
            error.contains("`on` has no value in the training rows"),
            "{error}"
        );
    }

    #[test]
    fn refuses_amounts_and_names_that_are_taken() {
        let input = schema([
            ("price", DataType::Float64),
            ("shop", DataType::String),
            ("shop_n", DataType::Int64),
        ]);
        assert_eq!(
            codes(
                &stage::<Frequency>("{columns: [price, shop, shob], suffix: _n}"),
                &input
            ),
            ["unknown-column", "type-mismatch", "name-taken"]
        );
    }
}
