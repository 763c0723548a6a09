//! What calculation costs, in numbers: `cargo bench -p agent --bench calc`.
//!
//! The worlds: "wide": ten endpoints of this node among 10,000 of the cluster, 2,000 policies; one thing changes at
//! a time. "large": 1,000 policies of 10 rules beside 200 network sets of 1,000 nets; loaded
//! from nothing.

use agent::{
    calc::CalcGraph,
    store::{AbsentClusterInformation, Store, StoreDelta},
    syncer::{Revision, Snapshot, SyncEvent},
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proto::{
    id::{NodeName, PolicyId, ProfileName, TierName},
    key::{Kind, ResourceKey},
    resource::{Category, HostEndpoint, LabelMap, NetworkSet, PolicySpec, ProfileSpec, Resource, Tier},
    rule::{Action, Port, PortRange, Protocol, Rule, SelectorSide},
    selector::Selector,
    settings::Settings,
    update::{InterfaceMatch, TierDefault},
};
use std::{
    fs,
    hint::black_box,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

/// Each world in a process of its own, so that none finds memory that another has warmed.
fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("sparse") => wide(false),
        Some("crowded") => wide(true),
        Some("ipv4") => large(false),
        Some("ipv6") => large(true),
        Some("bytes") => bytes(),
        Some("members-ipv4") => members(false),
        Some("members-ipv6") => members(true),
        _ => {
            let program = std::env::current_exe().expect("a running program has a path");
            for world in ["sparse", "crowded", "ipv4", "ipv6", "bytes", "members-ipv4", "members-ipv6"] {
                let status = Command::new(&program).arg(world).status().expect("it runs once more");
                assert!(status.success(), "{world}: {status}");
            }
        }
    }
}

/// One change at a time. `crowded`: every policy applies to every endpoint of this node.
fn wide(crowded: bool) {
    println!("10,000 host endpoints (10 here), 200 network sets of 1,000, 2,000 policies of 10 rules, {}", {
        if crowded { "all on each endpoint here" } else { "200 on each endpoint here" }
    });
    let mut graph = CalcGraph::new(NodeName::from("node-0"));
    let started = Instant::now();
    for delta in wide_world(crowded) {
        graph.apply(delta);
    }
    graph.set_settings(Arc::new(Settings::default()));
    graph.apply(StoreDelta::Ready(true));
    let updates = graph.flush().len();
    println!("  load                                     {:>10.1?}  ({updates} updates)", started.elapsed());

    measure("a policy's rules", &mut graph, |n| policy_change(n as usize % 2000, n, crowded, 50.0));
    measure("a policy's order", &mut graph, |n| policy_change(7, 0, crowded, n as f64));
    measure("a new policy with a new selector", &mut graph, |n| {
        let PolicyWorld { key, mut policy } = policy(5000, 10, crowded);
        policy.ingress[0].source.selector = Some(selector(&format!("app == 'app-{}'", n % 100)));
        policy.ingress[1].source.selector = Some(selector(&format!("new{n} == 'x'")));
        StoreDelta::Changed(key, (n % 2 == 0).then(|| Arc::new(Resource::Policy(policy))))
    });
    measure("one net of a network set of 1,000", &mut graph, |n| network_set(3, 1000, n, false));
    measure("a label of an endpoint here", &mut graph, |n| host_endpoint(1, n));
    measure("a label of an endpoint elsewhere", &mut graph, |n| host_endpoint(5001, n));
    measure("an address of an endpoint elsewhere", &mut graph, |n| {
        let StoreDelta::Changed(key, Some(resource)) = host_endpoint(5002, 0) else { unreachable!() };
        let mut resource = Arc::unwrap_or_clone(resource);
        if let Resource::HostEndpoint(endpoint) = &mut resource {
            endpoint.expected_ips = vec![[10, 200, 0, n as u8].into()];
        }
        StoreDelta::Changed(key, Some(Arc::new(resource)))
    });
    measure("labels of a profile of 100 endpoints", &mut graph, |n| profile(5, n));
}

