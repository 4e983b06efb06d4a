//! Where columns that are made of others go: in the place of their source, beside it, or after all.

use std::{collections::BTreeSet, sync::Arc};

use polars::{
    lazy::dsl::{apply_multiple, by_name, map_multiple},
    prelude::{
        Column as PolarsColumn, DataType, Expr, Field, IntoColumn, LazyFrame, PolarsResult,
        Schema as PolarsSchema, StructChunked, polars_err,
    },
};
use taktline_core::{
    CheckContext, Column, Expression, Local, Operation, ParamPath, Result, Role, Schema,
    output_schema, path,
};

use crate::columns::{self, Names};

/// The name of what is made of a column: the column's own, or that with a suffix.
pub(super) fn made(source: &str, suffix: Option<&str>) -> String {
    match suffix {
        None => source.to_owned(),
        Some(suffix) => format!("{source}{suffix}"),
    }
}

/// Whether the column may be made; reports a name that is reserved, empty or taken.
pub(super) fn is_possible(
    source: &str,
    suffix: Option<&str>,
    input: &Schema,
    path: ParamPath,
    cx: &mut CheckContext<'_>,
) -> bool {
    match suffix {
        None => columns::is_allowed(source, path, cx),
        Some(_) => columns::is_free(input, &made(source, suffix), path, cx),
    }
}

/// The chosen columns of which something may be made; names that are reserved, empty or taken are reported.
pub(super) fn possible(
    chosen: Vec<String>,
    named: Option<&Names>,
    suffix: Option<&str>,
    input: &Schema,
    cx: &mut CheckContext<'_>,
) -> Vec<String> {
    chosen
        .into_iter()
        .filter(|name| is_possible(name, suffix, input, place(named, name), cx))
        .collect()
}

/// Where the spec names the column; the kind, where it does not.
pub(super) fn place(named: Option<&Names>, name: &str) -> ParamPath {
    named
        .and_then(|names| {
            names
                .located(&path!["columns"])
                .find(|(_, other)| *other == name)
        })
        .map_or_else(ParamPath::kind, |(path, _)| path)
}

/// A column of this type that is made of others, as [`output_schema`] would tell it: personal data and what was computed
/// from a target stay known as such.
pub(super) fn heir<'s>(
    name: impl Into<String>,
    dtype: DataType,
    sources: impl IntoIterator<Item = &'s Column>,
) -> Column {
    let mut column = Column::new(name, dtype);
    for source in sources {
        if source.name == column.name {
            column.role = source.role;
        } else if source.role == Role::Internal && column.role == Role::Feature {
            column.role = Role::Internal;
        }
        column.from_target.extend(source.from_target.clone());
        column.from_pii.extend(source.from_pii.clone());
    }
    column
}

/// The columns that a computation makes of others, all at once.
pub(super) struct Made<'a> {
    /// What it does, for `takt plan`.
    pub(super) name: &'static str,
    /// The columns it reads.
    pub(super) reads: Vec<String>,
    /// The columns it makes; one that exists is replaced.
    pub(super) columns: Vec<Column>,
    /// Whether a row's values depend on its place among the others.
    pub(super) by_place: bool,
    /// The schema before.
    pub(super) input: &'a Schema,
}

/// No name that a spec can write.
const ALL: &str = "\u{1}made";

impl Made<'_> {
    /// The operation; `compute` gets the columns read and answers with those made, in order.
    pub(super) fn by(
        self,
        compute: impl Fn(&[PolarsColumn]) -> PolarsResult<Vec<PolarsColumn>>
        + Send
        + Sync
        + Clone
        + 'static,
    ) -> Operation {
        let mut schema = self.input.clone();
        for column in &self.columns {
            schema.set(column.clone());
        }
        let inputs: Vec<Expr> = self.reads.iter().map(|name| exactly(name)).collect();
        let replaces = self
            .columns
            .iter()
            .any(|column| self.input.names().any(|name| name == column.name));
        let order = replaces.then(|| schema.names().map(exactly).collect());
        let fields = self
            .columns
            .iter()
            .map(|column| Field::new(column.name.as_str().into(), column.dtype.clone()))
            .collect();
        let work = Work {
            inputs,
            fields,
            order,
            by_place: self.by_place,
        };
        Operation::Local(Local {
            name: self.name,
            reads: self.reads.into_iter().collect(),
            keeps_rows: true,
            schema,
            apply: Arc::new(move |frame| Ok(work.on(frame, compute.clone()))),
        })
    }
}

/// The column of that name; unlike [`col`](polars::prelude::col), never a pattern.
fn exactly(name: &str) -> Expr {
    Expr::Column(name.into())
}

/// What polars needs to know of a computation.
struct Work {
    inputs: Vec<Expr>,
    fields: Vec<Field>,
    /// All columns after it, where one is replaced.
    order: Option<Vec<Expr>>,
    by_place: bool,
}

