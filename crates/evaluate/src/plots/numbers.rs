//! Pictures of numbers: predictions against truths, distributions, bars.

use std::ops::Range;

use super::*;

pub(super) type NumberChart<'a, 'b> = UnitChart<'a, 'b>;

/// The most points of a scatter: more would only make the file larger.
const MOST_POINTS: usize = 1500;
const HISTOGRAM_BINS: usize = 40;
/// Letters of what a bar is called.
const LABEL: usize = 28;
/// The share of values on each side that the outermost bars take together.
const BEYOND: f64 = 0.005;

/// Truth against prediction, a point a row.
pub(crate) fn predicted_against_true(
    predictions: &[f64],
    truths: &[f64],
    r2: Option<f64>,
) -> Result<Plot> {
    // Every n-th row, so that the same rows give the same picture.
    let step = predictions.len().div_ceil(MOST_POINTS).max(1);
    let points: Vec<(f64, f64)> = predictions
        .iter()
        .zip(truths)
        .step_by(step)
        .map(|(prediction, truth)| (*prediction, *truth))
        .collect();
    let mut note = "dashed: predicted as it was".to_owned();
    if let Some(r2) = r2 {
        note = format!("r² {r2:.3}; {note}");
    }
    if step > 1 {
        let shown = taktline_core::counted(points.len(), "row");
        note = format!("{note}; {shown} of {}", grouped(predictions.len() as f64));
    }
    let range = range_of(points.iter().flat_map(|point| [point.0, point.1]));
    picture(
        "predicted_against_true",
        "Predicted and true",
        &note,
        HEIGHT,
        |area| {
            let ranges = (range.clone(), range.clone());
            number_chart(area, ranges, "prediction", "truth", |chart| {
                let ends = [(range.start, range.start), (range.end, range.end)];
                dashed(chart, ends)?;
                let opacity = if points.len() > 300 { 0.35 } else { 0.6 };
                let style = ACCENT.mix(opacity).filled();
                let dots = points.iter().map(|point| Circle::new(*point, 6, style));
                chart.draw_series(dots)?;
                Ok(())
            })
        },
    )
}

/// How predictions are spread around truths. `residuals` are truths minus predictions; what is shown are predictions minus truths, the
/// way that `bias` has its sign: to the right too much was predicted.
pub(crate) fn residuals(
    residuals: &[f64],
    weights: Option<&[f64]>,
    bias: Option<f64>,
) -> Result<Plot> {
    // From 0, so that no error is 0 and not -0.
    let errors: Vec<f64> = residuals.iter().map(|residual| 0.0 - residual).collect();
    let mut note = "above 0, too much was predicted; dashed: no error".to_owned();
    if let Some(bias) = bias {
        note = format!("mean {}; {note}", axis_number(bias, bias.abs()));
    }
    let groups = [(errors.as_slice(), weights, ACCENT)];
    histogram(
        "residuals",
        "Residuals",
        &note,
        ("prediction minus truth", "rows"),
        &groups,
        Some(0.0),
    )
}

/// How the scores of ordinary and anomalous rows are spread, and from where rows are flagged.
pub(crate) fn scores(
    ordinary: &[f64],
    anomalous: Option<&[f64]>,
    threshold: Option<f64>,
) -> Result<Plot> {
    let flagged = match threshold {
        Some(_) => "; dashed: flagged from here",
        None => "; none is flagged",
    };
    let (up, note) = match anomalous {
        Some(_) => (
            "share of rows",
            "blue: ordinary rows; orange: anomalous rows",
        ),
        None => ("rows", "of all rows"),
    };
    let mut groups = vec![(ordinary, None, ACCENT)];
    groups.extend(anomalous.map(|scores| (scores, None, MARK)));
    let note = format!("{note}{flagged}");
    histogram("scores", "Scores", &note, ("score", up), &groups, threshold)
}

/// How much each feature counted.
pub(crate) fn importance(shares: &[(String, f64)], features: usize) -> Result<Plot> {
    let mut note = "share of what the cuts gained in training".to_owned();
    if shares.len() < features {
        note = format!("{note}; the first {} of {features}", shares.len());
    }
    let bars = shares
        .iter()
        .map(|(name, share)| (name.clone(), *share, format!("{:.1} %", 100.0 * share)));
    Bars {
        name: "importance",
        title: "Importance of the features",
        note: &note,
        bars: bars.collect(),
        full: shares.first().map_or(1.0, |(_, share)| *share),
    }
    .draw()
}

