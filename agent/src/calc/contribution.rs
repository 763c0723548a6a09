//! What one item brings into a set that picks it (semantics §3.6.2, §3.7.2).
//!
//! Addresses are those that the resource states: of a host endpoint its `expectedIPs`, never what its links have.

use super::{difference::difference, rule_sets::SetDefinition};
use ipnet::IpNet;
use proto::{
    resource::{EndpointPort, Nets, Resource},
    rule::Protocol,
    update::Member,
};
use std::net::IpAddr;

/// Members, perhaps with repetitions; always the same for the same item and definition.
pub(crate) enum Contribution<'a> {
    /// Nets of a set.
    Nets(&'a Nets),
    /// Addresses, or named ports, of an endpoint.
    Few(Vec<Member>),
}

impl Contribution<'_> {
    pub(crate) fn members(&self) -> impl Iterator<Item = Member> + '_ {
        let (nets, few): (Option<&Nets>, &[Member]) = match self {
            Self::Nets(nets) => (Some(nets), &[]),
            Self::Few(few) => (None, few),
        };
        nets.into_iter().flat_map(Nets::iter).map(Member::Net).chain(few.iter().copied())
    }
}

/// What the item brings.
pub(crate) fn of<'a>(item: &'a Resource, definition: &SetDefinition) -> Contribution<'a> {
    match &definition.named_port {
        None => addresses(item),
        Some((protocol, name)) => Contribution::Few(named_ports(item, *protocol, name)),
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

fn addresses(item: &Resource) -> Contribution<'_> {
    let member = |address: IpAddr| Member::Net(address.into());
    Contribution::Few(match item {
        Resource::HostEndpoint(endpoint) => endpoint.expected_ips.iter().copied().map(member).collect(),
        Resource::WorkloadEndpoint(endpoint) => endpoint.nets.iter().map(|net| member(net.addr())).collect(),
        Resource::NetworkSet(set) => return Contribution::Nets(&set.nets),
        _ => Vec::new(),
    })
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
