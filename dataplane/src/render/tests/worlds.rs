//! Random worlds: settings, sets, policies, profiles, endpoints and links from small pools, so that things meet.

use super::interpreter::Packet;
use crate::{render::Renderer, ruleset::ct_state};
use ipnet::IpNet;
use proptest::{collection::vec, option, prelude::*, sample::select};
use proto::{
    id::{HostEndpointName, IfName, PolicyId, ProfileName, SetId, TierName, WorkloadName},
    rule::{Action, Family, IcmpMatch, PortRange, Protocol, Rule, SetSide},
    settings::{DenyAction, Encapsulation, EndpointToHostAction, EssentialIcmpV6, Failsafe, Settings},
    update::{
        Endpoint, InterfaceMatch, Member, Policy, Profile, SetKind, Tier, TierDefault, Update, Workload,
    },
};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// All inputs, in one state.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) settings: Settings,
    pub(super) sets: BTreeMap<SetId, Vec<Member>>,
    pub(super) policies: BTreeMap<PolicyId, Policy>,
    pub(super) profiles: BTreeMap<ProfileName, Profile>,
    pub(super) endpoints: BTreeMap<HostEndpointName, Endpoint>,
    pub(super) workloads: BTreeMap<WorkloadName, Workload>,
    pub(super) governed: BTreeMap<IfName, HostEndpointName>,
    pub(super) wildcard: Option<HostEndpointName>,
    /// As of the renderer, so that groups are met too.
    pub(super) flat_max: usize,
}

impl World {
    /// A renderer that was told of this world and nothing else.
    pub(super) fn renderer(&self) -> Renderer {
        let mut renderer = Renderer::new();
        renderer.inputs.flat_max = self.flat_max;
        self.updates().iter().for_each(|update| renderer.apply(update));
        renderer.set_links(self.governed.clone(), self.wildcard.clone());
        renderer
    }

    /// This world, told to somebody who knows nothing.
    pub(super) fn updates(&self) -> Vec<Update> {
        let mut updates = vec![Update::Settings(Arc::new(self.settings.clone()))];
        let sets = self.sets.iter().map(|(id, members)| Update::SetAdded(*id, kind_of(*id), members.clone()));
        updates.extend(sets);
        let policies = self.policies.iter();
        updates.extend(policies.map(|(id, policy)| Update::Policy(id.clone(), Arc::new(policy.clone()))));
        let profiles = self.profiles.iter();
        updates.extend(profiles.map(|(name, p)| Update::Profile(name.clone(), Arc::new(p.clone()))));
        let endpoints = self.endpoints.iter();
        updates.extend(endpoints.map(|(name, e)| Update::Endpoint(name.clone(), Arc::new(e.clone()))));
        let workloads = self.workloads.iter();
        updates.extend(workloads.map(|(name, w)| Update::Workload(name.clone(), Arc::new(w.clone()))));
        updates
    }
}

const NETS: [&str; 17] = [
    "10.0.0.1/32",
    "10.0.0.2/32",
    "10.0.0.0/30",
    "10.0.0.0/24",
    "10.0.1.0/24",
    "10.0.1.1/24",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "192.0.2.1/32",
    "fd00::1/128",
    "fd00::2/128",
    "fd00::/126",
    "fd00::/64",
    "fe80::/10",
    "::/0",
    "fe80::1/128",
    "2001:db8::/32",
];
const ADDRESSES4: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.0.0.9", "10.0.1.1", "10.9.9.9", "192.0.2.1"];
const ADDRESSES6: [&str; 6] = ["fd00::1", "fd00::2", "fd00::9", "fe80::1", "::", "2001:db8::1"];
const PORTS: [u16; 6] = [0, 22, 79, 80, 443, 65535];
const PROTOCOLS: [u8; 7] = [1, 6, 17, 47, 58, 132, 136];
const LINKS: [&str; 6] = ["eth0", "eth1", "lo", "cali1", "cali2", "cal"];

