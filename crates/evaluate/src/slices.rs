//! Metrics of parts of the judged rows: where a model is worse than on the whole.

use std::collections::HashMap;

use polars::prelude::{Column as PolarsColumn, DataType};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Frame, ParamPath, Problem, Result, Schema, Table, classifier::unknown_column,
    counted, path, type_name,
};

use crate::judged::{MetricList, amount, figure_or_none};

/// Columns whose values part the judged rows into slices.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum By {
    /// A column.
    One(String),
    /// Columns, each with its own slices.
    Many(#[schemars(length(min = 1))] Vec<String>),
    /// Columns, and how many rows a slice must have.
    Least(Least),
}

/// Columns, and how many rows a slice must have.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Least {
    /// Columns, each with its own slices.
    #[schemars(length(min = 1))]
    columns: Vec<String>,
    /// Slices of fewer rows are shown, but the `worst_…` metrics do not count them.
    #[schemars(range(min = 1))]
    least_rows: usize,
}

/// The most slices that a table shows.
const MOST_SHOWN: usize = 40;

/// What a slice without a value is called.
const NO_VALUE: &str = "(none)";

impl By {
    fn columns(&self) -> &[String] {
        match self {
            Self::One(column) => std::slice::from_ref(column),
            Self::Many(columns) | Self::Least(Least { columns, .. }) => columns,
        }
    }

    fn least_rows(&self) -> usize {
        match self {
            Self::Least(Least { least_rows, .. }) => *least_rows,
            _ => 1,
        }
    }

    fn place(&self, param: &str, index: usize) -> ParamPath {
        match self {
            Self::One(_) => path![param],
            Self::Many(_) => path![param, index],
            Self::Least(_) => path![param, "columns", index],
        }
    }

    pub(crate) fn check(&self, param: &str, input: &Schema, cx: &mut CheckContext<'_>) {
        for (index, name) in self.columns().iter().enumerate() {
            let place = self.place(param, index);
            match input.column(name) {
                None if !input.may_have(name) => cx.report(unknown_column(input, name, place)),
                Some(column) if !can_slice(&column.dtype) => cx.report(
                    Problem::error(
                        "wrong-type",
                        place,
                        format!(
                            "`{name}` is {}; slices are by text, whole numbers, truth values or dates",
                            type_name(&column.dtype)
                        ),
                    )
                    .help("make ranges of it above: `features.bin`, or `features.derive` with `case when …`"),
                ),
                _ => {}
            }
        }
    }

    /// Columns that it looks at.
    pub(crate) fn reads(&self) -> impl Iterator<Item = String> {
        self.columns().to_vec().into_iter()
    }

    /// For each column a table of its slices, and of each of these metrics the worst value that a slice has, as `worst_…`.
    pub(crate) fn measure(
        &self,
        frame: &Frame,
        rows: &[usize],
        metrics: &[String],
        measure: &(dyn Fn(&[usize]) -> MetricList + Sync),
    ) -> Result<(Vec<Table>, MetricList)> {
        let mut tables = Vec::new();
        let mut worst: Vec<Option<f64>> = vec![None; metrics.len()];
        for column in self.columns() {
            let mut slices = slices(frame.data.column(column)?, rows)?;
            let count = slices.len();
            let mut lines = Vec::new();
            for (place, (label, rows)) in slices.iter_mut().enumerate() {
                let found = measure(rows);
                let values: Vec<Option<f64>> =
                    metrics.iter().map(|metric| found.get(metric)).collect();
                if rows.len() >= self.least_rows() {
                    for ((metric, worst), value) in metrics.iter().zip(&mut worst).zip(&values) {
                        *worst = worse(metric, *worst, *value);
                    }
                }
                let cells = [label.clone(), amount(rows.len() as f64)]
                    .into_iter()
                    .chain(values.into_iter().map(figure_or_none))
                    .collect();
                lines.push((rows.len(), place, cells));
            }
            let mut title = format!("By `{column}`");
            if count > MOST_SHOWN {
                lines.sort_by_key(|(rows, place, _)| (std::cmp::Reverse(*rows), *place));
                lines.truncate(MOST_SHOWN);
                lines.sort_by_key(|(_, place, _)| *place);
                title = format!(
                    "{title}: the {MOST_SHOWN} largest of {}",
                    counted(count, "slice")
                );
            }
            tables.push(Table {
                name: format!("by_{}", file_name(column)),
                title,
                columns: [column.clone(), "rows".into()]
                    .into_iter()
                    .chain(metrics.iter().cloned())
                    .collect(),
                rows: lines.into_iter().map(|(_, _, cells)| cells).collect(),
            });
        }
        let mut list = MetricList::default();
        for (metric, worst) in metrics.iter().zip(worst) {
            list.add(&worst_name(metric), worst, "no slice has a value of it");
        }
        Ok((tables, list))
    }
}

/// The name of a metric's worst value over all slices.
pub(crate) fn worst_name(metric: &str) -> String {
    format!("worst_{metric}")
}

