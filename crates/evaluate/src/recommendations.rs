//! `evaluate.recommendations`

use std::collections::{BTreeSet, HashMap, HashSet};

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, Evaluate, Evaluation, Frame, PARTITION, Partition, Problem, Result,
    Schema, Shape, Stage, path, register_kind, type_name,
};

use crate::{
    anomaly::Counts,
    bootstrap::Bootstrap,
    further::Further,
    judged::{self, Names, Parts, target_name},
    lists::{
        Baseline, Catalogue, Gain, Group, Groups, List, Measures, Relevance, check_relevance,
        check_slices,
    },
    slices::By,
};

/// Judges lists of items that were shown, out of all that there are: what people took later, against what they were recommended.
///
/// `evaluate.ranking` orders the judged rows, so that a model need only tell them from each other. Here the list is the one that the
/// user would have seen, in which every item of the catalogue has a place to win: an item is found where it is in the list of its
/// group and a judged row of the group calls it relevant. An item that no judged row of the group names counts as not relevant,
/// so that figures are lower, and honest.
///
/// For each `k` it gives the mean over groups of `precision_at_…`, `recall_at_…`, `ndcg_at_…`, `map_at_…` and `hit_rate_at_…`, as
/// `evaluate.ranking` does, `item_coverage_at_…`, the share of all items that are among the first `k` of some group, and `mrr`, the mean
/// of one over the place of the first relevant item (0 where none was shown).
///
/// Beside them stand `baseline_precision_at_…` and `baseline_ndcg_at_…`: those of the list of the most popular items, which are those
/// that most training rows call relevant, without those that the group has in its training rows. A table shows the lift. Groups
/// without a relevant row have nothing to find; they are left out, and the table `groups` counts them.
///
/// Every group counts once; the role `weight` has no effect. `bootstrap` and `by` draw and slice groups, as in `evaluate.ranking`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recommendations {
    /// The rows to judge: `test`, `validation` or `train`. Default: `test` below a split, else all rows.
    part: Option<Partition>,
    /// The columns that tell apart for whom lists are: the user.
    group: Names,
    /// The column that names the item of a row.
    item: String,
    /// The column with the list of items that were shown, best first; the list of a group's first judged row counts for it.
    #[serde(default = "default_shown")]
    shown: String,
    /// The column with the relevance: numbers from 0, or true and false. Default: the target.
    relevance: Option<String>,
    /// Rows from this relevance on are relevant. Default: above 0.
    relevant_from: Option<f64>,
    /// How many of the first items count: a number, or several.
    #[serde(default = "crate::lists::first_ten")]
    k: Counts,
    /// What a relevance is worth in `ndcg_at_…`.
    #[serde(default)]
    gain: Gain,
    /// Columns whose values part the groups into slices, each with its own figures.
    by: Option<By>,
    /// Intervals of the metrics, by drawing the groups again.
    bootstrap: Option<Bootstrap>,
}

fn default_shown() -> String {
    "recommendations".to_owned()
}

register_kind! {
    Recommendations, "evaluate.recommendations", version: 1,
    example: "- evaluate.recommendations: {group: user, item: film, relevance: rating, relevant_from: 4, k: [5, 10]}",
}

impl Stage for Recommendations {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return judged::no_input();
        };
        judged::check_part(self.part, input, cx);
        self.group.check("group", input, cx);
        judged::check_column(input, &self.item, path!["item"], cx);
        self.check_shown(input, cx);
        check_relevance(self.relevance.as_deref(), input, "bought", cx);
        self.k.check(cx);
        self.further().check(input, cx);
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Evaluate(self)
    }
}

/// Which items training rows call relevant, the most frequent first, and which each group has in them.
struct Popular {
    items: Vec<usize>,
    had: HashMap<String, HashSet<usize>>,
}

impl Recommendations {
    fn check_shown(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        let Some(shown) = input.column(&self.shown) else {
            if !input.incomplete {
                let message = format!("stage `{}` finds no column `{}`", cx.stage, self.shown);
                cx.report(
                    Problem::error("unknown-column", path!["shown"], message).help(
                        "a model that recommends gives it: `model.torch.recommender` with `top`",
                    ),
                );
            }
            return;
        };
        let item = input.column(&self.item).map(|column| &column.dtype);
        let fits = match (&shown.dtype, item) {
            (DataType::List(inner), Some(item)) => inner.as_ref() == item,
            (DataType::List(_), None) => true,
            _ => false,
        };
        if !fits {
            let wanted = item.map_or("items".to_owned(), type_name);
            cx.report(Problem::error(
                "type-mismatch",
                path!["shown"],
                format!(
                    "`{}` is {}, and lists of `{}` are list of {wanted}",
                    self.shown,
                    type_name(&shown.dtype),
                    self.item
                ),
            ));
        }
    }

