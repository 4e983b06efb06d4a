//! The schedules of many spec files, read without looking at any data, and what is wrong between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use taktline_core::{Diagnostic, Location, Severity, did_you_mean};
use taktline_spec::{PlacedSchedule, ScheduleEntry, Timetable};
use taktline_store::{JobSettings, Needs, NewJob};

/// A schedule of some file.
#[derive(Debug, Clone)]
pub struct Scheduled {
    /// The pipeline's name.
    pub pipeline: String,
    /// The spec's file, as it was named.
    pub file: PathBuf,
    /// What it says.
    pub entry: ScheduleEntry,
    /// When it is due, where a clock says so.
    pub timetable: Option<Timetable>,
    /// Where it is written.
    pub location: Location,
    after: Option<Location>,
}

impl Scheduled {
    /// `pipeline/schedule`: no two schedules have the same.
    pub fn name(&self) -> String {
        format!("{}/{}", self.pipeline, self.entry.id)
    }

    /// What says when it is due, as text: a change of it is a new schedule, which has missed nothing.
    pub fn definition(&self) -> String {
        let entry = &self.entry;
        let after = entry.after.as_ref().map(|after| after.parts());
        let path = entry.on_file.as_ref().map(|arrival| arrival.path.as_str());
        serde_json::json!({
            "cron": entry.cron,
            "timezone": entry.timezone,
            "start": entry.start,
            "end": entry.end,
            "after": after,
            "on_file": path,
        })
        .to_string()
    }

    /// How its runs are run.
    pub fn settings(&self, directory: &Path) -> JobSettings {
        let entry = &self.entry;
        let milliseconds = |span: &taktline_spec::TimeSpan| span.0.as_millis() as u64;
        let retries = entry.retries.as_ref();
        JobSettings {
            directory: directory.display().to_string(),
            params: entry
                .params
                .iter()
                .map(|(name, value)| (name.clone(), value.text()))
                .collect(),
            zone: entry.timezone.clone(),
            retries: retries.map_or(0, |retries| retries.limit),
            backoff: retries
                .and_then(|retries| retries.backoff.as_ref())
                .map_or(30_000, milliseconds),
            longest_backoff: retries
                .and_then(|retries| retries.longest.as_ref())
                .map_or(3_600_000, milliseconds),
            timeout: entry.timeout.as_ref().map(milliseconds),
            in_order: entry.overlap == taktline_spec::Overlap::Queue,
            concurrency: entry.concurrency,
            needs: Needs {
                memory: entry.needs.memory.map_or(0, |size| size.0),
                resources: entry.needs.resources.clone(),
            },
            notify: serde_json::json!({
                "on_failure": entry.on_failure,
                "on_success": entry.on_success,
            }),
        }
    }

    /// The job for a time.
    pub fn job(
        &self,
        directory: &Path,
        id: String,
        cause: &'static str,
        logical_time: i64,
    ) -> NewJob {
        use taktline_spec::Overlap;
        NewJob {
            id,
            pipeline: self.pipeline.clone(),
            schedule: self.entry.id.clone(),
            file: self.file.display().to_string(),
            cause,
            logical_time,
            priority: i64::from(self.entry.priority),
            due_at: logical_time,
            settings: self.settings(directory),
            state: taktline_store::JobState::Queued,
            reason: None,
            overlap: match self.entry.overlap {
                Overlap::Skip => taktline_store::Queued::UnlessBusy,
                Overlap::CancelPrevious => taktline_store::Queued::InPlaceOfOthers,
                Overlap::Queue | Overlap::Allow => taktline_store::Queued::Always,
            },
        }
    }
}

/// The run key of a schedule's time: `pipeline/schedule/2026-11-28T02:00:00Z`.
pub(crate) fn run_key(name: &str, time: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(time).unwrap_or_default();
    format!(
        "{name}/{}",
        time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
    )
}

