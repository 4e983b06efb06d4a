//! How long models take to learn and to predict, on data made here from seeds and written down for a peer to read.
//!
//! `cargo bench --bench models [-- FOLDER [TASK…]]`. Prints a line of JSON for each task: seconds to fit (the best of some rounds) and to
//! predict, and a figure of quality on rows that were not learned from. The arrays of each task are kept as .npy files in FOLDER
//! (default: target/bench-models), which benches/peers/models.py reads. benches/models.sh runs both and prints the table.
//!
//! A fit begins with a frame in memory and ends with the state that a bundle would hold.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Instant,
};

use polars::prelude::{
    Column as PolarsColumn, DataFrame, IntoColumn, IntoLazy, NamedFrom, ReshapeDimension, Series,
};
use taktline_core::{
    Cancellation, FitContext, Frame, NoCheckpoints, Progress, ProgressEvent, Registry, Role,
    Schema, Shape, Stage, serde_yaml,
};
use {taktline_linfa as _, taktline_ops as _, taktline_torch as _};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let (folder, tasks) = match arguments.as_slice() {
        [] => (PathBuf::from("target/bench-models"), &[][..]),
        [folder, tasks @ ..] => (PathBuf::from(folder), tasks),
    };
    std::fs::create_dir_all(&folder)?;
    for task in TASKS {
        if tasks.is_empty() || tasks.iter().any(|name| name == task.name) {
            let data = (task.data)(task);
            data.write(&folder, task.name)?;
            let found = match task.family {
                Family::Network => network(task, &data)?,
                Family::Components => components(task, &data)?,
                Family::Model => model(task, &data)?,
            };
            println!("{found}");
        }
    }
    Ok(())
}

/// What is measured.
struct Task {
    name: &'static str,
    kind: &'static str,
    params: &'static str,
    family: Family,
    data: fn(&Task) -> Data,
    /// Rows to learn from and to judge by, and numbers of each.
    sizes: [usize; 3],
    /// Fits, of which the fastest counts.
    rounds: usize,
    quality: Quality,
}

#[derive(Clone, Copy)]
enum Family {
    Model,
    Components,
    /// Seconds are those of an epoch.
    Network,
}

#[derive(Clone, Copy)]
enum Quality {
    RocAuc,
    LogLoss,
    /// Mean squared distance to the nearest middle, of the rows that were learned from.
    Inertia,
    /// The share of the variance that the components hold.
    Variance,
    Accuracy,
    Rmse,
}

impl Quality {
    fn name(self) -> &'static str {
        match self {
            Self::RocAuc => "ROC AUC",
            Self::LogLoss => "log loss",
            Self::Inertia => "mean squared distance",
            Self::Variance => "share of variance",
            Self::Accuracy => "accuracy",
            Self::Rmse => "RMSE",
        }
    }
}

const TASKS: &[Task] = &[
    Task {
        name: "logistic_regression",
        kind: "model.linfa.logistic_regression",
        // scikit-learn's own bound of the gradient.
        params: "{penalty: 1, tolerance: 1e-4}",
        family: Family::Model,
        data: linear_classes,
        sizes: [200_000, 50_000, 50],
        rounds: 3,
        quality: Quality::LogLoss,
    },
    Task {
        name: "naive_bayes",
        kind: "model.linfa.naive_bayes",
        params: "{}",
        family: Family::Model,
        data: linear_classes,
        sizes: [200_000, 50_000, 50],
        rounds: 3,
        quality: Quality::LogLoss,
    },
    Task {
        name: "decision_tree",
        kind: "model.linfa.decision_tree",
        params: "{max_depth: 12}",
        family: Family::Model,
        data: bent_classes,
        sizes: [50_000, 20_000, 30],
        rounds: 3,
        quality: Quality::RocAuc,
    },
    Task {
        name: "random_forest",
        kind: "model.linfa.random_forest",
        params: "{trees: 100}",
        family: Family::Model,
        data: bent_classes,
        sizes: [50_000, 20_000, 30],
        rounds: 2,
        quality: Quality::RocAuc,
    },
    Task {
        name: "gradient_boosting",
        kind: "model.boost.trees",
        params: "{rounds: 100, learning_rate: 0.1, max_leaves: 31, min_samples_leaf: 20, l2: 1}",
        family: Family::Model,
        data: bent_classes,
        sizes: [500_000, 100_000, 50],
        rounds: 2,
        quality: Quality::RocAuc,
    },
    Task {
        name: "svm_rbf",
        kind: "model.linfa.svm",
        params: "{kernel: rbf, cost: 1}",
        family: Family::Model,
        data: bent_classes,
        sizes: [5_000, 5_000, 20],
        rounds: 2,
        quality: Quality::RocAuc,
    },
    Task {
        name: "k_means",
        kind: "model.linfa.k_means",
        params: "{clusters: 8, attempts: 3, tolerance: 1e-4}",
        family: Family::Model,
        data: clouds,
        sizes: [500_000, 0, 20],
        rounds: 2,
        quality: Quality::Inertia,
    },
    Task {
        name: "pca",
        kind: "features.pca",
        params: "{components: 10}",
        family: Family::Components,
        data: shadows,
        sizes: [500_000, 100_000, 50],
        rounds: 3,
        quality: Quality::Variance,
    },
    Task {
        name: "cnn",
        kind: "model.torch.cnn",
        params: "{epochs: 3}",
        family: Family::Network,
        data: tiles,
        sizes: [8_000, 2_000, 28 * 28],
        rounds: 2,
        quality: Quality::Accuracy,
    },
    Task {
        name: "lstm",
        kind: "model.torch.rnn",
        params: "{epochs: 4, units: [64], task: regression}",
        family: Family::Network,
        data: sequences,
        sizes: [8_000, 2_000, STEPS * CHANNELS],
        rounds: 2,
        quality: Quality::Rmse,
    },
];

