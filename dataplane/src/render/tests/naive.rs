//! The semantics, read naively: what becomes of a packet, straight from the vocabulary, without chains, marks or
//! sets. Only for comparison.

use super::{
    interpreter::{Fate, Packet},
    worlds::World,
};
use crate::ruleset::ct_state;
use ipnet::IpNet;
use proto::{
    id::{HostEndpointName, IfName, SetId},
    rule::{Action, Direction, Family, PortRange, Protocol, Rule, SetSide},
    settings::{DenyAction, EndpointToHostAction, EssentialIcmpV6, Failsafe},
    update::{Endpoint, Member, Tier, TierDefault},
};
use std::net::IpAddr;

enum Decision {
    Allow,
    Deny,
}

/// Judges packets in a world.
pub(super) struct Judge<'a> {
    pub(super) world: &'a World,
    pub(super) logged: usize,
}

impl Judge<'_> {
    /// A packet from a link to the host.
    pub(super) fn inbound(&mut self, packet: &Packet) -> Fate {
        let settings = &self.world.settings;
        if self.passes_untouched(packet) {
            return Fate::Passed;
        }
        if self.is_workload(packet.iif.as_ref()) {
            let icmpv6 = packet.family() == Family::V6 && packet.protocol == Protocol::ICMPV6;
            let essential = icmpv6 && [130, 131, 132, 133, 135, 136].contains(&packet.icmp_type);
            return match settings.endpoint_to_host {
                EndpointToHostAction::Drop if !essential => Fate::Dropped,
                _ => Fate::Passed,
            };
        }
        match self.endpoint(packet.iif.as_ref(), true) {
            Some(name) => self.local(&name, Direction::Ingress, packet, self.denied()),
            None => Fate::Passed,
        }
    }

    /// A packet of the host. `rerouted` is the outgoing link after DNAT changed the route.
    pub(super) fn outbound(&mut self, packet: &Packet, rerouted: Option<&IfName>) -> Fate {
        if self.passes_untouched(packet) {
            return Fate::Passed;
        }
        if packet.dnat {
            // Judged after rerouting, where nothing can be rejected.
            let by_wildcard = !self.is_workload(rerouted);
            return match self.endpoint(rerouted, by_wildcard) {
                Some(name) => self.local(&name, Direction::Egress, packet, Fate::Dropped),
                None => Fate::Passed,
            };
        }
        if self.is_workload(packet.oif.as_ref()) {
            return Fate::Passed;
        }
        match self.endpoint(packet.oif.as_ref(), true) {
            Some(name) => self.local(&name, Direction::Egress, packet, self.denied()),
            None => Fate::Passed,
        }
    }

    /// A packet from one link to another.
    pub(super) fn forwarded(&mut self, packet: &Packet) -> Fate {
        if self.passes_untouched(packet) {
            return Fate::Passed;
        }
        let sides = [(Direction::Ingress, packet.iif.as_ref()), (Direction::Egress, packet.oif.as_ref())];
        for (direction, link) in sides {
            let Some(name) = self.endpoint(link, true) else { continue };
            if self.is_invalid(packet) {
                return self.denied();
            }
            let endpoint = self.world.endpoints[&name].clone();
            if let Some(Decision::Deny) = self.walk(&endpoint.forward, direction, packet) {
                return self.denied();
            }
        }
        Fate::Passed
    }

    fn denied(&self) -> Fate {
        match self.world.settings.deny {
            DenyAction::Drop => Fate::Dropped,
            DenyAction::Reject => Fate::Rejected,
        }
    }

    fn passes_untouched(&self, packet: &Packet) -> bool {
        let is_active = !self.world.governed.is_empty() || self.world.wildcard.is_some();
        let off = packet.family() == Family::V6 && !self.world.settings.ipv6;
        !is_active || off || packet.ct_state & (ct_state::ESTABLISHED | ct_state::RELATED) != 0
    }

    fn is_invalid(&self, packet: &Packet) -> bool {
        self.world.settings.drop_invalid && packet.ct_state & ct_state::INVALID != 0
    }

    fn is_workload(&self, link: Option<&IfName>) -> bool {
        let prefixes = &self.world.settings.workload_prefixes;
        link.is_some_and(|link| prefixes.iter().any(|prefix| link.as_str().starts_with(prefix.as_str())))
    }

    fn endpoint(&self, link: Option<&IfName>, wildcard: bool) -> Option<HostEndpointName> {
        let link = link?;
        if let Some(name) = self.world.governed.get(link) {
            return Some(name.clone());
        }
        let covered = link.as_str() != "lo" || self.world.settings.wildcard_covers_loopback;
        self.world.wildcard.clone().filter(|_| wildcard && covered)
    }

    fn local(&mut self, name: &HostEndpointName, direction: Direction, packet: &Packet, deny: Fate) -> Fate {
        let endpoint: &Endpoint = &self.world.endpoints[name];
        let settings = &self.world.settings;
        if self.is_invalid(packet) {
            return deny;
        }
        if settings.essential_icmpv6 == EssentialIcmpV6::Allow && is_essential(packet) {
            return Fate::Passed;
        }
        let (failsafes, remote) = match direction {
            Direction::Ingress => (&settings.failsafe_in, packet.source),
            Direction::Egress => (&settings.failsafe_out, packet.destination),
        };
        let is_failsafe = |failsafe: &Failsafe| {
            failsafe.protocol == packet.protocol
                && failsafe.port == packet.destination_port
                && failsafe.net.is_none_or(|net| net.contains(&remote))
        };
        if failsafes.iter().any(is_failsafe) {
            return Fate::Passed;
        }
        match self.walk(&endpoint.normal, direction, packet) {
            Some(Decision::Allow) => return Fate::Passed,
            Some(Decision::Deny) => return deny,
            None => {}
        }
        for profile in &endpoint.profiles {
            let Some(profile) = self.world.profiles.get(profile) else { return deny };
            let rules = match direction {
                Direction::Ingress => &profile.ingress,
                Direction::Egress => &profile.egress,
            };
            match self.rules(rules, packet) {
                Some(Action::Allow) => return Fate::Passed,
                Some(Action::Deny) => return deny,
                _ => {}
            }
        }
        deny
    }

    fn walk(&mut self, tiers: &[Tier], direction: Direction, packet: &Packet) -> Option<Decision> {
        'tiers: for tier in tiers {
            let policies = match direction {
                Direction::Ingress => &tier.ingress,
                Direction::Egress => &tier.egress,
            };
            if policies.is_empty() {
                continue;
            }
            for id in policies {
                let Some(policy) = self.world.policies.get(id) else { return Some(Decision::Deny) };
                let rules = match direction {
                    Direction::Ingress => &policy.ingress,
                    Direction::Egress => &policy.egress,
                };
                match self.rules(rules, packet) {
                    Some(Action::Allow) => return Some(Decision::Allow),
                    Some(Action::Deny) => return Some(Decision::Deny),
                    Some(Action::Pass) => continue 'tiers,
                    Some(Action::Log) | None => {}
                }
            }
            if tier.default_action == TierDefault::Deny {
                return Some(Decision::Deny);
            }
        }
        None
    }

    /// The action of the first rule that matches and does not only log.
    fn rules(&mut self, rules: &[Rule<SetSide>], packet: &Packet) -> Option<Action> {
        for rule in rules.iter().filter(|rule| matches(rule, packet, self.world)) {
            match rule.action {
                Action::Log => self.logged += 1,
                action => return Some(action),
            }
        }
        None
    }
}

