//! `evaluate.backtest`

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use polars::prelude::{BooleanChunked, Column as PolarsColumn, DataFrame, DataType, NamedFrom};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    Capabilities, CheckContext, Column, Error, Evaluate, Evaluation, FitContext, Frame, Nested,
    PARTITION, ParamStep, Partition, Problem, Result, Role, Schema, Shape, Stage, Table,
    classifier::PREDICTION,
    counted, path, register_kind,
    regressor::{LOWER, UPPER},
};

use crate::{
    bootstrap::Bootstrap,
    forecast::{self, BY_SLICE, Baseline, Forecast, Rows, Season},
    further::{Further, estimated},
    judged::{self, MetricList, Names, Parts, amount, figure_or_none},
    slices::{self, By},
};

/// Judges a forecaster by what it would have said in the past: it learns up to a time, forecasts what follows, moves on and learns again.
///
/// Each fold has its own end of the known (its origin): the model learns from all rows before it and is judged on the `horizon` times from it
/// on. The last fold ends with the last time; each one before it begins `step` times earlier (rolling origin evaluation;
/// Tashman, "Out-of-sample tests of forecasting accuracy", 2000). A time is a value of the time column, whatever the number of its rows.
/// Below a split the test rows take no part: choose by the backtest, and judge the chosen one by the test rows.
///
/// The model stands inside, with params of its own; nothing that it learns is kept. It may be a forecaster or any model of numbers. What fitted
/// stages above learned, they learned from all training rows, and with them from rows that a fold has yet to forecast: leave them
/// below the backtest, or let them learn nothing that matters.
///
/// It gives the metrics of `evaluate.forecast`, over the judged rows of all folds together: `wape`, `mae`, `rmse`, `mase` and
/// `bias`, with intervals `coverage` and `mean_width`, beside them those of the seasonal naive forecast from the same origins
/// (`baseline_wape`, …) and the lift over it (`wape_skill`, `rmse_skill`). The scale of `mase` and the naive forecast are those of each
/// fold's own known rows. `worst_wape` is that of the worst fold, `wape_deviation` the standard deviation over the folds: how
/// steady it is.
///
/// The table `folds` shows the figures of each fold, `baseline` the lift over the naive forecast, `horizons` the figures by how many
/// steps a row lies after its fold's origin. Of the three largest series a picture shows what the last fold said. With `slices`, a
/// table shows `wape`, `mae` and `mase` of each slice, over all folds, and `worst_slice_wape` and so on are those of the worst slice. With
/// `bootstrap` every metric comes with an interval; rows of one series resemble each other, so where `by` tells series apart,
/// all rows of a series are drawn together unless `group` names another column.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Backtest {
    /// The model by its kind, with its params: `{model.forecast.ets: {horizon: 28}}`.
    model: Nested,
    /// How many times from its origin on each fold is judged.
    #[schemars(range(min = 1, max = 100_000))]
    horizon: usize,
    /// How many folds.
    #[serde(default = "folds")]
    #[schemars(range(min = 1, max = 1_000))]
    folds: usize,
    /// How many times an origin lies after the one before. Default: the horizon, so that each time is judged once.
    #[schemars(range(min = 1, max = 100_000))]
    step: Option<usize>,
    /// The model learns from so many times before the origin. Default: from all.
    #[schemars(range(min = 1, max = 10_000_000))]
    window: Option<usize>,
    /// The columns that tell series apart. Default: all rows are one series.
    by: Option<Names>,
    /// The column of time: dates, times, or whole numbers that count steps. Default: the column with role `time`.
    over: Option<String>,
    /// How long a season is: rows of a series (7), or a time (`7d`, `24h`, `1w`, `30m`), which is safer where rows are missing.
    #[serde(default)]
    season: Season,
    /// Which naive forecast to compare with.
    #[serde(default)]
    baseline: Baseline,
    /// Columns whose values part the rows into slices, each with its own figures.
    slices: Option<By>,
    /// Intervals of the metrics, by drawing the judged rows again.
    bootstrap: Option<Bootstrap>,
}

