//! Params against their JSON Schema: every violation becomes a diagnostic at the value that is wrong.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use jsonschema::{
    JsonType, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::{Value, json};
use taktline_core::{Kind, NESTED, counted, did_you_mean};

use crate::{
    report::Report,
    tree::{Key, Node, NodeValue, shortened},
};

mod null_choice;

pub(crate) use null_choice::read_null_choices;

/// A JSON Schema, ready to use.
pub(crate) struct Compiled {
    schema: Value,
    validator: Validator,
}

impl Compiled {
    pub(crate) fn new(schema: schemars::Schema) -> Result<Self, String> {
        Self::without(schema, &[])
    }

    /// For what has none of these properties: their own schemas, which may be large, are not made ready.
    pub(crate) fn without(schema: schemars::Schema, absent: &[&str]) -> Result<Self, String> {
        let mut schema = schema.to_value();
        bound_integers(&mut schema);
        let mut held = Cow::Borrowed(&schema);
        for name in absent {
            held.to_mut()["properties"][name] = Value::Bool(true);
        }
        let validator = jsonschema::validator_for(&held).map_err(|error| error.to_string())?;
        Ok(Self { schema, validator })
    }

    /// The schema of a kind's params; compiled once a process.
    pub(crate) fn of_kind(kind: &'static Kind) -> Result<Arc<Self>, String> {
        static COMPILED: OnceLock<Mutex<BTreeMap<&'static str, Arc<Compiled>>>> = OnceLock::new();
        let mut compiled = COMPILED
            .get_or_init(Mutex::default)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compiled.get(kind.name) {
            return Ok(Arc::clone(known));
        }
        let new = Arc::new(Self::new((kind.params)())?);
        compiled.insert(kind.name, Arc::clone(&new));
        Ok(new)
    }

    /// Whether the params are a list.
    pub(crate) fn is_list(&self) -> bool {
        self.schema.get("type").and_then(Value::as_str) == Some("array")
    }

    /// The params that hold a stage of their own, and of which family: `model: {model.linfa.svm: {…}}`.
    pub(crate) fn nested(&self) -> impl Iterator<Item = (&str, &str)> {
        let properties = self.schema.get("properties").and_then(Value::as_object);
        properties
            .into_iter()
            .flatten()
            .filter_map(|(name, schema)| Some((name.as_str(), schema.get(NESTED)?.as_str()?)))
    }

    /// The schema at a pointer of an error, references followed.
    fn at(&self, pointer: &str) -> Option<&Value> {
        // A fragment is percent-encoded only in names that no Rust type has.
        self.schema
            .pointer(pointer)
            .map(|schema| self.follow(schema))
    }

    fn follow<'s>(&'s self, mut schema: &'s Value) -> &'s Value {
        for _ in 0..16 {
            let target = schema
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| reference.strip_prefix('#'));
            match target.and_then(|pointer| self.schema.pointer(pointer)) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    /// Every property name that a schema knows, also in its parts.
    fn properties<'s>(&'s self, schema: &'s Value, names: &mut Vec<&'s str>, depth: usize) {
        let schema = self.follow(schema);
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for name in properties.keys() {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
        }
        if depth < 4 {
            for part in ["allOf", "anyOf", "oneOf"] {
                for schema in schema
                    .get(part)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                {
                    self.properties(schema, names, depth + 1);
                }
            }
        }
    }
}

/// What is being held against a schema, in words.
pub(crate) struct Subject<'a> {
    /// `` `clean.drop_nulls` ``, `the pipeline`.
    pub(crate) name: &'a str,
    /// What its keys are called: `param`, `key`.
    pub(crate) noun: &'a str,
    /// The code for a key that does not exist.
    pub(crate) unknown: &'static str,
    /// The code for a key that is missing.
    pub(crate) missing: &'static str,
    /// Underlined where something is missing at the top.
    pub(crate) place: Range<usize>,
}

