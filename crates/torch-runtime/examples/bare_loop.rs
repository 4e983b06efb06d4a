//! The digit-inspection network as one would write it by hand with tch: `nn::VarStore`, `nn::Adam`, one call a layer. The
//! peer that `takt`'s training loop is measured against (`benches/cnn.sh`). Prints one line of JSON.
//!
//! ```text
//! bare_loop IMAGES LABELS [ROWS [EPOCHS [SEED]]]
//! ```

use std::{
    error::Error,
    io::{self, Write},
    time::Instant,
};

use tch::{
    Device, Kind, Tensor,
    nn::{self, Module, ModuleT, OptimizerConfig},
};

mod idx;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [images, labels, rest @ ..] = arguments.as_slice() else {
        return Err("usage: bare_loop IMAGES LABELS [ROWS [EPOCHS [SEED]]]".into());
    };
    let number =
        |place: usize, default: i64| rest.get(place).map_or(Ok(default), |text| text.parse());
    let (rows, epochs, seed) = (number(0, 8000)?, number(1, 3)?, number(2, 1)?);

    tch::manual_seed(seed);
    let (sides, pixels) = idx::read(images)?;
    let (_, digits) = idx::read(labels)?;
    let (count, height, width) = (sides[0] as i64, sides[1] as i64, sides[2] as i64);
    let images = Tensor::from_slice(&pixels)
        .reshape([count, 1, height, width])
        .to_kind(Kind::Float)
        / 255.0;
    let labels = Tensor::from_slice(&digits).to_kind(Kind::Int64);
    let (train_images, train_labels) = (images.narrow(0, 0, rows), labels.narrow(0, 0, rows));

    let store = nn::VarStore::new(Device::Cpu);
    let root = store.root();
    let network = nn::seq()
        .add(nn::conv2d(&root / "conv1", 1, 32, 3, Default::default()))
        .add_fn(|batch| batch.relu().max_pool2d_default(2))
        .add(nn::conv2d(&root / "conv2", 32, 64, 3, Default::default()))
        .add_fn(|batch| batch.relu().max_pool2d_default(2))
        .add(nn::conv2d(&root / "conv3", 64, 64, 3, Default::default()))
        .add_fn(|batch| batch.relu().flat_view())
        .add(nn::linear(&root / "dense1", 576, 64, Default::default()))
        .add_fn(Tensor::relu)
        .add(nn::linear(&root / "dense2", 64, 10, Default::default()));
    let mut optimizer = nn::Adam {
        eps: 1e-7,
        ..nn::Adam::default()
    }
    .build(&store, 1e-3)?;

    let (mut seconds, mut mean_loss) = (Vec::new(), 0.0);
    for _ in 0..epochs {
        let started = Instant::now();
        let (mut total, mut right) = (0.0, 0);
        let order = Tensor::randperm(rows, (Kind::Int64, Device::Cpu));
        for start in (0..rows).step_by(32) {
            let length = 32.min(rows - start);
            let picked = order.narrow(0, start, length);
            let (batch, wanted) = (
                train_images.index_select(0, &picked),
                train_labels.index_select(0, &picked),
            );
            let logits = network.forward_t(&batch, true);
            let loss = logits.cross_entropy_for_logits(&wanted);
            optimizer.backward_step(&loss);
            total += loss.double_value(&[]) * length as f64;
            right += logits
                .argmax(1, false)
                .eq_tensor(&wanted)
                .sum(Kind::Int64)
                .int64_value(&[]);
        }
        seconds.push(started.elapsed().as_secs_f64());
        mean_loss = total / rows as f64;
        std::hint::black_box(right);
    }
    let accuracy = (rows < count).then(|| {
        let answers = tch::no_grad(|| network.forward(&images.narrow(0, rows, count - rows)))
            .argmax(1, false);
        answers
            .eq_tensor(&labels.narrow(0, rows, count - rows))
            .to_kind(Kind::Double)
            .mean(Kind::Double)
            .double_value(&[])
    });
    let line = serde_json::json!({
        "engine": "tch", "threads": tch::get_num_threads(), "rows": rows,
        "seconds_per_epoch": seconds, "loss": mean_loss, "accuracy": accuracy,
    });
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}
