//! `evaluate.forecast`

use std::collections::BTreeSet;

use polars::prelude::{DataType, TimeUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, Evaluate, Evaluation, Frame, PARTITION, Partition, Plot, Problem, Result,
    Role, Schema, Shape, Stage, Table, Training,
    classifier::{PREDICTION, unknown_column},
    counted, path, register_kind,
    regressor::{LOWER, UPPER},
    type_name,
};

use crate::{
    bootstrap::Bootstrap,
    further::Further,
    judged::{self, Lift, MetricList, Names, Parts, amount, figure_or_none, pick, target_name},
    metrics::{Errors, coverage, mean},
    plots::{self, Fan},
    slices::{self, By},
};

/// Judges the forecasts of the model above: errors, by horizon and series, beside a seasonal naive forecast.
///
/// It gives `wape` (the sum of the errors' sizes over the sum of the truths' sizes), `mae`, `rmse`, `bias` (the mean of prediction minus
/// truth; these three in the target's unit) and `mase` (Hyndman and Koehler, 2006): the mean size of the errors, each over the
/// mean size of the step from a season before in its series' training rows. Where the model gives `lower` and `upper` also `coverage`,
/// the share of truths between them, and `mean_width`.
///
/// Beside them stand `baseline_wape`, `baseline_mae` and `baseline_rmse` of the seasonal naive forecast, which says again what was a
/// season before, over the rows for which there is one; and the lift over it on those rows, `wape_skill` and `rmse_skill`:
/// `1 - error / baseline error`. 1 is perfect, 0 no better than the naive forecast, below 0 worse.
///
/// The table `horizons` shows the figures by how many steps a row lies after the last training row of its series, the table `series`
/// those of the largest series. Of three series there is a picture. With `slices`, a table shows `wape`, `mae` and `mase` of each
/// slice, and `worst_wape` and so on are those of the worst. With `bootstrap` every metric comes with an interval; rows of one day or one
/// series resemble each other, so draw them together (`group`). Rows count by the column with role `weight`. A metric without a
/// value for the rows at hand is left out and listed in the table `undefined_metrics`; a gate on it fails.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// The rows to judge: `test`, `validation` or `train`. Default: `test` below a split, else all rows.
    part: Option<Partition>,
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

/// How long a season is.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Season {
    /// Rows of a series.
    Rows(#[schemars(range(min = 1))] usize),
    /// A time.
    Time(#[schemars(regex(pattern = r"^[1-9][0-9]*(s|m|h|d|w)$"))] String),
}

impl Default for Season {
    fn default() -> Self {
        Self::Rows(1)
    }
}

/// Which naive forecast.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Baseline {
    /// The last season of the training rows, over and over: what could be said at their end for every horizon.
    #[default]
    LastSeason,
    /// What was a season before each row, whatever part that belongs to: for forecasts made one season ahead or less, again and again.
    SeasonBefore,
}

register_kind! {
    Forecast, "evaluate.forecast", version: 1,
    example: "- evaluate.forecast: {by: [store, product], over: date, season: 7d}",
}

pub(crate) const BY_SLICE: [&str; 3] = ["wape", "mae", "mase"];
/// The most horizons that are shown one by one.
const MOST_HORIZONS: usize = 28;
const MOST_SERIES: usize = 20;
const PICTURES: usize = 3;

impl Season {
    /// In the unit of the time column, or in rows.
    fn steps(&self, over: &DataType) -> std::result::Result<Steps, String> {
        let text = match self {
            Self::Rows(0) => return Err("a season of no rows".into()),
            Self::Rows(rows) => return Ok(Steps::Rows(*rows)),
            Self::Time(text) => text,
        };
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let number = digits.parse::<i64>().ok().filter(|number| *number > 0);
        let seconds = match &text[digits.len()..] {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3600),
            "d" => Some(86_400),
            "w" => Some(604_800),
            _ => None,
        };
        let (Some(number), Some(seconds)) = (number, seconds) else {
            return Err(format!(
                "`{text}` is no time; write a number and `s`, `m`, `h`, `d` or `w`"
            ));
        };
        let seconds = number
            .checked_mul(seconds)
            .ok_or_else(|| format!("`{text}` is too long"))?;
        let units = match over {
            DataType::Date if seconds % 86_400 == 0 => Some(seconds / 86_400),
            DataType::Date => return Err(format!("`{text}` is no whole number of days")),
            DataType::Datetime(TimeUnit::Milliseconds, _) => seconds.checked_mul(1_000),
            DataType::Datetime(TimeUnit::Microseconds, _) => seconds.checked_mul(1_000_000),
            DataType::Datetime(TimeUnit::Nanoseconds, _) => seconds.checked_mul(1_000_000_000),
            _ => {
                return Err(format!(
                    "`{text}` is a time, but the column of time is {}; say how many rows a season has",
                    type_name(over)
                ));
            }
        };
        units
            .map(Steps::Time)
            .ok_or_else(|| format!("`{text}` is too long"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Steps {
    Rows(usize),
    Time(i64),
}

fn is_time(dtype: &DataType) -> bool {
    matches!(dtype, DataType::Date | DataType::Datetime(..)) || dtype.is_integer()
}

impl Stage for Forecast {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return judged::no_input();
        };
        judged::check_model(input, PREDICTION, cx);
        judged::check_number_target(input, cx);
        judged::check_part(self.part, input, cx);
        if let Some(by) = &self.by {
            by.check("by", input, cx);
        }
        self.check_time(input, cx);
        self.further().check(input, cx);
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Evaluate(self)
    }
}

impl Forecast {
    fn further(&self) -> Further<'_> {
        Further {
            bootstrap: self.bootstrap.as_ref(),
            by: self.slices.as_ref(),
            param: "slices",
        }
    }

