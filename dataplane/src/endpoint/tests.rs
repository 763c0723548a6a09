//! One line, one world: endpoints and links in, governance out.

use super::*;
use crate::link::table::{Link, LinkEvent};
use serde_json::Value;
use std::time::Instant;

/// `a=eth0 b@192.0.2.1 c=* !d=eth1`: `!` marks an endpoint that is not valid.
fn endpoints(text: &str) -> BTreeMap<HostEndpointName, Claim> {
    let one = |text: &str| {
        let (valid, text) = text.strip_prefix('!').map_or((true, text), |text| (false, text));
        let (name, interface) = match text.split_once('=') {
            Some((name, "*")) => (name, InterfaceMatch::All),
            Some((name, link)) => (name, InterfaceMatch::Named(link.into())),
            None => {
                let (name, addresses) = text.split_once('@').unwrap();
                (name, InterfaceMatch::Address(addresses.split('@').map(|a| a.parse().unwrap()).collect()))
            }
        };
        (name.into(), Claim { interface, valid })
    };
    text.split_whitespace().map(one).collect()
}

/// `eth0 eth1@192.0.2.1`.
fn links(text: &str) -> LinkTable {
    LinkTable::of(text.split_whitespace().map(|link| {
        let mut parts = link.split('@');
        (parts.next().unwrap().into(), true, parts.map(|a| a.parse().unwrap()).collect())
    }))
}

fn settings(exclude: &[InterfaceExclude]) -> LinkFilter {
    let mut settings =
        Settings { workload_prefixes: vec!["cali".into(), "tap.".into()], ..Settings::default() };
    settings.exclude.extend_from_slice(exclude);
    LinkFilter::new(&Arc::new(settings)).0
}

fn world(claims: &str, present: &str) -> String {
    let filter =
        settings(&[InterfaceExclude::Name("virbr.".into()), InterfaceExclude::Regex("^veth.+x$".into())]);
    let resolution = resolve(&endpoints(claims), &links(present), &filter);
    let mut parts: Vec<String> =
        resolution.dispatch.iter().map(|(link, ep)| format!("{link}={ep}")).collect();
    parts.extend(resolution.wildcard.map(|ep| format!("*={ep}")));
    parts.join(" ")
}

