//! Runs a plan on this machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use polars::{
    lazy::dsl::{col, lit},
    prelude::{
        DataFrame, IntoLazy, IpcReader, IpcWriter, LazyFrame, NamedFrom, PolarsResult, SerReader,
        SerWriter, Series,
    },
};
use serde::{Deserialize, Serialize};
use taktline_core::{
    Bound, Cancellation, Capabilities, CheckContext, Diagnostic, Error, Evaluate, Evaluation,
    Expectation, Expression, FitContext, Frame, JoinKind, Model, Operation, Output, PARTITION,
    ParamStep, Partition, Predictor, Problem, Progress, ProgressEvent, Requirement, Result, Schema,
    Severity, Shape, Sink, SourceContext, State, Training, closest, counted, output_schema, path,
    quoted, thousands,
};
use taktline_spec::{Plan, PlannedStage};
use taktline_store::{Promotion, new_run_id, now};

mod champion;
mod sieved;

use crate::{
    bundle::{self, Extent, Scoring},
    explain,
    key::Key,
    lease::Lease,
    local::{self, Places},
    quarantine::{self, Quarantine},
    record::{PlanRecord, StageRecord, Unrecorded, records},
    store::{Payload, Store},
    streaming,
    summary::{ColumnChanges, GateResult, RunSummary, StageOutcome, StageSummary},
    tally::{Queries, Tally, nulls_in},
};

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Make everything again, whatever the cache holds.
    pub fresh: bool,
    /// Names what sinks write; a run with the key of an earlier one that succeeded appends nothing twice.
    pub run_key: Option<String>,
    /// The run's id; made up, where none is given.
    pub run: Option<String>,
}

/// Sees a run go by.
pub trait Observer: Send + Sync {
    /// A stage begins to work (learn, read, evaluate).
    fn started(&self, _stage: &str, _kind: &str) {}
    /// A stage's work moved on.
    fn progress(&self, _stage: &str, _event: ProgressEvent) {}
    /// A stage is done.
    fn finished(&self, _summary: &StageSummary) {}
}

/// Sees nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// What kind of end a failed run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// A stage could not do its work.
    Stage,
    /// An expectation about the data does not hold.
    Expectation,
    /// The user interrupted.
    Interrupted,
}

/// Why a run did not come to its end.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What kind of end.
    pub kind: FailureKind,
    /// The message, at the stage's place in the spec.
    pub diagnostic: Box<Diagnostic>,
    /// Where the rows are that broke a rule, by stage id.
    pub quarantined: Vec<(String, Quarantine)>,
    /// What was done and found until then, where an evaluation had come to its end.
    pub found: Option<Box<RunSummary>>,
}

/// An error and the stage that it belongs to.
pub(crate) struct StageError {
    stage: usize,
    error: Error,
    expectation: bool,
}

pub(crate) type StageResult<T> = Result<T, StageError>;

trait At<T> {
    fn at(self, stage: usize) -> StageResult<T>;
}

impl<T> At<T> for Result<T> {
    fn at(self, stage: usize) -> StageResult<T> {
        self.map_err(|error| StageError {
            stage,
            error,
            expectation: false,
        })
    }
}

/// Runs the plan.
///
/// # Errors
/// The first stage that fails ends the run; what was finished stays in the cache.
pub fn run(
    plan: &Plan,
    store: &Store,
    directory: &Path,
    options: &RunOptions,
    observer: &dyn Observer,
    cancellation: &Cancellation,
) -> Result<RunSummary, Failure> {
    let start = Instant::now();
    let name = options.run.clone().unwrap_or_else(|| new_run_id(now()));
    let mut lease = Lease::take(store, &name)
        .inspect_err(|error| tracing::debug!(%error, "nothing tells `takt gc` of this run"))
        .ok();
    if options.fresh {
        forget(plan, directory).map_err(|unrecorded| unreadable(plan, &unrecorded))?;
    }
    let records = records(plan, store, directory, options.fresh)
        .map_err(|unrecorded| unreadable(plan, &unrecorded))?;
    if let Some(lease) = &mut lease
        && let Err(error) = lease.hold(records.iter().map(|record| record.key))
    {
        tracing::debug!(%error, "`takt gc` is not told what this run uses");
    }
    tell_drift(plan, store, &records, observer);
    let mut run = Run::new(
        plan,
        store,
        directory,
        options,
        observer,
        cancellation,
        records,
    );
    run.run = name;
    match run.all() {
        Ok(()) => {
            let record = PlanRecord {
                stages: plan
                    .stages
                    .iter()
                    .map(|stage| stage.id.clone())
                    .zip(run.records.iter().cloned())
                    .collect(),
            };
            if let Err(error) = store.put_record(&plan.pipeline, &record) {
                tracing::warn!(%error, "the run's record was not kept; the next `takt plan` cannot explain changes");
            }
            Ok(run.summary(start.elapsed().as_secs_f64()))
        }
        Err(failed) => Err(run.broken_off(failed, start.elapsed().as_secs_f64())),
    }
}

/// Sources read everything again.
fn forget(plan: &Plan, directory: &Path) -> Result<(), Unrecorded> {
    let cx = SourceContext {
        seed: plan.seed,
        directory,
        run_key: None,
    };
    for (index, stage) in plan.stages.iter().enumerate() {
        if let Shape::Source(source) = stage.stage.shape() {
            source.forget(&cx).map_err(|error| Unrecorded {
                stage: Some(index),
                error,
            })?;
        }
    }
    Ok(())
}

/// Says which sources have other columns than in the last run.
fn tell_drift(plan: &Plan, store: &Store, records: &[StageRecord], observer: &dyn Observer) {
    let Some(last) = store.last_record::<PlanRecord>(&plan.pipeline) else {
        return;
    };
    for (stage, record) in plan.stages.iter().zip(records) {
        let before = last.stages.get(&stage.id);
        if let Some(drift) = before.and_then(|before| explain::drift(record, before)) {
            let text = format!("other columns than in the last run: {drift}");
            observer.progress(&stage.id, ProgressEvent::Message(text));
        }
    }
}

/// A source that cannot be read, at its place in the spec.
fn unreadable(plan: &Plan, unrecorded: &Unrecorded) -> Failure {
    let stage = unrecorded.stage.map(|index| &plan.stages[index]);
    let message = match stage {
        Some(stage) => format!("stage `{}`: {}", stage.id, unrecorded.error),
        None => unrecorded.error.to_string(),
    };
    let mut diagnostic = Diagnostic::error("source-unreadable", message);
    diagnostic.location = stage.map(|stage| stage.location.clone());
    match (unrecorded.stage, &unrecorded.error) {
        (Some(index), Error::Problem(problem)) => {
            diagnostic = taktline_spec::locate(plan, index, problem);
            diagnostic.message =
                format!("stage `{}`: {}", plan.stages[index].id, diagnostic.message);
        }
        (_, error) => diagnostic.help.extend(error.help().map(str::to_owned)),
    }
    Failure {
        kind: FailureKind::Stage,
        diagnostic: Box::new(diagnostic),
        quarantined: Vec::new(),
        found: None,
    }
}

/// The rows after the plan's last stage, for tests and benchmarks: nothing is cached and nothing written.
///
/// # Errors
/// The message of the stage that failed.
pub fn frame(plan: &Plan, directory: &Path) -> Result<DataFrame> {
    let store = Store::new(directory);
    let records = records(plan, &store, directory, false)?;
    let (options, cancellation) = (
        RunOptions {
            fresh: true,
            ..RunOptions::default()
        },
        Cancellation::default(),
    );
    let mut run = Run::new(
        plan,
        &store,
        directory,
        &options,
        &crate::Unobserved,
        &cancellation,
        records,
    );
    let last = plan.stages.len().saturating_sub(1);
    let (data, _) = run.whole(last).map_err(|failed| failed.error)?;
    Ok(data)
}

/// The folders in which the plan's sinks write files.
pub fn output_folders(plan: &Plan, directory: &Path) -> BTreeSet<PathBuf> {
    let cx = SourceContext {
        seed: plan.seed,
        directory,
        run_key: None,
    };
    let target = |stage: &PlannedStage| match stage.stage.shape() {
        Shape::Sink(sink) => sink.target(&cx),
        _ => None,
    };
    plan.stages
        .iter()
        .filter_map(target)
        // A link's file is written where the link leads.
        .map(|path| path.canonicalize().unwrap_or(path))
        .filter_map(|path| {
            let folder = path.parent()?;
            let is_here = folder.as_os_str().is_empty();
            Some(if is_here {
                PathBuf::from(".")
            } else {
                folder.to_owned()
            })
        })
        .collect()
}