fn folds() -> usize {
    5
}

register_kind! {
    Backtest, "evaluate.backtest", version: 2,
    example: "- evaluate.backtest: {model: {model.forecast.ets: {over: day, step: 1d, horizon: 14}}, over: day, horizon: 14, folds: 6, season: 7}",
}

const WORST: &str = "worst_wape";
const DEVIATION: &str = "wape_deviation";

/// The column that tells which series a row is of, where rows of a series are drawn together.
const SERIES: &str = "series of the backtest";

/// The name of a slice's worst value: `worst_wape` is that of a fold.
fn of_slices(worst: &str) -> String {
    worst.replacen("worst_", "worst_slice_", 1)
}

impl Backtest {
    fn further(&self) -> Further<'_> {
        Further {
            bootstrap: self.bootstrap.as_ref(),
            by: self.slices.as_ref(),
            param: "slices",
        }
    }

    /// How each fold is judged.
    fn judge(&self) -> Forecast {
        Forecast::of_folds(
            self.by.clone(),
            self.over.clone(),
            self.season.clone(),
            self.baseline,
        )
    }

    /// What the model sees in each fold: no part but the one that it learns from.
    fn seen(input: &Schema) -> Schema {
        let mut seen = input.clone();
        seen.facts.partitions.clear();
        seen
    }

    fn check_model(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        let known = cx.problems.len();
        let output = self.model.check("model", &Self::seen(input), cx);
        for problem in &mut cx.problems[known..] {
            if problem.code == "no-validation" {
                problem.help = vec!["leave it out: a fold has no validation rows".into()];
            }
        }
        let is_told = cx.problems.len() > known;
        let says_numbers = output
            .column(PREDICTION)
            .is_some_and(|column| column.dtype.is_float());
        if !says_numbers && !is_told && !output.incomplete {
            let kind = self.model.kind().name;
            let place = path!["model", ParamStep::KeyOf(kind.to_owned())];
            cx.report(
                Problem::error(
                    "no-numbers",
                    place,
                    format!("`{kind}` predicts no numbers here"),
                )
                .help("take a forecaster (`model.forecast.*`) or another model of numbers"),
            );
        }
    }

    /// Whether the model gives intervals.
    fn has_ends(&self, input: &Schema) -> bool {
        let capabilities = Capabilities::default();
        let mut cx = CheckContext {
            stage: "model",
            seed: 0,
            directory: Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        let output = self.model.check("model", &Self::seen(input), &mut cx);
        [LOWER, UPPER]
            .iter()
            .all(|name| output.column(name).is_some() && input.column(name).is_none())
    }

    /// The known and the judged rows of a fold with what the model says of the latter.
    fn played(
        &self,
        frame: &Frame,
        fold: &Fold,
        times: &[Option<usize>],
        seed: u64,
    ) -> Result<Frame> {
        let rows_where = |is_wanted: &dyn Fn(usize) -> bool| -> Result<DataFrame> {
            let mask: Vec<bool> = times
                .iter()
                .map(|time| time.is_some_and(is_wanted))
                .collect();
            Ok(frame.data.filter(&BooleanChunked::new("".into(), mask))?)
        };
        let mut known = rows_where(&|time| fold.known.contains(&time))?;
        let mut judged = rows_where(&|time| fold.judged.contains(&time))?;
        let model = self.model.model()?;
        let train = Frame {
            data: known.clone(),
            schema: Self::seen(&frame.schema),
        };
        let mut cx = FitContext {
            stage: self.model.kind().name,
            ..FitContext::quiet(seed)
        };
        let state = model.fit(&train, None, &mut cx)?;
        let outputs = model.load(&state)?.predict(&judged)?;
        let mut schema = train.schema;
        for name in [PREDICTION, LOWER, UPPER] {
            let Some(column) = outputs.iter().find(|column| column.name() == name) else {
                continue;
            };
            let missing = vec![None::<f64>; known.height()];
            known.with_column(PolarsColumn::new(name.into(), missing))?;
            judged.with_column(column.cast(&DataType::Float64)?)?;
            schema.set(Column::new(name, DataType::Float64).with_role(Role::Internal));
        }
        for (rows, part) in [
            (&mut known, Partition::Train),
            (&mut judged, Partition::Test),
        ] {
            let labels = vec![part.label(); rows.height()];
            rows.with_column(PolarsColumn::new(PARTITION.into(), labels))?;
        }
        schema.facts.model_target = model.target(&frame.schema);
        Ok(Frame {
            data: known.vstack(&judged)?,
            schema,
        })
    }

    /// The place of each row's time among all times, none for rows of the test part; and the times as text.
    fn times(&self, frame: &Frame) -> Result<(Vec<Option<usize>>, Vec<String>)> {
        let over = self.judge().over(&frame.schema).map_err(Error::Problem)?;
        let column = frame.data.column(&over)?;
        if column.null_count() > 0 {
            return Err(Error::data(format!(
                "`{over}` has no value in {}",
                counted(column.null_count(), "row")
            )));
        }
        let physical = column.to_physical_repr().cast(&DataType::Int64)?;
        let times: Vec<i64> = physical.i64()?.iter().flatten().collect();
        let is_test: Vec<bool> = match frame.data.column(PARTITION) {
            Ok(parts) => {
                let parts = parts.cast(&DataType::String)?;
                let test = Some(Partition::Test.label());
                parts.str()?.iter().map(|part| part == test).collect()
            }
            Err(_) => vec![false; times.len()],
        };
        let used: BTreeSet<i64> = times
            .iter()
            .zip(&is_test)
            .filter(|(_, is_test)| !**is_test)
            .map(|(time, _)| *time)
            .collect();
        let used: Vec<i64> = used.into_iter().collect();
        let places = times
            .iter()
            .zip(&is_test)
            .map(|(time, is_test)| used.binary_search(time).ok().filter(|_| !is_test))
            .collect::<Vec<_>>();
        let texts = slices::texts(column)?;
        let mut names = vec![String::new(); used.len()];
        for (place, text) in places.iter().zip(texts) {
            if let Some(place) = place {
                names[*place] = text;
            }
        }
        Ok((places, names))
    }

    /// The folds over so many times, the earliest first.
    fn folds(&self, times: usize) -> Result<Vec<Fold>> {
        let step = self.step.unwrap_or(self.horizon);
        let back = self.horizon + (self.folds - 1) * step;
        let first = times
            .checked_sub(back)
            .filter(|first| *first > 0)
            .ok_or_else(|| {
                Error::data(format!(
                    "{} of {} take up {back} times and leave none to learn from, for there are {}; say fewer `folds` or a smaller `horizon`",
                    counted(self.folds, "fold"),
                    counted(self.horizon, "time"),
                    counted(times, "time")
                ))
            })?;
        Ok((0..self.folds)
            .map(|fold| {
                let origin = first + fold * step;
                let from = self
                    .window
                    .map_or(0, |window| origin.saturating_sub(window));
                Fold {
                    known: from..origin,
                    judged: origin..origin + self.horizon,
                }
            })
            .collect())
    }
}

