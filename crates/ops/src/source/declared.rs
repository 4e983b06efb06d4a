//! What the sources that read files of rows share: which files a path means, declared types, and the check of files.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use polars::{
    lazy::dsl::len,
    prelude::{LazyFrame, PlRefPath, Schema as PolarsSchema},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Error, Fingerprint, Problem, Result, STORE, Schema, SourceContext, path,
};

use crate::{
    column_type::ColumnType,
    files::{
        Dialect, FileProblem, FileSet, Format, JsonLayout, NewColumns, Partitions, Pattern, Place,
        RowFile, SAMPLE_ROWS, Storage, files_below, find, missing_file, scheme, unknown_scheme,
    },
};

/// The declared types of columns, by name.
pub(super) type Declared = IndexMap<String, ColumnType>;

/// Rows of a file among many that types are told from, at least.
const FEWEST_SAMPLE_ROWS: usize = 200;

/// What becomes of columns that `schema` does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Undeclared {
    /// They are read like the others.
    #[default]
    Keep,
    /// They are left out.
    Drop,
    /// They stop the run.
    Refuse,
}

/// Files of rows as a source's params describe them.
pub(super) struct FileParams<'p> {
    /// The param that holds the path.
    pub(super) key: &'static str,
    /// As the user wrote it.
    pub(super) path: &'p str,
    pub(super) format: Format,
    pub(super) dialect: Dialect,
    pub(super) json: JsonLayout,
    pub(super) declared: Option<&'p Declared>,
    pub(super) undeclared: Undeclared,
    pub(super) file_column: Option<&'p str>,
    pub(super) fill_missing: bool,
    /// Whether no rows at all are rows like others.
    pub(super) allow_empty: bool,
    /// Whether folders' names give columns; where nothing is said, if several files are read.
    pub(super) partitions: Option<bool>,
    pub(super) storage: Option<&'p Storage>,
}

/// A name that does not say the format.
#[derive(Debug)]
pub(super) struct UnknownFormat<'p> {
    key: &'static str,
    path: &'p str,
}

impl UnknownFormat<'_> {
    fn message(&self) -> String {
        format!("`{}` does not say its format by its name", self.path)
    }

    /// As `takt check` reports it; nothing is known about the columns.
    pub(super) fn report(&self, cx: &mut CheckContext<'_>) -> Schema {
        cx.report(
            Problem::error("unknown-format", path![self.key], self.message())
                .label("unknown extension")
                .help(format!(
                    "known: {}; for CSV of another name use `source.csv`",
                    Format::EXTENSIONS
                )),
        );
        Schema {
            incomplete: true,
            ..Schema::default()
        }
    }
}

impl From<UnknownFormat<'_>> for Error {
    fn from(unknown: UnknownFormat<'_>) -> Self {
        Self::data(format!(
            "{}; known: {}",
            unknown.message(),
            Format::EXTENSIONS
        ))
    }
}

impl<'p> FileParams<'p> {
    /// Files of that format, in its usual dialect; the path is the param `path`.
    pub(super) fn new(path: &'p str, format: Format) -> Self {
        Self {
            key: "path",
            path,
            format,
            dialect: Dialect::default(),
            json: JsonLayout::default(),
            declared: None,
            undeclared: Undeclared::Keep,
            file_column: None,
            fill_missing: false,
            allow_empty: false,
            partitions: None,
            storage: None,
        }
    }

