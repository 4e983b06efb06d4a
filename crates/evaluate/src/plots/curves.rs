//! Pictures of how scores order rows: precision and recall, ROC; of one class, or of several in one picture.

use super::*;
use crate::metrics::{Operation, Ranking};

/// The most classes that have a curve each.
pub(crate) const MOST_CURVES: usize = 10;
/// Their colours, told apart on white and on black paper.
const COLOURS: [RGBColor; MOST_CURVES] = [
    ACCENT,
    MARK,
    RGBColor(22, 163, 74),
    RGBColor(220, 38, 38),
    RGBColor(147, 51, 234),
    RGBColor(8, 145, 178),
    RGBColor(219, 39, 119),
    RGBColor(169, 113, 66),
    MUTED,
    INK,
];
/// How wide the names of the classes are.
const LEGEND: i32 = 330;

type Point = (f64, f64);

/// Precision against recall, with the share of positive rows as the baseline.
pub(crate) fn precision_recall(ranking: &Ranking, average: f64, threshold: f64) -> Result<Plot> {
    let prevalence = ranking.positives / (ranking.positives + ranking.negatives);
    let note = format!(
        "average precision {average:.3}; chance reaches {}",
        small_share(prevalence)
    );
    let chance = [(0.0, prevalence), (1.0, prevalence)];
    let mark = precision_at(ranking, ranking.at(threshold));
    picture(
        "precision_recall",
        "Precision and recall",
        &note,
        HEIGHT,
        |area| {
            unit_chart(area, 0.0, "recall", "precision", |chart| {
                let mark = mark.map(|point| (point, threshold));
                draw_curve(chart, &precision_curve(ranking), chance, mark)
            })
        },
    )
}

/// Recall against the share of false alarms.
pub(crate) fn roc(ranking: &Ranking, area_under: f64, threshold: f64) -> Result<Plot> {
    let mark = roc_at(ranking, ranking.at(threshold));
    let note = format!("area under the curve {area_under:.3}; chance reaches 0.5");
    picture(
        "roc",
        "Recall and false alarms (ROC)",
        &note,
        HEIGHT,
        |area| {
            unit_chart(area, 0.0, "share of negatives flagged", "recall", |chart| {
                let mark = Some((mark, threshold));
                draw_curve(chart, &roc_curve(ranking), DIAGONAL, mark)
            })
        },
    )
}

/// Precision against recall of each of these classes, out of so many, against all others.
pub(crate) fn precision_recall_by_class(classes: &[(&str, Ranking)], of: usize) -> Result<Plot> {
    let curves: Vec<Curve<'_>> = classes
        .iter()
        .map(|(label, ranking)| Curve {
            label,
            points: precision_curve(ranking),
            figure: ranking.average_precision(),
        })
        .collect();
    by_class(
        "precision_recall",
        &format!("Precision and recall by class{}", which(classes.len(), of)),
        "each against all others; beside its name its average precision",
        ("recall", "precision"),
        &curves,
        None,
    )
}

/// Recall against the share of false alarms of each of these classes, out of so many, against all others; with the mean area of all.
pub(crate) fn roc_by_class(
    classes: &[(&str, Ranking)],
    of: usize,
    mean: Option<f64>,
) -> Result<Plot> {
    let curves: Vec<Curve<'_>> = classes
        .iter()
        .map(|(label, ranking)| Curve {
            label,
            points: roc_curve(ranking),
            figure: ranking.roc_auc(),
        })
        .collect();
    let mut note = "each against all others, with its area; dashed: chance".to_owned();
    if let Some(mean) = mean {
        note = format!("{note}; mean area {mean:.3}");
    }
    by_class(
        "roc",
        &format!("ROC by class{}", which(classes.len(), of)),
        &note,
        ("share of the others flagged", "recall"),
        &curves,
        Some(DIAGONAL),
    )
}

const DIAGONAL: [Point; 2] = [(0.0, 0.0), (1.0, 1.0)];

/// Recall and precision; no precision where nothing is flagged.
fn precision_at(ranking: &Ranking, operation: Operation) -> Option<Point> {
    let flagged = operation.true_positives + operation.false_positives;
    (flagged > 0.0).then(|| {
        (
            operation.true_positives / ranking.positives,
            operation.true_positives / flagged,
        )
    })
}

/// Precision holds from one recall to the next: the step that average precision sums up.
fn precision_curve(ranking: &Ranking) -> Vec<Point> {
    let mut curve = Vec::new();
    let mut last = 0.0;
    let operations = ranking.operations.iter();
    for (recall, precision) in operations.filter_map(|operation| precision_at(ranking, *operation))
    {
        curve.push((last, precision));
        curve.push((recall, precision));
        last = recall;
    }
    thin(curve)
}

/// The share of false alarms, and recall.
fn roc_at(ranking: &Ranking, operation: Operation) -> Point {
    (
        operation.false_positives / ranking.negatives,
        operation.true_positives / ranking.positives,
    )
}

