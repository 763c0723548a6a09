//! What one policy change costs on this kernel, beside 1 and beside 2,000 policies of 10 rules on 10 endpoints. Kernels
//! before the linear validation walk a chain once per path that leads to it; this is where that would show.

use harness::{
    Netns, World,
    resource::{Resource, host_endpoint, policy, rules},
    world::Store,
};
use std::time::Duration;

const ENDPOINTS: usize = 10;
const RULES: usize = 10;
const CHANGES: usize = 7;

fn filler(number: usize, changed: bool) -> Resource {
    let base = if changed { 20_000 } else { 10_000 };
    let lines: Vec<String> = (0..RULES)
        .map(|rule| {
            let net = format!("10.{}.{}.0/24", number / 250, number % 250);
            format!("Allow TCP to {} from {net}", base + (number * RULES + rule) % 9000)
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    policy(&format!("filler-{number:04}"), "role == 'web'")
        .set("order", 100 + number)
        .set("ingress", rules(&lines))
}

/// Times of changes to one policy, sorted, with `policies` in force on each of the endpoints.
fn changes(policies: usize) -> Vec<Duration> {
    let mut world = World::new(Store::Directory, &[]);
    let others = Netns::new();
    let mut resources = Vec::new();
    for number in 1..=ENDPOINTS {
        let link = format!("web{number}");
        world.host().veth(&link, &format!("203.0.113.{number}/32"), &others, "");
        resources.push(host_endpoint(&format!("e{number}"), &link).labels("role=web"));
    }
    resources.extend((0..policies).map(|number| filler(number, false)));
    world.start("", &resources);
    let mut times: Vec<_> =
        (0..CHANGES).map(|round| world.put(&[filler(policies / 2, round % 2 == 0)])).collect();
    times.sort();
    times
}

#[test]
fn a_policy_change_does_not_explode_with_the_number_of_policies() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let (few, many) = (changes(1), changes(2000));
    println!(
        "kernel {}: one policy change, {ENDPOINTS} endpoints x N policies x {RULES} rules, with the 100 ms of quiet that a \
         directory waits: median {:?} at 1, {:?} at 2000 (worst {:?})",
        release.trim(),
        few[CHANGES / 2],
        many[CHANGES / 2],
        many[CHANGES - 1]
    );
    let limit = harness::patience(Duration::from_secs(1)) + few[CHANGES / 2];
    assert!(many[CHANGES / 2] < limit, "{many:?} beside {few:?}");
}
