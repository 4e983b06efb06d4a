//! The JSON Schema of a whole document, for editors.

use serde_json::{Map, Value, json};
use taktline_core::{Kind, Registry};

use crate::document::Document;

/// Where the schema of `${…}` stands.
const SUBSTITUTION: &str = "#/$defs/Substitution";

/// The JSON Schema (2020-12) of a pipeline document, with the docs of every kind and param.
///
/// A scalar may also be a `${…}` of text, wherever a kind wants another type: what it becomes is known at check.
pub fn schema(registry: &Registry) -> Value {
    let mut document = schemars::schema_for!(Document).to_value();
    make_room_for_substitution(&mut document, true);
    let mut definitions = match document.get_mut("$defs").map(Value::take) {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    let mut stage_properties = stage_keys();
    let mut one_kind = Vec::new();
    for kind in registry.iter() {
        let mut params = (kind.params)().to_value();
        let takes_nothing = params.get("required").is_none()
            && params.get("type").is_none_or(|name| name == "object");
        embed(&mut params, kind.name);
        make_room_for_substitution(&mut params, true);
        make_room_for_null(&mut params);
        if let Value::Object(params) = &mut params {
            params.remove("$schema");
            params.remove("title");
            params.insert("examples".into(), json!([kind.example]));
        }
        let reference = json!({"$ref": format!("#/$defs/{}", kind.name)});
        let about = kind.about();
        let value = if takes_nothing {
            json!({"description": about, "anyOf": [reference, {"type": "null"}]})
        } else {
            json!({"description": about, "allOf": [reference]})
        };
        stage_properties.insert(kind.name.into(), value);
        one_kind.push(json!({"required": [kind.name]}));
        definitions.insert(kind.name.into(), params);
    }
    definitions.insert(
        "Substitution".into(),
        json!({
            "description": "`${name}` (a param), `${env:NAME}`, `${env:NAME:-default}` or `${secret:NAME}`.",
            "type": "string",
            "pattern": r"\$\{[^}]+\}",
        }),
    );
    let mut stage = json!({
        "description": "A stage: one dotted key, its kind, whose value is its params; besides it `id`, `from`, `about` and `cache`.",
        "type": "object",
        "properties": stage_properties,
        "additionalProperties": false,
    });
    if !one_kind.is_empty() {
        stage["oneOf"] = one_kind.into();
    }
    definitions.insert("Stage".into(), stage);
    if let Value::Object(document) = &mut document {
        document.insert("title".into(), "taktline pipeline".into());
        document.insert("$defs".into(), Value::Object(definitions));
        if let Some(stages) = document
            .get_mut("properties")
            .and_then(|properties| properties.get_mut("stages"))
        {
            stages["items"] = json!({"$ref": "#/$defs/Stage"});
        }
    }
    document
}

fn stage_keys() -> Map<String, Value> {
    let keys = json!({
        "id": {
            "description": "The stage's name. Its kind's last word, where none is given.",
            "type": "string",
            "pattern": "^[A-Za-z_][A-Za-z0-9_-]*$",
            "maxLength": 64,
        },
        "from": {
            "description": "The stage, or stages, that it reads. The stage above, where none is given.",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ],
        },
        "about": {"description": "What the stage is for.", "type": "string"},
        "cache": {
            "description": "Whether what it gives is kept for the next run. True, where nothing is said.",
            "anyOf": [{"type": "boolean"}, {"$ref": SUBSTITUTION}],
        },
    });
    match keys {
        Value::Object(keys) => keys,
        _ => Map::new(),
    }
}

/// Makes references of a kind's schema point into its place in the document's.
fn embed(schema: &mut Value, kind: &str) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                match (key.as_str(), value) {
                    ("$ref", Value::String(reference)) => {
                        if let Some(pointer) = reference.strip_prefix('#') {
                            *reference = format!("#/$defs/{kind}{pointer}");
                        }
                    }
                    // By name: a param may be called `default`.
                    ("properties" | "patternProperties" | "$defs", Value::Object(schemas)) => {
                        schemas.values_mut().for_each(|schema| embed(schema, kind));
                    }
                    // Values, not schemas.
                    ("default" | "const" | "enum" | "examples", _) => {}
                    (_, value) => embed(value, kind),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| embed(item, kind)),
        _ => {}
    }
}

