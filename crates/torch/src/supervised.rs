//! What every network that learns a target has in common: classes or numbers, the end of the network, training, prediction.

use polars::prelude::{
    Column as PolarsColumn, DataFrame, DataType, IntoColumn, NamedFrom, ReshapeDimension, Series,
};
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, Label, Predictor, Problem, Result, Schema,
    State,
    class_weight::ClassWeight,
    classifier::{self, PREDICTION, PROBABILITY, SCORE, known_classes},
    counted, path, regressor,
    regressor::{LOWER, UPPER},
    type_name,
};

use crate::{
    arrays::Input,
    bridge, initial,
    labels::{self, Labels},
    layers::{Ending, ends, walk},
    lesson::{self, Rows, Truth, row_weights, with_tensors},
    protocol::{Augmentation, ClassLoss, Device, Draws, Epoch, Load, Loss, Network},
    runtime,
    settings::{AnyLoss, Settings, Task},
};

/// What a spec asks a network to learn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) target: Option<&'a String>,
    pub(crate) task: Task,
    pub(crate) loss: Option<AnyLoss>,
    pub(crate) class_weight: &'a ClassWeight,
    /// Of two classes, the one that `score` is the probability of.
    pub(crate) positive: Option<&'a Label>,
    /// Whether predictions come with an interval.
    pub(crate) has_interval: bool,
}

/// What is to be learned, as the schema tells it.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) target: Option<&'a Column>,
    pub(crate) task: Task,
    /// How the network ends, and what is known about that; none where only the rows tell.
    pub(crate) ending: Option<(Ending, String)>,
    has_interval: bool,
    /// Whether there are two classes, as a positive one says even where the schema does not.
    has_positive: bool,
}

impl Asked<'_> {
    fn task(&self, dtype: &DataType) -> Task {
        let item = match dtype {
            DataType::Array(item, _) => item,
            own => own,
        };
        match self.task {
            Task::Auto if item.is_float() => Task::Regression,
            Task::Auto => Task::Classification,
            said => said,
        }
    }

    /// Checks the target, the loss and the weights.
    pub(crate) fn check<'a>(&self, input: &'a Schema, cx: &mut CheckContext<'_>) -> Subject<'a> {
        let named = self.target.map(String::as_str);
        let column = match named {
            Some(name) => input.column(name),
            None => input.target(),
        };
        let task = column.map_or(
            match self.task {
                Task::Regression => Task::Regression,
                _ => Task::Classification,
            },
            |column| self.task(&column.dtype),
        );
        let target = match (task, column) {
            (Task::Regression, Some(column)) if list_length(&column.dtype).is_some() => {
                Some(column)
            }
            (Task::Regression, _) => regressor::check_target(input, named, cx),
            _ => classifier::check_target(input, named, labels::can_label, cx),
        };
        classifier::check_weights(input, cx);
        let is_said = match self.loss {
            Some(loss) => loss.check(task, cx),
            None => self.check_task(target, cx),
        };
        // Until it is said what is learned, an interval may be right.
        if self.has_interval && task == Task::Classification && target.is_some() && is_said {
            cx.report(Problem::error(
                "unused-param",
                path!["interval"],
                "`interval` is for a target of numbers, and classes are learned here",
            ));
        }
        let classes = target
            .filter(|_| task == Task::Classification)
            .and_then(known_classes);
        match task {
            Task::Regression => {
                if self.positive.is_some() {
                    cx.report(Problem::error(
                        "not-binary",
                        path!["positive"],
                        "`positive` is for classes, and numbers are learned here",
                    ));
                }
                if *self.class_weight != ClassWeight::default() {
                    cx.report(Problem::error(
                        "not-classes",
                        path!["class_weight"],
                        "`class_weight` is for classes, and numbers are learned here",
                    ));
                }
            }
            _ => {
                classifier::check_positive(self.positive, classes.as_deref(), cx);
                self.class_weight.check(classes.as_deref(), cx);
            }
        }
        let is_binary = self.is_binary();
        if let Some(classes) = classes
            .as_ref()
            .filter(|classes| is_binary && classes.len() != 2)
        {
            let message = format!(
                "`binary_crossentropy` tells two classes apart, but the target has {}",
                classes.len()
            );
            cx.report(
                Problem::error("not-binary", path!["loss"], message)
                    .help("use `sparse_categorical_crossentropy`"),
            );
        }
        let ending = match (task, target) {
            (Task::Regression, Some(column)) => {
                let width = list_length(&column.dtype).unwrap_or(1);
                let evidence = format!("`{}` is {}", column.name, type_name(&column.dtype));
                Some((Ending::Numbers(width), evidence))
            }
            (_, Some(column)) if is_binary => Some((
                Ending::Binary,
                format!("`{}` is learned with `binary_crossentropy`", column.name),
            )),
            (_, Some(column)) => classes.map(|classes| {
                let evidence = format!("`{}` has {}", column.name, counted(classes.len(), "class"));
                (Ending::Classes(classes.len()), evidence)
            }),
            _ => None,
        };
        Subject {
            target,
            task,
            ending,
            has_interval: self.has_interval,
            has_positive: self.positive.is_some(),
        }
    }

    /// Whole numbers may be classes or amounts; a network of a class for each amount would learn, and mean nothing. Whether it is
    /// clear what is learned.
    fn check_task(&self, target: Option<&Column>, cx: &mut CheckContext<'_>) -> bool {
        let is_unclear = |target: &&Column| {
            self.task == Task::Auto && target.dtype.is_integer() && target.categories.is_none()
        };
        let unclear = target.filter(is_unclear);
        if let Some(target) = unclear {
            classifier::report_unknown_task(target, cx);
        }
        unclear.is_none()
    }

    fn is_binary(&self) -> bool {
        matches!(self.loss, Some(AnyLoss::BinaryCrossentropy))
    }
}

