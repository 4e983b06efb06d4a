//! `model.forecast.lagged`

use polars::prelude::{Column as PolarsColumn, DataFrame, DataType};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, Model, Nested, NoCheckpoints, ParamStep,
    Predictor, Problem, Result, Role, Schema, Shape, Silent, Stage, State, classifier, counted,
    path, register_kind,
};

use crate::series::{self, CalendarParts, Forecasts, Known, forecaster_params};

/// What the regressor learns to say; its features have other names.
const NEXT: &str = "next";
/// Errors per step ahead that the intervals rest on, at least, where the length of the tail is not said.
const ERRORS: usize = 20;

forecaster_params! {
    /// Forecasts by a regressor of any kind that learns the next value of a series from those before it.
    ///
    /// Its features are earlier values (`lags`), the means of the last so many values (`rolling`) and what the calendar says of the step to
    /// forecast (`calendar`). Each series has a regressor of its own; several are learned at a time. Further ahead than a step the
    /// forecasts so far stand for the values not yet known (recursive forecasting; Ben Taieb, Bontempi, Atiya, Sorjamaa, "A review and
    /// comparison of strategies for multi-step ahead time series forecasting", 2012). Trees repeat only what they have seen: where a series
    /// grows, take a linear regressor, or forecast the differences.
    ///
    /// `lower` and `upper` come from errors that were really made. A second regressor learns without the last steps of the series (`held_out`)
    /// and forecasts them from each step on, as far as the horizon; the interval of a step ahead reaches from the forecast plus a low to the
    /// forecast plus a high quantile of its errors at that distance. With few errors for a high `level` it reaches to the greatest of
    /// them: 0.9 needs 19, 0.95 needs 39.
    ///
    /// Adds `prediction`, `lower` and `upper`. Training rows get the forecast made one step before them by the regressor that has learned from
    /// all of them; null where the earlier values are not known. A row of a series without training rows, or beyond the horizon, is an error.
    struct Lagged {
        /// What learns: a model of numbers by its kind, with its params: `{model.linfa.linear_regression: {}}`. The columns it learns from are the
        /// lags, means and calendar parts; its target is the next value.
        regressor: Nested,
        /// How many steps back the values lie that it learns from: `[1, 2, 7]`.
        #[schemars(length(min = 1, max = 1_000), inner(range(min = 1, max = 100_000)))]
        lags: Vec<usize>,
        /// The means of the last so many values: `[7, 28]`. Default: none.
        #[serde(default)]
        #[schemars(length(max = 100), inner(range(min = 2, max = 100_000)))]
        rolling: Vec<usize>,
        /// What the calendar says of the step to forecast, a truth value for each hour, weekday or month. Default: nothing.
        #[serde(default)]
        calendar: Vec<Part>,
        /// Bring each series to mean 0 and deviation 1 for its regressor, and its forecasts back: for networks and support vector machines,
        /// which learn badly from large numbers. Least squares and trees learn the same either way.
        #[serde(default)]
        standardize: bool,
        /// How many of the last steps tell the errors for the intervals. Default: twice the horizon, and at least enough for 20 errors at each
        /// distance.
        #[schemars(range(min = 1, max = 1_000_000))]
        held_out: Option<usize>,
    }
}

/// A part of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Part {
    /// Of the day, 0 to 23.
    Hour,
    /// Of the week, 1 (Monday) to 7.
    Weekday,
    /// Of the year, 1 to 12.
    Month,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Weekday => "weekday",
            Self::Month => "month",
        }
    }

    fn count(self) -> usize {
        match self {
            Self::Hour => 24,
            Self::Weekday => 7,
            Self::Month => 12,
        }
    }

    /// What its first value is called.
    fn first(self) -> usize {
        usize::from(self != Self::Hour)
    }

    fn of(self, parts: CalendarParts) -> usize {
        match self {
            Self::Hour => parts.hour,
            Self::Weekday => parts.weekday,
            Self::Month => parts.month,
        }
    }
}

