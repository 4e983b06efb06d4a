//! Rows between others.

use polars::prelude::{Column as PolarsColumn, IntoColumn, NamedFrom, Series};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use taktline_core::Result;

use super::{
    super::{
        Class, draws, indices,
        neighbours::{Points, Tree},
    },
    Origin,
};

/// New rows, each told by rows of the frame.
#[derive(Debug, Default)]
pub(super) struct NewRows {
    /// The row it starts from.
    pub(super) starts: Vec<usize>,
    /// The neighbour it lies towards.
    pub(super) towards: Vec<usize>,
    /// How far on the way, 0 to 1.
    pub(super) gaps: Vec<f64>,
    /// For each category column, a row that has what most neighbours have.
    pub(super) votes: Vec<Vec<usize>>,
}

impl NewRows {
    pub(super) fn add(
        &mut self,
        class: &Class,
        count: usize,
        neighbours: usize,
        points: &Points,
        random: &mut ChaCha8Rng,
    ) {
        let starts = draws(class.rows.len(), count, random);
        let tree = Tree::new(points);
        let mut is_start = vec![false; points.count];
        for start in &starts {
            is_start[*start] = true;
        }
        let nearest: Vec<Vec<usize>> = (0..points.count)
            .into_par_iter()
            .map(|point| match is_start[point] {
                true => tree.nearest(point, neighbours),
                false => Vec::new(),
            })
            .collect();
        for start in starts {
            let near = &nearest[start];
            self.starts.push(class.rows[start]);
            self.towards
                .push(class.rows[near[random.random_range(0..near.len())]]);
            self.gaps.push(random.random());
            for (kind, votes) in self.votes.iter_mut().enumerate() {
                votes.push(class.rows[most_frequent(near, kind, points)]);
            }
        }
    }

    /// The new values of a column.
    pub(super) fn column(
        &self,
        column: &PolarsColumn,
        origin: Origin,
        numbers: Option<&Vec<f64>>,
        votes: Option<&Vec<usize>>,
    ) -> Result<PolarsColumn> {
        let name = column.name().clone();
        Ok(match (origin, numbers, votes) {
            (Origin::Between, Some(numbers), _) => {
                let is_whole = column.dtype().is_integer();
                let values: Vec<f64> = self
                    .starts
                    .iter()
                    .zip(&self.towards)
                    .zip(&self.gaps)
                    .map(|((start, towards), gap)| {
                        let value = numbers[*start] + gap * (numbers[*towards] - numbers[*start]);
                        if is_whole { value.round() } else { value }
                    })
                    .collect();
                Series::new(name, values)
                    .cast(column.dtype())?
                    .into_column()
            }
            (Origin::Vote, _, Some(votes)) => column.take(&indices(votes))?,
            (Origin::Copied, ..) => column.take(&indices(&self.starts))?,
            _ => Series::full_null(name, self.starts.len(), column.dtype()).into_column(),
        })
    }
}

/// The neighbour that has the category which most of them have; the nearest such, and of equally frequent categories that of
/// the nearest.
fn most_frequent(near: &[usize], kind: usize, points: &Points) -> usize {
    let code = |point: usize| points.codes(point)[kind];
    let votes = |point: usize| {
        near.iter()
            .filter(|other| code(**other) == code(point))
            .count()
    };
    near.iter()
        .copied()
        .reduce(|best, next| {
            if votes(next) > votes(best) {
                next
            } else {
                best
            }
        })
        .unwrap_or_default()
}
