//! `model.linfa.pls`

use ndarray::{Array1, Array2};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, FitContext, Frame, Model, Predictor, Problem, Result, Schema, Shape,
    Stage, State, classifier, counted, features, path, register_kind,
};

use crate::{
    linear::Linear,
    linear_regression::{Sums, check},
    records::{is_learned, width},
};

const VERSION: u32 = 1;

/// Learns a number from many features that depend on each other (spectra, sensors side by side): partial least squares.
///
/// The features are brought together into a few components, each the direction that varies most together with the target; the target is
/// a weighted sum of these (Wold, Sjöström, Eriksson: "PLS-regression: a basic tool of chemometrics", 2001). With as many components as
/// features it is least squares. The components are found from the features' covariances (Dayal, MacGregor: "Improved PLS
/// algorithms", Journal of Chemometrics 11, 1997), in one pass over the rows.
///
/// Adds the column `prediction`, in the target's unit. Rows count by the column with role `weight`, if there is one. A missing value in a
/// feature is an error. linfa-pls 0.8 finds the same (a test holds the two side by side) but takes no row weights and goes through all
/// rows for each component.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pls {
    /// The columns to learn from: numbers, truth values, or arrays of numbers, each number of which is a feature of its own.
    /// Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The column to predict, of numbers. Default: the column with role `target`.
    target: Option<String>,
    /// How many components; fewer where fewer explain the target wholly.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 10_000))]
    components: usize,
    /// Whether features are brought to unit variance first. Without it, those of greater variance count more.
    #[serde(default = "yes")]
    scale: bool,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

fn two() -> usize {
    2
}
fn yes() -> bool {
    true
}

register_kind! {
    Pls, "model.linfa.pls", version: 1,
    example: "- model.linfa.pls: {components: 5}",
}

impl Pls {
    /// Reports more components than there are numbers, where the columns tell how many there are.
    fn check_components(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        let widths = self.features(input).into_iter().map(|name| {
            let column = input.column(&name).filter(|column| !column.is_open());
            column.and_then(|column| width(&column.dtype))
        });
        let Some(numbers) = widths.sum::<Option<usize>>() else {
            return;
        };
        if self.components > numbers && numbers > 0 && !input.incomplete {
            cx.report(
                Problem::error(
                    "out-of-range",
                    path!["components"],
                    too_many(self.components, numbers),
                )
                .help(format!(
                    "with `components: {numbers}` it is least squares: use fewer"
                )),
            );
        }
    }
}

fn too_many(components: usize, numbers: usize) -> String {
    format!(
        "`components: {components}` is more than the {} that a row gives",
        counted(numbers, "number")
    )
}

