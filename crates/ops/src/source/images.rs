//! `source.images`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use image::{DynamicImage, GenericImageView, ImageReader, imageops};
use polars::prelude::{
    Column as PolarsColumn, DataFrame, DataType, IntoColumn, IntoLazy, LazyFrame, NamedFrom,
    ReshapeDimension, Series,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, Fingerprint, Problem, Result, Schema, Shape, Source,
    SourceContext, Stage, path, register_kind,
};

use crate::files::{FileProblem, missing_directory};

/// Read images from a directory with one folder a class.
///
/// The folders' names, sorted, are the classes; the files in them, sorted by name, the rows. Images of any size are resized
/// to one. Gives a path column, an image column (an array of height × width × channels of `u8`) and a label column with the
/// class. Folders inside a class folder and names that begin with a dot are passed over.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Images {
    /// The directory with the class folders.
    #[schemars(length(min = 1))]
    path: String,
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
    /// The name of the label column.
    #[serde(default = "label")]
    #[schemars(length(min = 1))]
    label_column: String,
    /// The name of the image column.
    #[serde(default = "image")]
    #[schemars(length(min = 1))]
    image_column: String,
    /// The name of the column with the file's path, from the directory: `scratch/017.png`.
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

/// How images are resized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Filter {
    /// The nearest pixel; keeps hard edges and label colours.
    Nearest,
    /// Linear, over all pixels that shrink into one.
    #[default]
    Triangle,
    /// Lanczos with window 3: sharper, slower.
    Lanczos,
}

