//! What is wrong is reported, and what can be read of the rest is in force (D1, D2, D15).

use super::*;
use crate::rule::{Action, Family, Port, PortRange};

/// The rules of a policy with one ingress rule, or the field of the error.
fn rule(rule: Value) -> Result<Vec<Rule<SelectorSide>>, String> {
    let decoded = policy(json!({"ingress": [rule], "types": ["Ingress"]}));
    match decoded.resource {
        Ok(Resource::Policy(policy)) => Ok(policy.ingress),
        Ok(other) => panic!("expected a policy, found {other:?}"),
        Err(problem) => Err(problem.field),
    }
}

#[test]
fn an_invalid_host_endpoint_stays_in_force_as_far_as_it_can_be_read() {
    let cases = [
        // why                                       beside node and interface                          field of the problem
        (
            "a numeric protocol",
            json!({"ports": [{"name": "web", "protocol": 6, "port": 80}]}),
            "spec.ports[0]",
        ),
        ("no protocol", json!({"ports": [{"name": "web", "port": 80}]}), "spec.ports[0]"),
        ("port 0", json!({"ports": [{"name": "web", "protocol": "TCP", "port": 0}]}), "spec.ports[0]"),
        (
            "a port that is none",
            json!({"ports": [{"name": "web", "protocol": "TCP", "port": 70000}]}),
            "spec.ports[0].port",
        ),
        ("a profile name with a slash", json!({"profiles": ["a/b"]}), "spec.profiles[0]"),
        ("a profile that is no text", json!({"profiles": [1]}), "spec.profiles[0]"),
        ("profiles that are no list", json!({"profiles": "p"}), "spec.profiles"),
        ("addresses that are no list", json!({"expectedIPs": "192.0.2.1"}), "spec.expectedIPs"),
    ];
    for (why, mut spec, field) in cases {
        spec["node"] = "n".into();
        spec["interfaceName"] = "eth0".into();
        let decoded = host_endpoint(spec);
        assert_eq!(fields(&decoded), [field], "{why}");
        let endpoint = meant!(decoded, HostEndpoint);
        assert!(!endpoint.valid, "{why}");
        assert_eq!(endpoint.interface, Some(InterfaceMatch::Named("eth0".into())), "{why}");
        assert!(endpoint.ports.is_empty(), "{why}");
    }
}

#[test]
fn an_invalid_host_endpoint_keeps_what_is_valid() {
    let value = json!({
        "metadata": {"labels": {"role": "web", "ends": "in-", "also": "fine"}},
        "spec": {"node": "n", "expectedIPs": ["192.0.2.1", "::ffff:192.0.2.2"], "profiles": ["p", "a b"],
            "ports": [{"name": "dns", "protocol": "udp", "port": 53}, {"name": "x", "protocol": "ICMP", "port": 1}]},
    });
    let decoded = decode_at("hostendpoints/a", &value);
    assert_eq!(fields(&decoded), ["metadata.labels[ends]", "spec.profiles[1]", "spec.ports[1]"]);
    let endpoint = meant!(decoded, HostEndpoint);
    assert!(!endpoint.valid);
    assert_eq!(endpoint.labels.keys().map(|key| &**key).collect::<Vec<_>>(), ["also", "role"]);
    let addresses: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
    assert_eq!(endpoint.interface, Some(InterfaceMatch::Address(addresses.clone())));
    assert_eq!(endpoint.expected_ips, addresses);
    let profiles: Vec<&str> = endpoint.profiles.iter().map(ProfileName::as_str).collect();
    assert_eq!(profiles, ["p", "/a b"], "an invalid name keeps its place as one that no profile can have");
    assert_eq!(endpoint.ports, [EndpointPort { name: "dns".into(), protocol: Protocol::UDP, port: 53 }]);
}

