//! What happens to etcd changes nothing that is enforced, and what was missed is made up for.

use harness::{
    Netns, Open, Silent, World,
    agent::Datastore,
    etcd::Etcd,
    resource::{Resource, host_endpoint, policy, rules},
    world::Store,
};
use std::time::Duration;

const WEB: &str = "192.0.2.1:80";
const ALT: &str = "192.0.2.1:8080";

fn allow(port: u16) -> Resource {
    policy("p", "has(role)").set("ingress", rules(&[&format!("Allow TCP to {port}")]))
}

fn world() -> World {
    let mut world = World::new(Store::Etcd, &[WEB, ALT]);
    world.control(&[WEB, ALT]);
    world.start("", &[host_endpoint("a", "eth0").labels("role=web"), allow(80)]);
    world.expect(&[("allowed", WEB, Open), ("not allowed", ALT, Silent)]);
    world
}

fn etcd(world: &mut World) -> &mut Etcd {
    match world.datastore() {
        Datastore::Etcd(etcd) => etcd,
        Datastore::Directory(_) => unreachable!("this world was made with an etcd"),
    }
}

#[test]
fn rules_stand_while_etcd_is_away_and_changes_flow_after() {
    let mut world = world();
    etcd(&mut world).stop();
    std::thread::sleep(Duration::from_secs(1));
    world.expect(&[("still allowed", WEB, Open), ("still not", ALT, Silent)]);
    assert!(world.agent().exited().is_none(), "the agent waits for its etcd: {}", world.agent().log());
    etcd(&mut world).start_again();
    world.put(&[allow(8080)]);
    world.expect(&[("no longer allowed", WEB, Silent), ("now allowed", ALT, Open)]);
}

#[test]
fn a_compaction_past_what_was_seen_is_a_resync() {
    let mut world = world();
    // The server's end closes its connections, and the cut keeps new ones away, so that the agent misses what goes.
    let etcd = etcd(&mut world);
    cut(&etcd.netns);
    etcd.start_again();
    etcd.put(&allow(8080));
    etcd.compact();
    mend(&etcd.netns);
    world.settle();
    world.expect(&[("the missed write counts", WEB, Silent), ("the missed write counts", ALT, Open)]);
}

#[test]
fn a_connection_that_is_silently_dead_is_noticed() {
    let mut world = world();
    cut_both_ways(&etcd(&mut world).netns);
    etcd(&mut world).put(&allow(8080));
    world.expect(&[("not yet heard of", WEB, Open)]);
    // Nothing resets the old connection: only keepalive can tell that it is dead, and a new one works.
    mend_for_new_connections(&etcd(&mut world).netns);
    harness::eventually("the change arrives over a new connection", Duration::from_secs(40), || {
        world.peer().probe(ALT) == Open
    });
}

#[test]
fn an_unreachable_etcd_at_the_start_writes_nothing() {
    let mut world = world();
    world.agent().stop();
    let before = world.host().generation();
    etcd(&mut world).stop();
    world.agent().start_again_unready();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(world.host().generation(), before, "nothing is written before the datastore is in sync");
    assert!(!world.agent().is_ready(), "not ready without a datastore");
    world.expect(&[("the last rules stand", WEB, Open), ("the last rules stand", ALT, Silent)]);
    etcd(&mut world).start_again();
    world.agent().wait_until_ready();
    world.settle();
}

/// No packet of etcd's clients arrives in its namespace.
fn cut(netns: &Netns) {
    netns.nft("table ip cut { chain in { type filter hook input priority 0; iifname != \"lo\" tcp dport 2379 drop; }\n}");
}

/// Nor does one of etcd's leave it.
fn cut_both_ways(netns: &Netns) {
    cut(netns);
    netns.nft(
        "table ip cut { chain out { type filter hook output priority 0; oifname != \"lo\" tcp sport 2379 drop; }\n}",
    );
}

fn mend(netns: &Netns) {
    netns.nft("delete table ip cut");
}

/// Packets of connections that exist are still lost; new connections work.
fn mend_for_new_connections(netns: &Netns) {
    let ports: Vec<String> = established(netns);
    assert!(!ports.is_empty(), "the agent has a connection to lose");
    let list = ports.join(", ");
    netns.nft(&format!(
        "table ip dead {{\nchain in {{ type filter hook input priority 0; iifname != \"lo\" tcp sport {{ {list} }} drop; }}\n\
         chain out {{ type filter hook output priority 0; oifname != \"lo\" tcp dport {{ {list} }} drop; }}\n}}"
    ));
    mend(netns);
}

/// Source ports of etcd's established connections that come over the link.
fn established(netns: &Netns) -> Vec<String> {
    let listed = netns.run(&["ss", "-Htn", "state", "established", "( sport = :2379 )"]);
    let remote = listed.lines().filter_map(|line| line.split_whitespace().nth(3));
    remote
        .filter(|address| !address.contains("127.0.0.1"))
        .filter_map(|a| Some(a.rsplit_once(':')?.1.to_owned()))
        .collect()
}
