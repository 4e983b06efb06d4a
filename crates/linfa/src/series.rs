//! What all forecasters have in common: many series in one table, their regular steps in time, forecasts kept and looked up.
//!
//! A forecaster learns each series from the training rows and keeps its forecasts for so many steps after the last of them. A row to
//! predict is answered from its own series and time alone.

use std::collections::{BTreeMap, HashMap};

use polars::prelude::{Column as PolarsColumn, DataFrame, DataType, TimeUnit};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, ParamPath, Predictor, Problem, Result, Role,
    Schema, State, TensorData,
    classifier::{self, PREDICTION},
    counted, path,
    regressor::{self, LOWER, UPPER},
    type_name,
};

use crate::{records::target_numbers, steps::Steps};

const VERSION: u32 = 1;

/// Declares a forecaster's params: the ones that all forecasters have, and its own. serde shares no fields between structs
/// that refuse unknown ones.
macro_rules! forecaster_params {
    ($(#[$meta:meta])* struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct $name {
            /// The column to forecast: numbers. Default: the column with role `target`.
            target: Option<String>,
            /// The columns that tell the series apart: `[store, product]`. Default: the rows are one series.
            #[serde(default)]
            by: Vec<String>,
            /// The time of a row: dates, times or whole numbers. Default: the column with role `time`.
            over: Option<String>,
            /// The time from one row of a series to the next: `1d`, `15min`, `1h`, `1w`, `1mo`, `1y`; for whole numbers a number.
            /// Default: the shortest time between two rows of a series; months and years must be said.
            step: Option<$crate::series::Step>,
            /// What a step without a row means: `error`, or its value is the `previous` one, `zero`, or on the line between
            /// its neighbours (`linear`).
            #[serde(default)]
            gaps: $crate::series::Gaps,
            /// How many steps after the last training row of a series can be forecast.
            #[schemars(range(min = 1, max = 100_000))]
            horizon: usize,
            /// The share of true values that should lie between `lower` and `upper`.
            #[serde(default = "crate::series::default_level")]
            #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
            level: f64,
            $($own)*
        }

        impl $name {
            fn settings(&self) -> $crate::series::Settings<'_> {
                $crate::series::Settings {
                    target: self.target.as_deref(),
                    by: &self.by,
                    over: self.over.as_deref(),
                    step: self.step,
                    gaps: self.gaps,
                    horizon: self.horizon,
                }
            }
        }
    };
}
pub(crate) use forecaster_params;

pub(crate) fn default_level() -> f64 {
    0.9
}

/// A forecaster's params that all of them have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings<'a> {
    pub(crate) target: Option<&'a str>,
    pub(crate) by: &'a [String],
    pub(crate) over: Option<&'a str>,
    pub(crate) step: Option<Step>,
    pub(crate) gaps: Gaps,
    pub(crate) horizon: usize,
}

/// What a step without a row means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Gaps {
    /// The series is refused.
    #[default]
    Error,
    /// The value before holds on.
    Previous,
    /// Nothing happened.
    Zero,
    /// On the line between the neighbours.
    Linear,
}

/// The time from one row of a series to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StepText", into = "StepText")]
pub(crate) enum Step {
    /// Microseconds; of whole numbers, their unit.
    Fixed(i64),
    /// Calendar months.
    Months(i64),
    /// A plain number.
    Number(i64),
}

/// A step as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum StepText {
    Number(i64),
    Text(String),
}

