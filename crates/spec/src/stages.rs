//! Reads the `stages:` list: each stage's kind, params, id and inputs, before anything is checked against data.

use std::{collections::HashMap, ops::Range};

use taktline_core::{Kind, Registry, Stage, closest, did_you_mean};

use crate::{
    report::Report,
    substitute::is_name,
    tree::{Key, Node, NodeValue, shortened},
    validate::{Compiled, Subject, hold, read_null_choices},
};

/// The keys of a stage besides its kind.
const KEYS: [&str; 4] = ["id", "from", "about", "cache"];

/// A stage as written, on its way to a planned one.
pub(crate) struct Draft {
    pub(crate) id: String,
    pub(crate) kind: Option<&'static Kind>,
    /// The key that names the kind; the stage's first key where none does.
    pub(crate) place: Range<usize>,
    pub(crate) params: Node,
    /// Ids with their places, and the place of the whole; `None` for the stage above.
    pub(crate) from: Option<FromNames>,
    pub(crate) about: Option<String>,
    pub(crate) cache: bool,
    /// The params as serde read them, secrets hidden.
    pub(crate) values: serde_yaml::Value,
    /// `None` where kind or params are wrong.
    pub(crate) stage: Option<Box<dyn Stage>>,
    /// For each input, its stage; `None` where `from` names no stage.
    pub(crate) inputs: Vec<Option<usize>>,
    /// The inputs cannot be handed to the stage: there are too many or too few.
    pub(crate) wrong_inputs: bool,
}

/// Every stage of the list, in the order written.
pub(crate) fn read_stages(list: &Node, registry: &Registry, report: &mut Report<'_>) -> Vec<Draft> {
    let mut explicit: HashMap<String, Range<usize>> = HashMap::new();
    let mut drafts: Vec<(Draft, bool)> = Vec::new();
    for node in list.items() {
        if let Some(draft) = read_stage(node, registry, &mut explicit, report) {
            drafts.push(draft);
        }
    }
    // Ids that are written down come first, so that a default id never takes one.
    let mut taken: HashMap<String, usize> = explicit.into_keys().map(|id| (id, 1)).collect();
    drafts
        .into_iter()
        .map(|(mut draft, has_id)| {
            if !has_id {
                draft.id = free_id(draft.id, &mut taken);
            }
            draft
        })
        .collect()
}

/// `derive`, `derive-2`, `derive-3`: the first that is free.
fn free_id(word: String, taken: &mut HashMap<String, usize>) -> String {
    let mut number = taken.get(&word).map_or(1, |known| known + 1);
    loop {
        let id = if number == 1 {
            word.clone()
        } else {
            format!("{word}-{number}")
        };
        // `word` also counts how far its numbers have gone, so that many equal stages cost one step each.
        taken.insert(word.clone(), number);
        if number == 1 || !taken.contains_key(&id) {
            taken.entry(id.clone()).or_insert(1);
            return id;
        }
        number += 1;
    }
}