    fn measures(&self) -> Measures<'_> {
        Measures {
            k: self.k.list(),
            gain: self.gain,
            has_items: true,
            baseline: "the most popular items",
            further: self.further(),
        }
    }

    fn further(&self) -> Further<'_> {
        Further {
            bootstrap: self.bootstrap.as_ref(),
            by: self.by.as_ref(),
            param: "by",
        }
    }

    fn relevance(&self, schema: &Schema) -> Option<String> {
        self.relevance.clone().or_else(|| target_name(schema))
    }

    /// The groups, and the length of the longest list.
    fn read(&self, frame: &Frame, parts: &Parts) -> Result<(Groups, usize)> {
        let name = self
            .relevance(&frame.schema)
            .ok_or_else(|| Error::data("no column has the role `target`"))?;
        let learned = parts.train.as_deref().unwrap_or_default();
        let looked_at: Vec<usize> = parts.judged.iter().chain(learned).copied().collect();
        let relevance = Relevance::read(frame, name, self.relevant_from, &looked_at)?;
        let texts = crate::slices::texts(frame.data.column(&self.item)?)?;
        let mut catalogue = Catalogue::default();
        let mut numbers = vec![0; texts.len()];
        for row in &looked_at {
            numbers[*row] = catalogue.number(&texts[*row]);
        }
        let all = catalogue.len();
        let popular = match &parts.train {
            Some(learned) => Some(self.popular(frame, learned, &numbers, &relevance)?),
            None => None,
        };
        let shown = frame.data.column(&self.shown)?;
        let shown = shown.list()?;
        let reach = self.k.list().iter().copied().max().unwrap_or_default();
        let mut longest = 0;
        let mut groups = Groups {
            at: HashMap::new(),
            firsts: Vec::new(),
            empty: 0,
            items: Some(all),
        };
        for (label, rows) in self.group.groups(frame, &parts.judged)? {
            check_slices(self.by.as_ref(), frame, &label, &rows)?;
            let first = rows[0];
            let mut worth: HashMap<usize, f64> = HashMap::new();
            for row in &rows {
                let value = worth.entry(numbers[*row]).or_default();
                *value = value.max(relevance.values[*row]);
            }
            if !worth.values().any(|value| relevance.is_relevant(*value)) {
                groups.empty += 1;
                continue;
            }
            let items = match shown.get_as_series(first) {
                Some(list) => crate::slices::texts(&list.into())?,
                None => Vec::new(),
            };
            // An item that is shown twice is found once.
            let mut met = HashSet::new();
            let items: Vec<usize> = items
                .iter()
                .map(|item| catalogue.number(item))
                .filter(|item| met.insert(*item))
                .collect();
            longest = longest.max(items.len());
            let baseline = popular.as_ref().map(|popular| {
                let had = popular.had.get(&label);
                let is_new = |item: &&usize| had.is_none_or(|had| !had.contains(*item));
                let chosen: Vec<usize> = popular
                    .items
                    .iter()
                    .filter(is_new)
                    .take(reach)
                    .copied()
                    .collect();
                Baseline::List(placed(&chosen, &worth, &relevance, reach))
            });
            let list = placed(&items, &worth, &relevance, reach);
            groups.firsts.push(first);
            let group = Group {
                list,
                shown: items.len(),
                items,
                baseline,
            };
            groups.at.insert(first, group);
        }
        match groups.firsts.is_empty() {
            true => Err(relevance.nothing(parts.name)),
            false => Ok((groups, longest)),
        }
    }

    fn popular(
        &self,
        frame: &Frame,
        learned: &[usize],
        numbers: &[usize],
        relevance: &Relevance,
    ) -> Result<Popular> {
        let mut counts: HashMap<usize, usize> = HashMap::new();
        for row in learned {
            if relevance.is_relevant(relevance.values[*row]) {
                *counts.entry(numbers[*row]).or_default() += 1;
            }
        }
        let mut items: Vec<usize> = counts.keys().copied().collect();
        // Of two that are as popular, the one that was met first.
        items.sort_by_key(|item| (std::cmp::Reverse(counts[item]), *item));
        let had = self
            .group
            .groups(frame, learned)?
            .into_iter()
            .map(|(label, rows)| (label, rows.iter().map(|row| numbers[*row]).collect()))
            .collect();
        Ok(Popular { items, had })
    }
}

