//! Whether rows fit a table, before they are written.

use polars::prelude::DataType;
use taktline_core::{did_you_mean, type_name};

use super::{
    Access, Address, Connection, Failure, Place, TableName, catalogue,
    table::{Dialect, Table, add_column, new_column_type},
    wait,
};

/// Name and type of a column.
pub(super) type Columns<'c> = [(&'c str, &'c DataType)];

/// What would keep rows of these columns out of the table.
///
/// # Errors
/// The database cannot be asked.
pub(crate) fn problems_before(
    address: &Address,
    table: &TableName,
    columns: &Columns<'_>,
    key: &[String],
) -> Result<Vec<Failure>, Failure> {
    let dialect = address.dialect();
    if address.file().is_some_and(|file| !file.exists()) {
        return Ok(unfit_for_new(columns, dialect));
    }
    let looking = async {
        let mut connection = Connection::open(address, Access::Read).await?;
        let found = catalogue::look(&mut connection, table, address).await;
        connection.close().await;
        found
    };
    let found = wait(looking).unwrap_or_else(|error| Err(Failure::system(error)))?;
    Ok(match found {
        Some(existing) => unfit_for(&existing, table, columns, key, dialect),
        None => unfit_for_new(columns, dialect),
    })
}

pub(super) fn unfit_for_new(columns: &Columns<'_>, dialect: Dialect) -> Vec<Failure> {
    let long = |name: &str| name.len() > dialect.longest_name();
    let mut failures: Vec<Failure> = columns
        .iter()
        .filter(|(name, _)| long(name))
        .map(|(name, _)| {
            Failure::new(
                "bad-name",
                Place::Query,
                format!(
                    "the name `{name}` is longer than {} bytes, where the database cuts it",
                    dialect.longest_name()
                ),
            )
            .help("rename the column above with `clean.rename`")
        })
        .collect();
    failures.extend(
        columns
            .iter()
            .filter_map(|(name, dtype)| unstorable(name, dtype, dialect)),
    );
    failures
}

fn unstorable(name: &str, dtype: &DataType, dialect: Dialect) -> Option<Failure> {
    if new_column_type(dialect, dtype, false).is_some() {
        return None;
    }
    let failure = Failure::new(
        "unwritable-column",
        Place::Query,
        format!(
            "`{name}` is {}, which no column of a database holds",
            type_name(dtype)
        ),
    )
    .label("cannot hold this column");
    Some(failure.help(
        "leave it out above with `clean.drop`, or make it a number or text with `clean.cast`",
    ))
}

/// Every difference between the rows and the table that is there.
pub(super) fn unfit_for(
    existing: &Table,
    table: &TableName,
    columns: &Columns<'_>,
    key: &[String],
    dialect: Dialect,
) -> Vec<Failure> {
    let mut failures = Vec::new();
    let names = || existing.columns.iter().map(|column| column.name.as_str());
    for (name, dtype) in columns {
        let Some(column) = existing.columns.iter().find(|column| column.name == *name) else {
            let suggestion =
                did_you_mean(name, names()).filter(|help| help.starts_with("did you mean"));
            let help = match (suggestion, new_column_type(dialect, dtype, false)) {
                (Some(suggestion), _) => suggestion,
                (None, Some(_)) => format!(
                    "leave it out above with `clean.drop`, or `{}`",
                    add_column(table, name, dtype, dialect)
                ),
                (None, None) => "leave it out above with `clean.drop`".to_owned(),
            };
            failures.push(
                Failure::new(
                    "unknown-column",
                    Place::Query,
                    format!("the table `{table}` has no column `{name}`"),
                )
                .help(help),
            );
            continue;
        };
        if column.is_generated {
            failures.push(
                Failure::new(
                    "type-mismatch",
                    Place::Query,
                    format!("the table `{table}` makes the values of `{name}` itself"),
                )
                .help("leave it out above with `clean.drop`"),
            );
        } else if **dtype != DataType::Null && !column.takes(dtype, dialect) {
            failures.push(
                Failure::new(
                    "type-mismatch",
                    Place::Query,
                    format!(
                        "the table `{table}` has `{name}` as `{}`, the rows have it as {}",
                        column.database_type,
                        type_name(dtype)
                    ),
                )
                .help("change it above with `clean.cast`"),
            );
        }
    }
    for column in &existing.columns {
        if column.is_required && columns.iter().all(|(name, _)| *name != column.name) {
            failures.push(Failure::new(
                "missing-column",
                Place::Query,
                format!(
                    "the table `{table}` needs a value for `{}`, which the rows do not have",
                    column.name
                ),
            ));
        }
    }
    if !key.is_empty() && !existing.has_key(key) {
        let by = dialect.list(key.iter().map(String::as_str));
        failures.push(
            Failure::new(
                "no-key",
                Place::Key,
                format!("the table `{table}` has no unique key over {by}, so its rows cannot be told apart by it"),
            )
            .help(format!("`create unique index on {} ({by})`", table.quoted(dialect))),
        );
    }
    failures
}
