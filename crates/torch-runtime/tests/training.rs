//! Training and prediction through the kinds, as a run does it: the library is loaded, called over the bridge, and answers.

use std::sync::Mutex;

use polars::prelude::{
    Column as PolarsColumn, DataFrame, IntoColumn, NamedFrom, ReshapeDimension, Series,
};
use serde_yaml::Value;
use taktline_core::{
    Cancellation, Checkpoints, Error, FitContext, Frame, Model, NoCheckpoints, Predictor, Progress,
    ProgressEvent, Registry, Result, Role, Schema, Shape, Silent, Stage, State, TensorData,
};
use taktline_torch as _;

#[path = "training/networks.rs"]
mod networks;
#[path = "training/pytorch.rs"]
mod pytorch;
#[path = "training/quality.rs"]
mod quality;
#[path = "training/synthesis.rs"]
mod synthesis;

const SIDE: usize = 8;

fn stage(kind: &str, params: &str) -> Box<dyn Stage> {
    let params: Value = serde_yaml::from_str(params).expect("YAML");
    (Registry::collect()
        .expect("registry")
        .get(kind)
        .expect("kind")
        .parse)(&params)
    .expect("params")
}

fn model(stage: &dyn Stage) -> &dyn Model {
    match stage.shape() {
        Shape::Model(model) => model,
        _ => panic!("not a model"),
    }
}

/// Numbers in [0, 1), the same on every machine (Numerical Recipes' generator).
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1_u32 << 24) as f32
    }
}

fn image_column(numbers: Vec<f32>, side: usize) -> PolarsColumn {
    let rows = numbers.len() / (side * side);
    let shape: Vec<_> = [rows, side, side, 1]
        .iter()
        .map(|side| ReshapeDimension::new(*side as i64))
        .collect();
    Series::new("image".into(), numbers)
        .reshape_array(&shape)
        .expect("shape")
        .into_column()
}

/// Bars that lie, stand or lean, at random places, with noise.
fn bars(rows: usize, seed: u32) -> Frame {
    let mut noise = Noise(seed);
    let mut pixels = Vec::with_capacity(rows * SIDE * SIDE);
    let mut labels = Vec::with_capacity(rows);
    for row in 0..rows {
        let class = row % 3;
        let place = (noise.next() * SIDE as f32) as usize % SIDE;
        for vertical in 0..SIDE {
            for horizontal in 0..SIDE {
                let is_on = match class {
                    0 => vertical == place,
                    1 => horizontal == place,
                    _ => (vertical + place) % SIDE == horizontal,
                };
                pixels.push(noise.next() * 0.4 + if is_on { 0.6 } else { 0.0 });
            }
        }
        labels.push(["lies", "stands", "leans"][class]);
    }
    frame(
        vec![
            image_column(pixels, SIDE),
            PolarsColumn::new("bar".into(), labels),
        ],
        "bar",
    )
}

fn frame(columns: Vec<PolarsColumn>, target: &str) -> Frame {
    let data = DataFrame::new(columns[0].len(), columns).expect("frame");
    let mut schema = Schema::from_polars(data.schema());
    for column in &mut schema.columns {
        if column.name == target {
            *column = column.clone().with_role(Role::Target);
        }
    }
    Frame { data, schema }
}

const NETWORK: &str = "\
layers:
  - conv: {filters: 6, kernel: 3, activation: relu}
  - max_pool: 2
  - flatten
  - dense: {units: 3, activation: softmax}
epochs: 6
optimizer: {adam: {learning_rate: 0.01}}
";

/// Everything whose state a checkpoint must hold: running statistics, random draws, odd padding, activations off the fast path.
const WHOLE_NETWORK: &str = "\
layers:
  - conv: {filters: 6, kernel: 3, padding: same, activation: gelu}
  - batch_norm: {momentum: 0.8}
  - conv: {filters: 6, kernel: 2, stride: 2, padding: same, activation: leaky_relu}
  - average_pool: 2
  - dropout: 0.2
  - flatten
  - dense: {units: 16, activation: tanh}
  - dense: {units: 3, activation: softmax}
epochs: 3
";

fn fit(params: &str, train: &Frame, seed: u64) -> State {
    let stage = stage("model.torch.cnn", params);
    model(&*stage)
        .fit(train, None, &mut FitContext::quiet(seed))
        .expect("trained")
}

fn predictor(kind: &str, state: &State) -> Box<dyn Predictor> {
    let stage = stage(kind, "{}");
    model(&*stage).load(state).expect("loaded")
}

