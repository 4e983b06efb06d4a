//! The structure of delimited text: what polars would pass over in silence, such as a row that is too short, is looked for here.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    str::from_utf8,
};

use encoding_rs::{Encoding, UTF_8};

use super::{
    FileProblem,
    encoding::{Decoded, NotText, not_text},
    input::Place,
    records::{Lines, Records, unquoted},
};

/// Rows of one kind of structural problem that are named; the rest is counted.
const NAMED_ROWS: usize = 3;

/// How CSV is written.
#[derive(Debug, Clone)]
pub(crate) struct Dialect {
    /// Between fields.
    pub(crate) delimiter: u8,
    /// Whether the first line names the columns.
    pub(crate) has_header: bool,
    /// The columns' names, where the file has no header.
    pub(crate) names: Vec<String>,
    /// Texts that stand for null, besides an empty field.
    pub(crate) null_values: Vec<String>,
    /// How characters are coded.
    pub(crate) encoding: &'static Encoding,
    /// What is between a number's whole part and its fraction is a comma.
    pub(crate) decimal_comma: bool,
    /// Where records begin and end.
    pub(crate) lines: Lines,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: b',',
            has_header: true,
            names: Vec::new(),
            null_values: Vec::new(),
            encoding: UTF_8,
            decimal_comma: false,
            lines: Lines::default(),
        }
    }
}

impl Dialect {
    /// The records of the place's text.
    pub(crate) fn records(&self, place: &Place) -> io::Result<Records<Box<dyn Read>>> {
        let reader = place.open()?;
        let text: Box<dyn Read> = if self.encoding == UTF_8 {
            // Records are looked at one by one: a byte that is not UTF-8 is found there.
            reader
        } else {
            Box::new(Decoded::new(reader, self.encoding))
        };
        Records::new(text, self.lines.clone())
    }

    /// Whether one of the names holds the quote itself.
    pub(super) fn has_quote_in(&self, names: &[String]) -> bool {
        let quote = self.lines.quote.map(char::from);
        quote.is_some_and(|quote| names.iter().any(|name| name.contains(quote)))
    }

    /// A field's text, without its quotes.
    pub(crate) fn text(&self, field: &[u8]) -> String {
        unquoted(field, self.lines.quote)
    }
}

/// What the structure of a file tells, without types.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// The columns' names; `column_1`, … without a header.
    pub(super) names: Vec<String>,
    /// Records besides the header.
    pub(super) rows: u64,
    /// Lines before the first record.
    pub(super) lines_before: u64,
    /// Comments stand between records.
    pub(super) has_inner_comments: bool,
    /// Blank lines follow the last record.
    pub(super) has_blank_end: bool,
    /// The header and the records that were looked at, where the look is limited: what types are told from.
    pub(super) sample: Vec<u8>,
    /// Lines with another number of fields than the first, and that number.
    ragged: Vec<(u64, usize)>,
    /// How many such lines there are in all.
    ragged_count: u64,
    /// The first byte that is no text.
    not_text: Option<NotText>,
    /// The line of a quote that is never closed.
    open_quote: Option<u64>,
    /// Nothing at all is in the file.
    is_empty: bool,
}

/// What to do with records that are in order, besides looking at them.
pub(super) enum Keep<'k> {
    /// Look at so many and keep them in memory.
    Sample(usize),
    /// Look at all.
    Nothing,
    /// Look at all and write them, each on a line, without comments and blank lines at the end.
    Copy(&'k mut dyn Write),
}

/// Looks at the structure of a file.
pub(super) fn outline(place: &Place, dialect: &Dialect, keep: Keep<'_>) -> io::Result<Outline> {
    let outline = look(place, dialect, keep);
    match outline {
        Err(error) => match not_text(&error) {
            Some(found) => Ok(Outline {
                not_text: Some(found),
                ..Outline::default()
            }),
            None => Err(error),
        },
        found => found,
    }
}

