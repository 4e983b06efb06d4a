//! Images changed a little each time they are learned from.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{TchError, Tensor};

use crate::{
    network::noise,
    protocol::{Augmentation, Flip},
};

/// Streams of the batch's draw: far from those of layers.
const PLACES: u64 = 1 << 32;
const NOISE: u64 = PLACES + 1;

/// A batch of images (rows, channels, height, width), each turned, moved, cut and mirrored by its own draw.
pub(crate) fn augmented(images: Tensor, by: &Augmentation, draw: u64) -> Result<Tensor, TchError> {
    let size = images.size();
    let mut images = images;
    if by.flip.is_some() || by.rotate > 0.0 || by.shift > 0.0 || by.crop.is_some() {
        let mut generator = ChaCha8Rng::seed_from_u64(draw);
        generator.set_stream(PLACES);
        let ratio = size[2] as f32 / size[3].max(1) as f32;
        let transforms: Vec<f32> = (0..size[0])
            .flat_map(|_| transform(by, ratio, &mut generator))
            .collect();
        let transforms = Tensor::f_from_slice(&transforms)?
            .f_reshape([-1, 2, 3])?
            .f_to_device(images.device())?;
        let grid = Tensor::f_affine_grid_generator(&transforms, &size, false)?;
        // Bilinear; beyond the edge is nothing.
        images = images.f_grid_sampler(&grid, 0, 0, false)?;
    }
    if by.noise > 0.0 {
        let noise = noise(&size, draw, NOISE)?.f_to_device(images.device())?;
        images = images.f_add(&noise.f_mul_scalar(by.noise)?)?;
    }
    Ok(images)
}

/// Where each place of the new image lies in the old one, both from -1 to 1: two rows of (x, y, 1).
fn transform(by: &Augmentation, ratio: f32, generator: &mut ChaCha8Rng) -> [f32; 6] {
    let mut within = |limit: f32| match limit > 0.0 {
        true => generator.random_range(-limit..=limit),
        false => 0.0,
    };
    let angle = within(by.rotate as f32).to_radians();
    let (mut across, mut down) = (2.0 * within(by.shift as f32), 2.0 * within(by.shift as f32));
    let scale = match by.crop {
        Some(least) if least < 1.0 => {
            let scale = (1.0 + least as f32) / 2.0 + within((1.0 - least as f32) / 2.0);
            across += within(1.0 - scale);
            down += within(1.0 - scale);
            scale
        }
        _ => 1.0,
    };
    let mut mirrored = |is_wanted: bool| match is_wanted && generator.random::<bool>() {
        true => -1.0,
        false => 1.0,
    };
    let horizontal = mirrored(matches!(by.flip, Some(Flip::Horizontal | Flip::Both)));
    let vertical = mirrored(matches!(by.flip, Some(Flip::Vertical | Flip::Both)));
    let (sine, cosine) = angle.sin_cos();
    // The sides of an image count 2 each, however long they are, so that a turn must know their ratio.
    [
        scale * horizontal * cosine,
        -scale * vertical * sine * ratio,
        across,
        scale * horizontal * sine / ratio,
        scale * vertical * cosine,
        down,
    ]
}
