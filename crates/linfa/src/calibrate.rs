//! `model.calibrate`

use ndarray::Array2;
use polars::prelude::{Column as PolarsColumn, DataFrame, DataType, IdxCa, IdxSize, NamedFrom};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Classes, Error, FitContext, Frame, Model, Nested, NestedState, NoCheckpoints,
    ParamPath, ParamStep, Partition, Predictor, Problem, ProgressEvent, Result, Schema, Shape,
    Stage, State, classifier, counted, path, register_kind,
};

use crate::{
    labels::Labels,
    linear::{check_total, weight_of},
    platt::Sigmoid,
    records::any_weights,
};

const VERSION: u32 = 1;
const FOLDS: usize = 5;
/// Probabilities are kept this far from 0 and 1 where their logarithm is taken.
const LEAST: f64 = f64::EPSILON;

/// Learns a classifier, and what its probabilities are worth: of the rows that get 0.3, three in ten should be of that class.
///
/// The classifier stands inside, with params of its own, so that both are one model: one bundle, one stage to score with. Any kind that
/// tells classes apart can be calibrated.
///
/// What the probabilities are worth is never learned from rows that the classifier itself has learned from: on these it is too sure.
/// `rows: out_of_fold` parts the training rows into folds, learns the classifier without each fold, and calibrates by what it then says of
/// that fold; the classifier that predicts is learned from all training rows (scikit-learn's `CalibratedClassifierCV(ensemble=False)`).
/// Folds are drawn row by row: where rows of one customer, batch or time belong together, divide them with `split.group` or
/// `split.time` and say `rows: validation`. Then the classifier never sees the validation rows, not even to stop early, and the calibration
/// learns from them alone. It is also the way to undo what `balance.*` did to the probabilities.
///
/// `platt` puts a logistic curve over the log odds (two numbers, good with few rows), `isotonic` any rising steps over the probabilities
/// (pool adjacent violators; needs some hundred rows of each class), `temperature` divides the log of all probabilities by one number and
/// leaves the order of the classes as it is. Of more than two classes, `platt` and `isotonic` calibrate each against the others and bring
/// the sum back to 1. Sources: Platt, "Probabilistic Outputs for Support Vector Machines", 1999; Zadrozny and Elkan, "Transforming
/// Classifier Scores into Accurate Multiclass Probability Estimates", 2002; Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural
/// Networks", 2017.
///
/// Adds what the classifier adds, with calibrated `probability_<label>` and `score`; `prediction` is the label likeliest after that. Rows count
/// by the column with role `weight`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Calibrate {
    /// The classifier by its kind, with its params: `{model.linfa.naive_bayes: {event: bernoulli}}`.
    model: Nested,
    /// How probabilities are brought in line.
    #[serde(default)]
    method: Method,
    /// The rows that tell what the probabilities are worth.
    #[serde(default)]
    rows: Rows,
    /// For `rows: out_of_fold`, the number of folds. Default: 5.
    #[schemars(range(min = 2, max = 100))]
    folds: Option<usize>,
    /// Draws the folds. Default: the pipeline's seed.
    seed: Option<u64>,
}

/// How probabilities are brought in line.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Method {
    /// A logistic curve over the log odds.
    #[default]
    Platt,
    /// Rising steps, with lines between them.
    Isotonic,
    /// One number by which the log of all probabilities is divided.
    Temperature,
}

/// The rows that tell what probabilities are worth.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Rows {
    /// The training rows, each judged by a classifier that has not learned from it.
    #[default]
    OutOfFold,
    /// The validation rows.
    Validation,
}

register_kind! {
    Calibrate, "model.calibrate", version: 1,
    example: "- model.calibrate: {model: {model.linfa.naive_bayes: {event: gaussian}}, method: isotonic}",
}

impl Calibrate {
    fn check_rows(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        let has_validation = input.facts.partitions.contains(&Partition::Validation);
        match self.rows {
            Rows::Validation => {
                if !has_validation && !input.incomplete {
                    cx.report(
                        Problem::error(
                            "no-validation",
                            path!["rows"],
                            "there is no validation part to calibrate by",
                        )
                        .help("let the split above make one (`validation: 0.2`), or say `rows: out_of_fold`"),
                    );
                }
                if self.folds.is_some() {
                    cx.report(
                        Problem::error(
                            "unused-param",
                            path!["folds"],
                            "`folds` is for `rows: out_of_fold`, and the validation rows are one part",
                        )
                        .help("leave it out"),
                    );
                }
            }
            Rows::OutOfFold => {
                if let Some(balance) = &input.facts.multiplied_by {
                    let message = format!(
                        "`{balance}` above makes copies of training rows, which are in other folds: the classifier would be judged by rows it knows"
                    );
                    let place = ParamPath::kind();
                    cx.report(Problem::error("target-leak", place, message).help(
                        "calibrate by rows that are no copies: `rows: validation`, below a split with a validation part",
                    ));
                }
            }
        }
    }

