//! Columns of text and truth.

use std::collections::HashMap;

use polars::{
    lazy::dsl::{col, len},
    prelude::{Column as PolarsColumn, DataFrame, DataType, IdxSize, IntoLazy},
};
use serde::Serialize;
use taktline_core::Result;

use super::{Looked, association::Comparable, most_frequent, rules::Evidence, shape::Shape};

/// Lengths of text, in characters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Texts {
    /// The shortest.
    pub shortest: usize,
    /// The longest.
    pub longest: usize,
    /// The mean of all rows.
    pub mean_length: f64,
    /// Texts without a character.
    pub empty: usize,
    /// Texts that begin or end with white space.
    pub padded: usize,
}

/// Columns of at most so many different values are compared with each other.
const COMPARED: usize = 50;
/// So many different values can be listed in an expectation.
const LISTED: usize = 20;

pub(super) fn look(column: &PolarsColumn, looked: &mut Looked) -> Result<()> {
    const COUNT: &str = "taktline count";
    let is_text = column.dtype() != &DataType::Boolean;
    let texts = column.cast(&DataType::String)?.with_name("value".into());
    let counted = DataFrame::new(texts.len(), vec![texts.clone()])?
        .lazy()
        .group_by([col("value")])
        .agg([len().alias(COUNT)])
        .drop_nulls(None)
        .collect()?;
    let values = counted.column("value")?;
    let counts = counted.column(COUNT)?.idx()?;
    let pairs: Vec<(&str, usize)> = values
        .str()?
        .iter()
        .zip(counts.iter())
        .filter_map(|(value, count): (Option<&str>, Option<IdxSize>)| {
            Some((value?, count? as usize))
        })
        .collect();
    let profile = &mut looked.profile;
    profile.distinct = Some(pairs.len());
    if is_text {
        profile.texts = lengths(&pairs, profile.count);
    }
    let mut listed: Vec<&str> = Vec::new();
    if pairs.len() <= COMPARED {
        listed = pairs.iter().map(|(value, _)| *value).collect();
        listed.sort_unstable();
        looked.comparable = codes(&texts, &listed)?;
    }
    profile.evidence = if is_text && !pairs.is_empty() {
        Evidence::Texts {
            values: if listed.len() <= LISTED {
                listed.iter().map(|value| (*value).to_owned()).collect()
            } else {
                Vec::new()
            },
            shape: Shape::of(pairs.iter().map(|(value, _)| *value)),
        }
    } else {
        Evidence::None
    };
    profile.frequent = most_frequent(pairs, |value| (*value).to_owned());
    Ok(())
}

fn lengths(pairs: &[(&str, usize)], count: usize) -> Option<Texts> {
    let mut texts = Texts {
        shortest: usize::MAX,
        longest: 0,
        mean_length: 0.0,
        empty: 0,
        padded: 0,
    };
    // Whole numbers, so that the sum does not depend on the order in which values were counted.
    let mut characters = 0;
    for (text, rows) in pairs {
        let length = text.chars().count();
        texts.shortest = texts.shortest.min(length);
        texts.longest = texts.longest.max(length);
        characters += length * rows;
        if length == 0 {
            texts.empty += rows;
        }
        if text.trim() != *text {
            texts.padded += rows;
        }
    }
    texts.mean_length = characters as f64 / count as f64;
    (!pairs.is_empty()).then_some(texts)
}

/// Each row's place in the list of values.
fn codes(texts: &PolarsColumn, values: &[&str]) -> Result<Comparable> {
    let places: HashMap<&str, u8> = values.iter().copied().zip(0_u8..).collect();
    let codes = texts
        .str()?
        .iter()
        .map(|text| {
            text.and_then(|text| places.get(text).copied())
                .unwrap_or(Comparable::MISSING)
        })
        .collect();
    Ok(Comparable::Categories {
        codes,
        count: values.len(),
    })
}
