//! The text of a spec, and where things are in it.

use std::{fs, io::Read, ops::Range, path::Path};

use taktline_core::{Diagnostic, Location};

/// No spec needs more bytes than this; a larger file is data that was named by mistake.
pub const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// A spec as written: its name, for messages, and its text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceText {
    /// The file, as the user named it.
    pub name: String,
    /// What it says.
    pub text: String,
}

impl SourceText {
    /// A text under a name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    /// The place of these bytes: line and column (in characters) count from 1.
    pub fn location(&self, span: Range<usize>) -> Location {
        Places::new(self).location(self, span)
    }
}

/// Reads a spec.
///
/// # Errors
/// The file is missing, a directory, larger than [`LARGEST_FILE`] (told from its size, without reading it) or not UTF-8.
#[expect(
    clippy::result_large_err,
    reason = "read once a file; a boxed diagnostic would only burden the caller"
)]
pub fn read(path: &Path) -> Result<SourceText, Diagnostic> {
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        Diagnostic::error(
            "unreadable-file",
            format!("cannot read `{name}`: {}", reason(&error)),
        )
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(
            Diagnostic::error("unreadable-file", format!("`{name}` is a directory"))
                .help("name a pipeline's YAML file"),
        );
    }
    if metadata.len() > LARGEST_FILE {
        return Err(too_large(&name, Some(metadata.len())));
    }
    let mut bytes = Vec::new();
    // A pipe or a growing file has no size to go by, so the read is bounded too.
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(too_large(&name, None));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceText { name, text }),
        Err(error) => {
            let offset = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..offset]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            Err(Diagnostic::error(
                "not-utf8",
                format!("`{name}` is not UTF-8 text: byte {offset}, line {line}"),
            )
            .help("save the file as UTF-8"))
        }
    }
}

fn too_large(name: &str, bytes: Option<u64>) -> Diagnostic {
    let size = bytes.map_or_else(
        || "larger".to_owned(),
        |bytes| format!("{} MiB", bytes.div_ceil(1024 * 1024)),
    );
    Diagnostic::error(
        "too-large",
        format!("`{name}` is {size}; a pipeline has at most 4 MiB"),
    )
    .help("data belongs in a file of its own that a `source.*` stage reads")
}

/// What the system said, as one lower-case line.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string().to_lowercase(),
    }
}

/// Line starts, so that looking up many places does not read the text each time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    starts: Vec<usize>,
}

impl Places {
    pub(crate) fn new(source: &SourceText) -> Self {
        let after_breaks = source
            .text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(index, _)| index + 1);
        Self {
            starts: std::iter::once(0).chain(after_breaks).collect(),
        }
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).max(1)
    }

    pub(crate) fn location(&self, source: &SourceText, span: Range<usize>) -> Location {
        let text = &source.text;
        let start = floor_boundary(text, span.start);
        let end = floor_boundary(text, span.end.max(start)).max(start);
        let line = self.line(start);
        let line_start = self.starts.get(line - 1).copied().unwrap_or(0);
        // The byte order mark is not a column that an editor shows.
        let column = 1 + text[line_start..start]
            .chars()
            .filter(|character| *character != '\u{feff}')
            .count();
        Location {
            file: source.name.clone(),
            line,
            column,
            span: start..end,
        }
    }
}

fn floor_boundary(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset.min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let source = SourceText::new("a.yaml", "é: 1\nname: ü ö\n");
        let start = source.text.find('ö').expect("is there");
        let place = source.location(start..start + 2);
        assert_eq!((place.line, place.column), (2, 9));
        assert_eq!(source.location(0..2).column, 1);
        assert_eq!(source.location(10_000..10_001).line, 3);
    }

    #[test]
    fn refuses_what_is_no_spec() {
        let directory = std::env::temp_dir();
        assert_eq!(
            read(&directory).expect_err("a directory").code,
            "unreadable-file"
        );
        assert_eq!(
            read(&directory.join("taktline-no-such-file.yaml"))
                .expect_err("missing")
                .code,
            "unreadable-file"
        );

        let path = directory.join(format!("taktline-spec-{}.yaml", std::process::id()));
        fs::write(&path, b"a: \xff\n").expect("written");
        assert_eq!(read(&path).expect_err("not text").code, "not-utf8");
        let file = fs::File::create(&path).expect("created");
        file.set_len(1 << 30).expect("a sparse gigabyte");
        let started = std::time::Instant::now();
        let refusal = read(&path).expect_err("too large");
        assert_eq!(
            (refusal.code.as_str(), refusal.message.contains("1024 MiB")),
            ("too-large", true)
        );
        assert!(started.elapsed().as_millis() < 500);
        fs::remove_file(&path).expect("removed");
    }
}
