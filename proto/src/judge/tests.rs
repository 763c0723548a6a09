//! The hand-offs between stages, and the trail (semantics §2.6.5, §2.9). That all of it is what the kernel should do is
//! `tests/kernel_agrees.rs`'s.

use super::*;
use crate::{
    id::{HostEndpointName, IfName, PolicyId},
    rule::{Action, Family, Protocol, Rule, SetSide},
    update::{Endpoint, InterfaceMatch, Policy, Tier, TierDefault, Workload},
};
use std::sync::Arc;

fn rule(action: Action) -> Rule<SetSide> {
    Rule {
        index: 0,
        action,
        family: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: SetSide::default(),
        destination: SetSide::default(),
    }
}

/// Words like `eth0:pre-dnat=Allow`: an endpoint (of the link, or `*`) whose policy of that category does only this, in
/// both directions. An endpoint without words denies; one of a link `cali…` is a workload's.
fn world(words: &str) -> World {
    let mut world = World::default();
    for word in words.split_whitespace() {
        let (link, policies) = word.split_once(':').unwrap_or((word, ""));
        let mut endpoint = Endpoint {
            interface: InterfaceMatch::All,
            valid: true,
            profiles: vec![],
            normal: vec![],
            forward: vec![],
            untracked: vec![],
            pre_dnat: vec![],
        };
        for policy in policies.split(',').filter(|policy| !policy.is_empty()) {
            let (category, action) = policy.split_once('=').unwrap();
            let action = if action == "Allow" { Action::Allow } else { Action::Deny };
            let id = PolicyId::global(word.to_owned() + category);
            let rules = vec![rule(action)];
            let policy = Policy { tier: "default".into(), ingress: rules.clone(), egress: rules };
            world.policies.insert(id.clone(), Arc::new(policy));
            let early = category == "pre-dnat" || category == "untracked";
            let tier = Tier {
                name: "default".into(),
                default_action: if early { TierDefault::Pass } else { TierDefault::Deny },
                ingress: vec![id.clone()],
                egress: vec![id],
            };
            match category {
                "normal" => endpoint.normal.push(tier),
                "forward" => endpoint.forward.push(tier),
                "untracked" => endpoint.untracked.push(tier),
                _ => endpoint.pre_dnat.push(tier),
            }
        }
        if link.starts_with("cali") {
            let Endpoint { profiles, normal: tiers, .. } = endpoint;
            let workload = Workload { interface: link.into(), profiles, tiers };
            world.workloads.insert(link.into(), Arc::new(workload));
            continue;
        }
        let name = HostEndpointName::from(link);
        world.endpoints.insert(name.clone(), Arc::new(endpoint));
        match link {
            "*" => world.wildcard = Some(name),
            _ => drop(world.governed.insert(IfName::from(link), name)),
        }
    }
    world
}

fn way(word: &str) -> Way {
    match word.split_once('>').unwrap() {
        (link, "") => Way::In(link.into()),
        ("", link) => Way::out(link.into()),
        ("lo", "lo") => Way::Within("lo".into()),
        (from, to) => Way::Through { from: from.into(), to: to.into() },
    }
}

fn packet() -> Packet {
    Packet {
        source: "192.0.2.9".parse().unwrap(),
        destination: "192.0.2.1".parse().unwrap(),
        protocol: Protocol::TCP,
        source_port: 1000,
        destination_port: 80,
        icmp_type: 0,
        icmp_code: 0,
        hop_limit: 64,
        state: CtState::New,
        before_dnat: None,
    }
}

