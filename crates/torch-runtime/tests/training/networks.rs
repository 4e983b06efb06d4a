//! What the kinds and settings of networks do, held against answers that are worked out without libtorch.

use super::quality::roc_auc;
use super::*;
use polars::prelude::NamedFrom;
use taktline_core::anomaly::Scale;

fn learn(kind: &str, params: &str, train: &Frame, validation: Option<&Frame>) -> State {
    let stage = stage(kind, params);
    model(&*stage)
        .fit(train, validation, &mut FitContext::quiet(1))
        .expect("trained")
}

fn refusal(kind: &str, params: &str, train: &Frame) -> String {
    let stage = stage(kind, params);
    let fitted = model(&*stage).fit(train, None, &mut FitContext::quiet(1));
    fitted.map(drop).expect_err("refused").to_string()
}

pub(crate) fn answers(
    kind: &str,
    params: &str,
    state: &State,
    rows: &DataFrame,
) -> Vec<PolarsColumn> {
    let stage = stage(kind, params);
    let predictor = model(&*stage).load(state).expect("loaded");
    predictor.predict(rows).expect("predictions")
}

pub(crate) fn floats(column: &PolarsColumn) -> Vec<f64> {
    column.f64().expect("f64").iter().flatten().collect()
}

/// The numbers of a column of arrays, one after the other.
pub(crate) fn numbers_in(column: &PolarsColumn) -> Vec<f64> {
    let mut numbers = column.clone();
    while numbers.dtype().is_array() {
        let options = polars::prelude::ExplodeOptions {
            empty_as_null: true,
            keep_nulls: true,
        };
        numbers = numbers.explode(options).expect("numbers");
    }
    let numbers = numbers.cast(&polars::prelude::DataType::Float64);
    floats(&numbers.expect("numbers"))
}

/// The numbers of each row.
pub(crate) fn rows_of(frame: &DataFrame) -> Vec<Vec<f64>> {
    let columns: Vec<Vec<f64>> = frame.columns().iter().map(floats).collect();
    (0..frame.height())
        .map(|row| columns.iter().map(|column| column[row]).collect())
        .collect()
}

fn tensor<'a>(state: &'a State, name: &str) -> &'a [f32] {
    match &state.tensor(name).expect(name).data {
        TensorData::F32(numbers) => numbers,
        _ => panic!("not f32"),
    }
}

pub(crate) fn arrays(name: &str, numbers: Vec<f32>, shape: &[usize]) -> PolarsColumn {
    let rows = numbers.len() / shape.iter().product::<usize>();
    let sides: Vec<_> = std::iter::once(&rows)
        .chain(shape)
        .map(|side| ReshapeDimension::new(*side as i64))
        .collect();
    Series::new(name.into(), numbers)
        .reshape_array(&sides)
        .expect("shape")
        .into_column()
}

/// Sequences of 7 steps and 2 channels; what is to be said is what the first channel was at the first step, plus half of what the
/// second was at the last.
fn sequences(rows: usize, seed: u32) -> Frame {
    let mut noise = Noise(seed);
    let numbers: Vec<f32> = (0..rows * 14).map(|_| 2.0 * noise.next() - 1.0).collect();
    let targets: Vec<f64> = numbers
        .chunks_exact(14)
        .map(|row| 10.0 + f64::from(row[0]) + f64::from(row[13]) / 2.0)
        .collect();
    frame(
        vec![
            arrays("history", numbers, &[7, 2]),
            PolarsColumn::new("load".into(), targets),
        ],
        "load",
    )
}

fn center_and_scale(targets: &[f64]) -> (f64, f64) {
    let count = targets.len() as f64;
    let center = targets.iter().sum::<f64>() / count;
    let squares: f64 = targets.iter().map(|target| (target - center).powi(2)).sum();
    (center, (squares / count).sqrt())
}

/// Weighted sums of `inputs`, one for each row of `weight`, and the bias.
fn linear(inputs: &[f64], weight: &[f32], bias: &[f32]) -> Vec<f64> {
    weight
        .chunks_exact(inputs.len())
        .zip(bias)
        .map(|(row, bias)| {
            let sum: f64 = row.iter().zip(inputs).map(|(w, v)| f64::from(*w) * v).sum();
            sum + f64::from(*bias)
        })
        .collect()
}

/// A row through the dense layers that stand at these places of a network, all but the last with this activation.
fn through(state: &State, places: &[usize], activation: fn(f64) -> f64, row: &[f64]) -> Vec<f64> {
    let (last, others) = places.split_last().expect("layers");
    let layer = |place: &usize, row: &[f64]| {
        let of = |name: &str| tensor(state, &format!("{place}.dense.{name}"));
        linear(row, of("weight"), of("bias"))
    };
    let hidden = others.iter().fold(row.to_vec(), |row, place| {
        layer(place, &row).into_iter().map(activation).collect()
    });
    layer(last, &hidden)
}

/// How badly an autoencoder with one hidden layer on either side of its code says a row: the mean of the squared errors. Of a
/// variational one, whose numbers lie so far from what it says of them (`deviation`): half the squared errors over the variance, and the
/// divergence of the code, all at the mean of the code.
pub(crate) fn badness(
    state: &State,
    activation: fn(f64) -> f64,
    deviation: Option<f64>,
    row: &[f64],
) -> f64 {
    let code = through(state, &[0, 1], activation, row);
    let squares = |said: &[f64]| -> f64 {
        let errors = said.iter().zip(row);
        errors.map(|(said, own)| (said - own).powi(2)).sum()
    };
    let Some(deviation) = deviation else {
        let said = through(state, &[2, 3], activation, &code);
        return squares(&said) / row.len() as f64;
    };
    let (means, log_variances) = code.split_at(code.len() / 2);
    let said = through(state, &[3, 4], activation, means);
    let divergence: f64 = means
        .iter()
        .zip(log_variances)
        .map(|(mean, log)| (mean.powi(2) + log.exp() - log - 1.0) / 2.0)
        .sum();
    squares(&said) / (2.0 * deviation.powi(2)) + divergence
}

