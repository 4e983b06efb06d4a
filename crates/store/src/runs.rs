//! Runs: what was tried, how it ended, what it measured.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use sqlx::{Any, AssertSqlSafe, Transaction, any::AnyRow};

use crate::{
    Artifact, Error, Metric, Model, Result, RunReport, RunStore, StageFigures,
    database::{cell, json_cell, json_text},
};

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It works.
    Running,
    /// It came to its end, and every gate was kept.
    Succeeded,
    /// A stage could not do its work, or the spec is wrong.
    Failed,
    /// A gate or an expectation said no.
    Refused,
    /// Somebody ended it.
    Cancelled,
    /// It took longer than it may and was ended.
    TimedOut,
    /// Its process died by a signal that nobody here sent: the machine ran out of memory, somebody used `kill`.
    Killed,
    /// Nobody knows: the worker that watched it is gone.
    Lost,
}

impl RunState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Refused,
        Self::Cancelled,
        Self::TimedOut,
        Self::Killed,
        Self::Lost,
    ];

    /// As the store and `--state` write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Killed => "killed",
            Self::Lost => "lost",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether another attempt may end otherwise. A gate that said no would say it again.
    pub fn is_worth_another_try(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::Killed)
    }
}

impl Display for RunState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A run that begins.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// Its id.
    pub id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The spec's file.
    pub file: String,
    /// Names what its sinks write.
    pub run_key: Option<String>,
    /// `--param`.
    pub params: Vec<(String, String)>,
    /// The machine.
    pub host: String,
    /// The process that runs it.
    pub process: Option<i64>,
}

/// A run of the store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// The job that it is an attempt at.
    pub job: Option<String>,
    /// Which attempt, from 1.
    pub attempt: i64,
    /// The pipeline's name.
    pub pipeline: String,
    /// The spec's file.
    pub file: String,
    /// What started it: `manual`, `schedule`, `backfill`, `after`, `file`.
    pub cause: String,
    /// The schedule that it belongs to.
    pub schedule: Option<String>,
    /// The time that it stands for.
    #[serde(serialize_with = "crate::times::maybe_time")]
    pub logical_time: Option<i64>,
    /// Names what its sinks wrote.
    pub run_key: Option<String>,
    /// How it stands.
    pub state: RunState,
    /// Why it ended so.
    pub reason: Option<String>,
    /// The machine.
    pub host: String,
    /// The worker.
    pub worker: Option<String>,
    /// The process that ran it.
    pub process: Option<i64>,
    /// When it began.
    #[serde(serialize_with = "crate::times::time")]
    pub started_at: i64,
    /// When it ended.
    #[serde(serialize_with = "crate::times::maybe_time")]
    pub finished_at: Option<i64>,
    /// The process's exit code.
    pub exit_code: Option<i64>,
    /// The seed it ran with.
    pub seed: Option<i64>,
    /// `--param`.
    #[serde(serialize_with = "crate::database::as_map")]
    pub params: Vec<(String, String)>,
    /// The content of its sources: stage to hash.
    #[serde(serialize_with = "crate::database::as_map")]
    pub sources: Vec<(String, String)>,
    /// The bundle that it wrote.
    pub bundle: Option<String>,
    /// Its HTML report.
    pub report: Option<String>,
}

impl Run {
    /// Seconds that it took, or has taken by `now`.
    pub fn seconds(&self, now: i64) -> f64 {
        (self.finished_at.unwrap_or(now) - self.started_at).max(0) as f64 / 1000.0
    }
}

/// Which runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunFilter {
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// Of this schedule.
    pub schedule: Option<String>,
    /// Standing so.
    pub state: Option<RunState>,
    /// Begun at this time or later.
    pub since: Option<i64>,
    /// At most so many, the newest first.
    pub limit: u32,
}

/// A line that a run wrote.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogLine {
    /// Its number, from 1.
    pub line: i64,
    /// When it came.
    #[serde(serialize_with = "crate::times::time")]
    pub at: i64,
    /// The text.
    pub text: String,
}

