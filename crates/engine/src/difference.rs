//! Where found rows differ from expected ones, row by row and cell by cell.

use polars::prelude::{AnyValue, DataFrame, PolarsResult};
use serde::Serialize;

use crate::cells;

/// Differences that are kept; the rest is counted.
const MOST_LINES: usize = 40;
/// Rows are matched up to this many comparisons of cells; larger frames are compared row by row as they stand.
const MOST_COMPARISONS: usize = 4_000_000;

/// How two frames with the same columns differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The columns that were compared.
    pub columns: Vec<String>,
    /// Expected rows.
    pub expected: usize,
    /// Found rows.
    pub found: usize,
    /// What differs, in row order.
    pub lines: Vec<DifferentRow>,
    /// Further rows that differ.
    pub more: usize,
}

/// A row that differs; rows count from 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum DifferentRow {
    /// It was expected and is not there.
    Missing {
        /// Its number among the expected rows.
        row: usize,
        /// Its cells.
        cells: Vec<String>,
    },
    /// It is there and was not expected.
    Unexpected {
        /// Its number among the found rows.
        row: usize,
        /// Its cells.
        cells: Vec<String>,
    },
    /// Some of its cells are others.
    Changed {
        /// Its number among the expected rows.
        expected_row: usize,
        /// Its number among the found rows.
        found_row: usize,
        /// The cells that were expected.
        expected: Vec<String>,
        /// The cells that are there.
        found: Vec<String>,
        /// Which of them differ, by the place of their column.
        differing: Vec<usize>,
    },
}

/// How the found rows differ from the expected ones; `None` where they do not. Both have the same columns.
pub(crate) fn difference(
    expected: &DataFrame,
    found: &DataFrame,
) -> PolarsResult<Option<Difference>> {
    let columns: Vec<String> = expected
        .get_column_names()
        .into_iter()
        .map(ToString::to_string)
        .collect();
    let (wanted, there) = (rows(expected)?, rows(found)?);
    let comparisons = wanted.len() * there.len() * columns.len().max(1);
    let pairs = if comparisons > MOST_COMPARISONS {
        in_place(wanted.len(), there.len())
    } else {
        matched(&wanted, &there)
    };
    let mut lines = Vec::new();
    let mut more = 0;
    for (expected_row, found_row) in pairs {
        let line = match (expected_row, found_row) {
            (Some(expected), Some(found)) => {
                let (wanted, there) = (&wanted[expected], &there[found]);
                let differing = differing(wanted, there);
                if differing.is_empty() {
                    continue;
                }
                DifferentRow::Changed {
                    expected_row: expected + 1,
                    found_row: found + 1,
                    expected: texts(wanted),
                    found: texts(there),
                    differing,
                }
            }
            (Some(row), None) => DifferentRow::Missing {
                row: row + 1,
                cells: texts(&wanted[row]),
            },
            (None, Some(row)) => DifferentRow::Unexpected {
                row: row + 1,
                cells: texts(&there[row]),
            },
            (None, None) => continue,
        };
        if lines.len() < MOST_LINES {
            lines.push(line);
        } else {
            more += 1;
        }
    }
    Ok((!lines.is_empty()).then_some(Difference {
        columns,
        expected: expected.height(),
        found: found.height(),
        lines,
        more,
    }))
}

type Row<'a> = Vec<AnyValue<'a>>;

fn rows(frame: &DataFrame) -> PolarsResult<Vec<Row<'_>>> {
    (0..frame.height())
        .map(|row| {
            frame
                .columns()
                .iter()
                .map(|column| column.get(row))
                .collect()
        })
        .collect()
}

fn differing(expected: &[AnyValue<'_>], found: &[AnyValue<'_>]) -> Vec<usize> {
    let cells = expected.iter().zip(found).enumerate();
    cells
        .filter(|(_, (expected, found))| !cells::is_same(found, expected))
        .map(|(index, _)| index)
        .collect()
}