const UNITS: [(&str, i64); 5] = [
    ("s", 1_000_000),
    ("min", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
    ("w", 604_800_000_000),
];

impl TryFrom<StepText> for Step {
    type Error = String;

    fn try_from(text: StepText) -> Result<Self, String> {
        let text = match text {
            StepText::Number(number) if number > 0 => return Ok(Self::Number(number)),
            StepText::Number(number) => return Err(format!("a step of {number} leads nowhere")),
            StepText::Text(text) => text,
        };
        let wrong = || {
            format!(
                "`{text}` is no step; say a number and a unit: `1d`, `15min`, `1h`, `1w`, `1mo`, `1y`"
            )
        };
        let digits = text.len()
            - text
                .trim_start_matches(|sign: char| sign.is_ascii_digit())
                .len();
        let (number, unit) = text.split_at(digits);
        let number: i64 = number.parse().map_err(|_| wrong())?;
        let step = match unit {
            "mo" => number.checked_mul(1).map(Self::Months),
            "q" => number.checked_mul(3).map(Self::Months),
            "y" => number.checked_mul(12).map(Self::Months),
            unit => {
                let (_, length) = UNITS
                    .iter()
                    .find(|(name, _)| *name == unit)
                    .ok_or_else(wrong)?;
                number.checked_mul(*length).map(Self::Fixed)
            }
        };
        step.filter(|_| number > 0).ok_or_else(wrong)
    }
}

impl From<Step> for StepText {
    fn from(step: Step) -> Self {
        match step {
            Step::Number(number) => Self::Number(number),
            step => Self::Text(step.to_string()),
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Months(months) => write!(formatter, "{months}mo"),
            Self::Fixed(length) => {
                let (unit, size) = UNITS
                    .iter()
                    .rev()
                    .find(|(_, size)| length % size == 0)
                    .unwrap_or(&UNITS[0]);
                write!(formatter, "{}{unit}", length / size)
            }
        }
    }
}

impl JsonSchema for Step {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Step".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "integer"],
            "pattern": "^[0-9]+(s|min|h|d|w|mo|q|y)$",
            "minimum": 1,
        })
    }
}

impl Step {
    /// How many steps lie between two times; `None` where it is no whole number of steps.
    fn between(self, from: i64, to: i64) -> Option<i64> {
        match self {
            Self::Fixed(length) | Self::Number(length) => {
                let apart = to.checked_sub(from)?;
                (apart % length == 0).then_some(apart / length)
            }
            Self::Months(length) => {
                let (from, to) = (Calendar::of(from), Calendar::of(to));
                let apart = to.months - from.months;
                (apart % length == 0 && from.rest == to.rest).then_some(apart / length)
            }
        }
    }

    /// The time so many steps later.
    fn after(self, from: i64, steps: i64) -> i64 {
        match self {
            Self::Fixed(length) | Self::Number(length) => {
                from.saturating_add(length.saturating_mul(steps))
            }
            Self::Months(length) => {
                let from = Calendar::of(from);
                Calendar {
                    months: from.months + length * steps,
                    ..from
                }
                .microseconds()
            }
        }
    }
}

/// A time as months since 1970 and what is left.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Calendar {
    months: i64,
    rest: i64,
}

impl Calendar {
    fn of(microseconds: i64) -> Self {
        let day_length = UNITS[3].1;
        let (days, rest) = (
            microseconds.div_euclid(day_length),
            microseconds.rem_euclid(day_length),
        );
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": civil_from_days.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5;
        // Years begin in March here.
        let months = (era * 400 + year_of_era) * 12 + shifted_month + 2;
        Self {
            months: months - 1970 * 12,
            rest: day * day_length + rest,
        }
    }

    fn microseconds(self) -> i64 {
        // As above: days_from_civil, for the month's first day.
        let months = self.months + 1970 * 12;
        let (shifted_year, shifted_month) =
            ((months - 2).div_euclid(12), (months - 2).rem_euclid(12));
        let era = shifted_year.div_euclid(400);
        let year_of_era = shifted_year.rem_euclid(400);
        let day_of_year = (153 * shifted_month + 2) / 5;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        (era * 146_097 + day_of_era - 719_468) * UNITS[3].1 + self.rest
    }
}

/// What a calendar says of a time in microseconds since 1970, each counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CalendarParts {
    pub(crate) hour: usize,
    /// From Monday.
    pub(crate) weekday: usize,
    pub(crate) month: usize,
}

impl CalendarParts {
    pub(crate) fn of(time: i64) -> Self {
        let day_length = UNITS[3].1;
        // 1970 began on a Thursday.
        let weekday = (time.div_euclid(day_length) + 3).rem_euclid(7);
        Self {
            hour: (time.rem_euclid(day_length) / UNITS[2].1) as usize,
            weekday: weekday as usize,
            month: Calendar::of(time).months.rem_euclid(12) as usize,
        }
    }
}

