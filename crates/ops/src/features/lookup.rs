//! Finding the categories that training saw again, row by row.

use std::collections::HashMap;

use polars::prelude::{Column as PolarsColumn, DataFrame, DataType, PolarsResult};
use taktline_core::{Classes, Result};

/// What a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Null,
    /// The category with this place among those of the training rows.
    Known(u32),
    /// A value that no training row has.
    Unseen,
}

/// The places of categories. A table, because a `case` with a branch for each category would try them all for every row.
#[derive(Debug)]
pub(super) struct Lookup(HashMap<String, u32>);

impl Lookup {
    pub(super) fn new(categories: Vec<String>) -> Self {
        Self(categories.into_iter().zip(0..).collect())
    }

    /// What each row of the column holds.
    pub(super) fn find(&self, column: &PolarsColumn) -> PolarsResult<Vec<Found>> {
        let texts = column.cast(&DataType::String)?;
        let mut last: Option<(&str, Found)> = None;
        let found = texts.str()?.iter().map(|text| {
            let Some(text) = text else { return Found::Null };
            // Neighbours are often equal; looking up only changes halves the time.
            let found = match last {
                Some((known, found)) if known == text => found,
                _ => self
                    .0
                    .get(text)
                    .map_or(Found::Unseen, |place| Found::Known(*place)),
            };
            last = Some((text, found));
            found
        });
        Ok(found.collect())
    }
}

/// The categories of the training rows, in class order, and the place of each row's; null has the place after the last.
pub(super) fn coded(train: &DataFrame, name: &str) -> Result<(Vec<String>, Vec<u32>)> {
    let column = train.column(name)?;
    let classes = Classes::of(&column.drop_nulls(), None)?;
    let null = classes.labels.len() as u32;
    let mut codes = classes.codes.into_iter();
    let codes = column
        .is_null()
        .iter()
        .map(|is_null| match is_null {
            Some(true) => null,
            _ => codes.next().unwrap_or(null),
        })
        .collect();
    Ok((classes.labels, codes))
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::NamedFrom, prelude::Series};

    use super::*;

    #[test]
    fn values_are_known_unseen_or_nothing() {
        let lookup = Lookup::new(vec!["a".into(), "ü".into()]);
        let column = Series::new(
            "c".into(),
            [Some("ü"), Some("ü"), None, Some("x"), Some("a")],
        )
        .into();
        assert_eq!(
            lookup.find(&column).expect("places"),
            [
                Found::Known(1),
                Found::Known(1),
                Found::Null,
                Found::Unseen,
                Found::Known(0)
            ]
        );
        let truths = Lookup::new(vec!["false".into(), "true".into()]);
        let column = Series::new("c".into(), [Some(true), None]).into();
        assert_eq!(
            truths.find(&column).expect("places"),
            [Found::Known(1), Found::Null]
        );
    }

    #[test]
    fn codes_follow_class_order_and_null_comes_after() {
        let train =
            df!("n" => [Some(10_i64), None, Some(9), Some(10)], "none" => [None::<&str>; 4])
                .expect("a frame");
        assert_eq!(
            coded(&train, "n").expect("codes"),
            (vec!["9".to_owned(), "10".to_owned()], vec![1, 2, 0, 1])
        );
        assert_eq!(coded(&train, "none").expect("codes"), (vec![], vec![0; 4]));
    }
}
