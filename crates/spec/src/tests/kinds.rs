//! Small kinds that stand for the real ones.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::{Column as PolarsColumn, DataFrame, DataType, LazyFrame};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Deploy, Error, Estimator, Evaluate, Evaluation, Expression, Fingerprint,
    FitContext, Frame, Model, Nested, Operation, Partition, Predictor, Problem, Relational,
    Requirement, Result, Schema, Shape, Sink, Source, SourceContext, Split, Stage, State, path,
    register_kind,
};

fn nothing<T>() -> Result<T> {
    Err(Error::data("only checked, never run"))
}

fn first(inputs: &[Schema]) -> Schema {
    inputs.first().cloned().unwrap_or_default()
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Type {
    /// Real numbers.
    F64,
    /// Text.
    Text,
    /// Truth.
    Bool,
}

/// A table of nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Its columns.
    #[schemars(extend("minProperties" = 1))]
    columns: BTreeMap<String, Type>,
    /// Its rows.
    #[serde(default)]
    #[schemars(range(min = 0, max = 18446744073709551615u64))]
    #[expect(dead_code, reason = "nothing is run")]
    rows: Option<u64>,
}

register_kind! { Table, "source.table", version: 1, example: "- source.table: {columns: {a: f64}}" }

impl Stage for Table {
    fn check(&self, _: &[Schema], _: &mut CheckContext<'_>) -> Schema {
        let dtype = |kind: &Type| match kind {
            Type::F64 => DataType::Float64,
            Type::Text => DataType::String,
            Type::Bool => DataType::Boolean,
        };
        Schema::new(
            self.columns
                .iter()
                .map(|(name, kind)| Column::new(name.clone(), dtype(kind)))
                .collect(),
        )
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Source(self)
    }
}

impl Source for Table {
    fn scan(&self, _: &SourceContext<'_>) -> Result<LazyFrame> {
        nothing()
    }

    fn fingerprint(&self, _: &SourceContext<'_>) -> Result<Fingerprint> {
        Ok(Fingerprint::Params)
    }
}

/// Keep only these columns.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Select {
    /// Which.
    #[schemars(length(min = 1))]
    columns: Vec<String>,
}

register_kind! { Select, "clean.select", version: 1, example: "- clean.select: {columns: [a]}" }

impl Stage for Select {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = first(inputs);
        for (index, name) in self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, name)| input.column(name).is_none())
        {
            let message = format!("`{}` reads `{name}`", cx.stage);
            cx.report(
                Problem::error("unknown-column", path!["columns", index], message)
                    .help_if(input.suggestion(name)),
            );
        }
        let columns = self
            .columns
            .iter()
            .filter_map(|name| input.column(name).cloned())
            .collect();
        Schema { columns, ..input }
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Select {
    fn lower(&self, _: &[Schema]) -> Result<Vec<Operation>> {
        let columns = self
            .columns
            .iter()
            .map(|name| (name.clone(), Expression::column(name)))
            .collect();
        Ok(vec![Operation::Project(columns)])
    }
}

/// Keep rows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keep {
    /// Where this is true.
    column: String,
}

register_kind! { Keep, "clean.keep", version: 1, example: "- clean.keep: {column: a}" }

impl Stage for Keep {
    fn check(&self, inputs: &[Schema], _: &mut CheckContext<'_>) -> Schema {
        first(inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Keep {
    fn lower(&self, _: &[Schema]) -> Result<Vec<Operation>> {
        Ok(vec![Operation::Filter(Expression::column(&self.column))])
    }
}

/// Put two frames side by side.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Join {
    /// The key.
    #[expect(dead_code, reason = "nothing is run")]
    on: String,
}

register_kind! { Join, "clean.join", version: 1, example: "- clean.join: {on: a}" }

impl Stage for Join {
    fn check(&self, inputs: &[Schema], _: &mut CheckContext<'_>) -> Schema {
        assert_eq!(inputs.len(), 2);
        first(inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }

    fn arity(&self) -> std::ops::RangeInclusive<usize> {
        2..=2
    }
}

impl Relational for Join {
    fn lower(&self, _: &[Schema]) -> Result<Vec<Operation>> {
        Ok(Vec::new())
    }
}

/// A text that serde may refuse.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
struct NoteText(String);

impl TryFrom<String> for NoteText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "serde says no" {
            Err(format!("the note `{text}` is refused."))
        } else {
            Ok(Self(text))
        }
    }
}

/// Note something.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Note {
    /// What.
    text: NoteText,
    /// More.
    #[serde(default)]
    #[expect(dead_code, reason = "nothing is run")]
    other: Option<String>,
}

register_kind! { Note, "clean.note", version: 1, example: "- clean.note: {text: a}" }