/// Reports every way in which the tree does not fit the schema; whether it fits.
///
/// What stands where a `${…}` could not be put in is passed over: that was reported already.
pub(crate) fn hold(
    node: &Node,
    compiled: &Compiled,
    subject: &Subject<'_>,
    report: &mut Report<'_>,
) -> bool {
    let json = node.to_json();
    if compiled.validator.is_valid(&json) {
        return true;
    }
    let before = report.diagnostics.len();
    let mut explanation = Explanation {
        root: node,
        compiled,
        subject,
        report,
    };
    for error in compiled.validator.iter_errors(&json) {
        explanation.explain(&error);
    }
    if report.diagnostics.len() == before && !node.has_unresolved() {
        // A schema that says no without a word that we understand.
        report.error(
            subject.place.clone(),
            "invalid-params",
            format!("{} does not fit its schema", subject.name),
        );
    }
    false
}

struct Explanation<'a, 'r, 's> {
    root: &'a Node,
    compiled: &'a Compiled,
    subject: &'a Subject<'a>,
    report: &'r mut Report<'s>,
}

/// A place in the tree.
#[derive(Clone)]
struct Found<'a> {
    node: &'a Node,
    key: Option<&'a Key>,
    /// `conv.filters`, from the innermost list on; empty at the top and for an item of a list.
    name: String,
    /// ``item 1 of `layers` ``, counted as people do; empty where there is no list around it.
    within: String,
}

impl Found<'_> {
    /// ``` `conv.filters` of item 1 of `layers` ```; empty at the top.
    fn in_words(&self) -> String {
        match (self.name.as_str(), self.within.as_str()) {
            ("", within) => within.to_owned(),
            (name, "") => format!("`{name}`"),
            (name, within) => format!("`{name}` of {within}"),
        }
    }

    fn is_top(&self) -> bool {
        self.name.is_empty() && self.within.is_empty()
    }

    fn is_item(&self) -> bool {
        self.name.is_empty() && !self.within.is_empty()
    }
}

