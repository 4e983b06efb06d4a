//! Fetched rows on disk: Arrow IPC files that polars scans, and how far an incremental read has come.
//!
//! Each request (address, query, declared types) has a folder. A read that is not incremental leaves one file there, named by
//! its content. An incremental one leaves a file for each read that found rows, and `progress.json`, which names them. A file
//! is written under a temporary name and renamed; `progress.json` is renamed into place last. So a read that is killed at any
//! point has either happened or not, and a file that no `progress.json` names is rubbish.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_schema::Schema as ArrowSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{Error, Result};

use super::arrow::unwritten;
use crate::hashing::Hashing;

/// Rows that were fetched, to be scanned.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    /// The files, in order.
    pub(crate) paths: Vec<PathBuf>,
    /// Names the rows: the same for the same rows in the same order.
    pub(crate) content: String,
    /// While this is held, no other run takes the files away.
    pub(super) _in_use: Arc<File>,
}

/// The folder of a request.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    in_use: Arc<File>,
}

/// A file of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    /// The hash of its bytes; also its name.
    pub(super) hash: String,
    pub(super) rows: u64,
}

/// How far an incremental read has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Names and types of the columns in all parts.
    pub(super) columns: Vec<(String, String)>,
    /// The largest value seen.
    pub(super) watermark: Option<Watermark>,
    pub(super) parts: Vec<Part>,
}

/// A value of the column that orders incremental reads, as the database compares it.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Watermark {
    Int(i64),
    UInt(u64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01.
    Timestamp(i64),
    /// SQLite keeps dates and times as text, and compares them so.
    Text(String),
}

const PROGRESS: &str = "progress.json";
const TEMPORARY: &str = ".takt-";

impl Folder {
    /// The folder, made where it is missing, and cleared of what is rubbish unless another run is using it.
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path).map_err(|error| Error::writing(&path, error))?;
        let lock = path.join("in-use.lock");
        let in_use = File::create(&lock).map_err(|error| Error::writing(&lock, error))?;
        let folder = Self {
            path,
            in_use: Arc::new(in_use),
        };
        if folder.in_use.try_lock().is_ok() {
            folder.clear();
            let _ = folder.in_use.unlock();
        }
        // Where the file system knows no locks, nothing is cleared, and that is all.
        let _ = folder.in_use.lock_shared();
        Ok(folder)
    }

    /// Lets one incremental read go on at a time, until the answer is dropped.
    pub(super) fn turn(&self) -> Result<File> {
        let path = self.path.join("fetch.lock");
        let turn = File::create(&path).map_err(|error| Error::writing(&path, error))?;
        let _ = turn.lock();
        Ok(turn)
    }

    fn clear(&self) {
        let kept: BTreeSet<String> = self
            .read_progress()
            .map(|progress| progress.parts.iter().map(Part::file_name).collect())
            .unwrap_or_default();
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_rubbish =
                name.starts_with(TEMPORARY) || (name.ends_with(".arrow") && !kept.contains(&name));
            if is_rubbish {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn read_progress(&self) -> Option<Progress> {
        serde_json::from_slice(&fs::read(self.path.join(PROGRESS)).ok()?).ok()
    }

    /// How far earlier reads have come, if their parts are all there and whole.
    pub(super) fn progress(&self) -> Option<Progress> {
        let progress = self.read_progress()?;
        let whole = |part: &Part| {
            let mut hasher = blake3::Hasher::new();
            hasher
                .update_mmap_rayon(self.path.join(part.file_name()))
                .is_ok_and(|hasher| hasher.finalize().to_hex().as_str() == part.hash)
        };
        progress.parts.iter().all(whole).then_some(progress)
    }

    /// From here on, the parts of this progress count.
    pub(super) fn commit(&self, progress: &Progress) -> Result<()> {
        let path = self.path.join(PROGRESS);
        let attempt = || -> io::Result<()> {
            let mut file = self.temporary()?;
            file.write_all(&serde_json::to_vec_pretty(progress)?)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        attempt().map_err(|error| Error::writing(&path, error))
    }

    /// Forgets how far earlier reads have come.
    pub(super) fn forget(&self) -> Result<()> {
        let path = self.path.join(PROGRESS);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::writing(&path, error))
            }
            _ => Ok(()),
        }
    }

    fn temporary(&self) -> io::Result<tempfile::NamedTempFile> {
        tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(&self.path)
    }

    /// A part to be written.
    pub(super) fn part(&self, schema: &ArrowSchema) -> Result<PartWriter> {
        let file = self
            .temporary()
            .map_err(|error| Error::writing(&self.path, error))?;
        let handle = file
            .reopen()
            .map_err(|error| Error::writing(&self.path, error))?;
        let hashing = Hashing::new(handle);
        Ok(PartWriter {
            folder: self.path.clone(),
            file,
            writer: FileWriter::try_new(hashing, schema).map_err(|error| unwritten(&error))?,
            rows: 0,
        })
    }

    /// These parts, to be scanned.
    pub(super) fn fetched(&self, parts: &[Part]) -> Fetched {
        let content = match parts {
            [one] => one.hash.clone(),
            many => {
                let mut hasher = blake3::Hasher::new();
                for part in many {
                    hasher.update(part.hash.as_bytes());
                }
                hasher.finalize().to_hex().to_string()
            }
        };
        Fetched {
            paths: parts
                .iter()
                .map(|part| self.path.join(part.file_name()))
                .collect(),
            content,
            _in_use: Arc::clone(&self.in_use),
        }
    }
}

