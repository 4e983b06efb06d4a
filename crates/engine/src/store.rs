//! The folder `.taktline`: cached results, checkpoints, run records and bundles.
//!
//! Everything is written under a temporary name and renamed, so that a killed run leaves whole entries or none. A cached
//! entry carries its checksum: a damaged one is as good as absent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Serialize, de::DeserializeOwned};
use taktline_core::{Checkpoints, Error, Result, STORE};

use crate::{key::Key, record::PlanRecord};

/// What a cache entry holds; part of its file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    /// What an estimator or model learned.
    State,
    /// What an evaluation or expectation found.
    Findings,
    /// Rows, as Arrow IPC.
    Frame,
    /// Which input columns held nulls in training.
    Nulls,
    /// What was said while it learned.
    Messages,
}

impl Payload {
    fn extension(self) -> &'static str {
        match self {
            Self::State => "safetensors",
            Self::Findings => "findings.json",
            Self::Frame => "arrow",
            Self::Nulls => "nulls.json",
            Self::Messages => "messages.json",
        }
    }
}

/// What there is of a cache entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing.
    Absent,
    /// Its bytes are not those that were written.
    Damaged,
    /// All of it.
    Whole,
}

/// Whether the file ends with the hash of what is before.
fn checked(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let Some(body) = file.metadata()?.len().checked_sub(blake3::OUT_LEN as u64) else {
        return Ok(false);
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader((&mut file).take(body))?;
    let mut checksum = Vec::new();
    file.read_to_end(&mut checksum)?;
    Ok(hasher.finalize().as_bytes() == checksum.as_slice())
}

/// The folder `.taktline` of a project.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store of the project in `directory`; nothing is created before something is written.
    pub fn new(directory: &Path) -> Self {
        Self {
            root: directory.join(STORE),
        }
    }

    /// Where bundles of this pipeline go.
    pub fn bundles(&self, pipeline: &str) -> PathBuf {
        self.root.join("bundles").join(pipeline)
    }

    /// The folder of a run, created.
    pub fn run_folder(&self, run: &str) -> Result<PathBuf> {
        let folder = self.root.join("runs").join(run);
        fs::create_dir_all(&folder).map_err(|error| Error::writing(&folder, error))?;
        Ok(folder)
    }

    fn entry(&self, key: Key, payload: Payload) -> PathBuf {
        let name = key.to_string();
        self.root
            .join("cache")
            .join(&name[..2])
            .join(format!("{name}.{}", payload.extension()))
    }

    /// Whether the entry is there, and whole. It is left as it is.
    pub(crate) fn condition(&self, key: Key, payload: Payload) -> Condition {
        match checked(&self.entry(key, payload)) {
            Ok(true) => Condition::Whole,
            Ok(false) => Condition::Damaged,
            Err(_) => Condition::Absent,
        }
    }

    /// The entry's bytes, if it is there and whole. A damaged entry is removed.
    pub(crate) fn get(&self, key: Key, payload: Payload) -> Option<Vec<u8>> {
        let path = self.entry(key, payload);
        let mut bytes = fs::read(&path).ok()?;
        let Some(body) = bytes.len().checked_sub(blake3::OUT_LEN) else {
            tracing::warn!(path = %path.display(), "cache entry is too short; it will be made again");
            let _ = fs::remove_file(&path);
            return None;
        };
        let checksum = bytes.split_off(body);
        if blake3::hash(&bytes).as_bytes() != checksum.as_slice() {
            tracing::warn!(path = %path.display(), "cache entry is damaged; it will be made again");
            let _ = fs::remove_file(&path);
            return None;
        }
        // What was used last is removed last. A project that cannot be written to only forgets the time.
        if let Ok(file) = File::options().write(true).open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        Some(bytes)
    }

    /// Keeps the entry.
    pub(crate) fn put(&self, key: Key, payload: Payload, mut bytes: Vec<u8>) -> Result<()> {
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        write_atomically(&self.entry(key, payload), &bytes)
    }

    pub(crate) fn get_json<T: DeserializeOwned>(&self, key: Key, payload: Payload) -> Option<T> {
        serde_json::from_slice(&self.get(key, payload)?).ok()
    }

    pub(crate) fn put_json(
        &self,
        key: Key,
        payload: Payload,
        value: &impl Serialize,
    ) -> Result<()> {
        let bytes = serde_json::to_vec(value).map_err(|error| Error::State(error.to_string()))?;
        self.put(key, payload, bytes)
    }

    fn latest(&self, pipeline: &str) -> PathBuf {
        self.root.join("latest").join(format!("{pipeline}.json"))
    }

    /// What the last run of this pipeline was made of.
    pub(crate) fn last_record<T: DeserializeOwned>(&self, pipeline: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.latest(pipeline)).ok()?).ok()
    }

    pub(crate) fn put_record(&self, pipeline: &str, record: &impl Serialize) -> Result<()> {
        let bytes =
            serde_json::to_vec_pretty(record).map_err(|error| Error::State(error.to_string()))?;
        write_atomically(&self.latest(pipeline), &bytes)
    }

    /// Where the training of this key keeps its checkpoint.
    pub(crate) fn checkpoint(&self, key: Key) -> CheckpointFile {
        CheckpointFile {
            path: self.root.join("checkpoints").join(key.to_string()),
        }
    }

    /// Where content hashes of source files are remembered.
    pub(crate) fn fingerprint_index(&self) -> PathBuf {
        self.root.join("fingerprints.json")
    }

    /// The folder `.taktline` itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where runs at work say so.
    pub(crate) fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    /// Waits until no other process holds the lock of that name, and holds it until the file is closed.
    pub(crate) fn lock(&self, name: &str) -> io::Result<File> {
        fs::create_dir_all(&self.root)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.root.join(name))?;
        file.lock()?;
        Ok(file)
    }

    fn collected_index(&self) -> PathBuf {
        self.root.join("collected.json")
    }

    /// The keys of entries that were removed to make room, with the day.
    pub(crate) fn collected(&self) -> BTreeMap<String, String> {
        fs::read(self.collected_index())
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Remembers which entries were removed, as long as the last run of a pipeline names them.
    pub(crate) fn note_collected(&self, keys: impl IntoIterator<Item = String>) -> Result<()> {
        let day = chrono::Local::now().format("%Y-%m-%d").to_string();
        let mut collected = self.collected();
        collected.extend(keys.into_iter().map(|key| (key, day.clone())));
        let named = self.keys_of_last_runs();
        collected.retain(|key, _| named.contains(key));
        let bytes =
            serde_json::to_vec(&collected).map_err(|error| Error::State(error.to_string()))?;
        write_atomically(&self.collected_index(), &bytes)
    }

    fn keys_of_last_runs(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for entry in fs::read_dir(self.root.join("latest"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let record = fs::read(entry.path()).ok();
            let record = record.and_then(|bytes| serde_json::from_slice::<PlanRecord>(&bytes).ok());
            let stages = record
                .into_iter()
                .flat_map(|record| record.stages.into_values());
            keys.extend(stages.map(|stage| stage.key.to_string()));
        }
        keys
    }
}

/// A training's checkpoint, one file.
#[derive(Debug)]
pub(crate) struct CheckpointFile {
    path: PathBuf,
}

impl CheckpointFile {
    /// The training is done: its checkpoint is not needed any more.
    pub(crate) fn discard(&self) {
        let _ = fs::remove_file(&self.path);
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Checkpoints for CheckpointFile {
    fn load(&self) -> Option<Vec<u8>> {
        fs::read(&self.path).ok()
    }

    fn save(&self, bytes: &[u8]) -> Result<()> {
        write_atomically(&self.path, bytes)
    }
}

/// Writes the whole file or nothing: under a temporary name in the same folder, then renamed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let attempt = || -> io::Result<()> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = temporary_file(folder)?;
        io::Write::write_all(&mut file, bytes)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().map_err(|error| Error::writing(path, error))
}

/// A temporary file with the rights that a new file has: others may read what a run made, as the user's umask says.
fn temporary_file(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".takt-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_entry_is_as_good_as_absent() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        let key = Key::of(&"something").expect("a key");
        store
            .put(key, Payload::State, b"learned".to_vec())
            .expect("kept");
        assert_eq!(
            store.get(key, Payload::State).as_deref(),
            Some(b"learned".as_slice())
        );
        assert_eq!(store.condition(key, Payload::State), Condition::Whole);
        let path = store.entry(key, Payload::State);
        let mut bytes = fs::read(&path).expect("bytes");
        bytes[2] ^= 1;
        fs::write(&path, bytes).expect("damaged");
        assert_eq!(store.condition(key, Payload::State), Condition::Damaged);
        assert_eq!(store.get(key, Payload::State), None);
        let gone = store.condition(key, Payload::State);
        assert_eq!(gone, Condition::Absent, "the damaged entry is removed");
    }
}
