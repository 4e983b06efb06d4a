//! Where a database is; its password never comes out of here.

use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::Deserialize;
use sqlx::{
    ConnectOptions, mysql::MySqlConnectOptions, postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};

use super::{Failure, failure::Place};

/// The address of a database as a spec holds it.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct DatabaseUrl(String);

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DatabaseUrl(…)")
    }
}

impl JsonSchema for DatabaseUrl {
    fn schema_name() -> Cow<'static, str> {
        "DatabaseUrl".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({"type": "string", "minLength": 1})
    }
}

/// Which database, and how to get there.
#[derive(Clone)]
pub(super) enum Target {
    Postgres(Box<PgConnectOptions>),
    MySql(Box<MySqlConnectOptions>),
    Sqlite {
        options: Box<SqliteConnectOptions>,
        file: PathBuf,
    },
}

/// A parsed address.
#[derive(Clone)]
pub(crate) struct Address {
    pub(super) target: Target,
    /// The address without user and password, for messages.
    place: String,
    /// Who logs in; rows may depend on it.
    user: String,
    /// What messages must not hold.
    secrets: Vec<String>,
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({})", self.place)
    }
}

impl DatabaseUrl {
    /// The address; a file's relative path starts from `directory`.
    ///
    /// # Errors
    /// What is no address of a database that is known here; the message does not repeat it, as it may hold a password.
    pub(crate) fn address(&self, directory: &Path) -> Result<Address, Failure> {
        let url = self.0.trim();
        let bad = |message: String| {
            Failure::new("bad-url", Place::Url, message).help(
                "write `postgresql://user:password@host:5432/database`, `mysql://…` or `sqlite:path/to/file.db`, best as a secret: `${secret:DATABASE_URL}`",
            )
        };
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(bad("this is no address of a database".to_owned()));
        };
        if scheme == "sqlite" {
            return sqlite(url, rest, directory).map_err(bad);
        }
        let mysql = matches!(scheme, "mysql" | "mariadb");
        if !mysql && !matches!(scheme, "postgres" | "postgresql") {
            let known = matches!(
                scheme,
                "mssql" | "sqlserver" | "oracle" | "snowflake" | "bigquery" | "duckdb"
            );
            let name = if known {
                format!("`{scheme}`")
            } else {
                "another kind".to_owned()
            };
            return Err(bad(format!(
                "this is the address of a database of {name}; PostgreSQL, MySQL, MariaDB and SQLite are known"
            )));
        }
        // A password with `@`, `/`, `?` or `#` in it ends the host too early, and the rest would be taken for names.
        let authority_end = rest
            .trim_start_matches('/')
            .find(['/', '?', '#'])
            .unwrap_or(rest.len());
        if rest
            .trim_start_matches('/')
            .rfind('@')
            .is_some_and(|at| at > authority_end)
        {
            return Err(Failure::new(
                "bad-url",
                Place::Url,
                "the address has a `@` after its host",
            )
            .help("write signs such as `@`, `/`, `?`, `#` and `%` in a user or password as `%40`, `%2F`, `%3F`, `%23` and `%25`"));
        }
        let secrets = secrets(rest);
        // The reasons given by the parser do not hold parts of the address.
        let unfit = |error: sqlx::Error| {
            let reason = match &error {
                sqlx::Error::Configuration(reason) => reason.to_string(),
                other => other.to_string(),
            };
            bad(format!(
                "this is no address of a database: {}",
                hidden(&secrets, &reason)
            ))
        };
        let known: &[&str] = match mysql {
            true => &MYSQL_SETTINGS,
            false => &POSTGRES_SETTINGS,
        };
        if let Some((message, help)) = unknown_setting(url, known, !mysql) {
            return Err(Failure::new("bad-url", Place::Url, message).help(help));
        }
        if mysql {
            let options = MySqlConnectOptions::from_str(url)
                .map_err(unfit)?
                // `||` means what it means in the user's other clients.
                .pipes_as_concat(false)
                .disable_statement_logging();
            let Some(database) = options.get_database() else {
                return Err(bad("the address does not name a database".to_owned()));
            };
            let host = match options.get_socket() {
                Some(socket) => socket.display().to_string(),
                None => format!("{}:{}", options.get_host(), options.get_port()),
            };
            return Ok(Address {
                place: format!("mysql://{host}/{database}"),
                user: options.get_username().to_owned(),
                secrets,
                target: Target::MySql(Box::new(options)),
            });
        }
        let options = PgConnectOptions::from_str(url)
            .map_err(unfit)?
            .application_name("takt")
            .disable_statement_logging();
        let host = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let database = options.get_database().unwrap_or(options.get_username());
        Ok(Address {
            place: format!("postgresql://{host}/{database}"),
            user: options.get_username().to_owned(),
            secrets,
            target: Target::Postgres(Box::new(options)),
        })
    }
}

