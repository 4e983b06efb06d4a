//! Gates: a metric's bound, as `require: {average_precision: ">= 0.6"}` writes it.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How the metric compares with its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `>=`
    AtLeast,
    /// `>`
    Above,
    /// `<=`
    AtMost,
    /// `<`
    Below,
}

/// A bound on a metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Requirement {
    /// How to compare.
    pub comparison: Comparison,
    /// With what.
    pub bound: f64,
}

impl Requirement {
    /// Whether `value` keeps the bound. Not-a-number never does.
    pub fn holds(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::AtLeast => value >= self.bound,
            Comparison::Above => value > self.bound,
            Comparison::AtMost => value <= self.bound,
            Comparison::Below => value < self.bound,
        }
    }
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (comparison, rest) = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            (">", Comparison::Above),
            ("<", Comparison::Below),
        ]
        .into_iter()
        .find_map(|(sign, comparison)| text.strip_prefix(sign).map(|rest| (comparison, rest)))
        .ok_or_else(|| {
            format!("`{text}` is not a bound; write `>= 0.6`, `> 0.6`, `<= 0.6` or `< 0.6`")
        })?;
        let bound: f64 = rest
            .trim()
            .parse()
            .map_err(|_| format!("`{}` in the bound `{text}` is not a number", rest.trim()))?;
        if !bound.is_finite() {
            return Err(format!("the bound `{text}` is not finite"));
        }
        Ok(Self { comparison, bound })
    }
}

impl TryFrom<String> for Requirement {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Requirement> for String {
    fn from(requirement: Requirement) -> Self {
        requirement.to_string()
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            Comparison::AtLeast => ">=",
            Comparison::Above => ">",
            Comparison::AtMost => "<=",
            Comparison::Below => "<",
        };
        write!(formatter, "{sign} {}", self.bound)
    }
}

impl JsonSchema for Requirement {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Requirement".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A bound: a comparison sign and a number, `>= 0.6`.",
            "pattern": r"^\s*(>=|<=|>|<)\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?\s*$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_compares() {
        let requirement: Requirement = ">= 0.6".parse().expect("a bound");
        assert!(requirement.holds(0.6) && !requirement.holds(0.59) && !requirement.holds(f64::NAN));
        assert!("0.6".parse::<Requirement>().is_err());
        assert!("> inf".parse::<Requirement>().is_err());
        assert_eq!(requirement.to_string(), ">= 0.6");
    }
}