/// The relevances of the items in their order, nothing where the list ends before `reach`, and behind that what it does not show.
fn placed(
    shown: &[usize],
    worth: &HashMap<usize, f64>,
    relevance: &Relevance,
    reach: usize,
) -> List {
    let found = shown.iter().map(|item| worth.get(item).copied());
    let gap = std::iter::repeat_n(None, reach.saturating_sub(shown.len()));
    let met: HashSet<&usize> = shown.iter().collect();
    let missed = worth.iter().filter(|(item, _)| !met.contains(item));
    let missed = missed.map(|(_, value)| Some(*value));
    let values: Vec<Option<f64>> = found.chain(gap).chain(missed).collect();
    List {
        relevant: values
            .iter()
            .map(|value| value.is_some_and(|value| relevance.is_relevant(value)))
            .collect(),
        relevances: values.into_iter().map(Option::unwrap_or_default).collect(),
    }
}

impl Evaluate for Recommendations {
    fn metrics(&self, _: &Schema) -> Vec<String> {
        self.measures().names()
    }

    fn reads(&self, input: &Schema) -> BTreeSet<String> {
        let partition = input.column(PARTITION).map(|column| column.name.clone());
        [&self.item, &self.shown]
            .into_iter()
            .cloned()
            .chain(self.group.list().to_vec())
            .chain(self.relevance(input))
            .chain(partition)
            .chain(self.further().reads())
            .collect()
    }