register_kind! {
    Lagged, "model.forecast.lagged", version: 1,
    example: "- model.forecast.lagged: {over: day, step: 1d, horizon: 14, lags: [1, 7, 14], calendar: [weekday], regressor: {model.linfa.linear_regression: {}}}",
}

impl Lagged {
    /// What the regressor sees.
    fn regressor_schema(&self) -> Schema {
        let mut columns: Vec<Column> = self
            .names()
            .into_iter()
            .map(|name| Column::new(name, DataType::Float64))
            .collect();
        columns.push(Column::new(NEXT, DataType::Float64).with_role(Role::Target));
        Schema::new(columns)
    }

    /// The features, in order: `lag_7`, `mean_28`, `weekday_1`.
    fn names(&self) -> Vec<String> {
        let lags = self.lags.iter().map(|lag| format!("lag_{lag}"));
        let means = self.rolling.iter().map(|steps| format!("mean_{steps}"));
        let calendar = self.calendar.iter().flat_map(|part| {
            (0..part.count()).map(|value| format!("{}_{}", part.name(), value + part.first()))
        });
        lags.chain(means).chain(calendar).collect()
    }

    /// How many earlier values a forecast needs.
    fn reach(&self) -> usize {
        let steps = self.lags.iter().chain(&self.rolling);
        steps.copied().max().unwrap_or(1)
    }

    /// A frame of one row for each of these: the values before a step, and its time.
    fn features<'h>(
        &self,
        scale: Scale,
        rows: impl Iterator<Item = (&'h [f64], i64)>,
    ) -> Result<DataFrame> {
        let names = self.names();
        let mut columns: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
        let mut count = 0;
        for (before, time) in rows {
            count += 1;
            let mut columns = columns.iter_mut();
            let mut add = |value: f64| {
                if let Some(column) = columns.next() {
                    column.push(value);
                }
            };
            for lag in &self.lags {
                add(scale.standard(before[before.len() - lag]));
            }
            for steps in &self.rolling {
                let last = &before[before.len() - steps..];
                add(scale.standard(last.iter().sum::<f64>() / *steps as f64));
            }
            let parts = CalendarParts::of(time);
            for part in &self.calendar {
                for value in 0..part.count() {
                    add(f64::from(u8::from(part.of(parts) == value)));
                }
            }
        }
        let columns = names
            .into_iter()
            .zip(columns)
            .map(|(name, values)| PolarsColumn::new(name.into(), values))
            .collect();
        Ok(DataFrame::new(count, columns)?)
    }

    /// A regressor that has learned the first `end` steps, each from those before it.
    fn learn(&self, known: Known<'_>, end: usize, cx: &FitContext<'_>) -> Result<Regressor> {
        let scale = match self.standardize {
            true => Scale::of(&known.values[..end]),
            false => Scale::NONE,
        };
        let steps = self.reach()..end;
        let rows = steps
            .clone()
            .map(|step| (&known.values[..step], known.time(step)));
        let mut data = self.features(scale, rows)?;
        let next = known.values[steps]
            .iter()
            .map(|value| scale.standard(*value));
        data.with_column(PolarsColumn::new(NEXT.into(), next.collect::<Vec<_>>()))?;
        let frame = Frame {
            data,
            schema: self.regressor_schema(),
        };
        let mut within = FitContext {
            progress: &Silent,
            checkpoints: &NoCheckpoints,
            ..*cx
        };
        let model = self.regressor.model()?;
        Ok(Regressor {
            predictor: model.load(&model.fit(&frame, None, &mut within)?)?,
            scale,
        })
    }

    /// What a regressor says of the steps after these values.
    fn said<'h>(
        &self,
        regressor: &Regressor,
        rows: impl Iterator<Item = (&'h [f64], i64)>,
    ) -> Result<Vec<f64>> {
        let rows = self.features(regressor.scale, rows)?;
        said(regressor.predictor.as_ref(), &rows, regressor.scale)
    }

