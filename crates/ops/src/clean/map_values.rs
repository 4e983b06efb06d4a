//! `clean.map_values`.

use std::sync::Arc;

use indexmap::IndexMap;
use polars::{
    lazy::dsl::apply_multiple,
    prelude::{Column as PolarsColumn, DataType, Expr, PolarsResult, polars_bail},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    BinaryOperator, CheckContext, Column, Error, Expression, Literal, Local, Operation, ParamPath,
    ParamStep, Problem, Relational, Result, Schema, Shape, Stage, UnaryOperator, output_schema,
    path, register_kind, type_name,
};

use super::groups::report_unused;
use crate::columns::{self, Scalar};

/// Replace whole values by others, from a table.
///
/// The keys of a table are values of its column: text, whole and real numbers, `true` and `false`, dates and datetimes as
/// text. The column becomes what the new values are: text, i64, f64 or bool; with `unknown: keep` it keeps its type, and
/// the new values must be of that type. Null stays null. A table of more than 200 values belongs into a file to join with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MapValues {
    /// For each column, old value to new value: `{channel: {web: online, app: online, shop: store}}`. `null` is a new value
    /// too.
    #[schemars(extend("minProperties" = 1))]
    columns: IndexMap<String, Table>,
    /// What becomes of values that are in no table, where `default` does not say it.
    #[serde(default)]
    unknown: Unknown,
    /// The new value of all values that are in no table.
    default: Option<Scalar>,
}

type Table = IndexMap<String, Option<Scalar>>;

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Unknown {
    /// The run fails, and says which value it was.
    #[default]
    Error,
    /// They stay.
    Keep,
    /// They become null.
    Null,
}

register_kind! {
    MapValues, "clean.map_values", version: 1,
    example: "- clean.map_values: {columns: {channel: {web: online, app: online, shop: store}}, default: other}",
}

const LONGEST: usize = 200;

/// No name that a spec can write.
fn known_name(column: &str) -> String {
    format!("\u{1}known-{column}")
}

/// A table whose values fit its column.
struct Mapping {
    column: String,
    pairs: Vec<(Literal, Expression)>,
    otherwise: Expression,
    /// The type after it.
    to: DataType,
}

impl Mapping {
    fn expression(&self) -> Expression {
        let value = || Expression::column(&self.column);
        let is =
            |old: &Literal| value().binary(BinaryOperator::Equal, Expression::Literal(old.clone()));
        let null = (
            value().unary(UnaryOperator::IsNull),
            Expression::Literal(Literal::Null),
        );
        let branches = self.pairs.iter().map(|(old, new)| (is(old), new.clone()));
        Expression::Case {
            branches: std::iter::once(null).chain(branches).collect(),
            otherwise: Box::new(self.otherwise.clone()),
        }
        .cast(self.to.clone())
    }

    /// Whether the value is null or in the table.
    fn is_known(&self) -> Expression {
        let value = Expression::column(&self.column);
        let list = self.pairs.iter().map(|(old, _)| old.clone()).collect();
        let found = Expression::In {
            operand: Box::new(value.clone()),
            list,
            negated: false,
        };
        value
            .unary(UnaryOperator::IsNull)
            .binary(BinaryOperator::Or, found)
    }
}

/// The value that a key stands for.
fn key(text: &str, dtype: &DataType) -> Result<Literal, String> {
    let scalar = match dtype {
        DataType::Boolean => text.parse().map(Scalar::Bool).ok(),
        dtype if dtype.is_integer() => text.parse().map(Scalar::Int).ok(),
        dtype if dtype.is_float() => text.parse().map(Scalar::Float).ok(),
        _ => None,
    };
    scalar
        .unwrap_or_else(|| Scalar::Text(text.to_owned()))
        .literal(dtype)
}

