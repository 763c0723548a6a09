//! Each check on small worlds, and the claim about unreachable rules on random packets.

mod workloads;

use super::{rules::covers, *};
use crate::store::{AbsentClusterInformation, Store};
use crate::syncer::{Snapshot, SyncEvent};
use proptest::prelude::*;
use proto::{
    id::NodeName,
    rule::{Action, Family, Port, PortRange, Protocol, Rule, SelectorSide},
    settings::Settings,
};
use serde_json::{Value, json};

/// Resources as the store holds them; a tier and an endpoint are always there.
fn resources(objects: &[Value]) -> Resources {
    let entry = |object: &Value| {
        let kind = proto::key::Kind::from_name(object["kind"].as_str().unwrap()).unwrap();
        let namespace = object["metadata"]["namespace"].as_str().map(Into::into);
        let key = ResourceKey { kind, namespace, name: object["metadata"]["name"].as_str().unwrap().into() };
        (key, object.to_string().into_bytes())
    };
    let mut store = Store::new(NodeName::from("h"), AbsentClusterInformation::Ready);
    let snapshot = Snapshot { revision: 1, entries: objects.iter().map(entry).collect() };
    store.apply(SyncEvent::Snapshot(snapshot));
    assert_eq!(store.diagnoses().count(), 0, "{:?}", store.diagnoses().collect::<Vec<_>>());
    store.in_force_after(None).map(|(key, resource)| (key.clone(), resource.clone())).collect()
}

fn object(kind: &str, name: &str, labels: Value, spec: Value) -> Value {
    json!({ "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": { "name": name, "labels": labels }, "spec": spec })
}

fn endpoint(name: &str, interface: &str) -> Value {
    let spec = json!({ "node": "h", "interfaceName": interface, "expectedIPs": ["192.0.2.1"],
        "ports": [{ "name": "web", "protocol": "TCP", "port": 80 }] });
    object("HostEndpoint", name, json!({ "role": "web" }), spec)
}

fn policy(spec: Value) -> Value {
    let mut whole = json!({ "selector": "role == 'web'", "types": ["Ingress"] });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object("GlobalNetworkPolicy", "default.p", json!({}), whole)
}

fn ingress(rules: Value) -> Value {
    policy(json!({ "ingress": rules }))
}

/// `check field`, in order.
fn found(objects: &[Value], scope: Scope) -> Vec<String> {
    let resources = resources(objects);
    let lent = World::profiles(&resources);
    let settings = Settings::default();
    let world = World::new(&resources, &lent, &settings, scope);
    let findings = Linter::default().lint(&world);
    findings.iter().map(|finding| format!("{} {}", finding.check, finding.field)).collect()
}

#[test]
fn policies() {
    let allow_all = json!([{ "action": "Allow" }]);
    let cases = [
        ("nothing wrong", ingress(allow_all.clone()), ""),
        ("only logging", ingress(json!([{ "action": "Log" }])), "log-without-allow spec.ingress"),
        ("logging, then allowing", ingress(json!([{ "action": "Log" }, { "action": "Allow" }])), ""),
        (
            "doNotTrack denies nothing by itself",
            policy(json!({ "doNotTrack": true, "applyOnForward": true, "ingress": [{ "action": "Log" }] })),
            "",
        ),
        ("a direction without rules is a plain denial", policy(json!({ "ingress": [] })), ""),
        (
            "a tier that does not exist",
            policy(json!({ "tier": "x", "ingress": allow_all })),
            "missing-tier spec.tier",
        ),
        (
            "a selector that picks nothing",
            policy(json!({ "selector": "role == 'db'", "ingress": allow_all })),
            "selector-matches-nothing spec.selector",
        ),
        (
            "a rule's selector that picks nothing",
            ingress(json!([{ "action": "Allow", "source": { "selector": "role == 'db'" } }])),
            "selector-matches-nothing spec.ingress[0].source.selector",
        ),
        (
            "a rule's selector that picks an endpoint",
            ingress(json!([{ "action": "Allow", "source": { "selector": "has(role)" } }])),
            "",
        ),
        (
            "a port that nobody names",
            ingress(json!([{ "action": "Allow", "protocol": "TCP", "destination": { "ports": ["ssh"] } }])),
            "named-port-nobody-has spec.ingress[0].destination.ports",
        ),
        (
            "a port that somebody names, for another protocol",
            ingress(json!([{ "action": "Allow", "protocol": "UDP", "destination": { "ports": ["web"] } }])),
            "named-port-nobody-has spec.ingress[0].destination.ports",
        ),
        (
            "a port that somebody names",
            ingress(
                json!([{ "action": "Allow", "protocol": "TCP", "destination": { "ports": ["web", 22] } }]),
            ),
            "",
        ),
        (
            "a failsafe goes before a denial",
            ingress(json!([{ "action": "Deny", "protocol": "TCP", "destination": { "ports": [22] } }])),
            "failsafe-shadows-deny spec.ingress[0].destination.ports",
        ),
        (
            "a failsafe of another protocol",
            ingress(json!([{ "action": "Deny", "protocol": "UDP", "destination": { "ports": [22] } }])),
            "",
        ),
        (
            "a wide range is no port",
            ingress(
                json!([{ "action": "Deny", "protocol": "TCP", "destination": { "ports": ["1:65535"] } }]),
            ),
            "",
        ),
    ];
    for (why, policy, expected) in cases {
        let found = found(&[endpoint("e", "eth0"), policy], Scope::All);
        assert_eq!(found.join("; "), expected, "{why}");
    }
}

