//! `features.rolling`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Expression, Operation, ParamPath, ParamStep, Problem, Relational, Result,
    Schema, Shape, Stage, WindowFrame, output_schema, path, register_kind, sql, type_name,
};

use super::{expressions::Expressions, span::Span};
use crate::columns::{self, Names};

/// Sum up what came before, for each row: an account's payments in the last 24 hours.
///
/// The window of a row holds the rows of its group that came before it and are not older than `window`, the row itself
/// included; rows at the very same time see each other. With `exclude_current` the row itself is left out, and in a window of
/// time every other row of its time: of `24h` the rows from exactly 24 hours before the row to just before it. Rows stay in
/// their place; a row without a time is in no window and gets nulls. A row knows nothing of what comes after it, so the
/// features may be made above the split.
///
/// Any aggregate may be used: `count`, `sum`, `avg`, `min`, `max`, `stddev`, `variance`, `median`, `quantile`, `mode`, `first`,
/// `last`, `count(distinct …)`, `count_if`, `corr`, also with `filter (where …)` and in expressions: `max(x) - min(x)`. Of a
/// window without rows, counts and sums are 0 and the others null.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rolling {
    /// The columns that make rows belong together: `account`; default: all rows belong together.
    by: Option<Names>,
    /// The column that orders the rows in time; default: the column with the role `time`.
    over: Option<String>,
    /// How far back a row sees. Of several windows, `[1h, 24h]`, each makes all columns, named after it: `spent_1h`, `spent_24h`.
    window: Windows,
    /// Leave the row itself out: only what came before it counts.
    #[serde(default)]
    exclude_current: bool,
    /// New columns, each an aggregate in SQL: `{spent_24h: sum(amount), payments_24h: count()}`.
    aggregate: Expressions,
}