fn look(place: &Place, dialect: &Dialect, mut keep: Keep<'_>) -> io::Result<Outline> {
    let limit = match keep {
        Keep::Sample(limit) => Some(limit as u64),
        _ => None,
    };
    let mut records = dialect.records(place)?;
    let mut outline = Outline {
        is_empty: true,
        ..Outline::default()
    };
    // A blank line is no record where a record has several fields; at the end of a file it is only untidy.
    let mut blank = Vec::new();
    let mut next_line = None;
    while let Some(record) = records.next()? {
        if let Err(error) = from_utf8(record.bytes) {
            let before = &record.bytes[..error.valid_up_to()];
            let lines_before = before.iter().filter(|byte| **byte == b'\n').count() as u64;
            outline.is_empty = false;
            outline.not_text = Some(NotText {
                line: record.line + lines_before,
                offset: record.offset + before.len() as u64,
                encoding: UTF_8.name(),
            });
            break;
        }
        outline.has_inner_comments |= next_line.is_some_and(|next| next != record.line);
        let line_ends = if dialect.lines.comment.is_some() {
            record.bytes.iter().filter(|byte| **byte == b'\n').count() as u64
        } else {
            0
        };
        next_line = dialect
            .lines
            .comment
            .as_ref()
            .map(|_| record.line + line_ends + 1);
        if outline.is_empty {
            outline.is_empty = false;
            outline.lines_before = record.line - 1;
            let first = record
                .fields(dialect.delimiter)
                .map(|field| dialect.text(field));
            outline.names = if dialect.has_header {
                first.collect()
            } else {
                first
                    .enumerate()
                    .map(|(index, _)| match dialect.names.get(index) {
                        Some(name) => name.clone(),
                        None => format!("column_{}", index + 1),
                    })
                    .collect()
            };
            if dialect.has_header {
                outline.keep(record.bytes, &mut keep)?;
                continue;
            }
        }
        if record.is_open {
            outline.open_quote = Some(record.line);
        }
        let width = outline.names.len();
        if width > 1 && record.is_blank() {
            blank.push(record.line);
            continue;
        }
        for line in blank.drain(..) {
            outline.note_ragged(line, 0);
        }
        let count = record.count_fields(dialect.delimiter);
        if count != width {
            outline.note_ragged(record.line, count);
        }
        outline.keep(record.bytes, &mut keep)?;
        outline.rows += 1;
        if limit.is_some_and(|limit| outline.rows >= limit) {
            break;
        }
    }
    outline.has_blank_end = !blank.is_empty();
    // Comments after the last record.
    outline.has_inner_comments |=
        limit.is_none() && next_line.is_some_and(|next| next <= records.lines_before());
    Ok(outline)
}

impl Outline {
    fn keep(&mut self, record: &[u8], keep: &mut Keep<'_>) -> io::Result<()> {
        match keep {
            Keep::Sample(_) => {
                self.sample.extend_from_slice(record);
                self.sample.push(b'\n');
                Ok(())
            }
            Keep::Nothing => Ok(()),
            Keep::Copy(writer) => {
                writer.write_all(record)?;
                writer.write_all(b"\n")
            }
        }
    }

    fn note_ragged(&mut self, line: u64, fields: usize) {
        self.ragged_count += 1;
        if self.ragged.len() < NAMED_ROWS {
            self.ragged.push((line, fields));
        }
    }

    /// Whether there is a header, perhaps, and nothing below it.
    pub(super) fn has_no_rows(&self) -> bool {
        self.rows == 0 && self.ragged_count == 0
    }

    /// Everything that is wrong, but that there are no rows.
    pub(super) fn problems(&self, dialect: &Dialect) -> Vec<FileProblem> {
        if let Some(found) = &self.not_text {
            return vec![self.not_text_problem(found, dialect)];
        }
        if self.is_empty {
            let about = if dialect.lines == Lines::default() {
                "is empty (0 bytes)"
            } else {
                "is empty but for lines that are passed over"
            };
            return vec![FileProblem::new("empty-source", about).label("nothing to read")];
        }
        let mut problems = self.header_problems(dialect);
        if let Some(line) = self.open_quote {
            problems.push(
                FileProblem::new(
                    "open-quote",
                    format!("has a quote in the record on line {line} that is never closed"),
                )
                .label("a quote without its partner"),
            );
        }
        problems.extend(self.ragged_problem(dialect));
        problems
    }

