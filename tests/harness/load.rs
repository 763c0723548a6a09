//! Much of everything: policies of ten rules and network sets of many members, for benchmarks. Numbers make names, so that
//! two runs have the same objects.

use crate::resource::{Resource, policy, rules};
use serde_json::json;

/// Rules in each policy.
pub const RULES: usize = 10;
/// Members in each network set: well below etcd's limit of 1.5 MB for a request.
const MEMBERS_PER_SET: usize = 10_000;

/// How the rules of one policy differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// In the port. Their net is the same, so that they are one rule in the kernel.
    Alike,
    /// In ports, of which each has a range, so that each is a rule in the kernel.
    Apart,
}

/// `count` policies of ten rules for endpoints labelled `role=web`. None of them allows anything that a probe
/// asks for; all look at UDP, as the probes of benchmarks do, so that no rule is done with at the protocol.
pub fn policies(count: usize, rules: Rules) -> Vec<Resource> {
    (0..count).map(|number| numbered_policy(number, rules, 0)).collect()
}

/// One of them; another `version` has other ports.
pub fn numbered_policy(number: usize, kind: Rules, version: usize) -> Resource {
    let line = |rule: usize| {
        // Not one behind the other, which would be a range.
        let port = 20_000 + (3 * (number * RULES + rule) + version) % 40_000;
        let last = if kind == Rules::Apart { port + 1 } else { port };
        format!("Allow UDP to {port}:{last} from 10.{}.{}.0/24", number / 250 % 250, number % 250)
    };
    let lines: Vec<String> = (0..RULES).map(line).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    policy(&format!("load-{number:05}"), "role == 'web'")
        .set("order", 100 + number)
        .set("types", json!(["Ingress"]))
        .set("ingress", rules(&lines))
}

/// Network sets labelled `trusted=yes` with `members` members together, a quarter of them real nets.
pub fn network_sets(members: usize) -> Vec<Resource> {
    let numbers: Vec<usize> = (0..members).collect();
    let sets = numbers.chunks(MEMBERS_PER_SET).enumerate();
    sets.map(|(set, members)| {
        let nets: Vec<String> = members.iter().map(|number| member(*number)).collect();
        Resource::new("GlobalNetworkSet", &format!("load-{set:03}"), json!({ "nets": nets }))
            .labels("trusted=yes")
    })
    .collect()
}

/// Distinct and disjoint: hosts in 11.0.0.0/8, nets of eight addresses in 100.64.0.0/10.
fn member(number: usize) -> String {
    if number % 4 == 3 {
        let base = (number / 4) * 8;
        format!("100.{}.{}.{}/29", 64 + (base >> 16), (base >> 8) & 255, base & 255)
    } else {
        format!("11.{}.{}.{}/32", number >> 16, (number >> 8) & 255, number & 255)
    }
}
