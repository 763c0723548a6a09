//! What one item brings into a set that picks it (semantics §3.6.2, §3.7.2).
//!
//! Addresses are those that the resource states: of a host endpoint its `expectedIPs`, never what its links have.

use super::{difference::difference, rule_sets::SetDefinition};
use ipnet::IpNet;
use proto::{
    resource::{EndpointPort, Resource},
    rule::Protocol,
    update::Member,
};
use std::{borrow::Cow, net::IpAddr};

/// Members, perhaps with repetitions; always the same for the same item and definition.
pub(crate) enum Contribution<'a> {
    /// Addresses and nets.
    Nets(Cow<'a, [IpNet]>),
    /// Named ports.
    Ports(Vec<Member>),
}

impl Contribution<'_> {
    pub(crate) fn members(&self) -> impl Iterator<Item = Member> + '_ {
        let (nets, ports): (&[IpNet], &[Member]) = match self {
            Self::Nets(nets) => (nets, &[]),
            Self::Ports(ports) => (&[], ports),
        };
        nets.iter().copied().map(Member::Net).chain(ports.iter().copied())
    }
}

/// What the item brings.
pub(crate) fn of<'a>(item: &'a Resource, definition: &SetDefinition) -> Contribution<'a> {
    match &definition.named_port {
        None => Contribution::Nets(nets(item)),
        Some((protocol, name)) => Contribution::Ports(named_ports(item, *protocol, name)),
    }
}

/// What comes and what goes when `old` becomes `new`, each in order.
pub(crate) fn change(
    old: &Resource,
    new: &Resource,
    definition: &SetDefinition,
) -> (Vec<Member>, Vec<Member>) {
    let sorted = |item| {
        let mut members: Vec<Member> = of(item, definition).members().collect();
        members.sort_unstable();
        members
    };
    let (mut came, mut went) = (Vec::new(), Vec::new());
    for (member, comes) in difference(&sorted(old), &sorted(new)) {
        if comes { came.push(*member) } else { went.push(*member) }
    }
    (came, went)
}

fn nets(item: &Resource) -> Cow<'_, [IpNet]> {
    match item {
        Resource::HostEndpoint(endpoint) => endpoint.expected_ips.iter().map(|ip| IpNet::from(*ip)).collect(),
        Resource::WorkloadEndpoint(endpoint) => {
            endpoint.nets.iter().map(|net| IpNet::from(net.addr())).collect()
        }
        Resource::NetworkSet(set) => Cow::Borrowed(&set.nets),
        _ => Cow::Borrowed(&[]),
    }
}

fn named_ports(item: &Resource, protocol: Protocol, name: &str) -> Vec<Member> {
    let (addresses, ports): (Vec<IpAddr>, &[EndpointPort]) = match item {
        Resource::HostEndpoint(endpoint) => (endpoint.expected_ips.clone(), &endpoint.ports),
        Resource::WorkloadEndpoint(endpoint) => {
            (endpoint.nets.iter().map(IpNet::addr).collect(), &endpoint.ports)
        }
        _ => return Vec::new(),
    };
    let matching = ports.iter().filter(|port| port.protocol == protocol && &*port.name == name);
    matching
        .flat_map(|port| {
            addresses.iter().map(|address| Member::Port {
                address: *address,
                protocol: port.protocol,
                port: port.port,
            })
        })
        .collect()
}
