//! `takt score`

use std::path::Path;

use serde::Serialize;
use taktline_core::{Error, STORE, quoted};
use taktline_engine::{Bundle, BundleError};
use taktline_ops::files;

use crate::{
    args::ScoreArguments,
    exit,
    output::{BAD, Output, counted, duration, styled},
    project,
};

/// The result for scripts: why nothing was scored.
#[derive(Serialize)]
struct Refusal {
    status: &'static str,
    error: String,
    help: Option<String>,
}

#[derive(Serialize)]
struct ScoreReport {
    rows: usize,
    /// What a reader of the scores should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    output: String,
    pipeline: String,
    bundle: String,
    seconds: f64,
}

pub(crate) fn score(arguments: &ScoreArguments, output: &mut Output) -> anyhow::Result<u8> {
    let began = std::time::Instant::now();
    if is_same_file(&arguments.input, &arguments.output) {
        let error = format!(
            "`{}` is the input, which the scored rows would replace",
            arguments.output.display()
        );
        let help = "give `--output` another name".to_owned();
        refuse(&error, Some(help), output)?;
        return Ok(exit::USAGE);
    }
    // Nothing is computed for a file that could not be written then.
    if let Err(error) = files::Format::required(&arguments.output) {
        return failed(&error, output);
    }
    let registry = project::registry()?;
    let bundle = match Bundle::open(&arguments.bundle, &registry) {
        Ok(bundle) => bundle,
        Err(error) => return refuse(&error, bundle_help(&arguments.bundle), output),
    };
    let rows = match files::read_file(&arguments.input, Some(&bundle.input_schema())) {
        Ok(rows) => rows,
        Err(error) => return failed(&error, output),
    };
    let count = rows.height();
    let scored = match bundle.score(rows) {
        Ok(scored) => scored,
        Err(error) => {
            let help = match &error {
                BundleError::Input { help, .. } => help.clone(),
                _ => None,
            };
            return refuse(&error, help, output);
        }
    };
    if let Err(error) = files::write_file(&arguments.output, scored) {
        return failed(&error, output);
    }
    let seconds = began.elapsed().as_secs_f64();
    let looking = quoted(&bundle.looking_at_other_rows());
    let notes: Vec<String> = match looking.is_empty() {
        true => Vec::new(),
        false => vec![format!(
            "in {looking} history is that of {} alone: bring with each row those that came before it",
            arguments.input.display()
        )],
    };
    if output.is_json() {
        output.json(&ScoreReport {
            rows: count,
            notes,
            output: arguments.output.display().to_string(),
            pipeline: bundle.manifest.pipeline,
            bundle: arguments.bundle.display().to_string(),
            seconds,
        })?;
    } else {
        output.line(format!(
            "{} scored in {}: {}",
            counted(count, "row"),
            duration(seconds),
            arguments.output.display()
        ))?;
        for note in notes {
            output.line(format!("note: {note}"))?;
        }
    }
    Ok(exit::OK)
}

/// Whether both names lead to one file that exists.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn failed(error: &Error, output: &mut Output) -> anyhow::Result<u8> {
    refuse(error, error.help().map(str::to_owned), output)
}

/// Says why nothing came of it.
pub(super) fn refuse(
    error: &impl std::fmt::Display,
    help: Option<String>,
    output: &mut Output,
) -> anyhow::Result<u8> {
    output.note(format!("{}: {error}", styled(BAD, "error")));
    if let Some(help) = &help {
        output.note(format!("help: {help}"));
    }
    if output.is_json() {
        output.json(&Refusal {
            status: "failed",
            error: error.to_string(),
            help,
        })?;
    }
    Ok(exit::FAILED)
}

/// Where bundles are, for a folder that is none.
fn bundle_help(folder: &Path) -> Option<String> {
    let inside = bundles_in(folder);
    if !inside.is_empty() {
        return Some(format!("bundles in this folder: {}", inside.join(", ")));
    }
    // A damaged one is told by itself.
    if folder.join(SUMS).is_file() {
        return None;
    }
    let mut made: Vec<String> = Path::new(STORE)
        .join("bundles")
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|pipeline| bundles_in(&pipeline.path()))
        .collect();
    made.sort();
    Some(if made.is_empty() {
        "a bundle is the folder that `takt run` prints for a pipeline with `deploy.bundle`"
            .to_owned()
    } else {
        format!("bundles of this project: {}", made.join(", "))
    })
}

/// What makes a folder a bundle.
const SUMS: &str = "SHA256SUMS";

fn bundles_in(folder: &Path) -> Vec<String> {
    let mut found: Vec<String> = folder
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join(SUMS).is_file())
        .map(|entry| entry.path().display().to_string())
        .collect();
    found.sort();
    found
}
