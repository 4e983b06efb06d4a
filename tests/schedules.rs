//! Schedules run unattended: real processes, real signals, a real store.
#![cfg(unix)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    databases::servers::{postgres, postgres_to_restart},
    harness::{Project, golden_settings},
};

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// Writes one file, named after what the run stands for.
const QUICK: &str = "pipeline: quick
params:
  day: {default: none, type: text}
stages:
  - source.csv: {path: rows.csv}
  - features.derive: {day: \"'${day}'\"}
  - sink.csv: {path: \"out/${day}.csv\"}
";

fn project(schedule: &str) -> Project {
    let project = Project::with(&format!("{QUICK}schedule:\n{schedule}"));
    project.write("rows.csv", "a\n1\n2\n");
    std::fs::create_dir_all(project.path("out")).expect("a folder");
    project
}

/// A `takt` that goes on until it is told to stop; killed when dropped.
struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(project: &Project, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = project.path(&format!("daemon-{number}.log"));
        let file = std::fs::File::create(&log).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_takt"))
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
            .expect("takt starts");
        Self { child, log }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        Command::new("kill")
            .args([signal, &id])
            .status()
            .expect("kill");
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for its end; the exit code.
    fn end(&mut self) -> Option<i32> {
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
    fn stop(&mut self) -> Option<i32> {
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

fn json(project: &Project, arguments: &[&str], environment: &[(&str, &str)]) -> Value {
    let mut takt = project.takt(arguments.iter().chain(&["--format", "json"]));
    for (name, value) in environment {
        takt = takt.env(name, value);
    }
    let outcome = takt.run();
    serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|_| panic!("no JSON: {}{}", outcome.stdout, outcome.stderr))
}

fn runs(project: &Project) -> Vec<Value> {
    if !project.path(".taktline/store.db").exists() {
        return Vec::new();
    }
    let listed = json(project, &["runs", "list", "--limit", "10000"], &[]);
    listed.as_array().expect("a list").clone()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn files(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn schedules_are_checked_and_their_next_times_shown() {
    let project = project(
        "  - {id: nightly, cron: \"0 2 * * *\", timezone: Asia/Shanghai}\n  - {id: drop, on_file: {path: \"in/*.csv\"}}\n",
    );
    let shown = json(&project, &["scheduler", "--check", "."], &[]);
    assert_eq!(shown[1]["schedule"], "nightly");
    let next = shown[1]["next"][0].as_str().expect("a time");
    assert!(next.ends_with("T02:00:00+08:00"), "{next}");
    assert_eq!(shown[0]["trigger"], "on in/*.csv");
    let text = project
        .takt(["scheduler", "--check", "pipeline.yaml"])
        .run()
        .succeeded()
        .stdout;
    assert!(text.contains("2 schedules fine"), "{text}");

    project.write("other.yaml", "pipeline: other\nstages: []\nschedule:\n  - {id: s, after: quick}\n  - {id: t, after: {pipeline: other, schedule: t}}\n  - {id: u, after: qiuck}\n");
    let refused = project.takt(["scheduler", "--check", "."]).run();
    assert_eq!(refused.code, 2);
    golden_settings().bind(|| insta::assert_snapshot!("schedules_refused", refused.stderr));
}

#[test]
fn what_is_due_runs_once_and_is_written_down() {
    let project =
        project("  - {id: tick, cron: \"* * * * * *\", params: {day: \"${schedule.time}\"}}\n");
    let mut scheduler = Daemon::start(
        &project,
        &["scheduler", "pipeline.yaml", "--listen", "127.0.0.1:0"],
        &[],
    );
    wait_until("three runs succeed", || {
        runs(&project)
            .iter()
            .filter(|run| run["state"] == "succeeded")
            .count()
            >= 3
    });
    let log = scheduler.log();
    let address = log
        .split("http://")
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .expect("an address");
    let metrics = http_get(address, "/metrics");
    assert!(
        metrics.contains("taktline_runs{pipeline=\"quick\",state=\"succeeded\"}"),
        "{metrics}"
    );
    assert!(metrics.contains("# EOF"), "{metrics}");
    assert!(http_get(address, "/healthz").ends_with("ok\n"));
    assert_eq!(scheduler.stop(), Some(0), "{}", scheduler.log());

    let runs = runs(&project);
    let mut keys = BTreeMap::new();
    for run in &runs {
        assert_eq!(run["cause"], "schedule");
        assert_eq!(run["state"], "succeeded", "{run}\n{}", scheduler.log());
        *keys
            .entry(run["run_key"].as_str().expect("a key").to_owned())
            .or_insert(0) += 1;
    }
    assert!(keys.values().all(|count| *count == 1), "{keys:?}");
    // Each wrote what it stands for: its time is in the params, filled in.
    let written = files(&project.path("out"));
    for key in keys.keys() {
        let time = key.rsplit('/').next().expect("a time");
        assert!(
            written.contains(&format!("{time}.csv")),
            "{key}: {written:?}"
        );
    }
    let id = runs[0]["id"].as_str().expect("an id");
    let logs = project.takt(["runs", "logs", id]).run().succeeded().stdout;
    assert!(logs.contains("csv"), "{logs}");
    let shown = project.takt(["runs", "show", id]).run().succeeded().stdout;
    assert!(shown.contains("tick of "), "{shown}");
    let listed = project.takt(["schedules", "list"]).run().succeeded().stdout;
    assert!(listed.contains("quick/tick"), "{listed}");
}

fn http_get(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn two_schedulers_on_one_store_run_each_occurrence_once() {
    let database = postgres();
    let url = database.url();
    let environment = [("TAKT_STORE", url.as_str())];
    let project = project(
        "  - {id: tick, cron: \"* * * * * *\", overlap: allow, params: {day: \"${schedule.time}\"}}\n",
    );
    let mut schedulers = [
        Daemon::start(&project, &["scheduler", "pipeline.yaml"], &environment),
        Daemon::start(&project, &["scheduler", "pipeline.yaml"], &environment),
    ];
    let list = || json(&project, &["runs", "list", "--limit", "1000"], &environment);
    wait_until("six runs succeed", || {
        let listed = list();
        let runs = listed.as_array().expect("a list");
        runs.iter()
            .filter(|run| run["state"] == "succeeded")
            .count()
            >= 6
    });
    for scheduler in &mut schedulers {
        assert_eq!(scheduler.stop(), Some(0), "{}", scheduler.log());
    }
    let listed = list();
    let mut keys: Vec<&str> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|run| run["run_key"].as_str().expect("a key"))
        .collect();
    keys.sort_unstable();
    let all = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), all, "an occurrence ran twice");
    for text in [schedulers[0].log(), schedulers[1].log()] {
        assert!(!text.contains("hunter2"), "the password is shown");
    }
}

#[test]
fn past_times_are_run_once_and_taken_up_again() {
    let project = project(
        "  - {id: daily, cron: \"0 6 * * *\", timezone: Europe/Berlin, params: {day: \"${schedule.date}\"}}\n",
    );
    let range = ["--from", "2026-03-27", "--to", "2026-04-01"];
    let dry = json(
        &project,
        &[&["backfill", "pipeline.yaml", "--dry-run"][..], &range].concat(),
        &[],
    );
    let jobs: Vec<&str> = dry
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["job"].as_str().expect("a key"))
        .collect();
    assert_eq!(jobs.len(), 5);
    assert_eq!(
        (jobs[0], jobs[4]),
        (
            "quick/daily/2026-03-27T05:00:00Z",
            "quick/daily/2026-03-31T04:00:00Z"
        )
    );
    let fill = [
        &["backfill", "pipeline.yaml", "--max-parallel", "2"][..],
        &range,
    ]
    .concat();
    let done = project.takt(&fill).run().succeeded();
    assert_eq!(done.stdout, "5 of 5 occurrences succeeded, 0 failed\n");
    let expected: BTreeSet<String> = (27..=31).map(|day| format!("2026-03-{day}.csv")).collect();
    assert_eq!(files(&project.path("out")), expected);
    assert_eq!(runs(&project).len(), 5);
    // The same again does nothing; a longer range only what is new.
    project.takt(&fill).run().succeeded();
    assert_eq!(runs(&project).len(), 5);
    let longer = [
        "backfill",
        "pipeline.yaml",
        "--from",
        "2026-03-27",
        "--to",
        "2026-04-03",
    ];
    project.takt(longer).run().succeeded();
    assert_eq!(runs(&project).len(), 7);
    // Rows come from the cache: nothing of the input changed.
    for (wrong, why) in [
        (
            vec![
                "backfill",
                "pipeline.yaml",
                "--from",
                "2026-04-01",
                "--to",
                "2026-04-01",
            ],
            "not after",
        ),
        (
            vec![
                "backfill",
                "pipeline.yaml",
                "--schedule",
                "dayly",
                "--from",
                "2026-04-01",
                "--to",
                "2026-05-01",
            ],
            "no schedule `dayly`",
        ),
        (
            vec![
                "backfill",
                "pipeline.yaml",
                "--from",
                "2026-04-01T07:00",
                "--to",
                "2026-04-01T08:00",
            ],
            "never due",
        ),
    ] {
        let refused = project.takt(&wrong).run();
        assert_eq!(refused.code, 2, "{wrong:?}");
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
}

/// Fails the first times that it runs: it needs a file that somebody else makes.
fn failing(more: &str) -> Project {
    Project::with(&format!(
        "pipeline: failing\nstages:\n  - source.csv: {{path: missing.csv}}\n  - sink.csv: {{path: out.csv}}\nschedule:\n  - {{id: s, cron: \"0 0 1 1 *\"{more}}}\n"
    ))
}

const ONCE: [&str; 6] = [
    "backfill",
    "pipeline.yaml",
    "--from",
    "2026-01-01",
    "--to",
    "2026-01-02",
];

#[test]
fn a_failed_run_is_tried_again_and_told_of() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hook = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let told = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a call");
        let mut request = Vec::new();
        let mut part = [0; 4096];
        loop {
            let read = stream.read(&mut part).expect("a request");
            request.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.to_lowercase();
                let length = length
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|rest| rest.split("\r\n").next());
                if length.and_then(|length| length.parse::<usize>().ok()) == Some(body.len()) {
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                        .expect("answered");
                    return body.to_owned();
                }
            }
        }
    });
    let project = failing(&format!(
        ", retries: {{limit: 2, backoff: 100ms}}, on_failure: [{{webhook: \"{hook}\"}}, {{command: [sh, -c, \"cat > .taktline/told.json\"]}}]"
    ));
    let failed = project.takt(ONCE).run();
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    let runs = runs(&project);
    let attempts: Vec<i64> = runs
        .iter()
        .rev()
        .map(|run| run["attempt"].as_i64().expect("a number"))
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
    for run in &runs {
        assert_eq!(run["state"], "failed");
        let reason = run["reason"].as_str().expect("why");
        assert!(reason.contains("missing.csv"), "{reason}");
    }
    let body: Value = serde_json::from_str(&told.join().expect("told")).expect("JSON");
    assert_eq!(
        (&body["pipeline"], &body["state"], &body["attempts"]),
        (&"failing".into(), &"failed".into(), &3.into())
    );
    let by_command: Value =
        serde_json::from_str(&project.read(".taktline/told.json")).expect("JSON");
    assert_eq!(by_command, body);
}

