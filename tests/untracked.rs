//! Untracked policy (`doNotTrack`), asked with packets: both directions by themselves, the hand-off past later stages,
//! and where it ends.

use harness::{
    Netns, Open, Silent, World,
    resource::{Resource, host_endpoint, policy, rules},
    world::Store,
};
use serde_json::json;

const WEB: &str = "192.0.2.1:80";
const ALT: &str = "192.0.2.1:8080";
const OUT: &str = "192.0.2.2:80";

/// All bits of the packet mark that could be ours.
const FOREIGN_MARK: &str = "table inet foreign {
    chain in { type filter hook prerouting priority -400; meta mark set 0xffff0000; }
    chain out { type filter hook output priority -400; meta mark set 0xffff0000; }
}";

fn world(settings: &str, resources: &[Resource]) -> World {
    let mut world = World::new(Store::Directory, &[WEB, ALT, OUT, "127.0.0.1:7777"]);
    world.control(&[WEB, ALT]);
    world.control_from_host(&[OUT, "127.0.0.1:7777"]);
    world.start(settings, &[&[host_endpoint("a", "eth0").labels("role=web")], resources].concat());
    world
}

fn untracked(name: &str, ingress: &[&str], egress: serde_json::Value) -> Resource {
    policy(name, "role == 'web'")
        .set("doNotTrack", true)
        .set("applyOnForward", true)
        .set("types", json!(["Ingress", "Egress"]))
        .set("ingress", rules(ingress))
        .set("egress", egress)
}

/// What answers of a server on a port match.
fn from_port(action: &str, port: u16) -> serde_json::Value {
    json!([{ "action": action, "protocol": "TCP", "source": { "ports": [port] } }])
}

#[test]
fn both_directions_have_to_be_allowed_and_nothing_else_is_needed() {
    let mut world = world("", &[]);
    world.put(&[untracked("u", &["Allow TCP to 80"], json!([]))]);
    world.expect(&[("the answer is of no connection, and normal policy denies it", WEB, Silent)]);
    world.put(&[untracked("u", &["Log", "Allow TCP to 80"], from_port("Allow", 80))]);
    world.expect(&[
        ("both directions, past a Log, with no normal policy", WEB, Open),
        ("nothing allows another port", ALT, Silent),
    ]);
    world.put(&[untracked("u", &["Allow TCP to 80"], from_port("Deny", 80))]);
    world.expect(&[("the answer is denied", WEB, Silent)]);
    world.delete("GlobalNetworkPolicy", "u");
    world.expect(&[("without it there is normal policy only", WEB, Silent)]);
}

#[test]
fn what_it_does_not_match_is_left_to_normal_policy() {
    let normal = policy("n", "role == 'web'").set("ingress", rules(&["Allow TCP to 80,8080"]));
    let mut world = world("", &[normal, untracked("u", &["Deny TCP to 8080"], json!([]))]);
    world.expect(&[
        ("no end of a tier denies there", WEB, Open),
        ("what it denies is dropped whatever normal policy says", ALT, Silent),
    ]);
}

#[test]
fn failsafes_have_their_answers_where_nothing_is_tracked() {
    let settings = "FailsafeInboundHostPorts = tcp:8080\nFailsafeOutboundHostPorts = tcp:80";
    let mut world = world(settings, &[untracked("u", &["Deny"], json!([{ "action": "Deny" }]))]);
    world.expect(&[("a failsafe port", ALT, Open), ("another port", WEB, Silent)]);
    world.expect_from_host(&[("the way out", OUT, Open)]);
}

#[test]
fn a_foreign_mark_is_no_hand_off() {
    let both = untracked("u", &["Allow TCP to 80"], from_port("Allow", 80));
    let mut world = world("", &[both]);
    world.host().nft(FOREIGN_MARK);
    world.expect(&[("what is allowed still is", WEB, Open), ("a mark allows nothing in", ALT, Silent)]);
    world.expect_from_host(&[("nor out", OUT, Silent)]);
    world.delete("GlobalNetworkPolicy", "u");
    world.expect(&[("no stage looks at marks that no stage sets", WEB, Silent), ("nor here", ALT, Silent)]);
    world.expect_from_host(&[("nor out", OUT, Silent)]);
}

