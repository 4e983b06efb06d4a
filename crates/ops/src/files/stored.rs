//! Reading Parquet and Arrow IPC: files that carry their own schema. polars scans them where they are, several as one.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use indexmap::IndexMap;
use polars::prelude::{
    DataType, HiveOptions, LazyFrame, PlRefPath, PolarsResult, ScanArgsParquet, ScanSources,
    Schema, SchemaRef, UnifiedScanArgs, len,
};

use super::{FileProblem, Format, Inspected, RowFile, input::Place};

/// Columns that folders' names give: `year=2024/month=01/…`.
#[derive(Debug, Clone)]
pub(crate) struct Partitions {
    /// Their types, told from all values.
    pub(crate) schema: SchemaRef,
    /// How much of each path is before the folders that count.
    start: usize,
}

/// What hive writes for null.
pub(crate) const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

impl Partitions {
    /// The columns that these paths' folders give; none where no folder's name has an `=`. The paths of all files have
    /// `start` bytes in common, which are not looked at.
    pub(crate) fn of(
        names: &[String],
        start: usize,
        declared: &IndexMap<String, DataType>,
    ) -> Result<Option<Self>, FileProblem> {
        let mut values: IndexMap<String, Vec<String>> = IndexMap::new();
        let mut first: Option<Vec<String>> = None;
        for name in names {
            let parts = parts(name);
            let keys: Vec<String> = parts.iter().map(|(key, _)| key.clone()).collect();
            match &first {
                None => first = Some(keys),
                Some(first) if *first != keys => {
                    let told = |keys: &[String]| match keys {
                        [] => "none".to_owned(),
                        keys => format!("`{}`", keys.join("`, `")),
                    };
                    return Err(FileProblem::new(
                        "partitions-differ",
                        format!(
                            "has files in folders of different partitions: {} in `{name}`, {} in `{}`",
                            told(&keys),
                            told(first),
                            names[0]
                        ),
                    )
                    .label("folders that do not match")
                    .help("read only files that lie equally deep, or set `partitions: false`"));
                }
                Some(_) => {}
            }
            for (key, value) in parts {
                values.entry(key).or_default().push(value);
            }
        }
        if values.is_empty() {
            return Ok(None);
        }
        let schema: Schema = values
            .iter()
            .map(|(key, values)| {
                let dtype = declared.get(key).cloned().unwrap_or_else(|| dtype(values));
                (key.as_str().into(), dtype)
            })
            .collect();
        Ok(Some(Self {
            schema: Arc::new(schema),
            start,
        }))
    }

    fn options(partitions: Option<&Self>) -> HiveOptions {
        match partitions {
            None => HiveOptions::new_disabled(),
            Some(partitions) => HiveOptions {
                enabled: Some(true),
                hive_start_idx: partitions.start,
                schema: Some(Arc::clone(&partitions.schema)),
                try_parse_dates: true,
            },
        }
    }
}

/// The keys and values of the folders on this path.
fn parts(name: &str) -> Vec<(String, String)> {
    let mut folders: Vec<&str> = name.split('/').collect();
    folders.pop();
    folders
        .into_iter()
        .filter_map(|folder| folder.split_once('='))
        .filter(|(key, value)| !key.is_empty() && !value.contains('='))
        .map(|(key, value)| (key.to_owned(), decoded(value).into_owned()))
        .collect()
}

/// `%20` is a blank.
fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains('%') {
        return Cow::Borrowed(value);
    }
    let bytes = value.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = value
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(plain).map_or(Cow::Borrowed(value), Cow::Owned)
}

/// Whole numbers, dates and datetimes, else text. A number with a zero in front, such as `007`, is a name; but of two
/// digits it is a month, a day or an hour.
fn dtype(values: &[String]) -> DataType {
    let values = || {
        values
            .iter()
            .map(String::as_str)
            .filter(|value| !value.is_empty() && *value != NULL_PARTITION)
    };
    let is_number = |value: &str| {
        let digits = value.strip_prefix('-').unwrap_or(value);
        value.parse::<i64>().is_ok()
            && digits.starts_with(|digit: char| digit.is_ascii_digit())
            && (!digits.starts_with('0') || digits.len() <= 2)
    };
    let is_date = |value: &str| {
        value.len() == 10 && chrono::NaiveDate::parse_from_str(value, "%Y-%m-%d").is_ok()
    };
    if values().next().is_none() {
        DataType::String
    } else if values().all(is_number) {
        DataType::Int64
    } else if values().all(is_date) {
        DataType::Date
    } else {
        DataType::String
    }
}

