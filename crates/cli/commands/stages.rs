//! `takt stages`

use serde::Serialize;
use serde_json::Value;
use taktline_core::{Kind, Registry};

use crate::{
    args::StagesArguments,
    exit,
    output::{Align, BAD, BOLD, FAINT, Output, Table, styled},
    project,
};

#[derive(Serialize)]
struct KindReport {
    kind: &'static str,
    version: u32,
    about: String,
    example: &'static str,
    params: Value,
}

impl KindReport {
    fn of(kind: &Kind) -> Self {
        Self {
            kind: kind.name,
            version: kind.version,
            about: kind.about(),
            example: kind.example,
            params: (kind.params)().to_value(),
        }
    }
}

pub(crate) fn stages(arguments: &StagesArguments, output: &mut Output) -> anyhow::Result<u8> {
    let registry = project::registry()?;
    match &arguments.kind {
        None => catalogue(registry.iter().collect(), output),
        Some(name) => match registry.get(name) {
            Some(kind) => one(kind, output),
            None => family(name, &registry, output),
        },
    }
}

fn family(name: &str, registry: &Registry, output: &mut Output) -> anyhow::Result<u8> {
    let prefix = format!("{}.", name.trim_end_matches('.'));
    let kinds: Vec<&Kind> = registry
        .iter()
        .filter(|kind| kind.name.starts_with(&prefix))
        .collect();
    if kinds.is_empty() {
        output.note(format!(
            "{}: there is no stage kind `{name}`",
            styled(BAD, "error")
        ));
        if let Some(suggestion) = registry.suggestion(name) {
            output.note(format!("help: {suggestion}"));
        }
        return Ok(exit::USAGE);
    }
    catalogue(kinds, output)
}

fn catalogue(kinds: Vec<&Kind>, output: &mut Output) -> anyhow::Result<u8> {
    if output.is_json() {
        output.json(&kinds.into_iter().map(KindReport::of).collect::<Vec<_>>())?;
        return Ok(exit::OK);
    }
    let mut table = Table::new([("kind", Align::Left), ("what it does", Align::Left)]);
    for kind in &kinds {
        table.row([kind.name.to_owned(), kind.about()]);
    }
    for line in table.lines(output.width()) {
        output.line(line)?;
    }
    output.line("")?;
    output.line(styled(
        FAINT,
        format!("{} kinds; `takt stages KIND` explains one", kinds.len()),
    ))?;
    Ok(exit::OK)
}

fn one(kind: &Kind, output: &mut Output) -> anyhow::Result<u8> {
    if output.is_json() {
        output.json(&KindReport::of(kind))?;
        return Ok(exit::OK);
    }
    output.line(styled(BOLD, kind.name))?;
    output.line(kind.description())?;
    output.line("")?;
    let schema = (kind.params)().to_value();
    let mut table = Table::new([
        ("param", Align::Left),
        ("type", Align::Left),
        ("default", Align::Left),
        ("meaning", Align::Left),
    ]);
    let mut any = false;
    rows("", &schema, &schema, &mut table, &mut any, 0);
    if any {
        for line in table.lines(output.width()) {
            output.line(line)?;
        }
        output.line("")?;
    } else if let Some(kind) = type_of(&schema, &schema) {
        output.line(format!("params: {kind}"))?;
        output.line("")?;
    }
    output.line(styled(BOLD, "example"))?;
    for line in kind.example.lines() {
        output.line(format!("  {line}"))?;
    }
    Ok(exit::OK)
}

/// A row for every property; those of nested objects follow with a dotted name.
fn rows(
    prefix: &str,
    schema: &Value,
    root: &Value,
    table: &mut Table,
    any: &mut bool,
    depth: usize,
) {
    let schema = resolved(schema, root);
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, property) in properties {
        *any = true;
        let full = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        let default = match property.get("default") {
            Some(Value::Null) => "–".to_owned(),
            Some(default) => short(default),
            None if required.contains(&name.as_str()) => "required".to_owned(),
            None => "–".to_owned(),
        };
        let about = property
            .get("description")
            .or_else(|| resolved(property, root).get("description"))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .replace('\n', " ");
        table.row([
            full.clone(),
            type_of(property, root).unwrap_or_default(),
            default,
            about,
        ]);
        if depth < 3 {
            rows(&full, property, root, table, any, depth + 1);
        }
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 40 {
        "see below".to_owned()
    } else {
        text
    }
}

fn resolved<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    match schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|path| path.strip_prefix('#'))
    {
        Some(pointer) => root
            .pointer(pointer)
            .map_or(schema, |target| resolved(target, root)),
        None => schema,
    }
}

/// A type in words: `number ≥ 0`, `list of text`, `"first" or "last"`.
fn type_of(schema: &Value, root: &Value) -> Option<String> {
    let schema = resolved(schema, root);
    if let Some(constant) = schema.get("const") {
        return Some(plain(constant));
    }
    if let Some(options) = schema.get("enum").and_then(Value::as_array) {
        return Some(
            options
                .iter()
                .filter(|option| !option.is_null())
                .map(plain)
                .collect::<Vec<_>>()
                .join(" | "),
        );
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(options) = schema.get(key).and_then(Value::as_array) {
            let mut words: Vec<String> = options
                .iter()
                // `null` as a type only says that the param may be left out; as a constant it is a word to write.
                .filter(|option| option.get("type").and_then(Value::as_str) != Some("null"))
                .filter_map(|option| type_of(option, root))
                .filter(|word| !word.is_empty())
                .collect();
            words.dedup();
            return Some(words.join(" | "));
        }
    }
    let names: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .filter(|name| *name != "null")
            .collect(),
        _ => return None,
    };
    let words = names.into_iter().map(|name| match name {
        "integer" => format!("whole number{}", bounds(schema)),
        "number" => format!("number{}", bounds(schema)),
        "string" => "text".to_owned(),
        "boolean" => "bool".to_owned(),
        "array" => match schema.get("items").and_then(|items| type_of(items, root)) {
            Some(items) => format!("list of {items}"),
            None => "list".to_owned(),
        },
        "object" => object(schema, root),
        other => other.to_owned(),
    });
    Some(words.collect::<Vec<_>>().join(" | "))
}

fn object(schema: &Value, root: &Value) -> String {
    match schema.get("properties").and_then(Value::as_object) {
        Some(properties) => {
            let names: Vec<&str> = properties.keys().map(String::as_str).collect();
            format!("{{{}}}", names.join(", "))
        }
        None => match schema
            .get("additionalProperties")
            .and_then(|values| type_of(values, root))
        {
            Some(values) => format!("map of {values}"),
            None => "map".to_owned(),
        },
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn bounds(schema: &Value) -> String {
    let bound = |key: &str, sign: &str| {
        schema
            .get(key)
            .map(|bound| format!(" {sign} {bound}"))
            .unwrap_or_default()
    };
    [
        bound("minimum", "≥"),
        bound("exclusiveMinimum", ">"),
        bound("maximum", "≤"),
        bound("exclusiveMaximum", "<"),
    ]
    .concat()
}