#[test]
fn a_host_endpoint_claims_what_can_be_known_of_its_interface() {
    let named = |name: &str| Ok(Some(InterfaceMatch::Named(name.into())));
    let address = Ok(Some(InterfaceMatch::Address(vec!["192.0.2.1".parse().unwrap()])));
    let cases = [
        // why                                    spec                                                    claim, valid
        ("by name", json!({"interfaceName": "eth0"}), named("eth0"), true),
        (
            "a name silences the addresses",
            json!({"interfaceName": "eth0", "expectedIPs": ["192.0.2.1"]}),
            named("eth0"),
            true,
        ),
        ("by address", json!({"expectedIPs": ["192.0.2.1"]}), address.clone(), true),
        (
            "a bad address beside a good one",
            json!({"expectedIPs": ["192.0.2.300", "192.0.2.1"]}),
            address.clone(),
            true,
        ),
        ("the wildcard", json!({"interfaceName": "*"}), Ok(Some(InterfaceMatch::All)), true),
        ("nothing", json!({}), Ok(None), true),
        (
            "a name that Calico does not take but the kernel does",
            json!({"interfaceName": "tun+0"}),
            named("tun+0"),
            false,
        ),
        (
            "a name that no link has: the addresses tell",
            json!({"interfaceName": "averyverylongname0", "expectedIPs": ["192.0.2.1"]}),
            address.clone(),
            false,
        ),
        (
            "a name that is no text: the addresses tell",
            json!({"interfaceName": 5, "expectedIPs": ["192.0.2.1"]}),
            address,
            false,
        ),
        (
            "a name that no link has",
            json!({"interfaceName": "averyverylongname0"}),
            Err("spec.interfaceName"),
            false,
        ),
        ("addresses that are none", json!({"expectedIPs": ["x"]}), Err("spec.expectedIPs"), false),
        ("a name that is no text", json!({"interfaceName": 5}), Err("spec.interfaceName"), false),
    ];
    for (why, mut spec, claim, valid) in cases {
        spec["node"] = "n".into();
        match (host_endpoint(spec).resource, claim) {
            (Ok(Resource::HostEndpoint(endpoint)), Ok(claim)) => {
                assert_eq!((endpoint.interface, endpoint.valid), (claim, valid), "{why}");
            }
            (Err(problem), Err(field)) => assert_eq!(problem.field, field, "{why}"),
            (found, _) => panic!("{why}: {found:?}"),
        }
    }
    assert_eq!(fields(&host_endpoint(json!({"interfaceName": "eth0"}))), ["spec.node"], "nobody's endpoint");
    assert_eq!(fields(&host_endpoint(json!({"node": 5, "interfaceName": "eth0"}))), ["spec.node"]);
}

#[test]
fn a_rule_with_a_part_that_nobody_understands_never_matches_unless_it_denies() {
    let parts = [
        // why                                   part of the rule
        ("no net is a net", json!({"source": {"nets": ["10.0.0.0/33"]}})),
        ("the empty text is no net", json!({"destination": {"nets": [""]}})),
        ("an exception is lost", json!({"source": {"notNets": ["10.0.0.0/8", "x"]}})),
        ("a namespace term", json!({"source": {"namespaceSelector": "name 'x'"}})),
        ("a service account term", json!({"destination": {"serviceAccounts": {"selector": "a = 'b'"}}})),
        (
            "a service account that breaks the text",
            json!({"source": {"serviceAccounts": {"names": ["a'b"]}}}),
        ),
        ("a code without a type", json!({"icmp": {"code": 1}})),
    ];
    for (why, part) in parts {
        for (action, in_force) in [("Allow", 0), ("Pass", 0), ("Log", 0), ("Deny", 1)] {
            let mut stored = part.clone();
            stored["action"] = action.into();
            let decoded = policy(json!({"ingress": [stored]}));
            assert!(decoded.problems.len() >= 2, "{why}: {:?}", decoded.problems);
            let rules = meant!(decoded, Policy).ingress;
            assert_eq!(rules.len(), in_force, "{why}: {action}");
            if let [deny] = &rules[..] {
                assert!(deny.source.nets.is_empty() && deny.source.selector.is_none(), "{why}");
            }
        }
    }
}

