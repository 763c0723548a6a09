//! Tunnels between hosts, with real ones: accepted from and to nodes before host endpoint policy, dropped from anybody
//! else.

use harness::{
    Open, Silent, World,
    resource::{Resource, host_endpoint},
    world::Store,
};
use serde_json::json;

const INNER: &str = "10.9.0.1:80";
const WIREGUARD: &str = "udp 192.0.2.1:51820";
const OTHER: &str = "udp 192.0.2.1:51999";

/// A VXLAN tunnel between host and peer, on which `INNER` answers.
fn vxlan(store: Store) -> World {
    let mut world = World::new(store, &[WIREGUARD, OTHER]);
    for (side, own, other, inner) in [
        (world.host(), "192.0.2.1", "192.0.2.2", "10.9.0.1"),
        (world.peer(), "192.0.2.2", "192.0.2.1", "10.9.0.2"),
    ] {
        side.ip(&format!(
            "link add vx0 type vxlan id 9 local {own} remote {other} dstport 4789
             address add {inner}/24 dev vx0
             link set vx0 up"
        ));
    }
    world.host().listen(INNER);
    world.control(&[INNER, WIREGUARD, OTHER]);
    world
}

fn node(name: &str, address: &str, tunnel: &str) -> Resource {
    let spec = json!({ "bgp": { "ipv4Address": format!("{address}/24") }, "ipv4VXLANTunnelAddr": tunnel });
    Resource::new("Node", name, spec)
}

#[test]
fn vxlan_is_accepted_between_nodes_and_from_nobody_else() {
    let mut world = vxlan(Store::Directory);
    let peer = node("other", "192.0.2.2", "10.9.0.2");
    world.start("VXLANEnabled = true", &[host_endpoint("a", "eth0"), peer.clone()]);
    world.expect(&[("a node with a tunnel, and no policy", INNER, Open), ("no other UDP", OTHER, Silent)]);
    world.delete("Node", "other");
    world.expect(&[("no node any more, though it was one until now", INNER, Silent)]);
    world.put(&[node("other", "192.0.2.3", "10.9.0.2")]);
    world.expect(&[("another address", INNER, Silent)]);
    world.put(&[peer]);
    world.expect(&[("a node again", INNER, Open)]);
    world.delete("HostEndpoint", "a");
    world.delete("Node", "other");
    world.expect(&[("from elsewhere it is dropped without an endpoint too", INNER, Silent)]);
}

#[test]
fn without_the_setting_tunnels_are_as_any_traffic() {
    let mut world = vxlan(Store::Directory);
    world.start("VXLANEnabled = false", &[node("other", "192.0.2.2", "10.9.0.2")]);
    world.expect(&[("no endpoint, no rule", INNER, Open)]);
    world.put(&[host_endpoint("a", "eth0")]);
    world.expect(&[("an endpoint without policy", INNER, Silent), ("and this", WIREGUARD, Silent)]);
}

#[test]
fn hosts_that_are_no_nodes_can_be_listed() {
    let mut world = vxlan(Store::Directory);
    let settings =
        "VXLANEnabled = true\nExternalNodesCIDRList = 192.0.2.0/28,198.51.100.9\nWireguardEnabled = true";
    world.start(settings, &[host_endpoint("a", "eth0")]);
    world.expect(&[
        ("in one of the nets", INNER, Open),
        ("WireGuard, from anywhere", WIREGUARD, Open),
        ("no other UDP", OTHER, Silent),
    ]);
}

#[test]
fn an_ip_pool_turns_it_on() {
    for store in [Store::Etcd, Store::Directory] {
        an_ip_pool_turns_it_on_in(store);
    }
}

fn an_ip_pool_turns_it_on_in(store: Store) {
    let mut world = vxlan(store);
    let pool = |mode: &str| {
        Resource::new("IPPool", "p", json!({ "cidr": "10.9.0.0/16", "vxlanMode": mode, "ipipMode": "Never" }))
    };
    world.start("", &[host_endpoint("a", "eth0"), node("other", "192.0.2.2", "10.9.0.2")]);
    world.expect(&[("no pool asks for it", INNER, Silent)]);
    world.put(&[pool("CrossSubnet")]);
    world.expect(&[("one does", INNER, Open)]);
    world.put(&[pool("Never")]);
    world.expect(&[("not any more", INNER, Silent)]);
}
