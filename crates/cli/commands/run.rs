//! `takt run`

use std::{
    borrow::Cow, collections::BTreeSet, io::Write, path::PathBuf, sync::Arc, time::Duration,
};

use serde::Serialize;
use taktline_core::{Cancellation, Diagnostic, Output as Delivered, Table};
use taktline_engine::{
    Failure, GateResult, Quarantine, RunOptions, RunSummary, StageOutcome, StageSummary, Store,
    output_folders, run as run_plan, write_atomically,
};
use taktline_ops::files;
use taktline_scheduler::host;
use taktline_spec::{Occurrence, Plan};
use taktline_store::{NewRun, RunReport, RunState, RunStore, new_run_id, now};

use crate::{
    args::{Pictures, RunArguments},
    diagnostics, exit,
    output::{
        Align, BAD, BOLD, FAINT, GOOD, Output, Table as Columns, counted, duration, figure, styled,
        thousands,
    },
    progress, project, run_store,
};

/// The result for scripts: what was done.
#[derive(Serialize)]
struct Finished {
    /// [`FINISHED`], or [`FAILED`] where a stage failed after an evaluation had come to its end.
    status: &'static str,
    passed: bool,
    /// None where a failed run's could not be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<String>,
    /// Why the new version is not called what it was to be called.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_promoted: Option<String>,
    /// What the check warned of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Diagnostic>,
    #[serde(flatten)]
    summary: RunSummary,
}

const FINISHED: &str = "finished";
const FAILED: &str = "failed";

/// What is kept of a run beside its report.
#[derive(Serialize)]
struct Kept<'a> {
    status: &'static str,
    #[serde(flatten)]
    summary: &'a RunSummary,
    /// What the check warned of.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [Diagnostic],
}

/// The result for scripts: why nothing came of it.
#[derive(Serialize)]
pub(super) struct Failed {
    status: &'static str,
    diagnostics: Vec<Diagnostic>,
    /// Where the rows are that broke a rule, by stage id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quarantined: Vec<(String, Quarantine)>,
}

impl Failed {
    pub(super) fn new(diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            status: FAILED,
            diagnostics,
            quarantined: Vec::new(),
        }
    }
}

pub(crate) fn run(arguments: &RunArguments, output: &mut Output) -> anyhow::Result<u8> {
    let registry = project::registry()?;
    let occurrence = match &arguments.schedule_time {
        Some(time) => Occurrence::at(time),
        None => Occurrence::now(),
    };
    let occurrence = Occurrence {
        file: arguments.schedule_file.clone(),
        ..occurrence
    };
    let loaded = project::load_for(&arguments.file, &arguments.spec, &registry, occurrence);
    loaded.print(output);
    let (false, Some(plan)) = (loaded.failed(), &loaded.checked.plan) else {
        if output.is_json() {
            output.json(&Failed::new(loaded.checked.diagnostics))?;
        }
        return Ok(exit::USAGE);
    };
    let record = Record::begin(plan, arguments);
    let directory = project::directory();
    let store = Store::new(&directory);
    let cancellation = cancellation(output_folders(plan, &directory), arguments.attended)?;
    let observer = progress::observer(output.is_watched());
    let options = RunOptions {
        fresh: arguments.fresh,
        run_key: arguments.run_key.clone(),
        run: Some(record.id.clone()),
    };
    let result = run_plan(
        plan,
        &store,
        &directory,
        &options,
        observer.as_ref(),
        &cancellation,
    );
    drop(observer);
    match result {
        Ok(summary) => {
            // An error would have ended it.
            let warnings = loaded.checked.diagnostics.clone();
            let how = (FINISHED, arguments.plots);
            let report = write_report(plan, &store, &summary, &warnings, how)?;
            let passed = summary.passed();
            let code = match (passed, summary.diagnostics.is_empty()) {
                (true, _) => exit::OK,
                (false, true) => exit::GATE,
                // A gate that nobody can keep says nothing of the model.
                (false, false) => exit::FAILED,
            };
            let mut finished = Finished {
                status: FINISHED,
                passed,
                report: Some(report),
                not_promoted: None,
                warnings,
                summary,
            };
            finished.not_promoted = record.end(code, &finished);
            tell(&finished, code, loaded.text.as_deref(), output)?;
            Ok(code)
        }
        Err(Failure {
            kind,
            diagnostic,
            found: Some(found),
            ..
        }) => {
            let mut summary = *found;
            summary.diagnostics.insert(0, *diagnostic);
            let warnings = loaded.checked.diagnostics.clone();
            let how = (FAILED, arguments.plots);
            // Why the run failed counts more than that its report could not be written.
            let report = write_report(plan, &store, &summary, &warnings, how)
                .inspect_err(|error| output.note(format!("warning: no report: {error:#}")))
                .ok();
            let finished = Finished {
                status: FAILED,
                passed: false,
                report,
                not_promoted: None,
                warnings,
                summary,
            };
            let code = exit::of(kind);
            record.end(code, &finished);
            tell(&finished, code, loaded.text.as_deref(), output)?;
            Ok(code)
        }
        Err(failure) => {
            diagnostics::print(
                std::slice::from_ref(&failure.diagnostic),
                loaded.text.as_deref(),
                output,
            );
            let code = exit::of(failure.kind);
            let failed = Failed {
                quarantined: failure.quarantined,
                ..Failed::new(vec![*failure.diagnostic])
            };
            record.end(code, &failed);
            if output.is_json() {
                output.json(&failed)?;
            }
            Ok(code)
        }
    }
}

