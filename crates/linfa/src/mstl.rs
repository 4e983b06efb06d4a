//! `model.forecast.mstl`

use augurs::{Fit, mstl::MSTLModel};
use taktline_core::{
    CheckContext, Error, FitContext, Frame, Model, Predictor, Problem, Result, Schema, Shape,
    Stage, State, counted, path, register_kind,
};

use crate::{
    ets::{Smoothing, forecasts},
    series::{self, forecaster_params},
};

forecaster_params! {
    /// Forecasts a series of one or more seasons: takes these out, smooths the rest exponentially, and puts them back.
    ///
    /// The decomposition is MSTL (Bandara, Hyndman, Bergmeir: "MSTL: A Seasonal-Trend Decomposition Algorithm for Time Series with Multiple
    /// Seasonal Patterns", 2021), the rest is forecast as `model.forecast.ets` does, and each season repeats its last course; the library
    /// `augurs` does both. The intervals are those of the rest.
    ///
    /// Adds `prediction`, `lower` and `upper`. Training rows get the season of their own step and the rest as forecast one step before them. A row
    /// of a series without training rows, or beyond the horizon, is an error.
    struct Mstl {
        /// Steps in each season, shortest first: `[7]` for days with a weekly rhythm, `[24, 168]` for hours.
        #[schemars(length(min = 1, max = 10), inner(range(min = 2, max = 100_000)))]
        seasons: Vec<usize>,
    }
}

register_kind! {
    Mstl, "model.forecast.mstl", version: 1,
    example: "- model.forecast.mstl: {over: day, step: 1d, seasons: [7, 365], horizon: 28}",
}

impl Stage for Mstl {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        if let Some(place) = self.seasons.windows(2).position(|pair| pair[0] >= pair[1]) {
            cx.report(
                Problem::error(
                    "out-of-order",
                    path!["seasons", place + 1],
                    format!(
                        "a season of {} comes after one of {}",
                        self.seasons[place + 1],
                        self.seasons[place]
                    ),
                )
                .help("name each season once, shortest first"),
            );
        }
        series::check(&self.settings(), inputs, cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Mstl {
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
        let longest = self.seasons.last().copied().unwrap_or_default();
        series::fit(&settings, train, cx, |values| {
            if values.len() <= 2 * longest {
                return Err(Error::data(format!(
                    "a season of {longest} needs more than two of them to be told apart, and there are {}",
                    counted(values.len(), "step")
                )));
            }
            let model = MSTLModel::new(self.seasons.clone(), Smoothing::default())
                .fit(values)
                .map_err(|error| Error::Model(error.to_string()))?;
            forecasts(&model, self.horizon, self.level)
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
    use crate::series::testing::{predicted, table};

    fn model(params: &str) -> Mstl {
        serde_yaml::from_str(params).expect("params")
    }

    /// Ten weeks with a weekly course on a slope.
    fn weeks() -> (Vec<i32>, Vec<f64>) {
        let course = [0.0, 3.0, 1.0, -2.0, -4.0, 6.0, -4.0];
        let days: Vec<i32> = (0..70).collect();
        let sales = days
            .iter()
            .map(|day| 100.0 + 0.5 * f64::from(*day) + course[(*day % 7) as usize])
            .collect();
        (days, sales)
    }

    #[test]
    fn the_course_of_a_week_and_the_slope_go_on() {
        let (days, sales) = weeks();
        let train = table(&days, &["a"; 70], &sales);
        let ahead: Vec<i32> = (70..84).collect();
        let rows = table(&ahead, &["a"; 14], &[0.0; 14]);
        let [point, lower, upper] =
            predicted(&model("{seasons: [7], horizon: 14}"), &train, &rows.data)
                .expect("forecasts");
        let course = [0.0, 3.0, 1.0, -2.0, -4.0, 6.0, -4.0];
        for (step, day) in ahead.iter().enumerate() {
            let wanted = 100.0 + 0.5 * f64::from(*day) + course[(*day % 7) as usize];
            let found = point[step].expect("a forecast");
            assert!(
                (found - wanted).abs() < 1.0,
                "day {day}: {found} is not {wanted}"
            );
            assert!(lower[step] <= point[step] && point[step] <= upper[step]);
        }
    }

    #[test]
    fn two_seasons_at_least_are_needed() {
        let (days, sales) = weeks();
        let train = table(&days, &["a"; 70], &sales);
        let error = predicted(
            &model("{seasons: [7, 35], horizon: 1}"),
            &train,
            &train.data,
        )
        .expect_err("a long season")
        .to_string();
        assert!(
            error.contains("a season of 35 needs more than two"),
            "{error}"
        );
    }
}
