//! `sink.*`: where rows go.

mod csv;
mod ipc;
mod ndjson;
mod parquet;

use taktline_core::{CheckContext, Frame, Output, Problem, Result, Schema, SourceContext, path};

use crate::files::{self, Format, NESTED_FORMATS};

/// Rows written to a file; they pass through unchanged.
fn check(written: &str, format: Format, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
    let input = crate::columns::input(inputs);
    let target = cx.resolve(written);
    if target.is_dir() {
        cx.report(
            Problem::error(
                "bad-path",
                path!["path"],
                format!("`{written}` is a directory"),
            )
            .label("needs a file's name"),
        );
    }
    let columns = input
        .columns
        .iter()
        .map(|column| (column.name.as_str(), &column.dtype));
    for reason in format.unwritable(columns) {
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
    input.clone()
}

fn write(written: &str, format: Format, frame: &Frame, cx: &SourceContext<'_>) -> Result<Output> {
    let path = cx.resolve(written);
    files::write_as(&path, frame.data.clone(), format)?;
    Ok(Output::Path(path))
}

/// Makes a params struct with a field `path` a sink that writes this format.
macro_rules! sink_of_rows {
    ($kind:ty, $format:expr) => {
        impl taktline_core::Stage for $kind {
            fn check(
                &self,
                inputs: &[taktline_core::Schema],
                cx: &mut taktline_core::CheckContext<'_>,
            ) -> taktline_core::Schema {
                super::check(&self.path, $format, inputs, cx)
            }

            fn shape(&self) -> taktline_core::Shape<'_> {
                taktline_core::Shape::Sink(self)
            }
        }

        impl taktline_core::Sink for $kind {
            fn target(&self, cx: &taktline_core::SourceContext<'_>) -> Option<std::path::PathBuf> {
                Some(cx.resolve(&self.path))
            }

            fn write(
                &self,
                frame: &taktline_core::Frame,
                cx: &taktline_core::SourceContext<'_>,
            ) -> taktline_core::Result<taktline_core::Output> {
                super::write(&self.path, $format, frame, cx)
            }
        }
    };
}
use sink_of_rows;
