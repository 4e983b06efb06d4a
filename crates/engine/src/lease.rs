//! What a run at work uses, written down, so that nothing takes it away.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Seek, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{key::Key, store::Store};

/// A run at work. The system holds the lock on its file while the process lives, however that ends.
#[derive(Debug)]
pub(crate) struct Lease {
    file: File,
    path: PathBuf,
    content: Leased,
}

/// What a lease says.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Leased {
    /// The run.
    pub(crate) run: String,
    /// Its process, for people who look.
    pub(crate) process: u32,
    /// The cache entries and checkpoints that it may still read; `None` until it knows.
    pub(crate) keys: Option<BTreeSet<String>>,
}

impl Lease {
    /// Says that this run is at work.
    pub(crate) fn take(store: &Store, run: &str) -> io::Result<Self> {
        // Not while leftovers are looked for: a lease is either seen by that, or begins after it.
        let _alone = store.lock("lock")?;
        let folder = store.leases();
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{run}.json"));
        let file = File::create(&path)?;
        file.lock()?;
        let mut lease = Self {
            file,
            path,
            content: Leased {
                run: run.to_owned(),
                process: std::process::id(),
                keys: None,
            },
        };
        lease.write()?;
        Ok(lease)
    }

    /// Says what the run may still read.
    pub(crate) fn hold(&mut self, keys: impl IntoIterator<Item = Key>) -> io::Result<()> {
        self.content.keys = Some(keys.into_iter().map(|key| key.to_string()).collect());
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        let bytes = serde_json::to_vec(&self.content)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&bytes)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The runs at work; the leases of those that are not any more are removed. To be called under the store's lock.
pub(crate) fn at_work(store: &Store) -> Vec<Leased> {
    let mut found = Vec::new();
    for entry in fs::read_dir(store.leases()).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(file) = File::open(&path) else {
            continue;
        };
        match file.try_lock() {
            Ok(()) => {
                let _ = fs::remove_file(&path);
            }
            Err(_) => {
                // While it is being written it says nothing, which is taken for "everything".
                let content = fs::read(&path).ok();
                let leased = content.and_then(|bytes| serde_json::from_slice(&bytes).ok());
                found.push(leased.unwrap_or_default());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_with_its_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        let mut lease = Lease::take(&store, "one").expect("a lease");
        assert_eq!(at_work(&store)[0].keys, None, "anything may be read");
        let key = Key::of(&"entry").expect("a key");
        lease.hold([key]).expect("written");
        let leases = at_work(&store);
        assert_eq!((leases.len(), leases[0].run.as_str()), (1, "one"));
        assert!(
            leases[0]
                .keys
                .as_ref()
                .is_some_and(|keys| keys.contains(&key.to_string()))
        );
        drop(lease);
        assert!(at_work(&store).is_empty());
        // What a killed process left behind.
        fs::write(store.leases().join("killed.json"), "{}").expect("written");
        assert!(at_work(&store).is_empty());
        assert!(!store.leases().join("killed.json").exists());
    }
}
