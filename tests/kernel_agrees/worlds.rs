//! Random worlds: resources, settings and links from small pools, so that things meet.

use ipnet::IpNet;
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};
use proto::{
    id::{IfName, NodeName, PolicyId, ProfileName, TierName},
    key::{Kind, ResourceKey},
    resource::{
        Category, EndpointPort, HostEndpoint, IpPool, LabelMap, NetworkSet, Node, PolicySpec, ProfileSpec,
        Resource, Tier, WorkloadEndpoint,
    },
    rule::{Action, Family, IcmpMatch, Port, PortRange, Protocol, Rule, SelectorSide},
    selector::Selector,
    settings::{DenyAction, Encapsulation, EndpointToHostAction, EssentialIcmpV6, Failsafe, Settings},
    update::{InterfaceMatch, TierDefault},
};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// The node that the host is.
pub(crate) const HERE: &str = "here";

/// The categories that policies have.
const CATEGORIES: &[Category] =
    &[Category::Normal, Category::NormalAndForward, Category::Untracked, Category::PreDnat];

/// Addresses of the host, of its links' neighbours, of what is behind them, and of services that are translated.
pub(crate) const ADDRESSES: [&str; 28] = [
    "10.0.0.1",
    "10.0.0.9",
    "10.0.1.1",
    "10.0.1.9",
    "10.0.2.1",
    "10.0.2.9",
    "10.65.0.1",
    "10.65.0.9",
    "10.66.0.9",
    "192.0.2.1",
    "203.0.113.1",
    "198.18.0.1",
    "198.18.0.2",
    "198.18.0.3",
    "fd00:0::1",
    "fd00:0::9",
    "fd00:1::1",
    "fd00:1::9",
    "fd00:2::1",
    "fd00:2::9",
    "fd00:65::1",
    "fd00:65::9",
    "fd00:66::9",
    "2001:db8::1",
    "2001:db8:1::1",
    "fd18::1",
    "fd18::2",
    "fd18::3",
];
const NETS: [&str; 14] = [
    "10.0.0.0/24",
    "10.0.1.0/24",
    "10.0.0.0/15",
    "10.0.1.8/29",
    "0.0.0.0/0",
    "198.18.0.0/15",
    "192.0.2.1/32",
    "fd00::/64",
    "fd00:1::/64",
    "fd00::/16",
    "fd00:1::8/125",
    "::/0",
    "fe80::/10",
    "fd18::/64",
];
/// Few ports: 22 is a failsafe by default.
pub(crate) const PORTS: [u16; 6] = [22, 53, 80, 443, 1000, 8080];
pub(crate) const PROTOCOLS: [u8; 9] = [1, 4, 6, 17, 47, 58, 132, 136, 253];

/// What the agent would have read.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) resources: BTreeMap<ResourceKey, Arc<Resource>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}", self.settings)?;
        self.resources.iter().try_for_each(|(key, resource)| writeln!(f, "{key:?}: {resource:?}"))
    }
}