/// Takes long enough to be looked at while it runs.
const SLOW: &str = "pipeline: slow
stages:
  - source.synthetic.payments: {rows: 1500000}
  - features.rolling: {by: account, over: at, window: [1d, 7d, 30d], aggregate: {spent: sum(amount), payments: count(), most: max(amount)}}
  - sink.parquet: {path: slow.parquet}
schedule:
";

#[test]
fn a_run_that_takes_too_long_is_ended() {
    let project = Project::with(&format!(
        "{SLOW}  - {{id: s, cron: \"0 0 1 1 *\", timeout: 300ms}}\n"
    ));
    let began = Instant::now();
    let failed = project.takt(ONCE).run();
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    assert!(began.elapsed() < Duration::from_secs(20));
    let run = &runs(&project)[0];
    assert_eq!(
        (&run["state"], &run["reason"]),
        (&"timed_out".into(), &"it took longer than 0.3 s".into())
    );
    assert!(!project.path("slow.parquet").exists());
}

#[test]
fn a_run_is_cancelled_and_a_killed_one_is_known_for_it() {
    let project = Project::with(&format!("{SLOW}  - {{id: s, cron: \"0 0 1 1 *\"}}\n"));
    let running = |state: &str| {
        let runs = runs(&project);
        let found = runs
            .iter()
            .find(|run| run["state"] == state && run["process"].is_i64());
        found.cloned()
    };
    let mut worker = Daemon::start(&project, &ONCE, &[]);
    wait_until("a run works", || running("running").is_some());
    let run = running("running").expect("a run");
    project
        .takt([
            "runs",
            "cancel",
            run["id"].as_str().expect("an id"),
            "--color",
            "never",
        ])
        .run()
        .succeeded();
    assert_eq!(worker.end(), Some(1), "{}", worker.log());
    assert!(running("cancelled").is_some());
    let refused = project
        .takt(["runs", "cancel", run["id"].as_str().expect("an id")])
        .run();
    assert_eq!(refused.code, 1);

    // The same again; this time the system kills it.
    let mut worker = Daemon::start(&project, &ONCE, &[]);
    wait_until("a run works", || running("running").is_some());
    let run = running("running").expect("a run");
    let process = run["process"].as_i64().expect("a process").to_string();
    Command::new("kill")
        .args(["-KILL", &process])
        .status()
        .expect("kill");
    assert_eq!(worker.end(), Some(1), "{}", worker.log());
    let killed = running("killed").expect("a killed run");
    assert!(
        killed["reason"]
            .as_str()
            .expect("why")
            .contains("out of memory")
    );
}

