//! Names, labels and annotations: what all kinds share.

use super::{Faults, policy_name, text};
use crate::{
    key::Kind,
    v3::{AnyResource, ObjectMeta},
};
use std::collections::BTreeMap;

/// How many bytes the annotations of an object, or of a rule, may have together.
const ANNOTATION_BYTES_MAX: usize = 256 << 10;
const LABEL_KEY_RULE: &str = "expected a name of at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a \
    letter or digit, optionally behind a lower case DNS name and `/`";
const LABEL_VALUE_RULE: &str = "expected nothing, or at most 63 letters, digits, `-`, `_` and `.`, beginning and ending \
    with a letter or digit";

pub(super) fn check(faults: &mut Faults, resource: &AnyResource) {
    let metadata = resource.metadata();
    let kind = resource.kind();
    faults.at("metadata", |faults| {
        name(faults, kind, &metadata.name);
        if !kind.is_namespaced() && !metadata.namespace.is_empty() {
            let reason = format!("a {} is in no namespace: leave this out", kind.name());
            faults.field("namespace", &metadata.namespace, reason);
        }
        labels(faults, "labels", &metadata.labels);
        reserved_labels(faults, kind, metadata);
        annotations(faults, &metadata.annotations);
    });
}

fn name(faults: &mut Faults, kind: Kind, name: &str) {
    if name.len() > text::NAME_BYTES_MAX {
        let over = name.len() - text::NAME_BYTES_MAX;
        return faults.field("name", name, format!("name is too long by {over} bytes"));
    }
    if !text::is_subdomain(name) {
        return faults.field("name", name, text::SUBDOMAIN_RULE);
    }
    match kind {
        Kind::GlobalNetworkPolicy if !policy_name::is_good_for_global(name) => {
            faults.field(
                "name",
                name,
                "expected <tier>.<name>, or <name> in the default tier: one dot at most",
            );
        }
        Kind::NetworkPolicy if !policy_name::is_good_for_namespaced(name) => {
            faults.field(
                "name",
                name,
                "expected <tier>.<name>, or <name> in the default tier: one dot at most",
            );
        }
        Kind::Tier if name.len() > text::LABEL_BYTES_MAX => {
            let over = name.len() - text::LABEL_BYTES_MAX;
            faults.field("name", name, format!("name is too long by {over} bytes"));
        }
        Kind::Tier if !text::is_dns_label(name) => faults.field("name", name, text::LABEL_RULE),
        _ => {}
    }
}

/// Labels, in metadata or in a profile.
pub(super) fn labels(faults: &mut Faults, field: &str, labels: &BTreeMap<String, String>) {
    for (key, value) in labels {
        faults.require(field, key, text::is_label_key(key), LABEL_KEY_RULE);
        if !text::is_label_value(value) {
            faults.at(field, |faults| faults.field(key, value, LABEL_VALUE_RULE));
        }
    }
}

fn reserved_labels(faults: &mut Faults, kind: Kind, metadata: &ObjectMeta) {
    const NAMESPACE: &str = "projectcalico.org/namespace";
    let is_set = matches!(kind, Kind::GlobalNetworkSet | Kind::NetworkSet);
    if is_set && metadata.labels.contains_key(NAMESPACE) {
        faults.field("labels", NAMESPACE, "this label says in which namespace a set is: it cannot be set");
    }
}

/// Annotations, in metadata or of a rule. Keys are compared in lower case.
pub(super) fn annotations(faults: &mut Faults, annotations: &BTreeMap<String, String>) {
    for key in annotations.keys() {
        faults.require("annotations", key, text::is_label_key(&key.to_ascii_lowercase()), LABEL_KEY_RULE);
    }
    let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > ANNOTATION_BYTES_MAX {
        let reason = format!("annotations have {bytes} bytes together; {ANNOTATION_BYTES_MAX} are allowed");
        faults.field("annotations", "", reason);
    }
}
