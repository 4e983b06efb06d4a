//! How columns go together.

use serde::Serialize;
use taktline_core::Result;

use super::in_parallel;

/// How two columns of numbers go together, from -1 to 1, on the rows that have both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Correlation {
    /// One column.
    pub left: String,
    /// The other.
    pub right: String,
    /// Pearson's coefficient: how well a straight line fits.
    pub pearson: f64,
    /// Spearman's coefficient: how well any rising or falling line fits, equal values sharing their mean rank.
    pub spearman: f64,
    /// Rows that have both.
    pub rows: usize,
}

/// How two columns of categories go together, from 0 to 1, on the rows that have both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Association {
    /// One column.
    pub left: String,
    /// The other.
    pub right: String,
    /// Cramér's V, corrected for bias (W. Bergsma: "A bias-correction for Cramér's V and Tschuprow's T", Journal of the Korean
    /// Statistical Society 42, 2013).
    pub cramers_v: f64,
    /// Rows that have both.
    pub rows: usize,
}

/// What comparing a column with others needs.
pub(super) enum Comparable {
    /// It is not compared.
    No,
    /// The values row by row, not a number where there is none, and the rows that have one in order of their values.
    Numbers { values: Vec<f64>, order: Vec<u32> },
    /// The place of each row's value among so many, or [`Comparable::MISSING`].
    Categories { codes: Vec<u8>, count: usize },
}

impl Comparable {
    pub(super) const MISSING: u8 = u8::MAX;
}

/// What the comparison of all pairs gave.
pub(super) struct Compared {
    pub(super) correlations: Vec<Correlation>,
    pub(super) associations: Vec<Association>,
    pub(super) rows: usize,
    pub(super) left_out: usize,
}

/// Columns of a sort that are compared with each other; more would be nothing to read.
const MOST_COLUMNS: usize = 100;
/// Pairs times rows that take a few seconds.
const MOST_CELLS: usize = 300_000_000;

type Numbers<'c> = (
    &'c str,
    std::borrow::Cow<'c, [f64]>,
    std::borrow::Cow<'c, [u32]>,
);

pub(super) fn compare(names: &[&str], columns: &[Comparable], rows: usize) -> Result<Compared> {
    let mut numbers: Vec<Numbers<'_>> = Vec::new();
    let mut categories: Vec<(&str, &[u8], usize)> = Vec::new();
    let mut left_out = 0;
    for (name, column) in names.iter().zip(columns) {
        match column {
            // A column with one value goes with nothing.
            Comparable::Numbers { values, order }
                if order
                    .first()
                    .zip(order.last())
                    .is_some_and(|(first, last)| {
                        values[*first as usize] < values[*last as usize]
                    }) =>
            {
                if numbers.len() < MOST_COLUMNS {
                    numbers.push((name, values.into(), order.into()));
                } else {
                    left_out += 1;
                }
            }
            Comparable::Categories { codes, count } if *count > 1 => {
                if categories.len() < MOST_COLUMNS {
                    categories.push((name, codes, *count));
                } else {
                    left_out += 1;
                }
            }
            _ => {}
        }
    }
    let number_pairs = pairs(numbers.len());
    let category_pairs = pairs(categories.len());
    let most = MOST_CELLS / (number_pairs.len() + category_pairs.len()).max(1);
    let every = rows.div_ceil(most.max(1)).max(1);
    if every > 1 {
        numbers = numbers
            .into_iter()
            .map(|(name, values, order)| {
                let (values, order) = thinned(&values, &order, every);
                (name, values.into(), order.into())
            })
            .collect();
    }
    let ranked = in_parallel(numbers.len(), |index| {
        let (_, values, order) = &numbers[index];
        Ok((order.len() == values.len()).then(|| ranks(values, order, None)))
    })?;
    let mut correlations: Vec<Correlation> = in_parallel(number_pairs.len(), |pair| {
        let (left, right) = number_pairs[pair];
        let ranks = ranked[left].as_deref().zip(ranked[right].as_deref());
        Ok(correlation(&numbers[left], &numbers[right], ranks))
    })?
    .into_iter()
    .flatten()
    .collect();
    correlations.sort_by(|one, other| {
        let strength = |one: &Correlation| one.pearson.abs().max(one.spearman.abs());
        strength(other).total_cmp(&strength(one))
    });
    let mut associations: Vec<Association> = in_parallel(category_pairs.len(), |pair| {
        let (left, right) = category_pairs[pair];
        Ok(association(categories[left], categories[right], every))
    })?
    .into_iter()
    .flatten()
    .collect();
    associations.sort_by(|one, other| other.cramers_v.total_cmp(&one.cramers_v));
    Ok(Compared {
        correlations,
        associations,
        rows: rows.div_ceil(every),
        left_out,
    })
}

