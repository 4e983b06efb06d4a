//! Pipeline params, and putting `${…}` into scalars.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use taktline_core::{closest, did_you_mean};

use crate::{
    report::Report,
    scalar::plain_value,
    schedule::Occurrence,
    tree::{Node, NodeValue, Origin, Piece, shortened},
};

/// Looks up environment variables.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The type of a pipeline param.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParamType {
    Text,
    Integer,
    Number,
    Boolean,
}

impl ParamType {
    fn of(value: &NodeValue) -> Option<Self> {
        match value {
            NodeValue::Text(_) => Some(Self::Text),
            NodeValue::Int(_) => Some(Self::Integer),
            NodeValue::Float(_) => Some(Self::Number),
            NodeValue::Bool(_) => Some(Self::Boolean),
            _ => None,
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "integer" => Some(Self::Integer),
            "number" => Some(Self::Number),
            "boolean" => Some(Self::Boolean),
            _ => None,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "`true` or `false`",
        }
    }

    fn takes(self, value: &NodeValue) -> bool {
        match self {
            Self::Number => matches!(value, NodeValue::Int(_) | NodeValue::Float(_)),
            // `1e6` is a whole number, written short.
            Self::Integer => match value {
                NodeValue::Int(_) => true,
                NodeValue::Float(value) => value.fract() == 0.0 && value.abs() < 9e15,
                _ => false,
            },
            Self::Text | Self::Boolean => Self::of(value) == Some(self),
        }
    }

    /// The value of `--param name=text`.
    fn read(self, text: &str) -> Option<NodeValue> {
        match self {
            Self::Text => Some(NodeValue::Text(text.to_owned())),
            _ => Some(plain_value(text.trim()))
                .filter(|value| self.takes(value))
                .map(|value| self.convert(value)),
        }
    }

    fn convert(self, value: NodeValue) -> NodeValue {
        match (self, value) {
            (Self::Integer, NodeValue::Float(value)) => NodeValue::Int(value as i128),
            (Self::Number, NodeValue::Int(value)) => NodeValue::Float(value as f64),
            (_, value) => value,
        }
    }
}

/// A pipeline param with its value for this run.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    key: Range<usize>,
    /// `None` where it could not be told; that was reported.
    pub(crate) value: Option<NodeValue>,
    /// The value with secrets hidden, where it holds one.
    redacted: Option<String>,
    used: bool,
}

/// All params of a pipeline, and what has been put in from outside.
pub(crate) struct Substitution<'a> {
    pub(crate) params: BTreeMap<String, Param>,
    /// Secret values by name; they must never be shown.
    pub(crate) secrets: BTreeMap<String, String>,
    environment: Environment<'a>,
    occurrence: Occurrence,
    reported: BTreeSet<String>,
}

enum Put {
    /// A param's value, with its type.
    Value(NodeValue, Option<String>),
    /// Text from the environment.
    Environment(String),
    Secret(String, String),
    Failed,
}

impl<'a> Substitution<'a> {
    /// Reads the `params:` block and `--param`.
    pub(crate) fn declare(
        block: Option<&Node>,
        overrides: &[(String, String)],
        environment: Environment<'a>,
        occurrence: &Occurrence,
        report: &mut Report<'_>,
    ) -> Self {
        let mut substitution = Self {
            params: BTreeMap::new(),
            secrets: BTreeMap::new(),
            environment,
            occurrence: occurrence.clone(),
            reported: BTreeSet::new(),
        };
        for (key, declaration) in block.map(Node::entries).unwrap_or_default() {
            if !is_name(&key.text) {
                let diagnostic = report.error(
                    key.span.clone(),
                    "invalid-name",
                    format!("`{}` cannot be a param's name", key.text),
                );
                diagnostic
                    .help
                    .push("use letters, digits, `_` and `-`, and begin with a letter".into());
                continue;
            }
            let param = substitution.declaration(
                &key.text,
                key.span.clone(),
                declaration,
                overrides,
                report,
            );
            substitution.params.insert(key.text.clone(), param);
        }
        for (name, _) in overrides {
            if !substitution.params.contains_key(name) {
                let known = substitution.params.keys().map(String::as_str);
                let help = did_you_mean(name, known)
                    .unwrap_or_else(|| "the pipeline declares no params".into());
                report
                    .elsewhere(
                        "undefined-param",
                        format!("`--param {name}=…` names no param of the pipeline"),
                    )
                    .help
                    .push(help);
            }
        }
        substitution
    }

