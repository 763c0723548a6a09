//! From an etcd write to the first packet judged by the new rule, beside many policies of ten rules on one endpoint.

use crate::{
    Scale,
    flood::Flood,
    report::{Goal, Report, Times, millis},
};
use harness::{
    World,
    agent::Datastore,
    load::{self, Rules},
    netlink::{Kind, Netlink},
    resource::{Resource, host_endpoint, policy, rules},
    world::Store,
};
use serde_json::json;
use std::time::{Duration, Instant};

/// The two ports between which the changing policy goes.
pub(crate) const PORTS: [u16; 2] = [6001, 6002];

const ROWS: &[(usize, &str)] =
    &[(10, ""), (100, "286 ms / 76 ms"), (1000, "4.0 s / 583 ms"), (2000, "- / 1,260 ms")];

pub(crate) fn run(scale: Scale, report: &mut Report) {
    for (policies, reference) in ROWS {
        let mut world = world(*policies, Rules::Alike);
        let (latencies, puts) = measure(&mut world, scale.times(200));
        let met = latencies.median() < Duration::from_millis(5)
            && latencies.percentile(99) < Duration::from_millis(20);
        let what = format!("etcd put -> first packet by the new rule, {policies} policies");
        report.add(what, latencies.text(), Goal { reach: "p50 < 5 ms, p99 < 20 ms", reference, met });
        report.note("  of it etcd's own put", puts.text());
        let floor = raw_policy_change(&world, scale);
        let ratio = latencies.median().as_secs_f64() / floor.median().as_secs_f64();
        report.note(
            "  raw commit of one chain's rules",
            format!("{}; all is {ratio:.1} times that", millis(floor.median())),
        );
    }
    let (apart, _) = measure(&mut world(2000, Rules::Apart), scale.times(200));
    report.note("the same, 2000 policies of which each rule is one in the kernel", apart.text());
}

fn world(policies: usize, kind: Rules) -> World {
    let mut world = World::new(Store::Etcd, &[]);
    let mut resources = vec![host_endpoint("a", "eth0").labels("role=web"), allow_udp(PORTS[0])];
    resources.extend(load::policies(policies, kind));
    world.start("", &resources);
    world
}

/// A policy that lets the flood in at one port.
pub(crate) fn allow_udp(port: u16) -> Resource {
    policy("flood", "role == 'web'")
        .set("order", 1)
        .set("types", json!(["Ingress"]))
        .set("ingress", rules(&[&format!("Allow UDP to {port} from 192.0.2.0/24")]))
}

fn measure(world: &mut World, changes: usize) -> (Times, Times) {
    let flood = Flood::start(world.host(), world.peer(), &PORTS);
    let (mut latencies, mut puts) = (Vec::new(), Vec::new());
    for change in 1..=changes {
        let port = PORTS[change % 2];
        flood.aim(port);
        let start = Instant::now();
        match world.datastore() {
            Datastore::Etcd(etcd) => etcd.put(&allow_udp(port)),
            Datastore::Directory(_) => unreachable!("this world was made with an etcd"),
        };
        puts.push(start.elapsed());
        latencies.push(flood.opens(port, start));
        // Each change stands alone: nothing is coalesced with the one before.
        std::thread::sleep(Duration::from_millis(20));
    }
    (Times::new(latencies), Times::new(puts))
}

/// The kernel's own time for one chain of the same ruleset: emptied and written again.
fn raw_policy_change(world: &World, scale: Scale) -> Times {
    let copy = harness::Netns::new();
    let netlink = Netlink::open(&copy);
    let objects = Netlink::open(world.host()).dump("portcullis");
    crate::cold_start::write_in_parts(&netlink, &objects);
    let rules: Vec<_> = objects.into_iter().filter(|object| object.kind == Kind::Rule).collect();
    let chain = rules[rules.len() / 2].text(2);
    let rules: Vec<_> = rules.into_iter().filter(|rule| rule.text(2) == chain).collect();
    let commit = |_| {
        let start = Instant::now();
        netlink.replace_rules(&chain, &rules).expect("the kernel takes what it told");
        start.elapsed()
    };
    Times::new((0..scale.times(50)).map(commit).collect())
}
