//! Looking encodings up, row by row.

use polars::prelude::{
    Column as PolarsColumn, Float64Chunked, IntoColumn, PolarsResult, polars_bail,
};
use taktline_core::Partition;

use super::super::lookup::{Found, Lookup};

/// The encodings of a column: a table for all training rows, then one for each fold, made of the rows of the others.
#[derive(Debug)]
pub(super) struct Tables {
    /// How many numbers each category has.
    pub(super) outputs: usize,
    /// How many categories there are, null included.
    pub(super) categories: usize,
    pub(super) numbers: Vec<f64>,
}

impl Tables {
    /// `categories` itself stands for a value that is no category.
    fn get(&self, table: usize, category: usize, output: usize) -> f64 {
        let per_output = self.categories + 1;
        self.numbers[(table * self.outputs + output) * per_output + category]
    }
}

/// Encodes the values of a column.
pub(super) struct Encoder {
    pub(super) lookup: Lookup,
    pub(super) tables: Tables,
    /// The fold of each training row, where the frame says which rows these are.
    pub(super) folds: Option<Vec<u32>>,
    pub(super) unseen_is_null: bool,
}

impl Encoder {
    pub(super) fn encode(&self, columns: &[PolarsColumn]) -> PolarsResult<Vec<PolarsColumn>> {
        let found = self.lookup.find(&columns[0])?;
        let tables = match &self.folds {
            Some(folds) => tables_of_rows(&columns[1], folds)?,
            None => vec![0; found.len()],
        };
        let null = self.tables.categories - 1;
        let encoded = |output: usize| {
            let numbers: Float64Chunked = found
                .iter()
                .zip(&tables)
                .map(|(found, table)| {
                    let category = match found {
                        Found::Known(place) => *place as usize,
                        Found::Null => null,
                        Found::Unseen if self.unseen_is_null => return None,
                        Found::Unseen => self.tables.categories,
                    };
                    Some(self.tables.get(*table, category, output))
                })
                .collect();
            numbers.with_name(columns[0].name().clone()).into_column()
        };
        Ok((0..self.tables.outputs).map(encoded).collect())
    }
}

/// The table for each row: its fold's for a training row, else that of all training rows.
fn tables_of_rows(parts: &PolarsColumn, folds: &[u32]) -> PolarsResult<Vec<usize>> {
    let mut folds_left = folds.iter();
    let mut training_rows = 0_usize;
    let tables = parts
        .str()?
        .iter()
        .map(|part| {
            if part != Some(Partition::Train.label()) {
                return 0;
            }
            training_rows += 1;
            folds_left.next().map_or(0, |fold| *fold as usize + 1)
        })
        .collect();
    if training_rows != folds.len() {
        polars_bail!(
            ComputeError: "there are {training_rows} training rows, but the folds were made of {}; a stage above gives other rows each time",
            folds.len()
        );
    }
    Ok(tables)
}
