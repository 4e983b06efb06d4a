//! Metrics of clusterings: how far apart the clusters lie, and how they agree with known classes.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

/// Rows as points of as many numbers each.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// Numbers a row.
    width: usize,
    /// Row by row.
    values: Vec<f64>,
}

impl Points {
    /// Points from columns of equal length; at least one.
    pub fn of(columns: &[Vec<f64>]) -> Self {
        let rows = columns.first().map_or(0, Vec::len);
        let values = (0..rows)
            .flat_map(|row| columns.iter().map(move |column| column[row]))
            .collect();
        Self {
            width: columns.len(),
            values,
        }
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.width..(row + 1) * self.width]
    }
}

fn distance(one: &[f64], other: &[f64]) -> f64 {
    squared_distance(one, other).sqrt()
}

fn squared_distance(one: &[f64], other: &[f64]) -> f64 {
    one.iter()
        .zip(other)
        .map(|(one, other)| (one - other).powi(2))
        .sum()
}

/// Clusters by number from 0, for each of `rows`, and how many there are.
fn numbered(labels: &[i64], rows: &[usize]) -> (Vec<usize>, usize) {
    let known: BTreeSet<i64> = rows.iter().map(|row| labels[*row]).collect();
    let places: BTreeMap<i64, usize> = known.into_iter().zip(0..).collect();
    let clusters = rows.iter().map(|row| places[&labels[*row]]).collect();
    (clusters, places.len())
}

/// The silhouette of each of these rows (Rousseeuw, 1987), among these rows: how much nearer it lies to its own cluster than to the
/// next one, from -1 to 1; 0 for a row that is alone in its cluster. `None` of fewer than two clusters.
///
/// Takes time by the square of the number of rows.
pub fn silhouettes(points: &Points, labels: &[i64], rows: &[usize]) -> Option<Vec<f64>> {
    let (clusters, count) = numbered(labels, rows);
    if count < 2 {
        return None;
    }
    let mut sizes = vec![0.0; count];
    clusters.iter().for_each(|cluster| sizes[*cluster] += 1.0);
    let silhouette = |place: usize| {
        let mut sums = vec![0.0; count];
        let point = points.row(rows[place]);
        for (row, cluster) in rows.iter().zip(&clusters) {
            sums[*cluster] += distance(point, points.row(*row));
        }
        let own = clusters[place];
        if sizes[own] <= 1.0 {
            return 0.0;
        }
        let within = sums[own] / (sizes[own] - 1.0);
        let next = (0..count)
            .filter(|cluster| *cluster != own)
            .map(|cluster| sums[cluster] / sizes[cluster])
            .fold(f64::INFINITY, f64::min);
        let most = within.max(next);
        if most > 0.0 {
            (next - within) / most
        } else {
            0.0
        }
    };
    Some((0..rows.len()).into_par_iter().map(silhouette).collect())
}

/// The mean point of each cluster of these rows.
fn centres(points: &Points, rows: &[usize], clusters: &[usize], count: usize) -> Vec<Vec<f64>> {
    let mut sizes = vec![0.0; count];
    let mut centres = vec![vec![0.0; points.width]; count];
    for (row, cluster) in rows.iter().zip(clusters) {
        sizes[*cluster] += 1.0;
        let sums = centres[*cluster].iter_mut().zip(points.row(*row));
        sums.for_each(|(sum, value)| *sum += value);
    }
    for (centre, size) in centres.iter_mut().zip(&sizes) {
        centre.iter_mut().for_each(|sum| *sum /= size);
    }
    centres
}