fn read_stage(
    node: &Node,
    registry: &Registry,
    explicit: &mut HashMap<String, Range<usize>>,
    report: &mut Report<'_>,
) -> Option<(Draft, bool)> {
    let NodeValue::Mapping(entries) = &node.value else {
        if node.is_unresolved() {
            return None;
        }
        let span = report.underline(node, None);
        let help = match node.text() {
            Some(name) if registry.get(name).is_some() => format!("write `- {name}: {{}}`"),
            Some(name) => registry.suggestion(name).unwrap_or_else(|| {
                "write `- kind: {…}`, for example `- clean.drop_nulls: {}`".into()
            }),
            None => "write `- kind: {…}`, for example `- clean.drop_nulls: {}`".into(),
        };
        let message = format!(
            "a stage is a map with its kind as a key, found {}",
            node.found()
        );
        report.error(span, "missing-kind", message).help.push(help);
        return None;
    };
    let mut kinds = entries
        .iter()
        .filter(|(key, _)| key.text.contains('.') && !KEYS.contains(&key.text.as_str()));
    let named = kinds.next();
    for (other, _) in kinds {
        let first = named.map(|(key, _)| key.text.as_str()).unwrap_or_default();
        let diagnostic = report.error(
            other.span.clone(),
            "two-kinds",
            format!(
                "a stage has one kind; this one has `{first}` and `{}`",
                other.text
            ),
        );
        diagnostic.label = Some("a second kind".into());
        diagnostic
            .help
            .push("begin a stage of its own with `- `".into());
    }
    let mut unknown = entries
        .iter()
        .filter(|(key, _)| !key.text.contains('.') && !KEYS.contains(&key.text.as_str()));
    // A lone word that is no key of a stage was meant to be its kind.
    let meant = if named.is_none() {
        unknown.next()
    } else {
        None
    };
    for (key, _) in unknown {
        let diagnostic = report.error(
            key.span.clone(),
            "unknown-key",
            format!("a stage has no key `{}`", shortened(&key.text)),
        );
        let param = named
            .and_then(|(name, _)| registry.get(&name.text))
            .filter(|kind| has_param(kind, &key.text))
            .map(|kind| {
                format!(
                    "`{}` is a param of `{}`: put it under the kind's key",
                    key.text, kind.name
                )
            });
        diagnostic
            .help
            .extend(param.or_else(|| did_you_mean(&key.text, KEYS)));
    }
    let (kind, place, params) = match named.or(meant) {
        Some((key, params)) => {
            let kind = registry.get(&key.text);
            if kind.is_none() {
                let diagnostic = report.error(
                    key.span.clone(),
                    "unknown-kind",
                    format!("there is no stage kind `{}`", shortened(&key.text)),
                );
                diagnostic.help.extend(suggested_kind(&key.text, registry));
            }
            (kind, key.span.clone(), params.clone())
        }
        None => {
            let span = report.underline(node, None);
            report
                .error(span.clone(), "missing-kind", "this stage has no kind")
                .help
                .push("add a key that names one, for example `clean.drop_nulls: {}`; `takt stages` lists them".into());
            (None, span, Node::new(NodeValue::Null, node.span.clone()))
        }
    };
    let id = node.get("id").and_then(|id| read_id(id, explicit, report));
    let default_id = named
        .or(meant)
        .map(|(key, _)| last_word(&key.text))
        .unwrap_or_else(|| "stage".into());
    let has_id = id.is_some();
    let draft = Draft {
        id: id.unwrap_or(default_id),
        kind,
        place,
        params,
        from: node
            .get("from")
            .and_then(|from| read_from(node, from, report)),
        about: read_about(node, report),
        cache: read_cache(node, report),
        values: serde_yaml::Value::Null,
        stage: None,
        inputs: Vec::new(),
        wrong_inputs: false,
    };
    Some((draft, has_id))
}

fn has_param(kind: &Kind, name: &str) -> bool {
    (kind.params)()
        .get("properties")
        .and_then(|properties| properties.get(name))
        .is_some()
}

/// The nearest kind, or those of the same family.
fn suggested_kind(name: &str, registry: &Registry) -> Option<String> {
    let family = name.split('.').next().unwrap_or(name);
    if closest(name, registry.iter().map(|kind| kind.name)).is_some() {
        return registry.suggestion(name);
    }
    let last = last_word(name);
    if let Some(near) = registry
        .iter()
        .find(|kind| closest(&last, [kind.last_word()]).is_some())
    {
        return Some(format!("did you mean `{}`?", near.name));
    }
    let siblings: Vec<&str> = registry
        .iter()
        .filter(|kind| kind.family() == family)
        .map(|kind| kind.name)
        .collect();
    if siblings.is_empty() {
        return Some("`takt stages` lists them all".into());
    }
    did_you_mean(name, siblings)
}