fn numbers(columns: &[PolarsColumn]) -> Vec<f64> {
    columns
        .iter()
        .filter(|column| column.name().starts_with("probability_"))
        .flat_map(|column| {
            column
                .f64()
                .expect("f64")
                .iter()
                .flatten()
                .collect::<Vec<_>>()
        })
        .collect()
}

fn texts(column: &PolarsColumn) -> Vec<String> {
    column
        .str()
        .expect("text")
        .iter()
        .flatten()
        .map(str::to_owned)
        .collect()
}

fn accuracy(state: &State, test: &Frame) -> f64 {
    let predicted = predictor("model.torch.cnn", state)
        .predict(&test.data)
        .expect("predictions");
    let wanted = texts(test.data.column("bar").expect("bar"));
    let right = texts(&predicted[0])
        .iter()
        .zip(&wanted)
        .filter(|(predicted, wanted)| predicted == wanted)
        .count();
    right as f64 / wanted.len() as f64
}

#[test]
fn learns_to_tell_bars_apart() {
    let (train, test) = (bars(600, 1), bars(300, 2));
    for network in [
        NETWORK.to_owned(),
        WHOLE_NETWORK.replace("epochs: 3", "epochs: 20"),
    ] {
        let state = fit(&network, &train, 1);
        let accuracy = accuracy(&state, &test);
        assert!(accuracy > 0.97, "accuracy {accuracy} of {network}");
    }
}

#[test]
fn numbers_beside_an_array_are_learned_from_too() {
    // The pictures say nothing of it: the answer is in the number.
    let with_answers = |rows: Frame, seed: u32| {
        let mut noise = Noise(seed);
        let loads: Vec<f32> = (0..rows.data.height()).map(|_| noise.next()).collect();
        let heavy: Vec<bool> = loads.iter().map(|load| *load > 0.5).collect();
        let image = rows.data.column("image").expect("image").clone();
        let columns = vec![
            image,
            PolarsColumn::new("load".into(), loads),
            PolarsColumn::new("is_heavy".into(), heavy),
        ];
        frame(columns, "is_heavy")
    };
    let (train, test) = (with_answers(bars(600, 1), 3), with_answers(bars(300, 2), 4));
    let stage = stage(
        "model.torch.mlp",
        "{hidden: [16], epochs: 30, optimizer: {adam: {learning_rate: 0.01}}}",
    );
    let model = model(&*stage);
    assert_eq!(model.features(&train.schema), ["image", "load"]);
    let state = model
        .fit(&train, None, &mut FitContext::quiet(1))
        .expect("trained");
    let state = State::from_bytes(&state.to_bytes().expect("bytes")).expect("a state");
    let found = model
        .load(&state)
        .expect("loaded")
        .predict(&test.data)
        .expect("predictions");
    let wanted = test
        .data
        .column("is_heavy")
        .expect("there")
        .bool()
        .expect("truth");
    let predicted = found[0].bool().expect("truth");
    let right = predicted
        .iter()
        .zip(wanted.iter())
        .filter(|(one, other)| one == other)
        .count();
    assert!(right > 270, "{right} of 300");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let train = bars(200, 1);
    for network in [NETWORK, WHOLE_NETWORK] {
        let bytes = |seed| fit(network, &train, seed).to_bytes().expect("bytes");
        let first = bytes(5);
        assert!(first == bytes(5), "other weights from the same seed");
        assert!(first != bytes(6), "the same weights from another seed");
    }
}

