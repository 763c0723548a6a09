//! The tree of a selector, its canonical text and the prefix rewrite. Never deeper than the parser allows, which is
//! why plain recursion is safe here and in the evaluator.

use std::{collections::BTreeSet, fmt, sync::Arc};

/// One node. `And` and `Or` have two or more operands; `Not` is never directly below `Not`.
#[derive(Clone, Debug)]
pub(super) enum Node {
    All,
    Global,
    Has(Arc<str>),
    Compare(Arc<str>, Op, Arc<str>),
    In(Arc<str>, BTreeSet<Arc<str>>),
    NotIn(Arc<str>, BTreeSet<Arc<str>>),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
}

/// An operator between a label and one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Eq,
    Ne,
    Contains,
    StartsWith,
    EndsWith,
}

impl Op {
    fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Contains => "contains",
            Self::StartsWith => "starts with",
            Self::EndsWith => "ends with",
        }
    }
}

impl Node {
    /// Negates, without ever stacking one `Not` on another.
    pub(super) fn negate(self) -> Self {
        match self {
            Self::Not(operand) => *operand,
            other => Self::Not(Box::new(other)),
        }
    }

    pub(super) fn prefixed(&self, prefix: &str) -> Self {
        let with = |label: &Arc<str>| Arc::from(format!("{prefix}{label}"));
        let all = |operands: &[Self]| operands.iter().map(|operand| operand.prefixed(prefix)).collect();
        match self {
            Self::All => Self::All,
            Self::Global => Self::Global,
            Self::Has(label) => Self::Has(with(label)),
            Self::Compare(label, op, value) => Self::Compare(with(label), *op, value.clone()),
            Self::In(label, values) => Self::In(with(label), values.clone()),
            Self::NotIn(label, values) => Self::NotIn(with(label), values.clone()),
            Self::Not(operand) => Self::Not(Box::new(operand.prefixed(prefix))),
            Self::And(operands) => Self::And(all(operands)),
            Self::Or(operands) => Self::Or(all(operands)),
        }
    }
}

/// The canonical text.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all()"),
            Self::Global => f.write_str("global()"),
            Self::Has(label) => write!(f, "has({label})"),
            Self::Compare(label, op, value) => write!(f, "{label} {} {}", op.as_str(), Quoted(value)),
            Self::In(label, values) => write!(f, "{label} in {}", Set(values)),
            Self::NotIn(label, values) => write!(f, "{label} not in {}", Set(values)),
            Self::Not(operand) => write!(f, "!{operand}"),
            Self::And(operands) => joined(f, operands, " && "),
            Self::Or(operands) => joined(f, operands, " || "),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, operands: &[Node], separator: &str) -> fmt::Result {
    f.write_str("(")?;
    for (i, operand) in operands.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { separator })?;
        fmt::Display::fmt(operand, f)?;
    }
    f.write_str(")")
}

/// A text in quotes; no text holds both kinds, because the language has no escapes.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('"') { '\'' } else { '"' };
        write!(f, "{quote}{}{quote}", self.0)
    }
}

struct Set<'a>(&'a BTreeSet<Arc<str>>);

impl fmt::Display for Set<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, value) in self.0.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, Quoted(value))?;
        }
        f.write_str("}")
    }
}
