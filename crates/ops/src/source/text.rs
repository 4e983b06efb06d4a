//! `source.text`.

use std::path::Path;

use encoding_rs::{DecoderResult, Encoding};
use polars::prelude::{DataFrame, DataType, IntoColumn, IntoLazy, LazyFrame, NamedFrom, Series};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, Fingerprint, Problem, Result, Role, Schema, Shape, Source,
    SourceContext, Stage, path, register_kind,
};

use super::listing::{self, ListedFile, Listing, What};
use crate::{
    columns,
    files::{missing_file, read_decompressed},
};

/// Read texts, each from a file of its own or from a line of one file.
///
/// The files lie in folders of classes (`layout: classes`: the folders' names are the labels), in one folder (`layout:
/// flat`), or are listed in a table with a column of paths, whose other columns stay. With `layout: lines`, `path` is one
/// file and every line of it is a row, blank ones too, with the number of the line (from 1) in the column `line`; a file
/// compressed with gzip is read as it is. Texts stay as they are, line ends inside them too. A byte that is no text in the
/// encoding fails the run and is named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Text {
    /// The directory with the class folders or files; with `layout: lines`, the file. With `table`, the directory that its
    /// paths start from; default: the table's own.
    #[schemars(length(min = 1))]
    path: Option<String>,
    /// A CSV, Parquet, NDJSON or Arrow IPC file with a row for each text, instead of folders.
    #[schemars(length(min = 1))]
    table: Option<String>,
    /// How the texts lie in `path`; default: `classes`.
    layout: Option<Layout>,
    /// How characters are coded, by its name on the web: `utf-8`, `windows-1252`, `gb18030`, `shift_jis`, …
    #[serde(default = "utf_8")]
    #[schemars(length(min = 1))]
    encoding: String,
    /// The name of the column with the file's path; of the table's column with the paths, where there is one.
    #[serde(default = "file_column")]
    #[schemars(length(min = 1))]
    file_column: String,
    /// The name of the label column; default: `label`.
    #[schemars(length(min = 1))]
    label_column: Option<String>,
    /// The name of the text column.
    #[serde(default = "text_column")]
    #[schemars(length(min = 1))]
    text_column: String,
    /// The extensions of text files, without the dot and in any case; others are passed over.
    #[serde(default = "extensions")]
    #[schemars(length(min = 1))]
    extensions: Vec<String>,
}

/// How texts lie.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Layout {
    /// One folder a class; its name is the label.
    Classes,
    /// One file a text, all in the directory itself, without labels.
    Flat,
    /// One line a text, all in one file.
    Lines,
}

fn utf_8() -> String {
    "utf-8".into()
}

fn file_column() -> String {
    "file".into()
}

fn text_column() -> String {
    "text".into()
}

fn extensions() -> Vec<String> {
    vec!["txt".into()]
}

/// The column with the number of a line.
const LINE: &str = "line";

register_kind! {
    Text, "source.text", version: 1,
    example: "- source.text: {path: data/letters, encoding: windows-1252}",
}

impl Text {
    fn listing<'p>(&'p self, lower: &'p [String]) -> Listing<'p> {
        Listing {
            what: What {
                one: "text",
                many: "texts",
                unreadable: "unreadable-text",
            },
            path: self.path.as_deref(),
            table: self.table.as_deref(),
            layout: self.layout.map(|layout| match layout {
                Layout::Flat => listing::Layout::Flat,
                Layout::Classes | Layout::Lines => listing::Layout::Classes,
            }),
            file_column: ("file_column", &self.file_column),
            label_column: self.label_column.as_deref(),
            extensions: lower.iter().map(String::as_str).collect(),
        }
    }

    fn lower_extensions(&self) -> Vec<String> {
        self.extensions
            .iter()
            .map(|extension| extension.trim_start_matches('.').to_lowercase())
            .collect()
    }

    /// The file whose lines are the rows, if this is how texts lie.
    fn file_of_lines(&self) -> Option<&str> {
        match (self.layout, &self.table) {
            (Some(Layout::Lines), None) => self.path.as_deref(),
            _ => None,
        }
    }

