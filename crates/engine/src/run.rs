//! Runs a plan on this machine.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use polars::{
    lazy::dsl::{col, lit},
    prelude::{
        AllowedOptimizations, DataFrame, IntoLazy, IpcReader, IpcWriter, LazyFrame, NamedFrom,
        SerReader, SerWriter, Series,
    },
};
use serde::{Deserialize, Serialize};
use taktline_core::{
    Cancellation, Diagnostic, Error, Evaluation, Expectation, FitContext, Frame, Model, Output,
    PARTITION, Partition, Progress, ProgressEvent, Result, Schema, Shape, SourceContext, State,
    output_schema,
};
use taktline_spec::Plan;

use crate::{
    bundle::{self, Extent, Scoring},
    local,
    record::{PlanRecord, StageRecord, records},
    store::{Payload, Store},
    summary::{GateResult, RunSummary, StageOutcome, StageSummary},
};

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Make everything again, whatever the cache holds.
    pub fresh: bool,
    /// Names what sinks write; a run with the key of an earlier one that succeeded appends nothing twice.
    pub run_key: Option<String>,
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
}

/// An error and the stage that it belongs to.
struct StageError {
    stage: usize,
    error: Error,
    expectation: bool,
}

type StageResult<T> = Result<T, StageError>;

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
    let records = records(plan, store, directory).map_err(|error| Failure {
        kind: FailureKind::Stage,
        diagnostic: Box::new(Diagnostic::error("source-unreadable", error.to_string())),
    })?;
    let mut run = Run::new(
        plan,
        store,
        directory,
        options,
        observer,
        cancellation,
        records,
    );
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
        Err(failed) => Err(run.failure(failed)),
    }
}

/// The rows after the plan's last stage, for tests and benchmarks: nothing is cached and nothing written.
///
/// # Errors
/// The message of the stage that failed.
pub fn frame(plan: &Plan, directory: &Path) -> Result<DataFrame> {
    let store = Store::new(directory);
    let records = records(plan, &store, directory)?;
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
    let frame = run.frame(last).map_err(|failed| failed.error)?;
    run.collect(frame, last).map_err(|failed| failed.error)
}

/// How many stages read each stage.
pub(crate) fn readers(plan: &Plan) -> Vec<usize> {
    let mut readers = vec![0; plan.stages.len()];
    for input in plan.stages.iter().flat_map(|stage| &stage.inputs) {
        readers[*input] += 1;
    }
    readers
}

/// A name for this run: when it began (UTC) and which process it was.
pub(crate) fn run_id() -> String {
    format!(
        "{}-{:05}",
        chrono::Utc::now().format("%Y%m%dT%H%M%S%3f"),
        std::process::id() % 100_000
    )
}

const NOT_COUNTED: u64 = u64::MAX;