#[test]
fn a_run_that_does_not_listen_is_killed() {
    let project = Project::with(&format!("{SLOW}  - {{id: s, cron: \"0 0 1 1 *\"}}\n"));
    let mut worker = Daemon::start(&project, &[&ONCE[..], &["--grace", "1s"]].concat(), &[]);
    let running = || {
        runs(&project)
            .into_iter()
            .find(|run| run["process"].is_i64())
    };
    wait_until("a run works", || running().is_some());
    let run = running().expect("a run");
    let process = run["process"].as_i64().expect("a process").to_string();
    // A process that is stopped hears no signal but the last.
    Command::new("kill")
        .args(["-STOP", &process])
        .status()
        .expect("kill");
    project
        .takt(["runs", "cancel", run["id"].as_str().expect("an id")])
        .run()
        .succeeded();
    assert_eq!(worker.end(), Some(1), "{}", worker.log());
    assert_eq!(running().expect("the run")["state"], "cancelled");
    let gone = Command::new("kill")
        .args(["-0", &process])
        .stderr(Stdio::null())
        .status()
        .expect("kill");
    assert!(!gone.success(), "the process is still there");
}

#[test]
fn a_run_does_not_outlive_its_worker() {
    let project = Project::with(&format!("{SLOW}  - {{id: s, cron: \"0 0 1 1 *\"}}\n"));
    let worker = Daemon::start(&project, &ONCE, &[]);
    let running = || {
        runs(&project)
            .into_iter()
            .find(|run| run["process"].is_i64())
    };
    wait_until("a run works", || running().is_some());
    let process = running().expect("a run")["process"]
        .as_i64()
        .expect("a process")
        .to_string();
    worker.signal("-KILL");
    wait_until("the run ends", || {
        let lives = Command::new("kill")
            .args(["-0", &process])
            .stderr(Stdio::null())
            .status();
        !lives.expect("kill").success()
    });
    assert!(!project.path("slow.parquet").exists());
    let left: Vec<String> = files(&project.path("."))
        .into_iter()
        .filter(|name| name.contains("slow"))
        .collect();
    assert!(left.is_empty(), "half-written: {left:?}");
}

