//! Mel spectrograms: what `features.mel_spectrogram` and `features.mfcc` share.
//!
//! Definitions as in librosa 0.11 (McFee and others, "librosa: audio and music signal analysis in Python", SciPy 2015).

use std::{f64::consts::PI, sync::Arc};

use realfft::{RealFftPlanner, RealToComplex};
use taktline_core::{CheckContext, Problem, Schema, path};

use super::sound_params::{MelScale, Norm, Padding, Reference, ReferenceRule};
use crate::columns;

/// Powers below this count as this much: the logarithm of nothing has no value.
const LEAST_POWER: f32 = 1e-10;

/// How a sound is cut into frames, and its frequencies into bands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Framing {
    /// Samples a second.
    pub(super) rate: f64,
    pub(super) n_fft: usize,
    pub(super) hop: usize,
    pub(super) window: usize,
    pub(super) padding: Padding,
    pub(super) mels: usize,
    /// Hz.
    pub(super) lowest: f64,
    /// Hz.
    pub(super) highest: f64,
    pub(super) mel_scale: MelScale,
    pub(super) norm: Norm,
    pub(super) reference: Reference,
    pub(super) top_db: Option<f64>,
}

impl Framing {
    /// Samples before and behind the sound.
    fn margin(&self) -> usize {
        match self.padding {
            Padding::None => 0,
            Padding::Reflect | Padding::Zeros => self.n_fft / 2,
        }
    }

    /// How many frames a sound of so many samples has.
    pub(super) fn frames(&self, samples: usize) -> usize {
        match (samples + 2 * self.margin()).checked_sub(self.n_fft) {
            Some(rest) => 1 + rest / self.hop,
            None => 0,
        }
    }

    /// The number of frames of the column's sounds, if they can be had; every problem is reported.
    pub(super) fn check(
        &self,
        column: &str,
        made: &str,
        input: &Schema,
        cx: &mut CheckContext<'_>,
    ) -> Option<usize> {
        let mut refuse = |key: &str, message: String, label: &str| {
            cx.report(Problem::error("out-of-range", path![key], message).label(label));
        };
        if self.window > self.n_fft {
            refuse(
                "window",
                format!(
                    "a window of {} samples is longer than a frame of {}",
                    self.window, self.n_fft
                ),
                "`n_fft` at most",
            );
        }
        if self.highest <= self.lowest || self.highest > self.rate / 2.0 {
            refuse(
                "highest",
                format!(
                    "the highest frequency is {} Hz, but it must be above the lowest ({} Hz) and at most half of the rate ({} Hz)",
                    self.highest,
                    self.lowest,
                    self.rate / 2.0
                ),
                "no frequencies in between",
            );
        } else {
            let empty = self
                .bank()
                .iter()
                .filter(|filter| filter.weights.is_empty())
                .count();
            if empty > 0 {
                cx.report(
                    Problem::warning(
                        "empty-bands",
                        path!["mels"],
                        format!("{empty} of {} bands of pitch are narrower than the steps of a frame of {} samples, and stay empty", self.mels, self.n_fft),
                    )
                    .label("more bands than frequencies")
                    .help("take fewer `mels` or a larger `n_fft`"),
                );
            }
        }
        if let Reference::Power(power) = self.reference
            && !(power > 0.0 && power.is_finite())
        {
            cx.report(
                Problem::error(
                    "out-of-range",
                    path!["reference"],
                    format!("0 dB cannot be a power of {power}"),
                )
                .label("needs to be above 0"),
            );
        }
        let found = columns::find(input, column, path!["column"], cx)?;
        let samples = match found.array() {
            Some((shape, item)) if shape.len() == 1 && item.is_float() => shape[0],
            _ => {
                columns::report_type(
                    found,
                    "sounds (arrays of real numbers)",
                    path!["column"],
                    cx,
                );
                return None;
            }
        };
        if made != column && !columns::is_free(input, made, path!["into"], cx) {
            return None;
        }
        let least = match self.padding {
            Padding::None => self.n_fft,
            Padding::Reflect => self.n_fft / 2 + 1,
            Padding::Zeros => 1,
        };
        if samples < least {
            cx.report(
                Problem::error(
                    "out-of-range",
                    path!["n_fft"],
                    format!(
                        "`{column}` has {samples} samples, too few for frames of {}",
                        self.n_fft
                    ),
                )
                .label(format!("needs at least {least} samples"))
                .help("take a smaller `n_fft`, or longer sounds"),
            );
            return None;
        }
        Some(self.frames(samples))
    }