#[test]
fn what_is_left_of_a_list_of_nets_still_counts() {
    let allow = rule(json!({"action": "Allow", "source": {"nets": ["x", "10.1.2.3/8", "::ffff:192.0.2.1"]}}))
        .unwrap();
    let nets: Vec<String> = allow[0].source.nets.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["10.0.0.0/8", "192.0.2.1/32"], "masked, and mapped is IPv4");
    let decoded = policy(
        json!({"ingress": [{"action": "Allow"}, {"action": "Allow", "source": {"nets": ["x", "10.0.0.0/8"]}}]}),
    );
    assert_eq!(fields(&decoded), ["spec.ingress[1].source.nets[0]"]);
    assert_eq!(
        decoded.problems[0].to_string(),
        "GlobalNetworkPolicy default.p: spec.ingress[1].source.nets[0]: `x` is not an address such as 192.0.2.1 or 2001:db8::1"
    );
}

#[test]
fn what_the_reference_refuses_to_read_is_an_error_of_the_whole_policy() {
    let cases = [
        // why                                  rule                                                           field below the rule
        ("ports without a protocol", json!({"destination": {"ports": [80]}}), "destination.ports"),
        (
            "ports with one that has none",
            json!({"protocol": "ICMP", "source": {"notPorts": [80]}}),
            "source.notPorts",
        ),
        (
            "UDPLite has none for Calico",
            json!({"protocol": "UDPLite", "source": {"ports": [80]}}),
            "source.ports",
        ),
        ("port 0", json!({"protocol": "TCP", "destination": {"ports": [80, "0:5"]}}), "destination.ports[1]"),
        ("protocol 0", json!({"protocol": 0}), "protocol"),
        ("an unknown protocol", json!({"notProtocol": "GRE"}), "notProtocol"),
        ("a family that is none", json!({"ipVersion": 5}), "ipVersion"),
        ("an ICMP type above 254", json!({"protocol": "ICMP", "icmp": {"type": 255}}), "icmp.type"),
        ("an ICMP code above 255", json!({"notICMP": {"type": 1, "code": 256}}), "notICMP.code"),
        ("a selector", json!({"source": {"selector": "a = 'b'"}}), "source.selector"),
        (
            "a negative selector",
            json!({"destination": {"notSelector": "a = 'b'"}}),
            "destination.notSelector",
        ),
        (
            "a selector that breaks out",
            json!({"source": {"selector": "has(a)) || (has(b)"}}),
            "source.selector",
        ),
        (
            "a port above 65535",
            json!({"protocol": "TCP", "destination": {"ports": [70000]}}),
            "destination.ports[0]",
        ),
        (
            "a port range upside down",
            json!({"protocol": "TCP", "destination": {"ports": ["2:1"]}}),
            "destination.ports[0]",
        ),
    ];
    for (why, mut stored, field) in cases {
        stored["action"] = "Deny".into();
        assert_eq!(rule(stored), Err(format!("spec.ingress[0].{field}")), "{why}");
    }
}

#[test]
fn actions_are_read_as_the_reference_folds_them() {
    let cases = [
        ("Allow", Some(Action::Allow)),
        ("Deny", Some(Action::Deny)),
        ("Log", Some(Action::Log)),
        ("Pass", Some(Action::Pass)),
        ("deny", Some(Action::Deny)),
        ("next-tier", Some(Action::Pass)),
        ("pass", None),
        ("Permit", None),
        ("", Some(Action::Allow)),
    ];
    for (spelled, expected) in cases {
        let rules = rule(json!({"action": spelled})).unwrap();
        assert_eq!(rules.first().map(|rule| rule.action), expected, "{spelled}");
    }
    let gap = policy(json!({"ingress": [{"action": "Permit"}, {"action": "Deny"}]}));
    assert_eq!(fields(&gap), ["spec.ingress[0].action"]);
    assert_eq!(meant!(gap, Policy).ingress[0].index, 1, "a rule keeps the position by which people know it");
}

