//! Values that a real calicoctl stored, and those that it would not have.

use super::*;
use std::collections::BTreeMap;

#[derive(serde::Deserialize)]
struct Entry {
    key: String,
    value: Option<Value>,
    raw: Option<String>,
}

type Fixture = BTreeMap<String, Decoded>;

/// Everything in a fixture that has a key of ours, by what follows the prefix.
fn load(text: &str) -> Fixture {
    let entries: Vec<Entry> = serde_json::from_str(text).unwrap();
    let decoded = entries.iter().filter_map(|entry| {
        let key = ResourceKey::parse(&entry.key)?;
        let stored = entry.raw.clone().or_else(|| Some(entry.value.as_ref()?.to_string())).unwrap();
        let below = entry.key.strip_prefix(crate::key::PREFIX).unwrap().to_owned();
        Some((below, decode(&key, stored.as_bytes())))
    });
    decoded.collect()
}

macro_rules! fixture {
    ($name:literal) => {
        load(include_str!(concat!("../../../fixtures/", $name, ".json")))
    };
}

fn take(fixture: &mut Fixture, below: &str) -> Decoded {
    fixture.remove(below).unwrap_or_else(|| panic!("{below} is in the fixture"))
}

#[test]
fn what_calicoctl_stored_decodes_without_a_problem() {
    let fixtures = [
        fixture!("01-named-interface-profiles"),
        fixture!("02-wildcard-default-allow"),
        fixture!("03-tiers-and-pass"),
        fixture!("04-named-ports"),
        fixture!("05-network-sets"),
        fixture!("06-untracked-prednat-forward"),
        fixture!("07-workload-endpoints"),
        fixture!("08-label-inheritance"),
        fixture!("11-v3.32-storage-and-staged"),
    ];
    for (below, decoded) in fixtures.into_iter().flatten() {
        assert!(decoded.resource.is_ok() && decoded.problems.is_empty(), "{below}: {decoded:?}");
    }
}

#[test]
fn what_calicoctl_accepted_decodes_but_for_what_the_reference_refuses_to_read() {
    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        etcd: Vec<Entry>,
    }
    let golden = include_str!("../../../fixtures/golden-calicoctl-3.29.json");
    let cases: Vec<Case> = serde_json::from_str(golden).unwrap();
    let mut reported = Vec::new();
    for case in cases {
        for entry in &case.etcd {
            let Some(key) = ResourceKey::parse(&entry.key) else { continue };
            let stored = entry.raw.clone().unwrap_or_else(|| entry.value.as_ref().unwrap().to_string());
            let decoded = decode(&key, stored.as_bytes());
            for field in fields(&decoded) {
                reported.push(format!("{} {field}", case.name));
            }
            assert_eq!(decoded.unknown_fields, [""; 0], "{}", case.name);
        }
    }
    // Services of Kubernetes are not in etcd: the reference never matches on them either.
    let services = [
        "gnp/every-rule-field spec.ingress[5].source.services",
        "gnp/every-rule-field spec.egress[0].destination.services",
        "gnp/rule/services-with-ports-on-the-source spec.ingress[0].source.services",
        "np/every-policy-field spec.ingress[1].source.services",
        "np/every-policy-field spec.egress[0].destination.services",
    ];
    assert_eq!(reported, services);
}

