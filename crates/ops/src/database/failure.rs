//! What a database refuses, in words that say what to do, without passwords.

use std::ops::{Deref, Range};

use sqlx::{error::DatabaseError, postgres::PgDatabaseError};
use taktline_core::{Error, ParamStep, Problem, path};

use super::Address;

/// Which param a failure is about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// The address.
    Url,
    /// The table or query.
    Query,
    /// A declared column.
    Declared(String),
    /// The column that orders incremental reads.
    Watermark,
    /// The columns that tell rows apart.
    Key,
}

/// What a database refused, or why it could not be asked.
#[derive(Debug, Clone)]
pub(crate) struct Failure(Box<Parts>);

/// Boxed in the failure: most results carry none.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) code: &'static str,
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) label: Option<String>,
    pub(crate) help: Option<String>,
    /// The character of the query where it went wrong, from 0.
    position: Option<usize>,
}

impl Deref for Failure {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What was being done when an error came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Connecting,
    Working,
}

impl Failure {
    pub(crate) fn new(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            place,
            message: message.into(),
            label: None,
            help: None,
            position: None,
        }))
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.0.label = Some(label.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Nobody answered at the address: not the spec's fault.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.code == UNREACHABLE
    }

    /// The thread that talks to the database could not start.
    pub(crate) fn system(error: std::io::Error) -> Self {
        Self::new(
            "database-error",
            Place::Url,
            format!("cannot start to talk to the database: {error}"),
        )
    }

    /// Of what sqlx reports.
    pub(crate) fn of(error: &sqlx::Error, address: &Address, doing: Doing) -> Self {
        let place = address.place();
        let mut failure = match error {
            sqlx::Error::Database(error) => Self::refused(error.as_ref(), address),
            sqlx::Error::Tls(reason) => Self::new(
                "login-refused",
                Place::Url,
                format!("no encrypted connection to `{place}`: {reason}"),
            )
            .help("the address can say how to encrypt: `?sslmode=require`, `?sslrootcert=/path/to/ca.pem`, or, in a trusted network, `?sslmode=disable`"),
            sqlx::Error::Io(reason) if doing == Doing::Connecting => Self::unreachable(place, &reason.to_string()),
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => Self::lost(place),
            // What a server says as it closes a connection may end in the middle.
            sqlx::Error::Protocol(_) if doing == Doing::Working => Self::lost(place),
            other => Self::new("database-error", Place::Url, format!("`{place}`: {other}")),
        };
        failure.0.message = address.hide(&failure.message);
        failure.0.help = failure.0.help.take().map(|help| address.hide(&help));
        failure
    }

    pub(super) fn unreachable(place: &str, reason: &str) -> Self {
        Self::new(
            UNREACHABLE,
            Place::Url,
            format!("cannot reach `{place}`: {}", first_line(reason)),
        )
        .label("nobody answers here")
        .help("see that the database runs, that host and port are right, and that this machine may reach it (VPN, firewall)")
    }

    fn lost(place: &str) -> Self {
        Self::new(
            "connection-lost",
            Place::Url,
            format!("the connection to `{place}` was lost"),
        )
        .help("nothing half-read or half-written is kept; run again")
    }

    fn refused(error: &dyn DatabaseError, address: &Address) -> Self {
        let place = address.place();
        let code = error.code().unwrap_or_default().into_owned();
        let message = first_line(error.message());
        let says = format!("the database says: {message}");
        let postgres = error.try_downcast_ref::<PgDatabaseError>();
        let position = postgres.and_then(|error| match error.position() {
            Some(sqlx::postgres::PgErrorPosition::Original(position)) => position.checked_sub(1),
            _ => None,
        });
        let hint = postgres
            .and_then(|error| error.hint())
            .map(|hint| first_line(hint).trim_end_matches('.').to_owned());
        let mysql = error
            .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
            .map(sqlx::mysql::MySqlDatabaseError::number);
        let is_sqlite = error
            .try_downcast_ref::<sqlx::sqlite::SqliteError>()
            .is_some();
        let failure = match (code.as_str(), mysql) {
            ("28P01" | "28000", None) | (_, Some(1045 | 1044 | 1698)) => Self::new(
                "login-refused",
                Place::Url,
                format!("`{place}` refuses the login: {message}"),
            )
            .label("user and password do not open it")
            .help("see the user and the password in the address; signs such as `@` and `/` in them are written as `%40` and `%2F`"),
            ("3D000", None) | (_, Some(1049)) => Self::new(
                "unknown-database",
                Place::Url,
                format!("`{place}` is not there: {message}"),
            ),
            // The server ends the session: a shutdown, an administrator, a restart.
            ("57P01" | "57P02" | "57P03", None) | (_, Some(1053 | 1927 | 1152)) => Self::lost(place),
            ("53300", None) | (_, Some(1040 | 1203)) => Self::unreachable(place, &message),
            ("42P01", None) | (_, Some(1146)) => Self::new("unknown-table", Place::Query, says).label("no such table"),
            ("42703", None) | (_, Some(1054)) => Self::new("unknown-column", Place::Query, says),
            ("42601", None) | (_, Some(1064)) => Self::new("bad-query", Place::Query, says),
            ("42501", None) | (_, Some(1142 | 1143)) => Self::new("not-allowed", Place::Query, says)
                .help(format!("the user of the address has no right to do this in `{place}`; ask for it")),
            ("25006", None) | (_, Some(1792)) => Self::new("bad-query", Place::Query, says)
                .help("a source only reads: write a `select`"),
            _ if is_sqlite => Self::sqlite(&code, &message, place),
            _ => Self::new("database-error", Place::Query, says),
        };
        let mut failure = match hint {
            Some(hint) if failure.help.is_none() => failure.help(hint),
            _ => failure,
        };
        failure.0.position = position;
        failure
    }

    fn sqlite(code: &str, message: &str, place: &str) -> Self {
        if let Some(table) = message.strip_prefix("no such table: ") {
            return Self::new(
                "unknown-table",
                Place::Query,
                format!("there is no table `{table}` in `{place}`"),
            )
            .label("no such table");
        }
        if let Some(column) = message.strip_prefix("no such column: ") {
            return Self::new(
                "unknown-column",
                Place::Query,
                format!("there is no column `{column}`"),
            );
        }
        match code {
            "14" => Self::new(
                "missing-file",
                Place::Url,
                format!("`{place}` cannot be opened"),
            ),
            "26" => Self::new(
                "bad-url",
                Place::Url,
                format!("`{place}` is no SQLite database"),
            ),
            "5" | "6" | "261" | "517" => Self::new(
                "database-error",
                Place::Url,
                format!("`{place}` is locked by another program"),
            )
            .help("end the other program's transaction, and run again"),
            "8" => Self::new("bad-query", Place::Query, message.to_owned())
                .help("a source only reads: write a `select`"),
            _ => Self::new("bad-query", Place::Query, message.to_owned()),
        }
    }

    /// As `takt check` reports it; `key` is the param that holds the table or query, `sql` what stands there.
    pub(crate) fn into_problem(self, key: &'static str, sql: &str) -> Problem {
        let parts = *self.0;
        let range = match (&parts.place, key) {
            (Place::Query, "query") => parts.position.and_then(|position| word_at(sql, position)),
            _ => None,
        };
        let place = match parts.place {
            Place::Url => path!["url"],
            Place::Query => path![key],
            Place::Declared(column) => path!["schema", ParamStep::KeyOf(column)],
            Place::Watermark => path!["watermark", "column"],
            Place::Key => path!["key"],
        };
        let mut problem = Problem::error(parts.code, place, parts.message)
            .range(range)
            .help_if(parts.help);
        problem.label = parts.label;
        problem
    }

    /// As a warning, where the work can go on without the database.
    pub(crate) fn into_warning(self, note: &str) -> Problem {
        let parts = *self.0;
        let mut problem = Problem::warning(parts.code, path!["url"], parts.message)
            .help_if(parts.help)
            .note(note);
        problem.label = parts.label;
        problem
    }

    /// As a run reports it.
    pub(crate) fn into_error(self) -> Error {
        let parts = *self.0;
        match parts.help {
            Some(help) => Error::Unavailable {
                message: parts.message,
                help,
            },
            None => Error::data(parts.message),
        }
    }

    /// With the stage in front, as messages of `check` begin.
    pub(crate) fn in_stage(mut self, stage: &str) -> Self {
        self.0.message = format!("stage `{stage}`: {}", self.message);
        self
    }
}

const UNREACHABLE: &str = "database-unreachable";

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// The bytes of the word that begins at a character.
fn word_at(sql: &str, character: usize) -> Option<Range<usize>> {
    let (start, _) = sql.char_indices().nth(character)?;
    let word = sql[start..]
        .find(|sign: char| !sign.is_alphanumeric() && sign != '_')
        .unwrap_or(sql.len() - start);
    let length = match word {
        0 => sql[start..].chars().next().map_or(0, char::len_utf8),
        word => word,
    };
    Some(start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_becomes_the_word_there() {
        let sql = "select naïve, amout from t";
        assert_eq!(word_at(sql, 14).map(|range| &sql[range]), Some("amout"));
        assert_eq!(
            word_at("select ,", 7).map(|range| &"select ,"[range]),
            Some(",")
        );
        assert_eq!(word_at(sql, 99), None);
    }
}
