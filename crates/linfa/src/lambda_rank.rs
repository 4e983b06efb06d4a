//! Orders within groups, as boosting learns them.
//!
//! Each pair of rows of a group with different relevance pushes the better one up and the other down, the more so the more their exchange
//! would change the normalised discounted cumulative gain (Burges: "From RankNet to LambdaRank to LambdaMART", 2010), as LightGBM does it:
//! only pairs with a row among the first 30 count, and the pushes of a group are brought to a common size.

use polars::prelude::{DataFrame, GroupsIndicator};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{CheckContext, Error, Problem, Result, Schema, classifier, path, type_name};

/// Places of a list that count.
const FIRST: usize = 30;
/// The greatest relevance: gains are powers of two.
const MOST_RELEVANT: f64 = 50.0;

/// A column, or several.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Names {
    /// One.
    One(String),
    /// Several.
    Several(#[schemars(length(min = 1))] Vec<String>),
}

impl Names {
    pub(crate) fn list(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }

    /// Reports columns that tell no groups apart.
    pub(crate) fn check(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        for (place, name) in self.list().iter().enumerate() {
            let at = match self {
                Self::One(_) => path!["group"],
                Self::Several(_) => path!["group", place],
            };
            match input.column(name) {
                None => cx.report(classifier::unknown_column(input, name, at)),
                Some(column) if column.dtype.is_nested() || column.dtype.is_float() => {
                    let message = format!(
                        "`{name}` is {}, which tells no groups apart",
                        type_name(&column.dtype)
                    );
                    cx.report(
                        Problem::error("wrong-type", at, message)
                            .help("group by text, whole numbers, dates or truth values"),
                    );
                }
                Some(_) => {}
            }
        }
    }
}

/// What a relevance is worth.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Gain {
    /// `2^relevance - 1`: far more for the highest grades.
    #[default]
    Exponential,
    /// Itself.
    Linear,
}

/// The rows of a part, group by group.
pub(crate) struct Groups {
    groups: Vec<Group>,
}

struct Group {
    rows: Vec<u32>,
    /// What each of them is worth.
    gains: Vec<f64>,
    /// Of the best order of the first places; 0 where nothing is relevant.
    best: f64,
}

impl Groups {
    /// # Errors
    /// A relevance below 0, or so high that its gain is no number.
    pub(crate) fn of(data: &DataFrame, by: &Names, relevances: &[f64], gain: Gain) -> Result<Self> {
        if let Some(row) = relevances
            .iter()
            .position(|relevance| !(0.0..=MOST_RELEVANT).contains(relevance))
        {
            return Err(Error::data(format!(
                "a relevance of {} does not lie between 0 and {MOST_RELEVANT}",
                relevances[row]
            )));
        }
        let found = data.group_by_stable(by.list())?.into_groups();
        let groups = found
            .iter()
            .map(|group| {
                let rows: Vec<u32> = match group {
                    GroupsIndicator::Idx((_, rows)) => rows.to_vec(),
                    GroupsIndicator::Slice([first, length]) => (first..first + length).collect(),
                };
                let gains: Vec<f64> = rows
                    .iter()
                    .map(|row| match gain {
                        Gain::Linear => relevances[*row as usize],
                        Gain::Exponential => relevances[*row as usize].exp2() - 1.0,
                    })
                    .collect();
                let mut sorted = gains.clone();
                sorted.sort_by(|left, right| right.total_cmp(left));
                let best = discounted(sorted.into_iter());
                Group { rows, gains, best }
            })
            .collect();
        Ok(Self { groups })
    }

    /// The pushes and their curvatures, row by row.
    pub(crate) fn slopes(&self, scores: &[f64], weights: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let pushes: Vec<Vec<[f64; 2]>> = self
            .groups
            .par_iter()
            .map(|group| group.pushes(scores))
            .collect();
        let mut gradients = vec![0.0; scores.len()];
        let mut curvatures = vec![0.0; scores.len()];
        for (group, pushes) in self.groups.iter().zip(pushes) {
            for (row, [push, curvature]) in group.rows.iter().zip(pushes) {
                let row = *row as usize;
                gradients[row] = weights[row] * push;
                curvatures[row] = weights[row] * curvature;
            }
        }
        (gradients, curvatures)
    }

    /// What is missing to a normalised discounted cumulative gain of 1: the mean over groups with something relevant.
    pub(crate) fn loss(&self, scores: &[f64]) -> f64 {
        let found: Vec<f64> = self
            .groups
            .par_iter()
            .filter(|group| group.best > 0.0)
            .map(|group| {
                let gains = group
                    .order(scores)
                    .into_iter()
                    .map(|place| group.gains[place]);
                1.0 - discounted(gains) / group.best
            })
            .collect();
        found.iter().sum::<f64>() / found.len().max(1) as f64
    }
}

