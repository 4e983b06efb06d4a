//! From a spec's text to a checked plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use taktline_core::{
    Capabilities, CheckContext, Diagnostic, Kind, Location, ParamStep, Problem, Registry, Role,
    Schema, Severity, Shape, Stage, did_you_mean, type_name,
};

use crate::{
    cases,
    document::{ColumnDeclaration, DEFAULT_SEED, Document, TestCase},
    graph,
    report::{Report, underline},
    rules,
    schedule::{self, Occurrence, PlacedSchedule, ScheduleEntry},
    source::{Places, SourceText},
    stages::{Draft, read_stages},
    substitute::{Environment, Substitution},
    tree::{Node, NodeValue, parse_leniently},
    validate::{Compiled, Subject, hold},
};

/// What a spec is checked with.
pub struct Options<'a> {
    /// `--param name=value`, in the order given; the last of a name counts.
    pub params: Vec<(String, String)>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// The directory that relative paths start from.
    pub directory: &'a Path,
    /// What this build can do.
    pub capabilities: Capabilities,
    /// Environment variables, for `${env:NAME}` and `${secret:NAME}`.
    pub environment: Environment<'a>,
    /// What the run stands for: `${schedule.time}`.
    pub occurrence: Occurrence,
    /// The kinds that there are.
    pub registry: &'a Registry,
}

/// A checked pipeline, ready to run.
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: String,
    /// What it is for.
    pub about: Option<String>,
    /// The seed of everything random that has no seed of its own.
    pub seed: u64,
    /// The stages, each after the stages that it reads; as written where that is free.
    pub stages: Vec<PlannedStage>,
    /// What columns are for, by name.
    pub columns: Vec<(String, Role)>,
    /// When it runs.
    pub schedule: Vec<ScheduleEntry>,
    /// What must come out of its stages, given small frames.
    pub tests: Vec<PlannedTest>,
    /// The spec.
    pub source: SourceText,
    places: Places,
    secrets: BTreeMap<String, String>,
}

impl Plan {
    /// The stage of that id.
    pub fn stage(&self, id: &str) -> Option<&PlannedStage> {
        self.stages.iter().find(|stage| stage.id == id)
    }

    /// A text with every secret of the spec replaced by its name: for messages that come from outside taktline.
    pub fn redact(&self, text: &str) -> String {
        Substitution::redact(&self.secrets, text).unwrap_or_else(|| text.to_owned())
    }
}

/// A stage of a [`Plan`].
pub struct PlannedStage {
    /// Its name in the pipeline.
    pub id: String,
    /// Its kind.
    pub kind: &'static Kind,
    /// Its params with `${…}` put in; a secret stands as `${secret:NAME}`.
    pub params: serde_yaml::Value,
    /// The stage itself.
    pub stage: Box<dyn Stage>,
    /// The stages that it reads, by their place in the plan.
    pub inputs: Vec<usize>,
    /// The schema after it.
    pub schema: Schema,
    /// Where its kind is written.
    pub location: Location,
    /// Whether what it gives is kept for the next run.
    pub cache: bool,
    /// What it is for.
    pub about: Option<String>,
    node: Node,
}

/// A test of a [`Plan`].
pub struct PlannedTest {
    /// What is given and expected.
    pub case: TestCase,
    /// Where its name is written.
    pub location: Location,
    node: Node,
}

/// What a check found.
pub struct Checked {
    /// The plan, if there is no error.
    pub plan: Option<Plan>,
    /// Everything that was found, by its place in the file.
    pub diagnostics: Vec<Diagnostic>,
    /// What the sources of a pipeline that cannot run give, as far as it is known.
    pub sources: Vec<SourceColumns>,
}

/// The columns that a source of a pipeline gives.
pub struct SourceColumns {
    /// The pipeline's name.
    pub pipeline: String,
    /// The source's id.
    pub stage: String,
    /// Its kind.
    pub kind: &'static Kind,
    /// Its columns.
    pub schema: Schema,
    /// Where its kind is written.
    pub location: Location,
}

impl Checked {
    /// Whether the pipeline can run.
    pub fn is_ok(&self) -> bool {
        self.plan.is_some()
    }
}

