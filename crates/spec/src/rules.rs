//! What only the whole plan can tell: leaks, gates without metrics, rows that would go missing at scoring.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
};

use taktline_core::{
    Bound, Deploy, Diagnostic, JoinKind, Model, Operation, Role, Schema, Shape, SourceContext,
    closest,
};

use crate::{report::Report, stages::Draft, tree::Node};

/// Looks at the whole plan. `schemas` are those after each stage, in the order of `drafts`.
pub(crate) fn check(
    drafts: &[Draft],
    order: &[usize],
    schemas: &[Schema],
    report: &mut Report<'_>,
) {
    let plan = Whole {
        drafts,
        order,
        schemas,
    };
    plan.refuse_fitted_above_split(report);
    for (index, draft) in drafts.iter().enumerate() {
        match draft.stage.as_ref().map(|stage| stage.shape()) {
            Some(Shape::Model(model)) => plan.refuse_leaks(index, model, report),
            Some(Shape::Deploy(deploy)) => plan.check_deploy(index, deploy, report),
            // A backtest's model learns too; that of a model is asked through it.
            _ => {
                let nested = draft.stage.iter().flat_map(|stage| stage.nested());
                for model in nested.filter_map(|nested| nested.model().ok()) {
                    plan.refuse_leaks(index, model, report);
                }
            }
        }
    }
    plan.warn_of_dropped_rows(report);
}

/// No sink may write where a source reads, nor where another sink writes: rows would be lost without a word.
pub(crate) fn check_files(drafts: &[Draft], seed: u64, directory: &Path, report: &mut Report<'_>) {
    let cx = SourceContext {
        seed,
        directory,
        run_key: None,
    };
    let is_sink = |draft: &Draft| {
        let shape = draft.stage.as_ref().map(|stage| stage.shape());
        matches!(shape, Some(Shape::Sink(_)))
    };
    if !drafts.iter().any(is_sink) {
        return;
    }
    let mut taken: BTreeMap<PathBuf, (&str, &str)> = BTreeMap::new();
    for draft in drafts {
        if let Some(Shape::Source(source)) = draft.stage.as_ref().map(|stage| stage.shape())
            // A source that cannot be read has been reported by its own check.
            && let Ok(files) = source.files(&cx)
        {
            for file in files {
                taken.insert(real(&file), (&draft.id, "reads"));
            }
        }
    }
    for draft in drafts {
        let Some(Shape::Sink(sink)) = draft.stage.as_ref().map(|stage| stage.shape()) else {
            continue;
        };
        let Some(target) = sink.target(&cx) else {
            continue;
        };
        if let Some((other, does)) = taken.get(&real(&target)) {
            let message = format!(
                "stage `{}` would replace the file that `{other}` {does}",
                draft.id
            );
            let span = match draft.params.get("path") {
                Some(path) => path.span.clone(),
                None => draft.place.clone(),
            };
            let diagnostic = report.error(span, "file-taken", message);
            diagnostic.label = Some(format!("`{other}` {does} this file"));
            diagnostic.help.push("write to another file".into());
        } else {
            taken.insert(real(&target), (&draft.id, "writes"));
        }
    }
}

/// The file itself, whatever links and dots lead to it; as written, where nothing is there yet.
fn real(path: &Path) -> PathBuf {
    let resolved = path.canonicalize().or_else(|_| {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let name = path.file_name().unwrap_or_default();
        folder.canonicalize().map(|folder| folder.join(name))
    });
    resolved.unwrap_or_else(|_| path.components().collect())
}

struct Whole<'a> {
    drafts: &'a [Draft],
    order: &'a [usize],
    schemas: &'a [Schema],
}