pub(crate) fn world() -> impl Strategy<Value = World> {
    let endpoints = vec((select(vec!["h1", "h2", "h3", "h4"]), host_endpoint()), 1..4);
    let workloads = vec((select(vec!["v", "w", "x"]), workload()), 0..3);
    let targets = (vec(network_set(), 0..4), workloads);
    let hosts = (vec(node(), 0..4), option::weighted(0.2, ip_pool()));
    let tiers = (option::weighted(0.8, tier()), option::weighted(0.8, tier()), option::weighted(0.9, tier()));
    let profiles = vec((rules(0..3), rules(0..3), labels()), 2);
    let policies = (vec(policy(), 0..7), option::weighted(0.3, policy()));
    (settings(), endpoints, targets, hosts, tiers, policies, profiles).prop_map(
        |(
            settings,
            endpoints,
            (sets, workloads),
            (nodes, pool),
            tiers,
            (policies, of_namespace),
            profiles,
        )| {
            let mut resources = BTreeMap::new();
            let mut put = |kind, name: &str, resource| {
                resources.insert(key(kind, name), Arc::new(resource));
            };
            for (name, endpoint) in endpoints {
                put(Kind::HostEndpoint, name, Resource::HostEndpoint(endpoint));
            }
            for (number, set) in sets.into_iter().enumerate() {
                put(Kind::GlobalNetworkSet, &format!("s{number}"), Resource::NetworkSet(set));
            }
            for (name, node) in [HERE, "second", "third"].into_iter().zip(nodes) {
                put(Kind::Node, name, Resource::Node(node));
            }
            if let Some(pool) = pool {
                put(Kind::IPPool, "pool", Resource::IpPool(pool));
            }
            for (name, tier) in [("first", tiers.0), ("second", tiers.1), ("default", tiers.2)] {
                if let Some((order, default_action)) = tier {
                    let tier = Tier { name: TierName::from(name), order, default_action };
                    put(Kind::Tier, name, Resource::Tier(tier));
                }
            }
            for (number, mut policy) in policies.into_iter().enumerate() {
                let name = format!("{}.p{number}", policy.tier);
                policy.id = PolicyId::global(name.as_str());
                put(Kind::GlobalNetworkPolicy, &name, Resource::Policy(policy));
            }
            for (number, (ingress, egress, labels_to_apply)) in profiles.into_iter().enumerate() {
                let name = format!("r{number}");
                let profile =
                    ProfileSpec { name: ProfileName::from(name.as_str()), labels_to_apply, ingress, egress };
                put(Kind::Profile, &name, Resource::Profile(profile));
            }
            let in_namespace = |kind, name| ResourceKey { namespace: Some("ns".into()), ..key(kind, name) };
            for (name, workload) in workloads {
                let key = in_namespace(Kind::WorkloadEndpoint, name);
                resources.insert(key, Arc::new(Resource::WorkloadEndpoint(workload)));
            }
            if let Some(policy) = of_namespace {
                let name = format!("{}.p", policy.tier);
                let id = PolicyId::namespaced("ns", name.as_str());
                let (category, selector) = (Category::Normal, parsed("namespace == 'ns'"));
                let policy = PolicySpec { id, category, selector, ..policy };
                let key = in_namespace(Kind::NetworkPolicy, &name);
                resources.insert(key, Arc::new(Resource::Policy(policy)));
            }
            World { settings, resources }
        },
    )
}

fn key(kind: Kind, name: &str) -> ResourceKey {
    ResourceKey { kind, namespace: None, name: name.into() }
}

fn host_endpoint() -> impl Strategy<Value = HostEndpoint> {
    let named = |name: &str| Just(InterfaceMatch::Named(IfName::from(name)));
    let local = select(vec!["10.0.0.1", "10.0.1.1", "fd00:1::1", "fd00:2::1", "127.0.0.0", "10.65.0.1"]);
    let interface = prop_oneof![
        4 => named("eth0"),
        2 => named("eth1"),
        1 => named("lo"),
        1 => named("cali1"),
        2 => local.prop_map(|a: &str| InterfaceMatch::Address(vec![a.parse().expect("it is spelled right")])),
        4 => Just(InterfaceMatch::All),
    ];
    let profile = select(vec!["r0", "r0", "r1", "missing", ProfileName::DEFAULT_ALLOW]);
    let claim = (select(vec![HERE, HERE, HERE, "there"]), interface, prop::bool::weighted(0.9));
    let rest =
        (vec(address(), 0..3), labels(), vec(profile.prop_map(ProfileName::from), 0..3), vec(port(), 0..3));
    (claim, rest).prop_map(|((node, interface, valid), (expected_ips, labels, profiles, ports))| {
        HostEndpoint {
            node: NodeName::from(node),
            interface: Some(interface),
            expected_ips,
            labels,
            profiles,
            ports,
            valid,
        }
    })
}

