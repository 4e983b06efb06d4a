//! Trees for boosting: one value a row, the leaf that gains most first, categories cut into two sets.
//!
//! A node keeps the sums of all bins of all its numbers. Of two children only the one with fewer rows adds up its rows; the other's sums
//! are the parent's less its sibling's (Ke et al.: "LightGBM", 2017). Each number's bins are added up in the order of the rows, whatever
//! thread does it, so that trees are the same on any number of cores.

use rayon::prelude::*;
use taktline_core::{Cancellation, Result};

use super::{Binned, Grown, MISSING, Node, Set, Tree};

/// Rows whose slopes stay in the nearest cache while all numbers add them up.
const BLOCK: usize = 1024;
/// Sums that one thread adds up at least.
const FEW_SUMS: usize = 16_384;
/// Sums of a number: one for each bin that a code can name, so that none has to be looked for.
const WIDTH: usize = MISSING as usize + 1;
/// Rows whose slopes one thread brings together, at least.
const FEW_ROWS: usize = 16_384;
/// Bytes of the sums that open nodes keep, at most; a node without its own adds up its rows once more.
const KEPT_BYTES: usize = 1 << 29;

/// Categories of a number up to which each is tried against all others.
const FEW_CATEGORIES: usize = 4;
/// Rows of a category that is put in order with others, at least; it also draws its slope to 0.
const CATEGORY_SMOOTH: f64 = 10.0;
/// Added to the curvature of both sides of a cut between sets of categories.
const CATEGORY_L2: f64 = 10.0;
/// Categories on the smaller side of a cut, at most.
const SIDE_CATEGORIES: usize = 32;
/// Rows that a step through the ordered categories adds, at least.
const GROUP_ROWS: f64 = 100.0;

/// Each row's slope and curvature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slopes<'a> {
    /// The negative gradient of the loss, output by output in each row.
    pub(crate) gradients: &'a [f64],
    /// Its curvature.
    pub(crate) curvatures: &'a [f64],
    /// Values of a row.
    pub(crate) outputs: usize,
    /// The output that the tree is for.
    pub(crate) output: usize,
}

/// How a tree grows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) max_depth: usize,
    pub(crate) max_leaves: usize,
    /// Training rows in a leaf, at least.
    pub(crate) min_samples_leaf: usize,
    /// Curvature in a leaf, at least.
    pub(crate) min_weight_leaf: f64,
    /// Added to each leaf's curvature, which draws its value to 0.
    pub(crate) l2: f64,
    /// The numbers to cut by.
    pub(crate) numbers: &'a [usize],
    /// For each number: 1 where the value may only rise with it, -1 where it may only fall; empty for no such rule.
    pub(crate) monotone: &'a [i8],
    /// Looked at before each node is cut.
    pub(crate) cancellation: &'a Cancellation,
}

/// Sums over rows. Aligned so that none lies in two cache lines.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
struct Sum {
    gradient: f64,
    weight: f64,
    rows: f64,
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.gradient += other.gradient;
        self.weight += other.weight;
        self.rows += other.rows;
    }

    fn less(&self, other: &Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            weight: self.weight - other.weight,
            rows: self.rows - other.rows,
        }
    }

    fn score(&self, l2: f64) -> f64 {
        let weight = self.weight + l2;
        if weight > 0.0 {
            self.gradient * self.gradient / weight
        } else {
            0.0
        }
    }

    fn value(&self, l2: f64) -> f64 {
        let weight = self.weight + l2;
        if weight > 0.0 {
            self.gradient / weight
        } else {
            0.0
        }
    }
}

/// Which rows go to the first child.
#[derive(Debug, Clone, Copy)]
enum First {
    /// Those up to this bin.
    UpTo(u8),
    /// Those of these categories.
    Of(Set),
}

/// A cut that a node could make.
#[derive(Debug, Clone, Copy)]
struct Cut {
    gain: f64,
    number: usize,
    first: First,
    missing_first: bool,
}

/// A node that may still be cut.
struct Open {
    node: usize,
    start: usize,
    end: usize,
    depth: usize,
    total: Sum,
    cut: Option<Cut>,
    /// Between which values its own must lie.
    bounds: (f64, f64),
    /// The sums of its bins, where they are kept.
    sums: Option<Vec<Bins>>,
}