impl Work {
    fn on(
        &self,
        frame: LazyFrame,
        compute: impl Fn(&[PolarsColumn]) -> PolarsResult<Vec<PolarsColumn>> + Send + Sync + 'static,
    ) -> LazyFrame {
        if let [field] = self.fields.as_slice() {
            let single = move |columns: &mut [PolarsColumn]| {
                compute(columns)?
                    .pop()
                    .ok_or_else(|| polars_err!(ComputeError: "made no column"))
            };
            let made = self.expression(single, field.clone());
            return frame.with_columns([made.alias(field.name().clone())]);
        }
        let names: Vec<_> = self
            .fields
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let together = move |columns: &mut [PolarsColumn]| {
            let rows = columns.first().map_or(0, PolarsColumn::len);
            let mut made = compute(columns)?;
            for (column, name) in made.iter_mut().zip(&names) {
                column.rename(name.clone());
            }
            Ok(StructChunked::from_columns(ALL.into(), rows, &made)?.into_column())
        };
        // All made columns are the fields of one, so that they are computed once.
        let all = Field::new(ALL.into(), DataType::Struct(self.fields.clone()));
        let replaced = self.fields.iter().map(|field| field.name().clone());
        let frame = frame
            .with_columns([self.expression(together, all).alias(ALL)])
            .drop(by_name(replaced, false, false))
            .unnest(by_name([ALL], true, false), None);
        match &self.order {
            Some(order) => frame.select(order.clone()),
            None => frame,
        }
    }

    fn expression(
        &self,
        work: impl Fn(&mut [PolarsColumn]) -> PolarsResult<PolarsColumn> + Send + Sync + 'static,
        output: Field,
    ) -> Expr {
        let output = move |_: &PolarsSchema, _: &[Field]| Ok(output.clone());
        if self.by_place {
            // It sees the whole column: no filter or slice moves above it.
            apply_multiple(work, &self.inputs, output, false)
        } else {
            map_multiple(work, &self.inputs, output)
        }
    }
}

/// The operations for each of what was learned, each seeing the columns that those before it made. `None` is for a column
/// that is not there: scoring brings only those that the model needs.
pub(super) fn one_after_the_other<L>(
    learned: Vec<L>,
    input: &Schema,
    operation: impl Fn(L, &Schema) -> Result<Option<Operation>>,
) -> Result<Vec<Operation>> {
    let mut schema = input.clone();
    let mut operations = Vec::new();
    for learned in learned {
        if let Some(operation) = operation(learned, &schema)? {
            schema = output_schema(std::slice::from_ref(&operation), &[schema]);
            operations.push(operation);
        }
    }
    Ok(operations)
}

/// These operations, and then the frame without their sources; what they made stands where the first source stood.
pub(super) fn instead(
    mut operations: Vec<Operation>,
    sources: &BTreeSet<&str>,
    input: &Schema,
) -> Vec<Operation> {
    let after = output_schema(&operations, std::slice::from_ref(input));
    let is_made = |name: &str| input.names().all(|known| known != name);
    let mut made = Some(after.names().filter(|name| is_made(name)));
    let mut order: Vec<&str> = Vec::new();
    for name in input.names() {
        if sources.contains(name) {
            order.extend(made.take().into_iter().flatten());
        } else {
            order.push(name);
        }
    }
    order.extend(made.into_iter().flatten());
    let columns = order
        .into_iter()
        .map(|name| (name.to_owned(), Expression::column(name)))
        .collect();
    operations.push(Operation::Project(columns));
    operations
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::IntoLazy};
    use taktline_core::PARTITION;

    use super::*;
    use crate::columns::testing::{schema, types};

    #[test]
    fn what_is_made_replaces_its_name_and_stands_in_the_place_of_its_sources() {
        let data =
            df!("^a.*$" => [1_i64, 2], "b" => [3_i64, 4], "c" => ["x", "y"]).expect("a frame");
        let input = Schema::from_polars(data.schema());
        let made = Made {
            name: "test",
            reads: vec!["^a.*$".into(), "b".into()],
            columns: vec![
                Column::new("sum", DataType::Int64),
                Column::new("b", DataType::Int64),
            ],
            by_place: false,
            input: &input,
        };
        let operation =
            made.by(|columns| Ok(vec![(&columns[0] + &columns[1])?, columns[0].clone()]));
        let operations = instead(vec![operation], &BTreeSet::from(["^a.*$"]), &input);
        let rows = taktline_engine::local::apply(&operations, &[data.lazy()], &[input])
            .expect("a query")
            .collect()
            .expect("rows");
        let expected =
            df!("sum" => [4_i64, 6], "b" => [1_i64, 2], "c" => ["x", "y"]).expect("a frame");
        assert_eq!(rows, expected);
    }

    #[test]
    fn heirs_keep_what_must_be_known() {
        let mut input = schema([("card", DataType::String), (PARTITION, DataType::String)]);
        input.columns[0] = input.columns[0].clone().with_role(Role::Pii);
        input.columns[1].role = Role::Internal;
        let beside = heir("card_share", DataType::Float64, &input.columns[..1]);
        assert_eq!(beside.role, Role::Feature);
        assert!(beside.from_pii.contains("card"));
        assert_eq!(
            heir("card", DataType::Float64, &input.columns[..1]).role,
            Role::Pii
        );
        assert_eq!(
            heir("n", DataType::Float64, &input.columns[1..]).role,
            Role::Internal
        );
        assert_eq!(types(&input).len(), 2);
    }
}
