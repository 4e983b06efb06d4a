//! Where things are printed: results on standard output, everything else on standard error.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

pub(crate) use taktline_core::{counted, thousands};

use crate::args::{Color, Format};

/// Bold, for headings.
pub(crate) const BOLD: anstyle::Style = anstyle::Style::new().bold();
/// Faint, for what is of second importance.
pub(crate) const FAINT: anstyle::Style = anstyle::Style::new().dimmed();
/// What is well.
pub(crate) const GOOD: anstyle::Style =
    anstyle::Style::new().fg_color(Some(anstyle::Color::Ansi(anstyle::AnsiColor::Green)));
/// What is not.
pub(crate) const BAD: anstyle::Style = anstyle::Style::new()
    .fg_color(Some(anstyle::Color::Ansi(anstyle::AnsiColor::Red)))
    .bold();

/// Text in a style; streams without colour drop the codes.
pub(crate) fn styled(style: anstyle::Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The two streams and how to write to them.
pub(crate) struct Output {
    format: Format,
    stdout: AutoStream<io::Stdout>,
    stderr: AutoStream<io::Stderr>,
}

impl Output {
    pub(crate) fn new(format: Format, color: Color) -> Self {
        let choice = match color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::AlwaysAnsi,
            Color::Never => ColorChoice::Never,
        };
        Self {
            format,
            stdout: AutoStream::new(io::stdout(), choice),
            stderr: AutoStream::new(io::stderr(), choice),
        }
    }

    /// How to print results.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Whether a script reads our results.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether messages may hold codes for colour.
    pub(crate) fn is_coloured(&self) -> bool {
        !matches!(
            self.stderr.current_choice(),
            ColorChoice::Never | ColorChoice::Auto
        )
    }

    /// Whether a person watches standard error.
    pub(crate) fn is_watched(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// The width of the terminal that shows our results; 100 where there is none.
    pub(crate) fn width(&self) -> usize {
        let terminal = if io::stdout().is_terminal() {
            terminal_size::terminal_size_of(io::stdout())
        } else {
            terminal_size::terminal_size_of(io::stderr())
        };
        columns(terminal).unwrap_or(100)
    }

    /// The width of the terminal that shows our results; none where they go elsewhere, and lines may be as long as they are.
    pub(crate) fn terminal_width(&self) -> Option<usize> {
        columns(terminal_size::terminal_size_of(io::stdout()))
    }

    /// A line of the result.
    pub(crate) fn line(&mut self, text: impl Display) -> anyhow::Result<()> {
        writeln!(self.stdout, "{text}")?;
        Ok(())
    }

    /// A table, in the width that there is.
    pub(crate) fn table(&mut self, table: &Table) -> anyhow::Result<()> {
        for line in table.lines(self.width()) {
            self.line(line)?;
        }
        Ok(())
    }

    /// The result as JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        // As an I/O error, so that a closed pipe is known for what it is.
        serde_json::to_writer_pretty(&mut self.stdout, value).map_err(io::Error::from)?;
        writeln!(self.stdout)?;
        Ok(())
    }

    /// Something beside the result: a message, a diagnostic.
    pub(crate) fn note(&mut self, text: impl Display) {
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(self.stderr, "{text}");
    }

    /// An error without a place in a file.
    pub(crate) fn error(&mut self, error: &anyhow::Error) {
        self.note(format!("{}: {}", styled(BAD, "error"), chain(error)));
    }

    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        self.stdout.flush()?;
        Ok(())
    }
}

/// The width of the terminal on which a person watches standard error; none where there is none.
pub(crate) fn watched_width() -> Option<usize> {
    columns(terminal_size::terminal_size_of(io::stderr()))
}

fn columns(terminal: Option<(terminal_size::Width, terminal_size::Height)>) -> Option<usize> {
    terminal.map(|(width, _)| usize::from(width.0).max(20))
}

/// The error and its causes, without those that were told already: many errors' texts end with their cause's.
fn chain(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let cause = match cause.split_once(" at path \"") {
            Some((answer, _)) => answer,
            None => &cause,
        };
        if !told.contains(cause) {
            if !told.is_empty() {
                told.push_str(": ");
            }
            told.push_str(cause);
        }
    }
    told
}

/// A table without borders; its last column is cut to the terminal's width by wrapping. Where it is too wide, columns without a word
/// are left out.
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

/// On which side a column's cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

