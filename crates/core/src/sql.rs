//! SQL expressions: text to [`Expression`], checked against a schema.

use std::ops::Range;

use polars::prelude::DataType;

use crate::{Expression, ParamPath, Problem, Schema};

/// A checked expression and the type of its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// The expression.
    pub expression: Expression,
    /// The type of its value.
    pub dtype: DataType,
}

/// What is wrong with an expression, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlProblem {
    /// `unknown-column`, `unknown-function`, `type-mismatch`, `bad-expression`, `aggregate-not-allowed` or
    /// `wrong-arguments`.
    pub code: &'static str,
    /// The bytes of the text that are wrong.
    pub range: Option<Range<usize>>,
    /// One line.
    pub message: String,
    /// Said at the caret.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// The column that does not exist, where that is what is wrong.
    pub column: Option<String>,
}

impl SqlProblem {
    /// Names the stage in the message of an unknown column: "stage `derive` reads `amout`, which its input does not have".
    pub fn in_stage(mut self, stage: &str) -> Self {
        if let Some(column) = &self.column {
            self.message = format!("stage `{stage}` reads `{column}`, which its input does not have");
        }
        self
    }

    /// As a problem of the param that holds the text.
    pub fn at(self, path: ParamPath) -> Problem {
        let problem = Problem::error(self.code, path, self.message).range(self.range).help_if(self.help);
        match self.label {
            Some(label) => problem.label(label),
            None => problem,
        }
    }
}

/// An expression over the columns of one row.
///
/// # Errors
/// Every problem found, in text order.
pub fn compile(text: &str, schema: &Schema) -> Result<Compiled, Vec<SqlProblem>> {
    let _ = (text, schema);
    Err(Vec::new())
}

/// An expression over many rows: `sum(amount)`, `max(balance) - min(balance)`; every column stands inside an aggregate.
///
/// # Errors
/// Every problem found, in text order.
pub fn compile_aggregate(text: &str, schema: &Schema) -> Result<Compiled, Vec<SqlProblem>> {
    let _ = (text, schema);
    Err(Vec::new())
}

/// The functions that expressions may call: name, signature, what it does.
pub fn functions() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    std::iter::empty()
}

/// The type of that name, as `cast` takes it: `int`, `f32`, `text`, `timestamp`.
pub fn type_named(name: &str) -> Option<DataType> {
    let _ = name;
    None
}