/// The type that new values have together; none for nulls alone.
///
/// # Errors
/// The first value that does not go with those before, and their type.
fn common_type<'v>(
    values: impl Iterator<Item = &'v Scalar>,
) -> Result<Option<DataType>, (&'v Scalar, DataType)> {
    let mut common: Option<DataType> = None;
    for value in values {
        let dtype = match value {
            Scalar::Bool(_) => DataType::Boolean,
            Scalar::Int(_) => DataType::Int64,
            Scalar::Float(_) => DataType::Float64,
            Scalar::Text(_) => DataType::String,
        };
        common = Some(match common {
            None => dtype,
            Some(before) if before == dtype => before,
            Some(DataType::Int64 | DataType::Float64) if dtype.is_primitive_numeric() => {
                DataType::Float64
            }
            Some(before) => return Err((value, before)),
        });
    }
    Ok(common)
}

/// A problem of a table, and where.
type Misfit = (ParamPath, String, &'static str);

impl MapValues {
    fn new_type(&self, column: &Column, table: &Table) -> Result<DataType, Misfit> {
        if self.default.is_none() && self.unknown == Unknown::Keep {
            return Ok(column.dtype.clone());
        }
        let values = table.values().flatten().chain(&self.default);
        match common_type(values) {
            Ok(Some(dtype)) => Ok(dtype),
            Ok(None) => Ok(column.dtype.clone()),
            Err((value, before)) => Err((
                self.place_of(&column.name, table, value),
                format!(
                    "`{value}` is not {} like the values before",
                    type_name(&before)
                ),
                "of another type",
            )),
        }
    }

    fn place_of(&self, column: &str, table: &Table, value: &Scalar) -> ParamPath {
        match table.iter().find(|(_, new)| new.as_ref() == Some(value)) {
            Some((old, _)) => path!["columns", column, old],
            None => path!["default"],
        }
    }

    /// The table of a column, or everything that is wrong with it.
    fn mapping(&self, column: &Column, table: &Table) -> Result<Mapping, Vec<Misfit>> {
        let to = self
            .new_type(column, table)
            .map_err(|misfit| vec![misfit])?;
        let mut wrong = Vec::new();
        let mut pairs: Vec<(Literal, Expression)> = Vec::new();
        for (old, new) in table {
            let at_key = path!["columns", &column.name, ParamStep::KeyOf(old.clone())];
            let old_value = key(old, &column.dtype);
            match &old_value {
                Err(reason) => wrong.push((at_key, reason.clone(), "no value of the column")),
                Ok(value) if pairs.iter().any(|(known, _)| known == value) => {
                    wrong.push((
                        at_key,
                        format!("`{old}` is in the table twice"),
                        "named before",
                    ));
                }
                Ok(_) => {}
            }
            let new = match new {
                None => Ok(Literal::Null),
                Some(new) => new.literal(&to),
            };
            match (old_value, new) {
                (Ok(old), Ok(new)) => pairs.push((old, Expression::Literal(new))),
                (_, Err(reason)) => {
                    let path = path!["columns", &column.name, old];
                    wrong.push((path, reason, "does not fit the others"));
                }
                (Err(_), Ok(_)) => {}
            }
        }
        let otherwise = match (&self.default, self.unknown) {
            (Some(default), _) => match default.literal(&to) {
                Ok(literal) => Expression::Literal(literal),
                Err(reason) => {
                    wrong.push((path!["default"], reason, "does not fit the others"));
                    Expression::Literal(Literal::Null)
                }
            },
            (None, Unknown::Keep) => Expression::column(&column.name),
            (None, Unknown::Null | Unknown::Error) => Expression::Literal(Literal::Null),
        };
        if wrong.is_empty() {
            Ok(Mapping {
                column: column.name.clone(),
                pairs,
                otherwise,
                to,
            })
        } else {
            Err(wrong)
        }
    }

    fn operations(&self, mappings: &[Mapping], input: &Schema) -> Vec<Operation> {
        let mapped = mappings
            .iter()
            .map(|mapping| (mapping.column.clone(), mapping.expression()));
        let map = Operation::With(mapped.collect());
        if self.default.is_some() || self.unknown != Unknown::Error || mappings.is_empty() {
            return vec![map];
        }
        let known = mappings
            .iter()
            .map(|mapping| (known_name(&mapping.column), mapping.is_known()));
        let marked = Operation::With(known.collect());
        let names: Vec<String> = mappings
            .iter()
            .map(|mapping| mapping.column.clone())
            .collect();
        let schema = output_schema(std::slice::from_ref(&marked), std::slice::from_ref(input));
        let only = input
            .names()
            .map(|name| (name.to_owned(), Expression::column(name)));
        vec![
            marked,
            refuse_unknown(names, schema),
            map,
            Operation::Project(only.collect()),
        ]
    }
}

/// Fails on a row whose value is in no table, and names both. Not relational: no expression fails with a row's number.
fn refuse_unknown(names: Vec<String>, schema: Schema) -> Operation {
    let reads = names
        .iter()
        .flat_map(|name| [name.clone(), known_name(name)])
        .collect();
    Operation::Local(Local {
        name: "refuse values that are in no table",
        reads,
        keeps_rows: true,
        schema,
        apply: Arc::new(move |frame| {
            let exactly = |name: &str| Expr::Column(name.into());
            let checked: Vec<Expr> = names
                .iter()
                .map(|name| {
                    // It sees the whole column, so that the row number is the frame's.
                    apply_multiple(
                        |columns: &mut [PolarsColumn]| {
                            all_known(&columns[0], &columns[1])?;
                            Ok(columns[0].clone())
                        },
                        [exactly(name), exactly(&known_name(name))],
                        |_, fields| Ok(fields[0].clone()),
                        false,
                    )
                })
                .collect();
            Ok(frame.with_columns(checked))
        }),
    })
}

fn all_known(values: &PolarsColumn, known: &PolarsColumn) -> PolarsResult<()> {
    let unknown = known.bool()?.iter().position(|known| known == Some(false));
    if let Some(row) = unknown {
        let value = values.slice(row as i64, 1).cast(&DataType::String)?;
        polars_bail!(
            ComputeError: "`{}` holds `{}` in row {}, which is in no table; `unknown` and `default` say what else to do with it",
            values.name(), value.str()?.get(0).unwrap_or_default(), row + 1
        );
    }
    Ok(())
}

/// Whether values of the type can be written as keys.
fn is_writable(dtype: &DataType) -> bool {
    matches!(
        dtype,
        DataType::Boolean | DataType::String | DataType::Date | DataType::Datetime(_, None)
    ) || dtype.is_primitive_numeric()
}

impl Stage for MapValues {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        if self.default.is_some() && self.unknown != Unknown::Error {
            report_unused("unknown", "`default` says it already", cx);
        }
        let mut mappings = Vec::new();
        for (name, table) in &self.columns {
            let at_key = path!["columns", ParamStep::KeyOf(name.clone())];
            if !columns::is_allowed(name, at_key.clone(), cx) {
                continue;
            }
            let Some(column) = columns::find(input, name, at_key.clone(), cx) else {
                continue;
            };
            if !is_writable(&column.dtype) {
                let needs = "text, numbers, truth values, dates or datetimes without a zone";
                columns::report_type(column, needs, at_key, cx);
                continue;
            }
            if table.is_empty() || table.len() > LONGEST {
                let (message, help) = if table.is_empty() {
                    (
                        "an empty table",
                        "write old and new values: `{web: online}`",
                    )
                } else {
                    (
                        "a table of more than 200 values",
                        "put it into a file and join with that",
                    )
                };
                let message = format!("stage `{}` has {message} for `{name}`", cx.stage);
                cx.report(Problem::error("bad-value", path!["columns", name], message).help(help));
                continue;
            }
            match self.mapping(column, table) {
                Ok(mapping) => mappings.push(mapping),
                Err(wrong) => {
                    for (path, reason, label) in wrong {
                        let message = format!(
                            "stage `{}` cannot map the values of `{name}`: {reason}",
                            cx.stage
                        );
                        cx.report(Problem::error("type-mismatch", path, message).label(label));
                    }
                }
            }
        }
        output_schema(&self.operations(&mappings, input), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for MapValues {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let mappings = self
            .columns
            .iter()
            // Scoring brings only the columns that the model needs.
            .filter_map(|(name, table)| Some((input.column(name)?, table)))
            .map(|(column, table)| {
                self.mapping(column, table).map_err(|wrong| {
                    let reasons: Vec<String> =
                        wrong.into_iter().map(|(_, reason, _)| reason).collect();
                    Error::data(reasons.join("; "))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(self.operations(&mappings, input))
    }
}

#[cfg(test)]
mod tests;
