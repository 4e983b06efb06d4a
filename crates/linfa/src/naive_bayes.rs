//! `model.linfa.naive_bayes`

use ndarray::{Array1, Array2, ArrayView1, Axis};
use polars::prelude::{Column as PolarsColumn, DataFrame};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, FitContext, Frame, Label, Model, Predictor, Problem, Result, Schema,
    Shape, Stage, State, TensorData, classifier, features, path, register_kind,
};

use crate::{
    class_weight::ClassWeight,
    labels::{Classifier, Labels},
    linear::weight_of,
    records::{Features, is_learned, matrix, numbers, row_weights, with_matrix},
};

const VERSION: u32 = 1;

/// Learns the classes by Bayes' rule as if the features were independent of each other within each class: fast, and good with few rows or
/// many words.
///
/// `event` says what a feature is within a class: `gaussian`, a normally distributed number; `multinomial`, a count of a thing among
/// others (of a word; tf-idf weights do too); `bernoulli`, a thing that is there or not. The probabilities rank well but lie too near
/// to 0 and 1 where features depend on each other.
///
/// Adds the columns `prediction` (the likeliest label, in the target's type), `probability_<label>` for each class and, for two
/// classes, `score`: the probability of the positive one. Rows count by the column with role `weight`, if there is one. The figures are
/// those of scikit-learn's `GaussianNB`, `MultinomialNB` and `BernoulliNB`. A missing value in a feature is an error.
///
/// One pass over the rows, features in parallel. linfa-bayes 0.8 is not called because it takes neither row weights nor class weights.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NaiveBayes {
    /// The columns to learn from: numbers, truth values, or arrays of numbers, each number of which is a feature of its own.
    /// Default: every column with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The column to predict: text, whole numbers, true or false. Default: the column with role `target`.
    target: Option<String>,
    /// What a feature is within a class.
    #[serde(default)]
    event: Event,
    /// How much the rows of each class count: `none` (all the same), `balanced` (each class as much as any other), or a weight for
    /// each label, where labels that are not named count 1.
    #[serde(default)]
    class_weight: ClassWeight,
    /// Of two classes, the one whose probability is the `score`. Default: `true`, else `1`, else the last label.
    positive: Option<Label>,
    /// For `multinomial` and `bernoulli`: what is added to each count, so that a word not seen with a class does not rule the class out.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-10))]
    smoothing: f64,
    /// For `gaussian`: what is added to each variance, as a share of the greatest variance of all features.
    #[serde(default = "variance_smoothing")]
    #[schemars(range(min = 0.0, max = 1.0))]
    variance_smoothing: f64,
    /// For `bernoulli`: a feature is there where its number is above this.
    #[serde(default)]
    threshold: f64,
    /// Whether features may hold personal data (role `pii`).
    #[serde(default)]
    allow_pii: bool,
}

fn one() -> f64 {
    1.0
}
fn variance_smoothing() -> f64 {
    1e-9
}

/// What a feature is within a class.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Event {
    /// A normally distributed number.
    #[default]
    Gaussian,
    /// A count of a thing among others.
    Multinomial,
    /// There or not.
    Bernoulli,
}

register_kind! {
    NaiveBayes, "model.linfa.naive_bayes", version: 1,
    example: "- model.linfa.naive_bayes: {event: multinomial, smoothing: 0.5}",
}

impl NaiveBayes {
    /// Reports what this event does not use.
    fn check_unused(&self, cx: &mut CheckContext<'_>) {
        let is_gaussian = self.event == Event::Gaussian;
        let unused = [
            (
                "smoothing",
                is_gaussian && self.smoothing != one(),
                "`multinomial` and `bernoulli`",
            ),
            (
                "variance_smoothing",
                !is_gaussian && self.variance_smoothing != variance_smoothing(),
                "`gaussian`",
            ),
            (
                "threshold",
                self.event != Event::Bernoulli && self.threshold != 0.0,
                "`bernoulli`",
            ),
        ];
        for (key, _, events) in unused.into_iter().filter(|(_, is_unused, _)| *is_unused) {
            let event = match self.event {
                Event::Gaussian => "gaussian",
                Event::Multinomial => "multinomial",
                Event::Bernoulli => "bernoulli",
            };
            cx.report(
                Problem::error(
                    "unused-param",
                    path![key],
                    format!("`{key}` is for {events}, and `event` is `{event}`"),
                )
                .help("leave it out, or say another `event`"),
            );
        }
    }
}