impl<'a> Explanation<'a, '_, '_> {
    fn find(&self, pointer: &str) -> Found<'a> {
        let mut found = Found {
            node: self.root,
            key: None,
            name: String::new(),
            within: String::new(),
        };
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            match &found.node.value {
                NodeValue::Mapping(_) => {
                    let Some((key, node)) = found.node.entry(&step) else {
                        break;
                    };
                    if !found.name.is_empty() {
                        found.name.push('.');
                    }
                    found.name.push_str(&step);
                    found = Found {
                        node,
                        key: Some(key),
                        ..found
                    };
                }
                NodeValue::Sequence(items) => {
                    let index = step.parse().ok();
                    let item = index.and_then(|index: usize| Some((index, items.get(index)?)));
                    let Some((index, node)) = item else {
                        break;
                    };
                    let list = match found.in_words() {
                        list if list.is_empty() => list,
                        list => format!(" of {list}"),
                    };
                    found = Found {
                        node,
                        key: None,
                        name: String::new(),
                        within: format!("item {}{list}", index + 1),
                    };
                }
                _ => break,
            }
        }
        found
    }

    /// ``item 1 of `layers` ``, or the subject itself.
    fn named(&self, found: &Found<'_>) -> String {
        match found.is_top() {
            true => self.subject.name.to_owned(),
            false => found.in_words(),
        }
    }

    fn underline(&self, found: &Found<'_>) -> Range<usize> {
        if found.is_top() && found.key.is_none() && !matches!(found.node.value, NodeValue::Text(_))
        {
            return self.subject.place.clone();
        }
        self.report.underline(found.node, found.key)
    }

    fn explain(&mut self, error: &ValidationError<'_>) {
        let found = self.find(error.instance_path().as_str());
        if found.node.is_unresolved() {
            return;
        }
        let named = self.named(&found);
        let span = self.underline(&found);
        // The schema that holds the keyword which said no.
        let schema_pointer = error.schema_path().as_str();
        let owner = schema_pointer
            .rsplit_once('/')
            .map_or("", |(owner, _)| owner);
        let shown = found.node.found();
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let mut names = Vec::new();
                if let Some(schema) = self.compiled.at(owner) {
                    self.compiled.properties(schema, &mut names, 0);
                }
                for name in unexpected {
                    self.unknown_key(&found, name, &names);
                }
            }
            ValidationErrorKind::Required { property } => {
                let property = property.as_str().unwrap_or_default();
                let description = self
                    .compiled
                    .at(owner)
                    .and_then(|schema| {
                        schema.pointer(&format!("/properties/{property}/description"))
                    })
                    .and_then(Value::as_str)
                    .map(first_line);
                let (missing, noun) = (self.subject.missing, self.subject.noun);
                // What is missing has no place: the key that it should be under is nearest.
                let span = found.key.map_or(span, |key| key.span.clone());
                let diagnostic = self.report.error(
                    span,
                    missing,
                    format!("{named} needs the {noun} `{property}`"),
                );
                diagnostic
                    .help
                    .extend(description.map(|description| format!("`{property}`: {description}")));
            }
            ValidationErrorKind::Type { kind } => {
                let expected = match kind {
                    TypeKind::Single(kind) => vec![type_words(*kind)],
                    TypeKind::Multiple(kinds) => {
                        let kinds: Vec<JsonType> = kinds.iter().collect();
                        let with_null = kinds.len() == 1;
                        kinds
                            .into_iter()
                            .filter(|kind| with_null || *kind != JsonType::Null)
                            .map(type_words)
                            .collect()
                    }
                };
                self.wrong_type(&found, span, &expected);
            }
            ValidationErrorKind::Enum { options } => {
                let options: Vec<&Value> = options
                    .as_array()
                    .map(|options| options.iter().collect())
                    .unwrap_or_default();
                self.unknown_value(&found, span, &options);
            }
            ValidationErrorKind::Constant { expected_value } => {
                self.unknown_value(&found, span, &[expected_value.as_ref()])
            }
            ValidationErrorKind::Maximum { limit } => {
                self.range(span, &named, format!("at most {}", number(limit)), &shown)
            }
            ValidationErrorKind::Minimum { limit } => {
                self.range(span, &named, format!("at least {}", number(limit)), &shown)
            }
            ValidationErrorKind::ExclusiveMaximum { limit } => {
                self.range(span, &named, format!("less than {}", number(limit)), &shown)
            }
            ValidationErrorKind::ExclusiveMinimum { limit } => {
                self.range(span, &named, format!("more than {}", number(limit)), &shown)
            }
            ValidationErrorKind::MultipleOf { multiple_of } => {
                self.range(span, &named, format!("a multiple of {multiple_of}"), &shown);
            }
            ValidationErrorKind::MinItems { limit: 1 }
            | ValidationErrorKind::MinLength { limit: 1 }
            | ValidationErrorKind::MinProperties { limit: 1 } => {
                self.report
                    .error(span, "out-of-range", format!("{named} must not be empty"));
            }
            ValidationErrorKind::MinItems { limit } => {
                self.size(
                    &found,
                    span,
                    format!("at least {}", counted(*limit, "item")),
                );
            }
            ValidationErrorKind::MaxItems { limit } => {
                self.size(&found, span, format!("at most {}", counted(*limit, "item")));
            }
            ValidationErrorKind::AdditionalItems { limit } => {
                self.size(&found, span, format!("at most {}", counted(*limit, "item")));
            }
            ValidationErrorKind::MinProperties { limit } => {
                self.size(
                    &found,
                    span,
                    format!("at least {}", counted(*limit, "entry")),
                );
            }
            ValidationErrorKind::MaxProperties { limit: 1 } => self.one_key(&found, span),
            ValidationErrorKind::MaxProperties { limit } => {
                self.size(
                    &found,
                    span,
                    format!("at most {}", counted(*limit, "entry")),
                );
            }
            ValidationErrorKind::MinLength { limit } => {
                self.range(
                    span,
                    &named,
                    format!("at least {} long", counted(*limit, "character")),
                    &shown,
                );
            }
            ValidationErrorKind::MaxLength { limit } => {
                self.range(
                    span,
                    &named,
                    format!("at most {} long", counted(*limit, "character")),
                    &shown,
                );
            }
            ValidationErrorKind::UniqueItems => {
                self.report.error(
                    span,
                    "out-of-range",
                    format!("{named} names the same thing twice"),
                );
            }
            ValidationErrorKind::Pattern { pattern } => {
                let description = self
                    .compiled
                    .at(owner)
                    .and_then(|schema| schema.get("description"))
                    .and_then(Value::as_str)
                    .map(first_line);
                let message = format!("{named} cannot be {}", strip_noun(&shown));
                let diagnostic = self.report.error(span, "wrong-format", message);
                match description {
                    Some(description) => diagnostic.help.push(description),
                    None => diagnostic
                        .help
                        .push(format!("it must match the pattern `{pattern}`")),
                }
            }
            ValidationErrorKind::AnyOf { context }
            | ValidationErrorKind::OneOfNotValid { context } => {
                self.choose(
                    &found,
                    span,
                    schema_pointer,
                    depth_of(error.instance_path().as_str()),
                    context,
                );
            }
            ValidationErrorKind::OneOfMultipleValid { .. } => {
                self.report
                    .error(
                        span,
                        "ambiguous",
                        format!("{named} can be read in more than one way"),
                    )
                    .help
                    .push("leave out the keys of the meaning that you do not want".into());
            }
            ValidationErrorKind::PropertyNames { error } => {
                let name = error.instance().as_str().unwrap_or_default();
                let span = found
                    .node
                    .entry(name)
                    .map_or(span, |(key, _)| key.span.clone());
                let pattern = match error.kind() {
                    ValidationErrorKind::Pattern { pattern } => {
                        Some(format!("a key must match the pattern `{pattern}`"))
                    }
                    ValidationErrorKind::Enum { options } => {
                        options.as_array().and_then(|options| {
                            did_you_mean(name, options.iter().filter_map(Value::as_str))
                        })
                    }
                    _ => None,
                };
                let diagnostic = self.report.error(
                    span,
                    "wrong-format",
                    format!("{named} cannot have the key `{}`", shortened(name)),
                );
                diagnostic.help.extend(pattern);
            }
            other => {
                // Keywords that params structs do not produce: the validator's own words, without the value.
                let message = format!(
                    "{named} does not fit the keyword `{}` of its schema",
                    other.keyword()
                );
                self.report.error(span, "invalid-params", message);
            }
        }
    }

    fn unknown_key(&mut self, found: &Found<'_>, name: &str, known: &[&str]) {
        let Some((key, value)) = found.node.entry(name) else {
            return;
        };
        let (unknown, noun) = (self.subject.unknown, self.subject.noun);
        let message = format!("{} has no {noun} `{}`", self.named(found), shortened(name));
        let free: Vec<&str> = known
            .iter()
            .copied()
            .filter(|known| found.node.get(known).is_none())
            .collect();
        let help = did_you_mean(
            name,
            if free.is_empty() {
                known.iter().copied()
            } else {
                free.iter().copied()
            },
        );
        let is_cut = matches!(value.value, NodeValue::Null) && name.contains(')');
        let diagnostic = self.report.error(key.span.clone(), unknown, message);
        if is_cut {
            diagnostic.help.push(
                "inside `{…}` a comma ends the value: write one with a comma in quotes".to_owned(),
            );
            return;
        }
        match help {
            Some(help) => diagnostic.help.push(help),
            None => diagnostic.help.push(format!("it takes no {noun}s")),
        }
    }

    fn wrong_type(&mut self, found: &Found<'_>, span: Range<usize>, expected: &[&str]) {
        let expected = joined(expected, "or");
        let message = if found.is_top() {
            format!(
                "{} expects {expected}, found {}",
                self.subject.name,
                found.node.found()
            )
        } else {
            format!(
                "{}: expected {expected}, found {}",
                found.in_words(),
                found.node.found()
            )
        };
        let diagnostic = self.report.error(span, "wrong-type", message);
        diagnostic.label = Some(format!("expected {expected}"));
        if let NodeValue::Text(text) = &found.node.value
            && expected.contains("true")
            && matches!(text.as_str(), "yes" | "no" | "on" | "off")
        {
            diagnostic.help.push("write `true` or `false`".into());
        }
    }

    fn unknown_value(&mut self, found: &Found<'_>, span: Range<usize>, options: &[&Value]) {
        let names: Vec<String> = options
            .iter()
            .filter(|option| !option.is_null())
            .map(|option| {
                option
                    .as_str()
                    .map_or_else(|| option.to_string(), str::to_owned)
            })
            .collect();
        let message = format!(
            "{} cannot be {}",
            self.named(found),
            strip_noun(&found.node.found())
        );
        let diagnostic = self.report.error(span, "unknown-value", message);
        let given = match &found.node.value {
            NodeValue::Text(text) => text.clone(),
            _ => String::new(),
        };
        diagnostic
            .help
            .extend(did_you_mean(&given, names.iter().map(String::as_str)));
    }

    fn range(&mut self, span: Range<usize>, named: &str, bound: String, shown: &str) {
        let diagnostic = self.report.error(
            span,
            "out-of-range",
            format!("{named} must be {bound}, found {}", strip_noun(shown)),
        );
        diagnostic.label = Some(format!("must be {bound}"));
    }

    fn size(&mut self, found: &Found<'_>, span: Range<usize>, bound: String) {
        let named = self.named(found);
        let size = found.node.items().len().max(found.node.entries().len());
        self.report.error(
            span,
            "out-of-range",
            format!("{named} must have {bound}, found {size}"),
        );
    }

    /// A map that names one thing names several: `{conv: {…}, max_pool: 2}`.
    fn one_key(&mut self, found: &Found<'_>, span: Range<usize>) {
        let named = self.named(found);
        let keys: Vec<&Key> = found.node.entries().iter().map(|(key, _)| key).collect();
        let names: Vec<String> = keys
            .iter()
            .map(|key| format!("`{}`", shortened(&key.text)))
            .collect();
        let diagnostic = self.report.error(
            keys.get(1).map_or(span, |key| key.span.clone()),
            "out-of-range",
            format!("{named} takes one key, found {}", joined(&names, "and")),
        );
        diagnostic.label = Some("one too many".into());
        let second = keys.get(1).map(|key| shortened(&key.text));
        if let Some(second) = second.filter(|_| found.is_item()) {
            diagnostic
                .help
                .push(format!("give it a list item of its own: `- {second}: …`"));
        }
    }

    /// None of several schemas fits: explains the one that was meant.
    fn choose(
        &mut self,
        found: &Found<'a>,
        span: Range<usize>,
        pointer: &str,
        depth: usize,
        context: &[Vec<ValidationError<'static>>],
    ) {
        if found.node.has_unresolved() {
            return;
        }
        let branches: Vec<Branch<'_>> = context
            .iter()
            .enumerate()
            .map(|(index, errors)| {
                let schema = self
                    .compiled
                    .at(&format!("{pointer}/{index}"))
                    .unwrap_or(&Value::Null);
                Branch { schema, errors }
            })
            .collect();
        let words: Vec<&Value> = branches.iter().flat_map(|branch| branch.words()).collect();
        let tags: Vec<&str> = branches.iter().filter_map(Branch::tag).collect();
        match &found.node.value {
            NodeValue::Text(text)
                if !words.is_empty() && !branches.iter().any(Branch::is_free_text) =>
            {
                let is_tag = tags.contains(&text.as_str());
                let mut options = words.clone();
                let tag_values: Vec<Value> = tags.iter().map(|tag| Value::from(*tag)).collect();
                options.extend(&tag_values);
                if is_tag {
                    let named = self.named(found);
                    let diagnostic = self.report.error(
                        span,
                        "wrong-type",
                        format!("{named}: `{text}` needs settings of its own"),
                    );
                    diagnostic.help.push(format!("write `{text}: {{…}}`"));
                    return;
                }
                return self.unknown_value(found, span, &options);
            }
            NodeValue::Text(text)
                if tags.contains(&text.as_str()) && !branches.iter().any(Branch::is_free_text) =>
            {
                let named = self.named(found);
                let diagnostic = self.report.error(
                    span,
                    "wrong-type",
                    format!("{named}: `{text}` needs settings of its own"),
                );
                diagnostic.help.push(format!("write `{text}: {{…}}`"));
                return;
            }
            NodeValue::Mapping(entries) => {
                if let Some(branch) = self.branch_by_key(found, &branches) {
                    return match branch {
                        Ok(index) => self.explain_all(&context[index]),
                        Err((property, options)) => {
                            self.wrong_discriminator(found, span, property, &options)
                        }
                    };
                }
                // Variants named by their key: `conv: {…}`. None of the names is here.
                if tags.len() > 1
                    && tags.len() + words.len()
                        >= branches.iter().filter(|branch| !branch.is_null()).count()
                    && !entries
                        .iter()
                        .any(|(key, _)| tags.contains(&key.text.as_str()))
                {
                    let mut known = tags.clone();
                    known.extend(words.iter().filter_map(|word| word.as_str()));
                    let message = match entries.first() {
                        Some((key, _)) => {
                            format!("{} cannot be `{}`", self.named(found), shortened(&key.text))
                        }
                        None => format!("{} must not be empty", self.named(found)),
                    };
                    let span = entries.first().map_or(span, |(key, _)| key.span.clone());
                    let help = did_you_mean(
                        entries.first().map_or("", |(key, _)| &key.text),
                        known.iter().copied(),
                    );
                    let diagnostic = self.report.error(span, "unknown-value", message);
                    diagnostic.help.extend(help);
                    return;
                }
            }
            _ => {}
        }
        let Some((best, cost)) = branches
            .iter()
            .enumerate()
            .map(|(index, branch)| {
                (
                    index,
                    branch
                        .errors
                        .iter()
                        .map(|error| cost(error, depth))
                        .sum::<u32>(),
                )
            })
            .min_by_key(|(_, cost)| *cost)
        else {
            return;
        };
        if cost >= WRONG_SHAPE {
            let mut expected: Vec<&str> = Vec::new();
            for branch in &branches {
                branch.expected(self.compiled, &mut expected, 0);
            }
            if expected.len() > 1 {
                expected.retain(|words| *words != "nothing");
            }
            // The simple forms first: "text or a map".
            expected.sort_by_key(|words| matches!(*words, "a list" | "a map"));
            if !expected.is_empty() {
                return self.wrong_type(found, span, &expected);
            }
        }
        // An unknown key may belong to another variant than the nearest one.
        let mut names = Vec::new();
        for branch in &branches {
            self.compiled.properties(branch.schema, &mut names, 0);
        }
        for error in branches[best].errors {
            match error.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected }
                    if depth_of(error.instance_path().as_str()) == depth =>
                {
                    for name in unexpected {
                        self.unknown_key(found, name, &names);
                    }
                }
                _ => self.explain(error),
            }
        }
    }

    fn explain_all(&mut self, errors: &[ValidationError<'static>]) {
        for error in errors {
            self.explain(error);
        }
    }

    /// The variant that a map names, by a key of its own (`conv: {…}`) or by a fixed value (`kind: conv`).
    ///
    /// `Err` with the property and its values where the variants have one and the map's is none of them.
    fn branch_by_key<'b>(
        &self,
        found: &Found<'_>,
        branches: &'b [Branch<'b>],
    ) -> Option<Result<usize, (&'b str, Vec<&'b Value>)>> {
        let by_tag = branches.iter().position(|branch| {
            branch
                .tag()
                .is_some_and(|tag| found.node.get(tag).is_some())
        });
        if let Some(index) = by_tag {
            return Some(Ok(index));
        }
        let (property, _) = branches.iter().find_map(|branch| branch.discriminator())?;
        let mut options = Vec::new();
        for (index, branch) in branches.iter().enumerate() {
            let Some((_, value)) = branch
                .discriminator()
                .filter(|(known, _)| *known == property)
            else {
                if branch.is_object() {
                    // Another kind of map: the property does not tell them apart.
                    return None;
                }
                continue;
            };
            if found
                .node
                .get(property)
                .is_some_and(|node| node.to_json() == *value)
            {
                return Some(Ok(index));
            }
            options.push(value);
        }
        (options.len() > 1).then_some(Err((property, options)))
    }

    fn wrong_discriminator(
        &mut self,
        found: &Found<'a>,
        span: Range<usize>,
        property: &str,
        options: &[&Value],
    ) {
        match found.node.entry(property) {
            Some((key, node)) => {
                let name = if found.name.is_empty() {
                    property.to_owned()
                } else {
                    format!("{}.{property}", found.name)
                };
                let inner = Found {
                    node,
                    key: Some(key),
                    name,
                    within: found.within.clone(),
                };
                if !node.is_unresolved() {
                    let span = self.underline(&inner);
                    self.unknown_value(&inner, span, options);
                }
            }
            None => {
                let named = self.named(found);
                let (missing, noun) = (self.subject.missing, self.subject.noun);
                let span = found.key.map_or(span, |key| key.span.clone());
                let known: Vec<String> = options
                    .iter()
                    .map(|option| format!("`{}`", plain(option)))
                    .collect();
                let diagnostic = self.report.error(
                    span,
                    missing,
                    format!("{named} needs the {noun} `{property}`"),
                );
                diagnostic.help.push(format!("known: {}", known.join(", ")));
            }
        }
    }
}

