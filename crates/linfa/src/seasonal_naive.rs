//! `model.forecast.seasonal_naive`

use taktline_core::{
    CheckContext, Error, FitContext, Frame, Model, Predictor, Result, Schema, Shape, Stage, State,
    counted, register_kind,
};

use crate::series::{self, Forecasts, forecaster_params, half_width};

forecaster_params! {
    /// Forecasts that each season repeats the last one: what every other forecaster has to beat.
    ///
    /// The forecast of a step is the value one season before, or, further ahead than a season, the last value at that place of a season.
    /// With `season: 1` it is the last value. The intervals widen with each season ahead: normal errors whose standard deviation
    /// is that of the forecasts within training, times the root of the seasons ahead (Hyndman and Athanasopoulos, "Forecasting:
    /// Principles and Practice", 3rd edition, 5.5).
    ///
    /// Adds `prediction`, `lower` and `upper`. Training rows get the forecast made from the rows before them; null in the first season. A row of
    /// a series without training rows, or beyond the horizon, is an error.
    struct SeasonalNaive {
        /// Steps in a season: 7 for days with a weekly rhythm, 12 for months.
        #[schemars(range(min = 1, max = 100_000))]
        season: usize,
    }
}

register_kind! {
    SeasonalNaive, "model.forecast.seasonal_naive", version: 1,
    example: "- model.forecast.seasonal_naive: {over: day, step: 1d, season: 7, horizon: 28}",
}

