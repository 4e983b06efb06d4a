//! The run store, on SQLite and on a real PostgreSQL: the same rules on both.
#![cfg(unix)]

use std::{collections::BTreeMap, future::Future, time::Duration};

use taktline_store::{
    Address, Artifact, Capacity, Claim, Error, JobSettings, JobState, Metric, Model, Needs, NewJob,
    NewRun, Outcome, Promotion, Queued, RunFilter, RunReport, RunState, RunStore, ScheduleState,
    Settled, Worker, new_run_id,
};

use crate::databases::servers::postgres;

const LEASE: Duration = Duration::from_secs(30);
const NOW: i64 = 1_800_000_000_000;

/// Runs the rule on both databases.
fn on_both<F: Future<Output = ()>>(rule: impl Fn(RunStore) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let database = postgres();
    let addresses = [
        Address::File(folder.path().join("deep/er/store.db")),
        Address::Postgres(database.url()),
    ];
    for address in addresses {
        runtime.block_on(async {
            let store = RunStore::open(&address).await.expect("a store");
            rule(store.clone()).await;
            store.close().await;
        });
    }
}

fn job(id: &str, schedule: &str, time: i64) -> NewJob {
    NewJob {
        id: id.to_owned(),
        pipeline: "p".to_owned(),
        schedule: schedule.to_owned(),
        file: "p.yaml".to_owned(),
        cause: "schedule",
        logical_time: time,
        priority: 0,
        due_at: time,
        settings: JobSettings::default(),
        state: JobState::Queued,
        reason: None,
        overlap: Queued::Always,
    }
}

fn room(slots: u32) -> Capacity {
    Capacity {
        slots,
        memory: None,
        resources: BTreeMap::new(),
    }
}

fn ended(state: RunState) -> Outcome {
    Outcome {
        state,
        exit_code: Some(if state == RunState::Succeeded { 0 } else { 1 }),
        reason: (state != RunState::Succeeded).then(|| "why".to_owned()),
        report: RunReport::default(),
    }
}

async fn claim(store: &RunStore, worker: &str, slots: u32, now: i64) -> Option<Claim> {
    store
        .claim(worker, "host", &room(slots), LEASE, now)
        .await
        .expect("the store answers")
}

#[test]
fn a_run_is_kept_with_all_it_told() {
    on_both(|store| async move {
        let id = new_run_id(NOW);
        let run = NewRun {
            id: id.clone(),
            pipeline: "digits".into(),
            file: "digits.yaml".into(),
            run_key: None,
            params: vec![("rows".into(), "10".into())],
            host: "here".into(),
            process: Some(7),
        };
        store.begin_run(&run, NOW).await.expect("begun");
        let report = RunReport {
            seed: Some(7),
            sources: vec![("rows".into(), "abc".into())],
            stages: vec![taktline_store::StageFigures {
                stage: "model".into(),
                kind: "model.x".into(),
                outcome: "ran".into(),
                rows_in: Some(10),
                rows_out: None,
                rows_dropped: None,
                seconds: 0.25,
            }],
            metrics: vec![
                Metric {
                    stage: "quality".into(),
                    part: "test".into(),
                    name: "accuracy".into(),
                    value: Some(0.5),
                },
                Metric {
                    stage: "quality".into(),
                    part: "test".into(),
                    name: "lift".into(),
                    value: None,
                },
            ],
            artifacts: vec![Artifact {
                stage: String::new(),
                what: "bundle".into(),
                place: "bundles/digits/abc123".into(),
            }],
            bundle: Some("bundles/digits/abc123".into()),
            promote: None,
            report: Some("report.html".into()),
            reason: None,
        };
        store
            .end_run(&id, RunState::Succeeded, 0, &report, NOW + 1_500)
            .await
            .expect("ended");
        let kept = store.run(&id[..20]).await.expect("found by its beginning");
        assert_eq!(
            (kept.state, kept.seconds(0), kept.seed),
            (RunState::Succeeded, 1.5, Some(7))
        );
        assert_eq!(kept.params, run.params);
        assert_eq!(kept.sources, report.sources);
        assert_eq!(store.stages_of(&id).await.expect("read"), report.stages);
        assert_eq!(store.metrics_of(&id).await.expect("read"), report.metrics);
        assert_eq!(
            store.artifacts_of(&id).await.expect("read"),
            report.artifacts
        );
        // Its bundle is a version of the model of that name, once.
        let models = store.models(None).await.expect("read");
        assert_eq!(models.len(), 1);
        assert_eq!(
            (
                models[0].name.as_str(),
                models[0].version,
                models[0].bundle.as_str()
            ),
            ("digits", 1, "abc123")
        );
        assert!(matches!(store.run("none").await, Err(Error::NotFound(_))));
        // A second end changes nothing.
        store
            .end_run(&id, RunState::Failed, 1, &RunReport::default(), NOW + 9_000)
            .await
            .expect("ended");
        assert_eq!(
            store.run("latest").await.expect("found").state,
            RunState::Succeeded
        );
        let none = RunFilter {
            pipeline: Some("other".into()),
            limit: 5,
            ..RunFilter::default()
        };
        assert!(store.runs(&none).await.expect("read").is_empty());
        let some = RunFilter {
            pipeline: Some("digits".into()),
            state: Some(RunState::Succeeded),
            since: Some(NOW),
            limit: 5,
            ..RunFilter::default()
        };
        assert_eq!(store.runs(&some).await.expect("read").len(), 1);
    });
}