/// The times that a fold learns from and those that it is judged on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fold {
    known: std::ops::Range<usize>,
    judged: std::ops::Range<usize>,
}

impl Stage for Backtest {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return judged::no_input();
        };
        self.check_model(input, cx);
        if let Some(by) = &self.by {
            by.check("by", input, cx);
        }
        self.judge().check_time(input, cx);
        self.further().check(input, cx);
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Evaluate(self)
    }

    fn nested(&self) -> Vec<&Nested> {
        vec![&self.model]
    }
}

impl Evaluate for Backtest {
    fn metrics(&self, input: &Schema) -> Vec<String> {
        let mut names = Forecast::names(self.has_ends(input));
        names.extend([WORST, DEVIATION]);
        let worst = self.further().worst(&BY_SLICE.map(str::to_owned));
        let worst = worst.iter().map(|name| of_slices(name));
        names.into_iter().map(str::to_owned).chain(worst).collect()
    }

    fn reads(&self, input: &Schema) -> BTreeSet<String> {
        let weights = input.with_role(Role::Weight);
        let mut reads: BTreeSet<String> = weights.map(|column| column.name.clone()).collect();
        if let Ok(model) = self.model.model() {
            reads.extend(model.features(input));
            reads.extend(model.target(input));
        }
        reads.extend(self.by.iter().flat_map(|by| by.list().to_vec()));
        reads.extend(self.judge().over(input).ok());
        reads.extend(self.further().reads());
        reads.extend(
            input
                .names()
                .filter(|name| *name == PARTITION)
                .map(str::to_owned),
        );
        reads
    }

