//! The same first weights and the same rows as in PyTorch give the same weights and answers. Figures: tests/peers/networks.py.

use std::path::PathBuf;

use taktline_core::{Tensor, read_tensors};

use super::networks::{answers, arrays, floats};
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
        let losses: Vec<f64> = state.history().iter().map(|round| round["loss"]).collect();
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
