//! `sink.*`: where rows go.

mod csv;
mod file;
mod ipc;
mod ndjson;
mod parquet;
mod sql;
mod table;
