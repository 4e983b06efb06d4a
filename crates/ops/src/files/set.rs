//! Files that are read as one table: one file, or several with the same columns.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use polars::{
    lazy::dsl::{col, lit},
    prelude::{
        DataFrame, DataType, IntoLazy, LazyFrame, NULL, Schema, TimeUnit, UnionArgs, concat,
    },
};
use taktline_core::{Error, did_you_mean, type_name};

use super::{
    FileProblem, Format, Inspected, RowFile, csv, json, ndjson, stored, stored::Partitions,
};

/// Files whose problems are told one by one; the rest is counted.
const TOLD_FILES: usize = 10;

/// What becomes of columns that `schema` does not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum NewColumns {
    /// They are columns like the others.
    #[default]
    Keep,
    /// They are left out.
    Drop,
    /// They are a problem.
    Refuse,
}

/// Files that are read as one table, in their order; at least one.
#[derive(Debug, Clone)]
pub(crate) struct FileSet {
    pub(crate) files: Vec<RowFile>,
    /// A column with the name of the file that a row comes from.
    pub(crate) file_column: Option<String>,
    /// Whether a file may lack a column that another has; it is null there.
    pub(crate) fill_missing: bool,
    pub(crate) new_columns: NewColumns,
    /// Columns that the folders' names give.
    pub(crate) partitions: Option<Partitions>,
}

impl FileSet {
    /// One file by itself.
    pub(crate) fn one(file: RowFile) -> Self {
        Self {
            files: vec![file],
            file_column: None,
            fill_missing: false,
            new_columns: NewColumns::Keep,
            partitions: None,
        }
    }

    fn first(&self) -> Option<&RowFile> {
        self.files.first()
    }

    fn format(&self) -> Format {
        self.first().map_or(Format::Csv, |file| file.format)
    }

    /// Everything that can be told from headers and samples: the columns, if they can be told, and every problem.
    pub(crate) fn inspect(&self) -> (Option<Schema>, Vec<FileProblem>) {
        let (told, mut problems) = self.told();
        if let Some((look, schema)) = &told {
            problems.extend(self.hints(look, schema));
        }
        (told.map(|(_, schema)| schema), problems)
    }

    /// What may not be as the user meant it.
    fn hints(&self, look: &Look, schema: &Schema) -> Vec<FileProblem> {
        let mut hinted = BTreeSet::new();
        let mut hints = Vec::new();
        for (file, inspected) in self.files.iter().zip(&look.inspected) {
            for (name, text) in &inspected.leading_zeros {
                let is_number = schema.get(name).is_some_and(DataType::is_integer);
                if !is_number || !hinted.insert(name) {
                    continue;
                }
                let number = text.trim_start_matches('0');
                let number = if number.is_empty() { "0" } else { number };
                let hint = FileProblem::new(
                    "leading-zeros",
                    format!("column `{name}`: `{text}` becomes the number {number}"),
                )
                .hint()
                .label(format!("`{name}` loses its leading zeros"))
                .help(format!("declare `schema: {{{name}: text}}` where the zeros belong to a name, or `i64` where they do not count"));
                hints.extend(self.in_file(file, Err::<(), _>(hint)).err());
            }
        }
        hints.extend(self.untold(look, schema));
        hints
    }

    /// That types could not be told, as there are no rows.
    fn untold(&self, look: &Look, schema: &Schema) -> Option<FileProblem> {
        let first = self.first()?;
        let is_told = !first.may_be_empty || first.format != Format::Csv;
        if is_told || !look.inspected.iter().all(|found| found.is_empty) {
            return None;
        }
        let names: Vec<String> = schema
            .iter_names()
            .filter(|name| !first.declared.contains_key(name.as_str()))
            .map(|name| format!("`{name}`"))
            .collect();
        (!names.is_empty()).then(|| {
            FileProblem::new("no-types", format!("has no rows to tell types from: {} taken as text", names.join(", ")))
                .hint()
                .label("nothing but a header")
                .help("declare the columns' types in `schema`: they are then the same with and without rows")
        })
    }

