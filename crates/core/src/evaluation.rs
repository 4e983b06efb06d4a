//! What an evaluation found, in a form that gates, reports and scripts can read.

use serde::{Deserialize, Serialize};

/// The result of an evaluation stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows that were evaluated.
    pub rows: usize,
    /// The part of the data they came from (`test`).
    pub part: String,
    /// Metrics by name, in the order in which they are worth reading.
    pub metrics: Vec<(String, f64)>,
    /// The same metrics on the training part, where that is cheap: the gap shows overfitting.
    pub train_metrics: Vec<(String, f64)>,
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