/// Rows of each cluster.
pub(crate) fn cluster_sizes(sizes: Vec<(String, f64)>, clusters: usize) -> Result<Plot> {
    let shown = sizes.len();
    let note = match shown < clusters {
        true => format!("the first {shown} of {clusters}"),
        false => "rows".to_owned(),
    };
    let full = sizes
        .iter()
        .fold(1.0_f64, |most, (_, size)| most.max(*size));
    let bars = sizes
        .into_iter()
        .map(|(name, size)| (name, size, grouped(size)));
    Bars {
        name: "cluster_sizes",
        title: "Size of the clusters",
        note: &note,
        bars: bars.collect(),
        full,
    }
    .draw()
}

/// The mean silhouette of each cluster.
pub(crate) fn silhouettes(clusters: Vec<(String, f64)>, mean: Option<f64>) -> Result<Plot> {
    let mut note = "1: far from all others; 0 or less: as near to another".to_owned();
    if let Some(mean) = mean {
        note = format!("mean {mean:.3}; {note}");
    }
    let bars = clusters
        .into_iter()
        .map(|(name, value)| (name, value, format!("{value:.3}")));
    Bars {
        name: "silhouettes",
        title: "Silhouette by cluster",
        note: &note,
        bars: bars.collect(),
        full: 1.0,
    }
    .draw()
}

/// Values, the weights of their rows, and the colour of their bars.
type Values<'a> = (&'a [f64], Option<&'a [f64]>, RGBColor);

/// Bars over equally wide ranges, one or more groups of rows in one picture, each as a share of its own rows where there are more.
///
/// The outermost bars hold what lies beyond, so that a few far values leave the rest visible.
pub(super) fn histogram(
    name: &str,
    title: &str,
    note: &str,
    (across, up): (&str, &str),
    groups: &[Values<'_>],
    line: Option<f64>,
) -> Result<Plot> {
    let mut sorted: Vec<f64> = groups
        .iter()
        .flat_map(|(values, ..)| values.iter().copied())
        .collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |share| crate::bootstrap::quantile(&sorted, share).unwrap_or(0.0);
    let mut range = widened(at(BEYOND)..at(1.0 - BEYOND), 0.02);
    if let Some(line) = line {
        range = range.start.min(line)..range.end.max(line);
    }
    let width = (range.end - range.start) / HISTOGRAM_BINS as f64;
    let counts: Vec<Vec<f64>> = groups
        .iter()
        .map(|(values, weights, _)| {
            let mut counts = vec![0.0; HISTOGRAM_BINS];
            for (row, value) in values.iter().enumerate() {
                let bin = ((value - range.start) / width).max(0.0) as usize;
                counts[bin.min(HISTOGRAM_BINS - 1)] += weights.map_or(1.0, |weights| weights[row]);
            }
            if groups.len() > 1 {
                let all: f64 = counts.iter().sum();
                if all > 0.0 {
                    counts.iter_mut().for_each(|count| *count /= all);
                }
            }
            counts
        })
        .collect();
    let most = counts
        .iter()
        .flatten()
        .fold(0.0_f64, |most, count| most.max(*count));
    let high = if most > 0.0 { most * 1.06 } else { 1.0 };
    picture(name, title, note, HEIGHT, |area| {
        number_chart(area, (range.clone(), 0.0..high), across, up, |chart| {
            for ((_, _, colour), counts) in groups.iter().zip(&counts) {
                let opacity = if groups.len() > 1 { 0.55 } else { 0.85 };
                let style = colour.mix(opacity).filled();
                let bars = counts.iter().enumerate().filter(|(_, count)| **count > 0.0);
                chart.draw_series(bars.map(|(bin, count)| {
                    let left = range.start + width * bin as f64;
                    let gap = width * 0.06;
                    Rectangle::new([(left + gap, 0.0), (left + width - gap, *count)], style)
                }))?;
            }
            match line {
                Some(line) => dashed(chart, [(line, 0.0), (line, high)]),
                None => Ok(()),
            }
        })
    })
}

/// A bar for each label, from 0 to a common end, with its number beside it.
pub(super) struct Bars<'a> {
    pub(super) name: &'a str,
    pub(super) title: &'a str,
    pub(super) note: &'a str,
    /// Label, value, and the value as text.
    pub(super) bars: Vec<(String, f64, String)>,
    /// The value that fills the width.
    pub(super) full: f64,
}

