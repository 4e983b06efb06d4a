//! YAML as a tree whose every key and value knows its bytes in the file.

use std::{borrow::Cow, collections::HashMap, ops::Range};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};
use taktline_core::{Diagnostic, Severity};

use crate::{
    scalar::{file_range, plain_value},
    source::{Places, SourceText},
};

/// Deeper nesting is refused.
pub const DEEPEST: usize = 64;
/// More nodes, aliases expanded, are refused.
pub const MOST_NODES: usize = 200_000;

/// A value of the tree, with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: NodeValue,
    /// Its bytes in the file, quotes included; of an alias, the alias.
    pub span: Range<usize>,
    /// What it was before `${…}` was put in, if it was.
    pub(crate) origin: Option<Box<Origin>>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeValue {
    /// Nothing.
    Null,
    /// Truth.
    Bool(bool),
    /// A whole number between the least `i64` and the greatest `u64`.
    Int(i128),
    /// A real number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    Sequence(Vec<Node>),
    /// A map, in the order written.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a map. Keys are text: `1:` and `true:` are the texts `1` and `true`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Its bytes in the file.
    pub span: Range<usize>,
}

/// A scalar before `${…}` was put in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Origin {
    /// The scalar as parsed.
    pub(crate) text: String,
    /// Which bytes of the new text came from which bytes of the old.
    pub(crate) pieces: Vec<Piece>,
    /// The value with `${secret:NAME}` in the place of each secret, if it holds one.
    pub(crate) redacted: Option<String>,
    /// Something could not be put in; the value means nothing.
    pub(crate) unresolved: bool,
}

/// A run of bytes of a scalar with `${…}` put in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    pub(crate) new: Range<usize>,
    pub(crate) old: Range<usize>,
    /// Copied byte for byte; otherwise one `${…}` or `$$`.
    pub(crate) verbatim: bool,
}

impl Node {
    pub(crate) fn new(value: NodeValue, span: Range<usize>) -> Self {
        Self {
            value,
            span,
            origin: None,
        }
    }

    /// The value under a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// The key and the value under it, if this is a map that has it.
    pub fn entry(&self, key: &str) -> Option<(&Key, &Node)> {
        match &self.value {
            NodeValue::Mapping(entries) => entries
                .iter()
                .find(|(known, _)| known.text == key)
                .map(|(known, node)| (known, node)),
            _ => None,
        }
    }