/// Shows what was done and found, and then what went wrong.
fn tell(
    finished: &Finished,
    code: u8,
    source: Option<&str>,
    output: &mut Output,
) -> anyhow::Result<()> {
    let told = match output.is_json() {
        true => output.json(finished),
        false => text(finished, output),
    };
    let faults = &finished.summary.diagnostics;
    if !faults.is_empty() {
        output.note("");
        diagnostics::print(faults, source, output);
    }
    match code {
        exit::OK => told,
        // Who stopped reading early still learns from the exit code that the run failed.
        _ => Ok(()),
    }
}

/// Writes a run down in the run store, where nobody else does. That it cannot is told, and no reason to stop.
struct Record {
    id: String,
    store: Option<(tokio::runtime::Runtime, RunStore)>,
}

impl Record {
    fn begin(plan: &Plan, arguments: &RunArguments) -> Self {
        let id = arguments
            .run_id
            .clone()
            .unwrap_or_else(|| new_run_id(now()));
        let run = NewRun {
            id: id.clone(),
            pipeline: plan.pipeline.clone(),
            file: arguments.file.display().to_string(),
            run_key: arguments.run_key.clone(),
            // `--param` may hold a secret's value.
            params: arguments
                .spec
                .params
                .iter()
                .map(|(name, value)| (name.clone(), plan.redact(value)))
                .collect(),
            host: host(),
            process: Some(i64::from(std::process::id())),
        };
        let begun = || -> anyhow::Result<_> {
            let runtime = run_store::runtime()?;
            let store = runtime.block_on(run_store::open())?;
            runtime.block_on(store.begin_run(&run, now()))?;
            Ok((runtime, store))
        };
        let store = match arguments.attended {
            true => None,
            false => begun()
                .inspect_err(|error| tracing::warn!("the run is not written down: {error:#}"))
                .ok(),
        };
        Self { id, store }
    }

    /// Answers what the store says of a run that succeeded, if anything.
    fn end(&self, code: u8, told: &impl Serialize) -> Option<String> {
        let (runtime, store) = self.store.as_ref()?;
        let state = match code {
            exit::OK => RunState::Succeeded,
            exit::GATE => RunState::Refused,
            exit::INTERRUPTED => RunState::Cancelled,
            _ => RunState::Failed,
        };
        let told = serde_json::to_value(told).unwrap_or_default();
        let report = RunReport::read(&told);
        let ended = async {
            let ended = store
                .end_run(&self.id, state, i64::from(code), &report, now())
                .await;
            let said = match (&ended, state) {
                (Ok(()), RunState::Succeeded) => store.run(&self.id).await.map(|run| run.reason),
                _ => Ok(None),
            };
            store.close().await;
            ended.and(said)
        };
        runtime.block_on(ended).unwrap_or_else(|error| {
            tracing::warn!("how the run ended is not written down: {error}");
            None
        })
    }
}