fn roc_curve(ranking: &Ranking) -> Vec<Point> {
    let operations = ranking.operations.iter();
    let points = operations.map(|operation| roc_at(ranking, *operation));
    thin(std::iter::once((0.0, 0.0)).chain(points))
}

/// What a title says of classes that are left out.
fn which(shown: usize, of: usize) -> String {
    if shown >= of {
        String::new()
    } else if shown == MOST_CURVES {
        format!(": the {shown} most frequent of {of}")
    } else {
        format!(": the {shown} of {of} that occur")
    }
}

/// A class with its curve, and the figure that stands beside its name.
struct Curve<'a> {
    label: &'a str,
    points: Vec<Point>,
    figure: Option<f64>,
}

fn by_class(
    name: &str,
    title: &str,
    note: &str,
    (across, up): (&str, &str),
    curves: &[Curve<'_>],
    chance: Option<[Point; 2]>,
) -> Result<Plot> {
    picture(name, title, note, HEIGHT, |area| {
        let (left, legend) = area.split_horizontally(WIDTH as i32 - LEGEND);
        unit_chart(&left, 0.0, across, up, |chart| {
            if let Some(chance) = chance {
                dashed(chart, chance)?;
            }
            for (curve, colour) in curves.iter().zip(COLOURS) {
                let points = curve.points.iter().copied();
                chart.draw_series(LineSeries::new(points, colour.stroke_width(4)))?;
            }
            Ok(())
        })?;
        for (place, (curve, colour)) in curves.iter().zip(COLOURS).enumerate() {
            let middle = HEADER + 24 + 52 * place as i32;
            let text = |side| {
                TextStyle::from(("sans-serif", TEXT_SIZE - 8).into_font())
                    .color(&INK)
                    .pos(Pos::new(side, VPos::Center))
            };
            let swatch = [(0, middle - 5), (30, middle + 5)];
            legend.draw(&Rectangle::new(swatch, colour.filled()))?;
            legend.draw(&Text::new(
                shortened(curve.label),
                (44, middle),
                text(HPos::Left),
            ))?;
            let figure = curve
                .figure
                .map_or("–".to_owned(), |figure| format!("{figure:.3}"));
            legend.draw(&Text::new(
                figure,
                (LEGEND - MARGIN / 2, middle),
                text(HPos::Right),
            ))?;
        }
        Ok(())
    })
}

/// A curve beside what chance reaches, with the point of a threshold.
fn draw_curve(
    chart: &mut UnitChart<'_, '_>,
    curve: &[Point],
    chance: [Point; 2],
    mark: Option<(Point, f64)>,
) -> Drawn {
    dashed(chart, chance)?;
    let line = LineSeries::new(curve.iter().copied(), ACCENT.stroke_width(5));
    chart.draw_series(line)?;
    if let Some((point, threshold)) = mark {
        chart.draw_series(std::iter::once(Circle::new(point, 11, MARK.filled())))?;
        let label = format!("threshold {}", small_share(threshold));
        let (width, height) = chart.plotting_area().dim_in_pixel();
        let size = (f64::from(width), f64::from(height));
        let lines = [curve, chance.as_slice()];
        let (shift, pos) = beside(point, label.chars().count(), &lines, size);
        let style = TextStyle::from(("sans-serif", TEXT_SIZE - 2).into_font())
            .color(&INK)
            .pos(pos);
        let text = EmptyElement::at(point) + Text::new(label, shift, style);
        chart.draw_series(std::iter::once(text))?;
    }
    Ok(())
}

/// Where a label of so many letters stands beside a point: how far from it, in pixels, and which end of the text that place is. The first
/// place that lies within the axes and that no line runs through; axes go from 0 to 1, and are so many pixels wide and high.
fn beside(
    point: Point,
    letters: usize,
    lines: &[&[Point]],
    (width, height): (f64, f64),
) -> ((i32, i32), Pos) {
    // To the right or not, below or not.
    const SIDES: [(bool, bool); 4] = [(true, true), (false, false), (false, true), (true, false)];
    const DISTANCES: [f64; 3] = [1.0, 2.5, 5.0];
    // About the size of the text.
    let text = (14.0 * letters as f64, 34.0);
    // Pixels are counted from above.
    let pixel = |(x, y): Point| (x * width, (1.0 - y) * height);
    let (x, y) = pixel(point);
    let gap = |far: f64| (22.0 * far, 12.0 * far);
    let is_free = |&(far, (right, below)): &(f64, (bool, bool))| {
        let (across, down) = gap(far);
        let left = if right {
            x + across
        } else {
            x - across - text.0
        };
        let top = if below { y + down } else { y - down - text.1 };
        let corners = ((left, top), (left + text.0, top + text.1));
        let is_inside =
            left >= 0.0 && top >= 0.0 && left + text.0 <= width && top + text.1 <= height;
        let mut pairs = lines.iter().flat_map(|line| line.windows(2));
        is_inside && !pairs.any(|pair| runs_through(pixel(pair[0]), pixel(pair[1]), corners))
    };
    let mut places = DISTANCES
        .iter()
        .flat_map(|far| SIDES.iter().map(move |side| (*far, *side)));
    // Where no place is free, that where there is most room.
    let crowded = (1.0, (x < width * 0.6, y < height * 0.85));
    let (far, (right, below)) = places.find(is_free).unwrap_or(crowded);
    let (across, down) = gap(far);
    let (side, across) = if right {
        (HPos::Left, across)
    } else {
        (HPos::Right, -across)
    };
    let (edge, down) = if below {
        (VPos::Top, down)
    } else {
        (VPos::Bottom, -down)
    };
    ((across as i32, down as i32), Pos::new(side, edge))
}

/// Whether the straight line between two points runs through a rectangle, by its corner of lowest and that of highest numbers.
fn runs_through(from: Point, to: Point, (low, high): (Point, Point)) -> bool {
    // The stretch of the line between both pairs of sides, in shares of its length (Liang and Barsky, 1984).
    let (mut first, mut last) = (0.0_f64, 1.0_f64);
    for (start, end, low, high) in [(from.0, to.0, low.0, high.0), (from.1, to.1, low.1, high.1)] {
        let step = end - start;
        if step == 0.0 {
            if start < low || start > high {
                return false;
            }
            continue;
        }
        let (one, other) = ((low - start) / step, (high - start) / step);
        first = first.max(one.min(other));
        last = last.min(one.max(other));
    }
    first <= last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_rectangles() {
        let corners = ((2.0, 2.0), (4.0, 3.0));
        let is_met = |from, to| runs_through(from, to, corners);
        assert!(is_met((0.0, 0.0), (5.0, 5.0)));
        assert!(is_met((3.0, 0.0), (3.0, 9.0)));
        assert!(is_met((2.5, 2.5), (3.0, 2.5)), "from within");
        assert!(!is_met((0.0, 0.0), (1.5, 1.5)), "it ends before");
        assert!(!is_met((0.0, 1.0), (9.0, 1.0)), "beside");
        assert!(!is_met((0.0, 3.0), (1.0, 5.0)));
    }

    #[test]
    fn a_label_stands_where_no_line_runs() {
        let size = (920.0, 616.0);
        let place = |point: Point, curve: &[Point]| {
            let ((across, down), _) = beside(point, 15, &[curve, DIAGONAL.as_slice()], size);
            (across, down)
        };
        // A good curve leaves the side to the right free, below it.
        let good = [(0.0, 0.0), (0.02, 0.95), (1.0, 1.0)];
        assert_eq!(place((0.02, 0.95), &good), (22, 12));
        // Nearer to the diagonal it would be struck through; above to the left is nothing.
        let weak = [(0.0, 0.0), (0.5, 0.7), (1.0, 1.0)];
        assert_eq!(place((0.5, 0.7), &weak), (-22, -12));
        // There is no room to the left: further to the right, beyond the diagonal.
        let low = [(0.0, 0.0), (0.1, 0.15), (1.0, 1.0)];
        assert_eq!(place((0.1, 0.15), &low), (55, 30));
    }

    #[test]
    fn what_chance_reaches_is_one_dashed_line() {
        let scores = [0.9, 0.8, 0.3, 0.2];
        let ranking = Ranking::of(&scores, &[true, false, true, false], None);
        let plot = roc(&ranking, 0.75, 0.5).expect("a picture");
        assert_eq!(plot.svg.matches("stroke-dasharray").count(), 1);
        assert!(!plot.svg.contains("0.999"), "{}", plot.svg);
    }

    #[test]
    fn a_line_for_each_class_with_its_name_and_area() {
        let scores = [0.9, 0.8, 0.3, 0.2];
        let classes: Vec<(&str, Ranking)> = [
            ("<good>", [true, true, false, false]),
            ("bad", [true, false, true, false]),
        ]
        .map(|(label, truths)| (label, Ranking::of(&scores, &truths, None)))
        .to_vec();
        let plot = roc_by_class(&classes, 2, Some(0.875)).expect("a picture");
        assert_eq!(plot.title, "ROC by class");
        assert!(plot.svg.contains("mean area 0.875"));
        for text in ["&lt;good&gt;", "bad", "1.000", "0.750"] {
            assert!(plot.svg.contains(&format!("\n{text}\n")), "{text}");
        }
        let lines = plot.svg.matches("stroke-width=\"4\"").count();
        assert_eq!(lines, 2);
        let plot = precision_recall_by_class(&classes, 3).expect("a picture");
        assert_eq!(
            plot.title,
            "Precision and recall by class: the 2 of 3 that occur"
        );
    }
}