/// The schedules of many spec files.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// Schedules without fault, in the order of their names.
    pub schedules: Vec<Scheduled>,
    /// Everything that is wrong; a file's own faults first.
    pub diagnostics: Vec<Diagnostic>,
    /// The files' texts, to show diagnostics with.
    pub texts: BTreeMap<PathBuf, String>,
}

impl Catalogue {
    /// Reads spec files; of a folder, all `.yaml` and `.yml` in it and below that name a pipeline.
    pub fn read(paths: &[PathBuf], environment: &dyn Fn(&str) -> Option<String>) -> Self {
        Self::read_again(paths, environment, &[])
    }

    /// As [`read`](Self::read), but a file that has become faulty keeps the schedules that it had `before`: a slip in an editor stops no
    /// schedule, nor those that follow it.
    pub fn read_again(
        paths: &[PathBuf],
        environment: &dyn Fn(&str) -> Option<String>,
        before: &[Scheduled],
    ) -> Self {
        let mut catalogue = Self::default();
        let kept = |file: &Path| {
            let of_file = before.iter().filter(move |schedule| schedule.file == file);
            of_file.cloned().collect::<Vec<_>>()
        };
        for (file, named) in files(paths) {
            let named = named || before.iter().any(|schedule| schedule.file == file);
            let source = match taktline_spec::read(&file) {
                Ok(source) => source,
                Err(diagnostic) => {
                    catalogue.diagnostics.push(diagnostic);
                    // One that is gone is meant to be.
                    if file.exists() {
                        catalogue.schedules.extend(kept(&file));
                    }
                    continue;
                }
            };
            // A folder may hold other YAML; what somebody named is meant to be a pipeline.
            if !named
                && !source
                    .text
                    .lines()
                    .any(|line| line.starts_with("pipeline:"))
            {
                continue;
            }
            let outline = taktline_spec::outline(&source, environment);
            let is_ok = outline.is_ok();
            catalogue.diagnostics.extend(outline.diagnostics);
            catalogue.texts.insert(file.clone(), source.text);
            if !is_ok {
                catalogue.schedules.extend(kept(&file));
            } else {
                for PlacedSchedule {
                    entry,
                    location,
                    after,
                } in outline.schedules
                {
                    // Its faults were told.
                    let Ok(timetable) = Timetable::of(&entry) else {
                        continue;
                    };
                    catalogue.schedules.push(Scheduled {
                        pipeline: outline.pipeline.clone(),
                        file: file.clone(),
                        entry,
                        timetable,
                        location,
                        after,
                    });
                }
            }
        }
        catalogue.refuse_duplicates();
        catalogue.refuse_unknown_and_circular();
        catalogue.schedules.sort_by_key(Scheduled::name);
        catalogue
    }

    /// Whether nothing wrong was seen.
    pub fn is_ok(&self) -> bool {
        self.diagnostics
            .iter()
            .all(|diagnostic| diagnostic.severity != Severity::Error)
    }

    fn refuse_duplicates(&mut self) {
        let mut seen: BTreeMap<String, Location> = BTreeMap::new();
        let mut kept = Vec::with_capacity(self.schedules.len());
        for schedule in std::mem::take(&mut self.schedules) {
            match seen.get(&schedule.name()) {
                Some(first) => {
                    let message = format!(
                        "the pipeline `{}` has a schedule `{}` in another file already",
                        schedule.pipeline, schedule.entry.id
                    );
                    let mut diagnostic = Diagnostic::error("duplicate-schedule", message)
                        .help("give one of the pipelines, or one of the schedules, another name");
                    diagnostic
                        .notes
                        .push(format!("the first is at {}:{}", first.file, first.line));
                    diagnostic.location = Some(schedule.location.clone());
                    self.diagnostics.push(diagnostic);
                }
                None => {
                    seen.insert(schedule.name(), schedule.location.clone());
                    kept.push(schedule);
                }
            }
        }
        self.schedules = kept;
    }

