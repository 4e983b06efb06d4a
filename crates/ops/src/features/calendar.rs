//! `features.calendar`.

use std::f64::consts::TAU;

use polars::prelude::{DataType, TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    BinaryOperator, CheckContext, Column, Expression, Function, Literal, Operation, ParamStep,
    Problem, Relational, Result, Schema, Shape, Stage, UnaryOperator, output_schema, path,
    register_kind, type_name,
};

use super::joining;
use crate::columns;

/// Take the parts of a date or time that habits follow: hour, day of the week, month, holidays.
///
/// Each part becomes a column named after both: `at_hour`. With `cyclic`, a part that comes round again becomes two
/// columns, `at_hour_sin` and `at_hour_cos`, a point on a circle, so that 23 o'clock is as near to 0 as 1 o'clock is; a
/// linear model needs this, a tree does not. The circle of the day of the month has 31 days, that of the year 365.2425. Of a time with a zone the parts are those of its own clock and calendar; `zone`
/// takes another place's. Null gives null.
///
/// `holidays` lists days, or names the date column of a second input, `from: [sales, holidays]`, which may list a day twice.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Calendar {
    /// The date or time column; default: the column with the role `time`.
    column: Option<String>,
    /// The parts to take.
    #[schemars(length(min = 1))]
    parts: Vec<Part>,
    /// Points on a circle instead of numbers, for parts that come round again.
    #[serde(default)]
    cyclic: bool,
    /// The time zone whose clock and calendar count: `Asia/Shanghai`. A time without a zone is taken for UTC.
    zone: Option<String>,
    /// The days that `is_holiday` and `is_workday` know.
    holidays: Option<Holidays>,
    /// The days of the week without work.
    #[serde(default = "weekend")]
    #[schemars(length(min = 1, max = 6))]
    weekend: Vec<Weekday>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Holidays {
    /// Days: `[2024-01-01, 2024-12-25]`.
    Days(#[schemars(length(min = 1))] Vec<String>),
    /// A date column of the second input.
    Input(HolidayColumn),
}

/// A date column of the second input.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HolidayColumn {
    /// Its name.
    column: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Weekday {
    /// 1
    Monday,
    /// 2
    Tuesday,
    /// 3
    Wednesday,
    /// 4
    Thursday,
    /// 5
    Friday,
    /// 6
    Saturday,
    /// 7
    Sunday,
}

fn weekend() -> Vec<Weekday> {
    vec![Weekday::Saturday, Weekday::Sunday]
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Part {
    /// The year.
    Year,
    /// 1 to 4.
    Quarter,
    /// 1 to 12.
    Month,
    /// ISO week, 1 to 53.
    Week,
    /// Of the month, 1 to 31.
    Day,
    /// 1 to 366.
    DayOfYear,
    /// 1 = Monday to 7 = Sunday.
    DayOfWeek,
    /// How many days the month has.
    DaysInMonth,
    /// A day of `weekend`, true or false.
    IsWeekend,
    /// The first day of a month, true or false.
    IsMonthStart,
    /// The last day of a month, true or false.
    IsMonthEnd,
    /// A day of `holidays`, true or false.
    IsHoliday,
    /// Neither a day of `weekend` nor of `holidays`, true or false.
    IsWorkday,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
    /// 0 to 59.
    Second,
    /// Of the week, 0 = Monday from midnight to 167.
    HourOfWeek,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Quarter => "quarter",
            Self::Month => "month",
            Self::Week => "week",
            Self::Day => "day",
            Self::DayOfYear => "day_of_year",
            Self::DayOfWeek => "day_of_week",
            Self::DaysInMonth => "days_in_month",
            Self::IsWeekend => "is_weekend",
            Self::IsMonthStart => "is_month_start",
            Self::IsMonthEnd => "is_month_end",
            Self::IsHoliday => "is_holiday",
            Self::IsWorkday => "is_workday",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
            Self::HourOfWeek => "hour_of_week",
        }
    }

    /// Where the circle starts and how long it is; none for parts that do not come round. Months and years differ in
    /// length: the longest month and the mean Gregorian year.
    fn circle(self) -> Option<(f64, f64)> {
        match self {
            Self::Quarter => Some((1.0, 4.0)),
            Self::Month => Some((1.0, 12.0)),
            Self::Week => Some((1.0, 365.2425 / 7.0)),
            Self::Day => Some((1.0, 31.0)),
            Self::DayOfYear => Some((1.0, 365.2425)),
            Self::DayOfWeek => Some((1.0, 7.0)),
            Self::Hour => Some((0.0, 24.0)),
            Self::Minute | Self::Second => Some((0.0, 60.0)),
            Self::HourOfWeek => Some((0.0, 168.0)),
            _ => None,
        }
    }

    fn is_of_the_clock(self) -> bool {
        matches!(
            self,
            Self::Hour | Self::Minute | Self::Second | Self::HourOfWeek
        )
    }

    fn needs_holidays(self) -> bool {
        matches!(self, Self::IsHoliday | Self::IsWorkday)
    }
}

