//! `evaluate.ranking`

use std::collections::{BTreeSet, HashMap};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, Evaluate, Evaluation, Frame, PARTITION, Partition, Result, Schema, Shape,
    Stage, Training, path, register_kind,
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

/// Judges an order of rows within groups: the items recommended to each user, the documents found for each query.
///
/// For each `k` it gives the mean over groups of `precision_at_…` (the relevant rows among the `k` highest scores, over `k`), `recall_at_…`
/// (over all relevant rows), `ndcg_at_…` (Järvelin and Kekäläinen, 2002), `map_at_…` (mean average precision, over the relevant rows, at
/// most `k`) and `hit_rate_at_…` (the share of groups with a relevant row among the first `k`); with `item` also `item_coverage_at_…`, the
/// share of all items that are among the first `k` of some group. `mrr` is the mean of one over the place of the first relevant row.
///
/// Beside them stand `baseline_precision_at_…` and `baseline_ndcg_at_…`: what a random order reaches on average. A table shows the lift.
/// Groups without a relevant row have nothing to find; they are left out, and the table `groups` counts them. Rows with the same score
/// are put in a random order, the same for the same seed.
///
/// Every group counts once; the role `weight` has no effect. With `bootstrap` groups are drawn again, with all their rows. With `by`, a
/// table shows `precision_at_…`, `recall_at_…` and `ndcg_at_…` for the first `k` by slice, in which `rows` counts groups: the column
/// must have one value in each group; `worst_ndcg_at_…` and so on are those of the worst slice.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ranking {
    /// The rows to judge: `test`, `validation` or `train`. Default: `test` below a split, else all rows.
    part: Option<Partition>,
    /// The columns that tell groups apart: the user, the query.
    group: Names,
    /// The column with the relevance: numbers from 0, or true and false. Default: the target.
    relevance: Option<String>,
    /// Rows from this relevance on are relevant. Default: above 0.
    relevant_from: Option<f64>,
    /// The column to order by, highest first. Default: `score` where the model gives it, else `prediction`.
    score: Option<String>,
    /// How many of the first rows count: a number, or several.
    #[serde(default = "crate::lists::first_ten")]
    k: Counts,
    /// What a relevance is worth in `ndcg_at_…`.
    #[serde(default)]
    gain: Gain,
    /// The column that names items, for their coverage.
    item: Option<String>,
    /// Columns whose values part the groups into slices, each with its own figures.
    by: Option<By>,
    /// Intervals of the metrics, by drawing the groups again.
    bootstrap: Option<Bootstrap>,
}

register_kind! {
    Ranking, "evaluate.ranking", version: 1,
    example: "- evaluate.ranking: {group: user, relevance: rating, relevant_from: 4, k: [5, 10], item: film}",
}

impl Stage for Ranking {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return judged::no_input();
        };
        match &self.score {
            Some(score) => judged::check_numbers(input, score, path!["score"], cx),
            None => {
                judged::check_model(input, judged::default_score(input), cx);
                judged::check_numbers_of_model(input, judged::default_score(input), cx);
            }
        }
        judged::check_part(self.part, input, cx);
        self.group.check("group", input, cx);
        check_relevance(self.relevance.as_deref(), input, "clicked", cx);
        self.k.check(cx);
        if let Some(item) = &self.item {
            judged::check_column(input, item, path!["item"], cx);
        }
        self.further().check(input, cx);
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Evaluate(self)
    }
}

