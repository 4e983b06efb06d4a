//! `features.derive`.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Expression, Operation, ParamPath, ParamStep, Problem, Relational, Result, Schema,
    Shape, Stage, path, register_kind, schema_after, sql, type_name,
};

use super::expressions::Expressions;
use crate::columns;

/// Compute new columns by SQL expressions over a row: `{log_amount: ln(amount + 1)}`.
///
/// The expressions are computed in order: a later one may use an earlier one. A column that exists is replaced only where
/// its expression reads it, as `amount: coalesce(amount, 0)` does. Inside `{…}` an expression with a comma is written in
/// quotes: `{share: "round(part / whole, 2)"}`.
///
/// An expression is SQL as PostgreSQL writes it: columns, constants (`1.5`, `'text'`, `true`, `null`, `date '2024-01-31'`,
/// `timestamp '2024-01-31 12:00'`, `interval '1 month'`), `+ - * / %`, `||`, `= <> < <= > >=`, `and`, `or`, `not`, `is null`,
/// `is distinct from`, `between`, `in (…)`, `like`, `ilike`, `case when … then … else … end`, `cast(… as type)` or `::type`,
/// `try_cast`, `at time zone 'Europe/Berlin'`. Names of columns are case-sensitive and stand in double quotes where they are no
/// plain words: `"orig balance"`. `/` gives a real number, also between whole ones; whole numbers that grow too large are an error,
/// never another number. Null in, null out, where nothing else is said. Not-a-number equals itself and is larger than every other
/// number, as in PostgreSQL: `x > 0` holds for it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transform = list_functions)]
struct Derive(Expressions);

/// Ends the documentation with every function that an expression may call, here and in all other kinds.
fn list_functions(schema: &mut schemars::Schema) {
    let before = schema
        .get("description")
        .and_then(|description| description.as_str())
        .unwrap_or_default();
    let list: Vec<String> = sql::functions()
        .map(|(_, signature, about)| format!("- `{signature}`: {about}"))
        .collect();
    let description = format!("{before}\n\nThe functions:\n\n{}", list.join("\n"));
    schema.insert("description".into(), description.into());
}

register_kind! {
    Derive, "features.derive", version: 1,
    example: "- features.derive: {log_amount: ln(amount + 1), is_large: log_amount > 9}",
}

/// Columns that can be computed at once come together; one that reads another of them starts anew.
#[derive(Default)]
struct Steps(Vec<Vec<(String, Expression)>>);

impl Steps {
    fn push(&mut self, name: &str, expression: Expression) {
        let reads: BTreeSet<String> = expression.columns();
        match self.0.last_mut() {
            Some(step) if step.iter().all(|(made, _)| !reads.contains(made)) => {
                step.push((name.to_owned(), expression));
            }
            _ => self.0.push(vec![(name.to_owned(), expression)]),
        }
    }

    fn operations(self) -> Vec<Operation> {
        self.0.into_iter().map(Operation::With).collect()
    }
}

/// The schema with one more computed column.
fn with_column(schema: Schema, name: &str, expression: Expression) -> Schema {
    let step = Operation::With(vec![(name.to_owned(), expression)]);
    schema_after(&step, schema, &[])
}

