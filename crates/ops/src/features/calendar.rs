//! `features.calendar`.

use std::f64::consts::TAU;

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    BinaryOperator, CheckContext, Expression, Function, Operation, Problem, Relational, Result,
    Schema, Shape, Stage, output_schema, path, register_kind, type_name,
};

use crate::columns;

/// Take the parts of a date or time that habits follow: hour, day of the week, month.
///
/// Each part becomes a column named after both: `at_hour`. With `cyclic`, a part that comes round again becomes two
/// columns, `at_hour_sin` and `at_hour_cos`, a point on a circle, so that 23 o'clock is as near to 0 as 1 o'clock is; a
/// linear model needs this, a tree does not.
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
    /// Saturday or Sunday, true or false.
    IsWeekend,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
    /// 0 to 59.
    Second,
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
            Self::IsWeekend => "is_weekend",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
        }
    }

    fn function(self) -> Function {
        match self {
            Self::Year => Function::Year,
            Self::Quarter => Function::Quarter,
            Self::Month => Function::Month,
            Self::Week => Function::Week,
            Self::Day => Function::Day,
            Self::DayOfYear => Function::DayOfYear,
            Self::DayOfWeek | Self::IsWeekend => Function::IsoDayOfWeek,
            Self::Hour => Function::Hour,
            Self::Minute => Function::Minute,
            Self::Second => Function::Second,
        }
    }

    /// Where the circle starts and how long it is; none for parts that do not come round. Months and years differ in
    /// length: the longest month and the mean Gregorian year.
    fn circle(self) -> Option<(f64, f64)> {
        match self {
            Self::Year | Self::IsWeekend => None,
            Self::Quarter => Some((1.0, 4.0)),
            Self::Month => Some((1.0, 12.0)),
            Self::Week => Some((1.0, 365.2425 / 7.0)),
            Self::Day => Some((1.0, 31.0)),
            Self::DayOfYear => Some((1.0, 365.2425)),
            Self::DayOfWeek => Some((1.0, 7.0)),
            Self::Hour => Some((0.0, 24.0)),
            Self::Minute | Self::Second => Some((0.0, 60.0)),
        }
    }

    fn is_of_the_clock(self) -> bool {
        matches!(self, Self::Hour | Self::Minute | Self::Second)
    }
}

register_kind! {
    Calendar, "features.calendar", version: 1,
    example: "- features.calendar: {column: at, parts: [hour, day_of_week, is_weekend], cyclic: true}",
}

impl Calendar {
    /// The columns that a part becomes.
    fn made(&self, column: &str, part: Part) -> Vec<(String, Expression)> {
        let name = format!("{column}_{}", part.name());
        let number = Expression::call(part.function(), vec![Expression::column(column)]);
        if part == Part::IsWeekend {
            return vec![(
                name,
                number.binary(BinaryOperator::GreaterOrEqual, Expression::int(6)),
            )];
        }
        match part.circle().filter(|_| self.cyclic) {
            None => vec![(name, number)],
            Some((start, length)) => {
                let angle = number
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

    fn operations(&self, column: &str) -> Vec<Operation> {
        vec![Operation::With(
            self.parts
                .iter()
                .flat_map(|part| self.made(column, *part))
                .collect(),
        )]
    }
}

impl Stage for Calendar {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let Some(column) = columns::time_column(self.column.as_deref(), input, path!["column"], cx)
        else {
            return Schema {
                incomplete: true,
                ..input.clone()
            };
        };
        if !columns::is_instant(&column.dtype) {
            columns::report_type(column, "a date or a datetime", path!["column"], cx);
            return Schema {
                incomplete: true,
                ..input.clone()
            };
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
            for (name, _) in self.made(&column.name, *part) {
                columns::is_free(input, &name, path!["parts", index], cx);
            }
        }
        output_schema(&self.operations(&column.name), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Calendar {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let column = columns::time_name(self.column.as_deref(), input);
        Ok(column
            .map(|column| columns::possible(self.operations(&column), input))
            .unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::TimeUnit;
    use taktline_core::Role;

    use super::*;
    use crate::columns::testing::{codes, passes, refuses, schema, stage, types};

    fn datetime() -> DataType {
        DataType::Datetime(TimeUnit::Microseconds, None)
    }

    #[test]
    fn parts_become_columns() {
        let mut input = schema([("at", datetime())]);
        input.columns[0].role = Role::Time;
        let output = passes(&stage::<Calendar>("{parts: [hour, is_weekend]}"), &input);
        assert_eq!(
            types(&output),
            [
                ("at", datetime()),
                ("at_hour", DataType::Int64),
                ("at_is_weekend", DataType::Boolean)
            ]
        );
        // The time itself is no feature, its parts are.
        assert_eq!(output.columns[1].role, Role::Feature);
    }

    #[test]
    fn cyclic_parts_become_points_on_a_circle() {
        let input = schema([("at", datetime())]);
        let output = passes(
            &stage::<Calendar>("{column: at, parts: [hour, year], cyclic: true}"),
            &input,
        );
        let names: Vec<&str> = output.names().collect();
        assert_eq!(names, ["at", "at_hour_sin", "at_hour_cos", "at_year"]);
        assert_eq!(output.columns[1].dtype, DataType::Float64);
    }

    #[test]
    fn refuses_what_the_column_does_not_have() {
        let input = schema([
            ("day", DataType::Date),
            ("day_month", DataType::Int64),
            ("kind", DataType::String),
        ]);
        assert_eq!(
            refuses(
                &stage::<Calendar>("{column: day, parts: [hour, month, year, year]}"),
                &input
            ),
            [
                (
                    "type-mismatch",
                    "stage `this` takes the hour of `day`, which is date".to_owned()
                ),
                (
                    "name-taken",
                    "stage `this` makes a column `day_month`, which its input already has"
                        .to_owned()
                ),
                (
                    "duplicate-name",
                    "stage `this` names the part `year` twice".to_owned()
                ),
            ]
        );
        assert_eq!(
            codes(&stage::<Calendar>("{column: kind, parts: [month]}"), &input),
            ["type-mismatch"]
        );
        assert_eq!(
            codes(&stage::<Calendar>("{column: dya, parts: [month]}"), &input),
            ["unknown-column"]
        );
        assert_eq!(
            codes(&stage::<Calendar>("{parts: [month]}"), &input),
            ["no-time-column"]
        );
        let steps = schema([("step", DataType::Int64)]);
        assert_eq!(
            codes(&stage::<Calendar>("{column: step, parts: [month]}"), &steps),
            ["type-mismatch"]
        );
    }
}