#[test]
fn a_job_is_taken_once_and_done_once() {
    on_both(|store| async move {
        let jobs = [job("p/s/1", "s", NOW), job("p/s/2", "s", NOW + 1)];
        assert_eq!(store.enqueue(&jobs, NOW).await.expect("queued"), 2);
        assert_eq!(
            store.enqueue(&jobs, NOW).await.expect("queued"),
            0,
            "the same work has the same key"
        );
        let first = claim(&store, "a", 4, NOW).await.expect("due");
        assert_eq!((first.job.id.as_str(), first.job.attempt), ("p/s/1", 1));
        assert!(
            claim(&store, "b", 4, NOW).await.is_none(),
            "the second is not due yet"
        );
        let second = claim(&store, "b", 4, NOW + 1).await.expect("due");
        assert_eq!(second.job.id, "p/s/2");
        let settled = store
            .settle(&first, &ended(RunState::Succeeded), 0.5, NOW + 5)
            .await
            .expect("settled");
        assert_eq!(settled, Settled::Finished(JobState::Succeeded));
        let again = store
            .settle(&first, &ended(RunState::Failed), 0.5, NOW + 6)
            .await
            .expect("answered");
        assert_eq!(again, Settled::NotOurs);
        assert_eq!(
            store.job("p/s/1").await.expect("there").state,
            JobState::Succeeded
        );
        assert_eq!(
            store.enqueue(&jobs, NOW + 9).await.expect("queued"),
            0,
            "done is done"
        );
    });
}

#[test]
fn many_workers_take_each_job_once() {
    on_both(|store| async move {
        let jobs: Vec<NewJob> = (0..40)
            .map(|number| job(&format!("p/s/{number:02}"), "s", NOW))
            .collect();
        store.enqueue(&jobs, NOW).await.expect("queued");
        let taken = futures_of(8, |worker| {
            let store = store.clone();
            async move {
                let mut taken = Vec::new();
                while let Some(claim) = claim(&store, &format!("w{worker}"), 100, NOW).await {
                    taken.push(claim.job.id);
                }
                taken
            }
        })
        .await;
        let mut all: Vec<String> = taken.into_iter().flatten().collect();
        all.sort();
        let expected: Vec<String> = jobs.iter().map(|job| job.id.clone()).collect();
        assert_eq!(all, expected);
    });
}

async fn futures_of<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    number: usize,
    make: impl Fn(usize) -> F,
) -> Vec<T> {
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..number {
        tasks.spawn(make(index));
    }
    tasks.join_all().await
}

