//! `source.idx`.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use polars::prelude::{
    Column as PolarsColumn, DataFrame, DataType, IntoColumn, IntoLazy, LazyFrame, NamedFrom, Series,
};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Error, Fingerprint, Problem, Result, Schema, Shape, Source,
    SourceContext, Stage, path, register_kind,
};

use super::images::{image_column, image_type};
use crate::files::{FileProblem, missing_file, open_decompressed, read_decompressed};

/// Read images and their labels from IDX files, as MNIST comes.
///
/// The format is that of the MNIST database (LeCun, Cortes, Burges): a big-endian header (two zero bytes, the item type,
/// the number of dimensions, their sizes), then unsigned bytes. Files compressed with gzip are read as they are. Gives an
/// image column, an array of height × width × 1 of `u8`, and a label column, a whole number whose possible values are
/// known before the run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Idx {
    /// The file of images: three dimensions.
    #[schemars(length(min = 1))]
    images: String,
    /// The file of labels: one dimension.
    #[schemars(length(min = 1))]
    labels: String,
    /// The name of the label column.
    #[serde(default = "label")]
    #[schemars(length(min = 1))]
    label_column: String,
    /// The name of the image column.
    #[serde(default = "image")]
    #[schemars(length(min = 1))]
    image_column: String,
}

fn label() -> String {
    "label".into()
}

fn image() -> String {
    "image".into()
}

register_kind! {
    Idx, "source.idx", version: 1,
    example: "- source.idx: {images: datasets/mnist/digits-10k-images-idx3-ubyte.gz, labels: datasets/mnist/digits-10k-labels-idx1-ubyte.gz}",
}

/// Unsigned bytes, the only item type that images and labels have.
const UNSIGNED_BYTE: u8 = 0x08;

/// The sizes in a header, and where the items start.
#[derive(Debug, PartialEq)]
struct Header {
    sizes: Vec<usize>,
    start: u64,
}

impl Header {
    /// Reads the header of a file that should have `dimensions` dimensions.
    fn read(reader: &mut impl Read, dimensions: u8) -> Result<Self, FileProblem> {
        let mut magic = [0; 4];
        let damaged = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => FileProblem::new(
                "truncated-idx",
                "is truncated: it ends inside its IDX header",
            )
            .label("ends too early"),
            _ => FileProblem::new("unreadable-file", format!("cannot be read: {error}"))
                .label("cannot be read"),
        };
        reader.read_exact(&mut magic).map_err(damaged)?;
        if magic[0] != 0 || magic[1] != 0 {
            let bytes = magic.map(|byte| format!("{byte:02x}")).join(" ");
            return Err(FileProblem::new(
                "bad-idx",
                format!("is not an IDX file: it starts with {bytes}, not 00 00"),
            )
            .label("not IDX"));
        }
        if magic[2] != UNSIGNED_BYTE {
            let message = format!(
                "holds items of IDX type {:#04x}; only unsigned bytes (0x08) are read",
                magic[2]
            );
            return Err(FileProblem::new("bad-idx", message).label("other item type"));
        }
        if magic[3] != dimensions {
            let help = if dimensions == 3 {
                "images have three dimensions: count, height, width"
            } else {
                "labels have one dimension: count"
            };
            let message = format!(
                "has {} in its IDX header, not {dimensions}",
                dimension_count(magic[3])
            );
            return Err(FileProblem::new("bad-idx", message)
                .label("other dimensions")
                .help(help));
        }
        let mut sizes = Vec::with_capacity(usize::from(dimensions));
        for _ in 0..dimensions {
            let mut size = [0; 4];
            reader.read_exact(&mut size).map_err(damaged)?;
            sizes.push(u32::from_be_bytes(size) as usize);
        }
        let header = Self {
            start: 4 + 4 * u64::from(dimensions),
            sizes,
        };
        if header.sizes.first() == Some(&0) {
            return Err(FileProblem::new("empty-source", "has no items").label("nothing to read"));
        }
        if header.sizes.contains(&0) || header.items().is_none() {
            return Err(FileProblem::new(
                "bad-idx",
                format!("has impossible sizes in its IDX header: {:?}", header.sizes),
            )
            .label("impossible sizes"));
        }
        Ok(header)
    }

    /// Items in all.
    fn items(&self) -> Option<usize> {
        self.sizes
            .iter()
            .try_fold(1usize, |items, size| items.checked_mul(*size))
    }

    /// What is wrong with the number of items that follow the header, if anything.
    fn length_problem(&self, found: u64) -> Option<FileProblem> {
        let expected = self.items().unwrap_or_default() as u64;
        let message = format!("its header promises {expected} bytes of items, {found} follow");
        match found.cmp(&expected) {
            std::cmp::Ordering::Less => Some(
                FileProblem::new("truncated-idx", format!("is truncated: {message}"))
                    .label("ends too early"),
            ),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(
                FileProblem::new("bad-idx", format!("is too long: {message}"))
                    .label("bytes left over"),
            ),
        }
    }
}