/// Mostly on one of the host's two links for workloads. `eth0` is none by its name, `cali9` does not exist.
fn workload() -> impl Strategy<Value = WorkloadEndpoint> {
    let link = select(vec!["cali1", "cali1", "cali1", "cali2", "cali9", "eth0"]);
    let place = (select(vec![HERE, HERE, HERE, "there"]), link);
    let profile = select(vec!["r0", "r1", "missing", ProfileName::DEFAULT_ALLOW, ProfileName::DEFAULT_ALLOW]);
    let profiles = vec(profile.prop_map(ProfileName::from), 0..3);
    (place, vec(address(), 1..3), labels(), profiles, vec(port(), 0..2)).prop_map(
        |((node, link), addresses, mut labels, profiles, ports)| {
            labels.insert("namespace".into(), "ns".into());
            WorkloadEndpoint {
                node: NodeName::from(node),
                interface: Some(IfName::from(link)),
                labels,
                profiles,
                nets: addresses.into_iter().map(Into::into).collect(),
                ports,
            }
        },
    )
}

fn network_set() -> impl Strategy<Value = NetworkSet> {
    let one = prop_oneof![net(), address().prop_map(IpNet::from)];
    (labels(), vec(one, 0..5)).prop_map(|(labels, nets)| NetworkSet {
        labels,
        parents: vec![],
        nets: nets.into_iter().collect(),
    })
}

fn tier() -> impl Strategy<Value = (Option<f64>, TierDefault)> {
    (select(vec![None, Some(1.0), Some(2.0)]), select(vec![TierDefault::Deny, TierDefault::Pass]))
}

fn policy() -> impl Strategy<Value = PolicySpec> {
    let head =
        (select(vec!["first", "second", "default", "default", "missing"]), select(vec![None, Some(1.0)]));
    let governs = select(vec![(true, true), (true, false), (false, true), (true, true)]);
    let applies = prop_oneof![3 => Just("all()"), 2 => select(SELECTORS.to_vec())];
    (head, applies, governs, select(CATEGORIES.to_vec()), rules(0..5), rules(0..5)).prop_map(
        |((tier, order), selector, (ingress_governed, egress), category, ingress, egress_rules)| PolicySpec {
            id: PolicyId::global(""),
            tier: TierName::from(tier),
            order,
            selector: parsed(selector),
            ingress_governed,
            egress_governed: egress && category != Category::PreDnat,
            category,
            ingress,
            egress: egress_rules,
        },
    )
}

const SELECTORS: [&str; 8] = [
    "a == 'x'",
    "a != 'x'",
    "has(a)",
    "!has(b)",
    "a == 'x' || b == 'y'",
    "a in {'x', 'y'}",
    "b == 'y'",
    "all()",
];

fn parsed(selector: &str) -> Arc<Selector> {
    Arc::new(Selector::parse(selector).expect("it is spelled right"))
}