/// How many numbers the lists of such a column have.
fn list_length(dtype: &DataType) -> Option<usize> {
    match dtype {
        DataType::Array(item, length) if item.is_float() => Some(*length),
        _ => None,
    }
}

impl Subject<'_> {
    /// How a network ends for this subject, as far as it is known: two classes, where nothing is.
    pub(crate) fn likely_ending(&self) -> Ending {
        self.ending
            .as_ref()
            .map_or(Ending::Classes(2), |(ending, _)| *ending)
    }

    /// The input with the columns that predictions add.
    pub(crate) fn output(&self, input: &Schema, cx: &mut CheckContext<'_>) -> Schema {
        if self.task != Task::Regression {
            return classifier::with_predictions(
                input,
                self.target,
                predicted_type,
                self.has_positive,
                cx,
            );
        }
        let others: &[&str] = match self.has_interval {
            true => &[LOWER, UPPER],
            false => &[],
        };
        match self.target.and_then(|target| list_length(&target.dtype)) {
            Some(length) => {
                let dtype = DataType::Array(Box::new(DataType::Float64), length);
                let added = [&[PREDICTION], others].concat();
                let added = added
                    .into_iter()
                    .map(|name| Column::new(name, dtype.clone()))
                    .collect();
                classifier::with_outputs(input, self.target, added, cx)
            }
            None => regressor::with_predictions(input, self.target, others, cx),
        }
    }
}

fn predicted_type(target: &DataType) -> DataType {
    match target {
        DataType::Categorical(..) | DataType::Enum(..) => DataType::String,
        own => own.clone(),
    }
}

/// What a network has learned to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Aim {
    /// The probabilities of classes.
    Classes(Labels),
    /// Numbers, which the network knows as (number - center) / scale.
    Numbers {
        center: f64,
        scale: f64,
        /// How many, where the target is lists.
        list: Option<usize>,
    },
}

/// An interval from networks that dropout draws.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// How many networks.
    pub(crate) draws: u64,
    /// The share of true values that should lie inside.
    pub(crate) level: f64,
}

/// What is learned, as it is stored beside the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learned {
    target: String,
    aim: Aim,
    /// Of two classes, the place of the one that `score` is the probability of. None also in states of before there was a choice:
    /// then it is the second.
    #[serde(default)]
    positive: Option<usize>,
    input: Input,
    network: Network,
    device: Device,
    seed: u64,
    interval: Option<Interval>,
    /// Of an interval: of each number that a row gets.
    #[serde(default)]
    reaches: Vec<Reach>,
    history: Vec<Epoch>,
    epoch: u64,
}

/// A target to learn.
pub(crate) struct Lesson<'a> {
    /// Version of the kind.
    pub(crate) version: u32,
    /// What the network reads.
    pub(crate) input: Input,
    /// The column it learns to say.
    pub(crate) target: String,
    pub(crate) asked: Asked<'a>,
    pub(crate) settings: Settings,
    pub(crate) augment: Option<Augmentation>,
    /// A file with weights to start from.
    pub(crate) initial: Option<&'a str>,
    pub(crate) interval: Option<Interval>,
}

