//! Stopping, crashing or restarting the agent changes no packet's fate, and a restart with nothing changed writes nothing.

use harness::{
    Open, Silent, World,
    resource::{host_endpoint, policy, rules},
    world::Store,
};
use std::time::Duration;

const OPEN: &str = "192.0.2.1:80";
const SHUT: &str = "192.0.2.1:81";

fn world(store: Store) -> World {
    let mut world = World::new(store, &[OPEN, SHUT]);
    world.control(&[OPEN, SHUT]);
    let allow =
        policy("p", "has(role)").set("ingress", rules(&["Allow TCP to 80,8000:8010 from 192.0.2.0/24"]));
    world.start("", &[host_endpoint("a", "eth0").labels("role=web"), allow]);
    world.expect(&[("allowed", OPEN, Open), ("not allowed", SHUT, Silent)]);
    world
}

#[test]
fn rules_stay_while_the_agent_is_gone() {
    let mut world = world(Store::Directory);
    let status = world.agent().stop();
    assert!(status.success(), "SIGTERM is an ordered end, not {status}");
    world.expect(&[("still allowed", OPEN, Open), ("still not", SHUT, Silent)]);
    world.agent().start_again();
    world.agent().kill();
    world.expect(&[("still allowed after a crash", OPEN, Open), ("still not", SHUT, Silent)]);
}

#[test]
fn a_restart_with_nothing_changed_commits_nothing() {
    for store in [Store::Directory, Store::Etcd] {
        let mut world = world(store);
        let (before, ruleset) = (world.host().generation(), world.host().ruleset());
        world.agent().stop();
        world.agent().start_again();
        // Ready is after the first comparison; a late write would still be a write.
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(
            world.host().generation(),
            before,
            "{store:?}: the ruleset was written\n{}",
            world.agent().evidence()
        );
        assert_eq!(world.host().ruleset(), ruleset, "{store:?}");
    }
}

#[test]
fn no_packet_is_lost_or_let_through_over_restarts() {
    let mut world = world(Store::Directory);
    let mut connection = world.peer().connect(OPEN);
    let mut new = 0;
    for crash in [false, true, false] {
        if crash {
            world.agent().kill();
        } else {
            world.agent().stop();
        }
        // A thread of our own would prove no more: the rules are the kernel's, and every exchange below is judged by them.
        assert_eq!(world.peer().probe(SHUT), Silent, "a denied port opened while the agent was gone");
        world.agent().start_again();
        for _ in 0..50 {
            assert_eq!(
                world.peer().probe_once(OPEN.into(), harness::patience(Duration::from_millis(500))),
                Open
            );
            new += 1;
        }
        let pause = connection.longest_pause(Duration::from_millis(100));
        assert!(
            pause.is_some_and(|pause| pause < harness::patience(Duration::from_millis(200))),
            "paused for {pause:?}"
        );
        assert_eq!(world.peer().probe(SHUT), Silent, "a denied port opened at the restart");
    }
    assert_eq!(new, 150);
}

#[test]
fn what_changed_meanwhile_is_enforced_at_the_start() {
    let mut world = world(Store::Directory);
    world.agent().stop();
    world.datastore().put(&[policy("p", "has(role)").set("ingress", rules(&["Allow TCP to 81"]))]);
    world.agent().start_again();
    world.settle();
    world.expect(&[("no longer allowed", OPEN, Silent), ("now allowed", SHUT, Open)]);
}
