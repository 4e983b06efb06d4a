//! Problems of a file: one wording for `check`, where they are located in the spec, and for a run.

use std::{fs, path::Path};

use taktline_core::{Error, ParamStep, Problem, closest, path};

/// A problem of a file of rows. The message goes on after the file's name: "has no rows", "line 5 has 3 fields".
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FileProblem(Box<Parts>);

/// Boxed in the problem: most results carry none.
#[derive(Debug, Clone, PartialEq)]
struct Parts {
    code: &'static str,
    message: String,
    column: Option<String>,
    label: Option<String>,
    help: Option<String>,
    note: Option<String>,
}

impl FileProblem {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            message: message.into(),
            column: None,
            label: None,
            help: None,
            note: None,
        }))
    }

    /// About this declared column rather than the whole file.
    pub(crate) fn column(mut self, name: impl Into<String>) -> Self {
        self.0.column = Some(name.into());
        self
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.0.label = Some(label.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    pub(crate) fn help_if(mut self, help: Option<String>) -> Self {
        self.0.help = help.or(self.0.help);
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.0.note = Some(note.into());
        self
    }

    /// As `takt check` reports it, where the param `key` holds the file's name as the user wrote it.
    pub(crate) fn into_problem(self, key: &str, written: &str) -> Problem {
        let place = match self.0.column {
            Some(column) => path!["schema", ParamStep::KeyOf(column)],
            None => path![key],
        };
        let mut problem = Problem::error(
            self.0.code,
            place,
            format!("`{written}` {}", self.0.message),
        )
        .help_if(self.0.help);
        problem.label = self.0.label;
        problem.notes.extend(self.0.note);
        problem
    }

    /// As a run reports it.
    pub(crate) fn into_error(self, path: &Path) -> Error {
        let message = match self.0.help {
            Some(help) => format!("{}; {help}", self.0.message),
            None => self.0.message,
        };
        Error::Format {
            path: path.to_owned(),
            message,
        }
    }
}

/// Why the file cannot be opened, if it is not there or not a file.
pub(crate) fn missing_file(path: &Path) -> Option<FileProblem> {
    if path.is_file() {
        return None;
    }
    if path.is_dir() {
        return Some(
            FileProblem::new("missing-file", "is a directory, not a file").label("needs a file"),
        );
    }
    Some(missing(path, "no such file"))
}

/// Why the directory cannot be listed, if it is not there or not a directory.
pub(crate) fn missing_directory(path: &Path) -> Option<FileProblem> {
    if path.is_dir() {
        return None;
    }
    if path.is_file() {
        return Some(
            FileProblem::new("missing-file", "is a file, not a directory")
                .label("needs a directory"),
        );
    }
    Some(missing(path, "no such directory"))
}

fn missing(path: &Path, label: &str) -> FileProblem {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let parent = absolute.parent().map(Path::to_owned).unwrap_or_default();
    let problem = FileProblem::new("missing-file", "does not exist")
        .label(label)
        .note(format!("tried `{}`", absolute.display()));
    if !parent.is_dir() {
        return problem.help(format!(
            "the directory `{}` does not exist either",
            parent.display()
        ));
    }
    let neighbours = neighbours(&parent);
    let wanted = absolute
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    problem.help_if(
        closest(&wanted, neighbours.iter().map(String::as_str))
            .map(|name| format!("did you mean `{name}`?")),
    )
}

/// The names in the directory, sorted, so that the same suggestion comes every time.
fn neighbours(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}
