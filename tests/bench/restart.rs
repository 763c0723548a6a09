//! A restart with nothing changed: how many commits, how many packets lost, how long until ready.

use crate::{
    Scale,
    flood::Flood,
    latency::{PORTS, allow_udp},
    report::{Goal, Report, Times},
};
use harness::{World, load, resource::host_endpoint, world::Store};
use std::time::{Duration, Instant};

pub(crate) fn run(scale: Scale, report: &mut Report) {
    let mut world = World::new(Store::Etcd, &["192.0.2.1:80"]);
    let mut resources = vec![host_endpoint("a", "eth0").labels("role=web"), allow_udp(PORTS[0])];
    resources.extend(load::policies(1000, load::Rules::Alike));
    resources.extend(load::network_sets(10_000));
    resources.push(crate::members::trusting_policy());
    world.start("", &resources);
    let flood = Flood::start(world.host(), world.peer(), &PORTS);
    let before = world.host().generation();
    let (mut ready, mut let_through) = (Vec::new(), 0);
    for _ in 0..scale.times(10) {
        world.agent().stop();
        flood.aim(PORTS[1]);
        let start = Instant::now();
        world.agent().start_again();
        ready.push(start.elapsed());
        // Port 6002 is denied: whatever arrives there was let through.
        let passed = flood.shuts(PORTS[1], Instant::now());
        let_through += u32::from(passed > Duration::ZERO);
        flood.aim(PORTS[0]);
        flood.opens(PORTS[0], Instant::now());
    }
    let commits = world.host().generation() - before;
    let text = format!("{commits} commits, {let_through} leaks");
    report.add(
        "restart with nothing changed, 1,000 policies",
        text,
        Goal { reach: "no commit", reference: "2 commits / none", met: commits + let_through == 0 },
    );
    report.note("  from exec to ready", Times::new(ready).text());
}