fn dimension_count(count: u8) -> String {
    if count == 1 {
        "1 dimension".into()
    } else {
        format!("{count} dimensions")
    }
}

/// The header and all items.
fn read_items(path: &Path, dimensions: u8) -> Result<(Header, Vec<u8>), FileProblem> {
    if let Some(problem) = missing_file(path) {
        return Err(problem);
    }
    let content = read_decompressed(path).map_err(|error| damaged_stream(&error))?;
    let header = Header::read(&mut content.as_slice(), dimensions)?;
    let start = usize::try_from(header.start)
        .unwrap_or(content.len())
        .min(content.len());
    let items = content[start..].to_vec();
    match header.length_problem(items.len() as u64) {
        Some(problem) => Err(problem),
        None => Ok((header, items)),
    }
}

fn damaged_stream(error: &io::Error) -> FileProblem {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FileProblem::new(
            "truncated-idx",
            "is truncated: its compressed data ends too early",
        )
        .label("ends too early"),
        _ => FileProblem::new("unreadable-file", format!("cannot be read: {error}"))
            .label("cannot be read"),
    }
}

/// The header, and as much about the length as can be told without reading all of it.
fn read_header(path: &Path, dimensions: u8) -> Result<Header, FileProblem> {
    if let Some(problem) = missing_file(path) {
        return Err(problem);
    }
    let mut reader = open_decompressed(path).map_err(|error| damaged_stream(&error))?;
    let header = Header::read(&mut reader, dimensions)?;
    drop(reader);
    let length = stored_length(path).map_err(|error| damaged_stream(&error))?;
    let found = match length {
        StoredLength::Exact(length) => length.saturating_sub(header.start),
        StoredLength::Modulo(length) => {
            let expected = header.start + header.items().unwrap_or_default() as u64;
            if u64::from(length) == expected % (1 << 32) {
                return Ok(header);
            }
            // The last bytes do not say what they should: only reading tells whether the file is cut.
            return read_items(path, dimensions).map(|(header, _)| header);
        }
    };
    match header.length_problem(found) {
        Some(problem) => Err(problem),
        None => Ok(header),
    }
}

/// How long a file's decompressed content is, as far as it says.
enum StoredLength {
    Exact(u64),
    /// Of a gzip file, the length modulo 2^32, from its last four bytes (RFC 1952).
    Modulo(u32),
}

fn stored_length(path: &Path) -> io::Result<StoredLength> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut magic = [0; 2];
    if length < 18 || file.read_exact(&mut magic).is_err() || magic != [0x1f, 0x8b] {
        return Ok(StoredLength::Exact(length));
    }
    let mut trailer = [0; 4];
    file.seek(SeekFrom::End(-4))?;
    file.read_exact(&mut trailer)?;
    Ok(StoredLength::Modulo(u32::from_le_bytes(trailer)))
}

impl Stage for Idx {
    fn check(&self, _: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        if self.label_column == self.image_column {
            cx.report(
                Problem::error(
                    "name-taken",
                    path!["label_column"],
                    format!(
                        "the image and label columns are both named `{}`",
                        self.image_column
                    ),
                )
                .label("this name is taken"),
            );
        }
        let images = read_header(&cx.resolve(&self.images), 3);
        let labels = read_items(&cx.resolve(&self.labels), 1);
        if let (Ok(images), Ok((_, labels))) = (&images, &labels)
            && images.sizes[0] != labels.len()
        {
            cx.report(
                Problem::error(
                    "count-mismatch",
                    path!["labels"],
                    format!(
                        "`{}` has {} labels for {} images of `{}`",
                        self.labels,
                        labels.len(),
                        images.sizes[0],
                        self.images
                    ),
                )
                .label("another number of labels than images"),
            );
        }
        let mut schema = Schema::default();
        match images {
            Ok(header) => schema.set(Column::new(
                &self.image_column,
                image_type(header.sizes[1], header.sizes[2], 1),
            )),
            Err(problem) => {
                cx.report(problem.into_problem("images", &self.images));
                schema.incomplete = true;
            }
        }
        match labels {
            Ok((_, labels)) => {
                schema.set(
                    Column::new(&self.label_column, DataType::Int64)
                        .with_categories(distinct(&labels)),
                );
            }
            Err(problem) => {
                cx.report(problem.into_problem("labels", &self.labels));
                schema.set(Column::new(&self.label_column, DataType::Int64));
            }
        }
        schema
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Source(self)
    }
}