/// What a forecaster makes of one series.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Forecasts {
    /// The forecast for each step of training, made from those before it; not a number where there is none.
    pub(crate) fitted: Vec<f64>,
    /// The forecasts after the last step: as many as the horizon.
    pub(crate) point: Vec<f64>,
    /// The lower ends of their intervals.
    pub(crate) lower: Vec<f64>,
    /// The upper ends.
    pub(crate) upper: Vec<f64>,
}

/// How far from the middle of a normal distribution the ends of an interval lie that holds this share, in standard deviations.
pub(crate) fn half_width(level: f64) -> f64 {
    distrs::Normal::ppf(0.5 + level / 2.0, 0.0, 1.0)
}

/// Checks what all forecasters need; answers with the columns that they add.
pub(crate) fn check(
    settings: &Settings<'_>,
    inputs: &[Schema],
    cx: &mut CheckContext<'_>,
) -> Schema {
    let Some(input) = inputs.first() else {
        return Schema {
            incomplete: true,
            ..Schema::default()
        };
    };
    let target = regressor::check_target(input, settings.target, cx);
    let over = check_time(settings, input, cx);
    if let (Some(over), Some(step)) = (over, settings.step) {
        let counts = over.dtype.is_integer();
        if counts != matches!(step, Step::Number(_)) {
            let message = format!(
                "a step of `{step}` does not fit `{}`, which is {}",
                over.name,
                type_name(&over.dtype)
            );
            cx.report(
                Problem::error("wrong-type", path!["step"], message).help(if counts {
                    "say a number: `step: 1`"
                } else {
                    "say a number and a unit: `step: 1d`"
                }),
            );
        }
    }
    for (place, name) in settings.by.iter().enumerate() {
        match input.column(name) {
            None => cx.report(classifier::unknown_column(input, name, path!["by", place])),
            Some(column) if column.dtype.is_float() || column.array().is_some() => {
                let message = format!(
                    "`{name}` is {}, which tells no series apart",
                    type_name(&column.dtype)
                );
                cx.report(
                    Problem::error("wrong-type", path!["by", place], message)
                        .help("name columns of text, whole numbers, dates or truth values"),
                );
            }
            Some(_) => {}
        }
    }
    regressor::with_predictions(input, target, &[LOWER, UPPER], cx)
}

/// The column that tells the time of a row, if there is one that does.
pub(crate) fn time_column<'a>(settings: &Settings<'_>, input: &'a Schema) -> Option<&'a Column> {
    input.column(&time_name(settings, input)?)
}

fn check_time<'a>(
    settings: &Settings<'_>,
    input: &'a Schema,
    cx: &mut CheckContext<'_>,
) -> Option<&'a Column> {
    let place = || match settings.over {
        Some(_) => path!["over"],
        None => ParamPath::kind(),
    };
    let Some(name) = time_name(settings, input) else {
        if !input.incomplete {
            cx.report(
                Problem::error(
                    "no-time",
                    ParamPath::kind(),
                    "it is not known which column tells the time of a row",
                )
                .help("say `over: NAME`, or give one column `role: time` under `columns:`"),
            );
        }
        return None;
    };
    let Some(column) = input.column(&name) else {
        cx.report(classifier::unknown_column(input, &name, place()));
        return None;
    };
    let is_time = matches!(column.dtype, DataType::Date | DataType::Datetime(..))
        || column.dtype.is_integer();
    if !is_time {
        let message = format!("`{name}` is {}, not a time", type_name(&column.dtype));
        cx.report(Problem::error("wrong-type", place(), message).help(format!(
            "parse it above: `- clean.parse_dates: {{columns: {name}}}`"
        )));
        return None;
    }
    Some(column)
}

fn time_name(settings: &Settings<'_>, input: &Schema) -> Option<String> {
    let mut times = input.with_role(Role::Time);
    let only = times.next().filter(|_| times.next().is_none());
    settings
        .over
        .map(str::to_owned)
        .or_else(|| only.map(|column| column.name.clone()))
}

/// The columns that a forecast is looked up by.
pub(crate) fn features(settings: &Settings<'_>, input: &Schema) -> Vec<String> {
    let time = time_name(settings, input);
    settings.by.iter().cloned().chain(time).collect()
}

