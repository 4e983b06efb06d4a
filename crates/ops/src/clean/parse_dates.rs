//! `clean.parse_dates`.

use std::sync::Arc;

use chrono::{DateTime, TimeZone, Utc};
use polars::prelude::{
    Column as PolarsColumn, DataType, Expr, Field, Int32Chunked, Int64Chunked, IntoColumn,
    PolarsResult, TimeUnit, TimeZone as ZoneName, polars_bail,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Local, Operation, ParamPath, Problem, Relational, Result, Schema, Shape,
    Stage, path, register_kind, type_name,
};

use super::{
    groups::report_unused,
    zones::{self, Ambiguous, Nonexistent},
};
use crate::columns::{self, Names};

mod reader;

use reader::{ISO, Reader, Reading, understood};

/// Read dates and times from text, or from seconds since 1970.
///
/// Text is read in the first of `formats` that fits it as a whole; without `formats`, in the forms of ISO 8601:
/// `2024-01-31`, `2024-01-31 12:00`, `2024-01-31T12:00:00.5+01:00`. Space around a value does not count. A format
/// without a time of day means midnight.
///
/// Without `zone` and `to_zone` a datetime has no zone, and a value with an offset (`+01:00`) becomes UTC. With `zone`,
/// values are local times there, unless they have an offset, and the column becomes a datetime of that zone, or of
/// `to_zone`. A date is the day in that zone. A column that is a date or a datetime without a zone already, because its
/// source has read it so, holds local times like text without an offset. Null stays null. A value that does not fit fails the run, which says which
/// row it was; `on_error: null` makes null of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ParseDates {
    /// The columns to read: text, or whole numbers with `unit`; also datetimes without a zone, to give them one.
    columns: Names,
    /// What they become.
    #[serde(default)]
    to: Target,
    /// The formats to try, in order, as strftime writes them: `%d.%m.%Y %H:%M`. Default: ISO 8601.
    formats: Option<Names>,
    /// For whole numbers: what they count since 1970-01-01 00:00 UTC.
    unit: Option<Unit>,
    /// The time zone in which the values are local times, by its IANA name: `Europe/Berlin`.
    zone: Option<String>,
    /// The time zone of the result; default: `zone`.
    to_zone: Option<String>,
    /// What becomes of a local time that came twice, on the day on which clocks were set back.
    #[serde(default)]
    ambiguous: Ambiguous,
    /// What becomes of a local time that never came, on the day on which clocks were set forward.
    #[serde(default)]
    nonexistent: Nonexistent,
    /// What becomes of a value that does not fit.
    #[serde(default)]
    on_error: OnError,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Target {
    /// A day.
    Date,
    /// A day and time, to the microsecond.
    #[default]
    Datetime,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Unit {
    /// Seconds.
    S,
    /// Thousandths of a second.
    Ms,
    /// Millionths of a second.
    Us,
}

impl Unit {
    fn microseconds(self) -> i64 {
        match self {
            Self::S => 1_000_000,
            Self::Ms => 1_000,
            Self::Us => 1,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnError {
    /// The run fails, and says which value it was.
    #[default]
    Error,
    /// The value becomes null.
    Null,
}

register_kind! {
    ParseDates, "clean.parse_dates", version: 1,
    example: "- clean.parse_dates: {columns: [at], formats: ['%d.%m.%Y %H:%M', '%Y-%m-%d'], zone: Europe/Berlin, ambiguous: earliest}",
}

impl ParseDates {
    fn zone_of_result(&self) -> Option<ZoneName> {
        self.to_zone
            .as_deref()
            .or(self.zone.as_deref())
            .and_then(zones::zone)
    }

    fn data_type(&self) -> DataType {
        match self.to {
            Target::Date => DataType::Date,
            Target::Datetime => DataType::Datetime(TimeUnit::Microseconds, self.zone_of_result()),
        }
    }

    fn formats(&self) -> Vec<&str> {
        match &self.formats {
            Some(formats) => formats.iter().collect(),
            None => ISO.into(),
        }
    }

    fn expected(&self) -> String {
        match &self.formats {
            None => "a date or time of ISO 8601, like `2024-01-31 12:00:00`".to_owned(),
            Some(formats) => {
                let formats: Vec<String> =
                    formats.iter().map(|format| format!("`{format}`")).collect();
                formats.join(" or ")
            }
        }
    }

    /// The operation. Not relational: there is no function that tries formats, and none that knows zones.
    fn operation(&self, input: &Schema) -> Result<Operation> {
        let rules = |name: Option<&String>| -> Result<_> {
            let zone = name.and_then(|name| zones::zone(name));
            Ok(zone.map(|zone| zone.to_chrono()).transpose()?)
        };
        let reader = Reader {
            formats: self
                .formats()
                .into_iter()
                .filter_map(|format| understood(format).ok())
                .collect(),
            expected: self.expected(),
            zone: rules(self.zone.as_ref())?,
            zone_name: self.zone.clone().unwrap_or_default(),
            to_zone: rules(self.to_zone.as_ref())?,
            ambiguous: self.ambiguous,
            nonexistent: self.nonexistent,
        };
        let work = Arc::new(Work {
            reader,
            unit: self.unit,
            to: self.data_type(),
            is_strict: self.on_error == OnError::Error,
        });
        // Scoring brings only the columns that the model needs.
        let columns: Vec<&Column> = self
            .columns
            .iter()
            .filter_map(|name| input.column(name))
            .collect();
        let mut schema = input.clone();
        for column in &columns {
            schema.set(Column {
                dtype: self.data_type(),
                categories: None,
                ..(*column).clone()
            });
        }
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        Ok(Operation::Local(Local {
            name: "read dates and times",
            reads: names.iter().cloned().collect(),
            keeps_rows: true,
            schema,
            apply: Arc::new(move |frame| {
                let read: Vec<Expr> = names
                    .iter()
                    .map(|name| {
                        let (work, to) = (Arc::clone(&work), work.to.clone());
                        // `apply`, not `map`: it sees the whole column, so that the row number is the frame's.
                        Expr::Column(name.as_str().into()).apply(
                            move |column| work.on(&column),
                            move |_, field| Ok(Field::new(field.name().clone(), to.clone())),
                        )
                    })
                    .collect();
                Ok(frame.with_columns(read))
            }),
        }))
    }
}

struct Work<Z> {
    reader: Reader<Z>,
    unit: Option<Unit>,
    to: DataType,
    is_strict: bool,
}

impl<Z: TimeZone> Work<Z> {
    fn on(&self, column: &PolarsColumn) -> PolarsResult<PolarsColumn> {
        let instants = match self.unit {
            Some(unit) => self.epochs(column, unit)?,
            None if columns::is_instant(column.dtype()) => self.local_times(column)?,
            None => self.texts(column)?,
        };
        let name = column.name().clone();
        if let DataType::Datetime(unit, zone) = &self.to {
            let microseconds: Int64Chunked = instants
                .into_iter()
                .map(|at| at.map(|at| at.timestamp_micros()))
                .collect();
            return Ok(microseconds
                .with_name(name)
                .into_datetime(*unit, zone.clone())
                .into_column());
        }
        let days: Int32Chunked = instants
            .into_iter()
            .map(|at| at.map(|at| self.reader.day(at)))
            .collect();
        Ok(days.with_name(name).into_date().into_column())
    }

    fn texts(&self, column: &PolarsColumn) -> PolarsResult<Vec<Option<DateTime<Utc>>>> {
        let mut instants = Vec::with_capacity(column.len());
        for (row, text) in column.str()?.iter().enumerate() {
            let Some(text) = text else {
                instants.push(None);
                continue;
            };
            match self.reader.text(text) {
                Ok(at) => instants.push(at),
                Err(_) if !self.is_strict => instants.push(None),
                Err(misfit) => polars_bail!(
                    ComputeError: "`{}` holds `{text}` in row {}, which {misfit}", column.name(), row + 1
                ),
            }
        }
        Ok(instants)
    }

    fn local_times(&self, column: &PolarsColumn) -> PolarsResult<Vec<Option<DateTime<Utc>>>> {
        let microseconds = column
            .strict_cast(&DataType::Datetime(TimeUnit::Microseconds, None))?
            .cast(&DataType::Int64)?;
        let mut instants = Vec::with_capacity(column.len());
        for (row, at) in microseconds.i64()?.iter().enumerate() {
            let Some(at) = at.and_then(DateTime::from_timestamp_micros) else {
                instants.push(None);
                continue;
            };
            let local = at.naive_utc();
            match self.reader.meant(Reading::Local(local)) {
                Ok(at) => instants.push(at),
                Err(_) if !self.is_strict => instants.push(None),
                Err(misfit) => polars_bail!(
                    ComputeError: "`{}` holds `{local}` in row {}, which {misfit}", column.name(), row + 1
                ),
            }
        }
        Ok(instants)
    }

    fn epochs(
        &self,
        column: &PolarsColumn,
        unit: Unit,
    ) -> PolarsResult<Vec<Option<DateTime<Utc>>>> {
        let numbers = column.strict_cast(&DataType::Int64)?;
        let mut instants = Vec::with_capacity(column.len());
        for (row, number) in numbers.i64()?.iter().enumerate() {
            let Some(number) = number else {
                instants.push(None);
                continue;
            };
            let at = number
                .checked_mul(unit.microseconds())
                .and_then(DateTime::from_timestamp_micros);
            if at.is_none() && self.is_strict {
                polars_bail!(
                    ComputeError: "`{}` holds {number} in row {}, which is too far from 1970; is it counted in another `unit`?",
                    column.name(), row + 1
                );
            }
            instants.push(at);
        }
        Ok(instants)
    }
}

impl ParseDates {
    fn check_params(&self, cx: &mut CheckContext<'_>) {
        if let Some(formats) = &self.formats {
            for (path, format) in formats.located(&path!["formats"]) {
                if let Err(reason) = understood(format) {
                    cx.report(
                        Problem::error(
                            "bad-format",
                            path,
                            format!("stage `{}` cannot read dates as `{format}`", cx.stage),
                        )
                        .label(reason)
                        .help("write strftime: `%d.%m.%Y` for 31.01.2024, `%Y-%m-%d %H:%M` for 2024-01-31 12:00"),
                    );
                }
            }
        }
        for (key, zone) in [("zone", &self.zone), ("to_zone", &self.to_zone)] {
            if let Some(zone) = zone {
                zones::named(zone, ParamPath::kind().join(key), cx);
            }
        }
        if self.unit.is_some() {
            if self.formats.is_some() {
                report_unused("formats", "whole numbers have no format", cx);
            }
            if self.zone.is_some() {
                report_unused(
                    "zone",
                    "time since 1970 is the same in all zones; `to_zone` says how to show it",
                    cx,
                );
            }
        }
        if self.zone.is_none() {
            let label = "only local times of a `zone` come twice or never";
            if self.ambiguous != Ambiguous::Error {
                report_unused("ambiguous", label, cx);
            }
            if self.nonexistent != Nonexistent::Error {
                report_unused("nonexistent", label, cx);
            }
        }
    }
}

impl Stage for ParseDates {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let mut output = columns::input(inputs).clone();
        self.check_params(cx);
        for (path, name) in self.columns.located(&path!["columns"]) {
            columns::is_allowed(name, path, cx);
        }
        for (path, column) in self
            .columns
            .find(columns::input(inputs), &path!["columns"], cx)
        {
            match (&column.dtype, self.unit) {
                (DataType::String, None) => {}
                (DataType::Date | DataType::Datetime(_, None), None) => {
                    if self.formats.is_some() {
                        cx.report(
                            Problem::error(
                                "type-mismatch",
                                path,
                                format!(
                                    "stage `{}` needs text for its `formats`, but `{}` is {}",
                                    cx.stage,
                                    column.name,
                                    type_name(&column.dtype)
                                ),
                            )
                            .label("its source has read it already")
                            .help("leave `formats` out, or declare the column as text in the `schema` of its source"),
                        );
                    }
                }
                (dtype, Some(_)) if dtype.is_integer() => {}
                (dtype, None) if dtype.is_integer() => cx.report(
                    Problem::error(
                        "missing-param",
                        path,
                        format!(
                            "stage `{}` does not know what `{}` counts",
                            cx.stage, column.name
                        ),
                    )
                    .label("whole numbers")
                    .help("say `unit: s`, `ms` or `us`"),
                ),
                (_, Some(_)) => columns::report_type(column, "whole numbers for `unit`", path, cx),
                (_, None) => columns::report_type(column, "text", path, cx),
            }
            output.set(Column {
                dtype: self.data_type(),
                categories: None,
                ..column.clone()
            });
        }
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for ParseDates {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        Ok(vec![self.operation(columns::input(inputs))?])
    }
}

#[cfg(test)]
mod tests;