    fn declaration(
        &mut self,
        name: &str,
        key: Range<usize>,
        declaration: &Node,
        overrides: &[(String, String)],
        report: &mut Report<'_>,
    ) -> Param {
        let is_map = matches!(declaration.value, NodeValue::Mapping(_));
        let default = if is_map {
            declaration.get("default")
        } else {
            Some(declaration)
        };
        // The default may come from the environment, but not from another param.
        let default = default.map(|default| {
            let mut default = default.clone();
            self.scalar(&mut default, false, report);
            default
        });
        let declared = declaration
            .get("type")
            .and_then(Node::text)
            .and_then(ParamType::named);
        let param = |value: Option<NodeValue>, redacted| Param {
            key: key.clone(),
            value,
            redacted,
            used: false,
        };
        if let Some((_, given)) = overrides.iter().rev().find(|(known, _)| known == name) {
            let expected = declared.or_else(|| {
                default
                    .as_ref()
                    .and_then(|default| ParamType::of(&default.value))
            });
            let value = match expected.map(|expected| (expected, expected.read(given))) {
                None => Some(plain_value(given)),
                Some((_, Some(value))) => Some(value),
                Some((expected, None)) => {
                    report_mismatch(report, name, given, expected, &key);
                    None
                }
            };
            return param(value, None);
        }
        match default {
            Some(default) if default.is_unresolved() => param(None, None),
            Some(default) => {
                let redacted = default
                    .origin
                    .as_ref()
                    .and_then(|origin| origin.redacted.clone());
                let value = match declared {
                    Some(expected) if !expected.takes(&default.value) => {
                        // The environment gives text that merely looks like a number.
                        match (expected, &default.origin, &default.value) {
                            (
                                ParamType::Text,
                                Some(_),
                                NodeValue::Int(_) | NodeValue::Float(_) | NodeValue::Bool(_),
                            ) => Some(NodeValue::Text(
                                default
                                    .origin
                                    .as_ref()
                                    .map(|origin| origin.text.clone())
                                    .unwrap_or_default(),
                            )),
                            _ => {
                                let message = format!(
                                    "the param `{name}` should be {}, and its default is {}",
                                    expected.expected(),
                                    default.found()
                                );
                                report.error(default.span.clone(), "wrong-type", message);
                                None
                            }
                        }
                    }
                    Some(expected) => Some(expected.convert(default.value)),
                    None => Some(default.value),
                };
                param(value, redacted)
            }
            None => {
                report
                    .error(
                        key.clone(),
                        "missing-param",
                        format!("the param `{name}` has no default and was not given"),
                    )
                    .help
                    .push(format!(
                        "give it with `--param {name}=…`, or declare a `default`"
                    ));
                param(None, None)
            }
        }
    }

    /// Puts `${…}` into every scalar of the tree.
    pub(crate) fn apply(&mut self, node: &mut Node, report: &mut Report<'_>) {
        match &mut node.value {
            NodeValue::Sequence(items) => {
                items.iter_mut().for_each(|item| self.apply(item, report))
            }
            NodeValue::Mapping(entries) => entries
                .iter_mut()
                .for_each(|(_, value)| self.apply(value, report)),
            NodeValue::Text(_) => self.scalar(node, true, report),
            _ => {}
        }
    }

    /// Warns of params that nothing reads.
    pub(crate) fn report_unused(&self, report: &mut Report<'_>) {
        for (name, param) in self.params.iter().filter(|(_, param)| !param.used) {
            report
                .warning(
                    param.key.clone(),
                    "unused-param",
                    format!("nothing reads the param `{name}`"),
                )
                .help
                .push(format!("read it with `${{{name}}}`, or remove it"));
        }
    }

