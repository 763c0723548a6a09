//! What a packet of an established connection costs: the rules that it comes to, counted in the interpreter.

use super::{
    interpreter::{Fate, Kernel, Packet},
    packets::{Way, go, way},
    stages::{links, world_with_early, world_with_workload},
    worlds::{packet, world},
};
use crate::ruleset::{Ruleset, ct_state};
use proptest::{collection::vec, prelude::*};
use proto::rule::Protocol;

fn established() -> Packet {
    Packet {
        source: "192.0.2.2".parse().unwrap(),
        destination: "192.0.2.1".parse().unwrap(),
        protocol: Protocol::TCP,
        source_port: 1000,
        destination_port: 443,
        icmp_type: 0,
        icmp_code: 0,
        hop_limit: 64,
        ct_state: ct_state::ESTABLISHED,
        dnat: false,
        original: ("192.0.2.1".parse().unwrap(), 443),
        tracked: true,
        mark: 0,
        iif: None,
        oif: None,
    }
}

fn way_of(words: &str) -> Way {
    match words.split_once(' ').expect("a way and a link") {
        ("in", link) => Way::In(link.into()),
        ("out", link) => Way::Out(link.into(), link.into()),
        (_, link) => Way::Through(link.into(), "eth2".into()),
    }
}

#[test]
fn an_established_packet_meets_one_rule_a_stage() {
    let (neither, pre_dnat, untracked) = ((false, false), (false, true), (true, false));
    let cases = [
        // why, which policy there is beside the normal one, way, rules by base chain
        ("local", neither, "in eth0", "input 1"),
        ("local", neither, "out eth0", "output 1, postrouting 1"),
        ("forwarded", neither, "through eth0", "forward-in 1, forward-out 1, postrouting 1"),
        ("one more", pre_dnat, "in eth0", "input 1, pre-dnat 1"),
        ("none more", pre_dnat, "out eth0", "output 1, postrouting 1"),
        ("one more", pre_dnat, "through eth0", "forward-in 1, forward-out 1, postrouting 1, pre-dnat 1"),
        // Nothing is established yet: the mark, the map, then failsafes and policy of the link's endpoint.
        ("its own cost", untracked, "in eth0", "input 1, untracked-in 12"),
        ("its own cost", untracked, "out eth0", "output 1, postrouting 1, untracked-out 12"),
        ("a link without", untracked, "in eth1", "input 1, untracked-in 2"),
        ("a link without", untracked, "out eth1", "output 1, postrouting 1, untracked-out 2"),
    ];
    for (why, (untracked, pre_dnat), way, expected) in cases {
        let mut renderer = world_with_early(untracked, pre_dnat);
        renderer.set_links(links("eth0=a eth1=b"), Some("w".into()));
        let ruleset = renderer.ruleset();
        assert_eq!(met(&ruleset, way), expected, "{why}: {way}");
    }
}

#[test]
fn policy_of_workloads_adds_one_rule_a_stage() {
    let mut renderer = world_with_workload();
    renderer.set_links(links("eth0=a"), None);
    let ruleset = renderer.ruleset();
    let forwarded =
        "forward-from-workload 1, forward-in 1, forward-out 1, forward-to-workload 1, postrouting 1";
    let cases = [
        ("in eth0", "input 1, input-from-workload 1"),
        ("out eth0", "output 1, postrouting 1"),
        ("through eth0", forwarded),
        ("through cali1", forwarded),
    ];
    for (way, expected) in cases {
        assert_eq!(met(&ruleset, way), expected, "{way}");
    }
}

/// How many rules of which base chains it comes to.
fn met(ruleset: &Ruleset, way: &str) -> String {
    let mut kernel = Kernel::new(ruleset);
    assert_eq!(go(&mut kernel, &mut established(), &way_of(way)), Fate::Passed, "{way}");
    let met: Vec<_> = kernel.met.iter().map(|(chain, rules)| format!("{chain} {rules}")).collect();
    met.join(", ")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is configured; but for IPIP, of which each packet is judged.
    #[test]
    fn no_world_costs_an_established_packet_more(world in world(), packets in vec((packet(), way()), 20)) {
        let ruleset = world.renderer().ruleset();
        for (packet, way) in packets.into_iter().filter(|(packet, _)| packet.protocol != Protocol(4)) {
            // `tracked`: not one that untracked policy takes out of its connection.
            let mut packet = Packet { ct_state: ct_state::ESTABLISHED, tracked: true, ..packet };
            let mut kernel = Kernel::new(&ruleset);
            go(&mut kernel, &mut packet, &way);
            kernel.met.retain(|chain, _| !chain.starts_with("untracked"));
            prop_assert!(kernel.met.values().all(|rules| *rules == 1), "{:?}: {:?}", way, kernel.met);
            let most = match way {
                Way::In(_) => 1,
                Way::Out(..) => 2,
                Way::Through(..) | Way::Within(_) => 3,
            };
            let pre_dnat = usize::from(kernel.met.contains_key("pre-dnat"));
            let of_workloads = kernel.met.keys().filter(|chain| chain.contains("-workload")).count();
            prop_assert!(of_workloads == 0 || !world.workloads.is_empty());
            prop_assert!(kernel.met.len() <= most + pre_dnat + of_workloads, "{:?}: {:?}", way, kernel.met);
        }
    }
}