#[test]
fn a_stored_model_predicts_the_same() {
    let (train, test) = (bars(200, 1), bars(100, 2));
    let state = fit(WHOLE_NETWORK, &train, 1);
    let stored = State::from_bytes(&state.to_bytes().expect("bytes")).expect("state");
    let predict = |state: &State| {
        predictor("model.torch.cnn", state)
            .predict(&test.data)
            .expect("predictions")
    };
    let (now, later) = (predict(&state), predict(&stored));
    assert_eq!(texts(&now[0]), texts(&later[0]));
    assert_eq!(numbers(&now), numbers(&later));
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    // Enough for several threads, and not a whole number of batches.
    let test = bars(301, 3).data;
    for network in [NETWORK, WHOLE_NETWORK] {
        let predictor = predictor("model.torch.cnn", &fit(network, &bars(300, 1), 1));
        let together = numbers(&predictor.predict(&test).expect("predictions"));
        for row in (0..test.height()).step_by(7).chain([0, 1, 2, 3, 300]) {
            let alone = numbers(
                &predictor
                    .predict(&test.slice(row as i64, 1))
                    .expect("prediction"),
            );
            let among: Vec<f64> = (0..3)
                .map(|class| together[class * test.height() + row])
                .collect();
            assert_eq!(alone, among, "row {row}");
            assert!((alone.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
    let predictor = predictor("model.torch.cnn", &fit(NETWORK, &bars(100, 1), 1));
    let none = predictor
        .predict(&test.slice(0, 0))
        .expect("no rows are fine");
    assert!(none.iter().all(PolarsColumn::is_empty));
}

/// Keeps the last checkpoint in memory.
#[derive(Default)]
struct Kept(Mutex<Option<Vec<u8>>>);

impl Checkpoints for Kept {
    fn load(&self) -> Option<Vec<u8>> {
        self.0.lock().expect("lock").clone()
    }
    fn save(&self, bytes: &[u8]) -> Result<()> {
        *self.0.lock().expect("lock") = Some(bytes.to_vec());
        Ok(())
    }
}

/// Cancels at the first event that fits, and remembers messages.
struct CancelAt<'a> {
    cancellation: &'a Cancellation,
    is_time: fn(&ProgressEvent) -> bool,
    messages: Mutex<Vec<String>>,
}

impl Progress for CancelAt<'_> {
    fn event(&self, event: ProgressEvent) {
        if (self.is_time)(&event) {
            self.cancellation.cancel();
        }
        if let ProgressEvent::Message(message) = event {
            self.messages.lock().expect("lock").push(message);
        }
    }
}

#[test]
fn an_interrupted_training_ends_as_if_it_had_not_been() {
    let train = bars(1800, 1);
    let straight = fit(WHOLE_NETWORK, &train, 3);
    let (resumed, message) =
        networks::interrupted("model.torch.cnn", WHOLE_NETWORK, &train, 3, |event| {
            matches!(event, ProgressEvent::Epoch { .. })
        });
    assert_eq!(
        message,
        "resumed from the checkpoint at epoch 2 of 3, after 0 batches"
    );
    assert!(straight == resumed, "other weights after resuming");
    let (resumed, message) =
        networks::interrupted("model.torch.cnn", WHOLE_NETWORK, &train, 3, |event| {
            matches!(event, ProgressEvent::Step { .. })
        });
    assert!(
        message.starts_with("resumed from the checkpoint at epoch"),
        "{message}"
    );
    assert!(straight == resumed, "other weights after resuming");
}

#[test]
fn a_spoiled_checkpoint_is_not_used() {
    let train = bars(60, 1);
    let stage = stage("model.torch.cnn", NETWORK);
    let checkpoints = Kept(Mutex::new(Some(b"spoiled".to_vec())));
    let cancellation = Cancellation::default();
    let progress = CancelAt {
        cancellation: &cancellation,
        is_time: |_| false,
        messages: Mutex::default(),
    };
    let mut cx = FitContext {
        stage: "bars",
        seed: 3,
        progress: &progress,
        cancellation: &cancellation,
        checkpoints: &checkpoints,
        directory: std::path::Path::new("."),
    };
    let state = model(&*stage).fit(&train, None, &mut cx).expect("trained");
    assert!(state == fit(NETWORK, &train, 3), "other weights");
    assert!(
        progress
            .messages
            .into_inner()
            .expect("messages")
            .concat()
            .contains("training starts again")
    );
}

#[test]
fn a_checkpoint_that_cannot_be_kept_is_an_error() {
    struct Full;
    impl Checkpoints for Full {
        fn load(&self) -> Option<Vec<u8>> {
            None
        }
        fn save(&self, _: &[u8]) -> Result<()> {
            Err(Error::data("no space left"))
        }
    }
    let stage = stage("model.torch.cnn", NETWORK);
    let cancellation = Cancellation::default();
    let mut cx = FitContext {
        stage: "bars",
        seed: 3,
        progress: &Silent,
        cancellation: &cancellation,
        checkpoints: &Full,
        directory: std::path::Path::new("."),
    };
    let error = model(&*stage)
        .fit(&bars(60, 1), None, &mut cx)
        .map(drop)
        .expect_err("full")
        .to_string();
    assert!(error.contains("no space left"), "{error}");
}

#[test]
fn a_loss_that_explodes_is_named() {
    let params = NETWORK.replace(
        "{adam: {learning_rate: 0.01}}",
        "{sgd: {learning_rate: 1e20, momentum: 0.9}}",
    );
    let stage = stage("model.torch.cnn", &params);
    let exploded = model(&*stage).fit(&bars(600, 1), None, &mut FitContext::quiet(1));
    let error = exploded.map(drop).expect_err("exploded").to_string();
    assert!(
        error.contains("in batch") && error.contains("of epoch") && error.contains("learning_rate"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn validation_rows_are_measured_after_each_epoch() {
    struct Figures(Mutex<Vec<Vec<(String, f64)>>>);
    impl Progress for Figures {
        fn event(&self, event: ProgressEvent) {
            if let ProgressEvent::Epoch { figures, .. } = event {
                self.0.lock().expect("lock").push(figures);
            }
        }
    }
    let stage = stage("model.torch.cnn", NETWORK);
    let (cancellation, progress) = (Cancellation::default(), Figures(Mutex::default()));
    let mut cx = FitContext {
        stage: "bars",
        seed: 3,
        progress: &progress,
        cancellation: &cancellation,
        checkpoints: &NoCheckpoints,
        directory: std::path::Path::new("."),
    };
    let validation = bars(99, 4);
    let state = model(&*stage)
        .fit(&bars(300, 1), Some(&validation), &mut cx)
        .expect("trained");
    let epochs = progress.0.into_inner().expect("figures");
    assert_eq!(epochs.len(), 6);
    let (name, last) = epochs[5].last().expect("validation accuracy").clone();
    assert_eq!(name, "validation_accuracy");
    assert!((last - accuracy(&state, &validation)).abs() < 1e-12);
}

#[test]
fn without_features_it_learns_how_often_each_class_comes() {
    // The best that a constant can do is the share of each class: 3 of 4 and 1 of 4.
    let rows = 400;
    let answers: Vec<bool> = (0..rows).map(|row| row % 4 == 0).collect();
    let zeros = vec![0.0; rows];
    let train = frame(
        vec![
            PolarsColumn::new("nothing".into(), &zeros),
            PolarsColumn::new("is_odd".into(), &answers),
        ],
        "is_odd",
    );
    for optimizer in [
        "{sgd: {learning_rate: 0.5}}",
        "{sgd: {learning_rate: 0.05, momentum: 0.9, nesterov: true}}",
        "{adam: {learning_rate: 0.02}}",
    ] {
        let params = format!("{{hidden: [], optimizer: {optimizer}, epochs: 60, batch_size: 400}}");
        let stage = stage("model.torch.mlp", &params);
        let state = model(&*stage)
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect("trained");
        let found = model(&*stage)
            .load(&state)
            .expect("loaded")
            .predict(&train.data.slice(0, 1))
            .expect("prediction");
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
        let share = numbers(&found);
        assert!((share[0] - 0.75).abs() < 0.02, "{optimizer}: {share:?}");
    }
}

#[test]
fn rows_of_weight_zero_teach_nothing() {
    let answers = |flip: bool| (0..200).map(move |row| (row % 2 == 0) ^ flip);
    let sizes: Vec<f64> = answers(false)
        .chain(answers(false))
        .map(|is_large| if is_large { 1.0 } else { -1.0 })
        .collect();
    // The second half says the opposite, and counts nothing.
    let labels: Vec<bool> = answers(false).chain(answers(true)).collect();
    let weights: Vec<f64> = (0..400)
        .map(|row| if row < 200 { 1.0 } else { 0.0 })
        .collect();
    let mut train = frame(
        vec![
            PolarsColumn::new("size".into(), &sizes),
            PolarsColumn::new("is_large".into(), &labels),
            PolarsColumn::new("counts".into(), &weights),
        ],
        "is_large",
    );
    train.schema.column_mut("counts").expect("column").role = Role::Weight;
    let stage = stage(
        "model.torch.mlp",
        "{hidden: [8], epochs: 20, batch_size: 10, optimizer: {adam: {learning_rate: 0.02}}}",
    );
    let state = model(&*stage)
        .fit(&train, None, &mut FitContext::quiet(1))
        .expect("trained");
    let found = model(&*stage)
        .load(&state)
        .expect("loaded")
        .predict(&train.data)
        .expect("predictions");
    let predicted: Vec<bool> = found[0].bool().expect("bool").iter().flatten().collect();
    assert_eq!(&predicted[..200], &labels[..200]);
    let score = found[1].f64().expect("f64").get(0).expect("number");
    assert!(score > 0.95, "{score}");
}

/// A trained state whose tensors are then set by hand, so that the answer can be worked out on paper.
fn by_hand(params: &str, side: usize, set: &[(&str, &[f32])]) -> (Box<dyn Stage>, State) {
    let pixels = vec![0.5; side * side * 4];
    let train = frame(
        vec![
            image_column(pixels, side),
            PolarsColumn::new("label".into(), [0_i64, 1, 0, 1]),
        ],
        "label",
    );
    let stage = stage("model.torch.cnn", params);
    let mut state = model(&*stage)
        .fit(&train, None, &mut FitContext::quiet(1))
        .expect("trained");
    for (name, numbers) in set {
        let tensor = state.tensors.get_mut(*name).expect(name);
        let TensorData::F32(old) = &mut tensor.data else {
            panic!("not f32")
        };
        assert_eq!(old.len(), numbers.len(), "{name}");
        old.copy_from_slice(numbers);
    }
    (stage, state)
}

/// The logit of class 0 against class 1 of one image.
fn difference(stage: &dyn Stage, state: &State, pixels: &[f32], side: usize) -> f64 {
    let data = DataFrame::new(1, vec![image_column(pixels.to_vec(), side)]).expect("frame");
    let share = numbers(
        &model(stage)
            .load(state)
            .expect("loaded")
            .predict(&data)
            .expect("prediction"),
    );
    (share[0] / share[1]).ln()
}

#[test]
fn layers_compute_what_the_books_say() {
    // 1 2 3 / 4 5 6 / 7 8 9
    let pixels: Vec<f32> = (1_u8..10).map(f32::from).collect();

    // Valid 2×2 sums are 12 16 / 24 28; less 20 and relu: 0 0 / 4 8; the largest is 8.
    let params = "{layers: [{conv: {filters: 1, kernel: 2, activation: relu}}, {max_pool: 2}, flatten, \
                  {dense: {units: 2, activation: softmax}}], epochs: 1}";
    let (stage, state) = by_hand(
        params,
        3,
        &[
            ("0.conv.weight", &[1.0; 4]),
            ("0.conv.bias", &[-20.0]),
            ("3.dense.weight", &[0.25, 0.0]),
            ("3.dense.bias", &[0.5, 0.0]),
        ],
    );
    assert!((difference(&*stage, &state, &pixels, 3) - 2.5).abs() < 1e-5);

    // `same` with kernel 2 and stride 2 on 3×3 puts its one zero row and column after: 12 9 / 15 9, mean 11.25.
    let params = "{layers: [{conv: {filters: 1, kernel: 2, stride: 2, padding: same}}, global_average_pool, \
                  {dense: {units: 2, activation: softmax}}], epochs: 1}";
    let (stage, state) = by_hand(
        params,
        3,
        &[
            ("0.conv.weight", &[1.0; 4]),
            ("0.conv.bias", &[0.0]),
            ("2.dense.weight", &[0.1, 0.0]),
            ("2.dense.bias", &[0.0; 2]),
        ],
    );
    assert!((difference(&*stage, &state, &pixels, 3) - 1.125).abs() < 1e-5);

    // Batch norm predicts with its running mean and variance: (9 - 5) / sqrt(4 - 0.001 + 0.001) · 3 + 1 = 7.
    let params = "{layers: [{max_pool: 3}, batch_norm, flatten, {dense: {units: 2, activation: softmax}}], epochs: 1}";
    let (stage, state) = by_hand(
        params,
        3,
        &[
            ("1.batch_norm.weight", &[3.0]),
            ("1.batch_norm.bias", &[1.0]),
            ("1.batch_norm.running_mean", &[5.0]),
            ("1.batch_norm.running_variance", &[3.999]),
            ("3.dense.weight", &[0.1, 0.0]),
            ("3.dense.bias", &[0.0; 2]),
        ],
    );
    assert!((difference(&*stage, &state, &pixels, 3) - 0.7).abs() < 1e-5);
}

#[test]
fn a_state_of_another_network_is_refused() {
    let mut state = fit(NETWORK, &bars(60, 1), 1);
    state.tensors.remove("0.conv.weight");
    let stage = stage("model.torch.cnn", NETWORK);
    let error = model(&*stage)
        .load(&state)
        .err()
        .expect("refused")
        .to_string();
    assert!(error.contains("`0.conv.weight` is missing"), "{error}");
}

#[test]
fn a_wrong_number_of_units_is_found_before_training() {
    let stage = stage("model.torch.cnn", &NETWORK.replace("units: 3", "units: 4"));
    let error = model(&*stage)
        .fit(&bars(60, 1), None, &mut FitContext::quiet(1))
        .map(drop)
        .expect_err("units")
        .to_string();
    assert!(
        error.contains("4 units, but the target has 3 classes"),
        "{error}"
    );
}