#[test]
fn rules_of_one_list() {
    let rule = |spec: Value| {
        let mut rule = json!({ "action": "Allow" });
        rule.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        rule
    };
    let from = |nets: &[&str]| rule(json!({ "source": { "nets": nets } }));
    let hidden = "unreachable-rule spec.ingress[1]";
    let cases = [
        ("behind everything", json!([rule(json!({})), from(&["10.0.0.0/8"])]), hidden),
        ("behind a larger net", json!([from(&["10.0.0.0/8"]), from(&["10.1.0.0/16"])]), hidden),
        ("before a larger net", json!([from(&["10.1.0.0/16"]), from(&["10.0.0.0/8"])]), ""),
        ("the same again", json!([from(&["10.0.0.0/8"]), from(&["10.0.0.0/8"])]), hidden),
        ("one family of two", json!([from(&["10.0.0.0/8"]), from(&["10.0.0.0/8", "2001:db8::/32"])]), ""),
        ("logging hides nothing", json!([rule(json!({ "action": "Log" })), from(&["10.0.0.0/8"])]), ""),
        (
            "a range hides its ports",
            json!([
                rule(json!({ "protocol": "TCP", "destination": { "ports": ["1:1024"] } })),
                rule(json!({ "protocol": "TCP", "destination": { "ports": [80, 443] } }))
            ]),
            hidden,
        ),
        (
            "a protocol hides no other",
            json!([rule(json!({ "protocol": "TCP" })), rule(json!({ "protocol": "UDP" }))]),
            "",
        ),
        (
            "exclusions of one family leave the other open",
            json!([
                rule(json!({ "ipVersion": 4, "source": { "notNets": ["10.0.0.0/8"] } })),
                rule(json!({ "source": { "notNets": ["10.0.0.0/8", "2001:db8::/32"] } }))
            ]),
            "",
        ),
        (
            "no family in common",
            json!([rule(
                json!({ "source": { "nets": ["10.0.0.0/8"] }, "destination": { "nets": ["2001:db8::/32"] } })
            )]),
            "mixed-families spec.ingress[0].destination.nets",
        ),
        (
            "one family is lost",
            json!([rule(
                json!({ "source": { "nets": ["10.0.0.0/8", "2001:db8::/32"] }, "destination": { "nets": ["10.0.0.0/8"] } })
            )]),
            "mixed-families spec.ingress[0].destination.nets",
        ),
        (
            "an exclusion of one family excludes the other altogether",
            json!([rule(json!({ "source": { "notNets": ["10.0.0.0/8"] } }))]),
            "mixed-families spec.ingress[0].source.notNets",
        ),
        ("one family is meant", json!([from(&["10.0.0.0/8"])]), ""),
        (
            "one family is said",
            json!([rule(json!({ "ipVersion": 4, "source": { "notNets": ["10.0.0.0/8"] } }))]),
            "",
        ),
    ];
    for (why, rules, expected) in cases {
        let found = found(&[endpoint("e", "eth0"), ingress(rules)], Scope::All);
        assert_eq!(found.join("; "), expected, "{why}");
    }
}

