//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use taktline_spec::{ByteSize, TimeSpan};

/// Declared analytics pipelines: YAML to a trusted decision, every night.
#[derive(Debug, Parser)]
#[command(name = "takt", version, max_term_width = 100, propagate_version = true)]
pub(crate) struct Takt {
    /// Work in this directory: specs, data and `.taktline` are looked for from there.
    #[arg(short = 'C', long, global = true, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// How to print results.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to print results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[value(alias = "table")]
    Text,
    /// For scripts: one JSON document on standard output.
    Json,
    /// A page for a browser; of `takt profile` only.
    #[value(hide = true)]
    Html,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check pipelines against the real data's types, without running anything.
    Check(CheckArguments),
    /// Show what a run would do: stages, schemas, what is cached and why not.
    Plan(PlanArguments),
    /// Run a pipeline.
    Run(RunArguments),
    /// Run the tests that pipelines hold: given rows, expected rows.
    Test(TestArguments),
    /// Score rows with a bundle.
    Score(ScoreArguments),
    /// Look at rows: types, figures, frequent values, correlations, and expectations that would hold.
    Profile(ProfileArguments),
    /// Run declared schedules, unattended: queue what is due, and work on it.
    Scheduler(SchedulerArguments),
    /// Work on queued jobs, on this machine or another that shares the run store.
    Worker(WorkerArguments),
    /// List the schedules that schedulers know, stop one, let it go on.
    Schedules(SchedulesArguments),
    /// Run a schedule for past times.
    Backfill(BackfillArguments),
    /// Look at runs: what ran, how it ended, what it measured; cancel one.
    Runs(RunsArguments),
    /// Look at registered models, say which version counts.
    Models(ModelsArguments),
    /// Remove cached results, old runs and leftovers that are not needed any more.
    Gc(GcArguments),
    /// List the stage kinds, or explain one.
    Stages(StagesArguments),
    /// Print the JSON Schema of pipelines, for editors.
    Schema,
    /// Start a project from a template that runs.
    Init(InitArguments),
    /// Print completions for a shell.
    Completions(CompletionsArguments),
}

/// What every command that reads a spec takes.
#[derive(Debug, Args)]
pub(crate) struct SpecArguments {
    /// Set a param of the pipeline; may be given several times.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) params: Vec<(String, String)>,
    /// The seed, instead of the pipeline's.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Pipeline files.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) spec: SpecArguments,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// The pipeline file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Print the graph of stages instead.
    #[arg(long, value_enum)]
    pub(crate) graph: Option<Graph>,
    #[command(flatten)]
    pub(crate) spec: SpecArguments,
}

/// A language for graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Graph {
    /// For Markdown pages.
    Mermaid,
    /// For Graphviz.
    Dot,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The pipeline file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Make everything again, whatever is cached.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Name this run's work: what a sink appended under the same key is not appended again.
    #[arg(long, value_name = "KEY")]
    pub(crate) run_key: Option<String>,
    /// How the pictures of the evaluations are written beside the report, which shows them in any case.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Pictures::Svg)]
    pub(crate) plots: Pictures,
    /// Stand for this time, which `${schedule.time}` and `${schedule.date}` give: RFC 3339. Now, where none is given.
    #[arg(long, value_name = "TIME", value_parser = schedule_time)]
    pub(crate) schedule_time: Option<chrono::DateTime<chrono::FixedOffset>>,
    /// The file that arrived, which `${schedule.file}` gives.
    #[arg(long, value_name = "FILE")]
    pub(crate) schedule_file: Option<String>,
    /// The run's id, given by whoever watches it.
    #[arg(long, hide = true)]
    pub(crate) run_id: Option<String>,
    /// A worker watches this run and writes it down; it ends when its standard input closes.
    #[arg(long, hide = true)]
    pub(crate) attended: bool,
    #[command(flatten)]
    pub(crate) spec: SpecArguments,
}

/// A format of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pictures {
    /// Sharp at any size.
    Svg,
    /// Pixels, the same on any machine.
    Png,
    /// A file of each.
    Both,
}

#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// Pipeline files.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Only tests whose name holds this, in whatever case.
    #[arg(long, value_name = "NAME")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) spec: SpecArguments,
}