#[test]
fn families_follow_from_names_of_protocols_and_from_exceptions() {
    let (v4, v6) = (Some(Family::V4), Some(Family::V6));
    let cases = [
        // why                                     rule                                             family; None: no rule
        ("nothing said", json!({}), Some(None)),
        ("ipVersion", json!({"ipVersion": 6}), Some(v6)),
        ("the name ICMP", json!({"protocol": "ICMP"}), Some(v4)),
        ("the name ICMPv6, in any case", json!({"protocol": "icmpV6"}), Some(v6)),
        ("numbers imply nothing", json!({"protocol": 1}), Some(None)),
        ("numbers in text are numbers", json!({"protocol": "58"}), Some(None)),
        ("ipVersion wins over the name", json!({"protocol": "ICMP", "ipVersion": 6}), Some(v6)),
        ("a negation implies nothing", json!({"notProtocol": "ICMP"}), Some(None)),
        ("all of IPv4 excepted", json!({"source": {"notNets": ["0.0.0.0/0", "2001:db8::/32"]}}), Some(v6)),
        (
            "all of IPv4 excepted and nothing said of IPv6",
            json!({"source": {"notNets": ["0.0.0.0/0"]}}),
            None,
        ),
        (
            "all excepted",
            json!({"source": {"notNets": ["0::/0"]}, "destination": {"notNets": ["0.0.0.0/0"]}}),
            None,
        ),
        (
            "all of the rule's family excepted",
            json!({"ipVersion": 6, "source": {"notNets": ["::/0", "10.0.0.0/8"]}}),
            None,
        ),
    ];
    for (why, mut stored, expected) in cases {
        stored["action"] = "Deny".into();
        let rules = rule(stored).unwrap();
        assert_eq!(rules.first().map(|rule| rule.family), expected, "{why}");
        let excepted = rules.iter().flat_map(|rule| &rule.source.not_nets);
        assert!(excepted.into_iter().all(|net| net.prefix_len() > 0), "{why}");
    }
}

