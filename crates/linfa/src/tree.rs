//! Decision trees that learn from histograms: what trees, forests and boosting have in common.
//!
//! Numbers become bins before training (at most 255, and one for missing values), so that the best cut of a node is found by adding up
//! bins instead of sorting rows (Ke et al.: "LightGBM", 2017). A tree makes the weighted squared distance to one or more
//! values small; of 0-and-1 values for classes that is the Gini criterion (Breiman et al., 1984), of gradients over curvatures the
//! criterion of boosting (Chen and Guestrin: "XGBoost", 2016, equation 7), for which [`leafwise`] grows trees.

pub(crate) mod leafwise;

use ndarray::{Array2, ArrayView1};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use taktline_core::{Cancellation, Error, Result, State, TensorData};

use crate::records::Rows;

/// Bins of a number, not counting the one for missing values.
const MOST_BINS: usize = 255;
/// The bin of missing values.
const MISSING: u8 = 255;
/// Rows that edges are learned from, at most.
const EDGE_ROWS: usize = 200_000;
/// Nodes with fewer rows than this sort them; adding up all bins would cost more.
const FEW_ROWS: usize = 96;

/// The training rows as bins.
pub(crate) struct Binned {
    /// For each number the bin of each row.
    codes: Vec<Vec<u8>>,
    /// For each number the greatest value of each bin but the last.
    edges: Vec<Vec<f64>>,
    /// Whether a number is missing somewhere.
    has_missing: Vec<bool>,
    /// For each number how many categories it stands for; 0 for amounts.
    categories: Vec<usize>,
    rows: usize,
}

/// Categories that are told apart, at most: each is a bin.
pub(crate) const MOST_CATEGORIES: usize = MOST_BINS;

impl Binned {
    /// Bins of the records; a number that is none (NaN) is missing.
    pub(crate) fn new(records: &Array2<f64>) -> Self {
        Self::with_categories(records, vec![0; records.ncols()])
    }

    /// As [`Self::new`], where some numbers are categories 0, 1, 2 and so on, of which there are so many (0: it is an amount).
    pub(crate) fn with_categories(records: &Array2<f64>, categories: Vec<usize>) -> Self {
        let columns: Vec<ArrayView1<'_, f64>> = records.columns().into_iter().collect();
        let binned: Vec<(Vec<u8>, Vec<f64>, bool)> = columns
            .into_par_iter()
            .zip(&categories)
            .map(|(column, categories)| {
                let edges = match categories {
                    0 => edges(column),
                    _ => Vec::new(),
                };
                let codes: Vec<u8> = match categories {
                    0 => column.iter().map(|value| code(*value, &edges)).collect(),
                    _ => column.iter().map(|value| category(*value)).collect(),
                };
                let has_missing = codes.contains(&MISSING);
                (codes, edges, has_missing)
            })
            .collect();
        let mut found = Self {
            codes: Vec::with_capacity(binned.len()),
            edges: Vec::with_capacity(binned.len()),
            has_missing: Vec::with_capacity(binned.len()),
            categories,
            rows: records.nrows(),
        };
        for (codes, edges, has_missing) in binned {
            found.codes.push(codes);
            found.edges.push(edges);
            found.has_missing.push(has_missing);
        }
        found
    }

    pub(crate) fn numbers(&self) -> usize {
        self.codes.len()
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Bins of a number, not counting the one for missing values.
    fn bins(&self, number: usize) -> usize {
        match self.categories[number] {
            0 => self.edges[number].len() + 1,
            categories => categories,
        }
    }
}

/// The bin of a category.
fn category(value: f64) -> u8 {
    if value.is_nan() { MISSING } else { value as u8 }
}

/// The borders between bins: halfway between neighbouring values where these are few, else at quantiles.
fn edges(column: ArrayView1<'_, f64>) -> Vec<f64> {
    let every = column.len().div_ceil(EDGE_ROWS).max(1);
    let mut values: Vec<f64> = column
        .iter()
        .step_by(every)
        .copied()
        .filter(|value| !value.is_nan())
        .collect();
    values.sort_unstable_by(f64::total_cmp);
    let mut distinct: Vec<(f64, usize)> = Vec::new();
    for value in values.iter().copied() {
        match distinct.last_mut() {
            Some((last, count)) if *last == value => *count += 1,
            _ => distinct.push((value, 1)),
        }
    }
    let between = |left: f64, right: f64| {
        let middle = left + (right - left) / 2.0;
        // Neighbouring floating point numbers have nothing between them; infinity has no middle.
        if middle.is_finite() && middle < right {
            middle
        } else {
            left
        }
    };
    if distinct.len() <= MOST_BINS {
        return distinct
            .windows(2)
            .map(|pair| between(pair[0].0, pair[1].0))
            .collect();
    }
    // A value that many rows have fills a bin of its own; the bins that are left share what rows are left.
    let (mut rows, mut bins) = (values.len(), MOST_BINS);
    let mut edges = Vec::with_capacity(MOST_BINS);
    let mut filled = 0;
    for pair in distinct.windows(2) {
        filled += pair[0].1;
        if filled * bins >= rows && bins > 1 {
            edges.push(between(pair[0].0, pair[1].0));
            rows -= filled;
            bins -= 1;
            filled = 0;
        }
    }
    edges
}

fn code(value: f64, edges: &[f64]) -> u8 {
    if value.is_nan() {
        MISSING
    } else {
        edges.partition_point(|edge| *edge < value) as u8
    }
}

/// What a tree learns of each row: values whose weighted mean a leaf says.
pub(crate) struct Goals<'a> {
    /// Weight times value, output by output in each row.
    pub(crate) sums: &'a [f64],
    /// How much each row counts.
    pub(crate) weights: &'a [f64],
    /// Values of a row.
    pub(crate) outputs: usize,
}