#[test]
fn a_failure_is_tried_again_after_a_growing_pause() {
    on_both(|store| async move {
        let mut new = job("p/s/1", "s", NOW);
        new.settings.retries = 2;
        new.settings.backoff = 10_000;
        new.settings.longest_backoff = 15_000;
        store.enqueue(&[new], NOW).await.expect("queued");
        let mut now = NOW;
        for pause in [10_000, 15_000] {
            let taken = claim(&store, "a", 1, now).await.expect("due");
            let settled = store
                .settle(&taken, &ended(RunState::Failed), 0.5, now)
                .await
                .expect("settled");
            assert_eq!(settled, Settled::Again(now + pause));
            assert!(claim(&store, "a", 1, now + pause - 1).await.is_none());
            now += pause;
        }
        let last = claim(&store, "a", 1, now).await.expect("due");
        assert_eq!(last.job.attempt, 3);
        let settled = store
            .settle(&last, &ended(RunState::TimedOut), 0.5, now)
            .await
            .expect("settled");
        assert_eq!(settled, Settled::Finished(JobState::Failed));
        // A gate says the same again.
        let mut gated = job("p/s/2", "s", now);
        gated.settings.retries = 5;
        store.enqueue(&[gated], now).await.expect("queued");
        let taken = claim(&store, "a", 1, now).await.expect("due");
        let settled = store
            .settle(&taken, &ended(RunState::Refused), 0.5, now)
            .await
            .expect("settled");
        assert_eq!(settled, Settled::Finished(JobState::Failed));
    });
}

#[test]
fn jobs_of_a_worker_that_is_gone_are_taken_up() {
    on_both(|store| async move {
        store
            .enqueue(&[job("p/s/1", "s", NOW)], NOW)
            .await
            .expect("queued");
        let mut now = NOW;
        for lost in 1..=4 {
            let taken = claim(&store, "a", 1, now).await.expect("due");
            assert!(
                store
                    .recover(now + 29_000)
                    .await
                    .expect("looked")
                    .is_empty(),
                "its lease is not over"
            );
            now += 31_000;
            let recovered = store.recover(now).await.expect("looked");
            assert_eq!(recovered[0].lost, lost);
            // Whoever had it may come back: it is too late.
            assert!(matches!(
                store.renew(&taken, LEASE, now).await,
                Err(Error::Refused(_))
            ));
            let late = store
                .settle(&taken, &ended(RunState::Succeeded), 0.5, now)
                .await
                .expect("answered");
            assert_eq!(late, Settled::NotOurs);
            assert_eq!(
                store.run(&taken.run).await.expect("there").state,
                RunState::Lost
            );
        }
        let given_up = store.job("p/s/1").await.expect("there");
        assert_eq!(given_up.state, JobState::Failed);
        assert!(
            given_up
                .reason
                .is_some_and(|why| why.contains("disappeared 4 times"))
        );
    });
}

#[test]
fn a_renewed_lease_holds_and_tells_of_a_cancellation() {
    on_both(|store| async move {
        store
            .enqueue(&[job("p/s/1", "s", NOW)], NOW)
            .await
            .expect("queued");
        let taken = claim(&store, "a", 1, NOW).await.expect("due");
        assert_eq!(
            store
                .renew(&taken, LEASE, NOW + 20_000)
                .await
                .expect("ours"),
            None
        );
        assert!(
            store
                .recover(NOW + 45_000)
                .await
                .expect("looked")
                .is_empty()
        );
        assert_eq!(
            store.cancel("p/s/1", "enough", NOW).await.expect("running"),
            JobState::Running
        );
        let why = store
            .renew(&taken, LEASE, NOW + 46_000)
            .await
            .expect("ours");
        assert_eq!(why.as_deref(), Some("enough"));
        store
            .settle(&taken, &ended(RunState::Cancelled), 0.5, NOW + 47_000)
            .await
            .expect("settled");
        assert!(matches!(
            store.cancel("p/s/1", "more", NOW).await,
            Err(Error::Refused(_))
        ));
        // One that waits is cancelled at once.
        store
            .enqueue(&[job("p/s/2", "s", NOW)], NOW)
            .await
            .expect("queued");
        assert_eq!(
            store.cancel("p/s/2", "enough", NOW).await.expect("waiting"),
            JobState::Queued
        );
        assert!(claim(&store, "a", 1, NOW).await.is_none());
    });
}

