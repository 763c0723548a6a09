//! Calico's selector language (datastore model §4), as Calico v3.29 reads it. Knows nothing of endpoints or sets:
//! it answers whether labels match, and what a match needs.
//!
//! | file | what |
//! |---|---|
//! | `token` | text → tokens |
//! | `parse` | tokens → tree, with a limit on nesting |
//! | `ast` | the tree, its canonical text and the prefix rewrite |
//! | `eval` | does it match these labels |
//! | `restrict` | which labels a match needs: what an index looks candidates up by |

mod ast;
mod eval;
mod parse;
mod restrict;
#[cfg(test)]
mod tests;
mod token;

pub use eval::Labels;
pub use parse::{MAX_BYTES, MAX_DEPTH, ParseError};
pub use restrict::Restriction;

use ast::Node;
use std::{collections::BTreeMap, fmt, hash, sync::Arc};

/// A parsed selector. Equality, order and hash are those of the canonical text.
#[derive(Clone)]
pub struct Selector {
    canonical: Box<str>,
    root: Node,
}

impl Selector {
    /// Parses a selector as it is spelled in a resource. Empty and blank text is `all()`.
    ///
    /// # Units
    /// [`MAX_BYTES`] bounds the text in bytes, [`MAX_DEPTH`] the nesting of parentheses; the reference has neither.
    ///
    /// # Errors
    /// Every [`ParseError`] says what was found where and what was expected.
    ///
    /// # Source
    /// Calico v3.29; `fixtures/selector-vectors.json`. Newlines and carriage returns are blanks only within
    /// `has( )`, `all( )`, `global( )`, `not in`, `starts with` and `ends with`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::parse(text).map(Self::from_root)
    }

    /// The selector that matches everything, `all()`.
    pub fn all() -> Self {
        Self::from_root(Node::All)
    }

    fn from_root(root: Node) -> Self {
        Self { canonical: root.to_string().into(), root }
    }

    /// The canonical text: one spelling for all that parse to the same tree. Parsing it gives this selector again.
    pub fn as_str(&self) -> &str {
        &self.canonical
    }

    /// Calico's id of the selector: `s:` and the base64url of SHA-224 over `s:` and the canonical text.
    pub fn uid(&self) -> String {
        use base64::Engine;
        use sha2::Digest;
        let digest =
            sha2::Sha224::new().chain_update(b"s:").chain_update(self.canonical.as_bytes()).finalize();
        format!("s:{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest))
    }

    /// Whether these labels match. `global()` matches like `all()`: it has a meaning of its own only in the
    /// namespace selector of a rule, where decoding replaces it.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        self.root.matches(labels)
    }

    /// The same selector over labels that begin with `prefix` (`pcns.` for those of a namespace, `pcsa.` for those
    /// of a service account).
    #[must_use]
    pub fn prefixed(&self, prefix: &str) -> Self {
        Self::from_root(self.root.prefixed(prefix))
    }

    /// For each label that decides, what holds of it wherever the selector matches. Labels that are not mentioned
    /// may have any value or none. Conservative: what satisfies all restrictions need not match.
    pub fn restrictions(&self) -> BTreeMap<Arc<str>, Restriction> {
        restrict::restrictions(&self.root)
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for Selector {}

impl PartialOrd for Selector {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Selector {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.canonical.cmp(&other.canonical)
    }
}

impl hash::Hash for Selector {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.canonical)
    }
}
