//! SQL expressions: text to [`Expression`], checked against a schema.
//!
//! The grammar is sqlparser's (PostgreSQL); what is understood of it is [`functions`], arithmetic, comparisons, `and`, `or`,
//! `not`, `is null`, `is distinct from`, `between`, `in` with constants, `like`, `ilike`, `case`, `cast`, `try_cast`, `::`,
//! `extract`, `at time zone`, and constants of date, timestamp and interval. Column names are case-sensitive; double quotes
//! hold names that are not plain words.

use std::ops::Range;

use polars::prelude::DataType;

use crate::{Expression, ParamPath, Problem, Schema};

mod compiler;
mod constants;
mod functions;
mod operands;
mod shapes;
#[cfg(test)]
mod tests;

pub use constants::{date, timestamp};
pub use functions::{functions, type_named};

pub(crate) use functions::{
    aggregate_name, function_name, is_time_format, pair_aggregate_name, pattern_groups,
    pattern_problem, signature_of,
};

use compiler::{Compiler, Place};

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
    /// `unknown-column`, `open-column`, `unknown-function`, `type-mismatch`, `bad-expression`, `aggregate-not-allowed`
    /// or `wrong-arguments`.
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
    fn new(code: &'static str, range: Option<Range<usize>>, message: impl Into<String>) -> Self {
        Self {
            code,
            range,
            message: message.into(),
            label: None,
            help: None,
            column: None,
        }
    }

    fn bad(range: Option<Range<usize>>, message: impl Into<String>) -> Self {
        Self::new("bad-expression", range, message)
    }

    fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn help_if(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Names the stage in the message of an unknown column: "stage `derive` reads `amout`, which its input does not have".
    pub fn in_stage(mut self, stage: &str) -> Self {
        if let Some(column) = &self.column {
            self.message =
                format!("stage `{stage}` reads `{column}`, which its input does not have");
        }
        self
    }

    /// As a problem of the param that holds the text.
    pub fn at(self, path: ParamPath) -> Problem {
        let mut problem = Problem::error(self.code, path, self.message)
            .range(self.range)
            .help_if(self.help);
        problem.column = self.column;
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
    with_room(text, || Compiler::new(text, schema).run(Place::Row))
}

/// An expression over many rows: `sum(amount)`, `max(balance) - min(balance)`; every column stands inside an aggregate.
///
/// # Errors
/// Every problem found, in text order.
pub fn compile_aggregate(text: &str, schema: &Schema) -> Result<Compiled, Vec<SqlProblem>> {
    with_room(text, || Compiler::new(text, schema).run(Place::Around))
}

/// A chain of operators becomes a tree as deep as it is long, and takes a stack of its own; what people write seldom needs one.
fn with_room<T>(text: &str, compile: impl FnOnce() -> T) -> T {
    const SHORT: usize = 400;
    const STACK: usize = 64 << 20;
    match text.len() {
        ..=SHORT => compile(),
        _ => stacker::grow(STACK, compile),
    }
}
