//! One file a command.

pub(crate) mod backfill;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod gc;
pub(crate) mod init;
pub(crate) mod models;
pub(crate) mod plan;
pub(crate) mod profile;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod scheduler;
pub(crate) mod schema;
pub(crate) mod score;
pub(crate) mod stages;
pub(crate) mod test;