#[test]
fn one_host_endpoint_governs_each_link() {
    let cases = [
        // why                                          endpoints                 links                 governed
        ("an explicit name claims its link", "a=eth0", "eth0 eth1", "eth0=a"),
        ("and before the link exists", "a=eth0", "", "eth0=a"),
        ("case matters", "a=ETH0", "eth0", "ETH0=a"),
        ("an expected address claims its link", "a@192.0.2.1", "eth0@192.0.2.1", "eth0=a"),
        ("of IPv6 too", "a@2001:db8::1", "eth0@2001:db8::1", "eth0=a"),
        ("IPv4 mapped into IPv6 is that IPv4 address", "a@::ffff:192.0.2.1", "eth0@192.0.2.1", "eth0=a"),
        ("one of several addresses is enough", "a@192.0.2.9@192.0.2.1", "eth0@::1@192.0.2.1", "eth0=a"),
        ("one endpoint may govern several links", "a@::1", "eth0@::1 eth1@::1", "eth0=a eth1=a"),
        ("loopback is a link like any other", "a@127.0.0.0", "lo@127.0.0.0", "lo=a"),
        ("no address, no claim", "a@192.0.2.1", "eth0", ""),
        ("a wrong name never falls back to an address", "a=eth9", "eth0@192.0.2.1", "eth9=a"),
        ("smallest name wins, address over name", "b=eth0 a@192.0.2.1", "eth0@192.0.2.1", "eth0=a"),
        ("smallest name wins, name over address", "a=eth0 b@192.0.2.1", "eth0@192.0.2.1", "eth0=a"),
        ("smallest name wins among addresses", "b@::1 a@::2", "eth0@::1@::2", "eth0=a"),
        ("until the address comes the name stands", "b=eth0 a@192.0.2.1", "", "eth0=b"),
        ("bytes, not numbers", "hep-2=eth0 hep-10=eth0", "eth0", "eth0=hep-10"),
        ("the wildcard governs no single link", "a=*", "eth0", "*=a"),
        ("and needs none", "a=*", "", "*=a"),
        ("any claim goes before the wildcard", "a=* z=eth0", "eth0", "eth0=z *=a"),
        ("smallest wildcard", "b=* a=*", "eth0", "*=a"),
        ("a workload's link by name", "a=cali1", "cali1", ""),
        ("a workload's link by address", "a@::1", "cali1@::1", ""),
        ("prefixes are literal", "a=tapx1 b=tap.1", "", "tapx1=a"),
        ("an excluded link by name", "a=kube-ipvs0", "kube-ipvs0", ""),
        ("an excluded link by address", "a@::1", "kube-ipvs0@::1", ""),
        ("an exclusion by name is literal", "a=virbr0 b=virbr.", "", "virbr0=a"),
        ("an exclusion by pattern", "a=veth1x b=veth1", "", "veth1=b"),
        ("the wildcard covers what is excluded", "a=* b=kube-ipvs0", "kube-ipvs0", "*=a"),
        ("invalid alone stays in force", "!a=eth0", "eth0", "eth0=a"),
        ("any valid claim goes before it", "!a=eth0 b=eth0", "eth0", "eth0=b"),
        ("by address too", "!a=eth0 b@::1", "eth0@::1", "eth0=b"),
        ("and back when the address goes", "!a=eth0 b@::1", "eth0", "eth0=a"),
        ("but not the wildcard", "!b=eth0 a=*", "eth0", "eth0=b *=a"),
        ("smallest among the invalid", "!b=eth0 !a@::1", "eth0@::1", "eth0=a"),
        ("an invalid wildcard comes last", "!a=* b=*", "", "*=b"),
        ("and covers the rest alone", "!a=* !b=eth0", "", "eth0=b *=a"),
    ];
    for (why, claims, present, governed) in cases {
        assert_eq!(world(claims, present), governed, "{why}");
    }
}

#[test]
fn who_governs_nothing_is_told_why() {
    let cases = [
        ("a name that is taken", "a=eth0 b=eth0", "", "b: interface eth0 is governed by host endpoint a"),
        (
            "an address on a taken link",
            "a=eth0 b@::1",
            "eth0@::1",
            "b: interface eth0 is governed by host endpoint a",
        ),
        ("an address that is nowhere", "b@::1", "eth0", "b: no interface has one of its expectedIPs"),
        (
            "an address on a workload's link",
            "b@::1",
            "cali0@::1",
            "b: no interface has one of its expectedIPs",
        ),
        ("a workload's link", "b=cali1", "", "b: interface cali1 belongs to a workload (InterfacePrefix)"),
        ("an excluded link", "b=kube-ipvs0", "", "b: interface kube-ipvs0 is excluded (InterfaceExclude)"),
        ("a second wildcard", "a=* b=*", "", "b: host endpoint a is the one for all interfaces"),
        ("nobody", "a=eth0", "", ""),
    ];
    for (why, claims, present, idle) in cases {
        let resolution = resolve(&endpoints(claims), &links(present), &settings(&[]));
        let shown: Vec<_> = resolution.idle.iter().map(|(name, idle)| format!("{name}: {idle}")).collect();
        assert_eq!(shown.join("; "), idle, "{why}");
    }
}

#[test]
fn a_pattern_that_cannot_be_understood_excludes_nothing() {
    let exclude = vec![InterfaceExclude::Regex("(".into()), InterfaceExclude::Name("eth1".into())];
    let (filter, errors) = LinkFilter::new(&Arc::new(Settings { exclude, ..Settings::default() }));
    assert_eq!(errors.len(), 1);
    assert_eq!(filter.refuses(&"eth0".into()), None);
    assert_eq!(filter.refuses(&"eth1".into()), Some(Idle::Excluded("eth1".into())));
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../fixtures/interface-matching.json")).unwrap()
}

