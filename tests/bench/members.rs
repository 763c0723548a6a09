//! One network set member comes or goes, beside 1k and 200k members of which a quarter are nets.

use crate::{
    Scale,
    flood::Flood,
    latency::PORTS,
    report::{Goal, Report, Times},
};
use harness::{
    World, load,
    resource::{Resource, host_endpoint, policy},
    world::Store,
};
use serde_json::json;
use std::time::{Duration, Instant};

const ROWS: &[(usize, &str)] = &[(1_000, "12.5 ms / 4.9 ms"), (200_000, "8.3 s / 5.7 ms")];

pub(crate) fn run(scale: Scale, report: &mut Report) {
    for (members, reference) in ROWS {
        let mut world = World::new(Store::Etcd, &[]);
        let mut resources =
            vec![host_endpoint("a", "eth0").labels("role=web"), trusting_policy(), peer_set(false)];
        resources.extend(load::network_sets(*members));
        world.start("", &resources);
        let flood = Flood::start(world.host(), world.peer(), &PORTS[..1]);
        let (mut comes, mut goes) = (Vec::new(), Vec::new());
        for _ in 0..scale.times(60) {
            flood.aim(PORTS[0]);
            let start = Instant::now();
            world.datastore().put(&[peer_set(true)]);
            comes.push(flood.opens(PORTS[0], start));
            std::thread::sleep(Duration::from_millis(20));
            let start = Instant::now();
            world.datastore().put(&[peer_set(false)]);
            goes.push(flood.shuts(PORTS[0], start));
        }
        for (verb, times) in [("comes", Times::new(comes)), ("goes", Times::new(goes))] {
            let met = times.median() < Duration::from_millis(4);
            report.add(
                format!("a set member {verb}, beside {members}"),
                times.text(),
                Goal { reach: "p50 < 4 ms", reference, met },
            );
        }
    }
}

/// What is trusted may send to the flood's first port.
pub(crate) fn trusting_policy() -> Resource {
    let rule = json!([{ "action": "Allow", "protocol": "UDP", "source": { "selector": "trusted == 'yes'" },
        "destination": { "ports": [PORTS[0]] } }]);
    policy("trusting", "role == 'web'").set("order", 2).set("types", json!(["Ingress"])).set("ingress", rule)
}

/// A set with the peer in it, or with nothing.
pub(crate) fn peer_set(present: bool) -> Resource {
    let nets = if present { json!(["192.0.2.2/32"]) } else { json!([]) };
    Resource::new("GlobalNetworkSet", "peer", json!({ "nets": nets })).labels("trusted=yes")
}