    /// As a backtest judges each of its folds.
    pub(crate) fn of_folds(
        by: Option<Names>,
        over: Option<String>,
        season: Season,
        baseline: Baseline,
    ) -> Self {
        Self {
            part: None,
            by,
            over,
            season,
            baseline,
            slices: None,
            bootstrap: None,
        }
    }

    /// The metrics, in order.
    pub(crate) fn names(has_ends: bool) -> Vec<&'static str> {
        let mut names = vec!["wape", "mae", "rmse", "mase", "bias"];
        let ends = has_ends.then_some(["coverage", "mean_width"]);
        names.extend(ends.into_iter().flatten());
        names.extend(["baseline_wape", "baseline_mae", "baseline_rmse"]);
        names.extend(["wape_skill", "rmse_skill"]);
        names
    }

    /// Reports a column of time that is none, and a season that does not fit it.
    pub(crate) fn check_time(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        match self.over(input) {
            Ok(over) => self.check_over(input, &over, cx),
            Err(problem) if !input.incomplete => cx.report(*problem),
            Err(_) => {}
        }
    }

    /// The column of time.
    pub(crate) fn over(&self, input: &Schema) -> std::result::Result<String, Box<Problem>> {
        if let Some(over) = &self.over {
            return Ok(over.clone());
        }
        let mut times = input.with_role(Role::Time);
        match (times.next(), times.next()) {
            (Some(only), None) => Ok(only.name.clone()),
            (found, _) => {
                let message = match found {
                    None => "no column has the role `time`, so the rows have no order",
                    Some(_) => "more than one column has the role `time`",
                };
                let problem = Problem::error("no-time", path![], message);
                Err(Box::new(
                    problem.help("name the column of time: `over: date`"),
                ))
            }
        }
    }

    fn check_over(&self, input: &Schema, name: &str, cx: &mut CheckContext<'_>) {
        let place = match self.over {
            Some(_) => path!["over"],
            None => path![],
        };
        let Some(column) = input.column(name) else {
            if !input.may_have(name) {
                cx.report(unknown_column(input, name, place));
            }
            return;
        };
        if !is_time(&column.dtype) {
            cx.report(Problem::error(
                "wrong-type",
                place,
                format!(
                    "`{name}` is {}; time is a date, a datetime, or a whole number that counts steps",
                    type_name(&column.dtype)
                ),
            ));
        } else if let Err(message) = self.season.steps(&column.dtype) {
            cx.report(Problem::error("bad-season", path!["season"], message));
        }
    }
}

/// Everything that is judged, row by row; rows outside of the judged parts may hold no numbers.
pub(crate) struct Rows {
    truths: Vec<f64>,
    predictions: Vec<f64>,
    ends: Option<(Vec<f64>, Vec<f64>)>,
    weights: Option<Vec<f64>>,
    /// How many steps after the last training row of its series.
    horizons: Vec<Option<usize>>,
    /// What the naive forecast says; not-a-number where it says nothing.
    naive: Vec<f64>,
    /// The mean size of the step from a season before in the training rows of its series; not-a-number where there is none.
    scales: Vec<f64>,
    series: Vec<Series>,
    times: Vec<String>,
}

/// The rows of a series, by time.
struct Series {
    label: String,
    rows: Vec<usize>,
}

impl Rows {
    pub(crate) fn read(frame: &Frame, parts: &Parts, settings: &Forecast) -> Result<Self> {
        let column = |name: &str| judged::numbers_or_none(frame.data.column(name)?);
        let target = target_name(&frame.schema)
            .ok_or_else(|| Error::data("no column has the role `target`"))?;
        let ends = match judged::has_ends(&frame.schema) {
            true => Some((column(LOWER)?, column(UPPER)?)),
            false => None,
        };
        let count = frame.data.height();
        let mut rows = Self {
            truths: column(&target)?,
            predictions: column(PREDICTION)?,
            ends,
            weights: judged::weights(frame)?,
            horizons: vec![None; count],
            naive: vec![f64::NAN; count],
            scales: vec![f64::NAN; count],
            series: Vec::new(),
            times: Vec::new(),
        };
        let judged = || parts.judged.iter().copied();
        judged::check_finite(&target, judged(), &rows.truths)?;
        judged::check_finite(PREDICTION, judged(), &rows.predictions)?;
        if let Some((lower, upper)) = &rows.ends {
            judged::check_finite(LOWER, judged(), lower)?;
            judged::check_finite(UPPER, judged(), upper)?;
        }
        rows.order(frame, parts, settings)?;
        Ok(rows)
    }