    fn evaluate(&self, frame: &Frame, seed: u64) -> Result<Evaluation> {
        let (places, times) = self.times(frame)?;
        let judge = self.judge();
        let folds = self.folds(times.len())?;
        let mut all: Option<Said> = None;
        let mut plots = Vec::new();
        let mut lines: Vec<(String, usize, MetricList)> = Vec::new();
        for (number, fold) in folds.iter().enumerate() {
            let origin = &times[fold.judged.start];
            let failed = |error: Error| match error {
                Error::Interrupted => Error::Interrupted,
                error => Error::data(format!("fold {} (from {origin}): {error}", number + 1)),
            };
            let played = self.played(frame, fold, &places, seed).map_err(failed)?;
            let parts = Parts::of(&played, None).map_err(failed)?;
            let rows = Rows::read(&played, &parts, &judge).map_err(failed)?;
            lines.push((
                origin.clone(),
                parts.judged.len(),
                rows.measure(&parts.judged),
            ));
            if number + 1 == folds.len() {
                plots = judge
                    .fans(&played, &rows, &parts.judged, "Last forecast")
                    .map_err(failed)?;
            }
            let said = Said {
                rows: rows.only(&parts.judged),
                frame: Frame {
                    // They stand behind the known ones.
                    data: played.data.tail(Some(parts.judged.len())),
                    schema: played.schema,
                },
                folds: vec![number; parts.judged.len()],
            };
            all = Some(match all {
                Some(all) => all.followed_by(said)?,
                None => said,
            });
        }
        let mut all = all.ok_or_else(|| Error::data("there is no fold to judge"))?;
        let judged: Vec<usize> = (0..all.rows.count()).collect();
        let bootstrap = self.bootstrap_of(&mut all.frame, &judged)?;
        let measure = |chosen: &[usize]| {
            let mut list = all.rows.measure(chosen);
            add_steadiness(&mut list, &all.rows, &all.folds, chosen);
            list
        };
        let mut list = measure(&judged);
        let mut evaluation = Evaluation {
            rows: judged.len(),
            part: counted(lines.len(), "fold"),
            plots,
            ..Evaluation::default()
        };
        evaluation
            .tables
            .extend(judge.baseline_table(&all.rows, &judged));
        evaluation.tables.push(fold_table(&lines));
        evaluation
            .tables
            .extend(forecast::horizon_table(&all.rows, &judged));
        if let Some(bootstrap) = &bootstrap {
            let names = estimated(&list.defined);
            let intervals = bootstrap.intervals(&all.frame, &judged, &names, seed, &measure)?;
            evaluation.intervals = Some(intervals);
        }
        if let Some(by) = &self.slices {
            let metrics = BY_SLICE.map(str::to_owned);
            let (tables, worst) = by.measure(&all.frame, &judged, &metrics, &measure)?;
            evaluation.tables.extend(tables);
            let defined = worst.defined.into_iter();
            list.defined
                .extend(defined.map(|(name, value)| (of_slices(&name), value)));
            let undefined = worst.undefined.into_iter();
            list.undefined
                .extend(undefined.map(|(name, why)| (of_slices(&name), why)));
        }
        evaluation.metrics = list.defined;
        evaluation
            .tables
            .extend(judged::undefined_table(&list.undefined));
        Ok(evaluation)
    }
}

