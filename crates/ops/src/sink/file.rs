//! What the sinks that write files of rows share.

use std::path::PathBuf;

use polars::prelude::{IntoLazy, LazyFrame};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Error, Frame, Output, ParamPath, Problem, Result, Schema, SourceContext, path,
};

use crate::{
    columns,
    files::{
        FileProblem, NESTED_FORMATS, Storage, Writing, foreign, scheme, unknown_scheme,
        unwritable_address, unwritable_path,
    },
};

/// How text is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TextCompression {
    /// As it is.
    None,
    /// gzip
    Gzip,
    /// Zstandard
    Zstd,
}

impl TextCompression {
    /// What is given, or what the file's name says.
    pub(super) fn apply(given: Option<Self>, writing: &mut Writing) {
        use polars::prelude::ExternalCompression;
        writing.compression = match given {
            None => writing.compression,
            Some(Self::None) => ExternalCompression::Uncompressed,
            Some(Self::Gzip) => ExternalCompression::Gzip { level: None },
            Some(Self::Zstd) => ExternalCompression::Zstd { level: None },
        };
    }
}

/// Rows written to a file or an object as a sink's params describe it; they pass through unchanged.
pub(super) struct SinkParams<'p> {
    /// As the user wrote it.
    pub(super) path: &'p str,
    pub(super) writing: Writing,
    pub(super) storage: Option<&'p Storage>,
}

impl SinkParams<'_> {
    fn is_object(&self) -> bool {
        scheme(self.path).is_some()
    }

    pub(super) fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        if let Some(problem) = self.bad_path(cx) {
            cx.report(problem.into_problem("path", self.path));
        }
        let held = input
            .columns
            .iter()
            .map(|column| (column.name.as_str(), &column.dtype));
        for reason in self.writing.format.unwritable(held) {
            cx.report(
                Problem::error(
                    "unwritable-column",
                    path!["path"],
                    format!("stage `{}`: {reason}", cx.stage),
                )
                .label("cannot hold this column")
                .help(NESTED_FORMATS),
            );
        }
        self.check_partitions(input, cx);
        input.clone()
    }

    fn bad_path(&self, cx: &CheckContext<'_>) -> Option<FileProblem> {
        if let Some(problem) = unknown_scheme(self.path) {
            return Some(problem);
        }
        let is_folder = !self.writing.partition_by.is_empty();
        if self.is_object() {
            return match is_folder {
                true => Some(
                    FileProblem::new(
                        "bad-path",
                        "is in an object store, where a folder cannot appear all at once",
                    )
                    .param("partition_by")
                    .label("only for folders on this machine"),
                ),
                false => unwritable_address(self.path),
            };
        }
        let target = cx.resolve(self.path);
        if is_folder {
            foreign(&target).or_else(|| crate::files::file_above(&target))
        } else {
            unwritable_path(&target)
        }
    }

    fn check_partitions(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        let names = &self.writing.partition_by;
        for (index, name) in names.iter().enumerate() {
            let place: ParamPath = path!["partition_by", index];
            if names[..index].contains(name) {
                cx.report(
                    Problem::error(
                        "duplicate-column",
                        place,
                        format!("`{name}` is named twice"),
                    )
                    .label("named before"),
                );
                continue;
            }
            let Some(column) = columns::find(input, name, place.clone(), cx) else {
                continue;
            };
            let dtype = &column.dtype;
            if dtype.is_float() || dtype.is_nested() || *dtype == polars::prelude::DataType::Binary
            {
                columns::report_type(column, "values that can name a folder", place, cx);
            }
        }
        let is_left = input
            .columns
            .iter()
            .any(|column| !names.contains(&column.name));
        if !names.is_empty() && !input.incomplete && !is_left {
            cx.report(
                Problem::error(
                    "nothing-left",
                    path!["partition_by"],
                    "every column would be a folder's name, and none is left to write",
                )
                .label("leave one out"),
            );
        }
    }

    pub(super) fn target(&self, cx: &SourceContext<'_>) -> Option<PathBuf> {
        (!self.is_object()).then(|| cx.resolve(self.path))
    }

    pub(super) fn stream(&self, rows: LazyFrame, cx: &SourceContext<'_>) -> Result<Output> {
        if self.is_object() {
            self.writing
                .write_object(self.path, self.storage, rows)
                .map_err(|problem| problem.into_located("path", self.path))?;
            return Ok(Output::Place(self.path.to_owned()));
        }
        let path = cx.resolve(self.path);
        self.writing.write(&path, rows)?;
        Ok(Output::Path(path))
    }

    pub(super) fn write(&self, frame: &Frame, cx: &SourceContext<'_>) -> Result<Output, Error> {
        self.stream(frame.data.clone().lazy(), cx)
    }
}

/// Makes a params struct with a method `params` a sink that writes a file of rows.
macro_rules! sink_of_rows {
    ($kind:ty) => {
        impl taktline_core::Stage for $kind {
            fn check(
                &self,
                inputs: &[taktline_core::Schema],
                cx: &mut taktline_core::CheckContext<'_>,
            ) -> taktline_core::Schema {
                self.params().check(inputs, cx)
            }

            fn shape(&self) -> taktline_core::Shape<'_> {
                taktline_core::Shape::Sink(self)
            }
        }

        impl taktline_core::Sink for $kind {
            fn target(&self, cx: &taktline_core::SourceContext<'_>) -> Option<std::path::PathBuf> {
                self.params().target(cx)
            }

            fn stream(
                &self,
                rows: polars::prelude::LazyFrame,
                cx: &taktline_core::SourceContext<'_>,
            ) -> Option<taktline_core::Result<taktline_core::Output>> {
                Some(self.params().stream(rows, cx))
            }

            fn holds_not_finite(&self) -> bool {
                self.params().writing.format.holds_not_finite()
            }

            fn write(
                &self,
                frame: &taktline_core::Frame,
                cx: &taktline_core::SourceContext<'_>,
            ) -> taktline_core::Result<taktline_core::Output> {
                self.params().write(frame, cx)
            }
        }
    };
}
pub(super) use sink_of_rows;
