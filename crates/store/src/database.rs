//! The connection, and what all tables share.

use std::{borrow::Cow, str::FromStr, time::Duration};

use sqlx::{
    Any, AnyConnection, AnyPool, Connection, Row, Transaction,
    any::{AnyArguments, AnyConnectOptions, AnyPoolOptions, AnyRow},
    migrate::{Migration, MigrationType, Migrator},
    query::Query,
};

use crate::{Address, Error, Result};

/// The tables, version by version; a released one never changes.
const MIGRATIONS: [(i64, &str, &str); 2] = [
    (
        1,
        "runs and jobs",
        include_str!("../migrations/1_runs_and_jobs.sql"),
    ),
    (
        2,
        "runs counted",
        include_str!("../migrations/2_runs_counted.sql"),
    ),
];

/// How long SQLite waits for another process's lock before it says so.
const PATIENCE: Duration = Duration::from_secs(20);

/// Locks out every other claim and enqueueing on PostgreSQL until the end of the transaction; any number that nobody else uses.
const EXCLUSIVE: &str = "SELECT pg_advisory_xact_lock(7303014501)";

/// The time, in milliseconds since 1970, UTC.
pub fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// An open store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RunStore {
    pub(crate) pool: AnyPool,
    place: String,
    is_postgres: bool,
}

impl RunStore {
    /// Opens the store, makes it where it is missing, and brings its tables up to date.
    ///
    /// # Errors
    /// The folder cannot be made, the server cannot be reached, or the tables are those of a newer taktline.
    pub async fn open(address: &Address) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let place = address.place();
        let (url, is_postgres) = match address {
            Address::Postgres(url) => (url.clone(), true),
            Address::File(path) => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(|error| Error::Database {
                        place: place.clone(),
                        doing: "has a folder that cannot be made",
                        source: Box::new(error.into()),
                    })?;
                }
                // `%`, `?` and `#` mean something in a URL.
                let path = path
                    .display()
                    .to_string()
                    .replace('%', "%25")
                    .replace('?', "%3F")
                    .replace('#', "%23");
                (format!("sqlite:{path}?mode=rwc"), false)
            }
        };
        let failed = |doing| {
            let place = place.clone();
            move |source| Error::Database {
                place,
                doing,
                source: Box::new(source),
            }
        };
        let options = AnyConnectOptions::from_str(&url)
            .map_err(failed("has an address that cannot be read"))?;
        // The pool tries again and again, and forgets why: the first connection says at once what is wrong.
        let look = async {
            let mut connection = AnyConnection::connect_with(&options).await?;
            let sql = match is_postgres {
                true => "SELECT 1",
                // Reads the file's header.
                false => "SELECT COUNT(*) FROM sqlite_master",
            };
            sqlx::query(sql).fetch_one(&mut connection).await?;
            connection.close().await
        };
        match tokio::time::timeout(PATIENCE / 2, look).await {
            Ok(looked) => looked.map_err(failed("cannot be opened"))?,
            Err(_) => return Err(failed("does not answer")(sqlx::Error::PoolTimedOut)),
        }
        let pool = AnyPoolOptions::new()
            // SQLite has one writer; a server's connections are shared by many.
            .max_connections(if is_postgres { 8 } else { 4 })
            .min_connections(0)
            .acquire_timeout(PATIENCE)
            .idle_timeout(Duration::from_secs(60))
            // SQLite ends a transaction by itself when the disk is full; the connection does not learn of it, and refuses to begin another.
            .before_acquire(|connection, _| {
                Box::pin(async move { Ok(!connection.is_in_transaction()) })
            })
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if !is_postgres {
                        let milliseconds = PATIENCE.as_millis();
                        // Not WAL with `synchronous=normal`: what was acknowledged must outlive a power cut.
                        let pragmas = format!(
                            "PRAGMA busy_timeout={milliseconds}; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON"
                        );
                        sqlx::raw_sql(sqlx::AssertSqlSafe(pragmas))
                            .execute(connection)
                            .await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .map_err(failed("cannot be opened"))?;
        let store = Self {
            pool,
            place,
            is_postgres,
        };
        store.migrate().await?;
        Ok(store)
    }

    /// Which database this is, in words without secrets.
    pub fn place(&self) -> &str {
        &self.place
    }

    async fn migrate(&self) -> Result<()> {
        let migrations = MIGRATIONS
            .into_iter()
            .map(|(version, description, sql)| {
                Migration::new(
                    version,
                    Cow::Borrowed(description),
                    MigrationType::Simple,
                    sqlx::SqlSafeStr::into_sql_str(sql),
                    false,
                )
            })
            .collect();
        let migrator = Migrator::with_migrations(migrations);
        // Two processes may make a new SQLite file's tables at once; who comes second finds them made.
        let mut attempt = 0;
        loop {
            attempt += 1;
            match migrator.run(&self.pool).await {
                Ok(()) => return Ok(()),
                Err(_) if attempt < 5 => {
                    tokio::time::sleep(Duration::from_millis(50 * attempt)).await
                }
                Err(source) => {
                    return Err(Error::Migration {
                        place: self.place.clone(),
                        source: Box::new(source),
                    });
                }
            }
        }
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A transaction that no other claim, enqueueing or decision runs beside.
    pub(crate) async fn exclusive(&self) -> Result<Transaction<'static, Any>> {
        let statement = if self.is_postgres {
            "BEGIN"
        } else {
            "BEGIN IMMEDIATE"
        };
        let mut transaction = self
            .pool
            .begin_with(statement)
            .await
            .map_err(self.failed("cannot be locked"))?;
        if self.is_postgres {
            sqlx::query(EXCLUSIVE)
                .execute(&mut *transaction)
                .await
                .map_err(self.failed("cannot be locked"))?;
        }
        Ok(transaction)
    }

    pub(crate) async fn commit(&self, transaction: Transaction<'static, Any>) -> Result<()> {
        transaction
            .commit()
            .await
            .map_err(self.failed("cannot keep a change"))
    }

    /// The rows of a query, each read by `read`.
    pub(crate) async fn all<T>(
        &self,
        query: Query<'_, Any, AnyArguments>,
        read: impl Fn(&AnyRow) -> Result<T>,
    ) -> Result<Vec<T>> {
        let rows = query.fetch_all(&self.pool).await.map_err(self.unread())?;
        rows.iter().map(read).collect()
    }

    /// Names this store in an error of the driver.
    pub(crate) fn failed(&self, doing: &'static str) -> impl FnOnce(sqlx::Error) -> Error + use<> {
        let place = self.place.clone();
        move |source| Error::Database {
            place,
            doing,
            source: Box::new(source),
        }
    }

    pub(crate) fn unread(&self) -> impl FnOnce(sqlx::Error) -> Error + use<> {
        self.failed("cannot be read")
    }

    pub(crate) fn unwritten(&self) -> impl FnOnce(sqlx::Error) -> Error + use<> {
        self.failed("cannot be written")
    }
}