#[test]
fn overlaps_are_skipped_queued_or_replaced() {
    on_both(|store| async move {
        let overlapping = |id: &str, time: i64, overlap: Queued| NewJob {
            overlap,
            ..job(id, "s", time)
        };
        store
            .enqueue(&[overlapping("p/s/1", NOW, Queued::UnlessBusy)], NOW)
            .await
            .expect("queued");
        let first = claim(&store, "a", 9, NOW).await.expect("due");
        store
            .enqueue(&[overlapping("p/s/2", NOW + 1, Queued::UnlessBusy)], NOW)
            .await
            .expect("queued");
        let skipped = store.job("p/s/2").await.expect("there");
        assert_eq!(
            (skipped.state, skipped.reason.as_deref()),
            (JobState::Skipped, Some("`p/s/1` is not finished"))
        );
        store
            .enqueue(
                &[overlapping("p/s/3", NOW + 2, Queued::InPlaceOfOthers)],
                NOW,
            )
            .await
            .expect("queued");
        let why = store.renew(&first, LEASE, NOW + 2).await.expect("ours");
        assert_eq!(why.as_deref(), Some("`p/s/3` takes its place"));
        // Another schedule is not concerned.
        store
            .enqueue(
                &[NewJob {
                    overlap: Queued::UnlessBusy,
                    ..job("p/t/1", "t", NOW)
                }],
                NOW,
            )
            .await
            .expect("queued");
        assert_eq!(
            store.job("p/t/1").await.expect("there").state,
            JobState::Queued
        );
    });
}

#[test]
fn jobs_in_order_wait_for_the_one_before_and_its_retries() {
    on_both(|store| async move {
        let ordered = |id: &str, time: i64| {
            let mut job = job(id, "s", time);
            job.settings.in_order = true;
            job.settings.retries = 1;
            job.settings.backoff = 60_000;
            job
        };
        store
            .enqueue(&[ordered("p/s/1", NOW), ordered("p/s/2", NOW + 1)], NOW)
            .await
            .expect("queued");
        let first = claim(&store, "a", 9, NOW + 5).await.expect("due");
        assert!(
            claim(&store, "b", 9, NOW + 5).await.is_none(),
            "the first is at work"
        );
        store
            .settle(&first, &ended(RunState::Failed), 0.5, NOW + 6)
            .await
            .expect("settled");
        assert!(
            claim(&store, "b", 9, NOW + 7).await.is_none(),
            "the first is to be tried again"
        );
        let again = claim(&store, "b", 9, NOW + 70_000).await.expect("due");
        assert_eq!(again.job.id, "p/s/1");
        store
            .settle(&again, &ended(RunState::Succeeded), 0.5, NOW + 70_001)
            .await
            .expect("settled");
        assert_eq!(
            claim(&store, "b", 9, NOW + 70_002)
                .await
                .expect("due")
                .job
                .id,
            "p/s/2"
        );
    });
}

#[test]
fn room_is_kept_by_pipeline_resource_memory_and_slots() {
    on_both(|store| async move {
        let needing = |id: &str, memory: u64, gpu: u32| {
            let mut job = job(id, "s", NOW);
            job.settings.needs = Needs {
                memory,
                resources: [("gpu".to_owned(), gpu)].into(),
            };
            job
        };
        store
            .enqueue(
                &[
                    needing("p/s/1", 3, 1),
                    needing("p/s/2", 3, 1),
                    needing("p/s/3", 9, 0),
                    needing("p/s/4", 1, 0),
                ],
                NOW,
            )
            .await
            .expect("queued");
        let machine = Capacity {
            slots: 3,
            memory: Some(5),
            resources: [("gpu".to_owned(), 1)].into(),
        };
        let take = async |worker: &str| {
            let taken = store
                .claim(worker, "host", &machine, LEASE, NOW)
                .await
                .expect("answered");
            taken.map(|claim| claim.job.id)
        };
        assert_eq!(take("a").await.as_deref(), Some("p/s/1"));
        assert_eq!(
            take("a").await.as_deref(),
            Some("p/s/4"),
            "no second card, and 9 do not fit"
        );
        assert_eq!(take("a").await, None);
        assert_eq!(
            take("b").await.as_deref(),
            Some("p/s/2"),
            "another machine has a card of its own"
        );
        let mut single = job("q/s/1", "s", NOW);
        single.pipeline = "q".to_owned();
        single.settings.concurrency = Some(1);
        let other = NewJob {
            id: "q/s/2".to_owned(),
            ..single.clone()
        };
        store.enqueue(&[single, other], NOW).await.expect("queued");
        assert_eq!(take("c").await.as_deref(), Some("q/s/1"));
        assert_eq!(take("d").await, None, "one run of `q` at once");
    });
}

