//! The same first weights and the same rows as in PyTorch give the same weights and answers. Figures: tests/peers/networks.py.

use std::path::PathBuf;

use taktline_core::{Tensor, read_tensors};

use super::networks::{answers, arrays, floats, numbers_in};
use super::*;

/// What stands in one of the peer's files.
struct Golden {
    tensors: std::collections::BTreeMap<String, Tensor>,
}

impl Golden {
    fn read(name: &str) -> Self {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/data/networks")
            .join(format!("{name}.safetensors"));
        let bytes = std::fs::read(file).expect("the peer's file");
        let tensors = read_tensors(&bytes).expect("tensors");
        Self { tensors }
    }

    fn shape(&self, name: &str) -> &[usize] {
        &self.tensors[name].shape
    }

    fn numbers(&self, name: &str) -> Vec<f32> {
        match &self.tensors[name].data {
            TensorData::F32(numbers) => numbers.clone(),
            other => panic!("{name}: {other:?}"),
        }
    }

    fn targets(&self) -> PolarsColumn {
        match &self.tensors["targets"].data {
            TensorData::I64(labels) => PolarsColumn::new("target".into(), labels),
            TensorData::F32(numbers) => {
                let numbers: Vec<f64> = numbers.iter().map(|number| f64::from(*number)).collect();
                PolarsColumn::new("target".into(), numbers)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Learns from the same rows, from the same first weights, and compares the weights, the losses and the answers.
    fn agrees(&self, kind: &str, params: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let initial = self
            .tensors
            .iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix("initial.")?, tensor)))
            .fold(State::default(), |state, (name, tensor)| {
                state.with_tensor(name, tensor.shape.clone(), tensor.data.clone())
            });
        let bytes = initial.to_bytes().expect("bytes");
        std::fs::write(folder.path().join("initial.safetensors"), bytes).expect("written");
        let inputs = arrays("rows", self.numbers("inputs"), &self.shape("inputs")[1..]);
        let data = frame(vec![inputs, self.targets()], "target");
        let rows = data.data.height();
        let params = format!(
            "{{{params}, initial_weights: initial.safetensors, epochs: 5, batch_size: {rows}, keep: last}}"
        );
        let stage = stage(kind, &params);
        let context = FitContext::quiet(1);
        let mut context = FitContext {
            directory: folder.path(),
            ..context
        };
        let state = model(&*stage)
            .fit(&data, None, &mut context)
            .expect("trained");
        self.has_learned(&state);
        let told = answers(kind, &params, &state, &data.data);
        let own: Vec<f64> = match told.iter().filter(|column| is_probability(column)).count() {
            0 => floats(&told[0]),
            classes => {
                let each: Vec<Vec<f64>> = told
                    .iter()
                    .filter(|column| is_probability(column))
                    .map(floats)
                    .collect();
                (0..rows * classes)
                    .map(|place| each[place % classes][place / classes])
                    .collect()
            }
        };
        close("answer", &own, &self.numbers("outputs"), 5e-6);
    }

    /// The losses on the way, and the weights at the end, are the peer's.
    fn has_learned(&self, state: &State) {
        let history = state.training().history;
        let losses: Vec<f64> = history.iter().map(|round| round["loss"]).collect();
        close("loss", &losses, &self.numbers("losses"), 2e-6);
        let last = self
            .tensors
            .keys()
            .filter(|name| name.starts_with("final."));
        for name in last {
            let own = &state.tensors[name.trim_start_matches("final.")];
            let TensorData::F32(own) = &own.data else {
                panic!("{name}");
            };
            let own: Vec<f64> = own.iter().map(|number| f64::from(*number)).collect();
            close(name, &own, &self.numbers(name), 5e-6);
        }
    }

    /// The same for a kind that reads no file of weights: a training is stopped before its first step, and goes on with the peer's
    /// first weights in the place of its own. Gives the whole params and what was learned.
    fn agrees_from_its_start(&self, kind: &str, params: &str, data: &Frame) -> (String, State) {
        let rows = data.data.height();
        let params = format!("{{{params}, epochs: 5, batch_size: {rows}, keep: last}}");
        let stage = stage(kind, &params);
        let (checkpoints, cancellation) = (Kept::default(), Cancellation::default());
        cancellation.cancel();
        let mut context = FitContext {
            cancellation: &cancellation,
            checkpoints: &checkpoints,
            ..FitContext::quiet(1)
        };
        let stopped = model(&*stage).fit(data, None, &mut context).map(drop);
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
        let bytes = checkpoints.load().expect("a checkpoint");
        let mut begun = State::from_bytes(&bytes).expect("a checkpoint");
        let weights = begun.tensors.get_mut("trained").expect("all weights");
        let start = self.numbers("start");
        assert_eq!(weights.data.len(), start.len());
        weights.data = TensorData::F32(start);
        let bytes = begun.to_bytes().expect("bytes");
        checkpoints.save(&bytes).expect("kept");
        let mut context = FitContext {
            checkpoints: &checkpoints,
            ..FitContext::quiet(1)
        };
        let state = model(&*stage)
            .fit(data, None, &mut context)
            .expect("trained");
        self.has_learned(&state);
        (params, state)
    }