/// Checks a spec: its text, its shape, every stage's params, and every stage against the schemas above it.
///
/// All problems are found in one pass. Nothing is run; sources look at as much of their data as tells its schema.
pub fn check(source: SourceText, options: &Options<'_>) -> Checked {
    let places = Places::new(&source);
    let mut report = Report::new(&source, &places);
    let (root, unreadable) = parse_leniently(&source);
    report.diagnostics.extend(unreadable);
    let mut substitution = None;
    let parts = root.and_then(|root| {
        let substitution = substitution.insert(substitute(&root, options, &mut report));
        read_document(root, substitution, options, &mut report)
    });
    let secrets = substitution
        .map(|substitution| substitution.secrets)
        .unwrap_or_default();
    let errors = report.errors();
    let mut diagnostics = std::mem::take(&mut report.diagnostics);
    for diagnostic in &mut diagnostics {
        redact(&secrets, diagnostic);
    }
    in_order(&mut diagnostics);
    let (plan, sources) = match parts {
        Some(parts) if errors == 0 => (parts.into_plan(source, places, secrets), Vec::new()),
        Some(parts) => (None, parts.sources(&source, &places)),
        None => (None, Vec::new()),
    };
    Checked {
        plan,
        diagnostics,
        sources,
    }
}

/// What a scheduler has to know of a spec.
#[derive(Debug, Default)]
pub struct Outline {
    /// The pipeline's name.
    pub pipeline: String,
    /// When it runs.
    pub schedules: Vec<PlacedSchedule>,
    /// What is wrong with the spec as far as it was looked at.
    pub diagnostics: Vec<Diagnostic>,
}

impl Outline {
    /// Whether nothing wrong was seen.
    pub fn is_ok(&self) -> bool {
        self.diagnostics
            .iter()
            .all(|diagnostic| diagnostic.severity != Severity::Error)
    }
}

/// Reads a spec's name and schedules, without looking at its stages or any data.
pub fn outline(source: &SourceText, environment: Environment<'_>) -> Outline {
    let places = Places::new(source);
    let mut report = Report::new(source, &places);
    let (root, unreadable) = parse_leniently(source);
    report.diagnostics.extend(unreadable);
    let mut outline = Outline::default();
    if let Some(mut root) = root {
        let occurrence = Occurrence::now();
        let declared = root.get("params");
        let mut substitution =
            Substitution::declare(declared, &[], environment, &occurrence, &mut report);
        // A param without a default may get its value from the schedule.
        report
            .diagnostics
            .retain(|diagnostic| diagnostic.code != "missing-param");
        if let NodeValue::Mapping(entries) = &mut root.value {
            for (key, node) in entries {
                match key.text.as_str() {
                    "pipeline" => substitution.apply(node, &mut report),
                    "schedule" => {
                        schedule::apply(node, |part| substitution.apply(part, &mut report));
                    }
                    _ => {}
                }
            }
        }
        outline.pipeline = root
            .get("pipeline")
            .and_then(Node::text)
            .unwrap_or_default()
            .to_owned();
        let list = root.get("schedule");
        let entries: Vec<ScheduleEntry> = read_list(list, "schedule", &mut report);
        report_duplicate_schedules(list, &mut report);
        let names = substitution.params.keys().map(String::as_str).collect();
        schedule::check(list, &names, &mut report);
        let nodes = list.map(Node::items).unwrap_or_default();
        let place = |node: &Node| places.location(source, underline(source, node, None));
        // As many as there are, or there is an error.
        outline.schedules = entries
            .into_iter()
            .zip(nodes)
            .map(|(entry, node)| PlacedSchedule {
                location: place(node.get("id").unwrap_or(node)),
                after: node.get("after").map(place),
                entry,
            })
            .collect();
        for diagnostic in &mut report.diagnostics {
            redact(&substitution.secrets, diagnostic);
        }
    }
    outline.diagnostics = std::mem::take(&mut report.diagnostics);
    in_order(&mut outline.diagnostics);
    outline
}

/// A problem of a stage, met at check or while running, with its place in the spec.
pub fn locate(plan: &Plan, stage: usize, problem: &Problem) -> Diagnostic {
    let place = plan.stages.get(stage);
    let place = place.map(|stage| (&stage.node, &stage.location));
    located(plan, place, problem)
}

/// A problem of a test, met while it ran, with its place in the spec.
pub fn locate_in_test(plan: &Plan, test: usize, problem: &Problem) -> Diagnostic {
    let place = plan.tests.get(test);
    let place = place.map(|test| (&test.node, &test.location));
    located(plan, place, problem)
}