/// What a search needs to know of a node.
#[derive(Debug, Clone, Copy)]
struct Place {
    total: Sum,
    bounds: (f64, f64),
    may_cut: bool,
}

struct Grower<'a> {
    binned: &'a Binned,
    slopes: Slopes<'a>,
    rules: Rules<'a>,
    rows: Vec<u32>,
    /// Where a stable partition keeps the second child's rows.
    spare: Vec<u32>,
    /// Sums of nodes that are done, to be used again.
    pool: Vec<Vec<Bins>>,
    /// Nodes that keep theirs.
    kept: usize,
    tree: Tree,
    gains: Vec<f64>,
}

/// Grows a tree on these rows.
///
/// # Errors
/// Only an interruption.
pub(crate) fn grow(
    binned: &Binned,
    slopes: Slopes<'_>,
    rows: Vec<u32>,
    rules: Rules<'_>,
) -> Result<Grown> {
    let mut grower = Grower {
        binned,
        slopes,
        rules,
        spare: Vec::with_capacity(rows.len()),
        rows,
        pool: Vec::new(),
        kept: 0,
        tree: Tree::default(),
        gains: vec![0.0; binned.numbers()],
    };
    let leaves = grower.grow()?;
    Ok(Grown {
        tree: grower.tree,
        rows: grower.rows,
        leaves,
        gains: grower.gains,
    })
}

/// The sums of a number's bins, the last of them for missing values.
type Bins = [Sum; WIDTH];

/// Sums up the bins of some numbers of one node, or of two, and finds their best cuts.
struct Job<'a> {
    /// Their places among the tree's numbers.
    places: std::ops::Range<usize>,
    /// The sums of the node whose rows are added up.
    added: &'a mut [Bins],
    /// Those of its parent, which become its sibling's.
    rest: Option<&'a mut [Bins]>,
}