/// Loading from nothing, and what it keeps in memory.
fn large(v6: bool) {
    let family = if v6 { "IPv6" } else { "IPv4" };
    println!("1,000 policies of 10 rules on one endpoint, 200 network sets of 1,000 nets ({family})");
    let sets: Vec<StoreDelta> = (0..200).map(|n| network_set(n, 1000, 0, v6)).collect();
    let mut graph = CalcGraph::new(NodeName::from("node-0"));
    let mut others = vec![host_endpoint(0, 0), tier()];
    others.extend((0..1000).map(|n| {
        let PolicyWorld { key, policy } = policy(n, 10, true);
        StoreDelta::Changed(key, Some(Arc::new(Resource::Policy(policy))))
    }));
    let before = resident();
    let started = Instant::now();
    for delta in sets.into_iter().chain(others) {
        graph.apply(delta);
    }
    graph.set_settings(Arc::new(Settings::default()));
    graph.apply(StoreDelta::Ready(true));
    let updates = graph.flush();
    let elapsed = started.elapsed();
    let (count, with_updates) = (updates.len(), resident());
    drop(black_box(updates));
    println!("  load                                     {elapsed:>10.1?}  ({count} updates)");
    println!(
        "  resident, beyond the resources           {:>7} kB, {} kB before the updates were dropped",
        resident().saturating_sub(before),
        with_updates.saturating_sub(before)
    );
    measure("one net of a network set of 1,000", &mut graph, |n| network_set(3, 1000, n, v6));
}

/// The whole way from stored bytes, decoding included.
fn bytes() {
    println!("the same from bytes: 1,000 policies of 10 rules, 200 network sets of 1,000 nets (IPv4)");
    let entries: Vec<(ResourceKey, Vec<u8>)> = (0..1000)
        .map(stored_policy)
        .chain((0..200).map(|n| stored_network_set(n, 0)))
        .chain([stored_endpoint()])
        .collect();
    let snapshot = || SyncEvent::Snapshot(Snapshot { revision: 1, entries: entries.clone() });
    let mut store = Store::new(NodeName::from("node-0"), AbsentClusterInformation::Ready);
    let mut graph = CalcGraph::new(NodeName::from("node-0"));
    graph.set_settings(Arc::new(Settings::default()));
    let mut run = |event: SyncEvent| {
        let started = Instant::now();
        for delta in store.apply(event).deltas {
            graph.apply(delta);
        }
        let updates = black_box(graph.flush()).len();
        (started.elapsed(), updates)
    };
    let (load, updates) = run(snapshot());
    println!("  load                                     {load:>10.1?}  ({updates} updates)");
    let (again, updates) = run(snapshot());
    println!("  the same snapshot again                  {again:>10.1?}  ({updates} updates)");
    let mut times: Vec<Duration> = (1..=200)
        .map(|n| {
            let (key, value) = stored_network_set(3, n);
            let revision = Revision { revision: 2, changes: vec![(key, Some(value))] };
            run(SyncEvent::Revision(revision)).0
        })
        .collect();
    times.sort_unstable();
    println!("  {:<40} {:>10.1?}  (p99 {:.1?})", "one net of a network set of 1,000", times[100], times[197]);
}

fn stored(kind: Kind, name: String, rest: String) -> (ResourceKey, Vec<u8>) {
    let value = format!(
        r#"{{"kind":"{kind:?}","apiVersion":"projectcalico.org/v3","metadata":{{"name":"{name}",{rest}}}"#
    );
    (key(kind, name), value.into_bytes())
}