/// What the drivers read of an address behind its `?`. What they do not know they pass over: one of them without a word,
/// the other with the value in its log, and that may be a password (`sslpassword=…`).
const POSTGRES_SETTINGS: [&str; 17] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];
const MYSQL_SETTINGS: [&str; 14] = [
    "sslmode",
    "ssl-mode",
    "sslca",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "charset",
    "collation",
    "statement-cache-capacity",
    "socket",
    "timezone",
    "time-zone",
];

/// Settings of other clients, which a message may name: no other text of an address is repeated.
const OTHER_SETTINGS: [&str; 25] = [
    "allowPublicKeyRetrieval",
    "autoReconnect",
    "channel_binding",
    "characterEncoding",
    "client_encoding",
    "connect_timeout",
    "connectTimeout",
    "connection_limit",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_idle",
    "krbsrvname",
    "load_balance_hosts",
    "passfile",
    "pgbouncer",
    "pool_timeout",
    "requiressl",
    "schema",
    "serverTimezone",
    "service",
    "sslpassword",
    "target_session_attrs",
    "tcp_user_timeout",
    "useSSL",
];

/// Refuses a setting that would be passed over; the reason, and what there is instead.
fn unknown_setting(url: &str, known: &[&str], has_options: bool) -> Option<(String, String)> {
    let (_, settings) = url.split_once('?')?;
    let settings = settings.split('#').next().unwrap_or_default();
    let unknown = settings
        .split('&')
        .filter(|setting| !setting.is_empty())
        .map(|setting| percent_decoded(setting.split('=').next().unwrap_or_default()))
        .find(|key| {
            let is_option = has_options && (key == "options" || key.starts_with("options["));
            !is_option && !known.contains(&key.as_str())
        })?;
    let named = if OTHER_SETTINGS.contains(&unknown.as_str()) {
        format!("the setting `{unknown}`")
    } else {
        "a setting".to_owned()
    };
    let shown: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
    let options = if has_options { ", `options[…]`" } else { "" };
    Some((
        format!("the address has {named}, which would have no effect"),
        format!(
            "leave it out; after the `?` of an address these are known: {}{options}",
            shown.join(", ")
        ),
    ))
}

fn sqlite(url: &str, rest: &str, directory: &Path) -> Result<Address, String> {
    let written = rest.strip_prefix("//").unwrap_or(rest);
    let written = written.split('?').next().unwrap_or_default();
    if written.is_empty() || written == ":memory:" || url.contains("mode=memory") {
        return Err("the address does not name a file".to_owned());
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|error| error.to_string())?;
    let file = directory.join(options.get_filename());
    let options = options
        .filename(&file)
        .create_if_missing(false)
        // Rows cross from SQLite's own thread in runs, not one by one.
        .row_buffer_size(1024)
        .disable_statement_logging();
    Ok(Address {
        place: format!("sqlite:{written}"),
        user: String::new(),
        secrets: Vec::new(),
        target: Target::Sqlite {
            options: Box::new(options),
            file,
        },
    })
}

