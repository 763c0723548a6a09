//! Text → nodes that know their line. Limits are kept here: length, depth, what aliases add.

use super::{ALIAS_BYTES_MAX, DEPTH_MAX, Problem, TEXT_BYTES_MAX, YamlError, scalar};
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use std::collections::BTreeMap;

/// A value with the line in which it begins, from 1.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Not quoted: what it means depends on what is wanted.
    Plain(String),
    /// Quoted, a block, or tagged `!!str`: text whatever it looks like.
    Text(String),
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) line: usize,
    pub(super) text: String,
}

impl Node {
    /// For messages: `the number 80`, `a list`.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            Kind::Plain(text) => match scalar::meaning(text) {
                Ok(scalar::Meaning::Text) | Err(_) => format!("the text `{text}`"),
                Ok(meaning) => meaning.to_string(),
            },
            Kind::Text(text) => format!("the text `{text}`"),
            Kind::Sequence(_) => "a list".to_owned(),
            Kind::Mapping(_) => "a mapping".to_owned(),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Plain(text) if scalar::meaning(text) == Ok(scalar::Meaning::Null))
    }

    /// About how many bytes it took to write.
    fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Plain(text) | Kind::Text(text) => 1 + text.len(),
            Kind::Sequence(items) => items.iter().map(|item| 1 + item.bytes()).sum(),
            Kind::Mapping(entries) => entries.iter().map(|(k, v)| 2 + k.text.len() + v.bytes()).sum(),
        }
    }
}

/// The roots of the documents of a text; empty ones are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, YamlError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(YamlError::new(0, Problem::TooLong { bytes: text.len() }));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            YamlError::new(error.marker().line(), Problem::Syntax(error.info().to_owned()))
        })?;
        builder.event(event, span.start.line())?;
    }
    Ok(builder.roots)
}

/// A list or mapping that is not closed yet.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<(Key, Node)>, lines: BTreeMap<String, usize>, key: Option<Key> },
}

#[derive(Default)]
struct Builder {
    roots: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    alias_bytes: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        let fail = |problem| Err(YamlError::new(line, problem));
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = match (style, text_tag(tag.as_deref())) {
                    (_, Err(tag)) => return fail(Problem::Tag(tag)),
                    (ScalarStyle::Plain, Ok(false)) => Kind::Plain(text.into_owned()),
                    _ => Kind::Text(text.into_owned()),
                };
                self.value(Node { line, kind }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                let content = Content::Sequence(Vec::new());
                self.begin(Open { line, anchor, content }, tag.as_deref())
            }
            Event::MappingStart(anchor, tag) => {
                let content = Content::Mapping { entries: Vec::new(), lines: BTreeMap::new(), key: None };
                self.begin(Open { line, anchor, content }, tag.as_deref())
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else { return fail(Problem::UnknownAlias) };
                self.alias_bytes += node.bytes();
                if self.alias_bytes > ALIAS_BYTES_MAX {
                    return fail(Problem::TooManyAliases);
                }
                self.value(node.clone(), 0)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, open: Open, tag: Option<&Tag>) -> Result<(), YamlError> {
        let fail = |problem| Err(YamlError::new(open.line, problem));
        if let Some(tag) = tag {
            return fail(Problem::Tag(spelled(tag)));
        }
        if self.open.len() >= DEPTH_MAX {
            return fail(Problem::TooDeep);
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) -> Result<(), YamlError> {
        let Some(Open { line, anchor, content }) = self.open.pop() else { return Ok(()) };
        let kind = match content {
            Content::Sequence(items) => Kind::Sequence(items),
            Content::Mapping { entries, .. } => Kind::Mapping(entries),
        };
        self.value(Node { line, kind }, anchor)
    }

    /// Puts a finished node where it belongs.
    fn value(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        if anchor != 0 {
            // Remembering costs a copy, so it counts as what aliases add.
            self.alias_bytes += node.bytes();
            if self.alias_bytes > ALIAS_BYTES_MAX {
                return Err(YamlError::new(node.line, Problem::TooManyAliases));
            }
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None if node.is_null() => {}
            None => self.roots.push(node),
            Some(Content::Sequence(items)) => items.push(node),
            Some(Content::Mapping { entries, lines, key }) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(new_key(node, lines)?),
            },
        }
        Ok(())
    }
}

/// Whether the tag says that a scalar is text; `Err` names one that we do not know.
fn text_tag(tag: Option<&Tag>) -> Result<bool, String> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(true),
        Some(tag) => Err(spelled(tag)),
    }
}

fn spelled(tag: &Tag) -> String {
    match tag.is_yaml_core_schema() {
        true => format!("!!{}", tag.suffix),
        false => format!("{}{}", tag.handle, tag.suffix),
    }
}

/// A key, once per mapping, that reads alike in YAML 1.1 and 1.2.
fn new_key(node: Node, lines: &mut BTreeMap<String, usize>) -> Result<Key, YamlError> {
    let line = node.line;
    let fail = |problem| Err(YamlError::new(line, problem));
    let text = match node.kind {
        Kind::Text(text) => text,
        Kind::Plain(text) if text == "<<" => return fail(Problem::MergeKey),
        Kind::Plain(text) => match scalar::meaning(&text) {
            Ok(scalar::Meaning::Null) => return fail(Problem::KeyNotText),
            Ok(meaning) => match scalar::as_text(&text, meaning) {
                Some(text) => text,
                None => return fail(Problem::KeyNotText),
            },
            Err((old, new)) => {
                let write = format!("\"{text}\"");
                let (yaml11, yaml12) = (old.to_string(), new.to_string());
                return fail(Problem::Doubtful { path: "key".to_owned(), text, yaml11, yaml12, write });
            }
        },
        Kind::Sequence(_) | Kind::Mapping(_) => return fail(Problem::KeyNotText),
    };
    if let Some(&first) = lines.get(&text) {
        return fail(Problem::DuplicateKey { key: text, first });
    }
    lines.insert(text.clone(), line);
    Ok(Key { line, text })
}
