//! The scheduler: looks at the clock, at spec files, at other pipelines' successes and at arriving files, and queues what is due.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use taktline_core::Severity;
use taktline_store::{NewJob, Queued, RunStore, ScheduleState, now};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use crate::{
    Catalogue, Result, Scheduled, Stop,
    arrivals::Arrivals,
    catalogue::{Files, fingerprint, run_key},
    decide::{begin, decide},
    worker::longer,
};

/// The clock is looked at so often, at least.
const TICK: i64 = 1_000;

/// Spec files are looked at so often.
const LOOK_AT_FILES: Duration = Duration::from_secs(5);

/// A clock that goes back by less is not worth a word.
const CLOCK_NOISE: i64 = 2_000;

/// Jobs are written in transactions of at most so many: others get a turn in between.
const BATCH: usize = 1_000;

/// A success is looked for so long after it happened.
const HINDSIGHT: i64 = 3_600_000;

/// What to schedule.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// Spec files and folders of them.
    pub paths: Vec<PathBuf>,
    /// The directory that the specs' paths start from.
    pub directory: PathBuf,
}

/// A schedule and where it stands.
struct Kept {
    schedule: Scheduled,
    state: ScheduleState,
}

/// Decides what is due.
pub struct Scheduler {
    store: RunStore,
    options: SchedulerOptions,
    kept: Vec<Kept>,
    /// Next times, the earliest first, and whose.
    due: BinaryHeap<Reverse<(i64, usize)>>,
    arrivals: Arrivals,
    files: Files,
    looked_at_files: Option<Instant>,
    looked_around: Option<Instant>,
    last_now: i64,
    wake: Arc<Notify>,
    spec_errors: Arc<AtomicI64>,
}

impl Scheduler {
    /// A scheduler that tells `wake` of jobs it queued.
    pub fn new(store: RunStore, options: SchedulerOptions, wake: Arc<Notify>) -> Self {
        Self {
            store,
            options,
            kept: Vec::new(),
            due: BinaryHeap::new(),
            arrivals: Arrivals::default(),
            files: Vec::new(),
            looked_at_files: None,
            looked_around: None,
            last_now: now(),
            wake,
            spec_errors: Arc::default(),
        }
    }

