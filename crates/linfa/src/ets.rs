//! `model.forecast.ets`

use std::borrow::Cow;

use augurs::{
    Predict,
    ets::model::{
        ErrorComponent, Model as Smoothed, ModelType, SeasonalComponent, TrendComponent, Unfit,
    },
    mstl::{FittedTrendModel, TrendModel},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, FitContext, Frame, Model, Predictor, Problem, Result, Schema, Shape,
    Stage, State, counted, path, register_kind,
};

use crate::series::{self, Forecasts, forecaster_params};

forecaster_params! {
    /// Forecasts by exponential smoothing: a level, and where it helps a trend, that follow recent values more than old ones.
    ///
    /// Of the models with additive errors and no trend, an additive or a damped one, it takes that with the least corrected
    /// Akaike criterion (Hyndman, Koehler, Ord, Snyder: "Forecasting with Exponential Smoothing", 2008), for each series by itself. The library
    /// `augurs` fits them. It knows no seasons: `model.forecast.mstl` takes these out first and smooths the rest. Where errors grow with
    /// the level, take the logarithm of the target.
    ///
    /// Adds `prediction`, `lower` and `upper`. Training rows get the forecast made one step before them. A row of a series without training
    /// rows, or beyond the horizon, is an error.
    struct Ets {
        /// Whether there is a trend: `auto`, `none` or `additive`.
        #[serde(default)]
        trend: Trend,
        /// Whether the trend levels off. Default: what fits better.
        damped: Option<bool>,
    }
}

/// The trend of an exponential smoothing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Trend {
    /// What fits better.
    #[default]
    Auto,
    /// The level goes nowhere by itself.
    None,
    /// Each step adds something.
    Additive,
}

register_kind! {
    Ets, "model.forecast.ets", version: 1,
    example: "- model.forecast.ets: {over: month, step: 1mo, horizon: 12}",
}

/// The exponential smoothings to choose from.
///
/// Errors are additive: of those that grow with the level the library draws intervals at random, so that no two runs agree.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Smoothing {
    trend: Trend,
    damped: Option<bool>,
}

impl Smoothing {
    /// The model that fits these values best.
    pub(crate) fn fit(self, values: &[f64]) -> Result<Smoothed> {
        // The library wants more values than the most elaborate model has numbers to learn.
        const LEAST: usize = 9;
        if values.len() < LEAST {
            return Err(Error::data(format!(
                "exponential smoothing needs {LEAST} steps, and there are {}",
                counted(values.len(), "step")
            )));
        }
        let without = [(TrendComponent::None, false)];
        let with = [true, false].map(|damped| (TrendComponent::Additive, damped));
        let candidates = without
            .into_iter()
            .filter(|_| self.trend != Trend::Additive)
            .chain(with.into_iter().filter(|(_, damped)| {
                self.trend != Trend::None && self.damped.is_none_or(|wanted| wanted == *damped)
            }));
        candidates
            .filter_map(|(trend, damped)| {
                let model = ModelType {
                    error: ErrorComponent::Additive,
                    trend,
                    season: SeasonalComponent::None,
                };
                Unfit::new(model).damped(damped).fit(values).ok()
            })
            .filter(|model| !model.aicc().is_nan())
            .min_by(|left, right| left.aicc().total_cmp(&right.aicc()))
            .ok_or_else(|| Error::Model("no exponential smoothing fits the values".into()))
    }
}

/// A fitted smoothing, as the decomposition by seasons takes it.
#[derive(Debug)]
struct Rest(Smoothed);

type Boxed = Box<dyn std::error::Error + Send + Sync + 'static>;

impl TrendModel for Smoothing {
    fn name(&self) -> Cow<'_, str> {
        "exponential smoothing".into()
    }

    fn fit(&self, values: &[f64]) -> Result<Box<dyn FittedTrendModel + Sync + Send>, Boxed> {
        Ok(Box::new(Rest(Self::fit(*self, values)?)))
    }
}

impl FittedTrendModel for Rest {
    fn predict_inplace(
        &self,
        horizon: usize,
        level: Option<f64>,
        forecast: &mut augurs::Forecast,
    ) -> Result<(), Boxed> {
        Ok(self.0.predict_inplace(horizon, level, forecast)?)
    }

    fn predict_in_sample_inplace(
        &self,
        level: Option<f64>,
        forecast: &mut augurs::Forecast,
    ) -> Result<(), Boxed> {
        Ok(self.0.predict_in_sample_inplace(level, forecast)?)
    }

