//! What a good tile looks like.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::source::synthetic::draws::Draws;

/// What a surface is like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Texture {
    /// Fine lines in one direction, as brushed metal.
    #[default]
    Brushed,
    /// Cloudy grain, as stone or leather.
    Grain,
    /// Two sets of threads across each other, as cloth.
    Woven,
}

/// A tile while it is drawn: brightness from 0 to 255, with room outside.
pub(super) struct Surface {
    size: usize,
    brightness: Vec<f64>,
}

impl Surface {
    /// A good tile.
    pub(super) fn draw(size: usize, texture: Texture, noise: f64, draws: &mut Draws) -> Self {
        let base = draws.between(105.0, 150.0);
        // Light from one side: the difference from one edge to the other.
        let (light, strength) = (
            draws.between(0.0, std::f64::consts::TAU),
            draws.between(0.0, 30.0),
        );
        let (slope_x, slope_y) = (light.cos() * strength, light.sin() * strength);
        let middle = size as f64 / 2.0;
        let mut surface = Self {
            size,
            brightness: Vec::with_capacity(size * size),
        };
        for y in 0..size {
            for x in 0..size {
                let (across, down) = (x as f64 - middle, y as f64 - middle);
                let lit = (slope_x * across + slope_y * down) / size as f64;
                surface.brightness.push(base + lit + noise * draws.normal());
            }
        }
        match texture {
            Texture::Brushed => surface.brush(draws),
            Texture::Grain => {
                surface.add_clouds(size as f64 / 6.0, 9.0, draws);
                surface.add_clouds(size as f64 / 20.0, 7.0, draws);
            }
            Texture::Woven => surface.weave(draws),
        }
        surface
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Adds to the brightness of each pixel what this says of its place.
    pub(super) fn add(&mut self, of: impl Fn(f64, f64) -> f64) {
        self.add_within(0.0, 0.0, self.size as f64 * 2.0, of);
    }

    /// As [`Surface::add`], for the pixels around a place only.
    pub(super) fn add_within(&mut self, x: f64, y: f64, radius: f64, of: impl Fn(f64, f64) -> f64) {
        let range = |at: f64| {
            let first = (at - radius).floor().max(0.0) as usize;
            let last = (at + radius).ceil().max(0.0) as usize;
            first.min(self.size)..(last + 1).min(self.size)
        };
        let columns = range(x);
        for row in range(y) {
            for column in columns.clone() {
                self.brightness[row * self.size + column] += of(column as f64, row as f64);
            }
        }
    }

    pub(super) fn into_pixels(self) -> Vec<u8> {
        self.brightness
            .into_iter()
            .map(|brightness| brightness.round().clamp(0.0, 255.0) as u8)
            .collect()
    }

    /// Lines in one direction, each with its own brightness.
    fn brush(&mut self, draws: &mut Draws) {
        let angle = draws.between(-0.3, 0.3);
        let (sine, cosine) = angle.sin_cos();
        let lines: Vec<f64> = (0..4 * self.size).map(|_| 9.0 * draws.normal()).collect();
        let middle = self.size as f64;
        self.add(|x, y| {
            // Across the lines, with two lines a pixel and those between mixed.
            let place = (2.0 * (y * cosine - x * sine) + middle).max(0.0);
            let line = place as usize;
            let part = place - line as f64;
            let at = |line: usize| lines.get(line).copied().unwrap_or(0.0);
            at(line) * (1.0 - part) + at(line + 1) * part
        });
    }

    /// Smooth random clouds about so many pixels wide.
    fn add_clouds(&mut self, width: f64, deviation: f64, draws: &mut Draws) {
        let clouds = Clouds::draw(self.size, width.max(2.0), draws);
        self.add(|x, y| deviation * clouds.at(x, y));
    }

    fn weave(&mut self, draws: &mut Draws) {
        let angle = draws.between(0.0, std::f64::consts::PI);
        let pitch = draws.between(5.0, 8.0);
        let phase = draws.between(0.0, std::f64::consts::TAU);
        let (sine, cosine) = angle.sin_cos();
        let turn = std::f64::consts::TAU / pitch;
        self.add(|x, y| {
            let warp = (turn * (x * cosine + y * sine) + phase).sin();
            let weft = (turn * (y * cosine - x * sine) + phase).sin();
            11.0 * warp * weft + 4.0 * (warp + weft)
        });
        self.add_clouds(self.size as f64 / 5.0, 5.0, draws);
    }
}

/// A smooth random field with mean 0 and standard deviation about 1: values on a lattice, mixed in between (value noise).
pub(super) struct Clouds {
    width: f64,
    columns: usize,
    lattice: Vec<f64>,
}

impl Clouds {
    pub(super) fn draw(size: usize, width: f64, draws: &mut Draws) -> Self {
        let columns = (size as f64 / width).ceil() as usize + 2;
        Self {
            width,
            columns,
            // Mixing four values makes the field less wide than they are.
            lattice: (0..columns * columns)
                .map(|_| 1.5 * draws.normal())
                .collect(),
        }
    }

    pub(super) fn at(&self, x: f64, y: f64) -> f64 {
        let (column, across) = split(x / self.width);
        let (row, down) = split(y / self.width);
        let value = |row: usize, column: usize| {
            let (row, column) = (row.min(self.columns - 1), column.min(self.columns - 1));
            self.lattice[row * self.columns + column]
        };
        let upper = value(row, column) * (1.0 - across) + value(row, column + 1) * across;
        let lower = value(row + 1, column) * (1.0 - across) + value(row + 1, column + 1) * across;
        upper * (1.0 - down) + lower * down
    }
}

/// A whole number and how far it is to the next, eased in and out so that no lattice is seen.
fn split(place: f64) -> (usize, f64) {
    let whole = place.max(0.0).floor();
    let part = (place - whole).clamp(0.0, 1.0);
    (whole as usize, part * part * (3.0 - 2.0 * part))
}
