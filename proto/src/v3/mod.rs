//! Resources as spelled: the JSON that calicoctl v3.29 writes, field for field and in its order.
//!
//! Reading is as tolerant as Calico's own: unknown fields are ignored, `null` counts as absent, protocols and ports
//! are numbers or texts. Writing gives calicoctl's bytes: see [`Object::to_stored_json`]. Nothing is checked and
//! nothing defaulted here beyond what a type can hold; what a resource *means* is [`crate::resource`]'s.

mod any;
pub mod duration;
pub mod felix_configuration;
pub mod go_json;
mod ip_pool;
mod meta;
mod node;
mod nullable;
mod number_or_text;
mod policy;
mod spec;
#[cfg(test)]
mod tests;
mod workload_endpoint;

pub use any::AnyResource;
pub use felix_configuration::FelixConfigurationSpec;
pub use ip_pool::IPPoolSpec;
pub use meta::{API_VERSION, Object, ObjectMeta, Spec};
pub use node::{Node, NodeSpec};
pub use number_or_text::{Port, Protocol};
pub use policy::{
    EntityRule, GlobalNetworkPolicySpec, HttpMatch, IcmpFields, NetworkPolicySpec, Rule, ServiceAccountMatch,
    ServiceMatch,
};
pub use spec::{
    ClusterInformationSpec, EndpointPort, GlobalNetworkSetSpec, HostEndpointSpec, NetworkSetSpec,
    ProfileSpec, TierSpec,
};
pub use workload_endpoint::{WorkloadEndpointPort, WorkloadEndpointSpec};

/// A host endpoint.
pub type HostEndpoint = Object<HostEndpointSpec>;
/// A policy of the whole cluster.
pub type GlobalNetworkPolicy = Object<GlobalNetworkPolicySpec>;
/// A policy of one namespace.
pub type NetworkPolicy = Object<NetworkPolicySpec>;
/// Rules and labels that endpoints share by naming them.
pub type Profile = Object<ProfileSpec>;
/// A group of policies with a place in the order of groups.
pub type Tier = Object<TierSpec>;
/// Addresses for workloads, and how they are encapsulated between hosts.
pub type IPPool = Object<IPPoolSpec>;
/// Nets with labels.
pub type GlobalNetworkSet = Object<GlobalNetworkSetSpec>;
/// Nets with labels, in a namespace.
pub type NetworkSet = Object<NetworkSetSpec>;
/// The endpoint of a workload.
pub type WorkloadEndpoint = Object<WorkloadEndpointSpec>;
/// Facts of the cluster, one object named `default`.
pub type ClusterInformation = Object<ClusterInformationSpec>;
/// Parameters of the agent.
pub type FelixConfiguration = Object<FelixConfigurationSpec>;
