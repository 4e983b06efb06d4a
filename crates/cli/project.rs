//! What commands share: the registry of kinds, what this build can do, reading and checking a spec.

use std::path::{Path, PathBuf};

use taktline_core::{Capabilities, Diagnostic, Registry, Severity};
use taktline_engine::{Store, schema_drift};
use taktline_spec::{Checked, Occurrence, Options, SourceText};
// Named so that the linker keeps them: their stage kinds register themselves.
use {taktline_evaluate as _, taktline_linfa as _, taktline_ops as _};

use crate::{args::SpecArguments, diagnostics, output::Output};

/// Every stage kind of this build.
pub(crate) fn registry() -> anyhow::Result<Registry> {
    Registry::collect().map_err(anyhow::Error::msg)
}

/// What this build can do.
pub(crate) fn capabilities() -> Capabilities {
    Capabilities {
        torch_missing: if cfg!(feature = "torch") {
            taktline_torch::missing()
        } else {
            Some(taktline_torch::BUILT_WITHOUT.to_owned())
        },
    }
}

/// The directory that relative paths start from.
pub(crate) fn directory() -> PathBuf {
    PathBuf::new()
}

/// A checked spec, with its text for diagnostics.
pub(crate) struct Loaded {
    pub(crate) checked: Checked,
    pub(crate) text: Option<String>,
}

impl Loaded {
    pub(crate) fn failed(&self) -> bool {
        self.checked.plan.is_none()
            || self
                .checked
                .diagnostics
                .iter()
                .any(|one| one.severity == Severity::Error)
    }

    /// Prints what was found.
    pub(crate) fn print(&self, output: &mut Output) {
        diagnostics::print(&self.checked.diagnostics, self.text.as_deref(), output);
    }
}

/// Reads and checks a spec.
pub(crate) fn load(file: &Path, arguments: &SpecArguments, registry: &Registry) -> Loaded {
    load_for(file, arguments, registry, Occurrence::now())
}

/// Reads and checks a spec for a run that stands for a time.
pub(crate) fn load_for(
    file: &Path,
    arguments: &SpecArguments,
    registry: &Registry,
    occurrence: Occurrence,
) -> Loaded {
    let source: Result<SourceText, Diagnostic> = taktline_spec::read(file);
    match source {
        Ok(source) => {
            let text = Some(source.text.clone());
            let directory = directory();
            let options = Options {
                params: arguments.params.clone(),
                seed: arguments.seed,
                directory: &directory,
                capabilities: capabilities(),
                environment: &|name| std::env::var(name).ok(),
                occurrence,
                registry,
            };
            let mut checked = taktline_spec::check(source, &options);
            // Empty where the pipeline can run: the run itself tells of other columns then.
            let drift = schema_drift(&checked.sources, &Store::new(&directory));
            checked.diagnostics.splice(0..0, drift);
            Loaded { checked, text }
        }
        Err(diagnostic) => Loaded {
            checked: Checked {
                plan: None,
                diagnostics: vec![diagnostic],
                sources: Vec::new(),
            },
            text: None,
        },
    }
}
