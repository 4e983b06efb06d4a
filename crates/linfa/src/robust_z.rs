//! `model.anomaly.robust_z`

use ndarray::{Array2, ArrayView1};
use polars::prelude::{Column as PolarsColumn, DataFrame, DataType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, Model, Predictor, Problem, Result, Schema,
    Shape, Stage, State,
    anomaly::{self, Scale, default_contamination},
    counted, features, path, register_kind,
};

use crate::records::{Features, is_learned};

const VERSION: u32 = 1;
/// The column that names the feature which deviates most.
const DEVIATES_IN: &str = "deviates_in";
/// For normal rows, the standard deviation in median absolute deviations: 1/Φ⁻¹(3/4).
const PER_MEDIAN_DEVIATION: f64 = 1.482_602_218_505_602;
/// For normal rows, the standard deviation in mean absolute deviations: √(π/2).
const PER_MEAN_DEVIATION: f64 = 1.253_314_137_315_500_3;

/// Finds rows with a value far from the middle of its column, measured so that the anomalies themselves hardly count.
///
/// A value's deviation is its distance from the median of the training rows, in units of 1.4826 times their median absolute deviation:
/// for normally distributed values a standard deviation (Iglewicz and Hoaglin: "How to Detect and Handle Outliers", 1993). Where more
/// than half of the values are equal, 1.2533 times the mean absolute deviation takes its place. A row is as strange as its most
/// deviating value.
///
/// Adds `prediction` (true: anomalous), `score`, the share of training rows that are less anomalous, and `deviates_in`, the feature that
/// deviates most. All models of anomalies share this scale. All rows count the same, whatever a column with role `weight` holds. A
/// missing value in a feature is an error.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RobustZ {
    /// The columns to look at: numbers, truth values, or arrays of numbers. Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The share of rows that are taken for anomalous: a row is where its score exceeds one minus this. Not with `deviation`.
    #[schemars(range(min = 0.0, max = 0.5))]
    contamination: Option<f64>,
    /// Rows that deviate by more than this are anomalous; 3.5 is usual. Instead of `contamination`.
    #[schemars(extend("exclusiveMinimum" = 0))]
    deviation: Option<f64>,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

register_kind! {
    RobustZ, "model.anomaly.robust_z", version: 1,
    example: "- model.anomaly.robust_z: {deviation: 3.5}",
}

impl Stage for RobustZ {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        features::check(self.features.as_deref(), None, input, is_learned, cx);
        if self.contamination.is_some() && self.deviation.is_some() {
            cx.report(
                Problem::error(
                    "one-of-two",
                    path!["contamination"],
                    "`contamination` and `deviation` both say which rows are anomalous",
                )
                .help("leave one of them out"),
            );
        }
        anomaly::with_outputs(input, vec![Column::new(DEVIATES_IN, DataType::String)], cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for RobustZ {
    fn features(&self, input: &Schema) -> Vec<String> {
        features::names(self.features.as_deref(), None, input, is_learned)
    }

    fn target(&self, _: &Schema) -> Option<String> {
        None
    }

    fn allow_pii(&self) -> bool {
        self.allow_pii
    }

    fn fit(
        &self,
        train: &Frame,
        _validation: Option<&Frame>,
        _cx: &mut FitContext<'_>,
    ) -> Result<State> {
        let (features, records) = Features::fit(&train.data, self.features(&train.schema))?;
        let mut medians = Vec::with_capacity(records.ncols());
        let mut deviations = Vec::with_capacity(records.ncols());
        for (place, column) in records.columns().into_iter().enumerate() {
            let (median, deviation) = spread(column);
            if deviation == 0.0 {
                return Err(Error::data(format!(
                    "the feature `{}` is {median} in all {}, so no deviation can be measured; leave it out (`features:`)",
                    features.name_of(place),
                    counted(column.len(), "training row")
                )));
            }
            medians.push(median);
            deviations.push(deviation);
        }
        let centre = Centre {
            medians,
            deviations,
        };
        let measures: Vec<f64> = centre
            .measures(&records)
            .map(|(measure, _)| measure)
            .collect();
        let learned = Learned {
            features,
            scale: Scale::learn(measures)?,
            contamination: self.contamination.unwrap_or_else(default_contamination),
            deviation: self.deviation,
            centre,
        };
        State::from_data(VERSION, &learned)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        let count = learned.features.numbers();
        let centre = &learned.centre;
        let is_sound = [centre.medians.len(), centre.deviations.len()] == [count; 2]
            && centre.deviations.iter().all(|deviation| *deviation > 0.0);
        if !is_sound {
            return Err(Error::State(
                "the medians and deviations do not fit the features".into(),
            ));
        }
        Ok(Box::new(learned))
    }
}

/// The fitted state.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    #[serde(flatten)]
    features: Features,
    scale: Scale,
    contamination: f64,
    deviation: Option<f64>,
    centre: Centre,
}

impl Predictor for Learned {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let records = self.features.matrix(batch)?;
        let (measures, places): (Vec<f64>, Vec<usize>) = self.centre.measures(&records).unzip();
        let mut columns = self.scale.columns(&measures, self.contamination);
        if let Some(most) = self.deviation {
            let is_anomalous: Vec<bool> = measures.iter().map(|measure| *measure > most).collect();
            columns[0] = PolarsColumn::new(columns[0].name().clone(), is_anomalous);
        }
        let names: Vec<&str> = places
            .iter()
            .map(|place| self.features.name_of(*place))
            .collect();
        columns.push(PolarsColumn::new(DEVIATES_IN.into(), names));
        Ok(columns)
    }
}

