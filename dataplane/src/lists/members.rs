//! The members of one list by their types, and the elements that stand for them.

use super::{
    Shape, StaticList,
    nets::{Bits, Nets, ip_net},
};
use crate::ruleset::{Element, SetName};
use ipnet::IpNet;
use proto::{
    id::SetId,
    rule::{Family, PortRange, Protocol},
    update::{Member, SetKind},
};
use std::{collections::BTreeSet, net::IpAddr};

/// The set that holds an element of a list; `None` for an entry of a dispatch map.
pub(crate) fn set_of(element: &Element) -> Option<SetName> {
    Some(match element {
        Element::Host(_, address) => SetName::Hosts(family(address)),
        Element::Net(_, net) => SetName::Nets(Family::of(net)),
        Element::Port(..) => SetName::Ports,
        Element::PortRange(..) => SetName::PortRanges,
        Element::NamedPort { address, .. } => SetName::NamedPorts(family(address)),
        Element::Dispatch(..) => return None,
    })
}

fn family(address: &IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// The members of one list.
#[derive(Debug)]
pub(super) enum Members {
    Addresses { v4: Nets<u32>, v6: Nets<u128> },
    Ports { v4: BTreeSet<(u32, u8, u16)>, v6: BTreeSet<(u128, u8, u16)> },
    Numbers(Vec<PortRange>),
}

impl Default for Members {
    fn default() -> Self {
        Self::Addresses { v4: Nets::default(), v6: Nets::default() }
    }
}

impl Members {
    /// These members; any of another kind are left out. A tree that is built as a whole takes half as much as one that
    /// grew.
    pub(super) fn of(kind: SetKind, members: &[Member]) -> Self {
        match kind {
            SetKind::Addresses => {
                let (mut v4, mut v6) = (Vec::new(), Vec::new());
                for member in members {
                    match member {
                        Member::Net(IpNet::V4(net)) => v4.push((net.network().into(), net.prefix_len())),
                        Member::Net(IpNet::V6(net)) => v6.push((net.network().into(), net.prefix_len())),
                        Member::Port { .. } => {}
                    }
                }
                Self::Addresses { v4: v4.into_iter().collect(), v6: v6.into_iter().collect() }
            }
            SetKind::Ports => {
                let (mut v4, mut v6) = (Vec::new(), Vec::new());
                for member in members {
                    match *member {
                        Member::Port { address: IpAddr::V4(address), protocol, port } => {
                            v4.push((address.into(), protocol.0, port));
                        }
                        Member::Port { address: IpAddr::V6(address), protocol, port } => {
                            v6.push((address.into(), protocol.0, port));
                        }
                        Member::Net(_) => {}
                    }
                }
                Self::Ports { v4: v4.into_iter().collect(), v6: v6.into_iter().collect() }
            }
        }
    }

    pub(super) fn of_static(content: &StaticList) -> Self {
        match content {
            StaticList::Ports(ranges) => Self::Numbers(ranges.clone()),
            StaticList::Nets(nets) => {
                let members: Vec<Member> = nets.iter().copied().map(Member::Net).collect();
                Self::of(SetKind::Addresses, &members)
            }
            StaticList::Ends(ends) => {
                let member = |&(address, protocol, port)| Member::Port { address, protocol, port };
                Self::of(SetKind::Ports, &ends.iter().map(member).collect::<Vec<_>>())
            }
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Addresses { v4, v6 } => Shape { nets4: v4.has_nets(), nets6: v6.has_nets() },
            Self::Ports { .. } | Self::Numbers(_) => Shape::default(),
        }
    }

    /// Adds a member and tells which elements come (true) and go (false). One of another kind than the list's
    /// is left out.
    pub(super) fn insert(&mut self, id: SetId, member: &Member, record: &mut impl FnMut(Element, bool)) {
        match (self, member) {
            (Self::Addresses { v4, .. }, Member::Net(IpNet::V4(net))) => {
                insert_net(id, v4, (net.network().into(), net.prefix_len()), record);
            }
            (Self::Addresses { v6, .. }, Member::Net(IpNet::V6(net))) => {
                insert_net(id, v6, (net.network().into(), net.prefix_len()), record);
            }
            (Self::Ports { v4, v6 }, &Member::Port { address, protocol, port }) => {
                let new = match address {
                    IpAddr::V4(address) => v4.insert((address.into(), protocol.0, port)),
                    IpAddr::V6(address) => v6.insert((address.into(), protocol.0, port)),
                };
                if new {
                    record(Element::NamedPort { list: id, address, protocol, port }, true);
                }
            }
            _ => {}
        }
    }

    /// Removes a member and tells which elements come (true) and go (false).
    pub(super) fn remove(&mut self, id: SetId, member: &Member, record: &mut impl FnMut(Element, bool)) {
        match (self, member) {
            (Self::Addresses { v4, .. }, Member::Net(IpNet::V4(net))) => {
                remove_net(id, v4, (net.network().into(), net.prefix_len()), record);
            }
            (Self::Addresses { v6, .. }, Member::Net(IpNet::V6(net))) => {
                remove_net(id, v6, (net.network().into(), net.prefix_len()), record);
            }
            (Self::Ports { v4, v6 }, &Member::Port { address, protocol, port }) => {
                let known = match address {
                    IpAddr::V4(address) => v4.remove(&(address.into(), protocol.0, port)),
                    IpAddr::V6(address) => v6.remove(&(address.into(), protocol.0, port)),
                };
                if known {
                    record(Element::NamedPort { list: id, address, protocol, port }, false);
                }
            }
            _ => {}
        }
    }

    /// The members that are this address, or hold it.
    pub(super) fn at(&self, address: IpAddr, into: &mut BTreeSet<Member>) {
        match (self, address) {
            (Self::Addresses { v4, .. }, IpAddr::V4(address)) => nets_at(v4, address.into(), into),
            (Self::Addresses { v6, .. }, IpAddr::V6(address)) => nets_at(v6, address.into(), into),
            (Self::Ports { v4, .. }, IpAddr::V4(address)) => ports_at(v4, address.into(), into),
            (Self::Ports { v6, .. }, IpAddr::V6(address)) => ports_at(v6, address.into(), into),
            (Self::Numbers(_), _) => {}
        }
    }

    /// The elements that stand for the members, sorted within each set.
    pub(super) fn for_each(&self, id: SetId, each: &mut impl FnMut(Element)) {
        match self {
            Self::Addresses { v4, v6 } => {
                each_address(id, v4, each);
                each_address(id, v6, each);
            }
            Self::Ports { v4, v6 } => {
                for &(address, protocol, port) in v4 {
                    each(named(id, address, protocol, port));
                }
                for &(address, protocol, port) in v6 {
                    each(named(id, address, protocol, port));
                }
            }
            Self::Numbers(ranges) if is_singles(ranges) => {
                ranges.iter().for_each(|range| each(Element::Port(id, range.first)));
            }
            Self::Numbers(ranges) => ranges.iter().for_each(|&range| each(Element::PortRange(id, range))),
        }
    }
}

fn nets_at<A: Bits>(nets: &Nets<A>, address: A, into: &mut BTreeSet<Member>) {
    let host = nets.hosts.contains(&address).then_some((address, A::LEN));
    into.extend(nets.holding(address).chain(host).map(|net| Member::Net(ip_net(net))));
}

fn ports_at<A: Bits>(ports: &BTreeSet<(A, u8, u16)>, address: A, into: &mut BTreeSet<Member>) {
    for &(_, protocol, port) in ports.range((address, 0, 0)..=(address, u8::MAX, u16::MAX)) {
        into.insert(Member::Port { address: address.address(), protocol: Protocol(protocol), port });
    }
}

/// Whether a list of ports goes to the hash set.
pub(crate) fn is_singles(ranges: &[PortRange]) -> bool {
    ranges.iter().all(|range| range.first == range.last)
}

fn named<A: Bits>(list: SetId, address: A, protocol: u8, port: u16) -> Element {
    Element::NamedPort { list, address: address.address(), protocol: Protocol(protocol), port }
}

fn each_address<A: Bits>(id: SetId, nets: &Nets<A>, each: &mut impl FnMut(Element)) {
    nets.hosts.iter().for_each(|address| each(Element::Host(id, address.address())));
    nets.widest().for_each(|net| each(Element::Net(id, ip_net(net))));
}

fn insert_net<A: Bits>(id: SetId, nets: &mut Nets<A>, net: (A, u8), record: &mut impl FnMut(Element, bool)) {
    if net.1 < A::LEN {
        nets.insert(net, &mut |net, came| record(Element::Net(id, ip_net(net)), came));
    } else if nets.hosts.insert(net.0) {
        record(Element::Host(id, net.0.address()), true);
    }
}

fn remove_net<A: Bits>(id: SetId, nets: &mut Nets<A>, net: (A, u8), record: &mut impl FnMut(Element, bool)) {
    if net.1 < A::LEN {
        nets.remove(net, &mut |net, came| record(Element::Net(id, ip_net(net)), came));
    } else if nets.hosts.remove(&net.0) {
        record(Element::Host(id, net.0.address()), false);
    }
}
