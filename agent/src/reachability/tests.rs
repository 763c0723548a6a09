//! Who is cut off, and what is said.

use super::*;
use ipnet::IpNet;
use proto::{
    id::{HostEndpointName, PolicyId, ProfileName},
    rule::{Action, PortRange, Rule, SetSide},
    settings::{Failsafe, Settings},
    update::{Endpoint, InterfaceMatch, Policy, Profile, Tier, TierDefault},
};
use std::sync::Arc;

fn rule(action: Action, net: &str, port: u16) -> Rule<SetSide> {
    let net: IpNet = net.parse().unwrap();
    let destination = SetSide { nets: vec![net], ports: vec![PortRange::single(port)], ..SetSide::default() };
    Rule {
        index: 0,
        action,
        family: None,
        protocol: Some(Protocol::TCP),
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: SetSide::default(),
        destination,
    }
}

/// `eth0` has endpoint `a`, with a policy of these egress rules, in a tier that denies at its end.
fn world(egress: Vec<Rule<SetSide>>, governed: &str) -> World {
    let id = PolicyId::global("default.out");
    let tier = Tier {
        name: "default".into(),
        default_action: TierDefault::Deny,
        ingress: vec![],
        egress: vec![id.clone()],
    };
    let endpoint = Endpoint {
        interface: InterfaceMatch::Named(governed.into()),
        valid: true,
        profiles: vec![ProfileName::from("open")],
        normal: vec![tier],
        forward: vec![],
        untracked: vec![],
        pre_dnat: vec![],
    };
    let policy = Policy { tier: "default".into(), ingress: vec![], egress };
    let profile = Profile { ingress: vec![], egress: vec![] };
    World {
        policies: [(id, Arc::new(policy))].into(),
        profiles: [("open".into(), Arc::new(profile))].into(),
        endpoints: [(HostEndpointName::from("a"), Arc::new(endpoint))].into(),
        governed: [(governed.into(), HostEndpointName::from("a"))].into(),
        ..World::default()
    }
}

fn route(to: &str, link: &str) -> Route {
    Route { to: to.parse().unwrap(), from: "192.0.2.1".parse().unwrap(), link: link.into() }
}

#[test]
fn the_agent_is_cut_off_when_neither_failsafes_nor_policy_let_it_out() {
    let allow = || vec![rule(Action::Allow, "192.0.2.9/32", 443)];
    let away = ["192.0.2.9:443"].as_slice();
    let cases = [
        ("the usual port is a failsafe", world(vec![], "eth0"), ["192.0.2.9:2379"].as_slice(), "eth0", ""),
        ("https is none", world(vec![], "eth0"), away, "eth0", "default action is Deny"),
        ("policy allows it", world(allow(), "eth0"), away, "eth0", ""),
        ("policy allows it elsewhere", world(allow(), "eth0"), &["192.0.2.8:443"], "eth0", "Deny"),
        (
            "policy names it",
            world(vec![rule(Action::Deny, "0.0.0.0/0", 443)], "eth0"),
            away,
            "eth0",
            "policy default.out, egress rule 0: Deny",
        ),
        ("one of several is enough", world(allow(), "eth0"), &["192.0.2.8:443", "192.0.2.9:443"], "eth0", ""),
        ("another link leads there", world(vec![], "eth0"), away, "eth1", ""),
        ("on this host, where lo is open", world(vec![], "eth0"), &["192.0.2.1:443"], "lo", ""),
        ("on this host, where lo is governed", world(vec![], "lo"), &["192.0.2.1:443"], "lo", "Deny"),
        ("nothing is known", world(vec![], "eth0"), &[], "eth0", ""),
    ];
    for (why, world, to, link, said) in cases {
        let routes: Vec<_> = to.iter().map(|to| route(to, link)).collect();
        match cut_off(&world, &routes) {
            Some(finding) => {
                assert!(!said.is_empty() && finding.because.contains(said), "{why}: {finding:?}")
            }
            None => assert_eq!(said, "", "{why}"),
        }
    }
}

#[test]
fn what_mends_it_does() {
    let mut world = world(vec![], "eth0");
    let routes = [route("192.0.2.9:443", "eth0")];
    let finding = cut_off(&world, &routes).unwrap();
    assert_eq!(finding.mend, "add tcp:443 to FailsafeOutboundHostPorts");
    let failsafe = Failsafe { protocol: Protocol::TCP, port: 443, net: None };
    let settings = Settings { failsafe_out: vec![failsafe], ..Settings::default() };
    world.settings = Arc::new(settings);
    assert_eq!(cut_off(&world, &routes), None);
}
