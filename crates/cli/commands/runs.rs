//! `takt runs`

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use taktline_scheduler::{host, is_alive};
use taktline_store::{
    Artifact, Job, JobState, Metric, Run, RunFilter, RunState, RunStore, StageFigures, Worker, now,
};

use crate::{
    args::{RunsArguments, RunsCommand, RunsListArguments},
    exit,
    output::{Align, BAD, BOLD, FAINT, GOOD, Output, Table, duration, figure, styled, thousands},
    run_store::{self, local_time},
};

pub(crate) fn runs(arguments: &RunsArguments, output: &mut Output) -> anyhow::Result<u8> {
    let runtime = run_store::runtime()?;
    runtime.block_on(async {
        let store = run_store::open_existing().await?;
        store.end_vanished(&host(), is_alive, now()).await?;
        match &arguments.command {
            RunsCommand::List(arguments) => list(&store, arguments, output).await,
            RunsCommand::Queue { state, limit } => {
                queue(&store, JobState::named(state)?, *limit, output).await
            }
            RunsCommand::Show { run } => show(&store, run, output).await,
            RunsCommand::Compare { first, second } => compare(&store, first, second, output).await,
            RunsCommand::Logs { run, follow } => logs(&store, run, *follow, output).await,
            RunsCommand::Cancel { run } => cancel(&store, run, output).await,
        }
    })
}

fn state(state: RunState) -> String {
    match state {
        RunState::Succeeded => styled(GOOD, state),
        RunState::Running => state.to_string(),
        RunState::Cancelled => styled(FAINT, state),
        _ => styled(BAD, state),
    }
}

async fn list(
    store: &RunStore,
    arguments: &RunsListArguments,
    output: &mut Output,
) -> anyhow::Result<u8> {
    let filter = RunFilter {
        pipeline: arguments.pipeline.clone(),
        schedule: arguments.schedule.clone(),
        state: arguments.state.as_deref().and_then(RunState::named),
        since: arguments.since.map(|age| now() - age.as_millis() as i64),
        limit: arguments.limit,
    };
    let runs = store.runs(&filter).await?;
    if output.is_json() {
        output.json(&runs)?;
        return Ok(exit::OK);
    }
    if runs.is_empty() {
        output.line("no runs")?;
        return Ok(exit::OK);
    }
    let mut table = Table::new([
        ("run", Align::Left),
        ("pipeline", Align::Left),
        ("started", Align::Right),
        ("took", Align::Right),
        ("state", Align::Left),
        ("by", Align::Left),
    ]);
    let room = output.width();
    for run in &runs {
        let by = match (&run.schedule, run.attempt) {
            (Some(schedule), 1) => schedule.clone(),
            (Some(schedule), attempt) => format!("{schedule}, attempt {attempt}"),
            (None, _) => run.cause.clone(),
        };
        table.row([
            run.id.clone(),
            run.pipeline.clone(),
            local_time(run.started_at),
            duration(run.seconds(now())),
            run.state.to_string(),
            by,
        ]);
    }
    // Why each ended badly stands below: beside the other columns there is no room for sentences.
    let reasons: Vec<String> = runs
        .iter()
        .filter_map(|run| {
            let line = format!("{}  {}", run.id, run.reason.as_deref()?);
            let is_long = line.chars().count() > room;
            Some(match is_long {
                true => format!(
                    "{}…",
                    line.chars()
                        .take(room.saturating_sub(1))
                        .collect::<String>()
                ),
                false => line,
            })
        })
        .collect();
    output.table(&table)?;
    if !reasons.is_empty() {
        output.line("")?;
        for reason in reasons {
            output.line(styled(FAINT, reason))?;
        }
    }
    Ok(exit::OK)
}

