//! Nonsense in etcd: it is named in the log, once and within bounds, and everything else keeps working. Packets show it.

use harness::{
    Open, Silent, World,
    agent::{Datastore, binary},
    eventually,
    resource::{Resource, host_endpoint, policy, rules},
    world::Store,
};
use serde_json::json;
use std::time::Duration;

const WEB: &str = "192.0.2.1:80";
const ALT: &str = "192.0.2.1:8080";
const PREFIX: &str = "/calico/resources/v3/projectcalico.org/";

/// How long a log line may take to come.
const LOGGED: Duration = Duration::from_secs(20);

fn world(settings: &str) -> World {
    let mut world = World::new(Store::Etcd, &[WEB, ALT]);
    world.control(&[WEB, ALT]);
    world.start(settings, &[host_endpoint("a", "eth0").labels("role=web"), allow(80)]);
    world.expect(&[("allowed", WEB, Open), ("not allowed", ALT, Silent)]);
    world
}

fn allow(port: u16) -> Resource {
    policy("p", "role == 'web'").set("ingress", rules(&[&format!("Allow TCP to {port}")]))
}

fn put_raw(world: &mut World, key: &str, value: &str) {
    match world.datastore() {
        Datastore::Etcd(etcd) => drop(etcd.put_raw(&format!("{PREFIX}{key}"), value)),
        Datastore::Directory(_) => panic!("this world has an etcd"),
    }
}

/// Policy still changes what packets meet.
fn works(world: &mut World, why: &str) {
    world.put(&[allow(8080)]);
    world.expect(&[(why, WEB, Silent), (why, ALT, Open)]);
    world.put(&[allow(80)]);
    world.expect(&[(why, WEB, Open), (why, ALT, Silent)]);
}