    /// The item at an index, if this is a list that has it.
    pub fn item(&self, index: usize) -> Option<&Node> {
        match &self.value {
            NodeValue::Sequence(items) => items.get(index),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Entries of a map; none of anything else.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            NodeValue::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// Items of a list; none of anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            NodeValue::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The bytes of the file that these bytes of the scalar's text came from; the whole scalar where that cannot be told.
    pub fn narrow(&self, source: &SourceText, range: Range<usize>) -> Range<usize> {
        let NodeValue::Text(text) = &self.value else {
            return self.span.clone();
        };
        let Some(written) = source.text.get(self.span.clone()) else {
            return self.span.clone();
        };
        let (text, range) = match &self.origin {
            None => (text, range),
            Some(origin) => (&origin.text, origin.before(range)),
        };
        file_range(written, self.span.start, text, range).unwrap_or_else(|| self.span.clone())
    }

    /// "text `abc`", "a list": what a message says was found. Secrets stay hidden.
    pub(crate) fn found(&self) -> String {
        match &self.value {
            NodeValue::Null => "nothing".into(),
            NodeValue::Bool(value) => format!("`{value}`"),
            NodeValue::Int(value) => format!("`{value}`"),
            NodeValue::Float(value) => format!("`{value}`"),
            NodeValue::Text(text) => {
                let redacted = self
                    .origin
                    .as_ref()
                    .and_then(|origin| origin.redacted.as_ref());
                format!("text `{}`", shortened(redacted.unwrap_or(text)))
            }
            NodeValue::Sequence(_) => "a list".into(),
            NodeValue::Mapping(_) => "a map".into(),
        }
    }

    pub(crate) fn is_unresolved(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.unresolved)
    }

    /// Whether a `${…}` anywhere inside could not be put in.
    pub(crate) fn has_unresolved(&self) -> bool {
        self.is_unresolved()
            || self.items().iter().any(Self::has_unresolved)
            || self.entries().iter().any(|(_, node)| node.has_unresolved())
    }

    /// As JSON, to be held against a schema. JSON has no infinity: the largest number stands for it.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.value {
            NodeValue::Null => Value::Null,
            NodeValue::Bool(value) => Value::Bool(*value),
            NodeValue::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => Value::Null,
            },
            NodeValue::Float(value) if value.is_nan() => Value::Null,
            NodeValue::Float(value) => value.clamp(f64::MIN, f64::MAX).into(),
            NodeValue::Text(text) => Value::String(text.clone()),
            NodeValue::Sequence(items) => items.iter().map(Self::to_json).collect(),
            NodeValue::Mapping(entries) => entries
                .iter()
                .map(|(key, node)| (key.text.clone(), node.to_json()))
                .collect(),
        }
    }

    /// As a YAML value for serde, with secrets or (`redacted`) their names.
    pub(crate) fn to_yaml(&self, redacted: bool) -> serde_yaml::Value {
        use serde_yaml::Value;
        match &self.value {
            NodeValue::Null => Value::Null,
            NodeValue::Bool(value) => Value::Bool(*value),
            NodeValue::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => Value::Null,
            },
            NodeValue::Float(value) => (*value).into(),
            NodeValue::Text(text) => {
                let hidden = self
                    .origin
                    .as_ref()
                    .and_then(|origin| origin.redacted.as_ref())
                    .filter(|_| redacted);
                Value::String(hidden.unwrap_or(text).clone())
            }
            NodeValue::Sequence(items) => items.iter().map(|item| item.to_yaml(redacted)).collect(),
            NodeValue::Mapping(entries) => entries
                .iter()
                .map(|(key, node)| (Value::String(key.text.clone()), node.to_yaml(redacted)))
                .collect::<serde_yaml::Mapping>()
                .into(),
        }
    }
}

impl Origin {
    /// The bytes of the old text that gave these bytes of the new one.
    fn before(&self, range: Range<usize>) -> Range<usize> {
        let place = |at: usize, is_end: bool| {
            let piece = self.pieces.iter().find(|piece| {
                if is_end {
                    piece.new.start < at && at <= piece.new.end
                } else {
                    piece.new.start <= at && at < piece.new.end
                }
            });
            match piece {
                Some(piece) if piece.verbatim => piece.old.start + (at - piece.new.start),
                Some(piece) if is_end => piece.old.end,
                Some(piece) => piece.old.start,
                None if at == 0 => 0,
                None => self.text.len(),
            }
        };
        let start = place(range.start, false);
        start..place(range.end, true).max(start)
    }
}

pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(40) {
        Some((end, _)) => Cow::Owned(format!("{}…", &line[..end])),
        None if line.len() < text.trim_end().len() => Cow::Owned(format!("{line}…")),
        None => Cow::Borrowed(line),
    }
}

/// Parses a YAML document (1.2, core schema) into a tree.
///
/// Anchors, aliases and `<<` merge keys are expanded, within [`MOST_NODES`] nodes and [`DEEPEST`] levels.
///
/// # Errors
/// Every problem that was found; reading stops at the first that makes the rest unreadable.
pub fn parse(source: &SourceText) -> Result<Node, Vec<Diagnostic>> {
    match parse_leniently(source) {
        (Some(node), diagnostics) if diagnostics.is_empty() => Ok(node),
        (_, diagnostics) => Err(diagnostics),
    }
}

