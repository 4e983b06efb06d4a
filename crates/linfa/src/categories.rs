//! Columns of categories as numbers for trees: each category is its place among those that training knew.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use polars::prelude::{Column, DataFrame, DataType};
use serde::{Deserialize, Serialize};
use taktline_core::{Column as SchemaColumn, Error, FitContext, ProgressEvent, Result, counted};

use crate::{
    records::{Features, is_learned},
    tree::MOST_CATEGORIES,
};

/// Whether a model that knows categories learns from such a column.
pub(crate) fn is_learned_or_category(column: &SchemaColumn) -> bool {
    is_learned(column) || is_category(&column.dtype)
}

/// Whether a column of this type holds categories.
pub(crate) fn is_category(dtype: &DataType) -> bool {
    matches!(
        dtype,
        DataType::String | DataType::Categorical(..) | DataType::Enum(..)
    )
}

/// The categories of the columns that hold some, the most frequent first, as they are kept in a fitted state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Categories(BTreeMap<String, Vec<String>>);

impl Categories {
    /// Those of the training rows.
    pub(crate) fn fit(train: &DataFrame, names: &[String], cx: &FitContext<'_>) -> Result<Self> {
        let mut found = BTreeMap::new();
        for name in names {
            let column = train.column(name)?;
            if !is_category(column.dtype()) {
                continue;
            }
            let texts = texts(column)?;
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for text in texts.str()?.iter().flatten() {
                *counts.entry(text).or_default() += 1;
            }
            let mut known: Vec<(&str, usize)> = counts.into_iter().collect();
            // Stable: of equal counts in the order of their names.
            known.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            if known.len() > MOST_CATEGORIES {
                cx.progress.event(ProgressEvent::Message(format!(
                    "`{}` tells the {MOST_CATEGORIES} most frequent of {} of `{name}` apart; the others count as missing",
                    cx.stage,
                    counted(known.len(), "value"),
                )));
                known.truncate(MOST_CATEGORIES);
            }
            let known = known.into_iter().map(|(text, _)| text.to_owned()).collect();
            found.insert(name.clone(), known);
        }
        Ok(Self(found))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For each number of the features how many categories it stands for; 0 for amounts.
    pub(crate) fn counts(&self, features: &Features) -> Vec<usize> {
        (0..features.numbers())
            .map(|number| {
                let known = self.0.get(features.name_of(number));
                // A column of nulls alone has one category that nothing is of.
                known.map_or(0, |known| known.len().max(1))
            })
            .collect()
    }

    /// The frame with the place of each category; null where training did not know it.
    pub(crate) fn encode<'a>(&self, batch: &'a DataFrame) -> Result<Cow<'a, DataFrame>> {
        if self.is_empty() {
            return Ok(Cow::Borrowed(batch));
        }
        let mut encoded = batch.clone();
        for (name, known) in &self.0 {
            let column = batch.column(name).map_err(|_| {
                Error::data(format!(
                    "the input has no column `{name}`, which the model learned from"
                ))
            })?;
            let texts = texts(column)?;
            let places: HashMap<&str, usize> = known
                .iter()
                .enumerate()
                .map(|(place, text)| (text.as_str(), place))
                .collect();
            let codes: Vec<Option<f64>> = texts
                .str()?
                .iter()
                .map(|text| places.get(text?).map(|place| *place as f64))
                .collect();
            encoded.with_column(Column::new(name.as_str().into(), codes))?;
        }
        Ok(Cow::Owned(encoded))
    }

    /// # Errors
    /// More categories than bins, which no training makes.
    pub(crate) fn check(&self) -> Result<()> {
        match self.0.values().all(|known| known.len() <= MOST_CATEGORIES) {
            true => Ok(()),
            false => Err(Error::State("there are too many categories".into())),
        }
    }
}

fn texts(column: &Column) -> Result<Column> {
    Ok(column.cast(&DataType::String)?)
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;

    use super::*;

    #[test]
    fn the_most_frequent_comes_first_and_what_is_unknown_is_missing() {
        let train = df!(
            "channel" => [Some("web"), Some("shop"), Some("shop"), None, Some("app")],
            "amount" => [1.0, 2.0, 3.0, 4.0, 5.0],
        )
        .expect("a frame");
        let names = ["channel".to_owned(), "amount".to_owned()];
        let categories =
            Categories::fit(&train, &names, &FitContext::quiet(1)).expect("categories");
        assert_eq!(categories.0["channel"], ["shop", "app", "web"]);
        let batch = df!("channel" => ["web", "phone", "shop"], "amount" => [1.0, 2.0, 3.0])
            .expect("a frame");
        let encoded = categories.encode(&batch).expect("a frame");
        let codes: Vec<Option<f64>> = encoded
            .column("channel")
            .expect("a column")
            .f64()
            .expect("codes")
            .iter()
            .collect();
        assert_eq!(codes, [Some(2.0), None, Some(0.0)]);
        let (features, _) = Features::fit(&encoded.slice(0, 1), names.to_vec()).expect("features");
        assert_eq!(categories.counts(&features), [3, 0]);
    }

    #[test]
    fn rare_categories_beyond_the_bins_count_as_missing() {
        let labels: Vec<String> = (0..300)
            .flat_map(|place| vec![format!("label {place:03}"); if place < 10 { 1 } else { 2 }])
            .collect();
        let train = df!("label" => labels).expect("a frame");
        let categories = Categories::fit(&train, &["label".to_owned()], &FitContext::quiet(1))
            .expect("categories");
        assert_eq!(categories.0["label"].len(), MOST_CATEGORIES);
        assert_eq!(categories.0["label"][0], "label 010");
        let encoded = categories.encode(&train).expect("a frame");
        assert_eq!(
            encoded.column("label").expect("a column").null_count(),
            10 + 2 * (290 - MOST_CATEGORIES)
        );
    }
}
