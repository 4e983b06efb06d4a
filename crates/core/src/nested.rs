//! A model inside the params of another stage: `model: {model.linfa.naive_bayes: {event: bernoulli}}`.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    CheckContext, Error, Kind, Model, ParamStep, Predictor, Problem, Result, Schema, Shape, Stage,
    State, Tensor,
};

/// The keyword of a param's schema that says that a stage of this family is meant: `takt check` holds what is inside against the
/// schema of the kind that it names.
pub const NESTED: &str = "x-stage";

/// A model by its kind, with its own params.
pub struct Nested {
    kind: &'static Kind,
    stage: Box<dyn Stage>,
}

/// What a nested model learned, but for its tensors.
#[derive(Debug, Serialize, Deserialize)]
pub struct NestedState {
    kind: String,
    /// The kind's version.
    version: u32,
    /// The state's.
    state: u32,
    data: serde_json::Value,
}

impl Nested {
    /// The model's kind.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// The model.
    ///
    /// # Errors
    /// A stage that is none; reading params refuses these.
    pub fn model(&self) -> Result<&dyn Model> {
        match self.stage.shape() {
            Shape::Model(model) => Ok(model),
            _ => Err(Error::State(format!("`{}` is not a model", self.kind.name))),
        }
    }

    /// The schema after the model, were it a stage of its own. What it reports is told at its place under `param`.
    pub fn check(&self, param: &str, input: &Schema, cx: &mut CheckContext<'_>) -> Schema {
        let mut inner = CheckContext {
            problems: Vec::new(),
            ..*cx
        };
        let output = self.stage.check(std::slice::from_ref(input), &mut inner);
        let problems = inner.problems;
        cx.problems.extend(problems.into_iter().map(|mut problem| {
            problem.path.0.splice(0..0, self.place(param, &problem));
            problem
        }));
        output
    }

    /// The steps to the model's params, or, where it is about none of them, to its kind.
    fn place(&self, param: &str, problem: &Problem) -> [ParamStep; 2] {
        let name = self.kind.name.to_owned();
        let kind = if problem.path.0.is_empty() {
            ParamStep::KeyOf(name)
        } else {
            ParamStep::Key(name)
        };
        [param.into(), kind]
    }

    /// What the model learned, to be kept in the state of the stage around it; the tensors go beside it as they are.
    pub fn keep(&self, state: &State) -> NestedState {
        NestedState {
            kind: self.kind.name.to_owned(),
            version: self.kind.version,
            state: state.version,
            data: state.data.clone(),
        }
    }

    /// What predicts with what was kept.
    ///
    /// # Errors
    /// What another model learned, or another version of this one.
    pub fn load(
        &self,
        kept: NestedState,
        tensors: BTreeMap<String, Tensor>,
    ) -> Result<Box<dyn Predictor>> {
        if (kept.kind.as_str(), kept.version) != (self.kind.name, self.kind.version) {
            return Err(Error::State(format!(
                "written by version {} of `{}`; this takt has version {} of `{}`",
                kept.version, kept.kind, self.kind.version, self.kind.name
            )));
        }
        self.model()?.load(&State {
            version: kept.state,
            data: kept.data,
            tensors,
        })
    }
}

impl fmt::Debug for Nested {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind.name)
    }
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let named = serde_yaml::Mapping::deserialize(deserializer)?;
        let mut named = named.into_iter();
        let (Some((serde_yaml::Value::String(name), mut params)), None) =
            (named.next(), named.next())
        else {
            return Err(de::Error::custom(
                "a model is a map of one kind: `{model.linfa.naive_bayes: {}}`",
            ));
        };
        let kind = inventory::iter::<Kind>
            .into_iter()
            .find(|kind| kind.name == name)
            .ok_or_else(|| de::Error::custom(format!("there is no stage kind `{name}`")))?;
        if params.is_null() {
            params = serde_yaml::Mapping::new().into();
        }
        let stage = (kind.parse)(&params).map_err(de::Error::custom)?;
        if !matches!(stage.shape(), Shape::Model(_)) {
            return Err(de::Error::custom(format!("`{name}` is not a model")));
        }
        Ok(Self { kind, stage })
    }
}

impl JsonSchema for Nested {
    fn schema_name() -> Cow<'static, str> {
        "Nested".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({"type": "object", "minProperties": 1, "maxProperties": 1, NESTED: "model"})
    }
}
