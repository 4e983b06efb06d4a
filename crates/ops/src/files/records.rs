//! The records of delimited text, as raw bytes with their line numbers; no types, no copies.

use std::io::{self, BufRead, Read};

const CHUNK: usize = 1 << 18;
/// UTF-8's byte order mark.
const MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// What decides where a record begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Around fields that hold delimiters or line ends; `None` where no byte has that meaning.
    pub(crate) quote: Option<u8>,
    /// A line that begins with this, where a record could begin, is none.
    pub(crate) comment: Option<Vec<u8>>,
    /// Lines at the start of the file that are passed over, whatever is in them.
    pub(crate) skip: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            quote: Some(b'"'),
            comment: None,
            skip: 0,
        }
    }
}

/// A record: one line, or more where a quoted field holds line ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// Its bytes, without the line end.
    pub(crate) bytes: &'a [u8],
    /// The line that it starts on, from 1.
    pub(crate) line: u64,
    /// Where it starts in the decompressed file.
    pub(crate) offset: u64,
    /// It ends with the file, inside a quoted field.
    pub(crate) is_open: bool,
    /// The quote, where it is in the record.
    quote: Option<u8>,
}

impl<'a> Record<'a> {
    /// Whether there is nothing on its line.
    pub(crate) fn is_blank(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many fields it has.
    pub(crate) fn count_fields(&self, delimiter: u8) -> usize {
        if self.quote.is_some() {
            return self.fields(delimiter).count();
        }
        // Counting bytes in one sweep is several times faster than finding each delimiter.
        1 + self.bytes.iter().filter(|byte| **byte == delimiter).count()
    }

    /// Its fields, still quoted.
    pub(crate) fn fields(&self, delimiter: u8) -> impl Iterator<Item = &'a [u8]> {
        let mut is_quoted = false;
        let quote = self.quote;
        self.bytes.split(move |byte| {
            if Some(*byte) == quote {
                is_quoted = !is_quoted;
            }
            *byte == delimiter && !is_quoted
        })
    }
}

/// A field's text, without its quotes.
pub(crate) fn unquoted(field: &[u8], quote: Option<u8>) -> String {
    let text = String::from_utf8_lossy(field);
    let Some(quote) = quote.map(char::from) else {
        return text.into_owned();
    };
    match text
        .strip_prefix(quote)
        .and_then(|rest| rest.strip_suffix(quote))
    {
        Some(inner) => inner.replace(&format!("{quote}{quote}"), &quote.to_string()),
        None => text.into_owned(),
    }
}

/// Cuts a stream into records.
pub(crate) struct Records<R> {
    reader: R,
    lines: Lines,
    buffer: Vec<u8>,
    /// Where the next record starts in the buffer.
    start: usize,
    /// How much of the stream was before the buffer.
    consumed: u64,
    line: u64,
    is_at_end: bool,
}

impl<R: Read> Records<R> {
    /// The records of this stream; a byte order mark is passed over.
    pub(crate) fn new(reader: R, lines: Lines) -> io::Result<Self> {
        let skip = lines.skip;
        let mut records = Self {
            reader,
            lines,
            buffer: Vec::with_capacity(CHUNK),
            start: 0,
            consumed: 0,
            line: 1,
            is_at_end: false,
        };
        records.ahead(MARK.len())?;
        if records.buffer.starts_with(MARK) {
            records.start = MARK.len();
        }
        for _ in 0..skip {
            records.pass_line()?;
        }
        Ok(records)
    }

    /// Lines that have gone by, those of the last record included.
    pub(crate) fn lines_before(&self) -> u64 {
        self.line - 1
    }

    /// At least so many bytes in the buffer, where the stream has them.
    fn ahead(&mut self, count: usize) -> io::Result<()> {
        while self.buffer.len() < self.start + count && !self.is_at_end {
            self.fill()?;
        }
        Ok(())
    }

    /// Goes to the start of the next line.
    fn pass_line(&mut self) -> io::Result<()> {
        loop {
            let mut rest = &self.buffer[self.start..];
            let length = rest.skip_until(b'\n')?;
            if self.buffer[self.start..self.start + length].ends_with(b"\n") {
                self.line += 1;
                self.start += length;
                return Ok(());
            }
            self.start += length;
            if self.is_at_end {
                return Ok(());
            }
            self.fill()?;
        }
    }

    fn pass_comments(&mut self) -> io::Result<()> {
        let Some(prefix) = self.lines.comment.take() else {
            return Ok(());
        };
        self.ahead(prefix.len())?;
        while self.buffer[self.start..].starts_with(&prefix) {
            self.pass_line()?;
            self.ahead(prefix.len())?;
        }
        self.lines.comment = Some(prefix);
        Ok(())
    }