/// Lists of addresses have even ids, lists of ports odd ones.
pub(super) fn kind_of(id: SetId) -> SetKind {
    let is_tunnel = [SetId::all_hosts(), SetId::all_vxlan()].contains(&id);
    if is_tunnel || id.0.is_multiple_of(2) { SetKind::Addresses } else { SetKind::Ports }
}

fn net() -> impl Strategy<Value = IpNet> + Clone {
    select(&NETS[..]).prop_map(|net| net.parse().unwrap())
}

fn address() -> impl Strategy<Value = IpAddr> + Clone {
    select([ADDRESSES4, ADDRESSES6].concat()).prop_map(|address| address.parse().unwrap())
}

fn port_range() -> impl Strategy<Value = PortRange> + Clone {
    (select(&PORTS[..]), select(&PORTS[..]), any::<bool>()).prop_map(|(a, b, single)| {
        if single { PortRange::single(a) } else { PortRange { first: a.min(b), last: a.max(b) } }
    })
}

pub(super) fn protocol() -> impl Strategy<Value = Protocol> + Clone {
    select(&PROTOCOLS[..]).prop_map(Protocol)
}

pub(super) fn members(id: SetId) -> BoxedStrategy<Vec<Member>> {
    let one = match kind_of(id) {
        SetKind::Addresses => net().prop_map(|net| Member::Net(net.trunc())).boxed(),
        SetKind::Ports => (address(), select(vec![6, 17, 132]), select(&PORTS[..]))
            .prop_map(|(address, protocol, port)| Member::Port {
                address,
                protocol: Protocol(protocol),
                port,
            })
            .boxed(),
    };
    vec(one, 0..6)
        .prop_map(|mut members| {
            members.sort();
            members.dedup();
            members
        })
        .boxed()
}

pub(super) fn seldom<S: Strategy>(weight: f64, strategy: S) -> impl Strategy<Value = Option<S::Value>> {
    option::weighted(weight, strategy)
}

fn some<S: Strategy>(weight: f64, strategy: S) -> impl Strategy<Value = Vec<S::Value>>
where
    S::Value: Clone,
{
    option::weighted(weight, vec(strategy, 1..4)).prop_map(Option::unwrap_or_default)
}

fn side(with_ports: bool) -> impl Strategy<Value = SetSide> {
    side_of(0.25, if with_ports { 0.3 } else { 0.01 })
}

/// By how likely it names nets, and ports.
pub(super) fn side_of(net_weight: f64, port_weight: f64) -> impl Strategy<Value = SetSide> {
    let addresses = (
        some(net_weight, net()),
        some(net_weight * 0.6, net()),
        seldom(net_weight * 0.8, select(vec![0, 2, 4]).prop_map(SetId)),
        seldom(net_weight * 0.6, select(vec![0, 2, 4]).prop_map(SetId)),
    );
    let ports = (
        some(port_weight, port_range()),
        some(port_weight / 2.0, select(vec![1, 3]).prop_map(SetId)),
        some(port_weight / 2.0, port_range()),
        some(port_weight / 2.0, select(vec![1, 3]).prop_map(SetId)),
    );
    (addresses, ports).prop_map(|((nets, not_nets, set, not_set), (ports, named, not_ports, not_named))| {
        SetSide {
            nets,
            not_nets,
            set,
            not_set,
            ports,
            named_ports: named,
            not_ports,
            not_named_ports: not_named,
        }
    })
}

pub(super) fn icmp() -> impl Strategy<Value = IcmpMatch> {
    (select(vec![8u8, 128, 135]), option::of(0..2u8))
        .prop_map(|(icmp_type, code)| IcmpMatch { icmp_type, code })
}

