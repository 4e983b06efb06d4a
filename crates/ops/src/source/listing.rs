//! What the sources of files share: one folder a class, files in one folder, or a table of paths.

use std::{
    fs,
    path::{Path, PathBuf},
};

use polars::{
    lazy::dsl::col,
    prelude::{Column as PolarsColumn, DataFrame, DataType, IntoColumn, NamedFrom, Series},
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, Fingerprint, ParamPath, Problem, Result, SourceContext, path,
};

use super::declared::FileParams;
use crate::{
    columns,
    files::{FileProblem, missing_directory},
};

/// How files lie in a directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Layout {
    /// One folder a class; its name is the label.
    #[default]
    Classes,
    /// All in the directory itself, without labels.
    Flat,
}

/// What a source's files are, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct What {
    /// `image`
    pub(super) one: &'static str,
    /// `images`
    pub(super) many: &'static str,
    /// The code of the problem of a file that cannot be read: `unreadable-image`.
    pub(super) unreadable: &'static str,
}

/// Where a source's files are, as its params say it.
pub(super) struct Listing<'p> {
    /// What the files are.
    pub(super) what: What,
    /// The directory with the files or class folders; with a table, the one that its paths start from.
    pub(super) path: Option<&'p str>,
    /// A file of rows with a column of paths.
    pub(super) table: Option<&'p str>,
    pub(super) layout: Option<Layout>,
    /// The param that names the column with the files' paths, and that name.
    pub(super) file_column: (&'static str, &'p str),
    /// The name of the label column, where the user gave one.
    pub(super) label_column: Option<&'p str>,
    /// The extensions of files that count, in lower case.
    pub(super) extensions: Vec<&'p str>,
}

/// A file that becomes a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ListedFile {
    pub(super) path: PathBuf,
    /// As the rows name it: from the directory, with `/` on every system, or as the table has it.
    pub(super) name: String,
}

/// The files of a source, and the columns that say what is known about each.
#[derive(Debug)]
pub(super) struct Listed<C> {
    pub(super) files: Vec<ListedFile>,
    /// The column with the file's path first, then the label; of a table, all its columns.
    pub(super) columns: Vec<C>,
    /// Columns may be missing, which was reported.
    pub(super) incomplete: bool,
}

/// The files of a directory, with the class of each where there are classes.
struct Folder {
    files: Vec<ListedFile>,
    classes: Vec<String>,
    labels: Vec<String>,
}

const LABEL: &str = "label";
/// Files whose header `check` looks at; later ones are found out by the run.
const HEADERS_CHECKED: usize = 2000;
/// Unreadable files that `check` names.
const UNREADABLE_NAMED: usize = 5;

