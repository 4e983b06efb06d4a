//! `evaluate.survival`

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, Evaluate, Evaluation, Frame, PARTITION, Partition, Result, Role, Schema,
    Shape, Stage, Table, Training, path, register_kind,
};

use crate::{
    bootstrap::Bootstrap,
    further::Further,
    judged::{self, Lift, MetricList, Parts, amount, pick},
    metrics::{Concordance, kaplan_meier},
    plots,
    slices::By,
};

/// Judges a risk of events in time, some of which are not seen: whether those with the higher risk have the event earlier.
///
/// It gives `concordance` (Harrell and others, 1982): of two rows whose order in time is known, the chance that the one with the
/// earlier event has the higher risk, equal risks counting half. Chance reaches 0.5 (`baseline_concordance`), the right order 1. The
/// order of two rows is known where the earlier time is that of an event; at one time, an event comes before a row without one. It
/// also gives `event_share`, the share of rows with an event.
///
/// The table `pairs` counts the pairs of rows. The picture shows the share without an event over time (Kaplan and Meier, 1958) of three
/// groups of equally many rows by risk. With `by`, a table shows `concordance` of each slice, and `worst_concordance` is that of the
/// worst. With `bootstrap` every metric comes with an interval. Rows count by the column with role `weight`, pairs by the product. A
/// metric without a value for the rows at hand is left out and listed in the table `undefined_metrics`; a gate on it fails.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Survival {
    /// The rows to judge: `test`, `validation` or `train`. Default: `test` below a split, else all rows.
    part: Option<Partition>,
    /// The column with the time up to the event, or up to when the row was last seen: numbers from 0.
    time: String,
    /// The column that tells whether there was an event: true or false, 1 or 0.
    event: String,
    /// The column with the risk. Default: `score` where the model gives it, else `prediction`.
    score: Option<String>,
    /// What a high value means: the event comes `sooner`, or `later` (a predicted time).
    #[serde(default)]
    higher: Higher,
    /// Columns whose values part the rows into slices, each with its own figures.
    by: Option<By>,
    /// Intervals of the metrics, by drawing the judged rows again.
    bootstrap: Option<Bootstrap>,
}

/// What a high value means.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Higher {
    /// The event comes sooner.
    #[default]
    Sooner,
    /// The event comes later.
    Later,
}

register_kind! {
    Survival, "evaluate.survival", version: 1,
    example: "- evaluate.survival: {time: days_to_failure, event: failed, score: prediction}",
}

const CONCORDANCE: &str = "concordance";
const BASELINE: &str = "baseline_concordance";

impl Stage for Survival {
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
        judged::check_numbers(input, &self.time, path!["time"], cx);
        judged::check_numbers(input, &self.event, path!["event"], cx);
        self.further().check(input, cx);
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Evaluate(self)
    }
}

/// Everything that is judged, row by row; rows outside of the judged part may hold no numbers.
struct Rows {
    times: Vec<f64>,
    events: Vec<bool>,
    risks: Vec<f64>,
    weights: Option<Vec<f64>>,
}

impl Rows {
    fn weights_of(&self, rows: &[usize]) -> Option<Vec<f64>> {
        self.weights.as_ref().map(|weights| pick(weights, rows))
    }

    fn concordance(&self, chosen: &[usize]) -> Concordance {
        Concordance::of(
            &pick(&self.times, chosen),
            &pick(&self.events, chosen),
            &pick(&self.risks, chosen),
            self.weights_of(chosen).as_deref(),
        )
    }

    fn measure(&self, chosen: &[usize]) -> MetricList {
        let index = self.concordance(chosen).index();
        let weights = self.weights_of(chosen);
        let events = pick(&self.events, chosen);
        let share = crate::metrics::mean(chosen.len(), weights.as_deref(), |row| {
            f64::from(u8::from(events[row]))
        });
        let no_pair = "no two rows have a known order in time";
        let mut list = MetricList::default();
        list.add(CONCORDANCE, index, no_pair);
        list.add("event_share", share, "the rows have no weight");
        list.add(BASELINE, index.map(|_| 0.5), no_pair);
        list
    }
}

