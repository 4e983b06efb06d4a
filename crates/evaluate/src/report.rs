//! A run's report: one HTML page that needs nothing else, on light and dark screens and on paper.

use std::fmt::Write as _;

use taktline_core::{Evaluation, Table, counted};

pub(crate) const STYLE: &str = include_str!("report.css");

/// The report of a run as one self-contained HTML page: no script, no link, pictures inline.
///
/// `facts` are shown as name and value (seed, rows, time, bundle), `tables` follow the evaluations (stages, gates); an evaluation
/// comes with its stage's id. All text is escaped; only the SVG of plots is taken as it is.
pub fn report_html(
    title: &str,
    about: Option<&str>,
    facts: &[(String, String)],
    evaluations: &[(String, Evaluation)],
    tables: &[Table],
) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write_page(&mut page, title, about, facts, evaluations, tables);
    page
}

/// What a metric says, in a few words; empty for a metric that is not known here.
pub fn metric_about(name: &str) -> &'static str {
    match name {
        "average_precision" => "mean precision over all recalls",
        "roc_auc" => "chance that a positive row scores above a negative one",
        "precision" => "share of flagged rows that are positive",
        "recall" => "share of positive rows that are flagged",
        "f1" => "harmonic mean of precision and recall",
        "accuracy" => "share of rows predicted right",
        "balanced_accuracy" => "mean recall of the classes that occur",
        "log_loss" => "how surprised the model is by the truth; lower is better",
        "brier" => "mean squared error of the probability; lower is better",
        "cost" => "cost of all mistakes at the threshold in use",
        "cost_at_0_5" => "cost of all mistakes at the threshold 0.5",
        "cost_at_chosen_threshold" => "cost of all mistakes at `chosen_threshold`",
        "chosen_threshold" => "threshold at which mistakes cost least on other rows",
        "baseline_average_precision" => "what chance reaches: the share of positive rows",
        "baseline_accuracy" => "always saying the most frequent label",
        "f1_macro" => "mean F1 of the classes",
        "f1_weighted" => "mean F1 of the classes by their rows",
        "precision_macro" => "mean precision of the classes",
        "recall_macro" => "mean recall of the classes; 0 for one that is only predicted",
        "roc_auc_macro" => "mean over the classes of `roc_auc` against all others",
        "calibration_error" => "mean distance of predicted from observed shares; lower is better",
        "rmse" => "root of the mean squared error, in the target's unit",
        "mae" => "mean size of the errors, in the target's unit",
        "median_absolute_error" => "median size of the errors, in the target's unit",
        "r2" => "share of the truths' variance that is explained",
        "mape" => "mean size of the errors as shares of the truths",
        "bias" => "mean of prediction minus truth, in the target's unit",
        "mean_deviance" => "how far from the truths, for the family; lower is better",
        "d2" => "share of the deviance that is explained",
        "pinball_loss" => "loss of the predicted quantile, in the target's unit",
        "coverage" => "share of truths inside the interval",
        "mean_width" => "mean width of the interval, in the target's unit",
        "wape" => "sum of the errors' sizes over the sum of the truths' sizes",
        "mase" => "mean size of the errors over that of steps from a season before",
        "wape_deviation" => "how much `wape` differs from fold to fold (standard deviation)",
        "silhouette" => "how much nearer rows lie to their own cluster than to the next",
        "davies_bouldin" => "how alike each cluster is to its nearest; lower is better",
        "calinski_harabasz" => "spread between clusters over spread within them",
        "clusters" => "how many clusters there are",
        "noise_share" => "share of rows in no cluster",
        "adjusted_rand" => "pairs of rows that clusters and classes agree on, beyond chance",
        "normalized_mutual_information" => "how much clusters tell of classes, from 0 to 1",
        "false_alarm_rate" => "share of ordinary rows that are flagged",
        "flagged_share" => "share of rows that are flagged",
        "r_precision" => "precision among as many highest scores as there are anomalies",
        "concordance" => {
            "chance that of two rows the one with the earlier event has the higher risk"
        }
        "event_share" => "share of rows with an event",
        "mrr" => "mean of one over the place of the first relevant row",
        "baseline_concordance" => "what an order by chance reaches",
        "baseline_wape" => "the same error of the seasonal naive forecast",
        "baseline_rmse" | "baseline_mae" | "baseline_mean_deviance" | "baseline_pinball_loss" => {
            "the same error of what needs no model"
        }
        "baseline_silhouette" | "baseline_normalized_mutual_information" => {
            "what clusters by chance reach"
        }
        name if name.ends_with("_skill") => "share of the baseline's error that the model saves",
        name if name.ends_with("pct_false_alarms") => "recall while so few negatives are flagged",
        name if name.starts_with("baseline_") => "what chance reaches",
        name if name.starts_with("precision_at_") => "precision among the first so many",
        name if name.starts_with("recall_at_") => {
            "share of the relevant rows among the first so many"
        }
        name if name.starts_with("ndcg_at_") => {
            "discounted gain of the first so many over the best"
        }
        name if name.starts_with("map_at_") => "mean average precision of the first so many",
        name if name.starts_with("hit_rate_at_") => {
            "share of groups with a hit among the first so many"
        }
        name if name.starts_with("item_coverage_at_") => {
            "share of items among the first so many of a group"
        }
        name if name.starts_with("worst_slice_") => "the worst value that a slice has",
        name if name.starts_with("worst_") => {
            "the worst value that a slice has, or a fold of a backtest"
        }
        _ => "",
    }
}