    /// The forecasts from each of these steps on, the step itself first, so far as the horizon reaches: steps ahead × starts.
    fn ahead(
        &self,
        regressor: &Regressor,
        known: Known<'_>,
        starts: std::ops::Range<usize>,
        cx: &FitContext<'_>,
    ) -> Result<Vec<Vec<f64>>> {
        let reach = self.reach();
        let mut before: Vec<Vec<f64>> = starts
            .clone()
            .map(|start| known.values[start - reach..start].to_vec())
            .collect();
        let mut found = Vec::with_capacity(self.horizon);
        for ahead in 0..self.horizon {
            cx.cancellation.check()?;
            let times = starts.clone().map(|start| known.time(start + ahead));
            let rows = before.iter().map(Vec::as_slice).zip(times);
            let next = self.said(regressor, rows)?;
            for (before, next) in before.iter_mut().zip(&next) {
                before.push(*next);
            }
            found.push(next);
        }
        Ok(found)
    }

    /// Refuses forecasts that run away: each is made of those before it, and an error that grows with every step soon tells nothing.
    fn check_range(&self, known: &[f64], ahead: &[Vec<f64>]) -> Result<()> {
        let ends = |values: &mut dyn Iterator<Item = f64>| {
            values.fold(
                (f64::INFINITY, f64::NEG_INFINITY),
                |(least, most), value| (least.min(value), most.max(value)),
            )
        };
        let (least, most) = ends(&mut known.iter().copied());
        let room = RUNAWAY * (most - least).max(most.abs()).max(least.abs());
        let beyond = |next: &f64| *next > most + room || *next < least - room;
        match ahead.iter().position(|next| next.iter().any(beyond)) {
            None => Ok(()),
            Some(step) => Err(Error::Model(format!(
                "the forecasts run away: {} ahead it is {:e}, and the series lies between {least} and {most}; say `standardize: true`, let the \
                 regressor learn longer or take a steadier one, or use fewer `lags`",
                counted(step + 1, "step"),
                ahead[step].first().copied().unwrap_or_default()
            ))),
        }
    }

    fn forecast(&self, known: Known<'_>, cx: &FitContext<'_>) -> Result<Forecasts> {
        let (reach, count) = (self.reach(), known.values.len());
        let held_out = self
            .held_out
            .unwrap_or_else(|| (2 * self.horizon).max(self.horizon + ERRORS - 1));
        let least = reach + held_out + 2;
        if count < least {
            return Err(Error::data(format!(
                "lags of {reach} and {held_out} steps held out for the intervals need {least} steps, and there are {}; say a smaller `held_out` or \
                 `horizon`, or shorter `lags` and `rolling`",
                counted(count, "step")
            )));
        }
        let errors = self.errors(known, count - held_out, cx)?;
        let regressor = self.learn(known, count, cx)?;
        let steps = (reach..count).map(|step| (&known.values[..step], known.time(step)));
        let mut found = Forecasts {
            fitted: vec![f64::NAN; reach],
            ..Forecasts::default()
        };
        found.fitted.extend(self.said(&regressor, steps)?);
        let ahead = self.ahead(&regressor, known, count..count + 1, cx)?;
        self.check_range(known.values, &ahead)?;
        for (next, errors) in ahead.iter().zip(&errors) {
            let point = next[0];
            found.point.push(point);
            found.lower.push(point + low(errors, self.level));
            found.upper.push(point + high(errors, self.level));
        }
        Ok(found)
    }

    /// For each step ahead the sorted errors (truth minus forecast) of a regressor that has not learned the steps from `end` on. Beyond the
    /// tail there are none: the errors of the farthest step that has some stand for them.
    fn errors(&self, known: Known<'_>, end: usize, cx: &FitContext<'_>) -> Result<Vec<Vec<f64>>> {
        let regressor = self.learn(known, end, cx)?;
        let count = known.values.len();
        let forecasts = self.ahead(&regressor, known, end..count, cx)?;
        let mut found: Vec<Vec<f64>> = Vec::with_capacity(self.horizon);
        for (ahead, forecasts) in forecasts.iter().enumerate() {
            let mut errors: Vec<f64> = forecasts
                .iter()
                .enumerate()
                .filter_map(|(start, said)| Some(known.values.get(end + start + ahead)? - said))
                .collect();
            errors.sort_by(f64::total_cmp);
            match found.last() {
                Some(before) if errors.is_empty() => found.push(before.clone()),
                _ => found.push(errors),
            }
        }
        Ok(found)
    }
}

