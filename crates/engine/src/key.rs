//! Content keys: what a cached result was made of.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use taktline_core::{Error, Result};

/// The hash of everything that a result depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// The key of a description; the order of its maps' keys does not count.
    pub(crate) fn of(description: &impl Serialize) -> Result<Self> {
        let value =
            serde_json::to_value(description).map_err(|error| Error::State(error.to_string()))?;
        Ok(Self(
            *blake3::hash(sorted(value).to_string().as_bytes()).as_bytes(),
        ))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The same value with the keys of every map in order.
pub(crate) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            entries.sort_by(|left, right| left.0.cmp(&right.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn key_order_does_not_count_and_values_do() {
        let key = |value: Value| Key::of(&value).expect("a key");
        assert_eq!(
            key(json!({"a": 1, "b": {"c": 2, "d": 3}})),
            key(json!({"b": {"d": 3, "c": 2}, "a": 1}))
        );
        assert_ne!(key(json!({"a": 1})), key(json!({"a": 2})));
        assert_ne!(
            key(json!([1, 2])),
            key(json!([2, 1])),
            "lists have an order"
        );
    }
}