#[test]
fn people_are_told_by_mail() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = format!("smtp://{}", listener.local_addr().expect("an address"));
    // A mail server that takes one message.
    let received = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a call");
        let mut writer = stream.try_clone().expect("a stream");
        let mut say = |text: &str| {
            writer
                .write_all(format!("{text}\r\n").as_bytes())
                .expect("said")
        };
        say("220 here");
        let (mut message, mut in_data) = (String::new(), false);
        for line in std::io::BufRead::lines(std::io::BufReader::new(stream)) {
            let line = line.expect("a line");
            match (in_data, line.as_str()) {
                (true, ".") => {
                    in_data = false;
                    say("250 taken");
                }
                (true, text) => message.push_str(&format!("{text}\n")),
                (false, "DATA") => {
                    in_data = true;
                    say("354 go on");
                }
                (false, "QUIT") => {
                    say("221 bye");
                    break;
                }
                (false, command) => {
                    message.push_str(&format!("{command}\n"));
                    say("250 fine");
                }
            }
            if !in_data && message.contains("Subject:") {
                break;
            }
        }
        message
    });
    let project = failing(&format!(
        ", on_failure: [{{email: {{to: [ops@shop.example], from: takt@shop.example, server: \"{server}\"}}}}]"
    ));
    assert_eq!(project.takt(ONCE).run().code, 1);
    let message = received.join().expect("received");
    for part in [
        "RCPT TO:<ops@shop.example>",
        "Subject: taktline: failing/s/2026-01-01T00:00:00Z failed",
        "missing.csv",
    ] {
        assert!(message.contains(part), "no `{part}` in:\n{message}");
    }
}