impl Stage for Pls {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        if let [input] = inputs {
            self.check_components(input, cx);
        }
        check(self.features.as_deref(), self.target.as_deref(), inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Pls {
    fn features(&self, input: &Schema) -> Vec<String> {
        let target = self.target(input);
        features::names(
            self.features.as_deref(),
            target.as_deref(),
            input,
            is_learned,
        )
    }

    fn target(&self, input: &Schema) -> Option<String> {
        classifier::target_name(self.target.as_ref(), input)
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
        let sums = Sums::of(
            train,
            self.features(&train.schema),
            self.target(&train.schema),
            true,
        )?;
        let numbers = sums.cross.len();
        if self.components > numbers {
            return Err(Error::data(too_many(self.components, numbers)));
        }
        let scales: Array1<f64> =
            sums.gram
                .diag()
                .mapv(|squares| match self.scale && squares > 0.0 {
                    true => (squares / sums.weight).sqrt(),
                    false => 1.0,
                });
        let gram = Array2::from_shape_fn(sums.gram.raw_dim(), |(left, right)| {
            sums.gram[[left, right]] / (scales[left] * scales[right])
        });
        let coefficients = components(&gram, &sums.cross / &scales, self.components) / &scales;
        sums.into_linear(coefficients).store(VERSION)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        Ok(Box::new(Linear::read(VERSION, state)?))
    }
}

/// The coefficients of so many components.
///
/// `gram` holds the sums of products of the centred features, `cross` those with the target.
fn components(gram: &Array2<f64>, mut cross: Array1<f64>, most: usize) -> Array1<f64> {
    let mut coefficients = Array1::zeros(cross.len());
    let mut found: Vec<(Array1<f64>, Array1<f64>)> = Vec::new();
    let first = cross.dot(&cross).sqrt();
    for _ in 0..most {
        let length = cross.dot(&cross).sqrt();
        // What is left of the target is rounding.
        let is_left = length > 1e-12 * first;
        if !is_left {
            break;
        }
        let direction = &cross / length;
        let mut rotation = direction.clone();
        for (loading, earlier) in &found {
            rotation.scaled_add(-loading.dot(&direction), earlier);
        }
        let projected = gram.dot(&rotation);
        let variance = rotation.dot(&projected);
        let is_varied = variance > 0.0;
        if !is_varied {
            break;
        }
        let loading = projected / variance;
        let share = rotation.dot(&cross) / variance;
        cross.scaled_add(-share * variance, &loading);
        coefficients.scaled_add(share, &rotation);
        found.push((loading, rotation));
    }
    coefficients
}

#[cfg(test)]
mod tests {
    use linfa::{
        Dataset,
        traits::{Fit, Predict},
    };
    use polars::prelude::{DataType, df};
    use taktline_core::{Column, Role};

    use super::*;
    use crate::{records::Features, testing::*};

    const FEATURES: [&str; 5] = [
        "mean_texture",
        "mean_smoothness",
        "mean_symmetry",
        "worst_texture",
        "mean_compactness",
    ];

    fn model(more: &str) -> Pls {
        params(&format!(
            "{{target: mean_radius, features: {FEATURES:?}, {more}}}"
        ))
    }

    #[test]
    fn finds_what_scikit_learn_finds() {
        // tests/peers/bayes_pls.py
        let cases: [(&str, [f64; 6]); 4] = [
            (
                "components: 1",
                [
                    0.1233510714,
                    19.87383794,
                    8.830561217,
                    0.07918087417,
                    15.70294636,
                    16.06237929,
                ],
            ),
            (
                "components: 3",
                [
                    0.1183600609,
                    -35.90246863,
                    -27.89208635,
                    0.01277701231,
                    46.18263446,
                    18.48225674,
                ],
            ),
            (
                "components: 5",
                [
                    0.1627424225,
                    -45.39493397,
                    -23.42186205,
                    -0.01948431101,
                    46.49255061,
                    18.47211556,
                ],
            ),
            (
                "components: 2, scale: false",
                [
                    0.2634143747,
                    0.004066108245,
                    0.005830954976,
                    0.001866827395,
                    0.03970948675,
                    11.77210323,
                ],
            ),
        ];
        let train = with_roles(tumours(), &[]);
        for (more, expected) in cases {
            let model = model(more);
            let state = model
                .fit(&train, None, &mut FitContext::quiet(1))
                .expect("a fit");
            let linear = Linear::read(VERSION, &state).expect("a model");
            close(&linear.coefficients.to_vec(), &expected[..5], 1e-7);
            let outputs = predict(&model, &train, &train.data).expect("predictions");
            close(
                &numbers_of(&outputs, "prediction")[..1],
                &expected[5..],
                1e-8,
            );
        }
    }

    #[test]
    fn finds_what_linfa_finds() {
        let train = with_roles(tumours(), &[]);
        let names = FEATURES.map(str::to_owned).to_vec();
        let (_, records) = Features::fit(&train.data, names).expect("records");
        let records = records.as_standard_layout().into_owned();
        let radii = values(&train.data, "mean_radius");
        let targets = Array2::from_shape_vec((radii.len(), 1), radii).expect("a column");
        let linfa = linfa_pls::PlsRegression::params(2)
            .scale(true)
            .max_iterations(1000)
            .tolerance(1e-12)
            .fit(&Dataset::new(records.clone(), targets))
            .expect("linfa's model");
        let theirs = linfa.predict(&records);
        let outputs = predict(&model("components: 2"), &train, &train.data).expect("predictions");
        close(
            &numbers_of(&outputs, "prediction"),
            &theirs.iter().copied().collect::<Vec<f64>>(),
            1e-8,
        );
    }

    #[test]
    fn one_component_of_equal_sensors_is_their_mean() {
        // Three sensors with the same reading, far more exact together than they could be told apart.
        let data = df!(
            "a" => [1.0, 2.0, 3.0, 4.0],
            "b" => [1.0, 2.0, 3.0, 4.0],
            "c" => [1.0, 2.0, 3.0, 4.0],
            "heat" => [10.0, 16.0, 22.0, 28.0],
        )
        .expect("a frame");
        let train = with_roles(data.clone(), &[("heat", Role::Target)]);
        let model: Pls = params("{components: 3}");
        let state = model
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("a fit");
        let linear = Linear::read(VERSION, &state).expect("a model");
        close(&linear.coefficients.to_vec(), &[2.0; 3], 1e-12);
        close(&[linear.intercept], &[4.0], 1e-12);
        assert_eq!(
            refusal(&params::<Pls>("{components: 4}"), &train),
            "`components: 4` is more than the 3 numbers that a row gives"
        );
    }

    #[test]
    fn check_finds_every_problem() {
        let input = Schema::new(vec![
            Column::new("size", DataType::Float64),
            Column::new("price", DataType::String).with_role(Role::Target),
        ]);
        assert_eq!(
            codes(&params::<Pls>("{features: [sise]}"), &input),
            ["wrong-type", "unknown-column"]
        );
    }

    #[test]
    fn what_cannot_be_squared_is_refused() {
        let train = with_roles(tumours(), &[]);
        refuses_what_cannot_be_squared(&model("components: 2"), &train, "mean_texture", false);
    }
}
