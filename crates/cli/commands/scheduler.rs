//! `takt scheduler`, `takt worker`, `takt schedules`

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use serde::Serialize;
use taktline_scheduler::{
    Catalogue, Scheduled, Scheduler, SchedulerOptions, Stop, WorkerOptions, serve, work,
};
use taktline_store::{Capacity, RunStore, now};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
};

use crate::{
    args::{
        CapacityArguments, SchedulerArguments, SchedulesArguments, SchedulesCommand,
        WorkerArguments,
    },
    diagnostics, exit,
    output::{Align, Output, Table, counted},
    run_store::{self, local_time},
};

pub(crate) fn scheduler(arguments: &SchedulerArguments, output: &mut Output) -> anyhow::Result<u8> {
    let catalogue = read(&arguments.paths, output);
    if !catalogue.is_ok() {
        if output.is_json() {
            output.json(&super::run::Failed::new(catalogue.diagnostics))?;
        }
        return Ok(exit::USAGE);
    }
    if arguments.check {
        return check(&catalogue, output);
    }
    if catalogue.schedules.is_empty() {
        output.note(
            "warning: none of the files has a schedule yet; they are looked at every few seconds",
        );
    }
    let directory = std::env::current_dir()?;
    let runtime = run_store::runtime()?;
    runtime.block_on(async {
        let store = run_store::open().await?;
        let stop = stop_on_signals()?;
        let wake = Arc::new(Notify::new());
        let options = SchedulerOptions {
            paths: arguments.paths.clone(),
            directory,
        };
        tracing::info!(
            store = store.place(),
            process = std::process::id(),
            "scheduling"
        );
        let mut scheduler = Scheduler::new(store.clone(), options, Arc::clone(&wake));
        let errors = Some(scheduler.spec_errors());
        listen(&store, errors, arguments.listen.as_deref()).await?;
        let worker = async {
            match arguments.no_worker {
                true => Ok(()),
                false => work(
                    store.clone(),
                    worker_options(&arguments.capacity)?,
                    wake,
                    stop.clone(),
                )
                .await
                .map_err(anyhow::Error::from),
            }
        };
        let scheduling = async {
            let scheduled = scheduler.run(stop.clone()).await;
            scheduled.map_err(anyhow::Error::from)
        };
        // Neither goes on without the other: whoever restarts services sees an end, not a half.
        tokio::try_join!(scheduling, worker)?;
        store.close().await;
        tracing::info!("done");
        Ok(exit::OK)
    })
}

pub(crate) fn worker(arguments: &WorkerArguments, _: &mut Output) -> anyhow::Result<u8> {
    let runtime = run_store::runtime()?;
    runtime.block_on(async {
        let store = run_store::open().await?;
        listen(&store, None, arguments.listen.as_deref()).await?;
        tracing::info!(
            store = store.place(),
            process = std::process::id(),
            "working"
        );
        let mut options = worker_options(&arguments.capacity)?;
        options.until_idle = arguments.until_idle;
        work(
            store.clone(),
            options,
            Arc::new(Notify::new()),
            stop_on_signals()?,
        )
        .await?;
        store.close().await;
        tracing::info!("done");
        Ok(exit::OK)
    })
}

/// Serves metrics, where they are wanted.
async fn listen(
    store: &RunStore,
    spec_errors: Option<Arc<AtomicI64>>,
    address: Option<&str>,
) -> anyhow::Result<()> {
    if let Some(address) = address {
        let bound = serve(store.clone(), spec_errors, address).await?;
        tracing::info!("metrics at http://{bound}/metrics");
    }
    Ok(())
}

/// Reads the files and tells what is wrong with them.
fn read(paths: &[PathBuf], output: &mut Output) -> Catalogue {
    let catalogue = Catalogue::read(paths, &|name| std::env::var(name).ok());
    for diagnostic in &catalogue.diagnostics {
        let text = diagnostic
            .location
            .as_ref()
            .and_then(|location| catalogue.texts.get(&PathBuf::from(&location.file)));
        diagnostics::print(
            std::slice::from_ref(diagnostic),
            text.map(String::as_str),
            output,
        );
    }
    catalogue
}