/// The column to forecast.
pub(crate) fn target(settings: &Settings<'_>, input: &Schema) -> Option<String> {
    classifier::target_name(settings.target.map(str::to_owned).as_ref(), input)
}

/// What is kept of a fit, beside the numbers.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    by: Vec<String>,
    over: String,
    step: Step,
    horizon: usize,
    series: Vec<Series>,
}

/// One series of the training rows.
#[derive(Debug, Serialize, Deserialize)]
struct Series {
    key: Vec<String>,
    /// The time of the last training row.
    last: i64,
    /// Steps of training.
    steps: usize,
}

/// The training steps of one series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// The value of each step.
    pub(crate) values: &'a [f64],
    /// The time of the last one: microseconds since 1970, or a whole number.
    last: i64,
    step: Step,
}

impl Known<'_> {
    /// The time of a step, counted from the first one; it may lie ahead.
    pub(crate) fn time(&self, step: usize) -> i64 {
        let ahead = step as i64 + 1 - self.values.len() as i64;
        self.step.after(self.last, ahead)
    }
}

/// Fits every series by its values, several at a time, and keeps their forecasts.
///
/// # Errors
/// Rows that make no regular series, and what `forecast` says, with the series' name before it.
pub(crate) fn fit(
    settings: &Settings<'_>,
    train: &Frame,
    cx: &mut FitContext<'_>,
    forecast: impl Fn(&[f64]) -> Result<Forecasts> + Sync,
) -> Result<State> {
    fit_known(settings, train, cx, |known| forecast(known.values))
}

/// As [`fit`], for forecasters that look at times too.
pub(crate) fn fit_known(
    settings: &Settings<'_>,
    train: &Frame,
    cx: &mut FitContext<'_>,
    forecast: impl Fn(Known<'_>) -> Result<Forecasts> + Sync,
) -> Result<State> {
    let (_, values) = target_numbers(train, target(settings, &train.schema))?;
    if values.is_empty() {
        return Err(Error::data("there are no training rows to learn from"));
    }
    let over = time_name(settings, &train.schema)
        .ok_or_else(|| Error::data("it is not known which column tells the time of a row"))?;
    let times = times(&train.data, &over)?;
    let keys = keys(&train.data, settings.by)?;
    let mut rows_of: BTreeMap<&[String], Vec<usize>> = BTreeMap::new();
    for (row, key) in keys.iter().enumerate() {
        rows_of.entry(key).or_default().push(row);
    }
    for rows in rows_of.values_mut() {
        rows.sort_by_key(|row| times[*row]);
    }
    let step = match settings.step {
        Some(step) => step,
        None => shortest(&train.data, &over, rows_of.values(), &times)?,
    };
    let steps = Steps::new(cx, rows_of.len(), "series");
    let fitted = rows_of
        .par_iter()
        .map(|(key, rows)| {
            cx.cancellation.check()?;
            let name = named(settings.by, key);
            let places = Regular {
                step,
                gaps: settings.gaps,
                over: &over,
            };
            let regular = places.values(rows, &times, |row| values[row], &name)?;
            let last = rows.last().map_or(0, |row| times[*row]);
            let known = Known {
                values: &regular,
                last,
                step,
            };
            let found = forecast(known).map_err(|error| match error {
                Error::Interrupted => error,
                other => Error::data(format!("{name}: {other}")),
            })?;
            let lengths = [&found.point, &found.lower, &found.upper].map(Vec::len);
            let numbers = found.point.iter().chain(&found.lower).chain(&found.upper);
            if lengths != [settings.horizon; 3]
                || numbers.into_iter().any(|number| !number.is_finite())
            {
                return Err(Error::Model(format!(
                    "{name}: no finite forecast could be made of {}",
                    counted(regular.len(), "step")
                )));
            }
            steps.add(1);
            let series = Series {
                key: key.to_vec(),
                last,
                steps: regular.len(),
            };
            Ok((series, found))
        })
        .collect::<Result<Vec<_>>>()?;
    let all = |of: fn(&Forecasts) -> &Vec<f64>| {
        TensorData::F64(
            fitted
                .iter()
                .flat_map(|(_, found)| of(found))
                .copied()
                .collect(),
        )
    };
    let shape = vec![fitted.len(), settings.horizon];
    let steps = fitted.iter().map(|(series, _)| series.steps).sum();
    let tensors = [
        ("fitted", vec![steps], all(|found| &found.fitted)),
        ("point", shape.clone(), all(|found| &found.point)),
        ("lower", shape.clone(), all(|found| &found.lower)),
        ("upper", shape, all(|found| &found.upper)),
    ];
    let learned = Learned {
        by: settings.by.to_vec(),
        over,
        step,
        horizon: settings.horizon,
        series: fitted.into_iter().map(|(series, _)| series).collect(),
    };
    let state = State::from_data(VERSION, &learned)?;
    Ok(tensors
        .into_iter()
        .fold(state, |state, (name, shape, data)| {
            state.with_tensor(name, shape, data)
        }))
}

/// The shortest time between two rows of a series.
fn shortest<'a>(
    data: &DataFrame,
    over: &str,
    series: impl Iterator<Item = &'a Vec<usize>>,
    times: &[i64],
) -> Result<Step> {
    let shortest = series
        .flat_map(|rows| rows.windows(2))
        .map(|pair| times[pair[1]] - times[pair[0]])
        .filter(|apart| *apart > 0)
        .min()
        .ok_or_else(|| {
            Error::data("no series has rows of two times, so its step is not known; say `step:`")
        })?;
    Ok(match data.column(over)?.dtype().is_integer() {
        true => Step::Number(shortest),
        false => Step::Fixed(shortest),
    })
}

