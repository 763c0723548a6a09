//! Profile (datastore model §1.10), and the one that is built in.

use super::{
    LabelMap, Problem, ProfileSpec, check,
    json::Report,
    rules::{Place, rules},
};
use crate::{
    id::ProfileName,
    key::ResourceKey,
    rule::{Action, Rule, SelectorSide},
    v3,
};

/// The profile.
///
/// # Errors
/// A rule that the reference's read filter refuses, with which it takes the profile for a missing one.
pub(super) fn meant(
    key: &ResourceKey,
    report: &mut Report<'_>,
    stored: &v3::Profile,
) -> Result<ProfileSpec, Problem> {
    if &*key.name == ProfileName::DEFAULT_ALLOW {
        report.note("metadata.name", "is that of the built-in profile, which what is stored does not change");
        return Ok(ProfileSpec::default_allow());
    }
    let ingress = rules(report, &Place { field: "spec.ingress", namespace: None }, &stored.spec.ingress)?;
    let egress = rules(report, &Place { field: "spec.egress", namespace: None }, &stored.spec.egress)?;
    Ok(ProfileSpec {
        name: ProfileName::new(key.name.clone()),
        labels_to_apply: labels(report, stored),
        ingress,
        egress,
    })
}

/// All labels, or none where one is invalid: the reference then lends none, and keeps the rules.
fn labels(report: &mut Report<'_>, stored: &v3::Profile) -> LabelMap {
    let before = report.problems.len();
    let mut labels = LabelMap::new();
    for (key, value) in &stored.spec.labels_to_apply {
        match check::qualified_label(key, value) {
            Ok(()) => {
                labels.insert(key.as_str().into(), value.as_str().into());
            }
            Err(reason) => {
                let reason = format!("{reason}; the profile lends no label");
                report.note(format!("spec.labelsToApply[{key}]"), reason);
            }
        }
    }
    if report.problems.len() > before { LabelMap::new() } else { labels }
}

impl ProfileSpec {
    /// `projectcalico-default-allow`: it allows everything, lends no labels and has no key in any datastore.
    pub fn default_allow() -> Self {
        let allow = || Rule {
            index: 0,
            action: Action::Allow,
            family: None,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: SelectorSide::default(),
            destination: SelectorSide::default(),
        };
        Self {
            name: ProfileName::new(ProfileName::DEFAULT_ALLOW),
            labels_to_apply: LabelMap::new(),
            ingress: vec![allow()],
            egress: vec![allow()],
        }
    }
}
