//! What the estimators over category columns share: vocabularies, and what becomes of a value that training did not see.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use polars::{
    lazy::dsl::col,
    prelude::{Column as PolarsColumn, DataFrame, DataType, Expr, PolarsResult, polars_bail},
};
use serde::{Deserialize, Serialize};
use taktline_core::{
    BinaryOperator, CheckContext, Classes, Column, Error, Expression, Literal, Local, Operation,
    ParamPath, Result, Schema, path,
};

use crate::columns::{self, Names};

/// The categories of a column, in order, as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Vocabulary {
    /// The column.
    pub(super) column: String,
    /// Its categories.
    pub(super) categories: Vec<String>,
}

/// The named columns that exist and hold categories; the others are reported.
pub(super) fn check<'s>(
    named: &Names,
    input: &'s Schema,
    cx: &mut CheckContext<'_>,
) -> Vec<(ParamPath, &'s Column)> {
    let mut fitting = named.find(input, &path!["columns"], cx);
    fitting.retain(|(path, column)| {
        let fits = Classes::can_hold(&column.dtype);
        if !fits {
            columns::report_type(
                column,
                "categories (text, whole numbers, true or false)",
                path.clone(),
                cx,
            );
        }
        fits
    });
    fitting
}

/// The categories of the training rows, in class order, each with how many rows have it. Null is none.
pub(super) fn counted(train: &DataFrame, name: &str) -> Result<Vec<(String, usize)>> {
    let present = train.column(name)?.drop_nulls();
    let classes = Classes::of(&present, None)?;
    let mut counts = vec![0_usize; classes.labels.len()];
    for code in classes.codes {
        counts[code as usize] += 1;
    }
    if counts.is_empty() {
        return Err(Error::data(format!(
            "`{name}` has no value in the training rows to learn from"
        )));
    }
    Ok(classes.labels.into_iter().zip(counts).collect())
}

/// The most frequent categories, in the order in which they came; of equally frequent ones, the earlier.
pub(super) fn most_frequent(counted: Vec<(String, usize)>, limit: usize) -> Vec<String> {
    let mut places: Vec<usize> = (0..counted.len()).collect();
    places.sort_by_key(|&place| (std::cmp::Reverse(counted[place].1), place));
    let kept: HashSet<usize> = places.into_iter().take(limit).collect();
    counted
        .into_iter()
        .enumerate()
        .filter(|(place, _)| kept.contains(place))
        .map(|(_, (category, _))| category)
        .collect()
}

/// The vocabularies of columns that are there: scoring brings only those that the model needs.
pub(super) fn present(mut vocabularies: Vec<Vocabulary>, input: &Schema) -> Vec<Vocabulary> {
    vocabularies.retain(|vocabulary| input.names().any(|name| name == vocabulary.column));
    vocabularies
}

/// The column as a value that compares with [`constant`].
pub(super) fn operand(column: &Column) -> Expression {
    let value = Expression::column(&column.name);
    match &column.dtype {
        DataType::Categorical(..) | DataType::Enum(..) => value.cast(DataType::String),
        _ => value,
    }
}

/// A category as a constant of the column's type.
pub(super) fn constant(column: &Column, category: &str) -> Result<Literal> {
    let unfit = || {
        let found = taktline_core::type_name(&column.dtype);
        Error::data(format!(
            "`{category}` cannot be a value of `{}`, which is {found}",
            column.name
        ))
    };
    match &column.dtype {
        DataType::Boolean => category.parse().map(Literal::Bool).map_err(|_| unfit()),
        dtype if dtype.is_integer() => category.parse().map(Literal::Int).map_err(|_| {
            match category.parse::<u64>() {
                Ok(_) => Error::data(format!(
                    "`{category}` of `{}` is beyond the whole numbers that can be told apart here; make text of the column above (`clean.cast`)",
                    column.name
                )),
                Err(_) => unfit(),
            }
        }),
        _ => Ok(Literal::Text(category.to_owned())),
    }
}

/// Whether the column holds this category; null where it holds nothing.
pub(super) fn is_category(column: &Column, category: &str) -> Result<Expression> {
    Ok(operand(column).binary(
        BinaryOperator::Equal,
        Expression::Literal(constant(column, category)?),
    ))
}

/// As [`taktline_core::Estimator::seen`]: nothing, where an unseen value is an error anyway.
pub(super) fn seen(
    is_error: bool,
    vocabularies: impl FnOnce() -> Result<Vec<Vocabulary>>,
) -> Result<Vec<(String, Vec<String>)>> {
    if is_error {
        return Ok(Vec::new());
    }
    Ok(vocabularies()?
        .into_iter()
        .map(|vocabulary| (vocabulary.column, vocabulary.categories))
        .collect())
}

