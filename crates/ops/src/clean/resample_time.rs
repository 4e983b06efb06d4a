//! `clean.resample_time`.

use std::sync::Arc;

use chrono::TimeZone;
use indexmap::IndexMap;
use polars::prelude::{
    AllowedOptimizations, Column as PolarsColumn, DataType, Expr, Int64Chunked, IntoColumn,
    PolarsResult, Schema as PolarsSchema, TimeUnit, polars_bail,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, Local, Operation, ParamPath, ParamStep, Problem, Relational,
    Result, Schema, Shape, Stage, output_schema, path, register_kind, sql, type_name,
};

use super::{
    calendar_grid::{Every, Grid},
    gaps::{Gap, Gaps},
    groups::report_unused,
    zones,
};
use crate::{
    columns::{self, Names, Scalar},
    features::check_groups,
};

/// Bring rows to a regular grid in time: one row for every hour, day or month of each group.
///
/// Rows are made: the result has one row for each slot from the first to the last of the group, whether any row fell into it
/// or not; the rows before are gone. A slot is named by its start. Rows of the same slot are summed up by `aggregate`; what
/// becomes of a slot without rows, a gap, says `fill`. A null that an aggregate gives in a slot with rows stays. Groups come
/// in the order in which they first appear, their slots in the order of time. A row without a time is an error.
///
/// Days, weeks (from Monday) and months follow the calendar of the time column's zone, so that the days on which clocks are
/// set have 23 or 25 hours; a column without a zone has days of 24. Shorter slots divide the day and start anew at midnight.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResampleTime {
    /// The time column: a date or a datetime; default: the column with the role `time`.
    over: Option<String>,
    /// The length of a slot: `15m`, `1h`, `1d`, `1w`, `1mo`, `1y`.
    every: Every,
    /// The columns that make rows belong together; default: all rows belong together.
    by: Option<Names>,
    /// The columns of the result, each an aggregate in SQL: `{price: last(price), sold: sum(amount)}`.
    #[schemars(extend("minProperties" = 1))]
    aggregate: IndexMap<String, String>,
    /// What gaps are filled with.
    #[serde(default)]
    fill: Fill,
    /// What gaps of single columns are filled with: `{sold: zero}`.
    #[serde(default)]
    fill_columns: IndexMap<String, Fill>,
    /// For `fill: value`: the value.
    value: Option<Scalar>,
    /// The name of a column that says which rows are gaps; default: none.
    flag: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Fill {
    /// They stay null.
    #[default]
    Null,
    /// The last value before, in the same group.
    Forward,
    /// In equal steps from the last value before to the first after; the column becomes f64 unless it is f32.
    Linear,
    /// 0.
    Zero,
    /// What `value` says.
    Value,
}

register_kind! {
    ResampleTime, "clean.resample_time", version: 1,
    example: "- clean.resample_time: {over: at, every: 1h, by: sensor, aggregate: {heat: avg(heat), readings: count()}, fill: linear, fill_columns: {readings: zero}}",
}

impl ResampleTime {
    fn by(&self) -> Vec<String> {
        self.by.as_ref().map(Names::to_vec).unwrap_or_default()
    }

    fn fill_of(&self, name: &str) -> Fill {
        self.fill_columns.get(name).copied().unwrap_or(self.fill)
    }

    /// What fills the gaps of a column, or why nothing can.
    fn gap(&self, column: &Column) -> Result<Gap, String> {
        let needs_number = |gap: Gap| {
            if column.dtype.is_primitive_numeric() {
                Ok(gap)
            } else {
                Err(format!("it is {}, not a number", type_name(&column.dtype)))
            }
        };
        match self.fill_of(&column.name) {
            Fill::Null => Ok(Gap::Null),
            Fill::Forward => Ok(Gap::Forward),
            Fill::Linear => needs_number(Gap::Linear),
            Fill::Zero => needs_number(Gap::Constant(taktline_core::Literal::Int(0))),
            Fill::Value => match &self.value {
                Some(_) if matches!(column.dtype, DataType::Datetime(_, Some(_))) => {
                    Err("a datetime of a zone has no constants".to_owned())
                }
                Some(value) => value.literal(&column.dtype).map(Gap::Constant),
                None => Ok(Gap::Null),
            },
        }
    }