impl<'a> Whole<'a> {
    fn shape(&self, index: usize) -> Option<Shape<'a>> {
        self.drafts[index].stage.as_ref().map(|stage| stage.shape())
    }

    fn inputs(&self, index: usize) -> impl Iterator<Item = usize> + 'a {
        self.drafts[index].inputs.iter().flatten().copied()
    }

    /// The schema of the frame that the stage reads first.
    fn input(&self, index: usize) -> Option<&'a Schema> {
        self.inputs(index).next().map(|input| &self.schemas[input])
    }

    /// For each stage, whether it or one that reads it (at any distance) is of some sort: the nearest such.
    fn below(&self, is_sort: impl Fn(usize) -> bool) -> Vec<Option<usize>> {
        let mut found: Vec<Option<usize>> = vec![None; self.drafts.len()];
        for &index in self.order.iter().rev() {
            let here = if is_sort(index) {
                Some(index)
            } else {
                found[index]
            };
            if here.is_some() {
                for input in self.inputs(index) {
                    found[input] = here;
                }
            }
        }
        found
    }

    /// All stages above, in the plan's order.
    fn above(&self, index: usize) -> Vec<usize> {
        let mut is_above = vec![false; self.drafts.len()];
        let mut open: Vec<usize> = self.inputs(index).collect();
        while let Some(stage) = open.pop() {
            if !std::mem::replace(&mut is_above[stage], true) {
                open.extend(self.inputs(stage));
            }
        }
        self.order
            .iter()
            .copied()
            .filter(|stage| is_above[*stage])
            .collect()
    }

    fn line(&self, index: usize, report: &Report<'_>) -> usize {
        report.line(&self.drafts[index].place)
    }

    fn refuse_fitted_above_split(&self, report: &mut Report<'_>) {
        let split_below = self.below(|index| matches!(self.shape(index), Some(Shape::Split(_))));
        for (index, draft) in self.drafts.iter().enumerate() {
            let is_fitted = self.shape(index).is_some_and(|shape| shape.is_fitted());
            let Some(split) = split_below[index].filter(|_| is_fitted) else {
                continue;
            };
            let name = &self.drafts[split].id;
            let line = self.line(split, report);
            let message = format!(
                "stage `{}` learns from rows that `{name}` has not split yet",
                draft.id
            );
            let diagnostic = report.error(draft.place.clone(), "fitted-above-split", message);
            diagnostic.label =
                Some("learns from rows that the split below puts into the test part".into());
            diagnostic.help.push(format!("move it below `{name}`"));
            diagnostic.notes.push(format!(
                "`{name}` splits on line {line}; figures on the test part would be too good"
            ));
        }
    }

    fn refuse_leaks(&self, index: usize, model: &dyn Model, report: &mut Report<'_>) {
        let Some(input) = self.input(index) else {
            return;
        };
        let id = &self.drafts[index].id;
        for name in model.features(input) {
            let Some(column) = input.column(&name) else {
                continue;
            };
            // A target that `features:` names was refused by the model itself.
            let is_target = column.from_target.contains(&name);
            let is_known = is_target
                && report.diagnostics.iter().any(|known| {
                    known.code == "target-leak" && known.message.contains(&format!("`{name}`"))
                });
            if !column.from_target.is_empty() && !is_known {
                let message = if is_target {
                    format!("model `{id}` would learn from its target `{name}`")
                } else {
                    let chain = chain(&name, &column.from_target);
                    format!(
                        "model `{id}` would learn from `{name}`, which is computed from the target: {chain}"
                    )
                };
                let diagnostic = self.refuse_feature(index, &name, "target-leak", message, report);
                diagnostic.label = Some("knows the answer".into());
                diagnostic.help.push(format!(
                    "drop `{name}` above the model, or give it `role: ignore` under `columns:`"
                ));
            }
            if !column.from_pii.is_empty() && !model.allow_pii() {
                let origin = if column.from_pii.contains(&name) {
                    format!("`{name}`")
                } else {
                    chain(&name, &column.from_pii)
                };
                let message = format!("model `{id}` would learn from personal data: {origin}");
                let diagnostic = self.refuse_feature(index, &name, "pii-feature", message, report);
                diagnostic.label = Some("personal data".into());
                diagnostic.help.push(format!(
                    "drop `{name}` above the model, or set `allow_pii: true` on `{id}`"
                ));
            }
        }
    }

    /// An error about a feature of a model: where the column is made, else where the model names it, else at the model.
    fn refuse_feature<'r>(
        &self,
        model: usize,
        column: &str,
        code: &str,
        message: String,
        report: &'r mut Report<'_>,
    ) -> &'r mut Diagnostic {
        let draft = &self.drafts[model];
        let span = match self.maker(model, column).map(|maker| &self.drafts[maker]) {
            Some(maker) => {
                key_named(&maker.params, column, 3).unwrap_or_else(|| maker.place.clone())
            }
            None => item_named(&draft.params, column).unwrap_or_else(|| draft.place.clone()),
        };
        let line = self.line(model, report);
        let is_elsewhere = report.line(&span) != line;
        let diagnostic = report.error(span, code, message);
        if is_elsewhere {
            diagnostic
                .notes
                .push(format!("`{}` is on line {line}", draft.id));
        }
        diagnostic
    }

    /// The stage that made a column of the frame that a stage reads; `None` where a source did.
    fn maker(&self, index: usize, column: &str) -> Option<usize> {
        let mut current = self.inputs(index).next()?;
        for _ in 0..self.drafts.len() {
            let Some(above) = self
                .inputs(current)
                .find(|input| self.schemas[*input].column(column).is_some())
            else {
                break;
            };
            // The column may have been replaced here by one that knows more.
            let before = self.schemas[above].column(column);
            let after = self.schemas[current].column(column);
            let is_same = before.zip(after).is_some_and(|(before, after)| {
                before.from_target == after.from_target && before.from_pii == after.from_pii
            });
            if !is_same {
                break;
            }
            current = above;
        }
        (!matches!(self.shape(current), Some(Shape::Source(_)))).then_some(current)
    }

    fn check_deploy(&self, index: usize, deploy: &dyn Deploy, report: &mut Report<'_>) {
        let draft = &self.drafts[index];
        let above = self.above(index);
        let is_complete = self.is_complete(index, &above);
        let models: Vec<usize> = above
            .iter()
            .copied()
            .filter(|stage| matches!(self.shape(*stage), Some(Shape::Model(_))))
            .collect();
        match models.as_slice() {
            [] if is_complete => {
                let message = format!("stage `{}` has no model above it to deploy", draft.id);
                let diagnostic = report.error(draft.place.clone(), "nothing-to-deploy", message);
                diagnostic
                    .help
                    .push("put a `model.*` stage above it, or name its branch with `from`".into());
            }
            [] => {}
            [others @ .., last] => {
                let other = others
                    .iter()
                    .find(|other| !self.is_learned_from(**other, *last));
                if let Some(other) = other {
                    let message = format!(
                        "stage `{}` has two models above it: `{}` and `{}`",
                        draft.id, self.drafts[*other].id, self.drafts[*last].id
                    );
                    let diagnostic = report.error(draft.place.clone(), "two-models", message);
                    diagnostic.help.push(
                    "a bundle holds one model, and those that it learns from: give each model its own branch with `from`".into(),
                    );
                }
            }
        }
        self.check_gates(index, deploy, &above, report);
    }

    /// Whether every stage above is known: what an unreadable one would have been, nobody knows.
    fn is_complete(&self, index: usize, above: &[usize]) -> bool {
        let inputs = &self.drafts[index].inputs;
        above
            .iter()
            .all(|stage| self.drafts[*stage].stage.is_some())
            && inputs.iter().all(Option::is_some)
            && !inputs.is_empty()
    }

    /// Whether a model learns from what a model above it says.
    fn is_learned_from(&self, upper: usize, lower: usize) -> bool {
        let (Some(Shape::Model(model)), true) =
            (self.shape(lower), self.above(lower).contains(&upper))
        else {
            return false;
        };
        let before: Vec<&Schema> = self
            .inputs(upper)
            .map(|input| &self.schemas[input])
            .collect();
        let read: Vec<String> = self
            .inputs(lower)
            .flat_map(|input| model.features(&self.schemas[input]))
            .collect();
        let after = self.schemas[upper].columns.iter();
        after
            .filter(|column| {
                before
                    .iter()
                    .all(|schema| schema.column(&column.name).is_none())
            })
            .any(|column| column.role == Role::Feature || read.contains(&column.name))
    }

    fn check_gates(
        &self,
        index: usize,
        deploy: &dyn Deploy,
        above: &[usize],
        report: &mut Report<'_>,
    ) {
        let draft = &self.drafts[index];
        let is_complete = self.is_complete(index, above);
        let required = deploy.require();
        if required.is_empty() {
            return;
        }
        let require = draft.params.get("require");
        let require_span = || {
            let entry = draft.params.entry("require");
            entry.map_or_else(|| draft.place.clone(), |(key, _)| key.span.clone())
        };
        let is_evaluated = above
            .iter()
            .any(|stage| matches!(self.shape(*stage), Some(Shape::Evaluate(_))));
        if !is_evaluated {
            if is_complete {
                let message = format!(
                    "stage `{}` requires metrics, and nothing above it evaluates",
                    draft.id
                );
                let diagnostic = report.error(require_span(), "nothing-evaluated", message);
                diagnostic
                    .help
                    .push("put an `evaluate.*` stage between the model and this stage".into());
            }
            return;
        }
        let Some(input) = self
            .input(index)
            // Labels that only training knows leave a schema incomplete; the metrics are known all the same.
            .filter(|input| is_complete && (!input.incomplete || !input.facts.metrics.is_empty()))
        else {
            return;
        };
        let is_contested = required
            .iter()
            .any(|(_, requirement)| matches!(requirement.bound, Bound::Champion { .. }));
        let moves = |stage: &&usize| {
            let kind = self.drafts[**stage].kind.map_or("", |kind| kind.name);
            kind.starts_with("split.") && !matches!(kind, "split.time" | "split.column")
        };
        if let Some(split) = above.iter().find(moves).filter(|_| is_contested) {
            let message = format!(
                "stage `{}` compares with a registered version, which may have learned from rows that `{}` holds out this time",
                draft.id, self.drafts[*split].id
            );
            let diagnostic = report.warning(require_span(), "learned-before", message);
            diagnostic.help.push(
                "when the data or the seed change, `split.time` or `split.column` keep the same rows apart; else the registered version looks better than it is".into(),
            );
        }
        for (metric, requirement) in required {
            let span = require
                .and_then(|require| require.entry(&metric))
                .map_or_else(|| draft.place.clone(), |(key, _)| key.span.clone());
            if let Bound::Champion { version, .. } = &requirement.bound
                && input.facts.metrics.contains(version)
            {
                let message = format!(
                    "`{metric}` is bound by `{version}`, which is a metric and no registered version"
                );
                let diagnostic = report.error(span.clone(), "bound-by-metric", message);
                diagnostic.help.push(
                    "a bound is a number, or the alias of a version: `>= 0.9`, `>= production`"
                        .into(),
                );
            }
            if input.facts.metrics.contains(&metric) {
                continue;
            }
            let known: Vec<&str> = input.facts.metrics.iter().map(String::as_str).collect();
            let message = format!("no evaluation above produces the metric `{metric}`");
            let diagnostic = report.error(span, "unknown-metric", message);
            diagnostic.help.extend(
                closest(&metric, known.iter().copied())
                    .map(|near| format!("did you mean `{near}`?")),
            );
            diagnostic.notes.push(match known.as_slice() {
                [] => "the evaluation produces no metrics".into(),
                known => format!("produced: {}", quoted(known)),
            });
        }
    }

    /// A bundle replays what stands below the last stage that drops rows: features above that would have to come ready-made.
    fn warn_of_dropped_rows(&self, report: &mut Report<'_>) {
        let deploy_below = self.below(|index| matches!(self.shape(index), Some(Shape::Deploy(_))));
        let model_below = self.below(|index| {
            matches!(self.shape(index), Some(Shape::Model(_))) && deploy_below[index].is_some()
        });
        let mut after_feature = vec![false; self.drafts.len()];
        for &index in self.order {
            let draft = &self.drafts[index];
            let is_feature = draft.kind.is_some_and(|kind| kind.family() == "features");
            let below_feature = self.inputs(index).any(|input| after_feature[input]);
            after_feature[index] = is_feature || below_feature;
            let (true, Some(model)) = (below_feature, model_below[index]) else {
                continue;
            };
            if self.drops_rows(index) {
                let message = format!(
                    "stage `{}` drops rows between the first feature and the model `{}`",
                    draft.id, self.drafts[model].id
                );
                let diagnostic = report.warning(draft.place.clone(), "drops-rows", message);
                diagnostic.label = Some("scoring starts below it: the rows to score would have to bring the features above".into());
                diagnostic
                    .help
                    .push("move it above the first `features.*` stage".into());
            }
        }
    }

    fn drops_rows(&self, index: usize) -> bool {
        let relational = match self.shape(index) {
            Some(shape) if shape.is_training_only() => return false,
            Some(Shape::Relational(relational)) => relational,
            Some(Shape::Estimator(estimator)) => return !estimator.keeps_rows(),
            _ => return false,
        };
        let inputs: Vec<Schema> = self
            .inputs(index)
            .map(|input| self.schemas[input].clone())
            .collect();
        // A stage that was refused cannot say what it would do.
        if self.drafts[index].wrong_inputs
            || inputs.iter().any(|input| input.incomplete)
            || self.schemas[index].incomplete
        {
            return false;
        }
        relational
            .lower(&inputs)
            .is_ok_and(|operations| operations.iter().any(loses_rows))
    }
}

fn loses_rows(operation: &Operation) -> bool {
    match operation {
        Operation::Sort(_) | Operation::Union { .. } => false,
        Operation::Join { kind, .. } => !matches!(kind, JoinKind::Left | JoinKind::Full),
        other => !other.keeps_rows(),
    }
}

fn chain(name: &str, origins: &BTreeSet<String>) -> String {
    let origins: Vec<&str> = origins.iter().map(String::as_str).collect();
    format!("`{name}` ← {}", quoted(&origins))
}

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The item of a list right under the params (`features: [amount, age]`) that is this name.
fn item_named(params: &Node, name: &str) -> Option<Range<usize>> {
    params
        .entries()
        .iter()
        .flat_map(|(_, node)| node.items())
        .find(|item| item.text() == Some(name))
        .map(|item| item.span.clone())
}

/// The key of that name, at most so many levels down.
fn key_named(node: &Node, name: &str, depth: usize) -> Option<Range<usize>> {
    if let Some((key, _)) = node.entry(name) {
        return Some(key.span.clone());
    }
    (depth > 0).then(|| {
        node.entries()
            .iter()
            .map(|(_, node)| node)
            .chain(node.items())
            .find_map(|node| key_named(node, name, depth - 1))
    })?
}
