//! The records of delimited text, as raw bytes with their line numbers; no types, no copies.

use std::io::{self, BufRead, Read};

const CHUNK: usize = 1 << 18;
const QUOTE: u8 = b'"';
/// UTF-8's byte order mark.
const MARK: &[u8] = &[0xef, 0xbb, 0xbf];

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
    has_quotes: bool,
}

impl<'a> Record<'a> {
    /// Whether there is nothing on its line.
    pub(crate) fn is_blank(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many fields it has.
    pub(crate) fn count_fields(&self, delimiter: u8) -> usize {
        if self.has_quotes {
            return self.fields(delimiter).count();
        }
        // Counting bytes in one sweep is several times faster than finding each delimiter.
        1 + self.bytes.iter().filter(|byte| **byte == delimiter).count()
    }

    /// Its fields, still quoted.
    pub(crate) fn fields(&self, delimiter: u8) -> impl Iterator<Item = &'a [u8]> {
        let mut is_quoted = false;
        self.bytes.split(move |byte| {
            if *byte == QUOTE {
                is_quoted = !is_quoted;
            }
            *byte == delimiter && !is_quoted
        })
    }
}

/// A field's text, without its quotes.
pub(crate) fn unquoted(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    match text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(inner) => inner.replace("\"\"", "\""),
        None => text.into_owned(),
    }
}

/// Cuts a stream into records.
pub(crate) struct Records<R> {
    reader: R,
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
    pub(crate) fn new(reader: R) -> io::Result<Self> {
        let mut records = Self {
            reader,
            buffer: Vec::with_capacity(CHUNK),
            start: 0,
            consumed: 0,
            line: 1,
            is_at_end: false,
        };
        while records.buffer.len() < MARK.len() && !records.is_at_end {
            records.fill()?;
        }
        if records.buffer.starts_with(MARK) {
            records.start = MARK.len();
        }
        Ok(records)
    }

    /// The next record; `None` at the end. (Not an `Iterator`: a record borrows the buffer.)
    pub(crate) fn next(&mut self) -> io::Result<Option<Record<'_>>> {
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
                quotes += count_quotes(part);
                lines += 1;
                scanned += length;
                if quotes % 2 == 0 {
                    return Ok(Some(self.take(scanned, lines, quotes)));
                }
            } else if self.is_at_end {
                quotes += count_quotes(part);
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
            has_quotes: quotes > 0,
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
}

fn count_quotes(bytes: &[u8]) -> usize {
    if bytes.contains(&QUOTE) {
        bytes.iter().filter(|byte| **byte == QUOTE).count()
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<(String, u64, u64, bool)> {
        let mut records = Records::new(text).expect("reads");
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
            has_quotes: true,
        };
        assert_eq!(record.count_fields(b','), 3);
        assert_eq!(
            record.fields(b',').map(unquoted).collect::<Vec<_>>(),
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
}
