//! Shows a run going by: bars on a terminal, plain lines into a pipe or a log.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use taktline_core::ProgressEvent;
use taktline_engine::{Observer, StageOutcome, StageSummary};

use crate::output::{counted, duration, figure, thousands, watched_width};

/// The observer that fits where standard error goes.
pub(crate) fn observer(watched: bool) -> Box<dyn Observer> {
    if watched {
        Box::new(Bars::default())
    } else {
        Box::new(Lines::new())
    }
}

/// What an epoch came to, in the room that there is: names are shortened before the line is folded.
fn epoch_line(
    stage: &str,
    (epoch, epochs): (u64, u64),
    loss: f64,
    figures: &[(String, f64)],
    left: Option<String>,
    room: Option<usize>,
) -> String {
    let parts = |is_short: bool| -> Vec<String> {
        let mut parts = vec![
            format!("{stage}: epoch {epoch}/{epochs}"),
            format!("loss {}", figure(loss)),
        ];
        parts.extend(figures.iter().map(|(name, value)| match is_short {
            true => format!("{} {}", name.replace("validation_", "val "), figure(*value)),
            false => format!("{name} {}", figure(*value)),
        }));
        parts.extend(left.clone());
        parts
    };
    let line = parts(false).join("  ");
    match room {
        Some(room) if line.chars().count() > room => folded(&parts(true), room),
        _ => line,
    }
}

/// Parts side by side, on as many lines as they need.
fn folded(parts: &[String], room: usize) -> String {
    let mut text = String::new();
    let mut length = 0;
    for part in parts {
        let characters = part.chars().count();
        if length == 0 {
            length = characters;
        } else if length + 2 + characters <= room {
            text.push_str("  ");
            length += 2 + characters;
        } else {
            text.push_str("\n    ");
            length = 4 + characters;
        }
        text.push_str(part);
    }
    text
}

/// Seconds that something still takes, as exactly as anybody can know.
fn left(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s left"),
        60..3600 => format!("{} min {:02} s left", whole / 60, whole % 60),
        _ => format!("{} h {:02} min left", whole / 3600, whole % 3600 / 60),
    }
}

/// Work of a known size, and since when how much of it was done. Times are seconds of the run.
#[derive(Debug, Clone, Copy)]
struct Work {
    unit: &'static str,
    done: u64,
    total: u64,
    since: f64,
    before: u64,
}

impl Work {
    /// Seconds that one step takes, once one has been seen.
    fn pace(&self, now: f64) -> Option<f64> {
        let made = self
            .done
            .checked_sub(self.before)
            .filter(|made| *made > 0)?;
        Some((now - self.since).max(0.0) / made as f64)
    }

    /// Seconds that the rest takes at this pace.
    fn left(&self, now: f64) -> Option<f64> {
        let rest = self.total.saturating_sub(self.done);
        Some(self.pace(now)? * rest as f64)
    }
}

/// The work that a stage tells of, one after the other.
#[derive(Debug, Clone, Copy)]
struct Track {
    /// When it was heard of last, or the stage began.
    heard: f64,
    work: Option<Work>,
}

impl Track {
    /// So much is done now.
    fn hear(&mut self, (done, total): (u64, u64), unit: &'static str, now: f64) -> Work {
        // Threads may tell out of order; what falls far back began anew, as the model in each fold does.
        let goes_on =
            |work: &Work| work.unit == unit && work.total == total && 2 * done >= work.done;
        let work = match self.work.filter(goes_on) {
            Some(work) => Work {
                done: work.done.max(done),
                ..work
            },
            None => {
                // What goes on from a checkpoint was not all done since the stage began.
                let is_new = done <= 1;
                Work {
                    unit,
                    done,
                    total,
                    since: if is_new { self.heard } else { now },
                    before: if is_new { 0 } else { done },
                }
            }
        };
        self.heard = now;
        self.work = Some(work);
        work
    }
}

/// What is worth a line of a stage at work, where lines stay.
#[derive(Debug)]
struct Pace {
    /// When the last line was written, or the stage began.
    told: f64,
    steps: Track,
    epochs: Track,
}

impl Pace {
    /// Seconds between two lines about steps.
    const BETWEEN: f64 = 10.0;
    /// An epoch that takes longer makes people ask when all are done.
    const SLOW: f64 = 10.0;

