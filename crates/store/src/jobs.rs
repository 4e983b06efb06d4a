//! Jobs: what must be done once, and the queue that workers take them from.
//!
//! A worker *claims* a job for the length of a lease, which it renews while the run goes on. A lease that ran out says that the worker
//! is gone: its run is `lost` and the job is queued again. Whoever claims, the store takes one success a job and no second.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::{self, Display},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{Any, AssertSqlSafe, Transaction, any::AnyRow};

use crate::{
    Error, Result, RunReport, RunState, RunStore,
    database::{cell, json_cell, json_text},
    runs::new_run_id,
};

/// A job whose worker disappeared so often is given up: it may be what kills them.
const MOST_LOSSES: i64 = 3;

/// Jobs looked at in one go when a worker asks for work.
const PAGE: i64 = 200;

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits for a worker, or for its next attempt.
    Queued,
    /// A worker has it.
    Running,
    /// Done.
    Succeeded,
    /// No attempt is left.
    Failed,
    /// Somebody ended it.
    Cancelled,
    /// It was due while the one before still worked.
    Skipped,
    /// It was due while no scheduler ran, too long ago to be made up for.
    Missed,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Skipped,
        Self::Missed,
    ];

    /// As the store writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        }
    }

    /// The state of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or_else(|| Error::Unreadable {
                what: "a job's state",
                why: format!("`{name}` is none"),
            })
    }
}

impl Display for JobState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// What a run takes of the machine that it works on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Needs {
    /// Bytes of memory.
    pub memory: u64,
    /// Named resources, and how much of each: `gpu: 1`.
    pub resources: BTreeMap<String, u32>,
}

/// What a worker has to give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// So many runs at once.
    pub slots: u32,
    /// Bytes of memory for all of them; no bound where there is none.
    pub memory: Option<u64>,
    /// Named resources, and how much of each.
    pub resources: BTreeMap<String, u32>,
}

impl Capacity {
    /// What a worker with this capacity can never give a job with such needs, in words.
    pub fn lacks(&self, needs: &Needs) -> Option<String> {
        if self.memory.is_some_and(|memory| needs.memory > memory) {
            return Some(format!("{} bytes of memory", needs.memory));
        }
        let mut wanted = needs.resources.iter();
        let short = |(name, wanted): &(&String, &u32)| {
            self.resources.get(*name).copied().unwrap_or_default() < **wanted
        };
        wanted
            .find(short)
            .map(|(name, wanted)| format!("{name}={wanted}"))
    }

    /// Whether a job with such needs does not fit beside what is taken.
    fn shortage(&self, needs: &Needs, taken: &Needs) -> bool {
        let memory = self
            .memory
            .is_some_and(|memory| taken.memory.saturating_add(needs.memory) > memory);
        memory
            || needs.resources.iter().any(|(name, wanted)| {
                let offered = self.resources.get(name).copied().unwrap_or_default();
                let taken = taken.resources.get(name).copied().unwrap_or_default();
                taken.saturating_add(*wanted) > offered
            })
    }
}

/// How a job is run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobSettings {
    /// The directory that the spec's paths start from.
    pub directory: String,
    /// `--param`.
    pub params: Vec<(String, String)>,
    /// The time zone that its times are told in.
    pub zone: Option<String>,
    /// Attempts after the first.
    pub retries: u32,
    /// Milliseconds before the second attempt; twice as long before each next.
    pub backoff: u64,
    /// Never longer than so many milliseconds.
    pub longest_backoff: u64,
    /// Milliseconds that an attempt may take.
    pub timeout: Option<u64>,
    /// Jobs of its schedule go one after another, in the order of their times.
    pub in_order: bool,
    /// At most so many runs of its pipeline at once.
    pub concurrency: Option<u32>,
    /// What it takes of a machine.
    pub needs: Needs,
    /// Whom to tell of its end, as the scheduler wrote it down.
    pub notify: Value,
}