fn pairs(count: usize) -> Vec<(usize, usize)> {
    (0..count)
        .flat_map(|left| (left + 1..count).map(move |right| (left, right)))
        .collect()
}

/// Every so manieth row.
fn thinned(values: &[f64], order: &[u32], every: usize) -> (Vec<f64>, Vec<u32>) {
    let values = values.iter().step_by(every).copied().collect();
    let order = order
        .iter()
        .filter(|row| (**row as usize).is_multiple_of(every))
        .map(|row| row / every as u32)
        .collect();
    (values, order)
}

/// The rank of each row among those that also have the other value, from 1, equal values sharing their mean rank; not a
/// number for other rows.
fn ranks(values: &[f64], order: &[u32], other: Option<&[f64]>) -> Vec<f64> {
    let mut ranks = vec![f64::NAN; values.len()];
    let has_other = |row: u32| other.is_none_or(|other| !other[row as usize].is_nan());
    let mut before = 0;
    for tied in order.chunk_by(|one, next| values[*one as usize] == values[*next as usize]) {
        let count = tied.iter().filter(|row| has_other(**row)).count();
        let rank = before as f64 + (count as f64 + 1.0) / 2.0;
        for row in tied.iter().filter(|row| has_other(**row)) {
            ranks[*row as usize] = rank;
        }
        before += count;
    }
    ranks
}

fn correlation(
    (left, left_values, left_order): &Numbers<'_>,
    (right, right_values, right_order): &Numbers<'_>,
    complete: Option<(&[f64], &[f64])>,
) -> Option<Correlation> {
    let (pearson, rows) = pearson(left_values, right_values)?;
    let spearman = match complete {
        Some((left, right)) => self::pearson(left, right),
        None => self::pearson(
            &ranks(left_values, left_order, Some(right_values)),
            &ranks(right_values, right_order, Some(left_values)),
        ),
    };
    Some(Correlation {
        left: (*left).to_owned(),
        right: (*right).to_owned(),
        pearson,
        spearman: spearman?.0,
        rows,
    })
}

/// The coefficient, and the rows that have both values; none where one of them does not vary.
fn pearson(left: &[f64], right: &[f64]) -> Option<(f64, usize)> {
    let both = || {
        left.iter()
            .zip(right)
            .filter(|(left, right)| !left.is_nan() && !right.is_nan())
    };
    let (mut rows, mut sum_left, mut sum_right) = (0_usize, 0.0, 0.0);
    for (left, right) in both() {
        rows += 1;
        sum_left += left;
        sum_right += right;
    }
    let (mean_left, mean_right) = (sum_left / rows as f64, sum_right / rows as f64);
    let (mut squares_left, mut squares_right, mut products) = (0.0, 0.0, 0.0);
    for (left, right) in both() {
        let (left, right) = (left - mean_left, right - mean_right);
        squares_left += left * left;
        squares_right += right * right;
        products += left * right;
    }
    let coefficient = products / (squares_left.sqrt() * squares_right.sqrt());
    coefficient
        .is_finite()
        .then(|| (coefficient.clamp(-1.0, 1.0), rows))
}

fn association(
    (left, left_codes, left_count): (&str, &[u8], usize),
    (right, right_codes, right_count): (&str, &[u8], usize),
    every: usize,
) -> Option<Association> {
    let mut cells = vec![0_usize; left_count * right_count];
    let mut rows = 0;
    for (left, right) in left_codes.iter().zip(right_codes).step_by(every) {
        if *left != Comparable::MISSING && *right != Comparable::MISSING {
            cells[*left as usize * right_count + *right as usize] += 1;
            rows += 1;
        }
    }
    let cramers_v = cramers_v(&cells, right_count, rows)?;
    Some(Association {
        left: left.to_owned(),
        right: right.to_owned(),
        cramers_v,
        rows,
    })
}