impl Part {
    fn file_name(&self) -> String {
        format!("{}.arrow", self.hash)
    }
}

/// A part that is being written; gone unless it is finished.
pub(super) struct PartWriter {
    folder: PathBuf,
    file: tempfile::NamedTempFile,
    writer: FileWriter<Hashing<File>>,
    rows: u64,
}

impl PartWriter {
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(|error| unwritten(&error))
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// The whole part, under its own name.
    pub(super) fn finish(mut self) -> Result<Part> {
        self.writer.finish().map_err(|error| unwritten(&error))?;
        let hashing = self
            .writer
            .into_inner()
            .map_err(|error| unwritten(&error))?;
        let written = |error| Error::writing(&self.folder, error);
        let (file, hash) = hashing.finish().map_err(written)?;
        file.sync_all().map_err(written)?;
        let part = Part {
            hash: hash.to_hex().to_string(),
            rows: self.rows,
        };
        let path = self.folder.join(part.file_name());
        self.file
            .persist(&path)
            .map_err(|error| Error::writing(&path, error.error))?;
        Ok(part)
    }
}

/// The folder of a request among those of all.
pub(super) fn folder_of(fetched: &Path, request: &str) -> PathBuf {
    let name = blake3::hash(request.as_bytes()).to_hex();
    fetched.join(&name.as_str()[..32])
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Int64Array};
    use arrow_schema::{DataType, Field};

    use super::*;

    fn schema() -> ArrowSchema {
        ArrowSchema::new(vec![Field::new("id", DataType::Int64, true)])
    }

    fn written(folder: &Folder, ids: &[i64]) -> Part {
        let mut part = folder.part(&schema()).expect("a part");
        let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
        let batch = RecordBatch::try_new(Arc::new(schema()), vec![ids]).expect("a batch");
        part.write(&batch).expect("written");
        part.finish().expect("finished")
    }

    fn progress(parts: Vec<Part>) -> Progress {
        Progress {
            columns: vec![("id".into(), "i64".into())],
            watermark: Some(Watermark::Int(2)),
            parts,
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".arrow") || name.starts_with(TEMPORARY))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_part_that_no_progress_names_is_cleared_away() {
        let directory = tempfile::tempdir().expect("a directory");
        let folder = Folder::open(directory.path().into()).expect("a folder");
        let first = written(&folder, &[1, 2]);
        folder.commit(&progress(vec![first.clone()])).expect("kept");
        // Killed before the second part was named, and in the middle of a third.
        let second = written(&folder, &[3]);
        fs::write(directory.path().join(".takt-killed"), "half").expect("written");
        drop(folder);
        let folder = Folder::open(directory.path().into()).expect("a folder");
        assert_eq!(names(directory.path()), [first.file_name()]);
        assert_ne!(first, second);
        assert_eq!(folder.progress().expect("kept").parts, [first]);
    }

    #[test]
    fn files_in_use_stay() {
        let directory = tempfile::tempdir().expect("a directory");
        let folder = Folder::open(directory.path().into()).expect("a folder");
        let fetched = folder.fetched(&[written(&folder, &[1])]);
        drop(folder);
        let _other = Folder::open(directory.path().into()).expect("a folder");
        assert!(fetched.paths[0].is_file());
        drop(fetched);
        drop(_other);
        Folder::open(directory.path().into()).expect("a folder");
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn a_damaged_part_starts_the_reading_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let folder = Folder::open(directory.path().into()).expect("a folder");
        let part = written(&folder, &[1, 2]);
        folder.commit(&progress(vec![part.clone()])).expect("kept");
        assert!(folder.progress().is_some());
        let path = directory.path().join(part.file_name());
        let mut bytes = fs::read(&path).expect("bytes");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("damaged");
        assert_eq!(folder.progress(), None);
    }

    #[test]
    fn the_same_rows_have_the_same_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let folder = Folder::open(directory.path().into()).expect("a folder");
        assert_eq!(written(&folder, &[1, 2]), written(&folder, &[1, 2]));
        assert_ne!(written(&folder, &[1, 2]), written(&folder, &[2, 1]));
    }
}