fn sigmoid(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

/// What a recurrent layer remembers after each step, by the formulas of PyTorch's documentation of `LSTM` and `GRU`. On the way to the
/// next step what each unit remembers is multiplied by its number in `kept`.
fn recurrent(state: &State, layer: &str, steps: &[Vec<f64>], kept: &[f64]) -> Vec<Vec<f64>> {
    let of = |name: &str| tensor(state, &format!("{layer}.{name}"));
    let units = kept.len();
    let (mut hidden, mut cell) = (vec![0.0_f64; units], vec![0.0; units]);
    steps
        .iter()
        .map(|step| {
            let input = linear(step, of("weight_input"), of("bias_input"));
            let passed: Vec<f64> = hidden.iter().zip(kept).map(|(h, k)| h * k).collect();
            let memory = linear(&passed, of("weight_recurrent"), of("bias_recurrent"));
            for unit in 0..units {
                let both = |gate: usize| input[gate * units + unit] + memory[gate * units + unit];
                if layer.ends_with("lstm") {
                    cell[unit] = sigmoid(both(1)) * cell[unit] + sigmoid(both(0)) * both(2).tanh();
                    hidden[unit] = sigmoid(both(3)) * cell[unit].tanh();
                } else {
                    let (reset, update) = (sigmoid(both(0)), sigmoid(both(1)));
                    let place = 2 * units + unit;
                    let new = (input[place] + reset * memory[place]).tanh();
                    hidden[unit] = (1.0 - update) * new + update * hidden[unit];
                }
            }
            hidden.clone()
        })
        .collect()
}

#[test]
fn recurrent_layers_compute_what_their_formulas_say() {
    let train = sequences(64, 1);
    let (center, scale) = center_and_scale(&floats(train.data.column("load").expect("load")));
    for cell in ["lstm", "gru"] {
        // Masks between the steps go another way through the code; both must learn, and answer, by the same formulas.
        for dropout in [0.0, 0.3] {
            let params = format!(
                "{{cell: {cell}, units: [5, 3], recurrent_dropout: {dropout}, epochs: 2, batch_size: 16}}"
            );
            let state = learn("model.torch.rnn", &params, &train, None);
            let found = floats(&answers("model.torch.rnn", &params, &state, &train.data)[0]);
            let history = train.data.column("history").expect("history").clone();
            let rows = history.explode(polars::prelude::ExplodeOptions {
                empty_as_null: true,
                keep_nulls: true,
            });
            let rows = rows
                .expect("steps")
                .explode(polars::prelude::ExplodeOptions {
                    empty_as_null: true,
                    keep_nulls: true,
                });
            let numbers: Vec<f64> = rows
                .expect("numbers")
                .f32()
                .expect("f32")
                .iter()
                .flatten()
                .map(f64::from)
                .collect();
            for (row, found) in numbers.chunks_exact(14).zip(&found) {
                let steps: Vec<Vec<f64>> = row.chunks_exact(2).map(<[f64]>::to_vec).collect();
                let first = recurrent(&state, &format!("0.{cell}"), &steps, &[1.0; 5]);
                let second = recurrent(&state, &format!("1.{cell}"), &first, &[1.0; 3]);
                let end = linear(
                    second.last().expect("steps"),
                    tensor(&state, "2.dense.weight"),
                    tensor(&state, "2.dense.bias"),
                );
                let wanted = end[0] * scale + center;
                assert!(
                    (found - wanted).abs() < 1e-5,
                    "{cell} {dropout}: {found} {wanted}"
                );
            }
        }
    }
}

/// How training leaves the first weights as they are: what it tells of its only epoch is their loss.
const STILL: &str = "epochs: 1, optimizer: {sgd: {learning_rate: 0.000000000001}}";

/// The loss of the first epoch.
fn first_loss(state: &State) -> f64 {
    let history = &state.data["history"];
    history[0]["loss"].as_f64().expect("a loss")
}

/// What dropout multiplies so many numbers by where it drops half of them: each choice of those that are kept.
fn halves(numbers: u32) -> Vec<Vec<f64>> {
    (0..2_u32.pow(numbers))
        .map(|choice| {
            let is_kept = |place: u32| (choice >> place) & 1 == 1;
            (0..numbers)
                .map(|place| if is_kept(place) { 2.0 } else { 0.0 })
                .collect()
        })
        .collect()
}

/// What a recurrent layer of three units that reads two channels, and the dense layer after it, say of a sequence: for each choice of
/// what is dropped of all of its steps.
fn said_of_halves(state: &State, cell: &str, row: &[f64]) -> Vec<f64> {
    let said = |kept: Vec<f64>| {
        let (channels, units) = kept.split_at(2);
        let steps: Vec<Vec<f64>> = row
            .chunks_exact(2)
            .map(|step| step.iter().zip(channels).map(|(s, c)| s * c).collect())
            .collect();
        let remembered = recurrent(state, &format!("0.{cell}"), &steps, units);
        let (weight, bias) = ("1.dense.weight", "1.dense.bias");
        let end = remembered.last().expect("steps");
        linear(end, tensor(state, weight), tensor(state, bias))[0]
    };
    halves(5).into_iter().map(said).collect()
}

/// The place of the number that is found among those that there can be.
fn place_among(wanted: &[f64], found: f64, tolerance: f64) -> usize {
    let is_near = |wanted: &f64| (wanted - found).abs() <= tolerance * wanted.abs().max(1.0);
    let place = wanted.iter().position(is_near);
    match place {
        Some(place) => place,
        None => panic!("{found} is none of {wanted:?}"),
    }
}

#[test]
fn what_is_dropped_of_a_sequence_is_dropped_at_every_step() {
    let train = sequences(64, 1);
    let judged = train.data.head(Some(3));
    let rows = numbers_in(judged.column("history").expect("history"));
    for cell in ["lstm", "gru"] {
        let dropout =
            format!("cell: {cell}, units: [3], dropout: 0.5, recurrent_dropout: 0.5, {STILL}");
        // While learning. Of one row the target is its mean, which the network knows as 0: its loss is the square of what is said.
        // Drawn anew at each step, or for what is read alone, it would hardly ever be one of the 32 that there can be.
        let one = sequences(1, 1);
        let mut dropped = std::collections::BTreeSet::new();
        for seed in 1..=16 {
            let params = format!("{{{dropout}, seed: {seed}}}");
            let state = learn("model.torch.rnn", &params, &one, None);
            let said = said_of_halves(&state, cell, &rows[..14]);
            let losses: Vec<f64> = said.iter().map(|said| said.powi(2)).collect();
            dropped.insert(place_among(&losses, first_loss(&state), 2e-7));
        }
        // Sixteen draws of 32 are thirteen different ones on average; without dropout there is but one.
        assert!(dropped.len() >= 8, "{cell}: {dropped:?}");

        // While answering with an interval. The weights are set by hand, so that what is remembered matters, and the interval is made the
        // mean of two networks and their deviation from it: its ends are what those two say.
        let params = format!("{{{dropout}, interval: 0.9, samples: 2}}");
        let mut state = learn("model.torch.rnn", &params, &train, None);
        let mut noise = Noise(11);
        for tensor in state.tensors.values_mut() {
            if let TensorData::F32(numbers) = &mut tensor.data {
                numbers.fill_with(|| 2.0 * noise.next() - 1.0);
            }
        }
        state.data["aim"]["numbers"]["center"] = 0.0_f64.into();
        state.data["aim"]["numbers"]["scale"] = 1.0_f64.into();
        state.data["reaches"][0]["noise"] = 0.0_f64.into();
        state.data["reaches"][0]["deviations"] = 1.0_f64.into();
        let mut dropped = Vec::new();
        for seed in 1..=40_u64 {
            state.data["seed"] = seed.into();
            let found = answers("model.torch.rnn", &params, &state, &judged);
            let both = floats(&found[1]).into_iter().zip(floats(&found[2]));
            let of_rows = both
                .zip(rows.chunks_exact(14))
                .map(|((lower, upper), row)| {
                    let said = said_of_halves(&state, cell, row);
                    let mut two = [lower, upper].map(|end| place_among(&said, end, 1e-6));
                    two.sort_unstable();
                    two
                });
            let of_rows: Vec<[usize; 2]> = of_rows.collect();
            // Each of the two networks drops the same of every row.
            assert!(of_rows.iter().all(|two| *two == of_rows[0]), "{of_rows:?}");
            dropped.extend(of_rows[0]);
        }
        // Each channel and each unit is dropped about as often as it is kept.
        for number in 0..5_usize {
            let is_kept = |choice: &&usize| (**choice >> number) & 1 == 1;
            let kept = dropped.iter().filter(is_kept).count();
            assert!((20..=60).contains(&kept), "{cell}: {kept} of 80");
        }
        let different: std::collections::BTreeSet<usize> = dropped.into_iter().collect();
        assert!(different.len() >= 22, "{cell}: {different:?}");
    }
}

/// Dropout of a half between a layer, whose numbers for this row `before` gives, and the dense layer of one unit that ends the network:
/// while learning the loss is always that of some choice of kept numbers, and answers are those of all of them.
fn drops_only_while_learning(
    kind: &str,
    params: &str,
    row: &Frame,
    last: &str,
    before: impl Fn(&State) -> Vec<f64>,
) -> usize {
    let mut dropped = std::collections::BTreeSet::new();
    for seed in 1..=20 {
        let params = format!("{{{params}, {STILL}, seed: {seed}}}");
        let state = learn(kind, &params, row, None);
        let numbers = before(&state);
        let of = |name: &str| tensor(&state, &format!("{last}.{name}"));
        let end = |numbers: &[f64]| linear(numbers, of("weight"), of("bias"))[0];
        // Of one row the target is its mean, which the network knows as 0: its loss is the square of what is said.
        let loss = |kept: Vec<f64>| {
            let left: Vec<f64> = numbers.iter().zip(&kept).map(|(n, k)| n * k).collect();
            end(&left).powi(2)
        };
        let count = u32::try_from(numbers.len()).expect("few numbers");
        let losses: Vec<f64> = halves(count).into_iter().map(loss).collect();
        dropped.insert(place_among(&losses, first_loss(&state), 1e-6));
        let target = floats(row.data.column("load").expect("load"))[0];
        let whole = target + end(&numbers);
        let said = || floats(&answers(kind, &params, &state, &row.data)[0])[0];
        let found = said();
        assert!((found - whole).abs() < 1e-6, "{kind}: {found} {whole}");
        assert_eq!(found, said(), "{kind}");
    }
    dropped.len()
}

#[test]
fn dense_layers_drop_while_learning_and_nothing_in_answers() {
    let row = frame(
        vec![
            PolarsColumn::new("a".into(), [0.8_f64]),
            PolarsColumn::new("b".into(), [-0.5_f64]),
            PolarsColumn::new("load".into(), [3.0_f64]),
        ],
        "load",
    );
    let before = |state: &State| -> Vec<f64> {
        let numbers = through(state, &[0], f64::tanh, &[0.8, -0.5]);
        numbers.into_iter().map(f64::tanh).collect()
    };
    let params = "hidden: [2], activation: tanh, dropout: 0.5";
    let choices = drops_only_while_learning("model.torch.mlp", params, &row, "2.dense", before);
    // Twenty draws of four; without dropout there is one loss, which is not even among those of the four.
    assert!(choices >= 3, "{choices}");
}

#[test]
fn convolutions_drop_while_learning_and_nothing_in_answers() {
    let pixels = [0.2_f32, 0.9, 0.5, 0.7];
    let row = frame(
        vec![
            image_column(pixels.to_vec(), 2),
            PolarsColumn::new("load".into(), [3.0_f64]),
        ],
        "load",
    );
    let before = |state: &State| -> Vec<f64> {
        let of = |name: &str| f64::from(tensor(state, &format!("0.conv.{name}"))[0]);
        let (weight, bias) = (of("weight"), of("bias"));
        pixels
            .iter()
            .map(|pixel| (f64::from(*pixel) * weight + bias).tanh())
            .collect()
    };
    let params = "layers: [{conv: {filters: 1, kernel: 1, activation: tanh}}, {dropout: 0.5}, flatten, {dense: {units: 1}}]";
    let choices = drops_only_while_learning("model.torch.cnn", params, &row, "3.dense", before);
    // Twenty draws of sixteen.
    assert!(choices >= 6, "{choices}");
}

fn determination(found: &[f64], truth: &[f64]) -> f64 {
    let (_, deviation) = center_and_scale(truth);
    let errors: f64 = found.iter().zip(truth).map(|(f, t)| (f - t).powi(2)).sum();
    1.0 - errors / truth.len() as f64 / deviation.powi(2)
}

#[test]
fn a_recurrent_network_remembers_and_knows_how_sure_it_is() {
    let (train, validation, test) = (sequences(600, 1), sequences(200, 2), sequences(400, 3));
    let truth = floats(test.data.column("load").expect("load"));
    let params = "{units: [16], recurrent_dropout: 0.05, dropout: 0.05, interval: 0.9, samples: 40, epochs: 25, \
                  optimizer: {adam: {learning_rate: 0.02}}, schedule: cosine}";
    let state = learn("model.torch.rnn", params, &train, Some(&validation));
    let found = answers("model.torch.rnn", params, &state, &test.data);
    let names: Vec<&str> = found.iter().map(|column| column.name().as_str()).collect();
    assert_eq!(names, ["prediction", "lower", "upper"]);
    let explained = determination(&floats(&found[0]), &truth);
    assert!(explained > 0.9, "R² {explained}");
    let (lower, upper) = (floats(&found[1]), floats(&found[2]));
    let inside = truth
        .iter()
        .zip(lower.iter().zip(&upper))
        .filter(|(truth, (lower, upper))| *lower <= truth && truth <= upper)
        .count();
    assert!(
        (340..=380).contains(&inside),
        "{inside} of 400 inside the 90 % interval"
    );
    let width = upper.iter().zip(&lower).map(|(u, l)| u - l).sum::<f64>() / 400.0;
    assert!(
        width < 1.0,
        "an interval of {width} on average says nothing"
    );
}

#[test]
fn products_in_bfloat16_teach_as_much() {
    let (train, test) = (bars(600, 1), bars(300, 2));
    let network = |precision: &str| {
        format!(
            "{{layers: [{{conv: {{filters: 6, kernel: 3, activation: relu}}}}, batch_norm, flatten, \
             {{dense: {{units: 3, activation: softmax}}}}], epochs: 12, batch_size: 16, precision: {precision}}}"
        )
    };
    let single = learn("model.torch.cnn", &network("single"), &train, None);
    let mixed = learn("model.torch.cnn", &network("mixed"), &train, None);
    let apart = length(&weights(&single), &weights(&mixed));
    assert!(apart > 1e-4, "rounded products end in other weights");
    assert!(accuracy(&mixed, &test) > 0.97);
    assert_eq!(
        weights(&mixed),
        weights(&learn("model.torch.cnn", &network("mixed"), &train, None))
    );

    let (train, test) = (sequences(600, 1), sequences(400, 3));
    let truth = floats(test.data.column("load").expect("load"));
    for recurrent_dropout in [0.0, 0.05] {
        let params = format!(
            "{{units: [16], recurrent_dropout: {recurrent_dropout}, epochs: 25, precision: mixed, \
             optimizer: {{adam: {{learning_rate: 0.02}}}}, schedule: cosine}}"
        );
        let state = learn("model.torch.rnn", &params, &train, None);
        let found = answers("model.torch.rnn", &params, &state, &test.data);
        let explained = determination(&floats(&found[0]), &truth);
        assert!(explained > 0.9, "R² {explained}");
    }
}

#[test]
fn a_sequence_is_said_step_by_step() {
    let mut noise = Noise(5);
    let numbers: Vec<f32> = (0..300 * 6).map(|_| noise.next()).collect();
    let sums: Vec<f32> = numbers
        .chunks_exact(6)
        .flat_map(|row| {
            row.iter().scan(0.0, |sum, value| {
                Some(*sum + *value).inspect(|new| *sum = *new)
            })
        })
        .collect();
    let train = frame(
        vec![
            arrays("flow", numbers, &[6]),
            arrays("level", sums.clone(), &[6]),
        ],
        "level",
    );
    let numbers = |column: &PolarsColumn| {
        assert_eq!(column.len(), 300);
        let exploded = column.explode(polars::prelude::ExplodeOptions {
            empty_as_null: true,
            keep_nulls: true,
        });
        floats(&exploded.expect("numbers"))
    };
    let params = "{input: flow, units: [12], epochs: 40, optimizer: {adam: {learning_rate: 0.02}}}";
    let state = learn("model.torch.rnn", params, &train, None);
    let found = answers("model.torch.rnn", params, &state, &train.data);
    let truth: Vec<f64> = sums.iter().copied().map(f64::from).collect();
    let explained = determination(&numbers(&found[0]), &truth);
    assert!(explained > 0.97, "R² {explained}");
    // Each step has an interval of its own.
    let params = "{input: flow, units: [12], epochs: 20, dropout: 0.05, recurrent_dropout: 0.05, interval: 0.8, samples: 20, \
                  optimizer: {adam: {learning_rate: 0.02}}}";
    let state = learn("model.torch.rnn", params, &train, None);
    let found = answers("model.torch.rnn", params, &state, &train.data);
    let (lower, upper) = (numbers(&found[1]), numbers(&found[2]));
    for step in 0..6 {
        let inside = (step..truth.len())
            .step_by(6)
            .filter(|at| lower[*at] <= truth[*at] && truth[*at] <= upper[*at])
            .count();
        assert!(
            (225..=255).contains(&inside),
            "step {step}: {inside} of 300"
        );
    }
}

/// One number that says nothing, and a target: what is learned is its best constant.
fn constants(targets: Vec<f64>) -> Frame {
    let nothing = vec![0.0_f64; targets.len()];
    frame(
        vec![
            PolarsColumn::new("nothing".into(), nothing),
            PolarsColumn::new("price".into(), targets),
        ],
        "price",
    )
}

#[test]
fn each_loss_has_its_own_best_constant() {
    // 0, 1, …, 8 and one far away: mean 13.6, median between 4 and 5, 90 % quantile between 8 and 100.
    let targets: Vec<f64> = (0..9).map(f64::from).chain([100.0]).collect();
    let train = constants(targets.repeat(10));
    let constant = |loss: &str| {
        let params = format!(
            "{{hidden: [], loss: {loss}, epochs: 400, batch_size: 100, optimizer: {{adam: {{learning_rate: 0.02}}}}, \
             schedule: cosine}}"
        );
        let state = learn("model.torch.mlp", &params, &train, None);
        floats(&answers("model.torch.mlp", &params, &state, &train.data)[0])[0]
    };
    let mean = constant("mean_squared_error");
    assert!((mean - 13.6).abs() < 0.05, "{mean}");
    let median = constant("mean_absolute_error");
    assert!((3.9..=5.1).contains(&median), "{median}");
    let high = constant("{quantile: {level: 0.85}}");
    assert!((7.5..=8.5).contains(&high), "{high}");
    let (_, deviation) = center_and_scale(&targets);
    // With delta d (in the target's units) the far value pulls as d: Σ (v - c) over the others = d, so c = (36 + d) / 9.
    let delta = 10.0 / deviation;
    let huber = constant(&format!("{{huber: {{delta: {delta}}}}}"));
    assert!((huber - 46.0 / 9.0).abs() < 0.05, "{huber}");
}

fn labelled(labels: Vec<&str>) -> Frame {
    let nothing = vec![0.0_f64; labels.len()];
    frame(
        vec![
            PolarsColumn::new("nothing".into(), nothing),
            PolarsColumn::new("grade".into(), labels),
        ],
        "grade",
    )
}

#[test]
fn class_losses_and_class_weights_move_probabilities_as_they_should() {
    let train = labelled(["bad", "good", "good", "good"].repeat(25));
    let of_good = |settings: &str| {
        let params = format!(
            "{{hidden: [], epochs: 300, batch_size: 100, optimizer: {{adam: {{learning_rate: 0.05}}}}, {settings}}}"
        );
        let state = learn("model.torch.mlp", &params, &train, None);
        let found = answers(
            "model.torch.mlp",
            &params,
            &state,
            &train.data.head(Some(1)),
        );
        floats(
            found
                .iter()
                .find(|column| column.name() == "probability_good")
                .expect("good"),
        )[0]
    };
    let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 5e-3, "{found} {wanted}");
    near(of_good("loss: sparse_categorical_crossentropy"), 0.75);
    near(of_good("loss: binary_crossentropy"), 0.75);
    near(of_good("loss: {focal: {gamma: 0}}"), 0.75);
    near(of_good("class_weight: balanced"), 0.5);
    near(of_good("class_weight: {bad: 9}"), 0.25);
    // The best constant p of the focal loss, from a search over its formula.
    let loss = |p: f64| 0.25 * p.powi(2) * -(1.0 - p).ln() + 0.75 * (1.0 - p).powi(2) * -p.ln();
    let best = (1..10_000)
        .map(|place| f64::from(place) / 10_000.0)
        .min_by(|one, two| loss(*one).total_cmp(&loss(*two)));
    near(of_good("loss: focal"), best.expect("a place"));
    let text = refusal("model.torch.mlp", "{class_weight: {fair: 2}}", &train);
    assert!(text.contains("`fair`"), "{text}");
}

