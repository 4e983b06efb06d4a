//! Drives the real `takt`: what a user types, what a user sees.
//!
//! Every test has a directory of its own and an environment with nothing in it but `PATH` and `HOME`. Golden files are
//! insta snapshots: review a change with `cargo insta review`, or run the tests with `INSTA_UPDATE=always` and read the diff.

mod bundle;
mod catalogue;
mod commands;
mod data;
mod diagnostics;
mod digits;
mod fraud;
mod harness;
mod interruption;
mod schema;
mod templates;
mod tumours;
