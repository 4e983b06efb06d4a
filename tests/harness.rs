//! Runs `takt` in a directory of its own and looks at everything it left there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// A command that shows no sign of life for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory for one test, gone after it.
pub(crate) struct Project {
    directory: TempDir,
}

impl Project {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// One with this spec in it, as `pipeline.yaml`.
    pub(crate) fn with(spec: &str) -> Self {
        let project = Self::new();
        project.write("pipeline.yaml", spec);
        project
    }

    /// A path inside.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder is made");
        fs::write(path, content).expect("a file is written");
    }

    /// A file's text.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a readable file")
    }

    /// Changes a file's text; what is to be replaced must be there.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "`{name}` does not hold `{from}`");
        self.write(name, text.replacen(from, to, 1));
    }

    /// `takt` with these arguments, in this directory.
    pub(crate) fn takt<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Takt<'_> {
        self.takt_in(self.directory.path(), arguments)
    }

    /// `takt` with these arguments, in another directory.
    pub(crate) fn takt_in<A: AsRef<OsStr>>(
        &self,
        directory: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Takt<'_> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_takt"));
        command
            .arg("-C")
            .arg(directory)
            .args(arguments)
            .env_clear()
            .env("HOME", self.directory.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Takt {
            command,
            project: self,
        }
    }

    /// `takt run` of `pipeline.yaml`, which must succeed; its report.
    pub(crate) fn run_pipeline(&self, more: &[&str]) -> RunReport {
        let arguments = ["run", "pipeline.yaml", "--format", "json"]
            .iter()
            .chain(more);
        self.takt(arguments).run().succeeded().run_report()
    }

    /// `takt score`.
    pub(crate) fn score(&self, bundle: &Path, input: &str, output: &str) -> Outcome {
        let bundle = bundle.to_str().expect("a path in UTF-8");
        self.takt(["score", bundle, "--input", input, "--output", output])
            .run()
    }

    /// Every file, by its path from the directory.
    pub(crate) fn files(&self) -> BTreeSet<String> {
        files_below(self.directory.path()).into_keys().collect()
    }
}

/// Every file below a folder with its bytes, by its path from there.
pub(crate) fn files_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn visit(folder: &Path, root: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                visit(&path, root, found);
            } else {
                let name = path
                    .strip_prefix(root)
                    .expect("a path below")
                    .display()
                    .to_string();
                // A sparse gigabyte is not worth reading.
                let small = entry
                    .metadata()
                    .is_ok_and(|metadata| metadata.len() < 100_000_000);
                found.insert(
                    name,
                    if small {
                        fs::read(&path).unwrap_or_default()
                    } else {
                        Vec::new()
                    },
                );
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(folder, folder, &mut found);
    found
}

/// A command about to be run.
pub(crate) struct Takt<'a> {
    command: Command,
    project: &'a Project,
}

impl<'a> Takt<'a> {
    /// With an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Outcome {
        self.start().finish()
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Running<'a> {
        let before = self.project.files();
        let mut child = self.command.spawn().expect("`takt` starts");
        let mut stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        let stdout = thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout
                .read_to_end(&mut bytes)
                .expect("standard output is read");
            String::from_utf8(bytes).expect("standard output is UTF-8")
        });
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = Vec::new();
            while stderr
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                let text =
                    String::from_utf8(std::mem::take(&mut line)).expect("standard error is UTF-8");
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        let deadline = Instant::now() + PATIENCE;
        Running {
            child,
            project: self.project,
            before,
            stdout,
            lines,
            stderr: String::new(),
            deadline,
        }
    }
}

/// A command at work.
pub(crate) struct Running<'a> {
    child: Child,
    project: &'a Project,
    before: BTreeSet<String>,
    stdout: JoinHandle<String>,
    lines: Receiver<String>,
    stderr: String,
    deadline: Instant,
}

impl Running<'_> {
    /// The next line of standard error; `None` at its end.
    fn next_line(&mut self) -> Option<String> {
        match self
            .lines
            .recv_timeout(self.deadline.saturating_duration_since(Instant::now()))
        {
            Ok(line) => {
                self.deadline = Instant::now() + PATIENCE;
                self.stderr.push_str(&line);
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                panic!("`takt` hangs; it said:\n{}", self.stderr);
            }
        }
    }

    /// Goes on until standard error has a line that holds this text.
    pub(crate) fn wait_for(&mut self, text: &str) {
        while let Some(line) = self.next_line() {
            if line.contains(text) {
                return;
            }
        }
        panic!(
            "`takt` ended without saying `{text}`; it said:\n{}",
            self.stderr
        );
    }

    /// Presses Ctrl-C.
    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        let kill = format!("kill -INT {}", self.child.id());
        let status = Command::new("sh")
            .args(["-c", &kill])
            .status()
            .expect("`kill` runs");
        assert!(status.success(), "the process is there to be interrupted");
    }

    /// Waits for its end, and looks at what it left.
    pub(crate) fn finish(mut self) -> Outcome {
        while self.next_line().is_some() {}
        let status = self.child.wait().expect("`takt` ends");
        let stdout = self.stdout.join().expect("standard output is read");
        let outcome = Outcome {
            stdout,
            stderr: self.stderr,
            code: status
                .code()
                .unwrap_or_else(|| panic!("`takt` was killed: {status}")),
            directory: self.project.directory.path().to_owned(),
        };
        outcome.is_clean(&self.before, &self.project.files());
        outcome
    }
}

/// What a command said and left.
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
    directory: PathBuf,
}

