//! A profile as one HTML page that needs nothing else.

use std::fmt::Write as _;

use super::{ColumnProfile, Frequency, Histogram, Profile, figure, percent};
use crate::report::{STYLE, escaped};

const MORE_STYLE: &str = include_str!("page.css");

/// Correlations of at most so many columns are shown as a matrix, of more as a list.
const MATRIX: usize = 16;
/// Pairs that a list shows.
const LISTED: usize = 40;

/// The profile as one self-contained HTML page: no script, no link, pictures inline. All text is escaped.
pub fn profile_html(profile: &Profile) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write_page(&mut page, profile);
    page
}

fn write_page(page: &mut String, profile: &Profile) -> std::fmt::Result {
    let title = escaped(&profile.name);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Profile of {title}</title>\n\
         <style>\n{STYLE}{MORE_STYLE}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#columns\">Skip to the columns</a>\n\
         <main>\n<header>\n<h1>{title}</h1>\n<p class=\"about\">Profile of the rows and their columns</p>\n</header>\n"
    )?;
    write_facts(page, profile)?;
    write_overview(page, profile)?;
    for (index, column) in profile.columns.iter().enumerate() {
        write_column(page, index, column, profile.rows)?;
    }
    write_correlations(page, profile)?;
    write_associations(page, profile)?;
    if !profile.expectations.is_empty() {
        writeln!(
            page,
            "<section aria-labelledby=\"expectations\">\n<h2 id=\"expectations\">Expectations</h2>\n\
             <p class=\"about\">They hold for these rows, with some room. Take into a pipeline what must hold for all rows to come.</p>\n\
             <pre tabindex=\"0\"><code>{}</code></pre>\n</section>",
            escaped(&profile.expectations)
        )?;
    }
    page.push_str("</main>\n</body>\n</html>\n");
    Ok(())
}

fn whole(count: usize) -> String {
    crate::plots::grouped(count as f64)
}

fn write_facts(page: &mut String, profile: &Profile) -> std::fmt::Result {
    let cells = profile.rows * profile.columns.len();
    let nulls: usize = profile.columns.iter().map(|column| column.nulls).sum();
    let duplicates = match profile.duplicate_rows {
        Some(count) => format!("{} ({})", whole(count), percent(count, profile.rows)),
        None => "not comparable".to_owned(),
    };
    page.push_str("<dl class=\"facts\">\n");
    for (name, value) in [
        ("rows", whole(profile.rows)),
        ("columns", whole(profile.columns.len())),
        ("nulls", percent(nulls, cells)),
        ("duplicate rows", duplicates),
    ] {
        writeln!(
            page,
            "<div><dt>{name}</dt><dd>{}</dd></div>",
            escaped(&value)
        )?;
    }
    page.push_str("</dl>\n");
    Ok(())
}

fn write_overview(page: &mut String, profile: &Profile) -> std::fmt::Result {
    page.push_str(
        "<section aria-labelledby=\"columns\">\n<h2 id=\"columns\">Columns</h2>\n<div class=\"scroll\" tabindex=\"0\"><table>\n\
         <thead><tr><th scope=\"col\">column</th><th scope=\"col\">type</th><th scope=\"col\" class=\"number\">nulls</th>\
         <th scope=\"col\" class=\"number\">different</th><th scope=\"col\">values</th></tr></thead>\n<tbody>\n",
    );
    for (index, column) in profile.columns.iter().enumerate() {
        writeln!(
            page,
            "<tr><th scope=\"row\"><a href=\"#column-{index}\">{}</a></th><td>{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td><td>{}</td></tr>",
            escaped(&column.name),
            escaped(&column.dtype),
            escaped(&percent(column.nulls, profile.rows)),
            column.distinct.map_or_else(|| "–".to_owned(), whole),
            escaped(&column.in_short())
        )?;
    }
    page.push_str("</tbody>\n</table></div>\n</section>\n");
    Ok(())
}

