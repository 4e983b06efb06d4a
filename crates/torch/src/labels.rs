//! The classes of a target: from labels to indices for training, and back for predictions.

use std::collections::HashMap;

use polars::prelude::{
    BooleanChunked, Column, DataType, Int64Chunked, IntoColumn, NewChunkedArray, StringChunked,
};
use serde::{Deserialize, Serialize};
use taktline_core::{Error, Result, counted, type_name};

/// An integer type, by its name in messages and specs.
const INTEGERS: [(&str, DataType); 8] = [
    ("i8", DataType::Int8),
    ("i16", DataType::Int16),
    ("i32", DataType::Int32),
    ("i64", DataType::Int64),
    ("u8", DataType::UInt8),
    ("u16", DataType::UInt16),
    ("u32", DataType::UInt32),
    ("u64", DataType::UInt64),
];

/// The classes in index order, with the target's type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Labels {
    /// `false`, then `true`.
    Booleans,
    /// Whole numbers of this type.
    Integers { dtype: String, values: Vec<i64> },
    /// Texts.
    Texts(Vec<String>),
}

/// Whether a column of this type can name classes.
pub(crate) fn can_label(dtype: &DataType) -> bool {
    matches!(
        dtype,
        DataType::Boolean | DataType::String | DataType::Categorical(..) | DataType::Enum(..)
    ) || INTEGERS.iter().any(|(_, integer)| integer == dtype)
}

impl Labels {
    /// The classes of a target: its known categories, or else the different labels of the training rows, sorted.
    pub(crate) fn learn(target: &Column, categories: Option<&[String]>) -> Result<Self> {
        refuse_nulls(target)?;
        let labels = match target.dtype() {
            DataType::Boolean => Self::Booleans,
            dtype if dtype.is_integer() => {
                let name = INTEGERS
                    .iter()
                    .find(|(_, integer)| integer == dtype)
                    .map_or("i64", |(name, _)| name);
                let declared = categories.and_then(|names| {
                    names
                        .iter()
                        .map(|name| name.parse().ok())
                        .collect::<Option<Vec<i64>>>()
                });
                let values = match declared {
                    Some(values) => values,
                    None => {
                        let mut values = integers(target)?;
                        values.sort_unstable();
                        values.dedup();
                        values
                    }
                };
                Self::Integers {
                    dtype: (*name).to_owned(),
                    values,
                }
            }
            dtype if can_label(dtype) => {
                let values = match categories {
                    Some(names) => names.to_vec(),
                    None => {
                        let mut values = texts(target)?;
                        values.sort_unstable();
                        values.dedup();
                        values
                    }
                };
                Self::Texts(values)
            }
            other => return Err(not_labels(target, other)),
        };
        if labels.len() < 2 {
            let only = labels.names().into_iter().next().unwrap_or_default();
            return Err(Error::data(format!(
                "every training row has the same `{}`: `{only}`; a classifier needs two classes at least",
                target.name()
            )));
        }
        Ok(labels)
    }

    /// The classes that somebody lists, as a target of this type has them; as texts, where there is no target. What is wrong with
    /// them is said as the end of a sentence: "… is i64, but `cat` is no whole number".
    pub(crate) fn declared(classes: &[String], target: Option<&DataType>) -> Result<Self, String> {
        match target {
            Some(DataType::Boolean) if classes == ["false", "true"] => Ok(Self::Booleans),
            Some(DataType::Boolean) => Err(format!(
                "bool, whose classes are [false, true] in this order, not {classes:?}"
            )),
            Some(dtype) if dtype.is_integer() => {
                let (name, _) = INTEGERS
                    .iter()
                    .find(|(_, integer)| integer == dtype)
                    .ok_or_else(|| format!("{}, which cannot name classes", type_name(dtype)))?;
                let values = classes
                    .iter()
                    .map(|class| {
                        class
                            .parse()
                            .map_err(|_| format!("{name}, but `{class}` is no whole number"))
                    })
                    .collect::<Result<_, String>>()?;
                Ok(Self::Integers {
                    dtype: (*name).to_owned(),
                    values,
                })
            }
            _ => Ok(Self::Texts(classes.to_vec())),
        }
    }