    fn told(&self) -> (Option<(Look, Schema)>, Vec<FileProblem>) {
        let (look, mut problems) = self.look();
        let Some(look) = look else {
            return (None, problems);
        };
        let mut schema = match self.with_partitions(&look.schema) {
            Ok(schema) => schema,
            Err(problem) => {
                problems.push(problem);
                return (None, problems);
            }
        };
        problems.extend(self.against_declared(&schema));
        if self.new_columns == NewColumns::Drop {
            schema = self.columns_kept(&schema);
        }
        if let Some(name) = &self.file_column {
            if schema.contains(name) {
                problems.push(
                    FileProblem::new("name-taken", format!("has a column `{name}` already"))
                        .param("file_column")
                        .label("this name is taken"),
                );
            }
            schema.insert(name.as_str().into(), DataType::String);
        }
        (Some((look, schema)), problems)
    }

    /// The rows, lazily; the structure of whole files is checked first where the format does not guarantee it.
    ///
    /// # Errors
    /// The first problem of the files.
    pub(crate) fn scan(&self) -> Result<LazyFrame, FileProblem> {
        let (told, problems) = self.told();
        if let Some(problem) = problems.into_iter().next() {
            return Err(problem);
        }
        let Some((look, schema)) = told else {
            return Err(FileProblem::new(
                "unreadable-file",
                "has columns that cannot be told",
            ));
        };
        let failed = |error: polars::prelude::PolarsError| {
            FileProblem::new("unreadable-file", format!("cannot be read: {error}"))
        };
        let is_stored = matches!(self.format(), Format::Parquet | Format::Ipc);
        let frames = if is_stored && self.file_column.is_none() {
            let files: Vec<&RowFile> = self.files.iter().collect();
            vec![self.stored(&files, &look).map_err(failed)?]
        } else if self.format() == Format::Csv {
            self.csv(&look)?
        } else {
            self.files
                .iter()
                .map(|file| {
                    let rows = match file.format {
                        Format::Ndjson => self.in_file(file, ndjson::scan(file, &look.schema))?,
                        Format::Json => self.in_file(file, json::scan(file, &look.schema))?,
                        _ => self.stored(&[file], &look).map_err(failed)?,
                    };
                    Ok(self.with_name(rows, file))
                })
                .collect::<Result<Vec<_>, FileProblem>>()?
        };
        let columns: Vec<_> = schema.iter_names().map(|name| col(name.clone())).collect();
        let mut frames: Vec<LazyFrame> = frames
            .into_iter()
            .map(|frame| frame.select(columns.clone()))
            .collect();
        if frames.len() == 1 {
            return Ok(frames.remove(0));
        }
        let arguments = UnionArgs {
            rechunk: false,
            to_supertypes: false,
            ..UnionArgs::default()
        };
        concat(frames, arguments).map_err(failed)
    }

    /// With the column that names the file, where one is asked for.
    fn with_name(&self, rows: LazyFrame, file: &RowFile) -> LazyFrame {
        match &self.file_column {
            Some(name) => rows.with_column(lit(file.shown.as_str()).alias(name)),
            None => rows,
        }
    }

    /// The rows of CSV files, in as few scans as can be: each costs a query's planning.
    fn csv(&self, look: &Look) -> Result<Vec<LazyFrame>, FileProblem> {
        let mut scans: Vec<(&RowFile, Schema, Vec<csv::Ready>)> = Vec::new();
        for (file, inspected) in self.files.iter().zip(&look.inspected) {
            let own: Schema = inspected
                .schema
                .iter()
                .map(|(name, dtype)| {
                    let dtype = look.schema.get(name).unwrap_or(dtype);
                    (name.clone(), dtype.clone())
                })
                .collect();
            let Some(ready) = self.in_file(file, csv::ready(file))? else {
                continue;
            };
            match scans.last_mut() {
                Some((_, schema, before))
                    if self.file_column.is_none()
                        && *schema == own
                        && before.last().is_some_and(|last| last.goes_with(&ready)) =>
                {
                    before.push(ready);
                }
                _ => scans.push((file, own, vec![ready])),
            }
        }
        if scans.is_empty() {
            let rows = DataFrame::empty_with_schema(&look.schema).lazy();
            return Ok(self
                .first()
                .map(|file| self.with_name(rows, file))
                .into_iter()
                .collect());
        }
        scans
            .into_iter()
            .map(|(file, own, ready)| {
                let rows = self.in_file(file, csv::scan(file, &ready, &own))?;
                Ok(self.with_name(with_missing(rows, &own, &look.schema), file))
            })
            .collect()
    }

