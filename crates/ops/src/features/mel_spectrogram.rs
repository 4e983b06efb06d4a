//! `features.mel_spectrogram`.

use std::sync::Arc;

use polars::prelude::{DataType, Float32Type};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Local, Operation, Relational, Result, Schema, Shape, Stage, register_kind,
};

use super::{
    arrays,
    sound_params::sound_params,
    spectrum::{self, Spectrum},
};
use crate::columns;

sound_params! {
    /// Turn sounds into pictures of their pitches over time.
    ///
    /// A sound becomes an array of `mels` bands (from low to high) × frames, `f32`, which `model.torch.cnn` takes as an
    /// image of one channel. Frames are taken every `hop` samples and weighed with a Hann window; their squared
    /// frequencies are summed in triangular bands and given in decibels. Definitions as in librosa, whose defaults these
    /// are but for `padding` (there: zeros). Null stays null; a sample that is infinite or not a number is an error.
    struct MelSpectrogram {
        /// Decibels, or the powers themselves; `reference` and `top_db` are about decibels.
        #[serde(default)]
        unit: Unit,
    }
}

/// What the numbers of a spectrogram are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Unit {
    /// 10 · log10 of the power.
    #[default]
    Decibel,
    /// Power.
    Power,
}

register_kind! {
    MelSpectrogram, "features.mel_spectrogram", version: 1,
    example: "- features.mel_spectrogram: {rate: 16000, n_fft: 512, hop: 160, mels: 64}",
}

impl MelSpectrogram {
    /// A Fourier transform has no relational form.
    fn operation(&self, input: &Schema, frames: usize) -> Option<Operation> {
        let shape = [self.mels, frames];
        let dtype = arrays::array_type(DataType::Float32, &shape);
        let schema = arrays::with_array(input, &self.column, self.made(), &dtype)?;
        let spectrum = Arc::new(Spectrum::new(self.framing()));
        let (from, to, unit) = (self.column.clone(), self.made().to_owned(), self.unit);
        Some(Operation::Local(Local {
            name: "mel spectrogram",
            reads: [from.clone()].into(),
            keeps_rows: true,
            schema,
            apply: Arc::new(move |frame| {
                let spectrum = Arc::clone(&spectrum);
                let make = move |column: &polars::prelude::Column| {
                    arrays::map_arrays::<Float32Type, Float32Type>(column, &shape, |sound, row| {
                        spectrum.powers(sound, row)?;
                        if unit == Unit::Decibel {
                            spectrum.decibels(row);
                        }
                        Ok(())
                    })
                };
                Ok(arrays::with_made(frame, &from, &to, dtype.clone(), make))
            }),
        }))
    }
}