    /// That there are no rows, if so.
    pub(super) fn no_rows(&self, dialect: &Dialect) -> Option<FileProblem> {
        let about = if dialect.has_header {
            "has a header but no rows"
        } else {
            "has no rows"
        };
        self.has_no_rows()
            .then(|| FileProblem::new("empty-source", about).label("nothing to read"))
    }

    fn not_text_problem(&self, found: &NotText, dialect: &Dialect) -> FileProblem {
        let code = if found.encoding == UTF_8.name() {
            "not-utf8"
        } else {
            "not-text"
        };
        let problem = FileProblem::new(code, format!("is {found} of the file"))
            .label(format!("not {} text", found.encoding));
        if dialect.encoding != UTF_8 {
            return problem.help("another `encoding` may be the right one");
        }
        let help = if found.offset == 0 {
            // The byte order marks of UTF-16 are no UTF-8.
            "it may be UTF-16: set `encoding: utf-16`"
        } else {
            "if it is not damaged, say how it is coded: `encoding: windows-1252` (Western Europe), `gbk` (China), `shift_jis` (Japan), …"
        };
        problem.help(help)
    }

    fn header_problems(&self, dialect: &Dialect) -> Vec<FileProblem> {
        let mut problems = Vec::new();
        let given = dialect.names.len();
        if !dialect.has_header && given > 0 && given != self.names.len() {
            problems.push(
                FileProblem::new(
                    "wrong-names",
                    format!("has {}, and `names` has {given}", columns(self.names.len())),
                )
                .param("names")
                .label(format!("{given} names")),
            );
        }
        let mut seen = BTreeSet::new();
        let mut told = BTreeSet::new();
        for (index, name) in self.names.iter().enumerate() {
            if name.is_empty() {
                problems.push(
                    FileProblem::new(
                        "bad-header",
                        format!("has no name for column {} in its header", index + 1),
                    )
                    .label("a column without a name")
                    .help("name it, or set `has_header: false` if the first line is data"),
                );
            } else if !seen.insert(name) && told.insert(name) {
                problems.push(
                    FileProblem::new(
                        "duplicate-column",
                        format!("names the column `{name}` twice in its header"),
                    )
                    .label("two columns of one name")
                    .help("rename one of them in the file"),
                );
            }
        }
        problems
    }

    fn ragged_problem(&self, dialect: &Dialect) -> Option<FileProblem> {
        let (line, fields) = self.ragged.first()?;
        let than = if dialect.has_header {
            "the header".to_owned()
        } else {
            format!("line {}", self.lines_before + 1)
        };
        let mut problem = FileProblem::new(
            "ragged-csv",
            format!(
                "is ragged: line {line} has {} where {than} has {}",
                counted(*fields),
                self.names.len()
            ),
        )
        .label("rows of different length");
        if self.ragged_count > 1 {
            let lines: Vec<String> = self
                .ragged
                .iter()
                .map(|(line, _)| line.to_string())
                .collect();
            let dots = if self.ragged_count > self.ragged.len() as u64 {
                ", …"
            } else {
                ""
            };
            problem = problem.note(format!(
                "{} such lines: {}{dots}",
                self.ragged_count,
                lines.join(", ")
            ));
        }
        if self.names.len() == 1 {
            problem = problem.help("if fields are not separated by `,`, set `delimiter`");
        }
        Some(problem)
    }
}

fn counted(fields: usize) -> String {
    match fields {
        0 => "nothing".into(),
        1 => "1 field".into(),
        count => format!("{count} fields"),
    }
}

fn columns(count: usize) -> String {
    match count {
        1 => "1 column".into(),
        count => format!("{count} columns"),
    }
}
