//! Another size for images: grey, resized, cut out.

use image::{DynamicImage, GrayImage, RgbImage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{Column, ParamPath, path};

use crate::pixels::Filter;

/// The longest side that a new image may have.
const MOST_PIXELS: u32 = 8192;

/// A new size. Where only one side is given, the other keeps the image's proportions, rounded.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resize {
    /// The width, in pixels.
    #[schemars(range(min = 1, max = 8192))]
    width: Option<u32>,
    /// The height, in pixels.
    #[schemars(range(min = 1, max = 8192))]
    height: Option<u32>,
    /// How pixels are made out of others: `triangle` is bilinear.
    #[serde(default)]
    filter: Filter,
}

/// The size of the part that stays.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Crop {
    /// The width, in pixels.
    #[schemars(range(min = 1, max = 8192))]
    width: u32,
    /// The height, in pixels.
    #[schemars(range(min = 1, max = 8192))]
    height: u32,
}

/// What a spec wants of images.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) grey: bool,
    pub(super) resize: Option<Resize>,
    pub(super) crop: Option<Crop>,
}

impl Wanted {
    /// Whether anything is to be done.
    pub(super) fn is_any(self) -> bool {
        self.grey || self.resize.is_some() || self.crop.is_some()
    }
}

/// Height, width and channels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    pub(super) height: u32,
    pub(super) width: u32,
    pub(super) channels: u32,
}

impl Size {
    pub(super) fn of(column: &Column) -> Option<Self> {
        let (shape, _) = column.array()?;
        let sides: Vec<u32> = shape
            .iter()
            .map(|side| u32::try_from(*side).ok())
            .collect::<Option<_>>()?;
        match sides[..] {
            [height, width, channels] => Some(Self {
                height,
                width,
                channels,
            }),
            [height, width] => Some(Self {
                height,
                width,
                channels: 1,
            }),
            _ => None,
        }
    }

    pub(super) fn shape(self) -> [usize; 3] {
        [self.height, self.width, self.channels].map(|side| side as usize)
    }
}

/// What is done to the pixels of one image before they are scaled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reshaping {
    old: Size,
    grey: bool,
    resized: Option<(u32, u32, Filter)>,
    crop: Option<Crop>,
    /// What comes out.
    pub(super) new: Size,
}

impl Reshaping {
    /// What becomes of images of this size; what cannot be done is reported, where there is someone to hear it.
    pub(super) fn of(
        column: &str,
        wanted: Wanted,
        old: Size,
        mut report: impl FnMut(ParamPath, String),
    ) -> Option<Self> {
        let mut new = old;
        let mut is_possible = true;
        if !matches!(old.channels, 1 | 3) {
            report(
                path!["column"],
                format!(
                    "images have one channel or three, but `{}` has {}",
                    column, old.channels
                ),
            );
            return None;
        }
        if wanted.grey {
            if old.channels == 1 {
                report(path!["grey"], format!("`{}` is grey already", column));
                is_possible = false;
            }
            new.channels = 1;
        }
        let mut resized = None;
        if let Some(resize) = wanted.resize {
            // Exact in u64; the least side is one pixel.
            let kept = |side: u32, by: u32, of: u32| {
                let scaled =
                    (u64::from(side) * u64::from(by) + u64::from(of) / 2) / u64::from(of.max(1));
                u32::try_from(scaled.max(1)).unwrap_or(u32::MAX)
            };
            let (width, height) = match (resize.width, resize.height) {
                (Some(width), Some(height)) => (width, height),
                (Some(width), None) => (width, kept(old.height, width, old.width)),
                (None, Some(height)) => (kept(old.width, height, old.height), height),
                (None, None) => {
                    report(
                        path!["resize"],
                        "a new size needs a width or a height".to_owned(),
                    );
                    return None;
                }
            };
            if width.max(height) > MOST_PIXELS {
                report(
                    path!["resize"],
                    format!("images of {width} × {height} pixels are too large"),
                );
                return None;
            }
            new = Size {
                width,
                height,
                ..new
            };
            resized = Some((width, height, resize.filter));
        }
        if let Some(crop) = wanted.crop {
            for (key, side, of) in [
                ("width", crop.width, new.width),
                ("height", crop.height, new.height),
            ] {
                if side > of {
                    report(
                        path!["crop", key],
                        format!(
                            "the images have a {key} of {of}, so that {side} cannot be cut out of it"
                        ),
                    );
                    is_possible = false;
                }
            }
            new = Size {
                width: crop.width,
                height: crop.height,
                ..new
            };
        }
        is_possible.then_some(Self {
            old,
            grey: wanted.grey,
            resized,
            crop: wanted.crop,
            new,
        })
    }

    /// Writes the new image over `new`.
    ///
    /// # Errors
    /// The bytes are not as many as the size says, in a line.
    pub(super) fn apply(&self, old: &[u8], new: &mut [u8]) -> Result<(), String> {
        let (width, height) = (self.old.width, self.old.height);
        let pixels = old.to_vec();
        let mut image = match self.old.channels {
            1 => GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8),
            _ => RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8),
        }
        .ok_or("the image has another size than its type says")?;
        if self.grey {
            image = DynamicImage::ImageLuma8(image.into_luma8());
        }
        if let Some((width, height, filter)) = self.resized {
            image = image.resize_exact(width, height, filter.kernel());
        }
        if let Some(Crop { width, height }) = self.crop {
            let left = (image.width() - width) / 2;
            let top = (image.height() - height) / 2;
            image = image.crop_imm(left, top, width, height);
        }
        new.copy_from_slice(image.as_bytes());
        Ok(())
    }
}