    /// Puts the rows into series by time, and finds what lies a season before.
    fn order(&mut self, frame: &Frame, parts: &Parts, settings: &Forecast) -> Result<()> {
        let over = settings.over(&frame.schema).map_err(Error::Problem)?;
        let column = frame.data.column(&over)?;
        if column.null_count() > 0 {
            return Err(Error::data(format!(
                "`{over}` has no value in {}",
                counted(column.null_count(), "row")
            )));
        }
        let season = settings.season.steps(column.dtype()).map_err(Error::data)?;
        let physical = column.to_physical_repr().cast(&DataType::Int64)?;
        let times: Vec<i64> = physical.i64()?.iter().flatten().collect();
        self.times = short_times(slices::texts(column)?);
        let all: Vec<usize> = (0..times.len()).collect();
        let groups = match &settings.by {
            Some(by) => by.groups(frame, &all)?,
            None => vec![("all rows".to_owned(), all)],
        };
        let mut is_train = vec![false; times.len()];
        for row in parts.baseline() {
            is_train[*row] = true;
        }
        for (label, mut rows) in groups {
            rows.sort_by_key(|row| times[*row]);
            if let Some(pair) = rows
                .windows(2)
                .find(|pair| times[pair[0]] == times[pair[1]])
            {
                let named = match &settings.by {
                    Some(_) => format!(
                        "the series `{label}` has two rows at {}",
                        self.times[pair[0]]
                    ),
                    None => format!(
                        "two rows are at {}; name the columns that tell series apart with `by`",
                        self.times[pair[0]]
                    ),
                };
                return Err(Error::data(named));
            }
            let order = Order {
                rows: &rows,
                times: &times,
                season,
            };
            let origin = match parts.train {
                Some(_) => rows.iter().rposition(|row| is_train[*row]),
                None => None,
            };
            let steps: Vec<f64> = (0..rows.len())
                .filter_map(|place| {
                    let before = rows[order.season_before(place)?];
                    let is_known = is_train[rows[place]] && is_train[before];
                    let step = (self.truths[rows[place]] - self.truths[before]).abs();
                    (is_known && step.is_finite()).then_some(step)
                })
                .collect();
            let scale = mean(steps.len(), None, |step| steps[step]).filter(|scale| *scale > 0.0);
            for (place, row) in rows.iter().enumerate() {
                self.scales[*row] = scale.unwrap_or(f64::NAN);
                self.horizons[*row] = origin
                    .and_then(|origin| place.checked_sub(origin + 1))
                    .map(|h| h + 1);
                let source = match settings.baseline {
                    Baseline::SeasonBefore => order.season_before(place),
                    Baseline::LastSeason => origin
                        .filter(|origin| place > *origin)
                        .and_then(|origin| order.in_last_season(place, origin))
                        .filter(|source| is_train[rows[*source]]),
                };
                self.naive[*row] = source.map_or(f64::NAN, |source| self.truths[rows[source]]);
            }
            self.series.push(Series { label, rows });
        }
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.truths.len()
    }

    /// These rows alone; their series are told apart no longer.
    pub(crate) fn only(&self, chosen: &[usize]) -> Self {
        let ends = self.ends.as_ref();
        let weights = self.weights.as_ref();
        Self {
            truths: pick(&self.truths, chosen),
            predictions: pick(&self.predictions, chosen),
            ends: ends.map(|(lower, upper)| (pick(lower, chosen), pick(upper, chosen))),
            weights: weights.map(|weights| pick(weights, chosen)),
            horizons: pick(&self.horizons, chosen),
            naive: pick(&self.naive, chosen),
            scales: pick(&self.scales, chosen),
            series: Vec::new(),
            times: Vec::new(),
        }
    }

    /// With the rows of another frame behind these; their series are told apart no longer.
    pub(crate) fn followed_by(mut self, other: Self) -> Self {
        self.truths.extend(other.truths);
        self.predictions.extend(other.predictions);
        self.ends = self.ends.zip(other.ends).map(|(mut ends, more)| {
            ends.0.extend(more.0);
            ends.1.extend(more.1);
            ends
        });
        self.weights = self.weights.zip(other.weights).map(|(mut weights, more)| {
            weights.extend(more);
            weights
        });
        self.horizons.extend(other.horizons);
        self.naive.extend(other.naive);
        self.scales.extend(other.scales);
        self.times.extend(other.times);
        self.series.clear();
        self
    }

    /// The series with rows among the judged ones, the largest first: the sum of the truths' sizes, the series, its judged rows.
    fn largest(&self, judged: &BTreeSet<usize>) -> Vec<(f64, &Series, Vec<usize>)> {
        let mut largest: Vec<(f64, &Series, Vec<usize>)> = self
            .series
            .iter()
            .map(|series| {
                let own: Vec<usize> = series
                    .rows
                    .iter()
                    .copied()
                    .filter(|row| judged.contains(row))
                    .collect();
                let size = own.iter().map(|row| self.truths[*row].abs()).sum();
                (size, series, own)
            })
            .filter(|(_, _, own)| !own.is_empty())
            .collect();
        largest.sort_by(|(one, ..), (other, ..)| other.total_cmp(one));
        largest
    }