#[test]
fn nonsense_leaves_everything_else_working() {
    let mut world = world("");
    let deep = format!("{{\"spec\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_selector =
        json!({ "metadata": { "name": "default.deep" }, "spec": { "selector": "(".repeat(100_000) } });
    let huge = json!({ "metadata": { "name": "huge" }, "spec": { "nets": vec!["10.0.0.0/33"; 90_000] } });
    let cases = [
        ("no value", "hostendpoints/bad1", "".to_owned()),
        ("half a value", "hostendpoints/bad2", "{".to_owned()),
        ("null", "globalnetworkpolicies/default.bad3", "null".to_owned()),
        ("a list", "tiers/bad4", "[]".to_owned()),
        ("a number", "profiles/bad5", "42".to_owned()),
        ("text", "globalnetworksets/bad6", "\"x\"".to_owned()),
        ("binary", "networksets/ns/bad7", "\u{0}\u{1}\u{7f}".to_owned()),
        ("deep JSON", "globalnetworkpolicies/default.bad8", deep),
        ("a deep selector", "globalnetworkpolicies/default.deep", deep_selector.to_string()),
        ("a huge value of nonsense", "globalnetworksets/huge", huge.to_string()),
        ("an unknown kind", "gizmos/x", "{".to_owned()),
        ("an empty name", "hostendpoints/", "{".to_owned()),
        ("two slashes", "hostendpoints//x", "{".to_owned()),
        ("too many parts", "hostendpoints/a/b/c", "{".to_owned()),
        ("a namespaced kind without namespace", "networkpolicies/x", "{".to_owned()),
        ("a long name", "hostendpoints/longname", "{".to_owned()),
        ("a name that forges a line", "hostendpoints/x\nERROR forged", "{".to_owned()),
        ("a name that colours the terminal", "hostendpoints/\u{1b}[31mred", "{".to_owned()),
        ("a bad FelixConfiguration", "felixconfigurations/default", "{\"spec\":3}".to_owned()),
        ("a bad ClusterInformation", "clusterinformations/default", "{".to_owned()),
    ];
    for (why, key, value) in &cases {
        let key =
            if *why == "a long name" { format!("{key}{}", "x".repeat(10_000)) } else { (*key).to_owned() };
        put_raw(&mut world, &key, value);
    }
    works(&mut world, "beside nonsense");
    let log = world.agent().log();
    assert!(log.len() < 200_000, "{} bytes of log", log.len());
    for name in ["bad1", "bad2", "bad3", "bad4", "bad5", "bad6", "bad7", "bad8", "deep", "huge"] {
        assert!(
            log.lines().any(|line| line.contains("WARN") && line.contains(name)),
            "{name} is named:\n{log}"
        );
    }
    assert!(!log.lines().any(|line| line.starts_with("ERROR forged")), "a line is forged");
    assert!(!log.contains('\u{1b}'), "a terminal is coloured");
    // Without it an agent that starts would wait, as one must whose datastore may be being migrated.
    world.put(&harness::resource::base_objects());
    world.agent().stop();
    world.agent().start_again();
    works(&mut world, "after a restart on nonsense");
}

#[test]
fn ten_thousand_broken_resources_are_counted_and_not_listed() {
    let mut world = world("");
    let before = world.agent().log().lines().count();
    let broken =
        |n: usize| Resource::new("GlobalNetworkSet", &format!("bad{n}"), json!({ "nets": ["nonsense"] }));
    let broken: Vec<_> = (0..10_000).map(broken).collect();
    world.put(&broken);
    works(&mut world, "beside 10,000 broken sets");
    let log = world.agent().log();
    let lines = log.lines().count() - before;
    assert!((10..100).contains(&lines), "{lines} lines:\n{log}");
    assert!(log.contains("GlobalNetworkSet bad0: spec.nets[0]"), "the first are named:\n{log}");
    assert!(log.contains("more resources are not understood"), "the others are counted:\n{log}");

    // A restart meets them all in one snapshot.
    world.agent().stop();
    let before = world.agent().log().lines().count();
    world.agent().start_again();
    works(&mut world, "after a restart");
    let lines = world.agent().log().lines().count() - before;
    assert!(lines < 100, "{lines} lines at a start:\n{}", world.agent().log());
}

#[test]
fn a_broken_part_names_object_field_and_reason_once() {
    let mut world = world("LogSeverityScreen = Debug");
    let bad_port = policy("q", "role == 'web'").set(
        "ingress",
        json!([{ "action": "Allow", "protocol": "TCP", "destination": { "ports": ["x y"] } }]),
    );
    let unknown = |name: &str| policy(name, "role == 'db'").set("gizmo", 1);
    world.put(&[bad_port.clone(), unknown("u1"), unknown("u2")]);
    works(&mut world, "beside a broken part");
    // The same bytes again are no change.
    world.put(&[bad_port]);
    let log = world.agent().log();
    let said: Vec<_> = log
        .lines()
        .filter(|l| l.contains("WARN") && l.contains("spec.ingress[0].destination.ports[0]"))
        .collect();
    assert_eq!(said.len(), 1, "once:\n{log}");
    assert!(said[0].contains("default.q") && said[0].contains("x y"), "{}", said[0]);
    let fields = log.lines().filter(|line| line.contains("unknown field") && line.contains("gizmo"));
    assert_eq!(fields.count(), 1, "once for each kind and field:\n{log}");
}

#[test]
fn what_stops_being_understood_stays_in_force_until_it_is_mended() {
    let mut world = world("");
    put_raw(&mut world, "hostendpoints/a", "{");
    put_raw(&mut world, "globalnetworkpolicies/default.p", "not JSON");
    world.settle();
    world.expect(&[("the policy until now", WEB, Open), ("the endpoint until now", ALT, Silent)]);
    let log = world.agent().log();
    assert_eq!(log.lines().filter(|line| line.contains("not understood")).count(), 2, "{log}");
    works(&mut world, "a valid write counts");
    world.delete("HostEndpoint", "a");
    world.expect(&[("a deletion counts", ALT, Open)]);
}

#[test]
fn the_check_lists_what_is_broken_and_succeeds() {
    let mut world = World::new(Store::Etcd, &[]);
    world.datastore().put(&[host_endpoint("a", "eth0")]);
    put_raw(&mut world, "globalnetworksets/broken", "{");
    let program = binary().to_str().expect("a path of ours is text").to_owned();
    let script = format!(
        "FELIX_ETCDENDPOINTS={} FELIX_FELIXHOSTNAME=myhost {program} agent --check",
        harness::etcd::URL
    );
    let said = world.host().run(&["sh", "-c", &script]);
    assert!(said.contains("GlobalNetworkSet broken") && said.contains("would run"), "{said}");
    assert!(!world.host().has_table("portcullis"), "a check writes nothing");
    eventually("and nothing is left behind", LOGGED, || !world.host().ruleset().contains("portcullis"));
}
