//! `features.graph`.

mod network;

use std::{collections::BTreeSet, sync::Arc};

use polars::{
    lazy::dsl::{apply_multiple, by_name},
    prelude::{Column as PolarsColumn, DataType, Expr, Field, LazyFrame},
};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Local, Operation, Problem, Relational, Result, Schema, Shape, Stage,
    path, register_kind,
};

use crate::columns;
use network::{Measures, Order};

/// Count how rows hang together through what they share: accounts that use one device, and the ring behind them.
///
/// Every row ties its `entity` to its `link`. New columns, with `{entity: account, link: device}`:
/// `account_device_links`, how many different devices the account has; `device_account_links`, how many accounts the device
/// has; `account_device_neighbors`, how many other accounts share some device with this one; `account_device_component`, how
/// many accounts hang together with this one, over however many steps, itself included. A null is nobody: what is counted for
/// it is null, and it ties nothing.
///
/// With `over` a row sees only ties that were there by its own time, its own and those of the same time included; with
/// `exclude_current` only those from before. Without `over` every row sees the whole table, what came later and rows of other
/// parts too: use it where the table is a snapshot. Rows stay in their place.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Graph {
    /// The column of those who are counted: `account`.
    entity: String,
    /// The column of what they share: `device`.
    link: String,
    /// The column that orders the rows in time.
    over: Option<String>,
    /// Leave out the row's own tie and those of the same time.
    #[serde(default)]
    exclude_current: bool,
    /// A link of more entities than this ties nobody together, as a public address would: neighbors and components pass over
    /// it; with `over`, from the moment that it has more. Default: every link ties.
    #[schemars(range(min = 1))]
    max_links: Option<u32>,
}

register_kind! {
    Graph, "features.graph", version: 1,
    example: "- features.graph: {entity: account, link: device, over: at, max_links: 50}",
}

impl Graph {
    /// The new columns, in the order of [`Measures`].
    fn made(&self) -> [String; 4] {
        let (entity, link) = (&self.entity, &self.link);
        [
            format!("{entity}_{link}_links"),
            format!("{link}_{entity}_links"),
            format!("{entity}_{link}_neighbors"),
            format!("{entity}_{link}_component"),
        ]
    }

    fn output(&self, input: &Schema) -> Schema {
        let mut output = input.clone();
        for name in self.made() {
            let mut column = Column::new(name, DataType::Int64);
            for source in [&self.entity, &self.link] {
                if let Some(source) = input.column(source) {
                    // Who shares what with whom tells the target where the target is what they share.
                    column
                        .from_target
                        .extend(source.from_target.iter().cloned());
                }
            }
            output.set(column);
        }
        output
    }
}

impl Stage for Graph {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        for (param, name) in [("entity", &self.entity), ("link", &self.link)] {
            if let Some(column) = columns::find(input, name, path![param], cx)
                && (column.dtype.is_nested() || column.dtype.is_float())
            {
                columns::report_type(
                    column,
                    "ids: text, whole numbers, dates or truth values",
                    path![param],
                    cx,
                );
            }
        }
        if self.entity == self.link {
            cx.report(
                Problem::error(
                    "duplicate-name",
                    path!["link"],
                    format!("stage `{}` ties `{}` to itself", cx.stage, self.entity),
                )
                .label("named before"),
            );
        }
        match &self.over {
            Some(over) => {
                columns::time_column(Some(over), input, path!["over"], cx);
            }
            None if self.exclude_current => cx.report(
                Problem::error(
                    "missing-param",
                    path!["exclude_current"],
                    format!("stage `{}` does not know which rows came before", cx.stage),
                )
                .help("name the time column with `over`"),
            ),
            None => {}
        }
        for name in self.made() {
            columns::is_free(input, &name, path!["entity"], cx);
        }
        self.output(input)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

/// Holds all results until they have their own columns; no name that a spec can write.
const ALL: &str = "\u{1}graph";

impl Relational for Graph {
    fn looks_at_other_rows(&self) -> bool {
        true
    }

    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let reads: Vec<String> = [&self.entity, &self.link]
            .into_iter()
            .chain(&self.over)
            .cloned()
            .collect();
        // Scoring may bring a frame without them.
        if reads.iter().any(|name| input.column(name).is_none()) {
            return Ok(Vec::new());
        }
        let made = self.made();
        let measures = Measures {
            order: match (&self.over, self.exclude_current) {
                (None, _) => Order::Whole,
                (Some(_), false) => Order::UpTo,
                (Some(_), true) => Order::Before,
            },
            max_links: self.max_links.map(|most| most as usize),
            names: made.clone(),
            link: self.link.clone(),
        };
        let measures = Arc::new(measures);
        let columns: Vec<Expr> = reads.iter().map(|name| column(name)).collect();
        // Whose neighbour one is has no relational form: it needs all ties at once.
        let apply = move |frame: LazyFrame| {
            let measures = Arc::clone(&measures);
            let fields: Vec<Field> = made
                .iter()
                .map(|name| Field::new(name.as_str().into(), DataType::Int64))
                .collect();
            let result = DataType::Struct(fields);
            let all = apply_multiple(
                move |columns: &mut [PolarsColumn]| measures.run(columns),
                columns.clone(),
                move |_, _| Ok(Field::new(ALL.into(), result.clone())),
                false,
            );
            let named: Vec<Expr> = made
                .iter()
                .map(|name| column(ALL).struct_().field_by_name(name))
                .collect();
            Ok(frame
                .with_columns([all.alias(ALL)])
                .with_columns(named)
                .drop(by_name([ALL], true, false)))
        };
        Ok(vec![Operation::Local(Local {
            name: "count ties between rows",
            reads: reads.into_iter().collect::<BTreeSet<_>>(),
            keeps_rows: true,
            schema: self.output(input),
            apply: Arc::new(apply),
        })])
    }
}

/// The column of that name; unlike [`col`](polars::prelude::col), never a pattern.
fn column(name: &str) -> Expr {
    Expr::Column(name.into())
}

#[cfg(test)]
mod tests;