fn weights(state: &State) -> Vec<f32> {
    state
        .tensors
        .values()
        .flat_map(|tensor| match &tensor.data {
            TensorData::F32(numbers) => numbers.clone(),
            _ => Vec::new(),
        })
        .collect()
}

fn length(between: &[f32], and: &[f32]) -> f64 {
    let squares = between
        .iter()
        .zip(and)
        .map(|(one, two)| f64::from(one - two).powi(2));
    squares.sum::<f64>().sqrt()
}

#[test]
fn schedules_clipping_and_warmup_change_the_steps() {
    let train = bars(64, 1);
    let trained = |settings: &str| {
        let params = format!(
            "{{layers: [flatten, {{dense: {{units: 3, activation: softmax}}}}], batch_size: 64, {settings}}}"
        );
        weights(&learn("model.torch.cnn", &params, &train, None))
    };
    let still = trained("epochs: 1, optimizer: {sgd: {learning_rate: 0.000000000001}}");
    let one = trained("epochs: 1, optimizer: {sgd: {learning_rate: 0.5}}");
    let whole = length(&still, &one);
    assert!(whole > 0.01, "{whole}");
    // The second epoch moves a millionth of what it would.
    let stepped = trained(
        "epochs: 2, optimizer: {sgd: {learning_rate: 0.5}}, schedule: {step: {every: 1, factor: 0.000001}}",
    );
    assert!(length(&one, &stepped) < 1e-5 * whole);
    let falling = trained(
        "epochs: 2, optimizer: {sgd: {learning_rate: 0.5}}, schedule: {exponential: {factor: 0.000001}}",
    );
    assert!(length(&one, &falling) < 1e-5 * whole);
    // Steps that are far too long make the loss larger: from the third epoch on there are none any more.
    let leaping = |epochs: u64, schedule: &str| {
        trained(&format!(
            "epochs: {epochs}, keep: last, optimizer: {{sgd: {{learning_rate: 50}}}}{schedule}"
        ))
    };
    let plateau = ", schedule: {plateau: {patience: 1, factor: 0.000001}}";
    let two = leaping(2, "");
    assert!(length(&two, &leaping(3, "")) > whole);
    assert!(length(&two, &leaping(3, plateau)) < 1e-3 * whole);
    assert!(
        length(
            &one,
            &trained("epochs: 2, optimizer: {sgd: {learning_rate: 0.5}}")
        ) > 0.1 * whole
    );
    // A step of one batch is the gradient times the rate, and clipped it has just the length that is allowed.
    let clipped = trained("epochs: 1, clip_norm: 0.001, optimizer: {sgd: {learning_rate: 0.5}}");
    assert!((length(&still, &clipped) - 0.0005).abs() < 1e-6);
    // The middle of the only batch is half of an epoch, which is a quarter of the way up over two; half a cosine is at half there.
    let warming = trained(
        "epochs: 2, warmup: 2, optimizer: {sgd: {learning_rate: 0.5}}, schedule: {step: {every: 1, factor: 0.000001}}",
    );
    assert!((length(&still, &warming) / whole - 0.25).abs() < 1e-3);
    let cosine = trained("epochs: 1, optimizer: {sgd: {learning_rate: 0.5}}, schedule: cosine");
    assert!((length(&still, &cosine) / whole - 0.5).abs() < 1e-3);
}

