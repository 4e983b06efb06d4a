//! `source.sql`.

use std::{
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
};

use polars::{
    lazy::dsl::col,
    prelude::{LazyFrame, PlRefPath, ScanSources, UnifiedScanArgs},
};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Error, Fingerprint, ParamPath, Problem, Result, Schema, Shape, Source,
    SourceContext, Stage, path, register_kind, type_name,
};

use super::declared::Declared;
use crate::{
    column_type::ColumnType,
    database::{self, Address, DatabaseUrl, Failure, Fetched, Request, TableName},
};

/// Read the rows of a database: PostgreSQL, MySQL, MariaDB or SQLite.
///
/// Columns and types come from the database as the pipeline is checked, without reading rows. Decimal numbers become `f64`;
/// declare `text` to keep all their digits, or whole numbers where they are such. A timestamp with a time zone (in MySQL,
/// every `timestamp`) becomes a datetime in UTC, and the query itself runs in UTC. JSON, UUIDs and enums become text, MySQL's
/// `time` a duration. Arrays, intervals and ranges are refused: change them in the query. SQLite keeps any value in any
/// column, and one that is not of its column's type stops the run; where it declares no type (an expression), the first 1,000
/// rows tell it.
///
/// The rows are fetched once a run and kept under `.taktline/fetched`; `takt plan` fetches them too, to tell what changed. As
/// long as the query gives the same rows in the same order, everything that was made of them is reused; put an `order by` into
/// the query where the database may change the order. The database is only read, never changed, and no more than `batch_rows`
/// of its rows are in memory while they are fetched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sql {
    /// The address: `postgresql://user:password@host:5432/database`, `mysql://…` or `sqlite:data/shop.db`. Give it as a secret,
    /// `${secret:DATABASE_URL}`, so that the password is never printed or stored.
    url: DatabaseUrl,
    /// The table or view to read, with its schema in front where it needs one: `sales.orders`.
    table: Option<TableName>,
    /// The `select` to read, instead of `table`, in the database's own SQL.
    #[schemars(length(min = 1))]
    query: Option<String>,
    /// The types of columns, by name; those not named are told by the database. Where the database cannot be reached, the check
    /// goes on with the columns declared here.
    schema: Option<Declared>,
    /// Read only what is new since the last run, and keep what was read before.
    watermark: Option<WatermarkParams>,
    /// Rows that are in memory at a time.
    #[serde(default = "batch_rows")]
    #[schemars(range(min = 1, max = 10_000_000))]
    batch_rows: usize,
    /// The columns that the check found.
    #[serde(skip)]
    #[schemars(skip)]
    checked: OnceLock<Schema>,
    /// What the run has fetched, from its first question about it on.
    #[serde(skip)]
    #[schemars(skip)]
    fetched: Mutex<Option<Fetched>>,
}

/// How a source tells what is new.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WatermarkParams {
    /// A column that grows: when a row was written, or a number that counts up. A run reads the rows whose value is larger than
    /// the largest seen, and adds them to those of earlier runs. A row that changes and gets a larger value comes again, as a
    /// further row: keep the last with `clean.drop_duplicates`. A row that is deleted stays, and one that appears later with
    /// a value that is not larger is never seen; `takt run --fresh` reads everything again. A row without a value is an error.
    /// The stages below get all rows, those of earlier runs too: a table that they are written to is replaced or upserted, as
    /// appending would repeat them.
    #[schemars(length(min = 1))]
    column: String,
}

fn batch_rows() -> usize {
    50_000
}

register_kind! {
    Sql, "source.sql", version: 1,
    example: "- source.sql: {url: \"${secret:DATABASE_URL}\", query: \"select id, amount, updated_at from payments\", watermark: {column: updated_at}}",
}

/// The parts of the params that reading needs.
struct Prepared {
    address: Address,
    sql: String,
    declared: Vec<(String, ColumnType)>,
}

impl Sql {
    fn prepared(&self, address: Address) -> Option<Prepared> {
        let sql = match (&self.table, &self.query) {
            (Some(table), None) => table.select(&address),
            (None, Some(query)) => query.clone(),
            _ => return None,
        };
        let declared = self
            .schema
            .iter()
            .flatten()
            .map(|(name, declared)| (name.clone(), *declared))
            .collect();
        Some(Prepared {
            address,
            sql,
            declared,
        })
    }

    fn ready(&self, cx: &SourceContext<'_>) -> Result<Prepared> {
        let address = self
            .url
            .address(cx.directory)
            .map_err(Failure::into_error)?;
        self.prepared(address)
            .ok_or_else(|| Error::data("needs either a `table` or a `query`"))
    }

    fn request<'p>(&'p self, prepared: &'p Prepared) -> Request<'p> {
        Request {
            address: &prepared.address,
            sql: &prepared.sql,
            declared: &prepared.declared,
            watermark: self
                .watermark
                .as_ref()
                .map(|watermark| watermark.column.as_str()),
            batch_rows: self.batch_rows,
        }
    }

