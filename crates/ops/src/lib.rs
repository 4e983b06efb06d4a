//! Sources, sinks, cleaning, features, splits, expectations and deployment: one file a stage kind.

pub mod files;

mod balance;
mod check;
mod clean;
mod column_type;
mod columns;
mod database;
mod deploy;
mod features;
mod hashing;
mod pixels;
mod sink;
mod source;
mod split;
#[cfg(test)]
mod testing;
mod training;