    fn training_data_size(&self) -> Option<usize> {
        Some(self.0.training_data_size())
    }
}

impl Stage for Ets {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        if self.trend == Trend::None && self.damped == Some(true) {
            cx.report(Problem::error(
                "no-trend",
                path!["damped"],
                "there is no trend to damp with `trend: none`",
            ));
        }
        series::check(&self.settings(), inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Ets {
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
        let smoothing = Smoothing {
            trend: self.trend,
            damped: self.damped,
        };
        series::fit(&settings, train, cx, |values| {
            forecasts(&smoothing.fit(values)?, self.horizon, self.level)
        })
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        series::load(state)
    }
}

/// What a fitted model of the library says.
pub(crate) fn forecasts(model: &impl Predict, horizon: usize, level: f64) -> Result<Forecasts> {
    let failed = |error: &dyn std::error::Error| Error::Model(error.to_string());
    let fitted = model
        .predict_in_sample(None)
        .map_err(|error| failed(&error))?;
    let ahead = model
        .predict(horizon, level)
        .map_err(|error| failed(&error))?;
    let intervals = ahead
        .intervals
        .ok_or_else(|| Error::Model("the forecast has no intervals".into()))?;
    Ok(Forecasts {
        fitted: fitted.point,
        point: ahead.point,
        lower: intervals.lower,
        upper: intervals.upper,
    })
}

#[cfg(test)]
mod tests {
    use taktline_core::serde_yaml;

    use super::*;
    use crate::series::testing::{predicted, table};

    fn model(params: &str) -> Ets {
        serde_yaml::from_str(params).expect("params")
    }

    #[test]
    fn a_line_goes_on_as_a_line() {
        let days: Vec<i32> = (0..20).collect();
        let sales: Vec<f64> = days.iter().map(|day| 5.0 + 2.0 * f64::from(*day)).collect();
        let train = table(&days, &["a"; 20], &sales);
        let rows = table(&[20, 24, 10], &["a"; 3], &[0.0; 3]);
        let [point, lower, upper] =
            predicted(&model("{horizon: 5}"), &train, &rows.data).expect("forecasts");
        let near = |value: Option<f64>, wanted: f64| {
            let value = value.expect("a forecast");
            assert!((value - wanted).abs() < 0.05, "{value} is not {wanted}");
        };
        near(point[0], 45.0);
        near(point[1], 53.0);
        near(point[2], 25.0);
        assert!(lower[0] <= point[0] && point[0] <= upper[0]);
    }

    #[test]
    fn without_a_trend_the_level_holds_and_uncertainty_grows() {
        let days: Vec<i32> = (0..30).collect();
        let sales: Vec<f64> = days
            .iter()
            .map(|day| 50.0 + f64::from((day * 7) % 5) - 2.0)
            .collect();
        let train = table(&days, &["a"; 30], &sales);
        let rows = table(&[30, 39], &["a"; 2], &[0.0; 2]);
        let [point, lower, upper] =
            predicted(&model("{horizon: 10, trend: none}"), &train, &rows.data).expect("forecasts");
        assert_eq!(point[0], point[1]);
        let width = |row: usize| upper[row].expect("an end") - lower[row].expect("an end");
        assert!(width(1) >= width(0) && width(0) > 0.0);
        assert!((point[0].expect("a forecast") - 50.0).abs() < 1.0);
    }

    #[test]
    fn a_few_steps_are_too_few() {
        let train = table(&[0, 1, 2], &["a"; 3], &[1.0, 2.0, 3.0]);
        let error = predicted(&model("{horizon: 1}"), &train, &train.data)
            .expect_err("three steps")
            .to_string();
        assert!(
            error.contains("needs 9 steps, and there are 3 steps"),
            "{error}"
        );
    }

    #[test]
    fn the_same_rows_give_the_same_bytes() {
        let days: Vec<i32> = (0..40).collect();
        let sales: Vec<f64> = days.iter().map(|day| f64::from((day * 37) % 11)).collect();
        let train = table(&days, &["a"; 40], &sales);
        let bytes = || {
            let model = model("{horizon: 5}");
            let state = model.fit(&train, None, &mut FitContext::quiet(1));
            state.expect("forecasts").to_bytes().expect("bytes")
        };
        assert_eq!(bytes(), bytes());
    }
}