impl Backtest {
    /// How rows are drawn: all of a series together, which a column is added for.
    fn bootstrap_of(&self, frame: &mut Frame, judged: &[usize]) -> Result<Option<Bootstrap>> {
        let (Some(bootstrap), Some(by)) = (&self.bootstrap, &self.by) else {
            return Ok(self.bootstrap.clone());
        };
        let mut labels = vec![String::new(); judged.len()];
        for (label, rows) in by.groups(frame, judged)? {
            for row in rows {
                labels[row].clone_from(&label);
            }
        }
        frame
            .data
            .with_column(PolarsColumn::new(SERIES.into(), labels))?;
        Ok(Some(bootstrap.clone().or_group(SERIES)))
    }
}

/// What was said in all folds: the judged rows alone, one fold behind the other.
struct Said {
    frame: Frame,
    rows: Rows,
    /// The number of each row's fold.
    folds: Vec<usize>,
}

impl Said {
    fn followed_by(mut self, other: Self) -> Result<Self> {
        self.frame.data.vstack_mut(&other.frame.data)?;
        self.rows = self.rows.followed_by(other.rows);
        self.folds.extend(other.folds);
        Ok(self)
    }
}

/// Adds how far the errors differ between the folds of these rows.
fn add_steadiness(list: &mut MetricList, rows: &Rows, folds: &[usize], chosen: &[usize]) {
    let mut by_fold: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for row in chosen {
        by_fold.entry(folds[*row]).or_default().push(*row);
    }
    let wapes: Vec<f64> = by_fold
        .values()
        .filter_map(|rows_of_fold| rows.wape(rows_of_fold))
        .collect();
    let no_wape = "the truths of each fold are all 0";
    list.add(WORST, wapes.iter().copied().reduce(f64::max), no_wape);
    let mean = wapes.iter().sum::<f64>() / wapes.len() as f64;
    let squares: f64 = wapes.iter().map(|wape| (wape - mean).powi(2)).sum();
    let deviation = (wapes.len() > 1).then(|| (squares / (wapes.len() - 1) as f64).sqrt());
    list.add(DEVIATION, deviation, "fewer than two folds have a `wape`");
}