fn located(plan: &Plan, place: Option<(&Node, &Location)>, problem: &Problem) -> Diagnostic {
    let location = place.map(|(node, location)| {
        let span = problem_span(node, &location.span, problem, &plan.source);
        plan.places.location(&plan.source, span)
    });
    let mut diagnostic = Diagnostic {
        severity: problem.severity,
        code: problem.code.to_owned(),
        message: problem.message.clone(),
        location,
        label: problem.label.clone(),
        help: problem.help.clone(),
        notes: problem.notes.clone(),
    };
    redact(&plan.secrets, &mut diagnostic);
    diagnostic
}

fn redact(secrets: &BTreeMap<String, String>, diagnostic: &mut Diagnostic) {
    if secrets.is_empty() {
        return;
    }
    let texts = std::iter::once(&mut diagnostic.message)
        .chain(&mut diagnostic.label)
        .chain(&mut diagnostic.help)
        .chain(&mut diagnostic.notes);
    for text in texts {
        if let Some(hidden) = Substitution::redact(secrets, text) {
            *text = hidden;
        }
    }
}

/// By place, without repeats; what has no place comes first.
fn in_order(diagnostics: &mut Vec<Diagnostic>) {
    let place = |diagnostic: &Diagnostic| {
        diagnostic
            .location
            .as_ref()
            .map(|location| (location.span.start, location.span.end))
    };
    diagnostics.sort_by_key(place);
    let mut seen = BTreeSet::new();
    diagnostics.retain(|diagnostic| {
        seen.insert((
            place(diagnostic),
            diagnostic.code.clone(),
            diagnostic.message.clone(),
        ))
    });
}

/// The bytes that a problem of a stage is about.
pub(crate) fn problem_span(
    params: &Node,
    kind: &Range<usize>,
    problem: &Problem,
    source: &SourceText,
) -> Range<usize> {
    let mut node = params;
    let mut span = kind.clone();
    for step in &problem.path.0 {
        let next = match step {
            ParamStep::Key(name) => node.entry(name).map(|(key, value)| (Some(key), value)),
            ParamStep::Index(index) => node.item(*index).map(|item| (None, item)),
            ParamStep::KeyOf(name) => {
                return node.entry(name).map_or(span, |(key, _)| key.span.clone());
            }
        };
        // Where the step leads nowhere (a default, a scalar written for a list of one), the nearest node above is meant.
        let Some((key, value)) = next else {
            return span;
        };
        node = value;
        span = underline(source, node, key);
    }
    match (&problem.range, problem.path.0.is_empty()) {
        (Some(range), false) => node.narrow(source, range.clone()),
        _ => span,
    }
}

struct Parts {
    pipeline: String,
    about: Option<String>,
    seed: u64,
    columns: Vec<(String, Role)>,
    schedule: Vec<ScheduleEntry>,
    tests: Vec<(TestCase, Node)>,
    drafts: Vec<Draft>,
    order: Vec<usize>,
    schemas: Vec<Schema>,
}

impl Parts {
    fn sources(self, source: &SourceText, places: &Places) -> Vec<SourceColumns> {
        self.drafts
            .into_iter()
            .zip(self.schemas)
            .filter_map(|(draft, schema)| {
                let is_source = matches!(draft.stage.as_ref()?.shape(), Shape::Source(_));
                (is_source && !schema.incomplete).then_some(SourceColumns {
                    pipeline: self.pipeline.clone(),
                    stage: draft.id,
                    kind: draft.kind?,
                    schema,
                    location: places.location(source, draft.place),
                })
            })
            .collect()
    }

    fn into_plan(
        self,
        source: SourceText,
        places: Places,
        secrets: BTreeMap<String, String>,
    ) -> Option<Plan> {
        let mut position = vec![0; self.drafts.len()];
        for (place, index) in self.order.iter().enumerate() {
            position[*index] = place;
        }
        let mut stages: Vec<(usize, PlannedStage)> = Vec::with_capacity(self.drafts.len());
        for (index, (draft, schema)) in self.drafts.into_iter().zip(self.schemas).enumerate() {
            let inputs = draft
                .inputs
                .iter()
                .map(|input| input.map(|input| position[input]))
                .collect::<Option<_>>()?;
            let location = places.location(&source, draft.place.clone());
            let stage = PlannedStage {
                id: draft.id,
                kind: draft.kind?,
                params: draft.values,
                stage: draft.stage?,
                inputs,
                schema,
                location,
                cache: draft.cache,
                about: draft.about,
                node: draft.params,
            };
            stages.push((position[index], stage));
        }
        stages.sort_by_key(|(place, _)| *place);
        let tests = self.tests.into_iter().map(|(case, node)| {
            let named = node.get("name").map_or(&node, |name| name);
            PlannedTest {
                case,
                location: places.location(&source, underline(&source, named, None)),
                node,
            }
        });
        let tests = tests.collect();
        Some(Plan {
            pipeline: self.pipeline,
            about: self.about,
            seed: self.seed,
            stages: stages.into_iter().map(|(_, stage)| stage).collect(),
            columns: self.columns,
            schedule: self.schedule,
            tests,
            source,
            places,
            secrets,
        })
    }
}

