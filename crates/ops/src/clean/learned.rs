//! Values that a stage learned over all training rows and for groups among them, and how rows get theirs.

use std::sync::Arc;

use polars::prelude::{
    AnyValue, Column as PolarsColumn, DataFrame, DataType, Expr, IntoColumn, IntoLazy, JoinArgs,
    JoinCoalesce, JoinType, MaintainOrderJoin, Series, TimeUnit, by_name,
};
use serde::{Deserialize, Serialize};
use taktline_core::{
    Column, Error, Expression, Function, Literal, Local, Operation, Result, Schema,
};

use super::groups::rows_of;

/// A value that was learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Constant {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01 00:00.
    Timestamp(i64),
}

impl Constant {
    pub(super) fn literal(&self) -> Literal {
        match self {
            Self::Bool(value) => Literal::Bool(*value),
            Self::Int(value) => Literal::Int(*value),
            Self::Float(value) => Literal::Float(*value),
            Self::Text(value) => Literal::Text(value.clone()),
            Self::Date(value) => Literal::Date(*value),
            Self::Timestamp(value) => Literal::Timestamp(*value),
        }
    }

    fn any_value(&self) -> AnyValue<'_> {
        match self {
            Self::Bool(value) => AnyValue::Boolean(*value),
            Self::Int(value) => AnyValue::Int64(*value),
            Self::Float(value) => AnyValue::Float64(*value),
            Self::Text(value) => AnyValue::String(value),
            Self::Date(value) => AnyValue::Date(*value),
            Self::Timestamp(value) => AnyValue::Datetime(*value, TimeUnit::Microseconds, None),
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Bool(_) => DataType::Boolean,
            Self::Int(_) => DataType::Int64,
            Self::Float(_) => DataType::Float64,
            Self::Text(_) => DataType::String,
            Self::Date(_) => DataType::Date,
            Self::Timestamp(_) => DataType::Datetime(TimeUnit::Microseconds, None),
        }
    }
}

/// What was learned about columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Learned<V> {
    /// The groups of the training rows: the values of the columns that make them, as text.
    pub(super) groups: Vec<Vec<Option<String>>>,
    pub(super) columns: Vec<LearnedColumn<V>>,
}

/// What was learned about a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LearnedColumn<V> {
    pub(super) column: String,
    /// Over all training rows; for groups that have nothing of their own, and rows of groups that training did not see.
    pub(super) overall: V,
    /// One a group; none where a group has nothing to learn from.
    pub(super) by_group: Vec<Option<V>>,
}