impl Stage for Note {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        if self.text.0.starts_with("refuse") {
            cx.report(Problem::error(
                "refused",
                path!["text"],
                format!("cannot note `{}`", self.text.0),
            ));
        }
        first(inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Note {
    fn lower(&self, _: &[Schema]) -> Result<Vec<Operation>> {
        Ok(Vec::new())
    }
}

/// New columns out of others.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
struct Derive(BTreeMap<String, Vec<String>>);

register_kind! { Derive, "features.derive", version: 1, example: "- features.derive: {b: [a]}" }

impl Stage for Derive {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = first(inputs);
        let mut output = input.clone();
        for (name, sources) in &self.0 {
            let mut column = Column::new(name.clone(), DataType::Float64);
            for (index, source) in sources.iter().enumerate() {
                match input.column(source) {
                    Some(source) => {
                        column
                            .from_target
                            .extend(source.from_target.iter().cloned());
                        column.from_pii.extend(source.from_pii.iter().cloned());
                    }
                    None => {
                        output.incomplete = true;
                        let message = format!("`{}` reads `{source}`", cx.stage);
                        cx.report(
                            Problem::error("unknown-column", path![name, index], message)
                                .range(Some(0..source.len()))
                                .help_if(input.suggestion(source)),
                        );
                    }
                }
            }
            output.set(column);
        }
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Derive {
    fn lower(&self, _: &[Schema]) -> Result<Vec<Operation>> {
        Ok(vec![Operation::With(Vec::new())])
    }
}

/// Scale columns.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Scale {
    /// Which.
    columns: BTreeSet<String>,
}

register_kind! { Scale, "features.scale", version: 1, example: "- features.scale: {columns: [a]}" }

impl Stage for Scale {
    fn check(&self, inputs: &[Schema], _: &mut CheckContext<'_>) -> Schema {
        first(inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for Scale {
    fn fit_reads(&self, _: &Schema) -> BTreeSet<String> {
        self.columns.clone()
    }

    fn fit(&self, _: &Frame, _: &mut FitContext<'_>) -> Result<State> {
        nothing()
    }

    fn lower(&self, _: &State, _: &[Schema]) -> Result<Vec<Operation>> {
        nothing()
    }
}

/// Split at random.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Random {
    /// The share of the test part.
    #[schemars(range(min = 0.0, max = 1.0))]
    #[expect(dead_code, reason = "nothing is run")]
    test: f64,
}

register_kind! { Random, "split.random", version: 1, example: "- split.random: {test: 0.2}" }

impl Stage for Random {
    fn check(&self, inputs: &[Schema], _: &mut CheckContext<'_>) -> Schema {
        first(inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Split(self)
    }
}

impl Split for Random {
    fn reads(&self, _: &Schema) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn assign(&self, _: &Frame, _: u64) -> Result<Vec<Partition>> {
        nothing()
    }
}

/// A line.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Line {
    /// Whether it may look at people.
    #[serde(default)]
    allow_pii: bool,
}

register_kind! { Line, "model.line", version: 1, example: "- model.line:" }

impl Stage for Line {
    fn check(&self, inputs: &[Schema], _: &mut CheckContext<'_>) -> Schema {
        first(inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

/// Another model, and what is made of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Around {
    /// The other model.
    model: Nested,
}

register_kind! { Around, "model.around", version: 1, example: "- model.around: {model: {model.line: {}}}" }

impl Stage for Around {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        self.model.check("model", &first(inputs), cx)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }

    fn nested(&self) -> Vec<&Nested> {
        vec![&self.model]
    }
}

impl Model for Around {
    fn features(&self, input: &Schema) -> Vec<String> {
        self.model
            .model()
            .map_or_else(|_| Vec::new(), |model| model.features(input))
    }

    fn target(&self, input: &Schema) -> Option<String> {
        self.model.model().ok()?.target(input)
    }

    fn fit(&self, _: &Frame, _: Option<&Frame>, _: &mut FitContext<'_>) -> Result<State> {
        nothing()
    }

    fn load(&self, _: &State) -> Result<Box<dyn Predictor>> {
        Ok(Box::new(NoPredictor))
    }
}

impl Model for Line {
    fn features(&self, input: &Schema) -> Vec<String> {
        let is_feature =
            |column: &&Column| column.role == taktline_core::Role::Feature && column.is_numeric();
        input
            .columns
            .iter()
            .filter(is_feature)
            .map(|column| column.name.clone())
            .collect()
    }

    fn target(&self, input: &Schema) -> Option<String> {
        input.target().map(|column| column.name.clone())
    }

    fn allow_pii(&self) -> bool {
        self.allow_pii
    }

    fn fit(&self, _: &Frame, _: Option<&Frame>, _: &mut FitContext<'_>) -> Result<State> {
        nothing()
    }

    fn load(&self, _: &State) -> Result<Box<dyn Predictor>> {
        Ok(Box::new(NoPredictor))
    }
}

struct NoPredictor;

impl Predictor for NoPredictor {
    fn predict(&self, _: &DataFrame) -> Result<Vec<PolarsColumn>> {
        nothing()
    }
}

/// Measure.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Measure {
    /// What.
    metrics: Vec<String>,
}

register_kind! { Measure, "evaluate.line", version: 1, example: "- evaluate.line: {metrics: [accuracy]}" }

impl Stage for Measure {
    fn check(&self, inputs: &[Schema], _: &mut CheckContext<'_>) -> Schema {
        first(inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Evaluate(self)
    }
}

impl Evaluate for Measure {
    fn metrics(&self, _: &Schema) -> Vec<String> {
        self.metrics.clone()
    }

    fn reads(&self, _: &Schema) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn evaluate(&self, _: &Frame, _: u64) -> Result<Evaluation> {
        nothing()
    }
}

/// Deploy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Bundle {
    /// Gates.
    #[serde(default)]
    require: BTreeMap<String, Requirement>,
}

register_kind! { Bundle, "deploy.bundle", version: 1, example: "- deploy.bundle: {require: {accuracy: '> 0.5'}}" }

impl Stage for Bundle {
    fn check(&self, inputs: &[Schema], _: &mut CheckContext<'_>) -> Schema {
        first(inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Deploy(self)
    }
}

impl Deploy for Bundle {
    fn name(&self) -> Option<&str> {
        None
    }

    fn require(&self) -> Vec<(String, Requirement)> {
        self.require
            .iter()
            .map(|(name, bound)| (name.clone(), bound.clone()))
            .collect()
    }
}

/// Write nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nowhere {
    /// The file that it would write.
    #[serde(default)]
    path: Option<String>,
}

register_kind! { Nowhere, "sink.nowhere", version: 1, example: "- sink.nowhere:" }

impl Stage for Nowhere {
    fn check(&self, inputs: &[Schema], _: &mut CheckContext<'_>) -> Schema {
        first(inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Sink(self)
    }
}

impl Sink for Nowhere {
    fn target(&self, cx: &SourceContext<'_>) -> Option<std::path::PathBuf> {
        self.path.as_deref().map(|path| cx.resolve(path))
    }

    fn write(&self, _: &Frame, _: &SourceContext<'_>) -> Result<taktline_core::Output> {
        nothing()
    }
}

/// A layer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "nothing is run")]
enum Layer {
    /// A convolution.
    Conv(Conv),
    /// Every input to every unit.
    Dense {
        /// How many units.
        units: u32,
        /// What comes after.
        #[serde(default)]
        activation: Option<Activation>,
    },
    /// In a row.
    Flatten,
}

/// A convolution.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "nothing is run")]
struct Conv {
    /// How many filters.
    filters: u32,
    /// How wide.
    #[schemars(range(min = 1))]
    kernel: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Activation {
    Relu,
    Softmax,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "nothing is run")]
enum Optimizer {
    /// Adaptive moments.
    Adam {
        /// The rate.
        #[serde(default)]
        rate: Option<f64>,
    },
    /// Stochastic gradient descent.
    Sgd {
        /// The rate.
        rate: f64,
    },
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "nothing is run")]
enum Stop {
    /// After so many epochs.
    After(u32),
    /// After so many epochs without progress.
    Patient(Patience),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "nothing is run")]
struct Patience {
    /// Epochs.
    #[schemars(range(min = 1))]
    patience: u32,
}

/// A network.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "nothing is run")]
struct Network {
    /// Its layers.
    layers: Vec<Layer>,
    /// How it learns.
    #[serde(default)]
    optimizer: Option<Optimizer>,
    /// When it stops.
    #[serde(default)]
    stop: Option<Stop>,
}

register_kind! { Network, "model.network", version: 1, example: "- model.network: {layers: [flatten]}" }

impl Stage for Network {
    fn check(&self, inputs: &[Schema], _: &mut CheckContext<'_>) -> Schema {
        first(inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Model(self)
    }
}

impl Model for Network {
    fn features(&self, _: &Schema) -> Vec<String> {
        Vec::new()
    }

    fn target(&self, _: &Schema) -> Option<String> {
        None
    }

    fn fit(&self, _: &Frame, _: Option<&Frame>, _: &mut FitContext<'_>) -> Result<State> {
        nothing()
    }

    fn load(&self, _: &State) -> Result<Box<dyn Predictor>> {
        Ok(Box::new(NoPredictor))
    }
}