impl Bars<'_> {
    pub(super) fn draw(&self) -> Result<Plot> {
        let count = self.bars.len().max(1) as i32;
        let step = ((HEIGHT as i32 - HEADER - MARGIN) / count).clamp(36, 110);
        let height = (HEADER + MARGIN + step * count) as u32;
        let longest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0) as i32;
        let label_width = longest(
            &mut self
                .bars
                .iter()
                .map(|(label, ..)| cut(label, LABEL).chars().count()),
        );
        let number_width = longest(&mut self.bars.iter().map(|(.., text)| text.chars().count()));
        let left = MARGIN + 30 + label_width * 18;
        let full = WIDTH as i32 - left - MARGIN - 20 - number_width * 20;
        let size = (step * 3 / 5).min(TEXT_SIZE);
        picture(self.name, self.title, self.note, height, |area| {
            for (place, (label, value, number)) in self.bars.iter().enumerate() {
                let y = HEADER + step * place as i32;
                let text = |pos| {
                    TextStyle::from(("sans-serif", size).into_font())
                        .color(&INK)
                        .pos(pos)
                };
                let middle = y + step / 2;
                area.draw(&Text::new(
                    cut(label, LABEL),
                    (left - 16, middle),
                    text(Pos::new(HPos::Right, VPos::Center)),
                ))?;
                let (bar_top, bar_bottom) = (y + step / 6, y + step - step / 6);
                area.draw(&Rectangle::new(
                    [(left, bar_top), (left + full, bar_bottom)],
                    GRID.mix(0.6).filled(),
                ))?;
                let share = (value / self.full).clamp(0.0, 1.0);
                let end = left + (f64::from(full) * share).round() as i32;
                area.draw(&Rectangle::new(
                    [(left, bar_top), (end, bar_bottom)],
                    ACCENT.filled(),
                ))?;
                area.draw(&Text::new(
                    number.clone(),
                    (left + full + 18, middle),
                    text(Pos::new(HPos::Left, VPos::Center)),
                ))?;
            }
            Ok(())
        })
    }
}

/// The range of these values, a little wider; around 0 where there are none.
pub(super) fn range_of(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return -1.0..1.0;
    }
    widened(low..high, 0.03)
}

/// A range with room at both ends; one value alone gets room of its own size.
pub(super) fn widened(range: Range<f64>, share: f64) -> Range<f64> {
    let span = range.end - range.start;
    let room = if span > 0.0 {
        span * share
    } else {
        range.start.abs().max(1.0) * 0.5
    };
    range.start - room..range.end + room
}

/// Axes of numbers.
pub(super) fn number_chart(
    area: &Area<'_>,
    (columns, lines): (Range<f64>, Range<f64>),
    across: &str,
    up: &str,
    draw: impl FnOnce(&mut NumberChart<'_, '_>) -> Drawn,
) -> Drawn {
    let columns_span = columns.end - columns.start;
    let labels = |value: &f64| axis_number(*value, columns_span);
    chart_with_labels(area, (columns, lines), (across, 6), up, &labels, draw)
}

/// Axes whose labels below are made by a function.
pub(super) fn chart_with_labels(
    area: &Area<'_>,
    (columns, lines): (Range<f64>, Range<f64>),
    (across, count): (&str, usize),
    up: &str,
    labels: &dyn Fn(&f64) -> String,
    draw: impl FnOnce(&mut NumberChart<'_, '_>) -> Drawn,
) -> Drawn {
    let text = |colour: &'static RGBColor| {
        TextStyle::from(("sans-serif", TEXT_SIZE).into_font()).color(colour)
    };
    let lines_span = lines.end - lines.start;
    let mut chart = ChartBuilder::on(area)
        .margin_top(HEADER)
        .margin_left(MARGIN / 2)
        .margin_right(MARGIN + 30)
        .margin_bottom(16)
        .x_label_area_size(104)
        .y_label_area_size(150)
        .build_cartesian_2d(columns, lines)?;
    chart
        .configure_mesh()
        .x_labels(count)
        .y_labels(6)
        .max_light_lines(0)
        .bold_line_style(GRID.stroke_width(2))
        .axis_style(MUTED.stroke_width(2))
        .label_style(text(&INK))
        .axis_desc_style(text(&MUTED))
        .x_label_formatter(&|value| labels(value))
        .y_label_formatter(&|value| axis_number(*value, lines_span))
        .x_desc(across)
        .y_desc(up)
        .draw()?;
    draw(&mut chart)
}

