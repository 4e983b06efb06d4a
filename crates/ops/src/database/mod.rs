//! Databases: connections, types, and rows on their way in and out.
//!
//! Rows come in as [`Value`]s, whatever the database, and leave for Arrow in batches; rows go out from a polars frame. What is
//! different in PostgreSQL, MySQL and SQLite stands in a module each; no other place knows a database's types.

mod address;
mod arrow;
mod catalogue;
mod cells;
mod connection;
mod delivery;
mod failure;
mod fetch;
mod fit;
mod mysql;
mod parts;
mod postgres;
mod request;
mod rows;
mod sqlite;
mod table;
mod value;
mod write;

use std::future::Future;

pub(crate) use address::{Address, DatabaseUrl};
pub(crate) use connection::{Access, Connection, QueryColumn};
pub(crate) use delivery::{Delivered, Delivery, Mode, deliver};
pub(crate) use failure::{Failure, Place};
pub(crate) use fetch::fetch;
pub(crate) use fit::problems_before;
pub(crate) use parts::Fetched;
pub(crate) use request::Request;
pub(crate) use table::TableName;
pub(crate) use value::Value;

/// Runs the work to its end on a thread of its own: the caller may itself be part of an asynchronous program, where waiting
/// for another is not allowed.
pub(crate) fn wait<T: Send>(work: impl Future<Output = T> + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("database".to_owned())
            .spawn_scoped(scope, || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                Ok(runtime.block_on(work))
            })?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// SQLite files for tests.
#[cfg(test)]
pub(crate) mod testing {
    use std::path::Path;

    use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, sqlite::SqliteConnectOptions};

    /// Runs statements on the file, which is made where it is missing.
    pub(crate) fn execute(file: &Path, sql: &str) {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .disable_statement_logging();
        let work = async {
            let mut connection = options.connect().await?;
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                .execute(&mut connection)
                .await?;
            connection.close().await
        };
        super::wait(work)
            .expect("a thread")
            .expect("statements that work");
    }

    /// The first column of a query's rows, as text.
    pub(crate) fn texts(file: &Path, sql: &str) -> Vec<Option<String>> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .disable_statement_logging();
        let work = async {
            let mut connection = options.connect().await?;
            let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
                .fetch_all(&mut connection)
                .await?;
            rows.iter()
                .map(|row| row.try_get(0))
                .collect::<sqlx::Result<_>>()
        };
        super::wait(work)
            .expect("a thread")
            .expect("a query that works")
    }
}
