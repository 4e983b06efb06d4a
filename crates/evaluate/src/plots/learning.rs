//! Pictures of a training, round by round.

use std::collections::BTreeSet;

use taktline_core::Round;

use super::{
    numbers::{axis_number, number_chart, range_of},
    *,
};

/// What a figure of the validation rows is called beside that of the training rows.
const VALIDATION: &str = "validation_";

/// A picture for each figure of the rounds, such as `loss`, on the training and, where there are any, the validation rows.
pub(crate) fn learning_curves(history: &[Round]) -> Result<Vec<Plot>> {
    let figures: BTreeSet<&str> = history
        .iter()
        .flat_map(Round::keys)
        .map(|name| name.strip_prefix(VALIDATION).unwrap_or(name))
        .collect();
    figures
        .into_iter()
        .filter_map(|figure| curve(figure, history).transpose())
        .collect()
}

/// Nothing where no round has a finite value.
fn curve(figure: &str, history: &[Round]) -> Result<Option<Plot>> {
    let line = |name: &str| -> Vec<(f64, f64)> {
        let rounds = history.iter().enumerate();
        let points = rounds.filter_map(|(place, round)| {
            let value = *round.get(name)?;
            value.is_finite().then_some((place as f64 + 1.0, value))
        });
        points.collect()
    };
    let training = line(figure);
    let validation = line(&format!("{VALIDATION}{figure}"));
    let Some(&(_, last)) = validation.last().or(training.last()) else {
        return Ok(None);
    };
    let lines = range_of(training.iter().chain(&validation).map(|point| point.1));
    let span = lines.end - lines.start;
    let at_end = axis_number(last, span);
    let note = match (training.is_empty(), validation.is_empty()) {
        (false, true) => format!("on the training rows; {at_end} at the end"),
        (true, _) => format!("on the validation rows; {at_end} at the end"),
        (false, false) => {
            format!("blue: validation rows, {at_end} at the end; grey: training rows")
        }
    };
    let words = figure.replace('_', " ");
    let title = format!("Learning curve: {words}");
    let rounds = history.len() as f64;
    // One round alone stands in the middle.
    let columns = if rounds > 1.0 { 1.0..rounds } else { 0.5..1.5 };
    let name = format!("learning_{figure}");
    let drawn = picture(&name, &title, &note, HEIGHT, |area| {
        number_chart(area, (columns, lines), "epoch", &words, |chart| {
            let alone = validation.is_empty();
            let groups = [
                (&training, if alone { ACCENT } else { MUTED }),
                (&validation, ACCENT),
            ];
            for (points, colour) in groups {
                let style = colour.stroke_width(5);
                chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
                // Few rounds are seen as such; many would be a chain of pearls.
                if points.len() <= 30 {
                    let dots = points
                        .iter()
                        .map(|point| Circle::new(*point, 8, colour.filled()));
                    chart.draw_series(dots)?;
                }
            }
            Ok(())
        })
    })?;
    Ok(Some(drawn))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(figures: &[(&str, f64)]) -> Round {
        let figures = figures
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value));
        figures.collect()
    }

    #[test]
    fn a_picture_for_each_figure_with_both_parts() {
        let history = [(0.9, 1.0, 0.5), (0.5, 0.7, 0.75), (0.3, 0.8, 0.85)].map(
            |(loss, validation, accuracy)| {
                round(&[
                    ("loss", loss),
                    ("validation_loss", validation),
                    ("accuracy", accuracy),
                ])
            },
        );
        let plots = learning_curves(&history).expect("pictures");
        let names: Vec<&str> = plots.iter().map(|plot| plot.name.as_str()).collect();
        assert_eq!(names, ["learning_accuracy", "learning_loss"]);
        assert!(
            plots[0]
                .svg
                .contains("on the training rows; 0.85 at the end")
        );
        assert!(
            plots[1]
                .svg
                .contains("blue: validation rows, 0.8 at the end")
        );
        assert_eq!(plots[1].svg.matches("<circle").count(), 6);
    }

    #[test]
    fn one_round_and_rounds_without_a_value() {
        let alone = learning_curves(&[round(&[("loss", 0.5)])]).expect("pictures");
        assert_eq!(alone.len(), 1);
        assert!(!alone[0].svg.contains("NaN"));
        let diverged = [
            round(&[("loss", f64::NAN)]),
            round(&[("loss", f64::INFINITY)]),
        ];
        assert_eq!(learning_curves(&diverged).expect("nothing to show"), []);
        assert_eq!(learning_curves(&[]).expect("nothing to show"), []);
    }
}