impl Ranking {
    fn measures(&self) -> Measures<'_> {
        Measures {
            k: self.k.list(),
            gain: self.gain,
            has_items: self.item.is_some(),
            baseline: "a random order",
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

    fn read(&self, frame: &Frame, parts: &Parts, seed: u64) -> Result<Groups> {
        let score = self
            .score
            .as_deref()
            .unwrap_or_else(|| judged::default_score(&frame.schema));
        let scores = judged::numbers_or_none(frame.data.column(score)?)?;
        judged::check_finite(score, parts.judged.iter().copied(), &scores)?;
        let name = self
            .relevance(&frame.schema)
            .ok_or_else(|| Error::data("no column has the role `target`"))?;
        let relevance = Relevance::read(frame, name, self.relevant_from, &parts.judged)?;
        let (numbers, items) = match &self.item {
            Some(item) => {
                let texts = crate::slices::texts(frame.data.column(item)?)?;
                let mut catalogue = Catalogue::default();
                let mut numbers = vec![0; texts.len()];
                for row in parts.judged.iter().copied() {
                    numbers[row] = catalogue.number(&texts[row]);
                }
                (numbers, Some(catalogue.len()))
            }
            None => (vec![0; scores.len()], None),
        };
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut groups = Groups {
            at: HashMap::new(),
            firsts: Vec::new(),
            empty: 0,
            items,
        };
        for (label, mut rows) in self.group.groups(frame, &parts.judged)? {
            check_slices(self.by.as_ref(), frame, &label, &rows)?;
            let first = rows[0];
            // Rows of one score stay in the random order.
            rows.shuffle(&mut random);
            rows.sort_by(|one, other| scores[*other].total_cmp(&scores[*one]));
            let relevances: Vec<f64> = rows.iter().map(|row| relevance.values[*row]).collect();
            let is_relevant = |value: &f64| relevance.is_relevant(*value);
            let relevant: Vec<bool> = relevances.iter().map(is_relevant).collect();
            if !relevant.contains(&true) {
                groups.empty += 1;
                continue;
            }
            groups.firsts.push(first);
            let group = Group {
                list: List {
                    relevances,
                    relevant,
                },
                shown: rows.len(),
                items: rows.iter().map(|row| numbers[*row]).collect(),
                baseline: Some(Baseline::Random),
            };
            groups.at.insert(first, group);
        }
        match groups.firsts.is_empty() {
            true => Err(relevance.nothing(parts.name)),
            false => Ok(groups),
        }
    }
}

impl Evaluate for Ranking {
    fn metrics(&self, _: &Schema) -> Vec<String> {
        self.measures().names()
    }

    fn reads(&self, input: &Schema) -> BTreeSet<String> {
        let partition = input.column(PARTITION).map(|column| column.name.clone());
        let score = self
            .score
            .as_deref()
            .unwrap_or_else(|| judged::default_score(input));
        std::iter::once(score.to_owned())
            .chain(self.group.list().to_vec())
            .chain(self.relevance(input))
            .chain(self.item.clone())
            .chain(partition)
            .chain(self.further().reads())
            .collect()
    }

    fn add_training(&self, training: &Training, evaluation: &mut Evaluation) -> Result<()> {
        judged::add_training(training, evaluation)
    }

