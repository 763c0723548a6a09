//! The labels that selectors see: an item's own, then those of its profiles in order (datastore model §5.1).
//!
//! Nothing is copied: layers of borrowed maps are looked through at each question.

use proto::{
    id::ProfileName,
    resource::{LabelMap, Resource},
    selector::Labels,
};
use std::{collections::BTreeMap, sync::Arc};

/// Own labels of what a selector can pick; `None` for other kinds.
pub(crate) fn own_labels(resource: &Resource) -> Option<&LabelMap> {
    match resource {
        Resource::HostEndpoint(endpoint) => Some(&endpoint.labels),
        Resource::WorkloadEndpoint(endpoint) => Some(&endpoint.labels),
        Resource::NetworkSet(set) => Some(&set.labels),
        _ => None,
    }
}

/// The profiles that lend labels, in order of precedence.
pub(crate) fn parents(resource: &Resource) -> &[ProfileName] {
    match resource {
        Resource::HostEndpoint(endpoint) => &endpoint.profiles,
        Resource::WorkloadEndpoint(endpoint) => &endpoint.profiles,
        Resource::NetworkSet(set) => &set.parents,
        _ => &[],
    }
}

/// The labels that profiles lend; one without labels need not be here.
pub(crate) type Lent = BTreeMap<ProfileName, Arc<Resource>>;

/// What a profile lends; nothing, where it is unknown.
pub(crate) fn lent<'a>(profiles: &'a Lent, name: &ProfileName) -> Option<&'a LabelMap> {
    match &**profiles.get(name)? {
        Resource::Profile(profile) => Some(&profile.labels_to_apply),
        _ => None,
    }
}

/// Effective labels of one item: the first layer that has a label decides, an empty value included.
pub(crate) struct Effective<'a> {
    layers: Vec<&'a LabelMap>,
}

impl<'a> Effective<'a> {
    /// `lookup` tells what a profile lends.
    pub(crate) fn of(resource: &'a Resource, lookup: impl Fn(&ProfileName) -> Option<&'a LabelMap>) -> Self {
        let inherited = parents(resource).iter().filter_map(lookup);
        Self { layers: own_labels(resource).into_iter().chain(inherited).collect() }
    }

    /// Of nothing: an item that does not exist.
    pub(crate) fn none() -> Self {
        Self { layers: Vec::new() }
    }

    fn get(&self, label: &str) -> Option<&'a Arc<str>> {
        self.layers.iter().find_map(|layer| layer.get(label))
    }

    /// Each label once, with the value that counts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)> + '_ {
        self.layers.iter().enumerate().flat_map(move |(depth, layer)| {
            let above = &self.layers[..depth];
            layer.iter().filter(move |(label, _)| !above.iter().any(|upper| upper.contains_key(*label)))
        })
    }

    /// What is here and not, or not with this value, in `other`.
    pub(crate) fn beyond<'b>(
        &'b self,
        other: &'b Effective<'_>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)> + 'b {
        self.iter().filter(move |(label, value)| other.get(label) != Some(*value))
    }
}

impl Labels for Effective<'_> {
    fn value(&self, label: &str) -> Option<&str> {
        self.get(label).map(|value| &**value)
    }
}
