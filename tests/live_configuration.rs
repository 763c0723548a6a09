//! Each setting that applies live, changed by a FelixConfiguration in a real etcd under a running agent: packets show that
//! it is in force, and that it is gone when it is taken back. Where no packet can tell, the ruleset does.

use harness::{
    Answer, Netns, Open, Refused, Silent, World,
    agent::binary,
    eventually,
    resource::{Resource, host_endpoint, host_endpoint_at, policy, rules},
    world::Store,
};
use serde_json::{Value, json};
use std::{
    process::{Command, Stdio},
    time::Duration,
};

const WEB: &str = "192.0.2.1:80";
const ALT: &str = "192.0.2.1:8080";
const SSH: &str = "192.0.2.1:22";
const WEB6: &str = "[2001:db8::1]:80";
const ALT6: &str = "[2001:db8::1]:8080";
const THEIRS: &str = "192.0.2.2:80";
const THEIR_ETCD: &str = "192.0.2.2:2379";
const LOOP: &str = "127.0.0.1:80";
const LISTENERS: &[&str] = &[WEB, ALT, SSH, WEB6, ALT6, THEIRS, THEIR_ETCD, LOOP];

/// How long a log line may take to come.
const LOGGED: Duration = Duration::from_secs(10);

/// FelixConfiguration `default`; names in capitals are set by annotation, as Calico allows for any parameter.
fn felix(settings: Value) -> Resource {
    let mut resource = Resource::new("FelixConfiguration", "default", json!({}));
    for (name, value) in settings.as_object().expect("settings are an object") {
        match name.starts_with(char::is_uppercase) {
            true => {
                let annotation = format!("config.projectcalico.org/{name}");
                resource.0["metadata"]["annotations"][annotation] = value.clone();
            }
            false => resource.0["spec"][name] = value.clone(),
        }
    }
    resource
}

/// `a` is on eth0 (or where `endpoint` says), and its policy lets only port 80 in.
fn world(endpoint: Resource) -> World {
    let mut world = World::new(Store::Etcd, LISTENERS);
    world.control(&[WEB, ALT, SSH, WEB6, ALT6]);
    world.control_from_host(&[THEIRS, THEIR_ETCD, LOOP]);
    let allow = policy("p", "role == 'web'").set("ingress", rules(&["Allow TCP to 80", "Log"]));
    world.start("", &[endpoint.labels("role=web"), allow]);
    world
}

/// What a setting changes: why, the setting, what the peer sees, what the host sees.
type Row<'a> = (&'a str, Value, &'a [(&'a str, Answer)], &'a [(&'a str, Answer)]);

