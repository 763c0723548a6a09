//! From recorded bytes to what is enforced: the recorded clusters, each seen from its nodes.

use super::replica::Replica;
use crate::{
    calc::CalcGraph,
    store::{AbsentClusterInformation, Store},
    syncer::{Snapshot, SyncEvent},
};
use proto::{
    id::{NodeName, SetId},
    key::ResourceKey,
    selector::Selector,
    settings::Settings,
    update::{Endpoint, Member, Tier},
};
use std::sync::Arc;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/fixtures/", $name, ".json"))
    };
}

/// All recorded clusters.
pub(super) const RECORDED: [&str; 9] = [
    fixture!("01-named-interface-profiles"),
    fixture!("02-wildcard-default-allow"),
    fixture!("03-tiers-and-pass"),
    fixture!("04-named-ports"),
    fixture!("05-network-sets"),
    fixture!("06-untracked-prednat-forward"),
    fixture!("07-workload-endpoints"),
    fixture!("08-label-inheritance"),
    fixture!("09-invalid-and-edge"),
];

/// The keys that mean something to us, with the bytes stored under them.
pub(super) fn recorded(fixture: &str) -> Vec<(ResourceKey, Vec<u8>)> {
    let entries: Vec<serde_json::Value> = serde_json::from_str(fixture).unwrap();
    let entry = |entry: &serde_json::Value| {
        let key = ResourceKey::parse(entry["key"].as_str().unwrap())?;
        let bytes = match entry.get("raw") {
            Some(raw) => raw.as_str().unwrap().as_bytes().to_vec(),
            None => serde_json::to_vec(&entry["value"]).unwrap(),
        };
        Some((key, bytes))
    };
    entries.iter().filter_map(entry).collect()
}

/// What the node enforces once it is in sync with the recorded cluster.
fn enforced(fixture: &str, node: &str) -> Replica {
    let snapshot = Snapshot { revision: 1, entries: recorded(fixture) };
    let mut store = Store::new(NodeName::from(node), AbsentClusterInformation::Ready);
    let mut graph = CalcGraph::new(NodeName::from(node));
    graph.set_settings(Arc::new(Settings::default()));
    for delta in store.apply(SyncEvent::Snapshot(snapshot)).deltas {
        graph.apply(delta);
    }
    let mut replica = Replica::default();
    replica.apply(graph.flush());
    assert!(replica.in_sync);
    replica
}

/// `ingress p q, egress p`, tier by tier where there are several.
fn describe(tiers: &[Tier]) -> String {
    let tier = |tier: &Tier| {
        let mut words = Vec::new();
        for (direction, policies) in [("in", &tier.ingress), ("out", &tier.egress)] {
            if !policies.is_empty() {
                let prefix = format!("{}.", tier.name);
                let names = policies.iter().map(|id| id.to_string().trim_start_matches(&prefix).to_string());
                words.push(format!("{direction} {}", names.collect::<Vec<_>>().join(" ")));
            }
        }
        format!("{}({:?}): {}", tier.name, tier.default_action, words.join(", "))
    };
    tiers.iter().map(tier).collect::<Vec<_>>().join("; ")
}

fn endpoint<'a>(replica: &'a Replica, name: &str) -> &'a Endpoint {
    &replica.enforced.endpoints[name]
}