    /// For each training row its fold; the rows of each class are spread evenly.
    fn folds(&self, codes: &[u32], labels: &Labels, seed: u64) -> Result<Vec<usize>> {
        let folds = self.folds.unwrap_or(FOLDS);
        let mut rows_of = vec![Vec::new(); labels.classes.len()];
        for (row, code) in codes.iter().enumerate() {
            rows_of[*code as usize].push(row);
        }
        for (rows, label) in rows_of.iter().zip(&labels.classes) {
            if rows.len() < folds {
                return Err(Error::data(format!(
                    "the label `{label}` has {}, too few for {folds} folds; say fewer `folds`, or calibrate with `rows: validation`",
                    counted(rows.len(), "training row")
                )));
            }
        }
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut fold_of = vec![0; codes.len()];
        let mut next = 0;
        for rows in &mut rows_of {
            rows.shuffle(&mut generator);
            for row in rows {
                fold_of[*row] = next % folds;
                next += 1;
            }
        }
        Ok(fold_of)
    }

    /// What classifiers say of training rows that they have not learned from.
    fn out_of_fold(
        &self,
        train: &Frame,
        validation: Option<&Frame>,
        labels: &mut Labels,
        codes: &[u32],
        cx: &mut FitContext<'_>,
    ) -> Result<Array2<f64>> {
        let model = self.model.model()?;
        let fold_of = self.folds(codes, labels, self.seed.unwrap_or(cx.seed))?;
        let folds = self.folds.unwrap_or(FOLDS);
        let mut probabilities = Array2::zeros((codes.len(), labels.classes.len()));
        for fold in 0..folds {
            cx.cancellation.check()?;
            let rows_where = |is_held: bool| -> Vec<usize> {
                (0..codes.len())
                    .filter(|row| (fold_of[*row] == fold) == is_held)
                    .collect()
            };
            let taken = |rows: &[usize]| {
                let rows: Vec<IdxSize> = rows.iter().map(|row| *row as IdxSize).collect();
                train.data.take(&IdxCa::new("".into(), rows))
            };
            let held = rows_where(true);
            let others = Frame {
                data: taken(&rows_where(false))?,
                schema: train.schema.clone(),
            };
            // What one fold has reached is of no use to the next.
            let mut within = FitContext {
                checkpoints: &NoCheckpoints,
                ..*cx
            };
            let state = model.fit(&others, validation, &mut within)?;
            let outputs = model.load(&state)?.predict(&taken(&held)?)?;
            let found = said(&outputs, labels, held.len())?;
            if fold == 0 {
                labels.positive = positive(&outputs, labels)?;
            }
            for (row, said) in held.iter().zip(found.rows()) {
                probabilities.row_mut(*row).assign(&said);
            }
            cx.progress.event(ProgressEvent::Step {
                done: fold as u64 + 1,
                total: folds as u64,
                unit: "folds",
            });
        }
        Ok(probabilities)
    }
}

impl Stage for Calibrate {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        self.check_rows(input, cx);
        let mut seen = input.clone();
        if self.rows == Rows::Validation {
            seen.facts
                .partitions
                .retain(|part| *part != Partition::Validation);
        }
        let known = cx.problems.len();
        let mut output = self.model.check("model", &seen, cx);
        if self.rows == Rows::Validation {
            for problem in &mut cx.problems[known..] {
                if problem.code == "no-validation" {
                    problem.help = vec![
                        "the validation rows are kept for the calibration: say `rows: out_of_fold`, and the classifier may stop by them"
                            .into(),
                    ];
                }
            }
        }
        let prediction = output.column(classifier::PREDICTION);
        let tells_classes = output.facts.model_target.is_some()
            && prediction.is_some_and(|column| Classes::can_hold(&column.dtype));
        if !tells_classes && !cx.failed() && !output.incomplete {
            let kind = self.model.kind().name;
            let place = path!["model", ParamStep::KeyOf(kind.to_owned())];
            cx.report(
                Problem::error(
                    "no-classes",
                    place,
                    format!("`{kind}` tells no classes apart here"),
                )
                .help("only the probabilities of a classifier can be calibrated"),
            );
        }
        output.facts.partitions.clone_from(&input.facts.partitions);
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }

    fn nested(&self) -> Vec<&Nested> {
        vec![&self.model]
    }
}

impl Model for Calibrate {
    fn features(&self, input: &Schema) -> Vec<String> {
        let model = self.model.model();
        model.map_or_else(|_| Vec::new(), |model| model.features(input))
    }

    fn target(&self, input: &Schema) -> Option<String> {
        self.model.model().ok()?.target(input)
    }

    fn allow_pii(&self) -> bool {
        self.model.model().is_ok_and(Model::allow_pii)
    }

