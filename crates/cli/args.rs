//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use taktline_spec::TimeSpan;

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
    /// Name this run's work: what a sink appended under the same key is not appended again
    #[arg(long, value_name = "KEY")]
    pub(crate) run_key: Option<String>,
    /// How the pictures of the evaluations are written beside the report, which shows them in any case.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Pictures::Svg)]
    pub(crate) plots: Pictures,
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
    let refused = || format!("`{text}` is no size; write `5GB`, `500MB` or `2GiB`");
    let unit_at = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..unit_at].parse().map_err(|_| refused())?;
    let unit = match text[unit_at..].trim().to_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(refused()),
    };
    Ok((number * unit) as u64)
}

fn age(text: &str) -> Result<Duration, String> {
    TimeSpan::try_from(text.to_owned()).map(|span| span.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        assert_eq!(size("5GB"), Ok(5_000_000_000));
        assert_eq!(size("1.5 KiB"), Ok(1536));
        assert_eq!(size("0"), Ok(0));
        for wrong in ["", "GB", "5 apples", "-1GB", "1e3"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Takt::command().debug_assert();
    }
}
