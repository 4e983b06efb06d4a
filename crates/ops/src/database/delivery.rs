//! Writing rows into a table: all of them or none, and once for each run.
//!
//! The table `takt_deliveries` beside the written one says which deliveries' rows are there: the run's key is recorded in the
//! same transaction as the rows. A delivery that finds its own record writes nothing, unless it replaces all rows anyway. Rows that replace all others take the
//! others' records away with them, so that an earlier state can be delivered again.

use polars::prelude::{DataFrame, DataType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{Error, Result};

use super::{
    Access, Address, Connection, Failure, TableName, catalogue,
    fit::{Columns, unfit_for, unfit_for_new},
    rows::Rows,
    table::{Dialect, Table, new_column_type},
    wait,
};

/// What becomes of the rows that are in the table already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// They stay, and the new rows come after them.
    #[default]
    Append,
    /// They are deleted in the same transaction; the table itself stays, with its indices and rights.
    Replace,
    /// A row with the same `key` is overwritten, the others stay.
    Upsert,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Replace => "replace",
            Self::Upsert => "upsert",
        }
    }

    /// What was done with the rows.
    pub(crate) fn past(self) -> &'static str {
        match self {
            Self::Append => "appended",
            Self::Replace => "in place of all others",
            Self::Upsert => "inserted or updated",
        }
    }
}

/// Rows for a table.
#[derive(Debug)]
pub(crate) struct Delivery<'d> {
    pub(crate) address: &'d Address,
    pub(crate) table: &'d TableName,
    pub(crate) mode: Mode,
    /// The columns that tell rows apart, for [`Mode::Upsert`].
    pub(crate) key: &'d [String],
    /// Names these rows: the same in a repeated run.
    pub(crate) run_key: &'d str,
    pub(crate) frame: &'d DataFrame,
}

/// What came of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// The rows are in the table now.
    Written,
    /// They were there before.
    Before,
}

const DELIVERIES: &str = "takt_deliveries";

/// Writes the rows, in one transaction.
///
/// # Errors
/// What the database says, by row where it can be told. Then nothing of these rows is in the table.
pub(crate) fn deliver(delivery: &Delivery<'_>) -> Result<Delivered> {
    let rows = Rows::of(delivery.frame);
    if delivery.mode == Mode::Upsert {
        rows.refuse_equal_keys(delivery.key)?;
    }
    let is_new_file = delivery.address.file().is_some_and(|file| !file.exists());
    if let Some(folder) = delivery.address.file().and_then(|file| file.parent()) {
        std::fs::create_dir_all(folder).map_err(|error| Error::writing(folder, error))?;
    }
    let writing = async {
        let mut connection = Connection::open(delivery.address, Access::Write)
            .await
            .map_err(Failure::into_error)?;
        let written = delivery.write(&mut connection, &rows).await;
        // Closing ends a transaction that an error has left open, without its rows.
        connection.close().await;
        written
    };
    let delivered = wait(writing).unwrap_or_else(|error| Err(Failure::system(error).into_error()));
    if delivered.is_err()
        && is_new_file
        && let Some(file) = delivery.address.file()
    {
        let _ = std::fs::remove_file(file);
    }
    delivered
}

