//! Pictures, as SVG text. No font file is needed: the viewer sets the text, and `raster` that of PNG files.
//!
//! The few colours below stand in the SVG as attributes; a page may map them to others by attribute selectors, as the report does
//! for dark screens.

use plotters::{
    chart::ChartContext,
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use taktline_core::{Error, Plot, Result};

use crate::metrics::{CalibrationBin, Confusion};

mod curves;
mod fan;
mod learning;
mod lines;
mod numbers;
mod raster;

pub(crate) use curves::{
    MOST_CURVES, precision_recall, precision_recall_by_class, roc, roc_by_class,
};
pub(crate) use fan::{Fan, forecast_fan};
pub(crate) use learning::learning_curves;
pub(crate) use lines::survival;
use numbers::Bars;
pub(crate) use numbers::{
    cluster_sizes, importance, predicted_against_true, residuals, scores, silhouettes,
};
pub use raster::plot_png;

/// Text and axes.
const INK: RGBColor = RGBColor(31, 41, 51);
/// What stands behind: baselines, notes.
const MUTED: RGBColor = RGBColor(107, 119, 133);
const GRID: RGBColor = RGBColor(226, 231, 236);
const PAPER: RGBColor = RGBColor(255, 255, 255);
/// The thing to look at.
const ACCENT: RGBColor = RGBColor(37, 99, 235);
/// A point on it.
const MARK: RGBColor = RGBColor(217, 119, 6);

// Backends draw on whole pixels: twice the size that pictures are shown at gives half pixels.
const WIDTH: u32 = 1120;
const HEIGHT: u32 = 880;
const HEADER: i32 = 144;
const MARGIN: i32 = 48;
const TITLE_SIZE: i32 = 48;
const TEXT_SIZE: i32 = 38;
/// The letters of a title that fit into the width.
const TITLE_LETTERS: usize = 58;

/// Lines that are to be dashed are drawn as opaque as no other, and get their dashes in the SVG text: the backend knows of none, and
/// dashes that are drawn one by one wobble, since their ends fall on whole pixels.
const DASHED: f64 = 0.999;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type UnitChart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// Observed share against predicted probability. `axes` say what is predicted and what is observed.
pub(crate) fn calibration(
    bins: &[CalibrationBin],
    error: Option<f64>,
    axes: (&str, &str),
) -> Result<Plot> {
    let most = bins.iter().fold(0.0_f64, |most, bin| most.max(bin.weight));
    let mut note = "dashed: taken at their word; larger dots, more rows".to_owned();
    if let Some(error) = error {
        note = format!("calibration error {}; {note}", small_share(error));
    }
    picture("calibration", "Calibration", &note, HEIGHT, |area| {
        // Large dots at the ends must not lie on the axes' numbers.
        unit_chart(area, 0.04, axes.0, axes.1, |chart| {
            dashed(chart, [(0.0, 0.0), (1.0, 1.0)])?;
            let points: Vec<(f64, f64)> = bins
                .iter()
                .map(|bin| (bin.predicted, bin.observed))
                .collect();
            chart.draw_series(LineSeries::new(points, ACCENT.mix(0.45).stroke_width(3)))?;
            chart.draw_series(bins.iter().map(|bin| {
                // The area says how many rows, within what can still be seen.
                let radius = 7.0 + 15.0 * (bin.weight / most).sqrt();
                Circle::new(
                    (bin.predicted, bin.observed),
                    radius as i32,
                    ACCENT.filled(),
                )
            }))?;
            Ok(())
        })
    })
}

/// Truth against prediction: the shade is the share of the true class, the number is the count. Of very many classes the most frequent.
pub(crate) fn confusion(confusion: &Confusion, labels: &[String]) -> Result<Plot> {
    /// In a lower cell, labels would be too small to be read.
    const LEAST_CELL: i32 = 22;
    let shown = most_frequent(confusion, labels.len());
    let classes = shown.len().max(1) as i32;
    let longest = shown
        .iter()
        .map(|class| shortened(&labels[*class]).chars().count())
        .max()
        .unwrap_or(0) as i32;
    let top = HEADER + 20;
    let room = HEIGHT as i32 - top - 130;
    let cell = (room / classes).max(LEAST_CELL);
    let height = cell * classes;
    let label_size = (cell * 3 / 5).clamp(18, TEXT_SIZE);
    let left = (MARGIN + 60 + longest * label_size * 17 / TEXT_SIZE).max(150);
    let across = WIDTH as i32 - left - MARGIN;
    // Labels that are wider than a cell would run into each other: then all stand upright, and the picture is that much higher.
    let upright = longest * label_size / 2 > across / classes;
    let more = if upright {
        (longest * label_size / 2 - 50).max(0)
    } else {
        0
    };
    let height_in_all = (HEIGHT as i32 + more + (height - room).max(0)) as u32;
    // A picture that is higher than wide would be mostly empty: cells are wider than high instead.
    let cell_width = (across / classes).min(cell * 9 / 5);
    let width = cell_width * classes;
    let digits = shown
        .iter()
        .flat_map(|truth| shown.iter().map(move |prediction| (*truth, *prediction)))
        .map(|(truth, prediction)| grouped(confusion.cell(truth, prediction)).len())
        .max();
    // A digit is about half as wide as it is high.
    let text_size = (cell / 2)
        .min(cell_width * 3 / 2 / digits.unwrap_or(1).max(1) as i32)
        .clamp(12, 44);
    let mut title = "Confusion matrix".to_owned();
    let mut note = "each row adds up to the rows of that true class";
    if shown.len() < labels.len() {
        title = format!(
            "{title}: the {} most frequent of {}",
            shown.len(),
            labels.len()
        );
        note = "shares of the rows of each true class; other classes are left out";
    }
    picture("confusion", &title, note, height_in_all, |area| {
        let text = |text: String,
                    size: i32,
                    colour: RGBAColor,
                    at: (i32, i32),
                    pos: Pos,
                    turn: FontTransform| {
            let style = TextStyle::from(("sans-serif", size).into_font().transform(turn))
                .color(&colour)
                .pos(pos);
            area.draw(&Text::new(text, at, style))
        };
        let centre = Pos::new(HPos::Center, VPos::Center);
        for (line, truth) in shown.iter().copied().enumerate() {
            let support = confusion.support(truth);
            let y = top + cell * line as i32;
            for (column, prediction) in shown.iter().copied().enumerate() {
                let x = left + cell_width * column as i32;
                let count = confusion.cell(truth, prediction);
                let share = if support > 0.0 { count / support } else { 0.0 };
                let shade = 0.04 + 0.9 * share;
                let inner = [(x + 2, y + 2), (x + cell_width - 2, y + cell - 2)];
                area.draw(&Rectangle::new(inner, ACCENT.mix(shade).filled()))?;
                if cell >= 24 {
                    // White only where the shade is dark enough on white and on black paper.
                    let colour = if share > 0.65 {
                        WHITE.to_rgba()
                    } else {
                        INK.to_rgba()
                    };
                    let middle = (x + cell_width / 2, y + cell / 2);
                    text(
                        grouped(count),
                        text_size,
                        colour,
                        middle,
                        centre,
                        FontTransform::None,
                    )?;
                }
            }
            let label = shortened(&labels[truth]);
            let beside = (left - 14, y + cell / 2);
            text(
                label.clone(),
                label_size,
                INK.to_rgba(),
                beside,
                Pos::new(HPos::Right, VPos::Center),
                FontTransform::None,
            )?;
            let below = (
                left + cell_width * line as i32 + cell_width / 2,
                top + height + 14,
            );
            let (pos, turn) = if upright {
                (
                    Pos::new(HPos::Right, VPos::Center),
                    FontTransform::Rotate270,
                )
            } else {
                (Pos::new(HPos::Center, VPos::Top), FontTransform::None)
            };
            text(label, label_size, INK.to_rgba(), below, pos, turn)?;
        }
        let muted = MUTED.to_rgba();
        text(
            "truth".into(),
            TEXT_SIZE,
            muted,
            (MARGIN, top + height / 2),
            centre,
            FontTransform::Rotate270,
        )?;
        let below = (left + width / 2, height_in_all as i32 - 20);
        text(
            "prediction".into(),
            TEXT_SIZE,
            muted,
            below,
            Pos::new(HPos::Center, VPos::Bottom),
            FontTransform::None,
        )?;
        Ok(())
    })
}

/// The classes that a confusion matrix shows, in order.
fn most_frequent(confusion: &Confusion, classes: usize) -> Vec<usize> {
    const MOST_CLASSES: usize = 40;
    let mut shown: Vec<usize> = (0..classes).collect();
    if classes > MOST_CLASSES {
        let supports: Vec<f64> = shown
            .iter()
            .map(|class| confusion.support(*class))
            .collect();
        // Stable: of equally frequent classes the first.
        shown.sort_by(|one, other| supports[*other].total_cmp(&supports[*one]));
        shown.truncate(MOST_CLASSES);
        shown.sort_unstable();
    }
    shown
}

/// F1 of each class as bars, in class order; of very many classes the worst.
pub(crate) fn per_class(confusion: &Confusion, labels: &[String]) -> Result<Plot> {
    const MOST_BARS: usize = 30;
    let mut classes: Vec<usize> = (0..labels.len()).collect();
    let mut note = "harmonic mean of precision and recall".to_owned();
    if classes.len() > MOST_BARS {
        classes.sort_by(|left, right| {
            confusion
                .figures(*left)
                .f1
                .total_cmp(&confusion.figures(*right).f1)
        });
        classes.truncate(MOST_BARS);
        note = format!("{note}; the {MOST_BARS} lowest of {}", labels.len());
    }
    let bars = classes
        .iter()
        .map(|class| {
            let figure = confusion.figures(*class).f1;
            (labels[*class].clone(), figure, format!("{figure:.3}"))
        })
        .collect();
    Bars {
        name: "per_class",
        title: "F1 by class",
        note: &note,
        bars,
        full: 1.0,
    }
    .draw()
}

/// A number as people read it: thousands apart, no decimals where there are none.
pub(crate) fn grouped(value: f64) -> String {
    let whole = value.round();
    let is_whole = (value - whole).abs() < 1e-9;
    let digits = format!("{:.0}", if is_whole { whole } else { value.trunc() }.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if !is_whole {
        let decimals = format!("{:.2}", value.abs().fract());
        // 0.999 rounds up to the next whole number.
        match decimals.strip_prefix("0.") {
            Some(decimals) => text = format!("{text}.{decimals}"),
            None => return grouped(whole),
        }
    }
    if value < 0.0 && text != "0" {
        format!("-{text}")
    } else {
        text
    }
}

fn picture(
    name: &str,
    title: &str,
    note: &str,
    height: u32,
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<Plot> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    let drawn = (|| {
        area.fill(&PAPER)?;
        let heading =
            TextStyle::from(("sans-serif", TITLE_SIZE, FontStyle::Bold).into_font()).color(&INK);
        area.draw(&Text::new(cut(title, TITLE_LETTERS), (MARGIN, 28), heading))?;
        let small = TextStyle::from(("sans-serif", TEXT_SIZE - 4).into_font()).color(&MUTED);
        area.draw(&Text::new(note.to_owned(), (MARGIN, 86), small))?;
        draw(&area)?;
        area.present()?;
        Drawn::Ok(())
    })();
    drop(area);
    drawn.map_err(|error| Error::Model(format!("cannot draw `{name}`: {error}")))?;
    let svg = svg.replace(
        &format!("opacity=\"{DASHED}\""),
        "opacity=\"1\" stroke-dasharray=\"12 10\"",
    );
    Ok(Plot {
        name: name.to_owned(),
        title: title.to_owned(),
        svg,
    })
}

/// Axes from 0 to 1, with so much room beyond them.
fn unit_chart(
    area: &Area<'_>,
    room: f64,
    across: &str,
    up: &str,
    draw: impl FnOnce(&mut UnitChart<'_, '_>) -> Drawn,
) -> Drawn {
    let text = |colour: &'static RGBColor| {
        TextStyle::from(("sans-serif", TEXT_SIZE).into_font()).color(colour)
    };
    let mut chart = ChartBuilder::on(area)
        .margin_top(HEADER)
        .margin_left(MARGIN / 2)
        .margin_right(MARGIN)
        .margin_bottom(16)
        .x_label_area_size(104)
        .y_label_area_size(128)
        .build_cartesian_2d(-room..1.0 + room, -room..1.0 + room)?;
    chart
        .configure_mesh()
        .x_labels(6)
        .y_labels(6)
        .max_light_lines(0)
        .bold_line_style(GRID.stroke_width(2))
        .axis_style(MUTED.stroke_width(2))
        .label_style(text(&INK))
        .axis_desc_style(text(&MUTED))
        .x_label_formatter(&|value| format!("{value:.1}"))
        .y_label_formatter(&|value| format!("{value:.1}"))
        .x_desc(across)
        .y_desc(up)
        .draw()?;
    draw(&mut chart)
}

fn dashed(chart: &mut UnitChart<'_, '_>, line: [(f64, f64); 2]) -> Drawn {
    let style = MUTED.mix(DASHED).stroke_width(3);
    chart.draw_series(LineSeries::new(line, style))?;
    Ok(())
}

/// Only the points that move by something that can be seen: a curve over a million rows is a few hundred points.
fn thin(points: impl IntoIterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    const VISIBLE: f64 = 0.001;
    let mut kept: Vec<(f64, f64)> = Vec::new();
    let mut passed = None;
    for point in points {
        let moved = kept.last().is_none_or(|last| {
            (point.0 - last.0).abs() >= VISIBLE || (point.1 - last.1).abs() >= VISIBLE
        });
        if moved {
            kept.push(point);
        }
        passed = (!moved).then_some(point);
    }
    kept.extend(passed);
    kept
}

fn small_share(value: f64) -> String {
    if value >= 0.01 {
        format!("{value:.3}")
    } else {
        format!("{value:.2e}")
    }
}

fn shortened(label: &str) -> String {
    cut(label, 16)
}

/// No more than so many letters of a text.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        text.to_owned()
    } else {
        text.chars().take(most - 1).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        let pairs = [
            (0.0, "0"),
            (999.0, "999"),
            (1234567.0, "1,234,567"),
            (1234.5, "1,234.50"),
            (-5000.0, "-5,000"),
            (9.999, "10"),
        ];
        for (value, text) in pairs {
            assert_eq!(grouped(value), text);
        }
    }

    #[test]
    fn a_million_points_become_few() {
        let thinned =
            thin((0..1_000_000).map(|step| (f64::from(step) / 1e6, f64::from(step) / 1e6)));
        assert!(thinned.len() < 1_100, "{}", thinned.len());
        assert_eq!(thinned.last(), Some(&(0.999_999, 0.999_999)));
    }

    #[test]
    fn labels_are_escaped_and_shortened() {
        let labels = [
            "<script>".to_owned(),
            "a label that is far too long".to_owned(),
        ];
        let counts = Confusion::of(&[0, 1], &[0, 1], None, 2);
        let plot = confusion(&counts, &labels).expect("a picture");
        assert!(plot.svg.contains("&lt;script&gt;") && !plot.svg.contains("<script>"));
        assert!(plot.svg.contains('…') && plot.svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn of_very_many_classes_the_most_frequent_are_shown_with_their_labels() {
        let labels: Vec<String> = (0..100).map(|class| format!("k{class:03}")).collect();
        // Class n has n + 1 rows.
        let truths: Vec<u32> = (0..100_u32)
            .flat_map(|class| vec![class; class as usize + 1])
            .collect();
        let counts = Confusion::of(&truths, &truths, None, 100);
        let plot = confusion(&counts, &labels).expect("a picture");
        assert_eq!(plot.title, "Confusion matrix: the 40 most frequent of 100");
        for (class, label) in labels.iter().enumerate() {
            let wanted = if class < 60 { 0 } else { 2 };
            assert_eq!(plot.svg.matches(label.as_str()).count(), wanted, "{label}");
        }
        // Every cell can be seen, and the paper is no larger than they need.
        assert_eq!(plot.svg.matches("height=\"18\"").count(), 1600);
        assert!(plot.svg.starts_with("<svg width=\"1120\" height=\"11"));
        let few = confusion(&Confusion::of(&[0, 1], &[0, 1], None, 2), &labels[..2]);
        let few = few.expect("a picture");
        assert_eq!(few.title, "Confusion matrix");
        assert!(few.svg.starts_with("<svg width=\"1120\" height=\"880\""));
    }

    #[test]
    fn a_title_fits_into_the_picture() {
        let title = "word ".repeat(40);
        let plot = picture("empty", &title, "", 200, |_| Ok(())).expect("a picture");
        assert_eq!(plot.title, title);
        assert!(!plot.svg.contains(title.trim_end()) && plot.svg.contains('…'));
    }
}
