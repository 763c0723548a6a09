//! What is wrong with what the datastore holds: per object for `status`, in total for metrics, and once for the log.

use proto::{
    key::{Kind, ResourceKey},
    resource::Problem,
};
use std::collections::BTreeSet;
use tracing::debug;

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Values that were decoded, with or without success.
    pub decoded: u64,
    /// Values whose bytes were known, so that they were not decoded again.
    pub unchanged: u64,
    /// Values of which nothing could be used (D15).
    pub undecodable: u64,
    /// Parts that were left out of values in force (D1, D2).
    pub problems: u64,
}

/// What is in force of an object with problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The stored version, without the parts named.
    PartInForce,
    /// An older version: the stored one does not decode (D15).
    OlderVersionInForce,
    /// Nothing: the stored version does not decode and there was none before.
    Absent,
}

/// What is wrong with one object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Diagnosis<'a> {
    /// The object.
    pub key: &'a ResourceKey,
    /// What is in force of it.
    pub standing: Standing,
    /// Why the stored version is not in force.
    pub refused: Option<&'a Problem>,
    /// Parts left out of the version in force.
    pub problems: &'a [Problem],
}

impl<'a> Diagnosis<'a> {
    /// All that is wrong, what keeps the stored version out first.
    pub fn all(&self) -> impl Iterator<Item = &'a Problem> + use<'a> {
        self.refused.into_iter().chain(self.problems)
    }
}

/// Field names that were reported: one debug line for each kind and field.
#[derive(Default)]
pub(super) struct UnknownFields {
    reported: BTreeSet<(Kind, String)>,
}

impl UnknownFields {
    /// What a writer can make us remember. More are counted by nobody: a debug line is no alarm.
    const MAX: usize = 1024;

    pub(super) fn report(&mut self, kind: Kind, fields: &[String]) {
        for field in fields {
            if self.reported.len() >= Self::MAX {
                return;
            }
            if self.reported.insert((kind, field.clone())) {
                debug!(?kind, field, "unknown field ignored");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_unknown_fields_is_bounded() {
        let mut unknown = UnknownFields::default();
        let fields: Vec<String> = (0..3000).map(|n| format!("spec.x{n}")).collect();
        unknown.report(Kind::Tier, &fields);
        assert_eq!(unknown.reported.len(), UnknownFields::MAX);
    }
}
