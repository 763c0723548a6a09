//! Calico's selector language (datastore model §4).

use std::fmt;

/// A parsed selector. Equality and hash are those of the canonical text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    canonical: String,
}

/// Where a selector looks labels up: own labels, then those of profiles in order.
pub trait Labels {
    /// The value of a label; `None` where it is absent.
    fn value(&self, label: &str) -> Option<&str>;
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