#[test]
fn pipelines_follow_each_other_and_files() {
    let project = project(
        "  - {id: inbox, on_file: {path: \"in/*.txt\", settled: 100ms}, params: {day: \"of-${schedule.file}\"}}\n",
    );
    project.write(
        "next.yaml",
        "pipeline: next\nparams:\n  at: {default: none, type: text}\nstages:\n  - source.csv: {path: rows.csv}\n  - features.derive: {at: \"'${at}'\"}\n  - sink.csv: {path: out/next.csv}\nschedule:\n  - {id: then, after: quick, params: {at: \"${schedule.time}\"}}\n",
    );
    project.write("in/one.txt", "x");
    std::fs::create_dir_all(project.path("out/of-in")).expect("a folder");
    let mut scheduler = Daemon::start(&project, &["scheduler", "."], &[]);
    wait_until("both ran", || project.path("out/next.csv").exists());
    wait_until("both are written down", || {
        runs(&project)
            .iter()
            .filter(|run| run["state"] == "succeeded")
            .count()
            == 2
    });
    project.write("in/two.txt", "y");
    wait_until("the second file, too", || {
        runs(&project)
            .iter()
            .filter(|run| run["state"] == "succeeded")
            .count()
            == 4
    });
    assert_eq!(scheduler.stop(), Some(0));
    let runs = runs(&project);
    let of = |pipeline: &str| -> Vec<&Value> {
        runs.iter()
            .filter(|run| run["pipeline"] == pipeline)
            .collect()
    };
    let times = |pipeline: &str| -> BTreeSet<String> {
        of(pipeline)
            .iter()
            .map(|run| run["logical_time"].to_string())
            .collect()
    };
    assert_eq!(times("quick"), times("next"), "it stands for the same time");
    // The run knows which file came.
    assert_eq!(
        files(&project.path("out/of-in")),
        BTreeSet::from(["one.txt.csv".to_owned(), "two.txt.csv".to_owned()])
    );
    assert_eq!(of("next")[0]["cause"], "after");
    assert_eq!(of("quick")[0]["cause"], "file");
}