    fn new(now: f64) -> Self {
        let track = Track {
            heard: now,
            work: None,
        };
        Self {
            told: now,
            steps: track,
            epochs: track,
        }
    }

    /// How far it is, if it is time to say so. That all is done is told with the stage.
    fn step(&mut self, done: u64, total: u64, unit: &'static str, now: f64) -> Option<String> {
        let work = self.steps.hear((done, total), unit, now);
        if work.done >= total || now - self.told < Self::BETWEEN {
            return None;
        }
        self.told = now;
        let rest = work.left(now).map(left);
        Some(format!(
            "{} of {} {unit} ({} %){}",
            thousands(work.done),
            thousands(total),
            (100.0 * work.done as f64 / total as f64).floor(),
            rest.map_or(String::new(), |rest| format!(", {rest}"))
        ))
    }

    /// How long the epochs to come will take, where that is long.
    fn epoch(&mut self, epoch: u64, epochs: u64, now: f64) -> Option<String> {
        let work = self.epochs.hear((epoch, epochs), "epochs", now);
        self.told = now;
        let is_slow = work.pace(now).is_some_and(|pace| pace > Self::SLOW);
        if !is_slow || work.done >= epochs {
            return None;
        }
        work.left(now).map(left)
    }
}

fn done_line(summary: &StageSummary) -> String {
    let rows = summary
        .rows_out
        .map(|rows| format!(", {}", counted(rows, "row")))
        .unwrap_or_default();
    match summary.outcome {
        StageOutcome::Cached => format!("{}: cached{rows}", summary.id),
        _ => format!("{}: {}{rows}", summary.id, duration(summary.seconds)),
    }
}

/// A line for everything worth a line.
struct Lines {
    begun: Instant,
    stages: Mutex<HashMap<String, Pace>>,
}

impl Lines {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            stages: Mutex::default(),
        }
    }

    fn with<T>(&self, stage: &str, act: impl FnOnce(&mut Pace, f64) -> T) -> T {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.begun.elapsed().as_secs_f64();
        let pace = stages
            .entry(stage.to_owned())
            .or_insert_with(|| Pace::new(now));
        act(pace, now)
    }
}