impl Survival {
    fn further(&self) -> Further<'_> {
        Further {
            bootstrap: self.bootstrap.as_ref(),
            by: self.by.as_ref(),
            param: "by",
        }
    }

    fn read(&self, frame: &Frame, parts: &Parts) -> Result<Rows> {
        let column = |name: &str| -> Result<Vec<f64>> {
            let values = judged::numbers_or_none(frame.data.column(name)?)?;
            judged::check_finite(name, parts.judged.iter().copied(), &values)?;
            Ok(values)
        };
        let score = self
            .score
            .as_deref()
            .unwrap_or_else(|| judged::default_score(&frame.schema));
        let times = column(&self.time)?;
        let events = column(&self.event)?;
        let mut risks = column(score)?;
        let first = |is_wrong: &dyn Fn(usize) -> bool| {
            let mut rows = parts.judged.iter().copied();
            rows.find(|row| is_wrong(*row)).map(|row| row + 1)
        };
        if let Some(row) = first(&|row| times[row] < 0.0) {
            return Err(Error::data(format!(
                "`{}` is below 0 in row {row}; time counts from 0",
                self.time
            )));
        }
        if let Some(row) = first(&|row| events[row] != 0.0 && events[row] != 1.0) {
            return Err(Error::data(format!(
                "`{}` is {} in row {row}; an event is 1 or true, none is 0 or false",
                self.event,
                events[row - 1]
            )));
        }
        if self.higher == Higher::Later {
            risks.iter_mut().for_each(|risk| *risk = -*risk);
        }
        Ok(Rows {
            times,
            events: events.into_iter().map(|event| event == 1.0).collect(),
            risks,
            weights: judged::weights(frame)?,
        })
    }
}

impl Evaluate for Survival {
    fn metrics(&self, _: &Schema) -> Vec<String> {
        let worst = self.further().worst(&[CONCORDANCE.to_owned()]);
        [CONCORDANCE, "event_share", BASELINE]
            .map(str::to_owned)
            .into_iter()
            .chain(worst)
            .collect()
    }

    fn reads(&self, input: &Schema) -> BTreeSet<String> {
        let weights = input
            .with_role(Role::Weight)
            .map(|column| column.name.clone());
        let partition = input.column(PARTITION).map(|column| column.name.clone());
        let score = self
            .score
            .as_deref()
            .unwrap_or_else(|| judged::default_score(input));
        [score, &self.time, &self.event]
            .map(str::to_owned)
            .into_iter()
            .chain(weights)
            .chain(partition)
            .chain(self.further().reads())
            .collect()
    }

    fn add_training(&self, training: &Training, evaluation: &mut Evaluation) -> Result<()> {
        judged::add_training(training, evaluation)
    }

    fn evaluate(&self, frame: &Frame, seed: u64) -> Result<Evaluation> {
        let parts = Parts::of(frame, self.part)?;
        let rows = self.read(frame, &parts)?;
        let measure = |chosen: &[usize]| rows.measure(chosen);

        let mut evaluation = parts.evaluation();
        let found = rows.concordance(&parts.judged);
        let lifts: Vec<Lift> = found
            .index()
            .map(|model| Lift {
                metric: CONCORDANCE.to_owned(),
                model,
                baseline: 0.5,
                best: 1.0,
            })
            .into_iter()
            .collect();
        evaluation
            .tables
            .extend(judged::lift_table("an order by chance", &lifts));
        evaluation.tables.push(pair_table(&found));
        let mut order = parts.judged.clone();
        order.sort_by(|one, other| {
            rows.risks[*one]
                .total_cmp(&rows.risks[*other])
                .then(one.cmp(other))
        });
        let third = |number: usize| {
            let group = &order[order.len() * number / 3..order.len() * (number + 1) / 3];
            kaplan_meier(
                &pick(&rows.times, group),
                &pick(&rows.events, group),
                rows.weights_of(group).as_deref(),
            )
        };
        let last = pick(&rows.times, &order).into_iter().fold(0.0, f64::max);
        evaluation.plots = vec![plots::survival(&[third(0), third(1), third(2)], last)?];
        self.further().complete(
            &mut evaluation,
            frame,
            &parts,
            &[CONCORDANCE.to_owned()],
            seed,
            &measure,
        )?;
        let answered = |row: &usize| rows.times[*row].is_finite() && rows.risks[*row].is_finite();
        if let Some(train) = parts.beside().filter(|train| train.iter().all(answered)) {
            evaluation.train_metrics = measure(train).defined;
        }
        Ok(evaluation)
    }
}