    fn errors<'a>(&self, chosen: &[usize], columns: &'a mut [Vec<f64>; 3]) -> Errors<'a> {
        columns[0] = pick(&self.truths, chosen);
        columns[1] = pick(&self.predictions, chosen);
        let weights = self.weights.as_ref();
        if let Some(weights) = weights {
            columns[2] = pick(weights, chosen);
        }
        Errors {
            truths: &columns[0],
            predictions: &columns[1],
            weights: weights.map(|_| columns[2].as_slice()),
        }
    }

    /// The sum of the errors' sizes over that of the truths' sizes.
    pub(crate) fn wape(&self, chosen: &[usize]) -> Option<f64> {
        let mut columns = [const { Vec::new() }; 3];
        self.errors(chosen, &mut columns).wape()
    }

    pub(crate) fn measure(&self, chosen: &[usize]) -> MetricList {
        let mut columns = [const { Vec::new() }; 3];
        let errors = self.errors(chosen, &mut columns);
        let no_weight = "the rows have no weight";
        let all_zero = "all truths are 0";
        let mut list = MetricList::default();
        list.add("wape", errors.wape(), all_zero);
        list.add("mae", errors.mae(), no_weight);
        list.add("rmse", errors.rmse(), no_weight);
        let scaled: Vec<usize> = chosen
            .iter()
            .copied()
            .filter(|row| self.scales[*row].is_finite())
            .collect();
        let weights = self.weights.as_ref().map(|weights| pick(weights, &scaled));
        let mase = mean(scaled.len(), weights.as_deref(), |place| {
            let row = scaled[place];
            (self.truths[row] - self.predictions[row]).abs() / self.scales[row]
        });
        list.add(
            "mase",
            mase,
            "no series has training rows that differ from a season before",
        );
        list.add("bias", errors.bias(), no_weight);
        if let Some((lower, upper)) = &self.ends {
            let (lower, upper) = (pick(lower, chosen), pick(upper, chosen));
            let found = coverage(errors.truths, &lower, &upper, errors.weights);
            list.add("coverage", found.map(|found| found.coverage), no_weight);
            list.add("mean_width", found.map(|found| found.mean_width), no_weight);
        }
        let known: Vec<usize> = chosen
            .iter()
            .copied()
            .filter(|row| self.naive[*row].is_finite())
            .collect();
        let mut columns = [const { Vec::new() }; 3];
        let errors = self.errors(&known, &mut columns);
        let naive = pick(&self.naive, &known);
        let baseline = Errors {
            predictions: &naive,
            ..errors
        };
        let no_naive = "no row has training rows of its series a season before";
        list.add("baseline_wape", baseline.wape(), no_naive);
        list.add("baseline_mae", baseline.mae(), no_naive);
        list.add("baseline_rmse", baseline.rmse(), no_naive);
        let skill = |name: &str, model: Option<f64>, baseline: Option<f64>| {
            lift(name, model, baseline).and_then(|lift| lift.skill())
        };
        let wape = skill("wape", errors.wape(), baseline.wape());
        let rmse = skill("rmse", errors.rmse(), baseline.rmse());
        for (name, skill, naive) in [
            ("wape_skill", wape, baseline.wape()),
            ("rmse_skill", rmse, baseline.rmse()),
        ] {
            let why = match naive {
                Some(0.0) => "the naive forecast makes no error",
                _ => no_naive,
            };
            list.add(name, skill, why);
        }
        list
    }
}

fn lift(name: &str, model: Option<f64>, baseline: Option<f64>) -> Option<Lift> {
    Some(Lift {
        metric: name.to_owned(),
        model: model?,
        baseline: baseline?,
        best: 0.0,
    })
}

/// A series' rows by time.
struct Order<'a> {
    rows: &'a [usize],
    times: &'a [i64],
    season: Steps,
}

impl Order<'_> {
    fn at(&self, time: i64) -> Option<usize> {
        self.rows
            .binary_search_by_key(&time, |row| self.times[*row])
            .ok()
    }

    /// The place of what was a season before.
    fn season_before(&self, place: usize) -> Option<usize> {
        match self.season {
            Steps::Rows(rows) => place.checked_sub(rows),
            Steps::Time(time) => self.at(self.times[self.rows[place]].checked_sub(time)?),
        }
    }

    /// The place in the season that ends at `origin` of what is at `place` after it.
    fn in_last_season(&self, place: usize, origin: usize) -> Option<usize> {
        match self.season {
            Steps::Rows(rows) => (origin + 1)
                .checked_sub(rows)
                .map(|first| first + (place - origin - 1) % rows),
            Steps::Time(time) => {
                let (now, last) = (self.times[self.rows[place]], self.times[self.rows[origin]]);
                let seasons = (now - last + time - 1) / time;
                self.at(now - seasons * time)
            }
        }
    }
}

/// Times as text, without what all of them end in: days without a time of day, seconds of 0.
fn short_times(mut times: Vec<String>) -> Vec<String> {
    for end in [".000000000", ".000000", ".000", ":00", " 00:00"] {
        if !times.is_empty()
            && times
                .iter()
                .all(|time| time.len() > end.len() && time.ends_with(end))
        {
            // `:00` stands for seconds only: a time of day keeps its minutes.
            if end == ":00" && times.iter().any(|time| time.matches(':').count() < 2) {
                continue;
            }
            for time in &mut times {
                time.truncate(time.len() - end.len());
            }
        }
    }
    times
}

