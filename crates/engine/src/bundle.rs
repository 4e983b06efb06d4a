//! Bundles: a model with everything that is needed to score new rows the way the run did.
//!
//! A bundle is a folder: `manifest.json` (the scoring plan, the input schema, the metrics), `states/*.safetensors` (what the
//! fitted stages learned) and `SHA256SUMS` over all of it, in the format that `sha256sum -c` reads. It is data, never code (but
//! for a TorchScript file that the user brought), holds no times and no paths, and the same plan, data and seed give the same
//! bytes. Its id is the hash of its sums.
//!
//! The scoring plan is every stage from the model upwards to the last one that drops, joins or makes rows: above that, rows
//! are still being chosen; below it, each row keeps its place, so that one input row is one scored row. Splits,
//! expectations and what works on training rows alone are left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use polars::prelude::{
    AllowedOptimizations, DataFrame, DataType, IntoLazy, LazyFrame, PolarsError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use taktline_core::{
    Capabilities, CheckContext, Column, Error, Expression, Local, Model, Operation, PARTITION,
    Partition, Predictor, Registry, Result, Role, Schema, Shape, Stage, State, closest,
    output_schema, type_name,
};
use taktline_spec::Plan;

use crate::{key::sorted, local, store::write_atomically, streaming};

const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
pub(crate) const SUMS: &str = "SHA256SUMS";

/// The part of a plan that a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The stage whose rows are the scoring plan's input.
    pub(crate) cut: usize,
    /// The stages between, in order.
    pub(crate) replay: Vec<usize>,
    /// The model.
    pub(crate) model: usize,
}

/// All stages above `index`.
pub(crate) fn ancestors(plan: &Plan, index: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = plan.stages[index].inputs.clone();
    while let Some(stage) = open.pop() {
        if found.insert(stage) {
            open.extend(&plan.stages[stage].inputs);
        }
    }
    found
}

/// The scoring plan of the model above this deploy stage.
pub(crate) fn extent(plan: &Plan, deploy: usize) -> Result<Extent> {
    let above = ancestors(plan, deploy);
    let model = above
        .iter()
        .rev()
        .copied()
        .find(|stage| matches!(plan.stages[*stage].stage.shape(), Shape::Model(_)))
        .ok_or_else(|| Error::data("there is no model above the bundle"))?;
    let mut replay = Vec::new();
    let mut at = model;
    let cut = loop {
        let inputs = plan.stages[at].inputs.as_slice();
        let inputs = match plan.stages[at].stage.shape() {
            // Its further inputs are only looked up in: the rows are those of the first.
            Shape::Expect(_) => inputs.get(..1).unwrap_or_default(),
            _ => inputs,
        };
        let [input] = inputs else {
            break at;
        };
        let above = &plan.stages[*input];
        let replayed = match above.stage.shape() {
            shape if shape.is_training_only() => false,
            Shape::Split(_)
            | Shape::Expect(_)
            | Shape::Evaluate(_)
            | Shape::Deploy(_)
            | Shape::Sink(_) => false,
            Shape::Estimator(estimator) if !estimator.keeps_rows() => break *input,
            Shape::Estimator(_) => above.inputs.len() == 1,
            Shape::Model(_) => true,
            Shape::Relational(relational) if above.inputs.len() == 1 => {
                let schemas = [plan.stages[above.inputs[0]].schema.clone()];
                if !relational
                    .lower(&schemas)?
                    .iter()
                    .all(Operation::keeps_rows)
                {
                    break *input;
                }
                true
            }
            Shape::Relational(_) | Shape::Source(_) => break *input,
        };
        if replayed {
            replay.push(*input);
        }
        at = *input;
    };
    replay.reverse();
    Ok(Extent { cut, replay, model })
}

/// A column that a bundle needs in its input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputColumn {
    /// Its name.
    pub name: String,
    /// Its type, in words.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its type.
    pub dtype: DataType,
    /// Its role.
    pub role: Role,
    /// Whether the training data held nulls in it, or a stage fills them; where not, a null is refused.
    pub nullable: bool,
    /// Its possible values, where the source knew them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
}

