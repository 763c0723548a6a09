//! Pre-DNAT policy, asked with packets: it sees where a packet was going before DNAT, hands on what it allows, and denies
//! nothing by itself. The translation is another program's.

use harness::{
    Netns, Open, Silent, World,
    resource::{Resource, host_endpoint, policy, rules},
    world::Store,
};
use serde_json::json;

const WEB: &str = "192.0.2.1:80";
const ALT: &str = "192.0.2.1:8080";
/// Translated to [`WEB`].
const PORT: &str = "192.0.2.1:8055";

const DNAT: &str = "table ip translation {
    chain pre { type nat hook prerouting priority dstnat; tcp dport 8055 dnat to 192.0.2.1:80; }
}";

fn world(settings: &str, resources: &[Resource]) -> World {
    let mut world = World::new(Store::Directory, &[WEB, ALT]);
    world.host().nft(DNAT);
    world.control(&[WEB, ALT, PORT]);
    world.start(settings, &[&[host_endpoint("a", "eth0").labels("role=web")], resources].concat());
    world
}

fn pre_dnat(name: &str, selector: &str, ingress: &[&str]) -> Resource {
    policy(name, selector)
        .set("preDNAT", true)
        .set("applyOnForward", true)
        .set("types", json!(["Ingress"]))
        .set("ingress", rules(ingress))
}

fn normal(ingress: &[&str]) -> Resource {
    policy("n", "role == 'web'").set("types", json!(["Ingress"])).set("ingress", rules(ingress))
}

#[test]
fn it_sees_the_destination_before_translation() {
    let web = "role == 'web'";
    let mut world = world("", &[]);
    world.expect(&[("no policy", PORT, Silent)]);
    world.put(&[pre_dnat("p", web, &["Log", "Allow TCP to 8055"])]);
    world.expect(&[
        ("allowed there is allowed in, without normal policy", PORT, Open),
        ("the port behind it is not", WEB, Silent),
    ]);
    world.put(&[pre_dnat("p", web, &["Allow TCP to 80"])]);
    world
        .expect(&[("the port after translation means nothing", PORT, Silent), ("but for itself", WEB, Open)]);
    world.put(&[pre_dnat("p", web, &["Deny TCP to 8055"]), normal(&["Allow TCP to 80"])]);
    world.expect(&[
        ("denied there whatever normal policy says", PORT, Silent),
        ("what no rule matches is left to normal policy", WEB, Open),
        ("which ends in deny", ALT, Silent),
    ]);
}

#[test]
fn failsafes_come_before_it_and_established_connections_live_on() {
    let mut world = world("FailsafeInboundHostPorts = tcp:8080", &[normal(&["Allow TCP to 80"])]);
    let mut open = world.peer().connect(WEB);
    world.put(&[pre_dnat("p", "role == 'web'", &["Deny"])]);
    world.expect(&[("denied", WEB, Silent), ("a failsafe port", ALT, Open)]);
    assert!(open.lives());
}

#[test]
fn a_link_whose_endpoint_has_none_falls_to_the_wildcards() {
    let wildcard =
        host_endpoint("w", "*").labels("role=all").set("profiles", json!(["projectcalico-default-allow"]));
    let deny = pre_dnat("p", "role == 'all'", &["Deny TCP to 80"]);
    let mut world = world("", &[wildcard, deny, normal(&["Allow TCP"])]);
    world.expect(&[("eth0's own endpoint has no pre-DNAT policy", WEB, Silent), ("other ports", ALT, Open)]);
    world.put(&[pre_dnat("own", "role == 'web'", &["Deny TCP to 9"])]);
    world.expect(&[("now it has, and the wildcard's is out of it", WEB, Open)]);
    world.delete("GlobalNetworkPolicy", "own");
    world.expect(&[("as before", WEB, Silent)]);
}

