//! `takt`: declared analytics pipelines, from YAML to a trusted decision.

mod args;
mod commands;
mod diagnostics;
mod output;
mod progress;
mod project;
mod run_store;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Command, Format, Takt},
    output::Output,
};

/// Exit codes, the same for every command.
mod exit {
    /// All is well.
    pub(crate) const OK: u8 = 0;
    /// The pipeline failed.
    pub(crate) const FAILED: u8 = 1;
    /// Bad usage or a bad spec.
    pub(crate) const USAGE: u8 = 2;
    /// A gate said no.
    pub(crate) const GATE: u8 = 3;
    /// The user interrupted.
    pub(crate) const INTERRUPTED: u8 = 130;

    /// Of a run that did not come to its end.
    pub(crate) fn of(failure: taktline_engine::FailureKind) -> u8 {
        match failure {
            taktline_engine::FailureKind::Stage => FAILED,
            taktline_engine::FailureKind::Expectation => GATE,
            taktline_engine::FailureKind::Interrupted => INTERRUPTED,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Takt::parse();
    let mut output = Output::new(arguments.format, arguments.color);
    logs(&arguments, &output);
    match dispatch(arguments, &mut output).and_then(|code| output.finish().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        // `takt stages | head` closes our output early: that is no error of ours.
        Err(error) if is_broken_pipe(&error) => ExitCode::from(exit::OK),
        Err(error) => {
            output.error(&error);
            ExitCode::from(exit::FAILED)
        }
    }
}

/// What happens inside, on standard error: warnings, and of commands that run for months every step, with its time. `TAKT_LOG` says
/// otherwise.
fn logs(arguments: &Takt, output: &Output) {
    let unattended = matches!(
        arguments.command,
        Command::Scheduler(_) | Command::Worker(_) | Command::Backfill(_)
    );
    let usual = if unattended {
        "warn,takt=info,taktline_scheduler=info"
    } else {
        "warn"
    };
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("TAKT_LOG").unwrap_or_else(|_| usual.into());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output.is_coloured())
        .with_target(false);
    match (unattended, arguments.format) {
        (true, Format::Json) => builder.json().flatten_event(true).init(),
        (true, _) => builder.init(),
        (false, _) => builder.without_time().init(),
    }
}

fn dispatch(arguments: Takt, output: &mut Output) -> anyhow::Result<u8> {
    if let Some(directory) = &arguments.directory
        && let Err(error) = std::env::set_current_dir(directory)
    {
        output.error(&anyhow::anyhow!(
            "cannot work in `{}`: {error}",
            directory.display()
        ));
        return Ok(exit::USAGE);
    }
    if arguments.format == Format::Html && !matches!(arguments.command, Command::Profile(_)) {
        output.error(&anyhow::anyhow!(
            "`--format html` is a format of `takt profile` only"
        ));
        return Ok(exit::USAGE);
    }
    match arguments.command {
        Command::Check(arguments) => commands::check::check(&arguments, output),
        Command::Plan(arguments) => commands::plan::plan(&arguments, output),
        Command::Run(arguments) => commands::run::run(&arguments, output),
        Command::Test(arguments) => commands::test::test(&arguments, output),
        Command::Scheduler(arguments) => commands::scheduler::scheduler(&arguments, output),
        Command::Worker(arguments) => commands::scheduler::worker(&arguments, output),
        Command::Schedules(arguments) => commands::scheduler::schedules(&arguments, output),
        Command::Backfill(arguments) => commands::backfill::backfill(&arguments, output),
        Command::Runs(arguments) => commands::runs::runs(&arguments, output),
        Command::Models(arguments) => commands::models::models(&arguments, output),
        Command::Gc(arguments) => commands::gc::gc(&arguments, output),
        Command::Score(arguments) => commands::score::score(&arguments, output),
        Command::Profile(arguments) => commands::profile::profile(&arguments, output),
        Command::Stages(arguments) => commands::stages::stages(&arguments, output),
        Command::Schema => commands::schema::schema(output),
        Command::Init(arguments) => commands::init::init(&arguments, output),
        Command::Completions(arguments) => commands::completions::completions(&arguments, output),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