/// How rows become values at regular steps.
struct Regular<'a> {
    step: Step,
    gaps: Gaps,
    over: &'a str,
}

impl Regular<'_> {
    /// The value of each step from the first row to the last; `rows` are in the order of time.
    fn values(
        &self,
        rows: &[usize],
        times: &[i64],
        value: impl Fn(usize) -> f64,
        name: &str,
    ) -> Result<Vec<f64>> {
        let (over, step) = (self.over, self.step);
        let mut values: Vec<f64> = Vec::with_capacity(rows.len());
        let mut missing = 0;
        for (place, row) in rows.iter().enumerate() {
            if place > 0 {
                let before = rows[place - 1];
                let apart = step.between(times[before], times[*row]).ok_or_else(|| {
                    Error::data(format!(
                        "{name}: the times of training rows {} and {} (`{over}`) are no whole number of steps of {step} apart; say another \
                         `step:`, or bring the rows to a regular grid above (`clean.resample_time`)",
                        before + 1,
                        row + 1,
                    ))
                })?;
                if apart == 0 {
                    return Err(Error::data(format!(
                        "{name}: the training rows {} and {} have the same time (`{over}`); name the columns that tell series apart (`by:`), or \
                         sum such rows up above (`features.aggregate`)",
                        before + 1,
                        row + 1,
                    )));
                }
                let (from, to) = (value(before), value(*row));
                for filled in 1..apart {
                    missing += 1;
                    values.push(match self.gaps {
                        Gaps::Error | Gaps::Zero => 0.0,
                        Gaps::Previous => from,
                        Gaps::Linear => from + (to - from) * filled as f64 / apart as f64,
                    });
                }
            }
            values.push(value(*row));
        }
        if missing > 0 && self.gaps == Gaps::Error {
            return Err(Error::data(format!(
                "{name}: {} of {} have no row; say what that means (`gaps: zero`, `previous` or `linear`), or fill them above \
                 (`clean.resample_time`)",
                counted(missing, "step"),
                counted(values.len(), "step")
            )));
        }
        Ok(values)
    }
}

fn named(by: &[String], key: &[String]) -> String {
    if by.is_empty() {
        return "the series".into();
    }
    let parts: Vec<String> = by
        .iter()
        .zip(key)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("the series `{}`", parts.join(", "))
}