/// The tree, where there is one, and every problem: a duplicate key does not hide what is wrong elsewhere.
pub(crate) fn parse_leniently(source: &SourceText) -> (Option<Node>, Vec<Diagnostic>) {
    let mut builder = Builder::new(source);
    let root = match builder.document() {
        Ok(root) => Some(root),
        Err(diagnostic) => {
            builder.diagnostics.push(*diagnostic);
            None
        }
    };
    (root, builder.diagnostics)
}

type Fatal = Box<Diagnostic>;

struct Builder<'a> {
    source: &'a SourceText,
    places: Places,
    /// Byte offset of each character, unless all are one byte.
    offsets: Option<Vec<usize>>,
    diagnostics: Vec<Diagnostic>,
    anchors: HashMap<usize, Anchor>,
    nodes: usize,
}

#[derive(Clone)]
struct Anchor {
    node: Node,
    nodes: usize,
    depth: usize,
}

/// A list or map that is being read.
struct Open {
    start: usize,
    anchor: usize,
    nodes_before: usize,
    depth_inside: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<(Key, Node)>,
        merges: Vec<(Range<usize>, Node)>,
        key: Option<PendingKey>,
    },
}

enum PendingKey {
    Key(Key),
    Merge(Range<usize>),
}

impl<'a> Builder<'a> {
    fn new(source: &'a SourceText) -> Self {
        let text = &source.text;
        let offsets = (!text.is_ascii()).then(|| {
            text.char_indices()
                .map(|(offset, _)| offset)
                .chain(std::iter::once(text.len()))
                .collect()
        });
        Self {
            source,
            places: Places::new(source),
            offsets,
            diagnostics: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
        }
    }

    fn offset(&self, mark: Marker) -> usize {
        let index = mark.index();
        let length = self.source.text.len();
        self.offsets
            .as_ref()
            .map_or(index, |offsets| {
                offsets.get(index).copied().unwrap_or(length)
            })
            .min(length)
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        let start = self.offset(span.start);
        let end = self.offset(span.end).max(start);
        // A plain or block scalar's span may reach over the white space after it.
        let written = &self.source.text[start..end];
        start..start + written.trim_end().len()
    }

    fn fatal(&self, code: &str, span: Range<usize>, message: impl Into<String>) -> Fatal {
        Box::new(self.located(code, span, message))
    }