    fn stored(&self, files: &[&RowFile], look: &Look) -> polars::prelude::PolarsResult<LazyFrame> {
        let schema = self.fill_missing.then_some(&look.schema);
        if schema.is_none() || self.format() == Format::Parquet {
            return stored::open(files, schema, self.partitions.as_ref());
        }
        // An Arrow file by itself knows nothing of the others' columns.
        let frames = files
            .iter()
            .map(|file| {
                let mut frame = stored::open(&[file], None, self.partitions.as_ref())?;
                let own = frame.collect_schema()?;
                Ok(with_missing(frame, &own, &look.schema).select(
                    look.schema
                        .iter_names()
                        .map(|name| col(name.clone()))
                        .collect::<Vec<_>>(),
                ))
            })
            .collect::<polars::prelude::PolarsResult<Vec<_>>>()?;
        concat(frames, UnionArgs::default())
    }

    /// What an error of a query over these rows means: the file, line and column of a value that does not parse.
    pub(crate) fn explain(&self, error: &Error) -> Option<FileProblem> {
        let Error::Polars(polars) = error else {
            return None;
        };
        if self.format() != Format::Csv {
            return None;
        }
        let message = polars.to_string();
        let types = self.look().0.map(|look| types_of(&look.schema));
        self.files.iter().find_map(|file| {
            let file = RowFile {
                types: types
                    .clone()
                    .filter(|_| self.files.len() > 1)
                    .unwrap_or_default(),
                ..file.clone()
            };
            let problem = csv::locate(&file, &message)?;
            self.in_file(&file, Err::<(), _>(problem)).err()
        })
    }

    /// A problem of one file of several names it.
    fn in_file<T>(&self, file: &RowFile, result: Result<T, FileProblem>) -> Result<T, FileProblem> {
        result.map_err(|problem| {
            if self.files.len() > 1 {
                problem.in_file(&file.shown)
            } else {
                problem
            }
        })
    }

    /// Looks at every file, and puts their columns together.
    fn look(&self) -> (Option<Look>, Vec<FileProblem>) {
        let mut all = Vec::new();
        let mut problems = Vec::new();
        let mut is_known = true;
        let mut failed = 0;
        for file in &self.files {
            let (inspected, found) = file.inspect();
            let is_without_rows = inspected.as_ref().is_some_and(|found| found.is_empty);
            is_known &= inspected.is_some();
            all.extend(inspected);
            let found = found
                .into_iter()
                // A day without rows is no problem among others.
                .filter(|problem| !(is_without_rows && problem.code() == "empty-source"))
                .collect::<Vec<_>>();
            failed += usize::from(!found.is_empty());
            if failed <= TOLD_FILES {
                problems.extend(
                    found
                        .into_iter()
                        .filter_map(|problem| self.in_file(file, Err::<(), _>(problem)).err()),
                );
            }
        }
        if failed > TOLD_FILES {
            let more = failed - TOLD_FILES;
            if let Some(last) = problems.pop() {
                problems.push(last.note(format!("{more} more files have problems")));
            }
        }
        let may_be_empty = self.first().is_some_and(|file| file.may_be_empty);
        if is_known && !may_be_empty && all.iter().all(|found| found.is_empty) {
            let problem = match (self.files.as_slice(), self.format()) {
                ([file], Format::Csv) => file.inspect().1.into_iter().next(),
                ([_], _) => None,
                _ => Some(
                    FileProblem::new(
                        "empty-source",
                        format!("has no rows in any of {} files", self.files.len()),
                    )
                    .label("nothing to read"),
                ),
            };
            let problem = problem.unwrap_or_else(|| {
                FileProblem::new("empty-source", "has no rows").label("nothing to read")
            });
            let is_source = self.first().is_some_and(|file| file.all_declared);
            problems.push(problem.help_if(
                is_source.then(|| {
                    "set `allow_empty: true` where a delivery may have no rows".to_owned()
                }),
            ));
        }
        if !is_known {
            return (None, problems);
        }
        match self.unified(&all) {
            Ok(schema) => {
                let look = Look {
                    inspected: all,
                    schema,
                };
                (Some(look), problems)
            }
            Err(problem) => {
                problems.push(problem);
                (None, problems)
            }
        }
    }

