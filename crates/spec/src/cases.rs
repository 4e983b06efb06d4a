//! The `tests:` of a spec: what a test may give and ask, told before any of them runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use taktline_core::{Problem, Schema, Shape, did_you_mean, path, sql, type_name};

use crate::{
    plan::problem_span,
    report::Report,
    stages::Draft,
    tree::{Key, Node},
};

/// Checks every test against the stages that it names and their schemas.
pub(crate) fn check(
    list: Option<&Node>,
    drafts: &[Draft],
    schemas: &[Schema],
    report: &mut Report<'_>,
) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for test in list.map(Node::items).unwrap_or_default() {
        if let Some(name) = test.get("name")
            && let Some(text) = name.text()
        {
            match names.get(text) {
                Some(line) => {
                    let note = format!("first used on line {line}");
                    report
                        .error(
                            name.span.clone(),
                            "duplicate-name",
                            format!("two tests have the name `{text}`"),
                        )
                        .notes
                        .push(note);
                }
                None => {
                    names.insert(text, report.line(&name.span));
                }
            }
        }
        Case {
            test,
            drafts,
            schemas,
            report,
        }
        .check();
    }
}

struct Case<'a, 'r, 's> {
    test: &'a Node,
    drafts: &'a [Draft],
    schemas: &'a [Schema],
    report: &'r mut Report<'s>,
}

impl<'a> Case<'a, '_, '_> {
    fn check(&mut self) {
        let given = self.test.get("given").map_or(&[][..], Node::entries);
        let given: Vec<(&Key, &Node, Option<usize>)> = given
            .iter()
            .map(|(key, rows)| (key, rows, self.stage(&key.text, key.span.clone())))
            .collect();
        let looked_at = self.test.get("stage").and_then(|node| {
            let index = self.stage(node.text()?, node.span.clone())?;
            Some((index, node.span.clone()))
        });
        for (key, rows, index) in &given {
            if let Some(index) = *index {
                self.check_given(index, key, rows);
            }
        }
        let Some((index, span)) = looked_at else {
            return;
        };
        self.has_rows(index, span.clone());
        let above = self.above(index);
        for (key, _, given) in given {
            let Some(given) = given else { continue };
            let id = &self.drafts[index].id;
            if given == index {
                let message = format!("the test gives the rows of `{id}` and looks at them");
                self.report
                    .error(key.span.clone(), "nothing-tested", message)
                    .help
                    .push("give the rows of a stage above it".to_owned());
            } else if !above.contains(&given) {
                let message = format!("`{}` is not above `{id}`", key.text);
                let diagnostic = self.report.error(key.span.clone(), "rows-unread", message);
                diagnostic.label = Some("nothing would read these rows".to_owned());
                let known: BTreeSet<String> = above
                    .iter()
                    .map(|stage| format!("`{}`", self.drafts[*stage].id))
                    .collect();
                if !known.is_empty() {
                    let known: Vec<String> = known.into_iter().collect();
                    diagnostic
                        .help
                        .push(format!("above it: {}", known.join(", ")));
                }
            }
        }
        self.check_expectation(index);
    }

    /// The stage of that id; reports that there is none.
    fn stage(&mut self, name: &str, span: Range<usize>) -> Option<usize> {
        let found = self.drafts.iter().position(|draft| draft.id == name);
        if found.is_none() {
            let help = did_you_mean(name, self.drafts.iter().map(|draft| draft.id.as_str()));
            let message = format!("the test names `{name}`, which is no stage");
            self.report
                .error(span, "unknown-stage", message)
                .help
                .extend(help);
        }
        found
    }

    /// Whether the stage has rows that a test can give or look at; reports it where it has none.
    fn has_rows(&mut self, index: usize, span: Range<usize>) -> bool {
        let draft = &self.drafts[index];
        let does = match draft.stage.as_ref().map(|stage| stage.shape()) {
            Some(Shape::Sink(_)) => "writes rows",
            Some(Shape::Evaluate(_)) => "measures",
            Some(Shape::Deploy(_)) => "writes a bundle",
            _ => return true,
        };
        let above = draft.inputs.iter().flatten().next();
        let help =
            above.map(|above| format!("test `{}`, whose rows it reads", self.drafts[*above].id));
        let message = format!("`{}` {does} and has no rows of its own", draft.id);
        self.report
            .error(span, "untestable-stage", message)
            .help
            .extend(help);
        false
    }

    fn above(&self, index: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open: Vec<usize> = self.drafts[index]
            .inputs
            .iter()
            .flatten()
            .copied()
            .collect();
        while let Some(stage) = open.pop() {
            if found.insert(stage) {
                open.extend(self.drafts[stage].inputs.iter().flatten());
            }
        }
        found
    }

    fn check_given(&mut self, index: usize, key: &Key, rows: &Node) {
        if !self.has_rows(index, key.span.clone()) {
            return;
        }
        let schema = &self.schemas[index];
        if let Some(open) = schema.columns.iter().find(|column| column.is_open()) {
            let message = format!(
                "`{}` makes columns that only training names (`{}`)",
                key.text, open.name
            );
            self.report
                .error(key.span.clone(), "untestable-stage", message)
                .help
                .push("give the rows of a stage above it, so that it learns from them".to_owned());
            return;
        }
        if schema.incomplete {
            return;
        }
        self.columns_exist(index, rows);
    }

    /// Reports each column, once, that the stage's frame does not have.
    fn columns_exist(&mut self, index: usize, rows: &Node) {
        let schema = &self.schemas[index];
        let mut told = BTreeSet::new();
        for (key, _) in rows.items().iter().flat_map(Node::entries) {
            if schema.column(&key.text).is_some() || !told.insert(&key.text) {
                continue;
            }
            let message = format!(
                "the rows of `{}` have no column `{}`",
                self.drafts[index].id, key.text
            );
            let help = schema.suggestion(&key.text);
            self.report
                .error(key.span.clone(), "unknown-column", message)
                .help
                .extend(help);
        }
    }

    fn check_expectation(&mut self, index: usize) {
        let Some(expect) = self.test.get("expect") else {
            return;
        };
        if let Some((refused, _)) = expect.entry("refused")
            && let Some((other, _)) = expect
                .entries()
                .iter()
                .find(|(key, _)| key.text != "refused")
        {
            let message = format!("a stage that is refused has no rows for `{}`", other.text);
            let note = format!("`refused` is on line {}", self.report.line(&refused.span));
            self.report
                .error(other.span.clone(), "contradiction", message)
                .notes
                .push(note);
        }
        let schema = &self.schemas[index];
        if schema.incomplete {
            return;
        }
        if let Some(frame) = expect.get("frame") {
            self.columns_exist(index, frame);
        }
        let Some(text) = expect.get("condition").and_then(Node::text) else {
            return;
        };
        let at = path!["expect", "condition"];
        let problems = match sql::compile(text, schema) {
            Ok(compiled) if type_name(&compiled.dtype) == "bool" => Vec::new(),
            Ok(compiled) => vec![
                Problem::error(
                    "type-mismatch",
                    at,
                    format!(
                        "a test needs a condition, but this is {}",
                        type_name(&compiled.dtype)
                    ),
                )
                .label("true or false for each row is needed")
                .help("compare it with something: `amount > 0`"),
            ],
            Err(problems) => problems
                .into_iter()
                .map(|problem| problem.at(at.clone()))
                .collect(),
        };
        for problem in &problems {
            let span = problem_span(self.test, &self.test.span, problem, self.report.source);
            self.report.problem(span, problem);
        }
    }
}