impl Stage for NaiveBayes {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        self.check_unused(cx);
        Classifier {
            features: self.features.as_deref(),
            target: self.target.as_deref(),
            class_weight: &self.class_weight,
            positive: self.positive.as_ref(),
        }
        .check(inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for NaiveBayes {
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
        cx: &mut FitContext<'_>,
    ) -> Result<State> {
        let (labels, codes) =
            Labels::fit(train, self.target(&train.schema), self.positive.as_ref())?;
        let row_weights = row_weights(train)?;
        let class_weights =
            self.class_weight
                .of_each(&labels.classes, &codes, row_weights.as_ref())?;
        let names = self.features(&train.schema);
        let (features, records) = match self.event {
            Event::Gaussian => Features::fit_squared(&train.data, names)?,
            Event::Multinomial | Event::Bernoulli => Features::fit(&train.data, names)?,
        };
        if self.event == Event::Multinomial {
            refuse_negative(&features, &records)?;
        }
        cx.cancellation.check()?;
        let rows = Rows {
            weights: codes
                .iter()
                .enumerate()
                .map(|(row, code)| {
                    class_weights[*code as usize] * weight_of(row_weights.as_ref(), row)
                })
                .collect(),
            codes: &codes,
            classes: labels.classes.len(),
        };
        let totals = rows.sums(|_| 1.0);
        if let Some(class) = totals.iter().position(|total| *total <= 0.0) {
            return Err(Error::data(format!(
                "the training rows with the label `{}` weigh nothing; each class needs a row that counts",
                labels.classes[class]
            )));
        }
        let all: f64 = totals.iter().sum();
        let priors = totals.iter().map(|total| (total / all).ln()).collect();
        let learned = Learned {
            features,
            labels,
            event: self.event,
            threshold: self.threshold,
        };
        let state = State::from_data(VERSION, &learned)?;
        let model = match self.event {
            Event::Gaussian => gaussian(&rows, &records, &totals, self.variance_smoothing, priors)?,
            Event::Multinomial => multinomial(&rows, &records, self.smoothing, priors),
            Event::Bernoulli => bernoulli(
                &rows,
                &binary(&records, self.threshold),
                &totals,
                self.smoothing,
                priors,
            ),
        };
        Ok(model.store(state))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        learned.labels.check()?;
        let shape = [learned.labels.classes.len(), learned.features.numbers()];
        let constants = numbers(state.tensor("constants")?, &shape[..1])?.into();
        let terms = match learned.event {
            Event::Gaussian => Terms::Normal {
                means: matrix(state, "means", shape)?,
                variances: matrix(state, "variances", shape)?,
            },
            Event::Multinomial | Event::Bernoulli => Terms::Counts(matrix(state, "counts", shape)?),
        };
        let model = Fitted { constants, terms };
        Ok(Box::new(BayesPredictor { learned, model }))
    }
}

fn refuse_negative(features: &Features, records: &Array2<f64>) -> Result<()> {
    let is_negative = |number: &usize| records.column(*number).iter().any(|value| *value < 0.0);
    match (0..records.ncols()).find(is_negative) {
        None => Ok(()),
        Some(number) => Err(Error::data(format!(
            "the feature `{}` has numbers below 0, which are no counts; take `event: gaussian`, or leave the feature out",
            features.name_of(number)
        ))),
    }
}

fn binary(records: &Array2<f64>, threshold: f64) -> Array2<f64> {
    records.mapv(|value| f64::from(value > threshold))
}

/// The training rows' weights and classes.
struct Rows<'a> {
    weights: Vec<f64>,
    codes: &'a [u32],
    classes: usize,
}

impl Rows<'_> {
    /// For each class the weighted sum of a value of its rows.
    fn sums(&self, value: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut sums = vec![0.0; self.classes];
        for (row, code) in self.codes.iter().enumerate() {
            sums[*code as usize] += self.weights[row] * value(row);
        }
        sums
    }

    /// For each class and number the weighted sum.
    fn of_each(&self, records: &Array2<f64>) -> Array2<f64> {
        let columns: Vec<Vec<f64>> = (0..records.ncols())
            .into_par_iter()
            .map(|number| {
                let column = records.column(number);
                self.sums(|row| column[row])
            })
            .collect();
        Array2::from_shape_fn((self.classes, records.ncols()), |(class, number)| {
            columns[number][class]
        })
    }
}

/// The log probability of a class and a row, up to what all classes share: a constant and a term for each number.
struct Fitted {
    constants: Array1<f64>,
    terms: Terms,
}

