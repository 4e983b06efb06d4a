//! `features.pivot`.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    Aggregate, CheckContext, Column, Error, Estimator, Expression, FitContext, Frame, Function,
    Label, Literal, Operation, PARTITION, ParamStep, Problem, Relational, Result, Schema, Shape,
    Stage, State, UnaryOperator, output_schema, path, register_kind, sql,
};

use super::{
    categories::{self, Vocabulary},
    expressions::Expressions,
    rolling,
};
use crate::columns::{self, Names};

const VERSION: u32 = 1;

/// Turn long tables wide: one row of each group, and a column for each value of another column.
///
/// With `{by: customer, column: channel, values: [web, shop], aggregate: {spent: sum(amount)}}` every customer becomes a row
/// with the columns `spent=web` and `spent=shop`: the aggregate of the group's rows that hold the value. Where a group has no
/// such row, counts and sums are 0 and other aggregates null. Groups come in the order in which they first appear; null is a
/// group like any other. Below a split, rows of different parts are never put together.
///
/// Without `values` they are those of the training rows, numbers by size and text by letters; the stage then learns, and stands
/// below the split. For a cell that one row fills, use `any_value(amount)`: `first` and `last` do not look at the value and are
/// refused.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pivot {
    /// The columns that name a row of the wide table: `customer`; default: all rows become one.
    by: Option<Names>,
    /// The column whose values become columns: text, whole numbers, true or false.
    column: String,
    /// The values, in the order of the new columns; default: those of the training rows.
    #[schemars(length(min = 1, max = 1000))]
    values: Option<Vec<Label>>,
    /// What fills the cells, each an aggregate in SQL: `{spent: sum(amount), payments: count()}`.
    aggregate: Expressions,
    /// What becomes of rows that hold another value.
    #[serde(default)]
    unknown: Unknown,
    /// More values than this in the training rows are an error: they are then hardly columns.
    #[serde(default = "max_values")]
    #[schemars(range(min = 1, max = 1000))]
    max_values: usize,
}