    /// Pairs of a user and an item, and what is thought of them.
    fn pairs(&self) -> Frame {
        let TensorData::I64(numbers) = &self.tensors["pairs"].data else {
            panic!("no whole numbers");
        };
        let of = |side: usize| -> Vec<i64> {
            let pairs = numbers.chunks_exact(2);
            pairs.map(|pair| pair[side]).collect()
        };
        let columns = vec![
            PolarsColumn::new("user".into(), of(0)),
            PolarsColumn::new("item".into(), of(1)),
            self.targets(),
        ];
        frame(columns, "target")
    }

    /// A recommender agrees, also about pairs that it has never seen.
    fn agrees_about_pairs(&self, params: &str) {
        let kind = "model.torch.recommender";
        let data = self.pairs();
        let params = format!("user: user, item: item, factors: 3, {params}");
        let (params, state) = self.agrees_from_its_start(kind, &params, &data);
        let told = answers(kind, &params, &state, &data.data);
        close("answer", &floats(&told[0]), &self.numbers("outputs"), 5e-6);
        let columns = vec![
            PolarsColumn::new("user".into(), [-1_i64]),
            PolarsColumn::new("item".into(), [-1_i64]),
        ];
        let stranger = DataFrame::new(1, columns).expect("a frame");
        let told = answers(kind, &params, &state, &stranger);
        close("stranger", &floats(&told[0]), &self.numbers("unseen"), 5e-6);
    }
}

fn is_probability(column: &PolarsColumn) -> bool {
    column.name().starts_with("probability_")
}

fn close(what: &str, own: &[f64], peer: &[f32], tolerance: f64) {
    assert_eq!(own.len(), peer.len(), "{what}");
    for (own, peer) in own.iter().zip(peer) {
        let peer = f64::from(*peer);
        assert!(
            (own - peer).abs() <= tolerance * peer.abs().max(1.0),
            "{what}: {own}, PyTorch has {peer}"
        );
    }
}

#[test]
fn dense_layers_learn_by_adam_as_in_pytorch() {
    Golden::read("mlp").agrees(
        "model.torch.mlp",
        "hidden: [16, 8], activation: gelu, optimizer: {adam: {learning_rate: 0.01, epsilon: 1e-7}}",
    );
}

#[test]
fn convolutions_learn_by_momentum_as_in_pytorch() {
    Golden::read("cnn").agrees(
        "model.torch.cnn",
        "layers: [conv: {filters: 4, kernel: 3, activation: relu}, max_pool: 2, batch_norm, flatten, \
         dense: {units: 3, activation: softmax}], \
         optimizer: {sgd: {learning_rate: 0.05, momentum: 0.9, nesterov: true}}",
    );
}

#[test]
fn an_lstm_learns_by_adamw_as_in_pytorch() {
    Golden::read("lstm").agrees(
        "model.torch.rnn",
        "cell: lstm, units: [5], optimizer: {adamw: {learning_rate: 0.01, weight_decay: 0.05, epsilon: 1e-7}}",
    );
}

#[test]
fn a_gru_learns_by_huber_and_short_gradients_as_in_pytorch() {
    Golden::read("gru").agrees(
        "model.torch.rnn",
        "cell: gru, units: [5], loss: {huber: {delta: 0.7}}, clip_norm: 0.1, optimizer: {sgd: {learning_rate: 0.1}}",
    );
}

#[test]
fn an_autoencoder_learns_by_adam_as_in_pytorch() {
    let golden = Golden::read("autoencoder");
    let inputs = arrays(
        "rows",
        golden.numbers("inputs"),
        &golden.shape("inputs")[1..],
    );
    let data = frame(vec![inputs], "");
    let kind = "model.torch.autoencoder";
    let params = "hidden: [5], bottleneck: 2, activation: tanh, code: true, optimizer: {adam: {learning_rate: 0.01, epsilon: 1e-7}}";
    let (params, state) = golden.agrees_from_its_start(kind, params, &data);
    let told = answers(kind, &params, &state, &data.data);
    assert_eq!(told[2].name(), "code");
    close("code", &numbers_in(&told[2]), &golden.numbers("code"), 5e-6);
    // Scores are places among the errors of the training rows, all of which are kept where they are few.
    let kept = state.data["scale"]["knots"].as_array().expect("errors");
    let kept: Vec<f64> = kept.iter().filter_map(|error| error.as_f64()).collect();
    let mut errors = golden.numbers("errors");
    errors.sort_by(f32::total_cmp);
    close("error", &kept, &errors, 5e-6);
}

#[test]
fn factors_and_biases_learn_by_momentum_as_in_pytorch() {
    Golden::read("factorization").agrees_about_pairs(
        "regularization: 0.05, optimizer: {sgd: {learning_rate: 0.5, momentum: 0.9}}",
    );
}

#[test]
fn two_towers_learn_by_adam_as_in_pytorch() {
    Golden::read("two_tower").agrees_about_pairs(
        "network: two_tower, hidden: [4], optimizer: {adam: {learning_rate: 0.02, epsilon: 1e-7}}",
    );
}