/// How a tree grows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growth<'a> {
    pub(crate) max_depth: usize,
    /// Leaves at most; the best cuts come first where there is a limit.
    pub(crate) max_leaves: usize,
    /// Training rows in a leaf, at least.
    pub(crate) min_samples_leaf: usize,
    /// Weight in a leaf, at least.
    pub(crate) min_weight_leaf: f64,
    /// What a cut must gain, at least.
    pub(crate) min_gain: f64,
    /// Added to each leaf's weight, which draws its value to 0.
    pub(crate) l2: f64,
    /// Numbers that each node looks at, chosen at random; more where none of these can be cut.
    pub(crate) max_features: usize,
    /// The numbers to choose from.
    pub(crate) numbers: &'a [usize],
    /// For each number: 1 where the value may only rise with it, -1 where it may only fall; empty for no such rule.
    pub(crate) monotone: &'a [i8],
    /// Whether numbers are looked at side by side; the tree is the same either way.
    pub(crate) in_parallel: bool,
    /// Looked at before each node is cut.
    pub(crate) cancellation: &'a Cancellation,
}

/// A node: a cut, or a leaf.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    /// The place of the number that is cut; none in a leaf.
    number: Option<u32>,
    /// Rows up to it go to the first child.
    cut: f64,
    /// Of categories in the place of a cut: the place of the set whose members go to the first child.
    set: Option<u32>,
    /// Where rows go whose number is missing.
    missing_first: bool,
    /// The two children.
    children: [u32; 2],
}

/// A tree, the root first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// The values of each node, output by output; those of leaves count.
    values: Vec<f64>,
    /// Sets of categories that nodes name.
    sets: Vec<Set>,
}

/// Categories, a bit for each.
type Set = [u64; 4];

/// Whether the set has this category.
fn has(set: &Set, category: usize) -> bool {
    set.get(category / 64)
        .is_some_and(|bits| bits >> (category % 64) & 1 == 1)
}

/// A cut that a node could make.
#[derive(Debug, Clone, Copy)]
struct Cut {
    gain: f64,
    number: usize,
    bin: u8,
    missing_first: bool,
}

/// A node that may still be cut.
struct Open {
    node: usize,
    /// Its rows' range.
    start: usize,
    end: usize,
    depth: usize,
    totals: Vec<f64>,
    cut: Option<Cut>,
    /// Between which values its own must lie.
    bounds: (f64, f64),
}

/// A grown tree, with the rows of each leaf.
pub(crate) struct Grown {
    pub(crate) tree: Tree,
    /// The rows, leaf by leaf.
    rows: Vec<u32>,
    /// Each leaf's node and its rows' range.
    leaves: Vec<(usize, usize, usize)>,
    /// What the cuts of each number gained.
    pub(crate) gains: Vec<f64>,
}

impl Grown {
    /// Each leaf's node and rows.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (usize, &[u32])> {
        self.leaves
            .iter()
            .map(|(node, start, end)| (*node, &self.rows[*start..*end]))
    }

    /// Replaces a leaf's values.
    pub(crate) fn set_value(&mut self, node: usize, value: f64) {
        self.tree.values[node] = value;
    }

    pub(crate) fn value(&self, node: usize) -> f64 {
        self.tree.values[node]
    }
}

struct Grower<'a> {
    binned: &'a Binned,
    goals: &'a Goals<'a>,
    growth: Growth<'a>,
    rows: Vec<u32>,
    /// Where a stable partition keeps the second child's rows.
    spare: Vec<u32>,
    tree: Tree,
    gains: Vec<f64>,
}

/// Grows a tree on these rows; a row may be named more than once.
///
/// # Errors
/// Only an interruption.
pub(crate) fn grow(
    binned: &Binned,
    goals: &Goals<'_>,
    rows: Vec<u32>,
    growth: Growth<'_>,
    generator: &mut ChaCha8Rng,
) -> Result<Grown> {
    let mut grower = Grower {
        binned,
        goals,
        growth,
        spare: Vec::with_capacity(rows.len()),
        rows,
        tree: Tree::default(),
        gains: vec![0.0; binned.numbers()],
    };
    let leaves = grower.grow(generator)?;
    Ok(Grown {
        tree: grower.tree,
        rows: grower.rows,
        leaves,
        gains: grower.gains,
    })
}