fn write_page(
    page: &mut String,
    title: &str,
    about: Option<&str>,
    facts: &[(String, String)],
    evaluations: &[(String, Evaluation)],
    tables: &[Table],
) -> std::fmt::Result {
    let title = escaped(title);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<header>\n<h1>{title}</h1>\n"
    )?;
    if let Some(about) = about {
        writeln!(page, "<p class=\"about\">{}</p>", escaped(about))?;
    }
    page.push_str("</header>\n");
    if !facts.is_empty() {
        page.push_str("<dl class=\"facts\">\n");
        for (name, value) in facts {
            writeln!(
                page,
                "<div><dt>{}</dt><dd>{}</dd></div>",
                escaped(name),
                escaped(value)
            )?;
        }
        page.push_str("</dl>\n");
    }
    for (id, evaluation) in evaluations {
        write_evaluation(page, id, evaluation)?;
    }
    if !tables.is_empty() {
        page.push_str("<section>\n<h2>The run</h2>\n");
        for table in tables {
            write_table(page, table)?;
        }
        page.push_str("</section>\n");
    }
    page.push_str("</main>\n</body>\n</html>\n");
    Ok(())
}

fn write_evaluation(page: &mut String, id: &str, evaluation: &Evaluation) -> std::fmt::Result {
    let rows = counted(evaluation.rows, "row");
    let part = escaped(&evaluation.part);
    let positive = evaluation.positive.as_deref().map(escaped);
    let positive = positive.map_or(String::new(), |name| format!(", looking for {name}"));
    writeln!(
        page,
        "<section>\n<h2>{}</h2>\n<p class=\"about\">{rows}, part: {part}{positive}</p>",
        escaped(id)
    )?;
    page.push_str("<div class=\"tiles\">\n");
    for (name, value) in evaluation.metrics.iter().take(4) {
        let about = metric_about(name);
        writeln!(
            page,
            "<div class=\"tile\"><span class=\"name\">{}</span><span class=\"value\">{}</span><span class=\"note\">{about}</span></div>",
            escaped(&name.replace('_', " ")),
            figure(*value)
        )?;
    }
    page.push_str("</div>\n");
    for note in &evaluation.notes {
        writeln!(page, "<p>Note: {}.</p>", escaped(note))?;
    }
    if !evaluation.plots.is_empty() {
        page.push_str("<div class=\"plots\">\n");
        for plot in &evaluation.plots {
            writeln!(
                page,
                "<figure role=\"img\" aria-label=\"{}\">\n{}</figure>",
                escaped(&plot.title),
                plot.svg
            )?;
        }
        page.push_str("</div>\n");
    }
    write_metrics(page, evaluation)?;
    for table in &evaluation.tables {
        write_table(page, table)?;
    }
    page.push_str("</section>\n");
    Ok(())
}

fn write_metrics(page: &mut String, evaluation: &Evaluation) -> std::fmt::Result {
    let with_train = !evaluation.train_metrics.is_empty();
    write!(
        page,
        "<h3>Metrics</h3>\n<div class=\"scroll\"><table>\n<thead><tr><th>metric</th><th class=\"number\">{}</th>",
        escaped(&evaluation.part)
    )?;
    if let Some(intervals) = &evaluation.intervals {
        let percent = (intervals.level * 1e8).round() / 1e6;
        write!(
            page,
            "<th class=\"number\" title=\"percentile bootstrap, {} samples\">{percent} % interval</th>",
            taktline_core::thousands(intervals.samples as u64)
        )?;
    }
    if with_train {
        page.push_str("<th class=\"number\">train</th>");
    }
    page.push_str("<th class=\"note\">what it says</th></tr></thead>\n<tbody>\n");
    for (name, value) in &evaluation.metrics {
        write!(
            page,
            "<tr><th scope=\"row\"><code>{}</code></th><td class=\"number\">{}</td>",
            escaped(name),
            figure(*value)
        )?;
        if let Some(intervals) = &evaluation.intervals {
            let interval = intervals.of(name).map_or("–".to_owned(), |(low, high)| {
                format!("{} to {}", figure(low), figure(high))
            });
            write!(page, "<td class=\"number\">{interval}</td>")?;
        }
        if with_train {
            let train = evaluation
                .train_metrics
                .iter()
                .find(|(other, _)| other == name);
            let train = train.map_or("–".to_owned(), |(_, value)| figure(*value));
            write!(page, "<td class=\"number\">{train}</td>")?;
        }
        writeln!(page, "<td class=\"note\">{}</td></tr>", metric_about(name))?;
    }
    page.push_str("</tbody>\n</table></div>\n");
    Ok(())
}

