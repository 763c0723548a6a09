//! The first endpoint of a host cuts nothing that is open: connection tracking is on from the first in-sync.

use harness::{Open, Silent, World, resource::host_endpoint, world::Store};

const WEB: &str = "192.0.2.1:80";

#[test]
fn connections_that_are_open_when_the_first_endpoint_arrives_live_on() {
    let mut world = World::new(Store::Directory, &[WEB]);
    world.control(&[WEB]);
    let mut older_than_the_agent = world.peer().connect(WEB);
    assert!(older_than_the_agent.lives());
    world.start_bare("");
    let mut younger = world.peer().connect(WEB);
    assert!(younger.lives());
    assert!(older_than_the_agent.lives(), "an exchange after the start lets the kernel learn of it");

    world.datastore().put(&[host_endpoint("a", "eth0")]);
    world.becomes(WEB, Silent);
    assert!(younger.lives(), "known to connection tracking from its first packet");
    assert!(older_than_the_agent.lives(), "known from its first exchange after the start");
}

#[test]
fn an_agent_without_endpoints_lets_everything_pass() {
    let mut world = World::new(Store::Directory, &[WEB]);
    world.start_bare("");
    world.expect(&[("no endpoint, no policy", WEB, Open), ("nor for this", "icmp 192.0.2.1", Open)]);
}
