//! The range that pixels get.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{CheckContext, Problem, path};

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Scale {
    /// A named range.
    Named(NamedScale),
    /// Around 0, by what is known about the pixels.
    Standard(StandardScale),
}

impl Default for Scale {
    fn default() -> Self {
        Self::Named(NamedScale::Unit)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum NamedScale {
    /// 0 to 1.
    Unit,
    /// 0 to 255, as they are.
    None,
}

/// Pixels of a known mean and standard deviation; one number, or one for each channel.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StandardScale {
    /// The pixels' mean, from 0 to 1, where black is 0 and white is 1; it becomes 0.
    mean: Channels,
    /// The pixels' standard deviation, above 0, where black is 0 and white is 1; it becomes 1.
    std: Channels,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Channels {
    /// The same for all channels.
    All(f64),
    /// One number for each channel, in their order.
    Each(#[schemars(length(min = 1))] Vec<f64>),
}

impl Channels {
    fn numbers(&self) -> &[f64] {
        match self {
            Self::All(number) => std::slice::from_ref(number),
            Self::Each(numbers) => numbers,
        }
    }

    fn of(&self, channel: usize) -> f64 {
        match self {
            Self::All(number) => *number,
            Self::Each(numbers) => numbers.get(channel).copied().unwrap_or(f64::NAN),
        }
    }
}

impl Scale {
    /// What each byte of a channel is multiplied by, and what is added then.
    pub(super) fn factor_and_offset(&self, channel: usize) -> (f64, f64) {
        match self {
            Self::Named(NamedScale::Unit) => (1.0 / 255.0, 0.0),
            Self::Named(NamedScale::None) => (1.0, 0.0),
            Self::Standard(StandardScale { mean, std }) => {
                let (mean, std) = (mean.of(channel), std.of(channel));
                (1.0 / (255.0 * std), -mean / std)
            }
        }
    }

    /// Whether channels have numbers of their own.
    pub(super) fn differs_by_channel(&self) -> bool {
        match self {
            Self::Named(_) => false,
            Self::Standard(StandardScale { mean, std }) => {
                mean.numbers().len() > 1 || std.numbers().len() > 1
            }
        }
    }

    /// Reports numbers that cannot be.
    pub(super) fn check(&self, channels: Option<usize>, cx: &mut CheckContext<'_>) {
        let Self::Standard(StandardScale { mean, std }) = self else {
            return;
        };
        for (key, numbers) in [("mean", mean), ("std", std)] {
            let place = |index: usize| match numbers {
                Channels::All(_) => path!["scale", key],
                Channels::Each(_) => path!["scale", key, index],
            };
            for (index, number) in numbers.numbers().iter().enumerate() {
                let (fits, needs) = match key {
                    "mean" => ((0.0..=1.0).contains(number), "from 0 to 1"),
                    _ => (*number > 0.0 && number.is_finite(), "above 0"),
                };
                if !fits {
                    cx.report(
                        Problem::error(
                            "out-of-range",
                            place(index),
                            format!("`{key}` is {number}, but needs to be {needs}"),
                        )
                        .label("black is 0, white is 1"),
                    );
                }
            }
            if let (Channels::Each(numbers), Some(channels)) = (numbers, channels)
                && numbers.len() != channels
            {
                cx.report(
                    Problem::error(
                        "wrong-length",
                        path!["scale", key],
                        format!(
                            "`{key}` has {} numbers for {channels} channels",
                            numbers.len()
                        ),
                    )
                    .label("one number for all, or one for each channel"),
                );
            }
        }
    }
}