/// A stage of the scoring plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BundledStage {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// The version of the kind that wrote it.
    pub version: u32,
    /// Its params.
    pub params: Value,
    /// Where what it learned is, inside the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format.
    pub format: u32,
    /// The pipeline that made it.
    pub pipeline: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The seed.
    pub seed: u64,
    /// What scoring needs of its input; more columns are passed through.
    pub input: Vec<InputColumn>,
    /// The scoring plan, in order; the last is the model.
    pub stages: Vec<BundledStage>,
    /// The role that each column has when the model sees it, where it is not a plain feature.
    pub roles: BTreeMap<String, Role>,
    /// What the evaluations found on held-out rows.
    pub metrics: Vec<(String, f64)>,
}

/// A bundle that was written, or was there already with the same bytes.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) id: String,
    pub(crate) folder: PathBuf,
}

/// A scoring plan with what its stages learned, ready to be written.
pub(crate) struct Scoring<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) extent: &'a Extent,
    /// What the replayed stages and then the model learned; `None` where a stage learns nothing.
    pub(crate) states: &'a [Option<State>],
    /// What the rows after each stage really look like.
    pub(crate) schemas: &'a [Schema],
}

impl Scoring<'_> {
    /// The columns at the cut that the scoring plan needs: what the model's features are made of.
    pub(crate) fn required_columns(&self) -> Result<BTreeSet<String>> {
        let Self {
            plan,
            extent,
            states,
            schemas,
        } = *self;
        let model = &plan.stages[extent.model];
        let Shape::Model(shape) = model.stage.shape() else {
            return Err(Error::State(
                "the bundle's last stage is not a model".to_owned(),
            ));
        };
        let mut wanted: BTreeSet<String> = shape
            .features(&schemas[model.inputs[0]])
            .into_iter()
            .collect();
        for (index, state) in extent.replay.iter().zip(states).rev() {
            let stage = &plan.stages[*index];
            let schema = &schemas[stage.inputs[0]];
            let operations = lowered(
                stage.stage.as_ref(),
                state.as_ref(),
                std::slice::from_ref(schema),
            )?;
            wanted = needed(&operations, wanted);
            wanted.retain(|name| schema.column(name).is_some());
        }
        // Which part a row is in matters to training only.
        wanted.retain(|name| name != PARTITION && schemas[extent.cut].column(name).is_some());
        Ok(wanted)
    }

    /// Required columns whose nulls a replayed stage fills before anything else reads them.
    fn filled(&self, required: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let (mut filled, mut unread) = (BTreeSet::new(), required.clone());
        for (index, state) in self.extent.replay.iter().zip(self.states) {
            let stage = &self.plan.stages[*index];
            let fills = stage.stage.fills();
            filled.extend(unread.extract_if(.., |name| fills.contains(name)));
            let input = std::slice::from_ref(&self.schemas[stage.inputs[0]]);
            for operation in lowered(stage.stage.as_ref(), state.as_ref(), input)? {
                let reads = match &operation {
                    // A column that passes under its name is not looked at.
                    Operation::Project(columns) => columns
                        .iter()
                        .filter(|(name, value)| *value != Expression::column(name))
                        .flat_map(|(_, value)| value.columns())
                        .collect(),
                    other => other.reads(),
                };
                unread.retain(|name| !reads.contains(name));
            }
        }
        Ok(filled)
    }

    /// Writes the bundle into `folder/<id>`, whole or not at all.
    pub(crate) fn write(
        &self,
        folder: &Path,
        required: &BTreeSet<String>,
        with_nulls: &BTreeSet<String>,
        metrics: &[(String, f64)],
    ) -> Result<Written> {
        let Self {
            plan,
            extent,
            states,
            schemas,
        } = *self;
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut stages = Vec::new();
        for (index, state) in extent.replay.iter().chain([&extent.model]).zip(states) {
            let stage = &plan.stages[*index];
            let file = state
                .as_ref()
                .map(|_| format!("states/{}.safetensors", stage.id));
            if let (Some(file), Some(state)) = (&file, state) {
                files.insert(file.clone(), state.to_bytes()?);
            }
            stages.push(BundledStage {
                id: stage.id.clone(),
                kind: stage.kind.name.to_owned(),
                version: stage.kind.version,
                params: sorted(
                    serde_json::to_value(&stage.params)
                        .map_err(|error| Error::State(error.to_string()))?,
                ),
                state: file,
            });
        }
        let cut = &schemas[extent.cut];
        let filled = self.filled(required)?;
        let input = cut
            .columns
            .iter()
            .filter(|column| required.contains(&column.name))
            .map(|column| InputColumn {
                name: column.name.clone(),
                type_name: type_name(&column.dtype),
                dtype: column.dtype.clone(),
                role: column.role,
                // Of the rows to score the target is not known yet; only its earlier values are read.
                nullable: with_nulls.contains(&column.name)
                    || filled.contains(&column.name)
                    || column.role == Role::Target,
                categories: column.categories.clone(),
            })
            .collect();
        let model_input = &schemas[plan.stages[extent.model].inputs[0]];
        let manifest = Manifest {
            format: FORMAT,
            pipeline: plan.pipeline.clone(),
            about: plan.about.clone(),
            seed: plan.seed,
            input,
            stages,
            roles: model_input
                .columns
                .iter()
                .filter(|column| !matches!(column.role, Role::Feature | Role::Internal))
                .map(|column| (column.name.clone(), column.role))
                .collect(),
            metrics: metrics.to_vec(),
        };
        let mut text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Error::State(error.to_string()))?;
        text.push(b'\n');
        files.insert(MANIFEST.to_owned(), text);
        let sums: String = files
            .iter()
            .map(|(name, bytes)| format!("{}  {name}\n", hex(&Sha256::digest(bytes))))
            .collect();
        let id = hex(&Sha256::digest(sums.as_bytes()))[..12].to_owned();
        files.insert(SUMS.to_owned(), sums.into_bytes());

        let target = folder.join(&id);
        if verify(&target).is_ok() {
            return Ok(Written { id, folder: target });
        }
        let failed = |error| Error::writing(&target, error);
        fs::create_dir_all(folder).map_err(failed)?;
        let temporary = tempfile::Builder::new()
            .prefix(".bundle-")
            .tempdir_in(folder)
            .map_err(failed)?;
        for (name, bytes) in &files {
            write_atomically(&temporary.path().join(name), bytes)?;
        }
        put(temporary.path(), &target).map_err(failed)?;
        Ok(Written { id, folder: target })
    }
}