pub(super) fn rule() -> impl Strategy<Value = Rule<SetSide>> {
    let action =
        select(vec![Action::Allow, Action::Allow, Action::Deny, Action::Deny, Action::Pass, Action::Log]);
    let protocol = prop_oneof![
        4 => (Just(None), side(false), side(false)),
        4 => (select(vec![6, 17, 132]).prop_map(|p| Some(Protocol(p))), side(true), side(true)),
        2 => (protocol().prop_map(Some), side(false), side(false)),
    ];
    let family = seldom(0.15, select(Family::BOTH.to_vec()));
    (action, family, protocol, seldom(0.1, protocol_number()), seldom(0.1, icmp()), seldom(0.1, icmp()))
        .prop_map(|(action, family, (protocol, source, destination), not_protocol, icmp, not_icmp)| Rule {
            index: 0,
            action,
            family,
            protocol,
            not_protocol,
            icmp,
            not_icmp,
            source,
            destination,
        })
}

fn protocol_number() -> impl Strategy<Value = Protocol> {
    protocol()
}

/// A rule, or some that differ in a net, a port, or both and the protocol.
pub(super) fn alike(rule: BoxedStrategy<Rule<SetSide>>) -> BoxedStrategy<Vec<Rule<SetSide>>> {
    let side = || select(vec![None, Some(0), Some(1)]);
    let values = vec((net(), port_range(), option::of(select(vec![6, 17, 132]).prop_map(Protocol))), 0..4);
    let drawn = (rule, side(), side(), values.boxed());
    let alike = drawn.prop_map(|(first, net_of, port_of, values)| {
        let like = |(net, port, protocol): &(IpNet, PortRange, Option<Protocol>)| {
            let mut rule = first.clone();
            let sides = [&mut rule.source, &mut rule.destination];
            for (at, side) in sides.into_iter().enumerate() {
                (net_of == Some(at)).then(|| side.nets = vec![*net]);
                (port_of == Some(at)).then(|| side.ports = vec![*port]);
            }
            rule.protocol = protocol.filter(|_| port_of.is_some()).or(rule.protocol);
            rule
        };
        if values.is_empty() { vec![first] } else { values.iter().map(like).collect() }
    });
    alike.boxed()
}

fn rules() -> impl Strategy<Value = Vec<Rule<SetSide>>> {
    vec(alike(rule().boxed()), 0..5).prop_map(|rules| numbered(rules.concat()))
}

pub(super) fn numbered(mut rules: Vec<Rule<SetSide>>) -> Vec<Rule<SetSide>> {
    rules.iter_mut().enumerate().for_each(|(index, rule)| rule.index = index);
    rules
}

pub(super) fn policy() -> impl Strategy<Value = Policy> {
    (rules(), rules()).prop_map(|(ingress, egress)| Policy { tier: "default".into(), ingress, egress })
}

pub(super) fn profile() -> impl Strategy<Value = Profile> {
    (rules(), rules()).prop_map(|(ingress, egress)| Profile { ingress, egress })
}

pub(super) fn policy_id(number: usize) -> PolicyId {
    PolicyId::global(format!("default.p{number}"))
}

/// Policy that is often not there at all, and never denies by itself. Pre-DNAT policy governs ingress only.
fn early_tiers(egress: bool) -> impl Strategy<Value = Vec<Tier>> {
    seldom(0.4, tiers()).prop_map(move |tiers| {
        let pass = |mut tier: Tier| {
            tier.egress.retain(|_| egress);
            Tier { default_action: TierDefault::Pass, ..tier }
        };
        let has_policy = |tier: &Tier| !(tier.ingress.is_empty() && tier.egress.is_empty());
        tiers.into_iter().flatten().map(pass).filter(has_policy).collect()
    })
}

fn tier(name: &'static str) -> impl Strategy<Value = Tier> {
    // Policy 5 is never told of.
    let ids = || vec(prop_oneof![20 => 0..5usize, 1 => Just(5usize)].prop_map(policy_id), 0..3);
    (ids(), ids(), any::<bool>()).prop_map(move |(ingress, egress, pass)| Tier {
        name: TierName::from(name),
        default_action: if pass { TierDefault::Pass } else { TierDefault::Deny },
        ingress,
        egress,
    })
}