struct Run<'a> {
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
    rows: Vec<Arc<AtomicU64>>,
    nulls: Vec<Arc<Mutex<Option<BTreeSet<String>>>>>,
    seconds: Vec<f64>,
    outcomes: Vec<StageOutcome>,
    evaluations: Vec<(usize, Evaluation)>,
    expectations: Vec<(usize, Vec<Expectation>)>,
    gates: Vec<GateResult>,
    outputs: Vec<(String, Output)>,
    bundle: Option<PathBuf>,
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
    fn new(
        plan: &'a Plan,
        store: &'a Store,
        directory: &'a Path,
        options: &'a RunOptions,
        observer: &'a dyn Observer,
        cancellation: &'a Cancellation,
        records: Vec<StageRecord>,
    ) -> Self {
        let count = plan.stages.len();
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
            rows: (0..count)
                .map(|_| Arc::new(AtomicU64::new(NOT_COUNTED)))
                .collect(),
            nulls: (0..count).map(|_| Arc::new(Mutex::new(None))).collect(),
            seconds: vec![0.0; count],
            outcomes: vec![StageOutcome::NotNeeded; count],
            evaluations: Vec::new(),
            expectations: Vec::new(),
            gates: Vec::new(),
            outputs: Vec::new(),
            bundle: None,
            run: run_id(),
        }
    }

    /// Every stage that has an effect, in order; frames are made when one of them asks.
    fn all(&mut self) -> StageResult<()> {
        for index in 0..self.plan.stages.len() {
            self.cancellation.check().at(index)?;
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

    fn cached<T>(&self, index: usize, get: impl FnOnce(&Store) -> Option<T>) -> Option<T> {
        if self.options.fresh || !self.plan.stages[index].cache {
            return None;
        }
        get(self.store)
    }

    /// Runs the query; the lazy stages that it holds are noted as part of `index`.
    fn collect(&mut self, frame: LazyFrame, index: usize) -> StageResult<DataFrame> {
        self.cancellation.check().at(index)?;
        let data = frame
            .collect()
            .map_err(|error| self.explained(index, error.into()))?;
        self.cancellation.check().at(index)?;
        self.note_fused(index);
        Ok(data)
    }

    /// A failed query, told by the source above whose data made it fail, where one can tell, or at the first stage that
    /// fails when the query is run up to there.
    fn explained(&self, index: usize, mut error: Error) -> StageError {
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
            frame.is_some_and(|frame| frame.collect().is_err())
        };
        StageError {
            stage: above.iter().copied().find(fails).unwrap_or(index),
            error,
            expectation: false,
        }
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
            self.rows[index].store(rows as u64, Ordering::Relaxed);
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
                count_rows(frame, &self.rows[index])
            }
            Shape::Relational(relational) => {
                let schemas = self.input_schemas(index)?;
                let operations = relational.lower(&schemas).at(index)?;
                let frame = self.apply(index, &operations, &schemas)?;
                if operations.iter().all(taktline_core::Operation::keeps_rows) {
                    frame
                } else {
                    count_rows(frame, &self.rows[index])
                }
            }
            Shape::Expect(_) => self.examined(index)?,
            Shape::Split(_) => self.split(index)?,
            Shape::Estimator(estimator) => {
                let schemas = self.input_schemas(index)?;
                let state = self.state(index)?;
                let operations = estimator.lower(&state, &schemas).at(index)?;
                self.apply(index, &operations, &schemas)?
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
            frame = watch_nulls(frame, &self.nulls[index]);
        }
        let lazy = matches!(stage.stage.shape(), Shape::Source(_) | Shape::Relational(_));
        if lazy && self.readers[index] > 1 {
            let began = self.started(index);
            let data = self.collect(frame, index)?;
            self.ran(index, began, Some(data.height()));
            frame = data.lazy();
        }
        self.frames[index] = Some(frame.clone());
        Ok(frame)
    }

    fn input_schemas(&mut self, index: usize) -> StageResult<Vec<Schema>> {
        let inputs = self.plan.stages[index].inputs.clone();
        inputs.into_iter().map(|input| self.schema(input)).collect()
    }

    /// The input schemas as `check` saw them.
    fn planned_schemas(&self, index: usize) -> Vec<Schema> {
        self.plan.stages[index]
            .inputs
            .iter()
            .map(|input| self.plan.stages[*input].schema.clone())
            .collect()
    }

    /// The schema after the stage, with the columns that training made in the place of those that stood for them.
    fn schema(&mut self, index: usize) -> StageResult<Schema> {
        if let Some(schema) = &self.schemas[index] {
            return Ok(schema.clone());
        }
        let plan = self.plan;
        let stage = &plan.stages[index];
        let is_open = |stage: usize| {
            plan.stages[stage]
                .schema
                .columns
                .iter()
                .any(taktline_core::Column::is_open)
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
        operations: &[taktline_core::Operation],
        schemas: &[Schema],
    ) -> StageResult<LazyFrame> {
        let inputs = self.plan.stages[index].inputs.clone();
        let frames = inputs
            .into_iter()
            .map(|input| self.frame(input))
            .collect::<StageResult<Vec<_>>>()?;
        local::apply(operations, &frames, schemas).at(index)
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
        if let Some(found) = self.cached(index, |store| {
            store.get_json::<Vec<Expectation>>(key, Payload::Findings)
        }) {
            self.expectations.push((index, found));
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
        let broken: Vec<&Expectation> = found
            .iter()
            .filter(|rule| rule.is_error && rule.violations > 0)
            .collect();
        if !broken.is_empty() {
            let message = broken
                .iter()
                .map(|rule| {
                    let examples = if rule.examples.is_empty() {
                        String::new()
                    } else {
                        format!(" ({})", rule.examples.join("; "))
                    };
                    format!(
                        "`{}` does not hold for {} of {} rows{examples}",
                        rule.rule, rule.violations, rule.rows
                    )
                })
                .collect::<Vec<_>>()
                .join("; ");
            return Err(StageError {
                stage: index,
                error: Error::Data(message),
                expectation: true,
            });
        }
        self.store
            .put_json(key, Payload::Findings, &found)
            .at(index)?;
        self.expectations.push((index, found));
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
            self.rows[index].store(data.height() as u64, Ordering::Relaxed);
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
        self.store
            .put(
                self.records[index].key,
                Payload::State,
                state.to_bytes().at(index)?,
            )
            .at(index)?;
        checkpoint.discard();
        self.ran(index, began, rows);
        Ok(state)
    }

    /// The columns of a model's input that anything from here on looks at, in memory.
    fn model_input(&mut self, index: usize, model: &dyn Model) -> StageResult<DataFrame> {
        let input = self.input(index);
        let schema = self.schema(input)?;
        let wanted: Option<BTreeSet<String>> = self.read_below(index).map(|mut below| {
            below.extend(model.features(&schema));
            below.extend(model.target(&schema));
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
        let mut data = self.model_input(index, model)?;
        let began = Instant::now();
        let predictor = model.load(&state).at(index)?;
        let columns = predictor.predict(&data).at(index)?;
        for column in columns {
            data.with_column(column).map_err(Error::from).at(index)?;
        }
        self.seconds[index] += began.elapsed().as_secs_f64();
        self.rows[index].store(data.height() as u64, Ordering::Relaxed);
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
        let mut data = self.collect(frame, index)?;
        // Class probabilities have names that only training knows, so choose by what is there.
        let reads = evaluate.reads(&schema);
        let declared: BTreeSet<&str> = schema.names().collect();
        let unread: Vec<String> = data
            .get_column_names()
            .into_iter()
            .map(|name| name.as_str())
            .filter(|name| declared.contains(name) && !reads.contains(*name) && *name != PARTITION)
            .map(str::to_owned)
            .collect();
        data = data.drop_many(unread);
        let rows = data.height();
        let found = evaluate
            .evaluate(&Frame { data, schema }, self.plan.seed)
            .at(index)?;
        self.store
            .put_json(key, Payload::Findings, &found)
            .at(index)?;
        self.evaluations.push((index, found));
        self.ran(index, began, Some(rows));
        Ok(())
    }

    fn sink(&mut self, index: usize) -> StageResult<()> {
        let Shape::Sink(sink) = self.plan.stages[index].stage.shape() else {
            return Ok(());
        };
        let input = self.input(index);
        let schema = self.schema(input)?;
        let frame = self.frame(input)?;
        let began = self.started(index);
        let data = self.collect(frame, index)?;
        let rows = data.height();
        let content_key = self.records[index].key.to_string();
        let run_key = self.options.run_key.as_deref().unwrap_or(&content_key);
        let cx = SourceContext {
            run_key: Some(run_key),
            ..self.source_context()
        };
        let output = sink.write(&Frame { data, schema }, &cx).at(index)?;
        self.outputs
            .push((self.plan.stages[index].id.clone(), output));
        self.ran(index, began, Some(rows));
        Ok(())
    }

    fn deploy(&mut self, index: usize) -> StageResult<()> {
        let plan = self.plan;
        let Shape::Deploy(deploy) = plan.stages[index].stage.shape() else {
            return Ok(());
        };
        let began = self.started(index);
        let above = bundle::ancestors(plan, index);
        let metrics: Vec<(String, f64)> = self
            .evaluations
            .iter()
            .filter(|(stage, _)| above.contains(stage))
            .flat_map(|(_, evaluation)| evaluation.metrics.iter().cloned())
            .collect();
        let mut passed = true;
        for (metric, requirement) in deploy.require() {
            let value = metrics
                .iter()
                .rev()
                .find(|(name, _)| *name == metric)
                .map(|(_, value)| *value);
            let Some(value) = value else {
                let known: Vec<&str> = metrics.iter().map(|(name, _)| name.as_str()).collect();
                let message = format!(
                    "`require` names `{metric}`, which was not measured; measured: {}",
                    known.join(", ")
                );
                return Err(Error::Data(message)).at(index);
            };
            let holds = requirement.holds(value);
            passed &= holds;
            self.gates.push(GateResult {
                metric,
                bound: requirement.to_string(),
                value,
                passed: holds,
            });
        }
        if !passed {
            self.ran(index, began, None);
            return Ok(());
        }
        let name = deploy.name().unwrap_or(&plan.pipeline).to_owned();
        let key = self.records[index].key;
        let kept = self.cached(index, |store| {
            store.get_json::<Deployed>(key, Payload::Findings)
        });
        if let Some(deployed) = kept {
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

    /// Which of the scoring plan's input columns held nulls: watched while the rows went by, remembered, or looked up now.
    fn columns_with_nulls(
        &mut self,
        index: usize,
        cut: usize,
        required: &BTreeSet<String>,
    ) -> StageResult<BTreeSet<String>> {
        let key = self.records[cut].key;
        let watched = self.nulls[cut].lock().ok().and_then(|nulls| nulls.clone());
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

    fn rows_in(&self, index: usize) -> Option<u64> {
        let mut input = *self.plan.stages[index].inputs.first()?;
        loop {
            let counted = self.rows[input].load(Ordering::Relaxed);
            if counted != NOT_COUNTED {
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
            Shape::Relational(relational) => relational
                .lower(&self.planned_schemas(index))
                .is_ok_and(|operations| {
                    operations.iter().all(taktline_core::Operation::keeps_rows)
                }),
            _ => true,
        }
    }

    fn stage_summary(&self, index: usize) -> StageSummary {
        let stage = &self.plan.stages[index];
        let counted = self.rows[index].load(Ordering::Relaxed);
        let rows_in = self.rows_in(index);
        let writes = matches!(stage.stage.shape(), Shape::Deploy(_));
        let rows_out = if counted != NOT_COUNTED {
            Some(counted)
        } else if self.keeps_rows(index) && !writes {
            rows_in
        } else {
            None
        };
        StageSummary {
            id: stage.id.clone(),
            kind: stage.kind.name.to_owned(),
            outcome: self.outcomes[index].clone(),
            rows_in,
            rows_out,
            seconds: self.seconds[index],
        }
    }

    fn summary(self, seconds: f64) -> RunSummary {
        let id = |index: &usize| self.plan.stages[*index].id.clone();
        RunSummary {
            pipeline: self.plan.pipeline.clone(),
            run: self.run.clone(),
            seed: self.plan.seed,
            stages: (0..self.plan.stages.len())
                .map(|index| self.stage_summary(index))
                .collect(),
            evaluations: self
                .evaluations
                .iter()
                .map(|(index, found)| (id(index), found.clone()))
                .collect(),
            expectations: self
                .expectations
                .iter()
                .map(|(index, found)| (id(index), found.clone()))
                .collect(),
            gates: self.gates.clone(),
            outputs: self.outputs.clone(),
            bundle: self.bundle.clone(),
            seconds,
        }
    }

    fn failure(&self, failed: StageError) -> Failure {
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
        diagnostic
            .help
            .extend(failed.error.help().map(str::to_owned));
        Failure {
            kind,
            diagnostic: Box::new(diagnostic),
        }
    }
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
    }
}

/// Keeping costs time and disk; it pays when making the rows again takes clearly longer than writing and reading them.
fn worth_keeping(data: &DataFrame, began: Instant) -> bool {
    const BYTES_PER_SECOND: f64 = 300e6;
    began.elapsed().as_secs_f64() > 4.0 * data.estimated_size() as f64 / BYTES_PER_SECOND + 0.5
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
}

impl Progress for StageProgress<'_> {
    fn event(&self, event: ProgressEvent) {
        self.observer.progress(self.stage, event);
    }
}

/// Counts the rows that go by, without reading columns that nothing else needs.
fn count_rows(frame: LazyFrame, counter: &Arc<AtomicU64>) -> LazyFrame {
    let counter = Arc::clone(counter);
    let passes_columns = AllowedOptimizations::PROJECTION_PUSHDOWN;
    frame.map(
        move |data| {
            counter.store(data.height() as u64, Ordering::Relaxed);
            Ok(data)
        },
        passes_columns,
        None,
        Some("count rows"),
    )
}

/// Notes which of the columns that go by hold nulls.
fn watch_nulls(frame: LazyFrame, seen: &Arc<Mutex<Option<BTreeSet<String>>>>) -> LazyFrame {
    let seen = Arc::clone(seen);
    frame.map(
        move |data| {
            if let Ok(mut seen) = seen.lock() {
                seen.get_or_insert_default().extend(nulls_in(&data));
            }
            Ok(data)
        },
        AllowedOptimizations::PROJECTION_PUSHDOWN,
        None,
        Some("watch nulls"),
    )
}

fn nulls_in(data: &DataFrame) -> BTreeSet<String> {
    data.columns()
        .iter()
        .filter(|column| column.null_count() > 0)
        .map(|column| column.name().to_string())
        .collect()
}