/// A job to be.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// The run key: the same for the same work.
    pub id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The schedule's id; `backfill` for what a person asked for without one.
    pub schedule: String,
    /// The spec's file.
    pub file: String,
    /// `schedule`, `backfill`, `after`, `file`.
    pub cause: &'static str,
    /// The time that it stands for.
    pub logical_time: i64,
    /// Higher goes first.
    pub priority: i64,
    /// Not before this time.
    pub due_at: i64,
    /// How it is run.
    pub settings: JobSettings,
    /// `Queued`, or what was decided instead and why.
    pub state: JobState,
    /// Why it is not queued.
    pub reason: Option<String>,
    /// What becomes of it while another job of its schedule is not finished.
    pub overlap: Queued,
}

impl NewJob {
    /// It waits for the jobs of its schedule before it, and is not left out.
    pub fn wait_in_line(&mut self) {
        self.overlap = Queued::Always;
        self.settings.in_order = true;
    }
}

/// What becomes of a job that is due while another job of its schedule is queued or runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// It is queued all the same.
    Always,
    /// It is skipped.
    UnlessBusy,
    /// The others are cancelled.
    InPlaceOfOthers,
}

/// A job of the store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    /// The run key.
    pub id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The schedule's id.
    pub schedule: String,
    /// The spec's file.
    pub file: String,
    /// What made it.
    pub cause: String,
    /// The time that it stands for.
    #[serde(serialize_with = "crate::times::time")]
    pub logical_time: i64,
    /// How it stands.
    pub state: JobState,
    /// Why.
    pub reason: Option<String>,
    /// Not before this time.
    #[serde(serialize_with = "crate::times::time")]
    pub due_at: i64,
    /// When it was written down.
    #[serde(serialize_with = "crate::times::time")]
    pub queued_at: i64,
    /// When it was finished.
    #[serde(serialize_with = "crate::times::maybe_time")]
    pub finished_at: Option<i64>,
    /// Attempts so far.
    pub attempt: i64,
    /// Attempts whose worker disappeared.
    pub lost: i64,
    /// The run of the last attempt.
    pub run: Option<String>,
    /// Who has it.
    pub worker: Option<String>,
    /// Why it should end, where somebody asked for that while it runs.
    pub cancel: Option<String>,
    /// How it is run.
    pub settings: JobSettings,
}

/// A job that a worker has.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The job, as it is now.
    pub job: Job,
    /// The run to be.
    pub run: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The state of the run.
    pub state: RunState,
    /// The process's exit code, if it had one.
    pub exit_code: Option<i64>,
    /// Why it ended so.
    pub reason: Option<String>,
    /// What it told of itself.
    pub report: RunReport,
}

/// What became of a job when an attempt at it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is finished.
    Finished(JobState),
    /// It will be tried again at this time.
    Again(i64),
    /// The job is not this worker's any more: nothing was written.
    NotOurs,
}

const COLUMNS: &str = "id, pipeline, schedule, file, cause, logical_time, state, reason, due_at, queued_at, finished_at, attempt, lost, run, worker, cancel, settings";

impl RunStore {
    /// Writes jobs down. One that is there already stays as it is; how many were new.
    ///
    /// # Errors
    /// The store cannot be written; then none was.
    pub async fn enqueue(&self, jobs: &[NewJob], now: i64) -> Result<u64> {
        self.decide(&[], jobs, now).await
    }