    fn encoding(&self) -> Result<&'static Encoding, String> {
        Encoding::for_label(self.encoding.as_bytes())
            .ok_or_else(|| format!("`{}` is no encoding that is known", self.encoding))
    }

    fn decoded(&self, path: &Path) -> Result<String> {
        let bytes = read_decompressed(path).map_err(|error| Error::reading(path, error))?;
        let encoding = self.encoding().map_err(Error::Data)?;
        decode(&bytes, encoding).map_err(|message| Error::Format {
            path: path.to_owned(),
            message,
        })
    }

    fn lines(&self, file: &Path) -> Result<DataFrame> {
        let text = self.decoded(file)?;
        let lines: Vec<&str> = text.lines().collect();
        let numbers: Vec<i64> = (1..=lines.len() as i64).collect();
        let columns = vec![
            Series::new(LINE.into(), numbers).into_column(),
            Series::new(self.text_column.as_str().into(), &lines).into_column(),
        ];
        Ok(DataFrame::new(lines.len(), columns)?)
    }

    fn check_lines(&self, file: &str, cx: &mut CheckContext<'_>) -> Schema {
        if let Some(problem) = missing_file(&cx.resolve(file)) {
            cx.report(problem.into_problem("path", file));
        }
        if self.label_column.is_some() {
            cx.report(
                Problem::error("unused-param", path!["label_column"], "lines have no label")
                    .label("`layout: lines` makes no such column"),
            );
        }
        if columns::is_allowed(&self.text_column, path!["text_column"], cx)
            && self.text_column == LINE
        {
            cx.report(
                Problem::error(
                    "name-taken",
                    path!["text_column"],
                    format!("`{LINE}` holds the number of the line"),
                )
                .label("this name is taken"),
            );
        }
        Schema::new(vec![
            Column::new(LINE, DataType::Int64).with_role(Role::Id),
            Column::new(&self.text_column, DataType::String),
        ])
    }
}

/// The bytes as text, without a byte order mark. The mark of another encoding says more than the spec.
fn decode(bytes: &[u8], encoding: &'static Encoding) -> Result<String, String> {
    let (encoding, mark) = Encoding::for_bom(bytes).unwrap_or((encoding, 0));
    let bytes = &bytes[mark..];
    encoding
        .decode_without_bom_handling_and_without_replacement(bytes)
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| {
            let place = first_malformed(bytes, encoding);
            let line = 1 + bytes[..place].iter().filter(|byte| **byte == b'\n').count();
            let byte = bytes.get(place).copied().unwrap_or_default();
            format!(
                "line {line} is not {}: byte 0x{byte:02x} at offset {}; `encoding` names another",
                encoding.name(),
                mark + place
            )
        })
}

/// Where the first bytes are that are no character.
fn first_malformed(bytes: &[u8], encoding: &'static Encoding) -> usize {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len());
    let mut text = String::with_capacity(room.unwrap_or(bytes.len()));
    match decoder.decode_to_string_without_replacement(bytes, &mut text, true) {
        (DecoderResult::Malformed(length, behind), read) => {
            read.saturating_sub(usize::from(length) + usize::from(behind))
        }
        _ => 0,
    }
}

impl Stage for Text {
    fn check(&self, _: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        if let Err(message) = self.encoding() {
            cx.report(
                Problem::error("unknown-encoding", path!["encoding"], message)
                    .label("no such encoding")
                    .help("known are those of the WHATWG Encoding Standard: utf-8, windows-1252, gb18030, big5, shift_jis, euc-kr, koi8-r, …"),
            );
        }
        if let Some(file) = self.file_of_lines() {
            return self.check_lines(file, cx);
        }
        let lower = self.lower_extensions();
        let listing = self.listing(&lower);
        let mut listed = listing.check(&[("text_column", &self.text_column)], cx);
        listing.check_headers(
            &listed.files,
            |file| {
                std::fs::File::open(file)
                    .err()
                    .map(|error| error.to_string())
            },
            cx,
        );
        if self.table.is_none() {
            listed.columns[0].role = Role::Id;
        }
        listed
            .columns
            .push(Column::new(&self.text_column, DataType::String));
        Schema {
            incomplete: listed.incomplete,
            ..Schema::new(listed.columns)
        }
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Source(self)
    }
}

impl Source for Text {
    fn scan(&self, cx: &SourceContext<'_>) -> Result<LazyFrame> {
        if let Some(file) = self.file_of_lines() {
            return Ok(self.lines(&cx.resolve(file))?.lazy());
        }
        let lower = self.lower_extensions();
        let mut listed = self.listing(&lower).read(cx)?;
        let texts: Vec<Result<String>> = listed
            .files
            .par_iter()
            .map(|file: &ListedFile| self.decoded(&file.path))
            .collect();
        let texts: Vec<String> = texts.into_iter().collect::<Result<_>>()?;
        let texts = Series::new(self.text_column.as_str().into(), texts).into_column();
        listed.columns.push(texts);
        Ok(DataFrame::new(listed.files.len(), listed.columns)?.lazy())
    }

    fn fingerprint(&self, cx: &SourceContext<'_>) -> Result<Fingerprint> {
        match self.file_of_lines() {
            Some(file) => Ok(Fingerprint::Files(vec![cx.resolve(file)])),
            None => self.listing(&self.lower_extensions()).fingerprint(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;
    use crate::{
        columns::testing::{check, stage},
        testing::run,
    };

    fn letters() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for class in ["spam", "ham"] {
            fs::create_dir(directory.path().join(class)).expect("a folder");
        }
        let write = |name: &str, bytes: &[u8]| {
            fs::write(directory.path().join(name), bytes).expect("written");
        };
        write("spam/2.txt", "Gewinn!\r\nJetzt \u{20ac}".as_bytes());
        write("spam/1.TXT", b"\xef\xbb\xbffree");
        write("ham/1.txt", b"");
        write("ham/logo.png", b"\x89PNG");
        directory
    }

    fn read(directory: &Path, params: &str) -> Result<DataFrame, String> {
        let pipeline = format!("pipeline: letters\nstages:\n  - source.text: {{{params}}}\n");
        run(&pipeline, directory)
    }

    fn column<'f>(frame: &'f DataFrame, name: &str) -> Vec<Option<&'f str>> {
        let texts = frame.column(name).expect("there").str().expect("text");
        texts.iter().collect()
    }

