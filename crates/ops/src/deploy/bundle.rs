//! `deploy.bundle`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{CheckContext, Deploy, Requirement, Schema, Shape, Stage, register_kind};

use crate::columns;

/// Put the model above into a bundle that `takt score` can use, if it is good enough.
///
/// The bundle holds the plan from the first feature stage to the model and all that was learned. A requirement that does not
/// hold is a gate that says no: no bundle is written, and the run ends with exit code 3.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Bundle {
    /// The bundle's name, of small letters, digits, `-` and `_`; default: the pipeline's.
    #[schemars(extend("pattern" = "^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$"), length(max = 64))]
    name: Option<String>,
    /// What metrics of the evaluations above must keep: `{average_precision: ">= 0.6"}`.
    #[serde(default)]
    require: IndexMap<String, Requirement>,
}

register_kind! {
    Bundle, "deploy.bundle", version: 1,
    example: r#"- deploy.bundle: {require: {average_precision: ">= 0.6"}}"#,
}

impl Stage for Bundle {
    fn check(&self, inputs: &[Schema], _: &mut CheckContext<'_>) -> Schema {
        // Whether there is a model, and whether these metrics are measured, is the planner's to say: it sees the whole.
        columns::input(inputs).clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Deploy(self)
    }
}

impl Deploy for Bundle {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn require(&self) -> Vec<(String, Requirement)> {
        self.require
            .iter()
            .map(|(metric, bound)| (metric.clone(), *bound))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataType;
    use taktline_core::{Comparison, serde_yaml};

    use super::*;
    use crate::columns::testing::{passes, schema, stage};

    #[test]
    fn passes_the_rows_and_names_its_gates() {
        let input = schema([("score", DataType::Float64)]);
        let bundle: Bundle = stage("{name: fraud, require: {recall: '> 0.5', log_loss: '<= 0.2'}}");
        assert_eq!(passes(&bundle, &input), input);
        assert_eq!(bundle.name(), Some("fraud"));
        let gates = bundle.require();
        assert_eq!(
            gates[0],
            (
                "recall".to_owned(),
                Requirement {
                    comparison: Comparison::Above,
                    bound: 0.5
                }
            )
        );
        assert_eq!(gates[1].0, "log_loss");
        assert_eq!(stage::<Bundle>("{}").name(), None);
    }

    #[test]
    fn a_bound_is_a_sign_and_a_number() {
        assert!(serde_yaml::from_str::<Bundle>("{require: {recall: '0.5'}}").is_err());
        assert!(serde_yaml::from_str::<Bundle>("{require: {recall: '>= high'}}").is_err());
    }
}