    /// The triangular filters of the bands.
    fn bank(&self) -> Vec<Filter> {
        let low = self.mel_scale.mel(self.lowest);
        let high = self.mel_scale.mel(self.highest);
        let edges: Vec<f64> = (0..self.mels + 2)
            .map(|edge| {
                let share = edge as f64 / (self.mels + 1) as f64;
                self.mel_scale.hertz(low + (high - low) * share)
            })
            .collect();
        let step = self.rate / self.n_fft as f64;
        edges
            .windows(3)
            .map(|edges| {
                let (left, centre, right) = (edges[0], edges[1], edges[2]);
                let height = match self.norm {
                    Norm::Slaney => 2.0 / (right - left),
                    Norm::None => 1.0,
                };
                let weight = |bin: usize| {
                    let frequency = bin as f64 * step;
                    let rising = (frequency - left) / (centre - left);
                    let falling = (right - frequency) / (right - centre);
                    (rising.min(falling).max(0.0) * height) as f32
                };
                let first = (0..=self.n_fft / 2)
                    .find(|bin| weight(*bin) > 0.0)
                    .unwrap_or_default();
                let weights = (first..=self.n_fft / 2)
                    .map(weight)
                    .take_while(|weight| *weight > 0.0)
                    .collect();
                Filter { first, weights }
            })
            .collect()
    }
}

impl MelScale {
    /// From Hz.
    fn mel(self, hertz: f64) -> f64 {
        match self {
            Self::Htk => 2595.0 * (1.0 + hertz / 700.0).log10(),
            Self::Slaney if hertz < KNEE => hertz / SLOPE,
            Self::Slaney => KNEE / SLOPE + (hertz / KNEE).ln() / log_step(),
        }
    }

    /// To Hz.
    fn hertz(self, mel: f64) -> f64 {
        match self {
            Self::Htk => 700.0 * (10_f64.powf(mel / 2595.0) - 1.0),
            Self::Slaney if mel < KNEE / SLOPE => mel * SLOPE,
            Self::Slaney => KNEE * ((mel - KNEE / SLOPE) * log_step()).exp(),
        }
    }
}

/// Hz, where Slaney's scale turns logarithmic.
const KNEE: f64 = 1000.0;
/// Hz a mel below it.
const SLOPE: f64 = 200.0 / 3.0;

/// 27 mels above the knee are a factor of 6.4.
fn log_step() -> f64 {
    6.4_f64.ln() / 27.0
}

/// The weights of a band, from the first frequency on that counts.
#[derive(Debug, Clone, PartialEq)]
struct Filter {
    first: usize,
    weights: Vec<f32>,
}

/// Makes mel spectrograms; may be shared between threads.
pub(super) struct Spectrum {
    framing: Framing,
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    bank: Vec<Filter>,
}

impl Spectrum {
    pub(super) fn new(framing: Framing) -> Self {
        let length = framing.window.min(framing.n_fft);
        let mut window = vec![0.0; framing.n_fft];
        let start = (framing.n_fft - length) / 2;
        for (index, weight) in window[start..start + length].iter_mut().enumerate() {
            *weight = (0.5 - 0.5 * (2.0 * PI * index as f64 / length as f64).cos()) as f32;
        }
        Self {
            transform: RealFftPlanner::new().plan_fft_forward(framing.n_fft),
            window,
            bank: framing.bank(),
            framing,
        }
    }