    #[test]
    fn folders_are_classes_and_texts_stay_as_they_are() {
        let directory = letters();
        let frame = read(directory.path(), "path: .").expect("reads");
        assert_eq!(frame.get_column_names(), ["file", "label", "text"]);
        assert_eq!(
            column(&frame, "file"),
            [Some("ham/1.txt"), Some("spam/1.TXT"), Some("spam/2.txt")]
        );
        assert_eq!(
            column(&frame, "label"),
            [Some("ham"), Some("spam"), Some("spam")]
        );
        assert_eq!(
            column(&frame, "text"),
            [Some(""), Some("free"), Some("Gewinn!\r\nJetzt \u{20ac}")]
        );
    }

    #[test]
    fn flat_folders_and_tables() {
        let directory = letters();
        let frame = read(
            directory.path(),
            "path: spam, layout: flat, text_column: body",
        )
        .expect("reads");
        assert_eq!(frame.get_column_names(), ["file", "body"]);
        assert_eq!(frame.height(), 2);
        fs::write(
            directory.path().join("list.csv"),
            "file,from\nspam/2.txt,eve\nham/1.txt,bob\n",
        )
        .expect("written");
        let frame = read(directory.path(), "table: list.csv").expect("reads");
        assert_eq!(frame.get_column_names(), ["file", "from", "text"]);
        assert_eq!(column(&frame, "text")[1], Some(""));
    }

    #[test]
    fn every_line_is_a_row() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("reviews.txt");
        fs::write(&file, "good\n\nbad, \"really\"\r\nlast").expect("written");
        let frame = read(directory.path(), "path: reviews.txt, layout: lines").expect("reads");
        assert_eq!(frame.get_column_names(), ["line", "text"]);
        assert_eq!(
            column(&frame, "text"),
            [
                Some("good"),
                Some(""),
                Some("bad, \"really\""),
                Some("last")
            ]
        );
        let numbers = frame.column("line").expect("there").i64().expect("numbers");
        assert_eq!(numbers.to_vec(), [Some(1), Some(2), Some(3), Some(4)]);
        let packed = fs::File::create(directory.path().join("reviews.gz")).expect("made");
        let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::default());
        encoder.write_all("one\ntwo\n".as_bytes()).expect("written");
        encoder.finish().expect("finished");
        let frame = read(directory.path(), "path: reviews.gz, layout: lines").expect("reads");
        assert_eq!(column(&frame, "text"), [Some("one"), Some("two")]);
        fs::write(&file, "").expect("written");
        let frame = read(directory.path(), "path: reviews.txt, layout: lines").expect("reads");
        assert_eq!(frame.height(), 0);
    }

    #[test]
    fn other_encodings_are_read_and_wrong_ones_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("a.txt");
        fs::write(&file, b"ok\nStra\xdfe").expect("written");
        let frame = read(
            directory.path(),
            "path: a.txt, layout: lines, encoding: latin1",
        )
        .expect("reads");
        assert_eq!(column(&frame, "text")[1], Some("Stra\u{df}e"));
        let error = read(directory.path(), "path: a.txt, layout: lines").expect_err("not UTF-8");
        assert!(
            error.contains("line 2 is not UTF-8: byte 0xdf at offset 7"),
            "{error}"
        );
        fs::write(&file, b"\xff\xfeh\0i\0").expect("written");
        let frame = read(directory.path(), "path: a.txt, layout: lines").expect("reads");
        assert_eq!(column(&frame, "text"), [Some("hi")]);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let codes = |params: &str| -> Vec<&'static str> {
            let text: Text = stage(params);
            let problems = check(&text, &Schema::default()).1;
            problems.iter().map(|problem| problem.code).collect()
        };
        assert_eq!(codes("{}"), ["missing-path"]);
        assert_eq!(codes("{layout: lines}"), ["missing-path"]);
        assert_eq!(
            codes("{path: no/such/place, encoding: utf-9}"),
            ["unknown-encoding", "missing-file"]
        );
        assert_eq!(
            codes("{path: no/such/file, layout: lines, text_column: line, label_column: kind}"),
            ["missing-file", "unused-param", "name-taken"]
        );
        assert_eq!(
            codes("{path: ., layout: flat, extensions: [nothing]}"),
            ["empty-source"]
        );
        assert_eq!(
            codes("{path: ., layout: flat, label_column: kind, extensions: [.toml]}"),
            ["unused-param"]
        );
    }
}