/// An operation that fails on a value that is in no vocabulary, and says which one and where; null passes.
///
/// It is local, as no relational operation can fail on a value and name it.
pub(super) fn refuse_unseen(vocabularies: &[Vocabulary], input: &Schema) -> Operation {
    let reads: BTreeSet<String> = vocabularies
        .iter()
        .map(|vocabulary| vocabulary.column.clone())
        .collect();
    let known: Vec<(String, Arc<HashSet<String>>)> = vocabularies
        .iter()
        .map(|vocabulary| {
            (
                vocabulary.column.clone(),
                Arc::new(vocabulary.categories.iter().cloned().collect()),
            )
        })
        .collect();
    Operation::Local(Local {
        name: "refuse categories that training did not see",
        reads,
        keeps_rows: true,
        schema: input.clone(),
        apply: Arc::new(move |frame| {
            let checked: Vec<Expr> = known
                .iter()
                .map(|(name, known)| {
                    let known = Arc::clone(known);
                    // `apply`, not `map`: it sees the whole column, so that the row number is the frame's.
                    col(name.as_str()).apply(
                        move |column| {
                            all_known(&column, &known)?;
                            Ok(column)
                        },
                        |_, field| Ok(field.clone()),
                    )
                })
                .collect();
            Ok(frame.with_columns(checked))
        }),
    })
}

fn all_known(column: &PolarsColumn, known: &HashSet<String>) -> PolarsResult<()> {
    let texts = column.cast(&DataType::String)?;
    let mut last = None;
    for (row, text) in texts.str()?.iter().enumerate() {
        let Some(text) = text else { continue };
        // Neighbours are often equal; looking up only changes halves the time.
        if last != Some(text) && !known.contains(text) {
            polars_bail!(
                ComputeError: "`{}` holds `{text}` in row {}, which no training row does; `unknown:` says what else to do with it",
                column.name(), row + 1
            );
        }
        last = Some(text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::IntoLazy};

    use super::*;

    #[test]
    fn counts_in_class_order_without_null() {
        let train =
            df!("kind" => [Some("b"), None, Some("a"), Some("b")], "n" => [10_i64, 9, 10, 2])
                .expect("a frame");
        assert_eq!(
            counted(&train, "kind").expect("counts"),
            [("a".to_owned(), 1), ("b".to_owned(), 2)]
        );
        let numbers: Vec<String> = counted(&train, "n")
            .expect("counts")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(numbers, ["2", "9", "10"]);
        let nothing = df!("kind" => [None::<&str>]).expect("a frame");
        assert!(counted(&nothing, "kind").is_err());
    }

    #[test]
    fn the_most_frequent_stay_in_order() {
        let counted = [("a", 1), ("b", 5), ("c", 5), ("d", 9), ("e", 5)]
            .map(|(name, count)| (name.to_owned(), count));
        assert_eq!(most_frequent(counted.to_vec(), 3), ["b", "c", "d"]);
        assert_eq!(most_frequent(counted.to_vec(), 9).len(), 5);
    }

    #[test]
    fn an_unseen_value_is_named_with_its_row() {
        let vocabulary = Vocabulary {
            column: "channel".into(),
            categories: vec!["web".into(), "shop".into()],
        };
        let check = |values: [Option<&str>; 4]| {
            let data = df!("channel" => values, "other" => [1, 2, 3, 4]).expect("a frame");
            let input = Schema::from_polars(data.schema());
            let Operation::Local(local) = refuse_unseen(std::slice::from_ref(&vocabulary), &input)
            else {
                panic!("a local operation");
            };
            (local.apply)(data.lazy()).expect("a query").collect()
        };
        let passed = check([Some("web"), None, Some("shop"), Some("web")]).expect("known values");
        assert_eq!(passed.height(), 4);
        let error = check([Some("web"), Some("web"), Some("phone"), None])
            .expect_err("unseen")
            .to_string();
        assert!(
            error.contains("`channel` holds `phone` in row 3, which no training row does"),
            "{error}"
        );
    }

    #[test]
    fn constants_take_the_type_of_the_column() {
        let of = |dtype: DataType, category: &str| constant(&Column::new("c", dtype), category);
        assert_eq!(of(DataType::Int32, "3").expect("a number"), Literal::Int(3));
        assert_eq!(
            of(DataType::Boolean, "true").expect("a truth"),
            Literal::Bool(true)
        );
        assert_eq!(
            of(DataType::String, "3").expect("a text"),
            Literal::Text("3".into())
        );
        assert!(of(DataType::Int32, "web").is_err());
    }
}
