//! Runs of past times: for a pipeline that is new, or that was wrong.

use std::{path::Path, sync::Arc, time::Duration};

use taktline_store::{JobState, NewJob, Queued, RunStore, now};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use crate::{Error, Result, Scheduled, Stop, WorkerOptions, catalogue::run_key, work};

/// More at once are a mistake in a date.
const MOST: usize = 100_000;

/// Scheduled runs go first.
const PRIORITY: i64 = -100;

/// The times to make up for.
#[derive(Debug, Clone)]
pub struct Backfill {
    /// Their jobs, the first time first.
    pub jobs: Vec<NewJob>,
}

/// How far a backfill is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// All of its jobs.
    pub all: usize,
    /// Done.
    pub succeeded: usize,
    /// Given up.
    pub failed: usize,
    /// Ended by somebody, or never begun because of it.
    pub cancelled: usize,
    /// At work.
    pub running: usize,
}

impl Progress {
    /// Whether nothing is left to do.
    pub fn is_over(&self) -> bool {
        self.succeeded + self.failed + self.cancelled == self.all
    }
}

impl Backfill {
    /// The occurrences of a schedule from one time up to another, not counting that. They have the run keys that the scheduler
    /// would give them, so what succeeded before is not done again.
    ///
    /// # Errors
    /// The schedule has no `cron`, or there are none, or far too many.
    pub fn new(
        schedule: &Scheduled,
        directory: &Path,
        from: i64,
        to: i64,
        parallel: u32,
    ) -> Result<Self> {
        let Some(table) = &schedule.timetable else {
            return Err(Error::Refused(format!(
                "the schedule `{}` has no `cron`: it stands for no times of its own",
                schedule.entry.id
            )));
        };
        let times = table.between(from - 1, to - 1, MOST + 1);
        if times.is_empty() {
            return Err(Error::Refused(format!(
                "the schedule `{}` is never due between these times",
                schedule.entry.id
            )));
        }
        if times.len() > MOST {
            return Err(Error::Refused(format!(
                "the schedule is due more than {MOST} times between these times"
            )));
        }
        if let Some(time) = times.iter().find(|time| **time > now()) {
            return Err(Error::Refused(format!(
                "`{}` is still to come: a backfill is for past times, and the scheduler for those",
                run_key(&schedule.name(), *time)
            )));
        }
        let jobs = times.into_iter().map(|time| {
            let mut job =
                schedule.job(directory, run_key(&schedule.name(), time), "backfill", time);
            job.due_at = now();
            job.priority = PRIORITY;
            job.overlap = Queued::Always;
            job.settings.in_order = false;
            job.settings.concurrency = Some(parallel);
            job
        });
        Ok(Self {
            jobs: jobs.collect(),
        })
    }

    /// How the jobs stand; times that the store does not know are left out.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn states(&self, store: &RunStore) -> Result<Vec<(String, Option<JobState>)>> {
        let ids: Vec<String> = self.jobs.iter().map(|job| job.id.clone()).collect();
        let states = store.states_of(&ids).await?;
        Ok(ids
            .into_iter()
            .map(|id| {
                let state = states.get(&id).copied();
                (id, state)
            })
            .collect())
    }

    /// Queues what has not succeeded; how many.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn queue(&self, store: &RunStore) -> Result<u64> {
        let mut queued = 0;
        for jobs in self.jobs.chunks(1_000) {
            queued += store.requeue(jobs, now()).await?;
        }
        Ok(queued)
    }

    /// How far it is.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn progress(&self, store: &RunStore) -> Result<Progress> {
        let mut progress = Progress {
            all: self.jobs.len(),
            ..Progress::default()
        };
        for (_, state) in self.states(store).await? {
            match state {
                Some(JobState::Succeeded) => progress.succeeded += 1,
                Some(JobState::Running) => progress.running += 1,
                Some(JobState::Queued) | None => {}
                Some(JobState::Cancelled) => progress.cancelled += 1,
                Some(_) => progress.failed += 1,
            }
        }
        Ok(progress)
    }

    /// Works on the queue until all jobs are finished or somebody stops it, and tells of every change. What is left when it is
    /// stopped is cancelled: the same command takes it up again.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn work(
        &self,
        store: &RunStore,
        options: WorkerOptions,
        stop: watch::Receiver<Stop>,
        mut tell: impl FnMut(Progress),
    ) -> Result<Progress> {
        let wake = Arc::new(Notify::new());
        let (ours, listen) = watch::channel(*stop.borrow());
        let worker = tokio::spawn(work(store.clone(), options, Arc::clone(&wake), listen));
        let mut last = None;
        loop {
            let asked = *stop.borrow();
            if asked != Stop::No {
                // First what is at work is waited for, then it is ended.
                let _ = ours.send(asked);
                if worker.is_finished() {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
                continue;
            }
            let progress = match self.progress(store).await {
                Err(Error::Store(error)) if error.is_passing() => {
                    tracing::warn!(%error, "the run store does not answer");
                    sleep(Duration::from_secs(1)).await;
                    continue;
                }
                progress => progress?,
            };
            if last != Some(progress) {
                tell(progress);
                last = Some(progress);
            }
            if progress.is_over() || worker.is_finished() {
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
        let interrupted = *stop.borrow() != Stop::No;
        if !interrupted {
            let _ = ours.send(Stop::Drain);
        }
        match worker.await {
            Ok(worked) => worked?,
            Err(error) => {
                return Err(Error::Refused(format!(
                    "the worker ended without a word: {error}"
                )));
            }
        }
        if interrupted {
            for (id, state) in self.states(store).await? {
                if state == Some(JobState::Queued) {
                    store
                        .cancel(&id, "the backfill was interrupted", now())
                        .await?;
                }
            }
        }
        self.progress(store).await
    }
}