#[test]
fn host_endpoints() {
    let both = |ingress: Value, egress: Value| {
        policy(json!({ "types": ["Ingress", "Egress"], "ingress": ingress, "egress": egress }))
    };
    let all = || json!([{ "action": "Allow" }]);
    let loopback = json!([{ "action": "Allow", "source": { "nets": ["127.0.0.0/8", "::1/128"] } }]);
    let mut with_profile = endpoint("e", "*");
    with_profile["spec"]["profiles"] = json!(["projectcalico-default-allow"]);
    let mut missing = endpoint("e", "eth0");
    missing["spec"]["profiles"] = json!(["gone"]);
    let closed = "wildcard-closes-loopback spec.interfaceName";
    let untracked =
        policy(json!({ "doNotTrack": true, "applyOnForward": true, "ingress": [{ "action": "Allow" }] }));
    let cases = [
        ("a wildcard without policy", vec![endpoint("e", "*")], closed),
        ("a wildcard that allows all", vec![endpoint("e", "*"), both(all(), all())], ""),
        ("a wildcard with the profile that allows", vec![with_profile.clone()], ""),
        (
            "ingress only, and the profile for the rest",
            vec![with_profile.clone(), ingress(loopback.clone())],
            "",
        ),
        (
            "ingress that does not name loopback",
            vec![
                with_profile.clone(),
                ingress(json!([{ "action": "Allow", "protocol": "TCP", "destination": { "ports": [80] } }])),
            ],
            closed,
        ),
        (
            "IPv4's loopback alone",
            vec![
                with_profile.clone(),
                ingress(json!([{ "action": "Allow", "source": { "nets": ["127.0.0.0/8"] } }])),
            ],
            closed,
        ),
        ("a named endpoint has no part in loopback", vec![endpoint("e", "eth0")], ""),
        ("a profile that is missing", vec![missing], "missing-profile spec.profiles[0]"),
        (
            "untracked policy on the wildcard",
            vec![with_profile, untracked],
            "wildcard-do-not-track spec.doNotTrack",
        ),
    ];
    for (why, objects, expected) in cases {
        assert_eq!(found(&objects, Scope::All).join("; "), expected, "{why}");
    }
}

#[test]
fn a_node_hears_of_what_concerns_it() {
    let mut elsewhere = endpoint("e", "*");
    elsewhere["spec"]["node"] = json!("other");
    let log = ingress(json!([{ "action": "Log" }]));
    assert_eq!(found(&[elsewhere.clone(), log.clone()], Scope::All).len(), 2);
    assert_eq!(found(&[elsewhere.clone(), log.clone()], Scope::Node("h".into())), Vec::<String>::new());
    assert_eq!(found(&[endpoint("e", "eth0"), log], Scope::Node("h".into())).len(), 1);
    let nobodys = policy(json!({ "selector": "role == 'db'", "ingress": [{ "action": "Allow" }] }));
    assert_eq!(
        found(&[elsewhere, nobodys], Scope::Node("h".into())),
        ["selector-matches-nothing spec.selector"]
    );
}

#[test]
fn findings_of_rules_follow_their_object() {
    let mut linter = Linter::default();
    let mut lint = |objects: &[Value]| {
        let resources = resources(objects);
        let lent = World::profiles(&resources);
        linter.lint(&World::new(&resources, &lent, &Settings::default(), Scope::All)).len()
    };
    let edge = endpoint("e", "eth0");
    assert_eq!(lint(&[edge.clone(), ingress(json!([{ "action": "Log" }]))]), 1);
    assert_eq!(lint(&[edge.clone(), ingress(json!([{ "action": "Allow" }]))]), 0, "it was mended");
    assert_eq!(lint(&[edge]), 0, "it is gone");
}