    fn refuse_unknown_and_circular(&mut self) {
        let names: BTreeSet<String> = self.schedules.iter().map(Scheduled::name).collect();
        let pipelines: BTreeSet<&str> = self
            .schedules
            .iter()
            .map(|one| one.pipeline.as_str())
            .collect();
        let mut wrong: BTreeMap<String, Diagnostic> = BTreeMap::new();
        for schedule in &self.schedules {
            let Some((pipeline, id)) = schedule.entry.after.as_ref().map(|after| after.parts())
            else {
                continue;
            };
            let (message, help) = if !pipelines.contains(pipeline) {
                (
                    format!(
                        "`after` names the pipeline `{pipeline}`, which none of the files schedules"
                    ),
                    did_you_mean(pipeline, pipelines.iter().copied()),
                )
            } else if let Some(id) = id
                && !names.contains(&format!("{pipeline}/{id}"))
            {
                let known = self.schedules.iter().filter(|one| one.pipeline == pipeline);
                (
                    format!(
                        "`after` names the schedule `{id}`, which the pipeline `{pipeline}` does not have"
                    ),
                    did_you_mean(id, known.map(|one| one.entry.id.as_str())),
                )
            } else {
                continue;
            };
            let mut diagnostic = Diagnostic::error("unknown-pipeline", message);
            diagnostic.location = schedule.after.clone();
            diagnostic.help.extend(help);
            wrong.insert(schedule.name(), diagnostic);
        }
        for (start, schedule) in self.schedules.iter().enumerate() {
            if let Some(chain) = self.chain_back_to(start) {
                let message = format!("`after` goes round in a circle: {}", chain.join(" → "));
                let mut diagnostic = Diagnostic::error("schedule-cycle", message);
                diagnostic.location = schedule.after.clone();
                wrong.insert(schedule.name(), diagnostic);
            }
        }
        self.schedules
            .retain(|schedule| !wrong.contains_key(&schedule.name()));
        self.diagnostics.extend(wrong.into_values());
    }

    /// The way from a schedule along `after` back to itself.
    fn chain_back_to(&self, start: usize) -> Option<Vec<String>> {
        let mut ways = vec![vec![start]];
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop() {
            let last = &self.schedules[*way.last()?];
            let Some((pipeline, id)) = last.entry.after.as_ref().map(|after| after.parts()) else {
                continue;
            };
            for (next, schedule) in self.schedules.iter().enumerate() {
                if schedule.pipeline != pipeline || id.is_some_and(|id| id != schedule.entry.id) {
                    continue;
                }
                if next == start {
                    let names = way
                        .iter()
                        .chain([&start])
                        .map(|index| self.schedules[*index].name());
                    return Some(names.collect());
                }
                if seen.insert(next) {
                    ways.push(way.iter().copied().chain([next]).collect());
                }
            }
        }
        None
    }
}

/// The files that are meant, each once, and whether somebody named it.
fn files(paths: &[PathBuf]) -> Vec<(PathBuf, bool)> {
    let mut files: BTreeMap<PathBuf, bool> = BTreeMap::new();
    for path in paths {
        if path.is_dir() {
            below(path, &mut files);
        } else {
            files.insert(path.clone(), true);
        }
    }
    files.into_iter().collect()
}

fn below(folder: &Path, files: &mut BTreeMap<PathBuf, bool>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            below(&path, files);
        } else if path
            .extension()
            .is_some_and(|ending| ending == "yaml" || ending == "yml")
        {
            files.entry(path).or_insert(false);
        }
    }
}

