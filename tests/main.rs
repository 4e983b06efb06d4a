//! Drives the real `takt`: what a user types, what a user sees.
//!
//! Every test has a directory of its own and an environment with nothing in it but `PATH` and `HOME`. Golden files are
//! insta snapshots: review a change with `cargo insta review`, or run the tests with `INSTA_UPDATE=always` and read the diff.

#[cfg(feature = "torch")]
mod balance;
mod bundle;
mod cache;
mod catalogue;
mod commands;
#[cfg(unix)]
mod daemon;
mod data;
mod databases;
mod diagnostics;
mod differential;
mod digits;
mod examples;
mod expectations;
#[cfg(unix)]
mod faults;
mod files;
mod forecasts;
mod fraud;
mod groups;
mod harness;
mod interruption;
mod labels;
mod losses;
mod models;
mod object_store;
mod pipeline_tests;
mod profile;
#[cfg(unix)]
mod registry;
#[cfg(unix)]
mod schedules;
mod schema;
mod store;
mod streaming;
mod templates;
#[cfg(feature = "torch")]
mod torchscript;
mod tumours;
mod use_cases;