impl Stage for Derive {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let mut schema = columns::input(inputs).clone();
        // What reads a column whose own expression is wrong is not wrong for that.
        let mut failed: Vec<String> = Vec::new();
        let entries = self.0.checked(&ParamPath::kind(), cx);
        schema.incomplete |= entries.len() < self.0.iter().count();
        for (name, text) in entries {
            let key = path![ParamStep::KeyOf(name.to_owned())];
            let is_allowed = columns::is_allowed(name, key.clone(), cx);
            let found_before = cx.problems.len();
            let Some(compiled) = columns::row_expression(&text, &schema, &path![name], cx) else {
                let found = cx.problems.split_off(found_before);
                cx.problems.extend(found.into_iter().filter(|problem| {
                    let reads = |name: &String| problem.message.contains(&format!("`{name}`"));
                    problem.code != "unknown-column" || !failed.iter().any(reads)
                }));
                failed.push(name.to_owned());
                // The columns below may read it: do not report each of them.
                schema.incomplete |= schema.column(name).is_none();
                continue;
            };
            if !is_allowed {
                continue;
            }
            if let Some(existing) = schema.column(name)
                && !compiled.expression.columns().contains(name)
            {
                cx.report(
                    Problem::error(
                        "name-taken",
                        key,
                        format!(
                            "stage `{}` replaces the column `{name}` without reading it",
                            cx.stage
                        ),
                    )
                    .label(format!(
                        "`{name}` ({}) would be lost",
                        type_name(&existing.dtype)
                    ))
                    .help(format!(
                        "choose another name, or rename or drop `{name}` above"
                    )),
                );
            }
            schema = with_column(schema, name, compiled.expression);
        }
        schema
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Derive {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let mut schema = columns::input(inputs).clone();
        let mut steps = Steps::default();
        for (name, text) in self.0.iter() {
            let compiled = sql::compile(&text, &schema);
            if let Some(compiled) = columns::lowered_if_possible(&text, compiled)? {
                schema = with_column(schema, name, compiled.expression.clone());
                steps.push(name, compiled.expression);
            }
        }
        Ok(steps.operations())
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataType;
    use taktline_core::{Role, output_schema};

    use super::*;
    use crate::{
        columns::testing::{check, codes, passes, refuses, schema, stage, types},
        testing::run,
    };

    #[test]
    fn what_reads_a_wrong_column_is_not_reported_too() {
        let input = schema([("amount", DataType::Float64)]);
        let stage: Derive =
            stage("{log_amount: ln(amout), large: log_amount > 9, wrong: nothing + 1}");
        let (_, problems) = check(&stage, &input);
        assert_eq!(codes(&stage, &input), ["unknown-column", "unknown-column"]);
        assert!(problems[1].message.contains("`nothing`"));
    }

    #[test]
    fn a_later_column_may_use_an_earlier_one() {
        let input = schema([("amount", DataType::Float64), ("count", DataType::Int64)]);
        let stage: Derive =
            stage("{log_amount: ln(amount + 1), twice: count * 2, is_large: log_amount > 9}");
        assert_eq!(
            types(&passes(&stage, &input)),
            [
                ("amount", DataType::Float64),
                ("count", DataType::Int64),
                ("log_amount", DataType::Float64),
                ("twice", DataType::Int64),
                ("is_large", DataType::Boolean),
            ]
        );
        let operations = stage
            .lower(std::slice::from_ref(&input))
            .expect("operations");
        let [Operation::With(first), Operation::With(second)] = &operations[..] else {
            panic!("{operations:?}")
        };
        assert_eq!(
            first
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>(),
            ["log_amount", "twice"]
        );
        assert_eq!(second[0].0, "is_large");
        assert_eq!(
            output_schema(&operations, std::slice::from_ref(&input)),
            passes(&stage, &input)
        );
    }

    #[test]
    fn a_frame_with_fewer_columns_gets_what_can_be_made() {
        let derive: Derive =
            stage("{twice: amount * 2, other: ln(fee), both: twice + other, last: twice + 1}");
        let operations = derive
            .lower(&[schema([("amount", DataType::Float64)])])
            .expect("operations");
        let made: Vec<String> = operations
            .iter()
            .filter_map(|operation| match operation {
                Operation::With(made) => Some(made.iter().map(|(name, _)| name.clone())),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(made, ["twice", "last"]);
    }

    #[test]
    fn a_replaced_column_keeps_its_role_and_lineage_is_carried_on() {
        let mut input = schema([("amount", DataType::Float64), ("fraud", DataType::Boolean)]);
        input.columns[1] = input.columns[1].clone().with_role(Role::Target);
        let stage: Derive = stage("{fraud: 'cast(fraud as bigint)', leak: fraud * amount}");
        let output = passes(&stage, &input);
        assert_eq!(
            output.column("fraud").map(|column| column.role),
            Some(Role::Target)
        );
        let leak = output.column("leak").expect("the new column");
        assert_eq!(leak.role, Role::Feature);
        assert!(leak.from_target.contains("fraud"));
    }

    #[test]
    fn reports_every_problem_at_its_place() {
        let input = schema([("amount", DataType::Float64), ("kind", DataType::String)]);
        let (output, problems) = check(
            &stage::<Derive>("{a: ln(amout + 1), b: amount + kind, c: a * 2}"),
            &input,
        );
        let places: Vec<_> = problems
            .iter()
            .map(|problem| (problem.code, problem.path.clone()))
            .collect();
        assert_eq!(places[0], ("unknown-column", path!["a"]));
        assert_eq!(problems[0].range, Some(3..8));
        assert_eq!(
            problems[0].message,
            "stage `this` reads `amout`, which its input does not have"
        );
        assert_eq!(places[1], ("type-mismatch", path!["b"]));
        assert!(output.incomplete);
    }

    #[test]
    fn constants_need_no_quotes_and_commas_do() {
        let input = schema([("amount", DataType::Float64)]);
        let output = passes(&stage::<Derive>("{one: 1, half: 0.5, yes: true}"), &input);
        assert_eq!(
            types(&output)[1..],
            [
                ("one", DataType::Int64),
                ("half", DataType::Float64),
                ("yes", DataType::Boolean)
            ]
        );
        let (output, problems) = check(
            &stage::<Derive>("{a: round(amount, 2), b: amount * 2}"),
            &input,
        );
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].code, "cut-expression");
        assert_eq!(
            problems[0].help,
            ["write it in quotes: `a: \"round(amount, 2)\"`"]
        );
        assert!(output.incomplete && output.column("b").is_some());
    }

    #[test]
    fn a_pipeline_tells_where_the_quotes_are_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.csv"), "x\n1.256\n").expect("a file");
        let rows = |params: &str| {
            let source = "pipeline: a\nstages:\n  - source.csv: {path: a.csv}\n";
            run(
                &format!("{source}  - features.derive: {params}\n"),
                folder.path(),
            )
        };
        let made = rows("{y: \"round(x, 2)\", one: 1}").expect("rows");
        assert_eq!(
            made.column("y").expect("y").f64().expect("reals").get(0),
            Some(1.26)
        );
        let error = rows("{y: round(x, 2), z: x}").expect_err("cut");
        assert!(
            error.starts_with(
                "cut-expression: stage `derive` has only the first part of the expression for `y`"
            ),
            "{error}"
        );
        let error = rows("{y: [x, 2]}").expect_err("a list");
        assert!(error.contains("`y`") && error.contains("text"), "{error}");
        assert!(rows("{}").is_err());
    }

    #[test]
    fn every_function_is_in_the_documentation() {
        let schema = schemars::schema_for!(Derive);
        let description = schema.get("description").and_then(|text| text.as_str());
        let description = description.expect("a description");
        assert!(description.starts_with("Compute new columns by SQL expressions over a row"));
        for (_, signature, _) in sql::functions() {
            assert!(
                description.contains(&format!("- `{signature}`: ")),
                "{signature}"
            );
        }
    }

    #[test]
    fn does_not_lose_columns_by_accident() {
        let input = schema([("amount", DataType::Float64), ("kind", DataType::String)]);
        assert_eq!(
            refuses(&stage::<Derive>("{kind: amount * 2}"), &input),
            [(
                "name-taken",
                "stage `this` replaces the column `kind` without reading it".to_owned()
            )]
        );
        assert_eq!(
            codes(
                &stage::<Derive>("{partition: amount * 2, '': amount}"),
                &input
            ),
            ["reserved-name", "bad-name"]
        );
        passes(&stage::<Derive>("{kind: lower(kind)}"), &input);
    }
}