    fn fetch(&self, cx: &SourceContext<'_>) -> Result<Fetched> {
        let prepared = self.ready(cx)?;
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        // The files of an earlier fetch are free to go.
        *fetched = None;
        let now = database::fetch(&self.request(&prepared), &cx.fetched())?;
        *fetched = Some(now.clone());
        Ok(now)
    }

    /// The columns that the check promised; the database may have changed since, or have been out of reach then.
    fn as_checked(&self, mut frame: LazyFrame) -> Result<LazyFrame> {
        let Some(checked) = self.checked.get() else {
            return Ok(frame);
        };
        let found = frame.collect_schema()?;
        for column in &checked.columns {
            let now = found.get(&column.name).map(type_name);
            let then = type_name(&column.dtype);
            if now.as_deref() != Some(then.as_str()) {
                return Err(Error::data(format!(
                    "`{}` was {then} when the pipeline was checked, and is {} now; check again",
                    column.name,
                    now.as_deref().unwrap_or("gone"),
                )));
            }
        }
        if found.len() == checked.columns.len() {
            return Ok(frame);
        }
        let names: Vec<_> = checked.names().map(col).collect();
        Ok(frame.select(names))
    }

    /// What is declared, where nothing better is known.
    fn declared_schema(&self) -> Schema {
        Schema::new(
            self.schema
                .iter()
                .flatten()
                .map(|(name, declared)| Column::new(name, declared.data_type()))
                .collect(),
        )
    }
}

impl Stage for Sql {
    fn check(&self, _: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let unknown = || Schema {
            incomplete: true,
            ..self.declared_schema()
        };
        let key = if self.table.is_some() {
            "table"
        } else {
            "query"
        };
        let address = match self.url.address(cx.directory) {
            Ok(address) => address,
            Err(failure) => {
                cx.report(failure.into_problem(key, ""));
                return unknown();
            }
        };
        let Some(prepared) = self.prepared(address) else {
            let (place, found) = match &self.table {
                Some(_) => (path!["table"], "has both"),
                None => (ParamPath::kind(), "has none"),
            };
            cx.report(Problem::error(
                "bad-query",
                place,
                format!(
                    "stage `{}` reads either a `table` or a `query`, and {found}",
                    cx.stage
                ),
            ));
            return unknown();
        };
        let failures = match self.request(&prepared).columns() {
            Ok(columns) => {
                let columns = columns
                    .into_iter()
                    .map(|column| Column::new(&column.name, column.dtype))
                    .collect();
                return self.checked.get_or_init(|| Schema::new(columns)).clone();
            }
            Err(failures) => failures,
        };
        let is_declared = self
            .schema
            .as_ref()
            .is_some_and(|schema| !schema.is_empty());
        for failure in failures {
            if failure.is_unreachable() && is_declared {
                cx.report(failure.into_warning(
                    "checked against the columns of `schema` alone; a run needs the database",
                ));
                return self.checked.get_or_init(|| self.declared_schema()).clone();
            }
            let help = failure.is_unreachable().then(|| {
                "to check without the database, declare the columns that the pipeline uses under `schema`"
                    .to_owned()
            });
            cx.report(failure.into_problem(key, &prepared.sql).help_if(help));
        }
        unknown()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Source(self)
    }
}

impl Source for Sql {
    fn scan(&self, cx: &SourceContext<'_>) -> Result<LazyFrame> {
        let known = self
            .fetched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let fetched = match known {
            Some(fetched) => fetched,
            None => self.fetch(cx)?,
        };
        let paths = fetched
            .paths
            .iter()
            .map(|path| PlRefPath::new(path.to_string_lossy().as_ref()))
            .collect();
        let arguments = UnifiedScanArgs {
            glob: false,
            ..Default::default()
        };
        let frame =
            LazyFrame::scan_ipc_sources(ScanSources::Paths(paths), Default::default(), arguments)?;
        self.as_checked(frame)
    }

    fn fingerprint(&self, cx: &SourceContext<'_>) -> Result<Fingerprint> {
        Ok(Fingerprint::Content(self.fetch(cx)?.content))
    }

    fn files(&self, cx: &SourceContext<'_>) -> Result<Vec<PathBuf>> {
        let address = self
            .url
            .address(cx.directory)
            .map_err(Failure::into_error)?;
        Ok(address.file().map(PathBuf::from).into_iter().collect())
    }

    fn forget(&self, cx: &SourceContext<'_>) -> Result<()> {
        if self.watermark.is_none() {
            return Ok(());
        }
        let prepared = self.ready(cx)?;
        self.request(&prepared).forget(&cx.fetched())
    }
}

#[cfg(test)]
mod tests;