#[test]
fn training_ends_early_with_the_best_weights() {
    // Few rows and a large network: it soon learns the rows by heart, and gets worse on others.
    let (train, validation) = (bars(24, 1), bars(200, 2));
    let params = |more: &str| {
        format!(
            "{{layers: [flatten, {{dense: {{units: 64, activation: relu}}}}, {{dense: {{units: 3, activation: softmax}}}}], \
             optimizer: {{adam: {{learning_rate: 0.01}}}}, batch_size: 8, {more}}}"
        )
    };
    let stopped = learn(
        "model.torch.cnn",
        &params("epochs: 200, early_stopping: {patience: 4}"),
        &train,
        Some(&validation),
    );
    #[derive(serde::Deserialize)]
    struct Course {
        epoch: u64,
        history: Vec<Passed>,
    }
    #[derive(serde::Deserialize)]
    struct Passed {
        validation_loss: f64,
    }
    let course: Course = stopped.data(2).expect("what was learned");
    assert_eq!(course.history.len() as u64, course.epoch + 4);
    assert!(course.history.len() < 200);
    let losses = course.history.iter().map(|passed| passed.validation_loss);
    let best = losses
        .enumerate()
        .min_by(|one, two| one.1.total_cmp(&two.1));
    assert_eq!(best.expect("epochs").0 as u64 + 1, course.epoch);
    let until_best = learn(
        "model.torch.cnn",
        &params(&format!("epochs: {}", course.epoch)),
        &train,
        Some(&validation),
    );
    assert_eq!(weights(&stopped), weights(&until_best));
}

