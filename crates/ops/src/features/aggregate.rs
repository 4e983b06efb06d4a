//! `features.aggregate`.

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Operation, PARTITION, ParamStep, Problem, Relational, Result, Schema, Shape,
    Stage, output_schema, path, register_kind, sql, type_name,
};

use super::{expressions::Expressions, rolling};
use crate::columns::{self, Names};

/// Make one row of each group of rows: what every customer spent.
///
/// The rows after it are the groups, in the order in which they first appear: the columns of `by`, then the aggregates. Null
/// is a group like any other. Without `by` all rows are one group, and even of no rows at all there is one. Below a split,
/// rows of different parts are never put together: a group that has rows in two parts becomes two rows.
///
/// Aggregates pass over null. NaN is a number: sums, means and deviations of it are NaN, `median` and `quantile` order it above all
/// others, `max` and `min` pass over it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Aggregate {
    /// The columns that make rows belong together: `customer`; default: all rows belong together.
    by: Option<Names>,
    /// New columns, each an aggregate in SQL: `{spent: sum(amount), late: count_if(days > 30)}`.
    aggregate: Expressions,
    /// Keep only groups for which this is true: a condition in SQL over the columns of `by` and the new ones.
    #[schemars(length(min = 1))]
    having: Option<String>,
}

register_kind! {
    Aggregate, "features.aggregate", version: 1,
    example: "- features.aggregate: {by: customer, aggregate: {spent: sum(amount), payments: count()}, having: payments > 3}",
}

impl Aggregate {
    /// The groups, which never reach over the parts of a split.
    fn groups(&self, input: &Schema) -> Vec<String> {
        let mut by = self.by.as_ref().map(Names::to_vec).unwrap_or_default();
        if input.column(PARTITION).is_some() && by.iter().all(|name| name != PARTITION) {
            by.push(PARTITION.to_owned());
        }
        by
    }
}

impl Stage for Aggregate {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let found = rolling::check_groups(self.by.as_ref(), input, cx);
        let by = self
            .groups(input)
            .into_iter()
            .filter(|name| found.contains(name) || name == PARTITION)
            .collect::<Vec<_>>();
        let keys = Schema::new(
            by.iter()
                .filter_map(|name| input.column(name).cloned())
                .collect(),
        );
        let mut incomplete = found.len() < self.by.iter().flat_map(Names::iter).count();
        let root = path!["aggregate"];
        let mut aggregates = Vec::new();
        let checked = self.aggregate.checked(&root, cx);
        incomplete |= checked.len() < self.aggregate.iter().count();
        for (name, text) in checked {
            let key = root.join(ParamStep::KeyOf(name.to_owned()));
            let is_free = columns::is_free(&keys, name, key, cx);
            match columns::aggregate_expression(&text, input, &root.join(name), cx) {
                Some(compiled) if is_free => {
                    aggregates.push((name.to_owned(), compiled.expression))
                }
                Some(_) => {}
                None => incomplete = true,
            }
        }
        let mut output = output_schema(&[Operation::Aggregate { by, aggregates }], inputs);
        output.incomplete |= incomplete;
        if let Some(having) = &self.having {
            let before = cx.problems.len();
            let path = path!["having"];
            if let Some(condition) = columns::row_expression(having, &output, &path, cx)
                && condition.dtype != DataType::Boolean
            {
                let found = type_name(&condition.dtype);
                let message = format!(
                    "stage `{}` needs a condition, but this is {found}",
                    cx.stage
                );
                cx.report(
                    Problem::error("type-mismatch", path, message)
                        .label("true or false for each group is needed")
                        .help("compare it with something: `payments > 3`"),
                );
            }
            for problem in &mut cx.problems[before..] {
                if problem.code == "aggregate-not-allowed" {
                    problem.help = vec![
                        "give it a name under `aggregate`, and write the name here".to_owned(),
                    ];
                }
            }
        }
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Aggregate {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let mut aggregates = Vec::new();
        for (name, text) in self.aggregate.iter() {
            let compiled = columns::lowered(&text, sql::compile_aggregate(&text, input))?;
            aggregates.push((name.to_owned(), compiled.expression));
        }
        let by = self.groups(input);
        let mut operations = vec![Operation::Aggregate { by, aggregates }];
        if let Some(having) = &self.having {
            let output = output_schema(&operations, inputs);
            let condition = columns::lowered(having, sql::compile(having, &output))?;
            operations.push(Operation::Filter(condition.expression));
        }
        Ok(operations)
    }
}

#[cfg(test)]
mod tests {
    use polars::{
        df,
        prelude::{DataFrame, DataType},
    };
    use taktline_core::Role;

    use super::*;
    use crate::{
        columns::testing::{check, codes, passes, schema, stage, types},
        testing::applied,
    };

