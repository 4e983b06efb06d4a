//! Runs declared schedules unattended: decides what is due, hands it to workers, tells what happened.
//!
//! Nothing here is more than a moment's memory: what is due and what became of it is in the run store, so that schedulers and workers
//! may die at any moment, run on several machines, or run twice. A run is a process of its own.

mod arrivals;
mod attempt;
mod backfill;
mod catalogue;
mod decide;
mod error;
mod metrics;
mod notify;
mod scheduler;
mod worker;

pub use backfill::{Backfill, Progress};
pub use catalogue::{Catalogue, Scheduled};
pub use error::{Error, Result};
pub use metrics::serve;
pub use scheduler::{Scheduler, SchedulerOptions};
pub use worker::{Stop, WorkerOptions, host, is_alive, work};
