//! Notices: whom to tell that a job is finished. They are written with what they tell, in one transaction, and go when they were
//! delivered, so that a crash in between loses none (and may deliver one twice).

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Any, Transaction};

use crate::{
    Job, JobState, Outcome, Result, RunStore,
    database::{cell, json_cell, json_text},
};

/// Deliveries are tried so often.
const MOST_ATTEMPTS: i64 = 8;

/// Something to tell somebody.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Notice {
    /// Its id.
    pub id: String,
    /// The job that it is about.
    pub job: String,
    /// Whom to tell, as the schedule says it.
    pub target: Value,
    /// What to tell.
    pub body: Value,
    /// Which attempt this is, from 1.
    pub attempt: i64,
}

impl RunStore {
    pub(crate) async fn write_notices(
        &self,
        transaction: &mut Transaction<'static, Any>,
        job: &Job,
        outcome: &Outcome,
        now: i64,
    ) -> Result<()> {
        let whom = match job.state {
            JobState::Succeeded => "on_success",
            JobState::Failed => "on_failure",
            _ => return Ok(()),
        };
        let targets = job.settings.notify.get(whom).and_then(Value::as_array);
        for (number, target) in targets.into_iter().flatten().enumerate() {
            let metrics: serde_json::Map<String, Value> = outcome
                .report
                .metrics
                .iter()
                .filter(|metric| metric.is_held_out())
                .map(|metric| (metric.full_name(), json!(metric.value)))
                .collect();
            let body = json!({
                "pipeline": job.pipeline,
                "schedule": job.schedule,
                "job": job.id,
                "run": job.run,
                "state": job.state,
                "run_state": outcome.state,
                "reason": outcome.reason,
                "logical_time": crate::times::text(job.logical_time),
                "attempts": job.attempt,
                "finished_at": crate::times::text(now),
                "metrics": metrics,
                "report": outcome.report.report,
                "bundle": outcome.report.bundle,
            });
            sqlx::query("INSERT INTO notices (id, job, target, body, due_at, attempt) VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT (id) DO NOTHING")
                .bind(format!("{}#{}#{number}", job.id, job.attempt))
                .bind(job.id.clone())
                .bind(json_text("target", target)?)
                .bind(json_text("body", &body)?)
                .bind(now)
                .execute(&mut **transaction)
                .await
                .map_err(self.unwritten())?;
        }
        Ok(())
    }

    /// Takes a notice to deliver; unless it is [`delivered`](Self::delivered), it comes again after `again`, doubled each time, and at
    /// last not any more.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn take_notice(&self, again: Duration, now: i64) -> Result<Option<Notice>> {
        // Most of the time there is nothing to tell: see that without locking anybody out.
        let due = sqlx::query("SELECT id FROM notices WHERE due_at <= $1 LIMIT 1")
            .bind(now)
            .fetch_optional(&self.pool)
            .await
            .map_err(self.unread())?;
        if due.is_none() {
            return Ok(None);
        }
        let sql = "UPDATE notices SET attempt = attempt + 1, due_at = $1 + $2 * CASE attempt WHEN 0 THEN 1 WHEN 1 THEN 2 WHEN 2 THEN 4 WHEN 3 THEN 8 ELSE 16 END WHERE id = (SELECT id FROM notices WHERE due_at <= $1 ORDER BY due_at, id LIMIT 1) AND due_at <= $1 RETURNING id, job, target, body, attempt";
        let row = sqlx::query(sql)
            .bind(now)
            .bind(again.as_millis() as i64)
            .fetch_optional(&self.pool)
            .await
            .map_err(self.unwritten())?;
        let Some(row) = row else { return Ok(None) };
        let notice = Notice {
            id: cell(&row, "id")?,
            job: cell(&row, "job")?,
            target: json_cell(&row, "target")?,
            body: json_cell(&row, "body")?,
            attempt: cell(&row, "attempt")?,
        };
        if notice.attempt >= MOST_ATTEMPTS {
            self.delivered(&notice.id).await?;
        }
        Ok(Some(notice))
    }

    /// Forgets a notice.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn delivered(&self, notice: &str) -> Result<()> {
        sqlx::query("DELETE FROM notices WHERE id = $1")
            .bind(notice.to_owned())
            .execute(&self.pool)
            .await
            .map_err(self.unwritten())?;
        Ok(())
    }
}
