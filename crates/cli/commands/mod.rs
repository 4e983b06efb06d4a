//! One file a command.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod gc;
pub(crate) mod init;
pub(crate) mod plan;
pub(crate) mod profile;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod score;
pub(crate) mod stages;
pub(crate) mod test;
