//! Events of packets: a rule with action Log and, on demand, each denial is a line of JSON that names the rule. And the
//! kernel log where that is asked for, as ever.

use dataplane::nft::nflog::Group;
use harness::{
    Answer::{Open, Silent},
    Netns, eventually,
    resource::{Resource, host_endpoint, policy, rules},
    world::{Store, World},
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(10);

/// A file for events, and the settings that name it.
fn events_file(settings: &str) -> (TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("events.json");
    let settings = format!("LogEventsFile = {}\n{settings}", path.display());
    (folder, path, settings)
}

fn events(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line is a JSON object")).collect()
}

/// Waits for an event that has all fields of `wanted`.
fn awaits(path: &Path, wanted: &Value) -> Value {
    let mut found = None;
    let has_all = |event: &Value| wanted.as_object().expect("fields").iter().all(|(k, v)| event[k] == *v);
    eventually(&format!("there is an event with {wanted}; there are {:#?}", events(path)), SOON, || {
        found = events(path).into_iter().find(has_all);
        found.is_some()
    });
    found.expect("it was found")
}

/// Logs what goes to port 80, allows it, allows port 81, and denies port 82 by a rule; the rest the tier denies.
fn web(name: &str) -> Resource {
    let lines = ["Log TCP to 80", "Allow TCP to 80,81", "Deny TCP to 82"];
    policy(name, "role == 'edge'").set("ingress", rules(&lines))
}

fn world(settings: &str, policies: &[Resource]) -> World {
    let mut world = World::new(
        Store::Directory,
        &["192.0.2.1:80", "192.0.2.1:81", "192.0.2.1:82", "[2001:db8::1]:82", "udp 192.0.2.1:53"],
    );
    world.control(&[
        "192.0.2.1:80",
        "192.0.2.1:81",
        "192.0.2.1:82",
        "[2001:db8::1]:82",
        "udp 192.0.2.1:53",
        "icmp 192.0.2.1",
    ]);
    let endpoint = [host_endpoint("edge", "eth0").labels("role=edge")];
    world.start(settings, &[&endpoint, policies].concat());
    world
}

#[test]
fn a_log_rule_is_an_event_that_names_the_rule() {
    let (_folder, path, settings) = events_file("LogDestination = Nflog");
    let mut world = world(&settings, &[web("web")]);
    world.expect(&[
        ("logged and allowed", "192.0.2.1:80", Open),
        ("allowed", "192.0.2.1:81", Open),
        ("denied", "192.0.2.1:82", Silent),
    ]);
    let event = awaits(&path, &json!({ "event": "log" }));
    for (field, value) in [
        ("tier", json!("default")),
        ("policy", json!("default.web")),
        ("direction", json!("ingress")),
        ("rule_index", json!(0)),
        ("in", json!("eth0")),
        ("out", Value::Null),
        ("source", json!("192.0.2.2")),
        ("destination", json!("192.0.2.1")),
        ("destination_port", json!(80)),
        ("length", json!(60)),
    ] {
        assert_eq!(event[field], value, "{field} of {event}");
    }
    assert!(event["source_port"].is_number() && event["time"].is_string(), "{event}");
    assert!(events(&path).iter().all(|event| event["destination_port"] == 80), "nothing else is told of");
    let ruleset = world.host().ruleset();
    assert!(!ruleset.contains("calico-packet") && ruleset.contains("group 3007"), "{ruleset}");
}

#[test]
fn a_decision_is_an_event_where_asked_and_a_name_may_be_long() {
    let (_folder, path, settings) = events_file("LogDenied = Enabled\nLogAllowed = Enabled");
    let long = "p".repeat(200);
    let mut world = world(&settings, &[web(&long)]);
    world.expect(&[
        ("allowed", "192.0.2.1:81", Open),
        ("denied by a rule", "192.0.2.1:82", Silent),
        ("IPv6 too", "[2001:db8::1]:82", Silent),
        ("denied by the end of the tier", "udp 192.0.2.1:53", Silent),
        ("and ICMP", "icmp 192.0.2.1", Silent),
    ]);
    let name = format!("default.{long}");
    let by_rule =
        json!({ "event": "deny", "tier": "default", "policy": name, "rule_index": 2, "in": "eth0" });
    for source in ["192.0.2.2", "2001:db8::2"] {
        let mut wanted = by_rule.clone();
        (wanted["source"], wanted["destination_port"]) = (source.into(), 82.into());
        awaits(&path, &wanted);
    }
    let end = json!({ "event": "deny", "rule": "end of tier default ingress", "tier": "default" });
    for (field, value) in [("destination_port", 53), ("icmp_type", 8)] {
        let mut wanted = end.clone();
        wanted[field] = value.into();
        awaits(&path, &wanted);
    }
    awaits(&path, &json!({ "event": "allow", "policy": name, "rule_index": 1, "destination_port": 81 }));
    assert!(events(&path).iter().all(|event| event["event"] != "log"), "Log rules go to the kernel log only");
    assert!(world.host().ruleset().contains("calico-packet"));
}

#[test]
fn a_flood_is_limited_for_its_rule_alone_and_counted() {
    const FLOOD: u64 = 3000;
    let (_folder, path, settings) = events_file("LogDenied = Enabled");
    let mut world = world(&settings, &[web("web")]);
    flood(world.peer(), "192.0.2.1:9999", FLOOD);
    world.expect(&[("another rule denies", "192.0.2.1:82", Silent)]);
    awaits(&path, &json!({ "event": "deny", "destination_port": 82 }));
    let count = |event: &Value| event["count"].as_u64().unwrap_or(0);
    let of_flood = |event: &&Value| event["rule"] == "end of tier default ingress";
    eventually("each packet of the flood was told or counted", SOON, || {
        let all = events(&path);
        let suppressed: u64 = all.iter().filter(of_flood).map(count).sum();
        let lost: u64 = all.iter().filter(|event| event["event"] == "lost").map(count).sum();
        let told = all.iter().filter(|event| event["destination_port"] == 9999).count() as u64;
        assert!(told < FLOOD / 10, "{told} of {FLOOD} were told");
        told + suppressed + lost >= FLOOD
    });
}

#[test]
fn what_tunnels_and_workloads_are_denied_is_told_and_the_order_is_plain() {
    let (_folder, path, settings) =
        events_file("LogDenied = Enabled\nVXLANEnabled = true\nIpInIpEnabled = true");
    let settings = format!("{settings}\nInterfacePrefix = wl\nDefaultEndpointToHostAction = DROP");
    let mut world = World::new(Store::Directory, &["192.0.2.1:82"]);
    world.host().veth("wl0", "10.65.0.1/24", world.peer(), "10.65.0.2/24");
    world.start(&settings, &[host_endpoint("edge", "eth0").labels("role=edge"), web("web")]);
    flood(world.peer(), "192.0.2.1:4789", 3);
    let from_workload = world.peer().enter(|| std::net::UdpSocket::bind("10.65.0.2:0")).expect("its address");
    from_workload.send_to(b"x", "10.65.0.1:9999").expect("sent");
    awaits(&path, &json!({ "event": "deny", "rule": "VXLAN from elsewhere", "in": "eth0" }));
    awaits(&path, &json!({ "event": "deny", "rule": "DefaultEndpointToHostAction", "in": "wl0" }));
    let ruleset = world.host().ruleset();
    assert!(ruleset.contains("log prefix \"D IPIP from elsewhere\" group 3007"), "{ruleset}");
    let told = events(&path);
    let sequence: Vec<u64> = told.iter().filter_map(|event| event["sequence"].as_u64()).collect();
    assert!(sequence.iter().copied().eq(1..=told.len() as u64), "each line has the next number: {told:#?}");
}

fn flood(from: &Netns, to: &str, packets: u64) {
    let socket = from.enter(|| std::net::UdpSocket::bind("192.0.2.2:0")).expect("the peer's address");
    for _ in 0..packets {
        socket.send_to(b"x", to).expect("sent");
    }
}

#[test]
fn a_group_that_is_taken_is_an_error_line_and_policy_is_in_force() {
    let mut world = World::new(Store::Directory, &["192.0.2.1:82"]);
    world.control(&["192.0.2.1:82"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let other = world.host().enter(|| runtime.block_on(Group::bind(3007))).expect("the group is free");
    world.start("LogDenied = Enabled", &[host_endpoint("edge", "eth0").labels("role=edge"), web("web")]);
    world.expect(&[("denied all the same", "192.0.2.1:82", Silent)]);
    eventually("the log says that the group is taken", SOON, || {
        world.agent().log().contains("another program listens in NFLOG group 3007")
    });
    drop(other);
}

#[test]
fn the_kernel_log_is_told_as_ever() {
    let mut world = world("LogPrefix = mine", &[web("web")]);
    world.expect(&[("logged and allowed", "192.0.2.1:80", Open), ("denied", "192.0.2.1:82", Silent)]);
    let ruleset = world.host().ruleset();
    assert!(ruleset.contains("log prefix \"mine: \" level info"), "{ruleset}");
    assert!(!ruleset.contains("group"), "{ruleset}");
    let mut live = Resource::new("FelixConfiguration", "default", json!({}));
    live.0["metadata"]["annotations"]["config.projectcalico.org/LogDestination"] = "Both".into();
    world.put(&[live]);
    eventually("the destination changes while the agent runs", SOON, || {
        world.host().ruleset().contains("group 3007")
    });
}
