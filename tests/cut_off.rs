//! Policy that keeps an agent from its own datastore: the agent says so at its start and at each change, and `lint`
//! before it comes to that.

use harness::{
    Netns, World,
    agent::{Datastore, binary},
    etcd::{Etcd, URL},
    eventually,
    resource::{NODE, Resource, host_endpoint, policy, rules},
    world::Store,
};
use std::{fs, process::Command, time::Duration};

const CUT_OFF: &str = "does not let the agent open a connection to its datastore";
const MEND: &str = "add tcp:2379 to FailsafeOutboundHostPorts";
const AGAIN: &str = "the agent can reach its datastore again";
/// etcd's port is a failsafe by default.
const NO_FAILSAFE: &str = "FailsafeOutboundHostPorts = udp:53";
const MAY_BE_WHY: &str = "the rules that an earlier agent left are in force: they may be why";
/// Connections that nobody answers end after 10 seconds.
const PATIENCE: Duration = Duration::from_secs(40);
const SOON: Duration = Duration::from_secs(10);

/// Policy for the link to etcd.
fn out(rule: &str) -> Resource {
    policy("out", "role == 'way'").set("types", ["Egress"].as_slice()).set("egress", rules(&[rule]))
}

fn way() -> Resource {
    host_endpoint("way", "etcd0").labels("role=way")
}

fn count(world: &mut World, text: &str) -> usize {
    world.agent().log().matches(text).count()
}

#[test]
fn the_agent_says_at_each_change_that_it_is_cut_off_and_how_to_mend_it() {
    let mut world = World::new(Store::Etcd, &[]);
    world.start(NO_FAILSAFE, &[way(), out("Allow TCP to 2379")]);
    assert_eq!(count(&mut world, CUT_OFF), 0, "it can reach it: {}", world.agent().log());
    // The connection that is open stays open, so that changes go on to arrive.
    world.put(&[out("Allow TCP to 443")]);
    eventually("it is said", SOON, || count(&mut world, CUT_OFF) > 0);
    let log = world.agent().log();
    let line = log.lines().find(|line| line.contains(CUT_OFF)).expect("it is said");
    for part in ["ERROR", "198.51.100.1:2379", MEND, "way"] {
        assert!(line.contains(part), "{part} is missing: {line}");
    }
    let before = count(&mut world, CUT_OFF);
    world.put(&[host_endpoint("other", "eth0")]);
    eventually("it is said again", SOON, || count(&mut world, CUT_OFF) > before);
    assert_eq!(count(&mut world, AGAIN), 0);
    world.put(&[out("Allow TCP to 2379")]);
    eventually("it is mended", SOON, || count(&mut world, AGAIN) == 1);
    let mended = count(&mut world, CUT_OFF);
    world.delete("HostEndpoint", "other");
    assert_eq!(count(&mut world, CUT_OFF), mended, "nothing more is said: {}", world.agent().log());
}

#[test]
fn an_agent_that_cuts_itself_off_at_its_start_says_so() {
    let mut world = World::new(Store::Etcd, &[]);
    world.datastore().put(&[way()]);
    world.start_bare(NO_FAILSAFE);
    eventually("it is said", SOON, || {
        let log = world.agent().log();
        log.lines().any(|line| line.contains(CUT_OFF) && line.contains(MEND))
    });
}

#[test]
fn a_restarted_agent_says_that_the_rules_in_force_may_cut_it_off_and_how_to_look_and_mend_it() {
    let mut world = World::new(Store::Etcd, &[]);
    world.start(NO_FAILSAFE, &[way(), out("Allow TCP to 2379")]);
    world.put(&[out("Allow TCP to 443")]);
    eventually("it is cut off but for the connection that is open", SOON, || count(&mut world, CUT_OFF) > 0);
    world.agent().stop();
    let before = world.host().ruleset();
    world.agent().start_again_unready();
    eventually("it says so", PATIENCE, || count(&mut world, MAY_BE_WHY) > 0);
    let log = world.agent().log();
    let line = log.lines().find(|line| line.contains(MAY_BE_WHY)).expect("it is said");
    let rule = "rule inet portcullis output tcp dport { 2379 } accept";
    for part in ["ERROR", "198.51.100.1:2379", "timed out", "nft list table inet portcullis", rule, MEND] {
        assert!(line.contains(part), "{part} is missing: {line}");
    }
    assert_eq!(world.host().ruleset(), before, "it changes nothing");
    world.host().nft(&format!("insert {rule}"));
    world.agent().wait_until_ready();
    assert!(count(&mut world, CUT_OFF) > 0, "what is in force is told as ever: {}", world.agent().log());
    assert!(!world.host().ruleset().contains("dport { 2379 } accept"), "the help is taken out again");
}

#[test]
fn an_agent_whose_datastore_is_away_says_nothing_of_rules_that_are_not_there() {
    let mut world = World::new(Store::Etcd, &[]);
    world.start_bare("");
    world.agent().stop();
    match world.datastore() {
        Datastore::Etcd(etcd) => etcd.stop(),
        Datastore::Directory(_) => unreachable!("this world was made with an etcd"),
    }
    world.agent().start_again_unready();
    eventually("it waits", PATIENCE, || world.agent().log().contains("cannot be read"));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(count(&mut world, MAY_BE_WHY), 0, "{}", world.agent().log());
}

#[test]
fn lint_says_it_before() {
    let host = Netns::new();
    let _etcd = Etcd::start(&host);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let lint = |failsafes: &str, more: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["lint", "-c", "/dev/null", "--strict", "--directory"]).arg(directory.path()).args(more);
        command.env("FELIX_FELIXHOSTNAME", NODE).env("FELIX_ETCDENDPOINTS", URL);
        command.env("FELIX_FAILSAFEOUTBOUNDHOSTPORTS", failsafes);
        let output = host.enter(|| command.output()).expect("the program runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let write = |resource: Resource| {
        fs::write(directory.path().join("way.json"), resource.0.to_string()).expect("a scratch directory");
    };
    write(way());
    assert!(lint("tcp:2379", &[]).0, "a failsafe");
    let (sound, text) = lint("udp:53", &[]);
    assert!(!sound && text.contains("error: HostEndpoint way: spec [cut-off]"), "{text}");
    assert!(text.contains(MEND), "{text}");
    write(way().set("node", "elsewhere"));
    let (sound, text) = lint("udp:53", &["--node", "elsewhere"]);
    assert!(!sound && text.contains("warning: HostEndpoint way: spec [cut-off]"), "{text}");
}
