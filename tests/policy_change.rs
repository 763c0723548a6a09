//! What one policy change costs on this kernel, beside 1 and beside 2,000 policies of 10 rules on 10 endpoints. Kernels
//! before the linear validation walk a chain once per path that leads to it; this is where that would show.

use harness::{
    Netns, World,
    load::{self, RULES, Rules},
    netlink::{Kind, Netlink},
    resource::host_endpoint,
    world::Store,
};
use std::{
    fmt,
    time::{Duration, Instant},
};

const ENDPOINTS: usize = 10;
const CHANGES: usize = 7;

/// Medians of a change to one policy.
struct Cost {
    /// From the write to etcd to the kernel's new generation, which is when the rules count.
    put: Duration,
    /// The kernel's part: the policy's chain emptied and written again, with nothing of the agent in it.
    kernel: Duration,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1?} ({:.1?} of it the kernel's commit)", self.put, self.kernel)
    }
}

/// What a change costs with `policies` in force on each of the endpoints.
fn cost(policies: usize) -> Cost {
    let mut world = World::new(Store::Etcd, &[]);
    let others = Netns::new();
    let mut resources = Vec::new();
    for number in 1..=ENDPOINTS {
        let link = format!("web{number}");
        world.host().veth(&link, &format!("203.0.113.{number}/32"), &others, "");
        resources.push(host_endpoint(&format!("e{number}"), &link).labels("role=web"));
    }
    resources.extend(load::policies(policies, Rules::Apart));
    world.start("", &resources);
    let kernel = Netlink::open(world.host());
    let changed = policies / 2;
    let put = median(|round| {
        let (before, start) = (kernel.generation(), Instant::now());
        world.datastore().put(&[load::numbered_policy(changed, Rules::Apart, 1 + round % 2)]);
        // By settle's deadline at the latest: what is not enforced by then fails there.
        while kernel.generation() == before && start.elapsed() < harness::patience(Duration::from_secs(10)) {
            std::thread::sleep(Duration::from_micros(200));
        }
        let took = start.elapsed();
        world.settle();
        took
    });
    // It would undo what is not its own doing.
    world.agent().stop();
    let name = load::numbered_policy(changed, Rules::Apart, 0).name();
    let rules: Vec<_> = kernel.dump("portcullis").into_iter().filter(|o| o.kind == Kind::Rule).collect();
    let chain = rules.iter().map(|rule| rule.text(2)).find(|chain| chain.contains(&name));
    let chain = chain.expect("a policy in force has a chain that is named after it");
    let rules: Vec<_> = rules.into_iter().filter(|rule| rule.text(2) == chain).collect();
    assert_eq!(rules.len(), RULES, "{chain}");
    let kernel = median(|_| {
        let start = Instant::now();
        kernel.replace_rules(&chain, &rules).expect("the kernel takes what it told");
        start.elapsed()
    });
    Cost { put, kernel }
}

fn median(once: impl FnMut(usize) -> Duration) -> Duration {
    let mut times: Vec<_> = (0..CHANGES).map(once).collect();
    times.sort();
    times[CHANGES / 2]
}

#[test]
fn a_policy_change_does_not_explode_with_the_number_of_policies() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let (few, many) = (cost(1), cost(2000));
    println!(
        "kernel {}: one policy change, {ENDPOINTS} endpoints x N policies x {RULES} rules: {few} at 1, {many} at 2000",
        release.trim()
    );
    let limit = harness::patience(Duration::from_secs(1)) + few.put;
    assert!(many.put < limit, "{many} beside {few}");
}