/// Whether less of it is better. Of `bias`, which is best at 0, nothing is worst.
fn is_loss(metric: &str) -> bool {
    const LOSSES: [&str; 15] = [
        "rmse",
        "mae",
        "median_absolute_error",
        "mape",
        "mean_deviance",
        "pinball_loss",
        "mean_width",
        "wape",
        "mase",
        "log_loss",
        "brier",
        "davies_bouldin",
        "calibration_error",
        "cost",
        "false_alarm_rate",
    ];
    LOSSES.contains(&metric)
}

fn worse(metric: &str, one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) if is_loss(metric) => Some(one.max(other)),
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn can_slice(dtype: &DataType) -> bool {
    taktline_core::Classes::can_hold(dtype) || *dtype == DataType::Date
}

/// The values as text; `(none)` where there is none.
pub(crate) fn texts(column: &PolarsColumn) -> Result<Vec<String>> {
    let texts = column.cast(&DataType::String)?;
    Ok(texts
        .str()?
        .iter()
        .map(|text| text.unwrap_or(NO_VALUE).to_owned())
        .collect())
}

/// The rows of each value, by value: whole numbers by size, text by code point.
fn slices(column: &PolarsColumn, rows: &[usize]) -> Result<Vec<(String, Vec<usize>)>> {
    let texts = texts(column)?;
    let mut found: HashMap<&str, Vec<usize>> = HashMap::new();
    for row in rows {
        found.entry(texts[*row].as_str()).or_default().push(*row);
    }
    let mut slices: Vec<(String, Vec<usize>)> = found
        .into_iter()
        .map(|(label, rows)| (label.to_owned(), rows))
        .collect();
    slices.sort_by(|(one, _), (other, _)| {
        let key = |label: &str| (label == NO_VALUE, label.parse::<i128>().ok());
        (key(one), one).cmp(&(key(other), other))
    });
    Ok(slices)
}

/// A column's name as part of a file name.
fn file_name(column: &str) -> String {
    let plain = |letter: char| {
        if letter.is_alphanumeric() {
            letter
        } else {
            '_'
        }
    };
    column.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::serde_yaml;

    use super::*;
    use crate::judged::testing;

    fn by(params: &str) -> By {
        serde_yaml::from_str(params).expect("params")
    }

    fn measured(params: &str) -> (Vec<Table>, MetricList) {
        let errors = [1.0, 3.0, 2.0, 9.0, 4.0];
        let data = df!(
            "region" => [Some("north"), Some("south"), Some("north"), None, Some("south")],
            "shop" => [10_i64, 9, 10, 9, 10],
        );
        let frame = testing::frame(data.expect("a frame"), &[]);
        let mae = |rows: &[usize]| {
            let mut list = MetricList::default();
            let sum: f64 = rows.iter().map(|row| errors[*row]).sum();
            list.add("mae", Some(sum / rows.len() as f64), "");
            list.add("r2", (rows.len() > 1).then_some(sum), "");
            list
        };
        let metrics = ["mae".to_owned(), "r2".to_owned()];
        by(params)
            .measure(&frame, &[0, 1, 2, 3, 4], &metrics, &mae)
            .expect("slices")
    }

    #[test]
    fn each_slice_has_its_figures_and_the_worst_are_named() {
        let (tables, worst) = measured("region");
        assert_eq!(tables[0].name, "by_region");
        assert_eq!(tables[0].columns, ["region", "rows", "mae", "r2"]);
        assert_eq!(tables[0].rows[0], ["north", "2", "1.5000", "3"]);
        assert_eq!(tables[0].rows[1], ["south", "2", "3.5000", "7"]);
        assert_eq!(tables[0].rows[2], ["(none)", "1", "9", "–"]);
        assert_eq!(worst.get("worst_mae"), Some(9.0));
        assert_eq!(worst.get("worst_r2"), Some(3.0));
    }

    #[test]
    fn small_slices_may_be_left_out_of_the_worst() {
        let (tables, worst) = measured("{columns: [region, shop], least_rows: 2}");
        assert_eq!(worst.get("worst_mae"), Some(6.0));
        // Whole numbers by size, not by letters.
        assert_eq!(tables[1].rows[0][0], "9");
        assert_eq!(tables[1].rows[1][0], "10");
    }

    #[test]
    fn columns_are_checked_where_they_stand() {
        let capabilities = taktline_core::Capabilities::default();
        let mut cx = CheckContext {
            stage: "quality",
            seed: 1,
            directory: std::path::Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        let data = df!("amount" => [1.5], "region" => ["north"]).expect("a frame");
        let schema = testing::frame(data, &[]).schema;
        by("[region, regions, amount]").check("by", &schema, &mut cx);
        let found: Vec<_> = cx
            .problems
            .iter()
            .map(|problem| (problem.code, problem.path.clone()))
            .collect();
        assert_eq!(
            found,
            [
                ("unknown-column", path!["by", 1]),
                ("wrong-type", path!["by", 2])
            ]
        );
    }
}