/// The rows after a stage, and what their columns are. What earlier runs kept is used, what is learned on the way is kept,
/// and no sink writes.
///
/// # Errors
/// The first stage above that fails.
pub fn rows_after(
    plan: &Plan,
    stage: usize,
    store: &Store,
    directory: &Path,
    observer: &dyn Observer,
    cancellation: &Cancellation,
) -> Result<Frame, Failure> {
    let records = records(plan, store, directory, false)
        .map_err(|unrecorded| unreadable(plan, &unrecorded))?;
    let options = RunOptions::default();
    let mut run = Run::new(
        plan,
        store,
        directory,
        &options,
        observer,
        cancellation,
        records,
    );
    match run.whole(stage) {
        Ok((data, schema)) => Ok(Frame { data, schema }),
        Err(failed) => Err(run.failure(failed)),
    }
}

/// How many stages read each stage.
pub(crate) fn readers(plan: &Plan) -> Vec<usize> {
    let mut readers = vec![0; plan.stages.len()];
    for input in plan.stages.iter().flat_map(|stage| &stage.inputs) {
        readers[*input] += 1;
    }
    readers
}

pub(crate) struct Run<'a> {
    plan: &'a Plan,
    store: &'a Store,
    directory: &'a Path,
    options: &'a RunOptions,
    observer: &'a dyn Observer,
    cancellation: &'a Cancellation,
    records: Vec<StageRecord>,
    readers: Vec<usize>,
    /// The scoring plan of each deploy stage; its cut is watched for nulls.
    extents: Vec<Option<Extent>>,
    frames: Vec<Option<LazyFrame>>,
    /// What the stages' rows really look like; differs from the plan where only training knows (one column a category).
    schemas: Vec<Option<Schema>>,
    states: Vec<Option<State>>,
    /// Models that were loaded to tell their columns and have still to predict.
    predictors: Vec<Option<Box<dyn Predictor>>>,
    /// Rows that models learned from and have still to predict.
    model_inputs: Vec<Option<DataFrame>>,
    /// The stage whose columns are all wanted, whatever the stages below read.
    wanted_whole: Option<usize>,
    queries: Queries,
    tallies: Vec<Arc<Tally>>,
    /// What was said while stages learned in this run.
    messages: BTreeMap<usize, Vec<String>>,
    seconds: Vec<f64>,
    outcomes: Vec<StageOutcome>,
    evaluations: Vec<(usize, Evaluation)>,
    expectations: Vec<(usize, Vec<Expectation>)>,
    quarantined: Vec<(usize, Quarantine)>,
    gates: Vec<GateResult>,
    /// What is wrong with the pipeline itself, and came out when all was done.
    faults: Vec<Diagnostic>,
    outputs: Vec<(String, Output)>,
    bundle: Option<PathBuf>,
    promote: Option<Promotion>,
    run: String,
}