    /// Writes a job down, unless it is there; whether it was new.
    pub(crate) async fn write_job(
        &self,
        transaction: &mut Transaction<'static, Any>,
        job: &NewJob,
        now: i64,
    ) -> Result<bool> {
        let known = sqlx::query("SELECT id FROM jobs WHERE id = $1")
            .bind(job.id.clone())
            .fetch_optional(&mut **transaction)
            .await
            .map_err(self.unread())?;
        if known.is_some() {
            return Ok(false);
        }
        let (mut state, mut reason) = (job.state, job.reason.clone());
        if state == JobState::Queued && job.overlap != Queued::Always {
            let busy = sqlx::query("SELECT id FROM jobs WHERE pipeline = $1 AND schedule = $2 AND state IN ('queued', 'running') ORDER BY logical_time DESC LIMIT 1")
                .bind(job.pipeline.clone())
                .bind(job.schedule.clone())
                .fetch_optional(&mut **transaction)
                .await
                .map_err(self.unread())?;
            if let Some(busy) = busy {
                match job.overlap {
                    Queued::UnlessBusy => {
                        state = JobState::Skipped;
                        reason = Some(format!(
                            "`{}` is not finished",
                            cell::<String>(&busy, "id")?
                        ));
                    }
                    _ => {
                        let why = format!("`{}` takes its place", job.id);
                        self.cancel_jobs(transaction, &job.pipeline, &job.schedule, &why, now)
                            .await?;
                    }
                }
            }
        }
        if matches!(state, JobState::Skipped | JobState::Missed) {
            let reason = reason.as_deref().unwrap_or_default();
            tracing::warn!(job = %job.id, reason, "{state}");
        }
        let finished = (!matches!(state, JobState::Queued)).then_some(now);
        sqlx::query("INSERT INTO jobs (id, pipeline, schedule, file, cause, logical_time, state, reason, priority, due_at, queued_at, finished_at, attempt, lost, settings) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0, $13)")
            .bind(job.id.clone())
            .bind(job.pipeline.clone())
            .bind(job.schedule.clone())
            .bind(job.file.clone())
            .bind(job.cause)
            .bind(job.logical_time)
            .bind(state.name())
            .bind(reason)
            .bind(job.priority)
            .bind(job.due_at)
            .bind(now)
            .bind(finished)
            .bind(json_text("settings", &job.settings)?)
            .execute(&mut **transaction)
            .await
            .map_err(self.unwritten())?;
        Ok(true)
    }

    /// Queued jobs of a schedule are cancelled; running ones are asked to end.
    async fn cancel_jobs(
        &self,
        transaction: &mut Transaction<'static, Any>,
        pipeline: &str,
        schedule: &str,
        why: &str,
        now: i64,
    ) -> Result<()> {
        sqlx::query("UPDATE jobs SET state = 'cancelled', reason = $3, finished_at = $4 WHERE pipeline = $1 AND schedule = $2 AND state = 'queued'")
            .bind(pipeline.to_owned())
            .bind(schedule.to_owned())
            .bind(why.to_owned())
            .bind(now)
            .execute(&mut **transaction)
            .await
            .map_err(self.unwritten())?;
        sqlx::query("UPDATE jobs SET cancel = $3 WHERE pipeline = $1 AND schedule = $2 AND state = 'running' AND cancel IS NULL")
            .bind(pipeline.to_owned())
            .bind(schedule.to_owned())
            .bind(why.to_owned())
            .execute(&mut **transaction)
            .await
            .map_err(self.unwritten())?;
        Ok(())
    }