/// The times of all rows: microseconds since 1970, or whole numbers as they are.
fn times(data: &DataFrame, over: &str) -> Result<Vec<i64>> {
    let column = data
        .column(over)
        .map_err(|_| Error::data(format!("there is no column `{over}`, which tells the time")))?;
    let whole = match column.dtype() {
        DataType::Date | DataType::Datetime(_, None) => column
            .cast(&DataType::Datetime(TimeUnit::Microseconds, None))?
            .cast(&DataType::Int64)?,
        // An instant: steps of a day are 24 hours of it.
        DataType::Datetime(_, Some(zone)) => column
            .cast(&DataType::Datetime(
                TimeUnit::Microseconds,
                Some(zone.clone()),
            ))?
            .cast(&DataType::Int64)?,
        dtype if dtype.is_integer() => column.strict_cast(&DataType::Int64)?,
        other => {
            return Err(Error::data(format!(
                "`{over}` is {}, not a time",
                type_name(other)
            )));
        }
    };
    whole
        .i64()?
        .iter()
        .enumerate()
        .map(|(row, time)| {
            time.ok_or_else(|| Error::data(format!("`{over}` is null in row {}", row + 1)))
        })
        .collect()
}

/// The series of each row, as text.
fn keys(data: &DataFrame, by: &[String]) -> Result<Vec<Vec<String>>> {
    let mut keys = vec![Vec::with_capacity(by.len()); data.height()];
    for name in by {
        let column = data.column(name).map_err(|_| {
            Error::data(format!(
                "there is no column `{name}`, which tells series apart"
            ))
        })?;
        let texts = column.cast(&DataType::String)?;
        for (row, text) in texts.str()?.iter().enumerate() {
            let text =
                text.ok_or_else(|| Error::data(format!("`{name}` is null in row {}", row + 1)))?;
            keys[row].push(text.to_owned());
        }
    }
    Ok(keys)
}

/// What looks up the forecasts that [`fit`] kept.
pub(crate) fn load(state: &State) -> Result<Box<dyn Predictor>> {
    let learned: Learned = state.data(VERSION)?;
    let numbers = |name: &str| match &state.tensor(name)?.data {
        TensorData::F64(values) => Ok(values.clone()),
        _ => Err(Error::State(format!("`{name}` should hold f64 numbers"))),
    };
    let forecasts = Forecasts {
        fitted: numbers("fitted")?,
        point: numbers("point")?,
        lower: numbers("lower")?,
        upper: numbers("upper")?,
    };
    let count = learned.series.len() * learned.horizon;
    let steps: usize = learned.series.iter().map(|series| series.steps).sum();
    let lengths = [&forecasts.point, &forecasts.lower, &forecasts.upper].map(Vec::len);
    if lengths != [count; 3] || forecasts.fitted.len() != steps {
        return Err(Error::State("the forecasts do not fit the series".into()));
    }
    let mut starts = Vec::with_capacity(learned.series.len());
    let mut start = 0;
    for series in &learned.series {
        starts.push(start);
        start += series.steps;
    }
    let places = learned
        .series
        .iter()
        .enumerate()
        .map(|(place, series)| (series.key.clone(), place))
        .collect();
    Ok(Box::new(Lookup {
        learned,
        forecasts,
        starts,
        places,
    }))
}

struct Lookup {
    learned: Learned,
    forecasts: Forecasts,
    /// Where each series begins in `fitted`.
    starts: Vec<usize>,
    places: HashMap<Vec<String>, usize>,
}

impl Lookup {
    /// The forecast of a row, its lower and its upper end.
    fn find(&self, row: usize, key: &[String], time: i64) -> Result<[Option<f64>; 3]> {
        let Learned {
            by,
            over,
            step,
            horizon,
            series,
        } = &self.learned;
        let name = || named(by, key);
        let place = self.places.get(key).ok_or_else(|| {
            Error::data(format!(
                "row {}: {} has no training rows, so nothing is known of it",
                row + 1,
                name()
            ))
        })?;
        let Series { last, steps, .. } = &series[*place];
        let ahead = step.between(*last, time).ok_or_else(|| {
            Error::data(format!(
                "row {}: its time (`{over}`) is no whole number of steps of {step} from the last training row of {}",
                row + 1,
                name()
            ))
        })?;
        let Ok(ahead_of) = usize::try_from(ahead - 1) else {
            // Within training, the forecast that was made from the steps before it.
            let back = ahead.unsigned_abs() as usize;
            let fitted = (back < *steps)
                .then(|| self.forecasts.fitted[self.starts[*place] + steps - 1 - back]);
            return Ok([fitted.filter(|value| value.is_finite()), None, None]);
        };
        if ahead_of >= *horizon {
            return Err(Error::data(format!(
                "row {}: step {ahead} after the last training row of {} is beyond the horizon of {horizon}; train with a longer `horizon`, or \
                 on newer rows",
                row + 1,
                name()
            )));
        }
        let at = place * horizon + ahead_of;
        let Forecasts {
            point,
            lower,
            upper,
            ..
        } = &self.forecasts;
        Ok([point[at], lower[at], upper[at]].map(Some))
    }
}