    fn fit(
        &self,
        train: &Frame,
        validation: Option<&Frame>,
        cx: &mut FitContext<'_>,
    ) -> Result<State> {
        let model = self.model.model()?;
        let (mut labels, codes) = Labels::fit(train, self.target(&train.schema), None)?;
        let (state, judged) = match self.rows {
            Rows::OutOfFold => {
                let probabilities = self.out_of_fold(train, validation, &mut labels, &codes, cx)?;
                let judged = Judged {
                    probabilities,
                    codes,
                    weights: weights(train)?,
                };
                (model.fit(train, validation, cx)?, judged)
            }
            Rows::Validation => {
                let held = validation
                    .filter(|held| held.data.height() > 0)
                    .ok_or_else(|| Error::data("there are no validation rows to calibrate by"))?;
                let state = model.fit(train, None, cx)?;
                let outputs = model.load(&state)?.predict(&held.data)?;
                labels.positive = positive(&outputs, &labels)?;
                let judged = Judged {
                    probabilities: said(&outputs, &labels, held.data.height())?,
                    codes: codes_of(held, &labels)?,
                    weights: weights(held)?,
                };
                (state, judged)
            }
        };
        cx.cancellation.check()?;
        let learned = Learned {
            calibration: Calibration::learn(self.method, &judged, labels.positive),
            labels,
            model: self.model.keep(&state),
        };
        Ok(State {
            tensors: state.tensors,
            ..State::from_data(VERSION, &learned)?
        })
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let Learned {
            labels,
            calibration,
            model,
        } = state.data(VERSION)?;
        labels.check()?;
        calibration.check(labels.classes.len())?;
        Ok(Box::new(Calibrated {
            labels,
            calibration,
            model: self.model.load(model, state.tensors.clone())?,
        }))
    }
}

/// The weights of all rows; 1 where no column says otherwise.
fn weights(frame: &Frame) -> Result<Vec<f64>> {
    let weights = any_weights(frame)?;
    check_total(weights.as_ref())?;
    let rows = 0..frame.data.height();
    Ok(rows.map(|row| weight_of(weights.as_ref(), row)).collect())
}

/// The classes of validation rows, as the training rows have numbered them.
fn codes_of(held: &Frame, labels: &Labels) -> Result<Vec<u32>> {
    let found = Classes::of(held.data.column(&labels.target)?, None)?;
    let places = found
        .labels
        .iter()
        .map(|label| {
            let place = labels.classes.iter().position(|known| known == label);
            place.map(|place| place as u32).ok_or_else(|| {
                Error::data(format!(
                    "the validation rows have the label `{label}` of `{}`, which no training row has",
                    labels.target
                ))
            })
        })
        .collect::<Result<Vec<u32>>>()?;
    Ok(found
        .codes
        .into_iter()
        .map(|code| places[code as usize])
        .collect())
}

/// What a classifier says of each row and class (rows × classes); 0 for a class that it has not met.
fn said(outputs: &[PolarsColumn], labels: &Labels, rows: usize) -> Result<Array2<f64>> {
    let mut probabilities = Array2::zeros((rows, labels.classes.len()));
    let mut is_any = false;
    for (class, label) in labels.classes.iter().enumerate() {
        let name = format!("{}{label}", classifier::PROBABILITY);
        let Some(column) = outputs.iter().find(|column| *column.name() == name) else {
            continue;
        };
        is_any = true;
        let numbers = column.cast(&DataType::Float64)?;
        for (row, number) in numbers.f64()?.iter().enumerate() {
            probabilities[[row, class]] = number.filter(|number| number.is_finite()).ok_or_else(|| {
                Error::Model(format!("the classifier gives no `{name}` for some row, so there is nothing to calibrate"))
            })?;
        }
    }
    if !is_any {
        return Err(Error::Model(
            "the classifier gives no probabilities, so there is nothing to calibrate".into(),
        ));
    }
    Ok(probabilities)
}

/// Of two classes, the one whose probability the classifier calls `score`.
fn positive(outputs: &[PolarsColumn], labels: &Labels) -> Result<Option<usize>> {
    if labels.classes.len() != 2 {
        return Ok(None);
    }
    let column = |name: &str| outputs.iter().find(|column| column.name() == name);
    let Some(score) = column(classifier::SCORE) else {
        return Ok(labels.positive);
    };
    let score = score.cast(&DataType::Float64)?;
    let is_score = |class: usize| -> Result<bool> {
        let name = format!("{}{}", classifier::PROBABILITY, labels.classes[class]);
        let Some(column) = column(&name) else {
            return Ok(false);
        };
        let numbers = column.cast(&DataType::Float64)?;
        Ok(numbers.f64()?.iter().eq(score.f64()?.iter()))
    };
    Ok(match (is_score(0)?, is_score(1)?) {
        (true, false) => Some(0),
        (false, true) => Some(1),
        _ => labels.positive,
    })
}

/// Rows that a classifier has not learned from, and what it says of them.
struct Judged {
    /// Rows × classes.
    probabilities: Array2<f64>,
    codes: Vec<u32>,
    weights: Vec<f64>,
}

/// What is kept of a fit, beside the classifier's own tensors.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    labels: Labels,
    calibration: Calibration,
    model: NestedState,
}

/// What brings probabilities in line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Calibration {
    /// A curve for each class over its log odds; of two classes, one for that in this place.
    Platt {
        of: Option<usize>,
        curves: Vec<Sigmoid>,
    },
    /// As above, over probabilities.
    Isotonic {
        of: Option<usize>,
        curves: Vec<Steps>,
    },
    /// What the log of all probabilities is multiplied with.
    Temperature { inverse: f64 },
}