/// Ends a training at the first event for which it is time, and has another go on from its checkpoint: what that one learned and said.
pub(crate) fn interrupted(
    kind: &str,
    params: &str,
    train: &Frame,
    seed: u64,
    is_time: fn(&ProgressEvent) -> bool,
) -> (State, String) {
    let stage = stage(kind, params);
    let checkpoints = Kept::default();
    let cancellation = Cancellation::default();
    let ending = CancelAt {
        cancellation: &cancellation,
        is_time,
        messages: Mutex::default(),
    };
    let mut context = FitContext {
        progress: &ending,
        cancellation: &cancellation,
        checkpoints: &checkpoints,
        ..FitContext::quiet(seed)
    };
    let stopped = model(&*stage).fit(train, None, &mut context).map(drop);
    assert!(
        matches!(stopped, Err(Error::Interrupted)),
        "{kind}: {stopped:?}"
    );

    let cancellation = Cancellation::default();
    let going_on = CancelAt {
        cancellation: &cancellation,
        is_time: |_| false,
        messages: Mutex::default(),
    };
    let mut context = FitContext {
        progress: &going_on,
        cancellation: &cancellation,
        checkpoints: &checkpoints,
        ..FitContext::quiet(seed)
    };
    let state = model(&*stage)
        .fit(train, None, &mut context)
        .expect("resumed");
    let messages = going_on.messages.into_inner().expect("messages");
    (state, messages.concat())
}

#[test]
fn every_kind_ends_as_if_it_had_not_been_interrupted() {
    let pictures = bars(96, 1);
    let of = |name: &str| pictures.data.column(name).expect("there").clone();
    let loads: Vec<f64> = (0..96).map(|row| f64::from(row) / 48.0 - 1.0).collect();
    let mixed = frame(
        vec![
            of("image"),
            PolarsColumn::new("load".into(), loads),
            of("bar"),
        ],
        "bar",
    );
    let (sequences, thoughts, (table, _)) = (sequences(96, 1), ratings(1, 0.2), plane(96, 0, 1));
    let cases: [(&str, &str, &Frame); 9] = [
        (
            "model.torch.mlp",
            "{hidden: [9], dropout: 0.2, epochs: 2}",
            &pictures,
        ),
        (
            "model.torch.rnn",
            "{units: [5], dropout: 0.2, recurrent_dropout: 0.2, interval: 0.8, samples: 3, epochs: 2}",
            &sequences,
        ),
        (
            "model.torch.autoencoder",
            "{hidden: [9], bottleneck: 2, dropout: 0.2, epochs: 2}",
            &table,
        ),
        (
            "model.torch.vae",
            "{hidden: [9], bottleneck: 2, epochs: 2}",
            &table,
        ),
        (
            "model.torch.recommender",
            "{user: user, item: item, factors: 4, epochs: 2, batch_size: 32, top: 3}",
            &thoughts,
        ),
        (
            "model.torch.recommender",
            "{user: user, item: item, feedback: implicit, factors: 4, epochs: 2, batch_size: 32}",
            &thoughts,
        ),
        (
            "model.torch.recommender",
            "{user: user, item: item, network: two_tower, factors: 4, hidden: [5], epochs: 2, batch_size: 32}",
            &thoughts,
        ),
        (
            "model.torch.jigsaw",
            "{grid: 2, orders: 6, hidden: 9, epochs: 2, layers: [{conv: {filters: 3, kernel: 3, padding: same}}]}",
            &pictures,
        ),
        (
            "model.torch.multimodal",
            "{branches: [{input: image}, {input: [load]}], dropout: 0.2, hidden: [5], epochs: 2}",
            &mixed,
        ),
    ];
    for (kind, params, train) in cases {
        let stage = stage(kind, params);
        let whole = |seed: u64| {
            let mut context = FitContext::quiet(seed);
            let state = model(&*stage).fit(train, None, &mut context);
            state.expect("trained").to_bytes().expect("bytes")
        };
        let first = whole(3);
        assert!(first == whole(3), "{kind} {params}: other bytes, same seed");
        assert!(first != whole(4), "{kind} {params}: same bytes, other seed");
        let (resumed, message) = interrupted(kind, params, train, 3, |event| {
            matches!(event, ProgressEvent::Epoch { epoch: 1, .. })
        });
        assert!(
            message.contains("at epoch 2 of 2, after 0 batches"),
            "{kind}: {message}"
        );
        let resumed = resumed.to_bytes().expect("bytes");
        assert!(first == resumed, "{kind} {params}: other bytes, resumed");
    }
}

#[test]
fn settings_of_all_sorts_are_resumed_to_the_bit() {
    let params = "\
layers:
  - residual: [{conv: {filters: 4, kernel: 3, padding: same, activation: relu}}, batch_norm, {dropout: 0.1}]
  - global_max_pool
  - dense: {units: 3, activation: softmax}
epochs: 5
optimizer: {adamw: {learning_rate: 0.01}}
schedule: {plateau: {patience: 1, factor: 0.5}}
warmup: 1
early_stopping: {patience: 3}
clip_norm: 0.5
loss: focal
class_weight: {lies: 2}
augment: {flip: both, rotate: 20, shift: 0.1, crop: 0.8, noise: 0.05}
";
    let train = bars(200, 1);
    let (resumed, message) = interrupted("model.torch.cnn", params, &train, 3, |event| {
        matches!(event, ProgressEvent::Epoch { epoch: 3, .. })
    });
    assert!(message.contains("epoch 4 of 5"), "{message}");
    let whole = model(&*stage("model.torch.cnn", params))
        .fit(&train, None, &mut FitContext::quiet(3))
        .expect("trained");
    assert_eq!(
        resumed.to_bytes().expect("bytes"),
        whole.to_bytes().expect("bytes")
    );
}

#[test]
fn mirrored_images_cannot_be_told_from_which_side_they_are() {
    let sides = |rows: usize, seed: u32| {
        let mut noise = Noise(seed);
        let mut pixels = Vec::new();
        for row in 0..rows {
            for place in 0..64 {
                let is_left = place % 8 < 4;
                let is_on = is_left == (row % 2 == 0);
                pixels.push(noise.next() * 0.5 + if is_on { 0.5 } else { 0.0 });
            }
        }
        let labels: Vec<&str> = (0..rows).map(|row| ["left", "right"][row % 2]).collect();
        frame(
            vec![
                image_column(pixels, 8),
                PolarsColumn::new("side".into(), labels),
            ],
            "side",
        )
    };
    let (train, test) = (sides(200, 1), sides(100, 2));
    let share_right = |augment: &str| {
        let params = format!(
            "{{layers: [flatten, {{dense: {{units: 2, activation: softmax}}}}], epochs: 20, augment: {augment}, \
             optimizer: {{adam: {{learning_rate: 0.01}}}}}}"
        );
        let state = learn("model.torch.cnn", &params, &train, None);
        let found = answers("model.torch.cnn", &params, &state, &test.data);
        let wanted = texts(test.data.column("side").expect("side"));
        let certain = floats(&found[1])
            .iter()
            .map(|score| (score - 0.5).abs())
            .sum::<f64>()
            / 100.0;
        let right = texts(&found[0])
            .iter()
            .zip(&wanted)
            .filter(|(one, two)| one == two)
            .count();
        (right as f64 / 100.0, certain)
    };
    let (right, certain) =
        share_right("{flip: vertical, rotate: 10, shift: 0.05, crop: 0.9, noise: 0.1}");
    assert!(right > 0.95 && certain > 0.4, "{right} {certain}");
    let (_, certain) = share_right("{flip: horizontal}");
    assert!(
        certain < 0.2,
        "mirrored half of the time, both sides look alike, yet it is {certain} sure"
    );
    // A turn and noise that drowns all leave no side either; a shift by half leaves less of it.
    for (augment, most) in [
        ("{rotate: 180}", 0.25),
        ("{noise: 20}", 0.3),
        ("{shift: 0.5}", 0.45),
    ] {
        let (_, certain) = share_right(augment);
        assert!(certain < most, "{augment}: {certain}");
    }
}