    /// Takes the job whose turn it is, of those that the worker can do now; none where there is none.
    ///
    /// # Errors
    /// The store cannot be read or written; then nothing was taken.
    pub async fn claim(
        &self,
        worker: &str,
        host: &str,
        capacity: &Capacity,
        lease: Duration,
        now: i64,
    ) -> Result<Option<Claim>> {
        // Most of the time there is nothing to do: see that without locking anybody out.
        let due =
            sqlx::query("SELECT id FROM jobs WHERE state = 'queued' AND due_at <= $1 LIMIT 1")
                .bind(now)
                .fetch_optional(&self.pool)
                .await
                .map_err(self.unread())?;
        if due.is_none() || capacity.slots == 0 {
            return Ok(None);
        }
        let mut transaction = self.exclusive().await?;
        let Some(mut job) = self
            .next_job(&mut transaction, worker, capacity, now)
            .await?
        else {
            return Ok(None);
        };
        let run = new_run_id(now);
        job.state = JobState::Running;
        job.attempt += 1;
        job.run = Some(run.clone());
        job.worker = Some(worker.to_owned());
        job.cancel = None;
        sqlx::query("UPDATE jobs SET state = 'running', attempt = $2, run = $3, worker = $4, lease_until = $5, cancel = NULL, reason = NULL WHERE id = $1")
            .bind(job.id.clone())
            .bind(job.attempt)
            .bind(run.clone())
            .bind(worker.to_owned())
            .bind(now + lease.as_millis() as i64)
            .execute(&mut *transaction)
            .await
            .map_err(self.unwritten())?;
        sqlx::query("INSERT INTO runs (id, job, attempt, pipeline, file, cause, schedule, logical_time, run_key, state, host, worker, started_at, params, sources) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $2, 'running', $9, $10, $11, $12, '[]')")
            .bind(run.clone())
            .bind(job.id.clone())
            .bind(job.attempt)
            .bind(job.pipeline.clone())
            .bind(job.file.clone())
            .bind(job.cause.clone())
            .bind(job.schedule.clone())
            .bind(job.logical_time)
            .bind(host.to_owned())
            .bind(worker.to_owned())
            .bind(now)
            .bind(json_text("params", &job.settings.params)?)
            .execute(&mut *transaction)
            .await
            .map_err(self.unwritten())?;
        self.commit(transaction).await?;
        Ok(Some(Claim { job, run }))
    }