/// None where one of the two has one value only.
fn cramers_v(cells: &[usize], width: usize, rows: usize) -> Option<f64> {
    let all = rows as f64;
    let sums: Vec<f64> = cells
        .chunks(width)
        .map(|row| row.iter().sum::<usize>() as f64)
        .collect();
    let column_sums: Vec<f64> = (0..width)
        .map(|column| cells.iter().skip(column).step_by(width).sum::<usize>() as f64)
        .collect();
    let height = sums.iter().filter(|sum| **sum > 0.0).count() as f64;
    let width_used = column_sums.iter().filter(|sum| **sum > 0.0).count() as f64;
    if height < 2.0 || width_used < 2.0 || rows < 2 {
        return None;
    }
    let mut chi_square = 0.0;
    for (cells, row) in cells.chunks(width).zip(&sums) {
        for (cell, column) in cells.iter().zip(&column_sums) {
            let expected = row * column / all;
            if expected > 0.0 {
                chi_square += (*cell as f64 - expected).powi(2) / expected;
            }
        }
    }
    // Bergsma's correction: what chance alone would give is taken off.
    let chance = (height - 1.0) * (width_used - 1.0) / (all - 1.0);
    let phi = (chi_square / all - chance).max(0.0);
    let corrected = |count: f64| count - (count - 1.0).powi(2) / (all - 1.0);
    let least = corrected(height).min(corrected(width_used)) - 1.0;
    (least > 0.0).then(|| (phi / least).sqrt().min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[f64]) -> Comparable {
        let mut order: Vec<u32> = (0..values.len() as u32)
            .filter(|row| !values[*row as usize].is_nan())
            .collect();
        order.sort_by(|one, other| values[*one as usize].total_cmp(&values[*other as usize]));
        Comparable::Numbers {
            values: values.to_vec(),
            order,
        }
    }

    #[test]
    fn lines_and_ranks() {
        // By hand: x = 1 2 3 4 5, y = 1 8 27 64 125 rises throughout.
        let columns = [
            numbers(&[1.0, 2.0, 3.0, 4.0, 5.0]),
            numbers(&[1.0, 8.0, 27.0, 64.0, 125.0]),
            numbers(&[5.0, 5.0, 5.0, 5.0, 5.0]),
        ];
        let found = compare(&["x", "y", "constant"], &columns, 5).expect("compared");
        assert_eq!(found.correlations.len(), 1);
        let pair = &found.correlations[0];
        assert!((pair.pearson - 0.943_118_1).abs() < 1e-6, "{pair:?}");
        assert!((pair.spearman - 1.0).abs() < 1e-12);
        assert_eq!((pair.rows, found.rows, found.left_out), (5, 5, 0));
    }

    #[test]
    fn ties_share_their_rank_and_missing_values_are_left_out_in_pairs() {
        let nan = f64::NAN;
        // On the rows that have both: x = 1 2 2 3 (ranks 1 2.5 2.5 4), y = 4 1 3 2 (ranks 4 1 3 2).
        // Sums of products of distances from 2.5: -2.25 - 0 + 0 - 0.75 = -3, over sqrt(4.5 * 5).
        let columns = [
            numbers(&[1.0, 2.0, 2.0, 3.0, nan, 9.0]),
            numbers(&[4.0, 1.0, 3.0, 2.0, 7.0, nan]),
        ];
        let found = compare(&["x", "y"], &columns, 6).expect("compared");
        let pair = &found.correlations[0];
        assert_eq!(pair.rows, 4);
        assert!(
            (pair.spearman + 3.0 / 22.5_f64.sqrt()).abs() < 1e-12,
            "{pair:?}"
        );
        assert!(
            (pair.pearson + 2.0 / (2.0_f64 * 5.0).sqrt()).abs() < 1e-12,
            "{pair:?}"
        );
    }

    #[test]
    fn thinning_keeps_rows_together() {
        let values = [3.0, 0.0, 1.0, 0.0, 2.0, 0.0, f64::NAN];
        let Comparable::Numbers { values, order } = numbers(&values) else {
            panic!("numbers");
        };
        let (values, order) = thinned(&values, &order, 2);
        assert_eq!(values[..3], [3.0, 1.0, 2.0]);
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn categories_go_together_or_not() {
        let categories = |codes: Vec<u8>, count| Comparable::Categories { codes, count };
        let colour: Vec<u8> = (0..600).map(|row| (row % 3) as u8).collect();
        let size: Vec<u8> = (0..600).map(|row| (row / 3 % 2) as u8).collect();
        let found = compare(
            &["colour", "same", "size"],
            &[
                categories(colour.clone(), 3),
                categories(colour, 3),
                categories(size, 2),
            ],
            600,
        )
        .expect("compared");
        let of: Vec<(&str, &str, f64)> = found
            .associations
            .iter()
            .map(|pair| (pair.left.as_str(), pair.right.as_str(), pair.cramers_v))
            .collect();
        assert_eq!((of[0].0, of[0].1), ("colour", "same"));
        assert!((of[0].2 - 1.0).abs() < 1e-3, "{of:?}");
        // Every combination is equally frequent.
        assert!(of[1].2 == 0.0 && of[2].2 == 0.0, "{of:?}");
    }

    #[test]
    fn cramers_v_by_hand() {
        // 30 10 / 10 30: chi-square 20 of 80 rows, phi² 0.25; minus 1/79, over 2 - 1/79 - 1.
        let expected = ((0.25 - 1.0 / 79.0) / (1.0 - 1.0 / 79.0_f64)).sqrt();
        let found = cramers_v(&[30, 10, 10, 30], 2, 80).expect("two values each");
        assert!((found - expected).abs() < 1e-12, "{found}");
        assert_eq!(cramers_v(&[30, 10, 0, 0], 2, 40), None);
    }
}