fn texts(row: &[AnyValue<'_>]) -> Vec<String> {
    row.iter().map(cells::text).collect()
}

type Pair = (Option<usize>, Option<usize>);

fn in_place(expected: usize, found: usize) -> Vec<Pair> {
    (0..expected.max(found))
        .map(|row| {
            (
                (row < expected).then_some(row),
                (row < found).then_some(row),
            )
        })
        .collect()
}

/// The pairing of rows, both in order, that needs the fewest changes (Wagner and Fischer, "The string-to-string correction
/// problem", 1974). A row too many or too few costs two a cell, a changed one two a cell and two for each that differs, so
/// that rows are taken for the same one unless nothing in them is the same.
fn matched(expected: &[Row<'_>], found: &[Row<'_>]) -> Vec<Pair> {
    let width = found.len() + 1;
    let cells = expected
        .first()
        .or(found.first())
        .map_or(1, Vec::len)
        .max(1);
    let whole = 2 * cells;
    let pair = |expected: &Row<'_>, found: &Row<'_>| match differing(expected, found).len() {
        0 => 0,
        count => 2 * cells + 2 * count,
    };
    let mut costs = vec![0; (expected.len() + 1) * width];
    for row in 0..=expected.len() {
        for column in 0..=found.len() {
            let mut best = if row == 0 && column == 0 {
                0
            } else {
                usize::MAX
            };
            if row > 0 {
                best = best.min(costs[(row - 1) * width + column] + whole);
            }
            if column > 0 {
                best = best.min(costs[row * width + column - 1] + whole);
            }
            if row > 0 && column > 0 {
                let change = pair(&expected[row - 1], &found[column - 1]);
                best = best.min(costs[(row - 1) * width + column - 1] + change);
            }
            costs[row * width + column] = best;
        }
    }
    let mut pairs = Vec::new();
    let (mut row, mut column) = (expected.len(), found.len());
    while row > 0 || column > 0 {
        let cost = costs[row * width + column];
        if row > 0
            && column > 0
            && cost
                == costs[(row - 1) * width + column - 1]
                    + pair(&expected[row - 1], &found[column - 1])
        {
            row -= 1;
            column -= 1;
            pairs.push((Some(row), Some(column)));
        } else if column > 0 && cost == costs[row * width + column - 1] + whole {
            column -= 1;
            pairs.push((None, Some(column)));
        } else {
            row -= 1;
            pairs.push((Some(row), None));
        }
    }
    pairs.reverse();
    pairs
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;

    fn lines(expected: DataFrame, found: DataFrame) -> Vec<DifferentRow> {
        difference(&expected, &found)
            .expect("compared")
            .map(|difference| difference.lines)
            .unwrap_or_default()
    }

    fn ids(ids: &[i64]) -> DataFrame {
        df!("id" => ids).expect("a frame")
    }

    #[test]
    fn equal_frames_do_not_differ() {
        let frame = || df!("a" => [Some(1.0), None, Some(f64::NAN)]).expect("a frame");
        assert_eq!(difference(&frame(), &frame()).expect("compared"), None);
        assert_eq!(difference(&ids(&[]), &ids(&[])).expect("compared"), None);
    }

    #[test]
    fn a_row_too_few_moves_no_other() {
        let text = |values: &[i64]| values.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines(ids(&[1, 2, 3, 4]), ids(&[1, 3, 4])),
            [DifferentRow::Missing {
                row: 2,
                cells: text(&[2])
            }]
        );
        assert_eq!(
            lines(ids(&[2, 3]), ids(&[1, 2, 3])),
            [DifferentRow::Unexpected {
                row: 1,
                cells: text(&[1])
            }]
        );
        assert_eq!(
            lines(ids(&[]), ids(&[7])),
            [DifferentRow::Unexpected {
                row: 1,
                cells: text(&[7])
            }]
        );
    }

    #[test]
    fn changed_cells_are_marked() {
        let expected = df!("id" => [1_i64, 2], "amount" => [1.0, 2.0]).expect("a frame");
        let found = df!("id" => [1_i64, 2], "amount" => [1.0, 2.5]).expect("a frame");
        let text = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            lines(expected, found),
            [DifferentRow::Changed {
                expected_row: 2,
                found_row: 2,
                expected: text(["2", "2.0"]),
                found: text(["2", "2.5"]),
                differing: vec![1],
            }]
        );
    }

    #[test]
    fn many_differences_are_counted() {
        let found: Vec<i64> = (0..100).collect();
        let difference = difference(&ids(&[]), &ids(&found))
            .expect("compared")
            .expect("a difference");
        assert_eq!((difference.lines.len(), difference.more), (40, 60));
    }
}