#[test]
fn what_is_finished_without_success_can_be_queued_again() {
    on_both(|store| async move {
        store
            .enqueue(&[job("p/s/1", "s", NOW), job("p/s/2", "s", NOW)], NOW)
            .await
            .expect("queued");
        let done = claim(&store, "a", 9, NOW).await.expect("due");
        store
            .settle(&done, &ended(RunState::Succeeded), 0.0, NOW)
            .await
            .expect("settled");
        let failed = claim(&store, "a", 9, NOW).await.expect("due");
        store
            .settle(&failed, &ended(RunState::Failed), 0.0, NOW)
            .await
            .expect("settled");
        let all = [
            job("p/s/1", "s", NOW),
            job("p/s/2", "s", NOW),
            job("p/s/3", "s", NOW),
        ];
        assert_eq!(store.requeue(&all, NOW).await.expect("queued"), 2);
        let states = store.states_of(&all.map(|job| job.id)).await.expect("read");
        let states: Vec<JobState> = states.into_values().collect();
        assert_eq!(
            states,
            [JobState::Succeeded, JobState::Queued, JobState::Queued]
        );
        assert_eq!(
            claim(&store, "a", 9, NOW).await.expect("due").job.attempt,
            1
        );
    });
}

#[test]
fn whom_to_tell_is_written_with_what_to_tell() {
    on_both(|store| async move {
        let mut new = job("p/s/1", "s", NOW);
        new.settings.notify =
            serde_json::json!({"on_failure": [{"webhook": "http://x"}], "on_success": []});
        store.enqueue(&[new], NOW).await.expect("queued");
        let taken = claim(&store, "a", 1, NOW).await.expect("due");
        store
            .settle(&taken, &ended(RunState::Failed), 0.0, NOW)
            .await
            .expect("settled");
        let again = Duration::from_secs(60);
        let notice = store
            .take_notice(again, NOW)
            .await
            .expect("read")
            .expect("due");
        assert_eq!(notice.target, serde_json::json!({"webhook": "http://x"}));
        assert_eq!(
            (&notice.body["job"], &notice.body["reason"]),
            (&"p/s/1".into(), &"why".into())
        );
        assert!(
            store
                .take_notice(again, NOW + 59_000)
                .await
                .expect("read")
                .is_none()
        );
        let second = store
            .take_notice(again, NOW + 60_000)
            .await
            .expect("read")
            .expect("comes again");
        assert_eq!(second.attempt, 2);
        store.delivered(&second.id).await.expect("written");
        assert!(
            store
                .take_notice(again, NOW + 9_000_000)
                .await
                .expect("read")
                .is_none()
        );
    });
}

#[test]
fn schedules_and_their_jobs_are_decided_together() {
    on_both(|store| async move {
        let state = ScheduleState {
            pipeline: "p".into(),
            schedule: "s".into(),
            file: "p.yaml".into(),
            definition: "d".into(),
            decided_until: NOW,
            next_at: Some(NOW + 60_000),
            paused: false,
        };
        assert_eq!(
            store
                .decide(std::slice::from_ref(&state), &[job("p/s/1", "s", NOW)], NOW)
                .await
                .expect("written"),
            1
        );
        assert_eq!(
            store.schedules().await.expect("read"),
            std::slice::from_ref(&state)
        );
        store.pause("p", "s", true).await.expect("there");
        // A scheduler that moves on does not undo it.
        store
            .decide(
                &[ScheduleState {
                    decided_until: NOW + 1,
                    ..state
                }],
                &[],
                NOW,
            )
            .await
            .expect("written");
        let kept = store.schedules().await.expect("read").remove(0);
        assert_eq!((kept.paused, kept.decided_until), (true, NOW + 1));
        assert!(matches!(
            store.pause("p", "none", true).await,
            Err(Error::NotFound(_))
        ));
    });
}

