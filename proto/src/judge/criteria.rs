//! Whether one rule matches one packet (semantics §3.4, §3.5).

use super::{
    packet::Packet,
    trail::{Hit, Side},
    world::{World, any_contains},
};
use crate::{
    id::SetId,
    rule::{Family, IcmpMatch, PortRange, Protocol, Rule, SetSide},
    update::Member,
};
use ipnet::IpNet;
use std::net::IpAddr;

/// `None` where the rule does not match; else by which members of sets it does.
pub(super) fn matches(rule: &Rule<SetSide>, packet: &Packet, world: &World) -> Option<Vec<Hit>> {
    let family = packet.family();
    let lists =
        [&rule.source.nets, &rule.source.not_nets, &rule.destination.nets, &rule.destination.not_nets];
    let other_family_only =
        |nets: &&Vec<IpNet>| !nets.is_empty() && !nets.iter().any(|net| Family::of(net) == family);
    if rule.family.is_some_and(|only| only != family) || lists.iter().any(other_family_only) {
        return None;
    }
    let icmp = match family {
        Family::V4 => Protocol::ICMP,
        Family::V6 => Protocol::ICMPV6,
    };
    let pair = |icmp: IcmpMatch| {
        icmp.icmp_type == packet.icmp_type && icmp.code.is_none_or(|code| code == packet.icmp_code)
    };
    let header = rule.protocol.is_none_or(|protocol| protocol == packet.protocol)
        && rule.not_protocol.is_none_or(|protocol| protocol != packet.protocol)
        && rule.icmp.is_none_or(|wanted| packet.protocol == icmp && pair(wanted))
        && rule.not_icmp.is_none_or(|wanted| packet.protocol == icmp && !pair(wanted));
    let sides = [
        (Side::Source, &rule.source, packet.source, packet.source_port),
        (Side::Destination, &rule.destination, packet.destination, packet.destination_port),
    ];
    let mut hits = Vec::new();
    for (side, criteria, address, port) in sides {
        let end = End { world, address, protocol: packet.protocol, port };
        if !header || !end.matches(criteria) {
            return None;
        }
        hits.extend(end.hits(side, criteria));
    }
    Some(hits)
}

/// One end of a packet.
struct End<'a> {
    world: &'a World,
    address: IpAddr,
    protocol: Protocol,
    port: u16,
}

impl End<'_> {
    fn matches(&self, side: &SetSide) -> bool {
        let member = |id: &SetId| self.members(id).next().is_some();
        let numeric = |ranges: &[PortRange]| ranges.iter().any(|r| (r.first..=r.last).contains(&self.port));
        let wants_ports = !side.ports.is_empty() || !side.named_ports.is_empty();
        let names_ports = wants_ports || !side.not_ports.is_empty() || !side.not_named_ports.is_empty();
        (side.nets.is_empty() || any_contains(&side.nets, self.address))
            && !any_contains(&side.not_nets, self.address)
            && side.set.iter().all(member)
            && !side.not_set.iter().any(member)
            && (!names_ports || self.protocol.has_ports())
            && (!wants_ports || numeric(&side.ports) || side.named_ports.iter().any(member))
            && !numeric(&side.not_ports)
            && !side.not_named_ports.iter().any(member)
    }

    /// The members of a set that are this end.
    fn members(&self, id: &SetId) -> impl Iterator<Item = Member> {
        self.world.sets.get(id).into_iter().flatten().copied().filter(|member| match member {
            Member::Net(net) => net.contains(&self.address),
            Member::Port { address, protocol, port } => {
                (*address, *protocol, *port) == (self.address, self.protocol, self.port)
            }
        })
    }

    fn hits(&self, side: Side, criteria: &SetSide) -> Vec<Hit> {
        let sets = criteria.set.iter().chain(&criteria.named_ports);
        let hits = sets.map(|set| Hit { side, set: *set, members: self.members(set).collect() });
        hits.filter(|hit| !hit.members.is_empty()).collect()
    }
}
