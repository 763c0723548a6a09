//! Whether labels match a selector (datastore model §4.4). Where labels come from is the caller's: see [`Labels`].

use super::ast::{Node, Op};
use std::{borrow::Borrow, collections::BTreeMap};

/// Where a selector looks labels up: own labels, then those of profiles in order.
pub trait Labels {
    /// The value of a label; `None` where it is absent. A label with an empty value is present.
    fn value(&self, label: &str) -> Option<&str>;
}

impl<K: Borrow<str> + Ord, V: AsRef<str>> Labels for BTreeMap<K, V> {
    fn value(&self, label: &str) -> Option<&str> {
        self.get(label).map(AsRef::as_ref)
    }
}

impl Node {
    pub(super) fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        match self {
            Self::All | Self::Global => true,
            Self::Has(label) => labels.value(label).is_some(),
            Self::Compare(label, op, value) => op.holds(labels.value(label), value),
            Self::In(label, values) => labels.value(label).is_some_and(|found| values.contains(found)),
            Self::NotIn(label, values) => labels.value(label).is_none_or(|found| !values.contains(found)),
            Self::Not(operand) => !operand.matches(labels),
            Self::And(operands) => operands.iter().all(|operand| operand.matches(labels)),
            Self::Or(operands) => operands.iter().any(|operand| operand.matches(labels)),
        }
    }
}

impl Op {
    /// Only `!=` holds of an absent label.
    fn holds(self, found: Option<&str>, value: &str) -> bool {
        match self {
            Self::Eq => found == Some(value),
            Self::Ne => found != Some(value),
            Self::Contains => found.is_some_and(|found| found.contains(value)),
            Self::StartsWith => found.is_some_and(|found| found.starts_with(value)),
            Self::EndsWith => found.is_some_and(|found| found.ends_with(value)),
        }
    }
}