/// A cell by its column's name.
/// Names and values as a map, in their order.
pub(crate) fn as_map<S: serde::Serializer>(
    pairs: &[(String, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

pub(crate) fn cell<'r, T>(row: &'r AnyRow, column: &str) -> Result<T>
where
    T: sqlx::Decode<'r, Any> + sqlx::Type<Any>,
{
    row.try_get(column).map_err(|error| Error::Unreadable {
        what: "a row",
        why: error.to_string(),
    })
}

/// A cell that holds JSON.
pub(crate) fn json_cell<T: serde::de::DeserializeOwned>(
    row: &AnyRow,
    column: &'static str,
) -> Result<T> {
    let text: String = cell(row, column)?;
    serde_json::from_str(&text).map_err(|error| Error::Unreadable {
        what: column,
        why: error.to_string(),
    })
}

/// A value as JSON text.
pub(crate) fn json_text(what: &'static str, value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Unreadable {
        what,
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_an_earlier_version_is_brought_up_and_a_later_one_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = Address::File(folder.path().join("store.db"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let store = RunStore::open(&address).await.expect("a store");
            let change = |sql: &'static str| sqlx::query(sql).execute(&store.pool);
            // As the first version left it.
            change("DROP INDEX runs_counted").await.expect("dropped");
            change("DELETE FROM _sqlx_migrations WHERE version = 2")
                .await
                .expect("deleted");
            store.close().await;
            let store = RunStore::open(&address).await.expect("brought up");
            let index = sqlx::query("SELECT name FROM sqlite_master WHERE name = 'runs_counted'")
                .fetch_optional(&store.pool)
                .await
                .expect("read");
            assert!(index.is_some());
            sqlx::query("UPDATE _sqlx_migrations SET version = 99 WHERE version = 2")
                .execute(&store.pool)
                .await
                .expect("written");
            store.close().await;
            let refused = RunStore::open(&address).await.map(|_| ());
            assert!(
                matches!(refused, Err(Error::Migration { .. })),
                "{refused:?}"
            );
        });
    }
}
