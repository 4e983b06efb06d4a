//! Schedules run unattended: real processes, real signals, a real store.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    daemon::{Daemon, files, json, project, runs, wait_until},
    harness::{Project, golden_settings},
};

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
    let address = scheduler.address();
    let metrics = http_get(&address, "/metrics");
    assert!(
        metrics.contains("taktline_runs{pipeline=\"quick\",state=\"succeeded\"}"),
        "{metrics}"
    );
    assert!(metrics.contains("# EOF"), "{metrics}");
    assert!(http_get(&address, "/healthz").ends_with("ok\n"));
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
fn a_job_that_nobody_can_take_says_why() {
    let project = project(
        "  - {id: hourly, cron: \"0 * * * *\", needs: {resources: {gpu: 1}}, params: {day: \"${schedule.time}\"}}\n",
    );
    let range = ["--from", "2026-03-01", "--to", "2026-03-01T01:00"];
    let queue = [&["backfill", "pipeline.yaml", "--detach"][..], &range].concat();
    project.takt(&queue).run().succeeded();
    let shown = || project.takt(["runs", "queue"]).run().succeeded().stdout;
    assert!(shown().contains("no worker is at work"), "{}", shown());
    let mut worker = Daemon::start(&project, &["worker"], &[]);
    wait_until("the worker is known", || {
        shown().contains("no worker has gpu=1")
    });
    assert_eq!(worker.stop(), Some(0));
    project
        .takt(["worker", "--resource", "gpu=1", "--until-idle"])
        .run()
        .succeeded();
    assert_eq!(files(&project.path("out")).len(), 1);
}

#[test]
fn a_slip_in_a_spec_stops_no_schedule_and_one_taken_out_is_forgotten() {
    let project = project(
        "  - {id: tick, cron: \"* * * * * *\", params: {day: \"${schedule.time}\"}}\n  - {id: yearly, cron: \"0 0 1 1 *\"}\n",
    );
    let mut scheduler = Daemon::start(
        &project,
        &["scheduler", ".", "--listen", "127.0.0.1:0"],
        &[],
    );
    let done = || {
        let runs = runs(&project);
        runs.iter()
            .filter(|run| run["state"] == "succeeded")
            .count()
    };
    wait_until("it works", || done() >= 1);
    let address = scheduler.address();
    let right = project.read("pipeline.yaml");
    project.edit("pipeline.yaml", "* * * * * *", "* * 26 * * *");
    wait_until("the slip is counted", || {
        http_get(&address, "/metrics").contains("taktline_spec_errors 1")
    });
    assert!(
        http_get(&address, "/healthz").contains("1 error in spec files"),
        "{}",
        http_get(&address, "/healthz")
    );
    // It is due as before; its runs fail and are told of, rather than not be there.
    wait_until("a run is refused", || {
        let runs = runs(&project);
        let mut failed = runs.iter().filter(|run| run["state"] == "failed");
        failed.any(|run| run["reason"].to_string().contains("26"))
    });
    project.write(
        "pipeline.yaml",
        right.replace("  - {id: yearly, cron: \"0 0 1 1 *\"}\n", ""),
    );
    wait_until("it is mended", || {
        http_get(&address, "/metrics").contains("taktline_spec_errors 0")
    });
    let before = done();
    wait_until("it goes on", || done() > before);
    let listed = json(&project, &["schedules", "list"], &[]);
    let ids: Vec<&Value> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["schedule"])
        .collect();
    assert_eq!(ids, ["tick"]);
    assert_eq!(scheduler.stop(), Some(0), "{}", scheduler.log());
    let unknown = project.takt(["schedules", "pause", "quick/tock"]).run();
    assert!(
        unknown.stderr.contains("it knows quick/tick"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn what_did_not_change_comes_from_the_cache_and_old_runs_are_forgotten() {
    // The rows are the same on every day: only the first run makes them.
    let project = Project::with(
        "pipeline: cached
params:
  day: {default: none, type: text}
stages:
  - source.synthetic.payments: {rows: 20000}
    id: payments
  - split.random: {test: 0.2}
    id: parts
  - features.target_encode: {columns: [type], target: is_fraud}
    id: encoded
  - features.aggregate: {by: is_fraud, aggregate: {payments: count(), encoded: sum(type)}}
    id: counts
  - features.derive: {day: \"'${day}'\"}
    id: dated
  - sink.csv: {path: \"out/${day}.csv\"}
schedule:
  - {id: daily, cron: \"0 6 * * *\", params: {day: \"${schedule.date}\"}}
",
    );
    std::fs::create_dir(project.path("out")).expect("a folder");
    project
        .takt([
            "backfill",
            "pipeline.yaml",
            "--from",
            "2026-03-01",
            "--to",
            "2026-03-04",
            "--max-parallel",
            "1",
        ])
        .run()
        .succeeded();
    let mut outcomes = BTreeMap::new();
    for run in runs(&project) {
        let id = run["id"].as_str().expect("an id");
        let shown = json(&project, &["runs", "show", id], &[]);
        let stages = shown["stages"].as_array().expect("stages");
        let encoded = stages.iter().find(|stage| stage["stage"] == "encoded");
        let outcome = encoded.expect("the stage")["outcome"].clone();
        assert_eq!(
            run["params"]["day"],
            run["logical_time"].as_str().expect("a time")[..10]
        );
        outcomes.insert(run["run_key"].to_string(), outcome);
    }
    let outcomes: Vec<&Value> = outcomes.values().collect();
    assert_eq!(outcomes, ["ran", "cached", "cached"]);

    let gc = |more: &[&str]| {
        json(
            &project,
            &[&["gc", "--max-age", "1s"][..], more].concat(),
            &[],
        )
    };
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(gc(&["--dry-run"])["forgotten_runs"], 2);
    assert_eq!(runs(&project).len(), 3);
    assert_eq!(gc(&[])["forgotten_runs"], 2);
    // The newest stays, however old it is.
    assert_eq!(runs(&project).len(), 1);
    let again = project
        .takt([
            "backfill",
            "pipeline.yaml",
            "--from",
            "2026-03-01",
            "--to",
            "2026-03-04",
            "--dry-run",
        ])
        .run()
        .succeeded();
    let told = |what: &str| again.stdout.matches(what).count();
    assert_eq!((told("succeeded already"), told("would run")), (1, 2));
}