/// A bright spot on every other image, in a corner or in the middle.
fn spots(rows: usize, seed: u32, is_in_corner: bool) -> Frame {
    let mut noise = Noise(seed);
    let first = if is_in_corner { 0 } else { SIDE / 2 - 1 };
    let spot = first..first + 2;
    let mut pixels = Vec::new();
    for row in 0..rows {
        for place in 0..SIDE * SIDE {
            let is_within = spot.contains(&(place / SIDE)) && spot.contains(&(place % SIDE));
            let is_on = row % 2 == 0 && is_within;
            pixels.push(noise.next() * 0.2 + if is_on { 0.8 } else { 0.0 });
        }
    }
    let labels: Vec<&str> = (0..rows).map(|row| ["spot", "plain"][row % 2]).collect();
    let labels = PolarsColumn::new("look".into(), labels);
    frame(vec![image_column(pixels, SIDE), labels], "look")
}

#[test]
fn what_lies_at_the_edge_is_often_cropped_and_the_middle_never() {
    // How sure a plain image is said to be plain.
    let sure = |is_in_corner: bool, augment: &str| {
        let (train, test) = (spots(200, 1, is_in_corner), spots(100, 2, is_in_corner));
        let params = format!(
            "{{layers: [{{conv: {{filters: 8, kernel: 1}}}}, global_max_pool, {{dense: {{units: 2, activation: softmax}}}}], \
             epochs: 40, optimizer: {{adam: {{learning_rate: 0.03}}}}{augment}}}"
        );
        let state = learn("model.torch.cnn", &params, &train, None);
        let found = answers("model.torch.cnn", &params, &state, &test.data);
        let plain = found
            .iter()
            .find(|column| column.name() == "probability_plain");
        let plain = floats(plain.expect("a probability"));
        plain.iter().skip(1).step_by(2).sum::<f64>() / 50.0
    };
    let crop = ", augment: {crop: 0.5}";
    let (corner, middle) = (sure(true, crop), sure(false, crop));
    assert!(sure(true, "") > 0.95 && middle > 0.95, "{middle}");
    // A window of half to all of the sides often leaves the corner out: many images with a spot look plain.
    assert!(corner < 0.75, "{corner}");
}

#[test]
fn more_layers_compute_what_the_books_say() {
    let pixels: Vec<f32> = (1_u8..10).map(f32::from).collect();
    // A 1×1 convolution by 2 and its input: three times each pixel; the largest is 27.
    let params = "{layers: [{residual: [{conv: {filters: 1, kernel: 1}}]}, global_max_pool, \
                  {dense: {units: 2, activation: softmax}}], epochs: 1}";
    let set: &[(&str, &[f32])] = &[
        ("0.residual.0.conv.weight", &[2.0]),
        ("0.residual.0.conv.bias", &[0.0]),
        ("2.dense.weight", &[0.1, 0.0]),
        ("2.dense.bias", &[0.0; 2]),
    ];
    let (stage, state) = by_hand(params, 3, set);
    assert!((difference(&*stage, &state, &pixels, 3) - 2.7).abs() < 1e-5);
    // Where the shape changes the way around is a convolution of its own: of 1 3 / 7 9, the corners, times 10; the layers give the
    // sums of 2×2 with zeros beyond the edge: 12 9 / 15 9. The largest sum of both is 70 + 15 = 85, not 90 + 9 = 99.
    let params = "{layers: [{residual: {layers: [{conv: {filters: 1, kernel: 2, stride: 2, padding: same}}], activation: relu}}, \
                  global_max_pool, {dense: {units: 2, activation: softmax}}], epochs: 1}";
    let set: &[(&str, &[f32])] = &[
        ("0.residual.0.conv.weight", &[1.0; 4]),
        ("0.residual.0.conv.bias", &[0.0]),
        ("0.residual.projection.weight", &[10.0]),
        ("2.dense.weight", &[0.01, 0.0]),
        ("2.dense.bias", &[0.0; 2]),
    ];
    let (stage, state) = by_hand(params, 3, set);
    assert!((difference(&*stage, &state, &pixels, 3) - 0.99).abs() < 1e-5);
}

#[test]
fn pools_of_means_compute_what_the_books_say() {
    // 1 2 3 / 4 5 6 / 7 8 9: the means of 2×2 are 3 4 / 6 7, or where windows do not overlap the first alone.
    let pixels: Vec<f32> = (1_u8..10).map(f32::from).collect();
    let params = "{layers: [{average_pool: {size: 2, stride: 1}}, flatten, {dense: {units: 2, activation: softmax}}], epochs: 1}";
    let set: &[(&str, &[f32])] = &[
        (
            "2.dense.weight",
            &[1.0, 0.1, 0.01, 0.001, 0.0, 0.0, 0.0, 0.0],
        ),
        ("2.dense.bias", &[0.0; 2]),
    ];
    let (stage, state) = by_hand(params, 3, set);
    assert!((difference(&*stage, &state, &pixels, 3) - 3.467).abs() < 1e-5);
    let params = "{layers: [{average_pool: 2}, flatten, {dense: {units: 2, activation: softmax}}], epochs: 1}";
    let set: &[(&str, &[f32])] = &[("2.dense.weight", &[1.0, 0.0]), ("2.dense.bias", &[0.0; 2])];
    let (stage, state) = by_hand(params, 3, set);
    assert!((difference(&*stage, &state, &pixels, 3) - 3.0).abs() < 1e-5);
}

/// Rows on a plane in five numbers. Those that are strange are off it, with each number as it may well be: the last three have the other
/// sign, so that all are as long as if they had not, and who knows nothing of the plane cannot tell them.
fn plane(rows: usize, strange: usize, seed: u32) -> (Frame, Vec<bool>) {
    let mut noise = Noise(seed);
    let mut columns = vec![Vec::new(); 5];
    for row in 0..rows {
        let (a, b) = (2.0 * noise.next() - 1.0, 2.0 * noise.next() - 1.0);
        let mut numbers = [a, b, a + b, a - b, 0.5 * a];
        if row < strange {
            for number in &mut numbers[2..] {
                *number = -*number;
            }
        }
        for (column, number) in columns.iter_mut().zip(numbers) {
            column.push(f64::from(number + 0.02 * noise.next()));
        }
    }
    let columns = ["a", "b", "c", "d", "e"]
        .into_iter()
        .zip(columns)
        .map(|(name, numbers)| PolarsColumn::new(name.into(), numbers))
        .collect();
    let is_strange = (0..rows).map(|row| row < strange).collect();
    (frame(columns, ""), is_strange)
}

