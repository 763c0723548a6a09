//! etcd path ↔ [`ResourceKey`].

use std::{fmt, sync::Arc};

/// The kinds that the agent reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    ClusterInformation,
    FelixConfiguration,
    Tier,
    GlobalNetworkPolicy,
    NetworkPolicy,
    Profile,
    HostEndpoint,
    GlobalNetworkSet,
    NetworkSet,
    WorkloadEndpoint,
    Node,
    IPPool,
}

/// Which resource: its kind, its namespace where the kind has one, and its stored name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct ResourceKey {
    pub kind: Kind,
    pub namespace: Option<Arc<str>>,
    pub name: Arc<str>,
}

impl fmt::Display for ResourceKey {
    /// As in messages: `HostEndpoint edge-1`, `NetworkSet shop/cart`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}