#[test]
fn what_one_stage_says_counts_for_others() {
    let cases = [
        ("an endpoint without policy denies", "eth0", "eth0>", "input"),
        ("what no endpoint governs passes", "eth0", "eth1>", ""),
        ("the wildcard governs the rest", "eth0:normal=Allow *", "eth1>", "input"),
        ("pre-DNAT policy that allows skips the normal one", "eth0:pre-dnat=Allow", "eth0>", ""),
        ("and the incoming side of forwarding", "eth0:pre-dnat=Allow,forward=Deny", "eth0>eth1", ""),
        ("but not the outgoing side", "eth0:pre-dnat=Allow eth1:forward=Deny", "eth0>eth1", "forward-out"),
        ("the wildcard's pre-DNAT policy leaks", "eth0:normal=Allow *:pre-dnat=Deny", "eth0>", "pre-dnat"),
        ("unless the link has its own", "eth0:pre-dnat=Allow *:pre-dnat=Deny", "eth0>", ""),
        ("untracked policy goes before pre-DNAT", "eth0:untracked=Allow,pre-dnat=Deny", "eth0>", ""),
        ("untracked policy on the wildcard is none", "*:untracked=Allow", "eth0>", "input"),
        ("untracked policy works on the way out", "eth0:untracked=Allow", ">eth0", ""),
        ("forwarding is free without policy for it", "eth0:normal=Deny", "eth0>eth1", ""),
        ("to a workload nothing is policed", "*", ">cali1", ""),
        ("from a workload the setting decides", "*:normal=Allow", "cali1>", "input"),
        ("but the wildcard's forward policy does", "*:forward=Deny", "cali1>eth0", "forward-in"),
        ("the wildcard covers lo", "*", "lo>lo", "output"),
        ("a workload without policy may send nothing", "cali1", "cali1>eth0", "forward-from-workload"),
        ("to nobody", "cali1", "cali1>", "input-from-workload"),
        ("nor be sent anything", "cali1", "eth0>cali1", "forward-to-workload"),
        ("but by the host", "cali1", ">cali1", ""),
        ("its policy lets it out", "cali1:normal=Allow", "cali1>eth0", ""),
        ("but not to the host: the setting decides", "cali1:normal=Allow", "cali1>", "input"),
        ("and in", "cali1:normal=Allow", "eth0>cali1", ""),
        ("both ends are asked", "cali1:normal=Allow cali2", "cali1>cali2", "forward-to-workload"),
        ("and host endpoints", "cali1:normal=Allow eth0:forward=Deny", "cali1>eth0", "forward-out"),
        ("a workload's link without endpoint is shut", "cali1", "cali2>eth0", "forward-from-workload"),
        ("both ways", "cali1", "eth0>cali2", "forward-to-workload"),
        (
            "pre-DNAT policy does not skip it",
            "cali1 eth0:pre-dnat=Allow",
            "eth0>cali1",
            "forward-to-workload",
        ),
        ("other links are open", "cali1", "eth0>eth1", ""),
    ];
    for (why, words, route, denied) in cases {
        let world = world(words);
        let trial = Judge::new(&world).judge(&packet(), &way(route));
        let by = match trial.verdict {
            Verdict::Passed => "",
            _ => trial.decisive().unwrap().stage.as_str(),
        };
        assert_eq!(by, denied, "{why}: {trial:#?}");
    }
}

#[test]
fn a_failsafe_goes_before_policy_and_says_so() {
    let world = world("eth0:normal=Deny");
    let ssh = Packet { destination_port: 22, ..packet() };
    let trial = Judge::new(&world).judge(&ssh, &way("eth0>"));
    let Reason::Failsafe { entry, returning: false, .. } = &trial.decisive().unwrap().reason else {
        panic!("{trial:#?}");
    };
    assert_eq!((entry.port, trial.verdict), (22, Verdict::Passed));
}

/// On `lo` a packet comes in with the connection that it got on its way out, and untracked policy comes too late.
#[test]
fn a_connection_is_kept_over_loopback() {
    let mut world = world("lo:untracked=Allow");
    for endpoint in world.endpoints.values_mut() {
        Arc::make_mut(endpoint).untracked[0].egress.clear();
    }
    // What came without a connection would be a tunnel's from nobody known.
    world.encapsulation.vxlan.insert(Family::V4, (80, Vec::new()));
    let before_dnat = Some(("192.0.2.1".parse().unwrap(), 8080));
    let packet = Packet { protocol: Protocol::UDP, state: CtState::Established, before_dnat, ..packet() };
    assert_eq!(Judge::new(&world).judge(&packet, &way("lo>lo")).verdict, Verdict::Passed);
}