impl Grower<'_> {
    fn grow(&mut self) -> Result<Vec<(usize, usize, usize)>> {
        let end = self.rows.len();
        let slopes = self.gather(0, end);
        let total = total(&slopes);
        let root = Place {
            total,
            bounds: (f64::NEG_INFINITY, f64::INFINITY),
            may_cut: self.may_cut(0, end, 0) && self.rules.max_leaves > 1,
        };
        let (cut, sums) = match root.may_cut {
            true => {
                let mut sums = self.sums();
                let [cut, _] = self.search(0, end, &slopes, &mut sums, None, [root, root]);
                (cut, Some(sums))
            }
            false => (None, None),
        };
        let root = self.open((0, end), 0, root, cut, sums);
        let mut open = vec![root];
        let mut leaves = Vec::new();
        while let Some(place) = next(&open) {
            self.rules.cancellation.check()?;
            let mut node = open.swap_remove(place);
            let may_cut = leaves.len() + open.len() + 1 < self.rules.max_leaves;
            match node.cut.filter(|_| may_cut) {
                None => {
                    leaves.push((node.node, node.start, node.end));
                    let sums = node.sums.take();
                    self.keep_for_later(sums);
                }
                Some(cut) => {
                    let are_last = leaves.len() + open.len() + 2 >= self.rules.max_leaves;
                    open.extend(self.part(node, cut, are_last));
                }
            }
        }
        leaves.sort_unstable();
        Ok(leaves)
    }

    fn may_cut(&self, start: usize, end: usize, depth: usize) -> bool {
        depth < self.rules.max_depth && end - start >= 2 * self.rules.min_samples_leaf.max(1)
    }

    /// The slopes of these rows, side by side.
    fn gather(&self, start: usize, end: usize) -> Vec<[f64; 2]> {
        let Slopes {
            gradients,
            curvatures,
            outputs,
            output,
        } = self.slopes;
        let of_row = |row: &u32| {
            let place = *row as usize * outputs + output;
            [gradients[place], curvatures[place]]
        };
        self.rows[start..end]
            .par_iter()
            .with_min_len(FEW_ROWS)
            .map(of_row)
            .collect()
    }

    /// Room for the sums of a node.
    fn sums(&mut self) -> Vec<Bins> {
        self.kept += 1;
        self.pool
            .pop()
            .unwrap_or_else(|| vec![[Sum::default(); WIDTH]; self.rules.numbers.len()])
    }

    fn keep_for_later(&mut self, sums: Option<Vec<Bins>>) {
        if let Some(sums) = sums {
            self.kept -= 1;
            self.pool.push(sums);
        }
    }

    fn open(
        &mut self,
        (start, end): (usize, usize),
        depth: usize,
        place: Place,
        cut: Option<Cut>,
        mut sums: Option<Vec<Bins>>,
    ) -> Open {
        let node = self.tree.nodes.len();
        self.tree.nodes.push(Node {
            number: None,
            cut: 0.0,
            set: None,
            missing_first: false,
            children: [0; 2],
        });
        let value = place.total.value(self.rules.l2);
        self.tree
            .values
            .push(value.clamp(place.bounds.0, place.bounds.1));
        let bytes = self.rules.numbers.len() * size_of::<Bins>();
        if cut.is_none() || self.kept * bytes > KEPT_BYTES {
            let sums = sums.take();
            self.keep_for_later(sums);
        }
        Open {
            node,
            start,
            end,
            depth,
            total: place.total,
            cut,
            bounds: place.bounds,
            sums,
        }
    }

    /// Adds up the bins of these rows in `added`, takes them from `rest`, and finds the best cuts of both.
    fn search(
        &self,
        start: usize,
        end: usize,
        slopes: &[[f64; 2]],
        added: &mut [Bins],
        rest: Option<&mut [Bins]>,
        nodes: [Place; 2],
    ) -> [Option<Cut>; 2] {
        let numbers = self.rules.numbers.len();
        let rows = &self.rows[start..end];
        let work = (rows.len() + 2 * WIDTH) * numbers;
        let parts = match work > FEW_SUMS {
            true => numbers.min(2 * rayon::current_num_threads()),
            false => 1,
        };
        let mut jobs = Vec::with_capacity(parts);
        let (mut added, mut rest) = (added, rest);
        let mut first = 0;
        for part in 0..parts {
            let last = numbers * (part + 1) / parts;
            let (mine, others) = added.split_at_mut(last - first);
            added = others;
            let rest_of_mine = match rest.take() {
                Some(all) => {
                    let (mine, others) = all.split_at_mut(last - first);
                    rest = Some(others);
                    Some(mine)
                }
                None => None,
            };
            jobs.push(Job {
                places: first..last,
                added: mine,
                rest: rest_of_mine,
            });
            first = last;
        }
        let run = |job: Job<'_>| self.run(job, rows, slopes, nodes);
        let found: Vec<[Option<Cut>; 2]> = match parts {
            1 => jobs.into_iter().map(run).collect(),
            _ => jobs.into_par_iter().map(run).collect(),
        };
        // Jobs come in the order of the numbers: of equal gains the first number's is taken.
        found.into_iter().fold([None, None], |best, found| {
            [0, 1].map(|side| better(best[side], found[side]))
        })
    }

    fn run(
        &self,
        job: Job<'_>,
        rows: &[u32],
        slopes: &[[f64; 2]],
        nodes: [Place; 2],
    ) -> [Option<Cut>; 2] {
        let Job {
            places,
            added,
            mut rest,
        } = job;
        added.fill([Sum::default(); WIDTH]);
        for (rows, slopes) in rows.chunks(BLOCK).zip(slopes.chunks(BLOCK)) {
            for (place, sums) in places.clone().zip(added.iter_mut()) {
                let codes = self.binned.codes[self.rules.numbers[place]].as_slice();
                for (row, slope) in rows.iter().zip(slopes) {
                    let sum = &mut sums[codes[*row as usize] as usize];
                    sum.gradient += slope[0];
                    sum.weight += slope[1];
                    sum.rows += 1.0;
                }
            }
        }
        if let Some(rest) = rest.as_deref_mut() {
            for (rest, added) in rest.as_flattened_mut().iter_mut().zip(added.as_flattened()) {
                *rest = rest.less(added);
            }
        }
        let mut best = [None, None];
        for (index, place) in places.enumerate() {
            let number = self.rules.numbers[place];
            if nodes[0].may_cut {
                best[0] = better(best[0], self.best_of(number, &added[index], nodes[0]));
            }
            if let Some(rest) = rest.as_deref()
                && nodes[1].may_cut
            {
                best[1] = better(best[1], self.best_of(number, &rest[index], nodes[1]));
            }
        }
        best
    }

    /// The best cut of one number.
    fn best_of(&self, number: usize, sums: &Bins, node: Place) -> Option<Cut> {
        let bins = self.binned.bins(number);
        let missing = match self.binned.has_missing[number] {
            true => sums[MISSING as usize],
            false => Sum::default(),
        };
        if bins < 2 && missing.rows == 0.0 {
            return None;
        }
        let mut scan = Scan {
            rules: &self.rules,
            number,
            direction: self.rules.monotone.get(number).copied().unwrap_or(0),
            node,
            parent: node.total.score(self.rules.l2),
            missing,
            best: None,
        };
        match self.binned.categories[number] {
            0 => scan.amounts(&sums[..bins]),
            _ => scan.categories(&sums[..bins]),
        }
        scan.best
    }

    /// Cuts a node into two.
    fn part(&mut self, mut node: Open, cut: Cut, are_last: bool) -> [Open; 2] {
        let border = self.divide(&node, cut);
        let sizes = [border - node.start, node.end - border];
        let few = usize::from(sizes[1] < sizes[0]);
        let ranges = [(node.start, border), (border, node.end)];
        let slopes = self.gather(ranges[few].0, ranges[few].1);
        let of_few = total(&slopes);
        let mut totals = [of_few; 2];
        totals[1 - few] = node.total.less(&of_few);

        let (mut low, mut high) = (node.bounds, node.bounds);
        let direction = self.rules.monotone.get(cut.number).copied().unwrap_or(0);
        if direction != 0 {
            let value = |sum: &Sum| sum.value(self.rules.l2).clamp(node.bounds.0, node.bounds.1);
            let middle = (value(&totals[0]) + value(&totals[1])) / 2.0;
            if direction > 0 {
                (low.1, high.0) = (middle, middle);
            } else {
                (low.0, high.1) = (middle, middle);
            }
        }
        self.gains[cut.number] += cut.gain;
        let depth = node.depth + 1;
        let bounds = [low, high];
        let places = [0, 1].map(|side| Place {
            total: totals[side],
            bounds: bounds[side],
            may_cut: !are_last && self.may_cut(ranges[side].0, ranges[side].1, depth),
        });
        let mut cuts = [None, None];
        let mut sums = [None, None];
        let parent = node.sums.take();
        if places.iter().any(|place| place.may_cut) {
            let (start, end) = ranges[few];
            let order = [places[few], places[1 - few]];
            let mut added = self.sums();
            match parent {
                Some(mut rest) => {
                    let found =
                        self.search(start, end, &slopes, &mut added, Some(&mut rest), order);
                    (cuts[few], cuts[1 - few]) = (found[0], found[1]);
                    sums[1 - few] = Some(rest);
                }
                None => {
                    let [found, _] = self.search(start, end, &slopes, &mut added, None, order);
                    cuts[few] = found;
                    let (start, end) = ranges[1 - few];
                    let slopes = self.gather(start, end);
                    let mut rest = self.sums();
                    let order = [places[1 - few]; 2];
                    let [found, _] = self.search(start, end, &slopes, &mut rest, None, order);
                    cuts[1 - few] = found;
                    sums[1 - few] = Some(rest);
                }
            }
            sums[few] = Some(added);
        } else {
            self.keep_for_later(parent);
        }
        let [first_sums, second_sums] = sums;
        let first = self.open(ranges[0], depth, places[0], cuts[0], first_sums);
        let second = self.open(ranges[1], depth, places[1], cuts[1], second_sums);
        let (edge, set) = match cut.first {
            First::UpTo(bin) => {
                let edge = self.binned.edges[cut.number].get(bin as usize).copied();
                (edge.unwrap_or(f64::INFINITY), None)
            }
            First::Of(set) => {
                self.tree.sets.push(set);
                (0.0, Some(self.tree.sets.len() as u32 - 1))
            }
        };
        self.tree.nodes[node.node] = Node {
            number: Some(cut.number as u32),
            cut: edge,
            set,
            missing_first: cut.missing_first,
            children: [first.node as u32, second.node as u32],
        };
        [first, second]
    }

    /// Puts the rows of the first child before those of the second, both in their order; where the second begins.
    fn divide(&mut self, node: &Open, cut: Cut) -> usize {
        let codes = &self.binned.codes[cut.number];
        // A look-up is as quick for sets as for amounts.
        let mut is_first = [false; MISSING as usize + 1];
        for (code, is_first) in is_first.iter_mut().enumerate() {
            *is_first = match cut.first {
                _ if code == MISSING as usize => cut.missing_first,
                First::UpTo(bin) => code <= bin as usize,
                First::Of(set) => super::has(&set, code),
            };
        }
        self.spare.clear();
        let mut border = node.start;
        for place in node.start..node.end {
            let row = self.rows[place];
            if is_first[codes[row as usize] as usize] {
                self.rows[border] = row;
                border += 1;
            } else {
                self.spare.push(row);
            }
        }
        self.rows[border..node.end].copy_from_slice(&self.spare);
        border
    }
}

