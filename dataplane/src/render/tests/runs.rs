//! Runs of rules, and rules that are nearly one: what is folded decides as each of the rules says, by packets that are
//! made for them. Whole worlds seldom have a run and a packet that tells it from its rules.

use super::{
    interpreter::Packet,
    packets::{Way, enforced, expected, to_judge},
    worlds::{
        World, alike, icmp, members, numbered, packet, policy_id, protocol, rule, seldom, set_ids, side_of,
    },
};
use crate::ruleset::ct_state;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use proto::{
    id::{HostEndpointName, IfName, ProfileName, TierName},
    rule::{Family, Protocol, Rule, SetSide},
    update::{Endpoint, InterfaceMatch, Member, Policy, Profile, Tier, TierDefault},
};

/// Rules that are alike, some of which have something of another rule: what is folded, and what is nearly.
fn nearly_alike() -> BoxedStrategy<Vec<Rule<SetSide>>> {
    let oddities = vec(seldom(0.4, (0..FIELDS, demanding())), 4);
    let run = (alike(simple().boxed()), oddities).prop_map(|(mut rules, oddities)| {
        for (rule, (field, other)) in rules.iter_mut().zip(oddities).filter_map(|(r, o)| Some((r, o?))) {
            take_field(rule, field, other);
        }
        rules
    });
    vec(run.boxed(), 1..3).prop_map(|rules| numbered(rules.concat())).boxed()
}

/// A rule that asks for little, so that packets meet it.
fn simple() -> impl Strategy<Value = Rule<SetSide>> {
    (rule().boxed(), vec((0..FIELDS, demanding()), 0..3)).prop_map(|(any, fields)| {
        let protocol = Some(Protocol::TCP);
        let (source, destination) = Default::default();
        let (not_protocol, icmp, not_icmp) = (None, None, None);
        let mut rule =
            Rule { family: None, protocol, not_protocol, icmp, not_icmp, source, destination, ..any };
        fields.into_iter().for_each(|(field, other)| take_field(&mut rule, field, other));
        rule
    })
}

/// A rule that asks for nearly everything there is.
fn demanding() -> BoxedStrategy<Rule<SetSide>> {
    let side = || side_of(0.9, 0.9).boxed();
    let family = select(Family::BOTH.to_vec());
    (rule().boxed(), side(), side(), family, protocol(), icmp(), icmp())
        .prop_map(|(rule, source, destination, family, not_protocol, icmp, not_icmp)| Rule {
            family: Some(family),
            not_protocol: Some(not_protocol),
            icmp: Some(icmp),
            not_icmp: Some(not_icmp),
            source,
            destination,
            ..rule
        })
        .boxed()
}

const FIELDS: usize = 6 + 2 * 8;

/// Gives a rule one field of another.
fn take_field(rule: &mut Rule<SetSide>, field: usize, other: Rule<SetSide>) {
    let (side, other_side) = match field % 2 {
        0 => (&mut rule.source, other.source),
        _ => (&mut rule.destination, other.destination),
    };
    match field {
        0 => rule.action = other.action,
        1 => rule.protocol = other.protocol,
        2 => rule.family = other.family,
        3 => rule.not_protocol = other.not_protocol,
        4 => rule.icmp = other.icmp,
        5 => rule.not_icmp = other.not_icmp,
        6 | 7 => side.nets = other_side.nets,
        8 | 9 => side.not_nets = other_side.not_nets,
        10 | 11 => side.set = other_side.set,
        12 | 13 => side.not_set = other_side.not_set,
        14 | 15 => side.ports = other_side.ports,
        16 | 17 => side.named_ports = other_side.named_ports,
        18 | 19 => side.not_ports = other_side.not_ports,
        _ => side.not_named_ports = other_side.not_named_ports,
    }
}

/// One link, whose endpoint has one policy and one profile.
fn world_of_runs() -> impl Strategy<Value = World> {
    let sets = set_ids().map(|id| members(id).prop_map(move |members| (id, members)));
    (nearly_alike(), nearly_alike(), sets).prop_map(|(ingress, of_profile, sets)| {
        let (link, name, profile) = (IfName::from("eth0"), HostEndpointName::from("a"), "r0".into());
        let tier = Tier {
            name: TierName::from("default"),
            default_action: TierDefault::Pass,
            ingress: vec![policy_id(0)],
            egress: Vec::new(),
        };
        let endpoint = Endpoint {
            interface: InterfaceMatch::Named(link.clone()),
            valid: true,
            profiles: vec![ProfileName::clone(&profile)],
            normal: vec![tier],
            forward: Vec::new(),
            untracked: Vec::new(),
            pre_dnat: Vec::new(),
        };
        let policy = Policy { tier: "default".into(), ingress, egress: Vec::new() };
        World {
            sets: sets.into_iter().collect(),
            policies: [(policy_id(0), policy)].into(),
            profiles: [(profile, Profile { ingress: of_profile, egress: Vec::new() })].into(),
            endpoints: [(name.clone(), endpoint)].into(),
            governed: [(link, name)].into(),
            flat_max: 64,
            ..World::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn runs_of_rules_decide_as_each_of_them_says(
        world in world_of_runs(),
        packets in vec((packet(), any::<Index>(), any::<[bool; 5]>()), 60),
    ) {
        let ruleset = world.renderer().ruleset();
        let semantics = to_judge(&world);
        let of_policies = world.policies.values().flat_map(|policy| &policy.ingress);
        let rules: Vec<_> = of_policies.chain(world.profiles.values().flat_map(|p| &p.ingress)).collect();
        for (packet, rule, parts) in packets {
            let packet = aimed_at(rules[rule.index(rules.len())], &world, packet, parts);
            let way = Way::In(IfName::from("eth0"));
            let (enforced, expected) = (enforced(&ruleset, &packet, &way), expected(&semantics, &packet, &way));
            prop_assert_eq!(enforced, expected, "{:?}", packet);
        }
    }
}

/// A new connection's packet that has some of what a rule asks for.
fn aimed_at(rule: &Rule<SetSide>, world: &World, mut packet: Packet, parts: [bool; 5]) -> Packet {
    (packet.ct_state, packet.dnat) = (ct_state::NEW, false);
    let sides = [
        (&rule.source, &mut packet.source, &mut packet.source_port),
        (&rule.destination, &mut packet.destination, &mut packet.destination_port),
    ];
    let v4 = sides[0].1.is_ipv4();
    for (at, (side, address, port)) in sides.into_iter().enumerate() {
        if let Some(net) = side.nets.iter().find(|net| net.addr().is_ipv4() == v4 && parts[at]) {
            *address = net.network();
        }
        if let Some(range) = side.ports.first().filter(|_| parts[at + 2]) {
            *port = range.first;
        }
        let named = side.named_ports.iter().filter(|_| !parts[at + 2]).flat_map(|set| &world.sets[set]);
        for member in named.take(1) {
            if let Member::Port { protocol, port: number, .. } = *member {
                (packet.protocol, *port) = (protocol, number);
            }
        }
    }
    packet.protocol = rule.protocol.filter(|_| parts[4]).unwrap_or(packet.protocol);
    packet
}