/// Trains the network that ends so.
pub(crate) fn fit(
    lesson: Lesson<'_>,
    network: impl FnOnce(Ending) -> Network,
    train: &Frame,
    validation: Option<&Frame>,
    cx: &mut FitContext<'_>,
) -> Result<State> {
    let Lesson {
        version,
        input,
        target,
        asked,
        settings,
        augment,
        initial,
        interval,
    } = lesson;
    let column = train.data.column(&target)?;
    let mut weights = row_weights(train)?;
    let validation = validation.filter(|frame| frame.data.height() > 0);
    let held_out = validation
        .map(|frame| {
            Ok::<_, Error>((
                frame.data.column(&target)?,
                input.rows(&frame.data)?,
                row_weights(frame)?,
            ))
        })
        .transpose()?;
    let (aim, ending, loss) = match asked.task(column.dtype()) {
        Task::Regression => {
            let loss = asked.loss.and_then(AnyLoss::of_numbers).unwrap_or_default();
            let aim = numbers_aim(column)?;
            let Aim::Numbers { list, .. } = &aim else {
                return Err(Error::Model("numbers are no classes".into()));
            };
            let ending = Ending::Numbers(list.unwrap_or(1));
            (aim, ending, Loss::Numbers(loss))
        }
        _ => {
            let categories = train
                .schema
                .column(&target)
                .and_then(|column| column.categories.as_deref());
            let labels = Labels::learn(column, categories)?;
            let loss = asked.loss.and_then(AnyLoss::of_classes).unwrap_or_default();
            let ending = match loss {
                ClassLoss::BinaryCrossentropy if labels.len() == 2 => Ending::Binary,
                ClassLoss::BinaryCrossentropy => {
                    return Err(Error::data(format!(
                        "`binary_crossentropy` tells two classes apart, but `{target}` has {}",
                        labels.len()
                    )));
                }
                _ => Ending::Classes(labels.len()),
            };
            (Aim::Classes(labels), ending, Loss::Classes(loss))
        }
    };
    let positive = match &aim {
        Aim::Classes(labels) => classifier::positive_class(asked.positive, &labels.names())?,
        Aim::Numbers { .. } => None,
    };
    let truth = aim.truth(column)?;
    if let (Aim::Classes(labels), Truth::Labels(indices)) = (&aim, &truth) {
        weigh_classes(asked.class_weight, labels, indices, &mut weights)?;
    }
    let network = network(ending);
    let walked = walk(&network.input, &network.layers);
    let known = Some((ending, String::new()));
    if let Some(fault) = ends(&network.layers, walked.output(), known).first() {
        return Err(Error::data(format!("{}; {}", fault.message, fault.help)));
    }
    let initial = initial::read(initial, &network, cx)?;
    let inputs = input.rows(&train.data)?;
    let rows = Rows {
        inputs: &inputs,
        truth: &truth,
        weights: weights.as_deref(),
    };
    let held_out_truth = held_out
        .as_ref()
        .map(|(column, ..)| aim.truth(column))
        .transpose()?;
    let held_out_rows =
        held_out
            .as_ref()
            .zip(held_out_truth.as_ref())
            .map(|((_, inputs, weights), truth)| Rows {
                inputs,
                truth,
                weights: weights.as_deref(),
            });
    let course = settings.course(loss, augment, cx.seed, runtime::threads());
    let (device, seed) = (course.device, course.seed);
    let (network, trained, tensors) =
        lesson::train(network, course, &rows, held_out_rows.as_ref(), &initial, cx)?;
    let mut learned = Learned {
        target,
        aim,
        positive,
        input,
        network,
        device,
        seed,
        interval,
        reaches: Vec::new(),
        history: trained.history,
        epoch: trained.epoch,
    };
    let state = |learned: &Learned| -> Result<State> {
        Ok(with_tensors(
            State::from_data(version, learned)?,
            &tensors.0,
        ))
    };
    if let (Some(interval), Aim::Numbers { .. }) = (interval, &learned.aim) {
        // How far off it is is seen on rows that it did not learn from, where there are some.
        let (frame, truth) = match (validation, &held_out_truth) {
            (Some(frame), Some(truth)) => (frame, truth),
            _ => (train, &truth),
        };
        learned.reaches = reaches(&learned, interval, &state(&learned)?, &frame.data, truth)?;
    }
    state(&learned)
}