/// What is kept of a deploy: where the bundle went.
#[derive(Serialize, Deserialize)]
struct Deployed {
    name: String,
    id: String,
    gates: Vec<(String, f64)>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        store: &'a Store,
        directory: &'a Path,
        options: &'a RunOptions,
        observer: &'a dyn Observer,
        cancellation: &'a Cancellation,
        records: Vec<StageRecord>,
    ) -> Self {
        let count = plan.stages.len();
        let queries = Queries::default();
        let extents = (0..count)
            .map(|index| match plan.stages[index].stage.shape() {
                Shape::Deploy(_) => bundle::extent(plan, index).ok(),
                _ => None,
            })
            .collect();
        Self {
            plan,
            store,
            directory,
            options,
            observer,
            cancellation,
            records,
            readers: readers(plan),
            extents,
            frames: (0..count).map(|_| None).collect(),
            schemas: vec![None; count],
            states: (0..count).map(|_| None).collect(),
            predictors: (0..count).map(|_| None).collect(),
            model_inputs: vec![None; count],
            wanted_whole: None,
            tallies: (0..count).map(|_| Tally::new(&queries)).collect(),
            messages: BTreeMap::new(),
            queries,
            seconds: vec![0.0; count],
            outcomes: vec![StageOutcome::NotNeeded; count],
            evaluations: Vec::new(),
            expectations: Vec::new(),
            quarantined: Vec::new(),
            gates: Vec::new(),
            faults: Vec::new(),
            outputs: Vec::new(),
            bundle: None,
            promote: None,
            run: new_run_id(now()),
        }
    }

    /// Every stage that has an effect, in order; frames are made when one of them asks.
    fn all(&mut self) -> StageResult<()> {
        for index in 0..self.plan.stages.len() {
            self.cancellation.check().at(index)?;
            self.check_again(index)?;
            let stage = &self.plan.stages[index];
            match stage.stage.shape() {
                Shape::Expect(_) => {
                    let _ = self.examined(index)?;
                }
                Shape::Estimator(_) | Shape::Model(_) => {
                    self.state(index)?;
                }
                Shape::Evaluate(_) => self.evaluate(index)?,
                Shape::Sink(_) => self.sink(index)?,
                Shape::Deploy(_) => self.deploy(index)?,
                Shape::Source(_) | Shape::Relational(_) | Shape::Split(_)
                    if self.readers[index] == 0 =>
                {
                    // Nothing reads it: the user wants to see that it works.
                    let frame = self.frame(index)?;
                    let began = Instant::now();
                    let data = self.collect(frame, index)?;
                    self.ran(index, began, Some(data.height()));
                }
                Shape::Source(_) | Shape::Relational(_) | Shape::Split(_) => {}
            }
        }
        Ok(())
    }

    /// These rows are what the stage gives.
    pub(crate) fn give(&mut self, index: usize, data: DataFrame) {
        self.tallies[index].set_rows(data.height());
        self.schemas[index] = Some(self.plan.stages[index].schema.clone());
        self.frames[index] = Some(data.lazy());
    }

    /// All columns of the rows after this stage, and what they are.
    pub(crate) fn whole(&mut self, index: usize) -> StageResult<(DataFrame, Schema)> {
        self.wanted_whole = Some(index);
        let frame = self.frame(index)?;
        let data = self.collect(frame, index)?;
        Ok((data, self.schema(index)?))
    }

    fn cached<T>(&self, index: usize, get: impl FnOnce(&Store) -> Option<T>) -> Option<T> {
        if self.options.fresh || !self.plan.stages[index].cache {
            return None;
        }
        get(self.store)
    }

    /// Runs the query; the lazy stages that it holds are noted as part of `index`.
    fn collect(&mut self, frame: LazyFrame, index: usize) -> StageResult<DataFrame> {
        self.cancellation.check().at(index)?;
        self.queries.begin();
        let data = streaming::unshared(frame)
            .collect()
            .map_err(|error| self.explained(index, error.into(), streaming::make))?;
        self.cancellation.check().at(index)?;
        self.note_fused(index);
        Ok(data)
    }

    /// A failed query, told by the source above whose data made it fail, where one can tell, or at the first stage that
    /// fails when the query is run up to there.
    fn explained(
        &self,
        index: usize,
        mut error: Error,
        run: fn(LazyFrame) -> PolarsResult<()>,
    ) -> StageError {
        // What is no failed query, such as a file that cannot be written, is this stage's own.
        if !matches!(error, Error::Polars(_)) {
            return StageError {
                stage: index,
                error,
                expectation: false,
            };
        }
        let mut above = bundle::ancestors(self.plan, index);
        above.insert(index);
        for stage in &above {
            if let Shape::Source(source) = self.plan.stages[*stage].stage.shape() {
                error = source.explain(error, &self.source_context());
                if !matches!(error, Error::Polars(_)) {
                    return StageError {
                        stage: *stage,
                        error,
                        expectation: false,
                    };
                }
            }
        }
        let fails = |stage: &usize| {
            let frame = self.frames[*stage].clone();
            frame.is_some_and(|frame| run(frame).is_err())
        };
        let stage = above.iter().copied().find(fails).unwrap_or(index);
        if let (Some(row), Some(help)) = (self.first_unfit(stage), error.help()) {
            let message = format!("{error}; the first is in row {}", thousands(row));
            let problem = Problem::error("query-failed", path![], message).help(help);
            error = Error::Problem(Box::new(problem));
        }
        StageError {
            stage,
            error,
            expectation: false,
        }
    }

    /// In which row of the stage's input, counted from 1, the first value stands that does not fit its new type.
    fn first_unfit(&self, stage: usize) -> Option<u64> {
        let operations = self.planned_operations(stage)?;
        let schemas = self.planned_schemas(stage);
        let input = self.frames[self.input(stage)].clone()?;
        // Only of the first operation are the rows those of the input.
        let (Operation::With(columns) | Operation::Project(columns)) = operations.first()? else {
            return None;
        };
        let rows = columns.iter().filter_map(|(_, value)| {
            let Expression::Cast {
                operand,
                to,
                strict: true,
            } = value
            else {
                return None;
            };
            let lenient = Expression::Cast {
                operand: operand.clone(),
                to: to.clone(),
                strict: false,
            };
            let both = [("before", (**operand).clone()), ("after", lenient)]
                .map(|(name, value)| (name.to_owned(), value));
            let both = Operation::Project(both.to_vec());
            let frame = local::apply(&[both], std::slice::from_ref(&input), &schemas[..1]).ok()?;
            let data = streaming::unshared(frame).collect().ok()?;
            let is_null = |column: &str| Some(data.column(column).ok()?.is_null());
            let unfit = !is_null("before")? & is_null("after")?;
            unfit.iter().position(|unfit| unfit == Some(true))
        });
        rows.min().map(|row| row as u64 + 1)
    }

    /// The lazy stages above `index` have worked as a part of its query.
    fn note_fused(&mut self, index: usize) {
        let mut above = self.plan.stages[index].inputs.clone();
        while let Some(stage) = above.pop() {
            if self.outcomes[stage] == StageOutcome::NotNeeded
                && matches!(
                    self.plan.stages[stage].stage.shape(),
                    Shape::Source(_) | Shape::Relational(_)
                )
            {
                self.outcomes[stage] = StageOutcome::Fused {
                    into: self.plan.stages[index].id.clone(),
                };
                above.extend(&self.plan.stages[stage].inputs);
            }
        }
    }

    fn started(&self, index: usize) -> Instant {
        let stage = &self.plan.stages[index];
        self.observer.started(&stage.id, stage.kind.name);
        Instant::now()
    }

    /// `rows_out` where they were counted; an estimator passes its rows on without.
    fn ran(&mut self, index: usize, began: Instant, rows_out: Option<usize>) {
        self.seconds[index] += began.elapsed().as_secs_f64();
        if let Some(rows) = rows_out {
            self.tallies[index].set_rows(rows);
        }
        self.outcomes[index] = StageOutcome::Ran;
        self.observer.finished(&self.stage_summary(index));
    }

    fn was_cached(&mut self, index: usize) {
        if self.outcomes[index] == StageOutcome::NotNeeded {
            self.outcomes[index] = StageOutcome::Cached;
            self.observer.finished(&self.stage_summary(index));
        }
    }

    fn input(&self, index: usize) -> usize {
        // The spec refuses a stage with fewer inputs than its arity.
        self.plan.stages[index]
            .inputs
            .first()
            .copied()
            .unwrap_or(index)
    }

    fn source_context(&self) -> SourceContext<'a> {
        SourceContext {
            seed: self.plan.seed,
            directory: self.directory,
            run_key: None,
        }
    }

    /// The rows after this stage, lazily.
    fn frame(&mut self, index: usize) -> StageResult<LazyFrame> {
        if let Some(frame) = &self.frames[index] {
            return Ok(frame.clone());
        }
        let plan = self.plan;
        let stage = &plan.stages[index];
        let mut frame = match stage.stage.shape() {
            Shape::Source(source) => {
                let frame = source.scan(&self.source_context()).at(index)?;
                self.tallies[index].count_rows(frame)
            }
            Shape::Relational(relational) => {
                let schemas = self.input_schemas(index)?;
                let operations = relational.lower(&schemas).at(index)?;
                let frame = self.apply(index, &operations, &schemas)?;
                if operations.iter().all(Operation::keeps_rows) {
                    frame
                } else {
                    self.tallies[index].count_rows(frame)
                }
            }
            Shape::Expect(_) => self.examined(index)?,
            Shape::Split(_) => self.split(index)?,
            Shape::Estimator(estimator) => {
                let schemas = self.input_schemas(index)?;
                let state = self.state(index)?;
                let operations = estimator.lower(&state, &schemas).at(index)?;
                let frame = self.apply(index, &operations, &schemas)?;
                if estimator.keeps_rows() {
                    frame
                } else {
                    self.tallies[index].count_rows(frame)
                }
            }
            Shape::Model(model) => self.predictions(index, model)?,
            Shape::Evaluate(_) | Shape::Sink(_) | Shape::Deploy(_) => {
                self.frame(self.input(index))?
            }
        };
        if self
            .extents
            .iter()
            .flatten()
            .any(|extent| extent.cut == index)
        {
            frame = self.tallies[index].watch_nulls(frame);
        }
        // Every reader would make the rows anew, and every fit below balance them.
        let is_made_once = self.readers[index] > 1;
        let is_training_only = stage.stage.shape().is_training_only();
        match stage.stage.shape() {
            Shape::Source(_) | Shape::Relational(_) if is_made_once || is_training_only => {
                let began = self.started(index);
                let data = self.collect(frame, index)?;
                self.ran(index, began, Some(data.height()));
                frame = data.lazy();
            }
            // The stage itself may be cached; these are only its rows.
            Shape::Expect(_) | Shape::Estimator(_) if is_made_once || is_training_only => {
                let began = Instant::now();
                frame = self.collect(frame, index)?.lazy();
                self.seconds[index] += began.elapsed().as_secs_f64();
            }
            _ => {}
        }
        self.frames[index] = Some(frame.clone());
        Ok(frame)
    }

    fn input_schemas(&mut self, index: usize) -> StageResult<Vec<Schema>> {
        let inputs = self.plan.stages[index].inputs.clone();
        inputs.into_iter().map(|input| self.schema(input)).collect()
    }

    /// What a stateless stage lowers to, as `check` saw its inputs; `None` for other stages.
    fn planned_operations(&self, index: usize) -> Option<Vec<Operation>> {
        match self.plan.stages[index].stage.shape() {
            Shape::Relational(relational) => relational.lower(&self.planned_schemas(index)).ok(),
            _ => None,
        }
    }

    /// The input schemas as `check` saw them.
    fn planned_schemas(&self, index: usize) -> Vec<Schema> {
        self.plan.stages[index]
            .inputs
            .iter()
            .map(|input| self.plan.stages[*input].schema.clone())
            .collect()
    }

    /// Below a model whose classes only the rows tell, `takt check` lets the names pass that it does not know: by now all are known.
    fn check_again(&mut self, index: usize) -> StageResult<()> {
        let plan = self.plan;
        let stage = &plan.stages[index];
        let mut inputs = stage.inputs.iter().map(|input| &plan.stages[*input].schema);
        if inputs.all(|input| !input.incomplete) {
            return Ok(());
        }
        let inputs = self.input_schemas(index)?;
        let mut cx = CheckContext {
            stage: &stage.id,
            seed: plan.seed,
            directory: self.directory,
            // The plan would not be there, were anything missing.
            capabilities: &Capabilities::default(),
            problems: Vec::new(),
        };
        stage.stage.check(&inputs, &mut cx);
        let mut problems = cx.problems.into_iter();
        match problems.find(|problem| problem.severity == Severity::Error) {
            Some(problem) => Err(Error::Problem(Box::new(problem))).at(index),
            None => Ok(()),
        }
    }

    /// The schema after the stage, with the columns that training made in the place of those that stood for them or were not known.
    fn schema(&mut self, index: usize) -> StageResult<Schema> {
        if let Some(schema) = &self.schemas[index] {
            return Ok(schema.clone());
        }
        let plan = self.plan;
        let stage = &plan.stages[index];
        let is_open = |stage: usize| {
            let schema = &plan.stages[stage].schema;
            schema.incomplete || schema.columns.iter().any(taktline_core::Column::is_open)
        };
        let schema = if !is_open(index) && !bundle::ancestors(plan, index).into_iter().any(is_open)
        {
            stage.schema.clone()
        } else {
            let inputs = self.input_schemas(index)?;
            let mut schema = match stage.stage.shape() {
                Shape::Relational(relational) => {
                    output_schema(&relational.lower(&inputs).at(index)?, &inputs)
                }
                Shape::Estimator(estimator) => {
                    let state = self.state(index)?;
                    output_schema(&estimator.lower(&state, &inputs).at(index)?, &inputs)
                }
                Shape::Model(model) => {
                    let state = self.state(index)?;
                    let predictor = model.load(&state).at(index)?;
                    let input = inputs.into_iter().next().unwrap_or_default();
                    let schema = bundle::with_predictions(&*stage.stage, &*predictor, input);
                    self.predictors[index] = Some(predictor);
                    schema.at(index)?
                }
                // What the others add has names that `check` knew.
                _ => {
                    let mut schema = inputs.into_iter().next().unwrap_or_default();
                    for column in stage
                        .schema
                        .columns
                        .iter()
                        .filter(|column| !column.is_open())
                    {
                        schema.set(column.clone());
                    }
                    schema
                }
            };
            for column in &mut schema.columns {
                if let Some((_, role)) = plan.columns.iter().find(|(name, _)| *name == column.name)
                {
                    *column = column.clone().with_role(*role);
                }
            }
            Schema {
                facts: stage.schema.facts.clone(),
                ..schema
            }
        };
        self.schemas[index] = Some(schema.clone());
        Ok(schema)
    }

    fn apply(
        &mut self,
        index: usize,
        operations: &[Operation],
        schemas: &[Schema],
    ) -> StageResult<LazyFrame> {
        if let Some(joined) = self.joined_in_parts(index, operations)? {
            return local::apply(operations, &[joined], &schemas[..1]).at(index);
        }
        let inputs = self.plan.stages[index].inputs.clone();
        let mut frames = inputs
            .into_iter()
            .map(|input| self.frame(input))
            .collect::<StageResult<Vec<_>>>()?;
        self.sift_right(index, operations, &mut frames, schemas);
        self.lowered(index, operations, &frames, schemas)
    }

    fn lowered(
        &self,
        index: usize,
        operations: &[Operation],
        frames: &[LazyFrame],
        schemas: &[Schema],
    ) -> StageResult<LazyFrame> {
        let stage = &self.plan.stages[index];
        let tally = &self.tallies[index];
        if let [
            first @ Operation::Join {
                kind: JoinKind::Inner,
                ..
            },
            rest @ ..,
        ] = operations
        {
            let joined = tally.count_unmatched(first, frames, schemas).at(index)?;
            let mut schemas = schemas.to_vec();
            schemas[0] = output_schema(std::slice::from_ref(first), &schemas);
            return local::apply(rest, &[joined], &schemas[..1]).at(index);
        }
        // What a cleaning stage does to values is told; that a feature stage makes others is what it is for, but not that it
        // makes none.
        match stage.stage.shape() {
            _ if stage.kind.name.starts_with("clean.") => {
                tally.count_changes(operations, frames, schemas)
            }
            Shape::Estimator(estimator) => {
                let mut frames = frames.to_vec();
                if let (Some(state), [first, ..]) = (&self.states[index], frames.as_mut_slice()) {
                    let mut seen = estimator.seen(state).at(index)?;
                    seen.retain(|(name, _)| schemas[0].column(name).is_some());
                    *first = tally.count_unseen(first.clone(), seen);
                }
                tally.count_nulls_made(|_| true, operations, &frames, schemas)
            }
            Shape::Relational(relational) if !relational.looks_at_other_rows() => {
                let may_lose = Expression::may_lose_values;
                tally.count_nulls_made(may_lose, operations, frames, schemas)
            }
            _ => local::apply(operations, frames, schemas),
        }
        .at(index)
    }

    /// The rows that an aggregate over joined tables reads, in memory; `None` where there is nothing to gain.
    ///
    /// The streaming engine builds a join's table from the smaller side and never holds the larger one, but gives rows in
    /// whatever order they come, and sums real numbers so. It makes the rows here, each with its place; the memory engine
    /// sums them in their order.
    fn joined_in_parts(
        &mut self,
        index: usize,
        operations: &[Operation],
    ) -> StageResult<Option<LazyFrame>> {
        let [Operation::Aggregate { .. }, ..] = operations else {
            return Ok(None);
        };
        let input = self.input(index);
        let schemas = self.planned_schemas(index);
        if self.plan.stages[index].inputs.len() != 1
            || streaming::are_steady(operations, &schemas)
            || !self.has_join(input)
            || !self.is_steady(input)
        {
            return Ok(None);
        }
        let reads = operations[0].reads();
        if reads.is_empty() {
            return Ok(None);
        }
        let (rows, places) = match self.in_any_order(input)? {
            Some((rows, _, places)) => (rows, Some(places)),
            None => (self.frame(input)?, None),
        };
        let carried = places.iter().flat_map(Places::names);
        let wanted: Vec<_> = reads.iter().chain(carried).map(col).collect();
        self.cancellation.check().at(index)?;
        let began = self.started(index);
        self.queries.begin();
        let rows = match streaming::gather(rows.select(wanted)) {
            Ok(rows) => rows,
            Err(error) => {
                // The stages above are looked through one by one: they need a query each.
                let _ = self.frame(input)?;
                return Err(self.explained(index, error.into(), streaming::drain));
            }
        };
        let rows = match places {
            Some(places) => places.restored(&rows).map_err(Error::from).at(index)?,
            None => rows,
        };
        self.note_fused(index);
        self.ran(index, began, None);
        Ok(Some(rows.lazy()))
    }

    /// The rows after this stage in any order, with their places; `None` where no join has a reason to leave the order.
    fn in_any_order(&mut self, index: usize) -> StageResult<Option<(LazyFrame, Schema, Places)>> {
        let Some(operations) = self.planned_operations(index) else {
            return Ok(None);
        };
        let is_watched = |extent: &Extent| extent.cut == index;
        if self.frames[index].is_some()
            || self.readers[index] > 1
            || self.plan.stages[index].stage.shape().is_training_only()
            || self.extents.iter().flatten().any(is_watched)
            || !Places::survive(&operations)
        {
            return Ok(None);
        }
        let inputs = self.plan.stages[index].inputs.clone();
        let mut schemas = self.input_schemas(index)?;
        let (first, schema, mut places) = match self.in_any_order(self.input(index))? {
            Some(above) => above,
            None if operations.iter().any(is_join) => {
                let frame = self.frame(self.input(index))?;
                Places::begin(frame, schemas[0].clone())
            }
            None => return Ok(None),
        };
        let Shape::Relational(relational) = self.plan.stages[index].stage.shape() else {
            return Ok(None);
        };
        let operations = relational.lower(&schemas).at(index)?;
        schemas[0] = schema;
        let mut frames = vec![first];
        for other in inputs.into_iter().skip(1) {
            frames.push(self.frame(other)?);
        }
        self.sift_right(index, &operations, &mut frames, &schemas);
        let operations = places.carried(&operations, &mut frames, &mut schemas);
        let mut frame = self.lowered(index, &operations, &frames, &schemas)?;
        if !operations.iter().all(Operation::keeps_rows) {
            frame = self.tallies[index].count_rows(frame);
        }
        Ok(Some((frame, output_schema(&operations, &schemas), places)))
    }

    /// Whether the query of the rows after this stage joins tables.
    fn has_join(&self, index: usize) -> bool {
        let stage = &self.plan.stages[index];
        let joins = self
            .planned_operations(index)
            .is_some_and(|operations| operations.iter().any(is_join));
        joins || stage.inputs.iter().any(|input| self.has_join(*input))
    }

    /// The rows in memory before `index`, kept for its other readers.
    fn materialised_input(&mut self, index: usize) -> StageResult<DataFrame> {
        let input = self.input(index);
        let frame = self.frame(input)?;
        let data = self.collect(frame, index)?;
        self.frames[input] = Some(data.clone().lazy());
        Ok(data)
    }

    fn examined(&mut self, index: usize) -> StageResult<LazyFrame> {
        if let Some(frame) = &self.frames[index] {
            return Ok(frame.clone());
        }
        let Shape::Expect(expect) = self.plan.stages[index].stage.shape() else {
            return self.frame(index);
        };
        if self.expectations.iter().any(|(known, _)| *known == index) {
            return self.frame(self.input(index));
        }
        let key = self.records[index].key;
        let is_kept = !expect.looks_at_clock();
        let kept = self
            .cached(index, |store| {
                store.get_json::<Examined>(key, Payload::Findings)
            })
            .filter(|kept| is_kept && kept.is_whole());
        if let Some(kept) = kept {
            self.expectations.push((index, kept.found));
            self.quarantined
                .extend(kept.quarantine.map(|quarantine| (index, quarantine)));
            self.was_cached(index);
            return self.frame(self.input(index));
        }
        let began = self.started(index);
        let data = self.materialised_input(index)?;
        let schema = self.schema(self.input(index))?;
        let operations = expect.prepare(&schema).at(index)?;
        let prepared = if operations.is_empty() {
            data.clone()
        } else {
            let frame = local::apply(
                &operations,
                &[data.clone().lazy()],
                std::slice::from_ref(&schema),
            )
            .at(index)?;
            self.collect(frame, index)?
        };
        let rows_schema = schema.clone();
        let schema = output_schema(&operations, &[schema]);
        let mut others = Vec::new();
        for other in self.plan.stages[index].inputs.iter().copied().skip(1) {
            let schema = self.schema(other)?;
            let frame = self.frame(other)?;
            let data = self.collect(frame, index)?;
            others.push(Frame { data, schema });
        }
        let found = expect
            .examine(
                &Frame {
                    data: prepared,
                    schema,
                },
                &others,
            )
            .at(index)?;
        let stage = &self.plan.stages[index].id;
        let quarantine =
            quarantine::write(self.store, &self.run, stage, &data, &rows_schema, &found);
        let broken = |is_error: bool| -> Vec<String> {
            let rules = found.iter();
            rules
                .filter(|rule| rule.is_error == is_error && rule.violations > 0)
                .map(broken_rule)
                .collect()
        };
        let errors = broken(true);
        if !errors.is_empty() {
            let mut message = errors.join("; ");
            let warnings = broken(false).join("; ");
            if !warnings.is_empty() {
                message.push_str(&format!("; and, no more than a warning: {warnings}"));
            }
            match quarantine {
                Ok(quarantine) => self
                    .quarantined
                    .extend(quarantine.map(|quarantine| (index, quarantine))),
                // What is wrong with the data counts more than where the rows would have gone.
                Err(error) => message.push_str(&format!("; the rows are not set aside: {error}")),
            }
            return Err(StageError {
                stage: index,
                error: Error::Data(message),
                expectation: true,
            });
        }
        let examined = Examined {
            found,
            quarantine: quarantine.at(index)?,
        };
        if is_kept {
            self.store
                .put_json(key, Payload::Findings, &examined)
                .at(index)?;
        }
        self.quarantined
            .extend(examined.quarantine.map(|quarantine| (index, quarantine)));
        self.expectations.push((index, examined.found));
        let frame = data.clone().lazy();
        self.frames[index] = Some(frame.clone());
        self.ran(index, began, Some(data.height()));
        Ok(frame)
    }

    fn split(&mut self, index: usize) -> StageResult<LazyFrame> {
        let Shape::Split(split) = self.plan.stages[index].stage.shape() else {
            return self.frame(self.input(index));
        };
        let key = self.records[index].key;
        if let Some(bytes) = self.cached(index, |store| store.get(key, Payload::Frame)) {
            let data = IpcReader::new(std::io::Cursor::new(bytes))
                .finish()
                .map_err(Error::from)
                .at(index)?;
            self.tallies[index].set_rows(data.height());
            self.was_cached(index);
            return Ok(data.lazy());
        }
        let began = self.started(index);
        let mut data = self.materialised_input(index)?;
        let schema = self.schema(self.input(index))?;
        let parts = split
            .assign(
                &Frame {
                    data: data.clone(),
                    schema,
                },
                self.plan.seed,
            )
            .at(index)?;
        let labels: Vec<&str> = parts.into_iter().map(Partition::label).collect();
        data.with_column(Series::new(PARTITION.into(), labels).into())
            .map_err(Error::from)
            .at(index)?;
        if worth_keeping(&data, began) {
            let mut bytes = Vec::new();
            IpcWriter::new(&mut bytes)
                .finish(&mut data)
                .map_err(Error::from)
                .at(index)?;
            self.store.put(key, Payload::Frame, bytes).at(index)?;
        }
        self.ran(index, began, Some(data.height()));
        Ok(data.lazy())
    }

    /// What the stage learned: from the cache, or by learning now.
    fn state(&mut self, index: usize) -> StageResult<State> {
        if let Some(state) = &self.states[index] {
            return Ok(state.clone());
        }
        let key = self.records[index].key;
        let cached = self
            .cached(index, |store| store.get(key, Payload::State))
            .and_then(|bytes| State::from_bytes(&bytes).ok());
        let state = match cached {
            Some(state) => {
                self.was_cached(index);
                state
            }
            None => self.learn(index)?,
        };
        self.states[index] = Some(state.clone());
        Ok(state)
    }

    fn learn(&mut self, index: usize) -> StageResult<State> {
        let plan = self.plan;
        let stage = &plan.stages[index];
        let input = self.input(index);
        let schema = self.schema(input)?;
        let divided = schema.facts.partitions.contains(&Partition::Train);
        // Make what is above first, so that its time is not counted here.
        let above = self.frame(input)?;
        let began = self.started(index);
        let progress = StageProgress {
            stage: &stage.id,
            observer: self.observer,
            messages: Mutex::default(),
        };
        let checkpoint = self.store.checkpoint(self.records[index].key);
        if self.options.fresh {
            checkpoint.discard();
        }
        let mut context = FitContext {
            stage: &stage.id,
            seed: plan.seed,
            progress: &progress,
            cancellation: self.cancellation,
            checkpoints: &checkpoint,
            directory: self.directory,
        };
        let (state, rows) = match stage.stage.shape() {
            Shape::Estimator(estimator) => {
                let reads = estimator.fit_reads(&schema);
                let columns: Vec<_> = reads.iter().map(col).collect();
                let train = if divided {
                    above.filter(col(PARTITION).eq(lit("train")))
                } else {
                    above
                };
                let data = self.collect(train.select(columns), index)?;
                let rows = data.height();
                tracing::debug!(stage = stage.id, rows, "learns from");
                (
                    estimator
                        .fit(&Frame { data, schema }, &mut context)
                        .at(index)?,
                    None,
                )
            }
            Shape::Model(model) => {
                let data = self.model_input(index, model)?;
                let rows = data.height();
                if self.readers[index] > 0 || self.wanted_whole == Some(index) {
                    self.model_inputs[index] = Some(data.clone());
                }
                let part = |partition: Partition| -> StageResult<Frame> {
                    let data = part_of(&data, partition).at(index)?;
                    Ok(Frame {
                        data,
                        schema: schema.clone(),
                    })
                };
                let (train, validation) = if divided {
                    let validation = schema.facts.partitions.contains(&Partition::Validation);
                    let validation = if validation {
                        Some(part(Partition::Validation)?)
                    } else {
                        None
                    };
                    (part(Partition::Train)?, validation)
                } else {
                    (
                        Frame {
                            data: data.clone(),
                            schema: schema.clone(),
                        },
                        None,
                    )
                };
                (
                    model
                        .fit(&train, validation.as_ref(), &mut context)
                        .at(index)?,
                    Some(rows),
                )
            }
            _ => return Err(Error::State("not a stage that learns".to_owned())).at(index),
        };
        let key = self.records[index].key;
        let messages = progress.messages.into_inner();
        let messages = messages.unwrap_or_else(PoisonError::into_inner);
        // Before what was learned: it is whole only with what is to be said of it.
        if !messages.is_empty() {
            self.store
                .put_json(key, Payload::Messages, &messages)
                .at(index)?;
        }
        self.store
            .put(key, Payload::State, state.to_bytes().at(index)?)
            .at(index)?;
        self.messages.insert(index, messages);
        checkpoint.discard();
        self.ran(index, began, rows);
        Ok(state)
    }

    /// The columns of a model's input that anything from here on looks at, in memory.
    fn model_input(&mut self, index: usize, model: &dyn Model) -> StageResult<DataFrame> {
        let input = self.input(index);
        let schema = self.schema(input)?;
        let read_below = match self.wanted_whole {
            Some(whole) if whole == index => None,
            _ => self.read_below(index),
        };
        let wanted: Option<BTreeSet<String>> = read_below.map(|mut below| {
            below.extend(model.features(&schema));
            below.extend(model.target(&schema));
            below.extend(model.fit_reads(&schema));
            below.insert(PARTITION.to_owned());
            below
        });
        let mut frame = self.frame(input)?;
        if let Some(wanted) = wanted {
            let weights = schema
                .with_role(taktline_core::Role::Weight)
                .map(|column| column.name.clone());
            let wanted: BTreeSet<String> = wanted.into_iter().chain(weights).collect();
            let columns: Vec<_> = schema
                .names()
                .filter(|name| wanted.contains(*name))
                .map(col)
                .collect();
            frame = frame.select(columns);
        }
        self.collect(frame, index)
    }

    /// Columns that stages below look at; `None` when one of them may look at all.
    fn read_below(&self, index: usize) -> Option<BTreeSet<String>> {
        let mut columns = BTreeSet::new();
        for (below, stage) in self
            .plan
            .stages
            .iter()
            .enumerate()
            .filter(|(_, stage)| stage.inputs.contains(&index))
        {
            let schema = &self.plan.stages[index].schema;
            match stage.stage.shape() {
                Shape::Evaluate(evaluate) => columns.extend(evaluate.reads(schema)),
                Shape::Deploy(_) => {}
                _ => return None,
            }
            columns.extend(self.read_below(below)?);
        }
        Some(columns)
    }

    fn predictions(&mut self, index: usize, model: &dyn Model) -> StageResult<LazyFrame> {
        let state = self.state(index)?;
        let mut data = match self.model_inputs[index].take() {
            Some(learned_from) => learned_from,
            None => self.model_input(index, model)?,
        };
        let began = Instant::now();
        let predictor = match self.predictors[index].take() {
            Some(loaded) => loaded,
            None => model.load(&state).at(index)?,
        };
        let columns = predictor.predict(&data).at(index)?;
        let input = self.schema(self.input(index))?;
        // The check knows these names only where it knows the classes.
        if let Some(taken) = columns
            .iter()
            .find(|column| input.column(column.name()).is_some())
        {
            return Err(Error::data(format!(
                "the model adds the column `{}`, which its input already has; give the input's another name with `clean.rename`",
                taken.name()
            )))
            .at(index);
        }
        for column in columns {
            data.with_column(column).map_err(Error::from).at(index)?;
        }
        self.seconds[index] += began.elapsed().as_secs_f64();
        self.tallies[index].set_rows(data.height());
        self.cancellation.check().at(index)?;
        Ok(data.lazy())
    }

    fn evaluate(&mut self, index: usize) -> StageResult<()> {
        let Shape::Evaluate(evaluate) = self.plan.stages[index].stage.shape() else {
            return Ok(());
        };
        let key = self.records[index].key;
        if let Some(found) = self.cached(index, |store| {
            store.get_json::<Evaluation>(key, Payload::Findings)
        }) {
            self.evaluations.push((index, found));
            self.was_cached(index);
            return Ok(());
        }
        let input = self.input(index);
        let schema = self.schema(input)?;
        let frame = self.frame(input)?;
        let began = self.started(index);
        let data = only_read(self.collect(frame, index)?, evaluate, &schema);
        let rows = data.height();
        let mut found = evaluate
            .evaluate(&Frame { data, schema }, self.plan.seed)
            .at(index)?;
        evaluate
            .add_training(&self.training(input), &mut found)
            .at(index)?;
        self.store
            .put_json(key, Payload::Findings, &found)
            .at(index)?;
        self.evaluations.push((index, found));
        self.ran(index, began, Some(rows));
        Ok(())
    }

    /// How the nearest model from here upwards learned, as far as that is at hand: it is no reason to learn again.
    fn training(&self, from: usize) -> Training {
        let mut index = from;
        loop {
            let stage = &self.plan.stages[index];
            match (stage.stage.shape(), stage.inputs.first()) {
                (Shape::Model(_), _) => break,
                (_, Some(above)) => index = *above,
                (_, None) => return Training::default(),
            }
        }
        if let Some(state) = &self.states[index] {
            return state.training();
        }
        let kept = self.store.get(self.records[index].key, Payload::State);
        let state = kept.and_then(|bytes| State::from_bytes(&bytes).ok());
        state.map_or_else(Training::default, |state| state.training())
    }

    fn sink(&mut self, index: usize) -> StageResult<()> {
        let Shape::Sink(sink) = self.plan.stages[index].stage.shape() else {
            return Ok(());
        };
        let input = self.input(index);
        let schema = self.schema(input)?;
        let mut frame = self.frame(input)?;
        if !sink.holds_not_finite() {
            frame = self.tallies[index].count_not_finite(frame, &schema);
        }
        let began = self.started(index);
        let run_key = match &self.options.run_key {
            // Other sinks, of this pipeline or another, may write to the same place under the same key.
            Some(given) => format!(
                "{}/{}/{given}",
                self.plan.pipeline, self.plan.stages[index].id
            ),
            None => self.records[index].key.to_string(),
        };
        let cx = SourceContext {
            run_key: Some(&run_key),
            ..self.source_context()
        };
        let output = match self.stream(index, sink, &frame, &cx)? {
            Some(output) => output,
            None => {
                let data = self.collect(frame, index)?;
                self.tallies[index].set_rows(data.height());
                sink.write(&Frame { data, schema }, &cx).at(index)?
            }
        };
        self.outputs
            .push((self.plan.stages[index].id.clone(), output));
        self.ran(index, began, None);
        Ok(())
    }

    /// Writes the rows while they go by, where the sink can and their order and last digits do not come from chance then.
    fn stream(
        &mut self,
        index: usize,
        sink: &dyn Sink,
        frame: &LazyFrame,
        cx: &SourceContext<'_>,
    ) -> StageResult<Option<Output>> {
        if !self.is_steady(self.input(index)) {
            return Ok(None);
        }
        self.cancellation.check().at(index)?;
        self.queries.begin();
        let counted = self.tallies[index].count_rows(streaming::unshared(frame.clone()));
        let Some(written) = sink.stream(counted, cx) else {
            return Ok(None);
        };
        let output = written.map_err(|error| self.explained(index, error, streaming::drain))?;
        self.cancellation.check().at(index)?;
        self.note_fused(index);
        Ok(Some(output))
    }

    /// Whether the query of the rows after this stage gives the same bytes however its rows are divided among threads.
    fn is_steady(&self, index: usize) -> bool {
        let stage = &self.plan.stages[index];
        let operations = match stage.stage.shape() {
            Shape::Source(_) => return true,
            Shape::Relational(_) if self.readers[index] > 1 => return true,
            Shape::Relational(relational) => relational.lower(&self.planned_schemas(index)),
            // Made already, and in memory.
            Shape::Split(_) | Shape::Model(_) => return true,
            Shape::Estimator(estimator) => match &self.states[index] {
                Some(state) => estimator.lower(state, &self.planned_schemas(index)),
                None => return false,
            },
            Shape::Expect(_) | Shape::Evaluate(_) | Shape::Sink(_) | Shape::Deploy(_) => {
                Ok(Vec::new())
            }
        };
        let schemas = self.planned_schemas(index);
        operations.is_ok_and(|operations| streaming::are_steady(&operations, &schemas))
            && stage.inputs.iter().all(|input| self.is_steady(*input))
    }

    fn deploy(&mut self, index: usize) -> StageResult<()> {
        let plan = self.plan;
        let Shape::Deploy(deploy) = plan.stages[index].stage.shape() else {
            return Ok(());
        };
        let began = self.started(index);
        let above = bundle::ancestors(plan, index);
        let measured: Vec<(usize, &(String, f64))> = self
            .evaluations
            .iter()
            .filter(|(stage, _)| above.contains(stage))
            .flat_map(|(stage, found)| found.metrics.iter().map(move |metric| (*stage, metric)))
            .collect();
        let metrics: Vec<(String, f64)> = measured
            .iter()
            .map(|(_, metric)| (*metric).clone())
            .collect();
        let mut required = Vec::new();
        for (metric, requirement) in deploy.require() {
            let last = measured.iter().rev().find(|(_, (name, _))| *name == metric);
            let last = last.map(|(evaluation, (_, value))| (*evaluation, *value));
            required.push((metric, requirement, last));
        }
        let name = deploy.name().unwrap_or(&plan.pipeline).to_owned();
        let key = self.records[index].key;
        let kept = self.cached(index, |store| {
            store.get_json::<Deployed>(key, Payload::Findings)
        });
        let mut passed = true;
        let mut contests = Vec::new();
        for (metric, requirement, last) in required {
            let Some((evaluation, value)) = last else {
                passed = false;
                self.miss(index, metric, &requirement, &metrics);
                continue;
            };
            let (limit, champion, note) = match &requirement.bound {
                Bound::Number(limit) => (Some(*limit), None, None),
                Bound::Champion {
                    version,
                    factor,
                    offset,
                } => {
                    let same = kept.as_ref().map(|deployed| deployed.id.as_str());
                    let measured = (evaluation, metric.as_str(), value);
                    match self.champion(index, (&name, version), measured, same)? {
                        Some((champion, rows)) => {
                            let limit = factor * champion.value + offset;
                            (Some(limit), Some(champion), rows)
                        }
                        None => (
                            None,
                            None,
                            Some(format!("no version is called `{version}` yet")),
                        ),
                    }
                }
            };
            let gate = GateResult {
                bound: requirement.to_string(),
                metric,
                value: Some(value),
                // Who is the first has nobody to beat.
                passed: limit.is_none_or(|limit| requirement.holds(value, limit)),
                champion,
                note,
            };
            passed &= gate.passed;
            contests.push((requirement, gate.champion.map(|champion| champion.version)));
            self.gates.push(gate);
        }
        if !passed {
            self.ran(index, began, None);
            return Ok(());
        }
        self.promote = deploy.promote().map(|alias| {
            let names_it = |required: &Requirement| matches!(&required.bound, Bound::Champion { version, .. } if version == alias);
            let mut champions = contests.iter().filter(|(required, _)| names_it(required));
            let first = champions.next();
            Promotion {
                alias: alias.to_owned(),
                compared: first.is_some(),
                over: first.and_then(|(_, version)| *version),
            }
        });
        // Another pipeline of the same stages has its own bundles.
        if let Some(deployed) = kept.filter(|deployed| deployed.name == name) {
            let folder = self.store.bundles(&deployed.name).join(&deployed.id);
            if bundle::verify(&folder).is_ok() {
                self.bundle = Some(folder);
                self.was_cached(index);
                return Ok(());
            }
        }
        let extent = bundle::extent(plan, index).at(index)?;
        let mut states = Vec::new();
        for stage in extent.replay.iter().chain([&extent.model]) {
            let fitted = plan.stages[*stage].stage.shape().is_fitted();
            states.push(if fitted {
                Some(self.state(*stage)?)
            } else {
                None
            });
        }
        let mut schemas = Vec::new();
        for stage in 0..index {
            schemas.push(self.schema(stage)?);
        }
        let scoring = Scoring {
            plan,
            extent: &extent,
            states: &states,
            schemas: &schemas,
        };
        let required = scoring.required_columns().at(index)?;
        let with_nulls = self.columns_with_nulls(index, extent.cut, &required)?;
        let folder = self.store.bundles(&name);
        let written = scoring
            .write(&folder, &required, &with_nulls, &metrics)
            .at(index)?;
        let deployed = Deployed {
            name,
            id: written.id,
            gates: metrics,
        };
        self.store
            .put_json(key, Payload::Findings, &deployed)
            .at(index)?;
        self.bundle = Some(written.folder);
        self.ran(index, began, None);
        Ok(())
    }

    /// A gate on a metric that no evaluation above measured is not kept. What was found is told all the same, and the slip with it.
    fn miss(
        &mut self,
        deploy: usize,
        metric: String,
        requirement: &Requirement,
        measured: &[(String, f64)],
    ) {
        let mut known: Vec<&str> = Vec::new();
        for (name, _) in measured {
            if !known.contains(&name.as_str()) {
                known.push(name);
            }
        }
        let above = bundle::ancestors(self.plan, deploy);
        let mut evaluations = self
            .evaluations
            .iter()
            .filter(|(stage, _)| above.contains(stage));
        let why = evaluations.find_map(|(_, found)| undefined(found, &metric));
        let near = closest(&metric, known.iter().copied())
            .filter(|_| why.is_none())
            .map(|near| format!("did you mean `{near}`?"));
        let (what, note) = match (why, &near) {
            (Some(why), _) => (
                format!("has no value for these rows: {why}"),
                format!("no value for these rows: {why}"),
            ),
            (None, Some(near)) => (
                "was not measured".to_owned(),
                format!("not measured; {near}"),
            ),
            (None, None) => ("was not measured".to_owned(), "not measured".to_owned()),
        };
        let message = format!(
            "stage `{}`: `require` names `{metric}`, which {what}",
            self.plan.stages[deploy].id
        );
        let place = path!["require", ParamStep::KeyOf(metric.clone())];
        let problem = Problem::error("metric-not-measured", place, message)
            .help_if(near)
            .note(match known.as_slice() {
                [] => "nothing was measured".to_owned(),
                known => format!("measured: {}", quoted(known)),
            });
        let fault = taktline_spec::locate(self.plan, deploy, &problem);
        // Several bounds on one metric are one slip.
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
        self.gates.push(GateResult {
            bound: requirement.to_string(),
            metric,
            value: None,
            passed: false,
            champion: None,
            note: Some(note),
        });
    }

    /// Which of the scoring plan's input columns held nulls: watched while the rows went by, remembered, or looked up now.
    fn columns_with_nulls(
        &mut self,
        index: usize,
        cut: usize,
        required: &BTreeSet<String>,
    ) -> StageResult<BTreeSet<String>> {
        let key = self.records[cut].key;
        let watched = self.tallies[cut].with_nulls();
        let found = match watched {
            Some(found) => found,
            None => match self.store.get_json::<BTreeSet<String>>(key, Payload::Nulls) {
                Some(found) => return Ok(found),
                None => {
                    let columns: Vec<_> = required.iter().map(col).collect();
                    let frame = self.frame(cut)?.select(columns);
                    nulls_in(&self.collect(frame, index)?)
                }
            },
        };
        self.store.put_json(key, Payload::Nulls, &found).at(index)?;
        Ok(found)
    }

    /// Rows that went in: of the first input, or of all inputs that the stage puts one below the other.
    fn rows_in(&self, index: usize) -> Option<u64> {
        let inputs = &self.plan.stages[index].inputs;
        let union = self.planned_operations(index).and_then(|operations| {
            operations
                .into_iter()
                .find_map(|operation| match operation {
                    Operation::Union { others } => Some(others),
                    _ => None,
                })
        });
        let first = self.rows_of(*inputs.first()?)?;
        union.into_iter().flatten().try_fold(first, |rows, other| {
            Some(rows + self.rows_of(*inputs.get(other)?)?)
        })
    }

    /// Rows that came out of the stage.
    fn rows_of(&self, mut input: usize) -> Option<u64> {
        loop {
            if let Some(counted) = self.tallies[input].rows() {
                return Some(counted);
            }
            // A lazy stage that keeps its rows was not counted: look above it.
            if !self.keeps_rows(input) {
                return None;
            }
            input = *self.plan.stages[input].inputs.first()?;
        }
    }

    fn keeps_rows(&self, index: usize) -> bool {
        match self.plan.stages[index].stage.shape() {
            Shape::Source(_) => false,
            Shape::Relational(_) => self
                .planned_operations(index)
                .is_some_and(|operations| operations.iter().all(Operation::keeps_rows)),
            Shape::Estimator(estimator) => estimator.keeps_rows(),
            _ => true,
        }
    }

    fn stage_summary(&self, index: usize) -> StageSummary {
        let stage = &self.plan.stages[index];
        let tally = &self.tallies[index];
        let outcome = &self.outcomes[index];
        let is_reached = *outcome != StageOutcome::NotReached;
        let is_done = is_reached && *outcome != StageOutcome::Failed;
        let rows_in = self.rows_in(index).filter(|_| is_reached);
        let writes = matches!(stage.stage.shape(), Shape::Deploy(_));
        let kept = rows_in.filter(|_| self.keeps_rows(index) && !writes);
        let rows_out = tally.rows().or(kept).filter(|_| is_done);
        let passes_rows = self.passes_rows(index);
        let rows_dropped = passes_rows
            .then(|| {
                let fewer = || rows_in?.checked_sub(rows_out?);
                tally.unmatched().or_else(fewer)
            })
            .flatten()
            .filter(|dropped| *dropped > 0);
        let rows_added = passes_rows
            .then(|| (rows_out? + rows_dropped.unwrap_or(0)).checked_sub(rows_in?))
            .flatten()
            .filter(|added| *added > 0);
        StageSummary {
            id: stage.id.clone(),
            kind: stage.kind.name.to_owned(),
            outcome: outcome.clone(),
            rows_in,
            rows_out,
            rows_dropped,
            rows_added,
            changes: tally
                .changes()
                .into_iter()
                .filter(|(_, changes)| changes.changed > 0 || changes.unseen > 0)
                .map(|(column, changes)| ColumnChanges { column, changes })
                .collect(),
            seconds: self.seconds[index],
        }
    }

    /// Whether rows that come out are rows that went in; an aggregate makes its own.
    fn passes_rows(&self, index: usize) -> bool {
        match self.plan.stages[index].stage.shape() {
            Shape::Relational(relational) => relational
                .lower(&self.planned_schemas(index))
                .is_ok_and(|operations| {
                    !operations
                        .iter()
                        .any(|operation| matches!(operation, Operation::Aggregate { .. }))
                }),
            Shape::Estimator(_) => true,
            _ => false,
        }
    }

    fn quarantined_by_id(&self) -> Vec<(String, Quarantine)> {
        self.quarantined
            .iter()
            .map(|(index, quarantine)| (self.plan.stages[*index].id.clone(), quarantine.clone()))
            .collect()
    }

    fn summary(&self, seconds: f64) -> RunSummary {
        let id = |index: &usize| self.plan.stages[*index].id.clone();
        RunSummary {
            pipeline: self.plan.pipeline.clone(),
            run: self.run.clone(),
            seed: self.plan.seed,
            sources: self.sources(),
            stages: (0..self.plan.stages.len())
                .map(|index| self.stage_summary(index))
                .collect(),
            evaluations: self
                .evaluations
                .iter()
                .map(|(index, found)| (id(index), found.clone()))
                .collect(),
            messages: self.messages(),
            expectations: self
                .expectations
                .iter()
                .map(|(index, found)| (id(index), found.clone()))
                .collect(),
            quarantined: self.quarantined_by_id(),
            gates: self.gates.clone(),
            diagnostics: self.faults.clone(),
            outputs: self.outputs.clone(),
            bundle: self.bundle.clone(),
            promote: self.promote.clone(),
            seconds,
        }
    }

    /// What was said while stages learned, also of those whose result was kept.
    fn messages(&self) -> Vec<(String, String)> {
        let of_stage = |(index, stage): (usize, &PlannedStage)| {
            let said = match stage.stage.shape() {
                Shape::Estimator(_) | Shape::Model(_) => self.messages.get(&index).cloned(),
                _ => return Vec::new(),
            };
            let key = self.records[index].key;
            let kept = || self.cached(index, |store| store.get_json(key, Payload::Messages));
            let said: Vec<String> = said.or_else(kept).unwrap_or_default();
            said.into_iter()
                .map(|message| (stage.id.clone(), message))
                .collect()
        };
        let stages = self.plan.stages.iter().enumerate();
        stages.flat_map(of_stage).collect()
    }

    /// What each source holds, as a hash: of its files, where it reads any, else of all that says what it gives.
    fn sources(&self) -> Vec<(String, String)> {
        let of_source = |stage: &PlannedStage, record: &StageRecord| {
            let files: Vec<&String> = record.files.values().collect();
            let content = if files.is_empty() {
                record.key
            } else {
                Key::of(&files).unwrap_or(record.key)
            };
            (stage.id.clone(), content.to_string())
        };
        let stages = self.plan.stages.iter().zip(&self.records);
        stages
            .filter(|(stage, _)| matches!(stage.stage.shape(), Shape::Source(_)))
            .map(|(stage, record)| of_source(stage, record))
            .collect()
    }

    /// As [`Run::failure`], with what the evaluations found by then: hours of training are not lost to what comes after them. Who
    /// interrupts runs the same again, and finds it in the cache.
    fn broken_off(&mut self, failed: StageError, seconds: f64) -> Failure {
        let stage = failed.stage;
        let failure = self.failure(failed);
        if self.evaluations.is_empty() || failure.kind == FailureKind::Interrupted {
            return failure;
        }
        for outcome in &mut self.outcomes {
            if *outcome == StageOutcome::NotNeeded {
                *outcome = StageOutcome::NotReached;
            }
        }
        self.outcomes[stage] = StageOutcome::Failed;
        // A bundle counts when its run came to its end.
        (self.bundle, self.promote) = (None, None);
        Failure {
            found: Some(Box::new(self.summary(seconds))),
            ..failure
        }
    }

    /// As [`Run::failure`], for a run that leaves nothing behind.
    pub(crate) fn failure_without_trace(&mut self, failed: StageError) -> Failure {
        self.quarantined.clear();
        self.failure(failed)
    }

    pub(crate) fn failure(&self, failed: StageError) -> Failure {
        let stage = &self.plan.stages[failed.stage];
        if matches!(failed.error, Error::Interrupted) {
            let checkpoint = self.store.checkpoint(self.records[failed.stage].key);
            let mut diagnostic = Diagnostic::error(
                "interrupted",
                format!("interrupted in stage `{}`", stage.id),
            );
            diagnostic.notes.push(
                "what was finished is kept; run the same command again to go on from there"
                    .to_owned(),
            );
            if checkpoint.path().is_file() {
                diagnostic.notes.push(format!(
                    "checkpoint of `{}`: {}",
                    stage.id,
                    checkpoint.path().display()
                ));
            }
            return Failure {
                kind: FailureKind::Interrupted,
                diagnostic: Box::new(diagnostic),
                quarantined: self.quarantined_by_id(),
                found: None,
            };
        }
        let (kind, code) = if failed.expectation {
            (FailureKind::Expectation, "expectation-broken")
        } else {
            (FailureKind::Stage, code(&failed.error))
        };
        let mut diagnostic =
            Diagnostic::error(code, format!("stage `{}`: {}", stage.id, failed.error));
        diagnostic.location = Some(stage.location.clone());
        match &failed.error {
            // As a check tells it: at the param, with all that is known.
            Error::Problem(problem) => {
                diagnostic = taktline_spec::locate(self.plan, failed.stage, problem);
                diagnostic.message = format!("stage `{}`: {}", stage.id, diagnostic.message);
            }
            error => diagnostic.help.extend(error.help().map(str::to_owned)),
        }
        diagnostic.notes.extend(
            self.quarantined
                .iter()
                .filter(|(index, _)| failed.expectation && *index == failed.stage)
                .map(|(_, quarantine)| format!("the rows are in {}", quarantine.path.display())),
        );
        Failure {
            kind,
            diagnostic: Box::new(diagnostic),
            quarantined: self.quarantined_by_id(),
            found: None,
        }
    }
}