impl Grower<'_> {
    /// Sums of a bin or node: the outputs', the weight, the rows.
    fn width(&self) -> usize {
        self.goals.outputs + 2
    }

    fn grow(&mut self, generator: &mut ChaCha8Rng) -> Result<Vec<(usize, usize, usize)>> {
        let totals = self.totals(0, self.rows.len());
        let root = self.open(
            0,
            self.rows.len(),
            0,
            totals,
            (f64::NEG_INFINITY, f64::INFINITY),
            generator,
        );
        let is_limited = self.growth.max_leaves < self.rows.len();
        let mut open = vec![root];
        let mut leaves = Vec::new();
        while let Some(place) = next(&open, is_limited) {
            self.growth.cancellation.check()?;
            let node = open.swap_remove(place);
            let may_cut = leaves.len() + open.len() + 1 < self.growth.max_leaves;
            match node.cut.filter(|_| may_cut) {
                None => leaves.push((node.node, node.start, node.end)),
                Some(cut) => open.extend(self.part(&node, cut, generator)),
            }
        }
        leaves.sort_unstable();
        Ok(leaves)
    }

    /// Makes a node of these rows and finds its best cut.
    fn open(
        &mut self,
        start: usize,
        end: usize,
        depth: usize,
        totals: Vec<f64>,
        bounds: (f64, f64),
        generator: &mut ChaCha8Rng,
    ) -> Open {
        let node = self.tree.nodes.len();
        self.tree.nodes.push(Node {
            number: None,
            cut: 0.0,
            set: None,
            missing_first: false,
            children: [0; 2],
        });
        let outputs = self.goals.outputs;
        let weight = totals[outputs] + self.growth.l2;
        for sum in &totals[..outputs] {
            let value = if weight > 0.0 { sum / weight } else { 0.0 };
            self.tree.values.push(value.clamp(bounds.0, bounds.1));
        }
        let may_cut =
            depth < self.growth.max_depth && end - start >= 2 * self.growth.min_samples_leaf.max(1);
        let cut = may_cut
            .then(|| self.best(start, end, &totals, bounds, generator))
            .flatten();
        Open {
            node,
            start,
            end,
            depth,
            totals,
            cut,
            bounds,
        }
    }

    fn add(&self, row: usize, sums: &mut [f64]) {
        let outputs = self.goals.outputs;
        let of_row = &self.goals.sums[row * outputs..(row + 1) * outputs];
        for (sum, value) in sums.iter_mut().zip(of_row) {
            *sum += value;
        }
        sums[outputs] += self.goals.weights[row];
        sums[outputs + 1] += 1.0;
    }

    fn totals(&self, start: usize, end: usize) -> Vec<f64> {
        let mut totals = vec![0.0; self.width()];
        for row in &self.rows[start..end] {
            self.add(*row as usize, &mut totals);
        }
        totals
    }

    fn best(
        &self,
        start: usize,
        end: usize,
        totals: &[f64],
        bounds: (f64, f64),
        generator: &mut ChaCha8Rng,
    ) -> Option<Cut> {
        let mut numbers = self.growth.numbers.to_vec();
        let wanted = self.growth.max_features.min(numbers.len());
        let all = numbers.len();
        let mut draw = |numbers: &mut [usize], place: usize| {
            if wanted < all {
                let other = generator.random_range(place..all);
                numbers.swap(place, other);
            }
        };
        for place in 0..wanted {
            draw(&mut numbers, place);
        }
        let find = |number: &usize| self.best_of(*number, start, end, totals, bounds);
        let drawn = &numbers[..wanted];
        let cuts: Vec<Option<Cut>> =
            if self.growth.in_parallel && (end - start) * drawn.len() > 4096 {
                drawn.par_iter().map(find).collect()
            } else {
                drawn.iter().map(find).collect()
            };
        // Of equal gains the first number's, whatever order they were looked at in.
        let best = cuts.into_iter().flatten().reduce(|best, cut| {
            let is_better =
                cut.gain > best.gain || (cut.gain == best.gain && cut.number < best.number);
            if is_better { cut } else { best }
        });
        // Where none that was drawn can be cut, drawing goes on until one can, as in scikit-learn.
        best.or_else(|| {
            (wanted..all).find_map(|place| {
                draw(&mut numbers, place);
                find(&numbers[place])
            })
        })
    }

    fn score(&self, sums: &[f64]) -> f64 {
        let outputs = self.goals.outputs;
        let weight = sums[outputs] + self.growth.l2;
        if weight <= 0.0 {
            return 0.0;
        }
        sums[..outputs].iter().map(|sum| sum * sum).sum::<f64>() / weight
    }

    /// The best cut of one number.
    fn best_of(
        &self,
        number: usize,
        start: usize,
        end: usize,
        totals: &[f64],
        bounds: (f64, f64),
    ) -> Option<Cut> {
        let width = self.width();
        let codes = &self.binned.codes[number];
        let rows = &self.rows[start..end];
        let bins = self.binned.edges[number].len() + 1;
        if bins < 2 && !self.binned.has_missing[number] {
            return None;
        }
        let mut scan = Scan {
            grower: self,
            number,
            totals,
            bounds,
            parent: self.score(totals),
            missing: vec![0.0; width],
            first: vec![0.0; width],
            side: vec![0.0; width],
            rest: vec![0.0; width],
            best: None,
        };
        if rows.len() < FEW_ROWS {
            let mut sorted: Vec<(u8, u32)> = rows
                .iter()
                .map(|row| (codes[*row as usize], *row))
                .collect();
            sorted.sort_by_key(|(code, _)| *code);
            for (_, row) in sorted.iter().rev().take_while(|(code, _)| *code == MISSING) {
                self.add(*row as usize, &mut scan.missing);
            }
            for (place, (code, row)) in sorted.iter().enumerate() {
                if *code == MISSING {
                    break;
                }
                self.add(*row as usize, &mut scan.first);
                if sorted.get(place + 1).is_none_or(|(next, _)| next != code) {
                    scan.consider(*code);
                }
            }
        } else {
            let mut sums = vec![0.0; width * (MOST_BINS + 1)];
            for row in rows {
                let row = *row as usize;
                let place = codes[row] as usize * width;
                self.add(row, &mut sums[place..place + width]);
            }
            scan.missing
                .copy_from_slice(&sums[MISSING as usize * width..]);
            for (bin, of_bin) in sums.chunks_exact(width).take(bins).enumerate() {
                // An empty bin makes no other cut than the one before it.
                if of_bin[width - 1] > 0.0 {
                    for (sum, value) in scan.first.iter_mut().zip(of_bin) {
                        *sum += value;
                    }
                    scan.consider(bin as u8);
                }
            }
        }
        scan.best
    }

    /// Cuts a node into two.
    fn part(&mut self, node: &Open, cut: Cut, generator: &mut ChaCha8Rng) -> [Open; 2] {
        let codes = &self.binned.codes[cut.number];
        let is_first = |row: u32| match codes[row as usize] {
            MISSING => cut.missing_first,
            code => code <= cut.bin,
        };
        // Stable, so that sums have one order.
        self.spare.clear();
        let mut border = node.start;
        for place in node.start..node.end {
            let row = self.rows[place];
            if is_first(row) {
                self.rows[border] = row;
                border += 1;
            } else {
                self.spare.push(row);
            }
        }
        self.rows[border..node.end].copy_from_slice(&self.spare);
        let totals = self.totals(node.start, border);
        let rest: Vec<f64> = node
            .totals
            .iter()
            .zip(&totals)
            .map(|(all, first)| all - first)
            .collect();
        let (mut low, mut high) = (node.bounds, node.bounds);
        let direction = self.growth.monotone.get(cut.number).copied().unwrap_or(0);
        if direction != 0 {
            let value = |sums: &[f64]| {
                (sums[0] / (sums[1] + self.growth.l2)).clamp(node.bounds.0, node.bounds.1)
            };
            let middle = (value(&totals) + value(&rest)) / 2.0;
            if direction > 0 {
                (low.1, high.0) = (middle, middle);
            } else {
                (low.0, high.1) = (middle, middle);
            }
        }
        self.gains[cut.number] += cut.gain;
        let depth = node.depth + 1;
        let first = self.open(node.start, border, depth, totals, low, generator);
        let second = self.open(border, node.end, depth, rest, high, generator);
        self.tree.nodes[node.node] = Node {
            number: Some(cut.number as u32),
            cut: self.binned.edges[cut.number]
                .get(cut.bin as usize)
                .copied()
                .unwrap_or(f64::INFINITY),
            set: None,
            missing_first: cut.missing_first,
            children: [first.node as u32, second.node as u32],
        };
        [first, second]
    }
}