    async fn next_job(
        &self,
        transaction: &mut Transaction<'static, Any>,
        worker: &str,
        capacity: &Capacity,
        now: i64,
    ) -> Result<Option<Job>> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE state = 'running'");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(&mut **transaction)
            .await
            .map_err(self.unread())?;
        let running = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        let mut ours = 0;
        let mut taken = Needs::default();
        let mut of_pipeline: BTreeMap<&str, u32> = BTreeMap::new();
        // Schedules of which a job is at work.
        let mut engaged: HashSet<(String, String)> = HashSet::new();
        for job in &running {
            *of_pipeline.entry(&job.pipeline).or_default() += 1;
            engaged.insert((job.pipeline.clone(), job.schedule.clone()));
            if job.worker.as_deref() == Some(worker) {
                ours += 1;
                taken.memory = taken.memory.saturating_add(job.settings.needs.memory);
                for (name, amount) in &job.settings.needs.resources {
                    *taken.resources.entry(name.clone()).or_default() += amount;
                }
            }
        }
        if ours >= capacity.slots {
            return Ok(None);
        }
        let mut offset = 0;
        loop {
            let sql = format!(
                "SELECT {COLUMNS} FROM jobs WHERE state = 'queued' AND due_at <= $1 ORDER BY priority DESC, due_at, id LIMIT {PAGE} OFFSET {offset}"
            );
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(now)
                .fetch_all(&mut **transaction)
                .await
                .map_err(self.unread())?;
            for row in &rows {
                let job = read(row)?;
                if capacity.shortage(&job.settings.needs, &taken) {
                    continue;
                }
                let others = of_pipeline
                    .get(job.pipeline.as_str())
                    .copied()
                    .unwrap_or_default();
                if job.settings.concurrency.is_some_and(|most| others >= most) {
                    continue;
                }
                if job.settings.in_order {
                    let schedule = (job.pipeline.clone(), job.schedule.clone());
                    if engaged.contains(&schedule)
                        || self.waits_for_an_earlier(transaction, &job).await?
                    {
                        continue;
                    }
                }
                return Ok(Some(job));
            }
            if rows.len() < PAGE as usize {
                return Ok(None);
            }
            offset += PAGE;
        }
    }

    /// Whether a job of the same schedule for an earlier time is still to be done, if only after its backoff.
    async fn waits_for_an_earlier(
        &self,
        transaction: &mut Transaction<'static, Any>,
        job: &Job,
    ) -> Result<bool> {
        let earlier = sqlx::query("SELECT id FROM jobs WHERE pipeline = $1 AND schedule = $2 AND state = 'queued' AND logical_time < $3 LIMIT 1")
            .bind(job.pipeline.clone())
            .bind(job.schedule.clone())
            .bind(job.logical_time)
            .fetch_optional(&mut **transaction)
            .await
            .map_err(self.unread())?;
        Ok(earlier.is_some())
    }

    /// Notes the process that runs a claimed job, and the params that it got.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn note_process(
        &self,
        run: &str,
        process: i64,
        params: &[(String, String)],
    ) -> Result<()> {
        sqlx::query("UPDATE runs SET process = $2, params = $3 WHERE id = $1")
            .bind(run.to_owned())
            .bind(process)
            .bind(json_text("params", &params)?)
            .execute(&self.pool)
            .await
            .map_err(self.unwritten())?;
        Ok(())
    }

    /// Renews the lease of a claimed job. Answers why it should end, where somebody asked for that.
    ///
    /// # Errors
    /// [`Error::Refused`] where the job is not this run's any more.
    pub async fn renew(&self, claim: &Claim, lease: Duration, now: i64) -> Result<Option<String>> {
        let sql = "UPDATE jobs SET lease_until = $3 WHERE id = $1 AND run = $2 AND state = 'running' RETURNING cancel";
        let row = sqlx::query(sql)
            .bind(claim.job.id.clone())
            .bind(claim.run.clone())
            .bind(now + lease.as_millis() as i64)
            .fetch_optional(&self.pool)
            .await
            .map_err(self.unwritten())?;
        match row {
            Some(row) => cell(&row, "cancel"),
            None => Err(Error::Refused(format!(
                "the job `{}` is not this worker's any more",
                claim.job.id
            ))),
        }
    }

    /// Why a claimed job should end, where somebody asked for that. Cheaper than renewing its lease.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn cancellation(&self, claim: &Claim) -> Result<Option<String>> {
        let row = sqlx::query("SELECT cancel FROM jobs WHERE id = $1 AND run = $2")
            .bind(claim.job.id.clone())
            .bind(claim.run.clone())
            .fetch_optional(&self.pool)
            .await
            .map_err(self.unread())?;
        row.map_or(Ok(None), |row| cell(&row, "cancel"))
    }

    /// Writes down how an attempt ended, and what that means for its job. `jitter` (0 to 1) moves the time of another attempt.
    ///
    /// # Errors
    /// The store cannot be written; then nothing was.
    pub async fn settle(
        &self,
        claim: &Claim,
        outcome: &Outcome,
        jitter: f64,
        now: i64,
    ) -> Result<Settled> {
        let mut transaction = self.exclusive().await?;
        let held =
            sqlx::query("SELECT id FROM jobs WHERE id = $1 AND run = $2 AND state = 'running'")
                .bind(claim.job.id.clone())
                .bind(claim.run.clone())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(self.unread())?;
        if held.is_none() {
            return Ok(Settled::NotOurs);
        }
        self.write_end(
            &mut transaction,
            &claim.run,
            outcome.state,
            outcome.exit_code,
            outcome.reason.as_deref(),
            &outcome.report,
            now,
        )
        .await?;
        let job = &claim.job;
        // Attempts that failed of themselves; those whose worker disappeared are counted apart.
        let failed = job.attempt - job.lost;
        let settled = match outcome.state {
            RunState::Succeeded => Settled::Finished(JobState::Succeeded),
            RunState::Cancelled => Settled::Finished(JobState::Cancelled),
            state if state.is_worth_another_try() && failed <= i64::from(job.settings.retries) => {
                Settled::Again(now + backoff(&job.settings, failed, jitter))
            }
            _ => Settled::Finished(JobState::Failed),
        };
        let mut job = job.clone();
        job.reason = outcome.reason.clone();
        match settled {
            Settled::Again(at) => {
                job.state = JobState::Queued;
                job.due_at = at;
            }
            Settled::Finished(state) => {
                job.state = state;
                job.finished_at = Some(now);
            }
            Settled::NotOurs => {}
        }
        self.write_stand(&mut transaction, &job).await?;
        if let Settled::Finished(_) = settled {
            self.write_notices(&mut transaction, &job, outcome, now)
                .await?;
        }
        self.commit(transaction).await?;
        Ok(settled)
    }

    /// Puts a job back into the queue whose run its worker ended for the worker's own sake: that attempt does not count.
    ///
    /// # Errors
    /// The store cannot be written; then nothing was.
    pub async fn give_back(&self, claim: &Claim, now: i64) -> Result<()> {
        let mut transaction = self.exclusive().await?;
        let why = "its worker was stopped";
        let report = RunReport::default();
        self.write_end(
            &mut transaction,
            &claim.run,
            RunState::Cancelled,
            None,
            Some(why),
            &report,
            now,
        )
        .await?;
        sqlx::query("UPDATE jobs SET state = 'queued', reason = $3, attempt = attempt - 1, worker = NULL, lease_until = NULL WHERE id = $1 AND run = $2 AND state = 'running'")
            .bind(claim.job.id.clone())
            .bind(claim.run.clone())
            .bind(why)
            .execute(&mut *transaction)
            .await
            .map_err(self.unwritten())?;
        self.commit(transaction).await
    }

    /// Writes down how a job stands that no worker has any more.
    async fn write_stand(
        &self,
        transaction: &mut Transaction<'static, Any>,
        job: &Job,
    ) -> Result<()> {
        sqlx::query("UPDATE jobs SET state = $2, reason = $3, due_at = $4, finished_at = $5, lost = $6, worker = NULL, lease_until = NULL, cancel = NULL WHERE id = $1")
            .bind(job.id.clone())
            .bind(job.state.name())
            .bind(job.reason.clone())
            .bind(job.due_at)
            .bind(job.finished_at)
            .bind(job.lost)
            .execute(&mut **transaction)
            .await
            .map_err(self.unwritten())?;
        Ok(())
    }

    /// Puts jobs whose worker is gone back into the queue; their runs are lost. Answers the jobs as they are now.
    ///
    /// # Errors
    /// The store cannot be read or written; then nothing was.
    pub async fn recover(&self, now: i64) -> Result<Vec<Job>> {
        let orphaned =
            sqlx::query("SELECT id FROM jobs WHERE state = 'running' AND lease_until < $1 LIMIT 1")
                .bind(now)
                .fetch_optional(&self.pool)
                .await
                .map_err(self.unread())?;
        if orphaned.is_none() {
            return Ok(Vec::new());
        }
        let mut transaction = self.exclusive().await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE state = 'running' AND lease_until < $1 ORDER BY id"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(now)
            .fetch_all(&mut *transaction)
            .await
            .map_err(self.unread())?;
        let mut jobs = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        for job in &mut jobs {
            let worker = job.worker.take().unwrap_or_default();
            let why = format!("the worker `{worker}` is gone");
            if let Some(run) = &job.run {
                self.write_end(
                    &mut transaction,
                    run,
                    RunState::Lost,
                    None,
                    Some(&why),
                    &RunReport::default(),
                    now,
                )
                .await?;
            }
            job.lost += 1;
            (job.state, job.finished_at, job.reason) = if let Some(cancel) = job.cancel.take() {
                (JobState::Cancelled, Some(now), Some(cancel))
            } else if job.lost > MOST_LOSSES {
                let why = format!(
                    "its worker disappeared {} times; the last was `{worker}`",
                    job.lost
                );
                (JobState::Failed, Some(now), Some(why))
            } else {
                (JobState::Queued, None, Some(why))
            };
            self.write_stand(&mut transaction, job).await?;
            if job.finished_at.is_some() {
                let outcome = Outcome {
                    state: RunState::Lost,
                    exit_code: None,
                    reason: job.reason.clone(),
                    report: RunReport::default(),
                };
                self.write_notices(&mut transaction, job, &outcome, now)
                    .await?;
            }
        }
        self.commit(transaction).await?;
        Ok(jobs)
    }

    /// Cancels a job: at once where it waits; where it runs, its worker ends it soon. Answers how it stood.
    ///
    /// # Errors
    /// There is no such job, or it is finished.
    pub async fn cancel(&self, job: &str, why: &str, now: i64) -> Result<JobState> {
        let mut transaction = self.exclusive().await?;
        let row = sqlx::query("SELECT state FROM jobs WHERE id = $1")
            .bind(job.to_owned())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(self.unread())?
            .ok_or_else(|| Error::NotFound(format!("the run store holds no job `{job}`")))?;
        let state = JobState::named(&cell::<String>(&row, "state")?)?;
        let sql = match state {
            JobState::Queued => {
                "UPDATE jobs SET state = 'cancelled', reason = $2, finished_at = $3 WHERE id = $1"
            }
            JobState::Running => {
                "UPDATE jobs SET cancel = $2, due_at = CASE WHEN due_at > $3 THEN $3 ELSE due_at END WHERE id = $1"
            }
            finished => {
                return Err(Error::Refused(format!(
                    "the job `{job}` cannot be cancelled: it is {finished} already"
                )));
            }
        };
        sqlx::query(sql)
            .bind(job.to_owned())
            .bind(why.to_owned())
            .bind(now)
            .execute(&mut *transaction)
            .await
            .map_err(self.unwritten())?;
        self.commit(transaction).await?;
        Ok(state)
    }

    /// Queues jobs again that were finished without success (failed, cancelled, skipped, missed), as if they were new; those that are
    /// queued, run or succeeded stay as they are. How many were queued.
    ///
    /// # Errors
    /// The store cannot be written; then none was.
    pub async fn requeue(&self, jobs: &[NewJob], now: i64) -> Result<u64> {
        let mut transaction = self.exclusive().await?;
        let mut queued = 0;
        for job in jobs {
            if self.write_job(&mut transaction, job, now).await? {
                queued += 1;
                continue;
            }
            let sql = "UPDATE jobs SET state = 'queued', reason = NULL, cause = $2, priority = $3, due_at = $4, queued_at = $4, finished_at = NULL, attempt = 0, lost = 0, settings = $5 WHERE id = $1 AND state IN ('failed', 'cancelled', 'skipped', 'missed')";
            let done = sqlx::query(sql)
                .bind(job.id.clone())
                .bind(job.cause)
                .bind(job.priority)
                .bind(job.due_at)
                .bind(json_text("settings", &job.settings)?)
                .execute(&mut *transaction)
                .await
                .map_err(self.unwritten())?;
            queued += done.rows_affected();
        }
        self.commit(transaction).await?;
        Ok(queued)
    }

    /// Takes back that occurrences after `now` were missed: the clock had run ahead. How many.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn forget_missed_after(&self, now: i64) -> Result<u64> {
        let done = sqlx::query("DELETE FROM jobs WHERE state = 'missed' AND logical_time > $1")
            .bind(now)
            .execute(&self.pool)
            .await
            .map_err(self.unwritten())?;
        Ok(done.rows_affected())
    }

    /// The job of that id.
    ///
    /// # Errors
    /// There is none.
    pub async fn job(&self, id: &str) -> Result<Job> {
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM jobs WHERE id = $1"
        )))
        .bind(id.to_owned())
        .fetch_optional(&self.pool)
        .await
        .map_err(self.unread())?
        .ok_or_else(|| Error::NotFound(format!("the run store holds no job `{id}`")))?;
        read(&row)
    }

    /// The job of a schedule for the latest time.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn last_job(&self, pipeline: &str, schedule: &str) -> Result<Option<Job>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE pipeline = $1 AND schedule = $2 ORDER BY logical_time DESC LIMIT 1"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(pipeline.to_owned())
            .bind(schedule.to_owned())
            .fetch_optional(&self.pool)
            .await
            .map_err(self.unread())?;
        row.as_ref().map(read).transpose()
    }

    /// Jobs that stand so, the next in turn first; at most so many.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn jobs(&self, state: Option<JobState>, limit: u32) -> Result<Vec<Job>> {
        let sql = match state {
            Some(state) => format!(
                "SELECT {COLUMNS} FROM jobs WHERE state = '{}' ORDER BY priority DESC, due_at, id LIMIT {limit}",
                state.name()
            ),
            None => format!("SELECT {COLUMNS} FROM jobs ORDER BY queued_at DESC, id LIMIT {limit}"),
        };
        let query = sqlx::query(AssertSqlSafe(sql));
        self.all(query, read).await
    }

    /// Jobs of a pipeline that succeeded at `since` or later, the first to finish first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn successes_of(&self, pipeline: &str, since: i64) -> Result<Vec<Job>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE finished_at >= $2 AND pipeline = $1 AND state = 'succeeded' ORDER BY finished_at, id"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(pipeline.to_owned())
            .bind(since);
        self.all(query, read).await
    }

    /// How many jobs stand how, by pipeline and state.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn job_counts(&self) -> Result<Vec<(String, JobState, i64)>> {
        let query = sqlx::query(
            "SELECT pipeline, state, COUNT(*) AS jobs FROM jobs GROUP BY pipeline, state ORDER BY pipeline, state",
        );
        self.all(query, |row| {
            Ok((
                cell(row, "pipeline")?,
                JobState::named(&cell::<String>(row, "state")?)?,
                cell(row, "jobs")?,
            ))
        })
        .await
    }

    /// How the jobs of these ids stand; those that are not there are left out.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn states_of(&self, ids: &[String]) -> Result<BTreeMap<String, JobState>> {
        let mut states = BTreeMap::new();
        for ids in ids.chunks(500) {
            let places: Vec<String> = (1..=ids.len()).map(|place| format!("${place}")).collect();
            let sql = format!(
                "SELECT id, state FROM jobs WHERE id IN ({})",
                places.join(", ")
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for id in ids {
                query = query.bind(id.clone());
            }
            for row in query.fetch_all(&self.pool).await.map_err(self.unread())? {
                states.insert(
                    cell(&row, "id")?,
                    JobState::named(&cell::<String>(&row, "state")?)?,
                );
            }
        }
        Ok(states)
    }
}