async fn queue(
    store: &RunStore,
    state: JobState,
    limit: u32,
    output: &mut Output,
) -> anyhow::Result<u8> {
    let jobs = store.jobs(Some(state), limit).await?;
    if output.is_json() {
        output.json(&jobs)?;
        return Ok(exit::OK);
    }
    if jobs.is_empty() {
        output.line(format!("no job is {state}"))?;
        return Ok(exit::OK);
    }
    let workers: Vec<Worker> = store.workers().await?;
    let alive: Vec<&Worker> = workers
        .iter()
        .filter(|worker| worker.is_alive(now()))
        .collect();
    let mut table = Table::new([
        ("job", Align::Left),
        ("due", Align::Right),
        ("attempts", Align::Right),
        ("why", Align::Left),
    ]);
    for job in &jobs {
        table.row([
            job.id.clone(),
            local_time(job.due_at),
            job.attempt.to_string(),
            job.reason.clone().unwrap_or_else(|| waits_for(job, &alive)),
        ]);
    }
    output.table(&table)?;
    Ok(exit::OK)
}

/// Whom a queued job waits for, where nobody at work can take it.
fn waits_for(job: &Job, workers: &[&Worker]) -> String {
    if job.state != JobState::Queued {
        return String::new();
    }
    let lacks = |worker: &&Worker| worker.capacity.lacks(&job.settings.needs);
    match workers.iter().map(lacks).collect::<Option<Vec<_>>>() {
        None => String::new(),
        Some(lacks) => lacks.first().map_or_else(
            || "no worker is at work".to_owned(),
            |what| format!("no worker has {what}"),
        ),
    }
}

/// Everything that is known of a run.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    run: Run,
    stages: Vec<StageFigures>,
    metrics: Vec<Metric>,
    artifacts: Vec<Artifact>,
}

async fn everything(store: &RunStore, id: &str) -> anyhow::Result<Shown> {
    let run = store.run(id).await?;
    Ok(Shown {
        stages: store.stages_of(&run.id).await?,
        metrics: store.metrics_of(&run.id).await?,
        artifacts: store.artifacts_of(&run.id).await?,
        run,
    })
}

async fn show(store: &RunStore, id: &str, output: &mut Output) -> anyhow::Result<u8> {
    let shown = everything(store, id).await?;
    if output.is_json() {
        output.json(&shown)?;
        return Ok(exit::OK);
    }
    let run = &shown.run;
    output.line(format!("{} {}", styled(BOLD, &run.id), state(run.state)))?;
    let mut facts = vec![
        ("pipeline", format!("{} ({})", run.pipeline, run.file)),
        (
            "started",
            format!("{} on {}", local_time(run.started_at), run.host),
        ),
        ("took", duration(run.seconds(now()))),
    ];
    if let Some(reason) = &run.reason {
        facts.insert(0, ("why", reason.clone()));
    }
    if let Some(schedule) = &run.schedule {
        let time = run.logical_time.map(local_time).unwrap_or_default();
        facts.push((
            "schedule",
            format!(
                "{schedule} of {time}, attempt {} ({})",
                run.attempt, run.cause
            ),
        ));
    }
    if let Some(key) = &run.run_key {
        facts.push(("run key", key.clone()));
    }
    if !run.params.is_empty() {
        let params: Vec<String> = run
            .params
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        facts.push(("params", params.join(", ")));
    }
    if let Some(seed) = run.seed {
        facts.push(("seed", seed.to_string()));
    }
    for artifact in &shown.artifacts {
        let of = if artifact.stage.is_empty() {
            String::new()
        } else {
            format!(" ({})", artifact.stage)
        };
        facts.push((artifact.what.as_str(), format!("{}{of}", artifact.place)));
    }
    for (name, value) in &facts {
        output.line(format!("{name:<9} {value}"))?;
    }
    if !shown.stages.is_empty() {
        output.line("")?;
        let mut table = Table::new([
            ("stage", Align::Left),
            ("rows in", Align::Right),
            ("rows out", Align::Right),
            ("time", Align::Right),
            ("how", Align::Left),
        ]);
        let rows = |rows: Option<i64>| {
            rows.map(|rows| thousands(rows.max(0) as u64))
                .unwrap_or_default()
        };
        for stage in &shown.stages {
            let how = if stage.outcome == "ran" {
                ""
            } else {
                stage.outcome.as_str()
            };
            table.row([
                stage.stage.clone(),
                rows(stage.rows_in),
                rows(stage.rows_out),
                duration(stage.seconds),
                how.replace('_', " "),
            ]);
        }
        output.table(&table)?;
    }
    if !shown.metrics.is_empty() {
        output.line("")?;
        let mut table = Table::new([
            ("metric", Align::Left),
            ("part", Align::Left),
            ("value", Align::Right),
        ]);
        for metric in &shown.metrics {
            table.row([
                metric.full_name(),
                metric.part.clone(),
                metric.value.map(figure).unwrap_or_default(),
            ]);
        }
        output.table(&table)?;
    }
    Ok(exit::OK)
}