/// The node to cut next: the one that gains most, where leaves are limited; else the last, so that few are open at a time.
fn next(open: &[Open], is_limited: bool) -> Option<usize> {
    if !is_limited {
        return open.len().checked_sub(1);
    }
    let gain = |node: &Open| node.cut.map_or(f64::NEG_INFINITY, |cut| cut.gain);
    (0..open.len()).max_by(|left, right| {
        gain(&open[*left])
            .total_cmp(&gain(&open[*right]))
            .then(open[*right].node.cmp(&open[*left].node))
    })
}

/// Goes through the bins of one number from least to greatest.
struct Scan<'a> {
    grower: &'a Grower<'a>,
    number: usize,
    totals: &'a [f64],
    bounds: (f64, f64),
    parent: f64,
    missing: Vec<f64>,
    /// The rows up to the bin under way.
    first: Vec<f64>,
    /// The first part of the cut under way, and the other.
    side: Vec<f64>,
    rest: Vec<f64>,
    best: Option<Cut>,
}

impl Scan<'_> {
    /// Looks at the cut behind this bin, with missing values on either side of it.
    fn consider(&mut self, bin: u8) {
        let rows = self.first.len() - 1;
        let has_missing = self.missing[rows] > 0.0;
        // Where training had none, those to come go with the greater part.
        let first_is_greater = 2.0 * self.first[rows] >= self.totals[rows];
        let sides: &[bool] = if has_missing {
            &[false, true]
        } else {
            &[false]
        };
        for with_missing in sides.iter().copied() {
            self.side.copy_from_slice(&self.first);
            if with_missing {
                for (sum, value) in self.side.iter_mut().zip(&self.missing) {
                    *sum += value;
                }
            }
            if let Some(gain) = self.gain()
                && self.best.is_none_or(|best| gain > best.gain)
            {
                self.best = Some(Cut {
                    gain,
                    number: self.number,
                    bin,
                    missing_first: if has_missing {
                        with_missing
                    } else {
                        first_is_greater
                    },
                });
            }
        }
    }

    /// What the cut with `side` as its first part gains; none where it is not allowed.
    fn gain(&mut self) -> Option<f64> {
        let growth = &self.grower.growth;
        let outputs = self.grower.goals.outputs;
        let least = growth.min_samples_leaf.max(1) as f64;
        for (rest, (all, first)) in self.rest.iter_mut().zip(self.totals.iter().zip(&self.side)) {
            *rest = all - first;
        }
        let is_full = |sums: &[f64]| {
            sums[outputs + 1] >= least
                && sums[outputs] >= growth.min_weight_leaf
                && sums[outputs] > 0.0
        };
        if !is_full(&self.side) || !is_full(&self.rest) {
            return None;
        }
        let direction = growth.monotone.get(self.number).copied().unwrap_or(0);
        if direction != 0 {
            let value = |sums: &[f64]| {
                (sums[0] / (sums[1] + growth.l2)).clamp(self.bounds.0, self.bounds.1)
            };
            if (value(&self.rest) - value(&self.side)) * f64::from(direction) < 0.0 {
                return None;
            }
        }
        let gain = self.grower.score(&self.side) + self.grower.score(&self.rest) - self.parent;
        // What rounding alone may gain is nothing.
        let least_gain = growth.min_gain.max(1e-12 * self.parent.abs());
        (gain > least_gain).then_some(gain)
    }
}

