//! Files that arrive: each starts one run, when it has not changed for a while.

use std::{collections::BTreeMap, fs, path::PathBuf, time::UNIX_EPOCH};

use taktline_store::{NewJob, Queued};

use crate::catalogue::Scheduled;

/// Files that were seen, by schedule: how they looked, and since when.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    seen: BTreeMap<(String, PathBuf), Seen>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    size: u64,
    modified: i64,
    since: i64,
    told: bool,
}

impl Arrivals {
    /// Jobs for the files that have settled. A file that changes later has arrived again.
    pub(crate) fn look(
        &mut self,
        schedule: &Scheduled,
        directory: &std::path::Path,
        now: i64,
    ) -> Vec<NewJob> {
        let Some(arrival) = &schedule.entry.on_file else {
            return Vec::new();
        };
        let settled = arrival
            .settled
            .map_or(10_000, |span| span.0.as_millis() as i64);
        let pattern = directory.join(&arrival.path);
        let Ok(paths) = glob::glob(&pattern.to_string_lossy()) else {
            return Vec::new();
        };
        let mut jobs = Vec::new();
        for path in paths.flatten() {
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            if !metadata.is_file() {
                continue;
            }
            let modified = metadata
                .modified()
                .ok()
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
                .map_or(0, |time| time.as_millis() as i64);
            let key = (schedule.name(), path.clone());
            let looks = Seen {
                size: metadata.len(),
                modified,
                since: now,
                told: false,
            };
            let seen = self.seen.entry(key).or_insert_with(|| looks.clone());
            if (seen.size, seen.modified) != (looks.size, looks.modified) {
                *seen = looks;
            }
            // What was last written long ago has settled, whoever looks for the first time.
            let quiet_since = seen.since.min(seen.modified.max(0));
            if seen.told || now - quiet_since < settled {
                continue;
            }
            seen.told = true;
            let shown = path
                .strip_prefix(directory)
                .unwrap_or(&path)
                .display()
                .to_string();
            let id = format!(
                "{}/{shown}@{}-{}",
                schedule.name(),
                seen.modified,
                seen.size
            );
            let mut job = schedule.job(directory, id, "file", now);
            // A file that comes while another is worked on waits: leaving it out would lose it.
            if job.overlap != Queued::Always {
                job.wait_in_line();
            }
            job.settings.params.push((FILE.to_owned(), shown));
            jobs.push(job);
        }
        let name = schedule.name();
        self.seen
            .retain(|(of, path), _| *of != name || path.exists());
        jobs
    }

    /// Looks again at files of which the store could not be told.
    pub(crate) fn forget(&mut self, schedule: &Scheduled) {
        let name = schedule.name();
        for ((_, _), seen) in self.seen.iter_mut().filter(|((of, _), _)| *of == name) {
            seen.told = false;
        }
    }
}

/// Stands among a job's params for the file that arrived; no param can have this name.
pub(crate) const FILE: &str = "schedule.file";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalogue;

    #[test]
    fn a_file_counts_when_it_has_settled_and_again_when_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let spec = folder.path().join("p.yaml");
        fs::write(
            &spec,
            "pipeline: p\nstages: []\nschedule:\n  - {id: s, on_file: {path: \"in/*.csv\", settled: 2s}}\n",
        )
        .expect("written");
        let schedule = Catalogue::read(&[spec], &|_| None).schedules.remove(0);
        fs::create_dir(folder.path().join("in")).expect("a folder");
        let mut arrivals = Arrivals::default();
        let now = taktline_store::now();
        assert!(arrivals.look(&schedule, folder.path(), now).is_empty());
        let file = folder.path().join("in/a.csv");
        fs::write(&file, "a\n1\n").expect("written");
        let now = taktline_store::now();
        assert!(
            arrivals.look(&schedule, folder.path(), now).is_empty(),
            "it may still grow"
        );
        let jobs = arrivals.look(&schedule, folder.path(), now + 3_000);
        assert_eq!(jobs.len(), 1);
        assert_eq!(
            jobs[0].settings.params,
            [(FILE.to_owned(), "in/a.csv".to_owned())]
        );
        assert!(
            arrivals
                .look(&schedule, folder.path(), now + 9_000)
                .is_empty(),
            "told once"
        );
        fs::write(&file, "a\n1\n2\n").expect("written");
        let now = taktline_store::now();
        assert!(arrivals.look(&schedule, folder.path(), now).is_empty());
        let again = arrivals.look(&schedule, folder.path(), now + 3_000);
        assert_eq!(again.len(), 1);
        assert_ne!(again[0].id, jobs[0].id);
    }
}
