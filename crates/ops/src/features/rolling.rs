//! `features.rolling`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Operation, ParamStep, Problem, Relational, Result, Schema, Shape, Stage,
    WindowFrame, output_schema, path, register_kind, sql, type_name,
};

use super::span::Span;
use crate::columns::{self, Names};

/// Sum up what came before, for each row: an account's payments in the last 24 hours.
///
/// The window of a row holds the rows of its group that came before it and are not older than `window`, the row itself
/// included; rows at the very same time see each other. Rows stay in their place. A row knows nothing of what comes after
/// it, so the features may be made above the split.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rolling {
    /// The columns that make rows belong together: `account`; default: all rows belong together.
    by: Option<Names>,
    /// The column that orders the rows in time; default: the column with the role `time`.
    over: Option<String>,
    /// How far back a row sees.
    window: Window,
    /// New columns, each an aggregate in SQL: `{spent_24h: sum(amount), payments_24h: count()}`.
    #[schemars(extend("minProperties" = 1))]
    aggregate: IndexMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Window {
    /// A span of time before the row: `30m`, `24h`, `7d`.
    Span(Span),
    /// A number of steps before the row, where `over` counts in whole numbers.
    Steps(#[schemars(range(min = 1))] u32),
    /// A number of rows of the group: `{rows: 10}`.
    Rows(Rows),
}

/// A number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rows {
    /// How many, the row itself included.
    #[schemars(range(min = 1))]
    rows: u32,
}

register_kind! {
    Rolling, "features.rolling", version: 1,
    example: "- features.rolling: {by: account, over: at, window: 24h, aggregate: {spent_24h: sum(amount), payments_24h: count()}}",
}

impl Window {
    fn frame(self) -> WindowFrame {
        match self {
            Self::Span(span) => WindowFrame::Span(span.microseconds()),
            Self::Steps(steps) => WindowFrame::Span(steps.into()),
            Self::Rows(Rows { rows }) => WindowFrame::Rows(rows as usize),
        }
    }

    /// Reports a window that is measured in other things than the column that orders the rows.
    fn check(self, over: &Column, cx: &mut CheckContext<'_>) {
        let problem = |message: String| Problem::error("type-mismatch", path!["window"], message);
        let found = type_name(&over.dtype);
        match self {
            Self::Span(_) if over.dtype.is_integer() => cx.report(
                problem(format!(
                    "stage `{}` has a window of time, but `{}` counts steps ({found})",
                    cx.stage, over.name
                ))
                .label("write a number of steps: `24`"),
            ),
            Self::Steps(_) if columns::is_instant(&over.dtype) => cx.report(
                problem(format!(
                    "stage `{}` has a window of steps, but `{}` is {found}",
                    cx.stage, over.name
                ))
                .label("write a span of time: `24h`")
                .help("for a number of rows, write `{rows: 10}`"),
            ),
            _ => {}
        }
    }
}

impl Stage for Rolling {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let by = check_groups(self.by.as_ref(), input, cx);
        let over = columns::time_column(self.over.as_deref(), input, path!["over"], cx);
        if let Some(over) = over {
            self.window.check(over, cx);
        }
        let mut aggregates = Vec::new();
        let mut incomplete = false;
        for (name, text) in &self.aggregate {
            let is_free = columns::is_free(
                input,
                name,
                path!["aggregate", ParamStep::KeyOf(name.clone())],
                cx,
            );
            match columns::aggregate_expression(text, input, &path!["aggregate", name], cx) {
                Some(compiled) if is_free => aggregates.push((name.clone(), compiled.expression)),
                Some(_) => {}
                None => incomplete = true,
            }
        }
        let over = over.map(|column| column.name.clone()).unwrap_or_default();
        let frame = self.window.frame();
        let mut output = output_schema(
            &[Operation::Window {
                by,
                over,
                frame,
                aggregates,
            }],
            inputs,
        );
        output.incomplete |= incomplete;
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

/// The columns that make rows belong together, for this kind and `features.lag`.
pub(super) fn check_groups(
    by: Option<&Names>,
    input: &Schema,
    cx: &mut CheckContext<'_>,
) -> Vec<String> {
    let Some(by) = by else { return Vec::new() };
    let mut names = Vec::new();
    for (path, column) in by.find(input, &path!["by"], cx) {
        if column.dtype.is_nested() || column.dtype.is_float() {
            columns::report_type(
                column,
                "columns of text, whole numbers, dates or truth values to group by",
                path,
                cx,
            );
        }
        names.push(column.name.clone());
    }
    names
}

impl Relational for Rolling {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let Some(over) = columns::time_name(self.over.as_deref(), input) else {
            return Ok(Vec::new());
        };
        let mut aggregates = Vec::new();
        for (name, text) in &self.aggregate {
            if let Some(compiled) =
                columns::lowered_if_possible(text, sql::compile_aggregate(text, input))?
            {
                aggregates.push((name.clone(), compiled.expression));
            }
        }
        let by = self.by.as_ref().map(Names::to_vec).unwrap_or_default();
        let window = Operation::Window {
            by,
            over,
            frame: self.window.frame(),
            aggregates,
        };
        Ok(columns::possible(vec![window], input))
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{DataType, TimeUnit};
    use taktline_core::Role;