/// What is kept of an expectation: what it found, and the rows that it set aside.
#[derive(Serialize, Deserialize)]
struct Examined {
    found: Vec<Expectation>,
    quarantine: Option<Quarantine>,
}

impl Examined {
    /// Whether the rows that were set aside are still there.
    fn is_whole(&self) -> bool {
        self.quarantine
            .as_ref()
            .is_none_or(|quarantine| quarantine.path.is_file())
    }
}

/// A broken rule in words, with some of the rows.
fn broken_rule(rule: &Expectation) -> String {
    let extent = if rule.about_all {
        String::new()
    } else {
        format!(
            " for {} of {}",
            thousands(rule.violations as u64),
            counted(rule.rows, "row")
        )
    };
    let examples = if rule.examples.is_empty() {
        String::new()
    } else {
        format!(" ({})", rule.examples.join("; "))
    };
    format!("`{}` does not hold{extent}{examples}", rule.rule)
}

/// Why an evaluation could not give the metric a value, where it says so.
fn undefined(found: &Evaluation, metric: &str) -> Option<String> {
    let mut tables = found.tables.iter();
    let table = tables.find(|table| table.name == "undefined_metrics")?;
    let row = table
        .rows
        .iter()
        .find(|row| row.first().is_some_and(|name| name == metric))?;
    row.get(1).cloned()
}