    /// The powers of each band (rows) in each frame (columns) of a sound, row by row.
    ///
    /// # Errors
    /// A sample that is infinite or not a number, in a line: it would be lost in the decibels.
    pub(super) fn powers(&self, sound: &[f32], powers: &mut [f32]) -> Result<(), String> {
        if let Some(place) = sound.iter().position(|sample| !sample.is_finite()) {
            return Err(format!("sample {} is {}", place + 1, sound[place]));
        }
        let frames = self.framing.frames(sound.len());
        let margin = self.framing.margin() as isize;
        let mut frame = self.transform.make_input_vec();
        let mut frequencies = self.transform.make_output_vec();
        let mut scratch = self.transform.make_scratch_vec();
        for index in 0..frames {
            let start = (index * self.framing.hop) as isize - margin;
            for (offset, (value, weight)) in frame.iter_mut().zip(&self.window).enumerate() {
                *value = weight * self.sample(sound, start + offset as isize);
            }
            self.transform
                .process_with_scratch(&mut frame, &mut frequencies, &mut scratch)
                .map_err(|error| error.to_string())?;
            for (band, filter) in self.bank.iter().enumerate() {
                powers[band * frames + index] = frequencies[filter.first..]
                    .iter()
                    .zip(&filter.weights)
                    .map(|(frequency, weight)| frequency.norm_sqr() * weight)
                    .sum();
            }
        }
        Ok(())
    }

    fn sample(&self, sound: &[f32], place: isize) -> f32 {
        let last = sound.len() as isize - 1;
        let place = match self.framing.padding {
            // A sound is longer than half a frame, so that one reflection is enough.
            Padding::Reflect if place < 0 => -place,
            Padding::Reflect if place > last => 2 * last - place,
            _ => place,
        };
        usize::try_from(place)
            .ok()
            .and_then(|place| sound.get(place))
            .copied()
            .unwrap_or(0.0)
    }

    /// Turns powers into decibels.
    pub(super) fn decibels(&self, powers: &mut [f32]) {
        let loudest = powers.iter().copied().fold(0.0, f32::max);
        let reference = match self.framing.reference {
            Reference::Power(power) => power as f32,
            Reference::Rule(ReferenceRule::Max) => loudest,
        };
        let zero = 10.0 * reference.max(LEAST_POWER).log10();
        let decibel = |power: f32| 10.0 * power.max(LEAST_POWER).log10() - zero;
        let least = match self.framing.top_db {
            Some(below) => decibel(loudest) - below as f32,
            None => f32::NEG_INFINITY,
        };
        for power in powers {
            *power = decibel(*power).max(least);
        }
    }
}

/// The number of frames of the sounds of a column, where there is such a column.
pub(super) fn frames_of(framing: &Framing, input: &Schema, column: &str) -> Option<usize> {
    let (shape, _) = input.column(column)?.array()?;
    Some(framing.frames(shape.iter().product()))
}

/// What the tests of both kinds start from.
#[cfg(test)]
pub(super) mod testing {
    use polars::prelude::{DataFrame, Float32Type};

    use crate::features::arrays;

    /// The rising tone of `tests/peers/sound.py`.
    pub(in crate::features) fn chirp() -> DataFrame {
        let samples: Vec<f32> = (0..4000)
            .map(|index| {
                let time = f64::from(index) / 8000.0;
                let phase = 2.0 * std::f64::consts::PI * (200.0 * time + 750.0 * time * time);
                (0.5 * (-2.0 * time).exp() * phase.sin()) as f32
            })
            .collect();
        let sound = arrays::assemble::<Float32Type>("sound".into(), &[4000], samples, None, 1)
            .expect("a sound");
        DataFrame::new(1, vec![sound]).expect("a frame")
    }

    /// The shape of an array column and the numbers of its rows that are not null.
    pub(in crate::features) fn numbers(frame: &DataFrame, name: &str) -> (Vec<usize>, Vec<f32>) {
        let column = frame.column(name).expect("there").drop_nulls();
        let described = taktline_core::Column::new("", column.dtype().clone());
        let (shape, _) = described.array().expect("an array");
        let leaf = column.as_materialized_series().get_leaf_array();
        (
            shape,
            leaf.f32().expect("numbers").into_no_null_iter().collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_inverses_and_meet_known_points() {
        for scale in [MelScale::Slaney, MelScale::Htk] {
            for hertz in [0.0, 440.0, 999.0, 1000.0, 4000.0, 11025.0] {
                assert!(
                    (scale.hertz(scale.mel(hertz)) - hertz).abs() < 1e-8,
                    "{scale:?} {hertz}"
                );
            }
        }
        assert!((MelScale::Slaney.mel(1000.0) - 15.0).abs() < 1e-12);
        assert!((MelScale::Slaney.mel(6400.0) - 42.0).abs() < 1e-12);
        assert!((MelScale::Htk.mel(1000.0) - 999.9855).abs() < 1e-4);
    }
}
