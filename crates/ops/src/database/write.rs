//! Rows on their way into a table: by `COPY` into PostgreSQL, in statements of many rows elsewhere.

use polars::prelude::AnyValue;
use sqlx::{
    AssertSqlSafe, MySqlConnection, PgConnection, SqliteConnection, postgres::PgDatabaseError,
};
use taktline_core::{Error, Result};

use super::{
    Delivery, Failure, Mode, Value,
    cells::outgoing,
    connection::failed,
    failure::Doing,
    rows::{Rows, storable, unfit},
    table::Dialect,
};

impl Delivery<'_> {
    /// What overwrites a row with the same key.
    fn on_conflict(&self, rows: &Rows) -> String {
        let dialect = self.address.dialect();
        if self.mode != Mode::Upsert {
            return String::new();
        }
        let others: Vec<String> = rows
            .names()
            .filter(|name| self.key.iter().all(|key| key != name))
            .map(|name| dialect.quoted(name))
            .collect();
        if dialect == Dialect::MySql {
            let mut set: Vec<String> = others
                .iter()
                .map(|name| format!("{name} = values({name})"))
                .collect();
            if set.is_empty() {
                let key = dialect.quoted(&self.key[0]);
                set.push(format!("{key} = {key}"));
            }
            return format!(" on duplicate key update {}", set.join(", "));
        }
        let key = dialect.list(self.key.iter().map(String::as_str));
        if others.is_empty() {
            return format!(" on conflict ({key}) do nothing");
        }
        let set: Vec<String> = others
            .iter()
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        format!(" on conflict ({key}) do update set {}", set.join(", "))
    }

    pub(super) async fn write_to_postgres(
        &self,
        connection: &mut PgConnection,
        rows: &Rows,
    ) -> Result<()> {
        let dialect = Dialect::Postgres;
        let columns = dialect.list(rows.names());
        let table = self.table.quoted(dialect);
        if self.mode != Mode::Upsert {
            return self
                .copy(connection, &format!("{table} ({columns})"), rows)
                .await;
        }
        let incoming = "pg_temp.takt_incoming";
        let make = format!(
            "create temp table takt_incoming on commit drop as select {columns} from {table} with no data"
        );
        let merge = format!(
            "insert into {table} ({columns}) select {columns} from {incoming}{}",
            self.on_conflict(rows)
        );
        let refused = |error: sqlx::Error| self.refused(&error, None);
        sqlx::raw_sql(AssertSqlSafe(make))
            .execute(&mut *connection)
            .await
            .map_err(refused)?;
        self.copy(connection, &format!("{incoming} ({columns})"), rows)
            .await?;
        sqlx::raw_sql(AssertSqlSafe(merge))
            .execute(&mut *connection)
            .await
            .map_err(refused)?;
        Ok(())
    }

    async fn copy(&self, connection: &mut PgConnection, into: &str, rows: &Rows) -> Result<()> {
        const CHUNK: usize = 1 << 20;
        let refused = |error: sqlx::Error| self.refused(&error, None);
        let mut copy = connection
            .copy_in_raw(&format!("copy {into} from stdin"))
            .await
            .map_err(refused)?;
        let mut buffer: Vec<u8> = Vec::with_capacity(CHUNK + (1 << 16));
        for row in 0..rows.height {
            if let Err(error) = rows.write_copy_row(row, &mut buffer) {
                let _ = copy.abort("a row cannot be written").await;
                return Err(error);
            }
            if buffer.len() >= CHUNK {
                copy.send(buffer.as_slice()).await.map_err(refused)?;
                buffer.clear();
            }
        }
        copy.send(buffer.as_slice()).await.map_err(refused)?;
        copy.finish().await.map_err(refused)?;
        Ok(())
    }

    /// A row that the database refuses; `row` counts from 0.
    fn refused(&self, error: &sqlx::Error, row: Option<usize>) -> Error {
        let failure = Failure::of(error, self.address, Doing::Working);
        let sqlx::Error::Database(reported) = error else {
            return failure.into_error();
        };
        let postgres = reported.try_downcast_ref::<PgDatabaseError>();
        // `COPY scores, line 3, column amount: "abc"`
        let copied = postgres
            .and_then(PgDatabaseError::r#where)
            .and_then(|place| place.split_once(", line "))
            .and_then(|(_, rest)| {
                rest.split(|sign: char| !sign.is_ascii_digit())
                    .next()?
                    .parse()
                    .ok()
            });
        let row = row.map(|row| row + 1).or(copied);
        let message = failure.message.trim_start_matches("the database says: ");
        let detail = postgres
            .and_then(PgDatabaseError::detail)
            .map(|detail| format!(" ({})", self.address.hide(detail).trim_end_matches('.')))
            .unwrap_or_default();
        let row = row.map(|row| format!("row {row}: ")).unwrap_or_default();
        Error::data(format!(
            "the table `{}` refuses {row}{message}{detail}; nothing was written",
            self.table
        ))
    }
}