/// Where the middle of each number is, and how far from it is usual.
#[derive(Debug, Serialize, Deserialize)]
struct Centre {
    medians: Vec<f64>,
    deviations: Vec<f64>,
}

impl Centre {
    /// The greatest deviation of each row, and the place of the number that has it; the first of equal ones.
    fn measures(&self, records: &Array2<f64>) -> impl Iterator<Item = (f64, usize)> {
        records.rows().into_iter().map(|row| {
            row.iter()
                .zip(self.medians.iter().zip(&self.deviations))
                .map(|(value, (median, deviation))| (value - median).abs() / deviation)
                .enumerate()
                .fold((0.0, 0), |greatest, (place, measure)| {
                    if measure > greatest.0 {
                        (measure, place)
                    } else {
                        greatest
                    }
                })
        })
    }
}

/// The median of a column, and its robust standard deviation; 0 where all values are equal.
fn spread(column: ArrayView1<'_, f64>) -> (f64, f64) {
    let median_value = median(column.to_vec());
    let distances: Vec<f64> = column
        .iter()
        .map(|value| (value - median_value).abs())
        .collect();
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    let deviation = PER_MEDIAN_DEVIATION * median(distances);
    if deviation > 0.0 {
        (median_value, deviation)
    } else {
        (median_value, PER_MEAN_DEVIATION * mean)
    }
}

