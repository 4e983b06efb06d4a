//! The nearest of many rows, and all rows within a distance.
//!
//! A k-d tree (Bentley: "Multidimensional Binary Search Trees Used for Associative Searching", 1975) whose nodes know the box
//! around their rows, so that far ones are passed over. Distances are Euclidean. What it finds never depends on threads or on
//! what was asked before.

use ndarray::{Array2, Axis};

/// So many rows are looked at one by one.
const LEAF: usize = 24;

#[derive(Debug, Clone, Copy)]
struct Node {
    /// Places of its rows.
    from: usize,
    to: usize,
    /// The two children; none in a leaf.
    children: Option<[usize; 2]>,
}

/// A k-d tree of rows.
#[derive(Debug)]
pub(crate) struct Neighbours {
    /// The rows in the order of the leaves.
    points: Vec<f64>,
    /// How many numbers a row has.
    width: usize,
    /// The row in each place.
    rows: Vec<usize>,
    nodes: Vec<Node>,
    /// The least and the greatest value of each number in each node.
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Neighbours {
    pub(crate) fn new(records: &Array2<f64>) -> Self {
        let width = records.ncols();
        let mut tree = Self {
            points: Vec::new(),
            width,
            rows: (0..records.nrows()).collect(),
            nodes: Vec::new(),
            low: Vec::new(),
            high: Vec::new(),
        };
        tree.grow(records, 0, records.nrows());
        let ordered = records.select(Axis(0), &tree.rows);
        tree.points = ordered.iter().copied().collect();
        tree
    }

    /// Adds the node of these places and answers with its index.
    fn grow(&mut self, records: &Array2<f64>, from: usize, to: usize) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node {
            from,
            to,
            children: None,
        });
        let mut widest = (0.0, 0);
        for number in 0..self.width {
            let values = self.rows[from..to]
                .iter()
                .map(|row| records[[*row, number]]);
            let (low, high) = values
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                    (f64::min(low, value), f64::max(high, value))
                });
            self.low.push(low);
            self.high.push(high);
            if high - low > widest.0 {
                widest = (high - low, number);
            }
        }
        if to - from <= LEAF || widest.0 <= 0.0 {
            return index;
        }
        let middle = from + (to - from) / 2;
        self.rows[from..to].select_nth_unstable_by(middle - from, |left, right| {
            let value = |row: usize| records[[row, widest.1]];
            value(*left).total_cmp(&value(*right)).then(left.cmp(right))
        });
        let first = self.grow(records, from, middle);
        let second = self.grow(records, middle, to);
        self.nodes[index].children = Some([first, second]);
        index
    }

    fn square(&self, place: usize, row: &[f64]) -> f64 {
        square_distance(
            &self.points[place * self.width..(place + 1) * self.width],
            row,
        )
    }

    /// No more than the squared distance to the node's box: 0 inside.
    fn square_to(&self, node: usize, row: &[f64]) -> f64 {
        let bounds = node * self.width..(node + 1) * self.width;
        let low = self.low[bounds.clone()].iter();
        let pairs = low.zip(&self.high[bounds]).zip(row);
        let square: f64 = pairs
            .map(|((low, high), value)| {
                let outside = (low - value).max(value - high).max(0.0);
                outside * outside
            })
            .sum();
        // Added up in another order than the distances of rows, it must not come out greater than these.
        square * (1.0 - 1e-12)
    }

    /// Calls with each row whose squared distance is at most this, and its squared distance, until the call says false.
    pub(crate) fn within(
        &self,
        row: &[f64],
        square: f64,
        mut found: impl FnMut(usize, f64) -> bool,
    ) {
        let mut open = vec![0];
        while let Some(index) = open.pop() {
            if self.square_to(index, row) > square {
                continue;
            }
            let node = self.nodes[index];
            if let Some([first, second]) = node.children {
                open.extend([second, first]);
                continue;
            }
            for place in node.from..node.to {
                let distance = self.square(place, row);
                if distance <= square && !found(self.rows[place], distance) {
                    return;
                }
            }
        }
    }

    /// The nearest row, of equally near ones the first, and its squared distance.
    pub(crate) fn nearest(&self, row: &[f64]) -> Option<(usize, f64)> {
        let mut best: Option<(f64, usize)> = None;
        self.walk(row, |distance, other| {
            let is_nearer = best.is_none_or(|(square, known)| {
                distance < square || (distance == square && other < known)
            });
            if is_nearer {
                best = Some((distance, other));
            }
            best.map_or(f64::INFINITY, |(square, _)| square)
        });
        best.map(|(square, other)| (other, square))
    }

    /// The squared distance to the row that so many are at least as near as; none where there are fewer.
    pub(crate) fn square_of_nearest(&self, row: &[f64], count: usize) -> Option<f64> {
        // The greatest last: mostly there are few.
        let mut nearest: Vec<f64> = Vec::with_capacity(count + 1);
        self.walk(row, |distance, _| {
            if nearest.len() < count || nearest.last().is_some_and(|last| distance < *last) {
                let place = nearest.partition_point(|known| *known <= distance);
                nearest.insert(place, distance);
                nearest.truncate(count);
            }
            match nearest.last() {
                Some(last) if nearest.len() == count => *last,
                _ => f64::INFINITY,
            }
        });
        nearest.last().copied().filter(|_| nearest.len() == count)
    }

    /// Looks at rows, the nearer boxes first; `look` answers with the squared distance beyond which none matters.
    fn walk(&self, row: &[f64], mut look: impl FnMut(f64, usize) -> f64) {
        let mut reach = f64::INFINITY;
        let mut open = vec![(self.square_to(0, row), 0)];
        while let Some((distance, index)) = open.pop() {
            if distance > reach {
                continue;
            }
            let node = self.nodes[index];
            match node.children {
                Some([first, second]) => {
                    let both = [first, second].map(|child| (self.square_to(child, row), child));
                    let [first, second] = both;
                    if first.0 <= second.0 {
                        open.extend([second, first]);
                    } else {
                        open.extend([first, second]);
                    }
                }
                None => {
                    for place in node.from..node.to {
                        reach = look(self.square(place, row), self.rows[place]);
                    }
                }
            }
        }
    }
}

