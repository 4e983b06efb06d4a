//! `takt completions`

use clap::CommandFactory;

use crate::{
    args::{CompletionsArguments, Takt},
    exit,
    output::Output,
};

pub(crate) fn completions(
    arguments: &CompletionsArguments,
    output: &mut Output,
) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Takt::command(), "takt", &mut script);
    output.line(String::from_utf8(script)?.trim_end())?;
    Ok(exit::OK)
}