    fn payments() -> DataFrame {
        df!(
            "card" => [Some("ö"), Some("a"), None, Some("ö"), None],
            "amount" => [Some(3.0), Some(f64::NAN), Some(2.0), None, Some(4.0)],
            "late" => [true, false, true, true, false],
        )
        .expect("a frame")
    }

    fn of(params: &str, rows: &DataFrame) -> DataFrame {
        applied(&stage::<Aggregate>(params), std::slice::from_ref(rows)).expect(params)
    }

    #[test]
    fn groups_become_rows_in_order_of_appearance() {
        let found = of(
            "{by: card, aggregate: {spent: sum(amount), rows: count(), late: count_if(late), known: \"quantile(amount, 0.5)\"}}",
            &payments(),
        );
        let expected = df!(
            "card" => [Some("ö"), Some("a"), None],
            "spent" => [3.0, f64::NAN, 6.0],
            "rows" => [2_i64, 1, 2],
            "late" => [2_i64, 0, 1],
            "known" => [3.0, f64::NAN, 3.0],
        )
        .expect("a frame");
        assert!(found.equals_missing(&expected), "{found}");
    }

    #[test]
    fn having_sees_the_new_columns() {
        let params = "{by: card, aggregate: {spent: sum(amount), rows: count()}, having: rows > 1 and card is not null}";
        let found = of(params, &payments());
        assert_eq!(found.height(), 1);
        // A condition that is null is not true.
        let found = of(
            "{by: card, aggregate: {most: max(amount)}, having: card = 'ö'}",
            &payments(),
        );
        assert_eq!(found.height(), 1);
    }

    #[test]
    fn all_rows_are_one_group_even_if_there_are_none() {
        for (rows, expected) in [
            (payments(), 5_i64),
            (payments().slice(0, 0), 0),
            (payments().slice(1, 1), 1),
        ] {
            let found = of(
                "{aggregate: {rows: count(), spent: sum(amount), most: max(amount)}}",
                &rows,
            );
            assert_eq!(found.height(), 1);
            assert_eq!(
                found
                    .column("rows")
                    .expect("rows")
                    .i64()
                    .expect("integers")
                    .get(0),
                Some(expected)
            );
        }
        assert_eq!(
            of(
                "{by: card, aggregate: {rows: count()}}",
                &payments().slice(0, 0)
            )
            .height(),
            0
        );
    }

    #[test]
    fn parts_stay_apart() {
        let mut input = schema([
            ("card", DataType::String),
            ("amount", DataType::Float64),
            (PARTITION, DataType::String),
        ]);
        input.columns[2].role = Role::Internal;
        let stage: Aggregate = stage("{by: card, aggregate: {spent: sum(amount)}}");
        let output = passes(&stage, &input);
        assert_eq!(
            types(&output),
            [
                ("card", DataType::String),
                (PARTITION, DataType::String),
                ("spent", DataType::Float64)
            ]
        );
        assert_eq!(output.columns[1].role, Role::Internal);
        assert_eq!(
            output_schema(
                &stage
                    .lower(std::slice::from_ref(&input))
                    .expect("operations"),
                &[input]
            ),
            output
        );
    }

    #[test]
    fn roles_and_lineage_go_on() {
        let mut input = schema([("card", DataType::String), ("fraud", DataType::Boolean)]);
        input.columns[0] = input.columns[0].clone().with_role(Role::Pii);
        input.columns[1] = input.columns[1].clone().with_role(Role::Target);
        let output = passes(
            &stage::<Aggregate>("{by: card, aggregate: {frauds: count_if(fraud)}}"),
            &input,
        );
        assert_eq!(output.columns[0].role, Role::Pii);
        assert!(output.columns[1].from_target.contains("fraud"));
    }

    #[test]
    fn reports_every_problem() {
        let input = schema([("card", DataType::String), ("amount", DataType::Float64)]);
        let (_, problems) = check(
            &stage::<Aggregate>(
                "{by: [cad, amount], aggregate: {amount: count(), a: amount, b: sum(amout), c: round(sum(amount), 2), partition: count()}, having: sum(amount) > 1}",
            ),
            &input,
        );
        let found: Vec<_> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(
            found,
            [
                "unknown-column",
                "type-mismatch",
                "cut-expression",
                "name-taken",
                "bad-expression",
                "unknown-column",
                "reserved-name",
                "aggregate-not-allowed"
            ]
        );
        assert_eq!(
            problems[7].help,
            ["give it a name under `aggregate`, and write the name here"]
        );
        assert_eq!(
            codes(
                &stage::<Aggregate>("{aggregate: {n: count()}, having: n + 1}"),
                &input
            ),
            ["type-mismatch"]
        );
    }
}