/// Ctrl-C (and a termination signal) asks the run to end; where somebody attends to it, so does the end of its standard input, which
/// whoever watches it holds open: a run does not outlive its watcher. What looks ends by itself; a query that does not look is left
/// where it is after a moment: everything on disk is whole at any time.
fn cancellation(outputs: BTreeSet<PathBuf>, attended: bool) -> anyhow::Result<Arc<Cancellation>> {
    const PATIENCE: Duration = Duration::from_millis(800);
    let cancellation = Arc::new(Cancellation::default());
    let asked = Arc::clone(&cancellation);
    let interrupt = move || {
        asked.cancel();
        let outputs = outputs.clone();
        std::thread::spawn(move || {
            std::thread::sleep(PATIENCE);
            // A file that a query was being written into would stay behind half-written.
            outputs
                .iter()
                .for_each(|folder| files::discard_unfinished(folder));
            // As `eprintln!`, but a closed standard error is no reason to panic on the way out.
            let _ = writeln!(
                std::io::stderr(),
                "interrupted; what was finished is kept, run the same command again to go on"
            );
            // Not `process::exit`: libtorch's destructors must not run while its threads compute.
            signal_hook::low_level::exit(i32::from(exit::INTERRUPTED));
        });
    };
    if attended {
        let interrupt = interrupt.clone();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            interrupt();
        });
    }
    ctrlc::set_handler(interrupt)?;
    Ok(cancellation)
}

