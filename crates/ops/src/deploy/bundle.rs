//! `deploy.bundle`.

use std::fmt;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use taktline_core::{
    Bound, CheckContext, Deploy, Problem, Requirement, Schema, Shape, Stage, did_you_mean, path,
    register_kind,
};

use crate::columns;

/// Put the model above into a bundle that `takt score` can use, if it is good enough.
///
/// The bundle holds the plan from the source to the model (from below the last stage that drops or joins rows, where there is one)
/// and all that was learned. A requirement that does not hold is a gate that says no: no bundle is written, and the run ends with
/// exit code 3. Stages that look at other rows (windows, lags, graphs) see those that are scored together.
///
/// A bound may be a number, or a registered version of the same model: `">= production"` scores the rows of this run with the
/// version that is called `production`, judges it by the same evaluation, and compares; `">= production - 0.01"` and
/// `"<= 1.05 * production"` leave a margin. Where no version is called so yet there is nothing to compare with, and the gate is
/// open. `promote: production` gives the new version that name once every gate is kept, so that the next run is compared with it; not
/// where another version got the name meanwhile, and not where somebody rolled back from that very version.
///
/// The registered version may have learned from rows that are held out this time: `split.time` and `split.column` keep such rows apart
/// when the data grow, a split at random does not, and then the registered version looks better than it is. The check warns of that.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Bundle {
    /// The bundle's name, of small letters, digits, `-` and `_`; default: the pipeline's.
    #[schemars(extend("pattern" = "^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$"), length(max = 64))]
    name: Option<String>,
    /// What metrics of the evaluations above must keep: `{average_precision: ">= 0.6"}`, or several bounds in a list.
    #[serde(default)]
    require: IndexMap<String, Bounds>,
    /// The alias that the new version gets in the registry when it is good enough.
    #[schemars(extend("pattern" = "^[A-Za-z][A-Za-z0-9_-]*$"))]
    promote: Option<String>,
}

/// A bound, or a list of bounds that must all be kept.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
enum Bounds {
    /// A bound.
    One(Requirement),
    /// Bounds.
    Many(#[schemars(length(min = 1))] Vec<Requirement>),
}

/// By hand: derived, a fault in a bound would be told as one of an "untagged enum".
impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Bounds;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a bound such as `>= 0.6`, or a list of bounds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bounds, E> {
                text.parse().map(Bounds::One).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut bounds: A) -> Result<Bounds, A::Error> {
                let mut all = Vec::new();
                while let Some(bound) = bounds.next_element()? {
                    all.push(bound);
                }
                Ok(Bounds::Many(all))
            }
        }

        deserializer.deserialize_any(Read)
    }
}

register_kind! {
    Bundle, "deploy.bundle", version: 1,
    example: r#"- deploy.bundle: {require: {average_precision: [">= 0.6", ">= production - 0.01"]}, promote: production}"#,
}

impl Stage for Bundle {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        if let Some(alias) = self.promote.as_deref().filter(|alias| is_reserved(alias)) {
            let message = format!("`{alias}` means a version already, so it cannot be an alias");
            cx.report(
                Problem::error("bad-alias", path!["promote"], message)
                    .help("write a word such as `production`"),
            );
        }
        for (metric, bound) in self.require() {
            let (Bound::Champion { version, .. }, Some(alias)) = (&bound.bound, &self.promote)
            else {
                continue;
            };
            if let Some(help) = did_you_mean(version, [alias.as_str()]).filter(|_| version != alias)
            {
                let message = format!(
                    "the bound on `{metric}` names `{version}`, and `promote` gives the name `{alias}`"
                );
                cx.report(
                    Problem::error("unknown-alias", path!["require", metric], message).help(help),
                );
            }
        }
        // Whether there is a model, and whether these metrics are measured, is the planner's to say: it sees the whole.
        columns::input(inputs).clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Deploy(self)
    }
}

/// Whether the word means a version without anybody having said so: `latest`, `v3`.
fn is_reserved(alias: &str) -> bool {
    let is_number = |rest: &str| !rest.is_empty() && rest.chars().all(|one| one.is_ascii_digit());
    alias == "latest" || alias.strip_prefix('v').is_some_and(is_number)
}

impl Deploy for Bundle {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn require(&self) -> Vec<(String, Requirement)> {
        let of = |bounds: &Bounds| match bounds {
            Bounds::One(bound) => vec![bound.clone()],
            Bounds::Many(bounds) => bounds.clone(),
        };
        self.require
            .iter()
            .flat_map(|(metric, bounds)| {
                of(bounds).into_iter().map(|bound| (metric.clone(), bound))
            })
            .collect()
    }

    fn promote(&self) -> Option<&str> {
        self.promote.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataType;
    use taktline_core::serde_yaml;

    use super::*;
    use crate::columns::testing::{passes, schema, stage};

    #[test]
    fn passes_the_rows_and_names_its_gates() {
        let input = schema([("score", DataType::Float64)]);
        let bundle: Bundle = stage(
            "{name: fraud, require: {recall: ['> 0.5', '>= production'], log_loss: '<= 0.2'}, promote: production}",
        );
        assert_eq!(passes(&bundle, &input), input);
        assert_eq!(bundle.name(), Some("fraud"));
        assert_eq!(bundle.promote(), Some("production"));
        let gates: Vec<String> = bundle
            .require()
            .iter()
            .map(|(metric, bound)| format!("{metric} {bound}"))
            .collect();
        assert_eq!(
            gates,
            ["recall > 0.5", "recall >= production", "log_loss <= 0.2"]
        );
        assert_eq!(stage::<Bundle>("{}").name(), None);
    }

    #[test]
    fn a_bound_is_a_sign_and_what_to_compare_with() {
        assert!(serde_yaml::from_str::<Bundle>("{require: {recall: '0.5'}}").is_err());
        assert!(serde_yaml::from_str::<Bundle>("{require: {recall: '>= 0.5 high'}}").is_err());
        assert!(serde_yaml::from_str::<Bundle>("{require: {recall: ['>= high', '0.5']}}").is_err());
    }
}
