//! Content hashes of the files that sources read; a file whose size and time are as before is not read again.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use taktline_core::{Error, Result};

use crate::store::{Store, write_atomically};

/// Larger files are hashed by all threads together, smaller ones by a thread each.
const LARGE: u64 = 16 << 20;
/// A file that was written so short a time ago could change again within the clock's grain.
const GRAIN_SECONDS: u64 = 2;

/// What was seen of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seen {
    size: u64,
    modified: String,
    hash: String,
}

type Index = BTreeMap<String, Seen>;

impl Store {
    /// The content hash of each file, by its path; files that are not known yet are hashed at the same time.
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub(crate) fn fingerprints(&self, paths: &[PathBuf]) -> Result<BTreeMap<PathBuf, String>> {
        let place = self.fingerprint_index();
        let known = read(&place);
        let looked: Vec<Looked> = paths
            .par_iter()
            .map(|path| look(path, &known))
            .collect::<Result<_>>()?;
        let learned: Index = looked
            .iter()
            .filter(|file| file.is_news)
            .map(|file| (file.name.clone(), file.seen.clone()))
            .collect();
        if !learned.is_empty() {
            // Only a saving of time: a read-only project directory must not stop `takt plan`.
            if let Err(error) = self.learn(&place, learned) {
                tracing::debug!(%error, "content hashes are not kept");
            }
        }
        Ok(paths
            .iter()
            .cloned()
            .zip(looked.into_iter().map(|file| file.seen.hash))
            .collect())
    }

    /// Adds to what is known, together with what another `takt` added meanwhile.
    fn learn(&self, place: &Path, learned: Index) -> Result<()> {
        let _alone = self
            .lock("fingerprints.lock")
            .map_err(|error| Error::writing(place, error))?;
        let mut known = read(place);
        known.extend(learned);
        let bytes = serde_json::to_vec(&known).map_err(|error| Error::State(error.to_string()))?;
        write_atomically(place, &bytes)
    }
}

fn read(place: &Path) -> Index {
    fs::read(place)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

struct Looked {
    name: String,
    seen: Seen,
    /// It was hashed now, and will not change unseen.
    is_news: bool,
}

fn look(path: &Path, known: &Index) -> Result<Looked> {
    let metadata = fs::metadata(path).map_err(|error| Error::reading(path, error))?;
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let name = fs::canonicalize(path)
        .unwrap_or_else(|_| path.to_owned())
        .display()
        .to_string();
    let size = metadata.len();
    let modified_text = modified
        .map(|time| time.as_nanos().to_string())
        .unwrap_or_default();
    if let Some(before) = known.get(&name)
        && before.size == size
        && before.modified == modified_text
    {
        return Ok(Looked {
            name,
            seen: before.clone(),
            is_news: false,
        });
    }
    let hash = hash(path, size).map_err(|error| Error::reading(path, error))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let is_settled = modified.is_some_and(|time| {
        now.is_ok_and(|now| now.saturating_sub(time).as_secs() >= GRAIN_SECONDS)
    });
    Ok(Looked {
        name,
        seen: Seen {
            size,
            modified: modified_text,
            hash,
        },
        is_news: is_settled,
    })
}

fn hash(path: &Path, size: u64) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    if size >= LARGE {
        hasher.update_mmap_rayon(path)?;
    } else {
        hasher.update_mmap(path)?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, content).expect("written");
        path
    }

    fn one(store: &Store, path: &Path) -> String {
        let hashes = store.fingerprints(&[path.to_owned()]).expect("hashes");
        hashes[path].clone()
    }

    fn age(path: &Path, seconds: u64) {
        let then = SystemTime::now() - Duration::from_secs(seconds);
        let file = File::options().write(true).open(path).expect("opened");
        file.set_modified(then).expect("an earlier time");
    }

    #[test]
    fn a_fingerprint_follows_the_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        let path = file(folder.path(), "data.csv", "a\n1\n");
        let before = one(&store, &path);
        assert_eq!(before, one(&store, &path));
        file(folder.path(), "data.csv", "a\n2\n");
        assert_ne!(before, one(&store, &path));
    }

    #[test]
    fn a_settled_file_is_not_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        let path = file(folder.path(), "data.csv", "a\n1\n");
        age(&path, 60);
        let before = one(&store, &path);
        let modified = fs::metadata(&path)
            .and_then(|of| of.modified())
            .expect("a time");
        // Other bytes under the same size and time: only who reads it again notices.
        fs::write(&path, "a\n2\n").expect("written");
        let handle = File::options().write(true).open(&path).expect("opened");
        handle.set_modified(modified).expect("the time set back");
        assert_eq!(before, one(&store, &path));
        age(&path, 30);
        assert_ne!(before, one(&store, &path));
    }

    #[test]
    fn many_files_and_many_processes_share_one_index() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths: Vec<PathBuf> = (0..64)
            .map(|number| {
                let path = file(
                    folder.path(),
                    &format!("{number}.csv"),
                    &format!("a\n{number}\n"),
                );
                age(&path, 60);
                path
            })
            .collect();
        std::thread::scope(|scope| {
            for part in paths.chunks(8) {
                let store = Store::new(folder.path());
                scope.spawn(move || store.fingerprints(part).expect("hashes"));
            }
        });
        let store = Store::new(folder.path());
        assert_eq!(read(&store.fingerprint_index()).len(), 64);
        let hashes = store.fingerprints(&paths).expect("hashes");
        let different: std::collections::BTreeSet<&String> = hashes.values().collect();
        assert_eq!(different.len(), 64);
        let missing = folder.path().join("missing.csv");
        assert!(store.fingerprints(&[missing]).is_err());
    }
}