    use super::*;
    use crate::columns::testing::{codes, passes, refuses, schema, stage, types};

    fn payments() -> Schema {
        schema([
            ("at", DataType::Datetime(TimeUnit::Microseconds, None)),
            ("step", DataType::Int64),
            ("card", DataType::String),
            ("amount", DataType::Float64),
        ])
    }

    #[test]
    fn aggregates_become_columns() {
        let rolling: Rolling = stage(
            "{by: card, over: at, window: 24h, aggregate: {spent: sum(amount), payments: count()}}",
        );
        let output = passes(&rolling, &payments());
        assert_eq!(
            types(&output)[4..],
            [("spent", DataType::Float64), ("payments", DataType::Int64)]
        );
        let operations = rolling.lower(&[payments()]).expect("operations");
        let [
            Operation::Window {
                by,
                over,
                frame,
                aggregates,
            },
        ] = &operations[..]
        else {
            panic!("{operations:?}")
        };
        assert_eq!(by, &["card"]);
        assert_eq!(over, "at");
        assert_eq!(*frame, WindowFrame::Span(86_400_000_000));
        assert_eq!(aggregates.len(), 2);
    }

    #[test]
    fn personal_data_to_group_by_is_not_passed_on() {
        let mut input = payments();
        input.columns[2] = input.columns[2].clone().with_role(Role::Pii);
        input.columns[0].role = Role::Time;
        let output = passes(
            &stage::<Rolling>("{by: [card], window: {rows: 10}, aggregate: {n: count(amount)}}"),
            &input,
        );
        let made = output.column("n").expect("the new column");
        assert!(made.from_pii.is_empty());
        assert_eq!(made.role, Role::Feature);
    }

    #[test]
    fn windows_are_read_as_what_they_are() {
        let window =
            |text: &str| taktline_core::serde_yaml::from_str::<Window>(text).map(Window::frame);
        assert_eq!(
            window("7d").expect("a span"),
            WindowFrame::Span(7 * 86_400_000_000)
        );
        assert_eq!(window("24").expect("steps"), WindowFrame::Span(24));
        assert_eq!(window("{rows: 10}").expect("rows"), WindowFrame::Rows(10));
        assert!(window("soon").is_err());
    }

    #[test]
    fn the_window_must_fit_the_column() {
        let with = |over: &str, window: &str| {
            let params =
                format!("{{by: card, over: {over}, window: {window}, aggregate: {{n: count()}}}}");
            refuses(&stage::<Rolling>(&params), &payments())
        };
        assert_eq!(
            with("step", "24h"),
            [(
                "type-mismatch",
                "stage `this` has a window of time, but `step` counts steps (i64)".to_owned()
            )]
        );
        assert_eq!(
            with("at", "24"),
            [(
                "type-mismatch",
                "stage `this` has a window of steps, but `at` is datetime".to_owned()
            )]
        );
        assert!(with("step", "24").is_empty() && with("step", "{rows: 3}").is_empty());
        assert_eq!(with("amount", "24")[0].0, "type-mismatch");
    }

    #[test]
    fn reports_every_problem() {
        let params = "{by: [cad, amount], over: att, window: 1h, aggregate: {card: count(), n: sum(amout), m: amount}}";
        let mut found = codes(&stage::<Rolling>(params), &payments());
        assert!(found.len() >= 6, "{found:?}");
        found.truncate(5);
        assert_eq!(
            found,
            [
                "unknown-column",
                "type-mismatch",
                "unknown-column",
                "name-taken",
                "unknown-column"
            ]
        );
        assert_eq!(
            codes(
                &stage::<Rolling>("{window: 1h, aggregate: {n: count()}}"),
                &payments()
            ),
            ["no-time-column"]
        );
    }
}