/// The middle value, or the mean of the two middle ones; `values` holds at least one.
fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    let is_odd = values.len() % 2 == 1;
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if is_odd {
        *upper
    } else {
        let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        lower + (*upper - lower) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::serde_yaml;

    use super::*;
    use crate::testing::{close, numbers_of, params, predict, tumours, with_roles};

    fn predicted(params: &str, train: DataFrame, rows: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let model: RobustZ = serde_yaml::from_str(params).expect("params");
        let schema = Schema::from_polars(train.schema());
        let train = Frame {
            data: train,
            schema,
        };
        let state = model.fit(&train, None, &mut FitContext::quiet(1))?;
        let state = State::from_bytes(&state.to_bytes()?)?;
        model.load(&state)?.predict(rows)
    }

    /// tests/peers/robust_z.py: the middles, deviations and ranks of scipy's `median_abs_deviation` and `rankdata`.
    #[test]
    fn tumours_deviate_as_those_of_scipy() {
        let train = with_roles(tumours(), &[("diagnosis", taktline_core::Role::Target)]);
        let model: RobustZ = params("{deviation: 3.5}");
        let state = model
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("a state");
        let learned: Learned = state.data(VERSION).expect("data");
        close(&learned.centre.medians[..3], &[13.37, 18.84, 86.24], 1e-9);
        close(
            &learned.centre.deviations[..3],
            &[2.816944215161, 4.166112234001, 18.84387419721],
            1e-9,
        );
        let records = learned.features.matrix(&train.data).expect("records");
        let measures: Vec<f64> = learned
            .centre
            .measures(&records)
            .map(|(measure, _)| measure)
            .collect();
        let rows = [0, 19, 100, 300, 568];
        let wanted = [
            9.458269217385,
            1.075343089281,
            1.535905066266,
            7.961034080932,
            3.069993347208,
        ];
        close(&rows.map(|row| measures[row]), &wanted, 1e-9);
        close(&[measures.iter().sum::<f64>()], &[1752.824693572], 1e-9);
        let outputs = predict(&model, &train, &train.data).expect("outputs");
        let scores = numbers_of(&outputs, "score");
        let wanted = [
            0.9666666666667,
            0.06491228070175,
            0.2964912280702,
            0.9491228070175,
            0.680701754386,
        ];
        close(&rows.map(|row| scores[row]), &wanted, 1e-9);
        let flagged = outputs[0].bool().expect("bool").iter();
        assert_eq!(flagged.filter(|is| *is == Some(true)).count(), 155);
        let names = outputs[2].str().expect("text");
        assert_eq!(
            rows.map(|row| names.get(row)),
            [
                "area_error",
                "mean_texture",
                "worst_texture",
                "area_error",
                "mean_smoothness"
            ]
            .map(Some)
        );
    }

    #[test]
    fn a_deviation_is_measured_from_the_median() {
        // Median 3; distances 2, 1, 0, 1, 97, of which the median is 1: 100 deviates by 97 / 1.4826.
        let train = df!("size" => [1.0, 2.0, 3.0, 4.0, 100.0]).expect("a frame");
        let flags = |deviation: f64| -> Vec<Option<bool>> {
            let params = format!("{{deviation: {deviation}}}");
            let outputs = predicted(&params, train.clone(), &train).expect("outputs");
            outputs[0].bool().expect("bool").iter().collect()
        };
        let only_last = [false, false, false, false, true].map(Some);
        assert_eq!(flags(65.42), only_last);
        assert_eq!(flags(65.43), [Some(false); 5]);
        assert_eq!(flags(3.5), only_last);
    }

    #[test]
    fn the_feature_that_deviates_most_is_named() {
        let train = df!("size" => [1.0, 2.0, 3.0, 4.0, 5.0], "weight" => [10, 20, 30, 40, 50])
            .expect("a frame");
        let rows = df!("size" => [3.0, 9.0], "weight" => [90, 31]).expect("a frame");
        let outputs = predicted("{}", train, &rows).expect("outputs");
        let names: Vec<Option<&str>> = outputs[2].str().expect("text").iter().collect();
        assert_eq!(names, [Some("weight"), Some("size")]);
        let scores: Vec<f64> = outputs[1].f64().expect("f64").iter().flatten().collect();
        assert!(
            scores.iter().all(|score| *score > 0.8 && *score < 1.0),
            "{scores:?}"
        );
    }

    #[test]
    fn mostly_equal_values_are_measured_by_their_mean_distance() {
        let (middle, deviation) = spread(ndarray::array![5.0, 5.0, 5.0, 9.0].view());
        assert_eq!(middle, 5.0);
        assert!((deviation - PER_MEAN_DEVIATION).abs() < 1e-12);
    }

    #[test]
    fn a_constant_feature_and_two_thresholds_are_refused() {
        let train = df!("size" => [2.0, 2.0]).expect("a frame");
        let error = predicted("{}", train.clone(), &train)
            .expect_err("constant")
            .to_string();
        assert!(
            error.contains("`size` is 2 in all 2 training rows"),
            "{error}"
        );

        let capabilities = taktline_core::Capabilities::default();
        let mut cx = CheckContext {
            stage: "robust_z",
            seed: 7,
            directory: std::path::Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        let model: RobustZ =
            serde_yaml::from_str("{contamination: 0.1, deviation: 3.5}").expect("params");
        let output = model.check(&[Schema::from_polars(train.schema())], &mut cx);
        assert_eq!(cx.problems.len(), 1);
        assert_eq!(cx.problems[0].code, "one-of-two");
        let names: Vec<&str> = output.names().collect();
        assert_eq!(names, ["size", "prediction", "score", "deviates_in"]);
    }
}