pub(super) fn inspect(file: &RowFile) -> (Option<Inspected>, Vec<FileProblem>) {
    let what = match file.format {
        Format::Parquet => "Parquet",
        _ => "an Arrow IPC file",
    };
    let refused = |reason: &str| {
        let reason = reason.lines().next().unwrap_or_default();
        let problem = FileProblem::new(
            "unreadable-file",
            format!("cannot be read as {what}: {reason}"),
        )
        .label(format!("not {what}"));
        (None, vec![problem])
    };
    let schema = match open(&[file], None, None).and_then(|mut frame| frame.collect_schema()) {
        Ok(schema) => Arc::unwrap_or_clone(schema),
        Err(error) => return refused(&error.to_string()),
    };
    let rows = match open(&[file], None, None).and_then(row_count) {
        Ok(rows) => rows,
        Err(error) => return refused(&error.to_string()),
    };
    let mut problems = Vec::new();
    if rows == 0 {
        problems.push(FileProblem::new("empty-source", "has no rows").label("nothing to read"));
    }
    let inspected = Inspected {
        schema,
        without_values: BTreeSet::new(),
        leading_zeros: Vec::new(),
        is_empty: rows == 0,
    };
    (Some(inspected), problems)
}

/// The rows of all files. With a schema, a file without one of its columns gives null there.
pub(super) fn open(
    files: &[&RowFile],
    schema: Option<&Schema>,
    partitions: Option<&Partitions>,
) -> PolarsResult<LazyFrame> {
    let Some(first) = files.first() else {
        return Ok(LazyFrame::default());
    };
    let paths: Vec<PlRefPath> = files.iter().map(|file| polars_path(&file.place)).collect();
    let sources = ScanSources::Paths(paths.into());
    let cloud_options = match &first.place {
        Place::Object(object) => Some(object.options.clone()),
        Place::File(_) => None,
    };
    let hive_options = Partitions::options(partitions);
    match first.format {
        Format::Parquet => LazyFrame::scan_parquet_sources(
            sources,
            ScanArgsParquet {
                glob: false,
                schema: schema.map(|schema| Arc::new(schema.clone())),
                allow_missing_columns: schema.is_some(),
                cloud_options,
                hive_options,
                ..Default::default()
            },
        ),
        _ => LazyFrame::scan_ipc_sources(
            sources,
            Default::default(),
            UnifiedScanArgs {
                glob: false,
                cloud_options,
                hive_options,
                ..Default::default()
            },
        ),
    }
}

fn polars_path(place: &Place) -> PlRefPath {
    match place {
        Place::File(path) => PlRefPath::new(path.to_string_lossy().as_ref()),
        Place::Object(object) => object.polars_path(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_of_partitions_come_from_all_values() {
        let told =
            |values: &[&str]| dtype(&values.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(told(&["2023", "-4", "0"]), DataType::Int64);
        assert_eq!(told(&["01", "12", NULL_PARTITION]), DataType::Int64);
        assert_eq!(told(&["007", "123"]), DataType::String);
        assert_eq!(told(&["+1"]), DataType::String);
        assert_eq!(told(&["2024-01-31", "2024-02-01"]), DataType::Date);
        assert_eq!(told(&["2024-01-31", "soon"]), DataType::String);
        assert_eq!(told(&[NULL_PARTITION]), DataType::String);
    }

    #[test]
    fn folders_give_columns_and_must_agree() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let none = IndexMap::new();
        let found = Partitions::of(&names(&["y=1/c=a%20b%zz/x", "y=2/c=%C3%A9/x"]), 0, &none)
            .expect("agree")
            .expect("partitions");
        let expected = Schema::from_iter([
            ("y".into(), DataType::Int64),
            ("c".into(), DataType::String),
        ]);
        assert_eq!(*found.schema, expected);
        assert_eq!(decoded("a%20b%zz%"), "a b%zz%");
        assert_eq!(decoded("%C3%A9"), "é");
        assert!(
            Partitions::of(&names(&["a/b"]), 0, &none)
                .expect("agree")
                .is_none()
        );
        assert!(Partitions::of(&names(&["y=1/a", "b"]), 0, &none).is_err());
    }
}