#[test]
fn versions_aliases_and_the_way_back() {
    on_both(|store| async move {
        let model = |bundle: &str| Model {
            name: "fraud".into(),
            version: 0,
            bundle: bundle.into(),
            place: format!("bundles/{bundle}"),
            run: None,
            registered_at: NOW,
            metrics: Vec::new(),
            aliases: Vec::new(),
        };
        for (bundle, version) in [("a", 1), ("b", 2), ("a", 1), ("c", 3)] {
            assert_eq!(
                store.register(&model(bundle)).await.expect("registered"),
                version
            );
        }
        for version in [1, 2, 3] {
            store
                .promote("fraud", version, "production", "better", NOW)
                .await
                .expect("promoted");
        }
        assert_eq!(
            store
                .model("fraud", "production")
                .await
                .expect("there")
                .version,
            3
        );
        assert_eq!(
            store
                .rollback("fraud", "production", NOW)
                .await
                .expect("back"),
            2
        );
        assert_eq!(
            store
                .rollback("fraud", "production", NOW)
                .await
                .expect("back"),
            1
        );
        assert!(matches!(
            store.rollback("fraud", "production", NOW).await,
            Err(Error::Refused(_))
        ));
        store
            .promote("fraud", 3, "production", "again", NOW)
            .await
            .expect("promoted");
        assert_eq!(
            store
                .rollback("fraud", "production", NOW)
                .await
                .expect("back"),
            1
        );
        assert_eq!(
            store.model("fraud", "latest").await.expect("there").version,
            3
        );
        assert_eq!(store.model("fraud", "v2").await.expect("there").bundle, "b");
        for (name, version) in [("fraud", "9"), ("fraud", "staging"), ("other", "1")] {
            assert!(matches!(
                store.model(name, version).await,
                Err(Error::NotFound(_))
            ));
        }
        for alias in ["latest", "", "3", "v3"] {
            assert!(
                store.promote("fraud", 1, alias, "", NOW).await.is_err(),
                "{alias}"
            );
        }
    });
}

#[test]
fn old_runs_are_forgotten_but_the_newest_of_a_pipeline() {
    on_both(|store| async move {
        for number in 0..3 {
            let at = NOW + number * 1_000;
            store
                .enqueue(&[job(&format!("p/s/{number}"), "s", at)], at)
                .await
                .expect("queued");
            let taken = claim(&store, "a", 1, at).await.expect("due");
            store
                .write_log(&taken.run, 1, &[(at, "a\0b".to_owned())])
                .await
                .expect("written");
            assert_eq!(
                store.log(&taken.run, 0).await.expect("read")[0].text,
                "a\u{fffd}b"
            );
            store
                .settle(&taken, &ended(RunState::Succeeded), 0.0, at)
                .await
                .expect("settled");
        }
        assert_eq!(
            store.forget_runs(NOW + 9_000, true).await.expect("counted"),
            2
        );
        assert_eq!(
            store
                .forget_runs(NOW + 9_000, false)
                .await
                .expect("forgotten"),
            2
        );
        let all = RunFilter {
            limit: 9,
            ..RunFilter::default()
        };
        let kept = store.runs(&all).await.expect("read");
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].job.as_deref(), Some("p/s/2"));
        let jobs = store.jobs(None, 9).await.expect("read");
        assert_eq!(jobs.len(), 1);
    });
}

