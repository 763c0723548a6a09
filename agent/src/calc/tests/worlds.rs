//! Small random worlds: few names, so that everything collides with everything.

use proptest::{collection::vec, option, prelude::*, sample::select};
use proto::{
    id::{IfName, NodeName, PolicyId, ProfileName, TierName},
    key::{Kind, ResourceKey},
    resource::{
        Category, EndpointPort, HostEndpoint, IpPool, LabelMap, NetworkSet, Node, PolicySpec, ProfileSpec,
        Resource, Tier, WorkloadEndpoint,
    },
    rule::{Action, Port, PortRange, Protocol, Rule, SelectorSide},
    selector::Selector,
    settings::{Encapsulation, Settings},
    update::{InterfaceMatch, TierDefault},
};
use std::{net::IpAddr, sync::Arc};

/// The node that the tests are about.
pub(crate) const HERE: &str = "here";

/// One step of a history.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Set(ResourceKey, Option<Arc<Resource>>),
    Ready(bool),
    Settings(u8),
    Flush,
}

/// A history.
pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..60)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => change(),
        4 => Just(Op::Flush),
        1 => prop::bool::weighted(0.7).prop_map(Op::Ready),
        1 => (0..4u8).prop_map(Op::Settings),
    ]
}

/// A resource comes, changes or goes.
pub(crate) fn change() -> impl Strategy<Value = Op> {
    let change = prop_oneof![
        5 => (host_endpoint_name(), host_endpoint()).prop_map(|(n, r)| (key(Kind::HostEndpoint, None, n), r)),
        3 => (select(&["w1", "w2"][..]), workload_endpoint())
            .prop_map(|(n, r)| (key(Kind::WorkloadEndpoint, Some("ns"), n), r)),
        2 => (select(&["g1", "g2", "g3"][..]), network_set(false))
            .prop_map(|(n, r)| (key(Kind::GlobalNetworkSet, None, n), r)),
        1 => network_set(true).prop_map(|r| (key(Kind::NetworkSet, Some("ns"), "n1"), r)),
        5 => (select(&["t.a", "t.b", "default.c", "u.d"][..]), policy())
            .prop_map(|(n, p)| policy_entry(PolicyId::global(n), p)),
        1 => policy().prop_map(|p| policy_entry(PolicyId::namespaced("ns", "default.c"), p)),
        3 => (select(&["p1", "p2", "kns.ns", ProfileName::DEFAULT_ALLOW][..]), profile())
            .prop_map(|(n, p)| profile_entry(n, p)),
        2 => (select(&["t", "u", "default"][..]), tier()).prop_map(|(n, t)| tier_entry(n, t)),
        2 => (select(&[HERE, "there", "third"][..]), node()).prop_map(|(n, r)| (key(Kind::Node, None, n), r)),
        1 => (select(&["p", "q", "r"][..]), ip_pool()).prop_map(|(n, r)| (key(Kind::IPPool, None, n), r)),
    ];
    (change, prop::bool::weighted(0.75))
        .prop_map(|((key, resource), present)| Op::Set(key, present.then(|| Arc::new(resource))))
}

/// Settings by number; 0 is the default, under which nothing is left when all resources are gone.
pub(crate) fn settings(number: u8) -> Settings {
    let external = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
    let open = Encapsulation::default();
    let encapsulation = match number {
        0 => open,
        1 => Encapsulation { ipip: Some(true), external_nodes: external(&["192.0.2.1/32"]), ..open },
        2 => Encapsulation {
            ipip: Some(false),
            vxlan4: Some(true),
            // Bits behind the prefix, and the same net twice.
            external_nodes: external(&["192.0.2.77/24", "192.0.2.0/24", "2001:db8::/64"]),
            ..open
        },
        _ => Encapsulation { vxlan4: Some(false), external_nodes: external(&["192.0.2.0/24"]), ..open },
    };
    Settings { encapsulation, log_prefix: format!("prefix-{number}"), ..Settings::default() }
}