fn fold_table(lines: &[(String, usize, MetricList)]) -> Table {
    let mut metrics = vec!["wape", "mae", "mase", "bias"];
    let has_ends = lines
        .iter()
        .any(|(_, _, list)| list.get("coverage").is_some());
    metrics.extend(has_ends.then_some("coverage"));
    metrics.extend(["baseline_wape", "wape_skill"]);
    let line = |(origin, rows, list): &(String, usize, MetricList)| {
        let cells = metrics.iter().map(|name| figure_or_none(list.get(name)));
        [origin.clone(), amount(*rows as f64)]
            .into_iter()
            .chain(cells)
            .collect()
    };
    Table {
        name: "folds".into(),
        title: "By fold (the first time that is forecast)".into(),
        columns: ["from", "rows"]
            .iter()
            .chain(&metrics)
            .map(|name| (*name).to_owned())
            .collect(),
        rows: lines.iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use serde::Serialize;
    use taktline_core::{Model, Predictor, State, TensorData, serde_yaml};

    use super::*;
    use crate::judged::testing::{self, announced, close, codes, table};

    /// Says the mean of the training rows, and two below and above it.
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Mean {
        /// Whether there are intervals.
        #[serde(default)]
        ends: bool,
    }

    register_kind! { Mean, "model.test.mean", version: 1, example: "- model.test.mean: {}" }

    #[derive(Serialize, Deserialize)]
    struct Learned {
        mean: f64,
        ends: bool,
    }

    impl Stage for Mean {
        fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
            let input = inputs.first().cloned().unwrap_or_default();
            let others: &[&str] = if self.ends { &[LOWER, UPPER] } else { &[] };
            let target = taktline_core::regressor::check_target(&input, None, cx);
            taktline_core::regressor::with_predictions(&input, target, others, cx)
        }
        fn shape(&self) -> Shape<'_> {
            Shape::Model(self)
        }
    }

    impl Model for Mean {
        fn features(&self, _: &Schema) -> Vec<String> {
            Vec::new()
        }
        fn target(&self, input: &Schema) -> Option<String> {
            input.target().map(|column| column.name.clone())
        }
        fn fit(&self, train: &Frame, _: Option<&Frame>, _: &mut FitContext<'_>) -> Result<State> {
            let values = judged::numbers(train.data.column("demand")?)?;
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let learned = Learned {
                mean,
                ends: self.ends,
            };
            Ok(State::from_data(1, &learned)?.with_tensor(
                "seen",
                vec![values.len()],
                TensorData::F64(values),
            ))
        }
        fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
            Ok(Box::new(state.data::<Learned>(1)?))
        }
    }

    impl Predictor for Learned {
        fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
            let column = |name: &str, by: f64| {
                PolarsColumn::new(name.into(), vec![self.mean + by; batch.height()])
            };
            let mut columns = vec![column(PREDICTION, 0.0)];
            if self.ends {
                columns.extend([column(LOWER, -2.0), column(UPPER, 2.0)]);
            }
            Ok(columns)
        }
    }

    fn stage(params: &str) -> Backtest {
        let params: serde_yaml::Value = serde_yaml::from_str(params).expect("YAML");
        serde_yaml::with::singleton_map_recursive::deserialize(params).expect("params")
    }

    /// Seven days of two shops, in no order.
    fn shops() -> Frame {
        let days = [3, 1, 2, 5, 4, 7, 6, 1, 2, 3, 4, 5, 6, 7_i64];
        let a = [4.0, 2.0, 4.0, 6.0, 2.0, 8.0, 4.0];
        let b = [1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0];
        let shop = [["a"; 7], ["b"; 7]].concat();
        let data = df!("day" => days, "shop" => shop, "demand" => [a, b].concat());
        testing::frame(
            data.expect("a frame"),
            &[("demand", Role::Target), ("day", Role::Time)],
        )
    }

    #[test]
    fn each_fold_learns_what_was_known_and_all_are_judged_together() {
        let frame = shops();
        let stage =
            stage("{model: {model.test.mean: {ends: true}}, horizon: 2, folds: 2, by: shop}");
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        announced(&stage, &frame, &evaluation);
        assert_eq!((evaluation.rows, evaluation.part.as_str()), (8, "2 folds"));
        let truths = judged::numbers(frame.data.column("demand").expect("a column")).expect("f64");
        let days: Vec<i64> = {
            let column = frame.data.column("day").expect("a column");
            column.i64().expect("i64").iter().flatten().collect()
        };
        let errors = |known: i64, judged: [i64; 2]| -> (f64, f64) {
            let of = |is: &dyn Fn(i64) -> bool| -> Vec<f64> {
                let rows = days.iter().zip(&truths);
                rows.filter(|(day, _)| is(**day))
                    .map(|(_, truth)| *truth)
                    .collect()
            };
            let known = of(&|day| day <= known);
            let mean = known.iter().sum::<f64>() / known.len() as f64;
            let judged = of(&|day| judged.contains(&day));
            let errors = judged.iter().map(|truth| (truth - mean).abs()).sum();
            (errors, judged.iter().sum())
        };
        let (first, second) = (errors(3, [4, 5]), errors(5, [6, 7]));
        close(
            &evaluation,
            "wape",
            (first.0 + second.0) / (first.1 + second.1),
        );
        close(&evaluation, "mae", (first.0 + second.0) / 8.0);
        let wapes = [first.0 / first.1, second.0 / second.1];
        close(&evaluation, WORST, wapes[0].max(wapes[1]));
        close(
            &evaluation,
            DEVIATION,
            (wapes[0] - wapes[1]).abs() / 2.0_f64.sqrt(),
        );
        let folds = table(&evaluation, "folds");
        assert_eq!(folds.rows.len(), 2);
        assert_eq!(folds.rows[0][..2], ["4", "4"]);
        assert_eq!(folds.rows[1][..2], ["6", "4"]);
    }

    #[test]
    fn figures_by_hand() {
        // The mean of 1, 3 is 2; 5 and 2 follow. The mean of 1, 3, 5, 2 is 2.75; 4 and 0 follow.
        let data = df!("day" => [1_i64, 2, 3, 4, 5, 6], "demand" => [1.0, 3.0, 5.0, 2.0, 4.0, 0.0]);
        let frame = testing::frame(
            data.expect("a frame"),
            &[("demand", Role::Target), ("day", Role::Time)],
        );
        let evaluation = stage("{model: {model.test.mean: {ends: true}}, horizon: 2, folds: 2}")
            .evaluate(&frame, 1)
            .expect("an evaluation");
        close(&evaluation, "wape", (3.0 + 0.0 + 1.25 + 2.75) / 11.0);
        close(&evaluation, "bias", (-3.0 + 0.0 - 1.25 + 2.75) / 4.0);
        // Steps in the known rows: 2 in the first fold; 2, 2 and 3 in the second.
        let scale = 7.0 / 3.0;
        close(
            &evaluation,
            "mase",
            (3.0 / 2.0 + 0.0 + 1.25 / scale + 2.75 / scale) / 4.0,
        );
        // Two on either side: 2 and 4 lie within.
        close(&evaluation, "coverage", 0.5);
        close(&evaluation, "mean_width", 4.0);
        // The last known value: 3, 3 and 2, 2.
        close(&evaluation, "baseline_mae", (2.0 + 1.0 + 2.0 + 2.0) / 4.0);
        close(&evaluation, WORST, 4.0 / 4.0);
        let folds = table(&evaluation, "folds");
        assert_eq!(folds.rows[0][2], "0.4286");
        assert_eq!(folds.rows[1][2], "1.0000");
        // A fold a day, each learned from the two days before: means of 2, 4, 3.5, 3.
        let evaluation =
            stage("{model: {model.test.mean: {}}, horizon: 1, step: 1, folds: 4, window: 2}")
                .evaluate(&frame, 1)
                .expect("an evaluation");
        close(&evaluation, "mae", (3.0 + 2.0 + 0.5 + 3.0) / 4.0);
        assert!(evaluation.metric("coverage").is_none());
    }

    #[test]
    fn lift_horizons_and_the_last_forecasts_are_shown() {
        let evaluation =
            stage("{model: {model.test.mean: {ends: true}}, horizon: 2, folds: 2, by: shop}")
                .evaluate(&shops(), 1)
                .expect("an evaluation");
        // The means of all known rows are 2.5 and 2.7: errors 0.5, 3.5, 1.3, 5.3 of a and 0.5, 1.5, 0.3, 1.7 of b. The last known values are
        // 4, 6 of a and 1, 1 of b: errors 2, 2, 2, 2 and 2, 0, 2, 0.
        let lift = table(&evaluation, "baseline");
        assert_eq!(lift.rows[0], ["wape", "0.5214", "0.4286", "-21.7 %"]);
        assert!(lift.title.contains("last season"), "{}", lift.title);
        let horizons = table(&evaluation, "horizons");
        assert_eq!(horizons.rows.len(), 2);
        // Errors 0.5, 1.3, 0.5, 0.3; truths 2, 4, 3, 3.
        assert_eq!(horizons.rows[0][..3], ["1", "4", "0.2167"]);
        let titles: Vec<&str> = evaluation
            .plots
            .iter()
            .map(|plot| plot.title.as_str())
            .collect();
        assert_eq!(
            titles,
            ["Last forecast of shop a", "Last forecast of shop b"]
        );
        assert!(evaluation.plots[0].svg.contains("its interval"));
    }

    #[test]
    fn slices_and_intervals_over_all_folds() {
        let frame = shops();
        let stage = stage(
            "{model: {model.test.mean: {ends: true}}, horizon: 2, folds: 2, by: shop, slices: shop, bootstrap: {samples: 200}}",
        );
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        announced(&stage, &frame, &evaluation);
        let slices = table(&evaluation, "by_shop");
        assert_eq!(slices.columns, ["shop", "rows", "wape", "mae", "mase"]);
        assert_eq!(slices.rows[0][..4], ["a", "4", "0.5300", "2.6500"]);
        assert_eq!(slices.rows[1][..4], ["b", "4", "0.5000", "1.0000"]);
        close(&evaluation, "worst_slice_wape", 0.53);
        close(&evaluation, "worst_slice_mae", 2.65);
        // That of a fold: 6 of 12, 8.6 of 16.
        close(&evaluation, WORST, 8.6 / 16.0);
        // Series are drawn whole: both are a in a quarter of the draws, both b in another.
        let intervals = evaluation.intervals.as_ref().expect("intervals");
        let (low, high) = intervals.of("wape").expect("an interval");
        assert!((low - 0.5).abs() < 1e-9, "{low}");
        assert!((high - 0.53).abs() < 1e-9, "{high}");
        assert!(intervals.of(WORST).is_some() && intervals.of("baseline_wape").is_none());
    }

    #[test]
    fn the_test_rows_take_no_part() {
        let days: Vec<i64> = (1..=8).collect();
        let demand = |last: f64| [1.0, 3.0, 5.0, 2.0, 4.0, 0.0, last, last];
        let parts = [["train"; 5].as_slice(), &["validation"], &["test"; 2]].concat();
        let wape = |last: f64| {
            let data =
                df!("day" => &days, "demand" => demand(last), PARTITION => &parts).expect("rows");
            let frame = testing::frame(data, &[("demand", Role::Target), ("day", Role::Time)]);
            let stage = stage("{model: {model.test.mean: {}}, horizon: 2, folds: 2}");
            let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
            evaluation.metric("wape").expect("a wape")
        };
        assert!((wape(1.0) - 7.0 / 11.0).abs() < 1e-12);
        assert_eq!(wape(1.0), wape(1e6));
    }

    #[test]
    fn too_few_times_are_refused() {
        let error = stage("{model: {model.test.mean: {}}, horizon: 2, folds: 4, by: shop}")
            .evaluate(&shops(), 1)
            .expect_err("too few")
            .to_string();
        assert!(
            error.contains("4 folds of 2 times take up 8 times and leave none to learn from, for there are 7 times"),
            "{error}"
        );
        let error = stage("{model: {model.test.mean: {}}, horizon: 2, folds: 2}")
            .evaluate(&shops(), 1)
            .expect_err("two shops")
            .to_string();
        assert!(
            error.starts_with("fold 1 (from 4): two rows are at"),
            "{error}"
        );
    }

    #[test]
    fn check_finds_every_problem() {
        let schema = shops().schema;
        let good = stage("{model: {model.test.mean: {}}, horizon: 2, by: shop, season: 7}");
        assert!(codes(&good, &schema).is_empty());
        assert_eq!(
            codes(
                &stage(
                    "{model: {model.test.mean: {}}, horizon: 2, by: [shops], season: 7d, over: day}"
                ),
                &schema
            ),
            ["unknown-column", "bad-season"]
        );
        assert_eq!(
            codes(
                &stage("{model: {model.test.mean: {}}, horizon: 2, over: shop}"),
                &schema
            ),
            ["wrong-type"]
        );
        assert_eq!(
            codes(
                &stage(
                    "{model: {model.test.mean: {}}, horizon: 2, by: shop, slices: demand, bootstrap: {group: shops}}"
                ),
                &schema
            ),
            ["wrong-type", "unknown-column"]
        );
        let mut text = schema;
        text.column_mut("demand").expect("a column").dtype = DataType::String;
        let problems = testing::check(&good, &text);
        assert_eq!(problems[0].code, "wrong-type");
        assert_eq!(
            problems[0].path,
            path!["model", ParamStep::KeyOf("model.test.mean".into())]
        );
    }

    #[test]
    fn the_example_is_a_stage() {
        // The forecaster of the example is no kind of this crate.
        let registry = taktline_core::Registry::collect().expect("no kind twice");
        let kind = registry.get("evaluate.backtest").expect("registered");
        assert!(kind.about().starts_with("Judges a forecaster"));
        assert!(kind.example.contains("model.forecast.ets"));
    }
}
