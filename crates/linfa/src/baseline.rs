//! `model.baseline`

use ndarray::Array2;
use polars::prelude::{Column as PolarsColumn, DataFrame};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, FitContext, Frame, Model, Predictor, Problem, Result, Schema, Shape,
    Stage, State, classifier, path, register_kind,
};

use crate::{
    class_weight::ClassWeight,
    linear::check_total,
    random_forest::Shares,
    records::row_weights,
    task::{self, Named, Target, Task, Truth},
};

const VERSION: u32 = 1;

/// Says the same for every row: what a model has to beat to be worth its while.
///
/// Of classes it gives each its share in the training rows, so that the most frequent one is predicted; of numbers their mean or
/// median. It looks at no feature. For series, `model.forecast.seasonal_naive` is the one to beat.
///
/// Adds `prediction` and, for classes, `probability_<label>` and, of two, `score`. Rows count by the column with role `weight`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Baseline {
    /// The column to predict. Default: the column with role `target`.
    target: Option<String>,
    /// Whether the target is classes or numbers.
    #[serde(default)]
    task: Task,
    /// What stands for numbers: their `mean` or their `median`.
    #[serde(default)]
    numbers: Middle,
}

/// The middle of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Middle {
    /// No constant has smaller squared errors.
    #[default]
    Mean,
    /// No constant has smaller absolute errors.
    Median,
}

register_kind! {
    Baseline, "model.baseline", version: 1,
    example: "- model.baseline: {numbers: median}",
}

impl Baseline {
    fn named(&self) -> Named<'_> {
        Named {
            // None at all: an empty list is a list.
            features: Some(&[]),
            target: self.target.as_deref(),
            positive: None,
            class_weight: None,
            task: self.task,
        }
    }
}

impl Stage for Baseline {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let output = task::check(self.named(), inputs, cx);
        let is_number = output
            .column(classifier::PREDICTION)
            .is_some_and(|column| column.dtype.is_float());
        let is_known = !output.incomplete || output.facts.lacks_classes_only;
        if self.numbers == Middle::Median && !is_number && is_known {
            cx.report(
                Problem::error(
                    "unused-param",
                    path!["numbers"],
                    "`numbers` is for a target of numbers, and classes are learned here",
                )
                .help("leave it out"),
            );
        }
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Baseline {
    fn features(&self, _: &Schema) -> Vec<String> {
        Vec::new()
    }

    fn target(&self, input: &Schema) -> Option<String> {
        classifier::target_name(self.target.as_ref(), input)
    }

    fn fit(
        &self,
        train: &Frame,
        _validation: Option<&Frame>,
        _cx: &mut FitContext<'_>,
    ) -> Result<State> {
        check_total(row_weights(train)?.as_ref())?;
        let truth = Truth::of(self.named(), self.target(&train.schema), train)?;
        let Shares {
            outputs,
            sums,
            weights,
            ..
        } = Shares::of(&truth, &ClassWeight::default(), train)?;
        let total: f64 = weights.iter().sum();
        if total <= 0.0 {
            return Err(Error::data("there are no training rows to learn from"));
        }
        let means: Vec<f64> = (0..outputs)
            .map(|output| sums.iter().skip(output).step_by(outputs).sum::<f64>() / total)
            .collect();
        let answer = match (&truth.target, means.as_slice()) {
            (Target::Numbers(_), _) if self.numbers == Middle::Median => {
                let pairs = truth.values.iter().copied().zip(weights).collect();
                vec![crate::boost::quantile(pairs, 0.5)]
            }
            (Target::Classes(_), [second]) => vec![1.0 - second, *second],
            _ => means,
        };
        let learned = Learned {
            target: truth.target,
            answer,
        };
        State::from_data(VERSION, &learned)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        learned.target.check()?;
        if learned.answer.len() != learned.target.classes().unwrap_or(1) {
            return Err(Error::State("the answer does not fit the target".into()));
        }
        Ok(Box::new(learned))
    }
}

/// The fitted state.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    target: Target,
    /// The share of each class, or the number.
    answer: Vec<f64>,
}

impl Predictor for Learned {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let shape = (batch.height(), self.answer.len());
        let answers = Array2::from_shape_fn(shape, |(_, place)| self.answer[place]);
        self.target.columns(&answers)
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::Role;

    use super::*;
    use crate::testing::{check, close, numbers_of, params, predict, with_roles};

    #[test]
    fn shares_means_and_medians() {
        let data = df!("kind" => ["a", "b", "a", "a"], "price" => [1.0, 2.0, 3.0, 14.0], "times" => [1, 1, 1, 5]).expect("a frame");
        let rows = df!("other" => [0, 0]).expect("a frame");
        let train = with_roles(
            data.clone(),
            &[("kind", Role::Target), ("times", Role::Ignore)],
        );
        let outputs = predict(&params::<Baseline>("{}"), &train, &rows).expect("outputs");
        close(&numbers_of(&outputs, "probability_a"), &[0.75, 0.75], 1e-12);
        close(&numbers_of(&outputs, "score"), &[0.25, 0.25], 1e-12);
        assert_eq!(outputs[0].str().expect("text").get(0), Some("a"));
        let of = |yaml: &str, role: Role| {
            let train = with_roles(data.clone(), &[("price", Role::Target), ("times", role)]);
            let outputs = predict(&params::<Baseline>(yaml), &train, &rows).expect("outputs");
            numbers_of(&outputs, "prediction")[0]
        };
        assert_eq!(of("{}", Role::Ignore), 5.0);
        assert_eq!(of("{numbers: median}", Role::Ignore), 2.5);
        assert_eq!(of("{}", Role::Weight), 9.5);
        assert_eq!(of("{numbers: median}", Role::Weight), 14.0);
    }

    #[test]
    fn a_median_of_classes_is_refused() {
        let data = df!("is_late" => [true, false]).expect("a frame");
        let train = with_roles(data, &[("is_late", Role::Target)]);
        let (output, problems) = check(&params::<Baseline>("{numbers: median}"), &train.schema);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert_eq!(problems[0].code, "unused-param");
        assert!(output.column("probability_true").is_some());
    }
}