fn write_column(
    page: &mut String,
    index: usize,
    column: &ColumnProfile,
    rows: usize,
) -> std::fmt::Result {
    writeln!(
        page,
        "<section class=\"column\" aria-labelledby=\"column-{index}\">\n<h3 id=\"column-{index}\">{} <span class=\"note\">{}</span></h3>\n\
         <div class=\"parts\">",
        escaped(&column.name),
        escaped(&column.dtype)
    )?;
    page.push_str("<dl class=\"figures\">\n");
    for (name, value) in column.figures(rows) {
        writeln!(
            page,
            "<div><dt>{name}</dt><dd>{}</dd></div>",
            escaped(&value)
        )?;
    }
    page.push_str("</dl>\n");
    if let Some(histogram) = &column.histogram {
        write_histogram(page, &column.name, histogram)?;
    }
    if !column.frequent.is_empty() {
        write_frequent(page, &column.frequent, rows)?;
    }
    page.push_str("</div>\n</section>\n");
    Ok(())
}

fn write_histogram(page: &mut String, name: &str, histogram: &Histogram) -> std::fmt::Result {
    const WIDTH: f64 = 480.0;
    const HEIGHT: f64 = 120.0;
    let bins = histogram.counts.len();
    let most = histogram.counts.iter().copied().max().unwrap_or(0).max(1);
    let first = histogram
        .edges
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    let last = histogram
        .edges
        .last()
        .map(String::as_str)
        .unwrap_or_default();
    let label = format!(
        "Histogram of {name}: {bins} bins from {first} to {last}, at most {} values in one",
        whole(most)
    );
    writeln!(
        page,
        "<figure>\n<svg class=\"histogram\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\" preserveAspectRatio=\"none\">",
        escaped(&label)
    )?;
    let step = WIDTH / bins as f64;
    for (bin, count) in histogram.counts.iter().enumerate() {
        if *count == 0 {
            continue;
        }
        // What is there is seen, however little it is.
        let height = (HEIGHT * *count as f64 / most as f64).max(1.5);
        let edges = histogram.edges.get(bin).zip(histogram.edges.get(bin + 1));
        let (from, to) = edges.map_or(("", ""), |(from, to)| (from, to));
        writeln!(
            page,
            "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{height:.2}\"><title>{} to {}: {}</title></rect>",
            bin as f64 * step,
            HEIGHT - height,
            (step - 1.0).max(step * 0.8),
            escaped(from),
            escaped(to),
            whole(*count)
        )?;
    }
    writeln!(
        page,
        "</svg>\n<figcaption><span>{}</span><span>{}</span></figcaption>",
        escaped(first),
        escaped(last)
    )?;
    if histogram.below + histogram.above > 0 {
        writeln!(
            page,
            "<p class=\"note\">not shown: {} below, {} above</p>",
            whole(histogram.below),
            whole(histogram.above)
        )?;
    }
    page.push_str("</figure>\n");
    Ok(())
}

fn write_frequent(page: &mut String, frequent: &[Frequency], rows: usize) -> std::fmt::Result {
    page.push_str(
        "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr><th scope=\"col\">frequent value</th>\
         <th scope=\"col\" class=\"number\">rows</th><th scope=\"col\" class=\"number\">share</th></tr></thead>\n<tbody>\n",
    );
    for one in frequent {
        let share = 100.0 * one.count as f64 / rows.max(1) as f64;
        writeln!(
            page,
            "<tr><th scope=\"row\" class=\"bar\" style=\"--share: {share:.2}%\"><code>{}</code></th><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td></tr>",
            escaped(&shown(&one.value)),
            whole(one.count),
            escaped(&percent(one.count, rows))
        )?;
    }
    page.push_str("</tbody>\n</table></div>\n");
    Ok(())
}

/// Long texts are cut; an empty one is said to be so.
fn shown(value: &str) -> String {
    const MOST: usize = 60;
    if value.is_empty() {
        return "(empty)".to_owned();
    }
    if value.chars().count() <= MOST {
        return value.to_owned();
    }
    value.chars().take(MOST - 1).chain(['…']).collect()
}

fn compared(profile: &Profile) -> String {
    let rows = if profile.compared_rows < profile.rows {
        format!(
            "on {} evenly spaced rows of {}",
            whole(profile.compared_rows),
            whole(profile.rows)
        )
    } else {
        "on the rows that have both values".to_owned()
    };
    match profile.uncompared_columns {
        0 => rows,
        count => format!("{rows}; {count} columns are left out"),
    }
}