/// Milliseconds before the attempt after `failed` failed ones: doubled each time, and moved by up to a fifth either way, so that what
/// failed together does not come back together.
fn backoff(settings: &JobSettings, failed: i64, jitter: f64) -> i64 {
    let doublings = u32::try_from(failed - 1).unwrap_or_default().min(30);
    let longest = settings.longest_backoff.max(settings.backoff);
    let plain = settings.backoff.saturating_mul(1 << doublings).min(longest);
    (plain as f64 * (0.8 + 0.4 * jitter.clamp(0.0, 1.0))).round() as i64
}

pub(crate) fn read(row: &AnyRow) -> Result<Job> {
    Ok(Job {
        id: cell(row, "id")?,
        pipeline: cell(row, "pipeline")?,
        schedule: cell(row, "schedule")?,
        file: cell(row, "file")?,
        cause: cell(row, "cause")?,
        logical_time: cell(row, "logical_time")?,
        state: JobState::named(&cell::<String>(row, "state")?)?,
        reason: cell(row, "reason")?,
        due_at: cell(row, "due_at")?,
        queued_at: cell(row, "queued_at")?,
        finished_at: cell(row, "finished_at")?,
        attempt: cell(row, "attempt")?,
        lost: cell(row, "lost")?,
        run: cell(row, "run")?,
        worker: cell(row, "worker")?,
        cancel: cell(row, "cancel")?,
        settings: json_cell(row, "settings")?,
    })
}
