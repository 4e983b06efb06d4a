//! Class labels: how specs write them, and how a column of them becomes class numbers.

use std::{borrow::Cow, collections::HashMap, fmt};

use polars::prelude::{Column as PolarsColumn, DataType, StringChunked};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Visitor};

use crate::{Error, ParamPath, Problem, Result, counted, did_you_mean, type_name};

/// A class label as a spec writes it: `true`, `1`, `malignant`. Kept as text, as [`Classes`] keeps labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Label(pub String);

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = Label;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a class label: text, a whole number, true or false")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Label, E> {
                Ok(Label(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Label, E> {
                Ok(Label(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Label, E> {
                Ok(Label(value.to_string()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Label, E> {
                Ok(Label(value.to_owned()))
            }
        }

        deserializer.deserialize_any(Scalar)
    }
}

impl JsonSchema for Label {
    fn schema_name() -> Cow<'static, str> {
        "Label".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "integer", "boolean"]})
    }
}

/// The classes of a column: its labels in class order, and the class of each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    /// The labels, as text.
    pub labels: Vec<String>,
    /// For each row, its label's place in `labels`.
    pub codes: Vec<u32>,
}

impl Classes {
    /// Whether a column of this type can hold class labels: truth values, whole numbers, text.
    pub fn can_hold(dtype: &DataType) -> bool {
        matches!(
            dtype,
            DataType::Boolean | DataType::String | DataType::Categorical(..)
        ) || dtype.is_integer()
    }

    /// The classes of a column. Order: as in `categories` where these are known; else false before true, numbers by size, text by
    /// code point. A label that no row has is left out.
    ///
    /// # Errors
    /// A type that holds no labels, and rows without a label; both name the column.
    pub fn of(column: &PolarsColumn, categories: Option<&[String]>) -> Result<Self> {
        let texts = texts(column)?;
        let mut seen: HashMap<&str, u32> = HashMap::new();
        let mut labels: Vec<&str> = Vec::new();
        let mut last: Option<(&str, u32)> = None;
        let mut codes: Vec<u32> = Vec::with_capacity(texts.len());
        for text in texts.iter().flatten() {
            // Labels come in runs: most rows repeat the one before.
            let code = match last {
                Some((label, code)) if label == text => code,
                _ => *seen.entry(text).or_insert_with(|| {
                    labels.push(text);
                    (labels.len() - 1) as u32
                }),
            };
            last = Some((text, code));
            codes.push(code);
        }
        let mut order: Vec<usize> = (0..labels.len()).collect();
        let place = |label: &str| {
            categories
                .and_then(|known| known.iter().position(|category| category == label))
                .unwrap_or(usize::MAX)
        };
        order.sort_by_key(|&index| {
            (
                place(labels[index]),
                labels[index].parse::<i128>().ok(),
                labels[index],
            )
        });
        let mut new_code = vec![0_u32; labels.len()];
        for (new, &old) in order.iter().enumerate() {
            new_code[old] = new as u32;
        }
        for code in &mut codes {
            *code = new_code[*code as usize];
        }
        Ok(Self {
            labels: order
                .iter()
                .map(|&index| labels[index].to_owned())
                .collect(),
            codes,
        })
    }

    /// The label that a two-class task looks for, where nobody says which: `true`, else `1`, else the last.
    pub fn positive(labels: &[String]) -> Option<&str> {
        let named = |name: &str| labels.iter().find(|label| *label == name);
        named("true")
            .or_else(|| named("1"))
            .or(labels.last())
            .map(String::as_str)
    }
}

fn texts(column: &PolarsColumn) -> Result<StringChunked> {
    let name = column.name();
    if !Classes::can_hold(column.dtype()) {
        return Err(Error::data(format!(
            "`{name}` is {}; class labels are text, whole numbers, true or false",
            type_name(column.dtype())
        )));
    }
    match column.null_count() {
        0 => Ok(column.cast(&DataType::String)?.str()?.clone()),
        missing => Err(Error::data(format!(
            "`{name}` has no label in {missing} of {}; leave such rows out above (`clean.drop_nulls: {{columns: [{name}]}}`)",
            counted(column.len(), "row")
        ))),
    }
}

/// "the target has no label `fraude`".
pub fn unknown_label(label: &Label, classes: &[String], place: ParamPath) -> Problem {
    Problem::error(
        "unknown-label",
        place,
        format!("the target has no label `{label}`"),
    )
    .help_if(did_you_mean(&label.0, classes.iter().map(String::as_str)))
    .note(format!("its labels are {}", quoted(classes)))
}

/// `a`, `b`, `c`, each in backticks.
pub fn quoted(names: &[impl AsRef<str>]) -> String {
    names
        .iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use polars::prelude::*;

    use super::{Label, *};

    #[test]
    fn numbers_are_ordered_by_size_and_text_by_letters() {
        let numbers = Column::new("digit".into(), [10_u8, 9, 10, 2]);
        let classes = Classes::of(&numbers, None).expect("labels");
        assert_eq!(classes.labels, ["2", "9", "10"]);
        assert_eq!(classes.codes, [2, 1, 2, 0]);
        let texts = Column::new("grade".into(), ["low", "high", "mid"]);
        assert_eq!(
            Classes::of(&texts, None).expect("labels").labels,
            ["high", "low", "mid"]
        );
        let known = ["low", "mid", "high", "unseen"].map(str::to_owned);
        assert_eq!(
            Classes::of(&texts, Some(&known)).expect("labels").labels,
            ["low", "mid", "high"]
        );
    }

    #[test]
    fn finds_the_positive_label() {
        let labels = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(Classes::positive(&labels(&["false", "true"])), Some("true"));
        assert_eq!(Classes::positive(&labels(&["1", "2"])), Some("1"));
        assert_eq!(Classes::positive(&labels(&["B", "M"])), Some("M"));
        assert_eq!(Classes::positive(&[]), None);
    }

    #[test]
    fn says_why_a_column_holds_no_labels() {
        let reals = Column::new("price".into(), [1.5, 2.0]);
        let error = Classes::of(&reals, None)
            .expect_err("real numbers")
            .to_string();
        assert_eq!(
            error,
            "`price` is f64; class labels are text, whole numbers, true or false"
        );
        let holes = Column::new("fraud".into(), [Some(true), None]);
        let error = Classes::of(&holes, None)
            .expect_err("a row without label")
            .to_string();
        assert_eq!(
            error,
            "`fraud` has no label in 1 of 2 rows; leave such rows out above (`clean.drop_nulls: {columns: [fraud]}`)"
        );
    }

    #[test]
    fn specs_write_labels_as_any_scalar() {
        let labels: Vec<Label> = serde_yaml::from_str("[true, 1, -2, M]").expect("labels");
        assert_eq!(
            labels
                .iter()
                .map(|label| label.0.as_str())
                .collect::<Vec<_>>(),
            ["true", "1", "-2", "M"]
        );
    }
}