#[test]
fn a_second_look_at_thousands_of_policies_finds_the_same() {
    let mut objects = vec![endpoint("e", "eth0")];
    for n in 0..1000 {
        let labels = json!({ "app": format!("a{n}"), "zone": format!("z{}", n % 7) });
        objects.push(object("GlobalNetworkSet", &format!("s{n}"), labels, json!({ "nets": ["10.0.0.0/8"] })));
        let rules: Vec<_> = (0..10)
            .map(|r| json!({ "action": "Allow", "protocol": "TCP", "destination": { "ports": [1000 + r] },
                "source": { "selector": format!("app == 'a{}' && has(zone) && x{r} != 'y{n}'", (n + r) % 1100) } }))
            .collect();
        let mut policy = ingress(json!(rules));
        policy["metadata"]["name"] = json!(format!("default.p{n}"));
        objects.push(policy);
    }
    let resources = resources(&objects);
    let (settings, lent) = (Settings::default(), World::profiles(&resources));
    let mut linter = Linter::default();
    for _ in 0..2 {
        let world = World::new(&resources, &lent, &settings, Scope::Node("h".into()));
        // The last policies ask for labels that no set has.
        assert_eq!(linter.lint(&world).len(), 45);
    }
}

/// A packet, as far as the rules below look at one.
type Packet = (Family, u8, u8, u16);

fn a_rule() -> impl Strategy<Value = Rule<SelectorSide>> {
    let nets = || {
        prop::collection::vec((0..2u8, 0..4u8, prop::sample::select(vec![6u8, 7, 8])), 0..3).prop_map(
            |nets| {
                let net = |(family, first, length): (u8, u8, u8)| -> ipnet::IpNet {
                    let text = if family == 0 {
                        format!("{first}.0.0.0/{length}")
                    } else {
                        format!("{first:02x}00::/{length}")
                    };
                    let net: ipnet::IpNet = text.parse().unwrap();
                    net.trunc()
                };
                nets.into_iter().map(net).collect::<Vec<_>>()
            },
        )
    };
    let range =
        (0..6u16, 0..3u16).prop_map(|(first, more)| Port::Range(PortRange { first, last: first + more }));
    let ports = || prop::collection::vec(range.clone(), 0..3);
    let family = prop::sample::select(vec![None, None, Some(Family::V4), Some(Family::V6)]);
    let protocol = || prop::sample::select(vec![None, None, Some(Protocol::TCP), Some(Protocol::UDP)]);
    (nets(), nets(), ports(), ports(), family, protocol(), protocol()).prop_map(
        |(nets, not_nets, ports, not_ports, family, protocol, not_protocol)| Rule {
            index: 0,
            action: Action::Allow,
            family,
            protocol,
            not_protocol,
            icmp: None,
            not_icmp: None,
            source: SelectorSide { nets, not_nets, ..Default::default() },
            destination: SelectorSide { ports, not_ports, ..Default::default() },
        },
    )
}

fn matches(rule: &Rule<SelectorSide>, (family, first, protocol, port): Packet) -> bool {
    let address: std::net::IpAddr = match family {
        Family::V4 => format!("{first}.0.0.1").parse().unwrap(),
        Family::V6 => format!("{first:02x}00::1").parse().unwrap(),
    };
    let side = &rule.source;
    let left_out = |nets: &[ipnet::IpNet]| !nets.is_empty() && nets.iter().all(|n| Family::of(n) != family);
    let within = |nets: &[ipnet::IpNet]| nets.iter().any(|n| n.contains(&address));
    let listed = |ports: &[Port]| {
        ports.iter().any(|p| matches!(p, Port::Range(r) if (r.first..=r.last).contains(&port)))
    };
    let to = &rule.destination;
    rule.family.is_none_or(|f| f == family)
        && !left_out(&side.nets)
        && !left_out(&side.not_nets)
        && (side.nets.is_empty() || within(&side.nets))
        && !within(&side.not_nets)
        && rule.protocol.is_none_or(|p| p.0 == protocol)
        && rule.not_protocol.is_none_or(|p| p.0 != protocol)
        && (to.ports.is_empty() || listed(&to.ports))
        && !listed(&to.not_ports)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_rule_that_is_called_unreachable_never_decides(a in a_rule(), b in a_rule()) {
        if covers(&a, &b) {
            for family in Family::BOTH {
                for (first, protocol, port) in
                    (0..4u8).flat_map(|f| [6u8, 17, 47].into_iter().flat_map(move |p| (0..9u16).map(move |q| (f, p, q))))
                {
                    let packet = (family, first, protocol, port);
                    prop_assert!(matches(&a, packet) || !matches(&b, packet), "{packet:?}");
                }
            }
        }
        prop_assert!(covers(&a, &a));
    }
}