impl Stage for SeasonalNaive {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        series::check(&self.settings(), inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for SeasonalNaive {
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
        let settings = self.settings();
        series::fit(&settings, train, cx, |values| {
            forecast(values, self.season, self.horizon, self.level)
        })
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        series::load(state)
    }
}

fn forecast(values: &[f64], season: usize, horizon: usize, level: f64) -> Result<Forecasts> {
    let count = values.len();
    if count <= season {
        return Err(Error::data(format!(
            "a season of {season} needs more steps than it has, and there are {}",
            counted(count, "step")
        )));
    }
    let fitted: Vec<f64> = (0..count)
        .map(|step| match step.checked_sub(season) {
            Some(before) => values[before],
            None => f64::NAN,
        })
        .collect();
    let squares: f64 = (season..count)
        .map(|step| (values[step] - values[step - season]).powi(2))
        .sum();
    let deviation = (squares / (count - season) as f64).sqrt();
    let mut found = Forecasts {
        fitted,
        ..Forecasts::default()
    };
    for ahead in 0..horizon {
        let point = values[count - season + ahead % season];
        let seasons = (ahead / season + 1) as f64;
        let reach = half_width(level) * deviation * seasons.sqrt();
        found.point.push(point);
        found.lower.push(point - reach);
        found.upper.push(point + reach);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use taktline_core::serde_yaml;

    use super::*;
    use crate::{
        series::testing::{bakeries, predicted, table},
        testing::close,
    };

    fn model(params: &str) -> SeasonalNaive {
        serde_yaml::from_str(params).expect("params")
    }

    #[test]
    fn each_series_repeats_its_own_last_season() {
        let days = [0, 1, 2, 3, 0, 1, 2, 3];
        let shops = ["a", "a", "a", "a", "b", "b", "b", "b"];
        let sales = [1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 10.0, 20.0];
        let train = table(&days, &shops, &sales);
        let rows = table(
            &[4, 5, 6, 4, 2, 0],
            &["a", "a", "a", "b", "a", "a"],
            &[0.0; 6],
        );
        let [point, lower, upper] = predicted(
            &model("{by: [shop], season: 2, horizon: 3, level: 0.9}"),
            &train,
            &rows.data,
        )
        .expect("forecasts");
        assert_eq!(
            point,
            [3.0, 4.0, 3.0, 10.0, 1.0, f64::NAN]
                .map(|value: f64| (!value.is_nan()).then_some(value))
        );
        // The errors of `a` are 2 and 2: 1.6449 standard deviations of 2 for the first season, √2 times that for the second.
        let reach = |row: usize| upper[row].expect("an end") - point[row].expect("a forecast");
        assert!(
            (reach(0) - 2.0 * 1.644_853_626_951).abs() < 1e-6,
            "{}",
            reach(0)
        );
        assert!((reach(2) / reach(0) - 2_f64.sqrt()).abs() < 1e-9);
        assert_eq!(lower[3], Some(10.0), "`b` was forecast without an error");
        assert_eq!((lower[4], upper[5]), (None, None));
    }

    /// pandas 3.1.1 and scipy 1.17.1, tests/peers/seasonal_naive.py.
    #[test]
    fn bakeries_go_on_as_those_of_pandas() {
        // The last season, the sum of the forecasts within training, and half the intervals of each season ahead.
        let wanted = [
            (
                [150.0, 168.0, 210.0, 477.0, 174.0, 203.0, 172.0],
                277_225.0,
                [132.4319188, 187.2870157, 229.3788119, 264.8638376],
            ),
            (
                [49.0, 52.0, 63.0, 139.0, 211.0, 35.0, 46.0],
                153_743.0,
                [129.6789975, 183.393797, 224.6106123, 259.3579949],
            ),
        ];
        let [train, test] = bakeries();
        let model = model("{by: [shop], season: 7, horizon: 28, level: 0.9}");
        let [fitted, ..] = predicted(&model, &train, &train.data).expect("forecasts");
        let [point, lower, upper] = predicted(&model, &train, &test.data).expect("forecasts");
        let found = |values: &[Option<f64>]| -> Vec<f64> {
            values
                .iter()
                .map(|value| value.expect("a number"))
                .collect()
        };
        let (point, lower, upper) = (found(&point), found(&lower), found(&upper));
        for (shop, (season, sum, halves)) in wanted.into_iter().enumerate() {
            let fitted = &fitted[shop * 1187..(shop + 1) * 1187];
            assert!(fitted[..7].iter().all(Option::is_none));
            assert_eq!(found(&fitted[7..]).iter().sum::<f64>(), sum);
            for ahead in 0..28 {
                let row = shop * 28 + ahead;
                assert_eq!(point[row], season[ahead % 7]);
                let half = halves[ahead / 7];
                close(
                    &[point[row] - lower[row], upper[row] - point[row]],
                    &[half; 2],
                    1e-7,
                );
            }
        }
    }

    #[test]
    fn refuses_what_it_cannot_forecast() {
        let train = table(&[0, 1, 2, 3], &["a"; 4], &[1.0, 2.0, 3.0, 4.0]);
        let refused = |params: &str, day: i32, shop: &str| {
            let rows = table(&[day], &[shop], &[0.0]);
            predicted(&model(params), &train, &rows.data)
                .expect_err("refused")
                .to_string()
        };
        let good = "{by: [shop], season: 2, horizon: 3}";
        let error = refused(good, 7, "a");
        assert!(error.contains("row 1: step 4 after the last training row of the series `shop=a` is beyond the horizon of 3"), "{error}");
        let error = refused(good, 4, "c");
        assert!(
            error.contains("row 1: the series `shop=c` has no training rows"),
            "{error}"
        );
        let error = refused("{by: [shop], season: 4, horizon: 3}", 4, "a");
        assert!(
            error.contains("the series `shop=a`: a season of 4 needs more steps"),
            "{error}"
        );
        let twice = table(&[0, 0], &["a", "b"], &[1.0, 2.0]);
        let error = predicted(
            &model("{season: 1, horizon: 1, step: 1d}"),
            &twice,
            &twice.data,
        )
        .expect_err("two rows of one time")
        .to_string();
        assert!(
            error.contains("the training rows 1 and 2 have the same time (`day`)"),
            "{error}"
        );
    }

    #[test]
    fn check_finds_every_problem() {
        let train = table(&[0, 1], &["a", "b"], &[1.0, 2.0]);
        let capabilities = taktline_core::Capabilities::default();
        let mut cx = CheckContext {
            stage: "naive",
            seed: 7,
            directory: std::path::Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        let output = model("{by: [shop], season: 7, horizon: 1}")
            .check(std::slice::from_ref(&train.schema), &mut cx);
        assert!(cx.problems.is_empty(), "{:#?}", cx.problems);
        let names: Vec<&str> = output.names().collect();
        assert_eq!(
            names,
            ["day", "shop", "sales", "prediction", "lower", "upper"]
        );
        model("{by: [shpo, sales], over: shop, target: shop, season: 7, horizon: 1}")
            .check(std::slice::from_ref(&train.schema), &mut cx);
        model("{step: 1, season: 7, horizon: 1}").check(&[train.schema], &mut cx);
        let codes: Vec<&str> = cx.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(
            codes,
            [
                "wrong-type",
                "wrong-type",
                "unknown-column",
                "wrong-type",
                "wrong-type"
            ]
        );
    }
}