impl Evaluate for Forecast {
    fn metrics(&self, input: &Schema) -> Vec<String> {
        let names = Self::names(judged::has_ends(input));
        let worst = self.further().worst(&BY_SLICE.map(str::to_owned));
        names.into_iter().map(str::to_owned).chain(worst).collect()
    }

    fn reads(&self, input: &Schema) -> BTreeSet<String> {
        let weights = input
            .with_role(Role::Weight)
            .map(|column| column.name.clone());
        let outputs = input
            .names()
            .filter(|name| [PREDICTION, LOWER, UPPER, PARTITION].contains(name));
        let by = self.by.iter().flat_map(|by| by.list().to_vec());
        outputs
            .map(str::to_owned)
            .chain(weights)
            .chain(target_name(input))
            .chain(by)
            .chain(self.over(input).ok())
            .chain(self.further().reads())
            .collect()
    }

    fn add_training(&self, training: &Training, evaluation: &mut Evaluation) -> Result<()> {
        judged::add_training(training, evaluation)
    }

    fn evaluate(&self, frame: &Frame, seed: u64) -> Result<Evaluation> {
        let parts = Parts::of(frame, self.part)?;
        let rows = Rows::read(frame, &parts, self)?;
        let measure = |chosen: &[usize]| rows.measure(chosen);

        let mut evaluation = parts.evaluation();
        evaluation
            .tables
            .extend(self.baseline_table(&rows, &parts.judged));
        evaluation
            .tables
            .extend(horizon_table(&rows, &parts.judged));
        if self.by.is_some() {
            evaluation.tables.push(series_table(&rows, &parts.judged));
        }
        evaluation.plots = self.fans(frame, &rows, &parts.judged, "Forecast")?;
        self.further().complete(
            &mut evaluation,
            frame,
            &parts,
            &BY_SLICE.map(str::to_owned),
            seed,
            &measure,
        )?;
        // A forecaster may answer no training rows; a model that does is judged on them, too.
        let answered = |row: &usize| {
            rows.truths[*row].is_finite()
                && rows.predictions[*row].is_finite()
                && rows
                    .ends
                    .as_ref()
                    .is_none_or(|(lower, upper)| lower[*row].is_finite() && upper[*row].is_finite())
        };
        if let Some(train) = parts.beside().filter(|train| train.iter().all(answered)) {
            evaluation.train_metrics = measure(train).defined;
        }
        Ok(evaluation)
    }
}

impl Forecast {
    /// Pictures of the largest series; `what` is shown, say their titles.
    pub(crate) fn fans(
        &self,
        frame: &Frame,
        rows: &Rows,
        judged: &[usize],
        what: &str,
    ) -> Result<Vec<Plot>> {
        let over = self.over(&frame.schema).map_err(Error::Problem)?;
        let target = target_name(&frame.schema).unwrap_or_default();
        let judged: BTreeSet<usize> = judged.iter().copied().collect();
        let mut plots = Vec::new();
        for (_, series, own) in rows.largest(&judged).iter().take(PICTURES) {
            let name = format!("forecast_{}", plots.len() + 1);
            let title = match self.key(frame, own)? {
                Some(key) => format!("{what} of {key}"),
                None => what.to_owned(),
            };
            let axes = (over.as_str(), target.as_str());
            plots.push(fan(rows, series, own, &judged, (name, title), axes)?);
        }
        Ok(plots)
    }

    /// What tells the series of these rows from others, column by column: `store 19, product 101`.
    fn key(&self, frame: &Frame, rows: &[usize]) -> Result<Option<String>> {
        let (Some(by), Some(row)) = (&self.by, rows.first()) else {
            return Ok(None);
        };
        let mut parts = Vec::new();
        for name in by.list() {
            let value = frame.data.column(name)?.slice(*row as i64, 1);
            parts.push(format!("{name} {}", slices::texts(&value)?.concat()));
        }
        Ok(Some(parts.join(", ")))
    }

    /// The lift over the naive forecast, on the rows for which there is one.
    pub(crate) fn baseline_table(&self, rows: &Rows, judged: &[usize]) -> Option<Table> {
        let known: Vec<usize> = judged
            .iter()
            .copied()
            .filter(|row| rows.naive[*row].is_finite())
            .collect();
        let list = rows.measure(&known);
        let lifts: Vec<Lift> = ["wape", "mae", "rmse"]
            .into_iter()
            .filter_map(|name| lift(name, list.get(name), list.get(&format!("baseline_{name}"))))
            .collect();
        let what = match self.baseline {
            Baseline::LastSeason => "the last season of the training rows",
            Baseline::SeasonBefore => "a season before each row",
        };
        let how = match known.len() == judged.len() {
            true => what.to_owned(),
            false => format!(
                "{what}, on {} of {}",
                amount(known.len() as f64),
                counted(judged.len(), "row")
            ),
        };
        judged::lift_table(&how, &lifts)
    }
}