fn node() -> impl Strategy<Value = Resource> {
    let v4 = option::of(select(&["192.0.2.1", "192.0.2.2"][..]));
    let v6 = option::of(select(&["2001:db8::1", "2001:db8::2"][..]));
    let address = |text: Option<&str>| text.map(|text| text.parse().unwrap());
    (v4, v6, any::<bool>(), any::<bool>()).prop_map(move |(v4, v6, vxlan4, vxlan6)| {
        Resource::Node(Node { v4: address(v4), v6: address(v6), vxlan4, vxlan6 })
    })
}

fn ip_pool() -> impl Strategy<Value = Resource> {
    let nets = select(&["10.0.0.0/16", "10.1.0.0/16", "fd00::/48"][..]);
    (nets, any::<bool>(), any::<bool>())
        .prop_map(|(cidr, ipip, vxlan)| Resource::IpPool(IpPool { cidr: cidr.parse().unwrap(), ipip, vxlan }))
}

pub(crate) fn key(kind: Kind, namespace: Option<&str>, name: &str) -> ResourceKey {
    ResourceKey { kind, namespace: namespace.map(Arc::from), name: name.into() }
}

fn policy_entry(id: PolicyId, mut policy: PolicySpec) -> (ResourceKey, Resource) {
    let kind = if id.namespace.is_some() { Kind::NetworkPolicy } else { Kind::GlobalNetworkPolicy };
    policy.id = id.clone();
    (ResourceKey { kind, namespace: id.namespace, name: id.name }, Resource::Policy(policy))
}

fn profile_entry(name: &str, mut profile: ProfileSpec) -> (ResourceKey, Resource) {
    profile.name = name.into();
    (key(Kind::Profile, None, name), Resource::Profile(profile))
}

fn tier_entry(name: &str, mut tier: Tier) -> (ResourceKey, Resource) {
    tier.name = name.into();
    (key(Kind::Tier, None, name), Resource::Tier(tier))
}

fn host_endpoint_name() -> impl Strategy<Value = &'static str> {
    select(&["h1", "h2", "h3", "h4"][..])
}

fn host_endpoint() -> impl Strategy<Value = Resource> {
    let interface = prop_oneof![
        3 => Just(Some(InterfaceMatch::Named(IfName::from("eth0")))),
        1 => Just(Some(InterfaceMatch::All)),
        1 => address().prop_map(|address| Some(InterfaceMatch::Address(vec![address]))),
        1 => Just(None),
    ];
    let node = select(&[HERE, HERE, "there"][..]);
    let claim = (node, interface, prop::bool::weighted(0.8));
    (claim, labels(), parents(), vec(address(), 0..3), vec(port(), 0..3)).prop_map(
        |((node, interface, valid), labels, profiles, expected_ips, ports)| {
            Resource::HostEndpoint(HostEndpoint {
                node: NodeName::from(node),
                interface,
                expected_ips,
                labels,
                profiles,
                ports,
                valid,
            })
        },
    )
}

fn workload_endpoint() -> impl Strategy<Value = Resource> {
    let link = select(&[None, Some("cali0"), Some("cali1")][..]);
    let place = (select(&[HERE, HERE, "there"][..]), link);
    (place, labels(), parents(), vec(address(), 1..3), vec(port(), 0..2)).prop_map(
        |((node, interface), labels, profiles, nets, ports)| {
            Resource::WorkloadEndpoint(WorkloadEndpoint {
                node: NodeName::from(node),
                interface: interface.map(IfName::from),
                labels,
                profiles,
                nets: nets.into_iter().map(Into::into).collect(),
                ports,
            })
        },
    )
}

fn network_set(namespaced: bool) -> impl Strategy<Value = Resource> {
    let nets = ["192.0.2.1/32", "192.0.2.0/24", "2001:db8::/64", "0.0.0.0/0", "2001:db8::1/128"];
    (labels(), vec(select(nets.to_vec()), 0..5)).prop_map(move |(labels, nets)| {
        let nets = nets.into_iter().map(|net| net.parse().unwrap()).collect();
        let parents = if namespaced { vec![ProfileName::from("kns.ns")] } else { vec![] };
        Resource::NetworkSet(NetworkSet { labels, parents, nets })
    })
}