fn check(world: &mut World, before: &[(&str, Answer)], rows: &[Row<'_>]) {
    for (why, settings, peer, host) in rows {
        world.put(&[felix(settings.clone())]);
        world.expect(&reasoned(why, peer));
        world.expect_from_host(&reasoned(why, host));
        world.put(&[felix(json!({}))]);
        world.expect(&reasoned(&format!("{why}, taken back"), before));
    }
    assert!(world.agent().exited().is_none(), "no setting ends the agent");
}

fn reasoned<'a>(why: &'a str, rows: &[(&'a str, Answer)]) -> Vec<(&'a str, &'a str, Answer)> {
    rows.iter().map(|(target, answer)| (why, *target, *answer)).collect()
}

#[test]
fn settings_of_packets_apply_live() {
    let mut world = world(host_endpoint("a", "eth0"));
    let list = |port: u16| json!([{ "protocol": "TCP", "port": port }]);
    let before: &[_] = &[(WEB, Open), (ALT, Silent), (SSH, Open), (ALT6, Silent)];
    let rows: &[Row<'_>] = &[
        (
            "inbound failsafes",
            json!({ "failsafeInboundHostPorts": list(8080) }),
            &[(ALT, Open), (SSH, Silent)],
            &[],
        ),
        (
            "outbound failsafes",
            json!({ "failsafeOutboundHostPorts": list(80) }),
            &[],
            &[(THEIRS, Open), (THEIR_ETCD, Silent)],
        ),
        (
            "denied packets are answered",
            json!({ "iptablesFilterDenyAction": "Reject" }),
            &[(ALT, Refused)],
            &[],
        ),
        ("no IPv6", json!({ "ipv6Support": false }), &[(ALT6, Open), (ALT, Silent)], &[]),
        ("eth0 is a workload's", json!({ "interfacePrefix": "eth" }), &[(WEB, Silent), (SSH, Silent)], &[]),
        (
            "workloads reach the host",
            json!({ "interfacePrefix": "eth", "defaultEndpointToHostAction": "Accept" }),
            &[(WEB, Open), (ALT, Open), (SSH, Open)],
            &[],
        ),
    ];
    world.expect(&reasoned("before", before));
    check(&mut world, before, rows);
}

#[test]
fn excluded_links_apply_live() {
    let mut world = world(host_endpoint_at("a", &["192.0.2.1"]));
    let before: &[_] = &[(WEB, Open), (ALT, Silent)];
    let exclude = json!({ "interfaceExclude": "/^eth/" });
    check(&mut world, before, &[("eth0's addresses do not count", exclude, &[(ALT, Open)], &[])]);
}

#[test]
fn loopback_under_the_wildcard_applies_live() {
    let mut world = world(host_endpoint("a", "*"));
    // etcd is reached by a failsafe, and loopback by nothing.
    world.expect_from_host(&[("loopback is an interface", LOOP, Silent)]);
    let settings = json!({ "WildcardCoversLoopback": "Disabled" });
    check(&mut world, &[(ALT, Silent)], &[("but loopback", settings, &[(ALT, Silent)], &[(LOOP, Open)])]);
    world.expect_from_host(&[("taken back", LOOP, Silent)]);
}

#[test]
fn neighbour_discovery_left_to_policy_applies_live() {
    let mut world = world(host_endpoint("a", "eth0"));
    world.expect(&[("neighbours are found", WEB6, Open)]);
    world.put(&[felix(json!({ "EssentialICMPv6": "Policy" }))]);
    world.peer().ip("neigh flush dev eth0");
    world.host().ip("neigh flush dev eth0");
    world.expect(&[("neighbours are not found", WEB6, Silent), ("IPv4 is as before", WEB, Open)]);
    world.put(&[felix(json!({}))]);
    world.becomes(WEB6, Open);
}

#[test]
fn what_only_the_ruleset_shows_applies_live() {
    let mut world = world(host_endpoint("a", "eth0"));
    let rows = [
        ("LogPrefix", json!({ "logPrefix": "gate" }), "gate", true),
        ("the invalid check", json!({ "disableConntrackInvalidCheck": true }), "ct state invalid", false),
        ("bits of the mark", json!({ "iptablesMarkMask": 0x0ff0_0000_u32 }), "0x00100000", true),
    ];
    for (why, settings, sign, there) in rows {
        let shown = |world: &World| world.host().ruleset().contains(sign);
        assert_eq!(shown(&world), !there, "{why}, before:\n{}", world.host().ruleset());
        world.put(&[felix(settings)]);
        assert_eq!(shown(&world), there, "{why}:\n{}", world.host().ruleset());
        world.put(&[felix(json!({}))]);
        assert_eq!(shown(&world), !there, "{why}, taken back:\n{}", world.host().ruleset());
    }
}

#[test]
fn the_log_level_applies_live_and_what_cannot_is_said() {
    let mut world = world(host_endpoint("a", "eth0"));
    assert!(!world.agent().log().contains("DEBUG"), "{}", world.agent().log());
    world.put(&[felix(json!({ "logSeverityScreen": "Debug" }))]);
    world.put(&[policy("q", "role == 'web'").set("ingress", rules(&["Allow TCP to 81"]))]);
    eventually("debug lines come", LOGGED, || world.agent().log().contains("DEBUG"));
    world.put(&[felix(json!({ "LogFormat": "JSON" }))]);
    let log = world.agent().log();
    let said = log.lines().find(|line| line.contains("LogFormat")).unwrap_or_default();
    assert!(said.contains("before the datastore is read"), "{log}");
}

#[test]
fn bad_values_keep_what_was_in_force_and_are_named() {
    let mut world = world(host_endpoint("a", "eth0"));
    world.put(&[felix(json!({ "failsafeInboundHostPorts": [{ "protocol": "TCP", "port": 8080 }] }))]);
    world.expect(&[("a list of our own", ALT, Open), ("and only that", SSH, Silent)]);
    let bad = json!([{ "protocol": "TCP", "port": 8080, "net": "nonsense" }]);
    world.put(&[felix(json!({ "failsafeInboundHostPorts": bad, "defaultEndpointToHostAction": "Maybe" }))]);
    // Nobody is locked out by a mistake: the list until now, and the built-in one beside it.
    world.expect(&[("the list until now", ALT, Open), ("the built-in list", SSH, Open)]);
    let log = world.agent().log();
    for name in ["FailsafeInboundHostPorts", "DefaultEndpointToHostAction"] {
        let said = log.lines().filter(|line| line.contains(name) && line.contains("in force"));
        assert_eq!(said.count(), 1, "{name} once:\n{log}");
    }
}

#[test]
fn the_health_address_applies_live() {
    let mut world = World::new(Store::Etcd, &[]);
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let file = scratch.path().join("felix.cfg");
    let text = format!("EtcdEndpoints = {}\nFelixHostname = myhost\n", harness::etcd::URL);
    std::fs::write(&file, text).expect("a scratch directory can be written");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(binary()).arg("agent").arg("-c").arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut agent = world.host().enter(|| command.spawn()).expect("the agent starts");
    for port in [9100, 9101] {
        let settings = json!({ "healthEnabled": true, "healthHost": "127.0.0.1", "healthPort": port });
        world.datastore().put(&[felix(settings)]);
        eventually(&format!("health is served on {port}"), LOGGED, || answers(world.host(), port));
    }
    eventually("and not on the old port", LOGGED, || !answers(world.host(), 9100));
    world.datastore().put(&[felix(json!({ "healthEnabled": false }))]);
    eventually("and then nowhere", LOGGED, || !answers(world.host(), 9101));
    agent.kill().expect("our own child");
    agent.wait().expect("our own child");
}

fn answers(host: &Netns, port: u16) -> bool {
    let connect = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    host.enter(connect)
}