/// A new run's id: when it began, to the millisecond, and what tells it from another of the same millisecond.
pub fn new_run_id(now: i64) -> String {
    let began = chrono::DateTime::from_timestamp_millis(now).unwrap_or_default();
    // Base 36: five letters are sixty million.
    let mut tail = rand::random::<u32>() % 36_u32.pow(5);
    let mut letters = [0_u8; 5];
    for letter in &mut letters {
        *letter = b"0123456789abcdefghijklmnopqrstuvwxyz"[(tail % 36) as usize];
        tail /= 36;
    }
    format!(
        "{}-{}",
        began.format("%Y%m%dT%H%M%S%3f"),
        letters.map(char::from).iter().collect::<String>()
    )
}

const COLUMNS: &str = "id, job, attempt, pipeline, file, cause, schedule, logical_time, run_key, state, reason, host, worker, process, started_at, finished_at, exit_code, seed, params, sources, bundle, report";

impl RunStore {
    /// Writes down that a person's run begins.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn begin_run(&self, run: &NewRun, now: i64) -> Result<()> {
        let sql = "INSERT INTO runs (id, attempt, pipeline, file, cause, run_key, state, host, process, started_at, params, sources) VALUES ($1, 1, $2, $3, 'manual', $4, 'running', $5, $6, $7, $8, '[]')";
        sqlx::query(sql)
            .bind(run.id.clone())
            .bind(run.pipeline.clone())
            .bind(run.file.clone())
            .bind(run.run_key.clone())
            .bind(run.host.clone())
            .bind(run.process)
            .bind(now)
            .bind(json_text("params", &run.params)?)
            .execute(&self.pool)
            .await
            .map_err(self.unwritten())?;
        Ok(())
    }

    /// Writes down how a person's run ended.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn end_run(
        &self,
        id: &str,
        state: RunState,
        exit_code: i64,
        report: &RunReport,
        now: i64,
    ) -> Result<()> {
        let mut transaction = self.exclusive().await?;
        self.write_end(
            &mut transaction,
            id,
            state,
            Some(exit_code),
            report.reason.as_deref(),
            report,
            now,
        )
        .await?;
        self.commit(transaction).await
    }

    /// Ends runs that persons started on this machine and whose process is gone without a word; how many.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn end_vanished(
        &self,
        host: &str,
        is_alive: impl Fn(i64) -> bool,
        now: i64,
    ) -> Result<u64> {
        let rows = sqlx::query(
            "SELECT id, process FROM runs WHERE state = 'running' AND job IS NULL AND host = $1",
        )
        .bind(host.to_owned())
        .fetch_all(&self.pool)
        .await
        .map_err(self.unread())?;
        let mut ended = 0;
        for row in &rows {
            let (id, process): (String, Option<i64>) = (cell(row, "id")?, cell(row, "process")?);
            if process.is_some_and(&is_alive) {
                continue;
            }
            let mut transaction = self.pool.begin().await.map_err(self.unwritten())?;
            let why = "its process ended without a word";
            self.write_end(
                &mut transaction,
                &id,
                RunState::Lost,
                None,
                Some(why),
                &RunReport::default(),
                now,
            )
            .await?;
            self.commit(transaction).await?;
            ended += 1;
        }
        Ok(ended)
    }

    /// Marks a run that still runs as ended; whether it did.
    #[expect(
        clippy::too_many_arguments,
        reason = "a row of the table, written in one place"
    )]
    pub(crate) async fn write_end(
        &self,
        transaction: &mut Transaction<'static, Any>,
        id: &str,
        state: RunState,
        exit_code: Option<i64>,
        reason: Option<&str>,
        report: &RunReport,
        now: i64,
    ) -> Result<bool> {
        let sql = "UPDATE runs SET state = $2, reason = $3, finished_at = $4, exit_code = $5, seed = $6, sources = $7, bundle = $8, report = $9 WHERE id = $1 AND state = 'running'";
        let done = sqlx::query(sql)
            .bind(id.to_owned())
            .bind(state.name())
            .bind(reason.map(str::to_owned))
            .bind(now)
            .bind(exit_code)
            .bind(report.seed)
            .bind(json_text("sources", &report.sources)?)
            .bind(report.bundle.clone())
            .bind(report.report.clone())
            .execute(&mut **transaction)
            .await
            .map_err(self.unwritten())?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        if let (RunState::Succeeded, Some(place)) = (state, &report.bundle) {
            let kept_back = self
                .write_bundle(transaction, id, place, report, now)
                .await?;
            if let Some(why) = kept_back {
                sqlx::query("UPDATE runs SET reason = $2 WHERE id = $1")
                    .bind(id.to_owned())
                    .bind(why)
                    .execute(&mut **transaction)
                    .await
                    .map_err(self.unwritten())?;
            }
        }
        for (position, stage) in report.stages.iter().enumerate() {
            sqlx::query("INSERT INTO run_stages (run, position, stage, kind, outcome, rows_in, rows_out, rows_dropped, seconds) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
                .bind(id.to_owned())
                .bind(position as i64)
                .bind(stage.stage.clone())
                .bind(stage.kind.clone())
                .bind(stage.outcome.clone())
                .bind(stage.rows_in)
                .bind(stage.rows_out)
                .bind(stage.rows_dropped)
                .bind(stage.seconds)
                .execute(&mut **transaction)
                .await
                .map_err(self.unwritten())?;
        }
        for (position, metric) in report.metrics.iter().enumerate() {
            sqlx::query("INSERT INTO run_metrics (run, position, stage, part, name, value) VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(id.to_owned())
                .bind(position as i64)
                .bind(metric.stage.clone())
                .bind(metric.part.clone())
                .bind(metric.name.clone())
                .bind(metric.value)
                .execute(&mut **transaction)
                .await
                .map_err(self.unwritten())?;
        }
        for (position, artifact) in report.artifacts.iter().enumerate() {
            sqlx::query("INSERT INTO run_artifacts (run, position, stage, what, place) VALUES ($1, $2, $3, $4, $5)")
                .bind(id.to_owned())
                .bind(position as i64)
                .bind(artifact.stage.clone())
                .bind(artifact.what.clone())
                .bind(artifact.place.clone())
                .execute(&mut **transaction)
                .await
                .map_err(self.unwritten())?;
        }
        Ok(true)
    }

    /// A bundle that a run wrote is the next version of the model that its folder names: `…/NAME/ID`. Answers why it was not promoted, where
    /// it was to be.
    async fn write_bundle(
        &self,
        transaction: &mut Transaction<'static, Any>,
        run: &str,
        place: &str,
        report: &RunReport,
        now: i64,
    ) -> Result<Option<String>> {
        let mut parts = place.rsplit('/');
        let (Some(bundle), Some(name)) = (parts.next(), parts.next()) else {
            return Ok(None);
        };
        let model = Model {
            name: name.to_owned(),
            version: 0,
            bundle: bundle.to_owned(),
            place: place.to_owned(),
            run: Some(run.to_owned()),
            registered_at: now,
            metrics: report.metrics.clone(),
            aliases: Vec::new(),
        };
        let version = self.write_model(transaction, &model).await?;
        match &report.promote {
            Some(promotion) => {
                let why = format!("run {run} kept its gates");
                self.point_anew(transaction, name, version, promotion, &why, now)
                    .await
            }
            None => Ok(None),
        }
    }

    /// Keeps lines that a run wrote; `first` is the number of the first of them. Lines that are there already stay as they are.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn write_log(&self, run: &str, first: i64, lines: &[(i64, String)]) -> Result<()> {
        let mut transaction = self.pool.begin().await.map_err(self.unwritten())?;
        for (offset, (at, text)) in lines.iter().enumerate() {
            sqlx::query("INSERT INTO run_logs (run, line, at, text) VALUES ($1, $2, $3, $4) ON CONFLICT (run, line) DO NOTHING")
                .bind(run.to_owned())
                .bind(first + offset as i64)
                .bind(*at)
                // PostgreSQL has no text with a zero byte.
                .bind(text.replace('\0', "\u{fffd}"))
                .execute(&mut *transaction)
                .await
                .map_err(self.unwritten())?;
        }
        self.commit(transaction).await
    }

    /// The lines of a run, from `after` on.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn log(&self, run: &str, after: i64) -> Result<Vec<LogLine>> {
        let query = sqlx::query(
            "SELECT line, at, text FROM run_logs WHERE run = $1 AND line > $2 ORDER BY line",
        )
        .bind(run.to_owned())
        .bind(after);
        self.all(query, |row| {
            Ok(LogLine {
                line: cell(row, "line")?,
                at: cell(row, "at")?,
                text: cell(row, "text")?,
            })
        })
        .await
    }

    /// Runs, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>> {
        // Only the conditions that are asked for, so that the index of each serves.
        let mut conditions = Vec::new();
        let mut texts = Vec::new();
        let mut condition = |column: &str, value: Option<&str>| {
            if let Some(value) = value {
                texts.push(value.to_owned());
                conditions.push(format!("{column} = ${}", texts.len()));
            }
        };
        condition("pipeline", filter.pipeline.as_deref());
        condition("schedule", filter.schedule.as_deref());
        condition("state", filter.state.map(RunState::name));
        if filter.since.is_some() {
            conditions.push(format!("started_at >= ${}", texts.len() + 1));
        }
        let conditions = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM runs{conditions} ORDER BY started_at DESC, id DESC LIMIT {}",
            filter.limit
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for text in texts {
            query = query.bind(text);
        }
        if let Some(since) = filter.since {
            query = query.bind(since);
        }
        let rows = query.fetch_all(&self.pool).await.map_err(self.unread())?;
        rows.iter().map(read).collect()
    }

    /// The run of that id, or of the only id that begins so; `latest` is the one that began last.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub async fn run(&self, id: &str) -> Result<Run> {
        if id == "latest" {
            let newest = RunFilter {
                limit: 1,
                ..RunFilter::default()
            };
            return self
                .runs(&newest)
                .await?
                .pop()
                .ok_or_else(|| Error::NotFound("the run store holds no runs yet".to_owned()));
        }
        let of_job = match id.contains('/') {
            true => Some(
                self.job(id)
                    .await?
                    .run
                    .ok_or_else(|| Error::NotFound(format!("the job `{id}` has not begun")))?,
            ),
            false => None,
        };
        let id = of_job.as_deref().unwrap_or(id);
        let whole = format!("SELECT {COLUMNS} FROM runs WHERE id = $1");
        let begun = format!(
            "SELECT {COLUMNS} FROM runs WHERE SUBSTR(id, 1, {}) = $1 ORDER BY id LIMIT 2",
            id.chars().count()
        );
        let mut runs = Vec::new();
        // An index serves only the whole id: orders of text differ between databases.
        for sql in [whole, begun] {
            if runs.is_empty() {
                let rows = sqlx::query(AssertSqlSafe(sql))
                    .bind(id.to_owned())
                    .fetch_all(&self.pool)
                    .await
                    .map_err(self.unread())?;
                runs = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
            }
        }
        match runs.len() {
            0 => Err(Error::NotFound(format!(
                "the run store holds no run `{id}`; `takt runs list` shows those that there are"
            ))),
            1 => Ok(runs.remove(0)),
            _ => Err(Error::Refused(format!(
                "more than one run begins with `{id}`: `{}`, `{}`",
                runs[0].id, runs[1].id
            ))),
        }
    }

    /// What a run did, stage by stage.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn stages_of(&self, run: &str) -> Result<Vec<StageFigures>> {
        let sql = "SELECT stage, kind, outcome, rows_in, rows_out, rows_dropped, seconds FROM run_stages WHERE run = $1 ORDER BY position";
        let query = sqlx::query(sql).bind(run.to_owned());
        self.all(query, |row| {
            Ok(StageFigures {
                stage: cell(row, "stage")?,
                kind: cell(row, "kind")?,
                outcome: cell(row, "outcome")?,
                rows_in: cell(row, "rows_in")?,
                rows_out: cell(row, "rows_out")?,
                rows_dropped: cell(row, "rows_dropped")?,
                seconds: cell(row, "seconds")?,
            })
        })
        .await
    }

    /// What a run measured.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn metrics_of(&self, run: &str) -> Result<Vec<Metric>> {
        let query = sqlx::query(
            "SELECT stage, part, name, value FROM run_metrics WHERE run = $1 ORDER BY position",
        )
        .bind(run.to_owned());
        self.all(query, |row| {
            Ok(Metric {
                stage: cell(row, "stage")?,
                part: cell(row, "part")?,
                name: cell(row, "name")?,
                value: cell(row, "value")?,
            })
        })
        .await
    }

    /// What a run left behind.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn artifacts_of(&self, run: &str) -> Result<Vec<Artifact>> {
        let query = sqlx::query(
            "SELECT stage, what, place FROM run_artifacts WHERE run = $1 ORDER BY position",
        )
        .bind(run.to_owned());
        self.all(query, |row| {
            Ok(Artifact {
                stage: cell(row, "stage")?,
                what: cell(row, "what")?,
                place: cell(row, "place")?,
            })
        })
        .await
    }

    /// How many runs began and ended so, by pipeline and state, since a time; and the seconds that they took.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn run_counts(&self, since: i64) -> Result<Vec<(String, RunState, i64, f64)>> {
        let sql = "SELECT pipeline, state, COUNT(*) AS runs, COALESCE(SUM((finished_at - started_at) / 1000.0), 0.0) * CAST(1 AS DOUBLE PRECISION) AS seconds FROM runs WHERE started_at >= $1 GROUP BY pipeline, state ORDER BY pipeline, state";
        let query = sqlx::query(sql).bind(since);
        self.all(query, |row| {
            Ok((
                cell(row, "pipeline")?,
                state_cell(row)?,
                cell(row, "runs")?,
                cell(row, "seconds")?,
            ))
        })
        .await
    }

    /// Forgets runs that ended before a time, and with them their jobs; how many. The newest run of each pipeline stays.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn forget_runs(&self, before: i64, dry_run: bool) -> Result<u64> {
        let old = "state <> 'running' AND finished_at < $1 AND EXISTS (SELECT 1 FROM runs AS newer WHERE newer.pipeline = runs.pipeline AND newer.started_at > runs.started_at)";
        if dry_run {
            let sql = format!("SELECT COUNT(*) AS runs FROM runs WHERE {old}");
            let row = sqlx::query(AssertSqlSafe(sql))
                .bind(before)
                .fetch_one(&self.pool)
                .await
                .map_err(self.unread())?;
            return Ok(cell::<i64>(&row, "runs")? as u64);
        }
        let mut transaction = self.exclusive().await?;
        let forgotten = sqlx::query(AssertSqlSafe(format!("DELETE FROM runs WHERE {old}")))
            .bind(before)
            .execute(&mut *transaction)
            .await
            .map_err(self.unwritten())?;
        // A job says that its occurrence is dealt with; one that old cannot come again.
        sqlx::query("DELETE FROM jobs WHERE finished_at < $1 AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.job = jobs.id)")
            .bind(before)
            .execute(&mut *transaction)
            .await
            .map_err(self.unwritten())?;
        self.commit(transaction).await?;
        Ok(forgotten.rows_affected())
    }
}

fn state_cell(row: &AnyRow) -> Result<RunState> {
    let name: String = cell(row, "state")?;
    RunState::named(&name).ok_or_else(|| Error::Unreadable {
        what: "a run's state",
        why: format!("`{name}` is none"),
    })
}

fn read(row: &AnyRow) -> Result<Run> {
    Ok(Run {
        id: cell(row, "id")?,
        job: cell(row, "job")?,
        attempt: cell(row, "attempt")?,
        pipeline: cell(row, "pipeline")?,
        file: cell(row, "file")?,
        cause: cell(row, "cause")?,
        schedule: cell(row, "schedule")?,
        logical_time: cell(row, "logical_time")?,
        run_key: cell(row, "run_key")?,
        state: state_cell(row)?,
        reason: cell(row, "reason")?,
        host: cell(row, "host")?,
        worker: cell(row, "worker")?,
        process: cell(row, "process")?,
        started_at: cell(row, "started_at")?,
        finished_at: cell(row, "finished_at")?,
        exit_code: cell(row, "exit_code")?,
        seed: cell(row, "seed")?,
        params: json_cell(row, "params")?,
        sources: json_cell(row, "sources")?,
        bundle: cell(row, "bundle")?,
        report: cell(row, "report")?,
    })
}
