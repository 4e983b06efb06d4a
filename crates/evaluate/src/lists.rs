//! Lists of items in an order, one for each group: what `evaluate.ranking` and `evaluate.recommendations` measure alike.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, Evaluation, Frame, Problem, Result, Schema, Table, counted, path,
};

use crate::{
    anomaly::Counts,
    further::Further,
    judged::{self, Lift, MetricList, Parts, target_name},
    metrics::{
        self, average_precision_at, ndcg_at, precision_at, random_ndcg_at, recall_at,
        reciprocal_rank,
    },
    slices::By,
};

/// What a relevance is worth.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Gain {
    /// Itself.
    #[default]
    Linear,
    /// `2^relevance - 1`: far more for the highest grades.
    Exponential,
}

impl Gain {
    fn metric(self) -> metrics::Gain {
        match self {
            Self::Linear => metrics::Gain::Linear,
            Self::Exponential => metrics::Gain::Exponential,
        }
    }
}

/// How many of the first ones count, where nothing says it.
pub(crate) fn first_ten() -> Counts {
    Counts::One(10)
}

/// The number of every item that was met.
#[derive(Default)]
pub(crate) struct Catalogue(HashMap<String, usize>);

impl Catalogue {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn number(&mut self, item: &str) -> usize {
        let next = self.0.len();
        match self.0.get(item) {
            Some(number) => *number,
            None => {
                self.0.insert(item.to_owned(), next);
                next
            }
        }
    }
}

/// Items in an order.
pub(crate) struct List {
    pub(crate) relevances: Vec<f64>,
    pub(crate) relevant: Vec<bool>,
}

/// What a list is compared with.
pub(crate) enum Baseline {
    /// The same items in a random order.
    Random,
    /// Another list for the same group.
    List(List),
}

/// A group's list. It stands at the group's first row, so that drawing and slicing rows draws and slices groups.
pub(crate) struct Group {
    /// The items in order; behind those that were shown, where not all were, the ones that were not.
    pub(crate) list: List,
    /// How many of them were shown.
    pub(crate) shown: usize,
    /// The numbers of the items that were shown, in that order.
    pub(crate) items: Vec<usize>,
    pub(crate) baseline: Option<Baseline>,
}

impl Group {
    fn baseline_precision_at(&self, k: usize) -> Option<f64> {
        match self.baseline.as_ref()? {
            // Each place of a random order is relevant as often as the rows are.
            Baseline::Random => {
                let all = self.list.relevant.len();
                let share = precision_at(&self.list.relevant, all);
                Some(share * k.min(all) as f64 / k as f64)
            }
            Baseline::List(list) => Some(precision_at(&list.relevant, k)),
        }
    }

    fn baseline_ndcg_at(&self, k: usize, gain: metrics::Gain) -> Option<f64> {
        match self.baseline.as_ref()? {
            Baseline::Random => random_ndcg_at(&self.list.relevances, k, gain),
            Baseline::List(list) => ndcg_at(&list.relevances, k, gain),
        }
    }
}

/// The groups that have anything to find, by their first rows.
pub(crate) struct Groups {
    pub(crate) at: HashMap<usize, Group>,
    /// Those rows, in order.
    pub(crate) firsts: Vec<usize>,
    /// Groups with nothing to find.
    pub(crate) empty: usize,
    /// Different items in all, where they are named.
    pub(crate) items: Option<usize>,
}

/// How lists are measured.
pub(crate) struct Measures<'a> {
    /// How many of the first ones count.
    pub(crate) k: &'a [usize],
    pub(crate) gain: Gain,
    /// Whether items are named.
    pub(crate) has_items: bool,
    /// What the lists are compared with, in words.
    pub(crate) baseline: &'static str,
    pub(crate) further: Further<'a>,
}