    fn scalar(&mut self, node: &mut Node, with_params: bool, report: &mut Report<'_>) {
        let Some(text) = node
            .text()
            .filter(|text| text.contains('$'))
            .map(str::to_owned)
        else {
            return;
        };
        let mut origin = Origin {
            text: text.clone(),
            pieces: Vec::new(),
            redacted: None,
            unresolved: false,
        };
        let mut new = String::with_capacity(text.len());
        let mut redacted = String::with_capacity(text.len());
        let mut has_secret = false;
        let mut copied = 0;
        let mut whole: Option<NodeValue> = None;
        let mut at = 0;
        while let Some(found) = text[at..].find('$') {
            let dollar = at + found;
            let rest = &text[dollar + 1..];
            let (end, put) = if rest.starts_with('$') {
                (dollar + 2, Put::Environment("$".into()))
            } else if let Some(reference) = rest.strip_prefix('{') {
                let Some(length) = reference.find('}') else {
                    let place = node.narrow(report.source, dollar..text.len());
                    report
                        .error(place, "unterminated-substitution", "`${` without its `}`")
                        .help
                        .push("close it, or write `$$` for a dollar".into());
                    origin.unresolved = true;
                    break;
                };
                let end = dollar + 2 + length + 1;
                let place = node.narrow(report.source, dollar..end);
                (
                    end,
                    self.reference(&reference[..length], place, with_params, report),
                )
            } else {
                // A lone dollar is itself: the end of a regular expression, an amount.
                at = dollar + 1;
                continue;
            };
            copy(
                &text,
                copied..dollar,
                &mut new,
                &mut redacted,
                &mut origin.pieces,
            );
            let start = new.len();
            let is_whole = dollar == 0 && end == text.len();
            match put {
                Put::Value(value, hidden) => {
                    let shown = embedded(&value);
                    redacted.push_str(hidden.as_ref().unwrap_or(&shown));
                    has_secret |= hidden.is_some();
                    new.push_str(&shown);
                    whole = is_whole.then_some(value);
                }
                Put::Environment(value) => {
                    redacted.push_str(&value);
                    new.push_str(&value);
                    whole = (is_whole && rest.starts_with('{')).then(|| plain_value(&value));
                }
                Put::Secret(name, value) => {
                    redacted.push_str(&format!("${{secret:{name}}}"));
                    has_secret = true;
                    new.push_str(&value);
                }
                Put::Failed => origin.unresolved = true,
            }
            origin.pieces.push(Piece {
                new: start..new.len(),
                old: dollar..end,
                verbatim: false,
            });
            copied = end;
            at = end;
        }
        copy(
            &text,
            copied..text.len(),
            &mut new,
            &mut redacted,
            &mut origin.pieces,
        );
        if origin.pieces.iter().all(|piece| piece.verbatim) && !origin.unresolved {
            return;
        }
        origin.redacted = has_secret.then_some(redacted);
        if whole
            .as_ref()
            .is_some_and(|value| !matches!(value, NodeValue::Text(_)))
        {
            // What a message needs of a number from outside is its text.
            origin.text = new.clone();
        }
        node.value = whole.unwrap_or(NodeValue::Text(new));
        node.origin = Some(Box::new(origin));
    }

