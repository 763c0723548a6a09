//! Resources that people write: YAML or JSON text, one or many documents, read strictly (decision D14).
//!
//! calicoctl reads YAML 1.1, most other programs YAML 1.2, and people mean a third thing. What the two read
//! differently is refused here with its line and how to write it, and so are duplicate keys, field names in the
//! wrong case and unknown fields. Nothing is validated beyond types: that is [`crate::validate`].
//!
//! | module | what |
//! |---|---|
//! | `tree` | text → nodes with lines; limits on size, depth and aliases |
//! | `scalar` | what a plain scalar means, in 1.1 and in 1.2 |
//! | `decode` | nodes → typed resources; the wanted type decides what a plain scalar may be |
//! | [`emit`] | JSON → YAML text as calicoctl prints it |

mod decode;
pub mod emit;
mod scalar;
#[cfg(test)]
mod tests;
mod tree;

use crate::{
    key::Kind,
    v3::{API_VERSION, AnyResource},
};
use serde::de::DeserializeOwned;
use std::fmt;
use tree::{Kind as NodeKind, Node};

/// The longest text that is read, in bytes. One value in etcd is at most 1.5 MiB; a file may hold many.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// How deep lists and mappings may nest. The deepest field of a resource is at 8.
pub const DEPTH_MAX: usize = 64;
/// What aliases (`*name`) may add to a text, in bytes.
pub const ALIAS_BYTES_MAX: usize = 1 << 20;

/// One resource as written: a document, an entry of a top-level list, or an item of a `...List` kind.
#[derive(Clone, Debug)]
pub struct Document {
    node: Node,
}

/// Why a text was refused, and in which line (from 1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct YamlError {
    /// The line, from 1; 0 where none is to blame.
    pub line: usize,
    /// What is wrong there.
    pub problem: Box<Problem>,
}

impl YamlError {
    fn new(line: usize, problem: Problem) -> Self {
        Self { line, problem: Box::new(problem) }
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.problem),
            line => write!(f, "line {line}: {}", self.problem),
        }
    }
}

/// What is wrong with a text. Paths are as users write them: `spec.ingress[0].protocol`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Problem {
    #[error("not YAML: {0}")]
    Syntax(String),
    #[error("the text has {bytes} bytes; {TEXT_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error("lists and mappings nest deeper than {DEPTH_MAX}")]
    TooDeep,
    #[error("aliases repeat more than {ALIAS_BYTES_MAX} bytes: write the text out")]
    TooManyAliases,
    #[error("the anchor of this alias is not known here: define it earlier, and outside of itself")]
    UnknownAlias,
    #[error("the tag `{0}` is not supported: leave it out")]
    Tag(String),
    #[error("a key has to be text")]
    KeyNotText,
    #[error("the merge key `<<` means a merge in YAML 1.1 and a field name in 1.2: write the fields out")]
    MergeKey,
    #[error(
        "`{key}` is here for the second time (first in line {first}): YAML readers disagree which one counts; remove one"
    )]
    DuplicateKey { key: String, first: usize },
    #[error("{path}: `{text}` is {yaml11} in YAML 1.1 and {yaml12} in YAML 1.2: write {write}")]
    Doubtful { path: String, text: String, yaml11: String, yaml12: String, write: String },
    #[error("field in document is not recognized or is in the wrong location: {field} (in {path})")]
    UnknownField { path: String, field: String },
    #[error("the field `{found}` (in {path}) is written `{write}`: upper and lower case matter")]
    WrongCase { path: String, found: String, write: String },
    #[error("{path}: expected {expected}, found {found}")]
    Type { path: String, expected: String, found: String },
    #[error("{path}: {reason}")]
    Invalid { path: String, reason: String },
    #[error("this is {0}: a resource is a mapping that begins with apiVersion and kind")]
    NotAResource(String),
    #[error(
        "Unknown resource type ({kind}) and/or version ({api_version}): expected a kind such as HostEndpoint, with apiVersion: projectcalico.org/v3"
    )]
    UnknownKind { kind: String, api_version: String },
}

/// Splits a text into the resources that it spells. An empty text, or one of comments only, has none.
///
/// # Errors
/// The first [`YamlError`] anywhere in the text: nothing of a text with an error is to be used.
pub fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    let mut found = Vec::new();
    for node in tree::parse(text)? {
        match node.kind {
            NodeKind::Sequence(entries) => found.extend(entries.into_iter().map(|node| Document { node })),
            _ => found.push(Document { node }),
        }
    }
    let mut flat = Vec::with_capacity(found.len());
    for document in found {
        match document.list_items()? {
            Some(items) => flat.extend(items.into_iter().map(|node| Document { node })),
            None => flat.push(document),
        }
    }
    Ok(flat)
}

/// Decodes one document into the resource that it says it is.
///
/// # Errors
/// An unknown kind or field, a wrong type, or a scalar in doubt, with line and path.
pub fn resource(document: &Document) -> Result<AnyResource, YamlError> {
    let api_version = document.header("apiVersion")?.unwrap_or_default();
    let kind = document.header("kind")?.unwrap_or_default();
    let known = Kind::from_name(&kind).filter(|_| api_version == API_VERSION);
    match known {
        Some(kind) => AnyResource::of_yaml(kind, document),
        None => Err(YamlError::new(document.line(), Problem::UnknownKind { kind, api_version })),
    }
}

impl Document {
    /// The line in which it begins, from 1.
    pub fn line(&self) -> usize {
        self.node.line
    }

    /// The document as a value of a type of one's own, as strictly as [`resource`].
    ///
    /// # Errors
    /// An unknown field, a wrong type, or a scalar in doubt, with line and path.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, YamlError> {
        decode::decode(&self.node)
    }

    /// The document as JSON without a type: plain scalars are what YAML 1.1 and 1.2 agree on.
    ///
    /// # Errors
    /// A scalar on which they do not.
    pub fn value(&self) -> Result<serde_json::Value, YamlError> {
        self.decode()
    }

    /// A top-level text field such as `kind`; `None` where it is absent.
    fn header(&self, field: &str) -> Result<Option<String>, YamlError> {
        let NodeKind::Mapping(entries) = &self.node.kind else {
            let problem = Problem::NotAResource(self.node.describe());
            return Err(YamlError::new(self.line(), problem));
        };
        match entries.iter().find(|(key, _)| key.text == field) {
            Some((_, value)) => decode::decode(value),
            None => Ok(None),
        }
    }

    /// The items, where this is a `...List`.
    fn list_items(&self) -> Result<Option<Vec<Node>>, YamlError> {
        let NodeKind::Mapping(entries) = &self.node.kind else { return Ok(None) };
        if !self.header("kind")?.is_some_and(|kind| kind.ends_with("List")) {
            return Ok(None);
        }
        let mut items = Vec::new();
        for (key, value) in entries {
            match (key.text.as_str(), &value.kind) {
                ("items", NodeKind::Sequence(entries)) => items.clone_from(entries),
                ("apiVersion" | "kind" | "metadata" | "items", _) => {}
                (other, _) => {
                    let problem = Problem::UnknownField { path: "list".to_owned(), field: other.to_owned() };
                    return Err(YamlError::new(key.line, problem));
                }
            }
        }
        Ok(Some(items))
    }
}