/// Of this node, `h0`; name and address as the decoder reads them.
fn claim(hep: &Value) -> Option<(HostEndpointName, Claim)> {
    if hep["node"].as_str().is_some_and(|node| node != "h0") {
        return None;
    }
    let interface = match hep["interfaceName"].as_str().unwrap_or_default() {
        "*" => InterfaceMatch::All,
        "" => InterfaceMatch::Address(addresses(&hep["expectedIPs"])),
        name => InterfaceMatch::Named(name.into()),
    };
    Some((hep["name"].as_str().unwrap().into(), Claim { interface, valid: true }))
}

fn addresses(list: &Value) -> Vec<IpAddr> {
    list.as_array().into_iter().flatten().map(|a| a.as_str().unwrap().parse().unwrap()).collect()
}

fn answer(claims: &BTreeMap<HostEndpointName, Claim>, links: &LinkTable) -> (Resolution, Value) {
    let filter = LinkFilter::default();
    let resolution = resolve(claims, links, &filter);
    let specific: serde_json::Map<_, _> = governed(links, &resolution)
        .map(|(link, endpoint)| (link.to_string(), endpoint.as_str().into()))
        .collect();
    let status: serde_json::Map<_, _> = statuses(claims, links, &resolution)
        .into_iter()
        .map(|(name, status)| (name.to_string(), status.as_str().into()))
        .collect();
    let wildcard = resolution.wildcard.as_ref().map(HostEndpointName::as_str);
    let answer = serde_json::json!({ "specific": specific, "wildcard": wildcard, "status": status });
    (resolution, answer)
}

#[test]
fn interfaces_match_as_the_vectors_say() {
    for case in vectors()["cases"].as_array().unwrap() {
        let claims = case["heps"].as_array().unwrap().iter().filter_map(claim).collect();
        let links =
            LinkTable::of(case["interfaces"].as_object().unwrap().iter().map(|(name, link)| {
                (name.as_str().into(), link["state"] == "up", addresses(&link["addrs"]))
            }));
        let (resolution, found) = answer(&claims, &links);
        for (field, value) in found.as_object().unwrap() {
            assert_eq!(*value, case[field], "{} {}: {field}", case["id"], case["title"]);
        }
        for (link, endpoint) in case["applies"].as_object().unwrap() {
            let applies = resolution.dispatch.get(link.as_str()).or(resolution.wildcard.as_ref());
            assert_eq!(applies.map(HostEndpointName::as_str), endpoint.as_str(), "{} {link}", case["id"]);
        }
    }
}

#[test]
fn interfaces_match_after_each_event_as_the_vectors_say() {
    for sequence in vectors()["sequences"].as_array().unwrap() {
        let (mut claims, mut links, now) = (BTreeMap::new(), LinkTable::default(), Instant::now());
        for event in sequence["events"].as_array().unwrap() {
            if let Some(name) = event["name"].as_str() {
                let up = event["state"].as_str().map(|state| state == "up");
                let up = up.or(links.get(&name.into()).map(|link| link.up)).unwrap_or_default();
                links.apply(LinkEvent::Link(Link { index: 1, name: name.into(), up }), now);
                for address in addresses(&event["addrs"]) {
                    links.apply(LinkEvent::LocalAdded { index: 1, net: address.into() }, now);
                }
            } else {
                claims.extend(claim(&event["hep"]));
            }
            assert_eq!(answer(&claims, &links).1, event["after"], "{} {event}", sequence["id"]);
        }
    }
}

#[test]
fn the_worse_status_is_reported() {
    let status = |word: &Value| match word.as_str().unwrap() {
        "up" => Status::Up,
        "down" => Status::Down,
        _ => Status::Error,
    };
    for row in vectors()["status_combination"].as_array().unwrap() {
        assert_eq!(status(&row["v4"]).combine(status(&row["v6"])), status(&row["reported"]), "{row}");
    }
}