/// Arrays (classes, numbers).
enum Terms {
    Normal {
        means: Array2<f64>,
        variances: Array2<f64>,
    },
    /// What each unit of a number adds.
    Counts(Array2<f64>),
}

fn gaussian(
    rows: &Rows<'_>,
    records: &Array2<f64>,
    totals: &[f64],
    smoothing: f64,
    priors: Array1<f64>,
) -> Result<Fitted> {
    let greatest = (0..records.ncols())
        .into_par_iter()
        .map(|number| variance(records.column(number)))
        .reduce(|| 0.0, f64::max);
    let mut means = rows.of_each(records);
    for (mut mean, total) in means.rows_mut().into_iter().zip(totals) {
        mean /= *total;
    }
    let columns: Vec<Vec<f64>> = (0..records.ncols())
        .into_par_iter()
        .map(|number| {
            let column = records.column(number);
            rows.sums(|row| (column[row] - means[[rows.codes[row] as usize, number]]).powi(2))
        })
        .collect();
    let variances = Array2::from_shape_fn(means.raw_dim(), |(class, number)| {
        columns[number][class] / totals[class] + smoothing * greatest
    });
    if variances
        .iter()
        .any(|variance| !variance.is_normal() || *variance < 0.0)
    {
        return Err(Error::data(
            "a feature never changes within a class, or is too large to be squared; raise `variance_smoothing`, or leave the feature out",
        ));
    }
    let spread = variances
        .mapv(|variance| (std::f64::consts::TAU * variance).ln())
        .sum_axis(Axis(1));
    Ok(Fitted {
        constants: priors - spread / 2.0,
        terms: Terms::Normal { means, variances },
    })
}

/// Divided by n. ndarray's own divides at every row, for columns too long to be read twice.
fn variance(column: ArrayView1<'_, f64>) -> f64 {
    let rows = column.len() as f64;
    let mean = column.sum() / rows;
    column
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / rows
}

fn multinomial(
    rows: &Rows<'_>,
    records: &Array2<f64>,
    smoothing: f64,
    priors: Array1<f64>,
) -> Fitted {
    let mut counts = rows.of_each(records) + smoothing;
    for mut class in counts.rows_mut() {
        let total = class.sum();
        class.mapv_inplace(|count| (count / total).ln());
    }
    Fitted {
        constants: priors,
        terms: Terms::Counts(counts),
    }
}

fn bernoulli(
    rows: &Rows<'_>,
    records: &Array2<f64>,
    totals: &[f64],
    smoothing: f64,
    priors: Array1<f64>,
) -> Fitted {
    let mut counts = rows.of_each(records);
    let mut constants = priors;
    for (class, mut counts) in counts.rows_mut().into_iter().enumerate() {
        let total = totals[class] + 2.0 * smoothing;
        for count in &mut counts {
            let there = (*count + smoothing) / total;
            // Not there is what a row begins with; each thing that is there changes that.
            let absent = (1.0 - there).ln();
            constants[class] += absent;
            *count = there.ln() - absent;
        }
    }
    Fitted {
        constants,
        terms: Terms::Counts(counts),
    }
}

impl Fitted {
    fn store(&self, state: State) -> State {
        let state = state.with_tensor(
            "constants",
            vec![self.constants.len()],
            TensorData::F64(self.constants.to_vec()),
        );
        match &self.terms {
            Terms::Normal { means, variances } => {
                let state = with_matrix(state, "means", means);
                with_matrix(state, "variances", variances)
            }
            Terms::Counts(counts) => with_matrix(state, "counts", counts),
        }
    }

    /// The probability of each class (columns); a row's operations do not depend on other rows.
    fn probabilities(&self, records: &Array2<f64>) -> Array2<f64> {
        let classes = self.constants.len();
        let mut probabilities = Array2::zeros((records.nrows(), classes));
        for class in 0..classes {
            let mut sums = probabilities.column_mut(class);
            sums.fill(self.constants[class]);
            for (number, values) in records.columns().into_iter().enumerate() {
                match &self.terms {
                    Terms::Normal { means, variances } => {
                        let (mean, variance) = (means[[class, number]], variances[[class, number]]);
                        sums.zip_mut_with(&values, |sum, value| {
                            *sum -= (value - mean).powi(2) / (2.0 * variance);
                        });
                    }
                    Terms::Counts(counts) => sums.scaled_add(counts[[class, number]], &values),
                }
            }
        }
        for mut row in probabilities.rows_mut() {
            let greatest = row.fold(f64::NEG_INFINITY, |greatest, value| greatest.max(*value));
            row.mapv_inplace(|value| (value - greatest).exp());
            let total = row.sum();
            row /= total;
        }
        probabilities
    }
}