/// Forecasts farther away from the series than so many times its range tell nothing.
const RUNAWAY: f64 = 1000.0;

/// What makes the values of a series those that its regressor sees.
#[derive(Debug, Clone, Copy)]
struct Scale {
    mean: f64,
    deviation: f64,
}

impl Scale {
    const NONE: Self = Self {
        mean: 0.0,
        deviation: 1.0,
    };

    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self {
            mean,
            deviation: match (squares / count).sqrt() {
                deviation if deviation > 0.0 => deviation,
                _ => 1.0,
            },
        }
    }

    fn standard(self, value: f64) -> f64 {
        (value - self.mean) / self.deviation
    }
}

/// A regressor that has learned a series.
struct Regressor {
    predictor: Box<dyn Predictor>,
    scale: Scale,
}

/// What a regressor says of these rows.
fn said(regressor: &dyn Predictor, rows: &DataFrame, scale: Scale) -> Result<Vec<f64>> {
    let outputs = regressor.predict(rows)?;
    let prediction = outputs
        .iter()
        .find(|column| column.name() == classifier::PREDICTION)
        .ok_or_else(|| Error::Model("the regressor gives no `prediction`".into()))?;
    let numbers = prediction.cast(&DataType::Float64)?;
    numbers
        .f64()?
        .iter()
        .map(|number| {
            let value = number? * scale.deviation + scale.mean;
            value.is_finite().then_some(value)
        })
        .collect::<Option<Vec<f64>>>()
        .ok_or_else(|| Error::Model("the regressor's forecasts grow beyond all bounds".into()))
}

/// The error that so many of sorted ones exceed that one more lies above it in (1 + level) / 2 of all cases, as far as errors go: the
/// ⌊(n + 1)(1 - level) / 2⌋-th. With one more error than there are, each place among them is as likely as any other.
fn low(errors: &[f64], level: f64) -> f64 {
    let place = ((errors.len() + 1) as f64 * (1.0 - level) / 2.0 + 1e-9) as usize;
    errors[place.clamp(1, errors.len()) - 1]
}

/// As [`low`], from above.
fn high(errors: &[f64], level: f64) -> f64 {
    let place = ((errors.len() + 1) as f64 * (1.0 - level) / 2.0 + 1e-9) as usize;
    errors[errors.len() - place.clamp(1, errors.len())]
}

impl Stage for Lagged {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let twice = |values: &[usize], place: usize| values[..place].contains(&values[place]);
        for (param, values) in [("lags", &self.lags), ("rolling", &self.rolling)] {
            for place in (0..values.len()).filter(|place| twice(values, *place)) {
                cx.report(Problem::error(
                    "duplicate",
                    path![param, place],
                    format!("`{}` is named twice", values[place]),
                ));
            }
        }
        for (place, part) in self.calendar.iter().enumerate() {
            if self.calendar[..place].contains(part) {
                cx.report(Problem::error(
                    "duplicate",
                    path!["calendar", place],
                    format!("`{}` is named twice", part.name()),
                ));
            }
        }
        let settings = self.settings();
        let over = inputs
            .first()
            .and_then(|input| series::time_column(&settings, input));
        if let Some(over) = over.filter(|over| over.dtype.is_integer())
            && !self.calendar.is_empty()
        {
            cx.report(
                Problem::error(
                    "wrong-type",
                    path!["calendar"],
                    format!(
                        "`{}` counts steps, and no calendar tells of them",
                        over.name
                    ),
                )
                .help("leave `calendar` out, or name a column of dates or times: `over: NAME`"),
            );
        }
        self.check_regressor(cx);
        if self.regressor.kind().name.starts_with("model.torch.") && !self.standardize {
            let place = path![
                "regressor",
                ParamStep::KeyOf(self.regressor.kind().name.to_owned())
            ];
            cx.report(
                Problem::warning(
                    "not-scaled",
                    place,
                    "a network learns badly from values as they are",
                )
                .help("say `standardize: true` beside `regressor`"),
            );
        }
        series::check(&settings, inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }

    fn nested(&self) -> Vec<&Nested> {
        vec![&self.regressor]
    }
}

impl Lagged {
    fn check_regressor(&self, cx: &mut CheckContext<'_>) {
        let known = cx.problems.len();
        let output = self
            .regressor
            .check("regressor", &self.regressor_schema(), cx);
        let mut is_told = false;
        for problem in &mut cx.problems[known..] {
            is_told = true;
            if problem.code == "no-validation" {
                problem.help =
                    vec!["leave it out: a regressor of lags has no validation rows".into()];
            }
        }
        let says_numbers = output
            .column(classifier::PREDICTION)
            .is_some_and(|column| column.dtype.is_float());
        if !says_numbers && !is_told {
            let kind = self.regressor.kind().name;
            let place = path!["regressor", ParamStep::KeyOf(kind.to_owned())];
            cx.report(
                Problem::error("no-numbers", place, format!("`{kind}` predicts no numbers"))
                    .help("take a model that learns numbers: `model.linfa.linear_regression`, `model.boost.trees`"),
            );
        }
    }
}

impl Model for Lagged {
    fn features(&self, input: &Schema) -> Vec<String> {
        series::features(&self.settings(), input)
    }

    fn target(&self, input: &Schema) -> Option<String> {
        series::target(&self.settings(), input)
    }

    fn fit(
        &self,
        train: &Frame,
        _validation: Option<&Frame>,
        cx: &mut FitContext<'_>,
    ) -> Result<State> {
        let within = *cx;
        series::fit_known(&self.settings(), train, cx, |known| {
            self.forecast(known, &within)
        })
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        series::load(state)
    }
}

#[cfg(test)]
mod tests {
    use taktline_core::serde_yaml;

    use super::*;
    use crate::{
        series::testing::{bakeries, predicted, table},
        testing::{check, close, params},
    };

    const LINE: &str = "regressor: {model.linfa.linear_regression: {}}";

    fn model(more: &str) -> Lagged {
        params(&format!("{{{more}}}"))
    }

    fn found(values: &[Option<f64>]) -> Vec<f64> {
        values
            .iter()
            .map(|value| value.expect("a number"))
            .collect()
    }

    /// The series of tests/peers/lagged.py.
    fn course(count: usize) -> Vec<f64> {
        let mut noise = 12_345_u64;
        (0..count)
            .map(|day| {
                noise = (noise * 1_103_515_245 + 12_345) % 2_147_483_648;
                let course = [30, 12, 5, 0, 8, 25, 60][day % 7];
                (100 + course + day as u64 / 20 + noise / 65_536 % 21) as f64
            })
            .collect()
    }

    /// scikit-learn 1.9.1, tests/peers/lagged.py.
    #[test]
    fn recursive_forecasts_and_their_intervals_are_those_of_scikit_learn() {
        let days: Vec<i32> = (0..400).collect();
        let train = table(&days, &["a"; 400], &course(400));
        let rows = table(&[400, 401, 402, 403, 404], &["a"; 5], &[0.0; 5]);
        let model = model(&format!(
            "horizon: 5, held_out: 40, level: 0.8, lags: [1, 2, 7], rolling: [7], calendar: [weekday], {LINE}"
        ));
        let [point, lower, upper] = predicted(&model, &train, &rows.data).expect("forecasts");
        let wanted = [
            138.869677462,
            133.441259936,
            127.074497615,
            135.246618934,
            151.896967777,
        ];
        close(&found(&point), &wanted, 1e-9);
        let wanted = [
            131.400128795,
            126.058859426,
            120.501002373,
            128.672900319,
            144.045764184,
        ];
        close(&found(&lower), &wanted, 1e-9);
        let wanted = [
            149.165435005,
            143.707805334,
            139.596591918,
            146.306112289,
            163.370211845,
        ];
        close(&found(&upper), &wanted, 1e-9);
    }