const CLASSES: usize = 10;
const SIDE: usize = 28;
const STEPS: usize = 50;
const CHANNELS: usize = 8;

/// A generator of known numbers (Vigna: "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016).
struct Noise(u64);

impl Noise {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Nearly normal, of variance 1: the sum of twelve even numbers.
    fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Rows to learn from and behind them rows to judge by.
struct Data {
    /// Row by row.
    numbers: Vec<f64>,
    truth: Vec<f64>,
    width: usize,
    learned: usize,
}

impl Data {
    fn rows(&self) -> usize {
        self.truth.len()
    }

    fn write(&self, folder: &Path, name: &str) -> Fallible<()> {
        write_npy(
            &folder.join(format!("{name}-numbers.npy")),
            &[self.rows(), self.width],
            &self.numbers,
        )?;
        write_npy(
            &folder.join(format!("{name}-truth.npy")),
            &[self.rows()],
            &self.truth,
        )?;
        let about = serde_json::json!({"learned": self.learned});
        std::fs::write(folder.join(format!("{name}.json")), about.to_string())?;
        Ok(())
    }

    /// The rows to learn from, and those to judge by.
    fn frames(&self, target: PolarsColumn) -> Fallible<[Frame; 2]> {
        let mut columns: Vec<PolarsColumn> = (0..self.width)
            .map(|number| {
                let values: Vec<f64> = self
                    .numbers
                    .iter()
                    .skip(number)
                    .step_by(self.width)
                    .copied()
                    .collect();
                PolarsColumn::new(format!("number_{number}").into(), values)
            })
            .collect();
        columns.push(target);
        self.parts(DataFrame::new(self.rows(), columns)?)
    }

    /// The same with one column of arrays.
    fn array_frames(&self, sides: &[usize], target: PolarsColumn) -> Fallible<[Frame; 2]> {
        let numbers: Vec<f32> = self.numbers.iter().map(|number| *number as f32).collect();
        let shape: Vec<ReshapeDimension> = std::iter::once(self.rows())
            .chain(sides.iter().copied())
            .map(|side| ReshapeDimension::new(side as i64))
            .collect();
        let arrays = Series::new("input".into(), numbers).reshape_array(&shape)?;
        self.parts(DataFrame::new(
            self.rows(),
            vec![arrays.into_column(), target],
        )?)
    }

    fn parts(&self, all: DataFrame) -> Fallible<[Frame; 2]> {
        let mut schema = Schema::from_polars(all.schema());
        if let Some(column) = schema.column_mut(TARGET) {
            *column = column.clone().with_role(Role::Target);
        }
        let rest = self.rows() - self.learned;
        Ok(
            [(0, self.learned), (self.learned, rest)].map(|(start, rows)| Frame {
                data: all.slice(start as i64, rows),
                schema: schema.clone(),
            }),
        )
    }
}

const TARGET: &str = "truth";

/// An array as numpy reads it.
fn write_npy(path: &Path, shape: &[usize], values: &[f64]) -> Fallible<()> {
    let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
    let mut header =
        format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({sides}), }}").into_bytes();
    while (header.len() + 11) % 64 != 0 {
        header.push(b' ');
    }
    header.push(b'\n');
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&u16::try_from(header.len())?.to_le_bytes())?;
    file.write_all(&header)?;
    for value in values {
        file.write_all(&value.to_le_bytes())?;
    }
    Ok(file.flush()?)
}