#[test]
fn autoencoders_find_what_is_off_the_plane() {
    let (train, _) = plane(400, 0, 1);
    let (test, is_strange) = plane(200, 40, 2);
    let rows = rows_of(&test.data);
    for (kind, form) in [
        ("model.torch.autoencoder", "bottleneck: 2"),
        ("model.torch.vae", "bottleneck: 2, deviation: 0.1"),
    ] {
        let params = |course: &str| {
            format!(
                "{{hidden: [16], {form}, code: true, contamination: 0.05, activation: tanh, {course}}}"
            )
        };
        let learned = params("epochs: 60, optimizer: {adam: {learning_rate: 0.01}}");
        let state = learn(kind, &learned, &train, None);
        let found = answers(kind, &learned, &state, &test.data);
        let names: Vec<&str> = found.iter().map(|column| column.name().as_str()).collect();
        assert_eq!(names, ["prediction", "score", "code"], "{kind}");
        let area = roc_auc(&floats(&found[1]), &is_strange);
        assert!(area > 0.95, "{kind}: ROC AUC {area}");
        // Of fifteen networks that learned nothing the best reached 0.56.
        let still = params(STILL);
        let nothing = learn(kind, &still, &train, None);
        let scores = floats(&answers(kind, &still, &nothing, &test.data)[1]);
        let area = roc_auc(&scores, &is_strange);
        assert!(area < 0.7, "{kind}: ROC AUC {area} without learning");
        let own = answers(kind, &learned, &state, &train.data);
        let flagged = own[0].bool().expect("bool").sum().expect("rows");
        assert!((15..=25).contains(&flagged), "{kind}: {flagged} of 400");
        let code = numbers_in(&found[2]);
        assert_eq!(code.len(), 400, "{kind}");
        for (row, code) in rows.iter().zip(code.chunks_exact(2)) {
            // Of a variational one the means come first.
            let wanted = through(&state, &[0, 1], f64::tanh, row);
            for (code, wanted) in code.iter().zip(wanted) {
                assert!((code - wanted).abs() < 1e-5, "{kind}: {code} {wanted}");
            }
        }
    }
}

#[test]
fn a_variational_score_is_the_evidence_bound_at_the_mean_of_the_code() {
    let ((train, _), (test, _)) = (plane(200, 0, 1), plane(60, 20, 2));
    // While learning the divergence counts half; the bound has the whole of it.
    let params = "{hidden: [6], bottleneck: 2, deviation: 0.3, beta: 0.5, epochs: 20, activation: tanh, \
                  optimizer: {adam: {learning_rate: 0.01}}}";
    let state = learn("model.torch.vae", params, &train, None);
    let badnesses = |frame: &Frame| -> Vec<f64> {
        let rows = rows_of(&frame.data);
        let each = rows.iter();
        each.map(|row| badness(&state, f64::tanh, Some(0.3), row))
            .collect()
    };
    let scale = Scale::learn(badnesses(&train)).expect("a scale");
    let found = answers("model.torch.vae", params, &state, &test.data);
    let scores = floats(&found[1]);
    assert_eq!(scores.len(), 60);
    for (found, badness) in scores.iter().zip(badnesses(&test)) {
        // Without the divergence some score is off by 0.68, with half of it by 0.25.
        let wanted = scale.score(badness);
        assert!((found - wanted).abs() < 1e-4, "{found} {wanted}");
    }
}

#[test]
fn branches_tell_together_what_none_tells_alone() {
    let both = |rows: usize, seed: u32| {
        let mut noise = Noise(seed + 100);
        let pictures = bars(rows, seed);
        let kinds = texts(pictures.data.column("bar").expect("bar"));
        let loads: Vec<f64> = (0..rows)
            .map(|_| f64::from(noise.next() * 2.0 - 1.0))
            .collect();
        let sound: Vec<f32> = (0..rows * 8).map(|_| noise.next()).collect();
        let labels: Vec<&str> = kinds
            .iter()
            .zip(&loads)
            .map(|(kind, load)| {
                if (kind == "lies") == (*load > 0.0) {
                    "yes"
                } else {
                    "no"
                }
            })
            .collect();
        frame(
            vec![
                pictures.data.column("image").expect("image").clone(),
                arrays("sound", sound, &[4, 2]),
                PolarsColumn::new("load".into(), loads),
                PolarsColumn::new("answer".into(), labels),
            ],
            "answer",
        )
    };
    let (train, test) = (both(900, 1), both(300, 2));
    let share_right = |branches: &str| {
        let params = format!(
            "{{branches: {branches}, hidden: [32], epochs: 25, optimizer: {{adam: {{learning_rate: 0.01}}}}}}"
        );
        let state = learn("model.torch.multimodal", &params, &train, None);
        let found = answers("model.torch.multimodal", &params, &state, &test.data);
        let wanted = texts(test.data.column("answer").expect("answer"));
        texts(&found[0])
            .iter()
            .zip(&wanted)
            .filter(|(one, two)| one == two)
            .count() as f64
            / 300.0
    };
    let image = "{input: image, layers: [{conv: {filters: 6, kernel: 3, activation: relu}}, {max_pool: 2}, flatten]}";
    let together = share_right(&format!("[{image}, {{input: sound}}, {{input: [load]}}]"));
    assert!(together > 0.9, "{together}");
    let alone = share_right(&format!("[{image}, {{input: sound}}]"));
    assert!(alone < 0.7, "{alone}");
}

/// Ratings that two factors and biases explain, a part of all pairs.
fn ratings(seed: u32, share: f32) -> Frame {
    let (users, items) = (60, 40);
    let mut truth = Noise(7);
    let mut factor = |count: usize| -> Vec<[f64; 3]> {
        (0..count)
            .map(|_| [(); 3].map(|()| f64::from(truth.next() * 2.0 - 1.0)))
            .collect()
    };
    let (of_users, of_items) = (factor(users), factor(items));
    let mut noise = Noise(seed);
    let (mut user, mut item, mut rating) = (Vec::new(), Vec::new(), Vec::new());
    for (u, one) in of_users.iter().enumerate() {
        for (i, other) in of_items.iter().enumerate() {
            if noise.next() < share {
                user.push(format!("u{u}"));
                item.push(i as i64 * 10);
                let sum =
                    2.0 * one[0] * other[0] + 2.0 * one[1] * other[1] + 0.5 * (one[2] + other[2]);
                rating.push(3.0 + sum + 0.1 * f64::from(noise.next()));
            }
        }
    }
    frame(
        vec![
            PolarsColumn::new("user".into(), user),
            PolarsColumn::new("item".into(), item),
            PolarsColumn::new("rating".into(), rating),
        ],
        "rating",
    )
}

#[test]
fn a_recommender_learns_tastes_and_leaves_out_what_was_seen() {
    let (train, test) = (ratings(1, 0.5), ratings(2, 0.2));
    let truth = floats(test.data.column("rating").expect("rating"));
    for (network, least) in [("factorization", 0.85), ("two_tower", 0.75)] {
        let params = format!(
            "{{user: user, item: item, network: {network}, factors: 8, epochs: 60, batch_size: 32, top: 5, \
             regularization: 0.005, optimizer: {{adam: {{learning_rate: 0.01}}}}}}"
        );
        let state = learn("model.torch.recommender", &params, &train, None);
        let found = answers("model.torch.recommender", &params, &state, &test.data);
        let explained = determination(&floats(&found[0]), &truth);
        assert!(explained > least, "{network}: R² {explained}");
        let lists = found[1].list().expect("lists");
        let users = texts(test.data.column("user").expect("user"));
        let seen_users = texts(train.data.column("user").expect("user"));
        let seen_items: Vec<i64> = train
            .data
            .column("item")
            .expect("item")
            .i64()
            .expect("i64")
            .iter()
            .flatten()
            .collect();
        for (user, list) in users.iter().zip(lists.amortized_iter()).step_by(17) {
            let list = list.expect("a list");
            let shown: Vec<i64> = list.as_ref().i64().expect("i64").iter().flatten().collect();
            assert_eq!(shown.len(), 5);
            let was_seen = |item: &i64| {
                seen_users
                    .iter()
                    .zip(&seen_items)
                    .any(|(who, what)| who == user && what == item)
            };
            assert!(
                !shown.iter().any(was_seen),
                "{user} has seen one of {shown:?}"
            );
        }
    }
    // Nobody knows this user, so the item's bias speaks alone: the same for every stranger, and not for every item.
    let params = "{user: user, item: item, factors: 4, epochs: 20, batch_size: 32}";
    let state = learn("model.torch.recommender", params, &train, None);
    let strangers = DataFrame::new(
        3,
        vec![
            PolarsColumn::new("user".into(), ["x", "y", "x"]),
            PolarsColumn::new("item".into(), [10_i64, 10, 200]),
        ],
    )
    .expect("frame");
    let found = floats(&answers("model.torch.recommender", params, &state, &strangers)[0]);
    assert_eq!(found[0], found[1]);
    assert_ne!(found[0], found[2]);
}

