//! `takt schema`

use crate::{exit, output::Output, project};

pub(crate) fn schema(output: &mut Output) -> anyhow::Result<u8> {
    output.json(&taktline_spec::schema(&project::registry()?))?;
    Ok(exit::OK)
}