    fn evaluate(&self, frame: &Frame, seed: u64) -> Result<Evaluation> {
        let parts = Parts::of(frame, self.part)?;
        let (groups, longest) = self.read(frame, &parts)?;
        let mut evaluation = self.measures().evaluation(frame, parts, &groups, seed)?;
        let beyond: Vec<String> = self
            .k
            .list()
            .iter()
            .filter(|k| **k > longest)
            .map(ToString::to_string)
            .collect();
        if !beyond.is_empty() {
            evaluation.notes.push(format!(
                "no list of `{}` has more than {longest} items: figures at {} miss what would come behind them",
                self.shown,
                beyond.join(", ")
            ));
        }
        Ok(evaluation)
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{
        Column, DataFrame, IntoColumn, IntoLazy, ListChunked, NamedFrom, Series, col, df,
    };
    use taktline_core::{Role, serde_yaml};

    use super::*;
    use crate::judged::testing::{self, announced, close, codes, table};

    fn stage(params: &str) -> Recommendations {
        serde_yaml::from_str(params).expect("params")
    }

    /// Training: f1 is liked by three, f2 by two, f3 and f4 by one each; Ann had f1. Test: Ann likes f2 and f5, Ben f3, and Cy nothing.
    fn films() -> Frame {
        let rows = [
            ("train", "ann", "f1", 5.0),
            ("train", "dan", "f1", 5.0),
            ("train", "eve", "f1", 4.0),
            ("train", "dan", "f2", 5.0),
            ("train", "eve", "f2", 4.0),
            ("train", "dan", "f3", 4.0),
            ("train", "eve", "f4", 4.0),
            ("train", "eve", "f5", 1.0),
            ("test", "ann", "f2", 4.0),
            ("test", "ann", "f5", 5.0),
            ("test", "ann", "f3", 2.0),
            ("test", "ben", "f3", 5.0),
            ("test", "cy", "f1", 1.0),
        ];
        let shown = |user: &str| match user {
            "ann" => Some(vec!["f3", "f2", "f2", "f4"]),
            "ben" => Some(vec!["f3", "f1"]),
            _ => None,
        };
        let lists: Vec<Option<Series>> = rows
            .iter()
            .map(|row| shown(row.1).map(|items| Series::new("".into(), items)))
            .collect();
        let mut lists: ListChunked = lists.into_iter().collect();
        lists.rename("recommendations".into());
        let text = |name: &str,
                    of: fn(&(&'static str, &'static str, &'static str, f64)) -> &'static str|
         -> Column {
            Column::new(name.into(), rows.iter().map(of).collect::<Vec<_>>())
        };
        let ratings: Vec<f64> = rows.iter().map(|row| row.3).collect();
        let data = DataFrame::new(
            rows.len(),
            vec![
                text(PARTITION, |row| row.0),
                text("user", |row| row.1),
                text("film", |row| row.2),
                Column::new("rating".into(), ratings),
                lists.into_column(),
            ],
        );
        let mut frame = testing::frame(
            data.expect("a frame"),
            &[("rating", Role::Target), (PARTITION, Role::Internal)],
        );
        frame.schema.facts.partitions = vec![Partition::Train, Partition::Test];
        frame
    }

    #[test]
    fn lists_by_hand() {
        let stage = stage("{group: user, item: film, relevant_from: 4, k: [1, 2, 5]}");
        let frame = films();
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        announced(&stage, &frame, &evaluation);
        // Ann is shown f3 (of no interest), f2 (relevant), f4; Ben f3 (relevant), f1.
        close(&evaluation, "precision_at_1", (0.0 + 1.0) / 2.0);
        close(&evaluation, "precision_at_2", (0.5 + 0.5) / 2.0);
        close(&evaluation, "precision_at_5", (0.2 + 0.2) / 2.0);
        // f5 is not shown to Ann at all.
        close(&evaluation, "recall_at_2", (0.5 + 1.0) / 2.0);
        close(&evaluation, "recall_at_5", (0.5 + 1.0) / 2.0);
        close(&evaluation, "hit_rate_at_1", 0.5);
        close(&evaluation, "mrr", (0.5 + 1.0) / 2.0);
        let discount = |place: f64| 1.0 / (place + 1.0).log2();
        let ann = (2.0 + 4.0 * discount(2.0)) / (5.0 + 4.0 * discount(2.0));
        close(&evaluation, "ndcg_at_2", (ann + 1.0) / 2.0);
        // f3 alone of five; f1, f2, f3 of the first two.
        close(&evaluation, "item_coverage_at_1", 1.0 / 5.0);
        close(&evaluation, "item_coverage_at_2", 3.0 / 5.0);
        // Popular: f1, f2, f3, f4. Ann had f1, so that f2 comes first for her; Ben finds f3 in the third place.
        close(&evaluation, "baseline_precision_at_1", (1.0 + 0.0) / 2.0);
        close(&evaluation, "baseline_precision_at_2", (0.5 + 0.0) / 2.0);
        close(&evaluation, "baseline_precision_at_5", (0.2 + 0.2) / 2.0);
        assert_eq!(
            table(&evaluation, "groups").rows[1],
            ["left out, nothing relevant", "1"]
        );
        assert_eq!(
            evaluation.notes,
            [
                "no list of `recommendations` has more than 3 items: figures at 5 miss what would come behind them"
            ]
        );
    }

    #[test]
    fn what_no_row_names_is_not_relevant_whatever_counts_as_relevant() {
        let evaluation = stage("{group: user, item: film, relevant_from: 0, k: 2}")
            .evaluate(&films(), 1)
            .expect("an evaluation");
        // Ben's f1 is in no test row of his; nothing is shown to Cy.
        close(&evaluation, "precision_at_2", (1.0 + 0.5 + 0.0) / 3.0);
        close(&evaluation, "mrr", (1.0 + 1.0 + 0.0) / 3.0);
    }

    #[test]
    fn without_a_split_nothing_tells_what_is_popular() {
        let mut frame = films();
        frame.data = frame
            .data
            .lazy()
            .filter(col(PARTITION).eq(polars::prelude::lit("test")))
            .collect()
            .expect("rows")
            .drop(PARTITION)
            .expect("a column");
        frame.schema = testing::frame(frame.data.clone(), &[("rating", Role::Target)]).schema;
        let evaluation = stage("{group: user, item: film, relevant_from: 4, k: 2}")
            .evaluate(&frame, 1)
            .expect("an evaluation");
        close(&evaluation, "precision_at_2", 0.5);
        assert_eq!(evaluation.metric("baseline_precision_at_2"), None);
    }

    #[test]
    fn check_finds_every_problem() {
        let schema = films().schema;
        assert!(codes(&stage("{group: user, item: film}"), &schema).is_empty());
        assert_eq!(
            codes(
                &stage("{group: users, item: films, shown: film, relevance: user, k: 0}"),
                &schema
            ),
            [
                "unknown-column",
                "unknown-column",
                "type-mismatch",
                "not-numeric",
                "out-of-range"
            ]
        );
        assert_eq!(
            codes(&stage("{group: user, item: rating}"), &schema),
            ["type-mismatch"]
        );
        let without = testing::frame(
            df!("user" => ["a"], "film" => ["f"], "rating" => [1.0]).expect("a frame"),
            &[("rating", Role::Target)],
        );
        assert_eq!(
            codes(
                &stage("{group: user, item: film, part: test}"),
                &without.schema
            ),
            ["unknown-part", "unknown-column"]
        );
    }

    #[test]
    fn the_example_is_a_stage() {
        testing::example_is_a_stage("evaluate.recommendations", "Judges lists of items");
    }
}