/// Files, and what tells whether any of them has changed: sizes and times.
pub(crate) type Files = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// The spec files of these paths as they are now.
pub(crate) fn fingerprint(paths: &[PathBuf]) -> Files {
    files(paths)
        .into_iter()
        .map(|(file, _)| {
            let metadata = fs::metadata(&file).ok();
            let size = metadata.as_ref().map_or(0, fs::Metadata::len);
            (
                file,
                size,
                metadata.and_then(|metadata| metadata.modified().ok()),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(specs: &[(&str, &str)]) -> Catalogue {
        let folder = tempfile::tempdir().expect("a folder");
        let paths: Vec<PathBuf> = specs
            .iter()
            .map(|(name, schedule)| {
                let path = folder.path().join(format!("{name}.yaml"));
                let text = format!("pipeline: {name}\nstages: []\nschedule:\n{schedule}");
                fs::write(&path, text).expect("written");
                path
            })
            .collect();
        Catalogue::read(&paths, &|_| None)
    }

    fn messages(catalogue: &Catalogue) -> Vec<&str> {
        catalogue
            .diagnostics
            .iter()
            .map(|diagnostic| diagnostic.message.as_str())
            .collect()
    }

    #[test]
    fn files_that_follow_each_other() {
        let read = catalogue(&[
            ("load", "  - {id: nightly, cron: \"0 2 * * *\"}\n"),
            ("score", "  - {id: then, after: load}\n"),
        ]);
        assert_eq!(messages(&read), Vec::<&str>::new());
        let names: Vec<String> = read.schedules.iter().map(Scheduled::name).collect();
        assert_eq!(names, ["load/nightly", "score/then"]);
    }

    #[test]
    fn a_circle_is_refused_with_its_chain() {
        let read = catalogue(&[
            ("one", "  - {id: s, after: two}\n"),
            ("three", "  - {id: s, after: one}\n"),
            (
                "two",
                "  - {id: s, after: {pipeline: three, schedule: s}}\n",
            ),
        ]);
        assert!(read.schedules.is_empty());
        assert_eq!(
            messages(&read)[0],
            "`after` goes round in a circle: one/s → two/s → three/s → one/s"
        );
        assert_eq!(read.diagnostics.len(), 3);
        let place = read.diagnostics[0].location.as_ref().expect("a place");
        assert_eq!((place.line, place.column), (4, 20));
    }

    #[test]
    fn a_file_that_becomes_faulty_keeps_its_schedules() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, schedule: &str| {
            let text = format!("pipeline: {name}\nstages: []\nschedule:\n{schedule}");
            fs::write(folder.path().join(format!("{name}.yaml")), text).expect("written");
        };
        write("load", "  - {id: nightly, cron: \"0 2 * * *\"}\n");
        write("score", "  - {id: then, after: load}\n");
        let paths = [folder.path().to_owned()];
        let first = Catalogue::read(&paths, &|_| None);
        assert_eq!(messages(&first), Vec::<&str>::new());
        let names = |catalogue: &Catalogue| -> Vec<String> {
            catalogue.schedules.iter().map(Scheduled::name).collect()
        };
        for broken in [
            "pipeline: load\nstages: []\nschedule:\n  - {id: nightly, cron: \"0 26 * * *\"}\n",
            "pipeline: load\nschedule:\n  - {id: nig",
            "stages: [[[\n",
            "",
        ] {
            fs::write(folder.path().join("load.yaml"), broken).expect("written");
            let again = Catalogue::read_again(&paths, &|_| None, &first.schedules);
            assert!(!again.is_ok());
            assert_eq!(names(&again), ["load/nightly", "score/then"]);
            assert_eq!(again.schedules[0].entry.cron.as_deref(), Some("0 2 * * *"));
        }
        // Whoever takes the file away means it, and is told who waits for it.
        fs::remove_file(folder.path().join("load.yaml")).expect("removed");
        let gone = Catalogue::read_again(&paths, &|_| None, &first.schedules);
        assert!(names(&gone).is_empty());
        assert!(messages(&gone)[0].contains("names the pipeline `load`"));
    }

    #[test]
    fn names_that_nobody_has_are_refused() {
        let read = catalogue(&[
            ("load", "  - {id: nightly, cron: \"0 2 * * *\"}\n"),
            (
                "score",
                "  - {id: a, after: laod}\n  - {id: b, after: {pipeline: load, schedule: daily}}\n",
            ),
        ]);
        assert_eq!(
            messages(&read),
            [
                "`after` names the pipeline `laod`, which none of the files schedules",
                "`after` names the schedule `daily`, which the pipeline `load` does not have",
            ]
        );
        assert!(read.diagnostics[0].help[0].contains("`load`"));
    }
}
