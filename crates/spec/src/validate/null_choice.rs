//! `on_error: null`: YAML reads nothing there, and the user means the choice of that name.

use serde_json::Value;

use super::Compiled;
use crate::tree::{Node, NodeValue};

const NULL: &str = "null";

/// Reads nothing as the choice `null`, where a param has such a choice and cannot be nothing.
pub(crate) fn read_null_choices(node: &mut Node, compiled: &Compiled) {
    let json = node.to_json();
    if compiled.validator.is_valid(&json) {
        return;
    }
    let meant: Vec<String> = compiled
        .validator
        .iter_errors(&json)
        .filter(|error| error.instance().is_null())
        .filter(|error| {
            let path = error.schema_path().as_str();
            let path = path.split("/$ref").next().unwrap_or_default();
            // The schema itself, or the one that holds the keyword which said no.
            let owner = path.rsplit_once('/').map_or("", |(owner, _)| owner);
            [path, owner].iter().any(|place| {
                compiled
                    .at(place)
                    .is_some_and(|schema| has_null_choice(compiled, schema))
            })
        })
        .map(|error| error.instance_path().as_str().to_owned())
        .collect();
    for pointer in meant {
        if let Some(nothing) = at(node, &pointer)
            && matches!(nothing.value, NodeValue::Null)
        {
            nothing.value = NodeValue::Text(NULL.to_owned());
        }
    }
}

fn has_null_choice(compiled: &Compiled, schema: &Value) -> bool {
    let schema = compiled.follow(schema);
    let is_named = |value: &Value| value.as_str() == Some(NULL);
    let listed = schema.get("enum").and_then(Value::as_array);
    let parts = ["oneOf", "anyOf"]
        .iter()
        .filter_map(|part| schema.get(part)?.as_array())
        .flatten();
    schema.get("const").is_some_and(is_named)
        || listed.is_some_and(|options| options.iter().any(is_named))
        || parts.into_iter().any(|part| {
            part.get("const").is_some_and(is_named)
                || part
                    .get("enum")
                    .and_then(Value::as_array)
                    .is_some_and(|options| options.iter().any(is_named))
        })
}

fn at<'n>(node: &'n mut Node, pointer: &str) -> Option<&'n mut Node> {
    let mut node = node;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        node = match &mut node.value {
            NodeValue::Mapping(entries) => entries
                .iter_mut()
                .find(|(key, _)| key.text == step)
                .map(|(_, node)| node)?,
            NodeValue::Sequence(items) => items.get_mut(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(node)
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde_json::json;

    use super::*;
    use crate::{source::SourceText, tree::parse};

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Params {
        on_error: OnError,
        plain: Plain,
        each: std::collections::BTreeMap<String, OnError>,
        text: String,
        maybe: Option<String>,
    }

    /// With docs on its variants.
    #[derive(JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum OnError {
        /// It fails.
        Error,
        /// It is nothing.
        Null,
    }

    #[derive(JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Plain {
        Keep,
        Null,
    }

    #[test]
    fn nothing_is_the_choice_of_that_name_and_nothing_else() {
        let compiled = Compiled::new(schemars::schema_for!(Params)).expect("a schema");
        let source = SourceText::new(
            "params.yaml",
            "{on_error: null, plain: ~, each: {a/b: null, c: error}, text: null, maybe: null}",
        );
        let mut node = parse(&source).expect("a tree");
        read_null_choices(&mut node, &compiled);
        assert_eq!(
            node.to_json(),
            json!({
                "on_error": "null",
                "plain": "null",
                "each": {"a/b": "null", "c": "error"},
                "text": null,
                "maybe": null,
            })
        );
    }
}