fn total(slopes: &[[f64; 2]]) -> Sum {
    let mut total = Sum {
        rows: slopes.len() as f64,
        ..Sum::default()
    };
    for slope in slopes {
        total.gradient += slope[0];
        total.weight += slope[1];
    }
    total
}

/// The cut that gains more; of equal gains the first.
fn better(best: Option<Cut>, cut: Option<Cut>) -> Option<Cut> {
    match (best, cut) {
        (Some(best), Some(cut)) if cut.gain > best.gain => Some(cut),
        (None, cut) => cut,
        (best, _) => best,
    }
}

/// The node to cut next: the one that gains most; of equal gains the first.
fn next(open: &[Open]) -> Option<usize> {
    let gain = |node: &Open| node.cut.map_or(f64::NEG_INFINITY, |cut| cut.gain);
    (0..open.len()).max_by(|left, right| {
        gain(&open[*left])
            .total_cmp(&gain(&open[*right]))
            .then(open[*right].node.cmp(&open[*left].node))
    })
}

/// Goes through the bins of one number.
struct Scan<'a> {
    rules: &'a Rules<'a>,
    number: usize,
    direction: i8,
    node: Place,
    parent: f64,
    missing: Sum,
    best: Option<Cut>,
}

impl Scan<'_> {
    /// From least to greatest.
    fn amounts(&mut self, bins: &[Sum]) {
        let mut first = Sum::default();
        for (bin, sum) in bins.iter().enumerate() {
            // An empty bin makes no other cut than the one before it.
            if sum.rows > 0.0 {
                first.add(sum);
                self.consider(&first, self.rules.l2, || First::UpTo(bin as u8));
            }
        }
    }

    /// Of few categories each against all others; of more in the order of their slopes, from both ends, where the best cut into two sets
    /// lies (Fisher: "On Grouping for Maximum Homogeneity", 1958).
    fn categories(&mut self, bins: &[Sum]) {
        let there = bins.iter().filter(|sum| sum.rows > 0.0).count();
        if there <= FEW_CATEGORIES {
            for (category, sum) in bins.iter().enumerate() {
                if sum.rows > 0.0 {
                    self.consider(sum, self.rules.l2, || {
                        First::Of(with(Set::default(), category))
                    });
                }
            }
            return;
        }
        let slope = |category: usize| {
            let sum: &Sum = &bins[category];
            sum.gradient / (sum.weight + CATEGORY_SMOOTH)
        };
        let mut order: Vec<usize> = (0..bins.len())
            .filter(|category| bins[*category].rows >= CATEGORY_SMOOTH)
            .collect();
        order.sort_by(|left, right| slope(*left).total_cmp(&slope(*right)));
        let most = SIDE_CATEGORIES.min(order.len().div_ceil(2));
        for from_the_end in [false, true] {
            if from_the_end {
                order.reverse();
            }
            let (mut first, mut set, mut added) = (Sum::default(), Set::default(), 0.0);
            for category in order.iter().take(most) {
                first.add(&bins[*category]);
                set = with(set, *category);
                added += bins[*category].rows;
                if self.node.total.rows - first.rows < GROUP_ROWS {
                    break;
                }
                if added >= GROUP_ROWS {
                    added = 0.0;
                    self.consider(&first, self.rules.l2 + CATEGORY_L2, || First::Of(set));
                }
            }
        }
    }

    /// Looks at the cut with these rows as its first part, with missing values on either side of it.
    fn consider(&mut self, first: &Sum, l2: f64, side: impl Fn() -> First) {
        let has_missing = self.missing.rows > 0.0;
        // Where training had none, those to come go with the greater part.
        let first_is_greater = 2.0 * first.rows >= self.node.total.rows;
        if let Some(gain) = self.gain(first, l2)
            && self.best.is_none_or(|best| gain > best.gain)
        {
            self.best = Some(Cut {
                gain,
                number: self.number,
                first: side(),
                missing_first: !has_missing && first_is_greater,
            });
        }
        if has_missing {
            let mut first = *first;
            first.add(&self.missing);
            if let Some(gain) = self.gain(&first, l2)
                && self.best.is_none_or(|best| gain > best.gain)
            {
                self.best = Some(Cut {
                    gain,
                    number: self.number,
                    first: side(),
                    missing_first: true,
                });
            }
        }
    }

    /// What the cut gains; none where it is not allowed.
    fn gain(&self, first: &Sum, l2: f64) -> Option<f64> {
        let rules = self.rules;
        let rest = self.node.total.less(first);
        let least = rules.min_samples_leaf.max(1) as f64;
        let is_full = |sum: &Sum| {
            sum.rows >= least && sum.weight >= rules.min_weight_leaf && sum.weight > 0.0
        };
        if !is_full(first) || !is_full(&rest) {
            return None;
        }
        if self.direction != 0 {
            let (low, high) = self.node.bounds;
            let value = |sum: &Sum| sum.value(l2).clamp(low, high);
            if (value(&rest) - value(first)) * f64::from(self.direction) < 0.0 {
                return None;
            }
        }
        let gain = first.score(l2) + rest.score(l2) - self.parent;
        // What rounding alone may gain is nothing.
        (gain > 1e-12 * self.parent.abs()).then_some(gain)
    }
}