#[test]
fn whoever_is_killed_nothing_is_lost_and_nothing_is_done_twice() {
    // Each run appends a row under its run key; a database takes each key once.
    let project = Project::with(
        "pipeline: quick
params:
  day: {default: none, type: text}
stages:
  - source.csv: {path: rows.csv}
  - features.derive: {day: \"'${day}'\"}
  - sink.sql: {url: \"sqlite:out.db\", table: days, mode: append}
schedule:
  - {id: hourly, cron: \"0 * * * *\", params: {day: \"${schedule.time}\"}, overlap: allow}
",
    );
    project.write("rows.csv", "a\n1\n");
    let range = ["--from", "2026-03-01", "--to", "2026-03-09T08:00"];
    let queue = [
        &[
            "backfill",
            "pipeline.yaml",
            "--detach",
            "--max-parallel",
            "8",
        ][..],
        &range,
    ]
    .concat();
    let queued = project.takt(&queue).run().succeeded();
    assert_eq!(queued.stdout, "queued 200 jobs\n");
    let arguments = ["worker", "--lease", "1s", "--slots", "2", "--until-idle"];
    // The same order of accidents every time.
    let mut chance = 12345_u64;
    let mut draw = |below: u64| {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % below
    };
    let mut kills = 0;
    let mut workers = [
        Daemon::start(&project, &arguments, &[]),
        Daemon::start(&project, &arguments, &[]),
    ];
    let deadline = Instant::now() + Duration::from_secs(240);
    loop {
        thread::sleep(Duration::from_millis(300 + draw(1_200)));
        assert!(Instant::now() < deadline, "{}", workers[0].log());
        let counts = project
            .takt([
                "runs",
                "list",
                "--state",
                "succeeded",
                "--limit",
                "1000",
                "--format",
                "json",
            ])
            .run();
        let done: Vec<Value> = serde_json::from_str(&counts.stdout).expect("JSON");
        if done.len() >= 200 {
            break;
        }
        let which = draw(2) as usize;
        if kills < 25 && draw(2) == 0 {
            // A run, through the process that the store knows.
            let running = json(
                &project,
                &["runs", "list", "--state", "running", "--limit", "5"],
                &[],
            );
            if let Some(process) = running[0]["process"].as_i64() {
                let _ = Command::new("kill")
                    .args(["-KILL", &process.to_string()])
                    .stderr(Stdio::null())
                    .status();
                kills += 1;
            }
        } else if kills < 25 {
            workers[which].signal("-KILL");
            let _ = workers[which].child.wait();
            kills += 1;
        }
        for worker in &mut workers {
            if worker.child.try_wait().expect("a child").is_some() {
                *worker = Daemon::start(&project, &arguments, &[]);
            }
        }
        // A run that was killed counts as failed: a person looks, and queues it again.
        if draw(4) == 0 {
            project.takt(&queue).run().succeeded();
        }
    }
    for worker in &mut workers {
        worker.stop();
    }
    let listed = runs(&project);
    let mut succeeded = BTreeMap::new();
    for run in listed.iter().filter(|run| run["state"] == "succeeded") {
        *succeeded
            .entry(run["run_key"].as_str().expect("a key").to_owned())
            .or_insert(0) += 1;
    }
    assert_eq!(succeeded.len(), 200);
    assert!(succeeded.values().all(|count| *count == 1));
    assert!(
        listed.iter().all(|run| run["state"] != "running"),
        "no run is left over"
    );
    // What the runs did is there once each, whoever died after it was written.
    project.write("check.yaml", "pipeline: check\nstages:\n  - source.sql: {url: \"sqlite:out.db\", table: days}\n    id: days\n  - sink.csv: {path: days.csv}\n");
    project.takt(["run", "check.yaml"]).run().succeeded();
    let days = project.read("days.csv");
    let days: Vec<&str> = days.lines().skip(1).collect();
    let distinct: BTreeSet<&str> = days.iter().copied().collect();
    assert_eq!((days.len(), distinct.len()), (200, 200), "{kills} kills");
    assert!(kills >= 8, "only {kills} kills");
}

#[test]
fn a_pipeline_scores_with_the_model_in_production() {
    let project = Project::new();
    for name in ["fraud-detection.yaml", "fraud-scoring.yaml"] {
        let text = std::fs::read_to_string(
            crate::harness::repository()
                .join("pipelines/finance")
                .join(name),
        )
        .expect("a pipeline");
        project.write(name, text);
    }
    std::fs::create_dir(project.path("scores")).expect("a folder");
    let refused = project.takt(["check", "fraud-scoring.yaml"]).run();
    assert_eq!(refused.code, 2);
    assert!(
        refused
            .stderr
            .contains("no model `fraud-detection` is registered"),
        "{}",
        refused.stderr
    );
    let train = |seed: &str| {
        let arguments = [
            "run",
            "fraud-detection.yaml",
            "--param",
            "rows=30000",
            "--seed",
            seed,
        ];
        project.takt(arguments).run().succeeded();
    };
    train("1");
    train("2");
    let listed = json(&project, &["models", "list"], &[]);
    assert_eq!(
        (&listed[0]["version"], &listed[1]["version"]),
        (&2.into(), &1.into())
    );
    let refused = project.takt(["check", "fraud-scoring.yaml"]).run();
    assert!(
        refused.stderr.contains("called `production`"),
        "{}",
        refused.stderr
    );
    project
        .takt(["models", "promote", "fraud-detection", "1"])
        .run()
        .succeeded();
    let score = |hour: &str| {
        let hour = format!("hour={hour}");
        project
            .takt(["run", "fraud-scoring.yaml", "--param", &hour])
            .run()
            .succeeded();
    };
    score("first");
    project
        .takt([
            "models",
            "promote",
            "fraud-detection",
            "latest",
            "--because",
            "newer",
        ])
        .run()
        .succeeded();
    score("second");
    project
        .takt(["models", "rollback", "fraud-detection"])
        .run()
        .succeeded();
    score("third");
    let of = |hour: &str| project.read(&format!("scores/suspicious-{hour}.csv"));
    assert_ne!(
        of("first"),
        of("second"),
        "another version says something else"
    );
    assert_eq!(of("first"), of("third"));
    assert!(of("first").lines().count() > 5);
    // The registered model says what the bundle says.
    let listed = json(&project, &["models", "list"], &[]);
    let place = listed[1]["place"].as_str().expect("a folder").to_owned();
    project.write(
        "rows.yaml",
        "pipeline: rows\nstages:\n  - source.synthetic.payments: {rows: 20000, seed: 11}\n  - sink.parquet: {path: rows.parquet}\n",
    );
    project.takt(["run", "rows.yaml"]).run().succeeded();
    project
        .takt([
            "score",
            &place,
            "--input",
            "rows.parquet",
            "--output",
            "scored.csv",
        ])
        .run()
        .succeeded();
    let scored = project.read("scored.csv");
    let mut lines = scored.lines();
    let names: Vec<&str> = lines.next().expect("names").split(',').collect();
    let at = |name: &str| {
        names
            .iter()
            .position(|known| *known == name)
            .expect("a column")
    };
    let (id, chance) = (at("payment_id"), at("probability_true"));
    let by_bundle: BTreeMap<String, String> = lines
        .map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>())
        .filter(|cells| cells[chance].parse::<f64>().expect("a number") > 0.05)
        .map(|cells| (cells[id].clone(), cells[chance].clone()))
        .collect();
    let by_pipeline: BTreeMap<String, String> = of("first")
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>())
        .map(|cells| (cells[0].clone(), cells[4].clone()))
        .collect();
    assert_eq!(by_pipeline, by_bundle);
    let shown = project
        .takt(["models", "show", "fraud-detection@production"])
        .run()
        .succeeded()
        .stdout;
    assert!(shown.contains("rolled back from version 2"), "{shown}");
    let compared = project
        .takt(["models", "diff", "fraud-detection", "1", "2"])
        .run()
        .succeeded()
        .stdout;
    assert!(compared.contains("average_precision"), "{compared}");
}

#[test]
fn a_scheduler_that_is_killed_or_locked_out_misses_nothing() {
    let project = project(
        "  - {id: tick, cron: \"* * * * * *\", catch_up: 10m, overlap: allow, params: {day: \"${schedule.time}\"}}\n",
    );
    let arguments = ["scheduler", "pipeline.yaml", "--lease", "1s"];
    let succeeded = || -> BTreeSet<String> {
        let runs = runs(&project);
        let done = runs.iter().filter(|run| run["state"] == "succeeded");
        done.map(|run| run["run_key"].as_str().expect("a key").to_owned())
            .collect()
    };
    let mut scheduler = Daemon::start(&project, &arguments, &[]);
    for enough in [2, 5, 8, 11] {
        wait_until("more runs succeed", || succeeded().len() >= enough);
        scheduler.signal("-KILL");
        let _ = scheduler.child.wait();
        scheduler = Daemon::start(&project, &arguments, &[]);
    }
    // Another program holds the store's lock for a while.
    let lock = "import sqlite3, time; store = sqlite3.connect('.taktline/store.db'); store.execute('BEGIN EXCLUSIVE'); time.sleep(3)";
    Command::new("python3")
        .args(["-c", lock])
        .current_dir(project.path("."))
        .status()
        .expect("python3");
    let enough = succeeded().len() + 4;
    wait_until("it goes on", || succeeded().len() >= enough);
    // What is due while it drains is left to the next one.
    assert_eq!(scheduler.stop(), Some(0), "{}", scheduler.log());
    let all = runs(&project);
    let done = succeeded();
    let count = all.iter().filter(|run| run["state"] == "succeeded").count();
    assert_eq!(count, done.len(), "an occurrence succeeded twice");
    // From the first to the last, every second is there.
    let seconds: Vec<i64> = done
        .iter()
        .map(|key| key.rsplit('/').next().expect("a time"))
        .map(|time| {
            let time = time.trim_end_matches('Z').rsplit(['T', ':']).take(3);
            let parts: Vec<i64> = time.map(|part| part.parse().expect("a number")).collect();
            parts[0] + 60 * parts[1] + 3_600 * parts[2]
        })
        .collect();
    let (first, last) = (seconds[0], seconds[seconds.len() - 1]);
    assert_eq!(
        (last - first).rem_euclid(86_400) + 1,
        seconds.len() as i64,
        "{seconds:?}"
    );
}

#[test]
fn a_store_that_cannot_be_is_told_at_once() {
    let project = project("  - {id: s, cron: \"@daily\"}\n");
    project.write(
        ".taktline/store.db",
        "this is no database, whatever its name says",
    );
    let began = Instant::now();
    for (address, why) in [
        (None, "file is not a database"),
        (
            Some("postgres://someone:hunter2@127.0.0.1:9/runs"),
            "refused",
        ),
        (Some("mysql://127.0.0.1/runs"), "cannot be in `mysql`"),
    ] {
        let mut takt = project.takt(["scheduler", "--check", "pipeline.yaml"]);
        if let Some(address) = address {
            takt = takt.env("TAKT_STORE", address);
        }
        let refused = takt.run();
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
        assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
    }
    assert!(began.elapsed() < Duration::from_secs(15));
    // A run does its work all the same, and says that it is not written down.
    let run = project.takt(["run", "pipeline.yaml"]).run().succeeded();
    assert!(run.stderr.contains("not written down"), "{}", run.stderr);
}

#[test]
fn a_backfill_is_for_past_times_and_what_it_leaves_is_told() {
    let project = Project::with(&format!("{SLOW}  - {{id: s, cron: \"0 0 * * *\"}}\n"));
    let ahead = [
        "backfill",
        "pipeline.yaml",
        "--from",
        "2026-01-01",
        "--to",
        "2126-01-01",
    ];
    let refused = project.takt(ahead).run();
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("still to come"),
        "{}",
        refused.stderr
    );

    let three = [
        "backfill",
        "pipeline.yaml",
        "--from",
        "2026-01-01",
        "--to",
        "2026-01-04",
        "--grace",
        "1s",
    ];
    let mut backfill = Daemon::start(&project, &three, &[]);
    wait_until("a run works", || {
        runs(&project).iter().any(|run| run["process"].is_i64())
    });
    let waiting = json(&project, &["runs", "queue"], &[]);
    assert_eq!(waiting.as_array().map(Vec::len), Some(2));
    backfill.signal("-INT");
    thread::sleep(Duration::from_millis(300));
    backfill.signal("-INT");
    assert_eq!(backfill.end(), Some(130), "{}", backfill.log());
    assert!(
        backfill
            .log()
            .contains("0 of 3 occurrences succeeded, 0 failed, 3 not done"),
        "{}",
        backfill.log()
    );
    let waiting = json(&project, &["runs", "queue"], &[]);
    assert_eq!(
        waiting.as_array().map(Vec::len),
        Some(0),
        "nothing is left to others"
    );
    let by_key = project
        .takt(["runs", "show", "slow/s/2026-01-01T00:00:00Z"])
        .run()
        .succeeded();
    assert!(by_key.stdout.contains("run key"), "{}", by_key.stdout);
}