    /// How many things were wrong with the spec files when they were last read.
    pub fn spec_errors(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.spec_errors)
    }

    /// Works until it is asked to stop.
    ///
    /// # Errors
    /// Only what will not pass: the store is of another version.
    pub async fn run(&mut self, mut stop: watch::Receiver<Stop>) -> Result<()> {
        let mut trouble = Duration::ZERO;
        while *stop.borrow_and_update() == Stop::No {
            match self.step(now()).await {
                Ok(()) => trouble = Duration::ZERO,
                Err(error) if error.is_passing() => {
                    trouble = longer(trouble);
                    tracing::warn!(%error, again_in = ?trouble, "the run store does not answer; nothing is lost meanwhile");
                    // What was decided but not written is decided again from what the store knows.
                    self.looked_at_files = None;
                    self.files.clear();
                }
                Err(error) => return Err(error.into()),
            }
            let next = self.due.peek().map_or(i64::MAX, |Reverse((time, _))| *time);
            let wait = next.saturating_sub(now()).clamp(1, TICK) as u64;
            tokio::select! {
                () = sleep(Duration::from_millis(wait).max(trouble)) => {}
                changed = stop.changed() => if changed.is_err() { break },
            }
        }
        Ok(())
    }

    /// One look at everything.
    pub(crate) async fn step(&mut self, now: i64) -> taktline_store::Result<()> {
        if now < self.last_now - CLOCK_NOISE {
            let seconds = (self.last_now - now) / 1000;
            tracing::warn!(seconds, "the clock was set back");
            self.set_back(now).await?;
        }
        self.last_now = now;
        if self
            .looked_at_files
            .is_none_or(|looked| looked.elapsed() >= LOOK_AT_FILES)
        {
            self.read_specs(now).await?;
            self.looked_at_files = Some(Instant::now());
        }
        self.decide_due(now).await?;
        // Other triggers come by looking.
        if self
            .looked_around
            .is_none_or(|looked| looked.elapsed() >= Duration::from_millis(TICK as u64))
        {
            self.follow_successes(now).await?;
            self.follow_files(now).await?;
            self.looked_around = Some(Instant::now());
        }
        Ok(())
    }

    /// Reads the specs again where they changed; a schedule that is defined otherwise begins afresh.
    async fn read_specs(&mut self, now: i64) -> taktline_store::Result<()> {
        let files = fingerprint(&self.options.paths);
        let known: BTreeMap<(String, String), ScheduleState> = self
            .store
            .schedules()
            .await?
            .into_iter()
            .map(|state| ((state.pipeline.clone(), state.schedule.clone()), state))
            .collect();
        if files == self.files && self.looked_at_files.is_some() {
            // Somebody may have paused a schedule.
            for kept in &mut self.kept {
                let key = (kept.state.pipeline.clone(), kept.state.schedule.clone());
                if let Some(state) = known.get(&key) {
                    kept.state.paused = state.paused;
                }
            }
            return Ok(());
        }
        let before: Vec<Scheduled> = self.kept.iter().map(|kept| kept.schedule.clone()).collect();
        let catalogue = Catalogue::read_again(
            &self.options.paths,
            &|name| std::env::var(name).ok(),
            &before,
        );
        let errors = catalogue
            .diagnostics
            .iter()
            .filter(|one| one.severity == Severity::Error)
            .count();
        self.spec_errors.store(errors as i64, Ordering::Relaxed);
        for diagnostic in &catalogue.diagnostics {
            let place = diagnostic.location.as_ref().map(|location| {
                format!("{}:{}:{}: ", location.file, location.line, location.column)
            });
            tracing::error!("{}{}", place.unwrap_or_default(), diagnostic.message);
        }
        let mut kept = Vec::with_capacity(catalogue.schedules.len());
        let mut changed = Vec::new();
        for schedule in catalogue.schedules {
            let key = (schedule.pipeline.clone(), schedule.entry.id.clone());
            let before = known
                .get(&key)
                .filter(|state| state.definition == schedule.definition());
            let mut state = before.cloned().unwrap_or_else(|| ScheduleState {
                paused: known.get(&key).is_some_and(|state| state.paused),
                ..begin(&schedule, now)
            });
            state.file = schedule.file.display().to_string();
            let table = schedule.timetable.as_ref();
            // A clock that went back while nobody looked: nothing after now can be decided.
            state.decided_until = state.decided_until.min(now);
            state.next_at = table.and_then(|table| table.next_after(state.decided_until));
            if before != Some(&state) {
                changed.push(state.clone());
            }
            kept.push(Kept { schedule, state });
        }
        for states in changed.chunks(BATCH) {
            self.store.decide(states, &[], now).await?;
        }
        // What is not read rightly is not known to be gone.
        let gone: Vec<ScheduleState> = known
            .into_values()
            .filter(|state| errors == 0 && self.is_gone(state, &kept, &files))
            .collect();
        for state in &gone {
            tracing::info!(
                "{}/{} is not scheduled any more",
                state.pipeline,
                state.schedule
            );
        }
        self.store.forget_schedules(&gone).await?;
        tracing::info!(schedules = kept.len(), errors, "read the schedules");
        self.kept = kept;
        self.files = files;
        self.line_up();
        Ok(())
    }

    /// Whether a schedule was declared by one of these files, or by one that was below these paths, and is not any more. Others on the
    /// same store are another scheduler's.
    fn is_gone(&self, state: &ScheduleState, kept: &[Kept], files: &Files) -> bool {
        let is_kept = kept.iter().any(|one| {
            one.state.pipeline == state.pipeline && one.state.schedule == state.schedule
        });
        let file = Path::new(&state.file);
        let is_ours = files.iter().any(|(known, ..)| known == file)
            || !file.exists() && self.options.paths.iter().any(|path| file.starts_with(path));
        !is_kept && is_ours
    }

    fn line_up(&mut self) {
        self.due = self
            .kept
            .iter()
            .enumerate()
            .filter_map(|(index, kept)| Some(Reverse((kept.state.next_at?, index))))
            .collect();
    }

    /// Queues what the clock says. A schedule's state moves on only with what it decided.
    async fn decide_due(&mut self, now: i64) -> taktline_store::Result<()> {
        while self
            .due
            .peek()
            .is_some_and(|Reverse((time, _))| *time <= now)
        {
            let mut moved = Vec::new();
            let mut jobs: Vec<NewJob> = Vec::new();
            while moved.len() < BATCH
                && jobs.len() < BATCH
                && let Some(Reverse((time, index))) = self.due.peek().copied()
                && time <= now
            {
                self.due.pop();
                let kept = &self.kept[index];
                let mut state = kept.state.clone();
                jobs.extend(decide(
                    &kept.schedule,
                    &mut state,
                    &self.options.directory,
                    now,
                ));
                moved.push((index, state));
            }
            let states: Vec<ScheduleState> = moved.iter().map(|(_, state)| state.clone()).collect();
            let new = self.store.decide(&states, &jobs, now).await?;
            for (index, state) in moved {
                if let Some(next) = state.next_at {
                    self.due.push(Reverse((next, index)));
                }
                self.kept[index].state = state;
            }
            if new > 0 {
                tracing::debug!(new, "queued");
                self.wake.notify_waiters();
            }
        }
        Ok(())
    }

    /// The clock went back: nothing after now is decided, and what was "missed" then was not.
    async fn set_back(&mut self, now: i64) -> taktline_store::Result<()> {
        self.store.forget_missed_after(now).await?;
        let mut states = Vec::new();
        for kept in self
            .kept
            .iter_mut()
            .filter(|kept| kept.state.decided_until > now)
        {
            kept.state.decided_until = now;
            kept.state.next_at = kept
                .schedule
                .timetable
                .as_ref()
                .and_then(|table| table.next_after(now));
            states.push(kept.state.clone());
        }
        for states in states.chunks(BATCH) {
            self.store.decide(states, &[], now).await?;
        }
        self.line_up();
        Ok(())
    }

    /// Queues what follows other pipelines' successes, for the same time.
    async fn follow_successes(&mut self, now: i64) -> taktline_store::Result<()> {
        let mut jobs = Vec::new();
        let mut moved = Vec::new();
        for (index, kept) in self.kept.iter().enumerate() {
            let Some((pipeline, id)) = kept
                .schedule
                .entry
                .after
                .as_ref()
                .map(|after| after.parts())
            else {
                continue;
            };
            let since = kept.state.decided_until;
            for job in self.store.successes_of(pipeline, since).await? {
                if kept.state.paused || id.is_some_and(|id| id != job.schedule) {
                    continue;
                }
                // One a success: two schedules of that pipeline may stand for the same time.
                let name = kept.schedule.name();
                let key = match id {
                    Some(_) => run_key(&name, job.logical_time),
                    None => format!("{}~{}", run_key(&name, job.logical_time), job.schedule),
                };
                let mut next =
                    kept.schedule
                        .job(&self.options.directory, key, "after", job.logical_time);
                next.due_at = now;
                // Leaving one out would lose what the other pipeline did.
                if next.overlap == Queued::UnlessBusy {
                    next.wait_in_line();
                }
                next.settings.zone = job.settings.zone.clone();
                jobs.push(next);
            }
            // Well behind now, so that a success counts that another machine's clock dates back.
            if now - HINDSIGHT - since >= 60 * TICK {
                let mut state = kept.state.clone();
                state.decided_until = now - HINDSIGHT;
                moved.push((index, state));
            }
        }
        let states: Vec<ScheduleState> = moved.iter().map(|(_, state)| state.clone()).collect();
        if self.store.decide(&states, &jobs, now).await? > 0 {
            self.wake.notify_waiters();
        }
        for (index, state) in moved {
            self.kept[index].state = state;
        }
        Ok(())
    }

    async fn follow_files(&mut self, now: i64) -> taktline_store::Result<()> {
        for kept in self
            .kept
            .iter()
            .filter(|kept| kept.schedule.entry.on_file.is_some() && !kept.state.paused)
        {
            let jobs = self
                .arrivals
                .look(&kept.schedule, &self.options.directory, now);
            match self.store.enqueue(&jobs, now).await {
                Ok(0) => {}
                Ok(_) => self.wake.notify_waiters(),
                Err(error) => {
                    self.arrivals.forget(&kept.schedule);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use taktline_spec::parse_moment;
    use taktline_store::{Address, JobState};

    use super::*;

    fn at(text: &str) -> i64 {
        parse_moment(text).expect("a time")
    }

    fn with_scheduler<F: Future<Output = ()>>(
        schedule: &str,
        test: impl FnOnce(Scheduler, PathBuf) -> F,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), schedule);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let store = RunStore::open(&Address::File(folder.path().join("store.db")))
                .await
                .expect("a store");
            let options = SchedulerOptions {
                paths: vec![folder.path().join("p.yaml")],
                directory: folder.path().to_owned(),
            };
            test(
                Scheduler::new(store, options, Arc::new(Notify::new())),
                folder.path().to_owned(),
            )
            .await;
        });
    }

    fn write(folder: &Path, schedule: &str) {
        let text = format!("pipeline: p\nstages: []\nschedule:\n  - {schedule}\n");
        std::fs::write(folder.join("p.yaml"), text).expect("written");
    }

    async fn keys(scheduler: &Scheduler, state: JobState) -> Vec<String> {
        let jobs = scheduler
            .store
            .jobs(Some(state), 1_000)
            .await
            .expect("read");
        let mut keys: Vec<String> = jobs.into_iter().map(|job| job.id).collect();
        keys.sort();
        keys
    }

    #[test]
    fn a_clock_that_runs_ahead_and_is_set_back_loses_nothing() {
        with_scheduler(
            "{id: s, cron: \"0 * * * *\", catch_up: 2h, overlap: allow}",
            |mut scheduler, _| async move {
                scheduler.last_now = at("2026-11-28T00:30");
                scheduler
                    .step(at("2026-11-28T00:30"))
                    .await
                    .expect("a step");
                scheduler
                    .step(at("2026-11-28T01:00"))
                    .await
                    .expect("a step");
                assert_eq!(
                    keys(&scheduler, JobState::Queued).await,
                    ["p/s/2026-11-28T01:00:00Z"]
                );
                // A day ahead by mistake: most of it counts as missed, the last two hours are made up for.
                scheduler
                    .step(at("2026-11-29T01:00"))
                    .await
                    .expect("a step");
                assert_eq!(keys(&scheduler, JobState::Queued).await.len(), 4);
                assert_eq!(keys(&scheduler, JobState::Missed).await.len(), 21);
                // Set right again: what was said to be missed is still to come, and comes; what was queued comes once.
                scheduler
                    .step(at("2026-11-28T01:30"))
                    .await
                    .expect("a step");
                assert!(keys(&scheduler, JobState::Missed).await.is_empty());
                for hour in 2..24 {
                    scheduler
                        .step(at(&format!("2026-11-28T{hour:02}:00")))
                        .await
                        .expect("a step");
                }
                scheduler
                    .step(at("2026-11-29T01:00"))
                    .await
                    .expect("a step");
                let expected: Vec<String> = (1..=25)
                    .map(|hour| {
                        format!("p/s/2026-11-{:02}T{:02}:00:00Z", 28 + hour / 24, hour % 24)
                    })
                    .collect();
                assert_eq!(keys(&scheduler, JobState::Queued).await, expected);
            },
        );
    }

    #[test]
    fn an_edited_cron_does_not_fire_for_the_past() {
        with_scheduler(
            "{id: s, cron: \"0 3 * * *\", catch_up: 1d}",
            |mut scheduler, folder| async move {
                scheduler.last_now = at("2026-11-28T00:30");
                scheduler
                    .step(at("2026-11-28T00:30"))
                    .await
                    .expect("a step");
                write(&folder, "{id: s, cron: \"0 2 * * *\", catch_up: 1d}");
                scheduler.looked_at_files = None;
                scheduler
                    .step(at("2026-11-28T02:30"))
                    .await
                    .expect("a step");
                scheduler
                    .step(at("2026-11-28T03:30"))
                    .await
                    .expect("a step");
                assert!(keys(&scheduler, JobState::Queued).await.is_empty());
                scheduler
                    .step(at("2026-11-29T02:00"))
                    .await
                    .expect("a step");
                assert_eq!(
                    keys(&scheduler, JobState::Queued).await,
                    ["p/s/2026-11-29T02:00:00Z"]
                );
            },
        );
    }

    #[test]
    fn a_scheduler_that_comes_back_makes_up_for_what_it_promised() {
        with_scheduler(
            "{id: s, cron: \"0 * * * *\", catch_up: 3h, overlap: allow}",
            |mut scheduler, _| async move {
                scheduler.last_now = at("2026-11-28T00:30");
                scheduler
                    .step(at("2026-11-28T00:30"))
                    .await
                    .expect("a step");
                let mut next = Scheduler::new(
                    scheduler.store.clone(),
                    scheduler.options.clone(),
                    Arc::new(Notify::new()),
                );
                next.last_now = at("2026-11-28T04:30");
                next.step(at("2026-11-28T04:30")).await.expect("a step");
                assert_eq!(keys(&next, JobState::Queued).await.len(), 3);
                assert_eq!(
                    keys(&next, JobState::Missed).await,
                    ["p/s/2026-11-28T01:00:00Z"]
                );
            },
        );
    }
}