/// The JSON part of the fitted state.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    #[serde(flatten)]
    features: Features,
    #[serde(flatten)]
    labels: Labels,
    event: Event,
    threshold: f64,
}

struct BayesPredictor {
    learned: Learned,
    model: Fitted,
}

impl Predictor for BayesPredictor {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let mut records = self.learned.features.matrix(batch)?;
        match self.learned.event {
            Event::Gaussian => {}
            Event::Multinomial => refuse_negative(&self.learned.features, &records)?,
            Event::Bernoulli => records = binary(&records, self.learned.threshold),
        }
        let probabilities = self.model.probabilities(&records);
        if let Some((place, _)) = probabilities
            .indexed_iter()
            .find(|(_, value)| !value.is_finite())
        {
            return Err(Error::data(format!(
                "the features of row {} are too far outside of those of training to be weighed",
                place.0 + 1
            )));
        }
        self.learned.labels.columns(&probabilities)
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{DataType, df};
    use taktline_core::{Column, Role};

    use super::*;
    use crate::testing::*;

    const FEATURES: [&str; 5] = [
        "mean_texture",
        "mean_smoothness",
        "mean_symmetry",
        "worst_texture",
        "mean_compactness",
    ];

    /// The probabilities of some rows, and the sum over all.
    fn judged(more: &str, weighted: bool, counts: bool) -> Vec<f64> {
        let model: NaiveBayes = params(&format!(
            "{{target: diagnosis, features: {FEATURES:?}, positive: M, {more}}}"
        ));
        let mut data = tumours();
        let weights = (0..data.height())
            .map(|row| 1.0 + (row % 3) as f64)
            .collect();
        data = with_column(data, "count", weights);
        if counts {
            for (name, unit) in FEATURES.iter().zip([1.0, 100.0, 50.0, 1.0, 100.0]) {
                let whole = values(&data, name)
                    .iter()
                    .map(|value| (value * unit).floor())
                    .collect();
                data = with_column(data, name, whole);
            }
        }
        let role = if weighted { Role::Weight } else { Role::Ignore };
        let train = with_roles(data, &[("count", role)]);
        let outputs = predict(&model, &train, &train.data).expect("predictions");
        let scores = numbers_of(&outputs, "score");
        let mut found: Vec<f64> = [0, 19, 100, 300, 568].map(|row| scores[row]).to_vec();
        found.push(scores.iter().sum());
        found
    }

    #[test]
    fn params_of_other_events_are_refused() {
        let schema = with_roles(tumours(), &[]).schema;
        let codes = |text: &str| {
            let model: NaiveBayes = params(&format!("{{target: diagnosis, {text}}}"));
            codes(&model, &schema)
        };
        assert_eq!(codes("smoothing: 0.5"), ["unused-param"]);
        assert_eq!(codes("event: multinomial, threshold: 1"), ["unused-param"]);
        assert_eq!(
            codes("event: bernoulli, variance_smoothing: 0.1"),
            ["unused-param"]
        );
        assert!(codes("event: bernoulli, threshold: 1, smoothing: 2").is_empty());
    }

    #[test]
    fn finds_what_scikit_learn_finds() {
        // tests/peers/bayes_pls.py
        let cases: [(&str, bool, bool, [f64; 6]); 6] = [
            (
                "event: gaussian",
                false,
                false,
                [
                    0.9999938035,
                    0.0123022481,
                    0.6384800532,
                    0.9349072355,
                    0.01127455825,
                    208.1512499,
                ],
            ),
            (
                "event: gaussian",
                true,
                false,
                [
                    0.9999909722,
                    0.01166192022,
                    0.6107710157,
                    0.9320126184,
                    0.01094563289,
                    205.3143782,
                ],
            ),
            (
                "class_weight: balanced",
                false,
                false,
                [
                    0.9999963203,
                    0.02054366157,
                    0.7483671698,
                    0.9602957631,
                    0.01884064343,
                    232.6576457,
                ],
            ),
            (
                "event: multinomial",
                false,
                true,
                [
                    0.9968047184,
                    0.2654041102,
                    0.1543925303,
                    0.8259868494,
                    0.0783248711,
                    211.8691939,
                ],
            ),
            (
                "event: multinomial, smoothing: 0.5",
                true,
                true,
                [
                    0.9962354123,
                    0.2641631117,
                    0.1571507714,
                    0.8160573276,
                    0.08134535131,
                    210.5363522,
                ],
            ),
            (
                "event: bernoulli, threshold: 0.1",
                false,
                false,
                [
                    0.8083278048,
                    0.07427730528,
                    0.07427730528,
                    0.8083278048,
                    0.07427730528,
                    215.8134358,
                ],
            ),
        ];
        for (more, weighted, counts, expected) in cases {
            close(&judged(more, weighted, counts), &expected, 1e-8);
        }
    }