fn max_values() -> usize {
    100
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Unknown {
    /// One fails the run, naming value and row; null is none.
    #[default]
    Error,
    /// They count in columns of their own, `spent=other`; null counts there too.
    Other,
    /// They fill no cell.
    Ignore,
}

/// What the columns of other values are named after.
const OTHER: &str = "other";

register_kind! {
    Pivot, "features.pivot", version: 1,
    example: "- features.pivot: {by: customer, column: channel, values: [web, shop], aggregate: {spent: sum(amount), payments: count()}}",
}

/// The aggregate over the rows alone for which the condition holds; none where it cannot be limited to them.
fn limited(aggregate: &Expression, condition: &Expression) -> Option<Expression> {
    let inner = |part: &Expression| limited(part, condition).map(Box::new);
    let kept = |value: Expression| {
        Box::new(Expression::Case {
            branches: vec![(condition.clone(), value)],
            otherwise: Box::new(Expression::Literal(Literal::Null)),
        })
    };
    Some(match aggregate {
        Expression::Aggregate(Aggregate::First | Aggregate::Last, _) => return None,
        Expression::Aggregate(aggregate, argument) => {
            let value = argument
                .as_deref()
                .cloned()
                .unwrap_or_else(|| Expression::int(1));
            Expression::Aggregate(*aggregate, Some(kept(value)))
        }
        Expression::AggregatePair(aggregate, left, right) => {
            Expression::AggregatePair(*aggregate, kept((**left).clone()), right.clone())
        }
        Expression::Column(_) | Expression::Literal(_) => aggregate.clone(),
        Expression::Unary(operator, operand) => Expression::Unary(*operator, inner(operand)?),
        Expression::Binary(operator, left, right) => {
            Expression::Binary(*operator, inner(left)?, inner(right)?)
        }
        Expression::Call(function, arguments) => Expression::Call(
            *function,
            arguments
                .iter()
                .map(|argument| limited(argument, condition))
                .collect::<Option<_>>()?,
        ),
        Expression::Case {
            branches,
            otherwise,
        } => Expression::Case {
            branches: branches
                .iter()
                .map(|(when, value)| Some((limited(when, condition)?, limited(value, condition)?)))
                .collect::<Option<_>>()?,
            otherwise: inner(otherwise)?,
        },
        Expression::Cast {
            operand,
            to,
            strict,
        } => Expression::Cast {
            operand: inner(operand)?,
            to: to.clone(),
            strict: *strict,
        },
        Expression::In {
            operand,
            list,
            negated,
        } => Expression::In {
            operand: inner(operand)?,
            list: list.clone(),
            negated: *negated,
        },
        Expression::ScaleArray {
            operand,
            factor,
            offset,
        } => Expression::ScaleArray {
            operand: inner(operand)?,
            factor: *factor,
            offset: *offset,
        },
    })
}

impl Pivot {
    /// The groups, which never reach over the parts of a split.
    fn groups(&self, input: &Schema) -> Vec<String> {
        let mut by = self.by.as_ref().map(Names::to_vec).unwrap_or_default();
        if input.column(PARTITION).is_some() && by.iter().all(|name| name != PARTITION) {
            by.push(PARTITION.to_owned());
        }
        by
    }

    /// The values that are told; none where training tells them.
    fn told(&self) -> Option<Vec<String>> {
        let values = self.values.as_ref()?;
        Some(values.iter().map(|value| value.0.clone()).collect())
    }

    /// What the cells of one aggregate are named after, and which rows fill them.
    fn cells(&self, column: &Column, values: &[String]) -> Result<Vec<(String, Expression)>> {
        let mut cells = Vec::with_capacity(values.len() + 1);
        for value in values {
            cells.push((value.clone(), categories::is_category(column, value)?));
        }
        if self.unknown == Unknown::Other {
            let list = values
                .iter()
                .map(|value| categories::constant(column, value))
                .collect::<Result<Vec<_>>>()?;
            let is_known = Expression::In {
                operand: Box::new(categories::operand(column)),
                list,
                negated: false,
            };
            // A null is none of the values.
            let known = vec![is_known, Expression::Literal(Literal::Bool(false))];
            let is_other = Expression::call(Function::Coalesce, known).unary(UnaryOperator::Not);
            cells.push((OTHER.to_owned(), is_other));
        }
        Ok(cells)
    }

    /// Before training, one cell stands for all that the data will bring.
    fn expected_cells(&self, column: &Column) -> Vec<(String, Expression)> {
        let told = self
            .told()
            .and_then(|values| self.cells(column, &values).ok());
        told.unwrap_or_else(|| {
            let is_present = Expression::column(&column.name).unary(UnaryOperator::IsNotNull);
            vec![("*".to_owned(), is_present)]
        })
    }

    fn aggregated(
        by: Vec<String>,
        aggregates: &[(&str, Expression)],
        cells: &[(String, Expression)],
    ) -> Operation {
        let mut made = Vec::with_capacity(aggregates.len() * cells.len());
        for (name, aggregate) in aggregates {
            for (value, condition) in cells {
                if let Some(aggregate) = limited(aggregate, condition) {
                    made.push((format!("{name}={value}"), aggregate));
                }
            }
        }
        Operation::Aggregate {
            by,
            aggregates: made,
        }
    }

    fn operations(&self, values: Vec<String>, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let column = input
            .column(&self.column)
            .ok_or_else(|| Error::data(format!("there is no column `{}`", self.column)))?;
        let mut aggregates = Vec::new();
        for (name, text) in self.aggregate.iter() {
            let compiled = columns::lowered(&text, sql::compile_aggregate(&text, input))?;
            aggregates.push((name, compiled.expression));
        }
        let cells = self.cells(column, &values)?;
        let mut operations = Vec::new();
        if self.unknown == Unknown::Error {
            let vocabulary = Vocabulary {
                column: column.name.clone(),
                categories: values,
            };
            operations.push(categories::refuse_unseen(&[vocabulary], input));
        }
        operations.push(Self::aggregated(self.groups(input), &aggregates, &cells));
        Ok(operations)
    }

    /// The pivot column, where it holds values that can be named; else what is wrong is reported.
    fn check_column<'s>(&self, input: &'s Schema, cx: &mut CheckContext<'_>) -> Option<&'s Column> {
        let path = path!["column"];
        let column = columns::find(input, &self.column, path.clone(), cx)?;
        if !taktline_core::Classes::can_hold(&column.dtype) {
            columns::report_type(
                column,
                "categories (text, whole numbers, true or false)",
                path,
                cx,
            );
            return None;
        }
        let mut seen = BTreeSet::new();
        let mut fits = true;
        for (index, value) in self.values.iter().flatten().enumerate() {
            let place = path!["values", index];
            if !seen.insert(value.0.as_str()) {
                let message = format!("stage `{}` names the value `{value}` twice", cx.stage);
                cx.report(Problem::error("duplicate-name", place, message).label("named before"));
                fits = false;
            } else if self.unknown == Unknown::Other && value.0 == OTHER {
                let message = format!(
                    "stage `{}` would make two columns for `{OTHER}`: one of this value, one of all values that are not named",
                    cx.stage
                );
                cx.report(
                    Problem::error("name-taken", place, message)
                        .help("leave it out here, or choose another `unknown`"),
                );
                fits = false;
            } else if let Err(error) = categories::constant(column, &value.0) {
                let found = taktline_core::type_name(&column.dtype);
                cx.report(
                    Problem::error("type-mismatch", place, error.to_string())
                        .label(format!("`{}` is {found}", column.name)),
                );
                fits = false;
            }
        }
        fits.then_some(column)
    }
}

impl Stage for Pivot {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let found = rolling::check_groups(self.by.as_ref(), input, cx);
        let by: Vec<String> = self
            .groups(input)
            .into_iter()
            .filter(|name| found.contains(name) || name == PARTITION)
            .collect();
        let keys = Schema::new(
            by.iter()
                .filter_map(|name| input.column(name).cloned())
                .collect(),
        );
        let column = self.check_column(input, cx);
        let root = path!["aggregate"];
        let checked = self.aggregate.checked(&root, cx);
        let mut incomplete = checked.len() < self.aggregate.iter().count()
            || column.is_none()
            || by.len() < self.groups(input).len();
        let mut aggregates = Vec::new();
        let cells = column
            .map(|column| self.expected_cells(column))
            .unwrap_or_default();
        for (name, text) in checked {
            let key = root.join(ParamStep::KeyOf(name.to_owned()));
            let is_free = cells.iter().fold(true, |is_free, (value, _)| {
                let wanted = format!("{name}={value}");
                is_free && columns::is_free(&keys, &wanted, key.clone(), cx)
            });
            let Some(compiled) = columns::aggregate_expression(&text, input, &root.join(name), cx)
            else {
                incomplete = true;
                continue;
            };
            if limited(&compiled.expression, &Expression::int(0)).is_none() {
                cx.report(
                    Problem::error(
                        "aggregate-not-allowed",
                        root.join(name),
                        format!("stage `{}` cannot take the first or last row of each value", cx.stage),
                    )
                    .help("`any_value(value)` takes the first that is not null; `min` and `max` do not depend on the order"),
                );
                incomplete = true;
            } else if is_free {
                aggregates.push((name, compiled.expression));
            }
        }
        let mut output = output_schema(&[Self::aggregated(by, &aggregates, &cells)], inputs);
        output.incomplete |= incomplete;
        output
    }

    fn shape(&self) -> Shape<'_> {
        match self.values {
            Some(_) => Shape::Relational(self),
            None => Shape::Estimator(self),
        }
    }
}

impl Relational for Pivot {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        self.operations(self.told().unwrap_or_default(), inputs)
    }
}

impl Estimator for Pivot {
    fn fit_reads(&self, _: &Schema) -> BTreeSet<String> {
        BTreeSet::from([self.column.clone()])
    }

    fn fit(&self, train: &Frame, _: &mut FitContext<'_>) -> Result<State> {
        let mut values: Vec<String> = categories::counted(&train.data, &self.column)?
            .into_iter()
            .map(|(value, _)| value)
            .collect();
        if values.len() > self.max_values {
            return Err(Error::data(format!(
                "`{}` has {} values in the training rows, more than `max_values: {}`; name those that are wanted with `values`",
                self.column,
                values.len(),
                self.max_values
            )));
        }
        if self.unknown == Unknown::Other {
            values.retain(|value| value != OTHER);
        }
        State::from_data(VERSION, &values)
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        self.operations(state.data(VERSION)?, inputs)
    }

    fn keeps_rows(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