    /// The format comes from the file's name, the dialect of CSV is the usual one.
    pub(super) fn by_name(
        key: &'static str,
        path: &'p str,
        declared: Option<&'p Declared>,
    ) -> Result<Self, UnknownFormat<'p>> {
        match Format::of(Path::new(path)) {
            Some(format) => Ok(Self {
                key,
                declared,
                ..Self::new(path, format)
            }),
            None => Err(UnknownFormat { key, path }),
        }
    }

    /// The files that the path means: one, those that fit its wildcards, or those of a folder; here or in an object store.
    fn files(&self, directory: &Path) -> Result<FileSet, FileProblem> {
        let (places, are_several) = self.places(directory)?;
        let sample_rows = match places.len() {
            1 => SAMPLE_ROWS,
            count => (SAMPLE_ROWS / count).max(FEWEST_SAMPLE_ROWS),
        };
        let declared: IndexMap<String, _> = self
            .declared
            .into_iter()
            .flatten()
            .map(|(name, declared)| (name.clone(), declared.data_type()))
            .collect();
        let names: Vec<String> = places.iter().map(|(_, shown)| shown.clone()).collect();
        let is_stored = matches!(self.format, Format::Parquet | Format::Ipc);
        let partitions = if is_stored && self.partitions.unwrap_or(are_several) {
            // What is before the path that the user wrote is not looked at.
            let start = match places.first() {
                Some((Place::File(path), shown)) => PlRefPath::new(path.to_string_lossy().as_ref())
                    .as_str()
                    .len()
                    .saturating_sub(shown.trim_start_matches("./").len()),
                _ => 0,
            };
            Partitions::of(&names, start, &declared)?
        } else {
            None
        };
        let fetched = directory.join(STORE).join("fetched");
        let files = places
            .into_iter()
            .map(|(place, shown)| RowFile {
                place,
                shown,
                dialect: self.dialect.clone(),
                json: self.json.clone(),
                declared: declared.clone(),
                all_declared: true,
                may_be_empty: self.allow_empty,
                sample_rows,
                ..RowFile::new(PathBuf::new(), self.format, Some(fetched.clone()))
            })
            .collect();
        Ok(FileSet {
            files,
            file_column: self.file_column.map(str::to_owned),
            fill_missing: self.fill_missing,
            new_columns: match self.undeclared {
                Undeclared::Keep => NewColumns::Keep,
                Undeclared::Drop => NewColumns::Drop,
                Undeclared::Refuse => NewColumns::Refuse,
            },
            partitions,
        })
    }

    /// The files and what messages call them, and whether the path could mean several.
    fn places(&self, directory: &Path) -> Result<(Vec<(Place, String)>, bool), FileProblem> {
        if let Some(problem) = unknown_scheme(self.path) {
            return Err(problem);
        }
        if scheme(self.path).is_some() {
            let are_several = Pattern::of(self.path).is_some() || self.path.ends_with('/');
            let found = find(self.path, self.format.endings(), self.storage)?;
            let named = found.into_iter().map(|object| {
                let url = object.url.clone();
                (Place::Object(Box::new(object)), url)
            });
            return Ok((named.collect(), are_several));
        }
        let place = directory.join(self.path);
        let unlisted = |error: std::io::Error| {
            FileProblem::new("unreadable-file", format!("cannot be listed: {error}"))
        };
        let is_stored = matches!(self.format, Format::Parquet | Format::Ipc);
        if place.is_dir() && is_stored {
            let mut names = files_below(&place).map_err(unlisted)?;
            let count = names.len();
            names.retain(|name| {
                let name = name.to_lowercase();
                self.format
                    .endings()
                    .iter()
                    .any(|ending| name.ends_with(ending))
            });
            if names.is_empty() {
                return Err(FileProblem::new(
                    "missing-file",
                    format!("is a directory without {} files", self.format.endings()[0]),
                )
                .label("no such files here")
                .note(match count {
                    0 => "no files at all".to_owned(),
                    1 => "one other file".to_owned(),
                    _ => format!("{count} other files"),
                }));
            }
            let folder = self.path.trim_end_matches('/');
            let named = names.into_iter().map(|name| {
                let shown = format!("{folder}/{name}");
                (Place::File(place.join(name)), shown)
            });
            return Ok((named.collect(), true));
        }
        // A file may have such signs in its name.
        let pattern = Pattern::of(self.path).filter(|_| !place.exists());
        let Some(pattern) = pattern else {
            return match missing_file(&place) {
                Some(problem) => Err(problem),
                None => Ok((vec![(Place::File(place), self.path.to_owned())], false)),
            };
        };
        let is_absolute = self.path.starts_with('/');
        let start = if is_absolute {
            Path::new("/")
        } else {
            directory
        };
        let names = pattern.files(start).map_err(unlisted)?;
        if names.is_empty() {
            return Err(FileProblem::new("missing-file", "means no file")
                .label("no file fits")
                .note(format!("looked in `{}`", pattern.start(start).display())));
        }
        let named = names.into_iter().map(|name| {
            let file = start.join(&name);
            let shown = if is_absolute {
                format!("/{name}")
            } else {
                name
            };
            (Place::File(file), shown)
        });
        Ok((named.collect(), true))
    }

    /// The columns, and every problem of the files.
    pub(super) fn check(&self, cx: &mut CheckContext<'_>) -> Schema {
        if let Some(name) = self.file_column {
            crate::columns::is_allowed(name, path!["file_column"], cx);
        }
        if self.undeclared != Undeclared::Keep && self.declared.is_none() {
            cx.report(
                Problem::error(
                    "missing-schema",
                    path!["undeclared"],
                    "`undeclared` says what becomes of columns that `schema` does not name, and there is no `schema`",
                )
                .label("needs `schema`"),
            );
        }
        let (schema, problems) = match self.files(cx.directory) {
            Ok(files) => files.inspect(),
            Err(problem) => (None, vec![problem]),
        };
        for problem in problems {
            cx.report(problem.into_problem(self.key, self.path));
        }
        match schema {
            Some(schema) => Schema::from_polars(&schema),
            // What is declared can still be checked below.
            None => {
                let declared: PolarsSchema = self
                    .declared
                    .into_iter()
                    .flatten()
                    .map(|(name, declared)| (name.as_str().into(), declared.data_type()))
                    .collect();
                Schema {
                    incomplete: true,
                    ..Schema::from_polars(&declared)
                }
            }
        }
    }

    pub(super) fn scan(&self, cx: &SourceContext<'_>) -> Result<LazyFrame> {
        self.files(cx.directory)
            .and_then(|files| files.scan())
            .map_err(|problem| problem.into_located(self.key, self.path))
    }

    pub(super) fn fingerprint(&self, cx: &SourceContext<'_>) -> Result<Fingerprint> {
        let (places, _) = self
            .places(cx.directory)
            .map_err(|problem| problem.into_located(self.key, self.path))?;
        let mut files = Vec::new();
        let mut objects = String::new();
        for (place, _) in places {
            match place {
                Place::File(path) => files.push(path),
                Place::Object(object) => {
                    objects.push_str(&format!("{} {} {}\n", object.url, object.size, object.tag));
                }
            }
        }
        Ok(if objects.is_empty() {
            Fingerprint::Files(files)
        } else {
            Fingerprint::Content(blake3::hash(objects.as_bytes()).to_hex().to_string())
        })
    }

    /// See [`taktline_core::Source::rows`].
    pub(super) fn rows(&self, cx: &SourceContext<'_>) -> Result<Option<usize>> {
        let is_columnar = matches!(self.format, Format::Parquet | Format::Ipc);
        if !is_columnar || !matches!(self.fingerprint(cx)?, Fingerprint::Files(_)) {
            return Ok(None);
        }
        let counted = self.scan(cx)?.select([len()]).collect()?;
        let rows = counted.columns().first().map(|column| column.get(0));
        Ok(rows.transpose()?.and_then(|rows| rows.try_extract().ok()))
    }

    pub(super) fn explain(&self, error: Error, cx: &SourceContext<'_>) -> Error {
        match self.files(cx.directory).map(|files| files.explain(&error)) {
            Ok(Some(problem)) => problem.into_located(self.key, self.path),
            _ => error,
        }
    }
}