fn labels() -> impl Strategy<Value = LabelMap> {
    let label = (select(&["a", "b", "c"][..]), select(&["x", "y", ""][..]));
    vec(label, 0..3).prop_map(|labels| labels.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
}

fn parents() -> impl Strategy<Value = Vec<ProfileName>> {
    let name = select(&["p1", "p2", "missing", ProfileName::DEFAULT_ALLOW][..]);
    vec(name.prop_map(ProfileName::from), 0..3)
}

fn address() -> impl Strategy<Value = IpAddr> {
    select(&["192.0.2.1", "192.0.2.2", "2001:db8::1"][..]).prop_map(|address| address.parse().unwrap())
}

fn port() -> impl Strategy<Value = EndpointPort> {
    let protocol = select(&[Protocol::TCP, Protocol::UDP][..]);
    (select(&["http", "dns"][..]), protocol, select(&[80, 8080][..]))
        .prop_map(|(name, protocol, port)| EndpointPort { name: name.into(), protocol, port })
}

pub(crate) fn selector() -> impl Strategy<Value = Arc<Selector>> {
    let texts = [
        "all()",
        "a == 'x'",
        "a != 'x'",
        "a == ''",
        "has(a)",
        "!has(b)",
        "a == 'x' && b == 'y'",
        "a == 'x' || b == 'y'",
        "a in {'x', 'y'}",
        "a not in {'x', 'y'}",
        "b contains 'x'",
        "!(a == 'x' && has(b))",
        "has(c) && c starts with 'x'",
        "a in {}",
        "a == 'x' && !has(c)",
        "a == 'x' && a == 'y'",
    ];
    select(texts.to_vec()).prop_map(|text| Arc::new(Selector::parse(text).unwrap()))
}

fn side() -> impl Strategy<Value = SelectorSide> {
    let any_port = prop_oneof![
        2 => select(&["http", "dns", "nobody"][..]).prop_map(|name| Port::Named(name.into())),
        1 => Just(Port::Range(PortRange::single(443))),
    ];
    let ports = || vec(any_port.clone(), 0..3);
    let selectors = prop_oneof![
        2 => Just((None, None)),
        3 => selector().prop_map(|selector| (Some(selector), None)),
        1 => selector().prop_map(|selector| (None, Some(selector))),
    ];
    (selectors, ports(), ports()).prop_map(|((selector, not_selector), ports, not_ports)| SelectorSide {
        selector,
        not_selector,
        ports,
        not_ports,
        ..SelectorSide::default()
    })
}

fn rules() -> impl Strategy<Value = Vec<Rule<SelectorSide>>> {
    let protocol = option::of(select(&[Protocol::TCP, Protocol::UDP, Protocol::ICMP][..]));
    let rule = (select(&[Action::Allow, Action::Deny, Action::Pass][..]), protocol, side(), side());
    let rule = rule.prop_map(|(action, protocol, source, destination)| Rule {
        index: 0,
        action,
        family: None,
        protocol,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source,
        destination,
    });
    vec(rule, 0..3)
}

fn order() -> impl Strategy<Value = Option<f64>> {
    select(&[None, Some(1.0), Some(2.0), Some(0.0), Some(-0.0)][..])
}

fn policy() -> impl Strategy<Value = PolicySpec> {
    let categories = [Category::Normal, Category::NormalAndForward, Category::Untracked, Category::PreDnat];
    let directions = (prop::bool::weighted(0.7), prop::bool::weighted(0.5));
    let tier = select(&["t", "u", "default"][..]);
    (tier, order(), selector(), directions, select(categories.to_vec()), rules(), rules()).prop_map(
        |(tier, order, selector, (ingress_governed, egress), category, ingress, egress_rules)| PolicySpec {
            id: PolicyId::global(""),
            tier: TierName::from(tier),
            order,
            selector,
            ingress_governed,
            egress_governed: egress && category != Category::PreDnat,
            category,
            ingress,
            egress: egress_rules,
        },
    )
}

fn profile() -> impl Strategy<Value = ProfileSpec> {
    (labels(), rules(), rules()).prop_map(|(labels_to_apply, ingress, egress)| ProfileSpec {
        name: ProfileName::from(""),
        labels_to_apply,
        ingress,
        egress,
    })
}

fn tier() -> impl Strategy<Value = Tier> {
    (order(), select(&[TierDefault::Deny, TierDefault::Pass][..])).prop_map(|(order, default_action)| Tier {
        name: TierName::from(""),
        order,
        default_action,
    })
}