impl Measures<'_> {
    /// Every metric's name.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for k in self.k {
            let mut found = vec!["precision", "recall", "ndcg", "map", "hit_rate"];
            found.extend(self.has_items.then_some("item_coverage"));
            names.extend(found.iter().map(|name| format!("{name}_at_{k}")));
        }
        names.push("mrr".to_owned());
        for k in self.k {
            names.push(format!("baseline_precision_at_{k}"));
            names.push(format!("baseline_ndcg_at_{k}"));
        }
        names.extend(self.further.worst(&self.by_slice()));
        names
    }

    fn by_slice(&self) -> Vec<String> {
        let names = ["precision", "recall", "ndcg"];
        let first = self.k.first().into_iter();
        first
            .flat_map(|k| names.map(|name| format!("{name}_at_{k}")))
            .collect()
    }

    fn measure(&self, groups: &Groups, chosen: &[usize]) -> MetricList {
        let chosen: Vec<&Group> = chosen.iter().filter_map(|row| groups.at.get(row)).collect();
        let mean = |figure: &dyn Fn(&Group) -> Option<f64>| {
            let found: Vec<f64> = chosen.iter().filter_map(|group| figure(group)).collect();
            (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
        };
        let gain = self.gain.metric();
        let nothing = "no group has anything to find";
        let mut list = MetricList::default();
        for k in self.k {
            let k = *k;
            let mut add = |name: &str, value| list.add(&format!("{name}_at_{k}"), value, nothing);
            add(
                "precision",
                mean(&|group| Some(precision_at(&group.list.relevant, k))),
            );
            add("recall", mean(&|group| recall_at(&group.list.relevant, k)));
            add(
                "ndcg",
                mean(&|group| ndcg_at(&group.list.relevances, k, gain)),
            );
            add(
                "map",
                mean(&|group| average_precision_at(&group.list.relevant, k)),
            );
            let is_hit = |group: &Group| group.list.relevant.iter().take(k).any(|found| *found);
            add(
                "hit_rate",
                mean(&|group| Some(f64::from(u8::from(is_hit(group))))),
            );
            if let Some(items) = groups.items {
                let shown: HashSet<usize> = chosen
                    .iter()
                    .flat_map(|group| group.items.iter().take(k).copied())
                    .collect();
                add("item_coverage", Some(shown.len() as f64 / items as f64));
            }
        }
        // What was not shown has no place.
        let reciprocal = |group: &Group| {
            let shown = &group.list.relevant[..group.shown];
            let found = reciprocal_rank(shown);
            found.or_else(|| group.list.relevant.contains(&true).then_some(0.0))
        };
        list.add("mrr", mean(&reciprocal), nothing);
        let unknown = "there are no training rows to compare with";
        for k in self.k {
            let k = *k;
            let precision = mean(&|group| group.baseline_precision_at(k));
            list.add(&format!("baseline_precision_at_{k}"), precision, unknown);
            let ndcg = mean(&|group| group.baseline_ndcg_at(k, gain));
            list.add(&format!("baseline_ndcg_at_{k}"), ndcg, unknown);
        }
        list
    }

    /// The metrics of the groups, beside what they are compared with, in all and by slice.
    pub(crate) fn evaluation(
        &self,
        frame: &Frame,
        mut parts: Parts,
        groups: &Groups,
        seed: u64,
    ) -> Result<Evaluation> {
        let measure = |chosen: &[usize]| self.measure(groups, chosen);
        let mut evaluation = parts.evaluation();
        let list = measure(&groups.firsts);
        let lifts: Vec<Lift> = self
            .k
            .iter()
            .flat_map(|k| ["precision", "ndcg"].map(|name| format!("{name}_at_{k}")))
            .filter_map(|metric| {
                Some(Lift {
                    model: list.get(&metric)?,
                    baseline: list.get(&format!("baseline_{metric}"))?,
                    metric,
                    best: 1.0,
                })
            })
            .collect();
        evaluation
            .tables
            .extend(judged::lift_table(self.baseline, &lifts));
        evaluation.tables.push(Table {
            name: "groups".into(),
            title: "Groups".into(),
            columns: vec!["groups".into(), "count".into()],
            rows: vec![
                vec!["judged".into(), judged::amount(groups.firsts.len() as f64)],
                vec![
                    "left out, nothing relevant".into(),
                    judged::amount(groups.empty as f64),
                ],
                vec!["rows in all".into(), counted(parts.judged.len(), "row")],
            ],
        });
        parts.judged = groups.firsts.clone();
        self.further.complete(
            &mut evaluation,
            frame,
            &parts,
            &self.by_slice(),
            seed,
            &measure,
        )?;
        if let Some(intervals) = &mut evaluation.intervals {
            // Groups that are drawn again show fewer different items: an interval that its own value lies above.
            let is_of_rows = |name: &str| !name.starts_with("item_coverage_at_");
            intervals.bounds.retain(|(name, ..)| is_of_rows(name));
        }
        Ok(evaluation)
    }
}

/// Refuses slices that part a group.
pub(crate) fn check_slices(
    by: Option<&By>,
    frame: &Frame,
    label: &str,
    rows: &[usize],
) -> Result<()> {
    for name in by.into_iter().flat_map(By::reads) {
        let column = frame.data.column(&name)?;
        let first = column.get(rows[0])?;
        for row in rows {
            if column.get(*row)? != first {
                return Err(Error::data(format!(
                    "`{name}` has more than one value in the group `{label}`; slices are made of whole groups"
                )));
            }
        }
    }
    Ok(())
}

/// Reports a column of relevances that is none, or that there is none; `example` is a name for one.
pub(crate) fn check_relevance(
    relevance: Option<&str>,
    input: &Schema,
    example: &str,
    cx: &mut CheckContext<'_>,
) {
    match (relevance, target_name(input)) {
        (Some(relevance), _) => judged::check_numbers(input, relevance, path!["relevance"], cx),
        (None, Some(target)) => judged::check_numbers(input, &target, path![], cx),
        (None, None) if !input.incomplete => cx.report(
            Problem::error(
                "no-target",
                path![],
                "no column has the role `target`, so nothing tells what is relevant",
            )
            .help(format!("name the column: `relevance: {example}`")),
        ),
        (None, None) => {}
    }
}

/// What rows are worth: relevances from 0, and which of them are relevant.
pub(crate) struct Relevance {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
    from: Option<f64>,
}

impl Relevance {
    /// Reads them; of the rows to look at, none may be below 0 or no number.
    pub(crate) fn read(
        frame: &Frame,
        name: String,
        from: Option<f64>,
        rows: &[usize],
    ) -> Result<Self> {
        let values = judged::numbers_or_none(frame.data.column(&name)?)?;
        judged::check_finite(&name, rows.iter().copied(), &values)?;
        if let Some(row) = rows.iter().find(|row| values[**row] < 0.0) {
            return Err(Error::data(format!(
                "`{name}` is below 0 in row {}; relevance counts from 0",
                row + 1
            )));
        }
        Ok(Self { name, values, from })
    }

    pub(crate) fn is_relevant(&self, value: f64) -> bool {
        match self.from {
            Some(from) => value >= from,
            None => value > 0.0,
        }
    }

    pub(crate) fn nothing(&self, part: &str) -> Error {
        Error::data(format!(
            "no row is relevant by `{}` (part: {part}), so there is nothing to find",
            self.name
        ))
    }
}
