//! A connection to any of the databases, and what all of them can do.

use std::{future::Future, path::Path, time::Duration};

use futures_util::TryStreamExt;
use polars::prelude::DataType;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection as _, Executor, MySqlConnection, PgConnection,
    SqliteConnection, Statement,
};
use taktline_core::{Error, Result};

use super::{
    Address, Failure, Place, Value, address::Target, failure::Doing, mysql, postgres, sqlite,
};

/// A server that says nothing for so long does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// To look and read; the database itself refuses to change anything.
    Read,
    /// To write; an SQLite file that is missing is made.
    Write,
}

/// A column of a query's result.
#[derive(Debug, Clone)]
pub(crate) struct QueryColumn {
    pub(crate) name: String,
    /// The database's own name of the type.
    pub(crate) database_type: String,
    /// The type it is read as.
    pub(crate) dtype: DataType,
    /// How its values come over the wire.
    pub(super) wire: Wire,
}

/// How a column's values come over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Postgres(postgres::Wire),
    MySql(mysql::Wire),
    /// A value says itself what it is.
    Sqlite,
}

/// A row as it comes.
pub(super) trait Cells {
    /// The value in the column of that index.
    ///
    /// # Errors
    /// Why it has no equal here.
    fn value(&self, index: usize, wire: Wire) -> Result<Value<'_>, String>;
}

/// An open connection.
pub(crate) enum Connection {
    Postgres(PgConnection),
    MySql(MySqlConnection),
    Sqlite(SqliteConnection),
}

/// Looks at a row; an error ends the reading.
pub(super) type EachRow<'a> = dyn FnMut(&dyn Cells) -> Result<()> + Send + 'a;

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: &Address, access: Access) -> Result<Self, Failure> {
        let connection = match &address.target {
            Target::Postgres(options) => Self::Postgres(in_time(options.connect(), address).await?),
            Target::MySql(options) => Self::MySql(in_time(options.connect(), address).await?),
            Target::Sqlite { options, file } => {
                let mut options = (**options).clone();
                if access == Access::Read {
                    if let Some(missing) = missing(file, address) {
                        return Err(missing);
                    }
                    options = options.read_only(true);
                } else {
                    options = options.create_if_missing(true);
                }
                Self::Sqlite(in_time(options.connect(), address).await?)
            }
        };
        let mut connection = connection;
        if access == Access::Read {
            let sql = match &connection {
                // A scan that starts where another one is would give the rows in another order.
                Self::Postgres(_) => {
                    "begin transaction isolation level repeatable read, read only; set local synchronize_seqscans = off"
                }
                Self::MySql(_) => "start transaction with consistent snapshot, read only",
                Self::Sqlite(_) => "begin",
            };
            connection.execute(sql, address).await?;
        }
        Ok(connection)
    }

    /// Tells the server that no more will come; it may be gone already.
    pub(crate) async fn close(self) {
        let _ = match self {
            Self::Postgres(connection) => connection.close().await,
            Self::MySql(connection) => connection.close().await,
            Self::Sqlite(connection) => connection.close().await,
        };
    }

    /// Runs statements without parameters; how many rows they changed.
    pub(super) async fn execute(&mut self, sql: &str, address: &Address) -> Result<u64, Failure> {
        let sql = AssertSqlSafe(sql.to_owned());
        let changed = match self {
            Self::Postgres(connection) => sqlx::raw_sql(sql)
                .execute(connection)
                .await
                .map(|done| done.rows_affected()),
            Self::MySql(connection) => sqlx::raw_sql(sql)
                .execute(connection)
                .await
                .map(|done| done.rows_affected()),
            Self::Sqlite(connection) => sqlx::raw_sql(sql)
                .execute(connection)
                .await
                .map(|done| done.rows_affected()),
        };
        changed.map_err(|error| Failure::of(&error, address, Doing::Working))
    }

    /// The columns of a query's result, each with its type or why it cannot be read; no rows are read where types are known
    /// without.
    pub(super) async fn describe(
        &mut self,
        sql: &str,
        address: &Address,
    ) -> Result<Vec<Described>, Failure> {
        let text = AssertSqlSafe(sql.to_owned());
        let failed = |error: sqlx::Error| Failure::of(&error, address, Doing::Working);
        let columns = match self {
            Self::Postgres(connection) => {
                let statement = connection
                    .prepare(sqlx::SqlSafeStr::into_sql_str(text))
                    .await
                    .map_err(failed)?;
                postgres::described(statement.columns())
            }
            Self::MySql(connection) => {
                let statement = connection
                    .prepare(sqlx::SqlSafeStr::into_sql_str(text))
                    .await
                    .map_err(failed)?;
                mysql::described(statement.columns())
            }
            Self::Sqlite(connection) => sqlite::describe(connection, sql).await.map_err(failed)?,
        };
        if columns.is_empty() {
            return Err(
                Failure::new("bad-query", Place::Query, "the query gives no columns")
                    .help("a source only reads: write a `select`"),
            );
        }
        Ok(columns)
    }

    /// Looks at each row of a query's result as it comes.
    ///
    /// # Errors
    /// What the database says, and the first error of `each`.
    pub(super) async fn each_row(
        &mut self,
        sql: &str,
        address: &Address,
        each: &mut EachRow<'_>,
    ) -> Result<()> {
        let query = AssertSqlSafe(sql.to_owned());
        let failed = |error: sqlx::Error| Failure::of(&error, address, Doing::Working).into_error();
        macro_rules! rows {
            ($connection:expr) => {{
                let mut rows = sqlx::query(query).persistent(false).fetch($connection);
                while let Some(row) = rows.try_next().await.map_err(failed)? {
                    each(&row)?;
                }
            }};
        }
        match self {
            Self::Postgres(connection) => rows!(connection),
            Self::MySql(connection) => rows!(connection),
            Self::Sqlite(connection) => rows!(connection),
        }
        Ok(())
    }
}

/// A column before its type is settled.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) database_type: String,
    pub(super) readable: Readable,
}

/// Whether values of a database's type can become a column.
#[derive(Debug, Clone)]
pub(super) enum Readable {
    /// As this type.
    As(DataType, Wire),
    /// Only where a type is declared: SQLite does not say it.
    Undeclared(Wire),
    /// Not at all; what to do instead.
    No(String),
}

async fn in_time<C>(
    connecting: impl Future<Output = sqlx::Result<C>>,
    address: &Address,
) -> Result<C, Failure> {
    match tokio::time::timeout(PATIENCE, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Failure::of(&error, address, Doing::Connecting)),
        Err(_) => Err(Failure::unreachable(
            address.place(),
            &format!("no answer in {} s", PATIENCE.as_secs()),
        )),
    }
}

fn missing(file: &Path, address: &Address) -> Option<Failure> {
    if file.is_file() {
        return None;
    }
    let failure = Failure::new(
        "missing-file",
        Place::Url,
        format!("the database `{}` does not exist", address.place()),
    )
    .label("no such file");
    let tried = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    Some(failure.help(format!(
        "a relative path starts from the working directory; tried `{}`",
        tried.display()
    )))
}

/// As an error of a run.
pub(super) fn failed(error: &sqlx::Error, address: &Address) -> Error {
    Failure::of(error, address, Doing::Working).into_error()
}