impl Calibration {
    fn learn(method: Method, judged: &Judged, positive: Option<usize>) -> Self {
        let Judged {
            probabilities,
            codes,
            weights,
        } = judged;
        let classes: Vec<usize> = match positive {
            Some(positive) => vec![positive],
            None => (0..probabilities.ncols()).collect(),
        };
        let of_class = |class: usize| -> (Vec<f64>, Vec<bool>) {
            let is_meant = codes.iter().map(|code| *code as usize == class).collect();
            (probabilities.column(class).to_vec(), is_meant)
        };
        match method {
            Method::Platt => {
                let curve = |class: &usize| {
                    let (said, is_meant) = of_class(*class);
                    let odds: Vec<f64> = said.into_iter().map(log_odds).collect();
                    Sigmoid::learn(&odds, &is_meant, weights)
                };
                Self::Platt {
                    of: positive,
                    curves: classes.iter().map(curve).collect(),
                }
            }
            Method::Isotonic => {
                let curve = |class: &usize| {
                    let (said, is_meant) = of_class(*class);
                    Steps::learn(&said, &is_meant, weights)
                };
                Self::Isotonic {
                    of: positive,
                    curves: classes.iter().map(curve).collect(),
                }
            }
            Method::Temperature => Self::Temperature {
                inverse: inverse_temperature(judged),
            },
        }
    }

    /// Refuses a state that does not fit together.
    fn check(&self, classes: usize) -> Result<()> {
        let (of, curves, is_sound) = match self {
            Self::Platt { of, curves } => (of, curves.len(), true),
            Self::Isotonic { of, curves } => (of, curves.len(), curves.iter().all(Steps::is_sound)),
            Self::Temperature { inverse } => {
                return if inverse.is_finite() {
                    Ok(())
                } else {
                    Err(Error::State("the temperature is no number".into()))
                };
            }
        };
        let fits = match of {
            Some(place) => curves == 1 && classes == 2 && *place < 2,
            None => curves == classes,
        };
        if fits && is_sound {
            Ok(())
        } else {
            Err(Error::State(
                "the calibration does not fit the classes".into(),
            ))
        }
    }

    /// The probabilities (rows × classes) brought in line.
    fn apply(&self, probabilities: Array2<f64>) -> Array2<f64> {
        match self {
            Self::Platt { of, curves } => {
                one_against_the_others(probabilities, *of, |curve, said| {
                    curves[curve].at(log_odds(said))
                })
            }
            Self::Isotonic { of, curves } => {
                one_against_the_others(probabilities, *of, |curve, said| curves[curve].at(said))
            }
            Self::Temperature { inverse } => {
                let mut probabilities = probabilities;
                for mut row in probabilities.rows_mut() {
                    let logs: Vec<f64> = row.iter().map(|said| said.max(LEAST).ln()).collect();
                    for (place, probability) in softened(&logs, *inverse).enumerate() {
                        row[place] = probability;
                    }
                }
                probabilities
            }
        }
    }
}

/// Each class by its own curve, the sum brought back to 1; of two classes the other one gets the rest.
fn one_against_the_others(
    mut probabilities: Array2<f64>,
    of: Option<usize>,
    curve: impl Fn(usize, f64) -> f64,
) -> Array2<f64> {
    for mut row in probabilities.rows_mut() {
        if let Some(place) = of {
            let calibrated = curve(0, row[place]);
            row[place] = calibrated;
            row[1 - place] = 1.0 - calibrated;
            continue;
        }
        for (class, said) in row.iter_mut().enumerate() {
            *said = curve(class, *said);
        }
        let total = row.sum();
        // Where every curve says no, nothing is known.
        let rest = 1.0 / row.len() as f64;
        row.mapv_inplace(|said| if total > 0.0 { said / total } else { rest });
    }
    probabilities
}

fn log_odds(probability: f64) -> f64 {
    let probability = probability.clamp(LEAST, 1.0 - LEAST);
    (probability / (1.0 - probability)).ln()
}

/// Probabilities of these logs times a number, with a sum of 1.
fn softened(logs: &[f64], inverse: f64) -> impl Iterator<Item = f64> {
    let greatest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logs
        .iter()
        .map(|log| ((log - greatest) * inverse).exp())
        .collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(move |power| power / total)
}

/// The number with which logs of probabilities are multiplied so that the log loss is least, from e⁻¹⁰ to e¹⁰: the loss is convex in it, so
/// that its slope says where to look.
fn inverse_temperature(judged: &Judged) -> f64 {
    let logs: Vec<Vec<f64>> = judged
        .probabilities
        .rows()
        .into_iter()
        .map(|row| row.iter().map(|said| said.max(LEAST).ln()).collect())
        .collect();
    let slope = |inverse: f64| -> f64 {
        let rows = logs.iter().zip(&judged.codes).zip(&judged.weights);
        rows.map(|((logs, code), weight)| {
            let expected: f64 = softened(logs, inverse)
                .zip(logs)
                .map(|(probability, log)| probability * log)
                .sum();
            weight * (expected - logs[*code as usize])
        })
        .sum()
    };
    let (mut low, mut high) = (-10.0_f64, 10.0_f64);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if slope(middle.exp()) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high).exp()
}