#[test]
fn selectors_are_rewritten_as_the_reference_rewrites_them() {
    let mut sets = fixture!("05-network-sets");
    let partners = meant!(take(&mut sets, "globalnetworkpolicies/default.allow-partners"), Policy);
    let sources: Vec<String> =
        partners.ingress.iter().filter_map(|rule| Some(rule.source.selector.as_ref()?.to_string())).collect();
    assert_eq!(
        sources,
        [
            r#"(pcns.tenant == "partners" && partner in {"acme", "globex"})"#,
            "(!has(projectcalico.org/namespace) && has(partner))",
        ]
    );
    let mut pods = fixture!("07-workload-endpoints");
    let hosts = meant!(take(&mut pods, "globalnetworkpolicies/default.host-allow-pods"), Policy);
    let sources: Vec<String> =
        hosts.ingress.iter().filter_map(|rule| Some(rule.source.selector.as_ref()?.to_string())).collect();
    assert_eq!(
        sources,
        [
            r#"(pcns.env == "prod" && app == "cart")"#,
            "has(projectcalico.org/namespace)",
            r#"(has(pcsa.access) && projectcalico.org/serviceaccount in {"frontend", "runner"})"#,
            r#"(!has(projectcalico.org/namespace) && node-role == "worker")"#,
        ]
    );
    let only_pods = meant!(take(&mut pods, "globalnetworkpolicies/default.pods-only-egress"), Policy);
    assert_eq!(only_pods.selector.as_str(), r#"(has(projectcalico.org/namespace) && pcns.env == "dev")"#);
}

#[test]
fn workload_endpoints_lose_borrowed_labels_and_those_without_addresses_are_empty() {
    let mut pods = fixture!("07-workload-endpoints");
    let job = meant!(take(&mut pods, "workloadendpoints/batch/k--2-k8s-job--1-eth0"), WorkloadEndpoint);
    assert_eq!(job.node.as_str(), "k-2");
    assert!(job.labels.keys().all(|key| !key.starts_with("pcns.") && !key.starts_with("pcsa.")));
    assert_eq!(&*job.labels["projectcalico.org/serviceaccount"], "runner");
    assert_eq!(job.interface.as_ref().map(IfName::as_str), Some("cali2c3d4e5f6a7"));
    let pending =
        meant!(take(&mut pods, "workloadendpoints/shop/k--1-k8s-pending--0-eth0"), WorkloadEndpoint);
    assert!(pending.nets.is_empty() && pending.interface.is_none() && pending.ports.is_empty());
    let cart =
        meant!(take(&mut pods, "workloadendpoints/shop/k--1-k8s-cart--7c9d--x1-eth0"), WorkloadEndpoint);
    assert_eq!(cart.ports, [EndpointPort { name: "http".into(), protocol: Protocol::TCP, port: 8080 }]);
}

#[test]
fn categories_and_failsafe_lists_are_decoded() {
    let mut fixture = fixture!("06-untracked-prednat-forward");
    let category = |fixture: &mut Fixture, name: &str| {
        meant!(take(fixture, &format!("globalnetworkpolicies/default.{name}")), Policy).category
    };
    assert_eq!(category(&mut fixture, "ddos-untracked-deny"), Category::Untracked);
    assert_eq!(category(&mut fixture, "prednat-allowlist"), Category::PreDnat);
    assert_eq!(category(&mut fixture, "forward-lan-out"), Category::NormalAndForward);
    assert_eq!(category(&mut fixture, "local-only"), Category::Normal);
    let global = meant!(take(&mut fixture, "felixconfigurations/default"), FelixConfiguration);
    assert_eq!(global.scope, ConfigScope::Global);
    assert_eq!(global.raw["FailsafeInboundHostPorts"], "none", "an empty list is none and not the default");
    let outbound = "tcp:10.60.0.0/24:2379,udp:[2001:db8:53::/64]:53";
    assert_eq!(global.raw["FailsafeOutboundHostPorts"], outbound);
    assert_eq!(global.raw["ChainInsertMode"], "Append");
    assert_eq!(global.raw.get("BPFLogLevel"), None, "an empty text sets nothing");
    let node = meant!(take(&mut fixture, "felixconfigurations/node.router-1"), FelixConfiguration);
    assert_eq!(node.scope, ConfigScope::Host("router-1".into()));
    assert_eq!(node.raw["IptablesRefreshInterval"], "90");
    assert_eq!(node.raw["EndpointReportingDelaySecs"], "2");
    assert_eq!(node.raw["EndpointReportingEnabled"], "true");
}

#[test]
fn every_field_of_a_felix_configuration_becomes_its_parameter() {
    let value = json!({"metadata": {"annotations": {
            "config.projectcalico.org/LogSeverityScreen": "DEBUG",
            "config.projectcalico.org/Unheard": "of",
            "other": "x"}},
        "spec": {"ipv6Support": false, "logSeverityScreen": "Shouting", "ipipMTU": 1400, "xdpEnabled": true,
            "iptablesLockProbeInterval": "50ms", "reportingInterval": "1m30s", "natPortRange": "1:2",
            "netlinkTimeout": "500ms", "usageReportingInterval": "300h", "kubeNodePortRanges": [80, "1:2"], "externalNodesList": ["a", "b"],
            "bpfLogFilters": {"all": "x"}, "routeTableRanges": [{"min": 1, "max": 2}, {"min": 5, "max": 9}],
            "healthTimeoutOverrides": [{"name": "x", "timeout": "5s"}], "iptablesMarkMask": 4_294_901_760_u32,
            "failsafeInboundHostPorts": [{"port": 22}, {"protocol": "TCP", "port": 23, "net": "office,home"},
                {"protocol": "SCTP", "port": 0, "net": "192.0.2.1"}, {"protocol": "x:,y", "port": 1}]}});
    let decoded = decode_at("felixconfigurations/default", &value);
    assert_eq!(fields(&decoded), ["spec.failsafeInboundHostPorts[1].net"]);
    let raw = meant!(decoded, FelixConfiguration).raw;
    let expected = [
        ("ExternalNodesCIDRList", "a,b"),
        ("BPFLogFilters", "all=x,"),
        ("FailsafeInboundHostPorts", ":22,tcp:[office?home]:23,sctp:192.0.2.1:0,x??y:1"),
        ("HealthTimeoutOverrides", "x=5s"),
        ("IpInIpMtu", "1400"),
        ("IptablesLockProbeIntervalMillis", "50"),
        ("IptablesMarkMask", "4294901760"),
        ("Ipv6Support", "false"),
        ("KubeNodePortRanges", "80,1:2"),
        ("LogSeverityScreen", "DEBUG"),
        ("NATPortRange", "1:2"),
        ("NetlinkTimeoutSecs", "0.5"),
        ("ReportingIntervalSecs", "90"),
        ("RouteTableRanges", "1-2,5-9"),
        ("Unheard", "of"),
        ("UsageReportingIntervalSecs", "1.08e+06"),
        ("XDPEnabled", "true"),
    ];
    let expected: BTreeMap<String, String> = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(raw, expected);
}

#[test]
fn the_invalid_and_the_odd_are_read_closed() {
    let mut fixture = fixture!("09-invalid-and-edge");
    let cases = [
        // below the prefix                              outcome, fields reported
        ("hostendpoints/ok-eth0", true, &[][..]),
        ("hostendpoints/numeric-proto", true, &["spec.ports[0]"]),
        ("hostendpoints/iface-too-long", false, &["spec.interfaceName", "spec.interfaceName"]),
        ("hostendpoints/no-node", false, &["spec.node"]),
        ("hostendpoints/no-iface-no-ip", true, &[]),
        ("hostendpoints/bad-ip", true, &["spec.expectedIPs[0]"]),
        ("hostendpoints/long-profile", true, &["spec.profiles[0]"]),
        ("hostendpoints/unknown-field", true, &[]),
        ("hostendpoints/not-json", false, &["value"]),
        ("hostendpoints/empty", false, &["value"]),
        ("globalnetworkpolicies/default.no-types", true, &[]),
        ("globalnetworkpolicies/ghost.policy", true, &[]),
        ("globalnetworkpolicies/default.bad-selector", false, &["spec.selector"]),
        ("globalnetworkpolicies/default.bad-ns-selector", false, &["spec.namespaceSelector"]),
        ("globalnetworkpolicies/default.bad-action", true, &["spec.ingress[0].action"]),
        (
            "globalnetworkpolicies/default.bad-cidr",
            true,
            &["spec.ingress[0].source.nets[0]", "spec.ingress[0].source.nets", "spec.ingress[0]"],
        ),
        ("globalnetworkpolicies/default.bad-port", false, &["spec.ingress[0].destination.ports[0]"]),
        ("globalnetworkpolicies/default.port-no-proto", false, &["spec.ingress[0].destination.ports"]),
        ("globalnetworkpolicies/default.unmasked", true, &[]),
        ("globalnetworkpolicies/default.both-flags", true, &["spec.preDNAT"]),
        (
            "globalnetworkpolicies/default.bad-annotation",
            false,
            &["metadata.annotations[projectcalico.org/metadata]"],
        ),
        ("felixconfigurations/default", true, &[]),
        ("felixconfigurations/other-name", true, &[]),
        ("felixconfigurations/node.bad-1", true, &["spec.failsafeInboundHostPorts[1].net"]),
        ("globalnetworksets/empty-net", true, &["spec.nets[0]"]),
        ("networksets/apps/bad-net", true, &["spec.nets[0]"]),
        ("profiles/bad-ns-selector", true, &["spec.ingress[0].source.namespaceSelector", "spec.ingress[0]"]),
    ];
    for (below, usable, reported) in cases {
        let decoded = take(&mut fixture, below);
        assert_eq!((decoded.resource.is_ok(), fields(&decoded)), (usable, reported.to_vec()), "{below}");
    }
    let left: Vec<&String> = fixture.keys().collect();
    assert_eq!(
        left,
        ["clusterinformations/default", "nodes/bad-1", "tiers/adminnetworkpolicy", "tiers/default"]
    );
}

#[test]
fn what_is_in_force_of_the_invalid_and_the_odd_is_closed() {
    for (below, decoded) in fixture!("09-invalid-and-edge") {
        match (below.as_str(), decoded.resource) {
            ("hostendpoints/numeric-proto" | "hostendpoints/long-profile", Ok(Resource::HostEndpoint(e))) => {
                assert!(!e.valid, "{below}");
            }
            (_, Ok(Resource::HostEndpoint(endpoint))) => assert!(endpoint.valid, "{below}"),
            ("globalnetworkpolicies/default.no-types", Ok(Resource::Policy(policy))) => {
                assert!(policy.ingress_governed && policy.egress_governed);
            }
            ("globalnetworkpolicies/default.bad-cidr", Ok(Resource::Policy(policy))) => {
                assert!(policy.ingress.is_empty(), "an Allow must not widen");
            }
            ("globalnetworkpolicies/default.unmasked", Ok(Resource::Policy(policy))) => {
                assert_eq!(policy.ingress[0].source.nets[0].to_string(), "10.0.0.0/8");
            }
            ("felixconfigurations/other-name", Ok(Resource::FelixConfiguration(config))) => {
                assert_eq!(config.scope, ConfigScope::None);
            }
            ("felixconfigurations/default", Ok(Resource::FelixConfiguration(config))) => {
                assert_eq!(config.raw["LogSeverityScreen"], "DEBUG", "the annotation wins, unchecked");
                assert_eq!(config.raw["InterfacePrefix"], "tap,cali");
            }
            (_, Ok(Resource::NetworkSet(set))) => assert_eq!(set.nets.iter().count(), 1, "{below}"),
            _ => {}
        }
    }
}

#[test]
fn both_generations_of_stored_policies_are_read() {
    let mut new = fixture!("11-v3.32-storage-and-staged");
    assert!(new.keys().all(|below| !below.starts_with("staged")), "staged policies have no key of ours");
    let policies: Vec<String> =
        new.keys().filter(|below| below.starts_with("globalnetworkpolicies/")).cloned().collect();
    let tiers: Vec<String> = policies
        .iter()
        .map(|below| {
            let policy = meant!(take(&mut new, below), Policy);
            format!("{} in {}", policy.id, policy.tier)
        })
        .collect();
    assert_eq!(tiers, ["allow-web in default", "lockdown in security"]);
}