/// Bundles stay unless `--keep-bundles` is given; what a run at work uses stays in any case.
#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    /// Only say what would be removed.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Keep cached results and fetched rows to this size (`5GB`, `500MB`, `2GiB`); what was used least recently goes first.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_size: Option<u64>,
    /// Remove what was not used for this long (`30d`, `12h`).
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = age)]
    pub(crate) max_age: Duration,
    /// Keep only so many of each pipeline's newest runs, however old they are. Without it, runs go by their age.
    #[arg(long, value_name = "N")]
    pub(crate) keep_runs: Option<usize>,
    /// Keep only so many of each pipeline's newest bundles. Without it, all stay.
    #[arg(long, value_name = "N")]
    pub(crate) keep_bundles: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct ScoreArguments {
    /// The bundle's folder, as `takt run` printed it.
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: PathBuf,
    /// Rows to score: CSV (also .csv.gz), Parquet, NDJSON or Arrow IPC, by the file's ending.
    #[arg(long, value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// Where the scored rows go, in any of these formats.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

/// With `--format html` the profile is a page for a browser.
#[derive(Debug, Args)]
pub(crate) struct ProfileArguments {
    /// A file of rows (CSV, Parquet, NDJSON or Arrow IPC), or a pipeline: the rows after its first stage, or after the one
    /// that is named.
    #[arg(value_name = "FILE|PIPELINE.yaml[:STAGE]")]
    pub(crate) target: String,
    /// Write the profile to this file instead; `.html` and `.json` say the format.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) spec: SpecArguments,
}

#[derive(Debug, Args)]
pub(crate) struct StagesArguments {
    /// A stage kind (`clean.drop_nulls`), or a family (`clean`).
    #[arg(value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Print the reference in Markdown, as pipelines/README.md holds it.
    #[arg(long)]
    pub(crate) markdown: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// The new project's folder.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What to start from.
    #[arg(long, value_enum, default_value_t = Template::Table)]
    pub(crate) template: Template,
}

/// What a project starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// Classification of the rows of a CSV file.
    Table,
    /// Quality inspection: images in a folder per class, a small convolutional network.
    Images,
    /// Fraud detection on generated card payments.
    Fraud,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// With `--format json`, log lines are JSON too. TAKT_STORE says where the run store is (`postgres://user@host/database` or a file);
/// without it, it is `.taktline/store.db`.
#[derive(Debug, Args)]
pub(crate) struct SchedulerArguments {
    /// Pipeline files, or folders of them.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(crate) paths: Vec<PathBuf>,
    /// Only check the files and the run store, and show when each schedule is due next.
    #[arg(long)]
    pub(crate) check: bool,
    /// Serve `/metrics` for Prometheus and `/healthz` there.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
    /// Only queue; workers elsewhere do the work.
    #[arg(long)]
    pub(crate) no_worker: bool,
    #[command(flatten)]
    pub(crate) capacity: CapacityArguments,
}

/// TAKT_STORE says where the run store is; workers on several machines share one in PostgreSQL.
#[derive(Debug, Args)]
pub(crate) struct WorkerArguments {
    /// Serve `/metrics` for Prometheus and `/healthz` there.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
    /// End when there is nothing left to do.
    #[arg(long)]
    pub(crate) until_idle: bool,
    #[command(flatten)]
    pub(crate) capacity: CapacityArguments,
}

/// What a worker has to give.
#[derive(Debug, Args)]
pub(crate) struct CapacityArguments {
    /// Runs at once.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slots: u32,
    /// Memory for all of them together, held against what schedules say they need (`needs: {memory: 4GB}`).
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// A named resource and how much of it; may be given several times.
    #[arg(long = "resource", value_name = "NAME=N", value_parser = name_and_number)]
    pub(crate) resources: Vec<(String, u32)>,
    /// A worker that gives no sign of life for so long counts as gone, and others take up its jobs.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = lease)]
    pub(crate) lease: Duration,
    /// A run that is asked to end (cancelled, over its time) has so long to do it by itself.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = age)]
    pub(crate) grace: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct SchedulesArguments {
    #[command(subcommand)]
    pub(crate) command: SchedulesCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchedulesCommand {
    /// List the schedules: next and last time, how the last ended.
    List,
    /// Let a schedule's times pass by.
    Pause {
        /// The schedule.
        #[arg(value_name = "PIPELINE/SCHEDULE")]
        schedule: String,
    },
    /// Let a schedule go on from now.
    Resume {
        /// The schedule.
        #[arg(value_name = "PIPELINE/SCHEDULE")]
        schedule: String,
    },
}

/// Occurrences have the run keys that the scheduler gives them: what succeeded before is not done again.
#[derive(Debug, Args)]
pub(crate) struct BackfillArguments {
    /// The pipeline file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The schedule, where the file has several.
    #[arg(long, value_name = "ID")]
    pub(crate) schedule: Option<String>,
    /// The first time: a date (`2026-11-01`) or RFC 3339; without an offset, UTC.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) from: i64,
    /// Up to this time, not counting it.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) to: i64,
    /// Runs at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_parallel: u32,
    /// Only show what would run.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only queue; a scheduler or worker does the work.
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) capacity: CapacityArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArguments {
    #[command(subcommand)]
    pub(crate) command: RunsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, the newest first.
    List(RunsListArguments),
    /// List jobs: what waits, and what was skipped or missed.
    Queue {
        /// Standing so.
        #[arg(long, default_value = "queued", value_parser = ["queued", "running", "succeeded", "failed", "cancelled", "skipped", "missed"])]
        state: String,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Show everything about a run.
    Show {
        /// The run's id or its beginning, or a run key; `latest` is the newest.
        run: String,
    },
    /// Put two runs side by side: params, data, metrics, time.
    Compare {
        /// A run.
        first: String,
        /// Another.
        second: String,
    },
    /// Print what a scheduled run wrote.
    Logs {
        /// The run.
        run: String,
        /// Go on until it ends.
        #[arg(long, short)]
        follow: bool,
    },
    /// End a run, or take a job from the queue.
    Cancel {
        /// The run, or a job by its run key.
        run: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunsListArguments {
    /// Of this pipeline.
    #[arg(long, value_name = "NAME")]
    pub(crate) pipeline: Option<String>,
    /// Of this schedule.
    #[arg(long, value_name = "ID")]
    pub(crate) schedule: Option<String>,
    /// Standing so.
    #[arg(long, value_parser = ["running", "succeeded", "failed", "refused", "cancelled", "timed_out", "killed", "lost"])]
    pub(crate) state: Option<String>,
    /// Begun so long ago, at most (`7d`).
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(crate) since: Option<Duration>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct ModelsArguments {
    #[command(subcommand)]
    pub(crate) command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List versions.
    List {
        /// Of this model only.
        name: Option<String>,
    },
    /// Show a version: NAME, NAME@3 or NAME@production.
    Show {
        /// The model.
        #[arg(value_name = "NAME[@VERSION]")]
        model: String,
    },
    /// Let an alias name a version.
    Promote {
        /// The model.
        name: String,
        /// The version: a number, an alias, or `latest`.
        #[arg(value_name = "VERSION")]
        which: String,
        /// The alias.
        #[arg(long, default_value = "production")]
        alias: String,
        /// Why; it stands in the history.
        #[arg(long)]
        because: Option<String>,
    },
    /// Let an alias name the version that it named before.
    Rollback {
        /// The model.
        name: String,
        /// The alias.
        #[arg(long, default_value = "production")]
        alias: String,
    },
    /// Put two versions side by side.
    Diff {
        /// The model.
        name: String,
        /// A version or alias.
        first: String,
        /// Another.
        second: String,
    },
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write NAME=VALUE, such as `rows=1000`".to_owned()),
    }
}

/// Bytes: `5GB` are 5 × 10⁹, `5GiB` are 5 × 2³⁰.
fn size(text: &str) -> Result<u64, String> {
    ByteSize::try_from(text.to_owned()).map(|size| size.0)
}

fn name_and_number(text: &str) -> Result<(String, u32), String> {
    let (name, number) =
        name_and_value(text).map_err(|_| "write NAME=N, such as `gpu=1`".to_owned())?;
    let number = number
        .parse()
        .map_err(|_| format!("`{number}` is no whole number"))?;
    Ok((name, number))
}

fn lease(text: &str) -> Result<Duration, String> {
    match age(text)? {
        lease if lease < Duration::from_secs(1) => Err("a lease is at least `1s` long".to_owned()),
        lease => Ok(lease),
    }
}

fn moment(text: &str) -> Result<i64, String> {
    taktline_spec::parse_moment(text)
}

fn schedule_time(text: &str) -> Result<chrono::DateTime<chrono::FixedOffset>, String> {
    chrono::DateTime::parse_from_rfc3339(text)
        .map_err(|_| format!("`{text}` is no time; write `2026-11-28T02:00:00+08:00`"))
}

fn age(text: &str) -> Result<Duration, String> {
    TimeSpan::try_from(text.to_owned()).map(|span| span.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Takt::command().debug_assert();
    }
}