/// Rising values at rising places, with lines between them; held on beyond the ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Steps {
    places: Vec<f64>,
    values: Vec<f64>,
}

impl Steps {
    /// The share of meant rows that rises with what is said and is nearest to the truth by squares: pool adjacent violators
    /// (Ayer, Brunk, Ewing, Reid, Silverman, 1955). Rows that say the same are one place.
    fn learn(said: &[f64], is_meant: &[bool], weights: &[f64]) -> Self {
        let mut rows: Vec<usize> = (0..said.len()).filter(|row| weights[*row] > 0.0).collect();
        rows.sort_by(|left, right| said[*left].total_cmp(&said[*right]));
        let mut places: Vec<Pool> = Vec::new();
        for row in rows {
            let meant = if is_meant[row] { weights[row] } else { 0.0 };
            match places.last_mut() {
                Some(last) if last.from == said[row] => {
                    last.meant += meant;
                    last.weight += weights[row];
                }
                _ => places.push(Pool {
                    from: said[row],
                    to: said[row],
                    meant,
                    weight: weights[row],
                }),
            }
        }
        let mut pools: Vec<Pool> = Vec::new();
        for place in places {
            let mut pool = place;
            while let Some(before) = pools.pop_if(|before| before.share() >= pool.share()) {
                pool = Pool {
                    from: before.from,
                    to: pool.to,
                    meant: before.meant + pool.meant,
                    weight: before.weight + pool.weight,
                };
            }
            pools.push(pool);
        }
        let mut steps = Self {
            places: Vec::new(),
            values: Vec::new(),
        };
        for pool in pools {
            steps.places.push(pool.from);
            steps.values.push(pool.share());
            if pool.to > pool.from {
                steps.places.push(pool.to);
                steps.values.push(pool.share());
            }
        }
        steps
    }

    fn at(&self, said: f64) -> f64 {
        let (places, values) = (&self.places, &self.values);
        let next = places.partition_point(|place| *place < said);
        if next == 0 {
            return values[0];
        }
        if next == places.len() {
            return values[next - 1];
        }
        let (from, to) = (places[next - 1], places[next]);
        let share = (said - from) / (to - from);
        values[next - 1] + (values[next] - values[next - 1]) * share
    }

    fn is_sound(&self) -> bool {
        !self.places.is_empty()
            && self.places.len() == self.values.len()
            && self.places.windows(2).all(|pair| pair[0] < pair[1])
    }
}

/// Neighbouring places of one value.
#[derive(Debug, Clone, Copy)]
struct Pool {
    from: f64,
    to: f64,
    meant: f64,
    weight: f64,
}

impl Pool {
    fn share(&self) -> f64 {
        self.meant / self.weight
    }
}

struct Calibrated {
    labels: Labels,
    calibration: Calibration,
    model: Box<dyn Predictor>,
}

impl Predictor for Calibrated {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let outputs = self.model.predict(batch)?;
        let said = said(&outputs, &self.labels, batch.height())?;
        let mut columns = self.labels.columns(&self.calibration.apply(said))?;
        // What the classifier says besides.
        let is_new = |column: &PolarsColumn| columns.iter().all(|own| own.name() != column.name());
        let others: Vec<PolarsColumn> = outputs.into_iter().filter(is_new).collect();
        columns.extend(others);
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{Series, df};
    use taktline_core::{PARTITION, Registry, Role, serde_yaml};

    use super::*;
    use crate::testing::{
        check, close, codes, credits, foretold, graded_shapes, numbers_of, params, predict, texts,
        tumours, values, with_column, with_roles,
    };

    const FEATURES: [&str; 5] = [
        "mean_texture",
        "mean_smoothness",
        "mean_symmetry",
        "worst_texture",
        "mean_compactness",
    ];

    /// The tumours in three parts of every third row.
    fn thirds(data: &DataFrame, roles: &[(&str, Role)]) -> [Frame; 3] {
        let all = with_roles(data.clone(), roles);
        [0, 1, 2].map(|part| {
            let rows: Vec<IdxSize> = (part..data.height() as IdxSize).step_by(3).collect();
            Frame {
                data: all.data.take(&IdxCa::new("".into(), rows)).expect("rows"),
                schema: all.schema.clone(),
            }
        })
    }

    /// What is predicted for the last part, from a state that has been through a file.
    fn on_validation(model: &Calibrate, [train, held, test]: &[Frame; 3]) -> Vec<PolarsColumn> {
        let bytes = || {
            let state = model.fit(train, Some(held), &mut FitContext::quiet(1));
            state.expect("a model").to_bytes().expect("bytes")
        };
        let written = bytes();
        assert!(written == bytes(), "the same seed gave other bytes");
        let state = State::from_bytes(&written).expect("a state");
        let predictor = model.load(&state).expect("a predictor");
        predictor.predict(&test.data).expect("predictions")
    }

