//! What the scheduler remembers of each schedule.

use serde::Serialize;
use sqlx::any::AnyRow;

use crate::{Error, NewJob, Result, RunStore, database::cell};

/// What the scheduler remembers of a schedule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleState {
    /// The pipeline's name.
    pub pipeline: String,
    /// The schedule's id.
    pub schedule: String,
    /// The spec's file.
    pub file: String,
    /// What says when it is due, as text: another text is another schedule, which starts afresh.
    pub definition: String,
    /// Occurrences up to this time are decided.
    #[serde(serialize_with = "crate::times::time")]
    pub decided_until: i64,
    /// The next occurrence.
    #[serde(serialize_with = "crate::times::maybe_time")]
    pub next_at: Option<i64>,
    /// Whether somebody stopped it.
    pub paused: bool,
}

impl RunStore {
    /// All schedules that a scheduler has seen.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn schedules(&self) -> Result<Vec<ScheduleState>> {
        let query = sqlx::query(
            "SELECT pipeline, schedule, file, definition, decided_until, next_at, paused FROM schedules ORDER BY pipeline, schedule",
        );
        self.all(query, read).await
    }

    /// Notes schedules and queues what they decided, all or nothing: an occurrence is neither lost nor decided twice. Where another
    /// scheduler has decided further for the same definition, its word stands. How many jobs were new.
    ///
    /// # Errors
    /// The store cannot be written; then nothing was.
    pub async fn decide(&self, states: &[ScheduleState], jobs: &[NewJob], now: i64) -> Result<u64> {
        if states.is_empty() && jobs.is_empty() {
            return Ok(0);
        }
        let mut transaction = self.exclusive().await?;
        let mut new = 0;
        for job in jobs {
            if self.write_job(&mut transaction, job, now).await? {
                new += 1;
            }
        }
        for state in states {
            let sql = "INSERT INTO schedules (pipeline, schedule, file, definition, decided_until, next_at, paused) VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (pipeline, schedule) DO UPDATE SET file = $3, definition = $4, decided_until = $5, next_at = $6";
            sqlx::query(sql)
                .bind(state.pipeline.clone())
                .bind(state.schedule.clone())
                .bind(state.file.clone())
                .bind(state.definition.clone())
                .bind(state.decided_until)
                .bind(state.next_at)
                .execute(&mut *transaction)
                .await
                .map_err(self.unwritten())?;
        }
        self.commit(transaction).await?;
        Ok(new)
    }

    /// Forgets schedules that no file declares any more; their jobs stay.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn forget_schedules(&self, states: &[ScheduleState]) -> Result<()> {
        for state in states {
            sqlx::query(
                "DELETE FROM schedules WHERE pipeline = $1 AND schedule = $2 AND file = $3",
            )
            .bind(state.pipeline.clone())
            .bind(state.schedule.clone())
            .bind(state.file.clone())
            .execute(&self.pool)
            .await
            .map_err(self.unwritten())?;
        }
        Ok(())
    }

    /// Stops a schedule or lets it go on.
    ///
    /// # Errors
    /// No scheduler has seen it.
    pub async fn pause(&self, pipeline: &str, schedule: &str, paused: bool) -> Result<()> {
        let done =
            sqlx::query("UPDATE schedules SET paused = $3 WHERE pipeline = $1 AND schedule = $2")
                .bind(pipeline.to_owned())
                .bind(schedule.to_owned())
                .bind(i64::from(paused))
                .execute(&self.pool)
                .await
                .map_err(self.unwritten())?;
        match done.rows_affected() {
            0 => {
                let known = self.schedules().await?;
                let names = known
                    .iter()
                    .map(|state| format!("{}/{}", state.pipeline, state.schedule))
                    .collect::<Vec<_>>();
                let mut message =
                    format!("no scheduler has seen the schedule `{pipeline}/{schedule}`");
                if !names.is_empty() {
                    message.push_str(&format!("; it knows {}", names.join(", ")));
                }
                Err(Error::NotFound(message))
            }
            _ => Ok(()),
        }
    }
}

fn read(row: &AnyRow) -> Result<ScheduleState> {
    Ok(ScheduleState {
        pipeline: cell(row, "pipeline")?,
        schedule: cell(row, "schedule")?,
        file: cell(row, "file")?,
        definition: cell(row, "definition")?,
        decided_until: cell(row, "decided_until")?,
        next_at: cell(row, "next_at")?,
        paused: cell::<i64>(row, "paused")? != 0,
    })
}