impl Outcome {
    /// Whatever happens: no panic is shown, nothing half-written stays, a failure leaves no outputs.
    fn is_clean(&self, before: &BTreeSet<String>, after: &BTreeSet<String>) {
        for text in [&self.stdout, &self.stderr] {
            assert!(!text.contains("panicked at"), "a panic is shown:\n{text}");
        }
        let new: Vec<&String> = after.difference(before).collect();
        let half_written = |path: &&&String| {
            path.split('/')
                .any(|part| part.starts_with(".tmp") || part.starts_with(".bundle-"))
        };
        let leftovers: Vec<_> = new.iter().filter(half_written).collect();
        assert!(
            leftovers.is_empty(),
            "half-written files are left: {leftovers:?}\n{}",
            self.stderr
        );
        // A gate closes after the sinks above it have written; any other failure writes nothing.
        if !matches!(self.code, 0 | 3) {
            let outputs: Vec<_> = new
                .iter()
                .filter(|path| !path.starts_with(".taktline"))
                .collect();
            assert!(
                outputs.is_empty(),
                "a failure left outputs: {outputs:?}\n{}",
                self.stderr
            );
        }
    }

    /// This outcome, which must be a success.
    pub(crate) fn succeeded(self) -> Self {
        self.ended_with(0)
    }

    /// This outcome, which must have this exit code.
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Standard output as the report of a run that came to its end.
    pub(crate) fn run_report(&self) -> RunReport {
        RunReport {
            value: self.json(),
            directory: self.directory.clone(),
        }
    }

    /// All of it, for a golden file.
    pub(crate) fn golden(&self) -> String {
        let mut text = format!("exit code {}\n", self.code);
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                text.push_str(&format!("\n--- {name}\n{}", self.generic(stream)));
            }
        }
        text
    }

    /// Text with the test's directory out of it.
    fn generic(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for directory in [
            Some(self.directory.clone()),
            self.directory.canonicalize().ok(),
        ]
        .into_iter()
        .flatten()
        {
            text = text.replace(&directory.display().to_string(), "[project]");
        }
        text
    }
}

/// What `takt run --format json` says of a run that came to its end.
pub(crate) struct RunReport {
    value: Value,
    directory: PathBuf,
}

impl RunReport {
    /// What became of each stage, in plan order: `ran`, `cached`, `fused`, `not_needed`.
    pub(crate) fn outcomes(&self) -> Vec<(String, String)> {
        let stages = self.value["stages"].as_array().expect("stages");
        stages
            .iter()
            .map(|stage| {
                let outcome = match &stage["outcome"] {
                    Value::Object(map) => map.keys().next().expect("an outcome").clone(),
                    outcome => outcome.as_str().expect("an outcome").to_owned(),
                };
                (stage["id"].as_str().expect("an id").to_owned(), outcome)
            })
            .collect()
    }

    /// The ids of the stages that worked in this run.
    pub(crate) fn worked(&self) -> Vec<String> {
        let worked = |outcome: &str| matches!(outcome, "ran" | "fused");
        self.outcomes()
            .into_iter()
            .filter(|(_, outcome)| worked(outcome))
            .map(|(id, _)| id)
            .collect()
    }

    /// Rows that came out of a stage.
    pub(crate) fn rows_out(&self, stage: &str) -> Option<u64> {
        let stages = self.value["stages"].as_array().expect("stages");
        stages
            .iter()
            .find(|one| one["id"] == stage)
            .expect("the stage")["rows_out"]
            .as_u64()
    }

    /// Values that a stage changed in a column.
    pub(crate) fn changed(&self, stage: &str, column: &str) -> Option<u64> {
        let stages = self.value["stages"].as_array().expect("stages");
        let stage = stages.iter().find(|one| one["id"] == stage);
        let changes = stage.expect("the stage")["changes"].as_array();
        let changed = changes.and_then(|all| all.iter().find(|one| one["column"] == column));
        changed.and_then(|one| one["changed"].as_u64())
    }

    /// The metrics of the evaluation of that id.
    pub(crate) fn metrics(&self, stage: &str) -> BTreeMap<String, f64> {
        let evaluations = self.value["evaluations"].as_array().expect("evaluations");
        let of_stage = evaluations
            .iter()
            .find(|one| one[0] == stage)
            .expect("the evaluation");
        let metrics = of_stage[1]["metrics"].as_array().expect("metrics");
        metrics
            .iter()
            .map(|metric| {
                (
                    metric[0].as_str().expect("a name").to_owned(),
                    metric[1].as_f64().expect("a number"),
                )
            })
            .collect()
    }

    fn place(&self, key: &str) -> PathBuf {
        let path = Path::new(self.value[key].as_str().expect("a path"));
        self.directory.join(path.strip_prefix(".").unwrap_or(path))
    }

    /// The bundle's folder.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.place("bundle")
    }

    /// The report's file.
    pub(crate) fn report(&self) -> PathBuf {
        self.place("report")
    }

    /// The bundle's files.
    pub(crate) fn bundle_files(&self) -> BTreeMap<String, Vec<u8>> {
        let files = files_below(&self.bundle());
        assert!(
            files.contains_key("SHA256SUMS") && files.len() >= 3,
            "a whole bundle: {:?}",
            files.keys()
        );
        files
    }
}

/// Golden files without what differs from run to run.
pub(crate) fn golden_settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(r"\b\d{8}T\d{9}-[0-9a-z]{5}\b", "[run]");
    settings.add_filter(r"\b\d+ min \d\d s\b|\b\d+(\.\d+)? s\b", "[time]");
    settings.add_filter(r"(bundles/[\w-]+/)[0-9a-f]{12}", "$1[bundle]");
    settings
}