fn write_table(page: &mut String, table: &Table) -> std::fmt::Result {
    writeln!(
        page,
        "<h3>{}</h3>\n<div class=\"scroll\"><table>",
        escaped(&table.title)
    )?;
    let is_number = |column: usize| {
        let mut cells = table
            .rows
            .iter()
            .filter_map(|row| row.get(column))
            .peekable();
        column > 0
            && cells.peek().is_some()
            && cells.all(|cell| {
                cell.starts_with(|first: char| first.is_ascii_digit() || "-–".contains(first))
            })
    };
    let numeric: Vec<bool> = (0..table.columns.len()).map(is_number).collect();
    let class = |column: usize| {
        if numeric.get(column) == Some(&true) {
            " class=\"number\""
        } else {
            ""
        }
    };
    page.push_str("<thead><tr>");
    for (column, heading) in table.columns.iter().enumerate() {
        write!(page, "<th{}>{}</th>", class(column), escaped(heading))?;
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        page.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let cell = escaped(cell);
            match column {
                0 => write!(page, "<th scope=\"row\">{cell}</th>")?,
                _ => write!(page, "<td{}>{cell}</td>", class(column))?,
            }
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
    Ok(())
}

/// Four significant decimals for shares, thousands apart for sums.
pub(crate) fn figure(value: f64) -> String {
    if value.abs() >= 1000.0 || (value.fract() == 0.0 && value.abs() > 1.0) {
        crate::plots::grouped(value)
    } else if value != 0.0 && value.abs() < 0.001 {
        format!("{value:.3e}")
    } else {
        // No figure is minus nothing.
        format!("{:.4}", value + 0.0)
    }
}

pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_everything_but_pictures() {
        let evil = "<script>alert('&')</script>".to_owned();
        let evaluation = Evaluation {
            rows: 1200,
            part: evil.clone(),
            metrics: vec![(evil.clone(), 0.5)],
            train_metrics: vec![(evil.clone(), 0.6)],
            tables: vec![Table {
                name: "table".into(),
                title: evil.clone(),
                columns: vec![evil.clone(), evil.clone()],
                rows: vec![vec![evil.clone(), evil.clone()]],
            }],
            ..Evaluation::default()
        };
        let facts = [(evil.clone(), evil.clone())];
        let page = report_html(
            &evil,
            Some(&evil),
            &facts,
            &[(evil.clone(), evaluation)],
            &[],
        );
        assert!(!page.contains("<script"));
        assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;"));
        assert!(page.contains("1,200 rows"));
    }

    #[test]
    fn two_metrics_do_not_say_the_same() {
        // Balanced accuracy leaves out a class without rows, the macro mean counts it as 0 where it is predicted.
        assert_eq!(
            metric_about("balanced_accuracy"),
            "mean recall of the classes that occur"
        );
        assert!(metric_about("recall_macro").contains("0 for one that is only predicted"));
        assert_eq!(
            metric_about("worst_slice_wape"),
            "the worst value that a slice has"
        );
    }

    #[test]
    fn shows_intervals_beside_values() {
        let evaluation = Evaluation {
            part: "test".into(),
            metrics: vec![("mae".into(), 0.5), ("baseline_mae".into(), 1.5)],
            intervals: Some(taktline_core::Intervals {
                level: 0.95,
                samples: 1000,
                bounds: vec![("mae".into(), 0.41, 0.6)],
            }),
            ..Evaluation::default()
        };
        let page = report_html("cards", None, &[], &[("quality".into(), evaluation)], &[]);
        assert!(page.contains("95 % interval</th>") && page.contains("1,000 samples"));
        assert!(page.contains(
            "<td class=\"number\">0.5000</td><td class=\"number\">0.4100 to 0.6000</td>"
        ));
        assert!(page.contains("<td class=\"number\">1.5000</td><td class=\"number\">–</td>"));
    }

    #[test]
    fn shows_train_beside_test() {
        let evaluation = Evaluation {
            part: "test".into(),
            metrics: vec![("accuracy".into(), 0.912_34), ("cost".into(), 12_345.0)],
            train_metrics: vec![("accuracy".into(), 0.95)],
            ..Evaluation::default()
        };
        let page = report_html(
            "cards",
            None,
            &[],
            &[("classification".into(), evaluation)],
            &[],
        );
        assert!(page.contains("<td class=\"number\">0.9123</td><td class=\"number\">0.9500</td>"));
        assert!(page.contains("<td class=\"number\">12,345</td><td class=\"number\">–</td>"));
    }
}
