//! `features.ordinal`.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, Estimator, Expression, FitContext, Frame, Label, Literal,
    Operation, ParamStep, Problem, Result, Schema, Shape, Stage, State, UnaryOperator,
    did_you_mean, output_schema, path, register_kind,
};

use super::categories::{self, Vocabulary};
use crate::columns::{self, Names};

const VERSION: u32 = 1;

/// Number the categories of a column: 0, 1, 2 in order.
///
/// The categories are those of the training rows, numbers by size and text by letters, or those of `order`. Trees can learn
/// from such numbers; a linear model or a network takes them for amounts, so use `features.one_hot` there unless the order
/// means something. Null stays null.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ordinal {
    /// The category columns: text, whole numbers, true or false.
    columns: Names,
    /// The categories of a column from the least on, where their order means something: `{size: [small, medium, large]}`.
    #[serde(default)]
    order: IndexMap<String, Vec<Label>>,
    /// What becomes of a value that is no known category.
    #[serde(default)]
    unknown: Unknown,
    /// More categories than this in a column are an error: it is then hardly one of categories.
    #[serde(default = "max_categories")]
    #[schemars(range(min = 1, max = 10_000))]
    max_categories: usize,
}

fn max_categories() -> usize {
    1000
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Unknown {
    /// It fails the run, naming column, value and row.
    #[default]
    Error,
    /// It becomes -1.
    Other,
    /// It becomes null.
    Null,
}

register_kind! {
    Ordinal, "features.ordinal", version: 1,
    example: "- features.ordinal: {columns: [size], order: {size: [small, medium, large]}}",
}

impl Ordinal {
    fn declared(&self, column: &str) -> Option<Vec<String>> {
        Some(
            self.order
                .get(column)?
                .iter()
                .map(|label| label.0.clone())
                .collect(),
        )
    }

    fn learned(&self, train: &Frame, name: &str) -> Result<Vocabulary> {
        let told = || {
            train
                .schema
                .column(name)
                .and_then(|column| column.categories.clone())
        };
        let categories = match self.declared(name).or_else(told) {
            Some(known) => known,
            None => categories::counted(&train.data, name)?
                .into_iter()
                .map(|(category, _)| category)
                .collect(),
        };
        if categories.len() > self.max_categories {
            return Err(Error::data(format!(
                "`{name}` has {} categories, more than `max_categories: {}`; leave it out, or raise the limit",
                categories.len(),
                self.max_categories
            )));
        }
        Ok(Vocabulary {
            column: name.to_owned(),
            categories,
        })
    }

    fn code(&self, column: &Column, vocabulary: &Vocabulary) -> Result<Expression> {
        let null = || Expression::Literal(Literal::Null);
        let mut branches = vec![(
            categories::operand(column).unary(UnaryOperator::IsNull),
            null(),
        )];
        for (code, category) in (0_i64..).zip(&vocabulary.categories) {
            branches.push((
                categories::is_category(column, category)?,
                Expression::int(code),
            ));
        }
        let otherwise = Box::new(match self.unknown {
            Unknown::Other => Expression::int(-1),
            Unknown::Error | Unknown::Null => null(),
        });
        Ok(Expression::Case {
            branches,
            otherwise,
        })
    }

    fn codes(&self, input: &Schema, vocabularies: &[Vocabulary]) -> Result<Operation> {
        let codes = vocabularies
            .iter()
            .filter_map(|vocabulary| Some((input.column(&vocabulary.column)?, vocabulary)))
            .map(|(column, vocabulary)| Ok((column.name.clone(), self.code(column, vocabulary)?)))
            .collect::<Result<_>>()?;
        Ok(Operation::With(codes))
    }

    fn check_order(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        for (name, labels) in &self.order {
            if self.columns.iter().all(|column| column != name) {
                let message = format!(
                    "stage `{}` orders `{name}`, which is not among its columns",
                    cx.stage
                );
                cx.report(
                    Problem::error(
                        "unknown-column",
                        path!["order", ParamStep::KeyOf(name.clone())],
                        message,
                    )
                    .help_if(did_you_mean(name, self.columns.iter())),
                );
                continue;
            }
            let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
            for (index, label) in labels.iter().enumerate() {
                let place = path!["order", name, index];
                if seen.insert(&label.0, index).is_some() {
                    let message = format!(
                        "stage `{}` names the category `{label}` of `{name}` twice",
                        cx.stage
                    );
                    cx.report(
                        Problem::error("duplicate-name", place, message).label("named before"),
                    );
                } else if let Some(column) = input.column(name)
                    && let Err(error) = categories::constant(column, &label.0)
                {
                    let found = taktline_core::type_name(&column.dtype);
                    cx.report(
                        Problem::error("type-mismatch", place, error.to_string())
                            .label(format!("`{name}` is {found}")),
                    );
                }
            }
        }
    }
}

impl Stage for Ordinal {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        // The type does not depend on what will be learned.
        let vocabularies: Vec<Vocabulary> = categories::check(&self.columns, input, cx)
            .into_iter()
            .filter(|(path, column)| columns::is_allowed(&column.name, path.clone(), cx))
            .map(|(_, column)| Vocabulary {
                column: column.name.clone(),
                categories: Vec::new(),
            })
            .collect();
        self.check_order(input, cx);
        let expected = vocabularies
            .into_iter()
            .map(|vocabulary| {
                let code = Expression::Case {
                    branches: vec![(
                        Expression::column(&vocabulary.column).unary(UnaryOperator::IsNotNull),
                        Expression::int(0),
                    )],
                    otherwise: Box::new(Expression::Literal(Literal::Null)),
                };
                (vocabulary.column, code)
            })
            .collect();
        output_schema(&[Operation::With(expected)], inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for Ordinal {
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

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let vocabularies = categories::present(state.data(VERSION)?, input);
        let mut operations = Vec::new();
        if self.unknown == Unknown::Error {
            operations.push(categories::refuse_unseen(&vocabularies, input));
        }
        operations.push(self.codes(input, &vocabularies)?);
        Ok(operations)
    }
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::DataType};

    use super::*;
    use crate::columns::testing::{codes, frame, passes, refuses, schema, stage, types};

    fn learn(params: &str, train: &Frame) -> Result<(Vec<Vocabulary>, Vec<Operation>)> {
        let stage: Ordinal = stage(params);
        let state = stage.fit(train, &mut FitContext::quiet(7))?;
        let operations = stage.lower(&state, std::slice::from_ref(&train.schema))?;
        Ok((state.data(VERSION)?, operations))
    }

    #[test]
    fn numbers_the_categories_in_order() {
        let train = frame(
            df!("size" => ["small", "large", "medium"], "n" => [10_i64, 9, 100]).expect("a frame"),
        );
        let (learned, _) = learn("{columns: [size, n]}", &train).expect("learned");
        assert_eq!(learned[0].categories, ["large", "medium", "small"]);
        assert_eq!(learned[1].categories, ["9", "10", "100"]);
        let (learned, operations) = learn(
            "{columns: size, order: {size: [small, medium, large]}, unknown: other}",
            &train,
        )
        .expect("learned");
        assert_eq!(learned[0].categories, ["small", "medium", "large"]);
        let [Operation::With(made)] = &operations[..] else {
            panic!("{operations:?}")
        };
        let Expression::Case {
            branches,
            otherwise,
        } = &made[0].1
        else {
            panic!("{made:?}")
        };
        // Null first, then the categories.
        assert_eq!(branches.len(), 4);
        assert_eq!(branches[3].1, Expression::int(2));
        assert_eq!(**otherwise, Expression::int(-1));
    }

    #[test]
    fn unknown_values_fail_unless_told_otherwise() {
        let train = frame(df!("size" => ["small", "large"]).expect("a frame"));
        let (_, operations) = learn("{columns: size}", &train).expect("learned");
        assert!(matches!(
            operations[..],
            [Operation::Local(_), Operation::With(_)]
        ));
        let error = learn("{columns: size, max_categories: 1}", &train)
            .expect_err("two categories")
            .to_string();
        assert!(
            error.starts_with("`size` has 2 categories, more than `max_categories: 1`"),
            "{error}"
        );
    }

    #[test]
    fn becomes_whole_numbers_in_place() {
        let input = schema([("size", DataType::String), ("n", DataType::Int32)]);
        let output = passes(&stage::<Ordinal>("{columns: size}"), &input);
        assert_eq!(
            types(&output),
            [("size", DataType::Int64), ("n", DataType::Int32)]
        );
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let input = schema([
            ("size", DataType::String),
            ("n", DataType::Int32),
            ("share", DataType::Float64),
        ]);
        assert_eq!(
            codes(&stage::<Ordinal>("{columns: [share, sise]}"), &input),
            ["unknown-column", "type-mismatch"]
        );
        assert_eq!(
            refuses(
                &stage::<Ordinal>("{columns: n, order: {m: [1], n: [1, 1, two]}}"),
                &input
            ),
            [
                (
                    "unknown-column",
                    "stage `this` orders `m`, which is not among its columns".to_owned()
                ),
                (
                    "duplicate-name",
                    "stage `this` names the category `1` of `n` twice".to_owned()
                ),
                (
                    "type-mismatch",
                    "`two` cannot be a value of `n`, which is i32".to_owned()
                ),
            ]
        );
    }
}
