//! Resources as meant: what an agent acts on, decoded from the stored JSON (datastore model §1, read side).
//!
//! Decoding is tolerant as the reference is (unknown fields, absent defaults, both storage generations) and fails
//! closed where the reference opens (decisions D1, D2): see [`decode`].

mod check;
mod decode;
mod felix_configuration;
mod host_endpoint;
mod json;
pub mod net;
mod nets;
mod network_set;
mod objects;
mod policy;
mod profile;
mod rules;
mod selectors;
#[cfg(test)]
mod tests;
mod tunnels;
mod workload_endpoint;

pub use decode::decode;
pub use nets::Nets;

use crate::{
    id::{IfName, NodeName, PolicyId, ProfileName, TierName},
    key::{ResourceKey, one_line},
    rule::{Protocol, Rule, SelectorSide},
    selector::Selector,
    update::{InterfaceMatch, TierDefault},
};
use ipnet::IpNet;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// Labels as stored on a resource, or as a profile lends them.
pub type LabelMap = BTreeMap<Arc<str>, Arc<str>>;

/// A decoded resource of a kind that the agent reads.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Resource {
    ClusterInformation(ClusterInformation),
    FelixConfiguration(FelixConfiguration),
    Tier(Tier),
    /// GlobalNetworkPolicy or NetworkPolicy; its [`PolicyId`] tells.
    Policy(PolicySpec),
    Profile(ProfileSpec),
    HostEndpoint(HostEndpoint),
    /// GlobalNetworkSet or NetworkSet.
    NetworkSet(NetworkSet),
    WorkloadEndpoint(WorkloadEndpoint),
    Node(Node),
    IpPool(IpPool),
}

/// Longest field or reason in a message: both may quote what somebody wrote.
const TEXT_BYTES_MAX: usize = 500;

/// What is wrong with a part of a resource or with all of it. Says object, field and reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {}: {}", one_line(.field, TEXT_BYTES_MAX), one_line(.reason, TEXT_BYTES_MAX))]
pub struct Problem {
    /// The object.
    pub key: ResourceKey,
    /// Path of the field as users write it, for example `spec.ingress[2].source.nets[0]`.
    pub field: String,
    /// What was found and what was expected.
    pub reason: String,
}

/// What decoding made of one stored value.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// `Err` where nothing usable was found: the version in force stays (D15).
    pub resource: Result<Resource, Problem>,
    /// Parts that were left out or replaced while the rest is in force (D1, D2); to be logged and counted.
    pub problems: Vec<Problem>,
    /// Fields that this program does not know, as paths: one debug line for each kind and field.
    pub unknown_fields: Vec<String>,
}

/// `datastoreReady` and the little else that matters of ClusterInformation `default`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ClusterInformation {
    /// Only the exact boolean `true` counts.
    pub datastore_ready: bool,
    pub cluster_guid: Option<String>,
    pub cluster_type: Option<String>,
    pub calico_version: Option<String>,
}

/// FelixConfiguration expanded into parameter names and raw texts (datastore model §1.13), annotations
/// `config.projectcalico.org/<Name>` included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FelixConfiguration {
    /// Whom it concerns.
    pub scope: ConfigScope,
    /// Parameter name (`DefaultEndpointToHostAction`) → raw text.
    pub raw: BTreeMap<String, String>,
}

/// Whom a FelixConfiguration concerns, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigScope {
    /// Named `default`.
    Global,
    /// Named `node.<host>`.
    Host(String),
    /// Any other name: v3.29 ignores it.
    None,
}

/// A tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// Its name.
    pub name: TierName,
    /// `None` sorts after all numbers.
    pub order: Option<f64>,
    /// Only the exact text `Pass` passes.
    pub default_action: TierDefault,
}

/// When a policy is evaluated (semantics §3.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Category {
    Untracked,
    PreDnat,
    Normal,
    /// Normal with applyOnForward: local and forwarded traffic.
    NormalAndForward,
}

