//! What one policy change costs on this kernel, beside 1 and beside 2,000 policies of 10 rules on 10 endpoints. Kernels
//! before the linear validation walk a chain once per path that leads to it; this is where that would show.

use harness::{
    Netns, World,
    load::{self, RULES},
    resource::host_endpoint,
    world::Store,
};
use std::time::Duration;

const ENDPOINTS: usize = 10;
const CHANGES: usize = 7;

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
    resources.extend(load::policies(policies));
    world.start("", &resources);
    let mut times: Vec<_> =
        (0..CHANGES).map(|round| world.put(&[load::numbered_policy(policies / 2, 1 + round % 2)])).collect();
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