    /// tests/peers/classes.py: accuracy and logarithmic loss on every third row, of three sizes and of four grades. Shares of classes have 0.400
    /// and 1.090, 0.453 and 1.243.
    #[test]
    fn more_than_two_classes_are_told_apart_as_by_scikit_learn() {
        for (data, expected) in [
            (graded_shapes(), [0.689473684211, 1.69251506947]),
            (graded_mixes(), [0.482558139535, 1.03941508077]),
        ] {
            let (train, test) = thirds(&at_one_scale(data));
            let train = with_roles(train, &[("grade", Role::Target)]);
            let outputs = foretold(&params::<NaiveBayes>("{}"), &train, &test);
            let (right, loss) = right_and_loss(&outputs, &texts(&test, "grade"));
            close(&[right, loss], &expected, 1e-8);
        }
    }

    #[test]
    fn bayes_rule_by_hand() {
        // Of three spam mails two have the word, of one ham none; one is added to each count, there and not there.
        let data = df!(
            "wins" => [1, 1, 0, 0],
            "kind" => ["spam", "spam", "spam", "ham"],
        )
        .expect("a frame");
        let train = with_roles(data.clone(), &[("kind", Role::Target)]);
        let model: NaiveBayes = params("{event: bernoulli}");
        let outputs = predict(&model, &train, &data).expect("predictions");
        let (there, absent) = (
            (0.75 * 0.6) / (0.75 * 0.6 + 0.25 / 3.0),
            (0.75 * 0.4) / (0.75 * 0.4 + 0.25 * 2.0 / 3.0),
        );
        close(
            &numbers_of(&outputs, "probability_spam"),
            &[there, there, absent, absent],
            1e-12,
        );
    }

    #[test]
    fn refuses_what_it_cannot_learn() {
        let data =
            df!("size" => [1.0, -2.0, 1.0], "kind" => ["a", "b", "b"], "count" => [0.0, 1.0, 1.0])
                .expect("a frame");
        let train = with_roles(
            data.clone(),
            &[("kind", Role::Target), ("count", Role::Ignore)],
        );
        assert_eq!(
            refusal(&params::<NaiveBayes>("{event: multinomial}"), &train),
            "the feature `size` has numbers below 0, which are no counts; take `event: gaussian`, or leave the feature out"
        );
        assert!(
            refusal(&params::<NaiveBayes>("{variance_smoothing: 0}"), &train)
                .starts_with("a feature never changes within a class")
        );
        let train = with_roles(data, &[("kind", Role::Target), ("count", Role::Weight)]);
        assert_eq!(
            refusal(&params::<NaiveBayes>("{}"), &train),
            "the training rows with the label `a` weigh nothing; each class needs a row that counts"
        );
    }

    #[test]
    fn check_knows_outputs_and_problems() {
        let input = Schema::new(vec![
            Column::new("size", DataType::Float64),
            Column::new("is_spam", DataType::Boolean).with_role(Role::Target),
        ]);
        let (output, problems) = check(&params::<NaiveBayes>("{}"), &input);
        assert!(problems.is_empty(), "{problems:#?}");
        let added: Vec<&str> = output.names().skip(2).collect();
        assert_eq!(
            added,
            [
                "prediction",
                "score",
                "probability_false",
                "probability_true"
            ]
        );
        let model: NaiveBayes =
            params("{features: [siez], positive: maybe, class_weight: {yes: 2}}");
        assert_eq!(
            codes(&model, &input),
            ["unknown-column", "unknown-label", "unknown-label"]
        );
    }

    #[test]
    fn what_cannot_be_squared_is_refused() {
        let train = with_roles(tumours(), &[("diagnosis", Role::Target)]);
        let model: NaiveBayes = params("{features: [mean_texture, mean_symmetry]}");
        refuses_what_cannot_be_squared(&model, &train, "mean_texture", false);
    }
}