/// Figures by horizon; of many horizons, by ranges of equally many.
pub(crate) fn horizon_table(rows: &Rows, judged: &[usize]) -> Option<Table> {
    let last = judged.iter().filter_map(|row| rows.horizons[*row]).max()?;
    let width = last.div_ceil(MOST_HORIZONS);
    let mut ranges: Vec<Vec<usize>> = vec![Vec::new(); last.div_ceil(width)];
    for row in judged {
        if let Some(horizon) = rows.horizons[*row] {
            ranges[(horizon - 1) / width].push(*row);
        }
    }
    let mut columns = vec!["horizon", "rows", "wape", "mae", "rmse", "bias"];
    columns.extend(rows.ends.is_some().then_some("coverage"));
    columns.push("baseline_wape");
    let lines = ranges
        .iter()
        .enumerate()
        .filter(|(_, range)| !range.is_empty());
    let line = |(place, range): (usize, &Vec<usize>)| {
        let first = place * width + 1;
        let label = match width {
            1 => first.to_string(),
            _ => format!("{first} to {}", (first + width - 1).min(last)),
        };
        figures(rows, label, range, &columns[2..])
    };
    Some(Table {
        name: "horizons".into(),
        title: "By horizon (steps after the last training row)".into(),
        rows: lines.map(line).collect(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
    })
}

fn figures(rows: &Rows, label: String, chosen: &[usize], metrics: &[&str]) -> Vec<String> {
    let list = rows.measure(chosen);
    let cells = metrics.iter().map(|name| figure_or_none(list.get(name)));
    [label, amount(chosen.len() as f64)]
        .into_iter()
        .chain(cells)
        .collect()
}

fn series_table(rows: &Rows, judged: &[usize]) -> Table {
    const METRICS: [&str; 5] = ["wape", "mae", "mase", "bias", "baseline_wape"];
    let largest = rows.largest(&judged.iter().copied().collect());
    let title = match largest.len() > MOST_SERIES {
        true => format!(
            "By series: the {MOST_SERIES} largest of {}",
            amount(largest.len() as f64)
        ),
        false => "By series, the largest first".into(),
    };
    Table {
        name: "series".into(),
        title,
        columns: ["series", "rows"]
            .into_iter()
            .chain(METRICS)
            .map(str::to_owned)
            .collect(),
        rows: largest
            .iter()
            .take(MOST_SERIES)
            .map(|(_, series, own)| figures(rows, series.label.clone(), own, &METRICS))
            .collect(),
    }
}

/// The picture of a series: its last known rows, then truth and forecast.
fn fan(
    rows: &Rows,
    series: &Series,
    own: &[usize],
    judged: &BTreeSet<usize>,
    (name, title): (String, String),
    axes: (&str, &str),
) -> Result<Plot> {
    const MOST_SHOWN: usize = 300;
    let shown = own.len().min(MOST_SHOWN);
    let first = series
        .rows
        .iter()
        .position(|row| judged.contains(row))
        .unwrap_or(0);
    let start = first.saturating_sub(shown.clamp(20, 120));
    let place = |row: usize| series.rows.iter().position(|other| *other == row);
    let forecast: Vec<(usize, usize)> = own
        .iter()
        .take(shown)
        .filter_map(|row| Some((place(*row)?, *row)))
        .collect();
    let end = forecast.last().map_or(first, |(place, _)| *place);
    let points =
        |values: &[f64], rows: &mut dyn Iterator<Item = (usize, usize)>| -> Vec<(f64, f64)> {
            rows.map(|(place, row)| (place as f64, values[row]))
                .filter(|(_, value)| value.is_finite())
                .collect()
        };
    let window = || {
        series
            .rows
            .iter()
            .copied()
            .enumerate()
            .take(end + 1)
            .skip(start)
    };
    let band = rows.ends.as_ref().map(|(lower, upper)| {
        (
            points(lower, &mut forecast.iter().copied()),
            points(upper, &mut forecast.iter().copied()),
        )
    });
    let fan = Fan {
        name,
        title,
        before: points(
            &rows.truths,
            &mut window().take_while(|(place, _)| *place <= first),
        ),
        truth: points(
            &rows.truths,
            &mut window().skip_while(|(place, _)| *place < first),
        ),
        forecast: points(&rows.predictions, &mut forecast.iter().copied()),
        band,
        labels: series
            .rows
            .iter()
            .map(|row| rows.times[*row].as_str())
            .collect(),
        axes,
    };
    plots::forecast_fan(&fan)
}

#[cfg(test)]
mod tests {
    use polars::prelude::{DataFrame, df};
    use taktline_core::serde_yaml;

    use super::*;
    use crate::judged::testing::{self, announced, check, close, codes, table};

    fn stage(params: &str) -> Forecast {
        let params: serde_yaml::Value = serde_yaml::from_str(params).expect("YAML");
        serde_yaml::with::singleton_map_recursive::deserialize(params).expect("params")
    }

    fn frame(data: DataFrame) -> Frame {
        testing::frame(
            data,
            &[
                ("demand", Role::Target),
                ("day", Role::Time),
                (PREDICTION, Role::Internal),
            ],
        )
    }

    /// Two series of seasons of two days: four days to learn from, three to forecast; rows in no order.
    fn shops() -> Frame {
        let rows = [
            // a: seasonal steps in training 2 and 2, so that the scale is 2; its last season is 12, 22.
            ("a", 1, 10.0, None),
            ("a", 2, 20.0, None),
            ("a", 3, 12.0, None),
            ("a", 4, 22.0, None),
            ("a", 5, 13.0, Some(14.0)),
            ("a", 6, 20.0, Some(21.0)),
            ("a", 7, 16.0, Some(13.0)),
            // b: the scale is 4; its last season is 1, 7.
            ("b", 1, 5.0, None),
            ("b", 2, 3.0, None),
            ("b", 3, 1.0, None),
            ("b", 4, 7.0, None),
            ("b", 5, 3.0, Some(1.0)),
            ("b", 6, 7.0, Some(7.0)),
            ("b", 7, 1.0, Some(2.0)),
        ];
        let order = [13, 0, 7, 3, 4, 12, 1, 2, 11, 5, 6, 8, 10, 9];
        let rows: Vec<_> = order.iter().map(|row| rows[*row]).collect();
        let prediction: Vec<Option<f64>> = rows.iter().map(|row| row.3).collect();
        let end = |by: f64| -> Vec<Option<f64>> {
            prediction
                .iter()
                .map(|value| value.map(|value| value + by))
                .collect()
        };
        let data = df!(
            "shop" => rows.iter().map(|row| row.0).collect::<Vec<_>>(),
            "day" => rows.iter().map(|row| row.1).collect::<Vec<i64>>(),
            "demand" => rows.iter().map(|row| row.2).collect::<Vec<_>>(),
            LOWER => end(-1.5),
            UPPER => end(1.5),
            PARTITION => prediction.iter().map(|value| if value.is_some() { "test" } else { "train" }).collect::<Vec<_>>(),
            PREDICTION => prediction,
        );
        frame(data.expect("a frame"))
    }

    #[test]
    fn errors_scales_and_naive_by_hand() {
        let frame = shops();
        let stage = stage("{by: shop, season: 2, slices: shop}");
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        announced(&stage, &frame, &evaluation);
        // Errors 1, 1, 3 and 2, 0, 1; truths sum to 60.
        close(&evaluation, "wape", 8.0 / 60.0);
        close(&evaluation, "mae", 8.0 / 6.0);
        close(&evaluation, "rmse", (16.0_f64 / 6.0).sqrt());
        close(&evaluation, "mase", (5.0 / 2.0 + 3.0 / 4.0) / 6.0);
        close(
            &evaluation,
            "bias",
            (1.0 + 1.0 - 3.0 - 2.0 + 0.0 + 1.0) / 6.0,
        );
        close(&evaluation, "coverage", 4.0 / 6.0);
        close(&evaluation, "mean_width", 3.0);
        // The naive forecast says 12, 22, 12 and 1, 7, 1.
        close(&evaluation, "baseline_mae", (1.0 + 2.0 + 4.0 + 2.0) / 6.0);
        close(&evaluation, "baseline_wape", 9.0 / 60.0);
        close(&evaluation, "wape_skill", 1.0 / 9.0);
        close(&evaluation, "rmse_skill", 1.0 - (16.0_f64 / 25.0).sqrt());
        close(&evaluation, "worst_wape", 3.0 / 11.0);
        let horizons = table(&evaluation, "horizons");
        assert_eq!(horizons.rows.len(), 3);
        // Day 7: truths 16 and 1, errors 3 and 1.
        assert_eq!(
            horizons.rows[2],
            [
                "3", "2", "0.2353", "2", "2.2361", "-1.0000", "0.5000", "0.2353"
            ]
        );
        let series = table(&evaluation, "series");
        assert_eq!(series.rows[0][..3], ["a", "3", "0.1020"]);
        let plots: Vec<&str> = evaluation
            .plots
            .iter()
            .map(|plot| plot.title.as_str())
            .collect();
        assert_eq!(plots, ["Forecast of shop a", "Forecast of shop b"]);
        for axis in ["day", "demand"] {
            assert!(evaluation.plots[0].svg.contains(&format!("\n{axis}\n")));
        }
        assert!(evaluation.train_metrics.is_empty());
    }

    #[test]
    fn a_season_before_each_row_whatever_its_part() {
        let evaluation = stage("{by: shop, season: 2, baseline: season_before}")
            .evaluate(&shops(), 1)
            .expect("an evaluation");
        // a: 12, 22, 13 for 13, 20, 16. b: 1, 7, 3 for 3, 7, 1.
        close(
            &evaluation,
            "baseline_mae",
            (1.0 + 2.0 + 3.0 + 2.0 + 0.0 + 2.0) / 6.0,
        );
    }

    #[test]
    fn seasons_in_time_see_missing_rows() {
        // Days 0 to 9 without day 3; a season of 4 days. The last training day is 5.
        let days: Vec<i32> = vec![0, 1, 2, 4, 5, 6, 7, 8, 9];
        let data = df!(
            "day" => days.clone(),
            "demand" => days.iter().map(|day| f64::from(day * day)).collect::<Vec<_>>(),
            PREDICTION => vec![0.0; 9],
            PARTITION => ["train", "train", "train", "train", "train", "test", "test", "test", "test"],
        )
        .expect("a frame");
        let day = data
            .column("day")
            .expect("days")
            .cast(&DataType::Date)
            .expect("dates");
        let mut data = data;
        data.with_column(day).expect("a column");
        let evaluation = stage("{season: 4d}")
            .evaluate(&frame(data), 1)
            .expect("an evaluation");
        // Day 6 says day 2, day 7 has no day 3, day 8 says day 4, day 9 says day 5.
        close(
            &evaluation,
            "baseline_mae",
            (36.0 - 4.0 + 64.0 - 16.0 + 81.0 - 25.0) / 3.0,
        );
        // In training day 4 follows day 0, day 5 follows day 1: steps of 16 and 24.
        close(
            &evaluation,
            "mase",
            (36.0 + 49.0 + 64.0 + 81.0) / 4.0 / 20.0,
        );
        let title = &table(&evaluation, "baseline").title;
        assert!(title.ends_with("on 3 of 4 rows)"), "{title}");
    }

    #[test]
    fn without_training_rows_there_is_no_naive_forecast() {
        let data =
            df!("day" => [1_i64, 2, 3], "demand" => [1.0, 2.0, 4.0], PREDICTION => [1.0, 2.0, 3.0]);
        let evaluation = stage("{}")
            .evaluate(&frame(data.expect("a frame")), 1)
            .expect("an evaluation");
        close(&evaluation, "mase", (1.0 / 3.0) / 1.5);
        let names: Vec<&str> = table(&evaluation, "undefined_metrics")
            .rows
            .iter()
            .map(|row| row[0].as_str())
            .collect();
        assert_eq!(
            names,
            [
                "baseline_wape",
                "baseline_mae",
                "baseline_rmse",
                "wape_skill",
                "rmse_skill"
            ]
        );
    }

    #[test]
    fn titles_name_what_tells_series_apart() {
        let data = df!(
            "day" => [1_i64, 2, 1, 2],
            "store" => [19_i64, 19, 20, 20],
            "product" => ["a · b", "a · b", "c", "c"],
            "demand" => [1.0, 2.0, 3.0, 5.0],
            PREDICTION => [1.0, 2.0, 3.0, 4.0],
        );
        let frame = frame(data.expect("a frame"));
        let titles = |params: &str, frame: &Frame| -> Vec<String> {
            let evaluation = stage(params).evaluate(frame, 1).expect("an evaluation");
            let plots = evaluation.plots.into_iter();
            plots.map(|plot| plot.title).collect()
        };
        assert_eq!(
            titles("{by: [store, product]}", &frame),
            [
                "Forecast of store 20, product c",
                "Forecast of store 19, product a · b"
            ]
        );
        let data = frame.data.head(Some(2));
        let one = self::frame(data);
        assert_eq!(titles("{}", &one), ["Forecast"]);
    }

    #[test]
    fn two_rows_at_one_time_are_two_series() {
        let error = stage("{season: 2}")
            .evaluate(&shops(), 1)
            .expect_err("two shops")
            .to_string();
        assert_eq!(
            error,
            "two rows are at 1; name the columns that tell series apart with `by`"
        );
    }

    #[test]
    fn times_are_shown_short() {
        let short = |times: [&str; 2]| short_times(times.map(str::to_owned).to_vec());
        assert_eq!(
            short(["2019-01-01 00:00:00.000000", "2019-01-02 00:00:00.000000"]),
            ["2019-01-01", "2019-01-02"]
        );
        assert_eq!(
            short(["2019-01-01 10:00:00", "2019-01-01 11:00:00"]),
            ["2019-01-01 10:00", "2019-01-01 11:00"]
        );
        assert_eq!(short(["100", "200"]), ["100", "200"]);
    }

    #[test]
    fn check_finds_every_problem() {
        let mut schema = shops().schema;
        schema.facts.partitions = vec![Partition::Train, Partition::Test];
        assert!(codes(&stage("{by: shop, season: 2}"), &schema).is_empty());
        let problems = check(
            &stage("{by: [shop, shops], season: 7d, slices: demand}"),
            &schema,
        );
        let found: Vec<_> = problems
            .iter()
            .map(|problem| (problem.code, problem.path.clone()))
            .collect();
        assert_eq!(
            found,
            [
                ("unknown-column", path!["by", 1]),
                ("bad-season", path!["season"]),
                ("wrong-type", path!["slices"])
            ]
        );
        assert!(
            problems[1].message.contains("is i64; say how many rows"),
            "{}",
            problems[1].message
        );
        assert_eq!(codes(&stage("{over: shop}"), &schema), ["wrong-type"]);
        let dates = DataType::Date;
        let season = |text: &str| stage(&format!("{{season: {text}}}")).season.steps(&dates);
        assert_eq!(season("1w"), Ok(Steps::Time(7)));
        assert!(
            season("12h").is_err()
                && season("7").is_ok()
                && season("7y").is_err()
                && season("0").is_err()
        );
    }

    #[test]
    fn the_example_is_a_stage() {
        testing::example_is_a_stage("evaluate.forecast", "Judges the forecasts");
    }
}
