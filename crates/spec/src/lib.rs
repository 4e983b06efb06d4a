//! YAML to a checked plan: a tree in which every value knows its place, `${…}` put in, params held against their JSON
//! Schema, stages connected and checked against each other. All problems are found in one pass, each with its place.

mod cases;
mod document;
mod graph;
mod plan;
mod report;
mod rules;
mod scalar;
mod schedule;
mod schema;
mod source;
mod stages;
mod substitute;
#[cfg(test)]
mod tests;
mod tree;
mod validate;

/// A time zone, by its IANA name.
pub use chrono_tz::Tz as Zone;
pub use document::{DEFAULT_SEED, Row, TestCase, TestExpectation, TimeSpan};
pub use plan::{
    Checked, Options, Outline, Plan, PlannedStage, PlannedTest, SourceColumns, StageSummary, check,
    locate, locate_in_test, outline,
};
pub use schedule::{
    After, AfterSchedule, ByteSize, Email, FileArrival, Needs, Notification, Occurrence, Overlap,
    PlacedSchedule, Retries, ScheduleEntry, ScheduleParam, Timetable, parse_moment,
};
pub use schema::{params_schema, schema};
pub use source::{LARGEST_FILE, SourceText, read};
pub use tree::{DEEPEST, Key, MOST_NODES, Node, NodeValue, parse};
