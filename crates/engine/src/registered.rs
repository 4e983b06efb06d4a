//! `model.registered`

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use polars::prelude::{Column as PolarsColumn, DataFrame};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, FitContext, Frame, Model, Predictor, Problem, Registry, Result,
    Role, Schema, Shape, Stage, State, did_you_mean, path, register_kind, type_name,
};
use taktline_store::{Address, RunStore};

use crate::bundle::{Bundle, SUMS};

const VERSION: u32 = 1;

/// Predict with a registered model: a version of it, or whichever an alias names today.
///
/// Runs with `deploy.bundle` register their bundles by name (`takt models list`), and `takt models promote` says which version is
/// `production`. The rows go through the very plan that the model was trained with, from the columns that it began
/// with; `takt models show` tells them. Other columns are passed through. When the alias names another version, what was cached is
/// made anew.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Registered {
    /// The model's name: that of its bundle, which is the pipeline's where `deploy.bundle` gives no other.
    #[schemars(length(min = 1))]
    name: String,
    /// An alias, `latest`, or the number of a version.
    #[serde(default = "production")]
    version: Version,
    #[serde(skip)]
    #[schemars(skip)]
    found: OnceLock<Result<Found, NotFound>>,
    /// The columns that the model reads; a bundle is opened for them once, not for every question.
    #[serde(skip)]
    #[schemars(skip)]
    reads: OnceLock<Vec<String>>,
}

/// A version: its number, or a word for it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Version {
    /// Counted from 1.
    Number(u32),
    /// An alias, or `latest`.
    Word(String),
}

fn production() -> Version {
    Version::Word("production".to_owned())
}

impl Version {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Word(word) => word.clone(),
        }
    }
}

register_kind! {
    Registered, "model.registered", version: 1,
    example: "- model.registered: {name: card-fraud, version: production}",
}

/// A version that is there.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) folder: PathBuf,
    pub(crate) number: i64,
    /// The bundle's id.
    pub(crate) bundle: String,
}

/// Why no version is.
#[derive(Debug, Clone)]
pub(crate) struct NotFound {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Whether the registry was read and does not have it.
    pub(crate) is_absent: bool,
    /// Whether the model has a version whose name is much like it.
    pub(crate) is_typo: bool,
}

impl NotFound {
    fn unread(error: impl fmt::Display) -> Self {
        Self {
            message: error.to_string(),
            help: None,
            is_absent: false,
            is_typo: false,
        }
    }
}

impl From<NotFound> for Error {
    fn from(why: NotFound) -> Self {
        Self::data(why.message)
    }
}

/// What is kept: which bundle it was. Its content is in the bundle's folder, not here.
#[derive(Debug, Serialize, Deserialize)]
struct Learned {
    folder: PathBuf,
}

impl Registered {
    fn found(&self) -> Result<&Found, &NotFound> {
        self.found
            .get_or_init(|| look_up(Path::new(""), &self.name, &self.version.text()))
            .as_ref()
    }

    fn open(&self) -> Result<Bundle> {
        open(&self.found().map_err(Clone::clone)?.folder)
    }
}

/// Looks for a version in the registry of the project in that directory.
pub(crate) fn look_up(directory: &Path, name: &str, version: &str) -> Result<Found, NotFound> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NotFound::unread)?;
    runtime.block_on(async {
        let address = Address::of_project(directory).map_err(NotFound::unread)?;
        let store = RunStore::open(&address).await.map_err(NotFound::unread)?;
        let model = store.model(name, version).await;
        let known = match &model {
            Err(taktline_store::Error::NotFound(_)) => store.models(None).await.unwrap_or_default(),
            _ => Vec::new(),
        };
        store.close().await;
        let model = model.map_err(|error| {
            let is_known = known.iter().any(|model| model.name == name);
            let names: BTreeSet<&str> = known.iter().map(|model| model.name.as_str()).collect();
            let of_model = known.iter().filter(|model| model.name == name);
            let aliases = of_model.flat_map(|model| model.aliases.iter().map(String::as_str));
            let near = did_you_mean(version, aliases);
            NotFound {
                is_typo: near.is_some(),
                help: match is_known {
                    true => near,
                    false => did_you_mean(name, names),
                },
                is_absent: matches!(error, taktline_store::Error::NotFound(_)),
                message: error.to_string(),
            }
        })?;
        Ok(Found {
            folder: PathBuf::from(model.place),
            number: model.version,
            bundle: model.bundle,
        })
    })
}

