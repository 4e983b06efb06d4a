//! How much the rows of each class count while a classifier learns.

use std::{collections::BTreeMap, ops::Index};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CheckContext, Error, Label, Problem, Result,
    label::{quoted, unknown_label},
    path,
};

/// How much the rows of each class count.
#[derive(Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ClassWeight {
    /// A rule.
    Rule(WeightRule),
    /// A weight for each label.
    ByLabel(BTreeMap<Label, f64>),
}

/// How weights follow from the rows.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WeightRule {
    /// Every row counts 1.
    None,
    /// Each class counts as much as any other.
    Balanced,
}

impl Default for ClassWeight {
    fn default() -> Self {
        Self::Rule(WeightRule::None)
    }
}

impl ClassWeight {
    /// Reports weights below 0 and, where the classes are known, labels that are none of them.
    pub fn check(&self, classes: Option<&[String]>, cx: &mut CheckContext<'_>) {
        let Self::ByLabel(weights) = self else { return };
        for (label, weight) in weights {
            if !weight.is_finite() || *weight < 0.0 {
                cx.report(Problem::error(
                    "out-of-range",
                    path!["class_weight", &label.0],
                    format!("the weight of `{label}` is {weight}; a class counts 0 or more"),
                ));
            }
        }
        for label in weights.keys() {
            if let Some(classes) = classes.filter(|classes| !classes.contains(&label.0)) {
                cx.report(unknown_label(
                    label,
                    classes,
                    path!["class_weight", &label.0],
                ));
            }
        }
    }

    /// The weight of each class, in the order of `classes`. `codes` tell the class of each training row, numbers from 0 below
    /// that of classes.
    ///
    /// # Errors
    /// A label that no training row has.
    pub fn of_each<W: Index<usize, Output = f32> + ?Sized>(
        &self,
        classes: &[String],
        codes: &[u32],
        row_weights: Option<&W>,
    ) -> Result<Vec<f64>> {
        match self {
            Self::Rule(WeightRule::None) => Ok(vec![1.0; classes.len()]),
            Self::Rule(WeightRule::Balanced) => {
                let mut totals = vec![0.0; classes.len()];
                for (row, code) in codes.iter().enumerate() {
                    totals[*code as usize] +=
                        row_weights.map_or(1.0, |weights| f64::from(weights[row]));
                }
                let share = totals.iter().sum::<f64>() / totals.len() as f64;
                Ok(totals
                    .into_iter()
                    .map(|total| if total > 0.0 { share / total } else { 0.0 })
                    .collect())
            }
            Self::ByLabel(weights) => {
                for label in weights.keys() {
                    if !classes.contains(&label.0) {
                        return Err(Error::data(format!(
                            "`class_weight` names the label `{label}`, which no training row has; there are {}",
                            quoted(classes)
                        )));
                    }
                }
                Ok(classes
                    .iter()
                    .map(|label| weights.get(&Label(label.clone())).copied().unwrap_or(1.0))
                    .collect())
            }
        }
    }
}
