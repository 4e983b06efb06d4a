//! `source.images`.

use std::path::Path;

use image::{DynamicImage, GenericImageView, ImageReader};
use polars::prelude::{
    Column as PolarsColumn, DataFrame, DataType, IntoColumn, IntoLazy, LazyFrame, NamedFrom,
    ReshapeDimension, Series,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, Fingerprint, Result, Schema, Shape, Source, SourceContext, Stage,
    register_kind,
};

use super::listing::{Layout, Listing, What};
use crate::pixels::Filter;

/// Read images from folders of classes, from one folder, or from a table of paths.
///
/// With `layout: classes` the folders' names, sorted, are the classes and the files in them, sorted by name, the rows; with
/// `layout: flat` the files of one directory are. Gives a path column, an image column (an array of height × width ×
/// channels of `u8`) and, from folders, a label column with the class. With `table`, the rows are the table's, in its
/// order, and its columns stay. Images of any size are resized to one. Folders inside a class folder and names that begin
/// with a dot are passed over.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Images {
    /// The directory with the class folders or files. With `table`, the directory that its paths start from; default: the
    /// table's own.
    #[schemars(length(min = 1))]
    path: Option<String>,
    /// A CSV, Parquet, NDJSON or Arrow IPC file with a row for each image, instead of folders.
    #[schemars(length(min = 1))]
    table: Option<String>,
    /// How the files lie in `path`; default: `classes`.
    layout: Option<Layout>,
    /// The width that images get, in pixels.
    #[schemars(range(min = 1, max = 8192))]
    width: u32,
    /// The height that images get, in pixels.
    #[schemars(range(min = 1, max = 8192))]
    height: u32,
    /// Grey or colour.
    #[serde(default)]
    mode: Mode,
    /// How images are resized.
    #[serde(default)]
    filter: Filter,
    /// The name of the label column; default: `label`.
    #[schemars(length(min = 1))]
    label_column: Option<String>,
    /// The name of the image column.
    #[serde(default = "image")]
    #[schemars(length(min = 1))]
    image_column: String,
    /// The name of the column with the file's path, from the directory: `scratch/017.png`; of the table's column with the
    /// paths, where there is one.
    #[serde(default = "path_column")]
    #[schemars(length(min = 1))]
    path_column: String,
    /// The extensions of image files; others are passed over.
    #[serde(default = "extensions")]
    #[schemars(length(min = 1))]
    extensions: Vec<Extension>,
}

/// What a pixel is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// One channel: luma.
    #[default]
    Grey,
    /// Three channels: red, green, blue.
    Rgb,
}

impl Mode {
    fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// The extension of an image file, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Extension {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpg,
    /// JPEG.
    Jpeg,
}

impl Extension {
    fn text(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpg => "jpg",
            Self::Jpeg => "jpeg",
        }
    }
}

fn image() -> String {
    "image".into()
}

fn path_column() -> String {
    "path".into()
}

fn extensions() -> Vec<Extension> {
    vec![Extension::Png, Extension::Jpg, Extension::Jpeg]
}

register_kind! {
    Images, "source.images", version: 1,
    example: "- source.images: {path: data/tiles, width: 64, height: 64, mode: rgb}",
}

impl Images {
    fn listing(&self) -> Listing<'_> {
        Listing {
            what: What {
                one: "image",
                many: "images",
                unreadable: "unreadable-image",
            },
            path: self.path.as_deref(),
            table: self.table.as_deref(),
            layout: self.layout,
            file_column: ("path_column", &self.path_column),
            label_column: self.label_column.as_deref(),
            extensions: self
                .extensions
                .iter()
                .map(|extension| extension.text())
                .collect(),
        }
    }

    /// The image's pixels, in its new size, row by row.
    fn pixels(&self, path: &Path) -> Result<Vec<u8>> {
        let unreadable = |reason: String| Error::Format {
            path: path.to_owned(),
            message: format!("cannot be read as an image: {reason}"),
        };
        let image = ImageReader::open(path)
            .and_then(ImageReader::with_guessed_format)
            .map_err(|error| Error::reading(path, error))?
            .decode()
            .map_err(|error| unreadable(error.to_string()))?;
        let image = match self.mode {
            Mode::Grey => DynamicImage::ImageLuma8(image.to_luma8()),
            Mode::Rgb => DynamicImage::ImageRgb8(image.to_rgb8()),
        };
        let image = if image.dimensions() == (self.width, self.height) {
            image
        } else {
            image.resize_exact(self.width, self.height, self.filter.kernel())
        };
        Ok(image.into_bytes())
    }
}

/// An image column's type: height × width × channels of `u8`.
pub(super) fn image_type(height: usize, width: usize, channels: usize) -> DataType {
    [channels, width, height]
        .into_iter()
        .fold(DataType::UInt8, |inner, size| {
            DataType::Array(Box::new(inner), size)
        })
}

