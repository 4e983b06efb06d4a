//! Rows that broke an expectation, set aside in a file for those who look after the data.

use polars::prelude::{
    Column as PolarsColumn, DataFrame, IdxCa, IdxSize, IntoColumn, NamedFrom, NewChunkedArray,
    ParquetWriter, Series, StringChunked,
};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use taktline_core::{Expectation, Result, Role, Schema};

use crate::store::{Store, write_atomically};

/// What stands for a value of personal data.
const HIDDEN: &str = "hidden";

/// Where the rows are that broke a stage's rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// The Parquet file.
    pub path: PathBuf,
    /// Its lines: one for each row and rule.
    pub rows: usize,
}

/// Writes the rows that break rules, if any do.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(
    store: &Store,
    run: &str,
    stage: &str,
    data: &DataFrame,
    schema: &Schema,
    found: &[Expectation],
) -> Result<Option<Quarantine>> {
    if found.iter().all(|rule| rule.violating.is_empty()) {
        return Ok(None);
    }
    let mut rows = quarantined(data, schema, found)?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut rows)?;
    let path = store
        .run_folder(run)?
        .join(format!("quarantine-{stage}.parquet"));
    write_atomically(&path, &bytes)?;
    Ok(Some(Quarantine {
        path,
        rows: rows.height(),
    }))
}

/// A line for each row and rule that it breaks, in the order of the rows: the row's number from 1, the rule, the row's values.
fn quarantined(data: &DataFrame, schema: &Schema, found: &[Expectation]) -> Result<DataFrame> {
    let mut broken: Vec<(usize, usize)> = found
        .iter()
        .enumerate()
        .flat_map(|(rule, expectation)| expectation.violating.iter().map(move |row| (*row, rule)))
        .collect();
    broken.sort_unstable();
    let places = IdxCa::from_vec(
        "".into(),
        broken.iter().map(|(row, _)| *row as IdxSize).collect(),
    );
    let rows = data.take(&places)?;
    let numbers: Vec<u64> = broken.iter().map(|(row, _)| *row as u64 + 1).collect();
    let rules = StringChunked::from_iter_values(
        free("rule", data).into(),
        broken.iter().map(|(_, rule)| found[*rule].rule.as_str()),
    );
    let mut columns: Vec<PolarsColumn> = vec![
        Series::new(free("row", data).into(), numbers).into_column(),
        rules.into_column(),
    ];
    for column in rows.columns() {
        let is_private = schema
            .column(column.name())
            .is_none_or(|known| known.role == Role::Pii || !known.from_pii.is_empty());
        columns.push(if is_private {
            hidden(column)
        } else {
            column.clone()
        });
    }
    Ok(DataFrame::new(broken.len(), columns)?)
}

/// A name that no column has.
fn free(name: &str, data: &DataFrame) -> String {
    let mut free = name.to_owned();
    while data.column(&free).is_ok() {
        free.push('_');
    }
    free
}

/// Which values there are, without what they are.
fn hidden(column: &PolarsColumn) -> PolarsColumn {
    StringChunked::from_iter_options(
        column.name().clone(),
        column
            .is_not_null()
            .iter()
            .map(|is_there| (is_there == Some(true)).then_some(HIDDEN)),
    )
    .into_column()
}

#[cfg(test)]
mod tests {
    use polars::df;
    use polars::prelude::{ParquetReader, SerReader};

    use super::*;

    fn expectation(rule: &str, violating: &[usize]) -> Expectation {
        Expectation {
            rule: rule.to_owned(),
            violations: violating.len(),
            rows: 3,
            examples: Vec::new(),
            is_error: true,
            about_all: false,
            violating: violating.to_vec(),
        }
    }

    #[test]
    fn a_line_for_each_row_and_rule_without_personal_data() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        let data = df!(
            "row" => ["a", "b", "c"],
            "amount" => [Some(-1.0), Some(2.0), None],
            "card" => [Some("1234"), None, Some("5678")],
        )
        .expect("a frame");
        let mut schema = Schema::from_polars(data.schema());
        schema.columns[2] = schema.columns[2].clone().with_role(Role::Pii);
        let found = [
            expectation("amount >= 0", &[0]),
            expectation("rows are many", &[]),
            expectation("card is not null", &[1, 0]),
        ];
        let quarantine = write(&store, "run", "expect", &data, &schema, &found)
            .expect("written")
            .expect("some rows");
        assert_eq!(quarantine.rows, 3);
        assert!(
            quarantine
                .path
                .ends_with("runs/run/quarantine-expect.parquet")
        );
        let file = std::fs::File::open(&quarantine.path).expect("a file");
        let read = ParquetReader::new(file).finish().expect("rows");
        let expected = df!(
            "row_" => [1_u64, 1, 2],
            "rule" => ["amount >= 0", "card is not null", "card is not null"],
            "row" => ["a", "a", "b"],
            "amount" => [-1.0, -1.0, 2.0],
            "card" => [Some("hidden"), Some("hidden"), None],
        )
        .expect("a frame");
        assert!(read.equals_missing(&expected), "{read}");
    }

    #[test]
    fn no_file_where_no_row_breaks_a_rule() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        let data = df!("n" => [1]).expect("a frame");
        let found = [expectation("at least 5 rows", &[])];
        let schema = Schema::from_polars(data.schema());
        let written = write(&store, "run", "expect", &data, &schema, &found).expect("fine");
        assert_eq!(written, None);
        assert!(!folder.path().join(".taktline").exists());
    }
}
