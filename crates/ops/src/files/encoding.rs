//! Text in other encodings than UTF-8, as a stream of UTF-8.

use std::{
    fmt,
    io::{self, Read},
};

use encoding_rs::{Decoder, DecoderResult, Encoding};

const CHUNK: usize = 1 << 16;

/// The encoding of that name: those of the web (`windows-1252`, `gbk`, `shift_jis`), and the spellings that people use.
pub(crate) fn encoding(name: &str) -> Option<&'static Encoding> {
    let name = name.trim().to_lowercase();
    Encoding::for_label(name.as_bytes()).or_else(|| {
        // `latin-1`, `cp-1252`, `utf_16`: one sign more than the web has.
        let bare: String = name
            .chars()
            .filter(|character| !matches!(character, '-' | '_' | ' '))
            .collect();
        let dashed = bare.replacen("utf", "utf-", 1);
        [bare, dashed]
            .iter()
            .find_map(|label| Encoding::for_label(label.as_bytes()))
    })
}

/// Bytes that are no text in the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotText {
    /// The line, from 1.
    pub(crate) line: u64,
    /// Where in the (decompressed) file, from 0.
    pub(crate) offset: u64,
    /// The encoding's name.
    pub(crate) encoding: &'static str,
}

impl fmt::Display for NotText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "not {}: line {}, byte {}",
            self.encoding, self.line, self.offset
        )
    }
}

impl std::error::Error for NotText {}

/// Where the bytes are that could not be decoded, if that is what this error says.
pub(crate) fn not_text(error: &io::Error) -> Option<NotText> {
    error.get_ref()?.downcast_ref::<NotText>().copied()
}

/// A stream in some encoding as UTF-8. Never replaces: a byte that is no text there is an error that says where it is.
pub(crate) struct Decoded<R> {
    reader: R,
    decoder: Decoder,
    /// Bytes that were read and not yet decoded.
    raw: Vec<u8>,
    /// How many bytes have been decoded.
    consumed: u64,
    /// Decoded text, and how much of it has been handed out.
    text: Vec<u8>,
    given: usize,
    line: u64,
    is_at_end: bool,
}

impl<R: Read> Decoded<R> {
    /// A byte order mark says more than `encoding`, and is left out.
    pub(crate) fn new(reader: R, encoding: &'static Encoding) -> Self {
        Self {
            reader,
            decoder: encoding.new_decoder(),
            raw: Vec::new(),
            consumed: 0,
            text: Vec::new(),
            given: 0,
            line: 1,
            is_at_end: false,
        }
    }

    /// Decodes the next chunk into `text`.
    fn decode(&mut self) -> io::Result<()> {
        let read = (&mut self.reader)
            .take(CHUNK as u64)
            .read_to_end(&mut self.raw)?;
        self.is_at_end = read == 0;
        let room = self
            .decoder
            .max_utf8_buffer_length_without_replacement(self.raw.len())
            .unwrap_or(4 * self.raw.len() + 16);
        self.text.clear();
        self.text.resize(room, 0);
        self.given = 0;
        let (result, taken, written) = self.decoder.decode_to_utf8_without_replacement(
            &self.raw,
            &mut self.text,
            self.is_at_end,
        );
        self.text.truncate(written);
        self.line += self.text.iter().filter(|byte| **byte == b'\n').count() as u64;
        if let DecoderResult::Malformed(length, after) = result {
            let before = u64::from(length) + u64::from(after);
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                NotText {
                    line: self.line,
                    offset: (self.consumed + taken as u64).saturating_sub(before),
                    encoding: self.decoder.encoding().name(),
                },
            ));
        }
        self.raw.drain(..taken);
        self.consumed += taken as u64;
        Ok(())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.text.len() {
            if self.is_at_end {
                return Ok(0);
            }
            self.decode()?;
        }
        let rest = &self.text[self.given..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], name: &str) -> Result<String, NotText> {
        let mut text = String::new();
        match Decoded::new(bytes, encoding(name).expect("known")).read_to_string(&mut text) {
            Ok(_) => Ok(text),
            Err(error) => Err(not_text(&error).expect("not text")),
        }
    }

    #[test]
    fn names_as_people_write_them() {
        for (name, expected) in [
            ("latin-1", "windows-1252"),
            ("ISO-8859-1", "windows-1252"),
            ("cp1252", "windows-1252"),
            ("UTF-16", "UTF-16LE"),
            ("utf_16", "UTF-16LE"),
            ("utf8", "UTF-8"),
            ("gbk", "GBK"),
            ("gb18030", "gb18030"),
            ("Shift-JIS", "Shift_JIS"),
        ] {
            assert_eq!(encoding(name).map(Encoding::name), Some(expected), "{name}");
        }
        assert_eq!(encoding("klingon"), None);
    }

    #[test]
    fn text_comes_out_as_utf_8() {
        assert_eq!(decoded(b"caf\xe9 \x80", "latin-1"), Ok("café €".into()));
        assert_eq!(decoded(b"\xd6\xd0\xce\xc4", "gbk"), Ok("中文".into()));
        let little: Vec<u8> = "a中🙂".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decoded(&little, "utf-16"), Ok("a中🙂".into()));
        // The mark says big-endian.
        let big: Vec<u8> = "\u{feff}a中🙂"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        assert_eq!(decoded(&big, "utf-16"), Ok("a中🙂".into()));
        assert_eq!(decoded(b"", "utf-16"), Ok(String::new()));
    }

    #[test]
    fn characters_across_chunks_are_whole() {
        let text = format!("{}é{}", "x".repeat(CHUNK - 1), "é".repeat(CHUNK));
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decoded(&bytes, "utf-16le").as_deref(), Ok(text.as_str()));
        let (bytes, _, _) = encoding_rs::GB18030.encode(&text);
        assert_eq!(decoded(&bytes, "gb18030").as_deref(), Ok(text.as_str()));
    }

    #[test]
    fn a_byte_that_is_no_text_is_located() {
        let found = decoded(b"a\nbc\xff\n", "gbk").expect_err("no GBK");
        assert_eq!((found.line, found.offset), (2, 4));
        // Cut in the middle of a character.
        let cut = decoded(b"a\n\xd6", "gbk").expect_err("cut");
        assert_eq!((cut.line, cut.offset, cut.encoding), (2, 2, "GBK"));
        let far = [vec![b'\n'; 3 * CHUNK], vec![0x81, 0xff]].concat();
        let found = decoded(&far, "shift_jis").expect_err("no Shift_JIS");
        assert_eq!(found.line, 3 * CHUNK as u64 + 1);
    }
}
