//! What can go wrong with the store.

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address names no database that can hold a store.
    #[error("{0}")]
    Address(String),
    /// The database cannot be reached, or said no.
    #[error("the run store at {place} {doing}: {source}")]
    Database {
        /// Which database, without secrets.
        place: String,
        /// What did not work.
        doing: &'static str,
        /// What the driver says.
        source: Box<sqlx::Error>,
    },
    /// The tables are those of a newer taktline, or cannot be made.
    #[error("the run store at {place} cannot be brought up to date: {source}")]
    Migration {
        /// Which database, without secrets.
        place: String,
        /// What the driver says.
        source: Box<sqlx::migrate::MigrateError>,
    },
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// What was asked for cannot be done as things are.
    #[error("{0}")]
    Refused(String),
    /// A value of the store does not read as what it should be.
    #[error("the run store holds {what} that cannot be read: {why}")]
    Unreadable {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
}

impl Error {
    /// Whether the same request may well work a moment later: the server restarts, another process holds the lock, the disk is full.
    pub fn is_passing(&self) -> bool {
        let Self::Database { source, .. } = self else {
            return false;
        };
        match source.as_ref() {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                // SQLite: busy, locked, I/O error, full, cannot open (and their extended codes, which end in the same byte).
                let sqlite = code
                    .parse::<u32>()
                    .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13 | 14));
                // PostgreSQL: connection exceptions, rollbacks to serialise, resources, operator intervention, I/O.
                let postgres = code.len() == 5
                    && ["08", "40", "53", "57", "58"]
                        .iter()
                        .any(|class| code.starts_with(class));
                sqlite && code.len() < 5 || postgres
            }
            // A server that goes away in the middle of a message.
            sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => true,
            _ => false,
        }
    }
}
