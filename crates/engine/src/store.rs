//! The folder `.taktline`: cached results, checkpoints, run records and bundles.
//!
//! Everything is written under a temporary name and renamed, so that a killed run leaves whole entries or none. A cached
//! entry carries its checksum: a damaged one is as good as absent.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use taktline_core::{Checkpoints, Error, Result, STORE};

use crate::key::Key;

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
}

impl Payload {
    fn extension(self) -> &'static str {
        match self {
            Self::State => "safetensors",
            Self::Findings => "findings.json",
            Self::Frame => "arrow",
            Self::Nulls => "nulls.json",
        }
    }
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

    /// Whether the entry is there (not whether it is whole).
    pub(crate) fn has(&self, key: Key, payload: Payload) -> bool {
        self.entry(key, payload).is_file()
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

    /// The content hash of a file; a file whose size and time are as before is not read again.
    pub(crate) fn fingerprint(&self, path: &Path) -> Result<String> {
        let metadata = fs::metadata(path).map_err(|error| Error::reading(path, error))?;
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let seen = Seen {
            size: metadata.len(),
            modified: modified
                .map(|time| time.as_nanos().to_string())
                .unwrap_or_default(),
            hash: String::new(),
        };
        let name = fs::canonicalize(path)
            .unwrap_or_else(|_| path.to_owned())
            .display()
            .to_string();
        let index = self.root.join("fingerprints.json");
        let mut known: BTreeMap<String, Seen> = fs::read(&index)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        if let Some(before) = known.get(&name)
            && before.size == seen.size
            && before.modified == seen.modified
        {
            return Ok(before.hash.clone());
        }
        let mut hasher = blake3::Hasher::new();
        hasher
            .update_mmap_rayon(path)
            .map_err(|error| Error::reading(path, error))?;
        let hash = hasher.finalize().to_hex().to_string();
        // A file written a moment ago could change again within the clock's grain: hash it again next time.
        let settled = modified.is_some_and(|time| {
            std::time::SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .is_ok_and(|now| now.saturating_sub(time).as_secs() >= 2)
        });
        if settled {
            known.insert(
                name,
                Seen {
                    hash: hash.clone(),
                    ..seen
                },
            );
            if let Ok(bytes) = serde_json::to_vec(&known) {
                // Only a saving of time: a read-only project directory must not stop `takt plan`.
                let _ = write_atomically(&index, &bytes);
            }
        }
        Ok(hash)
    }
}

#[derive(Serialize, Deserialize)]
struct Seen {
    size: u64,
    modified: String,
    hash: String,
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
        let path = store.entry(key, Payload::State);
        let mut bytes = fs::read(&path).expect("bytes");
        bytes[2] ^= 1;
        fs::write(&path, bytes).expect("damaged");
        assert_eq!(store.get(key, Payload::State), None);
        assert!(!store.has(key, Payload::State), "the damaged entry is gone");
    }

    #[test]
    fn a_fingerprint_follows_the_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        let path = folder.path().join("data.csv");
        fs::write(&path, "a\n1\n").expect("written");
        let before = store.fingerprint(&path).expect("a hash");
        assert_eq!(before, store.fingerprint(&path).expect("the same"));
        fs::write(&path, "a\n2\n").expect("written again");
        assert_ne!(before, store.fingerprint(&path).expect("another"));
    }
}
