//! Located messages: what is wrong, where, why we think so, what to do.

use std::ops::Range;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The pipeline can run; the user should know.
    Warning,
    /// The pipeline cannot run.
    Error,
}

/// One step on the way to a node inside a stage's params.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParamStep {
    /// The value under this key.
    Key(String),
    /// The item at this index.
    Index(usize),
    /// The key itself, not its value. Only as the last step.
    KeyOf(String),
}

impl From<&str> for ParamStep {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}
impl From<String> for ParamStep {
    fn from(key: String) -> Self {
        Self::Key(key)
    }
}
impl From<&String> for ParamStep {
    fn from(key: &String) -> Self {
        Self::Key(key.clone())
    }
}
impl From<usize> for ParamStep {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Where in a stage's params a problem sits; empty means the stage's kind itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParamPath(pub Vec<ParamStep>);

impl ParamPath {
    /// The stage's kind itself.
    pub fn kind() -> Self {
        Self::default()
    }

    /// This path, one step further.
    pub fn join(&self, step: impl Into<ParamStep>) -> Self {
        let mut steps = self.0.clone();
        steps.push(step.into());
        Self(steps)
    }
}

/// `path!["columns", 0]`: a [`ParamPath`] from keys and indices.
#[macro_export]
macro_rules! path {
    ($($step:expr),* $(,)?) => { $crate::ParamPath(vec![$($crate::ParamStep::from($step)),*]) };
}

/// A problem that a stage found in its own params or inputs; the spec turns it into a [`Diagnostic`].
#[derive(Debug, Clone)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// A stable short name: `unknown-column`.
    pub code: &'static str,
    /// Where, inside the stage's params.
    pub path: ParamPath,
    /// A byte range inside the scalar at `path` (a word of an SQL expression), if it is narrower than the node.
    pub range: Option<Range<usize>>,
    /// One line, lower case, no final period, names in backticks.
    pub message: String,
    /// Said at the caret.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Vec<String>,
    /// Evidence: what was seen that made us say so.
    pub notes: Vec<String>,
    /// The column that is not there, where that is what is wrong.
    pub column: Option<String>,
}

impl Problem {
    /// An error at `path`.
    pub fn error(code: &'static str, path: ParamPath, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            path,
            range: None,
            message: message.into(),
            label: None,
            help: Vec::new(),
            notes: Vec::new(),
            column: None,
        }
    }

    /// The column that is not there.
    #[must_use]
    pub fn of_column(mut self, name: impl Into<String>) -> Self {
        self.column = Some(name.into());
        self
    }

    /// A warning at `path`.
    pub fn warning(code: &'static str, path: ParamPath, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, path, message)
        }
    }

    /// With the byte range inside the scalar.
    pub fn range(mut self, range: Option<Range<usize>>) -> Self {
        self.range = range;
        self
    }

    /// With words at the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With a line of advice.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// With a line of advice, if there is one.
    pub fn help_if(mut self, help: Option<String>) -> Self {
        self.help.extend(help);
        self
    }

    /// With a line of evidence.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Location {
    /// The file, as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Bytes of the file that the caret underlines.
    pub span: Range<usize>,
}

/// A located message, ready to be shown or written as JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable short name: `unknown-column`.
    pub code: String,
    /// One line.
    pub message: String,
    /// Where, if it has a place.
    pub location: Option<Location>,
    /// Said at the caret.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Vec<String>,
    /// Evidence.
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// An error without a place (yet).
    pub fn error(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code: code.into(),
            message: message.into(),
            location: None,
            label: None,
            help: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// With a line of advice.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}