fn profiles(endpoint: &Endpoint) -> String {
    endpoint.profiles.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The members of the set of a selector, as text.
fn addresses(replica: &Replica, selector: &str) -> String {
    let selector = Selector::parse(selector).unwrap();
    members(replica, SetId::of_selector(selector.as_str()))
}

fn named_port(replica: &Replica, selector: &str, protocol: u8, name: &str) -> String {
    let selector = Selector::parse(selector).unwrap();
    members(replica, SetId::of_named_port(selector.as_str(), protocol, name))
}

fn members(replica: &Replica, id: SetId) -> String {
    let (_, members) = replica.enforced.sets.get(&id).expect("a rule in use refers to this set");
    let text = members.iter().map(|member| match member {
        Member::Net(net) => net.to_string(),
        Member::Port { address, protocol, port } => format!("{address} {protocol} {port}"),
    });
    text.collect::<Vec<_>>().join(", ")
}

#[test]
fn normal_policies_of_every_recorded_endpoint() {
    let cases = [
        (
            fixture!("01-named-interface-profiles"),
            "edge-01",
            "edge-01-eth0",
            "default(Deny): out allow-ntp-out",
        ),
        (
            fixture!("01-named-interface-profiles"),
            "edge-01",
            "edge-01-eth1",
            "default(Deny): in web-internal, out allow-ntp-out",
        ),
        (
            fixture!("01-named-interface-profiles"),
            "edge-02",
            "edge-02-by-ip",
            "default(Deny): out allow-ntp-out",
        ),
        (fixture!("02-wildcard-default-allow"), "kvm-a", "kvm-a-auto-hep", "default(Deny): in block-telnet"),
        (
            fixture!("02-wildcard-default-allow"),
            "kvm-b",
            "kvm-b-mgmt",
            "default(Deny): in mgmt-only-admins, out mgmt-only-admins",
        ),
        (
            fixture!("03-tiers-and-pass"),
            "db-1",
            "db-1-ens3",
            "security(Deny): in pci zz-no-order, out pci; platform(Pass): in monitoring; \
             app-late(Deny): out backup; default(Deny): in postgres-a postgres-b",
        ),
        (
            fixture!("03-tiers-and-pass"),
            "db-1",
            "db-1-ens4",
            "security(Deny): in zz-no-order; platform(Pass): in monitoring; \
             app-late(Deny): out backup; default(Deny): in postgres-a postgres-b",
        ),
        (fixture!("04-named-ports"), "lb-1", "lb-1-eth0", "default(Deny): in lb-in, out lb-to-app"),
        (
            fixture!("04-named-ports"),
            "app-1",
            "app-1-eth0",
            "default(Deny): in app-no-metrics-elsewhere app-in",
        ),
        (
            fixture!("05-network-sets"),
            "gw-1",
            "gw-1-wan",
            "default(Deny): in drop-abuse allow-office allow-partners, out drop-abuse",
        ),
        (fixture!("06-untracked-prednat-forward"), "router-1", "router-1-up", ""),
        (
            fixture!("06-untracked-prednat-forward"),
            "router-1",
            "router-1-down",
            "default(Deny): in forward-lan-out local-only, out forward-lan-out",
        ),
        (fixture!("06-untracked-prednat-forward"), "router-1", "router-1-all", ""),
        (fixture!("07-workload-endpoints"), "k-1", "k-1-eth0", "default(Deny): in host-allow-pods"),
        (fixture!("07-workload-endpoints"), "k-2", "k-2-eth0", "default(Deny): in host-allow-pods"),
        (
            fixture!("08-label-inheritance"),
            "n1",
            "n1-a",
            "default(Deny): in by-own-color by-env-prod has-empty-label",
        ),
        (
            fixture!("08-label-inheritance"),
            "n1",
            "n1-b",
            "default(Deny): in by-first-profile-color by-env-staging has-empty-label",
        ),
        (
            fixture!("08-label-inheritance"),
            "n1",
            "n1-c",
            "default(Deny): in by-first-profile-color by-env-staging not-site",
        ),
        (
            fixture!("08-label-inheritance"),
            "n1",
            "n1-d",
            "default(Deny): in by-first-profile-color by-env-staging not-site",
        ),
    ];
    for (fixture, node, name, expected) in cases {
        let replica = enforced(fixture, node);
        assert_eq!(describe(&endpoint(&replica, name).normal), expected, "{name}");
    }
}

#[test]
fn the_other_categories() {
    let replica = enforced(fixture!("06-untracked-prednat-forward"), "router-1");
    let cases = [
        (
            "router-1-up",
            "default(Pass): in ddos-untracked-deny dns-untracked, out dns-untracked",
            "default(Pass): in prednat-allowlist",
            "",
        ),
        (
            "router-1-down",
            "",
            "default(Pass): in prednat-allowlist",
            "default(Deny): in forward-lan-out, out forward-lan-out",
        ),
        ("router-1-all", "", "default(Pass): in prednat-allowlist", ""),
    ];
    for (name, untracked, pre_dnat, forward) in cases {
        let endpoint = endpoint(&replica, name);
        let found =
            [describe(&endpoint.untracked), describe(&endpoint.pre_dnat), describe(&endpoint.forward)];
        assert_eq!(found, [untracked, pre_dnat, forward], "{name}");
    }
}

#[test]
fn each_node_has_its_own_endpoints_only() {
    let cases = [
        (fixture!("01-named-interface-profiles"), "edge-01", "edge-01-eth0 edge-01-eth1"),
        (fixture!("01-named-interface-profiles"), "Edge-01", ""),
        (fixture!("02-wildcard-default-allow"), "kvm-b", "kvm-b-auto-hep kvm-b-mgmt"),
        (fixture!("04-named-ports"), "app-2", "app-2-eth0 app-2-eth1"),
    ];
    for (fixture, node, expected) in cases {
        let replica = enforced(fixture, node);
        let names: Vec<String> = replica.enforced.endpoints.keys().map(ToString::to_string).collect();
        assert_eq!(names.join(" "), expected, "{node}");
    }
}

#[test]
fn addresses_come_from_every_node() {
    let five = fixture!("05-network-sets");
    let seven = fixture!("07-workload-endpoints");
    let cases = [
        (
            fixture!("01-named-interface-profiles"),
            "edge-01",
            "role == 'webserver'",
            "198.51.100.11/32, 198.51.100.12/32, 2001:db8:51::11/128",
        ),
        (five, "gw-1", "kind == 'threatfeed'", "100.64.0.0/10, 198.51.100.66/32, 198.51.100.77/32"),
        (
            five,
            "gw-1",
            "kind == 'office' && trust != 'low'",
            "203.0.113.0/25, 203.0.113.200/32, 2001:db8:100::/48",
        ),
        (
            five,
            "gw-1",
            "pcns.tenant == 'partners' && partner in {'acme', 'globex'}",
            "10.77.1.9/32, 198.51.100.128/26, 2001:db8:dead::/64",
        ),
        (five, "gw-1", "!has(projectcalico.org/namespace) && has(partner)", ""),
        (
            five,
            "gw-1",
            "has(kind)",
            "0.0.0.0/0, 10.77.1.9/32, 100.64.0.0/10, 198.51.100.66/32, 198.51.100.77/32, \
             198.51.100.128/26, 203.0.113.0/25, 203.0.113.200/32, 2001:db8:100::/48, 2001:db8:dead::/64",
        ),
        (seven, "k-1", "pcns.env == 'prod' && app == 'cart'", "10.65.0.2/32"),
        (
            seven,
            "k-1",
            "has(projectcalico.org/namespace)",
            "10.65.0.2/32, 10.65.0.33/32, 10.65.1.7/32, 10.65.1.9/32, fd00:65:1::7/128",
        ),
        (
            seven,
            "k-2",
            "has(pcsa.access) && projectcalico.org/serviceaccount in {'frontend', 'runner'}",
            "10.65.0.2/32",
        ),
        (
            seven,
            "k-2",
            "!has(projectcalico.org/namespace) && node-role == 'worker'",
            "192.0.2.71/32, 192.0.2.72/32",
        ),
        (
            fixture!("08-label-inheritance"),
            "n1",
            "team == 'blue'",
            "10.81.0.2/32, 10.81.0.4/32, 192.0.2.81/32",
        ),
    ];
    for (fixture, node, selector, expected) in cases {
        assert_eq!(addresses(&enforced(fixture, node), selector), expected, "{selector}");
    }
}

#[test]
fn named_ports_are_of_endpoints_with_addresses() {
    let four = fixture!("04-named-ports");
    let (tcp, udp) = (6, 17);
    let http_api = "192.0.2.42 tcp 8080, 192.0.2.43 tcp 18080, 2001:db8:4::42 tcp 8080";
    let cases = [
        ("lb-1", "role == 'app'", tcp, "http-api", http_api),
        ("app-1", "all()", tcp, "http-api", http_api),
        (
            "app-1",
            "all()",
            tcp,
            "metrics",
            "192.0.2.42 tcp 9090, 192.0.2.43 tcp 9090, 2001:db8:4::42 tcp 9090",
        ),
        ("app-1", "all()", udp, "syslog", "192.0.2.42 udp 5514, 2001:db8:4::42 udp 5514"),
        ("lb-1", "all()", tcp, "https", "192.0.2.41 tcp 443"),
    ];
    for (node, selector, protocol, name, expected) in cases {
        assert_eq!(named_port(&enforced(four, node), selector, protocol, name), expected, "{node} {name}");
    }
}

#[test]
fn profiles_are_listed_in_order_and_told_where_they_exist() {
    let replica = enforced(fixture!("08-label-inheritance"), "n1");
    let lists = [
        ("n1-a", "site-defaults team-blue"),
        ("n1-b", "team-blue site-defaults"),
        ("n1-c", "team-blue does-not-exist"),
        ("n1-d", "does-not-exist team-blue"),
    ];
    for (name, expected) in lists {
        assert_eq!(profiles(endpoint(&replica, name)), expected, "{name}");
    }
    let known: Vec<String> = replica.enforced.profiles.keys().map(ToString::to_string).collect();
    assert_eq!(known, ["site-defaults", "team-blue"]);

    let replica = enforced(fixture!("02-wildcard-default-allow"), "kvm-a");
    let known: Vec<String> = replica.enforced.profiles.keys().map(ToString::to_string).collect();
    assert_eq!(known, ["projectcalico-default-allow"], "it has no key and is there");
}

#[test]
fn policy_of_every_recorded_workload() {
    let cases = [
        ("k-1", "default/k--1-openstack-vm--31-port--9", "cali3d4e5f6a7b8", "", "vm-profile"),
        (
            "k-1",
            "shop/k--1-k8s-cart--7c9d--x1-eth0",
            "cali0a1b2c3d4e5",
            "default(Deny): in shop/default.shop-cart",
            "kns.shop ksa.shop.frontend",
        ),
        (
            "k-2",
            "batch/k--2-k8s-job--1-eth0",
            "cali2c3d4e5f6a7",
            "default(Deny): in batch/knp.default.deny-all, out pods-only-egress",
            "kns.batch ksa.batch.runner",
        ),
        ("k-2", "shop/k--2-k8s-orders--5f-eth0", "cali1b2c3d4e5f6", "", "kns.shop ksa.shop.default"),
    ];
    for node in ["k-1", "k-2"] {
        let replica = enforced(fixture!("07-workload-endpoints"), node);
        let found: Vec<_> = replica.enforced.workloads.iter().collect();
        let expected: Vec<_> = cases.iter().filter(|case| case.0 == node).collect();
        assert_eq!(found.len(), expected.len(), "{node}: one without addresses has no link");
        for ((name, workload), (_, expected, link, tiers, profiles)) in found.into_iter().zip(expected) {
            let listed: Vec<_> = workload.profiles.iter().map(ToString::to_string).collect();
            let found =
                (name.as_str(), workload.interface.as_str(), describe(&workload.tiers), listed.join(" "));
            assert_eq!(found, (*expected, *link, (*tiers).to_owned(), (*profiles).to_owned()));
        }
    }
}