/// The different labels, in numeric order, as text.
fn distinct(labels: &[u8]) -> Vec<String> {
    let mut is_seen = [false; 256];
    for label in labels {
        is_seen[usize::from(*label)] = true;
    }
    is_seen
        .iter()
        .enumerate()
        .filter(|(_, is_seen)| **is_seen)
        .map(|(label, _)| label.to_string())
        .collect()
}

impl Source for Idx {
    fn scan(&self, cx: &SourceContext<'_>) -> Result<LazyFrame> {
        let image_path = cx.resolve(&self.images);
        let label_path = cx.resolve(&self.labels);
        let (header, pixels) =
            read_items(&image_path, 3).map_err(|problem| problem.into_error(&image_path))?;
        let (_, labels) =
            read_items(&label_path, 1).map_err(|problem| problem.into_error(&label_path))?;
        let count = header.sizes[0];
        if count != labels.len() {
            return Err(Error::Format {
                path: label_path,
                message: format!(
                    "has {} labels for {count} images of `{}`",
                    labels.len(),
                    image_path.display()
                ),
            });
        }
        let images = image_column(
            &self.image_column,
            pixels,
            count,
            header.sizes[1],
            header.sizes[2],
            1,
        )?;
        let labels: Vec<i64> = labels.into_iter().map(i64::from).collect();
        let labels: PolarsColumn =
            Series::new(self.label_column.as_str().into(), labels).into_column();
        Ok(DataFrame::new(count, vec![images, labels])?.lazy())
    }