/// The schedule of that id, or the only one of a file.
pub(super) fn schedule_of(
    file: &std::path::Path,
    id: Option<&str>,
    output: &mut Output,
) -> anyhow::Result<Option<Scheduled>> {
    let mut catalogue = read(&[file.to_owned()], output);
    // What other files hold is not known here.
    catalogue
        .diagnostics
        .retain(|one| one.code != "unknown-pipeline");
    if !catalogue.is_ok() {
        return Ok(None);
    }
    let known: Vec<&str> = catalogue
        .schedules
        .iter()
        .map(|one| one.entry.id.as_str())
        .collect();
    let refused = match (id, known.as_slice()) {
        (_, []) => format!("`{}` has no schedule", file.display()),
        (None, [_]) => return Ok(catalogue.schedules.pop()),
        (None, many) => format!(
            "`{}` has {} schedules; name one with `--schedule`: {}",
            file.display(),
            many.len(),
            many.join(", ")
        ),
        (Some(id), _) => match catalogue.schedules.iter().find(|one| one.entry.id == id) {
            Some(found) => return Ok(Some(found.clone())),
            None => format!(
                "`{}` has no schedule `{id}`; it has {}",
                file.display(),
                known.join(", ")
            ),
        },
    };
    output.error(&anyhow::anyhow!(refused));
    Ok(None)
}

pub(super) fn worker_options(arguments: &CapacityArguments) -> anyhow::Result<WorkerOptions> {
    Ok(WorkerOptions {
        capacity: Capacity {
            slots: arguments.slots,
            memory: arguments.memory,
            resources: arguments.resources.iter().cloned().collect(),
        },
        executable: std::env::current_exe()?,
        lease: arguments.lease,
        grace: arguments.grace,
        pause: Duration::from_millis(500),
        until_idle: false,
    })
}

/// The first signal drains, the second ends runs at work.
pub(super) fn stop_on_signals() -> anyhow::Result<watch::Receiver<Stop>> {
    let (send, receive) = watch::channel(Stop::No);
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::spawn(async move {
        for stop in [Stop::Drain, Stop::Now] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match stop {
                Stop::Drain => tracing::info!(
                    "stopping; runs at work are waited for (once more: they are ended and queued again)"
                ),
                _ => tracing::info!("ending the runs at work"),
            }
            if send.send(stop).is_err() {
                return;
            }
        }
        // Held until the process ends: a closed channel would mean nothing more.
        std::future::pending::<()>().await;
    });
    Ok(receive)
}

#[derive(Serialize)]
struct Upcoming {
    pipeline: String,
    schedule: String,
    file: String,
    trigger: String,
    next: Vec<String>,
}

fn upcoming(schedule: &Scheduled) -> Upcoming {
    let entry = &schedule.entry;
    let trigger = match (&entry.cron, &entry.after, &entry.on_file) {
        (Some(cron), ..) => match &entry.timezone {
            Some(zone) => format!("{cron} ({zone})"),
            None => format!("{cron} (UTC)"),
        },
        (_, Some(after), _) => match after.parts() {
            (pipeline, Some(id)) => format!("after {pipeline}/{id}"),
            (pipeline, None) => format!("after {pipeline}"),
        },
        (.., Some(arrival)) => format!("on {}", arrival.path),
        _ => String::new(),
    };
    let table = schedule.timetable.as_ref();
    let next = table.map_or_else(Vec::new, |table| {
        let times = table.between(now(), i64::MAX, 3);
        times
            .into_iter()
            .map(|time| table.occurrence(time).time)
            .collect()
    });
    Upcoming {
        pipeline: schedule.pipeline.clone(),
        schedule: entry.id.clone(),
        file: schedule.file.display().to_string(),
        trigger,
        next,
    }
}