    #[test]
    fn a_standardised_series_is_forecast_as_it_is_by_least_squares() {
        let days: Vec<i32> = (0..200).collect();
        let train = table(&days, &["a"; 200], &course(200));
        let rows = table(&[200, 201, 202], &["a"; 3], &[0.0; 3]);
        let [plain, scaled] = ["false", "true"].map(|standardize| {
            let model = model(&format!(
                "horizon: 3, held_out: 30, lags: [1, 7], rolling: [7], calendar: [weekday], standardize: {standardize}, {LINE}"
            ));
            let [point, lower, upper] = predicted(&model, &train, &rows.data).expect("forecasts");
            [found(&point), found(&lower), found(&upper)].concat()
        });
        close(&plain, &scaled, 1e-6);
    }

    #[test]
    fn forecasts_that_run_away_are_refused() {
        let days: Vec<i32> = (0..60).collect();
        let values: Vec<f64> = days.iter().map(|day| 1.5_f64.powi(*day)).collect();
        let train = table(&days, &["a"; 60], &values);
        let model = model(&format!("horizon: 30, held_out: 40, lags: [1], {LINE}"));
        let error = model
            .fit(&train, None, &mut FitContext::quiet(1))
            .expect_err("beyond all bounds")
            .to_string();
        assert!(
            error.contains("the forecasts run away: 18 steps ahead"),
            "{error}"
        );
    }

    /// scikit-learn 1.9.1, tests/peers/lagged.py: of two shops the steps 1, 2, 7, 14 and 28 ahead, and the sum of all 28.
    #[test]
    fn bakeries_go_on_as_those_of_scikit_learn() {
        let wanted = [
            [
                [
                    185.492173392,
                    184.863635533,
                    170.736549217,
                    172.029847502,
                    175.768320977,
                    6657.21044716,
                ],
                [
                    120.718318022,
                    120.813223616,
                    106.676416245,
                    102.344773632,
                    95.2196038328,
                    4696.46368089,
                ],
                [
                    239.748320828,
                    237.270948151,
                    230.352876206,
                    219.307790831,
                    223.505497102,
                    8090.42728993,
                ],
            ],
            [
                [
                    70.1935077827,
                    59.5028823765,
                    68.1226194166,
                    72.3462962385,
                    76.8626957519,
                    2959.51319492,
                ],
                [
                    -0.48390761218,
                    -12.5935865287,
                    -5.0588436771,
                    -5.49535242161,
                    -10.8043185445,
                    750.727089123,
                ],
                [
                    125.364264749,
                    113.31021126,
                    126.086045405,
                    127.194040921,
                    127.749464736,
                    4453.02654252,
                ],
            ],
        ];
        let [train, test] = bakeries();
        let model = model(&format!(
            "by: [shop], horizon: 28, held_out: 84, level: 0.9, lags: [1, 7, 14], rolling: [7, 28], calendar: [weekday, month], {LINE}"
        ));
        let outputs = predicted(&model, &train, &test.data).expect("forecasts");
        for (shop, wanted) in wanted.iter().enumerate() {
            for (output, wanted) in outputs.iter().zip(wanted) {
                let ahead = found(&output[shop * 28..(shop + 1) * 28]);
                let mut told = [0, 1, 6, 13, 27].map(|step| ahead[step]).to_vec();
                told.push(ahead.iter().sum::<f64>());
                close(&told, wanted, 1e-8);
            }
        }
    }

    #[test]
    fn a_rule_that_holds_goes_on() {
        // Half of the value before and ten, from 100 on: nearer to 20 with each step.
        let values: Vec<f64> = (0..60)
            .map(|step| 20.0 + 80.0 * 0.5_f64.powi(step))
            .collect();
        let days: Vec<i32> = (0..60).collect();
        let train = table(&days, &["a"; 60], &values);
        let rows = table(&[1, 5, 0, 60, 64], &["a"; 5], &[0.0; 5]);
        let model = model(&format!("horizon: 5, held_out: 20, lags: [1], {LINE}"));
        let [point, lower, upper] = predicted(&model, &train, &rows.data).expect("forecasts");
        close(
            &[point[0], point[1], point[3], point[4]].map(|value| value.expect("a number")),
            &[60.0, 22.5, 20.0, 20.0],
            1e-6,
        );
        assert_eq!(point[2], None, "nothing is known before the first day");
        let width = upper[4].expect("an end") - lower[4].expect("an end");
        assert!((0.0..1e-6).contains(&width), "{width}");
    }

