//! `source.*`: where data comes from.

mod csv;
mod declared;
mod file;
mod idx;
mod images;
mod ipc;
mod ndjson;
mod parquet;
mod synthetic;
