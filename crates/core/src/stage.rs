//! Stages: what a kind's params become, and what an engine asks of them.

use std::{collections::BTreeSet, path::PathBuf};

use polars::prelude::{Column as PolarsColumn, DataFrame, LazyFrame};
use serde::{Deserialize, Serialize};

use crate::{
    CheckContext, Evaluation, FitContext, Nested, Operation, Partition, Requirement, Result,
    Schema, SourceContext, State, Training,
};

/// A checked stage: its params, and what they mean.
pub trait Stage: Send + Sync {
    /// The schema after this stage, *and* every problem (in `cx`); never stops at the first.
    ///
    /// After an error the schema is the best guess, marked `incomplete` where columns may be missing.
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema;

    /// What this stage is to an engine.
    fn shape(&self) -> Shape<'_>;

    /// Columns whose nulls it takes the place of, so that a bundle accepts nulls in them though training had none.
    fn fills(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// The models inside its params. Their kinds' versions count for what is kept as its own does.
    fn nested(&self) -> Vec<&Nested> {
        Vec::new()
    }

    /// How many inputs the stage takes.
    fn arity(&self) -> std::ops::RangeInclusive<usize> {
        match self.shape() {
            Shape::Source(_) => 0..=0,
            _ => 1..=1,
        }
    }
}

/// What a stage is to an engine: the one `match` that an engine writes.
pub enum Shape<'a> {
    /// Opens data.
    Source(&'a dyn Source),
    /// Stateless relational work.
    Relational(&'a dyn Relational),
    /// Looks at the rows and says whether they are as expected.
    Expect(&'a dyn Expect),
    /// Labels each row with its part.
    Split(&'a dyn Split),
    /// Learns state from the training rows, then works stateless.
    Estimator(&'a dyn Estimator),
    /// Learns to predict.
    Model(&'a dyn Model),
    /// Measures predictions.
    Evaluate(&'a dyn Evaluate),
    /// Writes rows out.
    Sink(&'a dyn Sink),
    /// Puts the model above into a bundle, behind gates.
    Deploy(&'a dyn Deploy),
}

impl Shape<'_> {
    /// Whether the stage works on the training part alone, so that scoring leaves it out.
    pub fn is_training_only(&self) -> bool {
        match self {
            Self::Relational(relational) => relational.is_training_only(),
            Self::Estimator(estimator) => estimator.is_training_only(),
            _ => false,
        }
    }

    /// Whether the stage learns from rows.
    pub fn is_fitted(&self) -> bool {
        matches!(self, Self::Estimator(_) | Self::Model(_))
    }
}

/// A frame in memory with what is known about its columns.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The rows.
    pub data: DataFrame,
    /// Types, roles and lineage.
    pub schema: Schema,
}

/// What a source's content depends on; decides whether a cached result still holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Fingerprint {
    /// The bytes of these files.
    Files(Vec<PathBuf>),
    /// Nothing but params and seed: a generator.
    Params,
    /// What the source itself says of its content: an object's tag, a hash of the rows that a database gave.
    Content(String),
    /// It may change at any time, and nothing tells: never reuse.
    Volatile,
}

/// Opens data.
pub trait Source: Send + Sync {
    /// The data, lazily. Called once a run.
    fn scan(&self, cx: &SourceContext<'_>) -> Result<LazyFrame>;
    /// What the content depends on.
    fn fingerprint(&self, cx: &SourceContext<'_>) -> Result<Fingerprint>;
    /// The files that it reads, so that no sink of the same pipeline replaces one. Asked by `takt check`: it must not read rows.
    fn files(&self, cx: &SourceContext<'_>) -> Result<Vec<PathBuf>> {
        match self.fingerprint(cx)? {
            Fingerprint::Files(files) => Ok(files),
            _ => Ok(Vec::new()),
        }
    }
    /// How many rows there are, where files on this machine say so without being read. Only of files that keep columns apart, so
    /// that some can be read at a small part of the cost of all: the engine then may look at some columns before the rest.
    fn rows(&self, cx: &SourceContext<'_>) -> Result<Option<usize>> {
        let _ = cx;
        Ok(None)
    }
    /// Forgets what earlier runs fetched and the next would build on: `takt run --fresh` reads everything again.
    fn forget(&self, cx: &SourceContext<'_>) -> Result<()> {
        let _ = cx;
        Ok(())
    }
    /// Says more about an error of a query over this source's data, where it can: the line and column of a value that does
    /// not parse. The engine calls it after such an error, with the sources of that query; it may read the data again.
    fn explain(&self, error: crate::Error, cx: &SourceContext<'_>) -> crate::Error {
        let _ = cx;
        error
    }
}

/// Stateless relational work, the same on every engine.
pub trait Relational: Send + Sync {
    /// The operations, given the inputs' schemas (already checked).
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>>;
    /// Whether it works on the training part alone (balancing classes): scoring leaves it out, and the rows of the other
    /// parts pass through unchanged, in order.
    fn is_training_only(&self) -> bool {
        false
    }
    /// Whether what it says of a row depends on other rows in a way that its operations do not tell (a window does): a row that is
    /// scored alone has no others.
    fn looks_at_other_rows(&self) -> bool {
        false
    }
}

/// What an expectation found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// What was expected: `amount between 0 and 1000000`.
    pub rule: String,
    /// Rows that break it.
    pub violations: usize,
    /// Rows looked at.
    pub rows: usize,
    /// Some of the rows that break it, as readable text.
    pub examples: Vec<String>,
    /// Whether a break stops the run.
    pub is_error: bool,
    /// Whether the rule is about all rows together (their number, a mean) and not about each; `violations` is then 0 or 1.
    #[serde(default)]
    pub about_all: bool,
    /// All rows that break it, by their number from 0, where the rule is about rows: for the quarantine file.
    #[serde(skip)]
    pub violating: Vec<usize>,
}

/// Looks at the rows and says whether they are as expected; the rows pass through unchanged.
pub trait Expect: Send + Sync {
    /// Columns it looks at.
    fn reads(&self, input: &Schema) -> BTreeSet<String>;
    /// Whether it compares with the time of the run, so that the same rows may be as expected today and not tomorrow: what
    /// it finds is never reused.
    fn looks_at_clock(&self) -> bool {
        false
    }
    /// Operations whose result `examine` looks at: conditions in SQL become columns. The stage's rows are those before.
    fn prepare(&self, input: &Schema) -> Result<Vec<Operation>> {
        let _ = input;
        Ok(Vec::new())
    }
    /// Every rule with what was found, in the frame that `prepare` made. `others` are the stage's further inputs, which
    /// rules such as foreign keys look values up in.
    fn examine(&self, frame: &Frame, others: &[Frame]) -> Result<Vec<Expectation>>;
}

/// Labels each row with its part.
pub trait Split: Send + Sync {
    /// Columns it looks at.
    fn reads(&self, input: &Schema) -> BTreeSet<String>;
    /// The label of each row, in row order; becomes the column `partition`.
    fn assign(&self, frame: &Frame, seed: u64) -> Result<Vec<Partition>>;
}

/// Learns state from the training rows; with that state it is stateless work.
pub trait Estimator: Send + Sync {
    /// Columns that `fit` looks at.
    fn fit_reads(&self, input: &Schema) -> BTreeSet<String>;
    /// Learns from the training rows (all rows, where there is no split).
    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State>;
    /// The operations that apply what was learned.
    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>>;
    /// Columns with the categories that training saw, as text, where others are taken for something else: they are counted.
    fn seen(&self, state: &State) -> Result<Vec<(String, Vec<String>)>> {
        let _ = state;
        Ok(Vec::new())
    }
    /// Whether each row stays when it is applied. Where not, scoring starts below it, as below a filter.
    fn keeps_rows(&self) -> bool {
        true
    }
    /// As [`Relational::is_training_only`]: scoring leaves it out.
    fn is_training_only(&self) -> bool {
        false
    }
}

/// Learns to predict.
pub trait Model: Send + Sync {
    /// The columns that prediction reads: the features, in order.
    fn features(&self, input: &Schema) -> Vec<String>;
    /// The column it learns to say, if it is supervised.
    fn target(&self, input: &Schema) -> Option<String>;
    /// Further columns that learning reads, and prediction does not: what groups rows.
    fn fit_reads(&self, input: &Schema) -> Vec<String> {
        let _ = input;
        Vec::new()
    }
    /// Whether features may hold personal data.
    fn allow_pii(&self) -> bool {
        false
    }
    /// Files that learning reads besides the rows, as the spec names them; what it learns depends on their content.
    fn files(&self) -> Vec<String> {
        Vec::new()
    }
    /// Learns from the training rows; may look at the validation rows to know when to stop.
    fn fit(
        &self,
        train: &Frame,
        validation: Option<&Frame>,
        cx: &mut FitContext<'_>,
    ) -> Result<State>;
    /// What predicts with that state; run, score and serve all call this one.
    fn load(&self, state: &State) -> Result<Box<dyn Predictor>>;
}

/// Predicts.
pub trait Predictor: Send + Sync {
    /// The output columns (`prediction`, `score`, `probability_<class>`), a row for each row of the batch, in order.
    ///
    /// The batch holds at least the model's features. A row never depends on other rows of the batch.
    fn predict(&self, batch: &DataFrame) -> Result<Vec<PolarsColumn>>;
}

/// Measures predictions.
pub trait Evaluate: Send + Sync {
    /// The metrics it will produce, as far as they are known before training.
    fn metrics(&self, input: &Schema) -> Vec<String>;
    /// Columns it looks at.
    fn reads(&self, input: &Schema) -> BTreeSet<String>;
    /// Measures. The frame holds all parts; the stage picks the part it is to judge by the `partition` column.
    fn evaluate(&self, frame: &Frame, seed: u64) -> Result<Evaluation>;
    /// Adds what there is to tell of how the model above learned ([`State::training`]).
    ///
    /// # Errors
    /// Where a picture cannot be drawn.
    fn add_training(&self, training: &Training, evaluation: &mut Evaluation) -> Result<()> {
        let _ = (training, evaluation);
        Ok(())
    }
}

/// Where a sink put the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// In this file or folder.
    Path(PathBuf),
    /// In a place that is no file, in words without secrets: `table scores in postgresql://db/shop`.
    Place(String),
    /// Nowhere: this is to be shown to the user at the end of the run.
    Text(String),
}

/// Writes rows out.
pub trait Sink: Send + Sync {
    /// The file that it replaces, where it is known before; no other stage of the pipeline may read or write it.
    fn target(&self, cx: &SourceContext<'_>) -> Option<PathBuf> {
        let _ = cx;
        None
    }
    /// Writes the rows while they go by, never holding all of them, by running the query with polars' streaming engine. As with
    /// [`Sink::write`], all rows appear at once or none do. `None` where the sink needs all rows first: `write` is called then.
    fn stream(&self, rows: LazyFrame, cx: &SourceContext<'_>) -> Option<Result<Output>> {
        let _ = (rows, cx);
        None
    }
    /// Whether NaN and infinity stay what they are; the run tells how many became null where not.
    fn holds_not_finite(&self) -> bool {
        true
    }
    /// Writes all rows, at once or not at all (a temporary name, then renamed); answers where they are.
    fn write(&self, frame: &Frame, cx: &SourceContext<'_>) -> Result<Output>;
}

/// Puts the model above into a bundle, behind gates.
pub trait Deploy: Send + Sync {
    /// The bundle's name; the pipeline's, where none is given.
    fn name(&self) -> Option<&str>;
    /// Bounds that metrics of the evaluations above must keep.
    fn require(&self) -> Vec<(String, Requirement)>;
    /// The alias that the new version gets in the registry when all bounds are kept.
    fn promote(&self) -> Option<&str> {
        None
    }
}