/// How alike each cluster is to the one that it is hardest to tell from (Davies and Bouldin, 1979): 0 is best. `None` unless there are
/// at least two clusters and more rows than clusters.
pub fn davies_bouldin(points: &Points, labels: &[i64], rows: &[usize]) -> Option<f64> {
    let (clusters, count) = numbered(labels, rows);
    if count < 2 || rows.len() <= count {
        return None;
    }
    let centres = centres(points, rows, &clusters, count);
    let mut spreads = vec![(0.0, 0.0); count];
    for (row, cluster) in rows.iter().zip(&clusters) {
        let (sum, size) = &mut spreads[*cluster];
        *sum += distance(points.row(*row), &centres[*cluster]);
        *size += 1.0;
    }
    let spread = |cluster: usize| spreads[cluster].0 / spreads[cluster].1;
    let worst = |one: usize| {
        (0..count)
            .filter(|other| *other != one)
            .map(|other| {
                let apart = distance(&centres[one], &centres[other]);
                // Clusters with one centre are told apart by nothing; as scikit-learn does, they are left out.
                if apart > 0.0 {
                    (spread(one) + spread(other)) / apart
                } else {
                    0.0
                }
            })
            .fold(0.0, f64::max)
    };
    Some((0..count).map(worst).sum::<f64>() / count as f64)
}

/// Spread between clusters over spread within them, each by its degrees of freedom (Caliński and Harabasz, 1974): higher is better.
/// `None` unless there are at least two clusters and more rows than clusters, and the clusters have a spread.
pub fn calinski_harabasz(points: &Points, labels: &[i64], rows: &[usize]) -> Option<f64> {
    let (clusters, count) = numbered(labels, rows);
    if count < 2 || rows.len() <= count {
        return None;
    }
    let all = centres(points, rows, &vec![0; rows.len()], 1);
    let centres = centres(points, rows, &clusters, count);
    let (mut between, mut within) = (0.0, 0.0);
    for (row, cluster) in rows.iter().zip(&clusters) {
        within += squared_distance(points.row(*row), &centres[*cluster]);
        between += squared_distance(&centres[*cluster], &all[0]);
    }
    let freedom = (rows.len() - count) as f64 / (count - 1) as f64;
    (within > 0.0).then(|| between / within * freedom)
}

/// How two labellings of the same rows meet.
struct Contingency {
    cells: BTreeMap<(i64, i64), f64>,
    of_one: BTreeMap<i64, f64>,
    of_other: BTreeMap<i64, f64>,
    total: f64,
}

impl Contingency {
    fn of(one: &[i64], other: &[i64]) -> Self {
        let mut table = Self {
            cells: BTreeMap::new(),
            of_one: BTreeMap::new(),
            of_other: BTreeMap::new(),
            total: one.len() as f64,
        };
        for (one, other) in one.iter().zip(other) {
            *table.cells.entry((*one, *other)).or_default() += 1.0;
            *table.of_one.entry(*one).or_default() += 1.0;
            *table.of_other.entry(*other).or_default() += 1.0;
        }
        table
    }
}

/// How many pairs of rows two labellings agree on, beyond chance (Hubert and Arabie, 1985): 1 is the same, 0 what chance reaches.
/// `None` of fewer than two rows.
pub fn adjusted_rand(one: &[i64], other: &[i64]) -> Option<f64> {
    let table = Contingency::of(one, other);
    if table.total < 2.0 {
        return None;
    }
    let pairs = |count: &f64| count * (count - 1.0) / 2.0;
    let both: f64 = table.cells.values().map(pairs).sum();
    let in_one: f64 = table.of_one.values().map(pairs).sum();
    let in_other: f64 = table.of_other.values().map(pairs).sum();
    let chance = in_one * in_other / pairs(&table.total);
    let most = (in_one + in_other) / 2.0;
    // Both put all rows together, or each row alone.
    if most == chance {
        return Some(1.0);
    }
    Some((both - chance) / (most - chance))
}

