//! Shows a run going by: bars on a terminal, plain lines into a pipe or a log.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use taktline_core::ProgressEvent;
use taktline_engine::{Observer, StageOutcome, StageSummary};

use crate::output::{counted, duration, figure};

/// The observer that fits where standard error goes.
pub(crate) fn observer(watched: bool) -> Box<dyn Observer> {
    if watched {
        Box::new(Bars::default())
    } else {
        Box::new(Lines)
    }
}

fn epoch_line(
    stage: &str,
    epoch: u64,
    epochs: u64,
    loss: f64,
    figures: &[(String, f64)],
) -> String {
    let figures: String = figures
        .iter()
        .map(|(name, value)| format!("  {name} {}", figure(*value)))
        .collect();
    format!(
        "{stage}: epoch {epoch}/{epochs}  loss {}{figures}",
        figure(loss)
    )
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
struct Lines;

fn line(text: &str) {
    // As `eprintln!`, but a closed standard error is no reason to stop a run.
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl Observer for Lines {
    fn progress(&self, stage: &str, event: ProgressEvent) {
        match event {
            ProgressEvent::Epoch {
                epoch,
                epochs,
                loss,
                figures,
            } => {
                line(&epoch_line(stage, epoch, epochs, loss, &figures));
            }
            ProgressEvent::Message(message) => line(&format!("{stage}: {message}")),
            ProgressEvent::Step { .. } => {}
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
                bar.println(epoch_line(stage, epoch, epochs, loss, &figures));
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
