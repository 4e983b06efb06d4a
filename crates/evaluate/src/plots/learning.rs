//! Pictures of a training, round by round.

use std::collections::BTreeSet;

use taktline_core::Round;

use super::{
    numbers::{axis_number, chart_with_labels, range_of},
    *,
};

/// What a figure of the validation rows is called beside that of the training rows.
const VALIDATION: &str = "validation_";

/// A picture for each figure of the rounds, such as `loss`, on the training and, where there are any, the validation rows. The round with
/// the lowest validation loss is marked: the one that is kept where the best is.
pub(crate) fn learning_curves(history: &[Round]) -> Result<Vec<Plot>> {
    let figures: BTreeSet<&str> = history
        .iter()
        .flat_map(Round::keys)
        .map(|name| name.strip_prefix(VALIDATION).unwrap_or(name))
        .collect();
    let best = lowest(history);
    figures
        .into_iter()
        .filter_map(|figure| curve(figure, history, best).transpose())
        .collect()
}

/// The round with the lowest validation loss, from 1; of equal ones the first.
fn lowest(history: &[Round]) -> Option<usize> {
    let losses = history.iter().enumerate().filter_map(|(place, round)| {
        let loss = *round.get("validation_loss")?;
        loss.is_finite().then_some((place + 1, loss))
    });
    let best = losses.reduce(|best, next| if next.1 < best.1 { next } else { best });
    best.map(|(round, _)| round)
}

/// Nothing where no round has a finite value.
fn curve(figure: &str, history: &[Round], best: Option<usize>) -> Result<Option<Plot>> {
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
    let judged = if validation.is_empty() {
        &training
    } else {
        &validation
    };
    let (Some(&(_, first)), Some(&(_, last))) = (judged.first(), judged.last()) else {
        return Ok(None);
    };
    let at_best = best.filter(|_| !validation.is_empty()).and_then(|best| {
        let mut points = validation.iter();
        points.find(|point| point.0 == best as f64).copied()
    });
    let lines = range_of(training.iter().chain(&validation).map(|point| point.1));
    let span = lines.end - lines.start;
    let at_first = axis_number(first, span);
    let later = match at_best {
        Some((epoch, value)) => format!("{} in epoch {epoch}", axis_number(value, span)),
        None => format!("{} at the end", axis_number(last, span)),
    };
    let note = match (training.is_empty(), validation.is_empty()) {
        (false, true) => format!("on the training rows; {at_first} at first, {later}"),
        (true, _) => format!("on the validation rows; {at_first} at first, {later}"),
        (false, false) => {
            format!("blue: validation rows, {at_first} at first, {later}; grey: training rows")
        }
    };
    let across = match at_best {
        Some(_) => "epoch (orange: lowest validation loss)",
        None => "epoch",
    };
    let words = figure.replace('_', " ");
    let title = format!("Learning curve: {words}");
    let rounds = history.len() as f64;
    // One round alone stands in the middle.
    let columns = if rounds > 1.0 { 1.0..rounds } else { 0.5..1.5 };
    let name = format!("learning_{figure}");
    let drawn = picture(&name, &title, &note, HEIGHT, |area| {
        // No more marks than epochs: there is nothing between two of them.
        let marks = history.len().clamp(1, 6);
        let label = |epoch: &f64| axis_number(*epoch, rounds);
        let ranges = (columns, lines);
        chart_with_labels(area, ranges, (across, marks), &words, &label, |chart| {
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
            let mark = at_best.map(|point| Circle::new(point, 12, MARK.filled()));
            chart.draw_series(mark)?;
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
                .contains("on the training rows; 0.5 at first, 0.85 at the end")
        );
        assert!(
            plots[1]
                .svg
                .contains("blue: validation rows, 1 at first, 0.7 in epoch 2; grey")
        );
        assert_eq!(plots[1].svg.matches("<circle").count(), 6 + 1);
        assert_eq!(plots[0].svg.matches("<circle").count(), 3);
    }

    #[test]
    fn the_round_of_the_lowest_validation_loss_is_marked_in_every_picture() {
        let history = [(0.9, 0.5), (0.6, 0.8), (0.6, 0.9), (0.7, 0.95)].map(|(loss, accuracy)| {
            round(&[("validation_loss", loss), ("validation_accuracy", accuracy)])
        });
        let plots = learning_curves(&history).expect("pictures");
        assert!(
            plots[0]
                .svg
                .contains("on the validation rows; 0.5 at first, 0.8 in epoch 2")
        );
        for plot in &plots {
            assert!(plot.svg.contains("epoch (orange: lowest validation loss)"));
            assert_eq!(plot.svg.matches("#D97706").count(), 1);
        }
    }

    #[test]
    fn epochs_are_whole_numbers() {
        for rounds in [2, 3, 5, 7, 40] {
            let history: Vec<Round> = (0..rounds)
                .map(|place| round(&[("loss", 200.0 - f64::from(place))]))
                .collect();
            let plot = &learning_curves(&history).expect("pictures")[0];
            // Numbers below the axis are the ones that stand in the middle of their marks.
            let epochs: Vec<&str> = plot
                .svg
                .split("text-anchor=\"middle\"")
                .skip(1)
                .filter_map(|text| text.split('\n').nth(1))
                .filter(|text| text.starts_with(|letter: char| letter.is_ascii_digit()))
                .collect();
            assert!(epochs.len() > 1, "{rounds} rounds: {epochs:?}");
            for epoch in epochs {
                assert!(epoch.parse::<u32>().is_ok(), "{rounds} rounds: {epoch}");
            }
        }
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