    #[test]
    fn every_series_has_its_own_regressor() {
        let days: Vec<i32> = (0..80).collect();
        let twice: Vec<i32> = days.iter().chain(&days).copied().collect();
        let shops = [["a"; 80], ["b"; 80]].concat();
        let up: Vec<f64> = days.iter().map(|day| f64::from(*day % 4)).collect();
        let down: Vec<f64> = days.iter().map(|day| 50.0 - f64::from(*day % 5)).collect();
        let train = table(&twice, &shops, &[up.clone(), down].concat());
        let more = "horizon: 4, lags: [4, 5], regressor: {model.linfa.decision_tree: {min_samples_leaf: 1}}";
        let both = model(&format!("by: [shop], {more}"));
        let rows = table(
            &[80, 81, 82, 83, 80, 81, 82, 83],
            &[["a"; 4], ["b"; 4]].concat(),
            &[0.0; 8],
        );
        let [point, ..] = predicted(&both, &train, &rows.data).expect("forecasts");
        let wanted = [0.0, 1.0, 2.0, 3.0, 50.0, 49.0, 48.0, 47.0];
        close(&found(&point), &wanted, 1e-12);
        let alone = table(&days, &["a"; 80], &up);
        let [single, ..] = predicted(&model(more), &alone, &rows.data.head(Some(4))).expect("one");
        assert_eq!(single[..], point[..4]);
    }

    #[test]
    fn intervals_hold_what_they_promise() {
        // Forty series whose values lean on the one before.
        const STEPS: usize = 240;
        const AHEAD: usize = 10;
        let mut noise = 7_u64;
        let mut uniform = || {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (noise >> 11) as f64 / (1_u64 << 53) as f64
        };
        let (mut days, mut shops, mut sales) = (Vec::new(), Vec::new(), Vec::new());
        let names: Vec<String> = (0..40).map(|shop| format!("shop {shop}")).collect();
        for name in &names {
            let mut value = 0.0;
            for day in 0..STEPS + AHEAD {
                let normal = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
                value = 0.7 * value + normal;
                days.push(day as i32);
                shops.push(name.as_str());
                sales.push(100.0 + value);
            }
        }
        let all = table(&days, &shops, &sales);
        let is_train: Vec<bool> = days.iter().map(|day| *day < STEPS as i32).collect();
        let part = |is_wanted: bool| {
            let mask = is_train.iter().map(|is| *is == is_wanted).collect();
            let data = all.data.filter(&mask).expect("rows");
            Frame {
                data,
                schema: all.schema.clone(),
            }
        };
        let model = model(&format!(
            "by: [shop], horizon: 10, held_out: 100, level: 0.8, lags: [1, 2], {LINE}"
        ));
        let test = part(false);
        let [_, lower, upper] = predicted(&model, &part(true), &test.data).expect("forecasts");
        let truths = crate::testing::values(&test.data, "sales");
        let held = truths
            .iter()
            .zip(lower.iter().zip(&upper))
            .filter(|(truth, (low, high))| Some(**truth) >= **low && Some(**truth) <= **high)
            .count();
        let coverage = held as f64 / truths.len() as f64;
        assert!((0.74..0.86).contains(&coverage), "{coverage}");
        // One step ahead the errors have a standard deviation of 1, far ahead of 1 / √(1 - 0.7²) = 1.4.
        let width = |ahead: usize| -> f64 {
            let rows = (0..40).map(|shop| shop * AHEAD + ahead);
            rows.map(|row| upper[row].expect("an end") - lower[row].expect("an end"))
                .sum::<f64>()
                / 40.0
        };
        let (near, far) = (width(0), width(9));
        assert!(
            (2.3..3.0).contains(&near) && (1.2..1.6).contains(&(far / near)),
            "{near} {far}"
        );
    }

