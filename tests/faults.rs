//! What happens to whoever schedules and works: processes are killed, stores are locked, servers restart, disks are full, machines
//! are lost. Nothing is lost by that and nothing is done twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    daemon::{Daemon, files, json, project, runs, wait_until},
    databases::servers::{postgres, postgres_to_restart},
    harness::Project,
};

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
  - {id: hourly, cron: \"0 * * * *\", end: 2026-04-01, params: {day: \"${schedule.time}\"}, overlap: allow}
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
    // A scheduler with its worker, and a worker alone.
    let room = ["--lease", "1s", "--slots", "2"];
    let who = [
        &["scheduler", "pipeline.yaml"][..],
        &["worker", "--until-idle"],
    ];
    let start = |which: usize| Daemon::start(&project, &[who[which], &room].concat(), &[]);
    // The same order of accidents every time.
    let mut chance = 12345_u64;
    let mut draw = |below: u64| {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % below
    };
    let mut kills = 0;
    let mut workers = [start(0), start(1)];
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
        for (which, worker) in workers.iter_mut().enumerate() {
            if worker.child.try_wait().expect("a child").is_some() {
                *worker = start(which);
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
    let (first, last) = seconds_of(&done).expect("some");
    assert_eq!(
        (last - first).rem_euclid(86_400) + 1,
        done.len() as i64,
        "{done:?}"
    );
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

/// Another machine, as far as programs can tell: mounts, a host name and processes of its own. Needs `unshare` of util-linux, and a
/// kernel that lets its user make namespaces.
fn elsewhere(host: &str, prepare: &str) -> Vec<String> {
    let prepare = format!("hostname {host} && {prepare} && exec \"$@\"");
    [
        "unshare",
        "--map-root-user",
        "--mount",
        "--uts",
        "sh",
        "-c",
        &prepare,
        "sh",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[test]
fn a_worker_on_another_machine_takes_its_part_and_may_be_lost() {
    let database = postgres();
    let url = database.url();
    let environment = [("TAKT_STORE", url.as_str())];
    let near =
        project("  - {id: hourly, cron: \"0 * * * *\", params: {day: \"${schedule.time}\"}}\n");
    // The other machine has its own copy of the project in the same place, and only the store in common.
    let copy = Project::new();
    for file in ["pipeline.yaml", "rows.csv"] {
        copy.write(file, near.read(file));
    }
    std::fs::create_dir(copy.path("out")).expect("a folder");
    let prepare = format!(
        "mount --bind {} {}",
        copy.path("").display(),
        near.path("").display()
    );
    let arguments = ["worker", "--lease", "2s", "--slots", "1"];
    let start_far = || {
        Daemon::start_in(
            &copy,
            &elsewhere("far", &prepare),
            &near,
            &arguments,
            &environment,
        )
    };
    let mut far = start_far();
    let mut worker = Daemon::start(&near, &arguments, &environment);
    let queue = |from: &str, to: &str| {
        let mut takt = near.takt([
            "backfill",
            "pipeline.yaml",
            "--detach",
            "--max-parallel",
            "4",
            "--from",
            from,
            "--to",
            to,
        ]);
        takt = takt.env("TAKT_STORE", &url);
        takt.run().succeeded();
    };
    let list = || {
        let listed = json(&near, &["runs", "list", "--limit", "100"], &environment);
        listed.as_array().expect("a list").clone()
    };
    let succeeded = || {
        let runs = list();
        runs.iter()
            .filter(|run| run["state"] == "succeeded")
            .count()
    };
    queue("2026-03-01", "2026-03-01T16:00");
    wait_until("both machines did their part", || succeeded() == 16);
    let on = |host: &str| {
        let runs = list();
        runs.iter().filter(|run| run["host"] == host).count()
    };
    let far_did = on("far");
    assert!((2..=14).contains(&far_did), "far ran {far_did} of 16");
    assert_eq!(files(&copy.path("out")).len(), far_did);
    assert_eq!(files(&near.path("out")).len(), 16 - far_did);

    // The machine is gone in the middle of a run: what it had is taken up when its lease is over.
    queue("2026-03-02", "2026-03-02T16:00");
    wait_until("it is at work again", || {
        let runs = list();
        runs.iter()
            .any(|run| run["host"] == "far" && run["state"] == "running")
    });
    far.signal("-KILL");
    let _ = far.child.wait();
    wait_until("the other one does all that is left", || succeeded() == 32);
    assert_eq!(worker.stop(), Some(0), "{}", worker.log());
    let runs = list();
    let keys: BTreeSet<&str> = runs
        .iter()
        .filter(|run| run["state"] == "succeeded")
        .map(|run| run["run_key"].as_str().expect("a key"))
        .collect();
    assert_eq!(keys.len(), 32, "an occurrence succeeded twice");
    let lost: Vec<&Value> = runs
        .iter()
        .filter(|run| run["state"] != "succeeded")
        .collect();
    assert!(
        lost.iter()
            .all(|run| run["host"] == "far" && run["state"] == "lost"),
        "{lost:?}"
    );
}

#[test]
fn a_full_disk_costs_time_and_nothing_else() {
    let outside = project(
        "  - {id: tick, cron: \"* * * * * *\", catch_up: 10m, overlap: allow, retries: {limit: 50, backoff: 200ms, longest: 1s}, params: {day: \"${schedule.time}\"}}\n",
    );
    // Room for the store and little else.
    let prepare = format!(
        "cp -r {project} /tmp/copy-$$ && mount -t tmpfs -o size=8m tmpfs {project} && cp -r /tmp/copy-$$/. {project} && rm -r /tmp/copy-$$ && cd {project}",
        project = outside.path("").display()
    );
    let logs = Project::new();
    let mut scheduler = Daemon::start_in(
        &logs,
        &elsewhere("small", &prepare),
        &outside,
        &["scheduler", "pipeline.yaml", "--lease", "1s"],
        &[],
    );
    let inside = |path: &str| {
        let root = format!("/proc/{}/root", scheduler.child.id());
        Path::new(&root).join(outside.path(path).strip_prefix("/").expect("a full path"))
    };
    let within = |arguments: &[&str]| -> Value {
        let output = Command::new("nsenter")
            .args(["--target", &scheduler.child.id().to_string()])
            .args(["--user", "--mount", "--preserve-credentials"])
            .args([env!("CARGO_BIN_EXE_takt"), "-C"])
            .arg(outside.path(""))
            .args(["--format", "json"])
            .args(arguments)
            .output()
            .expect("nsenter");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    let succeeded = || -> BTreeSet<String> {
        let runs = within(&["runs", "list", "--limit", "1000", "--state", "succeeded"]);
        let runs = runs.as_array().into_iter().flatten();
        runs.map(|run| run["run_key"].as_str().expect("a key").to_owned())
            .collect()
    };
    wait_until("it works", || succeeded().len() >= 2);
    let ballast = inside("ballast");
    let mut room = std::fs::File::create(&ballast).expect("a file");
    let block = vec![0; 1 << 16];
    while std::io::Write::write_all(&mut room, &block).is_ok() {}
    drop(room);
    let told = |log: &str| log.contains("disk is full") || log.contains("No space left");
    wait_until("the full disk is told", || told(&scheduler.log()));
    thread::sleep(Duration::from_secs(2));
    std::fs::remove_file(&ballast).expect("room again");
    let before = succeeded().len();
    wait_until("it goes on", || succeeded().len() >= before + 6);
    // What waits is made up for before it ends.
    wait_until("every second up to some is there", || {
        let done = succeeded();
        seconds_of(&done)
            .is_some_and(|(first, last)| (last - first).rem_euclid(86_400) + 1 == done.len() as i64)
    });
    for file in files(&inside("out")) {
        let rows = std::fs::read_to_string(inside(&format!("out/{file}"))).expect("a file");
        assert_eq!(rows.lines().count(), 3, "`{file}` is half-written: {rows}");
        assert!(file.ends_with("Z.csv"), "`{file}` is left over");
    }
    assert_eq!(scheduler.stop(), Some(0), "{}", scheduler.log());
}

/// The first and the last second of the day among run keys.
fn seconds_of(keys: &BTreeSet<String>) -> Option<(i64, i64)> {
    let second = |key: &String| {
        let time = second_of_day(key.rsplit('/').next().unwrap_or_default());
        time.expect("a time")
    };
    Some((second(keys.first()?), second(keys.last()?)))
}

/// The second of the day of `2026-11-28T02:00:00Z`.
fn second_of_day(time: &str) -> Option<i64> {
    let clock = time.split_once('T')?.1.strip_suffix('Z')?;
    let mut parts = clock.split(':').map(str::parse::<i64>);
    let mut next = || parts.next()?.ok();
    Some(next()? * 3_600 + next()? * 60 + next()?)
}