/// Writes in runs of many rows a statement. Where one is refused, its rows go one by one, to tell which it is.
macro_rules! insert_in_runs {
    ($name:ident, $connection:ty, $dialect:expr, $placeholders:expr, $bind:ident) => {
        pub(super) async fn $name(&self, connection: &mut $connection, rows: &Rows) -> Result<()> {
            let width = rows.columns.len().max(1);
            let most = ($placeholders / width).clamp(1, 1000);
            let mut start = 0;
            while start < rows.height {
                let (end, cells) = rows.run(start, most)?;
                let execute = async |connection: &mut $connection,
                                     cells: &[AnyValue<'_>],
                                     first: usize|
                       -> Result<Result<(), sqlx::Error>> {
                    let sql = self.insert_sql(rows, cells.len() / width);
                    let mut query = sqlx::query(AssertSqlSafe(sql));
                    for (index, cell) in cells.iter().enumerate() {
                        let (row, column) = (first + index / width, &rows.columns[index % width]);
                        let value = outgoing(cell)
                            .and_then(|value| storable(value, $dialect))
                            .map_err(|reason| unfit(row, column.name(), &reason))?;
                        query = $bind!(query, value);
                    }
                    Ok(query.execute(connection).await.map(|_| ()))
                };
                let savepoint = async |connection: &mut $connection, sql: &'static str| {
                    sqlx::raw_sql(sql)
                        .execute(connection)
                        .await
                        .map(|_| ())
                        .map_err(|error| failed(&error, self.address))
                };
                savepoint(connection, "savepoint takt_rows").await?;
                if let Err(error) = execute(connection, &cells, start).await? {
                    // Where the connection is gone, this fails as well, and the first error says more.
                    if savepoint(connection, "rollback to savepoint takt_rows")
                        .await
                        .is_ok()
                    {
                        for (offset, row) in cells.chunks(width).enumerate() {
                            if let Err(error) = execute(connection, row, start + offset).await? {
                                return Err(self.refused(&error, Some(start + offset)));
                            }
                        }
                    }
                    return Err(self.refused(&error, None));
                }
                savepoint(connection, "release savepoint takt_rows").await?;
                start = end;
            }
            Ok(())
        }
    };
}

macro_rules! bind_for_mysql {
    ($query:ident, $value:ident) => {
        match $value {
            Value::UInt(number) => $query.bind(number),
            other => bind_for_sqlite!($query, other),
        }
    };
}

macro_rules! bind_for_sqlite {
    ($query:ident, $value:ident) => {
        match $value {
            Value::Bool(truth) => $query.bind(truth),
            Value::Int(number) => $query.bind(number),
            Value::Float(number) => $query.bind(number),
            Value::Text(text) | Value::Decimal(text) => $query.bind(text.into_owned()),
            Value::Bytes(bytes) => $query.bind(bytes.into_owned()),
            // `storable` has made text of all others.
            _ => $query.bind(None::<String>),
        }
    };
}

impl Delivery<'_> {
    fn insert_sql(&self, rows: &Rows, count: usize) -> String {
        let dialect = self.address.dialect();
        let row = format!("({})", vec!["?"; rows.columns.len()].join(", "));
        format!(
            "insert into {} ({}) values {}{}",
            self.table.quoted(dialect),
            dialect.list(rows.names()),
            vec![row.as_str(); count].join(", "),
            self.on_conflict(rows)
        )
    }

    insert_in_runs!(
        write_to_mysql,
        MySqlConnection,
        Dialect::MySql,
        65_535,
        bind_for_mysql
    );
    insert_in_runs!(
        write_to_sqlite,
        SqliteConnection,
        Dialect::Sqlite,
        32_766,
        bind_for_sqlite
    );
}