    fn located(&self, code: &str, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            location: Some(self.places.location(self.source, span)),
            ..Diagnostic::error(code, message)
        }
    }

    fn document(&mut self) -> Result<Node, Fatal> {
        let source = self.source;
        let mut root: Option<Node> = None;
        let mut open: Vec<Open> = Vec::new();
        for event in Parser::new_from_str(&source.text) {
            let (event, span) = event.map_err(|error| self.unreadable(&error))?;
            let (node, depth) = match event {
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {
                    continue;
                }
                Event::DocumentStart(_) => {
                    if root.is_some() {
                        let start = self.offset(span.start);
                        return Err(self.fatal(
                            "many-documents",
                            start..self.offset(span.end).min(start + 3),
                            "a second YAML document begins here; a file holds one pipeline",
                        ));
                    }
                    continue;
                }
                Event::Alias(id) => self.alias(id, span, open.len())?,
                Event::Scalar(text, style, anchor, tag) => {
                    self.count(1, span)?;
                    let node = self.scalar(text, style, tag.as_deref(), span)?;
                    if anchor > 0 {
                        self.anchors.insert(
                            anchor,
                            Anchor {
                                node: node.clone(),
                                nodes: 1,
                                depth: 0,
                            },
                        );
                    }
                    (node, 0)
                }
                Event::SequenceStart(anchor, tag) => {
                    self.begin(
                        &mut open,
                        anchor,
                        tag.as_deref(),
                        span,
                        Content::Sequence(Vec::new()),
                    )?;
                    continue;
                }
                Event::MappingStart(anchor, tag) => {
                    let content = Content::Mapping {
                        entries: Vec::new(),
                        merges: Vec::new(),
                        key: None,
                    };
                    self.begin(&mut open, anchor, tag.as_deref(), span, content)?;
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                    Some(closed) => self.end(closed, span)?,
                    None => continue,
                },
            };
            match open.last_mut() {
                None => root = Some(node),
                Some(parent) => {
                    parent.depth_inside = parent.depth_inside.max(depth + 1);
                    self.place(parent, node)?;
                }
            }
        }
        root.ok_or_else(|| self.fatal("empty-file", 0..0, "the file says nothing"))
    }

    /// Puts a finished node into its list or map; in a map, keys and values take turns.
    fn place(&mut self, parent: &mut Open, node: Node) -> Result<(), Fatal> {
        match &mut parent.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping {
                entries,
                merges,
                key,
            } => match key.take() {
                Some(PendingKey::Key(key)) => entries.push((key, node)),
                Some(PendingKey::Merge(span)) => merges.push((span, node)),
                None => *key = Some(self.key(node)?),
            },
        }
        Ok(())
    }

    fn key(&self, node: Node) -> Result<PendingKey, Fatal> {
        let text = match &node.value {
            NodeValue::Sequence(_) | NodeValue::Mapping(_) => {
                let mut fatal =
                    self.fatal("yaml-syntax", node.span, "a list or map cannot be a key");
                if self.source.text.contains("{{") || self.source.text.contains("${") {
                    fatal.help.push(
                        "put quotes around a value that begins with `{` or holds `${…}`".into(),
                    );
                }
                return Err(fatal);
            }
            NodeValue::Text(text) => text.clone(),
            // The text as written, so that `1.0` and `0x10` stay what the user reads.
            _ => self
                .source
                .text
                .get(node.span.clone())
                .unwrap_or_default()
                .trim()
                .to_owned(),
        };
        let is_merge = text == "<<" && self.source.text.get(node.span.clone()) == Some("<<");
        Ok(if is_merge {
            PendingKey::Merge(node.span)
        } else {
            PendingKey::Key(Key {
                text,
                span: node.span,
            })
        })
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Fatal> {
        self.nodes += nodes;
        if self.nodes > MOST_NODES {
            let what = if self.anchors.is_empty() {
                ""
            } else {
                " once its aliases are expanded"
            };
            return Err(self.fatal(
                "too-many-nodes",
                self.bytes(span),
                format!("the file has more than {MOST_NODES} values{what}"),
            ));
        }
        Ok(())
    }

    fn begin(
        &mut self,
        open: &mut Vec<Open>,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
        content: Content,
    ) -> Result<(), Fatal> {
        self.count(1, span)?;
        let start = self.offset(span.start);
        if open.len() >= DEEPEST {
            return Err(self.too_deep(start..self.offset(span.end)));
        }
        if let Some(tag) = tag {
            let expected = if matches!(content, Content::Sequence(_)) {
                "seq"
            } else {
                "map"
            };
            if !(tag.is_yaml_core_schema() && tag.suffix == expected) {
                self.unknown_tag(tag, start..self.offset(span.end));
            }
        }
        open.push(Open {
            start,
            anchor,
            nodes_before: self.nodes - 1,
            depth_inside: 0,
            content,
        });
        Ok(())
    }

    fn end(&mut self, closed: Open, span: Span) -> Result<(Node, usize), Fatal> {
        let (value, last_child) = match closed.content {
            Content::Sequence(items) => {
                let last = items.last().map(|item| item.span.end);
                (NodeValue::Sequence(items), last)
            }
            Content::Mapping {
                mut entries,
                merges,
                ..
            } => {
                let last = entries
                    .iter()
                    .map(|(key, node)| key.span.end.max(node.span.end))
                    .chain(merges.iter().map(|(_, node)| node.span.end))
                    .max();
                self.refuse_duplicates(&mut entries);
                for (place, merged) in merges {
                    self.merge(&mut entries, place, merged, span)?;
                }
                (NodeValue::Mapping(entries), last)
            }
        };
        // A flow collection ends with its bracket, a block collection with its last child.
        let start = closed.start;
        let end = self.offset(span.end);
        let is_flow = end > start
            && self.source.text[..end].ends_with([']', '}'])
            && self.offset(span.start) < end;
        let end = if is_flow {
            end
        } else {
            last_child.unwrap_or(start).max(start)
        };
        let node = Node::new(value, start..end);
        if closed.anchor > 0 {
            let nodes = self.nodes - closed.nodes_before;
            self.anchors.insert(
                closed.anchor,
                Anchor {
                    node: node.clone(),
                    nodes,
                    depth: closed.depth_inside,
                },
            );
        }
        Ok((node, closed.depth_inside))
    }

    /// Keeps the first of each key and reports the others.
    fn refuse_duplicates(&mut self, entries: &mut Vec<(Key, Node)>) {
        let mut first: HashMap<&str, &Key> = HashMap::with_capacity(entries.len());
        let mut duplicates = Vec::new();
        for (index, (key, _)) in entries.iter().enumerate() {
            match first.get(key.text.as_str()) {
                Some(earlier) => duplicates.push((index, earlier.span.clone())),
                None => {
                    first.insert(&key.text, key);
                }
            }
        }
        for (index, earlier) in duplicates.iter().rev() {
            let (key, _) = entries.remove(*index);
            let place = self.places.location(self.source, earlier.clone());
            let mut diagnostic = self.located(
                "duplicate-key",
                key.span.clone(),
                format!("the key `{}` is given twice", shortened(&key.text)),
            );
            diagnostic.label = Some("given again".into());
            diagnostic.notes.push(format!(
                "first given on line {}, column {}",
                place.line, place.column
            ));
            self.diagnostics.push(diagnostic);
        }
    }

    /// `<<: *defaults`: keys of the merged maps that the map itself does not have.
    fn merge(
        &mut self,
        entries: &mut Vec<(Key, Node)>,
        place: Range<usize>,
        merged: Node,
        span: Span,
    ) -> Result<(), Fatal> {
        let maps = match merged.value {
            NodeValue::Mapping(entries) => vec![entries],
            NodeValue::Sequence(items)
                if items
                    .iter()
                    .all(|item| matches!(item.value, NodeValue::Mapping(_))) =>
            {
                items
                    .into_iter()
                    .filter_map(|item| match item.value {
                        NodeValue::Mapping(entries) => Some(entries),
                        _ => None,
                    })
                    .collect()
            }
            _ => {
                let diagnostic = self
                    .located("yaml-syntax", place, "`<<` merges a map or a list of maps")
                    .help("give it an alias of a map: `<<: *defaults`");
                self.diagnostics.push(diagnostic);
                return Ok(());
            }
        };
        let mut known: std::collections::HashSet<String> =
            entries.iter().map(|(key, _)| key.text.clone()).collect();
        for (key, node) in maps.into_iter().flatten() {
            if known.insert(key.text.clone()) {
                self.count(1, span)?;
                entries.push((key, node));
            }
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, span: Span, level: usize) -> Result<(Node, usize), Fatal> {
        let place = self.bytes(span);
        let Some((nodes, depth)) = self
            .anchors
            .get(&id)
            .map(|anchor| (anchor.nodes, anchor.depth))
        else {
            return Err(self.fatal(
                "yaml-syntax",
                place,
                "this alias stands inside the value that it names",
            ));
        };
        // Counted before the copy is made: a bomb never gets the memory it asks for.
        self.count(nodes, span)?;
        if level + depth > DEEPEST {
            return Err(self.too_deep(place));
        }
        let mut node = self
            .anchors
            .get(&id)
            .map(|anchor| anchor.node.clone())
            .unwrap_or(Node::new(NodeValue::Null, 0..0));
        node.span = place;
        Ok((node, depth))
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<Node, Fatal> {
        let mut bytes = self.bytes(span);
        // The span of an anchored or tagged scalar begins at its anchor.
        bytes.start = self.after_properties(bytes.clone());
        let Some(tag) = tag else {
            let value = match style {
                ScalarStyle::Plain => plain_value(&text),
                _ => NodeValue::Text(text.into_owned()),
            };
            return Ok(Node::new(value, bytes));
        };
        let resolved = plain_value(&text);
        let value = match (tag.is_yaml_core_schema(), tag.suffix.as_str(), resolved) {
            (true, "str", _) => NodeValue::Text(text.into_owned()),
            (true, "int", value @ NodeValue::Int(_))
            | (true, "float", value @ NodeValue::Float(_))
            | (true, "bool", value @ NodeValue::Bool(_))
            | (true, "null", value @ NodeValue::Null) => value,
            (true, "float", NodeValue::Int(value)) => NodeValue::Float(value as f64),
            (true, name @ ("int" | "float" | "bool" | "null"), _) => {
                return Err(self.fatal(
                    "yaml-syntax",
                    bytes,
                    format!("`{}` is not what its tag `!!{name}` says", shortened(&text)),
                ));
            }
            // A lone `!` means text.
            (false, "!", _) if tag.handle.is_empty() => NodeValue::Text(text.into_owned()),
            _ => {
                self.unknown_tag(tag, bytes.clone());
                NodeValue::Text(text.into_owned())
            }
        };
        Ok(Node::new(value, bytes))
    }

    /// Where a scalar begins, its `&anchor` and `!tag` passed over.
    fn after_properties(&self, bytes: Range<usize>) -> usize {
        let written = &self.source.text[bytes.clone()];
        let mut rest = written;
        while rest.starts_with(['&', '!']) {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            rest = rest[end..].trim_start();
        }
        if rest.is_empty() {
            bytes.start
        } else {
            bytes.end - rest.len()
        }
    }

    fn unknown_tag(&mut self, tag: &Tag, place: Range<usize>) {
        let name = if tag.is_yaml_core_schema() {
            format!("!!{}", tag.suffix)
        } else {
            tag.to_string()
        };
        let diagnostic = self
            .located(
                "unknown-tag",
                place,
                format!("the tag `{name}` means nothing here"),
            )
            .help("leave the tag out; text that looks like a number goes in quotes");
        self.diagnostics.push(diagnostic);
    }

    fn too_deep(&self, place: Range<usize>) -> Fatal {
        self.fatal(
            "too-deep",
            place,
            format!("lists and maps are nested more than {DEEPEST} deep"),
        )
    }

    fn unreadable(&self, error: &ScanError) -> Fatal {
        let at = self.offset(*error.marker());
        let info = error.info().to_lowercase();
        if info.contains("recursion limit") {
            return self.too_deep(at..at + 1);
        }
        if let Some(tab) = self.indenting_tab(at, info.contains("tab")) {
            let mut fatal = self.fatal(
                "tab-indentation",
                tab,
                "a tab indents this line; YAML indents with spaces only",
            );
            fatal.label = Some("a tab".into());
            fatal.help.push("replace the tab by two spaces".into());
            return fatal;
        }
        if info.contains("unknown anchor") {
            let end = self.source.text[at..]
                .find(char::is_whitespace)
                .map_or(self.source.text.len(), |length| at + length);
            let name = self.source.text[at..end]
                .trim_end_matches([',', ']', '}'])
                .to_owned();
            return self.fatal(
                "unknown-alias",
                at..at + name.len(),
                format!("no anchor stands above for the alias `{name}`"),
            );
        }
        let end = self.source.text[at..]
            .chars()
            .next()
            .filter(|next| *next != '\n')
            .map_or(at, |next| at + next.len_utf8());
        let mut fatal = self.fatal(
            "yaml-syntax",
            at..end,
            format!("not readable as YAML: {}", plainly(&info)),
        );
        let place = self.places.line(at);
        let line = self
            .source
            .text
            .lines()
            .nth(place.saturating_sub(1))
            .unwrap_or_default();
        if line.contains(": ${") || line.contains("[${") || line.contains(", ${") {
            fatal
                .help
                .push("put quotes around `${…}` inside `{…}` and `[…]`: `\"${name}\"`".into());
        } else if info.contains("mapping values") {
            fatal.help.push(
                "put quotes around text that holds `: `, and check the indentation of this line"
                    .into(),
            );
        } else if info.contains("expected ','") {
            fatal.help.push(
                "close the `{` or `[` above, or put quotes around text that holds `,`, `: `, `{` or `[`".into(),
            );
        } else if info.contains("did not find expected") {
            fatal.help.push(
                "items of a list begin in one column, and so do keys of a map: check the indentation of this line".into(),
            );
        }
        fatal
    }

    /// The first tab in the indentation of the line at `at` or, if the parser complained of one, of a line just above.
    fn indenting_tab(&self, at: usize, complained: bool) -> Option<Range<usize>> {
        let text = &self.source.text;
        let line = self.places.line(at);
        let candidates = if complained {
            line.saturating_sub(1).max(1)..=line + 1
        } else {
            line..=line
        };
        let mut lines = text.split_inclusive('\n').scan(0, |offset, line| {
            let start = *offset;
            *offset += line.len();
            Some((start, line))
        });
        lines
            .by_ref()
            .enumerate()
            .filter(|(index, _)| candidates.contains(&(index + 1)))
            .find_map(|(_, (start, line))| {
                let indentation = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
                let has_content = !line.trim().is_empty();
                indentation
                    .find('\t')
                    .filter(|_| has_content)
                    .map(|tab| start + tab..start + tab + 1)
            })
            .or_else(|| {
                // A tab after `-` or `:` also stands where indentation would.
                (complained && text[at..].starts_with('\t')).then(|| at..at + 1)
            })
    }
}

/// The parser's words, a little shorter.
fn plainly(info: &str) -> String {
    info.rsplit_once(", ")
        .map_or(info, |(context, what)| {
            if context.starts_with("while ") {
                what
            } else {
                info
            }
        })
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> SourceText {
        SourceText::new("a.yaml", text)
    }

    fn tree(text: &str) -> Node {
        parse(&source(text)).expect("readable")
    }

    fn refusal(text: &str) -> (String, usize, usize) {
        let diagnostics = parse(&source(text)).expect_err("refused");
        let place = diagnostics[0].location.clone().expect("a place");
        (diagnostics[0].code.clone(), place.line, place.column)
    }

    fn written<'a>(text: &'a str, node: &Node) -> &'a str {
        &text[node.span.clone()]
    }

    #[test]
    fn every_value_knows_its_bytes() {
        let text = "# é\nname: café  # drink\nlist:\n  - 'a b'\n  - {k: \"v\", m: [1, 2]}\nblock: |\n  one\n  two\n\nlast:\n";
        let root = tree(text);
        assert_eq!(written(text, root.get("name").expect("name")), "café");
        let list = root.get("list").expect("list");
        assert_eq!(written(text, list.item(0).expect("first")), "'a b'");
        let flow = list.item(1).expect("second");
        assert_eq!(written(text, flow), "{k: \"v\", m: [1, 2]}");
        assert_eq!(written(text, flow.get("m").expect("m")), "[1, 2]");
        assert_eq!(written(text, list), "- 'a b'\n  - {k: \"v\", m: [1, 2]}");
        let block = root.get("block").expect("block");
        assert_eq!(block.text(), Some("one\ntwo\n"));
        assert_eq!(&text[block.narrow(&source(text), 4..7)], "two");
        assert_eq!(
            root.get("last").map(|node| &node.value),
            Some(&NodeValue::Null)
        );
        assert_eq!(
            root.entry("block").map(|(key, _)| &text[key.span.clone()]),
            Some("block")
        );
    }

    #[test]
    fn expands_anchors_and_merges() {
        let text = "base: &base {a: 1, b: 2}\nmore:\n  <<: *base\n  b: 3\nagain: *base\nword: &w hello\nsame: *w\n";
        let root = tree(text);
        let more = root.get("more").expect("more");
        assert_eq!(
            more.get("a").map(|node| &node.value),
            Some(&NodeValue::Int(1))
        );
        assert_eq!(
            more.get("b").map(|node| &node.value),
            Some(&NodeValue::Int(3))
        );
        assert_eq!(written(text, root.get("again").expect("again")), "*base");
        assert_eq!(written(text, root.get("word").expect("word")), "hello");
        assert_eq!(root.get("same").and_then(Node::text), Some("hello"));
    }

    #[test]
    fn refuses_bombs_and_nesting() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert_eq!(refusal(&bomb).0, "too-many-nodes");
        assert_eq!(refusal(&"[".repeat(10_000)).0, "too-deep");
        assert_eq!(refusal(&"- ".repeat(10_000)).0, "too-deep");
        let nested: String = (0..10_000)
            .map(|level| format!("{}k:\n", " ".repeat(level % 500)))
            .collect();
        assert!(parse(&source(&nested)).is_err());
        let deep_alias = format!(
            "a: &a {}1{}\nb: {}*a{}\n",
            "[".repeat(40),
            "]".repeat(40),
            "[".repeat(40),
            "]".repeat(40)
        );
        assert_eq!(refusal(&deep_alias).0, "too-deep");
    }

    #[test]
    fn refuses_what_yaml_cannot_say() {
        assert_eq!(
            refusal("a: 1\nb: 2\na: 3\n"),
            ("duplicate-key".into(), 3, 1)
        );
        assert_eq!(refusal("a:\n\tb: 1\n"), ("tab-indentation".into(), 2, 1));
        assert_eq!(
            refusal("stages:\n  - a: 1\n\t  b: 2\n"),
            ("tab-indentation".into(), 3, 1)
        );
        assert_eq!(refusal("a: *nothing\n"), ("unknown-alias".into(), 1, 4));
        assert_eq!(refusal("a: &a [*a]\n").0, "yaml-syntax");
        assert_eq!(
            refusal("a: 1\n---\nb: 2\n"),
            ("many-documents".into(), 2, 1)
        );
        assert_eq!(refusal("a: !pickle x\n"), ("unknown-tag".into(), 1, 12));
        assert_eq!(refusal("a: [1, 2\nb: 3\n").0, "yaml-syntax");
        assert_eq!(refusal("").0, "empty-file");
        assert_eq!(refusal("? [a]\n: 1\n").0, "yaml-syntax");
        assert_eq!(refusal("a: {rows: ${rows}}\n").0, "yaml-syntax");
    }

    #[test]
    fn a_duplicate_key_keeps_the_first() {
        let (root, diagnostics) = parse_leniently(&source("a: 1\na: 2\na: 3\n"));
        assert_eq!(diagnostics.len(), 2);
        assert_eq!(
            root.and_then(|root| root.get("a").map(|node| node.value.clone())),
            Some(NodeValue::Int(1))
        );
    }

    #[test]
    fn a_byte_order_mark_is_no_column() {
        let source = source("\u{feff}a: é\nb: [\n");
        let diagnostics = parse(&source).expect_err("open list");
        assert_eq!(diagnostics[0].code, "yaml-syntax");
        let root = parse(&SourceText::new("a", "\u{feff}a: é\nb: c\n")).expect("readable");
        let b = root.get("b").expect("b");
        assert_eq!(b.text(), Some("c"));
    }
}
