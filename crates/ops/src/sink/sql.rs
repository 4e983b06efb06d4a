//! `sink.sql`.

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Error, Frame, Output, Problem, Result, Schema, Shape, Sink,
    SourceContext, Stage, counted, path, register_kind,
};

use crate::{
    columns::{self, Names},
    database::{self, DatabaseUrl, Delivered, Delivery, Failure, Mode, TableName},
};

/// Write the rows into a table of a database: PostgreSQL, MySQL, MariaDB or SQLite.
///
/// A table that is missing is made, with columns of the rows' types. All rows are written in one transaction, or none. They
/// are appended or upserted once for each run key: the table `takt_deliveries` beside the written one remembers which runs' rows
/// are there, and a run that was delivered before (the same `--run-key`, or without one the same data and stages) writes nothing
/// and says so. `replace` always writes.
///
/// Columns are matched by name. A datetime with a time zone is written in UTC, one without is taken to be UTC where the
/// database keeps a zone. `NaN` goes into PostgreSQL as it is; MySQL and SQLite cannot hold it, so it is an error there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sql {
    /// The address: `postgresql://user:password@host:5432/database`, `mysql://…` or `sqlite:data/shop.db`. Give it as a secret,
    /// `${secret:DATABASE_URL}`, so that the password is never printed or stored.
    url: DatabaseUrl,
    /// The table, with its schema in front where it needs one: `analytics.scores`.
    table: TableName,
    /// What becomes of the rows that are in the table already.
    #[serde(default)]
    mode: Mode,
    /// The columns that tell rows apart, for `upsert`. A table that is there needs a unique key over them.
    key: Option<Names>,
}

register_kind! {
    Sql, "sink.sql", version: 1,
    example: "- sink.sql: {url: \"${secret:DATABASE_URL}\", table: scores, mode: upsert, key: payment_id}",
}

impl Sql {
    fn key(&self) -> Vec<String> {
        self.key.iter().flat_map(Names::to_vec).collect()
    }

    fn check_key(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        match (&self.key, self.mode) {
            (None, Mode::Upsert) => cx.report(
                Problem::error(
                    "no-key",
                    path!["mode"],
                    format!("stage `{}` overwrites rows, but does not say which columns tell them apart", cx.stage),
                )
                .label("needs `key`")
                .help("name them: `key: [payment_id]`"),
            ),
            (Some(_), Mode::Append | Mode::Replace) => cx.report(
                Problem::error(
                    "unused-param",
                    path!["key"],
                    format!("stage `{}` has a `key`, which only `mode: upsert` looks at", cx.stage),
                )
                .label("not used")
                .help("leave it out, or write `mode: upsert`"),
            ),
            (Some(key), Mode::Upsert) => {
                key.find(input, &path!["key"], cx);
            }
            (None, _) => {}
        }
    }
}

impl Stage for Sql {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        self.check_key(input, cx);
        let address = match self.url.address(cx.directory) {
            Ok(address) => address,
            Err(failure) => {
                cx.report(failure.into_problem("table", ""));
                return input.clone();
            }
        };
        // Columns that only training names are looked at when the rows are there.
        let names_and_types: Vec<(&str, &DataType)> = input
            .columns
            .iter()
            .filter(|column| !Column::is_open(column))
            .map(|column| (column.name.as_str(), &column.dtype))
            .collect();
        if cx.failed() || input.incomplete {
            return input.clone();
        }
        match database::problems_before(&address, &self.table, &names_and_types, &self.key()) {
            Ok(failures) => {
                for failure in failures {
                    let failure = failure.in_stage(cx.stage);
                    cx.report(failure.into_problem("table", ""));
                }
            }
            // The rows are written at the end of a run; until then the database may be back.
            Err(failure) if failure.is_unreachable() => cx.report(failure.into_warning(
                "the table is not checked; the run needs the database when it writes",
            )),
            Err(failure) => cx.report(failure.into_problem("table", "")),
        }
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Sink(self)
    }
}

impl Sink for Sql {
    fn write(&self, frame: &Frame, cx: &SourceContext<'_>) -> Result<Output> {
        let address = self
            .url
            .address(cx.directory)
            .map_err(Failure::into_error)?;
        let run_key = cx
            .run_key
            .ok_or_else(|| Error::data("rows are written to a database only by a run"))?;
        let delivered = database::deliver(&Delivery {
            address: &address,
            table: &self.table,
            mode: self.mode,
            key: &self.key(),
            run_key,
            frame: &frame.data,
        })?;
        let place = format!("table `{}` in {}", self.table, address.place());
        Ok(Output::Place(match delivered {
            Delivered::Written => {
                let rows = frame.data.height();
                format!("{place}: {}, {}", counted(rows, "row"), self.mode.past())
            }
            Delivered::Before => format!(
                "{place}: nothing written, the rows of this run are already there; to write them again, give another `--run-key`"
            ),
        }))
    }
}

#[cfg(test)]
mod tests;
