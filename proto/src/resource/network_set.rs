//! GlobalNetworkSet and NetworkSet (datastore model §1.11).

use super::{LabelMap, NetworkSet, Problem, check, json::Report, net};
use crate::{id::ProfileName, key::ResourceKey, v3};

const NAMESPACE: &str = "projectcalico.org/namespace";

/// The set. Entries that are no nets are skipped: one typing error must not take a list of thousands away.
///
/// # Errors
/// A label that the reference's read filter refuses, with which it drops the whole set.
pub(super) fn meant(
    key: &ResourceKey,
    report: &mut Report<'_>,
    metadata: &v3::ObjectMeta,
    stored: &[String],
) -> Result<NetworkSet, Problem> {
    let mut labels = LabelMap::new();
    for (label, value) in &metadata.labels {
        check::label(label, value)
            .map_err(|reason| report.fatal(format!("metadata.labels[{label}]"), reason))?;
        labels.insert(label.as_str().into(), value.as_str().into());
    }
    let mut parents = Vec::new();
    if let Some(namespace) = &key.namespace {
        labels.insert(NAMESPACE.into(), namespace.clone());
        parents.push(ProfileName::new(format!("kns.{namespace}")));
    }
    let understood = |(i, text): (usize, &String)| match net::net(text) {
        Ok(net) => Some(net),
        Err(error) => {
            report.note(format!("spec.nets[{i}]"), format!("`{text}` {error}; it is skipped"));
            None
        }
    };
    let nets = stored.iter().enumerate().filter_map(understood).collect();
    Ok(NetworkSet { labels, parents, nets })
}