#[test]
fn what_is_counted_and_who_is_there() {
    on_both(|store| async move {
        for (number, state) in [RunState::Succeeded, RunState::Failed, RunState::Succeeded]
            .into_iter()
            .enumerate()
        {
            let id = format!("p/s/{number}");
            store
                .enqueue(&[job(&id, "s", NOW)], NOW)
                .await
                .expect("queued");
            let taken = claim(&store, "a", 1, NOW).await.expect("due");
            store
                .settle(&taken, &ended(state), 0.0, NOW + 1_500)
                .await
                .expect("settled");
        }
        store
            .enqueue(&[job("p/s/9", "s", NOW)], NOW)
            .await
            .expect("queued");
        let runs = store.run_counts(0).await.expect("read");
        assert_eq!(
            runs,
            [
                ("p".to_owned(), RunState::Failed, 1, 1.5),
                ("p".to_owned(), RunState::Succeeded, 2, 3.0),
            ]
        );
        let jobs = store.job_counts().await.expect("read");
        assert_eq!(
            jobs,
            [
                ("p".to_owned(), JobState::Failed, 1),
                ("p".to_owned(), JobState::Queued, 1),
                ("p".to_owned(), JobState::Succeeded, 2),
            ]
        );
        let last = store
            .last_job("p", "s")
            .await
            .expect("read")
            .expect("a job");
        assert_eq!(last.logical_time, NOW);
        assert_eq!(store.successes_of("p", NOW).await.expect("read").len(), 2);

        let worker = Worker {
            id: "host-1".into(),
            host: "host".into(),
            process: 1,
            started_at: NOW,
            seen_at: NOW,
            capacity: room(2),
            draining: false,
        };
        store.note_worker(&worker).await.expect("written");
        let later = Worker {
            seen_at: NOW + 5,
            draining: true,
            ..worker
        };
        store.note_worker(&later).await.expect("written");
        assert_eq!(store.workers().await.expect("read"), [later]);
        store
            .forget_workers(Some("host-1"), 0)
            .await
            .expect("written");
        assert!(store.workers().await.expect("read").is_empty());

        // A person's run whose process is gone is not running for ever.
        let run = NewRun {
            id: "by-hand".into(),
            pipeline: "p".into(),
            file: "p.yaml".into(),
            run_key: None,
            params: Vec::new(),
            host: "host".into(),
            process: Some(77),
        };
        store.begin_run(&run, NOW).await.expect("begun");
        assert_eq!(
            store
                .end_vanished("host", |process| process == 77, NOW)
                .await
                .expect("looked"),
            0
        );
        assert_eq!(
            store
                .end_vanished("other", |_| false, NOW)
                .await
                .expect("looked"),
            0
        );
        assert_eq!(
            store
                .end_vanished("host", |_| false, NOW)
                .await
                .expect("looked"),
            1
        );
        assert_eq!(
            store.run("by-hand").await.expect("there").state,
            RunState::Lost
        );
    });
}

/// A run that wrote a bundle, which is to be called `production`; why it is not, if so.
async fn makes(
    store: &RunStore,
    bundle: &str,
    compared: bool,
    over: Option<i64>,
) -> Option<String> {
    let id = new_run_id(NOW);
    let run = NewRun {
        id: id.clone(),
        pipeline: "fraud".into(),
        file: "fraud.yaml".into(),
        run_key: None,
        params: Vec::new(),
        host: "here".into(),
        process: None,
    };
    store.begin_run(&run, NOW).await.expect("begun");
    let report = RunReport {
        bundle: Some(format!("bundles/fraud/{bundle}")),
        promote: Some(Promotion {
            alias: "production".into(),
            compared,
            over,
        }),
        ..RunReport::default()
    };
    store
        .end_run(&id, RunState::Succeeded, 0, &report, NOW)
        .await
        .expect("ended");
    store.run(&id).await.expect("kept").reason
}

#[test]
fn a_promotion_takes_the_place_of_whom_it_was_compared_with_alone() {
    on_both(|store| async move {
        let version = || async {
            let model = store.model("fraud", "production").await;
            model.expect("named").version
        };
        assert_eq!(makes(&store, "a", true, None).await, None);
        assert_eq!(version().await, 1);
        // Two at once were both the first; and later, both better than version 1.
        let why = makes(&store, "b", true, None).await.expect("kept back");
        assert!(why.contains("version 1 is called `production`"), "{why}");
        assert_eq!(makes(&store, "c", true, Some(1)).await, None);
        let why = makes(&store, "d", true, Some(1)).await.expect("kept back");
        assert!(why.contains("meanwhile version 3"), "{why}");
        assert_eq!(version().await, 3);
        // Who compares nothing takes any place; whoever has it already loses nothing.
        assert_eq!(makes(&store, "c", true, Some(1)).await, None);
        assert_eq!(makes(&store, "d", false, None).await, None);
        assert_eq!(version().await, 4);
        // A person's word stands until a person says otherwise, for this version; others go on.
        store
            .rollback("fraud", "production", NOW)
            .await
            .expect("back");
        let why = makes(&store, "d", true, Some(3)).await.expect("kept back");
        assert!(why.contains("rolled back from it"), "{why}");
        assert_eq!(version().await, 3);
        assert_eq!(makes(&store, "b", true, Some(3)).await, None);
        assert_eq!(version().await, 2);
        store
            .promote("fraud", 4, "production", "it was right", NOW)
            .await
            .expect("promoted");
        assert_eq!(makes(&store, "a", false, None).await, None);
        assert_eq!(makes(&store, "d", false, None).await, None);
        assert_eq!(version().await, 4);
    });
}
