//! Located messages on a terminal: source line, caret, advice.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};
use taktline_core::{Diagnostic, Severity};

use crate::output::Output;

/// Prints the diagnostics on standard error; `source` is the text they point into.
pub(crate) fn print(diagnostics: &[Diagnostic], source: Option<&str>, output: &mut Output) {
    let width = output.width();
    for diagnostic in diagnostics {
        let text = render(diagnostic, source, width);
        output.note(text);
        output.note("");
    }
}

fn render(diagnostic: &Diagnostic, source: Option<&str>, width: usize) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(
        level
            .primary_title(&diagnostic.message)
            .id(&diagnostic.code),
    );
    let place = diagnostic.location.as_ref().zip(source);
    if let Some((location, source)) = place {
        let span = within(source, location.span.clone());
        let annotation = AnnotationKind::Primary
            .span(span)
            .label(diagnostic.label.as_deref());
        group = group.element(
            Snippet::source(source)
                .path(&location.file)
                .fold(true)
                .annotation(annotation),
        );
    } else if let Some(location) = &diagnostic.location {
        group = group.element(
            annotate_snippets::Origin::path(&location.file)
                .line(location.line)
                .char_column(location.column),
        );
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note));
    }
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    Renderer::styled()
        .decor_style(DecorStyle::Ascii)
        .term_width(width.max(60))
        .render(&[group])
}

/// The span cut to the text and to its first line: a caret under a page of YAML helps nobody.
fn within(source: &str, span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start = span.start.min(source.len());
    let end = span.end.clamp(start, source.len());
    let line_end = source[start..end]
        .find('\n')
        .map_or(end, |newline| start + newline);
    start..line_end.max(start)
}