fn write_correlations(page: &mut String, profile: &Profile) -> std::fmt::Result {
    if profile.correlations.is_empty() {
        return Ok(());
    }
    let is_compared = |name: &str| {
        profile
            .correlations
            .iter()
            .any(|pair| pair.left == name || pair.right == name)
    };
    let names: Vec<&str> = profile
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .filter(|name| is_compared(name))
        .collect();
    writeln!(
        page,
        "<section aria-labelledby=\"correlations\">\n<h2 id=\"correlations\">Correlations</h2>\n\
         <p class=\"about\">Columns of numbers, {}</p>",
        escaped(&compared(profile))
    )?;
    if names.len() > MATRIX {
        let rows = profile.correlations.iter().take(LISTED).map(|pair| {
            let figures = vec![
                format!("{:.3}", pair.pearson),
                format!("{:.3}", pair.spearman),
            ];
            (pair.left.as_str(), pair.right.as_str(), figures)
        });
        write_pairs(page, &["Pearson", "Spearman"], rows)?;
    } else {
        page.push_str(
            "<p class=\"note\">Pearson below the diagonal, Spearman above it.</p>\n<div class=\"scroll\" tabindex=\"0\"><table class=\"matrix\">\n<thead><tr><td></td>",
        );
        for name in &names {
            write!(
                page,
                "<th scope=\"col\" class=\"number\">{}</th>",
                escaped(name)
            )?;
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for (row, one) in names.iter().enumerate() {
            write!(page, "<tr><th scope=\"row\">{}</th>", escaped(one))?;
            for (column, other) in names.iter().enumerate() {
                let pair = profile.correlations.iter().find(|pair| {
                    (pair.left == *one && pair.right == *other)
                        || (pair.left == *other && pair.right == *one)
                });
                let value = pair.map(|pair| {
                    if column < row {
                        pair.pearson
                    } else {
                        pair.spearman
                    }
                });
                match value {
                    Some(value) if row != column => write!(
                        page,
                        "<td class=\"number cell {}\" style=\"--strength: {:.0}%\">{value:.2}</td>",
                        if value < 0.0 { "falls" } else { "rises" },
                        60.0 * value.abs()
                    )?,
                    _ => page.push_str("<td class=\"number\">–</td>"),
                }
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody>\n</table></div>\n");
    }
    page.push_str("</section>\n");
    Ok(())
}

fn write_associations(page: &mut String, profile: &Profile) -> std::fmt::Result {
    if profile.associations.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "<section aria-labelledby=\"associations\">\n<h2 id=\"associations\">Categories that go together</h2>\n\
         <p class=\"about\">Cramér’s V, {}</p>",
        escaped(&compared(profile))
    )?;
    let rows = profile.associations.iter().take(LISTED).map(|pair| {
        let figures = vec![format!("{:.3}", pair.cramers_v)];
        (pair.left.as_str(), pair.right.as_str(), figures)
    });
    write_pairs(page, &["Cramér’s V"], rows)?;
    page.push_str("</section>\n");
    Ok(())
}

fn write_pairs<'p>(
    page: &mut String,
    headings: &[&str],
    pairs: impl Iterator<Item = (&'p str, &'p str, Vec<String>)>,
) -> std::fmt::Result {
    page.push_str(
        "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr><th scope=\"col\">one column</th><th scope=\"col\">the other</th>",
    );
    for heading in headings {
        write!(page, "<th scope=\"col\" class=\"number\">{heading}</th>")?;
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for (left, right, figures) in pairs {
        write!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td>",
            escaped(left),
            escaped(right)
        )?;
        for figure in figures {
            write!(page, "<td class=\"number\">{figure}</td>")?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
    Ok(())
}

impl ColumnProfile {
    /// What the values are, in a line.
    pub fn in_short(&self) -> String {
        if self.is_private {
            return "personal data, not shown".to_owned();
        }
        if self.count == 0 {
            return "no values".to_owned();
        }
        if let Some(numbers) = &self.numbers {
            let figures = format!(
                "{} to {}, quartiles {}, {}, {}, mean {}",
                figure(numbers.min),
                figure(numbers.max),
                figure(numbers.quantiles.p25),
                figure(numbers.quantiles.median),
                figure(numbers.quantiles.p75),
                figure(numbers.mean)
            );
            // What the figures leave out.
            let left_out = [
                (numbers.not_a_number, "NaN"),
                (numbers.infinite, "infinite"),
            ]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", whole(count)));
            return std::iter::once(figures)
                .chain(left_out)
                .collect::<Vec<_>>()
                .join(", ");
        }
        if let Some(times) = &self.times {
            return format!("{} to {}", times.first, times.last);
        }
        let frequent: Vec<String> = self
            .frequent
            .iter()
            .take(3)
            .map(|one| format!("{} ({})", shown(&one.value), percent(one.count, self.count)))
            .collect();
        if !frequent.is_empty() {
            return frequent.join(", ");
        }
        match &self.texts {
            Some(texts) => format!("{} to {} characters", texts.shortest, texts.longest),
            None if self.dtype.starts_with('f') => "NaN or infinite only".to_owned(),
            None => String::new(),
        }
    }

    /// How the values are spread, as a row of bars; none where there is no histogram.
    pub fn bars(&self) -> Option<String> {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        /// As many as stand beside figures.
        const MOST: usize = 12;
        let histogram = self.histogram.as_ref().filter(|_| !self.is_private)?;
        let together = histogram.counts.len().div_ceil(MOST).max(1);
        let counts: Vec<usize> = histogram
            .counts
            .chunks(together)
            .map(|counts| counts.iter().sum())
            .collect();
        let most = counts.iter().copied().max().filter(|most| *most > 0)?;
        let bar = |count: &usize| BARS[(count * (BARS.len() - 1)).div_ceil(most)];
        Some(counts.iter().map(bar).collect())
    }

    /// Every figure with its name.
    fn figures(&self, rows: usize) -> Vec<(&'static str, String)> {
        let share = |count: usize| format!("{} ({})", whole(count), percent(count, rows));
        let mut figures = vec![("values", whole(self.count)), ("nulls", share(self.nulls))];
        if let Some(distinct) = self.distinct {
            figures.push(("different", share(distinct)));
        }
        if self.is_private {
            figures.push(("personal data", "values are not shown".to_owned()));
        }
        if let Some(numbers) = &self.numbers {
            let quantiles = &numbers.quantiles;
            for (name, value) in [
                ("mean", numbers.mean),
                ("min", numbers.min),
                ("1 %", quantiles.p01),
                ("5 %", quantiles.p05),
                ("25 %", quantiles.p25),
                ("median", quantiles.median),
                ("75 %", quantiles.p75),
                ("95 %", quantiles.p95),
                ("99 %", quantiles.p99),
                ("max", numbers.max),
            ] {
                figures.push((name, figure(value)));
            }
            if let Some(deviation) = numbers.standard_deviation {
                figures.push(("standard deviation", figure(deviation)));
            }
            for (name, count) in [
                ("zeros", numbers.zeros),
                ("negative", numbers.negative),
                ("infinite", numbers.infinite),
                ("not a number", numbers.not_a_number),
            ] {
                if count > 0 {
                    figures.push((name, share(count)));
                }
            }
        }
        if let Some(texts) = &self.texts {
            figures.push(("shortest", whole(texts.shortest)));
            figures.push(("longest", whole(texts.longest)));
            figures.push(("mean length", figure(texts.mean_length)));
            for (name, count) in [("empty", texts.empty), ("white space around", texts.padded)] {
                if count > 0 {
                    figures.push((name, share(count)));
                }
            }
        }
        if let Some(times) = &self.times {
            figures.push(("first", times.first.clone()));
            figures.push(("last", times.last.clone()));
            if let Some(step) = times.step_seconds {
                let name = if times.is_regular {
                    "every step"
                } else {
                    "usual step"
                };
                figures.push((name, span(step)));
            }
            let order = if times.is_in_order {
                "in order of time"
            } else {
                "not in order of time"
            };
            figures.push(("rows", order.to_owned()));
            for gap in &times.gaps {
                let text = format!("{} from {} to {}", span(gap.seconds), gap.after, gap.before);
                figures.push(("gap", text));
            }
        }
        figures
    }
}

/// Seconds in the two largest units that they fill.
fn span(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{} s", figure(seconds));
    }
    let whole = seconds.round() as u64;
    let parts = [
        (whole / 86_400, "d"),
        (whole / 3600 % 24, "h"),
        (whole / 60 % 60, "min"),
        (whole % 60, "s"),
    ];
    let shown: Vec<String> = parts
        .iter()
        .skip_while(|(count, _)| *count == 0)
        .take(2)
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        assert_eq!(span(1.5), "1.5 s");
        assert_eq!(span(60.0), "1 min");
        assert_eq!(span(90_061.0), "1 d 1 h");
        assert_eq!(span(86_400.0 * 400.0), "400 d");
        assert_eq!(span(3_723.0), "1 h 2 min");
    }
}