/// The JSON Schema of a kind's params, as they may be written: `null` also without quotes.
pub fn params_schema(kind: &Kind) -> Value {
    let mut params = (kind.params)().to_value();
    make_room_for_null(&mut params);
    params
}

/// Lets the choice `null` also be written without quotes, where YAML reads nothing: the check takes that for the choice.
fn make_room_for_null(schema: &mut Value) {
    const CHOICE: &str = "null";
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(options)) = object.get_mut("enum")
                && options.iter().any(|option| option == CHOICE)
                && !options.contains(&Value::Null)
            {
                options.push(Value::Null);
                if object.get("type").is_some_and(|name| name == "string") {
                    object.insert("type".into(), json!(["string", "null"]));
                }
            }
            for part in ["oneOf", "anyOf"] {
                let Some(Value::Array(branches)) = object.get_mut(part) else {
                    continue;
                };
                let choice = branches
                    .iter()
                    .find(|branch| branch.get("const").is_some_and(|word| word == CHOICE));
                if let Some(about) = choice.map(|choice| choice.get("description").cloned()) {
                    let mut nothing = json!({"type": "null"});
                    if let Some(about) = about {
                        nothing["description"] = about;
                    }
                    branches.push(nothing);
                }
            }
            for (key, value) in object.iter_mut() {
                match (key.as_str(), value) {
                    // By name: a param may be called `default`.
                    ("properties" | "patternProperties" | "$defs", Value::Object(schemas)) => {
                        schemas.values_mut().for_each(make_room_for_null);
                    }
                    // Values, not schemas.
                    ("default" | "const" | "enum" | "examples", _) => {}
                    (_, value) => make_room_for_null(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_room_for_null),
        _ => {}
    }
}

/// Lets every scalar also be a text that holds `${…}`.
///
/// A `const` stays as it is: it tells variants apart. `oneOf` becomes `anyOf`, because such a text fits several.
fn make_room_for_substitution(schema: &mut Value, is_schema: bool) {
    let Value::Object(object) = schema else {
        return;
    };
    if is_schema && let Some(one_of) = object.remove("oneOf") {
        object.insert("anyOf".into(), one_of);
    }
    for (key, value) in object.iter_mut() {
        match (key.as_str(), value) {
            ("properties" | "patternProperties" | "$defs", Value::Object(schemas)) if is_schema => {
                schemas
                    .values_mut()
                    .for_each(|schema| make_room_for_substitution(schema, true));
            }
            ("anyOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                schemas
                    .iter_mut()
                    .for_each(|schema| make_room_for_substitution(schema, true));
            }
            (
                "items" | "additionalProperties" | "not" | "contains" | "unevaluatedProperties",
                value,
            ) => {
                make_room_for_substitution(value, true);
            }
            _ => {}
        }
    }
    if let Some(Value::Array(branches)) = object.get_mut("anyOf") {
        let is_word = |branch: &Value| branch.get("const").is_some_and(Value::is_string);
        if branches.len() > 1 && branches.iter().all(is_word) {
            branches.push(json!({"$ref": SUBSTITUTION}));
        }
    }
    if !is_restricted_scalar(object) {
        return;
    }
    // Docs and default stay outside, where editors look for them.
    let outside = [
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "$schema",
    ];
    let mut outer = Map::new();
    for key in outside {
        if let Some(value) = object.remove(key) {
            outer.insert(key.into(), value);
        }
    }
    let inner = Value::Object(std::mem::take(object));
    outer.insert("anyOf".into(), json!([inner, {"$ref": SUBSTITUTION}]));
    *object = outer;
}

/// Whether some text would not fit, though a scalar is wanted.
fn is_restricted_scalar(schema: &Map<String, Value>) -> bool {
    let is_scalar_type = |name: &str| matches!(name, "integer" | "number" | "boolean" | "string");
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if schema.contains_key("const") {
        return false;
    }
    let wants_text = types.contains(&"string");
    let has_bounds = ["pattern", "maxLength", "format", "enum"]
        .iter()
        .any(|key| schema.contains_key(*key));
    if schema.contains_key("enum") {
        return types.is_empty() || wants_text;
    }
    types.iter().any(|name| is_scalar_type(name)) && (!wants_text || has_bounds)
}
