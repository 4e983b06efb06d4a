//! What can be wrong with bins before any row is read.

use taktline_core::{CheckContext, Classes, ParamPath, ParamStep, Problem, Schema, path};

use super::{super::answers, Bin, Method, Task};
use crate::{columns, training};

impl Bin {
    pub(super) fn check_method(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        match (&self.columns, &self.edges) {
            (None, None) => cx.report(
                Problem::error(
                    "no-columns",
                    path![],
                    format!("stage `{}` has nothing to cut into bins", cx.stage),
                )
                .help("name `columns` to learn edges for, or give `edges`, as `{age: [18, 65]}`"),
            ),
            (Some(_), Some(_)) => cx.report(
                Problem::error(
                    "unused-param",
                    path![ParamStep::KeyOf("edges".to_owned())],
                    format!(
                        "stage `{}` learns edges for `columns`, and is given `edges` as well",
                        cx.stage
                    ),
                )
                .help("use two stages, one with `columns` and one with `edges`"),
            ),
            _ => {}
        }
        if self.columns.is_none() || self.method != Method::Tree {
            return;
        }
        let Some((path, target)) = training::target(self.target.as_deref(), input, cx) else {
            return;
        };
        match self.task(target) {
            Task::Regression => {
                columns::is_number(target, path, cx);
            }
            Task::Classes if !Classes::can_hold(&target.dtype) => {
                let needs = "a target of classes (text, whole numbers, true or false)";
                columns::report_type(target, needs, path, cx);
            }
            Task::Classes => {}
        }
    }

    /// The columns to cut, each with its place in the spec.
    pub(super) fn check_columns(
        &self,
        input: &Schema,
        cx: &mut CheckContext<'_>,
    ) -> Vec<(ParamPath, String)> {
        let mut found = Vec::new();
        if let Some(names) = &self.columns {
            for (path, column) in names.find(input, &path!["columns"], cx) {
                let learns_from_it = self.method == Method::Tree
                    && answers::is_the_target(column, self.target.as_deref(), &path, input, cx);
                if !learns_from_it && columns::is_number(column, path.clone(), cx) {
                    found.push((path, column.name.clone()));
                }
            }
        }
        for (name, edges) in self.edges.iter().flatten() {
            let path = path!["edges", ParamStep::KeyOf(name.clone())];
            for (index, pair) in edges.windows(2).enumerate() {
                if pair[0].partial_cmp(&pair[1]) != Some(std::cmp::Ordering::Less) {
                    let message = format!(
                        "stage `{}` has the edge {} after {}",
                        cx.stage, pair[1], pair[0]
                    );
                    cx.report(
                        Problem::error("bad-edges", path!["edges", name, index + 1], message)
                            .label("edges must ascend"),
                    );
                }
            }
            if edges.is_empty() || edges.len() > 255 {
                let message = format!(
                    "stage `{}` has {} edges for `{name}`",
                    cx.stage,
                    edges.len()
                );
                cx.report(
                    Problem::error("bad-edges", path.clone(), message).label("give 1 to 255"),
                );
            }
            for (index, edge) in edges
                .iter()
                .enumerate()
                .filter(|(_, edge)| !edge.is_finite())
            {
                let message = format!("stage `{}` has the edge {edge}", cx.stage);
                cx.report(
                    Problem::error("bad-edges", path!["edges", name, index], message)
                        .label("the end bins have no end anyway"),
                );
            }
            if let Some(column) = columns::find(input, name, path.clone(), cx)
                && columns::is_number(column, path.clone(), cx)
            {
                found.push((path, column.name.clone()));
            }
        }
        found
    }
}