/// The set with this category too.
fn with(mut set: Set, category: usize) -> Set {
    if let Some(bits) = set.get_mut(category / 64) {
        *bits |= 1 << (category % 64);
    }
    set
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    fn plain(numbers: &[usize]) -> Rules<'_> {
        Rules {
            max_depth: usize::MAX,
            max_leaves: usize::MAX,
            min_samples_leaf: 1,
            min_weight_leaf: 0.0,
            l2: 0.0,
            numbers,
            monotone: &[],
            cancellation: &NEVER,
        }
    }

    static NEVER: std::sync::LazyLock<Cancellation> =
        std::sync::LazyLock::new(Cancellation::default);

    fn grown(binned: &Binned, values: &[f64], rules: Rules<'_>) -> Grown {
        let slopes = Slopes {
            gradients: values,
            curvatures: &vec![1.0; values.len()],
            outputs: 1,
            output: 0,
        };
        let rows = (0..values.len() as u32).collect();
        grow(binned, slopes, rows, rules).expect("a tree")
    }

    fn leaves(found: &Grown, records: &Array2<f64>) -> Vec<f64> {
        records
            .rows()
            .into_iter()
            .map(|row| found.tree.leaf(&row.to_vec())[0])
            .collect()
    }

    /// The grower of single trees adds every node's rows up; sums that are a parent's less a sibling's find the same tree.
    #[test]
    fn trees_are_those_of_the_grower_that_subtracts_nothing() {
        use rand::SeedableRng;
        let records = Array2::from_shape_fn((3000, 7), |(row, number)| {
            let value = (row * (2 * number + 3) * 7919 % 1009) as f64;
            // Some are missing.
            if number == 2 && row % 5 == 0 {
                f64::NAN
            } else {
                value
            }
        });
        let values: Vec<f64> = (0..3000).map(|row| ((row * 31) % 97) as f64).collect();
        let binned = Binned::new(&records);
        let numbers: Vec<usize> = (0..7).collect();
        let rules = Rules {
            max_leaves: 40,
            min_samples_leaf: 5,
            ..plain(&numbers)
        };
        let found = grown(&binned, &values, rules);
        let goals = super::super::Goals {
            sums: &values,
            weights: &vec![1.0; values.len()],
            outputs: 1,
        };
        let growth = super::super::Growth {
            max_depth: usize::MAX,
            max_leaves: 40,
            min_samples_leaf: 5,
            min_weight_leaf: 0.0,
            min_gain: 0.0,
            l2: 0.0,
            max_features: usize::MAX,
            numbers: &numbers,
            monotone: &[],
            in_parallel: false,
            cancellation: &NEVER,
        };
        let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let plain =
            super::super::grow(&binned, &goals, (0..3000).collect(), growth, &mut generator)
                .expect("a tree");
        crate::testing::close(&leaves(&found, &records), &leaves(&plain, &records), 1e-9);
        assert_eq!(found.tree.leaves(), 40);
    }

    #[test]
    fn a_rising_number_never_lowers_the_value() {
        let records = Array2::from_shape_fn((300, 1), |(row, _)| row as f64);
        let values: Vec<f64> = (0..300)
            .map(|row| f64::from(row) + 60.0 * (f64::from(row) / 9.0).sin())
            .collect();
        let binned = Binned::new(&records);
        let rules = Rules {
            monotone: &[1],
            min_samples_leaf: 5,
            ..plain(&[0])
        };
        let found = leaves(&grown(&binned, &values, rules), &records);
        assert!(
            found.is_sorted() && found[299] > found[0] + 100.0,
            "{found:?}"
        );
        let free = Rules {
            monotone: &[],
            ..rules
        };
        assert!(!leaves(&grown(&binned, &values, free), &records).is_sorted());
    }

    /// Twelve categories of 200 rows whose values go up and down with their number: the first cut parts the odd ones from the even.
    #[test]
    fn the_best_two_sets_of_many_categories_are_found_at_once() {
        let records = Array2::from_shape_fn((2400, 1), |(row, _)| (row % 12) as f64);
        let values: Vec<f64> = (0..2400)
            .map(|row| if row % 2 == 0 { 1.0 } else { -1.0 } + f64::from(row % 12) / 100.0)
            .collect();
        let rules = Rules {
            max_leaves: 2,
            ..plain(&[0])
        };
        let found = grown(&Binned::with_categories(&records, vec![12]), &values, rules);
        // Means of 0, 2, 4 … and of 1, 3, 5 … hundredths.
        let even = found.tree.leaf(&[4.0])[0];
        let odd = found.tree.leaf(&[7.0])[0];
        crate::testing::close(&[even, odd], &[1.05, -0.94], 1e-9);
        for category in 0..12 {
            let value = found.tree.leaf(&[f64::from(category)])[0];
            assert_eq!(value, if category % 2 == 0 { even } else { odd });
        }
        // A threshold would need more leaves.
        let amounts = grown(&Binned::new(&records), &values, rules);
        assert!(amounts.gains[0] < found.gains[0] / 4.0);
    }

    #[test]
    fn trees_with_categories_come_back_from_a_state_and_damaged_ones_do_not() {
        use taktline_core::{State, TensorData};
        let records = Array2::from_shape_fn((600, 2), |(row, number)| {
            if number == 0 {
                (row % 3) as f64
            } else {
                (row % 50) as f64
            }
        });
        let values: Vec<f64> = (0..600)
            .map(|row| f64::from((row % 3) * (row % 50)))
            .collect();
        let binned = Binned::with_categories(&records, vec![3, 0]);
        let tree = grown(&binned, &values, plain(&[0, 1])).tree;
        assert!(tree.sets.len() > 1 && tree.sets.len() < tree.nodes.len());
        // One without sets before it: each tree finds its own.
        let other = grown(
            &binned,
            &values,
            Rules {
                max_leaves: 1,
                ..plain(&[1])
            },
        )
        .tree;
        let trees = [other, tree];
        let state = super::super::store(&trees, State::from_data(1, &()).expect("a state"));
        let bytes = state.to_bytes().expect("bytes");
        let read = |change: fn(&mut Vec<i64>), name: &str| {
            let mut state = State::from_bytes(&bytes).expect("a state");
            let tensor = state.tensors.get_mut(name).expect("a tensor");
            if let TensorData::I64(values) = &mut tensor.data {
                change(values);
            }
            super::super::read(&state, 2, 1)
        };
        assert_eq!(read(|_| {}, "sets").expect("trees"), trees);
        assert!(read(|sets| sets.truncate(4), "sets").is_err());
        assert!(read(|counts| counts.swap(0, 1), "sets_of_trees").is_err());
        assert!(read(|counts| counts[0] = i64::MAX, "sets_of_trees").is_err());
        assert!(read(|places| places[1] = 1000, "sets_of_nodes").is_err());
    }
}