fn substitute<'a>(root: &Node, options: &Options<'a>, report: &mut Report<'_>) -> Substitution<'a> {
    Substitution::declare(
        root.get("params"),
        &options.params,
        options.environment,
        &options.occurrence,
        report,
    )
}

/// The schema of the document, ready for the keys that this one has: most have neither tests nor a schedule, whose schemas
/// are the large ones.
fn document_schema(root: &Node) -> Result<Arc<Compiled>, String> {
    static COMPILED: Mutex<BTreeMap<Vec<&'static str>, Arc<Compiled>>> =
        Mutex::new(BTreeMap::new());
    let absent: Vec<&str> = ["columns", "params", "schedule", "tests"]
        .into_iter()
        .filter(|key| root.get(key).is_none())
        .collect();
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = compiled.get(&absent) {
        return Ok(Arc::clone(known));
    }
    let new = Arc::new(Compiled::without(schemars::schema_for!(Document), &absent)?);
    compiled.insert(absent, Arc::clone(&new));
    Ok(new)
}

/// Everything below the text: the document's own keys, its stages, and what they mean together.
fn read_document(
    mut root: Node,
    substitution: &mut Substitution<'_>,
    options: &Options<'_>,
    report: &mut Report<'_>,
) -> Option<Parts> {
    if let NodeValue::Mapping(entries) = &mut root.value {
        for (key, node) in entries.iter_mut().filter(|(key, _)| key.text != "params") {
            match key.text.as_str() {
                "schedule" => schedule::apply(node, |part| substitution.apply(part, report)),
                _ => substitution.apply(node, report),
            }
        }
        substitution.report_unused(report);
    }
    let first_line = root.span.start
        ..root
            .entries()
            .first()
            .map_or(root.span.end, |(key, _)| key.span.end);
    let subject = Subject {
        name: "the pipeline",
        noun: "key",
        unknown: "unknown-key",
        missing: "missing-key",
        place: underline(report.source, &Node::new(NodeValue::Null, first_line), None),
    };
    match document_schema(&root) {
        Ok(compiled) => {
            hold(&root, &compiled, &subject, report);
        }
        Err(error) => {
            report.error(
                0..0,
                "invalid-kind",
                format!("the schema of the document is not usable: {error}"),
            );
        }
    }
    if !matches!(root.value, NodeValue::Mapping(_)) {
        return None;
    }
    let columns = read_columns(root.get("columns"));
    let seed = options
        .seed
        .or_else(|| match root.get("seed").map(|seed| &seed.value) {
            Some(NodeValue::Int(seed)) => u64::try_from(*seed).ok(),
            // `1e3` is a whole number too, and the schema takes it.
            Some(NodeValue::Float(seed)) if seed.fract() == 0.0 && *seed >= 0.0 => {
                Some(*seed as u64)
            }
            _ => None,
        });
    let seed = seed.unwrap_or(DEFAULT_SEED);

    let nothing = Node::new(NodeValue::Null, 0..0);
    let mut drafts = read_stages(
        root.get("stages").unwrap_or(&nothing),
        options.registry,
        report,
    );
    for draft in &mut drafts {
        draft.parse(report);
    }
    graph::connect(&mut drafts, report);
    let order = graph::order(&drafts, report);
    let schemas = check_stages(&drafts, &order, &columns, seed, options, report);
    rules::check(&drafts, &order, &schemas, report);
    rules::check_files(&drafts, seed, options.directory, report);
    report_unseen_columns(root.get("columns"), &schemas, report);

    let schedule: Vec<ScheduleEntry> = read_list(root.get("schedule"), "schedule", report);
    report_duplicate_schedules(root.get("schedule"), report);
    let names = substitution.params.keys().map(String::as_str).collect();
    schedule::check(root.get("schedule"), &names, report);
    let tests: Vec<TestCase> = read_list(root.get("tests"), "tests", report);
    cases::check(root.get("tests"), &drafts, &schemas, report);
    // As many as there are, or there is an error and no plan.
    let nodes = root.get("tests").map(Node::items).unwrap_or_default();
    let tests = tests.into_iter().zip(nodes.iter().cloned()).collect();

    Some(Parts {
        pipeline: root
            .get("pipeline")
            .and_then(Node::text)
            .unwrap_or_default()
            .to_owned(),
        about: root.get("about").and_then(Node::text).map(str::to_owned),
        seed,
        columns,
        schedule,
        tests,
        drafts,
        order,
        schemas,
    })
}

