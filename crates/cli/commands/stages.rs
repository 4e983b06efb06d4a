//! `takt stages`

use serde::Serialize;
use serde_json::Value;
use taktline_core::Kind;

use crate::{
    args::StagesArguments,
    exit,
    output::{Align, BAD, BOLD, FAINT, Output, Table, styled, wrapped},
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
            params: taktline_spec::params_schema(kind),
        }
    }
}

pub(crate) fn stages(arguments: &StagesArguments, output: &mut Output) -> anyhow::Result<u8> {
    let registry = project::registry()?;
    let Some(name) = &arguments.kind else {
        return catalogue(&registry.iter().collect::<Vec<_>>(), arguments, output);
    };
    if let Some(kind) = registry.get(name) {
        return one(kind, arguments, output);
    }
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
    catalogue(&kinds, arguments, output)
}

fn catalogue(
    kinds: &[&Kind],
    arguments: &StagesArguments,
    output: &mut Output,
) -> anyhow::Result<u8> {
    if output.is_json() {
        let reports: Vec<KindReport> = kinds.iter().map(|kind| KindReport::of(kind)).collect();
        output.json(&reports)?;
        return Ok(exit::OK);
    }
    if arguments.markdown {
        output.line("| kind | what it does |\n| --- | --- |")?;
        for kind in kinds {
            // An anchor is the heading without its dots.
            let anchor = kind.name.replace('.', "");
            output.line(format!("| [{}](#{anchor}) | {} |", kind.name, kind.about()))?;
        }
        output.line("")?;
        for kind in kinds {
            markdown(kind, output)?;
        }
        return Ok(exit::OK);
    }
    let mut table = Table::new([("kind", Align::Left), ("what it does", Align::Left)]);
    for kind in kinds {
        table.row([kind.name.to_owned(), kind.about()]);
    }
    output.table(&table)?;
    output.line("")?;
    output.line(styled(
        FAINT,
        format!("{} kinds; `takt stages KIND` explains one", kinds.len()),
    ))?;
    Ok(exit::OK)
}

fn one(kind: &Kind, arguments: &StagesArguments, output: &mut Output) -> anyhow::Result<u8> {
    if output.is_json() {
        output.json(&KindReport::of(kind))?;
        return Ok(exit::OK);
    }
    if arguments.markdown {
        markdown(kind, output)?;
        return Ok(exit::OK);
    }
    output.line(styled(BOLD, kind.name))?;
    for line in wrapped(&kind.description(), output.width()) {
        output.line(line)?;
    }
    output.line("")?;
    let schema = (kind.params)().to_value();
    let params = params(&schema);
    if params.is_empty() {
        if let Some(kind) = type_of(&schema, &schema) {
            output.line(format!("params: {kind}"))?;
            output.line("")?;
        }
    } else if output.width() < ROOM_FOR_A_TABLE {
        let room = output.width();
        for line in params.iter().flat_map(|param| block(param, room)) {
            output.line(line)?;
        }
        output.line("")?;
    } else {
        let mut table = Table::new([
            ("param", Align::Left),
            ("type", Align::Left),
            ("default", Align::Left),
            ("meaning", Align::Left),
        ]);
        for param in params {
            table.row([param.name, param.type_name, param.default, param.about]);
        }
        output.table(&table)?;
        output.line("")?;
    }
    output.line(styled(BOLD, "example"))?;
    for line in kind.example.lines() {
        output.line(format!("  {line}"))?;
    }
    Ok(exit::OK)
}

/// Beside the names of nested params, narrower terminals leave the meanings a few letters a line.
const ROOM_FOR_A_TABLE: usize = 100;

/// A param where there is no room for a table: name, type and default on a line, the meaning below.
fn block(param: &Param, room: usize) -> Vec<String> {
    let default = match param.default.as_str() {
        "–" => String::new(),
        "required" => "required".to_owned(),
        default => format!("default {default}"),
    };
    let facts: Vec<&str> = [param.type_name.as_str(), &default]
        .into_iter()
        .filter(|fact| !fact.is_empty())
        .collect();
    let head = format!("{}: {}", param.name, facts.join(", "));
    let mut lines = wrapped(&head, room.saturating_sub(8));
    for line in lines.iter_mut().skip(1) {
        line.insert_str(0, "        ");
    }
    if let Some(first) = lines.first_mut() {
        *first = first.replacen(&param.name, &styled(BOLD, &param.name), 1);
    }
    if !param.about.is_empty() {
        let about = wrapped(&param.about, room.saturating_sub(4));
        lines.extend(about.into_iter().map(|line| format!("    {line}")));
    }
    lines
}