    /// The schema after it, where `aggregated` is the one after the aggregates.
    fn output(&self, aggregated: &Schema) -> Schema {
        let mut output = aggregated.clone();
        for name in self.aggregate.keys() {
            if let Some(column) = output.column_mut(name)
                && self.fill_of(name) == Fill::Linear
                && column.dtype.is_integer()
            {
                column.dtype = DataType::Float64;
            }
        }
        if let Some(flag) = &self.flag {
            output.set(Column::new(flag, DataType::Boolean));
        }
        output
    }

    fn check_fills(&self, aggregated: &Schema, cx: &mut CheckContext<'_>) {
        for name in self.fill_columns.keys() {
            if !self.aggregate.contains_key(name) {
                let key = path!["fill_columns", ParamStep::KeyOf(name.clone())];
                let message = format!(
                    "stage `{}` fills `{name}`, which is not among its aggregates",
                    cx.stage
                );
                let known = self.aggregate.keys().map(String::as_str);
                cx.report(
                    Problem::error("unknown-column", key, message)
                        .label("no such column")
                        .help_if(taktline_core::did_you_mean(name, known)),
                );
            }
        }
        let fills = || self.aggregate.keys().map(|name| self.fill_of(name));
        match &self.value {
            None if fills().any(|fill| fill == Fill::Value) => cx.report(
                Problem::error(
                    "missing-param",
                    ParamPath::kind(),
                    format!(
                        "stage `{}` does not say which value gaps are filled with",
                        cx.stage
                    ),
                )
                .label("needs `value`")
                .help("write `value: 0`"),
            ),
            Some(_) if fills().all(|fill| fill != Fill::Value) => {
                report_unused("value", "no column has `fill: value`", cx);
            }
            _ => {}
        }
        for name in self.aggregate.keys() {
            let Some(column) = aggregated.column(name) else {
                continue;
            };
            if let Err(reason) = self.gap(column) {
                let path = match (self.fill_columns.contains_key(name), self.fill_of(name)) {
                    (true, _) => path!["fill_columns", name],
                    (false, Fill::Value) => path!["value"],
                    (false, _) => path!["fill"],
                };
                let message = format!(
                    "stage `{}` cannot fill the gaps of `{name}`: {reason}",
                    cx.stage
                );
                cx.report(
                    Problem::error("type-mismatch", path, message)
                        .label(format!("does not fit `{name}`"))
                        .help("`fill_columns` fills each column in its own way"),
                );
            }
        }
    }

    fn check_over<'s>(&self, input: &'s Schema, cx: &mut CheckContext<'_>) -> Option<&'s Column> {
        let over = columns::time_column(self.over.as_deref(), input, path!["over"], cx)?;
        if !columns::is_instant(&over.dtype) {
            columns::report_type(over, "a date or a datetime", path!["over"], cx);
            return None;
        }
        if over.dtype == DataType::Date && matches!(self.every, Every::Clock(_)) {
            let message = format!(
                "stage `{}` has slots of {}, but `{}` is a date",
                cx.stage, self.every, over.name
            );
            cx.report(
                Problem::error("type-mismatch", path!["every"], message)
                    .label("a date has no time of day")
                    .help("write days, weeks or months: `1d`, `1w`, `1mo`"),
            );
        }
        Some(over)
    }