    /// The next record; `None` at the end. (Not an `Iterator`: a record borrows the buffer.)
    pub(crate) fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        self.pass_comments()?;
        let mut scanned = 0;
        let mut quotes = 0;
        let mut lines = 0;
        loop {
            let mut rest = &self.buffer[self.start + scanned..];
            let available = rest.len();
            // The standard library's search for a byte uses the processor's widest registers.
            let length = rest.skip_until(b'\n')?;
            let part = &self.buffer[self.start + scanned..self.start + scanned + length];
            if part.ends_with(b"\n") {
                quotes += self.count_quotes(part);
                lines += 1;
                scanned += length;
                if quotes % 2 == 0 {
                    return Ok(Some(self.take(scanned, lines, quotes)));
                }
            } else if self.is_at_end {
                quotes += self.count_quotes(part);
                scanned += available;
                if scanned == 0 {
                    return Ok(None);
                }
                return Ok(Some(self.take(scanned, lines, quotes)));
            } else {
                // The line goes on in the next chunk: look at it again when it is whole.
                self.fill()?;
            }
        }
    }

    fn take(&mut self, length: usize, lines: u64, quotes: usize) -> Record<'_> {
        let line = self.line;
        let offset = self.consumed + self.start as u64;
        let start = self.start;
        self.start += length;
        self.line += lines;
        let mut bytes = &self.buffer[start..start + length];
        if let Some(rest) = bytes.strip_suffix(b"\n") {
            bytes = rest.strip_suffix(b"\r").unwrap_or(rest);
        }
        Record {
            bytes,
            line,
            offset,
            is_open: quotes % 2 == 1,
            quote: self.lines.quote.filter(|_| quotes > 0),
        }
    }

    /// Reads more, keeping what is not yet a whole record.
    fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.consumed += self.start as u64;
            self.start = 0;
        }
        let read = (&mut self.reader)
            .take(CHUNK as u64)
            .read_to_end(&mut self.buffer)?;
        self.is_at_end = read == 0;
        Ok(())
    }

    fn count_quotes(&self, bytes: &[u8]) -> usize {
        match self.lines.quote {
            Some(quote) if bytes.contains(&quote) => {
                bytes.iter().filter(|byte| **byte == quote).count()
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<(String, u64, u64, bool)> {
        read_with(text, Lines::default())
    }

    fn read_with(text: &[u8], lines: Lines) -> Vec<(String, u64, u64, bool)> {
        let mut records = Records::new(text, lines).expect("reads");
        let mut found = Vec::new();
        while let Some(record) = records.next().expect("reads") {
            let text = String::from_utf8_lossy(record.bytes).into_owned();
            found.push((text, record.line, record.offset, record.is_open));
        }
        found
    }

    #[test]
    fn a_quoted_line_end_stays_in_its_record() {
        let found = read(b"a,b\r\n\"x\ny\",1\nz,2");
        let expected = [
            ("a,b", 1, 0, false),
            ("\"x\ny\",1", 2, 5, false),
            ("z,2", 4, 13, false),
        ];
        assert_eq!(
            found,
            expected.map(|(text, line, offset, open)| (text.to_owned(), line, offset, open))
        );
    }

    #[test]
    fn a_quote_that_is_never_closed_is_seen() {
        let found = read(b"a,b\n\"x,1\ny,2\n");
        assert_eq!(found[1].1, 2);
        assert!(found[1].3);
    }

    #[test]
    fn the_byte_order_mark_is_no_part_of_the_header() {
        assert_eq!(read(b"\xef\xbb\xbfa\n1\n")[0].0, "a");
        assert!(read(b"").is_empty());
        assert!(read(b"\xef\xbb\xbf").is_empty());
    }

    #[test]
    fn delimiters_inside_quotes_do_not_count() {
        let record = Record {
            bytes: b"\"a,b\",c,\"d \"\"e\"\"\"",
            line: 1,
            offset: 0,
            is_open: false,
            quote: Some(b'"'),
        };
        assert_eq!(record.count_fields(b','), 3);
        assert_eq!(
            record
                .fields(b',')
                .map(|field| unquoted(field, Some(b'"')))
                .collect::<Vec<_>>(),
            ["a,b", "c", "d \"e\""]
        );
    }

    #[test]
    fn records_longer_than_a_chunk_are_whole() {
        let long = "x".repeat(3 * CHUNK);
        let text = format!("a\n{long}\n{long}");
        let found = read(text.as_bytes());
        assert_eq!(
            found
                .iter()
                .map(|record| record.0.len())
                .collect::<Vec<_>>(),
            [1, 3 * CHUNK, 3 * CHUNK]
        );
    }

    #[test]
    fn comments_and_skipped_lines_are_no_records_but_count_as_lines() {
        let lines = Lines {
            comment: Some(b"//".to_vec()),
            skip: 1,
            ..Lines::default()
        };
        let text = b"it's \"open\n// don't\na,b\n\"// not\n// a comment\",1\n//\n2,3\n// last";
        let found = read_with(text, lines);
        let expected = [("a,b", 3), ("\"// not\n// a comment\",1", 4), ("2,3", 7)];
        let found: Vec<(&str, u64)> = found
            .iter()
            .map(|(text, line, ..)| (text.as_str(), *line))
            .collect();
        assert_eq!(found, expected);
        assert!(
            read_with(
                b"a\nb\n",
                Lines {
                    skip: 9,
                    ..Lines::default()
                }
            )
            .is_empty()
        );
    }

    #[test]
    fn another_quote_or_none() {
        let single = Lines {
            quote: Some(b'\''),
            ..Lines::default()
        };
        let found = read_with(b"'a\nb',\"\nc,d\n", single);
        assert_eq!(found[0].0, "'a\nb',\"");
        assert_eq!(unquoted(b"'it''s'", Some(b'\'')), "it's");
        let none = Lines {
            quote: None,
            ..Lines::default()
        };
        assert_eq!(read_with(b"\"a\nb\n", none).len(), 2);
    }
}