/// One of several schemas, with why it does not fit.
struct Branch<'b> {
    schema: &'b Value,
    errors: &'b [ValidationError<'static>],
}

impl<'b> Branch<'b> {
    /// The constants that it allows.
    fn words(&self) -> Vec<&'b Value> {
        let schema = self.schema;
        schema
            .get("enum")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .chain(schema.get("const"))
            .filter(|value| !value.is_null())
            .collect()
    }

    fn has_type(&self, name: &str) -> bool {
        match self.schema.get("type") {
            Some(Value::String(known)) => known == name,
            Some(Value::Array(known)) => known.iter().any(|known| known.as_str() == Some(name)),
            _ => false,
        }
    }

    fn is_null(&self) -> bool {
        self.schema.get("type").and_then(Value::as_str) == Some("null")
    }

    fn is_object(&self) -> bool {
        self.has_type("object")
    }

    fn is_free_text(&self) -> bool {
        self.has_type("string") && self.words().is_empty()
    }

    /// The one key of `conv: {…}`.
    fn tag(&self) -> Option<&'b str> {
        let properties = self.schema.get("properties")?.as_object()?;
        let required = self.schema.get("required")?.as_array()?;
        let only = required.first()?.as_str()?;
        let is_closed = self.schema.get("additionalProperties") == Some(&Value::Bool(false));
        (is_closed && properties.len() == 1 && required.len() == 1 && properties.contains_key(only))
            .then_some(only)
    }

    /// The property whose value is fixed: `kind: conv`.
    fn discriminator(&self) -> Option<(&'b str, &'b Value)> {
        self.schema
            .get("properties")?
            .as_object()?
            .iter()
            .find_map(|(name, schema)| schema.get("const").map(|value| (name.as_str(), value)))
    }

    /// What it expects, in words.
    fn expected(&self, compiled: &'b Compiled, words: &mut Vec<&'b str>, depth: usize) {
        let mut add = |word: &'b str| {
            if !words.contains(&word) {
                words.push(word);
            }
        };
        match self.schema.get("type") {
            Some(Value::String(name)) => add(schema_type_words(name)),
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(Value::as_str)
                .for_each(|name| add(schema_type_words(name))),
            _ if depth < 4 => {
                for part in ["anyOf", "oneOf"] {
                    for schema in self
                        .schema
                        .get(part)
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                    {
                        let inner = Branch {
                            schema: compiled.follow(schema),
                            errors: &[],
                        };
                        inner.expected(compiled, words, depth + 1);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A branch that costs this much is not what was meant.
const WRONG_SHAPE: u32 = 1000;

/// How much an error says that its branch was not the one that was meant.
fn cost(error: &ValidationError<'_>, depth: usize) -> u32 {
    let is_here = depth_of(error.instance_path().as_str()) <= depth;
    match error.kind() {
        ValidationErrorKind::Type { .. } if is_here => WRONG_SHAPE,
        ValidationErrorKind::Constant { .. } if is_here => 300,
        ValidationErrorKind::Enum { .. } if is_here => 200,
        ValidationErrorKind::Constant { .. } => 500,
        ValidationErrorKind::AdditionalProperties { unexpected } if is_here => {
            100 * unexpected.len().min(9) as u32
        }
        ValidationErrorKind::Required { .. } if is_here => 90,
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }
            if is_here =>
        {
            context
                .iter()
                .map(|errors| errors.iter().map(|error| cost(error, depth)).sum::<u32>())
                .min()
                .unwrap_or(10)
        }
        _ => 10,
    }
}

fn depth_of(pointer: &str) -> usize {
    pointer.matches('/').count()
}

fn type_words(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "a list",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "a whole number",
        JsonType::Null => "nothing",
        JsonType::Number => "a number",
        JsonType::Object => "a map",
        JsonType::String => "text",
    }
}

fn schema_type_words(name: &str) -> &'static str {
    match name {
        "array" => "a list",
        "boolean" => "`true` or `false`",
        "integer" => "a whole number",
        "number" => "a number",
        "object" => "a map",
        "string" => "text",
        _ => "nothing",
    }
}

fn joined<W: AsRef<str>>(words: &[W], last: &str) -> String {
    match words {
        [] => "another value".into(),
        [word] => word.as_ref().to_owned(),
        [rest @ .., word] => {
            let rest: Vec<&str> = rest.iter().map(AsRef::as_ref).collect();
            format!("{} {last} {}", rest.join(", "), word.as_ref())
        }
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Says in numbers how far the integer types reach: a schema only names their formats, which no validator looks at.
fn bound_integers(schema: &mut Value) {
    match schema {
        Value::Object(entries) => {
            let bounds = match entries.get("format").and_then(Value::as_str) {
                Some("uint8") => Some((json!(0), json!(u8::MAX))),
                Some("uint16") => Some((json!(0), json!(u16::MAX))),
                Some("uint32") => Some((json!(0), json!(u32::MAX))),
                Some("uint64" | "uint") => Some((json!(0), json!(u64::MAX))),
                Some("int32") => Some((json!(i32::MIN), json!(i32::MAX))),
                Some("int64" | "int") => Some((json!(i64::MIN), json!(i64::MAX))),
                _ => None,
            };
            if let Some((least, most)) = bounds {
                entries.entry("minimum").or_insert(least);
                entries.entry("maximum").or_insert(most);
            }
            entries.values_mut().for_each(bound_integers);
        }
        Value::Array(items) => items.iter_mut().for_each(bound_integers),
        _ => {}
    }
}

/// A bound as people write it: `1`, not `1.0`.
fn number(limit: &Value) -> String {
    match limit.as_f64() {
        Some(bound) if limit.is_f64() => bound.to_string(),
        _ => limit.to_string(),
    }
}

/// "`abc`" of "text `abc`".
fn strip_noun(found: &str) -> &str {
    found.strip_prefix("text ").unwrap_or(found)
}

/// The first paragraph of a description, as one line that can stand in the middle of a message.
pub(crate) fn first_line(description: &str) -> String {
    let line = description
        .split("\n\n")
        .next()
        .unwrap_or_default()
        .replace('\n', " ");
    let line = line.trim_end_matches('.');
    let mut letters = line.chars();
    match (letters.next(), letters.next()) {
        // A word, not an abbreviation: `The condition`, `A bound`.
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            format!("{}{}", first.to_lowercase(), &line[first.len_utf8()..])
        }
        _ => line.to_owned(),
    }
}