    fn operations<Z: TimeZone + Send + Sync + 'static>(
        &self,
        grid: Grid<Z>,
        over: &Column,
        aggregates: Operation,
        input: &Schema,
    ) -> Result<Vec<Operation>> {
        let grid = Arc::new(grid);
        let slots = slots(Arc::clone(&grid), over, input);
        let aggregated = output_schema(
            std::slice::from_ref(&aggregates),
            std::slice::from_ref(input),
        );
        let filled = self
            .aggregate
            .keys()
            .filter_map(|name| aggregated.column(name))
            .map(|column| Ok((column.name.clone(), self.gap(column).map_err(Error::Data)?)))
            .collect::<Result<Vec<_>>>()?;
        let schema = self.output(&aggregated);
        let gaps = Gaps {
            by: self.by(),
            over: over.name.clone(),
            filled,
            output: schema.to_polars(),
        };
        let planned: Arc<PolarsSchema> = Arc::new(schema.to_polars());
        let over = over.clone();
        let unite = Operation::Local(Local {
            name: "make a row for each slot without one",
            reads: aggregated.names().map(str::to_owned).collect(),
            keeps_rows: false,
            schema,
            // Not relational: SQL cannot count slots of a calendar between two rows.
            apply: Arc::new(move |frame| {
                let (gaps, grid, over) = (gaps.clone(), Arc::clone(&grid), over.clone());
                let planned = Arc::clone(&planned);
                Ok(frame.map(
                    move |data| gaps.made(&data, |at| next_tick(&grid, &over.dtype, at)),
                    AllowedOptimizations::empty(),
                    Some(Arc::new(move |_: &PolarsSchema| Ok(Arc::clone(&planned)))),
                    Some("make a row for each slot without one"),
                ))
            }),
        });
        Ok(vec![slots, aggregates, unite])
    }
}

/// Microseconds since 1970 of a time as polars stores it, rounded down.
fn to_microseconds(tick: i64, dtype: &DataType) -> Option<i64> {
    match dtype {
        DataType::Date => tick.checked_mul(86_400_000_000),
        DataType::Datetime(TimeUnit::Milliseconds, _) => tick.checked_mul(1_000),
        DataType::Datetime(TimeUnit::Nanoseconds, _) => Some(tick.div_euclid(1_000)),
        _ => Some(tick),
    }
}

fn from_microseconds(microseconds: i64, dtype: &DataType) -> Option<i64> {
    match dtype {
        DataType::Date => Some(microseconds.div_euclid(86_400_000_000)),
        DataType::Datetime(TimeUnit::Milliseconds, _) => Some(microseconds.div_euclid(1_000)),
        DataType::Datetime(TimeUnit::Nanoseconds, _) => microseconds.checked_mul(1_000),
        _ => Some(microseconds),
    }
}

fn next_tick<Z: TimeZone>(grid: &Grid<Z>, dtype: &DataType, tick: i64) -> Option<i64> {
    from_microseconds(grid.next(to_microseconds(tick, dtype)?)?, dtype)
}

/// The time of each row becomes the start of its slot. Not relational: no expression knows zones and weeks.
fn slots<Z: TimeZone + Send + Sync + 'static>(
    grid: Arc<Grid<Z>>,
    over: &Column,
    input: &Schema,
) -> Operation {
    let over = over.clone();
    Operation::Local(Local {
        name: "find the slot of each row",
        reads: std::iter::once(over.name.clone()).collect(),
        keeps_rows: true,
        schema: input.clone(),
        apply: Arc::new(move |frame| {
            let (grid, dtype) = (Arc::clone(&grid), over.dtype.clone());
            // `apply`, not `map`: it sees the whole column, so that the row number is the frame's.
            let slot = Expr::Column(over.name.as_str().into()).apply(
                move |column| slot_of(&column, &grid, &dtype),
                |_, field| Ok(field.clone()),
            );
            Ok(frame.with_columns([slot]))
        }),
    })
}