/// The last word of a dotted name, as far as it can be an id.
fn last_word(name: &str) -> String {
    let word: String = name
        .rsplit('.')
        .next()
        .unwrap_or(name)
        .chars()
        .filter(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-'))
        .take(48)
        .collect();
    if is_name(&word) { word } else { "stage".into() }
}

fn read_id(
    node: &Node,
    explicit: &mut HashMap<String, Range<usize>>,
    report: &mut Report<'_>,
) -> Option<String> {
    if node.is_unresolved() {
        return None;
    }
    let Some(id) = node.text().filter(|id| is_name(id)) else {
        let given = match node.text() {
            Some(text) => format!("`{}`", shortened(text)),
            None => node.found(),
        };
        report
            .error(
                node.span.clone(),
                "invalid-id",
                format!("{given} cannot be a stage's id"),
            )
            .help
            .push("use letters, digits, `_` and `-`, begin with a letter, at most 64".into());
        return None;
    };
    if let Some(first) = explicit.get(id) {
        let line = report.line(first);
        let diagnostic = report.error(
            node.span.clone(),
            "duplicate-id",
            format!("two stages have the id `{id}`"),
        );
        diagnostic.label = Some("taken".into());
        diagnostic.notes.push(format!("first used on line {line}"));
        return None;
    }
    explicit.insert(id.to_owned(), node.span.clone());
    Some(id.to_owned())
}

/// The ids that `from` names with their places, and the place of the key.
pub(crate) type FromNames = (Vec<(String, Range<usize>)>, Range<usize>);

fn read_from(stage: &Node, node: &Node, report: &mut Report<'_>) -> Option<FromNames> {
    let key = stage
        .entry("from")
        .map_or(0..0, |(key, _)| key.span.clone());
    let items = match &node.value {
        NodeValue::Text(_) => std::slice::from_ref(node),
        NodeValue::Sequence(items) if !items.is_empty() => items.as_slice(),
        _ => {
            let message = format!(
                "`from` names a stage or a list of stages, found {}",
                node.found()
            );
            report.error(report.underline(node, None), "wrong-type", message);
            return Some((Vec::new(), key));
        }
    };
    let mut names = Vec::new();
    for item in items {
        match item.text() {
            Some(name) => names.push((name.to_owned(), item.span.clone())),
            None => {
                let message = format!("`from` names stages by their id, found {}", item.found());
                report.error(report.underline(item, None), "wrong-type", message);
            }
        }
    }
    Some((names, key))
}

fn read_about(node: &Node, report: &mut Report<'_>) -> Option<String> {
    let (key, about) = node.entry("about")?;
    if about.text().is_none() && !matches!(about.value, NodeValue::Null) {
        let span = report.underline(about, Some(key));
        report.error(
            span,
            "wrong-type",
            format!("`about`: expected text, found {}", about.found()),
        );
    }
    about.text().map(str::to_owned)
}

fn read_cache(node: &Node, report: &mut Report<'_>) -> bool {
    match node.entry("cache") {
        None => true,
        Some((
            _,
            Node {
                value: NodeValue::Bool(cache),
                ..
            },
        )) => *cache,
        Some((key, cache)) => {
            if !cache.is_unresolved() {
                let span = report.underline(cache, Some(key));
                let message = format!(
                    "`cache`: expected `true` or `false`, found {}",
                    cache.found()
                );
                report.error(span, "wrong-type", message);
            }
            true
        }
    }
}

/// Holds params, and those of the stages inside them, against the schemas of their kinds; whether all fit.
fn hold_params(
    kind: &'static Kind,
    params: &mut Node,
    place: &Range<usize>,
    report: &mut Report<'_>,
) -> bool {
    let compiled = match Compiled::of_kind(kind) {
        Ok(compiled) => compiled,
        Err(error) => {
            let message = format!("the schema of `{}` is not usable: {error}", kind.name);
            report.error(place.clone(), "invalid-kind", message);
            return false;
        }
    };
    // `- clean.drop_nulls:` without params means all defaults.
    if matches!(params.value, NodeValue::Null) && !compiled.is_list() {
        params.value = NodeValue::Mapping(Vec::new());
    }
    read_null_choices(params, &compiled);
    let name = format!("`{}`", kind.name);
    let subject = Subject {
        name: &name,
        noun: "param",
        unknown: "unknown-param",
        missing: "missing-param",
        place: place.clone(),
    };
    if !hold(params, &compiled, &subject, report) {
        return false;
    }
    let mut all_fit = true;
    for (param, family) in compiled.nested() {
        if let NodeValue::Mapping(entries) = &mut params.value
            && let Some((_, node)) = entries.iter_mut().find(|(key, _)| key.text == param)
            && let NodeValue::Mapping(named) = &mut node.value
            && let Some((key, params)) = named.first_mut()
        {
            all_fit &= match named_kind(key, family, report) {
                Some(kind) => hold_params(kind, params, &key.span, report),
                None => false,
            };
        }
    }
    all_fit
}

/// The kind of that name and family; reports where there is none.
fn named_kind(key: &Key, family: &str, report: &mut Report<'_>) -> Option<&'static Kind> {
    let registry = Registry::collect().ok()?;
    let shown = shortened(&key.text);
    let (code, message) = match registry.get(&key.text) {
        Some(kind) if kind.family() == family => return Some(kind),
        Some(_) => ("wrong-kind", format!("`{shown}` is no `{family}.*` stage")),
        None => ("unknown-kind", format!("there is no stage kind `{shown}`")),
    };
    let suggestion = suggested_kind(&key.text, &registry);
    let diagnostic = report.error(key.span.clone(), code, message);
    if code == "unknown-kind" {
        diagnostic.help.extend(suggestion);
    }
    None
}

impl Draft {
    /// Holds the params against the kind's schema and makes the stage of them.
    pub(crate) fn parse(&mut self, report: &mut Report<'_>) {
        let Some(kind) = self.kind else { return };
        let name = format!("`{}`", kind.name);
        if !hold_params(kind, &mut self.params, &self.place, report) || self.params.has_unresolved()
        {
            return;
        }
        let given = self.params.to_yaml(false);
        match (kind.parse)(&given) {
            Ok(stage) => {
                self.stage = Some(stage);
                self.values = self.params.to_yaml(true);
            }
            Err(error) => {
                // JSON Schema takes `1e3` for a whole number; serde does not.
                let whole = with_whole_numbers(&given);
                if whole != given
                    && let Ok(stage) = (kind.parse)(&whole)
                {
                    self.stage = Some(stage);
                    self.values = with_whole_numbers(&self.params.to_yaml(true));
                    return;
                }
                self.refused_by_serde(&name, &error.to_string(), report);
            }
        }
    }

    /// Serde's message, at the value or key that it quotes, if it quotes one.
    fn refused_by_serde(&self, name: &str, message: &str, report: &mut Report<'_>) {
        let span = quoted_words(message)
            .into_iter()
            .find_map(|word| find_word(&self.params, word, report))
            .unwrap_or_else(|| self.place.clone());
        let message = message.trim_end_matches('.');
        let mut first = message.chars();
        let message = match first.next() {
            Some(letter) => letter.to_lowercase().chain(first).collect::<String>(),
            None => String::new(),
        };
        report.error(
            span,
            "invalid-params",
            format!("{name}: {}", message.lines().next().unwrap_or_default()),
        );
    }
}

/// What a message puts between backticks or quotes.
fn quoted_words(message: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for quote in ['`', '"'] {
        words.extend(
            message
                .split(quote)
                .skip(1)
                .step_by(2)
                .filter(|word| !word.is_empty()),
        );
    }
    words
}

fn find_word(node: &Node, word: &str, report: &Report<'_>) -> Option<Range<usize>> {
    match &node.value {
        NodeValue::Sequence(items) => items.iter().find_map(|item| find_word(item, word, report)),
        NodeValue::Mapping(entries) => entries.iter().find_map(|(key, node)| {
            if key.text == word {
                Some(key.span.clone())
            } else {
                find_word(node, word, report)
            }
        }),
        NodeValue::Text(text) => (text.trim() == word).then(|| report.underline(node, None)),
        NodeValue::Null => None,
        NodeValue::Bool(value) => (value.to_string() == word).then(|| node.span.clone()),
        NodeValue::Int(value) => (value.to_string() == word).then(|| node.span.clone()),
        NodeValue::Float(value) => (value.to_string() == word).then(|| node.span.clone()),
    }
}

/// The value with `1e3` as `1000`.
fn with_whole_numbers(value: &serde_yaml::Value) -> serde_yaml::Value {
    use serde_yaml::Value;
    match value {
        Value::Number(number) if number.is_f64() => match number.as_f64() {
            Some(real) if real.fract() == 0.0 && real.abs() < 9_007_199_254_740_992.0 => {
                if real < 0.0 {
                    (real as i64).into()
                } else {
                    (real as u64).into()
                }
            }
            _ => value.clone(),
        },
        Value::Sequence(items) => items.iter().map(with_whole_numbers).collect(),
        Value::Mapping(entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), with_whole_numbers(value)))
            .collect::<serde_yaml::Mapping>()
            .into(),
        other => other.clone(),
    }
}
