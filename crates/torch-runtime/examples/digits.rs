//! The digit-inspection network as `takt` trains it: the kind `model.torch.cnn` with its defaults, through the bridge.
//! Prints one line of JSON: seconds of each epoch, last loss, accuracy on the rows that were not trained on.
//!
//! ```text
//! digits IMAGES LABELS [ROWS [EPOCHS [SEED [KIND]]]]
//! ```
//! With ROWS = 0 the rows are split 80/20, stratified by digit with the seed; else the first ROWS are trained on.

use std::{
    error::Error,
    io::{self, Write},
    sync::Mutex,
    time::Instant,
};

use polars::prelude::{
    Column as PolarsColumn, DataFrame, IdxCa, IntoColumn, NamedFrom, ReshapeDimension, Series,
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use taktline_core::{
    Cancellation, FitContext, Frame, NoCheckpoints, Progress, ProgressEvent, Registry, Role,
    Schema, Shape,
};
use taktline_torch as _;

mod idx;

/// The time of each epoch's end, and its loss.
struct Clock(Mutex<Vec<(Instant, f64)>>);

impl Progress for Clock {
    fn event(&self, event: ProgressEvent) {
        if let (ProgressEvent::Epoch { loss, .. }, Ok(mut times)) = (event, self.0.lock()) {
            times.push((Instant::now(), loss));
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [images, labels, rest @ ..] = arguments.as_slice() else {
        return Err("usage: digits IMAGES LABELS [ROWS [EPOCHS [SEED [KIND]]]]".into());
    };
    let number =
        |place: usize, default: u64| rest.get(place).map_or(Ok(default), |text| text.parse());
    let (rows, epochs, seed) = (number(0, 8000)? as usize, number(1, 3)?, number(2, 1)?);
    let kind = rest.get(3).map_or("model.torch.cnn", String::as_str);

    let (sides, pixels) = idx::read(images)?;
    let (_, digits) = idx::read(labels)?;
    let scaled: Vec<f32> = pixels
        .iter()
        .map(|pixel| f32::from(*pixel) / 255.0)
        .collect();
    let shape: Vec<_> = [sides[0], sides[1], sides[2], 1]
        .iter()
        .map(|side| ReshapeDimension::new(*side as i64))
        .collect();
    let image = Series::new("image".into(), scaled)
        .reshape_array(&shape)?
        .into_column();
    let label: Vec<i64> = digits.iter().map(|digit| i64::from(*digit)).collect();
    let all = DataFrame::new(
        sides[0],
        vec![image, PolarsColumn::new("label".into(), &label)],
    )?;
    let (train, test) = match rows {
        0 => {
            let (mut train, mut test) = (Vec::new(), Vec::new());
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            for digit in 0..10 {
                let mut own: Vec<u32> = (0..)
                    .zip(&label)
                    .filter(|(_, label)| **label == digit)
                    .map(|(row, _)| row)
                    .collect();
                own.shuffle(&mut generator);
                let kept = own.len() / 5;
                test.extend(own.drain(..kept));
                train.extend(own);
            }
            train.sort_unstable();
            (
                all.take(&IdxCa::from_vec("rows".into(), train))?,
                all.take(&IdxCa::from_vec("rows".into(), test))?,
            )
        }
        rows => (all.slice(0, rows), all.slice(rows as i64, sides[0] - rows)),
    };
    let mut schema = Schema::from_polars(train.schema());
    for column in schema
        .columns
        .iter_mut()
        .filter(|column| column.name == "label")
    {
        *column = column.clone().with_role(Role::Target);
    }

    let registry = Registry::collect()?;
    let params = serde_yaml::from_str(&format!("epochs: {epochs}"))?;
    let stage = (registry.get(kind).ok_or("no such kind")?.parse)(&params)?;
    let Shape::Model(model) = stage.shape() else {
        return Err("not a model".into());
    };
    let (clock, cancellation) = (Clock(Mutex::new(Vec::new())), Cancellation::default());
    let mut cx = FitContext {
        stage: "classifier",
        seed,
        progress: &clock,
        cancellation: &cancellation,
        checkpoints: &NoCheckpoints,
        directory: std::path::Path::new("."),
    };
    let trained = Frame {
        data: train,
        schema,
    };
    let started = Instant::now();
    let state = model.fit(&trained, None, &mut cx)?;
    let times = clock.0.into_inner().map_err(|_| "the clock broke")?;
    // The first epoch also has the loading of libtorch; the peers load it before their clock starts, so compare later ones.
    let mut before = started;
    let mut seconds = Vec::new();
    for (end, _) in &times {
        seconds.push(end.duration_since(before).as_secs_f64());
        before = *end;
    }

    let predicted_at = Instant::now();
    let predicted = model.load(&state)?.predict(&test)?;
    let predicting = predicted_at.elapsed().as_secs_f64();
    let (predicted, wanted) = (predicted[0].i64()?, test.column("label")?.i64()?);
    let right = predicted
        .iter()
        .zip(wanted.iter())
        .filter(|(predicted, wanted)| predicted == wanted)
        .count();
    let line = serde_json::json!({
        "engine": "takt", "kind": kind, "seed": seed, "rows": trained.data.height(), "seconds_per_epoch": seconds,
        "loss": times.last().map(|(_, loss)| loss), "accuracy": right as f64 / test.height().max(1) as f64,
        "seconds_to_predict": predicting, "rows_predicted": test.height(),
    });
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}