/// Roles that could be read; the others have been reported.
fn read_columns(block: Option<&Node>) -> Vec<(String, Role)> {
    block
        .map(Node::entries)
        .unwrap_or_default()
        .iter()
        .filter_map(|(key, node)| {
            let declaration: ColumnDeclaration = serde_yaml::from_value(node.to_yaml(true)).ok()?;
            Some((key.text.clone(), declaration.role))
        })
        .collect()
}

/// The entries of a top-level list; the ones that do not fit the schema have been reported.
fn read_list<T: DeserializeOwned>(
    list: Option<&Node>,
    key: &str,
    report: &mut Report<'_>,
) -> Vec<T> {
    let errors = report.errors();
    let mut entries = Vec::new();
    for node in list.map(Node::items).unwrap_or_default() {
        match serde_yaml::from_value(node.to_yaml(true)) {
            Ok(entry) => entries.push(entry),
            // The schema has said it, and better.
            Err(_) if errors > 0 => {}
            Err(error) => {
                let span = report.underline(node, None);
                report.error(span, "invalid-params", format!("`{key}`: {error}"));
            }
        }
    }
    entries
}

/// Checks every stage against the schemas above it; the schemas after each, in the order of `drafts`.
fn check_stages(
    drafts: &[Draft],
    order: &[usize],
    columns: &[(String, Role)],
    seed: u64,
    options: &Options<'_>,
    report: &mut Report<'_>,
) -> Vec<Schema> {
    let mut schemas: Vec<Schema> = vec![
        Schema {
            incomplete: true,
            ..Schema::default()
        };
        drafts.len()
    ];
    for &index in order {
        let draft = &drafts[index];
        let gathered: Vec<Schema>;
        let inputs = match draft.inputs.as_slice() {
            // Nearly every stage has one input, which need not be copied.
            [Some(input)] => std::slice::from_ref(&schemas[*input]),
            several => {
                gathered = several
                    .iter()
                    .map(|input| match input {
                        Some(input) => schemas[*input].clone(),
                        None => Schema {
                            incomplete: true,
                            ..Schema::default()
                        },
                    })
                    .collect();
                &gathered
            }
        };
        let incomplete_above = inputs.iter().any(|input| input.incomplete);
        let mut schema = match &draft.stage {
            Some(stage) if !draft.wrong_inputs => {
                let mut cx = CheckContext {
                    stage: &draft.id,
                    seed,
                    directory: options.directory,
                    capabilities: &options.capabilities,
                    problems: Vec::new(),
                };
                let mut schema = stage.check(inputs, &mut cx);
                let is_source = inputs.is_empty();
                schema.incomplete |= incomplete_above || (is_source && cx.failed());
                // What other stages make of columns that are not known yet has names of its own.
                schema.facts.lacks_classes_only &= matches!(
                    stage.shape(),
                    Shape::Model(_) | Shape::Evaluate(_) | Shape::Sink(_)
                );
                if let (Shape::Evaluate(evaluate), Some(input)) = (stage.shape(), inputs.first()) {
                    for metric in evaluate.metrics(input) {
                        if !schema.facts.metrics.contains(&metric) {
                            schema.facts.metrics.push(metric);
                        }
                    }
                }
                for problem in &cx.problems {
                    if incomplete_above && follows_from_above(problem, inputs) {
                        continue;
                    }
                    let span = problem_span(&draft.params, &draft.place, problem, report.source);
                    let evidence = (problem.code == "unknown-column")
                        .then(|| column_evidence(problem, index, drafts, &schemas, report))
                        .flatten();
                    report.problem(span, problem).notes.extend(evidence);
                }
                schema
            }
            _ => {
                let mut schema = inputs.first().cloned().unwrap_or_default();
                schema.incomplete = true;
                schema
            }
        };
        schema.facts.stage = draft.id.clone();
        for (name, role) in columns {
            if let Some(column) = schema
                .column_mut(name)
                .filter(|column| column.role != Role::Internal)
            {
                *column = column.clone().with_role(*role);
            }
        }
        schemas[index] = schema;
    }
    schemas
}