impl<V> Learned<V> {
    /// Learns from each column as a whole and from its rows of each group.
    ///
    /// # Errors
    /// Those of `learn`, and a column of which it learns nothing.
    pub(super) fn of(
        train: &DataFrame,
        by: &[String],
        columns: &[String],
        learn: impl Fn(&PolarsColumn) -> Result<Option<V>>,
    ) -> Result<Self> {
        let keys: Vec<PolarsColumn> = by
            .iter()
            .map(|name| Ok(train.column(name)?.clone()))
            .collect::<Result<_>>()?;
        let rows = if by.is_empty() {
            Vec::new()
        } else {
            rows_of(&keys, train.height())?
        };
        let mut groups = vec![Vec::with_capacity(by.len()); rows.len()];
        for key in &keys {
            let texts = key.cast(&DataType::String)?;
            let texts = texts.str()?;
            for (group, rows) in groups.iter_mut().zip(&rows) {
                group.push(texts.get(rows[0] as usize).map(str::to_owned));
            }
        }
        let columns = columns
            .iter()
            .map(|name| {
                let column = train.column(name)?;
                let overall = learn(column)?.ok_or_else(|| {
                    Error::data(format!(
                        "`{name}` has no value in the training rows to learn from"
                    ))
                })?;
                let by_group = rows
                    .iter()
                    .map(|rows| learn(&column.take_slice(rows)?))
                    .collect::<Result<_>>()?;
                Ok(LearnedColumn {
                    column: name.clone(),
                    overall,
                    by_group,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { groups, columns })
    }
}

/// Values of one kind for the rows: each group has its own, the others have that of all training rows.
pub(super) struct Values {
    /// A name that tells these values from others of the stage.
    pub(super) name: String,
    pub(super) overall: Constant,
    pub(super) by_group: Vec<Option<Constant>>,
}

impl Values {
    /// No name that a spec can write.
    fn column(&self) -> String {
        format!("\u{1}{}", self.name)
    }

    /// The value of a row, where [`attached`] has put those of the groups beside it.
    pub(super) fn expression(&self) -> Expression {
        let overall = Expression::Literal(self.overall.literal());
        if self.by_group.is_empty() {
            return overall;
        }
        Expression::call(
            Function::Coalesce,
            vec![Expression::column(self.column()), overall],
        )
    }

    fn series(&self) -> Result<Series> {
        let values: Vec<AnyValue<'_>> = self
            .by_group
            .iter()
            .map(|value| value.as_ref().map_or(AnyValue::Null, Constant::any_value))
            .collect();
        Ok(Series::from_any_values_and_dtype(
            self.column().into(),
            &values,
            &self.overall.data_type(),
            true,
        )?)
    }
}

/// `work` between the operations that put the groups' values beside each row and take them away again.
pub(super) fn with_values(
    values: &[Values],
    groups: &[Vec<Option<String>>],
    by: &[String],
    work: Vec<Operation>,
    input: &Schema,
) -> Result<Vec<Operation>> {
    if by.is_empty() || groups.is_empty() || values.is_empty() {
        return Ok(work);
    }
    if let Some(missing) = by.iter().find(|name| input.column(name).is_none()) {
        return Err(Error::data(format!("there is no column `{missing}`")));
    }
    let mut operations = vec![attached(values, groups, by, input)?];
    operations.extend(work);
    let columns = input
        .names()
        .map(|name| (name.to_owned(), Expression::column(name)))
        .collect();
    operations.push(Operation::Project(columns));
    Ok(operations)
}

/// The values of each row's group as further columns. Not relational: there may be many groups, and what belongs to each is
/// state and no input of the stage, so that it is looked up in a table of its own.
fn attached(
    values: &[Values],
    groups: &[Vec<Option<String>>],
    by: &[String],
    input: &Schema,
) -> Result<Operation> {
    let key_names: Vec<String> = (0..by.len())
        .map(|place| format!("\u{1}key-{place}"))
        .collect();
    let mut columns: Vec<PolarsColumn> = key_names
        .iter()
        .enumerate()
        .map(|(place, name)| {
            let texts: Vec<Option<&str>> =
                groups.iter().map(|group| group[place].as_deref()).collect();
            PolarsColumn::new(name.as_str().into(), texts)
        })
        .collect();
    let mut schema = input.clone();
    for values in values {
        let series = values.series()?;
        schema
            .columns
            .push(Column::new(values.column(), series.dtype().clone()));
        columns.push(series.into_column());
    }
    let table = DataFrame::new(groups.len(), columns)?;
    let exactly = |name: &str| Expr::Column(name.into());
    let keys: Vec<Expr> = key_names.iter().map(|name| exactly(name)).collect();
    let texts: Vec<Expr> = by
        .iter()
        .zip(&key_names)
        .map(|(name, key)| exactly(name).cast(DataType::String).alias(key.as_str()))
        .collect();
    Ok(Operation::Local(Local {
        name: "look up what was learned about each row's group",
        reads: by.iter().cloned().collect(),
        keeps_rows: true,
        schema,
        apply: Arc::new(move |frame| {
            let arguments = JoinArgs {
                nulls_equal: true,
                coalesce: JoinCoalesce::CoalesceColumns,
                maintain_order: MaintainOrderJoin::Left,
                ..JoinArgs::new(JoinType::Left)
            };
            Ok(frame
                .with_columns(texts.clone())
                .join(table.clone().lazy(), keys.clone(), keys.clone(), arguments)
                .drop(by_name(key_names.clone(), true, false)))
        }),
    }))
}
