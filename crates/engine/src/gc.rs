//! Removes from `.taktline` what is not needed any more: what `takt gc` does.
//!
//! What a run at work uses stays (see [`lease`](crate::lease)), and so do bundles unless their removal is asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::Value;
use taktline_core::{Error, Result};

use crate::{
    lease::{Leased, at_work},
    store::Store,
};

/// A half-written file that nothing has been added to for so long was left by a run that was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// What is to be removed.
#[derive(Debug, Clone, Default)]
pub struct CollectOptions {
    /// At most so many bytes of cache entries and fetched rows; those that were used least recently go first.
    pub max_size: Option<u64>,
    /// Cache entries, fetched rows, checkpoints and runs that were not used for so long go.
    pub max_age: Option<Duration>,
    /// Of each pipeline, only the newest runs stay; otherwise runs go by their age, but the newest stays.
    pub keep_runs: Option<usize>,
    /// Of each pipeline, only the newest bundles stay; otherwise all do.
    pub keep_bundles: Option<usize>,
    /// Bundles that stay, however many there are: those that an alias of the registry names, or named before.
    pub named: BTreeSet<PathBuf>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What kind of thing it is that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Collected {
    /// A result of a stage.
    CacheEntry,
    /// Rows that a source fetched.
    FetchedRows,
    /// An unfinished training.
    Checkpoint,
    /// A run's record and report.
    Run,
    /// A bundle.
    Bundle,
    /// A file that was never finished.
    Leftover,
}

/// One thing that was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// What kind of thing.
    pub what: Collected,
    /// Where it was.
    pub path: PathBuf,
    /// How large.
    pub bytes: u64,
    /// Why it went.
    pub why: &'static str,
}

/// What was removed, and what stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Collection {
    /// Whether nothing was really removed.
    pub dry_run: bool,
    /// What went.
    pub removed: Vec<Removed>,
    /// Its size.
    pub removed_bytes: u64,
    /// What is left in `.taktline`.
    pub kept_bytes: u64,
    /// Runs at work, whose things stayed.
    pub running: Vec<String>,
}

/// Removes what the options say.
///
/// # Errors
/// Something cannot be removed; what was removed before stays so.
pub fn collect(store: &Store, options: &CollectOptions) -> Result<Collection> {
    let root = store.root();
    let mut collection = Collection {
        dry_run: options.dry_run,
        removed: Vec::new(),
        removed_bytes: 0,
        kept_bytes: 0,
        running: Vec::new(),
    };
    if !root.is_dir() {
        return Ok(collection);
    }
    // No run begins until this is done.
    let _alone = store
        .lock("lock")
        .map_err(|error| Error::writing(root, error))?;
    let running = at_work(store);
    let sweep = Sweep {
        root,
        options,
        running: &running,
        now: SystemTime::now(),
    };
    collection.removed = sweep.chosen();
    collection.running = running.into_iter().map(|lease| lease.run).collect();
    if !options.dry_run {
        let keys = collection
            .removed
            .iter()
            .filter(|removed| removed.what == Collected::CacheEntry)
            .filter_map(|removed| Some(key_of(&removed.path)?.to_owned()));
        // Before they go: who asks meanwhile is told the truth a moment early.
        store.note_collected(keys.collect::<Vec<_>>())?;
        for removed in &collection.removed {
            remove(&removed.path).map_err(|error| Error::File {
                action: "remove",
                path: removed.path.clone(),
                source: error,
            })?;
        }
        remove_empty_folders(root);
    }
    collection.removed_bytes = collection.removed.iter().map(|one| one.bytes).sum();
    let total = measure(root).bytes;
    collection.kept_bytes = if options.dry_run {
        total.saturating_sub(collection.removed_bytes)
    } else {
        total
    };
    Ok(collection)
}

struct Sweep<'a> {
    root: &'a Path,
    options: &'a CollectOptions,
    running: &'a [Leased],
    now: SystemTime,
}