/// Rows whose truth is 1 with a probability that a function of their numbers gives.
fn classes(task: &Task, seed: u64, score: impl Fn(&[f64]) -> f64) -> Data {
    let [learned, judged, width] = task.sizes;
    let mut noise = Noise(seed);
    let mut numbers = Vec::with_capacity((learned + judged) * width);
    let mut truth = Vec::with_capacity(learned + judged);
    for row in 0..learned + judged {
        numbers.extend((0..width).map(|_| noise.bell()));
        let chance = 1.0 / (1.0 + (-score(&numbers[row * width..])).exp());
        truth.push(f64::from(u8::from(noise.unit() < chance)));
    }
    Data {
        numbers,
        truth,
        width,
        learned,
    }
}

fn linear_classes(task: &Task) -> Data {
    classes(task, 11, |row| {
        let weighted = row.iter().enumerate();
        weighted
            .map(|(place, number)| number * ((place % 7) as f64 - 3.0) / 6.0)
            .sum()
    })
}

fn bent_classes(task: &Task) -> Data {
    classes(task, 12, |row| {
        let straight: f64 = row[..8].iter().sum();
        0.5 * straight + row[0] * row[1] + 2.0 * (2.0 * row[2]).sin() + row[3].abs()
            - row[4] * row[5].max(0.0)
    })
}

/// Eight clouds that touch.
fn clouds(task: &Task) -> Data {
    let [learned, _, width] = task.sizes;
    let mut noise = Noise(13);
    let middles: Vec<f64> = (0..8 * width).map(|_| 1.5 * noise.bell()).collect();
    let mut numbers = Vec::with_capacity(learned * width);
    let mut truth = Vec::with_capacity(learned);
    for _ in 0..learned {
        let cloud = (noise.unit() * 8.0) as usize;
        numbers.extend(
            middles[cloud * width..][..width]
                .iter()
                .map(|middle| middle + 1.5 * noise.bell()),
        );
        truth.push(cloud as f64);
    }
    Data {
        numbers,
        truth,
        width,
        learned,
    }
}

/// What ten hidden numbers cast on many, with noise.
fn shadows(task: &Task) -> Data {
    let [learned, judged, width] = task.sizes;
    let mut noise = Noise(14);
    let weights: Vec<f64> = (0..10 * width).map(|_| noise.bell()).collect();
    let mut numbers = Vec::with_capacity((learned + judged) * width);
    for _ in 0..learned + judged {
        let hidden: Vec<f64> = (0..10)
            .map(|place| noise.bell() * (10 - place) as f64)
            .collect();
        numbers.extend((0..width).map(|number| {
            let sum: f64 = hidden
                .iter()
                .zip(&weights[number * 10..])
                .map(|(hidden, weight)| hidden * weight)
                .sum();
            sum + noise.bell()
        }));
    }
    Data {
        numbers,
        truth: vec![0.0; learned + judged],
        width,
        learned,
    }
}

/// Pictures of waves: each class has its direction and length, each picture its phase, and noise.
fn tiles(task: &Task) -> Data {
    let [learned, judged, width] = task.sizes;
    let mut noise = Noise(15);
    let mut numbers = Vec::with_capacity((learned + judged) * width);
    let mut truth = Vec::with_capacity(learned + judged);
    for _ in 0..learned + judged {
        let class = (noise.unit() * CLASSES as f64) as usize;
        let angle = class as f64 * std::f64::consts::PI / CLASSES as f64;
        let (phase, length) = (noise.unit() * 6.3, 0.5 + 0.1 * noise.unit());
        for pixel in 0..width {
            let (vertical, horizontal) = ((pixel / SIDE) as f64, (pixel % SIDE) as f64);
            let wave = ((vertical * angle.sin() + horizontal * angle.cos()) * length + phase).sin();
            numbers.push((0.5 + 0.25 * wave + 0.25 * noise.bell()).clamp(0.0, 1.0));
        }
        truth.push(class as f64);
    }
    Data {
        numbers,
        truth,
        width,
        learned,
    }
}