fn pair_table(found: &Concordance) -> Table {
    let discordant = found.comparable - found.concordant - found.tied;
    let line = |(name, pairs): (&str, f64)| vec![name.to_owned(), amount(pairs)];
    Table {
        name: "pairs".into(),
        title: "Pairs of rows whose order in time is known".into(),
        columns: vec!["risks".into(), "pairs".into()],
        rows: [
            ("in the right order", found.concordant),
            ("equal", found.tied),
            ("in the wrong order", discordant),
        ]
        .map(line)
        .to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::serde_yaml;

    use super::*;
    use crate::judged::testing::{self, announced, close, codes, table};

    fn stage(params: &str) -> Survival {
        serde_yaml::from_str(params).expect("params")
    }

    /// Pumps: events at 1, 3 and 4, one lost sight of at 2.
    fn pumps() -> Frame {
        let data = df!(
            "days" => [1_i64, 2, 3, 4],
            "failed" => [true, false, true, true],
            "age" => [9.0, 8.0, 2.0, 2.0],
            "life" => [1.0, 2.0, 9.0, 4.0],
            "site" => ["a", "a", "b", "b"],
        );
        testing::frame(data.expect("a frame"), &[])
    }

    #[test]
    fn pairs_by_hand() {
        let stage = stage("{time: days, event: failed, score: age, by: site}");
        let frame = pumps();
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        announced(&stage, &frame, &evaluation);
        // Known are 1 before 2, 3 and 4, and 3 before 4, where the risks are equal.
        close(&evaluation, CONCORDANCE, 3.5 / 4.0);
        close(&evaluation, "event_share", 0.75);
        close(&evaluation, "worst_concordance", 0.5);
        let pairs = table(&evaluation, "pairs");
        assert_eq!(
            pairs.rows,
            [
                ["in the right order", "3"],
                ["equal", "1"],
                ["in the wrong order", "0"]
            ]
        );
        assert_eq!(
            table(&evaluation, "baseline").rows[0],
            [CONCORDANCE, "0.8750", "0.5000", "75.0 %"]
        );
        assert_eq!(evaluation.plots[0].name, "survival");
    }

    #[test]
    fn a_predicted_time_is_a_risk_turned_round() {
        let evaluation = stage("{time: days, event: failed, score: life, higher: later}")
            .evaluate(&pumps(), 1)
            .expect("an evaluation");
        close(&evaluation, CONCORDANCE, 3.0 / 4.0);
    }

    #[test]
    fn wrong_rows_are_named() {
        let data = df!("days" => [1.0, -2.0], "failed" => [1_i64, 2], "score" => [1.0, 2.0]);
        let frame = testing::frame(data.expect("a frame"), &[]);
        let error = |params: &str| {
            let result = stage(params).evaluate(&frame, 1);
            result.expect_err("a wrong row").to_string()
        };
        assert_eq!(
            error("{time: days, event: failed}"),
            "`days` is below 0 in row 2; time counts from 0"
        );
        assert_eq!(
            error("{time: score, event: failed}"),
            "`failed` is 2 in row 2; an event is 1 or true, none is 0 or false"
        );
    }

    #[test]
    fn rows_without_events_have_no_order() {
        let data = df!("days" => [1.0, 2.0], "failed" => [0_i64, 0], "score" => [1.0, 2.0]);
        let frame = testing::frame(data.expect("a frame"), &[]);
        let evaluation = stage("{time: days, event: failed}")
            .evaluate(&frame, 1)
            .expect("an evaluation");
        assert_eq!(evaluation.metric(CONCORDANCE), None);
        assert_eq!(table(&evaluation, "undefined_metrics").rows.len(), 2);
    }

    #[test]
    fn check_finds_every_problem() {
        let mut schema = pumps().schema;
        schema.facts.partitions = vec![Partition::Train, Partition::Test];
        let good = stage("{time: days, event: failed, score: age}");
        assert!(codes(&good, &schema).is_empty());
        assert_eq!(
            codes(
                &stage("{time: day, event: site, part: validation}"),
                &schema
            ),
            ["no-model", "unknown-part", "unknown-column", "not-numeric"]
        );
    }

    #[test]
    fn the_example_is_a_stage() {
        testing::example_is_a_stage("evaluate.survival", "Judges a risk");
    }
}