/// Something that may go.
struct Candidate {
    what: Collected,
    path: PathBuf,
    size: Size,
}

#[derive(Clone, Copy)]
struct Size {
    bytes: u64,
    /// The last time any of it was used.
    used: SystemTime,
}

impl Sweep<'_> {
    fn chosen(&self) -> Vec<Removed> {
        let mut removed = Vec::new();
        let mut stays = Vec::new();
        for candidate in self.disposable() {
            if self.is_old(candidate.size.used) {
                removed.push(candidate.removed("not used for longer than the greatest age"));
            } else {
                stays.push(candidate);
            }
        }
        if let Some(max_size) = self.options.max_size {
            let protected = self.protected_bytes();
            let mut bytes: u64 = protected + stays.iter().map(|one| one.size.bytes).sum::<u64>();
            // By name where the times are the same.
            stays.sort_by(|left, right| {
                (left.size.used, &left.path).cmp(&(right.size.used, &right.path))
            });
            for candidate in stays {
                if bytes <= max_size {
                    break;
                }
                bytes -= candidate.size.bytes;
                removed
                    .push(candidate.removed("used least recently, to keep to the greatest size"));
            }
        }
        removed.extend(self.checkpoints());
        removed.extend(self.runs());
        removed.extend(self.bundles());
        removed.extend(self.leftovers());
        removed.sort_by(|left, right| (left.what, &left.path).cmp(&(right.what, &right.path)));
        removed
    }

    fn is_old(&self, used: SystemTime) -> bool {
        let age = self.now.duration_since(used).unwrap_or_default();
        self.options.max_age.is_some_and(|most| age > most)
    }

    /// Whether a run at work may still read what has this key.
    fn is_held(&self, key: &str) -> bool {
        self.running.iter().any(|lease| {
            let keys = lease.keys.as_ref();
            keys.is_none_or(|keys| keys.contains(key))
        })
    }

    /// Cache entries and fetched rows that no run at work uses.
    fn disposable(&self) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = self
            .entries()
            .filter(|path| key_of(path).is_some_and(|key| !self.is_held(key)))
            .map(|path| Candidate::new(Collected::CacheEntry, path))
            .collect();
        // Only their source knows which are used.
        if self.running.is_empty() {
            let fetched = inside(&self.root.join("fetched"));
            found.extend(fetched.map(|path| Candidate::new(Collected::FetchedRows, path)));
        }
        found
    }

    /// The size of cache entries and fetched rows that stay whatever the limits.
    fn protected_bytes(&self) -> u64 {
        let held = self
            .entries()
            .filter(|path| key_of(path).is_some_and(|key| self.is_held(key)))
            .map(|path| measure(&path).bytes)
            .sum::<u64>();
        let fetched = if self.running.is_empty() {
            0
        } else {
            measure(&self.root.join("fetched")).bytes
        };
        held + fetched
    }

    fn entries(&self) -> impl Iterator<Item = PathBuf> + use<> {
        inside(&self.root.join("cache")).flat_map(|folder| inside(&folder))
    }

    fn checkpoints(&self) -> Vec<Removed> {
        inside(&self.root.join("checkpoints"))
            .filter(|path| file_name(path).is_some_and(|key| !self.is_held(key)))
            .map(|path| Candidate::new(Collected::Checkpoint, path))
            .filter(|candidate| self.is_old(candidate.size.used))
            .map(|candidate| candidate.removed("not used for longer than the greatest age"))
            .collect()
    }

    fn runs(&self) -> Vec<Removed> {
        let mut by_pipeline: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for path in inside(&self.root.join("runs")) {
            let is_running = self
                .running
                .iter()
                .any(|lease| file_name(&path) == Some(lease.run.as_str()));
            if !is_running {
                let pipeline = pipeline_of(&path).unwrap_or_default();
                by_pipeline.entry(pipeline).or_default().push(path);
            }
        }
        let mut removed = Vec::new();
        for mut runs in by_pipeline.into_values() {
            // Their names begin with their time.
            runs.sort_by(|left, right| right.cmp(left));
            let kept = self.options.keep_runs.unwrap_or(1);
            for path in runs.into_iter().skip(kept) {
                let candidate = Candidate::new(Collected::Run, path);
                match self.options.keep_runs {
                    Some(_) => removed.push(candidate.removed("more runs than are to be kept")),
                    None if self.is_old(candidate.size.used) => {
                        removed.push(candidate.removed("older than the greatest age"));
                    }
                    None => {}
                }
            }
        }
        removed
    }

    fn bundles(&self) -> Vec<Removed> {
        let Some(kept) = self.options.keep_bundles else {
            return Vec::new();
        };
        // A run at work may be about to name the bundle that it found.
        if !self.running.is_empty() {
            return Vec::new();
        }
        let mut removed = Vec::new();
        for pipeline in inside(&self.root.join("bundles")) {
            let mut bundles: Vec<Candidate> = inside(&pipeline)
                .map(|path| Candidate::new(Collected::Bundle, path))
                .collect();
            bundles.sort_by(|left, right| {
                (right.size.used, &right.path).cmp(&(left.size.used, &left.path))
            });
            let is_named = |one: &Candidate| {
                let path = one.path.canonicalize().unwrap_or_else(|_| one.path.clone());
                self.options.named.contains(&path)
            };
            let excess = bundles.into_iter().skip(kept).filter(|one| !is_named(one));
            removed.extend(excess.map(|one| one.removed("more bundles than are to be kept")));
        }
        removed
    }

    /// Files under temporary names that nobody writes to any more.
    fn leftovers(&self) -> Vec<Removed> {
        let mut found = Vec::new();
        let mut folders = vec![self.root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in entries_of(&folder) {
                let path = entry.path();
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_temporary(&path) {
                    let candidate = Candidate::new(Collected::Leftover, path);
                    let age = self.now.duration_since(candidate.size.used);
                    if age.unwrap_or_default() > LEFT_BEHIND {
                        found.push(candidate.removed("left half-written by a run that was killed"));
                    }
                } else if is_folder {
                    folders.push(path);
                }
            }
        }
        found
    }
}