/// The passwords in an address, as written and as meant.
fn secrets(rest: &str) -> Vec<String> {
    let mut written: Vec<&str> = Vec::new();
    let authority = rest.trim_start_matches('/');
    if let Some((login, _)) = authority.rsplit_once('@')
        && let Some((_, password)) = login.split_once(':')
    {
        written.push(password);
    }
    if let Some((_, query)) = rest.split_once('?') {
        written.extend(query.split('&').filter_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.to_ascii_lowercase().contains("pass").then_some(value)
        }));
    }
    let mut secrets: Vec<String> = written
        .iter()
        .flat_map(|secret| [(*secret).to_owned(), percent_decoded(secret)])
        // One or two characters are in every text, and hiding them there would give them away.
        .filter(|secret| secret.chars().count() > 2)
        .collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.dedup();
    secrets
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if let Some(byte) = hex(&[*high, *low]) => {
                bytes.push(byte);
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hidden(secrets: &[String], text: &str) -> String {
    secrets
        .iter()
        .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

impl Address {
    /// Without user and password: `postgresql://db:5432/shop`.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// What tells one address from another, without the password.
    pub(crate) fn identity(&self) -> String {
        match &self.target {
            Target::Sqlite { file, .. } => {
                let file = file.canonicalize().unwrap_or_else(|_| file.clone());
                format!("sqlite:{}", file.display())
            }
            _ => format!("{} as {}", self.place, self.user),
        }
    }

    /// The file, where the database is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.target {
            Target::Sqlite { file, .. } => Some(file),
            _ => None,
        }
    }

    /// A text from outside, without the password.
    pub(super) fn hide(&self, text: &str) -> String {
        hidden(&self.secrets, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<Address, String> {
        DatabaseUrl(url.to_owned())
            .address(Path::new("/project"))
            .map_err(|failure| failure.message.clone())
    }

    #[test]
    fn places_hold_no_login() {
        let place = |url: &str| address(url).map(|address| address.place().to_owned());
        assert_eq!(
            place("postgres://ana:p%40ss%2Fword@db.example:6543/shop?sslmode=disable"),
            Ok("postgresql://db.example:6543/shop".to_owned())
        );
        assert_eq!(
            place("mysql://ana:secret@db/shop"),
            Ok("mysql://db:3306/shop".to_owned())
        );
        assert_eq!(
            place("sqlite:data/shop.db"),
            Ok("sqlite:data/shop.db".to_owned())
        );
        let file = address("sqlite://data/shop.db").expect("an address");
        assert_eq!(file.file(), Some(Path::new("/project/data/shop.db")));
    }

    #[test]
    fn passwords_are_hidden_however_they_are_written() {
        let known = address("postgres://ana:p%40ss%2Fword@db/shop").expect("an address");
        assert_eq!(
            known.hide("no p@ss/word and no p%40ss%2Fword"),
            "no *** and no ***"
        );
        assert!(!format!("{known:?}").contains("p%40"));
        let query = address("postgres://db/shop?user=ana&password=hunter2").expect("an address");
        assert_eq!(query.hide("hunter2"), "***");
    }

    #[test]
    fn settings_that_would_have_no_effect_are_refused() {
        for (url, named) in [
            (
                "postgres://db/shop?sslmode=require&channel_binding=require",
                "the setting `channel_binding`",
            ),
            (
                "postgres://db/shop?sslpassword=hunter2",
                "the setting `sslpassword`",
            ),
            ("postgres://db/shop?charset=utf8", "a setting"),
            ("postgres://db/shop?hunter2", "a setting"),
            (
                "mysql://db/shop?ssl-mode=required&useSSL=true",
                "the setting `useSSL`",
            ),
            ("mysql://db/shop?options[a]=b", "a setting"),
        ] {
            assert_eq!(
                address(url).expect_err(url),
                format!("the address has {named}, which would have no effect")
            );
        }
        for (url, place) in [
            (
                "postgres://db/shop?host=other&ssl%2Dmode=require&options[search_path]=sales",
                "postgresql://other:5432/shop",
            ),
            ("postgres://db/shop?", "postgresql://db:5432/shop"),
            (
                "mysql://db/shop?charset=utf8mb4&time-zone=%2B00:00",
                "mysql://db:3306/shop",
            ),
        ] {
            assert_eq!(
                address(url).map(|address| address.place().to_owned()),
                Ok(place.to_owned()),
                "{url}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_address_without_repeating_it() {
        for url in [
            "hunter2",
            "ftp://ana:hunter2@db/shop",
            "postgres://ana:hun/ter2@db/shop",
            "postgres://ana:5432?hunter2@db/shop",
            "postgres://ana:hunter2@db:port/shop",
            "mysql://ana:hunter2@db",
            "sqlite::memory:",
            "sqlite:",
        ] {
            let message = address(url).expect_err(url);
            assert!(
                !message.contains("hun") && !message.contains("ter2"),
                "{message}"
            );
        }
        assert!(
            address("mssql://db/shop")
                .expect_err("unknown")
                .contains("`mssql`")
        );
    }
}
