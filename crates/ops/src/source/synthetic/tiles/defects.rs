//! What can be wrong with a tile.

use schemars::JsonSchema;
use serde::Deserialize;

use super::surface::{Clouds, Surface};
use crate::source::synthetic::draws::Draws;

/// A defect of a surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Defect {
    /// A thin line, bright or dark.
    Scratch,
    /// Small and dark.
    Spot,
    /// Bright on one side, dark on the other.
    Dent,
    /// Large, faint and irregular.
    Stain,
    /// A dark jagged line with branches.
    Crack,
}

impl Defect {
    pub(super) const ALL: [Self; 5] = [
        Self::Scratch,
        Self::Spot,
        Self::Dent,
        Self::Stain,
        Self::Crack,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Scratch => "scratch",
            Self::Spot => "spot",
            Self::Dent => "dent",
            Self::Stain => "stain",
            Self::Crack => "crack",
        }
    }

    /// Draws the defect onto a good tile.
    pub(super) fn draw(self, surface: &mut Surface, contrast: f64, draws: &mut Draws) {
        let size = surface.size() as f64;
        let inside = |draws: &mut Draws, margin: f64| {
            (
                draws.between(margin * size, (1.0 - margin) * size),
                draws.between(margin * size, (1.0 - margin) * size),
            )
        };
        match self {
            Self::Scratch => {
                let start = inside(draws, 0.15);
                let bright = if draws.chance(0.5) { 1.0 } else { -1.0 };
                let stroke = Stroke {
                    depth: contrast * bright * draws.between(30.0, 60.0),
                    width: draws.between(0.6, 1.1),
                };
                let mut line = Line::draw(start, draws);
                line.bend = draws.between(-0.01, 0.01);
                let length = draws.between(0.35, 0.8) * size;
                stroke.along(surface, &line.path(length, 0.0, draws));
            }
            Self::Spot => {
                let (x, y) = inside(draws, 0.12);
                let radius = (draws.between(0.03, 0.07) * size).max(1.2);
                let depth = contrast * draws.between(40.0, 75.0);
                surface.add_within(x, y, 2.5 * radius, |column, row| {
                    let distance = (column - x).hypot(row - y) / radius;
                    // Flat inside, with a soft edge.
                    -depth / (1.0 + (6.0 * (distance - 1.0)).exp())
                });
            }
            Self::Dent => {
                let (x, y) = inside(draws, 0.2);
                let radius = draws.between(0.08, 0.15) * size;
                let depth = contrast * draws.between(35.0, 60.0);
                let light = draws.between(0.0, std::f64::consts::TAU);
                let (sine, cosine) = light.sin_cos();
                surface.add_within(x, y, 3.5 * radius, |column, row| {
                    let (across, down) = ((column - x) / radius, (row - y) / radius);
                    let slope = across * cosine + down * sine;
                    // The slope of a bell, which is largest (0.61) one radius from the middle.
                    depth / 0.61 * slope * (-(across * across + down * down) / 2.0).exp()
                });
            }
            Self::Stain => {
                let (x, y) = inside(draws, 0.25);
                let radius = draws.between(0.15, 0.28) * size;
                let depth = contrast * draws.between(14.0, 26.0);
                let clouds = Clouds::draw(surface.size(), radius / 1.5, draws);
                surface.add_within(x, y, 2.0 * radius, |column, row| {
                    let distance = (column - x).hypot(row - y) / radius;
                    let edge = distance + 0.25 * clouds.at(column, row).clamp(-2.0, 2.0);
                    -depth / (1.0 + (8.0 * (edge - 1.0)).exp())
                });
            }
            Self::Crack => {
                let start = inside(draws, 0.25);
                let stroke = Stroke {
                    depth: -contrast * draws.between(40.0, 70.0),
                    width: draws.between(0.5, 0.9),
                };
                let line = Line::draw(start, draws);
                let length = draws.between(0.35, 0.65) * size;
                let trunk = line.path(length, 0.35, draws);
                stroke.along(surface, &trunk);
                for _ in 0..1 + draws.below(3) {
                    let from = trunk[draws.below(trunk.len())];
                    let side = if draws.chance(0.5) { 0.9 } else { -0.9 };
                    let branch = Line {
                        start: from,
                        direction: line.direction + side,
                        bend: 0.0,
                    };
                    let length = draws.between(0.1, 0.25) * size;
                    stroke.along(surface, &branch.path(length, 0.35, draws));
                }
            }
        }
    }
}

struct Line {
    start: (f64, f64),
    direction: f64,
    /// How much the direction changes a pixel.
    bend: f64,
}

impl Line {
    fn draw(start: (f64, f64), draws: &mut Draws) -> Self {
        Self {
            start,
            direction: draws.between(0.0, std::f64::consts::TAU),
            bend: 0.0,
        }
    }

    /// Places along the line, half a pixel apart; with `jag` the direction is thrown about.
    fn path(&self, length: f64, jag: f64, draws: &mut Draws) -> Vec<(f64, f64)> {
        const STEP: f64 = 0.5;
        let (mut x, mut y) = self.start;
        let mut path = vec![(x, y)];
        let mut thrown = 0.0;
        for step in 0..(length / STEP) as usize {
            let along = step as f64 * STEP;
            if jag > 0.0 {
                // It strays but comes back to its direction.
                thrown = 0.9 * thrown + jag * draws.normal() * 0.6;
            }
            let direction = self.direction + self.bend * along + thrown;
            x += STEP * direction.cos();
            y += STEP * direction.sin();
            path.push((x, y));
        }
        path
    }
}

struct Stroke {
    /// What the middle of the line adds to the brightness.
    depth: f64,
    /// The standard deviation of its profile, in pixels.
    width: f64,
}

impl Stroke {
    /// Draws the line: each pixel once, by its distance from the path, and fainter towards both ends.
    fn along(&self, surface: &mut Surface, path: &[(f64, f64)]) {
        let size = surface.size();
        let reach = 3.0 * self.width + 1.0;
        let mut strongest = vec![0.0_f64; size * size];
        for (index, (x, y)) in path.iter().enumerate() {
            let from_end = index.min(path.len() - 1 - index) as f64;
            let ends = (from_end / 6.0).min(1.0);
            let range = |at: f64| {
                let first = (at - reach).floor().max(0.0) as usize;
                let last = (at + reach).ceil().max(0.0) as usize;
                first.min(size)..(last + 1).min(size)
            };
            for row in range(*y) {
                for column in range(*x) {
                    let distance = (column as f64 - x).hypot(row as f64 - y) / self.width;
                    let strength = ends * (-distance * distance / 2.0).exp();
                    let place = &mut strongest[row * size + column];
                    *place = place.max(strength);
                }
            }
        }
        surface.add(|x, y| self.depth * strongest[y as usize * size + x as usize]);
    }
}