/// The square of the Euclidean distance; summed in four lanes, which a processor adds side by side.
pub(crate) fn square_distance(left: &[f64], right: &[f64]) -> f64 {
    let mut lanes = [0.0; 4];
    let (left, left_rest) = left.as_chunks::<4>();
    let (right, right_rest) = right.as_chunks::<4>();
    for (left, right) in left.iter().zip(right) {
        for lane in 0..4 {
            let difference = left[lane] - right[lane];
            lanes[lane] += difference * difference;
        }
    }
    let rest: f64 = left_rest
        .iter()
        .zip(right_rest)
        .map(|(left, right)| (left - right) * (left - right))
        .sum();
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(rows: usize, width: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, width), |(row, number)| {
            ((row * 7919 + number * 104_729 + row * row * 31) % 1009) as f64 / 100.0
        })
    }

    #[test]
    fn it_finds_what_a_look_at_all_rows_finds() {
        for (rows, width) in [(1, 1), (30, 2), (700, 3), (400, 9)] {
            let records = records(rows, width);
            let tree = Neighbours::new(&records);
            for row in (0..rows).step_by(rows.div_ceil(40)) {
                let asked: Vec<f64> = records.row(row).iter().map(|value| value + 0.3).collect();
                let mut squares: Vec<(f64, usize)> = (0..rows)
                    .map(|other| {
                        let other_row = records.row(other).to_vec();
                        (square_distance(&other_row, &asked), other)
                    })
                    .collect();
                let mut near = Vec::new();
                tree.within(&asked, 9.0, |other, square| {
                    near.push((square, other));
                    true
                });
                near.sort_by_key(|own| own.1);
                let expected: Vec<(f64, usize)> = squares
                    .iter()
                    .copied()
                    .filter(|(square, _)| *square <= 9.0)
                    .collect();
                assert_eq!(near, expected);
                squares
                    .sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
                assert_eq!(tree.nearest(&asked), Some((squares[0].1, squares[0].0)));
                for count in [1, 5, rows] {
                    let expected = squares.get(count - 1).map(|(square, _)| *square);
                    assert_eq!(tree.square_of_nearest(&asked, count), expected);
                }
                assert_eq!(tree.square_of_nearest(&asked, rows + 1), None);
            }
        }
    }

    #[test]
    fn a_search_ends_when_it_is_told_to() {
        let records = records(500, 2);
        let mut seen = 0;
        Neighbours::new(&records).within(&[5.0, 5.0], f64::INFINITY, |_, _| {
            seen += 1;
            seen < 7
        });
        assert_eq!(seen, 7);
    }

    #[test]
    fn equal_rows_are_all_found_and_the_first_is_the_nearest() {
        let records = Array2::from_elem((200, 2), 3.0);
        let tree = Neighbours::new(&records);
        let mut seen = 0;
        tree.within(&[3.0, 3.0], 0.0, |_, _| {
            seen += 1;
            true
        });
        assert_eq!(seen, 200);
        assert_eq!(tree.nearest(&[9.0, 3.0]), Some((0, 36.0)));
        let none = Neighbours::new(&Array2::zeros((0, 2)));
        assert_eq!(none.nearest(&[1.0, 2.0]), None);
    }
}