fn is_essential(packet: &Packet) -> bool {
    if packet.family() != Family::V6 || packet.protocol != Protocol::ICMPV6 {
        return false;
    }
    let link_local: IpNet = "fe80::/10".parse().unwrap();
    let near = link_local.contains(&packet.source) || packet.source.is_unspecified();
    match packet.icmp_type {
        133..=136 => packet.hop_limit == 255,
        130..=132 | 143 => packet.hop_limit == 1 && near,
        _ => false,
    }
}

/// Whether a rule matches (semantics §3.4, §3.5).
pub(super) fn matches(rule: &Rule<SetSide>, packet: &Packet, world: &World) -> bool {
    let family = packet.family();
    let lists =
        [&rule.source.nets, &rule.source.not_nets, &rule.destination.nets, &rule.destination.not_nets];
    let other_family_only =
        |nets: &&Vec<IpNet>| !nets.is_empty() && !nets.iter().any(|net| Family::of(net) == family);
    if rule.family.is_some_and(|only| only != family) || lists.iter().any(other_family_only) {
        return false;
    }
    let icmp = match family {
        Family::V4 => Protocol::ICMP,
        Family::V6 => Protocol::ICMPV6,
    };
    let pair = |icmp: proto::rule::IcmpMatch| {
        icmp.icmp_type == packet.icmp_type && icmp.code.is_none_or(|code| code == packet.icmp_code)
    };
    rule.protocol.is_none_or(|protocol| protocol == packet.protocol)
        && rule.not_protocol.is_none_or(|protocol| protocol != packet.protocol)
        && rule.icmp.is_none_or(|wanted| packet.protocol == icmp && pair(wanted))
        && rule.not_icmp.is_none_or(|wanted| packet.protocol == icmp && !pair(wanted))
        && side_matches(&rule.source, (packet.source, packet.source_port), packet, world)
        && side_matches(&rule.destination, (packet.destination, packet.destination_port), packet, world)
}

fn side_matches(side: &SetSide, at: (IpAddr, u16), packet: &Packet, world: &World) -> bool {
    let (address, port) = at;
    let inside = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
    let member = |id: &SetId| {
        world.sets.get(id).is_some_and(|members| {
            members.iter().any(|member| match member {
                Member::Net(net) => net.contains(&address),
                Member::Port { address: of, protocol, port: number } => {
                    (*of, *protocol, *number) == (address, packet.protocol, port)
                }
            })
        })
    };
    let numeric = |ranges: &[PortRange]| ranges.iter().any(|r| (r.first..=r.last).contains(&port));
    let wants_ports = !side.ports.is_empty() || !side.named_ports.is_empty();
    let names_ports = wants_ports || !side.not_ports.is_empty() || !side.not_named_ports.is_empty();
    (side.nets.is_empty() || inside(&side.nets))
        && !inside(&side.not_nets)
        && side.set.iter().all(member)
        && !side.not_set.iter().any(member)
        && (!names_ports || packet.protocol.has_ports())
        && (!wants_ports || numeric(&side.ports) || side.named_ports.iter().any(member))
        && !numeric(&side.not_ports)
        && !side.not_named_ports.iter().any(member)
}
