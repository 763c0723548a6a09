//! Names of policies: as typed, as stored, and which tier they say (datastore model §1.4).

use super::text;
use crate::v3::ObjectMeta;

/// The tier of a policy that names none.
pub const DEFAULT_TIER: &str = "default";
/// The tier of Kubernetes' admin policies.
pub const ADMIN_TIER: &str = "adminnetworkpolicy";
/// The label in which a policy of another tier than the default says its tier.
pub const TIER_LABEL: &str = "projectcalico.org/tier";
/// The annotation that keeps a policy's name as typed: `{"name":"p"}`.
pub const NAME_ANNOTATION: &str = "projectcalico.org/metadata";

const KUBERNETES: &str = "knp.default.";
const ADMIN: &str = "kanp.adminnetworkpolicy.";
const OPENSTACK: &str = "ossg.";

/// A policy's name does not begin with its tier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Incorrectly formatted policy name {name}: a policy of tier {tier} is named {tier}.<name>")]
pub struct WrongPrefix {
    /// The name as typed.
    pub name: String,
    /// The tier that `spec.tier` says, or `default`.
    pub tier: String,
}

/// `<name>` or `<tier>.<name>`.
pub(super) fn is_good_for_global(name: &str) -> bool {
    name.split('.').count() <= 2 && text::is_subdomain(name)
}

/// As [`is_good_for_global`], and what kube-controllers and Neutron write.
pub(super) fn is_good_for_namespaced(name: &str) -> bool {
    let mirrored = name.strip_prefix(KUBERNETES).or_else(|| name.strip_prefix("ossg.default."));
    is_good_for_global(name) || mirrored.is_some_and(text::is_subdomain)
}

/// Whether it is a copy that Calico's controllers write from Kubernetes' own policies; calicoctl writes none.
pub fn is_mirrored(name: &str) -> bool {
    name.starts_with(KUBERNETES) || name.starts_with(ADMIN)
}

/// `spec.tier`, or the default tier.
pub fn tier_or_default(tier: &str) -> &str {
    if tier.is_empty() { DEFAULT_TIER } else { tier }
}

/// The name in the key for a name as typed.
///
/// # Errors
/// [`WrongPrefix`] where the name begins with another tier than `spec.tier` says.
pub fn stored(name: &str, tier: &str) -> Result<String, WrongPrefix> {
    let tier = tier_or_default(tier);
    if is_mirrored(name) || name.starts_with(OPENSTACK) {
        return Ok(name.to_owned());
    }
    match name.split_once('.') {
        None if tier == DEFAULT_TIER => Ok(format!("{DEFAULT_TIER}.{name}")),
        Some((prefix, _)) if prefix == tier => Ok(name.to_owned()),
        _ => Err(WrongPrefix { name: name.to_owned(), tier: tier.to_owned() }),
    }
}

/// The name in the key for a name given to find a policy, whatever its tier.
pub fn stored_for_lookup(name: &str) -> String {
    match name.contains('.') {
        true => name.to_owned(),
        false => format!("{DEFAULT_TIER}.{name}"),
    }
}

/// The tier that a stored name says.
pub fn tier_of(stored: &str) -> &str {
    match stored {
        name if name.starts_with(KUBERNETES) || name.starts_with(OPENSTACK) => DEFAULT_TIER,
        name if name.starts_with(ADMIN) => ADMIN_TIER,
        name => name.split_once('.').map_or(DEFAULT_TIER, |(tier, _)| tier),
    }
}

/// The name as its author typed it: from the annotation, or else the stored one without `default.`. `None` where
/// the annotation is not what Calico writes, which makes the policy unreadable for calicoctl.
pub fn typed(metadata: &ObjectMeta) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Name {
        #[serde(default)]
        name: String,
    }
    match metadata.annotations.get(NAME_ANNOTATION) {
        Some(json) => serde_json::from_str::<Name>(json).ok().map(|found| found.name),
        None => {
            let name = metadata.name.as_str();
            Some(name.strip_prefix("default.").unwrap_or(name).to_owned())
        }
    }
}

/// The annotation's value for a name.
pub fn annotation(name: &str) -> String {
    let json = crate::v3::go_json::to_vec(&serde_json::json!({ "name": name }));
    String::from_utf8(json).expect("JSON is UTF-8")
}