/// Writes the run's record and its report; answers where the report is.
fn write_report(
    plan: &Plan,
    store: &Store,
    summary: &RunSummary,
    warnings: &[Diagnostic],
    (status, pictures): (&'static str, Pictures),
) -> anyhow::Result<String> {
    let folder = store.run_folder(&summary.run)?;
    let kept = Kept {
        status,
        summary,
        warnings,
    };
    write_atomically(&folder.join("run.json"), &serde_json::to_vec_pretty(&kept)?)?;
    for (stage, evaluation) in &summary.evaluations {
        for plot in &evaluation.plots {
            let write = |ending: &str, bytes: &[u8]| {
                write_atomically(
                    &folder.join(format!("{stage}-{}.{ending}", plot.name)),
                    bytes,
                )
            };
            if pictures != Pictures::Png {
                write("svg", plot.svg.as_bytes())?;
            }
            if pictures != Pictures::Svg {
                write("png", &taktline_evaluate::plot_png(plot)?)?;
            }
        }
    }
    let mut facts = vec![
        ("run".to_owned(), summary.run.clone()),
        ("seed".to_owned(), summary.seed.to_string()),
        ("time".to_owned(), duration(summary.seconds)),
    ];
    if let Some(rows) = summary.stages.first().and_then(|stage| stage.rows_out) {
        facts.push(("rows read".to_owned(), thousands(rows)));
    }
    if let Some(bundle) = &summary.bundle {
        facts.push(("bundle".to_owned(), bundle.display().to_string()));
    }
    let report = folder.join("report.html");
    let tables = [
        gate_table(summary),
        message_table(summary, warnings),
        stage_table(summary),
    ];
    let shown: Vec<Table> = tables
        .into_iter()
        .filter(|table| !table.rows.is_empty())
        .collect();
    let failure = summary.diagnostics.first().filter(|_| status == FAILED);
    let (title, about) = match failure {
        Some(failure) => (
            format!("{} (failed)", plan.pipeline),
            Some(format!("This run failed: {}", failure.message)),
        ),
        None => (plan.pipeline.clone(), plan.about.clone()),
    };
    let html = taktline_evaluate::report_html(
        &title,
        about.as_deref(),
        &facts,
        &summary.evaluations,
        &shown,
    );
    write_atomically(&report, html.as_bytes())?;
    Ok(report.display().to_string())
}

/// What was measured, and what it was compared with.
fn gate_basis(gate: &GateResult) -> String {
    let Some(value) = gate.value.map(figure) else {
        return gate.note.clone().unwrap_or_default();
    };
    match (&gate.champion, &gate.note) {
        (Some(champion), Some(note)) => format!(
            "{value}; version {} reaches {}; {note}",
            champion.version,
            figure(champion.value)
        ),
        (Some(champion), None) => format!(
            "{value}; version {} reaches {} on the same rows",
            champion.version,
            figure(champion.value)
        ),
        (None, Some(note)) => format!("{value}; {note}"),
        (None, None) => value,
    }
}

fn gate_table(summary: &RunSummary) -> Table {
    Table {
        name: "gates".to_owned(),
        title: "Gates".to_owned(),
        columns: ["metric", "bound", "value", ""].map(str::to_owned).to_vec(),
        rows: summary
            .gates
            .iter()
            .map(|gate| {
                let verdict = if gate.passed { "kept" } else { "not kept" };
                vec![
                    gate.metric.clone(),
                    gate.bound.clone(),
                    gate_basis(gate),
                    verdict.to_owned(),
                ]
            })
            .collect(),
    }
}

/// What went wrong, what the check warned of, and what stages said while they learned: that one did not converge, what another
/// learned most from.
fn message_table(summary: &RunSummary, warnings: &[Diagnostic]) -> Table {
    let place = |warning: &Diagnostic| {
        let location = warning.location.as_ref();
        location.map_or(String::new(), |place| format!("line {}", place.line))
    };
    let went_wrong = summary
        .diagnostics
        .iter()
        .map(|fault| vec![place(fault), format!("error: {}", fault.message)]);
    let warned = warnings
        .iter()
        .map(|warning| vec![place(warning), format!("warning: {}", warning.message)]);
    let said = summary
        .messages
        .iter()
        .map(|(stage, message)| vec![stage.clone(), message.clone()]);
    Table {
        name: "messages".to_owned(),
        title: "Messages".to_owned(),
        columns: ["where", "what"].map(str::to_owned).to_vec(),
        rows: went_wrong.chain(warned).chain(said).collect(),
    }
}

fn stage_table(summary: &RunSummary) -> Table {
    Table {
        name: "stages".to_owned(),
        title: "Stages".to_owned(),
        columns: STAGE_HEADINGS.map(str::to_owned).to_vec(),
        rows: summary.stages.iter().map(stage_cells).collect(),
    }
}

const STAGE_HEADINGS: [&str; 6] = ["stage", "rows in", "rows out", "changed", "time", "how"];

fn stage_cells(stage: &StageSummary) -> Vec<String> {
    let rows = |rows: Option<u64>| rows.map(thousands).unwrap_or_default();
    let (time, how) = match &stage.outcome {
        StageOutcome::Ran => (duration(stage.seconds), String::new()),
        StageOutcome::Cached if stage.seconds > 0.005 => {
            (duration(stage.seconds), "cached".to_owned())
        }
        StageOutcome::Cached => (String::new(), "cached".to_owned()),
        StageOutcome::Fused { into } => (String::new(), format!("in the query of {into}")),
        StageOutcome::NotNeeded => (String::new(), "not needed".to_owned()),
        StageOutcome::Failed => (String::new(), "failed".to_owned()),
        StageOutcome::NotReached => (String::new(), "not reached".to_owned()),
    };
    vec![
        stage.id.clone(),
        rows(stage.rows_in),
        rows(stage.rows_out),
        lost_and_changed(stage),
        time,
        how,
    ]
}

/// Rows that a stage dropped or added and values that it changed: `-12 rows, amount: 40 values (3 to null)`.
fn lost_and_changed(stage: &StageSummary) -> String {
    let mut parts = Vec::new();
    if let Some(dropped) = stage.rows_dropped {
        parts.push(format!("-{}", counted(dropped as usize, "row")));
    }
    if let Some(added) = stage.rows_added {
        parts.push(format!("+{}", counted(added as usize, "row")));
    }
    for column in &stage.changes {
        let changes = column.changes;
        let mut details = Vec::new();
        if changes.nulls_made > 0 {
            details.push(format!("{} to null", thousands(changes.nulls_made)));
        }
        if changes.nulls_filled > 0 {
            details.push(format!("{} from null", thousands(changes.nulls_filled)));
        }
        if changes.unseen > 0 {
            details.push(format!(
                "{} not seen in training",
                thousands(changes.unseen)
            ));
        }
        if changes.changed == 0 && !details.is_empty() {
            parts.push(format!("{}: {}", column.column, details.join(", ")));
            continue;
        }
        let details = if details.is_empty() {
            String::new()
        } else {
            format!(" ({})", details.join(", "))
        };
        let values = counted(changes.changed as usize, "value");
        parts.push(format!("{}: {values}{details}", column.column));
    }
    parts.join(", ")
}

fn text(finished: &Finished, output: &mut Output) -> anyhow::Result<()> {
    let Finished {
        summary, report, ..
    } = finished;
    let mut stages = Columns::new(STAGE_HEADINGS.map(|heading| {
        let right = matches!(heading, "rows in" | "rows out" | "time");
        (heading, if right { Align::Right } else { Align::Left })
    }));
    for stage in &summary.stages {
        stages.row(stage_cells(stage));
    }
    output.line("")?;
    output.table(&stages)?;
    for (stage, evaluation) in &summary.evaluations {
        output.line("")?;
        let mut judged = format!(
            "on {} ({})",
            counted(evaluation.rows, "row"),
            evaluation.part
        );
        if let Some(positive) = &evaluation.positive {
            judged = format!("{judged}, looking for `{positive}`");
        }
        if let Some(intervals) = &evaluation.intervals {
            let percent = (intervals.level * 1e8).round() / 1e6;
            let samples = thousands(intervals.samples as u64);
            judged = format!("{judged}, {percent} % intervals by bootstrap ({samples} samples)");
        }
        output.line(format!("{} {}", styled(BOLD, stage), styled(FAINT, judged)))?;
        for note in &evaluation.notes {
            output.line(format!("note: {note}"))?;
        }
        let has_train = !evaluation.train_metrics.is_empty();
        let mut headings = vec![("metric", Align::Left), ("value", Align::Right)];
        if evaluation.intervals.is_some() {
            headings.push(("interval", Align::Left));
        }
        if has_train {
            headings.push(("on train", Align::Right));
        }
        let mut metrics = Columns::new(headings);
        for (name, value) in &evaluation.metrics {
            let mut cells = vec![name.clone(), figure(*value)];
            if let Some(intervals) = &evaluation.intervals {
                let interval = intervals.of(name);
                cells.push(interval.map_or(String::new(), |(low, high)| {
                    format!("{} to {}", figure(low), figure(high))
                }));
            }
            if has_train {
                let train = evaluation
                    .train_metrics
                    .iter()
                    .find(|(known, _)| known == name);
                cells.push(train.map(|(_, value)| figure(*value)).unwrap_or_default());
            }
            metrics.row(cells);
        }
        output.table(&metrics)?;
        for table in evaluation.tables.iter().filter(|table| is_brief(table)) {
            output.line("")?;
            match shown(table, output.terminal_width()) {
                Ok(lines) => {
                    output.line(styled(FAINT, &table.title))?;
                    for line in lines {
                        output.line(line)?;
                    }
                }
                Err(size) => {
                    let told = format!("{} ({size}): in the report", table.title);
                    output.line(styled(FAINT, told))?;
                }
            }
        }
    }
    let warned: Vec<_> = summary
        .expectations
        .iter()
        .flat_map(|(stage, rules)| rules.iter().map(move |rule| (stage, rule)))
        .filter(|(_, rule)| rule.violations > 0)
        .collect();
    for (stage, rule) in warned {
        let extent = if rule.about_all {
            match rule.examples.first() {
                Some(evidence) => format!(" ({evidence})"),
                None => String::new(),
            }
        } else {
            format!(
                " for {} of {}",
                thousands(rule.violations as u64),
                counted(rule.rows, "row")
            )
        };
        output.note(format!(
            "warning: stage `{stage}`: `{}` does not hold{extent}",
            rule.rule
        ));
    }
    output.line("")?;
    for gate in &summary.gates {
        let verdict = if gate.passed {
            styled(GOOD, "kept")
        } else {
            styled(BAD, "not kept")
        };
        output.line(format!(
            "gate    {} {}: {verdict} ({})",
            gate.metric,
            gate.bound,
            gate_basis(gate)
        ))?;
    }
    for (stage, delivered) in &summary.outputs {
        let place = match delivered {
            Delivered::Path(path) => path.display().to_string(),
            Delivered::Place(place) => place.clone(),
            Delivered::Text(text) => {
                output.line(format!("table   {stage}"))?;
                output.line(text)?;
                continue;
            }
        };
        output.line(format!("output  {place} ({stage})"))?;
    }
    for (stage, quarantine) in &summary.quarantined {
        output.line(format!("aside   {} ({stage})", quarantine.path.display()))?;
    }
    match &summary.bundle {
        Some(bundle) => {
            output.line(format!("bundle  {}", bundle.display()))?;
            match (&summary.promote, &finished.not_promoted) {
                (_, Some(why)) => output.note(format!("warning: {why}")),
                (Some(promotion), None) => {
                    output.line(format!("        is `{}` from now on", promotion.alias))?
                }
                (None, None) => {}
            }
        }
        None if !summary.passed() => output.line(styled(BAD, "no bundle: a gate is not kept"))?,
        None => {}
    }
    if let Some(report) = report {
        output.line(format!("report  {report}"))?;
    }
    output.line(format!("time    {}", duration(summary.seconds)))
}

/// The most columns of a table that a terminal shows; a confusion matrix has one for each class.
const WIDEST: usize = 24;
/// The most rows of one.
const LONGEST: usize = 60;

/// Whether an evaluation's table is worth reading at once; the report has all of them.
fn is_brief(table: &Table) -> bool {
    const BRIEF: [&str; 6] = [
        "confusion_matrix",
        "baseline",
        "horizons",
        "clusters",
        "top_k",
        "undefined_metrics",
    ];
    match table.name.as_str() {
        // Of two classes the metrics tell as much.
        "per_class" => table.rows.len() > 2,
        name => BRIEF.contains(&name) || name.starts_with("by_"),
    }
}

/// The table's lines; where it is too large for a terminal, how large it is.
fn shown(table: &Table, room: Option<usize>) -> Result<Vec<String>, String> {
    let (columns, rows) = (table.columns.len(), table.rows.len());
    if columns > WIDEST {
        return Err(counted(columns, "column"));
    }
    if rows > LONGEST {
        return Err(counted(rows, "row"));
    }
    // Why a metric has no value is a sentence: a terminal may fold it.
    let room = room.filter(|_| table.name != "undefined_metrics");
    plain_table(&table.columns, &table.rows, room).ok_or_else(|| counted(columns, "column"))
}

/// The fewest characters to which a label is cut.
const SHORTEST: usize = 8;

/// Cells under their headings, numbers to the right. Where they are wider than the room, long labels lose their middle; none where that
/// does not help, or would make two labels one.
fn plain_table(
    columns: &[String],
    rows: &[Vec<String>],
    room: Option<usize>,
) -> Option<Vec<String>> {
    let all = || std::iter::once(columns).chain(rows.iter().map(Vec::as_slice));
    let width = |index: usize, most: usize| {
        let cells = all().filter_map(|cells| cells.get(index));
        let widths = cells.map(|cell| cut(cell, most).chars().count());
        widths.max().unwrap_or_default()
    };
    let total = |most: usize| {
        let widths: usize = (0..columns.len()).map(|index| width(index, most)).sum();
        widths + 2 * columns.len().saturating_sub(1)
    };
    let most = match room {
        Some(room) if total(usize::MAX) > room => {
            let lengths = all().flatten().map(|cell| cell.chars().count());
            let longest = lengths.max().unwrap_or_default();
            let most = (SHORTEST..longest)
                .rev()
                .find(|most| total(*most) <= room)?;
            let labels = rows.iter().filter_map(|row| row.first());
            if !differ(columns.iter(), most) || !differ(labels, most) {
                return None;
            }
            most
        }
        _ => usize::MAX,
    };
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells
            .iter()
            .enumerate()
            .map(|(index, cell)| {
                let (width, cell) = (width(index, most), cut(cell, most));
                if index == 0 {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    Some(all().map(line).collect())
}

/// A label in at most so many characters, `…` for what is left out of its middle; a number as it is.
fn cut(cell: &str, most: usize) -> Cow<'_, str> {
    let length = cell.chars().count();
    let is_number = || {
        let mut characters = cell.chars();
        characters.all(|one| one.is_ascii_digit() || " .,+-–%e".contains(one))
    };
    if length <= most || is_number() {
        return Cow::Borrowed(cell);
    }
    let kept = most.saturating_sub(1);
    let (start, end) = (kept.div_ceil(2), kept / 2);
    let start = cell.chars().take(start).chain(['…']);
    Cow::Owned(start.chain(cell.chars().skip(length - end)).collect())
}

/// Whether cells that differ do so when they are cut.
fn differ<'a>(cells: impl Iterator<Item = &'a String>, most: usize) -> bool {
    let whole: BTreeSet<&String> = cells.collect();
    let shortened: BTreeSet<Cow<'_, str>> = whole.iter().map(|cell| cut(cell, most)).collect();
    shortened.len() == whole.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(text: &str) -> Vec<String> {
        text.split(';').map(|cell| cell.trim().to_owned()).collect()
    }

    fn confusion() -> (Vec<String>, Vec<Vec<String>>) {
        let columns =
            cells(r"truth \ prediction; scratch_on_the_left; scratch_on_the_right; dent; good");
        let rows = [
            "scratch_on_the_left; 118; 8; 0; 1",
            "scratch_on_the_right; 12; 126; 0; 2",
            "dent; 0; 0; 19; 10",
            "good; 0; 1; 13; 1,035",
        ];
        (columns, rows.into_iter().map(cells).collect())
    }

    #[test]
    fn long_labels_lose_their_middle_where_the_terminal_is_narrow() {
        let (columns, rows) = confusion();
        let whole = plain_table(&columns, &rows, None).expect("no limit");
        assert_eq!(whole, plain_table(&columns, &rows, Some(80)).expect("room"));
        assert!(whole[0].starts_with(r"truth \ prediction    scratch_on_the_left  "));
        let narrow = plain_table(&columns, &rows, Some(60)).expect("labels are cut");
        assert_eq!(
            narrow,
            [
                "truth \\…iction  scratch…e_left  scratch…_right  dent   good",
                "scratch…e_left             118               8     0      1",
                "scratch…_right              12             126     0      2",
                "dent                         0               0    19     10",
                "good                         0               1    13  1,035",
            ]
        );
        assert!(narrow.iter().all(|line| line.chars().count() <= 60));
    }

    #[test]
    fn a_table_that_cannot_be_cut_is_left_to_the_report() {
        let (columns, rows) = confusion();
        assert_eq!(plain_table(&columns, &rows, Some(30)), None);
        // Both scratches would be one.
        let alike = |from: &String| {
            from.replace("left", "far_left")
                .replace("right", "near_left")
        };
        let columns: Vec<String> = columns.iter().map(alike).collect();
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(alike).collect())
            .collect();
        assert_eq!(plain_table(&columns, &rows, Some(48)), None);
    }

    #[test]
    fn numbers_are_never_cut() {
        assert_eq!(cut("12,345,678.9012", 8), "12,345,678.9012");
        assert_eq!(cut("average_precision", 9), "aver…sion");
        assert_eq!(cut("größe_über_alles", 8), "größ…les");
    }
}
