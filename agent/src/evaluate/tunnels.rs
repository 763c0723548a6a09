//! Which tunnels there are between hosts, and between whom, computed from scratch (datastore model §1.14).

use super::from_scratch::Resources;
use ipnet::IpNet;
use proto::{
    judge::Encapsulation,
    resource::{IpPool, Node, Resource},
    rule::Family,
    settings::{self, Settings},
};
use std::collections::BTreeSet;

/// Tunnels of one state of the datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnels {
    /// What is configured, with what pools turn on.
    pub configured: settings::Encapsulation,
    /// All nodes' IPv4 addresses, and the hosts that are no nodes: between them there is IP in IP.
    pub hosts: BTreeSet<IpNet>,
    /// The other nodes' addresses that have a VXLAN tunnel, and the hosts that are no nodes.
    pub vteps: BTreeSet<IpNet>,
}

/// The tunnels of `hostname`.
pub fn tunnels(resources: &Resources, hostname: &str, settings: &Settings) -> Tunnels {
    let mut configured = settings.encapsulation.clone();
    let (mut hosts, mut vteps) = (BTreeSet::new(), BTreeSet::new());
    for net in &configured.external_nodes {
        hosts.insert(net.trunc());
        vteps.insert(net.trunc());
    }
    // The map is sorted: of pools of one net the first by name counts.
    let mut pools: Vec<&IpPool> = Vec::new();
    for (key, resource) in resources {
        match &**resource {
            Resource::Node(Node { v4, v6, vxlan4, vxlan6 }) => {
                let is_other = &*key.name != hostname;
                hosts.extend(v4.map(IpNet::from));
                vteps.extend(v4.filter(|_| *vxlan4 && is_other).map(IpNet::from));
                vteps.extend(v6.filter(|_| *vxlan6 && is_other).map(IpNet::from));
            }
            Resource::IpPool(pool) if pools.iter().all(|known| known.cidr != pool.cidr) => pools.push(pool),
            _ => {}
        }
    }
    for pool in pools {
        let is_v4 = Family::of(&pool.cidr) == Family::V4;
        configured.ipip = configured.ipip.or(pool.ipip.then_some(true));
        configured.vxlan4 = configured.vxlan4.or((pool.vxlan && is_v4).then_some(true));
        configured.vxlan6 |= pool.vxlan && !is_v4;
    }
    Tunnels { configured, hosts, vteps }
}

impl Tunnels {
    /// As a packet's judge reads them.
    pub fn encapsulation(&self) -> Encapsulation {
        let vteps = |family| self.vteps.iter().copied().filter(|net| Family::of(net) == family).collect();
        let (mut vxlan, mut wireguard) = (Vec::new(), Vec::new());
        for family in Family::BOTH {
            if self.configured.vxlan(family) {
                vxlan.push((family, (self.configured.vxlan_port, vteps(family))));
            }
            wireguard.extend(self.configured.wireguard(family).map(|port| (family, port)));
        }
        Encapsulation {
            ipip: self.configured.ipip().then(|| self.hosts.iter().copied().collect()),
            vxlan: vxlan.into_iter().collect(),
            wireguard: wireguard.into_iter().collect(),
        }
    }
}