#[test]
fn implicit_feedback_tells_what_is_taken_from_what_is_not() {
    let all = ratings(1, 1.0);
    let liked = all
        .data
        .column("rating")
        .expect("rating")
        .f64()
        .expect("f64")
        .iter()
        .map(|rating| rating.is_some_and(|rating| rating > 3.5))
        .collect::<Vec<_>>();
    let mut noise = Noise(9);
    let is_known: Vec<bool> = liked
        .iter()
        .map(|liked| *liked && noise.next() < 0.7)
        .collect();
    let mask: polars::prelude::BooleanChunked = is_known.iter().map(|known| Some(*known)).collect();
    let train = Frame {
        data: all.data.filter(&mask).expect("rows"),
        schema: all.schema.clone(),
    };
    let params = "{user: user, item: item, feedback: implicit, factors: 8, epochs: 40, batch_size: 64, \
                  regularization: 0.002, optimizer: {adam: {learning_rate: 0.01}}}";
    let state = learn("model.torch.recommender", params, &train, None);
    let scores = floats(&answers("model.torch.recommender", params, &state, &all.data)[0]);
    let rest: Vec<(f64, bool)> = scores
        .iter()
        .zip(liked.iter().zip(&is_known))
        .filter(|(_, (_, known))| !**known)
        .map(|(score, (liked, _))| (*score, *liked))
        .collect();
    let (taken, not): (Vec<_>, Vec<_>) = rest.iter().partition(|(_, liked)| *liked);
    let ordered = taken
        .iter()
        .flat_map(|(one, _)| not.iter().filter(move |(other, _)| one > other))
        .count();
    let area = ordered as f64 / (taken.len() * not.len()) as f64;
    assert!(area > 0.8, "ROC AUC of what was held back: {area}");
}

#[test]
fn every_kind_keeps_its_promises() {
    let pictures = bars(120, 1);
    let both = |name: &str| pictures.data.column(name).expect("there").clone();
    let mixed = frame(
        vec![
            both("image"),
            PolarsColumn::new(
                "load".into(),
                (0..120)
                    .map(f64::from)
                    .map(|v| v / 60.0 - 1.0)
                    .collect::<Vec<_>>(),
            ),
            both("bar"),
        ],
        "bar",
    );
    let cases: [(&str, &str, Frame); 6] = [
        (
            "model.torch.cnn",
            "{layers: [{residual: [{conv: {filters: 5, kernel: 3, padding: same, activation: relu}}]}, global_max_pool, \
             {dense: {units: 3, activation: softmax}}], epochs: 2}",
            bars(120, 1),
        ),
        (
            "model.torch.rnn",
            "{units: [9, 5], filters: 3, dropout: 0.1, recurrent_dropout: 0.1, hidden: [7], interval: 0.8, samples: 3, epochs: 2}",
            sequences(120, 1),
        ),
        (
            "model.torch.rnn",
            "{cell: gru, units: [9], epochs: 2}",
            sequences(120, 1),
        ),
        (
            "model.torch.autoencoder",
            "{hidden: [9], bottleneck: 2, dropout: 0.1, code: true, epochs: 2}",
            plane(120, 0, 1).0,
        ),
        (
            "model.torch.vae",
            "{hidden: [9], bottleneck: 2, code: true, epochs: 2}",
            plane(120, 0, 1).0,
        ),
        (
            "model.torch.multimodal",
            "{branches: [{input: image}, {input: [load]}], dropout: 0.1, hidden: [5], epochs: 2}",
            mixed,
        ),
    ];
    for (kind, params, train) in cases {
        let state = learn(kind, params, &train, None);
        let bytes = state.to_bytes().expect("bytes");
        let again = learn(kind, params, &train, None).to_bytes().expect("bytes");
        assert!(bytes == again, "{kind}: other bytes from the same seed");
        let stored = State::from_bytes(&bytes).expect("a state");
        let together = answers(kind, params, &state, &train.data);
        assert_eq!(
            answers(kind, params, &stored, &train.data),
            together,
            "{kind}"
        );
        for row in [0, 1, 31, 32, 33, 119] {
            let alone = answers(kind, params, &state, &train.data.slice(row, 1));
            for (alone, together) in alone.iter().zip(&together) {
                assert_eq!(alone, &together.slice(row, 1), "{kind}: row {row}");
            }
        }
        let none = answers(kind, params, &state, &train.data.head(Some(0)));
        assert!(none.iter().all(PolarsColumn::is_empty), "{kind}");
    }
}

#[test]
fn a_card_that_is_not_there_is_named() {
    let text = refusal(
        "model.torch.mlp",
        "{device: 'cuda:77'}",
        &labelled(vec!["a", "b"]),
    );
    assert!(text.contains("`cuda:77`"), "{text}");
}

#[test]
fn puzzles_are_solved_and_their_weights_are_a_start() {
    let train = bars(600, 1);
    let folder = tempfile::tempdir().expect("a folder");
    let params = "{grid: 2, orders: 6, hidden: 32, epochs: 15, optimizer: {adam: {learning_rate: 0.01}}, \
                  layers: [{conv: {filters: 6, kernel: 3, padding: same, activation: relu}}]}";
    let state = learn("model.torch.jigsaw", params, &train, Some(&bars(200, 2)));
    #[derive(serde::Deserialize)]
    struct Course {
        history: Vec<Passed>,
    }
    #[derive(serde::Deserialize)]
    struct Passed {
        validation_accuracy: f64,
    }
    let course: Course = state.data(1).expect("what was learned");
    let solved = course.history.last().expect("epochs").validation_accuracy;
    // Many a bar leaves two of the four tiles empty, which nobody can tell apart.
    assert!(
        solved > 0.35,
        "{solved} of the puzzles, of which chance solves a sixth"
    );
    let found = answers("model.torch.jigsaw", params, &state, &train.data);
    assert_eq!(found[0].name(), "code");
    assert_eq!(found[0].len(), 600);

    std::fs::write(
        folder.path().join("puzzles.safetensors"),
        state.to_bytes().expect("bytes"),
    )
    .expect("written");
    let starting = |layers: &str| {
        let stage = stage(
            "model.torch.cnn",
            &format!(
                "{{layers: {layers}, initial_weights: puzzles.safetensors, epochs: 1, \
                 optimizer: {{sgd: {{learning_rate: 0.000000000001}}}}}}"
            ),
        );
        let mut cx = FitContext::quiet(1);
        cx.directory = folder.path();
        model(&*stage).fit(&train, None, &mut cx)
    };
    let end = "global_average_pool, {dense: {units: 3, activation: softmax}}";
    let started = starting(&format!(
        "[{{conv: {{filters: 6, kernel: 3, padding: same, activation: relu}}}}, {end}]"
    ))
    .expect("trained");
    assert!(
        length(
            tensor(&started, "0.conv.weight"),
            tensor(&state, "0.conv.weight")
        ) < 1e-6
    );
    let error = starting(&format!("[{{conv: {{filters: 7, kernel: 3}}}}, {end}]")).map(drop);
    assert!(
        error
            .expect_err("another shape")
            .to_string()
            .contains("`0.conv.weight` has shape [6, 1, 3, 3]")
    );
    let error = starting("[flatten, {dense: {units: 3, activation: softmax}}]").map(drop);
    assert!(
        error
            .expect_err("nothing in common")
            .to_string()
            .contains("none of the network's tensors")
    );
}