impl Group {
    /// The places of the rows, the highest score first; of equal scores as they stand.
    fn order(&self, scores: &[f64]) -> Vec<usize> {
        let score = |place: &usize| scores[self.rows[*place] as usize];
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by(|left, right| score(right).total_cmp(&score(left)));
        order
    }

    fn pushes(&self, scores: &[f64]) -> Vec<[f64; 2]> {
        let count = self.rows.len();
        let mut pushes = vec![[0.0; 2]; count];
        if self.best == 0.0 {
            return pushes;
        }
        let order = self.order(scores);
        let score = |place: usize| scores[self.rows[order[place]] as usize];
        let are_apart = count > 1 && score(0) != score(count - 1);
        let discounts: Vec<f64> = (0..count).map(discount).collect();
        let mut total = 0.0;
        for one in 0..count.min(FIRST) {
            for other in one + 1..count {
                let (mut high, mut low) = (one, other);
                let gap = self.gains[order[high]] - self.gains[order[low]];
                if gap == 0.0 {
                    continue;
                }
                if gap < 0.0 {
                    (high, low) = (low, high);
                }
                let lead = score(high) - score(low);
                let mut change = gap.abs() * (discounts[one] - discounts[other]).abs() / self.best;
                if are_apart {
                    change /= 0.01 + lead.abs();
                }
                let doubt = 1.0 / (1.0 + lead.exp());
                let (push, curvature) = (doubt * change, doubt * (1.0 - doubt) * change);
                pushes[order[high]][0] += push;
                pushes[order[low]][0] -= push;
                for place in [high, low] {
                    pushes[order[place]][1] += curvature;
                }
                total += 2.0 * push;
            }
        }
        if total > 0.0 {
            let factor = (1.0 + total).log2() / total;
            for push in pushes.iter_mut().flatten() {
                *push *= factor;
            }
        }
        pushes
    }
}

fn discount(place: usize) -> f64 {
    1.0 / (place as f64 + 2.0).log2()
}

/// The discounted cumulative gain of the first places.
fn discounted(gains: impl Iterator<Item = f64>) -> f64 {
    gains
        .take(FIRST)
        .enumerate()
        .map(|(place, gain)| gain * discount(place))
        .sum()
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;

    use super::*;
    use crate::testing::close;

    fn groups(relevances: &[f64], gain: Gain) -> Groups {
        let queries = vec!["a"; relevances.len()];
        let data = df!("query" => queries).expect("a frame");
        Groups::of(&data, &Names::One("query".into()), relevances, gain).expect("groups")
    }

    #[test]
    fn two_rows_push_each_other_as_by_hand() {
        // The relevant row is second: their exchange changes the gain from 1/log2(3) to 1. The best is 3 for a relevance of 2.
        let found = groups(&[0.0, 2.0], Gain::Exponential);
        let change = (1.0 - 1.0 / 3.0_f64.log2()) / (0.01 + 1.0);
        let doubt = 1.0 / (1.0 + (-1.0_f64).exp());
        let (push, total) = (doubt * change, 2.0 * doubt * change);
        let factor = (1.0 + total).log2() / total;
        let (gradients, curvatures) = found.slopes(&[1.0, 0.0], &[1.0, 2.0]);
        close(&gradients, &[-push * factor, 2.0 * push * factor], 1e-12);
        let curvature = doubt * (1.0 - doubt) * change * factor;
        close(&curvatures, &[curvature, 2.0 * curvature], 1e-12);
        close(
            &[found.loss(&[1.0, 0.0])],
            &[1.0 - 1.0 / 3.0_f64.log2()],
            1e-12,
        );
        close(&[found.loss(&[0.0, 1.0])], &[0.0], 1e-12);
    }

    #[test]
    fn a_linear_gain_counts_grades_alike() {
        // Grades 1 and 2 in the wrong order: (1 + 2/log2(3)) of (2 + 1/log2(3)).
        let second = 1.0 / 3.0_f64.log2();
        let wanted = 1.0 - (1.0 + 2.0 * second) / (2.0 + second);
        close(
            &[groups(&[1.0, 2.0], Gain::Linear).loss(&[1.0, 0.0])],
            &[wanted],
            1e-12,
        );
    }

    #[test]
    fn nothing_relevant_pushes_nothing_and_what_is_no_relevance_is_refused() {
        let (gradients, curvatures) =
            groups(&[0.0, 0.0], Gain::Linear).slopes(&[1.0, 0.0], &[1.0; 2]);
        assert_eq!((gradients, curvatures), (vec![0.0; 2], vec![0.0; 2]));
        let data = df!("query" => [1, 1]).expect("a frame");
        for relevance in [-1.0, 51.0, f64::NAN] {
            let by = Names::Several(vec!["query".into()]);
            assert!(Groups::of(&data, &by, &[1.0, relevance], Gain::Linear).is_err());
        }
    }
}