/// Rows that go through a tree together. Small trees all stay in the cache, and so do these rows from tree to tree.
const TOGETHER: usize = 256;
/// Of a large tree there is room for one in the cache: many rows go through it before the next takes its place.
const TOGETHER_IN_LARGE: usize = 4096;
/// Steps of a large tree: 32 KB, what the fastest cache holds.
const LARGE: usize = 2048;
/// Rows that take their steps in turn: while one waits for its node, the others go on.
const ABREAST: usize = 8;

/// Set in a step's number where missing values go to the first child.
const MISSING_FIRST: u32 = 1 << 31;
/// Set in a step's number where a set of categories takes the place of a cut.
const BY_SET: u32 = 1 << 30;

/// A node on the way down; its first child is the next one.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Of a set of categories its place. Of a leaf not a number: no value is below it, so that the second child is next.
    cut: f64,
    number: u32,
    /// The second child; of a leaf itself, so that rows that have arrived stay while others go on.
    other: u32,
}

/// A tree to go through: small nodes, each beside its first child, so that a row's way meets few cache lines.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    steps: Vec<Step>,
    /// Where the values of each step begin, if it is a leaf.
    starts: Vec<u32>,
    values: Vec<f64>,
    outputs: usize,
    sets: Vec<Set>,
}

impl Walk {
    pub(crate) fn of(tree: &Tree) -> Self {
        let outputs = tree.values.len() / tree.nodes.len().max(1);
        let mut walk = Self {
            steps: Vec::with_capacity(tree.nodes.len()),
            starts: Vec::with_capacity(tree.nodes.len()),
            values: Vec::new(),
            outputs,
            sets: tree.sets.clone(),
        };
        // Nodes to come, each with the step whose second child it is.
        let mut open = vec![(0, None)];
        while let Some((place, parent)) = open.pop() {
            let here = walk.steps.len();
            if let Some(parent) = parent {
                let parent: &mut Step = &mut walk.steps[parent];
                parent.other = here as u32;
            }
            walk.starts.push(walk.values.len() as u32);
            let node: &Node = &tree.nodes[place];
            let step = match node.number {
                None => {
                    walk.values
                        .extend(&tree.values[place * outputs..(place + 1) * outputs]);
                    Step {
                        cut: f64::NAN,
                        number: 0,
                        other: here as u32,
                    }
                }
                Some(number) => {
                    open.push((node.children[1] as usize, Some(here)));
                    open.push((node.children[0] as usize, None));
                    let missing = if node.missing_first { MISSING_FIRST } else { 0 };
                    let by_set = if node.set.is_some() { BY_SET } else { 0 };
                    Step {
                        cut: node.set.map_or(node.cut, f64::from),
                        number: number | missing | by_set,
                        other: 0,
                    }
                }
            };
            walk.steps.push(step);
        }
        walk
    }

    /// Whether no cut is made: all rows come to one leaf.
    pub(crate) fn is_uncut(&self) -> bool {
        self.steps.len() <= 1
    }

    /// The values of the leaf that the row comes to.
    pub(crate) fn leaf(&self, row: &[f64]) -> &[f64] {
        let [leaf] = self.leaves([row]);
        leaf
    }

    /// The values of the leaves that the rows come to.
    fn leaves<const ROWS: usize>(&self, rows: [&[f64]; ROWS]) -> [&[f64]; ROWS] {
        match self.sets.is_empty() {
            true => self.leaves_by::<false, ROWS>(rows),
            false => self.leaves_by::<true, ROWS>(rows),
        }
    }

    fn leaves_by<const SETS: bool, const ROWS: usize>(
        &self,
        rows: [&[f64]; ROWS],
    ) -> [&[f64]; ROWS] {
        let mut places = [0; ROWS];
        // A tree of one leaf asks for no number, and there may be none.
        let mut is_moving = self.steps.len() > 1;
        while is_moving {
            is_moving = false;
            for (place, row) in places.iter_mut().zip(rows) {
                let next = self.next::<SETS>(*place, row);
                is_moving |= next != *place;
                *place = next;
            }
        }
        places.map(|place| {
            let start = self.starts[place as usize] as usize;
            &self.values[start..start + self.outputs]
        })
    }

