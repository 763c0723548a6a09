//! Which endpoints are enforced here: host endpoints of exactly this node that claim a link, and workload endpoints of
//! it that have one.
//!
//! All others, of every node, still count as targets of selectors; that is decided elsewhere.

use proto::{
    id::{HostEndpointName, NodeName, WorkloadName},
    key::{Kind, ResourceKey},
    resource::{HostEndpoint, Resource, WorkloadEndpoint},
};

/// An endpoint of this node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EndpointId {
    Host(HostEndpointName),
    Workload(WorkloadName),
}

impl EndpointId {
    /// `None` for a resource of another kind.
    pub(crate) fn of(key: &ResourceKey) -> Option<Self> {
        match key.kind {
            Kind::HostEndpoint => Some(Self::Host(HostEndpointName::new(key.name.clone()))),
            Kind::WorkloadEndpoint => {
                let namespace = key.namespace.as_deref().unwrap_or_default();
                Some(Self::Workload(WorkloadName::new(format!("{namespace}/{}", key.name))))
            }
            _ => None,
        }
    }
}

/// Passes this node's endpoints.
pub(crate) struct LocalFilter {
    hostname: NodeName,
}

impl LocalFilter {
    pub(crate) fn new(hostname: NodeName) -> Self {
        Self { hostname }
    }

    /// Byte for byte: `Edge-1` is not `edge-1` (semantics §1.1.1). An endpoint that names neither an interface nor
    /// an address governs nothing, so no policy is in force for its sake.
    pub(crate) fn passes(&self, resource: &Resource) -> bool {
        match resource {
            Resource::HostEndpoint(HostEndpoint { node, interface, .. }) => {
                *node == self.hostname && interface.is_some()
            }
            Resource::WorkloadEndpoint(WorkloadEndpoint { node, interface, .. }) => {
                *node == self.hostname && interface.is_some()
            }
            _ => false,
        }
    }
}