/// A line of a comparison.
#[derive(Serialize)]
struct Compared {
    what: String,
    first: Option<String>,
    second: Option<String>,
    /// Second less first, of numbers.
    difference: Option<f64>,
    same: bool,
}

impl Compared {
    fn texts(what: impl Into<String>, first: Option<String>, second: Option<String>) -> Self {
        Self {
            what: what.into(),
            same: first == second,
            first,
            second,
            difference: None,
        }
    }

    fn numbers(what: impl Into<String>, first: Option<f64>, second: Option<f64>) -> Self {
        Self {
            difference: first.zip(second).map(|(first, second)| second - first),
            ..Self::texts(what, first.map(figure), second.map(figure))
        }
    }
}

/// Pairs of values under the keys of either side, in order.
pub(super) fn paired<V: Clone>(
    first: &[(String, V)],
    second: &[(String, V)],
) -> Vec<(String, Option<V>, Option<V>)> {
    let mut keys: Vec<&String> = Vec::new();
    for (key, _) in first.iter().chain(second) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let of = |side: &[(String, V)], key: &String| {
        let found = side.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.clone())
    };
    keys.into_iter()
        .map(|key| (key.clone(), of(first, key), of(second, key)))
        .collect()
}

async fn compare(
    store: &RunStore,
    first: &str,
    second: &str,
    output: &mut Output,
) -> anyhow::Result<u8> {
    let (a, b) = (
        everything(store, first).await?,
        everything(store, second).await?,
    );
    let mut lines = vec![
        Compared::texts(
            "pipeline",
            Some(a.run.pipeline.clone()),
            Some(b.run.pipeline.clone()),
        ),
        Compared::texts(
            "state",
            Some(a.run.state.to_string()),
            Some(b.run.state.to_string()),
        ),
        Compared::texts(
            "started",
            Some(local_time(a.run.started_at)),
            Some(local_time(b.run.started_at)),
        ),
        Compared::numbers(
            "seconds",
            Some(a.run.seconds(now())),
            Some(b.run.seconds(now())),
        ),
        Compared::texts(
            "seed",
            a.run.seed.map(|seed| seed.to_string()),
            b.run.seed.map(|seed| seed.to_string()),
        ),
    ];
    for (name, first, second) in paired(&a.run.params, &b.run.params) {
        lines.push(Compared::texts(format!("param {name}"), first, second));
    }
    let short = |hash: Option<String>| hash.map(|hash| hash.chars().take(12).collect());
    for (stage, first, second) in paired(&a.run.sources, &b.run.sources) {
        lines.push(Compared::texts(
            format!("data {stage}"),
            short(first),
            short(second),
        ));
    }
    let rows = |shown: &Shown| -> Vec<(String, Option<i64>)> {
        shown
            .stages
            .iter()
            .map(|stage| (stage.stage.clone(), stage.rows_out))
            .collect()
    };
    for (stage, first, second) in paired(&rows(&a), &rows(&b)) {
        let (first, second) = (first.flatten(), second.flatten());
        if first != second {
            lines.push(Compared::numbers(
                format!("rows {stage}"),
                first.map(|rows| rows as f64),
                second.map(|rows| rows as f64),
            ));
        }
    }
    let metrics = |shown: &Shown| -> Vec<(String, Option<f64>)> {
        let of = shown.metrics.iter().filter(|metric| metric.is_held_out());
        of.map(|metric| (metric.full_name(), metric.value))
            .collect()
    };
    for (name, first, second) in paired(&metrics(&a), &metrics(&b)) {
        lines.push(Compared::numbers(name, first.flatten(), second.flatten()));
    }
    let bundle = |shown: &Shown| {
        shown
            .run
            .bundle
            .as_deref()
            .and_then(|path| path.rsplit('/').next())
            .map(str::to_owned)
    };
    lines.push(Compared::texts("bundle", bundle(&a), bundle(&b)));
    if output.is_json() {
        let by_name: BTreeMap<&str, &Compared> = lines
            .iter()
            .map(|line| (line.what.as_str(), line))
            .collect();
        output.json(&by_name)?;
        return Ok(exit::OK);
    }
    let mut table = Table::new([
        ("", Align::Left),
        ("first", Align::Right),
        ("second", Align::Right),
        ("difference", Align::Right),
    ]);
    table.row([
        "run".to_owned(),
        a.run.id.clone(),
        b.run.id.clone(),
        String::new(),
    ]);
    for line in lines
        .iter()
        .filter(|line| line.first.is_some() || line.second.is_some())
    {
        let difference = match line.difference {
            Some(0.0) => String::new(),
            Some(difference) if difference > 0.0 => format!("+{}", figure(difference)),
            Some(difference) => figure(difference),
            None if line.same => String::new(),
            None => "other".to_owned(),
        };
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "–".to_owned());
        table.row([
            line.what.clone(),
            shown(&line.first),
            shown(&line.second),
            difference,
        ]);
    }
    output.table(&table)?;
    Ok(exit::OK)
}

