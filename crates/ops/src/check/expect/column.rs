//! A rule about one column: all that can be asked of it.

use taktline_core::{CheckContext, Expectation, Frame, ParamPath, Problem, Result, Schema};

use super::{
    finding::{Told, example, is_private, told_of_all},
    keys,
    params::ColumnRule,
};
use crate::columns::{self, Names};

impl ColumnRule {
    /// Whether a condition about rows is among those given, so that a share of them can be allowed to break it.
    fn is_about_rows(&self) -> bool {
        !self.conditions().is_empty()
            || self.unique
            || self.order.is_some()
            || self.references.is_some()
    }

    pub(super) fn reads(&self) -> Vec<String> {
        let by = self.order.as_ref().and_then(|order| order.by.as_ref());
        std::iter::once(self.column.clone())
            .chain(by.iter().flat_map(|by| Names::to_vec(by)))
            .collect()
    }

    pub(super) fn check(&self, at: &ParamPath, inputs: &[Schema], cx: &mut CheckContext<'_>) {
        let figures = self.figures();
        if !self.is_about_rows() && figures.is_empty() {
            cx.report(
                Problem::error(
                    "empty-rule",
                    at.clone(),
                    format!("stage `{}` expects nothing here", cx.stage),
                )
                .label(format!("what must `{}` be?", self.column))
                .help("give `not_null`, `unique`, `between`, `in`, `regex` or another condition; `takt stages check.expect` lists them"),
            );
        } else if !self.is_about_rows() && self.allow > 0.0 {
            cx.report(
                Problem::error(
                    "unused-allow",
                    at.join("allow"),
                    format!(
                        "stage `{}` allows rows to break a rule that is not about rows",
                        cx.stage
                    ),
                )
                .label("this is a share of rows")
                .help("widen the bounds instead, or leave `allow` out"),
            );
        }
        let input = columns::input(inputs);
        let Some(column) = columns::find(input, &self.column, at.join("column"), cx) else {
            return;
        };
        for condition in self.conditions() {
            condition.check(column, at, cx);
        }
        for figure in figures {
            figure.check(column, self.severity, at, cx);
        }
        if self.unique {
            keys::is_single(column, at.join("unique"), cx);
        }
        if let Some(order) = &self.order {
            order.check(column, input, at, cx);
        }
        if let Some(reference) = &self.references
            && keys::is_single(column, at.join("references"), cx)
        {
            reference.check(&[column], inputs, at, cx);
        }
    }

    pub(super) fn examine(&self, frame: &Frame, others: &[Frame]) -> Result<Vec<Expectation>> {
        let name = self.column.as_str();
        let column = frame.data.column(name)?;
        let rows = frame.data.height();
        let is_private = is_private(&frame.schema, name);
        let mut found = Vec::new();
        let mut tell = |rule: String, broken: Vec<usize>| {
            let show = |row| example(&frame.data, &[name], is_private, row);
            found.push(Told::new(rule, self.allow, self.severity).found(rows, broken, show));
        };
        for condition in self.conditions() {
            let broken = condition.broken(column)?;
            let broken = broken
                .iter()
                .enumerate()
                .filter(|(_, is_broken)| *is_broken == Some(true))
                .map(|(row, _)| row)
                .collect();
            tell(format!("{name} {condition}"), broken);
        }
        if self.unique {
            tell(
                format!("{name} is unique"),
                keys::repeated(&frame.data, &[name])?,
            );
        }
        if let Some(order) = &self.order {
            tell(
                order.rule(name),
                keys::out_of_order(&frame.data, name, order)?,
            );
        }
        if let Some(reference) = &self.references {
            tell(
                reference.rule(&[name]),
                reference.broken(&[name], frame, others)?,
            );
        }
        for figure in self.figures() {
            let measured = figure.measure(column)?;
            let is_broken = measured.as_ref().is_some_and(|measured| measured.is_broken);
            let evidence = measured
                .filter(|measured| is_broken && !(is_private && measured.tells_value))
                .map(|measured| measured.evidence);
            found.push(told_of_all(
                figure.rule(name),
                self.severity,
                rows,
                is_broken,
                evidence,
            ));
        }
        Ok(found)
    }
}
