//! `features.one_hot`.

use std::collections::BTreeSet;

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, Estimator, Expression, FitContext, Frame, Operation, Result,
    Schema, Shape, Stage, State, UnaryOperator, output_schema, register_kind,
};

use super::categories::{self, Vocabulary};
use crate::columns::{self, Names};

const VERSION: u32 = 1;

/// Give each category of a column a column of its own: 1 where a row has it, 0 where not.
///
/// The categories are those of the training rows; `channel` becomes `channel=web`, `channel=shop`, … in its place. Null
/// stays null in all of them: fill it first, with `clean.fill_null`, where it should count as a category.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneHot {
    /// The category columns: text, whole numbers, true or false.
    columns: Names,
    /// What becomes of a value that no training row has.
    #[serde(default)]
    unknown: Unknown,
    /// The most categories that get a column. With `unknown: error` more are an error; else the most frequent ones stay, and
    /// the rest count as unknown: with `other` in one more column.
    #[serde(default = "max_categories")]
    #[schemars(range(min = 1, max = 10_000))]
    max_categories: usize,
}

fn max_categories() -> usize {
    100
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Unknown {
    /// It fails the run, naming column, value and row.
    #[default]
    Error,
    /// It counts in a column of its own, `channel=other`.
    Other,
    /// It is 0 in all columns.
    Ignore,
}

/// The category that unknown values count as; a value that says so itself counts there too.
const OTHER: &str = "other";

register_kind! {
    OneHot, "features.one_hot", version: 1,
    example: "- features.one_hot: {columns: [channel], unknown: other, max_categories: 20}",
}

impl OneHot {
    /// The categories, where the source told them before training.
    fn told(&self, column: &Column) -> Option<Vocabulary> {
        let categories = column
            .categories
            .clone()
            .filter(|known| known.len() <= self.max_categories)?;
        Some(Vocabulary {
            column: column.name.clone(),
            categories: self.without_other(categories),
        })
    }

    fn without_other(&self, mut categories: Vec<String>) -> Vec<String> {
        if self.unknown == Unknown::Other {
            categories.retain(|category| category != OTHER);
        }
        categories
    }

    fn learned(&self, train: &Frame, name: &str) -> Result<Vocabulary> {
        if let Some(told) = train
            .schema
            .column(name)
            .and_then(|column| self.told(column))
        {
            return Ok(told);
        }
        let counted = categories::counted(&train.data, name)?;
        let limit = self.max_categories;
        if self.unknown == Unknown::Error && counted.len() > limit {
            return Err(Error::data(format!(
                "`{name}` has {} categories in the training rows, more than `max_categories: {limit}`; raise it, or let `unknown: other` take the rare ones",
                counted.len()
            )));
        }
        let counted = counted
            .into_iter()
            .filter(|(name, _)| self.unknown != Unknown::Other || name != OTHER)
            .collect();
        Ok(Vocabulary {
            column: name.to_owned(),
            categories: categories::most_frequent(counted, limit),
        })
    }

    /// The columns that stand in the place of a category column.
    fn indicators(
        &self,
        column: &Column,
        vocabulary: &Vocabulary,
    ) -> Result<Vec<(String, Expression)>> {
        let mut made = vocabulary
            .categories
            .iter()
            .map(|category| {
                Ok((
                    name(&column.name, category),
                    indicator(categories::is_category(column, category)?),
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        if self.unknown == Unknown::Other {
            let list = vocabulary
                .categories
                .iter()
                .map(|category| categories::constant(column, category))
                .collect::<Result<Vec<_>>>()?;
            let operand = Box::new(categories::operand(column));
            let is_other = match list.is_empty() {
                true => operand.unary(UnaryOperator::IsNotNull),
                false => Expression::In {
                    operand,
                    list,
                    negated: true,
                },
            };
            made.push((name(&column.name, OTHER), indicator(is_other)));
        }
        Ok(made)
    }

    /// Before training, one column stands for all that the data will bring.
    fn expected(&self, column: &Column) -> Vec<(String, Expression)> {
        let told = self
            .told(column)
            .and_then(|vocabulary| self.indicators(column, &vocabulary).ok());
        told.unwrap_or_else(|| {
            let is_present = Expression::column(&column.name).unary(UnaryOperator::IsNotNull);
            vec![(name(&column.name, "*"), indicator(is_present))]
        })
    }
}

fn name(column: &str, category: &str) -> String {
    format!("{column}={category}")
}

fn indicator(condition: Expression) -> Expression {
    condition.cast(DataType::UInt8)
}

/// All columns, with those that `replace` answers for in the place of the column they are made of.
fn project(
    input: &Schema,
    mut replace: impl FnMut(&Column) -> Result<Option<Vec<(String, Expression)>>>,
) -> Result<Operation> {
    let mut columns = Vec::with_capacity(input.columns.len());
    for column in &input.columns {
        match replace(column)? {
            Some(made) => columns.extend(made),
            None => columns.push((column.name.clone(), Expression::column(&column.name))),
        }
    }
    let mut taken = BTreeSet::new();
    match columns.iter().find(|(name, _)| !taken.insert(name)) {
        Some((name, _)) => Err(Error::data(format!(
            "two columns would have the name `{name}`; rename one above"
        ))),
        None => Ok(Operation::Project(columns)),
    }
}

impl Stage for OneHot {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let mut replaced = BTreeSet::new();
        for (path, column) in categories::check(&self.columns, input, cx) {
            for (name, _) in self.expected(column) {
                columns::is_free(input, &name, path.clone(), cx);
            }
            replaced.insert(column.name.as_str());
        }
        let operation = project(input, |column| {
            Ok(replaced
                .contains(column.name.as_str())
                .then(|| self.expected(column)))
        });
        match operation {
            Ok(operation) => output_schema(&[operation], inputs),
            // A name is taken, which was reported.
            Err(_) => Schema {
                incomplete: true,
                ..input.clone()
            },
        }
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for OneHot {
    fn fit_reads(&self, _: &Schema) -> BTreeSet<String> {
        self.columns.iter().map(str::to_owned).collect()
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let mut vocabularies = Vec::new();
        for name in self.columns.iter() {
            cx.cancellation.check()?;
            vocabularies.push(self.learned(train, name)?);
        }
        State::from_data(VERSION, &vocabularies)
    }

    fn seen(&self, state: &State) -> Result<Vec<(String, Vec<String>)>> {
        categories::seen(self.unknown == Unknown::Error, || state.data(VERSION))
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let vocabularies = categories::present(state.data(VERSION)?, input);
        let mut operations = Vec::new();
        if self.unknown == Unknown::Error {
            operations.push(categories::refuse_unseen(&vocabularies, input));
        }
        operations.push(project(input, |column| {
            vocabularies
                .iter()
                .find(|vocabulary| vocabulary.column == column.name)
                .map(|vocabulary| self.indicators(column, vocabulary))
                .transpose()
        })?);
        Ok(operations)
    }
}

#[cfg(test)]
mod tests {
    use polars::df;
    use taktline_core::Role;

    use super::*;
    use crate::columns::testing::{codes, frame, passes, schema, stage, types};

    fn train() -> Frame {
        frame(
            df!("channel" => [Some("web"), Some("shop"), None, Some("web"), Some("phone")], "amount" => [1.0, 2.0, 3.0, 4.0, 5.0])
                .expect("a frame"),
        )
    }

    fn learn(params: &str, train: &Frame) -> Result<(Vec<Vocabulary>, Vec<Operation>)> {
        let stage: OneHot = stage(params);
        let state = stage.fit(train, &mut FitContext::quiet(7))?;
        let operations = stage.lower(&state, std::slice::from_ref(&train.schema))?;
        Ok((state.data(VERSION)?, operations))
    }

    fn projected(operations: &[Operation]) -> Vec<&str> {
        let Some(Operation::Project(columns)) = operations.last() else {
            panic!("{operations:?}")
        };
        columns.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn categories_become_columns_in_the_place_of_theirs() {
        let (learned, operations) =
            learn("{columns: channel}", &train()).expect("what was learned");
        assert_eq!(learned[0].categories, ["phone", "shop", "web"]);
        assert_eq!(
            projected(&operations),
            ["channel=phone", "channel=shop", "channel=web", "amount"]
        );
        assert!(matches!(operations[0], Operation::Local(_)));
        let output = output_schema(&operations, &[train().schema]);
        assert_eq!(output.columns[0].dtype, DataType::UInt8);
        assert_eq!(output.columns[0].role, Role::Feature);
    }

    #[test]
    fn unknown_values_have_their_own_column_or_none() {
        let (_, operations) = learn(
            "{columns: channel, unknown: other, max_categories: 1}",
            &train(),
        )
        .expect("learned");
        assert_eq!(
            projected(&operations),
            ["channel=web", "channel=other", "amount"]
        );
        assert_eq!(operations.len(), 1);
        let (_, operations) =
            learn("{columns: channel, unknown: ignore}", &train()).expect("learned");
        assert_eq!(
            projected(&operations),
            ["channel=phone", "channel=shop", "channel=web", "amount"]
        );
        let others = frame(df!("channel" => ["other", "web"]).expect("a frame"));
        let (_, operations) =
            learn("{columns: channel, unknown: other}", &others).expect("learned");
        assert_eq!(projected(&operations), ["channel=web", "channel=other"]);
    }

    #[test]
    fn too_many_categories_are_an_error_unless_something_takes_them() {
        let error = learn("{columns: channel, max_categories: 2}", &train())
            .expect_err("three categories")
            .to_string();
        assert!(
            error.starts_with(
                "`channel` has 3 categories in the training rows, more than `max_categories: 2`"
            ),
            "{error}"
        );
    }

    #[test]
    fn before_training_one_column_stands_for_all() {
        let mut input = schema([("card", DataType::String), ("amount", DataType::Float64)]);
        input.columns[0] = input.columns[0].clone().with_role(Role::Pii);
        let output = passes(&stage::<OneHot>("{columns: card}"), &input);
        assert_eq!(
            types(&output),
            [("card=*", DataType::UInt8), ("amount", DataType::Float64)]
        );
        // Personal data stays known as such, whatever the columns will be called.
        assert!(output.columns[0].from_pii.contains("card"));
        assert!(output.column("card=1234").is_some());
    }

    #[test]
    fn what_the_source_tells_is_known_before_training() {
        let mut input = schema([("grade", DataType::String)]);
        input.columns[0] = input.columns[0]
            .clone()
            .with_categories(vec!["low".into(), "high".into()]);
        let output = passes(&stage::<OneHot>("{columns: grade}"), &input);
        assert_eq!(
            output.names().collect::<Vec<_>>(),
            ["grade=low", "grade=high"]
        );
        let train = Frame {
            data: df!("grade" => ["low", "low"]).expect("a frame"),
            schema: input,
        };
        let (learned, operations) = learn("{columns: grade}", &train).expect("learned");
        assert_eq!(learned[0].categories, ["low", "high"]);
        assert_eq!(output_schema(&operations, &[train.schema]), output);
    }

    #[test]
    fn refuses_what_holds_no_categories() {
        let input = schema([
            ("amount", DataType::Float64),
            ("kind", DataType::String),
            ("kind=*", DataType::UInt8),
        ]);
        assert_eq!(
            codes(
                &stage::<OneHot>("{columns: [amount, chanel, kind]}"),
                &input
            ),
            ["unknown-column", "type-mismatch", "name-taken"]
        );
    }
}