/// A number at an axis that spans so much: short, and with no more decimals than tell neighbours apart.
pub(super) fn axis_number(value: f64, span: f64) -> String {
    let value = if value.abs() < span * 1e-9 {
        0.0
    } else {
        value
    };
    let scaled = |unit: f64, name: &str| {
        let text = format!("{:.1}", value / unit);
        format!("{}{name}", text.strip_suffix(".0").unwrap_or(&text))
    };
    match value.abs() {
        size if size >= 1e15 || (size > 0.0 && size < 1e-6) => format!("{value:.0e}"),
        size if size >= 1e9 => scaled(1e9, "bn"),
        size if size >= 1e6 => scaled(1e6, "m"),
        size if size >= 1e4 => scaled(1e3, "k"),
        size if size >= 1e3 => grouped(value.round()),
        _ => {
            let decimals = (2.0 - span.max(1e-9).log10().floor()).clamp(0.0, 6.0) as usize;
            let text = format!("{value:.decimals$}");
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_short() {
        let found = [
            (0.0, 1.0),
            (0.25, 1.0),
            (0.025, 0.1),
            (12.0, 100.0),
            (1500.0, 4000.0),
            (25_000.0, 100_000.0),
            (1_200_000.0, 4e6),
            (-40.0, 100.0),
            (1e-17, 4.0),
        ]
        .map(|(value, span)| axis_number(value, span));
        assert_eq!(
            found,
            [
                "0", "0.25", "0.025", "12", "1,500", "25k", "1.2m", "-40", "0"
            ]
        );
    }

    #[test]
    fn one_value_alone_can_be_drawn() {
        for values in [vec![3.0], vec![0.0, 0.0], vec![]] {
            let plot = residuals(&values, None, None).expect("a picture");
            assert!(plot.svg.trim_end().ends_with("</svg>"));
            assert!(!plot.svg.contains("NaN"), "{}", plot.svg);
        }
    }

    #[test]
    fn far_values_go_into_the_outermost_bars() {
        let mut values: Vec<f64> = (0..1000).map(|row| f64::from(row % 10)).collect();
        values.push(1e9);
        let plot = residuals(&values, None, Some(0.5)).expect("a picture");
        assert!(!plot.svg.contains("bn<"), "the axis follows the far value");
        assert!(
            plot.svg.contains("mean 0.5"),
            "the mean of what is shown is the bias"
        );
    }

    #[test]
    fn what_is_predicted_too_high_lies_to_the_right() {
        // All truths are 1 below their predictions.
        let plot = residuals(&[-1.0; 10], None, Some(1.0)).expect("a picture");
        assert!(plot.svg.contains("prediction minus truth"));
        let number = |text: &str, key: &str| -> f64 {
            let rest = text.split(key).nth(1).unwrap_or_default();
            let number = rest.split(['"', ',']).next().unwrap_or_default();
            number.parse().expect("a number")
        };
        let mut lines = plot.svg.lines();
        let bar = lines.find(|line| line.contains("<rect") && line.contains("#2563EB"));
        let zero = lines.find(|line| line.contains("stroke-dasharray"));
        let bar = number(bar.expect("a bar"), " x=\"");
        let zero = number(zero.expect("a line at 0"), "points=\"");
        assert!(bar > zero, "{bar} {zero}");
    }

    #[test]
    fn a_large_scatter_shows_some_rows() {
        let numbers: Vec<f64> = (0..10_000).map(f64::from).collect();
        let plot = predicted_against_true(&numbers, &numbers, Some(1.0)).expect("a picture");
        assert_eq!(
            plot.svg.matches("<circle").count(),
            10_000_usize.div_ceil(7)
        );
        assert!(plot.svg.contains("1,429 rows of 10,000"));
    }
}
