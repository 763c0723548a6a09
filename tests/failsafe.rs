//! Failsafe ports are reachable under every policy, and nothing else is by them. Rules are judged by packets only.

use harness::{
    Netns, Open, Silent, World,
    resource::{Resource, host_endpoint, policy, rules},
    world::Store,
};
use serde_json::json;

/// 22 is inbound failsafe by default, 2379 both ways, 80 neither.
const LISTENERS: &[&str] =
    &["192.0.2.1:22", "192.0.2.1:2379", "192.0.2.1:80", "192.0.2.2:2379", "192.0.2.2:80"];

fn deny_all() -> Resource {
    policy("deny-all", "all()")
        .set("order", 1)
        .set("types", json!(["Ingress", "Egress"]))
        .set("ingress", rules(&["Deny"]))
        .set("egress", rules(&["Deny"]))
}

fn world(interface: &str, settings: &str, more: &[Resource]) -> World {
    let mut world = World::new(Store::Directory, LISTENERS);
    world.control(&["192.0.2.1:22", "192.0.2.1:2379", "192.0.2.1:80", "icmp 192.0.2.1"]);
    world.control_from_host(&["192.0.2.2:2379", "192.0.2.2:80"]);
    let mut resources = vec![host_endpoint("a", interface).labels("role=host")];
    resources.extend_from_slice(more);
    world.start(settings, &resources);
    world
}

#[test]
fn failsafe_ports_stay_open_under_a_policy_that_denies_everything() {
    for interface in ["eth0", "*"] {
        let deny = deny_all().set("selector", "has(role)");
        let mut world = world(interface, "", &[deny]);
        world.expect(&[
            ("ssh is an inbound failsafe", "192.0.2.1:22", Open),
            ("etcd is an inbound failsafe", "192.0.2.1:2379", Open),
            ("http is none", "192.0.2.1:80", Silent),
            ("ping is none", "icmp 192.0.2.1", Silent),
        ]);
        world.expect_from_host(&[
            ("etcd is an outbound failsafe", "192.0.2.2:2379", Open),
            ("http is none", "192.0.2.2:80", Silent),
        ]);
    }
}

#[test]
fn failsafes_hold_with_no_policy_at_all_and_with_a_missing_profile() {
    for profiles in [json!([]), json!(["no-such-profile"])] {
        let mut world = world("eth0", "", &[]);
        world.put(&[host_endpoint("a", "eth0").set("profiles", profiles)]);
        world.expect(&[
            ("ssh is an inbound failsafe", "192.0.2.1:22", Open),
            ("no policy and no profile allow it", "192.0.2.1:80", Silent),
        ]);
    }
}

#[test]
fn the_configured_list_replaces_the_built_in_one() {
    let settings = "FailsafeInboundHostPorts = tcp:80\nFailsafeOutboundHostPorts = none";
    let mut world = world("eth0", settings, &[]);
    world.expect(&[
        ("it is on the list", "192.0.2.1:80", Open),
        ("it is not any more", "192.0.2.1:22", Silent),
    ]);
    world.expect_from_host(&[("the outbound list is empty", "192.0.2.2:2379", Silent)]);
}

#[test]
fn a_net_narrows_a_failsafe_to_its_sources() {
    let mut near = world("eth0", "FailsafeInboundHostPorts = tcp:192.0.2.0/28:80", &[]);
    near.expect(&[("the peer is in the net", "192.0.2.1:80", Open)]);
    let mut far = world("eth0", "FailsafeInboundHostPorts = tcp:203.0.113.0/24:80", &[]);
    far.expect(&[("the peer is not in the net", "192.0.2.1:80", Silent)]);
}

#[test]
fn a_failsafe_list_from_the_datastore_applies_live() {
    let mut world = world("eth0", "", &[]);
    world.expect(&[("not on the built-in list", "192.0.2.1:80", Silent)]);
    let ports = json!([{ "protocol": "TCP", "port": 80, "net": "" }]);
    let settings =
        Resource::new("FelixConfiguration", "default", json!({ "failsafeInboundHostPorts": ports }));
    world.put(&[settings]);
    world.expect(&[
        ("the new list has it", "192.0.2.1:80", Open),
        ("the new list lacks it", "192.0.2.1:22", Silent),
    ]);
}

#[test]
fn failsafes_do_not_reach_forwarded_traffic() {
    let mut world = World::new(Store::Directory, LISTENERS);
    let behind = Netns::new();
    world.host().veth("eth1", "203.0.113.1/24", &behind, "203.0.113.2/24");
    world.host().sysctl("net.ipv4.ip_forward", "1");
    world.peer().ip("route add 203.0.113.0/24 via 192.0.2.1");
    behind.ip("route add 192.0.2.0/24 via 203.0.113.1");
    behind.listen("203.0.113.2:22");
    world.control(&["203.0.113.2:22"]);
    let deny = deny_all().set("selector", "role == 'host'").set("applyOnForward", true);
    world.start("", &[host_endpoint("a", "eth0").labels("role=host"), deny]);
    world.expect(&[("a forward chain has no failsafes", "203.0.113.2:22", Silent)]);
}