#[test]
fn the_hand_off_ends_at_loopback() {
    let lo = host_endpoint("lo", "lo").labels("role=lo");
    let out = policy("u", "role == 'lo'")
        .set("doNotTrack", true)
        .set("applyOnForward", true)
        .set("types", json!(["Egress"]))
        .set("egress", json!([{ "action": "Allow", "protocol": "TCP" }]));
    let mut world = world("", &[lo, out]);
    world.expect_from_host(&[("allowed out, and in by nothing", "127.0.0.1:7777", Silent)]);
    let normal = policy("n", "role == 'lo'").set("ingress", rules(&["Allow TCP"]));
    world.put(&[normal]);
    world.expect_from_host(&[("allowed out, and in by normal policy", "127.0.0.1:7777", Open)]);
}

#[test]
fn the_hand_off_ends_where_a_tunnel_begins() {
    let mut world = World::new(Store::Directory, &[]);
    let client = Netns::new();
    world.host().veth("in0", "203.0.113.1/24", &client, "203.0.113.2/24");
    client.ip("route add default via 203.0.113.1");
    world.host().sysctl("net.ipv4.ip_forward", "1");
    world.host().ip("link add vx0 type vxlan id 9 local 192.0.2.1 remote 192.0.2.2 dstport 4789
        address add 10.9.0.1/24 dev vx0
        link set vx0 up");
    world.peer().ip("link add vx0 type vxlan id 9 local 192.0.2.2 remote 192.0.2.1 dstport 4789
        address add 10.9.0.2/24 dev vx0
        link set vx0 up
        route add 203.0.113.0/24 via 10.9.0.1");
    world.peer().listen("10.9.0.2:80");
    harness::eventually("the tunnel works", std::time::Duration::from_secs(5), || {
        client.probe("10.9.0.2:80") == Open
    });
    let inner = policy("u", "role == 'in'")
        .set("doNotTrack", true)
        .set("applyOnForward", true)
        .set("types", json!(["Ingress"]))
        .set("ingress", rules(&["Allow"]));
    let outer = |egress: &[&str]| {
        policy("n", "role == 'web'")
            .set("types", json!(["Ingress", "Egress"]))
            .set("ingress", rules(&["Allow UDP to 4789"]))
            .set("egress", rules(egress))
    };
    let endpoints =
        [host_endpoint("a", "eth0").labels("role=web"), host_endpoint("b", "in0").labels("role=in")];
    // Of answers alone, connection tracking makes nothing.
    let settings = "DisableConntrackInvalidCheck = true";
    world.start(settings, &[&endpoints[..], &[inner, outer(&[])]].concat());
    assert_eq!(client.probe("10.9.0.2:80"), Silent, "the inner packet's mark is on the outer one");
    world.put(&[outer(&["Allow UDP to 4789"])]);
    assert_eq!(client.probe("10.9.0.2:80"), Open, "the outer one's own policy allows it");
}

#[test]
fn on_the_wildcard_it_is_ignored_with_a_warning() {
    let wildcard = host_endpoint("w", "*").labels("role=all");
    let open = policy("n", "role == 'all'")
        .set("types", json!(["Ingress", "Egress"]))
        .set("ingress", rules(&["Allow"]))
        .set("egress", rules(&["Allow"]));
    let deny = untracked("u", &["Deny TCP to 80"], json!([])).set("selector", "role == 'all'");
    let mut world = World::new(Store::Directory, &[WEB]);
    world.control(&[WEB]);
    world.start("", &[wildcard, open, deny]);
    world.expect(&[("untracked policy does nothing there", WEB, Open)]);
    let log = world.agent().log();
    assert!(log.contains("doNotTrack") && log.contains('w'), "{log}");
}
