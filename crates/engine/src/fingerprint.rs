//! Content hashes of the files that sources read; a file whose size and times are as before is not read again.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
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
    /// Where and when the system last noted a change: nobody can set that back, as copies that keep their time do with the other.
    #[serde(default)]
    changed: String,
    hash: String,
}

type Index = BTreeMap<String, Seen>;

impl Store {
    /// The content hash of each file, by its path; files that are not known yet are hashed at the same time, and all of them if
    /// `anew`.
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub(crate) fn fingerprints(
        &self,
        paths: &[PathBuf],
        anew: bool,
    ) -> Result<BTreeMap<PathBuf, String>> {
        self.fingerprints_at(paths, anew, SystemTime::now())
    }

    fn fingerprints_at(
        &self,
        paths: &[PathBuf],
        anew: bool,
        now: SystemTime,
    ) -> Result<BTreeMap<PathBuf, String>> {
        let place = self.fingerprint_index();
        let known = match anew {
            true => Index::new(),
            false => read(&place),
        };
        let looked: Vec<Looked> = paths
            .par_iter()
            .map(|path| look(path, &known, now))
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

fn look(path: &Path, known: &Index, now: SystemTime) -> Result<Looked> {
    let metadata = fs::metadata(path).map_err(|error| Error::reading(path, error))?;
    let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok();
    let modified = metadata.modified().ok().and_then(since_epoch);
    let name = fs::canonicalize(path)
        .unwrap_or_else(|_| path.to_owned())
        .display()
        .to_string();
    let mut seen = Seen {
        size: metadata.len(),
        modified: modified
            .map(|time| time.as_nanos().to_string())
            .unwrap_or_default(),
        changed: format!(
            "{}:{} {}.{:09}",
            metadata.dev(),
            metadata.ino(),
            metadata.ctime(),
            metadata.ctime_nsec()
        ),
        hash: String::new(),
    };
    if let Some(before) = known.get(&name) {
        seen.hash.clone_from(&before.hash);
        if seen == *before {
            return Ok(Looked {
                name,
                seen,
                is_news: false,
            });
        }
    }
    seen.hash = hash(path, seen.size).map_err(|error| Error::reading(path, error))?;
    let changed = u64::try_from(metadata.ctime()).ok();
    let last = modified.map(|time| time.as_secs()).max(changed);
    let is_settled = last.is_some_and(|last| {
        since_epoch(now).is_some_and(|now| now.as_secs().saturating_sub(last) >= GRAIN_SECONDS)
    });
    Ok(Looked {
        name,
        seen,
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
        several(store, &[path.to_owned()], false)[path].clone()
    }

    /// As somebody asks who comes a minute later.
    fn several(store: &Store, paths: &[PathBuf], anew: bool) -> BTreeMap<PathBuf, String> {
        let later = SystemTime::now() + Duration::from_secs(60);
        store.fingerprints_at(paths, anew, later).expect("hashes")
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
        let before = one(&store, &path);
        // Who does not read it believes what is written down.
        let place = store.fingerprint_index();
        let known = fs::read_to_string(&place).expect("an index");
        fs::write(&place, known.replace(&before, "believed")).expect("written");
        assert_eq!(one(&store, &path), "believed");
        assert_eq!(
            several(&store, std::slice::from_ref(&path), true)[&path],
            before
        );
        assert_eq!(one(&store, &path), before, "what was read is written down");
    }

    #[test]
    fn a_file_just_written_is_not_yet_settled() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        let path = file(folder.path(), "data.csv", "a\n1\n");
        store
            .fingerprints(std::slice::from_ref(&path), false)
            .expect("hashes");
        assert!(read(&store.fingerprint_index()).is_empty());
    }

    #[test]
    fn other_bytes_of_the_same_size_and_time_are_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        let path = file(folder.path(), "data.csv", "a\n1\n");
        let modified = fs::metadata(&path)
            .and_then(|of| of.modified())
            .expect("a time");
        let before = one(&store, &path);
        // As a copy does that keeps the time: another file, or the same one with its time set back.
        let other = file(folder.path(), "other.csv", "a\n2\n");
        for path in [&other, &path] {
            let handle = File::options().write(true).open(path).expect("opened");
            handle.set_modified(modified).expect("a time set back");
        }
        assert_eq!(before, one(&store, &path));
        fs::rename(&other, &path).expect("in its place");
        assert_ne!(before, one(&store, &path));
    }

    #[test]
    fn many_files_and_many_processes_share_one_index() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths: Vec<PathBuf> = (0..64)
            .map(|number| {
                file(
                    folder.path(),
                    &format!("{number}.csv"),
                    &format!("a\n{number}\n"),
                )
            })
            .collect();
        std::thread::scope(|scope| {
            for part in paths.chunks(8) {
                let store = Store::new(folder.path());
                scope.spawn(move || several(&store, part, false));
            }
        });
        let store = Store::new(folder.path());
        assert_eq!(read(&store.fingerprint_index()).len(), 64);
        let hashes = several(&store, &paths, false);
        let different: std::collections::BTreeSet<&String> = hashes.values().collect();
        assert_eq!(different.len(), 64);
        let missing = folder.path().join("missing.csv");
        assert!(store.fingerprints(&[missing], false).is_err());
    }
}