    fn bayes(more: &str) -> Calibrate {
        params(&format!(
            "{{model: {{model.linfa.naive_bayes: {{target: diagnosis, features: {FEATURES:?}, positive: M}}}}, {more}}}"
        ))
    }

    /// scikit-learn 1.9.1, tests/peers/calibration.py.
    #[test]
    fn the_probabilities_are_those_of_scikit_learn() {
        let weights = (0..569).map(|row| 1.0 + f64::from(row % 4)).collect();
        let data = with_column(tumours(), "times", weights);
        let figures = |method: &str, role: Role| {
            let model = bayes(&format!("method: {method}, rows: validation"));
            let parts = thirds(&data, &[("times", role), ("diagnosis", Role::Target)]);
            let score = numbers_of(&on_validation(&model, &parts), "score");
            let mut figures: Vec<f64> = [0, 1, 6, 90, 188].map(|row| score[row]).to_vec();
            figures.push(score.iter().sum());
            figures
        };
        let weightless = figures("platt", Role::Ignore);
        let wanted = [
            0.800760688188,
            0.777724600456,
            0.257345248583,
            0.913241632169,
            0.466905363544,
            69.9014183602,
        ];
        close(&weightless, &wanted, 1e-6);
        let wanted = [
            0.852888448392,
            0.877779830245,
            0.251923043237,
            0.948736500413,
            0.484263955167,
            70.5863893595,
        ];
        close(&figures("platt", Role::Weight), &wanted, 1e-6);
        let wanted = [
            0.882352941176,
            0.882352941176,
            0.214285714286,
            0.882352941176,
            0.375,
            71.2105341159,
        ];
        close(&figures("isotonic", Role::Ignore), &wanted, 1e-10);
        let wanted = [0.94, 0.94, 0.1875, 0.94, 0.409090909091, 70.0851096738];
        close(&figures("isotonic", Role::Weight), &wanted, 1e-10);
        let wanted = [
            0.892148297994,
            0.875694017488,
            0.325831790516,
            0.96189473641,
            0.585975479794,
            80.7031464326,
        ];
        close(&figures("temperature", Role::Ignore), &wanted, 1e-6);
    }

    /// scikit-learn 1.9.1, tests/peers/calibration.py.
    #[test]
    fn three_classes_are_calibrated_each_against_the_others() {
        let tumours = tumours();
        let size: Vec<i32> = values(&tumours, "mean_radius")
            .iter()
            .map(|radius| i32::from(*radius >= 12.0) + i32::from(*radius >= 15.0))
            .collect();
        let mut data = tumours;
        data.with_column(Series::new("size".into(), size).into())
            .expect("a column");
        let model: Calibrate = params(&format!(
            "{{model: {{model.linfa.naive_bayes: {{features: {FEATURES:?}}}}}, method: isotonic, rows: validation}}"
        ));
        let roles = [("size", Role::Target), ("diagnosis", Role::Ignore)];
        let outputs = on_validation(&model, &thirds(&data, &roles));
        let of_class = [0, 1, 2].map(|class| numbers_of(&outputs, &format!("probability_{class}")));
        for row in [0, 90] {
            let total: f64 = of_class.iter().map(|class| class[row]).sum();
            assert!((total - 1.0).abs() < 1e-12);
        }
        let at = |row: usize| of_class.iter().map(move |class| class[row]);
        let sums = of_class.iter().map(|class| class.iter().sum::<f64>());
        let figures: Vec<f64> = at(0).chain(at(90)).chain(sums).collect();
        let wanted = [
            0.0369620741169,
            0.280661172956,
            0.682376752928,
            0.0313814612446,
            0.23828634979,
            0.730332188966,
            56.4762334524,
            75.4052081494,
            57.1185583982,
        ];
        close(&figures, &wanted, 1e-10);
        assert!(outputs.iter().all(|column| column.name() != "score"));
    }

    /// scikit-learn 1.9.1, tests/peers/calibration.py.
    #[test]
    fn neighbours_that_fall_are_pooled() {
        let said = [0.1, 0.2, 0.2, 0.35, 0.4, 0.6, 0.8, 0.9];
        let meant = [false, true, false, false, true, false, true, true];
        let weights = [1.0, 2.0, 1.0, 1.0, 3.0, 1.0, 1.0, 2.0];
        let steps = Steps::learn(&said, &meant, &weights);
        let between = [0.0, 0.15, 0.3, 0.7, 1.0].map(|said| steps.at(said));
        close(&between, &[0.0, 0.25, 0.5, 0.875, 1.0], 1e-12);
        close(
            &[0.1, 0.2, 0.35, 0.4, 0.6, 0.8].map(|said| steps.at(said)),
            &[0.0, 0.5, 0.5, 0.75, 0.75, 1.0],
            1e-12,
        );
        // A weight of nothing is no row.
        let with_nothing = Steps::learn(
            &[&said[..], &[0.05]].concat(),
            &[&meant[..], &[true]].concat(),
            &[&weights[..], &[0.0]].concat(),
        );
        assert_eq!(with_nothing, steps);
    }