impl Table {
    pub(crate) fn new(columns: impl IntoIterator<Item = (&'static str, Align)>) -> Self {
        Self {
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The columns to show.
    fn shown(&self, width: usize) -> Vec<usize> {
        let all = 0..self.columns.len();
        let cells = |index: usize| self.rows.iter().filter_map(move |row| row.get(index));
        let natural = |index: usize| {
            let lines = cells(index).flat_map(|cell| cell.lines());
            let lines = lines.chain([self.columns[index].0]);
            lines.map(|line| line.chars().count()).max().unwrap_or(0)
        };
        let widths: usize = all.clone().map(natural).sum();
        // Two spaces between columns, and one behind the last.
        let fits = widths + 2 * all.len() <= width + 1;
        let says_something = |index: &usize| cells(*index).any(|cell| !cell.is_empty());
        all.filter(|index| *index == 0 || fits || self.rows.is_empty() || says_something(index))
            .collect()
    }

    /// Lines of at most `width` columns where that is possible.
    pub(crate) fn lines(&self, width: usize) -> Vec<String> {
        use comfy_table::{
            Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Width,
            presets::NOTHING,
        };
        let mut table = comfy_table::Table::new();
        table
            .load_preset(NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        table
            .set_width(u16::try_from(width).unwrap_or(u16::MAX))
            .force_no_tty();
        let shown = self.shown(width);
        let headings = shown.iter().map(|index| self.columns[*index].0);
        table.set_header(headings.map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
        for row in &self.rows {
            table.add_row(shown.iter().filter_map(|index| row.get(*index)));
        }
        let longest_word = |index: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let words = cells.flat_map(|cell| cell.split_whitespace());
            let words = words.chain(self.columns[index].0.split_whitespace());
            words.map(|word| word.chars().count()).max().unwrap_or(0)
        };
        for (index, of) in shown.iter().copied().enumerate() {
            let align = self.columns[of].1;
            if let Some(column) = table.column_mut(index) {
                // A name or word that is broken over lines can be neither read nor copied; a number must not be.
                let longest = longest_word(of) + 1;
                if align == Align::Right || (index == 0 && longest <= width / 2) {
                    column.set_constraint(ColumnConstraint::ContentWidth);
                } else if longest <= width / 4 {
                    let least = u16::try_from(longest + 1).unwrap_or(u16::MAX);
                    column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
                }
                column.set_padding((if index == 0 { 0 } else { 1 }, 1));
                if align == Align::Right {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        table
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }
}

/// The text in lines of at most so many characters; its own line ends count only between paragraphs and before list items.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.replace("\n- ", "\n\n- ").split("\n\n") {
        if !lines.is_empty() && !paragraph.starts_with("- ") {
            lines.push(String::new());
        }
        let mut line = String::new();
        let mut length = 0;
        for word in paragraph.split_whitespace() {
            let characters = word.chars().count();
            if length > 0 && length + 1 + characters > width {
                lines.push(std::mem::take(&mut line));
                length = 0;
            }
            if length > 0 {
                line.push(' ');
                length += 1;
            }
            line.push_str(word);
            length += characters;
        }
        lines.push(line);
    }
    lines
}

/// Bytes as people read them: `812 B`, `3.4 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would be shown as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Seconds as people read them: `0.02 s`, `1 min 12 s`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.2} s")
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        let whole = seconds.round() as u64;
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

/// A metric's value: four digits behind the point, whole numbers without.
pub(crate) fn figure(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 && value.abs() >= 2.0 {
        format!("{value:.0}")
    } else if value != 0.0 && (value.abs() < 1e-3 || value.abs() >= 1e6) {
        format!("{value:.3e}")
    } else {
        // No figure is minus nothing.
        format!("{:.4}", value + 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let full = taktline_core::Error::writing("report.html", std::io::Error::other("disk full"));
        assert_eq!(
            chain(&anyhow::Error::new(full).context("no report")),
            "no report: cannot write `report.html`: disk full"
        );
    }

    #[test]
    fn names_stay_in_one_piece() {
        let mut table = Table::new([
            ("param", Align::Left),
            ("type", Align::Left),
            ("meaning", Align::Left),
        ]);
        let name = "optimizer.adamw.learning_rate";
        table.row([
            name.to_owned(),
            "number ≥ 0.000001 ≤ 10.0".to_owned(),
            "How far each step goes, and then some more words. ".repeat(9),
        ]);
        let lines = table.lines(80);
        assert!(lines[1].starts_with(name), "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn a_narrow_table_leaves_out_what_says_nothing() {
        let mut table = Table::new([
            ("stage", Align::Left),
            ("rows in", Align::Right),
            ("changed", Align::Left),
            ("time", Align::Right),
            ("how", Align::Left),
        ]);
        let row = |changed: &str| {
            ["quality_classifier", "12,345", changed, "21.3 s", ""].map(str::to_owned)
        };
        table.row(row(""));
        assert!(table.lines(80)[0].contains("changed"), "there is room");
        assert_eq!(
            table.lines(45),
            [
                "stage               rows in    time",
                "quality_classifier   12,345  21.3 s"
            ]
        );
        // What says something stays, and no word of it is broken, nor its heading.
        table.row(row("-12 rows, +3 rows"));
        let lines = table.lines(45);
        assert!(lines[0].contains("changed") && !lines[0].contains("how"));
        assert!(lines.iter().all(|line| line.chars().count() <= 45));
    }

    #[test]
    fn writes_numbers_as_people_read_them() {
        assert_eq!(duration(72.4), "1 min 12 s");
        assert_eq!(figure(0.96254), "0.9625");
        assert_eq!(figure(2000.0), "2000");
        assert_eq!(figure(1.0), "1.0000");
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(3_400_000), "3.4 MB");
        assert_eq!(bytes(999_999), "1.0 MB");
    }
}
