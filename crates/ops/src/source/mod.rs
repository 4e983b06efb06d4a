//! `source.*`: where data comes from.

mod audio;
mod csv;
mod declared;
mod file;
mod idx;
mod images;
mod ipc;
mod json;
mod listing;
mod ndjson;
mod parquet;
mod sound;
mod sql;
mod synthetic;
mod text;
