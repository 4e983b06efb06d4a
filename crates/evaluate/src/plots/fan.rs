//! Pictures of forecasts over time.

use super::{
    numbers::{chart_with_labels, range_of},
    *,
};

/// The letters of a column's name that fit beside an axis.
const AXIS_LETTERS: usize = 36;

/// A line through these points.
pub(crate) type Line = Vec<(f64, f64)>;

/// What a forecast's picture shows; points are places in the series and values.
pub(crate) struct Fan<'a> {
    pub(crate) name: String,
    pub(crate) title: String,
    /// What was known.
    pub(crate) before: Line,
    /// What came.
    pub(crate) truth: Line,
    pub(crate) forecast: Line,
    /// Lower and upper ends.
    pub(crate) band: Option<(Line, Line)>,
    /// The time at each place.
    pub(crate) labels: Vec<&'a str>,
    /// What the columns of time and of the forecast number are called.
    pub(crate) axes: (&'a str, &'a str),
}

/// What was known, what came, and the forecast with its interval.
pub(crate) fn forecast_fan(fan: &Fan<'_>) -> Result<Plot> {
    let ends = fan
        .band
        .iter()
        .flat_map(|(lower, upper)| lower.iter().chain(upper));
    let points = || {
        let lines = [&fan.before, &fan.truth, &fan.forecast];
        lines.into_iter().flatten().chain(ends.clone())
    };
    let columns = {
        let places = || points().map(|point| point.0);
        let first = places().fold(f64::INFINITY, f64::min);
        let last = places().fold(f64::NEG_INFINITY, f64::max);
        if first < last { first..last } else { -0.5..0.5 }
    };
    let lines = range_of(points().map(|point| point.1));
    let note = match fan.band {
        Some(_) => "blue: forecast and its interval; dark: truth; grey: known before",
        None => "blue: forecast; dark: truth; grey: known before",
    };
    let label = |place: &f64| -> String {
        let is_whole = (place - place.round()).abs() < 1e-6;
        let text = (is_whole && *place > -0.5).then(|| fan.labels.get(place.round() as usize));
        text.flatten()
            .map_or_else(String::new, |text| (*text).to_owned())
    };
    let [time, number] = [fan.axes.0, fan.axes.1].map(|name| cut(name, AXIS_LETTERS));
    picture(&fan.name, &fan.title, note, HEIGHT, |area| {
        // Dates are long: four fit below the axis.
        let across = (time.as_str(), 4);
        chart_with_labels(area, (columns, lines), across, &number, &label, |chart| {
            if let Some((lower, upper)) = &fan.band {
                let outline: Line = upper.iter().chain(lower.iter().rev()).copied().collect();
                chart.draw_series(std::iter::once(Polygon::new(
                    outline,
                    ACCENT.mix(0.2).filled(),
                )))?;
            }
            let mut line = |points: &[(f64, f64)], colour: RGBColor, width: u32| {
                chart
                    .draw_series(LineSeries::new(points.to_vec(), colour.stroke_width(width)))
                    .map(|_| ())
            };
            line(&fan.before, MUTED, 3)?;
            line(&fan.forecast, ACCENT, 5)?;
            line(&fan.truth, INK, 3)?;
            Ok(())
        })
    })
}