    #[test]
    fn a_quantile_leaves_room_for_the_next_error() {
        let errors: Vec<f64> = (1..=19).map(f64::from).collect();
        assert_eq!((low(&errors, 0.9), high(&errors, 0.9)), (1.0, 19.0));
        assert_eq!((low(&errors, 0.8), high(&errors, 0.8)), (2.0, 18.0));
        assert_eq!((low(&errors, 0.99), high(&errors, 0.99)), (1.0, 19.0));
    }

    #[test]
    fn the_same_rows_give_the_same_bytes() {
        let days: Vec<i32> = (0..120).collect();
        let train = table(&days, &["a"; 120], &course(120));
        let model =
            model("horizon: 3, lags: [1, 7], regressor: {model.linfa.random_forest: {trees: 5}}");
        let bytes = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let fit = || model.fit(&train, None, &mut FitContext::quiet(1));
            let state = pool.expect("threads").install(fit);
            state.expect("forecasts").to_bytes().expect("bytes")
        };
        assert_eq!(bytes(1), bytes(2));
    }

    #[test]
    fn refuses_what_it_cannot_forecast() {
        let days: Vec<i32> = (0..30).collect();
        let train = table(&days, &["a"; 30], &course(30));
        let model = model(&format!("by: [shop], horizon: 7, lags: [7], {LINE}"));
        let error = predicted(&model, &train, &train.data)
            .expect_err("too short")
            .to_string();
        assert!(
            error.contains("the series `shop=a`: lags of 7 and 26 steps held out for the intervals need 35 steps, and there are 30 steps"),
            "{error}"
        );
        let cancellation = taktline_core::Cancellation::default();
        cancellation.cancel();
        let mut cx = FitContext {
            cancellation: &cancellation,
            ..FitContext::quiet(1)
        };
        assert!(matches!(
            model.fit(&train, None, &mut cx),
            Err(Error::Interrupted)
        ));
    }

    #[test]
    fn check_finds_every_problem() {
        let input = table(&[0, 1], &["a", "b"], &[1.0, 2.0]).schema;
        let model = model(&format!(
            "horizon: 1, lags: [1, 7, 1], rolling: [3, 3], calendar: [month, month], {LINE}"
        ));
        let (output, problems) = check(&model, &input);
        assert!(problems.iter().all(|problem| problem.code == "duplicate"));
        assert_eq!(problems.len(), 3);
        let names: Vec<&str> = output.names().collect();
        assert_eq!(
            names,
            ["day", "shop", "sales", "prediction", "lower", "upper"]
        );
        let regressor = |yaml: &str| -> Vec<Problem> {
            let model: Lagged =
                params(&format!("{{horizon: 1, lags: [1], regressor: {{{yaml}}}}}"));
            check(&model, &input).1
        };
        let problems = regressor("model.linfa.linear_regression: {features: [lag_2]}");
        assert_eq!(problems[0].code, "unknown-column");
        assert_eq!(
            problems[0].path,
            path!["regressor", "model.linfa.linear_regression", "features", 0]
        );
        assert_eq!(
            regressor("model.linfa.naive_bayes: {}")[0].code,
            "wrong-type"
        );
        assert_eq!(
            regressor("model.linfa.k_means: {clusters: 2}")[0].code,
            "no-numbers"
        );
        assert!(
            regressor("model.boost.trees: {early_stopping: 3}")[0].help[0].contains("leave it out")
        );
        let refused = serde_yaml::from_str::<Lagged>("{horizon: 1, lags: [1]}").expect_err("none");
        assert!(refused.to_string().contains("`regressor`"));
    }

    #[test]
    fn counted_steps_have_no_calendar() {
        let mut frame = table(&[0, 1], &["a", "b"], &[1.0, 2.0]);
        let column = frame.schema.column_mut("day").expect("a column");
        column.dtype = DataType::Int32;
        let model = model(&format!("horizon: 1, lags: [1], calendar: [month], {LINE}"));
        let (_, problems) = check(&model, &frame.schema);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert_eq!(problems[0].code, "wrong-type");
    }
}