impl Delivery<'_> {
    async fn write(&self, connection: &mut Connection, rows: &Rows) -> Result<Delivered> {
        let dialect = self.address.dialect();
        if dialect == Dialect::MySql {
            // Otherwise it changes values that do not fit, and only warns; and making a table would end a transaction.
            self.run(
                connection,
                "set session sql_mode = concat(@@sql_mode, ',STRICT_ALL_TABLES')",
            )
            .await?;
            self.prepare(connection, rows).await?;
            self.run(connection, "start transaction").await?;
        } else {
            let begin = if dialect == Dialect::Sqlite {
                "begin immediate"
            } else {
                "begin"
            };
            self.run(connection, begin).await?;
            self.prepare(connection, rows).await?;
        }
        let is_new = self.record(connection, rows.height).await?;
        // Replacing twice changes nothing, and mends a table that somebody else has changed in between.
        if !is_new && self.mode != Mode::Replace {
            self.run(connection, "rollback").await?;
            return Ok(Delivered::Before);
        }
        self.make_room(connection).await?;
        match connection {
            Connection::Postgres(connection) => self.write_to_postgres(connection, rows).await?,
            Connection::MySql(connection) => self.write_to_mysql(connection, rows).await?,
            Connection::Sqlite(connection) => self.write_to_sqlite(connection, rows).await?,
        }
        self.run(connection, "commit").await?;
        Ok(Delivered::Written)
    }

    async fn run(&self, connection: &mut Connection, sql: &str) -> Result<u64> {
        connection
            .execute(sql, self.address)
            .await
            .map_err(Failure::into_error)
    }

    fn deliveries(&self) -> String {
        self.table
            .sibling(DELIVERIES)
            .quoted(self.address.dialect())
    }

    /// The tables, made where they are missing.
    async fn prepare(&self, connection: &mut Connection, rows: &Rows) -> Result<()> {
        let dialect = self.address.dialect();
        let deliveries = self.table.sibling(DELIVERIES);
        let missing = |found: Result<Option<Table>, Failure>| {
            found
                .map(|found| found.is_none())
                .map_err(Failure::into_error)
        };
        if missing(catalogue::look(connection, &deliveries, self.address).await)? {
            if dialect == Dialect::Postgres {
                // Two first deliveries at once would both make it.
                self.run(connection, "select pg_advisory_xact_lock(7265616479)")
                    .await?;
            }
            if missing(catalogue::look(connection, &deliveries, self.address).await)? {
                self.run(connection, &create_deliveries(&self.deliveries(), dialect))
                    .await?;
            }
        }
        let columns: Vec<(&str, &DataType)> = rows.columns();
        let found = catalogue::look(connection, self.table, self.address)
            .await
            .map_err(Failure::into_error)?;
        let failures = match &found {
            Some(existing) => unfit_for(existing, self.table, &columns, self.key, dialect),
            None => unfit_for_new(&columns, dialect),
        };
        if !failures.is_empty() {
            let messages: Vec<String> = failures
                .iter()
                .map(|failure| match &failure.help {
                    Some(help) => format!("{} ({help})", failure.message),
                    None => failure.message.clone(),
                })
                .collect();
            return Err(Error::data(messages.join("; ")));
        }
        if found.is_none() {
            self.run(connection, &self.create_table(&columns)).await?;
            // A table that was dropped has taken its rows with it.
            let forget = format!(
                "delete from {} where table_name = {}",
                self.deliveries(),
                dialect.text(self.table.name())
            );
            self.run(connection, &forget).await?;
        }
        Ok(())
    }

    fn create_table(&self, columns: &Columns<'_>) -> String {
        let dialect = self.address.dialect();
        let mut parts: Vec<String> = columns
            .iter()
            .filter_map(|(name, dtype)| {
                let is_key = self.key.iter().any(|key| key == name);
                let new_type = new_column_type(dialect, dtype, is_key)?;
                let not_null = if is_key { " not null" } else { "" };
                Some(format!("{} {new_type}{not_null}", dialect.quoted(name)))
            })
            .collect();
        if !self.key.is_empty() {
            let key = dialect.list(self.key.iter().map(String::as_str));
            parts.push(format!("primary key ({key})"));
        }
        format!(
            "create table {} ({})",
            self.table.quoted(dialect),
            parts.join(", ")
        )
    }

    /// Notes these rows as delivered; whether they were not before.
    async fn record(&self, connection: &mut Connection, rows: usize) -> Result<bool> {
        let dialect = self.address.dialect();
        let (verb, end) = match dialect {
            Dialect::Postgres | Dialect::Sqlite => ("insert", " on conflict do nothing"),
            Dialect::MySql => ("insert ignore", ""),
        };
        let sql = format!(
            "{verb} into {} (table_name, run_key, mode, row_count) values ({}, {}, '{}', {rows}){end}",
            self.deliveries(),
            dialect.text(self.table.name()),
            dialect.text(&short_key(self.run_key)),
            self.mode.name()
        );
        Ok(self.run(connection, &sql).await? == 1)
    }

    /// Takes away what these rows replace, with the records of it.
    async fn make_room(&self, connection: &mut Connection) -> Result<()> {
        let dialect = self.address.dialect();
        let others = format!(
            "delete from {} where table_name = {} and run_key <> {}",
            self.deliveries(),
            dialect.text(self.table.name()),
            dialect.text(&short_key(self.run_key))
        );
        match self.mode {
            Mode::Append => {}
            Mode::Replace => {
                self.run(connection, &others).await?;
                let rows = format!("delete from {}", self.table.quoted(dialect));
                self.run(connection, &rows).await?;
            }
            Mode::Upsert => {
                // Rows that others appended are still there.
                self.run(connection, &format!("{others} and mode = 'upsert'"))
                    .await?;
            }
        }
        Ok(())
    }
}

/// A key that fits into an index of every database.
fn short_key(run_key: &str) -> String {
    let run_key = run_key.trim();
    if run_key.chars().count() <= 200 {
        run_key.to_owned()
    } else {
        blake3::hash(run_key.as_bytes()).to_hex().to_string()
    }
}

fn create_deliveries(name: &str, dialect: Dialect) -> String {
    let (text, long_text, time) = match dialect {
        Dialect::Postgres => (
            "text",
            "text",
            "timestamp with time zone not null default now()",
        ),
        Dialect::MySql => (
            "varchar(64) character set utf8mb4 collate utf8mb4_bin",
            "varchar(200) character set utf8mb4 collate utf8mb4_bin",
            "datetime(6) not null default current_timestamp(6)",
        ),
        Dialect::Sqlite => (
            "text",
            "text",
            "datetime not null default current_timestamp",
        ),
    };
    format!(
        "create table {name} (table_name {text} not null, run_key {long_text} not null, mode {text} not null, row_count bigint not null, delivered_at {time}, primary key (table_name, run_key))"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_run_keys_are_shortened_and_stay_apart() {
        assert_eq!(short_key(" nightly "), "nightly");
        let long = "x".repeat(300);
        assert_eq!(short_key(&long).len(), 64);
        assert_ne!(short_key(&long), short_key(&"x".repeat(301)));
    }
}