/// Has the rows of each class count as much as the spec says.
fn weigh_classes(
    class_weight: &ClassWeight,
    labels: &Labels,
    indices: &[i64],
    weights: &mut Option<Vec<f32>>,
) -> Result<()> {
    let codes: Vec<u32> = indices
        .iter()
        .map(|index| u32::try_from(*index).unwrap_or_default())
        .collect();
    let of_each = class_weight.of_each(&labels.names(), &codes, weights.as_ref())?;
    if of_each.iter().all(|weight| *weight == 1.0) {
        return Ok(());
    }
    let own = weights.get_or_insert_with(|| vec![1.0; codes.len()]);
    for (weight, code) in own.iter_mut().zip(codes) {
        *weight *= of_each[code as usize] as f32;
    }
    Ok(())
}

/// Center and scale of the numbers of a target; what they are is refused where they are not numbers.
fn numbers_aim(column: &PolarsColumn) -> Result<Aim> {
    let list = list_length(column.dtype());
    let numbers = target_numbers(column)?;
    let count = numbers.len().max(1) as f64;
    let center = numbers.iter().sum::<f64>() / count;
    let variance = numbers
        .iter()
        .map(|number| (number - center).powi(2))
        .sum::<f64>()
        / count;
    let scale = if variance > 0.0 { variance.sqrt() } else { 1.0 };
    Ok(Aim::Numbers {
        center,
        scale,
        list,
    })
}

fn target_numbers(column: &PolarsColumn) -> Result<Vec<f64>> {
    let name = column.name();
    let own = match column.dtype() {
        DataType::Array(..) => {
            if column.null_count() > 0 {
                return Err(Error::data(format!(
                    "the target `{name}` is null in some row"
                )));
            }
            column.explode(polars::prelude::ExplodeOptions {
                empty_as_null: true,
                keep_nulls: true,
            })?
        }
        _ => column.clone(),
    };
    let floats = own.strict_cast(&DataType::Float64)?;
    let numbers: Vec<f64> = floats
        .f64()?
        .iter()
        .map(|number| number.unwrap_or(f64::NAN))
        .collect();
    match numbers.iter().position(|number| !number.is_finite()) {
        None => Ok(numbers),
        Some(place) => {
            let row = place / list_length(column.dtype()).unwrap_or(1).max(1);
            Err(Error::data(format!(
                "the target `{name}` is null, nan or infinite in row {}; leave such rows out above the model (`clean.filter`)",
                row + 1
            )))
        }
    }
}

impl Aim {
    fn truth(&self, column: &PolarsColumn) -> Result<Truth> {
        match self {
            Self::Classes(labels) => Ok(Truth::Labels(labels.indices(column)?)),
            Self::Numbers {
                center,
                scale,
                list,
            } => Ok(Truth::Targets {
                numbers: target_numbers(column)?
                    .into_iter()
                    .map(|number| ((number - center) / scale) as f32)
                    .collect(),
                width: list.unwrap_or(1),
            }),
        }
    }
}

/// How wide intervals are.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Reach {
    /// The standard deviation of what the mean of the networks leaves unexplained, in standard deviations of the target.
    noise: f64,
    /// How many deviations an interval reaches to either side, so that it holds the share of rows that it should.
    deviations: f64,
}

impl Reach {
    /// The deviation to expect of a row, from what the networks say of it.
    fn deviation(&self, outputs: &[f64]) -> f64 {
        let count = outputs.len().max(1) as f64;
        let mean = outputs.iter().sum::<f64>() / count;
        let squares: f64 = outputs.iter().map(|output| (output - mean).powi(2)).sum();
        (squares / count + self.noise * self.noise).sqrt()
    }
}