#[test]
fn a_rule_in_full_is_decoded_in_full() {
    let stored = json!({
        "action": "Allow", "protocol": "TCP", "notProtocol": 17, "http": {"methods": ["GET"]},
        "source": {"selector": "role == 'client'", "notSelector": "has(q)", "ports": [1024, "2000:3000"]},
        "destination": {"notSelector": "has(q)", "ports": ["https"], "notPorts": ["81:81"]},
    });
    let [rule] = &rule(stored).unwrap()[..] else { panic!("one rule") };
    assert_eq!((rule.protocol, rule.not_protocol), (Some(Protocol::TCP), Some(Protocol::UDP)));
    assert_eq!(rule.source.selector.as_ref().unwrap().as_str(), r#"(role == "client" && !has(q))"#);
    assert_eq!(rule.source.not_selector, None);
    assert_eq!(rule.destination.not_selector.as_ref().unwrap().as_str(), "has(q)");
    let range = |first, last| Port::Range(PortRange { first, last });
    assert_eq!(rule.source.ports, [range(1024, 1024), range(2000, 3000)]);
    assert_eq!(rule.destination.ports, [Port::Named("https".into())]);
    assert_eq!(rule.destination.not_ports, [range(81, 81)]);
}

#[test]
fn a_policy_governs_what_its_types_say_and_runs_where_its_flags_say() {
    let cases = [
        // why                            spec                                              ingress egress  category
        ("no types: both", json!({}), (true, true, Category::Normal)),
        ("in any case", json!({"types": ["ingress"]}), (true, false, Category::Normal)),
        (
            "both",
            json!({"types": ["Ingress", "Egress"], "applyOnForward": true}),
            (true, true, Category::NormalAndForward),
        ),
        ("unknown types govern nothing", json!({"types": ["Sideways"]}), (false, false, Category::Normal)),
        ("pre-DNAT never governs egress", json!({"preDNAT": true}), (true, false, Category::PreDnat)),
        (
            "of both flags doNotTrack wins",
            json!({"preDNAT": true, "doNotTrack": true}),
            (true, true, Category::Untracked),
        ),
    ];
    for (why, spec, expected) in cases {
        let policy = meant!(policy(spec), Policy);
        assert_eq!((policy.ingress_governed, policy.egress_governed, policy.category), expected, "{why}");
    }
}

#[test]
fn a_profile_lends_all_its_labels_or_none_and_keeps_its_rules() {
    let profile = |name: &str, labels: Value| {
        let spec = json!({"ingress": [{"action": "Allow"}], "labelsToApply": labels});
        decode_at(&format!("profiles/{name}"), &json!({"spec": spec}))
    };
    let good = meant!(profile("p", json!({"pcns.projectcalico.org/name": "shop", "e": ""})), Profile);
    assert_eq!((good.labels_to_apply.len(), good.ingress.len(), good.egress.len()), (2, 1, 0));
    let bad = profile("p", json!({"good": "1", "Bad/x": "1"}));
    assert_eq!(fields(&bad), ["spec.labelsToApply[Bad/x]"]);
    let bad = meant!(bad, Profile);
    assert_eq!((bad.labels_to_apply.len(), bad.ingress.len()), (0, 1));
    let built_in = profile(ProfileName::DEFAULT_ALLOW, json!({"a": "b"}));
    assert_eq!(
        meant!(built_in, Profile),
        ProfileSpec::default_allow(),
        "what is stored under its name is ignored"
    );
}

#[test]
fn an_annotation_that_clients_cannot_read_is_an_error() {
    let annotated = |text: &str| {
        let metadata = json!({"annotations": {"projectcalico.org/metadata": text}});
        decode_at("networkpolicies/shop/default.p", &json!({"metadata": metadata, "spec": {}})).resource
    };
    assert!(annotated("{\"name\":\"p\"}").is_ok());
    assert!(annotated("junk").is_err());
    assert!(annotated("5").is_err());
}

#[test]
fn equal_keys_are_no_error_and_the_last_one_counts() {
    let key = ResourceKey::parse("/calico/resources/v3/projectcalico.org/tiers/t").unwrap();
    let tier = meant!(decode(&key, br#"{"spec":{"order":1,"order":2,"defaultAction":"Pass"}}"#), Tier);
    assert_eq!((tier.order, tier.default_action), (Some(2.0), TierDefault::Pass));
    assert_eq!(fields(&decode(&key, br#"{"spec":{"order":"1"}}"#)), ["spec.order"]);
    assert_eq!(fields(&decode(&key, b"")), ["value"]);
    assert_eq!(fields(&decode(&key, b"{} x")), ["value"]);
}

#[test]
fn an_unknown_field_is_one_path_in_whichever_entry_of_a_list() {
    let key = ResourceKey::parse("/calico/resources/v3/projectcalico.org/globalnetworkpolicies/p").unwrap();
    let rules = r#"[{"action":"Deny","later":1},{"action":"Deny","source":{"later":[{}]}}]"#;
    let unknown = decode(&key, format!(r#"{{"spec":{{"egress":{rules}}},"status":{{"a":1}}}}"#).as_bytes());
    let found = unknown.unknown_fields;
    assert_eq!(found, ["spec.egress[].later", "spec.egress[].source.later", "status"]);
}

#[test]
fn a_list_in_place_of_an_object_is_an_error_and_not_filled_in_by_position() {
    let rule = json!({"ingress": [["Allow"]], "types": ["Ingress"]});
    assert!(policy(rule).resource.is_err(), "it would allow everything");
    for (path, value) in [("tiers/a", json!([])), ("tiers/a", json!({"spec": [1, "Pass"]}))] {
        assert!(decode_at(path, &value).resource.is_err(), "{value}");
    }
}
