//! `source.synthetic.tiles`.

use polars::prelude::{DataFrame, DataType, IntoColumn, NamedFrom, Series};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{CheckContext, Column, Problem, Result, path, register_kind};

use super::{Generator, draws::Draws, generated_source};
use crate::source::images::{image_column, image_type};

mod defects;
mod surface;

use defects::Defect;
use surface::{Surface, Texture};

/// Generate grey images of surfaces, some of them with a defect.
///
/// A stand-in for the inspection of textured surfaces, with defects by the classes of usual benchmark sets (such as P. Bergmann,
/// M. Fauser, D. Sattlegger, C. Steger: "MVTec AD – A comprehensive real-world dataset for unsupervised anomaly detection",
/// CVPR 2019). Every tile has its own brightness, light from one side, texture and noise, all of which vary more than most
/// defects do, so that neither the brightness of a tile nor its darkest pixel tells the class. A `scratch` is a thin line,
/// bright or dark; a `spot` is small and dark; a `dent` is shaded, bright on one side and dark on the other; a `stain` is
/// large, faint and irregular; a `crack` is a dark jagged line with branches.
///
/// Gives `tile` (a number from 1), `image` (an array of height × width × 1 of `u8`) and `label` (`good` or the defect). The
/// same seed gives the same tiles; more tiles do not change those before.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tiles {
    /// Tiles in all.
    #[schemars(range(min = 1, max = 1_000_000))]
    rows: u64,
    /// The width and height, in pixels.
    #[serde(default = "size")]
    #[schemars(range(min = 16, max = 1024))]
    size: u32,
    /// The share of tiles with a defect.
    #[serde(default = "defective")]
    #[schemars(range(min = 0.0, max = 1.0))]
    defective: f64,
    /// The defects; each is as frequent as the others.
    #[serde(default = "defects")]
    #[schemars(length(min = 1))]
    defects: Vec<Defect>,
    /// What the surface is like.
    #[serde(default)]
    texture: Texture,
    /// How well defects are seen: half as much contrast at 0.5.
    #[serde(default = "contrast")]
    #[schemars(range(min = 0.0, max = 3.0))]
    contrast: f64,
    /// The standard deviation of the noise of a pixel, of 255.
    #[serde(default = "noise")]
    #[schemars(range(min = 0.0, max = 64.0))]
    noise: f64,
    /// The seed; the pipeline's by default.
    seed: Option<u64>,
}

fn size() -> u32 {
    64
}

fn defective() -> f64 {
    0.5
}

fn defects() -> Vec<Defect> {
    Defect::ALL.to_vec()
}

fn contrast() -> f64 {
    1.0
}

fn noise() -> f64 {
    4.0
}

register_kind! {
    Tiles, "source.synthetic.tiles", version: 1,
    example: "- source.synthetic.tiles: {rows: 2000, size: 32, defects: [scratch, spot, stain], seed: 7}",
}

generated_source!(Tiles);

/// The label of a tile without a defect.
const GOOD: &str = "good";

impl Tiles {
    /// What is wrong with the tile of that number, if anything is, and its pixels, row by row.
    fn tile(&self, seed: u64, number: u64) -> (Option<Defect>, Vec<u8>) {
        // What the tile is like and what is wrong with it are streams apart: with and without a defect it is the same surface.
        let mut draws = Draws::new(seed, 2 * number);
        let mut surface = Surface::draw(self.size as usize, self.texture, self.noise, &mut draws);
        let mut draws = Draws::new(seed, 2 * number + 1);
        let defect = draws
            .chance(self.defective)
            .then(|| self.defects[draws.below(self.defects.len())]);
        if let Some(defect) = defect {
            defect.draw(&mut surface, self.contrast, &mut draws);
        }
        (defect, surface.into_pixels())
    }
}

impl Generator for Tiles {
    fn seed(&self) -> Option<u64> {
        self.seed
    }

    fn columns(&self) -> Vec<Column> {
        let size = self.size as usize;
        let mut labels = vec![GOOD.to_owned()];
        labels.extend(
            Defect::ALL
                .into_iter()
                .filter(|defect| self.defects.contains(defect))
                .map(|defect| defect.label().to_owned()),
        );
        vec![
            Column::new("tile", DataType::Int64),
            Column::new("image", image_type(size, size, 1)),
            Column::new("label", DataType::String).with_categories(labels),
        ]
    }

    fn report(&self, cx: &mut CheckContext<'_>) {
        for (index, defect) in self.defects.iter().enumerate() {
            if self.defects[..index].contains(defect) {
                let name = defect.label();
                cx.report(
                    Problem::error(
                        "duplicate-name",
                        path!["defects", index],
                        format!("stage `{}` names `{name}` twice", cx.stage),
                    )
                    .label("named before"),
                );
            }
        }
    }

    fn generate(&self, seed: u64) -> Result<DataFrame> {
        let rows = usize::try_from(self.rows).unwrap_or(usize::MAX);
        let size = self.size as usize;
        let mut pixels = vec![0_u8; rows * size * size];
        let labels: Vec<&str> = pixels
            .par_chunks_mut(size * size)
            .enumerate()
            .map(|(number, tile)| {
                let (defect, drawn) = self.tile(seed, number as u64);
                tile.copy_from_slice(&drawn);
                defect.map_or(GOOD, Defect::label)
            })
            .collect();
        let numbers: Vec<i64> = (1..=rows as i64).collect();
        let columns = vec![
            Series::new("tile".into(), numbers).into_column(),
            image_column("image", pixels, rows, size, size, 1)?,
            Series::new("label".into(), labels).into_column(),
        ];
        Ok(DataFrame::new(rows, columns)?)
    }
}

#[cfg(test)]
mod tests;