    /// The step after this one: without a branch to guess wrong, unless there are sets.
    #[inline]
    fn next<const SETS: bool>(&self, place: u32, row: &[f64]) -> u32 {
        let step = self.steps[place as usize];
        let value = row[(step.number & !(MISSING_FIRST | BY_SET)) as usize];
        let is_first = if SETS && step.number & BY_SET != 0 && !value.is_nan() {
            has(&self.sets[step.cut as usize], value as usize)
        } else {
            (value <= step.cut) | (value.is_nan() & (step.number & MISSING_FIRST != 0))
        };
        if is_first { place + 1 } else { step.other }
    }
}

/// Adds up what the leaves of trees say of rows: for each row and tree, in the order of the trees, `add` gets the row's sums (so many
/// `outputs` a row), the tree's place and its leaf's values.
pub(crate) fn add_leaves<'t>(
    trees: &'t [Walk],
    rows: &Rows,
    sums: &mut [f64],
    outputs: usize,
    add: impl Fn(&mut [f64], usize, &'t [f64]) + Sync,
) {
    let is_large = |tree: &Walk| tree.steps.len() > LARGE;
    let together = match trees.iter().any(is_large) {
        // No more than leaves each thread some.
        true => (rows.len() / rayon::current_num_threads()).clamp(TOGETHER, TOGETHER_IN_LARGE),
        false => TOGETHER,
    };
    sums.par_chunks_mut(together * outputs)
        .enumerate()
        .for_each(|(block, sums)| {
            for (place, tree) in trees.iter().enumerate() {
                for (group, sums) in sums.chunks_mut(ABREAST * outputs).enumerate() {
                    let first = block * together + group * ABREAST;
                    if sums.len() == ABREAST * outputs {
                        let abreast = std::array::from_fn(|index| rows.row(first + index));
                        let leaves: [&[f64]; ABREAST] = tree.leaves(abreast);
                        for (sums, leaf) in sums.chunks_exact_mut(outputs).zip(leaves) {
                            add(sums, place, leaf);
                        }
                    } else {
                        for (index, sums) in sums.chunks_exact_mut(outputs).enumerate() {
                            add(sums, place, tree.leaf(rows.row(first + index)));
                        }
                    }
                }
            }
        });
}

impl Tree {
    /// The values of the leaf that the row comes to.
    #[cfg(test)]
    pub(crate) fn leaf(&self, row: &[f64]) -> Vec<f64> {
        Walk::of(self).leaf(row).to_vec()
    }

    /// Leaves of the tree.
    #[cfg(test)]
    pub(crate) fn leaves(&self) -> usize {
        self.nodes
            .iter()
            .filter(|node| node.number.is_none())
            .count()
    }
}

/// The state with these trees, each of so many outputs.
pub(crate) fn store(trees: &[Tree], state: State) -> State {
    let nodes = || trees.iter().flat_map(|tree| &tree.nodes);
    let whole = |of: &dyn Fn(&Node) -> i64| TensorData::I64(nodes().map(of).collect());
    let count = vec![nodes().count()];
    let values: Vec<f64> = trees
        .iter()
        .flat_map(|tree| &tree.values)
        .copied()
        .collect();
    let sizes = trees.iter().map(|tree| tree.nodes.len() as i64).collect();
    let state = state
        .with_tensor("sizes", vec![trees.len()], TensorData::I64(sizes))
        .with_tensor(
            "numbers",
            count.clone(),
            whole(&|node| node.number.map_or(-1, i64::from)),
        )
        .with_tensor(
            "cuts",
            count.clone(),
            TensorData::F64(nodes().map(|node| node.cut).collect()),
        )
        .with_tensor(
            "missing_first",
            count.clone(),
            whole(&|node| i64::from(node.missing_first)),
        )
        .with_tensor(
            "first_children",
            count.clone(),
            whole(&|node| i64::from(node.children[0])),
        )
        .with_tensor(
            "second_children",
            count,
            whole(&|node| i64::from(node.children[1])),
        )
        .with_tensor("values", vec![values.len()], TensorData::F64(values));
    // Most trees have none.
    if trees.iter().all(|tree| tree.sets.is_empty()) {
        return state;
    }
    let places = whole(&|node| node.set.map_or(-1, i64::from));
    let counts = trees.iter().map(|tree| tree.sets.len() as i64).collect();
    let sets: Vec<i64> = trees
        .iter()
        .flat_map(|tree| tree.sets.iter().flatten())
        .map(|bits| bits.cast_signed())
        .collect();
    state
        .with_tensor("sets_of_nodes", vec![nodes().count()], places)
        .with_tensor("sets_of_trees", vec![trees.len()], TensorData::I64(counts))
        .with_tensor("sets", vec![sets.len()], TensorData::I64(sets))
}

