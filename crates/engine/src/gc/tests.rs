use std::fs::File;

use super::*;
use crate::{
    key::Key,
    lease::Lease,
    store::{Condition, Payload},
};

const DAY: u64 = 86_400;

struct Project {
    folder: tempfile::TempDir,
    store: Store,
}

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        Self { folder, store }
    }

    fn entry(&self, name: &str, bytes: usize, days: u64) -> Key {
        let key = Key::of(&name).expect("a key");
        let content = vec![7; bytes - blake3::OUT_LEN];
        self.store
            .put(key, Payload::Findings, content)
            .expect("kept");
        let path = self.store.root().join("cache").join(&key.to_string()[..2]);
        age(&path.join(format!("{key}.findings.json")), days);
        key
    }

    fn file(&self, name: &str, content: &str, days: u64) -> PathBuf {
        let path = self.folder.path().join(".taktline").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, content).expect("written");
        age(&path, days);
        path
    }

    fn is_there(&self, key: Key) -> bool {
        self.store.condition(key, Payload::Findings) == Condition::Whole
    }

    fn collect(&self, options: CollectOptions) -> Collection {
        collect(&self.store, &options).expect("collected")
    }
}

fn age(path: &Path, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * DAY);
    let file = File::options().write(true).open(path).expect("opened");
    file.set_modified(then).expect("an earlier time");
}

fn days(days: u64) -> Option<Duration> {
    Some(Duration::from_secs(days * DAY))
}

#[test]
fn what_was_used_least_recently_goes_first() {
    let project = Project::new();
    let keys: Vec<Key> = [("a", 3), ("b", 9), ("c", 6), ("d", 1)]
        .map(|(name, days)| project.entry(name, 1000, days))
        .into();
    // Reading is using.
    assert!(project.store.get(keys[1], Payload::Findings).is_some());
    let options = CollectOptions {
        max_size: Some(2000),
        ..CollectOptions::default()
    };
    let dry = project.collect(CollectOptions {
        dry_run: true,
        ..options.clone()
    });
    assert!(keys.iter().all(|key| project.is_there(*key)), "a dry run");
    let done = project.collect(options);
    assert_eq!((done.removed.len(), done.removed_bytes), (2, 2000));
    assert_eq!(dry.removed, done.removed);
    let there: Vec<bool> = keys.iter().map(|key| project.is_there(*key)).collect();
    assert_eq!(there, [false, true, false, true]);
    assert!(
        project
            .collect(CollectOptions {
                max_size: Some(2000),
                ..CollectOptions::default()
            })
            .removed
            .is_empty()
    );
}

#[test]
fn what_is_old_goes_and_bundles_stay() {
    let project = Project::new();
    let old = project.entry("old", 100, 40);
    let new = project.entry("new", 100, 20);
    let checkpoint = project.file("checkpoints/abc", "half", 40);
    let fetched = project.file("fetched/part.arrow", "rows", 40);
    let bundle = project.file("bundles/shop/0123/manifest.json", "{}", 400);
    let leftover = project.file("cache/.takt-x1", "half", 1);
    let written_now = project.file("cache/.takt-x2", "half", 0);
    let run = |name: &str, pipeline: &str, days| {
        project.file(
            &format!("runs/{name}/run.json"),
            &format!("{{\"pipeline\":\"{pipeline}\"}}"),
            days,
        )
    };
    let (first, second) = (run("20240101", "a", 90), run("20240102", "a", 80));
    let lone = run("20230101", "b", 400);
    let collected = project.collect(CollectOptions {
        max_age: days(30),
        ..CollectOptions::default()
    });
    assert!(!project.is_there(old) && project.is_there(new));
    for gone in [&checkpoint, &fetched, &leftover, &first] {
        assert!(!gone.exists(), "{}", gone.display());
    }
    for kept in [&bundle, &written_now, &second, &lone] {
        assert!(kept.exists(), "{}", kept.display());
    }
    assert_eq!(collected.removed.len(), 5);
    assert!(collected.kept_bytes > 0);
}

#[test]
fn runs_and_bundles_are_kept_by_number() {
    let project = Project::new();
    let run =
        |name: &str| project.file(&format!("runs/{name}/run.json"), "{\"pipeline\":\"a\"}", 1);
    let runs: Vec<PathBuf> = ["1", "2", "3"].map(run).into();
    let bundles: Vec<PathBuf> = [("x", 3), ("y", 1), ("z", 2)]
        .map(|(name, days)| project.file(&format!("bundles/shop/{name}/manifest.json"), "{}", days))
        .into();
    project.collect(CollectOptions {
        keep_runs: Some(2),
        keep_bundles: Some(1),
        ..CollectOptions::default()
    });
    let there = |paths: &[PathBuf]| paths.iter().map(|path| path.exists()).collect::<Vec<_>>();
    assert_eq!(there(&runs), [false, true, true]);
    assert_eq!(there(&bundles), [false, true, false]);
}

#[test]
fn what_a_run_at_work_uses_stays() {
    let project = Project::new();
    let used = project.entry("used", 1000, 90);
    let unused = project.entry("unused", 1000, 90);
    let fetched = project.file("fetched/part.arrow", "rows", 90);
    let folder = project.file("runs/now/run.json", "{}", 90);
    let everything = CollectOptions {
        max_size: Some(0),
        max_age: days(1),
        keep_runs: Some(0),
        ..CollectOptions::default()
    };
    let mut lease = Lease::take(&project.store, "now").expect("a lease");
    let nothing = project.collect(everything.clone());
    assert!(
        project.is_there(unused),
        "a run that has not said what it uses"
    );
    assert_eq!(
        (nothing.running.as_slice(), nothing.removed.len()),
        (&["now".to_owned()][..], 0)
    );
    lease.hold([used]).expect("written");
    project.collect(everything.clone());
    assert!(project.is_there(used) && !project.is_there(unused));
    assert!(fetched.exists() && folder.exists());
    drop(lease);
    project.collect(everything);
    assert!(!project.is_there(used) && !fetched.exists() && !folder.exists());
}

#[test]
fn nothing_is_nothing() {
    let project = Project::new();
    let collected = project.collect(CollectOptions::default());
    assert!(collected.removed.is_empty());
    assert!(!project.store.root().exists(), "nothing is made either");
}