    fn fingerprint(&self, cx: &SourceContext<'_>) -> Result<Fingerprint> {
        Ok(Fingerprint::Files(vec![
            cx.resolve(&self.images),
            cx.resolve(&self.labels),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use flate2::{Compression, write::GzEncoder};
    use taktline_core::Frame;

    use super::*;
    use crate::columns::testing::{check, passes, stage};

    const REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/mnist");

    fn idx(sizes: &[u32], items: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, UNSIGNED_BYTE, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend(items);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("written");
        encoder.finish().expect("compressed")
    }

    fn of(images: &Path, labels: &Path) -> Idx {
        stage(&format!(
            "{{images: {}, labels: {}}}",
            images.display(),
            labels.display()
        ))
    }

    /// Writes both files, and gives the codes and messages of the check, and of the run where the check finds nothing.
    fn try_files(images: &[u8], labels: &[u8]) -> (Vec<(&'static str, String)>, Option<String>) {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = [
            directory.path().join("images"),
            directory.path().join("labels"),
        ];
        fs::write(&paths[0], images).expect("written");
        fs::write(&paths[1], labels).expect("written");
        let stage = of(&paths[0], &paths[1]);
        let problems = check(&stage, &Schema::default())
            .1
            .into_iter()
            .map(|problem| (problem.code, problem.message));
        let run = stage.scan(&SourceContext {
            seed: 0,
            directory: Path::new("."),
            run_key: None,
        });
        (problems.collect(), run.err().map(|error| error.to_string()))
    }

    #[test]
    fn the_real_digits_are_read() {
        let stage: Idx = stage(&format!(
            "{{images: {REAL}/digits-10k-images-idx3-ubyte.gz, labels: {REAL}/digits-10k-labels-idx1-ubyte.gz}}"
        ));
        let schema = passes(&stage, &Schema::default());
        let digits: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
        assert_eq!(
            schema
                .column("label")
                .and_then(|label| label.categories.clone()),
            Some(digits)
        );
        let image = schema.column("image").and_then(Column::array);
        assert_eq!(image, Some((vec![28, 28, 1], DataType::UInt8)));
        let cx = SourceContext {
            seed: 0,
            directory: Path::new("."),
            run_key: None,
        };
        let frame = Frame {
            data: stage.scan(&cx).expect("reads").collect().expect("reads"),
            schema,
        };
        assert_eq!(frame.data.height(), 10_000);
        assert_eq!(*frame.data.schema().as_ref(), frame.schema.to_polars());
        let labels = frame
            .data
            .column("label")
            .expect("there")
            .i64()
            .expect("whole")
            .clone();
        for digit in 0..10 {
            let count = labels
                .into_no_null_iter()
                .filter(|label| *label == digit)
                .count();
            assert!((863..=1127).contains(&count), "{digit}: {count}");
        }
        let pixels = frame
            .data
            .column("image")
            .expect("there")
            .as_materialized_series()
            .get_leaf_array();
        assert_eq!(pixels.len(), 10_000 * 28 * 28);
        assert!(
            pixels
                .u8()
                .expect("bytes")
                .into_no_null_iter()
                .any(|pixel| pixel == 255)
        );
    }

    #[test]
    fn pixels_and_labels_keep_their_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = [
            directory.path().join("images"),
            directory.path().join("labels"),
        ];
        fs::write(
            &paths[0],
            gzip(&idx(&[2, 2, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])),
        )
        .expect("written");
        fs::write(&paths[1], idx(&[2], &[7, 3])).expect("written");
        let stage = of(&paths[0], &paths[1]);
        let schema = passes(&stage, &Schema::default());
        assert_eq!(
            schema
                .column("label")
                .and_then(|label| label.categories.clone()),
            Some(vec!["3".into(), "7".into()])
        );
        let cx = SourceContext {
            seed: 0,
            directory: Path::new("."),
            run_key: None,
        };
        let frame = stage.scan(&cx).expect("reads").collect().expect("reads");
        let second = frame
            .slice(1, 1)
            .column("image")
            .expect("there")
            .as_materialized_series()
            .get_leaf_array();
        assert_eq!(
            second
                .u8()
                .expect("bytes")
                .into_no_null_iter()
                .collect::<Vec<_>>(),
            [7, 8, 9, 10, 11, 12]
        );
        assert_eq!(
            frame
                .column("label")
                .expect("there")
                .i64()
                .expect("whole")
                .get(1),
            Some(3)
        );
    }

    #[test]
    fn truncated_files_are_found_at_check() {
        let labels = idx(&[2], &[0, 1]);
        for images in [
            idx(&[2, 2, 2], &[0; 7]),
            idx(&[2, 2, 2], &[0; 8])[..9].to_vec(),
            gzip(&idx(&[2, 2, 2], &[0; 7])),
            {
                let noise: Vec<u8> = (0..8000_u32)
                    .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
                    .collect();
                let whole = gzip(&idx(&[2, 40, 100], &noise));
                whole[..whole.len() - 100].to_vec()
            },
        ] {
            let (problems, run) = try_files(&images, &labels);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].0, "truncated-idx", "{problems:?}");
            assert!(run.is_some_and(|message| message.contains("truncated")));
        }
        let (problems, _) = try_files(&idx(&[2, 1, 1], &[0, 0]), &idx(&[2], &[0]));
        assert_eq!(problems[0].0, "truncated-idx");
    }

    #[test]
    fn other_files_are_no_idx() {
        let labels = idx(&[2], &[0, 1]);
        let codes = |images: &[u8]| {
            try_files(images, &labels)
                .0
                .into_iter()
                .map(|(code, _)| code)
                .collect::<Vec<_>>()
        };
        assert_eq!(codes(b"\x89PNG, really"), ["bad-idx"]);
        assert_eq!(codes(&labels), ["bad-idx"]);
        assert_eq!(codes(&[0, 0, 0x0d, 3]), ["bad-idx"]);
        assert_eq!(codes(&idx(&[0, 2, 2], &[])), ["empty-source"]);
        assert_eq!(codes(&idx(&[2, 0, 2], &[])), ["bad-idx"]);
        assert_eq!(
            codes(&idx(&[u32::MAX, u32::MAX, u32::MAX], &[])),
            ["bad-idx"]
        );
        assert_eq!(codes(&idx(&[2, 1, 1], &[0; 3])), ["bad-idx"]);
        assert_eq!(codes(b""), ["truncated-idx"]);
    }

    #[test]
    fn counts_must_match() {
        let (problems, run) = try_files(&idx(&[3, 1, 1], &[0; 3]), &idx(&[2], &[0, 1]));
        assert_eq!(problems[0].0, "count-mismatch");
        assert!(
            problems[0].1.contains("2 labels for 3 images"),
            "{}",
            problems[0].1
        );
        assert!(run.is_some_and(|message| message.contains("2 labels for 3 images")));
    }

    #[test]
    fn a_missing_file_has_a_suggestion() {
        let stage: Idx = stage(&format!(
            "{{images: {REAL}/digits-10k-image-idx3-ubyte.gz, labels: {REAL}/digits-10k-labels-idx1-ubyte.gz}}"
        ));
        let (_, problems) = check(&stage, &Schema::default());
        assert_eq!(problems.len(), 1);
        assert_eq!(
            (problems[0].code, problems[0].path.clone()),
            ("missing-file", path!["images"])
        );
        assert_eq!(
            problems[0].help,
            ["did you mean `digits-10k-images-idx3-ubyte.gz`?"]
        );
    }
}