    /// The squared error of the probabilities, summed over the classes.
    fn squared_error(outputs: &[PolarsColumn], truth: &[String]) -> f64 {
        let of_class = |column: &PolarsColumn| -> Option<f64> {
            let class = column.name().strip_prefix(classifier::PROBABILITY)?;
            let chances = numbers_of(outputs, column.name());
            let errors = chances.iter().zip(truth).map(|(chance, label)| {
                let is_class = f64::from(u8::from(label == class));
                (chance - is_class).powi(2)
            });
            Some(errors.sum())
        };
        outputs.iter().filter_map(of_class).sum::<f64>() / truth.len() as f64
    }

    /// Folds are drawn at random, so that no probability is the same; how good they are on rows held out is. Peers, of thirty draws the mean
    /// and the deviation: tests/peers/calibration.py. Without calibration the error is 0.0899 and 0.5123; calibrated by rows that it knows, the
    /// classifier would have 0.4327 for three classes by `platt` and 0.4363 by `temperature`, which is too far off.
    #[test]
    fn out_of_fold_calibrates_as_scikit_learn_does() {
        let two = [
            ("platt", 0.072739, 0.000983),
            ("isotonic", 0.069168, 0.002245),
            ("temperature", 0.06991, 0.000031),
        ];
        let three = [
            ("platt", 0.440828, 0.00154),
            ("isotonic", 0.411385, 0.005478),
            ("temperature", 0.442017, 0.001377),
        ];
        for (data, target, peers) in [
            (tumours(), "diagnosis", two),
            (graded_shapes(), "grade", three),
        ] {
            let (train, test) = crate::testing::thirds(&data);
            let train = with_roles(train, &[(target, Role::Target)]);
            let truth = texts(&test, target);
            for (method, theirs, deviation) in peers {
                let errors: Vec<f64> = (1..=5)
                    .map(|seed| {
                        let model: Calibrate = params(&format!(
                            "{{model: {{model.linfa.naive_bayes: {{}}}}, method: {method}, seed: {seed}}}"
                        ));
                        squared_error(&foretold(&model, &train, &test), &truth)
                    })
                    .collect();
                let ours = errors.iter().sum::<f64>() / 5.0;
                assert!(
                    (ours - theirs).abs() < 3.0 * deviation,
                    "{target} {method}: {errors:?}, theirs {theirs}"
                );
            }
        }
    }

    /// The mean squared error of the probabilities, and how far they are from the truth in ten ranges.
    fn errors(score: &[f64], is_bad: &[bool]) -> (f64, f64) {
        let truth = |is_bad: bool| f64::from(u8::from(is_bad));
        let rows = score.len() as f64;
        let squares = score.iter().zip(is_bad);
        let brier = squares
            .map(|(score, is_bad)| (score - truth(*is_bad)).powi(2))
            .sum::<f64>()
            / rows;
        let mut apart = [0.0; 10];
        for (score, is_bad) in score.iter().zip(is_bad) {
            apart[((score * 10.0) as usize).min(9)] += score - truth(*is_bad);
        }
        (
            brier,
            apart.iter().map(|apart| apart.abs()).sum::<f64>() / rows,
        )
    }

    #[test]
    fn a_naive_bayes_that_is_too_sure_is_brought_in_line() {
        // Naive Bayes counts what depends on each other twice.
        let credits = with_roles(credits(), &[("creditability", Role::Target)]);
        let part = |is_test: bool| {
            let rows: Vec<IdxSize> = (0..1000).filter(|row| (row % 4 == 0) == is_test).collect();
            Frame {
                data: credits
                    .data
                    .take(&IdxCa::new("".into(), rows))
                    .expect("rows"),
                schema: credits.schema.clone(),
            }
        };
        let (train, test) = (part(false), part(true));
        let truth = test.data.column("creditability").expect("a column");
        let is_bad: Vec<bool> = truth
            .str()
            .expect("text")
            .iter()
            .map(|label| label == Some("bad"))
            .collect();
        let inner = "model.linfa.naive_bayes: {positive: bad}";
        let plain: Nested = params(&format!("{{{inner}}}"));
        let plain = plain.model().expect("a model");
        let state = plain
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("a fit");
        let outputs = plain.load(&state).expect("a predictor");
        let outputs = outputs.predict(&test.data).expect("predictions");
        let (brier, apart) = errors(&numbers_of(&outputs, "score"), &is_bad);
        // One number takes sureness away from all rows alike; that it says too much or too little of one class, it cannot mend.
        for (method, most_apart) in [("platt", 0.6), ("isotonic", 0.6), ("temperature", 0.95)] {
            let model: Calibrate = params(&format!("{{model: {{{inner}}}, method: {method}}}"));
            let outputs = predict(&model, &train, &test.data).expect("predictions");
            let (calibrated, still_apart) = errors(&numbers_of(&outputs, "score"), &is_bad);
            assert!(
                calibrated < 0.9 * brier && still_apart < most_apart * apart,
                "{method}: {brier} {calibrated}, {apart} {still_apart}"
            );
        }
    }