fn stored_network_set(n: u32, variant: u32) -> (ResourceKey, Vec<u8>) {
    let nets: Vec<String> = (0..1000)
        .map(|i| {
            let host = if i == 500 { 1_000_000 + variant } else { n * 1000 + i };
            format!("\"{}\"", std::net::Ipv4Addr::from(0x1400_0000 + host))
        })
        .collect();
    let rest = format!(r#""labels":{{"kind":"threat"}}}},"spec":{{"nets":[{}]}}"#, nets.join(","));
    stored(Kind::GlobalNetworkSet, format!("set-{n}"), rest)
}

fn stored_policy(n: u32) -> (ResourceKey, Vec<u8>) {
    let rules: Vec<String> = (0..10)
        .map(|i| {
            let source = match i {
                0 => r#""selector":"kind == 'threat'""#.to_string(),
                _ => format!(r#""nets":["10.9.{}.{i}/32"]"#, n % 256),
            };
            let port = 1000 + i;
            format!(
                r#"{{"action":"Allow","protocol":"TCP","source":{{{source}}},"destination":{{"ports":[{port}]}}}}"#
            )
        })
        .collect();
    let rest = format!(
        r#""labels":{{}}}},"spec":{{"order":{n},"selector":"all()","types":["Ingress"],"ingress":[{}]}}"#,
        rules.join(",")
    );
    stored(Kind::GlobalNetworkPolicy, format!("default.policy-{n}"), rest)
}

fn stored_endpoint() -> (ResourceKey, Vec<u8>) {
    let rest = r#""labels":{}},"spec":{"node":"node-0","interfaceName":"eth0"}"#.to_string();
    stored(Kind::HostEndpoint, "hep".into(), rest)
}

/// What members alone keep in memory: the nets of the resources and the counts of the set.
fn members(v6: bool) {
    println!("one set of 200,000 nets out of 200 network sets ({})", if v6 { "IPv6" } else { "IPv4" });
    let mut graph = CalcGraph::new(NodeName::from("node-0"));
    let before = resident();
    for n in 0..200 {
        graph.apply(network_set(n, 1000, 0, v6));
    }
    let resources = resident();
    graph.apply(host_endpoint(0, 0));
    graph.apply(policy_change(0, 0, true, 50.0));
    graph.set_settings(Arc::new(Settings::default()));
    graph.apply(StoreDelta::Ready(true));
    drop(black_box(graph.flush()));
    println!("  resident                                 {:>7} kB of resources", resources - before);
    println!("                                           {:>7} kB of counts", resident() - resources);
}

/// Median and worst of many single changes, each with its flush.
fn measure(what: &str, graph: &mut CalcGraph, change: impl Fn(u32) -> StoreDelta) {
    let mut times: Vec<Duration> = (1..=200)
        .map(|n| {
            let delta = change(n);
            let started = Instant::now();
            graph.apply(delta);
            black_box(graph.flush());
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("  {what:<40} {:>10.1?}  (p99 {:.1?})", times[100], times[197]);
}

fn wide_world(crowded: bool) -> Vec<StoreDelta> {
    let policies = (0..2000).map(|n| policy_change(n, 0, crowded, 50.0));
    let sets = (0..200).map(|n| network_set(n, 1000, 0, false));
    let endpoints = (0..10_000).map(|n| host_endpoint(n, 0));
    let profiles = (0..100).map(|n| profile(n, 0));
    endpoints.chain(profiles).chain(sets).chain([tier()]).chain(policies).collect()
}

fn key(kind: Kind, name: String) -> ResourceKey {
    ResourceKey { kind, namespace: None, name: name.into() }
}

fn selector(text: &str) -> Arc<Selector> {
    Arc::new(Selector::parse(text).expect("the benchmark's own selectors parse"))
}

fn labels<const N: usize>(labels: [(&str, String); N]) -> LabelMap {
    labels.into_iter().map(|(label, value)| (label.into(), value.into())).collect()
}

fn tier() -> StoreDelta {
    let tier = Tier { name: TierName::from("default"), order: Some(1e6), default_action: TierDefault::Deny };
    StoreDelta::Changed(key(Kind::Tier, "default".into()), Some(Arc::new(Resource::Tier(tier))))
}

/// Ten of a thousand are here; `variant` changes a label.
fn host_endpoint(n: u32, variant: u32) -> StoreDelta {
    let node = if n < 10 { "node-0".to_string() } else { format!("node-{n}") };
    let endpoint = HostEndpoint {
        node: NodeName::new(node),
        interface: Some(InterfaceMatch::Named(format!("eth{n}").as_str().into())),
        expected_ips: vec![[10, 1, (n >> 8) as u8, n as u8].into()],
        labels: labels([
            ("role", format!("role-{}", n % 10)),
            ("app", format!("app-{}", (n + variant) % 100)),
            ("site", format!("site-{}", n % 7)),
        ]),
        profiles: vec![ProfileName::new(format!("profile-{}", n % 100))],
        ports: Vec::new(),
        valid: true,
    };
    let key = key(Kind::HostEndpoint, format!("hep-{n}"));
    StoreDelta::Changed(key, Some(Arc::new(Resource::HostEndpoint(endpoint))))
}

fn profile(n: u32, variant: u32) -> StoreDelta {
    let profile = ProfileSpec {
        name: ProfileName::new(format!("profile-{n}")),
        labels_to_apply: labels([("team", format!("team-{}", (n + variant) % 20))]),
        ingress: Vec::new(),
        egress: Vec::new(),
    };
    let key = key(Kind::Profile, format!("profile-{n}"));
    StoreDelta::Changed(key, Some(Arc::new(Resource::Profile(profile))))
}

/// `variant` changes one net.
fn network_set(n: u32, size: u32, variant: u32, v6: bool) -> StoreDelta {
    let net = |i: u32| -> IpNet {
        let host = n * size + i;
        if v6 {
            let address = (0x2001_0db8_u128 << 96) + u128::from(host);
            Ipv6Net::new(address.into(), 128).expect("128 is a length").into()
        } else {
            Ipv4Net::new((0x1400_0000 + host).into(), 32).expect("32 is a length").into()
        }
    };
    let mut nets: Vec<IpNet> = (0..size).map(net).collect();
    nets[500] = net(1_000_000 + variant);
    let labels = labels([("feed", format!("feed-{}", n % 10)), ("kind", "threat".into())]);
    let set = NetworkSet { labels, parents: Vec::new(), nets: nets.into_iter().collect() };
    let key = key(Kind::GlobalNetworkSet, format!("set-{n}"));
    StoreDelta::Changed(key, Some(Arc::new(Resource::NetworkSet(set))))
}

struct PolicyWorld {
    key: ResourceKey,
    policy: PolicySpec,
}

/// `variant` changes a port.
fn policy_change(n: usize, variant: u32, crowded: bool, order: f64) -> StoreDelta {
    let PolicyWorld { key, mut policy } = policy(n, 10, crowded);
    policy.order = Some(order);
    policy.ingress[0].destination.ports = vec![Port::Range(PortRange::single(variant as u16))];
    StoreDelta::Changed(key, Some(Arc::new(Resource::Policy(policy))))
}

fn policy(n: usize, rules: usize, crowded: bool) -> PolicyWorld {
    let name = format!("default.policy-{n}");
    let rule = |index: usize| {
        let source = match index {
            0 => SelectorSide { selector: Some(selector("kind == 'threat'")), ..SelectorSide::default() },
            1 => SelectorSide {
                selector: Some(selector(&format!("app == 'app-{}'", n % 100))),
                ..SelectorSide::default()
            },
            _ => SelectorSide {
                nets: vec![Ipv4Net::new([10, 9, n as u8, 0].into(), 24).expect("24 is a length").into()],
                ..SelectorSide::default()
            },
        };
        let destination = SelectorSide {
            ports: vec![Port::Range(PortRange::single(1000 + index as u16))],
            ..SelectorSide::default()
        };
        Rule {
            index,
            action: Action::Allow,
            family: None,
            protocol: Some(Protocol::TCP),
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source,
            destination,
        }
    };
    let target = if crowded { "all()".to_string() } else { format!("role == 'role-{}'", n % 10) };
    let policy = PolicySpec {
        id: PolicyId::global(name.as_str()),
        tier: TierName::from("default"),
        order: Some(50.0),
        selector: selector(&target),
        ingress_governed: true,
        egress_governed: false,
        category: Category::Normal,
        ingress: (0..rules).map(rule).collect(),
        egress: Vec::new(),
    };
    PolicyWorld { key: key(Kind::GlobalNetworkPolicy, name), policy }
}

/// Resident memory in kB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}