register_kind! {
    Calendar, "features.calendar", version: 1,
    example: "- features.calendar: {column: at, parts: [hour, day_of_week, is_workday], zone: Asia/Shanghai, holidays: [2024-01-01, 2024-02-10]}",
}

/// The day of each row and whether the second input lists it, until the parts are made; no names that a spec can write.
const DAY: &str = "\u{1}day";
const LISTED: &str = "\u{1}holiday";

/// What the parts are taken from.
struct Moment {
    /// The point in time, on the clock that counts.
    clock: Expression,
    /// Its day.
    day: Expression,
    /// Whether it is a holiday; none where no holidays are told.
    is_holiday: Option<Expression>,
}

fn part_of(function: Function, value: &Expression) -> Expression {
    Expression::call(function, vec![value.clone()])
}

fn equals(value: Expression, number: i64) -> Expression {
    value.binary(BinaryOperator::Equal, Expression::int(number))
}

impl Moment {
    fn month_end(&self) -> Expression {
        let first = Expression::call(
            Function::DateTrunc,
            vec![Expression::text("month"), self.day.clone()],
        );
        let next = Expression::call(Function::AddMonths, vec![first, Expression::int(1)]);
        let day = Expression::Literal(Literal::Interval(86_400_000_000));
        next.binary(BinaryOperator::Subtract, day)
    }

    fn part(&self, part: Part, weekend: &[Weekday]) -> Expression {
        let of_day = |function| part_of(function, &self.day);
        let of_clock = |function| part_of(function, &self.clock);
        let is_weekend = || Expression::In {
            operand: Box::new(of_day(Function::IsoDayOfWeek)),
            list: weekend
                .iter()
                .map(|day| Literal::Int(*day as i64 + 1))
                .collect(),
            negated: false,
        };
        let is_holiday = || {
            self.is_holiday
                .clone()
                .unwrap_or(Expression::Literal(Literal::Bool(false)))
        };
        match part {
            Part::Year => of_day(Function::Year),
            Part::Quarter => of_day(Function::Quarter),
            Part::Month => of_day(Function::Month),
            Part::Week => of_day(Function::Week),
            Part::Day => of_day(Function::Day),
            Part::DayOfYear => of_day(Function::DayOfYear),
            Part::DayOfWeek => of_day(Function::IsoDayOfWeek),
            Part::DaysInMonth => part_of(Function::Day, &self.month_end()),
            Part::IsWeekend => is_weekend(),
            Part::IsMonthStart => equals(of_day(Function::Day), 1),
            Part::IsMonthEnd => of_day(Function::Day).binary(
                BinaryOperator::Equal,
                part_of(Function::Day, &self.month_end()),
            ),
            Part::IsHoliday => is_holiday(),
            Part::IsWorkday => is_weekend()
                .binary(BinaryOperator::Or, is_holiday())
                .unary(UnaryOperator::Not),
            Part::Hour => of_clock(Function::Hour),
            Part::Minute => of_clock(Function::Minute),
            Part::Second => of_clock(Function::Second),
            Part::HourOfWeek => of_day(Function::IsoDayOfWeek)
                .binary(BinaryOperator::Subtract, Expression::int(1))
                .binary(BinaryOperator::Multiply, Expression::int(24))
                .binary(BinaryOperator::Add, of_clock(Function::Hour)),
        }
    }
}