fn tiers() -> impl Strategy<Value = Vec<Tier>> {
    (tier("first"), tier("default"), 0..3usize)
        .prop_map(|(first, second, count)| [first, second].into_iter().take(count).collect())
}

/// Profile `r3` is never told of.
fn profiles() -> impl Strategy<Value = Vec<ProfileName>> {
    vec(select(vec!["r0", "r0", "r1", "r2", "r3"]).prop_map(ProfileName::from), 0..3)
}

/// `eth0` is no link of a workload.
pub(super) fn workload() -> impl Strategy<Value = Workload> {
    let link = select(vec!["cali1", "cali1", "cali2", "eth0"]).prop_map(IfName::from);
    (link, profiles(), tiers()).prop_map(|(interface, profiles, tiers)| Workload {
        interface,
        profiles,
        tiers,
    })
}

pub(super) fn endpoint() -> impl Strategy<Value = Endpoint> {
    let early = (early_tiers(true), early_tiers(false));
    let named = |link: &str| InterfaceMatch::Named(link.into());
    let interface = select(vec![InterfaceMatch::All, named("eth0"), named("eth1")]);
    (profiles(), (tiers(), tiers()), early, interface).prop_map(
        |(profiles, (normal, forward), (untracked, pre_dnat), interface)| Endpoint {
            interface,
            valid: true,
            profiles,
            normal,
            forward,
            untracked,
            pre_dnat,
        },
    )
}

fn encapsulation() -> impl Strategy<Value = Encapsulation> {
    let flag = || prop::bool::weighted(0.3);
    (
        option::of(flag()),
        option::of(flag()),
        flag(),
        option::weighted(0.2, Just(443u16)),
        option::weighted(0.2, Just(22u16)),
    )
        .prop_map(|(ipip, vxlan4, vxlan6, wireguard4, wireguard6)| Encapsulation {
            ipip,
            vxlan4,
            vxlan6,
            vxlan_port: 80,
            wireguard4,
            wireguard6,
            external_nodes: Vec::new(),
        })
}

fn failsafes() -> impl Strategy<Value = Vec<Failsafe>> {
    let one = (select(vec![6, 17, 132]), select(&PORTS[..]), option::of(net()))
        .prop_map(|(protocol, port, net)| Failsafe { protocol: Protocol(protocol), port, net });
    vec(one, 0..4)
}

pub(super) fn settings() -> impl Strategy<Value = Settings> {
    let lists = (failsafes(), failsafes());
    let to_host =
        select(vec![EndpointToHostAction::Drop, EndpointToHostAction::Return, EndpointToHostAction::Accept]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let from_workloads = (any::<bool>(), any::<bool>());
    (lists, to_host, flags, from_workloads, encapsulation()).prop_map(
        |((failsafe_in, failsafe_out), endpoint_to_host, flags, from_workloads, encapsulation)| Settings {
            vxlan_from_workloads: from_workloads.0,
            ipip_from_workloads: from_workloads.1,
            encapsulation,
            failsafe_in,
            failsafe_out,
            endpoint_to_host,
            deny: if flags.0 { DenyAction::Reject } else { DenyAction::Drop },
            drop_invalid: flags.1,
            ipv6: flags.2 || flags.0,
            essential_icmpv6: if flags.3 { EssentialIcmpV6::Allow } else { EssentialIcmpV6::Policy },
            wildcard_covers_loopback: flags.4,
            ..Settings::default()
        },
    )
}

pub(super) type Links = (BTreeMap<IfName, HostEndpointName>, Option<HostEndpointName>);

/// Links that endpoints `a` and `b` govern, and whether `w` is the wildcard.
pub(super) fn links() -> impl Strategy<Value = Links> {
    let link = |name: &'static str| {
        seldom(0.5, select(vec!["a", "b"]))
            .prop_map(move |owner| owner.map(|owner| (IfName::from(name), HostEndpointName::from(owner))))
    };
    (link("eth0"), link("eth1"), link("lo"), any::<bool>()).prop_map(|(eth0, eth1, lo, wildcard)| {
        let governed = [eth0, eth1, lo].into_iter().flatten().collect();
        (governed, wildcard.then(|| HostEndpointName::from("w")))
    })
}