    /// The columns of all files.
    fn unified(&self, all: &[Inspected]) -> Result<Schema, FileProblem> {
        let is_json = matches!(self.format(), Format::Ndjson | Format::Json);
        let is_text = is_json || self.format() == Format::Csv;
        // What JSON does not say is null.
        let fill_missing = self.fill_missing || is_json;
        let reference = all.iter().position(|found| !found.is_empty).unwrap_or(0);
        let mut columns: IndexMap<String, Told> = IndexMap::new();
        let mut differences: Vec<String> = Vec::new();
        let (mut names_differ, mut odd_type) = (false, None);
        let order = std::iter::once(reference).chain((0..all.len()).filter(|at| *at != reference));
        for at in order {
            let (found, file) = (&all[at], &self.files[at]);
            if found.is_empty && found.schema.is_empty() {
                continue;
            }
            let mut told = Vec::new();
            if at != reference && !fill_missing {
                told.extend(
                    columns
                        .keys()
                        .filter(|name| !found.schema.contains(name))
                        .map(|name| format!("no column `{name}`")),
                );
                names_differ |= !told.is_empty();
            }
            for (name, dtype) in found.schema.iter() {
                let has_values = !found.without_values.contains(name.as_str());
                let Some(known) = columns.get_mut(name.as_str()) else {
                    if at != reference && !fill_missing {
                        names_differ = true;
                        told.push(format!("a new column `{name}`"));
                    } else {
                        let told = Told {
                            dtype: dtype.clone(),
                            file: at,
                            has_values,
                        };
                        columns.insert(name.to_string(), told);
                    }
                    continue;
                };
                match (known.has_values, has_values) {
                    _ if known.dtype == *dtype => known.has_values |= has_values,
                    (false, true) if is_text => {
                        *known = Told {
                            dtype: dtype.clone(),
                            file: at,
                            has_values,
                        }
                    }
                    (_, false) if is_text => {}
                    _ => match common(&known.dtype, dtype).filter(|_| is_text) {
                        Some(common) => known.dtype = common,
                        None => {
                            odd_type.get_or_insert(name.to_string());
                            told.push(format!(
                                "`{name}` is {}, {} in `{}`",
                                type_name(dtype),
                                type_name(&known.dtype),
                                self.files[known.file].shown
                            ));
                        }
                    },
                }
            }
            if !told.is_empty() {
                differences.push(format!("`{}`: {}", file.shown, told.join("; ")));
            }
        }
        if differences.is_empty() {
            // JSON without records names no fields.
            if is_json && columns.is_empty() {
                let declared = self.first().into_iter().flat_map(|file| &file.declared);
                return Ok(declared
                    .map(|(name, dtype)| (name.into(), dtype.clone()))
                    .collect());
            }
            return Ok(columns
                .into_iter()
                .map(|(name, told)| (name.into(), told.dtype))
                .collect());
        }
        let count = differences.len();
        let mut problem = FileProblem::new(
            "files-differ",
            format!(
                "means files of different columns: {count} of {} differ from `{}`",
                all.len(),
                self.files[reference].shown
            ),
        )
        .label("files that do not match");
        for difference in differences.into_iter().take(TOLD_FILES) {
            problem = problem.note(difference);
        }
        if count > TOLD_FILES {
            problem = problem.note(format!("and {} more files", count - TOLD_FILES));
        }
        Err(match odd_type {
            Some(name) if is_text => problem.help(format!(
                "say what it is (`schema: {{{name}: text}}`), or which texts stand for a missing value"
            )),
            _ if names_differ => {
                problem.help("set `fill_missing: true` to have nulls where a file lacks a column")
            }
            _ => problem.help("write the files with the same types"),
        })
    }

    /// The columns with those that folders' names give.
    fn with_partitions(&self, schema: &Schema) -> Result<Schema, FileProblem> {
        let mut schema = schema.clone();
        for (name, dtype) in self.partitions.iter().flat_map(|found| found.schema.iter()) {
            if schema.contains(name) {
                return Err(FileProblem::new(
                    "name-taken",
                    format!("has `{name}` both as a column and as a folder's name"),
                )
                .label("two columns of one name")
                .help("set `partitions: false` to read what is in the files"));
            }
            schema.insert(name.clone(), dtype.clone());
        }
        Ok(schema)
    }