impl Calendar {
    /// The column on the clock that counts.
    fn clock(&self, column: &Column) -> Expression {
        let value = Expression::column(&column.name);
        let zone = self
            .zone
            .as_deref()
            .and_then(|zone| TimeZone::opt_try_new(Some(zone)).ok().flatten());
        match (&column.dtype, zone) {
            (DataType::Datetime(unit, known), Some(zone)) => {
                let there = DataType::Datetime(*unit, Some(zone));
                match known {
                    Some(_) => value.cast(there),
                    None => value
                        .cast(DataType::Datetime(*unit, Some(TimeZone::UTC)))
                        .cast(there),
                }
            }
            _ => value,
        }
    }

    fn day(&self, column: &Column) -> Expression {
        match column.dtype {
            DataType::Date => self.clock(column),
            _ => self.clock(column).cast(DataType::Date),
        }
    }

    fn moment(&self, column: &Column) -> Moment {
        let day = self.day(column);
        let is_holiday = self.holidays.as_ref().map(|holidays| match holidays {
            Holidays::Days(days) => Expression::In {
                operand: Box::new(day.clone()),
                list: days
                    .iter()
                    .filter_map(|day| taktline_core::sql::date(day).map(Literal::Date))
                    .collect(),
                negated: false,
            },
            // A row without a time is on no day.
            Holidays::Input(_) => Expression::Case {
                branches: vec![(
                    day.clone().unary(UnaryOperator::IsNotNull),
                    Expression::column(LISTED),
                )],
                otherwise: Box::new(Expression::Literal(Literal::Null)),
            },
        });
        Moment {
            clock: self.clock(column),
            day,
            is_holiday,
        }
    }

    /// The columns that a part becomes.
    fn made(&self, column: &Column, part: Part) -> Vec<(String, Expression)> {
        let name = format!("{}_{}", column.name, part.name());
        let value = self.moment(column).part(part, &self.weekend);
        match part.circle().filter(|_| self.cyclic) {
            None => vec![(name, value)],
            Some((start, length)) => {
                let angle = value
                    .cast(DataType::Float64)
                    .binary(BinaryOperator::Subtract, Expression::float(start))
                    .binary(BinaryOperator::Multiply, Expression::float(TAU / length));
                vec![
                    (
                        format!("{name}_sin"),
                        Expression::call(Function::Sin, vec![angle.clone()]),
                    ),
                    (
                        format!("{name}_cos"),
                        Expression::call(Function::Cos, vec![angle]),
                    ),
                ]
            }
        }
    }

    fn operations(&self, column: &Column, input: &Schema) -> Vec<Operation> {
        let made: Vec<(String, Expression)> = self
            .parts
            .iter()
            .flat_map(|part| self.made(column, *part))
            .collect();
        let Some(Holidays::Input(listed)) = &self.holidays else {
            return vec![Operation::With(made)];
        };
        let kept = input
            .names()
            .map(|name| (name.to_owned(), Expression::column(name)));
        vec![
            Operation::With(vec![(DAY.to_owned(), self.day(column))]),
            Operation::Mark {
                right: 1,
                on: vec![(DAY.to_owned(), listed.column.clone())],
                name: LISTED.to_owned(),
            },
            Operation::Project(kept.chain(made).collect()),
        ]
    }