fn slot_of<Z: TimeZone>(
    times: &PolarsColumn,
    grid: &Grid<Z>,
    dtype: &DataType,
) -> PolarsResult<PolarsColumn> {
    let ticks = times.to_physical_repr().cast(&DataType::Int64)?;
    let mut starts = Vec::with_capacity(times.len());
    for (row, tick) in ticks.i64()?.iter().enumerate() {
        let Some(tick) = tick else {
            polars_bail!(
                ComputeError: "`{}` is null in row {}, which therefore belongs to no slot; drop such rows first with `clean.drop_nulls`",
                times.name(), row + 1
            );
        };
        let start = to_microseconds(tick, dtype)
            .and_then(|at| grid.floor(at))
            .and_then(|start| from_microseconds(start, dtype));
        let Some(start) = start else {
            polars_bail!(ComputeError: "`{}` is beyond the calendar in row {}", times.name(), row + 1);
        };
        starts.push(start);
    }
    let starts = Int64Chunked::from_vec(times.name().clone(), starts).into_column();
    super::gaps::as_times(&starts, dtype)
}

impl Stage for ResampleTime {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        if !input.facts.partitions.is_empty() {
            let message = format!(
                "stage `{}` makes new rows, which belong to no part of the split above",
                cx.stage
            );
            cx.report(
                Problem::error("already-split", ParamPath::kind(), message)
                    .label("there is a split above")
                    .help("put it above the split"),
            );
        }
        let mut keys = check_groups(self.by.as_ref(), input, cx);
        let over = self.check_over(input, cx);
        if let Some(over) = over {
            if keys.contains(&over.name) {
                let message = format!(
                    "stage `{}` cannot group by its time column `{}`",
                    cx.stage, over.name
                );
                cx.report(Problem::error("bad-value", path!["by"], message).label("also the time"));
            } else {
                keys.push(over.name.clone());
            }
        }
        let kept = Schema::new(
            keys.iter()
                .filter_map(|name| input.column(name))
                .cloned()
                .collect(),
        );
        let mut aggregates = Vec::new();
        let mut incomplete = over.is_none();
        for (name, text) in &self.aggregate {
            let key = path!["aggregate", ParamStep::KeyOf(name.clone())];
            let is_free = columns::is_free(&kept, name, key, cx);
            match columns::aggregate_expression(text, input, &path!["aggregate", name], cx) {
                Some(compiled) if is_free => aggregates.push((name.clone(), compiled.expression)),
                Some(_) => {}
                None => incomplete = true,
            }
        }
        let aggregated = output_schema(
            &[Operation::Aggregate {
                by: keys,
                aggregates,
            }],
            inputs,
        );
        self.check_fills(&aggregated, cx);
        if let Some(flag) = &self.flag {
            columns::is_free(&aggregated, flag, path!["flag"], cx);
        }
        let mut output = self.output(&aggregated);
        output.incomplete |= incomplete;
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for ResampleTime {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let over = columns::time_name(self.over.as_deref(), input)
            .and_then(|name| input.column(&name))
            .ok_or_else(|| Error::data("there is no time column"))?;
        let aggregates = self
            .aggregate
            .iter()
            .map(|(name, text)| {
                let compiled = columns::lowered(text, sql::compile_aggregate(text, input))?;
                Ok((name.clone(), compiled.expression))
            })
            .collect::<Result<Vec<_>>>()?;
        let by = self.by().into_iter().chain([over.name.clone()]).collect();
        let aggregates = Operation::Aggregate { by, aggregates };
        let name = match &over.dtype {
            DataType::Datetime(_, Some(zone)) => zone.to_string(),
            _ => "UTC".to_owned(),
        };
        let zone = zones::zone(&name)
            .ok_or_else(|| Error::data(format!("the time zone `{name}` is not known")))?
            .to_chrono()?;
        let grid = Grid {
            every: self.every,
            zone,
        };
        self.operations(grid, over, aggregates, input)
    }
}

#[cfg(test)]
mod tests;