impl Stage for MelSpectrogram {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let frames = self.framing().check(&self.column, self.made(), input, cx);
        let operation = frames
            .filter(|_| !cx.failed())
            .and_then(|frames| self.operation(input, frames));
        columns::promised(operation, inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for MelSpectrogram {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let framing = self.framing();
        // Scoring brings only what the model needs.
        let frames = spectrum::frames_of(&framing, input, &self.column);
        Ok(frames
            .and_then(|frames| self.operation(input, frames))
            .into_iter()
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataFrame;

    use super::*;
    use crate::{
        columns::testing::{codes, passes, schema, stage},
        testing::applied,
    };

    /// The figures of librosa 0.11 that `tests/peers/sound.py` prints: shape, sum, and (row, column, value).
    struct Peer {
        shape: [usize; 2],
        sum: f64,
        figures: [(usize, usize, f32); 5],
    }

    fn is_near(params: &str, peer: &Peer, tolerance: f32) {
        let made = applied(
            &stage::<MelSpectrogram>(params),
            &[spectrum::testing::chirp()],
        )
        .expect("rows");
        let (shape, numbers) = spectrum::testing::numbers(&made, "sound");
        assert_eq!(shape, peer.shape);
        for (row, column, expected) in peer.figures {
            let found = numbers[row * shape[1] + column];
            assert!(
                (found - expected).abs() < tolerance,
                "({row}, {column}): {found}, not {expected}"
            );
        }
        let sum: f64 = numbers.iter().map(|number| f64::from(*number)).sum();
        let slack = f64::from(tolerance) * numbers.len() as f64 / 2.0;
        assert!((sum - peer.sum).abs() < slack, "{sum}, not {}", peer.sum);
    }

    const FRAMES: &str = "rate: 8000, n_fft: 512, hop: 160, mels: 20";

    #[test]
    fn powers_are_librosas() {
        let reflect = Peer {
            shape: [20, 26],
            sum: 623.576_853,
            figures: [
                (0, 0, 11.280_401),
                (1, 3, 17.625_683),
                (3, 1, 0.019_323_4),
                (10, 13, 0.0),
                (19, 25, 0.000_192_9),
            ],
        };
        is_near(&format!("{{{FRAMES}, unit: power}}"), &reflect, 2e-5);
        let zeros = Peer {
            shape: [20, 26],
            sum: 593.625_230,
            figures: [
                (0, 0, 4.392_319),
                (1, 3, 17.625_683),
                (3, 1, 0.004_826),
                (10, 13, 0.0),
                (19, 25, 0.000_089_4),
            ],
        };
        is_near(
            &format!("{{{FRAMES}, unit: power, padding: zeros}}"),
            &zeros,
            2e-5,
        );
        let bare = Peer {
            shape: [20, 22],
            sum: 521.818_342,
            figures: [
                (0, 0, 0.268_108_6),
                (1, 3, 1.855_622_6),
                (3, 1, 0.003_155_7),
                (10, 11, 0.0),
                (19, 21, 0.0),
            ],
        };
        is_near(
            &format!("{{{FRAMES}, unit: power, padding: none}}"),
            &bare,
            2e-5,
        );
    }

    #[test]
    fn decibels_are_librosas() {
        let plain = Peer {
            shape: [20, 26],
            sum: -25_077.979_77,
            figures: [
                (0, 0, 10.523_245),
                (1, 3, 12.461_46),
                (3, 1, -17.139_16),
                (10, 13, -63.617_065),
                (19, 25, -37.146_698),
            ],
        };
        is_near(&format!("{{{FRAMES}}}"), &plain, 2e-3);
        let loudest = Peer {
            shape: [20, 26],
            sum: -18_671.277_75,
            figures: [
                (0, 0, -5.859_69),
                (1, 3, -3.921_474),
                (3, 1, -33.522_095),
                (10, 13, -40.0),
                (19, 25, -40.0),
            ],
        };
        is_near(
            &format!("{{{FRAMES}, reference: max, top_db: 40}}"),
            &loudest,
            2e-3,
        );
        // 128 bands, some of them empty: librosa's defaults but for the padding.
        let defaults = Peer {
            shape: [128, 8],
            sum: -30_292.695_47,
            figures: [
                (0, 0, 10.203_697),
                (1, 3, -47.943_59),
                (3, 1, 5.355_491),
                (64, 4, -47.943_59),
                (127, 7, -35.226_723),
            ],
        };
        is_near("{rate: 8000}", &defaults, 2e-3);
    }

    #[test]
    fn another_scale_window_and_range_are_librosas() {
        let peer = Peer {
            shape: [12, 33],
            sum: 49_828.538_36,
            figures: [
                (0, 0, 1_912.717_9),
                (1, 3, 1_817.059_3),
                (3, 1, 0.044_190_3),
                (6, 16, 0.0),
                (11, 32, 0.148_688_7),
            ],
        };
        let params = "{rate: 8000, n_fft: 500, hop: 125, window: 301, mels: 12, lowest: 100, highest: 3000, mel_scale: htk, norm: none, unit: power}";
        is_near(params, &peer, 5e-3);
    }

    #[test]
    fn silence_null_and_nothing() {
        let sounds = arrays::assemble::<Float32Type>(
            "sound".into(),
            &[600],
            vec![0.0; 600],
            Some(&[true, false]),
            2,
        )
        .expect("sounds");
        let frame = DataFrame::new(2, vec![sounds]).expect("a frame");
        let stage = stage::<MelSpectrogram>(&format!("{{{FRAMES}, into: mel}}"));
        let made = applied(&stage, std::slice::from_ref(&frame)).expect("rows");
        assert_eq!(made.get_column_names(), ["sound", "mel"]);
        assert_eq!(made.column("mel").expect("there").null_count(), 1);
        let (_, numbers) = spectrum::testing::numbers(&made, "mel");
        assert!(numbers.iter().all(|number| *number == -100.0));
        let broken = arrays::assemble::<Float32Type>(
            "sound".into(),
            &[600],
            [0.0, f32::NAN].repeat(300),
            None,
            1,
        )
        .expect("sounds");
        let broken = DataFrame::new(1, vec![broken]).expect("a frame");
        let error = applied(&stage, &[broken])
            .expect_err("not a number")
            .to_string();
        assert!(
            error.contains("`sound` in row 1: sample 2 is NaN"),
            "{error}"
        );
        assert_eq!(
            applied(&stage, &[frame.head(Some(0))])
                .expect("rows")
                .height(),
            0
        );
    }

    #[test]
    fn a_pipeline_can_lift_the_limit() {
        let directory = tempfile::tempdir().expect("a directory");
        let tone = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/data/sounds/tone.flac"
        );
        std::fs::copy(tone, directory.path().join("tone.flac")).expect("copied");
        let pipeline = "pipeline: tones\nstages:\n  - source.audio: {path: ., layout: flat, rate: 8000, seconds: 0.5}\n  - features.mel_spectrogram: {rate: 8000, n_fft: 512, mels: 20, top_db: null}\n";
        let rows = crate::testing::run(pipeline, directory.path()).expect("rows");
        let (shape, numbers) = spectrum::testing::numbers(&rows, "sound");
        assert_eq!(shape, [20, 8]);
        let least = numbers.iter().copied().fold(f32::INFINITY, f32::min);
        let most = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert!(most - least > 80.0, "{least} to {most}");
    }

    #[test]
    fn the_shape_is_known_before_the_run() {
        let input = schema([("sound", arrays::array_type(DataType::Float32, &[16_000]))]);
        let shape = |params: &str| {
            passes(&stage::<MelSpectrogram>(params), &input).columns[0]
                .array()
                .expect("an array")
                .0
        };
        assert_eq!(shape("{rate: 16000, mels: 64}"), [64, 32]);
        assert_eq!(
            shape("{rate: 16000, n_fft: 512, hop: 160, mels: 40}"),
            [40, 101]
        );
        assert_eq!(
            shape("{rate: 16000, n_fft: 512, hop: 160, mels: 40, padding: none}"),
            [40, 97]
        );
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let input = schema([
            ("sound", arrays::array_type(DataType::Float32, &[1000])),
            ("image", arrays::array_type(DataType::Float32, &[10, 10])),
            ("word", DataType::String),
        ]);
        let refused = |params: &str| codes(&stage::<MelSpectrogram>(params), &input);
        assert_eq!(refused("{rate: 8000, mels: 8}"), ["out-of-range"]);
        assert_eq!(
            refused("{rate: 8000, n_fft: 64, mels: 40}"),
            ["empty-bands"]
        );
        assert_eq!(
            refused("{rate: 8000, n_fft: 512, mels: 8, window: 600, lowest: 4000, into: word}"),
            ["out-of-range", "out-of-range", "name-taken"]
        );
        assert_eq!(
            refused("{rate: 8000, n_fft: 512, mels: 8, highest: 5000, reference: 0}"),
            ["out-of-range", "out-of-range"]
        );
        assert_eq!(
            refused("{rate: 8000, n_fft: 512, mels: 8, column: image}"),
            ["type-mismatch"]
        );
        assert_eq!(
            refused("{rate: 8000, n_fft: 512, mels: 8, column: noise}"),
            ["unknown-column"]
        );
    }
}