impl Filter {
    fn kernel(self) -> imageops::FilterType {
        match self {
            Self::Nearest => imageops::FilterType::Nearest,
            Self::Triangle => imageops::FilterType::Triangle,
            Self::Lanczos => imageops::FilterType::Lanczos3,
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

fn label() -> String {
    "label".into()
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

/// An image file and its class.
#[derive(Debug, Clone, PartialEq)]
struct Labelled {
    path: PathBuf,
    class: String,
    /// From the directory, with `/` on every system.
    name: String,
}

impl Images {
    /// The classes and their files, sorted.
    fn list(&self, directory: &Path) -> Result<(Vec<String>, Vec<Labelled>), FileProblem> {
        if let Some(problem) = missing_directory(directory) {
            return Err(problem);
        }
        let mut classes = Vec::new();
        let mut files = Vec::new();
        for folder in sorted_entries(directory)? {
            if !folder.is_dir() {
                continue;
            }
            let class = file_name(&folder)?;
            for path in sorted_entries(&folder)? {
                if path.is_file() && self.is_image(&path) {
                    let name = format!("{class}/{}", file_name(&path)?);
                    files.push(Labelled {
                        path,
                        class: class.clone(),
                        name,
                    });
                }
            }
            classes.push(class);
        }
        if classes.is_empty() {
            return Err(FileProblem::new("empty-source", "has no class folders")
                .label("nothing to read")
                .help("put the images of each class into a folder of its name"));
        }
        if files.is_empty() {
            let known: Vec<&str> = self
                .extensions
                .iter()
                .map(|extension| extension.text())
                .collect();
            return Err(FileProblem::new(
                "empty-source",
                format!("has no images ({}) in its class folders", known.join(", ")),
            )
            .label("nothing to read"));
        }
        Ok((classes, files))
    }

    fn is_image(&self, path: &Path) -> bool {
        let extension = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        self.extensions
            .iter()
            .any(|known| known.text() == extension)
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

fn sorted_entries(directory: &Path) -> Result<Vec<PathBuf>, FileProblem> {
    let unreadable = |error: std::io::Error| {
        FileProblem::new("unreadable-file", format!("cannot be listed: {error}"))
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn file_name(path: &Path) -> Result<String, FileProblem> {
    let name = path.file_name().unwrap_or_default();
    name.to_str().map(str::to_owned).ok_or_else(|| {
        FileProblem::new(
            "bad-path",
            format!(
                "holds a name that is not UTF-8: `{}`",
                name.to_string_lossy()
            ),
        )
    })
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

/// Images whose header `check` looks at; later ones are found out by the run.
const HEADERS_CHECKED: usize = 2000;
/// Unreadable images that `check` names.
const UNREADABLE_NAMED: usize = 5;

/// A header is a few bytes, so that most files that are no images are found before the run.
fn report_unreadable(files: &[Labelled], cx: &mut CheckContext<'_>) {
    let unreadable: Vec<(&Labelled, String)> = files
        .par_iter()
        .take(HEADERS_CHECKED)
        .filter_map(|file| header_problem(&file.path).map(|reason| (file, reason)))
        .collect();
    for (file, reason) in unreadable.iter().take(UNREADABLE_NAMED) {
        cx.report(
            Problem::error(
                "unreadable-image",
                path!["path"],
                format!("`{}` is no readable image: {reason}", file.name),
            )
            .label("holds an unreadable image")
            .help(format!("repair or remove `{}`", file.path.display())),
        );
    }
    if let Some(more) = unreadable
        .len()
        .checked_sub(UNREADABLE_NAMED)
        .filter(|more| *more > 0)
    {
        cx.report(
            Problem::error(
                "unreadable-image",
                path!["path"],
                format!("{more} more images are not readable"),
            )
            .label("holds unreadable images"),
        );
    }
}

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
        let names = [
            ("path_column", &self.path_column),
            ("image_column", &self.image_column),
            ("label_column", &self.label_column),
        ];
        for (index, (key, name)) in names.iter().enumerate() {
            if let Some((other, _)) = names[..index].iter().find(|(_, before)| before == name) {
                cx.report(
                    Problem::error(
                        "name-taken",
                        path![*key],
                        format!("`{key}` and `{other}` are both `{name}`"),
                    )
                    .label("this name is taken"),
                );
            }
        }
        let image = image_type(
            self.height as usize,
            self.width as usize,
            self.mode.channels(),
        );
        let mut label = Column::new(&self.label_column, DataType::String);
        match self.list(&cx.resolve(&self.path)) {
            Ok((classes, files)) => {
                for class in &classes {
                    if !files.iter().any(|file| file.class == *class) {
                        cx.report(
                            Problem::warning(
                                "empty-class",
                                path!["path"],
                                format!(
                                    "the class folder `{class}` of `{}` has no images",
                                    self.path
                                ),
                            )
                            .label("a class without images"),
                        );
                    }
                }
                label = label.with_categories(classes);
                report_unreadable(&files, cx);
            }
            Err(problem) => cx.report(problem.into_problem("path", &self.path)),
        }
        let path = Column::new(&self.path_column, DataType::String);
        Schema::new(vec![path, Column::new(&self.image_column, image), label])
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Source(self)
    }
}

impl Source for Images {
    fn scan(&self, cx: &SourceContext<'_>) -> Result<LazyFrame> {
        let directory = cx.resolve(&self.path);
        let (_, files) = self
            .list(&directory)
            .map_err(|problem| problem.into_error(&directory))?;
        // Collecting in order: the rows are the same however many threads decode.
        let decoded: Vec<Result<Vec<u8>>> = files
            .par_iter()
            .map(|file| self.pixels(&file.path))
            .collect();
        let (height, width, channels) = (
            self.height as usize,
            self.width as usize,
            self.mode.channels(),
        );
        let mut pixels = Vec::with_capacity(files.len() * height * width * channels);
        for image in decoded {
            pixels.extend_from_slice(&image?);
        }
        let texts = |name: &str, texts: Vec<&str>| Series::new(name.into(), texts).into_column();
        let columns = vec![
            texts(
                &self.path_column,
                files.iter().map(|file| file.name.as_str()).collect(),
            ),
            image_column(
                &self.image_column,
                pixels,
                files.len(),
                height,
                width,
                channels,
            )?,
            texts(
                &self.label_column,
                files.iter().map(|file| file.class.as_str()).collect(),
            ),
        ];
        Ok(DataFrame::new(files.len(), columns)?.lazy())
    }

    fn fingerprint(&self, cx: &SourceContext<'_>) -> Result<Fingerprint> {
        let directory = cx.resolve(&self.path);
        let (_, files) = self
            .list(&directory)
            .map_err(|problem| problem.into_error(&directory))?;
        Ok(Fingerprint::Files(
            files.into_iter().map(|file| file.path).collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::testing::{check, passes, stage};
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
}