    fn reference(
        &mut self,
        reference: &str,
        place: Range<usize>,
        with_params: bool,
        report: &mut Report<'_>,
    ) -> Put {
        if let Some(variable) = reference.strip_prefix("env:") {
            let (name, default) = match variable.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (variable, None),
            };
            return match (self.environment)(name).or_else(|| default.map(str::to_owned)) {
                Some(value) => Put::Environment(value),
                None => {
                    let diagnostic = report.error(
                        place,
                        "unset-environment",
                        format!("the environment variable `{name}` is not set"),
                    );
                    diagnostic.help.push(format!(
                        "set it, or give a default: `${{env:{name}:-default}}`"
                    ));
                    Put::Failed
                }
            };
        }
        if let Some(name) = reference.strip_prefix("secret:") {
            return match (self.environment)(name) {
                Some(value) => {
                    self.secrets.insert(name.to_owned(), value.clone());
                    Put::Secret(name.to_owned(), value)
                }
                None => {
                    report
                        .error(
                            place,
                            "unset-environment",
                            format!("the secret `{name}` is not set"),
                        )
                        .help
                        .push(format!("set the environment variable `{name}`"));
                    Put::Failed
                }
            };
        }
        if let Some(name) = reference.strip_prefix("schedule.") {
            return match self.occurrence.value(name) {
                Some(Some(value)) => Put::Value(NodeValue::Text(value.to_owned()), None),
                Some(None) => {
                    report
                        .error(
                            place,
                            "undefined-param",
                            format!("`${{{reference}}}` has a value only in runs that a file's arrival started"),
                        )
                        .help
                        .push("declare a param and let the schedule set it: `params: {input: \"${schedule.file}\"}`".into());
                    Put::Failed
                }
                None => {
                    let help = did_you_mean(name, ["time", "date", "file"]).unwrap_or_default();
                    report
                        .error(
                            place,
                            "undefined-param",
                            format!(
                                "`${{{}}}` is nothing that a schedule tells",
                                shortened(reference)
                            ),
                        )
                        .help
                        .push(help);
                    Put::Failed
                }
            };
        }
        if let Some((prefix, _)) = reference.split_once(':') {
            let help = closest(prefix, ["env", "secret"]).map_or_else(
                || {
                    "write `${name}`, `${env:NAME}`, `${env:NAME:-default}` or `${secret:NAME}`"
                        .to_owned()
                },
                |prefix| format!("did you mean `{prefix}:`?"),
            );
            report
                .error(
                    place,
                    "undefined-param",
                    format!("`${{{}}}` has an unknown prefix", shortened(reference)),
                )
                .help
                .push(help);
            return Put::Failed;
        }
        if !with_params {
            report
                .error(
                    place,
                    "undefined-param",
                    "a param's default cannot read another param",
                )
                .help
                .push("it may read `${env:NAME}`".into());
            return Put::Failed;
        }
        if let Some(param) = self.params.get_mut(reference) {
            param.used = true;
            return match &param.value {
                Some(value) => Put::Value(value.clone(), param.redacted.clone()),
                None => Put::Failed,
            };
        }
        let known: Vec<&str> = self.params.keys().map(String::as_str).collect();
        let near = closest(reference, known.iter().copied()).map(str::to_owned);
        let diagnostic = report.error(
            place,
            "undefined-param",
            format!("`${{{}}}` names no param", shortened(reference)),
        );
        match &near {
            Some(near) => diagnostic.help.push(format!("did you mean `${{{near}}}`?")),
            None => diagnostic
                .help
                .push("declare it under `params:`, or write `$$` for a dollar".into()),
        }
        if self.reported.insert(reference.to_owned()) {
            diagnostic.notes.push(if known.is_empty() {
                "the pipeline declares no params".into()
            } else {
                format!(
                    "declared: {}",
                    known
                        .iter()
                        .map(|name| format!("`{name}`"))
                        .collect::<Vec<_>>()
                        .join(", ")
                )
            });
        }
        // It was meant: that nothing else reads it is no second mistake.
        if let Some(meant) = near.and_then(|near| self.params.get_mut(&near)) {
            meant.used = true;
        }
        Put::Failed
    }

    /// The text with every secret's value replaced by its name.
    pub(crate) fn redact(secrets: &BTreeMap<String, String>, text: &str) -> Option<String> {
        let mut redacted: Option<String> = None;
        for (name, value) in secrets {
            // A secret of one or two characters is in every text, and hiding it there would give it away.
            if value.chars().count() > 2
                && redacted.as_deref().unwrap_or(text).contains(value.as_str())
            {
                let hidden = redacted
                    .as_deref()
                    .unwrap_or(text)
                    .replace(value.as_str(), &format!("${{secret:{name}}}"));
                redacted = Some(hidden);
            }
        }
        redacted
    }
}

fn report_mismatch(
    report: &mut Report<'_>,
    name: &str,
    given: &str,
    expected: ParamType,
    key: &Range<usize>,
) {
    let line = report.line(key);
    let diagnostic = report.elsewhere(
        "wrong-type",
        format!(
            "`--param {name}={}`: expected {}",
            shortened(given),
            expected.expected()
        ),
    );
    diagnostic
        .notes
        .push(format!("`{name}` is declared on line {line}"));
}

/// Letters, digits, `_` and `-`, beginning with a letter or `_`.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-'))
        && text.len() <= 64
}

fn copy(
    text: &str,
    old: Range<usize>,
    new: &mut String,
    redacted: &mut String,
    pieces: &mut Vec<Piece>,
) {
    if old.is_empty() {
        return;
    }
    let start = new.len();
    new.push_str(&text[old.clone()]);
    redacted.push_str(&text[old.clone()]);
    pieces.push(Piece {
        new: start..new.len(),
        old,
        verbatim: true,
    });
}

/// A param's value inside other text.
fn embedded(value: &NodeValue) -> String {
    match value {
        NodeValue::Bool(value) => value.to_string(),
        NodeValue::Int(value) => value.to_string(),
        NodeValue::Float(value) => value.to_string(),
        NodeValue::Text(text) => text.clone(),
        NodeValue::Null | NodeValue::Sequence(_) | NodeValue::Mapping(_) => String::new(),
    }
}
