//! Reading Parquet and Arrow IPC: files that carry their own schema.

use std::sync::Arc;

use polars::prelude::{
    LazyFrame, PlRefPath, PolarsResult, ScanArgsParquet, Schema, UnifiedScanArgs, len,
};
use taktline_core::{Error, Result, type_name};

use super::{FileProblem, Format, RowFile};

pub(super) fn inspect(file: &RowFile) -> (Option<Schema>, Vec<FileProblem>) {
    let schema = match open(file).and_then(|mut frame| frame.collect_schema()) {
        Ok(schema) => Arc::unwrap_or_clone(schema),
        Err(error) => {
            let format = if file.format == Format::Parquet {
                "Parquet"
            } else {
                "an Arrow IPC file"
            };
            let reason = error.to_string();
            let reason = reason.lines().next().unwrap_or_default();
            let problem = FileProblem::new(
                "unreadable-file",
                format!("cannot be read as {format}: {reason}"),
            )
            .label(format!("not {format}"));
            return (None, vec![problem]);
        }
    };
    let mut problems = Vec::new();
    match open(file).and_then(row_count) {
        Ok(0) => {
            problems.push(FileProblem::new("empty-source", "has no rows").label("nothing to read"))
        }
        Ok(_) => {}
        Err(error) => problems.push(FileProblem::new(
            "unreadable-file",
            format!("cannot be read: {error}"),
        )),
    }
    for (name, declared) in &file.declared {
        if let Some(found) = schema.get(name.as_str()).filter(|found| *found != declared) {
            let (found, declared) = (type_name(found), type_name(declared));
            if file.all_declared {
                problems.push(
                    FileProblem::new(
                        "type-mismatch",
                        format!("holds `{name}` as {found}, not as {declared}"),
                    )
                    .column(name)
                    .label(format!("this is {found} in the file"))
                    .help("declare the type that the file has, and change it with `clean.cast`"),
                );
            }
        }
    }
    (Some(schema), problems)
}

pub(super) fn scan(file: &RowFile) -> Result<LazyFrame> {
    open(file).map_err(Error::from)
}

fn open(file: &RowFile) -> PolarsResult<LazyFrame> {
    let path = PlRefPath::new(file.path.to_string_lossy().as_ref());
    match file.format {
        Format::Parquet => LazyFrame::scan_parquet(
            path,
            ScanArgsParquet {
                glob: false,
                ..Default::default()
            },
        ),
        _ => {
            let arguments = UnifiedScanArgs {
                glob: false,
                ..Default::default()
            };
            LazyFrame::scan_ipc(path, Default::default(), arguments)
        }
    }
}

/// How many rows, from the file's own counts.
fn row_count(frame: LazyFrame) -> PolarsResult<u64> {
    let counted = frame.select([len()]).collect()?;
    let count = counted
        .columns()
        .first()
        .map(|column| column.get(0))
        .transpose()?;
    Ok(count
        .and_then(|count| count.extract::<u64>())
        .unwrap_or_default())
}
