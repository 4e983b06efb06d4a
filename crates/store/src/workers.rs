//! Who takes jobs.

use serde::Serialize;

use crate::{
    Capacity, Result, RunStore,
    database::{cell, json_cell, json_text},
};

/// A process that takes jobs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worker {
    /// Its name: host and process.
    pub id: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub process: i64,
    /// When it began.
    #[serde(serialize_with = "crate::times::time")]
    pub started_at: i64,
    /// When it last gave a sign of life.
    #[serde(serialize_with = "crate::times::time")]
    pub seen_at: i64,
    /// What it has to give.
    pub capacity: Capacity,
    /// Whether it takes no more jobs.
    pub draining: bool,
}

impl Worker {
    /// Whether it gave a sign of life within a minute.
    pub fn is_alive(&self, now: i64) -> bool {
        now - self.seen_at < 60_000
    }
}

impl RunStore {
    /// Notes a worker and that it lives.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn note_worker(&self, worker: &Worker) -> Result<()> {
        let sql = "INSERT INTO workers (id, host, process, started_at, seen_at, capacity, draining) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET seen_at = $5, capacity = $6, draining = $7";
        sqlx::query(sql)
            .bind(worker.id.clone())
            .bind(worker.host.clone())
            .bind(worker.process)
            .bind(worker.started_at)
            .bind(worker.seen_at)
            .bind(json_text("capacity", &worker.capacity)?)
            .bind(i64::from(worker.draining))
            .execute(&self.pool)
            .await
            .map_err(self.unwritten())?;
        Ok(())
    }

    /// Forgets a worker that ends, and those that gave no sign of life since a time.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn forget_workers(&self, ended: Option<&str>, silent_since: i64) -> Result<()> {
        sqlx::query("DELETE FROM workers WHERE id = $1 OR seen_at < $2")
            .bind(ended.unwrap_or_default().to_owned())
            .bind(silent_since)
            .execute(&self.pool)
            .await
            .map_err(self.unwritten())?;
        Ok(())
    }

    /// All workers that are known.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn workers(&self) -> Result<Vec<Worker>> {
        let query = sqlx::query(
            "SELECT id, host, process, started_at, seen_at, capacity, draining FROM workers ORDER BY id",
        );
        self.all(query, |row| {
            Ok(Worker {
                id: cell(row, "id")?,
                host: cell(row, "host")?,
                process: cell(row, "process")?,
                started_at: cell(row, "started_at")?,
                seen_at: cell(row, "seen_at")?,
                capacity: json_cell(row, "capacity")?,
                draining: cell::<i64>(row, "draining")? != 0,
            })
        })
        .await
    }
}
