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

#[test]
fn an_agent_that_turns_tracking_on_says_what_that_means_once() {
    let warnings =
        |world: &mut World| world.agent().log().matches("the kernel knew of no connection").count();
    let mut world = World::new(Store::Directory, &[WEB]);
    world.start_bare("");
    assert_eq!(warnings(&mut world), 1, "{}", world.agent().log());
    world.agent().stop();
    world.agent().start_again();
    assert_eq!(warnings(&mut world), 1, "the table is there, and tracking on: {}", world.agent().log());

    let mut tracked = World::new(Store::Directory, &[WEB]);
    tracked
        .host()
        .nft("table inet another { chain c { type filter hook input priority 0; ct state new accept; }; }");
    let mut known = tracked.peer().connect(WEB);
    assert!(known.lives());
    tracked.start_bare("");
    assert_eq!(warnings(&mut tracked), 0, "another program had turned it on: {}", tracked.agent().log());
}