async fn logs(store: &RunStore, id: &str, follow: bool, output: &mut Output) -> anyhow::Result<u8> {
    let mut run = store.run(id).await?;
    let mut seen = 0;
    loop {
        let lines = store.log(&run.id, seen).await?;
        if output.is_json() && !follow {
            output.json(&lines)?;
            return Ok(exit::OK);
        }
        for line in &lines {
            match output.is_json() {
                true => output.line(serde_json::to_string(line)?)?,
                false => output.line(format!(
                    "{} {}",
                    styled(FAINT, local_time(line.at)),
                    line.text
                ))?,
            }
            seen = line.line;
        }
        if !follow || (run.state != RunState::Running && lines.is_empty()) {
            break;
        }
        output.finish()?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        run = store.run(&run.id).await?;
    }
    if seen == 0 && !output.is_json() {
        let why = match run.job {
            Some(_) => "wrote nothing",
            None => "wrote to its terminal; the lines of scheduled runs are kept",
        };
        output.note(format!("the run {} {why}", run.id));
    }
    Ok(exit::OK)
}

async fn cancel(store: &RunStore, id: &str, output: &mut Output) -> anyhow::Result<u8> {
    let why = "cancelled by `takt runs cancel`";
    // A run key names a job that may not have begun.
    let job = if id.contains('/') {
        id.to_owned()
    } else {
        let run = store.run(id).await?;
        match (run.job, run.state) {
            (Some(job), RunState::Running) => job,
            (None, RunState::Running) => {
                let process = run
                    .process
                    .map(|process| format!(", or `kill {process}` on {}", run.host));
                output.error(&anyhow::anyhow!(
                    "the run {} was started at a terminal: press Ctrl-C there{}",
                    run.id,
                    process.unwrap_or_default()
                ));
                return Ok(exit::FAILED);
            }
            (_, state) => {
                output.error(&anyhow::anyhow!(
                    "the run {} cannot be cancelled: it has {state} already",
                    run.id
                ));
                return Ok(exit::FAILED);
            }
        }
    };
    match store.cancel(&job, why, now()).await? {
        JobState::Queued => output.line(format!("{job} is cancelled"))?,
        _ => output.line(format!("{job} is asked to end"))?,
    }
    Ok(exit::OK)
}
