//! Sources, sinks, cleaning, features, splits, expectations and deployment: one file a stage kind.

pub mod files;

mod check;
mod clean;
mod column_type;
mod columns;
mod deploy;
mod features;
mod sink;
mod source;
mod split;
#[cfg(test)]
mod testing;
