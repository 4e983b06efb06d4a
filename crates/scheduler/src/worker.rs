//! Takes jobs from the queue and runs them, as many at once as the machine has room for.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use taktline_store::{Capacity, Claim, RunState, RunStore, Settled, Worker, now};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::sleep,
};

use crate::{
    Result,
    attempt::{self, Ended, Manner},
    notify,
};

/// What a worker is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Go on.
    No,
    /// Take no more jobs; end when those at work are done.
    Drain,
    /// End the runs at work, too: their jobs go back to the queue.
    Now,
}

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// What it has to give.
    pub capacity: Capacity,
    /// `takt`.
    pub executable: PathBuf,
    /// How long a claim lasts without being renewed: after so long, a worker counts as gone.
    pub lease: Duration,
    /// How long a run has to end by itself after it was asked to.
    pub grace: Duration,
    /// How often to look for work where nobody tells of it.
    pub pause: Duration,
    /// End when there is nothing left to do.
    pub until_idle: bool,
}

/// How long to wait for a store that does not answer, after waiting so long.
pub(crate) fn longer(waited: Duration) -> Duration {
    (waited * 2).clamp(Duration::from_millis(500), Duration::from_secs(15))
}

/// This machine's name.
pub fn host() -> String {
    hostname::get().map_or_else(
        |_| "localhost".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// Whether a process of this machine lives.
pub fn is_alive(process: i64) -> bool {
    i32::try_from(process)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .is_some_and(|process| {
            // Another user's process answers, too: that we may not.
            rustix::process::test_kill_process(process) != Err(rustix::io::Errno::SRCH)
        })
}

/// Works until it is asked to stop. `wake` tells it that there may be something to do.
///
/// # Errors
/// Only what will not pass: the store is of another version, the address is wrong.
pub async fn work(
    store: RunStore,
    options: WorkerOptions,
    wake: Arc<Notify>,
    mut stop: watch::Receiver<Stop>,
) -> Result<()> {
    let started_at = now();
    let process = i64::from(std::process::id());
    let mut worker = Worker {
        id: format!("{}-{process}-{}", host(), started_at % 1_000_000),
        host: host(),
        process,
        started_at,
        seen_at: started_at,
        capacity: options.capacity.clone(),
        draining: false,
    };
    let manner = Manner {
        executable: options.executable.clone(),
        lease: options.lease,
        grace: options.grace,
    };
    let mut attempts: JoinSet<()> = JoinSet::new();
    let mut deliveries: JoinSet<()> = JoinSet::new();
    let mut seen: Option<Instant> = None;
    // Longer and longer while the store does not answer.
    let mut trouble = Duration::ZERO;
    loop {
        let asked = *stop.borrow_and_update();
        if asked != Stop::No && !worker.draining {
            worker.draining = true;
            seen = None;
            tracing::info!(at_work = attempts.len(), "taking no more jobs");
        }
        while attempts.try_join_next().is_some() {}
        if worker.draining && attempts.is_empty() {
            break;
        }
        if trouble.is_zero()
            && let Err(error) = notify::deliver(&store, &mut deliveries).await
        {
            tracing::debug!(%error, "notices wait");
        }
        let due = seen.is_none_or(|seen| seen.elapsed() >= options.lease / 3);
        match step(
            &store,
            &mut worker,
            &options,
            &manner,
            due,
            &mut attempts,
            &stop,
        )
        .await
        {
            Ok(took) => {
                trouble = Duration::ZERO;
                if due {
                    seen = Some(Instant::now());
                }
                if options.until_idle && !took && attempts.is_empty() {
                    break;
                }
            }
            Err(error) if error.is_passing() => {
                trouble = longer(trouble);
                tracing::warn!(%error, again_in = ?trouble, "the run store does not answer");
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = sleep(options.pause.max(trouble)) => {}
            () = wake.notified(), if trouble.is_zero() => {}
            Some(_) = attempts.join_next() => {}
            changed = stop.changed() => if changed.is_err() { worker.draining = true },
        }
    }
    while attempts.join_next().await.is_some() {}
    // What the last runs came to is told before this process ends; what cannot be, somebody else tells later.
    if let Err(error) = notify::deliver(&store, &mut deliveries).await {
        tracing::debug!(%error, "notices wait");
    }
    while deliveries.join_next().await.is_some() {}
    if let Err(error) = store.forget_workers(Some(&worker.id), 0).await {
        tracing::debug!(%error, "the worker is still on the list");
    }
    Ok(())
}

/// Gives a sign of life, takes up what others left, and takes as many jobs as fit; whether there were any.
async fn step(
    store: &RunStore,
    worker: &mut Worker,
    options: &WorkerOptions,
    manner: &Manner,
    sign: bool,
    attempts: &mut JoinSet<()>,
    stop: &watch::Receiver<Stop>,
) -> taktline_store::Result<bool> {
    if sign {
        worker.seen_at = now();
        store.note_worker(worker).await?;
        for job in store.recover(now()).await? {
            tracing::warn!(job = %job.id, state = %job.state, reason = job.reason.as_deref().unwrap_or_default(), "a worker is gone");
        }
    }
    let mut took = false;
    while !worker.draining && attempts.len() < worker.capacity.slots as usize {
        let claim = store
            .claim(
                &worker.id,
                &worker.host,
                &worker.capacity,
                options.lease,
                now(),
            )
            .await?;
        let Some(claim) = claim else { break };
        took = true;
        tracing::info!(job = %claim.job.id, run = %claim.run, attempt = claim.job.attempt, "begins");
        let (store, manner, stop) = (store.clone(), manner.clone(), stop.clone());
        attempts.spawn(async move {
            let ended = attempt::run(&store, &claim, &manner, stop).await;
            settle(&store, &claim, ended).await;
        });
    }
    Ok(took)
}

/// Writes down how an attempt ended, as often as it takes.
async fn settle(store: &RunStore, claim: &Claim, ended: Ended) {
    let outcome = match ended {
        Ended::So(outcome) => *outcome,
        Ended::NotOurs => {
            tracing::warn!(job = %claim.job.id, run = %claim.run, "another worker has the job: the run was ended");
            return;
        }
        Ended::Stopped => {
            // Not a failure of the job: it is queued again at once.
            match store.give_back(claim, now()).await {
                Ok(()) => tracing::info!(job = %claim.job.id, "goes back to the queue"),
                Err(error) => {
                    tracing::warn!(job = %claim.job.id, %error, "is taken up again when its lease is over")
                }
            }
            return;
        }
    };
    let jitter: f64 = rand::random();
    let mut pause = Duration::from_millis(200);
    let settled = loop {
        match store.settle(claim, &outcome, jitter, now()).await {
            Ok(settled) => break settled,
            Err(error) => {
                tracing::warn!(job = %claim.job.id, %error, "how it ended is not written down yet");
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(15));
            }
        }
    };
    let reason = outcome.reason.as_deref().unwrap_or_default();
    match settled {
        Settled::NotOurs => {
            tracing::warn!(job = %claim.job.id, run = %claim.run, "another worker has the job: the run does not count")
        }
        Settled::Again(at) => {
            let seconds = (at - now()) as f64 / 1000.0;
            tracing::warn!(job = %claim.job.id, run = %claim.run, state = %outcome.state, reason, "is tried again in {seconds:.0} s");
        }
        Settled::Finished(_) if outcome.state == RunState::Succeeded => {
            tracing::info!(job = %claim.job.id, run = %claim.run, "succeeded");
        }
        Settled::Finished(state) => {
            tracing::error!(job = %claim.job.id, run = %claim.run, %state, reason, "ended")
        }
    }
}