#[test]
fn a_database_server_that_restarts_costs_nothing() {
    let database = postgres_to_restart();
    let url = database.url();
    let environment = [("TAKT_STORE", url.as_str())];
    let project =
        project("  - {id: hourly, cron: \"0 * * * *\", params: {day: \"${schedule.time}\"}}\n");
    let arguments = [
        "backfill",
        "pipeline.yaml",
        "--from",
        "2026-03-01",
        "--to",
        "2026-03-02T06:00",
        "--max-parallel",
        "2",
    ];
    let mut backfill = Daemon::start(&project, &arguments, &environment);
    let done = || {
        let listed = json(
            &project,
            &["runs", "list", "--state", "succeeded", "--limit", "100"],
            &environment,
        );
        listed.as_array().map_or(0, Vec::len)
    };
    for enough in [3, 9] {
        wait_until("some runs succeed", || done() >= enough);
        database.restart();
    }
    // The one who waits asks again and again, as the workers do.
    assert_eq!(backfill.end(), Some(0), "{}", backfill.log());
    let listed = json(&project, &["runs", "list", "--limit", "100"], &environment);
    let runs = listed.as_array().expect("a list");
    assert_eq!(runs.len(), 30, "each occurrence ran once");
    assert!(runs.iter().all(|run| run["state"] == "succeeded"));
    assert_eq!(files(&project.path("out")).len(), 30);
}
