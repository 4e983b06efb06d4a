//! `features.mfcc`.

use std::{f64::consts::PI, sync::Arc};

use polars::prelude::{DataType, Float32Type};
use taktline_core::{
    CheckContext, Local, Operation, Problem, Relational, Result, Schema, Shape, Stage, path,
    register_kind,
};

use super::{
    arrays,
    sound_params::sound_params,
    spectrum::{self, Spectrum},
};
use crate::columns;

sound_params! {
    /// Turn sounds into mel-frequency cepstral coefficients: the outline of their spectrum over time.
    ///
    /// A sound becomes an array of `coefficients` × frames, `f32`: the discrete cosine transform (type II, orthonormal)
    /// of the decibels of `features.mel_spectrogram` over its bands (Davis and Mermelstein 1980). The first coefficient is
    /// the loudness. Definitions as in librosa, whose defaults these are but for `padding` (there: zeros). Null stays
    /// null; a sample that is infinite or not a number is an error.
    struct Mfcc {
        /// How many coefficients stay, from the first on.
        #[serde(default = "coefficients")]
        #[schemars(range(min = 1, max = 4096))]
        coefficients: usize,
    }
}

fn coefficients() -> usize {
    20
}

register_kind! {
    Mfcc, "features.mfcc", version: 1,
    example: "- features.mfcc: {rate: 16000, coefficients: 13, n_fft: 512, hop: 160, mels: 40}",
}

/// The rows of the orthonormal DCT-II that are needed, row by row (Ahmed, Natarajan and Rao 1974).
fn cosines(coefficients: usize, mels: usize) -> Vec<f64> {
    let mut rows = Vec::with_capacity(coefficients * mels);
    for order in 0..coefficients {
        let scale = match order {
            0 => (1.0 / mels as f64).sqrt(),
            _ => (2.0 / mels as f64).sqrt(),
        };
        rows.extend((0..mels).map(|band| {
            scale * (PI * order as f64 * (2 * band + 1) as f64 / (2 * mels) as f64).cos()
        }));
    }
    rows
}

impl Mfcc {
    /// A Fourier transform has no relational form.
    fn operation(&self, input: &Schema, frames: usize) -> Option<Operation> {
        let shape = [self.coefficients, frames];
        let dtype = arrays::array_type(DataType::Float32, &shape);
        let schema = arrays::with_array(input, &self.column, self.made(), &dtype)?;
        let mels = self.mels;
        let spectrum = Arc::new(Spectrum::new(self.framing()));
        let cosines = Arc::new(cosines(self.coefficients, mels));
        let (from, to) = (self.column.clone(), self.made().to_owned());
        Some(Operation::Local(Local {
            name: "mel-frequency cepstral coefficients",
            reads: [from.clone()].into(),
            keeps_rows: true,
            schema,
            apply: Arc::new(move |frame| {
                let (spectrum, cosines) = (Arc::clone(&spectrum), Arc::clone(&cosines));
                let make = move |column: &polars::prelude::Column| {
                    arrays::map_arrays::<Float32Type, Float32Type>(column, &shape, |sound, row| {
                        let mut bands = vec![0.0; mels * frames];
                        spectrum.powers(sound, &mut bands)?;
                        spectrum.decibels(&mut bands);
                        transform(&bands, &cosines, mels, frames, row);
                        Ok(())
                    })
                };
                Ok(arrays::with_made(frame, &from, &to, dtype.clone(), make))
            }),
        }))
    }
}

/// Each coefficient of each frame.
fn transform(bands: &[f32], cosines: &[f64], mels: usize, frames: usize, row: &mut [f32]) {
    for (order, cosines) in cosines.chunks_exact(mels).enumerate() {
        for frame in 0..frames {
            let sum: f64 = cosines
                .iter()
                .enumerate()
                .map(|(band, cosine)| cosine * f64::from(bands[band * frames + frame]))
                .sum();
            row[order * frames + frame] = sum as f32;
        }
    }
}

impl Stage for Mfcc {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        if self.coefficients > self.mels {
            cx.report(
                Problem::error(
                    "out-of-range",
                    path!["coefficients"],
                    format!(
                        "{} bands have no {} coefficients",
                        self.mels, self.coefficients
                    ),
                )
                .label("`mels` at most"),
            );
        }
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

impl Relational for Mfcc {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        // Scoring brings only what the model needs.
        let frames = spectrum::frames_of(&self.framing(), input, &self.column);
        Ok(frames
            .and_then(|frames| self.operation(input, frames))
            .into_iter()
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        columns::testing::{codes, schema, stage},
        testing::applied,
    };

    // librosa 0.11: librosa.feature.mfcc(y=chirp, n_mfcc=13, pad_mode="reflect", ...); tests/peers/sound.py.
    #[test]
    fn coefficients_are_librosas() {
        let params = "{rate: 8000, coefficients: 13, n_fft: 512, hop: 160, mels: 20}";
        let made = applied(&stage::<Mfcc>(params), &[spectrum::testing::chirp()]).expect("rows");
        let (shape, numbers) = spectrum::testing::numbers(&made, "sound");
        assert_eq!(shape, [13, 26]);
        let figures = [
            (0, 0, -96.801_704),
            (1, 3, 71.154_63),
            (3, 1, 20.826_89),
            (6, 13, -10.054_609),
            (12, 25, -3.389_028),
        ];
        for (row, column, expected) in figures {
            let found: f32 = numbers[row * 26 + column];
            assert!(
                (found - expected).abs() < 5e-3,
                "({row}, {column}): {found}, not {expected}"
            );
        }
        let sum: f64 = numbers.iter().map(|number| f64::from(*number)).sum();
        assert!((sum + 5_890.904_02).abs() < 0.1, "{sum}");
    }

    #[test]
    fn the_cosines_are_orthonormal() {
        let rows = cosines(8, 8);
        for one in 0..8 {
            for other in 0..8 {
                let product: f64 = (0..8)
                    .map(|band| rows[one * 8 + band] * rows[other * 8 + band])
                    .sum();
                let expected = if one == other { 1.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-12, "{one} {other}");
            }
        }
    }

    #[test]
    fn refuses_more_coefficients_than_bands() {
        let input = schema([("sound", arrays::array_type(DataType::Float32, &[1000]))]);
        assert_eq!(
            codes(&stage::<Mfcc>("{rate: 8000, n_fft: 512, mels: 10}"), &input),
            ["out-of-range"]
        );
    }
}