fn labels() -> impl Strategy<Value = LabelMap> {
    let label = (select(vec!["a", "b"]), select(vec!["x", "y"]));
    vec(label, 0..3).prop_map(|labels| labels.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
}

fn port() -> impl Strategy<Value = EndpointPort> {
    (select(vec!["http", "dns"]), select(vec![6, 17, 132]), select(PORTS.to_vec())).prop_map(
        |(name, protocol, port)| EndpointPort { name: name.into(), protocol: Protocol(protocol), port },
    )
}

pub(crate) fn address() -> impl Strategy<Value = IpAddr> + Clone {
    select(ADDRESSES.to_vec()).prop_map(|address| address.parse().expect("it is spelled right"))
}

fn net() -> impl Strategy<Value = IpNet> + Clone {
    select(NETS.to_vec()).prop_map(|net| net.parse().expect("it is spelled right"))
}

fn nets(weight: f64) -> impl Strategy<Value = Vec<IpNet>> {
    let one = prop_oneof![net(), address().prop_map(IpNet::from)];
    option::weighted(weight, vec(one, 1..4)).prop_map(Option::unwrap_or_default)
}

fn side(with_ports: bool) -> impl Strategy<Value = SelectorSide> {
    let selector = || select(SELECTORS.to_vec()).prop_map(parsed);
    let selectors = prop_oneof![
        4 => Just((None, None)),
        2 => selector().prop_map(|selector| (Some(selector), None)),
        1 => selector().prop_map(|selector| (None, Some(selector))),
    ];
    let weight = if with_ports { 0.35 } else { 0.01 };
    let one = prop_oneof![
        1 => select(vec!["http", "dns", "nobody"]).prop_map(|name| Port::Named(name.into())),
        2 => select(PORTS.to_vec()).prop_map(|port| Port::Range(PortRange::single(port))),
        1 => (select(PORTS.to_vec()), select(PORTS.to_vec())).prop_map(|(a, b)| {
            Port::Range(PortRange { first: a.min(b), last: a.max(b) })
        }),
    ];
    let ports = |weight| option::weighted(weight, vec(one.clone(), 1..4)).prop_map(Option::unwrap_or_default);
    (nets(0.2), nets(0.1), selectors, ports(weight), ports(weight / 3.0)).prop_map(
        |(nets, not_nets, (selector, not_selector), ports, not_ports)| SelectorSide {
            nets,
            not_nets,
            selector,
            not_selector,
            ports,
            not_ports,
        },
    )
}

fn rules(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Rule<SelectorSide>>> {
    vec(alike(), count).prop_map(|rules| {
        let mut rules = rules.concat();
        rules.iter_mut().enumerate().for_each(|(index, rule)| rule.index = index);
        rules
    })
}

/// A rule, or a run of some that differ in a net, a port, or both and the protocol. Nets of a run are mostly of one
/// length, and other criteria in half of them.
fn alike() -> BoxedStrategy<Vec<Rule<SelectorSide>>> {
    let side = || select(vec![None, Some(0), Some(1)]);
    let protocol = option::of(select(vec![6, 17, 132]).prop_map(Protocol));
    let values = vec((any::<Index>(), select(PORTS.to_vec()), protocol), 0..5);
    let drawn = (rule().boxed(), any::<bool>(), select(nets_by_kind()), side(), side(), values.boxed());
    let alike = drawn.prop_map(|(first, plain, nets, net_of, port_of, values)| {
        let like = |(net, port, protocol): &(Index, u16, Option<Protocol>)| {
            let mut rule = first.clone();
            if plain {
                (rule.family, rule.not_protocol, rule.icmp, rule.not_icmp) = (None, None, None, None);
                (rule.source, rule.destination) = Default::default();
            }
            let sides = [&mut rule.source, &mut rule.destination];
            for (at, side) in sides.into_iter().enumerate() {
                (net_of == Some(at)).then(|| side.nets = vec![*net.get(&nets)]);
                (port_of == Some(at)).then(|| side.ports = vec![Port::Range(PortRange::single(*port))]);
            }
            rule.protocol = protocol.filter(|_| port_of.is_some()).or(first.protocol);
            rule
        };
        if values.is_empty() { vec![first] } else { values.iter().map(like).collect() }
    });
    alike.boxed()
}

/// Nets and addresses, those of a family and length together, and all together.
fn nets_by_kind() -> Vec<Vec<IpNet>> {
    let nets = NETS.iter().map(|net| net.parse().expect("it is spelled right"));
    let addresses = ADDRESSES.iter().map(|text| text.parse().expect("it is spelled right"));
    let all: Vec<IpNet> = nets.chain(addresses.map(|address: IpAddr| address.into())).collect();
    let mut by_kind: BTreeMap<_, Vec<IpNet>> = BTreeMap::new();
    for net in &all {
        by_kind.entry((Family::of(net), net.prefix_len())).or_default().push(*net);
    }
    by_kind.into_values().filter(|nets| nets.len() > 1).chain([all]).collect()
}

fn rule() -> impl Strategy<Value = Rule<SelectorSide>> {
    let action = prop_oneof![5 => Just(Action::Allow), 4 => Just(Action::Deny), 2 => Just(Action::Pass), 1 => Just(Action::Log)];
    let protocol = || select(PROTOCOLS.to_vec()).prop_map(Protocol);
    let matched = prop_oneof![
        4 => (Just(None), side(false), side(false)),
        4 => (select(vec![6, 17, 132]).prop_map(|p| Some(Protocol(p))), side(true), side(true)),
        2 => (protocol().prop_map(Some), side(false), side(false)),
    ];
    let icmp = || {
        (select(vec![8u8, 0, 3, 128, 135, 143]), option::weighted(0.3, 0..2u8))
            .prop_map(|(icmp_type, code)| IcmpMatch { icmp_type, code })
    };
    let family = option::weighted(0.1, select(Family::BOTH.to_vec()));
    let negated = (option::weighted(0.1, protocol()), option::weighted(0.05, icmp()));
    (action, family, matched, option::weighted(0.08, icmp()), negated).prop_map(
        |(action, family, (protocol, source, destination), icmp, (not_protocol, not_icmp))| Rule {
            index: 0,
            action,
            family,
            protocol,
            not_protocol,
            icmp,
            not_icmp,
            source,
            destination,
        },
    )
}

/// Tunnels, now and then; what settings leave open the pools decide.
fn encapsulation() -> impl Strategy<Value = Encapsulation> {
    let seldom = || prop::bool::weighted(0.1);
    let said = || option::weighted(0.7, seldom());
    (said(), said(), seldom(), vec(net(), 0..3)).prop_map(|(ipip, vxlan4, wireguard, external_nodes)| {
        Encapsulation {
            ipip,
            vxlan4,
            vxlan6: false,
            vxlan_port: 8080,
            wireguard4: wireguard.then_some(1000),
            wireguard6: wireguard.then_some(1000),
            external_nodes,
        }
    })
}

/// The nodes whose tunnels are welcome, this one among them.
fn node() -> impl Strategy<Value = Node> {
    let v4 = option::weighted(0.8, select(vec!["10.0.0.1", "10.0.0.9", "10.0.1.9", "203.0.113.1"]));
    let v6 = option::weighted(0.8, select(vec!["fd00::1", "fd00::9", "fd00:1::9", "2001:db8::1"]));
    let tunnel = || prop::bool::weighted(0.8);
    let address = |text: Option<&str>| text.map(|text| text.parse().expect("an address"));
    (v4, v6, tunnel(), tunnel()).prop_map(move |(v4, v6, vxlan4, vxlan6)| Node {
        v4: address(v4),
        v6: address(v6),
        vxlan4,
        vxlan6,
    })
}

fn ip_pool() -> impl Strategy<Value = IpPool> {
    let cidr = select(vec!["10.65.0.0/16", "fd00:65::/64"]);
    (cidr, any::<bool>(), any::<bool>()).prop_map(|(cidr, ipip, vxlan)| IpPool {
        cidr: cidr.parse().expect("a net"),
        ipip,
        vxlan,
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let failsafe = (select(vec![6, 17, 132]), select(PORTS.to_vec()), option::weighted(0.4, net()))
        .prop_map(|(protocol, port, net)| Failsafe { protocol: Protocol(protocol), port, net });
    let lists = (vec(failsafe.clone(), 0..3), vec(failsafe, 0..3));
    let to_host =
        select(vec![EndpointToHostAction::Drop, EndpointToHostAction::Return, EndpointToHostAction::Accept]);
    let seldom = || prop::bool::weighted(0.15);
    let flags = (seldom(), seldom(), seldom(), seldom(), seldom());
    let from_workloads = (any::<bool>(), any::<bool>());
    let mask = select(vec![0xffff_0000u32, 0xf0, 0x8000_3000]);
    (lists, (to_host, from_workloads), flags, mask, encapsulation()).prop_map(
        |((failsafe_in, failsafe_out), workloads, flags, mark_mask, encapsulation)| Settings {
            encapsulation,
            failsafe_in,
            failsafe_out,
            endpoint_to_host: workloads.0,
            vxlan_from_workloads: workloads.1.0,
            ipip_from_workloads: workloads.1.1,
            deny: if flags.0 { DenyAction::Reject } else { DenyAction::Drop },
            drop_invalid: !flags.1,
            ipv6: !flags.2,
            essential_icmpv6: if flags.3 { EssentialIcmpV6::Policy } else { EssentialIcmpV6::Allow },
            wildcard_covers_loopback: !flags.4,
            mark_mask,
            ..Settings::default()
        },
    )
}
