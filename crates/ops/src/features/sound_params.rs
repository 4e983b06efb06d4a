//! The params that `features.mel_spectrogram` and `features.mfcc` share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands before and behind a sound, so that every frame is centred on its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Padding {
    /// Its own samples, mirrored at the first and last one.
    #[default]
    Reflect,
    /// Silence.
    Zeros,
    /// Nothing: the first frame begins with the first sample.
    None,
}

/// How frequencies are brought to the scale of pitches as heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum MelScale {
    /// Linear up to 1000 Hz, logarithmic above (Slaney, Auditory Toolbox, 1998).
    #[default]
    Slaney,
    /// 2595 · log10(1 + f / 700) (O'Shaughnessy 1987), as the Hidden Markov Toolkit has it.
    Htk,
}

/// How the filters of mels are weighed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Norm {
    /// Each has the area 1, so that noise of all frequencies is as loud in each.
    #[default]
    Slaney,
    /// Each has the height 1.
    None,
}

/// What decibels are measured against.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Reference {
    /// This power.
    Power(#[schemars(extend("exclusiveMinimum" = 0))] f64),
    /// A rule.
    Rule(ReferenceRule),
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ReferenceRule {
    /// The loudest power of the sound itself, which becomes 0 dB.
    Max,
}

impl Default for Reference {
    fn default() -> Self {
        Self::Power(1.0)
    }
}

/// Defines a params struct over a sound column: its own params, then those of the mel spectrogram.
macro_rules! sound_params {
    ($(#[$about:meta])* struct $name:ident { $($own:tt)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct $name {
            /// The sound column: an array of samples.
            #[serde(default = "super::sound_params::sound_column")]
            column: String,
            /// The name of the new column; default: the sound column's, which it replaces.
            #[schemars(length(min = 1))]
            into: Option<String>,
            /// Samples a second, as `source.audio` read them.
            #[schemars(range(min = 1))]
            rate: u32,
            $($own)*
            /// Samples of a frame: the longer, the finer the frequencies and the coarser the times.
            #[serde(default = "super::sound_params::n_fft")]
            #[schemars(range(min = 2, max = 1_048_576))]
            n_fft: usize,
            /// Samples from one frame to the next.
            #[serde(default = "super::sound_params::hop")]
            #[schemars(range(min = 1, max = 1_048_576))]
            hop: usize,
            /// Samples of a frame that the window (Hann, periodic) lets through, in its middle; default: all of `n_fft`.
            #[schemars(range(min = 1, max = 1_048_576))]
            window: Option<usize>,
            /// What stands before and behind the sound, so that every frame is centred on its time.
            #[serde(default)]
            padding: super::sound_params::Padding,
            /// How many bands of pitch.
            #[serde(default = "super::sound_params::mels")]
            #[schemars(range(min = 1, max = 4096))]
            mels: usize,
            /// The lowest frequency, in Hz.
            #[serde(default)]
            #[schemars(range(min = 0))]
            lowest: f64,
            /// The highest frequency, in Hz; default: half of `rate`.
            #[schemars(range(min = 0))]
            highest: Option<f64>,
            /// How frequencies become pitches.
            #[serde(default)]
            mel_scale: super::sound_params::MelScale,
            /// How the bands are weighed against each other.
            #[serde(default)]
            norm: super::sound_params::Norm,
            /// What 0 dB is: a power, or `max` for the loudest of each sound.
            #[serde(default)]
            reference: super::sound_params::Reference,
            /// The least that counts, in dB below the loudest of each sound; null for no limit.
            #[serde(default = "super::sound_params::top_db")]
            #[schemars(range(min = 0))]
            top_db: Option<f64>,
        }

        impl $name {
            fn framing(&self) -> super::spectrum::Framing {
                super::spectrum::Framing {
                    rate: f64::from(self.rate),
                    n_fft: self.n_fft,
                    hop: self.hop,
                    window: self.window.unwrap_or(self.n_fft),
                    padding: self.padding,
                    mels: self.mels,
                    lowest: self.lowest,
                    highest: self.highest.unwrap_or(f64::from(self.rate) / 2.0),
                    mel_scale: self.mel_scale,
                    norm: self.norm,
                    reference: self.reference,
                    top_db: self.top_db,
                }
            }

            fn made(&self) -> &str {
                self.into.as_deref().unwrap_or(&self.column)
            }
        }
    };
}
pub(super) use sound_params;

pub(super) fn sound_column() -> String {
    "sound".into()
}
pub(super) fn n_fft() -> usize {
    2048
}
pub(super) fn hop() -> usize {
    512
}
pub(super) fn mels() -> usize {
    128
}
#[expect(
    clippy::unnecessary_wraps,
    reason = "the default of a param that may be null"
)]
pub(super) fn top_db() -> Option<f64> {
    Some(80.0)
}