impl Listing<'_> {
    fn label(&self) -> &str {
        self.label_column.unwrap_or(LABEL)
    }

    /// Where a new column goes that belongs directly behind the file's path, if the columns are ours to order.
    pub(super) fn behind_path<C>(&self, columns: &[C]) -> usize {
        match self.table {
            Some(_) => columns.len(),
            None => columns.len().min(1),
        }
    }

    /// The columns, and the files whose headers are worth a look; every problem is reported. `made` are the columns that
    /// the source adds, each with its param.
    pub(super) fn check(
        &self,
        made: &[(&'static str, &str)],
        cx: &mut CheckContext<'_>,
    ) -> Listed<Column> {
        match self.table {
            Some(table) => {
                let listed = self.check_table(table, cx);
                self.check_names(made, &listed.columns, cx);
                listed
            }
            None => {
                self.check_names(made, &[], cx);
                self.check_folder(cx)
            }
        }
    }

    fn check_folder(&self, cx: &mut CheckContext<'_>) -> Listed<Column> {
        let mut label = Column::new(self.label(), DataType::String);
        let mut files = Vec::new();
        match self.path {
            None => cx.report(
                Problem::error(
                    "missing-path",
                    ParamPath::kind(),
                    format!("stage `{}` does not know where its {} are", cx.stage, self.what.many),
                )
                .help("give their directory with `path`, or a file with a column of paths with `table`"),
            ),
            Some(path) => match self.list(&cx.resolve(path)) {
                Ok(folder) => {
                    for class in &folder.classes {
                        if !folder.labels.contains(class) {
                            cx.report(
                                Problem::warning(
                                    "empty-class",
                                    path!["path"],
                                    format!("the class folder `{class}` of `{path}` has no {}", self.what.many),
                                )
                                .label(format!("a class without {}", self.what.many)),
                            );
                        }
                    }
                    label = label.with_categories(folder.classes);
                    files = folder.files;
                }
                Err(problem) => cx.report(problem.into_problem("path", path)),
            },
        }
        let mut columns = vec![Column::new(self.file_column.1, DataType::String)];
        if self.layout.unwrap_or_default() == Layout::Classes {
            columns.push(label);
        } else if self.label_column.is_some() {
            cx.report(
                Problem::error(
                    "unused-param",
                    path!["label_column"],
                    "files without class folders have no label",
                )
                .label("`layout: flat` makes no such column"),
            );
        }
        Listed {
            files,
            columns,
            incomplete: false,
        }
    }

    fn check_table(&self, table: &str, cx: &mut CheckContext<'_>) -> Listed<Column> {
        for (key, is_given) in [
            ("layout", self.layout.is_some()),
            ("label_column", self.label_column.is_some()),
        ] {
            if is_given {
                cx.report(
                    Problem::error(
                        "unused-param",
                        path![key],
                        format!(
                            "`{key}` is about folders, but a table lists the {}",
                            self.what.many
                        ),
                    )
                    .label("not used together with `table`")
                    .help("the columns of the table stay as they are; leave this out"),
                );
            }
        }
        if let Some(path) = self.path
            && let Some(problem) = missing_directory(&cx.resolve(path))
        {
            cx.report(problem.into_problem("path", path));
        }
        let schema = match FileParams::by_name("table", table, None) {
            Ok(params) => params.check(cx),
            Err(unknown) => unknown.report(cx),
        };
        let (key, name) = self.file_column;
        let mut has_paths = false;
        match schema.column(name) {
            Some(column) if column.dtype == DataType::String => has_paths = true,
            Some(column) => columns::report_type(column, "paths", path![key], cx),
            None if schema.incomplete => {}
            None => cx.report(
                Problem::error(
                    "unknown-column",
                    path![key],
                    format!("`{table}` has no column `{name}`, which would hold the paths"),
                )
                .help_if(schema.suggestion(name)),
            ),
        }
        let mut files = Vec::new();
        if has_paths && !schema.incomplete && !cx.failed() {
            let source = SourceContext {
                seed: cx.seed,
                directory: cx.directory,
                run_key: None,
            };
            let sample = self
                .rows(table, &source, Some(HEADERS_CHECKED))
                .and_then(|rows| self.listed_in(&rows, table, &source));
            match sample {
                Ok(listed) => files = listed,
                Err(error) => cx.report(Problem::error(
                    "unreadable-file",
                    path!["table"],
                    error.to_string(),
                )),
            }
        }
        Listed {
            files,
            incomplete: schema.incomplete,
            columns: schema.columns,
        }
    }

    fn check_names(
        &self,
        made: &[(&'static str, &str)],
        known: &[Column],
        cx: &mut CheckContext<'_>,
    ) {
        let mut named: Vec<(&str, &str)> = Vec::new();
        if self.table.is_none() {
            named.push(self.file_column);
            if self.layout.unwrap_or_default() == Layout::Classes {
                named.push(("label_column", self.label()));
            }
        }
        named.extend(made);
        for (index, (key, name)) in named.iter().enumerate() {
            if !columns::is_allowed(name, path![*key], cx) {
                continue;
            }
            let taken = named[..index]
                .iter()
                .find(|(_, before)| before == name)
                .map(|(other, _)| format!("`{key}` and `{other}` are both `{name}`"))
                .or_else(|| {
                    let is_known = known.iter().any(|column| column.name == *name);
                    is_known.then(|| format!("the table has a column `{name}` already"))
                });
            if let Some(message) = taken {
                cx.report(
                    Problem::error("name-taken", path![*key], message).label("this name is taken"),
                );
            }
        }
    }

    /// Tells which of the files cannot be read, as far as their headers say so: a header is a few bytes, so that most files
    /// that are no such thing are found before the run.
    pub(super) fn check_headers(
        &self,
        files: &[ListedFile],
        problem: impl Fn(&Path) -> Option<String> + Sync,
        cx: &mut CheckContext<'_>,
    ) {
        let What {
            one,
            many,
            unreadable: code,
        } = self.what;
        let key = if self.table.is_some() {
            "table"
        } else {
            "path"
        };
        let unreadable: Vec<(&ListedFile, String)> = files
            .par_iter()
            .take(HEADERS_CHECKED)
            .filter_map(|file| problem(&file.path).map(|reason| (file, reason)))
            .collect();
        for (file, reason) in unreadable.iter().take(UNREADABLE_NAMED) {
            cx.report(
                Problem::error(
                    code,
                    path![key],
                    format!("`{}` is no readable {one}: {reason}", file.name),
                )
                .label(format!("holds an unreadable {one}"))
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
                    code,
                    path![key],
                    format!("{more} more {many} are not readable"),
                )
                .label(format!("holds unreadable {many}")),
            );
        }
    }

    /// The files and their columns, in row order.
    ///
    /// # Errors
    /// The directory or table cannot be read, or a row of the table has no path.
    pub(super) fn read(&self, cx: &SourceContext<'_>) -> Result<Listed<PolarsColumn>> {
        if let Some(table) = self.table {
            let rows = self.rows(table, cx, None)?;
            return Ok(Listed {
                files: self.listed_in(&rows, table, cx)?,
                columns: rows.into_columns(),
                incomplete: false,
            });
        }
        let folder = self.folder(cx)?;
        let names: Vec<&str> = folder.files.iter().map(|file| file.name.as_str()).collect();
        let mut columns = vec![texts(self.file_column.1, &names)];
        if self.layout.unwrap_or_default() == Layout::Classes {
            columns.push(texts(self.label(), &folder.labels));
        }
        Ok(Listed {
            files: folder.files,
            columns,
            incomplete: false,
        })
    }

    /// What the content depends on: the table and every file.
    ///
    /// # Errors
    /// As [`Listing::read`].
    pub(super) fn fingerprint(&self, cx: &SourceContext<'_>) -> Result<Fingerprint> {
        let files = match self.table {
            Some(table) => self.listed_in(&self.rows(table, cx, None)?, table, cx)?,
            None => self.folder(cx)?.files,
        };
        let table = self.table.map(|table| cx.resolve(table));
        let paths = files.into_iter().map(|file| file.path);
        Ok(Fingerprint::Files(table.into_iter().chain(paths).collect()))
    }

    fn folder(&self, cx: &SourceContext<'_>) -> Result<Folder> {
        let path = self.path.ok_or_else(|| {
            Error::data(format!("no `path` says where the {} are", self.what.many))
        })?;
        let directory = cx.resolve(path);
        self.list(&directory)
            .map_err(|problem| problem.into_error(&directory))
    }

    /// The files of the directory and their classes, sorted by name.
    fn list(&self, directory: &Path) -> Result<Folder, FileProblem> {
        if let Some(problem) = missing_directory(directory) {
            return Err(problem);
        }
        let mut folder = Folder {
            files: Vec::new(),
            classes: Vec::new(),
            labels: Vec::new(),
        };
        let entries = sorted_entries(directory)?;
        if self.layout.unwrap_or_default() == Layout::Flat {
            for path in entries {
                if path.is_file() && self.counts(&path) {
                    let name = file_name(&path)?;
                    folder.files.push(ListedFile { path, name });
                }
            }
            return match folder.files.is_empty() {
                true => Err(self.nothing("has no {} in it")),
                false => Ok(folder),
            };
        }
        for class_folder in entries.into_iter().filter(|path| path.is_dir()) {
            let class = file_name(&class_folder)?;
            for path in sorted_entries(&class_folder)? {
                if path.is_file() && self.counts(&path) {
                    let name = format!("{class}/{}", file_name(&path)?);
                    folder.files.push(ListedFile { path, name });
                    folder.labels.push(class.clone());
                }
            }
            folder.classes.push(class);
        }
        if folder.classes.is_empty() {
            return Err(FileProblem::new("empty-source", "has no class folders")
                .label("nothing to read")
                .help(format!(
                    "put the {} of each class into a folder of its name; `layout: flat` reads them without classes",
                    self.what.many
                )));
        }
        if folder.files.is_empty() {
            return Err(self.nothing("has no {} in its class folders"));
        }
        Ok(folder)
    }

    fn nothing(&self, message: &str) -> FileProblem {
        let what = format!("{} ({})", self.what.many, self.extensions.join(", "));
        FileProblem::new("empty-source", message.replace("{}", &what)).label("nothing to read")
    }

    fn counts(&self, path: &Path) -> bool {
        let extension = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        self.extensions.contains(&extension.as_str())
    }

    /// The rows of the table; of a sample, only the column with the paths.
    fn rows(
        &self,
        table: &str,
        cx: &SourceContext<'_>,
        sample: Option<usize>,
    ) -> Result<DataFrame> {
        let params = FileParams::by_name("table", table, None)?;
        let mut rows = params.scan(cx)?;
        if let Some(count) = sample {
            rows = rows.select([col(self.file_column.1)]).limit(count as u32);
        }
        rows.collect()
            .map_err(|error| params.explain(error.into(), cx))
    }

    fn listed_in(
        &self,
        rows: &DataFrame,
        table: &str,
        cx: &SourceContext<'_>,
    ) -> Result<Vec<ListedFile>> {
        let table = cx.resolve(table);
        let directory = match self.path {
            Some(path) => cx.resolve(path),
            None => table.parent().map(Path::to_owned).unwrap_or_default(),
        };
        let name = self.file_column.1;
        rows.column(name)?
            .str()?
            .iter()
            .enumerate()
            .map(|(row, text)| match text.filter(|text| !text.is_empty()) {
                Some(text) => Ok(ListedFile {
                    path: directory.join(text),
                    name: text.to_owned(),
                }),
                None => Err(Error::Format {
                    path: table.clone(),
                    message: format!("row {} has no path in `{name}`", row + 1),
                }),
            })
            .collect()
    }
}

fn texts(name: &str, values: &[impl AsRef<str>]) -> PolarsColumn {
    let values: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
    Series::new(name.into(), values).into_column()
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