fn line(text: &str) {
    // As `eprintln!`, but a closed standard error is no reason to stop a run.
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl Observer for Lines {
    fn started(&self, stage: &str, _kind: &str) {
        self.with(stage, |pace, now| *pace = Pace::new(now));
    }

    fn progress(&self, stage: &str, event: ProgressEvent) {
        match event {
            ProgressEvent::Epoch {
                epoch,
                epochs,
                loss,
                figures,
            } => {
                let left = self.with(stage, |pace, now| pace.epoch(epoch, epochs, now));
                let of = (epoch, epochs);
                line(&epoch_line(stage, of, loss, &figures, left, None));
            }
            ProgressEvent::Message(message) => line(&format!("{stage}: {message}")),
            ProgressEvent::Step { done, total, unit } => {
                if let Some(told) = self.with(stage, |pace, now| pace.step(done, total, unit, now))
                {
                    line(&format!("{stage}: {told}"));
                }
            }
        }
    }

    fn finished(&self, summary: &StageSummary) {
        line(&done_line(summary));
    }
}

/// A bar for each stage at work, a line for each that is done.
#[derive(Default)]
struct Bars {
    open: Mutex<HashMap<String, ProgressBar>>,
}

impl Bars {
    fn with(&self, stage: &str, act: impl FnOnce(&ProgressBar)) {
        if let Ok(open) = self.open.lock()
            && let Some(bar) = open.get(stage)
        {
            act(bar);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Observer for Bars {
    fn started(&self, stage: &str, kind: &str) {
        let bar = ProgressBar::new_spinner()
            .with_style(style("{spinner} {prefix:.bold} {wide_msg} {elapsed}"));
        bar.set_prefix(stage.to_owned());
        bar.set_message(kind.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        if let Ok(mut open) = self.open.lock() {
            open.insert(stage.to_owned(), bar);
        }
    }

    fn progress(&self, stage: &str, event: ProgressEvent) {
        self.with(stage, |bar| match event {
            ProgressEvent::Step { done, total, unit } => {
                if bar.length() != Some(total) {
                    bar.set_message(unit);
                    bar.set_length(total);
                    bar.set_style(style(
                        "{spinner} {prefix:.bold} [{wide_bar}] {pos}/{len} {msg} ETA {eta}",
                    ));
                }
                bar.set_position(done);
            }
            ProgressEvent::Epoch {
                epoch,
                epochs,
                loss,
                figures,
            } => {
                let (of, room) = ((epoch, epochs), watched_width());
                bar.println(epoch_line(stage, of, loss, &figures, None, room));
            }
            ProgressEvent::Message(message) => bar.println(format!("{stage}: {message}")),
        });
    }

    fn finished(&self, summary: &StageSummary) {
        let bar = self
            .open
            .lock()
            .ok()
            .and_then(|mut open| open.remove(&summary.id));
        match bar {
            Some(bar) => {
                bar.println(format!("✓ {}", done_line(summary)));
                bar.finish_and_clear();
            }
            None => line(&format!("✓ {}", done_line(summary))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_every_ten_seconds() {
        let mut pace = Pace::new(0.5);
        let mut told = Vec::new();
        for tree in 1..=500_u64 {
            let now = 0.5 + 0.2 * tree as f64;
            told.extend(pace.step(tree, 500, "trees", now));
        }
        assert_eq!(told.len(), 9, "{told:?}");
        assert_eq!(told[0], "50 of 500 trees (10 %), 1 min 30 s left");
        assert_eq!(told[8], "450 of 500 trees (90 %), 10 s left");
        // What is over soon says nothing.
        let mut quick = Pace::new(0.0);
        assert_eq!(quick.step(400, 500, "trees", 9.0), None);
    }

    #[test]
    fn steps_that_are_told_out_of_order_count_forwards() {
        let mut pace = Pace::new(0.0);
        assert_eq!(pace.step(1, 100, "trees", 1.0), None);
        assert_eq!(pace.step(3, 100, "trees", 3.0), None);
        let told = pace.step(2, 100, "trees", 12.0);
        assert_eq!(
            told.as_deref(),
            Some("3 of 100 trees (3 %), 6 min 28 s left")
        );
    }

    #[test]
    fn what_goes_on_from_a_checkpoint_is_measured_from_there() {
        let mut pace = Pace::new(0.0);
        assert_eq!(pace.step(9_000, 12_000, "batches", 1.0), None);
        assert_eq!(
            pace.step(9_010, 12_000, "batches", 11.0).as_deref(),
            Some("9,010 of 12,000 batches (75 %), 49 min 50 s left")
        );
        // Another model's rounds begin at the first.
        assert_eq!(pace.step(1, 100, "rounds", 12.0), None);
        assert_eq!(
            pace.step(5, 100, "rounds", 21.0).as_deref(),
            Some("5 of 100 rounds (5 %), 3 min 10 s left")
        );
    }

    #[test]
    fn slow_epochs_say_how_long_the_rest_takes() {
        let mut pace = Pace::new(0.0);
        assert_eq!(pace.epoch(1, 3, 400.0), Some("13 min 20 s left".to_owned()));
        // The batches of the next count from here.
        assert_eq!(pace.step(110, 300, "batches", 405.0), None);
        assert_eq!(pace.epoch(2, 3, 9000.0), Some("1 h 15 min left".to_owned()));
        assert_eq!(pace.epoch(3, 3, 9500.0), None);
        let mut quick = Pace::new(0.0);
        assert_eq!(quick.epoch(1, 200, 4.0), None);
    }

    #[test]
    fn epoch_lines_keep_to_the_width() {
        let figures: Vec<(String, f64)> = [
            ("accuracy", 0.3056),
            ("validation_loss", 1.588),
            ("validation_accuracy", 0.25),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        let line = |room| epoch_line("classifier", (1, 3), 1.5996, &figures, None, room);
        let whole = "classifier: epoch 1/3  loss 1.5996  accuracy 0.3056  validation_loss 1.5880  validation_accuracy 0.2500";
        assert_eq!(line(None), whole);
        assert_eq!(line(Some(110)), whole);
        let short = "classifier: epoch 1/3  loss 1.5996  accuracy 0.3056  val loss 1.5880  val accuracy 0.2500";
        assert_eq!(line(Some(100)), short);
        assert_eq!(
            line(Some(60)),
            "classifier: epoch 1/3  loss 1.5996  accuracy 0.3056\n    val loss 1.5880  val accuracy 0.2500"
        );
    }
}