/// Opens a version's bundle.
pub(crate) fn open(folder: &Path) -> Result<Bundle> {
    let registry = Registry::collect().map_err(Error::State)?;
    Bundle::open(folder, &registry).map_err(|error| Error::State(error.to_string()))
}

impl Stage for Registered {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return Schema {
                incomplete: true,
                ..Schema::default()
            };
        };
        let mut output = input.clone();
        if let Err(why) = self.found() {
            let mut problem = Problem::error("unknown-model", path!["name"], &*why.message);
            problem.help.extend(why.help.clone());
            cx.report(problem);
            output.incomplete = true;
            return output;
        }
        let unsound = |error: String, output: &mut Schema, cx: &mut CheckContext<'_>| {
            cx.report(Problem::error("unsound-model", path!["name"], error));
            output.incomplete = true;
        };
        let bundle = match self.open() {
            Ok(bundle) => bundle,
            Err(error) => {
                unsound(error.to_string(), &mut output, cx);
                return output;
            }
        };
        for wanted in &bundle.manifest.input {
            match input.column(&wanted.name) {
                Some(_) => {}
                None if input.incomplete => {}
                None => {
                    let message = format!(
                        "the model needs the column `{}` ({}), which its input does not have",
                        wanted.name, wanted.type_name
                    );
                    let mut problem = Problem::error("unknown-column", path!["name"], message);
                    problem
                        .help
                        .extend(did_you_mean(&wanted.name, input.names()));
                    cx.report(problem);
                }
            }
        }
        // What the model says is known when it speaks: of no rows, too.
        let nothing = DataFrame::empty_with_schema(&bundle.input_schema().to_polars());
        match bundle.score(nothing) {
            Ok(scored) => {
                let known = bundle.manifest.input.len();
                for column in scored.columns().iter().skip(known) {
                    if let Some(taken) = input.column(column.name()) {
                        let message = format!(
                            "the input has a column `{}` ({}) already, which the model says",
                            taken.name,
                            type_name(&taken.dtype)
                        );
                        cx.report(
                            Problem::error("duplicate-column", path!["name"], message)
                                .help("drop or rename it above (`clean.drop`, `clean.rename`)"),
                        );
                        continue;
                    }
                    let said = Column::new(column.name().as_str(), column.dtype().clone());
                    output.columns.push(said.with_role(Role::Internal));
                }
            }
            Err(error) => unsound(error.to_string(), &mut output, cx),
        }
        output.facts.learned_elsewhere = true;
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Registered {
    fn features(&self, input: &Schema) -> Vec<String> {
        let wanted = self.reads.get_or_init(|| {
            let columns = self.open().map(|bundle| bundle.manifest.input);
            let columns = columns.unwrap_or_default().into_iter();
            columns.map(|column| column.name).collect()
        });
        let known = |name: &&String| input.column(name).is_some();
        wanted.iter().filter(known).cloned().collect()
    }

    fn target(&self, _: &Schema) -> Option<String> {
        None
    }

    fn allow_pii(&self) -> bool {
        // The pipeline that trained the model has said what it may see.
        true
    }

    fn files(&self) -> Vec<String> {
        let found = self.found().ok();
        let checksums = found.map(|found| found.folder.join(SUMS));
        checksums
            .into_iter()
            .map(|path| path.display().to_string())
            .collect()
    }

    fn fit(&self, _: &Frame, _: Option<&Frame>, cx: &mut FitContext<'_>) -> Result<State> {
        let found = self.found().map_err(Clone::clone)?;
        cx.progress
            .event(taktline_core::ProgressEvent::Message(format!(
                "`{}` version {}: {}",
                self.name,
                found.number,
                found.folder.display()
            )));
        let learned = Learned {
            folder: found.folder.clone(),
        };
        State::from_data(VERSION, &learned)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Predictor>> {
        let learned: Learned = state.data(VERSION)?;
        Ok(Box::new(RegisteredPredictor {
            bundle: open(&learned.folder)?,
        }))
    }
}

struct RegisteredPredictor {
    bundle: Bundle,
}

impl Predictor for RegisteredPredictor {
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>> {
        let wanted: Vec<&str> = self
            .bundle
            .manifest
            .input
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| batch.column(name).is_ok())
            .collect();
        let known = wanted.len();
        let scored = self
            .bundle
            .score(batch.select(wanted)?)
            .map_err(|error| Error::data(error.to_string()))?;
        Ok(scored.columns()[known..].to_vec())
    }
}