    /// What is wrong with params that do not depend on the column.
    fn check_params(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) {
        if let Some(zone) = &self.zone
            && TimeZone::opt_try_new(Some(zone.as_str())).is_err()
        {
            cx.report(
                Problem::error(
                    "unknown-zone",
                    path!["zone"],
                    format!("stage `{}` does not know the time zone `{zone}`", cx.stage),
                )
                .help("zones have names like `Europe/Berlin` or `UTC`"),
            );
        }
        for (index, day) in self.weekend.iter().enumerate() {
            if self.weekend[..index].contains(day) {
                let message = format!("stage `{}` names a day of the weekend twice", cx.stage);
                cx.report(
                    Problem::error("duplicate-name", path!["weekend", index], message)
                        .label("named before"),
                );
            }
        }
        let uses = self.parts.iter().position(|part| part.needs_holidays());
        match (&self.holidays, uses) {
            (Some(_), None) => cx.report(
                Problem::error(
                    "unused-param",
                    path![ParamStep::KeyOf("holidays".into())],
                    format!("stage `{}` has holidays that no part asks for", cx.stage),
                )
                .help("add `is_holiday` or `is_workday` to `parts`"),
            ),
            (None, Some(index)) if self.parts[index] == Part::IsHoliday => cx.report(
                Problem::error(
                    "missing-param",
                    path!["parts", index],
                    format!("stage `{}` needs to know the holidays", cx.stage),
                )
                .help("list them, `holidays: [2024-01-01]`, or name a column of a second input"),
            ),
            _ => {}
        }
        match &self.holidays {
            Some(Holidays::Days(days)) => {
                for (index, day) in days.iter().enumerate() {
                    if taktline_core::sql::date(day).is_none() {
                        cx.report(
                            Problem::error(
                                "bad-date",
                                path!["holidays", index],
                                format!("`{day}` is not a date"),
                            )
                            .label("write `2024-01-31`"),
                        );
                    }
                }
            }
            Some(Holidays::Input(listed)) => self.check_listed(listed, inputs, cx),
            None => {}
        }
        if let Some(second) = inputs.get(1)
            && !matches!(self.holidays, Some(Holidays::Input(_)))
            && !second.columns.is_empty()
        {
            cx.report(
                Problem::error(
                    "unused-input",
                    taktline_core::ParamPath::kind(),
                    format!(
                        "stage `{}` has a second input that it does not read",
                        cx.stage
                    ),
                )
                .help("`holidays: {column: day}` reads holidays from it"),
            );
        }
    }

    fn check_listed(&self, listed: &HolidayColumn, inputs: &[Schema], cx: &mut CheckContext<'_>) {
        let path = path!["holidays", "column"];
        let Some(right) = inputs.get(1) else {
            cx.report(
                Problem::error(
                    "missing-input",
                    path,
                    format!("stage `{}` has no second input to read holidays from", cx.stage),
                )
                .help("`from: [sales, holidays]` names both, or list the days here: `holidays: [2024-01-01]`"),
            );
            return;
        };
        let before = cx.problems.len();
        let found = columns::find(right, &listed.column, path.clone(), cx);
        joining::tell_right(right, before, cx);
        if let Some(column) = found
            && !columns::is_instant(&column.dtype)
        {
            columns::report_type(column, "a column of dates", path, cx);
        }
    }
}

impl Stage for Calendar {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        self.check_params(inputs, cx);
        let unknown = || Schema {
            incomplete: true,
            ..input.clone()
        };
        let Some(column) = columns::time_column(self.column.as_deref(), input, path!["column"], cx)
        else {
            return unknown();
        };
        if !columns::is_instant(&column.dtype) {
            columns::report_type(column, "a date or a datetime", path!["column"], cx);
            return unknown();
        }
        if self.zone.is_some() && column.dtype == DataType::Date {
            cx.report(
                Problem::error(
                    "type-mismatch",
                    path!["zone"],
                    format!(
                        "stage `{}` has a zone for `{}`, which is date",
                        cx.stage, column.name
                    ),
                )
                .label("a date is the same everywhere"),
            );
        }
        for (index, part) in self.parts.iter().enumerate() {
            if self.parts[..index].contains(part) {
                let message = format!(
                    "stage `{}` names the part `{}` twice",
                    cx.stage,
                    part.name()
                );
                cx.report(
                    Problem::error("duplicate-name", path!["parts", index], message)
                        .label("named before"),
                );
                continue;
            }
            if part.is_of_the_clock() && column.dtype == DataType::Date {
                cx.report(
                    Problem::error(
                        "type-mismatch",
                        path!["parts", index],
                        format!(
                            "stage `{}` takes the {} of `{}`, which is {}",
                            cx.stage,
                            part.name(),
                            column.name,
                            type_name(&column.dtype)
                        ),
                    )
                    .label("a date has no time of day"),
                );
                continue;
            }
            for (name, _) in self.made(column, *part) {
                columns::is_free(input, &name, path!["parts", index], cx);
            }
        }
        output_schema(&self.operations(column, input), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }

    fn arity(&self) -> std::ops::RangeInclusive<usize> {
        1..=2
    }
}

impl Relational for Calendar {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let column = columns::time_name(self.column.as_deref(), input);
        let Some(column) = column.and_then(|name| input.column(&name)) else {
            return Ok(Vec::new());
        };
        Ok(columns::possible(self.operations(column, input), input))
    }
}

#[cfg(test)]
mod tests;
