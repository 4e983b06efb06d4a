//! The nearest of many points.

/// Points of numbers and categories.
///
/// The distance of two points is that of Chawla et al. 2002, "SMOTE: synthetic minority over-sampling technique", section 6.1:
/// Euclidean over the numbers, where each category that differs adds one and the same amount.
pub(super) struct Points {
    /// Row by row.
    pub(super) numbers: Vec<f64>,
    /// How many numbers a point has.
    pub(super) width: usize,
    /// Row by row.
    pub(super) codes: Vec<u32>,
    /// How many categories a point has.
    pub(super) kinds: usize,
    /// What a differing category adds to the squared distance.
    pub(super) penalty: f64,
    /// How many points there are.
    pub(super) count: usize,
}

impl Points {
    fn numbers(&self, point: usize) -> &[f64] {
        &self.numbers[point * self.width..(point + 1) * self.width]
    }

    pub(super) fn codes(&self, point: usize) -> &[u32] {
        &self.codes[point * self.kinds..(point + 1) * self.kinds]
    }

    fn squared_distance(&self, left: usize, right: usize) -> f64 {
        let numbers: f64 = self
            .numbers(left)
            .iter()
            .zip(self.numbers(right))
            .map(|(left, right)| (left - right).powi(2))
            .sum();
        let differing = self
            .codes(left)
            .iter()
            .zip(self.codes(right))
            .filter(|(left, right)| left != right)
            .count();
        numbers + self.penalty * differing as f64
    }
}

/// So many points are looked at one by one.
const LEAF: usize = 16;

enum Node {
    /// These places of the order.
    Leaf { from: usize, to: usize },
    /// Points whose number on this axis is at most `at` are on the left.
    Fork {
        axis: usize,
        at: f64,
        left: usize,
        right: usize,
    },
}

/// A k-d tree (Bentley 1975): it parts the points by their numbers, so that far ones need not be looked at.
pub(super) struct Tree<'a> {
    points: &'a Points,
    order: Vec<usize>,
    nodes: Vec<Node>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(points: &'a Points) -> Self {
        let mut tree = Self {
            points,
            order: (0..points.count).collect(),
            nodes: Vec::new(),
        };
        tree.grow(0, points.count);
        tree
    }

    /// Adds the node of these places and answers with its index.
    fn grow(&mut self, from: usize, to: usize) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node::Leaf { from, to });
        let Some((axis, _)) = self
            .widest(from, to)
            .filter(|(_, spread)| to - from > LEAF && *spread > 0.0)
        else {
            return index;
        };
        let points = self.points;
        let middle = from + (to - from) / 2;
        let number = |point: usize| points.numbers(point)[axis];
        self.order[from..to].select_nth_unstable_by(middle - from, |left, right| {
            number(*left)
                .total_cmp(&number(*right))
                .then(left.cmp(right))
        });
        let at = number(self.order[middle]);
        let left = self.grow(from, middle);
        let right = self.grow(middle, to);
        self.nodes[index] = Node::Fork {
            axis,
            at,
            left,
            right,
        };
        index
    }

    /// The axis along which these points lie farthest apart, and how far.
    fn widest(&self, from: usize, to: usize) -> Option<(usize, f64)> {
        (0..self.points.width)
            .map(|axis| {
                let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
                for point in &self.order[from..to] {
                    let number = self.points.numbers(*point)[axis];
                    low = low.min(number);
                    high = high.max(number);
                }
                (axis, high - low)
            })
            .reduce(|widest, next| if next.1 > widest.1 { next } else { widest })
    }

    /// The nearest other points, the nearest first; of equally near ones the earlier.
    pub(super) fn nearest(&self, point: usize, count: usize) -> Vec<usize> {
        let mut found = Vec::with_capacity(count + 1);
        if count > 0 {
            self.search(0, point, count, &mut found);
        }
        found.into_iter().map(|(_, other)| other).collect()
    }

    fn search(&self, node: usize, point: usize, count: usize, found: &mut Vec<(f64, usize)>) {
        match self.nodes[node] {
            Node::Leaf { from, to } => {
                for &other in self.order[from..to].iter().filter(|other| **other != point) {
                    let candidate = (self.points.squared_distance(point, other), other);
                    let nearer = |known: &(f64, usize)| {
                        known
                            .0
                            .total_cmp(&candidate.0)
                            .then(known.1.cmp(&candidate.1))
                            .is_lt()
                    };
                    let place = found.partition_point(nearer);
                    if place < count {
                        found.insert(place, candidate);
                        found.truncate(count);
                    }
                }
            }
            Node::Fork {
                axis,
                at,
                left,
                right,
            } => {
                let beyond = self.points.numbers(point)[axis] - at;
                let (near, far) = if beyond <= 0.0 {
                    (left, right)
                } else {
                    (right, left)
                };
                self.search(near, point, count, found);
                // A point as far as the farthest found may still come before it.
                let can_hold = |farthest: &(f64, usize)| beyond * beyond <= farthest.0;
                if found.len() < count || found.last().is_some_and(can_hold) {
                    self.search(far, point, count, found);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::balance::generator;

    fn points(count: usize, width: usize, kinds: usize, steps: u32) -> Points {
        let mut random = generator(7);
        Points {
            // Few different values, so that many points are equally far.
            numbers: (0..count * width)
                .map(|_| f64::from(random.random_range(0..steps)))
                .collect(),
            width,
            codes: (0..count * kinds)
                .map(|_| random.random_range(0..3))
                .collect(),
            kinds,
            penalty: 2.5,
            count,
        }
    }

    fn one_by_one(points: &Points, point: usize, count: usize) -> Vec<usize> {
        let mut others: Vec<usize> = (0..points.count).filter(|other| *other != point).collect();
        others.sort_by(|left, right| {
            let distance = |other: usize| points.squared_distance(point, other);
            distance(*left)
                .total_cmp(&distance(*right))
                .then(left.cmp(right))
        });
        others.truncate(count);
        others
    }

    #[test]
    fn finds_the_same_as_looking_at_all() {
        for (width, kinds, steps) in [
            (3, 0, 1000),
            (2, 0, 5),
            (2, 2, 5),
            (0, 3, 1),
            (1, 0, 1),
            (6, 1, 50),
        ] {
            let points = points(300, width, kinds, steps);
            let tree = Tree::new(&points);
            for point in (0..300).step_by(7) {
                assert_eq!(
                    tree.nearest(point, 5),
                    one_by_one(&points, point, 5),
                    "{width} {kinds} {steps}"
                );
            }
        }
    }

    #[test]
    fn there_may_be_fewer_than_asked_for() {
        let points = points(3, 2, 0, 10);
        assert_eq!(Tree::new(&points).nearest(0, 5).len(), 2);
        assert_eq!(Tree::new(&points).nearest(0, 0), Vec::<usize>::new());
        let one = self::points(1, 2, 0, 10);
        assert!(Tree::new(&one).nearest(0, 5).is_empty());
    }

    #[test]
    fn a_differing_category_adds_the_penalty() {
        let points = Points {
            numbers: vec![1.0, 2.0, 3.0, 4.0, 6.0, 5.0],
            width: 3,
            codes: vec![0, 1, 2, 0, 3, 4],
            kinds: 3,
            penalty: 0.25,
            count: 2,
        };
        // The example of the paper: sqrt((4-1)^2 + (6-2)^2 + (5-3)^2 + med^2 + med^2).
        assert_eq!(points.squared_distance(0, 1), 9.0 + 16.0 + 4.0 + 0.5);
    }
}