/// An image column of pixels that follow one another, image by image, row by row, channels together.
///
/// # Errors
/// There are not as many bytes as `count` images have.
pub(super) fn image_column(
    name: &str,
    pixels: Vec<u8>,
    count: usize,
    height: usize,
    width: usize,
    channels: usize,
) -> Result<PolarsColumn> {
    let sizes = [count, height, width, channels];
    let dimensions: Vec<ReshapeDimension> = sizes
        .iter()
        .map(|size| ReshapeDimension::new(*size as i64))
        .collect();
    Ok(Series::new(name.into(), pixels)
        .reshape_array(&dimensions)?
        .into_column())
}

/// Why the file is no image, as far as its header says so.
fn header_problem(path: &Path) -> Option<String> {
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
    match reader {
        Ok(reader) => reader
            .into_dimensions()
            .err()
            .map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

impl Stage for Images {
    fn check(&self, _: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let listing = self.listing();
        let mut listed = listing.check(&[("image_column", &self.image_column)], cx);
        listing.check_headers(&listed.files, header_problem, cx);
        let image = image_type(
            self.height as usize,
            self.width as usize,
            self.mode.channels(),
        );
        let place = listing.behind_path(&listed.columns);
        listed
            .columns
            .insert(place, Column::new(&self.image_column, image));
        Schema {
            incomplete: listed.incomplete,
            ..Schema::new(listed.columns)
        }
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Source(self)
    }
}

impl Source for Images {
    fn scan(&self, cx: &SourceContext<'_>) -> Result<LazyFrame> {
        let listing = self.listing();
        let mut listed = listing.read(cx)?;
        let (height, width, channels) = (
            self.height as usize,
            self.width as usize,
            self.mode.channels(),
        );
        let size = height * width * channels;
        let mut pixels = vec![0_u8; listed.files.len() * size];
        // Every image has its own place in the column: the rows are the same however many threads decode.
        let decoded: Vec<Result<()>> = pixels
            .par_chunks_mut(size)
            .zip(&listed.files)
            .map(|(row, file)| {
                row.copy_from_slice(&self.pixels(&file.path)?);
                Ok(())
            })
            .collect();
        decoded.into_iter().collect::<Result<()>>()?;
        let count = listed.files.len();
        let images = image_column(&self.image_column, pixels, count, height, width, channels)?;
        let place = listing.behind_path(&listed.columns);
        listed.columns.insert(place, images);
        Ok(DataFrame::new(count, listed.columns)?.lazy())
    }

    fn fingerprint(&self, cx: &SourceContext<'_>) -> Result<Fingerprint> {
        self.listing().fingerprint(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        columns::testing::{check, passes, stage},
        testing::run,
    };
    use image::{GrayImage, Luma, Rgb, RgbImage};

    /// Two classes: a grey PNG of one value, a red and a black image of another size.
    fn tiles() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for class in ["scratch", "good"] {
            fs::create_dir(directory.path().join(class)).expect("a folder");
        }
        let save = |name: &str, image: DynamicImage| {
            image.save(directory.path().join(name)).expect("saved")
        };
        save(
            "scratch/2.png",
            DynamicImage::ImageLuma8(GrayImage::from_pixel(4, 2, Luma([100]))),
        );
        save(
            "scratch/1.PNG",
            DynamicImage::ImageRgb8(RgbImage::from_pixel(8, 4, Rgb([255, 0, 0]))),
        );
        save(
            "good/1.png",
            DynamicImage::ImageRgb8(RgbImage::from_pixel(2, 2, Rgb([0, 0, 0]))),
        );
        fs::write(directory.path().join("good/notes.txt"), "not an image").expect("written");
        directory
    }

    fn read(directory: &Path, params: &str) -> Result<DataFrame> {
        let images: Images = stage(&format!("{{path: {}, {params}}}", directory.display()));
        let frame = images
            .scan(&SourceContext {
                seed: 0,
                directory: Path::new("."),
                run_key: None,
            })?
            .collect()?;
        let schema = passes(&images, &Schema::default());
        assert_eq!(*frame.schema().as_ref(), schema.to_polars());
        assert_eq!(
            schema
                .column("label")
                .and_then(|label| label.categories.clone()),
            Some(vec!["good".into(), "scratch".into()])
        );
        Ok(frame)
    }

    fn bytes(frame: &DataFrame) -> Vec<u8> {
        let series = frame
            .column("image")
            .expect("there")
            .as_materialized_series()
            .get_leaf_array();
        series.u8().expect("bytes").into_no_null_iter().collect()
    }

    #[test]
    fn folders_are_classes_and_rows_are_sorted() {
        let directory = tiles();
        let frame = read(directory.path(), "width: 4, height: 2").expect("reads");
        let paths: Vec<Option<&str>> = frame
            .column("path")
            .expect("there")
            .str()
            .expect("text")
            .iter()
            .collect();
        assert_eq!(
            paths,
            [
                Some("good/1.png"),
                Some("scratch/1.PNG"),
                Some("scratch/2.png")
            ]
        );
        assert_eq!(
            *frame.column("image").expect("there").dtype(),
            image_type(2, 4, 1)
        );
        let bytes = bytes(&frame);
        assert_eq!(bytes[..8], [0; 8]);
        // Rec. 709 luma of pure red.
        assert_eq!(bytes[8..16], [54; 8]);
        assert_eq!(bytes[16..], [100; 8]);
    }

    #[test]
    fn colour_keeps_three_channels() {
        let directory = tiles();
        let frame = read(
            directory.path(),
            "width: 1, height: 1, mode: rgb, filter: lanczos",
        )
        .expect("reads");
        assert_eq!(bytes(&frame), [0, 0, 0, 255, 0, 0, 100, 100, 100]);
        assert_eq!(
            taktline_core::type_name(&image_type(5, 4, 3)),
            "array[5, 4, 3] of u8"
        );
    }

    #[test]
    fn an_unreadable_image_is_named() {
        let directory = tiles();
        fs::write(directory.path().join("good/0.png"), b"\x89PNG\r\n\x1a\ncut").expect("written");
        let images: Images = stage(&format!(
            "{{path: {}, width: 4, height: 2}}",
            directory.path().display()
        ));
        let (_, problems) = check(&images, &Schema::default());
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].code, "unreadable-image");
        assert!(
            problems[0].message.contains("good/0.png"),
            "{}",
            problems[0].message
        );
        let error = images
            .scan(&SourceContext {
                seed: 0,
                directory: Path::new("."),
                run_key: None,
            })
            .err()
            .expect("fails");
        assert!(error.to_string().contains("0.png"), "{error}");
    }

    #[test]
    fn a_directory_without_classes_or_images_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let images: Images = stage(&format!(
            "{{path: {}, width: 4, height: 2}}",
            directory.path().display()
        ));
        assert_eq!(check(&images, &Schema::default()).1[0].code, "empty-source");
        fs::create_dir(directory.path().join("good")).expect("a folder");
        assert_eq!(check(&images, &Schema::default()).1[0].code, "empty-source");
        let missing: Images =
            stage("{path: no/such/place, width: 4, height: 2, image_column: label}");
        let codes: Vec<&str> = check(&missing, &Schema::default())
            .1
            .iter()
            .map(|problem| problem.code)
            .collect();
        assert_eq!(codes, ["name-taken", "missing-file"]);
    }

    #[test]
    fn a_flat_folder_has_no_labels() {
        let directory = tiles();
        let frame = run(
            "pipeline: tiles\nstages:\n  - source.images: {path: scratch, layout: flat, width: 1, height: 1}\n",
            directory.path(),
        )
        .expect("reads");
        assert_eq!(frame.get_column_names(), ["path", "image"]);
        assert_eq!(bytes(&frame), [54, 100]);
    }

    #[test]
    fn a_table_keeps_its_rows_and_columns() {
        let directory = tiles();
        let table = "image_file,defect,line\nscratch/2.png,scratch,7\ngood/1.png,none,8\nscratch/2.png,scratch,9\n";
        fs::write(directory.path().join("labels.csv"), table).expect("written");
        let pipeline = "pipeline: tiles\nstages:\n  - source.images: {table: labels.csv, path_column: image_file, width: 1, height: 1}\n";
        let frame = run(pipeline, directory.path()).expect("reads");
        assert_eq!(
            frame.get_column_names(),
            ["image_file", "defect", "line", "image"]
        );
        assert_eq!(bytes(&frame), [100, 0, 100]);
        // Paths start from the table's own folder unless `path` names another.
        fs::create_dir(directory.path().join("lists")).expect("a folder");
        fs::rename(
            directory.path().join("labels.csv"),
            directory.path().join("lists/labels.csv"),
        )
        .expect("moved");
        let moved = pipeline.replace("labels.csv", "lists/labels.csv, path: .");
        assert_eq!(
            bytes(&run(&moved, directory.path()).expect("reads")),
            [100, 0, 100]
        );
    }

    #[test]
    fn a_table_is_checked_with_its_files() {
        let directory = tiles();
        let refused = |table: &str, params: &str| {
            fs::write(directory.path().join("labels.csv"), table).expect("written");
            let pipeline = format!(
                "pipeline: tiles\nstages:\n  - source.images: {{table: labels.csv, width: 1, height: 1{params}}}\n"
            );
            run(&pipeline, directory.path()).expect_err("refused")
        };
        let error = refused("path,defect\ngood/9.png,none\n", "");
        assert!(
            error.starts_with("unreadable-image: `good/9.png` is no readable image"),
            "{error}"
        );
        let error = refused("path,defect\ngood/1.png,none\n,none\n", "");
        assert!(error.contains("row 2 has no path in `path`"), "{error}");
        let error = refused("file,defect\ngood/1.png,none\n", "");
        assert!(
            error.starts_with("unknown-column: `labels.csv` has no column `path`"),
            "{error}"
        );
        let error = refused("path,image\n1,2\n", ", layout: flat, label_column: kind");
        let codes: Vec<&str> = error
            .lines()
            .filter_map(|line| line.split_once(':').map(|(code, _)| code))
            .collect();
        assert_eq!(
            codes,
            [
                "type-mismatch",
                "name-taken",
                "unused-param",
                "unused-param"
            ]
        );
    }

    #[test]
    fn a_source_without_a_place_is_refused() {
        let images: Images = stage("{width: 4, height: 2}");
        assert_eq!(check(&images, &Schema::default()).1[0].code, "missing-path");
    }
}