/// Sequences whose truth is a sum that fades with the steps.
fn sequences(task: &Task) -> Data {
    let [learned, judged, width] = task.sizes;
    let mut noise = Noise(16);
    let mut numbers = Vec::with_capacity((learned + judged) * width);
    let mut truth = Vec::with_capacity(learned + judged);
    for row in 0..learned + judged {
        numbers.extend((0..width).map(|_| noise.bell()));
        let steps = numbers[row * width..].chunks_exact(CHANNELS);
        truth.push(steps.fold(0.0, |sum, step| 0.9 * sum + step[0] * step[1].tanh()));
    }
    Data {
        numbers,
        truth,
        width,
        learned,
    }
}

fn stage(task: &Task) -> Fallible<Box<dyn Stage>> {
    let params = serde_yaml::from_str(task.params)?;
    let registry = Registry::collect()?;
    let kind = registry.get(task.kind).ok_or("no such kind")?;
    Ok((kind.parse)(&params)?)
}

fn timed<T>(best: &mut f64, work: impl FnOnce() -> Fallible<T>) -> Fallible<T> {
    let began = Instant::now();
    let made = work()?;
    *best = best.min(began.elapsed().as_secs_f64());
    Ok(made)
}

fn report(task: &Task, data: &Data, [fit, predict]: [f64; 2], quality: f64) -> String {
    serde_json::json!({
        "task": task.name, "engine": "takt", "kind": task.kind, "rows": data.learned, "numbers": data.width,
        "predicted": if data.learned < data.rows() { data.rows() - data.learned } else { data.learned },
        "fit": fit, "predict": predict, "quality": quality, "measure": task.quality.name(),
    })
    .to_string()
}

fn model(task: &Task, data: &Data) -> Fallible<String> {
    let target = match task.quality {
        Quality::Inertia => PolarsColumn::new("unused".into(), &data.truth),
        _ => {
            let labels: Vec<bool> = data.truth.iter().map(|truth| *truth > 0.5).collect();
            PolarsColumn::new(TARGET.into(), labels)
        }
    };
    let [mut learned, mut judged] = data.frames(target)?;
    if let Quality::Inertia = task.quality {
        learned.data = learned.data.drop("unused")?;
        learned.schema = Schema::from_polars(learned.data.schema());
        judged = learned.clone();
    }
    let stage = stage(task)?;
    let Shape::Model(model) = stage.shape() else {
        return Err("not a model".into());
    };
    let mut seconds = [f64::INFINITY; 2];
    let mut outputs = Vec::new();
    for _ in 0..task.rounds {
        let state = timed(&mut seconds[0], || {
            Ok(model.fit(&learned, None, &mut FitContext::quiet(1))?)
        })?;
        outputs = timed(&mut seconds[1], || {
            Ok(model.load(&state)?.predict(&judged.data)?)
        })?;
    }
    let numbers = |name: &str| -> Fallible<Vec<f64>> {
        let column = outputs
            .iter()
            .find(|column| column.name() == name)
            .ok_or("no such output")?;
        Ok(column.f64()?.iter().flatten().collect())
    };
    let quality = match task.quality {
        Quality::Inertia => {
            let distances = numbers("distance")?;
            let squares: f64 = distances.iter().map(|distance| distance * distance).sum();
            squares / distances.len() as f64
        }
        Quality::LogLoss => log_loss(&numbers("score")?, &data.truth[data.learned..]),
        _ => roc_auc(&numbers("score")?, &data.truth[data.learned..]),
    };
    Ok(report(task, data, seconds, quality))
}

fn components(task: &Task, data: &Data) -> Fallible<String> {
    let unused = PolarsColumn::new("unused".into(), vec![0_i32; data.rows()]);
    let [learned, judged] = data.frames(unused)?;
    let stage = stage(task)?;
    let Shape::Estimator(estimator) = stage.shape() else {
        return Err("not an estimator".into());
    };
    let mut seconds = [f64::INFINITY; 2];
    let mut found = DataFrame::empty();
    for _ in 0..task.rounds {
        let state = timed(&mut seconds[0], || {
            Ok(estimator.fit(&learned, &mut FitContext::quiet(1))?)
        })?;
        found = timed(&mut seconds[1], || {
            let schemas = [judged.schema.clone()];
            let operations = estimator.lower(&state, &schemas)?;
            let frame = judged.data.clone().lazy();
            Ok(taktline_engine::local::apply(&operations, &[frame], &schemas)?.collect()?)
        })?;
    }
    let variance = |values: &mut dyn Iterator<Item = f64>| {
        let values: Vec<f64> = values.collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / values.len() as f64
    };
    let mut held = 0.0;
    for component in found
        .columns()
        .iter()
        .filter(|column| column.name().starts_with("pca"))
    {
        held += variance(&mut component.f64()?.iter().flatten());
    }
    let mut all = 0.0;
    for number in judged
        .data
        .columns()
        .iter()
        .filter(|column| column.name().starts_with("number"))
    {
        all += variance(&mut number.f64()?.iter().flatten());
    }
    Ok(report(task, data, seconds, held / all))
}

