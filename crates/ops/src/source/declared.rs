//! What the sources that read files of rows share: declared types, and the check of a file.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use polars::prelude::{LazyFrame, Schema as PolarsSchema};
use taktline_core::{
    CheckContext, Error, Fingerprint, Problem, Result, Schema, SourceContext, path,
};

use crate::{
    column_type::ColumnType,
    files::{Dialect, Format, RowFile},
};

/// The declared types of columns, by name.
pub(super) type Declared = IndexMap<String, ColumnType>;

/// A file of rows as a source's params describe it.
pub(super) struct FileParams<'p> {
    /// The param that holds the path.
    pub(super) key: &'static str,
    /// As the user wrote it.
    pub(super) path: &'p str,
    pub(super) format: Format,
    pub(super) dialect: Dialect,
    pub(super) declared: Option<&'p Declared>,
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
    /// The format comes from the file's name, the dialect of CSV is the usual one.
    pub(super) fn by_name(
        key: &'static str,
        path: &'p str,
        declared: Option<&'p Declared>,
    ) -> Result<Self, UnknownFormat<'p>> {
        match Format::of(Path::new(path)) {
            Some(format) => Ok(Self {
                key,
                path,
                format,
                dialect: Dialect::default(),
                declared,
            }),
            None => Err(UnknownFormat { key, path }),
        }
    }

    fn file(&self, path: PathBuf) -> RowFile {
        RowFile {
            path,
            format: self.format,
            dialect: self.dialect.clone(),
            declared: self
                .declared
                .into_iter()
                .flatten()
                .map(|(name, declared)| (name.clone(), declared.data_type()))
                .collect(),
            all_declared: true,
        }
    }

    /// The columns, and every problem of the file.
    pub(super) fn check(&self, cx: &mut CheckContext<'_>) -> Schema {
        let file = self.file(cx.resolve(self.path));
        let (schema, problems) = file.inspect();
        for problem in problems {
            cx.report(problem.into_problem(self.key, self.path));
        }
        match schema {
            Some(schema) => Schema::from_polars(&schema),
            // What is declared can still be checked below.
            None => {
                let declared: PolarsSchema = file
                    .declared
                    .iter()
                    .map(|(name, dtype)| (name.as_str().into(), dtype.clone()))
                    .collect();
                Schema {
                    incomplete: true,
                    ..Schema::from_polars(&declared)
                }
            }
        }
    }

    pub(super) fn scan(&self, cx: &SourceContext<'_>) -> Result<LazyFrame> {
        self.file(cx.resolve(self.path)).scan()
    }

    pub(super) fn fingerprint(&self, cx: &SourceContext<'_>) -> Fingerprint {
        Fingerprint::Files(vec![cx.resolve(self.path)])
    }

    pub(super) fn explain(&self, error: Error, cx: &SourceContext<'_>) -> Error {
        self.file(cx.resolve(self.path)).explain(error)
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
                Ok(self.params().fingerprint(cx))
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