#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Windows {
    /// One window.
    One(Window),
    /// Several.
    Many(#[schemars(length(min = 1))] Vec<Window>),
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

impl Windows {
    /// The windows, each with its place in the spec and what is put after the names of its columns.
    fn located(&self) -> Vec<(ParamPath, Window, String)> {
        match self {
            Self::One(window) => vec![(path!["window"], *window, String::new())],
            Self::Many(windows) => windows
                .iter()
                .enumerate()
                .map(|(index, window)| {
                    let suffix = match window {
                        Window::Span(span) => format!("_{}", span.written()),
                        Window::Steps(steps) => format!("_{steps}"),
                        Window::Rows(Rows { rows }) => format!("_{rows}_rows"),
                    };
                    (path!["window", index], *window, suffix)
                })
                .collect(),
        }
    }
}

impl Window {
    fn frame(self, exclude_current: bool) -> WindowFrame {
        match (self, exclude_current) {
            (Self::Span(span), false) => WindowFrame::Span(span.microseconds()),
            (Self::Span(span), true) => WindowFrame::SpanBefore(span.microseconds()),
            (Self::Steps(steps), false) => WindowFrame::Span(steps.into()),
            (Self::Steps(steps), true) => WindowFrame::SpanBefore(steps.into()),
            (Self::Rows(Rows { rows }), false) => WindowFrame::Rows(rows as usize),
            (Self::Rows(Rows { rows }), true) => WindowFrame::RowsBefore(rows as usize),
        }
    }

    /// Reports a window that is measured in other things than the column that orders the rows.
    fn check(self, over: &Column, path: ParamPath, cx: &mut CheckContext<'_>) {
        let problem = |message: String| Problem::error("type-mismatch", path.clone(), message);
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

impl Rolling {
    /// An operation for each window.
    fn operations(
        &self,
        by: &[String],
        over: &str,
        aggregates: &[(&str, Expression)],
    ) -> Vec<Operation> {
        self.window
            .located()
            .into_iter()
            .map(|(_, window, suffix)| Operation::Window {
                by: by.to_vec(),
                over: over.to_owned(),
                frame: window.frame(self.exclude_current),
                aggregates: aggregates
                    .iter()
                    .map(|(name, value)| (format!("{name}{suffix}"), value.clone()))
                    .collect(),
            })
            .collect()
    }
}

impl Stage for Rolling {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let by = check_groups(self.by.as_ref(), input, cx);
        let over = columns::time_column(self.over.as_deref(), input, path!["over"], cx);
        let windows = self.window.located();
        for (index, (path, window, suffix)) in windows.iter().enumerate() {
            if let Some(over) = over {
                window.check(over, path.clone(), cx);
            }
            if windows[..index]
                .iter()
                .any(|(_, _, before)| before == suffix)
            {
                let message = format!("stage `{}` names a window twice", cx.stage);
                cx.report(
                    Problem::error("duplicate-name", path.clone(), message).label("named before"),
                );
            }
        }
        let root = path!["aggregate"];
        let mut aggregates = Vec::new();
        let checked = self.aggregate.checked(&root, cx);
        let mut incomplete = checked.len() < self.aggregate.iter().count();
        for (name, text) in checked {
            let is_free = windows.iter().fold(true, |is_free, (_, _, suffix)| {
                let key = root.join(ParamStep::KeyOf(name.to_owned()));
                is_free && columns::is_free(input, &format!("{name}{suffix}"), key, cx)
            });
            match columns::aggregate_expression(&text, input, &root.join(name), cx) {
                Some(compiled) if is_free => aggregates.push((name, compiled.expression)),
                Some(_) => {}
                None => incomplete = true,
            }
        }
        let over = over.map(|column| column.name.clone()).unwrap_or_default();
        let mut output = output_schema(&self.operations(&by, &over, &aggregates), inputs);
        output.incomplete |= incomplete;
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

/// The columns that make rows belong together, for all kinds that work group by group.
pub(crate) fn check_groups(
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
        for (name, text) in self.aggregate.iter() {
            let compiled = sql::compile_aggregate(&text, input);
            if let Some(compiled) = columns::lowered_if_possible(&text, compiled)? {
                aggregates.push((name, compiled.expression));
            }
        }
        let by = self.by.as_ref().map(Names::to_vec).unwrap_or_default();
        let windows = self.operations(&by, &over, &aggregates);
        Ok(columns::possible(windows, input))
    }
}

#[cfg(test)]
mod tests {
    use polars::{
        df,
        prelude::{DataType, TimeUnit},
    };
    use taktline_core::Role;

    use super::*;
    use crate::{
        columns::testing::{codes, passes, refuses, schema, stage, types},
        testing::applied,
    };

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
        let window = |text: &str| {
            taktline_core::serde_yaml::from_str::<Window>(text).map(|window| window.frame(false))
        };
        assert_eq!(
            window("7d").expect("a span"),
            WindowFrame::Span(7 * 86_400_000_000)
        );
        assert_eq!(window("24").expect("steps"), WindowFrame::Span(24));
        assert_eq!(window("{rows: 10}").expect("rows"), WindowFrame::Rows(10));
        assert!(window("soon").is_err());
    }

    #[test]
    fn several_windows_make_columns_of_their_own() {
        let rolling: Rolling = stage(
            "{by: card, over: step, window: [2, {rows: 2}], exclude_current: true, aggregate: {n: count(), most: max(amount)}}",
        );
        let rows = df!(
            "card" => ["a", "a", "b", "a", "a"],
            "step" => [Some(1_i64), Some(2), Some(2), Some(2), Some(4)],
            "amount" => [5.0, 1.0, 9.0, 2.0, 3.0],
        )
        .expect("a frame");
        let found = applied(&rolling, &[rows]).expect("rows");
        let expected = df!(
            "card" => ["a", "a", "b", "a", "a"],
            "step" => [1_i64, 2, 2, 2, 4],
            "amount" => [5.0, 1.0, 9.0, 2.0, 3.0],
            // Both rows of step 2 see step 1 alone; step 4 sees steps 2 and 3.
            "n_2" => [0_i64, 1, 0, 1, 2],
            "most_2" => [None, Some(5.0), None, Some(5.0), Some(2.0)],
            "n_2_rows" => [0_i64, 1, 0, 2, 2],
            "most_2_rows" => [None, Some(5.0), None, Some(5.0), Some(2.0)],
        )
        .expect("a frame");
        assert!(found.equals_missing(&expected), "{found}");
        let input = payments();
        assert_eq!(
            types(&passes(
                &stage::<Rolling>("{over: at, window: [24h, 7d], aggregate: {n: count()}}"),
                &input
            ))[4..],
            [("n_24h", DataType::Int64), ("n_7d", DataType::Int64)]
        );
        assert_eq!(
            codes(
                &stage::<Rolling>(
                    "{over: at, window: [24h, 3, 24h], aggregate: {n: \"quantile(amount, 2)\"}}"
                ),
                &input
            ),
            ["type-mismatch", "duplicate-name", "wrong-arguments"]
        );
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