/// The end of each epoch.
struct Clock(Mutex<Vec<Instant>>);

impl Progress for Clock {
    fn event(&self, event: ProgressEvent) {
        if let (ProgressEvent::Epoch { .. }, Ok(mut ends)) = (event, self.0.lock()) {
            ends.push(Instant::now());
        }
    }
}

/// An epoch, the first of each fit left out: there libtorch is loaded and chooses its kernels.
fn network(task: &Task, data: &Data) -> Fallible<String> {
    let is_picture = matches!(task.quality, Quality::Accuracy);
    let (sides, target) = match is_picture {
        true => {
            let labels: Vec<i64> = data.truth.iter().map(|truth| *truth as i64).collect();
            (
                vec![SIDE, SIDE, 1],
                PolarsColumn::new(TARGET.into(), labels),
            )
        }
        false => (
            vec![STEPS, CHANNELS],
            PolarsColumn::new(TARGET.into(), &data.truth),
        ),
    };
    let [learned, judged] = data.array_frames(&sides, target)?;
    let stage = stage(task)?;
    let Shape::Model(model) = stage.shape() else {
        return Err("not a model".into());
    };
    let mut seconds = [f64::INFINITY; 2];
    let mut outputs = Vec::new();
    for _ in 0..task.rounds {
        let clock = Clock(Mutex::new(Vec::new()));
        let state = model.fit(
            &learned,
            None,
            &mut FitContext {
                stage: "network",
                seed: 1,
                progress: &clock,
                cancellation: &Cancellation::default(),
                checkpoints: &NoCheckpoints,
                directory: Path::new("."),
            },
        )?;
        let ends = clock.0.into_inner().map_err(|_| "the clock broke")?;
        for epoch in ends.windows(2) {
            seconds[0] = seconds[0].min(epoch[1].duration_since(epoch[0]).as_secs_f64());
        }
        outputs = timed(&mut seconds[1], || {
            Ok(model.load(&state)?.predict(&judged.data)?)
        })?;
    }
    let prediction = outputs.first().ok_or("no outputs")?;
    let truth = &data.truth[data.learned..];
    let predicted: Vec<f64> = match is_picture {
        true => prediction
            .i64()?
            .iter()
            .flatten()
            .map(|label| label as f64)
            .collect(),
        false => prediction.f64()?.iter().flatten().collect(),
    };
    let mean = |of_each: &dyn Fn(f64, f64) -> f64| {
        let pairs = predicted.iter().zip(truth);
        pairs
            .map(|(found, truth)| of_each(*found, *truth))
            .sum::<f64>()
            / truth.len() as f64
    };
    let quality = match is_picture {
        true => mean(&|found, truth| f64::from(u8::from(found == truth))),
        false => mean(&|found, truth| (found - truth).powi(2)).sqrt(),
    };
    Ok(report(task, data, seconds, quality))
}

fn log_loss(scores: &[f64], truth: &[f64]) -> f64 {
    let losses = scores.iter().zip(truth).map(|(score, truth)| {
        let chance = if *truth > 0.5 { *score } else { 1.0 - score };
        -chance.max(1e-15).ln()
    });
    losses.sum::<f64>() / truth.len() as f64
}

/// The share of pairs of a positive and a negative row that are in the right order, by ranks.
fn roc_auc(scores: &[f64], truth: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|left, right| scores[*left].total_cmp(&scores[*right]));
    let mut ranks = 0.0;
    let mut start = 0;
    while start < order.len() {
        let same = order[start..]
            .iter()
            .take_while(|row| scores[**row] == scores[order[start]])
            .count();
        // Rows of one score share the mean of their ranks.
        let rank = start as f64 + (same as f64 + 1.0) / 2.0;
        ranks += rank
            * order[start..start + same]
                .iter()
                .map(|row| truth[*row])
                .sum::<f64>();
        start += same;
    }
    let positive: f64 = truth.iter().sum();
    let negative = truth.len() as f64 - positive;
    (ranks - positive * (positive + 1.0) / 2.0) / (positive * negative)
}