/// The columns before these operations that make the wanted columns after them.
fn needed(operations: &[Operation], mut wanted: BTreeSet<String>) -> BTreeSet<String> {
    for operation in operations.iter().rev() {
        let made = match operation {
            Operation::Project(columns) | Operation::With(columns) => columns.as_slice(),
            Operation::Window { aggregates, .. } => aggregates.as_slice(),
            _ => {
                wanted.extend(operation.reads());
                continue;
            }
        };
        let mut before: BTreeSet<String> = wanted
            .iter()
            .filter(|name| made.iter().all(|(output, _)| output != *name))
            .cloned()
            .collect();
        let mut any = false;
        for (_, expression) in made.iter().filter(|(output, _)| wanted.contains(output)) {
            any = true;
            before.extend(expression.columns());
        }
        if let Operation::Window { by, over, .. } = operation
            && any
        {
            before.extend(by.iter().cloned());
            before.insert(over.clone());
        }
        wanted = before;
    }
    wanted
}

fn lowered(stage: &dyn Stage, state: Option<&State>, schemas: &[Schema]) -> Result<Vec<Operation>> {
    match (stage.shape(), state) {
        (Shape::Relational(relational), _) => relational.lower(schemas),
        (Shape::Estimator(estimator), Some(state)) => estimator.lower(state, schemas),
        (Shape::Model(model), Some(state)) => {
            let input = schemas.first().cloned().unwrap_or_default();
            Ok(vec![predicted(stage, model, state, input)?])
        }
        _ => Err(Error::State(
            "a stage of the scoring plan has no relational form".to_owned(),
        )),
    }
}