    /// How many classes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Booleans => 2,
            Self::Integers { values, .. } => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// The classes as text.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Booleans => vec!["false".into(), "true".into()],
            Self::Integers { values, .. } => values.iter().map(ToString::to_string).collect(),
            Self::Texts(values) => values.clone(),
        }
    }

    /// Refuses a positive class that is none of these.
    pub(crate) fn check(&self, positive: Option<usize>) -> Result<()> {
        match positive {
            Some(positive) if positive >= self.len() => Err(Error::State(
                "the positive class is none of the classes".into(),
            )),
            _ => Ok(()),
        }
    }

    /// The class index of each row.
    pub(crate) fn indices(&self, target: &Column) -> Result<Vec<i64>> {
        refuse_nulls(target)?;
        let unseen = |label: &dyn std::fmt::Display| {
            Error::data(format!(
                "`{}` is `{label}` in some row, which is none of the {} classes {:?}",
                target.name(),
                self.len(),
                self.names()
            ))
        };
        match self {
            Self::Booleans => {
                let flags = target.bool()?;
                Ok(flags
                    .iter()
                    .map(|flag| i64::from(flag == Some(true)))
                    .collect())
            }
            Self::Integers { values, .. } => {
                let index: HashMap<i64, i64> = values.iter().copied().zip(0..).collect();
                integers(target)?
                    .into_iter()
                    .map(|value| index.get(&value).copied().ok_or_else(|| unseen(&value)))
                    .collect()
            }
            Self::Texts(values) => {
                let index: HashMap<&str, i64> =
                    values.iter().map(String::as_str).zip(0..).collect();
                texts(target)?
                    .iter()
                    .map(|value| {
                        index
                            .get(value.as_str())
                            .copied()
                            .ok_or_else(|| unseen(value))
                    })
                    .collect()
            }
        }
    }

    /// A column with the labels of these class indices, in the target's own type.
    pub(crate) fn column(&self, name: &str, indices: &[usize]) -> Result<Column> {
        match self {
            Self::Booleans => Ok(BooleanChunked::from_iter_values(
                name.into(),
                indices.iter().map(|index| *index == 1),
            )
            .into_column()),
            Self::Integers { dtype, values } => {
                let labels = indices.iter().map(|index| values[*index]);
                let column = Int64Chunked::from_iter_values(name.into(), labels).into_column();
                let own = INTEGERS.iter().find(|(known, _)| known == dtype);
                Ok(column.cast(own.map_or(&DataType::Int64, |(_, own)| own))?)
            }
            Self::Texts(values) => {
                let labels = indices.iter().map(|index| values[*index].as_str());
                Ok(StringChunked::from_iter_values(name.into(), labels).into_column())
            }
        }
    }
}

fn refuse_nulls(target: &Column) -> Result<()> {
    match target.null_count() {
        0 => Ok(()),
        count => Err(Error::data(format!(
            "the target `{}` is null in {count} of {}; drop them with `clean.drop_nulls`",
            target.name(),
            counted(target.len(), "row")
        ))),
    }
}

fn not_labels(target: &Column, dtype: &DataType) -> Error {
    Error::data(format!(
        "the target `{}` is {}, which cannot name classes",
        target.name(),
        type_name(dtype)
    ))
}

fn integers(target: &Column) -> Result<Vec<i64>> {
    if !target.dtype().is_integer() {
        return Err(not_labels(target, target.dtype()));
    }
    Ok(target
        .strict_cast(&DataType::Int64)?
        .i64()?
        .iter()
        .flatten()
        .collect())
}

fn texts(target: &Column) -> Result<Vec<String>> {
    if !can_label(target.dtype()) {
        return Err(not_labels(target, target.dtype()));
    }
    Ok(target
        .cast(&DataType::String)?
        .str()?
        .iter()
        .flatten()
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_in_their_own_type() {
        let target = Column::new("grade".into(), [7_i32, 3, 3, 12]);
        let labels = Labels::learn(&target, None).expect("labels");
        assert_eq!(labels.names(), ["3", "7", "12"]);
        assert_eq!(labels.indices(&target).expect("indices"), [1, 0, 0, 2]);
        let back = labels.column("prediction", &[1, 0, 0, 2]).expect("column");
        assert_eq!(back.dtype(), &DataType::Int32);
        assert_eq!(
            back.i32()
                .expect("i32")
                .iter()
                .flatten()
                .collect::<Vec<_>>(),
            [7, 3, 3, 12]
        );
    }

    #[test]
    fn declared_categories_keep_their_order() {
        let target = Column::new("part".into(), ["good", "bent"]);
        let categories = ["good".to_owned(), "bent".to_owned(), "cracked".to_owned()];
        let labels = Labels::learn(&target, Some(&categories)).expect("labels");
        assert_eq!(labels.len(), 3);
        assert_eq!(labels.indices(&target).expect("indices"), [0, 1]);
        let other = Column::new("part".into(), ["rusty"]);
        assert!(
            labels
                .indices(&other)
                .expect_err("unseen")
                .to_string()
                .contains("`rusty`")
        );
    }

    #[test]
    fn refuses_what_cannot_be_learned() {
        let same = Column::new("label".into(), [1_i64, 1]);
        assert!(
            Labels::learn(&same, None)
                .expect_err("one class")
                .to_string()
                .contains("same `label`")
        );
        let missing = Column::new("label".into(), [Some(1_i64), None]);
        assert!(
            Labels::learn(&missing, None)
                .expect_err("null")
                .to_string()
                .contains("null in 1 of 2 rows")
        );
        let floats = Column::new("label".into(), [0.5, 1.5]);
        assert!(
            Labels::learn(&floats, None)
                .expect_err("floats")
                .to_string()
                .contains("f64")
        );
    }

    #[test]
    fn a_positive_class_is_one_of_the_classes() {
        assert!(Labels::Booleans.check(Some(1)).is_ok());
        assert!(Labels::Booleans.check(None).is_ok());
        assert!(Labels::Booleans.check(Some(2)).is_err());
    }
}
