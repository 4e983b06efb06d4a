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
    /// The file, where it is one of several.
    file: Option<String>,
    place: Place,
    label: Option<String>,
    help: Option<String>,
    notes: Vec<String>,
    is_hint: bool,
}

/// The param that a problem is about.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    /// The one with the file's name.
    File,
    /// This column of `schema`.
    Column(String),
    /// Another.
    Param(&'static str),
}

impl FileProblem {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            message: message.into(),
            file: None,
            place: Place::File,
            label: None,
            help: None,
            notes: Vec::new(),
            is_hint: false,
        }))
    }

    /// Nothing that stands in the way, but may not be what was meant.
    pub(crate) fn hint(mut self) -> Self {
        self.0.is_hint = true;
        self
    }

    /// About this declared column rather than the whole file.
    pub(crate) fn column(mut self, name: impl Into<String>) -> Self {
        self.0.place = Place::Column(name.into());
        self
    }

    /// About this param rather than the file.
    pub(crate) fn param(mut self, key: &'static str) -> Self {
        self.0.place = Place::Param(key);
        self
    }

    /// In this file of several.
    pub(crate) fn in_file(mut self, name: impl Into<String>) -> Self {
        self.0.file.get_or_insert(name.into());
        self
    }

    /// A stable short name.
    pub(crate) fn code(&self) -> &'static str {
        self.0.code
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
        self.0.notes.push(note.into());
        self
    }

    /// As `takt check` reports it, where the param `key` holds the file's name as the user wrote it.
    pub(crate) fn into_problem(self, key: &str, written: &str) -> Problem {
        let place = match self.0.place {
            Place::Column(column) => path!["schema", ParamStep::KeyOf(column)],
            Place::Param(param) => path![param],
            Place::File => path![key],
        };
        let name = self.0.file.as_deref().unwrap_or(written);
        let severe = match self.0.is_hint {
            true => Problem::warning,
            false => Problem::error,
        };
        let message = format!("`{name}` {}", self.0.message);
        let mut problem = severe(self.0.code, place, message).help_if(self.0.help);
        problem.label = self.0.label;
        problem.notes = self.0.notes;
        problem
    }

    /// As a run reports it: at the same place as a check does.
    pub(crate) fn into_located(self, key: &str, written: &str) -> Error {
        Error::Problem(Box::new(self.into_problem(key, written)))
    }

    /// As one reports it who has no spec to point into.
    pub(crate) fn into_error(self, path: &Path) -> Error {
        let name = self.0.file.unwrap_or_else(|| path.display().to_string());
        let message = format!("`{name}` {}", self.0.message);
        Error::Data(match self.0.help {
            Some(help) => format!("{message}; {help}"),
            None => message,
        })
    }
}

/// Why nothing can be written to this path: it is a directory, or what should be a directory above it is a file.
pub(crate) fn unwritable_path(path: &Path) -> Option<FileProblem> {
    if path.is_dir() {
        return Some(FileProblem::new("bad-path", "is a directory").label("needs a file's name"));
    }
    file_above(path)
}

/// The file that is where a directory of this path should be.
pub(crate) fn file_above(path: &Path) -> Option<FileProblem> {
    let above = path.ancestors().skip(1).find(|above| above.exists())?;
    above.is_file().then(|| {
        FileProblem::new(
            "bad-path",
            format!(
                "cannot be written: `{}` is a file, not a directory",
                above.display()
            ),
        )
        .label("below a file")
        .help("give another path, or move that file away")
    })
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

/// What the system says when a file cannot be read.
pub(super) fn unreadable(error: &std::io::Error) -> FileProblem {
    FileProblem::new("unreadable-file", format!("cannot be read: {error}")).label("cannot be read")
}