impl Candidate {
    fn new(what: Collected, path: PathBuf) -> Self {
        Self {
            what,
            size: measure(&path),
            path,
        }
    }

    fn removed(self, why: &'static str) -> Removed {
        Removed {
            what: self.what,
            path: self.path,
            bytes: self.size.bytes,
            why,
        }
    }
}

fn entries_of(folder: &Path) -> impl Iterator<Item = fs::DirEntry> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

/// What is in the folder, without what is half-written.
fn inside(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    entries_of(folder)
        .map(|entry| entry.path())
        .filter(|path| !is_temporary(path))
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn is_temporary(path: &Path) -> bool {
    file_name(path).is_some_and(|name| {
        [".takt-", ".bundle-", ".tmp"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    })
}

/// The key that a cache entry's name begins with.
fn key_of(path: &Path) -> Option<&str> {
    file_name(path)?.split('.').next()
}

fn pipeline_of(run: &Path) -> Option<String> {
    let record: Value = serde_json::from_slice(&fs::read(run.join("run.json")).ok()?).ok()?;
    Some(record.get("pipeline")?.as_str()?.to_owned())
}

/// How large it is, with everything in it, and when it was used last. Links are not followed.
fn measure(path: &Path) -> Size {
    let mut size = Size {
        bytes: 0,
        used: SystemTime::UNIX_EPOCH,
    };
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            open.extend(entries_of(&path).map(|entry| entry.path()));
            continue;
        }
        size.bytes += metadata.len();
        if let Ok(modified) = metadata.modified() {
            size.used = size.used.max(modified);
        }
    }
    size
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_empty_folders(root: &Path) {
    let folders: BTreeSet<PathBuf> = inside(&root.join("cache"))
        .chain(inside(&root.join("bundles")))
        .collect();
    for folder in folders {
        // One that is not empty stays.
        let _ = fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests;