impl Predictor for Lookup {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let times = times(batch, &self.learned.over)?;
        let keys = keys(batch, &self.learned.by)?;
        let mut columns = [(); 3].map(|()| Vec::with_capacity(times.len()));
        for (row, (key, time)) in keys.iter().zip(times).enumerate() {
            let found = self.find(row, key, time)?;
            for (column, value) in columns.iter_mut().zip(found) {
                column.push(value);
            }
        }
        Ok([PREDICTION, LOWER, UPPER]
            .into_iter()
            .zip(columns)
            .map(|(name, values)| PolarsColumn::new(name.into(), values))
            .collect())
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use polars::prelude::{IntoColumn, NamedFrom, Series};
    use taktline_core::Model;

    use super::*;
    use crate::testing::{shipped, values};

    /// Days since 1970 as dates.
    pub(crate) fn dates(days: &[i32]) -> PolarsColumn {
        Series::new("day".into(), days)
            .cast(&DataType::Date)
            .expect("dates")
            .into_column()
    }

    /// A table of one series a shop: its day, its shop, its sales.
    pub(crate) fn table(days: &[i32], shops: &[&str], sales: &[f64]) -> Frame {
        let data = DataFrame::new(
            days.len(),
            vec![
                dates(days),
                PolarsColumn::new("shop".into(), shops),
                PolarsColumn::new("sales".into(), sales),
            ],
        )
        .expect("a frame");
        let mut schema = Schema::from_polars(data.schema());
        for (name, role) in [("day", Role::Time), ("sales", Role::Target)] {
            let column = schema.column_mut(name).expect("a column");
            *column = column.clone().with_role(role);
        }
        Frame { data, schema }
    }

    /// The demand of a product in two bakery shops, day after day from 2016-01-02 on: all but the last 28 days, and these.
    pub(crate) fn bakeries() -> [Frame; 2] {
        const FIRST: i32 = 16_802;
        let rows = shipped("retail/bakery_data.csv.gz");
        let demand = values(&shipped("retail/bakery_target.csv.gz"), "demand");
        let whole = |name: &str| -> Vec<i64> {
            let column = rows.column(name).expect("a column").i64().expect("i64");
            column.iter().flatten().collect()
        };
        let keys: Vec<(i64, i64)> = whole("store").into_iter().zip(whole("product")).collect();
        assert_eq!(keys.len(), demand.len());
        [0..1187, 1187..1215].map(|part: std::ops::Range<usize>| {
            let (mut days, mut shops, mut sales) = (Vec::new(), Vec::new(), Vec::new());
            for (store, shop) in [(17, "17"), (20, "20")] {
                let of_store: Vec<f64> = keys
                    .iter()
                    .zip(&demand)
                    .filter(|(key, _)| **key == (store, 101))
                    .map(|(_, demand)| *demand)
                    .collect();
                assert_eq!(of_store.len(), 1215);
                days.extend(part.clone().map(|day| FIRST + day as i32));
                shops.extend(vec![shop; part.len()]);
                sales.extend_from_slice(&of_store[part.clone()]);
            }
            table(&days, &shops, &sales)
        })
    }