fn check(catalogue: &Catalogue, output: &mut Output) -> anyhow::Result<u8> {
    let all: Vec<Upcoming> = catalogue.schedules.iter().map(upcoming).collect();
    let runtime = run_store::runtime()?;
    let store = runtime.block_on(run_store::open())?;
    if output.is_json() {
        output.json(&all)?;
        return Ok(exit::OK);
    }
    let mut table =
        Table::new(["pipeline", "schedule", "when", "next"].map(|heading| (heading, Align::Left)));
    for one in &all {
        table.row([
            one.pipeline.clone(),
            one.schedule.clone(),
            one.trigger.clone(),
            one.next.join(", "),
        ]);
    }
    output.table(&table)?;
    output.line("")?;
    output.line(format!(
        "{} fine; the run store is {}",
        counted(all.len(), "schedule"),
        store.place()
    ))?;
    Ok(exit::OK)
}

#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    state: &'a taktline_store::ScheduleState,
    last: Option<taktline_store::Job>,
}

pub(crate) fn schedules(arguments: &SchedulesArguments, output: &mut Output) -> anyhow::Result<u8> {
    let runtime = run_store::runtime()?;
    runtime.block_on(async {
        let store = run_store::open_existing().await?;
        match &arguments.command {
            SchedulesCommand::List => list(&store, output).await,
            SchedulesCommand::Pause { schedule } => pause(&store, schedule, true, output).await,
            SchedulesCommand::Resume { schedule } => pause(&store, schedule, false, output).await,
        }
    })
}

async fn pause(
    store: &RunStore,
    name: &str,
    paused: bool,
    output: &mut Output,
) -> anyhow::Result<u8> {
    let Some((pipeline, schedule)) = name.split_once('/') else {
        output.error(&anyhow::anyhow!(
            "`{name}` names no schedule; write PIPELINE/SCHEDULE"
        ));
        return Ok(exit::USAGE);
    };
    store.pause(pipeline, schedule, paused).await?;
    let what = if paused {
        "paused: its times pass by"
    } else {
        "goes on"
    };
    match output.is_json() {
        true => output.json(
            &serde_json::json!({"pipeline": pipeline, "schedule": schedule, "paused": paused}),
        )?,
        false => output.line(format!("{name} {what}"))?,
    }
    Ok(exit::OK)
}

async fn list(store: &RunStore, output: &mut Output) -> anyhow::Result<u8> {
    let states = store.schedules().await?;
    let mut listed = Vec::new();
    for state in &states {
        let last = store.last_job(&state.pipeline, &state.schedule).await?;
        listed.push(Listed { state, last });
    }
    if output.is_json() {
        output.json(&listed)?;
        return Ok(exit::OK);
    }
    if listed.is_empty() {
        output
            .line("no scheduler has seen a schedule yet; start one with `takt scheduler FILE…`")?;
        return Ok(exit::OK);
    }
    let mut table = Table::new([
        ("schedule", Align::Left),
        ("next", Align::Right),
        ("last", Align::Right),
        ("", Align::Left),
    ]);
    for Listed { state, last } in &listed {
        let next = match (state.paused, state.next_at) {
            (true, _) => "paused".to_owned(),
            (false, Some(next)) => local_time(next),
            (false, None) => String::new(),
        };
        let (time, how) = match last {
            Some(job) => {
                let reason = job.reason.as_deref().map(|reason| format!(": {reason}"));
                (
                    local_time(job.logical_time),
                    format!("{}{}", job.state, reason.unwrap_or_default()),
                )
            }
            None => (String::new(), String::new()),
        };
        table.row([
            format!("{}/{}", state.pipeline, state.schedule),
            next,
            time,
            how,
        ]);
    }
    output.table(&table)?;
    Ok(exit::OK)
}