/// Three of addresses, two of named ports, and the two of tunnels' ends.
pub(super) fn set_ids() -> [SetId; 7] {
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(SetId);
    [a, b, c, d, e, SetId::all_hosts(), SetId::all_vxlan()]
}

pub(super) fn world() -> impl Strategy<Value = World> {
    let sets = set_ids().map(|id| members(id).prop_map(move |members| (id, members)));
    let endpoints = ["a", "b", "w"]
        .map(|name| endpoint().prop_map(move |endpoint| (HostEndpointName::from(name), endpoint)));
    let workloads = vec((select(vec!["ns/a", "ns/b"]).prop_map(WorkloadName::from), workload()), 0..3);
    let local = (endpoints, workloads);
    (settings(), sets, vec(policy(), 5), vec(profile(), 3), local, links(), 0..2usize).prop_map(
        |(settings, sets, policies, profiles, (endpoints, workloads), (governed, wildcard), flat)| World {
            flat_max: flat * 64,
            settings,
            sets: sets.into_iter().collect(),
            policies: policies.into_iter().enumerate().map(|(n, policy)| (policy_id(n), policy)).collect(),
            profiles: profiles
                .into_iter()
                .enumerate()
                .map(|(n, profile)| (ProfileName::new(format!("r{n}")), profile))
                .collect(),
            endpoints: endpoints.into_iter().collect(),
            workloads: workloads.into_iter().collect(),
            governed,
            wildcard,
        },
    )
}

pub(super) fn link() -> impl Strategy<Value = IfName> {
    select(&LINKS[..]).prop_map(IfName::from)
}

/// A packet that is on no link yet.
pub(super) fn packet() -> impl Strategy<Value = Packet> {
    let pool = any::<bool>().prop_flat_map(|v4| {
        let pool = if v4 { ADDRESSES4 } else { ADDRESSES6 };
        let address = || select(pool.to_vec()).prop_map(|address| address.parse::<IpAddr>().unwrap());
        (address(), address(), address())
    });
    let states = vec![
        ct_state::NEW,
        ct_state::NEW,
        ct_state::NEW,
        ct_state::NEW,
        ct_state::INVALID,
        ct_state::ESTABLISHED,
        ct_state::RELATED,
        ct_state::UNTRACKED,
    ];
    let header = (
        select(vec![1u8, 4, 6, 6, 17, 17, 58, 58, 132, 47]),
        select(&PORTS[..]),
        select(&PORTS[..]),
        select(vec![8u8, 128, 130, 131, 132, 133, 134, 135, 136, 137, 143]),
        0..2u8,
        select(vec![1u8, 64, 255]),
        select(&PORTS[..]),
    );
    // None, each of ours by somebody else, and bits that are not ours.
    let marks = vec![0u32, 0, 0x1_0000, 0x2_0000, 0x4_0000, 0x7_0000, 0x8_0001];
    (pool, header, select(states), any::<bool>(), select(marks)).prop_map(
        |((source, destination, original), header, ct_state, dnat, mark)| Packet {
            source,
            destination,
            protocol: Protocol(header.0),
            source_port: header.1,
            destination_port: header.2,
            icmp_type: header.3,
            icmp_code: header.4,
            hop_limit: header.5,
            ct_state,
            // Only a tracked packet has a connection.
            dnat: dnat && ct_state & (ct_state::INVALID | ct_state::UNTRACKED) == 0,
            original: (original, header.6),
            tracked: false,
            mark,
            iif: None,
            oif: None,
        },
    )
}