#[test]
fn a_foreign_mark_is_no_hand_off() {
    let mut world = world("", &[pre_dnat("p", "role == 'web'", &["Allow TCP to 80"])]);
    let before = "table inet foreign {
        chain in { type filter hook prerouting priority -400; meta mark set 0xffff0000; }
    }";
    world.host().nft(before);
    world.expect(&[("what is allowed still is", WEB, Open), ("a mark allows nothing", ALT, Silent)]);
    world.delete("GlobalNetworkPolicy", "p");
    world.expect(&[("no stage looks at marks that no stage sets", WEB, Silent)]);
}

/// A workload on the host's link `cali0`, with a server on the host that it can reach.
fn workload(world: &World) -> Netns {
    let workload = Netns::new();
    world.host().veth("cali0", "10.65.0.1/24", &workload, "10.65.0.2/24");
    world.host().listen("10.65.0.1:80");
    assert_eq!(workload.probe("10.65.0.1:80"), Open, "control");
    workload
}

#[test]
fn the_wildcards_covers_workloads_links_but_does_not_let_them_in() {
    for (action, allowed) in [("ACCEPT", Open), ("RETURN", Open), ("DROP", Silent)] {
        let mut world = World::new(Store::Directory, &[]);
        let workload = workload(&world);
        let wildcard = host_endpoint("w", "*").labels("role=all");
        world.start(&format!("DefaultEndpointToHostAction = {action}"), &[wildcard]);
        assert_eq!(workload.probe("10.65.0.1:80"), allowed, "{action}: normal policy has no say");
        world.put(&[pre_dnat("p", "role == 'all'", &["Deny TCP to 80"])]);
        assert_eq!(workload.probe("10.65.0.1:80"), Silent, "{action}: denied before");
        world.put(&[pre_dnat("p", "role == 'all'", &["Allow TCP to 80"])]);
        assert_eq!(workload.probe("10.65.0.1:80"), allowed, "{action}: allowed before changes nothing");
    }
}

#[test]
fn forwarded_traffic_skips_policy_of_the_side_where_it_comes_in() {
    let mut world = World::new(Store::Directory, &[]);
    let inner = Netns::new();
    world.host().veth("in0", "203.0.113.1/24", &inner, "203.0.113.2/24");
    inner.ip("route add default via 203.0.113.1");
    inner.listen("203.0.113.2:80");
    world.peer().ip("route add 203.0.113.0/24 via 192.0.2.1");
    world.host().sysctl("net.ipv4.ip_forward", "1");
    let through = "203.0.113.2:80";
    world.control(&[through]);
    let forward = |name: &str, selector: &str, direction: &str, lines: &[&str]| {
        let types = json!([if direction == "ingress" { "Ingress" } else { "Egress" }]);
        policy(name, selector).set("applyOnForward", true).set("types", types).set(direction, rules(lines))
    };
    let endpoints =
        [host_endpoint("a", "eth0").labels("role=web"), host_endpoint("b", "in0").labels("role=in")];
    world.start("", &endpoints);
    world.expect(&[("no endpoint has policy for forwarded traffic", through, Open)]);
    world.put(&[forward("f", "role == 'web'", "ingress", &["Deny TCP to 80"])]);
    world.expect(&[("the side where it comes in denies", through, Silent)]);
    world.put(&[pre_dnat("p", "role == 'web'", &["Allow TCP to 80"])]);
    world.expect(&[("pre-DNAT policy has allowed it for that side", through, Open)]);
    world.put(&[forward("g", "role == 'in'", "egress", &["Deny TCP to 80"])]);
    world.expect(&[("the side where it leaves is asked all the same", through, Silent)]);
    world.delete("GlobalNetworkPolicy", "g");
    world.put(&[pre_dnat("p", "role == 'web'", &["Deny TCP to 80"])]);
    world.delete("GlobalNetworkPolicy", "f");
    world.expect(&[("pre-DNAT policy denies what is forwarded too", through, Silent)]);
}
