//! What an evaluation found, in a form that gates, reports and scripts can read.

use serde::{Deserialize, Serialize};

/// The result of an evaluation stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows that were evaluated.
    pub rows: usize,
    /// The part of the data they came from (`test`).
    pub part: String,
    /// The class that is looked for, of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positive: Option<String>,
    /// Metrics by name, in the order in which they are worth reading.
    pub metrics: Vec<(String, f64)>,
    /// The same metrics on the training part, where that is cheap: the gap shows overfitting.
    pub train_metrics: Vec<(String, f64)>,
    /// What a reader of the metrics should know about the rows, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How far the metrics would move with other rows of the same kind, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
    /// Tables: the confusion matrix, figures by class.
    pub tables: Vec<Table>,
    /// Pictures, as SVG text.
    pub plots: Vec<Plot>,
}

impl Evaluation {
    /// The metric of that name.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| *value)
    }
}

/// Intervals of metrics, by bootstrap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// The share of the draws whose metric lies in the interval.
    pub level: f64,
    /// How many times the rows were drawn.
    pub samples: usize,
    /// Metric, lower and upper end.
    pub bounds: Vec<(String, f64, f64)>,
}

impl Intervals {
    /// Lower and upper end for the metric of that name.
    pub fn of(&self, metric: &str) -> Option<(f64, f64)> {
        self.bounds
            .iter()
            .find(|(known, ..)| known == metric)
            .map(|(_, low, high)| (*low, *high))
    }
}

/// A small table of a report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// A file-name-safe name: `confusion_matrix`.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// Column headings.
    pub columns: Vec<String>,
    /// Cells, row by row, already formatted.
    pub rows: Vec<Vec<String>>,
}

/// A picture of a report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plot {
    /// A file-name-safe name: `precision_recall`.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// The picture, as a self-contained SVG document.
    pub svg: String,
}
