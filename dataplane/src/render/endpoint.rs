//! The chains of one host endpoint, and what all endpoints share: failsafes and essential ICMPv6.

use super::{
    Inputs,
    comment::readable,
    criterion::{byte, nets_statements, port_statement},
    draft::Draft,
    policy::profile_rules,
    rule::{denial, is_family},
    spec::{Spec, StageKind, TierSpec},
};
use crate::ruleset::{Comparison, Field, Rule, Statement, Value, Verdict, ct_state};
use ipnet::IpNet;
use proto::{
    id::{HostEndpointName, ProfileName},
    rule::{Direction, Family, PortRange, Protocol},
    settings::EssentialIcmpV6,
    update::{Tier, TierDefault},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// Neighbour discovery without Redirect (RFC 4861).
const NEIGHBOUR_DISCOVERY: [u8; 4] = [133, 134, 135, 136];
/// Multicast listener discovery (RFC 2710, RFC 3810).
const LISTENER_DISCOVERY: [u8; 4] = [130, 131, 132, 143];

impl Inputs {
    /// The chain of an endpoint for traffic of this host.
    pub(super) fn local_chain(
        &self,
        name: &HostEndpointName,
        direction: Direction,
        kind: StageKind,
    ) -> Draft {
        let mut draft = Draft::default();
        let Some(endpoint) = self.endpoints.get(name) else { return draft };
        self.drop_invalid(kind, &mut draft);
        self.essential_icmpv6(&mut draft);
        if !self.failsafes(direction).is_empty() {
            draft.jump([], &Spec::Failsafe(direction));
        }
        self.tiers(&endpoint.normal, direction, kind, &mut draft);
        if self.profiles(&endpoint.profiles, direction, kind, &mut draft) {
            let end = format!("end of endpoint {} {direction}", readable(name.as_str()));
            self.push_denial(kind, &end, &mut draft);
        }
        draft
    }

    /// The chain of an endpoint for forwarded traffic: no failsafes, no profiles, and what no policy denies goes on.
    pub(super) fn forward_chain(
        &self,
        name: &HostEndpointName,
        direction: Direction,
        kind: StageKind,
    ) -> Draft {
        let mut draft = Draft::default();
        let Some(endpoint) = self.endpoints.get(name) else { return draft };
        self.drop_invalid(kind, &mut draft);
        self.tiers(&endpoint.forward, direction, kind, &mut draft);
        draft
    }

    /// The chain of an endpoint before connection tracking. Nothing is established or invalid there, and what no
    /// policy decides goes on to later stages.
    pub(super) fn untracked_chain(&self, name: &HostEndpointName, direction: Direction) -> Draft {
        let mut draft = Draft::default();
        let Some(endpoint) = self.endpoints.get(name) else { return draft };
        self.essential_icmpv6(&mut draft);
        if !(self.settings.failsafe_in.is_empty() && self.settings.failsafe_out.is_empty()) {
            draft.jump([], &Spec::UntrackedFailsafe(direction));
        }
        self.tiers(&endpoint.untracked, direction, StageKind::Untracked, &mut draft);
        draft
    }

    /// The chain of an endpoint before DNAT. What no policy decides goes on to later stages.
    pub(super) fn pre_dnat_chain(&self, name: &HostEndpointName) -> Draft {
        let mut draft = Draft::default();
        let Some(endpoint) = self.endpoints.get(name) else { return draft };
        self.drop_invalid(StageKind::PreDnat, &mut draft);
        self.essential_icmpv6(&mut draft);
        if !self.settings.failsafe_in.is_empty() {
            draft.jump([], &Spec::Failsafe(Direction::Ingress));
        }
        self.tiers(&endpoint.pre_dnat, Direction::Ingress, StageKind::PreDnat, &mut draft);
        draft
    }

    fn essential_icmpv6(&self, draft: &mut Draft) {
        if self.settings.ipv6 && self.settings.essential_icmpv6 == EssentialIcmpV6::Allow {
            let icmpv6 = byte(Field::L4Proto, Protocol::ICMPV6.0, true);
            draft.jump([icmpv6], &Spec::EssentialIcmpV6);
        }
    }

    pub(super) fn drop_invalid(&self, kind: StageKind, draft: &mut Draft) {
        if self.settings.drop_invalid {
            let mut statements = vec![Statement::CtState(ct_state::INVALID)];
            statements.extend(denial(&self.settings, self.deny(kind), "invalid"));
            draft.rule(Rule { statements, comment: "invalid".into() });
        }
    }

    pub(super) fn tiers(&self, tiers: &[Tier], direction: Direction, kind: StageKind, draft: &mut Draft) {
        for tier in tiers {
            let policies = match direction {
                Direction::Ingress => &tier.ingress,
                Direction::Egress => &tier.egress,
            };
            if policies.is_empty() {
                continue;
            }
            let spec = Spec::Tier(Arc::new(TierSpec {
                name: tier.name.clone(),
                direction,
                kind,
                denies: tier.default_action == TierDefault::Deny,
                policies: policies.clone(),
            }));
            draft.jump([], &spec);
        }
    }

    /// Returns whether the chain goes on behind the profiles.
    pub(super) fn profiles(
        &self,
        profiles: &[ProfileName],
        direction: Direction,
        kind: StageKind,
        draft: &mut Draft,
    ) -> bool {
        for name in profiles {
            match self.profiles.get(name) {
                None => {
                    let why = format!("unknown profile {}", readable(name.as_str()));
                    self.push_denial(kind, &why, draft);
                    return false;
                }
                Some(profile) if profile_rules(profile, direction).is_empty() => {}
                Some(_) => draft.jump([], &Spec::Profile(name.clone(), direction, kind)),
            }
        }
        true
    }

    fn failsafes(&self, direction: Direction) -> &[proto::settings::Failsafe] {
        match direction {
            Direction::Ingress => &self.settings.failsafe_in,
            Direction::Egress => &self.settings.failsafe_out,
        }
    }

    /// The ports that stay open whatever local policy says: by destination port, from (inbound) or to (outbound) a
    /// net where one is given. One rule for each protocol and net.
    pub(super) fn failsafe_chain(&self, direction: Direction) -> Draft {
        let mut draft = Draft::default();
        self.failsafe_rules(direction, direction, &mut draft);
        draft
    }

    /// The same where nothing is tracked: with the answers to what the other direction's list lets out or in
    /// (semantics §2.8.3).
    pub(super) fn untracked_failsafe_chain(&self, direction: Direction) -> Draft {
        let mut draft = Draft::default();
        self.failsafe_rules(direction, direction, &mut draft);
        self.failsafe_rules(direction.opposite(), direction, &mut draft);
        draft
    }

    /// What passes in `direction` by the list of `list`: requests by their destination port, or, with the list of the
    /// other direction, answers by their source port.
    fn failsafe_rules(&self, list: Direction, direction: Direction, draft: &mut Draft) {
        let port = if list == direction { Field::DestinationPort } else { Field::SourcePort };
        let mut groups: BTreeMap<(Protocol, Option<IpNet>), Vec<PortRange>> = BTreeMap::new();
        for failsafe in self.failsafes(list) {
            let net = failsafe.net.map(|net| net.trunc());
            groups.entry((failsafe.protocol, net)).or_default().push(failsafe.ports());
        }
        let comment: Arc<str> = match list {
            Direction::Ingress => "FailsafeInboundHostPorts".into(),
            Direction::Egress => "FailsafeOutboundHostPorts".into(),
        };
        for ((protocol, net), ports) in groups {
            let mut statements = vec![byte(Field::L4Proto, protocol.0, true)];
            statements.extend(port_statement(&ports, port, true, draft));
            if let Some(net) = net {
                let family = Family::of(&net);
                let address = match direction {
                    Direction::Ingress => Field::SourceAddress(family),
                    Direction::Egress => Field::DestinationAddress(family),
                };
                statements.push(is_family(family));
                if net.prefix_len() > 0 {
                    statements.extend(nets_statements(&[net], address, true, draft));
                }
            }
            statements.push(Statement::Verdict(Verdict::Accept));
            draft.rule(Rule { statements, comment: comment.clone() });
        }
    }
}

/// What a link needs to have IPv6 at all (D5). Hop limit 255 proves that a router has not forwarded it; listener
/// discovery is link-local with hop limit 1, a link's first reports come from `::`.
pub(super) fn essential_icmpv6_chain() -> Draft {
    let mut draft = Draft::default();
    let accept = Statement::Verdict(Verdict::Accept);
    for number in NEIGHBOUR_DISCOVERY {
        let [family, protocol, icmp_type] = icmpv6(number);
        let near = byte(Field::HopLimit, 255, true);
        draft.push([family, protocol, icmp_type, near, accept.clone()], "neighbour discovery");
    }
    let link_local =
        IpNet::new(IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10).expect("10 is at most 128");
    let unspecified = Value::Address(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let sources = [Comparison::Prefix(link_local, true), Comparison::Value(unspecified, true)];
    for number in LISTENER_DISCOVERY {
        for source in &sources {
            let [family, protocol, icmp_type] = icmpv6(number);
            let near = byte(Field::HopLimit, 1, true);
            let source = Statement::Match(Field::SourceAddress(Family::V6), source.clone());
            draft.push([family, protocol, icmp_type, near, source, accept.clone()], "listener discovery");
        }
    }
    draft
}

pub(super) fn icmpv6(icmp_type: u8) -> [Statement; 3] {
    [
        is_family(Family::V6),
        byte(Field::L4Proto, Protocol::ICMPV6.0, true),
        byte(Field::IcmpType, icmp_type, true),
    ]
}
