//! A `takt` that goes on until it is told to stop, and the store that it works with.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::Project;

/// Nothing here takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Writes one file, named after what the run stands for.
pub(crate) const QUICK: &str = "pipeline: quick
params:
  day: {default: none, type: text}
stages:
  - source.csv: {path: rows.csv}
  - features.derive: {day: \"'${day}'\"}
  - sink.csv: {path: \"out/${day}.csv\"}
";

pub(crate) fn project(schedule: &str) -> Project {
    let project = Project::with(&format!("{QUICK}schedule:\n{schedule}"));
    project.write("rows.csv", "a\n1\n2\n");
    std::fs::create_dir_all(project.path("out")).expect("a folder");
    project
}

/// A `takt` that goes on until it is told to stop; killed when dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Daemon {
    pub(crate) fn start(
        project: &Project,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        Self::start_in(project, &[], project, arguments, environment)
    }

    /// Started by another command, which becomes it; what it writes goes into a file of `logs`.
    pub(crate) fn start_in(
        logs: &Project,
        by: &[String],
        project: &Project,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = logs.path(&format!("daemon-{number}.log"));
        let file = std::fs::File::create(&log).expect("a log");
        let takt = env!("CARGO_BIN_EXE_takt").to_owned();
        let mut words = by.iter().chain([&takt]);
        let child = Command::new(words.next().expect("a program"))
            .args(words)
            .arg("-C")
            .arg(project.path("."))
            .args(arguments)
            .env_clear()
            .env("HOME", project.path("."))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn()
            .expect("it starts");
        Self { child, log }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        Command::new("kill")
            .args([signal, &id])
            .status()
            .expect("kill");
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it serves metrics.
    pub(crate) fn address(&self) -> String {
        let log = self.log();
        let after = log.split("http://").nth(1);
        let address = after.and_then(|rest| rest.split('/').next());
        address.expect("an address").to_owned()
    }

    /// Waits for its end; the exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it never ends:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to stop and waits for its end.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal("-TERM");
        self.end()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn json(project: &Project, arguments: &[&str], environment: &[(&str, &str)]) -> Value {
    let mut takt = project.takt(arguments.iter().chain(&["--format", "json"]));
    for (name, value) in environment {
        takt = takt.env(name, value);
    }
    let outcome = takt.run();
    serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|_| panic!("no JSON: {}{}", outcome.stdout, outcome.stderr))
}

pub(crate) fn runs(project: &Project) -> Vec<Value> {
    if !project.path(".taktline/store.db").exists() {
        return Vec::new();
    }
    let listed = json(project, &["runs", "list", "--limit", "10000"], &[]);
    listed.as_array().expect("a list").clone()
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn files(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