/// A GlobalNetworkPolicy or NetworkPolicy.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicySpec {
    /// Its identity.
    pub id: PolicyId,
    /// `spec.tier`, or what the stored name says.
    pub tier: TierName,
    /// `None` sorts after all numbers.
    pub order: Option<f64>,
    /// The effective selector: namespace and service account terms are rewritten into it (§1.8).
    pub selector: Arc<Selector>,
    /// Governs traffic towards the host. Both are true where `types` is empty.
    pub ingress_governed: bool,
    /// Governs traffic away from the host. Never true for pre-DNAT.
    pub egress_governed: bool,
    /// When it is evaluated.
    pub category: Category,
    /// Rules in order.
    pub ingress: Vec<Rule<SelectorSide>>,
    /// Rules in order.
    pub egress: Vec<Rule<SelectorSide>>,
}

/// A profile: rules, and labels for the endpoints that list it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct ProfileSpec {
    pub name: ProfileName,
    pub labels_to_apply: LabelMap,
    pub ingress: Vec<Rule<SelectorSide>>,
    pub egress: Vec<Rule<SelectorSide>>,
}

/// A host endpoint of any node.
#[derive(Clone, Debug, PartialEq)]
pub struct HostEndpoint {
    /// Whose it is.
    pub node: NodeName,
    /// Which links it claims; `None` where it names neither an interface nor an address: it governs nothing.
    pub interface: Option<InterfaceMatch>,
    /// What selectors resolve it to.
    pub expected_ips: Vec<IpAddr>,
    /// Own labels.
    pub labels: LabelMap,
    /// Profiles in order, for labels and rules. An invalid name keeps its place with a slash before it, which no
    /// profile's name has: it is a missing profile.
    pub profiles: Vec<ProfileName>,
    /// Named ports.
    pub ports: Vec<EndpointPort>,
    /// False where the reference would treat the whole resource as absent (D1): it stays in force, at the lowest
    /// rank, with what of it is valid.
    pub valid: bool,
}

/// A named port of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct EndpointPort {
    pub name: Arc<str>,
    pub protocol: Protocol,
    pub port: u16,
}

/// A set of nets with labels.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkSet {
    /// Own labels; those of a namespaced set include `projectcalico.org/namespace`.
    pub labels: LabelMap,
    /// `kns.<namespace>` for a namespaced set: profiles to inherit labels from.
    pub parents: Vec<ProfileName>,
    /// Host bits are zero; may overlap.
    pub nets: Nets,
}

/// A node, as the end of tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its IPv4 address.
    pub v4: Option<IpAddr>,
    /// Its IPv6 address.
    pub v6: Option<IpAddr>,
    /// Whether it has a VXLAN tunnel between IPv4 addresses.
    pub vxlan4: bool,
    /// Whether it has one between IPv6 addresses.
    pub vxlan6: bool,
}

/// A pool of workloads' addresses: whether hosts encapsulate what goes between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpPool {
    /// Its net, which is its identity for the reference.
    pub cidr: IpNet,
    /// `ipipMode` is Always or CrossSubnet.
    pub ipip: bool,
    /// `vxlanMode` is Always or CrossSubnet.
    pub vxlan: bool,
}

/// A workload endpoint of any node: a target of selectors, and on its own node policed.
///
/// One that has no addresses counts as absent for the reference; it comes without nets, ports and interface.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadEndpoint {
    /// The node in its name.
    pub node: NodeName,
    /// Its link on that node.
    pub interface: Option<IfName>,
    /// Own labels, as §5.1 rewrites them.
    pub labels: LabelMap,
    /// Profiles to inherit labels from; on its own node they judge what its policies leave to them.
    pub profiles: Vec<ProfileName>,
    /// Its addresses.
    pub nets: Vec<IpNet>,
    /// Named ports.
    pub ports: Vec<EndpointPort>,
}
