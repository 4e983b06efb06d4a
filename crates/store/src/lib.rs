//! The run store: what ran, what is to run, and which models came of it, in SQLite (one file, the default) or PostgreSQL.
//!
//! Jobs, runs and the queue are tables of one database, so that "this attempt succeeded", "the job is done" and "the worker is
//! free" are one transaction: no second system can disagree about what happened. Times are milliseconds since 1970, UTC, and come
//! from the caller, so that every rule about time can be tested.

mod address;
mod database;
mod error;
mod jobs;
mod models;
mod notices;
mod report;
mod runs;
mod schedules;
mod times;
mod workers;

pub use address::Address;
pub use database::{RunStore, now};
pub use error::{Error, Result};
pub use jobs::{
    Capacity, Claim, Job, JobSettings, JobState, Needs, NewJob, Outcome, Queued, Settled,
};
pub use models::{Alias, Model};
pub use notices::Notice;
pub use report::{Artifact, Metric, Promotion, RunReport, StageFigures};
pub use runs::{LogLine, NewRun, Run, RunFilter, RunState, new_run_id};
pub use schedules::ScheduleState;
pub use workers::Worker;
