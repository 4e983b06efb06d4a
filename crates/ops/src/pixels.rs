//! What the stages over images share.

use image::imageops;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How images are resized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Filter {
    /// The nearest pixel; keeps hard edges and label colours.
    Nearest,
    /// Linear, over all pixels that shrink into one.
    #[default]
    Triangle,
    /// Lanczos with window 3: sharper, slower.
    Lanczos,
}

impl Filter {
    /// As the `image` crate names it.
    pub(crate) fn kernel(self) -> imageops::FilterType {
        match self {
            Self::Nearest => imageops::FilterType::Nearest,
            Self::Triangle => imageops::FilterType::Triangle,
            Self::Lanczos => imageops::FilterType::Lanczos3,
        }
    }
}