/// How wide intervals must be to hold their share of these rows: for each number that a row gets.
fn reaches(
    learned: &Learned,
    interval: Interval,
    state: &State,
    frame: &DataFrame,
    truth: &Truth,
) -> Result<Vec<Reach>> {
    let Truth::Targets { numbers, width } = truth else {
        return Ok(Vec::new());
    };
    let model = lesson::open(&learned.load(Some(interval)), state)?;
    let answers = lesson::answers(&model, &learned.input, frame)?;
    let outputs = lesson::numbers(&answers, "outputs", interval.draws as usize * numbers.len())?;
    let errors: Vec<f64> = mean_of(outputs, numbers.len())
        .iter()
        .zip(numbers)
        .map(|(mean, truth)| (mean - f64::from(*truth)).abs())
        .collect();
    let of_each = (0..*width).map(|place| {
        let places = || (place..numbers.len()).step_by(*width);
        let rows = places().count();
        let squares: f64 = places().map(|at| errors[at].powi(2)).sum();
        let mut reach = Reach {
            noise: (squares / rows.max(1) as f64).sqrt(),
            deviations: 0.0,
        };
        let mut shares: Vec<f64> = places()
            .map(|at| {
                let deviation = reach.deviation(&drawn(outputs, at, numbers.len()));
                errors[at] / deviation.max(f64::MIN_POSITIVE)
            })
            .collect();
        shares.sort_by(f64::total_cmp);
        // One row more than there are: the share holds for the next row too (Vovk and others, 2005).
        let last = ((rows as f64 + 1.0) * interval.level).ceil() as usize;
        reach.deviations = shares
            .get(last.clamp(1, rows.max(1)) - 1)
            .copied()
            .unwrap_or_default();
        reach
    });
    Ok(of_each.collect())
}

/// What each network drawn says at this place of `count`.
fn drawn(outputs: &[f64], place: usize, count: usize) -> Vec<f64> {
    outputs.iter().skip(place).step_by(count).copied().collect()
}

/// A network in the library that predicts what it has learned.
struct Supervised {
    learned: Learned,
    model: bridge::Model,
}

impl Learned {
    fn load(&self, interval: Option<Interval>) -> Load {
        Load {
            network: self.network.clone(),
            threads: runtime::threads(),
            device: self.device,
            draws: interval.map(|interval| Draws {
                count: interval.draws,
                seed: self.seed,
            }),
        }
    }

    /// How many numbers the network gives a row.
    fn width(&self) -> usize {
        let walked = walk(&self.network.input, &self.network.layers);
        walked.output().unwrap_or_default().iter().product()
    }
}

/// What predicts with the state that [`fit`] made.
pub(crate) fn load(version: u32, state: &State) -> Result<Box<dyn Predictor>> {
    let learned: Learned = state.data(version)?;
    let model = lesson::open(&learned.load(learned.interval), state)?;
    if learned.interval.is_some() && learned.reaches.len() != learned.width() {
        return Err(Error::State("the intervals do not fit the network".into()));
    }
    if let Aim::Classes(labels) = &learned.aim {
        labels.check(learned.positive)?;
    }
    Ok(Box::new(Supervised { learned, model }))
}

impl Predictor for Supervised {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let answers = lesson::answers(&self.model, &self.learned.input, batch)?;
        let rows = batch.height();
        let width = self.learned.width();
        let draws = self
            .learned
            .interval
            .map_or(1, |interval| interval.draws as usize);
        let outputs = lesson::numbers(&answers, "outputs", draws * rows * width)?;
        let mean = mean_of(outputs, rows * width);
        match &self.learned.aim {
            Aim::Classes(labels) if width == 1 => {
                let both: Vec<f64> = mean
                    .iter()
                    .flat_map(|second| [1.0 - second, *second])
                    .collect();
                class_columns(labels, self.learned.positive, &both)
            }
            Aim::Classes(labels) => class_columns(labels, self.learned.positive, &mean),
            Aim::Numbers {
                center,
                scale,
                list,
            } => {
                let own = |number: f64| number * scale + center;
                let predictions: Vec<f64> = mean.iter().map(|number| own(*number)).collect();
                let mut columns = vec![(PREDICTION, predictions)];
                if self.learned.interval.is_some() {
                    let (lower, upper): (Vec<f64>, Vec<f64>) = mean
                        .iter()
                        .enumerate()
                        .map(|(place, mean)| {
                            let reach = self.learned.reaches[place % width];
                            let deviation = reach.deviation(&drawn(outputs, place, rows * width));
                            let reach = reach.deviations * deviation;
                            (own(mean - reach), own(mean + reach))
                        })
                        .unzip();
                    columns.extend([(LOWER, lower), (UPPER, upper)]);
                }
                let columns = columns.into_iter().map(|(name, numbers)| {
                    let series = Series::new(name.into(), numbers);
                    Ok(match list {
                        Some(length) => {
                            let shape =
                                [rows, *length].map(|side| ReshapeDimension::new(side as i64));
                            series.reshape_array(&shape)?.into_column()
                        }
                        None => series.into_column(),
                    })
                });
                columns.collect()
            }
        }
    }
}