/// A section of the reference in `pipelines/README.md`.
fn markdown(kind: &Kind, output: &mut Output) -> anyhow::Result<()> {
    output.line(format!("### {}\n", kind.name))?;
    output.line(format!("{}\n", kind.description()))?;
    let schema = (kind.params)().to_value();
    let params = params(&schema);
    if params.is_empty() {
        if let Some(kind) = type_of(&schema, &schema) {
            output.line(format!("Params: {kind}.\n"))?;
        }
    } else {
        // A bar would end the cell.
        let cell = |text: &str| text.replace('|', "\\|");
        output.line("| param | type | default | meaning |\n| --- | --- | --- | --- |")?;
        for param in params {
            output.line(format!(
                "| `{}` | {} | {} | {} |",
                param.name,
                cell(&param.type_name),
                cell(&param.default),
                cell(&param.about)
            ))?;
        }
        output.line("")?;
    }
    output.line(format!("```yaml\n{}\n```\n", kind.example.trim_end()))
}

/// What the reference says of a param.
struct Param {
    /// With the names of the params it is in: `layers[].conv.filters`.
    name: String,
    type_name: String,
    default: String,
    about: String,
}

/// How deep params in params are explained.
const DEEPEST: usize = 4;

/// Every param, those of nested objects, of list items and of variants behind theirs.
fn params(schema: &Value) -> Vec<Param> {
    let mut found = Vec::new();
    collect("", schema, schema, &mut found, 0);
    found
}

fn collect(prefix: &str, schema: &Value, root: &Value, found: &mut Vec<Param>, depth: usize) {
    if depth > DEEPEST {
        return;
    }
    let schema = resolved(schema, root);
    if let Some(items) = schema.get("items") {
        collect(&format!("{prefix}[]"), items, root, found, depth + 1);
    }
    if let Some(values) = schema
        .get("additionalProperties")
        .filter(|values| values.is_object())
    {
        collect(&format!("{prefix}.*"), values, root, found, depth + 1);
    }
    for option in ["anyOf", "oneOf"]
        .iter()
        .filter_map(|key| schema.get(*key)?.as_array())
        .flatten()
    {
        collect(prefix, option, root, found, depth);
    }
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
        // A variant that holds a value is an object of one property, and its words stand with the object.
        let of_variant = || {
            let is_variant = properties.len() == 1 && !prefix.is_empty();
            is_variant.then(|| schema.get("description")).flatten()
        };
        let mut about = property
            .get("description")
            .or_else(|| resolved(property, root).get("description"))
            .or_else(of_variant)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .replace('\n', " ");
        for meaning in meanings(property, root) {
            about.push(' ');
            about.push_str(&meaning);
        }
        // The same param may be in several variants.
        if found.iter().all(|param| param.name != full) {
            found.push(Param {
                name: full.clone(),
                type_name: type_of(property, root).unwrap_or_default(),
                default,
                about,
            });
        }
        collect(&full, property, root, found, depth + 1);
    }
}

/// What each word that may be written means: `` `clip`: … ``.
fn meanings(schema: &Value, root: &Value) -> Vec<String> {
    let schema = resolved(schema, root);
    let options = ["anyOf", "oneOf"]
        .iter()
        .filter_map(|key| schema.get(*key)?.as_array())
        .flatten();
    let mut found = Vec::new();
    for option in options {
        let target = resolved(option, root);
        match (target.get("const"), target.get("description")) {
            (Some(word), Some(Value::String(meaning))) => {
                found.push(format!("`{}`: {}", plain(word), meaning.replace('\n', " ")));
            }
            _ => found.extend(meanings(option, root)),
        }
    }
    found
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 40 {
        let start: String = text.chars().take(38).collect();
        format!("{start} …")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_param_is_a_block_where_there_is_no_room_for_a_table() {
        let param = Param {
            name: "layers[].conv.activation".to_owned(),
            type_name: "linear | relu | tanh | sigmoid | softmax".to_owned(),
            default: "\"linear\"".to_owned(),
            about: "What is done to the sums. `relu`: What is below zero becomes zero.".to_owned(),
        };
        let lines = block(&param, 60);
        let plain: Vec<String> = lines
            .iter()
            .map(|line| anstream::adapter::strip_str(line).to_string())
            .collect();
        assert_eq!(
            plain,
            [
                "layers[].conv.activation: linear | relu | tanh |",
                "        sigmoid | softmax, default \"linear\"",
                "    What is done to the sums. `relu`: What is below zero",
                "    becomes zero.",
            ]
        );
        assert!(lines[0].contains('\u{1b}'), "the name stands out");
        let bare = Param {
            type_name: "text".to_owned(),
            default: "–".to_owned(),
            about: String::new(),
            ..param
        };
        let lines = block(&bare, 60);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with(": text"), "{lines:?}");
    }
}
