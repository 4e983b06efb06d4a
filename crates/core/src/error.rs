//! What can go wrong in a stage's own work.

use std::path::PathBuf;

use polars::prelude::PolarsError;

use crate::Problem;

/// An error of a stage while it works on data. The engine adds the stage's id and place in the spec.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data is not what the stage needs; the message says which rows or columns and what to do.
    #[error("{0}")]
    Data(String),
    /// A file could not be read or written.
    #[error("cannot {action} `{}`: {}", path.display(), reason(source))]
    File {
        /// What was tried: `read`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A file's content is not in the format it should have.
    #[error("`{}`: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where in the file.
        message: String,
    },
    /// A problem with what a param names, met while running; the engine points at that param, as a check would.
    #[error("{}", .0.message)]
    Problem(Box<Problem>),
    /// Fitted state that this version cannot read.
    #[error("fitted state: {0}")]
    State(String),
    /// Something that the stage needs is not there (libtorch).
    #[error("{message}")]
    Unavailable {
        /// What is missing.
        message: String,
        /// How to get it.
        help: String,
    },
    /// The user interrupted; a checkpoint holds what was done.
    #[error("interrupted")]
    Interrupted,
    /// polars said no.
    #[error("{}", told(.0))]
    Polars(#[from] PolarsError),
    /// A model's own failure: did not converge, not a number.
    #[error("{0}")]
    Model(String),
}

impl Error {
    /// Data that does not fit, with a message.
    pub fn data(message: impl Into<String>) -> Self {
        Self::Data(message.into())
    }

    /// A file that could not be read.
    pub fn reading(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File {
            action: "read",
            path: path.into(),
            source,
        }
    }

    /// A file that could not be written.
    pub fn writing(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File {
            action: "write",
            path: path.into(),
            source,
        }
    }

    /// What to do about it, where the error knows.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Unavailable { help, .. } => Some(help),
            Self::Problem(problem) => problem.help.first().map(String::as_str),
            Self::Polars(error) if unfit(&error.to_string()).is_some() => Some(
                "put these values right above, or let them become null: `on_error: 'null'` in `clean.cast`, `try_cast` in an expression",
            ),
            _ => None,
        }
    }
}

/// What the system answered, without the name of a temporary file, which the user neither made nor can find.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" at path \"") {
        Some((answer, _)) => answer.to_owned(),
        None => text,
    }
}

/// What polars says, in our words where it is about values that a user gave.
fn told(error: &PolarsError) -> String {
    let text = without_plan(error);
    unfit(&text).unwrap_or(text)
}

/// Values that do not fit the type that they should get, out of polars' words for it:
/// ``conversion from `str` to `f64` failed in column 'amount' for 2 out of 3 values: ["x", "y"]``.
fn unfit(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("conversion from `")?;
    let (from, rest) = rest.split_once("` to `")?;
    let (to, rest) = rest.split_once("` failed in column '")?;
    let (column, rest) = rest.split_once("' for ")?;
    let (failed, rest) = rest.split_once(" out of ")?;
    let (values, examples) = rest.split_once(" values: [")?;
    let examples = examples.lines().next()?.trim_end_matches(']');
    let [to, from] = [to, from].map(|dtype| if dtype == "str" { "text" } else { dtype });
    let number = |text: &str| text.parse().map_or(text.to_owned(), crate::thousands);
    let (failed, values) = (number(failed), number(values));
    Some(format!(
        "{failed} of {values} values of `{column}` cannot turn from {from} into {to}: {examples}"
    ))
}

/// What polars says, without the resolved plan that it prints below some errors: the user wrote no such plan.
fn without_plan(error: &PolarsError) -> String {
    let text = error.to_string();
    match text.split_once("\n\nResolved plan until failure") {
        Some((said, _)) => said.to_owned(),
        None => text,
    }
}

/// A result of a stage's work.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_do_not_fit_are_told_in_our_words() {
        let failed = |text: &str| {
            use polars::prelude::{DataType, NamedFrom, Series};
            let rows = Series::new("amount".into(), vec!["1.5", text, "2", text]);
            Error::from(rows.strict_cast(&DataType::Float64).expect_err("no number"))
        };
        let error = failed("much");
        assert_eq!(
            error.to_string(),
            "2 of 4 values of `amount` cannot turn from text into f64: \"much\", \"much\""
        );
        assert!(error.help().is_some_and(|help| help.contains("clean.cast")));
        let other = Error::from(PolarsError::ComputeError("no".into()));
        assert_eq!((other.to_string().as_str(), other.help()), ("no", None));
    }

    #[test]
    fn plans_of_polars_are_not_shown() {
        let failed = PolarsError::InvalidOperation(
            "conversion failed\n\nResolved plan until failure:\n\n\tWITH_COLUMNS".into(),
        );
        assert_eq!(Error::from(failed).to_string(), "conversion failed");
    }

    #[test]
    fn temporary_files_are_not_named() {
        let refused =
            std::io::Error::other("Permission denied (os error 13) at path \"/out/.takt-a1.part\"");
        assert_eq!(
            Error::writing("/out/scored.csv", refused).to_string(),
            "cannot write `/out/scored.csv`: Permission denied (os error 13)"
        );
    }
}