/// Makes a params struct a source of a file of rows; it has a method `params`.
macro_rules! source_of_rows {
    ($kind:ty) => {
        impl taktline_core::Stage for $kind {
            fn check(
                &self,
                _: &[taktline_core::Schema],
                cx: &mut taktline_core::CheckContext<'_>,
            ) -> taktline_core::Schema {
                self.params().check(cx)
            }

            fn shape(&self) -> taktline_core::Shape<'_> {
                taktline_core::Shape::Source(self)
            }
        }

        impl taktline_core::Source for $kind {
            fn scan(
                &self,
                cx: &taktline_core::SourceContext<'_>,
            ) -> taktline_core::Result<polars::prelude::LazyFrame> {
                self.params().scan(cx)
            }

            fn fingerprint(
                &self,
                cx: &taktline_core::SourceContext<'_>,
            ) -> taktline_core::Result<taktline_core::Fingerprint> {
                self.params().fingerprint(cx)
            }

            fn rows(
                &self,
                cx: &taktline_core::SourceContext<'_>,
            ) -> taktline_core::Result<Option<usize>> {
                self.params().rows(cx)
            }

            fn explain(
                &self,
                error: taktline_core::Error,
                cx: &taktline_core::SourceContext<'_>,
            ) -> taktline_core::Error {
                self.params().explain(error, cx)
            }
        }
    };
}
pub(super) use source_of_rows;