/// What one labelling tells of the other, over the mean of what each tells: from 0 to 1 (Strehl and Ghosh, 2002, with the
/// arithmetic mean). `None` of no rows.
pub fn normalized_mutual_information(one: &[i64], other: &[i64]) -> Option<f64> {
    let table = Contingency::of(one, other);
    if table.total == 0.0 {
        return None;
    }
    let entropy = |counts: &BTreeMap<i64, f64>| -> f64 {
        let shares = counts.values().map(|count| count / table.total);
        -shares.map(|share| share * share.ln()).sum::<f64>()
    };
    let information: f64 = table
        .cells
        .iter()
        .map(|((one, other), count)| {
            let expected = table.of_one[one] * table.of_other[other] / table.total;
            count / table.total * (count / expected).ln()
        })
        .sum();
    let mean = (entropy(&table.of_one) + entropy(&table.of_other)) / 2.0;
    if mean <= 0.0 {
        return Some(1.0);
    }
    Some((information / mean).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) {
        let found = found.expect("a value");
        assert!(
            (found - expected).abs() < 1e-10,
            "{found} is not {expected}"
        );
    }

    /// The points, truths and labels of tests/peers/clusters.py.
    fn points() -> (Points, Vec<i64>, Vec<i64>) {
        let mut state = 12345_u64;
        let mut draw = || {
            state = (state * 1_103_515_245 + 12345) % (1 << 31);
            ((state >> 12) % 1000) as f64 / 1000.0
        };
        let mut columns = [Vec::new(), Vec::new()];
        for row in 0..90 {
            for (axis, column) in columns.iter_mut().enumerate() {
                column.push([0.0, 0.8, 2.0][row % 3] * (1 + axis) as f64 + draw());
            }
        }
        let truths: Vec<i64> = (0..90).map(|row| row % 3).collect();
        let mut labels: Vec<i64> = (0..90)
            .map(|row| if row % 7 == 0 { (row + 1) % 3 } else { row % 3 })
            .collect();
        labels[89] = 5;
        (Points::of(&columns), truths, labels)
    }

    #[test]
    fn as_scikit_learn() {
        let (points, truths, labels) = points();
        let rows: Vec<usize> = (0..90).collect();
        let silhouettes = silhouettes(&points, &labels, &rows).expect("clusters");
        close(
            Some(silhouettes.iter().sum::<f64>() / 90.0),
            0.08099186157885828,
        );
        close(Some(silhouettes[0]), -0.35632683878631427);
        assert_eq!(silhouettes[89], 0.0);
        close(davies_bouldin(&points, &labels, &rows), 2.338406274569584);
        close(
            calinski_harabasz(&points, &labels, &rows),
            44.67940708742287,
        );
        close(adjusted_rand(&truths, &labels), 0.6068117021549843);
        close(
            normalized_mutual_information(&truths, &labels),
            0.6126651958679205,
        );
    }

    #[test]
    fn two_pairs_by_hand() {
        // 0 and 1 against 10 and 11: each row is 1 from its neighbour and about 10 from the others.
        let points = Points::of(&[vec![0.0, 1.0, 10.0, 11.0]]);
        let labels = [4, 4, -7, -7];
        let rows = [0, 1, 2, 3];
        let found = silhouettes(&points, &labels, &rows).expect("clusters");
        close(Some(found[0]), 1.0 - 1.0 / 10.5);
        close(Some(found[1]), 1.0 - 1.0 / 9.5);
        close(davies_bouldin(&points, &labels, &rows), 0.1);
        close(
            calinski_harabasz(&points, &labels, &rows),
            100.0 / 1.0 * 2.0,
        );
    }

    #[test]
    fn labellings_agree_whatever_their_names() {
        close(adjusted_rand(&[0, 0, 1, 1], &[7, 7, 3, 3]), 1.0);
        close(
            normalized_mutual_information(&[0, 0, 1, 1], &[7, 7, 3, 3]),
            1.0,
        );
        close(
            normalized_mutual_information(&[0, 0, 1, 1], &[1, 2, 1, 2]),
            0.0,
        );
        close(adjusted_rand(&[0, 0, 1, 1], &[1, 2, 1, 2]), -0.5);
        close(adjusted_rand(&[0, 0], &[1, 1]), 1.0);
        assert_eq!(adjusted_rand(&[], &[]), None);
    }

    #[test]
    fn one_cluster_has_no_figures() {
        let points = Points::of(&[vec![0.0, 1.0]]);
        assert_eq!(silhouettes(&points, &[1, 1], &[0, 1]), None);
        assert_eq!(davies_bouldin(&points, &[1, 1], &[0, 1]), None);
        assert_eq!(davies_bouldin(&points, &[1, 2], &[0, 1]), None);
        assert_eq!(calinski_harabasz(&points, &[1, 1], &[0, 1]), None);
    }
}