/// The input with the columns that a fitted model adds: the check may not have known them, since only the rows tell the classes.
pub(crate) fn with_predictions(
    stage: &dyn Stage,
    predictor: &dyn Predictor,
    input: Schema,
) -> Result<Schema> {
    let mut quiet = CheckContext {
        stage: "",
        seed: 0,
        directory: Path::new("."),
        capabilities: &Capabilities::default(),
        problems: Vec::new(),
    };
    // Its problems were told when it was checked; here it only says what its columns are for.
    let declared = stage.check(std::slice::from_ref(&input), &mut quiet);
    let none = DataFrame::empty_with_schema(&input.to_polars());
    let mut schema = Schema {
        facts: declared.facts.clone(),
        ..input
    };
    for column in predictor.predict(&none)? {
        let name = column.name().as_str();
        schema.set(match declared.column(name) {
            Some(declared) => declared.clone(),
            None => Column::new(name, column.dtype().clone()).with_role(Role::Internal),
        });
    }
    Ok(schema)
}

/// A model whose predictions another model learns from, as an operation: its columns stand behind the others.
fn predicted(
    stage: &dyn Stage,
    model: &dyn Model,
    state: &State,
    input: Schema,
) -> Result<Operation> {
    let predictor: Arc<dyn Predictor> = model.load(state)?.into();
    let reads = model.features(&input).into_iter().collect();
    let schema = with_predictions(stage, &*predictor, input)?;
    Ok(Operation::Local(Local {
        name: "predict",
        reads,
        keeps_rows: true,
        schema,
        apply: Arc::new(move |frame| {
            let predictor = Arc::clone(&predictor);
            let predict = move |mut data: DataFrame| {
                let columns = predictor
                    .predict(&data)
                    .map_err(|error| PolarsError::ComputeError(error.to_string().into()))?;
                for column in columns {
                    data.with_column(column)?;
                }
                Ok(data)
            };
            Ok(frame.map(
                predict,
                AllowedOptimizations::empty(),
                None,
                Some("predict"),
            ))
        }),
    }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a bundle is refused, or its input.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is not a bundle, or not whole.
    #[error("`{}` is not a sound bundle: {reason}", path.display())]
    Unsound {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The rows to score do not fit the bundle.
    #[error("{message}")]
    Input {
        /// What does not fit.
        message: String,
        /// What to do about it.
        help: Option<String>,
    },
    /// A stage failed while scoring.
    #[error("stage `{stage}`: {error}")]
    Stage {
        /// The stage's id.
        stage: String,
        /// Its error.
        error: Error,
    },
}

/// Puts a finished bundle in its place. Another run may do the same at the same moment: whichever comes first, the bundle of
/// that name has the same bytes.
fn put(finished: &Path, target: &Path) -> io::Result<()> {
    if fs::rename(finished, target).is_ok() {
        return Ok(());
    }
    if verify(target).is_ok() {
        return Ok(());
    }
    // It is there but does not hold together: it goes aside first, so that the name never leads to half a bundle.
    let aside = finished.with_extension("aside");
    fs::rename(target, &aside)?;
    let put = fs::rename(finished, target);
    fs::remove_dir_all(&aside)?;
    match put {
        Err(error) if verify(target).is_err() => Err(error),
        _ => Ok(()),
    }
}

/// What the system answered, without its number.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// Checks that every file of the bundle is there with the bytes it was written with, and no other.
pub(crate) fn verify(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, BundleError> {
    let unsound = |reason: String| BundleError::Unsound {
        path: folder.to_owned(),
        reason,
    };
    let sums = fs::read(folder.join(SUMS))
        .map_err(|error| unsound(format!("cannot read `{SUMS}`: {}", in_words(&error))))?;
    let sums = String::from_utf8(sums).map_err(|_| unsound(format!("`{SUMS}` is damaged")))?;
    let mut files = BTreeMap::new();
    for line in sums.strip_suffix('\n').unwrap_or_default().split('\n') {
        let entry = line.split_once("  ").filter(|(sum, name)| {
            let plain = |part: &str| {
                !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0'])
            };
            sum.len() == 64 && name.split('/').all(plain)
        });
        let (sum, name) = entry.ok_or_else(|| unsound(format!("`{SUMS}` is damaged")))?;
        let bytes = fs::read(folder.join(name))
            .map_err(|error| unsound(format!("cannot read `{name}`: {}", in_words(&error))))?;
        if hex(&Sha256::digest(&bytes)) != sum {
            return Err(unsound(format!(
                "`{name}` is not what was written; its SHA-256 differs from `{SUMS}`"
            )));
        }
        files.insert(name.to_owned(), bytes);
    }
    let rewritten: String = files
        .iter()
        .map(|(name, bytes)| format!("{}  {name}\n", hex(&Sha256::digest(bytes))))
        .collect();
    if rewritten != sums {
        return Err(unsound(format!("`{SUMS}` is damaged")));
    }
    Ok(files)
}

struct Replayed {
    id: String,
    operations: Vec<Operation>,
    schema: Schema,
    looks_at_other_rows: bool,
}

/// An opened bundle, ready to score.
pub struct Bundle {
    /// What it says of itself.
    pub manifest: Manifest,
    replayed: Vec<Replayed>,
    model: String,
    predictor: Box<dyn Predictor>,
}

impl Bundle {
    /// Opens a bundle; refuses one that is damaged, from a newer takt, or whose kinds this takt does not have.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(folder: &Path, registry: &Registry) -> Result<Self, BundleError> {
        let unsound = |reason: String| BundleError::Unsound {
            path: folder.to_owned(),
            reason,
        };
        if !folder.is_dir() {
            return Err(unsound("there is no such folder".to_owned()));
        }
        let files = verify(folder)?;
        let manifest = files
            .get(MANIFEST)
            .ok_or_else(|| unsound(format!("it has no `{MANIFEST}`")))?;
        let header: Value =
            serde_json::from_slice(manifest).map_err(|error| unsound(error.to_string()))?;
        if header.get("format").and_then(Value::as_u64) != Some(u64::from(FORMAT)) {
            let format = header
                .get("format")
                .map(Value::to_string)
                .unwrap_or_default();
            return Err(unsound(format!(
                "its format is {format}; this takt reads format {FORMAT}"
            )));
        }
        let manifest: Manifest =
            serde_json::from_slice(manifest).map_err(|error| unsound(error.to_string()))?;

        let mut schema = input_schema(&manifest);
        // The run's fitted stages stood below a split; some look at that fact.
        schema.facts.partitions = vec![Partition::Train, Partition::Test];
        let mut replayed = Vec::new();
        let mut model = None;
        for (index, bundled) in manifest.stages.iter().enumerate() {
            let failed = |error: Error| BundleError::Stage {
                stage: bundled.id.clone(),
                error,
            };
            let kind = registry.get(&bundled.kind).ok_or_else(|| {
                unsound(format!("this takt has no stage kind `{}`", bundled.kind))
            })?;
            if kind.version != bundled.version {
                return Err(unsound(format!(
                    "stage `{}` was made by version {} of `{}`; this takt has version {}",
                    bundled.id, bundled.version, bundled.kind, kind.version
                )));
            }
            let params = serde_yaml::to_value(&bundled.params)
                .map_err(|error| unsound(error.to_string()))?;
            let stage = (kind.parse)(&params).map_err(|error| unsound(error.to_string()))?;
            let state = match &bundled.state {
                Some(name) => {
                    let bytes = files
                        .get(name)
                        .ok_or_else(|| unsound(format!("it has no `{name}`")))?;
                    Some(State::from_bytes(bytes).map_err(failed)?)
                }
                None => None,
            };
            let is_last = index + 1 == manifest.stages.len();
            if let (Shape::Model(shape), Some(state), true) = (stage.shape(), &state, is_last) {
                model = Some((bundled.id.clone(), shape.load(state).map_err(failed)?));
                continue;
            }
            let operations = lowered(
                stage.as_ref(),
                state.as_ref(),
                std::slice::from_ref(&schema),
            )
            .map_err(failed)?;
            let mut after = output_schema(&operations, std::slice::from_ref(&schema));
            for column in &mut after.columns {
                if let Some(role) = manifest.roles.get(&column.name) {
                    column.role = *role;
                }
            }
            let by_itself = match stage.shape() {
                Shape::Relational(relational) => relational.looks_at_other_rows(),
                _ => false,
            };
            let is_window = |operation: &Operation| matches!(operation, Operation::Window { .. });
            replayed.push(Replayed {
                id: bundled.id.clone(),
                looks_at_other_rows: by_itself || operations.iter().any(is_window),
                operations,
                schema: std::mem::replace(&mut schema, after),
            });
        }
        let (model, predictor) = model.ok_or_else(|| unsound("it has no model".to_owned()))?;
        Ok(Self {
            manifest,
            replayed,
            model,
            predictor,
        })
    }

    /// The stages whose columns depend on other rows, which can only be those that are scored together: histories, counts of
    /// what is shared.
    pub fn looking_at_other_rows(&self) -> Vec<&str> {
        self.replayed
            .iter()
            .filter(|stage| stage.looks_at_other_rows)
            .map(|stage| stage.id.as_str())
            .collect()
    }

    /// The columns that scoring needs; a reader of text formats takes its types from here.
    pub fn input_schema(&self) -> Schema {
        input_schema(&self.manifest)
    }

    /// Scores the rows: the same columns in the same order, and the model's outputs behind them.
    ///
    /// # Errors
    /// A column is missing, of another type, or holds a null where training had none; a stage refuses a value.
    pub fn score(&self, rows: DataFrame) -> Result<DataFrame, BundleError> {
        let prepared = self.prepared(&rows)?;
        let mut frame: LazyFrame = prepared.lazy();
        let mut steps = Vec::new();
        for stage in &self.replayed {
            frame = local::apply(
                &stage.operations,
                &[frame],
                std::slice::from_ref(&stage.schema),
            )
            .map_err(|error| BundleError::Stage {
                stage: stage.id.clone(),
                error,
            })?;
            steps.push((&stage.id, frame.clone()));
        }
        let features = streaming::unshared(frame).collect().map_err(|error| {
            // The first stage at which the query fails is the one to blame.
            let fails = |(_, step): &&(&String, LazyFrame)| {
                streaming::unshared(step.clone()).collect().is_err()
            };
            let stage = steps
                .iter()
                .find(fails)
                .map_or(&self.model, |(stage, _)| stage);
            BundleError::Stage {
                stage: stage.clone(),
                error: error.into(),
            }
        })?;
        let failed = |error: Error| BundleError::Stage {
            stage: self.model.clone(),
            error,
        };
        let mut scored = rows;
        for column in self.predictor.predict(&features).map_err(failed)? {
            if scored.column(column.name()).is_ok() {
                return Err(BundleError::Input {
                    message: taken(column.name()),
                    help: None,
                });
            }
            scored
                .with_column(column)
                .map_err(|error| failed(error.into()))?;
        }
        Ok(scored)
    }

    /// The columns that the plan needs, with the types it needs; nothing else reaches it.
    fn prepared(&self, rows: &DataFrame) -> Result<DataFrame, BundleError> {
        let mut problems = Vec::new();
        let mut columns = Vec::new();
        for input in &self.manifest.input {
            let Ok(column) = rows.column(&input.name) else {
                let near = closest(
                    &input.name,
                    rows.get_column_names()
                        .into_iter()
                        .map(|name| name.as_str()),
                )
                .map(|near| format!(" (is it `{near}`?)"))
                .unwrap_or_default();
                problems.push(format!(
                    "the column `{}` ({}) is missing{near}",
                    input.name, input.type_name
                ));
                continue;
            };
            let column = match fitting(column, input) {
                Ok(column) => column,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            if !input.nullable && column.null_count() > 0 {
                let first = column
                    .as_materialized_series()
                    .is_null()
                    .iter()
                    .position(|null| null == Some(true));
                let row = first.unwrap_or_default() + 1;
                let where_it_is = match column.null_count() {
                    1 => format!("a null in row {row}"),
                    count => format!("{count} nulls, the first in row {row}"),
                };
                problems.push(format!(
                    "the column `{}` has {where_it_is}; the training data had none",
                    input.name
                ));
            }
            columns.push(column);
        }
        // What every classifier adds; other outputs' names are only known once the model has spoken.
        if let Some(name) = rows
            .get_column_names()
            .into_iter()
            .map(|name| name.as_str())
            .find(|name| {
                matches!(*name, "prediction" | "score") || name.starts_with("probability_")
            })
        {
            problems.push(taken(name));
        }
        if !problems.is_empty() {
            return Err(BundleError::Input {
                message: problems.join("; "),
                help: Some(format!(
                    "the bundle needs: {}",
                    self.manifest
                        .input
                        .iter()
                        .map(|input| format!("`{}` ({})", input.name, input.type_name))
                        .collect::<Vec<_>>()
                        .join(", ")
                )),
            });
        }
        DataFrame::new(rows.height(), columns).map_err(|error| BundleError::Input {
            message: error.to_string(),
            help: None,
        })
    }
}

fn taken(column: &str) -> String {
    format!("the column `{column}` has the name of a model output; rename or drop it")
}

fn input_schema(manifest: &Manifest) -> Schema {
    let column = |input: &InputColumn| {
        let mut column = Column::new(&input.name, input.dtype.clone()).with_role(input.role);
        column.categories = input.categories.clone();
        column
    };
    Schema::new(manifest.input.iter().map(column).collect())
}

/// The column in the type that the plan needs, where no value changes by that.
fn fitting(
    column: &polars::prelude::Column,
    input: &InputColumn,
) -> Result<polars::prelude::Column, String> {
    let from = column.dtype();
    if *from == input.dtype {
        return Ok(column.clone());
    }
    let mistyped = || {
        format!(
            "the column `{}` is {}, but the bundle needs {}",
            input.name,
            type_name(from),
            input.type_name
        )
    };
    let holds = match (from, &input.dtype) {
        (DataType::Null, _) => true,
        (from, to) if from.is_integer() && (to.is_integer() || to.is_float()) => true,
        (from, to) if from.is_float() && to.is_float() => true,
        // NDJSON has only lists.
        (DataType::List(_) | DataType::Array(..), DataType::Array(..)) => true,
        // Times have several units.
        (DataType::Datetime(_, None), DataType::Datetime(_, None)) => true,
        (DataType::Date, DataType::Datetime(_, None)) => true,
        _ => false,
    };
    if !holds {
        return Err(mistyped());
    }
    let cast = column.strict_cast(&input.dtype).map_err(|error| {
        let detail = error.to_string();
        format!(
            "{}: {}",
            mistyped(),
            detail.lines().next().unwrap_or_default()
        )
    })?;
    // A whole number beyond 2^53 has no exact f64: never a silently changed number.
    if from.is_integer() && input.dtype.is_float() {
        let back = cast.cast(from).map_err(|error| error.to_string())?;
        if back != *column {
            return Err(format!(
                "{}: some values are too large to be exact",
                mistyped()
            ));
        }
    }
    Ok(cast)
}
