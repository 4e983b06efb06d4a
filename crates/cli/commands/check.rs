//! `takt check`

use serde::Serialize;
use taktline_core::{Diagnostic, Severity};

use crate::{
    args::CheckArguments,
    exit,
    output::{BAD, GOOD, Output, counted, styled},
    project,
};

#[derive(Serialize)]
struct FileReport {
    file: String,
    ok: bool,
    stages: Option<usize>,
    diagnostics: Vec<Diagnostic>,
}

pub(crate) fn check(arguments: &CheckArguments, output: &mut Output) -> anyhow::Result<u8> {
    let registry = project::registry()?;
    let mut reports = Vec::new();
    for file in &arguments.files {
        let loaded = project::load(file, &arguments.spec, &registry);
        let failed = loaded.failed();
        if !output.is_json() {
            loaded.print(output);
            let count = |severity: Severity| {
                loaded
                    .checked
                    .diagnostics
                    .iter()
                    .filter(|diagnostic| diagnostic.severity == severity)
                    .count()
            };
            let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
            let verdict = match &loaded.checked.plan {
                Some(plan) if !failed => {
                    let warned = if warnings > 0 {
                        format!(", {}", counted(warnings, "warning"))
                    } else {
                        String::new()
                    };
                    format!(
                        "{} ({}{warned})",
                        styled(GOOD, "ok"),
                        counted(plan.stages.len(), "stage")
                    )
                }
                _ => styled(BAD, counted(errors, "error")),
            };
            output.line(format!("{}: {verdict}", file.display()))?;
        }
        reports.push(FileReport {
            file: file.display().to_string(),
            ok: !failed,
            stages: loaded.checked.plan.as_ref().map(|plan| plan.stages.len()),
            diagnostics: loaded.checked.diagnostics,
        });
        // The process ends soon: to free hundreds of schemas column by column would only keep the user waiting.
        std::mem::forget(loaded.checked.plan);
    }
    if output.is_json() {
        output.json(&reports)?;
    }
    Ok(if reports.iter().all(|report| report.ok) {
        exit::OK
    } else {
        exit::USAGE
    })
}