fn code(error: &Error) -> &'static str {
    match error {
        Error::Data(_) => "bad-data",
        Error::File { .. } => "file",
        Error::Format { .. } => "bad-format",
        Error::State(_) => "bad-state",
        Error::Unavailable { .. } => "unavailable",
        Error::Interrupted => "interrupted",
        Error::Polars(_) => "query-failed",
        Error::Model(_) => "model-failed",
        Error::Problem(problem) => problem.code,
    }
}

fn is_join(operation: &Operation) -> bool {
    matches!(operation, Operation::Join { .. })
}

/// Keeping costs time and disk; it pays when making the rows again takes clearly longer than writing and reading them.
fn worth_keeping(data: &DataFrame, began: Instant) -> bool {
    const BYTES_PER_SECOND: f64 = 300e6;
    began.elapsed().as_secs_f64() > 4.0 * data.estimated_size() as f64 / BYTES_PER_SECOND + 0.5
}

/// The columns that an evaluation looks at. Class probabilities have names that only training knows, so it goes by what is there.
fn only_read(data: DataFrame, evaluate: &dyn Evaluate, schema: &Schema) -> DataFrame {
    let reads = evaluate.reads(schema);
    let declared: BTreeSet<&str> = schema.names().collect();
    let unread: Vec<String> = data
        .get_column_names()
        .into_iter()
        .map(|name| name.as_str())
        .filter(|name| declared.contains(name) && !reads.contains(*name) && *name != PARTITION)
        .map(str::to_owned)
        .collect();
    data.drop_many(unread)
}

/// The rows of one part.
pub(crate) fn part_of(data: &DataFrame, part: Partition) -> Result<DataFrame> {
    let labels = data.column(PARTITION)?.str()?;
    let mask = labels
        .iter()
        .map(|label| Some(label == Some(part.label())))
        .collect();
    Ok(data.filter(&mask)?)
}

struct StageProgress<'a> {
    stage: &'a str,
    observer: &'a dyn Observer,
    messages: Mutex<Vec<String>>,
}

impl Progress for StageProgress<'_> {
    fn event(&self, event: ProgressEvent) {
        if let ProgressEvent::Message(message) = &event {
            let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
            messages.push(message.clone());
        }
        self.observer.progress(self.stage, event);
    }
}
