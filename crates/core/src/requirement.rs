//! Gates: a metric's bound, as `require: {average_precision: ">= 0.6"}` or `">= production"` writes it.

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

/// What a metric is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// A number.
    Number(f64),
    /// What a registered version of the same model reaches on the same rows, times `factor`, plus `offset`.
    Champion {
        /// An alias (`production`), `latest`, or `v3`.
        version: String,
        /// 1 where none is written.
        factor: f64,
        /// 0 where none is written.
        offset: f64,
    },
}

/// A bound on a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Requirement {
    /// How to compare.
    pub comparison: Comparison,
    /// With what.
    pub bound: Bound,
}

impl Requirement {
    /// Whether `value` keeps the bound, which lies at `limit`. Not-a-number never does.
    pub fn holds(&self, value: f64, limit: f64) -> bool {
        match self.comparison {
            Comparison::AtLeast => value >= limit,
            Comparison::Above => value > limit,
            Comparison::AtMost => value <= limit,
            Comparison::Below => value < limit,
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
        let bound = rest
            .parse()
            .map_err(|why| format!("{why} in the bound `{text}`"))?;
        Ok(Self { comparison, bound })
    }
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(number) = number(text) {
            return Ok(Self::Number(number));
        }
        let (factor, rest) = match text.split_once('*') {
            Some((factor, rest)) => (number(factor)?, rest.trim_start()),
            None => (1.0, text),
        };
        let end = rest
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || "-_".contains(letter)))
            .unwrap_or(rest.len());
        let (version, rest) = rest.split_at(end);
        let is_word = version.starts_with(|first: char| first.is_ascii_alphabetic());
        // `inf` and `nan` are numbers to some.
        if !is_word || version.parse::<f64>().is_ok() {
            return Err(format!("`{text}` is neither a number nor a version's name"));
        }
        let rest = rest.trim_start();
        let offset = match (rest, rest.strip_prefix('-'), rest.strip_prefix('+')) {
            ("", _, _) => 0.0,
            (_, Some(less), _) => -number(less)?,
            (_, _, Some(more)) => number(more)?,
            _ => {
                return Err(format!(
                    "`{rest}` after `{version}` is not ` + ` or ` - ` and a number"
                ));
            }
        };
        Ok(Self::Champion {
            version: version.to_owned(),
            factor,
            offset,
        })
    }
}

fn number(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let is_written =
        text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    match text.parse::<f64>() {
        Ok(number) if is_written && number.is_finite() => Ok(number),
        Ok(_) if is_written => Err(format!("`{text}` is not finite")),
        _ => Err(format!("`{text}` is not a number")),
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

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, factor, offset) = match self {
            Self::Number(number) => return write!(formatter, "{number}"),
            Self::Champion {
                version,
                factor,
                offset,
            } => (version, *factor, *offset),
        };
        if factor != 1.0 {
            write!(formatter, "{factor} * ")?;
        }
        formatter.write_str(version)?;
        match offset {
            0.0 => Ok(()),
            less if less < 0.0 => write!(formatter, " - {}", -less),
            more => write!(formatter, " + {more}"),
        }
    }
}

impl JsonSchema for Requirement {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Requirement".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        const NUMBER: &str = r"[0-9.]+([eE][-+]?[0-9]+)?";
        json_schema!({
            "type": "string",
            "description": "A bound: a comparison sign and a number, `>= 0.6`, or a registered version of the same model, `>= production - 0.01`.",
            "pattern": format!(
                r"^\s*(>=|<=|>|<)\s*([-+]?{NUMBER}|([-+]?{NUMBER}\s*\*\s*)?[A-Za-z][A-Za-z0-9_-]*(\s*[-+]\s*{NUMBER})?)\s*$"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Requirement {
        text.parse().expect("a bound")
    }

    #[test]
    fn reads_and_compares() {
        let requirement = read(">= 0.6");
        assert_eq!(requirement.bound, Bound::Number(0.6));
        assert!(requirement.holds(0.6, 0.6) && !requirement.holds(0.59, 0.6));
        assert!(!requirement.holds(f64::NAN, 0.6) && !requirement.holds(0.6, f64::NAN));
        assert_eq!(requirement.to_string(), ">= 0.6");
        for wrong in ["0.6", "> inf", ">=", ">= 1e999", ">= nan * production"] {
            assert!(wrong.parse::<Requirement>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_version_is_a_bound_with_a_margin() {
        let champion = |version: &str, factor, offset| Bound::Champion {
            version: version.into(),
            factor,
            offset,
        };
        assert_eq!(
            read(">= production").bound,
            champion("production", 1.0, 0.0)
        );
        assert_eq!(read("> v3 - 0.01").bound, champion("v3", 1.0, -0.01));
        assert_eq!(
            read("<= 1.05*latest+2").bound,
            champion("latest", 1.05, 2.0)
        );
        for text in [">= production", "< 1.05 * shadow-1 - 0.5", "> v3 + 1"] {
            assert_eq!(read(text).to_string(), text);
        }
        let why = |text: &str| text.parse::<Requirement>().expect_err("no bound");
        assert_eq!(
            why(">= production-0.01"),
            "`.01` after `production-0` is not ` + ` or ` - ` and a number in the bound `>= production-0.01`"
        );
        assert_eq!(
            why(">= high * production"),
            "`high` is not a number in the bound `>= high * production`"
        );
    }
}
