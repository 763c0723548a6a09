//! What a match needs of single labels (host endpoint semantics §8.2): by this an index finds the few selectors
//! that a changed endpoint can concern, and the few endpoints that a new selector can pick.

use super::ast::{Node, Op};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What holds of one label wherever the selector matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// The label is present, with whatever value.
    MustBePresent,
    /// The label is present with one of these values. With none: the selector matches nothing.
    MustBeOneOf(BTreeSet<Arc<str>>),
    /// The label is absent.
    MustBeAbsent,
}

type Restrictions = BTreeMap<Arc<str>, Restriction>;

pub(super) fn restrictions(root: &Node) -> Restrictions {
    of(root, false)
}

/// Of the node, or of its negation: `!` is pushed down to the leaves as De Morgan allows.
fn of(node: &Node, negated: bool) -> Restrictions {
    let one = |label: &Arc<str>, restriction| BTreeMap::from([(label.clone(), restriction)]);
    match node {
        Node::Has(label) if negated => one(label, Restriction::MustBeAbsent),
        Node::Has(label) => one(label, Restriction::MustBePresent),
        Node::Compare(label, op, value) => match (op, negated) {
            (Op::Eq, false) | (Op::Ne, true) => {
                one(label, Restriction::MustBeOneOf(BTreeSet::from([value.clone()])))
            }
            (Op::Contains | Op::StartsWith | Op::EndsWith, false) => one(label, Restriction::MustBePresent),
            _ => BTreeMap::new(),
        },
        Node::In(label, values) if !negated => one(label, Restriction::MustBeOneOf(values.clone())),
        Node::NotIn(label, values) if negated => one(label, Restriction::MustBeOneOf(values.clone())),
        Node::All | Node::Global | Node::In(..) | Node::NotIn(..) => BTreeMap::new(),
        Node::Not(operand) => of(operand, !negated),
        Node::And(operands) if !negated => all_of(operands, negated),
        Node::Or(operands) if negated => all_of(operands, negated),
        Node::And(operands) | Node::Or(operands) => any_of(operands, negated),
    }
}

fn all_of(operands: &[Node], negated: bool) -> Restrictions {
    let mut merged = Restrictions::new();
    for operand in operands {
        for (label, restriction) in of(operand, negated) {
            let both = match merged.remove(&label) {
                Some(other) => both(other, restriction),
                None => restriction,
            };
            merged.insert(label, both);
        }
    }
    merged
}

fn any_of(operands: &[Node], negated: bool) -> Restrictions {
    let mut branches = operands.iter().map(|operand| of(operand, negated));
    let first = branches.next().unwrap_or_default();
    branches.fold(first, |mut merged, mut branch| {
        merged = merged
            .into_iter()
            .filter_map(|(label, restriction)| {
                let other = branch.remove(&label)?;
                Some((label, either(restriction, other)?))
            })
            .collect();
        merged
    })
}

fn both(a: Restriction, b: Restriction) -> Restriction {
    use Restriction::{MustBeAbsent, MustBeOneOf, MustBePresent};
    match (a, b) {
        (MustBePresent, MustBePresent) => MustBePresent,
        (MustBeAbsent, MustBeAbsent) => MustBeAbsent,
        (MustBeOneOf(a), MustBeOneOf(b)) => MustBeOneOf(a.intersection(&b).cloned().collect()),
        (MustBeOneOf(values), MustBePresent) | (MustBePresent, MustBeOneOf(values)) => MustBeOneOf(values),
        (MustBeAbsent, MustBePresent | MustBeOneOf(_)) | (MustBePresent | MustBeOneOf(_), MustBeAbsent) => {
            MustBeOneOf(BTreeSet::new())
        }
    }
}

/// `None` where the two together say nothing.
fn either(a: Restriction, b: Restriction) -> Option<Restriction> {
    use Restriction::{MustBeAbsent, MustBeOneOf, MustBePresent};
    match (a, b) {
        (MustBeAbsent, MustBeAbsent) => Some(MustBeAbsent),
        (MustBeAbsent, _) | (_, MustBeAbsent) => None,
        (MustBeOneOf(mut a), MustBeOneOf(b)) => {
            a.extend(b);
            Some(MustBeOneOf(a))
        }
        (MustBePresent, _) | (_, MustBePresent) => Some(MustBePresent),
    }
}
