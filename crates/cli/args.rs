//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    Text,
    /// For scripts: one JSON document on standard output.
    Json,
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
    /// Score rows with a bundle.
    Score(ScoreArguments),
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
    #[command(flatten)]
    pub(crate) spec: SpecArguments,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Takt::command().debug_assert();
    }
}
