//! What is due: occurrences of a schedule between the last decision and now, and what becomes of each.

use std::path::Path;

use taktline_store::{JobState, NewJob, Queued, ScheduleState};

use crate::catalogue::{Scheduled, run_key};

/// A run that comes later than this counts as missed, unless the schedule makes up for more.
const PUNCTUAL: i64 = 60_000;

/// So many missed occurrences of a schedule are written down one by one; of more, the newest.
const MOST_MISSED: usize = 100;

/// How many occurrences are looked at one by one: a schedule of every second that nobody looked after for a day.
const MOST: usize = 100_000;

/// A schedule's first state: nothing before now was missed.
pub(crate) fn begin(schedule: &Scheduled, now: i64) -> ScheduleState {
    ScheduleState {
        pipeline: schedule.pipeline.clone(),
        schedule: schedule.entry.id.clone(),
        file: schedule.file.display().to_string(),
        definition: schedule.definition(),
        decided_until: now,
        next_at: schedule
            .timetable
            .as_ref()
            .and_then(|table| table.next_after(now)),
        paused: false,
    }
}

/// Decides everything up to `now`, and moves the state on.
pub(crate) fn decide(
    schedule: &Scheduled,
    state: &mut ScheduleState,
    directory: &Path,
    now: i64,
) -> Vec<NewJob> {
    let Some(table) = &schedule.timetable else {
        return Vec::new();
    };
    let catch_up = schedule
        .entry
        .catch_up
        .map_or(0, |span| span.0.as_millis() as i64)
        .max(PUNCTUAL);
    let times = table.between(state.decided_until, now, MOST);
    state.decided_until = now;
    state.next_at = table.next_after(now);
    if state.paused {
        return Vec::new();
    }
    let first_due = times.partition_point(|time| now - time > catch_up);
    let (missed, due) = times.split_at(first_due);
    let untold = missed.len().saturating_sub(MOST_MISSED);
    let mut jobs = Vec::with_capacity(missed.len() - untold + due.len());
    for (number, time) in missed[untold..].iter().enumerate() {
        let mut job = schedule.job(
            directory,
            run_key(&schedule.name(), *time),
            "schedule",
            *time,
        );
        job.state = JobState::Missed;
        let others = match (number, untold) {
            (0, 1..) => format!(", and {untold} before it"),
            _ => String::new(),
        };
        job.reason = Some(format!("no scheduler ran when it was due{others}"));
        jobs.push(job);
    }
    let made_up_for = due.len() > 1;
    for time in due {
        let mut job = schedule.job(
            directory,
            run_key(&schedule.name(), *time),
            "schedule",
            *time,
        );
        // What is made up for goes one after another: of many times at once, `skip` would leave all but the first out.
        if job.overlap == Queued::UnlessBusy && (made_up_for || now - time > PUNCTUAL) {
            job.wait_in_line();
        }
        jobs.push(job);
    }
    jobs
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use taktline_spec::parse_moment;

    use super::*;
    use crate::Catalogue;

    fn scheduled(entry: &str) -> Scheduled {
        let folder = tempfile::tempdir().expect("a folder");
        let path: PathBuf = folder.path().join("p.yaml");
        std::fs::write(
            &path,
            format!("pipeline: p\nstages: []\nschedule:\n  - {entry}\n"),
        )
        .expect("written");
        Catalogue::read(&[path], &|_| None).schedules.remove(0)
    }

    fn at(text: &str) -> i64 {
        parse_moment(text).expect("a time")
    }

    fn keys(jobs: &[NewJob], state: JobState) -> Vec<&str> {
        let of_state = jobs.iter().filter(|job| job.state == state);
        of_state.map(|job| job.id.as_str()).collect()
    }

    #[test]
    fn an_occurrence_is_due_once() {
        let schedule = scheduled("{id: s, cron: \"*/10 * * * *\"}");
        let mut state = begin(&schedule, at("2026-11-28T02:05"));
        assert_eq!(state.next_at, Some(at("2026-11-28T02:10")));
        let none = decide(
            &schedule,
            &mut state,
            Path::new("."),
            at("2026-11-28T02:09"),
        );
        assert!(none.is_empty());
        let jobs = decide(
            &schedule,
            &mut state,
            Path::new("."),
            at("2026-11-28T02:10"),
        );
        assert_eq!(keys(&jobs, JobState::Queued), ["p/s/2026-11-28T02:10:00Z"]);
        assert!(
            decide(
                &schedule,
                &mut state,
                Path::new("."),
                at("2026-11-28T02:10")
            )
            .is_empty()
        );
    }

    #[test]
    fn what_came_too_late_is_missed_unless_it_is_made_up_for() {
        let plain = scheduled("{id: s, cron: \"0 * * * *\"}");
        let mut state = begin(&plain, at("2026-11-28T01:30"));
        let jobs = decide(&plain, &mut state, Path::new("."), at("2026-11-28T05:00"));
        assert_eq!(keys(&jobs, JobState::Queued), ["p/s/2026-11-28T05:00:00Z"]);
        assert_eq!(keys(&jobs, JobState::Missed).len(), 3);

        let patient = scheduled("{id: s, cron: \"0 * * * *\", catch_up: 2h}");
        let mut state = begin(&patient, at("2026-11-28T01:30"));
        let jobs = decide(&patient, &mut state, Path::new("."), at("2026-11-28T05:00"));
        assert_eq!(keys(&jobs, JobState::Missed), ["p/s/2026-11-28T02:00:00Z"]);
        assert_eq!(keys(&jobs, JobState::Queued).len(), 3);
        let one_by_one = |job: &NewJob| job.overlap == Queued::Always && job.settings.in_order;
        let made_up_for = jobs.iter().filter(|job| job.state == JobState::Queued);
        assert!(made_up_for.into_iter().all(one_by_one), "none is left out");
    }

    #[test]
    fn another_cron_never_fires_for_the_past() {
        let before = scheduled("{id: s, cron: \"0 3 * * *\"}");
        let after = scheduled("{id: s, cron: \"0 2 * * *\", catch_up: 1d}");
        let old = begin(&before, at("2026-11-28T00:00"));
        assert_ne!(old.definition, after.definition());
        // The scheduler begins afresh for another definition.
        let mut state = begin(&after, at("2026-11-28T02:30"));
        let jobs = decide(&after, &mut state, Path::new("."), at("2026-11-28T02:31"));
        assert!(jobs.is_empty());
        assert_eq!(state.next_at, Some(at("2026-11-29T02:00")));
    }

    #[test]
    fn a_long_absence_is_told_in_short() {
        let schedule = scheduled("{id: s, cron: \"* * * * *\"}");
        let mut state = begin(&schedule, at("2026-11-27T00:00"));
        let jobs = decide(
            &schedule,
            &mut state,
            Path::new("."),
            at("2026-11-28T00:00"),
        );
        assert_eq!(jobs.len(), MOST_MISSED + 2);
        let told = jobs[0].reason.as_deref().unwrap_or_default();
        assert!(told.ends_with("and 1338 before it"), "{told}");
    }

    #[test]
    fn a_paused_schedule_passes_its_times_by() {
        let schedule = scheduled("{id: s, cron: \"* * * * *\", catch_up: 1d}");
        let mut state = begin(&schedule, at("2026-11-28T00:00"));
        state.paused = true;
        assert!(
            decide(
                &schedule,
                &mut state,
                Path::new("."),
                at("2026-11-28T01:00")
            )
            .is_empty()
        );
        state.paused = false;
        let jobs = decide(
            &schedule,
            &mut state,
            Path::new("."),
            at("2026-11-28T01:01"),
        );
        assert_eq!(keys(&jobs, JobState::Queued).len(), 1);
    }
}