/// Whether a problem may come only from what is missing because a stage above is wrong.
fn follows_from_above(problem: &Problem, inputs: &[Schema]) -> bool {
    let may_be_there = |name: &String| inputs.iter().any(|input| input.may_have(name));
    problem.severity == Severity::Error
        && match problem.code {
            "unknown-column" => problem.column.as_ref().is_none_or(may_be_there),
            code => code.starts_with("no-"),
        }
}

/// Where an unknown column was lost, or what the frame has instead.
fn column_evidence(
    problem: &Problem,
    index: usize,
    drafts: &[Draft],
    schemas: &[Schema],
    report: &Report<'_>,
) -> Option<String> {
    let input = drafts[index].inputs.iter().flatten().next().copied()?;
    let names: Vec<&str> = problem.message.split('`').skip(1).step_by(2).collect();
    let line = |index: usize| report.line(&drafts[index].place);
    // Upwards along first inputs: the nearest stage that still had the column, and the one below that lost it.
    let mut below = input;
    let mut above = drafts[input].inputs.iter().flatten().next().copied();
    for _ in 0..drafts.len() {
        let Some(current) = above else { break };
        let lost = names.iter().find(|name| {
            schemas[current].column(name).is_some() && schemas[below].column(name).is_none()
        });
        if let Some(name) = lost {
            return Some(format!(
                "`{}` (line {}) still has `{name}`; `{}` (line {}) drops it",
                drafts[current].id,
                line(current),
                drafts[below].id,
                line(below)
            ));
        }
        below = current;
        above = drafts[current].inputs.iter().flatten().next().copied();
    }
    let is_listed = problem.help.iter().any(|help| help.starts_with("known: "));
    if is_listed || !problem.notes.is_empty() || schemas[input].columns.is_empty() {
        return None;
    }
    let shown = 12;
    let columns: Vec<String> = schemas[input]
        .columns
        .iter()
        .take(shown)
        .map(|column| format!("`{}` ({})", column.name, type_name(&column.dtype)))
        .collect();
    let more = if schemas[input].columns.len() > shown {
        ", …"
    } else {
        ""
    };
    Some(format!(
        "`{}` (line {}) gives {}{more}",
        drafts[input].id,
        line(input),
        columns.join(", ")
    ))
}

/// A role for a column that no stage has does nothing, which is never what was meant.
fn report_unseen_columns(block: Option<&Node>, schemas: &[Schema], report: &mut Report<'_>) {
    let Some(block) = block else { return };
    if schemas.is_empty() || schemas.iter().any(|schema| schema.incomplete) {
        return;
    }
    let seen: BTreeSet<&str> = schemas.iter().flat_map(|schema| schema.names()).collect();
    for (key, _) in block
        .entries()
        .iter()
        .filter(|(key, _)| !seen.contains(key.text.as_str()))
    {
        let help = did_you_mean(&key.text, seen.iter().copied());
        let message = format!("no stage has a column `{}`", key.text);
        report
            .error(key.span.clone(), "unknown-column", message)
            .help
            .extend(help);
    }
}

fn report_duplicate_schedules(list: Option<&Node>, report: &mut Report<'_>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for id in list
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| entry.get("id"))
    {
        let Some(name) = id.text() else { continue };
        match seen.get(name) {
            Some(line) => {
                let diagnostic = report.error(
                    id.span.clone(),
                    "duplicate-id",
                    format!("two schedules have the id `{name}`"),
                );
                diagnostic.notes.push(format!("first used on line {line}"));
            }
            None => {
                seen.insert(name, report.line(&id.span));
            }
        }
    }
}

/// A stage of a plan, as data: for plans that are shown or written as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    /// Its name in the pipeline.
    pub id: String,
    /// Its kind's name.
    pub kind: String,
    /// Ids of the stages that it reads.
    pub from: Vec<String>,
    /// Column names with their types, after it.
    pub columns: Vec<(String, String)>,
}

impl Plan {
    /// The stages as data.
    pub fn summary(&self) -> Vec<StageSummary> {
        let summary = |stage: &PlannedStage| StageSummary {
            id: stage.id.clone(),
            kind: stage.kind.name.to_owned(),
            from: stage
                .inputs
                .iter()
                .map(|input| self.stages[*input].id.clone())
                .collect(),
            columns: stage
                .schema
                .columns
                .iter()
                .map(|column| (column.name.clone(), type_name(&column.dtype)))
                .collect(),
        };
        self.stages.iter().map(summary).collect()
    }
}