    fn columns_kept(&self, schema: &Schema) -> Schema {
        let Some(first) = self.first() else {
            return schema.clone();
        };
        schema
            .iter()
            .filter(|(name, _)| first.declared.contains_key(name.as_str()))
            .map(|(name, dtype)| (name.clone(), dtype.clone()))
            .collect()
    }

    /// How the columns differ from those that the spec declares, in one message.
    fn against_declared(&self, schema: &Schema) -> Option<FileProblem> {
        let file = self.first().filter(|file| file.all_declared)?;
        let declared = &file.declared;
        let missing: Vec<&str> = declared
            .keys()
            .map(String::as_str)
            .filter(|name| !schema.contains(name))
            .collect();
        let retyped: Vec<(&str, &DataType, &DataType)> = declared
            .iter()
            .filter_map(|(name, dtype)| Some((name.as_str(), schema.get(name)?, dtype)))
            .filter(|(_, found, dtype)| found != dtype)
            .collect();
        let new: Vec<&str> = schema
            .iter_names()
            .map(|name| name.as_str())
            .filter(|name| self.new_columns == NewColumns::Refuse && !declared.contains_key(*name))
            .collect();
        let suggestion = missing.iter().find_map(|name| {
            let found = schema.iter_names().map(|name| name.as_str());
            did_you_mean(name, found)
        });
        match (missing.as_slice(), retyped.as_slice(), new.as_slice()) {
            ([], [], []) => None,
            ([name], [], []) => Some(
                FileProblem::new(
                    "unknown-column",
                    format!("has no column `{name}`, which `schema` declares"),
                )
                .column(*name)
                .label("not in the file")
                .help_if(suggestion),
            ),
            ([], [(name, found, wanted)], []) => Some(
                FileProblem::new(
                    "type-mismatch",
                    format!(
                        "holds `{name}` as {}, not as {}",
                        type_name(found),
                        type_name(wanted)
                    ),
                )
                .column(*name)
                .label(format!("this is {} in the file", type_name(found)))
                .help("declare the type that the file has, and change it with `clean.cast`"),
            ),
            _ => {
                let gone = missing.iter().map(|name| format!("no column `{name}`"));
                let retyped = retyped.iter().map(|(name, found, wanted)| {
                    format!(
                        "`{name}` is {}, not {}",
                        type_name(found),
                        type_name(wanted)
                    )
                });
                let new = new.iter().map(|name| format!("a new column `{name}`"));
                let all: Vec<String> = gone.chain(retyped).chain(new).collect();
                Some(
                    FileProblem::new(
                        "schema-differs",
                        format!("differs from `schema`: {}", all.join("; ")),
                    )
                    .param("schema")
                    .label("not what is in the file")
                    .help_if(suggestion),
                )
            }
        }
    }
}

/// What all files say together.
struct Look {
    inspected: Vec<Inspected>,
    /// Without partitions and the files' names.
    schema: Schema,
}

/// What is known of a column, and from which file.
struct Told {
    dtype: DataType,
    file: usize,
    has_values: bool,
}

/// A type that holds the values of both without loss, as if they were in one file.
fn common(left: &DataType, right: &DataType) -> Option<DataType> {
    match (left, right) {
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => {
            Some(DataType::Float64)
        }
        (DataType::Date, DataType::Datetime(..)) | (DataType::Datetime(..), DataType::Date) => {
            Some(DataType::Datetime(TimeUnit::Microseconds, None))
        }
        _ => None,
    }
}

fn types_of(schema: &Schema) -> IndexMap<String, DataType> {
    schema
        .iter()
        .map(|(name, dtype)| (name.to_string(), dtype.clone()))
        .collect()
}

/// With nulls in the columns that the frame does not have.
fn with_missing(frame: LazyFrame, own: &Schema, all: &Schema) -> LazyFrame {
    let missing: Vec<_> = all
        .iter()
        .filter(|(name, _)| !own.contains(name))
        .map(|(name, dtype)| lit(NULL).cast(dtype.clone()).alias(name.clone()))
        .collect();
    if missing.is_empty() {
        frame
    } else {
        frame.with_columns(missing)
    }
}