    /// The outputs for the rows, from a state that has been through a file.
    pub(crate) fn predicted(
        model: &dyn Model,
        train: &Frame,
        rows: &DataFrame,
    ) -> Result<[Vec<Option<f64>>; 3]> {
        let state = model.fit(train, None, &mut FitContext::quiet(1))?;
        let state = State::from_bytes(&state.to_bytes()?)?;
        let columns = model.load(&state)?.predict(rows)?;
        let names: Vec<&str> = columns
            .iter()
            .map(|column| column.name().as_str())
            .collect();
        assert_eq!(names, [PREDICTION, LOWER, UPPER]);
        let values = |place: usize| columns[place].f64().expect("f64").iter().collect();
        Ok([values(0), values(1), values(2)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(text: &str) -> Result<Step, String> {
        Step::try_from(StepText::Text(text.into()))
    }

    #[test]
    fn steps_are_written_as_they_are_read() {
        for text in ["1d", "15min", "1h", "2w", "1mo", "90s"] {
            assert_eq!(step(text).expect("a step").to_string(), text);
        }
        assert_eq!(step("1y").expect("a year").to_string(), "12mo");
        for text in ["", "d", "0d", "1 d", "1fortnight", "99999999999999999999d"] {
            assert!(step(text).is_err(), "{text}");
        }
        assert!(Step::try_from(StepText::Number(0)).is_err());
    }

    #[test]
    fn months_have_their_own_length() {
        let day = |date: &str| {
            let date: chrono::NaiveDate = date.parse().expect("a date");
            let start = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
            date.signed_duration_since(start).num_days() * UNITS[3].1
        };
        let month = step("1mo").expect("a step");
        assert_eq!(month.between(day("2023-12-01"), day("2024-03-01")), Some(3));
        assert_eq!(
            month.between(day("2024-03-01"), day("2023-12-01")),
            Some(-3)
        );
        assert_eq!(month.between(day("1969-12-31"), day("1970-01-31")), Some(1));
        assert_eq!(month.between(day("2024-01-01"), day("2024-03-02")), None);
        let year = step("1y").expect("a step");
        assert_eq!(year.between(day("2000-02-29"), day("2024-02-29")), Some(24));
        assert_eq!(year.between(day("2000-02-29"), day("2001-03-29")), None);
    }

    #[test]
    fn steps_lead_where_they_came_from() {
        let steps = ["1mo", "1q", "1y", "1d", "15min"].map(|text| step(text).expect("a step"));
        for step in steps {
            for day in (-800_000..800_000).step_by(977) {
                let from = day * UNITS[3].1 + 5;
                for ahead in [-13, -1, 0, 1, 25] {
                    let to = step.after(from, ahead);
                    // The 31st of a month has no partner in a shorter one.
                    let is_short = Calendar::of(from).rest >= 28 * UNITS[3].1;
                    assert!(
                        is_short || step.between(from, to) == Some(ahead),
                        "{step} {day} {ahead}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_calendar_is_that_of_chrono() {
        use chrono::{DateTime, Datelike, Timelike};
        for hour in (-400_000..400_000_i64).step_by(1013) {
            let time = hour * UNITS[2].1;
            let wanted = DateTime::from_timestamp_micros(time).expect("a time");
            let found = CalendarParts::of(time);
            assert_eq!(found.hour, wanted.hour() as usize);
            assert_eq!(
                found.weekday,
                wanted.weekday().num_days_from_monday() as usize
            );
            assert_eq!(found.month, wanted.month0() as usize);
        }
    }

    #[test]
    fn gaps_are_refused_or_filled_as_declared() {
        let times = [0, 1, 4, 5].map(|day| day * UNITS[3].1);
        let values = |gaps| {
            let regular = Regular {
                step: Step::Fixed(UNITS[3].1),
                gaps,
                over: "day",
            };
            regular.values(&[0, 1, 2, 3], &times, |row| row as f64, "the series")
        };
        assert_eq!(
            values(Gaps::Zero).expect("values"),
            [0.0, 1.0, 0.0, 0.0, 2.0, 3.0]
        );
        assert_eq!(
            values(Gaps::Previous).expect("values"),
            [0.0, 1.0, 1.0, 1.0, 2.0, 3.0]
        );
        let line = values(Gaps::Linear).expect("values");
        assert!((line[2] - 4.0 / 3.0).abs() < 1e-12 && (line[3] - 5.0 / 3.0).abs() < 1e-12);
        let error = values(Gaps::Error).expect_err("a gap").to_string();
        assert!(
            error.contains("the series: 2 steps of 6 steps have no row"),
            "{error}"
        );
    }
}