    #[test]
    fn the_seed_and_the_folds_decide() {
        let train = with_roles(tumours(), &[("diagnosis", Role::Target)]);
        let scores = |more: &str| {
            let outputs = predict(&bayes(more), &train, &train.data).expect("predictions");
            numbers_of(&outputs, "score")
        };
        assert_eq!(scores("seed: 1"), scores("method: platt"));
        assert_ne!(scores("seed: 1"), scores("seed: 2"));
        assert_ne!(scores("seed: 1"), scores("seed: 1, folds: 3"));
    }

    #[test]
    fn a_forest_is_calibrated_by_rows_that_it_has_not_learned_from() {
        // No feature says anything: a tree knows its own rows by heart all the same.
        let noise: Vec<f64> = (0..400_u64)
            .map(|row| ((row * 2_654_435_761) % 1009) as f64)
            .collect();
        let is_late: Vec<bool> = (0..400_u64)
            .map(|row| (row * 40_503) % 977 % 2 == 0)
            .collect();
        let data = df!("noise" => noise, "is_late" => is_late).expect("a frame");
        let train = with_roles(data, &[("is_late", Role::Target)]);
        let model: Calibrate =
            params("{model: {model.linfa.decision_tree: {min_samples_leaf: 1}}, method: isotonic}");
        let outputs = predict(&model, &train, &train.data).expect("predictions");
        let score = numbers_of(&outputs, "score");
        let least = score.iter().copied().fold(1.0, f64::min);
        let greatest = score.iter().copied().fold(0.0, f64::max);
        assert!(greatest - least < 0.4, "{least} to {greatest}");
    }

    #[test]
    fn check_finds_every_problem() {
        let mut input = with_roles(tumours(), &[("diagnosis", Role::Target)]).schema;
        let bayes = |more: &str| -> Calibrate {
            params(&format!("{{model: {{model.linfa.naive_bayes: {more}}}}}"))
        };
        assert!(codes(&bayes("{}"), &input).is_empty());
        let (_, problems) = check(&bayes("{features: [mean_radiu]}"), &input);
        assert_eq!(problems[0].code, "unknown-column");
        assert_eq!(
            problems[0].path,
            path!["model", "model.linfa.naive_bayes", "features", 0]
        );
        let by_validation: Calibrate =
            params("{model: {model.boost.trees: {early_stopping: 5}}, rows: validation, folds: 3}");
        assert_eq!(
            codes(&by_validation, &input),
            ["no-validation", "unused-param", "no-validation"]
        );
        input.facts.partitions = vec![Partition::Train, Partition::Validation, Partition::Test];
        let (output, problems) = check(&by_validation, &input);
        assert!(problems[1].help[0].contains("out_of_fold"), "{problems:#?}");
        assert_eq!(output.facts.partitions, input.facts.partitions);
        assert!(output.incomplete, "only the rows tell the labels of a text");
        input.facts.multiplied_by = Some("oversample".into());
        assert_eq!(codes(&bayes("{}"), &input), ["target-leak"]);
        input.facts.multiplied_by = None;
        let numbers: Calibrate = params(
            "{model: {model.linfa.linear_regression: {target: mean_radius, features: [mean_area]}}}",
        );
        assert_eq!(codes(&numbers, &input), ["no-classes"]);
        assert!(input.column(PARTITION).is_none());
    }

    #[test]
    fn refuses_what_is_no_model_and_rows_it_cannot_divide() {
        let refused = |yaml: &str| {
            serde_yaml::from_str::<Calibrate>(yaml)
                .expect_err("refused")
                .to_string()
        };
        assert!(
            refused("{model: {model.linfa.naive_byes: {}}}").contains("`model.linfa.naive_byes`")
        );
        assert!(refused("{model: {model.linfa.naive_bayes: {evnt: gaussian}}}").contains("`evnt`"));
        assert!(refused("{model: {}}").contains("a map of one kind"));
        let data =
            df!("x" => [1.0, 2.0, 3.0, 4.0], "y" => [true, true, true, false]).expect("rows");
        let train = with_roles(data, &[("y", Role::Target)]);
        let model: Calibrate = params("{model: {model.linfa.naive_bayes: {}}, folds: 2}");
        let error = crate::testing::refusal(&model, &train);
        assert!(
            error.contains("the label `false` has 1 training row, too few for 2 folds"),
            "{error}"
        );
    }

    #[test]
    fn another_version_of_the_classifier_is_refused() {
        let train = with_roles(tumours(), &[("diagnosis", Role::Target)]);
        let state = bayes("")
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("a fit");
        let other: Calibrate = params("{model: {model.linfa.random_forest: {trees: 2}}}");
        let error = other.load(&state).err().expect("refused").to_string();
        assert!(error.contains("`model.linfa.naive_bayes`"), "{error}");
    }

    #[test]
    fn the_example_is_a_stage() {
        let registry = Registry::collect().expect("no kind twice");
        let kind = registry.get("model.calibrate").expect("registered");
        let stages: Vec<serde_yaml::Mapping> = serde_yaml::from_str(kind.example).expect("YAML");
        let stage = (kind.parse)(&stages[0][kind.name]).expect("a stage");
        assert_eq!(stage.nested().len(), 1);
    }
}
