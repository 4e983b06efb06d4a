//! Where a store is.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An SQLite file.
    File(PathBuf),
    /// A PostgreSQL database, by its URL.
    Postgres(String),
}

impl Address {
    /// The store of a project: `TAKT_STORE` where it is set, else `.taktline/store.db`.
    ///
    /// # Errors
    /// `TAKT_STORE` names something else than a file or a PostgreSQL database.
    pub fn of_project(directory: &Path) -> Result<Self> {
        match std::env::var("TAKT_STORE") {
            Ok(text) if !text.trim().is_empty() => Self::parse(&text),
            _ => Ok(Self::File(directory.join(".taktline").join("store.db"))),
        }
    }

    /// `postgres://…`, `sqlite:PATH`, or a path.
    ///
    /// # Errors
    /// Any other URL.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        let path = match text.split_once(':') {
            Some(("sqlite", path)) => path.strip_prefix("//").unwrap_or(path),
            Some((scheme, rest)) if rest.starts_with("//") => {
                return Err(Error::Address(format!(
                    "a run store cannot be in `{scheme}`; write `postgres://user@host/database`, or the path of an SQLite file"
                )));
            }
            _ => text,
        };
        if path.is_empty() {
            return Err(Error::Address(
                "the run store's address is empty; write `postgres://user@host/database`, or the path of an SQLite file".to_owned(),
            ));
        }
        Ok(Self::File(PathBuf::from(path)))
    }

    /// In words, without user and password.
    pub fn place(&self) -> String {
        match self {
            Self::File(path) => format!("`{}`", path.display()),
            Self::Postgres(url) => {
                let rest = url.split_once("://").map_or("", |(_, rest)| rest);
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                let host = authority
                    .rsplit_once('@')
                    .map_or(authority, |(_, host)| host);
                let database = path.split_once('?').map_or(path, |(path, _)| path);
                format!("`postgres://{host}/{database}`")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        let file = |text: &str| Address::parse(text).map_err(|error| error.to_string());
        assert_eq!(file("runs.db"), Ok(Address::File("runs.db".into())));
        assert_eq!(file("sqlite:a/b.db"), Ok(Address::File("a/b.db".into())));
        assert_eq!(
            file("sqlite:///a/b.db"),
            Ok(Address::File("/a/b.db".into()))
        );
        assert!(matches!(
            file("postgresql://shop@db/runs"),
            Ok(Address::Postgres(_))
        ));
        let refused = file("mysql://db/runs").expect_err("no store in MySQL");
        assert!(refused.contains("`mysql`"), "{refused}");
        assert!(file("  ").is_err());
    }

    #[test]
    fn a_place_tells_no_secret() {
        let address = Address::Postgres("postgres://ops:pa55@db:5433/runs?sslmode=require".into());
        assert_eq!(address.place(), "`postgres://db:5433/runs`");
    }
}
