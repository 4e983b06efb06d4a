//! Collects diagnostics with their places.

use std::ops::Range;

use taktline_core::{Diagnostic, Problem, Severity};

use crate::{
    source::{Places, SourceText},
    tree::{Key, Node, NodeValue},
};

/// Everything that was found in one spec.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) source: &'a SourceText,
    pub(crate) places: &'a Places,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(source: &'a SourceText, places: &'a Places) -> Self {
        Self {
            source,
            places,
            diagnostics: Vec::new(),
        }
    }

    /// An error at these bytes; the caller adds label, help and notes.
    pub(crate) fn error(
        &mut self,
        span: Range<usize>,
        code: &str,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let location = Some(self.places.location(self.source, span));
        self.push(Diagnostic {
            location,
            ..Diagnostic::error(code, message)
        })
    }

    /// A warning at these bytes.
    pub(crate) fn warning(
        &mut self,
        span: Range<usize>,
        code: &str,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let diagnostic = self.error(span, code, message);
        diagnostic.severity = Severity::Warning;
        diagnostic
    }

    /// An error without a place in the file.
    pub(crate) fn elsewhere(&mut self, code: &str, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Diagnostic::error(code, message))
    }

    pub(crate) fn problem(&mut self, span: Range<usize>, problem: &Problem) -> &mut Diagnostic {
        let location = Some(self.places.location(self.source, span));
        self.push(Diagnostic {
            severity: problem.severity,
            code: problem.code.to_owned(),
            message: problem.message.clone(),
            location,
            label: problem.label.clone(),
            help: problem.help.clone(),
            notes: problem.notes.clone(),
        })
    }

    fn push(&mut self, diagnostic: Diagnostic) -> &mut Diagnostic {
        let index = self.diagnostics.len();
        self.diagnostics.push(diagnostic);
        &mut self.diagnostics[index]
    }

    pub(crate) fn errors(&self) -> usize {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error)
            .count()
    }

    /// "line 12", for notes.
    pub(crate) fn line(&self, span: &Range<usize>) -> usize {
        self.places.line(span.start)
    }

    /// The bytes to underline for a node: never a whole block of lines, and the key where the value is not written.
    pub(crate) fn underline(&self, node: &Node, key: Option<&Key>) -> Range<usize> {
        underline(self.source, node, key)
    }
}

/// The bytes to underline for a node.
pub(crate) fn underline(source: &SourceText, node: &Node, key: Option<&Key>) -> Range<usize> {
    let written = source.text.get(node.span.clone()).unwrap_or_default();
    let is_absent =
        matches!(node.value, NodeValue::Null) && !matches!(written, "null" | "~" | "Null" | "NULL");
    let first_line = written.lines().next().unwrap_or_default().trim_end();
    match key {
        Some(key) if is_absent || first_line.len() < written.len() => key.span.clone(),
        _ => match node.entries().first() {
            Some((first, _)) if first_line.len() < written.len() => first.span.clone(),
            _ => node.span.start..node.span.start + first_line.len(),
        },
    }
}
