//! The classes that a classifier has learned, and the columns that its probabilities become.

use ndarray::{Array2, ArrayView1};
use polars::prelude::{
    Categories, Column as PolarsColumn, DataType, IdxCa, IdxSize, IntoColumn, NamedFrom, Series,
};
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Classes, Error, Frame, Label, Result, Schema, classifier, counted, features,
    type_name,
};

use crate::{class_weight::ClassWeight, records::is_learned};

/// The classes of a target, as they are kept in a fitted state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Labels {
    /// The column with the truth.
    pub(crate) target: String,
    /// Its type's name.
    target_type: String,
    /// The labels, in class order.
    pub(crate) classes: Vec<String>,
    /// Of two classes, the place of the one that `score` is the probability of.
    pub(crate) positive: Option<usize>,
}

impl Labels {
    /// The classes of the training rows, and the class of each row.
    ///
    /// # Errors
    /// No target, a target without two labels or more, and a positive label that is none of two.
    pub(crate) fn fit(
        train: &Frame,
        target: Option<String>,
        positive: Option<&Label>,
    ) -> Result<(Self, Vec<u32>)> {
        let target = target.ok_or_else(|| Error::data("no column has the role `target`"))?;
        let column = train.data.column(&target)?;
        let categories = train
            .schema
            .column(&target)
            .and_then(|column| column.categories.as_deref());
        let Classes { labels, codes } = Classes::of(column, categories)?;
        if let [] | [_] = labels.as_slice() {
            return Err(Error::data(format!(
                "in {} there is {} of the target `{target}`; a classifier needs two or more labels",
                counted(train.data.height(), "training row"),
                labels
                    .first()
                    .map_or("no label".to_owned(), |label| format!(
                        "only the label `{label}`"
                    )),
            )));
        }
        let positive = classifier::positive_class(positive, &labels)?;
        let labels = Self {
            target_type: type_name(column.dtype()),
            target,
            classes: labels,
            positive,
        };
        Ok((labels, codes))
    }

    /// Refuses a state that does not fit together.
    pub(crate) fn check(&self) -> Result<()> {
        if self
            .positive
            .is_some_and(|positive| positive >= self.classes.len())
        {
            return Err(Error::State(
                "the positive class is none of the classes".into(),
            ));
        }
        self.series().map(|_| ())
    }

    /// The output columns for probabilities (rows × classes): `prediction`, for two classes `score`, `probability_<label>`.
    pub(crate) fn columns(&self, probabilities: &Array2<f64>) -> Result<Vec<PolarsColumn>> {
        let likeliest = |row: ArrayView1<'_, f64>| {
            // Of two equally likely classes the positive one; of more, the first.
            let first = self.positive.unwrap_or(0);
            let best =
                |best: usize, class: usize| if row[class] > row[best] { class } else { best };
            (0..row.len()).fold(first, best) as IdxSize
        };
        let codes: Vec<_> = probabilities.rows().into_iter().map(likeliest).collect();
        let prediction = self
            .series()?
            .take(&IdxCa::new("".into(), codes))?
            .with_name(classifier::PREDICTION.into());
        let column = |name: String, class: usize| {
            Series::new(name.into(), probabilities.column(class).to_vec()).into_column()
        };
        let mut columns = vec![prediction.into_column()];
        columns.extend(
            self.positive
                .map(|positive| column(classifier::SCORE.into(), positive)),
        );
        columns.extend(
            self.classes
                .iter()
                .enumerate()
                .map(|(class, label)| column(format!("{}{label}", classifier::PROBABILITY), class)),
        );
        Ok(columns)
    }

    /// The labels as a column of the target's type.
    fn series(&self) -> Result<Series> {
        let texts = Series::new("prediction".into(), &self.classes);
        match self.target_type.as_str() {
            "text" => Ok(texts),
            "bool" => {
                let truths: Vec<bool> = self.classes.iter().map(|label| label == "true").collect();
                Ok(Series::new("prediction".into(), truths))
            }
            "cat" => Ok(texts.cast(&DataType::from_categories(Categories::global()))?),
            other => {
                let dtype = [
                    DataType::Int8,
                    DataType::Int16,
                    DataType::Int32,
                    DataType::Int64,
                    DataType::UInt8,
                    DataType::UInt16,
                    DataType::UInt32,
                    DataType::UInt64,
                ]
                .into_iter()
                .find(|dtype| type_name(dtype) == other)
                .ok_or_else(|| {
                    Error::State(format!(
                        "the target's type `{other}` is not one that holds labels"
                    ))
                })?;
                Ok(texts.strict_cast(&dtype)?)
            }
        }
    }
}

/// The params that classifiers share, as far as their check goes.
pub(crate) struct Classifier<'a> {
    pub(crate) features: Option<&'a [String]>,
    pub(crate) target: Option<&'a str>,
    pub(crate) class_weight: &'a ClassWeight,
    pub(crate) positive: Option<&'a Label>,
}

impl Classifier<'_> {
    /// What every classifier of tables checks, and the schema after it.
    pub(crate) fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        let target = classifier::check_target(input, self.target, Classes::can_hold, cx);
        let name = target.map(|target| target.name.as_str());
        features::check(self.features, name, input, is_learned, cx);
        classifier::check_weights(input, cx);
        let classes = target.and_then(classifier::known_classes);
        self.class_weight.check(classes.as_deref(), cx);
        classifier::check_positive(self.positive, classes.as_deref(), cx);
        classifier::with_predictions(input, target, DataType::clone, self.positive.is_some(), cx)
    }
}
