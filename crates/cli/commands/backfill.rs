//! `takt backfill`

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use taktline_scheduler::{Backfill, Progress, Stop};
use taktline_store::JobState;

use super::scheduler::{schedule_of, stop_on_signals, worker_options};
use crate::{
    args::BackfillArguments,
    exit,
    output::{Output, counted},
    run_store,
};

#[derive(Serialize)]
struct Planned {
    job: String,
    state: Option<JobState>,
}

#[derive(Serialize)]
struct Finished {
    all: usize,
    succeeded: usize,
    failed: usize,
    cancelled: usize,
}

pub(crate) fn backfill(arguments: &BackfillArguments, output: &mut Output) -> anyhow::Result<u8> {
    let Some(schedule) = schedule_of(&arguments.file, arguments.schedule.as_deref(), output)?
    else {
        return Ok(exit::USAGE);
    };
    if arguments.to <= arguments.from {
        output.error(&anyhow::anyhow!("`--to` is not after `--from`"));
        return Ok(exit::USAGE);
    }
    let directory = std::env::current_dir()?;
    let backfill = match Backfill::new(
        &schedule,
        &directory,
        arguments.from,
        arguments.to,
        arguments.max_parallel,
    ) {
        Ok(backfill) => backfill,
        Err(error) => {
            output.error(&error.into());
            return Ok(exit::USAGE);
        }
    };
    let runtime = run_store::runtime()?;
    runtime.block_on(async {
        let store = run_store::open().await?;
        if arguments.dry_run {
            let states = backfill.states(&store).await?;
            return dry(states, output);
        }
        let queued = backfill.queue(&store).await?;
        let done = backfill.jobs.len() as u64 - queued;
        output.note(format!(
            "{} to run, {done} done or under way already",
            counted(queued as usize, "occurrence")
        ));
        if arguments.detach {
            output.line(format!("queued {}", counted(queued as usize, "job")))?;
            return Ok(exit::OK);
        }
        let mut options = worker_options(&arguments.capacity)?;
        options.capacity.slots = arguments.max_parallel;
        let bar = bar(backfill.jobs.len());
        let watched = bar.is_some();
        let stop = stop_on_signals()?;
        let progress = backfill
            .work(&store, options, stop.clone(), |progress| {
                tell(bar.as_ref(), progress, watched)
            })
            .await?;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let interrupted = *stop.borrow() != Stop::No;
        finish(progress, interrupted, output)
    })
}

fn dry(states: Vec<(String, Option<JobState>)>, output: &mut Output) -> anyhow::Result<u8> {
    if output.is_json() {
        let planned: Vec<Planned> = states
            .into_iter()
            .map(|(job, state)| Planned { job, state })
            .collect();
        output.json(&planned)?;
        return Ok(exit::OK);
    }
    for (job, state) in states {
        let what = match state {
            Some(JobState::Succeeded) => "succeeded already",
            Some(JobState::Running | JobState::Queued) => "under way already",
            Some(_) => "would run again",
            None => "would run",
        };
        output.line(format!("{job}  {what}"))?;
    }
    Ok(exit::OK)
}

fn bar(all: usize) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new(all as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {elapsed}, {eta} left")
    {
        bar.set_style(style);
    }
    Some(bar)
}

fn tell(bar: Option<&ProgressBar>, progress: Progress, watched: bool) {
    let done = progress.succeeded + progress.failed + progress.cancelled;
    match bar {
        Some(bar) if watched => {
            bar.set_position(done as u64);
            bar.set_message(format!(
                "{} at work, {} failed",
                progress.running, progress.failed
            ));
        }
        _ => tracing::info!(
            "{done} of {} done, {} failed",
            progress.all,
            progress.failed
        ),
    }
}

fn finish(progress: Progress, interrupted: bool, output: &mut Output) -> anyhow::Result<u8> {
    if output.is_json() {
        output.json(&Finished {
            all: progress.all,
            succeeded: progress.succeeded,
            failed: progress.failed,
            cancelled: progress.cancelled,
        })?;
    } else {
        let cancelled = match progress.cancelled {
            0 => String::new(),
            number => format!(", {number} not done"),
        };
        output.line(format!(
            "{} of {} succeeded, {} failed{cancelled}",
            progress.succeeded,
            counted(progress.all, "occurrence"),
            progress.failed
        ))?;
    }
    if interrupted {
        output.note("run the same command again to go on");
        return Ok(exit::INTERRUPTED);
    }
    Ok(if progress.failed + progress.cancelled > 0 {
        exit::FAILED
    } else {
        exit::OK
    })
}
