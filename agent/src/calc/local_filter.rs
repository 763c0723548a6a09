//! Which host endpoints are enforced here: those of exactly this node that claim a link.
//!
//! All others, of every node, still count as targets of selectors; that is decided elsewhere.

use proto::{
    id::NodeName,
    resource::{HostEndpoint, Resource},
};

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
            _ => false,
        }
    }
}