/// The trees of a state; a row gives so many numbers, a leaf so many outputs.
///
/// # Errors
/// Trees that do not fit together, so that no walk down a tree can fail or go on for ever.
pub(crate) fn read(state: &State, numbers: usize, outputs: usize) -> Result<Vec<Tree>> {
    let damaged = || Error::State("the trees do not fit together".into());
    let whole = |name: &str| match &state.tensor(name)?.data {
        TensorData::I64(values) => Ok(values),
        _ => Err(damaged()),
    };
    let real = |name: &str| match &state.tensor(name)?.data {
        TensorData::F64(values) => Ok(values),
        _ => Err(damaged()),
    };
    let (sizes, places) = (whole("sizes")?, whole("numbers")?);
    let children = [whole("first_children")?, whole("second_children")?];
    let (missing, cuts, values) = (whole("missing_first")?, real("cuts")?, real("values")?);
    let count = places.len();
    let lengths = [
        children[0].len(),
        children[1].len(),
        missing.len(),
        cuts.len(),
    ];
    if sizes.iter().any(|size| *size < 1)
        || sizes.iter().sum::<i64>() != count as i64
        || lengths != [count; 4]
        || values.len() != count * outputs
        || values.iter().any(|value| !value.is_finite())
    {
        return Err(damaged());
    }
    let has_sets = state.tensors.contains_key("sets");
    let (set_places, set_counts, sets) = match has_sets {
        true => (
            whole("sets_of_nodes")?.clone(),
            whole("sets_of_trees")?.clone(),
            whole("sets")?.clone(),
        ),
        false => (vec![-1; count], vec![0; sizes.len()], Vec::new()),
    };
    if set_places.len() != count
        || set_counts.len() != sizes.len()
        || set_counts.iter().any(|count| *count < 0)
        || set_counts
            .iter()
            .try_fold(0_i64, |sum, count| sum.checked_add(*count))
            != Some(sets.len() as i64 / 4)
        || sets.len() % 4 != 0
    {
        return Err(damaged());
    }
    let mut sets = sets.chunks_exact(4).map(|bits| {
        let mut set = Set::default();
        for (part, bits) in set.iter_mut().zip(bits) {
            *part = bits.cast_unsigned();
        }
        set
    });
    let mut start = 0;
    let mut trees = Vec::with_capacity(sizes.len());
    for (size, set_count) in sizes.iter().zip(set_counts) {
        let size = *size as usize;
        let mut nodes = Vec::with_capacity(size);
        for place in 0..size {
            let at = start + place;
            let number = u32::try_from(places[at]).ok();
            let [first, second] = [children[0][at], children[1][at]];
            let set = u32::try_from(set_places[at]).ok();
            // Children come after their parent, so that every walk ends.
            let is_child = |child: i64| child > place as i64 && child < size as i64;
            if number.is_some_and(|number| {
                number as usize >= numbers
                    || !is_child(first)
                    || !is_child(second)
                    || cuts[at].is_nan()
                    || set.is_some_and(|set| i64::from(set) >= set_count)
            }) {
                return Err(damaged());
            }
            let narrow = |child: i64| u32::try_from(child).map_err(|_| damaged());
            nodes.push(Node {
                number,
                cut: cuts[at],
                set,
                missing_first: missing[at] != 0,
                children: [narrow(first)?, narrow(second)?],
            });
        }
        let values = values[start * outputs..(start + size) * outputs].to_vec();
        let sets = sets.by_ref().take(set_count as usize).collect();
        trees.push(Tree {
            nodes,
            values,
            sets,
        });
        start += size;
    }
    Ok(trees)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn plain(numbers: &[usize]) -> Growth<'_> {
        Growth {
            max_depth: usize::MAX,
            max_leaves: usize::MAX,
            min_samples_leaf: 1,
            min_weight_leaf: 0.0,
            min_gain: 0.0,
            l2: 0.0,
            max_features: usize::MAX,
            numbers,
            monotone: &[],
            in_parallel: false,
            cancellation: &NEVER,
        }
    }

    static NEVER: std::sync::LazyLock<Cancellation> =
        std::sync::LazyLock::new(Cancellation::default);

    fn grown(records: &Array2<f64>, values: &[f64], growth: Growth<'_>) -> Grown {
        let goals = Goals {
            sums: values,
            weights: &vec![1.0; values.len()],
            outputs: 1,
        };
        let rows = (0..values.len() as u32).collect();
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        grow(&Binned::new(records), &goals, rows, growth, &mut generator).expect("a tree")
    }

    #[test]
    fn drawing_goes_on_until_a_number_can_be_cut() {
        // Of ten numbers only the last tells rows apart.
        let records = Array2::from_shape_fn(
            (40, 10),
            |(row, number)| {
                if number == 9 { row as f64 } else { 1.0 }
            },
        );
        let values: Vec<f64> = (0..40).map(f64::from).collect();
        let numbers: Vec<usize> = (0..10).collect();
        let growth = Growth {
            max_features: 1,
            ..plain(&numbers)
        };
        assert_eq!(grown(&records, &values, growth).tree.leaves(), 40);
    }

    #[test]
    fn growing_ends_when_asked() {
        let cancellation = Cancellation::default();
        cancellation.cancel();
        let records = ndarray::array![[1.0], [2.0]];
        let goals = Goals {
            sums: &[1.0, 2.0],
            weights: &[1.0, 1.0],
            outputs: 1,
        };
        let growth = Growth {
            cancellation: &cancellation,
            ..plain(&[0])
        };
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let grown = grow(
            &Binned::new(&records),
            &goals,
            vec![0, 1],
            growth,
            &mut generator,
        );
        assert!(matches!(grown, Err(Error::Interrupted)));
    }

    #[test]
    fn a_step_is_cut_halfway() {
        let records = ndarray::array![[1.0], [2.0], [4.0], [5.0]];
        let found = grown(&records, &[0.0, 0.0, 6.0, 6.0], plain(&[0]));
        assert_eq!(found.tree.leaves(), 2);
        let at = |value: f64| found.tree.leaf(&[value])[0];
        assert_eq!((at(2.9), at(3.0), at(3.1), at(-9.0)), (0.0, 0.0, 6.0, 0.0));
        // 4 rows of variance 9.
        assert_eq!(found.gains, [36.0]);
    }

    #[test]
    fn missing_values_learn_their_side() {
        let records = ndarray::array![[1.0], [2.0], [4.0], [5.0], [f64::NAN], [f64::NAN]];
        let found = grown(&records, &[0.0, 0.0, 6.0, 6.0, 0.0, 0.0], plain(&[0]));
        assert_eq!(found.tree.leaves(), 2);
        assert_eq!(found.tree.leaf(&[f64::NAN]), [0.0]);
        let found = grown(&records, &[0.0, 0.0, 6.0, 6.0, 6.0, 6.0], plain(&[0]));
        assert_eq!(found.tree.leaf(&[f64::NAN]), [6.0]);
    }

    #[test]
    fn limited_leaves_go_where_they_gain_most() {
        let records = Array2::from_shape_fn((8, 1), |(row, _)| row as f64);
        let values = [0.0, 1.0, 0.0, 1.0, 10.0, 10.0, 90.0, 90.0];
        let growth = Growth {
            max_leaves: 3,
            ..plain(&[0])
        };
        let found = grown(&records, &values, growth);
        let leaves: Vec<f64> = (0..8)
            .map(|row| found.tree.leaf(&records.row(row).to_vec())[0])
            .collect();
        assert_eq!(leaves, [0.5, 0.5, 0.5, 0.5, 10.0, 10.0, 90.0, 90.0]);
    }

    #[test]
    fn a_rising_number_never_lowers_the_value() {
        let records = Array2::from_shape_fn((300, 1), |(row, _)| row as f64);
        let values: Vec<f64> = (0..300)
            .map(|row| f64::from(row) + 60.0 * (f64::from(row) / 9.0).sin())
            .collect();
        let growth = Growth {
            monotone: &[1],
            min_samples_leaf: 5,
            ..plain(&[0])
        };
        let found = grown(&records, &values, growth);
        let leaves: Vec<f64> = (0..300)
            .map(|row| found.tree.leaf(&records.row(row).to_vec())[0])
            .collect();
        assert!(
            leaves.is_sorted() && leaves[299] > leaves[0] + 100.0,
            "{leaves:?}"
        );
        let free = grown(
            &records,
            &values,
            Growth {
                monotone: &[],
                ..growth
            },
        );
        let leaves: Vec<f64> = (0..300)
            .map(|row| free.tree.leaf(&records.row(row).to_vec())[0])
            .collect();
        assert!(!leaves.is_sorted());
    }

    #[test]
    fn trees_come_back_from_a_state_and_damaged_ones_do_not() {
        let records = Array2::from_shape_fn((200, 2), |(row, number)| {
            ((row * 7 + number * 13) % 31) as f64
        });
        let values: Vec<f64> = (0..200).map(|row| f64::from(row % 11)).collect();
        let tree = grown(&records, &values, plain(&[0, 1])).tree;
        let state = || {
            store(
                std::slice::from_ref(&tree),
                State::from_data(1, &()).expect("a state"),
            )
        };
        assert_eq!(
            read(&state(), 2, 1).expect("trees"),
            std::slice::from_ref(&tree)
        );
        assert!(read(&state(), 1, 1).is_err() && read(&state(), 2, 2).is_err());
        let mut damaged = state();
        let children = damaged.tensors.get_mut("first_children").expect("a tensor");
        if let TensorData::I64(values) = &mut children.data {
            values[0] = 0;
        }
        assert!(read(&damaged, 2, 1).is_err());
    }

    #[test]
    fn a_frequent_value_leaves_the_others_their_bins() {
        let column: ndarray::Array1<f64> = (0..20_000)
            .map(|row| f64::from(if row % 10 == 0 { row } else { 0 }))
            .collect();
        let edges = edges(column.view());
        let upper = edges.iter().filter(|edge| **edge > 10_000.0).count();
        assert!((120..=135).contains(&upper), "{upper} of {}", edges.len());
    }

    #[test]
    fn many_values_share_bins_of_like_size() {
        let column: ndarray::Array1<f64> = (0..10_000).map(|row| f64::from(row).powi(2)).collect();
        let edges = edges(column.view());
        assert_eq!(edges.len(), MOST_BINS - 1);
        let mut counts = vec![0; MOST_BINS];
        for value in &column {
            counts[code(*value, &edges) as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| (38..=41).contains(count)),
            "{counts:?}"
        );
    }
}