/// The mean over draws, which stand one after the other.
fn mean_of(outputs: &[f64], count: usize) -> Vec<f64> {
    let mut mean = vec![0.0; count];
    let draws = outputs.len() / count.max(1);
    for draw in outputs.chunks_exact(count.max(1)) {
        for (mean, output) in mean.iter_mut().zip(draw) {
            *mean += output / draws as f64;
        }
    }
    mean
}

/// The output columns of `probabilities` (rows × classes); `score` is that of the positive one of two, or, where none is known, of the
/// second.
pub(crate) fn class_columns(
    labels: &Labels,
    positive: Option<usize>,
    probabilities: &[f64],
) -> Result<Vec<PolarsColumn>> {
    let classes = labels.len();
    let rows = probabilities.chunks_exact(classes);
    // Of two equally likely classes the positive one; of more, the first.
    let first = positive.unwrap_or(0);
    let likeliest: Vec<usize> = rows
        .clone()
        .map(|row| {
            (0..classes).fold(
                first,
                |best, class| if row[class] > row[best] { class } else { best },
            )
        })
        .collect();
    let of_class = |class: usize| -> Vec<f64> { rows.clone().map(|row| row[class]).collect() };
    let mut columns = vec![labels.column(PREDICTION, &likeliest)?];
    if classes == 2 {
        let positive = positive.unwrap_or(1);
        columns.push(PolarsColumn::new(SCORE.into(), of_class(positive)));
    }
    for (class, name) in labels.names().iter().enumerate() {
        columns.push(PolarsColumn::new(
            format!("{PROBABILITY}{name}").into(),
            of_class(class),
        ));
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_classes_get_a_score() {
        let found = class_columns(&Labels::Booleans, None, &[0.9, 0.1, 0.2, 0.8]).expect("columns");
        let names: Vec<&str> = found.iter().map(|column| column.name().as_str()).collect();
        assert_eq!(
            names,
            [
                "prediction",
                "score",
                "probability_false",
                "probability_true"
            ]
        );
        assert_eq!(
            found[0]
                .bool()
                .expect("bool")
                .iter()
                .flatten()
                .collect::<Vec<_>>(),
            [false, true]
        );
        assert_eq!(
            found[1]
                .f64()
                .expect("f64")
                .iter()
                .flatten()
                .collect::<Vec<_>>(),
            [0.1, 0.8]
        );
    }

    #[test]
    fn the_score_is_that_of_the_positive_class() {
        let labels = Labels::Texts(vec!["bad".into(), "good".into()]);
        let told = |positive: Option<usize>| {
            let found = class_columns(&labels, positive, &[0.9, 0.1, 0.5, 0.5]).expect("columns");
            let predicted = found[0].str().expect("text");
            let predicted: Vec<String> = predicted.iter().flatten().map(str::to_owned).collect();
            let score = found[1].f64().expect("f64");
            (predicted, score.iter().flatten().collect::<Vec<_>>())
        };
        assert_eq!(
            told(Some(0)),
            (vec!["bad".into(), "bad".into()], vec![0.9, 0.5])
        );
        assert_eq!(
            told(Some(1)),
            (vec!["bad".into(), "good".into()], vec![0.1, 0.5])
        );
        // As it was before there was a choice.
        assert_eq!(
            told(None),
            (vec!["bad".into(), "bad".into()], vec![0.1, 0.5])
        );
    }

    #[test]
    fn a_state_from_before_there_was_a_choice_is_read() {
        let learned = Learned {
            target: "is_fraud".into(),
            aim: Aim::Classes(Labels::Booleans),
            positive: None,
            input: Input::Columns(vec!["amount".into()]),
            network: Network {
                input: vec![1],
                layers: Vec::new(),
            },
            device: Device::default(),
            seed: 7,
            interval: None,
            reaches: Vec::new(),
            history: Vec::new(),
            epoch: 1,
        };
        let mut state = State::from_data(2, &learned).expect("state");
        let data = state.data.as_object_mut().expect("a map");
        assert!(data.remove("positive").is_some());
        assert_eq!(state.data::<Learned>(2).expect("read"), learned);
    }

    #[test]
    fn a_tie_goes_to_the_first_class() {
        let labels = Labels::Texts(vec!["a".into(), "b".into(), "c".into()]);
        let found =
            class_columns(&labels, None, &[0.25, 0.5, 0.25, 0.4, 0.2, 0.4]).expect("columns");
        assert_eq!(found.len(), 4);
        assert_eq!(
            found[0]
                .str()
                .expect("text")
                .iter()
                .flatten()
                .collect::<Vec<_>>(),
            ["b", "a"]
        );
    }
}