    fn evaluate(&self, frame: &Frame, seed: u64) -> Result<Evaluation> {
        let parts = Parts::of(frame, self.part)?;
        let groups = self.read(frame, &parts, seed)?;
        self.measures().evaluation(frame, parts, &groups, seed)
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::{Role, serde_yaml};

    use taktline_core::classifier::{PREDICTION, SCORE};

    use super::*;
    use crate::judged::testing::{self, announced, close, codes, table};

    fn stage(params: &str) -> Ranking {
        serde_yaml::from_str(params).expect("params")
    }

    /// Ann: relevant at places 1 and 3 of 4. Ben: at place 2 of 3. Cy: nothing relevant.
    fn films() -> Frame {
        let data = df!(
            "user" => ["ann", "ben", "ann", "ann", "ben", "cy", "ann", "ben"],
            "film" => ["f1", "f1", "f2", "f3", "f2", "f1", "f4", "f3"],
            "rating" => [5.0, 0.0, 0.0, 4.0, 5.0, 0.0, 0.0, 0.0],
            PREDICTION => [0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.1, 0.2],
            "country" => ["no", "se", "no", "no", "se", "no", "no", "se"],
        );
        testing::frame(
            data.expect("a frame"),
            &[
                ("rating", Role::Target),
                (PREDICTION, Role::Internal),
                ("user", Role::Id),
            ],
        )
    }

    #[test]
    fn lists_by_hand() {
        let stage =
            stage("{group: user, k: [1, 2], item: film, by: country, bootstrap: {samples: 50}}");
        let frame = films();
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        announced(&stage, &frame, &evaluation);
        close(&evaluation, "precision_at_1", 0.5);
        close(&evaluation, "precision_at_2", 0.5);
        close(&evaluation, "recall_at_2", (0.5 + 1.0) / 2.0);
        close(&evaluation, "map_at_2", (0.5 + 0.5) / 2.0);
        close(&evaluation, "hit_rate_at_1", 0.5);
        close(&evaluation, "hit_rate_at_2", 1.0);
        close(&evaluation, "mrr", (1.0 + 0.5) / 2.0);
        let second = 1.0 / 3.0_f64.log2();
        let ann = 5.0 / (5.0 + 4.0 * second);
        close(&evaluation, "ndcg_at_2", (ann + second) / 2.0);
        // The first two of Ann and of Ben are f1 and f2, of four films.
        close(&evaluation, "item_coverage_at_2", 0.5);
        close(&evaluation, "item_coverage_at_1", 0.25);
        let intervals = evaluation.intervals.as_ref().expect("intervals");
        assert!(intervals.of("precision_at_1").is_some());
        assert_eq!(intervals.of("item_coverage_at_1"), None);
        close(
            &evaluation,
            "baseline_precision_at_1",
            (2.0 / 4.0 + 1.0 / 3.0) / 2.0,
        );
        close(&evaluation, "worst_precision_at_1", 0.0);
        assert_eq!(
            table(&evaluation, "groups").rows[1],
            ["left out, nothing relevant", "1"]
        );
        assert_eq!(table(&evaluation, "by_country").rows[1][..2], ["se", "1"]);
    }

    #[test]
    fn relevance_from_a_grade_on() {
        let evaluation = stage("{group: user, k: 3, relevant_from: 5}")
            .evaluate(&films(), 1)
            .expect("an evaluation");
        close(&evaluation, "precision_at_3", 1.0 / 3.0);
        close(&evaluation, "mrr", 0.75);
    }

    #[test]
    fn equal_scores_gain_nothing_from_the_order_of_the_rows() {
        // 400 groups of four with one score, the relevant row always first: its mean place is by chance.
        let users: Vec<i64> = (0..1600).map(|row| row / 4).collect();
        let clicks: Vec<bool> = (0..1600).map(|row| row % 4 == 0).collect();
        let data = df!("user" => users, "click" => clicks, SCORE => vec![0.5; 1600]);
        let frame = testing::frame(data.expect("a frame"), &[("click", Role::Target)]);
        let stage = stage("{group: user, k: 1, bootstrap: {samples: 200}}");
        let evaluation = stage.evaluate(&frame, 3).expect("an evaluation");
        let hits = evaluation.metric("precision_at_1").expect("a metric");
        // Four standard errors of a share of 0.25 over 400 groups.
        assert!((hits - 0.25).abs() < 0.087, "{hits}");
        close(&evaluation, "baseline_precision_at_1", 0.25);
        let intervals = evaluation.intervals.as_ref().expect("intervals");
        let (low, high) = intervals.of("precision_at_1").expect("an interval");
        // Groups are drawn, not rows: a standard error of 0.0217.
        assert!(high - low > 0.06 && high - low < 0.11, "{low} {high}");
        assert_eq!(stage.evaluate(&frame, 3).expect("again"), evaluation);
    }

    #[test]
    fn slices_do_not_part_groups() {
        let error = stage("{group: user, by: film}")
            .evaluate(&films(), 1)
            .expect_err("several films a user")
            .to_string();
        assert_eq!(
            error,
            "`film` has more than one value in the group `ann`; slices are made of whole groups"
        );
    }

    #[test]
    fn nothing_to_find_is_an_error() {
        let error = stage("{group: user, relevant_from: 6}")
            .evaluate(&films(), 1)
            .expect_err("no such rating")
            .to_string();
        assert_eq!(
            error,
            "no row is relevant by `rating` (part: all), so there is nothing to find"
        );
    }

    #[test]
    fn check_finds_every_problem() {
        let mut schema = films().schema;
        schema.facts.partitions = vec![Partition::Train, Partition::Test];
        assert!(codes(&stage("{group: user}"), &schema).is_empty());
        assert_eq!(
            codes(
                &stage("{group: users, relevance: film, k: 0, item: films, score: user}"),
                &schema
            ),
            [
                "not-numeric",
                "unknown-column",
                "not-numeric",
                "out-of-range",
                "unknown-column"
            ]
        );
    }

    #[test]
    fn the_example_is_a_stage() {
        testing::example_is_a_stage("evaluate.ranking", "Judges an order of rows");
    }
}
