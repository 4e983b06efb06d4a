//! Jigsaw puzzles: images whose tiles are put in another order, and the order to be told (Noroozi and Favaro, 2016).

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tch::{TchError, Tensor};

use crate::{loss::Truth, protocol::Orders};

/// A stream of a batch's draw that no layer uses.
const ORDER: u64 = 1 << 33;

/// How many orders are tried for each that is taken.
const CANDIDATES: usize = 200;

/// Orders that differ from each other in as many places as can be found, because orders that are alike say little about images.
#[derive(Debug, Clone)]
pub(crate) struct Puzzle {
    grid: usize,
    orders: Vec<Vec<i64>>,
}

impl Puzzle {
    /// The same orders each time.
    pub(crate) fn new(of: Orders) -> Self {
        let tiles = of.grid * of.grid;
        let mut generator = ChaCha8Rng::seed_from_u64(0);
        let mut drawn = || {
            let mut order: Vec<i64> = (0..tiles as i64).collect();
            order.shuffle(&mut generator);
            order
        };
        let mut orders: Vec<Vec<i64>> = vec![(0..tiles as i64).collect()];
        while orders.len() < of.count {
            let nearest = |order: &Vec<i64>| {
                let apart = |other: &Vec<i64>| {
                    order
                        .iter()
                        .zip(other)
                        .filter(|(one, two)| one != two)
                        .count()
                };
                orders.iter().map(apart).min().unwrap_or_default()
            };
            let farthest = (0..CANDIDATES).map(|_| drawn()).max_by_key(nearest);
            orders.extend(farthest);
        }
        Self {
            grid: of.grid,
            orders,
        }
    }

    /// Images (rows, channels, height, width), each in one of the orders, and which.
    pub(crate) fn set(&self, images: &Tensor, draw: u64) -> Result<(Tensor, Truth), TchError> {
        let mut generator = ChaCha8Rng::seed_from_u64(draw);
        generator.set_stream(ORDER);
        let size = images.size();
        let (rows, grid) = (size[0], self.grid as i64);
        let tiles = grid * grid;
        let (height, width) = (size[2] / grid, size[3] / grid);
        let labels: Vec<i64> = (0..rows)
            .map(|_| generator.random_range(0..self.orders.len() as u64) as i64)
            .collect();
        let places: Vec<i64> = (0..rows)
            .zip(&labels)
            .flat_map(|(row, label)| {
                let order = usize::try_from(*label)
                    .ok()
                    .and_then(|label| self.orders.get(label));
                order
                    .into_iter()
                    .flatten()
                    .map(move |tile| row * tiles + tile)
            })
            .collect();
        let places = Tensor::f_from_slice(&places)?.f_to_device(images.device())?;
        let labels = Tensor::f_from_slice(&labels)?.f_to_device(images.device())?;
        let images = images
            .f_reshape([rows, size[1], grid, height, grid, width])?
            .f_permute([0, 2, 4, 1, 3, 5])?
            .f_reshape([rows * tiles, size[1], height, width])?
            .f_index_select(0, &places)?
            .f_reshape([rows, grid, grid, size[1], height, width])?
            .f_permute([0, 3, 1, 4, 2, 5])?
            .f_reshape(&size)?;
        Ok((images, Truth::Labels(labels)))
    }
}
